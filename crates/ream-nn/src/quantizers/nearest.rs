//! Nearest of many vectors, by matrix products.

use crate::buffer::Buffer;
use crate::gemm::{Mat, Precision, Start, gemm_serial};
use crate::ops::row_max;
use crate::threads;

/// Vectors of one job.
const ROWS: usize = 64;
/// Above this many codes a code's number is no exact f32.
pub(super) const MOST_CODES: usize = 1 << 24;

/// The row of `codes` (`[k, d]`) nearest to each row of `x` (`[n, d]`) in Euclidean distance; the lowest of equally near ones.
///
/// `|x|^2 - 2 x e + |e|^2` is smallest where `x e - |e|^2 / 2` is largest: one product in f32 (whatever precision the caller's thread
/// asks for), so codes whose distances agree to about `1e-6 |x| |e|` may be taken for equal.
pub(super) fn nearest(x: &[f32], codes: &[f32], d: usize) -> Vec<u32> {
    let half_norms: Vec<f32> = codes.chunks_exact(d).map(|e| -0.5 * dot(e, e)).collect();
    best(x, codes, d, Some(&half_norms))
}

/// The row of `codes` with the largest `x e`; the lowest of equally good ones.
pub(super) fn best_product(x: &[f32], codes: &[f32], d: usize) -> Vec<u32> {
    best(x, codes, d, None)
}

fn best(x: &[f32], codes: &[f32], d: usize, bias: Option<&[f32]>) -> Vec<u32> {
    let (n, k) = (x.len() / d, codes.len() / d);
    // Numbers of codes travel as f32, which is exact up to MOST_CODES.
    let mut found = vec![0.0_f32; n];
    threads::chunks(&mut found, ROWS, |start, part| {
        let rows = part.len();
        let mut scores = Buffer::scratch(rows * k);
        let a = Mat::new(&x[start * d..(start + rows) * d], rows, d);
        let begin = bias.map_or(Start::Zero, Start::Bias);
        gemm_serial(&mut scores, k, a, Mat::new(codes, k, d).t(), begin, Precision::F32);
        for (found, row) in part.iter_mut().zip(scores.chunks_exact(k)) {
            let largest = row_max(row);
            *found = row.iter().position(|s| *s == largest).unwrap_or(0) as f32;
        }
    });
    found.into_iter().map(|i| i as u32).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `|a - b|^2` in f64.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn as_near_as_a_plain_search() {
        for (n, k, d) in [(1, 1, 1), (5, 3, 2), (130, 67, 8), (70, 512, 17)] {
            let mut rng = Stream::new(3, "nearest").at(k as u64);
            let x: Vec<f32> = (0..n * d).map(|_| rng.normal() as f32).collect();
            let codes: Vec<f32> = (0..k * d).map(|_| rng.normal() as f32).collect();
            for (i, id) in nearest(&x, &codes, d).into_iter().enumerate() {
                let at = |j: usize| squared_distance(&x[i * d..][..d], &codes[j * d..][..d]);
                let least = (0..k).map(at).fold(f64::INFINITY, f64::min);
                assert!(at(id as usize) <= least + 1e-5, "{n} {k} {d}: row {i}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_code() {
        let code = [0.3_f32, -0.7, 1.1];
        let codes: Vec<f32> = code.iter().copied().cycle().take(3 * 100).collect();
        assert_eq!(nearest(&code, &codes, 3), [0]);
        assert_eq!(nearest(&[0.0], &[1.0, -1.0], 1), [0]);
        assert_eq!(best_product(&[0.0, 1.0], &[1.0, 0.0, 0.0, 2.0, 5.0, 2.0], 2), [1]);
    }
}

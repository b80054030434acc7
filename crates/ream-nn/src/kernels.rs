//! Loops over whole arrays, cut into chunks for the pool's threads.

use crate::buffer::Buffer;
use crate::simd::vectorised;
use crate::threads;

/// Elements of one job of an element-wise loop: small enough for the first-level cache with two operands.
pub(crate) const CHUNK: usize = 8 * 1024;

/// `out[i] = f(x[i])`.
pub(crate) fn map(x: &[f32], f: fn(&mut [f32], &[f32])) -> Buffer {
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, CHUNK, |i, out| f(out, &x[i..i + out.len()]));
    out
}

/// `out[i] = f(x[i], y[i])`.
pub(crate) fn zip(x: &[f32], y: &[f32], f: fn(&mut [f32], &[f32], &[f32])) -> Buffer {
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, CHUNK, |i, out| f(out, &x[i..i + out.len()], &y[i..i + out.len()]));
    out
}

/// `x[i] = f(x[i], y[i])`.
pub(crate) fn update(x: &mut [f32], y: &[f32], f: fn(&mut [f32], &[f32])) {
    threads::chunks(x, CHUNK, |i, x| f(x, &y[i..i + x.len()]));
}

vectorised! {
    fn add_assign(x: &mut [f32], y: &[f32]) {
        let _ = FMA;
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }
}
vectorised! {
    fn scale_chunk(x: &mut [f32], factor: f32) {
        let _ = FMA;
        x.iter_mut().for_each(|x| *x *= factor);
    }
}

/// `x += y`.
pub(crate) fn add_into(x: &mut [f32], y: &[f32]) {
    update(x, y, add_assign);
}

/// `x *= factor`.
pub(crate) fn scale(x: &mut [f32], factor: f32) {
    threads::chunks(x, CHUNK, |_, x| scale_chunk(x, factor));
}

/// Sum of all elements: chunks in lanes, chunk sums in order and in f64.
pub(crate) fn sum(x: &[f32]) -> f64 {
    let jobs = x.len().div_ceil(CHUNK);
    let mut parts = vec![0.0_f32; jobs];
    threads::chunks(&mut parts, 1, |i, out| {
        out[0] = sum_chunk(&x[i * CHUNK..(i * CHUNK + CHUNK).min(x.len())]);
    });
    parts.iter().map(|p| f64::from(*p)).sum()
}

vectorised! {
    fn sum_chunk(x: &[f32]) -> f32 {
        let _ = FMA;
        crate::simd::sum_by(x.len(), |i| x[i])
    }
}

vectorised! {
    fn squares_chunk(x: &[f32]) -> f32 {
        crate::simd::sum_by(x.len(), |i| x[i] * x[i])
    }
}

/// Sum of squares: chunks in lanes, chunk sums in order and in f64.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    let jobs = x.len().div_ceil(CHUNK);
    let mut parts = vec![0.0_f32; jobs];
    threads::chunks(&mut parts, 1, |i, out| {
        out[0] = squares_chunk(&x[i * CHUNK..(i * CHUNK + CHUNK).min(x.len())]);
    });
    parts.iter().map(|p| f64::from(*p)).sum()
}

/// Rows of one partial sum over rows.
pub(crate) const ROWS: usize = 64;

/// Adds up the rows of `x` (`[rows, width]`): partial sums of fixed blocks of rows, then the blocks in order.
pub(crate) fn sum_rows(x: &[f32], width: usize) -> Buffer {
    let mut out = Buffer::zeros(width);
    if width == 0 || x.is_empty() {
        return out;
    }
    let blocks = (x.len() / width).div_ceil(ROWS);
    let mut parts = Buffer::scratch(blocks * width);
    threads::chunks(&mut parts, width, |i, part| {
        part.fill(0.0);
        let from = i / width * ROWS * width;
        let to = (from + ROWS * width).min(x.len());
        add_rows(part, &x[from..to]);
    });
    add_rows(&mut out, &parts);
    out
}

vectorised! {
    /// `sum += row` for every row of `x`.
    pub(crate) fn add_rows(sum: &mut [f32], x: &[f32]) {
        let _ = FMA;
        for row in x.chunks_exact(sum.len()) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_plain_loops() {
        let x: Vec<f32> = (0..70_000).map(|i| (i % 13) as f32 - 6.0).collect();
        assert_eq!(sum(&x), x.iter().map(|x| f64::from(*x)).sum::<f64>());
        let rows = sum_rows(&x, 100);
        for j in 0..100 {
            assert_eq!(rows[j], (0..700).map(|i| x[i * 100 + j]).sum::<f32>());
        }
    }
}

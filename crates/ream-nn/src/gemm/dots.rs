//! A few rows times a transposed matrix, the product of decoding: the matrix is read once, in order, and never packed.
//!
//! Four rows of the matrix meet up to four rows of A at a time; every element is a sum in sixteen lanes along the inner
//! dimension, so it does not depend on how many rows A has.

use super::{Mat, Start, run_jobs};
use crate::simd::{Isa, LANES, add_lanes, fma, isa};
use crate::threads::Shared;

/// Rows of the matrix that one job reads.
const JOB: usize = 32;
/// Rows of the matrix, and of A, that meet at a time.
const SIDE: usize = 4;
/// From this many multiply-adds on, threads share the rows of the matrix: its reading, not the arithmetic, is what takes the time.
const SERIAL: usize = 40_000;

/// Four rows of each side, all of one length.
struct Block<'a> {
    a: [&'a [f32]; SIDE],
    b: [&'a [f32]; SIDE],
}

/// Sums of the rows of A (first index) with rows of B.
type Sums = [[f32; SIDE]; SIDE];

pub(super) fn dots(c: &mut [f32], c_row: usize, a: Mat<'_>, b: Mat<'_>, start: Start<'_>, parallel: bool) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let shared = Shared::new(c);
    let work = |job: usize| {
        let end = (job * JOB + JOB).min(n);
        for j in (job * JOB..end).step_by(SIDE) {
            // Rows beyond the edge repeat the last one; their sums are dropped.
            let b_rows: [&[f32]; SIDE] =
                core::array::from_fn(|s| &b.data[(j + s).min(end - 1) * b.column..][..k]);
            for i in (0..m).step_by(SIDE) {
                let rows = SIDE.min(m - i);
                let a_rows = core::array::from_fn(|s| &a.data[(i + s).min(m - 1) * a.row..][..k]);
                let sums = block(&Block { a: a_rows, b: b_rows }, rows);
                for (r, sums) in sums.iter().enumerate().take(rows) {
                    let width = SIDE.min(end - j);
                    // SAFETY: columns j.. of C belong to the one job that holds these rows of B.
                    let out = unsafe { shared.part((i + r) * c_row + j, width) };
                    finish(out, sums, j, start);
                }
            }
        }
    };
    run_jobs(n.div_ceil(JOB), parallel && m * n * k >= SERIAL, &work);
}

fn finish(out: &mut [f32], sums: &[f32; SIDE], first: usize, start: Start<'_>) {
    for (j, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
        *out = match start {
            Start::Zero => *sum,
            Start::Keep => *out + sum,
            Start::Bias(bias) => bias[first + j] + sum,
        };
    }
}

fn block(block: &Block<'_>, rows: usize) -> Sums {
    match isa() {
        // SAFETY: `isa` found these features on this machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(block, rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(block, rows) },
        _ => plain::<false>(block, rows),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(block: &Block<'_>, rows: usize) -> Sums {
    plain::<true>(block, rows)
}

/// The sums in plain loops.
#[inline(always)]
fn plain<const FMA: bool>(block: &Block<'_>, rows: usize) -> Sums {
    let mut sums = [[0.0; SIDE]; SIDE];
    for (sums, a) in sums.iter_mut().zip(block.a).take(rows) {
        let mut lanes = [[0.0_f32; LANES]; SIDE];
        let whole = a.len() - a.len() % LANES;
        for p in (0..whole).step_by(LANES) {
            for (lanes, b) in lanes.iter_mut().zip(block.b) {
                let (x, y) = (&a[p..p + LANES], &b[p..p + LANES]);
                for l in 0..LANES {
                    lanes[l] = fma::<FMA>(x[l], y[l], lanes[l]);
                }
            }
        }
        for (lanes, b) in lanes.iter_mut().zip(block.b) {
            for (lane, (x, y)) in lanes.iter_mut().zip(a[whole..].iter().zip(&b[whole..])) {
                *lane = fma::<FMA>(*x, *y, *lane);
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(&lanes) {
            *sum = add_lanes(lanes);
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn avx512(block: &Block<'_>, rows: usize) -> Sums {
    match rows {
        1 => avx512_rows::<1>(block),
        2 => avx512_rows::<2>(block),
        3 => avx512_rows::<3>(block),
        _ => avx512_rows::<4>(block),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
#[inline]
fn avx512_rows<const R: usize>(block: &Block<'_>) -> Sums {
    use core::arch::x86_64::{_mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_setzero_ps};
    let k = block.a[0].len();
    assert!(block.a.iter().chain(&block.b).all(|row| row.len() == k), "rows of one length");
    let mut acc = [[_mm512_setzero_ps(); SIDE]; R];
    // SAFETY: whole vectors, then those elements of the last one that exist: all rows have length k.
    unsafe {
        let whole = k - k % LANES;
        for p in (0..whole).step_by(LANES) {
            step(&mut acc, |row: &[f32]| _mm512_loadu_ps(row.as_ptr().add(p)), block);
        }
        if whole < k {
            let mask = ((1_u32 << (k - whole)) - 1) as u16;
            step(&mut acc, |row: &[f32]| _mm512_maskz_loadu_ps(mask, row.as_ptr().add(whole)), block);
        }
    }
    let mut sums = [[0.0; SIDE]; SIDE];
    for (sums, acc) in sums.iter_mut().zip(acc) {
        *sums = add_lanes_of_four(acc);
    }
    sums
}

/// One vector of every row: `acc += a b`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
#[inline]
fn step<const R: usize>(
    acc: &mut [[core::arch::x86_64::__m512; SIDE]; R],
    load: impl Fn(&[f32]) -> core::arch::x86_64::__m512,
    block: &Block<'_>,
) {
    let b = [load(block.b[0]), load(block.b[1]), load(block.b[2]), load(block.b[3])];
    for (acc, a) in acc.iter_mut().zip(&block.a) {
        let a = load(a);
        for (acc, b) in acc.iter_mut().zip(b) {
            *acc = core::arch::x86_64::_mm512_fmadd_ps(a, b, *acc);
        }
    }
}

/// [`add_lanes`] of four vectors at once, in its order.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
#[inline]
fn add_lanes_of_four(x: [core::arch::x86_64::__m512; SIDE]) -> [f32; SIDE] {
    use core::arch::x86_64::{
        _mm_add_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
        _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_castps512_ps256,
        _mm512_extractf32x8_ps,
    };
    let x = x.map(|x| {
        let half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
        _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half))
    });
    let pair = |a, b| _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    let (first, second) = (pair(x[0], x[1]), pair(x[2], x[3]));
    let all = _mm_add_ps(_mm_movelh_ps(first, second), _mm_movehl_ps(second, first));
    let mut sums = [0.0; SIDE];
    // SAFETY: four numbers are stored to four.
    unsafe { _mm_storeu_ps(sums.as_mut_ptr(), all) };
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn the_twins_agree_at_every_length_and_the_rows_of_a_do_not_matter() {
        for k in [1, 5, 15, 16, 17, 48, 100, 257] {
            let mut rng = Stream::new(1, "dots").at(k as u64);
            let rows: Vec<Vec<f32>> = (0..8).map(|_| (0..k).map(|_| rng.normal() as f32).collect()).collect();
            let side = |from: usize| core::array::from_fn(|i| rows[from + i].as_slice());
            let all = Block { a: side(0), b: side(4) };
            let wanted = |i: usize, j: usize| -> f64 {
                rows[i].iter().zip(&rows[4 + j]).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            let best = block(&all, 4);
            for sums in [best, plain::<false>(&all, 4), plain::<true>(&all, 4)] {
                for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
                    assert!((f64::from(sums[i][j]) - wanted(i, j)).abs() < 1e-4, "k {k}: {i} {j}");
                }
            }
            if isa() != Isa::Portable {
                assert_eq!(best, plain::<true>(&all, 4));
            }
            for rows in 1..4 {
                assert_eq!(block(&all, rows)[..rows], best[..rows]);
            }
        }
    }
}

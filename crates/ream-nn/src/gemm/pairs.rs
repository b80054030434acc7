//! Copies of operands rounded to bfloat16: two steps of the inner dimension, a pair, in the place of one f32.
//!
//! Rounding is integer arithmetic in loops that the compiler vectorises, the same on every machine. An odd number of steps
//! ends in a pair with zero.

use super::{KC, Mat, pack};
use crate::simd::vectorised;

/// Columns of B that are turned at a time.
const SIDE: usize = 16;

/// Rounds to the nearest bfloat16, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// Two bfloat16 in the place of one f32, the first in the low half.
#[inline(always)]
fn pair(low: f32, high: f32) -> f32 {
    f32::from_bits(bf16(low) | (bf16(high) << 16))
}

vectorised! {
    /// Steps that lie `row` apart: `out[p * width + j]` is the pair of `from[2 p * row + j]` and `from[(2 p + 1) * row + j]`
    /// for `j < columns`, zero for the other columns.
    fn across(out: &mut [f32], width: usize, from: &[f32], row: usize, kc: usize, columns: usize) {
        let _ = FMA;
        for (p, out) in out.chunks_exact_mut(width).enumerate() {
            let (out, edge) = out.split_at_mut(columns);
            let low = &from[2 * p * row..][..columns];
            if 2 * p + 1 < kc {
                let high = &from[(2 * p + 1) * row..][..columns];
                for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
                    *out = pair(*low, *high);
                }
            } else {
                out.iter_mut().zip(low).for_each(|(out, low)| *out = pair(*low, 0.0));
            }
            edge.fill(0.0);
        }
    }
}

vectorised! {
    /// Steps that are contiguous: row `r` of `out`, `depth` long, holds the pairs of `from[r * row..][..kc]`.
    fn along(out: &mut [f32], depth: usize, from: &[f32], row: usize, kc: usize) {
        let _ = FMA;
        for (r, out) in out.chunks_exact_mut(depth).enumerate() {
            let (pairs, rest) = from[r * row..][..kc].as_chunks::<2>();
            for (out, [low, high]) in out.iter_mut().zip(pairs) {
                *out = pair(*low, *high);
            }
            if let [last] = rest {
                out[depth - 1] = pair(*last, 0.0);
            }
        }
    }
}

/// Packs rows `k0..k0 + kc`, columns `first..first + width` of B, one pair of steps after another, zeros beyond the edge.
pub(super) fn panel(out: &mut [f32], b: Mat<'_>, k0: usize, kc: usize, first: usize, width: usize) {
    let columns = width.min(b.columns - first);
    if b.column == 1 {
        across(out, width, &b.data[k0 * b.row + first..], b.row, kc, columns);
    } else if b.row == 1 {
        for j0 in (0..width).step_by(SIDE) {
            turned(&mut out[j0..], b, k0, kc, first + j0, width);
        }
    } else {
        let at = |k: usize, j: usize| b.data[k * b.row + (first + j) * b.column];
        for (p, out) in out.chunks_exact_mut(width).enumerate() {
            let k = k0 + 2 * p;
            for (j, out) in out[..columns].iter_mut().enumerate() {
                *out = pair(at(k, j), if k + 1 < k0 + kc { at(k + 1, j) } else { 0.0 });
            }
            out[columns..].fill(0.0);
        }
    }
}

/// Sixteen columns of B that are contiguous, from column `first` on: rounded as they lie, then turned.
fn turned(out: &mut [f32], b: Mat<'_>, k0: usize, kc: usize, first: usize, width: usize) {
    let depth = kc.div_ceil(2);
    let mut room = [0.0_f32; SIDE * KC.div_ceil(2)];
    let columns = SIDE.min(b.columns.saturating_sub(first));
    if columns > 0 {
        along(&mut room[..columns * depth], depth, &b.data[k0 + first * b.column..], b.column, kc);
    }
    let whole = depth - depth % SIDE;
    for p in (0..whole).step_by(SIDE) {
        pack::turn(&room[p..], depth, &mut out[p * width..], width);
    }
    for p in whole..depth {
        for (j, out) in out[p * width..][..SIDE].iter_mut().enumerate() {
            *out = room[j * depth + p];
        }
    }
}

/// Packs steps `k0..k0 + kc` of rows of A, and says how far apart rows and pairs of steps then lie.
pub(super) fn rows(
    out: &mut [f32],
    a: Mat<'_>,
    rows: std::ops::Range<usize>,
    k0: usize,
    kc: usize,
) -> (usize, usize) {
    let (depth, len) = (kc.div_ceil(2), rows.len());
    let out = &mut out[..len * depth];
    let from = &a.data[rows.start * a.row + k0 * a.column..];
    if a.row == 1 {
        across(out, len, from, a.column, kc, len);
        return (1, len);
    }
    if a.column == 1 {
        along(out, depth, from, a.row, kc);
    } else {
        for (r, out) in out.chunks_exact_mut(depth).enumerate() {
            let at = |p: usize| if p < kc { from[r * a.row + p * a.column] } else { 0.0 };
            out.iter_mut().enumerate().for_each(|(p, out)| *out = pair(at(2 * p), at(2 * p + 1)));
        }
    }
    (depth, 1)
}

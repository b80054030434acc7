//! Copies of operands in the order in which the micro-kernels read them.

use super::kernel::Kernels;
use super::{Mat, pairs};
use crate::simd::{Isa, isa};

/// Packs rows `k0..k0 + kc`, columns `first..first + width` of B, one step of the inner dimension after another, zeros
/// beyond the edge.
pub(super) fn panel(
    out: &mut [f32],
    b: Mat<'_>,
    k0: usize,
    kc: usize,
    first: usize,
    width: usize,
    half: bool,
) {
    let columns = width.min(b.columns - first);
    if half {
        return pairs::panel(out, b, k0, kc, first, width);
    }
    if b.column == 1 {
        for (p, row) in out.chunks_exact_mut(width).enumerate() {
            let at = (k0 + p) * b.row + first;
            row[..columns].copy_from_slice(&b.data[at..at + columns]);
            row[columns..].fill(0.0);
        }
    } else {
        panel_transposed(out, b, k0, kc, first, width, columns);
    }
}

/// Columns of B that are contiguous: sixteen steps of sixteen columns at a time, turned in registers.
fn panel_transposed(
    out: &mut [f32],
    b: Mat<'_>,
    k0: usize,
    kc: usize,
    first: usize,
    width: usize,
    columns: usize,
) {
    let contiguous = b.row == 1;
    for j0 in (0..width).step_by(16) {
        let full = contiguous && j0 + 16 <= columns;
        let mut p = 0;
        while full && p + 16 <= kc {
            let at = (k0 + p) + (first + j0) * b.column;
            turn(&b.data[at..], b.column, &mut out[p * width + j0..], width);
            p += 16;
        }
        for p in p..kc {
            for j in j0..(j0 + 16).min(width) {
                out[p * width + j] =
                    if j < columns { b.data[(k0 + p) * b.row + (first + j) * b.column] } else { 0.0 };
            }
        }
    }
}

/// `to[i * to_row + j] = from[j * from_row + i]` for 16 x 16 elements.
pub(super) fn turn(from: &[f32], from_row: usize, to: &mut [f32], to_row: usize) {
    let _ = (&from[15 * from_row + 15], &to[15 * to_row + 15]);
    #[cfg(target_arch = "x86_64")]
    if isa() == Isa::Avx512 {
        // SAFETY: the line above checked the furthest element of both; the features are there.
        return unsafe { turn_avx512(from.as_ptr(), from_row, to.as_mut_ptr(), to_row) };
    }
    for i in 0..16 {
        for j in 0..16 {
            to[i * to_row + j] = from[j * from_row + i];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn turn_avx512(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use core::arch::x86_64::{
        __m512, _mm512_castpd_ps, _mm512_castps_pd, _mm512_loadu_ps, _mm512_shuffle_f32x4, _mm512_storeu_ps,
        _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // SAFETY: the caller checked that 16 x 16 elements lie within both.
    let mut r: [__m512; 16] = core::array::from_fn(|j| unsafe { _mm512_loadu_ps(from.add(j * from_row)) });
    for j in (0..16).step_by(2) {
        (r[j], r[j + 1]) = (_mm512_unpacklo_ps(r[j], r[j + 1]), _mm512_unpackhi_ps(r[j], r[j + 1]));
    }
    for j in (0..16).step_by(4) {
        let p: [_; 4] = core::array::from_fn(|i| _mm512_castps_pd(r[j + i]));
        r[j] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[0], p[2]));
        r[j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[0], p[2]));
        r[j + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(p[1], p[3]));
        r[j + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(p[1], p[3]));
    }
    for i in 0..4 {
        let a = _mm512_shuffle_f32x4::<0x88>(r[i], r[i + 4]);
        let b = _mm512_shuffle_f32x4::<0xdd>(r[i], r[i + 4]);
        let c = _mm512_shuffle_f32x4::<0x88>(r[i + 8], r[i + 12]);
        let d = _mm512_shuffle_f32x4::<0xdd>(r[i + 8], r[i + 12]);
        let rows = [
            (i, _mm512_shuffle_f32x4::<0x88>(a, c)),
            (i + 4, _mm512_shuffle_f32x4::<0x88>(b, d)),
            (i + 8, _mm512_shuffle_f32x4::<0xdd>(a, c)),
            (i + 12, _mm512_shuffle_f32x4::<0xdd>(b, d)),
        ];
        for (row, value) in rows {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to.add(row * to_row), value) };
        }
    }
}

/// Packs rows of A in groups of the kernel's height: within a group one step of the inner dimension after another. f32 only.
pub(super) fn rows(
    out: &mut [f32],
    a: Mat<'_>,
    rows: std::ops::Range<usize>,
    k0: usize,
    kc: usize,
    kernels: &Kernels,
) {
    if a.row == 1 {
        return match kernels.height {
            8 => columns_of::<8>(out, a, rows, k0, kc),
            6 => columns_of::<6>(out, a, rows, k0, kc),
            _ => columns_of::<4>(out, a, rows, k0, kc),
        };
    }
    let mut i = rows.start;
    while i < rows.end {
        let height = kernels.height.min(rows.end - i);
        let group = &mut out[(i - rows.start) * kc..][..height * kc];
        for (p, step) in group.chunks_exact_mut(height).enumerate() {
            for (r, out) in step.iter_mut().enumerate() {
                *out = a.data[(i + r) * a.row + (k0 + p) * a.column];
            }
        }
        i += height;
    }
}

/// [`rows`] of an A whose columns are contiguous: eight steps of the inner dimension at a time, so that reads and writes both run
/// along lines of the cache.
fn columns_of<const H: usize>(
    out: &mut [f32],
    a: Mat<'_>,
    rows: std::ops::Range<usize>,
    k0: usize,
    kc: usize,
) {
    const STEPS: usize = 8;
    let whole = rows.len() / H * H;
    for p0 in (0..kc).step_by(STEPS) {
        let steps = STEPS.min(kc - p0);
        let from = |p: usize| &a.data[(k0 + p0 + p) * a.column + rows.start..][..rows.len()];
        for i in (0..whole).step_by(H) {
            let to = out[i * kc + p0 * H..][..steps * H].as_chunks_mut::<H>().0;
            for (p, to) in to.iter_mut().enumerate() {
                to.copy_from_slice(&from(p)[i..i + H]);
            }
        }
        let rest = rows.len() - whole;
        for p in 0..steps {
            let at = whole * kc + (p0 + p) * rest;
            out[at..at + rest].copy_from_slice(&from(p)[whole..]);
        }
    }
}

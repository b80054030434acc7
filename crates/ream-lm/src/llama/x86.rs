//! Attention for AVX-512: sixteen keys at a time.

use std::arch::x86_64::*;

use super::math::{Place, softmax};

/// Numbers of a register, and keys of a group.
const LANES: usize = 16;

/// Whether [`attend`] can be used for heads of this size.
pub(super) fn can(size: usize) -> bool {
    ream_nn::isa() == ream_nn::Isa::Avx512 && size.is_multiple_of(LANES)
}

/// As [`super::math::attend`].
pub(super) fn attend(
    q: &[f32],
    keys: &[Box<[f32]>],
    values: &[Box<[f32]>],
    slots: &[u32],
    place: Place,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    assert!(q.len() == out.len() && can(q.len()), "a head that this kernel is not for");
    scores.clear();
    // SAFETY: `can` found the features.
    unsafe { score(q, keys, slots, place, scores) };
    let inverse = 1.0 / softmax(scores);
    let n = q.len() / LANES;
    for first in (0..n - n % 4).step_by(4) {
        // SAFETY: as above; `first + 4 <= n` registers.
        unsafe { mix::<4>(values, slots, place, scores, inverse, first, out) };
    }
    for first in n - n % 4..n {
        // SAFETY: as above.
        unsafe { mix::<1>(values, slots, place, scores, inverse, first, out) };
    }
}

/// Scaled inner products of `q` with the key of every slot.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
unsafe fn score(q: &[f32], keys: &[Box<[f32]>], slots: &[u32], place: Place, scores: &mut Vec<f32>) {
    let scale = _mm512_set1_ps(1.0 / (q.len() as f32).sqrt());
    for group in slots.chunks(LANES) {
        // A group that is not full is filled up with its first key.
        let mut of_group = [place.of(keys, group[0], q.len()); LANES];
        for (key, slot) in of_group.iter_mut().zip(group) {
            *key = place.of(keys, *slot, q.len());
        }
        let mut sums = [_mm512_setzero_ps(); LANES];
        for at in (0..q.len()).step_by(LANES) {
            // SAFETY: `q` and every key have `q.len()` numbers, a multiple of sixteen.
            unsafe {
                let q = _mm512_loadu_ps(q.as_ptr().add(at));
                for (sum, key) in sums.iter_mut().zip(&of_group) {
                    *sum = _mm512_fmadd_ps(q, _mm512_loadu_ps(key.as_ptr().add(at)), *sum);
                }
            }
        }
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), _mm512_mul_ps(total(sums), scale)) };
        scores.extend_from_slice(&lanes[..group.len()]);
    }
}

/// The sum of each of sixteen registers; every register's lanes are added in the same order.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
#[inline]
fn total(x: [__m512; LANES]) -> __m512 {
    let (mut pairs, mut fours) = ([_mm512_setzero_ps(); 8], [_mm512_setzero_ps(); 4]);
    for (pair, x) in pairs.iter_mut().zip(x.as_chunks::<2>().0) {
        *pair = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    }
    for (four, x) in fours.iter_mut().zip(pairs.as_chunks::<2>().0) {
        let (a, b) = (_mm512_castps_pd(x[0]), _mm512_castps_pd(x[1]));
        *four = _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)),
        );
    }
    fold(fold(fours[0], fours[1]), fold(fours[2], fours[3]))
}

/// Even plus odd quarters of `a`, then of `b`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
#[inline]
fn fold(a: __m512, b: __m512) -> __m512 {
    _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
}

/// `inverse * sum of p value` for `N` registers of the head from number `first` on.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
unsafe fn mix<const N: usize>(
    values: &[Box<[f32]>],
    slots: &[u32],
    place: Place,
    scores: &[f32],
    inverse: f32,
    first: usize,
    out: &mut [f32],
) {
    let mut sums = [_mm512_setzero_ps(); N];
    for (slot, p) in slots.iter().zip(scores) {
        let value = place.of(values, *slot, out.len());
        let p = _mm512_set1_ps(*p);
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the value has as many numbers as `out`, and register `first + i` lies within.
            let value = unsafe { _mm512_loadu_ps(value.as_ptr().add((first + i) * LANES)) };
            *sum = _mm512_fmadd_ps(p, value, *sum);
        }
    }
    for (i, sum) in sums.iter().enumerate() {
        let scaled = _mm512_mul_ps(*sum, _mm512_set1_ps(inverse));
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr().add((first + i) * LANES), scaled) };
    }
}

//! The small kernels between the matrices.

use ream_nn::simd::{self, fma, sum_by, vectorised};

vectorised! {
    /// `x * weight / sqrt(mean(x^2) + eps)` (Zhang and Sennrich, 2019).
    pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let _ = FMA;
        let mean = sum_by(x.len(), |i| x[i] * x[i]) / x.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

vectorised! {
    /// `silu(gate) * up` (Shazeer, 2020).
    pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * simd::sigmoid::<FMA>(*gate) * up;
        }
    }
}

vectorised! {
    pub(super) fn add(x: &mut [f32], y: &[f32]) {
        let _ = FMA;
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
    }
}

/// Turns pairs of neighbours: pair `i` of the heads in `x` (whose first number is number `first` of its tensor) by its angle
/// (Su et al., 2021; GGUF's order of llama heads).
pub(super) fn rotate(x: &mut [f32], first: usize, cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for (i, pair) in x.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let at = (first / 2 + i) % half;
        let [a, b] = *pair;
        *pair = [a * cos[at] - b * sin[at], a * sin[at] + b * cos[at]];
    }
}

vectorised! {
    /// `e^(score - largest)` in place, and their sum.
    pub(super) fn softmax(scores: &mut [f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; simd::LANES];
        for part in scores.chunks(simd::LANES) {
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        for score in scores.iter_mut() {
            *score = simd::exp::<FMA>(*score - largest);
        }
        sum_by(scores.len(), |i| scores[i])
    }
}

vectorised! {
    /// Softmax attention of one query over listed slots: `key(slot)` and `value(slot)` are slices of the query's length, found in pieces of
    /// `chunk` slots of `width` numbers from `first` on. Sums run over the list in order, whatever its slots are.
    pub(super) fn attend(
        q: &[f32],
        keys: &[Box<[f32]>],
        values: &[Box<[f32]>],
        slots: &[u32],
        place: Place,
        scores: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        const LANES: usize = simd::LANES;
        let size = q.len();
        let scale = 1.0 / (size as f32).sqrt();
        scores.clear();
        for slot in slots {
            let key = place.of(keys, *slot, size);
            let mut lanes = [0.0_f32; LANES];
            let (q, q_rest) = q.as_chunks::<LANES>();
            let (k, k_rest) = key.as_chunks::<LANES>();
            for (q, k) in q.iter().zip(k) {
                for lane in 0..LANES {
                    lanes[lane] = fma::<FMA>(q[lane], k[lane], lanes[lane]);
                }
            }
            for (lane, (q, k)) in lanes.iter_mut().zip(q_rest.iter().zip(k_rest)) {
                *lane = fma::<FMA>(*q, *k, *lane);
            }
            scores.push(simd::add_lanes(&lanes) * scale);
        }
        let inverse = 1.0 / softmax(scores);
        out.fill(0.0);
        for (slot, p) in slots.iter().zip(scores.iter()) {
            let value = place.of(values, *slot, size);
            for (out, v) in out.iter_mut().zip(value) {
                *out = fma::<FMA>(*p, *v, *out);
            }
        }
        out.iter_mut().for_each(|out| *out *= inverse);
    }
}

/// Where a head lies in the pieces of a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Slots of a piece.
    pub(super) chunk: usize,
    /// Numbers of a slot.
    pub(super) width: usize,
    /// The head's first number.
    pub(super) first: usize,
}

impl Place {
    /// `size` numbers of a slot.
    #[inline(always)]
    pub(super) fn of(self, pieces: &[Box<[f32]>], slot: u32, size: usize) -> &[f32] {
        let (piece, at) = (slot as usize / self.chunk, slot as usize % self.chunk * self.width + self.first);
        &pieces[piece][at..at + size]
    }
}

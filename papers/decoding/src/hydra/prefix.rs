//! Prefix attention at decoding: one decoder layer over the base's hidden states, with keys and values of its own.

use super::heads::{BaseFacts, failed};
use ream_lab::Result;
use ream_lm::quant::{Matrix, Rows, product};
use ream_nn::layers::{Block, FeedForward, Norm};
use ream_nn::simd::{self, dot, vectorised};

/// The layer, its matrices in 4 bits.
#[derive(Clone, Debug)]
pub(super) struct PrefixLayer {
    attention_norm: (Vec<f32>, f32),
    qkv: Matrix,
    out: Matrix,
    mlp_norm: (Vec<f32>, f32),
    gate_up: Matrix,
    down: Matrix,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    /// Radians that pair `i` turns per position.
    frequencies: Vec<f64>,
}

/// Keys and values of the positions read so far, `[positions, kv_heads * head_size]` each.
#[derive(Clone, Debug, Default)]
pub(super) struct PrefixRows {
    keys: Vec<f32>,
    values: Vec<f32>,
}

vectorised! {
    /// `out = silu(gate) * up`.
    fn gated(out: &mut [f32], gate: &[f32], up: &[f32]) {
        let n = out.len();
        let (gate, up) = (&gate[..n], &up[..n]);
        for i in 0..n { out[i] = gate[i] * simd::sigmoid::<FMA>(gate[i]) * up[i]; }
    }
}
vectorised! {
    /// `out += factor * x`.
    fn add_scaled(out: &mut [f32], x: &[f32], factor: f32) {
        for (out, x) in out.iter_mut().zip(x) { *out = simd::fma::<FMA>(factor, *x, *out); }
    }
}

impl PrefixLayer {
    pub(super) fn new(block: &Block, base: &BaseFacts) -> Result<Self> {
        let (heads, kv_heads, head_size) = base.layer_heads();
        let d = base.d;
        let FeedForward::SwiGlu(mlp) = &block.mlp else {
            return Err(failed("the layer of prefix attention has no gated feed-forward"));
        };
        let matrix =
            |w: Vec<f32>, inputs: usize| Matrix::quantize_4(&w, w.len() / inputs, inputs).map_err(failed);
        let hidden = mlp.down.weight.len() / d;
        let base_of = f64::from(base.rope_base());
        Ok(Self {
            attention_norm: norm(&block.attention_norm)?,
            qkv: matrix(block.attention.qkv.weight.to_vec(), d)?,
            out: matrix(block.attention.out.weight.to_vec(), d)?,
            mlp_norm: norm(&block.mlp_norm)?,
            gate_up: matrix(mlp.gate_up.weight.to_vec(), d)?,
            down: matrix(mlp.down.weight.to_vec(), hidden)?,
            heads,
            kv_heads,
            head_size,
            frequencies: (0..head_size / 2)
                .map(|i| libm::pow(base_of, -(2.0 * i as f64) / head_size as f64))
                .collect(),
        })
    }

    pub(super) fn size(&self) -> usize {
        [&self.qkv, &self.out, &self.gate_up, &self.down].iter().map(|m| m.size()).sum()
    }

    /// Reads states `[positions, d]` after those that were read; what stands for the last of them, `[d]`.
    pub(super) fn read(&self, rows: &mut PrefixRows, states: &[f32]) -> Vec<f32> {
        let d = self.qkv.inputs();
        let (count, width) = (states.len() / d, self.kv_heads * self.head_size);
        let mut normed = vec![0.0; states.len()];
        for (out, x) in normed.chunks_exact_mut(d).zip(states.chunks_exact(d)) {
            rms_norm(x, &self.attention_norm, out);
        }
        let packed = self.qkv.outputs();
        let mut qkv = vec![0.0; count * packed];
        product(&self.qkv, &Rows::new(&normed, d), &mut qkv);
        for row in qkv.chunks_exact_mut(packed) {
            self.turn(&mut row[..d + width], rows.keys.len() / width);
            rows.keys.extend(&row[d..d + width]);
            rows.values.extend(&row[d + width..]);
        }
        let Some(last) = states.chunks_exact(d).last() else { return vec![0.0; d] };
        let mut x = last.to_vec();
        let mixed = self.attend(rows, &qkv[(count - 1) * packed..][..d]);
        let mut more = vec![0.0; d];
        product(&self.out, &Rows::new(&mixed, d), &mut more);
        add_scaled(&mut x, &more, 1.0);
        let mut normed = vec![0.0; d];
        rms_norm(&x, &self.mlp_norm, &mut normed);
        let mut both = vec![0.0; self.gate_up.outputs()];
        product(&self.gate_up, &Rows::new(&normed, d), &mut both);
        let (gate, up) = both.split_at(both.len() / 2);
        let mut wide = vec![0.0; gate.len()];
        gated(&mut wide, gate, up);
        product(&self.down, &Rows::new(&wide, wide.len()), &mut more);
        add_scaled(&mut x, &more, 1.0);
        x
    }

    /// Turns every head of a row (half-split pairs).
    fn turn(&self, row: &mut [f32], position: usize) {
        let half = self.head_size / 2;
        for (i, frequency) in self.frequencies.iter().enumerate() {
            let angle = position as f64 * frequency;
            let (cos, sin) = (libm::cos(angle) as f32, libm::sin(angle) as f32);
            for head in row.chunks_exact_mut(self.head_size) {
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * cos - b * sin;
                head[i + half] = a * sin + b * cos;
            }
        }
    }

    /// Every head of a query over all rows.
    fn attend(&self, rows: &PrefixRows, query: &[f32]) -> Vec<f32> {
        let (size, width) = (self.head_size, self.kv_heads * self.head_size);
        let mut mixed = vec![0.0; query.len()];
        let factor = 1.0 / (size as f32).sqrt();
        for (h, (out, query)) in mixed.chunks_exact_mut(size).zip(query.chunks_exact(size)).enumerate() {
            let at = h / (self.heads / self.kv_heads) * size;
            let mut scores: Vec<f32> =
                rows.keys.chunks_exact(width).map(|k| factor * dot(query, &k[at..at + size])).collect();
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.iter_mut().for_each(|s| *s = libm::expf(*s - largest));
            let total: f32 = scores.iter().sum();
            for (score, value) in scores.iter().zip(rows.values.chunks_exact(width)) {
                add_scaled(out, &value[at..at + size], score / total);
            }
        }
        mixed
    }
}

fn norm(norm: &Norm) -> Result<(Vec<f32>, f32)> {
    match norm {
        Norm::Rms(norm) => Ok((norm.weight.to_vec(), norm.eps)),
        Norm::Layer(_) => Err(failed("the layer of prefix attention has another norm than RMSNorm")),
    }
}

fn rms_norm(x: &[f32], (weight, eps): &(Vec<f32>, f32), out: &mut [f32]) {
    let factor = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * w;
    }
}

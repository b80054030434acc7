//! Multi-head attention under a mask, with rotary positions, and layer normalisation.

use ream_nn::{Init, Module, Param, Result, Tensor, ops};

use super::cells::Architecture;
use super::masks::sees;

/// Base of the rotary angles.
const ROTARY_BASE: f64 = 10_000.0;
/// Added to variances.
const EPSILON: f32 = 1e-5;

/// Which keys a query may see: 0 where it may, `-inf` where not, `[1 or batch, 1, queries, keys]`.
pub(super) struct Mask(Tensor);

impl Mask {
    fn new(
        samples: usize,
        queries: usize,
        keys: usize,
        allowed: impl Fn(usize, usize, usize) -> bool,
    ) -> Result<Self> {
        let mut values = vec![0.0; samples * queries * keys];
        for (at, value) in values.iter_mut().enumerate() {
            let (sample, rest) = (at / (queries * keys), at % (queries * keys));
            if !allowed(sample, rest / keys, rest % keys) {
                *value = f32::NEG_INFINITY;
            }
        }
        Tensor::from_vec(values, &[samples, 1, queries, keys]).map(Self)
    }

    /// Of a decoder over `tokens` tokens, of which each sample has `n_in` of input.
    pub(super) fn decoder(architecture: Architecture, n_in: &[usize], tokens: usize) -> Result<Self> {
        if architecture == Architecture::CausalDecoder {
            return Self::causal(tokens);
        }
        Self::new(n_in.len(), tokens, tokens, |sample, q, k| sees(architecture, n_in[sample], q, k))
    }

    /// Every token those before it.
    pub(super) fn causal(tokens: usize) -> Result<Self> {
        Self::new(1, tokens, tokens, |_, q, k| sees(Architecture::CausalDecoder, 0, q, k))
    }

    /// Every query the first `lengths` keys of its sample: within an encoder, and from a decoder to it.
    pub(super) fn lengths(lengths: &[usize], queries: usize, keys: usize) -> Result<Self> {
        Self::new(lengths.len(), queries, keys, |sample, _, k| k < lengths[sample])
    }
}

/// `x W'`, entries of `W` normal with the given deviation.
pub(super) struct Projection(pub(super) Param);

impl Projection {
    pub(super) fn new(init: &Init, d_in: usize, d_out: usize, deviation: f32) -> Self {
        Self(init.normal("weight", &[d_out, d_in], deviation))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.0.tensor(), None)
    }
}

/// Centres and scales the last axis, then applies a gain.
pub(super) struct Norm(Param);

impl Norm {
    pub(super) fn new(init: &Init, d: usize) -> Self {
        Self(init.constant("gain", &[d], 1.0))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let last = x.rank() - 1;
        let centred = x.sub(&x.mean_axis(last)?)?;
        let scale = centred.mul(&centred)?.mean_axis(last)?.add_scalar(EPSILON).powf(-0.5);
        centred.mul(&scale)?.mul(&self.0.tensor())
    }
}

impl Module for Norm {
    fn params(&self) -> Vec<Param> {
        vec![self.0.clone()]
    }
}

/// Rotates the two halves of every head by angles that grow with the position.
pub(super) struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For `tokens` positions and heads of `width`, which is even.
    pub(super) fn new(tokens: usize, width: usize) -> Result<Self> {
        let half = width / 2;
        let angle = |at: usize| {
            let (position, i) = (at / width, at % width % half);
            position as f64 * libm::pow(ROTARY_BASE, -(i as f64) / half as f64)
        };
        let table = |f: fn(f64) -> f64| -> Result<Tensor> {
            Tensor::from_vec((0..tokens * width).map(|at| f(angle(at)) as f32).collect(), &[tokens, width])
        };
        Ok(Self { cos: table(libm::cos)?, sin: table(libm::sin)? })
    }

    /// `[batch, heads, tokens, width]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.last() / 2;
        let halves = x.split(x.rank() - 1, &[half, half])?;
        let turned = ops::concat(&[&halves[1].neg(), &halves[0]], x.rank() - 1)?;
        x.mul(&self.cos)?.add(&turned.mul(&self.sin)?)
    }
}

/// Attention with `heads` heads.
pub(super) struct Attention {
    query: Projection,
    key: Projection,
    value: Projection,
    out: Projection,
    heads: usize,
}

impl Attention {
    /// `out_deviation` is that of the projection back to the residual stream.
    pub(super) fn new(init: &Init, d: usize, heads: usize, out_deviation: f32) -> Self {
        let deviation = 1.0 / (d as f32).sqrt();
        Self {
            query: Projection::new(&init.at("query"), d, d, deviation),
            key: Projection::new(&init.at("key"), d, d, deviation),
            value: Projection::new(&init.at("value"), d, d, deviation),
            out: Projection::new(&init.at("out"), d, d, out_deviation),
            heads,
        }
    }

    /// `[batch, tokens, d]` to `[batch, heads, tokens, d / heads]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, d) = (x.shape()[0], x.shape()[1], x.last());
        x.reshape(&[batch, tokens, self.heads, d / self.heads])?.permute(&[0, 2, 1, 3])
    }

    /// Queries from `x` `[batch, queries, d]`, keys and values from `memory` `[batch, keys, d]`. Positions are rotary where
    /// given: within a stack, not from a decoder to an encoder.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        memory: &Tensor,
        mask: &Mask,
        rotary: Option<&Rotary>,
    ) -> Result<Tensor> {
        let mut query = self.split(&self.query.forward(x)?)?;
        let mut key = self.split(&self.key.forward(memory)?)?;
        let value = self.split(&self.value.forward(memory)?)?;
        if let Some(rotary) = rotary {
            (query, key) = (rotary.forward(&query)?, rotary.forward(&key)?);
        }
        let scale = 1.0 / (query.last() as f32).sqrt();
        let scores = query.matmul(&key.transpose(2, 3)?)?.mul_scalar(scale).add(&mask.0)?;
        let mixed = scores.softmax().matmul(&value)?.permute(&[0, 2, 1, 3])?;
        self.out.forward(&mixed.reshape(x.shape())?)
    }
}

impl Module for Attention {
    fn params(&self) -> Vec<Param> {
        [&self.query, &self.key, &self.value, &self.out].iter().map(|p| p.0.clone()).collect()
    }
}

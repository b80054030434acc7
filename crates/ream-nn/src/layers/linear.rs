//! Linear maps, embeddings, and the two-layer perceptrons of transformers.

use crate::error::Result;
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// `x W' + b` over the last axis; `weight` is `[d_out, d_in]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[d_out, d_in]`.
    pub weight: Param,
    /// `[d_out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// Weights normal with deviation `1 / sqrt(d_in)`, bias zero.
    #[must_use]
    pub fn new(init: &Init, d_in: usize, d_out: usize, bias: bool) -> Self {
        Self::with_deviation(init, d_in, d_out, bias, 1.0 / (d_in.max(1) as f32).sqrt())
    }

    /// Weights normal with the given deviation, bias zero.
    #[must_use]
    pub fn with_deviation(init: &Init, d_in: usize, d_out: usize, bias: bool, deviation: f32) -> Self {
        Self {
            weight: init.normal("weight", &[d_out, d_in], deviation),
            bias: bias.then(|| init.constant("bias", &[d_out], 0.0)),
        }
    }

    /// `[.., d_in]` to `[.., d_out]`.
    ///
    /// # Errors
    /// When the last axis is not `d_in`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        ops::linear(x, &self.weight.tensor(), bias.as_ref())
    }
}

impl Module for Linear {
    fn params(&self) -> Vec<Param> {
        std::iter::once(self.weight.clone()).chain(self.bias.clone()).collect()
    }
}

/// A table of vectors.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[rows, d]`.
    pub weight: Param,
}

impl Embedding {
    /// Rows normal with the given deviation.
    #[must_use]
    pub fn new(init: &Init, rows: usize, d: usize, deviation: f32) -> Self {
        Self { weight: init.normal("weight", &[rows, d], deviation) }
    }

    /// Rows by number: shape `to` followed by `d`.
    ///
    /// # Errors
    /// When an id has no row, or the ids do not fill the shape.
    pub fn forward(&self, ids: &[u32], to: &[usize]) -> Result<Tensor> {
        ops::embedding(&self.weight.tensor(), ids, to)
    }

    /// Scores of all rows: `x E'`, the tied output head.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        ops::linear(x, &self.weight.tensor(), None)
    }
}

impl Module for Embedding {
    fn params(&self) -> Vec<Param> {
        vec![self.weight.clone()]
    }
}

/// `down(gelu(up(x)))`.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// `d` to `hidden`.
    pub up: Linear,
    /// `hidden` to `d`.
    pub down: Linear,
}

impl Mlp {
    /// Two linear maps with a GELU between.
    #[must_use]
    pub fn new(init: &Init, d: usize, hidden: usize, bias: bool) -> Self {
        Self {
            up: Linear::new(&init.at("up"), d, hidden, bias),
            down: Linear::new(&init.at("down"), hidden, d, bias),
        }
    }

    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&self.up.forward(x)?.gelu())
    }
}

impl Module for Mlp {
    fn params(&self) -> Vec<Param> {
        [self.up.params(), self.down.params()].concat()
    }
}

/// `down(silu(gate(x)) * up(x))` (Shazeer, 2020).
#[derive(Clone, Debug)]
pub struct SwiGlu {
    /// `d` to `2 hidden`: gate and up in one product.
    pub gate_up: Linear,
    /// `hidden` to `d`.
    pub down: Linear,
}

impl SwiGlu {
    /// Three linear maps.
    #[must_use]
    pub fn new(init: &Init, d: usize, hidden: usize) -> Self {
        Self {
            gate_up: Linear::new(&init.at("gate_up"), d, 2 * hidden, false),
            down: Linear::new(&init.at("down"), hidden, d, false),
        }
    }

    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&self.gate_up.forward(x)?.silu_gate()?)
    }
}

impl Module for SwiGlu {
    fn params(&self) -> Vec<Param> {
        [self.gate_up.params(), self.down.params()].concat()
    }
}

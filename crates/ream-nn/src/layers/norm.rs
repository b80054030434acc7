//! Normalisation layers.

use crate::error::{Result, shape};
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

use super::Linear;

/// Added to the variance.
const EPS: f32 = 1e-5;

/// Mean 0 and variance 1 over the last axis, then weight and bias (Ba et al., 2016).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[d]`, begins at 1.
    pub weight: Param,
    /// `[d]`, begins at 0.
    pub bias: Option<Param>,
    /// Added to the variance; 1e-5.
    pub eps: f32,
}

impl LayerNorm {
    /// For a last axis of `d`.
    #[must_use]
    pub fn new(init: &Init, d: usize, bias: bool) -> Self {
        Self {
            weight: init.constant("weight", &[d], 1.0),
            bias: bias.then(|| init.constant("bias", &[d], 0.0)),
            eps: EPS,
        }
    }

    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        ops::layer_norm(x, Some(&self.weight.tensor()), bias.as_ref(), self.eps)
    }
}

impl Module for LayerNorm {
    fn params(&self) -> Vec<Param> {
        std::iter::once(self.weight.clone()).chain(self.bias.clone()).collect()
    }
}

/// Mean square 1 over the last axis, then weight (Zhang & Sennrich, 2019).
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[d]`, begins at 1.
    pub weight: Param,
    /// Added to the mean square; 1e-5.
    pub eps: f32,
}

impl RmsNorm {
    /// For a last axis of `d`.
    #[must_use]
    pub fn new(init: &Init, d: usize) -> Self {
        Self { weight: init.constant("weight", &[d], 1.0), eps: EPS }
    }

    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::rms_norm(x, Some(&self.weight.tensor()), self.eps)
    }
}

impl Module for RmsNorm {
    fn params(&self) -> Vec<Param> {
        vec![self.weight.clone()]
    }
}

/// Layer normalisation whose shift, scale and gate come from a vector for each sample (adaLN-Zero; Peebles & Xie, 2023):
/// `shift, scale, gate = W silu(c) + b`, which begin at 0, so that a gated block begins as the identity.
#[derive(Clone, Debug)]
pub struct AdaLn {
    /// `condition` to `3 d`: shift, scale, gate.
    pub projection: Linear,
    d: usize,
}

impl AdaLn {
    /// For a last axis of `d` and conditions of `condition` numbers.
    #[must_use]
    pub fn new(init: &Init, d: usize, condition: usize) -> Self {
        Self { projection: Linear::with_deviation(&init.at("projection"), condition, 3 * d, true, 0.0), d }
    }

    /// `x` `[batch, .., d]` normalised, scaled and shifted by its sample's condition (`[batch, condition]`), and the gate
    /// `[batch, d]` for [`ops::gated_add`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor, condition: &Tensor) -> Result<(Tensor, Tensor)> {
        let parts = self.projection.forward(&condition.silu())?.split(1, &[self.d; 3])?;
        let [shift, scale, gate] = parts.as_slice() else {
            return shape("AdaLn", "three parts of the projection are needed");
        };
        let x = ops::layer_norm(x, None, None, EPS)?;
        Ok((ops::modulate(&x, shift, scale)?, gate.clone()))
    }
}

impl Module for AdaLn {
    fn params(&self) -> Vec<Param> {
        self.projection.params()
    }
}

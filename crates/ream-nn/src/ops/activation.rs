//! Functions between the layers of a perceptron.

use serde::{Deserialize, Serialize};

use super::elementwise::{elu, gelu, relu, silu, tanh};
use crate::tensor::Tensor;

/// The function between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// Gaussian error linear unit, tanh form.
    Gelu,
    /// `x sigmoid(x)`.
    Silu,
    /// `x` for positive x, else `e^x - 1`.
    Elu,
}

/// The loops of an activation.
pub(super) struct Loops {
    /// `out = f(x)`.
    pub(super) forward: fn(&mut [f32], &[f32]),
    /// `x = f(x)`.
    pub(super) in_place: fn(&mut [f32]),
    /// `grad *= f'`, from what is kept.
    pub(super) backward: fn(&mut [f32], &[f32]),
    /// Whether backward reads x rather than `f(x)`.
    pub(super) keeps_input: bool,
}

impl Activation {
    /// Element by element.
    #[must_use]
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
            Self::Gelu => x.gelu(),
            Self::Silu => x.silu(),
            Self::Elu => x.elu(),
        }
    }

    /// The gain of an orthogonal beginning that keeps the scale of activations: `sqrt 2` for rectifiers, 5/3 for tanh.
    #[must_use]
    pub fn gain(self) -> f32 {
        if self == Self::Tanh { 5.0 / 3.0 } else { core::f32::consts::SQRT_2 }
    }

    pub(super) fn loops(self) -> Loops {
        macro_rules! loops {
            ($name:ident, $keeps_input:literal) => {
                Loops {
                    forward: $name::forward,
                    in_place: $name::in_place,
                    backward: $name::backward,
                    keeps_input: $keeps_input,
                }
            };
        }
        match self {
            Self::Relu => loops!(relu, false),
            Self::Tanh => loops!(tanh, false),
            Self::Gelu => loops!(gelu, true),
            Self::Silu => loops!(silu, true),
            Self::Elu => loops!(elu, false),
        }
    }
}

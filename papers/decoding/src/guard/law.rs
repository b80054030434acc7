//! Laws over texts, and proposals that can be trained.

use ream_lab::{Error, Result};
use ream_nn::{Param, Tensor};
use ream_rand::Stream;

/// A text: its tokens.
pub type Tokens = Vec<u32>;

/// A law over texts of one kind of length: draws them, and scores any text as the same event.
pub trait Law {
    /// Text `i` of `n` is drawn with `stream.at(i)` alone.
    ///
    /// # Errors
    /// Those of the model underneath.
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>>;

    /// Natural logarithm of the probability of each text.
    ///
    /// # Errors
    /// Those of the model underneath.
    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>>;
}

/// A law with parameters.
pub trait Proposal: Law + Sized {
    /// What is trained.
    fn params(&self) -> Vec<Param>;

    /// `sum of weight * log a'(text)`, a scalar with a gradient.
    ///
    /// # Errors
    /// Those of the model underneath.
    fn weighted_log_likelihood(&self, texts: &[Tokens], weights: &[f32]) -> Result<Tensor>;

    /// The same law with parameters of its own.
    ///
    /// # Errors
    /// Those of the model underneath.
    fn copy(&self) -> Result<Self>;

    /// Takes over the parameters of another.
    ///
    /// # Errors
    /// When they are of another shape.
    fn set(&self, other: &Self) -> Result<()> {
        let pairs = self.params().into_iter().zip(other.params());
        pairs.into_iter().try_for_each(|(mine, theirs)| mine.set(&theirs.to_vec()).map_err(failed))
    }
}

/// Any error as a failed run.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// `log(sum of e^x)`.
#[must_use]
pub fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = x.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + libm::log(x.map(|x| libm::exp(x - most)).sum())
}

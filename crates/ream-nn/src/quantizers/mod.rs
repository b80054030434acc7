//! Quantizers: features `[.., d]` to codes of a finite set and back, with gradients that pass through.
//!
//! | | codes | gradient for the encoder | codebook learns by |
//! |---|---|---|---|
//! | [`VectorQuantizer`] | nearest of K vectors | straight through | moving averages or its own loss |
//! | [`ResidualVq`] | several stages, each on what the one before left | straight through | as above |
//! | [`MultiScaleVq`] | token maps of rising size, one codebook | straight through | as above |
//! | [`Fsq`] | every dimension rounded to L levels | straight through the rounding | nothing to learn |
//! | [`Bsq`] | signs of a unit vector | straight through | nothing to learn |
//! | [`IndexBackprop`] | best scoring of K vectors | through the softmax over all codes | the same gradient, every code |
//!
//! and [`k_means`], [`balanced_k_means`], [`hierarchical_balanced`] for codes made once from finished features.
//!
//! *Straight through* (Bengio et al., 2013, arXiv 1308.3432): the forward value is the code, the gradient is handed on unchanged as if
//! quantisation were the identity ([`straight_through`]).
//!
//! Every quantizer has `forward` (nothing changes), `encode` and `decode`; those that learn by moving averages have `forward_train`. A
//! loss is a mean over all elements, weighted, ready to be added to the training loss.
//!
//! ```
//! use ream_nn::{Init, Tensor, quantizers::{VectorQuantizer, VqConfig}};
//! use ream_rand::Stream;
//! let stream = Stream::new(1, "features");
//! let vq = VectorQuantizer::new(&Init::new(1).at("vq"), VqConfig::new(32, 4))?;
//! for step in 0..10 {
//!     let z = Tensor::randn(&[8, 16, 4], 1.0, &mut stream.at(step));
//!     let out = vq.forward_train(&z, &mut stream.child(1).at(step))?;
//!     assert_eq!((out.quantized.shape(), out.indices.len()), (z.shape(), 8 * 16));
//! }
//! # Ok::<(), ream_nn::NnError>(())
//! ```

mod bsq;
mod fsq;
mod ibq;
mod k_means;
mod multi_scale;
mod nearest;
mod residual;
mod vq;

use std::sync::Arc;

pub use bsq::{Bsq, BsqConfig};
pub use fsq::Fsq;
pub use ibq::{IndexBackprop, IndexBackpropConfig};
pub use k_means::{ItemCodes, KMeans, balanced_k_means, hierarchical_balanced, k_means};
pub use multi_scale::{MultiScaleQuantized, MultiScaleVq, MultiScaleVqConfig, Replay};
pub use residual::{ResidualQuantized, ResidualVq, ResidualVqConfig};
pub use vq::{CodebookUpdate, Distance, Revival, Seeding, VectorQuantizer, VqConfig};

use crate::buffer::Buffer;
use crate::error::{Result, shape, value};
use crate::tensor::Tensor;

/// What a quantizer makes of features `[.., d]`.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// The codes' vectors `[.., d]`, with a gradient to the features.
    pub quantized: Tensor,
    /// One code for each vector, row-major.
    pub indices: Vec<u32>,
    /// How far the features are from their codes: mean squared difference, unweighted, shape `[]`; its gradient moves the features only.
    pub commitment: Tensor,
    /// What to add to the training loss: the commitment and whatever else the quantizer needs, weighted, shape `[]`.
    pub loss: Tensor,
    /// Which codes came.
    pub usage: Usage,
}

/// Which codes came in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Number of different codes that came.
    pub used: usize,
    /// `e^H` of the codes' shares: the number of codes that equally frequent ones would be.
    pub perplexity: f64,
}

impl Usage {
    /// Counts codes.
    #[must_use]
    pub fn of(indices: &[u32]) -> Self {
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        let runs: Vec<usize> = sorted.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
        let share = |run: &usize| *run as f64 / indices.len() as f64;
        let entropy: f64 = runs.iter().map(share).map(|p| -p * libm::log(p)).sum();
        Self { used: runs.len(), perplexity: if runs.is_empty() { 0.0 } else { libm::exp(entropy) } }
    }
}

/// `values` in the forward pass, the identity for the gradient of `x`.
///
/// # Errors
/// When the numbers of elements differ.
pub fn straight_through(x: &Tensor, values: &Tensor) -> Result<Tensor> {
    if x.shape() != values.shape() {
        return shape("straight_through", format!("{:?} and {:?}", x.shape(), values.shape()));
    }
    let parent = x.clone();
    let data: Arc<Buffer> = values.shared_data();
    Ok(Tensor::derived("straight_through", x.shape(), data, &[x], move |grad, sink| {
        sink.add(&parent, grad);
        Ok(())
    }))
}

/// `x / |x|` along the last axis; a zero vector stays zero.
fn unit(x: &Tensor) -> Result<Tensor> {
    let squares = x.square().sum_axis(x.rank() - 1)?;
    x.div(&squares.add_scalar(1e-24).sqrt())
}

/// The axes before the last one, when the last one is `d` and all numbers are finite.
fn features<'a>(operation: &'static str, x: &'a Tensor, d: usize) -> Result<&'a [usize]> {
    match x.shape().split_last() {
        Some((last, lead)) if *last == d => match x.data().iter().position(|x| !x.is_finite()) {
            Some(i) => value(operation, format!("element {} of vector {} is not finite", i % d, i / d)),
            None => Ok(lead),
        },
        _ => shape(operation, format!("the last axis of {:?} must be d = {d}", x.shape())),
    }
}

/// Refuses codes that do not exist.
fn check_codes(operation: &'static str, indices: &[u32], codes: u64, to: &[usize]) -> Result<()> {
    if to.iter().product::<usize>() != indices.len() {
        return shape(operation, format!("{} codes do not fill the shape {to:?}", indices.len()));
    }
    match indices.iter().enumerate().find(|(_, i)| u64::from(**i) >= codes) {
        Some((at, bad)) => value(operation, format!("code {bad} at position {at}, there are {codes}")),
        None => Ok(()),
    }
}

/// `to` followed by `d`.
fn with_last(to: &[usize], d: usize) -> Vec<usize> {
    to.iter().copied().chain([d]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn straight_through_is_the_identity_for_gradients() {
        let x = Tensor::randn(&[3, 2], 1.0, &mut Stream::new(1, "x").at(0)).watched();
        let y = straight_through(&x, &Tensor::full(&[3, 2], 5.0)).unwrap();
        assert_eq!(y.to_vec(), [5.0; 6]);
        let weights = vec![1.0, -2.0, 3.0, 4.0, 5.0, -6.0];
        let grads = y.backward_with(weights.clone().into()).unwrap();
        assert_eq!(grads.of(&x).unwrap(), weights);
        assert!(straight_through(&x, &Tensor::zeros(&[6])).is_err());
    }

    #[test]
    fn usage_counts_and_perplexity() {
        let usage = Usage::of(&[3, 1, 3, 1, 7, 7, 9, 9]);
        assert!(usage.used == 4 && (usage.perplexity - 4.0).abs() < 1e-12);
        assert!((Usage::of(&[5; 9]).perplexity - 1.0).abs() < 1e-12);
        assert_eq!(Usage::of(&[]), Usage { used: 0, perplexity: 0.0 });
    }
}

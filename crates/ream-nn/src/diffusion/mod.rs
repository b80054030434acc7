//! Diffusion and flow models as plain functions: how data are noised, what the model is asked for, how one samples.
//!
//! A model is a closure: `FnMut(&Tensor, &[f32]) -> Result<Tensor>` gets noisy data `[batch, ..]` and one time for each sample, and gives an
//! output of the same shape. What time and output mean is said by the method:
//!
//! | | path | time the model sees | output |
//! |---|---|---|---|
//! | [`Ddpm`] | `x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e` | step `0..T` | [`Prediction`] |
//! | [`Edm`] | `x = y + sigma n` | `ln(sigma) / 4` | `F` inside the preconditioning |
//! | [`flow`] | `x_t = (1 - t) x_0 + t e` | `t` in `[0, 1]` | velocity `e - x_0` |
//! | [`masked`] | a token is masked with probability `t` | `t` in `(0, 1]` | logits of every token |
//!
//! Training computes a loss of the model's output against the method's target with [`crate::ops::mse`]; samplers build no graph.

mod ddpm;
mod edm;
pub mod flow;
pub mod masked;
mod schedule;

pub use ddpm::{Ddpm, Posterior, Prediction, Variance};
pub use edm::{Churn, Edm};
pub use schedule::{NoiseSchedule, karras_sigmas};

use crate::error::{Result, config, shape};
use crate::tensor::Tensor;

/// Classifier-free guidance `u + scale (c - u)` of two outputs of a model (Ho & Salimans, 2022, arXiv 2207.12598); the conditional one as it
/// is at scale 1.
///
/// # Errors
/// When the shapes differ or the scale is not finite.
pub fn guided(conditional: &Tensor, unconditional: &Tensor, scale: f32) -> Result<Tensor> {
    same_shape("guided", conditional, unconditional)?;
    if !scale.is_finite() {
        return config("scale", "finite", scale);
    }
    if scale == 1.0 {
        return Ok(conditional.clone());
    }
    unconditional.mul_scalar(1.0 - scale).add(&conditional.mul_scalar(scale))
}

fn same_shape(operation: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.shape() == b.shape() {
        Ok(())
    } else {
        shape(operation, format!("{:?} and {:?}", a.shape(), b.shape()))
    }
}

/// One number for each sample of `x` (`[batch, ..]`), as `[batch, 1, ..]`.
fn per_sample(
    operation: &'static str,
    x: &Tensor,
    numbers: impl ExactSizeIterator<Item = f64>,
) -> Result<Tensor> {
    let batch = x.shape().first().copied().unwrap_or(0);
    if x.rank() == 0 || numbers.len() != batch {
        return shape(
            operation,
            format!("{} times for the samples [batch, ..] of {:?}", numbers.len(), x.shape()),
        );
    }
    let mut to = vec![1; x.rank()];
    to[0] = batch;
    Tensor::from_vec(numbers.map(|n| n as f32).collect(), &to)
}

/// `a x + b y` with one `(a, b)` for each sample.
fn mix(operation: &'static str, x: &Tensor, y: &Tensor, weights: &[(f64, f64)]) -> Result<Tensor> {
    same_shape(operation, x, y)?;
    let a = per_sample(operation, x, weights.iter().map(|w| w.0))?;
    let b = per_sample(operation, x, weights.iter().map(|w| w.1))?;
    x.mul(&a)?.add(&y.mul(&b)?)
}

/// The same time for every sample.
fn times(x: &Tensor, t: f64) -> Vec<f32> {
    vec![t as f32; x.shape().first().copied().unwrap_or(0)]
}

/// An output of the model, of the shape of its input.
fn asked(
    operation: &'static str,
    model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
    x: &Tensor,
    t: &[f32],
) -> Result<Tensor> {
    let out = model(x, t)?;
    if out.shape() != x.shape() {
        return shape(operation, format!("the model made {:?} of {:?}", out.shape(), x.shape()));
    }
    Ok(out)
}

#[cfg(test)]
mod testing {
    use super::*;
    use ream_rand::{Rng, Stream};

    pub(super) fn rng(step: u64) -> Rng {
        Stream::new(23, "diffusion").at(step)
    }

    pub(super) fn moments(x: &Tensor) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.data().iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        (mean, x.data().iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (n - 1.0))
    }

    /// Mean within 5 standard errors, variance within 5 of its own (normal law), besides a stated bias of the method.
    pub(super) fn assert_moments(name: &str, x: &Tensor, mean: f64, variance: f64, bias: f64) {
        let n = x.len() as f64;
        let (m, v) = moments(x);
        assert!(
            (m - mean).abs() < 5.0 * (variance / n).sqrt() + bias + 1e-6,
            "{name}: mean {m} wanted {mean}"
        );
        let slack = 5.0 * variance * (2.0 / n).sqrt() + bias + 1e-6;
        assert!((v - variance).abs() < slack, "{name}: variance {v} wanted {variance}");
    }

    #[test]
    fn guidance_interpolates_and_extrapolates() {
        let (c, u) = (Tensor::full(&[2], 3.0), Tensor::full(&[2], 1.0));
        for (scale, want) in [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (0.5, 2.0)] {
            assert_eq!(guided(&c, &u, scale).unwrap().to_vec(), [want; 2]);
        }
        assert!(guided(&c, &Tensor::zeros(&[3]), 1.0).is_err() && guided(&c, &u, f32::NAN).is_err());
        crate::check_gradients(&[c, u], &[], 0.01, |x| guided(&x[0], &x[1], 2.5)).unwrap();
    }
}

//! Squashed Gaussian policies, and the slow copies of networks that value learning needs.
//!
//! `a = tanh(u)`, `u = mu + sigma eps`, `eps` standard normal (Haarnoja et al., 2018, arXiv 1801.01290). The density of `a` is
//! that of `u` over the derivative of tanh:
//!
//! `ln pi(a) = sum_i [ -eps_i^2 / 2 - ln sigma_i - ln(2 pi) / 2 - ln(1 - tanh^2 u_i) ]`
//!
//! and `ln(1 - tanh^2 u) = 2 (ln 2 - u - softplus(-2 u))`, which stays finite where `1 - tanh^2 u` rounds to zero. The deviation
//! is bounded smoothly: `ln sigma = low + (high - low) (tanh(s) + 1) / 2`.

use ream_rand::Rng;

use crate::error::{Result, config, shape};
use crate::kernels;
use crate::layers::Linear;
use crate::param::{Init, Module, Param};
use crate::simd::{fma, vectorised};
use crate::tensor::Tensor;
use crate::threads;

/// `ln(2 pi) / 2`.
const HALF_LN_TAU: f32 = 0.918_938_5;

/// Mean and deviation of a Gaussian that is squashed by tanh.
#[derive(Clone, Debug)]
pub struct SquashedGaussian {
    /// Mean of `u`, `[batch, d]`.
    pub mean: Tensor,
    /// Logarithm of the deviation of `u`, `[batch, d]`.
    pub log_std: Tensor,
}

impl SquashedGaussian {
    /// An action and its log density, `[batch, d]` and `[batch, 1]`; gradients flow through both (the reparametrised sample).
    ///
    /// # Errors
    /// Never for a distribution whose mean and deviation have one shape.
    pub fn sample(&self, rng: &mut Rng) -> Result<(Tensor, Tensor)> {
        self.sample_with(&Tensor::randn(self.mean.shape(), 1.0, rng))
    }

    /// As [`SquashedGaussian::sample`] with the noise given, `[batch, d]`.
    ///
    /// # Errors
    /// When the noise has another shape.
    pub fn sample_with(&self, noise: &Tensor) -> Result<(Tensor, Tensor)> {
        if noise.shape() != self.mean.shape() {
            return shape(
                "SquashedGaussian",
                format!("noise {:?} must be [batch, d] = {:?}", noise.shape(), self.mean.shape()),
            );
        }
        let u = self.mean.add(&self.log_std.exp().mul(noise)?)?;
        let log_prob = self.log_density(&u, &noise.square())?;
        Ok((u.tanh(), log_prob))
    }

    /// The most likely pre-image squashed, `tanh(mu)`: the action of evaluation.
    #[must_use]
    pub fn mode(&self) -> Tensor {
        self.mean.tanh()
    }

    /// Log density of given actions, `[batch, 1]`; no gradient flows into the actions. They are drawn in to `1 - 1e-6` from the bounds.
    ///
    /// # Errors
    /// When the actions have another shape.
    pub fn log_prob(&self, actions: &Tensor) -> Result<Tensor> {
        if actions.shape() != self.mean.shape() {
            return shape(
                "SquashedGaussian",
                format!("actions {:?} must be [batch, d] = {:?}", actions.shape(), self.mean.shape()),
            );
        }
        let inverse = |a: &f32| libm::atanh(f64::from(*a).clamp(-1.0 + 1e-6, 1.0 - 1e-6)) as f32;
        let u = Tensor::from_vec(actions.data().iter().map(inverse).collect(), actions.shape())?;
        let eps = u.sub(&self.mean)?.mul(&self.log_std.neg().exp())?;
        self.log_density(&u, &eps.square())
    }

    fn log_density(&self, u: &Tensor, eps_squared: &Tensor) -> Result<Tensor> {
        let gaussian = eps_squared.affine(-0.5, -HALF_LN_TAU).sub(&self.log_std)?;
        // ln(1 - tanh^2 u) = 2 ln 2 - 2 u - 2 softplus(-2 u).
        let squash = u
            .affine(2.0, -2.0 * core::f32::consts::LN_2)
            .add(&u.mul_scalar(-2.0).softplus().mul_scalar(2.0))?;
        gaussian.add(&squash)?.sum_axis(u.rank() - 1)
    }
}

/// The last layer of a policy: features to a [`SquashedGaussian`].
#[derive(Clone, Debug)]
pub struct GaussianHead {
    /// `d` to `2 d_action`: means, then raw deviations.
    pub linear: Linear,
    bounds: (f32, f32),
}

impl GaussianHead {
    /// A head for `d_action` actions; `bounds` of the log deviation, usually `(-5, 2)`.
    ///
    /// # Errors
    /// When the bounds are not finite and ascending.
    pub fn new(init: &Init, d: usize, d_action: usize, bounds: (f32, f32)) -> Result<Self> {
        if !(bounds.0.is_finite() && bounds.1.is_finite() && bounds.0 < bounds.1) {
            return config("bounds of the log deviation", "finite and ascending", format!("{bounds:?}"));
        }
        Ok(Self { linear: Linear::new(init, d, 2 * d_action, true), bounds })
    }

    /// `[batch, d]` to a distribution over `[batch, d_action]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<SquashedGaussian> {
        let raw = self.linear.forward(x)?;
        let (axis, d) = (raw.rank() - 1, raw.last() / 2);
        let (low, high) = self.bounds;
        let half = (high - low) / 2.0;
        let log_std = raw.narrow(axis, d, d)?.tanh().affine(half, low + half);
        Ok(SquashedGaussian { mean: raw.narrow(axis, 0, d)?, log_std })
    }
}

impl Module for GaussianHead {
    fn params(&self) -> Vec<Param> {
        self.linear.params()
    }
}

vectorised! {
    fn towards(target: &mut [f32], source: &[f32], tau: f32) {
        for (t, s) in target.iter_mut().zip(source) { *t = fma::<FMA>(tau, s - *t, *t); }
    }
}

/// Soft update of a slow copy, `target <- target + tau (source - target)`, in place.
///
/// # Errors
/// When `tau` is not in `[0, 1]`, or number or shapes of the parameters differ; nothing is changed then.
pub fn polyak(target: &dyn Module, source: &dyn Module, tau: f32) -> Result<()> {
    if !(0.0..=1.0).contains(&tau) {
        return config("tau", "in [0, 1]", tau);
    }
    let (target, source) = (target.params(), source.params());
    if target.len() != source.len() {
        return shape("polyak", format!("{} parameters, the source has {}", target.len(), source.len()));
    }
    if let Some((t, s)) = target.iter().zip(&source).find(|(t, s)| t.shape() != s.shape()) {
        return shape(
            "polyak",
            format!("`{}` has shape {:?}, the source's `{}` {:?}", t.name(), t.shape(), s.name(), s.shape()),
        );
    }
    let sources: Vec<Tensor> = source.iter().map(Param::tensor).collect();
    Param::update_all(&target.iter().collect::<Vec<_>>(), |targets| {
        threads::chunks_of_all(targets, kernels::CHUNK, |which, i, t| {
            towards(t, &sources[which].data()[i..i + t.len()], tau);
        });
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "policy").at(0))
    }

    #[test]
    fn log_density_is_that_of_the_plain_formula_and_integrates_to_one() {
        let (mean, log_std) = (0.4_f64, -0.3_f64);
        let tensor = |v: f64, n| Tensor::full(&[n, 1], v as f32);
        let n = 4000;
        let actions: Vec<f32> = (0..n).map(|i| -1.0 + (i as f32 + 0.5) * 2.0 / n as f32).collect();
        let law = SquashedGaussian { mean: tensor(mean, n), log_std: tensor(log_std, n) };
        let got = law.log_prob(&Tensor::from_vec(actions.clone(), &[n, 1]).unwrap()).unwrap();
        let mut mass = 0.0;
        for (a, got) in actions.iter().zip(got.data()) {
            let (a, sigma) = (f64::from(*a), libm::exp(log_std));
            let z = (libm::atanh(a) - mean) / sigma;
            let want =
                -0.5 * z * z - log_std - 0.5 * libm::log(core::f64::consts::TAU) - libm::log(1.0 - a * a);
            assert!((f64::from(*got) - want).abs() < 2e-4 * want.abs().max(1.0), "{a}: {got} {want}");
            mass += libm::exp(f64::from(*got)) * 2.0 / n as f64;
        }
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
    }

    #[test]
    fn a_sample_has_the_density_that_log_prob_gives_and_stays_finite_far_out() {
        let law = SquashedGaussian { mean: normal(&[6, 2], 1), log_std: normal(&[6, 2], 2) };
        let (actions, density) = law.sample_with(&normal(&[6, 2], 3)).unwrap();
        let again = law.log_prob(&actions).unwrap();
        for (a, b) in density.data().iter().zip(again.data()) {
            assert!((a - b).abs() < 2e-3 * a.abs().max(1.0), "{a} {b}");
        }
        let far = SquashedGaussian { mean: Tensor::full(&[1, 1], 60.0), log_std: Tensor::zeros(&[1, 1]) };
        let (action, density) = far.sample_with(&Tensor::zeros(&[1, 1])).unwrap();
        assert_eq!(action.item().unwrap(), 1.0);
        // -ln(2 pi) / 2 - (2 ln 2 - 120).
        assert!((density.item().unwrap() - (120.0 - 0.918_94 - 1.386_29)).abs() < 1e-3);
    }

    #[test]
    fn gradients_of_the_head_through_sample_and_density() {
        let head = GaussianHead::new(&Init::new(1), 4, 2, (-3.0, 1.0)).unwrap();
        let (x, noise) = (normal(&[3, 4], 1), normal(&[3, 2], 2));
        let params = head.params();
        check_gradients(std::slice::from_ref(&x), &params, 1e-2, |x| {
            let (action, density) = head.forward(&x[0])?.sample_with(&noise)?;
            action.mul(&density)
        })
        .unwrap();
        let actions = Tensor::from_vec(vec![0.3, -0.2, 0.9, 0.0, -0.7, 0.5], &[3, 2]).unwrap();
        check_gradients(&[x], &params, 1e-2, |x| head.forward(&x[0])?.log_prob(&actions)).unwrap();
        assert!(
            head.forward(&normal(&[3, 4], 1))
                .unwrap()
                .log_prob(&noise.detach().reshape(&[6]).unwrap())
                .is_err()
        );
        assert!(GaussianHead::new(&Init::new(1), 4, 2, (1.0, 1.0)).is_err());
    }

    #[test]
    fn polyak_moves_the_target_and_leaves_the_source() {
        let (target, source) =
            (Linear::new(&Init::new(1), 3, 2, true), Linear::new(&Init::new(2), 3, 2, true));
        let (before, aim) = (target.weight.to_vec(), source.weight.to_vec());
        polyak(&target, &source, 0.25).unwrap();
        for ((now, before), aim) in target.weight.to_vec().iter().zip(&before).zip(&aim) {
            assert!((now - (0.75 * before + 0.25 * aim)).abs() < 1e-6);
        }
        assert_eq!(source.weight.to_vec(), aim);
        polyak(&target, &source, 1.0).unwrap();
        for (now, aim) in target.weight.to_vec().iter().zip(&aim) {
            assert!((now - aim).abs() < 1e-6);
        }
        assert!(polyak(&target, &source, 1.5).unwrap_err().to_string().contains("tau must be in [0, 1]"));
        let other = Linear::new(&Init::new(2), 4, 2, true);
        let before = target.weight.to_vec();
        assert!(polyak(&target, &other, 0.5).unwrap_err().to_string().contains("`weight` has shape [2, 3]"));
        assert_eq!(target.weight.to_vec(), before);
    }
}

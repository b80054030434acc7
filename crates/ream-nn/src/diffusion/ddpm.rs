//! Denoising diffusion in discrete time (DDPM; Ho et al., 2020, arXiv 2006.11239) and its deterministic relatives (DDIM; Song et al., 2020,
//! arXiv 2010.02502).
//!
//! `x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e`. The model predicts `e`, `x_0`, or `v = sqrt(abar_t) e - sqrt(1 - abar_t) x_0` (Salimans & Ho,
//! 2022, arXiv 2202.00512). Backwards, for `abar = abar_t`, `abar' = abar_{t-1}`, `beta = beta_t`:
//! - ancestral: `x_{t-1} ~ N(mu, s^2)`, `mu = sqrt(abar') beta / (1 - abar) x_0 + sqrt(1 - beta) (1 - abar') / (1 - abar) x_t`, `s^2` the
//!   posterior's `(1 - abar') / (1 - abar) beta` or `beta`;
//! - DDIM: `x_{t'} = sqrt(abar') x_0 + sqrt(1 - abar' - s^2) e + s n`, `s = eta sqrt((1 - abar') / (1 - abar)) sqrt(1 - abar / abar')`. eta = 0
//!   is deterministic; eta = 1 over neighbouring steps is the ancestral step with the posterior's variance.

use ream_rand::Rng;

use super::schedule::NoiseSchedule;
use super::{asked, mix, per_sample, same_shape, times};
use crate::autograd::no_grad;
use crate::error::{Result, config};
use crate::tensor::Tensor;

/// What the model's output stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Prediction {
    /// The noise `e`.
    Epsilon,
    /// The clean data `x_0`.
    X0,
    /// `sqrt(abar) e - sqrt(1 - abar) x_0`.
    V,
}

/// Variance of an ancestral step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Variance {
    /// The posterior's, right for data that are one point.
    Posterior,
    /// `beta_t`, right for standard normal data.
    Beta,
}

/// The law of `x_{t-1}` given `x_t` and `x_0`: normal.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// Mean, of the shape of the data.
    pub mean: Tensor,
    /// Variance of every element, one for each sample.
    pub variance: Vec<f64>,
}

/// Noising, targets and samplers.
#[derive(Clone, Debug, PartialEq)]
pub struct Ddpm {
    /// Noise of each step.
    pub schedule: NoiseSchedule,
    /// What the model predicts.
    pub prediction: Prediction,
    /// Clips a predicted `x_0` to `[-c, c]` while sampling.
    pub clip: Option<f32>,
}

impl Ddpm {
    /// No clipping.
    #[must_use]
    pub fn new(schedule: NoiseSchedule, prediction: Prediction) -> Self {
        Self { schedule, prediction, clip: None }
    }

    /// `(sqrt(abar), sqrt(1 - abar))` of each step.
    fn weights(&self, t: &[usize]) -> Result<Vec<(f64, f64)>> {
        let both = |t: &usize| Ok(split(self.schedule.alpha_bar(Some(*t))?));
        t.iter().map(both).collect()
    }

    /// Uniform steps, one for each sample.
    #[must_use]
    pub fn draw_steps(&self, batch: usize, rng: &mut Rng) -> Vec<usize> {
        (0..batch).map(|_| rng.below(self.schedule.steps())).collect()
    }

    /// `x_t` of `x_0` (`[batch, ..]`), one step for each sample, and noise of the same shape.
    ///
    /// # Errors
    /// When shapes differ or there is no such step.
    pub fn q_sample(&self, x0: &Tensor, t: &[usize], noise: &Tensor) -> Result<Tensor> {
        mix("q_sample", x0, noise, &self.weights(t)?)
    }

    /// What the model should give for `x_t`.
    ///
    /// # Errors
    /// When shapes differ or there is no such step.
    pub fn target(&self, x0: &Tensor, t: &[usize], noise: &Tensor) -> Result<Tensor> {
        same_shape("Ddpm::target", x0, noise)?;
        match self.prediction {
            Prediction::Epsilon => Ok(noise.clone()),
            Prediction::X0 => Ok(x0.clone()),
            Prediction::V => {
                let turned: Vec<_> = self.weights(t)?.iter().map(|(a, s)| (-s, *a)).collect();
                mix("Ddpm::target", x0, noise, &turned)
            }
        }
    }

    /// The clean data that the model's output means, not clipped.
    ///
    /// # Errors
    /// When shapes differ or there is no such step.
    pub fn to_x0(&self, x: &Tensor, output: &Tensor, t: &[usize]) -> Result<Tensor> {
        let weights = self.weights(t)?;
        let of = |(a, s): &(f64, f64)| match self.prediction {
            Prediction::Epsilon => (1.0 / a, -s / a),
            Prediction::X0 => (0.0, 1.0),
            Prediction::V => (*a, -s),
        };
        mix("Ddpm::to_x0", x, output, &weights.iter().map(of).collect::<Vec<_>>())
    }

    /// The noise that goes with clean data: `(x_t - sqrt(abar) x_0) / sqrt(1 - abar)`.
    ///
    /// # Errors
    /// When shapes differ or there is no such step.
    pub fn to_epsilon(&self, x: &Tensor, x0: &Tensor, t: &[usize]) -> Result<Tensor> {
        let weights: Vec<_> = self.weights(t)?.iter().map(|(a, s)| (1.0 / s, -a / s)).collect();
        mix("Ddpm::to_epsilon", x, x0, &weights)
    }

    /// The law of `x_{t-1}` given `x_t` and `x_0`.
    ///
    /// # Errors
    /// When shapes differ or there is no such step.
    pub fn posterior(&self, x0: &Tensor, x: &Tensor, t: &[usize]) -> Result<Posterior> {
        let mut weights = Vec::with_capacity(t.len());
        let mut variance = Vec::with_capacity(t.len());
        for &t in t {
            let (now, before) =
                (self.schedule.alpha_bar(Some(t))?, self.schedule.alpha_bar(t.checked_sub(1))?);
            let beta = 1.0 - now / before;
            weights.push((
                before.sqrt() * beta / (1.0 - now),
                (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - now),
            ));
            variance.push((1.0 - before) / (1.0 - now) * beta);
        }
        Ok(Posterior { mean: mix("Ddpm::posterior", x0, x, &weights)?, variance })
    }

    /// One ancestral step from `x_t` to `x_{t-1}`, the same `t` for all samples; no noise is drawn at step 0.
    ///
    /// # Errors
    /// Those of the model; shapes; no such step.
    pub fn ancestral_step(
        &self,
        x: &Tensor,
        t: usize,
        variance: Variance,
        model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let (x0, steps) = self.denoised(x, t, model)?;
        let posterior = self.posterior(&x0, x, &steps)?;
        if t == 0 {
            return Ok(posterior.mean);
        }
        let variances = match variance {
            Variance::Posterior => posterior.variance,
            Variance::Beta => vec![self.schedule.beta(t)?; steps.len()],
        };
        let deviation = per_sample("ancestral_step", x, variances.iter().map(|v| v.sqrt()))?;
        posterior.mean.add(&Tensor::randn(x.shape(), 1.0, rng).mul(&deviation)?)
    }

    /// Predicted clean data, clipped when that is wanted, and the step of each sample.
    fn denoised(
        &self,
        x: &Tensor,
        t: usize,
        model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
    ) -> Result<(Tensor, Vec<usize>)> {
        let output = asked("Ddpm", model, x, &times(x, t as f64))?;
        let steps = vec![t; x.shape().first().copied().unwrap_or(0)];
        let x0 = self.to_x0(x, &output, &steps)?;
        Ok((self.clip.map_or(x0.clone(), |c| x0.clamp(-c, c)), steps))
    }

    /// Samples by all T ancestral steps from `x` (standard normal).
    ///
    /// # Errors
    /// As [`Ddpm::ancestral_step`].
    pub fn sample(
        &self,
        x: &Tensor,
        variance: Variance,
        mut model: impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        no_grad(|| {
            (0..self.schedule.steps())
                .rev()
                .try_fold(x.clone(), |x, t| self.ancestral_step(&x, t, variance, &mut model, rng))
        })
    }

    /// Variance of the noise in a DDIM step from `t` to `to` (`None`: to clean data), `s^2` above.
    ///
    /// # Errors
    /// When eta is not in `[0, 1]`, there is no such step, or `to` does not lie before `t`.
    pub fn ddim_variance(&self, t: usize, to: Option<usize>, eta: f64) -> Result<f64> {
        if !(0.0..=1.0).contains(&eta) {
            return config("eta", "in [0, 1]", eta);
        }
        if let Some(to) = to.filter(|to| *to >= t) {
            return config("to", format!("before t = {t}"), to);
        }
        let (now, then) = (self.schedule.alpha_bar(Some(t))?, self.schedule.alpha_bar(to)?);
        Ok(eta * eta * (1.0 - then) / (1.0 - now) * (1.0 - now / then))
    }

    /// One DDIM step from `x_t` to `x_{to}` (`None`: to clean data), the same for all samples. At eta 0 no random number is drawn.
    ///
    /// # Errors
    /// Those of the model; shapes; as [`Ddpm::ddim_variance`].
    pub fn ddim_step(
        &self,
        x: &Tensor,
        t: usize,
        to: Option<usize>,
        eta: f64,
        model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let variance = self.ddim_variance(t, to, eta)?;
        let (x0, steps) = self.denoised(x, t, model)?;
        let epsilon = self.to_epsilon(x, &x0, &steps)?;
        let then = self.schedule.alpha_bar(to)?;
        let towards = (1.0 - then - variance).max(0.0).sqrt();
        let next = x0.mul_scalar(then.sqrt() as f32).add(&epsilon.mul_scalar(towards as f32))?;
        if variance == 0.0 {
            return Ok(next);
        }
        next.add(&Tensor::randn(x.shape(), variance.sqrt() as f32, rng))
    }

    /// Samples by `steps` DDIM steps from `x` (standard normal), evenly spaced over the schedule and including its last step.
    ///
    /// # Errors
    /// As [`Ddpm::ddim_step`], and when `steps` is not in 1..=T.
    pub fn ddim_sample(
        &self,
        x: &Tensor,
        steps: usize,
        eta: f64,
        mut model: impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let all = self.schedule.steps();
        if steps == 0 || steps > all {
            return config("steps", format!("1..={all}"), steps);
        }
        let at = |i: usize| (i * all / steps).checked_sub(1);
        no_grad(|| {
            (1..=steps).rev().try_fold(x.clone(), |x, i| match at(i) {
                Some(t) => self.ddim_step(&x, t, at(i - 1), eta, &mut model, rng),
                None => Ok(x),
            })
        })
    }
}

/// `(sqrt(a), sqrt(1 - a))`.
fn split(alpha_bar: f64) -> (f64, f64) {
    (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_moments, rng};
    use super::*;

    const ALL: [Prediction; 3] = [Prediction::Epsilon, Prediction::X0, Prediction::V];

    fn ddpm(steps: usize, prediction: Prediction) -> Ddpm {
        Ddpm::new(NoiseSchedule::linear(steps, 1e-3, 0.2).unwrap(), prediction)
    }

    /// The exact model for data `N(mean, variance)`: `E[x_0 | x_t] = m + v sqrt(abar) / (v abar + 1 - abar) (x_t - sqrt(abar) m)`.
    fn exact<'a>(
        d: &'a Ddpm,
        mean: f64,
        variance: f64,
    ) -> impl FnMut(&Tensor, &[f32]) -> Result<Tensor> + 'a {
        move |x, t| {
            let abar = d.schedule.alpha_bar(Some(t[0] as usize))?;
            let (a, s) = split(abar);
            let gain = variance * a / (variance * abar + 1.0 - abar);
            let x0 = x.affine(gain as f32, (mean - gain * a * mean) as f32);
            match d.prediction {
                Prediction::X0 => Ok(x0),
                Prediction::Epsilon => x.mul_scalar((1.0 / s) as f32).sub(&x0.mul_scalar((a / s) as f32)),
                // v = a e - s x_0 with e = (x - a x_0) / s
                Prediction::V => x.mul_scalar((a / s) as f32).sub(&x0.mul_scalar((a * a / s + s) as f32)),
            }
        }
    }

    /// Mean and variance that the chain itself gives: every step is linear, so both follow a recursion. `noise(t)` is a step's variance.
    fn chain(d: &Ddpm, mean: f64, variance: f64, noise: impl Fn(usize) -> f64) -> (f64, f64) {
        let (mut m, mut v) = (0.0, 1.0);
        for t in (0..d.schedule.steps()).rev() {
            let (now, before) =
                (d.schedule.alpha_bar(Some(t)).unwrap(), d.schedule.alpha_bar(t.checked_sub(1)).unwrap());
            let beta = 1.0 - now / before;
            let gain = variance * now.sqrt() / (variance * now + 1.0 - now);
            let (to_x0, to_x) =
                (before.sqrt() * beta / (1.0 - now), (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - now));
            let slope = to_x0 * gain + to_x;
            m = slope * m + to_x0 * (mean - gain * now.sqrt() * mean);
            v = slope * slope * v + noise(t);
        }
        (m, v)
    }

    #[test]
    fn parameterisations_agree() {
        let (x0, noise) =
            (Tensor::randn(&[3, 4], 1.0, &mut rng(1)), Tensor::randn(&[3, 4], 1.0, &mut rng(2)));
        let t = [0, 20, 49];
        let near = |a: &Tensor, b: &Tensor| a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-3);
        for prediction in ALL {
            let d = ddpm(50, prediction);
            let x = d.q_sample(&x0, &t, &noise).unwrap();
            let back = d.to_x0(&x, &d.target(&x0, &t, &noise).unwrap(), &t).unwrap();
            assert!(near(&back, &x0), "{prediction:?}");
            assert!(near(&d.to_epsilon(&x, &x0, &t).unwrap(), &noise));
            crate::check_gradients(&[x.clone(), noise.clone()], &[], 0.01, |y| {
                d.to_x0(&y[0], &y[1], &[5, 10, 20])
            })
            .unwrap();
        }
        let d = ddpm(50, Prediction::X0);
        let x = d.q_sample(&x0, &[7, 7, 7], &noise).unwrap();
        let a = d.schedule.alpha_bar(Some(7)).unwrap();
        assert!(
            (f64::from(x.data()[5])
                - (a.sqrt() * f64::from(x0.data()[5]) + (1.0 - a).sqrt() * f64::from(noise.data()[5])))
            .abs()
                < 1e-6
        );
    }

    #[test]
    fn the_posterior_is_bayes_rule() {
        // Two normal laws multiplied: prior N(sqrt(abar') x_0, 1 - abar'), likelihood x_t ~ N(sqrt(alpha) x', beta).
        let d = ddpm(30, Prediction::X0);
        let (x0, x) = (Tensor::full(&[1, 1], 0.7), Tensor::full(&[1, 1], -0.4));
        for t in [1, 10, 29] {
            let (before, beta) = (d.schedule.alpha_bar(Some(t - 1)).unwrap(), d.schedule.beta(t).unwrap());
            let precision = 1.0 / (1.0 - before) + (1.0 - beta) / beta;
            let mean = (before.sqrt() * 0.7 / (1.0 - before) + (1.0 - beta).sqrt() * -0.4 / beta) / precision;
            let got = d.posterior(&x0, &x, &[t]).unwrap();
            assert!((got.variance[0] * precision - 1.0).abs() < 1e-9);
            assert!((f64::from(got.mean.data()[0]) - mean).abs() < 1e-5);
        }
        let first = d.posterior(&x0, &x, &[0]).unwrap();
        assert!(first.variance[0] == 0.0 && (first.mean.data()[0] - 0.7).abs() < 1e-6);
    }

    #[test]
    fn the_exact_model_of_normal_data_gives_their_moments() {
        for prediction in ALL {
            let d = ddpm(100, prediction);
            let start = Tensor::randn(&[200, 100], 1.0, &mut rng(3));
            for (mean, variance) in [(0.5, 0.3), (-1.0, 2.0), (0.0, 1.0), (2.0, 0.0)] {
                for kind in [Variance::Posterior, Variance::Beta] {
                    let noise = |t: usize| match (t, kind) {
                        (0, _) => 0.0,
                        (t, Variance::Beta) => d.schedule.beta(t).unwrap(),
                        (t, Variance::Posterior) => d.ddim_variance(t, t.checked_sub(1), 1.0).unwrap(),
                    };
                    let x = d.sample(&start, kind, exact(&d, mean, variance), &mut rng(4)).unwrap();
                    let (m, v) = chain(&d, mean, variance, noise);
                    assert_moments(&format!("{prediction:?} {mean} {variance} {kind:?}"), &x, m, v, 1e-4);
                    // One point with the posterior's variance and standard normal data with beta are exact, for any number of steps.
                    match (variance, kind) {
                        (0.0, Variance::Posterior) => assert!((m - mean).abs() + v < 1e-9, "{m} {v}"),
                        (1.0, Variance::Beta) if mean == 0.0 => {
                            assert!((v - 1.0).abs() < d.schedule.beta(0).unwrap() * 2.0, "{v}");
                        }
                        _ => assert!(
                            (m - mean).abs() < 0.02 && (v - variance).abs() < 0.12 * (variance + 0.2),
                            "{m} {v}"
                        ),
                    }
                }
            }
        }
    }

    #[test]
    fn ddim_without_noise_is_deterministic_and_transports_the_law() {
        let d = ddpm(400, Prediction::Epsilon);
        let start = Tensor::randn(&[100, 100], 1.0, &mut rng(5));
        let (mut a, mut b) = (rng(6), rng(7));
        let x = d.ddim_sample(&start, 400, 0.0, exact(&d, 0.5, 0.3), &mut a).unwrap();
        let y = d.ddim_sample(&start, 400, 0.0, exact(&d, 0.5, 0.3), &mut b).unwrap();
        assert_eq!(x.to_vec(), y.to_vec());
        assert_moments("ddim", &x, 0.5, 0.3, 0.01);
        // The flow of normal data is x_0 = m + s e: order is kept, every sample lands where the exact flow takes it.
        for (x, e) in x.data().iter().zip(start.data()) {
            assert!((x - (0.5 + 0.3_f32.sqrt() * e)).abs() < 0.05, "{x} {e}");
        }
        // Data that are one point are met in a single step.
        let d = ddpm(50, Prediction::X0);
        let one = d.ddim_sample(&start, 1, 0.0, exact(&d, 2.0, 0.0), &mut a).unwrap();
        assert!(one.data().iter().all(|x| (x - 2.0).abs() < 1e-5));
    }

    #[test]
    fn ddim_with_noise_is_the_ancestral_step() {
        let d = ddpm(60, Prediction::V);
        let x = Tensor::randn(&[20, 5], 1.0, &mut rng(8));
        for t in [1, 7, 30, 59] {
            let posterior = d.posterior(&x, &x, &[t; 20]).unwrap();
            let variance = d.ddim_variance(t, Some(t - 1), 1.0).unwrap();
            assert!((variance / posterior.variance[0] - 1.0).abs() < 1e-9, "{t}");
            // The same noise: the same step.
            let a =
                d.ancestral_step(&x, t, Variance::Posterior, &mut exact(&d, 0.5, 0.3), &mut rng(9)).unwrap();
            let b = d.ddim_step(&x, t, Some(t - 1), 1.0, &mut exact(&d, 0.5, 0.3), &mut rng(9)).unwrap();
            assert!(a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-4), "{t}");
        }
        assert_eq!(d.ddim_variance(5, None, 1.0).unwrap(), 0.0);
    }

    #[test]
    fn clipping_and_errors() {
        let clipped = Ddpm { clip: Some(0.25), ..ddpm(10, Prediction::X0) };
        let x = clipped.sample(
            &Tensor::zeros(&[2, 2]),
            Variance::Posterior,
            |x, _| Ok(Tensor::full(x.shape(), 9.0)),
            &mut rng(1),
        );
        assert!(x.unwrap().data().iter().all(|x| (x - 0.25).abs() < 1e-6));
        let d = ddpm(10, Prediction::X0);
        let x = Tensor::zeros(&[2, 2]);
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(d.q_sample(&x, &[1], &x).unwrap_err(), "1 times for the samples");
        says(d.q_sample(&x, &[1, 10], &x).unwrap_err(), "t must be 0..10, got 10");
        says(d.ddim_variance(3, Some(3), 0.0).unwrap_err(), "to must be before t = 3, got 3");
        says(d.ddim_variance(3, None, 1.5).unwrap_err(), "eta must be in [0, 1], got 1.5");
        let wrong = d.sample(&x, Variance::Beta, |_, _| Ok(Tensor::zeros(&[1])), &mut rng(1));
        says(wrong.unwrap_err(), "the model made [1] of [2, 2]");
        says(
            d.ddim_sample(&x, 11, 0.0, |x, _| Ok(x.clone()), &mut rng(1)).unwrap_err(),
            "steps must be 1..=10, got 11",
        );
    }
}

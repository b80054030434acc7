//! Diffusion in noise levels (EDM; Karras et al., 2022, arXiv 2206.00364).
//!
//! `D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)` with `s = sigma_data`, `c_skip = s^2 / (sigma^2 + s^2)`,
//! `c_out = sigma s / sqrt(sigma^2 + s^2)`, `c_in = 1 / sqrt(sigma^2 + s^2)`, `c_noise = ln(sigma) / 4`. The loss is
//! `lambda |D(y + sigma n) - y|^2`, `lambda = (sigma^2 + s^2) / (sigma s)^2 = 1 / c_out^2`, with `ln sigma ~ N(P_mean, P_std^2)`. Samples
//! follow `dx / dsigma = (x - D(x; sigma)) / sigma` by Heun's method (their algorithm 2, with its churn).

use ream_rand::Rng;

use super::{asked, mix, per_sample, times};
use crate::autograd::no_grad;
use crate::error::{Result, config};
use crate::ops;
use crate::tensor::Tensor;

/// Fresh noise between steps of the sampler: `amount` is spread over the steps, for levels from `min` to `max`; the noise is scaled by
/// `scale`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Churn {
    /// `S_churn`, 0 or larger.
    pub amount: f64,
    /// `S_tmin`.
    pub min: f64,
    /// `S_tmax`.
    pub max: f64,
    /// `S_noise`.
    pub scale: f64,
}

/// Preconditioning, training law and sampler.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Edm {
    /// Standard deviation of the data.
    pub sigma_data: f64,
    /// Mean of `ln sigma` in training.
    pub p_mean: f64,
    /// Standard deviation of `ln sigma` in training.
    pub p_std: f64,
}

impl Edm {
    /// `P_mean = -1.2`, `P_std = 1.2`.
    ///
    /// # Errors
    /// When the deviation is not positive.
    pub fn new(sigma_data: f64) -> Result<Self> {
        if !(sigma_data > 0.0 && sigma_data.is_finite()) {
            return config("sigma_data", "finite and larger than 0", sigma_data);
        }
        Ok(Self { sigma_data, p_mean: -1.2, p_std: 1.2 })
    }

    /// `c_skip` at a noise level.
    #[must_use]
    pub fn c_skip(&self, sigma: f64) -> f64 {
        self.sigma_data.powi(2) / self.total(sigma)
    }

    /// `c_out` at a noise level.
    #[must_use]
    pub fn c_out(&self, sigma: f64) -> f64 {
        sigma * self.sigma_data / self.total(sigma).sqrt()
    }

    /// `c_in` at a noise level.
    #[must_use]
    pub fn c_in(&self, sigma: f64) -> f64 {
        1.0 / self.total(sigma).sqrt()
    }

    /// `c_noise` at a noise level.
    #[must_use]
    pub fn c_noise(&self, sigma: f64) -> f64 {
        libm::log(sigma) / 4.0
    }

    /// `lambda`, the weight of the squared error of `D`.
    #[must_use]
    pub fn loss_weight(&self, sigma: f64) -> f64 {
        1.0 / self.c_out(sigma).powi(2)
    }

    fn total(&self, sigma: f64) -> f64 {
        sigma.powi(2) + self.sigma_data.powi(2)
    }

    /// Noise levels of training, one for each sample.
    #[must_use]
    pub fn draw_sigmas(&self, batch: usize, rng: &mut Rng) -> Vec<f64> {
        (0..batch).map(|_| libm::exp(self.p_mean + self.p_std * rng.normal())).collect()
    }

    /// `D(x; sigma)` of a model `F`, one positive level for each sample.
    ///
    /// # Errors
    /// Those of the model; shapes; a level that is not positive.
    pub fn denoise(
        &self,
        x: &Tensor,
        sigmas: &[f64],
        model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if let Some(bad) = sigmas.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            return config("sigma", "finite and larger than 0", bad);
        }
        let scaled = x.mul(&per_sample("Edm::denoise", x, sigmas.iter().map(|s| self.c_in(*s)))?)?;
        let noise: Vec<f32> = sigmas.iter().map(|s| self.c_noise(*s) as f32).collect();
        let output = asked("Edm::denoise", model, &scaled, &noise)?;
        let weights: Vec<_> = sigmas.iter().map(|s| (self.c_skip(*s), self.c_out(*s))).collect();
        mix("Edm::denoise", x, &output, &weights)
    }

    /// Mean of `lambda |D(y + sigma n) - y|^2` over all elements, shape `[]`: `y` `[batch, ..]`, one level for each sample, noise of the
    /// same shape.
    ///
    /// # Errors
    /// As [`Edm::denoise`].
    pub fn loss(
        &self,
        y: &Tensor,
        sigmas: &[f64],
        noise: &Tensor,
        mut model: impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let x = mix("Edm::loss", y, noise, &sigmas.iter().map(|s| (1.0, *s)).collect::<Vec<_>>())?;
        let root = per_sample("Edm::loss", y, sigmas.iter().map(|s| 1.0 / self.c_out(*s)))?;
        let denoised = self.denoise(&x, sigmas, &mut model)?;
        ops::mse(&denoised.mul(&root)?, &y.mul(&root)?)
    }

    /// Samples by Heun's method along `sigmas` (see [`super::karras_sigmas`]) from `x` (normal of deviation `sigmas[0]`); a last level of 0 is
    /// reached by an Euler step. With no churn (or an amount of 0) no random number is drawn.
    ///
    /// # Errors
    /// Those of the model; fewer than two levels, or levels that do not fall.
    pub fn sample(
        &self,
        x: &Tensor,
        sigmas: &[f64],
        churn: Option<Churn>,
        mut model: impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let falls = sigmas.windows(2).all(|w| w[0] > w[1]) && sigmas.last().is_some_and(|s| *s >= 0.0);
        if sigmas.len() < 2 || !falls {
            return config("sigmas", "two or more falling levels, none negative", format!("{sigmas:?}"));
        }
        let steps = sigmas.len() - 1;
        no_grad(|| {
            sigmas.windows(2).try_fold(x.clone(), |x, pair| {
                let (x, from) = self.churned(x, pair[0], steps, churn, rng)?;
                self.heun(&x, from, pair[1], &mut model)
            })
        })
    }

    /// The sample and its level after fresh noise.
    fn churned(
        &self,
        x: Tensor,
        sigma: f64,
        steps: usize,
        churn: Option<Churn>,
        rng: &mut Rng,
    ) -> Result<(Tensor, f64)> {
        let Some(churn) = churn.filter(|c| c.amount > 0.0 && (c.min..=c.max).contains(&sigma)) else {
            return Ok((x, sigma));
        };
        let gamma = (churn.amount / steps as f64).min(core::f64::consts::SQRT_2 - 1.0);
        let raised = sigma * (1.0 + gamma);
        let deviation = churn.scale * (raised.powi(2) - sigma.powi(2)).sqrt();
        Ok((x.add(&Tensor::randn(x.shape(), deviation as f32, rng))?, raised))
    }

    /// One step of Heun's method from one level to a lower one.
    fn heun(
        &self,
        x: &Tensor,
        from: f64,
        to: f64,
        model: &mut impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut slope = |x: &Tensor, sigma: f64| {
            let levels: Vec<f64> = times(x, 0.0).iter().map(|_| sigma).collect();
            Ok::<_, crate::NnError>(
                x.sub(&self.denoise(x, &levels, model)?)?.mul_scalar((1.0 / sigma) as f32),
            )
        };
        let first = slope(x, from)?;
        let euler = x.add(&first.mul_scalar((to - from) as f32))?;
        if to == 0.0 {
            return Ok(euler);
        }
        let second = slope(&euler, to)?;
        x.add(&first.add(&second)?.mul_scalar((0.5 * (to - from)) as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::super::karras_sigmas;
    use super::super::testing::{assert_moments, rng};
    use super::*;

    /// The exact `F` for data `N(mean, variance)`: `D = (variance x + sigma^2 mean) / (variance + sigma^2)` solved for `F`.
    fn exact(edm: Edm, mean: f64, variance: f64) -> impl FnMut(&Tensor, &[f32]) -> Result<Tensor> {
        move |scaled, noise| {
            let sigma = libm::exp(4.0 * f64::from(noise[0]));
            let gain = variance / (variance + sigma * sigma);
            // D - c_skip x, with x = scaled / c_in.
            let slope = (gain - edm.c_skip(sigma)) / edm.c_in(sigma) / edm.c_out(sigma);
            Ok(scaled.affine(slope as f32, ((1.0 - gain) * mean / edm.c_out(sigma)) as f32))
        }
    }

    #[test]
    fn the_coefficients_do_what_they_are_for() {
        let edm = Edm::new(0.5).unwrap();
        for sigma in [0.002, 0.5, 80.0] {
            // Unit variance at the input of F and in its target; lambda takes c_out out of the loss.
            assert!((edm.c_in(sigma).powi(2) * (0.25 + sigma * sigma) - 1.0).abs() < 1e-12);
            let target = ((1.0 - edm.c_skip(sigma)).powi(2) * 0.25
                + edm.c_skip(sigma).powi(2) * sigma * sigma)
                / edm.c_out(sigma).powi(2);
            assert!((target - 1.0).abs() < 1e-9, "{sigma}: {target}");
            let lambda = (sigma * sigma + 0.25) / (sigma * 0.5).powi(2);
            assert!((edm.loss_weight(sigma) / lambda - 1.0).abs() < 1e-12);
        }
        assert!((edm.c_noise(1.0)).abs() < 1e-12);
        let mut rng = rng(1);
        let logs: Vec<f32> = edm.draw_sigmas(20_000, &mut rng).iter().map(|s| libm::log(*s) as f32).collect();
        assert_moments("training law", &Tensor::from_vec(logs, &[20_000]).unwrap(), -1.2, 1.44, 0.0);
    }

    #[test]
    fn the_exact_model_of_normal_data_gives_their_moments() {
        let edm = Edm::new(0.5).unwrap();
        let sigmas = karras_sigmas(40, 0.002, 80.0, 7.0).unwrap();
        let start = Tensor::randn(&[100, 200], 80.0, &mut rng(2));
        let churn = Churn { amount: 10.0, min: 0.05, max: 50.0, scale: 1.0 };
        for (mean, variance) in [(0.0, 0.25), (1.0, 0.25), (0.3, 0.5), (-1.0, 0.04)] {
            for churn in [None, Some(churn)] {
                let x = edm.sample(&start, &sigmas, churn, exact(edm, mean, variance), &mut rng(3)).unwrap();
                assert_moments(
                    &format!("{mean} {variance} {churn:?}"),
                    &x,
                    mean,
                    variance,
                    0.01 * variance + 0.004,
                );
            }
        }
    }

    #[test]
    fn heun_is_of_second_order_and_deterministic_without_churn() {
        // F = 0 is exact for N(0, sigma_data^2): x(sigma) is proportional to sqrt(sigma^2 + sigma_data^2).
        let edm = Edm::new(0.5).unwrap();
        let x = Tensor::full(&[1, 1], 3.0);
        let end = 0.1;
        let want = 3.0 * ((end * end + 0.25_f64) / (4.0 + 0.25)).sqrt();
        let error = |n: usize| {
            let sigmas: Vec<f64> = (0..=n).map(|i| 2.0 + (end - 2.0) * i as f64 / n as f64).collect();
            let zero = |x: &Tensor, _: &[f32]| Ok(Tensor::zeros(x.shape()));
            (f64::from(edm.sample(&x, &sigmas, None, zero, &mut rng(1)).unwrap().data()[0]) - want).abs()
        };
        let (coarse, fine) = (error(8), error(16));
        assert!((3.0..6.0).contains(&(coarse / fine)), "{coarse} {fine}");
        let sigmas = karras_sigmas(10, 0.01, 10.0, 7.0).unwrap();
        let still = Churn { amount: 0.0, min: 0.0, max: f64::INFINITY, scale: 1.0 };
        let run = |churn, seed| {
            edm.sample(&x, &sigmas, churn, exact(edm, 0.2, 0.3), &mut rng(seed)).unwrap().to_vec()
        };
        assert_eq!(run(None, 1), run(Some(still), 2));
        assert_ne!(
            run(Some(Churn { amount: 5.0, ..still }), 1),
            run(Some(Churn { amount: 5.0, ..still }), 2)
        );
    }

    #[test]
    fn the_loss_is_least_at_the_exact_model_and_has_its_gradient() {
        let edm = Edm::new(0.5).unwrap();
        let (y, noise) =
            (Tensor::randn(&[500, 4], 0.5, &mut rng(4)), Tensor::randn(&[500, 4], 1.0, &mut rng(5)));
        let sigmas = vec![0.4; 500];
        let with = |shift: f32| {
            let model = |x: &Tensor, t: &[f32]| Ok(exact(edm, 0.0, 0.25)(x, t)?.add_scalar(shift));
            edm.loss(&y, &sigmas, &noise, model).unwrap().item().unwrap()
        };
        // F = 0 explains nothing beyond c_skip: the target has unit variance.
        assert!((with(0.0) - 1.0).abs() < 0.15 && with(0.3) > with(0.0) && with(-0.3) > with(0.0));
        let small = Tensor::randn(&[3, 2], 0.5, &mut rng(6));
        let few = Tensor::randn(&[3, 2], 1.0, &mut rng(7));
        crate::check_gradients(&[Tensor::full(&[3, 2], 0.3)], &[], 0.01, |w| {
            edm.loss(&small, &[0.1, 1.0, 5.0], &few, |x, _| x.mul(&w[0]))
        })
        .unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let edm = Edm::new(0.5).unwrap();
        let x = Tensor::zeros(&[2, 2]);
        let zero = |x: &Tensor, _: &[f32]| Ok(Tensor::zeros(x.shape()));
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(Edm::new(0.0).unwrap_err(), "sigma_data must be finite and larger than 0, got 0");
        says(
            edm.sample(&x, &[1.0], None, zero, &mut rng(1)).unwrap_err(),
            "sigmas must be two or more falling",
        );
        says(edm.sample(&x, &[1.0, 2.0], None, zero, &mut rng(1)).unwrap_err(), "sigmas must be");
        says(edm.loss(&x, &[1.0, 0.0], &x, zero).unwrap_err(), "sigma must be finite and larger than 0");
    }
}

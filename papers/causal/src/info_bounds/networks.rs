//! The dual's price and shift as functions of covariates and arm, learned by networks.
//!
//! `lambda(a, x) = exp(h(a, x))` and `u(a, x)` are perceptrons with two hidden layers. Loss of a row:
//! `l = lambda { eta(e_A) + g*((phi - u) / lambda) } + u`, and debiased
//! `l_db = l + sum_a e_a lambda(a, X) eta'(e_a) (1(A = a) - e_a)`,
//! whose mean does not change to first order when `e` is off. All problems on the same rows (divergences, signs) train side by side as members
//! of an ensemble: a member's gradients are its own, so its result does not depend on the others.

use ream_nn::layers::{Beginning, EnsembleMlp, MlpConfig};
use ream_nn::ops::Activation;
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Init, Module, NnError, Param, Tensor, no_grad};
use ream_rand::Stream;

use super::divergence::Divergence;

/// `h` beyond this is cut off.
const MOST_LOG: f64 = 20.0;
/// Rows that are evaluated at once.
const BLOCK: usize = 4096;

/// How networks are trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Units of each of the two hidden layers.
    pub width: usize,
    /// Most passes over the rows.
    pub epochs: usize,
    /// Passes without a better loss on the validation rows after which a problem is done.
    pub patience: usize,
    /// Share of the rows kept for validation.
    pub validation: f64,
    /// Rows of a step.
    pub batch: usize,
    /// Adam's rate.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// One problem: a divergence, and the sign of `phi` (-1 gives the lower end).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The divergence.
    pub divergence: Divergence,
    /// 1 for the upper end, -1 for the lower one.
    pub sign: f64,
}

/// Rows to learn from, standardised.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Covariates.
    pub columns: usize,
    /// Arms.
    pub levels: usize,
    /// `[n, columns]`.
    pub x: Vec<f32>,
    /// `[n]`.
    pub arm: Vec<usize>,
    /// `[n]`.
    pub phi: Vec<f64>,
    /// Probabilities of the arms, `[n, levels]`.
    pub e: Vec<f64>,
    /// Of mean 1, `[n]`.
    pub weights: Vec<f64>,
}

impl Sample {
    /// Some of the rows.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            columns: self.columns,
            levels: self.levels,
            x: rows
                .iter()
                .flat_map(|i| self.x[i * self.columns..(i + 1) * self.columns].iter().copied())
                .collect(),
            arm: rows.iter().map(|i| self.arm[*i]).collect(),
            phi: rows.iter().map(|i| self.phi[*i]).collect(),
            e: rows
                .iter()
                .flat_map(|i| self.e[i * self.levels..(i + 1) * self.levels].iter().copied())
                .collect(),
            weights: rows.iter().map(|i| self.weights[*i]).collect(),
        }
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.phi.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phi.is_empty()
    }
}

/// Loss of one row and its slopes in `h` of every arm and in `u`.
///
/// `log_lambda` holds `h` of every arm where the loss is debiased, else of the row's own arm alone; `slopes` is as long.
#[allow(clippy::too_many_arguments, reason = "the symbols of the loss")]
pub fn row_loss(
    fit: Fit,
    debiased: bool,
    log_lambda: &[f64],
    u: f64,
    arm: usize,
    phi: f64,
    e: &[f64],
    slopes: &mut [f64],
) -> (f64, f64) {
    let d = fit.divergence;
    let own = if debiased { arm } else { 0 };
    let lambda = |h: f64| libm::exp(h.clamp(-MOST_LOG, MOST_LOG));
    let inside = |h: f64| f64::from(u8::from(h.abs() <= MOST_LOG));
    slopes.fill(0.0);
    let price = lambda(log_lambda[own]);
    let t = (fit.sign * phi - u) / price;
    let (conjugate, ratio, _) = d.continued(t);
    let radius = d.radius(e[arm]);
    let mut loss = price * (radius + conjugate) + u;
    slopes[own] = price * (radius + conjugate - t * ratio) * inside(log_lambda[own]);
    if debiased {
        for (a, (h, e)) in log_lambda.iter().zip(e).enumerate() {
            let residual = f64::from(u8::from(a == arm)) - e;
            let term = e * lambda(*h) * d.radius_slope(*e) * residual;
            loss += term;
            slopes[a] += term * inside(*h);
        }
    }
    (loss, 1.0 - ratio)
}

/// Trained networks of several problems.
#[derive(Debug)]
pub struct DualNets {
    h: EnsembleMlp,
    u: EnsembleMlp,
    fits: Vec<Fit>,
    columns: usize,
    levels: usize,
    debiased: bool,
}

impl DualNets {
    /// Networks that begin near the constants `start` (`log lambda`, `u`), one pair for each problem.
    ///
    /// # Errors
    /// [`NnError`] for a width of 0 or no problem.
    pub fn new(
        columns: usize,
        levels: usize,
        fits: &[Fit],
        debiased: bool,
        width: usize,
        seed: u64,
        start: &[(f64, f64)],
    ) -> Result<Self, NnError> {
        let make = MlpConfig {
            beginning: Beginning::Orthogonal { hidden: None, last: 0.01 },
            ..MlpConfig::new(&[columns + levels - 1, width, width, 1], Activation::Relu)
        };
        let init = Init::new(seed);
        let h = EnsembleMlp::new(&init.at("h"), &make, fits.len())?;
        let u = EnsembleMlp::new(&init.at("u"), &make, fits.len())?;
        let constants = |net: &EnsembleMlp, values: Vec<f32>| match net.params().last() {
            Some(bias) => bias.set(&values),
            None => Ok(()),
        };
        constants(&h, start.iter().map(|s| s.0 as f32).collect())?;
        constants(&u, start.iter().map(|s| s.1 as f32).collect())?;
        Ok(Self { h, u, fits: fits.to_vec(), columns, levels, debiased })
    }

    fn params(&self) -> Vec<Param> {
        [self.h.params(), self.u.params()].concat()
    }

    /// Covariates and arms of rows as the networks read them: the arm as indicators of all levels but the first.
    fn inputs(&self, x: &[f32], rows: impl Iterator<Item = (usize, usize)>) -> Result<Tensor, NnError> {
        let (columns, levels) = (self.columns, self.levels);
        let mut input = Vec::new();
        for (i, arm) in rows {
            input.extend_from_slice(&x[i * columns..(i + 1) * columns]);
            input.extend((1..levels).map(|a| f32::from(u8::from(a == arm))));
        }
        let width = columns + levels - 1;
        let count = input.len() / width.max(1);
        Tensor::from_vec(input, &[count, width])
    }

    /// `h` (`[fits, rows]`, for every arm in turn where the loss is debiased) and `u` (`[fits, rows]`).
    fn outputs(&self, sample: &Sample, rows: &[usize]) -> Result<(Tensor, Tensor), NnError> {
        let own = self.inputs(&sample.x, rows.iter().map(|i| (*i, sample.arm[*i])))?;
        let u = self.u.forward(&own)?;
        if !self.debiased {
            return Ok((self.h.forward(&own)?, u));
        }
        let all = (0..self.levels).flat_map(|a| rows.iter().map(move |i| (*i, a)));
        Ok((self.h.forward(&self.inputs(&sample.x, all)?)?, u))
    }

    /// Mean loss of each problem, and its gradients by the outputs where `h` and `u` are given room for them.
    fn losses(
        &self,
        sample: &Sample,
        rows: &[usize],
        (h, u): (&[f32], &[f32]),
        mut gradients: Option<(&mut [f32], &mut [f32])>,
    ) -> Vec<f64> {
        let b = rows.len();
        let heads = if self.debiased { self.levels } else { 1 };
        let mut logs = vec![0.0; heads];
        let mut slopes = vec![0.0; heads];
        let mut losses = vec![0.0; self.fits.len()];
        for (j, fit) in self.fits.iter().enumerate() {
            for (r, &i) in rows.iter().enumerate() {
                let place = |a: usize| (j * heads + a) * b + r;
                for (a, log) in logs.iter_mut().enumerate() {
                    *log = f64::from(h[place(a)]);
                }
                let e = &sample.e[i * self.levels..(i + 1) * self.levels];
                let shift = f64::from(u[j * b + r]);
                let (loss, by_u) =
                    row_loss(*fit, self.debiased, &logs, shift, sample.arm[i], sample.phi[i], e, &mut slopes);
                let share = sample.weights[i] / b as f64;
                losses[j] += share * loss;
                if let Some((by_h, to_u)) = &mut gradients {
                    to_u[j * b + r] = (share * by_u) as f32;
                    for (a, slope) in slopes.iter().enumerate() {
                        by_h[place(a)] = (share * slope) as f32;
                    }
                }
            }
        }
        losses
    }

    /// Sum over problems of their mean losses, as a tensor.
    fn loss(&self, sample: &Sample, rows: &[usize]) -> Result<Tensor, NnError> {
        let (h, u) = self.outputs(sample, rows)?;
        let (mut by_h, mut by_u) = (vec![0.0_f32; h.len()], vec![0.0_f32; u.len()]);
        let losses = self.losses(sample, rows, (h.data(), u.data()), Some((&mut by_h, &mut by_u)));
        let total: f64 = losses.iter().sum();
        let parents = (h.clone(), u.clone());
        Ok(Tensor::custom("dual_loss", &[], vec![total as f32].into(), &[&h, &u], move |grad, sink| {
            let factor = grad[0];
            by_h.iter_mut().chain(&mut by_u).for_each(|g| *g *= factor);
            sink.add(&parents.0, by_h.into());
            sink.add(&parents.1, by_u.into());
            Ok(())
        }))
    }

    fn validation(&self, sample: &Sample, rows: &[usize]) -> Result<Vec<f64>, NnError> {
        no_grad(|| {
            let (h, u) = self.outputs(sample, rows)?;
            Ok(self.losses(sample, rows, (h.data(), u.data()), None))
        })
    }

    /// Trains on the rows until every problem's validation loss has stopped falling, and keeps each problem's best weights.
    ///
    /// # Errors
    /// [`NnError`] when a gradient is not finite.
    pub fn train(&mut self, sample: &Sample, settings: &Settings, seed: u64) -> Result<(), NnError> {
        let mut order: Vec<usize> = (0..sample.len()).collect();
        Stream::new(seed, "validation").at(0).shuffle(&mut order);
        let kept = ((settings.validation * order.len() as f64) as usize).clamp(1, order.len() - 1);
        let (validation, training) = order.split_at_mut(kept);
        let params = self.params();
        let decay = AdamConfig::adamw(settings.learning_rate, settings.weight_decay);
        let mut adam = Adam::new(&params, decay);
        let mut best = Best::new(&params, self.validation(sample, validation)?);
        for epoch in 0..settings.epochs {
            Stream::new(seed, "batches").at(epoch as u64).shuffle(training);
            for rows in training.chunks(settings.batch) {
                let gradients = self.loss(sample, rows)?.backward()?;
                adam.step(&gradients, 1.0);
            }
            if best.update(&params, &self.validation(sample, validation)?, settings.patience) {
                break;
            }
        }
        best.restore(&params)
    }

    /// `(lambda, u)` of every problem at these covariates under one arm, `[fits][rows]`.
    ///
    /// # Errors
    /// [`NnError`] when `x` does not hold whole rows.
    pub fn at(&self, x: &[f32], arm: usize) -> Result<Vec<Vec<(f64, f64)>>, NnError> {
        let rows = x.len() / self.columns.max(1);
        let mut out: Vec<Vec<(f64, f64)>> = vec![Vec::with_capacity(rows); self.fits.len()];
        for start in (0..rows).step_by(BLOCK) {
            let end = (start + BLOCK).min(rows);
            let input = self.inputs(x, (start..end).map(|i| (i, arm)))?;
            let (h, u) = no_grad(|| Ok::<_, NnError>((self.h.forward(&input)?, self.u.forward(&input)?)))?;
            let b = end - start;
            for (j, out) in out.iter_mut().enumerate() {
                let lambda = |h: f32| libm::exp(f64::from(h).clamp(-MOST_LOG, MOST_LOG));
                let pairs = h.data()[j * b..(j + 1) * b].iter().zip(&u.data()[j * b..(j + 1) * b]);
                out.extend(pairs.map(|(h, u)| (lambda(*h), f64::from(*u))));
            }
        }
        Ok(out)
    }
}

/// Best weights of every problem so far.
struct Best {
    losses: Vec<f64>,
    waited: Vec<usize>,
    values: Vec<Vec<f32>>,
}

impl Best {
    fn new(params: &[Param], losses: Vec<f64>) -> Self {
        Self { waited: vec![0; losses.len()], losses, values: params.iter().map(Param::to_vec).collect() }
    }

    /// Keeps the weights of problems that got better; whether all have waited long enough.
    fn update(&mut self, params: &[Param], losses: &[f64], patience: usize) -> bool {
        let members = self.losses.len();
        let better: Vec<usize> =
            (0..members).filter(|j| self.waited[*j] < patience && losses[*j] < self.losses[*j]).collect();
        for waited in &mut self.waited {
            *waited += 1;
        }
        for &j in &better {
            self.losses[j] = losses[j];
            self.waited[j] = 0;
        }
        if !better.is_empty() {
            for (kept, param) in self.values.iter_mut().zip(params) {
                let now = param.to_vec();
                let size = now.len() / members;
                for j in &better {
                    kept[j * size..(j + 1) * size].copy_from_slice(&now[j * size..(j + 1) * size]);
                }
            }
        }
        self.waited.iter().all(|waited| *waited >= patience)
    }

    fn restore(&self, params: &[Param]) -> Result<(), NnError> {
        params.iter().zip(&self.values).try_for_each(|(param, values)| param.set(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;

    #[test]
    fn slopes_of_the_loss_are_its_derivatives() {
        for divergence in ALL {
            for (debiased, sign, arm) in [(true, 1.0, 0), (true, -1.0, 1), (false, 1.0, 1)] {
                let fit = Fit { divergence, sign };
                let (h, u, e) = (vec![0.3, -0.2], 1.7, [0.35, 0.65]);
                let h = if debiased { h } else { vec![h[arm]] };
                let mut slopes = vec![0.0; h.len()];
                let at = |h: &[f64], u: f64| {
                    row_loss(fit, debiased, h, u, arm, 0.4, &e, &mut vec![0.0; h.len()]).0
                };
                let (_, by_u) = row_loss(fit, debiased, &h, u, arm, 0.4, &e, &mut slopes);
                let numeric = (at(&h, u + 1e-6) - at(&h, u - 1e-6)) / 2e-6;
                assert!((numeric - by_u).abs() < 1e-5 * (1.0 + by_u.abs()), "{divergence:?}");
                for a in 0..h.len() {
                    let moved = |by: f64| {
                        let mut h = h.clone();
                        h[a] += by;
                        at(&h, u)
                    };
                    let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    assert!(
                        (numeric - slopes[a]).abs() < 1e-5 * (1.0 + slopes[a].abs()),
                        "{divergence:?} {a}"
                    );
                }
            }
        }
    }

    /// Over the true law of the arms an error of the propensity moves the debiased loss in second order only, the plain loss in first.
    #[test]
    fn the_debiased_loss_does_not_feel_small_errors_of_the_propensity() {
        for divergence in ALL {
            let fit = Fit { divergence, sign: 1.0 };
            let (truth, h, u) = (0.4, [0.2, -0.1], 2.0);
            let mean = |debiased: bool, off: f64| {
                let e = [1.0 - truth - off, truth + off];
                let of = |arm: usize| {
                    let logs = if debiased { h.to_vec() } else { vec![h[arm]] };
                    row_loss(fit, debiased, &logs, u, arm, 0.4, &e, &mut vec![0.0; logs.len()]).0
                };
                (1.0 - truth) * of(0) + truth * of(1)
            };
            let slope = |debiased| (mean(debiased, 1e-5) - mean(debiased, -1e-5)) / 2e-5;
            assert!(slope(true).abs() < 1e-6, "{divergence:?}: {}", slope(true));
            assert!(slope(false).abs() > 1e-3, "{divergence:?}: {}", slope(false));
        }
    }

    fn sample(n: usize) -> Sample {
        let mut rng = Stream::new(3, "sample").at(0);
        let x: Vec<f32> = (0..n).map(|_| rng.between(-1.7, 1.7) as f32).collect();
        let arm: Vec<usize> = (0..n).map(|_| usize::from(rng.chance(0.5))).collect();
        let phi = x.iter().map(|x| f64::from(*x) + rng.between(-1.0, 1.0)).collect();
        Sample { columns: 1, levels: 2, x, arm, phi, e: vec![0.5; 2 * n], weights: vec![1.0; n] }
    }

    const SETTINGS: Settings = Settings {
        width: 16,
        epochs: 60,
        patience: 60,
        validation: 0.2,
        batch: 64,
        learning_rate: 5e-3,
        weight_decay: 1e-4,
    };

    /// The networks learn that the outcome moves with the covariate; a problem's result does not depend on its neighbours.
    #[test]
    fn networks_follow_the_covariate_and_problems_do_not_meet() {
        let sample = sample(500);
        let fits = [Divergence::Hellinger, Divergence::Kl].map(|divergence| Fit { divergence, sign: 1.0 });
        let start = [(0.0, 3.0); 2];
        let train = |fits: &[Fit]| {
            let mut nets = DualNets::new(1, 2, fits, true, SETTINGS.width, 1, &start[..fits.len()]).unwrap();
            let rows: Vec<usize> = (0..500).collect();
            let before = nets.validation(&sample, &rows).unwrap();
            nets.train(&sample, &SETTINGS, 1).unwrap();
            let after = nets.validation(&sample, &rows).unwrap();
            assert!(before.iter().zip(&after).all(|(b, a)| a < b), "{before:?} {after:?}");
            nets.at(&[-1.5, 1.5], 1).unwrap()
        };
        let both = train(&fits);
        assert!(both[0][1].1 > both[0][0].1 + 0.5, "{both:?}");
        let alone = train(&fits[..1]);
        assert_eq!(alone[0], both[0]);
    }
}

//! CMA-ES with a diagonal covariance (Ros & Hansen, 2008), constants as in Hansen's tutorial (2016, arXiv 1604.00772).
//!
//! Candidates are `m + sigma d eps`, with `d` a deviation for every parameter. The best half moves the mean; two paths of past
//! steps adapt the step size `sigma` and, with the candidates themselves, the squares of `d`:
//!
//! `p_s <- (1 - c_s) p_s + sqrt(c_s (2 - c_s) mu_w) <eps>`, `sigma <- sigma exp(c_s / d_s (|p_s| / E|N| - 1))`
//!
//! `p_c <- (1 - c_c) p_c + [not stalled] sqrt(c_c (2 - c_c) mu_w) d <eps>`,
//! `d^2 <- (1 - c_1 - c_mu) d^2 + c_1 p_c^2 + c_mu sum_i w_i (d eps_i)^2`
//!
//! with `<eps>` the weighted mean over the best half. Learning rates of the covariance are `(n + 2) / 3` times those of the full
//! method, for there are that many fewer numbers to learn.

use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use crate::error::{Result, config};
use crate::evolution::{Generation, check_fitness, evaluate};

/// Settings of a [`SepCmaEs`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SepCmaEsConfig {
    /// Candidates of a step; `4 + 3 ln n` when 0.
    pub population: usize,
    /// First step size: about a third of the distance to where a solution may be.
    pub sigma: f64,
}

impl Default for SepCmaEsConfig {
    fn default() -> Self {
        Self { population: 0, sigma: 0.3 }
    }
}

/// Constants that follow from the number of parameters and candidates.
#[derive(Clone, Debug)]
struct Rates {
    /// Weights of the best half.
    weights: Vec<f64>,
    mu: f64,
    step: f64,
    damping: f64,
    path: f64,
    one: f64,
    many: f64,
    /// Mean length of a standard normal vector.
    length: f64,
}

impl Rates {
    fn new(n: usize, population: usize) -> Self {
        let half = population / 2;
        let raw: Vec<f64> = (0..half)
            .map(|i| libm::log((population as f64 + 1.0) / 2.0) - libm::log(i as f64 + 1.0))
            .collect();
        let total: f64 = raw.iter().sum();
        let weights: Vec<f64> = raw.iter().map(|w| w / total).collect();
        let mu = 1.0 / weights.iter().map(|w| w * w).sum::<f64>();
        let n = n as f64;
        let step = (mu + 2.0) / (n + mu + 5.0);
        let one = 2.0 / ((n + 1.3) * (n + 1.3) + mu);
        let many = 2.0 * (mu - 2.0 + 1.0 / mu) / ((n + 2.0) * (n + 2.0) + mu);
        let faster = (n + 2.0) / 3.0;
        let one = (one * faster).min(1.0);
        Self {
            damping: 1.0 + 2.0 * (libm::sqrt((mu - 1.0) / (n + 1.0)) - 1.0).max(0.0) + step,
            path: (4.0 + mu / n) / (n + 4.0 + 2.0 * mu / n),
            many: (many * faster).min(1.0 - one),
            length: libm::sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
            weights,
            mu,
            step,
            one,
        }
    }
}

/// CMA-ES that learns one deviation for each parameter; fitness is maximised.
#[derive(Clone, Debug)]
pub struct SepCmaEs {
    mean: Vec<f64>,
    sigma: f64,
    /// Squares of the deviations.
    variance: Vec<f64>,
    path_step: Vec<f64>,
    path: Vec<f64>,
    step: u64,
    population: usize,
    rates: Rates,
    stream: Stream,
}

impl SepCmaEs {
    /// A search that begins at `mean`.
    ///
    /// # Errors
    /// When there is no parameter, the population is 1, 2 or 3, or the step size is not positive.
    pub fn new(mean: &[f32], settings: SepCmaEsConfig, seed: u64) -> Result<Self> {
        let n = mean.len();
        if n == 0 {
            return config("parameters", "at least 1", n);
        }
        if (1..4).contains(&settings.population) {
            return config("population", "at least 4, or 0 for the usual size", settings.population);
        }
        if !(settings.sigma.is_finite() && settings.sigma > 0.0) {
            return config("sigma", "finite and positive", settings.sigma);
        }
        let usual = 4 + (3.0 * libm::log(n as f64)) as usize;
        let population = if settings.population == 0 { usual } else { settings.population };
        Ok(Self {
            mean: mean.iter().map(|x| f64::from(*x)).collect(),
            sigma: settings.sigma,
            variance: vec![1.0; n],
            path_step: vec![0.0; n],
            path: vec![0.0; n],
            step: 0,
            population,
            rates: Rates::new(n, population),
            stream: Stream::new(seed, "sep-CMA-ES"),
        })
    }

    /// The centre of the search.
    #[must_use]
    pub fn mean(&self) -> Vec<f32> {
        self.mean.iter().map(|x| *x as f32).collect()
    }

    /// The step size.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// Deviation of every parameter, step size included.
    #[must_use]
    pub fn deviations(&self) -> Vec<f64> {
        self.variance.iter().map(|v| self.sigma * libm::sqrt(*v)).collect()
    }

    /// Number of candidates of a step.
    #[must_use]
    pub fn population(&self) -> usize {
        self.population
    }

    fn noise(&self, index: usize) -> impl Iterator<Item = f64> {
        let mut rng = self.stream.child(self.step).at(index as u64);
        std::iter::repeat_with(move || rng.normal())
    }

    /// Parameters of one candidate of the coming step.
    #[must_use]
    pub fn candidate(&self, index: usize) -> Vec<f32> {
        let moved = self.mean.iter().zip(&self.variance).zip(self.noise(index));
        moved.map(|((m, v), eps)| (m + self.sigma * libm::sqrt(*v) * eps) as f32).collect()
    }

    /// Moves mean, step size and deviations by these fitnesses.
    ///
    /// # Errors
    /// When there is not one finite fitness for each candidate; nothing is changed then.
    pub fn tell(&mut self, fitness: Vec<f64>) -> Result<Generation> {
        check_fitness(&fitness, self.population, self.step)?;
        let mut order: Vec<usize> = (0..fitness.len()).collect();
        order.sort_by(|a, b| fitness[*b].total_cmp(&fitness[*a]).then(a.cmp(b)));
        let n = self.mean.len();
        let (mut eps, mut squares) = (vec![0.0; n], vec![0.0; n]);
        for (index, w) in order.iter().zip(&self.rates.weights) {
            for ((e, s), noise) in eps.iter_mut().zip(&mut squares).zip(self.noise(*index)) {
                *e += w * noise;
                *s += w * noise * noise;
            }
        }
        let r = &self.rates;
        let keep = libm::sqrt(r.step * (2.0 - r.step) * r.mu);
        self.path_step.iter_mut().zip(&eps).for_each(|(p, e)| *p = (1.0 - r.step) * *p + keep * e);
        let norm = libm::sqrt(self.path_step.iter().map(|p| p * p).sum::<f64>());
        let age = 1.0 - libm::pow(1.0 - r.step, 2.0 * (self.step + 1) as f64);
        let moving = norm / libm::sqrt(age) < (1.4 + 2.0 / (n as f64 + 1.0)) * r.length;
        let push = if moving { libm::sqrt(r.path * (2.0 - r.path) * r.mu) } else { 0.0 };
        // What a stalled path lacks of its variance.
        let lost = if moving { 0.0 } else { r.one * r.path * (2.0 - r.path) };
        for i in 0..n {
            let d = libm::sqrt(self.variance[i]);
            self.mean[i] += self.sigma * d * eps[i];
            self.path[i] = (1.0 - r.path) * self.path[i] + push * d * eps[i];
            let rank_one = r.one * self.path[i] * self.path[i];
            self.variance[i] *= 1.0 - r.one - r.many + lost + r.many * squares[i];
            self.variance[i] += rank_one;
        }
        self.sigma *= libm::exp((r.step / r.damping * (norm / r.length - 1.0)).min(1.0));
        let moved = eps.iter().zip(&self.variance).map(|(e, v)| e * e * v).sum::<f64>();
        self.step += 1;
        Ok(Generation { step: self.step - 1, fitness, gradient_norm: libm::sqrt(moved) })
    }

    /// One step: every candidate is evaluated by `fitness(index, parameters)`, in parallel, and the search moves.
    ///
    /// # Errors
    /// The first error of `fitness` by index; a fitness that is not finite. Nothing is changed then.
    pub fn step(&mut self, fitness: impl Fn(usize, &[f32]) -> Result<f64> + Sync) -> Result<Generation> {
        let all = evaluate(self.population, |index| fitness(index, &self.candidate(index)))?;
        self.tell(all)
    }
}

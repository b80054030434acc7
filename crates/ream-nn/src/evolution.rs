//! Evolution strategies: learning from the fitness of perturbed parameters alone.
//!
//! [`EvolutionStrategy`] climbs the smoothed objective `J(theta) = E f(theta + sigma eps)` (Salimans et al., 2017,
//! arXiv 1703.03864). With antithetic pairs `theta +- sigma eps_i` its gradient is estimated by
//!
//! `g = 1 / (2 P sigma) sum_i (F_i+ - F_i-) eps_i`
//!
//! where `F` are fitnesses or their shaped ranks, and `g - weight_decay theta` goes into SGD or Adam. [`SepCmaEs`] also learns
//! a deviation for every parameter.
//!
//! Noise is not stored: `eps_i` is a function of (seed, step, pair) and is computed again where it is needed, block by block.
//! Fitness is maximised, evaluated in parallel, and collected in the order of the population.

mod cma;

use rayon::prelude::*;
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use crate::error::{NnError, Result, config, shape};
use crate::param::{Module, Param};
use crate::simd::{fma, vectorised};
use crate::threads;

pub use cma::{SepCmaEs, SepCmaEsConfig};

/// Numbers that one key of the noise gives.
const BLOCK: usize = 4096;

/// What becomes of the fitnesses before they weigh the noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shaping {
    /// Ranks of the whole population, from -1/2 to 1/2; equal fitnesses share their mean rank.
    #[default]
    CentredRanks,
    /// Within each pair the better one counts 1, the other 0; 1/2 each when equal.
    PairRanks,
    /// Mean 0 and deviation 1 over the population; zeros when all are equal.
    Standardised,
    /// As they are: an unbiased estimate of the gradient of the smoothed fitness.
    Raw,
}

impl Shaping {
    /// The weights of a population in which `2 i` and `2 i + 1` are a pair.
    #[must_use]
    pub fn apply(self, fitness: &[f64]) -> Vec<f64> {
        match self {
            Self::Raw => fitness.to_vec(),
            Self::CentredRanks => centred_ranks(fitness),
            Self::PairRanks => fitness
                .chunks(2)
                .flat_map(|pair| {
                    let first = match pair[0].total_cmp(pair.get(1).unwrap_or(&pair[0])) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                    [first, 1.0 - first].into_iter().take(pair.len())
                })
                .collect(),
            Self::Standardised => {
                let n = fitness.len().max(1) as f64;
                let mean = fitness.iter().sum::<f64>() / n;
                let deviation = libm::sqrt(fitness.iter().map(|f| (f - mean) * (f - mean)).sum::<f64>() / n);
                let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
                fitness.iter().map(|f| (f - mean) * scale).collect()
            }
        }
    }
}

fn centred_ranks(fitness: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..fitness.len()).collect();
    order.sort_by(|a, b| fitness[*a].total_cmp(&fitness[*b]).then(a.cmp(b)));
    let mut ranks = vec![0.0; fitness.len()];
    let last = (fitness.len().max(2) - 1) as f64;
    let mut from = 0;
    while from < order.len() {
        let tied = order[from..].iter().take_while(|i| fitness[**i] == fitness[order[from]]).count().max(1);
        let rank = from as f64 + (tied - 1) as f64 / 2.0;
        order[from..from + tied].iter().for_each(|i| ranks[*i] = rank / last - 0.5);
        from += tied;
    }
    ranks
}

/// How the estimate moves the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ascent {
    /// Gradient ascent with momentum (0 for none).
    Sgd {
        /// Share of the last step that is kept.
        momentum: f32,
    },
    /// Adam (Kingma & Ba, 2015).
    Adam {
        /// Decay of the mean of gradients.
        beta1: f32,
        /// Decay of the mean of squared gradients.
        beta2: f32,
    },
}

impl Default for Ascent {
    fn default() -> Self {
        Self::Adam { beta1: 0.9, beta2: 0.999 }
    }
}

/// Settings of an [`EvolutionStrategy`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvolutionConfig {
    /// Antithetic pairs: half the population.
    pub pairs: usize,
    /// Deviation of the perturbations.
    pub sigma: f32,
    /// Step size of the first step.
    pub learning_rate: f32,
    /// Factor on the step size after every step.
    pub learning_rate_decay: f32,
    /// L2: `weight_decay theta` is taken from the estimate.
    pub weight_decay: f32,
    /// What becomes of fitnesses.
    pub shaping: Shaping,
    /// How the estimate moves the parameters.
    pub ascent: Ascent,
}

impl Default for EvolutionConfig {
    fn default() -> Self {
        Self {
            pairs: 16,
            sigma: 0.1,
            learning_rate: 0.01,
            learning_rate_decay: 1.0,
            weight_decay: 0.0,
            shaping: Shaping::CentredRanks,
            ascent: Ascent::default(),
        }
    }
}

impl EvolutionConfig {
    fn check(&self) -> Result<()> {
        if self.pairs == 0 {
            return config("pairs", "at least 1", self.pairs);
        }
        for (key, value) in [
            ("sigma", self.sigma),
            ("learning_rate", self.learning_rate),
            ("learning_rate_decay", self.learning_rate_decay),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return config(key, "finite and positive", value);
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return config("weight_decay", "finite and not negative", self.weight_decay);
        }
        Ok(())
    }
}

/// What a step saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Number of the step, from 0.
    pub step: u64,
    /// Fitness of every candidate: `2 i` is `theta + sigma eps_i`, `2 i + 1` is `theta - sigma eps_i`.
    pub fitness: Vec<f64>,
    /// Euclidean norm of the estimate.
    pub gradient_norm: f64,
}

impl Generation {
    /// Mean fitness of the population.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.fitness.iter().sum::<f64>() / self.fitness.len().max(1) as f64
    }

    /// The best fitness of the population.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.fitness.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

/// Everything needed to go on later: with configuration and seed it makes the same steps, to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvolutionState {
    /// Steps made.
    pub step: u64,
    /// The centre of the search.
    pub theta: Vec<f32>,
    /// Mean of estimates.
    pub first: Vec<f32>,
    /// Mean of squared estimates.
    pub second: Vec<f32>,
}

/// Climbs by antithetic perturbations.
#[derive(Clone, Debug)]
pub struct EvolutionStrategy {
    config: EvolutionConfig,
    stream: Stream,
    state: EvolutionState,
}

impl EvolutionStrategy {
    /// A search that begins at `theta`.
    ///
    /// # Errors
    /// When a setting is outside its range.
    pub fn new(theta: Vec<f32>, config: EvolutionConfig, seed: u64) -> Result<Self> {
        let zeros = vec![0.0; theta.len()];
        Self::resume(EvolutionState { step: 0, first: zeros.clone(), second: zeros, theta }, config, seed)
    }

    /// A search that goes on from a saved state.
    ///
    /// # Errors
    /// When a setting is outside its range, or the state's arrays differ in length.
    pub fn resume(state: EvolutionState, config: EvolutionConfig, seed: u64) -> Result<Self> {
        config.check()?;
        let n = state.theta.len();
        if state.first.len() != n || state.second.len() != n {
            return shape(
                "EvolutionStrategy",
                format!("{n} parameters with {} and {} moments", state.first.len(), state.second.len()),
            );
        }
        Ok(Self { config, stream: Stream::new(seed, "evolution strategy"), state })
    }

    /// The centre of the search.
    #[must_use]
    pub fn theta(&self) -> &[f32] {
        &self.state.theta
    }

    /// What to save.
    #[must_use]
    pub fn state(&self) -> &EvolutionState {
        &self.state
    }

    /// Number of candidates of a step.
    #[must_use]
    pub fn population(&self) -> usize {
        2 * self.config.pairs
    }

    /// Parameters of one candidate of the coming step: `2 i` is `theta + sigma eps_i`, `2 i + 1` is `theta - sigma eps_i`.
    #[must_use]
    pub fn candidate(&self, index: usize) -> Vec<f32> {
        let sign = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
        let noise = self.stream.child(self.state.step).child((index / 2) as u64);
        let mut theta = self.state.theta.clone();
        for (block, part) in theta.chunks_mut(BLOCK).enumerate() {
            add_noise(part, noise, block, sign * self.config.sigma);
        }
        theta
    }

    /// The estimate of the gradient from these fitnesses (in the order of the population), without weight decay.
    ///
    /// # Errors
    /// When there is not one finite fitness for each candidate.
    pub fn gradient(&self, fitness: &[f64]) -> Result<Vec<f32>> {
        check_fitness(fitness, self.population(), self.state.step)?;
        let shaped = self.config.shaping.apply(fitness);
        let scale = 1.0 / (2.0 * self.config.pairs as f64 * f64::from(self.config.sigma));
        let step = self.stream.child(self.state.step);
        let mut gradient = vec![0.0; self.state.theta.len()];
        // Blocks of parameters in parallel, pairs in order.
        threads::chunks(&mut gradient, BLOCK, |start, part| {
            for (pair, f) in shaped.chunks_exact(2).enumerate() {
                let weight = ((f[0] - f[1]) * scale) as f32;
                if weight != 0.0 {
                    add_noise(part, step.child(pair as u64), start / BLOCK, weight);
                }
            }
        });
        Ok(gradient)
    }

    /// Moves the centre by these fitnesses (in the order of the population).
    ///
    /// # Errors
    /// When there is not one finite fitness for each candidate; nothing is changed then.
    pub fn tell(&mut self, fitness: Vec<f64>) -> Result<Generation> {
        let mut gradient = self.gradient(&fitness)?;
        let gradient_norm = libm::sqrt(gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>());
        let EvolutionConfig { learning_rate, learning_rate_decay, weight_decay, ascent, .. } = self.config;
        let EvolutionState { step, theta, first, second } = &mut self.state;
        gradient.iter_mut().zip(&*theta).for_each(|(g, t)| *g -= weight_decay * t);
        let rate = f64::from(learning_rate) * libm::pow(f64::from(learning_rate_decay), *step as f64);
        match ascent {
            Ascent::Sgd { momentum } => sgd(theta, first, &gradient, momentum, rate as f32),
            Ascent::Adam { beta1, beta2 } => {
                let k = (*step + 1) as f64;
                let one = 1.0 - libm::pow(f64::from(beta1), k);
                let two = 1.0 - libm::pow(f64::from(beta2), k);
                adam(theta, first, second, &gradient, beta1, beta2, (rate / one) as f32, (1.0 / two) as f32);
            }
        }
        *step += 1;
        Ok(Generation { step: *step - 1, fitness, gradient_norm })
    }

    /// One step: every candidate is evaluated by `fitness(index, parameters)`, in parallel, and the centre moves.
    ///
    /// Candidates `2 i` and `2 i + 1` should meet the same problem and the same random numbers.
    ///
    /// # Errors
    /// The first error of `fitness` by index; a fitness that is not finite. Nothing is changed then.
    pub fn step(&mut self, fitness: impl Fn(usize, &[f32]) -> Result<f64> + Sync) -> Result<Generation> {
        let all = evaluate(self.population(), |index| fitness(index, &self.candidate(index)))?;
        self.tell(all)
    }
}

/// Values of all indices, computed in parallel, collected in order; the first error by index.
fn evaluate(population: usize, fitness: impl Fn(usize) -> Result<f64> + Sync) -> Result<Vec<f64>> {
    let all: Vec<Result<f64>> = (0..population).into_par_iter().map(&fitness).collect();
    all.into_iter().collect()
}

fn check_fitness(fitness: &[f64], population: usize, step: u64) -> Result<()> {
    if fitness.len() != population {
        return shape("evolution", format!("{} fitnesses for a population of {population}", fitness.len()));
    }
    match fitness.iter().position(|f| !f.is_finite()) {
        Some(bad) => Err(NnError::NotFinite { what: "fitness", step, place: format!("; candidate {bad}") }),
        None => Ok(()),
    }
}

/// `part += scale eps`, where `part` is block `block` of the parameters.
fn add_noise(part: &mut [f32], noise: Stream, block: usize, scale: f32) {
    let mut rng = noise.at(block as u64);
    part.iter_mut().for_each(|x| *x += scale * rng.normal() as f32);
}

vectorised! {
    fn sgd(theta: &mut [f32], velocity: &mut [f32], gradient: &[f32], momentum: f32, rate: f32) {
        for (t, (v, g)) in theta.iter_mut().zip(velocity.iter_mut().zip(gradient)) {
            *v = fma::<FMA>(momentum, *v, *g);
            *t = fma::<FMA>(rate, *v, *t);
        }
    }
}
vectorised! {
    /// `rate` carries the correction of the first moment, `correction` that of the second.
    fn adam(
        theta: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32],
        beta1: f32, beta2: f32, rate: f32, correction: f32
    ) {
        for ((t, g), (m, v)) in theta.iter_mut().zip(gradient).zip(first.iter_mut().zip(second.iter_mut())) {
            *m = fma::<FMA>(beta1, *m - *g, *g);
            *v = fma::<FMA>(beta2, *v - *g * *g, *g * *g);
            *t += rate * *m / ((*v * correction).sqrt() + 1e-8);
        }
    }
}

/// All parameters of a module in one row, in their fixed order.
#[must_use]
pub fn flatten(module: &dyn Module) -> Vec<f32> {
    module.params().iter().flat_map(Param::to_vec).collect()
}

/// Puts a row made by [`flatten`] back.
///
/// # Errors
/// When the number of parameters differs.
pub fn unflatten(module: &dyn Module, values: &[f32]) -> Result<()> {
    let params = module.params();
    let wanted: usize = params.iter().map(Param::len).sum();
    if values.len() != wanted {
        return shape("unflatten", format!("{} numbers for {wanted} parameters", values.len()));
    }
    let mut rest = values;
    for param in &params {
        let (own, after) = rest.split_at(param.len());
        param.set(own)?;
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

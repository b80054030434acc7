//! What OFS is compared with. All rest on the same evidence, sweep the thresholds once in order, and see the same
//! feedback.

use ream_rand::Rng;

use crate::bandit::{best, cheapest, dual_step, epsilon_greedy, thompson};

use super::environment::Feedback;
use super::evidence::{Evidence, Keeping, Problem};
use super::search::Learner;

/// UCB on the reward alone.
pub struct Ucb {
    evidence: Evidence,
}

/// Greedy on the reward alone, with a share of random rounds.
pub struct EpsilonGreedy {
    evidence: Evidence,
    explore: f64,
}

/// UCB on the Lagrangian, with multipliers that follow the residuals of the played thresholds.
pub struct PrimalDual {
    evidence: Evidence,
    step: f64,
    multipliers: Vec<f64>,
}

/// UCB among the thresholds that are feasible for certain; while there are none, the one that is nearest to it.
pub struct Safe {
    evidence: Evidence,
}

/// Thompson sampling of the reward among the thresholds that may be feasible, with OFS's filter.
pub struct Thompson {
    evidence: Evidence,
}

/// One threshold for ever.
pub struct Fixed {
    /// The threshold.
    pub arm: usize,
}

macro_rules! keeps_evidence {
    () => {
        fn evidence(&self) -> Option<&Evidence> {
            Some(&self.evidence)
        }
    };
}

impl Ucb {
    /// A learner that has seen nothing.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        Self { evidence: Evidence::new(problem, Keeping::default()) }
    }
}

impl Learner for Ucb {
    fn choose(&mut self, _rng: &mut Rng) -> usize {
        best((0..self.evidence.arms()).map(|k| (k, self.evidence.reward(k).high()))).unwrap_or(0)
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
    }

    keeps_evidence!();
}

impl EpsilonGreedy {
    /// A learner that explores with probability `explore`.
    #[must_use]
    pub fn new(problem: &Problem, explore: f64) -> Self {
        Self { evidence: Evidence::new(problem, Keeping::default()), explore }
    }
}

impl Learner for EpsilonGreedy {
    fn choose(&mut self, rng: &mut Rng) -> usize {
        if let Some(arm) = self.evidence.next_of_sweep() {
            return arm;
        }
        let means: Vec<f64> = (0..self.evidence.arms()).map(|k| self.evidence.reward(k).mean).collect();
        epsilon_greedy(&means, self.explore, rng)
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
    }

    keeps_evidence!();
}

impl PrimalDual {
    /// A learner whose multipliers move by `step` times the residual.
    #[must_use]
    pub fn new(problem: &Problem, step: f64) -> Self {
        Self { evidence: Evidence::new(problem, Keeping::default()), step, multipliers: Vec::new() }
    }

    fn score(&self, arm: usize) -> f64 {
        let reward = self.evidence.reward(arm).high();
        let penalty: f64 =
            self.evidence.residuals_at_means(arm).iter().zip(&self.multipliers).map(|(g, l)| g * l).sum();
        reward - penalty
    }
}

impl Learner for PrimalDual {
    fn choose(&mut self, _rng: &mut Rng) -> usize {
        best((0..self.evidence.arms()).map(|k| (k, self.score(k)))).unwrap_or(0)
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
        // The residual at the arm's means: a batch's own |gap| would count its noise as a violation.
        let residuals = self.evidence.residuals_at_means(arm);
        self.multipliers.resize(residuals.len(), 0.0);
        for (multiplier, residual) in self.multipliers.iter_mut().zip(residuals) {
            *multiplier = dual_step(*multiplier, self.step, residual);
        }
    }

    keeps_evidence!();
}

impl Safe {
    /// A learner that has seen nothing.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        Self { evidence: Evidence::new(problem, Keeping::default()) }
    }
}

impl Learner for Safe {
    fn choose(&mut self, _rng: &mut Rng) -> usize {
        if let Some(arm) = self.evidence.next_of_sweep() {
            return arm;
        }
        let arms = 0..self.evidence.arms();
        let residuals: Vec<f64> = arms.clone().map(|k| self.evidence.pessimistic_residual(k)).collect();
        let certain = arms.clone().filter(|&k| residuals[k] == 0.0);
        best(certain.map(|k| (k, self.evidence.reward(k).high()))).unwrap_or_else(|| {
            cheapest(arms.map(|k| (k, residuals[k], self.evidence.reward(k).mean))).unwrap_or(0)
        })
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
    }

    keeps_evidence!();
}

impl Thompson {
    /// A learner that has seen nothing.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        Self { evidence: Evidence::new(problem, Keeping::default()) }
    }
}

impl Learner for Thompson {
    fn choose(&mut self, rng: &mut Rng) -> usize {
        // `c_R` is twice the standard deviation of a round.
        let deviation = self.evidence.scales().reward / 2.0;
        let mut draw =
            |k: usize| thompson(self.evidence.reward(k).mean, deviation, self.evidence.plays(k), rng);
        let arms = 0..self.evidence.arms();
        let draws: Vec<f64> = arms.clone().map(&mut draw).collect();
        let residuals: Vec<f64> = arms.clone().map(|k| self.evidence.optimistic_residual(k)).collect();
        let feasible = arms.clone().filter(|&k| residuals[k] == 0.0);
        best(feasible.map(|k| (k, draws[k])))
            .unwrap_or_else(|| cheapest(arms.map(|k| (k, residuals[k], draws[k]))).unwrap_or(0))
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
    }

    keeps_evidence!();
}

impl Learner for Fixed {
    fn choose(&mut self, _rng: &mut Rng) -> usize {
        self.arm
    }

    fn learn(&mut self, _arm: usize, _feedback: &Feedback) {}
}

/// The threshold of a grid that is nearest to `value`; among equals the smaller one.
#[must_use]
pub fn nearest(thresholds: &[f64], value: f64) -> usize {
    best(thresholds.iter().enumerate().map(|(k, theta)| (k, -(theta - value).abs()))).unwrap_or(0)
}

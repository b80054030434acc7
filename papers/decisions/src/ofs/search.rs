//! Optimistic Feasible Search.

use ream_rand::Rng;

use crate::bandit::{best, cheapest};

use super::environment::Feedback;
use super::evidence::{Evidence, Keeping, Problem};

/// Chooses thresholds and learns from what is seen of the chosen one. A learner never meets the population: all it
/// has is the [`Problem`] it was made with and the feedback of its own choices.
pub trait Learner: Send {
    /// The threshold of this round.
    fn choose(&mut self, rng: &mut Rng) -> usize;
    /// What was seen of it.
    fn learn(&mut self, arm: usize, feedback: &Feedback);
    /// What it knows, where it keeps evidence.
    fn evidence(&self) -> Option<&Evidence> {
        None
    }
}

/// OFS: of the thresholds that may be feasible the one that may be most rewarding; if none may be feasible, the least
/// infeasible one.
#[derive(Clone, Debug)]
pub struct OptimisticFeasibleSearch {
    evidence: Evidence,
    coarse: bool,
}

impl OptimisticFeasibleSearch {
    /// A learner that has seen nothing.
    #[must_use]
    pub fn new(problem: &Problem, keeping: Keeping) -> Self {
        Self { evidence: Evidence::new(problem, keeping), coarse: keeping.stride > 1 }
    }

    /// `F_t`: the thresholds whose optimistic residuals are all 0.
    pub fn feasible_set(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.evidence.arms()).filter(|&k| self.evidence.optimistic_residual(k) == 0.0)
    }
}

/// `argmax_{k in F_t} (r_k + w_R)`, among equals the first; if `F_t` is empty `argmin_k (h_D + h_S)`, among equals the
/// one of more reward, then the first.
#[must_use]
pub fn most_rewarding_or_least_infeasible(evidence: &Evidence) -> usize {
    let arms = 0..evidence.arms();
    let residuals: Vec<f64> = arms.clone().map(|k| evidence.optimistic_residual(k)).collect();
    let feasible = arms.clone().filter(|&k| residuals[k] == 0.0);
    best(feasible.map(|k| (k, evidence.reward(k).high())))
        .unwrap_or_else(|| cheapest(arms.map(|k| (k, residuals[k], evidence.reward(k).mean))).unwrap_or(0))
}

impl Learner for OptimisticFeasibleSearch {
    fn choose(&mut self, _rng: &mut Rng) -> usize {
        // The full sweep needs no rule of its own: an untried threshold may be feasible and its reward is unbounded.
        if self.coarse
            && let Some(arm) = self.evidence.next_of_sweep()
        {
            return arm;
        }
        most_rewarding_or_least_infeasible(&self.evidence)
    }

    fn learn(&mut self, arm: usize, feedback: &Feedback) {
        self.evidence.add(arm, feedback);
    }

    fn evidence(&self) -> Option<&Evidence> {
        Some(&self.evidence)
    }
}

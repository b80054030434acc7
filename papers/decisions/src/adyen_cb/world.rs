//! Where contexts and rewards come from.

use ream_rand::Stream;

use super::data::{Actions, Contexts};

/// A source of contexts whose reward probabilities are known.
pub trait World: Sync {
    /// The actions.
    fn actions(&self) -> Actions;
    /// `n` contexts of a generation, as drawn by `stream`.
    fn batch(&self, generation: usize, n: usize, stream: Stream) -> Batch;
    /// How many coarse cells contexts fall into.
    fn cells(&self) -> usize;
    /// Fields that a linear oracle crosses with the action.
    fn crossed(&self) -> Vec<usize>;
}

/// Contexts with the truth about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What a policy sees.
    pub contexts: Contexts,
    /// `P(y = 1)` of each available action, in the order of `allowed`; `[n]` rows.
    pub truth: Vec<Vec<f64>>,
}

impl Batch {
    /// Mean reward of the best actions.
    #[must_use]
    pub fn optimum(&self) -> f64 {
        self.mean(|truth| truth.iter().copied().fold(0.0, f64::max))
    }

    /// Mean reward of actions at random.
    #[must_use]
    pub fn uniform_value(&self) -> f64 {
        self.mean(|truth| truth.iter().sum::<f64>() / truth.len() as f64)
    }

    fn mean(&self, of: impl Fn(&[f64]) -> f64) -> f64 {
        self.truth.iter().map(|t| of(t)).sum::<f64>() / self.truth.len().max(1) as f64
    }

    /// Exact expected reward of a policy: `p` has the probabilities of the available actions, `[n]` rows.
    #[must_use]
    pub fn value(&self, p: &[Vec<f64>]) -> f64 {
        let row = |(p, t): (&Vec<f64>, &Vec<f64>)| p.iter().zip(t).map(|(p, t)| p * t).sum::<f64>();
        p.iter().zip(&self.truth).map(row).sum::<f64>() / self.truth.len().max(1) as f64
    }

    /// Exact expected reward of playing the action of the largest prediction.
    #[must_use]
    pub fn greedy_value(&self, predicted: &[Vec<f64>]) -> f64 {
        let row = |(f, t): (&Vec<f64>, &Vec<f64>)| t[super::policy::largest(f)];
        predicted.iter().zip(&self.truth).map(row).sum::<f64>() / self.truth.len().max(1) as f64
    }
}

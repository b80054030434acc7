//! Serving policies: a rule, the schedules of gamma, and slices of traffic that are played uniformly.

use ream_lab::Invalid;

use super::data::{Log, Window, training_rows};
use super::policy::{Rule, exploration_mass, matched};

/// A family of rules with one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Inverse gaps.
    Squarecb,
    /// Inverse divergences.
    Fastcb,
    /// Exponential weights.
    Boltzmann,
}

impl Family {
    /// Its rule, greedier with the parameter.
    #[must_use]
    pub fn rule(self, parameter: f64) -> Rule {
        match self {
            Self::Squarecb => Rule::Squarecb { gamma: parameter },
            Self::Fastcb => Rule::Fastcb { gamma: parameter },
            Self::Boltzmann => Rule::Boltzmann { temperature: 1.0 / parameter },
        }
    }
}

/// How a generation is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Serving {
    /// One rule for all generations.
    Fixed(Rule),
    /// Inverse gaps with `gamma = factor sqrt(N mu / err)`, `err` the model's excess squared error on rows
    /// that it has not seen.
    Scheduled {
        /// `c`.
        factor: f64,
    },
    /// The parameter of a family at which the exploration mass is that of epsilon-greedy.
    Matched {
        /// Which family.
        family: Family,
        /// Epsilon of the epsilon-greedy policy whose mass it is.
        epsilon: f64,
    },
    /// A share of the traffic is played uniformly, the rest by a rule.
    Sliced {
        /// The share.
        share: f64,
        /// The rule of the rest.
        rest: Rule,
    },
}

/// A policy ready for one generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Served {
    /// The rule.
    pub rule: Rule,
    /// Share of the traffic that is played uniformly instead.
    pub uniform: f64,
}

impl Serving {
    /// The policy of a generation of `n` contexts. `predicted` are the model's rewards of their available
    /// actions; `excess` is asked for by the schedule alone.
    ///
    /// # Errors
    /// An exploration mass that the family does not reach.
    pub fn prepare(self, predicted: &[Vec<f64>], excess: impl FnOnce() -> f64) -> Result<Served, Invalid> {
        let rule = match self {
            Self::Fixed(rule) => rule,
            Self::Sliced { share, rest } => return Ok(Served { rule: rest, uniform: share }),
            Self::Scheduled { factor } => {
                let n = predicted.len().max(1) as f64;
                let mu = predicted.iter().map(Vec::len).sum::<usize>() as f64 / n;
                // An error of 0 would ask for an infinite gamma.
                let gamma = factor * (n * mu / excess().max(1e-8)).sqrt();
                Rule::Squarecb { gamma }
            }
            Self::Matched { family, epsilon } => {
                let target = exploration_mass(predicted, Rule::EpsilonGreedy { epsilon });
                family.rule(matched(predicted, target, |parameter| family.rule(parameter))?)
            }
        };
        Ok(Served { rule, uniform: 0.0 })
    }

    /// Whether the schedule needs the excess error.
    #[must_use]
    pub fn wants_excess(self) -> bool {
        matches!(self, Self::Scheduled { .. })
    }
}

impl Served {
    /// Probabilities of the available actions, the uniform slice included.
    #[must_use]
    pub fn probabilities(&self, predicted: &[f64]) -> Vec<f64> {
        let mut p = self.rule.probabilities(predicted);
        if self.uniform > 0.0 {
            let each = self.uniform / p.len() as f64;
            p.iter_mut().for_each(|p| *p = (1.0 - self.uniform) * *p + each);
        }
        p
    }
}

/// What a model is fitted on, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Memory.
    pub window: Window,
    /// Only the rows of the uniform slice.
    pub uniform_only: bool,
    /// Weights of rows.
    pub weighting: Weighting,
    /// Whether predictions are calibrated on rows that the model has not seen (isotonic).
    pub calibrated: bool,
}

/// Weights of rows in a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weighting {
    /// All alike.
    Even,
    /// Inverse propensities, clipped.
    Inverse {
        /// The largest weight.
        clip: f64,
    },
    /// Each class with the same total.
    Classes,
}

impl Training {
    /// All rows of the last `memory` generations, all alike.
    #[must_use]
    pub fn plain(memory: usize) -> Self {
        Self {
            window: Window::Last(memory),
            uniform_only: false,
            weighting: Weighting::Even,
            calibrated: false,
        }
    }

    /// The rows that the next model is fitted on: those of the window whose labels have arrived, of the
    /// uniform slice alone where that is asked for.
    #[must_use]
    pub fn rows(&self, logs: &[Log]) -> Log {
        let rows = training_rows(logs, self.window);
        if self.uniform_only { rows.kept(|i| rows.uniform[i]) } else { rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_formula_and_slices_mix() {
        let predicted = vec![vec![0.9, 0.5], vec![0.9, 0.5, 0.1, 0.2]];
        let served = Serving::Scheduled { factor: 2.0 }.prepare(&predicted, || 0.03).unwrap();
        let Rule::Squarecb { gamma } = served.rule else { panic!("{served:?}") };
        assert!((gamma - 2.0 * (2.0_f64 * 3.0 / 0.03).sqrt()).abs() < 1e-9);
        let zero = Serving::Scheduled { factor: 1.0 }.prepare(&predicted, || 0.0).unwrap();
        assert!(zero.rule.check().is_ok(), "an error of 0 asks for a finite gamma");
        let sliced = Serving::Sliced { share: 0.1, rest: Rule::Greedy }.prepare(&predicted, || 0.0).unwrap();
        let p = sliced.probabilities(&predicted[1]);
        assert!((p[0] - 0.925).abs() < 1e-12 && (p[3] - 0.025).abs() < 1e-12);
    }

    #[test]
    fn matched_families_explore_as_much_as_epsilon_greedy() {
        let predicted: Vec<Vec<f64>> =
            (0..60).map(|i| (0..3 + i % 4).map(|a| f64::from((a * 7 + i) % 11) / 11.0).collect()).collect();
        for family in [Family::Squarecb, Family::Fastcb, Family::Boltzmann] {
            let served = Serving::Matched { family, epsilon: 0.1 }.prepare(&predicted, || 0.0).unwrap();
            let wanted = exploration_mass(&predicted, Rule::EpsilonGreedy { epsilon: 0.1 });
            assert!((exploration_mass(&predicted, served.rule) - wanted).abs() < 1e-6, "{family:?}");
        }
    }
}

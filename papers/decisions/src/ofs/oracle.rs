//! The oracle: every threshold iterated to its steady state with exact expectations, and the best feasible of them.

use rayon::prelude::*;

use super::environment::{Environment, Expected, Limits};

/// Where a threshold leads when it stays in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Steady {
    /// `z*(theta)`.
    pub state: Vec<f64>,
    /// Exact expectations there.
    pub at: Expected,
    /// Violation of the limits there.
    pub violation: f64,
}

/// The sweep over all thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct Oracle {
    /// One entry for each threshold.
    pub steady: Vec<Steady>,
    /// The most rewarding threshold that satisfies the limits; `None` when none does.
    pub feasible: Option<usize>,
    /// The threshold with the least violation, among equals the more rewarding.
    pub least_violating: usize,
    /// The most rewarding threshold without limits.
    pub unconstrained: usize,
}

impl Oracle {
    /// Sweeps with every threshold at its steady state.
    #[must_use]
    pub fn closed_loop(environment: &dyn Environment, limits: &Limits) -> Self {
        let states = (0..environment.thresholds().len())
            .into_par_iter()
            .map(|arm| steady_state(environment, arm))
            .collect();
        Self::of(environment, limits, states)
    }

    /// Sweeps on the first population, as if decisions did not change who applies.
    #[must_use]
    pub fn frozen(environment: &dyn Environment, limits: &Limits) -> Self {
        let states = vec![environment.start(); environment.thresholds().len()];
        Self::of(environment, limits, states)
    }

    fn of(environment: &dyn Environment, limits: &Limits, states: Vec<Vec<f64>>) -> Self {
        let steady: Vec<Steady> = states
            .into_iter()
            .enumerate()
            .map(|(arm, state)| {
                let at = environment.expected(&state, arm);
                Steady { violation: limits.violation(&at), state, at }
            })
            .collect();
        let all = || steady.iter().enumerate();
        let feasible =
            crate::bandit::best(all().filter(|(_, s)| limits.admits(&s.at)).map(|(k, s)| (k, s.at.reward)));
        let least_violating =
            crate::bandit::cheapest(all().map(|(k, s)| (k, s.violation, s.at.reward))).unwrap_or(0);
        let unconstrained = crate::bandit::best(all().map(|(k, s)| (k, s.at.reward))).unwrap_or(0);
        Self { steady, feasible, least_violating, unconstrained }
    }

    /// The threshold to compare with: the best feasible one, else the least violating one.
    #[must_use]
    pub fn arm(&self) -> usize {
        self.feasible.unwrap_or(self.least_violating)
    }

    /// Its reward.
    #[must_use]
    pub fn reward(&self) -> f64 {
        self.steady[self.arm()].at.reward
    }
}

/// `z*(theta)`: the state at which the population rests under a threshold.
#[must_use]
pub fn steady_state(environment: &dyn Environment, arm: usize) -> Vec<f64> {
    let mut state = environment.start();
    // Phi itself contracts, so it is iterated without damping: the fixed point is the same. The limit of rounds is
    // reached only by a loop that does not contract.
    for _ in 0..100_000 {
        let next = environment.target(&state, arm);
        let moved = distance(&state, &next);
        state = next;
        if moved < 1e-14 {
            break;
        }
    }
    state
}

/// Largest difference of two states.
#[must_use]
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Lipschitz constant of `Phi(., theta)` in the largest norm: row sums of its Jacobian by central differences, largest
/// over the environment's probes.
#[must_use]
pub fn lipschitz(environment: &dyn Environment, arm: usize) -> f64 {
    const STEP: f64 = 1e-5;
    let mut largest = 0.0_f64;
    for probe in environment.probes() {
        let mut rows = vec![0.0; probe.len()];
        for coordinate in 0..probe.len() {
            let shifted = |by: f64| {
                let mut state = probe.clone();
                state[coordinate] += by;
                environment.target(&state, arm)
            };
            for (row, (up, down)) in rows.iter_mut().zip(shifted(STEP).iter().zip(shifted(-STEP))) {
                *row += (up - down).abs() / (2.0 * STEP);
            }
        }
        largest = rows.into_iter().fold(largest, f64::max);
    }
    largest
}

/// Follows a threshold from the first population: `|z_t - z*|` over its bound `(1 - eta (1 - Lip))^t |z_1 - z*|`,
/// largest over `rounds` rounds. At most 1 when the loop contracts as fast as it should.
#[must_use]
pub fn contraction_ratio(environment: &dyn Environment, arm: usize, rounds: usize) -> f64 {
    let goal = steady_state(environment, arm);
    let factor = 1.0 - environment.rate() * (1.0 - lipschitz(environment, arm));
    let mut state = environment.start();
    let mut bound = distance(&state, &goal);
    let mut largest = 0.0_f64;
    for _ in 0..rounds {
        environment.advance(&mut state, arm);
        bound *= factor;
        // Below this rounding shows in the ratio.
        if bound < 1e-7 {
            break;
        }
        largest = largest.max(distance(&state, &goal) / bound);
    }
    largest
}

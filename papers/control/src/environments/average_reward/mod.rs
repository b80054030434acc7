//! Average-reward Markov decision processes: tables, a linear mixture of known kernels, and a circle with continuous states.
//!
//! There are no episodes and no discount. A policy's worth is its gain `J`, the long-run mean reward; the solver gives the
//! best gain `J*`, a bias `h*` with `h*(s) + J* = max_a r(s, a) + E h*(s')`, and its span. Regret after `T` steps is
//! `sum_t (J* - r_t)` along one trajectory.
//!
//! ```
//! use ream_control::environments::average_reward::{self, solver};
//!
//! let river = average_reward::river_swim(6);
//! let best = solver::solve(&river).unwrap();
//! assert!(best.policy.iter().all(|&action| action == 1));
//! assert!((best.span - 6.3).abs() < 0.1);
//! ```

mod circle;
mod mixture;
mod named;
pub mod solver;
pub mod structure;
#[cfg(test)]
mod tests;

use ream_lab::Invalid;
use ream_rand::Rng;

pub use circle::Circle;
pub use mixture::LinearMixture;
pub(crate) use mixture::dirichlet;
pub use named::{access_control, jump_river_swim, river_swim, two_loops};

/// A Markov decision process with finitely many states and the same actions in each; rewards depend on state and action.
#[derive(Clone, Debug, PartialEq)]
pub struct TabularMdp {
    states: usize,
    actions: usize,
    start: usize,
    /// For each pair `s * actions + a` the next states with positive probability, in order.
    rows: Vec<Vec<(usize, f64)>>,
    /// `[states * actions]`.
    rewards: Vec<f64>,
}

impl TabularMdp {
    /// Rows and rewards are `[states * actions]`, the pair `(s, a)` at `s * actions + a`. Nothing is checked here: see
    /// [`TabularMdp::check`].
    #[must_use]
    pub fn new(actions: usize, start: usize, rows: Vec<Vec<(usize, f64)>>, rewards: Vec<f64>) -> Self {
        let states = rows.len() / actions.max(1);
        Self { states, actions, start, rows, rewards }
    }

    /// Number of states.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states
    }

    /// Number of actions in each state.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// The state in which a trajectory begins.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the pair `(s, a)` stands in rows, rewards and everything else that is kept for pairs.
    #[must_use]
    pub fn cell(&self, state: usize, action: usize) -> usize {
        state * self.actions + action
    }

    /// The pairs of a state.
    #[must_use]
    pub fn cells_of(&self, state: usize) -> std::ops::Range<usize> {
        state * self.actions..(state + 1) * self.actions
    }

    /// Number of pairs.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.rows.len()
    }

    /// Next states of a pair with their probabilities.
    #[must_use]
    pub fn row(&self, cell: usize) -> &[(usize, f64)] {
        &self.rows[cell]
    }

    /// Rewards of all pairs.
    #[must_use]
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// `P(next | s, a)`.
    #[must_use]
    pub fn probability(&self, cell: usize, next: usize) -> f64 {
        self.rows[cell].iter().filter(|(s, _)| *s == next).map(|(_, p)| p).sum()
    }

    /// `E v(s')` for a pair.
    #[must_use]
    pub fn expect(&self, cell: usize, v: &[f64]) -> f64 {
        self.rows[cell].iter().map(|&(next, p)| p * v[next]).sum()
    }

    /// One step: next state and reward.
    pub fn step(&self, rng: &mut Rng, state: usize, action: usize) -> (usize, f64) {
        let cell = self.cell(state, action);
        let row = &self.rows[cell];
        let mut left = rng.uniform();
        let mut next = row.last().map_or(state, |last| last.0);
        for &(s, p) in row {
            if left < p {
                next = s;
                break;
            }
            left -= p;
        }
        (next, self.rewards[cell])
    }

    /// The same process with other rewards.
    #[must_use]
    pub fn with_rewards(&self, rewards: Vec<f64>) -> Self {
        Self { rewards, ..self.clone() }
    }

    /// Whether rows are probabilities and rewards lie in `[0, 1]`.
    ///
    /// # Errors
    /// The first pair at which something is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.states == 0 || self.actions == 0 || self.rows.len() != self.states * self.actions {
            return Err(Invalid::new(
                "states and actions",
                "one row for each pair",
                format!("{} rows", self.rows.len()),
            ));
        }
        Invalid::unless_in("start", self.start, 0..=self.states - 1)?;
        for (cell, row) in self.rows.iter().enumerate() {
            let place = format!("state {}, action {}", cell / self.actions, cell % self.actions);
            if let Some((next, p)) =
                row.iter().find(|(next, p)| !(0.0..=1.0 + 1e-9).contains(p) || *next >= self.states)
            {
                let got = format!("{p} for next state {next}");
                return Err(Invalid::new(place, "probabilities from 0 to 1 of states that exist", got));
            }
            let sum: f64 = row.iter().map(|(_, p)| p).sum();
            if (sum - 1.0).abs() > 1e-9 {
                return Err(Invalid::new(place, "probabilities that sum to 1", sum.to_string()));
            }
            if !(0.0..=1.0).contains(&self.rewards[cell]) {
                return Err(Invalid::new(place, "a reward in [0, 1]", self.rewards[cell].to_string()));
            }
        }
        Ok(())
    }
}

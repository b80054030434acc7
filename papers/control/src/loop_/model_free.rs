//! Learners without a model: three kinds of Q-learning, and no learning at all.

use ream_rand::{Rng, Stream};

use super::learner::Learner;
use super::tabular::Known;
use crate::environments::average_reward::solver::argmax;

/// Actions uniformly at random.
#[derive(Clone, Debug)]
pub struct Uniform {
    actions: usize,
    rng: Rng,
}

impl Uniform {
    /// Its draws come from `stream`.
    #[must_use]
    pub fn new(actions: usize, stream: Stream) -> Self {
        Self { actions, rng: stream.at(0) }
    }
}

impl Learner for Uniform {
    fn act(&mut self, _: usize) -> usize {
        self.rng.below(self.actions)
    }

    fn learn(&mut self, _: usize, _: usize, _: f64, _: usize) {}
}

/// Which rule moves the estimate of the gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// Differential Q-learning (Wan, Naik & Sutton 2021): by every temporal difference.
    Differential,
    /// R-learning (Schwartz 1993): after greedy actions only.
    Greedy,
}

/// How often an epsilon-greedy learner acts at random.
pub const EPSILON: f64 = 0.1;
/// Step of values, and of the gain relative to it.
const STEP: f64 = 0.1;
const GAIN_STEP: f64 = 0.1;

/// Epsilon-greedy Q-learning with an estimate of the gain.
#[derive(Clone, Debug)]
pub struct EpsilonGreedy {
    actions: usize,
    average: Average,
    q: Vec<f64>,
    gain: f64,
    rng: Rng,
}

impl EpsilonGreedy {
    /// Before the first step, with all values 0.
    #[must_use]
    pub fn new(states: usize, actions: usize, average: Average, stream: Stream) -> Self {
        Self { actions, average, q: vec![0.0; states * actions], gain: 0.0, rng: stream.at(0) }
    }

    fn row(&self, state: usize) -> &[f64] {
        &self.q[state * self.actions..][..self.actions]
    }
}

fn most(values: &[f64]) -> f64 {
    values[argmax(values)]
}

impl Learner for EpsilonGreedy {
    fn act(&mut self, state: usize) -> usize {
        if self.rng.chance(EPSILON) { self.rng.below(self.actions) } else { argmax(self.row(state)) }
    }

    fn learn(&mut self, state: usize, action: usize, reward: f64, next: usize) {
        let greedy = self.row(state)[action] >= most(self.row(state));
        let difference = reward - self.gain + most(self.row(next)) - self.row(state)[action];
        self.q[state * self.actions + action] += STEP * difference;
        if self.average == Average::Differential || greedy {
            self.gain += GAIN_STEP * STEP * difference;
        }
    }
}

/// Optimistic Q-learning for average reward (Wei, Jafarnia-Jahromi, Luo, Sharma & Jain 2020): discounted values with
/// `gamma = 1 - T^(-1/3)` and a bonus `4 sp sqrt(H / n log(2 T / delta))`, `H = 1 / (1 - gamma)`.
#[derive(Clone, Debug)]
pub struct OptimisticQ {
    actions: usize,
    discount: f64,
    bonus: f64,
    q: Vec<f64>,
    /// Least value so far of each pair; what is acted on.
    least: Vec<f64>,
    v: Vec<f64>,
    visits: Vec<f64>,
}

impl OptimisticQ {
    /// Before the first step, with all values at their largest.
    #[must_use]
    pub fn new(known: &Known) -> Self {
        let horizon = libm::cbrt(known.horizon as f64).max(2.0);
        let (pairs, t) = (known.states * known.actions, known.horizon as f64);
        Self {
            actions: known.actions,
            discount: 1.0 - 1.0 / horizon,
            bonus: 4.0 * known.span * (horizon * libm::log(2.0 * t / known.delta)).sqrt(),
            q: vec![horizon; pairs],
            least: vec![horizon; pairs],
            v: vec![horizon; known.states],
            visits: vec![0.0; pairs],
        }
    }
}

impl Learner for OptimisticQ {
    fn act(&mut self, state: usize) -> usize {
        argmax(&self.least[state * self.actions..][..self.actions])
    }

    fn learn(&mut self, state: usize, action: usize, reward: f64, next: usize) {
        let cell = state * self.actions + action;
        self.visits[cell] += 1.0;
        let n = self.visits[cell];
        let horizon = 1.0 / (1.0 - self.discount);
        let step = (horizon + 1.0) / (horizon + n);
        let target = reward + self.discount * self.v[next] + self.bonus / n.sqrt();
        self.q[cell] += step * (target - self.q[cell]);
        self.least[cell] = self.least[cell].min(self.q[cell]);
        self.v[state] = most(&self.least[state * self.actions..][..self.actions]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::learner::{TableWorld, Truth, simulate};
    use super::*;
    use crate::environments::average_reward::solver::solve;
    use crate::environments::average_reward::two_loops;

    fn regret(learner: &mut dyn Learner) -> f64 {
        let mdp = two_loops();
        let truth = Truth::of(&mdp, &solve(&mdp).unwrap());
        simulate(&mut TableWorld::new(&mdp), learner, truth, 20_000, Stream::new(4, "test"), false).total()
    }

    #[test]
    fn the_learners_learn_an_easy_problem_and_chance_does_not() {
        let own = Stream::new(4, "own");
        let chance = regret(&mut Uniform::new(2, own));
        // The right loop needs four right actions in a row: 20 000 steps of chance earn about 0.08 a step.
        assert!(chance > 1500.0, "{chance}");
        for average in [Average::Differential, Average::Greedy] {
            let learned = regret(&mut EpsilonGreedy::new(9, 2, average, own));
            assert!(learned < chance, "{average:?} {learned} {chance}");
        }
        let known = Known::of(&two_loops(), 0.1, 20_000, 0.05);
        let optimistic = regret(&mut OptimisticQ::new(&known));
        assert!(optimistic < 2400.0, "{optimistic}");
    }
}

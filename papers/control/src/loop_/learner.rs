//! What a learner is to the experiment, and how a trajectory is run and told.

use ream_rand::{Rng, Stream};
use serde::{Deserialize, Serialize};

use crate::environments::average_reward::solver::Solution;
use crate::environments::average_reward::{Circle, TabularMdp};

/// A hypothesis `f = (Q_f, J_f)` that a learner follows, with `V_f = max_a Q_f`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// `Q_f`, for every pair.
    pub q: Vec<f64>,
    /// `V_f`.
    pub v: Vec<f64>,
    /// `J_f`.
    pub gain: f64,
}

impl Belief {
    /// `E(f)(s, a) = Q_f + J_f - r - E V_f(s')` for every pair, exact.
    #[must_use]
    pub fn bellman_errors(&self, mdp: &TabularMdp) -> Vec<f64> {
        let error = |cell: usize| self.q[cell] + self.gain - mdp.rewards()[cell] - mdp.expect(cell, &self.v);
        (0..mdp.cells()).map(error).collect()
    }
}

/// Something that learns along one trajectory.
pub trait Learner {
    /// Chooses an action; may update its hypothesis first.
    fn act(&mut self, state: usize) -> usize;

    /// Sees what came of it.
    fn learn(&mut self, state: usize, action: usize, reward: f64, next: usize);

    /// How often the hypothesis was updated (a switch of policy may keep the policy).
    fn updates(&self) -> u64 {
        0
    }

    /// The hypothesis in force, for learners that hold one.
    fn belief(&self) -> Option<&Belief> {
        None
    }

    /// Whether the confidence set of the last update holds the truth; `None` without a set.
    fn covers(&self, truth: &TabularMdp) -> Option<bool> {
        let _ = truth;
        None
    }

    /// `beta` in the units of squared Bellman errors.
    fn beta(&self) -> f64 {
        0.0
    }

    /// Least and greatest gain of the hypotheses in the set, where they can be counted.
    fn gain_range(&mut self) -> Option<[f64; 2]> {
        None
    }
}

/// Where a learner walks. What it sees is the number of a state.
pub trait World {
    /// The state.
    fn state(&self) -> usize;
    /// Moves; gives the reward.
    fn step(&mut self, rng: &mut Rng, action: usize) -> f64;
}

/// A table as a world. It is never reset.
#[derive(Clone, Debug)]
pub struct TableWorld<'a> {
    mdp: &'a TabularMdp,
    state: usize,
}

impl<'a> TableWorld<'a> {
    /// At the start.
    #[must_use]
    pub fn new(mdp: &'a TabularMdp) -> Self {
        Self { mdp, state: mdp.start() }
    }
}

impl World for TableWorld<'_> {
    fn state(&self) -> usize {
        self.state
    }

    fn step(&mut self, rng: &mut Rng, action: usize) -> f64 {
        let (next, reward) = self.mdp.step(rng, self.state, action);
        self.state = next;
        reward
    }
}

/// The circle, seen on equal parts.
#[derive(Clone, Copy, Debug)]
pub struct CircleWorld {
    circle: Circle,
    cells: usize,
}

impl CircleWorld {
    /// At the start.
    #[must_use]
    pub fn new(cells: usize) -> Self {
        Self { circle: Circle::default(), cells }
    }
}

impl World for CircleWorld {
    fn state(&self) -> usize {
        Circle::cell_of(self.circle.position, self.cells)
    }

    fn step(&mut self, rng: &mut Rng, action: usize) -> f64 {
        self.circle.step(rng, action)
    }
}

/// Points of a decade of the grid of times.
pub const PER_DECADE: u32 = 20;

/// Times `10^(k / 20)` from 1 to `horizon`, both included, and a tenth of it.
#[must_use]
pub fn time_grid(horizon: u64) -> Vec<u64> {
    let mut grid: Vec<u64> = (0..)
        .map(|k| libm::round(libm::pow(10.0, f64::from(k) / f64::from(PER_DECADE))) as u64)
        .take_while(|t| *t < horizon)
        .chain([(horizon / 10).max(1), horizon])
        .collect();
    grid.sort_unstable();
    grid.dedup();
    grid
}

/// Slices of time in the picture of visits.
pub const SLICES: usize = 40;

/// A trajectory in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Times.
    pub grid: Vec<u64>,
    /// `sum (J* - r)` up to each time of the grid.
    pub regret: Vec<f64>,
    /// Updates up to each time of the grid.
    pub switches: Vec<f64>,
    /// Share of updates with `J_f >= J* - 1e-6`; `None` without hypotheses.
    pub optimism: Option<f64>,
    /// Whether the truth was in the set at every update; `None` without sets.
    pub covered: Option<bool>,
    /// `d_hat`; `None` without hypotheses.
    pub coefficient: Option<f64>,
    /// Visits of each state in equal slices of time: `[slices][states]`.
    pub visits: Vec<Vec<u32>>,
    /// Time of an update with the range of gains in the set, where asked for.
    pub ranges: Vec<(u64, [f64; 2])>,
}

impl Trace {
    /// Regret at the end.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.regret.last().copied().unwrap_or(0.0)
    }

    /// Updates at the end.
    #[must_use]
    pub fn updates(&self) -> f64 {
        self.switches.last().copied().unwrap_or(0.0)
    }
}

/// What a trajectory is measured against.
#[derive(Clone, Copy, Debug)]
pub struct Truth<'a> {
    /// The process; for the circle, on the parts on which it is seen.
    pub mdp: &'a TabularMdp,
    /// `J*` of the process itself.
    pub gain: f64,
}

impl<'a> Truth<'a> {
    /// A table and its solution.
    #[must_use]
    pub fn of(mdp: &'a TabularMdp, solution: &Solution) -> Self {
        Self { mdp, gain: solution.gain }
    }
}

/// Sums of Bellman errors along the trajectory: `d_hat = (sum_t |E(f_t)(s_t, a_t)|)^2 / (sum_t sum_{i < t} E(f_t)(s_i, a_i)^2 +
/// beta)`.
#[derive(Clone, Debug)]
struct Coefficient {
    errors: Vec<f64>,
    visits: Vec<f64>,
    /// `sum_{i < t} E(f_t)(s_i, a_i)^2` of the hypothesis in force.
    inner: f64,
    inner_sum: f64,
    absolute: f64,
}

impl Coefficient {
    fn new(cells: usize) -> Self {
        Self { errors: vec![0.0; cells], visits: vec![0.0; cells], inner: 0.0, inner_sum: 0.0, absolute: 0.0 }
    }

    fn update(&mut self, errors: Vec<f64>) {
        self.inner = self.visits.iter().zip(&errors).map(|(n, e)| n * e * e).sum();
        self.errors = errors;
    }

    fn step(&mut self, cell: usize) {
        let error = self.errors[cell];
        self.absolute += error.abs();
        self.inner_sum += self.inner;
        self.inner += error * error;
        self.visits[cell] += 1.0;
    }
}

/// Walks `horizon` steps. The world's randomness is `stream.child(0)`, the same for every learner; `ranges` asks for the
/// range of gains at updates.
pub fn simulate(
    world: &mut dyn World,
    learner: &mut dyn Learner,
    truth: Truth<'_>,
    horizon: u64,
    stream: Stream,
    ranges: bool,
) -> Trace {
    let mdp = truth.mdp;
    let mut rng = stream.child(0).at(0);
    let mut trace =
        Trace { grid: time_grid(horizon), visits: vec![vec![0; mdp.states()]; SLICES], ..Trace::default() };
    let mut coefficient = Coefficient::new(mdp.cells());
    let (mut regret, mut updates, mut optimistic, mut covered) = (0.0, 0_u64, 0_u64, None);
    for t in 1..=horizon {
        let state = world.state();
        let action = learner.act(state);
        if learner.updates() != updates {
            updates = learner.updates();
            if let Some(belief) = learner.belief() {
                optimistic += u64::from(belief.gain >= truth.gain - 1e-6);
                coefficient.update(belief.bellman_errors(mdp));
            }
            if let Some(now) = learner.covers(mdp) {
                covered = Some(covered.unwrap_or(true) && now);
            }
            if ranges && let Some(range) = learner.gain_range() {
                trace.ranges.push((t, range));
            }
        }
        let reward = world.step(&mut rng, action);
        learner.learn(state, action, reward, world.state());
        coefficient.step(mdp.cell(state, action));
        regret += truth.gain - reward;
        trace.visits[((t - 1) * SLICES as u64 / horizon) as usize][state] += 1;
        if trace.grid[trace.regret.len()] == t {
            trace.regret.push(regret);
            trace.switches.push(updates as f64);
        }
    }
    trace.covered = covered;
    if learner.belief().is_some() && updates > 0 {
        trace.optimism = Some(optimistic as f64 / updates as f64);
        let below = coefficient.inner_sum + learner.beta();
        trace.coefficient = (below > 0.0).then(|| coefficient.absolute * coefficient.absolute / below);
    }
    trace
}

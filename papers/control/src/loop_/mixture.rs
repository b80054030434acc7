//! LOOP on linear mixtures `P_theta = sum theta_i P_i`.
//!
//! `V_f(s')` is regressed on `x_i(s, a) = sum_s' P_i(s' | s, a) V_f(s')`; the set is the ellipsoid `|theta - theta_hat|_A^2 <= beta`.
//! Planning adds `sqrt(beta) |x|_{A^-1}` in extended value iteration, kept between the least and the greatest value, and the
//! regression is made anew for the value that came out, a few times. The search for a hypothesis that fits its own value
//! exactly is not tractable; this is a surrogate for it.

use super::evi::extended_value_iteration;
use super::learner::{Belief, Learner};
use super::ridge::Ridge;
use super::tabular::Known;
use crate::environments::average_reward::solver::{argmax, ends};
use crate::environments::average_reward::{LinearMixture, TabularMdp};

/// Regression and planning alternate so often at an update.
const ROUNDS: usize = 3;

/// When the model is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixtureRule {
    /// LOOP's: the determinant doubles, or the deficit has grown by three `beta`.
    ///
    /// A hypothesis of the exact set begins with a deficit of `beta` at most and is given up at four. The surrogate takes the
    /// radius anew at every pair, in all directions at once, and begins at up to `d beta`; what counts is the growth.
    Loop,
    /// The determinant doubles, as in algorithms made for mixtures.
    Determinant,
    /// At every step.
    EveryStep,
}

/// How the learner is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixtureOptions {
    /// `beta`.
    pub beta: f64,
    /// When the model is given up.
    pub rule: MixtureRule,
    /// Whether planning adds the optimistic term.
    pub optimistic: bool,
}

/// `beta = c sp^2 log(T N / delta)` with `log N = d log T`.
#[must_use]
pub fn linear_beta(constant: f64, span: f64, dimension: usize, horizon: u64, delta: f64) -> f64 {
    let log = libm::log(horizon as f64);
    constant * span * span * ((dimension as f64 + 1.0) * log - libm::log(delta))
}

/// The radius of value-targeted regression made for linear mixtures (Abbasi-Yadkori, Pal & Szepesvari 2011):
/// `(sp / 2 sqrt(2 log(1 / delta) + d log(1 + T / d)) + sp)^2`, the penalty being `sp^2`.
#[must_use]
pub fn specialised_beta(span: f64, dimension: usize, horizon: u64, delta: f64) -> f64 {
    let d = dimension as f64;
    let root = (2.0 * libm::log(1.0 / delta) + d * libm::log1p(horizon as f64 / d)).sqrt();
    let radius = span * (root / 2.0 + 1.0);
    radius * radius
}

/// What made the learner switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// The determinant doubled.
    pub determinant: u64,
    /// The deficit reached its limit.
    pub deficit: u64,
}

/// The learner.
#[derive(Clone, Debug)]
pub struct MixtureLoop<'a> {
    known: Known,
    mixture: &'a LinearMixture,
    options: MixtureOptions,
    /// Next states of each pair, `[pairs * states]`, and visits.
    counts: Vec<f64>,
    visits: Vec<f64>,
    u: Vec<f64>,
    policy: Vec<usize>,
    belief: Belief,
    updates: u64,
    causes: Causes,
    /// The regression of the value in force, and its features `[pairs * d]`.
    ridge: Ridge,
    features: Vec<f64>,
    /// `log det A` at the last update.
    log_det: f64,
    /// Squared responses and squared residuals of the hypothesis in force, over all data.
    squares: f64,
    own: f64,
    /// The deficit at the last update.
    begun: f64,
    covered: bool,
    unsettled: u64,
}

impl<'a> MixtureLoop<'a> {
    /// Before the first step.
    #[must_use]
    pub fn new(known: Known, mixture: &'a LinearMixture, options: MixtureOptions) -> Self {
        let (pairs, states, d) = (known.rewards.len(), known.states, mixture.kernels.len());
        Self {
            mixture,
            options,
            counts: vec![0.0; pairs * states],
            visits: vec![0.0; pairs],
            u: vec![0.0; states],
            policy: vec![0; states],
            belief: Belief { q: vec![0.0; pairs], v: vec![0.0; states], gain: 0.0 },
            updates: 0,
            causes: Causes::default(),
            ridge: Ridge::new(d, known.span * known.span),
            features: vec![0.0; pairs * d],
            log_det: 0.0,
            squares: 0.0,
            own: 0.0,
            begun: 0.0,
            covered: true,
            unsettled: 0,
            known,
        }
    }

    /// What made it switch so far.
    #[must_use]
    pub fn causes(&self) -> Causes {
        self.causes
    }

    /// Updates whose planning did not settle.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    fn dimension(&self) -> usize {
        self.mixture.kernels.len()
    }

    /// The regression of a value on all data, with its features.
    fn regress(&self, v: &[f64]) -> (Ridge, Vec<f64>) {
        let d = self.dimension();
        let features = self.mixture.features(v);
        let mut ridge = Ridge::new(d, self.known.span * self.known.span);
        for (cell, &n) in self.visits.iter().enumerate().filter(|(_, n)| **n > 0.0) {
            let row = &self.counts[cell * v.len()..][..v.len()];
            let mean = row.iter().zip(v).map(|(count, v)| count * v).sum::<f64>() / n;
            ridge.add(&features[cell * d..][..d], n, mean);
        }
        (ridge, features)
    }

    /// What the hypothesis in force says of `V_f(s')` at a pair.
    fn predicted(&self, cell: usize) -> f64 {
        self.belief.q[cell] + self.belief.gain - self.known.rewards[cell]
    }

    /// `L(f, f) - min_g L(f, g)` over functions linear in the features.
    #[must_use]
    pub fn deficit(&self) -> f64 {
        (self.own - (self.squares - self.ridge.explained())).max(0.0)
    }

    fn update(&mut self) {
        let d = self.dimension();
        let tolerance = self.known.tolerance();
        let bonus = if self.options.optimistic { self.options.beta.sqrt() } else { 0.0 };
        for _ in 0..ROUNDS {
            let (ridge, _) = self.regress(&self.belief.v);
            let theta = ridge.solve();
            self.covered = ridge.distance(&self.mixture.weights) <= self.options.beta;
            let mixture = self.mixture;
            let mut features = Vec::new();
            let (actions, rewards) = (self.known.actions, &self.known.rewards);
            let plan = extended_value_iteration(actions, rewards, &mut self.u, tolerance, |cell, values| {
                if cell == 0 {
                    features = mixture.features(values.u);
                }
                let x = &features[cell * d..][..d];
                let mean: f64 = x.iter().zip(&theta).map(|(x, t)| x * t).sum();
                (mean + bonus * ridge.inverse_norm(x).sqrt()).clamp(ends(values.u)[0], values.most)
            });
            self.unsettled += u64::from(!plan.settled);
            self.policy = plan.q.chunks(actions).map(argmax).collect();
            let [low, _] = ends(&plan.v);
            let v = plan.v.iter().map(|v| v - low).collect();
            // Q + J - r must speak of V_f, which is the value iterated from, up to the increment.
            let q = plan.q.iter().map(|q| q - low).collect();
            self.belief = Belief { q, v, gain: plan.gain };
        }
        let v = self.belief.v.clone();
        (self.ridge, self.features) = self.regress(&v);
        self.log_det = self.ridge.log_det();
        (self.squares, self.own) = (0.0, 0.0);
        for cell in 0..self.visits.len() {
            let said = self.predicted(cell);
            for (count, v) in self.counts[cell * v.len()..][..v.len()].iter().zip(&v) {
                self.squares += count * v * v;
                self.own += count * (said - v) * (said - v);
            }
        }
        self.begun = self.deficit();
        self.updates += 1;
    }

    fn due(&mut self) -> bool {
        if self.updates == 0 || self.options.rule == MixtureRule::EveryStep {
            return true;
        }
        if self.ridge.log_det() >= self.log_det + std::f64::consts::LN_2 {
            self.causes.determinant += 1;
            return true;
        }
        let contradicted =
            self.options.rule == MixtureRule::Loop && self.deficit() >= self.begun + 3.0 * self.options.beta;
        self.causes.deficit += u64::from(contradicted);
        contradicted
    }
}

impl Learner for MixtureLoop<'_> {
    fn act(&mut self, state: usize) -> usize {
        if self.due() {
            self.update();
        }
        self.policy[state]
    }

    fn learn(&mut self, state: usize, action: usize, _: f64, next: usize) {
        let cell = state * self.known.actions + action;
        self.counts[cell * self.known.states + next] += 1.0;
        self.visits[cell] += 1.0;
        let (d, v) = (self.dimension(), self.belief.v[next]);
        let said = self.predicted(cell);
        self.squares += v * v;
        self.own += (said - v) * (said - v);
        self.ridge.add(&self.features[cell * d..][..d], 1.0, v);
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn belief(&self) -> Option<&Belief> {
        Some(&self.belief)
    }

    fn covers(&self, _: &TabularMdp) -> Option<bool> {
        self.options.optimistic.then_some(self.covered)
    }

    fn beta(&self) -> f64 {
        self.options.beta
    }
}

//! Model-based learners on tables: MLE-LOOP, KL-UCRL, UCRL2, the best fit, and posterior sampling.
//!
//! MLE-LOOP keeps the models whose log-likelihood is not much below the best: a product of balls
//! `n_sa KL(P_hat_sa || P_sa) <= beta_sa` with
//!
//! `beta_sa = c (log(4 S A t / delta) + (S - 1) log(e (1 + n_sa / (S - 1))))`,
//!
//! plans in the most promising one by extended value iteration, and switches once the log-likelihood of the model in force has
//! fallen `3 sqrt(t sum beta_sa)` behind the best since the last update.

use ream_rand::Stream;

use super::balls::{Seen, Tilt, Values, kl_maximise, l1_maximise};
use super::evi::extended_value_iteration;
use super::learner::{Belief, Learner};
use crate::environments::average_reward::solver::{argmax, ends, policy_iteration};
use crate::environments::average_reward::{TabularMdp, dirichlet};

/// Which models are plausible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ModelSet {
    /// MLE-LOOP's balls with the constant `c`.
    Likelihood(f64),
    /// KL-UCRL's balls (Filippi, Cappe & Garivier 2010): `n KL <= S (B + log(B + 1 / log T) (1 + 1 / (B + 1 / log T)))` with
    /// `B = log(2 e S^2 A log T / delta)`.
    KlUcrl,
    /// UCRL2's balls (Jaksch, Ortner & Auer 2010): `|P_hat - P|_1 <= sqrt(14 S log(2 A t / delta) / n)`.
    L1,
    /// Only the observed frequencies, with the balls of `c` for the switching rule; uniform where nothing was seen.
    BestFit(f64),
}

/// When the model is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SwitchRule {
    /// The log-likelihood deficit of the model on the data since the last update reaches this many `sqrt(t sum beta_sa)`:
    /// MLE-LOOP's, with 3.
    Root(f64),
    /// Its deficit on all data reaches this many `sum beta_sa`, like value-based LOOP's.
    Deficit(f64),
    /// The visits of a pair double.
    Doubling,
    /// At every step.
    EveryStep,
}

/// What is known before the first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Number of states.
    pub states: usize,
    /// Number of actions.
    pub actions: usize,
    /// Rewards of all pairs.
    pub rewards: Vec<f64>,
    /// Horizon `T`.
    pub horizon: u64,
    /// `delta`.
    pub delta: f64,
    /// Bound on the span of the bias.
    pub span: f64,
}

impl Known {
    /// What learners are told of a process.
    #[must_use]
    pub fn of(mdp: &TabularMdp, span: f64, horizon: u64, delta: f64) -> Self {
        let (states, actions, rewards) = (mdp.states(), mdp.actions(), mdp.rewards().to_vec());
        Self { states, actions, rewards, horizon, delta, span }
    }

    /// `beta_sa` after `t` steps and `n` visits.
    #[must_use]
    pub fn likelihood_budget(&self, constant: f64, t: f64, n: f64) -> f64 {
        let (states, actions) = (self.states as f64, self.actions as f64);
        let others = (states - 1.0).max(1.0);
        let models = others * (1.0 + libm::log1p(n / others));
        constant * (libm::log(4.0 * states * actions * t / self.delta) + models)
    }

    /// Span of the increments at which planning stops: 1e-4, and never more than `1 / sqrt(T)`. (With `1 / sqrt(t)` the first
    /// plans stop at once, and a hypothesis that does not promise what its gain says is never contradicted.)
    #[must_use]
    pub fn tolerance(&self) -> f64 {
        1e-4_f64.min(1.0 / (self.horizon as f64).sqrt())
    }

    fn kl_ucrl_budget(&self) -> f64 {
        let (states, actions) = (self.states as f64, self.actions as f64);
        let log = libm::log((self.horizon as f64).max(3.0));
        let b = libm::log(2.0 * std::f64::consts::E * states * states * actions * log / self.delta);
        let inner = b + 1.0 / log;
        states * (b + libm::log(inner) * (1.0 + 1.0 / inner))
    }
}

/// A learner that plans in the most promising plausible model.
#[derive(Clone, Debug)]
pub struct ModelBased {
    known: Known,
    set: ModelSet,
    rule: SwitchRule,
    seen: Vec<Seen>,
    /// Visits at the last update.
    before: Vec<f64>,
    /// Radius of each pair's ball at the last update: of `n KL`, or of the L1 distance.
    radius: Vec<f64>,
    /// Dual variables of the last sweep.
    warm: Vec<f64>,
    u: Vec<f64>,
    policy: Vec<usize>,
    belief: Belief,
    steps: u64,
    updates: u64,
    deficit: Deficit,
    unsettled: u64,
}

impl ModelBased {
    /// Before the first step.
    #[must_use]
    pub fn new(known: Known, set: ModelSet, rule: SwitchRule) -> Self {
        let pairs = known.states * known.actions;
        Self {
            seen: vec![Seen::default(); pairs],
            before: vec![0.0; pairs],
            radius: vec![0.0; pairs],
            warm: vec![0.0; pairs],
            u: vec![0.0; known.states],
            policy: vec![0; known.states],
            belief: Belief::default(),
            steps: 0,
            updates: 0,
            deficit: Deficit::new(pairs, known.states),
            unsettled: 0,
            known,
            set,
            rule,
        }
    }

    /// Updates whose planning did not settle.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Log-likelihood by which the model in force lies below the best fit of all data.
    #[must_use]
    pub fn deficit(&self) -> f64 {
        self.deficit.all()
    }

    fn due(&self) -> bool {
        if self.updates == 0 {
            return true;
        }
        match self.rule {
            SwitchRule::EveryStep => true,
            SwitchRule::Doubling => {
                self.seen.iter().zip(&self.before).any(|(seen, before)| seen.total >= 2.0 * before.max(0.5))
            }
            SwitchRule::Deficit(constant) => self.deficit.all() >= constant * self.radius_sum(),
            SwitchRule::Root(constant) => {
                self.deficit.fresh() >= constant * (self.steps as f64 * self.radius_sum()).sqrt()
            }
        }
    }

    fn radius_sum(&self) -> f64 {
        self.deficit.budget
    }

    fn set_radii(&mut self) {
        let t = (self.steps + 1) as f64;
        let (states, actions) = (self.known.states as f64, self.known.actions as f64);
        for (radius, seen) in self.radius.iter_mut().zip(&self.seen) {
            *radius = match self.set {
                ModelSet::Likelihood(c) | ModelSet::BestFit(c) => {
                    self.known.likelihood_budget(c, t, seen.total)
                }
                ModelSet::KlUcrl => self.known.kl_ucrl_budget(),
                ModelSet::L1 => {
                    let log = libm::log(2.0 * actions * t / self.known.delta);
                    (14.0 * states * log / seen.total.max(1.0)).sqrt()
                }
            };
        }
        self.deficit.budget = self.radius.iter().sum();
    }

    fn update(&mut self) {
        self.set_radii();
        let tolerance = self.known.tolerance();
        let Self { known, set, seen, radius, warm, u, .. } = self;
        let (actions, rewards) = (known.actions, &known.rewards);
        let plan = match set {
            ModelSet::Likelihood(_) | ModelSet::KlUcrl => {
                extended_value_iteration(actions, rewards, u, tolerance, |cell, values| {
                    let n = seen[cell].total;
                    let budget = if n > 0.0 { radius[cell] / n } else { f64::INFINITY };
                    let tilt = kl_maximise(&seen[cell], values, budget, warm[cell]);
                    warm[cell] = tilt.gap;
                    tilt.value
                })
            }
            ModelSet::L1 => {
                let mut ascending: Vec<usize> = (0..known.states).collect();
                extended_value_iteration(actions, rewards, u, tolerance, move |cell, values| {
                    if cell == 0 {
                        ascending.sort_by(|&a, &b| values.u[a].total_cmp(&values.u[b]).then(a.cmp(&b)));
                    }
                    l1_maximise(&seen[cell], values, &ascending, radius[cell])
                })
            }
            ModelSet::BestFit(_) => {
                extended_value_iteration(actions, rewards, u, tolerance, |cell, values| {
                    if seen[cell].total > 0.0 {
                        seen[cell].mean(values.u)
                    } else {
                        values.u.iter().sum::<f64>() / values.u.len() as f64
                    }
                })
            }
        };
        self.unsettled += u64::from(!plan.settled);
        self.policy = plan.q.chunks(actions).map(argmax).collect();
        // V_f = max_a Q_f, shifted to a minimum of 0.
        let [low, _] = ends(&plan.v);
        let v: Vec<f64> = plan.v.iter().map(|v| v - low).collect();
        let q = plan.q.iter().map(|q| q - low).collect();
        self.belief = Belief { q, v, gain: plan.gain };
        if matches!(self.rule, SwitchRule::Deficit(_) | SwitchRule::Root(_)) {
            self.remember_model();
        }
        self.before = self.seen.iter().map(|s| s.total).collect();
        self.updates += 1;
    }

    /// Keeps the logarithms of the model in force, by which data will be held against it.
    fn remember_model(&mut self) {
        let states = self.known.states;
        let values = Values::new(&self.u);
        let mut law = vec![0.0; states];
        for (cell, seen) in self.seen.iter().enumerate() {
            match self.set {
                ModelSet::BestFit(_) if seen.total > 0.0 => {
                    Tilt { gap: f64::INFINITY, kept: 1.0, value: 0.0 }.law(seen, values, &mut law);
                }
                ModelSet::BestFit(_) => law.fill(1.0 / states as f64),
                ModelSet::L1 | ModelSet::Likelihood(_) | ModelSet::KlUcrl => {
                    let budget =
                        if seen.total > 0.0 { self.radius[cell] / seen.total } else { f64::INFINITY };
                    kl_maximise(seen, values, budget, self.warm[cell]).law(seen, values, &mut law);
                }
            }
            self.deficit.set_model(cell, &law);
        }
        self.deficit.begin(&self.seen);
    }
}

impl Learner for ModelBased {
    fn act(&mut self, state: usize) -> usize {
        if self.due() {
            self.update();
        }
        self.policy[state]
    }

    fn learn(&mut self, state: usize, action: usize, _: f64, next: usize) {
        let cell = state * self.known.actions + action;
        if matches!(self.rule, SwitchRule::Deficit(_) | SwitchRule::Root(_)) {
            self.deficit.add(cell, next, &self.seen[cell]);
        }
        self.seen[cell].add(next);
        self.steps += 1;
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn belief(&self) -> Option<&Belief> {
        Some(&self.belief)
    }

    fn covers(&self, truth: &TabularMdp) -> Option<bool> {
        let inside = |(cell, seen): (usize, &Seen)| {
            seen.total == 0.0
                || match self.set {
                    ModelSet::L1 => {
                        let seen_share: f64 = truth
                            .row(cell)
                            .iter()
                            .map(|&(s, p)| {
                                let count = seen.next.iter().find(|(next, _)| *next == s);
                                (count.map_or(0.0, |c| c.1) / seen.total - p).abs()
                            })
                            .sum();
                        seen_share <= self.radius[cell]
                    }
                    _ => seen.total * seen.divergence(|s| truth.probability(cell, s)) <= self.radius[cell],
                }
        };
        if matches!(self.set, ModelSet::BestFit(_)) {
            return None;
        }
        Some(self.seen.iter().enumerate().all(inside))
    }

    fn beta(&self) -> f64 {
        // Budgets are of log-likelihood; a squared Bellman error is at most sp^2 times that (Pinsker).
        self.known.span * self.known.span * self.deficit.budget
    }
}

/// How far the data contradict a model: `max_P sum log P - sum log P_f`, over all data and over those since the last update.
#[derive(Clone, Debug)]
struct Deficit {
    states: usize,
    /// `log p~`, `[pairs * states]`.
    logs: Vec<f64>,
    /// `max_P sum log P` over all data, and `sum log p~`.
    best: f64,
    model: f64,
    /// The same since the last update, with the counts it needs.
    fresh_best: f64,
    fresh_model: f64,
    fresh_counts: Vec<f64>,
    fresh_totals: Vec<f64>,
    /// `sum beta_sa`.
    budget: f64,
}

/// `(n + 1) log(n + 1) - n log n`.
fn growth(n: f64) -> f64 {
    if n > 0.0 { (n + 1.0) * libm::log(n + 1.0) - n * libm::log(n) } else { 0.0 }
}

impl Deficit {
    fn new(pairs: usize, states: usize) -> Self {
        Self {
            states,
            logs: vec![0.0; pairs * states],
            best: 0.0,
            model: 0.0,
            fresh_best: 0.0,
            fresh_model: 0.0,
            fresh_counts: vec![0.0; pairs * states],
            fresh_totals: vec![0.0; pairs],
            budget: 0.0,
        }
    }

    fn set_model(&mut self, cell: usize, law: &[f64]) {
        let logs = &mut self.logs[cell * self.states..][..self.states];
        for (log, p) in logs.iter_mut().zip(law) {
            *log = if *p > 0.0 { libm::log(*p) } else { f64::NEG_INFINITY };
        }
    }

    /// After a new model: what it says of all data so far.
    fn begin(&mut self, seen: &[Seen]) {
        self.model = 0.0;
        for (cell, seen) in seen.iter().enumerate() {
            for &(next, count) in &seen.next {
                self.model += count * self.logs[cell * self.states + next];
            }
        }
        self.fresh_best = 0.0;
        self.fresh_model = 0.0;
        self.fresh_counts.fill(0.0);
        self.fresh_totals.fill(0.0);
    }

    /// An observation; `seen` is the pair's record before it.
    fn add(&mut self, cell: usize, next: usize, seen: &Seen) {
        let count = seen.next.iter().find(|(s, _)| *s == next).map_or(0.0, |(_, count)| *count);
        self.best += growth(count) - growth(seen.total);
        let at = cell * self.states + next;
        self.fresh_best += growth(self.fresh_counts[at]) - growth(self.fresh_totals[cell]);
        self.fresh_counts[at] += 1.0;
        self.fresh_totals[cell] += 1.0;
        self.model += self.logs[at];
        self.fresh_model += self.logs[at];
    }

    fn all(&self) -> f64 {
        self.best - self.model
    }

    fn fresh(&self) -> f64 {
        self.fresh_best - self.fresh_model
    }
}

/// Posterior sampling: a model drawn from the Dirichlet posterior, followed until a pair's visits double or an episode is
/// longer than the one before (Ouyang, Gagrani, Nayyar & Jain 2017).
#[derive(Clone, Debug)]
pub struct PosteriorSampling {
    known: Known,
    seen: Vec<Seen>,
    before: Vec<f64>,
    policy: Vec<usize>,
    stream: Stream,
    steps: u64,
    updates: u64,
    begun: u64,
    length: u64,
}

impl PosteriorSampling {
    /// Before the first step; `stream` is for its own draws.
    #[must_use]
    pub fn new(known: Known, stream: Stream) -> Self {
        let pairs = known.states * known.actions;
        Self {
            seen: vec![Seen::default(); pairs],
            before: vec![0.0; pairs],
            policy: vec![0; known.states],
            stream,
            steps: 0,
            updates: 0,
            begun: 0,
            length: 0,
            known,
        }
    }

    fn draw(&mut self) {
        let states = self.known.states;
        let mut rng = self.stream.at(self.updates);
        let rows = self
            .seen
            .iter()
            .map(|seen| {
                let mut parameters = vec![1.0 / states as f64; states];
                seen.next.iter().for_each(|&(s, count)| parameters[s] += count);
                dirichlet(&mut rng, &parameters).into_iter().enumerate().collect()
            })
            .collect();
        let drawn = TabularMdp::new(self.known.actions, 0, rows, self.known.rewards.clone());
        // A draw that falls apart into several classes tells nothing about the start: the policy stays.
        if let Some(solution) = policy_iteration(&drawn) {
            self.policy = solution.policy;
        }
        self.before = self.seen.iter().map(|s| s.total).collect();
        self.length = self.steps - self.begun;
        self.begun = self.steps;
        self.updates += 1;
    }
}

impl Learner for PosteriorSampling {
    fn act(&mut self, state: usize) -> usize {
        let longer = self.steps - self.begun > self.length;
        let doubled =
            self.seen.iter().zip(&self.before).any(|(seen, before)| seen.total >= 2.0 * before.max(0.5));
        if self.updates == 0 || longer || doubled {
            self.draw();
        }
        self.policy[state]
    }

    fn learn(&mut self, state: usize, action: usize, _: f64, next: usize) {
        self.seen[state * self.known.actions + action].add(next);
        self.steps += 1;
    }

    fn updates(&self) -> u64 {
        self.updates
    }
}

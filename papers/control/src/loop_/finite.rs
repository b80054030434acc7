//! Value-based LOOP on a finite class: exact confidence set, exact argmax.
//!
//! Residuals depend on `(s, a, s')` only, so counts are all that is kept of the data. With `y_f = r + V_f(s') - J_f` and
//! `m_f(s, a)` its observed mean,
//!
//! `L_D(f, f) - min_g L_D(f, g) = sum n (Q_f - m_f)^2 - min_g sum n (Q_g - m_f)^2`:
//!
//! the variance of `V_f(s')` falls out. That is the local fit; `g` meets the target of `f`, with the gain of `f`.

use ream_lab::Invalid;
use ream_rand::Stream;

use super::learner::{Belief, Learner};
use crate::environments::average_reward::TabularMdp;
use crate::environments::average_reward::solver::{Solution, argmax, ends, policy_iteration};

/// Weight of the truth in the Dirichlet law of a hypothesis' rows; hypotheses go through these in turn.
const CONCENTRATIONS: [f64; 5] = [3.0, 10.0, 30.0, 100.0, 300.0];
/// What is added to every parameter of that law.
const FLOOR: f64 = 0.02;
/// A drawn process whose span is above this many times the truth's is drawn again: `|Q_f|` must be bounded.
pub const SPANS: f64 = 4.0;
/// A draw that cannot be solved or bounded is made again so often.
const MOST_DRAWS: u64 = 1000;

/// Hypotheses `H` and auxiliary functions `G`.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniteClass {
    /// `J_f`.
    pub gains: Vec<f64>,
    /// `Q_f`, `[pairs]` each.
    pub q: Vec<Vec<f64>>,
    /// `V_f`, `[states]` each.
    pub v: Vec<Vec<f64>>,
    /// `Q_g` of all auxiliary functions, pair by pair: `[pairs][|G|]`.
    pub auxiliary: Vec<Vec<f64>>,
    /// Position of the true hypothesis.
    pub truth: usize,
    /// Hypotheses from the greatest gain to the least.
    order: Vec<usize>,
    actions: usize,
}

impl FiniteClass {
    /// The true hypothesis and `count - 1` solved processes whose rows are drawn from Dirichlet(k P(s, a) + 0.02); `G` is `H`
    /// with its images under the true Bellman operator.
    ///
    /// # Errors
    /// No process of the law can be solved within the bound on spans.
    pub fn draw(
        mdp: &TabularMdp,
        solution: &Solution,
        count: usize,
        stream: Stream,
    ) -> Result<Self, Invalid> {
        let mut solved = vec![solution.clone()];
        for i in 1..count {
            let concentration = CONCENTRATIONS[(i - 1) % CONCENTRATIONS.len()];
            let bound = SPANS * solution.span;
            let drawn = (0..MOST_DRAWS).find_map(|attempt| {
                let process = drawn_process(mdp, concentration, stream.child(i as u64), attempt);
                policy_iteration(&process).filter(|s| s.span <= bound && (0.0..=1.0).contains(&s.gain))
            });
            solved.push(drawn.ok_or_else(|| {
                Invalid::new(
                    "the class of hypotheses",
                    "processes near the true one that have one closed class and a bounded bias",
                    format!("none in {MOST_DRAWS} draws at concentration {concentration}"),
                )
            })?);
        }
        Self::new(mdp, solution, &solved)
    }

    /// A class of these hypotheses.
    ///
    /// # Errors
    /// The true hypothesis is not among them: claims about confidence sets would mean nothing.
    pub fn new(mdp: &TabularMdp, solution: &Solution, hypotheses: &[Solution]) -> Result<Self, Invalid> {
        let same = |s: &Solution| {
            (s.gain - solution.gain).abs() < 1e-6
                && s.q.iter().zip(&solution.q).all(|(a, b)| (a - b).abs() < 1e-6 * (1.0 + b.abs()))
        };
        let Some(truth) = hypotheses.iter().position(same) else {
            let least = hypotheses.iter().map(|s| misfit(mdp, s)).fold(f64::INFINITY, f64::min);
            return Err(Invalid::new(
                "the class of hypotheses",
                "one that holds the true hypothesis",
                format!("a misspecified one, whose best member has a Bellman error of {least:.4}"),
            ));
        };
        let gains: Vec<f64> = hypotheses.iter().map(|s| s.gain).collect();
        let q: Vec<Vec<f64>> = hypotheses.iter().map(|s| s.q.clone()).collect();
        let v: Vec<Vec<f64>> = hypotheses.iter().map(|s| s.bias.clone()).collect();
        let auxiliary = (0..mdp.cells())
            .map(|cell| {
                let own = q.iter().map(|q| q[cell]);
                let image =
                    v.iter().zip(&gains).map(|(v, gain)| mdp.rewards()[cell] + mdp.expect(cell, v) - gain);
                own.chain(image).collect()
            })
            .collect();
        let mut order: Vec<usize> = (0..gains.len()).collect();
        order.sort_by(|&a, &b| gains[b].total_cmp(&gains[a]).then(a.cmp(&b)));
        Ok(Self { gains, q, v, auxiliary, truth, order, actions: mdp.actions() })
    }

    /// Size of `H`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.gains.len()
    }

    /// Never: the true hypothesis is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gains.is_empty()
    }

    /// Share of hypotheses that promise more than the truth does.
    #[must_use]
    pub fn optimistic_share(&self) -> f64 {
        let more = self.gains.iter().filter(|g| **g > self.gains[self.truth] + 1e-6).count();
        more as f64 / self.len() as f64
    }

    /// `beta = c sp^2 log(T |H| |G| / delta)`.
    #[must_use]
    pub fn beta(&self, constant: f64, span: f64, horizon: u64, delta: f64) -> f64 {
        let covering = self.len() as f64 * (2 * self.len()) as f64;
        constant * span * span * libm::log(horizon as f64 * covering / delta)
    }
}

fn drawn_process(mdp: &TabularMdp, concentration: f64, stream: Stream, attempt: u64) -> TabularMdp {
    let mut rng = stream.at(attempt);
    let rows = (0..mdp.cells())
        .map(|cell| {
            let mut parameters = vec![FLOOR; mdp.states()];
            for &(next, p) in mdp.row(cell) {
                parameters[next] += concentration * p;
            }
            crate::environments::average_reward::dirichlet(&mut rng, &parameters)
                .into_iter()
                .enumerate()
                .collect()
        })
        .collect();
    TabularMdp::new(mdp.actions(), mdp.start(), rows, mdp.rewards().to_vec())
}

/// Largest Bellman error of a hypothesis.
fn misfit(mdp: &TabularMdp, s: &Solution) -> f64 {
    let belief = Belief { q: s.q.clone(), v: s.bias.clone(), gain: s.gain };
    belief.bellman_errors(mdp).iter().fold(0.0, |most, e| most.max(e.abs()))
}

/// Which set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitSet {
    /// `L(f, f) - min_g L(f, g) <= beta`: LOOP's.
    Local,
    /// `L(f, f) <= beta`: without the subtraction.
    Plain,
}

/// Which hypothesis is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The greatest gain in the set: LOOP's.
    Optimistic,
    /// The best fit.
    BestFit,
}

/// How LOOP is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FiniteOptions {
    /// `beta`.
    pub beta: f64,
    /// The set.
    pub set: FitSet,
    /// The choice.
    pub choice: Choice,
    /// Whether the set is made anew at every step instead of rarely.
    pub every_step: bool,
    /// A switch comes where the deficit reaches this many `beta`; 4 in the paper.
    pub patience: f64,
}

impl FiniteOptions {
    /// The paper's algorithm.
    #[must_use]
    pub fn paper(beta: f64) -> Self {
        Self { beta, set: FitSet::Local, choice: Choice::Optimistic, every_step: false, patience: 4.0 }
    }
}

/// LOOP on a finite class.
#[derive(Clone, Debug)]
pub struct FiniteLoop<'a> {
    class: &'a FiniteClass,
    options: FiniteOptions,
    /// Observed next states and reward of each pair.
    seen: Vec<super::balls::Seen>,
    rewards: Vec<f64>,
    /// Pairs that were tried.
    tried: Vec<usize>,
    /// `L(f, f)` of each hypothesis; kept for the plain set only.
    losses: Vec<f64>,
    steps: u64,
    updates: u64,
    current: usize,
    belief: Belief,
    /// Whether the truth was in the set of the last update.
    covered: bool,
    /// Largest change of a hypothesis' deficit in one step.
    change: Vec<f64>,
    /// Until this many steps a hypothesis' deficit cannot have come down to `beta`.
    outside_until: Vec<u64>,
    /// The auxiliary function that fitted a hypothesis' target best when last looked for.
    witness: Vec<usize>,
    /// Until this many steps the current hypothesis cannot be contradicted enough.
    kept_until: u64,
    scratch: Vec<f64>,
}

impl<'a> FiniteLoop<'a> {
    /// Before the first step.
    #[must_use]
    pub fn new(class: &'a FiniteClass, options: FiniteOptions) -> Self {
        let pairs = class.auxiliary.len();
        Self {
            class,
            options,
            seen: vec![super::balls::Seen::default(); pairs],
            rewards: vec![0.0; pairs],
            tried: Vec::new(),
            losses: vec![0.0; class.len()],
            steps: 0,
            updates: 0,
            current: class.order[0],
            belief: Belief::default(),
            covered: true,
            change: largest_changes(class),
            outside_until: vec![0; class.len()],
            witness: vec![0; class.len()],
            kept_until: 0,
            scratch: vec![0.0; 2 * class.len()],
        }
    }

    /// `L_D(f, f) - min_g L_D(f, g)`, never negative since `f` is in `G`.
    pub fn deficit(&mut self, f: usize) -> f64 {
        self.scratch.fill(0.0);
        let (v, q, gain) = (&self.class.v[f], &self.class.q[f], self.class.gains[f]);
        let mut own = 0.0;
        for &cell in &self.tried {
            let n = self.seen[cell].total;
            let target = self.rewards[cell] + self.seen[cell].mean(v) - gain;
            own += n * (q[cell] - target) * (q[cell] - target);
            for (sum, g) in self.scratch.iter_mut().zip(&self.class.auxiliary[cell]) {
                *sum += n * (g - target) * (g - target);
            }
        }
        let least = self.scratch.iter().fold(f64::INFINITY, |least, s| least.min(*s));
        self.witness[f] = self.scratch.iter().position(|s| *s == least).unwrap_or(0);
        (own - least).max(0.0)
    }

    /// `L_D(f, f) - L_D(f, g)` for the last best `g`: at most the deficit, and quick.
    fn deficit_at_least(&self, f: usize) -> f64 {
        let (v, q, gain, g) = (&self.class.v[f], &self.class.q[f], self.class.gains[f], self.witness[f]);
        let part = |&cell: &usize| {
            let seen = &self.seen[cell];
            let target = self.rewards[cell] + seen.mean(v) - gain;
            let (own, other) = (q[cell] - target, self.class.auxiliary[cell][g] - target);
            seen.total * (own * own - other * other)
        };
        self.tried.iter().map(part).sum()
    }

    /// What is held against `beta`.
    fn statistic(&mut self, f: usize) -> f64 {
        if self.options.set == FitSet::Plain { self.losses[f] } else { self.deficit(f) }
    }

    /// The steps within which a statistic cannot move by `distance`.
    fn safe_steps(&self, f: usize, distance: f64) -> u64 {
        if self.options.set == FitSet::Plain || distance <= 0.0 {
            return 0;
        }
        (distance / self.change[f]) as u64
    }

    fn contradicted(&mut self) -> bool {
        if self.steps < self.kept_until {
            return false;
        }
        let limit = self.options.patience * self.options.beta;
        let statistic = self.statistic(self.current);
        self.kept_until = self.steps + self.safe_steps(self.current, limit - statistic);
        statistic >= limit
    }

    fn choose(&mut self) {
        let chosen = match self.options.choice {
            Choice::Optimistic => self.most_promising(),
            Choice::BestFit => None,
        };
        self.current = chosen.unwrap_or_else(|| self.best_fit());
        self.kept_until = 0;
        self.covered = self.statistic(self.class.truth) <= self.options.beta;
        let f = self.current;
        self.belief =
            Belief { q: self.class.q[f].clone(), v: self.class.v[f].clone(), gain: self.class.gains[f] };
    }

    /// The greatest gain in the set; `None` where the set is empty. What is certainly outside is passed over.
    fn most_promising(&mut self) -> Option<usize> {
        let class = self.class;
        for &f in &class.order {
            if self.steps < self.outside_until[f] {
                continue;
            }
            // Sums in another order may differ in the last digits; a set is never decided by those.
            if self.options.set == FitSet::Local && self.deficit_at_least(f) > 1.000_001 * self.options.beta {
                continue;
            }
            let statistic = self.statistic(f);
            if statistic <= self.options.beta {
                return Some(f);
            }
            self.outside_until[f] = self.steps + self.safe_steps(f, statistic - self.options.beta);
        }
        None
    }

    fn best_fit(&mut self) -> usize {
        let fits: Vec<f64> = (0..self.class.len()).map(|f| -self.statistic(f)).collect();
        argmax(&fits)
    }
}

/// A sample with target `y` changes `L(f, f) - L(f, g)` by `(Q_f - Q_g)(Q_f + Q_g - 2 y)`: the largest such change over
/// pairs, auxiliary functions and targets.
fn largest_changes(class: &FiniteClass) -> Vec<f64> {
    let ranges: Vec<[f64; 2]> = class.auxiliary.iter().map(|g| ends(g)).collect();
    (0..class.len())
        .map(|f| {
            let [low, high] = ends(&class.v[f]);
            let mut most = 0.0_f64;
            for (q, g) in class.q[f].iter().zip(&ranges) {
                let apart = (q - g[0]).abs().max((q - g[1]).abs());
                for target in [low - class.gains[f], high + 1.0 - class.gains[f]] {
                    let sum = (q + g[0] - 2.0 * target).abs().max((q + g[1] - 2.0 * target).abs());
                    most = most.max(apart * sum);
                }
            }
            // Rounding must never make a bound too small.
            1.0001 * most + 1e-9
        })
        .collect()
}

impl Learner for FiniteLoop<'_> {
    fn act(&mut self, state: usize) -> usize {
        if self.updates == 0 || self.options.every_step || self.contradicted() {
            self.choose();
            self.updates += 1;
        }
        let first = state * self.class.actions;
        argmax(&self.belief.q[first..first + self.class.actions])
    }

    fn learn(&mut self, state: usize, action: usize, reward: f64, next: usize) {
        let cell = state * self.class.actions + action;
        if self.seen[cell].total == 0.0 {
            self.tried.push(cell);
            self.tried.sort_unstable();
        }
        self.seen[cell].add(next);
        self.rewards[cell] = reward;
        self.steps += 1;
        if self.options.set == FitSet::Plain {
            for (f, loss) in self.losses.iter_mut().enumerate() {
                let residual = self.class.q[f][cell] + self.class.gains[f] - reward - self.class.v[f][next];
                *loss += residual * residual;
            }
        }
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn belief(&self) -> Option<&Belief> {
        Some(&self.belief)
    }

    fn covers(&self, _: &TabularMdp) -> Option<bool> {
        Some(self.covered)
    }

    fn beta(&self) -> f64 {
        self.options.beta
    }

    fn gain_range(&mut self) -> Option<[f64; 2]> {
        let class = self.class;
        let mut inside = [None, None];
        for &f in &class.order {
            if self.statistic(f) <= self.options.beta {
                inside[0] = inside[0].or(Some(class.gains[f]));
                inside[1] = Some(class.gains[f]);
            }
        }
        Some([inside[1]?, inside[0]?])
    }
}

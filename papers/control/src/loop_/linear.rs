//! LOOP on linear classes `Q_w = phi(s, a) . w`, as a bonus in clipped value iteration.
//!
//! `r + V(s')` is regressed on `phi(s, a)`; planning adds `sqrt(beta) |phi|_{A^-1}` and clips the value to the bound on its
//! span, sweep by sweep with the value of the moment. The exact search over the confidence set is not tractable: this is a
//! surrogate, and is called so wherever it appears.

use super::evi::MOST_SWEEPS;
use super::learner::{Belief, Learner};
use super::ridge::Ridge;
use crate::environments::average_reward::TabularMdp;
use crate::environments::average_reward::solver::{argmax, ends};
use ream_rand::Stream;

/// Features of all pairs of a finite (or planning) set of states.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Number of states.
    pub states: usize,
    /// Number of actions.
    pub actions: usize,
    /// Length of one vector.
    pub width: usize,
    /// Whether every action has weights of its own (the dimension is then `actions * width`).
    pub by_action: bool,
    /// `[pairs * width]`.
    pub phi: Vec<f64>,
}

/// Standard deviation of the frequencies of random features on the circle.
const FREQUENCIES: f64 = 3.0;

impl Features {
    /// `d`.
    #[must_use]
    pub fn dimension(&self) -> usize {
        if self.by_action { self.actions * self.width } else { self.width }
    }

    /// The vector of a pair.
    #[must_use]
    pub fn of(&self, cell: usize) -> &[f64] {
        &self.phi[cell * self.width..][..self.width]
    }

    fn block(&self, cell: usize) -> usize {
        if self.by_action { cell % self.actions } else { 0 }
    }

    fn blocks(&self) -> usize {
        if self.by_action { self.actions } else { 1 }
    }

    /// Random Fourier features of `cells` equal parts of a circle: `sqrt(2 / width) cos(2 pi m x + b)` with whole frequencies
    /// `m = round(N(0, 3^2))` and uniform phases, for each of three actions apart. The draw is always the same.
    #[must_use]
    pub fn random_fourier(cells: usize, width: usize) -> Self {
        let mut rng = Stream::new(0, "random Fourier features").at(0);
        let waves: Vec<(f64, f64)> = (0..width)
            .map(|_| (libm::round(FREQUENCIES * rng.normal()), std::f64::consts::TAU * rng.uniform()))
            .collect();
        let actions = 3;
        let scale = (2.0 / width as f64).sqrt();
        let mut phi = Vec::with_capacity(cells * actions * width);
        for cell in 0..cells {
            let x = crate::environments::average_reward::Circle::centre(cell, cells);
            for _ in 0..actions {
                phi.extend(waves.iter().map(|(m, b)| scale * libm::cos(std::f64::consts::TAU * m * x + b)));
            }
        }
        Self { states: cells, actions, width, by_action: true, phi }
    }

    /// Largest distance of a function of pairs from the best linear one in mean square, over all pairs.
    #[must_use]
    pub fn misspecification(&self, q: &[f64]) -> f64 {
        let mut ridges = vec![Ridge::new(self.width, 1e-9); self.blocks()];
        for (cell, q) in q.iter().enumerate() {
            ridges[self.block(cell)].add(self.of(cell), 1.0, *q);
        }
        let weights: Vec<Vec<f64>> = ridges.iter().map(Ridge::solve).collect();
        q.iter()
            .enumerate()
            .map(|(cell, q)| (dot(&weights[self.block(cell)], self.of(cell)) - q).abs())
            .fold(0.0, f64::max)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The learner.
#[derive(Clone, Debug)]
pub struct LinearLoop<'a> {
    features: &'a Features,
    /// `beta`, and the bound on the span.
    beta: f64,
    span: f64,
    optimistic: bool,
    /// For each block `sum phi phi'`, and `sum phi e(s')'` as `[width * states]`, `sum phi r`, `sum phi`.
    ridges: Vec<Ridge>,
    moved: Vec<Vec<f64>>,
    paid: Vec<Vec<f64>>,
    sums: Vec<Vec<f64>>,
    /// `(pair, reward, next)`.
    data: Vec<(usize, f64, usize)>,
    u: Vec<f64>,
    policy: Vec<usize>,
    belief: Belief,
    /// At the last update: what regression says of `r + E V(s')`, and the bonus, for every pair; and that `V`.
    estimate: Vec<f64>,
    bonus: Vec<f64>,
    planned: Vec<f64>,
    log_det: f64,
    /// Regressions of `r + V_f(s') - J_f`, squared responses, squared residuals of the hypothesis in force.
    targets: Vec<Ridge>,
    explained: Vec<f64>,
    squares: f64,
    own: f64,
    /// The deficit at the last update.
    begun: f64,
    updates: u64,
    unsettled: u64,
}

impl<'a> LinearLoop<'a> {
    /// Before the first step.
    #[must_use]
    pub fn new(features: &'a Features, beta: f64, span: f64, optimistic: bool) -> Self {
        let (blocks, width, states) = (features.blocks(), features.width, features.states);
        let pairs = states * features.actions;
        let ridges = vec![Ridge::new(width, 1.0); blocks];
        Self {
            features,
            beta,
            span,
            optimistic,
            targets: ridges.clone(),
            ridges,
            moved: vec![vec![0.0; width * states]; blocks],
            paid: vec![vec![0.0; width]; blocks],
            sums: vec![vec![0.0; width]; blocks],
            data: Vec::new(),
            u: vec![0.0; states],
            policy: vec![0; states],
            belief: Belief { q: vec![0.0; pairs], v: vec![0.0; states], gain: 0.0 },
            estimate: vec![0.0; pairs],
            bonus: vec![0.0; pairs],
            planned: vec![0.0; states],
            log_det: 0.0,
            explained: vec![0.0; blocks],
            squares: 0.0,
            own: 0.0,
            begun: 0.0,
            updates: 0,
            unsettled: 0,
        }
    }

    /// Updates whose planning did not settle.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Regresses `r + V(s')` and writes what it says of every pair to `estimate`.
    fn regress(&mut self, v: &[f64]) {
        let width = self.features.width;
        let weights: Vec<Vec<f64>> = (0..self.ridges.len())
            .map(|block| {
                let response: Vec<f64> = self.paid[block]
                    .iter()
                    .zip(self.moved[block].chunks(v.len()))
                    .map(|(paid, row)| paid + dot(row, v))
                    .collect();
                self.ridges[block].set_response(&response);
                self.ridges[block].solve()
            })
            .collect();
        for (cell, estimate) in self.estimate.iter_mut().enumerate() {
            let phi = &self.features.phi[cell * width..][..width];
            *estimate = dot(&weights[self.features.block(cell)], phi);
        }
    }

    fn update(&mut self) {
        let actions = self.features.actions;
        let tolerance = 1.0 / ((self.data.len() + 1) as f64).sqrt();
        let root = if self.optimistic { self.beta.sqrt() } else { 0.0 };
        for (cell, bonus) in self.bonus.iter_mut().enumerate() {
            let ridge = &self.ridges[self.features.block(cell)];
            *bonus = root * ridge.inverse_norm(self.features.of(cell)).sqrt();
        }
        let mut u = std::mem::take(&mut self.u);
        let mut sweeps = 0;
        let (mut q, mut v, mut gain);
        loop {
            self.regress(&u);
            q = self.estimate.iter().zip(&self.bonus).map(|(e, b)| e + b).collect::<Vec<f64>>();
            let most: Vec<f64> = q.chunks(actions).map(|q| ends(q)[1]).collect();
            let [low, _] = ends(&most);
            v = most.iter().map(|m| m.min(low + self.span)).collect::<Vec<f64>>();
            let increment: Vec<f64> = v.iter().zip(&u).map(|(v, u)| v - u).collect();
            let [least, greatest] = ends(&increment);
            gain = greatest;
            sweeps += 1;
            if greatest - least <= tolerance || sweeps == MOST_SWEEPS / 50 {
                self.unsettled += u64::from(greatest - least > tolerance);
                break;
            }
            u.iter_mut().zip(&increment).for_each(|(u, d)| *u += 0.5 * d);
            let base = ends(&u)[0];
            u.iter_mut().for_each(|u| *u -= base);
        }
        self.policy = q.chunks(actions).map(argmax).collect();
        self.planned.clone_from(&u);
        self.u = u;
        let [low, _] = ends(&v);
        let v: Vec<f64> = v.iter().map(|v| v - low).collect();
        // V_f is the clipped maximum, and Q_f is clipped with it.
        let q = q.iter().map(|q| (q - low).min(self.span)).collect();
        self.belief = Belief { q, v, gain };
        self.log_det = self.ridges.iter().map(Ridge::log_det).sum();
        self.begin_targets();
        self.begun = self.deficit();
        self.updates += 1;
    }

    fn begin_targets(&mut self) {
        let (v, gain) = (&self.belief.v, self.belief.gain);
        self.targets.clone_from(&self.ridges);
        for (block, target) in self.targets.iter_mut().enumerate() {
            let response: Vec<f64> = self.paid[block]
                .iter()
                .zip(&self.sums[block])
                .zip(self.moved[block].chunks(v.len()))
                .map(|((paid, sum), row)| paid + dot(row, v) - gain * sum)
                .collect();
            target.set_response(&response);
            self.explained[block] = target.explained();
        }
        (self.squares, self.own) = (0.0, 0.0);
        for &(cell, reward, next) in &self.data {
            let y = reward + v[next] - gain;
            self.squares += y * y;
            self.own += (self.belief.q[cell] - y) * (self.belief.q[cell] - y);
        }
    }

    /// `L(f, f) - min_g L(f, g)` over linear functions.
    #[must_use]
    pub fn deficit(&self) -> f64 {
        (self.own - (self.squares - self.explained.iter().sum::<f64>())).max(0.0)
    }

    /// The determinant doubles, or the deficit has grown by three `beta` (see [`super::mixture::MixtureRule::Loop`]).
    fn due(&self) -> bool {
        self.updates == 0
            || self.ridges.iter().map(Ridge::log_det).sum::<f64>() >= self.log_det + std::f64::consts::LN_2
            || self.deficit() >= self.begun + 3.0 * self.beta
    }
}

impl Learner for LinearLoop<'_> {
    fn act(&mut self, state: usize) -> usize {
        if self.due() {
            self.update();
        }
        self.policy[state]
    }

    fn learn(&mut self, state: usize, action: usize, reward: f64, next: usize) {
        let cell = state * self.features.actions + action;
        let (block, states) = (self.features.block(cell), self.features.states);
        let phi = self.features.of(cell);
        for (i, x) in phi.iter().enumerate() {
            self.moved[block][i * states + next] += x;
            self.paid[block][i] += x * reward;
            self.sums[block][i] += x;
        }
        let y = reward + self.belief.v[next] - self.belief.gain;
        self.ridges[block].add(phi, 1.0, 0.0);
        self.targets[block].add(phi, 1.0, y);
        self.explained[block] = self.targets[block].explained();
        self.squares += y * y;
        self.own += (self.belief.q[cell] - y) * (self.belief.q[cell] - y);
        self.data.push((cell, reward, next));
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn belief(&self) -> Option<&Belief> {
        Some(&self.belief)
    }

    /// Whether the regression of the planned value is within its bonus of the truth at every pair.
    fn covers(&self, truth: &TabularMdp) -> Option<bool> {
        if !self.optimistic {
            return None;
        }
        let inside = |cell: usize| {
            let right = truth.rewards()[cell] + truth.expect(cell, &self.planned);
            (self.estimate[cell] - right).abs() <= self.bonus[cell]
        };
        Some((0..self.estimate.len()).all(inside))
    }

    fn beta(&self) -> f64 {
        self.beta
    }
}

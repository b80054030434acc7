//! Populations that answer to the threshold.
//!
//! An environment has a state `z` (group means, or group shares) that moves to `(1 - eta) z + eta Phi(z, theta)` while
//! a threshold is in force. All it states is how a random applicant of each group fares at a threshold ([`Moment`]):
//! the exact expectations and the batches come from the same numbers, so neither can drift from the other.

use ream_rand::Rng;

/// Reward of one decision in each case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewards {
    /// Rejected, outcome 0.
    pub reject_bad: f64,
    /// Rejected, outcome 1.
    pub reject_good: f64,
    /// Accepted, outcome 0.
    pub accept_bad: f64,
    /// Accepted, outcome 1.
    pub accept_good: f64,
}

impl Rewards {
    /// 1 for an accepted good applicant, `-cost` for an accepted bad one, nothing for a rejection.
    #[must_use]
    pub fn with_cost(cost: f64) -> Self {
        Self { reject_bad: 0.0, reject_good: 0.0, accept_bad: -cost, accept_good: 1.0 }
    }

    fn cases(self) -> [f64; 4] {
        [self.reject_bad, self.reject_good, self.accept_bad, self.accept_good]
    }

    /// Largest minus smallest.
    #[must_use]
    pub fn range(self) -> f64 {
        let cases = self.cases();
        cases.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b))
            - cases.iter().fold(f64::INFINITY, |a, b| a.min(*b))
    }
}

/// What the limits are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// `eps`: largest gap between the acceptance rates of any two groups.
    pub gap: f64,
    /// `rho`: least overall acceptance rate; 0 is no limit.
    pub service: f64,
    /// Largest overall acceptance rate, as a residual stream `acceptance - capacity <= 0`.
    pub capacity: Option<f64>,
}

impl Limits {
    /// By how much expectations violate the limits: `max(0, gap - eps) + max(0, rho - acc)`, plus what is above the
    /// capacity.
    #[must_use]
    pub fn violation(&self, at: &Expected) -> f64 {
        (at.gap - self.gap).max(0.0)
            + (self.service - at.accepted).max(0.0)
            + self.capacity.map_or(0.0, |capacity| (at.accepted - capacity).max(0.0))
    }

    /// Whether expectations satisfy the limits, up to rounding.
    #[must_use]
    pub fn admits(&self, at: &Expected) -> bool {
        self.violation(at) <= 1e-12
    }
}

/// How a random applicant fares at one state and threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Share of each group; they sum to 1.
    pub shares: Vec<f64>,
    /// For each group the probabilities of: rejected bad, rejected good, accepted bad, accepted good.
    pub odds: Vec<[f64; 4]>,
}

/// Exact expectations at one state and threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Mean reward per applicant.
    pub reward: f64,
    /// Acceptance rate of each group.
    pub groups: Vec<f64>,
    /// Overall acceptance rate.
    pub accepted: f64,
    /// Largest difference between the acceptance rates of two groups, at least 0.
    pub gap: f64,
}

/// What the learner sees of a round: figures for the threshold that was in force, and nothing of any other.
///
/// There is no score in it and no way back to one, and a learner is never handed the environment: feedback is bandit
/// feedback by type.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// Mean reward of the batch.
    pub reward: f64,
    /// Acceptance rate of each group; `None` for a group with nobody in the batch.
    pub groups: Vec<Option<f64>>,
    /// Overall acceptance rate.
    pub accepted: f64,
    /// Further constraints as residuals `g_j`, feasible at or below 0.
    pub residuals: Vec<f64>,
}

impl Moment {
    /// Exact expectations.
    #[must_use]
    pub fn expected(&self, rewards: Rewards) -> Expected {
        let groups: Vec<f64> = self.odds.iter().map(|o| o[2] + o[3]).collect();
        let cases = rewards.cases();
        let mut at = Expected { reward: 0.0, accepted: 0.0, gap: spread(&groups), groups };
        for (g, share) in self.shares.iter().enumerate() {
            at.accepted += share * at.groups[g];
            at.reward += share * self.odds[g].iter().zip(cases).map(|(p, r)| p * r).sum::<f64>();
        }
        at
    }

    /// Draws a batch of `size` applicants, group first, and tells what is seen of it.
    #[must_use]
    pub fn draw(&self, rewards: Rewards, capacity: Option<f64>, size: usize, rng: &mut Rng) -> Feedback {
        let last = self.shares.len() - 1;
        let mut counts = vec![[0_u32; 4]; self.shares.len()];
        for _ in 0..size {
            // Half of the bits choose the group, half the case: 2^-32 is far below any probability here.
            let bits = rng.next_u64();
            let (mut u, mut v) = (unit(bits >> 32), unit(bits & 0xffff_ffff));
            let mut group = 0;
            while group < last && u >= self.shares[group] {
                u -= self.shares[group];
                group += 1;
            }
            let odds = &self.odds[group];
            let mut case = 0;
            while case < 3 && v >= odds[case] {
                v -= odds[case];
                case += 1;
            }
            counts[group][case] += 1;
        }
        seen(&counts, rewards, capacity, size)
    }
}

fn unit(bits: u64) -> f64 {
    bits as f64 * (1.0 / 4_294_967_296.0)
}

fn seen(counts: &[[u32; 4]], rewards: Rewards, capacity: Option<f64>, size: usize) -> Feedback {
    let size = size as f64;
    let cases = rewards.cases();
    let (mut reward, mut accepted) = (0.0, 0.0);
    let mut groups = Vec::with_capacity(counts.len());
    for of_group in counts {
        for (count, value) in of_group.iter().zip(cases) {
            reward += f64::from(*count) * value;
        }
        let (present, inside) = (of_group.iter().sum::<u32>(), of_group[2] + of_group[3]);
        accepted += f64::from(inside);
        groups.push((present > 0).then(|| f64::from(inside) / f64::from(present)));
    }
    let accepted = accepted / size;
    let residuals = capacity.map(|capacity| accepted - capacity).into_iter().collect();
    Feedback { reward: reward / size, groups, accepted, residuals }
}

/// Largest minus smallest.
fn spread(values: &[f64]) -> f64 {
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    high - low
}

/// A population with feedback. Arms are the thresholds in increasing order.
pub trait Environment: Sync {
    /// The thresholds, increasing, in `[0, 1]`.
    fn thresholds(&self) -> &[f64];
    /// Number of groups.
    fn groups(&self) -> usize;
    /// The state of the first round.
    fn start(&self) -> Vec<f64>;
    /// How applicants fare.
    fn moment(&self, state: &[f64], arm: usize) -> Moment;
    /// `Phi(z, theta)`: where the state is drawn to.
    fn target(&self, state: &[f64], arm: usize) -> Vec<f64>;
    /// `eta`: how far it moves each round.
    fn rate(&self) -> f64;
    /// The reward of each case.
    fn rewards(&self) -> Rewards;
    /// States at which the Lipschitz constant of `Phi` is estimated.
    fn probes(&self) -> Vec<Vec<f64>>;

    /// Exact expectations.
    fn expected(&self, state: &[f64], arm: usize) -> Expected {
        self.moment(state, arm).expected(self.rewards())
    }

    /// `z <- (1 - eta) z + eta Phi(z, theta)`.
    fn advance(&self, state: &mut [f64], arm: usize) {
        let target = self.target(state, arm);
        let rate = self.rate();
        for (z, goal) in state.iter_mut().zip(target) {
            *z = (1.0 - rate) * *z + rate * goal;
        }
    }
}

/// `count` thresholds, evenly spaced over `[0, 1]`.
#[must_use]
pub fn grid(count: usize) -> Vec<f64> {
    (0..count).map(|k| k as f64 / (count - 1) as f64).collect()
}

/// The synthetic loop: `x = clip(mu_g + N(0, sigma^2), 0, 1)`, `P(y = 1 | x) = x`, and acceptance raises a group's mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// Thresholds.
    pub thresholds: Vec<f64>,
    /// Mean of each group without feedback.
    pub base: [f64; 2],
    /// Standard deviation of scores within a group before clipping.
    pub sigma: f64,
    /// Share of group 1, fixed.
    pub share: f64,
    /// `kappa`.
    pub feedback: f64,
    /// `eta`.
    pub rate: f64,
}

impl Synthetic {
    /// The experiment's constants.
    #[must_use]
    pub fn new(thresholds: usize, feedback: f64) -> Self {
        Self {
            thresholds: grid(thresholds),
            base: [0.45, 0.6],
            sigma: 0.15,
            share: 0.5,
            feedback,
            rate: 0.05,
        }
    }

    /// `P(x >= theta)` and `E[x; x >= theta]` in closed form: integrals of a normal law with its tails clipped.
    fn above(&self, mean: f64, threshold: f64) -> (f64, f64) {
        let standard = |v: f64| (v - mean) / self.sigma;
        // The mass that is clipped to 0 adds nothing to the second integral, so it may start at 0 as well.
        let (a, b) = (standard(threshold), standard(1.0));
        let inside = tail(a) - tail(b);
        let first = mean * inside + self.sigma * (density(a) - density(b)) + tail(b);
        (if threshold <= 0.0 { 1.0 } else { tail(a) }, first)
    }
}

/// Upper tail of the standard normal law.
fn tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Its density.
fn density(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt()
}

impl Environment for Synthetic {
    fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    fn groups(&self) -> usize {
        2
    }

    fn start(&self) -> Vec<f64> {
        self.base.to_vec()
    }

    fn moment(&self, state: &[f64], arm: usize) -> Moment {
        let odds = state
            .iter()
            .map(|&mean| {
                let (accept, accept_good) = self.above(mean, self.thresholds[arm]);
                let (_, good) = self.above(mean, 0.0);
                let reject_good = good - accept_good;
                [1.0 - accept - reject_good, reject_good, accept - accept_good, accept_good]
            })
            .collect();
        Moment { shares: vec![1.0 - self.share, self.share], odds }
    }

    fn target(&self, state: &[f64], arm: usize) -> Vec<f64> {
        let pull = |(&base, &mean): (&f64, &f64)| {
            base + self.feedback * (self.above(mean, self.thresholds[arm]).0 - 0.5)
        };
        self.base.iter().zip(state).map(pull).collect()
    }

    fn rate(&self) -> f64 {
        self.rate
    }

    fn rewards(&self) -> Rewards {
        // `2 (y - 1/2)` for the accepted.
        Rewards::with_cost(1.0)
    }

    fn probes(&self) -> Vec<Vec<f64>> {
        // All states that the loop can reach: half of kappa on either side of the base.
        (0..=200)
            .map(|i| {
                let shift = self.feedback * (f64::from(i) / 200.0 - 0.5);
                self.base.iter().map(|base| base + shift).collect()
            })
            .collect()
    }
}

/// One record: score in `[0, 1]`, group, outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// The score.
    pub score: f64,
    /// The group, from 0.
    pub group: usize,
    /// The outcome.
    pub good: bool,
}

/// A loop over real records: each applicant is a record of a random group, and groups that are accepted more apply
/// more.
///
/// The state is the share of each group; `Phi(p, theta)_g` is proportional to `p_{0,g} exp(kappa acc_g(theta))`, which
/// for two groups is `sigmoid(logit p_0 + kappa (acc_1 - acc_0))`.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    thresholds: Vec<f64>,
    /// Shares of the groups among the records.
    shares: Vec<f64>,
    /// `[arm][group]`.
    odds: Vec<Vec<[f64; 4]>>,
    /// `[arm][group]`.
    targets: Vec<Vec<f64>>,
    rewards: Rewards,
    rate: f64,
}

impl Records {
    /// Builds the loop. `groups` must all be present among the records.
    #[must_use]
    pub fn new(
        records: &[Scored],
        groups: usize,
        thresholds: Vec<f64>,
        rewards: Rewards,
        feedback: f64,
        rate: f64,
    ) -> Self {
        let mut sizes = vec![0_usize; groups];
        for record in records {
            sizes[record.group] += 1;
        }
        let shares: Vec<f64> = sizes.iter().map(|&n| n as f64 / records.len() as f64).collect();
        let odds: Vec<Vec<[f64; 4]>> =
            thresholds.iter().map(|&theta| odds_at(records, &sizes, theta)).collect();
        let targets = odds.iter().map(|at| drawn_to(&shares, at, feedback)).collect();
        Self { thresholds, shares, odds, targets, rewards, rate }
    }
}

fn odds_at(records: &[Scored], sizes: &[usize], threshold: f64) -> Vec<[f64; 4]> {
    let mut counts = vec![[0_usize; 4]; sizes.len()];
    for record in records {
        let case = 2 * usize::from(record.score >= threshold) + usize::from(record.good);
        counts[record.group][case] += 1;
    }
    counts.iter().zip(sizes).map(|(of_group, &n)| of_group.map(|c| c as f64 / n as f64)).collect()
}

fn drawn_to(shares: &[f64], odds: &[[f64; 4]], feedback: f64) -> Vec<f64> {
    let weights: Vec<f64> =
        shares.iter().zip(odds).map(|(p, o)| p * libm::exp(feedback * (o[2] + o[3]))).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

impl Environment for Records {
    fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    fn groups(&self) -> usize {
        self.shares.len()
    }

    fn start(&self) -> Vec<f64> {
        self.shares.clone()
    }

    fn moment(&self, state: &[f64], arm: usize) -> Moment {
        Moment { shares: state.to_vec(), odds: self.odds[arm].clone() }
    }

    fn target(&self, _state: &[f64], arm: usize) -> Vec<f64> {
        self.targets[arm].clone()
    }

    fn rate(&self) -> f64 {
        self.rate
    }

    fn rewards(&self) -> Rewards {
        self.rewards
    }

    fn probes(&self) -> Vec<Vec<f64>> {
        // Phi does not read the state: two states are enough to see it.
        let groups = self.shares.len();
        let even = vec![1.0 / groups as f64; groups];
        vec![self.shares.clone(), even]
    }
}

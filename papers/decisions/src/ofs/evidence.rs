//! What the rounds so far say of each threshold: means with radii, and residuals of the limits.
//!
//! OFS and every baseline rest on the same evidence, so that they differ only in how they choose.

use std::collections::VecDeque;

use crate::bandit::{ArmMeans, Interval, Memory, noise_deviation, radius, union_log};

use super::environment::{Feedback, Limits};

/// What a learner is told before the first round. There is no population in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Number of thresholds.
    pub arms: usize,
    /// Number of groups.
    pub groups: usize,
    /// Applicants in a round.
    pub batch: usize,
    /// Rounds `T`.
    pub rounds: u64,
    /// `delta`: how often all the intervals together may fail.
    pub delta: f64,
    /// The limits.
    pub limits: Limits,
    /// Largest minus smallest reward of one applicant.
    pub reward_range: f64,
}

impl Problem {
    fn residuals(&self) -> usize {
        usize::from(self.limits.capacity.is_some())
    }
}

/// How evidence is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keeping {
    /// How long observations count.
    pub memory: Memory,
    /// Bandwidth, in thresholds, of the kernel that shares observations between neighbours; at most 1 is off.
    pub smoothing: f64,
    /// The first sweep plays every so many-th threshold only; the others inherit wide intervals. 1 plays all.
    pub stride: usize,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { memory: Memory::All, smoothing: 1.0, stride: 1 }
    }
}

/// `c_X`: the scale of each quantity's radius.
#[derive(Clone, Debug, PartialEq)]
pub struct Scales {
    /// Reward.
    pub reward: f64,
    /// Acceptance gap of each pair of groups, in the order of [`Evidence::pairs`].
    pub gaps: Vec<f64>,
    /// Overall acceptance.
    pub accepted: f64,
    /// Each further residual.
    pub residuals: Vec<f64>,
}

/// Smallest `c_X`.
const FLOOR: f64 = 0.01;

/// Counts and means of everything observed.
#[derive(Clone, Debug)]
pub struct Evidence {
    problem: Problem,
    keeping: Keeping,
    log: f64,
    pairs: Vec<(usize, usize)>,
    scales: Scales,
    reward: ArmMeans,
    accepted: ArmMeans,
    groups: Vec<ArmMeans>,
    residuals: Vec<ArmMeans>,
    /// First observation of each threshold of the sweep.
    first: Vec<Option<Feedback>>,
    /// Thresholds of the sweep not played yet.
    unswept: usize,
    recent: VecDeque<(usize, Feedback)>,
}

impl Evidence {
    /// Nothing observed yet.
    #[must_use]
    pub fn new(problem: &Problem, keeping: Keeping) -> Self {
        let arms = problem.arms;
        let pairs: Vec<(usize, usize)> =
            (0..problem.groups).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
        // Ranges, until the sweep has shown the noise of a batch; single arrivals keep them.
        let scales = Scales {
            reward: problem.reward_range,
            gaps: vec![1.0; pairs.len()],
            accepted: 1.0,
            residuals: vec![1.0; problem.residuals()],
        };
        let mut evidence = Self {
            log: union_log(arms, problem.rounds, problem.delta),
            pairs,
            scales,
            reward: ArmMeans::new(arms),
            accepted: ArmMeans::new(arms),
            groups: vec![ArmMeans::new(arms); problem.groups],
            residuals: vec![ArmMeans::new(arms); problem.residuals()],
            first: vec![None; arms],
            unswept: 0,
            recent: VecDeque::new(),
            problem: problem.clone(),
            keeping,
        };
        evidence.unswept = (0..arms).filter(|&arm| evidence.in_sweep(arm)).count();
        evidence
    }

    /// Number of thresholds.
    #[must_use]
    pub fn arms(&self) -> usize {
        self.problem.arms
    }

    /// The problem.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Pairs of groups whose acceptance rates are compared.
    #[must_use]
    pub fn pairs(&self) -> &[(usize, usize)] {
        &self.pairs
    }

    /// The scales of the radii now in use.
    #[must_use]
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// `log(2 K T^2 / delta)`.
    #[must_use]
    pub fn log(&self) -> f64 {
        self.log
    }

    fn in_sweep(&self, arm: usize) -> bool {
        arm.is_multiple_of(self.keeping.stride) || arm + 1 == self.problem.arms
    }

    /// The first threshold of the sweep that was never played; `None` once the sweep is over.
    #[must_use]
    pub fn next_of_sweep(&self) -> Option<usize> {
        if self.unswept == 0 {
            return None;
        }
        (0..self.arms()).find(|&arm| self.in_sweep(arm) && self.first[arm].is_none())
    }

    /// Adds a round: what was seen of the threshold that was played.
    pub fn add(&mut self, arm: usize, feedback: &Feedback) {
        match self.keeping.memory {
            Memory::All => {}
            Memory::Discount(factor) => {
                let all = self.groups.iter_mut().chain(&mut self.residuals);
                all.chain([&mut self.reward, &mut self.accepted]).for_each(|means| means.discount(factor));
            }
            Memory::Window(size) => {
                if self.recent.len() >= size
                    && let Some((old, seen)) = self.recent.pop_front()
                {
                    self.count(old, &seen, ArmMeans::remove);
                }
                self.recent.push_back((arm, feedback.clone()));
            }
        }
        self.count(arm, feedback, ArmMeans::add);
        if self.first[arm].is_none() {
            self.first[arm] = Some(feedback.clone());
            if self.in_sweep(arm) {
                self.unswept -= 1;
                if self.unswept == 0 {
                    self.measure_noise();
                }
            }
        }
    }

    fn count(&mut self, arm: usize, seen: &Feedback, apply: impl Fn(&mut ArmMeans, usize, f64)) {
        apply(&mut self.reward, arm, seen.reward);
        apply(&mut self.accepted, arm, seen.accepted);
        for (means, rate) in self.groups.iter_mut().zip(&seen.groups) {
            // A round without a group says nothing about it.
            if let Some(rate) = rate {
                apply(means, arm, *rate);
            }
        }
        for (means, residual) in self.residuals.iter_mut().zip(&seen.residuals) {
            apply(means, arm, *residual);
        }
    }

    /// `c_X = 2 sd_X`: the sweep is over, the noise of one round is told from the curve.
    fn measure_noise(&mut self) {
        if self.problem.batch <= 1 {
            return;
        }
        let swept: Vec<&Feedback> =
            (0..self.arms()).filter(|&k| self.in_sweep(k)).filter_map(|k| self.first[k].as_ref()).collect();
        let scale = |of: &dyn Fn(&Feedback) -> Option<f64>, range: f64| {
            let curve: Vec<Option<f64>> = swept.iter().map(|seen| of(seen)).collect();
            noise_deviation(&curve).map_or(range, |sd| (2.0 * sd).max(FLOOR))
        };
        let gap =
            |(a, b): (usize, usize)| scale(&|seen: &Feedback| Some(seen.groups[b]? - seen.groups[a]?), 1.0);
        self.scales = Scales {
            reward: scale(&|seen| Some(seen.reward), self.problem.reward_range),
            gaps: self.pairs.iter().map(|&pair| gap(pair)).collect(),
            accepted: scale(&|seen| Some(seen.accepted), 1.0),
            residuals: (0..self.residuals.len())
                .map(|j| scale(&|seen: &Feedback| seen.residuals.get(j).copied(), 1.0))
                .collect(),
        };
    }

    /// Number of observations of a threshold: the weight of its rewards.
    #[must_use]
    pub fn plays(&self, arm: usize) -> f64 {
        self.reward.count(arm)
    }

    /// `r_k` and `w_R`.
    #[must_use]
    pub fn reward(&self, arm: usize) -> Interval {
        self.known(arm, |k, count| self.single(&self.reward, self.scales.reward, k, count))
    }

    /// `s_k` and `w_S`.
    #[must_use]
    pub fn accepted(&self, arm: usize) -> Interval {
        self.known(arm, |k, count| self.single(&self.accepted, self.scales.accepted, k, count))
    }

    /// `g_j` and its radius.
    #[must_use]
    pub fn residual(&self, j: usize, arm: usize) -> Interval {
        self.known(arm, |k, count| self.single(&self.residuals[j], self.scales.residuals[j], k, count))
    }

    /// `d_k` of a pair of groups, signed, and `w_D`. Each group has its own mean: a round without one group updates
    /// only the other.
    #[must_use]
    pub fn gap(&self, pair: usize, arm: usize) -> Interval {
        let (a, b) = self.pairs[pair];
        let scale = self.scales.gaps[pair];
        self.known(arm, |k, once| {
            let (low, high) = (
                self.groups[a].smoothed(k, self.keeping.smoothing),
                self.groups[b].smoothed(k, self.keeping.smoothing),
            );
            if low.0 <= 0.0 || high.0 <= 0.0 {
                return Interval::UNTRIED;
            }
            let width = |count: f64| radius(scale, self.log, once.unwrap_or(count));
            let radius = if self.problem.batch <= 1 {
                // Single arrivals: two means of indicators, each with its own count.
                width(low.0) + width(high.0)
            } else {
                width(low.0.min(high.0))
            };
            Interval { mean: high.1 - low.1, radius }
        })
    }

    fn single(&self, means: &ArmMeans, scale: f64, arm: usize, once: Option<f64>) -> Interval {
        let (count, mean) = means.smoothed(arm, self.keeping.smoothing);
        if count <= 0.0 {
            return Interval::UNTRIED;
        }
        Interval { mean, radius: radius(scale, self.log, once.unwrap_or(count)) }
    }

    /// The interval of a threshold, or what it inherits from the two thresholds of the coarse sweep around it: the
    /// hull of their intervals, each as wide as after one play.
    fn known(&self, arm: usize, of: impl Fn(usize, Option<f64>) -> Interval) -> Interval {
        if self.reward.count(arm) > 0.0 {
            return of(arm, None);
        }
        let stride = self.keeping.stride;
        if stride <= 1 || self.in_sweep(arm) {
            return Interval::UNTRIED;
        }
        let below = arm - arm % stride;
        let above = (below + stride).min(self.arms() - 1);
        if self.reward.count(below) > 0.0 && self.reward.count(above) > 0.0 {
            of(below, Some(1.0)).hull(of(above, Some(1.0)))
        } else {
            Interval::UNTRIED
        }
    }

    /// `h_D + h_S` and the further residuals, each at its most favourable value within its interval: 0 means that the
    /// threshold may be feasible.
    #[must_use]
    pub fn optimistic_residual(&self, arm: usize) -> f64 {
        self.residual_sum(arm, -1.0)
    }

    /// The same at the least favourable values: 0 means that the threshold is feasible for certain.
    #[must_use]
    pub fn pessimistic_residual(&self, arm: usize) -> f64 {
        self.residual_sum(arm, 1.0)
    }

    fn residual_sum(&self, arm: usize, side: f64) -> f64 {
        let limits = &self.problem.limits;
        let mut total = 0.0_f64;
        let mut worst = 0.0_f64;
        for pair in 0..self.pairs.len() {
            let gap = self.gap(pair, arm);
            worst = worst.max(gap.mean.abs() + side * gap.radius - limits.gap);
        }
        total += worst;
        if limits.service > 0.0 {
            let accepted = self.accepted(arm);
            total += (limits.service - accepted.mean + side * accepted.radius).max(0.0);
        }
        for j in 0..self.residuals.len() {
            let residual = self.residual(j, arm);
            total += (residual.mean + side * residual.radius).max(0.0);
        }
        total
    }

    /// Residuals at the means, one for each constraint, negative inside the limits: gap, service, further ones.
    #[must_use]
    pub fn residuals_at_means(&self, arm: usize) -> Vec<f64> {
        let limits = &self.problem.limits;
        // The signed mean first, its absolute value after: the other order would count noise as a gap.
        let worst = (0..self.pairs.len()).map(|pair| self.gap(pair, arm).mean.abs()).fold(0.0, f64::max);
        let mut residuals = vec![worst - limits.gap, limits.service - self.accepted(arm).mean];
        residuals.extend((0..self.residuals.len()).map(|j| self.residual(j, arm).mean));
        residuals
    }
}

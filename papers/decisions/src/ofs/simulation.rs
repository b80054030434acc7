//! Rounds: a learner meets a population, and what happened is told in exact expectations.

use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use crate::bandit::Memory;

use super::baselines::{EpsilonGreedy, Fixed, PrimalDual, Safe, Thompson, Ucb, nearest};
use super::environment::{Environment, Limits};
use super::evidence::{Evidence, Keeping, Problem};
use super::oracle::Oracle;
use super::search::{Learner, OptimisticFeasibleSearch};

/// How long and how large an experiment is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Rounds `T`.
    pub rounds: u64,
    /// Applicants in a round, `m`.
    pub batch: usize,
    /// `delta`.
    pub delta: f64,
    /// The limits.
    pub limits: Limits,
}

/// A way to choose thresholds.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// OFS. A threshold is kept for `dwell` rounds, of which the last one is learned from.
    Ofs {
        /// How evidence is kept.
        keeping: Keeping,
        /// Rounds for which a threshold is kept, from 1.
        dwell: u64,
    },
    /// UCB on the reward.
    Ucb,
    /// Epsilon-greedy on the reward.
    EpsilonGreedy(f64),
    /// Primal-dual UCB with this step.
    PrimalDual(f64),
    /// UCB among what is feasible for certain.
    Safe,
    /// Thompson sampling with the feasibility filter.
    Thompson,
    /// The threshold nearest to this value.
    Fixed(f64),
    /// The oracle's threshold from the first round on.
    Oracle,
}

impl Method {
    /// OFS as the paper states it.
    #[must_use]
    pub fn ofs() -> Self {
        Self::Ofs { keeping: Keeping::default(), dwell: 1 }
    }

    fn dwell(&self) -> u64 {
        if let Self::Ofs { dwell, .. } = self { *dwell } else { 1 }
    }

    fn learner(&self, problem: &Problem, environment: &dyn Environment, oracle: &Oracle) -> Box<dyn Learner> {
        match self {
            Self::Ofs { keeping, .. } => Box::new(OptimisticFeasibleSearch::new(problem, *keeping)),
            Self::Ucb => Box::new(Ucb::new(problem)),
            Self::EpsilonGreedy(explore) => Box::new(EpsilonGreedy::new(problem, *explore)),
            Self::PrimalDual(step) => Box::new(PrimalDual::new(problem, *step)),
            Self::Safe => Box::new(Safe::new(problem)),
            Self::Thompson => Box::new(Thompson::new(problem)),
            Self::Fixed(value) => Box::new(Fixed { arm: nearest(environment.thresholds(), *value) }),
            Self::Oracle => Box::new(Fixed { arm: oracle.arm() }),
        }
    }
}

/// What happened, round by round, in exact expectations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The threshold played.
    pub arms: Vec<usize>,
    /// Expected reward.
    pub reward: Vec<f64>,
    /// Largest gap between groups.
    pub gap: Vec<f64>,
    /// Acceptance rate.
    pub accepted: Vec<f64>,
    /// Violation of the limits.
    pub violation: Vec<f64>,
    /// First coordinate that tells the loop: the last entry of the state (mean or share of the last group).
    pub state: Vec<f64>,
}

/// The problem that a learner is told of.
#[must_use]
pub fn problem_of(environment: &dyn Environment, plan: &Plan) -> Problem {
    Problem {
        arms: environment.thresholds().len(),
        groups: environment.groups(),
        batch: plan.batch,
        rounds: plan.rounds,
        delta: plan.delta,
        limits: plan.limits,
        reward_range: environment.rewards().range(),
    }
}

/// Runs a method. All methods of a stream meet the same applicants in the same state: applicants are drawn from
/// `stream.child(0)`, the learner's own randomness from `stream.child(1)`.
#[must_use]
pub fn simulate(
    environment: &dyn Environment,
    plan: &Plan,
    method: &Method,
    oracle: &Oracle,
    stream: Stream,
) -> Trace {
    let problem = problem_of(environment, plan);
    let mut learner = method.learner(&problem, environment, oracle);
    simulate_learner(environment, plan, learner.as_mut(), method.dwell(), stream, |_, _| ())
}

/// Runs a learner; `watch` sees its evidence after each choice.
pub fn simulate_learner(
    environment: &dyn Environment,
    plan: &Plan,
    learner: &mut dyn Learner,
    dwell: u64,
    stream: Stream,
    mut watch: impl FnMut(usize, Option<&Evidence>),
) -> Trace {
    let (applicants, own) = (stream.child(0), stream.child(1));
    let rewards = environment.rewards();
    let mut state = environment.start();
    let mut trace = Trace::default();
    let mut arm = 0;
    for t in 0..plan.rounds {
        if t % dwell == 0 {
            arm = learner.choose(&mut own.at(t));
            watch(arm, learner.evidence());
        }
        let moment = environment.moment(&state, arm);
        let at = moment.expected(rewards);
        trace.arms.push(arm);
        trace.reward.push(at.reward);
        trace.violation.push(plan.limits.violation(&at));
        trace.gap.push(at.gap);
        trace.accepted.push(at.accepted);
        trace.state.push(state.last().copied().unwrap_or(0.0));
        if t % dwell == dwell - 1 {
            let feedback = moment.draw(rewards, plan.limits.capacity, plan.batch, &mut applicants.at(t));
            learner.learn(arm, &feedback);
        }
        environment.advance(&mut state, arm);
    }
    trace
}

/// A trace in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean expected reward.
    pub mean_reward: f64,
    /// `V_T`.
    pub violation_total: f64,
    /// Oracle reward minus mean reward over the last fifth.
    pub steady_gap: f64,
    /// Mean violation over the last fifth.
    pub steady_violation: f64,
    /// Share of rounds after `T/2` that violate a limit.
    pub infeasible_share: f64,
    /// Sum over feasible rounds of oracle reward minus reward.
    pub feasible_regret: f64,
    /// Mean threshold over the last fifth.
    pub threshold: f64,
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Trace {
    /// Index of the first round of the last fifth.
    #[must_use]
    pub fn last_fifth(&self) -> usize {
        self.arms.len() - (self.arms.len() / 5).max(1).min(self.arms.len())
    }

    /// The figures.
    #[must_use]
    pub fn summary(&self, thresholds: &[f64], oracle: &Oracle) -> Summary {
        let last = self.last_fifth();
        let second_half = &self.violation[self.violation.len() / 2..];
        let infeasible = second_half.iter().filter(|v| **v > 1e-12).count();
        let feasible = self.reward.iter().zip(&self.violation).filter(|(_, v)| **v <= 1e-12);
        let played: Vec<f64> = self.arms[last..].iter().map(|&k| thresholds[k]).collect();
        Summary {
            mean_reward: mean(&self.reward),
            violation_total: self.violation.iter().sum(),
            steady_gap: oracle.reward() - mean(&self.reward[last..]),
            steady_violation: mean(&self.violation[last..]),
            infeasible_share: infeasible as f64 / second_half.len().max(1) as f64,
            feasible_regret: feasible.map(|(r, _)| oracle.reward() - r).sum(),
            threshold: mean(&played),
        }
    }

    /// Mean distance of the thresholds of the last fifth from `goal`.
    #[must_use]
    pub fn distance_to(&self, thresholds: &[f64], goal: f64) -> f64 {
        let far: Vec<f64> =
            self.arms[self.last_fifth()..].iter().map(|&k| (thresholds[k] - goal).abs()).collect();
        mean(&far)
    }

    /// The threshold played most often in the last fifth; among equals the smallest.
    #[must_use]
    pub fn settled(&self, arms: usize) -> usize {
        let counts = plays(&self.arms[self.last_fifth()..], arms);
        crate::bandit::best(counts.into_iter().enumerate()).unwrap_or(0)
    }
}

/// How often each threshold was played.
#[must_use]
pub fn plays(played: &[usize], arms: usize) -> Vec<f64> {
    let mut counts = vec![0.0; arms];
    for &arm in played {
        counts[arm] += 1.0;
    }
    counts
}

/// What the analysis promises, held against a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guarantee {
    /// Rounds in which the oracle arm is not in `F_t` although its intervals cover its steady state.
    pub oracle_excluded: f64,
    /// Share of rounds in which every interval covers its steady state.
    pub cover: f64,
    /// Largest count of plays, as a member of `F_t`, of a threshold with residual `D > 0` over `1 + 2 c^2 log / D^2`.
    pub plays_over_bound: f64,
}

/// Runs OFS and watches its guarantee against the steady states. (While the state moves, an observation estimates
/// where the loop is, not where it rests; intervals may then miss.)
#[must_use]
pub fn watch_guarantee(
    environment: &dyn Environment,
    plan: &Plan,
    oracle: &Oracle,
    stream: Stream,
) -> (Trace, Guarantee) {
    let problem = problem_of(environment, plan);
    let mut learner = OptimisticFeasibleSearch::new(&problem, Keeping::default());
    let best = oracle.arm();
    let (mut rounds, mut excluded, mut covered) = (0_u64, 0_u64, 0_u64);
    let mut as_member = vec![0.0; problem.arms];
    let trace = simulate_learner(environment, plan, &mut learner, 1, stream, |arm, evidence| {
        let Some(evidence) = evidence else { return };
        rounds += 1;
        if evidence.optimistic_residual(arm) == 0.0 {
            as_member[arm] += 1.0;
        }
        if covers(evidence, oracle, best) && evidence.optimistic_residual(best) > 0.0 {
            excluded += 1;
        }
        covered += u64::from((0..problem.arms).all(|k| covers(evidence, oracle, k)));
    });
    let ratio = learner.evidence().map_or(0.0, |evidence| {
        (0..problem.arms).map(|k| as_member[k] / play_bound(evidence, oracle, k)).fold(0.0, f64::max)
    });
    let guarantee = Guarantee {
        oracle_excluded: excluded as f64,
        cover: covered as f64 / rounds.max(1) as f64,
        plays_over_bound: ratio,
    };
    (trace, guarantee)
}

fn covers(evidence: &Evidence, oracle: &Oracle, arm: usize) -> bool {
    let at = &oracle.steady[arm].at;
    let gaps = evidence.pairs().iter().enumerate();
    evidence.reward(arm).covers(at.reward)
        && evidence.accepted(arm).covers(at.accepted)
        && gaps.into_iter().all(|(i, &(a, b))| evidence.gap(i, arm).covers(at.groups[b] - at.groups[a]))
}

/// `1 + 2 c^2 log / D^2`, the least over the limits that a threshold violates; infinite for a feasible one. An
/// interval that covers leaves `F_t` once its radius `c sqrt(log / (2 n))` is below `D / 2`.
fn play_bound(evidence: &Evidence, oracle: &Oracle, arm: usize) -> f64 {
    let at = &oracle.steady[arm].at;
    let limits = evidence.problem().limits;
    let scales = evidence.scales();
    let bound = |scale: f64, distance: f64| {
        if distance > 0.0 {
            1.0 + 2.0 * scale * scale * evidence.log() / (distance * distance)
        } else {
            f64::INFINITY
        }
    };
    let gaps = evidence.pairs().iter().zip(&scales.gaps);
    gaps.map(|(&(a, b), &scale)| bound(scale, (at.groups[b] - at.groups[a]).abs() - limits.gap))
        .fold(bound(scales.accepted, limits.service - at.accepted), f64::min)
}

/// The steps among which the primal-dual baseline's is tuned.
pub const DUAL_STEPS: [f64; 3] = [0.01, 0.05, 0.2];

/// How many seeds the tuning takes.
pub const TUNING_SEEDS: u64 = 5;

/// The primal-dual step with the least reward shortfall plus violation per round, mean over the tuning streams.
#[must_use]
pub fn tune_dual_step(
    environment: &dyn Environment,
    plan: &Plan,
    oracle: &Oracle,
    streams: &[Stream],
) -> f64 {
    use rayon::prelude::*;
    let costs: Vec<(usize, f64)> = DUAL_STEPS
        .par_iter()
        .enumerate()
        .map(|(i, &step)| {
            let cost = |stream: &Stream| {
                let trace = simulate(environment, plan, &Method::PrimalDual(step), oracle, *stream);
                let summary = trace.summary(environment.thresholds(), oracle);
                (oracle.reward() - summary.mean_reward).max(0.0)
                    + summary.violation_total / plan.rounds as f64
            };
            (i, -streams.iter().map(cost).sum::<f64>())
        })
        .collect();
    crate::bandit::best(costs).map_or(DUAL_STEPS[0], |i| DUAL_STEPS[i])
}

/// OFS with one option switched on, for the table of variants.
#[must_use]
pub fn variants(rounds: u64) -> Vec<(&'static str, Method)> {
    let keeping = Keeping::default();
    let with = |keeping: Keeping, dwell: u64| Method::Ofs { keeping, dwell };
    let window = usize::try_from(rounds / 2).unwrap_or(usize::MAX).max(1);
    vec![
        ("ofs-coarse", with(Keeping { stride: 4, ..keeping }, 1)),
        ("ofs-window", with(Keeping { memory: Memory::Window(window), ..keeping }, 1)),
        ("ofs-discount", with(Keeping { memory: Memory::Discount(0.999), ..keeping }, 1)),
        ("ofs-dwell", with(keeping, 5)),
        ("ofs-smooth", with(Keeping { smoothing: 2.0, ..keeping }, 1)),
    ]
}

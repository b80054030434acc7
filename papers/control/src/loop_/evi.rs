//! Extended value iteration: value iteration in which every sweep also picks the best model inside a set.

use super::balls::Values;
use crate::environments::average_reward::solver::ends;

/// Sweeps after which the value is taken as it is.
pub const MOST_SWEEPS: usize = 50_000;

/// The plan of the most promising model.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `r + p~ . u` for every pair.
    pub q: Vec<f64>,
    /// `max_a q`, for every state.
    pub v: Vec<f64>,
    /// Greatest increment `max_a q - u`: no less than the gain of any model in the set.
    pub gain: f64,
    /// Sweeps.
    pub sweeps: usize,
    /// Whether the increments' span came below the tolerance.
    pub settled: bool,
}

/// Iterates `u <- max_a(r + p~ . u) / 2 + u / 2` until the span of the increments is at most `tolerance`; the lazy half makes
/// it converge where the best model is periodic. `best(pair, u)` is `max_p p . u` over the pair's set. `u` is where it
/// begins and where it ends (the values that `q` was made from), so that the next call begins near its answer.
pub fn extended_value_iteration(
    actions: usize,
    rewards: &[f64],
    u: &mut [f64],
    tolerance: f64,
    mut best: impl FnMut(usize, Values<'_>) -> f64,
) -> Plan {
    iterate(actions, rewards, u, tolerance, 0.5, MOST_SWEEPS, &mut best)
}

fn iterate(
    actions: usize,
    rewards: &[f64],
    u: &mut [f64],
    tolerance: f64,
    step: f64,
    most: usize,
    best: &mut dyn FnMut(usize, Values<'_>) -> f64,
) -> Plan {
    let mut plan =
        Plan { q: vec![0.0; rewards.len()], v: vec![0.0; u.len()], gain: 0.0, sweeps: 0, settled: false };
    loop {
        let values = Values::new(u);
        for (cell, q) in plan.q.iter_mut().enumerate() {
            *q = rewards[cell] + best(cell, values);
        }
        for (v, q) in plan.v.iter_mut().zip(plan.q.chunks(actions)) {
            *v = ends(q)[1];
        }
        let increment: Vec<f64> = plan.v.iter().zip(u.iter()).map(|(v, u)| v - u).collect();
        let [low, high] = ends(&increment);
        plan.gain = high;
        plan.sweeps += 1;
        plan.settled = high - low <= tolerance;
        if plan.settled || plan.sweeps == most {
            return plan;
        }
        u.iter_mut().zip(&increment).for_each(|(u, d)| *u += step * d);
        let base = ends(u)[0];
        u.iter_mut().for_each(|u| *u -= base);
    }
}

#[cfg(test)]
mod tests {
    use super::super::balls::{Seen, Tilt, kl_maximise};
    use super::*;
    use crate::environments::average_reward::solver::{argmax, solve};
    use crate::environments::average_reward::{TabularMdp, river_swim, two_loops};

    fn exact(mdp: &TabularMdp, step: f64, most: usize) -> Plan {
        let mut u = vec![0.0; mdp.states()];
        let mut best = |cell: usize, values: Values<'_>| mdp.expect(cell, values.u);
        iterate(mdp.actions(), mdp.rewards(), &mut u, 1e-6, step, most, &mut best)
    }

    #[test]
    fn without_the_lazy_half_two_loops_cycle_for_ever() {
        let mdp = two_loops();
        let lazy = exact(&mdp, 0.5, 10_000);
        assert!(lazy.settled && (lazy.gain - 0.2).abs() < 1e-5);
        let eager = exact(&mdp, 1.0, 10_000);
        assert!(!eager.settled);
    }

    #[test]
    fn a_set_of_one_model_gives_the_solver_s_answer() {
        let mdp = river_swim(6);
        let (plan, best) = (exact(&mdp, 0.5, 100_000), solve(&mdp).unwrap());
        assert!((plan.gain - best.gain).abs() < 1e-5);
        let policy: Vec<usize> = plan.q.chunks(2).map(argmax).collect();
        assert_eq!(policy, best.policy);
    }

    #[test]
    fn a_ball_around_the_truth_promises_at_least_as_much() {
        let mdp = river_swim(6);
        let best = solve(&mdp).unwrap();
        let seen: Vec<Seen> = (0..mdp.cells())
            .map(|cell| Seen {
                total: 1000.0,
                next: mdp.row(cell).iter().map(|&(s, p)| (s, 1000.0 * p)).collect(),
            })
            .collect();
        let mut before = best.gain - 1e-4;
        for budget in [0.0, 0.001, 0.01, 0.1] {
            let mut u = vec![0.0; 6];
            let plan = extended_value_iteration(2, mdp.rewards(), &mut u, 1e-5, |cell, values| {
                let Tilt { value, .. } = kl_maximise(&seen[cell], values, budget, 0.0);
                value
            });
            assert!(plan.settled && plan.gain >= before, "{budget} {}", plan.gain);
            before = plan.gain;
        }
        assert!(before > best.gain + 0.05);
    }
}

//! Gain, bias and the best policy.

use super::TabularMdp;

/// Relative value iteration stops when the span of the increment is below this.
const TOLERANCE: f64 = 1e-10;
const MOST_SWEEPS: usize = 2_000_000;
const MOST_IMPROVEMENTS: usize = 1000;

/// The best that can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// `J*`.
    pub gain: f64,
    /// `h*`, shifted to a minimum of 0.
    pub bias: Vec<f64>,
    /// `max h* - min h*`.
    pub span: f64,
    /// `r(s, a) + E h*(s') - J*` for every pair.
    pub q: Vec<f64>,
    /// A best action in each state; among equals the first.
    pub policy: Vec<usize>,
}

/// `max - min`.
#[must_use]
pub fn span(values: &[f64]) -> f64 {
    let [low, high] = ends(values);
    high - low
}

/// Least and greatest value.
pub(crate) fn ends(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &v| [low.min(v), high.max(v)])
}

/// Position of the greatest value; among equals the first.
pub(crate) fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if *v > values[best] {
            best = i;
        }
    }
    best
}

fn solution(mdp: &TabularMdp, gain: f64, mut bias: Vec<f64>) -> Solution {
    let [low, _] = ends(&bias);
    bias.iter_mut().for_each(|h| *h -= low);
    let q: Vec<f64> =
        (0..mdp.cells()).map(|cell| mdp.rewards()[cell] + mdp.expect(cell, &bias) - gain).collect();
    let policy = q.chunks(mdp.actions()).map(argmax).collect();
    Solution { gain, span: span(&bias), bias, q, policy }
}

/// Relative value iteration on the lazy process (it stays with probability 1/2, so that periods do no harm; gain and bias
/// are kept): `u <- (max_a r + P u) / 2 + u / 2`. `None` where it does not settle, as for processes whose best gain depends
/// on the start.
#[must_use]
pub fn solve(mdp: &TabularMdp) -> Option<Solution> {
    let mut u = vec![0.0; mdp.states()];
    for _ in 0..MOST_SWEEPS {
        let increment: Vec<f64> = (0..mdp.states())
            .map(|s| {
                let value = |a: usize| {
                    let cell = mdp.cell(s, a);
                    mdp.rewards()[cell] + mdp.expect(cell, &u)
                };
                (0..mdp.actions()).map(value).fold(f64::NEG_INFINITY, f64::max) - u[s]
            })
            .collect();
        let [low, high] = ends(&increment);
        if high - low < TOLERANCE {
            return Some(solution(mdp, f64::midpoint(low, high), u));
        }
        let base = u[0] + 0.5 * increment[0];
        u.iter_mut().zip(&increment).for_each(|(u, d)| *u += 0.5 * d - base);
    }
    None
}

/// Solves `a x = b` in place by Gaussian elimination with partial pivoting; `a` is `[n * n]`. `None` where it is singular.
fn solve_linear(mut a: Vec<f64>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs()))?;
        if a[pivot * n + k].abs() < 1e-13 {
            return None;
        }
        if pivot != k {
            (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
            b.swap(k, pivot);
        }
        for i in k + 1..n {
            let factor = a[i * n + k] / a[k * n + k];
            if factor != 0.0 {
                (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
                b[i] -= factor * b[k];
            }
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| a[k * n + j] * b[j]).sum();
        b[k] = (b[k] - known) / a[k * n + k];
    }
    Some(b)
}

/// Gain and bias of a policy with one closed class (bias 0 in state 0): `h + J = r + P h`. `None` where there are several.
#[must_use]
pub fn evaluate(mdp: &TabularMdp, policy: &[usize]) -> Option<(f64, Vec<f64>)> {
    let n = mdp.states();
    // The unknown of column 0 is the gain; the bias of state 0 is 0.
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for s in 0..n {
        let cell = mdp.cell(s, policy[s]);
        for &(next, p) in mdp.row(cell) {
            if next > 0 {
                a[s * n + next] -= p;
            }
        }
        if s > 0 {
            a[s * n + s] += 1.0;
        }
        a[s * n] = 1.0;
        b[s] = mdp.rewards()[cell];
    }
    let mut x = solve_linear(a, b)?;
    let gain = std::mem::take(&mut x[0]);
    Some((gain, x))
}

/// Howard's policy iteration. `None` where a policy on the way has several closed classes.
#[must_use]
pub fn policy_iteration(mdp: &TabularMdp) -> Option<Solution> {
    let mut policy = vec![0; mdp.states()];
    for _ in 0..MOST_IMPROVEMENTS {
        let (gain, bias) = evaluate(mdp, &policy)?;
        let mut changed = false;
        for s in 0..mdp.states() {
            let value = |a: usize| {
                let cell = mdp.cell(s, a);
                mdp.rewards()[cell] + mdp.expect(cell, &bias)
            };
            let values: Vec<f64> = (0..mdp.actions()).map(value).collect();
            let best = argmax(&values);
            // An action is only left for one that is better beyond rounding: otherwise equals would swap for ever.
            if values[best] > values[policy[s]] + 1e-11 * (1.0 + values[best].abs()) {
                policy[s] = best;
                changed = true;
            }
        }
        if !changed {
            return Some(solution(mdp, gain, bias));
        }
    }
    None
}

/// The stationary law of a policy with one closed class. `None` where there are several.
#[must_use]
pub fn stationary(mdp: &TabularMdp, policy: &[usize]) -> Option<Vec<f64>> {
    let n = mdp.states();
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for s in 0..n {
        for &(next, p) in mdp.row(mdp.cell(s, policy[s])) {
            a[next * n + s] += p;
        }
        a[s * n + s] -= 1.0;
    }
    a[..n].fill(1.0);
    b[0] = 1.0;
    solve_linear(a, b)
}

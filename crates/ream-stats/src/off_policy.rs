//! Value of a policy from the log of another one.
//!
//! A log has for each decision `i` the action that was taken, its probability `p_i` when it was taken, and
//! its reward `y_i`. A policy `pi` would have
//! taken that action with probability `pi_i`; its weight is `w_i = pi_i / p_i`.
//!
//! | estimate | formula | leans on |
//! |---|---|---|
//! | [`ips`] | mean of `w_i y_i` | the logged probabilities |
//! | [`snips`] | `sum w_i y_i / sum w_i` | the same; a ratio, bounded by the rewards |
//! | [`direct`] | mean of `v_i = sum_a pi(a) q_i(a)` | the model `q` of rewards |
//! | [`doubly_robust`] | mean of `v_i + w_i (y_i - q_i)` | either of the two |
//!
//! (Horvitz & Thompson, 1952; Hajek, 1971, for bandits Swaminathan & Joachims, 2015; Dudik, Langford & Li,
//! 2011). Each comes with its influence values, so that
//! two policies on one log are compared by [`PolicyValue::less`]. A model must not have seen the rows that it
//! is used on ([`crate::cross_fit`]).
//!
//! ```
//! use ream_stats::off_policy::{Log, ips, snips};
//! // Two actions at even odds; the policy takes the first always, which paid 1, 0, 1.
//! let log = Log { rewards: &[1.0, 0.0, 1.0, 0.0], logged: &[0.5; 4], target: &[1.0, 1.0, 1.0, 0.0] };
//! assert_eq!(ips(&log, None)?.value, 1.0);
//! assert!((snips(&log, None)?.value - 2.0 / 3.0).abs() < 1e-12);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::descriptive::effective_sample_size;
use crate::error::{StatsError, at_least, finite, length};
use crate::interval::Estimate;
use crate::sum::compensated;

/// A log beside the policy that is judged by it.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    /// Rewards, `[n]`.
    pub rewards: &'a [f64],
    /// Probabilities of the actions when they were taken, above 0 and at most 1, `[n]`.
    pub logged: &'a [f64],
    /// Probabilities with which the policy would have taken them, `[n]`.
    pub target: &'a [f64],
}

/// An estimated value.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyValue {
    /// The estimate, in units of the rewards.
    pub value: f64,
    /// Its standard error: `(sum psi_i^2)^(1/2) / n`.
    pub se: f64,
    /// Influence values, one for each row.
    pub influence: Vec<f64>,
    /// Effective number of rows behind the weights (Kish); all rows for [`direct`], 0 where no weight is above 0.
    pub effective: f64,
}

impl PolicyValue {
    fn of(value: f64, influence: Vec<f64>, effective: f64) -> Self {
        let n = influence.len() as f64;
        let se = compensated(influence.iter().map(|psi| psi * psi)).sqrt() / n;
        Self { value, se, influence, effective }
    }

    /// The estimate with its normal interval.
    ///
    /// # Errors
    /// [`StatsError`] for a level outside `(0, 1)`.
    pub fn interval(&self, level: f64) -> Result<Estimate, StatsError> {
        Estimate::symmetric(self.value, self.se, f64::INFINITY, level)
    }

    /// This value less another one from the same rows, with the standard error of the difference.
    ///
    /// # Errors
    /// [`StatsError`] for other rows.
    pub fn less(&self, other: &Self) -> Result<(f64, f64), StatsError> {
        length("influence values of the other policy", self.influence.len(), other.influence.len())?;
        let pairs = self.influence.iter().zip(&other.influence).map(|(a, b)| a - b).collect();
        let difference = Self::of(self.value - other.value, pairs, 0.0);
        Ok((difference.value, difference.se))
    }
}

fn check_logged(logged: &[f64]) -> Result<(), StatsError> {
    match logged.iter().position(|p| !(*p > 0.0 && *p <= 1.0)) {
        None => Ok(()),
        Some(row) => Err(StatsError::OutOfRange {
            what: "logged probabilities",
            row,
            value: logged[row],
            allowed: "numbers above 0, at most 1 (an action of probability 0 cannot have been taken)",
        }),
    }
}

fn check_clip(clip: Option<f64>) -> Result<(), StatsError> {
    match clip {
        Some(value) if value.is_nan() || value <= 0.0 => {
            Err(StatsError::Setting { what: "the clip of weights", value, allowed: "numbers above 0" })
        }
        _ => Ok(()),
    }
}

/// Weights `pi_i / p_i`, none above `clip`. Clipping trades bias for variance.
fn weights(log: &Log<'_>, clip: Option<f64>) -> Result<(Vec<f64>, f64), StatsError> {
    let n = log.rewards.len();
    at_least("the value of a policy (rows)", 2, n)?;
    finite("rewards", log.rewards)?;
    length("logged probabilities", n, log.logged.len())?;
    length("target probabilities", n, log.target.len())?;
    check_logged(log.logged)?;
    if let Some(row) = log.target.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let allowed = "numbers from 0 to 1";
        return Err(StatsError::OutOfRange {
            what: "target probabilities",
            row,
            value: log.target[row],
            allowed,
        });
    }
    check_clip(clip)?;
    let most = clip.unwrap_or(f64::INFINITY);
    let weights: Vec<f64> = log.target.iter().zip(log.logged).map(|(pi, p)| (pi / p).min(most)).collect();
    let effective = if weights.iter().any(|w| *w > 0.0) { effective_sample_size(&weights)? } else { 0.0 };
    Ok((weights, effective))
}

fn mean_of(terms: Vec<f64>, effective: f64) -> PolicyValue {
    let value = compensated(terms.iter().copied()) / terms.len() as f64;
    PolicyValue::of(value, terms.into_iter().map(|t| t - value).collect(), effective)
}

/// The inverse-propensity estimate; unbiased without a clip where the logged probabilities are right.
///
/// # Errors
/// [`StatsError`] for fewer than two rows, other lengths, probabilities out of range, or a clip that is not above 0.
pub fn ips(log: &Log<'_>, clip: Option<f64>) -> Result<PolicyValue, StatsError> {
    let (weights, effective) = weights(log, clip)?;
    Ok(mean_of(weights.iter().zip(log.rewards).map(|(w, y)| w * y).collect(), effective))
}

/// The self-normalised estimate.
///
/// # Errors
/// As [`ips`]; [`StatsError::Undefined`] where the policy would have taken none of the logged actions.
pub fn snips(log: &Log<'_>, clip: Option<f64>) -> Result<PolicyValue, StatsError> {
    let (weights, effective) = weights(log, clip)?;
    let total = compensated(weights.iter().copied());
    if total <= 0.0 {
        return Err(StatsError::Undefined {
            what: "the self-normalised value",
            why: "the policy would have taken none of the logged actions",
        });
    }
    let value = compensated(weights.iter().zip(log.rewards).map(|(w, y)| w * y)) / total;
    let scale = weights.len() as f64 / total;
    let influence = weights.iter().zip(log.rewards).map(|(w, y)| scale * w * (y - value)).collect();
    Ok(PolicyValue::of(value, influence, effective))
}

/// The value that a model of rewards promises: the mean of `promised`, `sum_a pi(a) q_i(a)` for each row. The
/// standard error counts the rows'
/// spread and not the model's error.
///
/// # Errors
/// [`StatsError`] for fewer than two rows or values that are not finite.
pub fn direct(promised: &[f64]) -> Result<PolicyValue, StatsError> {
    at_least("the value of a policy (rows)", 2, promised.len())?;
    finite("promised rewards", promised)?;
    Ok(mean_of(promised.to_vec(), promised.len() as f64))
}

/// The doubly robust estimate from `promised` (as for [`direct`]) and `predicted`, the model's reward of the
/// action that was taken.
///
/// # Errors
/// As [`ips`] and [`direct`].
pub fn doubly_robust(
    log: &Log<'_>,
    promised: &[f64],
    predicted: &[f64],
    clip: Option<f64>,
) -> Result<PolicyValue, StatsError> {
    let (weights, effective) = weights(log, clip)?;
    for (what, values) in [("promised rewards", promised), ("predicted rewards", predicted)] {
        length(what, weights.len(), values.len())?;
        finite(what, values)?;
    }
    let terms = (0..weights.len()).map(|i| promised[i] + weights[i] * (log.rewards[i] - predicted[i]));
    Ok(mean_of(terms.collect(), effective))
}

/// Inverse-propensity weights of rows for fitting, `min(1 / p, clip)`, scaled to a mean of 1.
///
/// # Errors
/// [`StatsError`] for no rows, probabilities that are not above 0 and at most 1, or a clip that is not above 0.
pub fn fitting_weights(logged: &[f64], clip: f64) -> Result<Vec<f64>, StatsError> {
    at_least("weights of rows", 1, logged.len())?;
    check_logged(logged)?;
    check_clip(Some(clip))?;
    let weights: Vec<f64> = logged.iter().map(|p| (1.0 / p).min(clip)).collect();
    let mean = compensated(weights.iter().copied()) / weights.len() as f64;
    Ok(weights.iter().map(|w| w / mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    /// Three actions, rewards that depend on the context, a log that prefers the first action.
    fn sample(seed: u64, n: usize) -> [Vec<f64>; 5] {
        let mut rng = Stream::new(seed, "log").at(0);
        let (mut y, mut p, mut pi, mut promised, mut predicted) = (vec![], vec![], vec![], vec![], vec![]);
        for _ in 0..n {
            let x = rng.uniform();
            let logging = [0.6, 0.3, 0.1];
            let policy = [0.1, 0.2 + 0.5 * x, 0.7 - 0.5 * x];
            let u = rng.uniform();
            let a = if u < 0.6 {
                0
            } else if u < 0.9 {
                1
            } else {
                2
            };
            let mean = |a: usize| 0.2 + 0.3 * a as f64 * x;
            y.push(f64::from(u8::from(rng.chance(mean(a)))));
            p.push(logging[a]);
            pi.push(policy[a]);
            promised.push((0..3).map(|a| policy[a] * mean(a)).sum());
            predicted.push(mean(a));
        }
        [y, p, pi, promised, predicted]
    }

    /// `E sum_a pi(a) mean(a)` with `x` uniform: 0.2 + 0.3 E x (0.2 + 0.5 x) + 0.6 E x (0.7 - 0.5 x).
    const TRUTH: f64 = 0.2 + 0.3 * (0.1 + 0.5 / 3.0) + 0.6 * (0.35 - 0.5 / 3.0);

    #[test]
    fn all_estimates_meet_the_truth_and_their_errors_the_spread() {
        let mut values = vec![Vec::new(); 4];
        let mut errors = vec![Vec::new(); 4];
        for seed in 0..400 {
            let [y, p, pi, promised, predicted] = sample(seed, 500);
            let log = Log { rewards: &y, logged: &p, target: &pi };
            let of = [
                ips(&log, None).unwrap(),
                snips(&log, None).unwrap(),
                direct(&promised).unwrap(),
                doubly_robust(&log, &promised, &predicted, None).unwrap(),
            ];
            for (k, v) in of.iter().enumerate() {
                values[k].push(v.value);
                errors[k].push(v.se);
            }
        }
        for k in 0..4 {
            let mean = values[k].iter().sum::<f64>() / 400.0;
            let sd = (values[k].iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 399.0).sqrt();
            let stated = errors[k].iter().sum::<f64>() / 400.0;
            assert!((mean - TRUTH).abs() < 4.0 * sd / 20.0, "{k}: {mean} {TRUTH}");
            assert!((stated / sd - 1.0).abs() < 0.15, "{k}: {stated} {sd}");
        }
    }

    #[test]
    fn doubly_robust_survives_one_wrong_part() {
        let [y, p, pi, promised, predicted] = sample(1, 60_000);
        let log = Log { rewards: &y, logged: &p, target: &pi };
        // A model that promises too much everywhere.
        let wrong: Vec<f64> = promised.iter().map(|v| v + 0.2).collect();
        let high: Vec<f64> = predicted.iter().map(|v| v + 0.2).collect();
        let plain = direct(&wrong).unwrap().value;
        let mended = doubly_robust(&log, &wrong, &high, None).unwrap();
        assert!((plain - TRUTH).abs() > 0.15 && (mended.value - TRUTH).abs() < 4.0 * mended.se);
        // Probabilities that are wrong.
        let even = vec![1.0 / 3.0; y.len()];
        let log = Log { rewards: &y, logged: &even, target: &pi };
        let off = ips(&log, None).unwrap().value;
        let mended = doubly_robust(&log, &promised, &predicted, None).unwrap();
        assert!((off - TRUTH).abs() > 0.05 && (mended.value - TRUTH).abs() < 4.0 * mended.se);
    }

    #[test]
    fn the_logging_policy_has_its_own_mean() {
        let [y, p, ..] = sample(3, 100);
        let log = Log { rewards: &y, logged: &p, target: &p };
        let mean = y.iter().sum::<f64>() / 100.0;
        for value in [ips(&log, None).unwrap(), snips(&log, None).unwrap()] {
            assert!((value.value - mean).abs() < 1e-12 && (value.effective - 100.0).abs() < 1e-9);
            assert!(value.influence.iter().sum::<f64>().abs() < 1e-9);
        }
        let (difference, se) = ips(&log, None).unwrap().less(&snips(&log, None).unwrap()).unwrap();
        assert!(difference.abs() < 1e-12 && se < 1e-12);
    }

    #[test]
    fn clips_bound_the_weights() {
        let log = Log { rewards: &[1.0, 1.0], logged: &[0.01, 1.0], target: &[1.0, 1.0] };
        assert!((ips(&log, None).unwrap().value - 50.5).abs() < 1e-12);
        assert!((ips(&log, Some(10.0)).unwrap().value - 5.5).abs() < 1e-12);
        let w = fitting_weights(&[0.01, 0.5, 1.0], 10.0).unwrap();
        assert!((w[0] / w[2] - 10.0).abs() < 1e-12 && (w[1] / w[2] - 2.0).abs() < 1e-12);
        assert!((w.iter().sum::<f64>() - 3.0).abs() < 1e-12);
        assert_eq!(fitting_weights(&[0.2], 10.0).unwrap(), [1.0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let log =
            |p: f64, pi: f64| ips(&Log { rewards: &[1.0, 0.0], logged: &[p, 0.5], target: &[pi, 0.5] }, None);
        let text = log(0.0, 0.5).unwrap_err().to_string();
        assert!(text.contains("logged probabilities[0] is 0"), "{text}");
        assert!(log(1.5, 0.5).is_err() && log(f64::NAN, 0.5).is_err() && log(0.5, 1.5).is_err());
        let never = Log { rewards: &[1.0, 0.0], logged: &[0.5, 0.5], target: &[0.0, 0.0] };
        assert!(snips(&never, None).unwrap_err().to_string().contains("none of the logged actions"));
        assert_eq!((ips(&never, None).unwrap().value, ips(&never, None).unwrap().effective), (0.0, 0.0));
        assert!(ips(&never, Some(0.0)).is_err() && direct(&[1.0]).is_err());
        assert!(fitting_weights(&[0.0], 10.0).is_err() && fitting_weights(&[], 10.0).is_err());
    }
}

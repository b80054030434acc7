//! Mean, variance, quantiles, and what is read off a quantile curve.
//!
//! Sums are compensated and taken in order of index, so the last bit does not depend on threads or on lengths.
//!
//! ```
//! use ream_stats::descriptive::{mean, median, quantile, variance};
//! let values = [1.0, 2.0, 4.0, 9.0];
//! assert_eq!(mean(&values).unwrap(), 4.0);
//! assert_eq!(median(&values).unwrap(), 3.0);
//! assert_eq!(quantile(&values, 0.25).unwrap(), 1.75);
//! assert!((variance(&values).unwrap() - 38.0 / 3.0).abs() < 1e-14);
//! ```

use crate::error::{StatsError, at_least, finite, length, not_negative};
use crate::sum::compensated;

/// Arithmetic mean.
///
/// # Errors
/// [`StatsError`] for an empty slice or a value that is not finite.
pub fn mean(values: &[f64]) -> Result<f64, StatsError> {
    at_least("the mean", 1, values.len())?;
    finite("values", values)?;
    Ok(mean_of(values))
}

/// Variance with the divisor `n - 1`.
///
/// # Errors
/// [`StatsError`] for fewer than two values or a value that is not finite.
pub fn variance(values: &[f64]) -> Result<f64, StatsError> {
    at_least("the variance", 2, values.len())?;
    finite("values", values)?;
    Ok(mean_and_variance(values).1)
}

/// Standard deviation with the divisor `n - 1`.
///
/// # Errors
/// As [`variance`].
pub fn standard_deviation(values: &[f64]) -> Result<f64, StatsError> {
    Ok(variance(values)?.sqrt())
}

/// The `q` quantile, linearly interpolated between order statistics (type 7 of Hyndman & Fan, 1996: the default of
/// numpy and R).
///
/// # Errors
/// [`StatsError`] for an empty slice, a value that is not finite, or `q` outside `[0, 1]`.
pub fn quantile(values: &[f64], q: f64) -> Result<f64, StatsError> {
    Ok(quantiles(values, &[q])?[0])
}

/// Several quantiles of the same values, as [`quantile`]; sorts once.
///
/// # Errors
/// As [`quantile`].
pub fn quantiles(values: &[f64], q: &[f64]) -> Result<Vec<f64>, StatsError> {
    at_least("a quantile", 1, values.len())?;
    finite("values", values)?;
    check_quantiles(q)?;
    let sorted = sorted(values);
    Ok(q.iter().map(|&q| quantile_of_sorted(&sorted, q)).collect())
}

/// The median.
///
/// # Errors
/// [`StatsError`] for an empty slice or a value that is not finite.
pub fn median(values: &[f64]) -> Result<f64, StatsError> {
    quantile(values, 0.5)
}

/// Weighted quantiles: values in ascending order are put at the middles of their weights on the scale of the cumulative
/// weight, which is stretched so that the least value is at 0 and the largest at 1, and are interpolated linearly,
///
/// `p_k = (c_k - c_1) / (c_m - c_1)`, `c_k = w_1 + ... + w_k - w_k / 2`.
///
/// With equal weights `p_k = (k - 1) / (m - 1)`: type 7, as [`quantile`]. Values of weight 0 are as good as absent.
///
/// # Errors
/// As [`quantiles`]; [`StatsError`] for weights that are negative, not finite, all 0, or too few.
pub fn weighted_quantiles(values: &[f64], weights: &[f64], q: &[f64]) -> Result<Vec<f64>, StatsError> {
    length("weights", values.len(), weights.len())?;
    finite("values", values)?;
    not_negative("weights", weights)?;
    check_quantiles(q)?;
    let mut pairs: Vec<(f64, f64)> =
        values.iter().copied().zip(weights.iter().copied()).filter(|(_, w)| *w > 0.0).collect();
    at_least("a weighted quantile (values of positive weight)", 1, pairs.len())?;
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut below = 0.0;
    let places: Vec<f64> = pairs
        .iter()
        .map(|(_, w)| {
            below += w;
            below - 0.5 * w
        })
        .collect();
    let (first, last) = (places[0], places[places.len() - 1]);
    Ok(q.iter()
        .map(|q| {
            let at = first + q * (last - first);
            let above = places.partition_point(|p| *p < at).min(places.len() - 1);
            if above == 0 || places[above] == at {
                return pairs[above].0;
            }
            let share = (at - places[above - 1]) / (places[above] - places[above - 1]);
            pairs[above - 1].0 + share * (pairs[above].0 - pairs[above - 1].0)
        })
        .collect())
}

/// Effective number of equally weighted values, `(sum w)^2 / sum w^2` (Kish, 1965).
///
/// # Errors
/// [`StatsError`] for weights that are negative, not finite or all 0.
pub fn effective_sample_size(weights: &[f64]) -> Result<f64, StatsError> {
    not_negative("weights", weights)?;
    let largest = weights.iter().fold(0.0_f64, |m, w| m.max(*w));
    if largest == 0.0 {
        return Err(StatsError::Undefined { what: "the effective sample size", why: "all weights are 0" });
    }
    let sum = compensated(weights.iter().map(|w| w / largest));
    Ok(sum * sum / compensated(weights.iter().map(|w| (w / largest) * (w / largest))))
}

/// Gini coefficient of a law given by its quantile curve: `1 - 2 int L(p) dp` with the Lorenz curve
/// `L(p) = int_0^p Q / int_0^1 Q`, both integrals by the trapezoid rule on the grid of `probabilities`, which is stretched
/// to begin at 0 and end at 1.
///
/// # Errors
/// [`StatsError`] for different lengths, fewer than two points, values that are not finite, probabilities that do not
/// ascend, or a mean that is not above 0.
pub fn gini_of_quantiles(quantiles: &[f64], probabilities: &[f64]) -> Result<f64, StatsError> {
    at_least("a Gini coefficient (points of the curve)", 2, quantiles.len())?;
    length("the probabilities", quantiles.len(), probabilities.len())?;
    finite("the quantile curve", quantiles)?;
    finite("the probabilities", probabilities)?;
    if let Some(row) = (1..probabilities.len()).find(|&k| probabilities[k] <= probabilities[k - 1]) {
        return Err(StatsError::OutOfRange {
            what: "the probabilities",
            row,
            value: probabilities[row],
            allowed: "numbers above the one before",
        });
    }
    // Cumulative integral of the curve, and the integral of that.
    let (mut sum, mut area) = (0.0, 0.0);
    for k in 1..quantiles.len() {
        let width = probabilities[k] - probabilities[k - 1];
        let next = sum + 0.5 * width * (quantiles[k] + quantiles[k - 1]);
        area += 0.5 * width * (sum + next);
        sum = next;
    }
    if sum <= 0.0 {
        return Err(StatsError::Undefined {
            what: "the Gini coefficient",
            why: "the mean of the curve is not above 0",
        });
    }
    let span = probabilities[probabilities.len() - 1] - probabilities[0];
    Ok(1.0 - 2.0 * area / (sum * span))
}

fn check_quantiles(q: &[f64]) -> Result<(), StatsError> {
    match q.iter().find(|q| !(0.0..=1.0).contains(*q)) {
        Some(&value) => Err(StatsError::Setting { what: "the quantile", value, allowed: "0 to 1" }),
        None => Ok(()),
    }
}

/// Mean of at least one value.
pub(crate) fn mean_of(values: &[f64]) -> f64 {
    compensated(values.iter().copied()) / values.len() as f64
}

/// Mean and variance (divisor `n - 1`) of at least two values.
pub(crate) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = mean_of(values);
    let squares = compensated(values.iter().map(|v| (v - mean) * (v - mean)));
    // What the rounding of the mean adds to the squares (Chan, Golub & LeVeque, 1983).
    let drift = compensated(values.iter().map(|v| v - mean));
    let n = values.len() as f64;
    (mean, ((squares - drift * drift / n) / (n - 1.0)).max(0.0))
}

pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Type 7 quantile of values in ascending order; at least one value, `q` in `[0, 1]`.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let share = at - below as f64;
    // Without the test, `low + 0 * (high - low)` would overflow for values of opposite sign near the largest.
    if share == 0.0 { sorted[below] } else { sorted[below] + share * (sorted[above] - sorted[below]) }
}

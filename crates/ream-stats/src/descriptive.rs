//! Mean, variance and quantiles.
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

use crate::error::{StatsError, at_least, finite};
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
    for &q in q {
        if !(0.0..=1.0).contains(&q) {
            return Err(StatsError::Setting { what: "the quantile", value: q, allowed: "0 to 1" });
        }
    }
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

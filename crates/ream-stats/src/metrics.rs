//! How good predicted probabilities and scores are.
//!
//! ```
//! use ream_stats::metrics;
//! let solved = [true, false, true, false];
//! assert_eq!(metrics::auc(&solved, &[0.9, 0.3, 0.6, 0.6]).unwrap(), 0.875);
//! assert!((metrics::brier(&[1.0, 0.0], &[0.8, 0.4]).unwrap() - 0.1).abs() < 1e-15);
//! ```

use crate::error::{StatsError, at_least, finite, length};
use crate::glm::unit_interval;
use crate::rank::ranks;
use crate::sum::compensated;

pub use crate::glm::log_loss;

/// Area under the receiver operating characteristic: the chance that a positive scores above a negative, ties
/// counted half (Mann & Whitney's statistic).
///
/// # Errors
/// [`StatsError`] for different lengths, scores that are not finite, or labels that are all equal.
pub fn auc(positive: &[bool], scores: &[f64]) -> Result<f64, StatsError> {
    length("scores", positive.len(), scores.len())?;
    finite("scores", scores)?;
    let count = positive.iter().filter(|p| **p).count();
    if count == 0 || count == positive.len() {
        return Err(StatsError::Undefined { what: "the AUC", why: "it needs positives and negatives" });
    }
    let (n_positive, n_negative) = (count as f64, (positive.len() - count) as f64);
    let ranks = ranks(scores);
    // Ranks are multiples of 1/2: the sum is exact.
    let sum: f64 = ranks.iter().zip(positive).filter(|(_, p)| **p).map(|(r, _)| r).sum();
    Ok((sum - 0.5 * n_positive * (n_positive + 1.0)) / (n_positive * n_negative))
}

/// Brier score: the mean of `(y - p)^2`, `y` and `p` in `[0, 1]`.
///
/// # Errors
/// [`StatsError`] for different lengths, no values, or values outside `[0, 1]`.
pub fn brier(y: &[f64], probability: &[f64]) -> Result<f64, StatsError> {
    check(y, probability)?;
    Ok(compensated(y.iter().zip(probability).map(|(y, p)| (y - p) * (y - p))) / y.len() as f64)
}

/// Predictions of similar size beside what came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationBin {
    /// Number of predictions in the bin.
    pub count: usize,
    /// Their mean.
    pub predicted: f64,
    /// Mean outcome.
    pub observed: f64,
}

/// Reliability over `bins` bins of equal width on `[0, 1]`; empty bins are left out.
///
/// # Errors
/// [`StatsError`] as for [`brier`], or without bins.
pub fn calibration(y: &[f64], probability: &[f64], bins: usize) -> Result<Vec<CalibrationBin>, StatsError> {
    check(y, probability)?;
    if bins == 0 {
        return Err(StatsError::Setting { what: "the number of bins", value: 0.0, allowed: "1 or more" });
    }
    let mut sums = vec![(0_usize, 0.0, 0.0); bins];
    for (y, p) in y.iter().zip(probability) {
        let bin = ((p * bins as f64) as usize).min(bins - 1);
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += y;
    }
    let full = sums.into_iter().filter(|s| s.0 > 0);
    Ok(full
        .map(|(count, p, y)| CalibrationBin {
            count,
            predicted: p / count as f64,
            observed: y / count as f64,
        })
        .collect())
}

/// Expected calibration error: the mean gap `|predicted - observed|` of the bins of [`calibration`], weighted by
/// their counts.
///
/// # Errors
/// As [`calibration`].
pub fn calibration_error(y: &[f64], probability: &[f64], bins: usize) -> Result<f64, StatsError> {
    let bins = calibration(y, probability, bins)?;
    let gap = |b: &CalibrationBin| b.count as f64 * (b.predicted - b.observed).abs();
    Ok(compensated(bins.iter().map(gap)) / y.len() as f64)
}

fn check(y: &[f64], probability: &[f64]) -> Result<(), StatsError> {
    at_least("a score of predictions", 1, y.len())?;
    length("probability", y.len(), probability.len())?;
    unit_interval("y", y)?;
    unit_interval("probability", probability)
}

//! Bootstrap intervals for any statistic.
//!
//! Replication `r` draws its rows from `stream.at(r)`, so intervals are the same, bit for bit, on any number of
//! threads.
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::bootstrap::{self, Bootstrap};
//! let values = [2.1, 0.3, 5.5, 1.9, 3.3, 0.8, 2.7, 9.1];
//! let settings = Bootstrap { replications: 2000, level: 0.95, stream: Stream::new(1, "bootstrap") };
//! let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
//! let plain = bootstrap::percentile(&values, mean, &settings).unwrap();
//! let corrected = bootstrap::bca(&values, mean, &settings).unwrap();
//! assert!(plain.low < 3.2125 && 3.2125 < plain.high);
//! assert!(corrected.high > plain.high); // skewed to the right
//! ```
//!
//! References: Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), chapters 13 and 14.

use crate::cross_fit::members;
use crate::descriptive::{mean_and_variance, quantile_of_sorted, sorted};
use crate::distribution::{normal_cdf, quantile_of_normal};
use crate::error::{StatsError, at_least, finite, length};
use crate::interval::{Estimate, check_level};
use crate::sum::compensated;
use rayon::prelude::*;
use ream_rand::Stream;

/// How the interval is made from the replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Quantiles of the replicates.
    Percentile,
    /// Quantiles corrected for bias and acceleration, the latter by the jackknife over the resampled units.
    Bca,
}

/// Settings of a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples, at least 2; 1000 to 10 000 for an interval at 0.95.
    pub replications: usize,
    /// Confidence level, for instance 0.95.
    pub level: f64,
    /// The random numbers.
    pub stream: Stream,
}

/// Percentile interval of a statistic of one sample.
///
/// # Errors
/// [`StatsError`] for fewer than two values, values that are not finite, fewer than two replications, a level outside
/// `(0, 1)`, or a statistic that is not finite on the sample or on a resample.
pub fn percentile(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    one_sample(values, statistic, Interval::Percentile, settings)
}

/// Bias-corrected and accelerated interval of a statistic of one sample.
///
/// # Errors
/// As [`percentile`]; and [`StatsError::Undefined`] when all replicates lie on one side of the estimate.
pub fn bca(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    one_sample(values, statistic, Interval::Bca, settings)
}

/// Interval of a statistic of pairs `(a_i, b_i)`, which are resampled together.
///
/// # Errors
/// As [`percentile`] and [`bca`], or for different lengths.
pub fn paired(
    a: &[f64],
    b: &[f64],
    statistic: impl Fn(&[f64], &[f64]) -> f64 + Sync,
    interval: Interval,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    length("the second sample", a.len(), b.len())?;
    finite("the first sample", a)?;
    finite("the second sample", b)?;
    let pick = |rows: &[usize], v: &[f64]| -> Vec<f64> { rows.iter().map(|&i| v[i]).collect() };
    rows(a.len(), |r| statistic(&pick(r, a), &pick(r, b)), interval, settings)
}

/// Interval of a statistic of rows: `statistic` gets row numbers in `0..n`, which may repeat. For a regression, say.
///
/// # Errors
/// As [`percentile`] and [`bca`].
pub fn rows(
    n: usize,
    statistic: impl Fn(&[usize]) -> f64 + Sync,
    interval: Interval,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    at_least("a bootstrap (rows)", 2, n)?;
    run(n, statistic, interval, settings)
}

/// As [`rows`], where whole clusters (rows with one identifier) are resampled, as many as there are.
///
/// # Errors
/// As [`percentile`] and [`bca`], or for fewer than two clusters.
pub fn cluster(
    ids: &[usize],
    statistic: impl Fn(&[usize]) -> f64 + Sync,
    interval: Interval,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    let clusters: Vec<Vec<usize>> = members(ids).into_values().collect();
    at_least("a cluster bootstrap (clusters)", 2, clusters.len())?;
    let of_units = |units: &[usize]| {
        let rows: Vec<usize> = units.iter().flat_map(|&u| clusters[u].iter().copied()).collect();
        statistic(&rows)
    };
    run(clusters.len(), of_units, interval, settings)
}

/// The percentile interval of given replicates of `value`.
///
/// # Errors
/// [`StatsError`] for fewer than two replicates, values that are not finite, or a level outside `(0, 1)`.
pub fn percentile_of(value: f64, replicates: &[f64], level: f64) -> Result<Estimate, StatsError> {
    check_replicates(value, replicates, level)?;
    Ok(between(value, replicates, 0.5 - 0.5 * level, 0.5 + 0.5 * level, level))
}

/// The BCa interval of given replicates of `value`; `jackknife` holds the statistic without each unit in turn.
///
/// The bias is `z0 = Phi^{-1}(share of replicates below value)`, ties counted half; the acceleration is
/// `a = sum d^3 / (6 (sum d^2)^{3/2})` with `d` the mean of the jackknife values less each of them; the ends are the
/// quantiles at `Phi(z0 + (z0 + z) / (1 - a (z0 + z)))`.
///
/// # Errors
/// As [`percentile_of`]; [`StatsError::Undefined`] when all replicates lie on one side of `value`, or the
/// correction is beyond its pole.
pub fn bca_of(value: f64, replicates: &[f64], jackknife: &[f64], level: f64) -> Result<Estimate, StatsError> {
    check_replicates(value, replicates, level)?;
    at_least("the jackknife", 2, jackknife.len())?;
    finite("the jackknife", jackknife)?;
    let below = replicates.iter().filter(|r| **r < value).count() as f64;
    let equal = replicates.iter().filter(|r| **r == value).count() as f64;
    let bias = quantile_of_normal((below + 0.5 * equal) / replicates.len() as f64);
    if bias.is_infinite() {
        return Err(StatsError::Undefined {
            what: "the BCa interval",
            why: "all replicates lie on one side of the estimate; use the percentile interval",
        });
    }
    let acceleration = acceleration(jackknife);
    let z = quantile_of_normal(0.5 + 0.5 * level);
    let corrected = |z: f64| -> Result<f64, StatsError> {
        let slope = 1.0 - acceleration * (bias + z);
        if slope > 0.0 {
            Ok(normal_cdf(bias + (bias + z) / slope))
        } else {
            Err(StatsError::Undefined {
                what: "the BCa interval",
                why: "the acceleration is too large for this level; use the percentile interval",
            })
        }
    };
    Ok(between(value, replicates, corrected(-z)?, corrected(z)?, level))
}

fn acceleration(jackknife: &[f64]) -> f64 {
    let mean = compensated(jackknife.iter().copied()) / jackknife.len() as f64;
    let power = |k: i32| compensated(jackknife.iter().map(|v| (mean - v).powi(k)));
    let squares = power(2);
    // A statistic that no unit changes has no acceleration.
    if squares > 0.0 { power(3) / (6.0 * squares * squares.sqrt()) } else { 0.0 }
}

fn check_replicates(value: f64, replicates: &[f64], level: f64) -> Result<(), StatsError> {
    check_level(level)?;
    at_least("a bootstrap (replications)", 2, replicates.len())?;
    if !value.is_finite() {
        return Err(StatsError::Undefined {
            what: "the bootstrap",
            why: "the statistic of the data is not finite",
        });
    }
    if replicates.iter().all(|r| r.is_finite()) {
        Ok(())
    } else {
        Err(StatsError::Undefined {
            what: "the bootstrap",
            why: "the statistic is not finite on a resample; give it a value there",
        })
    }
}

fn between(value: f64, replicates: &[f64], low: f64, high: f64, level: f64) -> Estimate {
    let sorted = sorted(replicates);
    Estimate {
        value,
        se: mean_and_variance(replicates).1.sqrt(),
        low: quantile_of_sorted(&sorted, low),
        high: quantile_of_sorted(&sorted, high),
        level,
    }
}

fn one_sample(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    interval: Interval,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    finite("values", values)?;
    let of_rows = |rows: &[usize]| statistic(&rows.iter().map(|&i| values[i]).collect::<Vec<f64>>());
    rows(values.len(), of_rows, interval, settings)
}

fn run(
    units: usize,
    statistic: impl Fn(&[usize]) -> f64 + Sync,
    interval: Interval,
    settings: &Bootstrap,
) -> Result<Estimate, StatsError> {
    check_level(settings.level)?;
    at_least("a bootstrap (replications)", 2, settings.replications)?;
    let all: Vec<usize> = (0..units).collect();
    let value = statistic(&all);
    let replicates: Vec<f64> = (0..settings.replications)
        .into_par_iter()
        .map(|r| statistic(&settings.stream.at(r as u64).resample(units)))
        .collect();
    match interval {
        Interval::Percentile => percentile_of(value, &replicates, settings.level),
        Interval::Bca => {
            let without = |u: usize| statistic(&all.iter().copied().filter(|&v| v != u).collect::<Vec<_>>());
            let jackknife: Vec<f64> = (0..units).into_par_iter().map(without).collect();
            bca_of(value, &replicates, &jackknife, settings.level)
        }
    }
}

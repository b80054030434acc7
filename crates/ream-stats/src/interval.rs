//! Confidence intervals of means and proportions.
//!
//! ```
//! use ream_stats::interval;
//! let ours = [0.71, 0.74, 0.70, 0.77, 0.73];
//! let base = [0.69, 0.70, 0.71, 0.72, 0.70];
//! let gain = interval::paired_t(&ours, &base, 0.95).unwrap();
//! assert!((gain.value - 0.026).abs() < 1e-12 && gain.low < 0.0 && gain.high > 0.05);
//! let solved = interval::wilson(45, 50, 0.95).unwrap();
//! assert!(solved.low > 0.78 && solved.high < 0.96);
//! ```

use crate::descriptive::mean_and_variance;
use crate::distribution::{normal_cdf, quantile_of_normal, t_quantile};
use crate::error::{StatsError, at_least, finite, length, not_negative};

/// A number with its standard error and confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Confidence level, for instance 0.95.
    pub level: f64,
}

impl Estimate {
    /// `value` with the interval `value -+ t se`, `t` from Student's t (infinite `freedom`: the normal law).
    ///
    /// # Errors
    /// [`StatsError::Setting`] unless `0 < level < 1` and `freedom > 0`.
    pub fn symmetric(value: f64, se: f64, freedom: f64, level: f64) -> Result<Self, StatsError> {
        check_level(level)?;
        let half = t_quantile(0.5 + 0.5 * level, freedom)? * se;
        Ok(Self { value, se, low: value - half, high: value + half, level })
    }

    /// Whether the interval contains `x`.
    #[must_use]
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }
}

/// Mean with Student's interval.
///
/// # Errors
/// [`StatsError`] for fewer than two values, a value that is not finite, or a level outside `(0, 1)`.
pub fn mean_t(values: &[f64], level: f64) -> Result<Estimate, StatsError> {
    at_least("an interval of the mean", 2, values.len())?;
    finite("values", values)?;
    let n = values.len() as f64;
    let (mean, variance) = mean_and_variance(values);
    Estimate::symmetric(mean, (variance / n).sqrt(), n - 1.0, level)
}

/// Mean of `a - b`, pair by pair, with Student's interval.
///
/// # Errors
/// [`StatsError`] for different lengths and for the reasons of [`mean_t`].
pub fn paired_t(a: &[f64], b: &[f64], level: f64) -> Result<Estimate, StatsError> {
    length("the second sample", a.len(), b.len())?;
    finite("the first sample", a)?;
    finite("the second sample", b)?;
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    mean_t(&differences, level)
}

/// Difference of the means of two independent samples, `a` minus `b`, with Welch's interval (unequal variances,
/// Satterthwaite's degrees of freedom).
///
/// # Errors
/// [`StatsError`] for fewer than two values in a sample, a value that is not finite, or a level outside `(0, 1)`.
pub fn welch(a: &[f64], b: &[f64], level: f64) -> Result<Estimate, StatsError> {
    for (name, sample) in [("the first sample", a), ("the second sample", b)] {
        at_least(name, 2, sample.len())?;
        finite(name, sample)?;
    }
    let ((mean_a, var_a), (mean_b, var_b)) = (mean_and_variance(a), mean_and_variance(b));
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    let (part_a, part_b) = (var_a / n_a, var_b / n_b);
    let sum = part_a + part_b;
    // Two constant samples: the interval is a point, whatever the degrees of freedom.
    let freedom = if sum > 0.0 {
        1.0 / ((part_a / sum).powi(2) / (n_a - 1.0) + (part_b / sum).powi(2) / (n_b - 1.0))
    } else {
        n_a + n_b - 2.0
    };
    Estimate::symmetric(mean_a - mean_b, sum.sqrt(), freedom, level)
}

/// A proportion with Wilson's score interval (1927). `se` is the plain `sqrt(p (1 - p) / n)`, which is 0 at 0 and 1;
/// the interval is not made from it.
///
/// # Errors
/// [`StatsError`] without trials, with more successes than trials, or for a level outside `(0, 1)`.
pub fn wilson(successes: usize, trials: usize, level: f64) -> Result<Estimate, StatsError> {
    check_level(level)?;
    at_least("a proportion (trials)", 1, trials)?;
    if successes > trials {
        return Err(StatsError::Setting {
            what: "the number of successes",
            value: successes as f64,
            allowed: "0 to the number of trials",
        });
    }
    let (n, p) = (trials as f64, successes as f64 / trials as f64);
    let z = quantile_of_normal(0.5 + 0.5 * level);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Ok(Estimate {
        value: p,
        se: (p * (1.0 - p) / n).sqrt(),
        // The ends at 0 and n are exact; rounding may miss them.
        low: if successes == 0 { 0.0 } else { (middle - half).max(0.0) },
        high: if successes == trials { 1.0 } else { (middle + half).min(1.0) },
        level,
    })
}

/// The smallest true effect that a two-sided test at `level` (for instance 0.95) finds with probability `power` (for
/// instance 0.8), for an estimate with standard error `se` and a normal law: `(z_{(1 + level) / 2} + z_power) se`.
/// The other tail's chance is left out, as usual.
///
/// # Errors
/// [`StatsError::Setting`] for `level` or `power` outside `(0, 1)`, or `se` negative or not finite.
pub fn minimum_detectable_effect(se: f64, level: f64, power: f64) -> Result<f64, StatsError> {
    check_level(level)?;
    if !(power > 0.0 && power < 1.0) {
        return Err(StatsError::Setting { what: "the power", value: power, allowed: "above 0 and below 1" });
    }
    if !(se.is_finite() && se >= 0.0) {
        return Err(StatsError::Setting { what: "the standard error", value: se, allowed: "0 or above" });
    }
    Ok((quantile_of_normal(0.5 + 0.5 * level) + quantile_of_normal(power)) * se)
}

/// Interval for a number that the data only bound from below and above (Imbens & Manski, 2004): it holds the number, wherever
/// it lies between the bounds, with probability `level`, and goes over into the usual interval when the bounds meet.
///
/// `[lower - c se_lower, upper + c se_upper]` where `c` solves
/// `Phi(c + (upper - lower) / max(se_lower, se_upper)) - Phi(-c) = level`; the standard errors are those of the bounds
/// themselves (divided by the root of the sample size). The interval for the whole set of numbers between the bounds, which
/// is longer, has the two-sided normal quantile in place of `c`.
///
/// # Errors
/// [`StatsError`] for values that are not finite, a lower bound above the upper one, negative standard errors, or a level
/// outside `(0, 1)`.
pub fn imbens_manski(lower: (f64, f64), upper: (f64, f64), level: f64) -> Result<(f64, f64), StatsError> {
    check_level(level)?;
    let ((low, se_low), (high, se_high)) = (lower, upper);
    finite("the bounds", &[low, high])?;
    not_negative("the standard errors of the bounds", &[se_low, se_high])?;
    if low > high {
        return Err(StatsError::Setting {
            what: "the lower bound",
            value: low,
            allowed: "numbers not above the upper bound (an empty set has no interval)",
        });
    }
    let largest = se_low.max(se_high);
    if largest == 0.0 {
        return Ok((low, high));
    }
    let gap = (high - low) / largest;
    let c = imbens_manski_factor(gap, level);
    Ok((low - c * se_low, high + c * se_high))
}

/// The `c` of [`imbens_manski`]: between the one-sided and the two-sided normal quantile.
fn imbens_manski_factor(gap: f64, level: f64) -> f64 {
    let (mut low, mut high) = (quantile_of_normal(level).max(0.0), quantile_of_normal(0.5 + 0.5 * level));
    let mut c = high;
    for _ in 0..100 {
        let excess = normal_cdf(c + gap) - normal_cdf(-c) - level;
        if excess > 0.0 {
            high = c;
        } else {
            low = c;
        }
        let slope = normal_density(c + gap) + normal_density(c);
        let newton = c - excess / slope;
        let next = if low <= newton && newton <= high { newton } else { 0.5 * (low + high) };
        if (next - c).abs() <= 4e-16 * (1.0 + c) {
            return next;
        }
        c = next;
    }
    c
}

fn normal_density(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / (2.0 * core::f64::consts::PI).sqrt()
}

pub(crate) fn check_level(level: f64) -> Result<(), StatsError> {
    if level > 0.0 && level < 1.0 {
        Ok(())
    } else {
        Err(StatsError::Setting { what: "the level", value: level, allowed: "above 0 and below 1" })
    }
}

//! Correlations: Pearson, Spearman, Kendall's tau-b.
//!
//! [`spearman`], [`kendall`] and [`pearson`] give a plain number, NaN where the correlation is not defined; the
//! functions ending in `_test` say why it is not, and add a p value and an interval.
//!
//! ```
//! use ream_stats::rank;
//! let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let y = [1.2, 0.9, 3.1, 3.1, 7.0, 5.5];
//! assert!((rank::spearman(&x, &y) - 0.869_656_6).abs() < 1e-6);
//! assert!((rank::kendall(&x, &y) - 0.690_065_6).abs() < 1e-6);
//! assert!(rank::spearman(&x, &[1.0; 6]).is_nan());
//! let test = rank::spearman_test(&x, &y, 0.95).unwrap();
//! assert!(test.p_value < 0.05 && test.estimate.high < 1.0);
//! ```

use crate::descriptive::mean_of;
use crate::distribution::{normal_two_sided, quantile_of_normal, t_two_sided};
use crate::error::{StatsError, at_least, finite, length};
use crate::interval::{Estimate, check_level};
use crate::sum::compensated;

/// A correlation with its test and interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correlation {
    /// The correlation; its interval comes from Fisher's `atanh` scale, its standard error is carried back from there
    /// by the delta method.
    pub estimate: Estimate,
    /// Two-sided p value of no association.
    pub p_value: f64,
}

/// Ranks from 1; equal values get the mean of their ranks.
///
/// # Errors
/// [`StatsError::NotFinite`].
pub fn average_ranks(values: &[f64]) -> Result<Vec<f64>, StatsError> {
    finite("values", values)?;
    Ok(ranks(values))
}

/// Pearson's correlation; NaN for different lengths, fewer than two values, values that are not finite, or a constant.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    checked(x, y, 2).and_then(|()| product_moment(x, y)).unwrap_or(f64::NAN)
}

/// Spearman's rank correlation (ties get average ranks); NaN as for [`pearson`].
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    checked(x, y, 2).and_then(|()| product_moment(&ranks(x), &ranks(y))).unwrap_or(f64::NAN)
}

/// Kendall's tau-b, in `O(n log n)` (Knight, 1966); NaN as for [`pearson`].
#[must_use]
pub fn kendall(x: &[f64], y: &[f64]) -> f64 {
    checked(x, y, 2).and_then(|()| Pairs::count(x, y).tau()).unwrap_or(f64::NAN)
}

/// Pearson's correlation with the p value of Student's t (`n - 2` degrees of freedom) and Fisher's interval
/// (`se = 1 / sqrt(n - 3)` on the `atanh` scale).
///
/// # Errors
/// [`StatsError`] for different lengths, fewer than four pairs, values that are not finite, a constant, or a level
/// outside `(0, 1)`.
pub fn pearson_test(x: &[f64], y: &[f64], level: f64) -> Result<Correlation, StatsError> {
    checked(x, y, 4)?;
    check_level(level)?;
    let r = product_moment(x, y)?;
    let n = x.len() as f64;
    Ok(Correlation { estimate: fisher(r, 1.0 / (n - 3.0), level), p_value: student(r, n)? })
}

/// Spearman's correlation with the p value of Student's t (`n - 2` degrees of freedom) and an interval with
/// `se^2 = (1 + r^2 / 2) / (n - 3)` on the `atanh` scale (Bonett & Wright, 2000).
///
/// # Errors
/// As [`pearson_test`].
pub fn spearman_test(x: &[f64], y: &[f64], level: f64) -> Result<Correlation, StatsError> {
    checked(x, y, 4)?;
    check_level(level)?;
    let r = product_moment(&ranks(x), &ranks(y))?;
    let n = x.len() as f64;
    Ok(Correlation { estimate: fisher(r, (1.0 + 0.5 * r * r) / (n - 3.0), level), p_value: student(r, n)? })
}

/// Kendall's tau-b with the normal p value (variance corrected for ties) and an interval with
/// `se^2 = 0.437 / (n - 4)` on the `atanh` scale (Fieller, Hartley & Pearson, 1957).
///
/// # Errors
/// As [`pearson_test`], with at least five pairs.
pub fn kendall_test(x: &[f64], y: &[f64], level: f64) -> Result<Correlation, StatsError> {
    checked(x, y, 5)?;
    check_level(level)?;
    let pairs = Pairs::count(x, y);
    let tau = pairs.tau()?;
    let n = x.len() as f64;
    Ok(Correlation { estimate: fisher(tau, 0.437 / (n - 4.0), level), p_value: pairs.p_value() })
}

fn checked(x: &[f64], y: &[f64], wanted: usize) -> Result<(), StatsError> {
    length("y", x.len(), y.len())?;
    at_least("a correlation", wanted, x.len())?;
    finite("x", x)?;
    finite("y", y)
}

const CONSTANT: StatsError =
    StatsError::Undefined { what: "the correlation", why: "all values of one variable are equal" };

fn product_moment(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    let constant = |v: &[f64]| v.iter().all(|a| *a == v[0]);
    if constant(x) || constant(y) {
        return Err(CONSTANT);
    }
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = mean_of(v);
        let from_mean: Vec<f64> = v.iter().map(|a| a - mean).collect();
        // Unit size, so that squares neither overflow nor underflow.
        let size = from_mean.iter().fold(0.0_f64, |m, a| m.max(a.abs()));
        from_mean.iter().map(|a| a / size).collect()
    };
    let (x, y) = (centred(x), centred(y));
    let inner = |a: &[f64], b: &[f64]| compensated(a.iter().zip(b).map(|(a, b)| a * b));
    let r = inner(&x, &y) / (inner(&x, &x).sqrt() * inner(&y, &y).sqrt());
    if r.is_nan() { Err(CONSTANT) } else { Ok(r.clamp(-1.0, 1.0)) }
}

fn fisher(r: f64, variance: f64, level: f64) -> Estimate {
    let se = variance.sqrt();
    let half = quantile_of_normal(0.5 + 0.5 * level) * se;
    // At a correlation of exactly 1 or -1 the interval is that point.
    let end = |shift: f64| if r.abs() == 1.0 { r } else { libm::tanh(libm::atanh(r) + shift) };
    Estimate { value: r, se: (1.0 - r * r) * se, low: end(-half), high: end(half), level }
}

fn student(r: f64, n: f64) -> Result<f64, StatsError> {
    t_two_sided(r * ((n - 2.0) / ((1.0 - r) * (1.0 + r))).sqrt(), n - 2.0)
}

/// Ranks of finite values. `-0` and `0` are equal.
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    // Adding 0 turns -0 into 0, which the total order would put apart.
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| (values[a] + 0.0).total_cmp(&(values[b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = before as f64 + 0.5 * (group.len() + 1) as f64;
        for &i in group {
            ranks[i] = mean;
        }
        before += group.len();
    }
    ranks
}

/// Counts of pairs, for Kendall's tau.
struct Pairs {
    n: f64,
    /// Concordant less discordant.
    surplus: f64,
    /// Sizes of the groups of equal values.
    x_ties: Vec<f64>,
    y_ties: Vec<f64>,
}

impl Pairs {
    fn count(x: &[f64], y: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..x.len()).collect();
        // Adding 0 turns -0 into 0, which the total order would put apart.
        let key = |v: f64| v + 0.0;
        order.sort_by(|&a, &b| key(x[a]).total_cmp(&key(x[b])).then(key(y[a]).total_cmp(&key(y[b]))));
        let x_ties = sizes(order.chunk_by(|&a, &b| x[a] == x[b]));
        let both = sizes(order.chunk_by(|&a, &b| x[a] == x[b] && y[a] == y[b]));
        let mut sorted: Vec<f64> = order.iter().map(|&i| y[i]).collect();
        // Pairs that are swapped by a stable sort on y are the discordant ones: ties in x are in order of y already.
        let discordant = inversions(&mut sorted) as f64;
        let y_ties = sizes(sorted.chunk_by(|a, b| a == b));
        let n = x.len() as f64;
        let (tied_x, tied_y, tied_both) = (tied(&x_ties), tied(&y_ties), tied(&both));
        let untied = 0.5 * n * (n - 1.0) - tied_x - tied_y + tied_both;
        Self { n, surplus: untied - 2.0 * discordant, x_ties, y_ties }
    }

    fn tau(&self) -> Result<f64, StatsError> {
        let all = 0.5 * self.n * (self.n - 1.0);
        let (x, y) = (all - tied(&self.x_ties), all - tied(&self.y_ties));
        if x > 0.0 && y > 0.0 {
            Ok((self.surplus / x.sqrt() / y.sqrt()).clamp(-1.0, 1.0))
        } else {
            Err(CONSTANT)
        }
    }

    fn p_value(&self) -> f64 {
        let n = self.n;
        let sum = |ties: &[f64], f: fn(f64) -> f64| ties.iter().map(|&t| f(t)).sum::<f64>();
        let cubic = |t: f64| t * (t - 1.0) * (2.0 * t + 5.0);
        let triple = |t: f64| t * (t - 1.0) * (t - 2.0);
        let m = n * (n - 1.0);
        let variance = (m * (2.0 * n + 5.0) - sum(&self.x_ties, cubic) - sum(&self.y_ties, cubic)) / 18.0
            + 2.0 * tied(&self.x_ties) * tied(&self.y_ties) / m
            + sum(&self.x_ties, triple) * sum(&self.y_ties, triple) / (9.0 * m * (n - 2.0));
        normal_two_sided(self.surplus / variance.sqrt())
    }
}

fn sizes<'a, T: 'a>(groups: impl Iterator<Item = &'a [T]>) -> Vec<f64> {
    groups.map(|g| g.len() as f64).collect()
}

/// Number of pairs within the groups.
fn tied(sizes: &[f64]) -> f64 {
    sizes.iter().map(|t| 0.5 * t * (t - 1.0)).sum()
}

/// Sorts ascending by bottom-up merging and counts the pairs that were in the wrong order.
fn inversions(values: &mut Vec<f64>) -> u64 {
    let n = values.len();
    let mut count = 0;
    let mut merged = Vec::with_capacity(n);
    let mut width = 1;
    while width < n {
        merged.clear();
        for start in (0..n).step_by(2 * width) {
            let middle = (start + width).min(n);
            let end = (start + 2 * width).min(n);
            let (mut left, mut right) = (start, middle);
            while left < middle || right < end {
                if right == end || (left < middle && values[left] <= values[right]) {
                    merged.push(values[left]);
                    left += 1;
                } else {
                    count += (middle - left) as u64;
                    merged.push(values[right]);
                    right += 1;
                }
            }
        }
        core::mem::swap(values, &mut merged);
        width *= 2;
    }
    count
}

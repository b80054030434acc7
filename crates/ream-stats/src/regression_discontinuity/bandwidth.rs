//! Bandwidths by plug-in that minimise the mean squared error of the jump (Calonico, Cattaneo & Titiunik, 2014; Calonico,
//! Cattaneo & Farrell, 2020), in the order in which `rdrobust` takes its steps:
//!
//! 1. `c`, a rule of thumb for the spread of the positions, is the bandwidth of all variances;
//! 2. `d`, from the derivative of order `q + 2` of polynomials through whole sides, serves to estimate that of order `q + 1`;
//! 3. `b`, from it, is the bandwidth of the bias, and serves to estimate the derivative of order `p + 1`;
//! 4. `h`, from that.
//!
//! With `q > p + 1` the derivative of order `p + 1` in step 4 is the coefficient of that order; the Python package (2.1.1) takes
//! that of order `q` there, the R package as we do.
//!
//! Each is `(V / (B^2 + R))^(1 / (2 o + 3))`: variance, squared bias and, from step 3 on, a regulariser, three times the
//! variance of the estimated bias.

use super::residuals::{of_fit, of_neighbours};
use super::{RegressionDiscontinuity, Rows, Variance};
use crate::descriptive::{mean_and_variance, sorted};
use crate::error::{FitError, StatsError};
use crate::local_polynomial::{Kernel, LocalPolynomial, Side};

/// What widens a window so that a row at its edge has a weight above 0: 1 and the root of the spacing of doubles at 1.
const PAD: f64 = 1.0 + 1.490_116_119_384_765_6e-8;

/// Bandwidths of the fit and of its bias.
pub(super) fn mserd(
    x: &[f64],
    sides: &[Rows; 2],
    settings: &RegressionDiscontinuity,
) -> Result<(f64, f64), FitError> {
    let &RegressionDiscontinuity { cutoff, order: p, bias_order: q, .. } = settings;
    let plan = Plan::new(x, sides, settings);
    let reach = plan.reach;
    let largest = reach[0].max(reach[1]);
    let c = plan.clamp(plan.rule_of_thumb(x, settings)?.min(largest));
    let stage = |o: usize,
                 bias_order: usize,
                 derivative: usize,
                 bias: [f64; 2],
                 regularise: bool|
     -> Result<f64, FitError> {
        let mut parts = [Part::default(); 2];
        for (k, side) in [Side::Below, Side::Above].into_iter().enumerate() {
            let request = Request {
                o,
                bias_order,
                derivative,
                variance_bandwidth: c,
                bias_bandwidth: bias[k],
                regularise,
            };
            parts[k] = part(&sides[k], side, cutoff, &request, plan.fuzzy, settings)?;
        }
        let [below, above] = parts;
        let bias = above.bias - below.bias;
        let least = bias * bias + below.regulariser + above.regulariser;
        let bandwidth = libm::pow((below.variance + above.variance) / least, 1.0 / (2.0 * o as f64 + 3.0));
        // Without curvature or without noise the largest bandwidth there is.
        Ok(if bandwidth.is_nan() { largest } else { bandwidth.min(largest) })
    };
    // A little more than the side, so that its farthest row has a weight above 0.
    let whole = reach.map(|r| r * PAD);
    let d = plan.clamp(stage(q + 1, q + 2, q + 1, whole, false)?);
    let b = stage(q, q + 1, p + 1, [d; 2], true)?;
    let h = stage(p, q, 0, [b; 2], true)?;
    for (what, value) in [("the bandwidth of the fit", h), ("the bandwidth of its bias", b)] {
        if value.is_nan() || value <= 0.0 {
            return Err(
                StatsError::Undefined { what, why: "the outcome has no noise; give bandwidths" }.into()
            );
        }
    }
    Ok((h, b))
}

/// Least and largest bandwidths.
struct Plan {
    /// Distances of the farthest rows below and above.
    reach: [f64; 2],
    /// Holds ten different positions on each side, when many rows repeat one.
    least: f64,
    /// Different positions, or rows.
    count: usize,
    /// Whether the treatment varies on both sides, so that it enters the bandwidths.
    fuzzy: bool,
}

impl Plan {
    fn new(x: &[f64], sides: &[Rows; 2], settings: &RegressionDiscontinuity) -> Self {
        let mut reach = [0.0; 2];
        let mut least = 0.0_f64;
        let (mut count, mut repeated) = (0, false);
        let mut tenth = [0.0; 2];
        for (k, rows) in sides.iter().enumerate() {
            let mut distances: Vec<f64> = rows.x.iter().map(|x| (x - settings.cutoff).abs()).collect();
            distances.sort_unstable_by(f64::total_cmp);
            reach[k] = distances.last().copied().unwrap_or(0.0);
            distances.dedup();
            count += distances.len();
            repeated |= 1.0 - distances.len() as f64 / rows.x.len() as f64 >= 0.2;
            tenth[k] = distances.get(9.min(distances.len() - 1)).copied().unwrap_or(0.0);
        }
        if settings.adjust_repeated && repeated {
            // A little more, so that the tenth position has a weight above 0.
            least = tenth[0].max(tenth[1]) * PAD;
        }
        let varies = |rows: &Rows| rows.outcomes.get(1).is_some_and(|t| t.iter().any(|v| *v != t[0]));
        Self {
            reach,
            least,
            count: if settings.adjust_repeated { count } else { x.len() },
            fuzzy: sides.iter().all(varies),
        }
    }

    fn clamp(&self, bandwidth: f64) -> f64 {
        bandwidth.max(self.least)
    }

    /// Step 1.
    fn rule_of_thumb(&self, x: &[f64], settings: &RegressionDiscontinuity) -> Result<f64, FitError> {
        let constant = match settings.kernel {
            Kernel::Triangular => 2.576,
            Kernel::Epanechnikov => 2.34,
            Kernel::Uniform => 1.843,
        };
        let sorted = sorted(x);
        let spread = (averaged_quantile(&sorted, 0.75) - averaged_quantile(&sorted, 0.25)) / 1.349;
        let deviation = mean_and_variance(x).1.sqrt();
        let width = if spread > 0.0 { deviation.min(spread) } else { deviation };
        if width <= 0.0 {
            return Err(
                StatsError::Undefined { what: "the bandwidth", why: "all positions are equal" }.into()
            );
        }
        Ok(constant * width * libm::pow(self.count as f64, -0.2))
    }
}

/// Type 2 of Hyndman & Fan (1996): the inverse of the empirical distribution, averaged where it jumps.
fn averaged_quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * sorted.len() as f64;
    let below = at.floor() as usize;
    if at == below as f64 && below > 0 {
        0.5 * (sorted[below - 1] + sorted[below])
    } else {
        sorted[below.min(sorted.len() - 1)]
    }
}

struct Request {
    /// Order of the local polynomial.
    o: usize,
    /// Order of the one for its bias, above `o`.
    bias_order: usize,
    /// The derivative that it is to estimate.
    derivative: usize,
    variance_bandwidth: f64,
    bias_bandwidth: f64,
    regularise: bool,
}

/// One side's share of the mean squared error.
#[derive(Clone, Copy, Default)]
struct Part {
    variance: f64,
    bias: f64,
    regulariser: f64,
}

fn part(
    rows: &Rows,
    side: Side,
    cutoff: f64,
    request: &Request,
    fuzzy: bool,
    settings: &RegressionDiscontinuity,
) -> Result<Part, FitError> {
    let &Request { o, bias_order, derivative: nu, variance_bandwidth, bias_bandwidth, regularise } = request;
    let fit = |order, bandwidth| {
        LocalPolynomial::of_checked(&rows.x, cutoff, side, settings.kernel, order, bandwidth)
    };
    let near = fit(o, variance_bandwidth)?;
    let outcomes = if fuzzy { &rows.outcomes[..] } else { &rows.outcomes[..1] };
    // The fuzzy ratio to first order, at this side's own estimates.
    let shares = if fuzzy {
        let value =
            |d: usize| factorial(nu) * near.weighted(nu, &outcomes[d]) / power(variance_bandwidth, nu);
        let (outcome, treated) = (value(0), value(1));
        vec![1.0 / treated, -outcome / (treated * treated)]
    } else {
        vec![1.0]
    };
    // h^(2 nu) times the variance of the coefficient of order nu is that of the coefficient of u^nu.
    let variance =
        (2 * nu + 1) as f64 * variance_bandwidth * variance_of(&near, nu, rows, outcomes, &shares, settings)?;
    let constant: f64 =
        near.scaled_weights(nu).iter().zip(near.offsets()).map(|(w, u)| w * power(*u, o + 1)).sum();
    let wide = fit(bias_order, bias_bandwidth)?;
    let unit = power(bias_bandwidth, o + 1);
    let coefficient: f64 =
        shares.iter().zip(outcomes).map(|(s, y)| s * wide.weighted(o + 1, y)).sum::<f64>() / unit;
    let twice = (2 * (o + 1 - nu)) as f64;
    let regulariser = if regularise {
        let noise = variance_of(&wide, o + 1, rows, outcomes, &shares, settings)? / (unit * unit);
        twice * 3.0 * constant * constant * noise
    } else {
        0.0
    };
    Ok(Part { variance, bias: twice.sqrt() * constant * coefficient, regulariser })
}

/// Variance of the coefficient of `u^j` of `sum_d shares_d outcome_d`.
fn variance_of(
    fit: &LocalPolynomial,
    j: usize,
    rows: &Rows,
    outcomes: &[Vec<f64>],
    shares: &[f64],
    settings: &RegressionDiscontinuity,
) -> Result<f64, FitError> {
    let first = fit.rows()[0];
    let window = first..first + fit.rows().len();
    let x = &rows.x[window.clone()];
    let mut residual = vec![0.0; x.len()];
    for (y, share) in outcomes.iter().zip(shares) {
        let e = match settings.variance {
            Variance::NearestNeighbours(count) => of_neighbours(x, &y[window.clone()], count),
            other => of_fit(x, &y[window.clone()], fit, y, first, other)?,
        };
        residual.iter_mut().zip(e).for_each(|(sum, e)| *sum += share * e);
    }
    Ok(fit.scaled_weights(j).iter().zip(residual).map(|(w, e)| (w * e) * (w * e)).sum())
}

fn power(base: f64, exponent: usize) -> f64 {
    base.powi(exponent as i32)
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|j| j as f64).product()
}

//! Regression discontinuity: the jump of a regression at a cutoff, with bias correction and robust intervals
//! (Calonico, Cattaneo & Titiunik, 2014), as the package `rdrobust` computes them.
//!
//! On each side of the cutoff a local polynomial of order `p` with bandwidth `h` gives the conventional estimate, the
//! difference of the values at the cutoff. Its leading bias is `h^(p+1) B m^(p+1) / (p + 1)!` with a constant `B` of the
//! positions; the derivative comes from a local polynomial of order `q > p` with bandwidth `b`. The robust interval is about the
//! corrected estimate and counts the noise of the correction. All three are weighted sums of the outcomes, `sum_i w_i y_i`, with
//! standard errors `(sum_i w_i^2 e_i^2)^(1/2)`.
//!
//! In a fuzzy design the jump is divided by that of the treatment, with errors by the delta method.
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::regression_discontinuity::{RegressionDiscontinuity, estimate};
//! let mut rng = Stream::new(1, "example").at(0);
//! let x: Vec<f64> = (0..800).map(|_| rng.between(-1.0, 1.0)).collect();
//! let y: Vec<f64> = x.iter().map(|x| libm::sin(2.0 * x) + f64::from(u8::from(*x >= 0.0)) + 0.2 * rng.normal()).collect();
//! let fit = estimate(&x, &y, None, &RegressionDiscontinuity::default())?;
//! assert!(fit.robust.contains(1.0) && fit.rows == [fit.rows[0], 800 - fit.rows[0]]);
//! # Ok::<(), ream_stats::FitError>(())
//! ```

mod bandwidth;
mod residuals;

use crate::distribution::normal_two_sided;
use crate::error::{FitError, StatsError, finite, length};
use crate::interval::{Estimate, check_level};
use crate::local_polynomial::{Kernel, LocalPolynomial, Side};

/// Where the squared residuals of the standard errors come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variance {
    /// Differences to at least so many neighbours in `x` (Abadie & Imbens, 2006); 3 is usual.
    NearestNeighbours(usize),
    /// Residuals of the fits.
    Hc0,
    /// The same, squares times `n / (n - p - 1)`.
    Hc1,
    /// The same, squares divided by one minus the leverage.
    Hc2,
    /// The same, divided by one minus the leverage.
    Hc3,
}

/// The bandwidths of the fit and of its bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BandwidthChoice {
    /// One bandwidth for both sides that minimises the mean squared error of the jump, by plug-in (`mserd`).
    MeanSquaredError,
    /// `mserd` times `n^(-p / ((3 + p)(3 + 2 p)))`, for coverage (`cerrd`).
    CoverageError,
    /// Given numbers.
    Fixed {
        /// Of the fit.
        main: f64,
        /// Of its bias; the same number makes the corrected estimate a local polynomial fit of order `q`.
        bias: f64,
    },
}

/// How the estimate is made; the default is that of `rdrobust`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionDiscontinuity {
    /// The cutoff; rows at it count as above.
    pub cutoff: f64,
    /// Order `p` of the fit.
    pub order: usize,
    /// Order `q > p` of the fit for the bias.
    pub bias_order: usize,
    /// The kernel.
    pub kernel: Kernel,
    /// The residuals.
    pub variance: Variance,
    /// The bandwidths.
    pub bandwidths: BandwidthChoice,
    /// Widen preliminary bandwidths to ten different positions when a fifth of the rows of a side repeat a position, and count
    /// different positions instead of rows (`masspoints = "adjust"`).
    pub adjust_repeated: bool,
    /// Level of the intervals.
    pub level: f64,
}

impl Default for RegressionDiscontinuity {
    fn default() -> Self {
        Self {
            cutoff: 0.0,
            order: 1,
            bias_order: 2,
            kernel: Kernel::Triangular,
            variance: Variance::NearestNeighbours(3),
            bandwidths: BandwidthChoice::MeanSquaredError,
            adjust_repeated: true,
            level: 0.95,
        }
    }
}

/// The jump at the cutoff.
#[derive(Clone, Debug, PartialEq)]
pub struct Jump {
    /// The plain estimate and its interval.
    pub conventional: Estimate,
    /// The estimate less its bias, with the standard error of the plain one.
    pub bias_corrected: Estimate,
    /// The estimate less its bias, with a standard error that counts the correction: the one to report.
    pub robust: Estimate,
    /// Two-sided normal p values of no jump: conventional, bias-corrected, robust.
    pub p_values: [f64; 3],
    /// Fitted values at the cutoff below and above.
    pub sides: [f64; 2],
    /// Bandwidth of the fit.
    pub bandwidth: f64,
    /// Bandwidth of its bias.
    pub bias_bandwidth: f64,
    /// Rows below and above.
    pub rows: [usize; 2],
    /// Rows within the bandwidth, below and above.
    pub effective_rows: [usize; 2],
    /// In a fuzzy design the jump of the treatment, with its conventional and robust intervals.
    pub treatment: Option<[Estimate; 2]>,
}

/// The jump of `y` at the cutoff of `x`, or, with a `treatment`, the ratio of the jumps of `y` and of the treatment.
///
/// # Errors
/// [`FitError::Input`] for other lengths, values that are not finite, settings out of range, sides or windows with too few rows, or
/// a treatment whose jump is 0; [`FitError::RankDeficient`] for windows with too few different positions.
pub fn estimate(
    x: &[f64],
    y: &[f64],
    treatment: Option<&[f64]>,
    settings: &RegressionDiscontinuity,
) -> Result<Jump, FitError> {
    check(x, y, treatment, settings)?;
    let sides = [Side::Below, Side::Above].map(|side| Rows::new(x, y, treatment, settings.cutoff, side));
    let [below, above] = &sides;
    for (what, rows) in
        [("the side below the cutoff (rows)", below), ("the side above the cutoff (rows)", above)]
    {
        crate::error::at_least(what, settings.bias_order + 1, rows.x.len())?;
    }
    let (main, bias) = match settings.bandwidths {
        BandwidthChoice::Fixed { main, bias } => (main, bias),
        BandwidthChoice::MeanSquaredError => bandwidth::mserd(x, &sides, settings)?,
        BandwidthChoice::CoverageError => {
            let (main, bias) = bandwidth::mserd(x, &sides, settings)?;
            let p = settings.order as f64;
            (main * libm::pow(x.len() as f64, -p / ((3.0 + p) * (3.0 + 2.0 * p))), bias)
        }
    };
    let fits = [
        SideFit::new(below, Side::Below, main, bias, settings)?,
        SideFit::new(above, Side::Above, main, bias, settings)?,
    ];
    combined(&fits, [below.x.len(), above.x.len()], treatment.is_some(), main, bias, settings.level)
}

fn check(
    x: &[f64],
    y: &[f64],
    treatment: Option<&[f64]>,
    settings: &RegressionDiscontinuity,
) -> Result<(), FitError> {
    finite("x", x)?;
    length("y", x.len(), y.len())?;
    finite("y", y)?;
    if let Some(treatment) = treatment {
        length("the treatment", x.len(), treatment.len())?;
        finite("the treatment", treatment)?;
    }
    check_level(settings.level)?;
    let wrong = |what, value, allowed| Err(StatsError::Setting { what, value, allowed }.into());
    if !settings.cutoff.is_finite() {
        return wrong("the cutoff", settings.cutoff, "finite numbers");
    }
    if settings.bias_order <= settings.order {
        return wrong("the order for the bias", settings.bias_order as f64, "orders above that of the fit");
    }
    if settings.variance == Variance::NearestNeighbours(0) {
        return wrong("the number of neighbours", 0.0, "1 or more");
    }
    if let BandwidthChoice::Fixed { main, bias } = settings.bandwidths {
        for value in [main, bias] {
            if !(value > 0.0 && value.is_finite()) {
                return wrong("the bandwidth", value, "finite numbers above 0");
            }
        }
    }
    Ok(())
}

/// The rows of one side, in ascending order of position.
struct Rows {
    x: Vec<f64>,
    /// Outcome and, in a fuzzy design, treatment.
    outcomes: Vec<Vec<f64>>,
}

impl Rows {
    fn new(x: &[f64], y: &[f64], treatment: Option<&[f64]>, cutoff: f64, side: Side) -> Self {
        let mut order: Vec<usize> = (0..x.len()).filter(|&i| side.holds(x[i], cutoff)).collect();
        order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
        let pick = |v: &[f64]| order.iter().map(|&i| v[i]).collect::<Vec<f64>>();
        let outcomes = core::iter::once(y).chain(treatment).map(pick).collect();
        Self { x: pick(x), outcomes }
    }
}

/// The fits of one side: for each outcome values and residuals, for all the weights.
struct SideFit {
    /// Rows within the wider bandwidth: weights of the plain and of the corrected estimate.
    plain: Vec<f64>,
    corrected: Vec<f64>,
    /// For each outcome the two estimates and the residuals that go with each.
    values: Vec<[f64; 2]>,
    residuals: Vec<[Vec<f64>; 2]>,
    effective: usize,
}

impl SideFit {
    fn new(
        rows: &Rows,
        side: Side,
        main: f64,
        bias: f64,
        settings: &RegressionDiscontinuity,
    ) -> Result<Self, FitError> {
        let &RegressionDiscontinuity { cutoff, order, bias_order, kernel, .. } = settings;
        let fit_main = LocalPolynomial::of_checked(&rows.x, cutoff, side, kernel, order, main)?;
        let fit_bias = LocalPolynomial::of_checked(&rows.x, cutoff, side, kernel, bias_order, bias)?;
        // Windows are nested: rows are sorted and both begin at the cutoff.
        let wide = if main > bias { &fit_main } else { &fit_bias };
        let first = wide.rows()[0];
        let count = wide.rows().len();
        let mut plain = vec![0.0; count];
        for (&i, w) in fit_main.rows().iter().zip(fit_main.weights()) {
            plain[i - first] = *w;
        }
        // h^(p+1) (e_0' G^-1 L) times the coefficient of order p + 1 of the wider fit.
        let constant: f64 = fit_main
            .weights()
            .iter()
            .zip(fit_main.offsets())
            .map(|(w, u)| w * u.powi(order as i32 + 1))
            .sum();
        let ratio = main / bias;
        let slope = fit_bias.scaled_weights(order + 1);
        let mut corrected = plain.clone();
        for (&i, w) in fit_bias.rows().iter().zip(slope) {
            corrected[i - first] -= constant * ratio.powi(order as i32 + 1) * w;
        }
        let window = first..first + count;
        let mut values = Vec::new();
        let mut all_residuals = Vec::new();
        for y in &rows.outcomes {
            let y = &y[window.clone()];
            let sum = |w: &[f64]| w.iter().zip(y).map(|(w, y)| w * y).sum::<f64>();
            values.push([sum(&plain), sum(&corrected)]);
        }
        for y in &rows.outcomes {
            all_residuals.push(residuals::of_window(
                &rows.x[window.clone()],
                &y[window.clone()],
                [(&fit_main, y), (&fit_bias, y)],
                first,
                settings,
            )?);
        }
        Ok(Self { plain, corrected, values, residuals: all_residuals, effective: fit_main.rows().len() })
    }

    /// Variances of the plain and the corrected value of `sum_d shares_d outcome_d`.
    fn variances(&self, shares: &[f64]) -> [f64; 2] {
        [(&self.plain, 0), (&self.corrected, 1)].map(|(weights, which)| {
            weights
                .iter()
                .enumerate()
                .map(|(i, w)| {
                    let e: f64 = shares.iter().zip(&self.residuals).map(|(s, r)| s * r[which][i]).sum();
                    (w * e) * (w * e)
                })
                .sum()
        })
    }
}

fn combined(
    fits: &[SideFit; 2],
    rows: [usize; 2],
    fuzzy: bool,
    bandwidth: f64,
    bias_bandwidth: f64,
    level: f64,
) -> Result<Jump, FitError> {
    let [below, above] = fits;
    // Plain and corrected jump of an outcome.
    let jump = |d: usize| [0, 1].map(|which| above.values[d][which] - below.values[d][which]);
    let errors = |shares: &[f64]| {
        let (a, b) = (above.variances(shares), below.variances(shares));
        [0, 1].map(|which: usize| (a[which] + b[which]).sqrt())
    };
    let normal = |value: f64, se: f64| Estimate::symmetric(value, se, f64::INFINITY, level);
    let outcome = jump(0);
    let (values, [se, robust_se], treatment) = if fuzzy {
        let treated = jump(1);
        if treated[0].abs() < 1e-12 {
            return Err(StatsError::Undefined {
                what: "the fuzzy estimate",
                why: "the treatment does not jump at the cutoff",
            }
            .into());
        }
        let ratio = outcome[0] / treated[0];
        let shares = [1.0 / treated[0], -ratio / treated[0]];
        let bias = shares[0] * (outcome[0] - outcome[1]) + shares[1] * (treated[0] - treated[1]);
        let [plain, robust] = errors(&[0.0, 1.0]);
        let first = [normal(treated[0], plain)?, normal(treated[1], robust)?];
        ([ratio, ratio - bias], errors(&shares), Some(first))
    } else {
        (outcome, errors(&[1.0]), None)
    };
    let estimates = [normal(values[0], se)?, normal(values[1], se)?, normal(values[1], robust_se)?];
    let [conventional, bias_corrected, robust] = estimates;
    Ok(Jump {
        p_values: estimates.map(|e| normal_two_sided(e.value / e.se)),
        conventional,
        bias_corrected,
        robust,
        sides: [below.values[0][0], above.values[0][0]],
        bandwidth,
        bias_bandwidth,
        rows,
        effective_rows: [below.effective, above.effective],
        treatment,
    })
}

//! Data-driven bandwidths for the jump of a regression at a cutoff, of one outcome or of a curve of outcomes
//! (Van Dijcke, 2025, appendix: the three-step rule; Imbens & Kalyanaraman, 2012, for one outcome).
//!
//! For a local polynomial of order `s` the (integrated) mean squared error is least at
//!
//! `h = (C' / (2 (s + 1) C^2))^(1 / (2 s + 3)) n^(-1 / (2 s + 3))`,
//!
//! where, with the one-sided moments `G = int k r r'`, `L = int u^(s+1) k r`, `P = int k^2 r r'` of each half line, the
//! derivatives `D` of order `s + 1` and the residual variances `V` at the cutoff and the density `f` of `x` there,
//!
//! `C = e_0' G_+^-1 L_+ D_+ / (s + 1)! - (the same below)`,
//! `C' = (V_+ e_0' G_+^-1 P_+ G_+^-1 e_0 + (the same below)) / f`.
//!
//! 1. `f` is the kernel density estimate with the width `1.06 sd(x) n^(-1/5)`; `D` and `V` (divisor rows less one) come from a
//!    polynomial of order `s + 1` through all rows of a side. They give the pilot bandwidth.
//! 2. `D` comes again from the local polynomial of order `s + 1` with the pilot bandwidth, and `V` from its residuals, weighted
//!    by the kernel: `sum k e^2 / sum k`.
//! 3. The formula again gives the bandwidth.

use super::{Kernel, LocalPolynomial, Side};
use crate::descriptive::mean_and_variance;
use crate::error::{FitError, StatsError, at_least, finite, length};
use crate::matrix::Matrix;
use nalgebra::DMatrix;

/// Whether the last step keeps the constants made of the kernel's moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Constants {
    /// As derived.
    #[default]
    Keep,
    /// Without them, as a published implementation has it: for comparison.
    Drop,
}

/// The rule for a bandwidth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BandwidthRule {
    /// The kernel of the fit that the bandwidth is for.
    pub kernel: Kernel,
    /// The order `s` that the bandwidth is made for; fits of order `s + 1` with it have their leading bias removed.
    pub order: usize,
    /// Shrink by `n^(-s / ((2 s + 3)(s + 3)))`, for intervals rather than estimates (Calonico, Cattaneo & Farrell, 2018).
    pub coverage: bool,
    /// The constants of the last step.
    pub constants: Constants,
}

impl Default for BandwidthRule {
    fn default() -> Self {
        Self { kernel: Kernel::Triangular, order: 1, coverage: false, constants: Constants::Keep }
    }
}

/// Bandwidths and what they were made of; one entry for each outcome, or one in all for a common bandwidth.
#[derive(Clone, Debug, PartialEq)]
pub struct Bandwidths {
    /// The bandwidths.
    pub values: Vec<f64>,
    /// Those of the first step (enlarged, where a side had fewer than `s + 2` different positions within).
    pub pilot: Vec<f64>,
    /// Density of the positions at the cutoff.
    pub density: f64,
    /// Derivatives of order `s + 1` of the second step, above and below, for each outcome.
    pub derivatives: Vec<(f64, f64)>,
    /// Residual variances of the second step, above and below, for each outcome.
    pub variances: Vec<(f64, f64)>,
    /// Which bandwidths are the rule of thumb `1.06 sd(x) n^(-1 / (2 s + 1))`, because the biases of both sides cancel.
    pub rule_of_thumb: Vec<bool>,
}

/// A bandwidth for each outcome (column of `outcomes`, `[n, outcomes]`).
///
/// # Errors
/// [`FitError::Input`] for values that are not finite, other lengths, or fewer than `s + 4` rows on a side;
/// [`FitError::RankDeficient`] for fewer than `s + 2` different positions on a side.
pub fn mse_optimal(
    x: &[f64],
    outcomes: &Matrix,
    cutoff: f64,
    rule: &BandwidthRule,
) -> Result<Bandwidths, FitError> {
    let setting = Setting::new(x, outcomes, cutoff, rule)?;
    let mut result = setting.empty();
    for q in 0..outcomes.cols() {
        let column = [outcomes.column(q)];
        let first = setting.global(&column)?;
        let (pilot, _) = setting.bandwidth(&first, Constants::Keep);
        let (pilot, second) = setting.local(&column, pilot)?;
        let (value, rule_of_thumb) = setting.bandwidth(&second, rule.constants);
        result.push(pilot, setting.shrunk(value), rule_of_thumb, &second);
    }
    Ok(result)
}

/// One bandwidth for all outcomes, which are the points of a curve on an equally spaced grid: `C^2` and `C'` are replaced by
/// their integrals over the grid (sums; the step cancels).
///
/// # Errors
/// As [`mse_optimal`].
pub fn imse_optimal(
    x: &[f64],
    outcomes: &Matrix,
    cutoff: f64,
    rule: &BandwidthRule,
) -> Result<Bandwidths, FitError> {
    let setting = Setting::new(x, outcomes, cutoff, rule)?;
    let columns: Vec<Vec<f64>> = (0..outcomes.cols()).map(|q| outcomes.column(q)).collect();
    let first = setting.global(&columns)?;
    let (pilot, _) = setting.bandwidth(&first, Constants::Keep);
    let (pilot, second) = setting.local(&columns, pilot)?;
    let (value, rule_of_thumb) = setting.bandwidth(&second, rule.constants);
    let mut result = setting.empty();
    result.push(pilot, setting.shrunk(value), rule_of_thumb, &second);
    Ok(result)
}

/// Derivative and variance above and below, for each outcome.
struct Stage {
    derivatives: Vec<(f64, f64)>,
    variances: Vec<(f64, f64)>,
    /// Largest absolute outcome: what rounding is relative to.
    size: f64,
}

struct Setting<'a> {
    x: &'a [f64],
    cutoff: f64,
    rule: &'a BandwidthRule,
    deviation: f64,
    density: f64,
    /// Distance of the farthest row.
    reach: f64,
    /// Polynomials through all rows above and below.
    whole: [LocalPolynomial; 2],
    /// `e_0' G^-1 L` above and below.
    bias: (f64, f64),
    /// `e_0' G^-1 P G^-1 e_0`, the same on both sides.
    variance: f64,
}

impl<'a> Setting<'a> {
    fn new(x: &'a [f64], outcomes: &Matrix, cutoff: f64, rule: &'a BandwidthRule) -> Result<Self, FitError> {
        finite("x", x)?;
        outcomes.check("the outcomes")?;
        length("the outcomes (rows)", x.len(), outcomes.rows())?;
        if !cutoff.is_finite() {
            let (what, allowed) = ("the cutoff", "finite numbers");
            return Err(StatsError::Setting { what, value: cutoff, allowed }.into());
        }
        let above = x.iter().filter(|x| Side::Above.holds(**x, cutoff)).count();
        at_least("the side below the cutoff (rows)", rule.order + 4, x.len() - above)?;
        at_least("the side above the cutoff (rows)", rule.order + 4, above)?;
        let n = x.len() as f64;
        let deviation = mean_and_variance(x).1.sqrt();
        let width = 1.06 * deviation * libm::pow(n, -0.2);
        let near = x.iter().map(|x| rule.kernel.at((x - cutoff) / width)).sum::<f64>();
        let density = near / (n * width);
        if density <= 0.0 {
            return Err(StatsError::Undefined {
                what: "the data-driven bandwidth",
                why: "no row lies near the cutoff (within 1.06 sd(x) n^(-1/5)), so its density there is 0; give a bandwidth",
            }
            .into());
        }
        let (bias, variance) = kernel_constants(rule.kernel, rule.order)?;
        // u^(s+1) and the odd moments change sign below: e_0' G^-1 L keeps only the sign of u^(s+1).
        let below = if rule.order % 2 == 1 { bias } else { -bias };
        let reach = x.iter().fold(0.0_f64, |m, x| m.max((x - cutoff).abs()));
        let whole =
            |side| LocalPolynomial::of_checked(x, cutoff, side, Kernel::Uniform, rule.order + 1, reach);
        let whole = [whole(Side::Above)?, whole(Side::Below)?];
        Ok(Self { x, cutoff, rule, deviation, density, reach, whole, bias: (bias, below), variance })
    }

    fn empty(&self) -> Bandwidths {
        Bandwidths {
            values: Vec::new(),
            pilot: Vec::new(),
            density: self.density,
            derivatives: Vec::new(),
            variances: Vec::new(),
            rule_of_thumb: Vec::new(),
        }
    }

    /// Step 1: polynomials through all rows of a side.
    fn global(&self, outcomes: &[Vec<f64>]) -> Result<Stage, FitError> {
        let [above, below] = &self.whole;
        self.stage(outcomes, above, below, |fit, residuals| {
            squares(residuals, |_| 1.0) / (fit.rows().len() - 1) as f64
        })
    }

    /// Step 2: local polynomials with the pilot, enlarged where too few positions lie within.
    fn local(&self, outcomes: &[Vec<f64>], pilot: f64) -> Result<(f64, Stage), FitError> {
        let pilot = pilot.max(self.least(Side::Above)).max(self.least(Side::Below));
        let fit = |side| {
            let order = self.rule.order + 1;
            LocalPolynomial::of_checked(self.x, self.cutoff, side, self.rule.kernel, order, pilot)
        };
        let (above, below) = (fit(Side::Above)?, fit(Side::Below)?);
        let stage = self.stage(outcomes, &above, &below, |fit, residuals| {
            let weights = fit.kernel_weights();
            squares(residuals, |i| weights[i]) / weights.iter().sum::<f64>()
        })?;
        Ok((pilot, stage))
    }

    /// The least bandwidth with one more position (`s + 3`) than the local polynomial has coefficients on a side, just above
    /// the distance of the last; the farthest when there are fewer.
    fn least(&self, side: Side) -> f64 {
        let mut distances: Vec<f64> =
            self.x.iter().filter(|x| side.holds(**x, self.cutoff)).map(|x| (x - self.cutoff).abs()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        distances.dedup();
        let last = (self.rule.order + 2).min(distances.len().saturating_sub(1));
        // Kernels vanish at the very edge.
        distances.get(last).map_or(0.0, |d| d * (1.0 + 1e-6))
    }

    fn stage(
        &self,
        outcomes: &[Vec<f64>],
        above: &LocalPolynomial,
        below: &LocalPolynomial,
        variance: impl Fn(&LocalPolynomial, &[f64]) -> f64,
    ) -> Result<Stage, FitError> {
        let factorial: f64 = (1..=self.rule.order + 1).map(|j| j as f64).product();
        let mut stage = Stage { derivatives: Vec::new(), variances: Vec::new(), size: 0.0 };
        for y in outcomes {
            let of = |fit: &LocalPolynomial| -> Result<(f64, f64), FitError> {
                let coefficients = fit.coefficients(y)?;
                Ok((factorial * coefficients[self.rule.order + 1], variance(fit, &fit.residuals(y)?)))
            };
            let ((d_above, v_above), (d_below, v_below)) = (of(above)?, of(below)?);
            stage.derivatives.push((d_above, d_below));
            stage.variances.push((v_above, v_below));
            stage.size = y.iter().fold(stage.size, |m, y| m.max(y.abs()));
        }
        Ok(stage)
    }

    /// The formula, summed over the outcomes; whether it is the rule of thumb.
    fn bandwidth(&self, stage: &Stage, constants: Constants) -> (f64, bool) {
        let s = self.rule.order as f64;
        let n = self.x.len() as f64;
        let factorial: f64 = (1..=self.rule.order + 1).map(|j| j as f64).product();
        let (bias, variance) = match constants {
            Constants::Keep => (self.bias, self.variance),
            Constants::Drop => ((1.0, 1.0), 1.0),
        };
        let mut squared_bias = 0.0;
        let mut largest = 0.0_f64;
        for &(above, below) in &stage.derivatives {
            let (plus, minus) = (bias.0 * above / factorial, bias.1 * below / factorial);
            squared_bias += (plus - minus) * (plus - minus);
            largest = largest.max(plus.abs()).max(minus.abs());
        }
        let variance: f64 = stage.variances.iter().map(|(a, b)| variance * (a + b) / self.density).sum();
        // Nothing is left beside the parts of each side, or beside the rounding of the outcomes.
        let count = (stage.derivatives.len() as f64).sqrt();
        let rounding = 1e-12 * stage.size / libm::pow(self.reach, s + 1.0);
        let nothing = squared_bias.sqrt() <= count * (1e-10 * largest).max(rounding);
        let h = libm::pow(variance / (2.0 * (s + 1.0) * squared_bias) / n, 1.0 / (2.0 * s + 3.0));
        if nothing || !h.is_finite() || h <= 0.0 {
            (1.06 * self.deviation * libm::pow(n, -1.0 / (2.0 * s + 1.0)), true)
        } else {
            (h, false)
        }
    }

    fn shrunk(&self, h: f64) -> f64 {
        let s = self.rule.order as f64;
        if self.rule.coverage {
            h * libm::pow(self.x.len() as f64, -s / ((2.0 * s + 3.0) * (s + 3.0)))
        } else {
            h
        }
    }
}

impl Bandwidths {
    fn push(&mut self, pilot: f64, value: f64, rule_of_thumb: bool, stage: &Stage) {
        self.pilot.push(pilot);
        self.values.push(value);
        self.rule_of_thumb.push(rule_of_thumb);
        self.derivatives.extend_from_slice(&stage.derivatives);
        self.variances.extend_from_slice(&stage.variances);
    }
}

fn squares(residuals: &[f64], weight: impl Fn(usize) -> f64) -> f64 {
    residuals.iter().enumerate().map(|(i, e)| weight(i) * e * e).sum()
}

/// `e_0' G^-1 L` and `e_0' G^-1 P G^-1 e_0` on the upper half line.
fn kernel_constants(kernel: Kernel, s: usize) -> Result<(f64, f64), FitError> {
    let gram = DMatrix::from_fn(s + 1, s + 1, |i, j| kernel.moment(i + j));
    let square = DMatrix::from_fn(s + 1, s + 1, |i, j| kernel.moment_of_square(i + j));
    let undefined = StatsError::Undefined { what: "the bandwidth rule", why: "the order is too large" };
    let inverse = gram.cholesky().ok_or(undefined)?.inverse();
    let first = inverse.column(0);
    let bias = (0..=s).map(|j| first[j] * kernel.moment(s + 1 + j)).sum();
    let variance = (first.transpose() * square * first)[(0, 0)];
    Ok((bias, variance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn data(n: usize) -> (Vec<f64>, Matrix) {
        let mut rng = Stream::new(5, "bandwidth").at(0);
        let x: Vec<f64> = (0..n).map(|_| rng.between(-1.0, 1.0)).collect();
        let outcomes = Matrix::from_fn(n, 3, |i, q| {
            let curve = libm::exp(x[i]) + if x[i] >= 0.0 { 2.0 * x[i] * x[i] } else { 0.0 };
            curve * (1.0 + q as f64) + 0.3 * rng.normal()
        });
        (x, outcomes)
    }

    #[test]
    fn constants_of_the_triangular_kernel_are_known() {
        // Local linear at an edge: bias constant -1/10, variance constant 24/5.
        let (bias, variance) = kernel_constants(Kernel::Triangular, 1).unwrap();
        assert!((bias + 0.1).abs() < 1e-13 && (variance - 4.8).abs() < 1e-12, "{bias} {variance}");
        let (bias, variance) = kernel_constants(Kernel::Uniform, 1).unwrap();
        assert!((bias + 1.0 / 6.0).abs() < 1e-13 && (variance - 4.0).abs() < 1e-12, "{bias} {variance}");
    }

    #[test]
    fn bandwidths_move_with_the_axis_and_not_with_the_outcome() {
        let (x, outcomes) = data(400);
        let rule = BandwidthRule::default();
        let plain = mse_optimal(&x, &outcomes, 0.0, &rule).unwrap();
        assert!(plain.values.iter().all(|h| *h > 0.02 && *h < 3.0), "{plain:?}");
        let stretched: Vec<f64> = x.iter().map(|x| 1.0 + 50.0 * x).collect();
        let long = mse_optimal(&stretched, &outcomes, 1.0, &rule).unwrap();
        let moved = Matrix::from_fn(400, 3, |i, q| 7.0 - 20.0 * outcomes.get(i, q));
        let same = mse_optimal(&x, &moved, 0.0, &rule).unwrap();
        for q in 0..3 {
            assert!((long.values[q] / plain.values[q] / 50.0 - 1.0).abs() < 1e-8);
            assert!((same.values[q] / plain.values[q] - 1.0).abs() < 1e-8);
        }
        // Turned about the cutoff (no position is on it).
        let turned: Vec<f64> = x.iter().map(|x| -x).collect();
        let mirror = mse_optimal(&turned, &outcomes, 0.0, &rule).unwrap();
        for q in 0..3 {
            assert!((mirror.values[q] / plain.values[q] - 1.0).abs() < 1e-9);
        }
        let common = imse_optimal(&x, &outcomes, 0.0, &rule).unwrap();
        assert_eq!((common.values.len(), common.derivatives.len()), (1, 3));
        let (least, most) =
            plain.values.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), h| (a.min(*h), b.max(*h)));
        assert!(common.values[0] > 0.5 * least && common.values[0] < 2.0 * most);
        // One outcome alone: both rules are the same.
        let single = Matrix::from_fn(400, 1, |i, _| outcomes.get(i, 1));
        assert_eq!(
            imse_optimal(&x, &single, 0.0, &rule).unwrap(),
            mse_optimal(&x, &single, 0.0, &rule).unwrap()
        );
    }

    #[test]
    fn options_change_what_they_say() {
        let (x, outcomes) = data(400);
        let rule = BandwidthRule::default();
        let plain = mse_optimal(&x, &outcomes, 0.0, &rule).unwrap();
        let shrunk = mse_optimal(&x, &outcomes, 0.0, &BandwidthRule { coverage: true, ..rule }).unwrap();
        let factor = libm::pow(400.0, -1.0 / 20.0);
        assert!((shrunk.values[0] / plain.values[0] - factor).abs() < 1e-12);
        let dropped =
            mse_optimal(&x, &outcomes, 0.0, &BandwidthRule { constants: Constants::Drop, ..rule }).unwrap();
        // (4.8 / 0.01)^(1/5) is what the constants are worth.
        let worth = libm::pow(480.0, 0.2);
        assert!((plain.values[0] / dropped.values[0] / worth - 1.0).abs() < 1e-12);
    }

    #[test]
    fn biases_that_cancel_give_the_rule_of_thumb() {
        // The same curve on both sides: equal second derivatives, to the last bit.
        let x: Vec<f64> = (0..100).map(|i| (i as f64 - 49.5) / 50.0).collect();
        let y = Matrix::from_fn(100, 1, |_, _| 1.0);
        let found = mse_optimal(&x, &y, 0.0, &BandwidthRule::default()).unwrap();
        let sd = mean_and_variance(&x).1.sqrt();
        assert!(found.rule_of_thumb[0]);
        assert!((found.values[0] - 1.06 * sd * libm::pow(100.0, -1.0 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (x, outcomes) = data(60);
        let rule = BandwidthRule::default();
        let message = |x: &[f64], y: &Matrix, c: f64| mse_optimal(x, y, c, &rule).unwrap_err().to_string();
        assert!(message(&x, &outcomes, 2.0).contains("the side above the cutoff (rows) needs at least 5"));
        assert!(message(&x[1..], &outcomes, 0.0).contains("the outcomes (rows)"));
        assert!(message(&x, &outcomes, f64::NAN).contains("the cutoff"));
        let gap: Vec<f64> =
            (0..60).map(|i| if i < 30 { -500.0 - i as f64 } else { 500.0 + i as f64 }).collect();
        assert!(message(&gap, &outcomes, 0.0).contains("no row lies near the cutoff"));
    }
}

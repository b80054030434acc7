//! Is the density of a running variable continuous at a cutoff? (McCrary, 2008.)
//!
//! The positions are counted in bins that do not straddle the cutoff, and the counts are smoothed on each side by a local linear
//! fit with a triangular kernel; the statistic is the log ratio of the two densities at the cutoff,
//!
//! `theta = log f_+ - log f_-`, `se = ((24/5) / (n h) (1/f_+ + 1/f_-))^(1/2)`.
//!
//! The bins are `2 sd(x) n^(-1/2)` wide. The default bandwidth is the mean over the sides of
//! `3.348 (s^2 (b - a) / sum_j f''(x_j)^2)^(1/5)`, with residual variance `s^2` and curvature of a quartic through the counts of the
//! whole side from `a` to `b`.

use crate::covariance::Covariance;
use crate::descriptive::mean_and_variance;
use crate::distribution::normal_two_sided;
use crate::error::{FitError, StatsError, finite};
use crate::interval::{Estimate, check_level};
use crate::linear;
use crate::local_polynomial::{Kernel, LocalPolynomial, Side};
use crate::matrix::Matrix;

/// How the test is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityTestSettings {
    /// The cutoff; positions at it count as above.
    pub cutoff: f64,
    /// Width of the smoothing; by default from the data.
    pub bandwidth: Option<f64>,
    /// Width of the bins; by default `2 sd(x) n^(-1/2)`.
    pub bin: Option<f64>,
    /// Level of the interval.
    pub level: f64,
}

impl Default for DensityTestSettings {
    fn default() -> Self {
        Self { cutoff: 0.0, bandwidth: None, bin: None, level: 0.95 }
    }
}

/// The test that the density does not jump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityTest {
    /// Density at the cutoff, from below and from above.
    pub densities: [f64; 2],
    /// The log of their ratio, above over below, with its interval.
    pub log_ratio: Estimate,
    /// Two-sided normal p value of a log ratio of 0.
    pub p_value: f64,
    /// Width of the smoothing.
    pub bandwidth: f64,
    /// Width of the bins.
    pub bin: f64,
}

/// The density test at a cutoff.
///
/// # Errors
/// [`FitError::Input`] for positions that are not finite, settings out of range, a side or a window with too few bins, or a
/// density that is estimated not to be above 0 at the cutoff.
pub fn density_test(x: &[f64], settings: &DensityTestSettings) -> Result<DensityTest, FitError> {
    finite("x", x)?;
    check_level(settings.level)?;
    crate::error::at_least("a density test (rows)", 10, x.len())?;
    for (what, value) in [("the bandwidth", settings.bandwidth), ("the width of the bins", settings.bin)] {
        if let Some(value) = value.filter(|v| !(*v > 0.0 && v.is_finite())) {
            return Err(StatsError::Setting { what, value, allowed: "finite numbers above 0" }.into());
        }
    }
    let n = x.len() as f64;
    let bin = settings.bin.unwrap_or(2.0 * mean_and_variance(x).1.sqrt() / n.sqrt());
    if bin.is_nan() || bin <= 0.0 {
        return Err(StatsError::Undefined { what: "the density test", why: "all positions are equal" }.into());
    }
    let sides = [
        Counts::new(x, settings.cutoff, bin, Side::Below)?,
        Counts::new(x, settings.cutoff, bin, Side::Above)?,
    ];
    let bandwidth = match settings.bandwidth {
        Some(bandwidth) => bandwidth,
        None => 0.5 * (sides[0].bandwidth(settings.cutoff)? + sides[1].bandwidth(settings.cutoff)?),
    };
    let mut densities = [0.0; 2];
    for ((density, counts), side) in densities.iter_mut().zip(&sides).zip([Side::Below, Side::Above]) {
        let fit =
            LocalPolynomial::new(&counts.centres, settings.cutoff, side, Kernel::Triangular, 1, bandwidth)?;
        *density = fit.value(&counts.heights)?;
        if *density <= 0.0 {
            return Err(StatsError::Undefined {
                what: "the density test",
                why: "the density at the cutoff is estimated not to be above 0 on a side; widen the bandwidth",
            }
            .into());
        }
    }
    let [below, above] = densities;
    let se = (4.8 / (n * bandwidth) * (1.0 / above + 1.0 / below)).sqrt();
    let log_ratio = Estimate::symmetric(libm::log(above / below), se, f64::INFINITY, settings.level)?;
    Ok(DensityTest { densities, log_ratio, p_value: normal_two_sided(log_ratio.value / se), bandwidth, bin })
}

/// Bins of one side: centres, and shares of all rows per unit of length.
struct Counts {
    centres: Vec<f64>,
    heights: Vec<f64>,
}

/// More bins than this on a side are refused: the width must be a mistake.
const MOST_BINS: f64 = 1e6;

impl Counts {
    fn new(x: &[f64], cutoff: f64, bin: f64, side: Side) -> Result<Self, FitError> {
        // Bin k of a side lies k widths from the cutoff.
        let place = |x: f64| {
            if side == Side::Above { ((x - cutoff) / bin).floor() } else { ((cutoff - x) / bin).ceil() - 1.0 }
        };
        let on_side = || x.iter().filter(|x| side.holds(**x, cutoff)).map(|x| place(*x).max(0.0));
        let last = on_side().fold(-1.0, f64::max);
        if last >= MOST_BINS {
            let (what, allowed) =
                ("the width of the bins", "widths that make fewer than a million bins on a side");
            return Err(StatsError::Setting { what, value: bin, allowed }.into());
        }
        let count = (last + 1.0) as usize;
        crate::error::at_least("a side of the density test (bins)", 6, count)?;
        let mut heights = vec![0.0; count];
        let unit = 1.0 / (x.len() as f64 * bin);
        on_side().for_each(|k| heights[k as usize] += unit);
        let sign = if side == Side::Above { 1.0 } else { -1.0 };
        let centres = (0..count).map(|k| cutoff + sign * (k as f64 + 0.5) * bin).collect();
        Ok(Self { centres, heights })
    }

    /// The rule of thumb of one side.
    fn bandwidth(&self, cutoff: f64) -> Result<f64, FitError> {
        let count = self.centres.len();
        let span = (self.centres[count - 1] - self.centres[0]).abs();
        let place = |k: usize| (self.centres[k] - cutoff) / span;
        let design = Matrix::from_fn(count, 5, |k, j| place(k).powi(j as i32));
        let fit = linear::ols(&design, &self.heights, Covariance::Classical)?;
        let b = &fit.coefficients;
        let curvature: f64 = (0..count)
            .map(|k| {
                let u = place(k);
                let bend = (2.0 * b[2] + 6.0 * b[3] * u + 12.0 * b[4] * u * u) / (span * span);
                bend * bend
            })
            .sum();
        let h = 3.348 * libm::pow(fit.residual_variance * span / curvature, 0.2);
        // Counts without curvature leave the whole side.
        Ok(if h.is_finite() && h > 0.0 { h.min(span) } else { span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn positions(n: usize, jump: f64) -> Vec<f64> {
        let mut rng = Stream::new(4, "running").at(0);
        // Uniform with the share below the cutoff lowered by a jump.
        (0..n)
            .map(|_| {
                let x = rng.between(-1.0, 1.0);
                if x < 0.0 && rng.chance(jump) { -x } else { x }
            })
            .collect()
    }

    #[test]
    fn a_jump_is_found_and_a_flat_density_is_not() {
        let flat = density_test(&positions(4000, 0.0), &DensityTestSettings::default()).unwrap();
        assert!(flat.p_value > 0.05 && flat.log_ratio.contains(0.0), "{flat:?}");
        let noise = (4.8 * 0.5 / (4000.0 * flat.bandwidth)).sqrt();
        assert!(flat.densities.iter().all(|f| (f - 0.5).abs() < 4.0 * noise), "{flat:?}");
        let jump = density_test(&positions(4000, 0.4), &DensityTestSettings::default()).unwrap();
        assert!(jump.p_value < 1e-6 && jump.log_ratio.contains(libm::log(1.4 / 0.6)), "{jump:?}");
    }

    #[test]
    fn it_turns_with_the_axis_and_does_not_depend_on_its_unit() {
        let x = positions(1500, 0.2);
        let settings = DensityTestSettings::default();
        let plain = density_test(&x, &settings).unwrap();
        let turned = density_test(&x.iter().map(|x| -x).collect::<Vec<_>>(), &settings).unwrap();
        assert!((turned.log_ratio.value + plain.log_ratio.value).abs() < 1e-9);
        let shifted = density_test(
            &x.iter().map(|x| 100.0 + 8.0 * x).collect::<Vec<_>>(),
            &DensityTestSettings { cutoff: 100.0, ..settings },
        )
        .unwrap();
        assert!((shifted.log_ratio.value - plain.log_ratio.value).abs() < 1e-9);
        assert!((shifted.bandwidth / plain.bandwidth - 8.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let x = positions(200, 0.0);
        let message = |s: DensityTestSettings| density_test(&x, &s).unwrap_err().to_string();
        let settings = DensityTestSettings::default();
        assert!(message(DensityTestSettings { cutoff: 1.0, ..settings }).contains("(bins) needs at least 6"));
        assert!(
            message(DensityTestSettings { bandwidth: Some(-1.0), ..settings })
                .contains("the bandwidth is -1")
        );
        assert!(
            message(DensityTestSettings { bin: Some(1e-12), ..settings }).contains("fewer than a million")
        );
        assert!(density_test(&[1.0; 20], &settings).is_err() && density_test(&x[..5], &settings).is_err());
    }
}

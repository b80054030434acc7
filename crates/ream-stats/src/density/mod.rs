//! Gaussian kernel density of a sample, its logarithm, and the score `d/dx log p(x)`; a density test at a cutoff.
//!
//! `p(x) = sum_i w_i phi((x - x_i) / h) / h` with weights that sum to 1. The score is the weighted mean of the kernels' own,
//!
//! `s(x) = sum_i w_i phi(u_i) (-u_i / h) / sum_i w_i phi(u_i)`, `u_i = (x - x_i) / h`,
//!
//! computed relative to the nearest point, so that it is right where the density itself is too small for a double.
//!
//! ```
//! use ream_stats::density::{Bandwidth, Kde, ScoreCurve};
//! let values: Vec<f64> = (0..101).map(|i| (i as f64 - 50.0) / 25.0).collect();
//! let kde = Kde::new(&values, None, Bandwidth::Scott)?;
//! assert!(kde.score(0.0).abs() < 1e-12 && kde.score(1.5) < 0.0 && kde.score(-1.5) > 0.0);
//! let curve = ScoreCurve::new(&kde, -2.0, 2.0, 512)?;
//! assert!((curve.at(1.5) - kde.score(1.5)).abs() < 1e-4);
//! assert_eq!(curve.outside(&[-3.0, 0.0, 2.5]), 2);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

mod cutoff;
mod gaussians;

pub use cutoff::{DensityTest, DensityTestSettings, density_test};

use gaussians::gaussians;

use crate::descriptive::effective_sample_size;
use crate::error::{StatsError, at_least, finite, length, not_negative};
use crate::sum::compensated;
use core::f64::consts::PI;
use rayon::prelude::*;

/// The width of the kernels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bandwidth {
    /// `sd n^(-1/5)` (Scott, 1992), sd with the divisor `n - 1`, as scipy has it.
    Scott,
    /// `sd (3 n / 4)^(-1/5)` (Silverman, 1986), as scipy has it.
    Silverman,
    /// A number above 0.
    Fixed(f64),
}

/// A Gaussian kernel density. With weights `n` is the effective number of values and the standard deviation is weighted.
#[derive(Clone, Debug, PartialEq)]
pub struct Kde {
    /// Ascending.
    points: Vec<f64>,
    /// Sum to 1.
    weights: Vec<f64>,
    bandwidth: f64,
    /// Least and largest value of the sample.
    range: (f64, f64),
}

/// Kernels whose exponent is this far below the nearest one's are left out: they are below `e^-45` of it.
const FAR: f64 = 90.0;

impl Kde {
    /// The exact density of a sample.
    ///
    /// # Errors
    /// [`StatsError`] for fewer than two values, values or weights that are not finite, weights that are negative or all 0, a
    /// bandwidth that is not above 0, or values that are all equal (unless the bandwidth is a number).
    pub fn new(values: &[f64], weights: Option<&[f64]>, bandwidth: Bandwidth) -> Result<Self, StatsError> {
        at_least("a density (values)", 2, values.len())?;
        finite("values", values)?;
        if let Some(weights) = weights {
            length("weights", values.len(), weights.len())?;
            not_negative("weights", weights)?;
        }
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let total = compensated((0..values.len()).map(weight));
        if total <= 0.0 {
            return Err(StatsError::Undefined { what: "the density", why: "all weights are 0" });
        }
        let bandwidth = width(values, weights, total, bandwidth)?;
        let mut pairs: Vec<(f64, f64)> =
            (0..values.len()).filter(|&i| weight(i) > 0.0).map(|i| (values[i], weight(i) / total)).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let range = (pairs[0].0, pairs[pairs.len() - 1].0);
        let (points, weights) = pairs.into_iter().unzip();
        Ok(Self { points, weights, bandwidth, range })
    }

    /// The density of the sample after linear binning on `cells + 1` equally spaced points: each value is shared out between
    /// the points beside it (Jones & Lotwick, 1984). For many values: an evaluation costs at most `cells`, and the relative error
    /// is of the order of `(cell / bandwidth)^2`. The bandwidth is that of the unbinned sample.
    ///
    /// # Errors
    /// As [`Kde::new`]; [`StatsError`] for fewer than two cells.
    pub fn binned(
        values: &[f64],
        weights: Option<&[f64]>,
        bandwidth: Bandwidth,
        cells: usize,
    ) -> Result<Self, StatsError> {
        if cells < 2 {
            return Err(StatsError::Setting {
                what: "the number of cells",
                value: cells as f64,
                allowed: "2 or more",
            });
        }
        let exact = Self::new(values, weights, bandwidth)?;
        let (low, high) = exact.range;
        if low == high {
            return Ok(exact);
        }
        let step = (high - low) / cells as f64;
        let mut shares = vec![0.0; cells + 1];
        for (x, w) in exact.points.iter().zip(&exact.weights) {
            let place = (x - low) / step;
            let cell = (place as usize).min(cells - 1);
            let right = (place - cell as f64).clamp(0.0, 1.0);
            shares[cell] += w * (1.0 - right);
            shares[cell + 1] += w * right;
        }
        let kept: Vec<usize> = (0..=cells).filter(|&k| shares[k] > 0.0).collect();
        Ok(Self {
            points: kept.iter().map(|&k| low + k as f64 * step).collect(),
            weights: kept.iter().map(|&k| shares[k]).collect(),
            ..exact
        })
    }

    /// The width of the kernels.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// Least and largest value of the sample.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        self.range
    }

    /// The density at `x`; 0 where it is too small for a double. NaN for NaN.
    #[must_use]
    pub fn density(&self, x: f64) -> f64 {
        libm::exp(self.log_density(x))
    }

    /// [`Kde::density`] at many places, on all threads and many kernels at once: equal to it to about 13 digits.
    #[must_use]
    pub fn densities(&self, x: &[f64]) -> Vec<f64> {
        let scale = self.bandwidth * (2.0 * PI).sqrt();
        let one = |&x: &f64| {
            if x.is_nan() {
                return x;
            }
            let (least, exponent) = self.nearest(x);
            let (points, weights) = self.within(x, least);
            libm::exp(exponent + libm::log(gaussians(points, weights, x, 1.0 / self.bandwidth, least)))
                / scale
        };
        x.par_iter().with_min_len(4).map(one).collect()
    }

    /// `log p(x)`.
    #[must_use]
    pub fn log_density(&self, x: f64) -> f64 {
        let sums = self.sums(x);
        sums.exponent + libm::log(sums.zero) - libm::log(self.bandwidth * (2.0 * PI).sqrt())
    }

    /// The score `d/dx log p(x)`: positive below a mode, negative above it.
    #[must_use]
    pub fn score(&self, x: f64) -> f64 {
        let sums = self.sums(x);
        -sums.first / sums.zero / self.bandwidth
    }

    /// `d^2/dx^2 log p(x)`, the slope of the score.
    #[must_use]
    pub fn score_slope(&self, x: f64) -> f64 {
        let sums = self.sums(x);
        let mean = sums.first / sums.zero;
        (sums.second / sums.zero - mean * mean - 1.0) / (self.bandwidth * self.bandwidth)
    }

    /// [`Kde::score`] at many places, on all threads.
    #[must_use]
    pub fn scores(&self, x: &[f64]) -> Vec<f64> {
        x.par_iter().with_min_len(64).map(|&x| self.score(x)).collect()
    }

    /// The distance of the nearest point, in bandwidths, and the exponent of its kernel.
    fn nearest(&self, x: f64) -> (f64, f64) {
        let above = self.points.partition_point(|p| *p < x);
        let distance = |k: usize| self.points.get(k).map_or(f64::INFINITY, |p| (x - p).abs());
        let nearest = distance(above).min(if above > 0 { distance(above - 1) } else { f64::INFINITY });
        let least = nearest / self.bandwidth;
        (least, -0.5 * least * least)
    }

    /// The points whose kernels count at `x`, with their weights.
    fn within(&self, x: f64, least: f64) -> (&[f64], &[f64]) {
        let reach = self.bandwidth * (least * least + FAR).sqrt();
        let from = self.points.partition_point(|p| *p < x - reach);
        let to = self.points.partition_point(|p| *p <= x + reach);
        (&self.points[from..to], &self.weights[from..to])
    }

    /// `sum w e^(-u^2/2 - exponent) u^k` for k of 0, 1, 2, with the exponent of the nearest point.
    fn sums(&self, x: f64) -> Sums {
        if x.is_nan() {
            return Sums { exponent: x, zero: x, first: x, second: x };
        }
        let (least, exponent) = self.nearest(x);
        let (points, weights) = self.within(x, least);
        let mut sums = Sums { exponent, zero: 0.0, first: 0.0, second: 0.0 };
        for (p, w) in points.iter().zip(weights) {
            let u = (x - p) / self.bandwidth;
            // (least - |u|)(least + |u|) / 2 does not cancel far out.
            let part = w * libm::exp(0.5 * (least - u.abs()) * (least + u.abs()));
            sums.zero += part;
            sums.first += part * u;
            sums.second += part * u * u;
        }
        sums
    }
}

struct Sums {
    exponent: f64,
    zero: f64,
    first: f64,
    second: f64,
}

fn width(
    values: &[f64],
    weights: Option<&[f64]>,
    total: f64,
    bandwidth: Bandwidth,
) -> Result<f64, StatsError> {
    if let Bandwidth::Fixed(h) = bandwidth {
        return if h > 0.0 && h.is_finite() {
            Ok(h)
        } else {
            Err(StatsError::Setting { what: "the bandwidth", value: h, allowed: "finite numbers above 0" })
        };
    }
    let weight = |i: usize| weights.map_or(1.0, |w| w[i]) / total;
    let n = match weights {
        Some(weights) => effective_sample_size(weights)?,
        None => values.len() as f64,
    };
    let mean = compensated((0..values.len()).map(|i| weight(i) * values[i]));
    let squares = compensated((0..values.len()).map(|i| weight(i) * (values[i] - mean) * (values[i] - mean)));
    // The divisor n - 1, for weights 1 - sum w^2.
    let deviation = (squares / (1.0 - 1.0 / n)).sqrt();
    let constant = values.iter().enumerate().all(|(i, v)| weight(i) == 0.0 || *v == mean);
    if constant || !(deviation > 0.0 && deviation.is_finite()) {
        return Err(StatsError::Undefined {
            what: "the bandwidth of the density",
            why: "all values are equal; give a number",
        });
    }
    let n = if bandwidth == Bandwidth::Silverman { 0.75 * n } else { n };
    Ok(deviation * libm::pow(n, -0.2))
}

/// A score on an equally spaced grid, interpolated linearly, and continued as a straight line beyond it: where a density was
/// not seen, its estimate says nothing of the score.
///
/// A line beyond an end has the slope of the curve's last cell there, but never a rising one (a tail that grew would push
/// values back towards a stray point).
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreCurve {
    low: f64,
    high: f64,
    scores: Vec<f64>,
}

impl ScoreCurve {
    /// The score of a density on `points` points from `low` to `high`; usually its [`Kde::range`].
    ///
    /// # Errors
    /// [`StatsError`] for fewer than two points or an interval that is empty or not finite.
    pub fn new(kde: &Kde, low: f64, high: f64, points: usize) -> Result<Self, StatsError> {
        at_least("a score curve (points)", 2, points)?;
        let grid: Vec<f64> = (0..points).map(|k| place(low, high, k, points)).collect();
        Self::from_scores(low, high, kde.scores(&grid))
    }

    /// The curve with given scores at equally spaced points from `low` to `high`.
    ///
    /// # Errors
    /// As [`ScoreCurve::new`], or for scores that are not finite.
    pub fn from_scores(low: f64, high: f64, scores: Vec<f64>) -> Result<Self, StatsError> {
        at_least("a score curve (points)", 2, scores.len())?;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(StatsError::Setting {
                what: "the upper end of the score curve",
                value: high,
                allowed: "finite numbers above the lower end",
            });
        }
        finite("the scores", &scores)?;
        Ok(Self { low, high, scores })
    }

    /// The grid.
    #[must_use]
    pub fn grid(&self) -> Vec<f64> {
        (0..self.scores.len()).map(|k| place(self.low, self.high, k, self.scores.len())).collect()
    }

    /// The scores on the grid.
    #[must_use]
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// The score at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        let last = self.scores.len() - 1;
        let step = (self.high - self.low) / last as f64;
        let rise = |k: usize| (self.scores[k + 1] - self.scores[k]) / step;
        if x < self.low {
            return self.scores[0] + rise(0).min(0.0) * (x - self.low);
        }
        if x > self.high {
            return self.scores[last] + rise(last - 1).min(0.0) * (x - self.high);
        }
        let at = (x - self.low) / step;
        let below = (at as usize).min(last - 1);
        self.scores[below] + (at - below as f64) * (self.scores[below + 1] - self.scores[below])
    }

    /// How many of the values lie beyond the ends.
    #[must_use]
    pub fn outside(&self, values: &[f64]) -> usize {
        values.iter().filter(|v| **v < self.low || **v > self.high).count()
    }
}

fn place(low: f64, high: f64, k: usize, points: usize) -> f64 {
    let share = k as f64 / (points - 1) as f64;
    low * (1.0 - share) + high * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ream_rand::Stream;

    fn sample(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = Stream::new(seed, "density").at(0);
        (0..n).map(|_| rng.gamma(2.0)).collect()
    }

    #[test]
    fn densities_at_many_places_are_those_at_each() {
        let values = sample(4, 500);
        let weights: Vec<f64> = (0..500).map(|i| f64::from(i % 3)).collect();
        for weights in [None, Some(weights.as_slice())] {
            let kde = Kde::new(&values, weights, Bandwidth::Scott).unwrap();
            let places: Vec<f64> = (-60..200).map(|k| f64::from(k) * 0.1).collect();
            for (x, got) in places.iter().zip(kde.densities(&places)) {
                let want = kde.density(*x);
                assert!((got - want).abs() <= 1e-13 * want, "{x}: {got} {want}");
            }
            let far = kde.densities(&[f64::NAN, 1e6, f64::INFINITY]);
            assert!(far[0].is_nan() && far[1] == 0.0 && far[2] == 0.0);
        }
    }

    proptest! {
        #[test]
        fn the_score_is_the_derivative_of_the_log_density(seed in 0_u64..200, x in -3.0..12.0_f64) {
            let kde = Kde::new(&sample(seed, 80), None, Bandwidth::Scott).unwrap();
            let e = 1e-5;
            let slope = (kde.log_density(x + e) - kde.log_density(x - e)) / (2.0 * e);
            prop_assert!((kde.score(x) - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{} {}", kde.score(x), slope);
            let bend = (kde.score(x + e) - kde.score(x - e)) / (2.0 * e);
            prop_assert!((kde.score_slope(x) - bend).abs() < 1e-4 * (1.0 + bend.abs()));
        }

        #[test]
        fn shifting_and_scaling(seed in 0_u64..200, x in 0.0..5.0_f64, shift in -9.0..9.0_f64, scale in 0.1..20.0_f64) {
            let values = sample(seed, 60);
            let moved: Vec<f64> = values.iter().map(|v| shift + scale * v).collect();
            for bandwidth in [Bandwidth::Scott, Bandwidth::Silverman] {
                let (a, b) = (Kde::new(&values, None, bandwidth).unwrap(), Kde::new(&moved, None, bandwidth).unwrap());
                let there = shift + scale * x;
                prop_assert!((b.density(there) * scale / a.density(x) - 1.0).abs() < 1e-9);
                prop_assert!((b.score(there) * scale - a.score(x)).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn far_out_the_score_is_that_of_the_last_kernel() {
        let kde = Kde::new(&[0.0, 1.0], None, Bandwidth::Fixed(0.1)).unwrap();
        assert!((kde.score(101.0) + 100.0 / 0.01).abs() < 1e-6);
        assert!((kde.score_slope(101.0) + 100.0).abs() < 1e-6);
        assert_eq!(kde.density(101.0), 0.0);
        assert!(kde.log_density(101.0).is_finite() && kde.score(f64::NAN).is_nan());
    }

    #[test]
    fn the_density_has_mass_1_and_weights_are_copies() {
        let values = sample(1, 50);
        let kde = Kde::new(&values, None, Bandwidth::Silverman).unwrap();
        let mass: f64 = (0..40_000).map(|k| kde.density(-10.0 + k as f64 * 1e-3) * 1e-3).sum();
        assert!((mass - 1.0).abs() < 1e-6, "{mass}");
        let weights: Vec<f64> = (0..50).map(|i| (i % 3) as f64).collect();
        let copies: Vec<f64> = values.iter().zip(&weights).flat_map(|(v, w)| vec![*v; *w as usize]).collect();
        let a = Kde::new(&values, Some(&weights), Bandwidth::Fixed(0.3)).unwrap();
        let b = Kde::new(&copies, None, Bandwidth::Fixed(0.3)).unwrap();
        assert!(
            (a.score(1.3) - b.score(1.3)).abs() < 1e-12
                && (a.density(1.3) / b.density(1.3) - 1.0).abs() < 1e-12
        );
    }

    #[test]
    fn binning_is_close_and_its_error_is_of_second_order() {
        let values = sample(2, 5000);
        let exact = Kde::new(&values, None, Bandwidth::Scott).unwrap();
        let error = |cells| {
            let binned = Kde::binned(&values, None, Bandwidth::Scott, cells).unwrap();
            assert_eq!((binned.bandwidth(), binned.range()), (exact.bandwidth(), exact.range()));
            let gap = |x: f64| (binned.score(x) - exact.score(x)).abs();
            (0..50).map(|k| gap(0.2 + 0.08 * k as f64)).fold(0.0, f64::max)
        };
        let (coarse, fine) = (error(200), error(800));
        assert!(fine < 2e-3 && coarse / fine > 8.0, "{coarse} {fine}");
    }

    #[test]
    fn the_guard_continues_in_a_line() {
        let curve = ScoreCurve::from_scores(0.0, 2.0, vec![3.0, 1.0, -2.0]).unwrap();
        assert_eq!((curve.at(0.5), curve.at(1.0), curve.at(2.0)), (2.0, 1.0, -2.0));
        assert_eq!((curve.at(-1.0), curve.at(3.0)), (5.0, -5.0));
        // A rising end is continued flat.
        let rising = ScoreCurve::from_scores(0.0, 1.0, vec![-1.0, 4.0]).unwrap();
        assert_eq!((rising.at(-7.0), rising.at(9.0)), (-1.0, 4.0));
        assert_eq!(curve.grid(), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |v: &[f64], b| Kde::new(v, None, b).unwrap_err().to_string();
        assert!(message(&[1.0], Bandwidth::Scott).contains("needs at least 2"));
        assert!(message(&[1.0, 1.0], Bandwidth::Scott).contains("all values are equal"));
        assert!(message(&[0.1, 0.1, 0.1], Bandwidth::Scott).contains("all values are equal"));
        assert!(message(&[1.0, f64::NAN], Bandwidth::Scott).contains("values[1] is NaN"));
        assert!(message(&[1.0, 2.0], Bandwidth::Fixed(0.0)).contains("the bandwidth is 0"));
        assert!(Kde::new(&[1.0, 2.0], Some(&[0.0, 0.0]), Bandwidth::Scott).is_err());
        assert!(Kde::binned(&[1.0, 2.0], None, Bandwidth::Scott, 1).is_err());
        assert!(Kde::new(&[1.0, 1.0], None, Bandwidth::Fixed(1.0)).is_ok());
        assert!(ScoreCurve::from_scores(1.0, 1.0, vec![0.0; 3]).is_err());
        assert!(ScoreCurve::from_scores(0.0, 1.0, vec![0.0, f64::NAN]).is_err());
    }
}

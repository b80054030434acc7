//! The largest mean of a law within a radius of a weighted sample, exactly.
//!
//! `sup { E_P[s phi] : E_P[s] = 1, E_P[g(s)] <= eta } = inf over lambda > 0, u of lambda eta + u + lambda E_P[g*((phi - u) / lambda)]`.
//!
//! For a given `lambda` the best `u` makes `E_P[s] = 1` with `s = g*'((phi - u) / lambda)`; what is left is convex in `lambda`, with the slope
//! `eta - E_P[g(s)]` and the curvature `E_P[g*''] Var(phi) / lambda^3`, the variance weighted by `g*''`. Both searches are Newton's within a
//! bracket. Any `lambda` and `u` give an upper bound, so that an inexact search errs on the safe side.
//!
//! A finite sample has a largest value, and every bound leans on it: no law that is absolutely continuous to the sample goes beyond.

use ream_stats::{StatsError, minimise};

use super::divergence::Divergence;

/// Tolerance of the searches, in units of the sample's range.
const TOLERANCE: f64 = 1e-12;
/// How near the end of its domain a conjugate is evaluated: weights below this (far rows under a kernel) would need it nearer, for less than this
/// in the bound.
const NEAR: f64 = 1e-13;
/// Bracket of `log lambda`, `lambda` in units of the sample's range.
const LOG_LAMBDA: (f64, f64) = (-40.0, 40.0);
/// Radii below this are taken for 0: rounding alone moves laws that far.
const LEAST_RADIUS: f64 = 1e-13;

/// A bound and what attains it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// The largest (or smallest) mean.
    pub value: f64,
    /// The price of the radius; 0 where the radius does not bind.
    pub lambda: f64,
    /// The shift.
    pub u: f64,
}

impl Bound {
    /// `lambda g*((phi - u) / lambda)` of an upper bound: what a row brings to it.
    #[must_use]
    pub fn price(&self, divergence: Divergence, phi: f64) -> f64 {
        if self.lambda > 0.0 {
            // The largest value may sit on the end of the domain; rounding must not push it out.
            let end = divergence.end();
            let end = if divergence.conjugate(end).is_finite() { end } else { end - NEAR };
            self.lambda * divergence.conjugate(((phi - self.u) / self.lambda).min(end))
        } else {
            0.0
        }
    }
}

/// A law with finitely many values: a weighted sample, equal values taken together.
#[derive(Clone, Debug, PartialEq)]
pub struct Law {
    /// Ascending, distinct.
    values: Vec<f64>,
    /// Above 0, of sum 1.
    weights: Vec<f64>,
}

impl Law {
    /// The law of `values`, weighted by `weights` where given. Values of weight 0 are as good as absent.
    ///
    /// # Errors
    /// [`StatsError`] for other lengths, values that are not finite, weights that are negative or not finite, or none above 0.
    pub fn new(values: &[f64], weights: Option<&[f64]>) -> Result<Self, StatsError> {
        check(values, weights)?;
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let mut order: Vec<usize> = (0..values.len()).filter(|i| weight(*i) > 0.0).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let mut law = Self { values: Vec::new(), weights: Vec::new() };
        for i in order {
            match law.values.last() {
                Some(last) if *last == values[i] => {
                    let end = law.weights.len() - 1;
                    law.weights[end] += weight(i);
                }
                _ => {
                    law.values.push(values[i]);
                    law.weights.push(weight(i));
                }
            }
        }
        let total: f64 = law.weights.iter().sum();
        if !(total > 0.0 && total.is_finite()) {
            return Err(StatsError::TooFew {
                what: "a bound (rows with a weight above 0)",
                wanted: 1,
                got: 0,
            });
        }
        law.weights.iter_mut().for_each(|w| *w /= total);
        Ok(law)
    }

    /// The values, ascending and distinct.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Their weights.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// `E_P[phi]`.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.values.iter().zip(&self.weights).map(|(v, w)| v * w).sum()
    }

    /// Smallest and largest value.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        (self.values.first().copied().unwrap_or(f64::NAN), self.values.last().copied().unwrap_or(f64::NAN))
    }

    /// The law of `-phi`.
    #[must_use]
    pub fn negative(&self) -> Self {
        Self {
            values: self.values.iter().rev().map(|v| -v).collect(),
            weights: self.weights.iter().rev().copied().collect(),
        }
    }

    /// The largest mean of a law within `radius` (of `D_f(P || Q)`, at least 0).
    ///
    /// # Errors
    /// [`StatsError`] for a radius that is negative or not a number; a search that does not end.
    pub fn upper(&self, divergence: Divergence, radius: f64) -> Result<Bound, StatsError> {
        if radius.is_nan() || radius < 0.0 {
            return Err(StatsError::Setting {
                what: "the radius",
                value: radius,
                allowed: "numbers of at least 0",
            });
        }
        let ((low, high), mean) = (self.range(), self.mean());
        if high <= low || radius < LEAST_RADIUS {
            return Ok(Bound { value: mean, lambda: 0.0, u: mean });
        }
        let most = self.weights[self.weights.len() - 1];
        // What it costs to move all mass to the largest value.
        let all = most * divergence.g(1.0 / most) + (1.0 - most) * divergence.at_zero();
        if all <= radius {
            return Ok(Bound { value: high, lambda: 0.0, u: high });
        }
        if divergence == Divergence::TotalVariation {
            return Ok(self.total_variation(radius, mean));
        }
        let spread = high - low;
        let scaled = Scaled {
            divergence,
            values: self.values.iter().map(|v| (v - high) / spread).collect(),
            weights: &self.weights,
            most,
        };
        let (value, lambda, c) = scaled.solve(radius)?;
        let lambda = lambda * spread;
        Ok(Bound { value: (high + spread * value).clamp(mean, high), lambda, u: high + lambda * c })
    }

    /// The smallest mean: minus the largest of `-phi`. `lambda` and `u` are those of that problem, for [`Bound::price`] of `-phi`.
    ///
    /// # Errors
    /// As [`Law::upper`].
    pub fn lower(&self, divergence: Divergence, radius: f64) -> Result<Bound, StatsError> {
        let Bound { value, lambda, u } = self.negative().upper(divergence, radius)?;
        Ok(Bound { value: -value, lambda, u })
    }

    /// Both ends of the interval at probability `e` of the treatment.
    ///
    /// # Errors
    /// As [`Law::upper`].
    pub fn interval(&self, divergence: Divergence, e: f64) -> Result<(f64, f64), StatsError> {
        let radius = divergence.radius(e);
        Ok((self.lower(divergence, radius)?.value, self.upper(divergence, radius)?.value))
    }

    /// Mass `radius` moves from the lowest values to the highest.
    fn total_variation(&self, radius: f64, mean: f64) -> Bound {
        let (low, high) = self.range();
        let (mut left, mut value, mut last) = (radius, mean, low);
        for (v, w) in self.values.iter().zip(&self.weights) {
            let moved = left.min(*w);
            value += moved * (high - v);
            last = *v;
            left -= moved;
            if left <= 0.0 {
                break;
            }
        }
        // The dual's optimum: what lies below `last` has ratio 0, the largest value sits on the end of the domain.
        Bound { value: value.min(high), lambda: high - last, u: 0.5 * (high + last) }
    }
}

fn check(values: &[f64], weights: Option<&[f64]>) -> Result<(), StatsError> {
    if let Some((row, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(StatsError::OutOfRange {
            what: "phi of the outcome",
            row,
            value,
            allowed: "finite numbers",
        });
    }
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != values.len() {
        return Err(StatsError::Length { what: "the weights", wanted: values.len(), got: weights.len() });
    }
    match weights.iter().enumerate().find(|(_, w)| !(**w >= 0.0 && w.is_finite())) {
        Some((row, &value)) => Err(StatsError::OutOfRange {
            what: "the weights",
            row,
            value,
            allowed: "finite numbers of at least 0",
        }),
        None => Ok(()),
    }
}

/// A law whose values lie between -1 and 0, the largest at 0. The shift is `u = lambda c`, so that `t = value / lambda - c`.
struct Scaled<'a> {
    divergence: Divergence,
    values: Vec<f64>,
    weights: &'a [f64],
    /// Weight of the largest value.
    most: f64,
}

/// Sums over the sample at a price and its best shift.
struct Moments {
    /// `E_P[g(s)]`.
    distance: f64,
    /// `E_P[g*]`.
    conjugate: f64,
    /// `E_P[g*''] Var(value)`, the variance weighted by `g*''`.
    spread: f64,
}

impl Scaled<'_> {
    /// Bound, price and `c`.
    fn solve(&self, radius: f64) -> Result<(f64, f64, f64), StatsError> {
        let d = self.divergence;
        let mean: f64 = self.sum(|v| v);
        let variance = self.sum(|v| (v - mean) * (v - mean));
        // Near the sample's own law E[g(s)] = g*''(neutral) Var / (2 lambda^2).
        let start = (d.ratio_slope(d.neutral()) * variance / (2.0 * radius)).sqrt();
        let start = libm::log(start).clamp(LOG_LAMBDA.0 + 1.0, LOG_LAMBDA.1 - 1.0);
        let mut failed = None;
        let mut slope = |log: f64| {
            let lambda = libm::exp(log);
            match self.shift(lambda) {
                Ok(c) => {
                    let at = self.moments(lambda, c);
                    (radius - at.distance, at.spread / (lambda * lambda))
                }
                Err(error) => {
                    failed = Some(error);
                    (0.0, 1.0)
                }
            }
        };
        let found = minimise::newton(&mut slope, LOG_LAMBDA, start, TOLERANCE)?;
        if let Some(error) = failed {
            return Err(error);
        }
        let lambda = libm::exp(found.at);
        let c = self.shift(lambda)?;
        Ok((lambda * (radius + c + self.moments(lambda, c).conjugate), lambda, c))
    }

    fn sum(&self, term: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().zip(self.weights).map(|(v, w)| w * term(*v)).sum()
    }

    /// The `c` at which ratios have mean 1.
    fn shift(&self, lambda: f64) -> Result<f64, StatsError> {
        let d = self.divergence;
        // The largest value's ratio is at least 1 and, weighted, at most 1.
        let (low, high) = ((-d.slope(1.0 / self.most)).max(NEAR - d.end()), -d.neutral());
        if high - low <= TOLERANCE {
            return Ok(high);
        }
        let slope = |c: f64| {
            let (mut ratios, mut slopes) = (0.0, 0.0);
            for (v, w) in self.values.iter().zip(self.weights) {
                let (ratio, slope) = d.ratios(v / lambda - c);
                ratios += w * ratio;
                slopes += w * slope;
            }
            (1.0 - ratios, slopes)
        };
        // From the steep end Newton's steps do not overshoot: mean ratios are convex in c.
        Ok(minimise::newton(slope, (low - 0.5 * NEAR, high), low, TOLERANCE)?.at)
    }

    fn moments(&self, lambda: f64, c: f64) -> Moments {
        let d = self.divergence;
        let (mut distance, mut conjugate) = (0.0, 0.0);
        let (mut bend, mut first, mut second) = (0.0, 0.0, 0.0);
        for (v, w) in self.values.iter().zip(self.weights) {
            let t = v / lambda - c;
            let (ratio, slope) = d.ratios(t);
            let value = d.conjugate(t);
            // g(s) = s t - g*(t), which loses fewer digits than g of a ratio near 0 or infinity.
            distance += w * (ratio * t - value);
            conjugate += w * value;
            bend += w * slope;
            first += w * slope * v;
            second += w * slope * v * v;
        }
        let spread = if bend > 0.0 { (second - first * first / bend).max(0.0) } else { 0.0 };
        Moments { distance, conjugate, spread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;
    use ream_rand::Stream;

    fn law(values: &[f64]) -> Law {
        Law::new(values, None).unwrap()
    }

    /// For a binary outcome the bound is the root of `D_f(P || Q) = radius` in `q`.
    #[test]
    fn a_binary_bound_is_the_root_of_the_divergence() {
        for d in ALL {
            for (p, e) in [(0.3, 0.6), (0.5, 0.9), (0.05, 0.8), (0.8, 0.95), (0.2, 0.05)] {
                let distance = |q: f64| q * d.f(p / q) + (1.0 - q) * d.f((1.0 - p) / (1.0 - q));
                let (mut near, mut far) = (p, 1.0 - 1e-12);
                if distance(far) > d.radius(e) {
                    for _ in 0..200 {
                        let q = 0.5 * (near + far);
                        if distance(q) < d.radius(e) { near = q } else { far = q }
                    }
                } else {
                    near = 1.0;
                }
                let binary = Law::new(&[0.0, 1.0], Some(&[1.0 - p, p])).unwrap();
                let got = binary.upper(d, d.radius(e)).unwrap();
                assert!((got.value - near).abs() < 1e-6, "{d:?} {p} {e}: {} {near}", got.value);
            }
        }
    }

    /// No law within the radius has a larger mean, and the ratios of the optimum are such a law.
    #[test]
    fn primal_and_dual_agree() {
        let mut rng = Stream::new(2, "sample").at(0);
        let values: Vec<f64> = (0..60).map(|_| rng.normal()).collect();
        for d in ALL {
            let radius = d.radius(0.7);
            let bound = law(&values).upper(d, radius).unwrap();
            let mut best = f64::NEG_INFINITY;
            for _ in 0..2000 {
                let tilt = 3.0 * rng.normal();
                let draws: Vec<f64> =
                    values.iter().map(|x| libm::exp(tilt * x) * rng.gamma(2.0) + 1e-9).collect();
                let total: f64 = draws.iter().sum();
                // Towards the sample until within the radius.
                let mut share = 1.0_f64;
                for _ in 0..40 {
                    let s: Vec<f64> = draws.iter().map(|x| share * 60.0 * x / total + 1.0 - share).collect();
                    if s.iter().map(|s| d.g(*s)).sum::<f64>() / 60.0 <= radius {
                        best = best.max(s.iter().zip(&values).map(|(s, x)| s * x).sum::<f64>() / 60.0);
                        break;
                    }
                    share *= 0.9;
                }
            }
            assert!(best <= bound.value + 1e-9 && best > 0.2, "{d:?}: {best} {}", bound.value);
            if d != Divergence::TotalVariation {
                let s: Vec<f64> = values.iter().map(|x| d.ratio((x - bound.u) / bound.lambda)).collect();
                let mean = |f: &dyn Fn(usize) -> f64| (0..60).map(f).sum::<f64>() / 60.0;
                assert!((mean(&|i| s[i]) - 1.0).abs() < 1e-9, "{d:?}");
                assert!((mean(&|i| d.g(s[i])) - radius).abs() < 1e-6, "{d:?}");
                assert!((mean(&|i| s[i] * values[i]) - bound.value).abs() < 1e-6, "{d:?}");
            }
            let dual = bound.lambda * radius
                + bound.u
                + values.iter().map(|x| bound.price(d, *x)).sum::<f64>() / values.len() as f64;
            assert!((dual - bound.value).abs() < 1e-9, "{d:?}: {dual} {}", bound.value);
        }
    }

    #[test]
    fn bounds_move_with_the_outcome_and_close_where_the_treatment_is_certain() {
        let mut rng = Stream::new(3, "sample").at(0);
        let values: Vec<f64> = (0..200).map(|_| rng.exponential()).collect();
        let mean = values.iter().sum::<f64>() / 200.0;
        for d in ALL {
            let (low, high) = law(&values).interval(d, 0.6).unwrap();
            assert!(low < mean && mean < high, "{d:?}");
            let moved: Vec<f64> = values.iter().map(|x| 3.0 * x - 7.0).collect();
            let (low3, high3) = law(&moved).interval(d, 0.6).unwrap();
            assert!(
                (low3 - (3.0 * low - 7.0)).abs() < 1e-8 && (high3 - (3.0 * high - 7.0)).abs() < 1e-8,
                "{d:?}"
            );
            let (low, high) = law(&values).interval(d, 1.0 - 1e-9).unwrap();
            assert!(high - low < 1e-3, "{d:?}: {low} {high}");
            let (wide, narrow) =
                (law(&values).interval(d, 0.3).unwrap(), law(&values).interval(d, 0.8).unwrap());
            assert!(wide.0 <= narrow.0 && wide.1 >= narrow.1, "{d:?}");
        }
    }

    /// `Q = e P + (1 - e) R` says more than a ball that holds all of these laws.
    #[test]
    fn no_interval_is_narrower_than_the_worst_law_that_holds_the_observed_one() {
        let mut rng = Stream::new(4, "sample").at(0);
        for n in [5, 40, 300] {
            let values: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let sample = law(&values);
            let (least, most) = sample.range();
            for (d, e) in ALL.into_iter().flat_map(|d| [0.05, 0.4, 0.9].map(|e| (d, e))) {
                let (low, high) = sample.interval(d, e).unwrap();
                let mean = sample.mean();
                assert!(e * mean + (1.0 - e) * most <= high + 1e-9, "{d:?} {n} {e}");
                assert!(e * mean + (1.0 - e) * least >= low - 1e-9, "{d:?} {n} {e}");
            }
        }
    }

    #[test]
    fn weights_of_zero_are_rows_left_out_and_constants_have_no_width() {
        for d in ALL {
            let one = Law::new(&[1.0, 5.0, 2.0, 99.0], Some(&[0.25, 0.25, 0.5, 0.0])).unwrap();
            let two = Law::new(&[1.0, 5.0, 2.0, 2.0], None).unwrap();
            assert_eq!(one.upper(d, 0.1).unwrap(), two.upper(d, 0.1).unwrap());
            assert_eq!(law(&[4.0; 3]).upper(d, 0.4).unwrap().value, 4.0);
            assert!((law(&[1.0, 2.0]).upper(d, 0.0).unwrap().value - 1.5).abs() < 1e-12);
        }
        assert!(Law::new(&[1.0, f64::NAN], None).unwrap_err().to_string().contains("phi of the outcome"));
        assert!(Law::new(&[1.0], Some(&[0.0])).is_err());
    }

    /// A row of vanishing weight lends its value to every bound, and nothing overflows.
    #[test]
    fn weights_that_all_but_vanish_are_borne() {
        for d in ALL {
            for weight in [1e-9, 1e-18, 1e-120, 1e-300] {
                let sample = Law::new(&[0.0, 0.5, 1.0, 2.0], Some(&[1.0, 1.0, 1.0, weight])).unwrap();
                let bound = sample.upper(d, d.radius(0.6)).unwrap();
                assert!(bound.value > 0.5 && bound.value <= 2.0, "{d:?} {weight}: {bound:?}");
                assert!([0.0, 1.0, 2.0].iter().all(|v| bound.price(d, *v).is_finite()), "{d:?} {weight}");
            }
        }
    }

    /// All five lean on the largest value; a law with an infinite tail has no finite bound.
    #[test]
    fn bounds_grow_with_the_largest_value_alone() {
        let mut values: Vec<f64> = (0..500).map(|i| f64::from(i) / 500.0).collect();
        for d in ALL {
            values[499] = 1.0;
            let before = law(&values).upper(d, d.radius(0.5)).unwrap().value;
            values[499] = 100.0;
            let after = law(&values).upper(d, d.radius(0.5)).unwrap().value;
            assert!(after > before + 0.49 * 99.0, "{d:?}: {before} {after}");
        }
    }
}

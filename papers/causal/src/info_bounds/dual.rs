//! The largest mean of a law within a radius of a weighted sample, exactly.
//!
//! `sup { E_P[s phi] : E_P[s] = 1, E_P[g(s)] <= eta } = inf over lambda > 0, u of lambda eta + u + lambda E_P[g*((phi - u) / lambda)]`.
//! For a given `lambda` the best `u` makes `E_P[s] = 1` with `s = g*'((phi - u) / lambda)`; the best `lambda` then makes `E_P[g(s)] = eta`. Both are
//! roots of monotone functions.

use super::divergence::Divergence;

/// Halvings of a bracket: beyond what doubles can tell apart.
const HALVINGS: usize = 200;
/// Range of `lambda` over the spread of the sample, as powers of e.
const RANGE: (f64, f64) = (-30.0, 30.0);

/// A bound and what attains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The largest mean.
    pub value: f64,
    /// The price of the radius; 0 where the radius does not bind.
    pub lambda: f64,
    /// The shift.
    pub u: f64,
}

/// The largest mean of `values` under laws within `radius` (of `D_f(P || Q)`, 0 or more) of their law `P`, whose `weights` sum to 1.
///
/// A finite sample has a largest value, and every bound leans on it: no law that is absolutely continuous to the sample goes beyond.
#[must_use]
pub fn upper(divergence: Divergence, values: &[f64], weights: &[f64], radius: f64) -> Bound {
    let held = || values.iter().zip(weights).filter(|(_, w)| **w > 0.0);
    let low = held().fold(f64::INFINITY, |a, (x, _)| a.min(*x));
    let high = held().fold(f64::NEG_INFINITY, |a, (x, _)| a.max(*x));
    let mean: f64 = held().map(|(x, w)| x * w).sum();
    if high <= low || radius <= 0.0 {
        return Bound { value: mean, lambda: 0.0, u: mean };
    }
    if divergence == Divergence::TotalVariation {
        return total_variation(values, weights, radius, mean, (low, high));
    }
    let sample = Sample { divergence, values, weights, low, high };
    let (mut near, mut far) = RANGE;
    let spread = high - low;
    let at = |log: f64| spread * libm::exp(log);
    if sample.distance(at(near)) <= radius {
        // The radius lets all mass move to the largest value.
        return Bound { value: high, lambda: 0.0, u: high };
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (near + far);
        if middle <= near || middle >= far {
            break;
        }
        // The larger lambda, the nearer to the sample's own law.
        if sample.distance(at(middle)) > radius { near = middle } else { far = middle }
    }
    let lambda = at(0.5 * (near + far));
    let u = sample.shift(lambda);
    Bound { value: sample.dual(lambda, u, radius), lambda, u }
}

/// The smallest mean: minus the largest of the negatives.
#[must_use]
pub fn lower(divergence: Divergence, values: &[f64], weights: &[f64], radius: f64) -> Bound {
    let negatives: Vec<f64> = values.iter().map(|x| -x).collect();
    let Bound { value, lambda, u } = upper(divergence, &negatives, weights, radius);
    Bound { value: -value, lambda, u: -u }
}

/// Mass `radius` moves from the lowest values to the highest.
fn total_variation(values: &[f64], weights: &[f64], radius: f64, mean: f64, (low, high): (f64, f64)) -> Bound {
    let mut order: Vec<usize> = (0..values.len()).filter(|i| weights[*i] > 0.0).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut left, mut value, mut last) = (radius, mean, low);
    for i in order {
        let moved = left.min(weights[i]);
        value += moved * (high - values[i]);
        last = values[i];
        left -= moved;
        if left <= 0.0 {
            break;
        }
    }
    // The dual's optimum: everything below `last` has ratio 0.
    let lambda = high - last;
    Bound { value: value.min(high), lambda, u: 0.5 * (high + last) }
}

struct Sample<'a> {
    divergence: Divergence,
    values: &'a [f64],
    weights: &'a [f64],
    low: f64,
    high: f64,
}

impl Sample<'_> {
    fn sum(&self, term: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().zip(self.weights).filter(|(_, w)| **w > 0.0).map(|(x, w)| w * term(*x)).sum()
    }

    /// The `u` at which ratios have mean 1.
    fn shift(&self, lambda: f64) -> f64 {
        let d = self.divergence;
        // Between the shifts at which all ratios are at least, and at most, 1; never outside the conjugate's domain.
        let mut below = (self.low - lambda * d.neutral()).max(self.high - lambda * d.end());
        let mut above = self.high - lambda * d.neutral();
        let mut u = 0.5 * (below + above);
        for _ in 0..HALVINGS {
            let excess = self.sum(|x| d.ratio((x - u) / lambda)) - 1.0;
            if excess > 0.0 { below = u } else { above = u }
            let slope = -self.sum(|x| d.ratio_slope((x - u) / lambda)) / lambda;
            let newton = u - excess / slope;
            let next = if newton > below && newton < above { newton } else { 0.5 * (below + above) };
            let done = next == u || excess.abs() < 1e-15 || next <= below || next >= above;
            u = next;
            if done {
                break;
            }
        }
        u
    }

    /// `E_P[g(s)]` of the law that is best at this price.
    fn distance(&self, lambda: f64) -> f64 {
        let (d, u) = (self.divergence, self.shift(lambda));
        self.sum(|x| {
            let t = (x - u) / lambda;
            // g(s) = s t - g*(t), which loses fewer digits than g of a ratio near 0 or infinity.
            d.ratio(t) * t - d.conjugate(t)
        })
    }

    fn dual(&self, lambda: f64, u: f64, radius: f64) -> f64 {
        let d = self.divergence;
        lambda * radius + u + lambda * self.sum(|x| d.conjugate((x - u) / lambda))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;
    use ream_rand::Stream;

    fn even(n: usize) -> Vec<f64> {
        vec![1.0 / n as f64; n]
    }

    /// For a binary outcome the bound is the root of `D_f(P || Q) = radius` in `q`.
    #[test]
    fn a_binary_bound_is_the_root_of_the_divergence() {
        for d in ALL {
            for (p, e) in [(0.3, 0.6), (0.5, 0.9), (0.05, 0.8), (0.8, 0.95)] {
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
                let got = upper(d, &[0.0, 1.0], &[1.0 - p, p], d.radius(e));
                assert!((got.value - near).abs() < 1e-6, "{d:?} {p} {e}: {} {near}", got.value);
            }
        }
    }

    /// No law within the radius has a larger mean, and the ratios of the optimum are such a law.
    #[test]
    fn primal_and_dual_agree() {
        let mut rng = Stream::new(2, "sample").at(0);
        let values: Vec<f64> = (0..60).map(|_| rng.normal()).collect();
        let weights = even(60);
        for d in ALL {
            let radius = d.radius(0.7);
            let bound = upper(d, &values, &weights, radius);
            let mut best = f64::NEG_INFINITY;
            for _ in 0..4000 {
                let tilt = 3.0 * rng.normal();
                let draws: Vec<f64> =
                    values.iter().map(|x| libm::exp(tilt * x) * rng.gamma(0.5 + 5.0 * 0.3) + 1e-9).collect();
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
        }
    }

    #[test]
    fn bounds_move_with_the_outcome_and_close_where_the_treatment_is_certain() {
        let mut rng = Stream::new(3, "sample").at(0);
        let values: Vec<f64> = (0..200).map(|_| rng.exponential()).collect();
        let weights = even(200);
        let mean = values.iter().sum::<f64>() / 200.0;
        for d in ALL {
            let both = |values: &[f64], e: f64| {
                (lower(d, values, &weights, d.radius(e)).value, upper(d, values, &weights, d.radius(e)).value)
            };
            let (low, high) = both(&values, 0.6);
            assert!(low < mean && mean < high, "{d:?}");
            let moved: Vec<f64> = values.iter().map(|x| 3.0 * x - 7.0).collect();
            let (low3, high3) = both(&moved, 0.6);
            assert!((low3 - (3.0 * low - 7.0)).abs() < 1e-6 && (high3 - (3.0 * high - 7.0)).abs() < 1e-6, "{d:?}");
            let (low, high) = both(&values, 1.0 - 1e-9);
            assert!(high - low < 1e-3, "{d:?}: {low} {high}");
            let (wide, narrow) = (both(&values, 0.3), both(&values, 0.8));
            assert!(wide.0 <= narrow.0 && wide.1 >= narrow.1, "{d:?}");
            // Manski's bounds with the sample's own range are never wider than a ball that holds all of their laws.
            let most = values.iter().copied().fold(0.0, f64::max);
            assert!(0.6 * mean + 0.4 * most <= both(&values, 0.6).1 + 1e-9, "{d:?}");
        }
    }

    #[test]
    fn weights_of_zero_are_rows_left_out_and_constants_have_no_width() {
        for d in ALL {
            let one = upper(d, &[1.0, 5.0, 2.0, 99.0], &[0.25, 0.25, 0.5, 0.0], 0.1);
            let two = upper(d, &[1.0, 5.0, 2.0], &[0.25, 0.25, 0.5], 0.1);
            assert_eq!(one, two);
            assert_eq!(upper(d, &[4.0; 3], &even(3), 0.4).value, 4.0);
            assert!((upper(d, &[1.0, 2.0], &even(2), 0.0).value - 1.5).abs() < 1e-12);
        }
    }
}

//! Five f-divergences: how far a do-law can be from an observed one, and the conjugates that turn that radius into a bound.
//!
//! With `e` the probability of the treatment given the covariates, `Q = e P + (1 - e) R`: the do-law holds the observed law with weight `e`. Convexity
//! gives `D_f(P || Q) <= e f(1/e) + (1 - e) f(0)`, the radius. Everything here is written for the ratio `s = dQ/dP`:
//! `D_f(P || Q) = E_P[g(s)]` with `g(s) = s f(1/s)`. The order of the arguments matters: `D_f(Q || P)` has other radii.
//!
//! [`ipm_bound`] and [`mmd_bound`] say the same of means of bounded functions and of kernel means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A divergence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Divergence {
    /// Kullback-Leibler: `f = t log t`.
    Kl,
    /// Squared Hellinger: `f = (sqrt t - 1)^2 / 2`.
    Hellinger,
    /// Pearson's: `f = (t - 1)^2 / 2`.
    ChiSquare,
    /// Total variation: `f = |t - 1| / 2`.
    TotalVariation,
    /// Jensen-Shannon: `f = (t log t - (t + 1) log((t + 1) / 2)) / 2`.
    JensenShannon,
}

/// All of them, in the order of the paper.
pub const ALL: [Divergence; 5] = [Kl, Hellinger, ChiSquare, TotalVariation, JensenShannon];

/// How far below the end of its domain a conjugate is continued by a parabola.
pub const MARGIN: f64 = 1e-3;

use Divergence::{ChiSquare, Hellinger, JensenShannon, Kl, TotalVariation};

impl Divergence {
    /// The word used in configurations and observations.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Kl => "kl",
            Hellinger => "hellinger",
            ChiSquare => "chi-square",
            TotalVariation => "total-variation",
            JensenShannon => "jensen-shannon",
        }
    }

    /// As it is written on a page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kl => "KL",
            Hellinger => "Hellinger",
            ChiSquare => "chi-square",
            TotalVariation => "total variation",
            JensenShannon => "Jensen-Shannon",
        }
    }

    /// `f(t)`, `t >= 0`.
    #[must_use]
    pub fn f(self, t: f64) -> f64 {
        let t_log_t = |t: f64| if t > 0.0 { t * libm::log(t) } else { 0.0 };
        match self {
            Kl => t_log_t(t),
            Hellinger => 0.5 * (t.sqrt() - 1.0) * (t.sqrt() - 1.0),
            ChiSquare => 0.5 * (t - 1.0) * (t - 1.0),
            TotalVariation => 0.5 * (t - 1.0).abs(),
            JensenShannon => 0.5 * (t_log_t(t) - (t + 1.0) * libm::log(0.5 * (t + 1.0))),
        }
    }

    /// `g(s) = s f(1/s)` of `s = dQ/dP >= 0`; infinite at 0 for two of them.
    #[must_use]
    pub fn g(self, s: f64) -> f64 {
        match self {
            Kl => -libm::log(s),
            Hellinger => 0.5 * (1.0 - s.sqrt()) * (1.0 - s.sqrt()),
            ChiSquare => 0.5 * (1.0 - s) * (1.0 - s) / s,
            TotalVariation => 0.5 * (1.0 - s).abs(),
            JensenShannon => {
                0.5 * ((1.0 + s) * std::f64::consts::LN_2 - (1.0 + s) * libm::log1p(s) + s_log_s(s))
            }
        }
    }

    /// `g(0)`: what it costs to leave a part of `P` without any mass. Infinite for Kullback-Leibler and chi-square.
    #[must_use]
    pub fn at_zero(self) -> f64 {
        match self {
            Kl | ChiSquare => f64::INFINITY,
            Hellinger | TotalVariation => 0.5,
            JensenShannon => 0.5 * std::f64::consts::LN_2,
        }
    }

    /// `g'(s)`, `s > 0`: the inverse of [`Divergence::ratio`]. For total variation the end of the domain or its opposite.
    #[must_use]
    pub fn slope(self, s: f64) -> f64 {
        match self {
            Kl => -1.0 / s,
            Hellinger => 0.5 * (1.0 - 1.0 / s.sqrt()),
            ChiSquare => 0.5 * (1.0 - 1.0 / (s * s)),
            TotalVariation => {
                if s >= 1.0 {
                    0.5
                } else {
                    -0.5
                }
            }
            JensenShannon => 0.5 * libm::log(2.0 * s / (1.0 + s)),
        }
    }

    /// The radius `e f(1/e) + (1 - e) f(0)`, `0 < e <= 1`.
    #[must_use]
    pub fn radius(self, e: f64) -> f64 {
        match self {
            Kl => -libm::log(e),
            Hellinger => 1.0 - e.sqrt(),
            ChiSquare => (1.0 - e) / (2.0 * e),
            TotalVariation => 1.0 - e,
            // log 4 + e log e - (1 + e) log(1 + e), halved.
            JensenShannon => 0.5 * (2.0 * std::f64::consts::LN_2 + s_log_s(e) - (1.0 + e) * libm::log1p(e)),
        }
    }

    /// The derivative of [`Divergence::radius`] by `e`.
    #[must_use]
    pub fn radius_slope(self, e: f64) -> f64 {
        match self {
            Kl => -1.0 / e,
            Hellinger => -0.5 / e.sqrt(),
            ChiSquare => -0.5 / (e * e),
            TotalVariation => -1.0,
            JensenShannon => 0.5 * libm::log(e / (1.0 + e)),
        }
    }

    /// Where the domain of the conjugate ends.
    #[must_use]
    pub fn end(self) -> f64 {
        match self {
            Kl => 0.0,
            Hellinger | ChiSquare | TotalVariation => 0.5,
            JensenShannon => 0.5 * std::f64::consts::LN_2,
        }
    }

    /// Where the conjugate's slope is 1: the ratio of a law to itself.
    #[must_use]
    pub fn neutral(self) -> f64 {
        if self == Kl { -1.0 } else { 0.0 }
    }

    /// The conjugate `g*(t) = sup over s > 0 of (s t - g(s))`; infinite outside its domain.
    #[must_use]
    pub fn conjugate(self, t: f64) -> f64 {
        if t > self.end() || (t == self.end() && matches!(self, Kl | Hellinger | JensenShannon)) {
            return f64::INFINITY;
        }
        match self {
            Kl => -1.0 - libm::log(-t),
            Hellinger => t / (1.0 - 2.0 * t),
            ChiSquare => 1.0 - (1.0 - 2.0 * t).sqrt(),
            TotalVariation => t.max(-0.5),
            JensenShannon => -0.5 * libm::log(2.0 - libm::exp(2.0 * t)),
        }
    }

    /// The conjugate's slope: the ratio `s` that the supremum takes.
    #[must_use]
    pub fn ratio(self, t: f64) -> f64 {
        match self {
            Kl => -1.0 / t,
            Hellinger => 1.0 / ((1.0 - 2.0 * t) * (1.0 - 2.0 * t)),
            ChiSquare => 1.0 / (1.0 - 2.0 * t).sqrt(),
            TotalVariation => f64::from(t > -0.5),
            JensenShannon => {
                let x = libm::exp(2.0 * t);
                x / (2.0 - x)
            }
        }
    }

    /// The slope of [`Divergence::ratio`].
    #[must_use]
    pub fn ratio_slope(self, t: f64) -> f64 {
        match self {
            Kl => 1.0 / (t * t),
            Hellinger => 4.0 / libm::pow(1.0 - 2.0 * t, 3.0),
            ChiSquare => libm::pow(1.0 - 2.0 * t, -1.5),
            TotalVariation => 0.0,
            JensenShannon => {
                let x = libm::exp(2.0 * t);
                4.0 * x / ((2.0 - x) * (2.0 - x))
            }
        }
    }

    /// [`Divergence::ratio`] and [`Divergence::ratio_slope`] at once, for the loops over a sample.
    #[must_use]
    #[inline]
    pub fn ratios(self, t: f64) -> (f64, f64) {
        match self {
            Kl => {
                let s = -1.0 / t;
                (s, s * s)
            }
            Hellinger => {
                let inverse = 1.0 / (1.0 - 2.0 * t);
                let s = inverse * inverse;
                (s, 4.0 * s * inverse)
            }
            ChiSquare => {
                let s = 1.0 / (1.0 - 2.0 * t).sqrt();
                (s, s * s * s)
            }
            TotalVariation => (self.ratio(t), 0.0),
            JensenShannon => {
                let x = libm::exp(2.0 * t);
                let inverse = 1.0 / (2.0 - x);
                (x * inverse, 4.0 * x * inverse * inverse)
            }
        }
    }

    /// The conjugate, continued from [`MARGIN`] below the end of its domain on by its second-order expansion there: finite everywhere, so that
    /// nets can learn. Value and slope, and whether `t` is out there.
    ///
    /// Total variation's conjugate is straight up to its end. Continued straight it would let the shift fall for ever and the interval would close
    /// on the mean, so it takes the curvature of Kullback-Leibler's there, `1 / MARGIN^2`.
    #[must_use]
    pub fn continued(self, t: f64) -> (f64, f64, bool) {
        let from = self.end() - MARGIN;
        if t <= from {
            return (self.conjugate(t), self.ratio(t), false);
        }
        let (value, slope) = (self.conjugate(from), self.ratio(from));
        let bend = if self == TotalVariation { 1.0 / (MARGIN * MARGIN) } else { self.ratio_slope(from) };
        let more = t - from;
        (value + slope * more + 0.5 * bend * more * more, slope + bend * more, true)
    }
}

/// Most by which the means of a function between `-size` and `size` can differ between the observed law and the do-law:
/// `2 size min(1 - e, sqrt(-log(e) / 2))`.
#[must_use]
pub fn ipm_bound(size: f64, e: f64) -> f64 {
    2.0 * size * (1.0 - e).min((-0.5 * libm::log(e)).sqrt())
}

/// The same for the distance of kernel means (maximum mean discrepancy) of a kernel between 0 and `most`.
#[must_use]
pub fn mmd_bound(most: f64, e: f64) -> f64 {
    ipm_bound(most.sqrt(), e)
}

fn s_log_s(s: f64) -> f64 {
    if s > 0.0 { s * libm::log(s) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn radii_and_conjugates_are_what_their_definitions_say() {
        for d in ALL {
            for e in [0.03, 0.2, 0.5, 0.9, 1.0] {
                let radius = e * d.f(1.0 / e) + (1.0 - e) * d.f(0.0);
                assert!((d.radius(e) - radius).abs() < 1e-12, "{d:?} {e}");
                if e < 1.0 {
                    let slope = (d.radius(e + 1e-6) - d.radius(e - 1e-6)) / 2e-6;
                    assert!((d.radius_slope(e) - slope).abs() < 1e-5 * (1.0 + slope.abs()), "{d:?} {e}");
                }
            }
            for s in [0.1, 0.7, 1.0, 2.5, 9.0] {
                assert!((d.g(s) - s * d.f(1.0 / s)).abs() < 1e-12, "{d:?} {s}");
            }
            for below in [0.02, 0.3, 1.4, 5.0] {
                let t = d.end() - below;
                // A grid of ratios, fine enough for 1e-5.
                let best = (1..400_000)
                    .map(|i| libm::exp(f64::from(i) * 6e-5 - 12.0))
                    .map(|s| s * t - d.g(s))
                    .fold(f64::NEG_INFINITY, f64::max);
                assert!((d.conjugate(t) - best).abs() < 1e-4, "{d:?} {t}: {} {best}", d.conjugate(t));
                if d != TotalVariation {
                    let s = d.ratio(t);
                    assert!((s * t - d.g(s) - d.conjugate(t)).abs() < 1e-9, "{d:?} {t}");
                    assert!((d.slope(s) - t).abs() < 1e-9 * (1.0 + t.abs()), "{d:?} {t}");
                    assert!(
                        (d.ratios(t).0 / s - 1.0).abs() < 1e-12
                            && (d.ratios(t).1 / d.ratio_slope(t) - 1.0).abs() < 1e-12
                    );
                    let slope = (d.ratio(t + 1e-6) - d.ratio(t - 1e-6)) / 2e-6;
                    assert!((d.ratio_slope(t) / slope - 1.0).abs() < 1e-3, "{d:?} {t}");
                }
            }
            if d.at_zero().is_finite() {
                assert!((d.g(1e-14) - d.at_zero()).abs() < 1e-5, "{d:?}");
            }
            assert_eq!(d.conjugate(d.end() + 1e-9), f64::INFINITY);
            assert!((d.ratio(d.neutral()) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_continued_conjugate_has_no_kink_and_never_ends() {
        for d in ALL {
            let from = d.end() - MARGIN;
            let (below, above) = (d.continued(from - 1e-9), d.continued(from + 1e-9));
            assert!((below.0 - above.0).abs() < 1e-3 && !below.2 && above.2, "{d:?}");
            let far = d.continued(d.end() + 100.0);
            assert!(far.0.is_finite() && far.1.is_finite() && far.0 > above.0);
            // Far out it rises faster than any ratio that a sample of 1000 rows could take: leaving the domain never pays.
            assert!(d.continued(d.end() + 1.0).1 > 1000.0, "{d:?}");
        }
    }

    #[test]
    fn swapped_arguments_have_other_radii() {
        // Most of the do-law lies where the observed law has little: far in one direction, not in the other.
        let (e, p) = (0.1, [0.999, 0.001]);
        let q = [e * p[0], e * p[1] + 1.0 - e];
        let distance = |p: [f64; 2], q: [f64; 2]| (0..2).map(|i| q[i] * Kl.f(p[i] / q[i])).sum::<f64>();
        assert!(distance(p, q) <= Kl.radius(e) && distance(q, p) > 2.0 * Kl.radius(e));
    }

    /// The largest difference of means of functions between -1 and 1 is twice the total variation, at most `2 (1 - e)`.
    #[test]
    fn means_of_bounded_functions_differ_by_no_more_than_the_bound() {
        let mut rng = Stream::new(2, "laws").at(0);
        for _ in 0..500 {
            let e = rng.between(0.02, 0.98);
            let p: Vec<f64> = {
                let d: Vec<f64> = (0..5).map(|_| rng.exponential()).collect();
                let t: f64 = d.iter().sum();
                d.iter().map(|x| x / t).collect()
            };
            let r = rng.below(5);
            let q: Vec<f64> =
                p.iter().enumerate().map(|(i, p)| e * p + if i == r { 1.0 - e } else { 0.0 }).collect();
            let gap: f64 = p.iter().zip(&q).map(|(p, q)| (p - q).abs()).sum();
            assert!(gap <= ipm_bound(1.0, e) + 1e-12);
        }
        // A law apart from P reaches it where 1 - e is the smaller of the two.
        assert!(
            (ipm_bound(1.0, 0.4) - 1.2).abs() < 1e-12 && ipm_bound(3.0, 0.4) == 3.0 * ipm_bound(1.0, 0.4)
        );
        assert!((mmd_bound(4.0, 0.4) - ipm_bound(2.0, 0.4)).abs() < 1e-15 && ipm_bound(1.0, 1.0) == 0.0);
    }

    /// Theorem 1: no model with a hidden confounder goes beyond the radius, and disjoint laws reach it.
    #[test]
    fn no_law_that_holds_the_observed_one_is_farther_than_the_radius() {
        let mut rng = Stream::new(1, "laws").at(0);
        for _ in 0..2000 {
            let n = 2 + rng.below(6);
            let mut law = || -> Vec<f64> {
                let draws: Vec<f64> = (0..n).map(|_| rng.exponential()).collect();
                let total: f64 = draws.iter().sum();
                draws.iter().map(|x| x / total).collect()
            };
            let (p, r) = (law(), law());
            let e = rng.between(0.02, 0.98);
            let q: Vec<f64> = p.iter().zip(&r).map(|(p, r)| e * p + (1.0 - e) * r).collect();
            for d in ALL {
                let distance: f64 = p.iter().zip(&q).map(|(p, q)| q * d.f(p / q)).sum();
                assert!(distance <= d.radius(e) + 1e-10, "{d:?} {e}");
            }
        }
        let (e, p, r) = (0.3, [0.4, 0.6, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]);
        for d in ALL {
            let distance: f64 =
                p.iter().zip(r).map(|(p, r)| e * p + (1.0 - e) * r).zip(p).map(|(q, p)| q * d.f(p / q)).sum();
            assert!((distance - d.radius(e)).abs() < 1e-12, "{d:?}");
        }
    }
}

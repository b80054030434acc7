//! Anderson & Rubin's (1949) test and confidence set, valid however weak the instruments are.

use super::tests_of_fit::{TestStatistic, wald};
use super::{Instrumental, Sizes};
use crate::covariance::Covariance;
use crate::distribution::f_quantile;
use crate::error::{FitError, StatsError, finite, length};
use crate::interval::check_level;
use nalgebra::DVector;

/// The effects that a test does not reject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConfidenceSet {
    /// From `low` to `high`; an end is infinite for a half line.
    Interval {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Everything up to `until` and everything from `from` on: the instruments are weak.
    Rays {
        /// End of the lower ray.
        until: f64,
        /// Start of the upper ray.
        from: f64,
    },
    /// Every number: the data say nothing of the effect at this level.
    Line,
    /// No number: the instruments contradict each other (or the model) at this level.
    Empty,
}

impl ConfidenceSet {
    /// Whether the set holds `x`.
    #[must_use]
    pub fn contains(&self, x: f64) -> bool {
        match *self {
            Self::Interval { low, high } => low <= x && x <= high,
            Self::Rays { until, from } => x <= until || x >= from,
            Self::Line => true,
            Self::Empty => false,
        }
    }

    /// The `b` with `a b^2 + 2 h b + c <= 0`.
    fn below_zero(a: f64, h: f64, c: f64) -> Self {
        let discriminant = h * h - a * c;
        if a == 0.0 {
            return match h {
                h if h > 0.0 => Self::Interval { low: f64::NEG_INFINITY, high: -c / (2.0 * h) },
                h if h < 0.0 => Self::Interval { low: -c / (2.0 * h), high: f64::INFINITY },
                _ if c <= 0.0 => Self::Line,
                _ => Self::Empty,
            };
        }
        if discriminant < 0.0 {
            return if a > 0.0 { Self::Empty } else { Self::Line };
        }
        // The root of larger size without cancellation, the other from the product.
        let sum = -(h + discriminant.sqrt().copysign(h));
        let (first, second) = (sum / a, if sum == 0.0 { 0.0 } else { c / sum });
        let (low, high) = (first.min(second), first.max(second));
        if a > 0.0 { Self::Interval { low, high } } else { Self::Rays { until: low, from: high } }
    }
}

impl Instrumental<'_> {
    /// The test that the treatments' coefficients are `effects`: the F test of the instruments in a regression of
    /// `y - X effects` on controls and instruments.
    ///
    /// # Errors
    /// [`FitError::Input`] unless there is one finite effect for each treatment; the errors of the covariance.
    pub fn anderson_rubin_test(
        &self,
        effects: &[f64],
        kind: Covariance<'_>,
    ) -> Result<TestStatistic, FitError> {
        let Sizes { n, w, l, k } = self.sizes;
        length("the effects", k, effects.len())?;
        finite("the effects", effects)?;
        let (a, m) = (self.sizes.a(), self.sizes.m());
        // y - X effects in the coordinates of the triangle.
        let combined = |i: usize| {
            let treated: f64 = (0..k).map(|j| self.r[(i, a + j)] / self.scale[a + j] * effects[j]).sum();
            self.r[(i, m)] / self.scale[m] - treated
        };
        let g = DVector::from_fn(l, |i, _| combined(w + i));
        let wald = match kind {
            Covariance::Classical => {
                let left: f64 = (a..=m).map(|i| combined(i) * combined(i)).sum();
                g.norm_squared() / (left / (n - a) as f64)
            }
            _ => {
                let weights: Vec<f64> = effects.iter().map(|e| -e).collect();
                let residual = self.reduced_residuals(1.0, &weights)?;
                let map = self.basis_of_a()?.columns(w, l).into_owned();
                wald(&g, self.scores(&map, &residual, a, false).meat(kind)?)?
            }
        };
        Ok(TestStatistic::f(wald / l as f64, l as f64, self.below(kind, a))?)
    }

    /// The effects of a single treatment that [`Instrumental::anderson_rubin_test`] does not reject at `level`. With the
    /// classical covariance for any number of instruments; with the others for one instrument.
    ///
    /// # Errors
    /// [`FitError::Input`] for several treatments, a level outside `(0, 1)`, or a covariance other than the classical one with
    /// several instruments; the errors of the covariance.
    pub fn anderson_rubin(&self, level: f64, kind: Covariance<'_>) -> Result<ConfidenceSet, FitError> {
        check_level(level)?;
        let Sizes { n, w, l, k } = self.sizes;
        let (a, m) = (self.sizes.a(), self.sizes.m());
        if k != 1 {
            return Err(StatsError::Undefined {
                what: "the Anderson-Rubin set",
                why: "it is made for one treatment; test several with anderson_rubin_test",
            }
            .into());
        }
        let x = |i: usize| self.r[(i, a)] / self.scale[a];
        let y = |i: usize| self.r[(i, m)] / self.scale[m];
        let factor = f_quantile(level, l as f64, self.below(kind, a))?;
        let product = |rows: core::ops::Range<usize>, f: &dyn Fn(usize) -> f64| rows.map(f).sum::<f64>();
        let instruments = w..a;
        let (xx, xy, yy) = (
            product(instruments.clone(), &|i| x(i) * x(i)),
            product(instruments.clone(), &|i| x(i) * y(i)),
            product(instruments, &|i| y(i) * y(i)),
        );
        let (vxx, vxy, vyy) = match kind {
            Covariance::Classical => {
                let per = 1.0 / (n - a) as f64;
                // Rows X and y: the treatment has nothing in the row of y.
                (per * x(a) * x(a), per * x(a) * y(a), per * (y(a) * y(a) + y(m) * y(m)))
            }
            _ if l == 1 => self.reduced_covariance(kind)?,
            _ => {
                return Err(StatsError::Undefined {
                    what: "the robust Anderson-Rubin set",
                    why: "it is made for one instrument; with several test values with anderson_rubin_test, or take the classical covariance",
                }
                .into());
            }
        };
        let c = factor * l as f64;
        Ok(ConfidenceSet::below_zero(xx - c * vxx, -(xy - c * vxy), yy - c * vyy))
    }

    /// Covariance of the coefficients of the (single, orthonormal) instrument in the regressions of treatment and outcome.
    fn reduced_covariance(&self, kind: Covariance<'_>) -> Result<(f64, f64, f64), FitError> {
        let (w, a) = (self.sizes.w, self.sizes.a());
        let map = self.basis_of_a()?.columns(w, 1).into_owned();
        let variance = |residual: &[f64]| -> Result<f64, FitError> {
            Ok(self.scores(&map, residual, a, false).meat(kind)?[(0, 0)])
        };
        let y = self.reduced_residuals(1.0, &[0.0])?;
        let x = self.reduced_residuals(0.0, &[1.0])?;
        let (vyy, vxx) = (variance(&y)?, variance(&x)?);
        // The covariance by polarisation of residuals of like size.
        let scale = (vyy / vxx).sqrt();
        let sum = |sign: f64| -> Vec<f64> { y.iter().zip(&x).map(|(y, x)| y + sign * scale * x).collect() };
        let vxy = 0.25 * (variance(&sum(1.0))? - variance(&sum(-1.0))?) / scale;
        Ok((vxx, if vxy.is_finite() { vxy } else { 0.0 }, vyy))
    }

    /// Residuals of `outcome y + X treatments` on controls and instruments.
    fn reduced_residuals(&self, outcome: f64, treatments: &[f64]) -> Result<Vec<f64>, FitError> {
        let (a, m) = (self.sizes.a(), self.sizes.m());
        let r = self.r.view((0, 0), (a, a)).into_owned();
        let mut b = DVector::from_fn(a, |i, _| {
            let treated: f64 =
                treatments.iter().enumerate().map(|(j, t)| t * self.r[(i, a + j)] / self.scale[a + j]).sum();
            outcome * self.r[(i, m)] / self.scale[m] + treated
        });
        if !r.solve_upper_triangular_mut(&mut b) {
            return Err(FitError::NoCovariance { why: "the instruments are dependent" });
        }
        let b: Vec<f64> = b.iter().zip(&self.scale).map(|(b, s)| b * s).collect();
        let (on_controls, on_instruments) = b.split_at(self.sizes.w);
        Ok(self.by_row(|i| {
            let controls = self.data.controls.map_or(0.0, |w| crate::sum::dot(w.row(i), on_controls));
            outcome * self.data.outcome[i] + crate::sum::dot(self.data.treatments.row(i), treatments)
                - controls
                - crate::sum::dot(self.data.instruments.row(i), on_instruments)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadratics_have_four_shapes() {
        use ConfidenceSet::{Empty, Interval, Line, Rays};
        // (b - 1)(b - 3), and the same turned over.
        assert_eq!(ConfidenceSet::below_zero(1.0, -2.0, 3.0), Interval { low: 1.0, high: 3.0 });
        assert_eq!(ConfidenceSet::below_zero(-1.0, 2.0, -3.0), Rays { until: 1.0, from: 3.0 });
        assert_eq!(ConfidenceSet::below_zero(1.0, 0.0, 1.0), Empty);
        assert_eq!(ConfidenceSet::below_zero(-1.0, 0.0, -1.0), Line);
        assert_eq!(ConfidenceSet::below_zero(0.0, 1.0, -4.0), Interval { low: f64::NEG_INFINITY, high: 2.0 });
        assert_eq!(ConfidenceSet::below_zero(0.0, -1.0, 4.0), Interval { low: 2.0, high: f64::INFINITY });
        assert_eq!(ConfidenceSet::below_zero(0.0, 0.0, -1.0), Line);
        assert_eq!(ConfidenceSet::below_zero(0.0, 0.0, 1.0), Empty);
        assert_eq!(ConfidenceSet::below_zero(2.0, 0.0, 0.0), Interval { low: 0.0, high: 0.0 });
        let rays = Rays { until: 1.0, from: 3.0 };
        assert!(rays.contains(0.0) && !rays.contains(2.0) && rays.contains(4.0));
    }
}

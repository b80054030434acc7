//! Non-decreasing fits: isotonic regression and rearrangement.
//!
//! ```
//! use ream_stats::monotone;
//! let y = [1.0, 3.0, 2.0, 4.0];
//! assert_eq!(monotone::isotonic(&y, None)?, [1.0, 2.5, 2.5, 4.0]);
//! assert_eq!(monotone::rearranged(&y)?, [1.0, 2.0, 3.0, 4.0]);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::descriptive::sorted;
use crate::error::{StatsError, at_least, finite, length};

/// The non-decreasing values `f` that minimise `sum w_i (y_i - f_i)^2`, by pooling adjacent violators (Ayer, Brunk, Ewing,
/// Reid & Silverman, 1955), in one pass.
///
/// On an equally spaced grid of probabilities this is the projection of a curve on the quantile functions in L2, and so
/// the local Frechet mean under the 2-Wasserstein distance. It is idempotent and leaves a non-decreasing `y` as it is.
///
/// # Errors
/// [`StatsError`] for values that are not finite, or weights that are not above 0 or too few.
pub fn isotonic(y: &[f64], weights: Option<&[f64]>) -> Result<Vec<f64>, StatsError> {
    check(y, weights)?;
    let mut fitted = y.to_vec();
    pool(&mut fitted, weights, &mut Vec::new());
    Ok(fitted)
}

/// An isotonic regression on a predictor, as a function of it: linear between the places that were seen, constant beyond them.
/// For calibration of scores, say.
#[derive(Clone, Debug, PartialEq)]
pub struct IsotonicCurve {
    /// Ascending, all different.
    places: Vec<f64>,
    /// Non-decreasing.
    values: Vec<f64>,
}

impl IsotonicCurve {
    /// The non-decreasing function of `x` nearest to `y` in (weighted) squares; rows at one place are taken together by their
    /// weighted mean.
    ///
    /// # Errors
    /// [`StatsError`] without rows, for other lengths, values that are not finite, or weights that are not above 0.
    pub fn fit(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Result<Self, StatsError> {
        at_least("an isotonic regression (rows)", 1, x.len())?;
        finite("x", x)?;
        length("y", x.len(), y.len())?;
        check(y, weights)?;
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let mut order: Vec<usize> = (0..x.len()).collect();
        // Adding 0 turns -0 into 0, which the total order would put apart.
        order.sort_by(|&a, &b| (x[a] + 0.0).total_cmp(&(x[b] + 0.0)));
        let (mut places, mut values, mut totals) = (Vec::new(), Vec::new(), Vec::new());
        for rows in order.chunk_by(|&a, &b| x[a] == x[b]) {
            let total: f64 = rows.iter().map(|&i| weight(i)).sum();
            places.push(x[rows[0]]);
            values.push(rows.iter().map(|&i| weight(i) * y[i]).sum::<f64>() / total);
            totals.push(total);
        }
        pool(&mut values, Some(&totals), &mut Vec::new());
        Ok(Self { places, values })
    }

    /// The value at `x`; NaN for NaN.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        let above = self.places.partition_point(|p| *p < x);
        if x.is_nan() {
            return x;
        }
        if above == 0 {
            return self.values[0];
        }
        if above == self.places.len() {
            return self.values[above - 1];
        }
        let (left, right) = (self.places[above - 1], self.places[above]);
        let (low, high) = (self.values[above - 1], self.values[above]);
        // At a place itself, and between equal values, exactly that value.
        if x == right || low == high { high } else { low + (high - low) * ((x - left) / (right - left)) }
    }
}

fn check(y: &[f64], weights: Option<&[f64]>) -> Result<(), StatsError> {
    finite("y", y)?;
    let Some(weights) = weights else { return Ok(()) };
    length("weights", y.len(), weights.len())?;
    finite("weights", weights)?;
    match weights.iter().enumerate().find(|(_, w)| **w <= 0.0) {
        Some((row, &value)) => {
            let allowed = "numbers above 0 (leave rows of weight 0 out)";
            Err(StatsError::OutOfRange { what: "weights", row, value, allowed })
        }
        None => Ok(()),
    }
}

/// A run of equal fitted values.
pub(crate) struct Pool {
    value: f64,
    weight: f64,
    count: usize,
}

/// [`isotonic`] in place, for finite values and positive weights; `pools` is scratch space.
pub(crate) fn pool(y: &mut [f64], weights: Option<&[f64]>, pools: &mut Vec<Pool>) {
    pools.clear();
    for (i, &value) in y.iter().enumerate() {
        let mut last = Pool { value, weight: weights.map_or(1.0, |w| w[i]), count: 1 };
        while let Some(before) = pools.pop_if(|before| before.value > last.value) {
            let weight = before.weight + last.weight;
            // As a step from the pool before: a mean of equal values is that value exactly.
            let value = before.value + (last.value - before.value) * (last.weight / weight);
            last = Pool { value, weight, count: before.count + last.count };
        }
        pools.push(last);
    }
    let mut at = 0;
    for pool in pools.iter() {
        y[at..at + pool.count].fill(pool.value);
        at += pool.count;
    }
}

/// Projects every row of a row-major table of `cols` columns on the non-decreasing rows, in place, as [`isotonic`] with
/// equal weights.
///
/// # Errors
/// [`StatsError`] for values that are not finite, or a length that is no multiple of `cols`.
pub fn isotonic_rows(values: &mut [f64], cols: usize) -> Result<(), StatsError> {
    finite("values", values)?;
    if cols == 0 || !values.len().is_multiple_of(cols) {
        return Err(StatsError::Length { what: "values", wanted: cols, got: values.len() });
    }
    let mut pools = Vec::new();
    values.chunks_exact_mut(cols).for_each(|row| pool(row, None, &mut pools));
    Ok(())
}

/// The values in ascending order: the monotone rearrangement of a curve given on an equally spaced grid, which is never
/// further from a monotone target than the curve (Chernozhukov, Fernandez-Val & Galichon, 2009).
///
/// # Errors
/// [`StatsError::NotFinite`].
pub fn rearranged(y: &[f64]) -> Result<Vec<f64>, StatsError> {
    finite("y", y)?;
    Ok(sorted(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        assert_eq!(isotonic(&[3.0, 2.0, 1.0], None).unwrap(), [2.0; 3]);
        assert_eq!(isotonic(&[3.0, 1.0], Some(&[3.0, 1.0])).unwrap(), [2.5, 2.5]);
        assert_eq!(isotonic(&[], None).unwrap(), Vec::<f64>::new());
        let mut rows = [2.0, 1.0, 1.0, 2.0];
        isotonic_rows(&mut rows, 2).unwrap();
        assert_eq!(rows, [1.5, 1.5, 1.0, 2.0]);
        assert!(isotonic(&[1.0, f64::NAN], None).is_err() && isotonic_rows(&mut rows, 3).is_err());
        assert!(isotonic(&[1.0], Some(&[0.0])).is_err() && isotonic(&[1.0], Some(&[])).is_err());
        assert!(rearranged(&[f64::INFINITY]).is_err());
    }

    #[test]
    fn curves_interpolate_and_take_ties_together() {
        let curve = IsotonicCurve::fit(&[2.0, 1.0, 1.0, 4.0, 3.0], &[5.0, 0.0, 2.0, 9.0, 3.0], None).unwrap();
        // 1 at 1 (two rows), 4 at 2 and 3, 9 at 4.
        let got: Vec<f64> = [-7.0, 1.0, 1.5, 2.0, 2.7, 3.5, 4.0, 99.0].iter().map(|x| curve.at(*x)).collect();
        assert_eq!(got, [1.0, 1.0, 2.5, 4.0, 4.0, 6.5, 9.0, 9.0]);
        assert!(curve.at(f64::NAN).is_nan());
        let heavy = IsotonicCurve::fit(&[0.0, 0.0, 1.0], &[0.0, 4.0, 2.0], Some(&[1.0, 3.0, 1.0])).unwrap();
        assert!((heavy.at(0.0) - 2.8).abs() < 1e-15 && heavy.at(1.0) == heavy.at(0.0));
        assert!(
            IsotonicCurve::fit(&[], &[], None).is_err()
                && IsotonicCurve::fit(&[f64::NAN], &[0.0], None).is_err()
        );
    }

    proptest! {
        #[test]
        fn the_projection_is_monotone_idempotent_and_the_nearest(
            pairs in prop::collection::vec((-5.0..5.0_f64, 0.1..4.0_f64), 1..30),
            other in prop::collection::vec(-5.0..5.0_f64, 30),
        ) {
            let (y, w): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let f = isotonic(&y, Some(&w)).unwrap();
            prop_assert!(f.is_sorted());
            prop_assert_eq!(&isotonic(&f, Some(&w)).unwrap(), &f);
            // The mean is kept, and no other non-decreasing curve is nearer.
            let mean = |v: &[f64]| v.iter().zip(&w).map(|(v, w)| v * w).sum::<f64>();
            prop_assert!((mean(&f) - mean(&y)).abs() < 1e-10);
            let distance = |v: &[f64]| v.iter().zip(&y).zip(&w).map(|((v, y), w)| w * (v - y) * (v - y)).sum::<f64>();
            let mut rival = other[..y.len()].to_vec();
            rival.sort_by(f64::total_cmp);
            prop_assert!(distance(&f) <= distance(&rival) + 1e-10);
            for share in [0.01, 0.3] {
                let near: Vec<f64> = f.iter().zip(&rival).map(|(f, r)| f + share * (r - f)).collect();
                prop_assert!(distance(&f) <= distance(&near) + 1e-10);
            }
        }
    }
}

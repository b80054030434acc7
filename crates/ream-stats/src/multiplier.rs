//! Multiplier bootstrap of curves: bands that hold at all points at once, and tests of whole curves.
//!
//! An estimated curve on a grid is, up to noise that vanishes, a sum over independent units, `t(q) - t0(q) = sum_i f_i(q)`. A draw
//! multiplies each unit's contribution by one standard normal number, the same at every point of the grid (and for every curve
//! of the same units: put them side by side as columns), `nu(q) = sum_i xi_i f_i(q)`, and so keeps the dependence between
//! points (Gine & Zinn, 1984; Chernozhukov, Chetverikov & Kato, 2013). Multipliers belong to units: where a unit is itself a sample,
//! drawing its members would give bands that are far too narrow.
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::{Matrix, multiplier};
//! // Means of three correlated columns of 400 units; the contributions are (value - mean) / n.
//! let mut rng = Stream::new(1, "example").at(0);
//! let values = Matrix::from_fn(400, 3, |_, q| rng.normal() + q as f64);
//! let mean: Vec<f64> = (0..3).map(|q| values.column(q).iter().sum::<f64>() / 400.0).collect();
//! let parts = Matrix::from_fn(400, 3, |i, q| (values.get(i, q) - mean[q]) / 400.0);
//! let draws = multiplier::draws(&parts, 1000, Stream::new(2, "multipliers"))?;
//! let band = multiplier::uniform_band(&mean, &draws, 0.95)?;
//! assert!((0..3).all(|q| band.low[q] < q as f64 && (q as f64) < band.high[q]));
//! assert!(multiplier::nullity(&mean, &draws)?.p_value < 0.01);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::columns::add_rows;
use crate::descriptive::mean_and_variance;
use crate::distribution::quantile_of_normal;
use crate::error::{StatsError, at_least, finite, length};
use crate::interval::check_level;
use crate::matrix::Matrix;
use rayon::prelude::*;
use ream_rand::Stream;

/// Draws that share one reading of the units.
const TOGETHER: usize = 16;
/// Contributions that are read at once, so that they stay in the first cache.
const CELLS: usize = 2048;

/// Draws of the noise of a curve, `[draws, points]`, from the contributions of the units, `[units, points]`. The multipliers
/// of draw `b` are `stream.at(b)`, in order of units, so draws are the same on any number of threads.
///
/// # Errors
/// [`StatsError`] for an empty matrix, contributions that are not finite, or fewer than two draws.
pub fn draws(contributions: &Matrix, draws: usize, stream: Stream) -> Result<Matrix, StatsError> {
    contributions.check("the contributions")?;
    let fill = |i: usize, row: &mut [f64]| row.copy_from_slice(contributions.row(i));
    draws_of(contributions.rows(), contributions.cols(), fill, draws, stream)
}

/// As [`draws`], for contributions that are computed when they are read: `fill(i, row)` writes those of unit `i`. It is called
/// once for every sixteen draws and unit; memory is that of the draws.
///
/// # Errors
/// [`StatsError`] without units or points, for fewer than two draws, or when a draw is not finite.
pub fn draws_of(
    units: usize,
    points: usize,
    fill: impl Fn(usize, &mut [f64]) + Sync,
    draws: usize,
    stream: Stream,
) -> Result<Matrix, StatsError> {
    at_least("a multiplier bootstrap (units)", 1, units)?;
    at_least("a multiplier bootstrap (points)", 1, points)?;
    at_least("a multiplier bootstrap (draws)", 2, draws)?;
    let mut noise = vec![0.0; draws * points];
    let most = (CELLS / points).clamp(1, 64).min(units);
    noise.par_chunks_mut(TOGETHER * points).enumerate().for_each(|(group, noise)| {
        let mut numbers: Vec<_> =
            (0..noise.len() / points).map(|k| stream.at((group * TOGETHER + k) as u64)).collect();
        let (mut rows, mut multipliers) = (vec![0.0; most * points], vec![0.0; most]);
        for first in (0..units).step_by(most) {
            let count = most.min(units - first);
            let rows = &mut rows[..count * points];
            rows.chunks_exact_mut(points).enumerate().for_each(|(i, row)| fill(first + i, row));
            for (rng, draw) in numbers.iter_mut().zip(noise.chunks_exact_mut(points)) {
                rng.normals(&mut multipliers[..count]);
                add_rows(draw, &multipliers[..count], rows);
            }
        }
    });
    let noise = Matrix::new(draws, points, noise)?;
    noise.check("the draws")?;
    Ok(noise)
}

/// A band about a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// Lower limits.
    pub low: Vec<f64>,
    /// Upper limits.
    pub high: Vec<f64>,
    /// The half width is this: in the units of the curve for a plain band, in standard errors for the others.
    pub critical: f64,
}

/// Standard error at each point: the standard deviation of the draws.
///
/// # Errors
/// [`StatsError`] for fewer than two draws.
pub fn standard_errors(draws: &Matrix) -> Result<Vec<f64>, StatsError> {
    at_least("standard errors (draws)", 2, draws.rows())?;
    Ok((0..draws.cols()).map(|q| mean_and_variance(&draws.column(q)).1.sqrt()).collect())
}

/// The band `t(q) -+ c` of constant width, where `c` is the critical value of `sup_q |nu(q)|`: it holds the whole curve with
/// probability `level`.
///
/// # Errors
/// [`StatsError`] for other lengths, a level outside `(0, 1)`, or too few draws for the level.
pub fn uniform_band(curve: &[f64], draws: &Matrix, level: f64) -> Result<Band, StatsError> {
    check(curve, draws)?;
    let critical = critical_value(&suprema(draws, |_, v| v.abs()), level)?;
    Ok(around(curve, critical, |_| 1.0))
}

/// The band `t(q) -+ c se(q)`, where `c` is the critical value of `sup_q |nu(q)| / se(q)`: narrow where the noise is small.
/// Points without noise have no width and do not enter `c`.
///
/// # Errors
/// As [`uniform_band`].
pub fn studentised_band(curve: &[f64], draws: &Matrix, level: f64) -> Result<Band, StatsError> {
    check(curve, draws)?;
    let se = standard_errors(draws)?;
    let scaled = |q: usize, v: f64| if se[q] > 0.0 { v.abs() / se[q] } else { 0.0 };
    let critical = critical_value(&suprema(draws, scaled), level)?;
    Ok(around(curve, critical, |q| se[q]))
}

/// Intervals `t(q) -+ z se(q)` that hold at each point alone, not at all at once.
///
/// # Errors
/// As [`uniform_band`].
pub fn pointwise_intervals(curve: &[f64], draws: &Matrix, level: f64) -> Result<Band, StatsError> {
    check(curve, draws)?;
    check_level(level)?;
    let se = standard_errors(draws)?;
    Ok(around(curve, quantile_of_normal(0.5 + 0.5 * level), |q| se[q]))
}

/// The `ceil(level (B + 1))`-th smallest of `B` draws of a statistic: with it a test has the level it says, whatever `B`.
///
/// # Errors
/// [`StatsError`] for values that are not finite, a level outside `(0, 1)`, or fewer draws than the level needs.
pub fn critical_value(statistics: &[f64], level: f64) -> Result<f64, StatsError> {
    check_level(level)?;
    finite("the draws of the statistic", statistics)?;
    // A product that should be whole may be a little above: the order is of the decimal level.
    let order = (level * (statistics.len() + 1) as f64 - 1e-9).ceil().max(1.0) as usize;
    at_least("the critical value (draws)", order, statistics.len())?;
    let mut sorted = statistics.to_vec();
    let (_, value, _) = sorted.select_nth_unstable_by(order - 1, f64::total_cmp);
    Ok(*value)
}

/// A test of a whole curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurveTest {
    /// The statistic.
    pub statistic: f64,
    /// Share of the draws that are at least as large.
    pub p_value: f64,
}

/// The test that the curve is 0 at every point: `sup_q |t(q)|` against `sup_q |nu(q)|`.
///
/// # Errors
/// [`StatsError`] for other lengths or values that are not finite.
pub fn nullity(curve: &[f64], draws: &Matrix) -> Result<CurveTest, StatsError> {
    check(curve, draws)?;
    let statistic = curve.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    Ok(tail(statistic, &suprema(draws, |_, v| v.abs())))
}

/// The test that the curve is constant: `sup_q |t(q) - mean t|` against `sup_q |nu(q) - mean nu|`.
///
/// # Errors
/// As [`nullity`].
pub fn homogeneity(curve: &[f64], draws: &Matrix) -> Result<CurveTest, StatsError> {
    check(curve, draws)?;
    let spread = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        row.iter().fold(0.0_f64, |m, v| m.max((v - mean).abs()))
    };
    let statistics: Vec<f64> = (0..draws.rows()).map(|b| spread(draws.row(b))).collect();
    Ok(tail(spread(curve), &statistics))
}

fn tail(statistic: f64, draws: &[f64]) -> CurveTest {
    let above = draws.iter().filter(|d| **d >= statistic).count();
    CurveTest { statistic, p_value: above as f64 / draws.len() as f64 }
}

fn suprema(draws: &Matrix, size: impl Fn(usize, f64) -> f64) -> Vec<f64> {
    let supremum = |b: usize| draws.row(b).iter().enumerate().fold(0.0_f64, |m, (q, v)| m.max(size(q, *v)));
    (0..draws.rows()).map(supremum).collect()
}

fn around(curve: &[f64], critical: f64, unit: impl Fn(usize) -> f64) -> Band {
    let end = |sign: f64| curve.iter().enumerate().map(|(q, t)| t + sign * critical * unit(q)).collect();
    Band { low: end(-1.0), high: end(1.0), critical }
}

fn check(curve: &[f64], draws: &Matrix) -> Result<(), StatsError> {
    finite("the curve", curve)?;
    draws.check("the draws")?;
    length("the draws (points)", curve.len(), draws.cols())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contributions(units: usize, points: usize) -> Matrix {
        let mut rng = Stream::new(8, "contributions").at(0);
        Matrix::from_fn(units, points, |_, q| (1.0 + q as f64) * rng.normal() / units as f64)
    }

    #[test]
    fn draws_are_the_sums_of_the_multiplied_contributions() {
        let parts = contributions(31, 4);
        let stream = Stream::new(1, "multipliers");
        let noise = draws(&parts, 37, stream).unwrap();
        for b in [0, 15, 16, 36] {
            let mut rng = stream.at(b as u64);
            let mut wanted = [0.0; 4];
            for i in 0..31 {
                let xi = rng.normal();
                for (w, v) in wanted.iter_mut().zip(parts.row(i)) {
                    *w += xi * v;
                }
            }
            assert_eq!(noise.row(b), wanted);
        }
        // Fewer draws are the first of more.
        assert_eq!(draws(&parts, 2, stream).unwrap().row(1), noise.row(1));
    }

    #[test]
    fn one_multiplier_is_shared_by_all_points() {
        let single = contributions(50, 1);
        let twice =
            Matrix::from_fn(50, 2, |i, q| if q == 0 { single.get(i, 0) } else { -3.0 * single.get(i, 0) });
        let noise = draws(&twice, 200, Stream::new(2, "multipliers")).unwrap();
        for b in 0..200 {
            assert!((noise.get(b, 1) + 3.0 * noise.get(b, 0)).abs() < 1e-14);
        }
        // Equal up to scale: the studentised supremum is that of one point.
        let se = standard_errors(&noise).unwrap();
        assert!((se[1] / se[0] - 3.0).abs() < 1e-12);
        let both = studentised_band(&[0.0, 0.0], &noise, 0.9).unwrap();
        let alone: Vec<f64> = (0..200).map(|b| noise.get(b, 0).abs() / se[0]).collect();
        assert!((both.critical - critical_value(&alone, 0.9).unwrap()).abs() < 1e-12);
    }

    #[test]
    fn critical_values_are_order_statistics() {
        let values: Vec<f64> = (1..=999).rev().map(f64::from).collect();
        assert_eq!(critical_value(&values, 0.95).unwrap(), 950.0);
        assert_eq!(critical_value(&values[..199], 0.95).unwrap(), 800.0 + 190.0);
        assert_eq!(critical_value(&[3.0, 1.0, 2.0], 0.5).unwrap(), 2.0);
        let few = critical_value(&values[..18], 0.95).unwrap_err();
        assert_eq!(few.to_string(), "the critical value (draws) needs at least 19 values, got 18");
    }

    #[test]
    fn bands_and_tests_scale_with_the_curve() {
        let parts = contributions(80, 5);
        let noise = draws(&parts, 400, Stream::new(3, "multipliers")).unwrap();
        let curve = [0.1, -0.2, 0.3, 0.1, 0.0];
        let plain = uniform_band(&curve, &noise, 0.95).unwrap();
        let pointwise = pointwise_intervals(&curve, &noise, 0.95).unwrap();
        let studentised = studentised_band(&curve, &noise, 0.95).unwrap();
        assert!(studentised.critical > pointwise.critical);
        for q in 0..5 {
            assert!((plain.high[q] - plain.low[q] - 2.0 * plain.critical).abs() < 1e-12);
            assert!(studentised.low[q] < pointwise.low[q]);
        }
        let bigger = Matrix::from_fn(400, 5, |b, q| 7.0 * noise.get(b, q));
        let seven: Vec<f64> = curve.iter().map(|v| 7.0 * v).collect();
        assert_eq!(nullity(&seven, &bigger).unwrap().p_value, nullity(&curve, &noise).unwrap().p_value);
        // A constant curve is homogeneous, however large.
        assert_eq!(homogeneity(&[5.0; 5], &noise).unwrap(), CurveTest { statistic: 0.0, p_value: 1.0 });
        assert_eq!(nullity(&[5.0; 5], &noise).unwrap().p_value, 0.0);
        assert!(homogeneity(&[5.0, -5.0, 5.0, -5.0, 0.0], &noise).unwrap().p_value == 0.0);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let parts = contributions(10, 2);
        let stream = Stream::new(1, "multipliers");
        assert!(draws(&parts, 1, stream).is_err());
        assert!(
            draws_of(0, 2, |_, _| (), 5, stream).is_err() && draws_of(2, 0, |_, _| (), 5, stream).is_err()
        );
        assert!(draws_of(2, 1, |_, row| row[0] = f64::NAN, 5, stream).is_err());
        let noise = draws(&parts, 30, stream).unwrap();
        assert!(uniform_band(&[0.0], &noise, 0.9).is_err() && uniform_band(&[0.0; 2], &noise, 1.0).is_err());
        assert!(nullity(&[f64::NAN, 0.0], &noise).is_err());
        assert!(uniform_band(&[0.0; 2], &noise, 0.99).unwrap_err().to_string().contains("needs at least 31"));
    }
}

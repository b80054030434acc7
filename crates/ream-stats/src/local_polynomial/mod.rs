//! Local polynomial regression at a point.
//!
//! With `u_i = (x_i - c) / h`, a kernel `k` and `r(u) = (1, u, ..., u^p)`, the fit at `c` minimises
//! `sum_i k(u_i) (y_i - r(u_i)' a)^2` over the rows of one side of `c` or of both. Each coefficient is a weighted sum of the outcomes,
//!
//! `a_j = sum_i w_ji y_i`, `w_ji = e_j' S^-1 r(u_i) k(u_i)`, `S = sum_i k(u_i) r(u_i) r(u_i)'`;
//!
//! the weights `w_0i` are the equivalent kernel: they depend on `x` alone and serve any number of outcomes (Fan & Gijbels,
//! *Local Polynomial Modelling*, 1996). `S` is never formed: the weights come from the QR factorisation of the rows
//! `sqrt(k(u_i)) r(u_i)`, taken block by block, so polynomials of degree `p` and below are reproduced to rounding.
//!
//! ```
//! use ream_stats::local_polynomial::{Kernel, LocalPolynomial, Side};
//! let x: Vec<f64> = (0..200).map(|i| i as f64 / 100.0 - 1.0).collect();
//! let y: Vec<f64> = x.iter().map(|x| 2.0 + x - 3.0 * x * x + if *x >= 0.0 { 0.5 } else { 0.0 }).collect();
//! let at = |side| LocalPolynomial::new(&x, 0.0, side, Kernel::Triangular, 2, 0.4);
//! let (above, below) = (at(Side::Above)?, at(Side::Below)?);
//! assert!((above.value(&y)? - below.value(&y)? - 0.5).abs() < 1e-12);
//! assert!((above.coefficients(&y)?[2] + 3.0).abs() < 1e-9);
//! # Ok::<(), ream_stats::FitError>(())
//! ```

mod bandwidth;
mod kernel;

pub use bandwidth::{BandwidthRule, Bandwidths, Constants, imse_optimal, mse_optimal};
pub use kernel::Kernel;

use crate::blocks::triangle;
use crate::error::{FitError, StatsError, finite, length};
use crate::matrix::Matrix;
use crate::qr::RANK_TOLERANCE;
use crate::sum::{add_scaled, chunked};
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows whose distance from the point is looked at together.
const PIECE: usize = 256;

/// The rows that a fit may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `x < c`.
    Below,
    /// `x >= c`.
    Above,
    /// All.
    Both,
}

impl Side {
    pub(crate) fn holds(self, x: f64, at: f64) -> bool {
        match self {
            Self::Below => x < at,
            Self::Above => x >= at,
            Self::Both => true,
        }
    }

    fn window(self) -> &'static str {
        match self {
            Self::Below => "the window below the point (rows)",
            Self::Above => "the window above the point (rows)",
            Self::Both => "the window about the point (rows)",
        }
    }
}

/// The weights of a local polynomial fit at one point: made of the positions alone, applied to any outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalPolynomial {
    at: f64,
    bandwidth: f64,
    order: usize,
    /// Number of positions that were given.
    total: usize,
    rows: Vec<usize>,
    /// `u_i` of each row.
    offsets: Vec<f64>,
    /// `k(u_i)` of each row.
    kernel_weights: Vec<f64>,
    /// `w_ji`, `[order + 1, rows]`, row-major.
    weights: Vec<f64>,
}

impl LocalPolynomial {
    /// The fit of the given order at `at`, of the rows of `side` that are nearer than `bandwidth` (those of weight 0 take no
    /// part).
    ///
    /// # Errors
    /// [`FitError::Input`] for positions that are not finite, a point that is not finite, a bandwidth that is not above 0, or
    /// fewer rows in the window than coefficients; [`FitError::RankDeficient`] for fewer different positions than coefficients.
    pub fn new(
        x: &[f64],
        at: f64,
        side: Side,
        kernel: Kernel,
        order: usize,
        bandwidth: f64,
    ) -> Result<Self, FitError> {
        finite("x", x)?;
        Self::of_checked(x, at, side, kernel, order, bandwidth)
    }

    pub(crate) fn of_checked(
        x: &[f64],
        at: f64,
        side: Side,
        kernel: Kernel,
        order: usize,
        bandwidth: f64,
    ) -> Result<Self, FitError> {
        if !at.is_finite() {
            let (what, allowed) = ("the point of the local fit", "finite numbers");
            return Err(StatsError::Setting { what, value: at, allowed }.into());
        }
        if !(bandwidth > 0.0 && bandwidth.is_finite()) {
            let (what, allowed) = ("the bandwidth", "finite numbers above 0");
            return Err(StatsError::Setting { what, value: bandwidth, allowed }.into());
        }
        let (mut rows, mut offsets, mut kernel_weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut near = [false; PIECE];
        for (piece, positions) in x.chunks(PIECE).enumerate() {
            // Most rows are mostly far: that is found out for many at once, without a division.
            let reach = bandwidth * (1.0 + 1e-9);
            near.iter_mut().zip(positions).for_each(|(near, x)| *near = (x - at).abs() <= reach);
            for (k, &position) in positions.iter().enumerate().filter(|(k, _)| near[*k]) {
                let u = (position - at) / bandwidth;
                let weight = kernel.at(u);
                if weight > 0.0 && side.holds(position, at) {
                    rows.push(piece * PIECE + k);
                    offsets.push(u);
                    kernel_weights.push(weight);
                }
            }
        }
        let count = order + 1;
        if rows.len() < count {
            return Err(StatsError::TooFew { what: side.window(), wanted: count, got: rows.len() }.into());
        }
        let fill = |i: usize, row: &mut [f64]| powers(kernel_weights[i].sqrt(), offsets[i], row);
        let r = triangle(rows.len(), count, fill);
        let back = inverse(&r)?;
        let weights = equivalent_weights(&back, &offsets, &kernel_weights);
        Ok(Self { at, bandwidth, order, total: x.len(), rows, offsets, kernel_weights, weights })
    }

    /// The rows in the window, ascending.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// `u_i = (x_i - c) / h` of the rows in the window.
    #[must_use]
    pub fn offsets(&self) -> &[f64] {
        &self.offsets
    }

    /// `k(u_i)` of the rows in the window.
    #[must_use]
    pub fn kernel_weights(&self) -> &[f64] {
        &self.kernel_weights
    }

    /// The equivalent kernel `w_0i` of the rows in the window: the fitted value at the point is `sum_i w_0i y_i`.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights[..self.rows.len()]
    }

    /// The weights of the coefficient of `(x - c)^j`, for the rows in the window.
    ///
    /// # Errors
    /// [`StatsError::Setting`] for a `j` above the order.
    pub fn coefficient_weights(&self, j: usize) -> Result<Vec<f64>, StatsError> {
        if j > self.order {
            return Err(StatsError::Setting {
                what: "the coefficient",
                value: j as f64,
                allowed: "0 to the order of the fit",
            });
        }
        let unit = self.bandwidth.powi(-(j as i32));
        Ok(self.scaled_weights(j).iter().map(|w| w * unit).collect())
    }

    /// Weights of the coefficient of `u^j`; `j` is at most the order.
    pub(crate) fn scaled_weights(&self, j: usize) -> &[f64] {
        &self.weights[j * self.rows.len()..(j + 1) * self.rows.len()]
    }

    /// The fitted value at the point.
    ///
    /// # Errors
    /// [`StatsError`] unless there is one outcome for each position, finite within the window.
    pub fn value(&self, y: &[f64]) -> Result<f64, StatsError> {
        self.check(y)?;
        Ok(self.weighted(0, y))
    }

    /// Coefficients of `1, x - c, ..., (x - c)^p`; times `j!` the `j`-th derivative at the point.
    ///
    /// # Errors
    /// As [`LocalPolynomial::value`].
    pub fn coefficients(&self, y: &[f64]) -> Result<Vec<f64>, StatsError> {
        self.check(y)?;
        Ok((0..=self.order).map(|j| self.weighted(j, y) * self.bandwidth.powi(-(j as i32))).collect())
    }

    /// [`LocalPolynomial::coefficients`] of every column of `outcomes` (`[n, outcomes]`) in one pass over its rows,
    /// `[order + 1, outcomes]`: row 0 holds the fitted values at the point.
    ///
    /// # Errors
    /// As [`LocalPolynomial::value`], with one row of outcomes for each position.
    pub fn coefficients_of(&self, outcomes: &Matrix) -> Result<Matrix, StatsError> {
        length("the outcomes (rows)", self.total, outcomes.rows())?;
        let (count, q) = (self.order + 1, outcomes.cols());
        for &i in &self.rows {
            if let Some(column) = outcomes.row(i).iter().position(|v| !v.is_finite()) {
                let (what, value) = ("the outcomes", outcomes.get(i, column));
                return Err(StatsError::CellNotFinite { what, row: i, column, value });
            }
        }
        let sums = chunked(self.rows.len(), count * q, |range, sums| {
            for k in range {
                for (j, sum) in sums.chunks_exact_mut(q.max(1)).enumerate() {
                    add_scaled(sum, self.scaled_weights(j)[k], outcomes.row(self.rows[k]));
                }
            }
        });
        let unit = |j: usize| self.bandwidth.powi(-(j as i32));
        Ok(Matrix::from_fn(count, q, |j, c| sums[j * q + c] * unit(j)))
    }

    /// The polynomial with these coefficients (of [`LocalPolynomial::coefficients`]) at each row of the window.
    ///
    /// # Errors
    /// [`StatsError::Length`] unless there are `order + 1` coefficients.
    pub fn fitted(&self, coefficients: &[f64]) -> Result<Vec<f64>, StatsError> {
        length("the coefficients", self.order + 1, coefficients.len())?;
        Ok(self
            .offsets
            .iter()
            .map(|u| {
                let x = u * self.bandwidth;
                coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
            })
            .collect())
    }

    /// `y` less the fit, for each row of the window.
    ///
    /// # Errors
    /// As [`LocalPolynomial::value`].
    pub fn residuals(&self, y: &[f64]) -> Result<Vec<f64>, StatsError> {
        let fitted = self.fitted(&self.coefficients(y)?)?;
        Ok(self.rows.iter().zip(fitted).map(|(&i, f)| y[i] - f).collect())
    }

    /// Leverages of the weighted fit, `k(u_i) r(u_i)' S^-1 r(u_i)`.
    pub(crate) fn leverages(&self) -> Vec<f64> {
        (0..self.rows.len())
            .map(|i| {
                let u = self.offsets[i];
                (0..=self.order).rev().fold(0.0, |sum, j| sum * u + self.scaled_weights(j)[i])
            })
            .collect()
    }

    /// The polynomial with the coefficients of `y` at `u` bandwidths from the point.
    pub(crate) fn at_offset(&self, coefficients: &[f64], u: f64) -> f64 {
        coefficients.iter().rev().fold(0.0, |sum, c| sum * (u * self.bandwidth) + c)
    }

    /// `sum_i w_ji y_i`.
    pub(crate) fn weighted(&self, j: usize, y: &[f64]) -> f64 {
        let weights = self.scaled_weights(j);
        chunked(self.rows.len(), 1, |range, sum| {
            sum[0] = range.map(|k| weights[k] * y[self.rows[k]]).sum();
        })[0]
    }

    fn check(&self, y: &[f64]) -> Result<(), StatsError> {
        length("y", self.total, y.len())?;
        match self.rows.iter().find(|&&i| !y[i].is_finite()) {
            Some(&row) => Err(StatsError::NotFinite { what: "y", row, value: y[row] }),
            None => Ok(()),
        }
    }

    /// The point.
    #[must_use]
    pub fn at(&self) -> f64 {
        self.at
    }

    /// The bandwidth.
    #[must_use]
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }
}

/// The fitted value at each point of a grid, from rows of all sides: a curve for a picture.
///
/// # Errors
/// As [`LocalPolynomial::new`] and [`LocalPolynomial::value`], at the first point that cannot be fitted.
pub fn curve(
    x: &[f64],
    y: &[f64],
    grid: &[f64],
    kernel: Kernel,
    order: usize,
    bandwidth: f64,
) -> Result<Vec<f64>, FitError> {
    finite("x", x)?;
    let fit = |&at: &f64| -> Result<f64, FitError> {
        Ok(LocalPolynomial::of_checked(x, at, Side::Both, kernel, order, bandwidth)?.value(y)?)
    };
    // Collected first, so that the error is that of the first point.
    let values: Vec<Result<f64, FitError>> = grid.par_iter().map(fit).collect();
    values.into_iter().collect()
}

/// `factor (1, u, u^2, ...)`.
fn powers(factor: f64, u: f64, row: &mut [f64]) {
    let mut power = factor;
    for to in row {
        *to = power;
        power *= u;
    }
}

fn inverse(r: &DMatrix<f64>) -> Result<DMatrix<f64>, FitError> {
    let columns = r.ncols();
    let dependent = |j: usize| r[(j, j)].abs() <= RANK_TOLERANCE * r.view((0, j), (j + 1, 1)).norm();
    let deficient = |column| FitError::RankDeficient { rank: column, columns, column };
    if let Some(column) = (0..columns).find(|&j| dependent(j)) {
        return Err(deficient(column));
    }
    let mut inverse = DMatrix::identity(columns, columns);
    if r.solve_upper_triangular_mut(&mut inverse) { Ok(inverse) } else { Err(deficient(columns - 1)) }
}

/// `w_ji = e_j' T q_i sqrt(k_i)` with `q_i = T' r(u_i) sqrt(k_i)`.
fn equivalent_weights(back: &DMatrix<f64>, offsets: &[f64], kernel_weights: &[f64]) -> Vec<f64> {
    let (count, n) = (back.ncols(), offsets.len());
    let mut weights = vec![0.0; count * n];
    let (mut row, mut basis) = (vec![0.0; count], vec![0.0; count]);
    for i in 0..n {
        powers(1.0, offsets[i], &mut row);
        for (m, b) in basis.iter_mut().enumerate() {
            *b = (0..=m).map(|j| back[(j, m)] * row[j]).sum();
        }
        for j in 0..count {
            let sum: f64 = (j..count).map(|m| back[(j, m)] * basis[m]).sum();
            weights[j * n + i] = sum * kernel_weights[i];
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ream_rand::Stream;

    fn positions(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = Stream::new(seed, "positions").at(0);
        (0..n).map(|_| rng.between(-1.0, 1.0)).collect()
    }

    proptest! {
        #[test]
        fn polynomials_of_the_order_and_below_are_exact(
            seed in 0_u64..500, order in 0_usize..5, below in 0_usize..5, h in 0.2..3.0_f64,
            coefficients in prop::collection::vec(-3.0..3.0_f64, 5), at in -0.2..0.2_f64,
        ) {
            let degree = below.min(order);
            let x = positions(seed, 300);
            let y: Vec<f64> = x.iter().map(|x| (0..=degree).rev().fold(0.0, |s, j| s * (x - at) + coefficients[j])).collect();
            for kernel in [Kernel::Triangular, Kernel::Epanechnikov, Kernel::Uniform] {
                for side in [Side::Below, Side::Above, Side::Both] {
                    let fit = LocalPolynomial::new(&x, at, side, kernel, order, h).unwrap();
                    prop_assert!((fit.value(&y).unwrap() - coefficients[0]).abs() < 1e-10);
                    prop_assert!((fit.weights().iter().sum::<f64>() - 1.0).abs() < 1e-10);
                    prop_assert!(fit.residuals(&y).unwrap().iter().all(|e| e.abs() < 1e-10));
                    let sum: f64 = fit.leverages().iter().sum();
                    prop_assert!((sum - (order + 1) as f64).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn stretching_and_turning_the_axis_changes_no_value(seed in 0_u64..500, stretch in 0.01..100.0_f64, h in 0.3..1.0_f64) {
            let x = positions(seed, 200);
            let y: Vec<f64> = x.iter().map(|x| libm::sin(7.0 * x)).collect();
            let long: Vec<f64> = x.iter().map(|x| stretch * x).collect();
            let turned: Vec<f64> = x.iter().map(|x| -x).collect();
            let fit = |x: &[f64], side, h| LocalPolynomial::new(x, 0.0, side, Kernel::Triangular, 2, h).unwrap();
            let value = fit(&x, Side::Above, h).value(&y).unwrap();
            let stretched = fit(&long, Side::Above, stretch * h);
            prop_assert!((stretched.value(&y).unwrap() - value).abs() < 1e-10);
            let slope = fit(&x, Side::Above, h).coefficients(&y).unwrap()[1];
            prop_assert!((stretched.coefficients(&y).unwrap()[1] * stretch - slope).abs() < 1e-8);
            prop_assert!((fit(&turned, Side::Below, h).value(&y).unwrap() - value).abs() < 1e-10);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let x = [-1.0, -0.5, 0.0, 0.5, 0.5, 1.0];
        let fit = |side, order, h| LocalPolynomial::new(&x, 0.0, side, Kernel::Uniform, order, h);
        assert!(fit(Side::Both, 1, 0.0).unwrap_err().to_string().contains("the bandwidth is 0"));
        assert!(fit(Side::Both, 1, f64::NAN).is_err());
        let few = fit(Side::Below, 2, 1.0).unwrap_err().to_string();
        assert_eq!(few, "the window below the point (rows) needs at least 3 values, got 2");
        assert!(matches!(fit(Side::Above, 2, 0.7), Err(FitError::RankDeficient { rank: 2, .. })));
        assert!(LocalPolynomial::new(&[f64::NAN], 0.0, Side::Both, Kernel::Uniform, 0, 1.0).is_err());
        assert!(LocalPolynomial::new(&x, f64::NAN, Side::Both, Kernel::Uniform, 0, 1.0).is_err());
        let line = fit(Side::Both, 1, 2.0).unwrap();
        assert!(line.value(&[0.0]).is_err() && line.coefficient_weights(2).is_err());
        assert!(line.value(&[f64::NAN; 6]).unwrap_err().to_string().contains("y[0] is NaN"));
        // A value outside the window may be missing.
        let inner = fit(Side::Both, 0, 0.7).unwrap();
        let value = inner.value(&[f64::NAN, 1.0, 1.0, 1.0, 1.0, f64::NAN]).unwrap();
        assert!((value - 1.0).abs() < 1e-14);
    }

    #[test]
    fn many_outcomes_are_each_alone() {
        let x = positions(4, 150);
        let outcomes = Matrix::from_fn(150, 3, |i, q| libm::cos(x[i] * (1.0 + q as f64)));
        let fit = LocalPolynomial::new(&x, 0.1, Side::Above, Kernel::Triangular, 2, 0.6).unwrap();
        let all = fit.coefficients_of(&outcomes).unwrap();
        for q in 0..3 {
            let alone = fit.coefficients(&outcomes.column(q)).unwrap();
            for (j, c) in alone.iter().enumerate() {
                assert!((all.get(j, q) - c).abs() < 1e-12 * (1.0 + c.abs()));
            }
        }
        assert!(fit.coefficients_of(&outcomes.select_rows(&[0, 1])).is_err());
        let gap = Matrix::from_fn(150, 1, |_, _| f64::NAN);
        assert!(
            fit.coefficients_of(&gap).unwrap_err().to_string().contains("column 0 of the outcomes is NaN")
        );
    }

    #[test]
    fn a_curve_follows_the_data() {
        let x = positions(3, 400);
        let y: Vec<f64> = x.iter().map(|x| 1.0 + 2.0 * x).collect();
        let curve = curve(&x, &y, &[-0.5, 0.0, 0.5], Kernel::Epanechnikov, 1, 0.3).unwrap();
        for (got, want) in curve.iter().zip([0.0, 1.0, 2.0]) {
            assert!((got - want).abs() < 1e-12);
        }
    }
}

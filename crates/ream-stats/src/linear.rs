//! Least squares, weighted least squares, ridge regression and the lasso.
//!
//! Fits go through an orthonormal basis of the design (QR), never through the normal equations. Above 4,096 rows the QR goes
//! block by block, in memory of a block for each thread and one number for each row beside the data.
//! There is no implicit intercept: put a column of ones into the design ([`Matrix::with_intercept`]).
//!
//! ```
//! use ream_stats::{Covariance, Matrix, linear};
//! let x = Matrix::from_columns(&[vec![1.0, 2.0, 3.0, 4.0, 5.0]]).unwrap().with_intercept();
//! let y = [2.1, 3.9, 6.2, 7.8, 10.1];
//! let fit = linear::ols(&x, &y, Covariance::Hc3).unwrap();
//! assert!((fit.coefficients[1] - 1.99).abs() < 1e-12);
//! let slope = &fit.intervals(0.95).unwrap()[1];
//! assert!(slope.low > 1.7 && slope.high < 2.3 && fit.p_values[1] < 0.01);
//! let ridge = linear::ridge(&x, &y, 0.5).unwrap();
//! assert!(ridge.coefficients[1] > 1.9);
//! ```

use crate::covariance::{Covariance, Scores};
use crate::distribution::t_two_sided;
use crate::error::{FitError, at_least, finite, length, not_negative};
use crate::interval::Estimate;
use crate::matrix::Matrix;
use crate::qr::{Basis, TALL};
use crate::sum::{chunked, compensated, dot, exact_residual};
use nalgebra::DMatrix;

mod lasso;
mod ridge;
mod tall;
pub use lasso::{Lasso, LassoFit};
pub use ridge::{RidgeChoice, RidgeFit, ridge, ridge_by_column, ridge_gcv, ridge_held_out};

/// A least-squares fit with its inference.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearFit {
    /// One coefficient for each column.
    pub coefficients: Vec<f64>,
    /// Standard error of each coefficient, from [`LinearFit::covariance`].
    pub standard_errors: Vec<f64>,
    /// Coefficient divided by standard error.
    pub t_statistics: Vec<f64>,
    /// Two-sided, from Student's t with [`LinearFit::freedom`] degrees of freedom.
    pub p_values: Vec<f64>,
    /// Covariance of the coefficients, of the kind that was asked for.
    pub covariance: Matrix,
    /// Degrees of freedom of the tests: clusters less one for cluster covariances, else rows less columns.
    pub freedom: f64,
    /// `sum w e^2 / (n - p)`.
    pub residual_variance: f64,
    /// Share of the (weighted) variance explained: about the mean when a constant lies in the span of the columns,
    /// else about 0. NaN when there is nothing to explain.
    pub r_squared: f64,
    /// `y - x b` for every row, those of weight 0 included.
    pub residuals: Vec<f64>,
}

impl LinearFit {
    /// Each coefficient with its interval.
    ///
    /// # Errors
    /// [`FitError::Input`] for a level outside `(0, 1)`.
    pub fn intervals(&self, level: f64) -> Result<Vec<Estimate>, FitError> {
        let pairs = self.coefficients.iter().zip(&self.standard_errors);
        Ok(pairs
            .map(|(&b, &se)| Estimate::symmetric(b, se, self.freedom, level))
            .collect::<Result<_, _>>()?)
    }

    /// `x b` for each row of `x`.
    ///
    /// # Errors
    /// [`FitError::Input`] unless `x` is finite and has one column for each coefficient.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>, FitError> {
        x.check("the design")?;
        Ok(x.times(&self.coefficients)?)
    }
}

/// Ordinary least squares.
///
/// # Errors
/// [`FitError::Input`] for wrong lengths and values that are not finite, [`FitError::RankDeficient`] for dependent
/// columns, [`FitError::NoResidualFreedom`] unless there are more rows than columns, and the errors of the covariance.
pub fn ols(x: &Matrix, y: &[f64], covariance: Covariance<'_>) -> Result<LinearFit, FitError> {
    fit(x, y, None, covariance)
}

/// Weighted least squares: minimises `sum w (y - x b)^2`. Rows of weight 0 are as good as absent.
///
/// # Errors
/// As [`ols`]; and [`FitError::Input`] for weights that are negative or not finite.
pub fn wls(
    x: &Matrix,
    y: &[f64],
    weights: &[f64],
    covariance: Covariance<'_>,
) -> Result<LinearFit, FitError> {
    fit(x, y, Some(weights), covariance)
}

fn check(x: &Matrix, y: &[f64]) -> Result<(), FitError> {
    x.check("the design")?;
    length("y", x.rows(), y.len())?;
    Ok(finite("y", y)?)
}

fn fit(x: &Matrix, y: &[f64], weights: Option<&[f64]>, kind: Covariance<'_>) -> Result<LinearFit, FitError> {
    check(x, y)?;
    if let Some(weights) = weights {
        length("weights", x.rows(), weights.len())?;
        not_negative("weights", weights)?;
    }
    let root = |i: usize| weights.map_or(1.0, |w| w[i].sqrt());
    let index: Vec<usize> = (0..x.rows()).filter(|&i| root(i) > 0.0).collect();
    at_least("the fit (rows of positive weight)", 1, index.len())?;
    let (rows, columns) = (index.len(), x.cols());
    if rows > TALL {
        return tall::fit(x, y, &index, root, kind, weights.is_none());
    }
    let design: Vec<f64> = index.iter().flat_map(|&i| x.row(i).iter().map(move |v| root(i) * v)).collect();
    let basis = Basis::new(&design, columns)?;
    if rows <= columns {
        return Err(FitError::NoResidualFreedom { rows, columns });
    }
    let response: Vec<f64> = index.iter().map(|&i| root(i) * y[i]).collect();
    let (coefficients, residual) = solve(&basis, &design, &response);
    let squares = compensated(residual.iter().map(|e| e * e));
    let residual_variance = squares / (rows - columns) as f64;

    let leverage: Vec<f64> = (0..rows).map(|i| dot(basis.row(i), basis.row(i))).collect();
    let scores = Scores {
        rows: &basis.rows,
        cols: columns,
        residual: &residual,
        leverage: &leverage,
        index: &index,
        total: x.rows(),
    };
    // In the basis the information is the identity.
    let inner = scores.meat(kind)?.unwrap_or_else(|| DMatrix::identity(columns, columns) * residual_variance);
    let covariance = basis.covariance(&inner)?;
    let r_squared =
        r_squared(&basis, &response, squares, &index.iter().map(|&i| root(i)).collect::<Vec<_>>());
    let fitted = x.times(&coefficients)?;
    let residuals = y.iter().zip(fitted).map(|(y, f)| y - f).collect();
    let freedom = kind.freedom(&index, columns);
    Ok(inference(residuals, coefficients, covariance, freedom, residual_variance, r_squared))
}

/// What follows from coefficients and their covariance.
pub(crate) fn inference(
    residuals: Vec<f64>,
    coefficients: Vec<f64>,
    covariance: Matrix,
    freedom: f64,
    residual_variance: f64,
    r_squared: f64,
) -> LinearFit {
    let standard_errors: Vec<f64> = covariance.diagonal().into_iter().map(|v| v.max(0.0).sqrt()).collect();
    let t_statistics: Vec<f64> = coefficients.iter().zip(&standard_errors).map(|(b, se)| b / se).collect();
    // A coefficient of 0 with a standard error of 0 has no t statistic: its p value is NaN too.
    let p_values = t_statistics.iter().map(|&t| t_two_sided(t, freedom).unwrap_or(f64::NAN)).collect();
    LinearFit {
        r_squared,
        residuals,
        coefficients,
        standard_errors,
        t_statistics,
        p_values,
        covariance,
        freedom,
        residual_variance,
    }
}

/// `sum_i v_i row_i` over rows of length `cols`.
fn onto(rows: &[f64], cols: usize, v: &[f64]) -> Vec<f64> {
    chunked(v.len(), cols, |range, sums| {
        for i in range {
            for (s, x) in sums.iter_mut().zip(&rows[i * cols..]) {
                *s += x * v[i];
            }
        }
    })
}

/// Coefficients and residuals of a row-major design, refined with residuals of twice the precision (corrected
/// seminormal equations; Björck, 1987), so that near-collinear columns cost few digits.
fn solve(basis: &Basis, design: &[f64], response: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let p = basis.cols;
    let left = |b: &[f64]| -> Vec<f64> {
        let row = |i: usize| design[i * p..(i + 1) * p].iter().copied().zip(b.iter().copied());
        response.iter().enumerate().map(|(i, y)| exact_residual(*y, row(i))).collect()
    };
    let mut coefficients = basis.coefficients(&onto(&basis.rows, p, response));
    let mut residual = left(&coefficients);
    for _ in 0..3 {
        let missed: Vec<f64> = (0..p)
            .map(|j| -exact_residual(0.0, residual.iter().enumerate().map(|(i, r)| (design[i * p + j], *r))))
            .collect();
        let change = basis.coefficients(&basis.transposed(&missed));
        coefficients.iter_mut().zip(change).for_each(|(b, c)| *b += c);
        residual = left(&coefficients);
    }
    (coefficients, residual)
}

/// `roots` are the square roots of the weights: the constant column as the fit sees it.
fn r_squared(basis: &Basis, response: &[f64], squares: f64, roots: &[f64]) -> f64 {
    let constant = onto(&basis.rows, basis.cols, roots);
    let missed: Vec<f64> = roots.iter().enumerate().map(|(i, r)| r - dot(basis.row(i), &constant)).collect();
    let size = dot(roots, roots);
    let centred = dot(&missed, &missed) <= 1e-20 * size;
    let centre = if centred { dot(roots, response) / size } else { 0.0 };
    let total = compensated(response.iter().zip(roots).map(|(y, r)| (y - r * centre).powi(2)));
    if total > 0.0 { 1.0 - squares / total } else { f64::NAN }
}

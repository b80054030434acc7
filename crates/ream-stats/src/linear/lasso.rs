//! The lasso (Tibshirani, 1996) by coordinate descent on the Gram matrix (Friedman, Hastie & Tibshirani, 2010).

use super::check;
use crate::error::{FitError, StatsError, length, not_negative};
use crate::matrix::Matrix;
use crate::sum::chunked;

/// Sweeps over the columns after which a fit is given up.
const SWEEPS: usize = 100_000;
/// A fit has converged when no column's correlation misses its condition by more than this part of the largest.
const TOLERANCE: f64 = 1e-10;

/// Least squares with an L1 penalty, reduced to products of the columns: a path of strengths costs one pass over the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Lasso {
    cols: usize,
    /// `X'X / n`, row-major.
    gram: Vec<f64>,
    /// `X'y / n`.
    correlation: Vec<f64>,
}

/// A lasso fit.
#[derive(Clone, Debug, PartialEq)]
pub struct LassoFit {
    /// One coefficient for each column.
    pub coefficients: Vec<f64>,
    /// Sweeps over the columns.
    pub sweeps: usize,
}

impl Lasso {
    /// Reduces the data. Every column is penalised in the units it has: centre columns in place of an intercept, and scale them
    /// if their units differ.
    ///
    /// # Errors
    /// [`FitError::Input`] for wrong lengths and values that are not finite.
    pub fn new(x: &Matrix, y: &[f64]) -> Result<Self, FitError> {
        check(x, y)?;
        let (n, cols) = (x.rows(), x.cols());
        let sums = chunked(n, cols * (cols + 1), |range, sums| {
            for i in range {
                let row = x.row(i);
                for (j, &v) in row.iter().enumerate() {
                    let to = &mut sums[j * (cols + 1)..(j + 1) * (cols + 1)];
                    to.iter_mut().zip(row.iter().chain([&y[i]])).for_each(|(s, w)| *s += v * w);
                }
            }
        });
        let at = |j: usize, k: usize| sums[j * (cols + 1) + k] / n as f64;
        Ok(Self {
            cols,
            gram: (0..cols * cols).map(|k| at(k / cols, k % cols)).collect(),
            correlation: (0..cols).map(|j| at(j, cols)).collect(),
        })
    }

    /// The same from products that are already there: `X'X / n` (row-major) and `X'y / n`.
    ///
    /// # Errors
    /// [`FitError::Input`] for wrong lengths and values that are not finite.
    pub fn from_products(gram: Vec<f64>, correlation: Vec<f64>) -> Result<Self, FitError> {
        let cols = correlation.len();
        length("the Gram matrix", cols * cols, gram.len())?;
        crate::error::finite("the Gram matrix", &gram)?;
        crate::error::finite("the correlations", &correlation)?;
        Ok(Self { cols, gram, correlation })
    }

    /// The least strength at which every coefficient is 0.
    #[must_use]
    pub fn largest(&self) -> f64 {
        self.correlation.iter().fold(0.0_f64, |m, c| m.max(c.abs()))
    }

    /// Minimises `|y - Xb|^2 / (2 n) + lambda |b|_1`, beginning at `start` (or at 0).
    ///
    /// # Errors
    /// [`FitError::Input`] for a `lambda` that is negative or not finite, a start of another length, or a descent that does not
    /// end (columns that are nearly dependent, with a `lambda` near 0).
    pub fn fit(&self, lambda: f64, start: Option<&[f64]>) -> Result<LassoFit, FitError> {
        not_negative("lambda", &[lambda])?;
        let mut b = start.map_or_else(|| vec![0.0; self.cols], <[f64]>::to_vec);
        length("the start", self.cols, b.len())?;
        // What is left of the correlations: X'(y - Xb) / n.
        let mut left: Vec<f64> =
            (0..self.cols).map(|j| self.correlation[j] - crate::sum::dot(self.row(j), &b)).collect();
        let allowed = TOLERANCE * self.largest().max(f64::MIN_POSITIVE);
        for sweep in 1..=SWEEPS {
            for j in 0..self.cols {
                let own = self.gram[j * self.cols + j];
                if own <= 0.0 {
                    continue;
                }
                let change = soft(left[j] + own * b[j], lambda) / own - b[j];
                if change != 0.0 {
                    b[j] += change;
                    left.iter_mut().zip(self.row(j)).for_each(|(l, g)| *l -= change * g);
                }
            }
            if self.missed(&b, &left, lambda) <= allowed {
                return Ok(LassoFit { coefficients: b, sweeps: sweep });
            }
        }
        Err(StatsError::Undefined {
            what: "the lasso",
            why: "coordinate descent did not converge: the columns are nearly dependent; take a larger lambda",
        }
        .into())
    }

    fn row(&self, j: usize) -> &[f64] {
        &self.gram[j * self.cols..(j + 1) * self.cols]
    }

    /// By how much the conditions of the minimum are missed.
    fn missed(&self, b: &[f64], left: &[f64], lambda: f64) -> f64 {
        let of = |(j, (b, l)): (usize, (&f64, &f64))| {
            if self.gram[j * self.cols + j] <= 0.0 {
                0.0
            } else if *b == 0.0 {
                (l.abs() - lambda).max(0.0)
            } else {
                (l - lambda * b.signum()).abs()
            }
        };
        b.iter().zip(left).enumerate().map(of).fold(0.0, f64::max)
    }
}

/// The soft threshold.
fn soft(v: f64, by: f64) -> f64 {
    v.signum() * (v.abs() - by).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Covariance, linear};
    use ream_rand::Stream;

    fn data(n: usize, p: usize) -> (Matrix, Vec<f64>) {
        let mut rng = Stream::new(5, "lasso").at(0);
        let common: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let x = Matrix::from_fn(n, p, |i, _| common[i] + rng.normal());
        let y = (0..n).map(|i| 2.0 * x.get(i, 0) - x.get(i, 1) + 0.3 * rng.normal()).collect();
        (x, y)
    }

    #[test]
    fn the_conditions_of_the_minimum_hold_and_small_coefficients_are_0() {
        let (x, y) = data(200, 6);
        let lasso = Lasso::new(&x, &y).unwrap();
        let mut before = 0;
        for part in [0.9, 0.3, 0.1, 0.01] {
            let lambda = part * lasso.largest();
            let fit = lasso.fit(lambda, None).unwrap();
            let fitted = x.times(&fit.coefficients).unwrap();
            for j in 0..6 {
                let left: f64 = (0..200).map(|i| x.get(i, j) * (y[i] - fitted[i])).sum::<f64>() / 200.0;
                let b = fit.coefficients[j];
                let want = if b == 0.0 { left.clamp(-lambda, lambda) } else { lambda * b.signum() };
                assert!((left - want).abs() < 1e-8, "{part} {j}: {left} {want}");
            }
            let nonzero = fit.coefficients.iter().filter(|b| **b != 0.0).count();
            assert!(nonzero >= before, "{part}");
            before = nonzero;
        }
        assert!(
            (1..6).contains(
                &lasso
                    .fit(0.3 * lasso.largest(), None)
                    .unwrap()
                    .coefficients
                    .iter()
                    .filter(|b| **b != 0.0)
                    .count()
            )
        );
    }

    #[test]
    fn no_penalty_is_least_squares_and_the_largest_one_is_0() {
        let (x, y) = data(300, 5);
        let lasso = Lasso::new(&x, &y).unwrap();
        let plain = linear::ols(&x, &y, Covariance::Classical).unwrap().coefficients;
        let fit = lasso.fit(0.0, None).unwrap();
        for (a, b) in fit.coefficients.iter().zip(&plain) {
            assert!((a - b).abs() < 1e-8, "{a} {b}");
        }
        assert_eq!(lasso.fit(lasso.largest(), Some(&plain)).unwrap().coefficients, vec![0.0; 5]);
        assert!(lasso.fit(0.999 * lasso.largest(), None).unwrap().coefficients.iter().any(|b| *b != 0.0));
        // A start changes the way, not the end.
        let warm = lasso.fit(0.05, Some(&plain)).unwrap().coefficients;
        for (a, b) in warm.iter().zip(&lasso.fit(0.05, None).unwrap().coefficients) {
            assert!((a - b).abs() < 1e-8);
        }
    }

    #[test]
    fn products_serve_as_well_as_rows_and_bad_input_is_named() {
        let (x, y) = data(100, 3);
        let lasso = Lasso::new(&x, &y).unwrap();
        let same = Lasso::from_products(lasso.gram.clone(), lasso.correlation.clone()).unwrap();
        assert_eq!(same, lasso);
        assert!(Lasso::from_products(vec![1.0; 3], vec![1.0; 2]).is_err());
        assert!(lasso.fit(-1.0, None).unwrap_err().to_string().contains("lambda"));
        // A column that is 0 throughout keeps a coefficient of 0.
        let with_zero = Matrix::from_fn(100, 4, |i, j| if j == 3 { 0.0 } else { x.get(i, j) });
        let fit = Lasso::new(&with_zero, &y).unwrap().fit(0.01, None).unwrap();
        assert_eq!(fit.coefficients[3], 0.0);
    }
}

//! Ridge regression and the choice of its strength.

use super::check;
use crate::error::{FitError, StatsError, at_least, finite, length, not_negative};
use crate::matrix::Matrix;
use crate::qr::Basis;
use crate::sum::{compensated, dot};
use nalgebra::{DMatrix, DVector};

/// A ridge fit.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeFit {
    /// One coefficient for each column.
    pub coefficients: Vec<f64>,
    /// Trace of the hat matrix: the effective number of parameters.
    pub effective_parameters: f64,
    /// `sum (y - x b)^2`.
    pub residual_squares: f64,
    /// Generalised cross-validation (Golub, Heath & Wahba, 1979): `n RSS / (n - trace)^2`; infinite when the trace
    /// reaches `n`.
    pub gcv: f64,
}

impl RidgeFit {
    /// `x b` for each row of `x`.
    ///
    /// # Errors
    /// [`FitError::Input`] unless `x` is finite and has one column for each coefficient.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>, FitError> {
        x.check("the design")?;
        Ok(x.times(&self.coefficients)?)
    }
}

/// The best of several strengths.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeChoice {
    /// The strength with the lowest score (the first one, among equals).
    pub lambda: f64,
    /// The score of each candidate, in the order given.
    pub scores: Vec<f64>,
    /// The fit with the chosen strength.
    pub fit: RidgeFit,
}

/// Minimises `sum (y - x b)^2 + lambda sum b_j^2` in closed form. Every column is penalised alike, an intercept too:
/// see [`ridge_by_column`].
///
/// # Errors
/// [`FitError::Input`] for wrong lengths, values that are not finite, or a negative `lambda`;
/// [`FitError::RankDeficient`] when `lambda` is 0 (or vanishes in rounding) and the columns are dependent.
pub fn ridge(x: &Matrix, y: &[f64], lambda: f64) -> Result<RidgeFit, FitError> {
    ridge_by_column(x, y, &vec![lambda; x.cols()])
}

/// Minimises `sum (y - x b)^2 + sum strength_j b_j^2`; a strength of 0 leaves a column (the intercept) free.
///
/// # Errors
/// As [`ridge`].
pub fn ridge_by_column(x: &Matrix, y: &[f64], strength: &[f64]) -> Result<RidgeFit, FitError> {
    Reduced::new(x, y)?.fit(strength)
}

/// Chooses `lambda` by generalised cross-validation; the strengths are `lambda * shape` (1 for a penalised column, 0
/// for a free one).
///
/// # Errors
/// As [`ridge`]; [`FitError::Input`] without candidates.
pub fn ridge_gcv(x: &Matrix, y: &[f64], shape: &[f64], lambdas: &[f64]) -> Result<RidgeChoice, FitError> {
    let reduced = Reduced::new(x, y)?;
    choose(&reduced, shape, lambdas, |fit| Ok(fit.gcv))
}

/// Chooses `lambda` by the mean squared error on held-out rows; the strengths are `lambda * shape`.
///
/// # Errors
/// As [`ridge`], for both sets of rows; [`FitError::Input`] without candidates.
pub fn ridge_held_out(
    train: (&Matrix, &[f64]),
    held_out: (&Matrix, &[f64]),
    shape: &[f64],
    lambdas: &[f64],
) -> Result<RidgeChoice, FitError> {
    check(held_out.0, held_out.1)?;
    length("columns of the held-out design", train.0.cols(), held_out.0.cols())?;
    let reduced = Reduced::new(train.0, train.1)?;
    choose(&reduced, shape, lambdas, |fit| {
        let predicted = held_out.0.times(&fit.coefficients)?;
        let squares = compensated(predicted.iter().zip(held_out.1).map(|(p, y)| (y - p) * (y - p)));
        Ok(squares / held_out.1.len() as f64)
    })
}

fn choose(
    reduced: &Reduced,
    shape: &[f64],
    lambdas: &[f64],
    score: impl Fn(&RidgeFit) -> Result<f64, FitError>,
) -> Result<RidgeChoice, FitError> {
    at_least("the candidates for lambda", 1, lambdas.len())?;
    not_negative("lambda", lambdas)?;
    let mut best: Option<(f64, f64, RidgeFit)> = None;
    let mut scores = Vec::with_capacity(lambdas.len());
    for &lambda in lambdas {
        let strength: Vec<f64> = shape.iter().map(|s| s * lambda).collect();
        let fit = reduced.fit(&strength)?;
        let value = score(&fit)?;
        scores.push(value);
        if best.as_ref().is_none_or(|(lowest, _, _)| value < *lowest) {
            best = Some((value, lambda, fit));
        }
    }
    match best {
        Some((_, lambda, fit)) => Ok(RidgeChoice { lambda, scores, fit }),
        None => Err(StatsError::TooFew { what: "the candidates for lambda", wanted: 1, got: 0 }.into()),
    }
}

/// The data rotated down to at most as many rows as columns; sums of squares and traces stay the same.
struct Reduced {
    n: usize,
    cols: usize,
    /// Row-major.
    x: Vec<f64>,
    y: Vec<f64>,
    /// Squares of `y` outside the span of the columns.
    outside: f64,
}

impl Reduced {
    fn new(x: &Matrix, y: &[f64]) -> Result<Self, FitError> {
        check(x, y)?;
        let (n, cols) = (x.rows(), x.cols());
        if n <= cols {
            return Ok(Self { n, cols, x: x.data().to_vec(), y: y.to_vec(), outside: 0.0 });
        }
        let qr = DMatrix::from_row_slice(n, cols, x.data()).qr();
        let mut rotated = DVector::from_column_slice(y);
        qr.q_tr_mul(&mut rotated);
        let (inside, outside) = rotated.as_slice().split_at(cols);
        Ok(Self {
            n,
            cols,
            x: qr.r().transpose().as_slice().to_vec(),
            y: inside.to_vec(),
            outside: compensated(outside.iter().map(|v| v * v)),
        })
    }

    fn fit(&self, strength: &[f64]) -> Result<RidgeFit, FitError> {
        length("penalty strength", self.cols, strength.len())?;
        not_negative("penalty strength", strength)?;
        finite("penalty strength", strength)?;
        let mut rows = self.x.clone();
        for (j, s) in strength.iter().enumerate().filter(|(_, s)| **s > 0.0) {
            rows.extend((0..self.cols).map(|k| if k == j { s.sqrt() } else { 0.0 }));
        }
        let basis = Basis::new(&rows, self.cols)?;
        let mut gamma = vec![0.0; self.cols];
        for (i, y) in self.y.iter().enumerate() {
            for (g, q) in gamma.iter_mut().zip(basis.row(i)) {
                *g += q * y;
            }
        }
        let left = self.y.iter().enumerate().map(|(i, y)| (y - dot(basis.row(i), &gamma)).powi(2));
        let residual_squares = compensated(left) + self.outside;
        let effective_parameters = (0..self.y.len()).map(|i| dot(basis.row(i), basis.row(i))).sum::<f64>();
        let n = self.n as f64;
        let slack = n - effective_parameters;
        Ok(RidgeFit {
            coefficients: basis.coefficients(&gamma),
            effective_parameters,
            residual_squares,
            gcv: if slack > 1e-10 * n { n * residual_squares / (slack * slack) } else { f64::INFINITY },
        })
    }
}

//! Logistic regression of responses in `[0, 1]` (the fractional logit of Papke & Wooldridge, 1996).
//!
//! Minimises over `b` the summed cross-entropy and a penalty,
//!
//! `sum_i w_i [log(1 + e^{x_i b}) - y_i x_i b] + penalty(b)`.
//!
//! There is no implicit intercept: put a column of ones into the design ([`Matrix::with_intercept`]).
//!
//! ```
//! use ream_stats::{Covariance, Matrix, glm};
//! let x = Matrix::from_columns(&[vec![0.5, -1.0, 2.0, 0.1, -0.3, 1.2]]).unwrap().with_intercept();
//! let y = [0.4, 0.2, 0.9, 0.5, 0.6, 0.7];
//! let fit = glm::fractional_logistic(&x, &y, None, &glm::Penalty::None).unwrap();
//! let covariance = fit.covariance(&x, &y, None, Covariance::Hc0).unwrap();
//! assert!(fit.converged && !fit.separated);
//! assert!(fit.coefficients[1] > 0.0 && covariance.get(1, 1) > 0.0);
//! ```

mod lasso;
mod newton;
mod separation;

use crate::columns::{add_rows, add_sizes, row_dots};
use crate::covariance::{Covariance, Scores};
use crate::error::{FitError, StatsError, at_least, finite, length, not_negative};
use crate::matrix::Matrix;
use crate::sum::{chunked, compensated, filled, mapped};
use nalgebra::DMatrix;
use std::borrow::Cow;

/// A fit has converged when each entry of its gradient is below this part of the sum of its absolute terms.
pub const GRADIENT_TOLERANCE: f64 = 1e-9;

/// What is added to the summed cross-entropy.
#[derive(Clone, Debug, PartialEq)]
pub enum Penalty {
    /// Nothing: maximum (quasi-)likelihood.
    None,
    /// `1/2 sum_j strength_j (b_j - centre_j)^2`.
    L2 {
        /// One number of at least 0 for each column; 0 leaves the column free.
        strength: Vec<f64>,
        /// What each coefficient is drawn to.
        centre: Vec<f64>,
    },
    /// `sum_j strength_j |b_j|`.
    L1 {
        /// One number of at least 0 for each column; 0 leaves the column free.
        strength: Vec<f64>,
    },
}

impl Penalty {
    /// The same L2 strength towards 0 for each of `cols` columns.
    #[must_use]
    pub fn ridge(strength: f64, cols: usize) -> Self {
        Self::L2 { strength: vec![strength; cols], centre: vec![0.0; cols] }
    }

    /// The same L1 strength for each of `cols` columns.
    #[must_use]
    pub fn lasso(strength: f64, cols: usize) -> Self {
        Self::L1 { strength: vec![strength; cols] }
    }

    fn check(&self, cols: usize) -> Result<(), StatsError> {
        match self {
            Self::None => Ok(()),
            Self::L2 { strength, centre } => {
                length("penalty strength", cols, strength.len())?;
                length("penalty centre", cols, centre.len())?;
                not_negative("penalty strength", strength)?;
                finite("penalty centre", centre)
            }
            Self::L1 { strength } => {
                length("penalty strength", cols, strength.len())?;
                not_negative("penalty strength", strength)
            }
        }
    }
}

/// A fitted logistic regression.
#[derive(Clone, Debug, PartialEq)]
pub struct GlmFit {
    /// One coefficient (log odds per unit) for each column.
    pub coefficients: Vec<f64>,
    /// Newton steps taken.
    pub iterations: usize,
    /// Whether the gradient (with L1: the subgradient of least size) is below [`GRADIENT_TOLERANCE`] and the
    /// steps have died out.
    pub converged: bool,
    /// Largest entry of the gradient, each relative to the sum of its absolute terms.
    pub gradient_norm: f64,
    /// `sum_i w_i [y_i log mu_i + (1 - y_i) log(1 - mu_i)]`, without the penalty.
    pub log_likelihood: f64,
    /// The rows can be separated, completely or in part, along columns that are not penalised: the maximum does not
    /// exist, coefficients run off to infinity and are those of the iteration at which this was noticed.
    pub separated: bool,
    penalty: Penalty,
}

/// The rows of positive weight.
pub(crate) struct Data<'a> {
    /// Row-major design.
    x: Cow<'a, [f64]>,
    cols: usize,
    y: Vec<f64>,
    w: Vec<f64>,
    /// Position of each row in the user's data.
    index: Vec<usize>,
}

impl<'a> Data<'a> {
    fn new(x: &'a Matrix, y: &[f64], weights: Option<&[f64]>) -> Result<Self, FitError> {
        x.check("the design")?;
        length("y", x.rows(), y.len())?;
        check_response(y)?;
        if let Some(weights) = weights {
            length("weights", x.rows(), weights.len())?;
            not_negative("weights", weights)?;
        }
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let index: Vec<usize> = (0..x.rows()).filter(|&i| weight(i) > 0.0).collect();
        at_least("the fit (rows of positive weight)", 1, index.len())?;
        let picked = || index.iter().flat_map(|&i| x.row(i)).copied().collect();
        let rows = if index.len() == x.rows() { Cow::Borrowed(x.data()) } else { Cow::Owned(picked()) };
        Ok(Self {
            x: rows,
            cols: x.cols(),
            y: index.iter().map(|&i| y[i]).collect(),
            w: index.iter().map(|&i| weight(i)).collect(),
            index,
        })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.cols..(i + 1) * self.cols]
    }

    /// `x b` of every row.
    fn predictors(&self, b: &[f64]) -> Vec<f64> {
        filled(self.y.len(), |first, out| row_dots(out, |i| self.row(first + i), b))
    }

    fn log_likelihood(&self, eta: &[f64]) -> f64 {
        let term = |i: usize| self.w[i] * cross_entropy(self.y[i], eta[i]);
        -compensated(mapped(eta.len(), term))
    }

    /// Gradient of the cross-entropy, and for each entry the sum of its absolute terms at `mu - y = 1`.
    fn gradient(&self, eta: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let p = self.cols;
        let mut sums = chunked(eta.len(), 2 * p, |range, sums| {
            let rows = &self.x[range.start * p..range.end * p];
            let down = |i: usize| -(self.w[i] * residual(self.y[i], eta[i]));
            let factors: Vec<f64> = range.clone().map(down).collect();
            let (gradient, scale) = sums.split_at_mut(p);
            add_rows(gradient, &factors, rows);
            add_sizes(scale, &self.w[range], rows);
        });
        let scale = sums.split_off(p);
        (sums, scale)
    }
}

/// Fits a logistic regression of `y` in `[0, 1]` on the columns of `x`.
///
/// `weights` multiply the rows' cross-entropies; a row of weight 0 is as good as absent.
///
/// # Errors
/// [`FitError::Input`] for wrong lengths, values that are not finite, `y` outside `[0, 1]`, negative weights or
/// strengths; [`FitError::RankDeficient`] when the columns without a penalty are linearly dependent. Separated data
/// are no error: see [`GlmFit::separated`].
pub fn fractional_logistic(
    x: &Matrix,
    y: &[f64],
    weights: Option<&[f64]>,
    penalty: &Penalty,
) -> Result<GlmFit, FitError> {
    let data = Data::new(x, y, weights)?;
    penalty.check(data.cols)?;
    let outcome = match penalty {
        Penalty::None => newton::fit(&data, None)?,
        Penalty::L2 { strength, centre } => newton::fit(&data, Some((strength, centre)))?,
        Penalty::L1 { strength } => lasso::fit(&data, strength)?,
    };
    let eta = data.predictors(&outcome.coefficients);
    Ok(GlmFit {
        log_likelihood: data.log_likelihood(&eta),
        gradient_norm: gradient_norm(&data, (&outcome.coefficients, &eta), penalty),
        coefficients: outcome.coefficients,
        iterations: outcome.iterations,
        converged: outcome.converged,
        separated: outcome.separated,
        penalty: penalty.clone(),
    })
}

/// What an optimiser ends with.
pub(crate) struct Outcome {
    pub(crate) coefficients: Vec<f64>,
    pub(crate) iterations: usize,
    pub(crate) converged: bool,
    pub(crate) separated: bool,
}

fn gradient_norm(data: &Data<'_>, (b, eta): (&[f64], &[f64]), penalty: &Penalty) -> f64 {
    let (gradient, scale) = data.gradient(eta);
    let entry = |j: usize| {
        let (size, scale) = match penalty {
            Penalty::None => (gradient[j].abs(), scale[j]),
            Penalty::L2 { strength: s, centre: c } => {
                ((gradient[j] + s[j] * (b[j] - c[j])).abs(), scale[j] + s[j] * (b[j].abs() + c[j].abs()))
            }
            Penalty::L1 { strength } => (lasso::subgradient(gradient[j], b[j], strength[j]), scale[j]),
        };
        if scale > 0.0 { size / scale } else { size }
    };
    (0..data.cols).map(entry).fold(0.0, f64::max)
}

impl GlmFit {
    /// Fitted means `1 / (1 + e^{-x b})`, one for each row.
    ///
    /// # Errors
    /// [`FitError::Input`] unless `x` is finite and has one column for each coefficient.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>, FitError> {
        x.check("the design")?;
        Ok(x.times(&self.coefficients)?.into_iter().map(sigmoid).collect())
    }

    /// Covariance of the coefficients, `[columns, columns]`, for the rows that were fitted.
    ///
    /// Under an L2 penalty the information includes the penalty, so [`Covariance::Classical`] is the Laplace
    /// approximation to the posterior and the sandwiches have the penalised bread.
    ///
    /// # Errors
    /// [`FitError::Input`] when `x`, `y`, `weights` or cluster identifiers do not fit together;
    /// [`FitError::NoCovariance`] for L1 and for separated data; the errors of the kind of covariance.
    pub fn covariance(
        &self,
        x: &Matrix,
        y: &[f64],
        weights: Option<&[f64]>,
        kind: Covariance<'_>,
    ) -> Result<Matrix, FitError> {
        let data = Data::new(x, y, weights)?;
        length("columns of the design", self.coefficients.len(), data.cols)?;
        if self.separated {
            return Err(FitError::NoCovariance { why: "the data are separated; penalise the fit" });
        }
        let strength = match &self.penalty {
            Penalty::None => None,
            Penalty::L2 { strength, .. } => Some(strength.as_slice()),
            Penalty::L1 { .. } => {
                return Err(FitError::NoCovariance {
                    why: "an L1 fit has no standard errors; refit the chosen columns without a penalty",
                });
            }
        };
        self.sandwich(&data, x.rows(), strength, kind)
    }

    fn sandwich(
        &self,
        data: &Data<'_>,
        total: usize,
        strength: Option<&[f64]>,
        kind: Covariance<'_>,
    ) -> Result<Matrix, FitError> {
        let n = data.y.len();
        let basis = newton::augmented(data, strength)?;
        let eta = data.predictors(&self.coefficients);
        let curvature: Vec<f64> = eta.iter().zip(&data.w).map(|(&e, w)| w * variance(e)).collect();
        let bread =
            inverse(newton::information(&basis, curvature.clone())).ok_or(FitError::NoCovariance {
                why: "the information is singular at the fitted coefficients",
            })?;
        let residual: Vec<f64> = (0..n).map(|i| data.w[i] * residual(data.y[i], eta[i])).collect();
        let leverage: Vec<f64> = if matches!(kind, Covariance::Hc2 | Covariance::Hc3) {
            mapped(n, |i| curvature[i] * quadratic_form(&bread, basis.row(i)))
        } else {
            Vec::new()
        };
        let scores = Scores {
            rows: &basis.rows,
            cols: data.cols,
            residual: &residual,
            leverage: &leverage,
            index: &data.index,
            total,
        };
        let inner = match scores.meat(kind)? {
            Some(meat) => &bread * meat * &bread,
            None => bread,
        };
        basis.covariance(&inner)
    }
}

/// Mean cross-entropy `-[y log p + (1 - y) log(1 - p)]` in nats, weighted when weights are given.
///
/// A certain prediction (`p` of 0 or 1) that is wrong costs infinity; nothing is clipped.
///
/// # Errors
/// [`StatsError`] for wrong lengths, no rows, values outside `[0, 1]`, or weights that are negative or all 0.
pub fn log_loss(y: &[f64], probability: &[f64], weights: Option<&[f64]>) -> Result<f64, StatsError> {
    at_least("log loss", 1, y.len())?;
    length("probability", y.len(), probability.len())?;
    check_response(y)?;
    unit_interval("probability", probability)?;
    let term = |y: f64, p: f64| {
        let part = |share: f64, log: f64| if share == 0.0 { 0.0 } else { share * log };
        -part(y, libm::log(p)) - part(1.0 - y, libm::log1p(-p))
    };
    let terms = y.iter().zip(probability).map(|(&y, &p)| term(y, p));
    let Some(weights) = weights else {
        return Ok(compensated(terms) / y.len() as f64);
    };
    length("weights", y.len(), weights.len())?;
    not_negative("weights", weights)?;
    let total = compensated(weights.iter().copied());
    if total <= 0.0 {
        return Err(StatsError::Undefined { what: "log loss", why: "all weights are 0" });
    }
    let weighted = terms.zip(weights).map(|(t, &w)| if w == 0.0 { 0.0 } else { w * t });
    Ok(compensated(weighted) / total)
}

/// `1 / (1 + e^{-eta})` without overflow.
#[must_use]
pub fn sigmoid(eta: f64) -> f64 {
    if eta >= 0.0 {
        1.0 / (1.0 + libm::exp(-eta))
    } else {
        let e = libm::exp(eta);
        e / (1.0 + e)
    }
}

/// `log(1 + e^eta) - y eta`.
pub(crate) fn cross_entropy(y: f64, eta: f64) -> f64 {
    // The large parts are taken together: `eta - y eta` is exactly 0 at y = 1.
    if eta > 0.0 {
        (1.0 - y) * eta + libm::log1p(libm::exp(-eta))
    } else {
        libm::log1p(libm::exp(eta)) - y * eta
    }
}

/// `y - mu`, accurate when `mu` is near `y`.
pub(crate) fn residual(y: f64, eta: f64) -> f64 {
    y * sigmoid(-eta) - (1.0 - y) * sigmoid(eta)
}

/// `mu (1 - mu)`.
pub(crate) fn variance(eta: f64) -> f64 {
    sigmoid(eta) * sigmoid(-eta)
}

pub(crate) fn inverse(matrix: DMatrix<f64>) -> Option<DMatrix<f64>> {
    matrix.cholesky().map(|c| c.inverse())
}

fn quadratic_form(matrix: &DMatrix<f64>, v: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (j, b) in v.iter().enumerate() {
        for (i, a) in v.iter().enumerate() {
            sum += a * matrix[(i, j)] * b;
        }
    }
    sum
}

fn check_response(y: &[f64]) -> Result<(), StatsError> {
    unit_interval("y", y)
}

/// Errors unless every value lies in `[0, 1]`.
pub(crate) fn unit_interval(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    finite(what, values)?;
    match values.iter().enumerate().find(|(_, v)| !(0.0..=1.0).contains(*v)) {
        Some((row, &value)) => Err(StatsError::OutOfRange { what, row, value, allowed: "0 to 1" }),
        None => Ok(()),
    }
}

//! An orthonormal basis of the columns of a design (QR with column pivoting).
//!
//! Fits work on the basis, where the normal equations are well conditioned even when the columns are nearly
//! collinear, and go back to the coefficients by one triangular solve.

use crate::error::FitError;
use crate::matrix::Matrix;
use nalgebra::{DMatrix, DVector};

/// Columns that agree with a combination of the others to this relative size count as dependent.
pub(crate) const RANK_TOLERANCE: f64 = 1e-12;

/// `X = Q R' `: `rows` holds `Q` row by row, `back` turns basis coefficients into coefficients of `X`.
pub(crate) struct Basis {
    /// `Q`, row-major, `[rows, cols]`.
    pub(crate) rows: Vec<f64>,
    /// Number of columns.
    pub(crate) cols: usize,
    /// `T` with `beta = T gamma`, `[cols, cols]`.
    pub(crate) back: DMatrix<f64>,
}

impl Basis {
    /// The basis of a row-major design of `cols` columns.
    pub(crate) fn new(data: &[f64], cols: usize) -> Result<Self, FitError> {
        let n = data.len() / cols;
        let mut x = DMatrix::from_row_slice(n, cols, data);
        let scale: Vec<f64> = x.column_iter().map(|c| norm(c.iter())).collect();
        for (mut column, &s) in x.column_iter_mut().zip(&scale) {
            if s > 0.0 {
                column /= s;
            }
        }
        if n < cols {
            return Err(FitError::RankDeficient { rank: n, columns: cols, column: cols - 1 });
        }
        let qr = x.col_piv_qr();
        let mut order = DMatrix::from_fn(1, cols, |_, j| j);
        qr.p().permute_columns(&mut order);
        let r = qr.r();
        let rank = (0..cols).take_while(|&j| r[(j, j)].abs() > RANK_TOLERANCE * r[(0, 0)].abs()).count();
        if rank < cols {
            return Err(FitError::RankDeficient { rank, columns: cols, column: order[(0, rank)] });
        }
        let mut inverse = DMatrix::identity(cols, cols);
        if !r.solve_upper_triangular_mut(&mut inverse) {
            return Err(FitError::RankDeficient { rank, columns: cols, column: order[(0, cols - 1)] });
        }
        let mut back = DMatrix::zeros(cols, cols);
        for k in 0..cols {
            let j = order[(0, k)];
            for m in 0..cols {
                back[(j, m)] = inverse[(k, m)] / scale[j];
            }
        }
        // Column-major storage of the transpose is row-major storage of Q.
        let rows = qr.q().transpose().as_slice().to_vec();
        Ok(Self { rows, cols, back })
    }

    /// Row `i` of `Q`.
    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.cols..(i + 1) * self.cols]
    }

    /// Coefficients of the design from coefficients of the basis.
    pub(crate) fn coefficients(&self, gamma: &[f64]) -> Vec<f64> {
        (&self.back * DVector::from_column_slice(gamma)).as_slice().to_vec()
    }

    /// `T' v`: the gradient in the basis from the gradient in the coefficients.
    pub(crate) fn transposed(&self, v: &[f64]) -> Vec<f64> {
        (self.back.transpose() * DVector::from_column_slice(v)).as_slice().to_vec()
    }

    /// Covariance of the coefficients from that of the basis coefficients, made exactly symmetric.
    pub(crate) fn covariance(&self, inner: &DMatrix<f64>) -> Result<Matrix, FitError> {
        covariance_matrix(&(&self.back * inner * self.back.transpose()))
    }
}

/// A covariance, made exactly symmetric.
pub(crate) fn covariance_matrix(outer: &DMatrix<f64>) -> Result<Matrix, FitError> {
    let p = outer.ncols();
    if outer.iter().all(|v| v.is_finite()) {
        Ok(Matrix::from_fn(p, p, |i, j| 0.5 * (outer[(i, j)] + outer[(j, i)])))
    } else {
        Err(FitError::NoCovariance { why: "it overflows; rescale the columns" })
    }
}

/// Euclidean norm that neither overflows nor underflows.
fn norm<'a>(values: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let largest = values.clone().fold(0.0_f64, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    largest * values.map(|v| (v / largest) * (v / largest)).sum::<f64>().sqrt()
}

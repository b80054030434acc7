//! An orthonormal basis of the columns of a design (QR with column pivoting).
//!
//! Fits work on the basis, where the normal equations are well conditioned even when the columns are nearly
//! collinear, and go back to the coefficients by one triangular solve.

use crate::blocks::{powers_of_two, triangle};
use crate::columns::{row_dots, times_upper};
use crate::error::FitError;
use crate::matrix::Matrix;
use crate::sum::{CHUNK, filled};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Columns that agree with a combination of the others to this relative size count as dependent.
pub(crate) const RANK_TOLERANCE: f64 = 1e-12;

/// Designs of more rows than this are factorised in blocks.
pub(crate) const TALL: usize = 1 << 12;
/// Up to this condition number `Q` from the inverse of the triangle is orthonormal to ten digits.
const FAR_FROM_DEPENDENT: f64 = 1e5;

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
    /// The basis of a row-major design of `cols` columns. Where it is tall and its columns are far from dependent, the triangle comes from
    /// blocks of rows on all threads, and `Q` is the design times its inverse.
    pub(crate) fn new(data: &[f64], cols: usize) -> Result<Self, FitError> {
        let n = data.len() / cols;
        if n > TALL
            && let Some(basis) = Self::tall(data, cols)
        {
            return Ok(basis);
        }
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

    /// The basis from the triangle of the blocks; none where columns are so near to dependent that `Q` would not be orthonormal to many digits.
    fn tall(data: &[f64], cols: usize) -> Option<Self> {
        let n = data.len() / cols;
        let row = |i: usize| &data[i * cols..(i + 1) * cols];
        let scale = powers_of_two(n, cols, |i, to| to.copy_from_slice(row(i)));
        let r = triangle(n, cols, |i, to| {
            to.iter_mut().zip(row(i)).zip(&scale).for_each(|((to, v), s)| *to = v * s);
        });
        let back = inverse(&r, &scale).ok()?;
        if condition(&r, &back, &scale) > FAR_FROM_DEPENDENT {
            return None;
        }
        let mut rows = vec![0.0; data.len()];
        rows.par_chunks_mut(CHUNK * cols).zip(data.par_chunks(CHUNK * cols)).for_each(|(rows, data)| {
            times_upper(rows, data, back.transpose().as_slice(), cols);
        });
        Some(Self { rows, cols, back })
    }

    /// `Q gamma`.
    pub(crate) fn times(&self, gamma: &[f64]) -> Vec<f64> {
        filled(self.rows.len() / self.cols, |first, out| row_dots(out, |i| self.row(first + i), gamma))
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

/// `T = D R^-1` with `b = T z`, or which column is dependent; `D` are the powers of two that scaled the columns.
pub(crate) fn inverse(r: &DMatrix<f64>, scale: &[f64]) -> Result<DMatrix<f64>, FitError> {
    let p = r.ncols();
    for j in 0..p {
        let size = r.view((0, j), (j + 1, 1)).norm();
        if r[(j, j)].abs() <= RANK_TOLERANCE * size {
            let rank = (0..p).filter(|&k| r[(k, k)].abs() > RANK_TOLERANCE * r.column(k).norm()).count();
            return Err(FitError::RankDeficient { rank, columns: p, column: j });
        }
    }
    let mut inverse = DMatrix::identity(p, p);
    if !r.solve_upper_triangular_mut(&mut inverse) {
        return Err(FitError::RankDeficient { rank: p - 1, columns: p, column: p - 1 });
    }
    for (j, s) in scale.iter().take(p).enumerate() {
        inverse.row_mut(j).scale_mut(*s);
    }
    Ok(inverse)
}

/// Condition number (in the Frobenius norm) of the design with columns of length 1, from its triangle and [`inverse`].
pub(crate) fn condition(r: &DMatrix<f64>, back: &DMatrix<f64>, scale: &[f64]) -> f64 {
    let p = r.ncols();
    let size = |j: usize| r.column(j).norm();
    let inverse = (0..p).map(|j| (back.row(j) * (size(j) / scale[j])).norm_squared()).sum::<f64>();
    (p as f64 * inverse).sqrt()
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

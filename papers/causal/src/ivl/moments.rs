//! Sums of products of the columns `[G X y]`: all that linear fits, their selectors and the two-environment baselines need.
//!
//! Sums of rows add, so that a fold is left out by subtraction, and a million rows need no more memory than a block of them.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn, SymmetricEigen};
use ream_stats::Matrix;

/// Rows that are multiplied at once.
const BLOCK: usize = 1024;
/// Pivots (of a matrix of unit diagonal) below this count as 0.
const SINGULAR: f64 = 1e-14;
/// What is then added to the unit diagonal.
const RIDGE: f64 = 1e-12;

/// Sums of products of rows of equal width, block by block.
pub struct Sums {
    width: usize,
    total: DMatrix<f64>,
    block: Vec<f64>,
    rows: usize,
}

impl Sums {
    /// No rows yet, each of `width` values.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width, total: DMatrix::zeros(width, width), block: Vec::with_capacity(width * BLOCK), rows: 0 }
    }

    /// One more row; values beyond the width are left out, missing ones are 0.
    pub fn push(&mut self, row: impl IntoIterator<Item = f64>) {
        let end = self.block.len() + self.width;
        self.block.extend(row.into_iter().take(self.width));
        self.block.resize(end, 0.0);
        self.rows += 1;
        if end == self.width * BLOCK {
            self.absorb();
        }
    }

    fn absorb(&mut self) {
        // Rows one after the other are the columns of the transpose.
        let block = DMatrix::from_column_slice(self.width, self.block.len() / self.width.max(1), &self.block);
        self.total.gemm(1.0, &block, &block.transpose(), 1.0);
        self.block.clear();
    }

    /// The sums `[width, width]` and the number of rows.
    #[must_use]
    pub fn finish(mut self) -> (DMatrix<f64>, usize) {
        if !self.block.is_empty() {
            self.absorb();
        }
        (self.total, self.rows)
    }
}

/// Second moments of parameters `G [n, q]`, inputs `X [n, m]` and outcome `y [n]`, all centred.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Number of rows.
    pub rows: f64,
    /// `G'G`, `[q, q]`.
    pub gg: DMatrix<f64>,
    /// `G'X`, `[q, m]`.
    pub gx: DMatrix<f64>,
    /// `G'y`, `[q]`.
    pub gy: DVector<f64>,
    /// `X'X`, `[m, m]`.
    pub xx: DMatrix<f64>,
    /// `X'y`, `[m]`.
    pub xy: DVector<f64>,
    /// `y'y`.
    pub yy: f64,
}

/// Coefficients, and whether the normal equations were singular and had a ridge of 1e-12 added.
pub type Solved = (Vec<f64>, bool);

impl Moments {
    /// Moments of the rows with these positions.
    #[must_use]
    pub fn of_rows(g: &Matrix, x: &Matrix, y: &[f64], rows: impl IntoIterator<Item = usize>) -> Self {
        let mut sums = Sums::new(g.cols() + x.cols() + 1);
        for i in rows {
            sums.push(g.row(i).iter().chain(x.row(i)).copied().chain([y[i]]));
        }
        Self::from_sums(sums, g.cols(), x.cols())
    }

    /// Moments of all rows.
    #[must_use]
    pub fn of(g: &Matrix, x: &Matrix, y: &[f64]) -> Self {
        Self::of_rows(g, x, y, 0..y.len())
    }

    /// Moments from sums over `[G X y]` with `q` and `m` columns of `G` and `X`.
    #[must_use]
    pub fn from_sums(sums: Sums, q: usize, m: usize) -> Self {
        let (total, rows) = sums.finish();
        let column = |from: usize, len: usize| DVector::from_fn(len, |i, _| total[(from + i, q + m)]);
        Self {
            rows: rows as f64,
            gg: total.view((0, 0), (q, q)).into_owned(),
            gx: total.view((0, q), (q, m)).into_owned(),
            gy: column(0, q),
            xx: total.view((q, q), (m, m)).into_owned(),
            xy: column(q, m),
            yy: total[(q + m, q + m)],
        }
    }

    /// These rows without others that are among them.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self {
            rows: self.rows - others.rows,
            gg: &self.gg - &others.gg,
            gx: &self.gx - &others.gx,
            gy: &self.gy - &others.gy,
            xx: &self.xx - &others.xx,
            xy: &self.xy - &others.xy,
            yy: self.yy - others.yy,
        }
    }

    /// `X'PX` and `X'Py` with `P = G (G'G)^+ G'`, never formed.
    #[must_use]
    pub fn projected(&self) -> (DMatrix<f64>, DVector<f64>) {
        let inverse = pseudo_inverse(&self.gg);
        let first = &inverse * &self.gx;
        (self.gx.transpose() * &first, first.transpose() * &self.gy)
    }

    /// Least squares of `y` on `X`.
    #[must_use]
    pub fn least_squares(&self) -> Solved {
        solve(&self.xx, &self.xy)
    }

    /// The blend `(X'PX + alpha X'X) h = X'Py + alpha X'y` for each `alpha` above 0: two Gram matrices for the whole path.
    #[must_use]
    pub fn ivl_path(&self, alphas: &[f64]) -> (Vec<Vec<f64>>, bool) {
        let (a, b) = self.projected();
        let mut ridged = false;
        let path = alphas
            .iter()
            .map(|&alpha| {
                let (h, weak) = solve(&(&a + &self.xx * alpha), &(&b + &self.xy * alpha));
                ridged |= weak;
                h
            })
            .collect();
        (path, ridged)
    }

    /// `|y - Xh|^2 / n`.
    #[must_use]
    pub fn risk(&self, h: &[f64]) -> f64 {
        let h = DVector::from_column_slice(h);
        (self.yy - 2.0 * self.xy.dot(&h) + h.dot(&(&self.xx * &h))) / self.rows
    }

    /// `|P(y - Xh)|^2 / n`: the projection of the residuals, squared; not the projection of the squares.
    #[must_use]
    pub fn projected_risk(&self, h: &[f64]) -> f64 {
        let left = &self.gy - &self.gx * DVector::from_column_slice(h);
        left.dot(&(pseudo_inverse(&self.gg) * &left)) / self.rows
    }
}

/// Solves `A h = b` for a symmetric `A` without negative eigenvalues, scaled to a unit diagonal. A singular one gets
/// a ridge of 1e-12. Columns that are zero throughout get a coefficient of 0.
#[must_use]
pub fn solve(a: &DMatrix<f64>, b: &DVector<f64>) -> Solved {
    let m = a.nrows();
    let scale: Vec<f64> =
        (0..m).map(|j| if a[(j, j)] > 0.0 { 1.0 / a[(j, j)].sqrt() } else { 0.0 }).collect();
    let mut unit = DMatrix::from_fn(m, m, |i, j| if i == j { 1.0 } else { scale[i] * a[(i, j)] * scale[j] });
    let right = DVector::from_fn(m, |i, _| scale[i] * b[i]);
    let mut ridge = 0.0;
    loop {
        if let Some(factor) = well_conditioned(&unit) {
            let h = factor.solve(&right);
            return (h.iter().zip(&scale).map(|(h, s)| h * s).collect(), ridge > 0.0);
        }
        // Rounding may need more than the first ridge.
        ridge = if ridge == 0.0 { RIDGE } else { 10.0 * ridge };
        for j in 0..m {
            unit[(j, j)] = 1.0 + ridge;
        }
        if ridge > 1.0 {
            return (vec![0.0; m], true);
        }
    }
}

fn well_conditioned(unit: &DMatrix<f64>) -> Option<Cholesky<f64, Dyn>> {
    let factor = Cholesky::new(unit.clone())?;
    let diagonal = factor.l_dirty().diagonal();
    diagonal.iter().all(|d| d * d > SINGULAR).then_some(factor)
}

/// The Moore-Penrose inverse of a symmetric matrix without negative eigenvalues; eigenvalues below 1e-12 of the largest
/// count as 0.
#[must_use]
pub fn pseudo_inverse(a: &DMatrix<f64>) -> DMatrix<f64> {
    if a.nrows() == 0 {
        return a.clone();
    }
    let eigen = SymmetricEigen::new(a.clone());
    let largest = eigen.eigenvalues.iter().copied().fold(0.0_f64, f64::max);
    let inverse = eigen.eigenvalues.map(|v| if v > 1e-12 * largest { 1.0 / v } else { 0.0 });
    &eigen.eigenvectors * DMatrix::from_diagonal(&inverse) * eigen.eigenvectors.transpose()
}

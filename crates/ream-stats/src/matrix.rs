//! The matrix that goes into and comes out of the fits.

use crate::error::{StatsError, at_least, length};
use crate::sum::all_finite;

/// A dense matrix in row-major order: one row per observation, one column per variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// A matrix over `data`, in row-major order.
    ///
    /// # Errors
    /// [`StatsError::Length`] unless `data` holds `rows * cols` values. Values are checked by the fits, not here.
    pub fn new(rows: usize, cols: usize, data: Vec<f64>) -> Result<Self, StatsError> {
        length("matrix data", rows.saturating_mul(cols), data.len())?;
        Ok(Self { rows, cols, data })
    }

    /// A matrix from its rows.
    ///
    /// # Errors
    /// [`StatsError`] when there is no row, or when a row is not as long as the first.
    pub fn from_rows<R: AsRef<[f64]>>(rows: &[R]) -> Result<Self, StatsError> {
        at_least("a matrix (rows)", 1, rows.len())?;
        let cols = rows[0].as_ref().len();
        let mut data = Vec::with_capacity(rows.len() * cols);
        for row in rows {
            length("matrix row", cols, row.as_ref().len())?;
            data.extend_from_slice(row.as_ref());
        }
        Ok(Self { rows: rows.len(), cols, data })
    }

    /// A matrix from its columns.
    ///
    /// # Errors
    /// [`StatsError`] when there is no column, or when a column is not as long as the first.
    pub fn from_columns<C: AsRef<[f64]>>(columns: &[C]) -> Result<Self, StatsError> {
        at_least("a matrix (columns)", 1, columns.len())?;
        let rows = columns[0].as_ref().len();
        for column in columns {
            length("matrix column", rows, column.as_ref().len())?;
        }
        Ok(Self::from_fn(rows, columns.len(), |i, j| columns[j].as_ref()[i]))
    }

    /// A matrix whose entry `(i, j)` is `value(i, j)`.
    #[must_use]
    pub fn from_fn(rows: usize, cols: usize, mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let mut data = Vec::with_capacity(rows * cols);
        for i in 0..rows {
            for j in 0..cols {
                data.push(value(i, j));
            }
        }
        Self { rows, cols, data }
    }

    /// This matrix with a column of ones put in front.
    #[must_use]
    pub fn with_intercept(&self) -> Self {
        Self::from_fn(self.rows, self.cols + 1, |i, j| if j == 0 { 1.0 } else { self.get(i, j - 1) })
    }

    /// The rows with the given positions, in that order; positions may repeat.
    ///
    /// # Panics
    /// When a position is not below [`Matrix::rows`].
    #[must_use]
    pub fn select_rows(&self, positions: &[usize]) -> Self {
        Self::from_fn(positions.len(), self.cols, |i, j| self.get(positions[i], j))
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values in row-major order.
    #[must_use]
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// Entry of row `i`, column `j`.
    ///
    /// # Panics
    /// When `i` or `j` is out of range, as indexing a slice does.
    #[must_use]
    pub fn get(&self, i: usize, j: usize) -> f64 {
        assert!(j < self.cols, "column {j} of a matrix of {} columns", self.cols);
        self.data[i * self.cols + j]
    }

    /// Row `i`.
    ///
    /// # Panics
    /// When `i` is out of range, as indexing a slice does.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// A copy of column `j`.
    ///
    /// # Panics
    /// When `j` is out of range, as indexing a slice does.
    #[must_use]
    pub fn column(&self, j: usize) -> Vec<f64> {
        (0..self.rows).map(|i| self.get(i, j)).collect()
    }

    /// The main diagonal: the variances, when this is a covariance.
    #[must_use]
    pub fn diagonal(&self) -> Vec<f64> {
        (0..self.rows.min(self.cols)).map(|i| self.get(i, i)).collect()
    }

    /// The product with a vector, `[rows]`.
    ///
    /// # Errors
    /// [`StatsError::Length`] unless the vector has one value per column.
    pub fn times(&self, vector: &[f64]) -> Result<Vec<f64>, StatsError> {
        length("vector", self.cols, vector.len())?;
        Ok((0..self.rows).map(|i| crate::sum::dot(self.row(i), vector)).collect())
    }

    /// Checks that there is at least one row and column and that every value is finite.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), StatsError> {
        at_least("the design (rows)", 1, self.rows)?;
        at_least("the design (columns)", 1, self.cols)?;
        if all_finite(&self.data) {
            return Ok(());
        }
        match self.data.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            Some((at, &value)) => {
                Err(StatsError::CellNotFinite { what, row: at / self.cols, column: at % self.cols, value })
            }
            None => Ok(()),
        }
    }
}

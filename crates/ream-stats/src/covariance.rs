//! Covariances of estimated coefficients: classical, heteroscedasticity-robust and by cluster.
//!
//! Robust covariances are sandwiches `B M B`: `B` is the inverse information and `M` the sum of outer products of
//! the scores `s_i`, each enlarged for its leverage `h_i`:
//!
//! | kind | `M` | factor |
//! |---|---|---|
//! | HC0 | `sum s_i s_i'` | 1 |
//! | HC1 | `sum s_i s_i'` | `n / (n - p)` |
//! | HC2 | `sum s_i s_i' / (1 - h_i)` | 1 |
//! | HC3 | `sum s_i s_i' / (1 - h_i)^2` | 1 |
//! | cluster | `sum_g (sum_{i in g} s_i)(...)'` | `G / (G - 1) * (n - 1) / (n - p)` or 1 |
//!
//! The cluster factor is the one that statsmodels (`use_correction=True`) and Stata use. Rows of weight zero count
//! neither in `n` nor in `G`: they are as good as absent (statsmodels counts them).
//!
//! References: MacKinnon & White (1985); Liang & Zeger (1986); Cameron & Miller (2015).

use crate::columns::{self, symmetric};
use crate::error::{FitError, length};
use crate::sum::chunked;
use nalgebra::DMatrix;
use std::collections::BTreeMap;

/// Which covariance of the coefficients to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covariance<'a> {
    /// Inverse information (times the residual variance in least squares).
    Classical,
    /// White's sandwich.
    Hc0,
    /// HC0 times `n / (n - p)`.
    Hc1,
    /// Squared residuals divided by `1 - leverage`.
    Hc2,
    /// Residuals divided by `1 - leverage`.
    Hc3,
    /// By cluster, with the correction `G / (G - 1) * (n - 1) / (n - p)`; one identifier per row.
    Cluster(&'a [usize]),
    /// By cluster without a small-sample correction; one identifier per row.
    ClusterUncorrected(&'a [usize]),
}

impl<'a> Covariance<'a> {
    /// The same kind with other identifiers.
    pub(crate) fn with_clusters<'b>(self, ids: &'b [usize]) -> Covariance<'b>
    where
        'a: 'b,
    {
        match self {
            Covariance::Cluster(_) => Covariance::Cluster(ids),
            Covariance::ClusterUncorrected(_) => Covariance::ClusterUncorrected(ids),
            other => other,
        }
    }

    /// Degrees of freedom of tests on rows `index`: clusters less one, else rows less columns.
    pub(crate) fn freedom(self, index: &[usize], columns: usize) -> f64 {
        match self {
            Covariance::Cluster(ids) | Covariance::ClusterUncorrected(ids) => {
                let mut seen: Vec<usize> = index.iter().filter_map(|&i| ids.get(i).copied()).collect();
                seen.sort_unstable();
                seen.dedup();
                seen.len() as f64 - 1.0
            }
            _ => index.len() as f64 - columns as f64,
        }
    }
}

/// The rows that enter a sandwich, in the coordinates of a [`crate::qr::Basis`].
pub(crate) struct Scores<'a> {
    /// Row-major `[n, p]`; the score of row `i` is `residual[i]` times the row.
    pub(crate) rows: &'a [f64],
    pub(crate) cols: usize,
    pub(crate) residual: &'a [f64],
    pub(crate) leverage: &'a [f64],
    /// Position of each row in the user's data.
    pub(crate) index: &'a [usize],
    /// Number of rows in the user's data.
    pub(crate) total: usize,
}

impl Scores<'_> {
    /// `M`, with its factor. `None` for [`Covariance::Classical`], which has no sandwich.
    pub(crate) fn meat(&self, kind: Covariance<'_>) -> Result<Option<DMatrix<f64>>, FitError> {
        Ok(Some(match kind {
            Covariance::Classical => return Ok(None),
            Covariance::Hc0 => self.outer(|_| Ok(1.0))?,
            Covariance::Hc1 => self.outer(|_| Ok(1.0))? * (self.n() / self.freedom()?),
            Covariance::Hc2 => self.outer(|i| Ok(1.0 / self.slack(i)?.sqrt()))?,
            Covariance::Hc3 => self.outer(|i| Ok(1.0 / self.slack(i)?))?,
            Covariance::Cluster(ids) => {
                let (meat, clusters) = self.by_cluster(ids)?;
                meat * (clusters / (clusters - 1.0) * (self.n() - 1.0) / self.freedom()?)
            }
            Covariance::ClusterUncorrected(ids) => self.by_cluster(ids)?.0,
        }))
    }

    fn n(&self) -> f64 {
        self.residual.len() as f64
    }

    fn freedom(&self) -> Result<f64, FitError> {
        let (rows, columns) = (self.residual.len(), self.cols);
        if rows > columns {
            Ok((rows - columns) as f64)
        } else {
            Err(FitError::NoResidualFreedom { rows, columns })
        }
    }

    fn slack(&self, i: usize) -> Result<f64, FitError> {
        let slack = 1.0 - self.leverage[i];
        if slack > 1e-10 { Ok(slack) } else { Err(FitError::FullLeverage { row: self.index[i] }) }
    }

    fn outer(
        &self,
        factor: impl Fn(usize) -> Result<f64, FitError> + Sync,
    ) -> Result<DMatrix<f64>, FitError> {
        let p = self.cols;
        let factors: Vec<f64> = (0..self.residual.len()).map(factor).collect::<Result<_, _>>()?;
        let sums = chunked(self.residual.len(), p * (p + 1) / 2, |range, sums| {
            let mut score = vec![0.0; p];
            for i in range {
                let size = self.residual[i] * factors[i];
                let row = &self.rows[i * p..(i + 1) * p];
                score.iter_mut().zip(row).for_each(|(s, x)| *s = size * x);
                columns::add_outer(sums, &[1.0], &score, p);
            }
        });
        Ok(symmetric(&sums, p))
    }

    fn by_cluster(&self, ids: &[usize]) -> Result<(DMatrix<f64>, f64), FitError> {
        length("cluster identifiers", self.total, ids.len())?;
        let mut sums: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (i, row) in self.rows.chunks_exact(self.cols).take(self.residual.len()).enumerate() {
            let sum = sums.entry(ids[self.index[i]]).or_insert_with(|| vec![0.0; self.cols]);
            for (s, x) in sum.iter_mut().zip(row) {
                *s += self.residual[i] * x;
            }
        }
        if sums.len() < 2 {
            return Err(FitError::TooFewClusters { clusters: sums.len() });
        }
        let mut meat = DMatrix::zeros(self.cols, self.cols);
        for score in sums.values() {
            add_outer(&mut meat, score);
        }
        Ok((meat, sums.len() as f64))
    }
}

/// Adds `v v'`.
fn add_outer(sum: &mut DMatrix<f64>, v: &[f64]) {
    for (j, &b) in v.iter().enumerate() {
        for (i, &a) in v.iter().enumerate() {
            sum[(i, j)] += a * b;
        }
    }
}

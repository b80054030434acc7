//! Work over the rows of a tall design in bounded memory: blocks of a few hundred rows, held column by column.
//!
//! The triangle of a QR factorisation comes from Householder reflections of one block after the other under the
//! triangle so far (Golub & Van Loan, *Matrix Computations*, section 5.2; Demmel, Grigori, Hoemmen & Langou, 2012), never
//! from `X'X`: the digits are those of a QR of the whole, the memory is a block for each thread. Pieces of rows are of fixed
//! size and are combined in a fixed order, so the bits do not depend on the number of threads.
//!
//! Rows are given by a function that writes row `i` into a slice; nothing of the size of the design is copied.

use crate::columns::{add_dots, add_squares, combine, reflect, symmetric};
use crate::covariance::Covariance;
use crate::error::{FitError, length};
use crate::sum::{CHUNK, chunked, lane_dot};
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows of a block: with twenty columns it fits into the first two levels of a cache.
const BLOCK: usize = 256;
/// Rows that are turned into columns together: what they fill of a column is a line of the cache.
const FEW: usize = 8;

/// Consecutive rows, column by column.
pub(crate) struct Block<'a> {
    /// Position of the first row.
    pub(crate) first: usize,
    /// Number of rows.
    pub(crate) rows: usize,
    columns: &'a mut [f64],
}

impl Block<'_> {
    pub(crate) fn column(&self, j: usize) -> &[f64] {
        &self.columns[j * self.rows..(j + 1) * self.rows]
    }

    /// Column `j` and, to be written, all later ones.
    fn split(&mut self, j: usize) -> (&[f64], &mut [f64]) {
        let (before, after) = self.columns.split_at_mut((j + 1) * self.rows);
        (&before[j * self.rows..], after)
    }
}

/// Calls `work` on the blocks of `range`, in order.
fn blocks(
    range: core::ops::Range<usize>,
    cols: usize,
    fill: &impl Fn(usize, &mut [f64]),
    mut work: impl FnMut(Block<'_>),
) {
    let mut columns = vec![0.0; cols * BLOCK];
    let mut few = vec![0.0; cols * FEW];
    let mut first = range.start;
    while first < range.end {
        let rows = BLOCK.min(range.end - first);
        for start in (0..rows).step_by(FEW) {
            let count = FEW.min(rows - start);
            let few = &mut few[..count * cols];
            few.chunks_exact_mut(cols).enumerate().for_each(|(k, row)| fill(first + start + k, row));
            for (j, column) in columns[..cols * rows].chunks_exact_mut(rows).enumerate() {
                let to = &mut column[start..start + count];
                to.iter_mut().zip(few[j..].iter().step_by(cols)).for_each(|(to, v)| *to = *v);
            }
        }
        work(Block { first, rows, columns: &mut columns[..cols * rows] });
        first += rows;
    }
}

/// The upper triangle `R` of the QR factorisation of `rows` rows of `cols` values; its diagonal may have either sign.
///
/// Columns should be of similar size; see [`powers_of_two`].
pub(crate) fn triangle(rows: usize, cols: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> DMatrix<f64> {
    let piece = |k: usize| {
        let mut r = vec![0.0; cols * cols];
        blocks(k * CHUNK..((k + 1) * CHUNK).min(rows), cols, &fill, |mut block| absorb(&mut r, &mut block));
        r
    };
    let pieces: Vec<Vec<f64>> = (0..rows.div_ceil(CHUNK)).into_par_iter().map(piece).collect();
    let mut total: Option<Vec<f64>> = None;
    for piece in pieces {
        total = Some(match total {
            None => piece,
            Some(mut r) => {
                // The rows of the next triangle are a block of `cols` rows.
                let by_row =
                    |i: usize, row: &mut [f64]| row.copy_from_slice(&piece[i * cols..(i + 1) * cols]);
                blocks(0..cols, cols, &by_row, |mut block| absorb(&mut r, &mut block));
                r
            }
        });
    }
    DMatrix::from_row_slice(cols, cols, &total.unwrap_or_else(|| vec![0.0; cols * cols]))
}

/// Reflects the rows of a block into the triangle `r` (row-major, square).
fn absorb(r: &mut [f64], block: &mut Block<'_>) {
    let cols = block.columns.len() / block.rows.max(1);
    for j in 0..cols {
        let squares = lane_dot(block.column(j), block.column(j));
        if squares == 0.0 {
            continue;
        }
        let diagonal = r[j * cols + j];
        let norm = (diagonal * diagonal + squares).sqrt();
        // The sign that avoids cancellation.
        let image = if diagonal > 0.0 { -norm } else { norm };
        let head = diagonal - image;
        let scale = 2.0 / (head * head + squares);
        r[j * cols + j] = image;
        let (reflector, later) = block.split(j);
        reflect(reflector, head, scale, &mut r[j * cols + j + 1..(j + 1) * cols], later);
    }
}

/// For each column the power of two that brings its largest absolute value near 1: scaling by it is exact.
pub(crate) fn powers_of_two(rows: usize, cols: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    let piece = |k: usize| {
        let (mut largest, mut row) = (vec![0.0_f64; cols], vec![0.0; cols]);
        for i in k * CHUNK..((k + 1) * CHUNK).min(rows) {
            fill(i, &mut row);
            largest.iter_mut().zip(&row).for_each(|(m, v)| *m = m.max(v.abs()));
        }
        largest
    };
    let pieces: Vec<Vec<f64>> = (0..rows.div_ceil(CHUNK)).into_par_iter().map(piece).collect();
    (0..cols)
        .map(|j| {
            let largest = pieces.iter().fold(0.0_f64, |m, p| m.max(p[j]));
            if largest == 0.0 { 1.0 } else { libm::ldexp(1.0, (-libm::frexp(largest).1).clamp(-1000, 1000)) }
        })
        .collect()
}

/// Rows `z_i` that are a linear map of the rows of a design, each with a residual: the scores of an estimator are
/// `e_i z_i`. Their sums of squares are taken block by block.
pub(crate) struct MappedScores<'a, F> {
    /// Number of rows.
    pub(crate) rows: usize,
    /// Writes row `i` of the design.
    pub(crate) fill: F,
    /// `[columns of the design, width]`: `z_i = map' row_i`.
    pub(crate) map: &'a DMatrix<f64>,
    /// One for each row.
    pub(crate) residual: &'a [f64],
    /// Columns of the estimator, for the small-sample factors.
    pub(crate) parameters: usize,
    /// Whether `sum_j z_ij^2` is the leverage of row `i`, so that HC2 and HC3 exist.
    pub(crate) leverage: bool,
}

impl<F: Fn(usize, &mut [f64]) + Sync> MappedScores<'_, F> {
    /// `M = sum of outer products of the scores` with the factor of the kind, `[width, width]`. For
    /// [`Covariance::Classical`]: `sum z_i z_i'` times `sum e^2 / (n - parameters)`.
    pub(crate) fn meat(&self, kind: Covariance<'_>) -> Result<DMatrix<f64>, FitError> {
        let n = self.rows as f64;
        let (rows, columns) = (self.rows, self.parameters);
        if rows <= columns && !matches!(kind, Covariance::Hc0 | Covariance::ClusterUncorrected(_)) {
            return Err(FitError::NoResidualFreedom { rows, columns });
        }
        let freedom = n - columns as f64;
        let e = self.residual;
        Ok(match kind {
            Covariance::Classical => {
                let squares =
                    chunked(rows, 1, |range, sum| sum[0] = lane_dot(&e[range.clone()], &e[range]))[0];
                self.squares(|_, _| Some(1.0))? * (squares / freedom)
            }
            Covariance::Hc0 => self.squares(|i, _| Some(e[i] * e[i]))?,
            Covariance::Hc1 => self.squares(|i, _| Some(e[i] * e[i]))? * (n / freedom),
            Covariance::Hc2 | Covariance::Hc3 => {
                if !self.leverage {
                    return Err(FitError::NoCovariance {
                        why: "HC2 and HC3 need the leverages of least squares; use HC1 with instruments",
                    });
                }
                self.squares(|i, h| {
                    let slack = 1.0 - h;
                    let power = if matches!(kind, Covariance::Hc2) { slack } else { slack * slack };
                    (slack > 1e-10).then(|| e[i] * e[i] / power)
                })?
            }
            Covariance::Cluster(ids) => {
                let (meat, clusters) = self.by_cluster(ids)?;
                meat * (clusters / (clusters - 1.0) * (n - 1.0) / freedom)
            }
            Covariance::ClusterUncorrected(ids) => self.by_cluster(ids)?.0,
        })
    }

    /// The columns of `z` for a block, written one after the other.
    fn mapped(&self, block: &Block<'_>, z: &mut [f64]) {
        for (column, map) in z.chunks_exact_mut(block.rows).zip(self.map.column_iter()) {
            // Maps are mostly upper triangles.
            let factors = map.as_slice();
            let used = factors.iter().rposition(|f| *f != 0.0).map_or(0, |last| last + 1);
            combine(column, &factors[..used], block.columns);
        }
    }

    /// `sum_i weight(i, sum_j z_ij^2) z_i z_i'`; a missing weight is a leverage of 1.
    fn squares(&self, weight: impl Fn(usize, f64) -> Option<f64> + Sync) -> Result<DMatrix<f64>, FitError> {
        let width = self.map.ncols();
        // One more sum counts the rows of leverage 1.
        let sums = chunked(self.rows, width * (width + 1) / 2 + 1, |range, sums| {
            let (mut z, mut scaled) = (vec![0.0; width * BLOCK], vec![0.0; BLOCK]);
            blocks(range, self.map.nrows(), &self.fill, |block| {
                let z = &mut z[..width * block.rows];
                self.mapped(&block, z);
                let mut leverages = [0.0; BLOCK];
                add_squares(&mut leverages[..block.rows], z);
                let mut weights = [0.0; BLOCK];
                for k in 0..block.rows {
                    match weight(block.first + k, leverages[k]) {
                        Some(w) => weights[k] = w,
                        None => sums[width * (width + 1) / 2] += 1.0,
                    }
                }
                let column = |j: usize| &z[j * block.rows..(j + 1) * block.rows];
                let mut at = 0;
                for j in 0..width {
                    let scaled = &mut scaled[..block.rows];
                    for (s, (x, w)) in scaled.iter_mut().zip(column(j).iter().zip(&weights)) {
                        *s = x * w;
                    }
                    add_dots(&mut sums[at..=at + j], scaled, &z[..(j + 1) * block.rows]);
                    at += j + 1;
                }
            });
        });
        if sums[width * (width + 1) / 2] > 0.0 {
            return Err(FitError::FullLeverage { row: self.first_full_leverage() });
        }
        Ok(symmetric(&sums, width))
    }

    fn first_full_leverage(&self) -> usize {
        let mut row = vec![0.0; self.map.nrows()];
        let full = |row: &[f64]| {
            let z = |j: usize| self.map.column(j).iter().zip(row).map(|(f, v)| f * v).sum::<f64>();
            (0..self.map.ncols()).map(|j| z(j) * z(j)).sum::<f64>() >= 1.0 - 1e-9
        };
        (0..self.rows)
            .find(|&i| {
                (self.fill)(i, &mut row);
                full(&row)
            })
            .unwrap_or(0)
    }

    fn by_cluster(&self, ids: &[usize]) -> Result<(DMatrix<f64>, f64), FitError> {
        length("cluster identifiers", self.rows, ids.len())?;
        let (place, clusters) = places(ids);
        if clusters < 2 {
            return Err(FitError::TooFewClusters { clusters });
        }
        let width = self.map.ncols();
        let mut sums = vec![0.0; clusters * width];
        let mut z = vec![0.0; width * BLOCK];
        blocks(0..self.rows, self.map.nrows(), &self.fill, |block| {
            let z = &mut z[..width * block.rows];
            self.mapped(&block, z);
            for k in 0..block.rows {
                let i = block.first + k;
                let sum = &mut sums[place[i] * width..][..width];
                for (j, s) in sum.iter_mut().enumerate() {
                    *s += self.residual[i] * z[j * block.rows + k];
                }
            }
        });
        let mut meat = DMatrix::zeros(width, width);
        for sum in sums.chunks_exact(width) {
            for (j, b) in sum.iter().enumerate() {
                for (i, a) in sum.iter().enumerate() {
                    meat[(i, j)] += a * b;
                }
            }
        }
        Ok((meat, clusters as f64))
    }
}

/// The cluster of every row, counted from 0 in order of the identifiers, and how many there are.
fn places(ids: &[usize]) -> (Vec<usize>, usize) {
    let mut sorted = ids.to_vec();
    sorted.par_sort_unstable();
    sorted.dedup();
    // An identifier is one of those that it was taken from.
    let place = |id: &usize| sorted.binary_search(id).unwrap_or(0);
    (ids.par_iter().map(place).collect(), sorted.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn noise(rows: usize, cols: usize) -> Vec<f64> {
        let mut rng = Stream::new(3, "blocks").at(0);
        (0..rows * cols).map(|_| rng.normal()).collect()
    }

    #[test]
    fn the_triangle_of_the_blocks_is_the_triangle_of_the_whole() {
        for (rows, cols) in [(3, 3), (7, 4), (256, 5), (1000, 6), (9000, 3)] {
            let data = noise(rows, cols);
            let fill = |i: usize, row: &mut [f64]| row.copy_from_slice(&data[i * cols..(i + 1) * cols]);
            let ours = triangle(rows, cols, fill);
            let whole = DMatrix::from_row_slice(rows, cols, &data).qr().r();
            for j in 0..cols {
                let sign = ours[(j, j)].signum() * whole[(j, j)].signum();
                for k in 0..cols {
                    let (a, b) = (sign * ours[(j, k)], if k < j { 0.0 } else { whole[(j, k)] });
                    assert!(
                        (a - b).abs() < 1e-12 * (rows as f64).sqrt(),
                        "{rows} {cols} ({j}, {k}): {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn fewer_rows_than_columns_and_no_rows() {
        let data = [1.0, 2.0, 3.0];
        let r = triangle(1, 3, |_, row| row.copy_from_slice(&data));
        assert_eq!((r[(0, 0)], r[(1, 1)], r[(2, 2)]), (1.0, 0.0, 0.0));
        assert_eq!(triangle(0, 2, |_, _| ()), DMatrix::zeros(2, 2));
    }

    #[test]
    fn scaling_is_by_powers_of_two() {
        let data = [3.0, 0.0, 1e-310, -5e300, 0.0, 2.0];
        let scale = powers_of_two(2, 3, |i, row| row.copy_from_slice(&data[3 * i..3 * i + 3]));
        assert_eq!(scale[2], 0.25);
        assert_eq!(powers_of_two(1, 1, |_, row| row[0] = 0.0), vec![1.0]);
        assert!((5e300 * scale[0]).is_finite() && scale.iter().all(|s| s.is_finite() && *s > 0.0));
    }

    #[test]
    fn squares_are_those_of_the_plain_sum() {
        let (rows, cols) = (700, 4);
        let data = noise(rows, cols);
        let residual: Vec<f64> = (0..rows).map(|i| 0.1 + (i % 7) as f64).collect();
        let map = DMatrix::from_row_slice(4, 2, &[1.0, 0.5, 0.0, -1.0, 2.0, 0.0, 0.3, 0.3]);
        let scores = MappedScores {
            rows,
            fill: |i: usize, row: &mut [f64]| row.copy_from_slice(&data[i * cols..(i + 1) * cols]),
            map: &map,
            residual: &residual,
            parameters: 2,
            leverage: false,
        };
        let mut plain = DMatrix::zeros(2, 2);
        for (i, row) in data.chunks_exact(cols).enumerate() {
            let z = map.transpose() * nalgebra::DVector::from_column_slice(row) * residual[i];
            plain += &z * z.transpose();
        }
        let meat = scores.meat(Covariance::Hc0).unwrap();
        assert!((&meat - &plain).norm() < 1e-11 * plain.norm());
        // A cluster for each row is no cluster.
        let ids: Vec<usize> = (0..rows).map(|i| 7 * (rows - i)).collect();
        let clustered = scores.meat(Covariance::ClusterUncorrected(&ids)).unwrap();
        assert!((&clustered - &plain).norm() < 1e-11 * plain.norm());
        assert!(scores.meat(Covariance::Hc3).is_err());
        assert!(matches!(
            scores.meat(Covariance::Cluster(&vec![1; rows])),
            Err(FitError::TooFewClusters { clusters: 1 })
        ));
    }
}

//! Least squares of many rows in bounded memory: the triangle of the blocks of rows, no copy of the design and no `Q`.
//!
//! One pass gives the triangle of `[X y]` and with it the coefficients; a second the residuals; a third the covariance. When the
//! columns are nearly collinear the coefficients are refined with residuals of twice the precision (corrected seminormal
//! equations; Bjorck, 1987).

use super::{LinearFit, inference};
use crate::blocks::{MappedScores, powers_of_two, triangle};
use crate::columns::row_dots;
use crate::covariance::Covariance;
use crate::error::FitError;
use crate::matrix::Matrix;
use crate::qr::{condition, covariance_matrix, inverse};
use crate::sum::{chunked, exact_residual, filled};
use nalgebra::{DMatrix, DVector};

/// Above this condition number the coefficients are refined.
const REFINE: f64 = 100.0;

/// The fit of rows `index` of a checked design; `root(i)` is the square root of the weight of row `i`, `plain` says that it is 1 for every row.
pub(super) fn fit(
    x: &Matrix,
    y: &[f64],
    index: &[usize],
    root: impl Fn(usize) -> f64 + Sync,
    kind: Covariance<'_>,
    plain: bool,
) -> Result<LinearFit, FitError> {
    let (rows, p) = (index.len(), x.cols());
    if rows <= p {
        return Err(FitError::NoResidualFreedom { rows, columns: p });
    }
    let raw = |k: usize, row: &mut [f64]| {
        let i = index[k];
        let r = root(i);
        row.iter_mut().zip(x.row(i)).for_each(|(to, v)| *to = r * v);
        row.iter_mut().skip(p).for_each(|to| *to = r * y[i]);
    };
    let scale = powers_of_two(rows, p + 1, raw);
    let with_response = triangle(rows, p + 1, |k, row| {
        raw(k, row);
        row.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
    });
    let r = with_response.view((0, 0), (p, p)).into_owned();
    let back = inverse(&r, &scale)?;
    let z: Vec<f64> = (0..p).map(|j| with_response[(j, p)] / scale[p]).collect();
    let mut coefficients = (&back * DVector::from_column_slice(&z)).as_slice().to_vec();
    if condition(&r, &back, &scale) > REFINE {
        for _ in 0..3 {
            let change = refinement(x, y, index, &root, &back, &coefficients);
            coefficients.iter_mut().zip(change).for_each(|(b, c)| *b += c);
        }
    }
    let residual = residuals(x, y, index, &root, &coefficients);
    let squares = chunked(rows, 1, |range, sum| sum[0] = residual[range].iter().map(|e| e * e).sum())[0];

    let scores = MappedScores {
        rows,
        fill: |k: usize, row: &mut [f64]| raw(k, row),
        map: &back,
        residual: &residual,
        parameters: p,
        leverage: true,
    };
    let picked;
    let here = match kind {
        Covariance::Cluster(ids) | Covariance::ClusterUncorrected(ids) => {
            crate::error::length("cluster identifiers", x.rows(), ids.len())?;
            picked = index.iter().map(|&i| ids[i]).collect::<Vec<_>>();
            kind.with_clusters(&picked)
        }
        other => other,
    };
    let inner = match here {
        // `z_i` are the rows of an orthonormal basis.
        Covariance::Classical => DMatrix::identity(p, p) * (squares / (rows - p) as f64),
        _ => scores.meat(here).map_err(|error| match error {
            FitError::FullLeverage { row } => FitError::FullLeverage { row: index[row] },
            other => other,
        })?,
    };
    let covariance = covariance_matrix(&(&back * inner * back.transpose()))?;
    let centred =
        (plain && has_constant(x)) || constant_is_in_span(index, &root, &with_response, &scale, &raw, p);
    let r_squared = r_squared(y, index, &root, squares, centred);
    let unweighted = if plain {
        residual
    } else {
        let all: Vec<usize> = (0..x.rows()).collect();
        residuals(x, y, &all, &|_| 1.0, &coefficients)
    };
    let freedom = kind.freedom(index, p);
    Ok(inference(unweighted, coefficients, covariance, freedom, squares / (rows - p) as f64, r_squared))
}

fn residuals(
    x: &Matrix,
    y: &[f64],
    index: &[usize],
    root: &(impl Fn(usize) -> f64 + Sync),
    b: &[f64],
) -> Vec<f64> {
    filled(index.len(), |first, left| {
        let index = &index[first..][..left.len()];
        row_dots(left, |k| x.row(index[k]), b);
        left.iter_mut().zip(index).for_each(|(left, &i)| *left = root(i) * (y[i] - *left));
    })
}

/// The change of the coefficients that the residuals, taken exactly, ask for.
fn refinement(
    x: &Matrix,
    y: &[f64],
    index: &[usize],
    root: &(impl Fn(usize) -> f64 + Sync),
    back: &DMatrix<f64>,
    b: &[f64],
) -> Vec<f64> {
    let p = x.cols();
    let missed = chunked(index.len(), p, |range, sums| {
        let part = &index[range];
        let left: Vec<f64> = part
            .iter()
            .map(|&i| {
                let row = x.row(i).iter().copied().zip(b.iter().copied());
                root(i) * root(i) * exact_residual(y[i], row)
            })
            .collect();
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum = -exact_residual(0.0, part.iter().zip(&left).map(|(&i, r)| (x.row(i)[j], *r)));
        }
    });
    let inner = back.transpose() * DVector::from_column_slice(&missed);
    (back * inner).as_slice().to_vec()
}

/// Whether a column is the same number, other than 0, in every row.
fn has_constant(x: &Matrix) -> bool {
    let same = |j: usize| {
        let first = x.get(0, j);
        first != 0.0 && (1..x.rows()).all(|i| x.get(i, j) == first)
    };
    (0..x.cols()).any(same)
}

/// Whether a constant lies in the span of the columns.
fn constant_is_in_span(
    index: &[usize],
    root: &(impl Fn(usize) -> f64 + Sync),
    with_response: &DMatrix<f64>,
    scale: &[f64],
    raw: &(impl Fn(usize, &mut [f64]) + Sync),
    p: usize,
) -> bool {
    // Least squares of the constant on the columns, through the triangle that exists already.
    let products = chunked(index.len(), p + 1, |range, sums| {
        let mut row = vec![0.0; p + 1];
        for k in range {
            raw(k, &mut row);
            let one = root(index[k]);
            for (j, sum) in sums.iter_mut().take(p).enumerate() {
                *sum += one * (row[j] * scale[j]);
            }
            sums[p] += one * one;
        }
    });
    let r = with_response.view((0, 0), (p, p)).into_owned();
    let mut g = DVector::from_column_slice(&products[..p]);
    // |P 1|^2 = |R^-T X'1|^2.
    r.tr_solve_upper_triangular_mut(&mut g) && products[p] - g.norm_squared() <= 1e-10 * products[p]
}

fn r_squared(
    y: &[f64],
    index: &[usize],
    root: &(impl Fn(usize) -> f64 + Sync),
    squares: f64,
    centred: bool,
) -> f64 {
    let weight = |i: usize| root(i) * root(i);
    let sums = chunked(index.len(), 2, |range, sums| {
        for &i in &index[range] {
            sums[0] += weight(i);
            sums[1] += weight(i) * y[i];
        }
    });
    let centre = if centred { sums[1] / sums[0] } else { 0.0 };
    let total = chunked(index.len(), 1, |range, sum| {
        sum[0] = index[range].iter().map(|&i| weight(i) * (y[i] - centre) * (y[i] - centre)).sum();
    })[0];
    if total > 0.0 { 1.0 - squares / total } else { f64::NAN }
}

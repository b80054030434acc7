//! Logistic regression with an L2 penalty on sparse rows: many columns of which a row has few (indicators,
//! hashed crosses).
//!
//! Minimises `sum_i w_i [log(1 + e^{x_i b}) - y_i x_i b] + 1/2 sum_j strength_j b_j^2`, as [`crate::glm`]
//! does for dense designs, by Newton steps whose linear
//! systems are solved by conjugate gradients (truncated as in Dembo & Steihaug, 1983), so that no matrix of
//! columns times columns is made.
//! There are no standard errors: for those use [`crate::glm`].
//!
//! ```
//! use ream_stats::sparse_logistic::{Rows, fit};
//! let mut rows = Rows::new(3);
//! for i in 0..40 {
//!     rows.push([(0, 1.0), (1 + i % 2, 1.0)])?;
//! }
//! let y: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i % 2 == 0 || i < 8))).collect();
//! let model = fit(&rows, &y, None, &[0.0, 1.0, 1.0], 1e-6)?;
//! assert!(model.converged && model.coefficients[1] > model.coefficients[2]);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::error::{StatsError, at_least, finite, length, not_negative};
use crate::glm::{cross_entropy, sigmoid, unit_interval};
use crate::sum::dot;

/// Newton steps after which a fit gives up.
const MOST_STEPS: usize = 100;

/// Rows of a sparse design.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Rows {
    /// No rows of `width` columns.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width, ends: Vec::new(), columns: Vec::new(), values: Vec::new() }
    }

    /// Adds a row of `(column, value)`; a column that comes twice counts with the sum.
    ///
    /// # Errors
    /// A column beyond the width, or a value that is not finite.
    pub fn push(&mut self, cells: impl IntoIterator<Item = (usize, f64)>) -> Result<(), StatsError> {
        let row = self.ends.len();
        for (column, value) in cells {
            if column >= self.width {
                let allowed = "columns below the width";
                return Err(StatsError::OutOfRange { what: "a column", row, value: column as f64, allowed });
            }
            if !value.is_finite() {
                return Err(StatsError::CellNotFinite { what: "the design", row, column, value });
            }
            self.columns.push(column as u32);
            self.values.push(value);
        }
        self.ends.push(self.columns.len());
        Ok(())
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let from = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        let cells = from..self.ends[i];
        self.columns[cells.clone()].iter().zip(&self.values[cells]).map(|(c, v)| (*c as usize, *v))
    }

    /// `X b`, one number for each row.
    ///
    /// # Errors
    /// Another number of coefficients than columns.
    pub fn times(&self, b: &[f64]) -> Result<Vec<f64>, StatsError> {
        length("coefficients", self.width, b.len())?;
        Ok(self.scores(b))
    }

    fn scores(&self, b: &[f64]) -> Vec<f64> {
        (0..self.len()).map(|i| self.row(i).map(|(c, v)| v * b[c]).sum()).collect()
    }

    /// Adds `X' r` to `out`.
    fn add_transposed(&self, r: &[f64], out: &mut [f64]) {
        for (i, r) in r.iter().enumerate() {
            self.row(i).for_each(|(c, v)| out[c] += r * v);
        }
    }
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseFit {
    /// One coefficient (log odds per unit) for each column.
    pub coefficients: Vec<f64>,
    /// Newton steps taken.
    pub steps: usize,
    /// Euclidean norm of the gradient at the end.
    pub gradient_norm: f64,
    /// Whether that norm is below the tolerance.
    pub converged: bool,
}

struct Problem<'a> {
    rows: &'a Rows,
    y: &'a [f64],
    w: &'a [f64],
    strength: &'a [f64],
}

impl Problem<'_> {
    fn loss(&self, b: &[f64], eta: &[f64]) -> f64 {
        let fit: f64 = (0..eta.len()).map(|i| self.w[i] * cross_entropy(self.y[i], eta[i])).sum();
        fit + 0.5 * b.iter().zip(self.strength).map(|(b, s)| s * b * b).sum::<f64>()
    }

    fn gradient(&self, b: &[f64], eta: &[f64]) -> Vec<f64> {
        let residual: Vec<f64> = (0..eta.len()).map(|i| self.w[i] * (sigmoid(eta[i]) - self.y[i])).collect();
        let mut out: Vec<f64> = b.iter().zip(self.strength).map(|(b, s)| s * b).collect();
        self.rows.add_transposed(&residual, &mut out);
        out
    }

    /// `H v` with the curvatures `w mu (1 - mu)` of the rows.
    fn curved(&self, curvature: &[f64], v: &[f64]) -> Vec<f64> {
        let mut scores = self.rows.scores(v);
        scores.iter_mut().zip(curvature).for_each(|(s, c)| *s *= c);
        let mut out: Vec<f64> = v.iter().zip(self.strength).map(|(v, s)| s * v).collect();
        self.rows.add_transposed(&scores, &mut out);
        out
    }

    fn diagonal(&self, curvature: &[f64]) -> Vec<f64> {
        let mut out = self.strength.to_vec();
        for (i, c) in curvature.iter().enumerate() {
            self.rows.row(i).for_each(|(j, v)| out[j] += c * v * v);
        }
        // A column without rows or penalty stays where it is.
        out.iter_mut().filter(|d| **d <= 0.0).for_each(|d| *d = 1.0);
        out
    }

    /// An approximate solution of `H d = -g`, by preconditioned conjugate gradients.
    fn direction(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let diagonal = self.diagonal(curvature);
        let size = norm(gradient);
        let wanted = size * size.sqrt().min(0.1);
        let mut d = vec![0.0; gradient.len()];
        let mut r: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut z: Vec<f64> = r.iter().zip(&diagonal).map(|(r, m)| r / m).collect();
        let mut p = z.clone();
        let mut rz = dot(&r, &z);
        for _ in 0..2 * gradient.len().max(10) {
            let hp = self.curved(curvature, &p);
            let bend = dot(&p, &hp);
            if bend <= 0.0 {
                break;
            }
            let step = rz / bend;
            for j in 0..d.len() {
                d[j] += step * p[j];
                r[j] -= step * hp[j];
                z[j] = r[j] / diagonal[j];
            }
            if norm(&r) <= wanted {
                break;
            }
            let next = dot(&r, &z);
            let turn = next / rz;
            rz = next;
            p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + turn * *p);
        }
        d
    }
}

fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// Fits `y` in `[0, 1]` on sparse rows; `weights` multiply the rows' losses, `strength` has one number of at
/// least 0 for each column (0 leaves it free).
/// Ends when the gradient's Euclidean norm is below `tolerance`, or no step lowers the loss any more.
///
/// Free columns that separate the responses run off to infinity: the fit then ends after 100 steps without
/// having converged.
///
/// # Errors
/// [`StatsError`] without rows, for other lengths, `y` outside `[0, 1]`, negative or no positive weights,
/// negative strengths, or a tolerance that is not above 0.
pub fn fit(
    rows: &Rows,
    y: &[f64],
    weights: Option<&[f64]>,
    strength: &[f64],
    tolerance: f64,
) -> Result<SparseFit, StatsError> {
    at_least("a logistic regression (rows)", 1, rows.len())?;
    length("y", rows.len(), y.len())?;
    unit_interval("y", y)?;
    length("penalty strength", rows.width, strength.len())?;
    not_negative("penalty strength", strength)?;
    if tolerance.is_nan() || tolerance <= 0.0 {
        return Err(StatsError::Setting {
            what: "the tolerance",
            value: tolerance,
            allowed: "numbers above 0",
        });
    }
    let even = vec![1.0; rows.len()];
    let w = weights.unwrap_or(&even);
    length("weights", rows.len(), w.len())?;
    not_negative("weights", w)?;
    if w.iter().all(|w| *w == 0.0) {
        return Err(StatsError::Undefined { what: "a logistic regression", why: "all weights are 0" });
    }
    let fit = descend(&Problem { rows, y, w, strength }, tolerance);
    finite("the coefficients", &fit.coefficients)?;
    Ok(fit)
}

fn descend(problem: &Problem<'_>, tolerance: f64) -> SparseFit {
    let mut b = vec![0.0; problem.rows.width];
    let mut eta = problem.rows.scores(&b);
    let mut loss = problem.loss(&b, &eta);
    let mut gradient = problem.gradient(&b, &eta);
    let mut steps = 0;
    while steps < MOST_STEPS && norm(&gradient) >= tolerance {
        let curvature: Vec<f64> = eta
            .iter()
            .zip(problem.w)
            .map(|(e, w)| {
                let mu = sigmoid(*e);
                w * mu * (1.0 - mu)
            })
            .collect();
        let d = problem.direction(&gradient, &curvature);
        let slope = dot(&d, &gradient);
        let along = problem.rows.scores(&d);
        let mut length = 1.0;
        let taken = (0..40).find_map(|_| {
            let next: Vec<f64> = b.iter().zip(&d).map(|(b, d)| b + length * d).collect();
            let scores: Vec<f64> = eta.iter().zip(&along).map(|(e, a)| e + length * a).collect();
            let at = problem.loss(&next, &scores);
            // Near the minimum the loss cannot be told apart any more; a full step is right there.
            let rounding = 1e-13 * loss.abs();
            let lower = at <= loss + 1e-4 * length * slope + rounding;
            length /= 2.0;
            lower.then_some((next, at))
        });
        let Some((next, at)) = taken else { break };
        b = next;
        loss = at;
        eta = problem.rows.scores(&b);
        gradient = problem.gradient(&b, &eta);
        steps += 1;
    }
    let gradient_norm = norm(&gradient);
    SparseFit { coefficients: b, steps, gradient_norm, converged: gradient_norm < tolerance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, glm};
    use ream_rand::Stream;

    /// An intercept, five indicators and a number.
    fn table(n: usize) -> (Rows, Matrix, Vec<f64>, Vec<f64>) {
        let mut rng = Stream::new(5, "sparse").at(0);
        let (mut rows, mut dense, mut y, mut w) = (Rows::new(7), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let (level, x) = (rng.below(5), rng.normal());
            rows.push([(0, 1.0), (1 + level, 1.0), (6, x)]).unwrap();
            let mut row = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, x];
            row[1 + level] = 1.0;
            dense.push(row);
            y.push(f64::from(u8::from(rng.chance(sigmoid(0.4 * level as f64 - 0.8 * x)))));
            w.push(0.5 + rng.uniform());
        }
        let x = Matrix::from_fn(n, 7, |i, j| dense[i][j]);
        (rows, x, y, w)
    }

    #[test]
    fn it_is_the_dense_fit() {
        let (rows, x, y, w) = table(300);
        let strength = [0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.5];
        let sparse = fit(&rows, &y, Some(&w), &strength, 1e-9).unwrap();
        let penalty = glm::Penalty::L2 { strength: strength.to_vec(), centre: vec![0.0; 7] };
        let dense = glm::fractional_logistic(&x, &y, Some(&w), &penalty).unwrap();
        assert!(sparse.converged);
        for (a, b) in sparse.coefficients.iter().zip(&dense.coefficients) {
            assert!((a - b).abs() < 1e-7, "{a} {b}");
        }
        let eta = rows.times(&sparse.coefficients).unwrap();
        let mean: f64 = eta.iter().zip(&w).map(|(e, w)| w * sigmoid(*e)).sum::<f64>();
        let wanted: f64 = y.iter().zip(&w).map(|(y, w)| w * y).sum();
        assert!((mean - wanted).abs() < 1e-6, "the free intercept makes predicted and seen totals equal");
    }

    #[test]
    fn weights_are_copies_and_columns_that_come_twice_add() {
        let (rows, _, y, _) = table(60);
        let strength = vec![1.0; 7];
        let twice = vec![2.0; 60];
        let weighted = fit(&rows, &y, Some(&twice), &strength, 1e-9).unwrap();
        let mut copies = rows.clone();
        (0..60).for_each(|i| copies.push(rows.row(i).collect::<Vec<_>>()).unwrap());
        let long = fit(&copies, &[&y[..], &y[..]].concat(), None, &strength, 1e-9).unwrap();
        assert!(weighted.coefficients.iter().zip(&long.coefficients).all(|(a, b)| (a - b).abs() < 1e-8));
        let mut double = Rows::new(1);
        double.push([(0, 1.0), (0, 2.0)]).unwrap();
        assert_eq!(double.times(&[2.0]).unwrap(), [6.0]);
    }

    #[test]
    fn separated_responses_end_and_what_is_wrong_is_said() {
        let mut rows = Rows::new(1);
        (0..10).for_each(|i| rows.push([(0, f64::from(i) - 4.5)]).unwrap());
        let y: Vec<f64> = (0..10).map(|i| f64::from(u8::from(i > 4))).collect();
        let free = fit(&rows, &y, None, &[0.0], 1e-300).unwrap();
        assert!(!free.converged && free.coefficients[0].is_finite());
        let held = fit(&rows, &y, None, &[1.0], 1e-9).unwrap();
        assert!(held.converged && held.coefficients[0] > 0.3);
        assert!(rows.push([(1, 1.0)]).is_err() && rows.clone().push([(0, f64::NAN)]).is_err());
        assert!(
            fit(&rows, &y, None, &[-1.0], 1e-6).is_err()
                && fit(&rows, &[2.0; 10], None, &[1.0], 1e-6).is_err()
        );
        assert!(fit(&rows, &y, Some(&[0.0; 10]), &[1.0], 1e-6).is_err());
        assert!(fit(&Rows::new(1), &[], None, &[1.0], 1e-6).is_err());
    }
}

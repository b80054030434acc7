//! Newton's method with step halving, for no penalty and for L2.
//!
//! The penalty is written as rows below the design, `[X; diag(sqrt(strength))]`, and Newton works on an orthonormal
//! basis of the columns of that: the information is then well conditioned even for nearly collinear columns.

use super::{Data, GRADIENT_TOLERANCE, Outcome, cross_entropy, residual, separation, variance};
use crate::error::FitError;
use crate::qr::Basis;
use crate::sum::{chunked, dot};
use nalgebra::{DMatrix, DVector};

const MAX_STEPS: usize = 200;
/// Steps have died out when no linear predictor moves by more than this (relative to its size, when large).
const STILL: f64 = 1e-8;

/// The basis of the design with the penalty's rows below it (rows of strength 0 are left out).
pub(crate) fn augmented(data: &Data, strength: Option<&[f64]>) -> Result<Basis, FitError> {
    let mut rows = data.x.clone();
    for (j, &s) in strength.unwrap_or(&[]).iter().enumerate() {
        if s > 0.0 {
            rows.extend((0..data.cols).map(|k| if k == j { s.sqrt() } else { 0.0 }));
        }
    }
    Basis::new(&rows, data.cols)
}

/// `sum_i curvature_i q_i q_i'` over the data's rows plus `q q'` over the penalty's rows.
pub(crate) fn information(basis: &Basis, curvature: &[f64]) -> DMatrix<f64> {
    let p = basis.cols;
    let total = basis.rows.len() / p;
    let sums = chunked(total, p * (p + 1) / 2, |range, sums| {
        for i in range {
            let row = basis.row(i);
            let c = curvature.get(i).copied().unwrap_or(1.0);
            let mut at = 0;
            for j in 0..p {
                let cj = c * row[j];
                for (s, x) in sums[at..=at + j].iter_mut().zip(row) {
                    *s += cj * x;
                }
                at += j + 1;
            }
        }
    });
    DMatrix::from_fn(p, p, |i, j| {
        let (low, high) = (i.min(j), i.max(j));
        sums[high * (high + 1) / 2 + low]
    })
}

struct Problem<'a> {
    data: &'a Data,
    basis: Basis,
    /// What the penalty's rows are drawn to.
    target: Vec<f64>,
}

impl Problem<'_> {
    fn n(&self) -> usize {
        self.data.y.len()
    }

    fn objective(&self, gamma: &[f64]) -> f64 {
        let n = self.n();
        let loss = chunked(n, 1, |range, sum| {
            for i in range {
                sum[0] += self.data.w[i] * cross_entropy(self.data.y[i], dot(self.basis.row(i), gamma));
            }
        })[0];
        let miss = |k: usize| dot(self.basis.row(n + k), gamma) - self.target[k];
        loss + 0.5 * (0..self.target.len()).map(|k| miss(k) * miss(k)).sum::<f64>()
    }

    /// Gradient in the basis, and the scale of its entries.
    fn gradient(&self, gamma: &[f64]) -> (Vec<f64>, f64) {
        let (n, p) = (self.n(), self.basis.cols);
        let mut sums = chunked(n, 2 * p, |range, sums| {
            for i in range {
                let row = self.basis.row(i);
                let r = self.data.w[i] * residual(self.data.y[i], dot(row, gamma));
                for (j, x) in row.iter().enumerate() {
                    sums[j] -= r * x;
                    sums[p + j] += self.data.w[i] * x.abs();
                }
            }
        });
        for (k, &target) in self.target.iter().enumerate() {
            let row = self.basis.row(n + k);
            let value = dot(row, gamma);
            for (j, x) in row.iter().enumerate() {
                sums[j] += (value - target) * x;
                sums[p + j] += (value.abs() + target.abs()) * x.abs();
            }
        }
        let scale = sums.split_off(p).into_iter().fold(0.0, f64::max);
        (sums, scale)
    }

    fn curvature(&self, gamma: &[f64]) -> Vec<f64> {
        (0..self.n()).map(|i| self.data.w[i] * variance(dot(self.basis.row(i), gamma))).collect()
    }

    /// Largest change of a linear predictor along `step`, relative to the larger of 1 and the largest predictor.
    fn movement(&self, gamma: &[f64], step: &[f64]) -> f64 {
        let rows = || self.basis.rows.chunks_exact(self.basis.cols).take(self.n());
        let largest = |v: &[f64]| rows().map(|row| dot(row, v).abs()).fold(0.0, f64::max);
        largest(step) / largest(gamma).max(1.0)
    }

    /// Whether `step` separates the rows and costs no penalty.
    fn separated(&self, step: &[f64]) -> bool {
        let p = self.basis.cols;
        let (rows, below) = self.basis.rows.split_at(self.n() * p);
        let size = dot(step, step).sqrt();
        below.chunks_exact(p).all(|row| dot(row, step).abs() <= 1e-6 * size * dot(row, row).sqrt())
            && separation::separates(rows, p, &self.data.y, step)
    }
}

/// `-information^{-1} gradient`; a multiple of the identity is added when rounding has made it singular.
pub(crate) fn direction(information: &DMatrix<f64>, gradient: &[f64]) -> Vec<f64> {
    let p = gradient.len();
    let size = (0..p).map(|j| information[(j, j)]).fold(f64::MIN_POSITIVE, f64::max);
    let right = DVector::from_iterator(p, gradient.iter().map(|g| -g));
    let mut damping = 0.0;
    loop {
        let damped = information + DMatrix::identity(p, p) * (damping * size);
        if let Some(factor) = damped.cholesky() {
            return factor.solve(&right).as_slice().to_vec();
        }
        if damping > 1.0 {
            // Not reached with finite numbers; the gradient is still a direction of descent.
            return right.as_slice().to_vec();
        }
        damping = if damping == 0.0 { 1e-15 } else { damping * 10.0 };
    }
}

/// Minimises the cross-entropy with an optional L2 penalty `(strength, centre)`.
pub(crate) fn fit(data: &Data, penalty: Option<(&Vec<f64>, &Vec<f64>)>) -> Result<Outcome, FitError> {
    let basis = augmented(data, penalty.map(|(strength, _)| strength.as_slice()))?;
    let target = penalty.map_or_else(Vec::new, |(strength, centre)| {
        strength.iter().zip(centre).filter(|(s, _)| **s > 0.0).map(|(s, c)| s.sqrt() * c).collect()
    });
    let problem = Problem { data, basis, target };
    let mut gamma = vec![0.0; data.cols];
    let mut outcome = Outcome { coefficients: vec![], iterations: 0, converged: false, separated: false };
    let mut value = problem.objective(&gamma);
    while outcome.iterations < MAX_STEPS {
        let (gradient, scale) = problem.gradient(&gamma);
        let step = direction(&information(&problem.basis, &problem.curvature(&gamma)), &gradient);
        let flat = gradient.iter().all(|g| g.abs() <= GRADIENT_TOLERANCE * scale);
        let movement = problem.movement(&gamma, &step);
        if flat && movement > 1e-3 && problem.separated(&step) {
            outcome.separated = true;
            break;
        }
        outcome.iterations += 1;
        if flat && movement <= STILL {
            // One more step costs nothing and leaves only rounding.
            gamma.iter_mut().zip(&step).for_each(|(g, s)| *g += s);
            outcome.converged = true;
            break;
        }
        match halved(&problem, &gamma, &step, &gradient, value) {
            Some((next, lower)) => (gamma, value) = (next, lower),
            None => {
                // No step lowers the objective any more: as far as rounding allows.
                outcome.converged = flat;
                break;
            }
        }
    }
    outcome.coefficients = problem.basis.coefficients(&gamma);
    Ok(outcome)
}

/// The first of the steps `1, 1/2, 1/4, ...` that lowers the objective enough (Armijo), up to rounding.
fn halved(
    problem: &Problem<'_>,
    gamma: &[f64],
    step: &[f64],
    gradient: &[f64],
    value: f64,
) -> Option<(Vec<f64>, f64)> {
    let slope = dot(gradient, step);
    let rounding = 1e-14 * value.abs();
    let mut size = 1.0;
    for _ in 0..60 {
        let next: Vec<f64> = gamma.iter().zip(step).map(|(g, s)| g + size * s).collect();
        let lower = problem.objective(&next);
        if lower <= value + 1e-4 * size * slope + rounding {
            return Some((next, lower));
        }
        size *= 0.5;
    }
    None
}

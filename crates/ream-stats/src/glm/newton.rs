//! Newton's method with step halving, for no penalty and for L2.
//!
//! The penalty is written as rows below the design, `[X; diag(sqrt(strength))]`, and Newton works on an orthonormal
//! basis of the columns of that: the information is then well conditioned even for nearly collinear columns.

use super::{Data, GRADIENT_TOLERANCE, Outcome, cross_entropy, residual, separation, variance};
use crate::columns::{add_outer, add_rows, add_sizes, symmetric};
use crate::error::FitError;
use crate::qr::Basis;
use crate::sum::{chunked, dot, mapped};
use nalgebra::{DMatrix, DVector};

const MAX_STEPS: usize = 200;
/// Steps have died out when no linear predictor moves by more than this (relative to its size, when large).
const STILL: f64 = 1e-8;

/// The basis of the design with the penalty's rows below it (rows of strength 0 are left out).
pub(crate) fn augmented(data: &Data<'_>, strength: Option<&[f64]>) -> Result<Basis, FitError> {
    let penalised = |j: usize| strength.map_or(0.0, |s| s[j]);
    if (0..data.cols).all(|j| penalised(j) <= 0.0) {
        return Basis::new(&data.x, data.cols);
    }
    let mut rows = data.x.to_vec();
    for j in (0..data.cols).filter(|&j| penalised(j) > 0.0) {
        rows.extend((0..data.cols).map(|k| if k == j { penalised(j).sqrt() } else { 0.0 }));
    }
    Basis::new(&rows, data.cols)
}

/// `sum_i curvature_i q_i q_i'` over the data's rows plus `q q'` over the penalty's rows.
pub(crate) fn information(basis: &Basis, mut curvature: Vec<f64>) -> DMatrix<f64> {
    let p = basis.cols;
    let total = basis.rows.len() / p;
    curvature.resize(total, 1.0);
    let sums = chunked(total, p * (p + 1) / 2, |range, sums| {
        add_outer(sums, &curvature[range.clone()], &basis.rows[range.start * p..range.end * p], p);
    });
    symmetric(&sums, p)
}

struct Problem<'a> {
    data: &'a Data<'a>,
    basis: Basis,
    /// What the penalty's rows are drawn to.
    target: Vec<f64>,
    /// `sum_i w_i |q_i|` over the data's rows.
    sizes: Vec<f64>,
}

/// Coefficients of the basis, and what follows from them.
struct Place {
    gamma: Vec<f64>,
    /// `Q gamma`: the linear predictors of the data's rows, then the penalty's rows.
    eta: Vec<f64>,
    objective: f64,
}

impl<'a> Problem<'a> {
    fn new(data: &'a Data<'a>, basis: Basis, target: Vec<f64>) -> Self {
        let p = basis.cols;
        let sizes = chunked(data.y.len(), p, |range, sums| {
            add_sizes(sums, &data.w[range.clone()], &basis.rows[range.start * p..range.end * p]);
        });
        Self { data, basis, target, sizes }
    }

    fn n(&self) -> usize {
        self.data.y.len()
    }

    fn place(&self, gamma: Vec<f64>) -> Place {
        let n = self.n();
        let eta = self.basis.times(&gamma);
        let loss = chunked(n, 1, |range, sum| {
            for i in range {
                sum[0] += self.data.w[i] * cross_entropy(self.data.y[i], eta[i]);
            }
        })[0];
        let miss = |k: usize| eta[n + k] - self.target[k];
        let objective = loss + 0.5 * (0..self.target.len()).map(|k| miss(k) * miss(k)).sum::<f64>();
        Place { gamma, eta, objective }
    }

    /// Gradient in the basis, and the scale of its entries.
    fn gradient(&self, at: &Place) -> (Vec<f64>, f64) {
        let (n, p) = (self.n(), self.basis.cols);
        let mut sums = chunked(n, p, |range, sums| {
            let down = |i: usize| -(self.data.w[i] * residual(self.data.y[i], at.eta[i]));
            let factors: Vec<f64> = range.clone().map(down).collect();
            add_rows(sums, &factors, &self.basis.rows[range.start * p..range.end * p]);
        });
        let mut sizes = self.sizes.clone();
        for (k, &target) in self.target.iter().enumerate() {
            let value = at.eta[n + k];
            for (j, x) in self.basis.row(n + k).iter().enumerate() {
                sums[j] += (value - target) * x;
                sizes[j] += (value.abs() + target.abs()) * x.abs();
            }
        }
        (sums, sizes.into_iter().fold(0.0, f64::max))
    }

    fn curvature(&self, at: &Place) -> Vec<f64> {
        mapped(self.n(), |i| self.data.w[i] * variance(at.eta[i]))
    }

    /// Largest change of a linear predictor along `step`, relative to the larger of 1 and the largest predictor.
    fn movement(&self, at: &Place, step: &[f64]) -> f64 {
        let largest = |eta: &[f64]| eta[..self.n()].iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        largest(&self.basis.times(step)) / largest(&at.eta).max(1.0)
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
pub(crate) fn fit(data: &Data<'_>, penalty: Option<(&Vec<f64>, &Vec<f64>)>) -> Result<Outcome, FitError> {
    let basis = augmented(data, penalty.map(|(strength, _)| strength.as_slice()))?;
    let target = penalty.map_or_else(Vec::new, |(strength, centre)| {
        strength.iter().zip(centre).filter(|(s, _)| **s > 0.0).map(|(s, c)| s.sqrt() * c).collect()
    });
    let problem = Problem::new(data, basis, target);
    let mut outcome = Outcome { coefficients: vec![], iterations: 0, converged: false, separated: false };
    let mut at = problem.place(vec![0.0; data.cols]);
    while outcome.iterations < MAX_STEPS {
        let (gradient, scale) = problem.gradient(&at);
        let step = direction(&information(&problem.basis, problem.curvature(&at)), &gradient);
        let flat = gradient.iter().all(|g| g.abs() <= GRADIENT_TOLERANCE * scale);
        let movement = problem.movement(&at, &step);
        if flat && movement > 1e-3 && problem.separated(&step) {
            outcome.separated = true;
            break;
        }
        outcome.iterations += 1;
        if flat && movement <= STILL {
            // One more step costs nothing and leaves only rounding.
            at.gamma.iter_mut().zip(&step).for_each(|(g, s)| *g += s);
            outcome.converged = true;
            break;
        }
        match halved(&problem, &at, &step, &gradient) {
            Some(next) => at = next,
            None => {
                // No step lowers the objective any more: as far as rounding allows.
                outcome.converged = flat;
                break;
            }
        }
    }
    outcome.coefficients = problem.basis.coefficients(&at.gamma);
    Ok(outcome)
}

/// The first of the steps `1, 1/2, 1/4, ...` that lowers the objective enough (Armijo), up to rounding.
fn halved(problem: &Problem<'_>, at: &Place, step: &[f64], gradient: &[f64]) -> Option<Place> {
    let slope = dot(gradient, step);
    let rounding = 1e-14 * at.objective.abs();
    let mut size = 1.0;
    for _ in 0..60 {
        let next = problem.place(at.gamma.iter().zip(step).map(|(g, s)| g + size * s).collect());
        if next.objective <= at.objective + 1e-4 * size * slope + rounding {
            return Some(next);
        }
        size *= 0.5;
    }
    None
}

//! Proximal Newton for L1: coordinate descent on the quadratic approximation, then step halving.

use super::{Data, GRADIENT_TOLERANCE, Outcome, cross_entropy, newton, residual, separation, variance};
use crate::error::FitError;
use crate::qr::Basis;
use crate::sum::{chunked, dot};
use nalgebra::DMatrix;

const MAX_STEPS: usize = 200;
const MAX_SWEEPS: usize = 10_000;

/// Size of the subgradient of least size of `loss + strength |b|`.
pub(crate) fn subgradient(gradient: f64, b: f64, strength: f64) -> f64 {
    if b == 0.0 { (gradient.abs() - strength).max(0.0) } else { (gradient + strength * b.signum()).abs() }
}

/// The problem with columns scaled to Euclidean length `sqrt(n)`.
struct Problem<'a> {
    data: &'a Data<'a>,
    rows: Vec<f64>,
    scale: Vec<f64>,
    strength: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(data: &'a Data<'a>, strength: &[f64]) -> Result<Self, FitError> {
        let (p, n) = (data.cols, data.y.len());
        let free: Vec<usize> = (0..p).filter(|&j| strength[j] == 0.0).collect();
        if !free.is_empty() {
            // The free columns must determine their coefficients by themselves.
            let columns: Vec<f64> =
                data.x.chunks_exact(p).flat_map(|row| free.iter().map(|&j| row[j])).collect();
            Basis::new(&columns, free.len()).map_err(|error| match error {
                FitError::RankDeficient { rank, column, .. } => {
                    FitError::RankDeficient { rank: rank + p - free.len(), columns: p, column: free[column] }
                }
                other => other,
            })?;
        }
        let mut scale = vec![0.0_f64; p];
        for row in data.x.chunks_exact(p) {
            for (s, x) in scale.iter_mut().zip(row) {
                *s = s.max(x.abs());
            }
        }
        // Twice, so that squares can neither overflow nor underflow.
        let mut squares = vec![0.0_f64; p];
        for row in data.x.chunks_exact(p) {
            for j in 0..p {
                squares[j] += if scale[j] > 0.0 { (row[j] / scale[j]).powi(2) } else { 0.0 };
            }
        }
        for j in 0..p {
            scale[j] = if scale[j] > 0.0 { scale[j] * (squares[j] / n as f64).sqrt() } else { 1.0 };
        }
        let rows =
            data.x.chunks_exact(p).flat_map(|row| row.iter().zip(&scale).map(|(x, s)| x / s)).collect();
        let strength = strength.iter().zip(&scale).map(|(l, s)| l / s).collect();
        Ok(Self { data, rows, scale, strength })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.data.cols..(i + 1) * self.data.cols]
    }

    fn loss(&self, b: &[f64]) -> f64 {
        chunked(self.data.y.len(), 1, |range, sum| {
            for i in range {
                sum[0] += self.data.w[i] * cross_entropy(self.data.y[i], dot(self.row(i), b));
            }
        })[0]
    }

    fn penalty(&self, b: &[f64]) -> f64 {
        b.iter().zip(&self.strength).map(|(b, l)| l * b.abs()).sum()
    }

    /// Gradient, scale of its entries, and row-major information.
    fn derivatives(&self, b: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let p = self.data.cols;
        let mut sums = chunked(self.data.y.len(), p * (p + 2), |range, sums| {
            for i in range {
                let row = self.row(i);
                let (w, eta) = (self.data.w[i], dot(row, b));
                let (r, v) = (w * residual(self.data.y[i], eta), w * variance(eta));
                for j in 0..p {
                    sums[j] -= r * row[j];
                    sums[p + j] += w * row[j].abs();
                    let at = p * (2 + j);
                    for k in 0..p {
                        sums[at + k] += v * row[j] * row[k];
                    }
                }
            }
        });
        let information = sums.split_off(2 * p);
        let scale = sums.split_off(p);
        (sums, scale, information)
    }

    /// Minimiser `d` of `g d + d H d / 2 + sum strength |b + d|` by coordinate descent; every tenth sweep tries to
    /// finish by solving for the coordinates that are not 0, which nearly collinear columns need.
    fn quadratic_step(&self, b: &[f64], gradient: &[f64], information: &[f64]) -> Vec<f64> {
        let p = b.len();
        let mut step = vec![0.0; p];
        // H d, kept up to date.
        let mut pull = vec![0.0; p];
        for sweep in 1..=MAX_SWEEPS {
            if sweep % 10 == 0
                && let Some(exact) = self.active_step(b, &step, gradient, information)
            {
                step = exact;
                for (k, pull) in pull.iter_mut().enumerate() {
                    *pull = dot(&information[k * p..(k + 1) * p], &step);
                }
            }
            let (mut largest, mut moved) = (0.0_f64, 0.0_f64);
            for j in 0..p {
                let curvature = information[j * p + j];
                if curvature <= 0.0 {
                    // A column of zeros (or a saturated one): only the penalty acts.
                    continue;
                }
                let here = b[j] + step[j];
                let wanted = soft(here - (gradient[j] + pull[j]) / curvature, self.strength[j] / curvature);
                let change = wanted - here;
                if change != 0.0 {
                    step[j] = wanted - b[j];
                    for k in 0..p {
                        pull[k] += information[j * p + k] * change;
                    }
                    moved = moved.max(change.abs());
                }
                largest = largest.max(wanted.abs());
            }
            if moved <= 1e-13 * largest.max(1e-3) {
                break;
            }
        }
        step
    }

    /// The minimiser when the signs of `b + step` are the right ones; `None` when it has other signs.
    fn active_step(
        &self,
        b: &[f64],
        step: &[f64],
        gradient: &[f64],
        information: &[f64],
    ) -> Option<Vec<f64>> {
        let p = b.len();
        let sign = |j: usize| if b[j] + step[j] == 0.0 { 0.0 } else { (b[j] + step[j]).signum() };
        let active: Vec<usize> = (0..p)
            .filter(|&j| information[j * p + j] > 0.0 && (sign(j) != 0.0 || self.strength[j] == 0.0))
            .collect();
        // The other coordinates keep their step, which sets them to 0.
        let mut exact = step.to_vec();
        let rest: Vec<usize> = (0..p).filter(|j| !active.contains(j)).collect();
        let fixed = |j: usize| rest.iter().map(|&k| information[j * p + k] * step[k]).sum::<f64>();
        let slope: Vec<f64> =
            active.iter().map(|&j| gradient[j] + self.strength[j] * sign(j) + fixed(j)).collect();
        let matrix =
            DMatrix::from_fn(active.len(), active.len(), |i, k| information[active[i] * p + active[k]]);
        for (&j, d) in active.iter().zip(newton::direction(&matrix, &slope)) {
            exact[j] = d;
        }
        let same = |&j: &usize| self.strength[j] == 0.0 || (b[j] + exact[j]) * sign(j) > 0.0;
        active.iter().all(same).then_some(exact)
    }

    /// Largest change of a linear predictor along `step`, relative to the larger of 1 and the largest predictor.
    fn movement(&self, b: &[f64], step: &[f64]) -> f64 {
        let rows = || self.rows.chunks_exact(self.data.cols);
        let largest = |v: &[f64]| rows().map(|row| dot(row, v).abs()).fold(0.0, f64::max);
        largest(step) / largest(b).max(1.0)
    }

    fn separated(&self, step: &[f64]) -> bool {
        let size = dot(step, step).sqrt();
        let free = step.iter().zip(&self.strength).all(|(s, l)| *l == 0.0 || s.abs() <= 1e-6 * size);
        free && separation::separates(&self.rows, self.data.cols, &self.data.y, step)
    }
}

fn soft(value: f64, threshold: f64) -> f64 {
    if value > threshold {
        value - threshold
    } else if value < -threshold {
        value + threshold
    } else {
        0.0
    }
}

/// Minimises the cross-entropy with an L1 penalty.
pub(crate) fn fit(data: &Data<'_>, strength: &[f64]) -> Result<Outcome, FitError> {
    let problem = Problem::new(data, strength)?;
    let mut b = vec![0.0; data.cols];
    let mut loss = problem.loss(&b);
    let mut outcome = Outcome { coefficients: vec![], iterations: 0, converged: false, separated: false };
    while outcome.iterations < MAX_STEPS {
        let (gradient, scale, information) = problem.derivatives(&b);
        let gap = |j: usize| subgradient(gradient[j], b[j], problem.strength[j]);
        let flat = (0..b.len()).all(|j| gap(j) <= GRADIENT_TOLERANCE * scale[j]);
        let step = problem.quadratic_step(&b, &gradient, &information);
        let movement = problem.movement(&b, &step);
        if flat && movement > 1e-3 && problem.separated(&step) {
            outcome.separated = true;
            break;
        }
        outcome.iterations += 1;
        let last = flat && movement <= 1e-8;
        match halved(&problem, &b, &step, &gradient, loss) {
            Some((next, lower)) => (b, loss) = (next, lower),
            None => {
                outcome.converged = flat;
                break;
            }
        }
        if last {
            outcome.converged = true;
            break;
        }
    }
    outcome.coefficients = b.iter().zip(&problem.scale).map(|(b, s)| b / s).collect();
    Ok(outcome)
}

/// The first of the steps `1, 1/2, 1/4, ...` that lowers the objective enough, up to rounding.
fn halved(
    problem: &Problem<'_>,
    b: &[f64],
    step: &[f64],
    gradient: &[f64],
    loss: f64,
) -> Option<(Vec<f64>, f64)> {
    let here = problem.penalty(b);
    let full: Vec<f64> = b.iter().zip(step).map(|(b, s)| b + s).collect();
    let gain = dot(gradient, step) + problem.penalty(&full) - here;
    let rounding = 1e-14 * (loss.abs() + here);
    let mut size = 1.0;
    for _ in 0..60 {
        // A coordinate that was set to 0 has `s = -b`: the full step leaves it at exactly 0.
        let next: Vec<f64> = b.iter().zip(step).map(|(b, s)| b + size * s).collect();
        let lower = problem.loss(&next);
        if lower + problem.penalty(&next) <= loss + here + 1e-4 * size * gain + rounding {
            return Some((next, lower));
        }
        size *= 0.5;
    }
    None
}

//! How hard an instruction is for the baseline's challengers: one joint fit of all models.
//!
//! Minimises `sum CE(y, theta_m + phi_m t + gamma_x) + lambda/2 sum gamma_x^2` over all `theta`, `phi`, `gamma` by Newton's
//! method. The difficulties have a diagonal Hessian block, so they are eliminated and each step solves a system of twice
//! the number of models.

use nalgebra::{DMatrix, DVector};
use ream_lab::{Error, Result};
use ream_stats::glm::sigmoid;

use super::annotations::Pairs;
use super::fit::saturate;

/// The joint fit.
#[derive(Clone, Debug)]
pub struct Joint {
    /// Difficulty of every instruction; higher means easier to win.
    pub gamma: Vec<f64>,
    /// `[theta, phi]` of every model.
    pub models: Vec<[f64; 2]>,
    /// Largest entry of the gradient at the end.
    pub gradient: f64,
}

struct Problem<'a> {
    pairs: &'a [&'a Pairs],
    t: Vec<Vec<f64>>,
    instructions: usize,
    lambda: f64,
}

impl Problem<'_> {
    fn objective(&self, models: &[[f64; 2]], gamma: &[f64]) -> f64 {
        let mut sum = 0.5 * self.lambda * gamma.iter().map(|g| g * g).sum::<f64>();
        for ((pairs, t), [theta, phi]) in self.pairs.iter().zip(&self.t).zip(models) {
            for (i, x) in pairs.instruction.iter().enumerate() {
                let z = theta + phi * t[i] + gamma[*x];
                sum += libm::log1p(libm::exp(-z.abs())) + z.max(0.0) - pairs.preference[i] * z;
            }
        }
        sum
    }

    /// Gradient (descent direction's right-hand side) and Hessian blocks at a point.
    fn blocks(&self, models: &[[f64; 2]], gamma: &[f64]) -> Blocks {
        let m = models.len();
        let mut blocks = Blocks {
            models: DMatrix::zeros(2 * m, 2 * m),
            cross: DMatrix::zeros(2 * m, self.instructions),
            gamma: gamma.iter().map(|_| self.lambda).collect(),
            right_models: DVector::zeros(2 * m),
            right_gamma: gamma.iter().map(|g| -self.lambda * g).collect(),
        };
        for (k, ((pairs, t), [theta, phi])) in self.pairs.iter().zip(&self.t).zip(models).enumerate() {
            let (a, b) = (2 * k, 2 * k + 1);
            for (i, x) in pairs.instruction.iter().enumerate() {
                let mean = sigmoid(theta + phi * t[i] + gamma[*x]);
                let (residual, w) = (pairs.preference[i] - mean, mean * (1.0 - mean));
                blocks.right_models[a] += residual;
                blocks.right_models[b] += residual * t[i];
                blocks.right_gamma[*x] += residual;
                blocks.models[(a, a)] += w;
                blocks.models[(a, b)] += w * t[i];
                blocks.models[(b, b)] += w * t[i] * t[i];
                blocks.cross[(a, *x)] += w;
                blocks.cross[(b, *x)] += w * t[i];
                blocks.gamma[*x] += w;
            }
            blocks.models[(b, a)] = blocks.models[(a, b)];
            // A model whose lengths never differ has no slope to find.
            if blocks.models[(b, b)] == 0.0 {
                blocks.models[(b, b)] = 1.0;
            }
        }
        blocks
    }
}

struct Blocks {
    models: DMatrix<f64>,
    cross: DMatrix<f64>,
    gamma: Vec<f64>,
    right_models: DVector<f64>,
    right_gamma: Vec<f64>,
}

impl Blocks {
    fn gradient(&self) -> f64 {
        self.right_gamma.iter().fold(self.right_models.amax(), |largest, g| largest.max(g.abs()))
    }

    /// Newton's step: the difficulties are eliminated (Schur complement), then found from the models' step.
    fn step(self) -> Option<(DVector<f64>, Vec<f64>)> {
        let mut scaled = self.cross.clone();
        for (mut column, g) in scaled.column_iter_mut().zip(&self.gamma) {
            column /= *g;
        }
        let reduced = &self.models - &scaled * self.cross.transpose();
        let right = &self.right_models - &scaled * DVector::from_column_slice(&self.right_gamma);
        let models = reduced.cholesky()?.solve(&right);
        let back = self.cross.transpose() * &models;
        let gamma = self
            .right_gamma
            .iter()
            .zip(back.iter())
            .zip(&self.gamma)
            .map(|((r, b), g)| (r - b) / g)
            .collect();
        Some((models, gamma))
    }
}

/// Fits all models jointly.
///
/// # Errors
/// The fit does not converge.
pub fn joint(pairs: &[&Pairs], instructions: usize, lambda: f64) -> Result<Joint> {
    let t = pairs.iter().map(|p| saturate(&p.delta)).collect();
    let problem = Problem { pairs, t, instructions, lambda };
    let mut models = vec![[0.0; 2]; pairs.len()];
    let mut gamma = vec![0.0; instructions];
    let mut value = problem.objective(&models, &gamma);
    for _ in 0..100 {
        let blocks = problem.blocks(&models, &gamma);
        let gradient = blocks.gradient();
        if gradient < 1e-8 {
            return Ok(Joint { gamma, models, gradient });
        }
        let Some((step, gamma_step)) = blocks.step() else { break };
        let mut scale = 1.0;
        loop {
            let next: Vec<[f64; 2]> = models
                .iter()
                .enumerate()
                .map(|(k, [a, b])| [a + scale * step[2 * k], b + scale * step[2 * k + 1]])
                .collect();
            let next_gamma: Vec<f64> = gamma.iter().zip(&gamma_step).map(|(g, s)| g + scale * s).collect();
            let next_value = problem.objective(&next, &next_gamma);
            if next_value <= value + 1e-10 * value.abs() || scale < 1e-6 {
                (models, gamma, value) = (next, next_gamma, next_value);
                break;
            }
            scale *= 0.5;
        }
    }
    let gradient = problem.blocks(&models, &gamma).gradient();
    // Rounding of a sum over tens of thousands of pairs.
    if gradient < 1e-5 {
        Ok(Joint { gamma, models, gradient })
    } else {
        Err(Error::failed(format!(
            "the joint fit of difficulties did not converge (gradient {gradient:.1e})"
        )))
    }
}

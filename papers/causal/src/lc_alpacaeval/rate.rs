//! The length-controlled win rate and its standard errors.

use rayon::prelude::*;
use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::glm::sigmoid;

use super::fit::{ADVERSARIAL_WEIGHT, Design, Fit, resampled, score};

/// A win rate with its three standard errors, all in percent points.
#[derive(Clone, Debug)]
pub struct Rate {
    /// `100 mean_x sigma(theta + psi gamma_x)`.
    pub value: f64,
    /// (a) standard error of the mean of the predictions: what the public board prints; it leaves out that the
    /// coefficients are estimated.
    pub se_predictions: f64,
    /// (b) delta method with the sandwich covariance, clustered by instruction.
    pub se_delta: f64,
    /// (c) bootstrap over instructions with a refit.
    pub se_bootstrap: f64,
    /// The bootstrap's values.
    pub draws: Vec<f64>,
}

/// The win rate at equal length for given coefficients.
#[must_use]
pub fn controlled(equalised: &[Vec<f64>], coefficients: &[f64], weights: Option<&[f64]>) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, row) in equalised.iter().enumerate() {
        let w = weights.map_or(1.0, |w| w[i]);
        if w > 0.0 {
            sum += w * sigmoid(score(row, coefficients));
            total += w;
        }
    }
    100.0 * sum / total
}

/// The win rate of a fit with standard errors (a) and (b), and (c) from `draws`.
///
/// The influence of an instruction on the rate has two parts: its own prediction, and what its rows do to the
/// coefficients. Under an L1 penalty the coefficients at 0 are taken as fixed.
///
/// # Errors
/// The information matrix is singular.
pub fn rate(model: &str, design: &Design, fit: &Fit, draws: Vec<f64>) -> Result<Rate> {
    let equalised = design.equalised();
    let value = controlled(&equalised, &fit.coefficients, None);
    let n = design.rows.len() as f64;
    let predictions: Vec<f64> = equalised.iter().map(|row| sigmoid(score(row, &fit.coefficients))).collect();
    let mean = value / 100.0;
    let variance = predictions.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let direction = direction(design, fit, &equalised, &predictions)
        .ok_or_else(|| Error::failed(format!("{model}: the information matrix is singular")))?;
    // At the optimum the scores add up to the penalty's slope: under L1 that is no small part of each.
    let drift = if fit.lasso > 0.0 {
        fit.lasso * direction.iter().zip(&fit.coefficients).map(|(d, b)| d * sign(*b)).sum::<f64>() / n
    } else {
        0.0
    };
    let instructions = design.instruction.iter().chain(design.adversarial.iter().map(|a| &a.instruction));
    let mut influence = vec![0.0; instructions.max().map_or(0, |largest| largest + 1)];
    for (((row, y), prediction), x) in
        design.rows.iter().zip(&design.y).zip(&predictions).zip(&design.instruction)
    {
        let residual = y - sigmoid(score(row, &fit.coefficients));
        influence[*x] += (prediction - mean) / n + residual * score(row, &direction) - drift;
    }
    for extra in design.adversarial.iter().filter(|_| fit.lasso > 0.0) {
        let residual = extra.y - sigmoid(score(&extra.row, &fit.coefficients));
        influence[extra.instruction] += ADVERSARIAL_WEIGHT * residual * score(&extra.row, &direction);
    }
    let se_delta = 100.0 * (influence.iter().map(|v| v * v).sum::<f64>() * n / (n - 1.0)).sqrt();
    let se_bootstrap = ream_stats::descriptive::standard_deviation(&draws).unwrap_or(f64::NAN);
    Ok(Rate { value, se_predictions: 100.0 * (variance / n).sqrt(), se_delta, se_bootstrap, draws })
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// What a unit of score in each coefficient does to the rate: the inverse information times the rate's gradient.
fn direction(design: &Design, fit: &Fit, equalised: &[Vec<f64>], predictions: &[f64]) -> Option<Vec<f64>> {
    let p = fit.coefficients.len();
    let n = design.rows.len() as f64;
    let mut gradient = nalgebra::DVector::<f64>::zeros(p);
    let mut information = nalgebra::DMatrix::<f64>::zeros(p, p);
    let mut add = |row: &[f64], weight: f64| {
        let m = sigmoid(score(row, &fit.coefficients));
        for j in 0..p {
            for k in 0..p {
                information[(j, k)] += weight * m * (1.0 - m) * row[j] * row[k];
            }
        }
    };
    for row in &design.rows {
        add(row, 1.0);
    }
    for extra in design.adversarial.iter().filter(|_| fit.lasso > 0.0) {
        add(&extra.row, ADVERSARIAL_WEIGHT);
    }
    for (flat, prediction) in equalised.iter().zip(predictions) {
        for j in 0..p {
            gradient[j] += prediction * (1.0 - prediction) * flat[j] / n;
        }
    }
    information[(0, 0)] += fit.ridge.0;
    for j in 0..p {
        if fit.lasso > 0.0 && fit.coefficients[j] == 0.0 {
            information.row_mut(j).fill(0.0);
            information.column_mut(j).fill(0.0);
            gradient[j] = 0.0;
        }
        if information[(j, j)] == 0.0 {
            information[(j, j)] = 1.0;
        }
    }
    Some(information.cholesky()?.solve(&gradient).as_slice().to_vec())
}

/// How often each instruction is drawn in each of `replications` bootstrap samples: one sample serves all models, so that
/// differences between models are paired.
#[must_use]
pub fn bootstrap_counts(instructions: usize, replications: usize, stream: Stream) -> Vec<Vec<f64>> {
    (0..replications as u64)
        .into_par_iter()
        .map(|r| {
            let mut rng = stream.at(r);
            let mut counts = vec![0.0; instructions];
            for _ in 0..instructions {
                counts[rng.below(instructions)] += 1.0;
            }
            counts
        })
        .collect()
}

/// The win rate in every bootstrap sample, refitted.
///
/// # Errors
/// A refit cannot be made.
pub fn bootstrap(model: &str, design: &Design, fit: &Fit, counts: &[Vec<f64>]) -> Result<Vec<f64>> {
    let equalised = design.equalised();
    let draw = |counts: &Vec<f64>| -> Result<f64> {
        let weights: Vec<f64> = design.instruction.iter().map(|x| counts[*x]).collect();
        let coefficients = resampled(model, design, counts, fit)?;
        Ok(controlled(&equalised, &coefficients, Some(&weights)))
    };
    counts.par_iter().map(draw).collect()
}

/// The win rate of one model against another, from their fits against the same baseline: no new judgement is needed.
#[must_use]
pub fn against(gamma: &[f64], a: (f64, f64), b: (f64, f64)) -> f64 {
    let mean = |g: &f64| sigmoid((a.0 - b.0) + (a.1 - b.1) * g);
    100.0 * gamma.iter().map(mean).sum::<f64>() / gamma.len() as f64
}

/// The Elo rating that a win rate against the baseline stands for; infinite at 0 and 100 %.
#[must_use]
pub fn elo(rate: f64, baseline_rating: f64) -> f64 {
    let p = rate / 100.0;
    baseline_rating + 400.0 * libm::log10(p / (1.0 - p))
}

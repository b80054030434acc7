//! The regression: `P(y) = sigma(theta + phi tanh(delta / s) + psi gamma)`, one fit for each model.
//!
//! Rows are `[t, mediators ..., gamma, 1]`; there is no other intercept. A fractional `y` counts as two rows, label 1 with
//! weight `y` and label 0 with weight `1 - y`, which is the same as the fractional log-loss.

use ream_lab::{Error, Result};
use ream_stats::glm::{self, Penalty, sigmoid};
use ream_stats::{Matrix, descriptive};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::annotations::Pairs;

/// Which regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// No penalty.
    Noreg,
    /// No penalty and no difficulty.
    Minimal,
    /// L1 penalty whose strength five-fold cross-validation picks, as the published code does.
    V1,
    /// Ridge that draws the length slope towards the median over models.
    RidgePhi,
}

/// The design of one model: rows and what is needed to rebuild them.
#[derive(Clone, Debug)]
pub struct Design {
    /// `[rows][p]`: `t`, mediators, difficulty (unless minimal), 1.
    pub rows: Vec<Vec<f64>>,
    /// Preferences, 0..=1.
    pub y: Vec<f64>,
    /// Number of leading columns that the counterfactual sets to zero.
    pub zeroed: usize,
}

/// `tanh(x / sd(x))` without centring, so that 0 stays 0; all zero where `x` does not vary.
#[must_use]
pub fn saturate(x: &[f64]) -> Vec<f64> {
    let sd = descriptive::standard_deviation(x).unwrap_or(0.0);
    if sd > 0.0 { x.iter().map(|v| libm::tanh(v / sd)).collect() } else { vec![0.0; x.len()] }
}

impl Design {
    /// The design of `pairs` given the difficulty of every instruction.
    #[must_use]
    pub fn new(pairs: &Pairs, difficulty: &[f64], variant: Variant) -> Self {
        let t = saturate(&pairs.delta);
        let mediators: Vec<Vec<f64>> = pairs.mediators.iter().map(|m| saturate(m)).collect();
        let row = |i: usize| {
            let mut row = vec![t[i]];
            row.extend(mediators.iter().map(|m| m[i]));
            if variant != Variant::Minimal {
                row.push(difficulty[pairs.instruction[i]]);
            }
            row.push(1.0);
            row
        };
        Self {
            rows: (0..pairs.preference.len()).map(row).collect(),
            y: pairs.preference.clone(),
            zeroed: 1 + mediators.len(),
        }
    }

    /// The rows at equal length: the counterfactual.
    #[must_use]
    pub fn equalised(&self) -> Vec<Vec<f64>> {
        let zero = |row: &Vec<f64>| {
            row.iter().enumerate().map(|(j, v)| if j < self.zeroed { 0.0 } else { *v }).collect()
        };
        self.rows.iter().map(zero).collect()
    }
}

/// A fitted model.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Coefficients in the design's order.
    pub coefficients: Vec<f64>,
    /// Whether the data separate and there is no finite optimum.
    pub separated: bool,
    /// Strength of the ridge on `phi`, its centre.
    pub ridge: (f64, f64),
}

impl Fit {
    /// Slope of the length term.
    #[must_use]
    pub fn phi(&self) -> f64 {
        self.coefficients.first().copied().unwrap_or(0.0)
    }

    /// Model quality: the coefficient of the constant.
    #[must_use]
    pub fn theta(&self) -> f64 {
        self.coefficients.last().copied().unwrap_or(0.0)
    }

    /// Slope of the difficulty; 0 for the minimal fit.
    #[must_use]
    pub fn psi(&self, design: &Design) -> f64 {
        if self.coefficients.len() > design.zeroed + 1 { self.coefficients[design.zeroed] } else { 0.0 }
    }
}

/// Fits a design.
///
/// # Errors
/// The regression cannot be made, for instance because columns depend on each other.
pub fn fit(
    model: &str,
    design: &Design,
    variant: Variant,
    kappa: f64,
    centre: f64,
    adversarial: &[(Vec<f64>, f64)],
) -> Result<Fit> {
    let p = design.rows.first().map_or(0, Vec::len);
    let (penalty, ridge) = match variant {
        Variant::Noreg | Variant::Minimal => (Penalty::None, (0.0, 0.0)),
        Variant::RidgePhi => {
            let mut strength = vec![0.0; p];
            let mut towards = vec![0.0; p];
            strength[0] = kappa;
            towards[0] = centre;
            (Penalty::L2 { strength, centre: towards }, (kappa, centre))
        }
        Variant::V1 => (Penalty::lasso(1.0 / best_c(model, design, adversarial)?, p), (0.0, 0.0)),
    };
    let (rows, y, weights) = if variant == Variant::V1 {
        with_adversarial(design, adversarial)
    } else {
        (design.rows.clone(), design.y.clone(), None)
    };
    // A length term that never varies is a column of zeros: it is left out and its slope is 0.
    let kept: Vec<usize> = (0..p).filter(|j| rows.iter().any(|row| row[*j] != 0.0)).collect();
    let x = matrix(model, &rows, &kept)?;
    let fitted = glm::fractional_logistic(&x, &y, weights.as_deref(), &restrict(&penalty, &kept))
        .map_err(|e| failed(model, &e))?;
    let mut coefficients = vec![0.0; p];
    for (value, j) in fitted.coefficients.iter().zip(&kept) {
        coefficients[*j] = *value;
    }
    Ok(Fit { coefficients, separated: fitted.separated, ridge })
}

fn failed(model: &str, error: &dyn std::fmt::Display) -> Error {
    Error::failed(format!("{model}: {error}"))
}

fn matrix(model: &str, rows: &[Vec<f64>], kept: &[usize]) -> Result<Matrix> {
    let data = rows.iter().flat_map(|row| kept.iter().map(|j| row[*j])).collect();
    Matrix::new(rows.len(), kept.len(), data).map_err(|e| failed(model, &e))
}

fn restrict(penalty: &Penalty, kept: &[usize]) -> Penalty {
    let pick = |values: &[f64]| kept.iter().map(|j| values[*j]).collect();
    match penalty {
        Penalty::None => Penalty::None,
        Penalty::L2 { strength, centre } => Penalty::L2 { strength: pick(strength), centre: pick(centre) },
        Penalty::L1 { strength } => Penalty::L1 { strength: pick(strength) },
    }
}

/// Weight of a judged row of the verbose or concise baseline.
const ADVERSARIAL_WEIGHT: f64 = 0.1;

type Weighted = (Vec<Vec<f64>>, Vec<f64>, Option<Vec<f64>>);

fn with_adversarial(design: &Design, adversarial: &[(Vec<f64>, f64)]) -> Weighted {
    let mut rows = design.rows.clone();
    let mut y = design.y.clone();
    let mut weights = vec![1.0; y.len()];
    for (row, preference) in adversarial {
        let mut row = row.clone();
        // These rows say nothing of the model's quality.
        if let Some(last) = row.last_mut() {
            *last = 0.0;
        }
        rows.push(row);
        y.push(*preference);
        weights.push(ADVERSARIAL_WEIGHT);
    }
    (rows, y, Some(weights))
}

/// The inverse strength that five-fold cross-validation picks from ten between 1e-4 and 1e4. Folds are first come, first
/// served; both label rows of a pair are one fractional row here, so they are always in one fold.
fn best_c(model: &str, design: &Design, adversarial: &[(Vec<f64>, f64)]) -> Result<f64> {
    const FOLDS: usize = 5;
    let n = design.y.len();
    let p = design.rows.first().map_or(0, Vec::len);
    let all: Vec<usize> = (0..p).collect();
    let mut best = (f64::INFINITY, 1.0);
    for step in 0..10 {
        let c = libm::pow(10.0, -4.0 + 8.0 * f64::from(step) / 9.0);
        let mut loss = 0.0;
        for fold in 0..FOLDS {
            let held = fold * n / FOLDS..(fold + 1) * n / FOLDS;
            let train: Vec<usize> = (0..n).filter(|i| !held.contains(i)).collect();
            let part = Design {
                rows: train.iter().map(|i| design.rows[*i].clone()).collect(),
                y: train.iter().map(|i| design.y[*i]).collect(),
                zeroed: design.zeroed,
            };
            let (rows, y, weights) = with_adversarial(&part, adversarial);
            let x = matrix(model, &rows, &all)?;
            let fitted = glm::fractional_logistic(&x, &y, weights.as_deref(), &Penalty::lasso(1.0 / c, p))
                .map_err(|e| failed(model, &e))?;
            for i in held {
                loss += log_loss(design.y[i], score(&design.rows[i], &fitted.coefficients));
            }
        }
        if loss < best.0 {
            best = (loss, c);
        }
    }
    Ok(best.1)
}

/// Linear predictor of a row.
#[must_use]
pub fn score(row: &[f64], coefficients: &[f64]) -> f64 {
    row.iter().zip(coefficients).map(|(x, b)| x * b).sum()
}

/// `-y log p - (1 - y) log(1 - p)` with `p = sigma(z)`, without overflow.
fn log_loss(y: f64, z: f64) -> f64 {
    libm::log1p(libm::exp(-z.abs())) + z.max(0.0) - y * z
}

/// Newton's method for a small weighted problem from a start near the optimum: what a bootstrap repeats thousands of
/// times. Agrees with [`glm::fractional_logistic`] (tested); stops after 50 steps on data that separate.
#[must_use]
pub fn refit(design: &Design, weights: &[f64], start: &Fit) -> Vec<f64> {
    let p = start.coefficients.len();
    let mut b = start.coefficients.clone();
    for _ in 0..50 {
        let mut gradient = vec![0.0; p];
        let mut hessian = nalgebra::DMatrix::<f64>::zeros(p, p);
        for ((row, y), w) in design.rows.iter().zip(&design.y).zip(weights).filter(|(_, w)| **w > 0.0) {
            let mean = sigmoid(score(row, &b));
            let (residual, curvature) = (w * (y - mean), w * mean * (1.0 - mean));
            for j in 0..p {
                gradient[j] += residual * row[j];
                for k in 0..=j {
                    hessian[(j, k)] += curvature * row[j] * row[k];
                }
            }
        }
        gradient[0] -= start.ridge.0 * (b[0] - start.ridge.1);
        hessian[(0, 0)] += start.ridge.0;
        for j in 0..p {
            // A column of zeros keeps its coefficient.
            if hessian[(j, j)] == 0.0 {
                hessian[(j, j)] = 1.0;
            }
            for k in 0..j {
                hessian[(k, j)] = hessian[(j, k)];
            }
        }
        let Some(cholesky) = hessian.cholesky() else { break };
        let step = cholesky.solve(&nalgebra::DVector::from_vec(gradient));
        let longest = step.amax();
        let shrink = if longest > 2.0 { 2.0 / longest } else { 1.0 };
        for (value, change) in b.iter_mut().zip(step.iter()) {
            *value += shrink * change;
        }
        if longest < 1e-9 {
            break;
        }
    }
    b
}

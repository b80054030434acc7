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
    /// Index of each row's instruction.
    pub instruction: Vec<usize>,
    /// Number of leading columns that the counterfactual sets to zero.
    pub zeroed: usize,
    /// Judged rows of the verbose and the concise baseline; only variant v1 looks at them.
    pub adversarial: Vec<Adversarial>,
}

/// A judged row of the baseline that was told to be verbose or concise. It tells the length slope what padding is worth
/// and says nothing of the model's quality: the constant is 0.
#[derive(Clone, Debug)]
pub struct Adversarial {
    /// As in [`Design::rows`].
    pub row: Vec<f64>,
    /// Preference, 0..=1.
    pub y: f64,
    /// Index of the instruction.
    pub instruction: usize,
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
            instruction: pairs.instruction.clone(),
            zeroed: 1 + mediators.len(),
            adversarial: Vec::new(),
        }
    }

    /// These rows as rows of a prompted baseline: the constant becomes 0.
    #[must_use]
    pub fn as_adversarial(&self) -> Vec<Adversarial> {
        let turn = |((row, y), instruction): ((&Vec<f64>, &f64), &usize)| {
            let mut row = row.clone();
            if let Some(constant) = row.last_mut() {
                *constant = 0.0;
            }
            Adversarial { row, y: *y, instruction: *instruction }
        };
        self.rows.iter().zip(&self.y).zip(&self.instruction).map(turn).collect()
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
    /// Strength of the L1 penalty on every coefficient; 0 for none.
    pub lasso: f64,
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
pub fn fit(model: &str, design: &Design, variant: Variant, kappa: f64, centre: f64) -> Result<Fit> {
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
        Variant::V1 => return lasso(model, design, best_c(model, design)?),
    };
    let (coefficients, separated) = solve(model, &design.rows, &design.y, None, &penalty)?;
    Ok(Fit { coefficients, separated, ridge, lasso: 0.0 })
}

/// Variant v1 at a given inverse strength: `c` times the summed log-loss (prompted baseline's rows at weight 0.1) plus
/// the sum of absolute coefficients.
///
/// # Errors
/// As [`fit`].
pub fn lasso(model: &str, design: &Design, c: f64) -> Result<Fit> {
    let p = design.rows.first().map_or(0, Vec::len);
    let (rows, y, weights) = with_adversarial(design, |_| 1.0);
    let (coefficients, separated) = solve(model, &rows, &y, Some(&weights), &Penalty::lasso(1.0 / c, p))?;
    Ok(Fit { coefficients, separated, ridge: (0.0, 0.0), lasso: 1.0 / c })
}

/// Coefficients, and whether the rows separate. A column of zeros (lengths that never differ) is left out; its
/// coefficient is 0.
fn solve(
    model: &str,
    rows: &[Vec<f64>],
    y: &[f64],
    weights: Option<&[f64]>,
    penalty: &Penalty,
) -> Result<(Vec<f64>, bool)> {
    let p = rows.first().map_or(0, Vec::len);
    let kept: Vec<usize> = (0..p).filter(|j| rows.iter().any(|row| row[*j] != 0.0)).collect();
    let x = matrix(model, rows, &kept)?;
    let fitted =
        glm::fractional_logistic(&x, y, weights, &restrict(penalty, &kept)).map_err(|e| failed(model, &e))?;
    let mut coefficients = vec![0.0; p];
    for (value, j) in fitted.coefficients.iter().zip(&kept) {
        coefficients[*j] = *value;
    }
    Ok((coefficients, fitted.separated))
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
pub const ADVERSARIAL_WEIGHT: f64 = 0.1;

type Weighted = (Vec<Vec<f64>>, Vec<f64>, Vec<f64>);

/// Own and prompted baseline's rows with their weights; `count` says how often an instruction is in the sample.
fn with_adversarial(design: &Design, count: impl Fn(usize) -> f64) -> Weighted {
    let mut rows = design.rows.clone();
    let mut y = design.y.clone();
    let mut weights: Vec<f64> = design.instruction.iter().map(|x| count(*x)).collect();
    for extra in &design.adversarial {
        rows.push(extra.row.clone());
        y.push(extra.y);
        weights.push(ADVERSARIAL_WEIGHT * count(extra.instruction));
    }
    (rows, y, weights)
}

/// The inverse strength that five-fold cross-validation picks from ten between 1e-4 and 1e4. Folds are first come, first
/// served; both label rows of a pair are one fractional row here, so they are always in one fold. The prompted baseline's
/// rows help to fit and are never what is predicted.
fn best_c(model: &str, design: &Design) -> Result<f64> {
    const FOLDS: usize = 5;
    let n = design.y.len();
    let p = design.rows.first().map_or(0, Vec::len);
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
                instruction: train.iter().map(|i| design.instruction[*i]).collect(),
                zeroed: design.zeroed,
                adversarial: design.adversarial.clone(),
            };
            let (rows, y, weights) = with_adversarial(&part, |_| 1.0);
            let (coefficients, _) = solve(model, &rows, &y, Some(&weights), &Penalty::lasso(1.0 / c, p))?;
            for i in held {
                loss += log_loss(design.y[i], score(&design.rows[i], &coefficients));
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

/// The coefficients when instruction `x` is in the sample `counts[x]` times: what a bootstrap repeats. The strength of a
/// penalty stays the one that the whole sample was fitted with.
///
/// # Errors
/// As [`fit`].
pub fn resampled(model: &str, design: &Design, counts: &[f64], start: &Fit) -> Result<Vec<f64>> {
    if start.lasso == 0.0 {
        let weights: Vec<f64> = design.instruction.iter().map(|x| counts[*x]).collect();
        return Ok(refit(design, &weights, start));
    }
    let (rows, y, weights) = with_adversarial(design, |x| counts[x]);
    let penalty = Penalty::lasso(start.lasso, start.coefficients.len());
    Ok(solve(model, &rows, &y, Some(&weights), &penalty)?.0)
}

/// Newton's method for a small weighted problem without an L1 penalty from a start near the optimum: what a bootstrap repeats thousands of
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

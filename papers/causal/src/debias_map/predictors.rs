//! The map maker's predictors: ridge regression, boosted trees, a small perceptron; and the fix at training time, which adds a
//! penalty on the bias within quintiles of the outcome.
//!
//! That fix minimises `mean (y - f)^2 + lambda max_q (mean of y - f in quintile q)^2` (after Ratledge et al., 2022; the exact form
//! is unverified). For the linear predictor it is a convex problem, solved to a duality gap: `max_q m_q^2` is the maximum of
//! `sum_q w_q m_q^2` over weights that sum to 1, and for given weights the best coefficients have a closed form.

use nalgebra::{DMatrix, DVector};
use ream_lab::{Invalid, Result};
use ream_nn::layers::{Activation, MlpConfig, MlpNet};
use ream_nn::training::{Adam, AdamConfig, Schedule, Training, train};
use ream_nn::{Init, Module, Tensor, no_grad};
use ream_stats::{Matrix, linear};
use ream_trees::{Column, Loss, Options};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

use super::card::failed;

/// Kinds of predictors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Predictor {
    /// Ridge regression with penalty 1 on standardised columns.
    #[default]
    Ridge,
    /// Boosted trees: depth 3, 150 rounds, rate 0.05.
    Trees,
    /// A perceptron with two hidden layers of 32.
    Mlp,
}

impl Predictor {
    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ridge => "ridge",
            Self::Trees => "trees",
            Self::Mlp => "mlp",
        }
    }
}

/// Ridge penalty on standardised columns.
const RIDGE: f64 = 1.0;
/// Parts of the outcome whose biases are penalised.
pub const PARTS: usize = 5;
/// Adam's rate for the perceptron, on all rows at once.
const RATE: f32 = 0.01;
/// Decay of the perceptron's weights.
const DECAY: f32 = 0.01;

/// What a predictor is trained for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// `lambda`: weight of the largest squared bias within quintiles of the outcome; 0 trains for accuracy alone.
    pub bias_penalty: f64,
    /// Steps of the perceptron.
    pub steps: u64,
    /// Seed of the perceptron's first weights.
    pub seed: u64,
    /// Whether all columns are in one unit, as pixels are: they are then scaled together, so that a pixel that is nearly always
    /// empty does not become large.
    pub same_unit: bool,
}

/// A fitted predictor.
pub enum Fitted {
    /// Coefficients on standardised columns, the intercept first.
    Linear(Scaler, Vec<f64>),
    /// Trees.
    Trees(Box<ream_trees::Model>),
    /// A perceptron for `(y - centre) / scale`.
    Network(Scaler, MlpNet, [f64; 2]),
}

/// Means and standard deviations of the training columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    columns: Vec<[f64; 2]>,
}

impl Scaler {
    fn of(x: &Matrix, same_unit: bool) -> Self {
        let each = |j: usize| centre_and_scale(&x.column(j));
        let mut columns: Vec<[f64; 2]> = (0..x.cols()).map(each).collect();
        if same_unit {
            let all = columns.iter().map(|[_, scale]| scale * scale).sum::<f64>() / columns.len() as f64;
            columns.iter_mut().for_each(|column| column[1] = all.sqrt());
        }
        // A constant column stays 0 whatever it is divided by.
        columns.iter_mut().filter(|column| column[1] <= 0.0).for_each(|column| column[1] = 1.0);
        Self { columns }
    }

    /// Standardised columns behind an intercept, `[n, 1 + p]`.
    fn design(&self, x: &Matrix) -> Matrix {
        let value = |i: usize, j: usize| self.standard(x, i, j);
        Matrix::from_fn(x.rows(), x.cols() + 1, |i, j| if j == 0 { 1.0 } else { value(i, j - 1) })
    }

    fn standard(&self, x: &Matrix, i: usize, j: usize) -> f64 {
        let [centre, scale] = self.columns[j];
        (x.get(i, j) - centre) / scale
    }

    fn tensor(&self, x: &Matrix) -> Result<Tensor> {
        let (n, p) = (x.rows(), x.cols());
        let values = (0..n * p).map(|k| self.standard(x, k / p, k % p) as f32).collect();
        Tensor::from_vec(values, &[n, p]).map_err(failed)
    }
}

/// Mean and standard deviation (population form).
fn centre_and_scale(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    [mean, variance.sqrt()]
}

/// Fits a predictor of `y`, `[n]`, from `x`, `[n, p]`.
///
/// # Errors
/// A bias penalty for trees (their loss has no such term); errors of the fits.
pub fn fit(kind: Predictor, objective: &Objective, x: &Matrix, y: &[f64]) -> Result<Fitted> {
    match kind {
        Predictor::Ridge => {
            let scaler = Scaler::of(x, objective.same_unit);
            let design = scaler.design(x);
            let coefficients = if objective.bias_penalty > 0.0 {
                penalised_ridge(&design, y, objective.bias_penalty)?
            } else {
                let strength: Vec<f64> =
                    (0..design.cols()).map(|j| if j == 0 { 0.0 } else { RIDGE }).collect();
                linear::ridge_by_column(&design, y, &strength).map_err(failed)?.coefficients
            };
            Ok(Fitted::Linear(scaler, coefficients))
        }
        Predictor::Trees if objective.bias_penalty > 0.0 => {
            let wanted = "ridge or mlp with a bias penalty";
            Err(Invalid::new("predictor", wanted, "trees").into())
        }
        Predictor::Trees => {
            let columns: Vec<Vec<f64>> = (0..x.cols()).map(|j| x.column(j)).collect();
            let columns: Vec<Column<'_>> = columns.iter().map(|c| Column::Numbers(c)).collect();
            let options = Options { rounds: 150, rate: 0.05, depth: 3, leaves: 8, ..Options::default() };
            let model = ream_trees::fit(&columns, y, None, Loss::Squared, &options).map_err(failed)?;
            Ok(Fitted::Trees(Box::new(model)))
        }
        Predictor::Mlp => network(objective, x, y),
    }
}

impl Fitted {
    /// Predictions for the rows of `x`, `[n]`.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn predict(&self, x: &Matrix) -> Result<Vec<f64>> {
        match self {
            Self::Linear(scaler, coefficients) => scaler.design(x).times(coefficients).map_err(failed),
            Self::Trees(model) => {
                let columns: Vec<Vec<f64>> = (0..x.cols()).map(|j| x.column(j)).collect();
                let columns: Vec<Column<'_>> = columns.iter().map(|c| Column::Numbers(c)).collect();
                model.predict(&columns).map_err(failed)
            }
            Self::Network(scaler, net, [centre, scale]) => {
                let out = no_grad(|| net.forward(&scaler.tensor(x)?).map_err(failed))?;
                Ok(out.data().iter().map(|v| centre + scale * f64::from(*v)).collect())
            }
        }
    }
}

/// The part (0 to 4) of each outcome, by rank: ties go by position.
#[must_use]
pub fn quintiles(y: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|&i, &j| y[i].total_cmp(&y[j]).then(i.cmp(&j)));
    let mut part = vec![0; y.len()];
    for (rank, i) in order.into_iter().enumerate() {
        part[i] = rank * PARTS / y.len();
    }
    part
}

fn network(objective: &Objective, x: &Matrix, y: &[f64]) -> Result<Fitted> {
    let scaler = Scaler::of(x, objective.same_unit);
    let [centre, scale] = centre_and_scale(y);
    let scale = if scale > 0.0 { scale } else { 1.0 };
    let inputs = scaler.tensor(x)?;
    let n = y.len();
    let targets = y.iter().map(|y| ((y - centre) / scale) as f32).collect();
    let targets = Tensor::from_vec(targets, &[n, 1]).map_err(failed)?;
    let averages = part_averages(y)?;
    let config = MlpConfig::new(&[x.cols(), 32, 32, 1], Activation::Silu);
    let net = MlpNet::new(&Init::new(objective.seed), &config).map_err(failed)?;
    let mut adam = Adam::new(&net.params(), AdamConfig::adamw(RATE, DECAY));
    let training = Training::steps(objective.steps).schedule(Schedule::Cosine { warmup: 10, floor: 0.0 });
    let penalty = objective.bias_penalty as f32;
    let loss = |_: u64, _: usize| {
        let residual = targets.sub(&net.forward(&inputs)?)?;
        let accuracy = residual.square().mean();
        if penalty == 0.0 {
            return Ok(accuracy);
        }
        let worst = averages.matmul(&residual)?.square().max_axis(0)?.sum();
        accuracy.add(&worst.mul_scalar(penalty))
    };
    train(&mut adam, None, &training, loss, |_| ControlFlow::Continue(())).map_err(failed)?;
    Ok(Fitted::Network(scaler, net, [centre, scale]))
}

/// The matrix that takes residuals to their means within quintiles of `y`, `[5, n]`.
fn part_averages(y: &[f64]) -> Result<Tensor> {
    let part = quintiles(y);
    let n = y.len();
    let mut sizes = [0_usize; PARTS];
    part.iter().for_each(|p| sizes[*p] += 1);
    let mut values = vec![0.0_f32; PARTS * n];
    for (i, p) in part.iter().enumerate() {
        values[p * n + i] = 1.0 / sizes[*p] as f32;
    }
    Tensor::from_vec(values, &[PARTS, n]).map_err(failed)
}

/// Sufficient statistics of the penalised problem.
struct Dual {
    gram: DMatrix<f64>,
    cross: DVector<f64>,
    squares: f64,
    /// Mean row and mean outcome of every quintile.
    parts: Vec<(DVector<f64>, f64)>,
    penalty: f64,
    ridge: f64,
}

/// A point of the dual problem.
struct Point {
    coefficients: DVector<f64>,
    biases: Vec<f64>,
    /// Value of the dual, below the least loss.
    below: f64,
    /// Loss at these coefficients, above it.
    above: f64,
}

impl Dual {
    fn new(design: &Matrix, y: &[f64], penalty: f64) -> Self {
        let (n, p) = (design.rows(), design.cols());
        let mut gram = DMatrix::zeros(p, p);
        let mut cross = DVector::zeros(p);
        let part = quintiles(y);
        let mut parts = vec![(DVector::zeros(p), 0.0); PARTS];
        let mut sizes = [0.0; PARTS];
        for (i, y) in y.iter().enumerate() {
            let row = DVector::from_column_slice(design.row(i));
            gram.ger(1.0 / n as f64, &row, &row, 1.0);
            cross.axpy(y / n as f64, &row, 1.0);
            parts[part[i]].0 += &row;
            parts[part[i]].1 += y;
            sizes[part[i]] += 1.0;
        }
        for ((row, y), size) in parts.iter_mut().zip(sizes) {
            *row /= size;
            *y /= size;
        }
        let squares = y.iter().map(|y| y * y).sum::<f64>() / n as f64;
        Self { gram, cross, squares, parts, penalty, ridge: RIDGE / n as f64 }
    }

    /// The best coefficients for given weights of the quintiles.
    fn at(&self, weights: &[f64]) -> Result<Point> {
        let p = self.cross.len();
        let (mut left, mut right) = (self.gram.clone(), self.cross.clone());
        for j in 1..p {
            left[(j, j)] += self.ridge;
        }
        for ((row, y), w) in self.parts.iter().zip(weights) {
            left.ger(self.penalty * w, row, row, 1.0);
            right.axpy(self.penalty * w * y, row, 1.0);
        }
        let solved = left.cholesky().ok_or_else(|| failed("the penalised ridge problem is singular"))?;
        let coefficients = solved.solve(&right);
        let biases: Vec<f64> = self.parts.iter().map(|(row, y)| y - row.dot(&coefficients)).collect();
        let shrunk: f64 = coefficients.iter().skip(1).map(|b| b * b).sum::<f64>() * self.ridge;
        let fit = self.squares - 2.0 * self.cross.dot(&coefficients)
            + coefficients.dot(&(&self.gram * &coefficients))
            + shrunk;
        let weighted: f64 = biases.iter().zip(weights).map(|(m, w)| w * m * m).sum();
        let largest = biases.iter().map(|m| m * m).fold(0.0, f64::max);
        Ok(Point {
            coefficients,
            biases,
            below: fit + self.penalty * weighted,
            above: fit + self.penalty * largest,
        })
    }
}

/// Relative duality gap at which the penalised problem counts as solved.
const GAP: f64 = 1e-6;

/// Minimises `mean (y - x b)^2 + ridge + lambda max_q m_q^2` by exponentiated-gradient ascent on the dual.
fn penalised_ridge(design: &Matrix, y: &[f64], penalty: f64) -> Result<Vec<f64>> {
    let dual = Dual::new(design, y, penalty);
    let mut weights = vec![1.0 / PARTS as f64; PARTS];
    let mut point = dual.at(&weights)?;
    let (mut best, mut least) = (point.coefficients.clone(), point.above);
    let mut step = 1.0;
    for _ in 0..5000 {
        if least - point.below <= GAP * least || step < 1e-12 {
            break;
        }
        let scale = point.biases.iter().map(|m| m * m).fold(f64::MIN_POSITIVE, f64::max);
        let moved: Vec<f64> =
            weights.iter().zip(&point.biases).map(|(w, m)| w * libm::exp(step * m * m / scale)).collect();
        let total: f64 = moved.iter().sum();
        let moved: Vec<f64> = moved.iter().map(|w| w / total).collect();
        let next = dual.at(&moved)?;
        if next.above < least {
            (best, least) = (next.coefficients.clone(), next.above);
        }
        if next.below > point.below {
            (weights, point, step) = (moved, next, step * 1.5);
        } else {
            step *= 0.5;
        }
    }
    Ok(best.as_slice().to_vec())
}

/// Loss of the training-time fix for predictions `f` of `y`, without the ridge: `mean (y - f)^2 + lambda max_q m_q^2`.
#[must_use]
pub fn penalised_loss(y: &[f64], predictions: &[f64], penalty: f64) -> f64 {
    let n = y.len() as f64;
    let residuals: Vec<f64> = y.iter().zip(predictions).map(|(y, f)| y - f).collect();
    let accuracy = residuals.iter().map(|r| r * r).sum::<f64>() / n;
    let (mut sums, mut sizes) = ([0.0; PARTS], [0.0; PARTS]);
    for (part, r) in quintiles(y).into_iter().zip(&residuals) {
        sums[part] += r;
        sizes[part] += 1.0;
    }
    let worst = sums.iter().zip(sizes).map(|(s, n)| (s / n) * (s / n)).fold(0.0, f64::max);
    accuracy + penalty * worst
}

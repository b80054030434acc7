//! The linear simulation, and what theory says of it.
//!
//! `C ~ N(0, I_m)`, `X = C W_X + 0.1 N`, `y = X f + kappa C w_y + 0.1 e`, with `|f| = 1`. The rows of `W` are an orthonormal basis of
//! the directions that `f` does not see, and `GX = X + gamma G W` with `G ~ N(0, I)` leaves `X f` as it is.
//!
//! With `S = Cov(X)`, `c = Cov(X, y - X f)` and `P = W'W` the errors of the fits are, in the population,
//! `S^-1 c` (ERM), `(S + gamma^2 P)^-1 c` (DA+ERM) and `(S + gamma^2 (1 + alpha) / alpha P)^-1 c` (IVL): IVL is the augmentation
//! at strength `gamma sqrt((1 + alpha) / alpha)`.

use nalgebra::{DMatrix, DVector};
use ream_rand::Stream;
use ream_stats::Matrix;

use super::moments::{Moments, Sums, solve};
use super::sample::Sample;

/// Deviation of the noise in inputs and outcome.
pub const NOISE: f64 = 0.1;

/// One mechanism.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// The truth, `[m]`, of length 1.
    pub truth: Vec<f64>,
    /// `W_X`, `[m, m]`: what each confounder does to the inputs.
    pub to_inputs: Matrix,
    /// `w_y`, `[m]`: what each does to the outcome, before `kappa`.
    pub to_outcome: Vec<f64>,
    /// `W`, `[m - 1, m]`.
    pub unseen: Matrix,
}

/// An orthonormal basis of the directions orthogonal to `f`, `[m - 1, m]`: the lower rows of the Householder reflection that turns
/// `f` to the first axis.
#[must_use]
pub fn null_basis(f: &[f64]) -> Matrix {
    let m = f.len();
    let length = f.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length == 0.0 {
        return Matrix::from_fn(m, m, |i, j| f64::from(u8::from(i == j)));
    }
    let mut u: Vec<f64> = f.iter().map(|v| v / length).collect();
    // The sign that avoids cancellation.
    u[0] += if u[0] >= 0.0 { 1.0 } else { -1.0 };
    let squares: f64 = u.iter().map(|v| v * v).sum();
    Matrix::from_fn(m - 1, m, |i, j| f64::from(u8::from(i + 1 == j)) - 2.0 * u[i + 1] * u[j] / squares)
}

impl World {
    /// A mechanism in `m` dimensions.
    #[must_use]
    pub fn draw(m: usize, stream: Stream) -> Self {
        let mut rng = stream.at(0);
        let to_inputs = Matrix::from_fn(m, m, |_, _| rng.normal());
        let to_outcome = (0..m).map(|_| rng.normal()).collect();
        let f: Vec<f64> = (0..m).map(|_| rng.normal()).collect();
        let length = f.iter().map(|v| v * v).sum::<f64>().sqrt();
        let truth: Vec<f64> = f.iter().map(|v| v / length).collect();
        let unseen = null_basis(&truth);
        Self { truth, to_inputs, to_outcome, unseen }
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.truth.len()
    }

    /// `n` rows; each keyed by its position, so that any part can be made alone.
    #[must_use]
    pub fn rows(&self, n: usize, stream: Stream) -> Rows {
        let m = self.inputs();
        let mut of = Rows {
            x: Vec::with_capacity(n * m),
            pull: Vec::with_capacity(n),
            base: Vec::with_capacity(n),
            g: Vec::with_capacity(n * (m - 1)),
            inputs: m,
        };
        let mut row = Row::new(m);
        for i in 0..n {
            self.row(i, stream, &mut row);
            of.x.extend_from_slice(&row.x);
            of.pull.push(row.pull);
            of.base.push(row.base);
            of.g.extend_from_slice(&row.g);
        }
        of
    }

    fn row(&self, i: usize, stream: Stream, to: &mut Row) {
        let mut rng = stream.at(i as u64);
        to.x.iter_mut().for_each(|x| *x = NOISE * rng.normal());
        to.pull = 0.0;
        for k in 0..self.inputs() {
            let c = rng.normal();
            to.x.iter_mut().zip(self.to_inputs.row(k)).for_each(|(x, w)| *x += c * w);
            to.pull += c * self.to_outcome[k];
        }
        to.base = to.x.iter().zip(&self.truth).map(|(x, f)| x * f).sum::<f64>() + NOISE * rng.normal();
        to.g.iter_mut().for_each(|g| *g = rng.normal());
    }

    /// `S`, `[m, m]`, and `c` at `kappa`, `[m]`.
    #[must_use]
    pub fn population(&self, kappa: f64) -> (DMatrix<f64>, DVector<f64>) {
        let m = self.inputs();
        let w = DMatrix::from_row_slice(m, m, self.to_inputs.data());
        let noise = DMatrix::identity(m, m) * (NOISE * NOISE);
        let pull = DVector::from_column_slice(&self.to_outcome) * kappa;
        (w.transpose() * &w + noise, w.transpose() * pull)
    }

    /// Population coefficients at squared strength `gamma^2` of augmentation: `f + (S + gamma^2 P)^-1 c`.
    #[must_use]
    pub fn population_fit(&self, kappa: f64, strength_squared: f64) -> Vec<f64> {
        let (s, c) = self.population(kappa);
        let w = DMatrix::from_row_slice(self.unseen.rows(), self.unseen.cols(), self.unseen.data());
        let (error, _) = solve(&(s + w.transpose() * w * strength_squared), &c);
        self.truth.iter().zip(error).map(|(f, e)| f + e).collect()
    }
}

struct Row {
    x: Vec<f64>,
    pull: f64,
    base: f64,
    g: Vec<f64>,
}

impl Row {
    fn new(m: usize) -> Self {
        Self { x: vec![0.0; m], pull: 0.0, base: 0.0, g: vec![0.0; m - 1] }
    }
}

/// Rows before `kappa` and `gamma` are chosen: sweeps use the same draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    inputs: usize,
    /// `[n, m]`.
    x: Vec<f64>,
    /// `C w_y`.
    pull: Vec<f64>,
    /// `X f + 0.1 e`.
    base: Vec<f64>,
    /// `[n, m - 1]`.
    g: Vec<f64>,
}

impl Rows {
    /// The augmented sample at one strength of confounding and of augmentation.
    #[must_use]
    pub fn sample(&self, world: &World, kappa: f64, gamma: f64) -> Sample {
        let (n, m) = (self.pull.len(), self.inputs);
        let (x, g) = (&self.x, &self.g);
        let raw = Matrix::from_fn(n, m, |i, j| x[i * m + j]);
        let parameters = Matrix::from_fn(n, m - 1, |i, j| g[i * (m - 1) + j]);
        let augmented = translated(&raw, &parameters, &world.unseen, gamma);
        let y: Vec<f64> = self.base.iter().zip(&self.pull).map(|(b, p)| b + kappa * p).collect();
        Sample::centred(&raw, &augmented, &parameters, &y)
    }
}

/// `X + gamma G W`.
#[must_use]
pub fn translated(x: &Matrix, g: &Matrix, w: &Matrix, gamma: f64) -> Matrix {
    let mut data = Vec::with_capacity(x.rows() * x.cols());
    let mut row = vec![0.0; x.cols()];
    for i in 0..x.rows() {
        row.copy_from_slice(x.row(i));
        for (k, parameter) in g.row(i).iter().enumerate() {
            row.iter_mut().zip(w.row(k)).for_each(|(r, w)| *r += gamma * parameter * w);
        }
        data.extend_from_slice(&row);
    }
    let (rows, cols) = (x.rows(), x.cols());
    Matrix::from_fn(rows, cols, |i, j| data[i * cols + j])
}

/// `|h_alpha(gamma) - h_DA(gamma sqrt((1 + alpha) / alpha))| / |h_DA|` on `n` rows, made one after the other and never kept:
/// `GX` is linear in `G`, so the products of `[G X y]` give those of every strength. Both fits see the same draws.
#[must_use]
pub fn equivalence(world: &World, n: usize, kappa: f64, gamma: f64, alpha: f64, stream: Stream) -> f64 {
    let (m, q) = (world.inputs(), world.inputs() - 1);
    // The last column counts, so that everything can be centred afterwards.
    let mut sums = Sums::new(q + m + 2);
    let mut row = Row::new(m);
    for i in 0..n {
        world.row(i, stream, &mut row);
        let y = row.base + kappa * row.pull;
        sums.push(row.g.iter().chain(&row.x).copied().chain([y, 1.0]));
    }
    let (total, _) = sums.finish();
    let last = q + m + 1;
    let centred = DMatrix::from_fn(last, last, |i, j| {
        total[(i, j)] - total[(i, last)] * total[(j, last)] / total[(last, last)]
    });
    let w = DMatrix::from_row_slice(q, m, world.unseen.data());
    let (ivl, _) = augmented_moments(&centred, &w, gamma, n).ivl_path(&[alpha]);
    let stronger = gamma * ((1.0 + alpha) / alpha).sqrt();
    let (da, _) = augmented_moments(&centred, &w, stronger, n).least_squares();
    let missed: f64 = ivl.iter().flatten().zip(&da).map(|(a, b)| (a - b) * (a - b)).sum();
    (missed / da.iter().map(|v| v * v).sum::<f64>()).sqrt()
}

/// Moments of `[G, X + gamma G W, y]` from the products of `[G X y]`.
fn augmented_moments(products: &DMatrix<f64>, w: &DMatrix<f64>, gamma: f64, n: usize) -> Moments {
    let (q, m) = w.shape();
    let block = |i: usize, j: usize, r: usize, c: usize| products.view((i, j), (r, c)).into_owned();
    let (gg, gx, xx) = (block(0, 0, q, q), block(0, q, q, m), block(q, q, m, m));
    let (gy, xy) =
        (products.view((0, q + m), (q, 1)).into_owned(), products.view((q, q + m), (m, 1)).into_owned());
    let w = w * gamma;
    let cross = w.transpose() * &gx;
    Moments {
        rows: n as f64,
        gx: &gx + &gg * &w,
        xx: xx + &cross + cross.transpose() + w.transpose() * &gg * &w,
        xy: DVector::from_column_slice((xy + w.transpose() * &gy).as_slice()),
        gy: DVector::from_column_slice(gy.as_slice()),
        yy: products[(q + m, q + m)],
        gg,
    }
}

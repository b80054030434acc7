//! The non-linear estimator: a perceptron (ReLU, two layers of 64) under the same loss, batch by batch,
//! `(|P_B r|^2 + alpha |r|^2) / ((1 + alpha) B)` with the residuals `r` of a batch and the projection `P_B` on its parameters.
//!
//! The division keeps the size of the loss, and so the meaning of a learning rate, the same for every `alpha`; it moves no minimum.

use nalgebra::DMatrix;
use ream_lab::{Error, Result};
use ream_nn::layers::{MlpConfig, MlpNet};
use ream_nn::ops::Activation;
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Init, Module, NnError, Tensor};
use ream_rand::Stream;
use ream_stats::Matrix;

/// Neurons of a hidden layer.
pub const HIDDEN: usize = 64;
/// Rows of a batch.
pub const BATCH: usize = 256;
/// Learning rates, first and last.
const RATES: (f32, f32) = (1e-2, 1e-3);

/// Inputs `[n, m]` and parameters `[n, q]` of one epoch.
pub struct Epoch {
    /// Inputs.
    pub x: Matrix,
    /// Parameters; no columns: plain squared error.
    pub g: Option<Matrix>,
}

/// A trained perceptron with the scale of its inputs.
pub struct Network {
    net: MlpNet,
    means: Vec<f32>,
    scale: f32,
}

/// An orthonormal basis of the centred columns of the rows `rows` of `g`, transposed: `[rank, B]`.
#[must_use]
pub fn basis(g: &Matrix, rows: &[usize]) -> DMatrix<f64> {
    let mut part = DMatrix::from_fn(rows.len(), g.cols(), |i, j| g.get(rows[i], j));
    for mut column in part.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    let qr = part.col_piv_qr();
    let r = qr.r();
    let first = if r.is_empty() { 0.0 } else { r[(0, 0)].abs() };
    let rank =
        (0..r.nrows().min(r.ncols())).take_while(|&j| first > 0.0 && r[(j, j)].abs() > 1e-10 * first).count();
    qr.q().columns(0, rank).transpose()
}

/// The loss of one batch: residuals `[B, 1]`, `alpha` and the batch's basis (none: squared error).
///
/// # Errors
/// Sizes that do not fit.
pub fn loss(residuals: &Tensor, blend: Option<(f64, &DMatrix<f64>)>) -> Result<Tensor, NnError> {
    let rows = residuals.len() as f32;
    let squares = residuals.square().sum();
    let Some((alpha, basis)) = blend else { return Ok(squares.mul_scalar(1.0 / rows)) };
    // Row-major values of the transpose are column-major values of the basis.
    let values: Vec<f32> = basis.transpose().iter().map(|v| *v as f32).collect();
    let projected = Tensor::from_vec(values, &[basis.nrows(), basis.ncols()])?.matmul(residuals)?;
    let total = projected.square().sum().add(&squares.mul_scalar(alpha as f32))?;
    Ok(total.mul_scalar(1.0 / (rows * (1.0 + alpha as f32))))
}

/// Trains on what `epoch(k)` gives for each epoch.
///
/// # Errors
/// Sizes that do not fit.
pub fn train(
    labels: &[f64],
    alpha: f64,
    epochs: u64,
    stream: Stream,
    seed: u64,
    mut epoch: impl FnMut(u64) -> Result<Epoch>,
) -> Result<Network> {
    let failed = |e: NnError| Error::failed(format!("the perceptron: {e}"));
    let first = epoch(0)?;
    let inputs = first.x.cols();
    let net = MlpNet::new(&Init::new(seed), &MlpConfig::new(&[inputs, HIDDEN, HIDDEN, 1], Activation::Relu))
        .map_err(failed)?;
    let (means, scale) = scale_of(&first.x);
    let network = Network { net, means, scale };
    let mut adam =
        Adam::new(&network.net.params(), AdamConfig { learning_rate: RATES.0, ..AdamConfig::default() });
    let batches = labels.len().div_ceil(BATCH) as u64;
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let mut next = Some(first);
    for k in 0..epochs {
        let of = match next.take() {
            Some(first) => first,
            None => epoch(k)?,
        };
        stream.at(k).shuffle(&mut order);
        for (b, rows) in order.chunks(BATCH).enumerate() {
            let factor = rate((k * batches + b as u64) as f32 / (epochs * batches) as f32);
            network.step(&of, labels, rows, alpha, &mut adam, factor).map_err(failed)?;
        }
    }
    Ok(network)
}

/// Learning rate in units of the first, after a share of the steps: falls evenly in the logarithm.
fn rate(share: f32) -> f32 {
    libm::powf(RATES.1 / RATES.0, share)
}

fn scale_of(x: &Matrix) -> (Vec<f32>, f32) {
    let n = x.rows() as f64;
    let means: Vec<f64> = (0..x.cols()).map(|j| x.column(j).iter().sum::<f64>() / n).collect();
    let squares: f64 =
        (0..x.rows()).map(|i| x.row(i).iter().zip(&means).map(|(v, m)| (v - m) * (v - m)).sum::<f64>()).sum();
    let deviation = (squares / (n * x.cols() as f64)).sqrt();
    (means.iter().map(|m| *m as f32).collect(), if deviation > 0.0 { 1.0 / deviation as f32 } else { 1.0 })
}

impl Network {
    fn step(
        &self,
        of: &Epoch,
        labels: &[f64],
        rows: &[usize],
        alpha: f64,
        adam: &mut Adam,
        factor: f32,
    ) -> Result<(), NnError> {
        let values: Vec<f32> = rows.iter().flat_map(|&i| self.scaled(of.x.row(i))).collect();
        let x = Tensor::from_vec(values, &[rows.len(), of.x.cols()])?;
        let y = Tensor::from_vec(rows.iter().map(|&i| labels[i] as f32).collect(), &[rows.len(), 1])?;
        let residuals = y.sub(&self.net.forward(&x)?)?;
        let blend = of.g.as_ref().map(|g| (alpha, basis(g, rows)));
        let total = loss(&residuals, blend.as_ref().map(|(alpha, basis)| (*alpha, basis)))?;
        adam.step(&total.backward()?, factor);
        Ok(())
    }

    fn scaled<'a>(&'a self, row: &'a [f64]) -> impl Iterator<Item = f32> + 'a {
        row.iter().zip(&self.means).map(|(v, m)| (*v as f32 - m) * self.scale)
    }

    /// Scores of rows `[n, m]`.
    ///
    /// # Errors
    /// Another number of inputs.
    pub fn scores(&self, x: &Matrix) -> Result<Vec<f64>> {
        let values: Vec<f32> = (0..x.rows()).flat_map(|i| self.scaled(x.row(i))).collect();
        let forward = || -> Result<Vec<f32>, NnError> {
            let x = Tensor::from_vec(values, &[x.rows(), x.cols()])?;
            Ok(ream_nn::no_grad(|| self.net.forward(&x))?.to_vec())
        };
        Ok(forward()
            .map_err(|e| Error::failed(format!("the perceptron: {e}")))?
            .into_iter()
            .map(f64::from)
            .collect())
    }
}

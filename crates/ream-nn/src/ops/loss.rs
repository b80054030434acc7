//! Softmax and losses.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::simd::{self, LANES, vectorised};
use crate::tensor::Tensor;
use crate::threads;

/// Elements of one job.
const WORK: usize = 16 * 1024;

vectorised! {
    /// Largest element.
    pub(crate) fn row_max(x: &[f32]) -> f32 {
        let _ = FMA;
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = x.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, x) in lanes.iter_mut().zip(chunk) { *lane = if *x > *lane { *x } else { *lane }; }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) { *lane = if *x > *lane { *x } else { *lane }; }
        lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a })
    }
}
vectorised! {
    /// `x[i] = e^(x[i] - shift)`; returns their sum.
    pub(crate) fn exp_shifted(x: &mut [f32], shift: f32) -> f32 {
        for x in x.iter_mut() { *x = simd::exp::<FMA>(*x - shift); }
        simd::sum_by(x.len(), |i| x[i])
    }
}
vectorised! {
    /// Sum of `e^(x[i] - shift)`.
    pub(crate) fn sum_exp(x: &[f32], shift: f32) -> f32 {
        simd::sum_by(x.len(), |i| simd::exp::<FMA>(x[i] - shift))
    }
}
vectorised! {
    fn scale_row(x: &mut [f32], factor: f32) {
        let _ = FMA;
        for x in x.iter_mut() { *x *= factor; }
    }
}
vectorised! {
    fn shift_row(out: &mut [f32], x: &[f32], shift: f32) {
        let _ = FMA;
        for (out, x) in out.iter_mut().zip(x) { *out = x - shift; }
    }
}
vectorised! {
    /// `dx = y (dy - sum dy y)`.
    fn softmax_backward(grad: &mut [f32], y: &[f32]) {
        let total = simd::sum_by(y.len(), |i| grad[i] * y[i]);
        let _ = FMA;
        for (g, y) in grad.iter_mut().zip(y) { *g = y * (*g - total); }
    }
}
vectorised! {
    /// `dx = dy - e^y sum dy`.
    fn log_softmax_backward(grad: &mut [f32], y: &[f32]) {
        let total = simd::sum_by(y.len(), |i| grad[i]);
        for (g, y) in grad.iter_mut().zip(y) { *g -= simd::exp::<FMA>(*y) * total; }
    }
}
vectorised! {
    /// `out = factor e^(x - shift)`.
    fn scaled_exp(out: &mut [f32], x: &[f32], shift: f32, factor: f32) {
        for (out, x) in out.iter_mut().zip(x) { *out = factor * simd::exp::<FMA>(*x - shift); }
    }
}

/// Softmax of a row in place. A row of `-inf` only becomes zeros.
pub(crate) fn softmax_row(row: &mut [f32]) {
    let max = row_max(row);
    if max == f32::NEG_INFINITY {
        row.fill(0.0);
        return;
    }
    let total = exp_shifted(row, max);
    scale_row(row, 1.0 / total);
}

/// `ln sum e^x` of a row.
pub(crate) fn log_sum_exp(row: &[f32]) -> f32 {
    let max = row_max(row);
    if max == f32::NEG_INFINITY { max } else { max + libm::logf(sum_exp(row, max)) }
}

fn by_rows(data: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let width = width.max(1);
    let rows = (WORK / width).max(1);
    threads::chunks(data, rows * width, |start, part| {
        for (i, row) in part.chunks_exact_mut(width).enumerate() {
            work(start + i * width, row);
        }
    });
}

impl Tensor {
    /// Softmax over the last axis. A row of `-inf` only becomes zeros.
    #[must_use]
    pub fn softmax(&self) -> Self {
        let width = self.last();
        let mut out = Buffer::copy_of(self.data());
        by_rows(&mut out, width, |_, row| softmax_row(row));
        let out = Arc::new(out);
        let (y, parent) = (Arc::clone(&out), self.clone());
        Self::derived("softmax", self.shape(), out, &[self], move |mut grad, sink| {
            by_rows(&mut grad, width, |at, row| softmax_backward(row, &y[at..at + row.len()]));
            sink.add(&parent, grad);
            Ok(())
        })
    }

    /// Logarithm of the softmax over the last axis.
    #[must_use]
    pub fn log_softmax(&self) -> Self {
        let width = self.last();
        let mut out = Buffer::scratch(self.len());
        by_rows(&mut out, width, |at, row| {
            let x = &self.data()[at..at + row.len()];
            shift_row(row, x, log_sum_exp(x));
        });
        let out = Arc::new(out);
        let (y, parent) = (Arc::clone(&out), self.clone());
        Self::derived("log_softmax", self.shape(), out, &[self], move |mut grad, sink| {
            by_rows(&mut grad, width, |at, row| log_softmax_backward(row, &y[at..at + row.len()]));
            sink.add(&parent, grad);
            Ok(())
        })
    }

    /// `ln sum e^x` over the last axis, which keeps size 1.
    #[must_use]
    pub fn log_sum_exp(&self) -> Self {
        let width = self.last();
        let sums: Vec<f32> = self.data().chunks_exact(width.max(1)).map(log_sum_exp).collect();
        let mut to = self.shape().to_vec();
        if let Some(last) = to.last_mut() {
            *last = 1;
        }
        let (parent, kept) = (self.clone(), sums.clone());
        Self::custom("log_sum_exp", &to, sums.into(), &[self], move |grad, sink| {
            let mut all = Buffer::scratch(parent.len());
            by_rows(&mut all, width, |at, row| {
                let i = at / width;
                scaled_exp(row, &parent.data()[at..at + row.len()], kept[i], grad[i]);
            });
            sink.add(&parent, all);
            Ok(())
        })
    }
}

/// Negative log-likelihood in nats of every target: `-ln softmax(logits)[target]`, without a gradient.
///
/// # Errors
/// When there are not as many targets as rows, or a target is out of range.
pub fn token_losses(logits: &Tensor, targets: &[u32]) -> Result<Vec<f32>> {
    check_targets("token_losses", logits, targets)?;
    let width = logits.last();
    let mut out = vec![0.0; targets.len()];
    threads::chunks(&mut out, (WORK / width.max(1)).max(1), |start, part| {
        for (i, loss) in part.iter_mut().enumerate() {
            let row = &logits.data()[(start + i) * width..(start + i + 1) * width];
            *loss = log_sum_exp(row) - row[targets[start + i] as usize];
        }
    });
    Ok(out)
}

fn check_targets(operation: &'static str, logits: &Tensor, targets: &[u32]) -> Result<()> {
    if logits.rank() == 0 || logits.rows() != targets.len() {
        return shape(
            operation,
            format!("{} targets for the {} rows of {:?}", targets.len(), logits.rows(), logits.shape()),
        );
    }
    match targets.iter().enumerate().find(|(_, t)| **t as usize >= logits.last()) {
        Some((i, t)) => {
            shape(operation, format!("target {t} at row {i}, there are {} classes", logits.last()))
        }
        None => Ok(()),
    }
}

/// Mean cross entropy in nats of integer targets: `logits` `[.., classes]`, one target a row; with `weights`, the weighted mean (rows
/// of weight 0 are left out). Shape `[]`. When all weights are 0 the loss is 0.
///
/// # Errors
/// When targets or weights do not fit the rows, or a target is out of range.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], weights: Option<&[f32]>) -> Result<Tensor> {
    check_targets("cross_entropy", logits, targets)?;
    if let Some(weights) = weights.filter(|w| w.len() != targets.len()) {
        return shape("cross_entropy", format!("{} weights for {} targets", weights.len(), targets.len()));
    }
    let width = logits.last();
    let total: f64 = weights.map_or(targets.len() as f64, |w| w.iter().map(|w| f64::from(*w)).sum());
    let weight_of: Arc<dyn Fn(usize) -> f32 + Send + Sync> = match weights {
        Some(w) => {
            let w = w.to_vec();
            Arc::new(move |i| w[i])
        }
        None => Arc::new(|_| 1.0),
    };
    let mut sums = vec![0.0_f32; targets.len()];
    threads::chunks(&mut sums, (WORK / width.max(1)).max(1), |start, part| {
        for (i, sum) in part.iter_mut().enumerate() {
            if weight_of(start + i) != 0.0 {
                *sum = log_sum_exp(&logits.data()[(start + i) * width..(start + i + 1) * width]);
            }
        }
    });
    let loss: f64 = (0..targets.len())
        .filter(|i| weight_of(*i) != 0.0)
        .map(|i| {
            f64::from(weight_of(i)) * f64::from(sums[i] - logits.data()[i * width + targets[i] as usize])
        })
        .sum();
    let scale = if total == 0.0 { 0.0 } else { 1.0 / total };
    let (parent, targets) = (logits.clone(), targets.to_vec());
    let value = vec![(loss * scale) as f32];
    Ok(Tensor::custom("cross_entropy", &[], value.into(), &[logits], move |grad, sink| {
        let mut all = Buffer::scratch(parent.len());
        by_rows(&mut all, width, |at, row| {
            let i = at / width;
            let factor = grad[0] * weight_of(i) * scale as f32;
            if factor == 0.0 {
                row.fill(0.0);
                return;
            }
            scaled_exp(row, &parent.data()[at..at + width], sums[i], factor);
            row[targets[i] as usize] -= factor;
        });
        sink.add(&parent, all);
        Ok(())
    }))
}

/// Mean squared difference, shape `[]`.
///
/// # Errors
/// When the shapes differ.
pub fn mse(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.shape() != b.shape() {
        return shape("mse", format!("{:?} and {:?}", a.shape(), b.shape()));
    }
    Ok(a.sub(b)?.square().mean())
}

/// Mean binary cross entropy of logits against targets in `[0, 1]`, shape `[]`.
///
/// # Errors
/// When the lengths differ.
pub fn bce_with_logits(logits: &Tensor, targets: &[f32]) -> Result<Tensor> {
    if logits.len() != targets.len() {
        return shape("bce_with_logits", format!("{} targets for {:?}", targets.len(), logits.shape()));
    }
    let targets = Tensor::from_vec(targets.to_vec(), logits.shape())?;
    Ok(logits.softplus().sub(&logits.mul(&targets)?)?.mean())
}

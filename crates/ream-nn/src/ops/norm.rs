//! Normalisation over the last axis, and the per-sample scale and shift that follow it in conditional networks.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::simd::{fma, sum_by, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Rows of one job, and of one partial sum of the gradient of weight and bias.
const ROWS: usize = 32;

vectorised! {
    /// `out = (x - mean) / deviation * weight + bias`; returns mean and 1 / deviation. With `centre` 0 the mean is taken as 0.
    fn norm_row(out: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32, centre: f32) -> (f32, f32) {
        let n = x.len();
        let mean = if centre == 0.0 { 0.0 } else { sum_by(n, |i| x[i]) / n as f32 };
        let variance = sum_by(n, |i| (x[i] - mean) * (x[i] - mean)) / n as f32;
        let inverse = 1.0 / (variance + eps).sqrt();
        for (out, x) in out.iter_mut().zip(x) { *out = (x - mean) * inverse; }
        if !weight.is_empty() {
            for (out, w) in out.iter_mut().zip(weight) { *out *= w; }
        }
        if !bias.is_empty() {
            for (out, b) in out.iter_mut().zip(bias) { *out += b; }
        }
        let _ = FMA;
        (mean, inverse)
    }
}
vectorised! {
    /// Turns the gradient of a row into that of its input; adds to the gradients of weight and bias (when they are not empty).
    fn norm_row_backward(
        grad: &mut [f32],
        x: &[f32],
        weight: &[f32],
        d_weight: &mut [f32],
        d_bias: &mut [f32],
        mean: f32,
        inverse: f32,
        centre: f32,
    ) {
        let n = grad.len();
        let x = &x[..n];
        for (d, g) in d_bias.iter_mut().zip(grad.iter()) { *d += g; }
        for (d, (g, x)) in d_weight.iter_mut().zip(grad.iter().zip(x)) {
            *d = fma::<FMA>(*g, (x - mean) * inverse, *d);
        }
        if !weight.is_empty() {
            for (g, w) in grad.iter_mut().zip(weight) { *g *= w; }
        }
        let along = sum_by(n, |i| grad[i] * (x[i] - mean)) * inverse / n as f32;
        let average = if centre == 0.0 { 0.0 } else { sum_by(n, |i| grad[i]) / n as f32 };
        for (g, x) in grad.iter_mut().zip(x) {
            *g = inverse * (*g - average - (x - mean) * inverse * along);
        }
    }
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last axis (Ba et al., 2016); weight and bias are `[d]`.
///
/// # Errors
/// When weight or bias are not as long as the last axis.
pub fn layer_norm(x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    norm("layer_norm", x, weight, bias, eps, 1.0)
}

/// `x / sqrt(mean(x^2) + eps) * weight` over the last axis (Zhang & Sennrich, 2019); the weight is `[d]`.
///
/// # Errors
/// When the weight is not as long as the last axis.
pub fn rms_norm(x: &Tensor, weight: Option<&Tensor>, eps: f32) -> Result<Tensor> {
    norm("rms_norm", x, weight, None, eps, 0.0)
}

fn norm(
    name: &'static str,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f32,
    centre: f32,
) -> Result<Tensor> {
    let d = x.last();
    if x.rank() == 0 {
        return shape(name, "a scalar has no last axis");
    }
    for (what, tensor) in [("weight", weight), ("bias", bias)] {
        if let Some(tensor) = tensor.filter(|t| t.shape() != [d]) {
            return shape(
                name,
                format!("the {what} {:?} must be [d] = [{d}] for {:?}", tensor.shape(), x.shape()),
            );
        }
    }
    let rows = x.rows();
    let mut out = Buffer::scratch(x.len());
    let mut statistics = vec![(0.0_f32, 0.0_f32); rows];
    {
        let kept = SharedPairs(statistics.as_mut_ptr());
        let (w, b) = (weight.map_or(&[][..], Tensor::data), bias.map_or(&[][..], Tensor::data));
        threads::chunks(&mut out, ROWS * d, |start, part| {
            for (i, out) in part.chunks_exact_mut(d).enumerate() {
                let row = start / d + i;
                let pair = norm_row(out, &x.data()[row * d..(row + 1) * d], w, b, eps, centre);
                // SAFETY: row `row` < `rows` belongs to this job alone.
                unsafe { kept.put(row, pair) };
            }
        });
    }
    let (px, pw, pb) = (x.clone(), weight.cloned(), bias.cloned());
    let mut parents = vec![x];
    parents.extend(weight);
    parents.extend(bias);
    Ok(Tensor::custom(name, x.shape(), out, &parents, move |mut grad, sink| {
        let wanted = |t: &Option<Tensor>| t.as_ref().is_some_and(Tensor::requires_grad);
        let (w_len, b_len) = (if wanted(&pw) { d } else { 0 }, if wanted(&pb) { d } else { 0 });
        let width = w_len + b_len;
        let mut parts = Buffer::zeros(rows.div_ceil(ROWS) * width);
        let shared = Shared::new(&mut parts);
        let w = pw.as_ref().map_or(&[][..], Tensor::data);
        threads::chunks(&mut grad, ROWS * d, |start, part| {
            let job = start / (ROWS * d);
            // SAFETY: every job has its own partial sum.
            let sums = unsafe { shared.part(job * width, width) };
            let (d_weight, d_bias) = sums.split_at_mut(w_len);
            for (i, g) in part.chunks_exact_mut(d).enumerate() {
                let row = start / d + i;
                let (mean, inverse) = statistics[row];
                let x = &px.data()[row * d..(row + 1) * d];
                norm_row_backward(g, x, w, d_weight, d_bias, mean, inverse, centre);
            }
        });
        sink.add(&px, grad);
        if width > 0 {
            let mut sums = Buffer::zeros(width);
            kernels::add_rows(&mut sums, &parts);
            if let Some(pw) = pw.filter(|_| w_len > 0) {
                sink.add(&pw, Buffer::copy_of(&sums[..w_len]));
            }
            if let Some(pb) = pb.filter(|_| b_len > 0) {
                sink.add(&pb, Buffer::copy_of(&sums[w_len..]));
            }
        }
        Ok(())
    }))
}

/// Mean and inverse deviation of rows, written by several jobs, each its own rows.
#[derive(Clone, Copy)]
struct SharedPairs(*mut (f32, f32));
// SAFETY: jobs write disjoint rows.
unsafe impl Send for SharedPairs {}
// SAFETY: as above.
unsafe impl Sync for SharedPairs {}

impl SharedPairs {
    /// # Safety
    /// `row` lies within the array and belongs to the calling job alone.
    unsafe fn put(&self, row: usize, pair: (f32, f32)) {
        // SAFETY: the caller's promise.
        unsafe { *self.0.add(row) = pair };
    }
}

vectorised! {
    fn modulate_row(out: &mut [f32], x: &[f32], shift: &[f32], scale: &[f32]) {
        for (out, ((x, shift), scale)) in out.iter_mut().zip(x.iter().zip(shift).zip(scale)) {
            *out = fma::<FMA>(*x, 1.0 + scale, *shift);
        }
    }
}
vectorised! {
    fn modulate_row_backward(grad: &mut [f32], x: &[f32], scale: &[f32], d_shift: &mut [f32], d_scale: &mut [f32]) {
        for (d, g) in d_shift.iter_mut().zip(grad.iter()) { *d += g; }
        for (d, (g, x)) in d_scale.iter_mut().zip(grad.iter().zip(x)) { *d = fma::<FMA>(*g, *x, *d); }
        for (g, scale) in grad.iter_mut().zip(scale) { *g *= 1.0 + scale; }
    }
}
vectorised! {
    fn gate_row(out: &mut [f32], x: &[f32], y: &[f32], gate: &[f32]) {
        for (out, ((x, y), gate)) in out.iter_mut().zip(x.iter().zip(y).zip(gate)) {
            *out = fma::<FMA>(*gate, *y, *x);
        }
    }
}
vectorised! {
    fn gate_row_backward(grad: &mut [f32], y: &[f32], gate: &[f32], d_gate: &mut [f32]) {
        for (d, (g, y)) in d_gate.iter_mut().zip(grad.iter().zip(y)) { *d = fma::<FMA>(*g, *y, *d); }
        for (g, gate) in grad.iter_mut().zip(gate) { *g *= gate; }
    }
}

/// Samples, rows of a sample and width of `x` `[batch, .., d]` beside vectors `[batch, d]`.
fn per_sample(name: &'static str, x: &Tensor, vectors: &[(&str, &Tensor)]) -> Result<(usize, usize, usize)> {
    if x.rank() < 2 {
        return shape(name, format!("[batch, .., d] is needed, got {:?}", x.shape()));
    }
    let (batch, d) = (x.shape()[0], x.last());
    for (what, vector) in vectors {
        if vector.shape() != [batch, d] {
            return shape(
                name,
                format!(
                    "{what} {:?} must be [batch, d] = [{batch}, {d}] for {:?}",
                    vector.shape(),
                    x.shape()
                ),
            );
        }
    }
    Ok((batch, x.rows() / batch.max(1), d))
}

/// `x (1 + scale) + shift`, one scale and shift for each sample: `x` `[batch, .., d]`, the others `[batch, d]`
/// (Peebles & Xie, 2023).
///
/// # Errors
/// When the shapes do not fit.
pub fn modulate(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let (batch, rows, d) = per_sample("modulate", x, &[("shift", shift), ("scale", scale)])?;
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, d, |at, row| {
        let b = at / d / rows.max(1) * d;
        modulate_row(row, &x.data()[at..at + d], &shift.data()[b..b + d], &scale.data()[b..b + d]);
    });
    let (px, p_shift, p_scale) = (x.clone(), shift.clone(), scale.clone());
    Ok(Tensor::custom("modulate", x.shape(), out, &[x, shift, scale], move |mut grad, sink| {
        let (mut d_shift, mut d_scale) = (Buffer::zeros(batch * d), Buffer::zeros(batch * d));
        let (shifts, scales) = (Shared::new(&mut d_shift), Shared::new(&mut d_scale));
        threads::chunks(&mut grad, rows * d, |at, sample| {
            let b = at / (rows * d).max(1) * d;
            // SAFETY: every job has its own sample.
            let (d_shift, d_scale) = unsafe { (shifts.part(b, d), scales.part(b, d)) };
            for (i, g) in sample.chunks_exact_mut(d).enumerate() {
                let x = &px.data()[at + i * d..at + (i + 1) * d];
                modulate_row_backward(g, x, &p_scale.data()[b..b + d], d_shift, d_scale);
            }
        });
        sink.add(&px, grad);
        sink.add(&p_shift, d_shift);
        sink.add(&p_scale, d_scale);
        Ok(())
    }))
}

/// `x + gate y`, one gate for each sample: `x` and `y` `[batch, .., d]`, `gate` `[batch, d]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn gated_add(x: &Tensor, y: &Tensor, gate: &Tensor) -> Result<Tensor> {
    let (batch, rows, d) = per_sample("gated_add", y, &[("gate", gate)])?;
    if x.shape() != y.shape() {
        return shape("gated_add", format!("{:?} and {:?} must be equal", x.shape(), y.shape()));
    }
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, d, |at, row| {
        let b = at / d / rows.max(1) * d;
        gate_row(row, &x.data()[at..at + d], &y.data()[at..at + d], &gate.data()[b..b + d]);
    });
    let (px, py, p_gate) = (x.clone(), y.clone(), gate.clone());
    Ok(Tensor::custom("gated_add", x.shape(), out, &[x, y, gate], move |grad, sink| {
        let mut dy = grad.clone();
        let mut d_gate = Buffer::zeros(batch * d);
        let gates = Shared::new(&mut d_gate);
        threads::chunks(&mut dy, rows * d, |at, sample| {
            let b = at / (rows * d).max(1) * d;
            // SAFETY: every job has its own sample.
            let d_gate = unsafe { gates.part(b, d) };
            for (i, g) in sample.chunks_exact_mut(d).enumerate() {
                let y = &py.data()[at + i * d..at + (i + 1) * d];
                gate_row_backward(g, y, &p_gate.data()[b..b + d], d_gate);
            }
        });
        sink.add(&px, grad);
        sink.add(&py, dy);
        sink.add(&p_gate, d_gate);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 1.0, &mut Stream::new(seed, "norm").at(0))
    }

    #[test]
    fn rows_have_mean_0_and_variance_1_or_mean_square_1() {
        let x = normal(&[40, 37], 1).affine(3.0, 5.0);
        for row in layer_norm(&x, None, None, 0.0).unwrap().data().chunks(37) {
            let mean = row.iter().sum::<f32>() / 37.0;
            let square = row.iter().map(|v| v * v).sum::<f32>() / 37.0;
            assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-5);
        }
        for row in rms_norm(&x, None, 0.0).unwrap().data().chunks(37) {
            assert!((row.iter().map(|v| v * v).sum::<f32>() / 37.0 - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn gradients_reach_input_weight_and_bias() {
        let inputs = [normal(&[2, 35, 6], 1), normal(&[6], 2), normal(&[6], 3)];
        check_gradients(&inputs, &[], 1e-2, |x| layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1e-5)).unwrap();
        check_gradients(&inputs[..2], &[], 1e-2, |x| rms_norm(&x[0], Some(&x[1]), 1e-5)).unwrap();
        check_gradients(&inputs[..1], &[], 1e-2, |x| layer_norm(&x[0], None, None, 1e-5)).unwrap();
        let frozen = inputs[1].clone();
        check_gradients(&[inputs[0].clone(), inputs[2].clone()], &[], 1e-2, |x| {
            layer_norm(&x[0], Some(&frozen), Some(&x[1]), 1e-5)
        })
        .unwrap();
    }

    #[test]
    fn modulation_and_gates() {
        let inputs = [normal(&[3, 4, 5], 1), normal(&[3, 5], 2), normal(&[3, 5], 3)];
        let y = modulate(&inputs[0], &inputs[1], &inputs[2]).unwrap();
        let at = |t: &Tensor, b: usize, j: usize| t.data()[b * 5 + j];
        for (i, y) in y.data().iter().enumerate() {
            let (b, j) = (i / 20, i % 5);
            let want = inputs[0].data()[i] * (1.0 + at(&inputs[2], b, j)) + at(&inputs[1], b, j);
            assert!((y - want).abs() < 1e-6);
        }
        check_gradients(&inputs, &[], 5e-3, |x| modulate(&x[0], &x[1], &x[2])).unwrap();
        let inputs = [normal(&[3, 4, 5], 1), normal(&[3, 4, 5], 2), normal(&[3, 5], 3)];
        check_gradients(&inputs, &[], 5e-3, |x| gated_add(&x[0], &x[1], &x[2])).unwrap();
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let run = |threads| {
            threads::set_threads(threads);
            let x = normal(&[7, 50, 40], 1).watched();
            let (w, b) = (normal(&[40], 2).watched(), normal(&[40], 3).watched());
            let y = layer_norm(&x, Some(&w), Some(&b), 1e-5).unwrap();
            let grads = y.square().sum().backward().unwrap();
            [&x, &w, &b].map(|t| grads.of(t).unwrap().to_vec())
        };
        assert_eq!(run(1), run(3));
    }
}

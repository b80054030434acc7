//! Normalisation of images, channels last: over groups of channels of one image, and over a batch.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Group normalisation (Wu & He, 2018): over all pixels of an image and the channels of one group, then `gamma x + beta`.
///
/// `x` `[batch, .., channels]`, `gamma` and `beta` `[channels]`; the variance is the biased one plus `eps`.
///
/// # Errors
/// When `groups` does not divide the channels, or sizes do not fit.
pub fn group_norm(x: &Tensor, groups: usize, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    normalise_groups("group_norm", x, groups, gamma, beta, eps, false)
}

/// `silu(group_norm(x))` in one pass.
///
/// # Errors
/// As [`group_norm`].
pub fn group_norm_silu(x: &Tensor, groups: usize, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<Tensor> {
    normalise_groups("group_norm_silu", x, groups, gamma, beta, eps, true)
}

fn check_affine(
    operation: &'static str,
    x: &Tensor,
    channels: usize,
    gamma: &Tensor,
    beta: &Tensor,
) -> Result<()> {
    for (name, tensor) in [("gamma", gamma), ("beta", beta)] {
        if tensor.shape() != [channels] {
            return shape(
                operation,
                format!(
                    "{name} {:?} must be [channels] = [{channels}], the last axis of {:?}",
                    tensor.shape(),
                    x.shape()
                ),
            );
        }
    }
    Ok(())
}

/// What the backward of a group normalisation needs besides its operands.
struct Groups {
    channels: usize,
    /// Channels of one group.
    width: usize,
    /// Elements of one image.
    image: usize,
    /// Mean and reciprocal deviation, `[batch, groups]`.
    mean: Buffer,
    inverse: Buffer,
}

impl Groups {
    fn count(&self) -> usize {
        self.channels / self.width
    }

    /// Fills `scale` and `shift` of every channel of one image so that the result is `scale x + shift`.
    fn affine(&self, image: usize, gamma: &[f32], beta: &[f32], scale: &mut [f32], shift: &mut [f32]) {
        for c in 0..self.channels {
            let at = image * self.count() + c / self.width;
            scale[c] = self.inverse[at] * gamma[c];
            shift[c] = beta[c] - self.mean[at] * scale[c];
        }
    }
}

/// The mean of every group, from sums of channels.
fn group_means(sums: &[f32], width: usize, pixels: usize, means: &mut [f32]) {
    let n = (width * pixels).max(1) as f64;
    for (mean, sums) in means.iter_mut().zip(sums.chunks_exact(width)) {
        *mean = (sums.iter().map(|s| f64::from(*s)).sum::<f64>() / n) as f32;
    }
}

fn normalise_groups(
    name: &'static str,
    x: &Tensor,
    groups: usize,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
    silu: bool,
) -> Result<Tensor> {
    let channels = x.last();
    if x.rank() < 2 || groups == 0 || !channels.is_multiple_of(groups) || channels == 0 {
        return shape(
            name,
            format!(
                "an input [batch, .., channels] is needed whose channels are a multiple of {groups} groups (at least 1), got {:?}",
                x.shape()
            ),
        );
    }
    check_affine(name, x, channels, gamma, beta)?;
    let batch = x.shape()[0];
    let image = x.len().checked_div(batch).unwrap_or(0);
    let mut out = Buffer::scratch(x.len());
    let mut stats = Groups {
        channels,
        width: channels / groups,
        image,
        mean: Buffer::scratch(batch * groups),
        inverse: Buffer::scratch(batch * groups),
    };
    let width = stats.width;
    let (mean, inverse) = (Shared::new(&mut stats.mean), Shared::new(&mut stats.inverse));
    threads::chunks(&mut out, image, |at, out| {
        let n = at / image;
        let x = &x.data()[at..at + image];
        let pixels = image / channels;
        let mut room = vec![0.0_f32; 3 * channels];
        let (sums, rest) = room.split_at_mut(channels);
        let (scale, shift) = rest.split_at_mut(channels);
        // SAFETY: the statistics of image n belong to the one job of image n.
        let (mean, inverse) = unsafe { (mean.part(n * groups, groups), inverse.part(n * groups, groups)) };
        sum_channels(sums, x);
        group_means(sums, width, pixels, mean);
        for c in 0..channels {
            shift[c] = mean[c / width];
        }
        sum_squares(sums, x, shift);
        group_means(sums, width, pixels, inverse);
        inverse.iter_mut().for_each(|v| *v = 1.0 / (*v + eps).sqrt());
        for c in 0..channels {
            scale[c] = inverse[c / width] * gamma.data()[c];
            shift[c] = beta.data()[c] - mean[c / width] * scale[c];
        }
        if silu { scale_shift_silu(out, x, scale, shift) } else { scale_shift(out, x, scale, shift) }
    });
    let parents = [x.clone(), gamma.clone(), beta.clone()];
    Ok(Tensor::custom(name, x.shape(), out, &[x, gamma, beta], move |mut grad, sink| {
        let [x, gamma, beta] = parents;
        let (d_gamma, d_beta) = groups_backward(&stats, &mut grad, x.data(), gamma.data(), beta.data(), silu);
        sink.add(&x, grad);
        sink.add(&gamma, kernels::sum_rows(&d_gamma, channels));
        sink.add(&beta, kernels::sum_rows(&d_beta, channels));
        Ok(())
    }))
}

/// Turns the gradient of the result into that of the input; returns those of gamma and beta for every image.
fn groups_backward(
    stats: &Groups,
    grad: &mut [f32],
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    silu: bool,
) -> (Buffer, Buffer) {
    let (channels, width, image) = (stats.channels, stats.width, stats.image);
    let batch = x.len().checked_div(image).unwrap_or(0);
    let mut d_gamma = Buffer::scratch(batch * channels);
    let mut d_beta = Buffer::scratch(batch * channels);
    let (all_gamma, all_beta) = (Shared::new(&mut d_gamma), Shared::new(&mut d_beta));
    threads::chunks(grad, image, |at, grad| {
        let n = at / image;
        let x = &x[at..at + image];
        // SAFETY: row n of both belongs to the one job of image n.
        let (d_gamma, d_beta) =
            unsafe { (all_gamma.part(n * channels, channels), all_beta.part(n * channels, channels)) };
        let mut room = vec![0.0_f32; 3 * channels];
        let (a, rest) = room.split_at_mut(channels);
        let (b, d) = rest.split_at_mut(channels);
        if silu {
            stats.affine(n, gamma, beta, a, b);
            silu_gradient(grad, x, a, b);
        }
        // a, b: mean and reciprocal deviation of every channel.
        for c in 0..channels {
            a[c] = stats.mean[n * stats.count() + c / width];
            b[c] = stats.inverse[n * stats.count() + c / width];
        }
        sum_products(d_beta, d_gamma, grad, x, a, b);
        let size = (image / channels * width) as f32;
        for g in 0..stats.count() {
            let (mut plain, mut along) = (0.0_f32, 0.0_f32);
            for c in g * width..(g + 1) * width {
                plain += gamma[c] * d_beta[c];
                along += gamma[c] * d_gamma[c];
            }
            let (mean, inverse) = (a[g * width], b[g * width]);
            // dx = inverse (gamma dy - plain / size - xhat along / size) = a dy + b x + d.
            for c in g * width..(g + 1) * width {
                a[c] = inverse * gamma[c];
                b[c] = -inverse * inverse * along / size;
                d[c] = -b[c] * mean - inverse * plain / size;
            }
        }
        combine(grad, x, a, b, d);
    });
    (d_gamma, d_beta)
}

vectorised! {
    /// Sum over pixels of every channel; `x` is `[pixels, channels]`.
    fn sum_channels(sum: &mut [f32], x: &[f32]) {
        let _ = FMA;
        let c = sum.len();
        sum.fill(0.0);
        let four = x.chunks_exact(4 * c);
        for row in four.remainder().chunks_exact(c) {
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
        for rows in four {
            let ((p, q), (r, t)) = (rows[..2 * c].split_at(c), rows[2 * c..].split_at(c));
            for (s, ((p, q), (r, t))) in sum.iter_mut().zip(p.iter().zip(q).zip(r.iter().zip(t))) {
                *s += (p + q) + (r + t);
            }
        }
    }
}
vectorised! {
    /// Sum over pixels of `(x - mean)^2` of every channel.
    fn sum_squares(sum: &mut [f32], x: &[f32], mean: &[f32]) {
        let c = sum.len();
        sum.fill(0.0);
        let two = x.chunks_exact(2 * c);
        for row in two.remainder().chunks_exact(c) {
            for (s, (x, m)) in sum.iter_mut().zip(row.iter().zip(mean)) {
                *s = fma::<FMA>(x - m, x - m, *s);
            }
        }
        for rows in two {
            let (p, q) = rows.split_at(c);
            for (s, ((p, q), m)) in sum.iter_mut().zip(p.iter().zip(q).zip(mean)) {
                *s += fma::<FMA>(p - m, p - m, (q - m) * (q - m));
            }
        }
    }
}
vectorised! {
    /// Sums over pixels of `dy` and of `dy (x - mean) inverse` of every channel.
    fn sum_products(plain: &mut [f32], along: &mut [f32], dy: &[f32], x: &[f32], mean: &[f32], inverse: &[f32]) {
        let c = plain.len();
        plain.fill(0.0);
        along.fill(0.0);
        for (dy, x) in dy.chunks_exact(c).zip(x.chunks_exact(c)) {
            for ((plain, along), ((dy, x), mean)) in
                plain.iter_mut().zip(along.iter_mut()).zip(dy.iter().zip(x).zip(mean))
            {
                *plain += dy;
                *along = fma::<FMA>(*dy, x - mean, *along);
            }
        }
        along.iter_mut().zip(inverse).for_each(|(a, i)| *a *= i);
    }
}
vectorised! {
    fn scale_shift(out: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32]) {
        let c = scale.len();
        for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((out, x), (a, b)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                *out = fma::<FMA>(*x, *a, *b);
            }
        }
    }
}
vectorised! {
    fn scale_shift_silu(out: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32]) {
        let c = scale.len();
        for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((out, x), (a, b)) in out.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                let z = fma::<FMA>(*x, *a, *b);
                *out = z * simd::sigmoid::<FMA>(z);
            }
        }
    }
}
vectorised! {
    /// `grad *= silu'(scale x + shift)`.
    fn silu_gradient(grad: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32]) {
        let c = scale.len();
        for (grad, x) in grad.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((grad, x), (a, b)) in grad.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
                let z = fma::<FMA>(*x, *a, *b);
                let s = simd::sigmoid::<FMA>(z);
                *grad *= s * fma::<FMA>(z, 1.0 - s, 1.0);
            }
        }
    }
}
vectorised! {
    /// `grad = a grad + b x + d` by channel.
    fn combine(grad: &mut [f32], x: &[f32], a: &[f32], b: &[f32], d: &[f32]) {
        let c = a.len();
        for (grad, x) in grad.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for ((grad, x), (a, (b, d))) in grad.iter_mut().zip(x).zip(a.iter().zip(b.iter().zip(d))) {
                *grad = fma::<FMA>(*a, *grad, fma::<FMA>(*b, *x, *d));
            }
        }
    }
}

/// Mean and variance of every channel over a batch.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// `[channels]`.
    pub mean: Vec<f32>,
    /// The biased variance, `[channels]`.
    pub variance: Vec<f32>,
    /// Numbers that each was taken over.
    pub count: usize,
}

/// Rows of one partial sum of a batch normalisation.
const ROWS: usize = 256;

/// Sums over fixed blocks of rows, each by `work(sums, first row, last row)`, added in order; `width` sums each.
fn by_blocks(rows: usize, width: usize, work: impl Fn(&mut [f32], usize, usize) + Sync) -> Vec<f64> {
    let mut parts = Buffer::zeros(rows.div_ceil(ROWS) * width);
    threads::chunks(&mut parts, width, |at, part| {
        let first = at / width * ROWS;
        work(part, first, (first + ROWS).min(rows));
    });
    let mut sums = vec![0.0_f64; width];
    for part in parts.chunks_exact(width.max(1)) {
        sums.iter_mut().zip(part).for_each(|(s, p)| *s += f64::from(*p));
    }
    sums
}

/// Batch normalisation (Ioffe & Szegedy, 2015) with the statistics of this batch: over all axes but the last, then `gamma x + beta`.
///
/// `x` `[.., channels]`, `gamma` and `beta` `[channels]`. Returns the statistics too, for a running average.
///
/// # Errors
/// When there is no row, or sizes do not fit.
pub fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<(Tensor, BatchStatistics)> {
    let (rows, channels) = (x.rows(), x.last());
    if rows == 0 || x.rank() < 2 {
        return shape(
            "batch_norm",
            format!("an input [.., channels] with rows is needed, got {:?}", x.shape()),
        );
    }
    check_affine("batch_norm", x, channels, gamma, beta)?;
    let data = x.data();
    let means = |sums: Vec<f64>| -> Vec<f32> { sums.iter().map(|s| (s / rows as f64) as f32).collect() };
    let mean = means(by_blocks(rows, channels, |sum, from, to| {
        sum_channels(sum, &data[from * channels..to * channels]);
    }));
    let variance = means(by_blocks(rows, channels, |sum, from, to| {
        sum_squares(sum, &data[from * channels..to * channels], &mean);
    }));
    let inverse: Vec<f32> = variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
    let out = affine_rows(x, &mean, &inverse, gamma, beta);
    let statistics = BatchStatistics { mean: mean.clone(), variance, count: rows };
    let parents = [x.clone(), gamma.clone(), beta.clone()];
    let result = Tensor::custom("batch_norm", x.shape(), out, &[x, gamma, beta], move |mut grad, sink| {
        let [x, gamma, beta] = parents;
        let (plain, along) = row_sums(&grad, x.data(), &mean, &inverse);
        let n = rows as f32;
        let a: Vec<f32> = inverse.iter().zip(gamma.data()).map(|(i, g)| i * g).collect();
        let b: Vec<f32> = (0..channels).map(|c| -a[c] * inverse[c] * along[c] / n).collect();
        let d: Vec<f32> = (0..channels).map(|c| -b[c] * mean[c] - a[c] * plain[c] / n).collect();
        threads::chunks(&mut grad, channels * ROWS, |at, grad| {
            combine(grad, &x.data()[at..at + grad.len()], &a, &b, &d);
        });
        sink.add(&x, grad);
        sink.add(&gamma, along.into());
        sink.add(&beta, plain.into());
        Ok(())
    });
    Ok((result, statistics))
}

/// Batch normalisation with given statistics: for evaluation.
///
/// # Errors
/// When sizes do not fit.
pub fn batch_norm_with(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    mean: &[f32],
    variance: &[f32],
    eps: f32,
) -> Result<Tensor> {
    let channels = x.last();
    check_affine("batch_norm_with", x, channels, gamma, beta)?;
    if mean.len() != channels || variance.len() != channels {
        return shape(
            "batch_norm_with",
            format!(
                "{} means and {} variances for {channels} channels, the last axis of {:?}",
                mean.len(),
                variance.len(),
                x.shape()
            ),
        );
    }
    let mean = mean.to_vec();
    let inverse: Vec<f32> = variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
    let out = affine_rows(x, &mean, &inverse, gamma, beta);
    let parents = [x.clone(), gamma.clone(), beta.clone()];
    Ok(Tensor::custom("batch_norm_with", x.shape(), out, &[x, gamma, beta], move |mut grad, sink| {
        let [x, gamma, beta] = parents;
        let (plain, along) = row_sums(&grad, x.data(), &mean, &inverse);
        let a: Vec<f32> = inverse.iter().zip(gamma.data()).map(|(i, g)| i * g).collect();
        let zeros = vec![0.0; channels];
        threads::chunks(&mut grad, channels * ROWS, |at, grad| {
            combine(grad, &x.data()[at..at + grad.len()], &a, &zeros, &zeros);
        });
        sink.add(&x, grad);
        sink.add(&gamma, along.into());
        sink.add(&beta, plain.into());
        Ok(())
    }))
}

fn affine_rows(x: &Tensor, mean: &[f32], inverse: &[f32], gamma: &Tensor, beta: &Tensor) -> Buffer {
    let channels = mean.len();
    let scale: Vec<f32> = inverse.iter().zip(gamma.data()).map(|(i, g)| i * g).collect();
    let shift: Vec<f32> = (0..channels).map(|c| beta.data()[c] - mean[c] * scale[c]).collect();
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, channels * ROWS, |at, out| {
        scale_shift(out, &x.data()[at..at + out.len()], &scale, &shift);
    });
    out
}

/// Sums over rows of `dy` and of `dy xhat`.
fn row_sums(dy: &[f32], x: &[f32], mean: &[f32], inverse: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = mean.len();
    let rows = x.len().checked_div(channels).unwrap_or(0);
    let both = by_blocks(rows, 2 * channels, |sums, from, to| {
        let (plain, along) = sums.split_at_mut(channels);
        let part = from * channels..to * channels;
        sum_products(plain, along, &dy[part.clone()], &x[part], mean, inverse);
    });
    let both: Vec<f32> = both.into_iter().map(|s| s as f32).collect();
    (both[..channels].to_vec(), both[channels..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    #[test]
    fn every_group_of_every_image_has_mean_zero_and_deviation_one() {
        let x = normal(&[3, 5, 4, 12], 1).affine(3.0, 20.0);
        let y = group_norm(&x, 4, &Tensor::full(&[12], 1.0), &Tensor::zeros(&[12]), 0.0).unwrap();
        for n in 0..3 {
            for g in 0..4 {
                let values: Vec<f64> =
                    (0..60).map(|i| f64::from(y.data()[n * 240 + i / 3 * 12 + g * 3 + i % 3])).collect();
                let mean = values.iter().sum::<f64>() / 60.0;
                let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 60.0;
                assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
            }
        }
    }

    #[test]
    fn the_fused_form_is_silu_of_group_norm() {
        let (x, gamma, beta) = (normal(&[2, 3, 3, 20], 1), normal(&[20], 2), normal(&[20], 3));
        let fused = group_norm_silu(&x, 5, &gamma, &beta, 1e-5).unwrap();
        let plain = group_norm(&x, 5, &gamma, &beta, 1e-5).unwrap().silu();
        for (a, b) in fused.data().iter().zip(plain.data()) {
            assert!((a - b).abs() < 1e-6);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for channels in [4, 20] {
            let inputs = [normal(&[2, 3, 3, channels], 1), normal(&[channels], 2), normal(&[channels], 3)];
            for groups in [1, 2, 4] {
                check_gradients(&inputs, &[], 1e-2, |x| group_norm(&x[0], groups, &x[1], &x[2], 1e-5))
                    .unwrap();
                check_gradients(&inputs, &[], 1e-2, |x| group_norm_silu(&x[0], groups, &x[1], &x[2], 1e-5))
                    .unwrap();
            }
            check_gradients(&inputs, &[], 1e-2, |x| Ok(batch_norm(&x[0], &x[1], &x[2], 1e-5)?.0)).unwrap();
            let (mean, variance) = (vec![0.3; channels], vec![1.7; channels]);
            check_gradients(&inputs, &[], 1e-2, |x| {
                batch_norm_with(&x[0], &x[1], &x[2], &mean, &variance, 1e-5)
            })
            .unwrap();
        }
    }

    #[test]
    fn batch_norm_normalises_channels_and_reports_their_statistics() {
        let x = normal(&[40, 5, 3, 6], 1).affine(2.0, -7.0);
        let (y, statistics) = batch_norm(&x, &Tensor::full(&[6], 1.0), &Tensor::zeros(&[6]), 0.0).unwrap();
        for c in 0..6 {
            let column = |t: &Tensor| -> (f64, f64) {
                let values: Vec<f64> = t.data().chunks_exact(6).map(|r| f64::from(r[c])).collect();
                let mean = values.iter().sum::<f64>() / 600.0;
                (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 600.0)
            };
            let ((m, v), (mx, vx)) = (column(&y), column(&x));
            assert!(m.abs() < 1e-5 && (v - 1.0).abs() < 1e-4);
            assert!((f64::from(statistics.mean[c]) - mx).abs() < 1e-4);
            assert!((f64::from(statistics.variance[c]) - vx).abs() < 1e-4);
        }
        let same = batch_norm_with(
            &x,
            &Tensor::full(&[6], 1.0),
            &Tensor::zeros(&[6]),
            &statistics.mean,
            &statistics.variance,
            0.0,
        );
        assert_eq!(same.unwrap().to_vec(), y.to_vec());
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (x, gamma, beta) = (normal(&[30, 7, 7, 20], 1), normal(&[20], 2), normal(&[20], 3));
        let run = |threads| {
            crate::set_threads(threads);
            let x = x.watched();
            let y = group_norm_silu(&x, 5, &gamma, &beta, 1e-5).unwrap();
            let (y, _) = batch_norm(&y, &gamma, &beta, 1e-5).unwrap();
            let grads = y.square().mean().backward().unwrap();
            (y.to_vec(), grads.of(&x).unwrap().to_vec())
        };
        let one = run(1);
        assert!(one == run(3));
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let (x, one) = (normal(&[2, 3, 3, 6], 1), Tensor::full(&[6], 1.0));
        let error = group_norm(&x, 4, &one, &one, 1e-5).unwrap_err().to_string();
        assert!(error.contains("multiple of 4 groups") && error.contains("[2, 3, 3, 6]"), "{error}");
        let error = group_norm(&x, 3, &Tensor::full(&[5], 1.0), &one, 1e-5).unwrap_err().to_string();
        assert!(error.contains("gamma [5] must be [channels] = [6]"), "{error}");
    }
}

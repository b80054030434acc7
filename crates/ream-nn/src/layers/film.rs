//! Feature-wise linear modulation (Perez et al., 2018, arXiv 1709.07871): `y = (1 + gamma(c)) x + beta(c)` channel by channel.
//!
//! `[gamma, beta] = W c + b` begins at zero, so the layer begins as the identity.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::layers::Linear;
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

vectorised! {
    /// `out = (1 + gamma) x + beta`, one channel.
    fn modulate_plane(out: &mut [f32], x: &[f32], gamma: f32, beta: f32) {
        for (out, x) in out.iter_mut().zip(x) { *out = fma::<FMA>(gamma, *x, x + beta); }
    }
}
vectorised! {
    fn plane_backward(grad: &mut [f32], gamma: f32) {
        for g in grad.iter_mut() { *g = fma::<FMA>(*g, gamma, *g); }
    }
}
vectorised! {
    fn plane_sum(grad: &[f32]) -> f32 {
        let _ = FMA;
        simd::sum_by(grad.len(), |i| grad[i])
    }
}

/// `(1 + gamma) x + beta` along axis `channel_axis` of `x` `[batch, ..]`; `scale_shift` `[batch, 2 channels]` holds gamma, then beta.
///
/// # Errors
/// When the sizes do not fit.
pub fn film(x: &Tensor, scale_shift: &Tensor, channel_axis: usize) -> Result<Tensor> {
    if channel_axis == 0 || channel_axis >= x.rank() {
        return shape(
            "film",
            format!("axis {channel_axis} of {:?} must be a channel axis after the batch", x.shape()),
        );
    }
    let (batch, channels) = (x.shape()[0], x.shape()[channel_axis]);
    if scale_shift.shape() != [batch, 2 * channels] {
        return shape(
            "film",
            format!(
                "scale and shift {:?} must be [batch, 2 channels] = [{batch}, {}]",
                scale_shift.shape(),
                2 * channels
            ),
        );
    }
    if channel_axis + 1 == x.rank() {
        let (gamma, beta) = (scale_shift.narrow(1, 0, channels)?, scale_shift.narrow(1, channels, channels)?);
        return ops::modulate(x, &beta, &gamma);
    }
    let inner: usize = x.shape()[channel_axis + 1..].iter().product();
    let size = x.len().checked_div(batch).unwrap_or(0);
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, size, |start, out| {
        let (gamma, beta) =
            scale_shift.data()[start / size * 2 * channels..][..2 * channels].split_at(channels);
        let x = &x.data()[start..start + size];
        for (i, (out, x)) in out.chunks_exact_mut(inner).zip(x.chunks_exact(inner)).enumerate() {
            modulate_plane(out, x, gamma[i % channels], beta[i % channels]);
        }
    });
    let (px, ps) = (x.clone(), scale_shift.clone());
    Ok(Tensor::custom("film", x.shape(), out, &[x, scale_shift], move |mut grad, sink| {
        let mut d_both = Buffer::zeros(ps.len());
        let (dx, ds) = (Shared::new(&mut grad), Shared::new(&mut d_both));
        threads::for_each(if size == 0 { 0 } else { batch }, &|b| {
            // SAFETY: sample b belongs to this job alone, here and below.
            let grad = unsafe { dx.part(b * size, size) };
            // SAFETY: as above.
            let (d_gamma, d_beta) = unsafe { ds.part(b * 2 * channels, 2 * channels) }.split_at_mut(channels);
            let gamma = &ps.data()[b * 2 * channels..][..channels];
            let x = &px.data()[b * size..][..size];
            for (i, (g, x)) in grad.chunks_exact_mut(inner).zip(x.chunks_exact(inner)).enumerate() {
                let c = i % channels;
                d_gamma[c] += simd::dot(g, x);
                d_beta[c] += plane_sum(g);
                plane_backward(g, gamma[c]);
            }
        });
        sink.add(&px, grad);
        sink.add(&ps, d_both);
        Ok(())
    }))
}

/// Features modulated by a condition.
#[derive(Clone, Debug)]
pub struct Film {
    /// `d_condition` to `2 channels`, zero at the beginning.
    pub linear: Linear,
}

impl Film {
    /// A layer that begins as the identity.
    #[must_use]
    pub fn new(init: &Init, d_condition: usize, channels: usize) -> Self {
        Self { linear: Linear::with_deviation(init, d_condition, 2 * channels, true, 0.0) }
    }

    /// `x` `[batch, .., channels, ..]` with its channels on `channel_axis`, `condition` `[batch, d_condition]`.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn forward(&self, x: &Tensor, condition: &Tensor, channel_axis: usize) -> Result<Tensor> {
        film(x, &self.linear.forward(condition)?, channel_axis)
    }
}

impl Module for Film {
    fn params(&self) -> Vec<Param> {
        self.linear.params()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "film").at(0))
    }

    #[test]
    fn begins_as_the_identity_and_equals_broadcasting() {
        let layer = Film::new(&Init::new(1), 3, 4);
        let condition = normal(&[2, 3], 1);
        for (at, axis) in [(vec![2, 5, 4], 2), (vec![2, 4, 3, 2], 1), (vec![2, 4], 1)] {
            layer.linear.weight.set(&[0.0; 24]).unwrap();
            let x = normal(&at, 2);
            assert_eq!(layer.forward(&x, &condition, axis).unwrap().to_vec(), x.to_vec());
            layer.linear.weight.set(normal(&[8, 3], 3).data()).unwrap();
            let both = layer.linear.forward(&condition).unwrap();
            let mut wide = vec![1; at.len()];
            (wide[0], wide[axis]) = (2, 4);
            let gamma = both.narrow(1, 0, 4).unwrap().reshape(&wide).unwrap();
            let beta = both.narrow(1, 4, 4).unwrap().reshape(&wide).unwrap();
            let want = x.mul(&gamma.add_scalar(1.0)).unwrap().add(&beta).unwrap();
            for (a, b) in layer.forward(&x, &condition, axis).unwrap().data().iter().zip(want.data()) {
                assert!((a - b).abs() < 1e-5);
            }
            check_gradients(&[x, condition.clone()], &layer.params(), 1e-2, |x| {
                layer.forward(&x[0], &x[1], axis)
            })
            .unwrap();
        }
    }

    #[test]
    fn errors_name_the_axes() {
        let layer = Film::new(&Init::new(1), 3, 4);
        let error = layer.forward(&normal(&[2, 5], 1), &normal(&[2, 3], 1), 1).unwrap_err().to_string();
        assert!(error.contains("[batch, 2 channels] = [2, 10]"), "{error}");
        assert!(layer.forward(&normal(&[2, 4], 1), &normal(&[2, 3], 1), 0).is_err());
    }
}

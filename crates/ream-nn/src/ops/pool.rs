//! Pooling and nearest upsampling of images `[batch, height, width, channels]`.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::simd::vectorised;
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Sizes of an image tensor.
pub(super) fn image(operation: &'static str, x: &Tensor) -> Result<[usize; 4]> {
    match x.shape() {
        &[batch, height, width, channels] => Ok([batch, height, width, channels]),
        other => {
            shape(operation, format!("an input [batch, height, width, channels] is needed, got {other:?}"))
        }
    }
}

/// Places of square windows over images.
#[derive(Clone, Copy)]
struct Windows {
    size: [usize; 2],
    out: [usize; 2],
    channels: usize,
    kernel: usize,
    stride: usize,
}

impl Windows {
    fn new(operation: &'static str, x: &Tensor, kernel: usize, stride: usize) -> Result<(usize, Self)> {
        let [batch, height, width, channels] = image(operation, x)?;
        if kernel == 0 || stride == 0 || height < kernel || width < kernel {
            return shape(
                operation,
                format!(
                    "height and width of {:?} must hold a window of {kernel} x {kernel} (window and stride at least 1, stride {stride})",
                    x.shape()
                ),
            );
        }
        let out = [(height - kernel) / stride + 1, (width - kernel) / stride + 1];
        Ok((batch, Self { size: [height, width], out, channels, kernel, stride }))
    }

    fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    fn out_len(&self) -> usize {
        self.out[0] * self.out[1] * self.channels
    }

    /// Offsets in an image of the pixels of the window of one result pixel, row by row.
    fn pixels(self, place: usize) -> impl Iterator<Item = usize> {
        let (y, x) = (place / self.out[1] * self.stride, place % self.out[1] * self.stride);
        (0..self.kernel * self.kernel)
            .map(move |k| ((y + k / self.kernel) * self.size[1] + x + k % self.kernel) * self.channels)
    }
}

/// The largest value of each channel in every `kernel` x `kernel` window, `stride` pixels apart; the first of equal ones takes the
/// gradient, and gradients of windows that overlap add up. NaN counts as largest.
///
/// # Errors
/// When the image is smaller than a window.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let (batch, windows) = Windows::new("max_pool2d", x, kernel, stride)?;
    let (len, channels) = (windows.out_len(), windows.channels);
    let mut out = Buffer::scratch(batch * len);
    let mut best = vec![0_u32; batch * len];
    let places = SharedPlaces(best.as_mut_ptr());
    threads::chunks(&mut out, len, |at, out| {
        let x = &x.data()[at / len.max(1) * windows.image_len()..][..windows.image_len()];
        // SAFETY: `best` has the length of the result; this image's part belongs to this job.
        let best = unsafe { places.part(at, out.len()) };
        for (place, (out, best)) in
            out.chunks_exact_mut(channels).zip(best.chunks_exact_mut(channels)).enumerate()
        {
            for (k, from) in windows.pixels(place).enumerate() {
                if k == 0 {
                    out.copy_from_slice(&x[from..from + channels]);
                    best.fill(from as u32);
                } else {
                    take_larger(out, best, &x[from..from + channels], from as u32);
                }
            }
        }
    });
    let parent = x.clone();
    let to = [batch, windows.out[0], windows.out[1], channels];
    Ok(Tensor::custom("max_pool2d", &to, out, &[x], move |grad, sink| {
        let mut dx = Buffer::scratch(parent.len());
        threads::chunks(&mut dx, windows.image_len(), |at, dx| {
            dx.fill(0.0);
            let from = at / windows.image_len() * len;
            let pairs = best[from..from + len].iter().zip(&grad[from..from + len]);
            for (i, (best, g)) in pairs.enumerate() {
                dx[*best as usize + i % channels] += g;
            }
        });
        sink.add(&parent, dx);
        Ok(())
    }))
}

/// As [`Shared`], for places.
struct SharedPlaces(*mut u32);

// SAFETY: jobs take disjoint parts.
unsafe impl Sync for SharedPlaces {}

impl SharedPlaces {
    /// # Safety
    /// The part must lie inside the array, and no other part that overlaps may be alive.
    #[expect(clippy::mut_from_ref, reason = "the caller promises disjoint parts")]
    unsafe fn part(&self, start: usize, len: usize) -> &mut [u32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

vectorised! {
    fn take_larger(out: &mut [f32], best: &mut [u32], x: &[f32], place: u32) {
        let _ = FMA;
        for ((out, best), x) in out.iter_mut().zip(best).zip(x) {
            let larger = *x > *out || (x.is_nan() && !out.is_nan());
            *out = if larger { *x } else { *out };
            *best = if larger { place } else { *best };
        }
    }
}
vectorised! {
    fn add_scaled(out: &mut [f32], x: &[f32], factor: f32) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = crate::simd::fma::<FMA>(*x, factor, *out);
        }
    }
}

/// The mean of each channel in every `kernel` x `kernel` window, `stride` pixels apart.
///
/// # Errors
/// When the image is smaller than a window.
pub fn avg_pool2d(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let (batch, windows) = Windows::new("avg_pool2d", x, kernel, stride)?;
    let (len, channels) = (windows.out_len(), windows.channels);
    let share = 1.0 / (kernel * kernel) as f32;
    let mut out = Buffer::scratch(batch * len);
    threads::chunks(&mut out, len, |at, out| {
        let x = &x.data()[at / len.max(1) * windows.image_len()..][..windows.image_len()];
        out.fill(0.0);
        for (place, out) in out.chunks_exact_mut(channels).enumerate() {
            for from in windows.pixels(place) {
                add_scaled(out, &x[from..from + channels], share);
            }
        }
    });
    let parent = x.clone();
    let to = [batch, windows.out[0], windows.out[1], channels];
    Ok(Tensor::custom("avg_pool2d", &to, out, &[x], move |grad, sink| {
        let mut dx = Buffer::scratch(parent.len());
        threads::chunks(&mut dx, windows.image_len(), |at, dx| {
            dx.fill(0.0);
            let grad = &grad[at / windows.image_len() * len..][..len];
            for (place, grad) in grad.chunks_exact(channels).enumerate() {
                for to in windows.pixels(place) {
                    add_scaled(&mut dx[to..to + channels], grad, share);
                }
            }
        });
        sink.add(&parent, dx);
        Ok(())
    }))
}

/// The mean of each channel over all pixels: `[batch, height, width, channels]` to `[batch, channels]`.
///
/// # Errors
/// When the input is no image, or has no pixels.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let [batch, height, width, channels] = image("global_avg_pool", x)?;
    let pixels = height * width;
    if pixels == 0 {
        return shape("global_avg_pool", format!("height and width of {:?} must be at least 1", x.shape()));
    }
    let mut out = Buffer::zeros(batch * channels);
    threads::chunks(&mut out, channels, |at, out| {
        kernels::add_rows(out, &x.data()[at * pixels..][..pixels * channels]);
        out.iter_mut().for_each(|sum| *sum /= pixels as f32);
    });
    let parent = x.clone();
    Ok(Tensor::custom("global_avg_pool", &[batch, channels], out, &[x], move |mut grad, sink| {
        kernels::scale(&mut grad, 1.0 / pixels as f32);
        let mut dx = Buffer::scratch(parent.len());
        threads::chunks(&mut dx, pixels * channels, |at, dx| {
            let grad = &grad[at / pixels..][..channels];
            dx.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(grad));
        });
        sink.add(&parent, dx);
        Ok(())
    }))
}

/// Every pixel `factor` x `factor` times.
///
/// # Errors
/// When the input is no image, or the factor is 0.
pub fn upsample_nearest(x: &Tensor, factor: usize) -> Result<Tensor> {
    let [batch, height, width, channels] = image("upsample_nearest", x)?;
    if factor == 0 {
        return shape("upsample_nearest", "the factor must be at least 1, got 0");
    }
    let (row, wide) = (width * channels, width * factor * channels);
    let mut out = Buffer::scratch(batch * height * factor * wide);
    // One job makes the `factor` rows that come from one row.
    threads::chunks(&mut out, factor * wide, |at, out| {
        let from = &x.data()[at / (factor * wide) * row..][..row];
        let (first, rest) = out.split_at_mut(wide);
        let pixels = first.chunks_exact_mut(factor * channels).zip(from.chunks_exact(channels));
        for (out, pixel) in pixels {
            out.chunks_exact_mut(channels).for_each(|out| out.copy_from_slice(pixel));
        }
        rest.chunks_exact_mut(wide).for_each(|out| out.copy_from_slice(first));
    });
    let parent = x.clone();
    let to = [batch, height * factor, width * factor, channels];
    Ok(Tensor::custom("upsample_nearest", &to, out, &[x], move |grad, sink| {
        let mut dx = Buffer::scratch(parent.len());
        let shared = Shared::new(&mut dx);
        threads::for_each(if row == 0 { 0 } else { batch * height }, &|job| {
            // SAFETY: every job owns one row of pixels.
            let dx = unsafe { shared.part(job * row, row) };
            dx.fill(0.0);
            let rows = &grad[job * factor * wide..][..factor * wide];
            for row in rows.chunks_exact(wide) {
                let pixels = dx.chunks_exact_mut(channels).zip(row.chunks_exact(factor * channels));
                for (dx, same) in pixels {
                    kernels::add_rows(dx, same);
                }
            }
        });
        sink.add(&parent, dx);
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    /// Numbers far enough apart that a finite difference moves no maximum.
    fn spread(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let values = (0..n).map(|i| ((i * 37) % n) as f32 * 0.2 - 0.1 * n as f32).collect();
        Tensor::from_vec(values, shape).unwrap()
    }

    #[test]
    fn max_pool_takes_the_largest_and_sends_its_gradient_there() {
        // candle 0.11 spreads the gradient of max_pool2d to the wrong elements.
        let x = Tensor::from_vec(vec![1.0, 5.0, 2.0, 0.0, 3.0, -1.0, 7.0, 6.0, 4.0], &[1, 3, 3, 1]).unwrap();
        let x = x.watched();
        let y = max_pool2d(&x, 2, 1).unwrap();
        assert_eq!(y.to_vec(), [5.0, 5.0, 7.0, 6.0]);
        let grads = y.backward_with(vec![1.0, 10.0, 100.0, 1000.0].into()).unwrap();
        assert_eq!(grads.of(&x).unwrap(), [0.0, 11.0, 0.0, 0.0, 0.0, 0.0, 100.0, 1000.0, 0.0]);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for (kernel, stride) in [(2, 2), (3, 2), (3, 1), (2, 3)] {
            let x = [spread(&[2, 5, 6, 3])];
            check_gradients(&x, &[], 1e-2, |x| max_pool2d(&x[0], kernel, stride)).unwrap();
            check_gradients(&[normal(&[2, 5, 6, 3], 1)], &[], 1e-2, |x| avg_pool2d(&x[0], kernel, stride))
                .unwrap();
        }
        check_gradients(&[normal(&[2, 5, 6, 3], 1)], &[], 1e-2, |x| global_avg_pool(&x[0])).unwrap();
        for factor in [1, 2, 3] {
            check_gradients(&[normal(&[2, 3, 2, 5], 1)], &[], 1e-2, |x| upsample_nearest(&x[0], factor))
                .unwrap();
        }
    }

    #[test]
    fn an_input_of_two_branches_collects_both_gradients() {
        // candle 0.11: the backward of upsample_nearest2d overwrites what another branch has put there.
        let two = |x: &[Tensor]| {
            let up = upsample_nearest(&x[0], 2)?;
            let other = x[0].square();
            up.mul(&upsample_nearest(&other, 2)?)?.add(&upsample_nearest(&x[0], 2)?)
        };
        check_gradients(&[normal(&[1, 3, 3, 2], 1)], &[], 1e-2, two).unwrap();
        let x = normal(&[1, 2, 2, 1], 2).watched();
        let sum = upsample_nearest(&x, 2).unwrap().sum().add(&x.sum()).unwrap();
        assert_eq!(sum.backward().unwrap().of(&x).unwrap(), [5.0; 4]);
        let x = x.watched();
        let sum = x.sum().add(&upsample_nearest(&x, 2).unwrap().sum()).unwrap();
        assert_eq!(sum.backward().unwrap().of(&x).unwrap(), [5.0; 4]);
    }

    #[test]
    fn upsampling_repeats_pixels() {
        let x = Tensor::from_vec(vec![1.0, 2.0, 3.0, 4.0], &[1, 2, 1, 2]).unwrap();
        let y = upsample_nearest(&x, 2).unwrap();
        assert_eq!(y.shape(), [1, 4, 2, 2]);
        let (a, b) = ([1.0, 2.0, 1.0, 2.0], [3.0, 4.0, 3.0, 4.0]);
        assert_eq!(y.to_vec(), [a, a, b, b].concat());
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let run = |threads| {
            crate::set_threads(threads);
            let x = normal(&[9, 8, 8, 5], 1).watched();
            let y = max_pool2d(&upsample_nearest(&x, 2).unwrap(), 3, 2).unwrap();
            let y = avg_pool2d(&y, 3, 2).unwrap();
            let grads = global_avg_pool(&y).unwrap().square().sum().backward().unwrap();
            (y.to_vec(), grads.of(&x).unwrap().to_vec())
        };
        let one = run(1);
        assert!(one == run(3));
    }

    #[test]
    fn windows_that_do_not_fit_are_named() {
        let error = max_pool2d(&normal(&[1, 2, 5, 1], 1), 3, 1).unwrap_err().to_string();
        assert!(error.contains("height and width of [1, 2, 5, 1] must hold a window of 3 x 3"), "{error}");
        assert!(upsample_nearest(&normal(&[2, 2], 1), 2).is_err());
    }
}

//! Resizing of images `[batch, height, width, channels]`: linear maps along height and width, each with its exact transpose as
//! backward. Conventions are those of PyTorch's `interpolate` (without aligned corners, without antialiasing), which the papers use.

use super::pool::image;
use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::simd::{fma, vectorised};
use crate::tensor::Tensor;
use crate::threads;

/// One place of the result: the weights of consecutive places of the input.
#[derive(Clone, Debug, PartialEq)]
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The mean over the pixels that each pixel of the result covers, from `floor(i n / m)` to `ceil((i + 1) n / m)` along each axis:
/// also called adaptive average pooling. `to` is height and width; pixels that are covered in part count whole.
///
/// # Errors
/// When the input is no image, or a size is 0.
pub fn resize_area(x: &Tensor, to: [usize; 2]) -> Result<Tensor> {
    resize("resize_area", x, to, |n, m| {
        (0..m)
            .map(|i| {
                let (first, end) = (i * n / m, ((i + 1) * n).div_ceil(m));
                Taps { first, weights: vec![1.0 / (end - first) as f32; end - first] }
            })
            .collect()
    })
}

/// Linear interpolation between pixel centres along each axis; `to` is height and width.
///
/// # Errors
/// When the input is no image, or a size is 0.
pub fn resize_bilinear(x: &Tensor, to: [usize; 2]) -> Result<Tensor> {
    resize("resize_bilinear", x, to, |n, m| {
        interpolation(n, m, |place| {
            let place = place.max(0.0);
            let t = place - place.floor();
            (place.floor() as isize, vec![1.0 - t, t])
        })
    })
}

/// Cubic convolution (Keys, 1981) with a = -0.75 along each axis, border pixels repeated; `to` is height and width.
///
/// # Errors
/// When the input is no image, or a size is 0.
pub fn resize_bicubic(x: &Tensor, to: [usize; 2]) -> Result<Tensor> {
    resize("resize_bicubic", x, to, |n, m| {
        interpolation(n, m, |place| {
            let t = place - place.floor();
            (place.floor() as isize - 1, [t + 1.0, t, 1.0 - t, 2.0 - t].map(cubic).to_vec())
        })
    })
}

/// Keys' kernel at a distance.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// Weights from `at(place in the input)`: first place and weights, cut at the borders by repeating the border pixel.
fn interpolation(n: usize, m: usize, at: impl Fn(f64) -> (isize, Vec<f64>)) -> Vec<Taps> {
    (0..m)
        .map(|i| {
            let (start, weights) = at((i as f64 + 0.5) * n as f64 / m as f64 - 0.5);
            let inside = |k: usize| (start + k as isize).clamp(0, n as isize - 1) as usize;
            let first = inside(0);
            let mut sums = vec![0.0_f64; inside(weights.len() - 1) - first + 1];
            for (k, w) in weights.iter().enumerate() {
                sums[inside(k) - first] += w;
            }
            Taps { first, weights: sums.iter().map(|w| *w as f32).collect() }
        })
        .collect()
}

/// The transposed map, for an input of `n` places.
fn transposed(map: &[Taps], n: usize) -> Vec<Taps> {
    let weight = |i: usize, j: usize| -> f32 {
        j.checked_sub(map[i].first).and_then(|k| map[i].weights.get(k)).copied().unwrap_or(0.0)
    };
    (0..n)
        .map(|j| {
            let touches = |i: &usize| weight(*i, j) != 0.0;
            let first = (0..map.len()).find(touches).unwrap_or(0);
            let end = (0..map.len()).rev().find(touches).map_or(first, |last| last + 1);
            Taps { first, weights: (first..end).map(|i| weight(i, j)).collect() }
        })
        .collect()
}

/// Applies a map along the middle axis of `[outer, n, inner]`.
fn apply(x: &[f32], n: usize, inner: usize, map: &[Taps]) -> Buffer {
    let outer = x.len().checked_div(n * inner).unwrap_or(0);
    let mut out = Buffer::scratch(outer * map.len() * inner);
    let per_job = (4096 / inner.max(1)).max(1);
    threads::chunks(&mut out, inner * per_job, |at, part| {
        for (r, out) in part.chunks_exact_mut(inner).enumerate() {
            let row = at / inner + r;
            let (o, taps) = (row / map.len(), &map[row % map.len()]);
            out.fill(0.0);
            for (k, w) in taps.weights.iter().enumerate() {
                add_scaled(out, &x[(o * n + taps.first + k) * inner..][..inner], *w);
            }
        }
    });
    out
}

vectorised! {
    fn add_scaled(out: &mut [f32], x: &[f32], factor: f32) {
        for (out, x) in out.iter_mut().zip(x) {
            *out = fma::<FMA>(*x, factor, *out);
        }
    }
}

fn resize(
    name: &'static str,
    x: &Tensor,
    to: [usize; 2],
    map: impl Fn(usize, usize) -> Vec<Taps>,
) -> Result<Tensor> {
    let [batch, height, width, channels] = image(name, x)?;
    if [height, width, to[0], to[1]].contains(&0) {
        return shape(name, format!("height and width must be at least 1: {:?} to {to:?}", x.shape()));
    }
    if to == [height, width] {
        return Ok(x.clone());
    }
    let (rows, columns) = (map(height, to[0]), map(width, to[1]));
    let middle = apply(x.data(), height, width * channels, &rows);
    let out = apply(&middle, width, channels, &columns);
    let parent = x.clone();
    Ok(Tensor::custom(name, &[batch, to[0], to[1], channels], out, &[x], move |grad, sink| {
        let middle = apply(&grad, to[1], channels, &transposed(&columns, width));
        sink.add(&parent, apply(&middle, to[0], width * channels, &transposed(&rows, height)));
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use crate::ops::avg_pool2d;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    type Resize = fn(&Tensor, [usize; 2]) -> Result<Tensor>;
    const ALL: [Resize; 3] = [resize_area, resize_bilinear, resize_bicubic];

    #[test]
    fn a_constant_stays_and_the_same_size_changes_nothing() {
        let x = normal(&[1, 5, 4, 2], 1);
        for resize in ALL {
            assert_eq!(resize(&x, [5, 4]).unwrap().to_vec(), x.to_vec());
            for to in [[1, 1], [2, 3], [7, 9], [16, 4]] {
                let y = resize(&Tensor::full(&[1, 5, 4, 2], 3.0), to).unwrap();
                assert_eq!(y.shape(), [1, to[0], to[1], 2]);
                assert!(y.data().iter().all(|v| (v - 3.0).abs() < 1e-5));
            }
        }
    }

    #[test]
    fn weights_are_those_of_the_definitions() {
        let row = Tensor::from_vec(vec![0.0, 1.0, 0.0, 0.0], &[1, 1, 4, 1]).unwrap();
        let y = resize_bilinear(&row, [1, 8]).unwrap();
        assert_eq!(y.to_vec(), [0.0, 0.25, 0.75, 0.75, 0.25, 0.0, 0.0, 0.0]);
        // Keys' kernel with a = -0.75 at distances 1.25, 0.25, 0.75, 1.75.
        let y = resize_bicubic(&row, [1, 8]).unwrap();
        let (far, near, mid, end) = (-0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25);
        assert_eq!(y.to_vec()[1..], [mid, near, near, mid, far, end, 0.0][..]);
        // 5 to 3: pixels 0..2, 1..4, 3..5.
        let row = Tensor::from_vec(vec![1.0, 2.0, 4.0, 8.0, 16.0], &[1, 1, 5, 1]).unwrap();
        let y = resize_area(&row, [1, 3]).unwrap();
        for (got, want) in y.data().iter().zip([1.5, 14.0 / 3.0, 12.0]) {
            assert!((got - want).abs() < 1e-6);
        }
    }

    #[test]
    fn area_by_a_whole_factor_is_average_pooling() {
        let x = normal(&[2, 6, 9, 3], 1);
        let (a, b) = (resize_area(&x, [2, 3]).unwrap(), avg_pool2d(&x, 3, 3).unwrap());
        assert!(a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for resize in ALL {
            for to in [[1, 1], [2, 3], [7, 9], [3, 16]] {
                check_gradients(&[normal(&[2, 5, 4, 3], 1)], &[], 1e-2, |x| resize(&x[0], to)).unwrap();
            }
        }
        let two = |x: &[Tensor]| resize_bicubic(&x[0], [4, 4])?.mul(&resize_area(&x[0], [4, 4])?);
        check_gradients(&[normal(&[1, 5, 5, 2], 1)], &[], 1e-2, two).unwrap();
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let run = |threads| {
            crate::set_threads(threads);
            let x = normal(&[4, 16, 16, 8], 1).watched();
            let y = resize_area(&resize_bicubic(&x, [24, 20]).unwrap(), [7, 7]).unwrap();
            let grads = y.square().sum().backward().unwrap();
            (y.to_vec(), grads.of(&x).unwrap().to_vec())
        };
        let one = run(1);
        assert!(one == run(3));
    }
}

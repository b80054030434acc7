//! Depthwise convolutions: one filter for each channel, so loops run over channels and nothing is shared between them.

use std::ops::Range;

use super::Geometry;
use crate::buffer::Buffer;
use crate::simd::{fma, vectorised};
use crate::threads::Shared;

/// `[channels, taps]` to `[taps, channels]`.
fn by_tap(g: &Geometry, w: &[f32]) -> Buffer {
    let mut out = Buffer::scratch(w.len());
    for (c, filter) in w.chunks_exact(g.taps()).enumerate() {
        for (t, w) in filter.iter().enumerate() {
            out[t * g.channels + c] = *w;
        }
    }
    out
}

/// The place under a tap, when it lies in the image.
fn under(place: usize, tap: usize, stride: usize, padding: usize, size: usize) -> Option<usize> {
    (place * stride + tap).checked_sub(padding).filter(|i| *i < size)
}

/// The place of the result that a tap carries a pixel to, when there is one.
fn reached(pixel: usize, tap: usize, stride: usize, padding: usize, size: usize) -> Option<usize> {
    let shifted = (pixel + padding).checked_sub(tap)?;
    (shifted % stride == 0).then_some(shifted / stride).filter(|o| *o < size)
}

pub(super) fn forward(g: &Geometry, out: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>) {
    gather(g, out, g.out_size, x, g.size, w, bias, under);
}

pub(super) fn input_gradient(g: &Geometry, dx: &mut [f32], dy: &[f32], w: &[f32], bias: Option<&[f32]>) {
    gather(g, dx, g.size, dy, g.out_size, w, bias, reached);
}

/// Every pixel of `to` sums what its taps find in `from`.
#[expect(clippy::too_many_arguments, reason = "a kernel's operands")]
fn gather(
    g: &Geometry,
    to: &mut [f32],
    to_size: [usize; 2],
    from: &[f32],
    from_size: [usize; 2],
    w: &[f32],
    bias: Option<&[f32]>,
    find: fn(usize, usize, usize, usize, usize) -> Option<usize>,
) {
    let (w, channels) = (by_tap(g, w), g.channels);
    let row_len = to_size[1] * channels;
    let shared = Shared::new(to);
    g.each(g.batch * to_size[0], &|job| {
        let (image, y) = (job / to_size[0], job % to_size[0]);
        // SAFETY: every job owns one row of pixels.
        let row = unsafe { shared.part(job * row_len, row_len) };
        for (x, out) in row.chunks_exact_mut(channels).enumerate() {
            match bias {
                Some(bias) => out.copy_from_slice(bias),
                None => out.fill(0.0),
            }
            for ky in 0..g.kernel[0] {
                let Some(iy) = find(y, ky, g.stride[0], g.padding[0], from_size[0]) else { continue };
                for kx in 0..g.kernel[1] {
                    let Some(ix) = find(x, kx, g.stride[1], g.padding[1], from_size[1]) else { continue };
                    let at = ((image * from_size[0] + iy) * from_size[1] + ix) * channels;
                    let w = &w[(ky * g.kernel[1] + kx) * channels..][..channels];
                    add_product(out, &from[at..at + channels], w);
                }
            }
        }
    });
}

/// `[taps, channels]` of the images given.
pub(super) fn weight_gradient(g: &Geometry, part: &mut [f32], x: &[f32], dy: &[f32], images: Range<usize>) {
    let channels = g.channels;
    part.fill(0.0);
    for image in images {
        for oy in 0..g.out_size[0] {
            for ky in 0..g.kernel[0] {
                let Some(iy) = under(oy, ky, g.stride[0], g.padding[0], g.size[0]) else { continue };
                for ox in 0..g.out_size[1] {
                    let from = ((image * g.out_size[0] + oy) * g.out_size[1] + ox) * channels;
                    let dy = &dy[from..from + channels];
                    for kx in 0..g.kernel[1] {
                        let Some(ix) = under(ox, kx, g.stride[1], g.padding[1], g.size[1]) else { continue };
                        let at = ((image * g.size[0] + iy) * g.size[1] + ix) * channels;
                        let out = &mut part[(ky * g.kernel[1] + kx) * channels..][..channels];
                        add_product(out, &x[at..at + channels], dy);
                    }
                }
            }
        }
    }
}

vectorised! {
    fn add_product(out: &mut [f32], a: &[f32], b: &[f32]) {
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            *out = fma::<FMA>(*a, *b, *out);
        }
    }
}

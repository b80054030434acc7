//! The gradient of the weights: products over all pixels, summed over images in fixed chunks.

use super::kernel::{Adjacent, Call, Kernels, Segment};
use super::{Geometry, Window, depthwise, with_scratch};
use crate::buffer::Buffer;
use crate::kernels;
use crate::threads::{self, Shared};

/// Chunks of images at most; fewer when their partial sums would take more than [`PARTIAL`] numbers.
const CHUNKS: usize = 16;
const PARTIAL: usize = 1 << 22;

/// Number of images of one chunk: by the shapes alone.
fn images_per_chunk(g: &Geometry) -> usize {
    let chunks = (PARTIAL / g.weight_len().max(1)).clamp(2, CHUNKS);
    g.batch.div_ceil(chunks).max(1)
}

pub(super) fn gradient(g: &Geometry, x: &[f32], dy: &[f32]) -> Buffer {
    let (len, images) = (g.weight_len(), images_per_chunk(g));
    let chunks = g.batch.div_ceil(images);
    if len == 0 || chunks == 0 || g.out_size[0] * g.out_size[1] == 0 {
        return Buffer::zeros(len);
    }
    // Rows of the tiles: output channels, or the pixels and channels under a kernel row, whichever wastes fewer lanes.
    let under = g.group_in() * if g.groups == 1 { g.kernel[1] } else { 1 };
    let transposed = under * g.group_out().next_multiple_of(16) < g.group_out() * under.next_multiple_of(16);
    let mut parts = Buffer::scratch(chunks * len);
    let shared = Shared::new(&mut parts);
    g.each(chunks, &|chunk| {
        // SAFETY: every chunk owns its partial sum.
        let part = unsafe { shared.part(chunk * len, len) };
        let images = chunk * images..((chunk + 1) * images).min(g.batch);
        if g.is_depthwise() {
            depthwise::weight_gradient(g, part, x, dy, images);
        } else {
            images_of_chunk(g, part, x, dy, images, transposed);
        }
    });
    let sum = sum_in_order(parts, chunks, len);
    if g.is_depthwise() {
        transpose(&sum, g.taps(), g.channels)
    } else if transposed {
        untangle(g, &sum)
    } else {
        sum
    }
}

/// Adds up the chunks' sums, first to last.
fn sum_in_order(mut parts: Buffer, chunks: usize, len: usize) -> Buffer {
    if chunks == 1 {
        return parts;
    }
    let (first, rest) = parts.split_at_mut(len);
    threads::chunks(first, 2048, |at, sum| {
        for part in rest.chunks_exact(len) {
            kernels::add_rows(sum, &part[at..at + sum.len()]);
        }
    });
    Buffer::copy_of(first)
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(x: &[f32], rows: usize, columns: usize) -> Buffer {
    let mut out = Buffer::scratch(x.len());
    for i in 0..rows {
        for j in 0..columns {
            out[j * rows + i] = x[i * columns + j];
        }
    }
    out
}

/// `[groups, kh, kw, in, out]` to `[groups, out, kh, kw, in]`.
fn untangle(g: &Geometry, sum: &[f32]) -> Buffer {
    let group = g.weight_len() / g.groups;
    let mut out = Buffer::scratch(g.weight_len());
    for (to, from) in out.chunks_exact_mut(group).zip(sum.chunks_exact(group)) {
        to.copy_from_slice(&transpose(from, group / g.group_out(), g.group_out()));
    }
    out
}

fn images_of_chunk(
    g: &Geometry,
    part: &mut [f32],
    x: &[f32],
    dy: &[f32],
    images: std::ops::Range<usize>,
    transposed: bool,
) {
    let (x_len, dy_len) =
        (g.size[0] * g.size[1] * g.channels, g.out_size[0] * g.out_size[1] * g.out_channels);
    let window = Window {
        from: [-(g.padding[0] as isize), -(g.padding[1] as isize)],
        size: [0, 1].map(|i| (g.out_size[i] - 1) * g.stride[i] + g.kernel[i]),
    };
    let first = images.start;
    for image in images {
        let (x, dy) = (&x[image * x_len..][..x_len], &dy[image * dy_len..][..dy_len]);
        let mut work = |x: &[f32], x_row: usize| {
            Image { g, x, x_row, dy, add: image > first }.run(part, transposed);
        };
        if window.inside(g.size) {
            work(x, g.size[1] * g.channels);
        } else {
            with_scratch(window.len(g.channels), |room| {
                window.copy(room, x, g.size, g.channels);
                work(room, window.size[1] * g.channels);
            });
        }
    }
}

/// One image's part of the gradient.
struct Image<'a> {
    g: &'a Geometry,
    /// The padded input; its rows are `x_row` apart.
    x: &'a [f32],
    x_row: usize,
    dy: &'a [f32],
    /// Whether to add to what is there.
    add: bool,
}

impl Image<'_> {
    fn run(&self, part: &mut [f32], transposed: bool) {
        let g = self.g;
        // Without groups the taps of a kernel row are one stretch of memory.
        let across = if g.groups == 1 { 1 } else { g.kernel[1] };
        let under = g.group_in() * g.kernel[1] / across;
        let group_len = g.weight_len() / g.groups;
        for group in 0..g.groups {
            let dy = &self.dy[group * g.group_out()..];
            for tap in 0..g.kernel[0] * across {
                let (ky, kx) = (tap / across, tap % across);
                let at = ky * self.x_row + kx * g.channels + group * g.group_in();
                let x = &self.x[at.min(self.x.len())..];
                let out = &mut part[group * group_len..][..group_len];
                if transposed {
                    let c = &mut out[tap * under * g.group_out()..];
                    self.product(c, g.group_out(), (x, under), (dy, g.group_out()), true);
                } else {
                    let c = &mut out[tap * under..];
                    self.product(c, g.taps() * g.group_in(), (dy, g.group_out()), (x, under), false);
                }
            }
        }
    }

    /// `C += A' B` over all pixels, where one operand is the input and the other the gradient of the result.
    fn product(
        &self,
        c: &mut [f32],
        c_row: usize,
        (a, rows): (&[f32], usize),
        (b, columns): (&[f32], usize),
        a_is_input: bool,
    ) {
        let g = self.g;
        let kernels = Kernels::best();
        let input = (g.stride[0] * self.x_row, g.stride[1] * g.channels);
        let gradient = (g.out_size[1] * g.out_channels, g.out_channels);
        let ((a_next, a_step), (b_next, b_row)) =
            if a_is_input { (input, gradient) } else { (gradient, input) };
        let segments: Vec<Segment> =
            (0..g.out_size[0]).map(|y| Segment { a: y * a_next, b: y * b_next }).collect();
        let c = Shared::new(c);
        for (first, vectors) in kernels.panels(columns) {
            kernels.tiles(vectors, rows, |row, height| {
                let call = Call {
                    segments: &segments,
                    depth: g.out_size[1],
                    a: a[row..].as_ptr(),
                    a_step,
                    b: b[first..].as_ptr(),
                    b_row,
                    // SAFETY: row and column of this product's part of the gradient.
                    c: unsafe { c.pointer().add(row * c_row + first) },
                    c_row,
                    columns: (columns - first).min(16 * vectors),
                    add: self.add,
                    bias: std::ptr::null(),
                };
                // SAFETY: both operands hold all pixels of the image, C all rows and columns; nobody else writes this chunk.
                unsafe { kernels.run(Adjacent::Rows, height, vectors, &call) };
            });
        }
    }
}

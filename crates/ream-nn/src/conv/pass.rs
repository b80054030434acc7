//! One convolution pass over all images: forward, and the parts of the gradient of the input.

use super::kernel::{Adjacent, Call, Kernels, Segment};
use super::{Geometry, Window, with_scratch};
use crate::buffer::Buffer;
use crate::simd::{LANES, add_lanes, fma, vectorised};
use crate::threads::Shared;

/// Numbers of the padded scratch of one job at most (unless one row of the result needs more): half of a second-level cache.
const SCRATCH: usize = 128 * 1024;
/// Jobs wanted at least, so that a small batch keeps several threads busy.
const JOBS: usize = 16;
/// Up to this many output channels, inner products along whole vectors of input channels beat tiles of sixteen columns.
const FEW: usize = 4;

/// A convolution of stride `step` with every image, written to places of the result that lie evenly.
struct Pass<'a> {
    geometry: &'a Geometry,
    input: &'a [f32],
    /// Size of an input image, channels of a pixel.
    size: [usize; 2],
    channels: usize,
    /// Row and column of the image where the window of the first result begins.
    from: [isize; 2],
    taps: [usize; 2],
    step: [usize; 2],
    weights: Packed,
    bias: Option<&'a [f32]>,
    out: Shared,
    /// Distances in the result: from image to image, to the first element, from row to row, from column to column.
    out_image: usize,
    out_first: usize,
    out_row: usize,
    out_column: usize,
    /// Rows and columns to compute.
    out_size: [usize; 2],
}

/// The weights of one pass in the order in which the kernels read them, group after group.
struct Packed {
    data: Buffer,
    /// Numbers of one group.
    group: usize,
    /// Channels of a group of the input and of the result.
    inner: usize,
    columns: usize,
    /// Whether `data` is rows for inner products rather than panels.
    few: bool,
}

/// Where `w(group, tap, inner channel, column)` lies.
struct Layout<'a> {
    w: &'a [f32],
    groups: usize,
    group: usize,
    /// Offset of every tap in the order of the pass.
    taps: Vec<usize>,
    inner: usize,
    inner_step: usize,
    columns: usize,
    column_step: usize,
}

impl Layout<'_> {
    fn pack(&self) -> Packed {
        let depth = self.taps.len() * self.inner;
        let few = self.columns <= FEW && self.groups == 1 && self.inner.is_multiple_of(LANES) && depth > 0;
        let width = if few { self.columns } else { self.columns.next_multiple_of(16) };
        let mut data = Buffer::scratch(self.groups * depth * width);
        let group = depth * width;
        for (g, out) in data.chunks_exact_mut(group.max(1)).enumerate() {
            if few {
                self.rows(out, &self.w[g * self.group..]);
            } else {
                self.panels(out, &self.w[g * self.group..]);
            }
        }
        Packed { data, group, inner: self.inner, columns: self.columns, few }
    }

    fn rows(&self, out: &mut [f32], w: &[f32]) {
        let depth = self.taps.len() * self.inner;
        for j in 0..self.columns {
            for (t, tap) in self.taps.iter().enumerate() {
                for c in 0..self.inner {
                    out[j * depth + t * self.inner + c] = w[tap + c * self.inner_step + j * self.column_step];
                }
            }
        }
    }

    fn panels(&self, out: &mut [f32], w: &[f32]) {
        let depth = self.taps.len() * self.inner;
        for (first, vectors) in Kernels::best().panels(self.columns) {
            let width = 16 * vectors;
            let here = width.min(self.columns - first);
            let panel = &mut out[first * depth..][..depth * width];
            for (t, tap) in self.taps.iter().enumerate() {
                for c in 0..self.inner {
                    let row = &mut panel[(t * self.inner + c) * width..][..width];
                    let from = tap + c * self.inner_step + first * self.column_step;
                    if self.column_step == 1 {
                        row[..here].copy_from_slice(&w[from..from + here]);
                    } else {
                        for (j, out) in row[..here].iter_mut().enumerate() {
                            *out = w[from + j * self.column_step];
                        }
                    }
                    row[here..].fill(0.0);
                }
            }
        }
    }
}

pub(super) fn forward(g: &Geometry, out: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>) {
    let row = g.taps() * g.group_in();
    let weights = Layout {
        w,
        groups: g.groups,
        group: g.group_out() * row,
        taps: (0..g.taps()).map(|t| t * g.group_in()).collect(),
        inner: g.group_in(),
        inner_step: 1,
        columns: g.group_out(),
        column_step: row,
    };
    let pass = Pass {
        geometry: g,
        input: x,
        size: g.size,
        channels: g.channels,
        from: [-(g.padding[0] as isize), -(g.padding[1] as isize)],
        taps: g.kernel,
        step: g.stride,
        weights: weights.pack(),
        bias,
        out: Shared::new(out),
        out_image: g.out_size[0] * g.out_size[1] * g.out_channels,
        out_first: 0,
        out_row: g.out_size[1] * g.out_channels,
        out_column: g.out_channels,
        out_size: g.out_size,
    };
    run(g, &[pass]);
}

/// Along one axis, the pixels of the input whose place plus padding leaves one residue modulo the stride.
struct Residue {
    residue: usize,
    /// First such pixel, and how many.
    first: usize,
    count: usize,
    /// Taps that reach them: `residue`, `residue + stride`, ...
    taps: usize,
    /// Row (or column) of the result's gradient under the last tap of the first pixel.
    from: isize,
}

fn residues(g: &Geometry, axis: usize) -> Vec<Residue> {
    let (stride, padding) = (g.stride[axis], g.padding[axis]);
    (0..stride)
        .map(|residue| {
            // Pixel i with i + padding = stride q + residue.
            let q = padding.saturating_sub(residue).div_ceil(stride);
            let first = (stride * q + residue).saturating_sub(padding);
            let count = g.size[axis].saturating_sub(first).div_ceil(stride);
            let taps = g.kernel[axis].saturating_sub(residue).div_ceil(stride);
            Residue { residue, first, count, taps, from: q as isize - taps as isize + 1 }
        })
        .collect()
}

pub(super) fn input_gradient(g: &Geometry, dx: &mut [f32], dy: &[f32], w: &[f32], bias: Option<&[f32]>) {
    let shared = Shared::new(dx);
    let row = g.taps() * g.group_in();
    let mut passes = Vec::new();
    for y in residues(g, 0) {
        for x in residues(g, 1) {
            // The window runs forward over the gradient, so the taps run backward.
            let taps = (0..y.taps).rev().flat_map(|ty| {
                let ky = y.residue + ty * g.stride[0];
                let residue = x.residue;
                (0..x.taps).rev().map(move |tx| ky * g.kernel[1] + residue + tx * g.stride[1])
            });
            let weights = Layout {
                w,
                groups: g.groups,
                group: g.group_out() * row,
                taps: taps.map(|t| t * g.group_in()).collect(),
                inner: g.group_out(),
                inner_step: row,
                columns: g.group_in(),
                column_step: 1,
            };
            passes.push(Pass {
                geometry: g,
                input: dy,
                size: g.out_size,
                channels: g.out_channels,
                from: [y.from, x.from],
                taps: [y.taps, x.taps],
                step: [1, 1],
                weights: weights.pack(),
                bias,
                out: shared,
                out_image: g.size[0] * g.size[1] * g.channels,
                out_first: (y.first * g.size[1] + x.first) * g.channels,
                out_row: g.stride[0] * g.size[1] * g.channels,
                out_column: g.stride[1] * g.channels,
                out_size: [y.count, x.count],
            });
        }
    }
    run(g, &passes);
}

/// Runs passes over the same images: a job makes its rows by one pass after another while the image is in the cache.
fn run(g: &Geometry, passes: &[Pass<'_>]) {
    let rows = passes.iter().map(|p| p.out_size[0]).max().unwrap_or(0);
    if rows * g.batch == 0 {
        return;
    }
    let fits = passes.iter().map(Pass::rows_that_fit).min().unwrap_or(rows);
    let wanted = rows.div_ceil(JOBS.div_ceil(g.batch));
    let block = fits.min(wanted).clamp(1, rows);
    let blocks = rows.div_ceil(block);
    g.each(g.batch * blocks, &|job| {
        let first = job % blocks * block;
        for pass in passes.iter().filter(|p| p.out_size[1] > 0 && p.out_size[0] > first) {
            pass.block(job / blocks, first, block.min(pass.out_size[0] - first));
        }
    });
}

impl Pass<'_> {
    /// Columns of the input under one row of the result.
    fn width(&self) -> usize {
        (self.out_size[1].max(1) - 1) * self.step[1] + self.taps[1]
    }

    /// Rows of the result for which the padded input fits the scratch.
    fn rows_that_fit(&self) -> usize {
        SCRATCH / (self.width() * self.channels * self.step[0]).max(1)
    }

    /// Rows `first..first + rows` of one image's result.
    fn block(&self, image: usize, first: usize, rows: usize) {
        let width = self.width();
        let len = self.size[0] * self.size[1] * self.channels;
        let data = &self.input[image * len..][..len];
        let window = Window {
            from: [self.from[0] + (first * self.step[0]) as isize, self.from[1]],
            size: [(rows - 1) * self.step[0] + self.taps[0], width],
        };
        let place = image * self.out_image + self.out_first + first * self.out_row;
        if window.inside(self.size) {
            let at = (window.from[0] as usize * self.size[1] + window.from[1] as usize) * self.channels;
            return self.rows(&data[at.min(len)..], self.size[1] * self.channels, rows, place);
        }
        with_scratch(window.len(self.channels), |room| {
            window.copy(room, data, self.size, self.channels);
            self.rows(room, width * self.channels, rows, place);
        });
    }

    /// `a` begins at the first window; its rows are `a_row` apart.
    fn rows(&self, a: &[f32], a_row: usize, rows: usize, place: usize) {
        let Packed { inner, group, few, .. } = self.weights;
        // Without groups the taps of a kernel row are one stretch of memory.
        let whole = self.geometry.groups == 1;
        let (across, depth) = if whole { (1, self.taps[1] * inner) } else { (self.taps[1], inner) };
        for g in 0..self.geometry.groups {
            let weights = &self.weights.data[g * group..][..group];
            let offsets: Vec<usize> = (0..self.taps[0] * across)
                .map(|s| s / across * a_row + s % across * self.channels + g * inner)
                .collect();
            if few {
                self.few(a, a_row, rows, place, &offsets, depth, weights);
            } else {
                self.tiles(a, a_row, rows, place, &offsets, depth, g, weights);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of a product")]
    fn tiles(
        &self,
        a: &[f32],
        a_row: usize,
        rows: usize,
        place: usize,
        offsets: &[usize],
        depth: usize,
        group: usize,
        weights: &[f32],
    ) {
        let columns = self.weights.columns;
        let kernels = Kernels::best();
        let total = offsets.len() * depth;
        let a_step = self.step[1] * self.channels;
        for (first, vectors) in kernels.panels(columns) {
            let panel = &weights[first * total..][..total * 16 * vectors];
            let segments: Vec<Segment> = offsets
                .iter()
                .enumerate()
                .map(|(s, &a)| Segment { a, b: s * depth * 16 * vectors })
                .collect();
            let channel = group * columns + first;
            let bias = self.bias.map_or(std::ptr::null(), |b| b[channel..].as_ptr());
            for r in 0..rows {
                kernels.tiles(vectors, self.out_size[1], |pixel, height| {
                    let call = Call {
                        segments: &segments,
                        depth,
                        a: a[(r * self.step[0] * a_row + pixel * a_step).min(a.len())..].as_ptr(),
                        a_step,
                        b: panel.as_ptr(),
                        b_row: 16 * vectors,
                        // SAFETY: the pixel's place in the result, inside the buffer made for all of them.
                        c: unsafe {
                            let at = place + r * self.out_row + pixel * self.out_column + channel;
                            self.out.pointer().add(at)
                        },
                        c_row: self.out_column,
                        columns: (columns - first).min(16 * vectors),
                        add: false,
                        bias,
                    };
                    // SAFETY: `a` holds the windows of all rows and pixels, the panel all steps; this job owns these pixels.
                    unsafe { kernels.run(Adjacent::Steps, height, vectors, &call) };
                });
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of a product")]
    fn few(
        &self,
        a: &[f32],
        a_row: usize,
        rows: usize,
        place: usize,
        offsets: &[usize],
        depth: usize,
        weights: &[f32],
    ) {
        let total = offsets.len() * depth;
        let a_step = self.step[1] * self.channels;
        let pixels = self.out_size[1];
        for r in 0..rows {
            let a = &a[(r * self.step[0] * a_row).min(a.len())..];
            for j in 0..self.weights.columns {
                let start = self.bias.map_or(0.0, |b| b[j]);
                // SAFETY: this job owns the row of pixels, and writes no other place of this part.
                let out = unsafe {
                    self.out.part(place + r * self.out_row + j, (pixels - 1) * self.out_column + 1)
                };
                window_dots(
                    out,
                    self.out_column,
                    pixels,
                    a,
                    a_step,
                    offsets,
                    depth,
                    &weights[j * total..][..total],
                    start,
                );
            }
        }
    }
}

/// Inner products of the windows of `P` pixels with one filter, in lanes of one order whatever `P` is.
#[inline(always)]
fn dots<const FMA: bool, const P: usize>(
    a: &[f32],
    a_step: usize,
    offsets: &[usize],
    depth: usize,
    w: &[f32],
) -> [f32; P] {
    let mut lanes = [[0.0_f32; LANES]; P];
    for (offset, w) in offsets.iter().zip(w.chunks_exact(depth)) {
        let (w, _) = w.as_chunks::<LANES>();
        let rows: [&[[f32; LANES]]; P] =
            core::array::from_fn(|p| &a[p * a_step + offset..][..depth].as_chunks::<LANES>().0[..w.len()]);
        for (k, w) in w.iter().enumerate() {
            for p in 0..P {
                for l in 0..LANES {
                    lanes[p][l] = fma::<FMA>(rows[p][k][l], w[l], lanes[p][l]);
                }
            }
        }
    }
    lanes.map(|lanes| add_lanes(&lanes))
}

vectorised! {
    /// `out[pixel * out_step] = start +` inner product of the pixel's window with one filter.
    fn window_dots(
        out: &mut [f32],
        out_step: usize,
        pixels: usize,
        a: &[f32],
        a_step: usize,
        offsets: &[usize],
        depth: usize,
        w: &[f32],
        start: f32,
    ) {
        let mut pixel = 0;
        while pixel < pixels {
            let a = &a[(pixel * a_step).min(a.len())..];
            if pixel + 4 <= pixels {
                let values = dots::<FMA, 4>(a, a_step, offsets, depth, w);
                for (p, value) in values.iter().enumerate() {
                    out[(pixel + p) * out_step] = start + value;
                }
                pixel += 4;
            } else {
                let [value] = dots::<FMA, 1>(a, a_step, offsets, depth, w);
                out[pixel * out_step] = start + value;
                pixel += 1;
            }
        }
    }
}

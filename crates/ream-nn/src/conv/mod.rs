//! Convolutions on the CPU without unfolding the input: images are `[batch, height, width, channels]`, so the pixels and channels
//! under one row of the kernel are one stretch of memory, and a convolution is a matrix product whose left operand is read
//! in place at shifted addresses.
//!
//! One job handles one image, or a block of its rows: the part it needs is copied once into a zero-padded scratch that
//! stays in the cache, and tiles of the result stay in registers over all taps ([`kernel`]).
//! - forward ([`pass`]): rows of a tile are pixels of one row of the result, `stride` pixels apart in the input;
//! - gradient of the input: the same with the weights turned and transposed; for a stride above 1 once for every residue of
//!   the pixel's place, each with the taps that reach it;
//! - gradient of the weights ([`weights`]): the inner dimension runs over pixels; images are summed in fixed chunks, and the chunks
//!   in order, so the number of threads changes no bit.
//!
//! Everything is f32: [`crate::gemm::precision`] does not apply to convolutions (except those that are plain matrix
//! products: 1 x 1 with stride 1).

mod depthwise;
mod kernel;
mod pass;
mod weights;

use std::cell::RefCell;

use crate::buffer::Buffer;
use crate::threads;

/// Below this many multiply-adds a convolution runs on the calling thread.
const SERIAL: usize = 100_000;

/// What is convolved with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// Height and width of the input.
    pub(crate) size: [usize; 2],
    pub(crate) channels: usize,
    /// Height and width of the result.
    pub(crate) out_size: [usize; 2],
    pub(crate) out_channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Zeros above and to the left; those below and to the right follow from the sizes.
    pub(crate) padding: [usize; 2],
    pub(crate) groups: usize,
}

impl Geometry {
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Input channels of one group.
    fn group_in(&self) -> usize {
        self.channels / self.groups
    }

    /// Output channels of one group.
    fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.size[0] * self.size[1] * self.channels
    }

    pub(crate) fn output_len(&self) -> usize {
        self.batch * self.out_size[0] * self.out_size[1] * self.out_channels
    }

    pub(crate) fn weight_len(&self) -> usize {
        self.out_channels * self.taps() * self.group_in()
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_in() == 1 && self.group_out() == 1
    }

    /// Multiply-adds.
    fn work(&self) -> usize {
        self.output_len() * self.taps() * self.group_in()
    }

    fn each(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.work() < SERIAL { (0..jobs).for_each(work) } else { threads::for_each(jobs, work) }
    }

    /// The result of the convolution: `x` `[batch, height, width, channels]`, `w` `[out, kh, kw, in / groups]`.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Buffer {
        let mut out = Buffer::scratch(self.output_len());
        if self.is_depthwise() {
            depthwise::forward(self, &mut out, x, w, bias);
        } else {
            pass::forward(self, &mut out, x, w, bias);
        }
        out
    }

    /// The gradient of the input, given that of the result; with a bias for every input channel, the transposed convolution.
    pub(crate) fn input_gradient(&self, dy: &[f32], w: &[f32], bias: Option<&[f32]>) -> Buffer {
        let mut dx = Buffer::scratch(self.input_len());
        if self.is_depthwise() {
            depthwise::input_gradient(self, &mut dx, dy, w, bias);
        } else {
            pass::input_gradient(self, &mut dx, dy, w, bias);
        }
        dx
    }

    /// The gradient of the weights, `[out, kh, kw, in / groups]`.
    pub(crate) fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Buffer {
        weights::gradient(self, x, dy)
    }
}

/// Room that a thread keeps between jobs.
fn with_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out of the cell, so that a convolution inside `work` finds an empty one and makes its own.
    let mut room = ROOM.with(|cell| std::mem::take(&mut *cell.borrow_mut()));
    if room.len() < len {
        room.resize(len, 0.0);
    }
    let result = work(&mut room[..len]);
    ROOM.with(|cell| *cell.borrow_mut() = room);
    result
}

/// A part of an image with zeros around it.
struct Window {
    /// First row and column in the image; negative where zeros come first.
    from: [isize; 2],
    /// Rows and columns.
    size: [usize; 2],
}

impl Window {
    /// Whether it lies inside an image of this size.
    fn inside(&self, size: [usize; 2]) -> bool {
        (0..2).all(|i| self.from[i] >= 0 && self.from[i] as usize + self.size[i] <= size[i])
    }

    fn len(&self, channels: usize) -> usize {
        self.size[0] * self.size[1] * channels
    }

    /// Copies it out of an image `[height, width, channels]`.
    fn copy(&self, to: &mut [f32], image: &[f32], size: [usize; 2], channels: usize) {
        let width = self.size[1];
        // Columns that come before the image, lie in it, come after it.
        let before = (-self.from[1]).clamp(0, width as isize) as usize;
        let skip = self.from[1].max(0) as usize;
        let here = (width - before).min(size[1].saturating_sub(skip));
        for (r, row) in to.chunks_exact_mut((width * channels).max(1)).enumerate().take(self.size[0]) {
            let y = self.from[0] + r as isize;
            if y < 0 || y as usize >= size[0] || here == 0 {
                row.fill(0.0);
                continue;
            }
            let at = (y as usize * size[1] + skip) * channels;
            row[..before * channels].fill(0.0);
            row[before * channels..(before + here) * channels]
                .copy_from_slice(&image[at..at + here * channels]);
            row[(before + here) * channels..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests;

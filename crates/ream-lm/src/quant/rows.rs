//! Rows of activations: as 32-bit floats, and in blocks of 8-bit codes.

use ream_nn::simd::vectorised;

use super::{BLOCK, Cells};

/// Activations `[rows, inputs]`, both as they are and as `scale * code` with 8-bit codes and one scale for every [`BLOCK`] inputs.
///
/// The rounding is to the nearest, ties to even; `scale = max |x| / 127`. A block of zeros has scale 0.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: usize,
    inputs: usize,
    blocks: usize,
    values: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// `scale * sum of codes` of a block.
    sums: Vec<f32>,
    /// Sums of codes of the two halves of a block.
    halves: Vec<i32>,
}

/// What the integer kernels read of some rows.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a> {
    /// `[rows, blocks, 32]`.
    pub(crate) codes: &'a [i8],
    /// `[rows, blocks]`.
    pub(crate) scales: &'a [f32],
    /// `[rows, blocks]`.
    pub(crate) sums: &'a [f32],
    /// `[rows, blocks, 2]`.
    pub(crate) halves: &'a [i32],
}

impl Rows {
    /// Makes room for `[rows, inputs]`; contents are unspecified until written.
    pub fn resize(&mut self, rows: usize, inputs: usize) {
        let blocks = inputs.div_ceil(BLOCK);
        (self.rows, self.inputs, self.blocks) = (rows, inputs, blocks);
        let cells = rows * blocks;
        self.values.resize(rows * inputs, 0.0);
        self.codes.resize(cells * BLOCK, 0);
        self.scales.resize(cells, 0.0);
        self.sums.resize(cells, 0.0);
        self.halves.resize(2 * cells, 0);
    }

    /// Quantises `values` (`[rows, inputs]`).
    #[must_use]
    pub fn new(values: &[f32], inputs: usize) -> Self {
        let mut rows = Self::default();
        let count = values.len().checked_div(inputs).unwrap_or(0);
        rows.resize(count, inputs);
        let writer = rows.writer();
        for (row, values) in values.chunks_exact(inputs.max(1)).enumerate() {
            // SAFETY: nobody else writes these rows.
            unsafe { writer.row(row, |out| out.copy_from_slice(values)) };
        }
        rows
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// `[rows, inputs]`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// For jobs that each write their own blocks.
    pub fn writer(&mut self) -> RowsWriter<'_> {
        RowsWriter {
            inputs: self.inputs,
            blocks: self.blocks,
            values: Cells::new(&mut self.values),
            codes: Cells::new(&mut self.codes),
            scales: Cells::new(&mut self.scales),
            sums: Cells::new(&mut self.sums),
            halves: Cells::new(&mut self.halves),
        }
    }

    /// Rows `first..first + count`, for the integer kernels.
    pub(crate) fn codes(&self, first: usize, count: usize) -> Codes<'_> {
        let (from, to) = (first * self.blocks, (first + count) * self.blocks);
        Codes {
            codes: &self.codes[from * BLOCK..to * BLOCK],
            scales: &self.scales[from..to],
            sums: &self.sums[from..to],
            halves: &self.halves[2 * from..2 * to],
        }
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }
}

/// Writes blocks of [`Rows`] from several jobs.
#[derive(Clone, Copy, Debug)]
pub struct RowsWriter<'a> {
    inputs: usize,
    blocks: usize,
    values: Cells<'a, f32>,
    codes: Cells<'a, i8>,
    scales: Cells<'a, f32>,
    sums: Cells<'a, f32>,
    halves: Cells<'a, i32>,
}

impl RowsWriter<'_> {
    /// Lets `fill` write a row and quantises it.
    ///
    /// # Safety
    /// No other job may write this row at the same time.
    pub unsafe fn row(&self, row: usize, fill: impl FnOnce(&mut [f32])) {
        // SAFETY: the row is the caller's.
        let values = unsafe { self.values.part(row * self.inputs, self.inputs) };
        fill(values);
        // SAFETY: as above.
        unsafe { self.quantize(row, 0, values) };
    }

    /// Lets `fill` write the inputs `first..first + len` of a row, and quantises them; `first` is a multiple of [`BLOCK`],
    /// and so is `len` unless the part ends the row.
    ///
    /// # Safety
    /// No other job may write this part at the same time.
    pub unsafe fn part(&self, row: usize, first: usize, len: usize, fill: impl FnOnce(&mut [f32])) {
        debug_assert!(first.is_multiple_of(BLOCK) && first + len <= self.inputs);
        // SAFETY: the part is the caller's.
        let values = unsafe { self.values.part(row * self.inputs + first, len) };
        fill(values);
        // SAFETY: as above.
        unsafe { self.quantize(row, first / BLOCK, values) };
    }

    /// # Safety
    /// As for [`RowsWriter::part`].
    unsafe fn quantize(&self, row: usize, block: usize, values: &[f32]) {
        let (at, blocks) = (row * self.blocks + block, values.len().div_ceil(BLOCK));
        // SAFETY: these blocks are the caller's.
        let (codes, scales, sums, halves) = unsafe {
            (
                self.codes.part(at * BLOCK, blocks * BLOCK),
                self.scales.part(at, blocks),
                self.sums.part(at, blocks),
                self.halves.part(2 * at, 2 * blocks),
            )
        };
        quantize(values, codes, scales, sums, halves);
    }
}

vectorised! {
    fn quantize(values: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32], halves: &mut [i32]) {
        let _ = FMA;
        let mut whole = [0.0_f32; BLOCK];
        for (b, values) in values.chunks(BLOCK).enumerate() {
            let values: &[f32; BLOCK] = if let Ok(values) = values.try_into() { values } else {
                whole.fill(0.0);
                whole[..values.len()].copy_from_slice(values);
                &whole
            };
            let mut lanes = [0.0_f32; 16];
            for (i, x) in values.iter().enumerate() {
                let lane = &mut lanes[i % 16];
                *lane = if x.abs() > *lane { x.abs() } else { *lane };
            }
            let largest = lanes.iter().fold(0.0_f32, |a, b| if *b > a { *b } else { a });
            let scale = largest / 127.0;
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let codes = &mut codes[b * BLOCK..(b + 1) * BLOCK];
            let mut halved = [0_i32; 2];
            for (half, total) in halved.iter_mut().enumerate() {
                let mut sum = 0_i32;
                for i in 16 * half..16 * half + 16 {
                    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer. What is not a number becomes 127 or -127, and
                    // an infinity makes the whole block's scale infinite.
                    let rounded = (values[i] * inverse + 12_582_912.0).to_bits() as i32 - 0x4b40_0000;
                    let code = rounded.clamp(-127, 127);
                    codes[i] = code as i8;
                    sum += code;
                }
                *total = sum;
            }
            scales[b] = scale;
            sums[b] = scale * (halved[0] + halved[1]) as f32;
            halves[2 * b..2 * b + 2].copy_from_slice(&halved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_within_half_a_step_and_sums_agree() {
        let inputs = 100;
        let values: Vec<f32> = (0..3 * inputs).map(|i| libm::sinf(i as f32) * (1 + i / 50) as f32).collect();
        let rows = Rows::new(&values, inputs);
        assert_eq!((rows.rows(), rows.inputs(), rows.blocks()), (3, 100, 4));
        for row in 0..3 {
            let part = rows.codes(row, 1);
            for block in 0..4 {
                let codes = &part.codes[block * BLOCK..(block + 1) * BLOCK];
                let scale = part.scales[block];
                for (i, code) in codes.iter().enumerate() {
                    let at = block * BLOCK + i;
                    let x = if at < inputs { values[row * inputs + at] } else { 0.0 };
                    assert!((x - scale * f32::from(*code)).abs() <= 0.501 * scale, "{row} {at}");
                }
                let sum: i32 = codes.iter().map(|c| i32::from(*c)).sum();
                assert_eq!(sum, part.halves[2 * block] + part.halves[2 * block + 1]);
                assert_eq!(part.sums[block], scale * sum as f32);
            }
        }
    }

    #[test]
    fn a_block_of_zeros_has_no_scale() {
        let rows = Rows::new(&[0.0; 64], 64);
        let part = rows.codes(0, 1);
        assert!(part.codes.iter().all(|c| *c == 0) && part.scales.iter().all(|s| *s == 0.0));
    }
}

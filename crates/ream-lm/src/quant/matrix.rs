//! A weight matrix in panels of sixteen outputs.

use thiserror::Error;

use super::format::Layout;
use super::unpack::{self, Block};
use super::{BLOCK, Format, LANES, Rows, TILE, Tile, float, integer};
use crate::gguf::Kind;
use crate::gguf::half::{f16_to_f32, f32_to_f16};

/// What a matrix cannot be made of.
#[derive(Debug, Error)]
pub enum QuantError {
    /// The bytes are not a whole matrix.
    #[error("a {kind} matrix of {outputs} x {inputs} takes {wanted} bytes, not {got}")]
    Size {
        /// Its type.
        kind: Kind,
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
        /// Bytes that would be right.
        wanted: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// A row does not end where a block ends.
    #[error("a {kind} matrix needs rows of a multiple of {block} numbers, not {inputs}")]
    Ragged {
        /// Its type.
        kind: Kind,
        /// Numbers of a block.
        block: usize,
        /// Columns.
        inputs: usize,
    },
    /// A scale or a weight is infinite or not a number.
    #[error("row {output} has a weight or a scale that is not finite")]
    NotFinite {
        /// The row.
        output: usize,
    },
    /// There are more numbers than memory could address.
    #[error("a matrix of {outputs} x {inputs} is too large")]
    TooLarge {
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
    },
    /// A row is asked for that is not there.
    #[error("row {row} is asked for, the matrix has {outputs}")]
    NoSuchRow {
        /// The row.
        row: usize,
        /// Rows that are there.
        outputs: usize,
    },
}

/// A line of the first-level cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Weights `[outputs, inputs]`, quantised as their file has them, in panels of sixteen outputs.
#[derive(Clone, Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    format: Format,
    panel_bytes: usize,
    lines: Vec<Line>,
}

impl Matrix {
    /// Repacks a tensor of a file: `outputs` rows of `inputs` numbers.
    ///
    /// # Errors
    /// When the bytes are not such a matrix, or hold a scale that is not finite.
    pub fn new(kind: Kind, outputs: usize, inputs: usize, bytes: &[u8]) -> Result<Self, QuantError> {
        let (block, size) = kind.block();
        if !inputs.is_multiple_of(block) {
            return Err(QuantError::Ragged { kind, block, inputs });
        }
        let row_bytes = inputs / block * size;
        let wanted = outputs.checked_mul(row_bytes).ok_or(QuantError::TooLarge { outputs, inputs })?;
        if bytes.len() != wanted {
            return Err(QuantError::Size { kind, outputs, inputs, wanted, got: bytes.len() });
        }
        let mut matrix = Self::zeros(format_of(kind), outputs, inputs)?;
        if row_bytes > 0 {
            for (output, row) in bytes.chunks_exact(row_bytes).enumerate() {
                matrix.set_row(kind, output, row)?;
            }
        }
        Ok(matrix)
    }

    /// Quantises numbers to 8 bits, a scale for every 32 inputs (`inputs` is filled up with zeros): for heads that are trained here.
    ///
    /// # Errors
    /// When a number is not finite, or `weights` is not `[outputs, inputs]`.
    pub fn quantize(weights: &[f32], outputs: usize, inputs: usize) -> Result<Self, QuantError> {
        Self::quantized(Format::Q8, weights, outputs, inputs, |numbers| {
            let largest = numbers.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
            let scale = f16_to_f32(f32_to_f16(largest / 127.0));
            let mut codes = [128_u8; BLOCK];
            if scale > 0.0 {
                for (code, x) in codes.iter_mut().zip(numbers) {
                    *code = ((x / scale).round_ties_even().clamp(-127.0, 127.0) as i32 + 128) as u8;
                }
            }
            Block { codes, scales: [scale; 2], min: 0.0 }
        })
    }

    /// Quantises numbers to 4 bits, a scale and a minimum for every 32 inputs: half the bytes of [`Matrix::quantize`], errors of up to a
    /// thirtieth of the range of 32 numbers.
    ///
    /// # Errors
    /// As for [`Matrix::quantize`].
    pub fn quantize_4(weights: &[f32], outputs: usize, inputs: usize) -> Result<Self, QuantError> {
        Self::quantized(Format::Q4Min, weights, outputs, inputs, |numbers| {
            let (low, high) = numbers
                .iter()
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| (low.min(*x), high.max(*x)));
            let min = f16_to_f32(f32_to_f16(low));
            let scale = f16_to_f32(f32_to_f16((high - min) / 15.0));
            let mut codes = [0_u8; BLOCK];
            if scale > 0.0 {
                for (code, x) in codes.iter_mut().zip(numbers) {
                    *code = ((x - min) / scale).round_ties_even().clamp(0.0, 15.0) as u8;
                }
            }
            Block { codes, scales: [scale; 2], min }
        })
    }

    fn quantized(
        format: Format,
        weights: &[f32],
        outputs: usize,
        inputs: usize,
        quantize: impl Fn(&[f32]) -> Block,
    ) -> Result<Self, QuantError> {
        if outputs.checked_mul(inputs) != Some(weights.len()) {
            return Err(QuantError::TooLarge { outputs, inputs });
        }
        let mut matrix = Self::zeros(format, outputs, inputs)?;
        for (output, row) in weights.chunks_exact(inputs.max(1)).enumerate() {
            for (b, numbers) in row.chunks(BLOCK).enumerate() {
                let block = quantize(numbers);
                let finite = block.scales[0].is_finite() && block.min.is_finite();
                if !finite || !numbers.iter().all(|x| x.is_finite()) {
                    return Err(QuantError::NotFinite { output });
                }
                matrix.set_block(output, b, &block);
            }
        }
        Ok(matrix)
    }

    /// All weights of a matrix that has room for `[outputs, inputs]`; zero wherever no output is.
    fn zeros(format: Format, outputs: usize, inputs: usize) -> Result<Self, QuantError> {
        let panel_bytes = match (format.layout(), format.float_bytes()) {
            (Some(layout), _) => layout.panel_bytes(inputs.div_ceil(BLOCK)),
            (None, bytes) => (inputs * LANES * bytes.unwrap_or(4)).next_multiple_of(64),
        };
        let lines = outputs
            .div_ceil(LANES)
            .checked_mul(panel_bytes / 64)
            .filter(|lines| lines.checked_mul(64).is_some_and(|bytes| isize::try_from(bytes).is_ok()))
            .ok_or(QuantError::TooLarge { outputs, inputs })?;
        Ok(Self { outputs, inputs, format, panel_bytes, lines: vec![Line([0; 64]); lines] })
    }

    fn set_row(&mut self, kind: Kind, output: usize, row: &[u8]) -> Result<(), QuantError> {
        if let Some(bytes) = self.format.float_bytes() {
            let finite = row.chunks_exact(bytes).enumerate().all(|(input, number)| {
                let at = self.number_at(output, input, bytes);
                self.bytes_mut()[at..at + bytes].copy_from_slice(number);
                float::number(self.format, number).is_finite()
            });
            return if finite { Ok(()) } else { Err(QuantError::NotFinite { output }) };
        }
        let mut finite = true;
        unpack::blocks(kind, row, |b, block| {
            finite &= block.scales.iter().all(|s| s.is_finite()) && block.min.is_finite();
            self.set_block(output, b, block);
        });
        if finite { Ok(()) } else { Err(QuantError::NotFinite { output }) }
    }

    /// Some of its rows, in this order.
    ///
    /// # Errors
    /// When a row is not there.
    pub fn select(&self, rows: &[u32]) -> Result<Self, QuantError> {
        let mut chosen = Self::zeros(self.format, rows.len(), self.inputs)?;
        for (to, row) in rows.iter().enumerate() {
            let from = *row as usize;
            if from >= self.outputs {
                return Err(QuantError::NoSuchRow { row: from, outputs: self.outputs });
            }
            if let Some(bytes) = self.format.float_bytes() {
                for input in 0..self.inputs {
                    let (source, target) =
                        (self.number_at(from, input, bytes), self.number_at(to, input, bytes));
                    chosen.bytes_mut()[target..target + bytes]
                        .copy_from_slice(&self.bytes()[source..source + bytes]);
                }
            } else {
                for b in 0..self.inputs.div_ceil(BLOCK) {
                    chosen.set_block(to, b, &self.block(from, b));
                }
            }
        }
        Ok(chosen)
    }

    /// Rows.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How its weights are stored.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Groups of sixteen outputs; the last one may have fewer.
    #[must_use]
    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Bytes of memory: what a product reads.
    #[must_use]
    pub fn size(&self) -> usize {
        self.lines.len() * 64
    }

    /// The weights of one output as numbers.
    ///
    /// # Panics
    /// When `output` is not there or `out` has not `inputs` places.
    pub fn read_row(&self, output: usize, out: &mut [f32]) {
        assert!(output < self.outputs && out.len() == self.inputs, "row {output} of {}", self.outputs);
        if let Some(bytes) = self.format.float_bytes() {
            for (input, x) in out.iter_mut().enumerate() {
                let at = self.number_at(output, input, bytes);
                *x = float::number(self.format, &self.bytes()[at..at + bytes]);
            }
            return;
        }
        let offset = self.format.layout().map_or(0, |l| l.offset);
        for (b, out) in out.chunks_mut(BLOCK).enumerate() {
            let block = self.block(output, b);
            for (i, x) in out.iter_mut().enumerate() {
                *x = block.scales[i / 16] * (i32::from(block.codes[i]) - offset) as f32 + block.min;
            }
        }
    }

    /// Sixteen outputs of `rows` rows from `first` on, at most [`TILE`].
    ///
    /// # Panics
    /// When the panel or the rows are not there, or have another width.
    pub fn tile(&self, panel: usize, x: &Rows, first: usize, rows: usize, out: &mut Tile) {
        assert!(
            x.inputs() == self.inputs && first + rows <= x.rows() && rows <= TILE,
            "rows of another shape"
        );
        let bytes = &self.bytes()[panel * self.panel_bytes..(panel + 1) * self.panel_bytes];
        match self.format.layout() {
            Some(_) => integer::tile(self.format, bytes, x.codes(first, rows), x.blocks(), rows, out),
            None => {
                let values = &x.values()[first * self.inputs..(first + rows) * self.inputs];
                float::tile(self.format, bytes, values, self.inputs, rows, out);
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: lines are bytes without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<u8>(), self.lines.len() * 64) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; every pattern of bits is a byte.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u8>(), self.lines.len() * 64) }
    }

    /// Where a number of a float format lies.
    fn number_at(&self, output: usize, input: usize, bytes: usize) -> usize {
        output / LANES * self.panel_bytes + (input * LANES + output % LANES) * bytes
    }

    /// Where the scales and the codes of a block of an output begin.
    fn places(&self, layout: Layout, output: usize, block: usize) -> (usize, usize) {
        let panel = output / LANES * self.panel_bytes;
        (panel + layout.scales_at(block), panel + layout.codes_at(block))
    }

    /// # Panics
    /// When the format is not an integer one.
    pub(crate) fn block(&self, output: usize, block: usize) -> Block {
        let Some(layout) = self.format.layout() else { unreachable!("only integer formats have blocks") };
        let (scales, codes) = self.places(layout, output, block);
        let (lane, bytes) = (output % LANES, self.bytes());
        let scale = |i: usize| {
            if layout.wide {
                let at = scales + (i * LANES + lane) * 4;
                f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
            } else {
                let at = scales + (i * LANES + lane) * 2;
                f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
            }
        };
        let code = |i: usize| {
            let (group, within) = (i / 4, lane * 4 + i % 4);
            if !layout.nibbles {
                return bytes[codes + group * 64 + within];
            }
            let byte = bytes[codes + group % 4 * 64 + within];
            if group < 4 { byte & 15 } else { byte >> 4 }
        };
        Block {
            codes: std::array::from_fn(code),
            scales: [scale(0), scale(usize::from(layout.halves))],
            min: if layout.mins { scale(1) } else { 0.0 },
        }
    }

    fn set_block(&mut self, output: usize, block: usize, from: &Block) {
        let Some(layout) = self.format.layout() else { unreachable!("only integer formats have blocks") };
        let (scales, codes) = self.places(layout, output, block);
        let lane = output % LANES;
        let bytes = self.bytes_mut();
        let second = if layout.mins { from.min } else { from.scales[1] };
        let kinds = if layout.mins || layout.halves { 2 } else { 1 };
        for (i, number) in [from.scales[0], second].iter().enumerate().take(kinds) {
            if layout.wide {
                let at = scales + (i * LANES + lane) * 4;
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            } else {
                let at = scales + (i * LANES + lane) * 2;
                bytes[at..at + 2].copy_from_slice(&f32_to_f16(*number).to_le_bytes());
            }
        }
        for (i, code) in from.codes.iter().enumerate() {
            let (group, within) = (i / 4, lane * 4 + i % 4);
            if layout.nibbles {
                let byte = &mut bytes[codes + group % 4 * 64 + within];
                *byte = if group < 4 { *byte & 0xf0 | code } else { *byte & 0x0f | code << 4 };
            } else {
                bytes[codes + group * 64 + within] = *code;
            }
        }
    }
}

/// The format that weights of a file are kept in.
fn format_of(kind: Kind) -> Format {
    match kind {
        Kind::F32 => Format::F32,
        Kind::F16 => Format::F16,
        Kind::Bf16 => Format::Bf16,
        Kind::Q4_0 => Format::Q4,
        Kind::Q4_1 => Format::Q4Min,
        Kind::Q4K => Format::Q4MinWide,
        Kind::Q6K => Format::Q6Wide,
        Kind::Q8_0 => Format::Q8,
    }
}

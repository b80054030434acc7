//! Blocks of a file's tensors, taken apart into codes and scales (the formats: [`crate::gguf::dequantize`]).

use super::BLOCK;
use crate::gguf::half::f16_to_f32;
use crate::gguf::{Kind, q4_k_scales};

/// 32 inputs of one output.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Unsigned codes.
    pub(crate) codes: [u8; BLOCK],
    /// The scale, and that of the second half of the inputs where it has its own.
    pub(crate) scales: [f32; 2],
    pub(crate) min: f32,
}

impl Block {
    fn new(scale: f32, min: f32, codes: [u8; BLOCK]) -> Self {
        Self { codes, scales: [scale; 2], min }
    }
}

/// Calls `take(block, contents)` for every 32 numbers of a row; floats have no blocks.
pub(super) fn blocks(kind: Kind, row: &[u8], mut take: impl FnMut(usize, &Block)) {
    for (i, bytes) in row.chunks_exact(kind.block().1).enumerate() {
        match kind {
            Kind::Q4_0 => take(i, &Block::new(half(bytes, 0), 0.0, nibbles(&bytes[2..]))),
            Kind::Q4_1 => take(i, &Block::new(half(bytes, 0), half(bytes, 2), nibbles(&bytes[4..]))),
            Kind::Q8_0 => {
                // Signed codes from -128 on become unsigned ones around 128.
                let codes = std::array::from_fn(|j| bytes[2 + j] ^ 0x80);
                take(i, &Block::new(half(bytes, 0), 0.0, codes));
            }
            Kind::Q4K => (0..8).for_each(|group| take(8 * i + group, &q4_k(bytes, group))),
            Kind::Q6K => (0..8).for_each(|group| take(8 * i + group, &q6_k(bytes, group))),
            Kind::F32 | Kind::F16 | Kind::Bf16 => {}
        }
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Elements 0 to 15 in the low halves, 16 to 31 in the high ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|j| if j < 16 { bytes[j] & 15 } else { bytes[j - 16] >> 4 })
}

fn q4_k(bytes: &[u8], group: usize) -> Block {
    let (packed, quants) = (&bytes[4..16], &bytes[16..]);
    let (scale, min) = q4_k_scales(packed, group);
    let (from, shift) = (group / 2 * 32, group % 2 * 4);
    let codes = std::array::from_fn(|j| quants[from + j] >> shift & 15);
    Block::new(half(bytes, 0) * f32::from(scale), -(half(bytes, 2) * f32::from(min)), codes)
}

fn q6_k(bytes: &[u8], group: usize) -> Block {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let (part, d) = (group % 4, half(bytes, 208));
    let (low, high) = (&low[64 * (group / 4) + 32 * (part % 2)..], &high[32 * (group / 4)..]);
    let codes = std::array::from_fn(|j| low[j] >> (part / 2 * 4) & 15 | (high[j] >> (2 * part) & 3) << 4);
    let scale = |half: usize| d * f32::from(scales[2 * group + half] as i8);
    Block { codes, scales: [scale(0), scale(1)], min: 0.0 }
}

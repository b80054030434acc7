//! Products of a panel of floating-point weights with rows of floats.

use ream_nn::simd::{fma, vectorised};

use super::{Format, LANES, TILE, Tile};
use crate::gguf::half::{bf16_to_f32, f16_to_f32};

/// Rows that one pass over a panel serves.
const ROWS: usize = 4;

/// A stored number.
pub(super) fn number(format: Format, bytes: &[u8]) -> f32 {
    match (format, bytes) {
        (Format::F16, [a, b]) => f16_to_f32(u16::from_le_bytes([*a, *b])),
        (Format::Bf16, [a, b]) => bf16_to_f32(u16::from_le_bytes([*a, *b])),
        (_, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
        _ => f32::NAN,
    }
}

/// Sixteen outputs of `rows` rows of `x` (`[rows, inputs]`); every output is a sum over the inputs in order.
pub(super) fn tile(format: Format, panel: &[u8], x: &[f32], inputs: usize, rows: usize, out: &mut Tile) {
    for first in (0..rows.min(TILE)).step_by(ROWS) {
        let count = ROWS.min(rows - first);
        let row = |r: usize| &x[(first + r) * inputs..(first + r + 1) * inputs];
        // One row alone is the case of decoding; others are filled up with copies of the last.
        if count == 1 {
            let out = &mut out[first];
            match format {
                Format::F16 => single_f16(panel, row(0), out),
                Format::Bf16 => single_bf16(panel, row(0), out),
                _ => single_f32(panel, row(0), out),
            }
            continue;
        }
        let rows: [&[f32]; ROWS] = std::array::from_fn(|r| row(r.min(count - 1)));
        let mut sums = [[0.0; LANES]; ROWS];
        match format {
            Format::F16 => several_f16(panel, rows, &mut sums),
            Format::Bf16 => several_bf16(panel, rows, &mut sums),
            _ => several_f32(panel, rows, &mut sums),
        }
        out[first..first + count].copy_from_slice(&sums[..count]);
    }
}

/// A finite half-precision number: exponent and fraction move into place, the bias is multiplied in.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(size.to_bits() | (bits & 0x8000) << 16)
}

#[inline(always)]
fn brain(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

macro_rules! kernels {
    ($single:ident, $several:ident, $bytes:literal, $decode:path) => {
        vectorised! {
            fn $single(panel: &[u8], x: &[f32], out: &mut [f32; LANES]) {
                let (weights, _) = panel.as_chunks::<{ $bytes * LANES }>();
                let mut sums = [0.0_f32; LANES];
                for (weights, x) in weights.iter().zip(x) {
                    let (weights, _) = weights.as_chunks::<$bytes>();
                    for lane in 0..LANES {
                        sums[lane] = fma::<FMA>($decode(weights[lane]), *x, sums[lane]);
                    }
                }
                *out = sums;
            }
        }
        vectorised! {
            fn $several(panel: &[u8], x: [&[f32]; ROWS], out: &mut [[f32; LANES]; ROWS]) {
                let (weights, _) = panel.as_chunks::<{ $bytes * LANES }>();
                let n = x[0].len();
                let x = x.map(|x| &x[..n]);
                let mut sums = [[0.0_f32; LANES]; ROWS];
                for (i, weights) in weights.iter().enumerate().take(n) {
                    let (weights, _) = weights.as_chunks::<$bytes>();
                    let mut step = [0.0_f32; LANES];
                    for lane in 0..LANES {
                        step[lane] = $decode(weights[lane]);
                    }
                    for row in 0..ROWS {
                        for lane in 0..LANES {
                            sums[row][lane] = fma::<FMA>(step[lane], x[row][i], sums[row][lane]);
                        }
                    }
                }
                *out = sums;
            }
        }
    };
}

kernels!(single_f16, several_f16, 2, half);
kernels!(single_bf16, several_bf16, 2, brain);
kernels!(single_f32, several_f32, 4, f32::from_le_bytes);

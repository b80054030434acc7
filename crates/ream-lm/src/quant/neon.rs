//! Integer kernels for NEON.

use std::arch::aarch64::*;

use super::format::{Constants, constants};
use super::integer::Panel;
use super::rows::Codes;
use super::{BLOCK, Format, LANES, Tile};
use crate::gguf::half::f16_to_f32;

/// Outputs of one register.
const QUARTER: usize = LANES / 4;

/// The kernel of a format; every machine of this architecture has NEON.
pub(super) fn kernel(format: Format) -> fn(Panel<'_>, Codes<'_>, usize, &mut Tile) {
    match format {
        Format::Q4 => tile::<constants::Q4>,
        Format::Q4Min => tile::<constants::Q4Min>,
        Format::Q4MinWide => tile::<constants::Q4MinWide>,
        Format::Q6Wide => tile::<constants::Q6Wide>,
        Format::Q8 | Format::F16 | Format::Bf16 | Format::F32 => tile::<constants::Q8>,
    }
}

fn tile<F: Constants>(panel: Panel<'_>, x: Codes<'_>, rows: usize, out: &mut Tile) {
    for (row, out) in out.iter_mut().enumerate().take(rows) {
        for quarter in 0..4 {
            // SAFETY: every machine of this architecture has NEON; lengths were checked by the caller.
            unsafe { pass::<F>(panel, x, row, quarter, out) };
        }
    }
}

/// Scale, and minimum or second scale, of four outputs of a block.
fn scales<F: Constants>(bytes: &[u8], quarter: usize) -> [[f32; QUARTER]; 2] {
    let mut out = [[0.0; QUARTER]; 2];
    let kinds = if F::LAYOUT.mins || F::LAYOUT.halves { 2 } else { 1 };
    for (i, out) in out.iter_mut().enumerate().take(kinds) {
        for (lane, out) in out.iter_mut().enumerate() {
            let index = i * LANES + quarter * QUARTER + lane;
            *out = if F::LAYOUT.wide {
                let b = &bytes[4 * index..4 * index + 4];
                f32::from_le_bytes([b[0], b[1], b[2], b[3]])
            } else {
                f16_to_f32(u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]))
            };
        }
    }
    out
}

/// Four outputs of a row.
///
/// # Safety
/// Panel and rows have the lengths that their fields promise.
#[target_feature(enable = "neon")]
unsafe fn pass<F: Constants>(
    panel: Panel<'_>,
    x: Codes<'_>,
    row: usize,
    quarter: usize,
    out: &mut [f32; LANES],
) {
    let (layout, blocks) = (F::LAYOUT, panel.blocks);
    let mut sum = vdupq_n_f32(0.0);
    for block in 0..blocks {
        let at = row * blocks + block;
        let [d, second] = scales::<F>(&panel.bytes[layout.scales_at(block)..], quarter);
        // SAFETY: arrays of four numbers.
        let (d, second) = unsafe { (vld1q_f32(d.as_ptr()), vld1q_f32(second.as_ptr())) };
        let mut dots = [x.halves[2 * at], x.halves[2 * at + 1]].map(|sum| vdupq_n_s32(-layout.offset * sum));
        for g in 0..8 {
            let line = if layout.nibbles { g % 4 } else { g };
            let codes = &panel.bytes[layout.codes_at(block) + line * 64 + quarter * 16..][..16];
            // SAFETY: sixteen bytes, as sliced.
            let codes = unsafe { vld1q_u8(codes.as_ptr()) };
            let codes = match (layout.nibbles, g < 4) {
                (false, _) => codes,
                (true, true) => vandq_u8(codes, vdupq_n_u8(15)),
                (true, false) => vshrq_n_u8::<4>(codes),
            };
            let four = &x.codes[at * BLOCK + 4 * g..][..4];
            let four = i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]);
            // Unsigned codes up to 255 times signed ones: 16 bits each, added in pairs to 32.
            let x = vmovl_s8(vget_low_s8(vreinterpretq_s8_s32(vdupq_n_s32(four))));
            let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
            let high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
            let products = |codes: int16x8_t| {
                let a = vmull_s16(vget_low_s16(codes), vget_low_s16(x));
                let b = vmull_s16(vget_high_s16(codes), vget_high_s16(x));
                vpaddq_s32(a, b)
            };
            dots[g / 4] = vaddq_s32(dots[g / 4], vpaddq_s32(products(low), products(high)));
        }
        let scale = vdupq_n_f32(x.scales[at]);
        if layout.halves {
            sum = vfmaq_f32(sum, vcvtq_f32_s32(dots[0]), vmulq_f32(d, scale));
            sum = vfmaq_f32(sum, vcvtq_f32_s32(dots[1]), vmulq_f32(second, scale));
        } else {
            sum = vfmaq_f32(sum, vcvtq_f32_s32(vaddq_s32(dots[0], dots[1])), vmulq_f32(d, scale));
        }
        if layout.mins {
            sum = vfmaq_f32(sum, second, vdupq_n_f32(x.sums[at]));
        }
    }
    // SAFETY: four of the sixteen outputs.
    unsafe { vst1q_f32(out.as_mut_ptr().add(quarter * QUARTER), sum) };
}

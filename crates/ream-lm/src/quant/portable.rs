//! The integer kernel in plain loops: for machines without one of their own, and for tests.

use super::format::Constants;
use super::integer::Panel;
use super::rows::Codes;
use super::{BLOCK, LANES, Tile};
use crate::gguf::half::f16_to_f32;

/// A panel's scales of a block: the scale, and the minimum or the second half's scale.
fn scales<F: Constants>(panel: Panel<'_>, block: usize) -> [[f32; LANES]; 2] {
    let layout = F::LAYOUT;
    let bytes = &panel.bytes[layout.scales_at(block)..][..layout.scale_bytes()];
    let mut out = [[0.0; LANES]; 2];
    for (i, out) in
        out.as_flattened_mut().iter_mut().enumerate().take(bytes.len() / if layout.wide { 4 } else { 2 })
    {
        *out = if layout.wide {
            f32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
        } else {
            f16_to_f32(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
        };
    }
    out
}

/// Integer sums of sixteen outputs over the halves of a block.
fn dots<F: Constants>(codes: &[u8], x: &[i8]) -> [[i32; LANES]; 2] {
    let mut out = [[0_i32; LANES]; 2];
    for group in 0..BLOCK / 4 {
        let (line, high) = if F::LAYOUT.nibbles { (group % 4, group >= 4) } else { (group, false) };
        let line = &codes[line * 64..line * 64 + 64];
        for (lane, sum) in out[group / 4].iter_mut().enumerate() {
            for i in 0..4 {
                let byte = line[lane * 4 + i];
                let code = match (F::LAYOUT.nibbles, high) {
                    (false, _) => byte,
                    (true, false) => byte & 15,
                    (true, true) => byte >> 4,
                };
                *sum += i32::from(code) * i32::from(x[group * 4 + i]);
            }
        }
    }
    out
}

pub(super) fn tile<F: Constants>(panel: Panel<'_>, x: Codes<'_>, rows: usize, out: &mut Tile) {
    let (layout, blocks) = (F::LAYOUT, panel.blocks);
    for (row, out) in out.iter_mut().enumerate().take(rows) {
        out.fill(0.0);
        for block in 0..blocks {
            let at = row * blocks + block;
            let scales = scales::<F>(panel, block);
            let codes = &panel.bytes[layout.codes_at(block)..];
            let [first, second] = dots::<F>(codes, &x.codes[at * BLOCK..(at + 1) * BLOCK]);
            let [a, b] = [x.halves[2 * at], x.halves[2 * at + 1]].map(|sum| sum * layout.offset);
            for lane in 0..LANES {
                if layout.halves {
                    out[lane] += (first[lane] - a) as f32 * (scales[0][lane] * x.scales[at]);
                    out[lane] += (second[lane] - b) as f32 * (scales[1][lane] * x.scales[at]);
                } else {
                    let sum = first[lane] + second[lane] - a - b;
                    out[lane] += sum as f32 * (scales[0][lane] * x.scales[at]);
                }
                if layout.mins {
                    out[lane] += scales[1][lane] * x.sums[at];
                }
            }
        }
    }
}

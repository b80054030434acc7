//! Stored blocks as f32, portable and exact: every number is formed by the format's own formula in single precision, one rounding for each
//! operation written, so that other readers which follow the definition get the same bits.

use super::half::{bf16_to_f32, f16_to_f32};
use super::{Error, Kind};

/// Writes the numbers that blocks of a type stand for. `q` are stored integers, `d`, `m` scales in half precision:
///
/// | type | block | number |
/// |---|---|---|
/// | Q4_0 | `d`, 16 bytes | `d (q - 8)`; byte j holds q of element j (low four bits) and of element j + 16 |
/// | Q4_1 | `d`, `m`, 16 bytes | `d q + m`; the same order |
/// | Q8_0 | `d`, 32 signed bytes | `d q` |
/// | Q4_K | `d`, `m`, 12 bytes of scales, 128 bytes | `(d s) q - (m t)`, s and t for every 32; byte 32 g + j: elements 64 g + j, 64 g + 32 + j |
/// | Q6_K | 128 bytes low, 64 bytes high, 16 signed bytes of scales, `d` | `(d s) (q - 32)`, s for every 16 |
///
/// # Errors
/// The bytes are not those of `out.len()` numbers.
pub fn dequantize(kind: Kind, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    if kind.bytes(out.len()) != Some(bytes.len()) {
        return Err(Error::Length { kind, bytes: bytes.len(), elements: out.len() });
    }
    match kind {
        Kind::F32 => each::<4, 1>(bytes, out, |block, out| out[0] = f32::from_le_bytes(*block)),
        Kind::F16 => each::<2, 1>(bytes, out, |block, out| out[0] = f16_to_f32(u16::from_le_bytes(*block))),
        Kind::Bf16 => each::<2, 1>(bytes, out, |block, out| out[0] = bf16_to_f32(u16::from_le_bytes(*block))),
        Kind::Q4_0 => each::<18, 32>(bytes, out, q4_0),
        Kind::Q4_1 => each::<20, 32>(bytes, out, q4_1),
        Kind::Q8_0 => each::<34, 32>(bytes, out, q8_0),
        Kind::Q4K => each::<144, 256>(bytes, out, q4_k),
        Kind::Q6K => each::<210, 256>(bytes, out, q6_k),
    }
    Ok(())
}

fn each<const BYTES: usize, const NUMBERS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; NUMBERS]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (numbers, _) = out.as_chunks_mut::<NUMBERS>();
    for (block, numbers) in blocks.iter().zip(numbers) {
        decode(block, numbers);
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let (low, high) = out.split_at_mut(16);
    for ((q, low), high) in block[2..].iter().zip(low).zip(high) {
        *low = f32::from((q & 15) as i8 - 8) * d;
        *high = f32::from((q >> 4) as i8 - 8) * d;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (low, high) = out.split_at_mut(16);
    for ((q, low), high) in block[4..].iter().zip(low).zip(high) {
        *low = f32::from(q & 15) * d + m;
        *high = f32::from(q >> 4) * d + m;
    }
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (q, out) in block[2..].iter().zip(out) {
        *out = f32::from(*q as i8) * d;
    }
}

/// Scale and minimum of a group of 32 in Q4_K: eight pairs of 6 bits in 12 bytes. Bytes 0 to 3 hold the low six bits of scales 0 to 3, bytes
/// 4 to 7 of minima 0 to 3, bytes 8 to 11 the low four bits of scales and minima 4 to 7, whose upper two bits are those left over in 0 to 7.
pub(crate) fn q4_k_scales(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = (&block[4..16], &block[16..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = q4_k_scales(packed, group);
        let (scale, minimum) = (d * f32::from(scale), m * f32::from(minimum));
        let (bytes, shift) = (&quants[group / 2 * 32..][..32], group % 2 * 4);
        for (q, out) in bytes.iter().zip(out) {
            *out = scale * f32::from(q >> shift & 15) - minimum;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        // Four groups of 32 make a half block; of its 64 low bytes groups 0 and 1 take the low four bits, 2 and 3 the high ones, and each
        // takes two bits of the same 32 high bytes.
        let (half, part) = (group / 4, group % 4);
        let low = &low[64 * half + 32 * (part % 2)..][..32];
        let high = &high[32 * half..][..32];
        for (i, out) in out.iter_mut().enumerate() {
            let q = low[i] >> (part / 2 * 4) & 15 | (high[i] >> (2 * part) & 3) << 4;
            let scale = d * f32::from(scales[2 * group + i / 16] as i8);
            *out = scale * f32::from(q as i8 - 32);
        }
    }
}

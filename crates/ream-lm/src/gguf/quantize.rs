//! Numbers as stored blocks.

use super::half::{f16_to_f32, f32_to_bf16, f32_to_f16};
use super::{Error, Kind};

/// Stores numbers in blocks of a type, by the simple rules that ggml calls its reference: for Q8_0 the scale is the largest size / 127, for Q4_0
/// the number of largest size / -8, for Q4_1 (largest - smallest) / 15 over the smallest; quotients are taken by the scale before it is
/// rounded to half precision, and rounded to the nearest.
///
/// # Errors
/// The numbers do not fill blocks; one is not finite or too large for the type; the type is Q4_K or Q6_K, which are read only.
pub fn quantize(kind: Kind, numbers: &[f32]) -> Result<Vec<u8>, Error> {
    let Some(bytes) = kind.bytes(numbers.len()) else {
        return Err(Error::Length { kind, bytes: 0, elements: numbers.len() });
    };
    if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
        return Err(Error::Number { kind, at, number: numbers[at] });
    }
    let mut out = Vec::with_capacity(bytes);
    for (i, block) in numbers.chunks_exact(kind.block().0).enumerate() {
        let fits = match kind {
            Kind::F32 => {
                out.extend(block[0].to_le_bytes());
                true
            }
            Kind::F16 => push_half(&mut out, block[0]),
            Kind::Bf16 => {
                let bits = f32_to_bf16(block[0]);
                out.extend(bits.to_le_bytes());
                bits & 0x7f80 != 0x7f80
            }
            Kind::Q4_0 => q4_0(block, &mut out),
            Kind::Q4_1 => q4_1(block, &mut out),
            Kind::Q8_0 => q8_0(block, &mut out),
            Kind::Q4K | Kind::Q6K => return Err(Error::ReadOnly { kind }),
        };
        if !fits {
            let at = i * block.len() + largest(block);
            return Err(Error::Number { kind, at, number: numbers[at] });
        }
    }
    Ok(out)
}

/// Where the number of largest size is; of several the first.
fn largest(block: &[f32]) -> usize {
    (1..block.len()).fold(0, |best, i| if block[i].abs() > block[best].abs() { i } else { best })
}

/// Whether it is finite in half precision.
fn push_half(out: &mut Vec<u8>, x: f32) -> bool {
    let bits = f32_to_f16(x);
    out.extend(bits.to_le_bytes());
    f16_to_f32(bits).is_finite()
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Two numbers of four bits a byte: element j low, element j + 16 high.
fn push_nibbles(out: &mut Vec<u8>, block: &[f32], quantum: impl Fn(f32) -> f32) {
    // A cast of a float cuts and saturates.
    let four_bits = |x: f32| (quantum(x) as u8).min(15);
    let (low, high) = block.split_at(16);
    out.extend(low.iter().zip(high).map(|(low, high)| four_bits(*low) | four_bits(*high) << 4));
}

fn q4_0(block: &[f32], out: &mut Vec<u8>) -> bool {
    let d = block[largest(block)] / -8.0;
    let inverse = inverse(d);
    let fits = push_half(out, d);
    push_nibbles(out, block, |x| x * inverse + 8.5);
    fits
}

fn q4_1(block: &[f32], out: &mut Vec<u8>) -> bool {
    let least = block.iter().copied().fold(f32::INFINITY, f32::min);
    let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (most - least) / 15.0;
    let inverse = inverse(d);
    let fits = push_half(out, d) & push_half(out, least);
    push_nibbles(out, block, |x| (x - least) * inverse + 0.5);
    fits
}

fn q8_0(block: &[f32], out: &mut Vec<u8>) -> bool {
    let d = block[largest(block)].abs() / 127.0;
    let inverse = inverse(d);
    let fits = push_half(out, d);
    out.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
    fits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dequantize;
    use super::*;

    fn round_trip(kind: Kind, numbers: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; numbers.len()];
        dequantize(kind, &quantize(kind, numbers).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn numbers_on_the_grid_come_back_exactly() {
        let grid = |n: i16, d: f32, m: f32| (0..32).map(|i| f32::from(i % n) * d + m).collect::<Vec<f32>>();
        // Scales that are halves, and blocks that hold both ends of the grid.
        let mut wide: Vec<f32> = (0..32).map(|i| 0.25 * f32::from(i * 8_i16 - 127)).collect();
        wide[31] = 0.25 * 127.0;
        for (kind, numbers) in
            [(Kind::Q4_1, grid(16, 0.5, -3.0)), (Kind::Q4_0, grid(16, 0.5, -4.0)), (Kind::Q8_0, wide.clone())]
        {
            assert_eq!(round_trip(kind, &numbers), numbers, "{kind}");
            assert_eq!(round_trip(kind, &[0.0; 64]), [0.0; 64], "{kind}");
        }
        for kind in [Kind::F32, Kind::F16, Kind::Bf16] {
            assert_eq!(round_trip(kind, &wide[..17]), &wide[..17], "{kind}");
        }
    }

    #[test]
    fn the_order_of_nibbles_is_that_of_the_format() {
        let mut numbers = [0.0; 32];
        (numbers[1], numbers[17]) = (1.0, 15.0);
        let bytes = quantize(Kind::Q4_1, &numbers).unwrap();
        assert_eq!(
            bytes[..6],
            [0x00, 0x3c, 0, 0, 0x00, 0xf1],
            "d = 1, m = 0, byte 1 holds elements 1 and 17"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let wrong = |kind, numbers: &[f32]| quantize(kind, numbers).unwrap_err().to_string();
        assert!(wrong(Kind::Q4_1, &[0.0; 31]).contains("31 elements"));
        assert_eq!(
            wrong(Kind::F32, &[0.0, f32::NAN]),
            "F32: element 1 is NaN, wanted a finite number that fits the type"
        );
        assert!(wrong(Kind::F16, &[1.0, -70_000.0]).contains("element 1 is -70000"));
        assert!(wrong(Kind::Bf16, &[f32::MAX]).contains("element 0"));
        let mut large = [1.0; 64];
        large[40] = -1e8;
        for kind in [Kind::Q8_0, Kind::Q4_0, Kind::Q4_1] {
            assert!(wrong(kind, &large).contains("element 40 is -1"), "{kind}");
        }
        assert!(wrong(Kind::Q4K, &[0.0; 256]).contains("Q4_K"));
    }

    proptest! {
        #[test]
        fn errors_stay_within_half_a_step(numbers in prop::collection::vec(-100.0_f32..100.0, 64)) {
            for block in numbers.chunks_exact(32) {
                let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let range = block.iter().copied().fold(f32::MIN, f32::max) - block.iter().copied().fold(f32::MAX, f32::min);
                // Of Q4_0's grid one end is missing: a number of the other sign may be a whole step away. Scales of half precision are off by
                // up to 2^-11, times up to 127 steps.
                for (kind, step) in [(Kind::Q8_0, largest / 254.0), (Kind::Q4_0, largest / 8.0), (Kind::Q4_1, range / 30.0)] {
                    for (x, y) in block.iter().zip(round_trip(kind, block)) {
                        prop_assert!((x - y).abs() <= step * 1.001 + largest / 900.0, "{kind}: {x} became {y}, step {step}");
                    }
                }
            }
        }
    }
}

//! Half precision.

/// An IEEE half-precision number, exactly.
#[must_use]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x3ff);
    match (exponent, fraction) {
        // Subnormal: fraction * 2^-24, which is a normal number in single precision.
        (0, _) => {
            let size = fraction as f32 * f32::from_bits(0x3380_0000);
            f32::from_bits(size.to_bits() | sign)
        }
        (0x1f, _) => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The nearest IEEE half-precision number, of two the even one; infinite past 65520; not a number stays that.
#[must_use]
pub fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let size = bits & 0x7fff_ffff;
    if size > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // 65520 lies in the middle between the largest number and what would follow.
    if size >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if size >= 0x3880_0000 {
        // Normal: the exponent's bias falls from 127 to 15, 13 bits are rounded away; a carry runs into the exponent as it should.
        let rounded = size + 0xfff + (size >> 13 & 1);
        return sign | ((rounded - (112 << 23)) >> 13) as u16;
    }
    // Subnormal: adding 0.5 puts 2^-24 at the last bit of the fraction, so that the addition rounds.
    let shifted = f32::from_bits(size) + 0.5;
    sign | (shifted.to_bits() - 0x3f00_0000) as u16
}

/// A bfloat16 number, exactly.
#[must_use]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bfloat16 number, of two the even one; not a number stays that.
#[must_use]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition of the format, in double precision.
    fn defined(bits: u16) -> f64 {
        let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
        let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        match exponent {
            0 => sign * fraction * 2_f64.powi(-24),
            31 if fraction == 0.0 => sign * f64::INFINITY,
            31 => f64::NAN,
            _ => sign * (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
        }
    }

    #[test]
    fn every_half_is_what_the_format_defines_and_comes_back() {
        for bits in 0..=u16::MAX {
            let (got, want) = (f64::from(f16_to_f32(bits)), defined(bits));
            if want.is_nan() {
                assert!(got.is_nan() && f16_to_f32(f32_to_f16(f16_to_f32(bits))).is_nan());
                continue;
            }
            assert_eq!(got.to_bits(), want.to_bits(), "{bits:#x}");
            assert_eq!(f32_to_f16(f16_to_f32(bits)), bits);
        }
    }

    #[test]
    fn halves_are_rounded_to_the_nearest_and_to_even() {
        for bits in 0..0x7bff_u16 {
            let (low, high) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            // The middle of two halves is a single-precision number.
            let middle = (low + high) / 2.0;
            assert_eq!(f32_to_f16(middle), bits + (bits & 1), "{bits:#x}");
            assert_eq!(f32_to_f16(middle.next_down()), bits);
            assert_eq!(f32_to_f16(-middle.next_up()), (bits + 1) | 0x8000);
        }
        assert_eq!(f32_to_f16(65519.996), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(f32::NEG_INFINITY), 0xfc00);
        assert_eq!(f32_to_f16(f32::MIN_POSITIVE / 2.0), 0);
    }

    #[test]
    fn bfloats_are_rounded_to_the_nearest_and_to_even() {
        for bits in (0..0x7f80_u16).chain(0x8000..0xff80) {
            assert_eq!(f32_to_bf16(bf16_to_f32(bits)), bits);
            let middle = f32::from_bits(u32::from(bits) << 16 | 0x8000);
            assert_eq!(f32_to_bf16(middle), bits + (bits & 1));
            assert_eq!(f32_to_bf16(f32::from_bits(middle.to_bits() - 1)), bits);
            assert_eq!(f32_to_bf16(f32::from_bits(middle.to_bits() + 1)), bits + 1);
        }
        assert_eq!(f32_to_bf16(f32::INFINITY), 0x7f80);
        assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    }
}

//! Many standard normal numbers at once: those of [`crate::Rng::normal`] to the bit, eight pairs side by side.
//!
//! Logarithm, sine and cosine are those of FreeBSD's mathematical library (Sun Microsystems, 1993), which the `libm` crate follows: the
//! same polynomials in the same order of operations, with choices in place of branches.

#![allow(clippy::excessive_precision, reason = "constants as their source states them")]

use crate::philox;
use ream_simd::vectorised;

/// Pairs that are made side by side.
const LANES: usize = 8;
type Lanes = [f64; LANES];

/// `ln 2` as a number of few bits and what is missing.
const LN2: [f64; 2] = [6.931_471_803_691_238_165e-1, 1.908_214_929_270_587_700_02e-10];
/// Of `(log(1 + s) - log(1 - s) - 2 s) / s`, by powers of `s^2`.
const LOG: [f64; 7] = [
    6.666_666_666_666_735_13e-1,
    3.999_999_999_940_941_908e-1,
    2.857_142_874_366_239_149e-1,
    2.222_219_843_214_978_396e-1,
    1.818_357_216_161_805_012e-1,
    1.531_383_769_920_937_332e-1,
    1.479_819_860_511_658_591e-1,
];
/// Of `(sin x - x) / x^3`, by powers of `x^2`.
const SIN: [f64; 6] = [
    -1.666_666_666_666_663_243_48e-1,
    8.333_333_333_322_489_461_24e-3,
    -1.984_126_982_985_794_931_34e-4,
    2.755_731_370_707_006_767_89e-6,
    -2.505_076_025_340_686_341_95e-8,
    1.589_690_995_211_550_102_21e-10,
];
/// Of `(cos x - 1 + x^2 / 2) / x^4`, by powers of `x^2`.
const COS: [f64; 6] = [
    4.166_666_666_666_660_190_37e-2,
    -1.388_888_888_887_410_957_49e-3,
    2.480_158_728_947_672_941_78e-5,
    -2.755_731_435_139_066_330_35e-7,
    2.087_572_321_298_174_827_9e-9,
    -1.135_964_755_778_819_482_65e-11,
];
/// `pi / 2` as a number of 33 bits and what is missing.
const HALF_PI: [f64; 2] = [1.570_796_326_734_125_614_17, 6.077_100_506_506_192_249_32e-11];

/// `ln x` for `x` in `(0, 1]` that is no subnormal number.
#[inline(always)]
fn log(x: f64) -> f64 {
    // x = 2^k (1 + f) with 1 + f between the roots of 1/2 and of 2.
    const ROOT: u64 = 0x3fe6_a09e << 32;
    let bits = x.to_bits() + ((0x3ff0_0000 << 32) - ROOT);
    let k = (bits >> 52) as i64 as f64 - 1023.0;
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + ROOT) - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (LOG[1] + w * (LOG[3] + w * LOG[5]));
    let odd = z * (LOG[0] + w * (LOG[2] + w * (LOG[4] + w * LOG[6])));
    s * (half_square + (odd + even)) + k * LN2[1] - half_square + f + k * LN2[0]
}

/// Sine and cosine of `x` in `[0, 2 pi]`; wrong where [`near_a_multiple`].
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    let high = x.to_bits() >> 32;
    // How many times pi / 2 is taken off.
    let turns = u64::from(high > 0x3fe9_21fb)
        + u64::from(high > 0x4002_d97c)
        + u64::from(high > 0x400f_6a7a)
        + u64::from(high > 0x4015_fdbc);
    let n = turns as i64 as f64;
    let z = x - n * HALF_PI[0];
    let y = z - n * HALF_PI[1];
    let rest = (z - y) - n * HALF_PI[1];

    let z = y * y;
    let w = z * z;
    let r = SIN[1] + z * (SIN[2] + z * SIN[3]) + z * w * (SIN[4] + z * SIN[5]);
    let v = z * y;
    let plain = y + v * (SIN[0] + z * r);
    let reduced = y - ((z * (0.5 * rest - v * r) - rest) - v * SIN[0]);
    let sin = if turns == 0 { plain } else { reduced };

    let r = z * (COS[0] + z * (COS[1] + z * COS[2])) + w * w * (COS[3] + z * (COS[4] + z * COS[5]));
    let half = 0.5 * z;
    let near_one = 1.0 - half;
    let cos = near_one + (((1.0 - near_one) - half) + (z * r - y * rest));

    let odd = turns % 2 == 1;
    let (a, b) = if odd { (cos, sin) } else { (sin, cos) };
    let (sin, cos) = (if turns / 2 == 1 { -a } else { a }, if turns == 1 || turns == 2 { -b } else { b });
    (sin, cos)
}

/// Whether so much cancels when a multiple of `pi / 2` is taken off that more digits of it are needed.
#[inline(always)]
fn near_a_multiple(x: f64) -> bool {
    let high = x.to_bits() >> 32;
    high == 0x3ff9_21fb || high == 0x4009_21fb || high == 0x4012_d97c || high == 0x4019_21fb
}

/// Uniform on `[0, 1)` from two words.
#[inline(always)]
fn uniform(low: u32, high: u32) -> f64 {
    ((u64::from(low) | u64::from(high) << 32) >> 11) as i64 as f64 * (1.0 / (1_u64 << 53) as f64)
}

vectorised! {
    /// Fills `out`, a multiple of 16 numbers, with pairs from the blocks `first..`.
    pub(crate) fn pairs(key: [u32; 2], step: u64, first: u64, out: &mut [f64]) {
        let _ = FMA;
        for (group, out) in out.chunks_exact_mut(2 * LANES).enumerate() {
            let (mut radius, mut angle) = ([0.0; LANES], [0.0; LANES]);
            let first = first + (group * LANES) as u64;
            for k in 0..LANES {
                let block = first + k as u64;
                let words = philox(key, [block as u32, (block >> 32) as u32, step as u32, (step >> 32) as u32]);
                radius[k] = 1.0 - uniform(words[0], words[1]);
                angle[k] = core::f64::consts::TAU * uniform(words[2], words[3]);
            }
            radius.iter_mut().for_each(|r| *r = (-2.0 * log(*r)).sqrt());
            let (mut sin, mut cos): (Lanes, Lanes) = ([0.0; LANES], [0.0; LANES]);
            for k in 0..LANES {
                (sin[k], cos[k]) = sin_cos(angle[k]);
            }
            if angle.iter().fold(false, |any, x| any | near_a_multiple(*x)) {
                for k in 0..LANES {
                    (sin[k], cos[k]) = libm::sincos(angle[k]);
                }
            }
            for k in 0..LANES {
                out[2 * k] = radius[k] * cos[k];
                out[2 * k + 1] = radius[k] * sin[k];
            }
        }
    }
}

/// Numbers that [`pairs`] makes at once.
pub(crate) const GROUP: usize = 2 * LANES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    #[test]
    fn functions_have_the_bits_of_libm() {
        let mut rng = Stream::new(1, "functions").at(0);
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a == 0.0 && b == 0.0;
        let check = |x: f64| {
            if !near_a_multiple(x) {
                let (got, want) = (sin_cos(x), libm::sincos(x));
                assert!(same(got.0, want.0) && same(got.1, want.1), "{x}: {got:?} {want:?}");
            }
        };
        for _ in 0..200_000 {
            let x = rng.uniform();
            check(core::f64::consts::TAU * x);
            check(core::f64::consts::TAU * x * x * x * x * x * x);
            for x in [1.0 - x, 1.0 - x * x * x, f64::EPSILON * (1.0 - x)] {
                assert!(same(log(x), libm::log(x)), "{x}: {} {}", log(x), libm::log(x));
            }
        }
        // The borders of the ranges.
        for high in
            [0x3fe9_21fb_u64, 0x4002_d97c, 0x400f_6a7a, 0x4015_fdbc, 0x3ff9_21fa, 0x4012_d97b, 0x4019_21fa]
        {
            for bits in [high << 32, (high << 32) - 1, (high + 1) << 32, ((high + 1) << 32) - 1] {
                check(f64::from_bits(bits));
            }
        }
        assert!(near_a_multiple(core::f64::consts::FRAC_PI_2) && near_a_multiple(core::f64::consts::PI));
        [0.0, f64::MIN_POSITIVE, 1e-300, 1e-9].into_iter().for_each(check);
        assert!(same(log(1.0), 0.0) && same(log(f64::EPSILON / 2.0), libm::log(f64::EPSILON / 2.0)));
    }
}

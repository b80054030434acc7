//! One loop, compiled for every instruction set: [`vectorised`] makes a function whose body is compiled for AVX-512, AVX2 and
//! the baseline, and picks one at run time. Bodies are plain loops over slices that the compiler vectorises.
//!
//! Sums run in sixteen lanes of fixed order ([`LANES`]), so a result depends on the instruction set only through fused
//! multiply-adds, never on the number of threads.

pub use ream_simd::{Isa, isa, vectorised};

/// Lanes of a sum.
pub const LANES: usize = 16;

/// `a * b + c`, fused where the instruction set has it (`FMA`): a call into the C library otherwise.
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA || cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` to about 1 unit in the last place; 0 below -87.3, infinity above 88.7, NaN for NaN.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // x = n ln 2 + r; adding 1.5 * 2^23 rounds to an integer, and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = fma::<FMA>(x, core::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, x);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    // Minimax polynomial of (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2 (Moshier, Cephes `expf`).
    let p = fma::<FMA>(1.987_569_1e-4, r, 1.398_2e-3);
    let p = fma::<FMA>(p, r, 8.333_452e-3);
    let p = fma::<FMA>(p, r, 4.166_579_6e-2);
    let p = fma::<FMA>(p, r, 1.666_666_5e-1);
    let p = fma::<FMA>(p, r, 0.5);
    let y = fma::<FMA>(p * r, r, r) + 1.0;
    // Times 2^n: n is added to the exponent, which fits whenever the result is a normal number.
    let value = f32::from_bits(y.to_bits().wrapping_add(shifted.to_bits() << 23));
    let value = if x < -87.336_54 { 0.0 } else { value };
    // Infinity above, and NaN for NaN.
    if x <= 88.722_84 { value } else { x + f32::INFINITY }
}

/// Hyperbolic tangent to about 2 units in the last place.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    // Odd polynomial for |x| < 0.625 (Moshier, Cephes `tanhf`).
    let p = fma::<FMA>(-5.704_988_7e-3, z, 2.063_909e-2);
    let p = fma::<FMA>(p, z, -5.373_971_5e-2);
    let p = fma::<FMA>(p, z, 1.333_144_2e-1);
    let p = fma::<FMA>(p, z, -3.333_328e-1);
    let small = fma::<FMA>(p * z, x, x);
    let large = 1.0 - 2.0 / (exp::<FMA>(a + a) + 1.0);
    if a < 0.625 { small } else { large.copysign(x) }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Standard normal distribution function, to 2e-7; to 3e-6 of its value in the lower tail down to x = -6.
#[inline(always)]
pub(crate) fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    // Half of erfc(z), z = |x| / sqrt 2, is t / 2 e^(-z^2 + P(t)) with t = 1 / (1 + z / 2)
    // (Press et al., Numerical Recipes, `erfcc`); coefficients in the fewest digits that give the same f32.
    let z = x.abs() * core::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(0.5, z, 1.0);
    let p = fma::<FMA>(0.170_872_76, t, -0.822_152_26);
    let p = fma::<FMA>(p, t, 1.488_515_9);
    let p = fma::<FMA>(p, t, -1.135_204);
    let p = fma::<FMA>(p, t, 0.278_868_08);
    let p = fma::<FMA>(p, t, -0.186_288_06);
    let p = fma::<FMA>(p, t, 0.096_784_18);
    let p = fma::<FMA>(p, t, 0.374_091_95);
    let p = fma::<FMA>(p, t, 1.000_023_7);
    let p = fma::<FMA>(p, t, -1.265_512_2);
    let tail = 0.5 * t * exp::<FMA>(fma::<FMA>(-0.5 * x, x, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `ln(1 + x)` for x in `[0, 1]`, to about 2 units in the last place.
#[inline(always)]
pub(crate) fn ln_1p<const FMA: bool>(x: f32) -> f32 {
    let one = 1.0 + x;
    // What rounding took from x comes back as the first term of the series at `one` (Kahan).
    let lost = (x - (one - 1.0)) / one;
    let big = one > core::f32::consts::SQRT_2;
    let f = if big { 0.5 * one } else { one } - 1.0;
    let z = f * f;
    // Minimax polynomial of ln(1 + f) on sqrt(1/2) - 1 .. sqrt(2) - 1 (Moshier, Cephes `logf`).
    let p = fma::<FMA>(7.037_683_6e-2, f, -1.151_461e-1);
    let p = fma::<FMA>(p, f, 1.167_699_9e-1);
    let p = fma::<FMA>(p, f, -1.242_014_1e-1);
    let p = fma::<FMA>(p, f, 1.424_932_3e-1);
    let p = fma::<FMA>(p, f, -1.666_805_8e-1);
    let p = fma::<FMA>(p, f, 2.000_071_5e-1);
    let p = fma::<FMA>(p, f, -2.499_999_4e-1);
    let p = fma::<FMA>(p, f, 3.333_333e-1);
    let log = fma::<FMA>(p * z, f, -0.5 * z) + f;
    let log = if big { log + core::f32::consts::LN_2 } else { log };
    log + lost
}

/// Adds sixteen lanes in a fixed order.
#[inline(always)]
pub fn add_lanes(lanes: &[f32; LANES]) -> f32 {
    let mut a = *lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            a[i] += a[i + width];
        }
        width /= 2;
    }
    a[0]
}

/// Sum of `f(i)` over `0..n` in sixteen lanes.
#[inline(always)]
pub fn sum_by(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let whole = n - n % LANES;
    let mut i = 0;
    while i < whole {
        for (j, lane) in lanes.iter_mut().enumerate() {
            *lane += f(i + j);
        }
        i += LANES;
    }
    for (j, lane) in lanes.iter_mut().enumerate().take(n - whole) {
        *lane += f(whole + j);
    }
    add_lanes(&lanes)
}

vectorised! {
    /// Inner product of two slices of one length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        let (a, b) = (&a[..n], &b[..n]);
        let mut lanes = [[0.0_f32; LANES]; 4];
        let whole = n - n % (4 * LANES);
        for (x, y) in a[..whole].chunks_exact(4 * LANES).zip(b[..whole].chunks_exact(4 * LANES)) {
            for (l, lane) in lanes.iter_mut().enumerate() {
                for j in 0..LANES {
                    lane[j] = fma::<FMA>(x[l * LANES + j], y[l * LANES + j], lane[j]);
                }
            }
        }
        for (x, y) in a[whole..].chunks(LANES).zip(b[whole..].chunks(LANES)) {
            for (lane, (x, y)) in lanes[0].iter_mut().zip(x.iter().zip(y)) {
                *lane = fma::<FMA>(*x, *y, *lane);
            }
        }
        let mut total = [0.0; LANES];
        for j in 0..LANES {
            total[j] = (lanes[0][j] + lanes[1][j]) + (lanes[2][j] + lanes[3][j]);
        }
        add_lanes(&total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_tanh_and_sigmoid_are_within_units_of_the_last_place() {
        let mut worst = [0.0_f64; 3];
        for i in -873_000_i32..880_000 {
            let x = i as f32 * 1e-4;
            let relative = |got: f32, want: f64| (f64::from(got) - want).abs() / want.abs().max(1e-37);
            worst[0] = worst[0].max(relative(exp::<true>(x), libm::exp(f64::from(x))));
            worst[0] = worst[0].max(relative(exp::<false>(x), libm::exp(f64::from(x))));
            if i.abs() < 200_000 && i != 0 {
                worst[1] = worst[1].max(relative(tanh::<true>(x), libm::tanh(f64::from(x))));
                worst[2] =
                    worst[2].max(relative(sigmoid::<false>(x), 1.0 / (1.0 + libm::exp(-f64::from(x)))));
            }
        }
        assert!(worst[0] < 2.5e-7 && worst[1] < 4e-7 && worst[2] < 4e-7, "{worst:?}");
        assert_eq!(exp::<true>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<true>(-100.0), 0.0);
        assert_eq!(exp::<true>(100.0), f32::INFINITY);
        assert!(exp::<true>(f32::NAN).is_nan() && tanh::<true>(f32::NAN).is_nan());
        assert_eq!((exp::<true>(0.0), tanh::<true>(0.0), tanh::<true>(50.0)), (1.0, 0.0, 1.0));
    }

    #[test]
    fn the_normal_distribution_function_is_close_also_in_its_lower_tail() {
        let (mut worst, mut tail) = (0.0_f64, 0.0_f64);
        for i in -120_000_i32..=120_000 {
            let x = i as f32 * 1e-4;
            let want = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            for got in [normal_cdf::<true>(x), normal_cdf::<false>(x)] {
                worst = worst.max((f64::from(got) - want).abs());
                if x > -6.0 {
                    tail = tail.max((f64::from(got) - want).abs() / want);
                }
            }
        }
        assert!(worst < 2e-7 && tail < 3e-6, "{worst} {tail}");
        assert_eq!((normal_cdf::<true>(-40.0), normal_cdf::<true>(40.0)), (0.0, 1.0));
        assert!(normal_cdf::<true>(f32::NAN).is_nan());
    }

    #[test]
    fn ln_1p_is_within_units_of_the_last_place_down_to_tiny_arguments() {
        let mut worst = 0.0_f64;
        for i in 0..=1_000_000 {
            for x in [i as f32 * 1e-6, libm::expf(-8e-5 * i as f32)] {
                let want = libm::log1p(f64::from(x));
                for got in [ln_1p::<true>(x), ln_1p::<false>(x)] {
                    worst = worst.max((f64::from(got) - want).abs() / want.max(1e-37));
                }
            }
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(ln_1p::<true>(0.0), 0.0);
    }

    #[test]
    fn dot_and_sum_agree_with_plain_loops_at_every_length() {
        for n in 0..200 {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0).collect();
            let want: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
            assert_eq!(dot(&a, &b), want, "{n}");
            assert_eq!(sum_by(n, |i| a[i]), a.iter().sum::<f32>(), "{n}");
        }
    }
}

//! Sums of many Gaussian kernels.

use ream_simd::vectorised;

/// Partial sums.
const LANES: usize = 8;

/// `1 / k!` for `k` from 13 down to 0.
const INVERSE_FACTORIALS: [f64; 14] = {
    let (mut all, mut factorial, mut k) = ([0.0; 14], 1.0, 0);
    while k < 14 {
        all[13 - k] = 1.0 / factorial;
        k += 1;
        factorial *= k as f64;
    }
    all
};

/// `e^x` for `x` from -700 to 0, to about two units in the last place.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // x = n ln 2 + r; adding 1.5 * 2^52 rounds to an integer, and leaves it in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // ln 2 as a number of few bits, whose product with n is exact, and what is missing.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    // Taylor's series: |r| <= 0.35, so that the first term left out is below 2^-53.
    let mut p = INVERSE_FACTORIALS[0];
    for c in &INVERSE_FACTORIALS[1..] {
        p = p * r + c;
    }
    f64::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// `w e^((least - |u|) (least + |u|) / 2)`, `u = (x - p) inverse`.
#[inline(always)]
fn kernel(p: f64, w: f64, x: f64, inverse: f64, least: f64) -> f64 {
    let u = ((x - p) * inverse).abs();
    // The nearest point's own exponent is 0 up to rounding.
    w * exp((0.5 * (least - u) * (least + u)).min(0.0))
}

vectorised! {
    /// `sum_i w_i e^((least^2 - u_i^2) / 2)` with `u_i = (x - p_i) inverse`, of points none of which is nearer than `least` or further than
    /// where the exponent is -700. No fused multiply-adds: the bits are the same on every machine.
    pub(super) fn gaussians(points: &[f64], weights: &[f64], x: f64, inverse: f64, least: f64) -> f64 {
        let _ = FMA;
        let ((points, rest), (weights, end)) = (points.as_chunks::<LANES>(), weights.as_chunks::<LANES>());
        let mut sums = [0.0; LANES];
        for (p, w) in points.iter().zip(weights) {
            for k in 0..LANES {
                sums[k] += kernel(p[k], w[k], x, inverse, least);
            }
        }
        let rest: f64 = rest.iter().zip(end).map(|(p, w)| kernel(*p, *w, x, inverse, least)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units() {
        for i in 0..200_000 {
            let x = -f64::from(i) * 0.0035;
            let (got, want) = (exp(x), libm::exp(x));
            assert!((got - want).abs() <= 4.5e-16 * want, "{x}: {got} {want}");
        }
        assert_eq!(exp(0.0), 1.0);
    }
}

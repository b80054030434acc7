//! The normal distribution, Student's t and F.
//!
//! Only `libm` is used, so the results do not depend on the C library. Tail probabilities keep their relative accuracy
//! far out and for many degrees of freedom (11 digits or more; see the golden tests); quantiles invert them by Newton
//! steps on the logarithm of the tail.

use crate::error::StatsError;
use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// Above this many degrees of freedom the t law is the normal law to double precision, up to a factor
/// `1 + O(t^4 / freedom)`.
const MANY: f64 = 1e17;
/// Above this many degrees of freedom the continued fraction loses digits and Hill's expansion does not.
const HILL: f64 = 5000.0;

/// `P(Z <= z)` for a standard normal `Z`.
#[must_use]
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The `z` with `P(Z <= z) = p`; infinite at 0 and 1.
///
/// # Errors
/// [`StatsError::Setting`] for `p` outside `[0, 1]`.
pub fn normal_quantile(p: f64) -> Result<f64, StatsError> {
    if !(0.0..=1.0).contains(&p) {
        return Err(StatsError::Setting { what: "the probability", value: p, allowed: "0 to 1" });
    }
    Ok(quantile_of_normal(p))
}

/// As [`normal_quantile`], for a `p` known to lie in `[0, 1]`.
pub(crate) fn quantile_of_normal(p: f64) -> f64 {
    // `1 - p` is exact for p >= 1/2.
    let (tail, sign) = if p < 0.5 { (p, -1.0) } else { (1.0 - p, 1.0) };
    if tail == 0.0 {
        return sign * f64::INFINITY;
    }
    sign * invert_tail(tail, 0.0, |z| (normal_cdf(-z), libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt()))
}

/// `P(|Z| >= |z|)` for a standard normal `Z`.
#[must_use]
pub fn normal_two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() * FRAC_1_SQRT_2)
}

/// `P(|T| >= |t|)` for Student's t with `freedom` degrees of freedom (which need not be an integer).
///
/// # Errors
/// [`StatsError::Setting`] unless `freedom` is positive and `t` is a number.
pub fn t_two_sided(t: f64, freedom: f64) -> Result<f64, StatsError> {
    check_freedom(freedom)?;
    if t.is_nan() {
        return Err(StatsError::Setting { what: "t", value: t, allowed: "any number" });
    }
    Ok(two_sided(t, freedom))
}

/// The `t` with `P(T <= t) = p` for Student's t with `freedom` degrees of freedom; infinite at 0 and 1.
///
/// # Errors
/// [`StatsError::Setting`] unless `freedom` is positive and `p` lies in `[0, 1]`.
pub fn t_quantile(p: f64, freedom: f64) -> Result<f64, StatsError> {
    check_freedom(freedom)?;
    let z = normal_quantile(p)?;
    if !z.is_finite() || z == 0.0 {
        return Ok(z);
    }
    // Tails of t are heavier than the normal's: the normal quantile is a start from below.
    let tail = |t: f64| (0.5 * two_sided(t, freedom), t_density(t, freedom));
    Ok(z.signum() * invert_tail(p.min(1.0 - p), z.abs(), tail))
}

/// `P(F >= f)` for the F law with `above` and `below` degrees of freedom (which need not be integers).
///
/// # Errors
/// [`StatsError::Setting`] unless both are positive and `f` is a number of at least 0.
pub fn f_upper(f: f64, above: f64, below: f64) -> Result<f64, StatsError> {
    check_freedom(above)?;
    check_freedom(below)?;
    if f.is_nan() || f < 0.0 {
        return Err(StatsError::Setting { what: "F", value: f, allowed: "numbers of at least 0" });
    }
    Ok(f_tail(f, above, below))
}

/// The `f` with `P(F <= f) = p` for the F law with `above` and `below` degrees of freedom.
///
/// # Errors
/// [`StatsError::Setting`] unless both are positive and `p` lies in `[0, 1]`.
pub fn f_quantile(p: f64, above: f64, below: f64) -> Result<f64, StatsError> {
    check_freedom(above)?;
    check_freedom(below)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(StatsError::Setting { what: "the probability", value: p, allowed: "0 to 1" });
    }
    if p == 0.0 || p == 1.0 {
        return Ok(if p == 0.0 { 0.0 } else { f64::INFINITY });
    }
    let target = 1.0 - p;
    let (mut low, mut high) = (0.0, 1.0);
    while f_tail(high, above, below) > target && high < 1e300 {
        low = high;
        high *= 4.0;
    }
    // Newton steps on the logarithm of the tail against the logarithm of f, within a bracket.
    let mut f = if low > 0.0 { (low * high).sqrt() } else { 0.5 * high };
    for _ in 0..2000 {
        let tail = f_tail(f, above, below);
        if tail > target {
            low = f;
        } else {
            high = f;
        }
        let slope = beta_front(0.5 * above, 0.5 * below, above * f / below) / tail;
        let newton = f * libm::exp((libm::log(tail / target) / slope).clamp(-2.0, 2.0));
        let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
        if (next - f).abs() <= 4e-16 * f || high - low <= 4e-16 * high {
            return Ok(next);
        }
        f = next;
    }
    Ok(f)
}

fn f_tail(f: f64, above: f64, below: f64) -> f64 {
    if f == 0.0 || f.is_infinite() {
        return if f == 0.0 { 1.0 } else { 0.0 };
    }
    // P(F >= f) = I_x(below / 2, above / 2) with x = below / (below + above f).
    let ratio = above * f / below;
    let (x, rest) = (1.0 / (1.0 + ratio), 1.0 / (1.0 + 1.0 / ratio));
    let (a, b) = (0.5 * below, 0.5 * above);
    let front = beta_front(b, a, ratio);
    let tail = if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, rest) / b
    };
    tail.clamp(0.0, 1.0)
}

/// `y^a (1 - y)^b / B(a, b)` at `y = odds / (1 + odds)`, by Stirling's series about the mode, so that large shapes do not
/// cancel (Didonato & Morris, 1992, *Algorithm 708*).
fn beta_front(a: f64, b: f64, odds: f64) -> f64 {
    let (y, rest) = (1.0 / (1.0 + 1.0 / odds), 1.0 / (1.0 + odds));
    // y / (a / (a + b)) - 1 and (1 - y) / (b / (a + b)) - 1.
    let off = b * y - a * rest;
    let near = |shape: f64, off: f64, share: f64| {
        if off.abs() < 0.5 * shape {
            shape * libm::log1p(off / shape)
        } else {
            shape * libm::log(share * (a + b) / shape)
        }
    };
    let shift = stirling_error(a + b) - stirling_error(a) - stirling_error(b);
    let size = (a / (2.0 * PI) * (b / (a + b))).sqrt();
    size * libm::exp(near(a, off, y) + near(b, -off, rest) + shift)
}

/// `log Gamma(z) - [(z - 1/2) log z - z + log(2 pi) / 2]`.
fn stirling_error(z: f64) -> f64 {
    if z < 12.0 {
        return libm::lgamma(z) - ((z - 0.5) * libm::log(z) - z + 0.5 * libm::log(2.0 * PI));
    }
    let s = 1.0 / (z * z);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0)))) / z
}
fn check_freedom(freedom: f64) -> Result<(), StatsError> {
    if freedom > 0.0 {
        Ok(())
    } else {
        Err(StatsError::Setting { what: "degrees of freedom", value: freedom, allowed: "numbers above 0" })
    }
}

/// The `t >= start` at which the tail is `target`. `law` gives tail and density; the logarithm of the tail is concave
/// or nearly so, hence Newton's method on it, safeguarded by a bracket.
fn invert_tail(target: f64, start: f64, law: impl Fn(f64) -> (f64, f64)) -> f64 {
    let (mut low, mut high) = (start, f64::INFINITY);
    let mut t = start;
    for _ in 0..200 {
        let (tail, density) = law(t);
        if tail > target {
            low = t;
        } else {
            high = t;
        }
        let newton = t + (tail / density) * libm::log(tail / target);
        let next = if newton >= low && newton <= high {
            newton
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            2.0 * low + 1.0
        };
        if (next - t).abs() <= 4e-16 * t.abs() {
            return next;
        }
        t = next;
    }
    t
}

/// `log Gamma(a + 1/2) - log Gamma(a)`, without cancellation for a large `a`.
fn half_step(a: f64) -> f64 {
    if a < 20.0 {
        return libm::lgamma(a + 0.5) - libm::lgamma(a);
    }
    // Difference of two Stirling series.
    let (r, s) = (1.0 / a, 1.0 / (a * a));
    let series =
        -1.0 / 8.0 + s * (1.0 / 192.0 + s * (-1.0 / 640.0 + s * (17.0 / 14_336.0 - s * (31.0 / 18_432.0))));
    0.5 * libm::log(a) + r * series
}

fn t_density(t: f64, freedom: f64) -> f64 {
    if freedom > MANY {
        return libm::exp(-0.5 * t * t) / (2.0 * PI).sqrt();
    }
    let log = half_step(0.5 * freedom) - 0.5 * (freedom + 1.0) * libm::log1p(t * t / freedom);
    libm::exp(log) / (freedom * PI).sqrt()
}

/// `P(|T| >= |t|) = I_x(freedom / 2, 1 / 2)` with `x = freedom / (freedom + t^2)`.
fn two_sided(t: f64, freedom: f64) -> f64 {
    let t = t.abs();
    if freedom > MANY {
        return normal_two_sided(t);
    }
    if t == 0.0 || t.is_infinite() {
        return if t == 0.0 { 1.0 } else { 0.0 };
    }
    let a = 0.5 * freedom;
    let ratio = t * t / freedom;
    if freedom > HILL {
        return normal_two_sided(hill(freedom, ratio));
    }
    let (x, rest) = (1.0 / (1.0 + ratio), 1.0 / (1.0 + 1.0 / ratio));
    // x^a (1 - x)^(1/2) / B(a, 1/2)
    let front = libm::exp(half_step(a) - a * libm::log1p(ratio)) * (rest / PI).sqrt();
    // The continued fraction is used on the side where it converges fast.
    if x < (a + 1.0) / (a + 2.5) {
        front * beta_fraction(a, 0.5, x) / a
    } else {
        1.0 - 2.0 * front * beta_fraction(0.5, a, rest)
    }
}

/// The normal deviate with the same tail as `t`, for many degrees of freedom and `ratio = t^2 / freedom` (Hill, 1970,
/// *Algorithm 395*).
fn hill(freedom: f64, ratio: f64) -> f64 {
    let a = freedom - 0.5;
    let b = 48.0 * a * a;
    let square = a * libm::log1p(ratio);
    let w = square.sqrt();
    let second = (((4.0 * square + 33.0) * square + 240.0) * square + 855.0)
        / (10.0 * (b + 0.8 * square * square + 100.0));
    w + w * (square + 3.0 - second) / b
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22), by the modified Lentz method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut value) = (1.0, d);
    let mut m = 1.0;
    while m < 1e6 {
        let mut change = 1.0;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            change *= c * d;
        }
        value *= change;
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
        m += 1.0;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_invert_the_tails() {
        for p in [1e-12, 1e-4, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9995] {
            let z = normal_quantile(p).unwrap();
            assert!((normal_cdf(z) / p - 1.0).abs() < 1e-14, "{p}");
            for freedom in [0.7, 1.0, 2.5, 30.0, 804.0, 99_970.0] {
                let t = t_quantile(p, freedom).unwrap();
                let tail = p.min(1.0 - p);
                assert!((0.5 * t_two_sided(t, freedom).unwrap() / tail - 1.0).abs() < 1e-12, "{p} {freedom}");
                assert_eq!(t < 0.0, p < 0.5);
            }
        }
    }

    #[test]
    fn exact_cases() {
        // One degree of freedom is the Cauchy law, two have a closed form.
        assert!((t_quantile(0.75, 1.0).unwrap() - 1.0).abs() < 1e-15);
        let two = |p: f64| (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
        assert!((t_quantile(0.975, 2.0).unwrap() / two(0.975) - 1.0).abs() < 1e-14);
        assert_eq!(t_quantile(0.5, 7.0).unwrap(), 0.0);
        assert_eq!(t_quantile(1.0, 7.0).unwrap(), f64::INFINITY);
        assert_eq!(normal_quantile(0.0).unwrap(), f64::NEG_INFINITY);
        assert_eq!(t_two_sided(f64::INFINITY, 3.0).unwrap(), 0.0);
        assert!(t_quantile(1.1, 3.0).is_err() && t_quantile(f64::NAN, 3.0).is_err());
        assert!(t_quantile(0.5, 0.0).is_err() && t_two_sided(f64::NAN, 3.0).is_err());
    }
}

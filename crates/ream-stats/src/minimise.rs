//! Minima of convex functions of one variable.
//!
//! ```
//! use ream_stats::minimise;
//! // x - log x on the open half line of positive numbers.
//! let found = minimise::newton(|x| (1.0 - 1.0 / x, 1.0 / (x * x)), (0.0, f64::INFINITY), 30.0, 1e-12)?;
//! assert!((found.at - 1.0).abs() < 1e-11);
//! let found = minimise::golden_section(|x| (x - 2.0) * (x - 2.0), (0.0, 5.0), 1e-7)?;
//! assert!((found.at - 2.0).abs() < 1e-6);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::error::StatsError;

/// Where a minimum was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// The argument.
    pub at: f64,
    /// Evaluations of the function or of its derivatives.
    pub evaluations: usize,
}

/// Steps after which a search is given up; halving a bracket of doubles takes at most about 2100.
const MAX_STEPS: usize = 4000;

/// The minimum of a function that falls and then rises on `[low, high]`, to `tolerance` in the argument, by golden sections
/// (Kiefer, 1953). An infinite value is larger than all others, but of two the search cannot know the way. Near a smooth minimum no search by values finds
/// more than half of the digits; with derivatives use [`newton`].
///
/// # Errors
/// [`StatsError`] for an interval that is empty or not finite, a tolerance that is not above 0, a value that
/// is NaN, or infinite values at two places to choose between.
pub fn golden_section(
    mut function: impl FnMut(f64) -> f64,
    (low, high): (f64, f64),
    tolerance: f64,
) -> Result<Minimum, StatsError> {
    check_tolerance(tolerance)?;
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(StatsError::Setting {
            what: "the upper end of the search",
            value: high,
            allowed: "finite numbers above the lower end",
        });
    }
    let section = 0.5 * (5.0_f64.sqrt() - 1.0);
    let mut evaluations = 0;
    let mut value = |x: f64, evaluations: &mut usize| {
        *evaluations += 1;
        let v = function(x);
        if v.is_nan() { Err(UNDEFINED) } else { Ok(v) }
    };
    let (mut low, mut high) = (low, high);
    let (mut a, mut b) = (high - section * (high - low), low + section * (high - low));
    let (mut at_a, mut at_b) = (value(a, &mut evaluations)?, value(b, &mut evaluations)?);
    while high - low > tolerance && evaluations < MAX_STEPS {
        if at_a == f64::INFINITY && at_b == f64::INFINITY {
            return Err(StatsError::Undefined {
                what: "the minimum",
                why: "the function is infinite over much of the interval; narrow the interval to its domain",
            });
        }
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - section * (high - low);
            at_a = value(a, &mut evaluations)?;
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + section * (high - low);
            at_b = value(b, &mut evaluations)?;
        }
        // No double lies between the ends any more.
        if !(low < a && a < b && b < high) {
            break;
        }
    }
    Ok(Minimum { at: if at_a <= at_b { a } else { b }, evaluations })
}

/// The minimum of a convex function on the open interval `(low, high)` (whose ends may be infinite), from its slope and
/// curvature: Newton's method on the slope, kept within a bracket, which halves (or, towards an infinite end, doubles)
/// whenever a Newton step leaves it or does not pay (Press et al., *Numerical Recipes*, section 9.4). It ends when step or
/// bracket are below `tolerance * (1 + |x|)`. A minimum at an end of the interval is approached to that tolerance.
///
/// # Errors
/// [`StatsError`] for a start outside the interval, a tolerance that is not above 0, a slope that is NaN, or a function
/// without a minimum (it falls towards an infinite end).
pub fn newton(
    mut derivatives: impl FnMut(f64) -> (f64, f64),
    (low, high): (f64, f64),
    start: f64,
    tolerance: f64,
) -> Result<Minimum, StatsError> {
    check_tolerance(tolerance)?;
    if !(low < start && start < high && start.is_finite()) {
        return Err(StatsError::Setting {
            what: "the start of the search",
            value: start,
            allowed: "finite numbers strictly within the interval",
        });
    }
    let (mut low, mut high, mut x) = (low, high, start);
    let mut stride = 1.0 + start.abs();
    let mut last_step = f64::INFINITY;
    for evaluations in 1..=MAX_STEPS {
        let (slope, curvature) = derivatives(x);
        if slope.is_nan() {
            return Err(UNDEFINED);
        }
        if slope == 0.0 {
            return Ok(Minimum { at: x, evaluations });
        }
        if slope > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let allowed = tolerance * (1.0 + x.abs());
        let step = -slope / curvature;
        let inside = |y: f64| low < y && y < high;
        // Towards an infinite end a Newton step far out, where the curvature dies, would throw the search away.
        let reach = if low.is_finite() && high.is_finite() { f64::INFINITY } else { 8.0 * stride };
        let pays = step.abs() <= reach.min(0.5 * last_step.abs());
        let next = if curvature > 0.0 && inside(x + step) && pays {
            last_step = step;
            x + step
        } else if low.is_finite() && high.is_finite() {
            last_step = 0.5 * (high - low);
            0.5 * low + 0.5 * high
        } else {
            // One end is infinite still: go on towards it.
            stride *= 2.0;
            last_step = f64::INFINITY;
            x + if slope > 0.0 { -stride } else { stride }
        };
        if !next.is_finite() {
            return Err(StatsError::Undefined {
                what: "the minimum",
                why: "the function falls without end towards an infinite end of the interval",
            });
        }
        let done = (next - x).abs() <= allowed && curvature > 0.0 || high - low <= allowed || !inside(next);
        x = next.clamp(low, high);
        if done {
            return Ok(Minimum { at: x, evaluations });
        }
    }
    Err(StatsError::Undefined { what: "the minimum", why: "the search did not end; is the function convex?" })
}

const UNDEFINED: StatsError =
    StatsError::Undefined { what: "the minimum", why: "the function is not a number within the interval" };

fn check_tolerance(tolerance: f64) -> Result<(), StatsError> {
    if tolerance > 0.0 {
        Ok(())
    } else {
        Err(StatsError::Setting { what: "the tolerance", value: tolerance, allowed: "numbers above 0" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newton_finds_minima_of_convex_functions() {
        // (slope and curvature, interval, start, minimum)
        type Case = (fn(f64) -> (f64, f64), (f64, f64), f64, f64);
        let all = (f64::NEG_INFINITY, f64::INFINITY);
        let cases: [Case; 6] = [
            (|x| (2.0 * (x - 3.0), 2.0), all, -1e6, 3.0),
            // log(e^x + e^-2x), steep on one side.
            (
                |x| {
                    let p = 1.0 / (1.0 + libm::exp(-3.0 * x));
                    (p - 2.0 * (1.0 - p), 9.0 * p * (1.0 - p))
                },
                all,
                40.0,
                core::f64::consts::LN_2 / 3.0,
            ),
            // A quartic: the curvature vanishes at the minimum.
            (|x| (4.0 * (x - 1.0).powi(3), 12.0 * (x - 1.0) * (x - 1.0)), (-9.0, 100.0), 50.0, 1.0),
            // A pole at the left end.
            (|x| (1.0 - 1.0 / (x - 5.0), 1.0 / ((x - 5.0) * (x - 5.0))), (5.0, f64::INFINITY), 5.0001, 6.0),
            // |x - 2| has no curvature.
            (|x| ((x - 2.0).signum(), 0.0), all, 17.0, 2.0),
            // Rising throughout: the minimum is at the open end.
            (|_| (1.0, 0.0), (-3.0, 8.0), 1.0, -3.0),
        ];
        for (k, (f, interval, start, wanted)) in cases.into_iter().enumerate() {
            let found = newton(f, interval, start, 1e-11).unwrap();
            let tolerance = if k == 2 { 1e-4 } else { 1e-9 };
            assert!((found.at - wanted).abs() < tolerance, "{k}: {found:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let falling = newton(|_| (-1.0, 0.0), (0.0, f64::INFINITY), 1.0, 1e-9).unwrap_err();
        assert!(falling.to_string().contains("falls without end"), "{falling}");
        assert!(newton(|_| (f64::NAN, 0.0), (0.0, 1.0), 0.5, 1e-9).is_err());
        assert!(newton(|x| (x, 1.0), (0.0, 1.0), 1.0, 1e-9).is_err());
        assert!(newton(|x| (x, 1.0), (-1.0, 1.0), 0.5, 0.0).is_err());
        assert!(golden_section(|x| x, (1.0, 1.0), 1e-9).is_err());
        assert!(golden_section(|_| f64::NAN, (0.0, 1.0), 1e-9).is_err());
        assert!(golden_section(|x| x, (0.0, f64::INFINITY), 1e-9).is_err());
    }

    #[test]
    fn golden_section_reaches_ends_and_walls() {
        assert!((golden_section(|x| x, (2.0, 3.0), 1e-9).unwrap().at - 2.0).abs() < 2e-9);
        let wall = |x: f64| if x < 1.0 { f64::INFINITY } else { x };
        assert!(golden_section(wall, (-50.0, 3.0), 1e-9).is_err());
        assert!((golden_section(wall, (0.0, 3.0), 1e-9).unwrap().at - 1.0).abs() < 2e-9);
        // A tolerance below the spacing of doubles still ends.
        let fine = golden_section(|x| (x - 1e8) * (x - 1e8), (0.0, 3e8), 1e-30).unwrap();
        assert!((fine.at - 1e8).abs() < 10.0 && fine.evaluations < 200);
    }
}

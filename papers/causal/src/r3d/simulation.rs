//! Worlds whose effect is known.
//!
//! | world | a unit at `X ~ U(-1, 1)` has individuals from |
//! |---|---|
//! | constant | `N(5 + 5 X + delta 1{X >= 0}, max(0.1, |1 + X|)^2)` |
//! | skewed | `N(2 X + delta 1{X >= 0}, 1) + 2 Exp(rate clamp(1 + 0.5 X, 0.5, 1.5))` |
//! | two-level | `N(mu, 1)`, its own `mu ~ N(5, 2^2)` below and `N(5, 0.5^2)` above |
//! | fuzzy | as constant, with `T ~ Bernoulli(0.1 + 0.8 1{X >= 0})` in place of `1{X >= 0}` |
//! | curved | as constant, `4 X^2` added to the mean |
//! | curved-above | the same, added above the cutoff only |
//!
//! The mean of a unit's empirical quantiles jumps by `delta` at every quantile (not at all in the two-level world, whose pooled
//! quantiles do).

use ream_rand::Rng;
use ream_stats::distribution::normal_quantile;

/// A world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum World {
    /// A: the effect is the same for all quantiles.
    Constant,
    /// B: skewed outcomes.
    Skewed,
    /// C: units differ, below the cutoff much and above little.
    TwoLevel,
    /// D: not everyone complies.
    Fuzzy,
    /// A with a curve that is the same on both sides.
    Curved,
    /// A with a curve on one side.
    CurvedAbove,
}

/// A draw of units.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// Running variable, `[n]`.
    pub x: Vec<f64>,
    /// Individuals of each unit.
    pub outcomes: Vec<Vec<f64>>,
    /// Treatment, in the fuzzy world.
    pub treatment: Option<Vec<f64>>,
}

/// Spread of the units' means below and above in the two-level world.
pub const SPREADS: [f64; 2] = [2.0, 0.5];
/// Their mean.
pub const CENTRE: f64 = 5.0;

impl World {
    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Skewed => "skewed",
            Self::TwoLevel => "two-level",
            Self::Fuzzy => "fuzzy",
            Self::Curved => "curved",
            Self::CurvedAbove => "curved-above",
        }
    }

    /// `n` units of `individuals` each. `effect` is `delta`; the two-level world has none.
    #[must_use]
    pub fn draw(self, n: usize, individuals: usize, effect: f64, rng: &mut Rng) -> Units {
        let mut units = Units { x: Vec::with_capacity(n), outcomes: Vec::with_capacity(n), treatment: None };
        for _ in 0..n {
            let x = rng.between(-1.0, 1.0);
            let above = f64::from(u8::from(x >= 0.0));
            let lift = if self == Self::Fuzzy {
                let taken = f64::from(u8::from(rng.chance(0.1 + 0.8 * above)));
                units.treatment.get_or_insert_default().push(taken);
                effect * taken
            } else {
                effect * above
            };
            let centre = CENTRE + SPREADS[usize::from(x >= 0.0)] * rng.normal();
            let spread = (1.0 + x).abs().max(0.1);
            let bend = match self {
                Self::Curved => 4.0 * x * x,
                Self::CurvedAbove => 4.0 * x * x * above,
                _ => 0.0,
            };
            let mut one = || match self {
                Self::TwoLevel => centre + rng.normal(),
                Self::Skewed => {
                    let rate = (1.0 + 0.5 * x).clamp(0.5, 1.5);
                    2.0 * x + lift + rng.normal() + 2.0 * rng.exponential() / rate
                }
                _ => 5.0 + 5.0 * x + bend + lift + spread * rng.normal(),
            };
            units.outcomes.push((0..individuals).map(|_| one()).collect());
            units.x.push(x);
        }
        units
    }

    /// The true effect at any quantile.
    #[must_use]
    pub fn truth(self, effect: f64) -> f64 {
        if self == Self::TwoLevel { 0.0 } else { effect }
    }
}

/// Quantile of the pooled individuals at the cutoff of the two-level world, below and above, `0 < q < 1`: what pooling
/// converges to.
#[must_use]
pub fn pooled_limits(q: f64) -> [f64; 2] {
    let z = normal_quantile(q).unwrap_or(f64::NAN);
    SPREADS.map(|spread| CENTRE + z * (1.0 + spread * spread).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;
    use ream_stats::descriptive::{mean, quantile, standard_deviation};

    fn near(world: World, effect: f64) -> [Vec<f64>; 2] {
        let units = world.draw(60_000, 4, effect, &mut Stream::new(1, "worlds").at(0));
        let mut sides = [Vec::new(), Vec::new()];
        for (x, own) in units.x.iter().zip(&units.outcomes).filter(|(x, _)| x.abs() < 0.02) {
            sides[usize::from(*x >= 0.0)].extend_from_slice(own);
        }
        sides
    }

    #[test]
    fn worlds_are_as_said_at_the_cutoff() {
        for (world, centre, spread) in [
            (World::Constant, 5.0, 1.0),
            (World::Curved, 5.0, 1.0),
            (World::CurvedAbove, 5.0, 1.0),
            (World::Skewed, 2.0, 5.0_f64.sqrt()),
        ] {
            let [below, above] = near(world, 2.0);
            let tolerance = 5.0 * spread / (below.len() as f64).sqrt() + 0.05;
            assert!((mean(&below).unwrap() - centre).abs() < tolerance, "{world:?}");
            assert!((mean(&above).unwrap() - centre - world.truth(2.0)).abs() < tolerance, "{world:?}");
            assert!((standard_deviation(&above).unwrap() / spread - 1.0).abs() < 0.1, "{world:?}");
        }
        let [below, above] = near(World::Fuzzy, 2.0);
        assert!((mean(&above).unwrap() - mean(&below).unwrap() - 1.6).abs() < 0.2);
        let units = World::Fuzzy.draw(20_000, 1, 0.0, &mut Stream::new(2, "worlds").at(0));
        let treated = |side: bool| {
            let t = units.treatment.as_ref().unwrap();
            let own: Vec<f64> = (0..20_000).filter(|&i| (units.x[i] >= 0.0) == side).map(|i| t[i]).collect();
            mean(&own).unwrap()
        };
        assert!((treated(false) - 0.1).abs() < 0.02 && (treated(true) - 0.9).abs() < 0.02);
    }

    #[test]
    fn pooling_two_levels_has_another_limit() {
        let limits = pooled_limits(0.9);
        assert!((limits[1] - limits[0] + 1.4328).abs() < 2e-4, "{limits:?}");
        let sides = near(World::TwoLevel, 7.0);
        for (side, limit) in sides.iter().zip(limits) {
            // Four individuals share a unit's mean.
            assert!((quantile(side, 0.9).unwrap() - limit).abs() < 0.35, "{limit}");
        }
        assert_eq!(World::TwoLevel.truth(7.0), 0.0);
    }
}

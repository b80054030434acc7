//! Bounds of each arm without covariates, with standard errors, and what is made of them: contrasts, Imbens-Manski limits, a bootstrap.
//!
//! With `e = P(A = a)` and the optimum `(lambda, u)` of an arm, the envelope theorem gives the influence values
//! `psi_i = 1(A_i = a) / e (lambda g*_i - mean) + lambda eta'(e) (1(A_i = a) - e)`.

use rayon::prelude::*;
use ream_rand::Stream;
use ream_stats::{StatsError, descriptive, distribution, interval};

use super::aggregate::{Aggregate, order_statistic};
use super::divergence::Divergence;
use super::dual::{Bound, Law};

/// One end of an interval with its standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
    /// Influence values, one for each row: the estimate's error is their mean.
    pub influence: Vec<f64>,
}

impl End {
    /// From influence values (weights of rows, where there are some, in them).
    #[must_use]
    pub fn new(value: f64, influence: Vec<f64>) -> Self {
        let squares: f64 = influence.iter().map(|psi| psi * psi).sum();
        let se = squares.sqrt() / influence.len() as f64;
        Self { value, se, influence }
    }

    fn minus(&self, other: &Self) -> Self {
        let influence = self.influence.iter().zip(&other.influence).map(|(a, b)| a - b).collect();
        Self::new(self.value - other.value, influence)
    }
}

/// Both ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Ends {
    /// The lower one.
    pub lower: End,
    /// The upper one.
    pub upper: End,
}

impl Ends {
    /// The interval of the difference of two numbers that lie in these intervals: `[lo - other.up, up - other.lo]`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self { lower: self.lower.minus(&other.upper), upper: self.upper.minus(&other.lower) }
    }

    /// Limits that hold the number between the ends with probability `level` (Imbens & Manski, 2004). Where the estimated ends cross there is no
    /// such interval; then each end is moved out by the two-sided normal quantile.
    ///
    /// # Errors
    /// [`StatsError`] for a level outside `(0, 1)` or values that are not finite.
    pub fn limits(&self, level: f64) -> Result<(f64, f64), StatsError> {
        limits((self.lower.value, self.lower.se), (self.upper.value, self.upper.se), level)
    }

    /// `(lower, upper)`.
    #[must_use]
    pub fn values(&self) -> (f64, f64) {
        (self.lower.value, self.upper.value)
    }
}

/// As [`Ends::limits`], from `(value, standard error)` of each end.
///
/// # Errors
/// As [`Ends::limits`].
pub fn limits(lower: (f64, f64), upper: (f64, f64), level: f64) -> Result<(f64, f64), StatsError> {
    if lower.0 <= upper.0 {
        return interval::imbens_manski(lower, upper, level);
    }
    let z = distribution::normal_quantile(0.5 + 0.5 * level)?;
    Ok((lower.0 - z * lower.1, upper.0 + z * upper.1))
}

/// The order statistic of several intervals, its ends with the standard errors of those they come from.
#[must_use]
pub fn aggregate(ends: &[Ends], k: Option<usize>) -> Option<(Ends, Aggregate)> {
    let values: Vec<(f64, f64)> = ends.iter().map(Ends::values).collect();
    let found = order_statistic(&values, k)?;
    let [lower, upper] = found.from;
    Some((Ends { lower: ends[lower].lower.clone(), upper: ends[upper].upper.clone() }, found))
}

/// Outcomes of the rows and the arms they are in.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `phi` of the outcomes, `[n]`.
    pub phi: &'a [f64],
    /// Arms, `[n]`, each below `levels`.
    pub arm: &'a [usize],
    /// How many arms there are.
    pub levels: usize,
    /// Weights of rows, `[n]`; all 1 where there are none.
    pub weights: Option<&'a [f64]>,
}

impl Rows<'_> {
    /// Weights of mean 1.
    fn shares(&self) -> Vec<f64> {
        let n = self.phi.len();
        match self.weights {
            None => vec![1.0; n],
            Some(weights) => {
                let mean = weights.iter().sum::<f64>() / n as f64;
                weights.iter().map(|w| w / mean).collect()
            }
        }
    }
}

/// Bounds of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its law.
    pub law: Law,
    /// Probability of the arm.
    pub e: f64,
    /// For each divergence.
    pub ends: Vec<Ends>,
}

/// Bounds of `E[phi(Y) | do(a)]` for every arm.
///
/// # Errors
/// [`StatsError`] for other lengths, values that are not finite, or an arm without a row.
pub fn marginal(rows: &Rows<'_>, divergences: &[Divergence]) -> Result<Vec<Arm>, StatsError> {
    let shares = rows.shares();
    (0..rows.levels).map(|a| arm(rows, a, &shares, divergences)).collect()
}

fn arm(rows: &Rows<'_>, a: usize, shares: &[f64], divergences: &[Divergence]) -> Result<Arm, StatsError> {
    let n = rows.phi.len();
    let members: Vec<usize> = (0..n).filter(|i| rows.arm[*i] == a).collect();
    let phi: Vec<f64> = members.iter().map(|i| rows.phi[*i]).collect();
    let weights: Vec<f64> = members.iter().map(|i| shares[*i]).collect();
    let law = Law::new(&phi, Some(&weights))?;
    let e = weights.iter().sum::<f64>() / n as f64;
    let end = |d: Divergence, bound: Bound, sign: f64| {
        let price = |i: usize| bound.price(d, sign * rows.phi[i]);
        let mean = members.iter().map(|i| shares[*i] * price(*i)).sum::<f64>() / (e * n as f64);
        let drift = bound.lambda * d.radius_slope(e);
        let psi = |i: usize| {
            let inside = rows.arm[i] == a;
            let own = if inside { (price(i) - mean) / e } else { 0.0 };
            sign * shares[i] * (own + drift * (f64::from(u8::from(inside)) - e))
        };
        End::new(bound.value, (0..n).map(psi).collect())
    };
    let ends = |d: &Divergence| {
        let radius = d.radius(e);
        Ok(Ends { lower: end(*d, law.lower(*d, radius)?, -1.0), upper: end(*d, law.upper(*d, radius)?, 1.0) })
    };
    let ends = divergences.iter().map(ends).collect::<Result<_, StatsError>>()?;
    Ok(Arm { law, e, ends })
}

/// Ends of one resample, `[arm][divergence]`.
pub type Replicate = Vec<Vec<(f64, f64)>>;

/// Ends of resamples of the rows. A resample in which an arm has no row keeps the sample's own ends of that arm.
///
/// # Errors
/// As [`marginal`].
pub fn bootstrap(
    rows: &Rows<'_>,
    arms: &[Arm],
    divergences: &[Divergence],
    replications: usize,
    stream: Stream,
) -> Result<Vec<Replicate>, StatsError> {
    let n = rows.phi.len();
    let shares = rows.shares();
    // Rows of each arm, in the order of phi: a resample only changes their weights.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| rows.phi[*a].total_cmp(&rows.phi[*b]));
    let members: Vec<Vec<usize>> =
        (0..rows.levels).map(|a| order.iter().copied().filter(|i| rows.arm[*i] == a).collect()).collect();
    let phi: Vec<Vec<f64>> = members.iter().map(|m| m.iter().map(|i| rows.phi[*i]).collect()).collect();
    let one = |r: usize| -> Result<Replicate, StatsError> {
        let mut counts = vec![0.0; n];
        for i in stream.at(r as u64).resample(n) {
            counts[i] += shares[i];
        }
        let total: f64 = counts.iter().sum();
        let of_arm = |a: usize| {
            let weights: Vec<f64> = members[a].iter().map(|i| counts[*i]).collect();
            let mass: f64 = weights.iter().sum();
            if mass <= 0.0 {
                return Ok(arms[a].ends.iter().map(Ends::values).collect());
            }
            let law = Law::new(&phi[a], Some(&weights))?;
            divergences.iter().map(|d| law.interval(*d, mass / total)).collect()
        };
        (0..rows.levels).map(of_arm).collect()
    };
    (0..replications).into_par_iter().map(one).collect()
}

/// Standard deviations of lower and upper ends over resamples.
#[must_use]
pub fn replicate_errors(ends: &[(f64, f64)]) -> (f64, f64) {
    let deviation = |f: fn(&(f64, f64)) -> f64| {
        descriptive::standard_deviation(&ends.iter().map(f).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    (deviation(|e| e.0), deviation(|e| e.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;

    fn trial(n: usize, seed: u64) -> (Vec<f64>, Vec<usize>) {
        let mut rng = Stream::new(seed, "trial").at(0);
        let arm: Vec<usize> = (0..n).map(|_| usize::from(rng.chance(0.6))).collect();
        // Few values: a bound that leans on the edge of a continuous law is not regular, and its error is larger than the envelope says.
        let phi = arm.iter().map(|a| (rng.below(4) + a * rng.below(2)) as f64).collect();
        (phi, arm)
    }

    fn rows<'a>(phi: &'a [f64], arm: &'a [usize]) -> Rows<'a> {
        Rows { phi, arm, levels: 2, weights: None }
    }

    /// Over repeated samples the ends vary as their standard errors say; the bootstrap says the same.
    #[test]
    fn standard_errors_are_those_of_repeated_samples() {
        let divergences = [Divergence::Kl, Divergence::Hellinger, Divergence::ChiSquare];
        let samples: Vec<Vec<Arm>> = (0..300)
            .map(|s| {
                let (phi, arm) = trial(400, s + 10);
                marginal(&rows(&phi, &arm), &divergences).unwrap()
            })
            .collect();
        for (j, d) in divergences.iter().enumerate() {
            let end = |arms: &Vec<Arm>| arms[1].ends[j].minus(&arms[0].ends[j]).upper;
            let ends: Vec<End> = samples.iter().map(end).collect();
            let spread = descriptive::standard_deviation(&ends.iter().map(|e| e.value).collect::<Vec<_>>());
            let said = ends.iter().map(|e| e.se).sum::<f64>() / ends.len() as f64;
            let ratio = said / spread.unwrap();
            assert!((ratio - 1.0).abs() < 0.2, "{d:?}: {ratio}");
        }
        let (phi, arm) = trial(400, 5);
        let sample = rows(&phi, &arm);
        let arms = marginal(&sample, &divergences).unwrap();
        let again = bootstrap(&sample, &arms, &divergences, 200, Stream::new(1, "bootstrap")).unwrap();
        let upper: Vec<(f64, f64)> = again.iter().map(|r| r[1][0]).collect();
        let ratio = replicate_errors(&upper).1 / arms[1].ends[0].upper.se;
        assert!((ratio - 1.0).abs() < 0.25, "{ratio}");
    }

    #[test]
    fn the_mean_lies_within_and_influence_values_have_mean_zero() {
        let (phi, arm) = trial(300, 1);
        for a in marginal(&rows(&phi, &arm), &ALL).unwrap() {
            for ends in &a.ends {
                assert!(ends.lower.value <= a.law.mean() && a.law.mean() <= ends.upper.value);
                for end in [&ends.lower, &ends.upper] {
                    assert!(end.influence.iter().sum::<f64>().abs() < 1e-6 && end.se > 0.0);
                }
                let (low, high) = ends.limits(0.95).unwrap();
                assert!(low < ends.lower.value && high > ends.upper.value);
            }
        }
    }

    #[test]
    fn whole_weights_are_repeated_rows() {
        let (phi, arm) = trial(120, 2);
        let weights: Vec<f64> = (0..120).map(|i| f64::from(1 + i % 3)).collect();
        let repeated: Vec<usize> = (0..120).flat_map(|i| vec![i; 1 + i % 3]).collect();
        let (phi2, arm2): (Vec<f64>, Vec<usize>) = repeated.iter().map(|i| (phi[*i], arm[*i])).unzip();
        let one = marginal(&Rows { weights: Some(&weights), ..rows(&phi, &arm) }, &ALL).unwrap();
        let two = marginal(&rows(&phi2, &arm2), &ALL).unwrap();
        for (a, b) in one.iter().zip(&two) {
            assert!((a.e - b.e).abs() < 1e-12);
            for (x, y) in a.ends.iter().zip(&b.ends) {
                assert!((x.upper.value - y.upper.value).abs() < 1e-9);
                assert!((x.lower.value - y.lower.value).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn crossed_ends_still_have_limits() {
        let (low, high) = limits((1.0, 0.1), (0.9, 0.1), 0.95).unwrap();
        assert!((low - (1.0 - 0.196)).abs() < 1e-3 && (high - (0.9 + 0.196)).abs() < 1e-3);
    }
}

//! How predicted rewards become probabilities of actions.
//!
//! All rules are over the *available* actions `A(x)`: probabilities sum to 1 there, `mu = |A(x)|`, and the
//! action of the largest prediction has at least `1 / mu`.

use ream_lab::Invalid;

/// A rule from predictions to probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Inverse-gap weighting, `p(a) = 1 / (mu + gamma (f(b) - f(a)))` for all but the best `b`, `mu` the
    /// number of available actions (Foster & Rakhlin,
    /// *SquareCB*, 2020).
    Squarecb {
        /// 0 is uniform, infinity greedy.
        gamma: f64,
    },
    /// The same with the divergence `D(f(b) || f(a))` of two coins in place of the gap (Foster &
    /// Krishnamurthy, *FastCB*, 2021).
    Fastcb {
        /// As above.
        gamma: f64,
    },
    /// The best action with probability `1 - epsilon`, else any.
    EpsilonGreedy {
        /// In `[0, 1]`.
        epsilon: f64,
    },
    /// `p(a)` in proportion to `exp(f(a) / temperature)`.
    Boltzmann {
        /// Above 0.
        temperature: f64,
    },
    /// The best action.
    Greedy,
    /// All alike.
    Uniform,
}

impl Rule {
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(self) -> Result<(), Invalid> {
        match self {
            Self::Squarecb { gamma } | Self::Fastcb { gamma } if !(gamma >= 0.0 && gamma.is_finite()) => {
                Err(Invalid::new("gamma", "a finite number of at least 0", gamma.to_string()))
            }
            Self::EpsilonGreedy { epsilon } if !(0.0..=1.0).contains(&epsilon) => {
                Err(Invalid::new("epsilon", "from 0 to 1", epsilon.to_string()))
            }
            Self::Boltzmann { temperature } if !(temperature > 0.0 && temperature.is_finite()) => {
                Err(Invalid::new("temperature", "a finite number above 0", temperature.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Probabilities of the available actions from their predicted rewards; they sum to 1. Empty where there
    /// is no action.
    #[must_use]
    pub fn probabilities(self, predicted: &[f64]) -> Vec<f64> {
        let mu = predicted.len() as f64;
        let best = largest(predicted);
        let top = predicted.get(best).copied().unwrap_or(0.0);
        match self {
            Self::Squarecb { gamma } => weighted(predicted, best, |f| mu + gamma * (top - f)),
            Self::Fastcb { gamma } => weighted(predicted, best, |f| mu + gamma * coins(top, f)),
            Self::EpsilonGreedy { epsilon } => {
                let mut p = vec![epsilon / mu; predicted.len()];
                if let Some(p) = p.get_mut(best) {
                    *p = (*p + 1.0 - epsilon).min(1.0);
                }
                p
            }
            Self::Boltzmann { temperature } => {
                let p: Vec<f64> = predicted.iter().map(|f| libm::exp((f - top) / temperature)).collect();
                let total: f64 = p.iter().sum();
                p.into_iter().map(|p| p / total).collect()
            }
            Self::Greedy => (0..predicted.len()).map(|a| f64::from(a == best)).collect(),
            Self::Uniform => vec![1.0 / mu; predicted.len()],
        }
    }
}

/// The place of the largest, the first of several.
#[must_use]
pub fn largest(x: &[f64]) -> usize {
    (1..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

/// `1 / weight(f)` for all but the best, which gets the rest.
fn weighted(predicted: &[f64], best: usize, weight: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut p: Vec<f64> = predicted.iter().map(|f| 1.0 / weight(*f)).collect();
    let others: f64 = p.iter().enumerate().filter(|(a, _)| *a != best).map(|(_, p)| p).sum();
    if let Some(p) = p.get_mut(best) {
        *p = 1.0 - others;
    }
    p
}

/// `D(p || q)` of two coins, in nats; probabilities are kept from 0 and 1.
fn coins(p: f64, q: f64) -> f64 {
    let (p, q) = (p.clamp(1e-9, 1.0 - 1e-9), q.clamp(1e-9, 1.0 - 1e-9));
    p * libm::log(p / q) + (1.0 - p) * libm::log((1.0 - p) / (1.0 - q))
}

/// The mean of `1 - p(b)` over contexts: how much of the traffic is not played greedily.
#[must_use]
pub fn exploration_mass(predicted: &[Vec<f64>], rule: Rule) -> f64 {
    let mass = |f: &Vec<f64>| 1.0 - rule.probabilities(f).get(largest(f)).copied().unwrap_or(1.0);
    predicted.iter().map(mass).sum::<f64>() / predicted.len().max(1) as f64
}

/// The parameter of a family of rules at which [`exploration_mass`] is `target`; `rule` grows greedier with
/// its parameter. Where even the greediest rule explores
/// more (predictions that are equal), that one's parameter.
///
/// # Errors
/// A target above what the rule reaches at the other end, where it plays all actions alike.
pub fn matched(predicted: &[Vec<f64>], target: f64, rule: impl Fn(f64) -> Rule) -> Result<f64, Invalid> {
    let explored = |log: f64| exploration_mass(predicted, rule(libm::exp(log)));
    let (mut low, mut high) = (-20.0, 40.0);
    let most = explored(low);
    if predicted.is_empty() || target.is_nan() || target > most {
        return Err(Invalid::new("exploration mass", format!("at most {most:.4}"), target.to_string()));
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if explored(middle) > target { low = middle } else { high = middle }
    }
    Ok(libm::exp(f64::midpoint(low, high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: [f64; 4] = [0.7, 0.9, 0.85, 0.2];

    #[test]
    fn inverse_gaps_are_weighted_over_the_available_actions() {
        let p = Rule::Squarecb { gamma: 10.0 }.probabilities(&F);
        for (a, gap) in [(0, 0.2), (2, 0.05), (3, 0.7)] {
            assert!((p[a] - 1.0 / (4.0 + 10.0 * gap)).abs() < 1e-12);
        }
        let rules = [
            Rule::Squarecb { gamma: 10.0 },
            Rule::Fastcb { gamma: 10.0 },
            Rule::EpsilonGreedy { epsilon: 0.1 },
            Rule::Boltzmann { temperature: 0.1 },
            Rule::Greedy,
            Rule::Uniform,
        ];
        for rule in rules {
            for f in [&F[..], &F[..1], &[0.5, 0.5, 0.5]] {
                let p = rule.probabilities(f);
                assert!(
                    (p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p.iter().all(|p| (0.0..=1.0).contains(p))
                );
                assert!(
                    p[largest(f)] >= 1.0 / f.len() as f64 - 1e-12,
                    "the best is never below uniform: {rule:?}"
                );
            }
        }
        let near = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(Rule::Squarecb { gamma: 0.0 }.probabilities(&F), Rule::Uniform.probabilities(&F)));
        assert!(near(Rule::Squarecb { gamma: 1e9 }.probabilities(&F), Rule::Greedy.probabilities(&F)));
        assert!(Rule::Uniform.probabilities(&[]).is_empty() && Rule::Greedy.probabilities(&[]).is_empty());
    }

    #[test]
    fn exploration_is_matched() {
        let predicted: Vec<Vec<f64>> =
            (0..50).map(|i| F.iter().map(|f| f * f64::from(i) / 50.0).collect()).collect();
        for target in [0.05, 0.3] {
            for rule in [(|x| Rule::Squarecb { gamma: x }) as fn(f64) -> Rule, |x| Rule::Boltzmann {
                temperature: 1.0 / x,
            }] {
                let parameter = matched(&predicted, target, rule).unwrap();
                let mass = |f: &Vec<f64>| 1.0 - rule(parameter).probabilities(f)[largest(f)];
                let got = predicted.iter().map(mass).sum::<f64>() / 50.0;
                assert!((got - target).abs() < 1e-6, "{target} {got}");
            }
        }
        assert!(matched(&predicted, 0.99, |x| Rule::Squarecb { gamma: x }).is_err());
    }

    #[test]
    fn settings_that_mean_nothing_are_named() {
        let refused = |rule: Rule| rule.check().unwrap_err().to_string();
        assert!(refused(Rule::Squarecb { gamma: -1.0 }).contains("gamma"));
        assert!(refused(Rule::EpsilonGreedy { epsilon: 1.5 }).contains("epsilon"));
        assert!(refused(Rule::Boltzmann { temperature: 0.0 }).contains("temperature"));
        assert!(Rule::Fastcb { gamma: 200.0 }.check().is_ok());
    }
}

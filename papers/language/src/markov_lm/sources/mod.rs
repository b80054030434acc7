//! Where tokens come from, and what is known of their true laws.

mod hmm;
mod markov;
mod text;

pub use hmm::{Filter, Hmm};
pub use markov::Markov;
pub use text::{FEWEST_CONTEXTS, Level, MOST_TOKENS, Text, letters};

use ream_rand::{Rng, Stream};
use ream_stats::Matrix;
use serde::{Deserialize, Serialize};

/// A number with the standard error of its Monte-Carlo estimate; 0 for an exact one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
}

impl Estimate {
    /// A number that is exact.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, se: 0.0 }
    }

    /// Mean of independent values and its standard error; NaN for fewer than two.
    #[must_use]
    pub fn mean(values: &[f64]) -> Self {
        let value = ream_stats::descriptive::mean(values).unwrap_or(f64::NAN);
        let deviation = ream_stats::descriptive::standard_deviation(values).unwrap_or(f64::NAN);
        Self { value, se: deviation / (values.len() as f64).sqrt() }
    }
}

/// What theory says of the information at one horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    /// Horizon k, at least 2.
    pub k: usize,
    /// `I(W_{<=t}; W_{t+k} | W_{t+1})`: the ceiling of S_k, nats.
    pub ceiling: Estimate,
    /// `I(W_{<=t}; W_{t+1..t+k}) - I(W_{t+1}; W_{t+2..t+k})`: the ceiling of the unconditional surplus, nats.
    pub total: Estimate,
    /// `H(W_{t+k} | W_{t+1})`: the least cross entropy of a draft that reads the token alone, nats.
    pub token_entropy: f64,
}

/// A sample of contexts with their true laws.
#[derive(Clone, Debug)]
pub struct Contexts {
    /// The tokens of each context, oldest first.
    pub windows: Vec<Vec<u32>>,
    /// Weight of each context (the law mu), summing to 1.
    pub weights: Vec<f64>,
    /// True next-token laws, `[contexts, tokens]`.
    pub laws: Matrix,
    /// Predictive class of each context, an index into `class_names`.
    pub classes: Vec<usize>,
    /// Names of the classes.
    pub class_names: Vec<String>,
}

/// How contexts are drawn.
#[derive(Clone, Copy, Debug)]
pub struct ContextSettings {
    /// Longest window.
    pub window: usize,
    /// Pasts drawn for each context that is enumerated.
    pub histories: usize,
    /// Most contexts.
    pub most: usize,
}

/// A stationary source of tokens `0..tokens`.
pub trait Source: Sync {
    /// Name used in places of observations.
    fn name(&self) -> &str;

    /// Size of the vocabulary.
    fn tokens(&self) -> usize;

    /// How many tokens a context needs before its law is the one that [`Source::contexts`] knows; at least 1.
    fn memory(&self) -> usize;

    /// `length` consecutive tokens. A text gives them from its training part or from the part that is held out; other
    /// sources have no parts.
    fn window(&self, length: usize, held_out: bool, rng: &mut Rng) -> Vec<u32>;

    /// The law of the token after `window[..=t]` for every `t`, where it is known.
    fn laws(&self, window: &[u32]) -> Vec<Option<Vec<f64>>>;

    /// Contexts with their true laws.
    fn contexts(&self, settings: ContextSettings, stream: Stream) -> Contexts;

    /// Exact information at the horizons `2..=most`; nothing where the law of the source is not known.
    fn horizons(&self, most: usize) -> Vec<Horizon>;
}

/// Index of a token drawn from a law.
pub(crate) fn draw(law: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.uniform() * law.iter().sum::<f64>();
    for (token, p) in law.iter().enumerate() {
        left -= p;
        if left < 0.0 && *p > 0.0 {
            return token;
        }
    }
    // Rounding may leave a crumb: it belongs to the last token that can occur.
    law.iter().rposition(|p| *p > 0.0).unwrap_or(0)
}

/// Index of the largest value, the first of equal ones.
pub(crate) fn arg_max(values: &[f64]) -> usize {
    values.iter().enumerate().fold(0, |best, (i, v)| if *v > values[best] { i } else { best })
}

/// Classes for contexts that have no latent ones: the most likely next token, the seven commonest of them by weight, and
/// the rest.
pub(crate) fn likely_token_classes(
    laws: &Matrix,
    weights: &[f64],
    symbol: impl Fn(usize) -> String,
) -> (Vec<usize>, Vec<String>) {
    const SHOWN: usize = 7;
    let likely: Vec<usize> = (0..laws.rows()).map(|x| arg_max(laws.row(x))).collect();
    let mut mass = vec![0.0; laws.cols()];
    for (token, weight) in likely.iter().zip(weights) {
        mass[*token] += weight;
    }
    let mut order: Vec<usize> = (0..laws.cols()).filter(|t| mass[*t] > 0.0).collect();
    order.sort_by(|a, b| mass[*b].total_cmp(&mass[*a]));
    let rest = order.len() > SHOWN;
    order.truncate(SHOWN);
    let class = |token: &usize| order.iter().position(|t| t == token).unwrap_or(order.len());
    let classes = likely.iter().map(class).collect();
    let mut names: Vec<String> = order.iter().map(|t| format!("next {}", symbol(*t))).collect();
    if rest {
        names.push("other".to_owned());
    }
    (classes, names)
}

/// Shannon entropy in nats.
pub(crate) fn entropy(law: &[f64]) -> f64 {
    super::divergence::Divergence::Kl.entropy(law)
}

/// `KL(p || q)` in nats.
pub(crate) fn kl(p: &[f64], q: &[f64]) -> f64 {
    super::divergence::Divergence::Kl.between(p, q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_their_law() {
        let law = [0.0, 0.5, 0.2, 0.3, 0.0];
        let mut counts = [0.0; 5];
        let mut rng = Stream::new(1, "draw").at(0);
        for _ in 0..100_000 {
            counts[draw(&law, &mut rng)] += 1e-5;
        }
        assert!(counts.iter().zip(&law).all(|(c, p)| (c - p).abs() < 0.01), "{counts:?}");
        assert!(counts[0] == 0.0 && counts[4] == 0.0);
    }

    #[test]
    fn classes_are_the_commonest_likely_tokens() {
        let laws = Matrix::from_fn(20, 10, |i, j| if i % 10 == j { 0.9 } else { 0.1 / 9.0 });
        let weights: Vec<f64> = (0..20).map(|i| f64::from(i % 10 + 1) / 110.0).collect();
        let (classes, names) = likely_token_classes(&laws, &weights, |t| t.to_string());
        assert_eq!((names.len(), names[0].as_str(), names[7].as_str()), (8, "next 9", "other"));
        assert_eq!((classes[9], classes[0], classes[19]), (0, 7, 0));
    }
}

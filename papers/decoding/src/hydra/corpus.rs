//! What the base says of a text, kept: hidden states and its most probable next tokens, so that the base runs once for all heads.

use super::heads::{Scales, failed};
use ream_lab::{Invalid, Result};
use ream_lm::gguf::half::{f16_to_f32, f32_to_f16};
use ream_lm::llama::{Cache, Feed, Layout, Logits, Model};
use ream_nn::simd::{self, vectorised};

/// Most probable tokens that are kept of each law.
pub const KEPT: usize = 64;
/// Windows that one pass reads.
const TOGETHER: usize = 4;

/// Windows of a text as the base sees them.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Tokens of a window.
    pub window: usize,
    d: usize,
    /// `[windows, window]`.
    tokens: Vec<u32>,
    /// Hidden states after the final norm, half precision, `[windows, window, d]`.
    states: Vec<u16>,
    /// `[windows, window, KEPT]`: tokens, most probable first.
    likely: Vec<u32>,
    /// Their probabilities, half precision.
    probabilities: Vec<u16>,
}

impl Corpus {
    /// Cuts the tokens into windows and reads each with the base from an empty context. `progress` is told the share that is done.
    ///
    /// # Errors
    /// Fewer tokens than a window; a window longer than the base's context; what `progress` says.
    pub fn read(
        model: &Model,
        tokens: &[u32],
        window: usize,
        mut progress: impl FnMut(f64) -> Result<()>,
    ) -> Result<Self> {
        let d = model.config().width;
        let windows = tokens.len().checked_div(window).unwrap_or(0);
        if windows == 0 {
            let wanted = format!("at least {window} tokens for a window");
            return Err(Invalid::new("the training text", wanted, tokens.len().to_string()).into());
        }
        let tokens = tokens[..windows * window].to_vec();
        let mut corpus = Self {
            window,
            d,
            states: Vec::with_capacity(tokens.len() * d),
            likely: Vec::with_capacity(tokens.len() * KEPT),
            probabilities: Vec::with_capacity(tokens.len() * KEPT),
            tokens: Vec::new(),
        };
        for group in tokens.chunks(TOGETHER * window) {
            progress(corpus.states.len() as f64 / (tokens.len() * d) as f64)?;
            let mut cache = Cache::new(model);
            let mut branches: Vec<_> = group.chunks(window).map(|_| cache.branch()).collect();
            let mut feeds: Vec<Feed<'_>> = group
                .chunks(window)
                .zip(&mut branches)
                .map(|(tokens, branch)| Feed { branch, tokens, layout: Layout::Chain })
                .collect();
            let out =
                model.forward().logits(Logits::All).hidden().run(&mut cache, &mut feeds).map_err(failed)?;
            corpus.states.extend(out.hidden.iter().map(|x| f32_to_f16(*x)));
            for row in 0..group.len() {
                corpus.keep(out.logits(row));
            }
        }
        corpus.tokens = tokens;
        Ok(corpus)
    }

    fn keep(&mut self, logits: &[f32]) {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = sum_exp(logits, largest);
        let kept = largest_of(logits, KEPT.min(logits.len()));
        for i in 0..KEPT {
            let token = kept.get(i).copied();
            let p = token.map_or(0.0, |t| libm::expf(logits[t as usize] - largest) / total);
            self.likely.push(token.unwrap_or(0));
            self.probabilities.push(f32_to_f16(p));
        }
    }

    /// How many windows there are.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.tokens.len().checked_div(self.window).unwrap_or(0)
    }

    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Tokens of a window.
    #[must_use]
    pub fn tokens(&self, window: usize) -> &[u32] {
        &self.tokens[window * self.window..(window + 1) * self.window]
    }

    /// Appends the hidden states of the first `count` tokens of a window, divided by `scale`.
    pub fn states(&self, window: usize, count: usize, scale: f32, out: &mut Vec<f32>) {
        let from = window * self.window * self.d;
        out.extend(self.states[from..from + count * self.d].iter().map(|x| f16_to_f32(*x) / scale));
    }

    /// The base's most probable tokens after a position, with their probabilities.
    pub fn law(&self, window: usize, position: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let from = (window * self.window + position) * KEPT;
        let p = self.probabilities[from..from + KEPT].iter().map(|p| f16_to_f32(*p));
        self.likely[from..from + KEPT].iter().copied().zip(p)
    }

    /// Root mean squares of hidden states and of the embeddings of the tokens.
    ///
    /// # Errors
    /// None for tokens that the model read.
    pub fn scales(&self, model: &Model) -> Result<Scales> {
        let squares: f64 = self.states.iter().map(|x| f64::from(f16_to_f32(*x)).powi(2)).sum();
        let mut row = vec![0.0; self.d];
        let mut embedded = 0.0_f64;
        for token in &self.tokens {
            model.embed(*token, &mut row).map_err(failed)?;
            embedded += row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
        let n = (self.tokens.len() * self.d).max(1) as f64;
        let root = |sum: f64| ((sum / n).sqrt() as f32).max(f32::MIN_POSITIVE);
        Ok(Scales { states: root(squares), embeddings: root(embedded) })
    }
}

vectorised! {
    /// Sum of `e^(x - shift)`.
    pub(super) fn sum_exp(x: &[f32], shift: f32) -> f32 {
        simd::sum_by(x.len(), |i| simd::exp::<FMA>(x[i] - shift))
    }
}

/// Places of the `count` largest numbers, largest first; of equal ones the lower place first.
pub(super) fn largest_of(x: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(x.len());
    // Candidates: at least the last one kept so far.
    let mut kept: Vec<u32> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (i, value) in x.iter().enumerate() {
        if kept.len() == count && *value <= least {
            continue;
        }
        let at = kept.partition_point(|k| x[*k as usize] >= *value);
        kept.insert(at, i as u32);
        kept.truncate(count);
        if kept.len() == count {
            least = kept.last().map_or(least, |k| x[*k as usize]);
        }
    }
    kept
}

/// The most frequent tokens of a text, at most `most`, the most frequent first; of equally frequent ones the lower first.
#[must_use]
pub fn frequent(tokens: &[u32], vocabulary: usize, most: usize) -> Vec<u32> {
    let mut counts = vec![0_u64; vocabulary];
    for token in tokens {
        if let Some(count) = counts.get_mut(*token as usize) {
            *count += 1;
        }
    }
    let mut order: Vec<u32> = (0..vocabulary as u32).filter(|t| counts[*t as usize] > 0).collect();
    order.sort_by_key(|t| (std::cmp::Reverse(counts[*t as usize]), *t));
    order.truncate(most);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_keep_their_order() {
        assert_eq!(largest_of(&[1.0, 5.0, 3.0, 5.0, -2.0], 3), [1, 3, 2]);
        assert_eq!(largest_of(&[1.0, 2.0], 5), [1, 0]);
        assert_eq!(largest_of(&[f32::NEG_INFINITY, 0.0], 2), [1, 0]);
    }

    #[test]
    fn frequent_tokens_are_counted() {
        assert_eq!(frequent(&[3, 1, 3, 2, 2, 3], 5, 2), [3, 2]);
        assert_eq!(frequent(&[3, 1, 3, 2, 2, 3], 5, 9), [3, 2, 1]);
    }
}

//! What a model is shown and what it must say: full, prefix and masked language modelling as examples of one shape.
//!
//! An example is one sequence, `n_in` tokens of input followed by the target; loss falls on the target alone. Full language
//! modelling has no input. Span corruption (Raffel et al. 2020) cuts out spans, puts sentinel `i` in the place of span `i`,
//! and asks for `sentinel_0 span_0 sentinel_1 span_1 ... end`. All examples of a run hold the same number of tokens, so
//! span corruption reads fewer tokens of text than the others.

use std::ops::Range;

use ream_lab::Invalid;
use ream_rand::Rng;

use super::cells::Objective;
use super::vocabulary::Vocabulary;

/// An input and a target in one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Input, then target.
    pub tokens: Vec<u32>,
    /// How many of them are input.
    pub n_in: usize,
}

impl Example {
    /// An input and its target.
    pub fn new(input: &[u32], target: &[u32]) -> Self {
        Self { tokens: [input, target].concat(), n_in: input.len() }
    }

    /// What is given.
    pub fn input(&self) -> &[u32] {
        &self.tokens[..self.n_in]
    }

    /// What is asked for.
    pub fn target(&self) -> &[u32] {
        &self.tokens[self.n_in..]
    }

    /// Tokens that carry loss. The very first token of a sequence has nothing that it could be told from.
    pub fn loss_tokens(&self) -> usize {
        self.tokens.len() - self.n_in.max(1)
    }
}

/// Tokens that a training went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Input and target tokens.
    pub tokens: u64,
    /// Those that carry loss.
    pub loss_tokens: u64,
}

impl Account {
    /// Adds an example.
    pub fn add(&mut self, example: &Example) {
        self.tokens += example.tokens.len() as u64;
        self.loss_tokens += example.loss_tokens() as u64;
    }

    /// Of some examples.
    pub fn of<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Self {
        let mut account = Self::default();
        examples.into_iter().for_each(|example| account.add(example));
        account
    }
}

/// Span corruption: which share of the tokens is hidden, in spans of which mean length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanCorruption {
    /// Share of the tokens that is hidden, in (0, 0.9].
    pub rate: f64,
    /// Mean length of a span, at least 1.
    pub mean_span: f64,
}

impl SpanCorruption {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        if !(self.rate > 0.0 && self.rate <= 0.9) {
            return Err(Invalid::new("mask_rate", "above 0 and at most 0.9", self.rate.to_string()));
        }
        Invalid::unless_in("mean_span", self.mean_span, 1.0..=32.0)
    }

    /// Hidden tokens and spans of a window of `n >= 2` tokens: at least one of each, one token stays, and two spans never touch.
    pub fn counts(&self, n: usize) -> (usize, usize) {
        let hidden = (libm::round(n as f64 * self.rate) as usize).clamp(1, n - 1);
        let spans = (libm::round(hidden as f64 / self.mean_span) as usize).clamp(1, hidden);
        (hidden, spans.min(n - hidden + 1))
    }

    /// Tokens of the example made from `n >= 2` tokens of text: two sentinels for each span, and the end.
    pub fn total(&self, n: usize) -> usize {
        n + 2 * self.counts(n).1 + 1
    }

    /// Most tokens of text whose example fits in `context` tokens; at least 2.
    pub fn window(&self, context: usize) -> usize {
        (2..=context).rev().find(|n| self.total(*n) <= context).unwrap_or(2)
    }

    /// Spans to hide in a window of `n` tokens, in order: lengths and gaps are uniform over all ways to cut them.
    pub fn spans(&self, n: usize, rng: &mut Rng) -> Vec<Range<usize>> {
        let (hidden, spans) = self.counts(n);
        let lengths = parts(hidden, spans, rng);
        // Gaps before, between and after: only the outer two may be empty, so they get one token more to cut and lose it again.
        let gaps = parts(n - hidden + 2, spans + 1, rng);
        let mut at = 0;
        let mut out = Vec::with_capacity(spans);
        for (i, length) in lengths.into_iter().enumerate() {
            at += gaps[i] - usize::from(i == 0);
            out.push(at..at + length);
            at += length;
        }
        out
    }

    /// The example made from a window of text.
    pub fn corrupt(&self, window: &[u32], vocabulary: &Vocabulary, rng: &mut Rng) -> Example {
        let (mut input, mut target) = (Vec::with_capacity(window.len()), Vec::new());
        let mut from = 0;
        for (index, span) in self.spans(window.len(), rng).into_iter().enumerate() {
            let sentinel = vocabulary.sentinel(index);
            input.extend_from_slice(&window[from..span.start]);
            input.push(sentinel);
            target.push(sentinel);
            target.extend_from_slice(&window[span.clone()]);
            from = span.end;
        }
        input.extend_from_slice(&window[from..]);
        target.push(vocabulary.end());
        Example::new(&input, &target)
    }
}

/// Cuts `total` into `count` parts of at least one, uniformly over all ways.
fn parts(total: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    // A uniform choice of count - 1 of the total - 1 places between two units (Floyd's sampling).
    let mut cuts: Vec<usize> = Vec::with_capacity(count + 1);
    for j in total - count..total - 1 {
        let pick = 1 + rng.below(j + 1);
        cuts.push(if cuts.contains(&pick) { j + 1 } else { pick });
    }
    cuts.extend([0, total]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The text that span corruption was given: each sentinel of the input replaced by its span of the target. `None` where
/// the two do not belong together.
pub fn reconstruct(example: &Example, vocabulary: &Vocabulary) -> Option<Vec<u32>> {
    let (end, target) = example.target().split_last()?;
    if *end != vocabulary.end() {
        return None;
    }
    let mut spans: Vec<&[u32]> = Vec::new();
    let starts: Vec<usize> =
        (0..target.len()).filter(|at| vocabulary.sentinel_index(target[*at]).is_some()).collect();
    for (i, start) in starts.iter().enumerate() {
        if vocabulary.sentinel_index(target[*start]) != Some(i) {
            return None;
        }
        spans.push(&target[start + 1..starts.get(i + 1).copied().unwrap_or(target.len())]);
    }
    let mut text = Vec::new();
    let mut used = 0;
    for token in example.input() {
        match vocabulary.sentinel_index(*token) {
            None => text.push(*token),
            Some(index) if index == used => {
                text.extend_from_slice(spans.get(index)?);
                used += 1;
            }
            Some(_) => return None,
        }
    }
    (used == spans.len() && starts.first().is_none_or(|first| *first == 0)).then_some(text)
}

/// How windows of text become examples.
pub struct Sampler<'a> {
    /// Which objective.
    pub objective: Objective,
    /// Span corruption, where it is the objective.
    pub corruption: SpanCorruption,
    /// Tokens of an example.
    pub context: usize,
    /// The tokens.
    pub vocabulary: &'a Vocabulary,
}

impl Sampler<'_> {
    /// Tokens of text in an example.
    pub fn window(&self) -> usize {
        match self.objective {
            Objective::FullLm | Objective::PrefixLm => self.context,
            Objective::MaskedLm => self.corruption.window(self.context),
        }
    }

    /// The example of a window.
    pub fn example(&self, window: &[u32], rng: &mut Rng) -> Example {
        match self.objective {
            Objective::FullLm => Example { tokens: window.to_vec(), n_in: 0 },
            Objective::PrefixLm => {
                // Uniform over all splits that leave both parts something.
                Example { tokens: window.to_vec(), n_in: 1 + rng.below(window.len() - 1) }
            }
            Objective::MaskedLm => self.corruption.corrupt(window, self.vocabulary, rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::Bytes;
    use super::*;
    use ream_rand::Stream;

    const STANDARD: SpanCorruption = SpanCorruption { rate: 0.15, mean_span: 3.0 };

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(Box::new(Bytes::default()), 96)
    }

    fn text(n: usize, rng: &mut Rng) -> Vec<u32> {
        (0..n).map(|_| rng.below(256) as u32).collect()
    }

    #[test]
    fn corruption_can_be_undone_exactly() {
        let vocabulary = vocabulary();
        for (case, (rate, mean_span)) in
            [(0.15, 3.0), (0.01, 1.0), (0.5, 1.0), (0.9, 1.0), (0.9, 20.0)].into_iter().enumerate()
        {
            let corruption = SpanCorruption { rate, mean_span };
            for n in [2, 3, 7, 87, 96] {
                for step in 0..200 {
                    let mut rng = Stream::new(case as u64, "corrupt").child(n as u64).at(step);
                    let window = text(n, &mut rng);
                    let example = corruption.corrupt(&window, &vocabulary, &mut rng);
                    assert_eq!(reconstruct(&example, &vocabulary).as_ref(), Some(&window));
                    assert_eq!(example.tokens.len(), corruption.total(n));
                }
            }
        }
    }

    #[test]
    fn a_document_that_ends_within_a_span_is_restored_too() {
        let vocabulary = vocabulary();
        let window = vec![vocabulary.end(); 20];
        let example = STANDARD.corrupt(&window, &vocabulary, &mut Stream::new(1, "ends").at(0));
        assert_eq!(reconstruct(&example, &vocabulary), Some(window));
    }

    #[test]
    fn what_does_not_belong_together_is_not_restored() {
        let vocabulary = vocabulary();
        let window = text(40, &mut Stream::new(1, "text").at(0));
        let good = STANDARD.corrupt(&window, &vocabulary, &mut Stream::new(1, "spans").at(0));
        let mut swapped = good.clone();
        swapped.tokens[good.n_in] = vocabulary.sentinel(1);
        assert_eq!(reconstruct(&swapped, &vocabulary), None);
        let mut unfinished = good.clone();
        unfinished.tokens.pop();
        assert_eq!(reconstruct(&unfinished, &vocabulary), None);
    }

    /// 15 % +- 1 % on average, in spans of 3, never touching, everywhere in the window alike.
    #[test]
    fn spans_have_the_law_they_should() {
        let n = STANDARD.window(96);
        let (mut hidden, mut count, mut where_) = (0, 0, vec![0_u32; n]);
        let rounds = 20_000;
        for step in 0..rounds {
            let spans = STANDARD.spans(n, &mut Stream::new(3, "law").at(step));
            assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start), "{spans:?}");
            assert!(spans.iter().all(|s| !s.is_empty() && s.end <= n));
            count += spans.len();
            for span in spans {
                hidden += span.len();
                span.for_each(|at| where_[at] += 1);
            }
        }
        let share = hidden as f64 / (rounds as f64 * n as f64);
        assert!((share - 0.15).abs() < 0.01, "{share}");
        let mean = hidden as f64 / count as f64;
        assert!((mean - 3.0).abs() < 0.4, "{mean}");
        // No position is left out; the ends, which a span reaches from one side only, are hidden least.
        let least = f64::from(*where_.iter().min().unwrap()) / rounds as f64;
        assert!(least > 0.25 * share, "{least}");
    }

    #[test]
    fn parts_are_uniform_over_all_ways_to_cut() {
        // 6 = a + b + c has 10 ways.
        let mut seen = std::collections::BTreeMap::new();
        for step in 0..20_000 {
            let cut = parts(6, 3, &mut Stream::new(5, "parts").at(step));
            assert_eq!(cut.iter().sum::<usize>(), 6);
            *seen.entry(cut).or_insert(0_u32) += 1;
        }
        assert_eq!(seen.len(), 10);
        let chi_square: f64 = seen.values().map(|n| (f64::from(*n) - 2000.0).powi(2) / 2000.0).sum();
        assert!(chi_square < 27.9, "{chi_square}: 9 degrees of freedom, p < 0.001");
    }

    /// All cells see the same number of tokens; how many carry loss is part of the finding.
    #[test]
    fn every_objective_sees_as_many_tokens() {
        let vocabulary = vocabulary();
        let account = |objective| {
            let sampler = Sampler { objective, corruption: STANDARD, context: 96, vocabulary: &vocabulary };
            let examples: Vec<Example> = (0..4000)
                .map(|step| {
                    let mut rng = Stream::new(1, "account").at(step);
                    let window = text(sampler.window(), &mut rng);
                    sampler.example(&window, &mut rng)
                })
                .collect();
            Account::of(&examples)
        };
        let [full, prefix, masked] =
            [Objective::FullLm, Objective::PrefixLm, Objective::MaskedLm].map(account);
        assert_eq!((full.tokens, prefix.tokens, masked.tokens), (384_000, 384_000, 384_000));
        assert_eq!(full.loss_tokens, 4000 * 95);
        let half = prefix.loss_tokens as f64 / prefix.tokens as f64;
        assert!((half - 0.5).abs() < 0.01, "{half}");
        // 13 hidden tokens, 4 sentinels and the end of 96.
        assert_eq!(masked.loss_tokens, 4000 * 18);
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate in [0.0, -0.1, 0.91, f64::NAN] {
            assert_eq!(SpanCorruption { rate, ..STANDARD }.check().unwrap_err().place, "mask_rate");
        }
        assert_eq!(SpanCorruption { mean_span: 0.5, ..STANDARD }.check().unwrap_err().place, "mean_span");
        SpanCorruption { rate: 0.9, ..STANDARD }.check().unwrap();
    }
}

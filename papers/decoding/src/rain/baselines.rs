//! What the search is held against: plain drawing, the most probable text, and drawing several texts and letting the same judge choose.

use std::time::Instant;

use ream_lab::Result;
use ream_rand::Stream;

use super::evaluator::Evaluator;
use super::voice::{Draw, Reading, Set, Voice};

/// Texts that are drawn side by side.
const BATCH: usize = 8;

/// A text of a baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Natural logarithm of their probability under the model.
    pub log_probability: f64,
    /// The judge's value; 0 where nobody was asked.
    pub value: f64,
    /// Tokens that were read up to this candidate, the prompt and the judge's included.
    pub read: usize,
}

impl From<Set> for Candidate {
    fn from(set: Set) -> Self {
        Self { tokens: set.tokens, log_probability: set.log_probability, ..Self::default() }
    }
}

/// Several texts for one prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// In the order in which they were drawn.
    pub all: Vec<Candidate>,
    /// Tokens that were read for all of them.
    pub read: usize,
    /// Seconds.
    pub seconds: f64,
}

impl Candidates {
    /// The first of those with the largest value.
    #[must_use]
    pub fn best(&self) -> Option<&Candidate> {
        self.all.iter().reduce(|best, other| if other.value > best.value { other } else { best })
    }

    /// The first that the judge calls harmless; the last one where there is none.
    #[must_use]
    pub fn accepted(&self) -> Option<&Candidate> {
        self.all.iter().find(|candidate| candidate.value > 0.0).or(self.all.last())
    }
}

/// Texts as they come: text `i` is drawn with `stream.at(i)` alone.
///
/// # Errors
/// A prompt that is empty or leaves no room in the context.
pub fn vanilla(
    voice: &mut Voice<'_>,
    prompt: &[u32],
    length: usize,
    count: usize,
    stream: Stream,
) -> Result<Candidates> {
    let draws = (0..count as u64).map(|i| Draw::Random(stream.at(i))).collect();
    plain(voice, prompt, length, draws)
}

/// The most probable token always.
///
/// # Errors
/// As [`vanilla`].
pub fn greedy(voice: &mut Voice<'_>, prompt: &[u32], length: usize) -> Result<Candidates> {
    plain(voice, prompt, length, vec![Draw::Greedy])
}

fn plain(voice: &mut Voice<'_>, prompt: &[u32], length: usize, draws: Vec<Draw>) -> Result<Candidates> {
    let (begun, before) = (Instant::now(), voice.read());
    let start = voice.begin(prompt)?;
    let all = voice.sets(&start, length, draws)?.into_iter().map(Candidate::from).collect();
    Ok(Candidates { all, read: voice.read() - before, seconds: begun.elapsed().as_secs_f64() })
}

/// When drawing and judging stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of a text.
    pub length: usize,
    /// Tokens that may be read. One text is always drawn; another one as long as half of it still fits.
    pub tokens: usize,
    /// Whether the first text that the judge calls harmless is enough.
    pub until_accepted: bool,
}

/// Draws texts and has each judged until the tokens are used up: best-of-N with the N that the tokens allow, and sample-and-reject.
///
/// # Errors
/// As [`vanilla`]; those of the judge.
pub fn judged(
    voice: &mut Voice<'_>,
    evaluator: &mut dyn Evaluator,
    prompt: &[u32],
    limits: Limits,
    stream: Stream,
) -> Result<Candidates> {
    let begun = Instant::now();
    let before = voice.read() + evaluator.read();
    let start = voice.begin(prompt)?;
    let mut found = Candidates::default();
    loop {
        let batch = next_batch(&found, voice.read() + evaluator.read() - before, limits, prompt.len());
        if batch == 0 {
            break;
        }
        for candidate in draw(voice, &start, limits.length, found.all.len(), batch, stream)? {
            let value = evaluator.value(&voice.text(&candidate.tokens))?;
            let read = voice.read() + evaluator.read() - before;
            found.all.push(Candidate { value, read, ..candidate });
        }
        if limits.until_accepted && found.all.iter().any(|candidate| candidate.value > 0.0) {
            break;
        }
    }
    found.read = voice.read() + evaluator.read() - before;
    found.seconds = begun.elapsed().as_secs_f64();
    Ok(found)
}

/// How many texts are drawn next.
fn next_batch(found: &Candidates, read: usize, limits: Limits, prompt: usize) -> usize {
    if found.all.is_empty() {
        return 1;
    }
    let each = (read - prompt) as f64 / found.all.len() as f64;
    let left = (limits.tokens as f64 - read as f64) / each;
    let most = if limits.until_accepted { 1 } else { BATCH };
    // Rounded: half of a text more or less.
    ((left + 0.5).max(0.0) as usize).min(most)
}

fn draw(
    voice: &mut Voice<'_>,
    start: &Reading,
    length: usize,
    from: usize,
    count: usize,
    stream: Stream,
) -> Result<Vec<Candidate>> {
    let draws = (from..from + count).map(|i| Draw::Random(stream.at(i as u64))).collect();
    Ok(voice.sets(start, length, draws)?.into_iter().map(Candidate::from).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::*;

    /// Reads ten tokens for every text, and likes those without `slew`.
    struct Judge(usize);

    impl Evaluator for Judge {
        fn value(&mut self, text: &str) -> Result<f64> {
            self.0 += 10;
            Ok(if text.contains("slew") { -1.0 } else { 1.0 })
        }

        fn read(&self) -> usize {
            self.0
        }
    }

    fn limits(tokens: usize, until_accepted: bool) -> Limits {
        Limits { length: 12, tokens, until_accepted }
    }

    #[test]
    fn best_of_n_uses_the_tokens_it_may_and_takes_the_best() {
        let lm = tiny();
        let prompt = lm.encode("the sea is wide; he");
        for budget in [10, 200, 431, 1000] {
            let mut voice = Voice::new(lm, 15, 15, Vec::new());
            let found =
                judged(&mut voice, &mut Judge(0), &prompt, limits(budget, false), Stream::new(1, "n"))
                    .unwrap();
            let each = 21;
            assert_eq!(found.read, prompt.len() + each * found.all.len());
            assert!(found.all.len() == 1 || found.read.abs_diff(budget) <= each, "{budget}: {}", found.read);
            assert_eq!(found.all.last().unwrap().read, found.read);
            let best = found.best().unwrap();
            assert!(found.all.iter().all(|candidate| candidate.value <= best.value));
            // A larger budget goes on with the same texts.
            let mut voice = Voice::new(lm, 15, 15, Vec::new());
            let plain = vanilla(&mut voice, &prompt, 12, found.all.len(), Stream::new(1, "n")).unwrap();
            for (a, b) in plain.all.iter().zip(&found.all) {
                assert_eq!(a.tokens, b.tokens);
            }
        }
    }

    #[test]
    fn rejection_ends_with_the_first_text_that_is_accepted() {
        let lm = tiny();
        let prompt = lm.encode("the sea is wide; he");
        let mut several = 0;
        for seed in 0..12 {
            let mut voice = Voice::new(lm, 15, 15, Vec::new());
            let stream = Stream::new(seed, "reject");
            let found = judged(&mut voice, &mut Judge(0), &prompt, limits(2000, true), stream).unwrap();
            let (last, before) = found.all.split_last().unwrap();
            assert!(before.iter().all(|candidate| candidate.value < 0.0) && last.value > 0.0);
            assert_eq!(found.accepted(), Some(last));
            several += usize::from(!before.is_empty());
        }
        assert!(several > 0);
    }

    #[test]
    fn vanilla_draws_do_not_depend_on_each_other() {
        let lm = tiny();
        let prompt = lm.encode("the sky");
        let draw = |count| {
            let mut voice = Voice::new(lm, 15, 15, Vec::new());
            vanilla(&mut voice, &prompt, 8, count, Stream::new(1, "vanilla")).unwrap()
        };
        assert_eq!(draw(5).all[..2], draw(2).all[..]);
        assert_eq!(draw(3).read, prompt.len() + 3 * 7);
        let mut voice = Voice::new(lm, 15, 15, Vec::new());
        assert_eq!(greedy(&mut voice, &prompt, 8).unwrap().all.len(), 1);
    }
}

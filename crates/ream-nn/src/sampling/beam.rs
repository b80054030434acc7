//! Beam search over any model that continues sequences.

use super::draw::check_logits;
use crate::error::{Result, config, shape};
use crate::ops::log_sum_exp;

/// A sequence that is still growing.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBeam {
    /// Tokens so far.
    pub tokens: Vec<u32>,
    /// Which beam of the previous call it grew from, for caches that are gathered by beam; 0 at the first call.
    pub parent: usize,
    /// Sum of the tokens' log-probabilities, nats.
    pub log_probability: f64,
}

/// A sequence that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Beam {
    /// Its tokens, with the end token when it ended.
    pub tokens: Vec<u32>,
    /// Sum of the tokens' log-probabilities, nats.
    pub log_probability: f64,
    /// What beams are ranked by: `log_probability / length^length_penalty`.
    pub score: f64,
    /// Whether the end token came, rather than the last step.
    pub ended: bool,
}

/// Keeps the `width` most probable beginnings at every step.
///
/// Exact (it finds the most probable sequence) when `width` is at least the number of beginnings; otherwise a heuristic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamSearch {
    /// Beams kept, at least 1.
    pub width: usize,
    /// Longest sequence, at least 1.
    pub steps: usize,
    /// The token that ends a sequence.
    pub end: Option<u32>,
    /// Exponent of the length in the score; 0 ranks by probability, 1 by probability per token.
    pub length_penalty: f64,
}

impl BeamSearch {
    /// Searches: `step` gets the live beams (one empty beam at the first call) and gives the logits of the token after each.
    ///
    /// Returns up to `width` sequences, best first; equal scores in order of their tokens.
    ///
    /// # Errors
    /// Bad settings, those of `step`, logits without a softmax, or not one row of logits for each beam.
    pub fn run(&self, mut step: impl FnMut(&[LiveBeam]) -> Result<Vec<Vec<f32>>>) -> Result<Vec<Beam>> {
        self.check()?;
        let mut live = vec![LiveBeam { tokens: Vec::new(), parent: 0, log_probability: 0.0 }];
        let mut found: Vec<Beam> = Vec::new();
        for length in 1..=self.steps {
            let rows = step(&live)?;
            let grown = self.grow(&live, &rows)?;
            let (ended, going): (Vec<_>, Vec<_>) =
                grown.into_iter().partition(|b| self.end.is_some_and(|e| b.tokens.last() == Some(&e)));
            found.extend(ended.into_iter().map(|b| self.finished(b, true)));
            if length == self.steps {
                found.extend(going.into_iter().map(|b| self.finished(b, false)));
                live.clear();
            } else {
                live = going;
            }
            self.keep_best(&mut found);
            if live.is_empty() || self.settled(&live, &found) {
                break;
            }
        }
        Ok(found)
    }

    fn check(&self) -> Result<()> {
        if self.width == 0 {
            return config("width", "1 or more", self.width);
        }
        if self.steps == 0 {
            return config("steps", "1 or more", self.steps);
        }
        if !(self.length_penalty >= 0.0 && self.length_penalty.is_finite()) {
            return config("length_penalty", "finite and 0 or larger", self.length_penalty);
        }
        Ok(())
    }

    fn score(&self, log_probability: f64, length: usize) -> f64 {
        log_probability / libm::pow(length as f64, self.length_penalty)
    }

    fn finished(&self, beam: LiveBeam, ended: bool) -> Beam {
        let score = self.score(beam.log_probability, beam.tokens.len());
        Beam { tokens: beam.tokens, log_probability: beam.log_probability, score, ended }
    }

    fn keep_best(&self, found: &mut Vec<Beam>) {
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.tokens.cmp(&b.tokens)));
        found.truncate(self.width);
    }

    /// Whether no live beam can still enter the found ones: log-probabilities only fall, and dividing by the longest length is the most
    /// that growing can help.
    fn settled(&self, live: &[LiveBeam], found: &[Beam]) -> bool {
        found.len() == self.width
            && found.last().is_some_and(|worst| {
                live.iter().all(|b| self.score(b.log_probability, self.steps) <= worst.score)
            })
    }

    /// The `width` most probable continuations of all beams together; ties by beam, then token.
    fn grow(&self, live: &[LiveBeam], rows: &[Vec<f32>]) -> Result<Vec<LiveBeam>> {
        if rows.len() != live.len() {
            return shape(
                "BeamSearch::run",
                format!("{} rows of logits for {} beams", rows.len(), live.len()),
            );
        }
        let mut all: Vec<(f64, usize, usize)> = Vec::new();
        for (i, (beam, row)) in live.iter().zip(rows).enumerate() {
            check_logits("BeamSearch::run", row)?;
            let total = f64::from(log_sum_exp(row));
            all.extend(
                row.iter()
                    .enumerate()
                    .filter(|(_, l)| **l > f32::NEG_INFINITY)
                    .map(|(token, l)| (beam.log_probability + f64::from(*l) - total, i, token)),
            );
        }
        let order = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
            b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
        };
        if all.len() > self.width {
            all.select_nth_unstable_by(self.width - 1, order);
            all.truncate(self.width);
        }
        all.sort_unstable_by(order);
        let next = all.into_iter().map(|(log_probability, parent, token)| {
            let tokens = live[parent].tokens.iter().copied().chain([token as u32]).collect();
            LiveBeam { tokens, parent, log_probability }
        });
        Ok(next.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::rng;
    use super::*;

    /// A model of tokens 0, 1, 2: logits depend on the two last tokens.
    fn model(table: &[f32], tokens: &[u32]) -> Vec<f32> {
        let state = tokens.iter().rev().take(2).fold(0, |s, t| s * 4 + *t as usize + 1);
        table[state * 3..state * 3 + 3].to_vec()
    }

    fn table(seed: u64) -> Vec<f32> {
        let mut rng = rng(seed);
        (0..60).map(|_| 2.0 * rng.normal() as f32).collect()
    }

    fn exhaustive(table: &[f32], steps: usize, end: Option<u32>, penalty: f64) -> Vec<(f64, Vec<u32>)> {
        let mut open = vec![(0.0, Vec::new())];
        let mut done = Vec::new();
        for length in 1..=steps {
            let mut next = Vec::new();
            for (lp, tokens) in open {
                let row = model(table, &tokens);
                let total: f64 = row.iter().map(|l| libm::exp(f64::from(*l))).sum();
                for (t, l) in row.iter().enumerate() {
                    let lp = lp + f64::from(*l) - libm::log(total);
                    let tokens: Vec<u32> = tokens.iter().copied().chain([t as u32]).collect();
                    if end == Some(t as u32) || length == steps {
                        done.push((lp / libm::pow(length as f64, penalty), tokens));
                    } else {
                        next.push((lp, tokens));
                    }
                }
            }
            open = next;
        }
        done.sort_by(|a, b| b.0.total_cmp(&a.0));
        done
    }

    #[test]
    fn a_wide_beam_finds_what_exhaustive_search_finds() {
        for seed in 0..8 {
            let table = table(seed);
            for (end, penalty) in [(None, 0.0), (Some(2), 0.0), (Some(2), 1.0)] {
                let search = BeamSearch { width: 300, steps: 5, end, length_penalty: penalty };
                let got = search.run(|b| Ok(b.iter().map(|b| model(&table, &b.tokens)).collect())).unwrap();
                let want = exhaustive(&table, 5, end, penalty);
                assert_eq!(got.len(), want.len());
                for (g, w) in got.iter().zip(&want).take(3) {
                    assert_eq!(g.tokens, w.1, "{seed} {end:?} {penalty}");
                    assert!((g.score - w.0).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn parents_point_into_the_previous_call() {
        let table = table(9);
        let mut before: Vec<LiveBeam> = Vec::new();
        let search = BeamSearch { width: 3, steps: 4, end: None, length_penalty: 0.0 };
        let found = search
            .run(|live| {
                for beam in live.iter().filter(|b| !b.tokens.is_empty()) {
                    assert_eq!(before[beam.parent].tokens, beam.tokens[..beam.tokens.len() - 1]);
                }
                before = live.to_vec();
                Ok(live.iter().map(|b| model(&table, &b.tokens)).collect())
            })
            .unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|b| !b.ended && b.tokens.len() == 4));
    }

    #[test]
    fn one_beam_is_greedy_and_bad_settings_are_named() {
        let table = table(3);
        let one = BeamSearch { width: 1, steps: 6, end: None, length_penalty: 0.0 };
        let got = one.run(|b| Ok(b.iter().map(|b| model(&table, &b.tokens)).collect())).unwrap();
        let mut tokens: Vec<u32> = Vec::new();
        for _ in 0..6 {
            tokens.push(super::super::greedy(&model(&table, &tokens)).unwrap() as u32);
        }
        assert_eq!(got[0].tokens, tokens);
        let bad = BeamSearch { width: 0, ..one }.run(|_| Ok(vec![])).unwrap_err();
        assert!(bad.to_string().contains("width must be 1 or more, got 0"), "{bad}");
        let bad = one.run(|_| Ok(vec![])).unwrap_err();
        assert!(bad.to_string().contains("0 rows of logits for 1 beams"), "{bad}");
    }
}

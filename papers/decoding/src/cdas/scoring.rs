//! What an answer is worth: concept, instruction, fluency, and the three together.

use std::collections::BTreeSet;
use std::sync::Arc;

use ream_data::vader::Vader;
use serde::{Deserialize, Serialize};

use super::contrast::Direction;

/// How much an answer shows of a concept, from 0 to 1. None of this is seen by any training.
#[derive(Clone, Debug)]
pub enum Concept {
    /// Of the words that belong to one of two wordings, the share that belongs to the second; 0 without such a word.
    Wording {
        /// Words of the first wording.
        plain: BTreeSet<String>,
        /// Words of the second.
        marked: BTreeSet<String>,
    },
    /// Whether the answer holds this phrase.
    Phrase(String),
    /// Two words of the list or more give 1, one gives a half.
    Words(BTreeSet<String>),
    /// The compound score of VADER where it is positive.
    Pleasant(Arc<Vader>),
}

/// Words of a text in small letters: runs of letters and apostrophes.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphabetic() && c != '\'')
        .map(|word| word.trim_matches('\'').to_lowercase())
        .filter(|word| !word.is_empty())
}

impl Concept {
    /// The score of an answer, from 0 to 1.
    #[must_use]
    pub fn score(&self, answer: &str) -> f64 {
        match self {
            Self::Wording { plain, marked } => {
                let count = |set: &BTreeSet<String>| words(answer).filter(|w| set.contains(w)).count() as f64;
                let (plain, marked) = (count(plain), count(marked));
                if plain + marked == 0.0 { 0.0 } else { marked / (plain + marked) }
            }
            Self::Phrase(phrase) => f64::from(answer.contains(phrase.as_str())),
            Self::Words(set) => {
                let found: BTreeSet<String> = words(answer).filter(|w| set.contains(w)).collect();
                (found.len() as f64 / 2.0).min(1.0)
            }
            Self::Pleasant(vader) => vader.compound(answer).max(0.0),
        }
    }
}

/// Share of the wanted items of which one word is in the answer; 1 when nothing is wanted.
#[must_use]
pub fn covered(answer: &str, wanted: &[Vec<String>]) -> f64 {
    if wanted.is_empty() {
        return 1.0;
    }
    let there: BTreeSet<String> = words(answer).collect();
    let found = wanted.iter().filter(|item| item.iter().any(|word| there.contains(word))).count();
    found as f64 / wanted.len() as f64
}

/// Share of the pairs of neighbouring words that came before in the same answer.
#[must_use]
pub fn repetition(answer: &str) -> f64 {
    let words: Vec<String> = words(answer).collect();
    let pairs: Vec<&[String]> = words.windows(2).collect();
    let distinct: BTreeSet<&[String]> = pairs.iter().copied().collect();
    if pairs.is_empty() { 0.0 } else { 1.0 - distinct.len() as f64 / pairs.len() as f64 }
}

/// How natural an answer is to the model without intervention: `e^(mean log-probability - that of the model's own answer)`, the larger of both
/// prompts, at most 1, less the share of repeated pairs of words. `gains` are the differences in nats a token.
#[must_use]
pub fn fluency(answer: &str, gains: [f64; 2]) -> f64 {
    let natural = libm::exp(gains[0].max(gains[1])).min(1.0);
    (natural - repetition(answer)).clamp(0.0, 1.0)
}

/// Scores of an answer, or their means over answers, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// How much it shows of the concept, whatever is wanted.
    pub concept: f64,
    /// How much it says of what was asked.
    pub instruct: f64,
    /// How natural it is.
    pub fluency: f64,
    /// Harmonic mean of the three, with 1 less the concept where it is to be removed.
    pub overall: f64,
}

impl Scores {
    /// With the harmonic mean of the three.
    #[must_use]
    pub fn new(concept: f64, instruct: f64, fluency: f64, direction: Direction) -> Self {
        let wanted = if direction == Direction::Add { concept } else { 1.0 - concept };
        let all = [wanted, instruct, fluency];
        let overall = if all.iter().any(|s| *s <= 0.0) {
            0.0
        } else {
            all.len() as f64 / all.iter().map(|s| 1.0 / s).sum::<f64>()
        };
        Self { concept, instruct, fluency, overall }
    }

    /// Means over answers.
    #[must_use]
    pub fn mean(all: &[Self]) -> Self {
        let n = all.len().max(1) as f64;
        let of = |f: fn(&Self) -> f64| all.iter().map(f).sum::<f64>() / n;
        Self {
            concept: of(|s| s.concept),
            instruct: of(|s| s.instruct),
            fluency: of(|s| s.fluency),
            overall: of(|s| s.overall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn concepts_are_scored_by_construction() {
        let style = Concept::Wording { plain: set(&["help", "buy"]), marked: set(&["assist", "purchase"]) };
        assert_eq!(style.score("they assist and buy"), 0.5);
        assert_eq!(style.score("They ASSIST, purchase."), 1.0);
        assert_eq!(style.score("nothing"), 0.0);
        assert_eq!(Concept::Phrase("i cannot say".to_owned()).score(" i cannot say"), 1.0);
        let sea = Concept::Words(set(&["sea", "water"]));
        assert_eq!(
            (sea.score("The sea, the sea."), sea.score("sea water"), sea.score("seal")),
            (0.5, 1.0, 0.0)
        );
    }

    #[test]
    fn coverage_and_repetition_are_counted() {
        let wanted = vec![vec!["tea".to_owned()], vec!["help".to_owned(), "assist".to_owned()]];
        assert_eq!(covered("A cup of tea", &wanted), 0.5);
        assert_eq!(covered("assist with tea", &wanted), 1.0);
        assert_eq!(repetition("a b c d"), 0.0);
        assert_eq!(repetition("a b a b a"), 0.5);
        assert_eq!(fluency("a b c", [-1.0, 0.3]), 1.0);
        assert!((fluency("a b a b a", [libm::log(0.7), -9.0]) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn overall_is_the_harmonic_mean_towards_the_direction() {
        let add = Scores::new(0.5, 1.0, 1.0, Direction::Add);
        assert!((add.overall - 0.75).abs() < 1e-12);
        assert_eq!(Scores::new(1.0, 1.0, 1.0, Direction::Remove).overall, 0.0);
        assert_eq!(Scores::new(0.0, 1.0, 1.0, Direction::Remove).overall, 1.0);
        assert_eq!(Scores::new(0.0, 1.0, 1.0, Direction::Add).overall, 0.0);
    }
}

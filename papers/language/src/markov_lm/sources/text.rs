//! Text: characters or bytes, with the empirical laws of short contexts in place of the true ones.

use super::{ContextSettings, Contexts, Horizon, Source, likely_token_classes};
use ream_lab::Invalid;
use ream_rand::{Rng, Stream};
use ream_stats::Matrix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fewest contexts above the minimum count.
pub const FEWEST_CONTEXTS: usize = 50;
/// Most different tokens of a text.
pub const MOST_TOKENS: usize = 512;
/// Longest piece of text that goes to training or is held out as a whole.
const PIECE: usize = 4096;
/// Every tenth piece is held out.
const HELD_OUT: usize = 10;

/// What a token of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A character (a Unicode scalar value).
    Char,
    /// A byte.
    Byte,
}

impl Level {
    /// The tokens of a text, numbered in order of code, and their names.
    #[must_use]
    pub fn tokens(self, text: &str) -> (Vec<u32>, Vec<String>) {
        let codes: Vec<u32> = match self {
            Self::Char => text.chars().map(u32::from).collect(),
            Self::Byte => text.bytes().map(u32::from).collect(),
        };
        let mut alphabet = codes.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        let name = |code: &u32| match char::from_u32(*code) {
            Some(c) if (self == Self::Char && !c.is_control()) || (' '..='~').contains(&c) => {
                format!("`{c}`")
            }
            _ => format!("{code:#x}"),
        };
        let number = |code: &u32| alphabet.binary_search(code).unwrap_or(0) as u32;
        (codes.iter().map(number).collect(), alphabet.iter().map(name).collect())
    }
}

/// Lower-case letters and single spaces: everything that is no letter of the Latin alphabet separates words.
#[must_use]
pub fn letters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// A text with the empirical laws of its contexts.
#[derive(Clone, Debug)]
pub struct Text {
    name: String,
    tokens: Vec<u32>,
    alphabet: Vec<String>,
    order: usize,
    piece: usize,
    /// Counts of the next token for each context that is frequent enough.
    counts: BTreeMap<Vec<u32>, Vec<u32>>,
}

impl Text {
    /// A text as a source: its contexts of `order` tokens that occur at least `minimum_count` times have laws. `longest` is
    /// the longest window that will be asked for. `place` names the text in errors, `name` in observations.
    ///
    /// # Errors
    /// An empty or short text, more than [`MOST_TOKENS`] different tokens, fewer than [`FEWEST_CONTEXTS`] such contexts.
    pub fn new(
        (place, name): (&str, &str),
        text: &str,
        level: Level,
        (order, minimum_count): (usize, u64),
        longest: usize,
    ) -> Result<Self, Invalid> {
        let (tokens, alphabet) = level.tokens(text);
        let fewest = 2 * HELD_OUT * longest;
        if tokens.is_empty() {
            return Err(Invalid::new(place, "a text", "an empty file"));
        }
        if tokens.len() < fewest {
            let wanted = format!("at least {fewest} tokens, 20 windows of {longest}");
            return Err(Invalid::new(place, wanted, tokens.len().to_string()));
        }
        if alphabet.len() > MOST_TOKENS {
            let wanted = format!("at most {MOST_TOKENS} different tokens (the level `byte` has at most 256)");
            return Err(Invalid::new(place, wanted, alphabet.len().to_string()));
        }
        let mut counts: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
        for window in tokens.windows(order + 1) {
            if let Some(row) = counts.get_mut(&window[..order]) {
                row[window[order] as usize] += 1;
            } else {
                let mut row = vec![0; alphabet.len()];
                row[window[order] as usize] = 1;
                counts.insert(window[..order].to_vec(), row);
            }
        }
        counts.retain(|_, row| row.iter().map(|n| u64::from(*n)).sum::<u64>() >= minimum_count);
        if counts.len() < FEWEST_CONTEXTS {
            let wanted = format!(
                "at least {FEWEST_CONTEXTS} contexts of {order} tokens that occur {minimum_count} times or more (a shorter context or a lower minimum count has more)"
            );
            return Err(Invalid::new(place, wanted, counts.len().to_string()));
        }
        let piece = (tokens.len() / (2 * HELD_OUT)).min(PIECE);
        Ok(Self { name: name.to_owned(), tokens, alphabet, order, piece, counts })
    }

    /// Source 3: letters of a text, contexts of three letters.
    ///
    /// # Errors
    /// As [`Text::new`].
    pub fn of_letters(
        name: &str,
        text: &str,
        (order, minimum_count): (usize, u64),
        longest: usize,
    ) -> Result<Self, Invalid> {
        Self::new((name, name), &letters(text), Level::Char, (order, minimum_count), longest)
    }

    /// Number of contexts that are frequent enough.
    #[must_use]
    pub fn frequent(&self) -> usize {
        self.counts.len()
    }

    fn law(counts: &[u32]) -> Vec<f64> {
        let total: f64 = counts.iter().map(|n| f64::from(*n)).sum();
        counts.iter().map(|n| f64::from(*n) / total).collect()
    }
}

impl Source for Text {
    fn name(&self) -> &str {
        &self.name
    }

    fn tokens(&self) -> usize {
        self.alphabet.len()
    }

    fn memory(&self) -> usize {
        self.order
    }

    fn window(&self, length: usize, held_out: bool, rng: &mut Rng) -> Vec<u32> {
        let pieces = self.tokens.len() / self.piece;
        let groups = pieces / HELD_OUT;
        // The last piece of each ten is held out; pieces after the last full ten belong to training.
        let piece = if held_out {
            rng.below(groups) * HELD_OUT + HELD_OUT - 1
        } else {
            let number = rng.below(pieces - groups);
            (number + number / (HELD_OUT - 1)).min(pieces - 1)
        };
        let start = piece * self.piece + rng.below((self.piece + 1).saturating_sub(length).max(1));
        self.tokens[start..(start + length).min(self.tokens.len())].to_vec()
    }

    fn laws(&self, window: &[u32]) -> Vec<Option<Vec<f64>>> {
        let of = |t: usize| {
            let start = (t + 1).checked_sub(self.order)?;
            self.counts.get(&window[start..=t]).map(|counts| Self::law(counts))
        };
        (0..window.len()).map(of).collect()
    }

    /// The most frequent contexts, each at the start of a window: a longer past would have another law.
    fn contexts(&self, settings: ContextSettings, _stream: Stream) -> Contexts {
        let total = |counts: &[u32]| counts.iter().map(|n| u64::from(*n)).sum::<u64>();
        let mut frequent: Vec<(&Vec<u32>, &Vec<u32>)> = self.counts.iter().collect();
        frequent.sort_by_key(|(window, counts)| (std::cmp::Reverse(total(counts)), *window));
        frequent.truncate(settings.most);
        let all: f64 = frequent.iter().map(|(_, counts)| total(counts) as f64).sum();
        let weights: Vec<f64> = frequent.iter().map(|(_, counts)| total(counts) as f64 / all).collect();
        let rows: Vec<Vec<f64>> = frequent.iter().map(|(_, counts)| Self::law(counts)).collect();
        let laws = Matrix::from_fn(rows.len(), self.tokens(), |x, token| rows[x][token]);
        let (classes, class_names) =
            likely_token_classes(&laws, &weights, |token| self.alphabet[token].clone());
        let windows = frequent.into_iter().map(|(window, _)| window.clone()).collect();
        Contexts { windows, weights, laws, classes, class_names }
    }

    fn horizons(&self, _most: usize) -> Vec<Horizon> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of words drawn from a small list, long enough for every check.
    fn words(n: usize) -> String {
        let list = ["light", "and", "darkness", "water", "earth", "day", "night", "heaven", "spirit", "deep"];
        let mut rng = Stream::new(1, "words").at(0);
        (0..n).map(|_| list[rng.below(list.len())]).collect::<Vec<_>>().join(" ")
    }

    fn text() -> Text {
        Text::of_letters("words", &words(4000), (2, 50), 35).unwrap()
    }

    #[test]
    fn letters_and_single_spaces() {
        assert_eq!(letters("  In the beginning, God--1:1\n\ncreated É "), "in the beginning god created ");
    }

    #[test]
    fn laws_are_relative_counts() {
        let text = text();
        let plain = letters(&words(4000));
        let after = |context: &str, next: char| {
            let with: String = [context, &next.to_string()].concat();
            let count =
                |what: &str| plain.as_bytes().windows(what.len()).filter(|w| *w == what.as_bytes()).count();
            count(&with) as f64 / count(context) as f64
        };
        let (window, names) = Level::Char.tokens(&plain);
        let at = plain.find("night").unwrap();
        let law = text.laws(&window[at..at + 2])[1].clone().unwrap();
        let g = names.iter().position(|name| name == "`g`").unwrap();
        assert!((law[g] - after("ni", 'g')).abs() < 1e-3 && law[g] > 0.99);
        assert!(text.laws(&window[at..=at])[0].is_none(), "one letter is no context of two");
    }

    /// No held-out window shares a token's place with a training window.
    #[test]
    fn held_out_windows_come_from_other_pieces() {
        let mut marked = text();
        marked.tokens = (0..marked.tokens.len() as u32).collect();
        let mut rng = Stream::new(3, "pieces").at(0);
        let mut seen = [vec![0_u32; marked.tokens.len()], vec![0; marked.tokens.len()]];
        for round in 0..20_000 {
            let held_out = round % 2 == 0;
            let window = marked.window(33, held_out, &mut rng);
            assert_eq!(window.len(), 33);
            window.iter().for_each(|at| seen[usize::from(held_out)][*at as usize] += 1);
        }
        let both = seen[0].iter().zip(&seen[1]).filter(|(a, b)| **a > 0 && **b > 0).count();
        assert_eq!(both, 0);
        let used = |k: usize| seen[k].iter().filter(|n| **n > 0).count() as f64 / marked.tokens.len() as f64;
        assert!((0.8..0.95).contains(&used(0)) && (0.07..0.12).contains(&used(1)), "{} {}", used(0), used(1));
    }

    #[test]
    fn contexts_are_the_frequent_ones() {
        let text = text();
        let settings = ContextSettings { window: 32, histories: 1, most: 40 };
        let contexts = text.contexts(settings, Stream::new(1, "contexts"));
        assert_eq!(contexts.windows.len(), 40);
        assert!(contexts.weights.is_sorted_by(|a, b| a >= b));
        assert!((contexts.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(contexts.windows.iter().all(|w| w.len() == 2));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_said() {
        let refuse = |text: &str, minimum: u64, words: &[&str]| {
            let error =
                Text::new(("t.txt", "own"), text, Level::Char, (3, minimum), 35).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refuse("", 10, &["t.txt", "an empty file"]);
        refuse("short", 10, &["at least 700 tokens", "got 5"]);
        refuse(&words(2000), 100_000, &["at least 50 contexts of 3 tokens", "100000 times", "got 0"]);
        let many: String = (0..2000).filter_map(|k| char::from_u32(0x4e00 + k)).collect();
        refuse(&many, 1, &["at most 512 different tokens", "byte", "got 2000"]);
    }

    #[test]
    fn bytes_and_characters() {
        let (tokens, names) = Level::Byte.tokens("aé");
        assert_eq!(
            (tokens, names),
            (vec![0, 2, 1], vec!["`a`".to_owned(), "0xa9".to_owned(), "0xc3".to_owned()])
        );
        let (tokens, names) = Level::Char.tokens("éa\n");
        assert_eq!(
            (tokens, names),
            (vec![2, 1, 0], vec!["0xa".to_owned(), "`a`".to_owned(), "`é`".to_owned()])
        );
    }
}

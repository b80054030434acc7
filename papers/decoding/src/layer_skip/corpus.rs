//! What the three kinds of model read: chains of sums, mixed one to one with the King James Bible, letter by letter; and the tasks.

use std::collections::BTreeMap;

use ream_rand::{Rng, Stream};

/// The letters; a token is a place in this list, and the mask comes after them.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz 0123456789+-=;,.:?!'()";
/// The token of the mask.
pub const MASK: u32 = ALPHABET.len() as u32;
/// Letters and the mask.
pub const VOCABULARY: usize = ALPHABET.len() + 1;

/// Letters of `12+34=46;`, of which the result is the last but one, two and three.
const EQUATION: usize = 9;
/// Letters of a word whose second half is asked for.
const WORDS: std::ops::RangeInclusive<usize> = 4..=8;
/// Equations from which the most frequent number is counted.
const COUNTED: usize = 20_000;

/// Tokens of a text: capitals become small, line ends spaces, what the alphabet does not have is left out.
#[must_use]
pub fn encode(text: &str) -> Vec<u32> {
    let place = |c: char| ALPHABET.find(if c.is_whitespace() { ' ' } else { c.to_ascii_lowercase() });
    text.chars().filter_map(place).map(|at| at as u32).collect()
}

/// The text of tokens; the mask is `_`.
#[must_use]
pub fn decode(tokens: &[u32]) -> String {
    tokens.iter().map(|t| ALPHABET.as_bytes().get(*t as usize).map_or('_', |b| *b as char)).collect()
}

/// Equations of numbers of two digits, each of which begins with the result of the one before: `12+34=46;46-15=31;...`
#[must_use]
pub fn chain(equations: usize, rng: &mut Rng) -> String {
    let mut value = 10 + rng.below(90);
    let mut text = String::with_capacity(equations * EQUATION);
    for _ in 0..equations {
        // Sums stay below 100, differences above 9.
        let (most_more, most_less) = (99 - value, value.saturating_sub(10));
        let plus = if most_more < 10 { false } else { most_less < 10 || rng.chance(0.5) };
        let other = 10 + rng.below(if plus { most_more } else { most_less } - 9);
        let result = if plus { value + other } else { value - other };
        text.push_str(&format!("{value}{}{other}={result};", if plus { '+' } else { '-' }));
        value = result;
    }
    text
}

/// Which text a window comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Chapters for training.
    Training,
    /// Chapters that no model is trained on.
    HeldOut,
}

/// The texts.
#[derive(Clone, Debug)]
pub struct Corpus {
    training: Vec<u32>,
    held_out: Vec<u32>,
    /// The most frequent answer of each length, by task: what a unigram predictor says.
    frequent: BTreeMap<(Task, usize), Vec<u32>>,
}

/// A task: what comes last in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// The result of an equation.
    Arithmetic,
    /// The first number of the next equation, which repeats a result.
    Copy,
    /// The second half of a word of four to eight letters, of chapters that were not read.
    Cloze,
}

impl Task {
    /// All.
    pub const ALL: [Self; 3] = [Self::Arithmetic, Self::Copy, Self::Cloze];

    /// Its name in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Copy => "copy",
            Self::Cloze => "cloze",
        }
    }
}

/// A text and what comes after it; both together are as long as a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is given.
    pub prompt: Vec<u32>,
    /// What is asked for, to the letter.
    pub answer: Vec<u32>,
}

impl Corpus {
    /// Of chapters for training and chapters that are kept from it; `None` when one of them is shorter than two windows of `len`.
    #[must_use]
    pub fn new(training: &[String], held_out: &[String], len: usize) -> Option<Self> {
        let [training, held_out] = [training, held_out].map(|texts| encode(&texts.concat()));
        if training.len().min(held_out.len()) < 2 * len {
            return None;
        }
        let mut frequent = BTreeMap::new();
        let asked = words(&training).filter(|(_, word)| WORDS.contains(&word.len()));
        for (len, half) in most_frequent(asked.map(|(_, word)| second_half(word))) {
            frequent.insert((Task::Cloze, len), half);
        }
        let chain = encode(&chain(COUNTED, &mut Stream::new(0, "frequent numbers").at(0)));
        let results: Vec<&[u32]> = chain.chunks_exact(EQUATION).map(|e| &e[6..8]).collect();
        for (len, number) in most_frequent(results.into_iter()) {
            frequent.insert((Task::Arithmetic, len), number.clone());
            frequent.insert((Task::Copy, len), number);
        }
        Some(Self { training, held_out, frequent })
    }

    /// Numbers of tokens of the chapters: training, held out.
    #[must_use]
    pub fn sizes(&self) -> [usize; 2] {
        [self.training.len(), self.held_out.len()]
    }

    /// `n` windows of `len` tokens one after another, chains and chapters in turn.
    #[must_use]
    pub fn windows(&self, part: Part, n: usize, len: usize, rng: &mut Rng) -> Vec<u32> {
        let text = if part == Part::Training { &self.training } else { &self.held_out };
        let mut tokens = Vec::with_capacity(n * len);
        for i in 0..n {
            if i % 2 == 0 {
                let chain = encode(&chain(len.div_ceil(EQUATION) + 1, rng));
                let at = rng.below(EQUATION);
                tokens.extend_from_slice(&chain[at..at + len]);
            } else {
                let at = rng.below(text.len() - len);
                tokens.extend_from_slice(&text[at..at + len]);
            }
        }
        tokens
    }

    /// `n` items of `len` tokens; words come from chapters that no model has read.
    #[must_use]
    pub fn items(&self, task: Task, n: usize, len: usize, rng: &mut Rng) -> Vec<Item> {
        if task == Task::Cloze {
            return self.cloze(n, len, rng);
        }
        let of_equation = if task == Task::Arithmetic { 8 } else { 2 };
        let whole = len.saturating_sub(of_equation).div_ceil(EQUATION).max(1);
        let end = whole * EQUATION + of_equation;
        (0..n)
            .map(|_| {
                let tokens = encode(&chain(whole + 1, rng));
                split(&tokens[end.saturating_sub(len)..end], 2)
            })
            .collect()
    }

    fn cloze(&self, n: usize, len: usize, rng: &mut Rng) -> Vec<Item> {
        let ends: Vec<(usize, usize)> = words(&self.held_out)
            .filter(|(end, word)| *end >= len && WORDS.contains(&word.len()))
            .map(|(end, word)| (end, second_half(word).len()))
            .collect();
        if ends.is_empty() {
            return Vec::new();
        }
        let mut items: Vec<Item> = (0..n)
            .map(|_| {
                let (end, letters) = ends[rng.below(ends.len())];
                split(&self.held_out[end - len..end], letters)
            })
            .collect();
        // Answers of one length are given together.
        items.sort_by_key(|item| item.answer.len());
        items
    }

    /// Share of the items that a unigram predictor has right: it always says the most frequent answer of that length.
    #[must_use]
    pub fn chance(&self, task: Task, items: &[Item]) -> f64 {
        let right =
            |item: &&Item| self.frequent.get(&(task, item.answer.len())).is_some_and(|a| *a == item.answer);
        items.iter().filter(right).count() as f64 / items.len().max(1) as f64
    }
}

fn split(tokens: &[u32], answer: usize) -> Item {
    let (prompt, answer) = tokens.split_at(tokens.len() - answer);
    Item { prompt: prompt.to_vec(), answer: answer.to_vec() }
}

fn second_half(word: &[u32]) -> &[u32] {
    &word[word.len().div_ceil(2)..]
}

/// The words of a text with the places behind them.
fn words(tokens: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
    let mut end = 0;
    tokens.chunk_by(|a, b| (*a < 26) == (*b < 26)).filter_map(move |run| {
        end += run.len();
        (run[0] < 26).then_some((end, run))
    })
}

/// The most frequent of each length; of equally frequent ones the first in order.
fn most_frequent<'a>(answers: impl Iterator<Item = &'a [u32]>) -> BTreeMap<usize, Vec<u32>> {
    let mut counts: BTreeMap<&[u32], usize> = BTreeMap::new();
    answers.for_each(|answer| *counts.entry(answer).or_default() += 1);
    let mut best: BTreeMap<usize, (usize, &[u32])> = BTreeMap::new();
    for (answer, count) in counts {
        let entry = best.entry(answer.len()).or_insert((0, answer));
        if count > entry.0 {
            *entry = (count, answer);
        }
    }
    best.into_iter().map(|(len, (_, answer))| (len, answer.to_vec())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn corpus(len: usize) -> Corpus {
        let verse = "In the beginning God created the heaven and the earth. And the earth was without form, \
                     and void; and darkness was upon the face of the deep. ";
        Corpus::new(&[verse.repeat(20)], &[verse.repeat(6)], len).unwrap()
    }

    fn number(text: &str) -> i64 {
        text.parse().unwrap()
    }

    #[test]
    fn chains_are_right_and_hang_together() {
        let text = chain(500, &mut Stream::new(1, "chain").at(0));
        let mut before = None;
        let mut signs = [0, 0];
        for equation in text.split_terminator(';') {
            assert_eq!(equation.len(), EQUATION - 1, "{equation}");
            let (a, b, c) = (number(&equation[..2]), number(&equation[3..5]), number(&equation[6..]));
            let plus = &equation[2..3] == "+";
            assert_eq!(if plus { a + b } else { a - b }, c, "{equation}");
            assert!(before.is_none_or(|before| before == a));
            before = Some(c);
            signs[usize::from(plus)] += 1;
        }
        assert!(signs[0] > 150 && signs[1] > 150);
        assert!(text.chars().all(|c| ALPHABET.contains(c)));
    }

    #[test]
    fn letters_come_back() {
        assert_eq!(
            decode(&encode("Let there\nbe light:\u{00e6} 12+34=46;")),
            "let there be light: 12+34=46;"
        );
        assert_eq!(decode(&[0, MASK]), "a_");
    }

    #[test]
    fn items_end_where_their_task_says() {
        let corpus = corpus(48);
        for task in Task::ALL {
            let items = corpus.items(task, 60, 48, &mut Stream::new(2, "items").at(0));
            assert_eq!(items.len(), 60);
            for item in &items {
                assert_eq!(item.prompt.len() + item.answer.len(), 48);
                let (prompt, answer) = (decode(&item.prompt), decode(&item.answer));
                match task {
                    Task::Arithmetic => {
                        let (a, b) = prompt[prompt.len() - 6..prompt.len() - 1].split_at(2);
                        let sign = if b.starts_with('+') { 1 } else { -1 };
                        assert_eq!(number(a) + sign * number(&b[1..]), number(&answer), "{prompt}|{answer}");
                    }
                    Task::Copy => {
                        assert_eq!(&prompt[prompt.len() - 3..], format!("{answer};"), "{prompt}|{answer}");
                    }
                    Task::Cloze => {
                        let half =
                            prompt.len() - prompt.rfind(|c: char| !c.is_ascii_lowercase()).unwrap() - 1;
                        assert!((half == answer.len() || half == answer.len() + 1) && half >= 2, "{prompt}");
                        assert!((2..=4).contains(&answer.len()));
                        assert!(
                            ["ted", "ven", "th", "out", "rm", "id", "ness", "on", "ce", "ep"]
                                .contains(&answer.as_str()),
                            "{answer}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn chance_is_the_score_of_the_most_frequent_answer() {
        let corpus = corpus(48);
        let item = |answer: &str| Item { prompt: Vec::new(), answer: encode(answer) };
        // `earth` comes twice in the verse, every other word whose second half has two letters once.
        assert!((corpus.chance(Task::Cloze, &[item("th"), item("on")]) - 0.5).abs() < 1e-12);
        let numbers: Vec<Item> = (10..100).map(|n: i32| item(&n.to_string())).collect();
        assert!((corpus.chance(Task::Copy, &numbers) - 1.0 / 90.0).abs() < 1e-12);
    }

    #[test]
    fn windows_mix_chains_and_chapters_one_to_one() {
        let tokens = corpus(48).windows(Part::HeldOut, 10, 48, &mut Stream::new(3, "windows").at(0));
        let chains = tokens.chunks_exact(48).map(|w| decode(w).contains('=')).collect::<Vec<_>>();
        assert_eq!(chains, [true, false].repeat(5));
        assert!(Corpus::new(&["short".to_owned()], &["short".to_owned()], 48).is_none());
    }
}

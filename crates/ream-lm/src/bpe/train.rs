//! Learning merges. Every distinct word is kept once with its count; a merge visits only the words that hold its pair.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Bpe, BpeError, MAX_TOKEN_BYTES, Pair, words};

/// A distinct word of the texts.
struct Word {
    tokens: Vec<u32>,
    count: u64,
}

/// Where a pair stands.
#[derive(Default)]
struct Places {
    /// Neighbours in all words; in `aaa` the pair `aa` stands twice.
    count: u64,
    /// Words that hold it or held it, some of them more than once.
    words: Vec<usize>,
}

struct Learner {
    words: Vec<Word>,
    pairs: HashMap<Pair, Places>,
    /// Counts that were true when they were put in: the most frequent pair on top, of these the lowest.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

/// Adds `merges` merges to a tokenizer that has none.
pub(super) fn train<T: AsRef<[u8]>>(
    bpe: &mut Bpe,
    texts: impl IntoIterator<Item = T>,
    merges: usize,
) -> Result<(), BpeError> {
    let mut learner = Learner::new(count_words(texts));
    for found in 0..merges {
        let Some(pair) = learner.most_frequent(bpe) else {
            return Err(BpeError::TooLittleText { wanted: merges, found });
        };
        let token = bpe.push(pair)?;
        learner.merge(pair, token);
    }
    Ok(())
}

/// Distinct words in a fixed order.
fn count_words<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<Word> {
    let mut counts: HashMap<Box<[u8]>, u64> = HashMap::new();
    for text in texts {
        for word in words(text.as_ref()) {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(word.into(), 1);
                }
            }
        }
    }
    let mut sorted: Vec<(Box<[u8]>, u64)> = counts.into_iter().collect();
    sorted.sort_unstable();
    let tokens = |word: &[u8]| word.iter().map(|&byte| u32::from(byte)).collect();
    sorted.into_iter().map(|(word, count)| Word { tokens: tokens(&word), count }).collect()
}

fn neighbours(tokens: &[u32]) -> impl Iterator<Item = Pair> {
    tokens.windows(2).map(|pair| (pair[0], pair[1]))
}

impl Learner {
    fn new(words: Vec<Word>) -> Self {
        let mut pairs: HashMap<Pair, Places> = HashMap::new();
        for (i, word) in words.iter().enumerate() {
            for pair in neighbours(&word.tokens) {
                let places = pairs.entry(pair).or_default();
                places.count += word.count;
                places.words.push(i);
            }
        }
        let queue = pairs.iter().map(|(&pair, places)| (places.count, Reverse(pair))).collect();
        Self { words, pairs, queue }
    }

    /// The pair to merge next, if one occurs twice.
    fn most_frequent(&mut self, bpe: &Bpe) -> Option<Pair> {
        let length = |token: u32| bpe.bytes_of(token).map_or(0, <[u8]>::len);
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            // A count that has changed since was put in again.
            let current = self.pairs.get(&pair).is_some_and(|places| places.count == count);
            if !current || length(pair.0) + length(pair.1) > MAX_TOKEN_BYTES {
                continue;
            }
            return (count >= 2).then_some(pair);
        }
        None
    }

    fn merge(&mut self, pair: Pair, token: u32) {
        let mut places = self.pairs.remove(&pair).unwrap_or_default().words;
        places.sort_unstable();
        places.dedup();
        let mut before: HashMap<Pair, u64> = HashMap::new();
        for i in places {
            let word = &mut self.words[i];
            if !neighbours(&word.tokens).any(|p| p == pair) {
                continue;
            }
            for old in neighbours(&word.tokens).filter(|old| *old != pair) {
                if let Some(places) = self.pairs.get_mut(&old) {
                    before.entry(old).or_insert(places.count);
                    places.count -= word.count;
                }
            }
            replace(&mut word.tokens, pair, token);
            for new in neighbours(&word.tokens) {
                let places = self.pairs.entry(new).or_default();
                before.entry(new).or_insert(places.count);
                places.count += word.count;
                // A pair without the new token was here before.
                if new.0 == token || new.1 == token {
                    places.words.push(i);
                }
            }
        }
        let mut changed: Vec<(Pair, u64)> = before.into_iter().collect();
        changed.sort_unstable();
        for (pair, before) in changed {
            match self.pairs.get(&pair).map_or(0, |places| places.count) {
                0 => {
                    self.pairs.remove(&pair);
                }
                now if now != before => self.queue.push((now, Reverse(pair))),
                _ => {}
            }
        }
    }
}

/// Puts a token in place of every occurrence of a pair, from the left.
fn replace(tokens: &mut Vec<u32>, pair: Pair, token: u32) {
    let (mut from, mut to) = (0, 0);
    while from < tokens.len() {
        if from + 1 < tokens.len() && (tokens[from], tokens[from + 1]) == pair {
            tokens[to] = token;
            from += 2;
        } else {
            tokens[to] = tokens[from];
            from += 1;
        }
        to += 1;
    }
    tokens.truncate(to);
}

//! Encoding: the merges of a word in the order in which they were learned.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Bpe, Pair, words};

/// Most words remembered: a language's frequent ones, not all of an endless stream's.
const MOST_WORDS: usize = 1 << 16;
/// Longer words are not remembered: they hardly ever come back.
const LONGEST_WORD: usize = 64;

/// Encodes texts and remembers words.
#[derive(Clone, Debug)]
pub struct Encoder<'a> {
    bpe: &'a Bpe,
    known: Known,
    word: Word,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(bpe: &'a Bpe) -> Self {
        Self { bpe, known: Known::default(), word: Word::default() }
    }

    /// Appends the tokens of a text.
    pub fn encode_into(&mut self, text: impl AsRef<[u8]>, tokens: &mut Vec<u32>) {
        let Self { bpe, known, word } = self;
        for bytes in words(text.as_ref()) {
            known.encode_into(bytes, tokens, |bytes, tokens| {
                word.start(bytes.iter().map(|&byte| u32::from(byte)));
                word.merge_into(|pair| bpe.ranks.get(&pair).map(|&rank| (rank, 256 + rank)), tokens);
            });
        }
    }
}

/// Words and their tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(HashMap<Box<[u8]>, Box<[u32]>>);

impl Known {
    /// Appends the tokens of a word; `encode` appends those of one that is not known.
    pub(crate) fn encode_into(
        &mut self,
        word: &[u8],
        tokens: &mut Vec<u32>,
        encode: impl FnOnce(&[u8], &mut Vec<u32>),
    ) {
        if let Some(known) = self.0.get(word) {
            return tokens.extend(known);
        }
        let start = tokens.len();
        encode(word, tokens);
        if word.len() <= LONGEST_WORD && self.0.len() < MOST_WORDS {
            self.0.insert(word.into(), tokens[start..].into());
        }
    }
}

/// A token of a word under way, between its neighbours; `NONE` at the ends.
#[derive(Clone, Copy, Debug)]
struct Link {
    token: u32,
    before: usize,
    after: usize,
}

const NONE: usize = usize::MAX;

/// A word whose tokens are being merged. Its memory serves one word after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    links: Vec<Link>,
    /// The rank of a merge and where it may be applied.
    queue: BinaryHeap<Reverse<(u32, usize)>>,
}

impl Word {
    /// Begins a word.
    pub(crate) fn start(&mut self, tokens: impl Iterator<Item = u32>) {
        self.links.clear();
        self.queue.clear();
        self.links.extend(tokens.enumerate().map(|(i, token)| Link {
            token,
            before: i.checked_sub(1).unwrap_or(NONE),
            after: i + 1,
        }));
        if let Some(last) = self.links.last_mut() {
            last.after = NONE;
        }
    }

    /// Appends the tokens of the word. `merge` gives the rank of a pair and its token. The lowest rank is applied first, and of its places
    /// the leftmost: a merge makes a token that only later merges use, so this is the same as applying merge after merge to the whole word,
    /// in n log n steps.
    pub(crate) fn merge_into(&mut self, merge: impl Fn(Pair) -> Option<(u32, u32)>, tokens: &mut Vec<u32>) {
        for i in 0..self.links.len() {
            self.offer(&merge, i);
        }
        while let Some(Reverse((rank, i))) = self.queue.pop() {
            // What stood here may have been merged with another neighbour since.
            let Some((_, token)) = self.pair(i).and_then(&merge).filter(|(current, _)| *current == rank)
            else {
                continue;
            };
            let removed = self.links[i].after;
            let gone = self.links[removed];
            self.links[removed].after = NONE;
            self.links[i].token = token;
            self.links[i].after = gone.after;
            if gone.after != NONE {
                self.links[gone.after].before = i;
            }
            self.offer(&merge, i);
            if self.links[i].before != NONE {
                self.offer(&merge, self.links[i].before);
            }
        }
        let mut i = if self.links.is_empty() { NONE } else { 0 };
        while i != NONE {
            tokens.push(self.links[i].token);
            i = self.links[i].after;
        }
    }

    /// The token at `i` and the one after it.
    fn pair(&self, i: usize) -> Option<Pair> {
        let link = self.links[i];
        if link.after == NONE { None } else { Some((link.token, self.links[link.after].token)) }
    }

    fn offer(&mut self, merge: &impl Fn(Pair) -> Option<(u32, u32)>, i: usize) {
        if let Some((rank, _)) = self.pair(i).and_then(merge) {
            self.queue.push(Reverse((rank, i)));
        }
    }
}

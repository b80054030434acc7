//! Encoding: the merges of a word in the order in which they were learned.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Bpe, words};

/// Most words remembered: a language's frequent ones, not all of an endless stream's.
const MOST_WORDS: usize = 1 << 16;
/// Longer words are not remembered: they hardly ever come back.
const LONGEST_WORD: usize = 64;

/// Encodes texts and remembers words.
#[derive(Clone, Debug)]
pub struct Encoder<'a> {
    bpe: &'a Bpe,
    known: HashMap<Box<[u8]>, Box<[u32]>>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(bpe: &'a Bpe) -> Self {
        Self { bpe, known: HashMap::new() }
    }

    /// Appends the tokens of a text.
    pub fn encode_into(&mut self, text: impl AsRef<[u8]>, tokens: &mut Vec<u32>) {
        for word in words(text.as_ref()) {
            if let Some(known) = self.known.get(word) {
                tokens.extend(known);
                continue;
            }
            let start = tokens.len();
            encode_word(self.bpe, word, tokens);
            if word.len() <= LONGEST_WORD && self.known.len() < MOST_WORDS {
                self.known.insert(word.into(), tokens[start..].into());
            }
        }
    }
}

/// A token of a word under way, between its neighbours; `NONE` at the ends.
#[derive(Clone, Copy)]
struct Link {
    token: u32,
    before: usize,
    after: usize,
}

const NONE: usize = usize::MAX;

/// Appends the tokens of a word. The earliest merge is applied first, and of its places the leftmost: a merge makes a token
/// that only later merges use, so this is the same as applying merge after merge to the whole word, in n log n steps.
fn encode_word(bpe: &Bpe, word: &[u8], tokens: &mut Vec<u32>) {
    let mut links: Vec<Link> = word
        .iter()
        .enumerate()
        .map(|(i, &byte)| Link {
            token: u32::from(byte),
            before: i.checked_sub(1).unwrap_or(NONE),
            after: if i + 1 < word.len() { i + 1 } else { NONE },
        })
        .collect();
    let mut queue = BinaryHeap::new();
    for i in 0..links.len() {
        offer(bpe, &links, i, &mut queue);
    }
    while let Some(Reverse((rank, i))) = queue.pop() {
        // What stood here may have been merged with another neighbour since.
        if rank_at(bpe, &links, i) != Some(rank) {
            continue;
        }
        let gone = links[links[i].after];
        let removed = links[i].after;
        links[removed].after = NONE;
        links[i].token = 256 + rank;
        links[i].after = gone.after;
        if gone.after != NONE {
            links[gone.after].before = i;
        }
        offer(bpe, &links, i, &mut queue);
        if links[i].before != NONE {
            offer(bpe, &links, links[i].before, &mut queue);
        }
    }
    let mut i = if links.is_empty() { NONE } else { 0 };
    while i != NONE {
        tokens.push(links[i].token);
        i = links[i].after;
    }
}

/// The merge of the token at `i` with the one after it.
fn rank_at(bpe: &Bpe, links: &[Link], i: usize) -> Option<u32> {
    let link = links[i];
    if link.after == NONE { None } else { bpe.ranks.get(&(link.token, links[link.after].token)).copied() }
}

fn offer(bpe: &Bpe, links: &[Link], i: usize, queue: &mut BinaryHeap<Reverse<(u32, usize)>>) {
    if let Some(rank) = rank_at(bpe, links, i) {
        queue.push(Reverse((rank, i)));
    }
}

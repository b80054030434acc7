//! Which pairs of tokens are merged.

use std::collections::HashMap;

/// The merges that begin with each token, sorted by the second token: a search among a few neighbours in memory, where a hash table of tens of
/// thousands of pairs would miss the cache at every step of a long word.
#[derive(Clone, Debug)]
pub(super) struct Merges {
    /// Where the merges of first token `a` begin: `starts[a]..starts[a + 1]`.
    starts: Vec<usize>,
    merges: Vec<Merge>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Merge {
    pub(super) first: u32,
    pub(super) second: u32,
    pub(super) rank: u32,
    pub(super) token: u32,
}

impl Merges {
    /// Reads lines of the form `first second`; an error says which line is wrong, and how.
    pub(super) fn read(
        of_text: &HashMap<&str, u32>,
        vocabulary: usize,
        lines: &[&str],
    ) -> Result<Self, String> {
        let mut joined = String::new();
        let mut merges = Vec::with_capacity(lines.len());
        for (rank, line) in (0_u32..).zip(lines) {
            let wrong = |problem: &str| format!("has {line:?} at {rank}: {problem}");
            let (a, b) =
                line.split_once(' ').ok_or_else(|| wrong("wanted two tokens with a space between"))?;
            joined.clear();
            joined.push_str(a);
            joined.push_str(b);
            let id = |text: &str| {
                of_text.get(text).copied().ok_or_else(|| wrong(&format!("{text:?} is no token")))
            };
            merges.push(Merge { first: id(a)?, second: id(b)?, rank, token: id(&joined)? });
        }
        let merges = Self::new(vocabulary, merges);
        let pair = |merge: &Merge| (merge.first, merge.second);
        if let Some(twice) = merges.merges.windows(2).find(|two| pair(&two[0]) == pair(&two[1])) {
            let rank = twice[1].rank;
            return Err(format!(
                "has {:?} at {rank}, which is at {} too",
                lines[rank as usize], twice[0].rank
            ));
        }
        Ok(merges)
    }

    /// Merges of tokens below `vocabulary`.
    pub(super) fn new(vocabulary: usize, mut merges: Vec<Merge>) -> Self {
        merges.sort_unstable_by_key(|merge| (merge.first, merge.second, merge.rank));
        let mut starts = vec![0; vocabulary + 1];
        for merge in &merges {
            starts[merge.first as usize + 1] += 1;
        }
        for i in 0..vocabulary {
            starts[i + 1] += starts[i];
        }
        Self { starts, merges }
    }

    /// In the order in which they are applied.
    pub(super) fn by_rank(&self) -> Vec<Merge> {
        let mut merges = self.merges.clone();
        merges.sort_unstable_by_key(|merge| merge.rank);
        merges
    }

    /// The rank of a pair and the token it becomes.
    pub(super) fn get(&self, (first, second): (u32, u32)) -> Option<(u32, u32)> {
        let first = first as usize;
        let own = &self.merges[self.starts[first]..self.starts[first + 1]];
        let merge = own[own.binary_search_by_key(&second, |merge| merge.second).ok()?];
        Some((merge.rank, merge.token))
    }
}

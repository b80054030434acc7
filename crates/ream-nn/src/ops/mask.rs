//! Which query may look at which key.

use std::sync::Arc;

use crate::error::{Result, shape};

/// Which keys each query attends to. Cheap to clone.
///
/// Position `i` of the queries sits at key `i + offset` when the keys hold `offset` earlier tokens ([`Mask::with_offset`]).
#[derive(Clone, Debug)]
pub struct Mask {
    kind: Kind,
    /// Keys before the first query (a cache).
    offset: usize,
    /// Real keys of each sample; the rest is padding.
    key_lengths: Option<Arc<Vec<usize>>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Full,
    Causal,
    Window(usize),
    Prefix(Arc<Vec<usize>>),
    Blocks(Arc<Blocks>),
    Bits(Arc<Bits>),
}

#[derive(Debug)]
struct Blocks {
    /// Block of each key position, never falling.
    of: Vec<u32>,
    /// First position behind the block of each position.
    end: Vec<usize>,
}

#[derive(Debug)]
struct Bits {
    samples: usize,
    queries: usize,
    keys: usize,
    /// Words of a row.
    words: usize,
    bits: Vec<u64>,
    /// First allowed key and the one after the last, of every row.
    spans: Vec<(usize, usize)>,
}

/// The keys of one query: those in `start..end`, and of them the ones with a bit when there are bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) bits: Option<&'a [u64]>,
}

impl Mask {
    fn of(kind: Kind) -> Self {
        Self { kind, offset: 0, key_lengths: None }
    }

    /// Every query sees every key.
    #[must_use]
    pub fn full() -> Self {
        Self::of(Kind::Full)
    }

    /// A query sees itself and what came before.
    #[must_use]
    pub fn causal() -> Self {
        Self::of(Kind::Causal)
    }

    /// A query sees itself and the `width - 1` tokens before it.
    #[must_use]
    pub fn window(width: usize) -> Self {
        Self::of(Kind::Window(width))
    }

    /// Bidirectional over the first `lengths[sample]` tokens, causal after them; one length serves all samples.
    #[must_use]
    pub fn prefix(lengths: &[usize]) -> Self {
        Self::of(Kind::Prefix(Arc::new(lengths.to_vec())))
    }

    /// A query sees its own block and all before it: `blocks[position]` is the block of each token, never falling
    /// (scales of an image, frames of a video).
    ///
    /// # Errors
    /// When a block number falls.
    pub fn block_causal(blocks: &[u32]) -> Result<Self> {
        if let Some(i) = (1..blocks.len()).find(|&i| blocks[i] < blocks[i - 1]) {
            return shape(
                "Mask::block_causal",
                format!(
                    "block {} at position {i} comes after block {}: sort the tokens by block",
                    blocks[i],
                    blocks[i - 1]
                ),
            );
        }
        let mut end = vec![blocks.len(); blocks.len()];
        for i in (0..blocks.len().saturating_sub(1)).rev() {
            end[i] = if blocks[i] == blocks[i + 1] { end[i + 1] } else { i + 1 };
        }
        Ok(Self::of(Kind::Blocks(Arc::new(Blocks { of: blocks.to_vec(), end }))))
    }

    /// Any matrix: `allowed(query, key)` for `queries` by `keys`, the same for all samples.
    #[must_use]
    pub fn from_fn(queries: usize, keys: usize, allowed: impl Fn(usize, usize) -> bool) -> Self {
        Self::per_sample(1, queries, keys, |_, i, j| allowed(i, j))
    }

    /// Any matrix for each sample: `allowed(sample, query, key)`.
    #[must_use]
    pub fn per_sample(
        samples: usize,
        queries: usize,
        keys: usize,
        allowed: impl Fn(usize, usize, usize) -> bool,
    ) -> Self {
        let words = keys.div_ceil(64);
        let mut bits = vec![0_u64; samples * queries * words];
        let mut spans = vec![(0, 0); samples * queries];
        for (row, span) in spans.iter_mut().enumerate() {
            let mut first = None;
            for j in (0..keys).filter(|&j| allowed(row / queries, row % queries, j)) {
                bits[row * words + j / 64] |= 1 << (j % 64);
                *span = (*first.get_or_insert(j), j + 1);
            }
        }
        Self::of(Kind::Bits(Arc::new(Bits { samples, queries, keys, words, bits, spans })))
    }

    /// The keys begin with `offset` tokens before the first query. Of no effect on a matrix given bit by bit.
    #[must_use]
    pub fn with_offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Only the first `lengths[sample]` keys of each sample are real, the rest is padding.
    #[must_use]
    pub fn with_key_lengths(mut self, lengths: &[usize]) -> Self {
        self.key_lengths = Some(Arc::new(lengths.to_vec()));
        self
    }

    /// Whether query `i` of a sample sees key `j`.
    #[must_use]
    pub fn allowed(&self, sample: usize, i: usize, j: usize) -> bool {
        let row = self.row(sample, i, usize::MAX);
        (row.start..row.end).contains(&j) && row.bits.is_none_or(|bits| bits[j / 64] >> (j % 64) & 1 == 1)
    }

    /// What a query sees of `keys` keys.
    pub(crate) fn row(&self, sample: usize, i: usize, keys: usize) -> Row<'_> {
        let at = i + self.offset;
        let mut bits = None;
        let (start, end) = match &self.kind {
            Kind::Full => (0, keys),
            Kind::Causal => (0, at + 1),
            Kind::Window(width) => ((at + 1).saturating_sub(*width), at + 1),
            Kind::Prefix(lengths) => {
                let prefix = lengths.get(sample % lengths.len().max(1)).copied().unwrap_or(0);
                (0, prefix.max(at + 1))
            }
            Kind::Blocks(blocks) => (0, blocks.end.get(at).copied().unwrap_or(0)),
            Kind::Bits(b) if i >= b.queries => (0, 0),
            Kind::Bits(b) => {
                let row = sample % b.samples.max(1) * b.queries + i;
                bits = Some(&b.bits[row * b.words..(row + 1) * b.words]);
                b.spans[row]
            }
        };
        let real = match &self.key_lengths {
            Some(lengths) => lengths.get(sample % lengths.len().max(1)).copied().unwrap_or(keys),
            None => keys,
        };
        let end = end.min(keys).min(real);
        Row { start: start.min(end), end, bits }
    }

    /// Whether the mask serves `samples` samples of `queries` by `keys`.
    pub(crate) fn check(&self, samples: usize, queries: usize, keys: usize) -> Result<()> {
        let lengths = |what: &str, n: usize| {
            if n == 1 || n == samples {
                return Ok(());
            }
            shape("mask", format!("{n} {what} for {samples} samples: one, or one a sample"))
        };
        if let Some(real) = &self.key_lengths {
            lengths("key lengths", real.len())?;
        }
        match &self.kind {
            Kind::Prefix(prefix) => lengths("prefix lengths", prefix.len()),
            Kind::Blocks(blocks) if blocks.of.len() < self.offset + queries => shape(
                "mask",
                format!("blocks of {} positions, {} are needed", blocks.of.len(), self.offset + queries),
            ),
            Kind::Full | Kind::Causal | Kind::Window(_) | Kind::Blocks(_) => Ok(()),
            Kind::Bits(b) => {
                lengths("bit matrices", b.samples)?;
                if (b.queries, b.keys) == (queries, keys) {
                    return Ok(());
                }
                shape(
                    "mask",
                    format!("a matrix of {} queries by {} keys for {queries} by {keys}", b.queries, b.keys),
                )
            }
        }
    }
}

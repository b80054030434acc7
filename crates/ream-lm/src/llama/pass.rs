//! What a pass reads, and what it gives.

use super::cache::Row;
use super::{Branch, Cache, LlamaError, Model};

/// Tokens for one branch.
#[derive(Debug)]
pub struct Feed<'a> {
    /// The text they continue; they are added to it.
    pub branch: &'a mut Branch,
    /// The tokens.
    pub tokens: &'a [u32],
    /// How they follow each other.
    pub layout: Layout<'a>,
}

/// How the tokens of a [`Feed`] follow each other.
#[derive(Clone, Copy, Debug)]
pub enum Layout<'a> {
    /// One after another, each sees all before it.
    Chain,
    /// A tree: for each token the place of its parent in this list, none for those that follow the branch's end. A token sees the branch
    /// and its ancestors, and stands one position after its parent.
    Tree(&'a [Option<usize>]),
    /// Any positions and any mask: `sees[i * (len + n) + j]` says whether token `i` of `n` sees row `j`, of which the first `len` are the
    /// branch and the others the tokens of this list, before or after it.
    Masked {
        /// A position for each token.
        positions: &'a [u32],
        /// `[n, len + n]`.
        sees: &'a [bool],
    },
}

/// Which rows of a pass want logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits<'a> {
    /// None.
    None,
    /// The last of every feed.
    Last,
    /// All.
    All,
    /// These, counted over all feeds.
    Rows(&'a [usize]),
}

/// What a pass gives. Rows are the tokens of all feeds in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// `[asked for, vocabulary]`.
    pub logits: Vec<f32>,
    /// Hidden states after the final norm, `[rows, width]`; empty unless asked for.
    pub hidden: Vec<f32>,
    /// The residual stream before the first block and after every block, `[blocks + 1][rows, width]`; empty unless asked for.
    pub residuals: Vec<Vec<f32>>,
    pub(super) vocabulary: usize,
}

impl Output {
    /// Logits of the `i`-th row that asked for them.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn logits(&self, i: usize) -> &[f32] {
        &self.logits[i * self.vocabulary..(i + 1) * self.vocabulary]
    }
}

/// A pass: its rows, and the slots that each sees.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tokens: Vec<u32>,
    pub(super) rows: Vec<Row>,
    /// Lists of slots, one after another.
    pub(super) slots: Vec<u32>,
    /// Where in `slots` a row's list lies.
    pub(super) seen: Vec<(usize, usize)>,
    /// The last row of every feed.
    pub(super) last: Vec<usize>,
}

impl Plan {
    /// Checks the feeds; adds their rows to the branches only when all are right.
    pub(super) fn new(model: &Model, cache: &mut Cache, feeds: &mut [Feed<'_>]) -> Result<Self, LlamaError> {
        if !cache.fits(model) {
            return Err(LlamaError::Foreign { what: "the cache", owner: "model" });
        }
        let mut positions = Vec::with_capacity(feeds.len());
        for feed in feeds.iter() {
            positions.push(check(model, cache, feed)?);
        }
        let furthest = positions.iter().flatten().copied().max().ok_or(LlamaError::Empty)?;
        cache.rotate_to(&model.frequencies, furthest);
        let mut plan = Self::default();
        for (feed, positions) in feeds.iter_mut().zip(&positions) {
            let before = feed.branch.len();
            cache.extend(feed.branch, positions);
            plan.add(feed, before);
        }
        Ok(plan)
    }

    fn add(&mut self, feed: &Feed<'_>, before: usize) {
        let rows = feed.branch.rows();
        let slot = |j: usize| rows[j].slot;
        match feed.layout {
            Layout::Chain => {
                // All rows share one list, each sees more of it.
                let start = self.slots.len();
                self.slots.extend(rows.iter().map(|row| row.slot));
                self.seen.extend((before..rows.len()).map(|i| (start, i + 1)));
            }
            Layout::Tree(parents) => {
                for i in 0..parents.len() {
                    let start = self.slots.len();
                    self.slots.extend(rows[..before].iter().map(|row| row.slot));
                    let mut path: Vec<usize> =
                        std::iter::successors(Some(i), |i| parents[*i]).map(|i| before + i).collect();
                    path.reverse();
                    self.slots.extend(path.into_iter().map(slot));
                    self.seen.push((start, self.slots.len() - start));
                }
            }
            Layout::Masked { sees, .. } => {
                for sees in sees.chunks_exact(rows.len()) {
                    let start = self.slots.len();
                    self.slots.extend((0..rows.len()).filter(|j| sees[*j]).map(slot));
                    self.seen.push((start, self.slots.len() - start));
                }
            }
        }
        self.tokens.extend(feed.tokens);
        self.rows.extend(&rows[before..]);
        self.last.push(self.tokens.len() - 1);
    }

    /// The rows that want logits.
    pub(super) fn wanted(&self, logits: Logits<'_>) -> Vec<usize> {
        match logits {
            Logits::None => Vec::new(),
            Logits::Last => self.last.clone(),
            Logits::All => (0..self.tokens.len()).collect(),
            Logits::Rows(asked) => asked.to_vec(),
        }
    }
}

/// The positions of a feed's tokens.
fn check(model: &Model, cache: &Cache, feed: &Feed<'_>) -> Result<Vec<u32>, LlamaError> {
    if !cache.owns(feed.branch) {
        return Err(LlamaError::Foreign { what: "a branch", owner: "cache" });
    }
    let (config, n) = (&model.config, feed.tokens.len());
    if n == 0 {
        return Err(LlamaError::Empty);
    }
    if let Some(place) = feed.tokens.iter().position(|token| *token as usize >= config.vocab) {
        return Err(LlamaError::Token { token: feed.tokens[place], place, vocabulary: config.vocab });
    }
    let next = feed.branch.next_position();
    let positions: Vec<u32> = match feed.layout {
        Layout::Chain => (0..n as u32).map(|i| next.saturating_add(i)).collect(),
        Layout::Tree(parents) => tree_positions(parents, n, next)?,
        Layout::Masked { positions, sees } => {
            for (what, got, wanted) in [
                ("positions", positions.len(), n),
                ("a mask's numbers", sees.len(), n * (feed.branch.len() + n)),
            ] {
                if got != wanted {
                    return Err(LlamaError::Lengths { what, got, wanted });
                }
            }
            positions.to_vec()
        }
    };
    match positions.iter().find(|position| **position as usize >= config.context) {
        Some(position) => Err(LlamaError::TooLong { position: *position as usize, context: config.context }),
        None => Ok(positions),
    }
}

fn tree_positions(parents: &[Option<usize>], n: usize, next: u32) -> Result<Vec<u32>, LlamaError> {
    if parents.len() != n {
        return Err(LlamaError::Lengths { what: "parents", got: parents.len(), wanted: n });
    }
    let mut positions = Vec::with_capacity(n);
    for (node, parent) in parents.iter().enumerate() {
        positions.push(match parent {
            None => next,
            Some(parent) if *parent < node => positions[*parent] + 1_u32,
            Some(parent) => return Err(LlamaError::Parent { node, parent: *parent }),
        });
    }
    Ok(positions)
}

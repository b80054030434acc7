//! Static trees of guesses, and how they are chosen.
//!
//! A node is a path of ranks `(r_1, ..., r_j)`: the `r_j`-th candidate of head `j` below the node `(r_1, ..., r_(j-1))`. The root is the base's
//! own choice of the next token, so a tree of one node is decoding without drafts. How often a path is accepted is counted on a
//! calibration text; nodes are added one by one, the most often accepted first, for as long as the modelled throughput rises.

use ream_lab::{Invalid, Result};
use std::collections::BTreeMap;

/// Ranks that are looked at; a token of a higher rank counts as not drafted.
pub const MOST_RANKS: usize = 10;
/// Positions' worth of trust in a head's overall acceptance against what was counted below one node.
const PRIOR: f64 = 4.0;

/// A tree of guesses, by ranks. Node 0 is the root; parents come before their children, a level before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticTree {
    parents: Vec<Option<usize>>,
    ranks: Vec<usize>,
    depths: Vec<usize>,
}

impl StaticTree {
    /// The root alone.
    #[must_use]
    pub fn root() -> Self {
        Self { parents: vec![None], ranks: vec![0], depths: vec![0] }
    }

    /// The most probable guess of each of `heads` heads.
    #[must_use]
    pub fn chain(heads: usize) -> Self {
        Self {
            parents: (0..=heads).map(|i| i.checked_sub(1)).collect(),
            ranks: vec![0; heads + 1],
            depths: (0..=heads).collect(),
        }
    }

    /// The root and these paths of ranks, in any order.
    ///
    /// # Errors
    /// A path without its parent, an empty one, or one that comes twice.
    pub fn from_paths(paths: &[Vec<usize>]) -> Result<Self> {
        let mut sorted: Vec<&Vec<usize>> = paths.iter().collect();
        sorted.sort_by(|a, b| a.len().cmp(&b.len()).then(a.cmp(b)));
        let mut places: BTreeMap<&[usize], usize> = BTreeMap::from([(&[][..], 0)]);
        let mut tree = Self::root();
        for path in sorted {
            let bad = |wanted: &str| Invalid::new("the tree", wanted, format!("{path:?}"));
            let (rank, parent) = path.split_last().ok_or_else(|| bad("paths of at least one rank"))?;
            let parent = *places.get(parent).ok_or_else(|| bad("paths whose parents are there"))?;
            if places.insert(path, tree.len()).is_some() {
                return Err(bad("each path once").into());
            }
            tree.parents.push(Some(parent));
            tree.ranks.push(*rank);
            tree.depths.push(path.len());
        }
        Ok(tree)
    }

    /// Nodes, the root among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Never: there is a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Guesses on the longest path: heads that are needed.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depths.last().copied().unwrap_or(0)
    }

    /// Parent of every node; none for the root.
    #[must_use]
    pub fn parents(&self) -> &[Option<usize>] {
        &self.parents
    }

    /// Rank of every node among its parent's candidates; 0 for the root.
    #[must_use]
    pub fn ranks(&self) -> &[usize] {
        &self.ranks
    }

    /// Guesses on the way to every node.
    #[must_use]
    pub fn depths(&self) -> &[usize] {
        &self.depths
    }

    /// The nodes of a level.
    #[must_use]
    pub fn level(&self, depth: usize) -> std::ops::Range<usize> {
        let from = self.depths.partition_point(|d| *d < depth);
        from..self.depths.partition_point(|d| *d <= depth)
    }

    /// Path of ranks to a node.
    #[must_use]
    pub fn path(&self, node: usize) -> Vec<usize> {
        let mut path: Vec<usize> = std::iter::successors(Some(node), |n| self.parents[*n])
            .filter(|n| *n > 0)
            .map(|n| self.ranks[n])
            .collect();
        path.reverse();
        path
    }
}

/// How often the base's own text follows each path of ranks.
#[derive(Clone, Debug, Default)]
pub struct PathCounts {
    positions: u64,
    /// Of every path that occurred.
    counts: BTreeMap<Vec<usize>, u64>,
    /// By head: how often each rank came when all guesses before were right.
    ranks: Vec<[u64; MOST_RANKS]>,
    /// By head: how often all guesses before it were among the ranks.
    reached: Vec<u64>,
}

impl PathCounts {
    /// Adds a position: the rank of the base's token with every head, given the base's tokens before; none where it is not drafted.
    pub fn add(&mut self, ranks: &[Option<usize>]) {
        self.positions += 1;
        let mut path = Vec::new();
        for (head, rank) in ranks.iter().enumerate() {
            if self.ranks.len() <= head {
                self.ranks.push([0; MOST_RANKS]);
                self.reached.push(0);
            }
            self.reached[head] += 1;
            let Some(rank) = rank.filter(|r| *r < MOST_RANKS) else { return };
            self.ranks[head][rank] += 1;
            path.push(rank);
            *self.counts.entry(path.clone()).or_default() += 1;
        }
    }

    /// Positions counted.
    #[must_use]
    pub fn positions(&self) -> u64 {
        self.positions
    }

    /// Estimated probability that a path is accepted: what was counted below its parent, smoothed by the head's overall acceptance of the rank.
    #[must_use]
    pub fn acceptance(&self, path: &[usize]) -> f64 {
        let mut product = 1.0;
        for end in 1..=path.len() {
            let (head, rank) = (end - 1, path[end - 1]);
            let of = |path: &[usize]| self.counts.get(path).copied().unwrap_or(0) as f64;
            let below = if head == 0 { self.positions as f64 } else { of(&path[..head]) };
            let overall = match (self.ranks.get(head), self.reached.get(head)) {
                (Some(ranks), Some(reached)) if *reached > 0 => {
                    ranks.get(rank).copied().unwrap_or(0) as f64 / *reached as f64
                }
                _ => 0.0,
            };
            product *= (of(&path[..end]) + PRIOR * overall) / (below + PRIOR);
        }
        product
    }

    /// Paths in the order in which they are worth adding: every tree of the first nodes is the best of its size.
    #[must_use]
    pub fn best_paths(&self, most: usize) -> Vec<Vec<usize>> {
        let heads = self.ranks.len();
        let below = |path: &[usize]| -> Vec<(f64, Vec<usize>)> {
            if path.len() == heads {
                return Vec::new();
            }
            (0..MOST_RANKS)
                .map(|rank| {
                    let child = [path, &[rank]].concat();
                    (self.acceptance(&child), child)
                })
                .collect()
        };
        let mut frontier = below(&[]);
        let mut chosen = Vec::new();
        while chosen.len() < most && !frontier.is_empty() {
            let better = |a: &(f64, Vec<usize>), b: &(f64, Vec<usize>)| {
                a.0 > b.0 || (a.0 == b.0 && (a.1.len(), &a.1) < (b.1.len(), &b.1))
            };
            let mut best = 0;
            for i in 1..frontier.len() {
                if better(&frontier[i], &frontier[best]) {
                    best = i;
                }
            }
            let (_, path) = frontier.swap_remove(best);
            frontier.extend(below(&path));
            chosen.push(path);
        }
        chosen
    }

    /// The best tree of so many nodes, the root among them.
    ///
    /// # Errors
    /// None: the best paths come with their parents.
    pub fn tree(&self, nodes: usize) -> Result<StaticTree> {
        StaticTree::from_paths(&self.best_paths(nodes.saturating_sub(1)))
    }

    /// Tokens that a pass over the tree is expected to emit.
    #[must_use]
    pub fn expected_length(&self, tree: &StaticTree) -> f64 {
        1.0 + (1..tree.len()).map(|node| self.acceptance(&tree.path(node))).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_built_level_by_level_and_mistakes_are_named() {
        let tree = StaticTree::from_paths(&[vec![1], vec![0, 2], vec![0]]).unwrap();
        assert_eq!(tree.parents(), [None, Some(0), Some(0), Some(1)]);
        assert_eq!((tree.ranks(), tree.depth(), tree.level(1)), (&[0, 0, 1, 2][..], 2, 1..3));
        assert_eq!((tree.path(3), tree.path(0)), (vec![0, 2], vec![]));
        assert_eq!(StaticTree::chain(2), StaticTree::from_paths(&[vec![0], vec![0, 0]]).unwrap());
        assert_eq!(StaticTree::root(), StaticTree::from_paths(&[]).unwrap());
        for (paths, word) in [
            (vec![vec![0, 0]], "parents are there"),
            (vec![vec![0], vec![0]], "each path once"),
            (vec![vec![]], "at least one rank"),
        ] {
            let error = StaticTree::from_paths(&paths).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_best_paths_are_those_most_often_accepted() {
        let mut counts = PathCounts::default();
        for i in 0..1000 {
            // Head 1: rank 0 in 60 %, rank 1 in 30 %. Below rank 0 head 2 is right in half of the cases, below rank 1 in a tenth.
            let first = if i % 10 < 6 {
                Some(0)
            } else if i % 10 < 9 {
                Some(1)
            } else {
                None
            };
            let second = match first {
                Some(0) if i / 10 % 2 == 0 => Some(0),
                Some(1) if i / 10 % 10 == 0 => Some(0),
                _ => None,
            };
            counts.add(&[first, second]);
        }
        assert!((counts.acceptance(&[0]) - 0.6).abs() < 0.01);
        assert!((counts.acceptance(&[0, 0]) - 0.3).abs() < 0.01);
        assert!((counts.acceptance(&[1, 0]) - 0.03).abs() < 0.01);
        let paths = counts.best_paths(4);
        assert_eq!(paths[0], [0]);
        assert!(paths[1..3].contains(&vec![1]) && paths[1..3].contains(&vec![0, 0]), "{paths:?}");
        let four = counts.tree(4).unwrap();
        assert!((counts.expected_length(&four) - 2.2).abs() < 0.02);
        assert_eq!(counts.tree(1).unwrap(), StaticTree::root());
        // Every tree is a part of the next larger one.
        for n in 2..12 {
            let (small, large) = (counts.best_paths(n), counts.best_paths(n + 1));
            assert_eq!(small[..], large[..n]);
        }
    }
}

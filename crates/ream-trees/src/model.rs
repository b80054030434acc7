//! Fitted trees.

use crate::bins::Cuts;
use crate::histogram::Rule;
use crate::{Column, Loss, TreesError, check_columns, sigmoid};
use rayon::prelude::*;

/// Rows that go through all trees before others do: their cells stay in the cache.
const PIECE: usize = 1024;

/// A node of a tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// What is added to the score.
    Leaf(f64),
    /// The right child stands after the left one.
    Split { column: usize, rule: Rule, left: usize, gain: f64 },
}

/// A tree; its root is the first node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
}

/// Boosted trees.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    base: f64,
    loss: Loss,
    cuts: Vec<Cuts>,
    trees: Vec<Tree>,
}

/// A node as it is read from cells rather than from bins.
enum Step {
    Leaf(f64),
    /// Values up to the cut go left.
    UpTo {
        column: usize,
        cut: f64,
        left: usize,
    },
    /// Levels whose bins are in the set go left.
    OneOf {
        column: usize,
        set: [u64; 4],
        left: usize,
    },
}

impl Model {
    pub(crate) fn new(base: f64, loss: Loss, cuts: Vec<Cuts>, trees: Vec<Tree>) -> Self {
        Self { base, loss, cuts, trees }
    }

    /// Trees; fewer than asked for where no further split gained anything.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Means (squared loss) or probabilities (log loss), `[rows]`.
    ///
    /// # Errors
    /// As [`Model::score`].
    pub fn predict(&self, columns: &[Column<'_>]) -> Result<Vec<f64>, TreesError> {
        let mut out = self.score(columns)?;
        if self.loss == Loss::Logistic {
            out.iter_mut().for_each(|score| *score = sigmoid(*score));
        }
        Ok(out)
    }

    /// Sums of the trees' values: means, or log odds, `[rows]`. A category that the fit has not seen goes the way of those that are not
    /// named by a split.
    ///
    /// # Errors
    /// When columns are of another number or kind than those of the fit, of different lengths, or hold a value that is not finite or a
    /// level beyond those of the fit.
    pub fn score(&self, columns: &[Column<'_>]) -> Result<Vec<f64>, TreesError> {
        let rows = columns.first().map_or(0, Column::len);
        self.check(columns, rows)?;
        let trees: Vec<Vec<Step>> =
            self.trees.iter().map(|tree| tree.nodes.iter().map(|node| self.step(node)).collect()).collect();
        let mut out = vec![self.base; rows];
        out.par_chunks_mut(PIECE).enumerate().for_each(|(piece, out)| {
            for steps in &trees {
                for (i, out) in out.iter_mut().enumerate() {
                    *out += self.walk(steps, columns, piece * PIECE + i);
                }
            }
        });
        Ok(out)
    }

    /// The value of the leaf that a row comes to.
    fn walk(&self, steps: &[Step], columns: &[Column<'_>], row: usize) -> f64 {
        let mut at = 0;
        loop {
            at = match &steps[at] {
                Step::Leaf(value) => return *value,
                Step::UpTo { column, cut, left } => {
                    left + usize::from(!is_up_to(&columns[*column], row, *cut))
                }
                Step::OneOf { column, set, left } => {
                    left + usize::from(!self.is_one_of(&columns[*column], *column, row, set))
                }
            };
        }
    }

    /// Twice what the loss of the fit fell by, by column.
    #[must_use]
    pub fn gains(&self) -> Vec<f64> {
        let mut gains = vec![0.0; self.cuts.len()];
        for node in self.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Split { column, gain, .. } = node {
                gains[*column] += gain;
            }
        }
        gains
    }

    fn step(&self, node: &Node) -> Step {
        match node {
            Node::Leaf(value) => Step::Leaf(*value),
            Node::Split { column, rule: Rule::OneOf(set), left, .. } => {
                Step::OneOf { column: *column, set: *set, left: *left }
            }
            Node::Split { column, rule: Rule::UpTo(bin), left, .. } => {
                let cut = match &self.cuts[*column] {
                    Cuts::Numbers(cuts) => cuts.get(usize::from(*bin)).copied().unwrap_or(f64::INFINITY),
                    // Categories are split by sets.
                    Cuts::Categories { .. } => f64::INFINITY,
                };
                Step::UpTo { column: *column, cut, left: *left }
            }
        }
    }

    fn is_one_of(&self, cells: &Column<'_>, column: usize, row: usize, set: &[u64; 4]) -> bool {
        match (cells, &self.cuts[column]) {
            (Column::Categories { codes, .. }, Cuts::Categories { bins, .. }) => {
                Rule::holds(set, bins[codes[row] as usize])
            }
            // Kinds were compared before.
            _ => false,
        }
    }

    fn check(&self, columns: &[Column<'_>], rows: usize) -> Result<(), TreesError> {
        let kinds: Vec<bool> = columns.iter().map(|c| matches!(c, Column::Numbers(_))).collect();
        let wanted: Vec<bool> = self.cuts.iter().map(|c| matches!(c, Cuts::Numbers(_))).collect();
        if kinds != wanted {
            return Err(TreesError::Columns { wanted: words(&wanted), got: words(&kinds) });
        }
        check_columns(columns, rows)?;
        for (c, (column, cuts)) in columns.iter().zip(&self.cuts).enumerate() {
            if let (Column::Categories { codes, .. }, Cuts::Categories { bins, .. }) = (column, cuts)
                && let Some((row, &code)) =
                    codes.iter().enumerate().find(|(_, code)| **code as usize >= bins.len())
            {
                return Err(TreesError::Level { row, column: c, code, levels: bins.len() as u32 });
            }
        }
        Ok(())
    }
}

fn is_up_to(cells: &Column<'_>, row: usize, cut: f64) -> bool {
    // Kinds were compared before.
    matches!(cells, Column::Numbers(values) if values[row] <= cut)
}

/// `3 columns (numbers, categories, numbers)`.
fn words(kinds: &[bool]) -> String {
    let names: Vec<&str> =
        kinds.iter().map(|number| if *number { "numbers" } else { "categories" }).collect();
    format!("{} columns ({})", kinds.len(), names.join(", "))
}

//! Growth of a tree, leaf by leaf.

use rayon::prelude::*;

use crate::Options;
use crate::bins::Binned;
use crate::histogram::{Split, Sums, best, fill};
use crate::model::{Node, Tree};

/// Cells (rows times columns) from which columns are worked by all threads.
const MANY: usize = 1 << 15;

/// Rows that one thread moves at a time.
const PIECE: usize = 1 << 14;

/// Moves the rows of the left side to the front, both sides in the order they have; how many are left.
fn part(rows: &mut [u32], room: &mut Vec<u32>, is_left: impl Fn(u32) -> bool + Sync) -> usize {
    room.resize(rows.len().max(room.len()), 0);
    let room = &mut room[..rows.len()];
    // Written to both sides, one of which goes on: which way a row goes cannot be foreseen.
    let one = |(rows, room): (&mut [u32], &mut [u32])| {
        let (mut kept, mut moved) = (0, 0);
        for i in 0..rows.len() {
            let row = rows[i];
            let left = is_left(row);
            rows[kept] = row;
            room[moved] = row;
            kept += usize::from(left);
            moved += usize::from(!left);
        }
        kept
    };
    let kept: Vec<usize> = if rows.len() > PIECE {
        rows.par_chunks_mut(PIECE).zip(room.par_chunks_mut(PIECE)).map(one).collect()
    } else {
        vec![one((&mut *rows, &mut *room))]
    };
    let mut to = 0;
    for (piece, kept) in kept.iter().enumerate() {
        rows.copy_within(piece * PIECE..piece * PIECE + kept, to);
        to += kept;
    }
    let all = to;
    for (room, kept) in room.chunks(PIECE).zip(&kept) {
        let moved = room.len() - kept;
        rows[to..to + moved].copy_from_slice(&room[..moved]);
        to += moved;
    }
    all
}

/// A leaf that may still be split.
struct Leaf {
    /// Its place among the nodes.
    node: usize,
    /// Its rows: `order[from..to]`.
    from: usize,
    to: usize,
    depth: usize,
    total: Sums,
    histograms: Vec<Vec<Sums>>,
    split: Option<Split>,
}

/// What growing a tree needs, kept from tree to tree.
pub(crate) struct Grower<'a> {
    binned: &'a Binned,
    options: &'a Options,
    /// `[rows]`: first and second derivative.
    derivatives: Vec<[f64; 2]>,
    /// Rows, those of a leaf side by side.
    order: Vec<u32>,
    /// Derivatives in that order.
    ordered: Vec<[f64; 2]>,
    room: Vec<u32>,
}

impl<'a> Grower<'a> {
    pub(crate) fn new(binned: &'a Binned, options: &'a Options, rows: usize) -> Self {
        Self {
            binned,
            options,
            derivatives: vec![[0.0; 2]; rows],
            order: Vec::with_capacity(rows),
            ordered: Vec::with_capacity(rows),
            room: Vec::with_capacity(rows),
        }
    }

    /// To be set before a tree grows.
    pub(crate) fn derivatives(&mut self) -> &mut [[f64; 2]] {
        &mut self.derivatives
    }

    /// Grows a tree and adds its values to the scores; none where no split gains anything.
    pub(crate) fn grow(&mut self, scores: &mut [f64]) -> Option<Tree> {
        self.order.clear();
        self.order.extend(0..scores.len() as u32);
        let mut tree = Tree { nodes: vec![Node::Leaf(0.0)] };
        let root = self.leaf(0, 0, scores.len(), 0, None);
        root.split.as_ref()?;
        let mut leaves = vec![root];
        let mut count = 1;
        while count < self.options.leaves {
            // The largest gain; of equal ones the leaf that came first.
            let gain = |leaf: &Leaf| leaf.split.as_ref().map_or(0.0, |split| split.gain);
            let Some(next) = (0..leaves.len())
                .filter(|i| leaves[*i].split.is_some())
                .max_by(|a, b| gain(&leaves[*a]).total_cmp(&gain(&leaves[*b])).then(b.cmp(a)))
            else {
                break;
            };
            let mut leaf = leaves.swap_remove(next);
            let Some(split) = leaf.split.take() else { break };
            leaves.extend(self.divide(&mut tree, leaf, split));
            count += 1;
        }
        for leaf in &leaves {
            let value = self.value(&leaf.total);
            tree.nodes[leaf.node] = Node::Leaf(value);
            self.order[leaf.from..leaf.to].iter().for_each(|row| scores[*row as usize] += value);
        }
        Some(tree)
    }

    fn value(&self, total: &Sums) -> f64 {
        let curvature = total.h + self.options.l2;
        if curvature > 0.0 { -self.options.rate * total.g / curvature } else { 0.0 }
    }

    /// Splits a leaf: two more nodes, the rows moved apart.
    fn divide(&mut self, tree: &mut Tree, leaf: Leaf, split: Split) -> [Leaf; 2] {
        let bins = self.binned.bins(split.column);
        let is_left = |row: u32| split.rule.is_left(bins[row as usize]);
        let kept = part(&mut self.order[leaf.from..leaf.to], &mut self.room, is_left);
        let middle = leaf.from + kept;
        let left = tree.nodes.len();
        tree.nodes[leaf.node] =
            Node::Split { column: split.column, rule: split.rule, left, gain: split.gain };
        tree.nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
        // The smaller side is counted, the larger one is what remains.
        let depth = leaf.depth + 1;
        if kept <= leaf.to - middle {
            let small = self.leaf(left, leaf.from, middle, depth, None);
            let large = self.leaf(left + 1, middle, leaf.to, depth, Some((leaf, &small)));
            [small, large]
        } else {
            let small = self.leaf(left + 1, middle, leaf.to, depth, None);
            let large = self.leaf(left, leaf.from, middle, depth, Some((leaf, &small)));
            [large, small]
        }
    }

    /// A leaf of these rows, with its best split. Its histograms are those of the parent without the sibling's, where both are given.
    fn leaf(
        &mut self,
        node: usize,
        from: usize,
        to: usize,
        depth: usize,
        parent: Option<(Leaf, &Leaf)>,
    ) -> Leaf {
        let histograms = match parent {
            Some((mut parent, sibling)) => {
                for (all, less) in parent.histograms.iter_mut().zip(&sibling.histograms) {
                    all.iter_mut().zip(less).for_each(|(all, less)| *all = all.less(less));
                }
                parent.histograms
            }
            None => self.count(from, to),
        };
        let mut total = Sums::default();
        histograms[0].iter().for_each(|sums| total.add(sums));
        let split = if depth < self.options.depth { self.best(&histograms, &total) } else { None };
        Leaf { node, from, to, depth, total, histograms, split }
    }

    fn count(&mut self, from: usize, to: usize) -> Vec<Vec<Sums>> {
        let rows = &self.order[from..to];
        let derivatives = |row: &u32| self.derivatives[*row as usize];
        if rows.len() >= PIECE {
            rows.par_iter().with_min_len(PIECE / 2).map(derivatives).collect_into_vec(&mut self.ordered);
        } else {
            self.ordered.clear();
            self.ordered.extend(rows.iter().map(derivatives));
        }
        let one = |column: usize| {
            let mut sums = vec![Sums::default(); self.binned.cuts(column).count()];
            fill(&mut sums, self.binned.bins(column), rows, &self.ordered);
            sums
        };
        let columns = self.binned.columns();
        if rows.len() * columns >= MANY {
            (0..columns).into_par_iter().map(one).collect()
        } else {
            (0..columns).map(one).collect()
        }
    }

    fn best(&self, histograms: &[Vec<Sums>], total: &Sums) -> Option<Split> {
        let mut found: Option<Split> = None;
        for (column, histogram) in histograms.iter().enumerate() {
            let split = best(column, self.binned.cuts(column), histogram, total, self.options);
            if let Some(split) = split
                && found.as_ref().is_none_or(|most| split.gain > most.gain)
            {
                found = Some(split);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_moved_apart_in_the_order_they_have() {
        let is_left = |row: u32| row.wrapping_mul(2_654_435_761) >> 28 < 5;
        let mut room = Vec::new();
        for count in [0, 1, 7, PIECE, PIECE + 1, 3 * PIECE + 100] {
            let mut rows: Vec<u32> = (0..count as u32).map(|row| row * 3).collect();
            let (mut left, right): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| is_left(**row));
            assert_eq!(part(&mut rows, &mut room, is_left), left.len());
            left.extend(right);
            assert_eq!(rows, left, "{count} rows");
        }
    }
}

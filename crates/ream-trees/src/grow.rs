//! Growth of a tree, leaf by leaf.

use rayon::prelude::*;

use crate::Options;
use crate::bins::Binned;
use crate::histogram::{Split, Sums, best, fill};
use crate::model::{Node, Tree};

/// Cells (rows times columns) from which columns are worked by all threads.
const MANY: usize = 1 << 15;

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
        let (rows, room) = (&mut self.order[leaf.from..leaf.to], &mut self.room);
        room.clear();
        let mut kept = 0;
        for i in 0..rows.len() {
            let row = rows[i];
            if split.rule.is_left(bins[row as usize]) {
                rows[kept] = row;
                kept += 1;
            } else {
                room.push(row);
            }
        }
        rows[kept..].copy_from_slice(room);
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
        self.ordered.clear();
        self.ordered.extend(rows.iter().map(|row| self.derivatives[*row as usize]));
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

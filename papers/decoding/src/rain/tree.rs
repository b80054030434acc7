//! The tree of token sets: which set to look at next, what a verdict changes, when there is enough.
//!
//! A node is a set of tokens after its parent's. It has `n` visits (a real number: like siblings count a little), `f` full visits, a value
//! `q`, a prior `p`, and the mean embedding of the texts that were seen through it. From a node the search goes on to the child of largest
//!
//! `qn(child) + c p sqrt(n) / (1 + n_child)`, `qn = (q - q_min) / (q_max - q_min + 1e-5)`, 0 for a child that was never seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What keeps a value's range from having no width.
const WIDTH: f64 = 1e-5;

/// How the tree is searched; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// `c`: how much a prior counts against a value.
    pub exploration: f64,
    /// Tokens of a set at depth 0, 1, ...; the last length holds for all deeper sets.
    pub lengths: Vec<usize>,
    /// Sets that a node begins with.
    pub candidates: usize,
    /// Sets are drawn from this many most probable tokens.
    pub top_k: usize,
    /// Most sets of a node.
    pub most_children: usize,
    /// Sets vary too little below this variance of their embeddings for each token of a set.
    pub least_variance: f64,
    /// Cosine above which siblings are alike.
    pub alike: f64,
    /// Share of a visit that a sibling of cosine 1 gets.
    pub alike_weight: f64,
    /// Share of the root's priors that is the same for all its sets.
    pub root_mix: f64,
    /// `minT`: the most visited set must have more full visits than this before the search stops early.
    pub least_visits: usize,
    /// `Vt`: and a larger value than this.
    pub enough: f64,
    /// `maxT`: iterations for one set.
    pub iterations: usize,
    /// New iterations that a set always may have where the tree was kept from the one before; at most `iterations`.
    pub new_iterations: usize,
    /// Whether a verdict also counts for siblings that are alike.
    pub share: bool,
    /// Whether nodes whose sets are bad and alike get more of them.
    pub widen: bool,
    /// Whether a set is continued to the next sign of punctuation before it is judged.
    pub look_ahead: bool,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            exploration: 2.0,
            lengths: vec![1, 2, 4, 10],
            candidates: 10,
            top_k: 15,
            most_children: 20,
            least_variance: 0.03,
            alike: 0.95,
            alike_weight: 0.2,
            root_mix: 0.25,
            least_visits: 6,
            enough: 0.8,
            iterations: 50,
            new_iterations: 15,
            share: true,
            widen: true,
            look_ahead: true,
        }
    }
}

impl Search {
    /// Tokens of a set at a depth, where at most `room` are left.
    #[must_use]
    pub fn length(&self, depth: usize, room: usize) -> usize {
        let wanted = self.lengths.get(depth).or(self.lengths.last()).copied().unwrap_or(1);
        wanted.clamp(1, room.max(1))
    }
}

/// A set of tokens and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it hangs; none at the root.
    pub parent: Option<usize>,
    /// Sets that follow it.
    pub children: Vec<usize>,
    /// Its tokens; the root's were written already.
    pub tokens: Vec<u32>,
    /// Natural logarithm of the probability of its tokens.
    pub log_probability: f64,
    /// `p`.
    pub prior: f64,
    /// `n`.
    pub visits: f64,
    /// `f`.
    pub full: usize,
    /// `q`.
    pub value: f64,
    /// Mean embedding; empty before the first visit.
    pub embedding: Vec<f64>,
    /// Sets from the beginning of the text to this one.
    pub depth: usize,
    /// Tokens from the beginning of the text to its end.
    pub end: usize,
    /// Whether the text is finished with it.
    pub terminal: bool,
}

impl Node {
    fn new(parent: Option<usize>, tokens: Vec<u32>, log_probability: f64) -> Self {
        Self {
            parent,
            children: Vec::new(),
            tokens,
            log_probability,
            prior: 1.0,
            visits: 0.0,
            full: 0,
            value: 0.0,
            embedding: Vec::new(),
            depth: 0,
            end: 0,
            terminal: false,
        }
    }
}

/// A tree over what may be written next. Node [`Tree::ROOT`] is what was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Least and largest value seen.
    range: [f64; 2],
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::new(None, Vec::new(), 0.0)], range: [-1.0, 1.0] }
    }
}

impl Tree {
    /// The root's number.
    pub const ROOT: usize = 0;

    /// All nodes; parents come before their children.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Adds a set after `parent` and gives its number; the number of the one that is there already when the tokens are the same.
    pub fn add(&mut self, parent: usize, tokens: Vec<u32>, log_probability: f64, terminal: bool) -> usize {
        let known = self.nodes[parent].children.iter().find(|child| self.nodes[**child].tokens == tokens);
        if let Some(known) = known {
            return *known;
        }
        let mut node = Node::new(Some(parent), tokens, log_probability);
        node.depth = self.nodes[parent].depth + 1;
        node.end = self.nodes[parent].end + node.tokens.len();
        node.terminal = terminal;
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.nodes[parent].children.push(number);
        number
    }

    /// Priors of a node's sets from the model's probabilities; `greedy` says whether the first set is the greedy one.
    pub fn set_priors(&mut self, parent: usize, greedy: bool) {
        let children = self.nodes[parent].children.clone();
        let logs: Vec<f64> = children.iter().map(|child| self.nodes[*child].log_probability).collect();
        for (child, prior) in children.into_iter().zip(priors(&logs, greedy)) {
            self.nodes[child].prior = prior;
        }
    }

    /// The prior that counts: at the root a part of it is the same for all.
    fn mixed_prior(&self, search: &Search, parent: usize, child: usize) -> f64 {
        let prior = self.nodes[child].prior;
        if parent != Self::ROOT {
            return prior;
        }
        let even = 1.0 / self.nodes[parent].children.len().max(1) as f64;
        (1.0 - search.root_mix) * prior + search.root_mix * even
    }

    /// What a child is chosen by.
    #[must_use]
    pub fn score(&self, search: &Search, parent: usize, child: usize) -> f64 {
        let node = &self.nodes[child];
        let [low, high] = self.range;
        let value = if node.visits > 0.0 { (node.value - low) / (high - low + WIDTH) } else { 0.0 };
        let curiosity = self.nodes[parent].visits.sqrt() / (1.0 + node.visits);
        value + search.exploration * self.mixed_prior(search, parent, child) * curiosity
    }

    /// The child of the largest score; of equal ones that of the larger prior, then the earlier one.
    #[must_use]
    pub fn select(&self, search: &Search, parent: usize) -> Option<usize> {
        let key = |child: usize| (self.score(search, parent, child), self.nodes[child].prior);
        largest(&self.nodes[parent].children, |a, b| {
            let ((a, p), (b, q)) = (key(a), key(b));
            a.total_cmp(&b).then(p.total_cmp(&q))
        })
    }

    /// The child with most full visits; of equal ones that of the larger value, then of the larger prior, then the earlier one.
    #[must_use]
    pub fn most_visited(&self, parent: usize) -> Option<usize> {
        largest(&self.nodes[parent].children, |a, b| {
            let (a, b) = (&self.nodes[a], &self.nodes[b]);
            a.full.cmp(&b.full).then(a.value.total_cmp(&b.value)).then(a.prior.total_cmp(&b.prior))
        })
    }

    /// Whether the root's most visited set was seen often enough and is good enough.
    #[must_use]
    pub fn settled(&self, search: &Search) -> bool {
        self.most_visited(Self::ROOT).is_some_and(|best| {
            let best = &self.nodes[best];
            best.full > search.least_visits && best.value > search.enough
        })
    }

    /// Iterations that the next set may have.
    #[must_use]
    pub fn budget(&self, search: &Search) -> usize {
        match self.nodes[Self::ROOT].full {
            0 => search.iterations,
            kept => search.iterations.saturating_sub(kept).max(search.new_iterations.min(search.iterations)),
        }
    }

    /// Whether a node needs another set: all its sets were seen, none is good, and they are all alike.
    #[must_use]
    pub fn wants_more(&self, search: &Search, parent: usize) -> bool {
        let children: Vec<&Node> = self.nodes[parent].children.iter().map(|c| &self.nodes[*c]).collect();
        let length = children.iter().map(|child| child.tokens.len()).max().unwrap_or(0);
        !children.is_empty()
            && children.len() < search.most_children
            && children.iter().all(|child| !child.embedding.is_empty() && child.value < 0.0)
            && variance(&children).abs() < search.least_variance * length as f64
    }

    /// Counts a verdict on a text of this embedding (empty: none) for every node of a path from the root, and for siblings that are alike.
    pub fn back_up(&mut self, search: &Search, path: &[usize], value: f64, embedding: &[f64]) {
        self.range = [self.range[0].min(value), self.range[1].max(value)];
        for &number in path {
            let node = &mut self.nodes[number];
            node.visits += 1.0;
            node.full += 1;
            node.value += (value - node.value) / node.visits;
            if node.embedding.is_empty() {
                node.embedding = embedding.to_vec();
            } else {
                let share = 1.0 / node.full as f64;
                let pairs = node.embedding.iter_mut().zip(embedding);
                pairs.for_each(|(mean, new)| *mean += (new - *mean) * share);
            }
        }
        if search.share {
            path.iter().skip(1).for_each(|&number| self.share(search, number, value));
        }
    }

    /// Lets a verdict on a node count for its siblings that are alike.
    fn share(&mut self, search: &Search, number: usize, value: f64) {
        let Some(parent) = self.nodes[number].parent else { return };
        for sibling in self.nodes[parent].children.clone() {
            if sibling == number {
                continue;
            }
            let alike = cosine(&self.nodes[number].embedding, &self.nodes[sibling].embedding);
            if alike > search.alike {
                let weight = search.alike_weight * alike;
                let node = &mut self.nodes[sibling];
                node.value = (node.value * node.visits + weight * value) / (node.visits + weight);
                node.visits += weight;
            }
        }
    }

    /// Makes a child of the root the root and forgets all other branches. Gives the old numbers of the nodes that are left, in their new order.
    ///
    /// # Panics
    /// When it is no node of the tree.
    pub fn commit(&mut self, child: usize) -> Vec<usize> {
        let mut kept = vec![child];
        let mut at = 0;
        while let Some(&node) = kept.get(at) {
            kept.extend(&self.nodes[node].children);
            at += 1;
        }
        // Parents stay before their children.
        kept.sort_unstable();
        let mut new = vec![0; self.nodes.len()];
        kept.iter().enumerate().for_each(|(number, old)| new[*old] = number);
        let mut nodes: Vec<Node> = kept.iter().map(|old| self.nodes[*old].clone()).collect();
        for node in &mut nodes {
            node.parent = node.parent.map(|parent| new[parent]);
            node.children.iter_mut().for_each(|child| *child = new[*child]);
        }
        nodes[Self::ROOT].parent = None;
        self.nodes = nodes;
        kept
    }
}

/// Probabilities of sets, renormalised. The greedy set (the first, where there is one) gets at most what the others have together, and at
/// least the largest and the least of them together.
#[must_use]
pub fn priors(log_probabilities: &[f64], greedy: bool) -> Vec<f64> {
    let most = log_probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut priors: Vec<f64> = log_probabilities.iter().map(|l| libm::exp(l - most)).collect();
    if let (true, Some((first, others))) = (greedy, priors.split_first_mut())
        && !others.is_empty()
    {
        let largest = others.iter().copied().fold(0.0, f64::max);
        let least = others.iter().copied().fold(f64::INFINITY, f64::min);
        let sum: f64 = others.iter().sum();
        // With a single other set the two bounds contradict each other; the upper one counts.
        *first = first.max(largest + least).min(sum);
    }
    let total: f64 = priors.iter().sum();
    priors.iter_mut().for_each(|p| *p /= total);
    priors
}

/// The largest by an order; of equal ones the first.
fn largest(items: &[usize], order: impl Fn(usize, usize) -> std::cmp::Ordering) -> Option<usize> {
    items.iter().copied().reduce(|best, item| if order(item, best).is_gt() { item } else { best })
}

/// Mean squared distance of the embeddings from their mean.
fn variance(nodes: &[&Node]) -> f64 {
    let count = nodes.len() as f64;
    let width = nodes.first().map_or(0, |node| node.embedding.len());
    (0..width)
        .map(|i| {
            let mean = nodes.iter().map(|node| node.embedding[i]).sum::<f64>() / count;
            nodes.iter().map(|node| (node.embedding[i] - mean) * (node.embedding[i] - mean)).sum::<f64>()
                / count
        })
        .sum()
}

/// Cosine of two embeddings; 0 where one is missing.
#[must_use]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = (dot(a, a) * dot(b, b)).sqrt();
    if size > 0.0 { dot(a, b) / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(probabilities: &[f64]) -> (Tree, Vec<usize>) {
        let mut tree = Tree::default();
        let sets = probabilities.iter().enumerate();
        let children = sets.map(|(i, p)| tree.add(0, vec![i as u32], libm::log(*p), false)).collect();
        tree.set_priors(0, false);
        (tree, children)
    }

    #[test]
    fn priors_are_the_models_probabilities() {
        let close = |a: &[f64], b: &[f64]| {
            assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
        };
        let logs = |p: &[f64]| p.iter().map(|p| libm::log(*p)).collect::<Vec<_>>();
        close(&priors(&logs(&[0.3, 0.1, 0.2]), false), &[0.5, 1.0 / 6.0, 1.0 / 3.0]);
        // A greedy set with more than the others together, with less than the largest and the least together, and between.
        close(&priors(&logs(&[0.8, 0.1, 0.05, 0.05]), true), &[0.5, 0.25, 0.125, 0.125]);
        close(&priors(&logs(&[0.01, 0.1, 0.05, 0.05]), true), &[3.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0]);
        close(
            &priors(&logs(&[0.18, 0.1, 0.05, 0.05]), true),
            &[18.0 / 38.0, 10.0 / 38.0, 5.0 / 38.0, 5.0 / 38.0],
        );
        close(&priors(&logs(&[0.9, 0.1]), true), &[0.5, 0.5]);
        close(&priors(&logs(&[0.9]), true), &[1.0]);
        close(&priors(&[-1000.0, -1001.0], false), &[0.731_058_578_630_004_9, 0.268_941_421_369_995_1]);
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let (mut tree, children) = tree(&[0.6, 0.4]);
        let search = Search::default();
        // Before anything was seen, the most probable set.
        assert_eq!(tree.select(&search, 0), Some(children[0]));
        tree.back_up(&Search { share: false, ..search.clone() }, &[0, children[0]], -1.0, &[1.0]);
        let even = |p: f64| 0.75 * p + 0.25 * 0.5;
        let seen = (-1.0 + 1.0) / (2.0 + 1e-5) + 2.0 * even(0.6) * 1.0 / 2.0;
        assert!((tree.score(&search, 0, children[0]) - seen).abs() < 1e-12);
        assert!((tree.score(&search, 0, children[1]) - 2.0 * even(0.4)).abs() < 1e-12);
        assert_eq!(tree.select(&search, 0), Some(children[1]));
        // Below the root priors are not mixed.
        let below = tree.add(children[0], vec![9], -0.1, false);
        tree.set_priors(children[0], true);
        assert!((tree.score(&search, children[0], below) - 2.0 * 1.0 * 1.0).abs() < 1e-12);
    }

    #[test]
    fn verdicts_are_averaged_along_the_path_and_shared_with_like_siblings() {
        let (mut tree, c) = tree(&[0.5, 0.3, 0.2]);
        let search = Search::default();
        tree.back_up(&search, &[0, c[0]], 1.0, &[1.0, 0.0]);
        tree.back_up(&search, &[0, c[1]], -1.0, &[0.0, 1.0]);
        assert_eq!((tree.node(c[0]).visits, tree.node(c[0]).value), (1.0, 1.0));
        // Cosine 0.6 to both: nobody else hears of it.
        tree.back_up(&search, &[0, c[2]], -1.0, &[0.6, 0.8]);
        assert_eq!((tree.node(c[0]).visits, tree.node(c[1]).visits), (1.0, 1.0));
        // The mean embedding of the third is now (0.3, 0.9), of cosine 0.949 with the second; after another like it 0.978.
        tree.back_up(&search, &[0, c[2]], -1.0, &[0.0, 1.0]);
        assert_eq!(tree.node(c[1]).visits, 1.0);
        tree.back_up(&search, &[0, c[2]], 1.0, &[0.0, 1.0]);
        let alike = cosine(&tree.node(c[2]).embedding, &tree.node(c[1]).embedding);
        let weight = 0.2 * alike;
        assert!(alike > 0.95 && (tree.node(c[1]).visits - 1.0 - weight).abs() < 1e-12);
        assert!((tree.node(c[1]).value - (-1.0 + weight) / (1.0 + weight)).abs() < 1e-12);
        assert_eq!((tree.node(c[1]).full, tree.node(c[2]).full, tree.node(0).full), (1, 3, 5));
        assert!((tree.node(c[2]).value + 1.0 / 3.0).abs() < 1e-12);
        assert!((tree.node(0).value + 0.2).abs() < 1e-12);
    }

    #[test]
    fn sets_are_added_where_all_are_bad_and_alike() {
        let (mut tree, c) = tree(&[0.5, 0.5]);
        let search = Search { share: false, ..Search::default() };
        assert!(!tree.wants_more(&search, 0));
        tree.back_up(&search, &[0, c[0]], -1.0, &[1.0, 0.0]);
        assert!(!tree.wants_more(&search, 0), "the second was never seen");
        tree.back_up(&search, &[0, c[1]], -1.0, &[0.99, 0.01]);
        assert!(tree.wants_more(&search, 0));
        assert!(!tree.wants_more(&Search { most_children: 2, ..search.clone() }, 0));
        assert!(!tree.wants_more(&Search { least_variance: 1e-6, ..search.clone() }, 0));
        tree.back_up(&search, &[0, c[1]], 1.0, &[0.99, 0.01]);
        assert!(!tree.wants_more(&search, 0), "one is not bad");
    }

    #[test]
    fn it_stops_when_the_most_visited_set_is_good_and_counts_what_was_kept() {
        let (mut tree, c) = tree(&[0.5, 0.5]);
        let search = Search { iterations: 20, ..Search::default() };
        assert_eq!(tree.budget(&search), 20);
        for _ in 0..6 {
            tree.back_up(&search, &[0, c[1]], 1.0, &[1.0]);
        }
        assert!(!tree.settled(&search));
        tree.back_up(&search, &[0, c[1]], 1.0, &[1.0]);
        assert!(tree.settled(&search));
        assert_eq!(tree.most_visited(0), Some(c[1]));
        let grandchild = tree.add(c[1], vec![7, 8], -1.0, true);
        tree.back_up(&search, &[0, c[1], grandchild], -1.0, &[1.0]);
        assert!(!tree.settled(&search), "7/8 - 1/8 = 0.75");
        assert_eq!(tree.commit(c[1]), [c[1], grandchild]);
        assert_eq!((tree.node(0).full, tree.node(0).parent, tree.node(0).end), (8, None, 1));
        assert_eq!((tree.node(1).tokens.as_slice(), tree.node(1).parent), (&[7, 8][..], Some(0)));
        assert_eq!(
            (tree.node(1).end, tree.node(1).depth, tree.node(0).children.as_slice()),
            (3, 2, &[1][..])
        );
        // 8 of 20 were made, 15 new ones are always allowed.
        assert_eq!(tree.budget(&search), 15);
        assert_eq!(tree.budget(&Search { iterations: 30, ..search.clone() }), 22);
        assert_eq!(tree.budget(&Search { iterations: 10, ..search }), 10);
    }

    #[test]
    fn the_same_tokens_are_one_set() {
        let mut tree = Tree::default();
        let a = tree.add(0, vec![1, 2], -1.0, false);
        assert_eq!(tree.add(0, vec![1, 2], -1.0, false), a);
        assert_ne!(tree.add(0, vec![1, 3], -1.0, false), a);
        assert_eq!(tree.nodes().len(), 3);
    }

    #[test]
    fn lengths_grow_and_end_with_the_room() {
        let search = Search::default();
        assert_eq!([0, 1, 2, 3, 9].map(|depth| search.length(depth, 100)), [1, 2, 4, 10, 10]);
        assert_eq!(search.length(3, 6), 6);
    }

    /// A judge that looks at nothing leaves rates as they are: sets that the model finds equally probable are kept equally often, and a judge
    /// that dislikes one of them all but never keeps it.
    #[test]
    fn a_random_judge_leaves_the_rate_as_it_is() {
        let search = Search { iterations: 24, share: false, ..Search::default() };
        let chosen = |dislikes: Option<usize>| -> [usize; 4] {
            let mut counts = [0; 4];
            for run in 0..400 {
                let (mut tree, children) = tree(&[0.25; 4]);
                let mut rng = ream_rand::Stream::new(run, "verdicts").at(0);
                for _ in 0..search.iterations {
                    let child = tree.select(&search, 0).unwrap();
                    let random = rng.below(3) as f64 - 1.0;
                    let value = match dislikes {
                        Some(bad) => {
                            if child == children[bad] {
                                -1.0
                            } else {
                                1.0
                            }
                        }
                        None => random,
                    };
                    tree.back_up(&search, &[0, child], value, &[]);
                }
                let best = tree.most_visited(0).unwrap();
                counts[children.iter().position(|child| *child == best).unwrap()] += 1;
            }
            counts
        };
        let random = chosen(None);
        assert!(random.iter().all(|count| (60..140).contains(count)), "{random:?}");
        assert_eq!(chosen(Some(0))[0], 0);
    }
}

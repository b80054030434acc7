//! Which drafted tokens are kept.
//!
//! A cheap draft law `q` proposes tokens, the target law `p` is computed for all of them in one pass, and the tokens that come out must have
//! the target's law.
//!
//! - [`accept_chain`]: a drafted token `x ~ q` is kept with probability `min(1, p(x) / q(x))`; the first one refused is replaced by a draw
//!   from `(p - q)+`, normalised; when all are kept, one more token is drawn from the target. **Exact** (Leviathan et al., 2023,
//!   arXiv 2211.17192; Chen et al., 2023, arXiv 2302.01318).
//! - [`accept_tree`]: several candidates at each node, drawn *without replacement*, refused one after the other: after each refusal
//!   `p <- (p - q)+` and `q <- q` without the refused token, both normalised. **Exact**: recursive rejection sampling without
//!   replacement (Jeon et al., 2024, arXiv 2402.14160; also Chen et al., Sequoia, 2024, arXiv 2402.12374), the successor of SpecInfer's
//!   multi-round rule (Miao et al., 2023, arXiv 2305.09781). Candidates that were *chosen* and not drawn (the most probable ones of
//!   a fixed tree) are the case of a `q` that is all on the candidate; that is exact too.
//! - [`accept_greedy`]: keeps what equals the target's arg-max. Exact for greedy decoding.
//! - [`accept_typical`]: keeps a token when `p(x) > min(epsilon, delta e^{-H(p)})` (Medusa; Cai et al., 2024, arXiv 2401.10774). **Not
//!   exact**: what comes out does not have the target's law.
//!
//! Laws need not be normalised to the last bit: they are divided by their sums, in f64.

use ream_rand::Rng;

use super::draw::{greedy, mass, sample};
use crate::error::{Result, config, shape, value};

/// What [`accept_chain`] keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedChain {
    /// How many drafted tokens were kept.
    pub accepted: usize,
    /// The tokens that come out: the kept ones and one more.
    pub tokens: Vec<u32>,
}

/// Exact acceptance of a chain of drafts.
///
/// `draft_laws[i]` is what `drafts[i]` was drawn from; `target_laws[i]` the target's law of the same token, and one more for the token
/// after the last. Uses one uniform number for each token looked at and one for the last token.
///
/// # Errors
/// When numbers of laws or their lengths do not fit, a law has no mass, or a drafted token has probability 0 in its draft law.
pub fn accept_chain<D: AsRef<[f32]>, T: AsRef<[f32]>>(
    drafts: &[u32],
    draft_laws: &[D],
    target_laws: &[T],
    rng: &mut Rng,
) -> Result<AcceptedChain> {
    const NAME: &str = "accept_chain";
    if draft_laws.len() != drafts.len() || target_laws.len() != drafts.len() + 1 {
        return shape(
            NAME,
            format!(
                "{} drafts need as many draft laws (got {}) and one more target law (got {})",
                drafts.len(),
                draft_laws.len(),
                target_laws.len()
            ),
        );
    }
    let mut tokens = Vec::with_capacity(drafts.len() + 1);
    for ((&token, q), p) in drafts.iter().zip(draft_laws).zip(target_laws) {
        let mut pair = Pair::new(NAME, p.as_ref(), Some(q.as_ref()))?;
        if !pair.accepts(token, rng)? {
            pair.refuse(token);
            tokens.push(pair.draw(rng)?);
            return Ok(AcceptedChain { accepted: tokens.len() - 1, tokens });
        }
        tokens.push(token);
    }
    if let Some(last) = target_laws.last() {
        tokens.push(sample(last.as_ref(), rng.uniform())? as u32);
    }
    Ok(AcceptedChain { accepted: drafts.len(), tokens })
}

/// A tree of drafted tokens below a root that is already decided.
///
/// Nodes are numbered in the order they were added; a node's children are looked at in that order, which for drawn candidates must be the
/// order of the draws ([`super::gumbel_top_k`] gives it).
#[derive(Clone, Debug, Default)]
pub struct DraftTree {
    tokens: Vec<u32>,
    parents: Vec<Option<usize>>,
    /// Draft law of the root's children, then of each node's.
    laws: Vec<Option<Vec<f32>>>,
}

impl DraftTree {
    /// Only the root.
    #[must_use]
    pub fn new() -> Self {
        Self { tokens: Vec::new(), parents: Vec::new(), laws: vec![None] }
    }

    /// Adds a candidate below a node (`None`: below the root) and returns its number.
    ///
    /// # Errors
    /// When there is no such parent, or it has a child of the same token.
    pub fn add(&mut self, parent: Option<usize>, token: u32) -> Result<usize> {
        if let Some(bad) = parent.filter(|p| *p >= self.len()) {
            return shape("DraftTree::add", format!("parent {bad}, there are {} nodes", self.len()));
        }
        if self.children(parent).any(|i| self.tokens[i] == token) {
            return value("DraftTree::add", format!("token {token} is there already below {parent:?}"));
        }
        self.tokens.push(token);
        self.parents.push(parent);
        self.laws.push(None);
        Ok(self.len() - 1)
    }

    /// Says that the children of a node were drawn without replacement from this law, in the order they were added. Without it they
    /// count as chosen.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn drawn_from(&mut self, parent: Option<usize>, law: Vec<f32>) -> Result<()> {
        let nodes = self.len();
        match self.laws.get_mut(place(parent)) {
            Some(slot) => *slot = Some(law),
            None => return shape("DraftTree::drawn_from", format!("node {parent:?} of {nodes}")),
        }
        Ok(())
    }

    /// Number of drafted tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing is drafted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Token of every node.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Parent of every node; `None` below the root. A parent's number is smaller than its child's.
    #[must_use]
    pub fn parents(&self) -> &[Option<usize>] {
        &self.parents
    }

    /// Children of a node, in order.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(move |i| self.parents[*i] == parent)
    }

    fn check<T>(&self, operation: &'static str, target_laws: &[T]) -> Result<()> {
        if target_laws.len() == self.len() + 1 {
            return Ok(());
        }
        shape(
            operation,
            format!(
                "a tree of {} nodes needs {} target laws (the root's first), got {}",
                self.len(),
                self.len() + 1,
                target_laws.len()
            ),
        )
    }
}

/// Where the laws after a node are: the root's first.
fn place(node: Option<usize>) -> usize {
    node.map_or(0, |i| i + 1)
}

/// What is kept of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedPath {
    /// The nodes kept, from the root down.
    pub nodes: Vec<usize>,
    /// The tokens that come out: those of the nodes and one more.
    pub tokens: Vec<u32>,
}

/// Exact acceptance of a tree of drafts: recursive rejection without replacement (see the module).
///
/// `target_laws[0]` is the target's law of the token after the root, `target_laws[1 + i]` of the token after node `i`. Uses one uniform
/// number for each candidate looked at and one for the last token.
///
/// # Errors
/// When numbers of laws or their lengths do not fit, a law has no mass, or a drawn candidate has probability 0 in its draft law.
pub fn accept_tree<T: AsRef<[f32]>>(
    tree: &DraftTree,
    target_laws: &[T],
    rng: &mut Rng,
) -> Result<AcceptedPath> {
    const NAME: &str = "accept_tree";
    tree.check(NAME, target_laws)?;
    let mut nodes: Vec<usize> = Vec::new();
    loop {
        let at = nodes.last().copied();
        let mut pair = Pair::new(NAME, target_laws[place(at)].as_ref(), tree.laws[place(at)].as_deref())?;
        let mut kept = None;
        for child in tree.children(at) {
            let token = tree.tokens[child];
            if pair.accepts(token, rng)? {
                kept = Some(child);
                break;
            }
            pair.refuse(token);
        }
        match kept {
            Some(child) => nodes.push(child),
            None => {
                let last = pair.draw(rng)?;
                return Ok(path(tree, nodes, last));
            }
        }
    }
}

fn path(tree: &DraftTree, nodes: Vec<usize>, last: u32) -> AcceptedPath {
    let tokens = nodes.iter().map(|i| tree.tokens[*i]).chain([last]).collect();
    AcceptedPath { nodes, tokens }
}

/// The path of tokens that greedy decoding of the target takes, and the token after it; `targets` as in [`accept_tree`], laws or logits.
///
/// # Errors
/// When the number of laws does not fit, or one has no largest element.
pub fn accept_greedy<T: AsRef<[f32]>>(tree: &DraftTree, targets: &[T]) -> Result<AcceptedPath> {
    tree.check("accept_greedy", targets)?;
    let mut nodes: Vec<usize> = Vec::new();
    loop {
        let at = nodes.last().copied();
        let want = greedy(targets[place(at)].as_ref())? as u32;
        match tree.children(at).find(|i| tree.tokens[*i] == want) {
            Some(child) => nodes.push(child),
            None => return Ok(path(tree, nodes, want)),
        }
    }
}

/// Medusa's rule: whether a token is probable enough under the target, `p(x) > min(epsilon, delta e^{-H(p)})` with the entropy H in nats.
/// The authors use `epsilon = 0.09` and `delta = sqrt(epsilon)`.
///
/// **Not exact**: decoding with it does not sample from the target.
///
/// # Errors
/// When the law has no mass or no such token, or a threshold is not in `(0, 1]`.
pub fn is_typical(law: &[f32], token: u32, epsilon: f64, delta: f64) -> Result<bool> {
    for (key, number) in [("epsilon", epsilon), ("delta", delta)] {
        if !(number > 0.0 && number <= 1.0) {
            return config(key, "in (0, 1]", number);
        }
    }
    let total = mass("is_typical", law)?;
    let Some(p) = law.get(token as usize) else {
        return shape("is_typical", format!("token {token}, the law has {} tokens", law.len()));
    };
    let entropy: f64 =
        law.iter().map(|p| f64::from(*p) / total).filter(|p| *p > 0.0).map(|p| -p * libm::log(p)).sum();
    Ok(f64::from(*p) / total > epsilon.min(delta * libm::exp(-entropy)))
}

/// The longest path of typical tokens ([`is_typical`]; the first of several), then one token from the target's law after it.
///
/// **Not exact**: what comes out does not have the target's law.
///
/// # Errors
/// As [`is_typical`], and when the number of laws does not fit.
pub fn accept_typical<T: AsRef<[f32]>>(
    tree: &DraftTree,
    target_laws: &[T],
    epsilon: f64,
    delta: f64,
    rng: &mut Rng,
) -> Result<AcceptedPath> {
    tree.check("accept_typical", target_laws)?;
    // Length of the accepted path that ends at a node; 0 where it breaks off.
    let mut depth = vec![0_usize; tree.len()];
    let mut best: Option<usize> = None;
    for i in 0..tree.len() {
        let before = tree.parents[i].map_or(1, |p| depth[p]);
        let law = target_laws[place(tree.parents[i])].as_ref();
        if before > 0 && is_typical(law, tree.tokens[i], epsilon, delta)? {
            depth[i] = tree.parents[i].map_or(1, |p| depth[p] + 1);
            if best.is_none_or(|b| depth[i] > depth[b]) {
                best = Some(i);
            }
        }
    }
    let mut nodes: Vec<usize> = std::iter::successors(best, |i| tree.parents[*i]).collect();
    nodes.reverse();
    let last = sample(target_laws[place(best)].as_ref(), rng.uniform())? as u32;
    Ok(path(tree, nodes, last))
}

/// The target's law of one token and the draft's, as candidates are refused.
struct Pair {
    operation: &'static str,
    target: Vec<f64>,
    /// `None`: candidates are chosen, so each has the law that is all on it.
    draft: Option<Vec<f64>>,
}

fn normalised(operation: &'static str, law: &[f32]) -> Result<Vec<f64>> {
    let total = mass(operation, law)?;
    Ok(law.iter().map(|p| f64::from(*p) / total).collect())
}

/// Divides by the sum, unless that is 0.
fn normalise(law: &mut [f64]) -> bool {
    let total: f64 = law.iter().sum();
    if total > 0.0 {
        law.iter_mut().for_each(|p| *p /= total);
    }
    total > 0.0
}

impl Pair {
    fn new(operation: &'static str, target: &[f32], draft: Option<&[f32]>) -> Result<Self> {
        if let Some(draft) = draft.filter(|d| d.len() != target.len()) {
            return shape(
                operation,
                format!("a draft law of {} tokens and a target law of {}", draft.len(), target.len()),
            );
        }
        let draft = draft.map(|law| normalised(operation, law)).transpose()?;
        Ok(Self { operation, target: normalised(operation, target)?, draft })
    }

    fn accepts(&self, token: u32, rng: &mut Rng) -> Result<bool> {
        let Some(p) = self.target.get(token as usize) else {
            return shape(
                self.operation,
                format!("token {token}, the laws have {} tokens", self.target.len()),
            );
        };
        let q = self.draft.as_ref().map_or(1.0, |draft| draft[token as usize]);
        if q <= 0.0 {
            return value(
                self.operation,
                format!("token {token} has probability 0 in the law it is said to be drawn from"),
            );
        }
        Ok(rng.uniform() * q < *p)
    }

    /// `p <- (p - q)+`, `q <- q` without the token, both normalised.
    fn refuse(&mut self, token: u32) {
        let before = self.target.clone();
        match &mut self.draft {
            Some(draft) => {
                self.target.iter_mut().zip(draft.iter()).for_each(|(p, q)| *p = (*p - q).max(0.0));
                draft[token as usize] = 0.0;
                normalise(draft);
            }
            None => self.target[token as usize] = 0.0,
        }
        // A token is refused only where q > p, so something is left of p - q; when rounding leaves nothing, p and q were equal.
        if !normalise(&mut self.target) {
            self.target = before;
        }
    }

    fn draw(&self, rng: &mut Rng) -> Result<u32> {
        let wanted = rng.uniform();
        let mut reached = 0.0;
        let mut last = None;
        for (i, p) in self.target.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            reached += p;
            last = Some(i as u32);
            if wanted < reached {
                break;
            }
        }
        last.map_or_else(|| value(self.operation, "nothing is left of the target's law"), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_law, p_value, rng};
    use super::super::{gumbel_top_k, sample};
    use super::*;

    const V: usize = 4;

    /// Pairs of draft and target that try to break a rule: equal, disjoint, nested, degenerate, nearly equal, opposed.
    fn pairs() -> Vec<(&'static str, [f32; V], [f32; V])> {
        vec![
            ("equal", [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]),
            ("disjoint", [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75]),
            ("target inside draft", [0.25, 0.25, 0.25, 0.25], [0.0, 0.4, 0.6, 0.0]),
            ("draft inside target", [0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]),
            ("degenerate target", [0.4, 0.3, 0.2, 0.1], [0.0, 0.0, 0.0, 1.0]),
            ("opposed", [0.7, 0.2, 0.05, 0.05], [0.05, 0.05, 0.2, 0.7]),
            ("nearly equal", [0.25, 0.25, 0.25, 0.25], [0.26, 0.24, 0.25, 0.25]),
        ]
    }

    fn wide(law: &[f32]) -> Vec<f64> {
        law.iter().map(|p| f64::from(*p)).collect()
    }

    fn rotated(law: &[f32; V], by: u32) -> [f32; V] {
        std::array::from_fn(|i| law[(i + by as usize) % V])
    }

    /// Target laws that depend on the token before: exactness must hold along the sequence.
    fn after(law: &[f32; V], token: u32) -> [f32; V] {
        rotated(law, 2 * token + 1)
    }

    /// The law of two tokens in a row.
    fn two_tokens(p: &[f32; V]) -> Vec<f64> {
        let next = |i: u32| after(p, i);
        (0..V * V).map(|c| f64::from(p[c / V]) * f64::from(next((c / V) as u32)[c % V])).collect()
    }

    #[test]
    fn a_chain_gives_the_targets_law() {
        for (step, (name, q, p)) in pairs().into_iter().enumerate() {
            let mut rng = rng(step as u64);
            let mut kept = 0_u64;
            let mut counts = vec![0_u64; V * V];
            let draws = 60_000;
            for _ in 0..draws {
                // Two drafts; tokens that are missing after a refusal are drawn from the target, as the next round would.
                let x = sample(&q, rng.uniform()).unwrap() as u32;
                let q2 = after(&q, x);
                let y = sample(&q2, rng.uniform()).unwrap() as u32;
                let laws = [p, after(&p, x), [0.25; V]];
                let out = accept_chain(&[x, y], &[q, q2], &laws, &mut rng).unwrap();
                assert_eq!(out.tokens.len(), out.accepted + 1);
                kept += u64::from(out.accepted >= 1);
                let first = out.tokens[0];
                let second = match out.tokens.get(1) {
                    Some(token) => *token,
                    None => sample(&after(&p, first), rng.uniform()).unwrap() as u32,
                };
                counts[first as usize * V + second as usize] += 1;
            }
            let pv = p_value(name, &two_tokens(&p), &counts);
            assert!(pv > 1e-4, "{name}: p = {pv:.2e}");
            // The acceptance rate is 1 - total variation.
            let overlap: f64 = p.iter().zip(&q).map(|(p, q)| f64::from(p.min(*q))).sum();
            let rate = kept as f64 / f64::from(draws);
            assert!(
                (rate - overlap).abs() < 5.0 * (0.25 / f64::from(draws)).sqrt() + 1e-7,
                "{name}: {rate} {overlap}"
            );
        }
    }

    #[test]
    fn keeping_without_the_residual_would_be_found() {
        let (q, p) = ([0.7_f32, 0.2, 0.05, 0.05], [0.05_f32, 0.05, 0.2, 0.7]);
        let mut rng = rng(50);
        let mut counts = [0_u64; V];
        for _ in 0..40_000 {
            let x = sample(&q, rng.uniform()).unwrap() as u32;
            let pair = Pair::new("wrong", &p, Some(&q)).unwrap();
            let out = if pair.accepts(x, &mut rng).unwrap() { x } else { pair.draw(&mut rng).unwrap() };
            counts[out as usize] += 1;
        }
        assert!(p_value("wrong", &wide(&p), &counts) < 1e-4);
    }

    fn drawn_children(
        tree: &mut DraftTree,
        parent: Option<usize>,
        law: &[f32; V],
        k: usize,
        rng: &mut Rng,
    ) -> Vec<usize> {
        let support = law.iter().filter(|q| **q > 0.0).count();
        let logits: Vec<f32> = law.iter().map(|q| libm::logf(*q)).collect();
        let tokens = gumbel_top_k(&logits, k.min(support), rng).unwrap();
        tree.drawn_from(parent, law.to_vec()).unwrap();
        tokens.iter().map(|t| tree.add(parent, *t as u32).unwrap()).collect()
    }

    #[test]
    fn a_tree_of_drawn_candidates_gives_the_targets_law() {
        for (step, (name, q, p)) in pairs().into_iter().enumerate() {
            for width in [1, 2, 3, 4] {
                let mut rng = rng(100 + 10 * width as u64 + step as u64);
                let mut counts = vec![0_u64; V * V];
                for _ in 0..40_000 {
                    let mut tree = DraftTree::new();
                    let first = drawn_children(&mut tree, None, &q, width, &mut rng);
                    for node in first {
                        let law = after(&q, tree.tokens()[node]);
                        drawn_children(&mut tree, Some(node), &law, 2, &mut rng);
                    }
                    let law =
                        |i: usize| if tree.parents()[i].is_none() { after(&p, tree.tokens()[i]) } else { p };
                    let laws: Vec<[f32; V]> = std::iter::once(p).chain((0..tree.len()).map(law)).collect();
                    let out = accept_tree(&tree, &laws, &mut rng).unwrap();
                    let second = match out.tokens.get(1) {
                        Some(token) => *token,
                        None => sample(&after(&p, out.tokens[0]), rng.uniform()).unwrap() as u32,
                    };
                    counts[out.tokens[0] as usize * V + second as usize] += 1;
                }
                let pv = p_value(name, &two_tokens(&p), &counts);
                assert!(pv > 1e-4, "{name}, {width} candidates: p = {pv:.2e}");
            }
        }
    }

    #[test]
    fn a_tree_of_chosen_candidates_gives_the_targets_law_and_keeps_their_mass() {
        for (step, (name, _, p)) in pairs().into_iter().enumerate() {
            for chosen in [&[3_u32][..], &[0, 3], &[2, 1, 0, 3]] {
                let mut tree = DraftTree::new();
                chosen.iter().for_each(|t| assert!(tree.add(None, *t).is_ok()));
                let laws = vec![p; tree.len() + 1];
                let mut rng = rng(200 + step as u64);
                let mut kept = 0_u64;
                assert_law(name, &wide(&p), 30_000, || {
                    let out = accept_tree(&tree, &laws, &mut rng).unwrap();
                    kept += out.nodes.len() as u64;
                    out.tokens[0] as usize
                });
                let mass: f64 = chosen.iter().map(|t| f64::from(p[*t as usize])).sum();
                assert!((kept as f64 / 30_000.0 - mass).abs() < 0.02, "{name} {chosen:?}: {kept} {mass}");
            }
        }
    }

    #[test]
    fn more_candidates_are_kept_more_often_than_one() {
        let (q, p) = ([0.7_f32, 0.2, 0.05, 0.05], [0.05_f32, 0.05, 0.2, 0.7]);
        let rate = |width: usize| {
            let mut rng = rng(300);
            let kept: usize = (0..20_000)
                .map(|_| {
                    let mut tree = DraftTree::new();
                    drawn_children(&mut tree, None, &q, width, &mut rng);
                    accept_tree(&tree, &vec![p; tree.len() + 1], &mut rng).unwrap().nodes.len()
                })
                .sum();
            kept as f64 / 20_000.0
        };
        // One candidate: the overlap, 0.2. All four: one of them is always kept.
        assert!((rate(1) - 0.2).abs() < 0.02 && rate(2) > rate(1) + 0.05 && rate(3) > rate(2));
        assert!((rate(4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn greedy_and_typical_follow_their_rules() {
        // root -> 1 -> 2, root -> 3
        let mut tree = DraftTree::new();
        let a = tree.add(None, 1).unwrap();
        let b = tree.add(None, 3).unwrap();
        let c = tree.add(Some(a), 2).unwrap();
        let laws =
            [[0.1_f32, 0.6, 0.0, 0.3], [0.0, 0.2, 0.8, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
        let out = accept_greedy(&tree, &laws).unwrap();
        assert_eq!((out.nodes, out.tokens), (vec![a, c], vec![1, 2, 3]));
        let mut other = laws;
        other[0] = [0.1, 0.2, 0.0, 0.7];
        let out = accept_greedy(&tree, &other).unwrap();
        assert_eq!((out.nodes, out.tokens), (vec![b], vec![3, 0]));
        // Entropy of the uniform law is ln 4: the threshold is min(0.09, 0.3 / 4) = 0.075 < 1/4.
        assert!(is_typical(&[0.25; 4], 0, 0.09, 0.3).unwrap());
        assert!(!is_typical(&[0.97, 0.03, 0.0, 0.0], 1, 0.09, 0.3).unwrap());
        let mut rng = rng(0);
        let out = accept_typical(&tree, &laws, 0.09, 0.3, &mut rng).unwrap();
        assert_eq!((out.nodes, out.tokens), (vec![a, c], vec![1, 2, 3]));
        // A child of a node that was refused is not kept, however probable.
        let mut refused = laws;
        refused[0] = [0.3, 0.0, 0.7, 0.0];
        assert!(accept_typical(&tree, &refused, 0.09, 0.3, &mut rng).unwrap().nodes.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut rng = rng(0);
        let (p, zero) = ([0.5_f32, 0.5], [0.0_f32, 1.0]);
        let says = |error: crate::NnError, text: &str| {
            assert!(error.to_string().contains(text), "{error}");
        };
        says(accept_chain(&[0], &[p], &[p], &mut rng).unwrap_err(), "one more target law (got 1)");
        says(accept_chain(&[0], &[zero], &[p, p], &mut rng).unwrap_err(), "token 0 has probability 0");
        says(accept_chain(&[7], &[p], &[p, p], &mut rng).unwrap_err(), "token 7, the laws have 2");
        says(accept_chain(&[0], &[[1.0_f32]], &[p, p], &mut rng).unwrap_err(), "draft law of 1 tokens");
        says(accept_chain(&[0], &[p], &[[f32::NAN, 1.0], p], &mut rng).unwrap_err(), "probability 0 is NaN");
        let mut tree = DraftTree::new();
        let a = tree.add(None, 1).unwrap();
        says(tree.add(None, 1).unwrap_err(), "token 1 is there already");
        says(tree.add(Some(5), 1).unwrap_err(), "parent 5, there are 1 nodes");
        says(accept_tree(&tree, &[p], &mut rng).unwrap_err(), "needs 2 target laws");
        assert!(tree.add(Some(a), 1).is_ok());
        says(is_typical(&p, 0, 0.0, 0.3).unwrap_err(), "epsilon must be in (0, 1], got 0");
    }
}

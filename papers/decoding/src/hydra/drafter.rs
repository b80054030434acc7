//! Drafters: what guesses the tokens that the base then checks.

use super::corpus::largest_of;
use super::heads::{Heads, Kind, Unembed, failed};
use super::prefix::{PrefixLayer, PrefixRows};
use super::tree::StaticTree;
use ream_lab::Result;
use ream_lm::llama::Model;
use ream_lm::quant::{Matrix, Rows, product};
use ream_nn::Param;
use ream_nn::simd::{self, vectorised};

/// Guesses the tokens after the one that the base has chosen.
pub trait Drafter {
    /// Longest path it can guess below the root; none for no limit.
    fn depth(&self) -> Option<usize>;

    /// Whether [`Drafter::read`] wants the base's hidden states.
    fn reads_states(&self) -> bool;

    /// Forgets the text.
    fn reset(&mut self);

    /// The base has read these tokens; `states` are its hidden states after the final norm, `[tokens, d]`, or empty when they are not wanted.
    ///
    /// # Errors
    /// Those of the drafter's network.
    fn read(&mut self, tokens: &[u32], states: &[f32]) -> Result<()>;

    /// A token for every node of the tree below `root`, node 0's; none where there is no guess (then nor has any node below it).
    ///
    /// # Errors
    /// A tree that is deeper than [`Drafter::depth`].
    fn draft(&mut self, root: u32, tree: &StaticTree) -> Result<Vec<Option<u32>>>;

    /// The `count` most probable tokens after a path, the base's choice first in it, most probable first.
    ///
    /// # Errors
    /// A path that is empty or longer than [`Drafter::depth`].
    fn candidates(&mut self, path: &[u32], count: usize) -> Result<Vec<u32>>;

    /// The law of the token after a path at a temperature above 0, into `law` (`[vocabulary]`); false when there is no guess.
    ///
    /// # Errors
    /// As for [`Drafter::candidates`].
    fn law(&mut self, path: &[u32], temperature: f32, law: &mut [f32]) -> Result<bool>;
}

/// No guesses: decoding one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDrafts;

impl Drafter for NoDrafts {
    fn depth(&self) -> Option<usize> {
        Some(0)
    }
    fn reads_states(&self) -> bool {
        false
    }
    fn reset(&mut self) {}
    fn read(&mut self, _: &[u32], _: &[f32]) -> Result<()> {
        Ok(())
    }
    fn draft(&mut self, root: u32, tree: &StaticTree) -> Result<Vec<Option<u32>>> {
        let mut tokens = vec![None; tree.len()];
        tokens[0] = Some(root);
        Ok(tokens)
    }
    fn candidates(&mut self, _: &[u32], _: usize) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }
    fn law(&mut self, _: &[u32], _: f32, _: &mut [f32]) -> Result<bool> {
        Ok(false)
    }
}

/// Continues as the text did the last time that its last tokens came (Saxena, 2023: prompt lookup): no training, hardly a cost.
#[derive(Clone, Debug)]
pub struct PromptLookup {
    /// Most tokens that must agree; shorter agreements count when there is no longer one.
    longest: usize,
    text: Vec<u32>,
}

impl PromptLookup {
    /// Looks for the last `longest` tokens, then for fewer.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { longest: longest.max(1), text: Vec::new() }
    }

    /// What followed the last time that the text went on with this path.
    fn next(&self, path: &[u32]) -> Option<u32> {
        let all: Vec<u32> = self.text.iter().chain(path).copied().collect();
        (1..=self.longest.min(all.len().saturating_sub(1))).rev().find_map(|n| {
            let (end, before) = (&all[all.len() - n..], &all[..all.len() - 1]);
            before.windows(n).rposition(|window| window == end).map(|at| all[at + n])
        })
    }
}

impl Drafter for PromptLookup {
    fn depth(&self) -> Option<usize> {
        None
    }
    fn reads_states(&self) -> bool {
        false
    }
    fn reset(&mut self) {
        self.text.clear();
    }
    fn read(&mut self, tokens: &[u32], _: &[f32]) -> Result<()> {
        self.text.extend(tokens);
        Ok(())
    }
    fn draft(&mut self, root: u32, tree: &StaticTree) -> Result<Vec<Option<u32>>> {
        let mut tokens = vec![None; tree.len()];
        tokens[0] = Some(root);
        let mut path = vec![root];
        for depth in 1..=tree.depth() {
            let Some(node) = tree.level(depth).find(|n| tree.path(*n).iter().all(|r| *r == 0)) else { break };
            let Some(token) = self.next(&path) else { break };
            tokens[node] = Some(token);
            path.push(token);
        }
        Ok(tokens)
    }
    fn candidates(&mut self, path: &[u32], count: usize) -> Result<Vec<u32>> {
        Ok(self.next(path).into_iter().take(count).collect())
    }
    fn law(&mut self, path: &[u32], _: f32, law: &mut [f32]) -> Result<bool> {
        law.fill(0.0);
        let Some(token) = self.next(path) else { return Ok(false) };
        law[token as usize] = 1.0;
        Ok(true)
    }
}

vectorised! {
    /// `out = x + silu(a + b)`.
    fn add_silu(out: &mut [f32], x: &[f32], a: &[f32], b: &[f32]) {
        let n = out.len();
        let (x, a, b) = (&x[..n], &a[..n], &b[..n]);
        for i in 0..n {
            let y = a[i] + b[i];
            out[i] = x[i] + y * simd::sigmoid::<FMA>(y);
        }
    }
}
vectorised! {
    /// `out += x`.
    fn add(out: &mut [f32], x: &[f32]) {
        let _ = FMA;
        for (out, x) in out.iter_mut().zip(x) { *out += x; }
    }
}

/// One head, quantised: what each pass of the base pushes out of the caches is to be small.
#[derive(Clone, Debug)]
struct FastHead {
    /// A, and below it R without its identity, `[d or 2 d, inputs]`, in 4 bits.
    first: Matrix,
    bias: Vec<f32>,
    /// In 4 bits.
    rest: Vec<(Matrix, Vec<f32>)>,
    unembed: FastUnembed,
}

/// U of one head, in 8 bits.
#[derive(Clone, Debug)]
enum FastUnembed {
    /// `[draft vocabulary, d]`.
    Full(Matrix),
    /// What is added to the rows that all heads share: `[draft vocabulary, rank]` after `[rank, d]`.
    Correction { down: Matrix, up: Matrix },
}

impl FastHead {
    fn new(heads: &Heads, i: usize) -> Result<Self> {
        let (d, head) = (heads.base().d, &heads.parts().0[i]);
        let inputs = heads.shape().inputs(i, d);
        let bias = |l: &ream_nn::layers::Linear| l.bias.as_ref().map(Param::to_vec).unwrap_or_default();
        let small =
            |w: &[f32], inputs: usize| Matrix::quantize_4(w, w.len() / inputs, inputs).map_err(failed);
        let wide = |w: &Param| {
            let shape = w.shape();
            Matrix::quantize(&w.to_vec(), shape[0], shape[1]).map_err(failed)
        };
        let mut first = head.first.weight.to_vec();
        if let Some(residual) = &head.residual {
            // Beside ones, four bits have no room for what was learned.
            let mut residual = residual.to_vec();
            (0..d).for_each(|k| residual[k * inputs + k] -= 1.0);
            first.extend(residual);
        }
        Ok(Self {
            first: small(&first, inputs)?,
            bias: bias(&head.first),
            rest: head
                .rest
                .iter()
                .map(|l| Ok((small(&l.weight.to_vec(), d)?, bias(l))))
                .collect::<Result<_>>()?,
            unembed: match &head.unembed {
                Unembed::Full(rows) => FastUnembed::Full(wide(rows)?),
                Unembed::Correction { down, up } => {
                    FastUnembed::Correction { down: wide(down)?, up: wide(up)? }
                }
            },
        })
    }

    /// Logits `[rows, draft vocabulary]` of inputs `[rows, inputs]`; `shared` are the rows of U that all heads share.
    fn logits(&self, x: &[f32], d: usize, shared: Option<&Matrix>) -> Vec<f32> {
        let inputs = self.first.inputs();
        let (rows, outputs) = (x.len() / inputs, self.first.outputs());
        let both = times(&self.first, x);
        let mut z = vec![0.0; rows * d];
        for ((z, both), x) in
            z.chunks_exact_mut(d).zip(both.chunks_exact(outputs)).zip(x.chunks_exact(inputs))
        {
            add_silu(z, x, both, &self.bias);
            add(z, &both[d..]);
        }
        for (matrix, bias) in &self.rest {
            let a = times(matrix, &z);
            let mut next = vec![0.0; rows * d];
            for ((out, z), a) in next.chunks_exact_mut(d).zip(z.chunks_exact(d)).zip(a.chunks_exact(d)) {
                add_silu(out, z, a, bias);
            }
            z = next;
        }
        match (&self.unembed, shared) {
            (FastUnembed::Full(rows), _) => times(rows, &z),
            (FastUnembed::Correction { down, up }, shared) => {
                let correction = times(up, &times(down, &z));
                let Some(shared) = shared else { return correction };
                let mut logits = times(shared, &z);
                add(&mut logits, &correction);
                logits
            }
        }
    }

    fn size(&self) -> usize {
        let unembed = match &self.unembed {
            FastUnembed::Full(rows) => rows.size(),
            FastUnembed::Correction { down, up } => down.size() + up.size(),
        };
        self.first.size() + self.rest.iter().map(|(m, _)| m.size()).sum::<usize>() + unembed
    }
}

/// `[rows, outputs]` of `x` `[rows, inputs]`.
fn times(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len() / matrix.inputs() * matrix.outputs()];
    product(matrix, &Rows::new(x, matrix.inputs()), &mut out);
    out
}

/// Draft heads ready to decode with.
#[derive(Clone, Debug)]
pub struct DraftHeads {
    kind: Kind,
    d: usize,
    heads: Vec<FastHead>,
    /// `[draft vocabulary, d]` in 8 bits, where heads add corrections to the same rows.
    rows: Option<Matrix>,
    prefix: Option<PrefixLayer>,
    vocabulary: Vec<u32>,
    state_scale: f32,
    embedding_scale: f32,
}

impl DraftHeads {
    /// Quantises trained heads.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub fn new(heads: &Heads) -> Result<Self> {
        let (parts, prefix) = heads.parts();
        let d = heads.base().d;
        let rows = heads.rows().map(|rows| Matrix::quantize(&rows.to_vec(), rows.shape()[0], d));
        let scales = heads.scales();
        Ok(Self {
            kind: heads.shape().kind,
            d,
            heads: (0..parts.len()).map(|i| FastHead::new(heads, i)).collect::<Result<_>>()?,
            rows: rows.transpose().map_err(failed)?,
            prefix: prefix.map(|block| PrefixLayer::new(block, heads.base())).transpose()?,
            vocabulary: heads.vocabulary().to_vec(),
            state_scale: scales.states,
            embedding_scale: scales.embeddings,
        })
    }

    /// The same heads, given zeros in place of the tokens that were guessed before: what they are worth without the dependence.
    #[must_use]
    pub fn without_embeddings(&self) -> Self {
        Self { embedding_scale: f32::INFINITY, ..self.clone() }
    }

    /// How many heads there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of their weights.
    #[must_use]
    pub fn size(&self) -> usize {
        self.heads.iter().map(FastHead::size).sum::<usize>()
            + self.rows.as_ref().map_or(0, Matrix::size)
            + self.prefix.as_ref().map_or(0, PrefixLayer::size)
    }

    /// A drafter for one text at a time; `model` is the base they were trained for.
    #[must_use]
    pub fn drafter<'a>(&'a self, model: &'a Model) -> HeadDrafter<'a> {
        HeadDrafter { heads: self, model, state: vec![0.0; self.d], prefix: PrefixRows::default() }
    }
}

/// [`DraftHeads`] on a text.
#[derive(Clone, Debug)]
pub struct HeadDrafter<'a> {
    heads: &'a DraftHeads,
    model: &'a Model,
    /// What stands for `h_t`, `[d]`.
    state: Vec<f32>,
    prefix: PrefixRows,
}

impl HeadDrafter<'_> {
    /// The embedding of a token in the heads' units.
    fn embed(&self, token: u32, out: &mut Vec<f32>) -> Result<()> {
        let from = out.len();
        out.resize(from + self.heads.d, 0.0);
        self.model.embed(token, &mut out[from..]).map_err(failed)?;
        out[from..].iter_mut().for_each(|x| *x /= self.heads.embedding_scale);
        Ok(())
    }

    /// Logits after a path.
    fn after(&self, path: &[u32]) -> Result<Vec<f32>> {
        let Some(head) = path.len().checked_sub(1).and_then(|i| self.heads.heads.get(i)) else {
            return Err(failed(format!(
                "a path of {} tokens; there are {} heads",
                path.len(),
                self.heads.len()
            )));
        };
        let mut input = self.state.clone();
        if self.heads.kind == Kind::Hydra {
            path.iter().try_for_each(|token| self.embed(*token, &mut input))?;
        }
        Ok(head.logits(&input, self.heads.d, self.heads.rows.as_ref()))
    }

    /// Logits of head `level - 1` for each parent, `[parents, draft vocabulary]`; one row for all of them where heads do not look.
    fn level(&self, level: usize, tree: &StaticTree, parents: &[usize], embedded: &[Vec<f32>]) -> Vec<f32> {
        let head = &self.heads.heads[level - 1];
        if self.heads.kind == Kind::Medusa {
            return head.logits(&self.state, self.heads.d, self.heads.rows.as_ref());
        }
        let mut inputs = Vec::with_capacity(parents.len() * head.first.inputs());
        for parent in parents {
            inputs.extend(&self.state);
            let mut path: Vec<usize> = std::iter::successors(Some(*parent), |n| tree.parents()[*n]).collect();
            path.reverse();
            path.iter().for_each(|node| inputs.extend(&embedded[*node]));
        }
        head.logits(&inputs, self.heads.d, self.heads.rows.as_ref())
    }
}

impl Drafter for HeadDrafter<'_> {
    fn depth(&self) -> Option<usize> {
        Some(self.heads.len())
    }

    fn reads_states(&self) -> bool {
        true
    }

    fn reset(&mut self) {
        self.state.fill(0.0);
        self.prefix = PrefixRows::default();
    }

    fn read(&mut self, _: &[u32], states: &[f32]) -> Result<()> {
        let d = self.heads.d;
        if states.is_empty() {
            return Ok(());
        }
        match &self.heads.prefix {
            Some(layer) => {
                let scaled: Vec<f32> = states.iter().map(|x| x / self.heads.state_scale).collect();
                self.state = layer.read(&mut self.prefix, &scaled);
            }
            None => {
                self.state.clear();
                self.state.extend(states[states.len() - d..].iter().map(|x| x / self.heads.state_scale));
            }
        }
        Ok(())
    }

    fn draft(&mut self, root: u32, tree: &StaticTree) -> Result<Vec<Option<u32>>> {
        if tree.depth() > self.heads.len() {
            return Err(failed(format!(
                "the tree is {} guesses deep; there are {} heads",
                tree.depth(),
                self.heads.len()
            )));
        }
        let mut tokens = vec![None; tree.len()];
        tokens[0] = Some(root);
        let mut embedded: Vec<Vec<f32>> = vec![Vec::new(); tree.len()];
        for level in 1..=tree.depth() {
            let nodes = tree.level(level);
            let mut parents: Vec<usize> = nodes.clone().filter_map(|n| tree.parents()[n]).collect();
            parents.dedup();
            if self.heads.kind == Kind::Hydra {
                for parent in &parents {
                    if let Some(token) = tokens[*parent] {
                        self.embed(token, &mut embedded[*parent])?;
                    }
                }
            }
            let logits = self.level(level, tree, &parents, &embedded);
            let rows: Vec<&[f32]> = logits.chunks_exact(self.heads.vocabulary.len()).collect();
            let mut ranked: Vec<Vec<u32>> = Vec::with_capacity(parents.len());
            for (k, parent) in parents.iter().enumerate() {
                let highest = nodes.clone().filter(|n| tree.parents()[*n] == Some(*parent));
                let wanted = highest.map(|n| tree.ranks()[n] + 1).max().unwrap_or(0);
                ranked.push(largest_of(rows[k.min(rows.len() - 1)], wanted));
            }
            for node in nodes {
                let place = parents.iter().position(|p| Some(*p) == tree.parents()[node]);
                let rank = place.and_then(|k| ranked[k].get(tree.ranks()[node]));
                tokens[node] = rank.map(|v| self.heads.vocabulary[*v as usize]);
            }
        }
        Ok(tokens)
    }

    fn candidates(&mut self, path: &[u32], count: usize) -> Result<Vec<u32>> {
        let best = largest_of(&self.after(path)?, count);
        Ok(best.into_iter().map(|v| self.heads.vocabulary[v as usize]).collect())
    }

    fn law(&mut self, path: &[u32], temperature: f32, law: &mut [f32]) -> Result<bool> {
        let logits = self.after(path)?;
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        law.fill(0.0);
        for (logit, token) in logits.iter().zip(&self.heads.vocabulary) {
            law[*token as usize] = libm::expf((logit - largest) / temperature);
        }
        Ok(true)
    }
}

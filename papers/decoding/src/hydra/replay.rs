//! Drafts against a text that the base has already written.
//!
//! Rows of the engine are the same to the bit in a tree, a batch or alone. So what greedy decoding with drafts would accept can be counted on
//! the base's own greedy text and its hidden states, without a pass of the base: the tests hold the one against the other.

use super::decode::largest;
use super::drafter::Drafter;
use super::heads::failed;
use super::tree::{MOST_RANKS, StaticTree};
use ream_lab::{Invalid, Result};
use ream_lm::llama::{Cache, Feed, Layout, Logits, Model};

/// Texts that are written together.
const TOGETHER: usize = 16;

/// A prompt and what the base writes after it, greedily.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// Prompt and continuation.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Hidden states after the final norm of all tokens but the last, `[tokens - 1, d]`.
    pub states: Vec<f32>,
    /// Places of the continuation at which the two most probable tokens were less than [`NEAR`] apart.
    pub near_ties: usize,
}

/// Logits closer than this count as nearly tied.
pub const NEAR: f32 = 1e-4;

impl Continuation {
    /// The prompt.
    #[must_use]
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.prompt]
    }

    /// What the base wrote.
    #[must_use]
    pub fn written(&self) -> &[u32] {
        &self.tokens[self.prompt..]
    }

    fn states(&self, from: usize, to: usize, d: usize) -> &[f32] {
        &self.states[from * d..to * d]
    }
}

/// Greedy continuations of prompts by `count` tokens each, several at once. `progress` is told the share that is done.
///
/// # Errors
/// An empty prompt, or one that leaves no room for the tokens in the context; what `progress` says.
pub fn continuations(
    model: &Model,
    prompts: &[Vec<u32>],
    count: usize,
    mut progress: impl FnMut(f64) -> Result<()>,
) -> Result<Vec<Continuation>> {
    let context = model.config().context;
    for prompt in prompts {
        if prompt.is_empty() || prompt.len() + count > context {
            let wanted = format!("at least one token, and {count} fewer than the context's {context}");
            return Err(Invalid::new("the prompt", wanted, format!("{} tokens", prompt.len())).into());
        }
    }
    let mut all = Vec::with_capacity(prompts.len());
    for group in prompts.chunks(TOGETHER) {
        let share = all.len() as f64 / prompts.len() as f64;
        all.extend(group_of(model, group, count, &mut |within| {
            progress(share + within * group.len() as f64 / prompts.len() as f64)
        })?);
    }
    Ok(all)
}

fn group_of(
    model: &Model,
    prompts: &[Vec<u32>],
    count: usize,
    progress: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<Vec<Continuation>> {
    let d = model.config().width;
    let mut cache = Cache::new(model);
    let mut branches: Vec<_> = prompts.iter().map(|_| cache.branch()).collect();
    let mut texts: Vec<Continuation> = prompts
        .iter()
        .map(|p| Continuation { tokens: p.clone(), prompt: p.len(), states: Vec::new(), near_ties: 0 })
        .collect();
    for step in 0..count {
        progress(step as f64 / count as f64)?;
        let new: Vec<Vec<u32>> = texts.iter().map(|t| t.tokens[t.states.len() / d..].to_vec()).collect();
        let mut feeds: Vec<Feed<'_>> = new
            .iter()
            .zip(&mut branches)
            .map(|(tokens, branch)| Feed { branch, tokens, layout: Layout::Chain })
            .collect();
        let out =
            model.forward().logits(Logits::Last).hidden().run(&mut cache, &mut feeds).map_err(failed)?;
        let mut rows = out.hidden.as_slice();
        for (i, text) in texts.iter_mut().enumerate() {
            let (mine, rest) = rows.split_at(new[i].len() * d);
            text.states.extend(mine);
            rows = rest;
            let logits = out.logits(i);
            let token = largest(logits);
            let near =
                |(v, logit): (usize, &f32)| v != token as usize && logits[token as usize] - logit < NEAR;
            text.near_ties += usize::from(logits.iter().enumerate().any(near));
            text.tokens.push(token);
        }
    }
    Ok(texts)
}

/// How many tokens each pass of greedy decoding with these drafts gives on a text (the last run is cut at its end).
///
/// # Errors
/// Those of the drafter.
pub fn replay(
    drafter: &mut dyn Drafter,
    tree: &StaticTree,
    text: &Continuation,
    d: usize,
) -> Result<Vec<usize>> {
    drafter.reset();
    drafter.read(text.prompt(), text.states(0, text.prompt, d))?;
    let (mut at, end) = (text.prompt, text.tokens.len());
    let mut runs = Vec::new();
    while at < end {
        let drafts = drafter.draft(text.tokens[at], tree)?;
        let (mut node, mut run) = (0, 1);
        while at + run < end {
            let child = (node + 1..tree.len())
                .find(|n| tree.parents()[*n] == Some(node) && drafts[*n] == Some(text.tokens[at + run]));
            let Some(child) = child else { break };
            (node, run) = (child, run + 1);
        }
        runs.push(run);
        // The last token has no state: nothing comes after it.
        let to = (at + run).min(end - 1);
        if to > at {
            drafter.read(&text.tokens[at..to], text.states(at, to, d))?;
        }
        at += run;
    }
    Ok(runs)
}

/// For every position of the continuation the ranks of the base's tokens with each of `heads` heads, given the base's own tokens before
/// them ("accepted parents"): none where a token is not among the first [`MOST_RANKS`].
///
/// # Errors
/// Those of the drafter.
pub fn ranks(
    drafter: &mut dyn Drafter,
    heads: usize,
    text: &Continuation,
    d: usize,
) -> Result<Vec<Vec<Option<usize>>>> {
    drafter.reset();
    drafter.read(text.prompt(), text.states(0, text.prompt, d))?;
    let mut all = Vec::new();
    for at in text.prompt..text.tokens.len().saturating_sub(heads) {
        let mut row = Vec::with_capacity(heads);
        for head in 0..heads {
            let guesses = drafter.candidates(&text.tokens[at..=at + head], MOST_RANKS)?;
            row.push(guesses.iter().position(|g| *g == text.tokens[at + head + 1]));
        }
        all.push(row);
        drafter.read(&text.tokens[at..=at], text.states(at, at + 1, d))?;
    }
    Ok(all)
}

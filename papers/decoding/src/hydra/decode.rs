//! Decoding with drafts: guess a tree, check it in one pass of the base, keep the longest accepted path.

use super::drafter::Drafter;
use super::heads::failed;
use super::tree::StaticTree;
use ream_lab::{Invalid, Result};
use ream_lm::llama::{Branch, Cache, Feed, Layout, Logits, Model, Output};
use ream_nn::sampling::speculative::{accept_chain, is_typical};
use ream_nn::sampling::{Filter, sample};
use ream_nn::simd::vectorised;
use ream_rand::{Rng, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Tokens of a prompt that are read in one pass.
const PIECE: usize = 256;

/// When a guess is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Acceptance {
    /// When it is the base's most probable token. The text is that of greedy decoding.
    Greedy,
    /// When `p(x) > min(epsilon, sqrt(epsilon) e^-H(p))` under the base's law `p` (Cai et al., 2024). **Not** lossless.
    Typical {
        /// In (0, 1].
        epsilon: f64,
        /// Of the base's law; above 0.
        temperature: f32,
    },
    /// With probability `min(1, p(x) / q(x))`, where `q` is the drafter's law; a refused guess is replaced by a draw from `(p - q)+`. The text
    /// has the base's law. A chain is drafted: the tree's depth counts, not its branches.
    Exact {
        /// Of both laws; above 0.
        temperature: f32,
    },
}

impl Acceptance {
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> std::result::Result<(), Invalid> {
        let (epsilon, temperature) = match self {
            Self::Greedy => return Ok(()),
            Self::Typical { epsilon, temperature } => (*epsilon, *temperature),
            Self::Exact { temperature } => (1.0, *temperature),
        };
        if !(epsilon > 0.0 && epsilon <= 1.0) {
            return Err(Invalid::new("epsilon", "above 0 and at most 1", epsilon.to_string()));
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Invalid::new("temperature", "finite and above 0", temperature.to_string()));
        }
        Ok(())
    }
}

/// What one pass of the base gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The base's own choice, then the guesses that were kept.
    pub tokens: Vec<u32>,
    /// Tokens that the base read.
    pub read: usize,
}

/// A continuation, with what it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generated {
    /// The tokens after the prompt.
    pub tokens: Vec<u32>,
    /// How many of them each pass gave.
    pub runs: Vec<usize>,
}

/// Where the time of the rounds went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Rounds.
    pub rounds: usize,
    /// The drafter: drafting, and reading what was kept.
    pub drafting: f64,
    /// Passes of the base.
    pub passes: f64,
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.drafting += other.drafting;
        self.passes += other.passes;
    }
}

/// A text that is decoded with drafts.
///
/// ```no_run
/// use ream_decoding::hydra::{Acceptance, DraftHeads, Heads, Speculative, StaticTree};
/// use ream_lm::LanguageModel;
///
/// let lm = LanguageModel::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// let heads = DraftHeads::new(&Heads::load("hydra.safetensors".as_ref(), &lm.model)?)?;
/// let (mut drafter, tree) = (heads.drafter(&lm.model), StaticTree::chain(heads.len()));
/// let mut text = Speculative::new(&lm.model, &mut drafter, &tree, Acceptance::Greedy, 0)?;
/// text.begin(&lm.encode("The moon is"))?;
/// while let Some(round) = text.round()? {
///     println!("{}", lm.tokenizer.decode_text(&round.tokens));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Speculative<'a> {
    model: &'a Model,
    drafter: &'a mut dyn Drafter,
    tree: &'a StaticTree,
    acceptance: Acceptance,
    rng: Rng,
    cache: Cache,
    branch: Branch,
    /// The base's choice after all that was read; none where only the prompt was, whose logits decide.
    next: Option<u32>,
    prompt: Prompt,
    spent: Spent,
}

/// What a restart needs.
#[derive(Default)]
struct Prompt {
    tokens: Vec<u32>,
    states: Vec<f32>,
    logits: Vec<f32>,
}

impl<'a> Speculative<'a> {
    /// A decoder of `model` with these drafts.
    ///
    /// # Errors
    /// A tree that is deeper than the drafter can guess; settings of the acceptance that mean nothing.
    pub fn new(
        model: &'a Model,
        drafter: &'a mut dyn Drafter,
        tree: &'a StaticTree,
        acceptance: Acceptance,
        seed: u64,
    ) -> Result<Self> {
        acceptance.check()?;
        if let Some(most) = drafter.depth().filter(|most| *most < tree.depth()) {
            let got = format!("a tree {} guesses deep", tree.depth());
            return Err(Invalid::new(
                "the tree",
                format!("at most {most} guesses deep, one for each head"),
                got,
            )
            .into());
        }
        let cache = Cache::new(model);
        let branch = cache.branch();
        let rng = Stream::new(seed, "speculative decoding").at(0);
        Ok(Self {
            model,
            drafter,
            tree,
            acceptance,
            rng,
            cache,
            branch,
            next: None,
            prompt: Prompt::default(),
            spent: Spent::default(),
        })
    }

    /// Reads a prompt; what was there before is forgotten.
    ///
    /// # Errors
    /// A prompt that is empty, longer than the context, or has a token that is not in the vocabulary.
    pub fn begin(&mut self, prompt: &[u32]) -> Result<()> {
        let context = self.model.config().context;
        if prompt.is_empty() || prompt.len() >= context {
            let wanted = format!("at least one token, and fewer than the context's {context}");
            return Err(Invalid::new("the prompt", wanted, prompt.len().to_string()).into());
        }
        self.branch.truncate(0);
        self.prompt = Prompt { tokens: prompt.to_vec(), ..Prompt::default() };
        for tokens in prompt.chunks(PIECE) {
            let out = self.pass(tokens, Layout::Chain, Logits::Last)?;
            self.prompt.states.extend(&out.hidden);
            self.prompt.logits = out.logits;
        }
        self.restart()
    }

    /// Goes back to the end of the prompt; random numbers go on.
    ///
    /// # Errors
    /// Those of the drafter.
    pub fn restart(&mut self) -> Result<()> {
        self.branch.truncate(self.prompt.tokens.len());
        self.next = None;
        self.drafter.reset();
        self.drafter.read(&self.prompt.tokens, &self.prompt.states)?;
        self.spent = Spent::default();
        Ok(())
    }

    /// Where the time of the rounds since the prompt went.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent
    }

    fn pass(&mut self, tokens: &[u32], layout: Layout<'_>, logits: Logits<'_>) -> Result<Output> {
        let mut forward = self.model.forward().logits(logits);
        if self.drafter.reads_states() {
            forward = forward.hidden();
        }
        let feed = Feed { branch: &mut self.branch, tokens, layout };
        let begun = Instant::now();
        let out = forward.run(&mut self.cache, &mut [feed]).map_err(failed)?;
        self.spent.passes += begun.elapsed().as_secs_f64();
        Ok(out)
    }

    /// One pass of the base: its own next token and the guesses after it that were accepted; none at the end of the context.
    ///
    /// # Errors
    /// Those of the drafter and of the engine.
    pub fn round(&mut self) -> Result<Option<Round>> {
        let position = self.branch.next_position() as usize;
        let Some(room) = self.model.config().context.checked_sub(position + 1) else { return Ok(None) };
        if self.prompt.tokens.is_empty() {
            return Err(Invalid::new("the prompt", "one that was read with `begin`", "none").into());
        }
        self.spent.rounds += 1;
        match self.acceptance {
            Acceptance::Exact { temperature } => self.exact_round(room, temperature),
            _ => self.tree_round(room),
        }
        .map(Some)
    }

    fn tree_round(&mut self, room: usize) -> Result<Round> {
        let root = self.next.unwrap_or_else(|| largest(&self.prompt.logits));
        let begun = Instant::now();
        let drafts = self.drafter.draft(root, self.tree)?;
        self.spent.drafting += begun.elapsed().as_secs_f64();
        // Nodes with a guess that still fit the context.
        let (mut tokens, mut parents) = (Vec::new(), Vec::new());
        let mut places = vec![None; self.tree.len()];
        for node in 0..self.tree.len() {
            let parent = self.tree.parents()[node].map(|p| places[p]);
            if let (Some(token), None | Some(Some(_))) = (drafts[node], parent)
                && self.tree.depths()[node] <= room
            {
                places[node] = Some(tokens.len());
                tokens.push(token);
                parents.push(parent.flatten());
            }
        }
        let out = self.pass(&tokens, Layout::Tree(&parents), Logits::All)?;
        let (path, next) = self.walk(&tokens, &parents, &out)?;
        self.settle(&tokens, &path, &out)?;
        self.next = Some(next);
        Ok(Round { tokens: path.iter().map(|node| tokens[*node]).collect(), read: tokens.len() })
    }

    /// The accepted path from the root on, and the base's most probable token after it.
    fn walk(&self, tokens: &[u32], parents: &[Option<usize>], out: &Output) -> Result<(Vec<usize>, u32)> {
        match self.acceptance {
            Acceptance::Typical { epsilon, temperature } => {
                let filter = Filter { temperature, ..Filter::default() };
                // Length of the accepted path to each node; the first of the longest is kept.
                let mut lengths = vec![1; tokens.len()];
                let mut best = 0;
                let mut laws: Vec<Option<Vec<f32>>> = vec![None; tokens.len()];
                for node in 1..tokens.len() {
                    let Some(parent) = parents[node] else { continue };
                    lengths[node] = 0;
                    if lengths[parent] == 0 {
                        continue;
                    }
                    let law = match &mut laws[parent] {
                        Some(law) => law,
                        empty => empty.insert(filter.law(out.logits(parent)).map_err(failed)?),
                    };
                    if is_typical(law, tokens[node], epsilon, epsilon.sqrt()).map_err(failed)? {
                        lengths[node] = lengths[parent] + 1;
                        if lengths[node] > lengths[best] {
                            best = node;
                        }
                    }
                }
                let mut path: Vec<usize> = std::iter::successors(Some(best), |n| parents[*n]).collect();
                path.reverse();
                Ok((path, largest(out.logits(best))))
            }
            _ => {
                let mut path = vec![0];
                loop {
                    let at = path[path.len() - 1];
                    let wanted = largest(out.logits(at));
                    let child =
                        (at + 1..tokens.len()).find(|n| parents[*n] == Some(at) && tokens[*n] == wanted);
                    match child {
                        Some(child) => path.push(child),
                        None => return Ok((path, wanted)),
                    }
                }
            }
        }
    }

    /// Keeps the rows of a path and lets the drafter read them.
    fn settle(&mut self, tokens: &[u32], path: &[usize], out: &Output) -> Result<()> {
        self.branch.keep(self.branch.len() - tokens.len(), path);
        let d = self.model.config().width;
        let kept: Vec<u32> = path.iter().map(|node| tokens[*node]).collect();
        let states: Vec<f32> = if out.hidden.is_empty() {
            Vec::new()
        } else {
            path.iter().flat_map(|node| &out.hidden[node * d..(node + 1) * d]).copied().collect()
        };
        let begun = Instant::now();
        self.drafter.read(&kept, &states)?;
        self.spent.drafting += begun.elapsed().as_secs_f64();
        Ok(())
    }

    fn exact_round(&mut self, room: usize, temperature: f32) -> Result<Round> {
        let filter = Filter { temperature, ..Filter::default() };
        let root = match self.next {
            Some(token) => token,
            None => filter.sample(&self.prompt.logits, &mut self.rng).map_err(failed)? as u32,
        };
        let mut tokens = vec![root];
        let mut drafts: Vec<Vec<f32>> = Vec::new();
        let begun = Instant::now();
        while drafts.len() < self.tree.depth().min(room) {
            let mut law = vec![0.0; self.model.config().vocab];
            if !self.drafter.law(&tokens, temperature, &mut law)? {
                break;
            }
            tokens.push(sample(&law, self.rng.uniform()).map_err(failed)? as u32);
            drafts.push(law);
        }
        self.spent.drafting += begun.elapsed().as_secs_f64();
        let out = self.pass(&tokens, Layout::Chain, Logits::All)?;
        let targets: Vec<Vec<f32>> = (0..tokens.len())
            .map(|i| filter.law(out.logits(i)))
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?;
        let accepted = accept_chain(&tokens[1..], &drafts, &targets, &mut self.rng).map_err(failed)?;
        let kept: Vec<usize> = (0..=accepted.accepted).collect();
        self.settle(&tokens, &kept, &out)?;
        // The last token that comes out is the root of the next round.
        self.next = accepted.tokens.last().copied();
        Ok(Round { tokens: tokens[..=accepted.accepted].to_vec(), read: tokens.len() })
    }

    /// Continues a prompt by so many tokens (the last run is cut), or to the end of the context.
    ///
    /// # Errors
    /// As for [`Speculative::begin`] and [`Speculative::round`].
    pub fn generate(&mut self, prompt: &[u32], count: usize) -> Result<Generated> {
        self.begin(prompt)?;
        self.go_on(count)
    }

    /// Continues from where the text stands, as [`Speculative::generate`] does.
    ///
    /// # Errors
    /// As for [`Speculative::round`].
    pub fn go_on(&mut self, count: usize) -> Result<Generated> {
        let mut generated = Generated::default();
        while generated.tokens.len() < count {
            let Some(round) = self.round()? else { break };
            let run = round.tokens.len().min(count - generated.tokens.len());
            generated.tokens.extend(&round.tokens[..run]);
            generated.runs.push(run);
        }
        Ok(generated)
    }

    /// Hidden state of nothing: the base's cached rows, for tests of what the cache holds.
    #[cfg(test)]
    pub(super) fn cached(&mut self) -> (&mut Cache, &mut Branch) {
        (&mut self.cache, &mut self.branch)
    }
}

vectorised! {
    /// The place of the largest number of each of sixteen lanes, and the number.
    fn lanes_of(x: &[f32], most: &mut [f32; 16], places: &mut [u32; 16]) {
        let _ = FMA;
        let (whole, _) = x.as_chunks::<16>();
        for (i, chunk) in whole.iter().enumerate() {
            for lane in 0..16 {
                let more = chunk[lane] > most[lane];
                most[lane] = if more { chunk[lane] } else { most[lane] };
                places[lane] = if more { i as u32 } else { places[lane] };
            }
        }
    }
}

/// The place of the largest number, the first of several.
#[must_use]
pub(super) fn largest(x: &[f32]) -> u32 {
    let (mut most, mut places) = ([f32::NEG_INFINITY; 16], [0; 16]);
    lanes_of(x, &mut most, &mut places);
    let lanes =
        most.into_iter().zip(places).enumerate().map(|(lane, (x, place))| (x, 16 * place + lane as u32));
    let from = x.len() / 16 * 16;
    let rest = x[from..].iter().enumerate().map(|(i, x)| (*x, (from + i) as u32));
    let better = |a: (f32, u32), b: (f32, u32)| if b.0 > a.0 || b.0 == a.0 && b.1 < a.1 { b } else { a };
    lanes.chain(rest).fold((f32::NEG_INFINITY, 0), better).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_is_found_wherever_it_stands() {
        let plain = |x: &[f32]| {
            let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            x.iter().position(|v| *v == most).unwrap_or(0) as u32
        };
        let mut rng = Stream::new(1, "largest").at(0);
        for len in [0, 1, 15, 16, 17, 49, 160, 1000] {
            for _ in 0..50 {
                // Few values, so that the largest comes more than once.
                let x: Vec<f32> = (0..len).map(|_| rng.below(9) as f32 - 20.0).collect();
                assert_eq!(largest(&x), plain(&x), "{x:?}");
            }
        }
        assert_eq!(largest(&[f32::NEG_INFINITY; 20]), 0);
    }
}

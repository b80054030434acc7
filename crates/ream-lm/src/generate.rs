//! A model with its tokenizer: text in, text out.

use std::path::Path;

use ream_nn::NnError;
use ream_nn::sampling::Filter;
use ream_rand::{Rng, Stream};
use thiserror::Error;

use crate::chat::Chat;
use crate::llama::{Branch, Cache, Feed, Layout, LlamaError, Logits, Model};
use crate::weights;
use crate::{SmallLm, Tokenizer};

/// Tokens of a prompt that are read in one pass.
const PIECE: usize = 256;

/// A language model: weights and tokenizer of one file.
///
/// ```no_run
/// use std::io::Write;
///
/// use ream_lm::LanguageModel;
/// use ream_nn::sampling::Filter;
///
/// let lm = LanguageModel::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// let prompt = lm.encode("The moon is");
/// let mut text = lm.tokenizer.stream();
/// for token in lm.generate(&prompt, Filter::GREEDY, 0)?.take(48) {
///     print!("{}", text.push(token?));
///     std::io::stdout().flush().ok();
/// }
/// # Ok::<(), ream_lm::LmError>(())
/// ```
#[derive(Debug)]
pub struct LanguageModel {
    /// The weights.
    pub model: Model,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// How conversations become prompts, for models that were trained on some.
    pub chat: Option<Chat>,
}

/// What can go wrong with a language model.
#[derive(Debug, Error)]
pub enum LmError {
    /// The model, its file, or the tokens it is given.
    #[error(transparent)]
    Llama(#[from] LlamaError),
    /// The settings of sampling.
    #[error(transparent)]
    Sampling(#[from] NnError),
}

impl LanguageModel {
    /// Loads a GGUF file, or a folder of Hugging Face's form.
    ///
    /// # Errors
    /// What [`weights::open`], the tokenizer and [`Model::new`] say.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LmError> {
        let weights = weights::open(path.as_ref()).map_err(LlamaError::from)?;
        let tokenizer = weights.tokenizer().map_err(LlamaError::from)?;
        Ok(Self { tokenizer, chat: weights.chat().ok(), model: Model::new(weights.as_ref())? })
    }

    /// A small model that was trained here. No token ends its texts.
    ///
    /// # Errors
    /// None for a network of [`crate::SmallConfig::network`].
    pub fn from_small(small: &SmallLm) -> Result<Self, LmError> {
        Ok(Self { model: small.llama()?, tokenizer: Tokenizer::from(&small.bpe), chat: None })
    }

    /// The tokens of a text, after the token that begins every text where the model has one. Names of special tokens are text like any other.
    #[must_use]
    pub fn encode(&self, text: impl AsRef<[u8]>) -> Vec<u32> {
        self.tokenizer.begin().into_iter().chain(self.tokenizer.encode(text, false)).collect()
    }

    /// Continues a prompt, token by token, until a token that ends the text or the end of the context. The same seed gives the same text.
    ///
    /// # Errors
    /// When the prompt is empty or too long, has a token that is not in the vocabulary, or the filter's settings mean nothing.
    pub fn generate(&self, prompt: &[u32], filter: Filter, seed: u64) -> Result<Generation<'_>, LmError> {
        filter.check()?;
        let mut cache = Cache::new(&self.model);
        let mut branch = cache.branch();
        let logits = self.model.read(&mut cache, &mut branch, prompt)?;
        let rng = Stream::new(seed, "generation").at(0);
        Ok(Generation { lm: self, cache, branch, filter, rng, logits, last: None, finished: false })
    }
}

impl Model {
    /// Reads tokens piece by piece; the logits after the last.
    ///
    /// # Errors
    /// As for a pass; what was read before the piece that failed stays on the branch.
    pub fn read(
        &self,
        cache: &mut Cache,
        branch: &mut Branch,
        tokens: &[u32],
    ) -> Result<Vec<f32>, LlamaError> {
        let (context, position) = (self.config().context, branch.next_position() as usize + tokens.len());
        if position > context {
            return Err(LlamaError::TooLong { position: position - 1, context });
        }
        if tokens.is_empty() {
            return Err(LlamaError::Empty);
        }
        let mut pieces = tokens.chunks(PIECE).peekable();
        let mut logits = Vec::new();
        while let Some(tokens) = pieces.next() {
            let wanted = if pieces.peek().is_some() { Logits::None } else { Logits::Last };
            let feed = Feed { branch: &mut *branch, tokens, layout: Layout::Chain };
            logits = self.forward().logits(wanted).run(cache, &mut [feed])?.logits;
        }
        Ok(logits)
    }

    /// Natural logarithms of the probabilities of tokens, each given all before it; the first has none.
    ///
    /// # Errors
    /// As for a pass.
    pub fn score(&self, tokens: &[u32]) -> Result<Vec<f32>, LlamaError> {
        let mut cache = Cache::new(self);
        let mut branch = cache.branch();
        let mut scores = Vec::with_capacity(tokens.len().saturating_sub(1));
        if tokens.is_empty() {
            return Err(LlamaError::Empty);
        }
        for piece in tokens.chunks(PIECE) {
            let feed = Feed { branch: &mut branch, tokens: piece, layout: Layout::Chain };
            let out = self.forward().logits(Logits::All).run(&mut cache, &mut [feed])?;
            let from = scores.len();
            let next = tokens.iter().skip(from + 1).take(piece.len());
            scores.extend(next.enumerate().map(|(i, token)| log_probability(out.logits(i), *token)));
        }
        Ok(scores)
    }
}

impl Model {
    /// Natural logarithms of the probabilities of the tokens of several continuations of one text that was read already, in one pass; the
    /// branch stays as it is. `last` is the text's last token: it is read again, because its logits are the first that are needed.
    ///
    /// # Errors
    /// As for a pass; a branch on which nothing was read.
    pub fn score_after(
        &self,
        cache: &mut Cache,
        branch: &Branch,
        last: u32,
        continuations: &[&[u32]],
    ) -> Result<Vec<Vec<f32>>, LlamaError> {
        let before = branch.len().checked_sub(1).ok_or(LlamaError::Empty)?;
        let mut branches = vec![branch.clone(); continuations.len()];
        branches.iter_mut().for_each(|branch| branch.truncate(before));
        let inputs: Vec<Vec<u32>> = continuations
            .iter()
            .map(|c| std::iter::once(last).chain(c.iter().copied()).take(c.len().max(1)).collect())
            .collect();
        let mut feeds: Vec<Feed<'_>> = branches
            .iter_mut()
            .zip(&inputs)
            .map(|(branch, tokens)| Feed { branch, tokens, layout: Layout::Chain })
            .collect();
        let out = self.forward().logits(Logits::All).run(cache, &mut feeds)?;
        let mut row = 0;
        let mut scores = Vec::with_capacity(continuations.len());
        for (continuation, input) in continuations.iter().zip(&inputs) {
            let of = |(i, token): (usize, &u32)| log_probability(out.logits(row + i), *token);
            scores.push(continuation.iter().enumerate().map(of).collect());
            row += input.len();
        }
        Ok(scores)
    }
}

/// `log softmax(logits)[token]`, summed in double precision.
#[must_use]
pub fn log_probability(logits: &[f32], token: u32) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(libm::expf(l - largest))).sum();
    let token = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
    (f64::from(token - largest) - libm::log(sum)) as f32
}

/// The tokens of a continuation as they are drawn.
#[derive(Debug)]
pub struct Generation<'a> {
    lm: &'a LanguageModel,
    cache: Cache,
    branch: Branch,
    filter: Filter,
    rng: Rng,
    /// After all that the branch has.
    logits: Vec<f32>,
    /// The last token, which is read only when another one is asked for.
    last: Option<u32>,
    finished: bool,
}

impl Generation<'_> {
    fn step(&mut self) -> Result<Option<u32>, LmError> {
        if let Some(last) = self.last.take() {
            if self.branch.next_position() as usize == self.lm.model.config().context {
                return Ok(None);
            }
            let feed = Feed { branch: &mut self.branch, tokens: &[last], layout: Layout::Chain };
            self.logits = self.lm.model.forward().run(&mut self.cache, &mut [feed])?.logits;
        }
        let token = self.filter.sample(&self.logits, &mut self.rng)? as u32;
        self.last = Some(token);
        Ok(Some(token).filter(|token| !self.lm.tokenizer.is_end(*token)))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<u32, LmError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let step = self.step();
        self.finished |= !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

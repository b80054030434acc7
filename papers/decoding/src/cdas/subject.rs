//! A frozen model that is cut after one block: what comes before as numbers, what comes after with gradients, and generation with an
//! intervention at the cut.

use ream_lab::{Error, Result};
use ream_lm::llama::{Branch, Cache, Differentiable, Feed, Layout, Logits, Model, Output};
use ream_lm::log_probability;
use ream_nn::ops::Mask;
use ream_nn::{Tensor, no_grad};

use super::steering::Steering;

/// Texts that are read in one pass.
const GROUP: usize = 32;

/// Tokens of a text.
pub type Tokens = Vec<u32>;

/// A model and the number of blocks before the intervention.
#[derive(Debug)]
pub struct Subject<'m> {
    model: &'m Model,
    upper: Differentiable,
    layer: usize,
}

/// A text with a given answer, read up to the cut. The law over answer token `t` is that after row `first + t`.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRun {
    /// Residual stream, `[time, width]`.
    pub states: Vec<f32>,
    /// The row of the prompt's last token.
    pub first: usize,
    /// The answer's tokens.
    pub answer: Tokens,
    width: usize,
}

impl TextRun {
    /// Residual stream of the prompt's last token, `[width]`.
    #[must_use]
    pub fn header(&self) -> &[f32] {
        &self.states[self.first * self.width..(self.first + 1) * self.width]
    }

    /// Number of rows.
    #[must_use]
    pub fn time(&self) -> usize {
        self.states.len() / self.width.max(1)
    }

    /// The same text with an intervention on every row but the first.
    #[must_use]
    pub fn steered(&self, steering: &Steering) -> Self {
        let mut run = self.clone();
        steering.apply_all(&mut run.states, self.width, |row| row == 0);
        run
    }
}

/// Several texts side by side, the shorter ones filled up at their end, where nothing looks.
#[derive(Clone, Debug)]
pub struct Packed {
    /// `[texts, time, width]`.
    pub states: Tensor,
    /// Rows of `[texts * time]` whose laws are asked for: text by text, answer token by answer token.
    pub rows: Vec<usize>,
    /// Answer tokens of each text.
    pub lengths: Vec<usize>,
    /// The answers.
    pub answers: Vec<Tokens>,
}

impl Packed {
    /// Packs texts.
    ///
    /// # Errors
    /// Texts of other widths.
    pub fn new(runs: &[&TextRun]) -> Result<Self> {
        let time = runs.iter().map(|run| run.time()).max().unwrap_or(0);
        let width = runs.first().map_or(0, |run| run.width);
        let mut states = Vec::with_capacity(runs.len() * time * width);
        let (mut rows, mut lengths, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (i, run) in runs.iter().enumerate() {
            states.extend_from_slice(&run.states);
            states.resize((i + 1) * time * width, 0.0);
            rows.extend((0..run.answer.len()).map(|t| i * time + run.first + t));
            lengths.push(run.answer.len());
            answers.push(run.answer.clone());
        }
        let states = Tensor::from_vec(states, &[runs.len(), time, width]).map_err(failed)?;
        Ok(Self { states, rows, lengths, answers })
    }

    /// A weight for each row so that every text counts the same, whatever its length; they sum to 1.
    #[must_use]
    pub fn weights(&self) -> Vec<f32> {
        let texts = self.lengths.len().max(1) as f32;
        let of = |n: &usize| std::iter::repeat_n(1.0 / (texts * (*n).max(1) as f32), *n);
        self.lengths.iter().flat_map(of).collect()
    }
}

impl<'m> Subject<'m> {
    /// Cuts a model after `layer` blocks.
    ///
    /// # Errors
    /// A cut before the first or after the last block.
    pub fn new(model: &'m Model, layer: usize) -> Result<Self> {
        check_layer("layer", model, layer)?;
        Ok(Self { model, upper: model.differentiable(layer).map_err(failed)?, layer })
    }

    /// Width of the residual stream.
    #[must_use]
    pub fn width(&self) -> usize {
        self.model.config().width
    }

    /// Blocks before the cut.
    #[must_use]
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Reads prompts with given answers up to the cut; the blocks above are not computed.
    ///
    /// # Errors
    /// An empty prompt or answer; a text longer than the context; a token that the model does not have.
    pub fn read(&self, texts: &[(&[u32], &[u32])]) -> Result<Vec<TextRun>> {
        let width = self.width();
        let above: Vec<usize> = (self.layer..self.model.config().blocks).collect();
        let mut cache = Cache::skipping(self.model, &above).map_err(failed)?;
        let mut runs = Vec::with_capacity(texts.len());
        for group in texts.chunks(GROUP) {
            if let Some(place) = group.iter().position(|(p, a)| p.is_empty() || a.is_empty()) {
                let text = runs.len() + place + 1;
                return Err(failed(format!(
                    "text {text}: a prompt and an answer of a token each are needed"
                )));
            }
            let inputs: Vec<Tokens> = group
                .iter()
                .map(|(prompt, answer)| prompt.iter().chain(&answer[..answer.len() - 1]).copied().collect())
                .collect();
            let mut branches: Vec<Branch> = inputs.iter().map(|_| cache.branch()).collect();
            let mut out = self.pass(&mut cache, &mut branches, &inputs, Logits::None, None)?;
            let states = out.residuals.pop().unwrap_or_default();
            let mut at = 0;
            for ((prompt, answer), input) in group.iter().zip(&inputs) {
                let rows = at..at + input.len() * width;
                at = rows.end;
                let states = states.get(rows).unwrap_or_default().to_vec();
                runs.push(TextRun { states, first: prompt.len() - 1, answer: answer.to_vec(), width });
            }
        }
        Ok(runs)
    }

    /// A pass over chains; without `steering` the residual stream at the end is given, too.
    fn pass(
        &self,
        cache: &mut Cache,
        branches: &mut [Branch],
        inputs: &[Tokens],
        logits: Logits<'_>,
        steering: Option<&Steering>,
    ) -> Result<Output> {
        let (width, cut) = (self.width(), self.layer);
        // Rows at position 0 are left alone.
        let mut firsts = Vec::new();
        let mut row = 0;
        for (branch, input) in branches.iter().zip(inputs) {
            if branch.is_empty() {
                firsts.push(row);
            }
            row += input.len();
        }
        let mut feeds: Vec<Feed<'_>> = branches
            .iter_mut()
            .zip(inputs)
            .map(|(branch, tokens)| Feed { branch, tokens, layout: Layout::Chain })
            .collect();
        let mut edit = |block: usize, x: &mut [f32]| {
            if let Some(steering) = steering.filter(|_| block + 1 == cut) {
                steering.apply_all(x, width, |row| firsts.binary_search(&row).is_ok());
            }
        };
        let forward = self.model.forward().logits(logits);
        let forward = if steering.is_none() { forward.residuals() } else { forward.edit(&mut edit) };
        forward.run(cache, &mut feeds).map_err(failed)
    }

    /// Hidden states after the last norm of the packed rows, `[rows, width]`, of the residual stream `x` `[texts, time, width]` at the cut.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn hidden(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let all = self.upper.hidden(x, &Mask::causal()).map_err(failed)?;
        all.reshape(&[all.rows(), all.last()]).and_then(|h| h.index_select(0, rows)).map_err(failed)
    }

    /// Logits of hidden states.
    ///
    /// # Errors
    /// When the width does not fit.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor> {
        self.upper.head(hidden).map_err(failed)
    }

    /// Hidden states after the last norm for each answer token of each text, without a gradient.
    ///
    /// # Errors
    /// Texts of another width.
    pub fn answers_hidden(&self, runs: &[&TextRun]) -> Result<Vec<Tensor>> {
        let mut all = Vec::with_capacity(runs.len());
        for group in runs.chunks(GROUP / 4) {
            let packed = Packed::new(group)?;
            let hidden = no_grad(|| self.hidden(&packed.states, &packed.rows))?;
            let mut at = 0;
            for length in &packed.lengths {
                all.push(hidden.narrow(0, at, *length).map_err(failed)?.detach());
                at += length;
            }
        }
        Ok(all)
    }

    /// Continues every prompt greedily, under an intervention at the cut on every position after the first. A token for which `ends` says true is the
    /// answer's last.
    ///
    /// # Errors
    /// An empty prompt, a prompt that leaves no room.
    pub fn generate(
        &self,
        prompts: &[Tokens],
        steering: &Steering,
        ends: &dyn Fn(u32) -> bool,
        length: usize,
    ) -> Result<Vec<Tokens>> {
        let mut answers = Vec::with_capacity(prompts.len());
        for group in prompts.chunks(GROUP) {
            answers.extend(self.generate_group(group, steering, ends, length)?);
        }
        Ok(answers)
    }

    fn generate_group(
        &self,
        prompts: &[Tokens],
        steering: &Steering,
        ends: &dyn Fn(u32) -> bool,
        length: usize,
    ) -> Result<Vec<Tokens>> {
        let mut cache = Cache::new(self.model);
        let mut branches: Vec<Branch> = prompts.iter().map(|_| cache.branch()).collect();
        let mut live: Vec<usize> = (0..prompts.len()).collect();
        let mut inputs = prompts.to_vec();
        let mut answers = vec![Tokens::new(); prompts.len()];
        for step in 0..length {
            let out = self.pass(&mut cache, &mut branches, &inputs, Logits::Last, Some(steering))?;
            let next: Vec<u32> = (0..live.len()).map(|i| argmax(out.logits(i))).collect();
            live.iter().zip(&next).for_each(|(text, token)| answers[*text].push(*token));
            let on: Vec<bool> = next.iter().map(|token| !ends(*token)).collect();
            let mut flags = on.iter();
            live.retain(|_| flags.next().copied().unwrap_or(false));
            let mut flags = on.iter();
            branches.retain(|_| flags.next().copied().unwrap_or(false));
            inputs = next.iter().zip(&on).filter(|(_, on)| **on).map(|(token, _)| vec![*token]).collect();
            if live.is_empty() || step + 1 == length {
                break;
            }
        }
        Ok(answers)
    }

    /// Log-probabilities in nats of each answer's tokens under an intervention.
    ///
    /// # Errors
    /// As for [`Subject::read`].
    pub fn score(&self, texts: &[(&[u32], &[u32])], steering: &Steering) -> Result<Vec<Vec<f32>>> {
        let mut scores = Vec::with_capacity(texts.len());
        for group in texts.chunks(GROUP) {
            let mut cache = Cache::new(self.model);
            let mut branches: Vec<Branch> = group.iter().map(|_| cache.branch()).collect();
            let (mut inputs, mut wanted, mut row) = (Vec::new(), Vec::new(), 0);
            for (prompt, answer) in group {
                let input: Tokens =
                    prompt.iter().chain(answer.split_last().map_or(&[][..], |(_, a)| a)).copied().collect();
                wanted.extend((0..answer.len()).map(|t| row + prompt.len() - 1 + t));
                row += input.len();
                inputs.push(input);
            }
            let out = self.pass(&mut cache, &mut branches, &inputs, Logits::Rows(&wanted), Some(steering))?;
            let mut at = 0;
            for (_, answer) in group {
                let of = |(t, token): (usize, &u32)| log_probability(out.logits(at + t), *token);
                scores.push(answer.iter().enumerate().map(of).collect());
                at += answer.len();
            }
        }
        Ok(scores)
    }
}

/// Refuses a cut that is not there; `key` is where the number stands.
///
/// # Errors
/// The range, and what was got.
pub fn check_layer(key: &str, model: &Model, layer: usize) -> Result<()> {
    Ok(ream_lab::Invalid::unless_in(key, layer, 1..=model.config().blocks)?)
}

/// Place of the largest number; the first of several.
fn argmax(logits: &[f32]) -> u32 {
    let best = (1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
    best as u32
}

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// Prompts that were read once, to score answers after them without the intervention.
#[derive(Debug)]
pub struct Reference<'m> {
    model: &'m Model,
    cache: Cache,
    /// Of each prompt all tokens but the last, and the last.
    prompts: Vec<(Branch, u32)>,
}

impl<'m> Reference<'m> {
    /// Reads prompts of two tokens or more.
    ///
    /// # Errors
    /// As for a pass.
    pub fn new(model: &'m Model, prompts: &[Tokens]) -> Result<Self> {
        let mut cache = Cache::new(model);
        let mut read = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let mut branch = cache.branch();
            let (last, before) = prompt.split_last().ok_or_else(|| failed("an empty prompt"))?;
            if !before.is_empty() {
                model.read(&mut cache, &mut branch, before).map_err(failed)?;
            }
            read.push((branch, *last));
        }
        Ok(Self { model, cache, prompts: read })
    }

    /// Mean log-probability of each answer's tokens in nats after its prompt.
    ///
    /// # Errors
    /// As for a pass; an empty answer.
    pub fn score(&mut self, answers: &[Tokens]) -> Result<Vec<f64>> {
        let mut scores = Vec::with_capacity(answers.len());
        for (group, prompts) in answers.chunks(GROUP).zip(self.prompts.chunks(GROUP)) {
            let mut branches: Vec<Branch> = prompts.iter().map(|(branch, _)| branch.clone()).collect();
            let inputs: Vec<Tokens> = group
                .iter()
                .zip(prompts)
                .map(|(answer, (_, last))| {
                    let before = answer.split_last().map_or(&[][..], |(_, before)| before);
                    std::iter::once(last).chain(before).copied().collect()
                })
                .collect();
            let mut feeds: Vec<Feed<'_>> = branches
                .iter_mut()
                .zip(&inputs)
                .map(|(branch, tokens)| Feed { branch, tokens, layout: Layout::Chain })
                .collect();
            let forward = self.model.forward().logits(Logits::All);
            let out = forward.run(&mut self.cache, &mut feeds).map_err(failed)?;
            let mut at = 0;
            for (answer, input) in group.iter().zip(&inputs) {
                let of = |(t, token): (usize, &u32)| f64::from(log_probability(out.logits(at + t), *token));
                let sum: f64 = answer.iter().enumerate().map(of).sum();
                scores.push(sum / answer.len().max(1) as f64);
                at += input.len();
            }
        }
        Ok(scores)
    }
}

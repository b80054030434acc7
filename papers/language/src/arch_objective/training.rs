//! Pretraining, finetuning and adaptation: the same loop over other examples.

use std::ops::ControlFlow;

use ream_nn::training::{Adam, AdamConfig, Schedule, Training, train};
use ream_nn::{Module, NnError};
use ream_rand::Stream;

use super::corpus::{Chapter, Corpus};
use super::items::Item;
use super::model::Model;
use super::objectives::{Example, Sampler};
use super::scoring::LogProb;
use super::vocabulary::Vocabulary;

/// Sequences that are scored together.
const SCORED_TOGETHER: usize = 64;

/// How steps are taken: the same for every cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Number of steps.
    pub steps: u64,
    /// Learning rate after warm-up, before it falls as half a cosine to nothing.
    pub learning_rate: f64,
    /// Steps of warm-up at most; never more than a tenth of all.
    pub warmup: u64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest norm of the gradients.
    pub clip: f64,
}

/// Trains a model; `batch` gives the examples of a step, `report` is told the number of finished steps and may stop it.
///
/// # Errors
/// A loss or gradient that is not finite; stopped.
pub fn fit(
    model: &Model,
    recipe: &Recipe,
    mut batch: impl FnMut(u64) -> Vec<Example>,
    mut report: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<(), NnError> {
    let config = AdamConfig {
        beta2: 0.99,
        decay_matrices_only: true,
        ..AdamConfig::adamw(recipe.learning_rate as f32, recipe.weight_decay as f32)
    };
    let mut optimiser = Adam::new(&model.params(), config);
    let warmup = recipe.warmup.min(recipe.steps / 10);
    let training = Training::steps(recipe.steps)
        .schedule(Schedule::Cosine { warmup, floor: 0.0 })
        .clip(recipe.clip as f32);
    let loss = |step, _| {
        let examples = batch(step);
        model.loss(&examples.iter().collect::<Vec<_>>())
    };
    train(&mut optimiser, None, &training, loss, |progress| report(progress.step)).map(|_| ())
}

/// Training text as one row of tokens: chapters in one random order for all cells, each ended by a token of its own. A text
/// that is too short is read again in another order.
pub struct TextStream {
    tokens: Vec<u32>,
}

impl TextStream {
    /// At least so many tokens.
    pub fn new(chapters: &[Chapter], vocabulary: &Vocabulary, stream: Stream, tokens: usize) -> Self {
        let mut all = Vec::with_capacity(tokens);
        let mut round = 0;
        while all.len() < tokens {
            let before = all.len();
            let mut order: Vec<usize> = (0..chapters.len()).collect();
            stream.at(round).shuffle(&mut order);
            for at in order {
                if all.len() >= tokens {
                    break;
                }
                all.extend(vocabulary.encode(&Corpus::text(&chapters[at])));
                all.push(vocabulary.end());
            }
            round += 1;
            if all.len() == before {
                break;
            }
        }
        Self { tokens: all }
    }

    /// Of these lines, in order: what is held out.
    pub fn held_out<'a>(
        lines: impl Iterator<Item = &'a str>,
        vocabulary: &Vocabulary,
        tokens: usize,
    ) -> Self {
        let mut all = Vec::with_capacity(tokens);
        for line in lines {
            if all.len() >= tokens {
                break;
            }
            all.extend(vocabulary.encode(line));
            all.extend(vocabulary.encode("\n"));
        }
        Self { tokens: all }
    }

    /// All tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Window `index` of `length` tokens, the first from token `from`.
    fn window(&self, from: usize, index: u64, length: usize) -> &[u32] {
        let start = from + index as usize * length;
        self.tokens.get(start..start + length).unwrap_or(&[])
    }

    /// The examples of one step: `batch` windows one after another, made into examples by an objective. Cells of one objective
    /// get the same examples.
    pub fn examples(
        &self,
        sampler: &Sampler<'_>,
        stream: Stream,
        from: usize,
        step: u64,
        batch: usize,
    ) -> Vec<Example> {
        let first = step * batch as u64;
        (first..first + batch as u64)
            .map(|index| sampler.example(self.window(from, index, sampler.window()), &mut stream.at(index)))
            .collect()
    }

    /// As many examples as there are windows, at most `count`.
    pub fn some_examples(&self, sampler: &Sampler<'_>, stream: Stream, count: usize) -> Vec<Example> {
        let count = count.min(self.tokens.len() / sampler.window());
        self.examples(sampler, stream, 0, 0, count)
    }
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// The option goes on where the prompt ends.
    Continue,
    /// The prompt ends with a sentinel, and the option follows the same sentinel: how span corruption asks.
    Sentinel,
    /// As in finetuning: the answer, then the end.
    Answer,
}

impl Asking {
    /// The example that puts an option to a model, and how many of its first tokens of target do not count.
    pub fn example(self, prompt: &[u32], option: &[u32], vocabulary: &Vocabulary) -> (Example, usize) {
        let end = [vocabulary.end()];
        let sentinel = [vocabulary.sentinel(0)];
        match self {
            Self::Continue => (Example::new(&[&end, prompt].concat(), option), 0),
            Self::Sentinel => {
                (Example::new(&[&end, prompt, &sentinel].concat(), &[&sentinel, option].concat()), 1)
            }
            Self::Answer => (Example::new(&[&end, prompt].concat(), &[option, &end].concat()), 0),
        }
    }
}

/// The example that finetuning makes of an item.
pub fn finetuning_example(item: &Item, vocabulary: &Vocabulary) -> Example {
    let (prompt, option) = (vocabulary.encode(&item.prompt), vocabulary.encode(&item.options[item.answer]));
    Asking::Answer.example(&prompt, &option, vocabulary).0
}

/// Log probabilities of all options of all items. `report` is told the share that is done and may stop it.
///
/// # Errors
/// Stopped; a token that is none of the model's.
pub fn log_probs(
    model: &Model,
    items: &[Item],
    asking: Asking,
    vocabulary: &Vocabulary,
    mut report: impl FnMut(f64) -> ControlFlow<()>,
) -> Result<Vec<Vec<LogProb>>, NnError> {
    let mut asked: Vec<(usize, Example, usize)> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let prompt = vocabulary.encode(&item.prompt);
        for option in &item.options {
            let (example, skipped) = asking.example(&prompt, &vocabulary.encode(option), vocabulary);
            asked.push((at, example, skipped));
        }
    }
    // Sequences of like length together: less padding. The sort is stable, so the order is always the same.
    let mut order: Vec<usize> = (0..asked.len()).collect();
    order.sort_by_key(|i| asked[*i].1.tokens.len());
    let mut scores = vec![LogProb { sum: 0.0, tokens: 0 }; asked.len()];
    for (round, chunk) in order.chunks(SCORED_TOGETHER).enumerate() {
        let examples: Vec<&Example> = chunk.iter().map(|i| &asked[*i].1).collect();
        for (i, losses) in chunk.iter().zip(model.token_losses(&examples)?) {
            let counted = &losses[asked[*i].2..];
            let sum = -counted.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            scores[*i] = LogProb { sum, tokens: counted.len() };
        }
        if report((round * SCORED_TOGETHER) as f64 / asked.len() as f64).is_break() {
            return Err(NnError::Stopped(round as u64));
        }
    }
    let mut all: Vec<Vec<LogProb>> = vec![Vec::new(); items.len()];
    for ((at, ..), score) in asked.into_iter().zip(scores) {
        all[at].push(score);
    }
    Ok(all)
}

/// Bits for each character of the tokens with loss. Sentinels and ends have none, but cost.
///
/// # Errors
/// A token that is none of the model's.
pub fn bits_per_character(
    model: &Model,
    examples: &[Example],
    vocabulary: &Vocabulary,
) -> Result<f64, NnError> {
    let (mut nats, mut characters) = (0.0, 0);
    for chunk in examples.chunks(SCORED_TOGETHER) {
        for (example, losses) in chunk.iter().zip(model.token_losses(&chunk.iter().collect::<Vec<_>>())?) {
            nats += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
            let counted = &example.tokens[example.tokens.len() - losses.len()..];
            characters += counted.iter().map(|token| vocabulary.characters(*token)).sum::<usize>();
        }
    }
    Ok(nats / core::f64::consts::LN_2 / (characters.max(1)) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::cells::{Architecture, Cell, Objective};
    use super::super::corpus::tests::sample;
    use super::super::model::Sizes;
    use super::super::objectives::{Account, SpanCorruption};
    use super::super::vocabulary::Bytes;
    use super::*;
    use ream_nn::Init;

    const CORRUPTION: SpanCorruption = SpanCorruption { rate: 0.15, mean_span: 3.0 };

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(Box::new(Bytes::default()), 8)
    }

    fn sampler(objective: Objective, vocabulary: &Vocabulary) -> Sampler<'_> {
        Sampler { objective, corruption: CORRUPTION, context: 48, vocabulary }
    }

    fn tiny(architecture: Architecture, vocabulary: &Vocabulary) -> Model {
        let sizes = Sizes { d: 16, heads: 2, layers: 1, vocabulary: vocabulary.size() };
        Model::new(architecture, sizes, vocabulary.start(), &Init::new(1)).unwrap()
    }

    fn recipe(steps: u64) -> Recipe {
        Recipe { steps, learning_rate: 3e-3, warmup: 10, weight_decay: 0.01, clip: 1.0 }
    }

    /// Same documents in the same order, same windows, same steps, same tokens for every cell; cells of one objective see the
    /// same examples.
    #[test]
    fn all_cells_read_the_same_text_in_the_same_order() {
        let (vocabulary, chapters) = (vocabulary(), sample(3, 10));
        let read = |cell: Cell| {
            let text = TextStream::new(&chapters, &vocabulary, Stream::new(1, "order"), 20_000);
            let sampler = sampler(cell.objective(), &vocabulary);
            let batches: Vec<Vec<Example>> =
                (0..20).map(|step| text.examples(&sampler, Stream::new(1, "examples"), 0, step, 8)).collect();
            (text.tokens().to_vec(), batches)
        };
        let all: Vec<_> = Cell::ALL.iter().map(|cell| (*cell, read(*cell))).collect();
        for (cell, (tokens, batches)) in &all {
            assert_eq!(tokens, &all[0].1.0);
            let account = Account::of(batches.iter().flatten());
            assert_eq!(account.tokens, 20 * 8 * 48, "{cell:?}");
            for (other, (_, others)) in &all {
                assert_eq!(batches == others, cell.objective() == other.objective(), "{cell:?} {other:?}");
            }
        }
        // Windows follow each other without gap or overlap.
        let windows: Vec<u32> = all[0].1.1.iter().flatten().flat_map(|e| e.tokens.clone()).collect();
        assert_eq!(windows, all[0].1.0[..windows.len()]);
    }

    #[test]
    fn a_short_text_is_read_again_in_another_order() {
        let (vocabulary, chapters) = (vocabulary(), sample(1, 3));
        let length: usize = chapters.iter().map(|c| Corpus::text(c).len() + 1).sum();
        let text = TextStream::new(&chapters, &vocabulary, Stream::new(2, "order"), 3 * length);
        assert_eq!(text.tokens().len(), 3 * length);
        let (first, second) = (&text.tokens()[..length], &text.tokens()[length..2 * length]);
        assert_ne!(first, second);
        let sorted = |tokens: &[u32]| {
            let mut tokens = tokens.to_vec();
            tokens.sort_unstable();
            tokens
        };
        assert_eq!(sorted(first), sorted(second));
        assert!(TextStream::new(&[], &vocabulary, Stream::new(2, "order"), 10).tokens().is_empty());
    }

    #[test]
    fn options_are_asked_for_as_each_model_was_trained() {
        let vocabulary = vocabulary();
        let (end, s) = (vocabulary.end(), vocabulary.sentinel(0));
        let of = |asking: Asking| asking.example(&[1, 2], &[3, 4], &vocabulary);
        assert_eq!(of(Asking::Continue), (Example::new(&[end, 1, 2], &[3, 4]), 0));
        assert_eq!(of(Asking::Sentinel), (Example::new(&[end, 1, 2, s], &[s, 3, 4]), 1));
        assert_eq!(of(Asking::Answer), (Example::new(&[end, 1, 2], &[3, 4, end]), 0));
    }

    /// Every architecture learns a task that only reading the input can solve, and then ranks its options.
    #[test]
    fn what_is_learned_is_ranked_first() {
        let vocabulary = vocabulary();
        let items: Vec<Item> = (0..8_u8)
            .map(|i| Item {
                task: "t".to_owned(),
                prompt: format!("{}=", char::from(b'a' + i)),
                options: vec!["x".to_owned(), "y".to_owned()],
                answer: usize::from(i % 2),
            })
            .collect();
        for architecture in Architecture::ALL {
            let model = tiny(architecture, &vocabulary);
            let examples: Vec<Example> = items.iter().map(|i| finetuning_example(i, &vocabulary)).collect();
            fit(&model, &recipe(150), |_| examples.clone(), |_| ControlFlow::Continue(())).unwrap();
            let scores =
                log_probs(&model, &items, Asking::Answer, &vocabulary, |_| ControlFlow::Continue(()))
                    .unwrap();
            for (item, options) in items.iter().zip(&scores) {
                let chosen = super::super::scoring::choose(options, super::super::scoring::Ranking::Sum);
                assert_eq!(chosen, item.answer, "{architecture:?} {}", item.prompt);
                assert_eq!(options[0].tokens, 2);
            }
        }
    }

    #[test]
    fn every_cell_learns_and_the_same_seed_gives_the_same_bits() {
        let (vocabulary, chapters) = (vocabulary(), sample(3, 10));
        let text = TextStream::new(&chapters, &vocabulary, Stream::new(1, "order"), 20_000);
        for cell in Cell::ALL {
            let sampler = sampler(cell.objective(), &vocabulary);
            let run = || {
                let model = tiny(cell.architecture(), &vocabulary);
                let held = text.some_examples(&sampler, Stream::new(2, "held"), 16);
                let before = bits_per_character(&model, &held, &vocabulary).unwrap();
                let batch = |step| text.examples(&sampler, Stream::new(1, "examples"), 0, step, 4);
                fit(&model, &recipe(30), batch, |_| ControlFlow::Continue(())).unwrap();
                (before, bits_per_character(&model, &held, &vocabulary).unwrap())
            };
            let (before, after) = run();
            assert!(after < 0.95 * before, "{cell:?}: {before} {after}");
            assert_eq!(after.to_bits(), run().1.to_bits(), "{cell:?}");
        }
    }

    #[test]
    fn a_training_that_is_stopped_says_so() {
        let vocabulary = vocabulary();
        let model = tiny(Architecture::CausalDecoder, &vocabulary);
        let batch = |_| vec![Example { tokens: vec![1, 2, 3], n_in: 0 }];
        let stopped = fit(&model, &recipe(9), batch, |step| {
            if step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(NnError::Stopped(4))));
    }
    #[test]
    fn a_training_that_diverges_says_where() {
        let vocabulary = vocabulary();
        let model = tiny(Architecture::NonCausalDecoder, &vocabulary);
        let batch = |_| vec![Example { tokens: vec![1, 2, 3], n_in: 1 }];
        let wild = Recipe { learning_rate: 1e30, warmup: 0, ..recipe(20) };
        let error = fit(&model, &wild, batch, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, NnError::NotFinite { .. }), "{error}");
    }
}

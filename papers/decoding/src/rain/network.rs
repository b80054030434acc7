//! The own model: the shared small shape, trained on chapters with judgements between them.

use std::ops::ControlFlow;

use ream_lab::{Error, Result};
use ream_lm::{Bpe, SmallConfig, SmallLm};
use ream_nn::models::Decoder;
use ream_nn::ops::{Mask, cross_entropy};
use ream_nn::training::{Adam, AdamConfig, Progress, Schedule, Training, train as train_loop};
use ream_nn::{Init, Module, NnError};
use ream_rand::{Rng, Stream};
use serde::Serialize;

use super::corpus::Corpus;
use super::failed;

/// What the training makes much of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Weights {
    /// How often an answer counts in the loss.
    pub(super) answer: f32,
    /// Share of the sequences that are judgements.
    pub(super) judged: f64,
}

/// Tokens of the training text, and what each counts when it is to be predicted.
struct Text {
    tokens: Vec<u32>,
    weights: Vec<f32>,
}

impl Text {
    fn of<'t>(bpe: &Bpe, pieces: impl Iterator<Item = (&'t str, f32)>) -> Self {
        let mut encoder = bpe.encoder();
        let mut text = Self { tokens: Vec::new(), weights: Vec::new() };
        for (piece, weight) in pieces {
            encoder.encode_into(piece, &mut text.tokens);
            text.weights.resize(text.tokens.len(), weight);
        }
        text
    }
}

/// Chapters, and judgements whose answers count `answer_weight` times; each in a random order.
fn encoded(corpus: &Corpus, bpe: &Bpe, answer_weight: f32, seed: u64) -> [Text; 2] {
    let mut rng = Stream::new(seed, "order of texts").at(0);
    let mut chapters: Vec<&str> = corpus.chapters.iter().map(String::as_str).collect();
    rng.shuffle(&mut chapters);
    let mut pages: Vec<_> = corpus.judgements.iter().collect();
    rng.shuffle(&mut pages);
    let lines = pages.iter().flat_map(|j| [(j.question.as_str(), 1.0), (j.answer.as_str(), answer_weight)]);
    [Text::of(bpe, chapters.iter().map(|chapter| (*chapter, 1.0))), Text::of(bpe, lines)]
}

/// Inputs, the tokens that follow them, and what those count. A sequence is one of judgements with this probability.
fn batch(
    texts: &[Text; 2],
    config: &SmallConfig,
    judged: f64,
    rng: &mut Rng,
) -> (Vec<u32>, Vec<u32>, Vec<f32>) {
    let (mut inputs, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..config.batch {
        let text = &texts[usize::from(rng.chance(judged))];
        let at = rng.below(text.tokens.len() - config.context);
        inputs.extend_from_slice(&text.tokens[at..at + config.context]);
        targets.extend_from_slice(&text.tokens[at + 1..=at + config.context]);
        weights.extend_from_slice(&text.weights[at + 1..=at + config.context]);
    }
    (inputs, targets, weights)
}

/// Trains tokenizer and network.
///
/// # Errors
/// Too little text; a loss that is not finite; what `report` says.
pub(super) fn train(
    corpus: &Corpus,
    config: &SmallConfig,
    weights: Weights,
    mut report: impl FnMut(&Progress) -> Result<()>,
) -> Result<SmallLm> {
    let bpe = Bpe::train(corpus.texts(), config.merges).map_err(failed)?;
    let texts = encoded(corpus, &bpe, weights.answer, config.seed);
    if let Some(text) = texts.iter().find(|text| text.tokens.len() <= config.context) {
        return Err(failed(format!(
            "{} tokens of text, more than a context of {} are needed",
            text.tokens.len(),
            config.context
        )));
    }
    let model = Decoder::new(&Init::new(config.seed), &config.network(bpe.vocabulary())).map_err(failed)?;
    let mut adam = Adam::new(&model.params(), AdamConfig::adamw(config.learning_rate, 0.1));
    let training = Training::steps(config.steps())
        .schedule(Schedule::Cosine { warmup: config.warmup, floor: 0.1 })
        .clip(1.0);
    let batches = Stream::new(config.seed, "batches");
    let mut stopped: Option<Error> = None;
    let trained = train_loop(
        &mut adam,
        None,
        &training,
        |step, _| -> std::result::Result<_, NnError> {
            let (inputs, targets, weights) = batch(&texts, config, weights.judged, &mut batches.at(step));
            let logits = model.forward(&inputs, [config.batch, config.context], &Mask::causal())?;
            cross_entropy(&logits, &targets, Some(&weights))
        },
        |progress| match report(progress) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        },
    );
    match (stopped, trained) {
        (Some(error), _) => Err(error),
        (None, trained) => trained.map(|_| SmallLm { config: config.clone(), bpe, model }).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::tests::chapters;
    use super::super::harm::Harm;
    use super::super::judge::Template;
    use super::*;

    #[test]
    fn answers_alone_count_more() {
        let (harm, template) = (Harm::violence().unwrap(), Template::marked());
        let corpus = Corpus::new(&chapters(), &harm, &template, 0.15, Stream::new(1, "judgements"));
        let bpe = Bpe::train(corpus.texts(), 200).unwrap();
        let [chapters, text] = encoded(&corpus, &bpe, 5.0, 0);
        assert!(chapters.weights.iter().all(|weight| *weight == 1.0));
        assert_eq!(text.tokens.len(), text.weights.len());
        let answers: Vec<u32> = template.labels.iter().flat_map(|label| bpe.encode(label)).collect();
        assert_eq!(answers.len(), 2, "labels are single tokens");
        let mark = bpe.encode(">");
        let mut count = 0;
        for (i, weight) in text.weights.iter().enumerate().filter(|(_, weight)| **weight != 1.0) {
            assert_eq!(*weight, 5.0);
            assert!(answers.contains(&text.tokens[i]) && text.tokens[i - 1] == mark[0]);
            count += 1;
        }
        assert_eq!(count, corpus.judgements.len());
        let whole: usize = corpus.texts().iter().map(|text| bpe.encode(text).len()).sum();
        let parts = chapters.tokens.len() + text.tokens.len();
        assert_eq!(whole, parts, "cut into question and answer the text has the same tokens");
        let config = SmallConfig { batch: 400, context: 16, ..SmallConfig::default() };
        let (_, _, weights) = batch(&[chapters, text], &config, 0.5, &mut Stream::new(1, "batch").at(0));
        let judged = weights.chunks(16).filter(|sequence| sequence.contains(&5.0)).count();
        assert!((60..220).contains(&judged), "{judged}");
    }
}

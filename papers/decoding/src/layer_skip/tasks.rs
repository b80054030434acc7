//! Scores of the tasks, losses, and what is kept of them when blocks are skipped.

use ream_nn::diffusion::masked::{MaskedSampler, Order, Pace, Plan};
use ream_nn::ops::token_losses;
use ream_nn::sampling::Filter;
use ream_nn::{NnError, Result, Tensor, no_grad};
use ream_rand::Stream;

use super::corpus::{Item, MASK};
use super::network::{Network, shifted};

/// Sequences that are read together.
const TOGETHER: usize = 32;

/// Answers of a model without the blocks of `skip`. An autoregressive model continues greedily; one that denoises fills as many masks as
/// the answer has letters, the surest first, one a pass. Also gives the multiply-adds done in blocks.
///
/// # Errors
/// Items longer than the context.
pub fn answers(network: &Network, items: &[Item], skip: &[usize]) -> Result<(Vec<Vec<u32>>, u64)> {
    let (mut out, mut multiply_adds) = (Vec::with_capacity(items.len()), 0);
    for alike in items.chunk_by(|a, b| (a.prompt.len(), a.answer.len()) == (b.prompt.len(), b.answer.len())) {
        for group in alike.chunks(TOGETHER) {
            let (given, done) = if network.kind.is_diffusion() {
                fill(network, group, skip)?
            } else {
                go_on(network, group, skip)?
            };
            out.extend(given);
            multiply_adds += done;
        }
    }
    Ok((out, multiply_adds))
}

fn fill(network: &Network, group: &[Item], skip: &[usize]) -> Result<(Vec<Vec<u32>>, u64)> {
    let letters = group[0].answer.len();
    let len = group[0].prompt.len() + letters;
    let mut multiply_adds = 0;
    let start: Vec<u32> =
        group.iter().flat_map(|item| item.prompt.iter().copied().chain(vec![MASK; letters])).collect();
    let sampler = MaskedSampler { mask_token: MASK, filter: Filter::GREEDY };
    let plan = Plan { order: Order::MaxProbability, pace: Pace::Count(1), block: None };
    // Greedy: no random number is looked at.
    let mut rngs: Vec<_> = (0..group.len() as u64).map(|i| Stream::new(0, "greedy").at(i)).collect();
    let model = |tokens: &[u32], t: &[f32]| {
        let reading = network.read(tokens, [t.len(), len], skip, false)?;
        multiply_adds += reading.multiply_adds;
        network.decoder.logits(&reading.hidden)
    };
    let tokens = sampler.decode(&start, &plan, model, &mut rngs)?;
    Ok((tokens.chunks_exact(len).map(|s| s[len - letters..].to_vec()).collect(), multiply_adds))
}

fn go_on(network: &Network, group: &[Item], skip: &[usize]) -> Result<(Vec<Vec<u32>>, u64)> {
    let letters = group[0].answer.len();
    let mut texts: Vec<Vec<u32>> = group.iter().map(|item| item.prompt.clone()).collect();
    let mut multiply_adds = 0;
    for _ in 0..letters {
        let len = texts[0].len();
        let reading = network.read(&texts.concat(), [texts.len(), len], skip, false)?;
        multiply_adds += reading.multiply_adds;
        let d = reading.hidden.last();
        let last: Vec<f32> =
            reading.hidden.data().chunks_exact(len * d).flat_map(|s| &s[(len - 1) * d..]).copied().collect();
        let logits = no_grad(|| network.decoder.logits(&Tensor::from_vec(last, &[texts.len(), d])?))?;
        for (text, logits) in texts.iter_mut().zip(logits.data().chunks_exact(logits.last())) {
            text.push(most_probable(&logits[..MASK as usize]));
        }
    }
    Ok((texts.iter().map(|text| text[text.len() - letters..].to_vec()).collect(), multiply_adds))
}

fn most_probable(logits: &[f32]) -> u32 {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, better) as u32
}

/// Share of the items answered to the letter.
///
/// # Errors
/// As [`answers`].
pub fn score(network: &Network, items: &[Item], skip: &[usize]) -> Result<f64> {
    let (given, _) = answers(network, items, skip)?;
    let right = given.iter().zip(items).filter(|(given, item)| **given == item.answer).count();
    Ok(right as f64 / items.len().max(1) as f64)
}

/// `(score - chance) / (full - chance)`: 1 when nothing is lost, 0 when no more is left than a unigram predictor has.
#[must_use]
pub fn retention(score: f64, full: f64, chance: f64) -> f64 {
    (score - chance) / (full - chance)
}

/// Whether a full model does a task: its score lies two standard errors of a share above chance.
#[must_use]
pub fn is_done(full: f64, chance: f64, items: usize) -> bool {
    let se = (full * (1.0 - full) / items.max(1) as f64).sqrt();
    full - chance >= 2.0 * se.max(1.0 / items.max(1) as f64)
}

/// Sequences on which losses are measured; those for denoising are masked once, so that all lists are judged on the same masks.
#[derive(Clone, Debug)]
pub struct Losses {
    len: usize,
    /// Inputs and the tokens that are wanted, `[sequences, len]` each.
    inputs: Vec<u32>,
    targets: Vec<u32>,
}

impl Losses {
    /// Of windows of `len + 1` tokens. A model that denoises sees the first `len`, a share of them masked that goes through `noise`.
    #[must_use]
    pub fn new(network: &Network, windows: &[u32], len: usize, noise: &[f64], stream: Stream) -> Self {
        if !network.kind.is_diffusion() {
            let (inputs, targets) = shifted(windows, len + 1);
            return Self { len, inputs, targets };
        }
        let (targets, _) = shifted(windows, len + 1);
        let mut rng = stream.at(0);
        let share = |i: usize| noise[i / len % noise.len().max(1)];
        let hide = |(i, token): (usize, &u32)| if rng.uniform() < share(i) { MASK } else { *token };
        Self { len, inputs: targets.iter().enumerate().map(hide).collect(), targets }
    }

    /// Mean loss in nats: of every next token, or of the masked ones.
    ///
    /// # Errors
    /// As [`Network::read`]; [`NnError`] when nothing is asked for.
    pub fn mean(&self, network: &Network, skip: &[usize]) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0_usize);
        let pieces = self.inputs.chunks(TOGETHER * self.len).zip(self.targets.chunks(TOGETHER * self.len));
        for (inputs, targets) in pieces {
            let logits = network.logits(inputs, [inputs.len() / self.len, self.len], skip)?;
            let losses = token_losses(&logits, targets)?;
            for (loss, input) in losses.iter().zip(inputs) {
                if !network.kind.is_diffusion() || *input == MASK {
                    sum += f64::from(*loss);
                    count += 1;
                }
            }
        }
        if count == 0 {
            return Err(NnError::Shape {
                operation: "Losses::mean",
                problem: "no token is asked for".to_owned(),
            });
        }
        Ok(sum / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::tests::corpus;
    use super::super::corpus::{Part, Task};
    use super::super::network::Kind;
    use super::super::network::tests::trained;
    use super::*;

    #[test]
    fn nothing_skipped_keeps_everything_and_chance_keeps_nothing() {
        assert_eq!(retention(0.7, 0.7, 0.1), 1.0);
        assert_eq!(retention(0.1, 0.7, 0.1), 0.0);
        assert!((retention(0.4, 0.7, 0.1) - 0.5).abs() < 1e-12);
        assert!(is_done(0.9, 0.1, 50) && !is_done(0.12, 0.1, 50) && !is_done(0.0, 0.0, 50));
    }

    /// An autoregressive model learns to say what a text of one verse says, and loses it when all blocks go. Both kinds answer with
    /// letters, at one pass a letter, and half of the blocks cost half.
    #[test]
    fn both_kinds_answer() {
        let corpus = corpus(48);
        let items = corpus.items(Task::Cloze, 40, 48, &mut Stream::new(1, "items").at(0));
        let network = trained(Kind::Ar, 400);
        let full = score(&network, &items, &[]).unwrap();
        assert!(full > 0.6, "{full}");
        assert!(score(&network, &items, &(0..6).collect::<Vec<_>>()).unwrap() < 0.5 * full);
        for kind in [Kind::Ar, Kind::Dlm] {
            let network = trained(kind, 20);
            let (_, cost) = answers(&network, &items, &[]).unwrap();
            let letters: u64 = items.iter().map(|item| item.answer.len() as u64).sum();
            if kind == Kind::Dlm {
                assert_eq!(cost, letters * 6 * network.block_multiply_adds([1, 48]));
            }
            let (given, less) = answers(&network, &items, &[2, 3, 4]).unwrap();
            assert_eq!(cost, 2 * less);
            assert!(given.iter().flatten().all(|t| *t != MASK));
        }
    }

    /// Answers do not depend on what is answered beside them.
    #[test]
    fn items_are_answered_each_on_its_own() {
        let corpus = corpus(48);
        let items = corpus.items(Task::Cloze, 9, 48, &mut Stream::new(4, "items").at(0));
        for kind in [Kind::Ar, Kind::Dlm] {
            let network = trained(kind, 60);
            let together = answers(&network, &items, &[1]).unwrap().0;
            for (item, given) in items.iter().zip(together) {
                assert_eq!(answers(&network, std::slice::from_ref(item), &[1]).unwrap().0, [given]);
            }
        }
    }

    #[test]
    fn losses_fall_with_training_and_rise_with_skipping() {
        let corpus = corpus(48);
        let windows = corpus.windows(Part::HeldOut, 12, 49, &mut Stream::new(2, "windows").at(0));
        for kind in Kind::ALL {
            let loss = |network: &Network, skip: &[usize]| {
                let losses = Losses::new(network, &windows, 48, &[0.3, 0.6], Stream::new(1, "noise"));
                losses.mean(network, skip).unwrap()
            };
            let (before, after) = (trained(kind, 0), trained(kind, 150));
            assert!((loss(&before, &[]) - libm::log(50.0)).abs() < 0.3, "{}", loss(&before, &[]));
            assert!(loss(&after, &[]) < 0.8 * loss(&before, &[]));
            assert!(loss(&after, &[0, 1, 2, 3, 4, 5]) > loss(&after, &[]) + 0.1);
        }
    }
}

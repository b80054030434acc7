//! What is seen inside a trained model: similarity over depth, over noise and over decoding, and how far it looks back.

use ream_nn::Result;
use ream_nn::diffusion::masked::{MaskedSampler, Order, Pace, Plan, mask_tokens};
use ream_nn::sampling::Filter;
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::choice;
use super::config::Config;
use super::corpus::{Corpus, MASK, Part};
use super::locality;
use super::network::Network;
use super::similarity::{Profile, States};

/// Shares of the decoding steps at which models that denoise are looked at.
pub const MOMENTS: [f64; 3] = [0.1, 0.5, 0.9];
/// Sequences that are decoded for it.
const DECODED: usize = 12;
/// Windows for attention and influence.
const WINDOWS: usize = 12;

/// What was seen of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Neighbouring blocks on the calibration sequences: what blocks are chosen by.
    pub calibration: Profile,
    /// The same on masked and on unmasked positions; empty for autoregressive models.
    pub positions: Vec<Profile>,
    /// The same at 10 %, 50 % and 90 % of the decoding steps; empty for autoregressive models.
    pub moments: Vec<Profile>,
    /// Mean of calibration and decoding: what is compared between models.
    pub profile: Profile,
    /// Mean cosines of all pairs of layers, `[blocks + 1, blocks + 1]`.
    pub cosines: Vec<Vec<f64>>,
    /// The same after centring.
    pub centred: Vec<Vec<f64>>,
    /// Linear CKA of all pairs.
    pub cka: Vec<Vec<f64>>,
    /// Recency bias of every block.
    pub recency: Vec<f64>,
    /// Influence of earlier tokens at the distances of [`locality::DISTANCES`].
    pub before: Vec<f64>,
    /// Influence of later tokens; empty for autoregressive models.
    pub behind: Vec<f64>,
}

impl Look {
    /// Blocks that the rule may skip.
    #[must_use]
    pub fn allowed(&self) -> Vec<usize> {
        choice::allowed(&self.calibration.jump)
    }
}

/// Looks inside a model, on training chapters and fresh chains.
///
/// # Errors
/// Those of the network.
pub fn look(network: &Network, corpus: &Corpus, config: &Config, stream: Stream) -> Result<Look> {
    let len = config.shape.context;
    let sequences = corpus.windows(Part::Training, config.calibration, len, &mut stream.child(0).at(0));
    let mut states = States::default();
    let mut masked = Vec::new();
    for (i, share) in noises(network, config).into_iter().enumerate() {
        let tokens = match share {
            None => sequences.clone(),
            Some(t) => {
                let times = vec![t as f32; config.calibration];
                mask_tokens(&sequences, &times, MASK, None, &mut stream.child(1).at(i as u64))?.tokens
            }
        };
        let reading = network.read(&tokens, [config.calibration, len], &[], true)?;
        states.add_tensors(&reading.states);
        masked.extend(tokens.iter().map(|token| *token == MASK));
    }
    let mut seen = Look {
        calibration: states.profile(),
        cosines: states.cosines(),
        centred: states.centred().cosines(),
        cka: states.cka(),
        ..Look::default()
    };
    if network.kind.is_diffusion() {
        let unmasked: Vec<bool> = masked.iter().map(|m| !m).collect();
        seen.positions = [&masked, &unmasked].map(|keep| states.only(keep).profile()).to_vec();
        seen.moments = moments(network, &sequences, len)?;
    }
    let decoding = (!seen.moments.is_empty()).then(|| Profile::mean(&seen.moments));
    seen.profile = Profile::mean(&[vec![seen.calibration.clone()], decoding.into_iter().collect()].concat());
    let windows = corpus.windows(Part::HeldOut, WINDOWS, len, &mut stream.child(2).at(0));
    seen.recency = recency(network, &windows, config, stream.child(3))?;
    let (before, behind) = locality::influence(network, &windows, len, stream.child(4))?;
    (seen.before, seen.behind) = (before, behind.unwrap_or_default());
    Ok(seen)
}

/// Shares of masked tokens; none for autoregressive models.
fn noises(network: &Network, config: &Config) -> Vec<Option<f64>> {
    if network.kind.is_diffusion() { config.noise.iter().copied().map(Some).collect() } else { vec![None] }
}

/// The mean over noise levels.
fn recency(network: &Network, windows: &[u32], config: &Config, stream: Stream) -> Result<Vec<f64>> {
    let shape = [windows.len() / config.shape.context, config.shape.context];
    let levels = noises(network, config);
    let mut mean = vec![0.0; network.layers()];
    for (i, share) in levels.iter().enumerate() {
        let tokens = match share {
            None => windows.to_vec(),
            Some(t) => {
                let times = vec![*t as f32; shape[0]];
                mask_tokens(windows, &times, MASK, None, &mut stream.at(i as u64))?.tokens
            }
        };
        for (sum, r) in mean.iter_mut().zip(locality::recency(network, &tokens, shape)?) {
            *sum += r / levels.len() as f64;
        }
    }
    Ok(mean)
}

/// Profiles at [`MOMENTS`] of decoding the second halves of sequences, the surest token first, one a pass.
fn moments(network: &Network, sequences: &[u32], len: usize) -> Result<Vec<Profile>> {
    let n = DECODED.min(sequences.len() / len);
    let half = len - len / 2;
    let mut start = sequences[..n * len].to_vec();
    start.chunks_exact_mut(len).for_each(|s| s[len - half..].fill(MASK));
    let steps: Vec<usize> = MOMENTS.iter().map(|share| (share * half as f64) as usize).collect();
    let (mut step, mut seen) = (0, Vec::new());
    let model = |tokens: &[u32], t: &[f32]| {
        let reading = network.read(tokens, [t.len(), len], &[], steps.contains(&step))?;
        if steps.contains(&step) {
            let mut states = States::default();
            states.add_tensors(&reading.states);
            seen.push(states.profile());
        }
        step += 1;
        network.decoder.logits(&reading.hidden)
    };
    let sampler = MaskedSampler { mask_token: MASK, filter: Filter::GREEDY };
    let plan = Plan { order: Order::MaxProbability, pace: Pace::Count(1), block: None };
    let mut rngs: Vec<_> = (0..n as u64).map(|i| Stream::new(0, "greedy").at(i)).collect();
    sampler.decode(&start, &plan, model, &mut rngs)?;
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::super::corpus::tests::corpus;
    use super::super::network::Kind;
    use super::super::network::Shape;
    use super::super::network::tests::{shape, trained};
    use super::*;
    use ream_lab::Preset;

    #[test]
    fn all_is_seen_of_every_kind() {
        let mut config = Config::preset(Preset::Smoke);
        config.shape = Shape { context: 72, ..shape() };
        let corpus = corpus(72);
        for kind in Kind::ALL {
            let seen = look(&trained(kind, 10), &corpus, &config, Stream::new(1, "look")).unwrap();
            let diffusion = kind.is_diffusion();
            assert_eq!((seen.profile.centred.len(), seen.cosines.len(), seen.cka.len()), (6, 7, 7));
            assert_eq!((seen.positions.len(), seen.moments.len()), if diffusion { (2, 3) } else { (0, 0) });
            assert_eq!((seen.recency.len(), seen.before.len()), (6, locality::DISTANCES.len()));
            assert_eq!(seen.behind.is_empty(), !diffusion);
            for l in 0..6 {
                assert!((seen.cosines[l][l + 1] - seen.calibration.cosine[l]).abs() < 1e-12);
                assert!((seen.centred[l][l + 1] - seen.calibration.centred[l]).abs() < 1e-12);
                if !diffusion {
                    assert_eq!(seen.profile.centred[l], seen.calibration.centred[l]);
                }
            }
            assert_eq!(look(&trained(kind, 10), &corpus, &config, Stream::new(1, "look")).unwrap(), seen);
        }
    }
}

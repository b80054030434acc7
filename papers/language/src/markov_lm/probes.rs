//! Drafts of later tokens: probes on frozen hidden states, and what they are worth.
//!
//! A probe `q(w_{t+k} | ..)` reads the hidden state `h_t`, the next token `w_{t+1}`, or both. The surplus of the hidden state is
//! the held-out cross entropy of the token's probe less that of the probe that reads both; on held-out windows only, since a
//! probe overstates in-sample. As a draft of token `t + 2` a probe is accepted with probability `1 - TV` between its law and the
//! model's own (Leviathan, Kalman & Matias, 2023).

use super::divergence::Divergence;
use super::model::Model;
use super::sources::{Estimate, Source, arg_max};
use super::training::failed;
use ream_lab::{Invalid, Result};
use ream_nn::layers::{Embedding, Linear};
use ream_nn::training::{Adam, AdamConfig, Schedule, Training, train};
use ream_nn::{Init, Module, NnError, Param, Tensor, no_grad, ops};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// How probes are trained and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeSettings {
    /// Steps of a probe.
    pub steps: u64,
    /// Positions of a batch.
    pub batch: usize,
    /// Highest rate of Adam for perceptrons, falling as half a cosine to 0.
    pub learning_rate: f64,
    /// The same for linear probes, whose log-probabilities must travel further: a token's probe that is not trained to its
    /// end would lend its slack to the surplus.
    pub linear_learning_rate: f64,
    /// Windows whose positions probes are trained on.
    pub training_windows: usize,
    /// Held-out windows.
    pub held_out_windows: usize,
    /// Capacities: 0 for a linear probe, else the hidden units of a perceptron.
    pub hidden: Vec<usize>,
    /// Largest k: tokens t+2 .. t+k are drafted.
    pub horizon: usize,
}

impl ProbeSettings {
    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> std::result::Result<(), Invalid> {
        Invalid::unless_in("probes.steps", self.steps, 1..=1_000_000)?;
        Invalid::unless_in("probes.batch", self.batch, 1..=65_536)?;
        Invalid::unless_in("probes.learning_rate", self.learning_rate, 1e-6..=1.0)?;
        Invalid::unless_in("probes.linear_learning_rate", self.linear_learning_rate, 1e-6..=1.0)?;
        Invalid::unless_in("probes.training_windows", self.training_windows, 2..=65_536)?;
        Invalid::unless_in("probes.held_out_windows", self.held_out_windows, 2..=65_536)?;
        Invalid::unless_in("probes.horizon", self.horizon, 2..=4)?;
        for hidden in &self.hidden {
            Invalid::unless_in("probes.hidden", *hidden, 0..=4096)?;
        }
        match self.hidden.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => {
                Err(Invalid::new("probes.hidden", "ascending sizes, each once", format!("{pair:?}")))
            }
            None => Ok(()),
        }
    }
}

/// `linear` or `mlp-256`.
#[must_use]
pub fn capacity_name(hidden: usize) -> String {
    if hidden == 0 { "linear".to_owned() } else { format!("mlp-{hidden}") }
}

/// What a probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    /// The next token: a bigram's draft.
    Token,
    /// The hidden state.
    Hidden,
    /// Both.
    HiddenToken,
}

impl Reads {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Token, Self::Hidden, Self::HiddenToken];

    /// Name of the arm.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Hidden => "hidden",
            Self::HiddenToken => "hidden-token",
        }
    }
}

/// Positions of some windows as a frozen model sees them.
#[derive(Clone, Debug)]
pub struct Positions {
    /// Hidden states `[positions, d]`.
    hidden: Vec<f32>,
    /// `w_{t+1}`.
    next: Vec<u32>,
    /// `w_{t+k}` for k = 2, 3, ...
    later: Vec<Vec<u32>>,
    /// The model's law of token t+2 given everything before it, `[positions, tokens]`; for held-out windows.
    model_laws: Vec<f64>,
    /// `-ln p(w_{t+1} | w_{<=t})` of the model, for held-out windows.
    model_losses: Vec<f64>,
    d: usize,
    per_window: usize,
}

impl Positions {
    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.next.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Positions of `count` windows of a source: those whose context is as long as the source's memory and whose next token
    /// is still in the model's window.
    ///
    /// # Errors
    /// A model that does not fit the source.
    pub fn collect(
        model: &Model,
        source: &dyn Source,
        (window, horizon): (usize, usize),
        (count, held_out): (usize, bool),
        stream: Stream,
    ) -> Result<Self> {
        let long: Vec<Vec<u32>> =
            (0..count as u64).map(|i| source.window(window + horizon, held_out, &mut stream.at(i))).collect();
        let read: Vec<Vec<u32>> = long.iter().map(|w| w[..window].to_vec()).collect();
        let (hidden, logits) = model.run(&read).map_err(failed)?;
        let (d, tokens, first) = (model.d(), source.tokens(), source.memory() - 1);
        let mut out = Self {
            hidden: Vec::new(),
            next: Vec::new(),
            later: vec![Vec::new(); horizon - 1],
            model_laws: Vec::new(),
            model_losses: Vec::new(),
            d,
            per_window: (window - 1).saturating_sub(first),
        };
        for (x, tokens_of) in long.iter().enumerate() {
            for t in first..window - 1 {
                let at = x * window + t;
                out.hidden.extend_from_slice(&hidden[at * d..(at + 1) * d]);
                out.next.push(tokens_of[t + 1]);
                for (k, later) in out.later.iter_mut().enumerate() {
                    later.push(tokens_of[t + 2 + k]);
                }
                if held_out {
                    let law = law_of(&logits[at * tokens..(at + 1) * tokens]);
                    out.model_losses.push(-libm::log(law[tokens_of[t + 1] as usize].max(f64::MIN_POSITIVE)));
                    out.model_laws.extend(law_of(&logits[(at + 1) * tokens..(at + 2) * tokens]));
                }
            }
        }
        Ok(out)
    }

    /// Mean and deviation of each coordinate of the hidden states.
    fn scale(&self) -> Vec<(f32, f32)> {
        let n = self.len().max(1) as f64;
        (0..self.d)
            .map(|j| {
                let column = || self.hidden.iter().skip(j).step_by(self.d).map(|v| f64::from(*v));
                let mean = column().sum::<f64>() / n;
                let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                (mean as f32, (variance.sqrt() as f32).max(1e-6))
            })
            .collect()
    }

    /// The same with every coordinate of the hidden states brought to mean 0 and deviation 1 on `self`; `other` by the same
    /// map.
    #[must_use]
    pub fn standardised(mut self, mut other: Self) -> (Self, Self) {
        let scale = self.scale();
        for hidden in [&mut self.hidden, &mut other.hidden] {
            for row in hidden.chunks_exact_mut(scale.len()) {
                for (v, (mean, deviation)) in row.iter_mut().zip(&scale) {
                    *v = (*v - mean) / deviation;
                }
            }
        }
        (self, other)
    }
}

fn law_of(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|z| libm::exp(f64::from(z - most))).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// A probe: maps of the hidden state and of the next token, added; linear, or with one hidden layer of GELU.
#[derive(Clone, Debug)]
pub struct Probe {
    from_hidden: Option<Linear>,
    from_token: Option<Embedding>,
    out: Option<Linear>,
}

impl Probe {
    /// A probe before training; `hidden` units, 0 for a linear one.
    #[must_use]
    pub fn new(init: &Init, reads: Reads, d: usize, tokens: usize, hidden: usize) -> Self {
        let width = if hidden == 0 { tokens } else { hidden };
        Self {
            from_hidden: (reads != Reads::Token)
                .then(|| Linear::with_deviation(&init.at("hidden"), d, width, true, 1.0 / (d as f32).sqrt())),
            from_token: (reads != Reads::Hidden).then(|| {
                Embedding::new(&init.at("token"), tokens, width, if hidden == 0 { 0.02 } else { 1.0 })
            }),
            out: (hidden > 0).then(|| Linear::with_deviation(&init.at("out"), hidden, tokens, true, 0.02)),
        }
    }

    /// Logits `[rows, tokens]` for the given positions.
    fn logits(&self, positions: &Positions, rows: &[usize]) -> ream_nn::Result<Tensor> {
        let d = positions.d;
        let mut sum: Option<Tensor> = None;
        if let Some(map) = &self.from_hidden {
            let mut h = Vec::with_capacity(rows.len() * d);
            rows.iter().for_each(|r| h.extend_from_slice(&positions.hidden[r * d..(r + 1) * d]));
            sum = Some(map.forward(&Tensor::from_vec(h, &[rows.len(), d])?)?);
        }
        if let Some(table) = &self.from_token {
            let next: Vec<u32> = rows.iter().map(|r| positions.next[*r]).collect();
            let read = table.forward(&next, &[rows.len()])?;
            sum = Some(match sum {
                Some(before) => before.add(&read)?,
                None => read,
            });
        }
        match (sum, &self.out) {
            (Some(sum), Some(out)) => out.forward(&sum.gelu()),
            (Some(sum), None) => Ok(sum),
            (None, _) => Err(NnError::Shape { operation: "probe", problem: "it reads nothing".to_owned() }),
        }
    }

    /// Trains on drafts of token `t + k`, reading positions drawn at random.
    ///
    /// # Errors
    /// A loss that is not finite; the errors of `progress`, which is told of every step.
    pub fn train(
        &self,
        positions: &Positions,
        k: usize,
        settings: &ProbeSettings,
        stream: Stream,
        mut progress: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let targets = &positions.later[k - 2];
        let rate = if self.out.is_some() { settings.learning_rate } else { settings.linear_learning_rate };
        let rate = AdamConfig { learning_rate: rate as f32, ..AdamConfig::default() };
        let mut adam = Adam::new(&self.params(), rate);
        let schedule = Schedule::Cosine { warmup: settings.steps / 20, floor: 0.0 };
        let mut stopped = None;
        let trained = train(
            &mut adam,
            None,
            &Training::steps(settings.steps).schedule(schedule),
            |step, _| {
                let mut rng = stream.at(step);
                let rows: Vec<usize> = (0..settings.batch).map(|_| rng.below(positions.len())).collect();
                let wanted: Vec<u32> = rows.iter().map(|r| targets[*r]).collect();
                ops::cross_entropy(&self.logits(positions, &rows)?, &wanted, None)
            },
            |_| match progress() {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        match stopped {
            Some(error) => Err(error),
            None => trained.map(|_| ()).map_err(failed),
        }
    }

    /// What the probe is worth on held-out positions.
    ///
    /// # Errors
    /// Positions of another model.
    pub fn judge(&self, held_out: &Positions, k: usize) -> Result<Judged> {
        let mut judged = Judged { losses: Vec::new(), accepted: Vec::new(), agreed: Vec::new() };
        let rows: Vec<usize> = (0..held_out.len()).collect();
        for part in rows.chunks(4096) {
            let logits = no_grad(|| self.logits(held_out, part)).map_err(failed)?;
            let tokens = logits.last();
            for (row, z) in part.iter().zip(logits.data().chunks_exact(tokens)) {
                let law = law_of(z);
                let seen = held_out.later[k - 2][*row] as usize;
                judged.losses.push(-libm::log(law[seen].max(f64::MIN_POSITIVE)));
                if k == 2 {
                    let model = &held_out.model_laws[row * tokens..(row + 1) * tokens];
                    judged.accepted.push(1.0 - Divergence::TotalVariation.between(&law, model));
                    judged.agreed.push(f64::from(u8::from(arg_max(&law) == arg_max(model))));
                }
            }
        }
        Ok(judged)
    }
}

impl Module for Probe {
    fn params(&self) -> Vec<Param> {
        [self.from_hidden.params(), self.from_token.params(), self.out.params()].concat()
    }
}

/// A probe on held-out positions.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Cross entropy at each position, nats.
    pub losses: Vec<f64>,
    /// Probability that sampled speculation accepts its draft of token t+2, at each position (k = 2 only).
    pub accepted: Vec<f64>,
    /// 1 where its most likely token is the model's (k = 2 only).
    pub agreed: Vec<f64>,
}

/// Mean over positions, with a standard error over windows.
#[must_use]
pub fn over_windows(values: &[f64], positions: &Positions) -> Estimate {
    let windows: Vec<f64> = values
        .chunks_exact(positions.per_window.max(1))
        .map(|window| window.iter().sum::<f64>() / window.len() as f64)
        .collect();
    Estimate::mean(&windows)
}

/// `S_k`: cross entropy of the first probe less that of the second, paired by position.
#[must_use]
pub fn surplus(token: &Judged, other: &Judged, held_out: &Positions) -> Estimate {
    let differences: Vec<f64> = token.losses.iter().zip(&other.losses).map(|(a, b)| a - b).collect();
    over_windows(&differences, held_out)
}

/// Unconditional surplus for two tokens,
/// `[I(H; W_1) + I(H; W_2 | W_1)] - I(W_1; W_2)` with cross entropies in place of entropies: the entropy of a single token, which
/// occurs in both, cancels.
#[must_use]
pub fn total_surplus(token: &Judged, both: &Judged, held_out: &Positions) -> Estimate {
    let each = token.losses.iter().zip(&both.losses).zip(&held_out.model_losses);
    let values: Vec<f64> = each.map(|((token, both), model)| 2.0 * token - model - both).collect();
    over_windows(&values, held_out)
}

#[cfg(test)]
mod tests {
    use super::super::model::Shape;
    use super::super::sources::Markov;
    use super::*;

    fn settings() -> ProbeSettings {
        ProbeSettings {
            steps: 600,
            batch: 256,
            learning_rate: 5e-3,
            linear_learning_rate: 5e-2,
            training_windows: 8000,
            held_out_windows: 800,
            hidden: vec![0, 32],
            horizon: 3,
        }
    }

    fn positions(source: &Markov, settings: &ProbeSettings) -> (Positions, Positions) {
        let shape = Shape { d: 32, layers: 1, heads: 2, window: 8 };
        let model = Model::new(&Init::new(1), &shape, source.tokens(), source.tokens()).unwrap();
        let collect = |count, held_out, step| {
            let stream = Stream::new(step, "probe tests");
            Positions::collect(&model, source, (8, settings.horizon), (count, held_out), stream).unwrap()
        };
        collect(settings.training_windows, false, 1).standardised(collect(settings.held_out_windows, true, 2))
    }

    fn judged(reads: Reads, hidden: usize, k: usize, both: &(Positions, Positions)) -> Judged {
        let tokens = 6;
        let probe = Probe::new(&Init::new(3), reads, both.0.d, tokens, hidden);
        probe.train(&both.0, k, &settings(), Stream::new(4, "probe"), || Ok(())).unwrap();
        probe.judge(&both.1, k).unwrap()
    }

    /// The hidden state of a random transformer still carries the token it stands on, which is all that an order-2 source
    /// leaves to know; the surplus comes near the exact one and does not pass it. An order-1 source leaves nothing.
    #[test]
    fn the_surplus_of_an_order_2_source_is_found_and_an_order_1_source_has_none() {
        let stream = Stream::new(1, "source");
        let order_2 = Markov::low_rank(6, 3, 0.3, stream).unwrap();
        let both = positions(&order_2, &settings());
        for k in [2, 3] {
            let exact = order_2.horizons(3)[k - 2];
            let (token, hidden) =
                (judged(Reads::Token, 32, k, &both), judged(Reads::HiddenToken, 32, k, &both));
            let found = surplus(&token, &hidden, &both.1);
            assert!(found.value < exact.ceiling.value + 3.0 * found.se, "{k}: {found:?}, {exact:?}");
            assert!(found.value > 0.6 * exact.ceiling.value - 3.0 * found.se, "{k}: {found:?}, {exact:?}");
            let slack = over_windows(&token.losses, &both.1);
            assert!(
                (slack.value - exact.token_entropy).abs() < 4.0 * slack.se + 0.01,
                "{slack:?}, {exact:?}"
            );
        }
        let order_1 = Markov::first_order(6, 0.3, stream).unwrap();
        let both = positions(&order_1, &settings());
        let none =
            surplus(&judged(Reads::Token, 0, 2, &both), &judged(Reads::HiddenToken, 0, 2, &both), &both.1);
        assert!(none.value.abs() < 3.0 * none.se + 0.003, "{none:?}");
    }

    /// A model that predicts by chance is met by a chance draft: acceptance is 1 for the model's own law and falls with TV.
    #[test]
    fn acceptance_is_one_minus_total_variation() {
        let source = Markov::low_rank(6, 3, 0.3, Stream::new(1, "source")).unwrap();
        let (_, mut held_out) = positions(&source, &settings());
        let probe = Probe::new(&Init::new(3), Reads::Token, held_out.d, 6, 0);
        let table = &probe.params()[0];
        table.update(|x| x.fill(0.0));
        held_out.model_laws = [0.5, 0.5, 0.0, 0.0, 0.0, 0.0].repeat(held_out.len());
        let judged = probe.judge(&held_out, 2).unwrap();
        assert!(judged.accepted.iter().all(|a| (a - 1.0 / 3.0).abs() < 1e-12));
        assert!(judged.losses.iter().all(|l| (l - libm::log(6.0)).abs() < 1e-9));
    }

    #[test]
    fn positions_line_up_with_their_tokens() {
        let cycle = super::super::kernel::Kernel::deterministic(&[1, 2, 3, 4, 5, 0], 6).unwrap();
        let source = Markov::new("cycle", cycle).unwrap();
        let (train, held_out) = positions(&source, &settings());
        assert_eq!(held_out.len(), 800 * 7);
        for positions in [&train, &held_out] {
            for (at, next) in positions.next.iter().enumerate() {
                assert_eq!(positions.later[0][at], (next + 1) % 6);
                assert_eq!(positions.later[1][at], (next + 2) % 6);
            }
        }
        assert_eq!((train.model_laws.len(), held_out.model_laws.len()), (0, 800 * 7 * 6));
        let column: Vec<f64> = train.hidden.iter().step_by(32).map(|v| f64::from(*v)).collect();
        assert!((column.iter().map(|v| v * v).sum::<f64>() / column.len() as f64 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn settings_are_checked() {
        let refuse = |change: &dyn Fn(&mut ProbeSettings), word: &str| {
            let mut settings = settings();
            change(&mut settings);
            assert!(settings.check().unwrap_err().to_string().contains(word));
        };
        settings().check().unwrap();
        refuse(&|s| s.horizon = 1, "probes.horizon");
        refuse(&|s| s.hidden = vec![256, 0], "ascending");
        refuse(&|s| s.batch = 0, "probes.batch");
    }
}

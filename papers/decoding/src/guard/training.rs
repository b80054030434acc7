//! Ways to a proposal: maximum likelihood on reweighted draws, distributional policy gradient, policy gradient on the reward.

use ream_lab::{Error, Result};
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::estimates::{Pool, clip, effective, temper};
use super::law::{Law, Proposal, Tokens, failed};

/// Largest norm of all gradients together.
const CLIP: f32 = 1.0;

/// How proposals are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Texts that every method may draw for its training.
    pub draws: usize,
    /// Share of them that the warm start takes.
    pub warm: f64,
    /// Texts of a batch m of the policy gradients.
    pub batch: usize,
    /// Batches between two looks at whether a' is closer to g than q.
    pub batches: usize,
    /// Passes of maximum likelihood over the accepted draws.
    pub epochs: usize,
    /// Adam's rate for maximum likelihood.
    pub likelihood_rate: f64,
    /// Adam's rate for the policy gradients.
    pub gradient_rate: f64,
    /// Quantile at which importance weights are cut.
    pub clip: f64,
    /// Weights of maximum likelihood are flattened until they are worth this many samples.
    pub effective: f64,
    /// Weight of KL(a' || a) in the reward of the policy gradient that does not aim at g.
    pub beta: f64,
}

/// `b(y)`.
pub type Holds<'a> = &'a dyn Fn(&Tokens) -> Result<bool>;

/// What is asked of texts: the base model, and the condition on whole texts.
pub struct Task<'a> {
    /// The base model `a`.
    pub base: &'a dyn Law,
    /// `b(y)`.
    pub holds: Holds<'a>,
    /// Tokens of a text, which scale the losses.
    pub length: usize,
}

/// Is told how much of a training is done, and may stop it.
pub type Told<'a> = &'a mut dyn FnMut(f64) -> Result<()>;

/// One look at a training: draws so far, `KL(g || a')` and acceptance of the draws since the look before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Texts drawn.
    pub draws: f64,
    /// `KL(g || a')`; NaN when too few effective samples resolve it.
    pub to_proposal: f64,
    /// Share of draws that satisfied the condition.
    pub acceptance: f64,
}

impl Task<'_> {
    /// Draws from laws and keeps what satisfies the condition, scored by the base model and by every law.
    ///
    /// # Errors
    /// Those of the laws and of the condition.
    pub fn gather(&self, laws: &[(&dyn Law, usize)], stream: Stream, told: Told<'_>) -> Result<Pool> {
        let mut pool = Pool { drawn: laws.iter().map(|(_, n)| *n).collect(), ..Pool::default() };
        for (k, (law, n)) in laws.iter().enumerate() {
            told(k as f64 / laws.len() as f64)?;
            for text in law.draw(*n, stream.child(k as u64))? {
                if (self.holds)(&text)? {
                    pool.of.push(k);
                    pool.texts.push(text);
                }
            }
        }
        pool.log_p = self.base.score(&pool.texts)?;
        pool.log_q = laws.iter().map(|(law, _)| law.score(&pool.texts)).collect::<Result<_>>()?;
        Ok(pool)
    }
}

fn optimiser<P: Proposal>(proposal: &P, rate: f64) -> Adam {
    Adam::new(&proposal.params(), AdamConfig { learning_rate: rate as f32, ..AdamConfig::default() })
}

/// One step up the sum of `weight * log a'(text)`, a token's mean.
fn step<P: Proposal>(
    proposal: &P,
    adam: &mut Adam,
    texts: &[Tokens],
    weights: &[f64],
    length: usize,
) -> Result<()> {
    let weights: Vec<f32> = weights.iter().map(|w| (-w / length as f64) as f32).collect();
    let loss = proposal.weighted_log_likelihood(texts, &weights)?;
    if !loss.item().map_err(failed)?.is_finite() {
        return Err(Error::failed("a training of the proposal diverged; a smaller rate helps"));
    }
    let mut gradients = loss.backward().map_err(failed)?;
    gradients.clip_norm(&proposal.params(), CLIP);
    adam.step(&gradients, 1.0);
    Ok(())
}

/// Maximum likelihood on the accepted draws of a pool, weighted by `P / q`: cut at a quantile, and flattened if they are worth too few
/// samples. Gives the power to which the weights were raised: 1 when they are taken as they are.
///
/// # Errors
/// Those of the proposal.
pub fn likelihood<P: Proposal>(
    proposal: &P,
    pool: &Pool,
    task: &Task<'_>,
    settings: &Settings,
    stream: Stream,
    told: Told<'_>,
) -> Result<f64> {
    let n = pool.texts.len();
    if n == 0 {
        return Ok(1.0);
    }
    let logs = pool.log_weights(|_| true);
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = logs.iter().map(|w| libm::exp(w - most)).collect();
    clip(&mut weights, settings.clip);
    let (power, weights) = temper(&weights, settings.effective);
    let mean = weights.iter().sum::<f64>() / n as f64;
    let mut adam = optimiser(proposal, settings.likelihood_rate);
    let size = settings.batch.min(n);
    for epoch in 0..settings.epochs {
        told(epoch as f64 / settings.epochs as f64)?;
        let mut order: Vec<usize> = (0..n).collect();
        stream.at(epoch as u64).shuffle(&mut order);
        for batch in order.chunks(size) {
            let texts: Vec<Tokens> = batch.iter().map(|i| pool.texts[*i].clone()).collect();
            let scaled: Vec<f64> = batch.iter().map(|i| weights[*i] / mean / size as f64).collect();
            step(proposal, &mut adam, &texts, &scaled, task.length)?;
        }
    }
    Ok(power)
}

/// Distributional policy gradient (Parshakova et al., 2019; Khalifa et al., 2021): `KL(g || a')` falls along
/// `-E_q[ P(y) / q(y) grad log a'(y) ] / Z`. `q` begins as the proposal and is renewed whenever `a'` has come closer to `g` on draws that it was
/// not trained on: those of a round decide before they train, those of the last round only decide. The closer of the two is what comes out.
/// `known` is what earlier draws say of `Z`: the sum of their `P / q`, and their number.
///
/// # Errors
/// Those of the laws and of the condition.
pub fn policy_gradient_to_g<P: Proposal>(
    proposal: &P,
    task: &Task<'_>,
    draws: usize,
    known: (f64, f64),
    settings: &Settings,
    stream: Stream,
    told: Told<'_>,
) -> Result<Vec<Look>> {
    let q = proposal.copy()?;
    let mut adam = optimiser(proposal, settings.gradient_rate);
    let (mut sum, mut number) = known;
    let (mut looks, mut done, mut round) = (Vec::new(), 0, 0);
    while done < draws {
        told(done as f64 / draws as f64)?;
        let size = (settings.batch * settings.batches).min(draws - done);
        let accepted = Accepted::draw(&q, task, size, stream.child(round))?;
        sum += accepted.weights.iter().sum::<f64>();
        number += size as f64;
        (done, round) = (done + size, round + 1);
        let z = sum / number;
        let log_now = proposal.score(&accepted.texts)?;
        looks.push(accepted.look(&log_now, z, done, size));
        if accepted.prefers(&log_now) {
            q.set(proposal)?;
        }
        if done < draws && z > 0.0 {
            accepted.train(proposal, &mut adam, task, settings, (size, z))?;
        }
    }
    proposal.set(&q)?;
    Ok(looks)
}

/// Draws of `q` that satisfy the condition.
struct Accepted {
    /// Their places among all draws.
    places: Vec<usize>,
    texts: Vec<Tokens>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    /// `P / q`.
    weights: Vec<f64>,
}

impl Accepted {
    fn draw<P: Proposal>(q: &P, task: &Task<'_>, size: usize, stream: Stream) -> Result<Self> {
        let (mut places, mut texts) = (Vec::new(), Vec::new());
        for (at, text) in q.draw(size, stream)?.into_iter().enumerate() {
            if (task.holds)(&text)? {
                places.push(at);
                texts.push(text);
            }
        }
        let (log_p, log_q) = (task.base.score(&texts)?, q.score(&texts)?);
        let weights = log_p.iter().zip(&log_q).map(|(p, q)| libm::exp(p - q)).collect();
        Ok(Self { places, texts, log_p, log_q, weights })
    }

    /// Whether a law with these log-probabilities is closer to `g` than `q`: the estimate of `KL(g || q) - KL(g || a')` is above 0.
    fn prefers(&self, log_now: &[f64]) -> bool {
        let gains = self.weights.iter().zip(log_now.iter().zip(&self.log_q));
        gains.map(|(w, (now, q))| w * (now - q)).sum::<f64>() > 0.0
    }

    fn look(&self, log_now: &[f64], z: f64, done: usize, size: usize) -> Look {
        let resolved = effective(&self.weights) >= super::estimates::FEWEST_EFFECTIVE;
        let to_proposal = if resolved {
            let total: f64 = self.weights.iter().sum();
            let terms = self.weights.iter().zip(self.log_p.iter().zip(log_now));
            terms.map(|(w, (p, now))| w * (p - now)).sum::<f64>() / total - libm::log(z)
        } else {
            f64::NAN
        };
        Look { draws: done as f64, to_proposal, acceptance: self.texts.len() as f64 / size as f64 }
    }

    /// One step for each batch that has any of them; draws that break the condition have the weight 0.
    fn train<P: Proposal>(
        &self,
        proposal: &P,
        adam: &mut Adam,
        task: &Task<'_>,
        settings: &Settings,
        (size, z): (usize, f64),
    ) -> Result<()> {
        let mut cut = self.weights.clone();
        clip(&mut cut, settings.clip);
        for batch in 0..size.div_ceil(settings.batch) {
            let inside: Vec<usize> =
                (0..self.texts.len()).filter(|i| self.places[*i] / settings.batch == batch).collect();
            if inside.is_empty() {
                continue;
            }
            let texts: Vec<Tokens> = inside.iter().map(|i| self.texts[*i].clone()).collect();
            let scaled: Vec<f64> = inside.iter().map(|i| cut[*i] / z / settings.batch as f64).collect();
            step(proposal, adam, &texts, &scaled, task.length)?;
        }
        Ok(())
    }
}

/// Policy gradient on the reward `b(y) - beta log(a'(y) / a(y))`, on its own draws, advantages normalised over a batch: what training for
/// the condition looks like when nothing asks for `g`. With one step for each batch of draws PPO's ratio is 1 and its cut never binds.
///
/// # Errors
/// Those of the laws and of the condition.
pub fn policy_gradient_on_reward<P: Proposal>(
    proposal: &P,
    task: &Task<'_>,
    draws: usize,
    settings: &Settings,
    stream: Stream,
    told: Told<'_>,
) -> Result<Vec<Look>> {
    let mut adam = optimiser(proposal, settings.gradient_rate);
    let mut looks = Vec::new();
    let (mut accepted, mut since, mut done) = (0, 0, 0);
    let mut batch = 0;
    while done < draws {
        told(done as f64 / draws as f64)?;
        let size = settings.batch.min(draws - done);
        let texts = proposal.draw(size, stream.child(batch))?;
        let (log_p, log_now) = (task.base.score(&texts)?, proposal.score(&texts)?);
        let mut rewards = Vec::with_capacity(size);
        for (text, (p, now)) in texts.iter().zip(log_p.iter().zip(&log_now)) {
            let holds = (task.holds)(text)?;
            accepted += usize::from(holds);
            rewards.push(f64::from(u8::from(holds)) - settings.beta * (now - p));
        }
        let mean = rewards.iter().sum::<f64>() / size as f64;
        let variance = rewards.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / size as f64;
        let scale = 1.0 / ((variance.sqrt() + 1e-6) * size as f64);
        let advantages: Vec<f64> = rewards.iter().map(|r| (r - mean) * scale).collect();
        step(proposal, &mut adam, &texts, &advantages, task.length)?;
        (done, since, batch) = (done + size, since + size, batch + 1);
        if batch.is_multiple_of(settings.batches as u64) || done >= draws {
            let acceptance = accepted as f64 / since as f64;
            looks.push(Look { draws: done as f64, to_proposal: f64::NAN, acceptance });
            (accepted, since) = (0, 0);
        }
    }
    Ok(looks)
}

#[cfg(test)]
mod tests {
    use super::super::markov::{Ideal, Markov, Tabular};
    use super::*;

    fn settings() -> Settings {
        Settings {
            draws: 8000,
            warm: 0.5,
            batch: 100,
            batches: 5,
            epochs: 20,
            likelihood_rate: 0.05,
            gradient_rate: 0.03,
            clip: 0.999,
            effective: 30.0,
            beta: 0.02,
        }
    }

    /// Every route approaches the best law of the class, which is known; and none becomes the ideal law.
    #[test]
    fn every_route_falls_towards_the_known_minimum() {
        let source = Markov::random(4, 5, 0.7, &mut Stream::new(3, "source").at(0)).unwrap();
        let holds = |s: &Tokens| Ok(s.first() == s.last() && s[2] == 1);
        let ideal = Ideal::enumerate(&source, |s| s.first() == s.last() && s[2] == 1);
        let least = ideal.judge(&ideal.best_markov(&source).unwrap()).to_proposal;
        let start = ideal.judge(&source).to_proposal;
        assert!(ideal.z < 0.2 && start > least + 0.5, "{} {start} {least}", ideal.z);
        let task = Task { base: &source, holds: &holds, length: 5 };
        let settings = settings();
        let mut quiet = |_: f64| Ok(());

        let sft = Tabular::new(&source).unwrap();
        let pool = task.gather(&[(&source, 8000)], Stream::new(1, "pool"), &mut quiet).unwrap();
        likelihood(&sft, &pool, &task, &settings, Stream::new(1, "order"), &mut quiet).unwrap();
        let sft_kl = ideal.judge(&sft.law().unwrap()).to_proposal;

        let dpg = Tabular::new(&source).unwrap();
        let stream = Stream::new(1, "dpg");
        let looks =
            policy_gradient_to_g(&dpg, &task, 8000, (0.0, 0.0), &settings, stream, &mut quiet).unwrap();
        let dpg_kl = ideal.judge(&dpg.law().unwrap()).to_proposal;
        assert_eq!(looks.len(), 16);
        let last = looks.last().unwrap();
        assert!((last.to_proposal - dpg_kl).abs() < 0.6, "{last:?} {dpg_kl}");
        for kl in [sft_kl, dpg_kl] {
            assert!(kl > least - 1e-9 && kl < least + 0.15, "{sft_kl} {dpg_kl} {least} {start}");
        }

        let reward = Tabular::new(&source).unwrap();
        let stream = Stream::new(1, "reward");
        policy_gradient_on_reward(&reward, &task, 8000, &settings, stream, &mut quiet).unwrap();
        let exact = ideal.judge(&reward.law().unwrap());
        assert!(exact.acceptance > 2.0 * ideal.z && exact.acceptance < 1.0, "{exact:?}");
        assert!(exact.to_output > ideal.judge(&dpg.law().unwrap()).to_output, "{exact:?}");
    }

    /// At a rate that ruins the proposal, what comes out is no further from g than where it began: draws judge before they train.
    #[test]
    fn a_training_that_runs_away_is_not_followed() {
        let source = Markov::random(4, 5, 0.7, &mut Stream::new(3, "source").at(0)).unwrap();
        let holds = |s: &Tokens| Ok(s.first() == s.last() && s[2] == 1);
        let ideal = Ideal::enumerate(&source, |s| s.first() == s.last() && s[2] == 1);
        let start = ideal.judge(&source).to_proposal;
        let task = Task { base: &source, holds: &holds, length: 5 };
        let settings = Settings { gradient_rate: 30.0, ..settings() };
        for seed in 0..3 {
            let proposal = Tabular::new(&source).unwrap();
            let stream = Stream::new(seed, "dpg");
            policy_gradient_to_g(&proposal, &task, 4000, (0.0, 0.0), &settings, stream, &mut |_| Ok(()))
                .unwrap();
            let end = ideal.judge(&proposal.law().unwrap()).to_proposal;
            assert!(end < start + 0.1, "seed {seed}: {start} to {end}");
        }
    }
}

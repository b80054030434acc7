//! Masked (absorbing-state) diffusion of tokens: MDLM (Sahoo et al., 2024, arXiv 2406.07524), LLaDA (Nie et al., 2025, arXiv 2502.09992).
//!
//! Forward: at time t every free token is replaced by the mask with probability t, independently. The model gives the law of every masked
//! token given the tokens that are left; the loss `1/t sum_masked -ln p(x_i | x_t)` per free token, averaged over t, is an upper bound of
//! the negative log-likelihood, and equals it for a model with the true conditional laws.
//!
//! Backward: [`MaskedSampler::ancestral`] unmasks each token with probability `(t - s) / t` between times t and s;
//! [`MaskedSampler::decode`] unmasks k tokens a call, or all that are sure enough, in a chosen [`Order`], over the whole sequence or block by
//! block. Tokens unmasked in one call are drawn independently: the sampler has the model's law exactly when they come one by one,
//! in an order that does not look at what was drawn.
//!
//! A model is a closure `FnMut(&[u32], &[f32]) -> Result<Tensor>`: tokens `[batch, len]` and one time for each sequence, to logits
//! `[batch, len, vocabulary]`. Each sequence has its own random numbers, so what comes out does not depend on the rest of its batch.

use std::cmp::Ordering;

use ream_rand::Rng;

use crate::autograd::no_grad;
use crate::error::{Result, config, shape};
use crate::ops;
use crate::sampling::{Filter, sample};
use crate::tensor::Tensor;

/// A batch with some tokens masked.
#[derive(Clone, Debug, PartialEq)]
pub struct Masked {
    /// `[batch, len]`, masked tokens replaced.
    pub tokens: Vec<u32>,
    /// `[batch, len]`: `1 / t` where a token was masked, else 0.
    pub weights: Vec<f32>,
    /// How many tokens might have been masked.
    pub free: usize,
}

/// Times of training in `[least, 1)`, one for each sequence, spread evenly: `u + i / batch` modulo 1 with one uniform u, which lowers the variance
/// of the loss.
///
/// # Errors
/// When `least` is not in `(0, 1)`.
pub fn draw_times(batch: usize, least: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    if !(least > 0.0 && least < 1.0) {
        return config("least", "in (0, 1)", least);
    }
    let u = rng.uniform();
    let time = |i: usize| {
        let spread = u + i as f64 / batch as f64;
        (least + (1.0 - least) * (spread - spread.floor())) as f32
    };
    Ok((0..batch).map(time).collect())
}

/// Masks tokens `[batch, len]`, each with the probability of its sequence's time; `free` (`[batch, len]`) says which tokens may be masked (a
/// prompt may not). One uniform number for each token, free or not.
///
/// # Errors
/// When sizes do not fit, or a time is not in `(0, 1]`.
pub fn mask_tokens(
    tokens: &[u32],
    t: &[f32],
    mask_token: u32,
    free: Option<&[bool]>,
    rng: &mut Rng,
) -> Result<Masked> {
    if t.is_empty() || !tokens.len().is_multiple_of(t.len()) {
        return shape(
            "mask_tokens",
            format!("{} tokens for {} sequences of one length", tokens.len(), t.len()),
        );
    }
    if let Some(free) = free.filter(|f| f.len() != tokens.len()) {
        return shape("mask_tokens", format!("{} marks for {} tokens", free.len(), tokens.len()));
    }
    if let Some(bad) = t.iter().find(|t| !(**t > 0.0 && **t <= 1.0)) {
        return config("t", "in (0, 1]", bad);
    }
    let len = tokens.len() / t.len();
    let mut out = Masked { tokens: tokens.to_vec(), weights: vec![0.0; tokens.len()], free: 0 };
    for i in 0..tokens.len() {
        let (time, drawn) = (t[i / len], rng.uniform_f32());
        let free = free.is_none_or(|f| f[i]);
        out.free += usize::from(free);
        if free && drawn < time {
            out.tokens[i] = mask_token;
            out.weights[i] = 1.0 / time;
        }
    }
    Ok(out)
}

/// The loss in nats for each free token: `1 / free sum_i weight_i (-ln p(target_i))`, shape `[]`; `logits` `[batch, len, vocabulary]` of the masked
/// batch, `targets` the tokens before masking.
///
/// # Errors
/// When sizes do not fit or a target has no logit.
pub fn masked_loss(logits: &Tensor, targets: &[u32], masked: &Masked) -> Result<Tensor> {
    let total: f64 = masked.weights.iter().map(|w| f64::from(*w)).sum();
    let scale = total / masked.free.max(1) as f64;
    Ok(ops::cross_entropy(logits, targets, Some(&masked.weights))?.mul_scalar(scale as f32))
}

/// Which masked tokens come first. Probabilities are the model's own, before the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Order {
    /// Uniform: one random number for each candidate.
    Random,
    /// From the first position to the last.
    LeftToRight,
    /// Largest probability of the most probable token.
    MaxProbability,
    /// Smallest entropy.
    Entropy,
    /// Largest gap between the two most probable tokens.
    Margin,
    /// Largest probability of the token that was drawn, LLaDA's rule. It prefers positions where a probable token was drawn, so even one
    /// token a call does **not** have the model's law.
    DrawnProbability,
}

/// How many tokens a call unmasks in each sequence.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Pace {
    /// This many.
    Count(usize),
    /// All whose probability (as the order measures it) is at least this, and at least one (Wu et al., 2025, arXiv 2505.22618). Needs an order
    /// by probability.
    Threshold(f64),
}

/// How [`MaskedSampler::decode`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Which tokens first.
    pub order: Order,
    /// How many at once.
    pub pace: Pace,
    /// Finishes blocks of this many positions one after the other, counted from a sequence's first masked position.
    pub block: Option<usize>,
}

impl Plan {
    fn check(&self) -> Result<()> {
        match self.pace {
            Pace::Count(0) => return config("pace", "Count of 1 or more", 0),
            Pace::Threshold(p) if !(p > 0.0 && p <= 1.0) => return config("pace", "Threshold in (0, 1]", p),
            Pace::Threshold(_) if !matches!(self.order, Order::MaxProbability | Order::DrawnProbability) => {
                return config(
                    "order",
                    "MaxProbability or DrawnProbability with Threshold",
                    format!("{:?}", self.order),
                );
            }
            _ => {}
        }
        if self.block == Some(0) { config("block", "1 or more", 0) } else { Ok(()) }
    }
}

/// Fills masked sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskedSampler {
    /// The mask; never drawn.
    pub mask_token: u32,
    /// What is done to the logits of a token before it is drawn.
    pub filter: Filter,
}

/// A position that may be unmasked: its place, the token drawn for it, and how much it is preferred.
struct Candidate {
    at: usize,
    token: u32,
    score: f64,
}

impl MaskedSampler {
    /// Checks a batch and returns its length.
    fn length(&self, operation: &'static str, tokens: &[u32], sequences: usize) -> Result<usize> {
        if sequences == 0 || !tokens.len().is_multiple_of(sequences) {
            return shape(
                operation,
                format!(
                    "{} tokens for {sequences} sequences of one length, each with its random numbers",
                    tokens.len()
                ),
            );
        }
        self.filter.check()?;
        Ok(tokens.len() / sequences)
    }

    /// Unmasks by the backward process in `steps` even steps from t = 1 to 0. `tokens` `[batch, len]` are masked where something is wanted. The
    /// model is not asked in a step that unmasks nothing.
    ///
    /// Random numbers of a sequence: in each step one for each masked token, then one for each token drawn.
    ///
    /// # Errors
    /// Those of the model; sizes; no step; logits without a softmax.
    pub fn ancestral(
        &self,
        tokens: &[u32],
        steps: usize,
        mut model: impl FnMut(&[u32], &[f32]) -> Result<Tensor>,
        rngs: &mut [Rng],
    ) -> Result<Vec<u32>> {
        if steps == 0 {
            return config("steps", "1 or more", steps);
        }
        let len = self.length("MaskedSampler::ancestral", tokens, rngs.len())?;
        let mut tokens = tokens.to_vec();
        for step in 0..steps {
            // (t - s) / t with t = 1 - step / steps.
            let leaves = 1.0 / (steps - step) as f64;
            let chosen: Vec<usize> = (0..tokens.len())
                .filter(|i| tokens[*i] == self.mask_token && rngs[i / len].uniform() < leaves)
                .collect();
            if chosen.is_empty() {
                continue;
            }
            let t = vec![1.0 - step as f32 / steps as f32; rngs.len()];
            let logits = self.ask("MaskedSampler::ancestral", &mut model, &tokens, &t)?;
            for i in chosen {
                tokens[i] = self.draw(&self.allowed(&logits, i), &mut rngs[i / len])?;
            }
        }
        Ok(tokens)
    }

    /// Unmasks by a plan. `tokens` `[batch, len]` are masked where something is wanted. The time that the model gets is the share of a
    /// sequence's tokens that are masked still.
    ///
    /// Random numbers of a sequence in each call, by position: with [`Order::Random`] one for each candidate; then one for each token drawn
    /// (with [`Order::DrawnProbability`] every candidate).
    ///
    /// # Errors
    /// Those of the model; sizes; a plan that means nothing; logits without a softmax.
    pub fn decode(
        &self,
        tokens: &[u32],
        plan: &Plan,
        mut model: impl FnMut(&[u32], &[f32]) -> Result<Tensor>,
        rngs: &mut [Rng],
    ) -> Result<Vec<u32>> {
        plan.check()?;
        let len = self.length("MaskedSampler::decode", tokens, rngs.len())?;
        let mut tokens = tokens.to_vec();
        let first =
            |s: usize| tokens[s * len..][..len].iter().position(|t| *t == self.mask_token).unwrap_or(0);
        let starts: Vec<usize> = (0..rngs.len()).map(first).collect();
        while tokens.contains(&self.mask_token) {
            let masked = |s: &[u32]| s.iter().filter(|t| **t == self.mask_token).count();
            let t: Vec<f32> = tokens.chunks_exact(len).map(|s| masked(s) as f32 / len as f32).collect();
            let logits = self.ask("MaskedSampler::decode", &mut model, &tokens, &t)?;
            for (s, rng) in rngs.iter_mut().enumerate() {
                let open = self.open(&tokens[s * len..][..len], starts[s], plan.block);
                for candidate in self.choose(&logits, s * len, &open, plan, rng)? {
                    tokens[candidate.at] = candidate.token;
                }
            }
        }
        Ok(tokens)
    }

    /// Masked positions of a sequence that may come next: those of its first unfinished block.
    fn open(&self, sequence: &[u32], start: usize, block: Option<usize>) -> Vec<usize> {
        let masked = |range: std::ops::Range<usize>| {
            range.filter(|i| sequence[*i] == self.mask_token).collect::<Vec<_>>()
        };
        let all = masked(0..sequence.len());
        match (block, all.first()) {
            (Some(block), Some(first)) => {
                let from = start + (first - start) / block * block;
                masked(from..(from + block).min(sequence.len()))
            }
            _ => all,
        }
    }

    /// The candidates that a call unmasks, with their tokens.
    fn choose(
        &self,
        logits: &Tensor,
        offset: usize,
        open: &[usize],
        plan: &Plan,
        rng: &mut Rng,
    ) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::with_capacity(open.len());
        for &i in open {
            let at = offset + i;
            let score = match plan.order {
                Order::Random => rng.uniform(),
                Order::LeftToRight => -(i as f64),
                Order::DrawnProbability => 0.0,
                order => confidence(order, &Filter::default().law(&self.allowed(logits, at))?),
            };
            candidates.push(Candidate { at, token: self.mask_token, score });
        }
        if plan.order == Order::DrawnProbability {
            for c in &mut candidates {
                let allowed = self.allowed(logits, c.at);
                c.token = self.draw(&allowed, rng)?;
                c.score = f64::from(Filter::default().law(&allowed)?[c.token as usize]);
            }
        }
        // Best first; at a tie the earlier position.
        candidates
            .sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then(a.at.cmp(&b.at)));
        let kept = match plan.pace {
            Pace::Count(k) => k,
            Pace::Threshold(p) => candidates.iter().take_while(|c| c.score >= p).count().max(1),
        };
        candidates.truncate(kept);
        if plan.order != Order::DrawnProbability {
            candidates.sort_by_key(|c| c.at);
            for c in &mut candidates {
                c.token = self.draw(&self.allowed(logits, c.at), rng)?;
            }
        }
        Ok(candidates)
    }

    fn ask(
        &self,
        operation: &'static str,
        model: &mut impl FnMut(&[u32], &[f32]) -> Result<Tensor>,
        tokens: &[u32],
        t: &[f32],
    ) -> Result<Tensor> {
        let logits = no_grad(|| model(tokens, t))?;
        let wanted = [t.len(), tokens.len() / t.len()];
        match logits.shape() {
            [batch, len, _] if [*batch, *len] == wanted => Ok(logits),
            got => shape(
                operation,
                format!("the model made {got:?}, wanted [batch, len, vocabulary] with {wanted:?}"),
            ),
        }
    }

    /// Logits of a position, the mask forbidden.
    fn allowed(&self, logits: &Tensor, at: usize) -> Vec<f32> {
        let width = logits.last();
        let mut row = logits.data()[at * width..(at + 1) * width].to_vec();
        if let Some(mask) = row.get_mut(self.mask_token as usize) {
            *mask = f32::NEG_INFINITY;
        }
        row
    }

    fn draw(&self, logits: &[f32], rng: &mut Rng) -> Result<u32> {
        Ok(sample(&self.filter.law(logits)?, rng.uniform())? as u32)
    }
}

/// How sure a law is; larger is surer.
fn confidence(order: Order, law: &[f32]) -> f64 {
    let (first, second) =
        law.iter().fold(
            (0.0_f32, 0.0_f32),
            |(first, second), p| {
                if *p > first { (*p, first) } else { (first, second.max(*p)) }
            },
        );
    match order {
        Order::Entropy => {
            law.iter().filter(|p| **p > 0.0).map(|p| f64::from(*p) * libm::log(f64::from(*p))).sum()
        }
        Order::Margin => f64::from(first) - f64::from(second),
        _ => f64::from(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::testing::p_value;
    use ream_rand::Stream;

    const MASK: u32 = 3;
    const SAMPLER: MaskedSampler = MaskedSampler {
        mask_token: MASK,
        filter: Filter { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 },
    };

    fn rngs(n: usize, seed: u64) -> Vec<Rng> {
        (0..n as u64).map(|i| Stream::new(seed, "masked").child(i).at(0)).collect()
    }

    /// A law of three tokens out of {0, 1, 2}, strongly dependent.
    fn joint() -> Vec<f64> {
        let mut rng = Stream::new(5, "joint").at(0);
        let raw: Vec<f64> = (0..27).map(|_| rng.between(0.2, 1.0).powi(3)).collect();
        let total: f64 = raw.iter().sum();
        raw.iter().map(|p| p / total).collect()
    }

    fn digits(cell: usize) -> [u32; 3] {
        [(cell / 9) as u32, (cell / 3 % 3) as u32, (cell % 3) as u32]
    }

    /// The true conditional law of every token given the unmasked ones. The mask gets a large logit, which must not matter.
    fn denoiser(law: &[f64]) -> impl FnMut(&[u32], &[f32]) -> Result<Tensor> {
        let state = |sequence: &[u32]| sequence.iter().fold(0, |s, t| 4 * s + *t as usize);
        let mut table = vec![[0.0_f32; 12]; 64];
        for s in 0..64_u32 {
            let sequence = [s / 16, s / 4 % 4, s % 4];
            let fits = |cell: &usize| digits(*cell).iter().zip(sequence).all(|(d, t)| t == MASK || *d == t);
            let cells: Vec<usize> = (0..27).filter(fits).collect();
            let logits = (0..3).flat_map(|i| (0..4).map(move |token| (i, token))).map(|(i, token)| {
                let p: f64 = cells.iter().filter(|c| digits(**c)[i] == token).map(|c| law[*c]).sum();
                if token == MASK { 50.0 } else { libm::log(p.max(1e-300)) as f32 }
            });
            logits.enumerate().for_each(|(k, l)| table[state(&sequence)][k] = l);
        }
        move |tokens, _| {
            let logits = tokens.chunks_exact(3).flat_map(|sequence| table[state(sequence)]).collect();
            Tensor::from_vec(logits, &[tokens.len() / 3, 3, 4])
        }
    }

    /// p-value of 24 000 filled sequences against a law.
    fn filled(law: &[f64], fill: impl Fn(&[u32], &mut [Rng]) -> Vec<u32>) -> f64 {
        let mut rngs = rngs(24_000, 1);
        let mut counts = vec![0; 27];
        for group in rngs.chunks_mut(2_000) {
            let out = fill(&vec![MASK; 3 * group.len()], group);
            out.chunks_exact(3).for_each(|s| counts[(s[0] * 9 + s[1] * 3 + s[2]) as usize] += 1);
        }
        p_value("filled", law, &counts)
    }

    fn marginal_product(law: &[f64]) -> Vec<f64> {
        let marginal =
            |i: usize, t: u32| -> f64 { (0..27).filter(|c| digits(*c)[i] == t).map(|c| law[c]).sum() };
        (0..27).map(|c| digits(c).iter().enumerate().map(|(i, t)| marginal(i, *t)).product()).collect()
    }

    #[test]
    fn one_token_a_call_has_the_models_law_in_every_blind_order() {
        let law = joint();
        for order in [Order::Random, Order::LeftToRight, Order::MaxProbability, Order::Entropy, Order::Margin]
        {
            for block in [None, Some(2)] {
                let plan = Plan { order, pace: Pace::Count(1), block };
                let p = filled(&law, |x, r| SAMPLER.decode(x, &plan, denoiser(&law), r).unwrap());
                assert!(p > 1e-4, "{order:?} {block:?}: p = {p:.2e}");
            }
        }
    }

    #[test]
    fn all_at_once_has_the_law_of_the_marginals_and_looking_at_the_draw_is_biased() {
        let law = joint();
        let product = marginal_product(&law);
        let all = Plan { order: Order::MaxProbability, pace: Pace::Count(3), block: None };
        let decode = |plan: Plan| {
            let law = &law;
            move |x: &[u32], r: &mut [Rng]| SAMPLER.decode(x, &plan, denoiser(law), r).unwrap()
        };
        assert!(filled(&product, decode(all)) > 1e-4);
        assert!(filled(&law, decode(all)) < 1e-4);
        let drawn = Plan { order: Order::DrawnProbability, pace: Pace::Count(1), block: None };
        assert!(filled(&law, decode(drawn)) < 1e-4);
    }

    #[test]
    fn ancestral_sampling_has_the_law_of_many_steps_and_of_one() {
        let law = joint();
        let product = marginal_product(&law);
        let steps = |n: usize, law: &[f64], want: &[f64]| {
            filled(want, |x, r| SAMPLER.ancestral(x, n, denoiser(law), r).unwrap())
        };
        assert!(steps(1, &law, &product) > 1e-4);
        assert!(steps(1, &law, &law) < 1e-4);
        // Two tokens come in one of 400 steps with probability below 1 %: the bias is far below what the test can see.
        assert!(steps(400, &law, &law) > 1e-4);
        // Independent tokens: exact whatever the number of steps.
        assert!(steps(3, &product, &product) > 1e-4);
    }

    #[test]
    fn the_loss_of_the_true_conditionals_is_the_entropy() {
        let law = joint();
        let entropy: f64 = law.iter().map(|p| -p * libm::log(*p)).sum();
        let mut rng = Stream::new(9, "loss").at(0);
        let narrow: Vec<f32> = law.iter().map(|p| *p as f32).collect();
        let mut losses = Vec::new();
        for _ in 0..60 {
            let batch = 500;
            let tokens: Vec<u32> =
                (0..batch).flat_map(|_| digits(sample(&narrow, rng.uniform()).unwrap())).collect();
            let t = draw_times(batch, 1e-3, &mut rng).unwrap();
            let masked = mask_tokens(&tokens, &t, MASK, None, &mut rng).unwrap();
            // Softmax over all four logits must not see the mask here.
            let logits = denoiser(&law)(&masked.tokens, &t).unwrap();
            let logits: Vec<f32> = logits.data().iter().map(|l| if *l == 50.0 { -1e9 } else { *l }).collect();
            let logits = Tensor::from_vec(logits, &[batch, 3, 4]).unwrap();
            losses.push(f64::from(masked_loss(&logits, &tokens, &masked).unwrap().item().unwrap()));
        }
        let mean = losses.iter().sum::<f64>() / 60.0;
        let se = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 59.0 / 60.0).sqrt();
        assert!(
            (mean - entropy / 3.0).abs() < 4.0 * se && se < 0.02,
            "{mean} +- {se}, wanted {}",
            entropy / 3.0
        );
    }

    #[test]
    fn masking_keeps_prompts_and_weighs_by_the_inverse_time() {
        let tokens: Vec<u32> = (0..4000).map(|i| i % 3).collect();
        let free: Vec<bool> = (0..4000).map(|i| i % 4 != 0).collect();
        let t = [0.25_f32, 1.0];
        let masked = mask_tokens(&tokens, &t, MASK, Some(&free), &mut rngs(1, 2)[0]).unwrap();
        assert_eq!(masked.free, 3000);
        let mut counts = [0; 2];
        for i in 0..4000 {
            let hidden = masked.tokens[i] == MASK;
            assert!(!hidden || free[i]);
            assert!(hidden || masked.tokens[i] == tokens[i]);
            assert_eq!(masked.weights[i], if hidden { 1.0 / t[i / 2000] } else { 0.0 });
            counts[i / 2000] += usize::from(hidden);
        }
        assert!(
            (counts[0] as f64 - 375.0).abs() < 5.0 * (1500.0_f64 * 0.25 * 0.75).sqrt() && counts[1] == 1500
        );
        let times = draw_times(10, 0.01, &mut rngs(1, 3)[0]).unwrap();
        let mut tenths: Vec<u32> = times.iter().map(|t| ((t - 0.01) / 0.099) as u32).collect();
        tenths.sort_unstable();
        assert!(tenths.windows(2).all(|w| w[1] - w[0] <= 2) && times.iter().all(|t| (0.01..1.0).contains(t)));
        let small = Masked { tokens: vec![3, 1, 3], weights: vec![2.0, 0.0, 4.0], free: 3 };
        let logits = Tensor::randn(&[1, 3, 4], 0.7, &mut rngs(1, 4)[0]);
        crate::check_gradients(&[logits], &[], 0.01, |x| masked_loss(&x[0], &[0, 1, 2], &small)).unwrap();
    }

    #[test]
    fn a_sequence_does_not_depend_on_its_batch_and_prompts_stay() {
        let law = joint();
        let prompt = [MASK, 1, MASK, MASK, MASK, 2, 0, MASK, MASK];
        let plan = Plan { order: Order::Random, pace: Pace::Count(1), block: None };
        let together = SAMPLER.decode(&prompt, &plan, denoiser(&law), &mut rngs(3, 6)).unwrap();
        let ancestral = SAMPLER.ancestral(&prompt, 7, denoiser(&law), &mut rngs(3, 6)).unwrap();
        for s in 0..3 {
            let (one, mut rng) = (&prompt[s * 3..][..3], [rngs(3, 6)[s].clone()]);
            assert_eq!(SAMPLER.decode(one, &plan, denoiser(&law), &mut rng).unwrap(), together[s * 3..][..3]);
            let mut rng = [rngs(3, 6)[s].clone()];
            assert_eq!(SAMPLER.ancestral(one, 7, denoiser(&law), &mut rng).unwrap(), ancestral[s * 3..][..3]);
        }
        assert!((together[1], together[5], together[6]) == (1, 2, 0) && !together.contains(&MASK));
    }

    #[test]
    fn blocks_are_finished_one_after_the_other_and_thresholds_take_what_is_sure() {
        // Position i is surer the larger i is; a block of 2 must still come first.
        let sure = |tokens: &[u32], _: &[f32]| {
            let row = |i: usize| [i as f32 + 1.0, 0.0, 0.0];
            Tensor::from_vec((0..tokens.len()).flat_map(row).collect(), &[1, tokens.len(), 3])
        };
        let greedy = MaskedSampler { filter: Filter::GREEDY, ..SAMPLER };
        let trace = |plan: Plan, start: &[u32]| {
            let mut seen: Vec<Vec<usize>> = Vec::new();
            let model = |tokens: &[u32], t: &[f32]| {
                let masked: Vec<usize> = (0..tokens.len()).filter(|i| tokens[*i] == MASK).collect();
                assert!((t[0] - masked.len() as f32 / tokens.len() as f32).abs() < 1e-6);
                seen.push(masked);
                sure(tokens, t)
            };
            assert!(!greedy.decode(start, &plan, model, &mut rngs(1, 1)).unwrap().contains(&MASK));
            seen
        };
        let plan = Plan { order: Order::MaxProbability, pace: Pace::Count(1), block: Some(2) };
        let start = [0, MASK, MASK, MASK, MASK];
        assert_eq!(trace(plan, &start), [vec![1, 2, 3, 4], vec![1, 3, 4], vec![3, 4], vec![3]]);
        let open = Plan { block: None, ..plan };
        assert_eq!(trace(open, &start), [vec![1, 2, 3, 4], vec![1, 2, 3], vec![1, 2], vec![1]]);
        // e^3 / (e^3 + 2) = 0.909, e^4 / .. = 0.965, e^2 / .. = 0.787.
        let threshold = Plan { pace: Pace::Threshold(0.9), ..open };
        assert_eq!(trace(threshold, &start), [vec![1, 2, 3, 4], vec![1]]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        let rng = &mut rngs(1, 1)[0];
        says(mask_tokens(&[1, 2, 3], &[0.5, 0.5], MASK, None, rng).unwrap_err(), "3 tokens for 2 sequences");
        says(mask_tokens(&[1], &[0.0], MASK, None, rng).unwrap_err(), "t must be in (0, 1], got 0");
        says(draw_times(3, 0.0, rng).unwrap_err(), "least must be in (0, 1), got 0");
        let law = joint();
        let decode =
            |plan: Plan| SAMPLER.decode(&[MASK; 3], &plan, denoiser(&law), &mut rngs(1, 1)).unwrap_err();
        let plan = Plan { order: Order::Random, pace: Pace::Count(1), block: None };
        says(decode(Plan { pace: Pace::Count(0), ..plan }), "pace must be Count of 1 or more");
        says(
            decode(Plan { pace: Pace::Threshold(0.5), ..plan }),
            "order must be MaxProbability or DrawnProbability",
        );
        says(decode(Plan { block: Some(0), ..plan }), "block must be 1 or more");
        let wrong = SAMPLER.decode(&[MASK; 3], &plan, |_, _| Ok(Tensor::zeros(&[3, 4])), &mut rngs(1, 1));
        says(wrong.unwrap_err(), "the model made [3, 4]");
        says(
            SAMPLER.ancestral(&[MASK; 3], 0, denoiser(&law), &mut rngs(1, 1)).unwrap_err(),
            "steps must be 1 or more",
        );
    }
}

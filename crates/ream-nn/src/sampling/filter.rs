//! What is done to logits before a token is drawn.

use std::cmp::Ordering;

use ream_rand::Rng;

use super::draw::{check_logits, greedy, sample};
use crate::error::{Result, config, shape};
use crate::ops::softmax_row;

/// Temperature, top-k, top-p and min-p, applied **in this order**; each one sees the renormalised law that the one before left.
///
/// - `temperature` T: logits / T. At 0 the law is all on the largest logit (the lowest index of several).
/// - `top_k`: the k most probable tokens; 0 switches it off.
/// - `top_p` (nucleus; Holtzman et al., 2019, arXiv 1904.09751): the most probable tokens, as few as reach probability p; the one that
///   crosses p is kept. 1 switches it off.
/// - `min_p` (Nguyen et al., 2024, arXiv 2407.01082): tokens at least `min_p` times as probable as the most probable; 0 switches it off.
///
/// Among equally probable tokens the lower index is kept first, so exactly k tokens survive top-k. Every step keeps at least the most
/// probable token. A token of logit `-inf` never comes back.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    /// 0 or larger.
    pub temperature: f32,
    /// 0 for off.
    pub top_k: usize,
    /// In `(0, 1]`; 1 for off.
    pub top_p: f32,
    /// In `[0, 1]`; 0 for off.
    pub min_p: f32,
}

impl Default for Filter {
    /// The softmax of the logits, nothing cut.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 }
    }
}

impl Filter {
    /// The largest logit always.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0 };

    /// Refuses settings that mean nothing.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return config("temperature", "finite and 0 or larger", self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return config("top_p", "in (0, 1]", self.top_p);
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return config("min_p", "in [0, 1]", self.min_p);
        }
        Ok(())
    }

    /// The law that these logits have after filtering: probabilities that sum to 1 up to rounding.
    ///
    /// # Errors
    /// Bad settings; logits that are empty, NaN, `+inf`, or all `-inf`.
    pub fn law(&self, logits: &[f32]) -> Result<Vec<f32>> {
        self.check()?;
        check_logits("Filter::law", logits)?;
        if self.temperature == 0.0 {
            let mut law = vec![0.0; logits.len()];
            law[greedy(logits)?] = 1.0;
            return Ok(law);
        }
        // The largest is taken off first: a tiny temperature must not make an infinity of it.
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut law: Vec<f32> = logits.iter().map(|l| (l - largest) / self.temperature).collect();
        softmax_row(&mut law);
        if self.top_k > 0 && self.top_k < law.len() {
            keep_first(&mut law, self.top_k);
        }
        if self.top_p < 1.0 {
            keep_nucleus(&mut law, f64::from(self.top_p));
        }
        if self.min_p > 0.0 {
            keep_relative(&mut law, self.min_p);
        }
        Ok(law)
    }

    /// Draws a token: one uniform number, also at temperature 0.
    ///
    /// # Errors
    /// As [`Filter::law`].
    pub fn sample(&self, logits: &[f32], rng: &mut Rng) -> Result<usize> {
        sample(&self.law(logits)?, rng.uniform())
    }
}

/// More probable first, then the lower index.
fn by_probability(law: &[f32]) -> impl Fn(&usize, &usize) -> Ordering + '_ {
    |a, b| law[*b].total_cmp(&law[*a]).then(a.cmp(b))
}

/// Tokens that are sorted at first in search of the nucleus.
const NUCLEUS: usize = 256;

fn renormalise(law: &mut [f32]) {
    let total: f64 = law.iter().map(|p| f64::from(*p)).sum();
    law.iter_mut().for_each(|p| *p = (f64::from(*p) / total) as f32);
}

fn keep_first(law: &mut [f32], k: usize) {
    let mut order: Vec<usize> = (0..law.len()).collect();
    order.select_nth_unstable_by(k - 1, by_probability(law));
    for i in order.split_off(k) {
        law[i] = 0.0;
    }
    renormalise(law);
}

fn keep_nucleus(law: &mut [f32], p: f64) {
    let mut order: Vec<usize> = (0..law.len()).filter(|i| law[*i] > 0.0).collect();
    let wanted = p * order.iter().map(|i| f64::from(law[*i])).sum::<f64>();
    // A nucleus is mostly small and a vocabulary is not: only as many of the most probable are sorted as are needed.
    let mut sorted = NUCLEUS.min(order.len());
    let kept = loop {
        if sorted < order.len() {
            order.select_nth_unstable_by(sorted, by_probability(law));
        }
        order[..sorted].sort_unstable_by(by_probability(law));
        let mut reached = 0.0;
        let before = order[..sorted].iter().take_while(|i| {
            let more_wanted = reached < wanted;
            reached += f64::from(law[**i]);
            more_wanted
        });
        let before = before.count();
        if before < sorted || sorted == order.len() {
            break before.max(1);
        }
        sorted = (4 * sorted).min(order.len());
    };
    for i in order.split_off(kept) {
        law[i] = 0.0;
    }
    renormalise(law);
}

fn keep_relative(law: &mut [f32], min_p: f32) {
    let floor = min_p * law.iter().copied().fold(0.0, f32::max);
    law.iter_mut().filter(|p| **p < floor).for_each(|p| *p = 0.0);
    renormalise(law);
}

/// Classifier-free guidance of logits, `u + scale (c - u)` (Ho & Salimans, 2022, arXiv 2207.12598); the conditional ones as they are at
/// scale 1.
///
/// A token the condition forbids (`-inf`) stays forbidden; one that only the unconditional side forbids keeps its conditional logit.
///
/// # Errors
/// When the lengths differ or the scale is not finite.
pub fn guided(conditional: &[f32], unconditional: &[f32], scale: f32) -> Result<Vec<f32>> {
    if conditional.len() != unconditional.len() {
        return shape(
            "guided",
            format!("{} conditional and {} unconditional logits", conditional.len(), unconditional.len()),
        );
    }
    if !scale.is_finite() {
        return config("scale", "finite", scale);
    }
    let one = |(c, u): (&f32, &f32)| {
        if scale == 1.0 || *c == f32::NEG_INFINITY || *u == f32::NEG_INFINITY {
            *c
        } else {
            u + scale * (c - u)
        }
    };
    Ok(conditional.iter().zip(unconditional).map(one).collect())
}

/// Makes tokens that were seen less likely: positive logits are divided by `penalty`, negative ones multiplied, each token once however
/// often it was seen (Keskar et al., 2019, arXiv 1909.05858). 1 changes nothing.
///
/// # Errors
/// When the penalty is not positive, or a token has no logit.
pub fn repetition_penalty(logits: &mut [f32], seen: &[u32], penalty: f32) -> Result<()> {
    if !(penalty > 0.0 && penalty.is_finite()) {
        return config("penalty", "finite and larger than 0", penalty);
    }
    if let Some(bad) = seen.iter().find(|t| **t as usize >= logits.len()) {
        return shape("repetition_penalty", format!("token {bad}, there are {} logits", logits.len()));
    }
    let mut tokens = seen.to_vec();
    tokens.sort_unstable();
    tokens.dedup();
    for token in tokens {
        let logit = &mut logits[token as usize];
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LN_2: f32 = core::f32::consts::LN_2;
    /// Logarithms of 1/2, 1/4, 1/8, 1/8.
    const LN: [f32; 4] = [-LN_2, -2.0 * LN_2, -3.0 * LN_2, -3.0 * LN_2];

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }

    #[test]
    fn every_filter_alone() {
        let f = Filter::default();
        close(&f.law(&LN).unwrap(), &[0.5, 0.25, 0.125, 0.125]);
        // At temperature 1/2 probabilities are squared.
        let half = Filter { temperature: 0.5, ..f }.law(&LN).unwrap();
        close(&half, &[16.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0, 1.0 / 22.0]);
        // A tie at the edge: the lower index stays, so exactly k survive.
        close(&Filter { top_k: 3, ..f }.law(&LN).unwrap(), &[4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0]);
        // 0.6 is crossed by the second token; exactly 0.5 is reached by the first.
        close(&Filter { top_p: 0.6, ..f }.law(&LN).unwrap(), &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        close(&Filter { top_p: 0.5, ..f }.law(&LN).unwrap(), &[1.0, 0.0, 0.0, 0.0]);
        close(&Filter { top_p: 1e-9, ..f }.law(&LN).unwrap(), &[1.0, 0.0, 0.0, 0.0]);
        close(&Filter { min_p: 0.4, ..f }.law(&LN).unwrap(), &[2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        close(&Filter { min_p: 1.0, ..f }.law(&[0.0, 1.0, 1.0]).unwrap(), &[0.0, 0.5, 0.5]);
        assert_eq!(Filter::GREEDY.law(&[1.0, 3.0, 3.0]).unwrap(), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_nucleus_larger_than_the_first_sort_is_found_whole() {
        // 2000 tokens of equal probability but for the last, which is twice as probable: ties by index.
        let mut logits = vec![0.0; 2000];
        logits[1999] = LN_2;
        for (top_p, kept) in [(0.1, 200), (0.5, 1000), (0.9, 1800)] {
            let law = Filter { top_p, ..Filter::default() }.law(&logits).unwrap();
            let survivors: Vec<usize> = (0..2000).filter(|i| law[*i] > 0.0).collect();
            // The last token, then the first ones, about `top_p 2001 - 2` of them.
            assert!(
                survivors.len().abs_diff(kept) <= 1 && survivors.last() == Some(&1999),
                "{}",
                survivors.len()
            );
            assert!(survivors[..survivors.len() - 1].iter().enumerate().all(|(i, s)| i == *s));
            assert!((law.iter().sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn the_order_is_temperature_top_k_top_p_min_p() {
        // Top-p sees what top-k left: 1/2 of (1/2, 1/4) is 2/3, so 0.6 keeps one token; top-p first would keep two.
        let both = Filter { top_k: 2, top_p: 0.6, ..Filter::default() };
        close(&both.law(&LN).unwrap(), &[1.0, 0.0, 0.0, 0.0]);
        // Top-p sees the temperature: at T = 1/2 the first token alone has 0.727.
        let warm = Filter { temperature: 0.5, top_p: 0.7, ..Filter::default() };
        close(&warm.law(&LN).unwrap(), &[1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn forbidden_tokens_stay_out_and_tiny_temperatures_do_not_overflow() {
        let logits = [f32::NEG_INFINITY, 900.0, -900.0];
        for temperature in [1e-30, 1.0, 1e6] {
            let law = Filter { temperature, top_k: 3, top_p: 0.999, min_p: 0.01 };
            let law = law.law(&logits).unwrap();
            assert!(law[0] == 0.0 && law.iter().all(|p| p.is_finite()) && law[1] > 0.4, "{law:?}");
        }
    }

    #[test]
    fn bad_settings_and_logits_are_named() {
        let f = Filter::default();
        let says = |f: Filter, logits: &[f32], text: &str| {
            let error = f.law(logits).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(Filter { temperature: -1.0, ..f }, &LN, "temperature must be finite and 0 or larger, got -1");
        says(Filter { temperature: f32::NAN, ..f }, &LN, "temperature must be");
        says(Filter { top_p: 0.0, ..f }, &LN, "top_p must be in (0, 1], got 0");
        says(Filter { min_p: 1.5, ..f }, &LN, "min_p must be in [0, 1], got 1.5");
        says(f, &[0.0, f32::NAN], "logit 1 is NaN");
        says(f, &[f32::INFINITY], "logit 0 is inf");
        says(f, &[f32::NEG_INFINITY; 3], "every logit is -inf");
        says(f, &[], "no logits");
    }

    #[test]
    fn guidance_and_penalty() {
        let (c, u) = ([1.0, 2.0, f32::NEG_INFINITY, 0.5], [0.0, 4.0, 1.0, f32::NEG_INFINITY]);
        assert_eq!(guided(&c, &u, 3.0).unwrap(), [3.0, -2.0, f32::NEG_INFINITY, 0.5]);
        assert_eq!(guided(&c, &u, 1.0).unwrap(), c);
        assert_eq!(guided(&c[..2], &u[..2], 0.0).unwrap(), u[..2]);
        assert!(guided(&c, &u[..2], 1.0).unwrap_err().to_string().contains("4 conditional and 2"));
        let mut logits = [2.0, -2.0, 1.0];
        repetition_penalty(&mut logits, &[0, 1, 0], 2.0).unwrap();
        assert_eq!(logits, [1.0, -4.0, 1.0]);
        assert!(repetition_penalty(&mut logits, &[3], 2.0).unwrap_err().to_string().contains("token 3"));
        assert!(
            repetition_penalty(&mut logits, &[0], 0.0).unwrap_err().to_string().contains("penalty must be")
        );
    }
}

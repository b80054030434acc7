//! Draws from laws and from logits.

use ream_rand::Rng;

use crate::error::{NnError, Result, config, value};

/// Refuses logits that have no softmax.
pub(super) fn check_logits(operation: &'static str, logits: &[f32]) -> Result<()> {
    if logits.is_empty() {
        return value(operation, "no logits");
    }
    if let Some((i, bad)) = logits.iter().enumerate().find(|(_, l)| l.is_nan() || **l == f32::INFINITY) {
        return value(operation, format!("logit {i} is {bad}; finite numbers and -inf have a softmax"));
    }
    if logits.iter().all(|l| *l == f32::NEG_INFINITY) {
        return value(operation, "every logit is -inf: no token is allowed");
    }
    Ok(())
}

/// Sum of a law's probabilities, which need not be 1.
///
/// # Errors
/// When one is negative or not finite, or all are 0.
pub(super) fn mass(operation: &'static str, law: &[f32]) -> Result<f64> {
    let mut total = 0.0_f64;
    for (i, p) in law.iter().enumerate() {
        if !(*p >= 0.0 && p.is_finite()) {
            return value(operation, format!("probability {i} is {p}; 0 or larger is needed"));
        }
        total += f64::from(*p);
    }
    if total > 0.0 { Ok(total) } else { value(operation, "every probability is 0") }
}

/// The token at which the distribution function passes `u` times the law's sum: the inverse CDF. Tokens of probability 0 are never drawn.
///
/// `law` need not sum to 1.
///
/// # Errors
/// When `u` is outside `[0, 1)`, a probability is negative or not finite, or all are 0.
pub fn sample(law: &[f32], u: f64) -> Result<usize> {
    if !(0.0..1.0).contains(&u) {
        return config("u", "in [0, 1)", u);
    }
    let wanted = u * mass("sample", law)?;
    let mut reached = 0.0;
    let mut last = 0;
    for (i, p) in law.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        reached += f64::from(*p);
        last = i;
        if wanted < reached {
            break;
        }
    }
    Ok(last)
}

/// Position of the largest logit; the lowest of several.
///
/// # Errors
/// Logits that are empty, NaN, `+inf`, or all `-inf`.
pub fn greedy(logits: &[f32]) -> Result<usize> {
    check_logits("greedy", logits)?;
    Ok((1..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best }))
}

/// A standard Gumbel number.
fn gumbel(rng: &mut Rng) -> f64 {
    -libm::log(rng.exponential().max(f64::MIN_POSITIVE))
}

/// Draws a token from the softmax of the logits as the largest of `logit + Gumbel noise`: one random number for every token.
///
/// # Errors
/// Logits that are empty, NaN, `+inf`, or all `-inf`.
pub fn gumbel_max(logits: &[f32], rng: &mut Rng) -> Result<usize> {
    let drawn = gumbel_top_k(logits, 1, rng)?;
    drawn.first().copied().ok_or(NnError::Value { operation: "gumbel_max", problem: "nothing drawn".into() })
}

/// `k` different tokens, in the order of successive draws from the softmax of the logits without replacement (Kool et al., 2019): the k
/// largest of `logit + Gumbel noise`.
///
/// # Errors
/// As [`gumbel_max`], and when fewer than `k` tokens are allowed.
pub fn gumbel_top_k(logits: &[f32], k: usize, rng: &mut Rng) -> Result<Vec<usize>> {
    check_logits("gumbel_top_k", logits)?;
    let mut noisy: Vec<(f64, usize)> = logits
        .iter()
        .enumerate()
        .map(|(i, l)| (f64::from(*l) + gumbel(rng), i))
        .filter(|(key, _)| *key > f64::NEG_INFINITY)
        .collect();
    if k == 0 || k > noisy.len() {
        return config("k", format!("1..={}, the number of tokens allowed", noisy.len()), k);
    }
    let order = |a: &(f64, usize), b: &(f64, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    noisy.select_nth_unstable_by(k - 1, order);
    noisy.truncate(k);
    noisy.sort_unstable_by(order);
    Ok(noisy.into_iter().map(|(_, i)| i).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_law, rng};
    use super::*;

    #[test]
    fn inverse_of_the_distribution_function() {
        let law = [0.0, 0.25, 0.0, 0.5, 0.25, 0.0];
        for (u, token) in [(0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (1.0 - 1e-16, 4)] {
            assert_eq!(sample(&law, u).unwrap(), token, "{u}");
        }
        assert_eq!(sample(&[2.0, 6.0], 0.25).unwrap(), 1);
        assert!(sample(&law, 1.0).unwrap_err().to_string().contains("u must be in [0, 1), got 1"));
        assert!(sample(&[0.5, -0.1], 0.5).unwrap_err().to_string().contains("probability 1 is -0.1"));
        assert!(
            sample(&[f32::NAN], 0.5).is_err() && sample(&[0.0], 0.5).is_err() && sample(&[], 0.5).is_err()
        );
    }

    #[test]
    fn the_draws_have_the_law() {
        let law = [0.05_f32, 0.4, 0.0, 0.25, 0.3];
        let wide: Vec<f64> = law.iter().map(|p| f64::from(*p)).collect();
        let logits: Vec<f32> = law.iter().map(|p| libm::logf(*p) + 3.0).collect();
        let (mut a, mut b, mut c) = (rng(1), rng(2), rng(3));
        assert_law("sample", &wide, 40_000, || sample(&law, a.uniform()).unwrap());
        assert_law("gumbel_max", &wide, 40_000, || gumbel_max(&logits, &mut b).unwrap());
        let filter = super::super::Filter::default();
        assert_law("Filter::sample", &wide, 40_000, || filter.sample(&logits, &mut c).unwrap());
    }

    #[test]
    fn gumbel_top_k_is_successive_draws_without_replacement() {
        let law = [0.1_f64, 0.2, 0.3, 0.4];
        let logits: Vec<f32> = law.iter().map(|p| libm::log(*p) as f32).collect();
        // P(i, then j) = p_i p_j / (1 - p_i).
        let pairs: Vec<f64> = (0..16)
            .map(|c| (c / 4, c % 4))
            .map(|(i, j)| if i == j { 0.0 } else { law[i] * law[j] / (1.0 - law[i]) })
            .collect();
        let mut rng = rng(4);
        assert_law("gumbel_top_k", &pairs, 60_000, || {
            let drawn = gumbel_top_k(&logits, 2, &mut rng).unwrap();
            drawn[0] * 4 + drawn[1]
        });
        assert_eq!(gumbel_top_k(&[0.0, f32::NEG_INFINITY, 1.0], 2, &mut rng).unwrap().len(), 2);
        let error = gumbel_top_k(&[0.0, f32::NEG_INFINITY, 1.0], 3, &mut rng).unwrap_err();
        assert!(error.to_string().contains("k must be 1..=2"), "{error}");
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(greedy(&[1.0, 3.0, 3.0]).unwrap(), 1);
        assert!(greedy(&[f32::NAN]).is_err());
    }
}

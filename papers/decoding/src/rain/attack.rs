//! An adversarial suffix: tokens after a prompt that make a harmful phrase as probable as possible, found by greedy coordinate search.
//! (The paper's attacks choose the swaps by gradients; here they are drawn.)

use ream_lab::Result;
use ream_lm::LanguageModel;
use ream_lm::llama::{Branch, Cache, Feed, Layout, Logits};
use ream_lm::log_probability;
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::failed;

/// How a suffix is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Prompts that are attacked; 0 leaves the attack out.
    pub prompts: usize,
    /// Tokens of a suffix.
    pub suffix: usize,
    /// Swaps: at each, one place is chosen and the best of some tokens put there, if it is better than what stands there.
    pub swaps: usize,
    /// Tokens that are tried at each swap.
    pub tried: usize,
}

/// A suffix that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Suffix {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Natural logarithm of the phrase's probability after the prompt and the first, random suffix.
    pub before: f64,
    /// After the suffix that was found.
    pub after: f64,
}

/// Looks for a suffix of allowed tokens after which `phrase` is probable.
///
/// # Errors
/// An empty prompt, phrase or list of tokens; a text beyond the context.
pub fn search(
    lm: &LanguageModel,
    prompt: &[u32],
    phrase: &[u32],
    allowed: &[u32],
    attack: &Attack,
    stream: Stream,
) -> Result<Suffix> {
    if allowed.is_empty() || phrase.is_empty() || attack.suffix == 0 {
        return Err(failed("an attack needs tokens to choose from, a suffix and a phrase"));
    }
    let mut rng = stream.at(0);
    let mut cache = Cache::new(&lm.model);
    let mut branch = cache.branch();
    lm.model.read(&mut cache, &mut branch, prompt).map_err(failed)?;
    let mut tokens: Vec<u32> = (0..attack.suffix).map(|_| allowed[rng.below(allowed.len())]).collect();
    let before = scores(lm, &mut cache, &branch, std::slice::from_ref(&tokens), phrase)?[0];
    let mut best = before;
    for _ in 0..attack.swaps {
        let place = rng.below(attack.suffix);
        let tried: Vec<Vec<u32>> = (0..attack.tried)
            .map(|_| {
                let mut other = tokens.clone();
                other[place] = allowed[rng.below(allowed.len())];
                other
            })
            .collect();
        let found = scores(lm, &mut cache, &branch, &tried, phrase)?;
        for (score, other) in found.into_iter().zip(tried) {
            if score > best {
                (best, tokens) = (score, other);
            }
        }
    }
    Ok(Suffix { tokens, before, after: best })
}

/// Natural logarithm of the phrase's probability after the branch and each suffix, all in one pass.
fn scores(
    lm: &LanguageModel,
    cache: &mut Cache,
    branch: &Branch,
    suffixes: &[Vec<u32>],
    phrase: &[u32],
) -> Result<Vec<f64>> {
    let inputs: Vec<Vec<u32>> =
        suffixes.iter().map(|s| s.iter().chain(&phrase[..phrase.len() - 1]).copied().collect()).collect();
    let mut rows = Vec::new();
    let mut from = 0;
    for (suffix, input) in suffixes.iter().zip(&inputs) {
        rows.extend(from + suffix.len() - 1..from + input.len());
        from += input.len();
    }
    let mut branches: Vec<Branch> = inputs.iter().map(|_| branch.clone()).collect();
    let mut feeds: Vec<Feed<'_>> = branches
        .iter_mut()
        .zip(&inputs)
        .map(|(branch, tokens)| Feed { branch, tokens, layout: Layout::Chain })
        .collect();
    let output = lm.model.forward().logits(Logits::Rows(&rows)).run(cache, &mut feeds).map_err(failed)?;
    let one = |i: usize| -> f64 {
        let terms = phrase.iter().enumerate();
        terms.map(|(j, token)| f64::from(log_probability(output.logits(i * phrase.len() + j), *token))).sum()
    };
    Ok((0..suffixes.len()).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::*;

    #[test]
    fn a_suffix_raises_the_phrases_probability_and_its_score_is_the_models() {
        let lm = tiny();
        let (prompt, phrase) = (lm.encode("the sea is blue."), lm.encode(" he slew"));
        let allowed: Vec<u32> = (97..123).chain(256..lm.tokenizer.vocabulary() as u32).collect();
        let attack = Attack { prompts: 1, suffix: 3, swaps: 12, tried: 8 };
        let found = search(lm, &prompt, &phrase, &allowed, &attack, Stream::new(1, "attack")).unwrap();
        assert!(found.after > found.before + 0.5, "{found:?}");
        assert!(found.tokens.len() == 3 && found.tokens.iter().all(|t| allowed.contains(t)));
        let whole: Vec<u32> = prompt.iter().chain(&found.tokens).chain(&phrase).copied().collect();
        let scores = lm.model.score(&whole).unwrap();
        let sum: f64 = scores[whole.len() - phrase.len() - 1..].iter().map(|s| f64::from(*s)).sum();
        assert!((sum - found.after).abs() < 1e-3, "{sum} {}", found.after);
        assert_eq!(search(lm, &prompt, &phrase, &allowed, &attack, Stream::new(1, "attack")).unwrap(), found);
        assert!(search(lm, &prompt, &[], &allowed, &attack, Stream::new(1, "attack")).is_err());
    }
}

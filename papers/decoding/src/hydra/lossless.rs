//! Whether decoding with drafts has the base's law: short continuations, drawn many times, against their exact probabilities.

use super::decode::{Acceptance, Speculative};
use super::drafter::Drafter;
use super::heads::failed;
use super::tree::StaticTree;
use ream_lab::Result;
use ream_lm::llama::{Cache, Feed, Layout, Logits, Model};
use ream_nn::sampling::Filter;
use ream_stats::chi_square::{ChiSquare, chi_square};
use std::collections::BTreeMap;

/// Draws that a cell of the test expects at least.
const FEWEST: f64 = 5.0;
/// Texts that are read together.
const TOGETHER: usize = 32;

/// The beginnings of continuations of a prompt by up to `length` tokens whose probability is at least `floor`, with it; the empty one is certain.
///
/// # Errors
/// A prompt that leaves no room.
pub fn continuation_law(
    model: &Model,
    prompt: &[u32],
    (length, temperature): (usize, f32),
    floor: f64,
) -> Result<BTreeMap<Vec<u32>, f64>> {
    let filter = Filter { temperature, ..Filter::default() };
    let mut cache = Cache::new(model);
    let mut start = cache.branch();
    let first = model.read(&mut cache, &mut start, prompt).map_err(failed)?;
    let extend = |prefix: &[u32], p: f64, logits: &[f32], out: &mut BTreeMap<Vec<u32>, f64>| -> Result<()> {
        let law = filter.law(logits).map_err(failed)?;
        let total: f64 = law.iter().map(|p| f64::from(*p)).sum();
        for (token, share) in law.iter().enumerate() {
            let joint = p * f64::from(*share) / total;
            if joint >= floor {
                out.insert([prefix, &[token as u32]].concat(), joint);
            }
        }
        Ok(())
    };
    let mut all = BTreeMap::from([(Vec::new(), 1.0)]);
    let mut longest = BTreeMap::new();
    extend(&[], 1.0, &first, &mut longest)?;
    for _ in 1..length {
        let mut longer = BTreeMap::new();
        let prefixes: Vec<(&Vec<u32>, &f64)> = longest.iter().collect();
        for group in prefixes.chunks(TOGETHER) {
            let mut branches: Vec<_> = group.iter().map(|_| start.clone()).collect();
            let mut feeds: Vec<Feed<'_>> = group
                .iter()
                .zip(&mut branches)
                .map(|((tokens, _), branch)| Feed { branch, tokens, layout: Layout::Chain })
                .collect();
            let out = model.forward().logits(Logits::Last).run(&mut cache, &mut feeds).map_err(failed)?;
            for (i, (prefix, p)) in group.iter().enumerate() {
                extend(prefix, **p, out.logits(i), &mut longer)?;
            }
        }
        all.append(&mut longest);
        longest = longer;
    }
    all.append(&mut longest);
    Ok(all)
}

/// Cells of a test: a whole continuation, or all others that begin with a prefix, with what they have in common and their probability. A rest of
/// less than `floor` belongs to the rest one token shorter.
fn cells(law: &BTreeMap<Vec<u32>, f64>, length: usize, floor: f64) -> BTreeMap<Vec<u32>, f64> {
    let mut rests = law.clone();
    for (prefix, p) in law.iter().filter(|(prefix, _)| !prefix.is_empty()) {
        if let Some(rest) = rests.get_mut(&prefix[..prefix.len() - 1]) {
            *rest -= p;
        }
    }
    for size in (1..length).rev() {
        let small: Vec<(Vec<u32>, f64)> = rests
            .iter()
            .filter(|(prefix, rest)| prefix.len() == size && **rest < floor)
            .map(|(prefix, rest)| (prefix.clone(), *rest))
            .collect();
        for (prefix, rest) in small {
            rests.remove(&prefix);
            if let Some(parent) = rests.get_mut(&prefix[..size - 1]) {
                *parent += rest;
            }
        }
    }
    rests
}

/// Draws `draws` continuations of `length` tokens with drafts and holds their counts against the base's own law. Continuations that expect fewer
/// than five draws are counted together with others that begin as they do.
///
/// Nothing when that leaves a single cell: the law is all on one continuation, or too flat for so few draws.
///
/// # Errors
/// Those of the drafter and of the engine.
pub fn test_law(
    model: &Model,
    drafter: &mut dyn Drafter,
    (prompt, length): (&[u32], usize),
    acceptance: Acceptance,
    (draws, seed): (usize, u64),
    mut progress: impl FnMut(f64) -> Result<()>,
) -> Result<Option<ChiSquare>> {
    let temperature = match acceptance {
        Acceptance::Exact { temperature } | Acceptance::Typical { temperature, .. } => temperature,
        Acceptance::Greedy => 0.0,
    };
    let floor = FEWEST / draws as f64;
    let law = continuation_law(model, prompt, (length, temperature), floor)?;
    let mut cells = cells(&law, length, floor);
    let tree = StaticTree::chain(length.min(drafter.depth().unwrap_or(length)));
    let mut text = Speculative::new(model, drafter, &tree, acceptance, seed)?;
    text.begin(prompt)?;
    let mut counts: BTreeMap<Vec<u32>, u64> = cells.keys().map(|k| (k.clone(), 0)).collect();
    for draw in 0..draws {
        progress(draw as f64 / draws as f64)?;
        text.restart()?;
        let drawn = text.go_on(length)?.tokens;
        let cell = (0..=drawn.len()).rev().map(|n| &drawn[..n]).find(|prefix| counts.contains_key(*prefix));
        if let Some(count) = cell.and_then(|prefix| counts.get_mut(prefix)) {
            *count += 1;
        }
    }
    // The rest of everything may be too little for a cell: it goes to the first cell.
    if cells.get(&[][..]).is_some_and(|rest| *rest < floor) && cells.len() > 1 {
        let (rest, count) = (cells.remove(&[][..]), counts.remove(&[][..]));
        if let (Some(p), Some(n)) = (cells.values_mut().next(), counts.values_mut().next()) {
            *p += rest.unwrap_or(0.0).max(0.0);
            *n += count.unwrap_or(0);
        }
    }
    let observed: Vec<u64> = counts.into_values().collect();
    let expected: Vec<f64> = cells.into_values().collect();
    if expected.len() < 2 {
        return Ok(None);
    }
    chi_square(&observed, &expected).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_rests_join_the_rest_before() {
        let law = BTreeMap::from([
            (vec![], 1.0),
            (vec![1], 0.6),
            (vec![2], 0.3),
            (vec![1, 5], 0.35),
            (vec![1, 6], 0.24),
            (vec![2, 5], 0.1),
        ]);
        let cells = cells(&law, 2, 0.05);
        let near = |prefix: &[u32], p: f64| assert!((cells[prefix] - p).abs() < 1e-12, "{prefix:?}");
        // Of [1] hardly anything is left, of [2] two thirds; what is left of everything takes the former.
        near(&[1, 5], 0.35);
        near(&[1, 6], 0.24);
        near(&[2, 5], 0.1);
        near(&[2], 0.2);
        near(&[], 0.11);
        assert_eq!(cells.len(), 5);
    }
}

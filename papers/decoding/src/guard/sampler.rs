//! Many texts drawn side by side by the engine, the prompt read once; and scores of texts in batches.

use ream_lab::Result;
use ream_lm::llama::{Branch, Cache, Feed, Layout, Logits, Model};
use ream_lm::quant::{LANES, Matrix, Rows, TILE, Tile};
use ream_nn::simd::{self, sum_by, vectorised};
use ream_rand::{Rng, Stream};

use super::law::{Tokens, failed};

/// Numbers whose probabilities are summed together when a token is looked for.
const BLOCK: usize = 256;
/// Texts that are scored in one pass.
const SCORED: usize = 8;

/// Texts after a prompt: `length` tokens, or fewer when a token that ends texts comes (it is part of the text). Every law over these texts
/// scores this event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What stands before the text, at least one token.
    pub prompt: Tokens,
    /// Most tokens of a text.
    pub length: usize,
    /// Tokens that end a text.
    pub ends: Tokens,
}

impl Event {
    /// The same texts after another prompt.
    #[must_use]
    pub fn after(&self, prompt: Tokens) -> Self {
        Self { prompt, ..self.clone() }
    }

    fn goes_on(&self, text: &Tokens) -> bool {
        text.len() < self.length && text.last().is_none_or(|last| !self.ends.contains(last))
    }
}

/// Changes the logits of a row, given its hidden state after the final norm.
pub(super) type Shape<'a> = &'a dyn Fn(&[f32], &mut [f32]);

/// A text that is being drawn.
struct Drawn {
    branch: Branch,
    rng: Rng,
    text: Tokens,
}

/// Draws `n` texts, up to `batch` in one pass; text `i` uses `stream.at(i)` alone, so neither the batch nor the other texts matter.
///
/// # Errors
/// Those of a pass.
pub(super) fn draw(
    model: &Model,
    event: &Event,
    n: usize,
    batch: usize,
    stream: Stream,
    shape: Shape<'_>,
) -> Result<Vec<Tokens>> {
    let mut cache = Cache::new(model);
    let mut prefix = cache.branch();
    let (last, before) =
        event.prompt.split_last().ok_or_else(|| failed("a prompt has at least one token"))?;
    if !before.is_empty() {
        let feed = Feed { branch: &mut prefix, tokens: before, layout: Layout::Chain };
        model.forward().logits(Logits::None).run(&mut cache, &mut [feed]).map_err(failed)?;
    }
    let (width, mut texts) = (model.config().width, vec![Tokens::new(); n]);
    let mut waiting = 0..n;
    let mut active: Vec<(usize, Drawn)> = Vec::new();
    loop {
        // A text that is finished makes room for the next one.
        while active.len() < batch
            && let Some(i) = waiting.next()
        {
            let drawn = Drawn { branch: prefix.clone(), rng: stream.at(i as u64), text: Tokens::new() };
            active.push((i, drawn));
        }
        if active.is_empty() {
            return Ok(texts);
        }
        let mut feeds: Vec<Feed<'_>> = active
            .iter_mut()
            .map(|(_, d)| Feed {
                tokens: std::slice::from_ref(d.text.last().unwrap_or(last)),
                branch: &mut d.branch,
                layout: Layout::Chain,
            })
            .collect();
        let mut output = model.forward().hidden().run(&mut cache, &mut feeds).map_err(failed)?;
        let rows = output.logits.chunks_exact_mut(model.config().vocab);
        for ((logits, hidden), (_, drawn)) in
            rows.zip(output.hidden.chunks_exact(width)).zip(active.iter_mut())
        {
            shape(hidden, logits);
            let token = pick(logits, drawn.rng.uniform());
            drawn.text.push(token as u32);
        }
        active.retain_mut(|(i, drawn)| {
            let goes_on = event.goes_on(&drawn.text);
            if !goes_on {
                texts[*i] = std::mem::take(&mut drawn.text);
            }
            goes_on
        });
    }
}

/// Hidden states after the final norm at the places that decide each token of each text, `[text length, width]`.
///
/// # Errors
/// Those of a pass.
pub(super) fn states(model: &Model, event: &Event, texts: &[&Tokens]) -> Result<Vec<Vec<f32>>> {
    let mut cache = Cache::new(model);
    let mut prefix = cache.branch();
    let (last, before) =
        event.prompt.split_last().ok_or_else(|| failed("a prompt has at least one token"))?;
    if !before.is_empty() {
        let feed = Feed { branch: &mut prefix, tokens: before, layout: Layout::Chain };
        model.forward().logits(Logits::None).run(&mut cache, &mut [feed]).map_err(failed)?;
    }
    let width = model.config().width;
    let mut states = Vec::with_capacity(texts.len());
    for group in texts.chunks(SCORED) {
        let inputs: Vec<Tokens> = group
            .iter()
            .map(|text| std::iter::once(*last).chain(text.iter().copied().take(text.len() - 1)).collect())
            .collect();
        let mut branches: Vec<Branch> = group.iter().map(|_| prefix.clone()).collect();
        let mut feeds: Vec<Feed<'_>> = branches
            .iter_mut()
            .zip(&inputs)
            .map(|(branch, tokens)| Feed { branch, tokens, layout: Layout::Chain })
            .collect();
        let output =
            model.forward().logits(Logits::None).hidden().run(&mut cache, &mut feeds).map_err(failed)?;
        let mut rest = output.hidden.as_slice();
        for input in &inputs {
            let (own, others) = rest.split_at(input.len() * width);
            states.push(own.to_vec());
            rest = others;
        }
    }
    Ok(states)
}

/// `out = x W'` on the calling thread's share of threads: `[rows, outputs]`.
pub(super) fn project(matrix: &Matrix, x: &Rows) -> Vec<f32> {
    let (outputs, rows) = (matrix.outputs(), x.rows());
    let mut out = vec![0.0; rows * outputs];
    let mut tile: Tile = [[0.0; LANES]; TILE];
    for first in (0..rows).step_by(TILE) {
        let count = TILE.min(rows - first);
        for panel in 0..matrix.panels() {
            matrix.tile(panel, x, first, count, &mut tile);
            let from = panel * LANES;
            let len = LANES.min(outputs - from);
            for (row, sums) in tile.iter().enumerate().take(count) {
                let at = (first + row) * outputs + from;
                out[at..at + len].copy_from_slice(&sums[..len]);
            }
        }
    }
    out
}

vectorised! {
    /// `e^(x - largest)` in place; gives the largest and the sum.
    fn exponentials(x: &mut [f32]) -> (f32, f32) {
        let mut lanes = [f32::NEG_INFINITY; simd::LANES];
        for part in x.chunks(simd::LANES) {
            for (lane, x) in lanes.iter_mut().zip(part) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        let largest = lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        for x in x.iter_mut() {
            *x = simd::exp::<FMA>(*x - largest);
        }
        (largest, sum_by(x.len(), |i| x[i]))
    }
}

/// The token at `u` (in [0, 1)) of the law that the logits give; they are used up.
fn pick(logits: &mut [f32], u: f64) -> usize {
    exponentials(logits);
    let sums: Vec<f64> =
        logits.chunks(BLOCK).map(|block| f64::from(sum_by(block.len(), |i| block[i]))).collect();
    let mut rest = u * sums.iter().sum::<f64>();
    let mut block = 0;
    while block + 1 < sums.len() && rest >= sums[block] {
        rest -= sums[block];
        block += 1;
    }
    let from = block * BLOCK;
    let inside = &logits[from..(from + BLOCK).min(logits.len())];
    let found = inside.iter().position(|p| {
        rest -= f64::from(*p);
        rest < 0.0
    });
    // Rounding may leave a little over: the last token that can come.
    from + found.unwrap_or_else(|| inside.iter().rposition(|p| *p > 0.0).unwrap_or(0))
}

/// `log softmax(logits)[token]`; the logits are used up.
pub(super) fn log_probability(logits: &mut [f32], token: u32) -> f64 {
    let chosen = logits[token as usize];
    let (largest, _) = exponentials(logits);
    let sum: f64 = logits.chunks(BLOCK).map(|b| f64::from(sum_by(b.len(), |i| b[i]))).sum();
    f64::from(chosen - largest) - libm::log(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_often_as_their_law_says() {
        let logits: Vec<f32> =
            (0..1000).map(|i| if i % 7 == 0 { -3.0 } else { (i % 5) as f32 - 2.0 }).collect();
        let mut rng = Stream::new(1, "picks").at(0);
        let n = 40_000;
        let mut counts = [0_usize; 6];
        for _ in 0..n {
            let token = pick(&mut logits.clone(), rng.uniform());
            counts[if token.is_multiple_of(7) { 5 } else { token % 5 }] += 1;
        }
        let mut wanted = [0.0; 6];
        for token in 0..1000 {
            wanted[if token % 7 == 0 { 5 } else { token % 5 }] +=
                libm::exp(log_probability(&mut logits.clone(), token as u32));
        }
        assert!((wanted.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        for (count, p) in counts.iter().zip(wanted) {
            let se = (p * (1.0 - p) / f64::from(n)).sqrt();
            assert!((*count as f64 / f64::from(n) - p).abs() < 4.0 * se + 1e-6, "{count} {p}");
        }
        assert_eq!(pick(&mut [0.0, f32::NEG_INFINITY], 0.999_999_999), 0);
    }
}

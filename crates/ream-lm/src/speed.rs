//! How fast a model is on this machine, and how fast the machine is.

use std::hint::black_box;
use std::time::Instant;

use ream_nn::threads;
use serde::Serialize;

use crate::gguf::{Kind, quantize};
use crate::llama::{Branch, Cache, Feed, Layout, LlamaError, Logits, Model};
use crate::quant::{LANES, Matrix, Rows, TILE, Tile};

/// Tokens before those that are measured.
const PROMPT: usize = 32;
/// Tokens before a measured pass.
const BEFORE_PASS: usize = 128;
/// Rounds of a measurement of the machine; the quickest counts.
const ROUNDS: usize = 7;

/// Seconds of each of `count` tokens, decoded greedily after a prompt of 32, and the tokens.
///
/// # Errors
/// When they are more than the model's context.
pub fn decode(model: &Model, count: usize) -> Result<(Vec<f64>, Vec<u32>), LlamaError> {
    let mut text = Text::new(model);
    let mut token = text.read(&tokens(model, PROMPT), Logits::Last)?.1;
    let (mut seconds, mut made) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        made.push(token);
        let (spent, best) = text.read(&[token], Logits::Last)?;
        seconds.push(spent);
        token = best;
    }
    Ok((seconds, made))
}

/// Seconds of reading `count` tokens in one pass, up to the logits after the last.
///
/// # Errors
/// When they are more than the model's context, or none.
pub fn prefill(model: &Model, count: usize) -> Result<f64, LlamaError> {
    Ok(Text::new(model).read(&tokens(model, count), Logits::Last)?.0)
}

/// Seconds of a pass of `count` tokens after 128 others, with logits for all: what checking that many drafts costs.
///
/// # Errors
/// When they are more than the model's context, or none.
pub fn pass(model: &Model, count: usize) -> Result<f64, LlamaError> {
    let mut text = Text::new(model);
    let before = BEFORE_PASS.min(model.config().context / 2);
    text.read(&tokens(model, before), Logits::None)?;
    Ok(text.read(&tokens(model, count), Logits::All)?.0)
}

/// Some tokens of the vocabulary.
fn tokens(model: &Model, count: usize) -> Vec<u32> {
    (0..count).map(|i| ((1000 + 37 * i) % model.config().vocab) as u32).collect()
}

struct Text<'a> {
    model: &'a Model,
    cache: Cache,
    branch: Branch,
}

impl<'a> Text<'a> {
    fn new(model: &'a Model) -> Self {
        let cache = Cache::new(model);
        Self { model, branch: cache.branch(), cache }
    }

    /// Seconds, and the token of the last row's largest logit (0 when there are no logits).
    fn read(&mut self, tokens: &[u32], logits: Logits<'_>) -> Result<(f64, u32), LlamaError> {
        let feed = Feed { branch: &mut self.branch, tokens, layout: Layout::Chain };
        let begun = Instant::now();
        let out = self.model.forward().logits(logits).run(&mut self.cache, &mut [feed])?;
        let seconds = begun.elapsed().as_secs_f64();
        let last = out.logits.len().checked_sub(self.model.config().vocab).map(|at| &out.logits[at..]);
        let best = last.and_then(|row| ream_nn::sampling::greedy(row).ok()).unwrap_or(0);
        Ok((seconds, best as u32))
    }
}

/// What a token of a model reads and computes, beside what the machine can do (Williams, Waterman and Patterson, 2009).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roofline {
    /// Weights that a token reads.
    pub bytes_per_token: usize,
    /// Multiply-adds of a token, attention apart.
    pub multiply_adds_per_token: usize,
    /// Measured: summing an array that no cache holds, all threads.
    pub read_bytes_per_second: f64,
    /// Measured: the kernel for 4-bit weights on a panel that stays in the first cache, eight rows at a time, all threads.
    pub multiply_adds_per_second: f64,
    /// Measured: an empty parallel loop.
    pub loop_seconds: f64,
}

impl Roofline {
    /// Measures the machine; takes about a second.
    ///
    /// # Errors
    /// None on a working machine.
    pub fn measure(model: &Model) -> Result<Self, LlamaError> {
        Ok(Self {
            bytes_per_token: model.read_bytes(),
            multiply_adds_per_token: model.multiply_adds(),
            read_bytes_per_second: reading(),
            multiply_adds_per_second: multiplying()?,
            loop_seconds: looping(),
        })
    }

    /// The least seconds of a token decoded alone: it must read its weights and compute.
    #[must_use]
    pub fn least_seconds(&self) -> f64 {
        let read = self.bytes_per_token as f64 / self.read_bytes_per_second;
        read.max(self.multiply_adds_per_token as f64 / self.multiply_adds_per_second)
    }
}

fn quickest(work: impl Fn()) -> f64 {
    let once = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(once).fold(f64::INFINITY, f64::min)
}

fn reading() -> f64 {
    const JOBS: usize = 64;
    let array = vec![1_u64; 16 << 20];
    let size = array.len() / JOBS;
    let seconds = quickest(|| {
        threads::for_each(JOBS, &|job| {
            let part = &array[job * size..(job + 1) * size];
            black_box(part.iter().fold(0_u64, |a, b| a.wrapping_add(*b)));
        });
    });
    (array.len() * 8) as f64 / seconds
}

fn multiplying() -> Result<f64, LlamaError> {
    const INPUTS: usize = 576;
    const TIMES: usize = 20_000;
    const JOBS: usize = 16;
    let numbers: Vec<f32> = (0..LANES * INPUTS).map(|i| (i % 17) as f32 - 8.0).collect();
    let bytes = quantize(Kind::Q4_1, &numbers).map_err(crate::weights::Error::from)?;
    let matrix = Matrix::new(Kind::Q4_1, LANES, INPUTS, &bytes)
        .map_err(|problem| LlamaError::Tensor { tensor: "a panel".to_owned(), problem })?;
    let rows = Rows::new(&[0.5; TILE * INPUTS], INPUTS);
    let seconds = quickest(|| {
        threads::for_each(JOBS, &|_| {
            let mut tile: Tile = [[0.0; LANES]; TILE];
            for _ in 0..TIMES / JOBS {
                matrix.tile(0, black_box(&rows), 0, TILE, &mut tile);
                black_box(&tile);
            }
        });
    });
    Ok((TIMES * LANES * INPUTS * TILE) as f64 / seconds)
}

fn looping() -> f64 {
    const LOOPS: usize = 1000;
    let seconds = quickest(|| {
        for _ in 0..LOOPS {
            threads::for_each(16, &|job| {
                black_box(job);
            });
        }
    });
    seconds / LOOPS as f64
}

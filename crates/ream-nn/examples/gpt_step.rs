//! Time of a training step and of decoding a token, by operation:
//! `cargo run --release -p ream-nn --example gpt_step [THREADS [STEPS]]`.
#![expect(clippy::print_stdout, reason = "an example's output")]
use std::time::Instant;

use ream_nn::gemm::{Precision, with_precision};
use ream_nn::layers::TransformerConfig;
use ream_nn::models::{Decoder, KvCache};
use ream_nn::ops::{Mask, cross_entropy};
use ream_nn::profile::profile;
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Init, Module, Result};

const BATCH: usize = 16;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let threads = arguments.next().unwrap_or(2);
    let steps = arguments.next().unwrap_or(20);
    ream_nn::set_threads(threads);
    let config = TransformerConfig {
        vocabulary: 65,
        context: 128,
        d: 192,
        layers: 6,
        heads: 6,
        ..TransformerConfig::default()
    };
    let model = Decoder::new(&Init::new(1), &config)?;
    for precision in [Precision::F32, Precision::Bf16] {
        with_precision(precision, || train(&model, &config, steps, precision))?;
    }
    decode(&model, &config)
}

/// Multiply-adds of the matrix products count two each; backward twice the forward; a causal mask counts half.
fn flops(config: &TransformerConfig) -> f64 {
    let (d, t, tokens) = (config.d as f64, config.context as f64, (BATCH * config.context) as f64);
    let layer = 12.0 * d * d + d * t;
    6.0 * tokens * (config.layers as f64 * layer + d * config.vocabulary as f64)
}

fn train(model: &Decoder, config: &TransformerConfig, steps: usize, precision: Precision) -> Result<()> {
    let mut optimiser = Adam::new(&model.params(), AdamConfig::adamw(1e-4, 0.1));
    let ids: Vec<u32> =
        (0..BATCH * config.context + 1).map(|i| (i * i / 7 % config.vocabulary) as u32).collect();
    let mut step = || -> Result<f32> {
        let logits = model.forward(&ids[..ids.len() - 1], [BATCH, config.context], &Mask::causal())?;
        let loss = cross_entropy(&logits, &ids[1..], None)?;
        let gradients = loss.backward()?;
        drop(logits);
        optimiser.step(&gradients, 1.0);
        loss.item()
    };
    step()?;
    let mut times = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        step()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (best, median) = (times[0], times[steps / 2]);
    println!(
        "{precision:?}: best {:.1} ms, median {:.1} ms, {:.0} GFLOP/s at best",
        1e3 * best,
        1e3 * median,
        1e-9 * flops(config) / best
    );
    let (_, shares) = profile(|| (0..steps).try_for_each(|_| step().map(drop)));
    for (name, share) in shares.iter().take(16) {
        let ms = 1e3 * share.time.as_secs_f64() / steps as f64;
        println!("  {ms:8.2} ms  {:4} x {name}", share.calls / steps as u64);
    }
    Ok(())
}

fn decode(model: &Decoder, config: &TransformerConfig) -> Result<()> {
    for m in [1, 4, 16] {
        let mut best = f64::INFINITY;
        for _ in 0..8 {
            let mut cache = KvCache::new(config, 1, config.context);
            let start = Instant::now();
            let mut passes = 0;
            while cache.len() + m <= config.context {
                let mask = Mask::causal().with_offset(cache.len());
                model.step(&vec![1; m], [1, m], None, &mask, &mut cache)?;
                passes += 1;
            }
            best = best.min(start.elapsed().as_secs_f64() / f64::from(passes));
        }
        println!("decode: {:.0} us for a pass of {m} tokens", 1e6 * best);
    }
    let mut cache = KvCache::new(config, 1, config.context);
    let (result, shares) = profile(|| {
        (0..config.context).try_for_each(|i| {
            let mask = Mask::causal().with_offset(i);
            model.step(&[1], [1, 1], None, &mask, &mut cache).map(drop)
        })
    });
    result?;
    for (name, share) in &shares {
        let us = 1e6 * share.time.as_secs_f64() / config.context as f64;
        println!("  {us:8.2} us  {:4} x {name}", share.calls / config.context as u64);
    }
    Ok(())
}

//! Tokens per second of a GGUF file: decoding, reading, and passes of several tokens.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::time::Instant;

use ream_lm::llama::{Cache, Feed, Layout, LlamaError, Logits, Model};

fn main() -> Result<(), LlamaError> {
    let path = std::env::args().nth(1).unwrap_or_default();
    ream_nn::set_threads(std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(2));
    let start = Instant::now();
    let model = Model::open(&path)?;
    println!("loaded in {:?}; {:.1} MB read by a pass", start.elapsed(), model.read_bytes() as f64 / 1e6);
    for round in 0..3 {
        let mut cache = Cache::new(&model);
        let mut branch = cache.branch();
        let prompt: Vec<u32> = (0..32).map(|i| 1000 + 37 * i).collect();
        let start = Instant::now();
        let out = model
            .forward()
            .run(&mut cache, &mut [Feed { branch: &mut branch, tokens: &prompt, layout: Layout::Chain }])?;
        let prefill = start.elapsed();
        let mut token = best(out.logits(0));
        let mut times = Vec::new();
        for _ in 0..96 {
            let start = Instant::now();
            let out = model.forward().run(
                &mut cache,
                &mut [Feed { branch: &mut branch, tokens: &[token], layout: Layout::Chain }],
            )?;
            token = best(out.logits(0));
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let one = times[times.len() / 2];
        println!(
            "round {round}: 32 tokens {prefill:?}; a token {:.2} ms median, {:.2} least, {:.0}/s",
            one * 1e3,
            times[0] * 1e3,
            1.0 / one
        );
        for m in [2, 4, 8, 16, 32] {
            let tokens: Vec<u32> = (0..m).map(|i| 500 + i).collect();
            let mut times = Vec::new();
            for _ in 0..15 {
                let start = Instant::now();
                model.forward().logits(Logits::All).run(
                    &mut cache,
                    &mut [Feed { branch: &mut branch, tokens: &tokens, layout: Layout::Chain }],
                )?;
                times.push(start.elapsed().as_secs_f64());
                branch.truncate(128);
            }
            times.sort_by(f64::total_cmp);
            print!("  c({m}) = {:.2} ({:.2} ms)", times[7] / one, times[7] * 1e3);
        }
        println!();
    }
    Ok(())
}

fn best(logits: &[f32]) -> u32 {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i as u32)
}

//! How fast sentences are encoded: `cargo run --release -p ream-lm --example encode_rate -- MODEL_FOLDER TEXTS [--bf16] [--profile]`, one text
//! a line of the file. Prints sentences and tokens a second as JSON, the best of three passes, and the time of one short query.
#![expect(clippy::print_stdout, reason = "an example's output")]

use std::time::Instant;

use ream_lm::SentenceEncoder;
use ream_nn::gemm::{Precision, kernel_name, with_precision};
use ream_nn::profile::profile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(model), Some(file)) = (args.first(), args.get(1)) else {
        return Err("wanted: MODEL_FOLDER TEXTS [--bf16] [--profile]".into());
    };
    let precision = if args.iter().any(|a| a == "--bf16") { Precision::Bf16 } else { Precision::F32 };
    let encoder = SentenceEncoder::open(model.as_ref())?;
    let text = std::fs::read_to_string(file)?;
    let texts: Vec<&str> = text.lines().collect();
    let tokens: usize = texts.iter().map(|text| encoder.tokens(text).len()).sum();
    let timed = |texts: &[&str], passes: usize| -> Result<f64, ream_lm::SentenceError> {
        let mut best = f64::INFINITY;
        for _ in 0..passes {
            let begun = Instant::now();
            with_precision(precision, || encoder.encode(texts))?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let (seconds, query) = (timed(&texts, 3)?, timed(&["speculative decoding of language models"], 50)?);
    println!(
        "{{\"kernel\": \"{}\", \"texts\": {}, \"tokens_per_text\": {:.1}, \"texts_per_second\": {:.1}, \"tokens_per_second\": {:.0}, \"query_ms\": {:.2}}}",
        kernel_name(precision),
        texts.len(),
        tokens as f64 / texts.len() as f64,
        texts.len() as f64 / seconds,
        tokens as f64 / seconds,
        query * 1e3,
    );
    if args.iter().any(|a| a == "--profile") {
        let (result, shares) = profile(|| with_precision(precision, || encoder.encode(&texts)));
        result?;
        for (name, share) in shares {
            // Matrix products are not counted by themselves: they belong to the operation that follows.
            println!("{:>8.3} s  {name}", share.time.as_secs_f64());
        }
    }
    Ok(())
}

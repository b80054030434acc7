//! Encodes a text with the tokenizer of a model: `model_tokens MODEL.gguf TEXT [--ids]` prints tokens a byte and megabytes a second, with
//! `--ids` all tokens instead, one a line, to be compared with those of another program.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::io::Write;
use std::time::Instant;

use ream_lm::{Tokenizer, gguf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text, rest @ ..] = arguments.as_slice() else {
        return Err("usage: model_tokens MODEL.gguf TEXT [--ids]".into());
    };
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&gguf::File::open(model)?)?;
    let opened = start.elapsed().as_secs_f64();
    let text = std::fs::read(text)?;
    let start = Instant::now();
    let tokens = tokenizer.encode(&text, false);
    let seconds = start.elapsed().as_secs_f64();
    if rest.iter().any(|flag| flag == "--ids") {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for token in &tokens {
            writeln!(out, "{token}")?;
        }
        return Ok(());
    }
    println!("{} tokens opened in {opened:.3} s", tokenizer.vocabulary());
    println!(
        "{} bytes in {seconds:.3} s: {} tokens, {:.2} bytes a token, {:.1} MB a second",
        text.len(),
        tokens.len(),
        text.len() as f64 / tokens.len() as f64,
        text.len() as f64 / seconds / 1e6
    );
    Ok(())
}

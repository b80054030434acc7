//! Trains a tokenizer on a text and encodes it: `tokenize PATH [MERGES]`, where PATH is a file or the folder of a Bible
//! (`ream data fetch kjv` says where it is).
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::path::Path;
use std::time::Instant;

use ream_data::sword::Bible;
use ream_lm::Bpe;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: tokenize PATH [MERGES]")?;
    let merges = arguments.next().map_or(Ok(512), |merges| merges.parse())?;
    let texts = texts(Path::new(&path))?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let characters: usize = texts.iter().map(|text| text.chars().count()).sum();

    let start = Instant::now();
    let bpe = Bpe::train(&texts, merges)?;
    println!(
        "{merges} merges learned from {characters} characters in {:.3} s",
        start.elapsed().as_secs_f64()
    );

    let (start, mut tokens) = (Instant::now(), Vec::new());
    let mut encoder = bpe.encoder();
    for text in &texts {
        encoder.encode_into(text, &mut tokens);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} tokens in {seconds:.3} s: {:.2} bytes a token, {:.1} MB a second",
        tokens.len(),
        bytes as f64 / tokens.len() as f64,
        bytes as f64 / seconds / 1e6
    );
    let mut longest: Vec<u32> = (256..u32::try_from(bpe.vocabulary())?).collect();
    longest.sort_by_key(|&token| std::cmp::Reverse(bpe.bytes_of(token).map(<[u8]>::len)));
    let shown: Vec<String> = longest.iter().take(12).map(|&token| bpe.decode_text(&[token])).collect();
    println!("longest tokens: {shown:?}");
    Ok(())
}

fn texts(path: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    if path.is_dir() {
        let bible = Bible::open(path)?;
        return Ok(bible.chapters().map(|(_, _, verses)| verses.join("\n")).collect());
    }
    Ok(vec![std::fs::read_to_string(path)?])
}

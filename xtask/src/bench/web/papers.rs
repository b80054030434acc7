//! Made-up papers and questions: words drawn with frequencies that fall as in language (Zipf).

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use ream_rand::Stream;
use serde_json::json;

use crate::shell::Result;

/// Syllables of which words are made, so that no word list has to be shipped.
const SYLLABLES: [&str; 24] = [
    "ba", "ce", "di", "fo", "gu", "ha", "ki", "lo", "ma", "ne", "po", "qui", "ra", "se", "ti", "vo", "wu",
    "xe", "yo", "za", "tor", "lin", "mer", "sta",
];
/// Different words.
const WORDS: usize = 20_000;

/// The `rank`-th word; short ones first.
fn word(rank: usize) -> String {
    let mut word = String::new();
    let mut rest = rank + SYLLABLES.len();
    while rest > 0 {
        word.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
    word
}

/// A rank whose frequency falls with its inverse.
fn rank(uniform: f64) -> usize {
    (libm::pow(WORDS as f64, uniform) as usize).min(WORDS - 1)
}

fn text(rng: &mut impl FnMut() -> f64, words: usize) -> String {
    (0..words).map(|_| word(rank(rng()))).collect::<Vec<_>>().join(" ")
}

/// arXiv-like number of a made-up paper.
fn number(index: usize) -> String {
    format!("{:02}{:02}.{:05}", 15 + index / 12_000 % 10, 1 + index / 1_000 % 12, index % 100_000)
}

/// Writes JSON lines.
pub(super) fn write(path: &Path, count: usize) -> Result<()> {
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    let stream = Stream::new(1, "bench-web");
    for index in 0..count {
        let mut generator = stream.at(index as u64);
        let mut uniform = || generator.uniform();
        let authors: Vec<_> =
            (0..1 + (uniform() * 6.0) as usize).map(|_| json!({ "name": text(&mut uniform, 2) })).collect();
        let record = json!({
            "title": text(&mut uniform, 9),
            "arxiv": number(index),
            "abstract": text(&mut uniform, 150),
            "authors": authors,
            "organisations": [text(&mut uniform, 1)],
            "date": format!("{:04}-{:02}-{:02}", 2015 + index / 12_000 % 10, 1 + index / 1_000 % 12, 1 + index % 28),
            "topics": [format!("cs.{}", ["AI", "CL", "CV", "LG", "RO"][index % 5])],
            "votes": (1.0 / (uniform() + 0.002)) as u32,
            "comments": (uniform() * 5.0) as u32,
        });
        writeln!(out, "{record}").map_err(failed)?;
    }
    out.flush().map_err(failed)
}

/// Feeds by every order, and by family.
pub(super) fn feeds() -> Vec<String> {
    let sorts = [
        "newest",
        "hot",
        "top-day",
        "top-week",
        "top-month",
        "top-year",
        "verified",
        "cheapest",
        "surprising",
        "runs-first",
    ];
    let families = ["language", "causal", "vision"];
    let mut all: Vec<String> = sorts.iter().map(|s| format!("/?sort={s}")).collect();
    all.extend(families.iter().map(|f| format!("/?family={f}")));
    all
}

/// Questions of one to three words, frequent and rare, some with a field or a phrase.
pub(super) fn searches() -> Vec<String> {
    let stream = Stream::new(2, "bench-web");
    (0..200_u64)
        .map(|index| {
            let mut generator = stream.at(index);
            let mut uniform = || generator.uniform();
            let mut query = text(&mut uniform, 1 + index as usize % 3).replace(' ', "+");
            match index % 10 {
                7 => query = format!("%22{query}%22"),
                8 => {
                    let _ = write!(query, "+year:2018..");
                }
                9 => {
                    let _ = write!(query, "*");
                }
                _ => {}
            }
            format!("/search?q={query}")
        })
        .collect()
}

/// Papers all over the collection.
pub(super) fn pages(count: usize) -> Vec<String> {
    (0..997).map(|k| format!("/papers/{}", number(k * (count / 997)))).collect()
}

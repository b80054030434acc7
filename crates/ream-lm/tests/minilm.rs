//! The real all-MiniLM-L6-v2 against the reference libraries: `golden/minilm.py` made `golden/minilm.json`.
//!
//! Needs the data set `minilm` (`ream data fetch minilm`). Where it is not fetched the test says so and ends, unless `REAM_TEST_MODELS` is
//! set, as `cargo xtask ci` does after fetching it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::PathBuf;

use ream_lm::SentenceEncoder;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<u32>,
    /// The first components of the embedding.
    first: Vec<f32>,
    /// Inner products with the embeddings of all texts.
    cosines: Vec<f32>,
}

fn encoder() -> Option<SentenceEncoder> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home =
        set("REAM_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".ream")));
    match ream_data::Store::open(home.unwrap_or_default().join("data")).path("minilm") {
        Ok(folder) => Some(SentenceEncoder::open(&folder).unwrap()),
        Err(problem) if set("REAM_TEST_MODELS").is_some() => panic!("REAM_TEST_MODELS is set, but {problem}"),
        Err(problem) => {
            println!("skipped: {problem}");
            None
        }
    }
}

#[test]
fn tokens_and_embeddings_are_those_of_the_reference() {
    let Some(encoder) = encoder() else { return };
    let golden: Golden = serde_json::from_str(include_str!("golden/minilm.json")).unwrap();
    assert_eq!(golden.texts.len(), 12);
    let texts: Vec<&str> = golden.texts.iter().map(|case| case.text.as_str()).collect();
    let vectors = encoder.encode(&texts).unwrap();
    let mut worst = 0.0_f32;
    for (case, vector) in golden.texts.iter().zip(&vectors) {
        assert_eq!(encoder.tokens(&case.text), case.tokens, "{:?}", case.text);
        let dot = |other: &Vec<f32>| vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let cosines = vectors.iter().map(dot);
        let got = vector[..8].iter().copied().chain(cosines);
        for (got, want) in got.zip(case.first.iter().chain(&case.cosines)) {
            worst = worst.max((got - want).abs());
            assert!((got - want).abs() < 1e-4, "{:?}: {got}, the reference has {want}", case.text);
        }
    }
    println!("largest difference {worst:.1e}");
    let longest = golden.texts.iter().map(|case| case.tokens.len()).max();
    assert_eq!(longest, Some(ream_lm::sentence::MAX_TOKENS));
}

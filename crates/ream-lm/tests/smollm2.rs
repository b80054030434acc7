//! The real SmolLM2-135M-Instruct.
//!
//! Needs the data set `smollm2` (`ream data fetch smollm2`). Where it is not fetched the tests say so and end, unless `REAM_TEST_MODELS` is
//! set, as `cargo xtask ci` does after fetching it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::path::PathBuf;

use ream_lm::gguf::{self, Kind, llama};

fn file() -> Option<gguf::File> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home =
        set("REAM_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".ream")));
    match ream_data::Store::open(home.unwrap_or_default().join("data")).path("smollm2") {
        Ok(path) => Some(gguf::File::open(path).unwrap()),
        Err(problem) if set("REAM_TEST_MODELS").is_some() => panic!("REAM_TEST_MODELS is set, but {problem}"),
        Err(problem) => {
            println!("skipped: {problem}");
            None
        }
    }
}

#[test]
fn the_shape_and_the_tensors_are_those_of_the_model() {
    let Some(file) = file() else { return };
    let config = llama::Config::from_gguf(&file).unwrap();
    let wanted = llama::Config {
        blocks: 30,
        width: 576,
        heads: 9,
        kv_heads: 3,
        head_size: 64,
        ffn: 1536,
        eps: 1e-5,
        rope_base: 100_000.0,
        context: 8192,
        vocab: 49_152,
        tied_head: true,
    };
    assert_eq!(config, wanted);
    let kinds: Vec<Kind> = file.tensors().map(|tensor| tensor.unwrap().kind).collect();
    let count = |kind: Kind| kinds.iter().filter(|&&k| k == kind).count();
    assert_eq!((count(Kind::Q4_1), count(Kind::F32), count(Kind::Q8_0), kinds.len()), (210, 61, 1, 272));
    assert_eq!(config.tensors().count(), 272);
}

#[test]
fn every_weight_is_a_finite_number() {
    let Some(file) = file() else { return };
    let mut largest = 0.0_f32;
    for tensor in file.tensors() {
        let tensor = tensor.unwrap();
        let mut numbers = vec![0.0; tensor.elements()];
        tensor.dequantize(&mut numbers).unwrap();
        largest =
            numbers.iter().fold(largest, |most, x| if x.is_finite() { most.max(x.abs()) } else { f32::NAN });
    }
    assert!(largest > 1.0 && largest < 1000.0, "{largest}");
}

//! The engine on the real SmolLM2-135M-Instruct, against llama.cpp and against itself in single precision.
//!
//! Needs the data set `smollm2`, as `smollm2.rs` does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::collections::HashMap;
use std::path::PathBuf;

use ream_lm::Tokenizer;
use ream_lm::chat::Chat;
use ream_lm::gguf::{self, Tensor, llama};
use ream_lm::llama::{Cache, Feed, Layout, Logits, Model, Output};
use ream_lm::weights::{Error, Gguf, Source};
use ream_nn::ops::{Mask, token_losses};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    text: String,
    tokens: Vec<u32>,
    losses: Vec<f64>,
    best: Vec<Vec<u32>>,
    best_logits: Vec<Vec<f64>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/smollm2_logits.json")).unwrap()
}

fn weights() -> Option<Gguf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home =
        set("REAM_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".ream")));
    match ream_data::Store::open(home.unwrap_or_default().join("data")).path("smollm2") {
        Ok(path) => Some(Gguf::new(gguf::File::open(path).unwrap()).unwrap()),
        Err(problem) if set("REAM_TEST_MODELS").is_some() => panic!("REAM_TEST_MODELS is set, but {problem}"),
        Err(problem) => {
            println!("skipped: {problem}");
            None
        }
    }
}

fn read(model: &Model, tokens: &[u32]) -> Output {
    let mut cache = Cache::new(model);
    let mut branch = cache.branch();
    let feed = Feed { branch: &mut branch, tokens, layout: Layout::Chain };
    model.forward().logits(Logits::All).residuals().run(&mut cache, &mut [feed]).unwrap()
}

fn losses(model: &Model, tokens: &[u32]) -> Vec<f64> {
    model.score(tokens).unwrap().into_iter().map(|x| -f64::from(x)).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Both round activations to 8 bits, each in its own way, so that logits agree to some tenths of a logit, losses better.
#[test]
fn losses_and_best_tokens_are_those_of_llama_cpp() {
    let Some(weights) = weights() else { return };
    let golden = golden();
    assert_eq!(Tokenizer::from_gguf(weights.file()).unwrap().encode(&golden.text, false), golden.tokens);
    let model = Model::new(&weights).unwrap();
    let ours = losses(&model, &golden.tokens);
    assert!((mean(&ours) - mean(&golden.losses)).abs() < 0.02, "{} {}", mean(&ours), mean(&golden.losses));
    let out = read(&model, &golden.tokens);
    for (row, (best, logits)) in golden.best.iter().zip(&golden.best_logits).enumerate() {
        for (token, logit) in best.iter().zip(logits) {
            let got = f64::from(out.logits(row)[*token as usize]);
            assert!((got - logit).abs() < 1.5, "row {row}, token {token}: {got} {logit}");
        }
        // Where llama.cpp has one clear favourite it is ours.
        if logits[0] - logits[1] > 1.0 {
            let first = ream_nn::sampling::greedy(out.logits(row)).unwrap();
            assert_eq!(first as u32, best[0], "row {row}");
        }
    }
}

#[test]
fn eight_bit_activations_cost_almost_nothing() {
    let Some(weights) = weights() else { return };
    let tokens = golden().tokens;
    let model = Model::new(&weights).unwrap();
    let out = read(&model, &tokens);
    let embedded = ream_nn::Tensor::from_vec(out.residuals[0].clone(), &[1, tokens.len(), 576]).unwrap();
    let logits = model.differentiable(0).unwrap().logits(&embedded, &Mask::causal()).unwrap();
    let mut next = tokens[1..].to_vec();
    next.push(0);
    let exact: Vec<f64> = token_losses(&logits, &next).unwrap().iter().map(|x| f64::from(*x)).collect();
    let (exact, ours) = (mean(&exact[..tokens.len() - 1]), mean(&losses(&model, &tokens)));
    assert!((exact - ours).abs() < 0.03, "{exact} {ours}");
}

/// Weights whose rows of queries and keys are put as if pairs of a head lay half a head apart in the file.
struct Mistaken {
    weights: Gguf,
    rows: HashMap<String, Vec<u8>>,
}

impl Mistaken {
    fn new(weights: Gguf) -> Self {
        let head = weights.config().head_size;
        let mut rows = HashMap::new();
        for block in 0..weights.config().blocks {
            for part in ["attn_q", "attn_k"] {
                let name = format!("blk.{block}.{part}.weight");
                let tensor = weights.tensor(&name).unwrap();
                let from = |row: usize| row / head * head + row % head / 2 + row % 2 * (head / 2);
                let bytes = (0..tensor.shape[1]).flat_map(|row| tensor.row(from(row)).to_vec()).collect();
                rows.insert(name, bytes);
            }
        }
        Self { weights, rows }
    }
}

impl Source for Mistaken {
    fn config(&self) -> &llama::Config {
        self.weights.config()
    }

    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        let tensor = self.weights.tensor(name)?;
        Ok(match self.rows.get(name) {
            Some(data) => Tensor { data, ..tensor },
            None => tensor,
        })
    }

    fn tokenizer(&self) -> Result<Tokenizer, Error> {
        self.weights.tokenizer()
    }

    fn chat(&self) -> Result<Chat, Error> {
        self.weights.chat()
    }
}

#[test]
fn the_pairs_that_turn_are_neighbours() {
    let Some(weights) = weights() else { return };
    let tokens = golden().tokens;
    let right = mean(&losses(&Model::new(&weights).unwrap(), &tokens));
    let wrong = mean(&losses(&Model::new(&Mistaken::new(weights)).unwrap(), &tokens));
    assert!(right < 3.5 && wrong > right + 0.5, "{right} {wrong}");
}

#[test]
fn memory_is_about_the_files() {
    let Some(weights) = weights() else { return };
    let model = Model::new(&weights).unwrap();
    let file = std::fs::metadata(weights.file().path()).unwrap().len();
    assert!((model.size() as u64) < file * 11 / 10, "{} {file}", model.size());
}

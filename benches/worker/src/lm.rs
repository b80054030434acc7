//! The side of ream-lm in `cargo xtask bench lm`: the protocol of `benches/llama/worker.py`, and `roofline`.

use std::io::{BufRead, Write};

use ream_lm::llama::Model;
use ream_lm::speed::{self, Roofline};
use serde_json::{Value, json};

use crate::workload::Failure;

/// Serves the commands on standard input.
pub(crate) fn serve(file: &str, threads: usize) -> Result<(), Failure> {
    ream_nn::set_threads(threads);
    let model = Model::open(file)?;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (command, argument) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if command == "quit" {
            break;
        }
        let reply = answer(&model, command, argument).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn answer(model: &Model, command: &str, argument: &str) -> Result<Value, Failure> {
    let count = || argument.parse::<usize>().map_err(|_| format!("`{argument}` is no number"));
    match command {
        "about" => {
            Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "isa": format!("{:?}", ream_nn::isa()) }))
        }
        "memory" => Ok(json!(crate::resident_bytes("VmRSS")?)),
        "decode" => {
            let (seconds, tokens) = speed::decode(model, count()?)?;
            Ok(json!({ "seconds": seconds, "tokens": tokens }))
        }
        "prefill" => Ok(json!({ "seconds": [speed::prefill(model, count()?)?] })),
        "pass" => Ok(json!({ "seconds": [speed::pass(model, count()?)?] })),
        "roofline" => Ok(serde_json::to_value(Roofline::measure(model)?)?),
        _ => Err(format!("`{command}` is no command here").into()),
    }
}

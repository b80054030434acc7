//! The side of ream-nn in `cargo xtask bench nn`: the protocol of `benches/torch/worker.py`, the same workloads, and
//! `precision STEPS SEEDS`, loss curves in f32 and bf16. `bench-worker lm FILE THREADS` is the side of ream-lm in `cargo xtask bench lm`.

// A worker speaks on standard output.
#![allow(clippy::print_stdout)]

mod control;
mod convolutions;
mod data;
mod lm;
mod precision;
mod products;
mod transformers;
mod workload;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use workload::{Failure, Make, Workload};

/// Every workload and how it is made.
const WORKLOADS: &[(&str, Make)] = &[
    ("sgemm", products::sgemm),
    ("gpt", transformers::gpt),
    ("gpt-bf16", transformers::gpt_bf16),
    ("decode", transformers::decode),
    ("raster", transformers::raster),
    ("next-scale", transformers::next_scale),
    ("vqae", convolutions::vqae),
    ("vq-tokenizer", convolutions::vq_tokenizer),
    ("msvq-tokenizer", convolutions::msvq_tokenizer),
    ("td3", control::td3),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--threads", count] if count.parse::<usize>().is_ok_and(|n| n > 0) => {
            ream_nn::set_threads(count.parse().unwrap_or(1));
        }
        ["lm", file, count] if count.parse::<usize>().is_ok_and(|n| n > 0) => {
            return match lm::serve(file, count.parse().unwrap_or(1)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    println!("{}", json!({ "error": error.to_string() }));
                    ExitCode::FAILURE
                }
            };
        }
        _ => {
            println!("{}", json!({ "error": "arguments: `--threads N`, or `lm FILE THREADS`" }));
            return ExitCode::from(2);
        }
    }
    let mut workload = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let line = line.trim();
        if line == "quit" {
            break;
        }
        let reply = answer(line, &mut workload).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{reply}");
        if std::io::stdout().flush().is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn answer(line: &str, workload: &mut Option<Box<dyn Workload>>) -> Result<Value, Failure> {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    match (command, workload.as_mut()) {
        ("list", _) => Ok(json!(WORKLOADS.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
        ("about", _) => Ok(about()),
        ("precision", _) => {
            let numbers =
                argument.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (steps, seeds) = numbers.ok_or("`precision STEPS SEEDS` takes two numbers")?;
            precision::curves(steps, seeds)
        }
        ("memory", _) => Ok(json!(resident_bytes("VmHWM")?)),
        ("setup", _) => {
            let (_, make) = WORKLOADS
                .iter()
                .find(|(name, _)| *name == argument)
                .ok_or_else(|| format!("there is no workload `{argument}`"))?;
            let made = make()?;
            let cost = made.cost();
            *workload = Some(made);
            Ok(json!({
                "flop_per_step": cost.flop,
                "parameters": cost.parameters,
                "items_per_step": cost.items,
                "item": cost.item,
            }))
        }
        ("step", Some(workload)) => {
            let count = argument.parse().map_err(|_| format!("`{argument}` is no number of steps"))?;
            steps(workload.as_mut(), count)
        }
        ("step", None) => Err("nothing is set up".into()),
        _ => Err(format!("`{line}` is no command here").into()),
    }
}

fn steps(workload: &mut dyn Workload, count: usize) -> Result<Value, Failure> {
    let (mut seconds, mut loss) = (Vec::with_capacity(count), None);
    for _ in 0..count {
        let begun = Instant::now();
        loss = Some(workload.step()?);
        seconds.push(begun.elapsed().as_secs_f64());
    }
    Ok(json!({ "seconds": seconds, "loss": loss }))
}

fn about() -> Value {
    json!({
        "framework": format!("ream-nn {}", env!("CARGO_PKG_VERSION")),
        "threads": ream_nn::threads(),
        "isa": format!("{:?}", ream_nn::isa()),
        "kernels": {
            "f32": ream_nn::gemm::kernel_name(ream_nn::gemm::Precision::F32),
            "bf16": ream_nn::gemm::kernel_name(ream_nn::gemm::Precision::Bf16),
        },
    })
}

/// Peak resident bytes of this process.
/// A line of the process's status in kibibytes, as bytes: `VmHWM` is the peak, `VmRSS` what is resident now.
fn resident_bytes(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.ok_or_else(|| format!("/proc/self/status has no {name}"))? * 1024)
}

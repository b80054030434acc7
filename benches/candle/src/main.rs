//! candle's side of `cargo xtask bench nn --rivals candle`: the protocol of `benches/torch/worker.py`, and GPT, VQ autoencoder and
//! TD3 written with candle's own operations, as its users write them. It answers again, whenever somebody asks, why ream-nn
//! has tensors of its own.
//!
//! `softmax_last_dim`, `ops::layer_norm` and the fast paths of candle's norm layers give no gradient in 0.11, so softmax and the
//! layer norm are composed from operations that do.

#[path = "../../worker/src/data.rs"]
mod data;
mod workloads;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use workloads::{Cost, Failure, Step};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => 2,
        ["--threads", count] if count.parse::<usize>().is_ok_and(|n| n > 0) => count.parse().unwrap_or(2),
        _ => {
            println!("{}", json!({ "error": "the only argument is `--threads N`" }));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        println!("{}", json!({ "error": error.to_string() }));
        return ExitCode::FAILURE;
    }
    let mut workload = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let line = line.trim();
        if line == "quit" {
            break;
        }
        let reply =
            answer(line, threads, &mut workload).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{reply}");
        if std::io::stdout().flush().is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn answer(
    line: &str,
    threads: usize,
    workload: &mut Option<(Cost, Box<dyn Step>)>,
) -> Result<Value, Failure> {
    let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
    match (command, workload.as_mut()) {
        ("list", _) => Ok(json!(["sgemm", "gpt", "vqae", "td3"])),
        ("about", _) => Ok(json!({ "framework": "candle 0.11", "threads": threads })),
        ("memory", _) => Ok(json!(peak_bytes()?)),
        ("setup", _) => {
            let (cost, made) = workloads::make(argument)?;
            let reply = json!({
                "flop_per_step": cost.flop,
                "parameters": cost.parameters,
                "items_per_step": cost.items,
                "item": cost.item,
            });
            *workload = Some((cost, made));
            Ok(reply)
        }
        ("step", Some((_, step))) => {
            let count: usize = argument.parse().map_err(|_| format!("`{argument}` is no number of steps"))?;
            let (mut seconds, mut loss) = (Vec::with_capacity(count), None);
            for _ in 0..count {
                let begun = Instant::now();
                loss = Some(step.step()?);
                seconds.push(begun.elapsed().as_secs_f64());
            }
            Ok(json!({ "seconds": seconds, "loss": loss }))
        }
        ("step", None) => Err("nothing is set up".into()),
        _ => Err(format!("`{line}` is no command here").into()),
    }
}

/// Peak resident bytes of this process.
fn peak_bytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.ok_or("/proc/self/status has no VmHWM")? * 1024)
}

//! The side of ream-stats and ream-trees in `cargo xtask bench causal`: the protocol and the workloads of `benches/causal/worker.py`.
//! `bench-causal make ROWS FILE` writes the table that both sides read.

// A worker speaks on standard output.
#![allow(clippy::print_stdout)]

mod estimators;
mod table;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use estimators::{Step, WORKLOADS};
use table::Table;

/// Anything that stops a worker.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(),
        ["make", rows, file] => {
            rows.parse().map_err(Failure::from).and_then(|rows| table::make(rows, file.as_ref()))
        }
        _ => Err("arguments: none, or `make ROWS FILE`".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", json!({ "error": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Failure> {
    let mut step = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if line.trim() == "quit" {
            break;
        }
        let reply = answer(line.trim(), &mut step).unwrap_or_else(|e| json!({ "error": e.to_string() }));
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn answer(line: &str, step: &mut Option<Step>) -> Result<Value, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match (&words[..], step.as_mut()) {
        (["list"], _) => Ok(json!(WORKLOADS.iter().map(|(name, _)| *name).collect::<Vec<_>>())),
        (["about"], _) => Ok(json!({
            "ream-stats": env!("CARGO_PKG_VERSION"),
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
        })),
        (["memory"], _) => Ok(json!(peak_bytes()?)),
        (["setup", name, rows, file], _) => {
            let (_, make) = WORKLOADS
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| format!("there is no workload `{name}`"))?;
            let mut table = Table::open(rows.parse()?, file.as_ref());
            *step = Some(make(&mut table)?);
            Ok(json!({ "bytes": table.bytes() }))
        }
        (["step"], Some(step)) => {
            let begun = Instant::now();
            let values = step()?;
            Ok(json!({ "seconds": begun.elapsed().as_secs_f64(), "values": values }))
        }
        (["step"], None) => Err("nothing is set up".into()),
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

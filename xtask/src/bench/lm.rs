//! `cargo xtask bench lm`: the engine of ream-lm beside llama.cpp, on the same file and as many threads.
//!
//! A block asks both for the same: decoding after a prompt, reading prompts of several lengths, passes of several tokens. They take turns, in the
//! order theirs, ours, ours, theirs, so that a machine that grows faster or slower during a block favours nobody. A figure is the median over
//! blocks of a block's ratio with its bootstrap interval. The roofline says what the machine could do: bytes that a token reads over measured
//! reading speed, multiply-adds over the kernel's speed on data that stay in the first cache.
//!
//! llama.cpp comes from the source archive of `llama-cpp-python` on PyPI and is compiled for this machine (once, 10 to 20 minutes on 2 cores).

use std::path::PathBuf;
use std::process::Command;

use ream_stats::descriptive;
use serde::Serialize;
use serde_json::{Value, json};

use super::median;
use super::nn::{Worker, cache, interval};
use crate::shell::{Result, build, cargo, output, root, run, target};

/// The version that the record speaks of.
const LLAMA_CPP_PYTHON: &str = "0.3.36";
/// Threads of both sides.
const THREADS: usize = 2;
/// Tokens decoded in a turn.
const DECODED: usize = 48;
/// Lengths of prompts.
const PROMPTS: [usize; 3] = [32, 128, 512];
/// Tokens of a pass.
const PASSES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// The data set with the model.
const MODEL: &str = "smollm2";

/// What is asked for, its goal to be done, and the aim.
struct Question {
    name: String,
    line: String,
    goal: Option<[f64; 2]>,
}

/// One question's answers.
#[derive(Serialize)]
struct Measured {
    name: String,
    /// Their seconds over ours: median over blocks.
    ratio: f64,
    /// 95 % bootstrap interval over blocks.
    interval: [f64; 2],
    /// `[to be done, aim]` of the ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<[f64; 2]>,
    /// Median seconds of one token or pass, ours and theirs.
    ours: f64,
    theirs: f64,
    block_ratios: Vec<f64>,
    /// Seconds of every turn.
    our_turns: Vec<Vec<f64>>,
    their_turns: Vec<Vec<f64>>,
}

/// The record.
#[derive(Serialize)]
pub(super) struct Report {
    model: String,
    threads: usize,
    ours: Value,
    theirs: Value,
    measured: Vec<Measured>,
    /// Seconds of a pass of m tokens over those of one, ours and theirs, by m.
    costs: Value,
    /// Resident bytes after loading and all passes, ours and theirs, and of the file.
    memory: Value,
    roofline: Value,
}

/// Measures `blocks` blocks.
pub(super) fn measure(blocks: usize) -> Result<Report> {
    let file = model()?;
    run(cargo().args(["build", "--locked", "--release", "--package", "bench-worker"]))?;
    let mut command = Command::new(target()?.join("release/bench-worker"));
    command.arg("lm").arg(&file).arg(THREADS.to_string());
    let mut ours = Worker::start(command)?;
    let mut command = Command::new(python()?);
    command.arg(root().join("benches/llama/worker.py")).arg(&file).arg(THREADS.to_string());
    let mut theirs = Worker::start(command)?;
    let about = [ours.ask("about")?, theirs.ask("about")?];
    let mut measured = Vec::new();
    for question in questions() {
        let one = compare(&question, &mut ours, &mut theirs, blocks)?;
        println!("{}", line(&one));
        measured.push(one);
    }
    let roofline = ours.ask("roofline")?;
    let bytes = std::fs::metadata(&file).map_err(|e| e.to_string())?.len();
    let memory = json!({ "ours": ours.ask("memory")?, "theirs": theirs.ask("memory")?, "file": bytes });
    let [ours, theirs] = about;
    let report = Report {
        model: MODEL.to_owned(),
        threads: THREADS,
        ours,
        theirs,
        costs: costs(&measured),
        measured,
        memory,
        roofline,
    };
    print(&report);
    Ok(report)
}

fn questions() -> Vec<Question> {
    let decode =
        Question { name: "decode".to_owned(), line: format!("decode {DECODED}"), goal: Some([1.5, 2.5]) };
    let prompt = |n: usize| Question {
        name: format!("prefill {n}"),
        line: format!("prefill {n}"),
        goal: Some([1.5, 3.0]),
    };
    let pass = |m: usize| Question { name: format!("pass {m}"), line: format!("pass {m}"), goal: None };
    std::iter::once(decode).chain(PROMPTS.map(prompt)).chain(PASSES.map(pass)).collect()
}

fn ask(worker: &mut Worker, question: &Question) -> Result<Vec<f64>> {
    let answer = worker.ask(&question.line)?;
    let seconds: Vec<f64> =
        answer["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    if seconds.is_empty() { Err(format!("`{}`: no seconds in {answer}", question.line)) } else { Ok(seconds) }
}

fn compare(question: &Question, ours: &mut Worker, theirs: &mut Worker, blocks: usize) -> Result<Measured> {
    // The first turn of each warms up.
    ask(theirs, question)?;
    ask(ours, question)?;
    let (mut our_turns, mut their_turns, mut block_ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..blocks {
        let mut block = [0.0; 2];
        for our_turn in [false, true, true, false] {
            let seconds = ask(if our_turn { &mut *ours } else { &mut *theirs }, question)?;
            block[usize::from(our_turn)] += median(&seconds);
            if our_turn { our_turns.push(seconds) } else { their_turns.push(seconds) }
        }
        block_ratios.push(block[0] / block[1]);
    }
    let all = |turns: &[Vec<f64>]| median(&turns.concat());
    Ok(Measured {
        name: question.name.clone(),
        ratio: descriptive::median(&block_ratios).unwrap_or(f64::NAN),
        interval: interval(&block_ratios)?,
        goal: question.goal,
        ours: all(&our_turns),
        theirs: all(&their_turns),
        block_ratios,
        our_turns,
        their_turns,
    })
}

fn costs(measured: &[Measured]) -> Value {
    let of = |m: usize| measured.iter().find(|one| one.name == format!("pass {m}"));
    let Some(single) = of(1) else { return Value::Null };
    let rows = PASSES.iter().filter_map(|m| {
        let one = of(*m)?;
        Some((m.to_string(), json!({ "ours": one.ours / single.ours, "theirs": one.theirs / single.theirs })))
    });
    Value::Object(rows.collect())
}

fn line(one: &Measured) -> String {
    let goal = one.goal.map_or(String::new(), |[done, aim]| format!("  to be done {done}, aim {aim}"));
    format!(
        "{:<12} {:8.2} ms  llama.cpp {:8.2} ms  ratio {:5.2} [{:.2}, {:.2}]{goal}",
        one.name,
        one.ours * 1e3,
        one.theirs * 1e3,
        one.ratio,
        one.interval[0],
        one.interval[1]
    )
}

fn print(report: &Report) {
    println!("cost of a pass of m tokens over one: {}", report.costs);
    println!("resident bytes: {}", report.memory);
    let number = |key: &str| report.roofline[key].as_f64().unwrap_or(f64::NAN);
    let (read, compute) = (
        number("bytes_per_token") / number("read_bytes_per_second"),
        number("multiply_adds_per_token") / number("multiply_adds_per_second"),
    );
    println!(
        "roofline: a token reads {:.1} MB at {:.1} GB/s, {:.2} ms, and computes {:.0} M multiply-adds at {:.0} G/s, {:.2} ms",
        number("bytes_per_token") / 1e6,
        number("read_bytes_per_second") / 1e9,
        read * 1e3,
        number("multiply_adds_per_token") / 1e6,
        number("multiply_adds_per_second") / 1e9,
        compute * 1e3
    );
}

/// The model's file, where `ream data fetch` keeps it.
fn model() -> Result<PathBuf> {
    let program = build("release", &[])?;
    let text = output(Command::new(program).args(["data", "path", MODEL]))?;
    Ok(PathBuf::from(text.trim()))
}

/// The Python of a virtual environment with llama.cpp, made when missing in the user's cache folder.
fn python() -> Result<PathBuf> {
    let folder = cache()?.join("ream-bench/llama/venv");
    let python = folder.join("bin/python");
    let version = || {
        output(Command::new(&python).args(["-c", "import numpy, llama_cpp; print(llama_cpp.__version__)"]))
    };
    if !version().is_ok_and(|v| v.trim() == LLAMA_CPP_PYTHON) {
        println!(
            "compiling llama.cpp from the source archive of llama-cpp-python {LLAMA_CPP_PYTHON}: 10 to 20 minutes"
        );
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let wanted = format!("llama-cpp-python=={LLAMA_CPP_PYTHON}");
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--no-binary", "llama-cpp-python", &wanted, "numpy"])
            .env("CMAKE_ARGS", "-DGGML_NATIVE=ON"))?;
        version()?;
    }
    Ok(python)
}

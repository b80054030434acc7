//! Recorded workloads: raw numbers, versions and commands under `benches/runs/<date>-<machine>/`.

mod causal;
mod lm;
pub(crate) mod nn;
mod search;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

use crate::shell::{Result, build, cargo, output, root, words};

/// One workload with its raw numbers.
#[derive(Serialize)]
struct Workload {
    /// What was run.
    name: String,
    /// The command as one would type it.
    command: String,
    /// Seconds of each turn, in order.
    seconds: Vec<f64>,
    /// Their median.
    median: f64,
    /// What the command itself reports, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<serde_json::Value>,
}

/// A suite with everything needed to read it later.
#[derive(Serialize)]
struct Record<Body> {
    suite: String,
    /// The command that was typed.
    command: String,
    date: String,
    commit: String,
    /// Whether the sources were as committed.
    clean: bool,
    machine: Machine,
    rustc: String,
    #[serde(flatten)]
    body: Body,
}

#[derive(Serialize)]
struct Workloads {
    workloads: Vec<Workload>,
}

#[derive(Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    load_before: String,
}

const SUITES: [&str; 10] = ["build", "start-up", "overhead", "smoke", "full", NN, LM, SEARCH, WEB, CAUSAL];

/// Suites that have a module of their own, and run only when they are named.
const NN: &str = "nn";
const LM: &str = "lm";
const SEARCH: &str = "search";
const WEB: &str = "web";
const CAUSAL: &str = "causal";
const OWN: [&str; 5] = [NN, LM, SEARCH, WEB, CAUSAL];

/// Runs suites and writes one JSON file for each.
pub(crate) fn run(wanted: &[String], repeat: usize, neural: &nn::Options) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|w| !SUITES.contains(&w.as_str())) {
        return Err(format!("there is no suite `{unknown}`; they are {}", SUITES.join(", ")));
    }
    if wanted.iter().any(|w| w == NN) {
        let (folder, load_before) = (folder()?, load());
        let report = nn::measure(neural)?;
        write(&neural.file(&folder), NN, report, load_before)?;
    }
    if wanted.iter().any(|w| w == LM) {
        let (folder, load_before) = (folder()?, load());
        let report = lm::measure(neural.blocks)?;
        write(&folder.join("lm.json"), LM, report, load_before)?;
    }
    if wanted.iter().any(|w| w == SEARCH) {
        let (file, load_before) = (search::file(&folder()?), load());
        let report = search::measure(&neural.only, &file)?;
        write(&file, SEARCH, report, load_before)?;
    }
    if wanted.iter().any(|w| w == WEB) {
        let (folder, load_before) = (folder()?, load());
        write(&folder.join("web.json"), WEB, web::measure()?, load_before)?;
    }
    if wanted.iter().any(|w| w == CAUSAL) {
        let (folder, load_before) = (folder()?, load());
        let file = if neural.only.is_empty() { "causal.json" } else { "causal-trial.json" };
        let report = causal::measure(&neural.only, neural.blocks)?;
        write(&folder.join(file), CAUSAL, report, load_before)?;
    }
    if wanted.iter().all(|w| OWN.contains(&w.as_str())) && !wanted.is_empty() {
        return Ok(());
    }
    let program = build("release", &[])?;
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder()?;
    for suite in SUITES.into_iter().filter(|suite| !OWN.contains(suite)) {
        let named = wanted.iter().any(|w| w == suite);
        // Minutes of two cores: only when asked for.
        if !(named || wanted.is_empty() && !matches!(suite, "full" | "build")) {
            continue;
        }
        let load_before = load();
        let workloads = match suite {
            "build" => clean_build()?,
            "start-up" => start_up(&program, repeat)?,
            "overhead" => overhead()?,
            "smoke" => presets(&program, home.path(), "smoke", repeat)?,
            _ => presets(&program, home.path(), "full", 1)?,
        };
        for workload in &workloads {
            println!(
                "{:<34} {:8.3} s  (median of {})",
                workload.name,
                workload.median,
                workload.seconds.len()
            );
        }
        write(&folder.join(format!("{suite}.json")), suite, Workloads { workloads }, load_before)?;
    }
    Ok(())
}

/// Where this day's records of this machine go.
fn folder() -> Result<PathBuf> {
    Ok(root().join("benches/runs").join(format!("{}-{}", date()?, machine_word())))
}

fn write(path: &Path, suite: &str, body: impl Serialize, load_before: String) -> Result<()> {
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let record = Record {
        suite: suite.to_owned(),
        command: format!("cargo xtask {}", typed.join(" ")),
        date: date()?,
        commit: commit()?,
        clean: is_clean()?,
        machine: Machine {
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_before,
        },
        rustc: output(Command::new("rustc").arg("--version"))?.trim().to_owned(),
        body,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(&record).map_err(|e| e.to_string())?;
    std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn git(args: &[&str]) -> Result<String> {
    output(Command::new("git").current_dir(root()).args(args))
}

/// The commit of the sources.
fn commit() -> Result<String> {
    Ok(git(&["rev-parse", "HEAD"])?.trim().to_owned())
}

/// Whether the sources are as committed.
fn is_clean() -> Result<bool> {
    Ok(git(&["status", "--porcelain", "--", ".", ":!benches/runs"])?.trim().is_empty())
}

/// Times a command; its output is thrown away.
fn time(name: &str, repeat: usize, mut command: impl FnMut() -> Command) -> Result<Workload> {
    let mut seconds = Vec::new();
    // One turn that does not count fills the page cache.
    for turn in 0..=repeat {
        let mut command = command();
        let begun = Instant::now();
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| format!("{}: {e}", words(&command)))?;
        if !status.success() {
            return Err(format!("{}: {status}", words(&command)));
        }
        if turn > 0 || repeat == 1 {
            seconds.push(begun.elapsed().as_secs_f64());
        }
        if repeat == 1 {
            break;
        }
    }
    Ok(Workload {
        name: name.to_owned(),
        command: words(&command()),
        median: median(&seconds),
        seconds,
        reported: None,
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn start_up(program: &Path, repeat: usize) -> Result<Vec<Workload>> {
    [vec!["papers"], vec!["claims", "--json"], vec!["--help"]]
        .into_iter()
        .map(|args| {
            time(&format!("ream {}", args.join(" ")), 10 * repeat, || {
                let mut command = Command::new(program);
                command.args(&args);
                command
            })
        })
        .collect()
}

/// A one-seed run of a system that does nothing.
fn overhead() -> Result<Vec<Workload>> {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "ream-lab",
        "--example",
        "nothing",
    ]);
    let text = output(&mut command)?;
    let reported: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("nothing: {e}"))?;
    let seconds: Vec<f64> = reported["milliseconds"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| Some(v.as_f64()? / 1000.0))
        .collect();
    Ok(vec![Workload {
        name: "one-seed run that does nothing".to_owned(),
        command: words(&command),
        median: median(&seconds),
        seconds,
        reported: None,
    }])
}

/// Every system's preset.
fn presets(program: &Path, home: &Path, preset: &str, repeat: usize) -> Result<Vec<Workload>> {
    let papers = output(Command::new(program).args(["papers", "--implemented", "--json"]))?;
    let papers: serde_json::Value = serde_json::from_str(&papers).map_err(|e| e.to_string())?;
    let mut workloads = Vec::new();
    for slug in papers.as_array().into_iter().flatten().filter_map(|p| p["slug"].as_str()) {
        workloads.push(time(&format!("ream run {slug} --preset {preset}"), repeat, || {
            let mut command = Command::new(program);
            command.arg("--runs").arg(home).args(["run", slug, "--preset", preset, "--json"]);
            command
        })?);
    }
    Ok(workloads)
}

/// A release build from nothing, and the number of crates in it.
fn clean_build() -> Result<Vec<Workload>> {
    let target = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut workload = time("release build from nothing", 1, || {
        let mut command = cargo();
        command
            .args(["build", "--locked", "--release", "--package", "ream"])
            .env("CARGO_TARGET_DIR", target.path());
        command
    })?;
    let tree = output(cargo().args([
        "tree",
        "--locked",
        "--package",
        "ream",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]))?;
    let crates: std::collections::BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(" (").next()).collect();
    workload.reported = Some(serde_json::json!({ "crates": crates.len() }));
    Ok(vec![workload])
}

fn date() -> Result<String> {
    Ok(output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?.trim().to_owned())
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|l| l.split_once(':')).map_or("unknown".to_owned(), |(_, model)| model.trim().to_owned())
}

fn machine_word() -> String {
    let word: String =
        cpu().to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!(
        "{}-{}-cores",
        word.trim_matches('-'),
        std::thread::available_parallelism().map_or(1, usize::from)
    )
}

fn load() -> String {
    std::fs::read_to_string(PathBuf::from("/proc/loadavg")).unwrap_or_default().trim().to_owned()
}

//! The lab's own overhead: a one-seed run of a system that does nothing, launcher and worker together.
//!
//! `cargo run --release -p ream-lab --example nothing` prints the milliseconds of 50 runs and their median.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ream_lab::record::FORMAT;
use ream_lab::{
    AnySystem, Code, Error, Invalid, Launch, Machine, Needs, Preset, Report, Run, RunDir, RunRecord, System,
    drive,
};
use ream_paper::Paper;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PAPER: &str = r#"
slug = "nothing"
number = 1
title = "Nothing"
date = "2024-01-01"
kind = "method"
family = "causal"
topic = "tests"
line = "l"
summary = "s"
measures = [{ id = "one", unit = "1", better = "neither", seeds = 1, text = "one" }]
"#;

struct Nothing;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {}

impl System for Nothing {
    const PAPER: &'static str = "nothing";
    type Config = Config;
    fn preset(_: Preset) -> Config {
        Config {}
    }
    fn seeds(_: Preset) -> u64 {
        1
    }
    fn check(_: &Config) -> Result<(), Invalid> {
        Ok(())
    }
    fn needs(_: &Config) -> Needs {
        Needs::default()
    }
    fn run(_: &Config, run: &mut Run) -> Result<(), Error> {
        run.observe("one", "", &[], 1.0);
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let paper = Paper::parse("nothing", PAPER).map_err(|e| Error::Input(e.to_string()))?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, dir, ..] = args.as_slice()
        && word == "worker"
    {
        let (dir, record) = RunDir::open(Path::new(dir))?;
        return ream_lab::work(&dir, &record, &paper, &AnySystem::new::<Nothing>(), 1, 1);
    }
    let home = std::env::temp_dir().join(format!("ream-nothing-{}", std::process::id()));
    let mut times = Vec::new();
    for turn in 0..50 {
        let begun = Instant::now();
        one_run(&home, &paper, turn)?;
        times.push(1000.0 * begun.elapsed().as_secs_f64());
    }
    let _ = std::fs::remove_dir_all(&home);
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    println!("{}", serde_json::json!({ "milliseconds": times, "median": sorted[sorted.len() / 2] }));
    Ok(())
}

fn one_run(home: &Path, paper: &Paper, turn: usize) -> Result<(), Error> {
    let config = serde_json::json!({});
    let record = RunRecord {
        format: FORMAT,
        id: format!("nothing-{turn}"),
        paper: "nothing".into(),
        preset: Preset::Full,
        modified: false,
        config_hash: ream_lab::config_hash(&config),
        seeds: vec![1],
        claims: Vec::new(),
        threads: 1,
        created: 0,
        command: "nothing".into(),
        isa: ream_lab::isa().into(),
        own_data: None,
        scaled: Vec::new(),
        data: BTreeMap::new(),
        code: Code::default(),
        machine: Machine::this(),
        config,
    };
    let dir = RunDir::create(&home.join("runs"), &record)?;
    let launch = Launch {
        program: std::env::current_exe().map_err(|e| Error::failed(e.to_string()))?,
        home: home.to_owned(),
        retry_failed: false,
        memory_mib: None,
        slots: Some(1),
        stop: Arc::new(AtomicBool::new(false)),
    };
    drive(&dir, &record, &launch, |_| {})?;
    Report::gather(&dir, &record, paper)?.write(&dir)
}

//! Workers and launchers as real processes: killed, stopped, resumed, starved of disk.
//!
//! This test has its own `main` because it plays three parts: the tests, the launcher (`launch DIR`) and the worker
//! (`worker DIR --seed K --threads T`) that a launcher starts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ream_lab::record::{FORMAT, RunDir, RunRecord};
use ream_lab::{AnySystem, Code, Error, Invalid, Launch, Machine, Needs, Preset, Report, Run, System, drive};
use ream_paper::Paper;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PAPER: &str = r#"
slug = "probe"
number = 1
title = "A probe"
date = "2024-01-01"
kind = "method"
family = "causal"
topic = "tests"
line = "l"
summary = "s"
[[measures]]
id = "sum"
unit = "1"
better = "neither"
seeds = 2
text = "sum of the numbers drawn"
[[measures]]
id = "first"
unit = "1"
better = "neither"
seeds = 0
text = "observed once"
[[claims]]
id = "c1"
kind = "finding"
statement = "the sum is positive"
metric = "sum"
rule_text = "> 0"
scale = "paper"
paper_figure = { text = "-", source = "none" }
holds = "positive"
[[claims.checks]]
id = "positive"
quantity = { value = "sum@probe" }
seeds = "mean"
test = "> 0"
"#;

/// Walks: two parts, each a loop that saves its state; slow enough to be killed in the middle.
struct Probe;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Steps of each part.
    steps: u64,
    /// Milliseconds of each step.
    pause: u64,
    /// Bytes of a text sample told at each step.
    chatter: usize,
    /// Fails at the end of this seed.
    fail_seed: Option<u64>,
    /// MiB that are asked for and written to.
    #[serde(default)]
    hoard: usize,
}

impl System for Probe {
    const PAPER: &'static str = "probe";
    type Config = Config;
    fn preset(_: Preset) -> Config {
        Config { steps: 40, pause: 5, chatter: 0, fail_seed: None, hoard: 0 }
    }
    fn seeds(_: Preset) -> u64 {
        2
    }
    fn check(config: &Config) -> Result<(), Invalid> {
        Invalid::unless_in("steps", config.steps, 1..=100_000)
    }
    fn needs(_: &Config) -> Needs {
        Needs::default()
    }
    fn run(config: &Config, run: &mut Run) -> Result<(), Error> {
        let mut total = 0.0;
        let hoard = vec![1_u8; config.hoard << 20];
        assert!(std::hint::black_box(&hoard).iter().all(|byte| *byte == 1));
        for part in ["walk", "climb"] {
            total += run.part(part, |run| {
                let (mut step, mut sum) = run.resume::<(u64, f64)>()?.unwrap_or((0, 0.0));
                let stream = run.stream(part);
                while step < config.steps {
                    run.progress(step as f64 / config.steps as f64, part)?;
                    sum += stream.at(step).uniform();
                    step += 1;
                    run.metric(part, step, sum);
                    if config.chatter > 0 {
                        run.sample(&format!("{part} {step}"), &"x".repeat(config.chatter));
                    }
                    if step % 10 == 0 {
                        run.save(&(step, sum))?;
                    }
                    std::thread::sleep(Duration::from_millis(config.pause));
                }
                run.observe("sum", part, &[], sum);
                Ok(sum)
            })?;
        }
        if config.fail_seed == Some(run.seed()) {
            return Err(Error::failed("told to fail"));
        }
        if run.wanted("first") {
            run.observe("first", "probe", &[], 1.0);
        }
        run.observe("sum", "probe", &[], total);
        Ok(())
    }
}

fn paper() -> Paper {
    Paper::parse("probe", PAPER).unwrap()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["worker", dir, "--seed", seed, "--threads", threads] => {
            report(worker(Path::new(dir), seed.parse().unwrap(), threads.parse().unwrap()))
        }
        ["launch", dir] => report(launch(Path::new(dir))),
        ["--list", ..] => ExitCode::SUCCESS,
        _ => run_tests(words.iter().find(|word| !word.starts_with('-')).copied()),
    }
}

fn report(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn worker(dir: &Path, seed: u64, threads: usize) -> Result<(), Error> {
    let (dir, record) = RunDir::open(dir)?;
    ream_lab::work(&dir, &record, &paper(), &AnySystem::new::<Probe>(), seed, threads)
}

fn launch(dir: &Path) -> Result<(), Error> {
    let (dir, record) = RunDir::open(dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, std::sync::atomic::Ordering::Relaxed)).unwrap();
    let launch = Launch {
        program: std::env::current_exe().unwrap(),
        home: std::env::temp_dir(),
        retry_failed: std::env::var_os("RETRY").is_some(),
        slots: Some(2),
        memory_mib: std::env::var("MEMORY_MIB").ok().and_then(|mib| mib.parse().ok()),
        stop,
    };
    let ended = drive(&dir, &record, &launch, |_| {})?;
    Report::gather(&dir, &record, &paper())?.write(&dir)?;
    if ended.finished.len() == record.seeds.len() { Ok(()) } else { Err(Error::failed(format!("{ended:?}"))) }
}

type Test = (&'static str, fn());

const TESTS: [Test; 11] = [
    ("an_undisturbed_run_is_complete", an_undisturbed_run_is_complete),
    ("a_worker_killed_at_any_moment_goes_on", a_worker_killed_at_any_moment_goes_on),
    (
        "a_launcher_killed_leaves_its_workers_to_be_adopted",
        a_launcher_killed_leaves_its_workers_to_be_adopted,
    ),
    ("interrupting_leaves_a_resumable_run", interrupting_leaves_a_resumable_run),
    ("the_cancel_file_stops_workers", the_cancel_file_stops_workers),
    ("two_launchers_on_one_run_are_refused", two_launchers_on_one_run_are_refused),
    ("a_full_disk_is_an_error_and_the_run_goes_on_later", a_full_disk_is_an_error_and_the_run_goes_on_later),
    ("a_failed_seed_is_tried_again_only_on_request", a_failed_seed_is_tried_again_only_on_request),
    ("a_worker_that_wants_too_much_memory_dies_alone", a_worker_that_wants_too_much_memory_dies_alone),
    ("a_newer_run_directory_is_refused", a_newer_run_directory_is_refused),
    ("a_directory_that_cannot_be_made_is_an_error", a_directory_that_cannot_be_made_is_an_error),
];

fn run_tests(filter: Option<&str>) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if filter.is_some_and(|f| !name.contains(f)) {
            continue;
        }
        let ok = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn record(id: &str, config: serde_json::Value) -> RunRecord {
    RunRecord {
        format: FORMAT,
        id: id.to_owned(),
        paper: "probe".into(),
        preset: Preset::Full,
        modified: false,
        config_hash: ream_lab::config_hash(&config),
        seeds: vec![1, 2],
        claims: Vec::new(),
        threads: 1,
        created: 0,
        command: "probe".into(),
        isa: ream_lab::isa().into(),
        own_data: None,
        scaled: Vec::new(),
        data: BTreeMap::new(),
        code: Code::default(),
        machine: Machine::this(),
        config,
    }
}

fn config(steps: u64, pause: u64) -> serde_json::Value {
    serde_json::json!({ "steps": steps, "pause": pause, "chatter": 0 })
}

fn program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(dir: &Path) -> Child {
    program().arg("launch").arg(dir).spawn().unwrap()
}

fn finish(dir: &Path) -> Vec<Vec<u8>> {
    assert!(start(dir).wait().unwrap().success());
    observations(dir)
}

fn observations(dir: &Path) -> Vec<Vec<u8>> {
    [1, 2].iter().map(|k| std::fs::read(dir.join(format!("seed-{k}/observations.json"))).unwrap()).collect()
}

fn make(home: &Path, id: &str, config: serde_json::Value) -> PathBuf {
    RunDir::create(home, &record(id, config)).unwrap().root().to_owned()
}

fn wait_for(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process id in a seed's lock file.
fn pid(dir: &Path, seed: u64) -> Option<u32> {
    let text = std::fs::read_to_string(dir.join(format!("seed-{seed}/lock"))).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

fn signal(name: &str, pid: u32) {
    Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

fn undisturbed() -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "calm", config(40, 1));
    let expected = finish(&dir);
    (home, expected)
}

fn an_undisturbed_run_is_complete() {
    let (home, expected) = undisturbed();
    assert_ne!(expected[0], expected[1], "seeds differ");
    let dir = home.path().join("calm");
    for file in [
        "run.toml",
        "report.json",
        "report.html",
        "wall.json",
        "seed-1/exit",
        "seed-1/timings.json",
        "seed-1/events.jsonl",
    ] {
        assert!(dir.join(file).is_file(), "{file}");
    }
    let leftovers: Vec<_> =
        walk(&dir).into_iter().filter(|p| p.extension().is_some_and(|e| e == "tmp")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    assert!(!dir.join("seed-1/checkpoint").exists(), "a finished seed needs no checkpoint");
    let first: Vec<ream_lab::Observation> = serde_json::from_slice(&expected[0]).unwrap();
    let second: Vec<ream_lab::Observation> = serde_json::from_slice(&expected[1]).unwrap();
    assert!(first.iter().any(|o| o.measure == "first") && second.iter().all(|o| o.measure != "first"));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["claims"][0]["verdict"], "confirmed");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

fn a_worker_killed_at_any_moment_goes_on() {
    let (_home, expected) = undisturbed();
    let home = tempfile::tempdir().unwrap();
    for (turn, delay) in [0_u64, 3, 17, 40, 90, 150].into_iter().enumerate() {
        let dir = make(home.path(), &format!("kill-{turn}"), config(40, 3));
        let mut launcher = start(&dir);
        wait_for(|| pid(&dir, 1).is_some());
        std::thread::sleep(Duration::from_millis(delay));
        signal("-9", pid(&dir, 1).unwrap());
        let status = launcher.wait().unwrap();
        assert!(!status.success(), "the launcher reports the death");
        assert_eq!(finish(&dir), expected, "killed after {delay} ms");
        let events = ream_lab::events::read(&dir.join("seed-1/events.jsonl")).unwrap();
        let steps = events.iter().filter(|e| matches!(e, ream_lab::events::Event::Metric { .. })).count();
        assert_eq!(steps, 80, "rewound events are not read twice");
    }
}

fn a_launcher_killed_leaves_its_workers_to_be_adopted() {
    let (_home, expected) = undisturbed();
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "orphans", config(40, 10));
    let mut launcher = start(&dir);
    wait_for(|| pid(&dir, 1).is_some() && pid(&dir, 2).is_some());
    std::thread::sleep(Duration::from_millis(50));
    signal("-9", launcher.id());
    launcher.wait().unwrap();
    let before = (pid(&dir, 1), pid(&dir, 2));
    assert_eq!(finish(&dir), expected);
    assert_eq!((pid(&dir, 1), pid(&dir, 2)), before, "no second worker was started");
}

fn interrupting_leaves_a_resumable_run() {
    let (_home, expected) = undisturbed();
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "interrupted", config(40, 20));
    let mut launcher = start(&dir);
    wait_for(|| pid(&dir, 1).is_some() && pid(&dir, 2).is_some());
    std::thread::sleep(Duration::from_millis(300));
    signal("-INT", launcher.id());
    assert!(!launcher.wait().unwrap().success());
    let exit = std::fs::read_to_string(dir.join("seed-1/exit")).unwrap();
    assert!(exit.contains("cancelled"), "{exit}");
    assert!(!dir.join("seed-1/observations.json").exists());
    assert_eq!(finish(&dir), expected);
}

fn the_cancel_file_stops_workers() {
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "cancelled", config(4000, 5));
    let mut launcher = start(&dir);
    wait_for(|| pid(&dir, 1).is_some() && pid(&dir, 2).is_some());
    std::fs::write(dir.join("cancel"), "").unwrap();
    assert!(!launcher.wait().unwrap().success());
    assert!(std::fs::read_to_string(dir.join("seed-2/exit")).unwrap().contains("cancelled"));
}

fn two_launchers_on_one_run_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "twice", config(40, 10));
    let mut first = start(&dir);
    wait_for(|| pid(&dir, 1).is_some());
    let opened = RunDir::open(&dir).unwrap().0;
    assert!(ream_lab::driven(&opened));
    let second = program().stderr(Stdio::piped()).arg("launch").arg(&dir).output().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("already being driven") && text.contains(&format!("pid {}", first.id())), "{text}");
    let third = program()
        .stderr(Stdio::piped())
        .arg("worker")
        .arg(&dir)
        .args(["--seed", "1", "--threads", "1"])
        .output()
        .unwrap();
    assert!(String::from_utf8(third.stderr).unwrap().contains("another worker"));
    assert!(first.wait().unwrap().success(), "the first one is not disturbed");
    assert!(!ream_lab::driven(&opened));
}

/// A limit on the size of files stands in for a full disk: no root is needed for it.
fn a_full_disk_is_an_error_and_the_run_goes_on_later() {
    let home = tempfile::tempdir().unwrap();
    let mut chatty = config(40, 1);
    chatty["chatter"] = 2000.into();
    let calm = make(home.path(), "room", chatty.clone());
    let expected = finish(&calm);
    let dir = make(home.path(), "full", chatty);
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec '{}' worker '{}' --seed 1 --threads 1",
        exe.display(),
        dir.display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("cannot write") && text.contains("--resume") && !text.contains("panicked"),
        "{text}"
    );
    assert!(!dir.join("seed-1/exit").exists(), "a full disk is not the seed's failure");
    assert_eq!(finish(&dir), expected);
}

fn a_failed_seed_is_tried_again_only_on_request() {
    let home = tempfile::tempdir().unwrap();
    let mut failing = config(20, 1);
    failing["fail_seed"] = 2.into();
    let dir = make(home.path(), "failing", failing);
    assert!(!start(&dir).wait().unwrap().success());
    assert!(std::fs::read_to_string(dir.join("seed-2/exit")).unwrap().contains("told to fail"));
    assert!(dir.join("seed-1/observations.json").exists(), "the other seed is not lost");
    let first_try = std::fs::read_to_string(dir.join("seed-2/lock")).unwrap();
    assert!(!start(&dir).wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(dir.join("seed-2/lock")).unwrap(), first_try, "not tried again");
    program().env("RETRY", "1").arg("launch").arg(&dir).status().unwrap();
    assert_ne!(std::fs::read_to_string(dir.join("seed-2/lock")).unwrap(), first_try, "tried again");
}

fn a_worker_that_wants_too_much_memory_dies_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut greedy = config(4, 1);
    greedy["hoard"] = 600.into();
    let dir = make(home.path(), "greedy", greedy);
    let limited = |mib: &str| {
        let output =
            program().env("MEMORY_MIB", mib).stderr(Stdio::piped()).arg("launch").arg(&dir).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, said) = limited("400");
    assert!(!done && said.contains("memory allocation of") && said.contains("it may use 400 MiB"), "{said}");
    assert!(!dir.join("seed-1/exit").exists(), "a worker that was stopped from outside can go on");
    let (done, said) = limited("900");
    assert!(done, "{said}");
}

fn a_newer_run_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = make(home.path(), "newer", config(1, 0));
    let path = dir.join("run.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("format = 1", "format = 2\nwarp = true");
    std::fs::write(&path, &text).unwrap();
    let error = RunDir::open(&dir).unwrap_err();
    assert!(error.to_string().contains("newer version") && error.exit_code() == 2, "{error}");
    std::fs::write(&path, "format = 1\nid = 3\n").unwrap();
    assert!(RunDir::open(&dir).unwrap_err().to_string().contains("run.toml: line"));
}

fn a_directory_that_cannot_be_made_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = RunDir::create(&file.join("runs"), &record("x", config(1, 0))).unwrap_err();
    assert!(error.to_string().starts_with("cannot create"), "{error}");
}

//! Everything the CI checks, in the order in which it fails fastest.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::packages;
use crate::shell::{Result, build, cargo, output, run};

type Step = (&'static str, fn(&Options) -> Result<()>);

/// What can be asked of single steps.
pub(crate) struct Options {
    /// How often writers and servers are killed on each database; the test's own number where absent.
    pub(crate) crash_rounds: Option<u32>,
}

const STEPS: [Step; 8] = [
    ("format", |_| format()),
    ("lint", |_| lint()),
    ("packages", |_| packages::install()),
    ("test", test),
    ("doc", |_| doc()),
    ("data", |_| data()),
    ("smoke", |_| smoke()),
    ("readme", |_| readme()),
];

/// Runs the named steps, or all.
pub(crate) fn check(wanted: &[String], options: &Options) -> Result<()> {
    for name in wanted {
        if !STEPS.iter().any(|(step, _)| step == name) {
            let all: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
            return Err(format!("there is no step `{name}`; they are {}", all.join(", ")));
        }
    }
    let begun = Instant::now();
    for (name, step) in STEPS.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name))
    {
        let start = Instant::now();
        println!("== {name}");
        step(options)?;
        println!("== {name}: ok, {:.0} s", start.elapsed().as_secs_f64());
    }
    println!("all checks passed in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> Result<()> {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// With the optional features on: they have tests of their own, and one build serves tests and smoke runs.
const FEATURES: [&str; 2] = ["--features", "ream/parquet"];

/// Models that tests compare with their reference: a test of one fails where it is not fetched.
const TEST_MODELS: [&str; 2] = ["minilm", "smollm2"];

fn test(options: &Options) -> Result<()> {
    let program = build("ci", &FEATURES)?;
    for model in TEST_MODELS {
        fetch(&program, &[model])?;
    }
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--locked", "--profile", "ci"]).args(FEATURES);
    tests.env("REAM_TEST_MODELS", "1").env("REAM_AXE", packages::axe()?);
    if let Some(rounds) = options.crash_rounds {
        tests.env("REAM_CRASH_ROUNDS", rounds.to_string());
    }
    run(&mut tests)
}

fn doc() -> Result<()> {
    run(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Fetches what the smoke presets need.
fn data() -> Result<()> {
    let program = build("ci", &FEATURES)?;
    for slug in implemented(&program)? {
        fetch(&program, &["--for", &slug])?;
    }
    Ok(())
}

/// `ream data fetch --yes` with these arguments; a registry may be slow to answer, so it is asked three times.
fn fetch(program: &Path, what: &[&str]) -> Result<()> {
    let fetch = || run(Command::new(program).args(["data", "fetch", "--yes"]).args(what));
    fetch()
        .or_else(|_| {
            list_debian_packages();
            fetch()
        })
        .or_else(|_| fetch())
}

/// A new machine knows no Debian package yet. Without the right to ask, or without `apt-get`, the fetch says what is missing.
fn list_debian_packages() {
    if let Err(error) = run(Command::new("apt-get").args(["-qq", "update"])) {
        println!("{error}");
    }
}

fn implemented(program: &Path) -> Result<Vec<String>> {
    let papers = json(Command::new(program).args(["papers", "--implemented", "--json"]))?;
    let slugs = papers.as_array().ok_or("`ream papers --json` is no array")?;
    Ok(slugs.iter().filter_map(|p| p["slug"].as_str().map(str::to_owned)).collect())
}

fn json(command: &mut Command) -> Result<Value> {
    let text = output(command)?;
    serde_json::from_str(&text).map_err(|e| format!("{}: not JSON: {e}", crate::shell::words(command)))
}

/// Every system's smoke preset on one thread and on two (identical observations), and with another seed (some measure
/// differs).
fn smoke() -> Result<()> {
    let program = build("ci", &FEATURES)?;
    let runs = tempfile::tempdir().map_err(|e| e.to_string())?;
    for slug in implemented(&program)? {
        let one = smoke_run(&program, runs.path(), &slug, &["--threads", "1"])?;
        let two = smoke_run(&program, runs.path(), &slug, &["--threads", "2"])?;
        if one.digest != two.digest {
            return Err(format!("{slug}: observations differ between one thread and two"));
        }
        let other = smoke_run(&program, runs.path(), &slug, &["--seeds", "90001,"])?;
        if other.first_seed_values() == one.first_seed_values() {
            return Err(format!("{slug}: another seed changes nothing"));
        }
        println!("{slug}: {:.1} s on one thread, {:.1} s on two", one.seconds, two.seconds);
    }
    Ok(())
}

struct Smoke {
    observations: Vec<Value>,
    /// Of all observations but those of times.
    digest: String,
    seconds: f64,
}

impl Smoke {
    fn first_seed_values(&self) -> Vec<String> {
        let first = self.observations.first().and_then(Value::as_array);
        first.map(|o| o.iter().map(|v| v["value"].to_string()).collect()).unwrap_or_default()
    }
}

fn smoke_run(program: &Path, runs: &Path, slug: &str, more: &[&str]) -> Result<Smoke> {
    let done = json(Command::new(program).arg("--runs").arg(runs).args(["run", slug, "--json"]).args(more))?;
    let name = done["run"].as_str().ok_or("`ream run --json` names no run")?;
    let folder = runs.join(name);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("observations.json").is_file())
        .collect();
    seeds.sort();
    let read = |path: &std::path::PathBuf| -> Result<Value> {
        let file = path.join("observations.json");
        let bytes = std::fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", file.display()))
    };
    let observations = seeds.iter().map(read).collect::<Result<Vec<Value>>>()?;
    if observations.iter().all(|o| o.as_array().is_none_or(Vec::is_empty)) {
        return Err(format!("{slug}: nothing was observed"));
    }
    let report =
        std::fs::read(folder.join("report.json")).map_err(|e| format!("{slug}: report.json: {e}"))?;
    let report: Value = serde_json::from_slice(&report).map_err(|e| format!("{slug}: report.json: {e}"))?;
    let digest =
        report["digest"].as_str().ok_or_else(|| format!("{slug}: the report has no digest"))?.to_owned();
    Ok(Smoke { observations, digest, seconds: done["seconds"].as_f64().unwrap_or(0.0) })
}

/// The README's first command, word for word.
fn readme() -> Result<()> {
    run(cargo().args(["run", "--locked", "--release", "--", "run", "icl-gd"]))
}

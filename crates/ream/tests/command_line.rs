//! The built program as a person uses it: typos, wrong values, missing files; what it prints and with which exit code.

use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;
use serde_json::Value;

#[allow(clippy::expect_used, reason = "only called by tests")]
fn ream(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ream"))
        .args(args)
        .env("REAM_HOME", home)
        .env("NO_COLOR", "1")
        .output()
        .expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", out(output), err(output)))
}

/// One error, exit code 2, nothing written.
#[allow(clippy::expect_used, reason = "only called by tests")]
fn refused(args: &[&str], wanted: &[&str]) {
    let home = tempfile::tempdir().expect("a folder");
    let output = ream(home.path(), args);
    let message = err(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?} printed: {}", out(&output));
    for part in wanted {
        assert!(message.contains(part), "{args:?}: wanted `{part}` in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
    let left = std::fs::read_dir(home.path()).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0, "{args:?} left files behind");
}

fn refused_in(home: &Path, args: &[&str], wanted: &str) {
    let output = ream(home, args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
    assert!(err(&output).contains(wanted), "{args:?}: {}", err(&output));
}

#[test]
fn what_is_no_language_model_is_refused() {
    refused(&["lm", "complete", "nowhere.gguf", "hello"], &["there is no file nowhere.gguf", "GGUF"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("broken.gguf");
    std::fs::write(&file, b"GGUF\x03\0\0\0\xff\xff\xff\xff").expect("a file");
    let file = file.display().to_string();
    refused(&["lm", "bench", &file], &["broken.gguf", "byte"]);
    refused(&["lm", "complete", &file, "--temperature", "-1", "hello"], &["temperature", "-1"]);
    refused(&["data", "path", "smollm3"], &["smollm3", "did you mean `smollm2`?"]);
    let home = tempfile::tempdir().expect("a folder");
    let missing = ream(home.path(), &["lm", "chat", "smollm2"]);
    assert_eq!(missing.status.code(), Some(3), "{}", err(&missing));
    assert!(err(&missing).contains("ream data fetch smollm2"), "{}", err(&missing));
}

#[test]
fn typos_are_refused_with_the_nearest_name() {
    refused(&["run", "icl-dg"], &["there is no paper `icl-dg`", "did you mean `icl-gd`?"]);
    refused(&["show", "hydraa"], &["did you mean `hydra`?"]);
    refused(&["run", "ear"], &["has no system yet", "ream show ear"]);
    refused(&["run", "icl-gd", "--set", "stepz=3"], &["stepz", "unknown key"]);
    refused(&["run", "icl-gd", "--claims", "c99"], &["no claim `c99`", "c1"]);
    refused(&["run", "icl-gd", "--fail-on", "not confirmd"], &["did you mean `not confirmed`?"]);
    refused(&["papers", "--family", "casual"], &["did you mean `causal`?"]);
    refused(&["papers", "--verdict", "confirmd"], &["did you mean `confirmed`?"]);
    refused(&["pappers"], &["papers"]);
    refused(&["report", "nothing"], &["no run `nothing`", "ream runs list"]);
    refused(&["runs", "rm", "nothing"], &["no run `nothing`"]);
    refused(&["run", "--resume", "last"], &["no runs in"]);
    refused(&["data", "fetch", "compass"], &["compas"]);
}

#[test]
fn impossible_values_are_refused_with_what_would_be_right() {
    refused(&["run", "icl-gd", "--seeds", "0"], &["--seeds", "between 1 and"]);
    refused(&["run", "icl-gd", "--seeds", "3,3"], &["every seed once", "3 twice"]);
    refused(&["run", "icl-gd", "--seeds", "a"], &["a count such as 5"]);
    refused(&["run", "icl-gd", "--seeds", "999999999"], &["at most 100000"]);
    refused(&["run", "icl-gd", "--threads", "0"], &["at least 1"]);
    refused(&["run", "icl-gd", "--set", "steps"], &["KEY=VALUE"]);
    refused(&["run", "icl-gd", "--config", "missing.toml"], &["missing.toml"]);
    refused(&["run", "icl-gd", "--data", "missing.csv"], &["missing.csv"]);
    refused(&["papers", "--under", "soon"], &["2min"]);
    refused(&["run"], &["<PAPER>"]);
}

#[test]
fn the_list_of_papers_is_json_of_the_documented_shape() {
    let home = tempfile::tempdir().unwrap();
    let rows = json(&ream(home.path(), &["papers", "--json"]));
    for row in rows.as_array().unwrap() {
        for (key, good) in [
            ("slug", row["slug"].is_string()),
            ("title", row["title"].is_string()),
            ("date", row["date"].is_string() || row["date"].is_null()),
            ("family", row["family"].is_string()),
            ("implemented", row["implemented"].is_boolean()),
            ("claims", row["claims"].is_u64()),
            ("verdicts", row["verdicts"].is_object()),
        ] {
            assert!(good, "{key} of {row}");
        }
    }
    let causal = json(&ream(home.path(), &["papers", "--json", "--family", "causal"]));
    assert!(causal.as_array().unwrap().iter().all(|row| row["family"] == "causal"));
    assert!(!causal.as_array().unwrap().is_empty());
}

#[test]
fn claims_are_json_of_the_documented_shape() {
    let home = tempfile::tempdir().unwrap();
    let claims = json(&ream(home.path(), &["claims", "--json"]));
    let keys = [
        "paper",
        "claim",
        "statement",
        "metric",
        "paper_figure",
        "measured",
        "interval",
        "verdict",
        "checks",
        "seeds",
        "preset",
        "minutes",
        "stale",
        "deviations",
    ];
    for claim in claims.as_array().unwrap() {
        for key in keys {
            assert!(claim.get(key).is_some(), "{key} of {claim}");
        }
    }
}

#[test]
fn a_smoke_run_can_be_reported_compared_exported_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let done = json(&ream(home.path(), &["run", "icl-gd", "--json"]));
    assert_eq!((done["paper"].as_str(), done["preset"].as_str()), (Some("icl-gd"), Some("smoke")));
    assert!(done["seconds"].as_f64().unwrap() > 0.0);
    let id = done["run"].as_str().unwrap();
    let text = ream(home.path(), &["report", "last"]);
    assert!(out(&text).contains("smoke: not evidence"), "{}", out(&text));
    for format in ["md", "csv", "latex"] {
        assert!(out(&ream(home.path(), &["report", id, "--format", format])).contains("c1"));
    }
    let explained = out(&ream(home.path(), &["report", id, "--explain", "c1"]));
    assert!(explained.contains("rule:"), "{explained}");
    refused_in(home.path(), &["report", id, "--explain", "c77"], "no claim `c77`");
    assert!(out(&ream(home.path(), &["compare", id, "last"])).contains("difference"));
    assert!(out(&ream(home.path(), &["export-run", id, "--csv"])).starts_with("seed,measure"));
    assert!(out(&ream(home.path(), &["runs", "list"])).contains("finished"));
    assert!(out(&ream(home.path(), &["runs", "gc", "--older-than", "0"])).contains("would remove"));
    refused_in(home.path(), &["runs", "publish", id], "is not evidence: smoke");
    refused_in(home.path(), &["runs", "cancel", id], "is not running");
    assert!(ream(home.path(), &["runs", "rm", id]).status.success());
    assert!(!home.path().join("runs").join(id).exists());
}

#[test]
fn damaged_and_newer_run_directories_are_refused_and_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let done = json(&ream(home.path(), &["run", "icl-gd", "--json"]));
    let dir = home.path().join("runs").join(done["run"].as_str().unwrap());
    let record = dir.join("run.toml");
    let good = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, good.replace("format = 1", "format = 9")).unwrap();
    refused_in(home.path(), &["report", "last"], "newer version");
    std::fs::write(&record, &good[..good.len() / 2]).unwrap();
    refused_in(home.path(), &["run", "--resume", "last"], "run.toml");
    std::fs::write(&record, &good).unwrap();
    let observations = dir.join("seed-1/observations.json");
    let kept = std::fs::read(&observations).unwrap();
    std::fs::write(&observations, "[{]").unwrap();
    refused_in(home.path(), &["report", "last"], "damaged");
    std::fs::write(&observations, kept).unwrap();
    assert!(ream(home.path(), &["report", "last"]).status.success());
}

#[test]
fn a_configuration_can_be_printed_changed_and_fed_back() {
    let home = tempfile::tempdir().unwrap();
    let text = out(&ream(home.path(), &["config", "icl-gd"]));
    assert!(text.contains("# icl-gd, smoke preset"), "{text}");
    let file = home.path().join("c.toml");
    std::fs::write(&file, &text).unwrap();
    let dry = json(&ream(
        home.path(),
        &["run", "icl-gd", "--config", file.to_str().unwrap(), "--dry-run", "--json"],
    ));
    assert_eq!(dry["modified"], false, "a configuration printed and read again is the preset");
    assert!(!home.path().join("runs").exists(), "a dry run writes nothing");
}

#[test]
fn a_home_that_cannot_be_written_is_one_clear_error() {
    let home = tempfile::tempdir().unwrap();
    // A file where the folder should be: works for root too, who may write anywhere.
    std::fs::write(home.path().join("runs"), "").unwrap();
    let output = ream(home.path(), &["run", "icl-gd"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).starts_with("error: cannot create"), "{}", err(&output));
}

#[test]
fn help_completions_and_manual_are_there() {
    let home = tempfile::tempdir().unwrap();
    assert!(out(&ream(home.path(), &[])).contains("Try first"));
    assert!(out(&ream(home.path(), &["run", "--help"])).contains("--resume"));
    assert!(out(&ream(home.path(), &["completions", "bash"])).contains("ream"));
    assert!(out(&ream(home.path(), &["man"])).contains(".TH ream"));
    assert!(out(&ream(home.path(), &["papers"])).contains("icl-gd"));
    assert!(out(&ream(home.path(), &["show", "icl-gd"])).contains("rule:"));
    assert!(out(&ream(home.path(), &["claims", "--markdown"])).contains("| paper"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_set_makes_it_panic(text in "[a-z_.]{0,10}=?[ -~]{0,16}") {
        let home = tempfile::tempdir().expect("a folder");
        let output = ream(home.path(), &["run", "icl-gd", "--dry-run", &format!("--set={text}")]);
        prop_assert!(matches!(output.status.code(), Some(0 | 2)), "{}", err(&output));
    }
}

//! `cargo xtask bench search`: does the catalogue's search find the right paper, and how fast?
//!
//! Three parts, each of which can be asked for by itself with `--only`; the others keep what the file has of them. `quality` and `time` are
//! measured by the program `bench-search`, which needs the data sets `gene-ontology`, `lee` and `minilm` (`ream data fetch`) and keeps its
//! catalogue of 37,841 terms in the target folder: the first run embeds it, which takes minutes. `growth` is measured by the example
//! `search_rate` of `ream-catalog` on up to a million made-up papers. `time` and `growth` want a machine that does nothing else.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{commit, date, is_clean, load};
use crate::shell::{Result, cargo, output, run, target, words};

/// The parts, and what measures them.
pub(super) const PARTS: [&str; 3] = ["quality", "time", "growth"];

/// What a file of this suite says.
#[derive(Serialize)]
pub(super) struct Report {
    /// By name: what was measured, when and at which commit.
    parts: Map<String, Value>,
}

/// Measures the parts asked for, all when none is; the rest comes from the file of an earlier run.
pub(super) fn measure(only: &[String], file: &Path) -> Result<Report> {
    if let Some(unknown) = only.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(format!("search has no part `{unknown}`; they are {}", PARTS.join(", ")));
    }
    let mut parts = earlier(file);
    let target = target()?;
    for part in PARTS.into_iter().filter(|part| only.is_empty() || only.iter().any(|o| o == part)) {
        let load_before = load();
        let (command, measured) = if part == "growth" { growth()? } else { ontology(part, &target)? };
        let entry = json!({
            "command": command,
            "date": date()?,
            "commit": commit()?,
            "clean": is_clean()?,
            "load_before": load_before,
            "measured": measured,
        });
        parts.insert(part.to_owned(), entry);
    }
    Ok(Report { parts })
}

/// The parts that a file has.
fn earlier(file: &Path) -> Map<String, Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let record: Value = serde_json::from_str(&text).unwrap_or_default();
    record["parts"].as_object().cloned().unwrap_or_default()
}

/// A part on the Gene Ontology, and the command that measured it.
fn ontology(part: &str, target: &Path) -> Result<(String, Value)> {
    run(cargo().args(["build", "--locked", "--release", "--package", "bench-search"]))?;
    let mut command = std::process::Command::new(target.join("release/bench-search"));
    command.arg(part).arg(target.join("bench-search"));
    Ok((format!("bench-search {part}"), parsed(&output(&mut command)?)?))
}

/// How time, memory and size grow: made-up papers of these numbers.
const SIZES: [&str; 4] = ["10000", "37841", "100000", "1000000"];

fn growth() -> Result<(String, Value)> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--release", "--package", "ream-catalog"]);
    command.args(["--example", "search_rate", "--", "--json"]).args(SIZES);
    let rows = output(&mut command)?.lines().map(parsed).collect::<Result<Vec<Value>>>()?;
    Ok((words(&command), rows.into()))
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| format!("not one JSON value: {e}\n{text}"))
}

/// Where the suite's file is.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("search.json")
}

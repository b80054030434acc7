//! `/compare?a=&b=`: two runs of one paper side by side.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use ream_lab::report::text::comparison;
use ream_lab::{ClaimReport, Report};
use serde::Deserialize;
use serde_json::Value;

use super::list::{RunSummary, summaries};
use super::tables::TableView;
use super::{blocking, open};
use crate::error::{Error, Result};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

/// Which runs.
#[derive(Deserialize)]
pub(super) struct Pair {
    a: Option<String>,
    b: Option<String>,
}

#[derive(Template)]
#[template(path = "runs/compare.html")]
struct Compare<'a> {
    shell: &'a Shell,
    a: String,
    b: String,
    paper: String,
    title: String,
    /// What differs: name, first, second.
    inputs: Vec<[String; 3]>,
    claims: Vec<[String; 4]>,
    measures: Option<TableView>,
    /// Runs to choose from.
    runs: Vec<RunSummary>,
}

/// `GET /compare`
pub(super) async fn show(State(app): State<App>, Query(pair): Query<Pair>, shell: Shell) -> Result<Response> {
    let view = blocking(move || match (pair.a.filter(|a| !a.is_empty()), pair.b.filter(|b| !b.is_empty())) {
        (Some(a), Some(b)) => both(&app, &a, &b).map(Choice::Both),
        (a, b) => Ok(Choice::Form(choose(&app, &a.or(b).unwrap_or_default())?)),
    })
    .await??;
    match view {
        Choice::Both(both) => {
            let (left, right, measures) = *both;
            page(&Compare {
                shell: &shell,
                a: left.run.clone(),
                b: right.run.clone(),
                paper: left.paper.clone(),
                title: left.title.clone(),
                inputs: inputs(&left, &right),
                claims: left.claims.iter().zip(&right.claims).map(|(x, y)| verdicts(x, y)).collect(),
                measures: Some(measures),
                runs: Vec::new(),
            })
        }
        Choice::Form((a, runs)) => page(&Compare {
            shell: &shell,
            a,
            b: String::new(),
            paper: String::new(),
            title: String::new(),
            inputs: Vec::new(),
            claims: Vec::new(),
            measures: None,
            runs,
        }),
    }
}

type Sides = Box<(std::sync::Arc<Report>, std::sync::Arc<Report>, TableView)>;

enum Choice {
    Both(Sides),
    Form((String, Vec<RunSummary>)),
}

fn both(app: &App, a: &str, b: &str) -> Result<Sides> {
    let report = |id: &str| {
        let (dir, record) = open(app, id)?;
        app.reports.of(app, &dir, &record)
    };
    let (left, right) = (report(a)?, report(b)?);
    let table = comparison(&left, &right).map_err(|e| Error::bad_request("bad_input", e.to_string()))?;
    Ok(Box::new((left, right, TableView::new(&table, None))))
}

/// Runs to compare with: of the same paper once one is chosen.
fn choose(app: &App, a: &str) -> Result<(String, Vec<RunSummary>)> {
    let mut runs = summaries(app)?;
    if !a.is_empty() {
        let (_, record) = open(app, a)?;
        runs.retain(|run| run.paper == record.paper && run.id != record.id);
    }
    runs.truncate(200);
    Ok((a.to_owned(), runs))
}

fn verdicts(left: &ClaimReport, right: &ClaimReport) -> [String; 4] {
    let words = |claim: &ClaimReport| {
        let figure = ream_lab::report::text::figure_words(claim.measured, claim.interval);
        format!("{} {} {figure}", claim.verdict.mark(), claim.verdict)
    };
    [left.claim.clone(), left.statement.clone(), words(left), words(right)]
}

/// Keys of the configuration that differ, and what else decides a run.
pub(super) fn inputs(left: &Report, right: &Report) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let mut add = |name: &str, a: String, b: String| {
        if a != b {
            rows.push([name.to_owned(), a, b]);
        }
    };
    let (a, b) = (&left.record, &right.record);
    add("preset", a.preset.name().to_owned(), b.preset.name().to_owned());
    add("seeds", numbers(&a.seeds), numbers(&b.seeds));
    add("threads", a.threads.to_string(), b.threads.to_string());
    add("sources", a.code.sources.clone(), b.code.sources.clone());
    add("crates below", a.code.substrate.clone(), b.code.substrate.clone());
    add("instruction set", a.isa.clone(), b.isa.clone());
    add("processor", a.machine.cpu.clone(), b.machine.cpu.clone());
    let own =
        |record: &ream_lab::RunRecord| record.own_data.as_ref().map(|o| o.sha256.clone()).unwrap_or_default();
    add("own data", own(a), own(b));
    let sets: BTreeSet<&String> = a.data.keys().chain(b.data.keys()).collect();
    for id in sets {
        let hash = |record: &ream_lab::RunRecord| record.data.get(id).cloned().unwrap_or_default();
        add(&format!("data {id}"), hash(a), hash(b));
    }
    differences("", &a.config, &b.config, &mut rows);
    rows
}

fn numbers(seeds: &[u64]) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Keys whose values differ, down to the innermost tables.
fn differences(prefix: &str, a: &Value, b: &Value, rows: &mut Vec<[String; 3]>) {
    if let (Value::Object(x), Value::Object(y)) = (a, b) {
        let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        for key in keys {
            let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
            differences(&dotted, &side(x), &side(y), rows);
        }
    } else if a != b {
        let words = |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
        rows.push([prefix.to_owned(), words(a), words(b)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_in_inner_tables() {
        let mut rows = Vec::new();
        let a = serde_json::json!({ "x": 1, "t": { "y": 2, "z": 3 }, "only": "a" });
        let b = serde_json::json!({ "x": 1, "t": { "y": 2, "z": 4 } });
        differences("", &a, &b, &mut rows);
        assert_eq!(rows, [["only", "\"a\"", "none"], ["t.z", "3", "4"]].map(|row| row.map(str::to_owned)));
    }
}

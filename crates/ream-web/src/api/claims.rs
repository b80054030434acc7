//! Claims, verdicts, families, the order of lists.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use ream_catalog::{Sort, ranking};
use ream_paper::Family;
use serde::Serialize;

use super::papers::stored;
use super::{Result, json};
use crate::marks::Mark;
use crate::pages::now;
use crate::pages::scoreboard::{Filters, about, family_named, kept};
use crate::params::ApiParams;
use crate::state::App;

/// `GET /claims`
pub(super) async fn claims(
    State(app): State<App>,
    ApiParams(filters): ApiParams<Filters>,
) -> Result<Response> {
    let filters = filters.checked()?;
    let board = app.board();
    json(&kept(&app, &board, &filters))
}

/// A family with its counts.
#[derive(Serialize)]
struct FamilyRow {
    name: &'static str,
    papers: usize,
    runs: usize,
    claims: usize,
}

/// `GET /families`
pub(super) async fn families(State(app): State<App>) -> Result<Response> {
    let row = |family: Family| {
        let entries = || app.site.edition.entries.iter().filter(|e| e.paper.family == family);
        FamilyRow {
            name: family.name(),
            papers: entries().count(),
            runs: entries().filter(|e| e.system.is_some()).count(),
            claims: entries().map(|e| e.paper.claims.len()).sum(),
        }
    };
    json(&Family::ALL.map(row))
}

/// A family with its papers.
#[derive(Serialize)]
struct FamilyData<'a> {
    name: &'static str,
    about: &'static str,
    papers: Vec<Bench<'a>>,
}

/// A paper in the table of its family.
#[derive(Serialize)]
struct Bench<'a> {
    slug: &'a str,
    title: &'a str,
    topic: &'a str,
    runs: bool,
    claims: usize,
    verdicts: BTreeMap<&'static str, usize>,
    minutes: Option<f64>,
    expected_minutes: Option<f64>,
}

/// `GET /families/{family}`
pub(super) async fn family(State(app): State<App>, Path(name): Path<String>) -> Result<Response> {
    let family = family_named(&name)?;
    let board = app.board();
    let entries = app.site.edition.entries.iter().filter(|entry| entry.paper.family == family);
    let bench = entries.map(|entry| {
        let shown = board.papers.get(&entry.paper.slug);
        let mut verdicts = BTreeMap::new();
        for report in shown.map(|shown| shown.reports.as_slice()).unwrap_or_default() {
            *verdicts.entry(report.verdict.name()).or_default() += 1;
        }
        Bench {
            slug: &entry.paper.slug,
            title: &entry.paper.title,
            topic: &entry.paper.topic,
            runs: entry.system.is_some(),
            claims: entry.paper.claims.len(),
            verdicts,
            minutes: shown.and_then(|shown| shown.minutes),
            expected_minutes: shown.and_then(|shown| shown.expected),
        }
    });
    json(&FamilyData { name: family.name(), about: about(family), papers: bench.collect() })
}

/// `GET /verdicts`
pub(super) async fn verdicts() -> Result<Response> {
    json(&Mark::all())
}

/// An order with how it is computed, or why a paper stands where it does.
#[derive(Serialize)]
struct OrderRow {
    sort: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Change {
    version: u32,
    date: &'static str,
    text: &'static str,
}

#[derive(Serialize)]
struct Ranking {
    version: u32,
    formulas: Vec<OrderRow>,
    changes: Vec<Change>,
}

/// `GET /ranking`
pub(super) async fn orders() -> Result<Response> {
    let formula = |sort: Sort| OrderRow { sort: sort.name(), text: ranking::formula(sort).to_owned() };
    let change =
        |(version, date, text): &(u32, &'static str, &'static str)| Change { version: *version, date, text };
    json(&Ranking {
        version: ranking::VERSION,
        formulas: Sort::ALL.into_iter().map(formula).collect(),
        changes: ranking::CHANGES.iter().map(change).collect(),
    })
}

/// `GET /papers/{handle}/ranking`
pub(super) async fn why(State(app): State<App>, Path(handle): Path<String>) -> Result<Response> {
    let paper = stored(&app, &handle).await?;
    let now = now();
    let row = |sort: Sort| OrderRow { sort: sort.name(), text: ranking::explain(&paper, sort, now) };
    json(&Sort::ALL.map(row))
}

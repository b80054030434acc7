//! Papers, search, authors, organisations.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use ream_catalog::{FeedQuery, Named, Names, Sort, Stored};
use ream_lab::ClaimReport;
use ream_paper::Deviation;
use serde::{Deserialize, Serialize};

use super::{Result, json};
use crate::address::segment;
use crate::error::Error;
use crate::pages::feed::ListParams;
use crate::pages::search::SearchParams;
use crate::params::ApiParams;
use crate::state::App;

/// Papers of a page, unless asked otherwise.
const PAGE: u32 = 30;

/// A page of anything.
#[derive(Serialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
    total: u64,
}

/// A paper with its address.
#[derive(Serialize)]
struct Paper<'a> {
    url: String,
    #[serde(flatten)]
    paper: &'a Stored,
    /// Its claims in full; only where one paper is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a [ClaimReport]>,
    /// What running it takes; only there, and where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<SystemRow>,
    /// Where the experiments differ from the paper's, and remarks; only there.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    deviations: &'a [Deviation],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

/// What running a paper takes.
#[derive(Serialize)]
struct SystemRow {
    command: String,
    /// Of the last full run.
    minutes: Option<f64>,
    /// Of one seed, as the system expects.
    expected_minutes: Option<f64>,
    /// When the claims were measured, seconds since 1970.
    measured: Option<i64>,
}

impl<'a> Paper<'a> {
    fn new(paper: &'a Stored) -> Self {
        Self {
            url: format!("/papers/{}", segment(&paper.handle)),
            paper,
            claims: None,
            system: None,
            deviations: &[],
            notes: &[],
        }
    }
}

async fn page(app: &App, params: &ListParams, narrow: impl FnOnce(&mut FeedQuery)) -> Result<Response> {
    let mut wanted = params.wanted(Sort::Newest, PAGE)?;
    narrow(&mut wanted.query);
    let page = app.store().feed(&wanted.query).await?;
    json(&Page {
        items: page.items.iter().map(Paper::new).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
        total: page.total,
    })
}

/// `GET /papers`
pub(super) async fn list(
    State(app): State<App>,
    ApiParams(params): ApiParams<ListParams>,
) -> Result<Response> {
    page(&app, &params, |_| {}).await
}

pub(super) async fn stored(app: &App, handle: &str) -> Result<Stored> {
    let missing = || Error::not_found(format!("There is no paper “{handle}” here."));
    Ok(app.store().get(handle).await?.ok_or_else(missing)?)
}

/// `GET /papers/{handle}`
pub(super) async fn one(State(app): State<App>, Path(handle): Path<String>) -> Result<Response> {
    let paper = stored(&app, &handle).await?;
    let slug = paper.edition.as_ref().map(|e| e.slug.as_str());
    let shown = slug.and_then(|slug| app.board().papers.get(slug).map(Arc::clone));
    let entry = slug.and_then(|slug| app.site.edition.get(slug).ok());
    let system = entry.filter(|entry| entry.system.is_some()).zip(shown.as_deref());
    json(&Paper {
        claims: shown.as_ref().map(|s| s.reports.as_slice()),
        system: system.map(|(entry, shown)| SystemRow {
            command: shown.command(&entry.paper.slug),
            minutes: shown.minutes,
            expected_minutes: shown.expected,
            measured: shown.measured,
        }),
        deviations: entry.map(|entry| entry.paper.deviations.as_slice()).unwrap_or_default(),
        notes: entry.map(|entry| entry.paper.notes.as_slice()).unwrap_or_default(),
        ..Paper::new(&paper)
    })
}

/// A similar paper.
#[derive(Serialize)]
struct SimilarRow {
    handle: String,
    url: String,
    title: String,
    score: f32,
    why: String,
}

/// `GET /papers/{handle}/similar`
pub(super) async fn similar(State(app): State<App>, Path(handle): Path<String>) -> Result<Response> {
    let paper = stored(&app, &handle).await?;
    let rows: Vec<SimilarRow> = app
        .similar(&paper.handle, 20)
        .await?
        .iter()
        .map(|alike| SimilarRow {
            url: format!("/papers/{}", segment(&alike.handle)),
            handle: alike.handle.clone(),
            title: alike.title.clone(),
            score: alike.score,
            why: alike.why.clone(),
        })
        .collect();
    json(&rows)
}

/// A hit of a search.
#[derive(Serialize)]
struct HitRow<'a> {
    #[serde(flatten)]
    paper: Paper<'a>,
    score: f32,
    why: &'a str,
    /// Pieces of text; `true` marks what was searched for.
    snippet: &'a [(String, bool)],
}

/// A facet with the counts of its values.
#[derive(Serialize)]
struct FacetRow<'a> {
    field: &'a str,
    values: Vec<Value<'a>>,
}

#[derive(Serialize)]
struct Value<'a> {
    value: &'a str,
    papers: u64,
}

#[derive(Serialize)]
struct SearchAnswer<'a> {
    items: Vec<HitRow<'a>>,
    next: Option<&'a str>,
    total: usize,
    facets: Vec<FacetRow<'a>>,
    notes: &'a [String],
}

/// `GET /search`
pub(super) async fn search(
    State(app): State<App>,
    ApiParams(pairs): ApiParams<Vec<(String, String)>>,
) -> Result<Response> {
    let params = SearchParams::read(pairs)?;
    let found = app.site.catalog.search(&params.query()).await?;
    json(&SearchAnswer {
        items: found
            .hits
            .iter()
            .map(|hit| HitRow {
                paper: Paper::new(&hit.paper),
                score: hit.score,
                why: &hit.why,
                snippet: &hit.snippet,
            })
            .collect(),
        next: found.next.as_deref(),
        total: found.total,
        facets: found
            .facets
            .iter()
            .map(|facet| FacetRow {
                field: &facet.field,
                values: facet.values.iter().map(|(value, papers)| Value { value, papers: *papers }).collect(),
            })
            .collect(),
        notes: &found.notes,
    })
}

/// How much there is.
#[derive(Serialize)]
struct CountRow {
    papers: u64,
    runs: u64,
    claims: std::collections::BTreeMap<String, u64>,
    families: std::collections::BTreeMap<String, u64>,
}

/// `GET /counts`
pub(super) async fn counts(State(app): State<App>) -> Result<Response> {
    let counts = app.store().count().await?;
    json(&CountRow {
        papers: counts.papers,
        runs: counts.runs,
        claims: counts.claims,
        families: counts.families,
    })
}

/// An author or organisation.
#[derive(Serialize)]
struct NameRow {
    handle: String,
    name: String,
    papers: u64,
}

impl From<Named> for NameRow {
    fn from(named: Named) -> Self {
        Self { handle: named.handle, name: named.name, papers: named.papers }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: String,
}

async fn names(app: &App, kind: Names, after: &str) -> Result<Response> {
    let page = app.store().names(kind, Some(after).filter(|a| !a.is_empty()), 300).await?;
    let items = page.items.into_iter().map(NameRow::from).collect();
    json(&Page { items, next: page.next, total: page.total })
}

/// `GET /authors`
pub(super) async fn authors(State(app): State<App>, ApiParams(params): ApiParams<After>) -> Result<Response> {
    names(&app, Names::Authors, &params.after).await
}

/// `GET /organisations`
pub(super) async fn organisations(
    State(app): State<App>,
    ApiParams(params): ApiParams<After>,
) -> Result<Response> {
    names(&app, Names::Organisations, &params.after).await
}

async fn named(app: &App, kind: Names, handle: &str) -> Result<Named> {
    let missing = || Error::not_found(format!("“{handle}” is not here."));
    Ok(app.store().named(kind, handle).await?.ok_or_else(missing)?)
}

/// `GET /authors/{handle}`: papers of an author.
pub(super) async fn author(
    State(app): State<App>,
    Path(handle): Path<String>,
    ApiParams(params): ApiParams<ListParams>,
) -> Result<Response> {
    let named = named(&app, Names::Authors, &handle).await?;
    page(&app, &params, |query| query.author = Some(named.handle)).await
}

/// `GET /organisations/{handle}`: papers of an organisation.
pub(super) async fn organisation(
    State(app): State<App>,
    Path(handle): Path<String>,
    ApiParams(params): ApiParams<ListParams>,
) -> Result<Response> {
    let named = named(&app, Names::Organisations, &handle).await?;
    page(&app, &params, |query| query.organisation = Some(named.handle)).await
}

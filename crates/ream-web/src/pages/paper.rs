//! A paper: summary, claims beside what was measured, what a re-run costs, its figure, runs, similar papers, exports.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ream_catalog::{Link, RunRow, Stored};
use ream_lab::time;
use ream_paper::{Deviation, Paper};

use crate::address::segment;
use crate::board::Shown;
use crate::error::{Error, Result};
use crate::feeds::{self, Alternate};
use crate::fetches::DataRow;
use crate::marks::{Mark, tally};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;
use crate::views::{self, Card, ClaimView, Linked};

/// Runs and similar papers that are listed.
const RUNS: u32 = 8;
const SIMILAR: usize = 6;
/// Authors that are named before `and n more`.
const NAMED: usize = 40;

#[derive(Template)]
#[template(path = "paper.html")]
struct PaperPage<'a> {
    shell: &'a Shell,
    /// The handle as a segment of an address.
    segment: String,
    card: Card,
    authors: Vec<Linked>,
    more_authors: String,
    kind: &'a str,
    topic: &'a str,
    venue: &'a str,
    doi: &'a str,
    arxiv: &'a str,
    links: Vec<&'a Link>,
    topics: &'a [String],
    summary: Vec<&'a str>,
    abstract_text: &'a str,
    system: Option<SystemView>,
    claims: Vec<ClaimView>,
    tally: Vec<(Mark, usize)>,
    properties: usize,
    /// What is to be known about the age of all claims; a claim says it itself where they differ.
    stale: &'static str,
    /// The figure, for the style in the head.
    figure: String,
    deviations: Vec<Deviation>,
    notes: &'a [String],
    runs: Vec<RunView>,
    similar: Vec<SimilarView>,
    exports: Vec<Alternate>,
    sources: Vec<String>,
}

/// What a paper that runs needs.
struct SystemView {
    command: String,
    cost: String,
    measured: bool,
    can_run: bool,
    /// Data sets that are not here.
    missing: Vec<DataRow>,
}

pub(crate) struct RunView {
    pub(crate) id: String,
    pub(crate) preset: String,
    pub(crate) state: String,
    pub(crate) date: String,
    pub(crate) took: String,
    pub(crate) evidence: bool,
}

impl RunView {
    pub(crate) fn new(run: &RunRow) -> Self {
        Self {
            id: run.id.clone(),
            preset: run.preset.clone(),
            state: run.state.clone(),
            date: time::utc(u64::try_from(run.created).unwrap_or(0)).replace('T', " ").replace('Z', " UTC"),
            took: run.seconds.map(time::span).unwrap_or_default(),
            evidence: run.evidence,
        }
    }
}

struct SimilarView {
    title: String,
    href: String,
    why: String,
}

/// `/papers/{handle}`, and the same with the ending of an export.
pub(crate) async fn paper(
    State(app): State<App>,
    shell: Shell,
    Path(name): Path<String>,
) -> Result<Response> {
    let (handle, export) = feeds::ending(&name);
    let stored = app.store().get(handle).await?.ok_or_else(|| unknown(handle))?;
    if stored.handle != handle {
        let rest = name.get(handle.len()..).unwrap_or_default();
        return Ok(moved(&format!("/papers/{}{rest}", segment(&stored.handle))));
    }
    if let Some(export) = export {
        return feeds::one(&shell, &stored, export);
    }
    let slug = stored.edition.as_ref().map(|e| e.slug.as_str());
    let entry = slug.and_then(|slug| app.site.edition.get(slug).ok());
    let shown = slug.and_then(|slug| app.board().papers.get(slug).map(Arc::clone));
    let runs = match slug {
        Some(slug) => app.store().runs(Some(slug), RUNS).await?,
        None => Vec::new(),
    };
    let similar = app.similar(handle, SIMILAR).await?;
    let similar = similar
        .iter()
        .map(|alike| SimilarView {
            href: format!("/papers/{}", segment(&alike.handle)),
            title: alike.title.clone(),
            why: alike.why.clone(),
        })
        .collect();
    let paper = entry.map(|e| &e.paper);
    let system = entry.filter(|e| e.system.is_some()).zip(shown.as_deref());
    let view = view(&shell, &stored, paper, shown.as_deref());
    let view = PaperPage {
        system: system.map(|(_, shown)| system_view(&app, &stored.handle, shown)),
        runs: runs.iter().map(RunView::new).collect(),
        similar,
        ..view
    };
    page(&view)
}

fn unknown(handle: &str) -> Error {
    Error::not_found(format!("There is no paper “{handle}” here. The search may find what is meant."))
}

fn moved(to: &str) -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response()
}

fn view<'a>(
    shell: &'a Shell,
    stored: &'a Stored,
    paper: Option<&'a Paper>,
    shown: Option<&Shown>,
) -> PaperPage<'a> {
    let record = &stored.record;
    let facts = stored.edition.as_ref();
    let claims: Vec<ClaimView> = match (paper, shown) {
        (Some(paper), Some(shown)) => shown.reports.iter().map(|r| ClaimView::new(paper, r)).collect(),
        _ => Vec::new(),
    };
    let deviations = paper
        .map(|p| p.deviations.iter().filter(|d| d.affects.is_empty()).map(views::deviation).collect())
        .unwrap_or_default();
    PaperPage {
        shell,
        segment: segment(&stored.handle),
        card: Card::new(stored),
        authors: views::authors(record, NAMED),
        more_authors: views::more_authors(record, NAMED),
        kind: facts.map_or("", |f| f.kind.as_str()),
        topic: facts.map_or("", |f| f.topic.as_str()),
        venue: record.venue.as_deref().unwrap_or_default(),
        doi: record.doi.as_deref().unwrap_or_default(),
        arxiv: record.arxiv.as_deref().unwrap_or_default(),
        links: record
            .links
            .iter()
            .filter(|l| views::is_web(&l.url) && !is_arxiv(l, record.arxiv.as_deref()))
            .collect(),
        topics: &record.topics,
        summary: facts.map(|f| paragraphs(&f.summary)).unwrap_or_default(),
        abstract_text: record.summary.as_deref().unwrap_or_default(),
        system: None,
        tally: tally(claims.iter().map(|c| c.mark.name)),
        properties: claims.iter().filter(|c| c.property).count(),
        stale: common_age(&claims),
        claims,
        figure: shown.map(|s| s.figure.clone()).unwrap_or_default(),
        deviations,
        notes: paper.map(|p| p.notes.as_slice()).unwrap_or_default(),
        runs: Vec::new(),
        similar: Vec::new(),
        exports: feeds::paper_exports(&stored.handle),
        sources: stored.sources.iter().map(|s| format!("{}: {}", s.kind, s.name)).collect(),
    }
}

/// The link to arXiv stands in the head of the page already.
fn is_arxiv(link: &Link, number: Option<&str>) -> bool {
    number.is_some_and(|n| link.url == format!("https://arxiv.org/abs/{n}"))
}

fn paragraphs(text: &str) -> Vec<&str> {
    text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).collect()
}

fn system_view(app: &App, slug: &str, shown: &Shown) -> SystemView {
    let cost = match (shown.minutes, shown.expected) {
        (Some(minutes), _) => format!("The last full run took {}.", views::minutes(minutes)),
        (None, Some(minutes)) => format!("About {} a seed on one core.", views::minutes(minutes)),
        (None, None) => "Seconds.".to_owned(),
    };
    SystemView {
        command: shown.command(slug),
        cost,
        measured: shown.minutes.is_some(),
        can_run: app.can_run(),
        missing: shown
            .data
            .iter()
            .filter_map(|id| Some(DataRow::new(app, ream_data::get(id).ok()?)))
            .filter(|row| !row.is_here())
            .collect(),
    }
}

/// What all claims say about their age, if they say the same.
fn common_age(claims: &[ClaimView]) -> &'static str {
    let first = claims.first().map_or("", |c| c.stale);
    if claims.iter().all(|c| c.stale == first) { first } else { "" }
}

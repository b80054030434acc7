//! `/runs/{id}`: a run while it goes on, and after it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use ream_lab::figure::{Theme, page_style};
use ream_lab::report::html::figure_block;
use ream_lab::report::text::measures_table;
use ream_lab::{Report, RunDir, RunRecord, time};

use super::claims::{ClaimView, not_evidence};
use super::limits::Allowance;
use super::live::Live;
use super::manager::standing;
use super::seeds::lines;
use super::stream::Progress;
use super::tables::TableView;
use super::{CHART_WIDTH, blocking, open, uploads};
use crate::error::{Error, Result};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

/// Bytes of a seed's events that a page reads: more is told by a run that forgot to stop telling.
pub(super) const MOST_EVENTS: u64 = 64 << 20;

/// Everything that the page shows.
struct RunView {
    id: String,
    paper: String,
    title: String,
    preset: &'static str,
    created: String,
    state: &'static str,
    progress: Progress,
    /// Whether it goes on or waits.
    moving: bool,
    can_cancel: bool,
    can_resume: bool,
    can_retry: bool,
    /// Why it cannot be resumed.
    other_code: String,
    /// Why it was stopped.
    stopped: String,
    limits: Option<Allowance>,
    seconds: String,
    not_evidence: String,
    /// How each seed stands.
    seeds: Vec<String>,
    /// Whether there is something to judge by.
    judged: bool,
    claims: Vec<ClaimView>,
    charts: Vec<Drawing>,
    figures: Vec<Drawing>,
    tables: Vec<TableView>,
    measures: TableView,
    samples: Vec<(String, String)>,
    warnings: Vec<String>,
    own_data: Option<(String, String)>,
    config: String,
    record: RunRecord,
    digest: String,
}

/// A figure as the lab draws it: escaped there, so it goes into the page as it is.
struct Drawing {
    name: String,
    html: String,
}

#[derive(Template)]
#[template(path = "runs/show.html")]
struct RunPage<'a> {
    shell: &'a Shell,
    run: &'a RunView,
    figure_style: String,
}

/// `GET /runs/{id}`
pub(super) async fn show(State(app): State<App>, Path(id): Path<String>, shell: Shell) -> Result<Response> {
    let run = blocking(move || {
        let (dir, record) = open(&app, &id)?;
        RunView::new(&app, &dir, record)
    })
    .await??;
    page(&RunPage { shell: &shell, run: &run, figure_style: page_style() })
}

impl RunView {
    fn new(app: &App, dir: &RunDir, record: RunRecord) -> Result<Self> {
        let place = app.manager.place(&record.id);
        let (state, finished) = standing(&place, dir, &record)?;
        let report = app.reports.of(app, dir, &record)?;
        let live = Live::new(dir.clone(), &record).read_all(MOST_EVENTS);
        let entry = app.site.edition.get(&record.paper)?;
        let moving = matches!(state, "queued" | "running" | "stopping");
        let same_code = entry.same_code(&record);
        let ended = !moving && state != "finished";
        let allowance = Allowance::read(dir);
        let samples = if moving { live_samples(&live) } else { report.samples.clone() };
        let warnings = live.warnings().into_iter().map(str::to_owned);
        Ok(Self {
            progress: Progress::new(&place, state, finished, &record, &live),
            moving,
            can_cancel: moving && state != "stopping",
            can_resume: ended && same_code.is_ok() && !report.unfinished.is_empty(),
            can_retry: ended && same_code.is_ok() && !report.failed.is_empty(),
            other_code: if ended {
                same_code.err().map(|e| e.to_string()).unwrap_or_default()
            } else {
                String::new()
            },
            stopped: allowance.as_ref().map(|a| a.stopped.clone()).filter(|_| !moving).unwrap_or_default(),
            limits: allowance,
            seconds: dir.wall_seconds()?.map(time::span).unwrap_or_default(),
            not_evidence: not_evidence(&report.not_evidence),
            seeds: lines(&record, &ream_lab::state(dir, &record)?, &live.steps(), &place),
            judged: !report.finished.is_empty(),
            claims: report.claims.iter().map(ClaimView::new).collect(),
            charts: draw_charts(&live)?,
            figures: draw_figures(dir, &report, &live)?,
            tables: report.tables.iter().enumerate().map(|(i, t)| TableView::new(t, Some(i + 1))).collect(),
            measures: TableView::new(&measures_table(&report), None),
            samples,
            warnings: if moving { warnings.collect() } else { report.warnings.clone() },
            own_data: record.own_data.as_ref().map(|own| {
                let path = own.path.display().to_string();
                (uploads::name_of(&app.site.home, &own.path).unwrap_or(path), own.sha256.clone())
            }),
            config: serde_json::to_string_pretty(&record.config).map_err(|e| Error::internal(&e))?,
            id: record.id.clone(),
            paper: record.paper.clone(),
            title: entry.paper.title.clone(),
            preset: record.preset.name(),
            created: time::utc(record.created).replace('T', " ").replace('Z', " UTC"),
            state,
            digest: report.digest.clone(),
            record,
        })
    }
}

fn live_samples(live: &Live) -> Vec<(String, String)> {
    let named = |seed: u64, title: &str| format!("{title} (seed {seed})");
    live.samples().into_iter().map(|(seed, title, text)| (named(seed, title), text.to_owned())).collect()
}

fn draw_charts(live: &Live) -> Result<Vec<Drawing>> {
    let draw = |chart: &ream_lab::Figure| {
        let html =
            ream_lab::figure::render_svg(chart, Theme::Page, CHART_WIDTH).map_err(|e| Error::internal(&e))?;
        Ok(Drawing { name: chart.title.clone(), html })
    };
    live.charts().iter().map(draw).collect()
}

/// Figures of the report; while the run goes on, those that are drawn so far.
fn draw_figures(dir: &RunDir, report: &Report, live: &Live) -> Result<Vec<Drawing>> {
    let mut names: Vec<(String, u64)> = report.figures.clone();
    for (name, seed) in live.figures() {
        if names.iter().all(|(other, _)| other != name) {
            names.push((name.to_owned(), seed));
        }
    }
    let draw = |(name, seed): (String, u64)| {
        let html = figure_block(&dir.figure(seed, &name)?, Theme::Page).map_err(|e| Error::internal(&e))?;
        Ok(Drawing { name, html })
    };
    names.into_iter().map(draw).collect()
}

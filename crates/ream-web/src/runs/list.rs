//! `/runs`: every run of this machine.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use ream_lab::{Preset, RunDir, RunRecord, time};
use serde::{Deserialize, Serialize};

use super::blocking;
use super::manager::standing;
use crate::address::address;
use crate::board::is_evidence;
use crate::entries::{self, Feed, Form};
use crate::error::{Error, Result};
use crate::feeds::Alternate;
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

/// Runs on one page.
const PAGE: usize = 50;

/// A run in a list, and in the JSON interface.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunSummary {
    pub(crate) id: String,
    #[serde(rename = "slug")]
    pub(crate) paper: String,
    pub(crate) preset: Preset,
    /// `queued`, `running`, `stopping`, `finished`, `failed`, `unfinished`.
    pub(crate) state: &'static str,
    pub(crate) finished: usize,
    pub(crate) seeds: usize,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// Seconds that it took.
    pub(crate) seconds: Option<f64>,
    pub(crate) modified: bool,
    pub(crate) own_data: bool,
    /// Whether verdicts may rest on it.
    pub(crate) evidence: bool,
}

/// Finished runs do not change: they are read once.
#[derive(Default)]
pub(crate) struct Known(Mutex<BTreeMap<String, RunSummary>>);

impl RunSummary {
    pub(super) fn of(app: &App, dir: &RunDir, record: RunRecord) -> Result<Self> {
        let (state, finished) = standing(&app.manager.place(&record.id), dir, &record)?;
        Ok(Self {
            state,
            finished,
            evidence: is_evidence(state, &record),
            seeds: record.seeds.len(),
            created: record.created,
            seconds: dir.wall_seconds()?,
            modified: record.modified,
            own_data: record.own_data.is_some(),
            preset: record.preset,
            paper: record.paper,
            id: record.id,
        })
    }

    fn created_words(&self) -> String {
        time::utc(self.created).replace('T', " ").trim_end_matches('Z').to_owned()
    }

    fn seconds_words(&self) -> String {
        self.seconds.map(time::span).unwrap_or_default()
    }

    fn kind(&self) -> &'static str {
        match (self.own_data, self.modified) {
            (true, _) => "own data",
            (false, true) => "changed",
            (false, false) => "",
        }
    }
}

/// All runs, newest first; damaged ones are left out. Blocks on files.
pub(crate) fn summaries(app: &App) -> Result<Vec<RunSummary>> {
    let mut all = Vec::new();
    for name in app.site.runs.names()?.into_iter().rev() {
        let kept = app.known.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let summary = match kept {
            Some(summary) => summary,
            None => {
                let Ok((dir, record)) = app.site.runs.open_exactly(&name) else { continue };
                let Ok(summary) = RunSummary::of(app, &dir, record) else { continue };
                if summary.state == "finished" && summary.seconds.is_some() {
                    app.known.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, summary.clone());
                }
                summary
            }
        };
        all.push(summary);
    }
    Ok(all)
}

/// Which runs are shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Filter {
    paper: Option<String>,
    preset: Option<String>,
    state: Option<String>,
    page: Option<usize>,
}

impl Filter {
    /// Empty words filter nothing.
    pub(crate) fn of(paper: String, preset: String, state: String) -> Self {
        Self { paper: Some(paper), preset: Some(preset), state: Some(state), page: None }
    }

    /// The address of the list at `path` with this filter.
    fn address(&self, path: &str) -> String {
        let pairs = [("paper", &self.paper), ("preset", &self.preset), ("state", &self.state)];
        address(path, pairs.map(|(key, value)| (key, value.as_deref().unwrap_or_default())))
    }

    /// The same up to the number of a page.
    fn page_address(&self) -> String {
        let address = self.address("/runs");
        let mark = if address.contains('?') { '&' } else { '?' };
        format!("{address}{mark}")
    }

    pub(super) fn has(&self, run: &RunSummary) -> bool {
        let fits =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w.is_empty() || w == is);
        fits(&self.paper, &run.paper) && fits(&self.preset, run.preset.name()) && fits(&self.state, run.state)
    }
}

#[derive(Template)]
#[template(path = "runs/list.html")]
struct ListPage<'a> {
    shell: &'a Shell,
    runs: &'a [RunSummary],
    total: usize,
    papers: Vec<(String, bool)>,
    presets: Vec<(&'static str, bool)>,
    states: Vec<(&'static str, bool)>,
    /// Address without the page's number.
    address: String,
    previous: Option<usize>,
    next: Option<usize>,
    folder: String,
    exports: Vec<Alternate>,
}

/// `GET /runs`
pub(super) async fn show(
    State(app): State<App>,
    Query(filter): Query<Filter>,
    shell: Shell,
) -> Result<Response> {
    let site = app.clone();
    let all = blocking(move || summaries(&site)).await??;
    let chosen = |wanted: &Option<String>, word: &str| wanted.as_deref() == Some(word);
    let mut papers: Vec<&str> = all.iter().map(|run| run.paper.as_str()).collect();
    papers.sort_unstable();
    papers.dedup();
    let shown: Vec<RunSummary> = all.iter().filter(|run| filter.has(run)).cloned().collect();
    let number = filter.page.unwrap_or(1).max(1);
    let from = (number - 1).saturating_mul(PAGE);
    if from > 0 && from >= shown.len() {
        return Err(Error::not_found("There are not so many runs."));
    }
    let until = from.saturating_add(PAGE).min(shown.len());
    page(&ListPage {
        shell: &shell,
        runs: &shown[from..until],
        total: shown.len(),
        papers: papers.iter().map(|paper| ((*paper).to_owned(), chosen(&filter.paper, paper))).collect(),
        presets: ["smoke", "full", "long"].map(|word| (word, chosen(&filter.preset, word))).to_vec(),
        states: ["queued", "running", "finished", "failed", "unfinished"]
            .map(|word| (word, chosen(&filter.state, word)))
            .to_vec(),
        address: filter.page_address(),
        previous: (number > 1).then(|| number - 1),
        next: (until < shown.len()).then_some(number + 1),
        folder: app.site.runs.dir().display().to_string(),
        exports: entries::alternates(|extension| filter.address(&format!("/runs.{extension}"))),
    })
}

/// The latest runs that pass, as a feed.
pub(crate) async fn feed(app: &App, shell: &Shell, filter: Filter, form: Form) -> Result<Response> {
    let site = app.clone();
    let all = blocking(move || summaries(&site)).await??;
    let entry = |run: &RunSummary| {
        let seconds = run.created.saturating_add(run.seconds.unwrap_or(0.0) as u64);
        entries::Entry {
            id: format!("urn:ream:run:{}", run.id),
            title: format!("{}, {}: {}", run.paper, run.preset.name(), run.state),
            text: format!("{} of {} seeds have finished. {}", run.finished, run.seeds, run.seconds_words()),
            page: format!("/runs/{}", run.id),
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            tags: vec![run.state.to_owned()],
        }
    };
    let shown = all.iter().filter(|run| filter.has(run)).take(PAGE).map(entry).collect();
    let own = filter.address(&format!("/runs.{}", form.extension()));
    Feed::new(shell, "ream: runs", &filter.address("/runs"), &own, shown).answer(form)
}

//! Runs, and what a system can be told, as the JSON interface gives them.

use ream_lab::report::text::comparison;
use ream_lab::{ClaimReport, Preset, Report, Table};
use serde::Serialize;
use serde_json::Value;

use super::compare::inputs;
use super::limits::Allowance;
use super::list::{Filter, RunSummary, summaries};
use super::live::Live;
use super::manager::standing;
use super::seeds::lines;
use super::show::MOST_EVENTS;
use super::stream::Progress;
use super::{form, open};
use crate::error::{Error, Result};
use crate::state::App;

/// The latest runs that pass.
pub(crate) fn rows(app: &App, filter: &Filter, most: usize) -> Result<Vec<RunSummary>> {
    let mut all = summaries(app)?;
    all.retain(|run| filter.has(run));
    all.truncate(most);
    Ok(all)
}

/// A run as its page shows it.
#[derive(Serialize)]
pub(crate) struct RunData {
    #[serde(flatten)]
    row: RunSummary,
    progress: Progress,
    /// How each seed stands, in words.
    standing: Vec<String>,
    limits: Option<Allowance>,
    report: Report,
}

/// A run by its exact name.
pub(crate) fn one(app: &App, id: &str) -> Result<RunData> {
    let (dir, record) = open(app, id)?;
    let report = app.reports.of(app, &dir, &record)?;
    let place = app.manager.place(&record.id);
    let (state, finished) = standing(&place, &dir, &record)?;
    let live = Live::new(dir.clone(), &record).read_all(MOST_EVENTS);
    Ok(RunData {
        progress: Progress::new(&place, state, finished, &record, &live),
        standing: lines(&record, &ream_lab::state(&dir, &record)?, &live.steps(), &place),
        limits: Allowance::read(&dir),
        report: Report::clone(&report),
        row: RunSummary::of(app, &dir, record)?,
    })
}

/// Two runs of one paper.
#[derive(Serialize)]
pub(crate) struct Comparison {
    a: String,
    b: String,
    paper: String,
    /// What differs before the runs.
    inputs: Vec<Input>,
    claims: Vec<Verdicts>,
    measures: Table,
}

#[derive(Serialize)]
struct Input {
    name: String,
    a: String,
    b: String,
}

#[derive(Serialize)]
struct Verdicts {
    a: ClaimReport,
    b: ClaimReport,
}

/// Two runs side by side.
pub(crate) fn compared(app: &App, a: &str, b: &str) -> Result<Comparison> {
    let report = |id: &str| {
        let (dir, record) = open(app, id)?;
        app.reports.of(app, &dir, &record)
    };
    let (left, right) = (report(a)?, report(b)?);
    let measures = comparison(&left, &right).map_err(|e| Error::bad_request("bad_input", e.to_string()))?;
    let pairs = left.claims.iter().zip(&right.claims);
    Ok(Comparison {
        a: left.run.clone(),
        b: right.run.clone(),
        paper: left.paper.clone(),
        inputs: inputs(&left, &right).into_iter().map(|[name, a, b]| Input { name, a, b }).collect(),
        claims: pairs.map(|(a, b)| Verdicts { a: a.clone(), b: b.clone() }).collect(),
        measures,
    })
}

/// What a system can be told, and what that takes.
#[derive(Serialize)]
pub(crate) struct Setup {
    presets: Vec<PresetData>,
    /// JSON schema of a configuration.
    schema: Value,
}

#[derive(Serialize)]
struct PresetData {
    name: &'static str,
    seeds: u64,
    /// Of one seed.
    minutes: f64,
    /// Of one seed, MiB.
    memory_mib: u64,
    /// Whether it measures time, and so runs alone.
    timed: bool,
    /// Data sets by name.
    data: Vec<String>,
    scaled: Vec<String>,
    config: Value,
}

/// What the form of a paper's runs is made from.
pub(crate) fn setup(app: &App, slug: &str) -> Result<Setup> {
    let (_, system) = form::paper(app, slug)?;
    let preset = |preset: Preset| {
        let config = system.preset(preset)?;
        let (_, needs) = system.prepare(&config)?;
        Ok::<_, Error>(PresetData {
            name: preset.name(),
            seeds: system.seeds(preset),
            minutes: needs.minutes,
            memory_mib: needs.memory_mib,
            timed: needs.timed,
            data: needs.data,
            scaled: needs.scaled,
            config,
        })
    };
    let presets = [Preset::Smoke, Preset::Full, Preset::Long].map(preset);
    Ok(Setup { presets: presets.into_iter().collect::<Result<_>>()?, schema: system.schema() })
}

//! `ream runs`: list, watch, cancel, publish, remove.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use ream_lab::{
    Entry, Error, Preset, Previous, RESULTS_FORMAT, Report, Result, Results, RunDir, RunRecord,
    SeedObservations, Standing, rule_hash, state, time,
};
use serde::Serialize;

use crate::cli::Runs;
use crate::commands::Context;
use crate::output;

/// One element of `ream runs list --json`.
#[derive(Serialize)]
struct Row {
    /// Name. String.
    run: String,
    /// Slug. String.
    paper: String,
    /// Preset. String.
    preset: Preset,
    /// `finished`, `failed`, `running` or `unfinished`. String.
    state: &'static str,
    /// Seeds with observations. Integer.
    finished: usize,
    /// All seeds. Integer.
    seeds: usize,
    /// UTC. String.
    created: String,
}

pub(crate) fn run(context: &Context, command: Runs) -> Result<u8> {
    match command {
        Runs::List => list(context),
        Runs::Watch { run } => watch(context, &run),
        Runs::Cancel { run } => cancel(context, &run),
        Runs::Rm { names } => remove(context, &names),
        Runs::Gc { older_than, yes } => collect(context, older_than, yes),
        Runs::Publish { run, into } => publish(context, &run, &into),
    }
}

fn list(context: &Context) -> Result<u8> {
    let mut rows = Vec::new();
    for name in context.runs.names()?.iter().rev() {
        match RunDir::open(&context.runs.path(name)) {
            Ok((dir, record)) => {
                let (standing, finished) = Standing::of(&dir, &record)?;
                rows.push(Row {
                    run: record.id,
                    paper: record.paper,
                    preset: record.preset,
                    state: standing.name(),
                    finished,
                    seeds: record.seeds.len(),
                    created: time::utc(record.created),
                });
            }
            Err(error) => output::note(&format!("skipped: {error}")),
        }
    }
    if context.json {
        output::json(&rows)?;
        return Ok(0);
    }
    let mut out = String::new();
    for row in &rows {
        let _ = writeln!(
            out,
            "{:<44} {:<6} {:<11} {}/{} seeds  {}",
            row.run,
            row.preset.name(),
            row.state,
            row.finished,
            row.seeds,
            row.created
        );
    }
    if rows.is_empty() {
        let _ = writeln!(out, "no runs in {}", context.runs.dir().display());
    }
    output::text(&out)?;
    Ok(0)
}

fn watch(context: &Context, wanted: &str) -> Result<u8> {
    let (dir, record) = context.runs.open(wanted)?;
    let mut last = String::new();
    loop {
        let ended = state(&dir, &record)?;
        let mut line = format!("{} of {} seeds finished", ended.finished.len(), record.seeds.len());
        for (seed, _) in &ended.unfinished {
            if let Some((fraction, what)) =
                ream_lab::events::last_progress(&dir.seed(*seed).join("events.jsonl"))
            {
                let _ = write!(line, "; seed {seed} {:.0} % {what}", 100.0 * fraction);
            }
        }
        if line != last {
            output::text(&line)?;
            last = line;
        }
        if !ream_lab::alive(&dir, &record) {
            return Ok(u8::from(!ended.failed.is_empty()));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn cancel(context: &Context, wanted: &str) -> Result<u8> {
    let (dir, record) = context.runs.open(wanted)?;
    if !ream_lab::alive(&dir, &record) {
        return Err(Error::Input(format!("run {} is not running", record.id)));
    }
    let path = dir.file("cancel");
    std::fs::write(&path, "").map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))?;
    output::text(&format!("asked {} to stop; go on later with: ream run --resume {}", record.id, record.id))?;
    Ok(0)
}

fn remove(context: &Context, wanted: &[String]) -> Result<u8> {
    // All are looked up before the first one goes: a typo removes nothing.
    let found: Vec<(RunDir, RunRecord)> =
        wanted.iter().map(|w| context.runs.open(w)).collect::<Result<_>>()?;
    for (dir, record) in &found {
        if ream_lab::alive(dir, record) {
            return Err(Error::Input(format!(
                "run {} is running; `ream runs cancel {}` first",
                record.id, record.id
            )));
        }
    }
    for (dir, record) in found {
        delete(&dir)?;
        output::text(&format!("removed {}", record.id))?;
    }
    Ok(0)
}

fn delete(dir: &RunDir) -> Result<()> {
    std::fs::remove_dir_all(dir.root())
        .map_err(|e| Error::failed(format!("cannot remove {}: {e}", dir.root().display())))
}

fn collect(context: &Context, days: u64, yes: bool) -> Result<u8> {
    let limit = time::now().saturating_sub(days * 86_400);
    let mut count = 0;
    for name in context.runs.names()? {
        let Ok((dir, record)) = RunDir::open(&context.runs.path(&name)) else { continue };
        let (standing, _) = Standing::of(&dir, &record)?;
        let disposable =
            record.preset == Preset::Smoke || matches!(standing, Standing::Unfinished | Standing::Failed);
        if record.created <= limit && disposable && standing != Standing::Running {
            count += 1;
            if yes {
                delete(&dir)?;
            }
            output::text(&format!("{} {name}", if yes { "removed" } else { "would remove" }))?;
        }
    }
    if count > 0 && !yes {
        output::text("Remove them with: ream runs gc --yes")?;
    }
    Ok(0)
}

/// Writes `papers/<family>/results/<slug>.json` from a run that is evidence.
fn publish(context: &Context, wanted: &str, into: &Path) -> Result<u8> {
    let (dir, record) = context.runs.open(wanted)?;
    let (entry, system) = context.edition.system(&record.paper)?;
    let report = Report::gather(&dir, &record, &entry.paper)?;
    if !report.not_evidence.is_empty() {
        return Err(Error::Input(format!(
            "run {} is not evidence: {}",
            record.id,
            report.not_evidence.join("; ")
        )));
    }
    let seeds: Vec<u64> = (1..=system.seeds(record.preset)).collect();
    if record.seeds != seeds {
        return Err(Error::Input(format!(
            "run {} has other seeds than the preset's 1 to {}",
            record.id,
            seeds.len()
        )));
    }
    let smoke = entry.smoke_today().ok_or_else(|| {
        Error::Input(format!(
            "run the smoke preset with this build first, its digest goes into the results: ream run {}",
            record.paper
        ))
    })?;
    let file = into.join(entry.paper.family.name()).join("results").join(format!("{}.json", record.paper));
    let family = into.join(entry.paper.family.name());
    if !family.join("src").is_dir() {
        return Err(Error::Input(format!(
            "{} is no family's folder; give the repository's `papers` with --into",
            family.display()
        )));
    }
    let results = results(&dir, &record, entry, &report, smoke, previous(&file)?)?;
    let text = serde_json::to_string(&results).map_err(|e| Error::failed(format!("results: {e}")))?;
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(family.join("results"))?;
        let beside = file.with_extension("json.tmp");
        std::fs::write(&beside, text + "\n")?;
        std::fs::rename(&beside, &file)
    };
    write().map_err(|e| Error::failed(format!("cannot write {}: {e}", file.display())))?;
    output::text(&format!("wrote {}", file.display()))?;
    Ok(0)
}

fn previous(file: &Path) -> Result<Vec<Previous>> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(Vec::new()) };
    let old = Results::parse(&file.display().to_string(), &text)?;
    let mut list = vec![Previous { date: old.date, code: old.code, verdicts: old.verdicts }];
    list.extend(old.previous);
    Ok(list)
}

fn results(
    dir: &RunDir,
    record: &RunRecord,
    entry: &Entry,
    report: &Report,
    smoke: ream_lab::SmokeDigest,
    previous: Vec<Previous>,
) -> Result<Results> {
    let mut observations = Vec::new();
    for seed in &report.finished {
        if let Some(seen) = dir.observations(*seed)? {
            observations.push(SeedObservations { seed: *seed, observations: seen });
        }
    }
    let rules: BTreeMap<String, String> =
        entry.paper.claims.iter().map(|c| (c.id.clone(), rule_hash(c))).collect();
    Ok(Results {
        format: RESULTS_FORMAT,
        paper: record.paper.clone(),
        run: record.id.clone(),
        date: time::date(record.created),
        preset: record.preset,
        config: record.config.clone(),
        config_hash: record.config_hash.clone(),
        threads: record.threads,
        minutes: report.minutes,
        command: record.command.clone(),
        code: record.code.clone(),
        machine: record.machine.clone(),
        isa: record.isa.clone(),
        data: record.data.clone(),
        scaled: record.scaled.clone(),
        smoke,
        rules,
        verdicts: report.claims.iter().map(|c| (c.claim.clone(), c.verdict)).collect(),
        previous,
        observations,
    })
}

//! `ream run`: prepare, drive, report.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ream_lab::report::text::terminal;
use ream_lab::{
    ClaimReport, Ended, Entry, Error, Invalid, Launch, Needs, Order, Plan, Preset, Report, Result, RunDir,
    RunRecord, Verdict, config_hash, drive, time,
};
use serde::Serialize;
use serde_json::Value;

use crate::cli::RunArgs;
use crate::commands::{Context, data, verdict};
use crate::output::{self, Meter, paint};

/// `ream run --json`.
#[derive(Serialize)]
struct RunOutput<'a> {
    /// Name of the run. String.
    run: &'a str,
    /// Slug of the paper. String.
    paper: &'a str,
    /// The preset. String.
    preset: Preset,
    /// Seconds of the whole run. Number.
    seconds: f64,
    /// The claims, as `ream claims --json` shows them. Array.
    claims: &'a [ClaimReport],
}

pub(crate) fn run(context: &Context, args: &RunArgs) -> Result<u8> {
    let fail_on = args.fail_on.as_deref().map(verdict).transpose()?;
    if let Some(wanted) = &args.resume {
        let (dir, record) = context.runs.open(wanted)?;
        let (entry, system) = context.edition.system(&record.paper)?;
        entry.same_code(&record)?;
        system.prepare(&record.config)?;
        return finish(context, entry, &dir, &record, args, fail_on);
    }
    let slug = args.paper.as_deref().unwrap_or_default();
    let (entry, system) = context.edition.system(slug)?;
    let plan = Plan::new(entry, &system, &order(args)?)?;
    if args.dry_run {
        return dry_run(context, entry, &plan);
    }
    let store = data::store();
    if plan.own_data.is_none() {
        data::offer(&store, &plan.needs.data, args.fetch)?;
    }
    let record = plan.record(entry, &store)?;
    let dir = RunDir::create(context.runs.dir(), &record)?;
    finish(context, entry, &dir, &record, args, fail_on)
}

/// What the flags ask for.
fn order(args: &RunArgs) -> Result<Order> {
    if args.slots == Some(0) {
        return Err(Invalid::new("--slots", "at least 1", "0").into());
    }
    let config = match &args.config {
        Some(path) => Some((path.display().to_string(), read_text(path)?)),
        None => None,
    };
    Ok(Order {
        preset: args.preset.into(),
        seeds: args.seeds.clone(),
        sets: args.sets.clone(),
        config,
        data: args.data.clone(),
        claims: args.claims.clone(),
        threads: args.threads,
    })
}

fn read_text(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).map_err(|e| Error::Input(format!("cannot read {}: {e}", path.display())))?;
    String::from_utf8(bytes).map_err(|e| {
        Error::Input(format!("{}: not UTF-8 at byte {}", path.display(), e.utf8_error().valid_up_to()))
    })
}

fn dry_run(context: &Context, entry: &Entry, plan: &Plan) -> Result<u8> {
    #[derive(Serialize)]
    struct DryRun<'a> {
        paper: &'a str,
        preset: Preset,
        modified: bool,
        config: &'a Value,
        config_hash: String,
        seeds: &'a [u64],
        threads: usize,
        needs: &'a Needs,
        data: Vec<data::DataRow>,
        claims: Vec<&'a str>,
    }
    let claims: Vec<&str> = plan.testable(entry).collect();
    let rows = data::rows(&data::store(), &plan.needs.data)?;
    if context.json {
        output::json(&DryRun {
            paper: &entry.paper.slug,
            preset: plan.preset,
            modified: plan.modified,
            config: &plan.config,
            config_hash: config_hash(&plan.config),
            seeds: &plan.seeds,
            threads: plan.threads,
            needs: &plan.needs,
            data: rows,
            claims,
        })?;
        return Ok(0);
    }
    let config = toml::to_string(&plan.config).map_err(|e| Error::failed(format!("configuration: {e}")))?;
    let mut lines = vec![
        format!(
            "{} {} preset{}",
            entry.paper.slug,
            plan.preset.name(),
            if plan.modified { ", modified" } else { "" }
        ),
        format!("seeds       {}", plan.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        format!("threads     {} for each seed", plan.threads),
        format!(
            "expected    {} for the heaviest seed, {} MiB",
            time::span(60.0 * plan.needs.minutes),
            plan.needs.memory_mib
        ),
        format!("claims      {}", claims.join(", ")),
    ];
    lines.extend(
        rows.iter().map(|row| {
            format!("data        {} ({}, {}): {}", row.id, row.size_words(), row.licence, row.state)
        }),
    );
    lines.extend(plan.needs.scaled.iter().map(|s| format!("scaled down {s}")));
    lines.push(format!("\n{config}"));
    output::text(&lines.join("\n"))?;
    Ok(0)
}

/// Drives a run, gathers its report, prints it.
fn finish(
    context: &Context,
    entry: &Entry,
    dir: &RunDir,
    record: &RunRecord,
    args: &RunArgs,
    fail_on: Option<Verdict>,
) -> Result<u8> {
    let started = std::time::Instant::now();
    let ended = run_seeds(dir, record, args.slots, args.retry_failed)?;
    let report = Report::gather(dir, record, &entry.paper)?;
    report.write(dir)?;
    entry.keep_smoke_digest(&report)?;
    if context.json {
        let seconds = started.elapsed().as_secs_f64();
        output::json(&RunOutput {
            run: &record.id,
            paper: &record.paper,
            preset: record.preset,
            seconds,
            claims: &report.claims,
        })?;
    } else {
        output::text(&terminal(&report, paint()))?;
        output::text(&format!("Report: {}", dir.file("report.html").display()))?;
        if record.own_data.is_some() && !report.tables.is_empty() {
            let folder = dir.file("tables");
            output::text(&format!("Tables: {} (CSV, JSON, Markdown, LaTeX)", folder.display()))?;
        }
    }
    exit_code(dir, record, &report, &ended, fail_on)
}

/// Drives the seeds of a run with Ctrl-C stopping them at a safe point.
pub(crate) fn run_seeds(
    dir: &RunDir,
    record: &RunRecord,
    slots: Option<usize>,
    retry_failed: bool,
) -> Result<Ended> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Publishing drives a second run in one process; the first handler's flag is gone by then, which only means that
    // Ctrl-C ends it at once.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let program =
        std::env::current_exe().map_err(|e| Error::failed(format!("cannot find this program: {e}")))?;
    let launch = Launch { program, home: ream_lab::home(), retry_failed, slots, memory_mib: None, stop };
    let mut meter = Meter::new();
    let ended = drive(dir, record, &launch, |progress| meter.tell(progress))?;
    meter.done();
    Ok(ended)
}

fn exit_code(
    dir: &RunDir,
    record: &RunRecord,
    report: &Report,
    ended: &Ended,
    fail_on: Option<Verdict>,
) -> Result<u8> {
    if !ended.failed.is_empty() {
        let code = ended
            .failed
            .iter()
            .filter_map(|(seed, _)| dir.exit(*seed).ok().flatten())
            .map(|exit| exit.code)
            .max();
        output::note(&format!(
            "error: {} of {} seeds failed; see {}",
            ended.failed.len(),
            record.seeds.len(),
            dir.root().display()
        ));
        return Ok(code.unwrap_or(1).max(1));
    }
    if !ended.unfinished.is_empty() {
        output::note(&format!("Not finished. Go on with: ream run --resume {}", record.id));
        let stopped = ended.unfinished.iter().all(|(_, how)| how == "stopped" || how == "not finished");
        return Ok(if stopped { 130 } else { 1 });
    }
    if let Some(verdict) = fail_on
        && let Some(claim) = report.claims.iter().find(|c| c.verdict == verdict)
    {
        output::note(&format!("{}: {verdict}", claim.claim));
        return Ok(1);
    }
    Ok(0)
}

//! `ream run`: prepare, drive, report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ream_lab::record::FORMAT;
use ream_lab::report::{NOT_FETCHED, text::terminal};
use ream_lab::{
    AnySystem, ClaimReport, Ended, Error, Invalid, LARGEST_SEED, Launch, Machine, Needs, OwnData, Preset,
    Report, Result, RunDir, RunRecord, SmokeDigest, Verdict, change, config_hash, did_you_mean, drive, isa,
    time,
};
use serde::Serialize;
use serde_json::Value;

use crate::cli::RunArgs;
use crate::commands::worker::same_code;
use crate::commands::{Context, data, verdict};
use crate::edition::Entry;
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
        let (dir, record) = context.open_run(wanted)?;
        let (entry, system) = context.edition.system(&record.paper)?;
        same_code(entry, &record)?;
        system.prepare(&record.config)?;
        return finish(context, entry, &dir, &record, args, fail_on);
    }
    let slug = args.paper.as_deref().unwrap_or_default();
    let (entry, system) = context.edition.system(slug)?;
    let plan = Plan::new(entry, &system, args)?;
    if args.dry_run {
        return dry_run(context, entry, &plan);
    }
    let record = plan.record(entry, args)?;
    let dir = RunDir::create(&context.runs, &record)?;
    finish(context, entry, &dir, &record, args, fail_on)
}

/// A run that is decided but not started.
struct Plan {
    preset: Preset,
    config: Value,
    modified: bool,
    needs: Needs,
    seeds: Vec<u64>,
    claims: Vec<String>,
    own_data: Option<PathBuf>,
    threads: usize,
}

impl Plan {
    fn new(entry: &Entry, system: &AnySystem, args: &RunArgs) -> Result<Self> {
        let preset: Preset = args.preset.into();
        let base = system.preset(preset)?;
        let file = match &args.config {
            Some(path) => Some((path.display().to_string(), read_text(path)?)),
            None => None,
        };
        let changed = change(
            &system.schema(),
            base.clone(),
            file.as_ref().map(|(n, t)| (n.as_str(), t.as_str())),
            &args.sets,
        )?;
        let (config, needs) = system.prepare(&changed)?;
        let seeds = match &args.seeds {
            Some(text) => parse_seeds(text)?,
            None => (1..=system.seeds(preset)).collect(),
        };
        for id in &args.claims {
            if entry.paper.claim(id).is_none() {
                let ids = entry.paper.claims.iter().map(|c| c.id.as_str());
                let all: Vec<&str> = ids.clone().collect();
                return Err(Error::Input(format!(
                    "`{}` has no claim `{id}`{}; it has {}",
                    entry.paper.slug,
                    did_you_mean(id, ids),
                    all.join(", ")
                )));
            }
        }
        let own_data = match &args.data {
            Some(path) => {
                let full = std::fs::canonicalize(path)
                    .map_err(|e| Error::Input(format!("--data {}: {e}", path.display())))?;
                system.check_data(&config, &full)?;
                Some(full)
            }
            None => None,
        };
        if args.threads == Some(0) || args.slots == Some(0) {
            return Err(Invalid::new("--threads, --slots", "at least 1", "0").into());
        }
        let threads = args.threads.unwrap_or_else(|| needs.threads.clamp(1, ream_lab::cores()));
        Ok(Self {
            preset,
            modified: config != base,
            config,
            needs,
            seeds,
            claims: args.claims.clone(),
            own_data,
            threads,
        })
    }

    /// Everything that decides the run; fetches data when the user consents.
    fn record(&self, entry: &Entry, args: &RunArgs) -> Result<RunRecord> {
        let paper = entry.paper.slug.clone();
        let store = data::store();
        let mut hashes = BTreeMap::new();
        if self.own_data.is_none() {
            data::offer(&store, &self.needs.data, args.fetch)?;
            for id in &self.needs.data {
                let hash = match store.path(id) {
                    Ok(_) => store.hash(id)?,
                    Err(_) => NOT_FETCHED.to_owned(),
                };
                hashes.insert(id.clone(), hash);
            }
        }
        let own_data = match &self.own_data {
            Some(path) => Some(OwnData { path: path.clone(), sha256: ream_data::hash_file(path)? }),
            None => None,
        };
        let created = time::now();
        let salt = ream_rand_hex(created);
        Ok(RunRecord {
            format: FORMAT,
            id: format!("{paper}-{}-{salt}", time::compact(created)),
            command: command(entry, self, args),
            paper,
            preset: self.preset,
            modified: self.modified,
            config_hash: config_hash(&self.config),
            seeds: self.seeds.clone(),
            claims: self.claims.clone(),
            threads: self.threads,
            created,
            isa: isa().to_owned(),
            own_data,
            scaled: self.needs.scaled.clone(),
            data: hashes,
            code: entry.code(),
            machine: Machine::this(),
            config: self.config.clone(),
        })
    }
}

/// Four hexadecimal digits that tell two runs of one second apart.
fn ream_rand_hex(created: u64) -> String {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let mixed = (created ^ (u64::from(nanos) << 20) ^ u64::from(std::process::id()))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:04x}", mixed >> 48)
}

/// The exact command that makes the run again.
fn command(entry: &Entry, plan: &Plan, args: &RunArgs) -> String {
    let mut words = vec!["ream".to_owned(), "run".to_owned(), entry.paper.slug.clone()];
    if plan.preset != Preset::Smoke {
        words.extend(["--preset".to_owned(), plan.preset.name().to_owned()]);
    }
    let pairs = [
        ("--seeds", args.seeds.clone()),
        ("--config", args.config.as_ref().map(|p| p.display().to_string())),
        ("--data", args.data.as_ref().map(|p| p.display().to_string())),
        ("--claims", (!args.claims.is_empty()).then(|| args.claims.join(","))),
    ];
    for (flag, value) in pairs {
        if let Some(value) = value {
            words.extend([flag.to_owned(), quote(&value)]);
        }
    }
    for set in &args.sets {
        words.extend(["--set".to_owned(), quote(set)]);
    }
    words.join(" ")
}

fn quote(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_=.,/:+".contains(c));
    if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes =
        std::fs::read(path).map_err(|e| Error::Input(format!("cannot read {}: {e}", path.display())))?;
    String::from_utf8(bytes).map_err(|e| {
        Error::Input(format!("{}: not UTF-8 at byte {}", path.display(), e.utf8_error().valid_up_to()))
    })
}

/// `5` means 1 to 5; `3,7,9` these.
fn parse_seeds(text: &str) -> Result<Vec<u64>> {
    let wrong = |got: &str| -> Error {
        Invalid::new(
            "--seeds",
            format!("a count such as 5, or a list such as 3,7,9, between 1 and {LARGEST_SEED}"),
            format!("`{got}`"),
        )
        .into()
    };
    let number = |part: &str| -> Result<u64> {
        part.trim().parse().ok().filter(|n| (1..=LARGEST_SEED).contains(n)).ok_or_else(|| wrong(part))
    };
    if !text.contains(',') {
        let count = number(text)?;
        if count > 100_000 {
            return Err(Invalid::new(
                "--seeds",
                "a count of at most 100000; one large seed N is written `N,`",
                text,
            )
            .into());
        }
        return Ok((1..=count).collect());
    }
    let mut seeds = Vec::new();
    for part in text.trim_end_matches(',').split(',') {
        let seed = number(part)?;
        if seeds.contains(&seed) {
            return Err(Invalid::new("--seeds", "every seed once", format!("{seed} twice")).into());
        }
        seeds.push(seed);
    }
    Ok(seeds)
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
    let claims: Vec<&str> = entry
        .paper
        .claims
        .iter()
        .filter(|c| !c.checks.is_empty() && (plan.claims.is_empty() || plan.claims.contains(&c.id)))
        .map(|c| c.id.as_str())
        .collect();
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
    keep_smoke_digest(entry, &report)?;
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
    let launch = Launch { program, home: ream_lab::home(), retry_failed, slots, stop };
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

/// Remembers what this build's smoke run saw: a change below the papers is judged by it.
fn keep_smoke_digest(entry: &Entry, report: &Report) -> Result<()> {
    let record = &report.record;
    let whole = record.preset == Preset::Smoke
        && !record.modified
        && record.own_data.is_none()
        && record.claims.is_empty()
        && report.finished == record.seeds
        && entry.system.is_some_and(|s| record.seeds == (1..=s.seeds(Preset::Smoke)).collect::<Vec<_>>())
        && !record.data.values().any(|hash| hash == NOT_FETCHED);
    if !whole {
        return Ok(());
    }
    let path = entry.smoke_file();
    let digest = SmokeDigest { isa: record.isa.clone(), digest: report.digest.clone() };
    let text = serde_json::to_string(&digest).map_err(|e| Error::failed(format!("smoke digest: {e}")))?;
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)
    };
    write().map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))
}

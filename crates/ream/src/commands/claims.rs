//! `ream claims`: every claim with the paper's figure, the measured value and the verdict.

use std::fmt::Write;

use ream_lab::report::text::{claims_table, figure_words};
use ream_lab::{ClaimReport, Outcome, Preset, Report, Result, RunDir, RunFacts, Verdict};
use ream_paper::ClaimKind;

use crate::cli::Claims;
use crate::commands::Context;
use crate::edition::Entry;
use crate::output::{self, paint};

/// The claims of a paper as they stand: a newer run of evidence on this machine, else the published results.
pub(crate) fn of(context: &Context, entry: &Entry) -> Result<Vec<ClaimReport>> {
    let published = entry.results()?;
    if let Some(report) = newest_evidence(context, entry, published.as_ref().map_or("", |r| r.run.as_str()))?
    {
        return Ok(report.claims);
    }
    if let Some(results) = published {
        let stale = results.stale(&entry.code(), entry.smoke_today().as_ref());
        return Ok(results.claims(&entry.paper, stale));
    }
    let reason = if entry.system.is_some() { "no full run yet" } else { "not implemented" };
    let command = if entry.system.is_some() {
        format!("ream run {} --preset full", entry.paper.slug)
    } else {
        String::new()
    };
    let facts = RunFacts { command, ..RunFacts::default() };
    let report = |claim| ClaimReport::new(&entry.paper, claim, Outcome::not_tested(reason), &facts);
    Ok(entry.paper.claims.iter().map(report).collect())
}

/// The newest run on this machine that is evidence and was made by this very code.
fn newest_evidence(context: &Context, entry: &Entry, published: &str) -> Result<Option<Report>> {
    let prefix = format!("{}-", entry.paper.slug);
    for name in context.run_names()?.iter().rev().filter(|name| name.starts_with(&prefix)) {
        if name == published {
            return Ok(None);
        }
        let Ok((dir, record)) = RunDir::open(&context.runs.join(name)) else { continue };
        let candidate =
            record.paper == entry.paper.slug && record.preset != Preset::Smoke && !record.modified;
        if !candidate || record.code != entry.code() {
            continue;
        }
        let report = Report::gather(&dir, &record, &entry.paper)?;
        if report.not_evidence.is_empty() {
            return Ok(Some(report));
        }
    }
    Ok(None)
}

pub(crate) fn show(context: &Context, args: &Claims) -> Result<u8> {
    let mut reports = Vec::new();
    if let Some(slug) = &args.paper {
        reports = of(context, context.edition.get(slug)?)?;
    } else {
        for entry in &context.edition.entries {
            if args.all || context.json || entry.system.is_some() {
                reports.extend(of(context, entry)?);
            }
        }
    }
    if context.json {
        output::json(&reports)?;
    } else if args.markdown {
        output::text(&markdown(&reports))?;
    } else {
        output::text(&plain(&reports))?;
    }
    Ok(0)
}

/// Findings and properties are counted apart.
fn score(reports: &[ClaimReport]) -> String {
    let count = |kind: ClaimKind| -> String {
        let parts: Vec<String> = Verdict::ALL
            .into_iter()
            .map(|v| (v, reports.iter().filter(|r| r.kind == kind && r.verdict == v).count()))
            .filter(|(_, n)| *n > 0)
            .map(|(v, n)| format!("{n} {v}"))
            .collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    format!("Findings: {}. Properties: {}.", count(ClaimKind::Finding), count(ClaimKind::Property))
}

fn markdown(reports: &[ClaimReport]) -> String {
    format!("{}\n\n{}", score(reports), claims_table("", reports).to_markdown())
}

fn plain(reports: &[ClaimReport]) -> String {
    let paint = paint();
    let mut out = String::new();
    let mut paper = "";
    for report in reports {
        if report.paper != paper {
            paper = &report.paper;
            let minutes =
                report.minutes.map(|m| format!(", {}", ream_lab::time::span(60.0 * m))).unwrap_or_default();
            let _ = writeln!(
                out,
                "\n{}  {}",
                paint.bold(paper),
                paint.dim(&format!("{}{minutes}", report.command))
            );
        }
        let stale = match report.stale {
            Some(true) => " (stale: the code has changed since)",
            None if report.preset.is_some() => {
                " (a crate below has changed: `ream run` its smoke preset to see whether this still stands)"
            }
            _ => "",
        };
        let _ = writeln!(
            out,
            "  {:<4} {}  {}{stale}\n       {}  {}",
            report.claim,
            paint.verdict(report.verdict),
            figure_words(report.measured, report.interval),
            report.statement,
            paint.dim(&format!("paper: {}", report.paper_figure.text))
        );
        if !report.reason.is_empty() {
            let _ = writeln!(out, "       {}", paint.dim(&report.reason));
        }
    }
    let _ = writeln!(out, "\n{}", score(reports));
    out
}

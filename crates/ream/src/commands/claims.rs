//! `ream claims`: every claim with the paper's figure, the measured value and the verdict.

use std::fmt::Write;

use ream_lab::report::text::{claims_table, figure_words};
use ream_lab::{ClaimReport, Entry, Result, Verdict};
use ream_paper::ClaimKind;

use crate::cli::Claims;
use crate::commands::Context;
use crate::output::{self, paint};

pub(crate) fn show(context: &Context, args: &Claims) -> Result<u8> {
    let mut reports = Vec::new();
    if let Some(slug) = &args.paper {
        reports = context.edition.get(slug)?.claims(&context.runs)?;
    } else {
        let shown = |entry: &Entry| args.all || context.json || entry.system.is_some();
        let claims = |entry: &Entry| shown(entry).then(|| entry.claims(&context.runs));
        for of in context.edition.map(claims).into_iter().flatten() {
            reports.extend(of?);
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

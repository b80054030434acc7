//! `ream papers` and `ream show`.

use std::collections::BTreeMap;
use std::fmt::Write;

use ream_lab::{ClaimReport, Entry, Error, Preset, Result, Verdict, did_you_mean, time};
use ream_paper::{ClaimKind, Family};
use serde::Serialize;

use crate::cli::Papers;
use crate::commands::{Context, verdict};
use crate::output::{self, paint};

/// One element of `ream papers --json`.
#[derive(Serialize)]
struct PaperRow {
    /// Short name. String.
    slug: String,
    /// Title. String.
    title: String,
    /// `2024-05-01`, or `--05-01` where the listing shows no year. String, or null where it shows no date.
    date: Option<ream_paper::PaperDate>,
    /// The crate that carries it. String.
    family: &'static str,
    /// Whether it has a system. Boolean.
    implemented: bool,
    /// Number of claims. Integer.
    claims: usize,
    /// Verdict of every claim by its id. Object of strings.
    verdicts: BTreeMap<String, Verdict>,
}

pub(crate) fn list(context: &Context, args: &Papers) -> Result<u8> {
    let family = args.family.as_deref().map(family).transpose()?;
    let wanted = args.verdict.as_deref().map(verdict).transpose()?;
    let under = args.under.as_deref().map(minutes).transpose()?;
    let mut rows = Vec::new();
    let all = context.edition.map(|entry| entry.claims(&context.runs));
    for (entry, reports) in context.edition.entries.iter().zip(all) {
        let reports = reports?;
        let takes = full_minutes(entry, &reports);
        let keep = (!args.implemented || entry.system.is_some())
            && family.is_none_or(|f| f == entry.paper.family)
            && wanted.is_none_or(|v| reports.iter().any(|r| r.verdict == v))
            && under.is_none_or(|limit| takes.is_some_and(|m| m <= limit));
        if keep {
            rows.push((entry, reports, takes));
        }
    }
    if context.json {
        let rows: Vec<PaperRow> = rows.iter().map(|(entry, reports, _)| row(entry, reports)).collect();
        output::json(&rows)?;
        return Ok(0);
    }
    output::text(&table(&rows))?;
    Ok(0)
}

fn row(entry: &Entry, reports: &[ClaimReport]) -> PaperRow {
    PaperRow {
        slug: entry.paper.slug.clone(),
        title: entry.paper.title.clone(),
        date: entry.paper.date,
        family: entry.paper.family.name(),
        implemented: entry.system.is_some(),
        claims: reports.len(),
        verdicts: reports.iter().map(|r| (r.claim.clone(), r.verdict)).collect(),
    }
}

/// What runs first, then the rest by number.
fn table(rows: &[(&Entry, Vec<ClaimReport>, Option<f64>)]) -> String {
    let paint = paint();
    let running = rows.iter().filter(|(entry, ..)| entry.system.is_some()).count();
    let mut out = format!("{} papers, {running} run here\n\n", rows.len());
    let (first, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|(entry, ..)| entry.system.is_some());
    for (entry, reports, takes) in first.into_iter().chain(rest) {
        let marks: String = reports.iter().map(|r| r.verdict.mark()).collect::<Vec<_>>().join(" ");
        let marks = if entry.system.is_some() { marks } else { "not implemented".to_owned() };
        let takes = takes.map(|m| time::span(60.0 * m)).unwrap_or_default();
        let _ = writeln!(
            out,
            "{:<19} {:<11} {:<11} {:<17} {:<10} {}",
            entry.paper.slug,
            entry.paper.date.map(|d| d.to_string()).unwrap_or_default(),
            entry.paper.family.name(),
            marks,
            takes,
            paint.dim(&shorten(&entry.paper.title, 60))
        );
    }
    let legend: Vec<String> = Verdict::ALL.iter().map(|v| format!("{} {v}", v.mark())).collect();
    let _ = writeln!(out, "\n{}", paint.dim(&legend.join("   ")));
    out
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Minutes of the last full run, else what the system expects.
fn full_minutes(entry: &Entry, reports: &[ClaimReport]) -> Option<f64> {
    if let Some(minutes) = reports.iter().find_map(|r| r.minutes) {
        return Some(minutes);
    }
    let system = entry.system?;
    let (_, needs) = system.preset(Preset::Full).and_then(|c| system.prepare(&c)).ok()?;
    (needs.minutes > 0.0).then_some(needs.minutes)
}

fn family(text: &str) -> Result<Family> {
    Family::ALL.into_iter().find(|f| f.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Family::ALL.iter().map(|f| f.name()).collect();
        Error::Input(format!(
            "there is no family `{text}`{}; they are {}",
            did_you_mean(text, names.iter().copied()),
            names.join(", ")
        ))
    })
}

/// `2min`, `90s`, `1h`, as minutes.
fn minutes(text: &str) -> Result<f64> {
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "s" | "sec" => 1.0 / 60.0,
        "m" | "min" => 1.0,
        "h" => 60.0,
        _ => f64::NAN,
    };
    let value = number.trim().parse::<f64>().unwrap_or(f64::NAN) * factor;
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(Error::Input(format!("--under: a time such as 90s, 2min or 1h; got `{text}`")))
}

pub(crate) fn show(context: &Context, slug: &str) -> Result<u8> {
    let entry = context.edition.get(slug)?;
    let reports = entry.claims(&context.runs)?;
    if context.json {
        #[derive(Serialize)]
        struct Shown<'a> {
            paper: &'a ream_paper::Paper,
            implemented: bool,
            claims: Vec<ClaimReport>,
        }
        output::json(&Shown { paper: &entry.paper, implemented: entry.system.is_some(), claims: reports })?;
        return Ok(0);
    }
    output::text(&page(entry, &reports))?;
    Ok(0)
}

fn page(entry: &Entry, reports: &[ClaimReport]) -> String {
    let paint = paint();
    let paper = &entry.paper;
    let mut out = String::new();
    let _ = writeln!(out, "{}", paint.bold(&paper.title));
    let mut facts: Vec<String> = paper.date.map(|d| d.to_string()).into_iter().collect();
    facts.extend(paper.organisation.clone());
    facts.extend(paper.authors.map(|n| if n == 1 { "1 author".to_owned() } else { format!("{n} authors") }));
    facts.extend(
        paper.comments.map(|n| if n == 1 { "1 comment".to_owned() } else { format!("{n} comments") }),
    );
    facts.extend(paper.arxiv.as_ref().map(|id| format!("arXiv {id}")));
    facts.extend(paper.venue.clone());
    facts.push(paper.kind.clone());
    facts.push(format!("{} / {}", paper.family.name(), paper.topic));
    let _ = writeln!(out, "{}\n", paint.dim(&facts.join(" · ")));
    let _ = writeln!(out, "{}\n", wrap(&paper.summary, 92));
    for report in reports {
        let kind = if report.kind == ClaimKind::Property { " (property)" } else { "" };
        let _ = writeln!(out, "{:<4} {}{kind}", report.claim, report.statement);
        let _ = writeln!(out, "     {}  {}", paint.verdict(report.verdict), paint.dim(&report.reason));
        let _ = writeln!(out, "     {}", paint.dim(&format!("rule: {}", report.rule)));
        let _ = writeln!(
            out,
            "     {}",
            paint.dim(&format!("paper: {} ({})", report.paper_figure.text, report.paper_figure.source))
        );
    }
    for link in &paper.links {
        let _ = writeln!(out, "\n{}: {}", link.label, link.url);
    }
    for note in &paper.notes {
        let _ = writeln!(out, "\nnote: {}", wrap(note, 92));
    }
    match entry.system {
        Some(_) => {
            let _ =
                writeln!(out, "\nRun it: ream run {}   (options: ream config {})", paper.slug, paper.slug);
        }
        None => {
            let _ = writeln!(out, "\nNot implemented yet: the rules above are what it will be judged by.");
        }
    }
    out
}

fn wrap(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

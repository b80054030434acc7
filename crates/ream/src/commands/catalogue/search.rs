//! `ream search`.

use std::fmt::Write;

use ream_catalog::{Mode, SearchPage, SearchQuery};
use ream_lab::Result;
use serde::Serialize;

use super::{block_on, failed, open};
use crate::cli::{Search, SearchMode};
use crate::commands::Context;
use crate::output::{self, paint};

/// `ream search --json`.
#[derive(Serialize)]
struct Found {
    /// Hits on all pages. Integer.
    total: usize,
    /// Cursor of the next page. String or null.
    next: Option<String>,
    /// What a reader should know. Array of strings.
    notes: Vec<String>,
    /// The papers, best first. Array.
    papers: Vec<FoundPaper>,
}

#[derive(Serialize)]
struct FoundPaper {
    /// Name in addresses and commands. String.
    handle: String,
    /// Title. String.
    title: String,
    /// Authors' names. Array of strings.
    authors: Vec<String>,
    /// Date as far as it is known. String or null.
    date: Option<String>,
    /// Whether it can be run here. Boolean.
    runs: bool,
    /// Score. Number.
    score: f32,
    /// Why it was found. String.
    why: String,
    /// The place that fits best. String.
    snippet: String,
}

pub(crate) fn run(context: &Context, args: &Search) -> Result<u8> {
    let query = SearchQuery {
        text: args.query.join(" "),
        mode: match args.mode {
            SearchMode::Text => Mode::Text,
            SearchMode::Meaning => Mode::Meaning,
            SearchMode::Fused => Mode::Fused,
        },
        after: args.after.clone(),
        limit: args.limit as usize,
        ..SearchQuery::default()
    };
    let page = block_on(async {
        let catalog = open(context).await?;
        catalog.refresh().await.map_err(failed)?;
        catalog.search(&query).await.map_err(|error| super::query_failed(&query.text, error))
    })?;
    if context.json {
        output::json(&found(page))?;
    } else {
        output::text(&plain(&page))?;
    }
    Ok(0)
}

fn found(page: SearchPage) -> Found {
    let papers = page.hits.into_iter().map(|hit| FoundPaper {
        handle: hit.paper.handle,
        title: hit.paper.record.title,
        authors: hit.paper.record.authors.into_iter().map(|a| a.name).collect(),
        date: hit.paper.record.date.map(|d| d.to_string()),
        runs: hit.paper.edition.is_some_and(|e| e.runs),
        score: hit.score,
        why: hit.why,
        snippet: hit.snippet.iter().map(|(text, _)| text.as_str()).collect(),
    });
    Found { total: page.total, next: page.next, notes: page.notes, papers: papers.collect() }
}

fn plain(page: &SearchPage) -> String {
    let paint = paint();
    let marked = |pieces: &[(String, bool)]| -> String {
        pieces.iter().map(|(text, hit)| if *hit { paint.bold(text) } else { text.clone() }).collect()
    };
    let mut out = String::new();
    for hit in &page.hits {
        let record = &hit.paper.record;
        let date = record.date.map(|d| d.to_string()).unwrap_or_default();
        let runs = if hit.paper.edition.as_ref().is_some_and(|e| e.runs) { "  runs here" } else { "" };
        let _ = writeln!(out, "{}  {}", hit.paper.handle, marked(&hit.title_html));
        let _ = writeln!(out, "    {}", paint.dim(&format!("{date}{runs}  {}", hit.why)));
        if !hit.snippet.is_empty() {
            let _ = writeln!(out, "    {}", marked(&hit.snippet));
        }
    }
    let _ = writeln!(out, "{} found", page.total);
    for note in &page.notes {
        let _ = writeln!(out, "{note}");
    }
    if let Some(next) = &page.next {
        let _ = writeln!(out, "next page: --after {next}");
    }
    out
}

//! `ream import`: a file into the collection.

use std::fmt::Write;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;

use ream_catalog::import::{Format, Limits};
use ream_catalog::{Catalog, Intake, MeaningState, intake};
use ream_lab::{Error, Result};
use serde::Serialize;

use super::{block_on, failed, open};
use crate::cli::Import;
use crate::commands::Context;
use crate::output::{self, Count};

/// `ream import --json`.
#[derive(Serialize)]
struct Imported {
    /// Papers that were not there before. Integer.
    added: u64,
    /// Papers that were there and learned something. Integer.
    merged: u64,
    /// Papers that were there as they are. Integer.
    unchanged: u64,
    /// Records that say that a paper was withdrawn. Integer.
    deleted: u64,
    /// Number of bad records. Integer.
    bad: u64,
    /// The first hundred bad records in words. Array of strings.
    problems: Vec<String>,
    /// Papers in the collection now. Integer.
    papers: u64,
}

pub(crate) fn run(context: &Context, args: &Import) -> Result<u8> {
    let format = args.format.as_deref().map(str::parse::<Format>).transpose();
    let format = format.map_err(|problem| Error::Input(format!("--format: {problem}")))?;
    let reader = reader(&args.file)?;
    let name = args.file.file_name().map_or_else(|| "-".to_owned(), |n| n.to_string_lossy().into_owned());
    block_on(async {
        let catalog = open(context).await?;
        let mut meter = Count::new("records");
        let mut tell_stored = |so_far: &Intake| meter.tell(so_far.stored());
        let done = intake(catalog.store(), reader, format, Limits::default(), &name, &mut tell_stored)
            .await
            .map_err(failed)?;
        meter.done();
        catalog.refresh().await.map_err(failed)?;
        if !args.no_embed {
            embed(&catalog).await?;
        }
        let papers = catalog.store().count().await.map_err(failed)?.papers;
        tell(context, &done, papers)?;
        match &done.stopped {
            Some(problem) => Err(Error::Input(format!("{}: {problem}", args.file.display()))),
            None => Ok(()),
        }
    })?;
    Ok(0)
}

/// A file or standard input; 64 KiB at once, because the format is told from the beginning.
fn reader(file: &Path) -> Result<Box<dyn BufRead + Send>> {
    const BUFFER: usize = 64 * 1024;
    if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            output::note("reading standard input; end it with Ctrl-D");
        }
        return Ok(Box::new(BufReader::with_capacity(BUFFER, std::io::stdin())));
    }
    let opened = std::fs::File::open(file)
        .map_err(|e| Error::Input(format!("cannot read {}: {e}", file.display())))?;
    if opened.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(Error::Input(format!("{} is a folder; wanted: a file of records", file.display())));
    }
    Ok(Box::new(BufReader::with_capacity(BUFFER, opened)))
}

/// Embeddings of what has none yet, where the encoder is here.
async fn embed(catalog: &Catalog) -> Result<()> {
    if let MeaningState::Off { .. } = catalog.meaning() {
        return Ok(());
    }
    let mut meter = Count::new("embeddings");
    catalog.embed_missing(&mut |done, all| meter.tell_of(done as u64, all as u64)).await.map_err(failed)?;
    meter.done();
    Ok(())
}

fn tell(context: &Context, done: &Intake, papers: u64) -> Result<()> {
    let problems: Vec<String> = done.problems.iter().map(ToString::to_string).collect();
    if context.json {
        return output::json(&Imported {
            added: done.added,
            merged: done.merged,
            unchanged: done.unchanged,
            deleted: done.summary.deleted,
            bad: done.bad,
            problems,
            papers,
        });
    }
    let mut out = format!(
        "{} added, {} merged, {} already here; {papers} papers in the collection\n",
        done.added, done.merged, done.unchanged
    );
    if done.summary.deleted > 0 {
        let _ = writeln!(out, "{} withdrawn at their source, not imported", done.summary.deleted);
    }
    for skipped in &done.summary.skipped {
        let _ = writeln!(out, "skipped {skipped}: of no known format");
    }
    for problem in &problems {
        output::note(&format!("not imported: {problem}"));
    }
    if done.bad > problems.len() as u64 {
        output::note(&format!("and {} more bad records", done.bad - problems.len() as u64));
    }
    output::text(&out)
}

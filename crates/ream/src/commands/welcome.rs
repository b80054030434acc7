//! `ream` alone: what is here, what to try first.

use std::fmt::Write;

use ream_lab::Result;

use crate::commands::Context;
use crate::output::{self, paint};

pub(crate) fn show(context: &Context) -> Result<u8> {
    let paint = paint();
    let entries = &context.edition.entries;
    let running: Vec<_> = entries.iter().filter(|e| e.system.is_some()).collect();
    let claims: usize = entries.iter().map(|e| e.paper.claims.len()).sum();
    let mut out = String::new();
    let _ = writeln!(out, "{}: daily papers you can run", paint.bold("ream"));
    let _ =
        writeln!(out, "{} papers with {claims} claims; {} run here so far.\n", entries.len(), running.len());
    for entry in &running {
        let _ = writeln!(out, "  {:<16} {}", entry.paper.slug, entry.paper.line);
    }
    if let Some(first) = running.first() {
        let slug = &first.paper.slug;
        let _ = writeln!(out, "\nTry first:");
        for (command, what) in [
            (format!("ream run {slug}"), "run its small preset, a few seconds"),
            (format!("ream run {slug} --preset full"), "the experiment its verdicts rest on"),
            (format!("ream show {slug}"), "what the paper says and how it is judged"),
            ("ream claims".to_owned(), "every claim: paper's figure, measured value, verdict"),
            ("ream papers".to_owned(), "all papers"),
        ] {
            let _ = writeln!(out, "  {command:<34} {}", paint.dim(what));
        }
    }
    output::text(&out)?;
    Ok(0)
}

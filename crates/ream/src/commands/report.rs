//! `ream report`, `ream compare`, `ream export-run`.

use std::path::Path;

use ream_lab::report::text::{self, comparison, document, explain, observations, terminal};
use ream_lab::{Error, Report, Result, RunDir, RunRecord, did_you_mean};

use crate::cli::{Format, Report as Args};
use crate::commands::Context;
use crate::output::{self, paint};

fn gather(context: &Context, wanted: &str) -> Result<(RunDir, RunRecord, Report)> {
    let (dir, record) = context.runs.open(wanted)?;
    let entry = context.edition.get(&record.paper)?;
    let report = Report::gather(&dir, &record, &entry.paper)?;
    Ok((dir, record, report))
}

pub(crate) fn show(context: &Context, args: &Args) -> Result<u8> {
    let (dir, _, report) = gather(context, &args.run)?;
    report.write(&dir)?;
    if let Some(folder) = &args.png {
        return pictures(&dir, &report, folder);
    }
    if let Some(id) = &args.explain {
        let claim = report.claims.iter().find(|c| c.claim == *id).ok_or_else(|| {
            let ids: Vec<&str> = report.claims.iter().map(|c| c.claim.as_str()).collect();
            Error::Input(format!(
                "`{}` has no claim `{id}`{}; it has {}",
                report.paper,
                did_you_mean(id, ids.iter().copied()),
                ids.join(", ")
            ))
        })?;
        if context.json {
            output::json(claim)?;
        } else {
            output::text(&explain(claim, paint()))?;
        }
        return Ok(0);
    }
    if context.json {
        output::json(&report)?;
    } else if let Some(format) = args.format {
        let format = match format {
            Format::Md => text::Format::Markdown,
            Format::Csv => text::Format::Csv,
            Format::Latex => text::Format::Latex,
        };
        output::text(&document(&report, format)?)?;
    } else {
        output::text(&terminal(&report, paint()))?;
        output::text(&format!("Report: {}", dir.file("report.html").display()))?;
    }
    if args.open {
        output::open(&dir.file("report.html").display().to_string())?;
    }
    Ok(0)
}

#[cfg(feature = "png")]
fn pictures(dir: &RunDir, report: &Report, folder: &Path) -> Result<u8> {
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::Input(format!("cannot create {}: {e}", folder.display())))?;
    for (name, seed) in &report.figures {
        let figure = dir.figure(*seed, name)?;
        let png = ream_lab::figure::render_png(&figure, ream_lab::figure::Theme::Light, 1520.0)
            .map_err(|e| Error::failed(format!("figure `{name}`: {e}")))?;
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, png)
            .map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))?;
        output::text(&path.display().to_string())?;
    }
    Ok(0)
}

#[cfg(not(feature = "png"))]
fn pictures(dir: &RunDir, _: &Report, _: &Path) -> Result<u8> {
    Err(Error::Input(format!(
        "this program was built without the feature `png` (cargo install --path crates/ream --features png); the SVG pictures are in {}",
        dir.root().display()
    )))
}

pub(crate) fn compare(context: &Context, a: &str, b: &str) -> Result<u8> {
    let (_, _, left) = gather(context, a)?;
    let (_, _, right) = gather(context, b)?;
    let table = comparison(&left, &right)?;
    if context.json {
        output::json(&table)?;
    } else {
        output::text(&table.to_text())?;
    }
    Ok(0)
}

pub(crate) fn export(context: &Context, wanted: &str, csv: bool) -> Result<u8> {
    let (dir, record, _) = gather(context, wanted)?;
    let table = observations(&dir, &record)?;
    let text = if context.json {
        return output::json(&table).map(|()| 0);
    } else if csv {
        table.to_csv()
    } else {
        table.to_text()
    };
    output::text(&text)?;
    Ok(0)
}

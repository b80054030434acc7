//! Files of a run for taking away: a fixed list, made from the run's data; nothing is served by a name from outside.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ream_lab::figure::{Theme, render_svg};
use ream_lab::report::page;
use ream_lab::report::text::{Format, claims_table, document, measures_table, observations, render};
use ream_lab::{Report, RunDir, RunRecord, Table};

use super::{blocking, open};
use crate::error::{Error, Result};
use crate::state::App;

/// `GET /runs/{id}/report.json`
pub(super) async fn report_json(state: State<App>, Path(id): Path<String>) -> Result<Response> {
    file(state, Path((id, "report.json".to_owned()))).await
}

/// `GET /runs/{id}/files/{file}`
pub(super) async fn file(
    State(app): State<App>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response> {
    blocking(move || {
        let (dir, record) = open(&app, &id)?;
        let report = app.reports.of(&app, &dir, &record)?;
        let (text, kind) = text(&dir, &record, &report, &file)?;
        Ok(answer(text, kind, &format!("{id}-{file}")))
    })
    .await?
}

/// `GET /runs/{id}/figures/{name}.svg` and `.json`
pub(super) async fn figure(
    State(app): State<App>,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response> {
    blocking(move || {
        let (dir, record) = open(&app, &id)?;
        let report = app.reports.of(&app, &dir, &record)?;
        let (name, ending) = file.rsplit_once('.').unwrap_or((&file, ""));
        let found = report.figures.iter().find(|(other, _)| other == name);
        let (_, seed) = found.ok_or_else(|| Error::not_found("The run has drawn no figure of this name."))?;
        let figure = dir.figure(*seed, name)?;
        // Drawn anew: the picture beside the figure's data is whatever stands on the disk.
        let (text, kind) = match ending {
            "svg" => {
                (render_svg(&figure, Theme::Auto, 760.0).map_err(|e| Error::internal(&e))?, "image/svg+xml")
            }
            "json" => {
                (serde_json::to_string_pretty(&figure).map_err(|e| Error::internal(&e))?, "application/json")
            }
            _ => return Err(Error::not_found("A figure is there as .svg and .json.")),
        };
        Ok(answer(text, kind, &format!("{id}-{file}")))
    })
    .await?
}

/// The text of a file and its media type.
fn text(dir: &RunDir, record: &RunRecord, report: &Report, file: &str) -> Result<(String, &'static str)> {
    if let Some((name, ending)) = file.rsplit_once('.')
        && let Some(number) = name.strip_prefix("table-").and_then(|n| n.parse::<usize>().ok())
    {
        let table = number.checked_sub(1).and_then(|at| report.tables.get(at));
        let table = table.ok_or_else(|| Error::not_found("The run has no such table."))?;
        return in_format(table, ending);
    }
    match file {
        "report.json" => {
            let text = serde_json::to_string_pretty(report).map_err(|e| Error::internal(&e))?;
            Ok((text, "application/json"))
        }
        "report.html" => {
            let figures = report.figures.iter().map(|(name, seed)| dir.figure(*seed, name));
            let figures = figures.collect::<ream_lab::Result<Vec<_>>>()?;
            Ok((page::report(report, &figures)?, "text/html; charset=utf-8"))
        }
        "run.toml" => Ok((toml_text(record)?, "text/plain; charset=utf-8")),
        "observations.csv" => Ok((observations(dir, record)?.to_csv(), "text/csv; charset=utf-8")),
        "report.md" => Ok((document(report, Format::Markdown)?, "text/markdown; charset=utf-8")),
        "report.csv" => Ok((document(report, Format::Csv)?, "text/csv; charset=utf-8")),
        "report.tex" => Ok((document(report, Format::Latex)?, "text/x-tex; charset=utf-8")),
        _ => {
            let (name, ending) = file.rsplit_once('.').unwrap_or((file, ""));
            match name {
                "claims" => {
                    in_format(&claims_table(&format!("Claims of {}", report.paper), &report.claims), ending)
                }
                "measures" => in_format(&measures_table(report), ending),
                _ => Err(Error::not_found(
                    "There are report.json, report.html, report.md, report.csv, report.tex, run.toml, observations.csv, and claims, measures and table-1, ... as .csv, .md and .tex.",
                )),
            }
        }
    }
}

fn in_format(table: &Table, ending: &str) -> Result<(String, &'static str)> {
    match ending {
        "csv" => Ok((table.to_csv(), "text/csv; charset=utf-8")),
        "md" => Ok((render(table, Format::Markdown), "text/markdown; charset=utf-8")),
        "tex" => Ok((render(table, Format::Latex), "text/x-tex; charset=utf-8")),
        _ => Err(Error::not_found("A table is there as .csv, .md and .tex.")),
    }
}

fn toml_text(record: &RunRecord) -> Result<String> {
    toml::to_string(record).map_err(|e| Error::internal(&e))
}

/// As a file to keep: a page or a picture of a run is not opened under the site's own address.
fn answer(text: String, kind: &'static str, name: &str) -> Response {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let named = if plain { format!("attachment; filename=\"{name}\"") } else { "attachment".to_owned() };
    let disposition = HeaderValue::from_str(&named).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}

//! Claims, families, runs.

use axum::extract::State;
use axum::response::Response;
use ream_catalog::RunRow;
use ream_paper::Family;
use serde::{Deserialize, Serialize};

use super::{Result, json};
use crate::error::Error;
use crate::pages::scoreboard::{Filters, kept};
use crate::params::ApiParams;
use crate::state::App;

/// `GET /claims`
pub(super) async fn claims(
    State(app): State<App>,
    ApiParams(filters): ApiParams<Filters>,
) -> Result<Response> {
    let filters = filters.checked()?;
    let board = app.board();
    json(&kept(&app, &board, &filters))
}

/// A family with its counts.
#[derive(Serialize)]
struct FamilyRow {
    name: &'static str,
    papers: usize,
    runs: usize,
    claims: usize,
}

/// `GET /families`
pub(super) async fn families(State(app): State<App>) -> Result<Response> {
    let row = |family: Family| {
        let entries = || app.site.edition.entries.iter().filter(|e| e.paper.family == family);
        FamilyRow {
            name: family.name(),
            papers: entries().count(),
            runs: entries().filter(|e| e.system.is_some()).count(),
            claims: entries().map(|e| e.paper.claims.len()).sum(),
        }
    };
    json(&Family::ALL.map(row))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RunsParams {
    /// Short name of a paper.
    paper: String,
    limit: String,
}

/// `GET /runs`
pub(super) async fn runs(
    State(app): State<App>,
    ApiParams(params): ApiParams<RunsParams>,
) -> Result<Response> {
    let limit = match params.limit.as_str() {
        "" => 100,
        text => text
            .parse()
            .ok()
            .filter(|n| (1..=1000).contains(n))
            .ok_or_else(|| Error::bad_request("bad_query", "limit is a number from 1 to 1000."))?,
    };
    let paper = Some(params.paper.as_str()).filter(|p| !p.is_empty());
    let rows: Vec<RunRow> = app.store().runs(paper, limit).await?;
    json(&rows)
}

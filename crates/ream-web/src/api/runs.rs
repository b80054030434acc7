//! Runs, comparisons, systems.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use super::{Result, json};
use crate::error::Error;
use crate::params::ApiParams;
use crate::runs::{RunFilter, blocking, data};
use crate::state::App;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RunsParams {
    /// Short name of a paper.
    paper: String,
    preset: String,
    state: String,
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
    let filter = RunFilter::of(params.paper, params.preset, params.state);
    json(&blocking(move || data::rows(&app, &filter, limit)).await??)
}

/// `GET /runs/{id}`
pub(super) async fn run(State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    json(&blocking(move || data::one(&app, &id)).await??)
}

#[derive(Deserialize)]
pub(super) struct Pair {
    a: String,
    b: String,
}

/// `GET /compare`
pub(super) async fn compare(State(app): State<App>, ApiParams(pair): ApiParams<Pair>) -> Result<Response> {
    json(&blocking(move || data::compared(&app, &pair.a, &pair.b)).await??)
}

/// `GET /papers/{handle}/system`
pub(super) async fn system(State(app): State<App>, Path(handle): Path<String>) -> Result<Response> {
    json(&blocking(move || data::setup(&app, &handle)).await??)
}

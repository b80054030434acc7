//! Data sets.

use axum::extract::{Path, State};
use axum::response::Response;

use super::{Result, json};
use crate::fetches::{DataRow, known};
use crate::runs::blocking;
use crate::state::App;

/// `GET /data`
pub(super) async fn all(State(app): State<App>) -> Result<Response> {
    let rows: Vec<DataRow> =
        blocking(move || ream_data::all().iter().map(|set| DataRow::new(&app, set)).collect()).await?;
    json(&rows)
}

/// `GET /data/{id}`
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    let set = known(&id)?;
    json(&blocking(move || DataRow::new(&app, set)).await?)
}

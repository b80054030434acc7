//! What became of an import.

use axum::extract::{Path, State};
use axum::response::Response;

use super::{Result, json};
use crate::error::Error;
use crate::state::App;

/// `GET /imports/{number}`
pub(super) async fn report(State(app): State<App>, Path(number): Path<usize>) -> Result<Response> {
    let missing = || Error::not_found("There is no report of such an import.");
    json(&app.imports.get(number).ok_or_else(missing)?.report())
}

//! Pages on which papers are run: a form that starts a run, the run while it goes on and after it, lists, comparison.
//!
//! The state of a run is its directory; [`manager`] knows only who waits and who is being driven from here.

mod actions;
mod claims;
mod compare;
pub(crate) mod data;
mod explain;
mod files;
mod form;
mod limits;
mod list;
mod live;
mod manager;
mod order;
mod reports;
mod seeds;
mod show;
mod stream;
mod tables;
mod uploads;
mod waiting;

use axum::Router;
use axum::routing::{get, post};
use ream_lab::{RunDir, RunRecord};

pub use limits::RunLimits;
pub(crate) use list::{Filter as RunFilter, Known, feed as runs_feed};
pub(crate) use manager::Manager;
pub(crate) use reports::Reports;
pub(crate) use stream::Channels;
pub(crate) use uploads::keep_tidy;

use crate::error::{Error, Result};
use crate::state::App;

/// Width of a chart, pixels: two stand side by side on a wide screen.
const CHART_WIDTH: f64 = 540.0;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(form::routes())
        .route("/runs", get(list::show))
        .route("/runs/{id}", get(show::show))
        .route("/runs/{id}/events", get(stream::events))
        .route("/runs/{id}/cancel", post(actions::cancel))
        .route("/runs/{id}/resume", post(actions::resume))
        .route("/runs/{id}/explain/{claim}", get(explain::show))
        .route("/runs/{id}/report.json", get(files::report_json))
        .route("/runs/{id}/files/{file}", get(files::file))
        .route("/runs/{id}/figures/{figure}", get(files::figure))
        .route("/compare", get(compare::show))
}

/// Opens a run by its exact name.
fn open(app: &App, id: &str) -> Result<(RunDir, RunRecord)> {
    if !ream_lab::Runs::is_name(id) || !app.site.runs.path(id).join("run.toml").is_file() {
        return Err(Error::not_found("There is no run of this name."));
    }
    Ok(app.site.runs.open_exactly(id)?)
}

/// Does work that reads files or computes on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(&e))
}

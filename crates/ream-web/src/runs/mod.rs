//! Pages on which papers are run.

use axum::Router;

use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
}

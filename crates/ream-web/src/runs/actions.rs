//! What can be done to a run.

use axum::extract::{Form, Path, State};
use axum::response::Redirect;
use serde::Deserialize;

use super::{blocking, open};
use crate::error::Result;
use crate::state::App;

/// `POST /runs/{id}/cancel`
pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Redirect> {
    let back = Redirect::to(&format!("/runs/{id}"));
    blocking(move || {
        let (dir, record) = open(&app, &id)?;
        app.manager.cancel(&dir, &record)
    })
    .await??;
    Ok(back)
}

/// The form of resuming.
#[derive(Deserialize)]
pub(super) struct Resume {
    /// Present when seeds that failed are tried again.
    retry: Option<String>,
}

/// `POST /runs/{id}/resume`
pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
    Form(form): Form<Resume>,
) -> Result<Redirect> {
    let back = Redirect::to(&format!("/runs/{id}"));
    blocking(move || {
        let (dir, record) = open(&app, &id)?;
        app.manager.resume(&dir, &record, form.retry.is_some())
    })
    .await??;
    Ok(back)
}

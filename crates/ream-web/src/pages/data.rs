//! Data sets: what is here, what is missing and what fetching it takes.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::error::{Error, Result};
use crate::fetches::{DataRow, known, start};
use crate::pages::page;
use crate::runs::blocking;
use crate::shell::Shell;
use crate::state::App;

#[derive(Template)]
#[template(path = "data.html")]
struct DataPage<'a> {
    shell: &'a Shell,
    rows: Vec<DataRow>,
}

/// `/data`
pub(crate) async fn all(State(app): State<App>, shell: Shell) -> Result<Response> {
    let rows = blocking(move || ream_data::all().iter().map(|set| DataRow::new(&app, set)).collect()).await?;
    page(&DataPage { shell: &shell, rows })
}

#[derive(Template)]
#[template(path = "data-set.html")]
struct DataSetPage<'a> {
    shell: &'a Shell,
    row: DataRow,
}

/// `/data/{id}`
pub(crate) async fn one(State(app): State<App>, shell: Shell, Path(id): Path<String>) -> Result<Response> {
    let set = known(&id)?;
    let row = blocking(move || DataRow::new(&app, set)).await?;
    page(&DataSetPage { shell: &shell, row })
}

/// `POST /data/{id}/fetch`: pressing the button beside name, size and licence is the consent that fetching needs.
pub(crate) async fn fetch(State(app): State<App>, Path(id): Path<String>) -> Result<Response> {
    let set = known(&id)?;
    if !app.can_run() {
        return Err(Error::new(
            axum::http::StatusCode::FORBIDDEN,
            "fetch_off",
            "Data are fetched only from a site that listens on the reader's own machine.",
        ));
    }
    start(&app, set);
    Ok(Redirect::to(&format!("/data/{}", set.id)).into_response())
}

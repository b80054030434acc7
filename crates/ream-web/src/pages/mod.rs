//! Pages that are read.

mod data;
pub(crate) mod feed;
mod import;
pub(crate) mod names;
mod paper;
mod ranking;
pub(crate) mod scoreboard;
pub(crate) mod search;
mod side_by_side;

use std::time::{SystemTime, UNIX_EPOCH};

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::cache::Page;
use crate::error::{Error, Result};
use crate::marks::Mark;
use crate::shell::Shell;
use crate::state::App;

/// Headers of every page: readers ask again, and may be told that nothing has changed.
const HEADERS: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(feed::feed))
        .route("/search", get(search::search))
        .route("/papers/{handle}", get(paper::paper))
        .route("/scoreboard", get(scoreboard::scoreboard))
        .route("/families/{family}", get(scoreboard::family))
        .route("/authors", get(names::authors))
        .route("/authors/{handle}", get(names::author))
        .route("/organisations", get(names::organisations))
        .route("/organisations/{handle}", get(names::organisation))
        .route("/data", get(data::all))
        .route("/data/{id}", get(data::one))
        .route("/data/{id}/fetch", post(data::fetch))
        .route("/ranking", get(ranking::ranking))
        .route("/import", import::routes())
        .route("/import/{number}", get(import::report))
        .route("/about", get(about))
        .route("/keys", get(keys))
        .route("/healthz", get(healthz))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
}

/// Answers with a rendered template.
pub(crate) fn page(template: &impl Template) -> Result<Response> {
    Ok((HEADERS, template.render()?).into_response())
}

/// Answers with a rendered template that is the same for every reader, and keeps it for a moment.
pub(crate) fn fresh(app: &App, address: &str, template: &impl Template) -> Result<Response> {
    let page = Page::new(template.render()?.into());
    app.pages.put(address, page.clone());
    Ok(cached(page))
}

/// Answers with a page that was kept.
pub(crate) fn cached(page: Page) -> Response {
    let mut response = (HEADERS, page.html).into_response();
    if let Some(tag) = page.tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// `ok`, and what went wrong in the background, if anything.
async fn healthz(State(app): State<App>) -> String {
    app.trouble().iter().fold("ok\n".to_owned(), |said, trouble| format!("{said}not current: {trouble}\n"))
}

async fn nothing() -> Error {
    Error::not_found("There is no page at this address.")
}

async fn wrong_method() -> Error {
    let message = "This address does not take that method.";
    Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

#[derive(Template)]
#[template(path = "about.html")]
struct About<'a> {
    shell: &'a Shell,
    marks: [Mark; 6],
    try_first: Option<String>,
}

async fn about(State(app): State<App>, shell: Shell) -> Result<Response> {
    page(&About { shell: &shell, marks: Mark::all(), try_first: app.board().first.clone() })
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys<'a> {
    shell: &'a Shell,
}

async fn keys(shell: Shell) -> Result<Response> {
    page(&Keys { shell: &shell })
}

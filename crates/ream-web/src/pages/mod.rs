//! Pages that are read.

use askama::Template;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::error::{Error, Result};
use crate::shell::Shell;
use crate::state::App;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/about", get(about))
        .route("/keys", get(keys))
        .route("/healthz", get(healthz))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
}

/// Answers with a rendered template.
pub(crate) fn page(template: &impl Template) -> Result<Response> {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, template.render()?).into_response())
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn nothing() -> Error {
    Error::not_found("There is no page at this address.")
}

async fn wrong_method() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not take that method.",
    )
}

#[derive(Template)]
#[template(path = "about.html")]
struct About<'a> {
    shell: &'a Shell,
}

async fn about(shell: Shell) -> Result<Response> {
    page(&About { shell: &shell })
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys<'a> {
    shell: &'a Shell,
}

async fn keys(shell: Shell) -> Result<Response> {
    page(&Keys { shell: &shell })
}

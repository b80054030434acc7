//! How large a request may be and how long an answer may take.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::error::Error;
use crate::state::App;

/// Largest head of a request, bytes: an address with a long search, and cookies of other programs on this machine.
const HEAD: usize = 32 * 1024;
/// How long a handler may take to begin its answer; reading the body counts. Streams begin at once.
const TIME: Duration = Duration::from_secs(30);

/// Puts the limits around routes.
pub(super) fn around(routes: Router<App>, app: &App) -> Router<App> {
    routes
        .layer(RequestBodyLimitLayer::new(largest_body(app)))
        .layer(from_fn_with_state(app.clone(), check))
        .layer(CatchPanicLayer::custom(panicked))
}

/// An uploaded file and the form around it. Handlers have tighter limits of their own.
fn largest_body(app: &App) -> usize {
    usize::try_from(app.site.options.upload_mib + 1).unwrap_or(1).saturating_mul(1 << 20)
}

async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let head: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let address = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if head + address > HEAD {
        return Error::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            format!("Address and headers have {} bytes; {HEAD} are allowed.", head + address),
        )
        .into_response();
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > largest_body(&app) as u64) {
        return too_large(&app).into_response();
    }
    match tokio::time::timeout(TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            format!("The answer took longer than {} s.", TIME.as_secs()),
        )
        .into_response(),
    }
}

/// What is said of a body beyond the limit.
pub(crate) fn too_large(app: &App) -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!(
            "At most {} MiB can be sent. Larger files are run on from the command line: ream run PAPER --data FILE.",
            app.site.options.upload_mib
        ),
    )
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The site failed on this request.")
        .into_response()
}

//! `/api/v1`: what the pages show, as JSON. Errors are problem documents (RFC 9457) with stable codes.

mod claims;
mod data;
mod imports;
mod papers;
mod runs;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Serialize;

use crate::error::Error;
use crate::state::App;

/// The description of the interface; a test holds it against the routes.
const OPENAPI: &str = include_str!("openapi.json");
const ROOT: &str = "/api/v1";

/// Result of a request to the interface.
type Result<T> = std::result::Result<T, Problem>;

/// Every address below `/api/v1`.
fn table() -> Vec<(&'static str, MethodRouter<App>)> {
    vec![
        ("/papers", get(papers::list)),
        ("/papers/{handle}", get(papers::one)),
        ("/papers/{handle}/similar", get(papers::similar)),
        ("/papers/{handle}/ranking", get(claims::why)),
        ("/papers/{handle}/system", get(runs::system)),
        ("/search", get(papers::search)),
        ("/counts", get(papers::counts)),
        ("/authors", get(papers::authors)),
        ("/authors/{handle}", get(papers::author)),
        ("/organisations", get(papers::organisations)),
        ("/organisations/{handle}", get(papers::organisation)),
        ("/claims", get(claims::claims)),
        ("/families", get(claims::families)),
        ("/families/{family}", get(claims::family)),
        ("/verdicts", get(claims::verdicts)),
        ("/ranking", get(claims::orders)),
        ("/runs", get(runs::runs)),
        ("/runs/{id}", get(runs::run)),
        ("/compare", get(runs::compare)),
        ("/imports/{number}", get(imports::report)),
        ("/data", get(data::all)),
        ("/data/{id}", get(data::one)),
        ("/openapi.json", get(openapi)),
    ]
}

pub(crate) fn routes() -> Router<App> {
    let mut all = Router::new();
    for (path, methods) in table() {
        all = all.route(path, methods);
    }
    Router::new().nest(ROOT, all.fallback(nothing).method_not_allowed_fallback(wrong_method))
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], OPENAPI)
        .into_response()
}

async fn nothing() -> Problem {
    Problem(Error::not_found("There is nothing at this address; /api/v1/openapi.json lists what there is."))
}

async fn wrong_method() -> Problem {
    let error = Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This address does not take that method.",
    );
    Problem(error)
}

/// Answers with JSON.
fn json(value: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_vec(value).map_err(|e| Problem(Error::internal(&e)))?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, body).into_response())
}

/// An error as a problem document.
pub(crate) struct Problem(pub(crate) Error);

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// RFC 9457, with a code of ours.
#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Error { status, code, message, position } = &self.0;
        let document = Document {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: message,
            code,
            position: *position,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (*status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_lists_every_route_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described: Vec<String> =
            described["paths"].as_object().unwrap().keys().map(String::from).collect();
        described.sort();
        let mut routes: Vec<String> = table().iter().map(|(path, _)| format!("{ROOT}{path}")).collect();
        routes.sort();
        assert_eq!(described, routes);
    }

    #[test]
    fn what_the_description_refers_to_is_there() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let references: Vec<&str> =
            OPENAPI.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(references.len() > 10);
        for reference in references {
            assert!(described.pointer(reference).is_some(), "{reference}");
        }
    }
}

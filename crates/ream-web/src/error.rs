//! One error for all pages: a status, a stable code, a sentence for the reader.

use std::fmt::Display;

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use thiserror::Error as ThisError;

use crate::shell::Shell;

/// Result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request was refused or failed.
#[derive(Debug, ThisError)]
#[error("{message}")]
pub struct Error {
    /// Status of the answer.
    pub status: StatusCode,
    /// A word that stays the same over versions: `not_found`, `bad_query`, `runs_off`.
    pub code: &'static str,
    /// What was wrong and what would be right.
    pub message: String,
    /// Byte offset into the query where it stops making sense, where the input is one.
    pub position: Option<usize>,
}

impl Error {
    /// An error of any status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), position: None }
    }

    /// What was asked for is not here.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The request itself is wrong.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The site failed.
    pub fn internal(error: &impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<ream_catalog::Error> for Error {
    fn from(error: ream_catalog::Error) -> Self {
        use ream_catalog::Error as Catalog;
        let status = match error {
            Catalog::Query { .. } | Catalog::Cursor(_) => StatusCode::BAD_REQUEST,
            Catalog::NotFound(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, code: error.code(), position: error.position(), message: error.to_string() }
    }
}

impl From<ream_lab::Error> for Error {
    fn from(error: ream_lab::Error) -> Self {
        use ream_lab::Error as Lab;
        let message = error.to_string();
        match error {
            Lab::Invalid(_) | Lab::Input(_) | Lab::Data(_) => Self::bad_request("bad_input", message),
            Lab::DataMissing(_) => Self::new(StatusCode::CONFLICT, "data_missing", message),
            Lab::Cancelled => Self::new(StatusCode::CONFLICT, "cancelled", message),
            Lab::Io { .. } | Lab::Corrupt { .. } | Lab::Failed(_) => Self::internal(&message),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    shell: &'a Shell,
    status: u16,
    heading: &'a str,
    error: &'a Error,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let shell = Shell::bare();
        let heading = match self.status {
            StatusCode::NOT_FOUND => "Nothing here",
            StatusCode::FORBIDDEN => "Not allowed",
            // Addresses of pages are taken from other pages: one that is none was cut, or is of another list.
            _ if self.code == "bad_cursor" => "This page of the list is not here",
            status if status.is_server_error() => "Something failed",
            _ => "That did not work",
        };
        let page = ErrorPage { shell: &shell, status: self.status.as_u16(), heading, error: &self };
        let html = page.render().unwrap_or_else(|_| self.status.to_string());
        let headers =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
        (self.status, headers, html).into_response()
    }
}

//! Papers come in.

use askama::Template;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use ream_catalog::import::Format;

use crate::error::{Error, Result};
use crate::imports::{self, Report};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

/// Largest file, bytes.
const LARGEST: usize = 50 << 20;

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage<'a> {
    shell: &'a Shell,
    formats: [Format; 10],
}

/// `/import`
pub(crate) fn routes() -> MethodRouter<App> {
    get(form).post(take).layer(DefaultBodyLimit::max(LARGEST + (1 << 20)))
}

async fn form(shell: Shell) -> Result<Response> {
    page(&ImportPage { shell: &shell, formats: Format::ALL })
}

async fn take(State(app): State<App>, mut form: Multipart) -> Result<Response> {
    if !app.can_run() {
        return Err(Error::new(
            StatusCode::FORBIDDEN,
            "import_off",
            "Papers are imported only from a site that listens on the reader's own machine.",
        ));
    }
    let bad = |e: axum::extract::multipart::MultipartError| Error::new(e.status(), "bad_form", e.body_text());
    let (mut name, mut bytes) = (String::new(), Vec::new());
    while let Some(mut field) = form.next_field().await.map_err(bad)? {
        let what = field.name().unwrap_or_default().to_owned();
        if what != "file" && what != "text" {
            continue;
        }
        let mut read = Vec::new();
        let given = field.file_name().unwrap_or("pasted text").to_owned();
        while let Some(chunk) = field.chunk().await.map_err(bad)? {
            if read.len() + chunk.len() > LARGEST {
                return Err(Error::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too_large",
                    "At most 50 MB can be sent. Larger files come in from the command line: ream import FILE.",
                ));
            }
            read.extend_from_slice(&chunk);
        }
        if bytes.is_empty() && !read.iter().all(u8::is_ascii_whitespace) {
            (name, bytes) = (file_name(&given), read);
        }
    }
    if bytes.is_empty() {
        return Err(Error::bad_request("bad_form", "Choose a file, or paste what it says."));
    }
    let number = imports::start(&app, name, bytes).ok_or_else(|| {
        Error::new(
            StatusCode::CONFLICT,
            "import_busy",
            "An import is under way; the next can start when it has ended.",
        )
    })?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, format!("/import/{number}"))]).into_response())
}

/// The last part of a path, short and without control characters.
fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(120).collect();
    if name.is_empty() { "upload".to_owned() } else { name }
}

#[derive(Template)]
#[template(path = "imported.html")]
struct Imported<'a> {
    shell: &'a Shell,
    file: &'a str,
    report: Report,
}

/// `/import/{number}`
pub(crate) async fn report(
    State(app): State<App>,
    shell: Shell,
    Path(number): Path<usize>,
) -> Result<Response> {
    let import = app.imports.get(number).ok_or_else(|| {
        Error::not_found("There is no report of such an import; reports are kept until the site stops.")
    })?;
    page(&Imported { shell: &shell, file: &import.file, report: import.report() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_names() {
        assert_eq!(file_name("C:\\x\\refs.bib"), "refs.bib");
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("a\r\nb"), "ab");
        assert_eq!(file_name(""), "upload");
    }
}

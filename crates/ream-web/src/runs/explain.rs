//! `/runs/{id}/explain/{claim}`: why a verdict is what it is, check by check, place by place.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::claims::{ClaimView, not_evidence};
use super::{blocking, open};
use crate::error::{Error, Result};
use crate::pages::page;
use crate::shell::Shell;
use crate::state::App;

#[derive(Template)]
#[template(path = "runs/explain.html")]
struct Explain<'a> {
    shell: &'a Shell,
    run: &'a str,
    paper: &'a str,
    title: &'a str,
    not_evidence: String,
    claim: ClaimView,
}

pub(super) async fn show(
    State(app): State<App>,
    Path((id, claim)): Path<(String, String)>,
    shell: Shell,
) -> Result<Response> {
    let report = blocking(move || {
        let (dir, record) = open(&app, &id)?;
        app.reports.of(&app, &dir, &record)
    })
    .await??;
    let found = report.claims.iter().find(|other| other.claim == claim).ok_or_else(|| {
        let ids: Vec<&str> = report.claims.iter().map(|claim| claim.claim.as_str()).collect();
        Error::not_found(format!("The paper has no claim `{claim}`; it has {}.", ids.join(", ")))
    })?;
    page(&Explain {
        shell: &shell,
        run: &report.run,
        paper: &report.paper,
        title: &report.title,
        not_evidence: not_evidence(&report.not_evidence),
        claim: ClaimView::new(found),
    })
}

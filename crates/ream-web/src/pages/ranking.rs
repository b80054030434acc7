//! How lists are ordered: formulas, their version, what changed; and why one paper stands where it stands.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use ream_catalog::{Sort, ranking};
use serde::Deserialize;

use crate::address::segment;
use crate::error::{Error, Result};
use crate::pages::{now, page};
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RankingParams {
    /// Handle of a paper.
    why: String,
}

/// A paper's place in every order.
struct Why {
    title: String,
    href: String,
    reasons: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "ranking.html")]
struct Ranking<'a> {
    shell: &'a Shell,
    version: u32,
    formulas: Vec<(&'static str, &'static str)>,
    changes: &'static [(u32, &'static str, &'static str)],
    why: Option<Why>,
    asked: &'a str,
}

/// `/ranking`
pub(crate) async fn ranking(
    State(app): State<App>,
    shell: Shell,
    Params(params): Params<RankingParams>,
) -> Result<Response> {
    let why = match params.why.as_str() {
        "" => None,
        handle => {
            let paper = app
                .store()
                .get(handle)
                .await?
                .ok_or_else(|| Error::not_found(format!("There is no paper “{handle}” here.")))?;
            let now = now();
            let reasons =
                Sort::ALL.into_iter().map(|s| (s.name(), ranking::explain(&paper, s, now))).collect();
            let href = format!("/papers/{}", segment(&paper.handle));
            Some(Why { title: paper.record.title, href, reasons })
        }
    };
    page(&Ranking {
        shell: &shell,
        version: ranking::VERSION,
        formulas: Sort::ALL.into_iter().map(|s| (s.name(), ranking::formula(s))).collect(),
        changes: ranking::CHANGES,
        why,
        asked: &params.why,
    })
}

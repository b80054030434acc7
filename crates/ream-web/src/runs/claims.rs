//! Claims of a run as templates show them.

use ream_lab::report::text::{figure_words, state_word};
use ream_lab::verdict::{CheckOutcome, PlaceOutcome};
use ream_lab::{ClaimReport, Verdict, show_at};

/// A claim with its verdict.
pub(super) struct ClaimView {
    pub(super) id: String,
    pub(super) statement: String,
    pub(super) verdict: &'static str,
    pub(super) shape: String,
    pub(super) class: &'static str,
    pub(super) reason: String,
    pub(super) measured: String,
    pub(super) paper: String,
    pub(super) source: String,
    pub(super) rule: String,
    pub(super) deviations: Vec<[String; 3]>,
    pub(super) checks: Vec<CheckView>,
}

/// A check at all its places.
pub(super) struct CheckView {
    pub(super) id: String,
    pub(super) quantity: String,
    pub(super) how: String,
    pub(super) test: String,
    pub(super) state: &'static str,
    pub(super) why: String,
    pub(super) places: Vec<PlaceView>,
}

/// A check at one place.
pub(super) struct PlaceView {
    pub(super) at: String,
    pub(super) figure: String,
    pub(super) seeds: usize,
    pub(super) detectable: String,
    pub(super) state: &'static str,
}

impl ClaimView {
    pub(super) fn new(claim: &ClaimReport) -> Self {
        let deviation = |d: &ream_paper::Deviation| [d.paper.clone(), d.here.clone(), d.why.clone()];
        Self {
            id: claim.claim.clone(),
            statement: claim.statement.clone(),
            verdict: claim.verdict.name(),
            shape: claim.verdict.mark().to_string(),
            class: class(claim.verdict),
            reason: claim.reason.clone(),
            measured: figure_words(claim.measured, claim.interval),
            paper: claim.paper_figure.text.clone(),
            source: claim.paper_figure.source.clone(),
            rule: claim.rule.clone(),
            deviations: claim.deviations.iter().map(deviation).collect(),
            checks: claim.checks.iter().map(check).collect(),
        }
    }
}

/// What keeps a run from being evidence, as a sentence without its full stop; empty when nothing does.
pub(super) fn not_evidence(reasons: &[String]) -> String {
    match reasons {
        [] => String::new(),
        // This reason says it itself.
        [first, rest @ ..] if first == "smoke: not evidence" => std::iter::once("Smoke: not evidence")
            .chain(rest.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join("; "),
        all => format!("Not evidence: {}", all.join("; ")),
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Confirmed | Verdict::ConfirmedAtReducedScale => "good",
        Verdict::DirectionOnly | Verdict::Inconclusive => "mixed",
        Verdict::NotConfirmed => "bad",
        Verdict::NotTested => "none",
    }
}

fn check(check: &CheckOutcome) -> CheckView {
    CheckView {
        id: check.id.clone(),
        quantity: check.quantity.clone(),
        how: check.how.clone(),
        test: check.test.clone(),
        state: state_word(check.state),
        why: check.why.clone(),
        places: check.places.iter().map(place).collect(),
    }
}

fn place(place: &PlaceOutcome) -> PlaceView {
    PlaceView {
        at: show_at(&place.at),
        figure: figure_words(Some(place.value), place.interval),
        seeds: place.seeds,
        detectable: place.detectable.map(|d| figure_words(Some(d), None)).unwrap_or_default(),
        state: state_word(place.state),
    }
}

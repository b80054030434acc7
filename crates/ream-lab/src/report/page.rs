//! A report as one self-contained HTML page.

use std::fmt::Write;

use crate::error::{Error, Result};
use crate::figure::{Figure, Theme};
use crate::observation::show_at;
use crate::report::Report;
use crate::report::html::{escape, figure_block, page, table_block};
use crate::report::text::{figure_words, measures_table, state_word};
use crate::results::ClaimReport;
use crate::time::{span, utc};
use crate::verdict::Verdict;

/// The page of a run with its figures inline; it asks nothing of the network and needs no script.
///
/// # Errors
/// A figure is inconsistent.
pub fn report(report: &Report, figures: &[Figure]) -> Result<String> {
    let mut body = String::new();
    let _ = write!(
        body,
        "<header><p class=\"kicker\">{}</p><h1>{}</h1>{}</header>",
        escape(&report.paper),
        escape(&report.title),
        facts(report)
    );
    if !report.not_evidence.is_empty() {
        let _ = write!(
            body,
            "<p class=\"notice\">Not evidence: {}.</p>",
            escape(&report.not_evidence.join("; "))
        );
    }
    for (seed, why) in report.failed.iter().chain(&report.unfinished) {
        let _ = write!(body, "<p class=\"notice\">Seed {seed}: {}</p>", escape(why));
    }
    body.push_str("<section><h2>Claims</h2>");
    for claim in &report.claims {
        body.push_str(&claim_block(claim));
    }
    body.push_str("</section>");
    if !report.warnings.is_empty() {
        body.push_str("<section><h2>Warnings</h2><ul>");
        for warning in &report.warnings {
            let _ = write!(body, "<li>{}</li>", escape(warning));
        }
        body.push_str("</ul></section>");
    }
    if !figures.is_empty() {
        body.push_str("<section><h2>Pictures</h2>");
        for figure in figures {
            body.push_str(
                &figure_block(figure, Theme::Auto)
                    .map_err(|e| Error::failed(format!("figure `{}`: {e}", figure.title)))?,
            );
        }
        body.push_str("</section>");
    }
    if !report.tables.is_empty() {
        body.push_str("<section><h2>Tables</h2>");
        report.tables.iter().for_each(|table| body.push_str(&table_block(table)));
        body.push_str("</section>");
    }
    for (title, text) in &report.samples {
        let _ = write!(body, "<section><h3>{}</h3><pre>{}</pre></section>", escape(title), escape(text));
    }
    let _ = write!(
        body,
        "<section><h2>Everything measured</h2><details><summary>{} rows</summary>{}</details></section>{}",
        report.measures.len(),
        table_block(&measures_table(report)),
        inputs(report)
    );
    Ok(page(&format!("{}: {}", report.paper, report.title), &body))
}

fn facts(report: &Report) -> String {
    format!(
        "<p class=\"meta\">{} preset · {} seeds · {} · {} · {}</p>",
        report.preset.name(),
        report.finished.len(),
        span(report.seconds),
        escape(&report.record.machine.cpu),
        utc(report.record.created)
    )
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Confirmed | Verdict::ConfirmedAtReducedScale => "good",
        Verdict::DirectionOnly | Verdict::Inconclusive => "mixed",
        Verdict::NotConfirmed => "bad",
        Verdict::NotTested => "none",
    }
}

fn claim_block(claim: &ClaimReport) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<article class=\"claim\"><h3><span class=\"id\">{}</span> {}</h3><p><strong class=\"verdict {}\">{} {}</strong> {}</p>",
        escape(&claim.claim),
        escape(&claim.statement),
        class(claim.verdict),
        claim.verdict.mark(),
        claim.verdict,
        escape(&claim.reason)
    );
    let _ = write!(
        out,
        "<dl><dt>measured</dt><dd>{}</dd><dt>paper</dt><dd>{} <small>({})</small></dd><dt>rule</dt><dd>{}</dd></dl>",
        escape(&figure_words(claim.measured, claim.interval)),
        escape(&claim.paper_figure.text),
        escape(&claim.paper_figure.source),
        escape(&claim.rule)
    );
    if !claim.checks.is_empty() {
        out.push_str("<details><summary>checks</summary><table><thead><tr><th>check</th><th>place</th><th>figure</th><th>test</th><th>seeds</th><th>state</th></tr></thead><tbody>");
        for check in &claim.checks {
            for place in &check.places {
                let _ = write!(
                    out,
                    "<tr><td title=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(&format!("{}, {}", check.quantity, check.how)),
                    escape(&check.id),
                    escape(&show_at(&place.at)),
                    escape(&figure_words(Some(place.value), place.interval)),
                    escape(&check.test),
                    place.seeds,
                    state_word(place.state)
                );
            }
            if check.places.is_empty() {
                let _ = write!(
                    out,
                    "<tr><td>{}</td><td colspan=\"5\">{}</td></tr>",
                    escape(&check.id),
                    escape(&check.why)
                );
            }
        }
        out.push_str("</tbody></table></details>");
    }
    for deviation in &claim.deviations {
        let _ = write!(
            out,
            "<p class=\"deviation\">Paper: {}. Here: {}. {}.</p>",
            escape(&deviation.paper),
            escape(&deviation.here),
            escape(deviation.why.trim_end_matches('.'))
        );
    }
    out.push_str("</article>");
    out
}

fn inputs(report: &Report) -> String {
    let record = &report.record;
    let config = serde_json::to_string_pretty(&record.config).unwrap_or_default();
    let commit = if record.code.commit.is_empty() { "no commit" } else { &record.code.commit };
    let tree = if record.code.clean { "clean" } else { "with uncommitted changes" };
    let data: String = record.data.iter().map(|(id, hash)| format!("{id}: {hash}\n")).collect();
    format!(
        "<section><h2>Inputs</h2><p>Made again by <code>{}</code></p><p class=\"meta\">run {} · commit {} ({tree}) · sources {} · {} · digest {}</p><details><summary>configuration {}</summary><pre>{}</pre></details><pre>{}</pre></section>",
        escape(&record.command),
        escape(&record.id),
        escape(commit),
        escape(&record.code.sources),
        escape(&record.isa),
        escape(&report.digest),
        escape(&record.config_hash),
        escape(&config),
        escape(&data)
    )
}

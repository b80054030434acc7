//! The program's edition as the catalogue holds it.

use ream_catalog::{Author, ClaimFacts, Date, EditionFacts, EditionPaper, Link, Record};
use ream_lab::{ClaimReport, Edition, Entry, Outcome, RunFacts, Runs};
use ream_paper::{Claim, ClaimKind, Paper, Test};

/// Every paper of an edition with its claims as they stand. A paper whose results are damaged has claims that are not
/// tested, and the reason says what is damaged.
#[must_use]
pub fn edition_papers(edition: &Edition, runs: &Runs) -> Vec<EditionPaper> {
    edition.map(|entry| edition_paper(entry, &reports(entry, runs)))
}

/// The claims of a paper as they stand.
pub(crate) fn reports(entry: &Entry, runs: &Runs) -> Vec<ClaimReport> {
    entry.claims(runs).unwrap_or_else(|error| {
        let why = error.to_string();
        let report = |claim| {
            ClaimReport::new(&entry.paper, claim, Outcome::not_tested(why.as_str()), &RunFacts::default())
        };
        entry.paper.claims.iter().map(report).collect()
    })
}

/// One paper with these claims.
pub(crate) fn edition_paper(entry: &Entry, reports: &[ClaimReport]) -> EditionPaper {
    let paper = &entry.paper;
    EditionPaper {
        record: record(paper),
        facts: EditionFacts {
            slug: paper.slug.clone(),
            number: paper.number,
            family: paper.family.name().to_owned(),
            topic: paper.topic.clone(),
            kind: paper.kind.clone(),
            line: paper.line.clone(),
            summary: paper.summary.clone(),
            runs: entry.system.is_some(),
            minutes: reports.iter().find_map(|r| r.minutes),
            claims: reports.iter().map(|report| facts(paper.claim(&report.claim), report)).collect(),
        },
    }
}

fn record(paper: &Paper) -> Record {
    Record {
        title: paper.title.clone(),
        arxiv: paper.arxiv.clone(),
        authors: Vec::<Author>::new(),
        author_count: paper.authors,
        organisations: paper.organisation.iter().cloned().collect(),
        date: paper.date.map(Date::from),
        venue: paper.venue.clone(),
        links: paper.links.iter().map(|l| Link { label: l.label.clone(), url: l.url.clone() }).collect(),
        comments: paper.comments,
        ..Record::default()
    }
}

fn facts(claim: Option<&Claim>, report: &ClaimReport) -> ClaimFacts {
    ClaimFacts {
        id: report.claim.clone(),
        kind: match report.kind {
            ClaimKind::Finding => "finding",
            ClaimKind::Property => "property",
        }
        .to_owned(),
        statement: report.statement.clone(),
        paper_figure: report.paper_figure.text.clone(),
        verdict: report.verdict.name().to_owned(),
        measured: report.measured,
        interval: report.interval,
        shortfall: shortfall(claim, report),
    }
}

/// How far the first check's measured value lies on the failing side of its threshold, as a share of the distance from
/// no effect to the threshold; of the threshold itself where the check names no null; of 1 where that is 0.
fn shortfall(claim: Option<&Claim>, report: &ClaimReport) -> Option<f64> {
    let value = report.measured?;
    let check = report.checks.first()?;
    let test: Test = check.test.parse().ok()?;
    let (threshold, missing) = match test {
        Test::Less(bound) | Test::AtMost(bound) => (bound, value - bound),
        Test::Greater(bound) | Test::AtLeast(bound) => (bound, bound - value),
        Test::In(low, _) if value < low => (low, low - value),
        Test::In(_, high) => (high, value - high),
    };
    let null = claim.and_then(|c| c.check(&check.id)).and_then(|c| c.null);
    let claimed = match null {
        Some(null) if null != threshold => (threshold - null).abs(),
        _ if threshold != 0.0 => threshold.abs(),
        _ => 1.0,
    };
    Some((missing / claimed).max(0.0)).filter(|gap| gap.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lab::State;
    use ream_lab::verdict::CheckOutcome;

    fn paper(test: &str, null: &str) -> Paper {
        let text = format!(
            r#"
slug = "p"
number = 1
title = "T"
kind = "method"
family = "causal"
topic = "t"
line = "l"
summary = "s"
[[measures]]
id = "m"
unit = "1"
better = "lower"
seeds = 3
text = "m"
[[claims]]
id = "c1"
kind = "finding"
statement = "s"
metric = "m"
rule_text = "r"
scale = "paper"
paper_figure = {{ text = "x", source = "y" }}
holds = "a"
[[claims.checks]]
id = "a"
quantity = {{ value = "m@x" }}
seeds = "mean"
test = "{test}"
{null}
"#
        );
        Paper::parse("p.toml", &text).unwrap()
    }

    fn gap(test: &str, null: &str, value: f64) -> Option<f64> {
        let paper = paper(test, null);
        let claim = &paper.claims[0];
        let outcome = Outcome::not_tested("");
        let mut report = ClaimReport::new(&paper, claim, outcome, &RunFacts::default());
        report.measured = Some(value);
        report.checks = vec![CheckOutcome {
            id: "a".into(),
            quantity: String::new(),
            how: String::new(),
            test: test.into(),
            state: State::Fails,
            why: String::new(),
            places: Vec::new(),
        }];
        shortfall(Some(claim), &report)
    }

    #[test]
    fn the_shortfall_is_a_share_of_what_was_claimed() {
        assert_eq!(gap("<= 0.5", "null = 1.0", 0.75), Some(0.5), "half of the way from 1 to 0.5 is missing");
        assert_eq!(gap("<= 0.5", "null = 1.0", 0.25), Some(0.0));
        assert_eq!(gap(">= 2", "", 1.0), Some(0.5));
        assert_eq!(gap("< 0", "null = 0.0", 3.0), Some(3.0), "no distance to share by: plain units");
        assert_eq!(gap("in [2, 4]", "", 1.0), Some(0.5));
        assert_eq!(gap("in [2, 4]", "", 3.0), Some(0.0));
        assert_eq!(gap("in [2, 4]", "", 8.0), Some(1.0));
    }

    #[test]
    fn nothing_measured_has_no_shortfall() {
        let paper = paper("< 1", "");
        let report =
            ClaimReport::new(&paper, &paper.claims[0], Outcome::not_tested(""), &RunFacts::default());
        assert_eq!(shortfall(paper.claims.first(), &report), None);
    }
}

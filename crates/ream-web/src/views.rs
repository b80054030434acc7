//! Papers and claims as templates show them.

use ream_catalog::{Date, Record, Stored};
use ream_lab::report::text::figure_words;
use ream_lab::time::span;
use ream_lab::verdict::{State, brief};
use ream_lab::{ClaimReport, show_at};
use ream_paper::{ClaimKind, Deviation, Paper, Scale, Test};

use crate::address::segment;
use crate::gauge::Gauge;
use crate::marks::{Mark, tally};

/// Letters of an abstract that a list shows.
const EXCERPT: usize = 260;
/// Authors that a list names.
const NAMED: usize = 4;

/// A text in pieces, of which some are what was searched for.
pub(crate) type Pieces = Vec<(String, bool)>;

/// A name that has a page.
pub(crate) struct Linked {
    pub(crate) name: String,
    pub(crate) href: String,
}

/// A paper in a list.
pub(crate) struct Card {
    pub(crate) href: String,
    pub(crate) title: Pieces,
    pub(crate) line: Pieces,
    pub(crate) authors: Vec<Linked>,
    /// `and 3 more`, `7 authors`, or nothing.
    pub(crate) more_authors: String,
    pub(crate) organisations: Vec<Linked>,
    pub(crate) date: String,
    pub(crate) family: Option<Linked>,
    pub(crate) runs: bool,
    pub(crate) claims: usize,
    pub(crate) tally: Vec<(Mark, usize)>,
    /// `12 min 30 s to re-run`, or nothing.
    pub(crate) cost: String,
    /// `12 votes`, `3 comments`, or nothing.
    pub(crate) votes: String,
    pub(crate) comments: String,
    /// Why it is in this list, or nothing.
    pub(crate) why: String,
}

impl Card {
    pub(crate) fn new(paper: &Stored) -> Self {
        let record = &paper.record;
        let facts = paper.edition.as_ref();
        let line = match facts {
            Some(facts) => facts.line.clone(),
            None => record.summary.as_deref().map(|text| excerpt(text, EXCERPT)).unwrap_or_default(),
        };
        Self {
            href: format!("/papers/{}", segment(&paper.handle)),
            title: plain(&record.title),
            line: plain(&line),
            authors: authors(record, NAMED),
            more_authors: more_authors(record, NAMED),
            organisations: organisations(record),
            date: record.date.map(date).unwrap_or_default(),
            family: facts.map(|f| family(&f.family)),
            runs: facts.is_some_and(|f| f.runs),
            claims: facts.map_or(0, |f| f.claims.len()),
            tally: facts
                .filter(|f| f.runs)
                .map(|f| tally(f.claims.iter().map(|c| c.verdict.as_str())))
                .unwrap_or_default(),
            cost: facts
                .and_then(|f| f.minutes)
                .map(|m| format!("{} to re-run", minutes(m)))
                .unwrap_or_default(),
            votes: record.votes.map(|n| count(u64::from(n), "vote")).unwrap_or_default(),
            comments: record.comments.map(|n| count(u64::from(n), "comment")).unwrap_or_default(),
            why: String::new(),
        }
    }
}

/// A text that nothing is marked in.
pub(crate) fn plain(text: &str) -> Pieces {
    if text.is_empty() { Vec::new() } else { vec![(text.to_owned(), false)] }
}

/// Whether an address may become a link.
pub(crate) fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Authors with their pages, at most so many.
pub(crate) fn authors(record: &Record, most: usize) -> Vec<Linked> {
    let linked = |name: &str| Linked { name: name.to_owned(), href: format!("/authors/{}", segment(name)) };
    record.authors.iter().take(most).map(|a| linked(&a.name)).collect()
}

/// What stands after the named authors.
pub(crate) fn more_authors(record: &Record, named: usize) -> String {
    match (record.authors.len(), record.author_count) {
        (0, Some(n)) => count(u64::from(n), "author"),
        (n, _) if n > named => format!("and {} more", n - named),
        _ => String::new(),
    }
}

/// Organisations with their pages.
pub(crate) fn organisations(record: &Record) -> Vec<Linked> {
    let linked =
        |name: &String| Linked { name: name.clone(), href: format!("/organisations/{}", segment(name)) };
    record.organisations.iter().map(linked).collect()
}

/// A family with its page.
pub(crate) fn family(name: &str) -> Linked {
    Linked { name: name.to_owned(), href: format!("/families/{}", segment(name)) }
}

/// `1 vote`, `2 votes`, `12,345 votes`.
pub(crate) fn count(n: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `12,345`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Minutes as a time.
pub(crate) fn minutes(minutes: f64) -> String {
    span(60.0 * minutes)
}

/// The beginning of a text, cut between words.
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut letters = 0;
    for word in text.split_whitespace() {
        letters += word.chars().count() + 1;
        if letters > most && !out.is_empty() {
            out.push('…');
            return out;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.chars().count() > 2 * most { out.chars().take(most).chain(['…']).collect() } else { out }
}

/// A claim on its paper's page.
pub(crate) struct ClaimView {
    pub(crate) id: String,
    pub(crate) statement: String,
    pub(crate) property: bool,
    pub(crate) metric: String,
    pub(crate) mark: Mark,
    pub(crate) reason: String,
    pub(crate) paper_figure: String,
    pub(crate) paper_source: String,
    /// The measured value in words, or nothing.
    pub(crate) measured: String,
    /// Its 95 % interval in words, or nothing.
    pub(crate) interval: String,
    /// What the value is of: `loss@trained / loss@gd, mean of seeds`.
    pub(crate) quantity: String,
    /// A drawing, or nothing.
    pub(crate) gauge: String,
    pub(crate) rule: String,
    /// How the checks decide, or nothing.
    pub(crate) combines: String,
    pub(crate) reduced: bool,
    pub(crate) seeds: usize,
    pub(crate) checks: Vec<CheckView>,
    pub(crate) deviations: Vec<Deviation>,
    /// What a reader should know about its age, or nothing.
    pub(crate) stale: &'static str,
}

/// A row of a claim's checks.
pub(crate) struct CheckView {
    pub(crate) id: String,
    pub(crate) quantity: String,
    pub(crate) place: String,
    pub(crate) value: String,
    pub(crate) test: String,
    pub(crate) seeds: String,
    pub(crate) state: &'static str,
    pub(crate) why: String,
}

impl ClaimView {
    pub(crate) fn new(paper: &Paper, report: &ClaimReport) -> Self {
        let claim = paper.claim(&report.claim);
        let first = report.checks.first();
        let gauge = first.and_then(|check| {
            let test: Test = check.test.parse().ok()?;
            let null = claim.and_then(|c| c.check(&check.id)).and_then(|c| c.null);
            Gauge { value: report.measured?, interval: report.interval, test, null }.svg()
        });
        Self {
            id: report.claim.clone(),
            statement: report.statement.clone(),
            property: report.kind == ClaimKind::Property,
            metric: report.metric.clone(),
            mark: Mark::of(report.verdict),
            reason: report.reason.clone(),
            paper_figure: report.paper_figure.text.clone(),
            paper_source: report.paper_figure.source.clone(),
            measured: report.measured.map(brief).unwrap_or_default(),
            interval: report
                .interval
                .map(|[low, high]| format!("[{}, {}]", brief(low), brief(high)))
                .unwrap_or_default(),
            quantity: first.map(|c| format!("{}, {}", c.quantity, c.how)).unwrap_or_default(),
            gauge: gauge.unwrap_or_default(),
            rule: report.rule.clone(),
            combines: claim.and_then(|c| c.holds.as_ref()).map(ToString::to_string).unwrap_or_default(),
            reduced: report.scale == Scale::Reduced,
            seeds: report.checks.first().map_or(0, |c| c.places.iter().map(|p| p.seeds).max().unwrap_or(0)),
            checks: check_rows(report),
            deviations: report.deviations.iter().map(deviation).collect(),
            stale: match report.stale {
                Some(true) => "Stale: the code has changed since this was measured",
                None if report.preset.is_some() => {
                    "A crate below the paper has changed since; running the smoke preset shows whether this still stands"
                }
                _ => "",
            },
        }
    }
}

/// A deviation whose parts end without a full stop: the page puts them into sentences.
pub(crate) fn deviation(deviation: &Deviation) -> Deviation {
    let bare = |text: &String| text.trim_end_matches('.').to_owned();
    Deviation {
        paper: bare(&deviation.paper),
        here: bare(&deviation.here),
        why: bare(&deviation.why),
        affects: deviation.affects.clone(),
    }
}

/// A date as readers know it: `2024-05-01`, or `10 February` where the listing shows no year.
pub(crate) fn date(date: Date) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = date.month().and_then(|m| MONTHS.get(usize::from(m).wrapping_sub(1)));
    match (date.year(), month, date.day()) {
        (None, Some(month), Some(day)) => format!("{day} {month}"),
        _ => date.to_string(),
    }
}

fn check_rows(report: &ClaimReport) -> Vec<CheckView> {
    let mut rows = Vec::new();
    for check in &report.checks {
        let row = |place: String, value: String, seeds: String, state: State| CheckView {
            id: check.id.clone(),
            quantity: format!("{}, {}", check.quantity, check.how),
            place,
            value,
            test: check.test.clone(),
            seeds,
            state: state_word(state),
            why: check.why.clone(),
        };
        for place in &check.places {
            let value = figure_words(Some(place.value), place.interval);
            rows.push(row(show_at(&place.at), value, place.seeds.to_string(), place.state));
        }
        if check.places.is_empty() {
            rows.push(row(String::new(), "–".to_owned(), String::new(), check.state));
        }
    }
    rows
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Holds => "holds",
        State::Fails => "fails",
        State::Unclear => "unclear",
        State::Missing => "missing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 999, 1_000, 12_345, 1_234_567].map(grouped).to_vec();
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(count(1, "vote"), "1 vote");
    }

    #[test]
    fn an_excerpt_ends_between_words() {
        assert_eq!(excerpt("one two  three", 100), "one two three");
        assert_eq!(excerpt("one two three", 8), "one two…");
        assert!(excerpt(&"x".repeat(5_000), 100).chars().count() <= 101);
    }
}

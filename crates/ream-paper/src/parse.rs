//! From text to a [`Paper`], with errors that name file, line and key.

use std::collections::BTreeSet;
use std::ops::Range;

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use crate::paper::{Claim, Paper};
use crate::rule::{Check, Margin, Rule, Seeds};

/// What is wrong with a `paper.toml`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{file}:{line}: {key}{problem}")]
pub struct PaperError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Key path followed by `: `, or empty where the text is not TOML.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// A step of a key path.
#[derive(Clone, Debug)]
enum Step {
    Key(&'static str),
    Item(usize),
}

impl Paper {
    /// Reads a `paper.toml`.
    ///
    /// # Errors
    /// The first problem found: not TOML, unknown or missing key, wrong type, a value that is not allowed, a check
    /// that names an unknown measure, a rule that names an unknown check.
    pub fn parse(file: &str, text: &str) -> Result<Self, PaperError> {
        let paper: Self = toml::from_str(text).map_err(|error| from_toml(file, text, &error))?;
        match check_paper(&paper) {
            Ok(()) => Ok(paper),
            Err((path, problem)) => Err(PaperError {
                file: file.to_owned(),
                line: find_line(text, &path),
                key: format!("{}: ", show(&path)),
                problem,
            }),
        }
    }
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let end = span.map_or(0, |s| s.start).min(text.len());
    text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count() + 1
}

fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> PaperError {
    let span = error.span();
    let key =
        span.clone().and_then(|span| key_at(text, &span)).map(|key| format!("{key}: ")).unwrap_or_default();
    PaperError { file: file.to_owned(), line: line_of(text, span), key, problem: error.message().to_owned() }
}

/// The key whose value (or name) encloses a span: serde says where, not which. A table's own span covers only its
/// header, so every value is looked at.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
        outer.start <= inner.start && inner.end <= outer.end && !outer.is_empty()
    }
    fn search(value: &DeValue<'_>, here: &str, span: &Range<usize>, best: &mut Option<String>) {
        match value {
            DeValue::Table(table) => search_table(table, here, span, best),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{here}[{}]", index + 1);
                    if encloses(&item.span(), span) {
                        *best = Some(path.clone());
                    }
                    search(item.get_ref(), &path, span, best);
                }
            }
            _ => {}
        }
    }
    fn search_table(table: &DeTable<'_>, here: &str, span: &Range<usize>, best: &mut Option<String>) {
        for (key, value) in table {
            let path =
                if here.is_empty() { key.get_ref().to_string() } else { format!("{here}.{}", key.get_ref()) };
            if encloses(&value.span(), span) || encloses(&key.span(), span) {
                *best = Some(path.clone());
            }
            search(value.get_ref(), &path, span, best);
        }
    }
    let root = DeTable::parse(text).ok()?;
    let mut best = None;
    search_table(root.get_ref(), "", span, &mut best);
    best
}

fn show(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Item(index) => text.push_str(&format!("[{}]", index + 1)),
        }
    }
    text
}

/// The line of the deepest part of `path` that the text has.
fn find_line(text: &str, path: &[Step]) -> usize {
    let Ok(root) = DeTable::parse(text) else { return 1 };
    let mut span = None;
    let mut table = Some(root.get_ref());
    let mut array = None;
    for step in path {
        let value = match step {
            Step::Key(key) => table.and_then(|t| t.get(*key)),
            Step::Item(index) => array.and_then(|a: &toml::de::DeArray<'_>| a.get(*index)),
        };
        let Some(value) = value else { break };
        span = Some(value.span());
        table = value.get_ref().as_table();
        array = value.get_ref().as_array();
    }
    line_of(text, span)
}

type Problem = (Vec<Step>, String);

fn check_paper(paper: &Paper) -> Result<(), Problem> {
    let key = |key: &'static str| vec![Step::Key(key)];
    let slug_ok = !paper.slug.is_empty()
        && paper.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && paper.slug.as_bytes()[0].is_ascii_lowercase();
    if !slug_ok {
        return Err((
            key("slug"),
            format!("lower-case letters, digits and hyphens, a letter first; got `{}`", paper.slug),
        ));
    }
    let texts = [
        ("title", &paper.title),
        ("kind", &paper.kind),
        ("topic", &paper.topic),
        ("line", &paper.line),
        ("summary", &paper.summary),
    ];
    for (name, value) in texts {
        if value.trim().is_empty() {
            return Err((key(name), "must not be empty".to_owned()));
        }
    }
    for (i, link) in paper.links.iter().enumerate() {
        if !(link.url.starts_with("https://") || link.url.starts_with("http://")) {
            return Err((
                vec![Step::Key("links"), Step::Item(i), Step::Key("url")],
                format!("an http(s) address; got `{}`", link.url),
            ));
        }
    }
    check_measures(paper)?;
    let mut seen = BTreeSet::new();
    for (i, claim) in paper.claims.iter().enumerate() {
        let at = |key: &'static str| vec![Step::Key("claims"), Step::Item(i), Step::Key(key)];
        if !seen.insert(&claim.id) {
            return Err((at("id"), format!("`{}` names an earlier claim too; ids are unique", claim.id)));
        }
        check_claim(paper, claim, i)?;
    }
    for (i, deviation) in paper.deviations.iter().enumerate() {
        if let Some(id) = deviation.affects.iter().find(|id| paper.claim(id).is_none()) {
            let path = vec![Step::Key("deviations"), Step::Item(i), Step::Key("affects")];
            return Err((path, format!("there is no claim `{id}`")));
        }
    }
    Ok(())
}

fn check_measures(paper: &Paper) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for (i, measure) in paper.measures.iter().enumerate() {
        let at = |key: &'static str| vec![Step::Key("measures"), Step::Item(i), Step::Key(key)];
        if measure.id.is_empty() || measure.id.contains('@') {
            return Err((at("id"), "a word without `@`".to_owned()));
        }
        if !seen.insert(&measure.id) {
            return Err((at("id"), format!("`{}` names an earlier measure too; ids are unique", measure.id)));
        }
        if !(measure.tolerance.is_finite() && measure.tolerance >= 0.0) {
            return Err((at("tolerance"), format!("a number from 0; got {}", measure.tolerance)));
        }
    }
    Ok(())
}

fn check_claim(paper: &Paper, claim: &Claim, index: usize) -> Result<(), Problem> {
    let at = |key: &'static str| vec![Step::Key("claims"), Step::Item(index), Step::Key(key)];
    let id_ok = claim
        .id
        .strip_prefix('c')
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !id_ok {
        return Err((at("id"), format!("`c` and a number, for instance `c1`; got `{}`", claim.id)));
    }
    let texts = [("statement", &claim.statement), ("metric", &claim.metric), ("rule_text", &claim.rule_text)];
    for (name, value) in texts {
        if value.trim().is_empty() {
            return Err((at(name), "must not be empty".to_owned()));
        }
    }
    if claim.paper_figure.text.trim().is_empty() || claim.paper_figure.source.trim().is_empty() {
        return Err((at("paper_figure"), "text and source must not be empty".to_owned()));
    }
    let Some(rule) = &claim.holds else {
        return if claim.checks.is_empty() {
            Ok(())
        } else {
            Err((at("checks"), "checks need a `holds` that combines them".to_owned()))
        };
    };
    let mut seen = BTreeSet::new();
    for (i, check) in claim.checks.iter().enumerate() {
        if !seen.insert(check.id.as_str()) {
            let path = vec![
                Step::Key("claims"),
                Step::Item(index),
                Step::Key("checks"),
                Step::Item(i),
                Step::Key("id"),
            ];
            return Err((path, format!("`{}` names an earlier check too; ids are unique", check.id)));
        }
        check_check(paper, check).map_err(|(key, problem)| {
            (
                vec![
                    Step::Key("claims"),
                    Step::Item(index),
                    Step::Key("checks"),
                    Step::Item(i),
                    Step::Key(key),
                ],
                problem,
            )
        })?;
    }
    if *rule != Rule::ReportOnly {
        let named = rule.checks();
        if let Some(id) = named.iter().find(|id| claim.check(id).is_none()) {
            return Err((at("holds"), format!("there is no check `{id}` in this claim")));
        }
        if let Some(check) = claim.checks.iter().find(|check| !named.contains(&check.id.as_str())) {
            return Err((at("holds"), format!("the check `{}` is not used", check.id)));
        }
    }
    check_places(claim, rule).map_err(|problem| (at("holds"), problem))
}

fn check_places(claim: &Claim, rule: &Rule) -> Result<(), String> {
    match rule {
        Rule::AtLeastPlaces(_, id) if claim.check(id).is_some_and(|c| c.for_each.is_empty()) => {
            Err(format!("the check `{id}` needs a `for_each` for its places to be counted"))
        }
        Rule::All(parts) | Rule::Any(parts) | Rule::AtLeast(_, parts) => {
            parts.iter().try_for_each(|part| check_places(claim, part))
        }
        _ => Ok(()),
    }
}

fn check_check(paper: &Paper, check: &Check) -> Result<(), (&'static str, String)> {
    if check.id.trim().is_empty() {
        return Err(("id", "must not be empty".to_owned()));
    }
    for term in check.quantity.terms() {
        let Some(measure) = paper.measure(&term.measure) else {
            return Err((
                "quantity",
                format!("there is no measure `{}`; declare it under [[measures]]", term.measure),
            ));
        };
        if (check.seeds == Seeds::Once) != (measure.seeds == 0) {
            return Err((
                "seeds",
                format!(
                    "`once` belongs to measures with `seeds = 0`; `{}` has seeds = {}",
                    measure.id, measure.seeds
                ),
            ));
        }
    }
    if check.beyond.is_some() && check.within.is_some() {
        return Err(("within", "a check has `beyond` or `within`, not both".to_owned()));
    }
    let margin = check.beyond.or(check.within).unwrap_or(Margin::Point);
    if check.seeds == Seeds::Every && margin != Margin::Point {
        return Err(("beyond", "with `seeds = \"every\"` each seed is tested at its point".to_owned()));
    }
    if check.null.is_some_and(|null| !null.is_finite()) {
        return Err(("null", "a finite number".to_owned()));
    }
    Ok(())
}

//! What a page shows of a paper: the document that the index holds, where the words are, facets.

use std::collections::BTreeMap;

use crate::search::collect::FACETS;
use crate::search::snippet::Marks;
use crate::search::{Document, Facet, Hit};
use crate::store::Stored;

/// Values of a facet.
const VALUES: usize = 20;

/// What the index holds of a paper.
pub(super) fn document(paper: &Stored) -> Document {
    let record = &paper.record;
    let edition = paper.edition.as_ref();
    let mut texts: Vec<String> = record.summary.iter().cloned().collect();
    let mut topics = record.topics.clone();
    let mut organisations = record.organisations.clone();
    for affiliation in record.authors.iter().filter_map(|author| author.affiliation.as_ref()) {
        if !organisations.contains(affiliation) {
            organisations.push(affiliation.clone());
        }
    }
    if let Some(facts) = edition {
        texts.extend([facts.line.clone(), facts.summary.clone()]);
        if !facts.topic.is_empty() && !topics.contains(&facts.topic) {
            topics.push(facts.topic.clone());
        }
    }
    texts.retain(|text| !text.is_empty());
    let claims = edition.map_or(&[][..], |facts| &facts.claims);
    let mut verdicts: Vec<String> = claims.iter().map(|claim| claim.verdict.clone()).collect();
    verdicts.sort();
    verdicts.dedup();
    Document {
        handle: paper.handle.clone(),
        title: record.title.clone(),
        texts,
        authors: record.authors.iter().map(|author| author.name.clone()).collect(),
        organisations,
        family: edition.map(|facts| facts.family.clone()),
        topics,
        claims: claims.iter().map(|claim| claim.statement.clone()).collect(),
        verdicts,
        year: record.date.and_then(crate::Date::year),
        runs: edition.is_some_and(|facts| facts.runs),
        minutes: edition.and_then(|facts| facts.minutes),
        arxiv: record.arxiv.clone(),
    }
}

/// A hit with its marks.
pub(super) fn hit(paper: Stored, score: f32, marks: &Marks, cosine: Option<f32>) -> Hit {
    let document = document(&paper);
    Hit {
        score,
        title_html: marks.whole(&document.title),
        snippet: marks.snippet(snippet_text(&document, marks)),
        why: why(&document, marks, cosine),
        paper,
    }
}

/// The text that a snippet is cut from: the first that has one of the words, else the first.
fn snippet_text<'a>(document: &'a Document, marks: &Marks) -> &'a str {
    let mut texts = document.texts.iter().chain(&document.claims);
    let found = texts.clone().find(|text| marks.touch(text));
    found.or_else(|| texts.next()).map_or("", String::as_str)
}

/// Where the words are, and how near the meaning is.
fn why(document: &Document, marks: &Marks, cosine: Option<f32>) -> String {
    let one = std::slice::from_ref;
    let places: Vec<&str> = [
        ("title", one(&document.title)),
        ("abstract", &document.texts),
        ("claims", &document.claims),
        ("authors", &document.authors),
        ("organisation", &document.organisations),
        ("topic", &document.topics),
        ("family", document.family.as_slice()),
    ]
    .into_iter()
    .filter(|(_, texts)| texts.iter().any(|text| marks.touch(text)))
    .map(|(place, _)| place)
    .collect();
    let words = (!places.is_empty()).then(|| format!("words in {}", places.join(", ")));
    let meaning = cosine.map(|cosine| format!("near in meaning ({cosine:.2})"));
    let parts: Vec<String> = words.into_iter().chain(meaning).collect();
    if parts.is_empty() { "meets the conditions".into() } else { parts.join("; ") }
}

/// The values to show, in the order to show them.
pub(super) fn facets(counts: &[BTreeMap<String, u64>], chosen: &[Vec<String>]) -> Vec<Facet> {
    let mut facets = Vec::with_capacity(counts.len());
    for ((field, counts), chosen) in FACETS.iter().zip(counts).zip(chosen) {
        let mut values: Vec<(String, u64)> =
            counts.iter().map(|(value, count)| (value.clone(), *count)).collect();
        for value in chosen.iter().filter(|value| !counts.contains_key(*value)) {
            values.push((value.clone(), 0));
        }
        if *field == "year" {
            values.sort_by(|a, b| b.0.cmp(&a.0));
        } else {
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        let mut shown = 0;
        values.retain(|(value, _)| {
            shown += 1;
            shown <= VALUES || chosen.contains(value)
        });
        facets.push(Facet { field: (*field).to_owned(), values });
    }
    facets
}

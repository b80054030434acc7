//! What a page shows of a paper: the document that the index holds, where the words are, facets.

use crate::search::collect::{Counts, FACETS};
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
pub(super) fn facets(counts: &[Counts], chosen: &[Vec<String>]) -> Vec<Facet> {
    let all = FACETS.iter().zip(counts).zip(chosen);
    all.map(|((field, counts), chosen)| Facet {
        field: (*field).to_owned(),
        values: shown(counts, chosen, *field == "year"),
    })
    .collect()
}

/// The first values and the chosen ones: by falling value or by falling count.
fn shown(counts: &Counts, chosen: &[String], by_value: bool) -> Vec<(String, u64)> {
    let mut values: Vec<(&str, u64)> = counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
    let absent =
        chosen.iter().filter(|value| counts.binary_search_by(|(known, _)| known.cmp(value)).is_err());
    values.extend(absent.map(|value| (value.as_str(), 0)));
    let order = |a: &(&str, u64), b: &(&str, u64)| match by_value {
        true => b.0.cmp(a.0),
        false => b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)),
    };
    if values.len() > VALUES {
        // Thousands of organisations: only those that are shown are put in order.
        values.select_nth_unstable_by(VALUES, order);
        let mut place = 0;
        values.retain(|(value, _)| {
            place += 1;
            place <= VALUES || chosen.iter().any(|chosen| chosen == value)
        });
    }
    values.sort_unstable_by(order);
    values.into_iter().map(|(value, count)| (value.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_values_and_the_chosen_ones() {
        let counts: Counts =
            (0..100).map(|i| (format!("v{i:02}"), u64::from(i % 10 == 3) * 100 + 99 - i)).collect();
        let chosen = ["v50".to_owned(), "absent".to_owned()];
        let found = shown(&counts, &chosen, false);
        let mut expected: Vec<(String, u64)> = counts.clone();
        expected.push(("absent".into(), 0));
        expected.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let mut place = 0;
        expected.retain(|(value, _)| {
            place += 1;
            place <= VALUES || chosen.contains(value)
        });
        assert_eq!(found, expected);
        assert_eq!(found.len(), VALUES + 2);
        let years: Counts = (2000..2003).map(|year: i32| (year.to_string(), 1)).collect();
        assert_eq!(shown(&years, &[], true)[0].0, "2002");
    }
}

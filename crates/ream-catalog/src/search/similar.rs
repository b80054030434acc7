//! Papers similar to one, and why.
//!
//! Three lists are fused by reciprocal rank: papers that share its distinctive words (those with the largest `tf * idf`), papers near in
//! meaning, papers by its authors. A paper of the same family or topic gains as much as a place far down one list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{Searcher, Term};

use super::analysis::{fold, folded, stemmed, words};
use super::collect::{Found, Pass};
use super::execute::{FUSION_K, Snapshot, fuse};
use super::query::TextField;
use super::schema::{Document, Fields, key};
use super::snippet::is_content;

/// Distinctive words of a paper.
const WORDS: usize = 20;
/// Length of each list.
const DEPTH: usize = 50;
/// The rank whose share a paper of the same family or topic gains.
const KINSHIP: f32 = 140.0;
/// Words that a reason names.
const NAMED: usize = 4;

/// A distinctive word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distinctive {
    /// As it stands in the paper.
    pub(crate) word: String,
    pub(crate) stem: String,
    pub(crate) weight: f64,
}

/// A paper's profile and its neighbours.
pub(crate) struct Neighbours {
    pub(crate) distinctive: Vec<Distinctive>,
    /// Best first, with cosines where both have vectors.
    pub(crate) found: Vec<(Found, Option<f32>)>,
}

/// The neighbours of a paper.
pub(crate) fn neighbours(snapshot: &Snapshot, paper: &Document, limit: usize) -> tantivy::Result<Neighbours> {
    let Snapshot { searcher, fields, vectors, .. } = snapshot;
    let own = key(&paper.handle);
    let distinctive = distinctive(searcher, fields, paper)?;
    let by_words = list(searcher, fields, own, word_query(fields, &distinctive))?;
    let names =
        paper.authors.iter().map(|name| exact(Term::from_field_text(fields.author_names, &fold(name))));
    let by_authors = list(searcher, fields, own, names.collect())?;
    let kin = |field, values: &[String]| -> Vec<Box<dyn Query>> {
        let analysed = values.iter().map(|value| fold(value)).filter(|value| !value.is_empty());
        analysed.filter_map(|value| phrase(field, &value)).collect()
    };
    let mut relatives = kin(fields.topics, &paper.topics);
    relatives.extend(kin(fields.family, paper.family.as_slice()));
    let vector = vectors.get(own);
    let near = vector.as_ref().map(|vector| vectors.nearest(vector, DEPTH + 1, None)).unwrap_or_default();
    let near: Vec<u64> = near.iter().map(|near| near.key).filter(|key| *key != own).collect();
    let keys = |list: &[Found]| list.iter().map(|found| found.key).collect::<Vec<u64>>();
    let mut scores = fuse(&[&keys(&by_words), &near, &keys(&by_authors)]);
    let candidates: Vec<u64> = scores.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
    for found in list_among(searcher, fields, &candidates, relatives)? {
        *scores.entry(found.key).or_default() += 1.0 / (FUSION_K + KINSHIP);
    }
    let found = ranked(searcher, fields, scores, limit)?
        .into_iter()
        .map(|found| {
            let cosine = vector.as_ref().and_then(|vector| vectors.cosine(found.key, vector));
            (found, cosine)
        })
        .collect();
    Ok(Neighbours { distinctive, found })
}

fn exact(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

/// All words of a folded value.
fn phrase(field: tantivy::schema::Field, value: &str) -> Option<Box<dyn Query>> {
    let terms: Vec<Box<dyn Query>> =
        value.split(' ').map(|word| exact(Term::from_field_text(field, word))).collect();
    (!terms.is_empty()).then(|| Box::new(BooleanQuery::intersection(terms)) as Box<dyn Query>)
}

fn word_query(fields: &Fields, distinctive: &[Distinctive]) -> Vec<Box<dyn Query>> {
    let targets = [fields.targets(TextField::Title), fields.targets(TextField::Abstract)].concat();
    let mut any: Vec<Box<dyn Query>> = Vec::new();
    for Distinctive { stem, .. } in distinctive {
        for target in &targets {
            let term = Term::from_field_text(target.field, stem);
            let query = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            any.push(Box::new(BoostQuery::new(query, target.boost)));
        }
    }
    any
}

fn list(
    searcher: &Searcher,
    fields: &Fields,
    own: u64,
    any: Vec<Box<dyn Query>>,
) -> tantivy::Result<Vec<Found>> {
    if any.is_empty() {
        return Ok(Vec::new());
    }
    let query = BooleanQuery::new(vec![
        (Occur::Must, Box::new(BooleanQuery::union(any)) as Box<dyn Query>),
        (Occur::MustNot, exact(Term::from_field_u64(fields.key, own))),
    ]);
    Ok(searcher.search(&query, &Pass::best(DEPTH))?.top)
}

fn list_among(
    searcher: &Searcher,
    fields: &Fields,
    keys: &[u64],
    any: Vec<Box<dyn Query>>,
) -> tantivy::Result<Vec<Found>> {
    if any.is_empty() || keys.is_empty() {
        return Ok(Vec::new());
    }
    let among = keys.iter().map(|key| exact(Term::from_field_u64(fields.key, *key))).collect();
    let both: Vec<Box<dyn Query>> =
        vec![Box::new(BooleanQuery::union(any)), Box::new(BooleanQuery::union(among))];
    Ok(searcher.search(&BooleanQuery::intersection(both), &Pass::best(keys.len()))?.top)
}

/// The papers of these keys, best first, equals by handle.
fn ranked(
    searcher: &Searcher,
    fields: &Fields,
    scores: HashMap<u64, f32>,
    limit: usize,
) -> tantivy::Result<Vec<Found>> {
    let mut keys: Vec<u64> = scores.keys().copied().collect();
    keys.sort_unstable();
    let any = keys.iter().map(|key| exact(Term::from_field_u64(fields.key, *key))).collect();
    let pass = Pass { ranking: super::collect::Ranking::By(scores.into()), ..Pass::best(limit) };
    Ok(searcher.search(&BooleanQuery::union(any), &pass)?.top)
}

/// The words of a paper with the largest `(1 + log2 tf) * idf` that some other paper has too.
fn distinctive(searcher: &Searcher, fields: &Fields, paper: &Document) -> tantivy::Result<Vec<Distinctive>> {
    let mut counts: BTreeMap<String, (String, u32)> = BTreeMap::new();
    for text in std::iter::once(&paper.title).chain(&paper.texts) {
        let plain = words(&mut folded(), text);
        for (word, stem) in plain.into_iter().zip(words(&mut stemmed(), text)) {
            let long = word.text.chars().count() > 2 && !word.text.chars().all(|c| c.is_ascii_digit());
            if long && is_content(&word.text) {
                counts.entry(stem.text).or_insert_with(|| (word.text, 0)).1 += 1;
            }
        }
    }
    let papers = searcher.num_docs() as f64;
    let targets = [fields.targets(TextField::Title), fields.targets(TextField::Abstract)].concat();
    let mut found = Vec::new();
    for (stem, (word, count)) in counts {
        let mut frequency = 0;
        for target in &targets {
            frequency = frequency.max(searcher.doc_freq(&Term::from_field_text(target.field, &stem))?);
        }
        // A word of this paper alone finds nothing; a word of a fifth of all papers says nothing, where there are many.
        if frequency < 2 || (papers >= 50.0 && frequency as f64 > papers / 5.0) {
            continue;
        }
        let idf = libm::log2(1.0 + papers / frequency as f64);
        found.push(Distinctive { word, stem, weight: (1.0 + libm::log2(f64::from(count))) * idf });
    }
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.stem.cmp(&b.stem)));
    found.truncate(WORDS);
    Ok(found)
}

/// Why two papers are similar, as a sentence.
pub(crate) fn reason(
    distinctive: &[Distinctive],
    paper: &Document,
    other: &Document,
    cosine: Option<f32>,
) -> String {
    let mut parts = Vec::new();
    let theirs: BTreeSet<String> = std::iter::once(&other.title)
        .chain(&other.texts)
        .flat_map(|text| words(&mut stemmed(), text))
        .map(|token| token.text)
        .collect();
    let shared: Vec<&str> = distinctive
        .iter()
        .filter(|d| theirs.contains(&d.stem))
        .take(NAMED)
        .map(|d| d.word.as_str())
        .collect();
    if !shared.is_empty() {
        parts.push(format!("both speak of {}", and(&shared)));
    }
    let names: BTreeSet<String> = other.authors.iter().map(|name| fold(name)).collect();
    let authors: Vec<&str> = paper
        .authors
        .iter()
        .filter(|name| names.contains(&fold(name)))
        .take(NAMED)
        .map(String::as_str)
        .collect();
    if !authors.is_empty() {
        parts.push(format!("{} wrote both", and(&authors)));
    }
    let topics: BTreeSet<String> = other.topics.iter().map(|topic| fold(topic)).collect();
    if let Some(topic) = paper.topics.iter().find(|topic| topics.contains(&fold(topic))) {
        parts.push(format!("both are about {topic}"));
    } else if let (Some(family), true) = (&paper.family, paper.family == other.family) {
        parts.push(format!("both belong to the family {family}"));
    }
    if let Some(cosine) = cosine.filter(|cosine| *cosine >= 0.3) {
        parts.push(format!("near in meaning ({cosine:.2})"));
    }
    let mut sentence = if parts.is_empty() { "a few words in common".to_owned() } else { parts.join("; ") };
    if let Some(first) = sentence.get(..1).map(str::to_uppercase) {
        sentence.replace_range(..1, &first);
    }
    sentence + "."
}

fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

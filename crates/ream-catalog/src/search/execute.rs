//! A search on one snapshot: words, meaning, or both.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::collector::Count;
use tantivy::query::{BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Query, TermSetQuery};
use tantivy::{Searcher, Term};

use super::Mode;
use super::collect::{Counts, Found, Harvest, Keys, Pass, Rank, Ranking};
use super::compile::Compiler;
use super::query::Node;
use super::schema::Fields;
use super::snippet::Marks;
use super::vectors::{Near, Quantised, Vectors};

/// `k` of reciprocal rank fusion: a hit counts `1 / (k + rank)` in each list (Cormack, Clarke and Buettcher, SIGIR 2009).
pub(crate) const FUSION_K: f32 = 60.0;
/// Length of the list of words that is fused.
const TEXT_DEPTH: usize = 1000;
/// How many of the nearest papers a search by meaning shows.
const MEANING_DEPTH: usize = 1000;
/// How many of the nearest papers join the hits of words when both are fused.
const FUSED_DEPTH: usize = 100;

/// What a search works on: the index and the vectors as they were at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    /// Number, unique in this process.
    pub(crate) id: u64,
    pub(crate) searcher: Searcher,
    pub(crate) fields: Fields,
    pub(crate) vectors: Vectors,
}

/// A search, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) node: Node,
    pub(crate) mode: Mode,
    /// The vector of the query's free text, where there is one.
    pub(crate) vector: Option<Quantised>,
    pub(crate) chosen: Vec<Vec<String>>,
    pub(crate) after: Option<(Rank, String)>,
    pub(crate) limit: usize,
}

/// What a search found.
pub(crate) struct Outcome {
    pub(crate) hits: Vec<Found>,
    pub(crate) more: bool,
    pub(crate) total: usize,
    pub(crate) facets: Vec<Counts>,
    pub(crate) notes: Vec<String>,
    pub(crate) marks: Marks,
    /// Cosines of the papers near in meaning.
    pub(crate) near: HashMap<u64, f32>,
}

/// Runs a search.
pub(crate) fn execute(snapshot: &Snapshot, request: &Request) -> tantivy::Result<Outcome> {
    let Snapshot { searcher, fields, .. } = snapshot;
    let mut compiler = Compiler::new(fields, searcher);
    let mut notes = Vec::new();
    let node = compiler.mend(&request.node, &mut notes)?;
    let mode = if request.vector.is_some() { request.mode } else { Mode::Text };
    let near = match &request.vector {
        Some(vector) if mode != Mode::Text => {
            let depth = if mode == Mode::Meaning { MEANING_DEPTH } else { FUSED_DEPTH };
            nearest(&mut compiler, snapshot, vector, &request.node, depth)?
        }
        _ => Vec::new(),
    };
    let plan = Plan { snapshot, request, mode, near: &near };
    let words = compiler.query(&node).unwrap_or_else(|| Box::new(EmptyQuery));
    let (mut node, mut found) = (node, plan.run(words)?);
    if found.words == 0
        && mode != Mode::Meaning
        && let Some(any) = node.any_word()
        && let Some(query) = compiler.query(&any)
        && plan.is_barren(&mut compiler, &node)?
    {
        notes.push("no paper has all of these words; showing papers that have some of them".into());
        (node, found) = (any, plan.run(query)?);
    }
    let Harvest { total, top: mut hits, facets } = found.harvest;
    let more = hits.len() > request.limit;
    hits.truncate(request.limit);
    let near = near.iter().map(|near| (near.key, near.cosine)).collect();
    Ok(Outcome { hits, more, total, facets, notes, marks: Marks::of(&node), near })
}

/// How the hits of words and of meaning become a page.
struct Plan<'a> {
    snapshot: &'a Snapshot,
    request: &'a Request,
    mode: Mode,
    near: &'a [Near],
}

struct Page {
    harvest: Harvest,
    /// Hits of the words alone; where facets are chosen, those among them.
    words: usize,
}

impl Plan<'_> {
    fn run(&self, words: Box<dyn Query>) -> tantivy::Result<Page> {
        let Snapshot { searcher, fields, .. } = self.snapshot;
        let mut listed = None;
        let (query, ranking) = match self.mode {
            Mode::Text => (words, Ranking::Words),
            Mode::Meaning => {
                let cosines = self.near.iter().map(|near| (near.key, near.cosine)).collect();
                (key_set(fields, self.near), Ranking::By(Arc::new(cosines)))
            }
            Mode::Fused => {
                let list = searcher.search(&words, &Pass::best(TEXT_DEPTH))?;
                listed = Some(list.total);
                let texts: Vec<u64> = list.top.iter().map(|found| found.key).collect();
                let keys: Vec<u64> = self.near.iter().map(|near| near.key).collect();
                let both: Box<dyn Query> =
                    Box::new(BooleanQuery::union(vec![words, key_set(fields, self.near)]));
                (both, Ranking::By(Arc::new(fuse(&[&texts, &keys]))))
            }
        };
        let pass = Pass {
            ranking,
            chosen: self.request.chosen.clone(),
            after: self.request.after.clone(),
            limit: self.request.limit + 1,
            counted: true,
        };
        let harvest = searcher.search(&query, &pass)?;
        Ok(Page { words: listed.unwrap_or(harvest.total), harvest })
    }

    /// Whether the words find nothing even without the chosen facets.
    fn is_barren(&self, compiler: &mut Compiler<'_>, node: &Node) -> tantivy::Result<bool> {
        let chosen = self.request.chosen.iter().any(|chosen| !chosen.is_empty());
        match compiler.query(node) {
            Some(query) if chosen => Ok(self.snapshot.searcher.search(&query, &Count)? == 0),
            _ => Ok(true),
        }
    }
}

/// The papers nearest in meaning among those that meet the query's conditions.
fn nearest(
    compiler: &mut Compiler<'_>,
    snapshot: &Snapshot,
    vector: &Quantised,
    node: &Node,
    depth: usize,
) -> tantivy::Result<Vec<Near>> {
    let conditions = node.conditions();
    let allowed = match compiler.query(&conditions) {
        Some(query) if conditions != Node::Everything => Some(snapshot.searcher.search(&query, &Keys)?),
        _ => None,
    };
    Ok(snapshot.vectors.nearest(vector, depth, allowed.as_deref()))
}

fn key_set(fields: &Fields, near: &[Near]) -> Box<dyn Query> {
    let terms = near.iter().map(|near| Term::from_field_u64(fields.key, near.key));
    Box::new(BoostQuery::new(Box::new(ConstScoreQuery::new(Box::new(TermSetQuery::new(terms)), 0.0)), 0.0))
}

/// Fuses ranked lists by reciprocal rank.
pub(crate) fn fuse(lists: &[&[u64]]) -> HashMap<u64, f32> {
    let mut scores = HashMap::new();
    for list in lists {
        for (i, key) in list.iter().enumerate() {
            *scores.entry(*key).or_default() += 1.0 / (FUSION_K + i as f32 + 1.0);
        }
    }
    scores
}

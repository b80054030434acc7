//! From a query's tree to a query of the index; mistyped words are replaced on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery,
    Query, RangeQuery, TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{Searcher, Term};

use super::analysis::{folded, stemmed, words};
use super::excluded::Excluded;
use super::query::{Form, Node, TextField};
use super::schema::{Fields, Target};

/// Most words that take a mistyped word's place.
const REPLACEMENTS: usize = 3;

/// Makes queries for one searcher.
pub(crate) struct Compiler<'a> {
    fields: &'a Fields,
    searcher: &'a Searcher,
    stemmed: TextAnalyzer,
    folded: TextAnalyzer,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(fields: &'a Fields, searcher: &'a Searcher) -> Self {
        Self { fields, searcher, stemmed: stemmed(), folded: folded() }
    }

    fn tokens(&mut self, text: &str, stemmed: bool) -> Vec<(usize, String)> {
        let analyzer = if stemmed { &mut self.stemmed } else { &mut self.folded };
        words(analyzer, text).into_iter().map(|token| (token.position, token.text)).collect()
    }

    /// The query of a tree; nothing where the tree says nothing (a row of punctuation).
    pub(crate) fn query(&mut self, node: &Node) -> Option<Box<dyn Query>> {
        Some(match node {
            Node::Everything => Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0)),
            Node::Text { field, text, form, .. } => return self.text(*field, text, *form),
            Node::Year { from, until } => {
                let bound = |year: &Option<u64>| {
                    year.map_or(Bound::Unbounded, |y| {
                        Bound::Included(Term::from_field_u64(self.fields.year, y))
                    })
                };
                flat(Box::new(RangeQuery::new(bound(from), bound(until))))
            }
            Node::Verdict(verdicts) => {
                let any = verdicts.iter().map(|v| self.exact(Term::from_field_text(self.fields.verdicts, v)));
                flat(union(any.collect()))
            }
            Node::Runs(runs) => flat(self.runs(*runs)),
            Node::Minutes { from, until } => {
                let bound = |end: &Option<(f64, bool)>| match end {
                    None => Bound::Unbounded,
                    Some((minutes, true)) => {
                        Bound::Included(Term::from_field_f64(self.fields.minutes, *minutes))
                    }
                    Some((minutes, false)) => {
                        Bound::Excluded(Term::from_field_f64(self.fields.minutes, *minutes))
                    }
                };
                let range: Box<dyn Query> = Box::new(RangeQuery::new(bound(from), bound(until)));
                flat(Box::new(BooleanQuery::intersection(vec![self.runs(true), range])))
            }
            Node::And(nodes) => return self.all(nodes),
            Node::Or(nodes) => {
                let any: Vec<_> = nodes.iter().filter_map(|node| self.query(node)).collect();
                if any.is_empty() {
                    return None;
                }
                union(any)
            }
            Node::Not(_) => return self.all(std::slice::from_ref(node)),
        })
    }

    fn all(&mut self, nodes: &[Node]) -> Option<Box<dyn Query>> {
        let mut clauses = Vec::new();
        for node in nodes {
            match node {
                Node::Not(inner) => clauses.extend(self.query(inner).map(excluded)),
                node => clauses.extend(self.query(node).map(|query| (Occur::Must, query))),
            }
        }
        if clauses.is_empty() {
            return None;
        }
        if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
            clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))));
        }
        if clauses.len() == 1 {
            return clauses.pop().map(|(_, query)| query);
        }
        Some(Box::new(BooleanQuery::new(clauses)))
    }

    fn exact(&self, term: Term) -> Box<dyn Query> {
        Box::new(TermQuery::new(term, IndexRecordOption::Basic))
    }

    fn runs(&self, runs: bool) -> Box<dyn Query> {
        self.exact(Term::from_field_text(self.fields.runs, if runs { "yes" } else { "no" }))
    }

    fn text(&mut self, field: TextField, text: &str, form: Form) -> Option<Box<dyn Query>> {
        let mut any: Vec<Box<dyn Query>> = Vec::new();
        let mut says = false;
        for target in self.fields.targets(field) {
            let query = match form {
                Form::Prefix => self.prefix(target, text),
                Form::Word | Form::Phrase => self.phrase(target, text),
            };
            says |= query.is_some();
            any.extend(
                query.flatten().map(|query| Box::new(BoostQuery::new(query, target.boost)) as Box<dyn Query>),
            );
        }
        says.then(|| union(any))
    }

    /// Nothing where the text has no words; `Some(None)` where no paper has one of them in this field, which spares most words seven
    /// empty scorers.
    fn phrase(&mut self, target: Target, text: &str) -> Option<Option<Box<dyn Query>>> {
        let mut terms: Vec<(usize, Term)> = self
            .tokens(text, target.stemmed)
            .into_iter()
            .map(|(position, text)| (position, Term::from_field_text(target.field, &text)))
            .collect();
        if terms.is_empty() {
            return None;
        }
        // An error shows up again when the query runs.
        if terms.iter().any(|(_, term)| matches!(self.searcher.doc_freq(term), Ok(0))) {
            return Some(None);
        }
        Some(match terms.len() {
            1 => terms.pop().map(|(_, term)| {
                Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
            }),
            _ => Some(Box::new(PhraseQuery::new_with_offset(terms))),
        })
    }

    /// Every word before the last as it is, the last as a beginning: `self-att*`.
    fn prefix(&mut self, target: Target, text: &str) -> Option<Option<Box<dyn Query>>> {
        let mut tokens = self.tokens(text, false);
        let (_, last) = tokens.pop()?;
        let term = Term::from_field_text(target.written, &last);
        let mut all: Vec<Box<dyn Query>> = vec![Box::new(FuzzyTermQuery::new_prefix(term, 0, false))];
        all.extend(tokens.iter().map(|(_, word)| self.exact(Term::from_field_text(target.written, word))));
        Some(Some(if all.len() == 1 { all.remove(0) } else { Box::new(BooleanQuery::intersection(all)) }))
    }

    /// The tree with words that no paper has replaced by the nearest that some have, and a note for each.
    ///
    /// A word of four letters may be one edit away, from eight letters two; an exchange of neighbours is one edit. Phrases in quotes,
    /// prefixes, and words with digits are taken as written.
    pub(crate) fn mend(&mut self, node: &Node, notes: &mut Vec<String>) -> tantivy::Result<Node> {
        let mut each = |compiler: &mut Self, nodes: &[Node]| -> tantivy::Result<Vec<Node>> {
            nodes.iter().map(|node| compiler.mend(node, notes)).collect()
        };
        Ok(match node {
            Node::And(nodes) => Node::And(each(self, nodes)?),
            Node::Or(nodes) => Node::Or(each(self, nodes)?),
            Node::Text { field, text, form: Form::Word, at } => self.mend_word(*field, text, *at, notes)?,
            other => other.clone(),
        })
    }

    fn mend_word(
        &mut self,
        field: TextField,
        text: &str,
        at: usize,
        notes: &mut Vec<String>,
    ) -> tantivy::Result<Node> {
        let node = |text: String| Node::Text { field, text, form: Form::Word, at };
        let tokens = self.tokens(text, false);
        let mut variants = vec![String::new()];
        let mut changed = false;
        for (_, word) in &tokens {
            let nearest = if self.known(field, word)? { Vec::new() } else { self.nearest(field, word)? };
            if !nearest.is_empty() {
                let shown = nearest.iter().map(|near| format!("`{near}`")).collect::<Vec<_>>().join(", ");
                notes.push(format!("no paper has `{word}`; showing {shown}"));
                changed = true;
            }
            // Only a word of one part is replaced by several; in `self-attenton` each part takes its nearest.
            let options = match (tokens.len(), nearest.is_empty()) {
                (_, true) => vec![word.clone()],
                (1, false) => nearest,
                (_, false) => nearest.into_iter().take(1).collect(),
            };
            variants = variants
                .iter()
                .flat_map(|before| {
                    options.iter().map(move |next| format!("{before} {next}").trim().to_owned())
                })
                .collect();
        }
        if !changed {
            return Ok(node(text.to_owned()));
        }
        let mut nodes: Vec<Node> = variants.into_iter().map(node).collect();
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    /// Whether some paper has the word in one of its forms.
    fn known(&mut self, field: TextField, word: &str) -> tantivy::Result<bool> {
        for target in self.fields.targets(field) {
            for (_, text) in self.tokens(word, target.stemmed) {
                if self.searcher.doc_freq(&Term::from_field_text(target.field, &text))? > 0 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The nearest words of the vocabulary, those of most papers first.
    fn nearest(&self, field: TextField, word: &str) -> tantivy::Result<Vec<String>> {
        let letters = word.chars().count();
        let reach: u8 = match letters {
            _ if word.chars().any(|c| c.is_ascii_digit()) => 0,
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        let fields: BTreeSet<_> = self.fields.targets(field).iter().map(|target| target.written).collect();
        for distance in 1..=reach {
            let mut found: BTreeMap<String, u64> = BTreeMap::new();
            for &field in &fields {
                let automaton =
                    FuzzyTermQuery::new(Term::from_field_text(field, word), distance, true).automaton()?;
                for segment in self.searcher.segment_readers() {
                    let inverted = segment.inverted_index(field)?;
                    let mut stream = inverted.terms().search(&automaton).into_stream()?;
                    while stream.advance() {
                        if let Ok(text) = std::str::from_utf8(stream.key()) {
                            *found.entry(text.to_owned()).or_default() += u64::from(stream.value().doc_freq);
                        }
                    }
                }
            }
            if !found.is_empty() {
                let mut ranked: Vec<(String, u64)> = found.into_iter().collect();
                ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                return Ok(ranked.into_iter().take(REPLACEMENTS).map(|(word, _)| word).collect());
            }
        }
        Ok(Vec::new())
    }
}

fn excluded(query: Box<dyn Query>) -> (Occur, Box<dyn Query>) {
    (Occur::MustNot, Box::new(Excluded(query)))
}

/// A condition does not change the score.
fn flat(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 0.0))
}

fn union(mut queries: Vec<Box<dyn Query>>) -> Box<dyn Query> {
    match queries.len() {
        0 => Box::new(EmptyQuery),
        1 => queries.remove(0),
        _ => Box::new(BooleanQuery::union(queries)),
    }
}

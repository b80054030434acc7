//! One pass over the hits of a query: how many there are, the best of them after a cursor, and the counts of every facet.
//!
//! Chosen facet values filter the hits, values of one field as alternatives. Each facet is counted without its own choice: a paper that
//! only the choice in `year` keeps out counts for `year` and for nothing else. So all counts come from one pass.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::sync::Arc;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocId, Score, SegmentReader};

use super::schema::name;

/// The facets, in the order they are shown.
pub(crate) const FACETS: [&str; 6] =
    [name::FAMILY, name::TOPIC, name::VERDICT, name::ORGANISATION, name::YEAR, name::RUNS];

/// Where a hit stands: higher first, the first number before the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rank(pub(crate) f32, pub(crate) f32);

impl Rank {
    /// Best first.
    pub(crate) fn order(self, other: Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.total_cmp(&self.1))
    }
}

/// How hits are ranked.
#[derive(Clone, Debug)]
pub(crate) enum Ranking {
    /// By the words' score.
    Words,
    /// By these numbers; papers without one come after them, by the words' score.
    By(Arc<HashMap<u64, f32>>),
}

/// A hit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) rank: Rank,
    pub(crate) handle: String,
    pub(crate) key: u64,
}

/// How many hits have each value of a facet, in the order of the values.
pub(crate) type Counts = Vec<(String, u64)>;

/// What a pass brings home.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) total: usize,
    /// Best first; equal ranks by handle.
    pub(crate) top: Vec<Found>,
    /// For each of [`FACETS`]; empty where they were not asked for.
    pub(crate) facets: Vec<Counts>,
}

/// The collector of a pass.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) ranking: Ranking,
    /// Chosen values, for each of [`FACETS`]; an empty list chooses nothing.
    pub(crate) chosen: Vec<Vec<String>>,
    /// Hits up to and with this one are not shown again.
    pub(crate) after: Option<(Rank, String)>,
    pub(crate) limit: usize,
    /// Whether facets are counted.
    pub(crate) counted: bool,
}

impl Pass {
    /// The best hits alone.
    pub(crate) fn best(limit: usize) -> Self {
        Self { ranking: Ranking::Words, chosen: Vec::new(), after: None, limit, counted: false }
    }
}

enum Values {
    Text(StrColumn, Vec<u64>),
    Number(Column<u64>, BTreeMap<u64, u64>),
    Absent,
}

struct FacetColumn {
    values: Values,
    /// Ordinals (text) or numbers that pass; nothing where all pass.
    passing: Option<Vec<u64>>,
}

impl FacetColumn {
    fn open(segment: &SegmentReader, field: &str, chosen: &[String]) -> tantivy::Result<Self> {
        let choice = !chosen.is_empty();
        if field == name::YEAR {
            let column = segment.fast_fields().u64(field)?;
            let years = chosen.iter().filter_map(|year| year.parse().ok()).collect();
            return Ok(Self {
                values: Values::Number(column, BTreeMap::new()),
                passing: choice.then_some(years),
            });
        }
        let Some(column) = segment.fast_fields().str(field)? else {
            return Ok(Self { values: Values::Absent, passing: choice.then(Vec::new) });
        };
        let mut passing = Vec::new();
        for value in chosen {
            passing.extend(column.dictionary().term_ord(value)?);
        }
        let counts = vec![0; column.dictionary().num_terms()];
        Ok(Self { values: Values::Text(column, counts), passing: choice.then_some(passing) })
    }

    fn passes(&self, doc: DocId) -> bool {
        let Some(passing) = &self.passing else { return true };
        match &self.values {
            Values::Text(column, _) => column.ords().values_for_doc(doc).any(|ord| passing.contains(&ord)),
            Values::Number(column, _) => column.values_for_doc(doc).any(|number| passing.contains(&number)),
            Values::Absent => false,
        }
    }

    fn count(&mut self, doc: DocId) {
        match &mut self.values {
            Values::Text(column, counts) => {
                for ord in column.ords().values_for_doc(doc) {
                    if let Some(count) = usize::try_from(ord).ok().and_then(|ord| counts.get_mut(ord)) {
                        *count += 1;
                    }
                }
            }
            Values::Number(column, counts) => {
                column.values_for_doc(doc).for_each(|number| *counts.entry(number).or_default() += 1);
            }
            Values::Absent => {}
        }
    }

    fn harvest(self) -> io::Result<Counts> {
        match self.values {
            Values::Text(column, counts) => {
                let ords: Vec<u64> =
                    (0..).zip(&counts).filter(|(_, n)| **n > 0).map(|(ord, _)| ord).collect();
                let mut found = Counts::with_capacity(ords.len());
                let mut counts = counts.into_iter().filter(|count| *count > 0);
                // In one walk: a value by itself costs the walk through half a block of the dictionary.
                column.dictionary().sorted_ords_to_term_cb(&ords, |value| {
                    let value = String::from_utf8_lossy(value).into_owned();
                    found.extend(counts.next().map(|count| (value, count)));
                })?;
                Ok(found)
            }
            Values::Number(_, counts) => {
                let mut found: Counts = counts.into_iter().map(|(n, count)| (n.to_string(), count)).collect();
                found.sort_unstable();
                Ok(found)
            }
            Values::Absent => Ok(Counts::new()),
        }
    }
}

/// Adds up two lists in the order of their values.
fn add(a: Counts, b: Counts) -> Counts {
    if a.is_empty() {
        return b;
    }
    let mut sum = Counts::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some((left, _)), Some((right, _))) = (a.peek(), b.peek()) {
        match left.cmp(right) {
            Ordering::Less => sum.extend(a.next()),
            Ordering::Greater => sum.extend(b.next()),
            Ordering::Equal => {
                let both = a.next().zip(b.next());
                sum.extend(both.map(|((value, x), (_, y))| (value, x + y)));
            }
        }
    }
    sum.extend(a.chain(b));
    sum
}

/// The ordinal of a hit without a handle, which no written document is.
const NO_HANDLE: u64 = u64::MAX;

/// A hit of one segment; the greatest is the worst, for a heap that drops it.
struct Candidate {
    rank: Rank,
    /// Ordinal of the handle: ordinals follow the order of handles.
    handle: u64,
    doc: DocId,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.order(other.rank).then(self.handle.cmp(&other.handle))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// One segment's part of a pass.
pub(crate) struct SegmentPass {
    ranking: Ranking,
    keys: Column<u64>,
    handles: Option<StrColumn>,
    /// The cursor's rank, and the first ordinal of a handle behind it at that rank.
    after: Option<(Rank, u64)>,
    facets: Vec<FacetColumn>,
    counted: bool,
    total: usize,
    limit: usize,
    best: BinaryHeap<Candidate>,
}

impl Collector for Pass {
    type Fruit = Harvest;
    type Child = SegmentPass;

    fn for_segment(&self, _: u32, segment: &SegmentReader) -> tantivy::Result<SegmentPass> {
        let handles = segment.fast_fields().str(name::HANDLE)?;
        let after = match (&self.after, &handles) {
            (Some((rank, handle)), Some(column)) => Some((*rank, behind(column, handle)?)),
            _ => None,
        };
        let mut facets = Vec::new();
        if self.counted || self.chosen.iter().any(|chosen| !chosen.is_empty()) {
            for (i, field) in FACETS.into_iter().enumerate() {
                let chosen = self.chosen.get(i).map_or(&[][..], Vec::as_slice);
                facets.push(FacetColumn::open(segment, field, chosen)?);
            }
        }
        Ok(SegmentPass {
            ranking: self.ranking.clone(),
            keys: segment.fast_fields().u64(name::KEY)?,
            handles,
            after,
            facets,
            counted: self.counted,
            total: 0,
            limit: self.limit,
            best: BinaryHeap::with_capacity(self.limit.min(1024) + 1),
        })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, fruits: Vec<io::Result<Harvest>>) -> tantivy::Result<Harvest> {
        let mut all = Harvest {
            facets: vec![Counts::new(); if self.counted { FACETS.len() } else { 0 }],
            ..Harvest::default()
        };
        for fruit in fruits {
            let fruit = fruit?;
            all.total += fruit.total;
            all.top.extend(fruit.top);
            for (sum, part) in all.facets.iter_mut().zip(fruit.facets) {
                *sum = add(std::mem::take(sum), part);
            }
        }
        all.top.sort_by(|a, b| a.rank.order(b.rank).then_with(|| a.handle.cmp(&b.handle)));
        all.top.truncate(self.limit);
        Ok(all)
    }
}

/// The first ordinal whose handle comes after this one.
fn behind(column: &StrColumn, handle: &str) -> io::Result<u64> {
    let dictionary = column.dictionary();
    // A handle has no zero bytes, so nothing stands between it and this key.
    let mut next = handle.as_bytes().to_vec();
    next.push(0);
    let (mut low, mut high) = (0, dictionary.num_terms() as u64);
    let mut text = Vec::new();
    while low < high {
        let middle = low + (high - low) / 2;
        text.clear();
        dictionary.ord_to_term(middle, &mut text)?;
        if text < next { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

impl SegmentPass {
    /// Whether the paper passes every choice; where a single facet keeps it out, it counts for that facet.
    fn passes(&mut self, doc: DocId) -> bool {
        let mut failing = None;
        for (i, facet) in self.facets.iter().enumerate() {
            if !facet.passes(doc) && failing.replace(i).is_some() {
                return false;
            }
        }
        match failing {
            Some(i) => {
                if self.counted {
                    self.facets[i].count(doc);
                }
                false
            }
            None => true,
        }
    }
}

impl SegmentCollector for SegmentPass {
    type Fruit = io::Result<Harvest>;

    fn collect(&mut self, doc: DocId, score: Score) {
        if !self.passes(doc) {
            return;
        }
        self.total += 1;
        if self.counted {
            self.facets.iter_mut().for_each(|facet| facet.count(doc));
        }
        let rank = match &self.ranking {
            Ranking::Words => Rank(score, 0.0),
            Ranking::By(scores) => {
                let own = self.keys.first(doc).and_then(|key| scores.get(&key).copied());
                Rank(own.unwrap_or(f32::NEG_INFINITY), score)
            }
        };
        // A full heap refuses most hits by their rank alone, before the handle is read.
        let full = self.best.len() >= self.limit;
        if full && self.best.peek().is_none_or(|worst| rank.order(worst.rank) == Ordering::Greater) {
            return;
        }
        let handle = self.handles.as_ref().and_then(|column| column.ords().first(doc)).unwrap_or(NO_HANDLE);
        if let Some((last, first_behind)) = self.after {
            let shown = match rank.order(last) {
                Ordering::Less => true,
                Ordering::Equal => handle < first_behind,
                Ordering::Greater => false,
            };
            if shown {
                return;
            }
        }
        self.best.push(Candidate { rank, handle, doc });
        if self.best.len() > self.limit {
            self.best.pop();
        }
    }

    fn harvest(self) -> io::Result<Harvest> {
        let best = self.best.into_sorted_vec();
        let mut names = names(self.handles.as_ref(), &best)?;
        let top = best
            .into_iter()
            .map(|Candidate { rank, handle, doc }| Found {
                rank,
                handle: names.remove(&handle).unwrap_or_default(),
                key: self.keys.first(doc).unwrap_or_default(),
            })
            .collect();
        let facets = if self.counted {
            self.facets.into_iter().map(FacetColumn::harvest).collect::<io::Result<_>>()?
        } else {
            Vec::new()
        };
        Ok(Harvest { total: self.total, top, facets })
    }
}

/// The handles of candidates by their ordinals, in one walk through the dictionary.
fn names(handles: Option<&StrColumn>, best: &[Candidate]) -> io::Result<HashMap<u64, String>> {
    let mut names = HashMap::with_capacity(best.len());
    let Some(column) = handles else { return Ok(names) };
    let mut ords: Vec<u64> =
        best.iter().map(|candidate| candidate.handle).filter(|ord| *ord != NO_HANDLE).collect();
    ords.sort_unstable();
    let mut next = ords.iter();
    column.dictionary().sorted_ords_to_term_cb(&ords, |handle| {
        let handle = String::from_utf8_lossy(handle).into_owned();
        names.extend(next.next().map(|ord| (*ord, handle)));
    })?;
    Ok(names)
}

/// Collects the keys of all hits.
pub(crate) struct Keys;

/// One segment's part of [`Keys`].
pub(crate) struct SegmentKeys {
    column: Column<u64>,
    found: Vec<u64>,
}

impl Collector for Keys {
    type Fruit = Vec<u64>;
    type Child = SegmentKeys;

    fn for_segment(&self, _: u32, segment: &SegmentReader) -> tantivy::Result<SegmentKeys> {
        Ok(SegmentKeys { column: segment.fast_fields().u64(name::KEY)?, found: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, fruits: Vec<Vec<u64>>) -> tantivy::Result<Vec<u64>> {
        Ok(fruits.concat())
    }
}

impl SegmentCollector for SegmentKeys {
    type Fruit = Vec<u64>;

    fn collect(&mut self, doc: DocId, _: Score) {
        self.found.extend(self.column.first(doc));
    }

    fn harvest(self) -> Vec<u64> {
        self.found
    }
}

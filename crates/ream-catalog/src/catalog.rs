//! The catalogue: the store, the index that follows it, and the vectors in memory.

mod keeper;
mod page;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::meaning::{Embedder, MeaningState};
use crate::search::collect::FACETS;
use crate::search::cursor::{Cursor, fingerprint};
use crate::search::execute::{Outcome, Request, Snapshot, execute};
use crate::search::{
    Hit, Mode, Node, Quantised, SearchPage, SearchQuery, Similar, index_error, parse, similar,
};
use crate::store::{Store, Stored, StoredVector};

use keeper::{Keeper, Shown};

/// Texts that are embedded at once.
const EMBED: u32 = 64;
/// Hits of a page when nothing is asked for, and at most.
const LIMIT: usize = 20;
const MOST: usize = 200;
/// Queries whose vectors are remembered.
const REMEMBERED: usize = 128;

/// The catalogue. A clone is another handle on the same.
///
/// The index is disposable: where it is missing, damaged, of another version or deleted while in use, it is built again from the store,
/// in the background, while searches go on: on what they had, or, at the first start, on what is there so far.
///
/// ```
/// use ream_catalog::{Catalog, Record, SearchQuery, Source, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let store = Store::open(&format!("sqlite:{}/catalogue.db", folder.path().display())).await?;
/// let record = Record { title: "Speculative decoding with trees".into(), ..Record::default() };
/// store.upsert(&[record], &Source { kind: "bibtex".into(), name: "refs.bib".into() }).await?;
///
/// let catalog = Catalog::open(store, &folder.path().join("index"), None).await?;
/// catalog.refresh().await?;
/// let page = catalog.search(&SearchQuery { text: "tree decoding".into(), ..SearchQuery::default() }).await?;
/// assert_eq!(page.total, 1);
/// assert!(page.notes[0].contains("meaning search is off"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    directory: PathBuf,
    embedder: OnceLock<Arc<dyn Embedder>>,
    /// Tells cursors of other processes apart.
    process: u64,
    shown: RwLock<Shown>,
    keeper: tokio::sync::Mutex<Keeper>,
    /// A search could not read the index.
    unreadable: AtomicBool,
    asked: Mutex<VecDeque<(String, Quantised)>>,
}

impl Catalog {
    /// Opens the catalogue over a store. The index in `index_dir` is opened or begun; what it lacks is added in the background.
    /// [`Catalog::refresh`] waits for that.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The store fails; no index can be made, not even in memory.
    pub async fn open(store: Store, index_dir: &Path, embedder: Option<Arc<dyn Embedder>>) -> Result<Self> {
        let directory = index_dir.to_path_buf();
        let (keeper, shown) = Keeper::open(directory.clone(), &store, embedder.as_deref()).await?;
        let embedder = embedder.map(OnceLock::from).unwrap_or_default();
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let process = fingerprint(&[&time.to_string(), &std::process::id().to_string()]);
        let catalog = Self {
            inner: Arc::new(Inner {
                store,
                directory,
                embedder,
                process,
                shown: RwLock::new(shown),
                keeper: tokio::sync::Mutex::new(keeper),
                unreadable: AtomicBool::new(false),
                asked: Mutex::default(),
            }),
        };
        let follower = catalog.clone();
        tokio::spawn(async move {
            // An error shows up again in the first `refresh` that someone waits for.
            let _ = follower.refresh().await;
        });
        Ok(catalog)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Turns meaning search on in a catalogue that was opened without an encoder; vectors that the store holds are read at once,
    /// [`Catalog::embed_missing`] makes the others. Does nothing when there is an encoder already.
    ///
    /// # Errors
    /// The store fails; meaning search stays off.
    pub async fn set_embedder(&self, embedder: Arc<dyn Embedder>) -> Result<()> {
        let inner = &*self.inner;
        let mut keeper = inner.keeper.lock().await;
        if inner.embedder.get().is_some() {
            return Ok(());
        }
        keeper.begin_vectors(&inner.store, &*embedder).await?;
        keeper.show(inner, true);
        // Nobody else sets it while the keeper is held.
        let _ = inner.embedder.set(embedder);
        Ok(())
    }

    /// Brings the index up to the store; returns how many papers were written into it. To be called after imports and every few seconds.
    ///
    /// # Errors
    /// The store or the index fails.
    pub async fn refresh(&self) -> Result<usize> {
        let inner = &*self.inner;
        let mut keeper = inner.keeper.lock().await;
        let mut written = keeper.follow(inner, false).await;
        if matches!(written, Err(Error::Index(_))) {
            // Deleted or damaged under our hands: once more, from nothing.
            written = keeper.follow(inner, true).await;
        }
        let written = written?;
        keeper.read_vectors(&inner.store, inner.embedder.get().map(|e| &**e)).await?;
        keeper.show(inner, false);
        Ok(written)
    }

    /// Embeds the papers that have no vector of their present text, in batches; `progress` is told how many are done, of how many.
    /// Returns how many there were; 0 without an encoder.
    ///
    /// # Errors
    /// The encoder or the store fails. What was embedded before is kept.
    pub async fn embed_missing(&self, progress: &mut (dyn FnMut(usize, usize) + Send)) -> Result<usize> {
        let inner = &*self.inner;
        let Some(embedder) = inner.embedder.get() else { return Ok(0) };
        let papers = usize::try_from(inner.store.count().await?.papers).unwrap_or(usize::MAX);
        let present = usize::try_from(inner.store.count_vectors(embedder.name()).await?).unwrap_or(0);
        let total = papers.saturating_sub(present);
        let mut done = 0;
        let mut before = String::new();
        loop {
            let missing = inner.store.missing_vectors(embedder.name(), EMBED).await?;
            let Some(first) = missing.first() else { break };
            if first.handle == before {
                return Err(Error::Embedder(format!("the vector of `{before}` is not kept by the store")));
            }
            before.clone_from(&first.handle);
            let texts: Vec<String> = missing.iter().map(|missing| embedded_text(&missing.record)).collect();
            let vectors = embed(embedder, texts).await?;
            let stored: Vec<StoredVector> = missing
                .into_iter()
                .zip(vectors)
                .map(|(missing, vector)| StoredVector {
                    handle: missing.handle,
                    text_hash: missing.text_hash,
                    scale: vector.scale,
                    components: vector.bytes,
                })
                .collect();
            inner.store.put_vectors(embedder.name(), &stored).await?;
            done += stored.len();
            inner.keeper.lock().await.put_vectors(stored);
            progress(done, total.max(done));
        }
        inner.keeper.lock().await.show(inner, true);
        Ok(done)
    }

    /// Whether papers can be found by meaning.
    #[must_use]
    pub fn meaning(&self) -> MeaningState {
        if self.inner.embedder.get().is_none() {
            return MeaningState::off();
        }
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        MeaningState::On { documents: shown.current().vectors.len() }
    }

    /// Searches; see [`crate::search`] for the query language and for what a walk through the pages shows.
    ///
    /// # Errors
    /// `bad_query` with the position of the mistake, `bad_cursor`, or the store, the index or the encoder fails.
    pub async fn search(&self, query: &SearchQuery) -> Result<SearchPage> {
        let inner = &*self.inner;
        let node = parse(&query.text).map_err(|error| Error::query_at(error.at, error.to_string()))?;
        let chosen = chosen(&query.facets)?;
        let print = query_print(query);
        let cursor = match &query.after {
            None => None,
            Some(text) => {
                let cursor: Option<Cursor> = text.parse().ok();
                Some(
                    cursor
                        .filter(|cursor| cursor.query == print)
                        .ok_or_else(|| Error::Cursor(text.clone()))?,
                )
            }
        };
        let (snapshot, mut notes) = inner.snapshot(cursor.as_ref());
        let vector = inner.query_vector(query.mode, &node, &snapshot, &mut notes).await?;
        let limit = if query.limit == 0 { LIMIT } else { query.limit.min(MOST) };
        let after = cursor.map(|cursor| (cursor.rank, cursor.handle));
        let request = Request { node, mode: query.mode, vector, chosen: chosen.clone(), after, limit };
        let shared = snapshot.clone();
        let outcome = inner.run(move || execute(&shared, &request)).await?;
        let id = snapshot.id;
        if outcome.more {
            inner.shown.write().unwrap_or_else(PoisonError::into_inner).name(snapshot);
        }
        let next = outcome.hits.last().filter(|_| outcome.more).map(|last| {
            let handle = last.handle.clone();
            Cursor { process: inner.process, snapshot: id, query: print, rank: last.rank, handle }.to_string()
        });
        notes.extend(outcome.notes.iter().cloned());
        let facets = page::facets(&outcome.facets, &chosen);
        let total = outcome.total;
        let hits = self.hits(outcome).await?;
        Ok(SearchPage { hits, next, total, facets, notes })
    }

    async fn hits(&self, outcome: Outcome) -> Result<Vec<Hit>> {
        let Outcome { hits: found, marks, near, .. } = outcome;
        let handles: Vec<&str> = found.iter().map(|found| found.handle.as_str()).collect();
        let mut papers: BTreeMap<String, Stored> = self
            .store()
            .get_many(&handles)
            .await?
            .into_iter()
            .map(|paper| (paper.handle.clone(), paper))
            .collect();
        let mut hits = Vec::with_capacity(found.len());
        for found in found {
            let paper = match papers.remove(&found.handle) {
                Some(paper) => paper,
                // A new handle since the snapshot: the old one still answers.
                None => match self.store().get(&found.handle).await? {
                    Some(paper) => paper,
                    None => continue,
                },
            };
            let score = if found.rank.0.is_finite() { found.rank.0 } else { 0.0 };
            hits.push(page::hit(paper, score, &marks, near.get(&found.key).copied()));
        }
        Ok(hits)
    }

    /// Papers similar to one, best first, with the reason as a sentence.
    ///
    /// # Errors
    /// `not_found`, or the store or the index fails.
    pub async fn similar(&self, handle: &str, limit: usize) -> Result<Vec<Similar>> {
        let inner = &*self.inner;
        let paper = inner.store.get(handle).await?.ok_or_else(|| Error::NotFound(handle.to_owned()))?;
        let (snapshot, _) = inner.snapshot(None);
        let own = page::document(&paper);
        let asked = own.clone();
        let limit = limit.clamp(1, MOST);
        let neighbours = inner.run(move || similar::neighbours(&snapshot, &asked, limit)).await?;
        let handles: Vec<&str> = neighbours.found.iter().map(|(found, _)| found.handle.as_str()).collect();
        let papers = inner.store.get_many(&handles).await?;
        let mut similar = Vec::with_capacity(papers.len());
        for paper in papers {
            let Some((found, cosine)) =
                neighbours.found.iter().find(|(found, _)| found.handle == paper.handle)
            else {
                continue;
            };
            let why = similar::reason(&neighbours.distinctive, &own, &page::document(&paper), *cosine);
            similar.push(Similar { paper, score: found.rank.0, why });
        }
        Ok(similar)
    }
}

impl Inner {
    /// Runs a search away from the runtime's threads.
    async fn run<T: Send + 'static>(
        &self,
        search: impl FnOnce() -> tantivy::Result<T> + Send + 'static,
    ) -> Result<T> {
        let result = match tokio::task::spawn_blocking(search).await {
            Ok(result) => result.map_err(index_error),
            Err(panic) => Err(Error::Index(format!("it cannot be read and will be built again ({panic})"))),
        };
        if result.is_err() {
            self.unreadable.store(true, Ordering::Relaxed);
        }
        result
    }

    /// The snapshot that a cursor names, or the current one, with notes about it.
    fn snapshot(&self, cursor: Option<&Cursor>) -> (Snapshot, Vec<String>) {
        let mut notes = Vec::new();
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cursor) = cursor {
            let found = (cursor.process == self.process).then(|| shown.find(cursor.snapshot)).flatten();
            if let Some(snapshot) = found {
                return (snapshot, notes);
            }
            notes.push("papers were added since the first page: a hit may appear twice or be missed".into());
        }
        if let Some(papers) = shown.so_far() {
            notes.push(format!("the search index is being built: {papers} papers can be found so far"));
        }
        (shown.current().clone(), notes)
    }

    /// The vector of a query's free text, where meaning counts; a note where it is wanted and cannot be had.
    async fn query_vector(
        &self,
        mode: Mode,
        node: &Node,
        snapshot: &Snapshot,
        notes: &mut Vec<String>,
    ) -> Result<Option<Quantised>> {
        let text = node.free_text();
        if mode == Mode::Text || (text.is_empty() && mode == Mode::Fused) {
            return Ok(None);
        }
        let Some(embedder) = self.embedder.get() else {
            if let MeaningState::Off { why } = MeaningState::off() {
                notes.push(why);
            }
            return Ok(None);
        };
        if text.is_empty() {
            notes.push("a search by meaning wants words without a field; these are the papers that meet the conditions".into());
            return Ok(None);
        }
        let (known, papers) = (snapshot.vectors.len() as u64, snapshot.searcher.num_docs());
        if known < papers {
            notes.push(format!("{known} of {papers} papers can be found by meaning so far"));
        }
        if known == 0 {
            return Ok(None);
        }
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, vector)) = asked().iter().find(|(known, _)| *known == text) {
            return Ok(Some(vector.clone()));
        }
        let vector = embed(embedder, vec![text.clone()]).await?.pop();
        if let Some(vector) = &vector {
            let mut asked = asked();
            asked.push_back((text, vector.clone()));
            if asked.len() > REMEMBERED {
                asked.pop_front();
            }
        }
        Ok(vector)
    }
}

async fn embed(embedder: &Arc<dyn Embedder>, texts: Vec<String>) -> Result<Vec<Quantised>> {
    let (embedder, wanted) = (Arc::clone(embedder), texts.len());
    let dimensions = embedder.dimensions();
    let work = move || embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let vectors = tokio::task::spawn_blocking(work)
        .await
        .map_err(|panic| Error::Embedder(panic.to_string()))?
        .map_err(Error::Embedder)?;
    if vectors.len() != wanted || vectors.iter().any(|vector| vector.len() != dimensions) {
        return Err(Error::Embedder(format!("wanted {wanted} vectors of {dimensions} numbers, got others")));
    }
    Ok(vectors.iter().map(|vector| Quantised::new(vector)).collect())
}

/// What is embedded of a paper.
fn embedded_text(record: &crate::Record) -> String {
    match &record.summary {
        Some(summary) => format!("{}. {summary}", record.title.trim_end_matches('.')),
        None => record.title.clone(),
    }
}

/// Chosen values, by facet.
fn chosen(facets: &[(String, String)]) -> Result<Vec<Vec<String>>> {
    let mut chosen = vec![Vec::new(); FACETS.len()];
    for (field, value) in facets {
        let place = FACETS.iter().position(|facet| facet == field).ok_or_else(|| {
            Error::query(format!("there is no facet `{field}`; facets are {}", FACETS.join(", ")))
        })?;
        chosen[place].push(value.clone());
    }
    Ok(chosen)
}

fn query_print(query: &SearchQuery) -> u64 {
    let mut parts = vec![query.text.as_str(), query.mode.name()];
    for (field, value) in &query.facets {
        parts.extend([field.as_str(), value.as_str()]);
    }
    fingerprint(&parts)
}

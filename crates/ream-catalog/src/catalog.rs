//! The catalogue: the store, the index that follows it, and the vectors in memory.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::meaning::{Embedder, MeaningState};
use crate::search::collect::FACETS;
use crate::search::cursor::{Cursor, fingerprint};
use crate::search::execute::{Outcome, Request, Snapshot, execute};
use crate::search::index::TextIndex;
use crate::search::{
    Document, Facet, Hit, Mode, Node, Quantised, SearchPage, SearchQuery, Similar, Vectors, key, parse,
    similar,
};
use crate::store::{Store, Stored, StoredVector};

/// Papers read from the store at once.
const BATCH: u32 = 1000;
/// Papers between two commits while an index is being built.
const COMMIT: usize = 20_000;
/// Vectors read from the store at once.
const VECTOR_PAGE: u32 = 10_000;
/// Texts that are embedded at once.
const EMBED: u32 = 64;
/// Hits of a page when nothing is asked for, and at most.
const LIMIT: usize = 20;
const MOST: usize = 200;
/// Values of a facet.
const VALUES: usize = 20;
/// How long a snapshot is kept after its last use, and how many at most.
const KEPT_FOR: Duration = Duration::from_secs(60);
const KEPT: usize = 32;
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
    embedder: Option<Arc<dyn Embedder>>,
    /// Tells cursors of other processes apart.
    process: u64,
    shown: RwLock<Shown>,
    keeper: tokio::sync::Mutex<Keeper>,
    /// A search found the index unreadable.
    damaged: AtomicBool,
    asked: Mutex<VecDeque<(String, Quantised)>>,
}

/// What searches see.
struct Shown {
    current: Snapshot,
    /// Whether a cursor names the current snapshot.
    named: bool,
    kept: VecDeque<(Snapshot, Instant)>,
    /// Papers so far, while a first index is being built.
    partial: bool,
}

/// What follows the store. `index` is absent only while it works or after it failed.
struct Keeper {
    index: Option<TextIndex>,
    change: i64,
    vectors: Vectors,
    /// Where the reading of stored vectors stands.
    vector_page: i64,
    snapshots: u64,
    /// An index is being built while an older one is shown.
    hidden: bool,
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
        let index = opened(directory.clone(), false).await?;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let process = fingerprint(&[&time.to_string(), &std::process::id().to_string()]);
        let dimensions = embedder.as_ref().map_or(0, |embedder| embedder.dimensions());
        let mut keeper = Keeper {
            change: index.change(),
            index: None,
            vectors: Vectors::new(dimensions),
            vector_page: 0,
            snapshots: 0,
            hidden: false,
        };
        keeper.read_vectors(&store, embedder.as_deref()).await?;
        let current = keeper.snapshot(&index);
        let partial = keeper.change == 0;
        keeper.index = Some(index);
        let catalog = Self {
            inner: Arc::new(Inner {
                store,
                directory,
                embedder,
                process,
                shown: RwLock::new(Shown { current, named: false, kept: VecDeque::new(), partial }),
                keeper: tokio::sync::Mutex::new(keeper),
                damaged: AtomicBool::new(false),
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

    /// Brings the index up to the store; returns how many papers were written into it. To be called after imports and every few seconds.
    ///
    /// # Errors
    /// The store or the index fails.
    pub async fn refresh(&self) -> Result<usize> {
        let inner = &*self.inner;
        let mut keeper = inner.keeper.lock().await;
        let mut written = keeper.follow(inner).await;
        if matches!(written, Err(Error::Index(_))) {
            // Deleted or damaged under our hands: once more, from nothing.
            inner.damaged.store(true, Ordering::Relaxed);
            written = keeper.follow(inner).await;
        }
        let written = written?;
        keeper.read_vectors(&inner.store, inner.embedder.as_deref()).await?;
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
        let Some(embedder) = &inner.embedder else { return Ok(0) };
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
            inner.keeper.lock().await.vectors.put(stored.into_iter().map(row));
            progress(done, total.max(done));
        }
        inner.keeper.lock().await.show(inner, true);
        Ok(done)
    }

    /// Whether papers can be found by meaning.
    #[must_use]
    pub fn meaning(&self) -> MeaningState {
        if self.inner.embedder.is_none() {
            return MeaningState::off();
        }
        let shown = self.inner.shown.read().unwrap_or_else(PoisonError::into_inner);
        MeaningState::On { documents: shown.current.vectors.len() }
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
        let id = snapshot.id;
        let outcome = inner.run(move || execute(&snapshot, &request)).await?;
        let next = outcome.hits.last().filter(|_| outcome.more).map(|last| {
            inner.name(id);
            let handle = last.handle.clone();
            Cursor { process: inner.process, snapshot: id, query: print, rank: last.rank, handle }.to_string()
        });
        notes.extend(outcome.notes.iter().cloned());
        let facets = facets(&outcome.facets, &chosen);
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
            let document = document(&paper);
            let text = snippet_text(&document, &marks);
            let score = if found.rank.0.is_finite() { found.rank.0 } else { 0.0 };
            hits.push(Hit {
                score,
                title_html: marks.whole(&document.title),
                snippet: marks.snippet(text),
                why: why(&document, &marks, near.get(&found.key).copied()),
                paper,
            });
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
        let own = document(&paper);
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
            let why = similar::reason(&neighbours.distinctive, &own, &document(&paper), *cosine);
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
            self.damaged.store(true, Ordering::Relaxed);
        }
        result
    }

    /// The snapshot that a cursor names, or the current one, with notes about it.
    fn snapshot(&self, cursor: Option<&Cursor>) -> (Snapshot, Vec<String>) {
        let mut notes = Vec::new();
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cursor) = cursor {
            if cursor.process == self.process {
                if cursor.snapshot == shown.current.id {
                    return (shown.current.clone(), notes);
                }
                if let Some((snapshot, used)) =
                    shown.kept.iter_mut().find(|(kept, _)| kept.id == cursor.snapshot)
                {
                    *used = Instant::now();
                    return (snapshot.clone(), notes);
                }
            }
            notes.push("papers were added since the first page: a hit may appear twice or be missed".into());
        }
        if shown.partial {
            let papers = shown.current.searcher.num_docs();
            notes.push(format!("the search index is being built: {papers} papers can be found so far"));
        }
        (shown.current.clone(), notes)
    }

    /// A cursor names this snapshot: it is kept for a while.
    fn name(&self, id: u64) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if shown.current.id == id {
            shown.named = true;
        }
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
        let Some(embedder) = &self.embedder else {
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

impl Keeper {
    fn snapshot(&mut self, index: &TextIndex) -> Snapshot {
        self.snapshots += 1;
        Snapshot {
            id: self.snapshots,
            searcher: index.searcher(),
            fields: index.fields(),
            vectors: self.vectors.clone(),
        }
    }

    /// Lets searches see what is there, unless an older index is shown until this one is whole.
    fn show(&mut self, inner: &Inner, changed: bool) {
        let Some(index) = self.index.take() else { return };
        let snapshot = self.snapshot(&index);
        self.index = Some(index);
        if self.hidden {
            return;
        }
        let mut shown = inner.shown.write().unwrap_or_else(PoisonError::into_inner);
        let same = !changed
            && shown.current.vectors.len() == snapshot.vectors.len()
            && shown.current.searcher.generation() == snapshot.searcher.generation();
        if same {
            return;
        }
        let old = std::mem::replace(&mut shown.current, snapshot);
        if std::mem::replace(&mut shown.named, false) {
            shown.kept.push_back((old, Instant::now()));
        }
        shown.kept.retain(|(_, used)| used.elapsed() < KEPT_FOR);
        while shown.kept.len() > KEPT {
            shown.kept.pop_front();
        }
    }

    /// Follows the store to its last change.
    async fn follow(&mut self, inner: &Inner) -> Result<usize> {
        let damaged = inner.damaged.swap(false, Ordering::Relaxed);
        let mut index = match self.index.take() {
            Some(index) => index,
            None => opened(inner.directory.clone(), false).await?,
        };
        if damaged || !index.is_intact() {
            index = renewed(index).await?;
            self.hidden = true;
        } else if index.is_shared() {
            index = blocking(move || index.follow()).await?;
        }
        self.change = index.change();
        let shared = index.is_shared();
        self.index = Some(index);
        let mut written = 0;
        let mut uncommitted = 0;
        while !shared {
            let papers = inner.store.changed_since(self.change, BATCH).await?;
            let whole = papers.len() < BATCH as usize;
            if let Some(last) = papers.last() {
                self.change = last.change;
                written += papers.len();
                uncommitted += papers.len();
                self.put(inner, papers).await?;
            }
            if uncommitted > 0 && (whole || uncommitted >= COMMIT) {
                self.commit().await?;
                uncommitted = 0;
                self.show(inner, false);
            }
            if whole {
                break;
            }
        }
        if written >= COMMIT {
            self.with_index(TextIndex::rest).await?;
        }
        self.hidden = false;
        self.show(inner, false);
        inner.shown.write().unwrap_or_else(PoisonError::into_inner).partial = false;
        Ok(written)
    }

    async fn put(&mut self, inner: &Inner, papers: Vec<Stored>) -> Result<()> {
        let mut documents = Vec::with_capacity(papers.len());
        for paper in papers {
            let former = former_handles(&inner.store, &paper).await?;
            former.iter().for_each(|old| self.vectors.rename(key(old), key(&paper.handle)));
            documents.push((document(&paper), former));
        }
        self.with_index(move |index| {
            index.put(documents.iter().map(|(document, former)| (document, former.as_slice())))
        })
        .await
    }

    async fn commit(&mut self) -> Result<()> {
        let change = self.change;
        self.with_index(move |index| index.commit(change)).await
    }

    /// Works on the index away from the runtime's threads; it is gone where that panics.
    async fn with_index(
        &mut self,
        work: impl FnOnce(&mut TextIndex) -> tantivy::Result<()> + Send + 'static,
    ) -> Result<()> {
        let mut index = self.index.take().ok_or_else(|| Error::Index("it is not open".into()))?;
        let (index, result) = blocking(move || {
            let result = work(&mut index);
            Ok((index, result))
        })
        .await?;
        self.index = Some(index);
        result.map_err(index_error)
    }

    /// Reads the stored vectors that came since the last reading.
    async fn read_vectors(&mut self, store: &Store, embedder: Option<&dyn Embedder>) -> Result<()> {
        let Some(embedder) = embedder else { return Ok(()) };
        loop {
            let (page, last) = store.vectors(embedder.name(), self.vector_page, VECTOR_PAGE).await?;
            self.vector_page = last;
            if page.is_empty() {
                return Ok(());
            }
            self.vectors.put(page.into_iter().map(row));
        }
    }
}

fn row(vector: StoredVector) -> (u64, Quantised) {
    (key(&vector.handle), Quantised { bytes: vector.components, scale: vector.scale })
}

fn index_error(error: tantivy::TantivyError) -> Error {
    Error::Index(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> tantivy::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(index_error),
        Err(panic) => Err(Error::Index(format!("it broke: {panic}"))),
    }
}

/// The index of a directory; where it cannot be opened, a new one, at last one in memory.
async fn opened(directory: PathBuf, anew: bool) -> Result<TextIndex> {
    let root = directory.clone();
    let open = move || if anew { TextIndex::open(&root)?.renew() } else { TextIndex::open(&root) };
    match blocking(open).await {
        Ok(index) => Ok(index),
        Err(_) if !anew => Box::pin(opened(directory, true)).await,
        Err(_) => blocking(TextIndex::in_memory).await,
    }
}

async fn renewed(index: TextIndex) -> Result<TextIndex> {
    match blocking(move || index.renew()).await {
        Ok(index) => Ok(index),
        Err(_) => blocking(TextIndex::in_memory).await,
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

/// Handles that a paper had before it joined the edition.
async fn former_handles(store: &Store, paper: &Stored) -> Result<Vec<String>> {
    if paper.edition.is_none() {
        return Ok(Vec::new());
    }
    let identity = crate::store::Identity::of(&paper.record);
    let mut former = vec![identity.handle(), crate::store::Identity { arxiv: None, ..identity }.handle()];
    former.dedup();
    former.retain(|handle| *handle != paper.handle);
    let mut own = Vec::new();
    for handle in former {
        // Another paper of the same title may have the handle: only what answers with this paper was this paper's.
        if store.get(&handle).await?.is_some_and(|found| found.handle == paper.handle) {
            own.push(handle);
        }
    }
    Ok(own)
}

/// What the index holds of a paper.
fn document(paper: &Stored) -> Document {
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

/// The text that a snippet is cut from: the first that has one of the words, else the first.
fn snippet_text<'a>(document: &'a Document, marks: &crate::search::snippet::Marks) -> &'a str {
    let mut texts = document.texts.iter().chain(&document.claims);
    let found = texts.clone().find(|text| marks.touch(text));
    found.or_else(|| texts.next()).map_or("", String::as_str)
}

/// Where the words are, and how near the meaning is.
fn why(document: &Document, marks: &crate::search::snippet::Marks, cosine: Option<f32>) -> String {
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

/// The values to show, in the order to show them.
fn facets(counts: &[BTreeMap<String, u64>], chosen: &[Vec<String>]) -> Vec<Facet> {
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

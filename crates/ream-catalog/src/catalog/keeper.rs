//! What follows the store, and what searches see of it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Inner;
use super::page::document;
use crate::error::{Error, Result};
use crate::meaning::Embedder;
use crate::search::execute::Snapshot;
use crate::search::index::TextIndex;
use crate::search::{Quantised, Vectors, index_error, key};
use crate::store::{Identity, Store, Stored, StoredVector};

/// Papers read from the store at once.
const BATCH: u32 = 500;
/// Papers between two commits while an index is being built.
const COMMIT: usize = 20_000;
/// Papers of the index that are looked up in the store when it is opened.
const SAMPLE: usize = 16;
/// Vectors read from the store at once.
const VECTOR_PAGE: u32 = 10_000;
/// How long a snapshot is kept after its last use, and how many at most.
const KEPT_FOR: Duration = Duration::from_secs(60);
const KEPT: usize = 32;

/// What searches see.
pub(super) struct Shown {
    current: Snapshot,
    /// Whether a cursor names the current snapshot.
    named: bool,
    kept: VecDeque<(Snapshot, Instant)>,
    /// The index is being built, and what is there so far is shown.
    partial: bool,
}

impl Shown {
    pub(super) fn new(current: Snapshot, partial: bool) -> Self {
        Self { current, named: false, kept: VecDeque::new(), partial }
    }

    /// The present snapshot.
    pub(super) fn current(&self) -> &Snapshot {
        &self.current
    }

    /// How many papers there are so far, while the index is being built.
    pub(super) fn so_far(&self) -> Option<u64> {
        self.partial.then(|| self.current.searcher.num_docs())
    }

    /// The snapshot of this number, if it is still there.
    pub(super) fn find(&mut self, id: u64) -> Option<Snapshot> {
        if self.current.id == id {
            return Some(self.current.clone());
        }
        let (snapshot, used) = self.kept.iter_mut().find(|(kept, _)| kept.id == id)?;
        *used = Instant::now();
        Some(snapshot.clone())
    }

    /// A cursor names this snapshot: it is kept for a while.
    pub(super) fn name(&mut self, snapshot: Snapshot) {
        if self.current.id == snapshot.id {
            self.named = true;
        } else if self.find(snapshot.id).is_none() {
            self.keep(snapshot);
        }
    }

    fn replace(&mut self, snapshot: Snapshot) {
        let old = std::mem::replace(&mut self.current, snapshot);
        if std::mem::replace(&mut self.named, false) {
            self.keep(old);
        }
    }

    /// Lets go of snapshots that nobody walks through any more, and of the files that they hold.
    fn forget(&mut self) {
        self.kept.retain(|(_, used)| used.elapsed() < KEPT_FOR);
    }

    fn keep(&mut self, snapshot: Snapshot) {
        self.kept.push_back((snapshot, Instant::now()));
        while self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }
}

/// What follows the store. `index` is absent only while it works or after it failed.
pub(super) struct Keeper {
    index: Option<TextIndex>,
    change: i64,
    vectors: Vectors,
    /// Where the reading of stored vectors stands.
    vector_page: i64,
    snapshots: u64,
    /// An index is being built while an older one is shown.
    hidden: bool,
    /// The index has been held against the store's number of papers since it was opened.
    recounted: bool,
}

impl Keeper {
    /// Opens the index of a directory and reads the stored vectors.
    pub(super) async fn open(
        directory: PathBuf,
        store: &Store,
        embedder: Option<&dyn Embedder>,
    ) -> Result<(Self, Shown)> {
        let index = opened(directory).await?;
        let mut keeper = Self {
            change: index.change(),
            index: None,
            vectors: Vectors::new(embedder.map_or(0, Embedder::dimensions)),
            vector_page: 0,
            snapshots: 0,
            hidden: false,
            recounted: false,
        };
        keeper.read_vectors(store, embedder).await?;
        let current = keeper.snapshot(&index);
        let partial = store.changed_since(keeper.change, BATCH).await?.len() == BATCH as usize;
        keeper.index = Some(index);
        Ok((keeper, Shown::new(current, partial)))
    }

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
    pub(super) fn show(&mut self, inner: &Inner, changed: bool) {
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
        if !same {
            shown.replace(snapshot);
        }
        shown.forget();
    }

    /// Puts vectors in that searches see with the next [`Keeper::show`].
    pub(super) fn put_vectors(&mut self, vectors: Vec<StoredVector>) {
        self.vectors.put(vectors.into_iter().map(row));
    }

    /// Follows the store to its last change. `lost`: the index cannot be written any more, and a new one is begun.
    pub(super) async fn follow(&mut self, inner: &Inner, lost: bool) -> Result<usize> {
        let unreadable = inner.unreadable.swap(false, Ordering::Relaxed);
        let mut index = match self.index.take() {
            Some(index) => index,
            None => opened(inner.directory.clone()).await?,
        };
        if index.is_shared() {
            index = blocking(move || index.follow()).await?;
        }
        if lost || unreadable || !index.is_intact() {
            index = renewed(index).await?;
            // What is shown goes on until the new one is whole, if it can be read.
            self.hidden = !unreadable;
            inner.shown.write().unwrap_or_else(PoisonError::into_inner).partial |= unreadable;
        }
        self.change = index.change();
        let shared = index.is_shared();
        self.index = Some(index);
        let written = if shared { 0 } else { self.catch_up_and_count(inner).await? };
        self.hidden = false;
        self.show(inner, false);
        inner.shown.write().unwrap_or_else(PoisonError::into_inner).partial = false;
        Ok(written)
    }

    /// Catches up. An index that does not fit the store (a restored or replaced database, a missed change) is built anew: one that has
    /// papers which the store does not know, or more papers than the store, or fewer than it had.
    async fn catch_up_and_count(&mut self, inner: &Inner) -> Result<usize> {
        let before = inner.store.count().await?.papers;
        let known = self.recounted || self.is_of(&inner.store).await?;
        let mut written = if known { self.catch_up(inner).await? } else { 0 };
        if written == 0 && self.recounted {
            return Ok(0);
        }
        let papers = self.index.as_ref().map_or(0, |index| index.searcher().num_docs());
        let after = inner.store.count().await?.papers;
        if !known || papers < before || papers > after {
            let index = self.index.take().ok_or_else(|| Error::Index("it is not open".into()))?;
            self.index = Some(renewed(index).await?);
            self.hidden = true;
            self.change = 0;
            written = self.catch_up(inner).await?;
        }
        self.recounted = true;
        Ok(written)
    }

    /// Whether the store knows the first papers of the index.
    async fn is_of(&self, store: &Store) -> Result<bool> {
        let Some(index) = &self.index else { return Ok(true) };
        let sample = index.first_handles(SAMPLE).map_err(index_error)?;
        for handle in sample {
            if store.get(&handle).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes every paper that changed since the index's last change.
    async fn catch_up(&mut self, inner: &Inner) -> Result<usize> {
        let (mut written, mut uncommitted) = (0, 0);
        loop {
            let papers = inner.store.changed_since(self.change, BATCH).await?;
            let last = papers.len() < BATCH as usize;
            written += papers.len();
            uncommitted += papers.len();
            self.put(inner, papers).await?;
            if uncommitted > 0 && (last || uncommitted >= COMMIT) {
                self.commit().await?;
                uncommitted = 0;
                self.show(inner, false);
            }
            if last {
                break;
            }
        }
        if written >= COMMIT {
            self.with_index(TextIndex::rest).await?;
        }
        Ok(written)
    }

    async fn put(&mut self, inner: &Inner, papers: Vec<Stored>) -> Result<()> {
        let Some(last) = papers.last() else { return Ok(()) };
        let change = last.change;
        let mut documents = Vec::with_capacity(papers.len());
        for paper in papers {
            let former = former_handles(&inner.store, &paper).await?;
            former.iter().for_each(|old| self.vectors.rename(key(old), key(&paper.handle)));
            documents.push((document(&paper), former));
        }
        self.with_index(move |index| {
            index.put(documents.iter().map(|(document, former)| (document, former.as_slice())))
        })
        .await?;
        self.change = change;
        Ok(())
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

    /// Reads the stored vectors of an encoder that there was not before.
    pub(super) async fn begin_vectors(&mut self, store: &Store, embedder: &dyn Embedder) -> Result<()> {
        self.vectors = Vectors::new(embedder.dimensions());
        self.vector_page = 0;
        self.read_vectors(store, Some(embedder)).await
    }

    /// Reads the stored vectors that came since the last reading.
    pub(super) async fn read_vectors(
        &mut self,
        store: &Store,
        embedder: Option<&dyn Embedder>,
    ) -> Result<()> {
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> tantivy::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(index_error),
        Err(panic) => Err(Error::Index(format!("it broke: {panic}"))),
    }
}

/// The index of a directory; where none can be made there, one in memory.
async fn opened(directory: PathBuf) -> Result<TextIndex> {
    match blocking(move || TextIndex::open(&directory)).await {
        Ok(index) => Ok(index),
        Err(_) => blocking(TextIndex::in_memory).await,
    }
}

async fn renewed(index: TextIndex) -> Result<TextIndex> {
    match blocking(move || index.renew()).await {
        Ok(index) => Ok(index),
        Err(_) => blocking(TextIndex::in_memory).await,
    }
}

/// Handles that a paper had before it joined the edition.
async fn former_handles(store: &Store, paper: &Stored) -> Result<Vec<String>> {
    if paper.edition.is_none() {
        return Ok(Vec::new());
    }
    let identity = Identity::of(&paper.record);
    let mut former = vec![identity.handle(), Identity { arxiv: None, ..identity }.handle()];
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

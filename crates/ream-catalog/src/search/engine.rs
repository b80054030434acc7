//! The search without a store: for measurements, and for collections that live elsewhere.

use std::path::Path;

use super::collect::FACETS;
use super::execute::{Request, Snapshot, execute};
use super::index::TextIndex;
use super::query::parse;
use super::schema::{Document, key};
use super::vectors::{Quantised, Vectors};
use super::{Mode, index_error};
use crate::error::{Error, Result};

/// Hits of an [`Engine`].
#[derive(Clone, Debug, PartialEq)]
pub struct EngineHits {
    /// Handles with their scores, best first.
    pub hits: Vec<(String, f32)>,
    /// Hits in all.
    pub total: usize,
    /// What was replaced in the query.
    pub notes: Vec<String>,
}

/// An index and vectors over plain documents. A [`Catalog`](crate::Catalog) is this beside a store.
///
/// ```
/// use ream_catalog::Mode;
/// use ream_catalog::search::{Document, Engine};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let mut engine = Engine::open(folder.path(), 2).unwrap();
/// let paper = |handle: &str, title: &str| Document { handle: handle.into(), title: title.into(), ..Document::default() };
/// engine.put(&[paper("a", "Draft trees"), paper("b", "Causal forests")]).unwrap();
/// engine.put_vectors([("a".to_owned(), vec![1.0, 0.0]), ("b".to_owned(), vec![0.0, 1.0])]);
/// engine.commit().unwrap();
/// assert_eq!(engine.search("drafts", Mode::Text, None, 10).unwrap().hits[0].0, "a");
/// let near = engine.search("woods", Mode::Meaning, Some(&[0.1, 0.9]), 10).unwrap();
/// assert_eq!(near.hits[0].0, "b");
/// ```
pub struct Engine {
    index: TextIndex,
    vectors: Vectors,
    snapshot: Snapshot,
}

impl Engine {
    /// Opens or begins the index in a folder, for vectors of so many dimensions.
    ///
    /// # Errors
    /// `search_index`.
    pub fn open(folder: &Path, dimensions: usize) -> Result<Self> {
        let index = TextIndex::open(folder).map_err(index_error)?;
        let vectors = Vectors::new(dimensions);
        let snapshot = snapshot(&index, &vectors);
        Ok(Self { index, vectors, snapshot })
    }

    /// Puts documents in; one of the same handle is replaced.
    ///
    /// # Errors
    /// `search_index`.
    pub fn put(&mut self, documents: &[Document]) -> Result<()> {
        self.index.put(documents.iter().map(|document| (document, &[][..]))).map_err(index_error)
    }

    /// Puts unit vectors in, by handle; those of another length are left out. Returns how many went in.
    pub fn put_vectors(&mut self, vectors: impl IntoIterator<Item = (String, Vec<f32>)>) -> usize {
        self.vectors.put(vectors.into_iter().map(|(handle, vector)| (key(&handle), Quantised::new(&vector))))
    }

    /// Lets searches see what was put in.
    ///
    /// # Errors
    /// `search_index`.
    pub fn commit(&mut self) -> Result<()> {
        let change = self.index.change() + 1;
        self.index.commit(change).map_err(index_error)?;
        self.snapshot = snapshot(&self.index, &self.vectors);
        Ok(())
    }

    /// Waits until segments are merged, and gives the writer's memory back.
    ///
    /// # Errors
    /// `search_index`.
    pub fn rest(&mut self) -> Result<()> {
        self.index.rest().map_err(index_error)?;
        self.index.reload().map_err(index_error)?;
        self.snapshot = snapshot(&self.index, &self.vectors);
        Ok(())
    }

    /// Searches. `vector` stands for the meaning of the query; without it only words count.
    ///
    /// # Errors
    /// `bad_query`, `search_index`.
    pub fn search(&self, text: &str, mode: Mode, vector: Option<&[f32]>, limit: usize) -> Result<EngineHits> {
        let node = parse(text).map_err(|error| Error::query_at(error.at, error.to_string()))?;
        let request = Request {
            node,
            mode,
            vector: vector.map(Quantised::new),
            chosen: vec![Vec::new(); FACETS.len()],
            after: None,
            limit,
        };
        let found = execute(&self.snapshot, &request).map_err(index_error)?;
        let hits = found.hits.into_iter().map(|hit| (hit.handle, hit.rank.0)).collect();
        Ok(EngineHits { hits, total: found.total, notes: found.notes })
    }

    /// How many rows an exact scan finds, `limit` at most: the scan alone, to be timed.
    #[must_use]
    pub fn scan(&self, vector: &[f32], limit: usize) -> usize {
        self.vectors.nearest(&Quantised::new(vector), limit, None).len()
    }
}

fn snapshot(index: &TextIndex, vectors: &Vectors) -> Snapshot {
    Snapshot { id: 0, searcher: index.searcher(), fields: index.fields(), vectors: vectors.clone() }
}

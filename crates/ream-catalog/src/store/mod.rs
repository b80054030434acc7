//! The store: papers, the edition's facts, runs and embeddings, in SQLite or PostgreSQL.
//!
//! One schema and one set of queries serve both. Writers take turns, so that `change` numbers rise in the order of
//! commits: whoever follows [`Store::changed_since`] misses nothing. What a write returned for is on disk.

mod connect;
mod cursor;
mod edition;
mod feed;
mod identity;
mod merge;
mod migrate;
mod names;
mod read;
mod runs;
mod sql;
mod vectors;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::AnyPool;

use crate::edition::EditionFacts;
use crate::error::Result;
use crate::record::{Date, Record};

pub use cursor::Cursor;
pub(crate) use identity::Identity;
pub use migrate::SCHEMA;
pub use names::{Named, NamedPage, Names};
pub use read::Counts;
pub use runs::RunRow;
pub use vectors::{Missing, StoredVector};

/// A handle on the store. A clone is another handle on the same.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: AnyPool,
    writers: AnyPool,
    dialect: connect::Dialect,
    /// Writers of this process queue here and not at SQLite's lock, where waiting is polling.
    writer: tokio::sync::Mutex<()>,
    /// Counts of the feed: statement, to the change number of the store and the count.
    totals: std::sync::Mutex<BTreeMap<String, (u64, u64)>>,
}

/// Where records came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// `bibtex`, `arxiv-atom`, `daily-page`, `edition`, ...
    pub kind: String,
    /// File name or address.
    pub name: String,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upsert {
    /// Its paper.
    pub handle: String,
    /// What it did to it.
    pub outcome: Outcome,
}

/// What a record did to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A new paper.
    Added,
    /// A known paper learned something, if only another source.
    Merged,
    /// Nothing was new.
    Unchanged,
}

/// A paper as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name in addresses.
    pub handle: String,
    /// Bibliographic facts.
    pub record: Record,
    /// Facts of the edition, where it is part of it.
    pub edition: Option<EditionFacts>,
    /// When it came in, seconds since 1970.
    pub added: i64,
    /// Number of the last write that changed it; strictly increasing in the order of commits.
    pub change: i64,
    /// Where it came from, in the order of arrival.
    pub sources: Vec<Source>,
}

/// Which papers, in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedQuery {
    /// The order.
    pub sort: crate::ranking::Sort,
    /// Papers of this date or later; a year or month means all of it.
    pub from: Option<Date>,
    /// Papers of this date or earlier; a year or month means all of it. For `top` orders, the date whose period is meant.
    pub until: Option<Date>,
    /// Papers of the edition of this family.
    pub family: Option<String>,
    /// Handle or name.
    pub organisation: Option<String>,
    /// Handle or name.
    pub author: Option<String>,
    /// Handle or name.
    pub topic: Option<String>,
    /// Only what runs here.
    pub runs_only: bool,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Papers of a page, 1..=200.
    pub limit: u32,
    /// Seconds since 1970; the period of `top` orders without `until`.
    pub now: i64,
}

/// A page of the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its papers.
    pub items: Vec<Stored>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// Papers on all pages.
    pub total: u64,
}

impl Store {
    /// Opens a store and brings its schema up to date: `sqlite:/path/catalogue.db` (created where missing) or
    /// `postgres://user@host/database` (version 15 or newer).
    ///
    /// # Errors
    /// An address that is none, a database that cannot be reached, a schema of a newer program.
    pub async fn open(url: &str) -> Result<Self> {
        let address = connect::Address::parse(url)?;
        migrate::migrate(&address).await?;
        let pool = connect::readers(&address).await?;
        let writers = connect::writers(&address, &pool).await?;
        let inner = Inner {
            pool,
            writers,
            dialect: address.dialect,
            writer: tokio::sync::Mutex::default(),
            totals: std::sync::Mutex::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        store.rank_again().await?;
        Ok(store)
    }

    /// Closes all connections; handles that are left give errors.
    pub async fn close(&self) {
        self.inner.writers.close().await;
        self.inner.pool.close().await;
    }
}

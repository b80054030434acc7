//! What can go wrong in the catalogue. Every error has a stable code for interfaces.

use std::path::PathBuf;

/// An error of the catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A query or one of its parts is not understood.
    #[error("{message}")]
    Query {
        /// Byte offset into the query text, where the input is one.
        position: Option<usize>,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A cursor that no page of this list gave out.
    #[error("`{0}` is no cursor of this list: take `next` of the page before, or start without one")]
    Cursor(String),
    /// Nothing answers to this handle.
    #[error("nothing here is called `{0}`")]
    NotFound(String),
    /// The address of the database.
    #[error("database address `{url}`: {message}")]
    Address {
        /// As given, without a password.
        url: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A newer version has written this database.
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}: use a newer ream, or another database"
    )]
    Newer {
        /// The database's version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The edition contradicts itself.
    #[error("edition: {0}")]
    Edition(String),
    /// A stored value cannot be read.
    #[error("the store is damaged: {what}: {message}")]
    Damaged {
        /// Which value.
        what: String,
        /// Why it cannot be read.
        message: String,
    },
    /// The search index.
    #[error("search index: {0}")]
    Index(String),
    /// The sentence encoder.
    #[error("sentence encoder: {0}")]
    Embedder(String),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Store(#[from] sqlx::Error),
}

impl Error {
    /// A stable name that interfaces show and users can search for.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Query { .. } => "bad_query",
            Self::Cursor(_) => "bad_cursor",
            Self::NotFound(_) => "not_found",
            Self::Address { .. } => "bad_database_address",
            Self::Newer { .. } => "newer_database",
            Self::Edition(_) => "bad_edition",
            Self::Damaged { .. } => "damaged_store",
            Self::Index(_) => "search_index",
            Self::Embedder(_) => "embedder",
            Self::Io { .. } => "file",
            Self::Store(_) => "store",
        }
    }

    /// Byte offset into the query where it stops making sense.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::Query { position, .. } => *position,
            _ => None,
        }
    }

    /// A query that is wrong as a whole.
    #[must_use]
    pub fn query(message: impl Into<String>) -> Self {
        Self::Query { position: None, message: message.into() }
    }

    /// A query that is wrong at a byte offset.
    #[must_use]
    pub fn query_at(position: usize, message: impl Into<String>) -> Self {
        Self::Query { position: Some(position), message: message.into() }
    }
}

/// Result of the catalogue.
pub type Result<T> = std::result::Result<T, Error>;

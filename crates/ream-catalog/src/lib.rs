//! Papers as a collection: store, importers, exports, search, ranking.

mod edition;
mod error;
pub mod ranking;
mod record;
mod store;
pub mod text;

pub use edition::{ClaimFacts, EditionFacts, EditionPaper};
pub use error::{Error, Result};
pub use ranking::Sort;
pub use record::{Author, Date, Link, Record};
pub use store::{
    Counts, Cursor, FeedQuery, Missing, Named, NamedPage, Names, Outcome, Page, RunRow, SCHEMA, Source,
    Store, Stored, StoredVector, Upsert,
};

//! Papers as a collection: store, importers, exports, search, ranking.

mod catalog;
mod edition;
mod error;
pub mod export;
pub mod import;
mod intake;
mod meaning;
pub mod ranking;
mod record;
pub mod search;
mod store;
pub mod text;

pub use catalog::Catalog;
pub use edition::{ClaimFacts, EditionFacts, EditionPaper};
pub use error::{Error, Result};
pub use intake::{Intake, intake};
pub use meaning::{Embedder, MeaningState};
pub use ranking::Sort;
pub use record::{Author, Date, Link, Record};
pub use search::{Facet, Highlighted, Hit, Mode, SearchPage, SearchQuery, Similar};
pub use store::{
    Counts, Cursor, FeedQuery, Missing, Named, NamedPage, Names, Outcome, Page, RunRow, SCHEMA, Source,
    Store, Stored, StoredVector, Upsert,
};

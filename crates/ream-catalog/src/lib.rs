//! Papers as a collection: store, importers, exports, search, ranking.

mod edition;
mod record;
pub mod text;

pub use edition::{ClaimFacts, EditionFacts, EditionPaper};
pub use record::{Author, Date, Link, Record};

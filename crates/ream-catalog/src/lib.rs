//! Papers as a collection: store, importers, exports, search, ranking.

mod edition;
mod meaning;
mod record;
pub mod search;
mod store {
    #[derive(Clone, Debug, PartialEq)]
    pub struct Stored {
        pub handle: String,
        pub record: crate::Record,
        pub edition: Option<crate::EditionFacts>,
    }
}

pub use edition::{ClaimFacts, EditionFacts, EditionPaper};
pub use meaning::{Embedder, MeaningState};
pub use record::{Author, Date, Link, Record};

//! Which program ran: commit, cleanliness, hashes of sources.

use serde::{Deserialize, Serialize};

/// The program that makes a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Version of the program.
    pub version: String,
    /// Commit, when it was built in a repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit: String,
    /// Whether it was built from exactly that commit.
    pub clean: bool,
    /// Hash of the paper's sources and its family's shared sources.
    pub sources: String,
    /// Hash of the crates below the papers.
    pub substrate: String,
}

//! What the site shows of a paper that ships with the program: claims, verdicts, what a run costs. Handed in by the
//! program; this crate knows nothing of systems and runs.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// A paper of the edition, as the program hands it to the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditionPaper {
    /// Bibliographic facts.
    pub record: Record,
    /// What ream adds.
    pub facts: EditionFacts,
}

/// What ream adds to a paper of its edition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditionFacts {
    /// Short name.
    pub slug: String,
    /// Position in the edition.
    pub number: u32,
    /// The crate that carries it.
    pub family: String,
    /// The field's word for its subject.
    pub topic: String,
    /// Method, study, theory, survey.
    pub kind: String,
    /// What it says, in one line.
    pub line: String,
    /// Our summary.
    pub summary: String,
    /// Whether it has a system.
    pub runs: bool,
    /// Minutes of a full run on an ordinary two-core machine, once it has been run.
    pub minutes: Option<f64>,
    /// Its claims.
    pub claims: Vec<ClaimFacts>,
}

/// A claim as listings and search see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimFacts {
    /// `c1`, `c2`, ...
    pub id: String,
    /// `finding` or `property`.
    pub kind: String,
    /// The statement.
    pub statement: String,
    /// The paper's own figure, in words.
    pub paper_figure: String,
    /// One of the six verdicts.
    pub verdict: String,
    /// Measured value, once there is one.
    pub measured: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// How far the measured value falls short of what the rule asks, as a share of what was claimed; 0 where it does
    /// not, absent where nothing was measured.
    pub shortfall: Option<f64>,
}

impl EditionFacts {
    /// Claims with a verdict that rests on a run.
    #[must_use]
    pub fn tested(&self) -> usize {
        self.claims.iter().filter(|c| c.verdict != "not tested").count()
    }

    /// Claims that hold here, at the paper's scale or a reduced one.
    #[must_use]
    pub fn confirmed(&self) -> usize {
        self.claims.iter().filter(|c| c.verdict.starts_with("confirmed")).count()
    }

    /// The largest shortfall of its claims.
    #[must_use]
    pub fn surprise(&self) -> Option<f64> {
        self.claims.iter().filter_map(|c| c.shortfall).max_by(f64::total_cmp)
    }
}

//! A paper: facts, our summary, its claims.

use serde::{Deserialize, Serialize};

use crate::date::PaperDate;
use crate::rule::{Check, Rule};

/// A paper of an edition, as `paper.toml` states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// Short name in lower case with hyphens; unique.
    pub slug: String,
    /// Position in the edition.
    pub number: u32,
    /// Title as printed.
    pub title: String,
    /// Date as the listing shows it, when it shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<PaperDate>,
    /// Organisation, when shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
    /// Number of authors, when shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authors: Option<u32>,
    /// Number of comments, when shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments: Option<u32>,
    /// arXiv number without version, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arxiv: Option<String>,
    /// Where it was published, when stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// Code, project page, arXiv.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Method, study, theory, survey ... in free words.
    pub kind: String,
    /// The crate that carries it.
    pub family: Family,
    /// The field's word for its subject.
    pub topic: String,
    /// What it says, in one line.
    pub line: String,
    /// Our summary.
    pub summary: String,
    /// What a reader should know about these facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What its system observes; empty while it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// Its headline claims.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Where the experiment here differs from the paper's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

impl Paper {
    /// The claim of that id.
    #[must_use]
    pub fn claim(&self, id: &str) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.id == id)
    }

    /// The measure of that id.
    #[must_use]
    pub fn measure(&self, id: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.id == id)
    }

    /// Deviations that affect a claim.
    pub fn deviations_of<'a>(&'a self, claim: &'a str) -> impl Iterator<Item = &'a Deviation> {
        self.deviations.iter().filter(move |d| d.affects.iter().any(|id| id == claim))
    }

    /// The Rust module that holds it: `icl-gd` is `icl_gd`, a keyword gets a trailing `_`.
    #[must_use]
    pub fn module(&self) -> String {
        let name = self.slug.replace('-', "_");
        if KEYWORDS.contains(&name.as_str()) { format!("{name}_") } else { name }
    }
}

/// Keywords that a slug might be.
const KEYWORDS: [&str; 12] =
    ["loop", "match", "move", "type", "yield", "box", "do", "gen", "ref", "try", "use", "where"];

/// A link of a paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What is there.
    pub label: String,
    /// An http(s) address.
    pub url: String,
}

/// The crate that carries a paper: what its papers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Small language models trained here.
    Language,
    /// Decoding with a real language model.
    Decoding,
    /// Visual autoregression.
    Vision,
    /// Words and pictures in one model.
    Multimodal,
    /// Three-dimensional shapes.
    Shapes,
    /// Reinforcement learning.
    Control,
    /// Bandits and agents.
    Decisions,
    /// Causal inference.
    Causal,
    /// Proteins, spectra, recommendation, finance.
    Science,
}

impl Family {
    /// All families, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Language,
        Self::Decoding,
        Self::Vision,
        Self::Multimodal,
        Self::Shapes,
        Self::Control,
        Self::Decisions,
        Self::Causal,
        Self::Science,
    ];

    /// The word used in paths and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Language => "language",
            Self::Decoding => "decoding",
            Self::Vision => "vision",
            Self::Multimodal => "multimodal",
            Self::Shapes => "shapes",
            Self::Control => "control",
            Self::Decisions => "decisions",
            Self::Causal => "causal",
            Self::Science => "science",
        }
    }
}

/// Something that a system observes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Name used in checks and observations.
    pub id: String,
    /// Unit, `1` for a pure number.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// How many seeds it needs; 0 means observed once in a run.
    pub seeds: u64,
    /// Relative tolerance across machines.
    #[serde(default)]
    pub tolerance: f64,
    /// What it is.
    pub text: String,
    /// Heading of its column in the bench table of the family's page; none when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bench: String,
    /// Whether it depends on how fast the machine is at the moment: left out where runs are compared bit for bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
}

/// Which direction of a measure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
    /// Neither.
    Neither,
}

/// A falsifiable headline statement of a paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// `c1`, `c2`, ...
    pub id: String,
    /// Finding or property.
    pub kind: ClaimKind,
    /// The statement, in our words.
    pub statement: String,
    /// What is measured.
    pub metric: String,
    /// What is compared with what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub compares: String,
    /// The rule in words.
    pub rule_text: String,
    /// Whether the experiment here is at the paper's scale.
    pub scale: Scale,
    /// The paper's own figure.
    pub paper_figure: PaperFigure,
    /// The rule over checks; absent while the paper has no system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Rule>,
    /// The checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

impl Claim {
    /// The check of that id.
    #[must_use]
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

/// What sort of statement a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    /// Could have come out otherwise.
    Finding,
    /// True by theorem or construction; checked exactly, counted apart.
    Property,
}

/// Whether an experiment is as large as the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// As in the paper.
    Paper,
    /// Smaller.
    Reduced,
}

/// A figure read out of the paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperFigure {
    /// The figure in words.
    pub text: String,
    /// Where it stands.
    pub source: String,
}

/// A difference between the paper's experiment and ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// What the paper used.
    pub paper: String,
    /// What is used here.
    pub here: String,
    /// Why.
    pub why: String,
    /// Ids of the claims it touches.
    pub affects: Vec<String>,
}

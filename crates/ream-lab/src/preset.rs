//! Named configurations.

use serde::{Deserialize, Serialize};

/// A named configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Seconds: shows that it works. Not evidence.
    #[default]
    Smoke,
    /// The experiment on which verdicts rest.
    Full,
    /// More of everything, where a paper has it.
    Long,
}

impl Preset {
    /// The word used on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Full => "full",
            Self::Long => "long",
        }
    }
}

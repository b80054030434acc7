//! The grid: three architectures, three objectives, six cells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A shape of Transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Architecture {
    /// Every token sees the tokens before it.
    CausalDecoder,
    /// The same weights; the tokens of the input also see each other in both directions.
    NonCausalDecoder,
    /// A bidirectional encoder of the input, a causal decoder of the target that attends to it.
    EncoderDecoder,
}

impl Architecture {
    /// All three.
    pub const ALL: [Self; 3] = [Self::CausalDecoder, Self::NonCausalDecoder, Self::EncoderDecoder];

    /// `cd`, `nd`, `ed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CausalDecoder => "cd",
            Self::NonCausalDecoder => "nd",
            Self::EncoderDecoder => "ed",
        }
    }
}

/// What is learned from text alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objective {
    /// FLM: every token from those before it.
    FullLm,
    /// PLM: the tokens after a random split from all before it.
    PrefixLm,
    /// MLM: spans that were cut out, from what is left (span corruption).
    MaskedLm,
}

/// An architecture with an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// Causal decoder, full language modelling.
    CdFlm,
    /// Non-causal decoder, prefix language modelling.
    NdPlm,
    /// Encoder-decoder, prefix language modelling.
    EdPlm,
    /// Causal decoder, span corruption.
    CdMlm,
    /// Non-causal decoder, span corruption.
    NdMlm,
    /// Encoder-decoder, span corruption.
    EdMlm,
}

impl Cell {
    /// The grid, in the order in which it is shown.
    pub const ALL: [Self; 6] = [Self::CdFlm, Self::NdPlm, Self::EdPlm, Self::CdMlm, Self::NdMlm, Self::EdMlm];

    /// Name as in the paper, in lower case: `cd-flm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CdFlm => "cd-flm",
            Self::NdPlm => "nd-plm",
            Self::EdPlm => "ed-plm",
            Self::CdMlm => "cd-mlm",
            Self::NdMlm => "nd-mlm",
            Self::EdMlm => "ed-mlm",
        }
    }

    /// Its architecture.
    pub fn architecture(self) -> Architecture {
        match self {
            Self::CdFlm | Self::CdMlm => Architecture::CausalDecoder,
            Self::NdPlm | Self::NdMlm => Architecture::NonCausalDecoder,
            Self::EdPlm | Self::EdMlm => Architecture::EncoderDecoder,
        }
    }

    /// Its objective.
    pub fn objective(self) -> Objective {
        match self {
            Self::CdFlm => Objective::FullLm,
            Self::NdPlm | Self::EdPlm => Objective::PrefixLm,
            Self::CdMlm | Self::NdMlm | Self::EdMlm => Objective::MaskedLm,
        }
    }

    /// Whether it was pretrained by span corruption.
    pub fn is_masked(self) -> bool {
        self.objective() == Objective::MaskedLm
    }
}

//! What a system saw: one value of a measure, for one arm, at one place, for one seed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use ream_paper::Place;
use serde::{Deserialize, Serialize};

/// Where an observation was made: `{ environment: "german", alpha: 0.5 }`.
pub type At = BTreeMap<String, Place>;

/// One value of a measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// The measure's id.
    pub measure: String,
    /// The system or baseline that was measured; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arm: String,
    /// Where.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at: At,
    /// The value, finite.
    pub value: f64,
    /// Its own uncertainty, when the observation carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// The uncertainty that one observation carries by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Standard error.
    Se(f64),
    /// 95 % interval.
    Interval([f64; 2]),
    /// Bootstrap or posterior draws; draws of two arms at the same position belong together.
    Draws(Vec<f64>),
}

impl Spread {
    fn is_finite(&self) -> bool {
        match self {
            Self::Se(se) => se.is_finite(),
            Self::Interval(ends) => ends.iter().all(|v| v.is_finite()),
            Self::Draws(draws) => draws.iter().all(|v| v.is_finite()),
        }
    }
}

impl Observation {
    /// What tells two observations of one seed apart.
    pub(crate) fn key(&self) -> (&str, &str, &At) {
        (&self.measure, &self.arm, &self.at)
    }

    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }

    /// Whether value and spread are numbers.
    pub(crate) fn is_finite(&self) -> bool {
        self.value.is_finite() && self.spread.as_ref().is_none_or(Spread::is_finite)
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.measure)?;
        if !self.arm.is_empty() {
            write!(f, "@{}", self.arm)?;
        }
        if !self.at.is_empty() {
            write!(f, " at {}", show_at(&self.at))?;
        }
        Ok(())
    }
}

/// `environment = german, alpha = 0.5`.
#[must_use]
pub fn show_at(at: &At) -> String {
    at.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ")
}

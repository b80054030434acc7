//! Why an effect cannot be estimated, in words.

use std::fmt;

use ream_stats::local_polynomial::Side;
use ream_stats::{FitError, StatsError};

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A side of the cutoff has no units at all.
    EmptySide {
        /// The side.
        side: Side,
        /// The cutoff.
        cutoff: f64,
        /// All units.
        units: usize,
    },
    /// Too few units within the bandwidth on a side.
    TooFewUnits {
        /// The side.
        side: Side,
        /// The bandwidth.
        bandwidth: f64,
        /// Fewest units at different places.
        wanted: usize,
        /// Units at different places.
        found: usize,
    },
    /// The treatment does not jump at the cutoff.
    NoJump {
        /// Its share below and above.
        sides: [f64; 2],
    },
    /// A setting that is not allowed.
    Setting(String),
    /// What the fits say.
    Fit(FitError),
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Below => "below",
        Side::Above => "at or above",
        Side::Both => "about",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptySide { side, cutoff, units } => write!(
                f,
                "none of the {units} units lies {} the cutoff {cutoff}; wanted units on both sides: check cutoff and the \
                 running variable",
                word(*side)
            ),
            Self::TooFewUnits { side, bandwidth, wanted, found } => write!(
                f,
                "only {found} units (at different places) lie {} the cutoff within the bandwidth {bandwidth}; wanted at \
                 least {wanted}: widen the bandwidth, lower the order of the polynomial, or find more units",
                word(*side)
            ),
            Self::NoJump { sides: [below, above] } => write!(
                f,
                "the treatment does not jump at the cutoff ({below} below, {above} above): its effect cannot be told; \
                 wanted a jump of at least 1e-6"
            ),
            Self::Setting(problem) => f.write_str(problem),
            Self::Fit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<FitError> for Failure {
    fn from(error: FitError) -> Self {
        Self::Fit(error)
    }
}

impl From<StatsError> for Failure {
    fn from(error: StatsError) -> Self {
        Self::Fit(error.into())
    }
}

impl From<Failure> for ream_lab::Error {
    fn from(failure: Failure) -> Self {
        Self::Input(failure.to_string())
    }
}

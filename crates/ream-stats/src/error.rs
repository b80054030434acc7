//! What can be wrong with the input of a statistic or a fit.

use crate::sum::all_finite;

/// Input that a statistic cannot be computed from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// Fewer values than the statistic needs.
    #[error("{what} needs at least {wanted} values, got {got}")]
    TooFew {
        /// The statistic or the argument.
        what: &'static str,
        /// The smallest number that is allowed.
        wanted: usize,
        /// How many there were.
        got: usize,
    },
    /// Two arguments whose lengths must agree do not.
    #[error("{what} has length {got}, expected {wanted}")]
    Length {
        /// The argument.
        what: &'static str,
        /// Its right length.
        wanted: usize,
        /// Its length.
        got: usize,
    },
    /// A NaN or an infinity.
    #[error("{what}[{row}] is {value}; it must be a finite number")]
    NotFinite {
        /// The argument.
        what: &'static str,
        /// Position, counted from 0.
        row: usize,
        /// The value found there.
        value: f64,
    },
    /// A NaN or an infinity in a matrix.
    #[error("row {row}, column {column} of {what} is {value}; it must be a finite number")]
    CellNotFinite {
        /// The argument.
        what: &'static str,
        /// Row, counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// The value found there.
        value: f64,
    },
    /// A finite value that is not allowed.
    #[error("{what}[{row}] is {value}; allowed: {allowed}")]
    OutOfRange {
        /// The argument.
        what: &'static str,
        /// Position, counted from 0.
        row: usize,
        /// The value found there.
        value: f64,
        /// The allowed values, in words.
        allowed: &'static str,
    },
    /// A setting (a level, a quantile, a number of folds) that is not allowed.
    #[error("{what} is {value}; allowed: {allowed}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The allowed values, in words.
        allowed: &'static str,
    },
    /// The statistic is not defined for these values.
    #[error("{what} is not defined: {why}")]
    Undefined {
        /// The statistic.
        what: &'static str,
        /// The reason.
        why: &'static str,
    },
}

/// A regression that cannot be fitted, or whose covariance cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Bad input.
    #[error(transparent)]
    Input(#[from] StatsError),
    /// The columns are linearly dependent (to twelve digits), so the coefficients are not determined.
    #[error(
        "the design has rank {rank} but {columns} columns: column {column} (counted from 0) is a linear \
         combination of the others, or there are too few rows; leave it out or penalise it"
    )]
    RankDeficient {
        /// Numerical rank.
        rank: usize,
        /// Number of columns.
        columns: usize,
        /// One dependent column.
        column: usize,
    },
    /// Not more rows (of positive weight) than columns, where residual degrees of freedom are needed.
    #[error(
        "{rows} rows of positive weight and {columns} columns: the covariance needs more rows than columns"
    )]
    NoResidualFreedom {
        /// Rows of positive weight.
        rows: usize,
        /// Number of columns.
        columns: usize,
    },
    /// HC2 and HC3 divide by one minus the leverage.
    #[error("row {row} has leverage 1 (the fit passes through it): HC2 and HC3 are not defined; use HC1")]
    FullLeverage {
        /// Row, counted from 0.
        row: usize,
    },
    /// A cluster covariance needs at least two clusters.
    #[error("the rows of positive weight form {clusters} cluster(s); a cluster covariance needs at least 2")]
    TooFewClusters {
        /// Number of clusters.
        clusters: usize,
    },
    /// Columns of a regression with several groups of columns (controls, instruments, treatments) are dependent.
    #[error("column {column} (counted from 0) of the {role} {relation}; leave it out")]
    Collinear {
        /// The group: "controls", "instruments" or "treatments".
        role: &'static str,
        /// The column in its group.
        column: usize,
        /// What it is a combination of, in words.
        relation: String,
    },
    /// An instrument that does not vary.
    #[error(
        "column {column} (counted from 0) of the instruments has the same value in every row: it moves nothing"
    )]
    ConstantInstrument {
        /// The column of the instruments.
        column: usize,
    },
    /// Fewer instruments than treatments, so that two-stage least squares is not determined.
    #[error(
        "{instruments} instrument(s) for {treatments} treatments: two-stage least squares needs at least as many \
         instruments as treatments; add instruments, or blend with least squares (IVL, anchor)"
    )]
    TooFewInstruments {
        /// Number of instruments.
        instruments: usize,
        /// Number of treatments.
        treatments: usize,
    },
    /// The instruments do not move a treatment (given the controls and the other treatments).
    #[error(
        "given the controls the instruments do not move treatment {treatment} (counted from 0) apart from the others: \
         its effect is not determined; blend with least squares (IVL, anchor) or use other instruments"
    )]
    NotIdentified {
        /// The treatment.
        treatment: usize,
    },
    /// The fit has no covariance of this kind.
    #[error("no covariance: {why}")]
    NoCovariance {
        /// The reason and the way out.
        why: &'static str,
    },
}

/// Errors unless every value is finite.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    if all_finite(values) {
        return Ok(());
    }
    match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        Some((row, &value)) => Err(StatsError::NotFinite { what, row, value }),
        None => Ok(()),
    }
}

/// Errors unless `got == wanted`.
pub(crate) fn length(what: &'static str, wanted: usize, got: usize) -> Result<(), StatsError> {
    if wanted == got { Ok(()) } else { Err(StatsError::Length { what, wanted, got }) }
}

/// Errors unless there are at least `wanted` values.
pub(crate) fn at_least(what: &'static str, wanted: usize, got: usize) -> Result<(), StatsError> {
    if got >= wanted { Ok(()) } else { Err(StatsError::TooFew { what, wanted, got }) }
}

/// Errors unless every value is finite and not negative.
pub(crate) fn not_negative(what: &'static str, values: &[f64]) -> Result<(), StatsError> {
    finite(what, values)?;
    match values.iter().enumerate().find(|(_, v)| **v < 0.0) {
        Some((row, &value)) => {
            Err(StatsError::OutOfRange { what, row, value, allowed: "finite numbers of at least 0" })
        }
        None => Ok(()),
    }
}

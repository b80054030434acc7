//! What can be wrong with the input.

/// Input that trees cannot be fitted to, or that fitted trees cannot read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TreesError {
    /// No column or no row.
    #[error("trees need at least one column and one row")]
    Empty,
    /// Arguments of different lengths.
    #[error("{what} has {got} rows, expected {wanted}")]
    Length {
        /// Which argument.
        what: String,
        /// Its right length.
        wanted: usize,
        /// Its length.
        got: usize,
    },
    /// A NaN or an infinity in a column.
    #[error(
        "row {row} of column {column} (both counted from 0) is {value}; it must be a finite number: trees do not guess missing values"
    )]
    Cell {
        /// Row, counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// What is there.
        value: f64,
    },
    /// A category beyond the levels of its column.
    #[error(
        "row {row} of column {column} (both counted from 0) is level {code}, but the column has {levels} levels, counted from 0"
    )]
    Level {
        /// Row, counted from 0.
        row: usize,
        /// Column, counted from 0.
        column: usize,
        /// What is there.
        code: u32,
        /// Levels.
        levels: u32,
    },
    /// A response or weight that is not allowed.
    #[error("{what}[{row}] is {value}; allowed: {allowed}")]
    Value {
        /// Which argument.
        what: &'static str,
        /// Position, counted from 0.
        row: usize,
        /// What is there.
        value: f64,
        /// What may be there.
        allowed: &'static str,
    },
    /// A setting that is not allowed.
    #[error("{what} is {value}; allowed: {allowed}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// Columns of another number or another kind than those of the fit.
    #[error("the trees were fitted to {wanted}, these are {got}")]
    Columns {
        /// Columns of the fit, in words.
        wanted: String,
        /// Columns given, in words.
        got: String,
    },
}

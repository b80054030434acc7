//! AlpacaEval's published leaderboard.

use std::path::Path;

use crate::error::DataError;

/// One model on the board.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// Raw win rate, percent.
    pub win_rate: f64,
    /// Its standard error, points.
    pub standard_error: f64,
    /// Mean length of its answers, characters.
    pub average_length: f64,
    /// Length-controlled win rate, percent; absent where the board has none.
    pub controlled: Option<f64>,
    /// Its standard error as printed, points.
    pub controlled_error: Option<f64>,
    /// `minimal`, `verified`, `community` or `dev`.
    pub mode: String,
}

/// Reads the leaderboard.
///
/// # Errors
/// A column is missing or a cell is no number.
pub fn leaderboard(path: &Path) -> Result<Vec<Row>, DataError> {
    let table = crate::Table::open(path)?;
    // The first column, the model's name, has no heading.
    let models = table.texts("")?;
    let (rates, errors, lengths) =
        (table.numbers("win_rate")?, table.numbers("standard_error")?, table.numbers("avg_length")?);
    let controlled = table.numbers_or_missing("length_controlled_winrate")?;
    let controlled_errors = table.numbers_or_missing("lc_standard_error")?;
    let modes = table.texts("mode")?;
    let row = |i: usize| Row {
        model: models[i].clone().unwrap_or_default(),
        win_rate: rates[i],
        standard_error: errors[i],
        average_length: lengths[i],
        controlled: controlled[i],
        controlled_error: controlled_errors[i],
        mode: modes[i].clone().unwrap_or_default(),
    };
    Ok((0..table.rows()).map(row).collect())
}

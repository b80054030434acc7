//! Plain instrumental variables on real data: schooling and wages, with a college nearby as the instrument (Card, 1995).

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Error, Result};
use ream_stats::instrumental::{Instrumental, KClassFit, Variables};
use ream_stats::{Covariance, FitError, Matrix};

/// Controls, beside an intercept.
pub const CONTROLS: [&str; 5] = ["exper", "black", "south", "married", "smsa"];

/// The complete rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Logarithm of the wage.
    pub outcome: Vec<f64>,
    /// Intercept and [`CONTROLS`].
    pub controls: Matrix,
    /// Years of schooling.
    pub treatment: Matrix,
    /// A four-year college in the county.
    pub instrument: Matrix,
    /// Rows left out because a value was missing.
    pub dropped: usize,
}

/// Reads `close_college.dta` (or the same columns in any table).
///
/// # Errors
/// A column is missing or holds no numbers.
pub fn read(path: &Path) -> Result<Card> {
    let table = Columns::open(path)?;
    let names: Vec<&str> = ["lwage", "educ", "nearc4"].into_iter().chain(CONTROLS).collect();
    let columns: Vec<Vec<Option<f64>>> =
        names.iter().map(|name| table.numbers_or_missing(name)).collect::<Result<_, _>>()?;
    let rows: Vec<Vec<f64>> =
        (0..table.rows()).filter_map(|i| columns.iter().map(|column| column[i]).collect()).collect();
    let column = |j: usize| Matrix::from_fn(rows.len(), 1, |i, _| rows[i][j]);
    Ok(Card {
        dropped: table.rows() - rows.len(),
        outcome: rows.iter().map(|row| row[0]).collect(),
        treatment: column(1),
        instrument: column(2),
        controls: Matrix::from_fn(
            rows.len(),
            1 + CONTROLS.len(),
            |i, j| {
                if j == 0 { 1.0 } else { rows[i][2 + j] }
            },
        ),
    })
}

impl Card {
    /// The regression.
    ///
    /// # Errors
    /// Dependent columns.
    pub fn model(&self) -> Result<Instrumental<'_>> {
        Instrumental::new(Variables {
            outcome: &self.outcome,
            controls: Some(&self.controls),
            treatments: &self.treatment,
            instruments: &self.instrument,
        })
        .map_err(|e| failed(&e))
    }
}

fn failed(e: &FitError) -> Error {
    Error::failed(format!("Card's data: {e}"))
}

/// `points` values of kappa from 0 to 1, the closer the nearer to 1, where estimates move most.
#[must_use]
pub fn kappas(points: usize) -> Vec<f64> {
    let last = points.saturating_sub(1).max(1) as f64;
    (0..points).map(|k| 1.0 - (1.0 - k as f64 / last).powi(3)).collect()
}

/// The k-class from OLS (0) to two-stage least squares (1): `kappa`, estimate, and the half-width of the 95 % interval.
///
/// # Errors
/// A fit failed.
pub fn path(model: &Instrumental<'_>, position: usize, points: usize) -> Result<Vec<[f64; 4]>> {
    kappas(points)
        .into_iter()
        .map(|kappa| {
            let KClassFit { estimates, .. } =
                model.k_class(kappa, Covariance::Hc1).map_err(|e| failed(&e))?;
            let interval = estimates.intervals(0.95).map_err(|e| failed(&e))?[position];
            Ok([kappa, interval.value, interval.low, interval.high])
        })
        .collect()
}

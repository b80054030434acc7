//! Places with a truth and what a predictor may see of them: Vietnamese households in communes, and pictures of digits.

use std::io::Read;
use std::path::Path;

use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::Matrix;

use super::card::failed;

/// Places.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// The word used in observations.
    pub name: &'static str,
    /// Columns of the features.
    pub columns: Vec<String>,
    /// What a predictor sees, `[n, columns]`.
    pub features: Matrix,
    /// Whether all columns are in one unit.
    pub same_unit: bool,
    /// The truth, `[n]`.
    pub outcome: Vec<f64>,
    /// Areas that are never cut by a split, `[n]`.
    pub areas: Vec<usize>,
}

/// Rows for training, calibration and trials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The predictor is trained on them.
    pub train: Vec<usize>,
    /// The card is learned on them.
    pub calibration: Vec<usize>,
    /// Trials are held on them.
    pub trial: Vec<usize>,
}

impl Places {
    /// Half of the areas for training, a quarter for calibration, the rest for trials (of 194: 97, 48 and 49), at random. No area
    /// lies in two of them.
    #[must_use]
    pub fn split(&self, stream: Stream) -> Split {
        let mut areas = self.areas.clone();
        areas.sort_unstable();
        areas.dedup();
        let mut order: Vec<usize> = (0..areas.len()).collect();
        stream.at(0).shuffle(&mut order);
        let (half, quarter) = (areas.len() / 2, areas.len() / 4);
        let mut share = vec![0; areas.len()];
        for (rank, area) in order.into_iter().enumerate() {
            share[area] = usize::from(rank >= half) + usize::from(rank >= half + quarter);
        }
        let rows = |wanted: usize| {
            let here = |i: &usize| areas.binary_search(&self.areas[*i]).is_ok_and(|a| share[a] == wanted);
            (0..self.areas.len()).filter(here).collect()
        };
        Split { train: rows(0), calibration: rows(1), trial: rows(2) }
    }

    /// Values at rows.
    #[must_use]
    pub fn outcomes(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|&i| self.outcome[i]).collect()
    }

    /// Areas at rows.
    #[must_use]
    pub fn areas_of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|&i| self.areas[i]).collect()
    }

    /// A feature by its name, `[n]`.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.features.column(self.columns.iter().position(|c| c == name)?))
    }
}

/// Vietnam living-standards survey (provenance beside the file).
const HOUSEHOLDS: &[u8] = include_bytes!("../../data/viet_nam_households.csv.gz");

/// Columns that the predictors see, before the flag.
pub const INPUTS: [&str; 8] = ["age", "educyr", "farm", "urban", "hhsize", "lnmed", "lnexp12m", "sex"];
/// The column with missing values: 0 stands for them, and a flag says so.
const WITH_GAPS: &str = "lnexp12m";

/// 5,999 households in 194 communes; the truth is the logarithm of total expenditure.
///
/// # Errors
/// The embedded bytes are damaged.
pub fn households() -> Result<Places> {
    let broken = |e: &dyn std::fmt::Display| Error::failed(format!("the built-in households: {e}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(HOUSEHOLDS).read_to_string(&mut text).map_err(|e| broken(&e))?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| broken(&e))?.clone();
    let at = |name: &str| {
        header.iter().position(|h| h == name).ok_or_else(|| broken(&format!("no column `{name}`")))
    };
    let inputs = INPUTS.iter().map(|name| at(name)).collect::<Result<Vec<_>>>()?;
    let (outcome_at, area_at) = (at("lntotal")?, at("commune")?);
    let (mut rows, mut outcome, mut areas) = (Vec::new(), Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|e| broken(&e))?;
        let cell = |k: usize| record.get(k).unwrap_or("");
        let mut row = Vec::with_capacity(INPUTS.len() + 1);
        let mut missing = false;
        for (name, &k) in INPUTS.iter().zip(&inputs) {
            let gap = *name == WITH_GAPS && matches!(cell(k), "" | "NA");
            missing |= gap;
            row.push(if gap {
                0.0
            } else {
                number(cell(k)).ok_or_else(|| broken(&format!("`{}` as {name}", cell(k))))?
            });
        }
        row.push(f64::from(u8::from(missing)));
        rows.push(row);
        outcome.push(number(cell(outcome_at)).ok_or_else(|| broken(&cell(outcome_at)))?);
        areas.push(number(cell(area_at)).ok_or_else(|| broken(&cell(area_at)))? as usize);
    }
    let columns = INPUTS.iter().map(|c| (*c).to_owned()).chain(["lnexp12m missing".to_owned()]).collect();
    let features = Matrix::from_rows(&rows).map_err(failed)?;
    Ok(Places { name: "households", columns, features, same_unit: false, outcome, areas })
}

/// A number, or a word of two.
fn number(cell: &str) -> Option<f64> {
    match cell {
        "yes" | "female" => Some(1.0),
        "no" | "male" => Some(0.0),
        other => other.parse().ok().filter(|v: &f64| v.is_finite()),
    }
}

/// Pixels along an edge of a picture, and of what a predictor sees of it.
const EDGE: usize = 28;
const SEEN: usize = 14;

/// Pictures of digits, `limit` in all (0: all), means of 2 x 2 pixels; the truth is the digit plus a standard normal number. Every
/// picture is an area of its own.
///
/// # Errors
/// The data set is not fetched, or a file is damaged.
pub fn digits(folder: &Path, limit: usize, noise: Stream) -> Result<Places> {
    #[derive(serde::Deserialize)]
    struct File {
        data: Vec<f32>,
    }
    let mut rows: Vec<f64> = Vec::new();
    let mut outcome = Vec::new();
    let share = if limit == 0 { usize::MAX } else { limit.div_ceil(10) };
    for digit in 0..10_u8 {
        let path = folder.join(format!("{digit}.json"));
        let broken = |e: &dyn std::fmt::Display| Error::Data(format!("{}: {e}", path.display()));
        let text = std::fs::read(&path).map_err(|e| broken(&e))?;
        let file: File = serde_json::from_slice(&text).map_err(|e| broken(&e))?;
        for picture in file.data.chunks_exact(EDGE * EDGE).take(share) {
            rows.extend((0..SEEN * SEEN).map(|k| pooled(picture, k / SEEN, k % SEEN)));
            let mut rng = noise.at(outcome.len() as u64);
            outcome.push(f64::from(digit) + rng.normal());
        }
    }
    let n = outcome.len();
    let features = Matrix::new(n, SEEN * SEEN, rows).map_err(failed)?;
    let columns = (0..SEEN * SEEN).map(|k| format!("pixel {}, {}", k / SEEN, k % SEEN)).collect();
    Ok(Places { name: "digits", columns, features, same_unit: true, outcome, areas: (0..n).collect() })
}

/// Mean of a block of pixels.
fn pooled(picture: &[f32], row: usize, column: usize) -> f64 {
    let block = EDGE / SEEN;
    let pixel = |k: usize| f64::from(picture[(row * block + k / block) * EDGE + column * block + k % block]);
    (0..block * block).map(pixel).sum::<f64>() / (block * block) as f64
}

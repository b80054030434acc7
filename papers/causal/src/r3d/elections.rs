//! Close elections: does a Democrat who has just won a seat in the US Senate change how the state's House districts vote and how
//! their members vote two years later?
//!
//! A unit is a Senate election of a state; its running variable is the Democratic margin (percentage points), its
//! distribution is over the state's House districts in year + 2. The other sample has the Senate's vote itself, a distribution
//! of one point, so that the estimators must give the ordinary discontinuity.

use std::collections::BTreeMap;
use std::path::Path;

use ream_data::Table;
use ream_lab::{Error, Result};
use serde::Deserialize;

use super::estimate::{Bandwidth, Method, Settings, estimate};
use super::failure::Failure;
use super::sample::{Sample, deciles};
use ream_stats::local_polynomial::Kernel;

/// Data set with the Senate's elections.
pub const SENATE: &str = "senate-rd";
/// Data set with the House's.
pub const HOUSE: &str = "lmb-elections";
/// Fewest districts of a unit.
pub const FEWEST_DISTRICTS: usize = 3;

/// A Senate election.
#[derive(Clone, Debug, PartialEq)]
pub struct Senate {
    /// The state's full name.
    pub state: String,
    /// Year.
    pub year: u32,
    /// Democratic margin of victory, percentage points.
    pub margin: f64,
    /// Democratic vote share of the next election for the seat, percent.
    pub vote: Option<f64>,
}

/// What a district's distribution is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Democratic vote share, percent.
    VoteShare,
    /// Liberal roll-call score (ADA), 0 to 100 before its adjustment for inflation.
    Score,
}

impl Outcome {
    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VoteShare => "vote-share",
            Self::Score => "score",
        }
    }

    fn column(self) -> (&'static str, f64) {
        match self {
            Self::VoteShare => ("demvoteshare", 100.0),
            Self::Score => ("score", 1.0),
        }
    }
}

/// Reads the Senate's elections.
///
/// # Errors
/// A row without state, year or margin.
pub fn senate(file: &Path) -> Result<Vec<Senate>> {
    let table = Table::open(file)?;
    let (states, years) = (table.texts("state")?, table.numbers("year")?);
    let (margins, votes) = (table.numbers("margin")?, table.numbers_or_missing("vote")?);
    let mut elections = Vec::with_capacity(table.rows());
    for (row, state) in states.into_iter().enumerate() {
        let state =
            state.ok_or_else(|| Error::Data(format!("{}: no state in row {}", table.file(), row + 1)))?;
        elections.push(Senate { state, year: years[row] as u32, margin: margins[row], vote: votes[row] });
    }
    Ok(elections)
}

/// Full name of a state written as `36: N. Dakota`.
#[must_use]
pub fn full_name(label: &str) -> String {
    let name = label.split_once(": ").map_or(label, |(_, name)| name).trim();
    for (short, long) in [("N. ", "North "), ("S. ", "South "), ("W. ", "West ")] {
        if let Some(rest) = name.strip_prefix(short) {
            return format!("{long}{rest}");
        }
    }
    name.to_owned()
}

/// Units of the House: state and year, each with a value for every district, the mean of its sessions.
///
/// # Errors
/// The file does not have the columns.
pub fn districts(file: &Path, outcome: Outcome) -> Result<BTreeMap<(String, u32), Vec<f64>>> {
    let table = Table::open(file)?;
    let (column, unit) = outcome.column();
    let (states, years) = (table.texts("state.label")?, table.numbers("year")?);
    let (numbers, values) = (table.numbers("district")?, table.numbers_or_missing(column)?);
    let mut sums: BTreeMap<(String, u32), BTreeMap<u32, (f64, f64)>> = BTreeMap::new();
    for row in 0..table.rows() {
        let (Some(state), Some(value)) = (&states[row], values[row]) else { continue };
        let place = (full_name(state), years[row] as u32);
        let (sum, count) = sums.entry(place).or_default().entry(numbers[row] as u32).or_default();
        *sum += unit * value;
        *count += 1.0;
    }
    let means = |own: BTreeMap<u32, (f64, f64)>| own.into_values().map(|(sum, count)| sum / count).collect();
    Ok(sums.into_iter().map(|(place, own)| (place, means(own))).collect())
}

/// Senate elections whose state has at least [`FEWEST_DISTRICTS`] districts two years later, with the districts' values.
#[must_use]
pub fn units(senate: &[Senate], districts: &BTreeMap<(String, u32), Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (mut x, mut outcomes) = (Vec::new(), Vec::new());
    for election in senate {
        let found = districts.get(&(election.state.clone(), election.year + 2));
        if let Some(own) = found.filter(|own| own.len() >= FEWEST_DISTRICTS) {
            x.push(election.margin);
            outcomes.push(own.clone());
        }
    }
    (x, outcomes)
}

/// The Senate's next votes as distributions of one point.
///
/// # Errors
/// None for finite votes.
pub fn one_point(senate: &[Senate]) -> std::result::Result<Sample, Failure> {
    let with_vote = || senate.iter().filter_map(|election| Some((election.margin, election.vote?)));
    let outcomes: Vec<Vec<f64>> = with_vote().map(|(_, vote)| vec![vote]).collect();
    let x = with_vote().map(|(margin, _)| margin).collect();
    Ok(Sample::from_individuals(x, &outcomes, None, deciles(), None)?)
}

/// A conventional estimate of `rdrobust` on the Senate's votes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Reference {
    /// Kernel.
    pub kernel: String,
    /// Order.
    pub p: usize,
    /// Bandwidth, on both sides and for the bias.
    pub h: f64,
    /// The conventional estimate.
    pub conventional: f64,
    /// Units within the bandwidth, below and above.
    pub effective: [usize; 2],
}

/// What `rdrobust` 2.1.1 says, made by `tests/golden/r3d.py`.
///
/// # Errors
/// The embedded file is damaged.
pub fn references() -> Result<Vec<Reference>> {
    #[derive(Deserialize)]
    struct File {
        rdrobust: Vec<Reference>,
    }
    serde_json::from_str::<File>(include_str!("../../data/rdrobust_senate.json"))
        .map(|file| file.rdrobust)
        .map_err(|e| Error::failed(format!("the embedded estimates of rdrobust: {e}")))
}

/// Largest relative difference between the effect at any quantile and a reference.
///
/// # Errors
/// As [`estimate`]; an unknown kernel.
pub fn difference(
    sample: &Sample,
    method: Method,
    reference: &Reference,
) -> std::result::Result<f64, Failure> {
    let kernel = match reference.kernel.as_str() {
        "triangular" => Kernel::Triangular,
        "epanechnikov" => Kernel::Epanechnikov,
        "uniform" => Kernel::Uniform,
        other => return Err(Failure::Setting(format!("unknown kernel `{other}`"))),
    };
    let bandwidth = Bandwidth::Common(reference.h);
    let settings = Settings { kernel, method, order: reference.p, bandwidth, ..Settings::default() };
    let fit = estimate(sample, &settings)?;
    let far = |e: &f64| (e / reference.conventional - 1.0).abs();
    Ok(fit.effect.iter().map(far).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_out() {
        assert_eq!(full_name("36: N. Dakota"), "North Dakota");
        assert_eq!(full_name("56: W. Virginia"), "West Virginia");
        assert_eq!(full_name("01: Connecticut"), "Connecticut");
        assert_eq!(full_name("Washington"), "Washington");
    }

    fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn sessions_are_averaged_and_small_states_left_out() {
        let rows = "state.label,district,year,score,demvoteshare\n\
                    52: N. Carolina,1,1950,10,0.4\n52: N. Carolina,1,1950,30,0.4\n52: N. Carolina,2,1950,50,0.6\n\
                    52: N. Carolina,3,1950,70,NA\n52: N. Carolina,4,1950,90,0.9\n72: Oregon,1,1950,1,0.1\n";
        let (_dir, path) = write("house.csv", rows);
        let score = districts(&path, Outcome::Score).unwrap();
        assert_eq!(score[&("North Carolina".to_owned(), 1950)], [20.0, 50.0, 70.0, 90.0]);
        let votes = districts(&path, Outcome::VoteShare).unwrap();
        assert_eq!(votes[&("North Carolina".to_owned(), 1950)], [40.0, 60.0, 90.0]);
        let elections =
            "state,year,margin,vote\nNorth Carolina,1948,-2.5,60\nOregon,1948,3,NA\nOregon,1950,4,41\n";
        let (_dir, path) = write("senate.csv", elections);
        let senate = senate(&path).unwrap();
        let (x, outcomes) = units(&senate, &votes);
        assert_eq!((x, outcomes), (vec![-2.5], vec![vec![40.0, 60.0, 90.0]]));
        let single = one_point(&senate).unwrap();
        assert_eq!((single.units(), single.curves.row(1)), (2, &[41.0; 9][..]));
    }

    #[test]
    fn references_are_there() {
        let all = references().unwrap();
        assert!(all.len() >= 12);
        for kernel in ["triangular", "epanechnikov", "uniform"] {
            assert!(all.iter().any(|r| r.kernel == kernel && r.p == 2));
        }
    }
}

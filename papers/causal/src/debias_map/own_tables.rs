//! The user's own tables: calibration, trial, map; each error names file, column and row.

use std::collections::BTreeMap;
use std::path::Path;

use ream_data::Table;
use ream_lab::{Error, Invalid, Result};
use ream_rand::Stream;
use ream_stats::{Matrix, cross_fit};

use super::card::{Calibration, LEAST_ROWS, failed};
use super::config::Own;
use super::effects::{Estimator, Treatment};
use super::predictors::{self, Fitted, Objective};

/// A calibration table as it was read.
pub(crate) struct CalibrationTable {
    pub(crate) sample: Calibration,
    /// Unit names, where there are any.
    pub(crate) ids: Option<Vec<String>>,
    /// Columns to be tested, with whether they are inputs of the predictor.
    pub(crate) tested: Vec<(String, Vec<f64>, bool)>,
    /// The predictor that was trained here.
    pub(crate) fitted: Option<Fitted>,
}

/// A trial as it was read.
pub(crate) struct TrialTable {
    pub(crate) ids: Option<Vec<String>>,
    pub(crate) predictions: Vec<f64>,
    pub(crate) treatment: Treatment,
    /// Positions and truths of labelled units.
    pub(crate) labels: Option<(Vec<usize>, Vec<f64>)>,
}

fn place(table: &Table, column: &str) -> String {
    format!("{}, column `{column}`", table.file())
}

/// An error with the file that it is about.
pub(crate) fn within(table: &Table, error: Error) -> Error {
    match error {
        Error::Invalid(invalid) => {
            Invalid { place: format!("{}, {}", table.file(), invalid.place), ..invalid }.into()
        }
        other => other,
    }
}

/// Names of the units, each once.
fn ids(table: &Table, own: &Own) -> Result<Option<Vec<String>>> {
    let Some(column) = own.id.as_ref().filter(|column| table.has(column)) else { return Ok(None) };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = Vec::with_capacity(table.rows());
    for (row, id) in table.texts(column)?.into_iter().enumerate() {
        let Some(id) = id else {
            let got = format!("nothing in row {}", row + 1);
            return Err(Invalid::new(place(table, column), "a name for each unit", got).into());
        };
        if let Some(first) = seen.insert(id.clone(), row) {
            let got = format!("`{id}` in rows {} and {}", first + 1, row + 1);
            return Err(Invalid::new(place(table, column), "each unit once", got).into());
        }
        all.push(id);
    }
    Ok(Some(all))
}

/// Areas as numbers, in the order of their names.
fn clusters(table: &Table, own: &Own) -> Result<Option<Vec<usize>>> {
    let Some(column) = own.cluster.as_ref().filter(|column| table.has(column)) else { return Ok(None) };
    let names = table.texts(column)?;
    if let Some(row) = names.iter().position(Option::is_none) {
        let got = format!("nothing in row {}", row + 1);
        return Err(Invalid::new(place(table, column), "an area for each unit", got).into());
    }
    let names: Vec<String> = names.into_iter().flatten().collect();
    let numbers: BTreeMap<&String, usize> = names.iter().map(|name| (name, 0)).collect();
    let numbers: BTreeMap<&String, usize> =
        numbers.into_keys().enumerate().map(|(k, name)| (name, k)).collect();
    if numbers.len() < 2 {
        let got = numbers.len().to_string();
        return Err(Invalid::new(place(table, column), "at least two areas", got).into());
    }
    Ok(Some(names.iter().map(|name| numbers[name]).collect()))
}

/// Columns side by side, `[n, columns]`.
fn matrix(table: &Table, columns: &[String]) -> Result<Matrix> {
    let columns = columns.iter().map(|c| table.numbers(c)).collect::<Result<Vec<_>, _>>()?;
    Matrix::from_columns(&columns).map_err(failed)
}

/// A cluster column that no table has would be ignored silently.
pub(crate) fn check_columns(own: &Own, tables: &[&Table]) -> Result<()> {
    for (key, column) in [("own.cluster", &own.cluster), ("own.id", &own.id)] {
        if let Some(column) = column.as_ref().filter(|column| !tables.iter().any(|t| t.has(column))) {
            let files: Vec<&str> = tables.iter().map(|t| t.file()).collect();
            let wanted = format!("a column of {}", files.join(" or "));
            return Err(Invalid::new(key, wanted, column.clone()).into());
        }
    }
    Ok(())
}

/// Reads a calibration table; with `own.features` trains the predictor on it and makes predictions of rows it has not seen.
pub(crate) fn calibration(own: &Own, table: &Table, steps: u64) -> Result<CalibrationTable> {
    let truth = table.numbers(&own.truth)?;
    let weights = match &own.weight {
        Some(column) => Some(weights(table, column)?),
        None => None,
    };
    let areas = clusters(table, own)?;
    let ids = ids(table, own)?;
    let tested = tested(own, table)?;
    let sample = Calibration { predictions: Vec::new(), truth, clusters: areas, weights };
    if own.features.is_empty() {
        let predictions = table.numbers(&own.prediction)?;
        return Ok(CalibrationTable {
            sample: Calibration { predictions, ..sample },
            ids,
            tested,
            fitted: None,
        });
    }
    if own.features.contains(&own.truth) {
        return Err(Invalid::new("own.features", "columns other than the truth", own.truth.clone()).into());
    }
    if table.rows() < 2 * LEAST_ROWS {
        let wanted = format!("at least {} rows to train and calibrate on", 2 * LEAST_ROWS);
        return Err(Invalid::new(table.file(), wanted, table.rows().to_string()).into());
    }
    let x = matrix(table, &own.features)?;
    let (sample, kept, fitted) = trained(own, &x, sample, steps)?;
    let pick = |values: &[f64]| kept.iter().map(|&i| values[i]).collect();
    Ok(CalibrationTable {
        ids: ids.map(|ids| kept.iter().map(|&i| ids[i].clone()).collect()),
        tested: tested.into_iter().map(|(name, values, input)| (name, pick(&values), input)).collect(),
        sample,
        fitted: Some(fitted),
    })
}

fn weights(table: &Table, column: &str) -> Result<Vec<f64>> {
    let values = table.numbers(column)?;
    if let Some(row) = values.iter().position(|w| *w < 0.0) {
        let got = format!("{} in row {}", values[row], row + 1);
        return Err(Invalid::new(place(table, column), "numbers of at least 0", got).into());
    }
    Ok(values)
}

/// Columns named to be tested, and the treatment where the calibration table has it.
fn tested(own: &Own, table: &Table) -> Result<Vec<(String, Vec<f64>, bool)>> {
    let mut names = own.test.clone();
    if table.has(&own.treatment) && !names.contains(&own.treatment) {
        names.push(own.treatment.clone());
    }
    let read = |name: String| {
        let values = table.numbers(&name)?;
        let input = own.features.contains(&name);
        Ok((name, values, input))
    };
    names.into_iter().map(read).collect()
}

/// Trains; gives the calibration sample, the rows it consists of, and the predictor for new places.
fn trained(own: &Own, x: &Matrix, all: Calibration, steps: u64) -> Result<(Calibration, Vec<usize>, Fitted)> {
    let objective = Objective { bias_penalty: 0.0, steps, seed: 1, same_unit: false };
    let each_row: Vec<usize>;
    let groups = match &all.clusters {
        Some(areas) => areas,
        None => {
            each_row = (0..x.rows()).collect();
            &each_row
        }
    };
    // The same for every seed of a run: a map is made once.
    let stream = Stream::new(1, "folds of a map");
    let pick = |rows: &[usize]| rows.iter().map(|&i| all.truth[i]).collect::<Vec<f64>>();
    let fit = |rows: &[usize]| predictors::fit(own.predictor, &objective, &x.select_rows(rows), &pick(rows));
    if own.folds == 0 {
        let halves = cross_fit::grouped(groups, 2, stream).map_err(failed)?;
        let rows = |half: usize| (0..x.rows()).filter(|&i| halves[i] == half).collect::<Vec<usize>>();
        let (train, held_out) = (rows(0), rows(1));
        let fitted = fit(&train)?;
        let predictions = fitted.predict(&x.select_rows(&held_out))?;
        let blank = Calibration { predictions: vec![0.0; x.rows()], ..all.clone() };
        let sample = Calibration { predictions, ..blank.select(&held_out) };
        return Ok((sample, held_out, fitted));
    }
    let folds = cross_fit::grouped(groups, own.folds, stream).map_err(|e| {
        Error::from(Invalid::new("own.folds", "at most as many as there are areas", e.to_string()))
    })?;
    let predictions = cross_fit::out_of_fold(&folds, |train, test| {
        let predicted = fit(train).and_then(|fitted| fitted.predict(&x.select_rows(test)));
        predicted.map_err(Wrapped)
    })
    .map_err(|Wrapped(error)| error)?;
    let rows: Vec<usize> = (0..x.rows()).collect();
    let fitted = fit(&rows)?;
    Ok((Calibration { predictions, ..all }, rows, fitted))
}

/// An error of the lab where one of the statistics is expected.
struct Wrapped(Error);

impl From<ream_stats::StatsError> for Wrapped {
    fn from(error: ream_stats::StatsError) -> Self {
        Self(failed(error))
    }
}

/// Reads a trial; predictions stand in it, are joined from a map by id, or are made from features.
pub(crate) fn trial(own: &Own, table: &Table, fitted: Option<&Fitted>) -> Result<TrialTable> {
    let ids = ids(table, own)?;
    let predictions = match (fitted, &own.map) {
        (Some(fitted), _) => fitted.predict(&matrix(table, &own.features)?)?,
        (None, Some(map)) => joined(own, table, ids.as_deref(), Path::new(map))?,
        (None, None) => table.numbers(&own.prediction)?,
    };
    let covariates = if own.covariates.is_empty() { None } else { Some(matrix(table, &own.covariates)?) };
    let values = table.numbers(&own.treatment)?;
    let treatment = Treatment { values, covariates, clusters: clusters(table, own)? };
    if own.estimator != Estimator::Ols {
        treatment.arms().map_err(|error| within(table, error))?;
    } else if treatment.values.iter().all(|v| *v == treatment.values[0]) {
        let got = format!("{} everywhere", treatment.values[0]);
        return Err(Invalid::new(place(table, &own.treatment), "values that differ", got).into());
    }
    let labels = match &own.label {
        None => None,
        Some(column) => Some(labels(table, column)?),
    };
    Ok(TrialTable { ids, predictions, treatment, labels })
}

fn labels(table: &Table, column: &str) -> Result<(Vec<usize>, Vec<f64>)> {
    let values = table.numbers_or_missing(column)?;
    let found: (Vec<usize>, Vec<f64>) =
        values.into_iter().enumerate().filter_map(|(i, v)| Some((i, v?))).unzip();
    if found.0.len() < LEAST_ROWS {
        let wanted = format!("at least {LEAST_ROWS} labelled units");
        return Err(Invalid::new(place(table, column), wanted, found.0.len().to_string()).into());
    }
    Ok(found)
}

/// Predictions of the trial's units out of a map's file.
fn joined(own: &Own, trial: &Table, ids_of_trial: Option<&[String]>, map: &Path) -> Result<Vec<f64>> {
    let table = Table::open(map)?;
    let wanted = "a column that names units in the trial and in the map";
    let Some(column) = &own.id else { return Err(Invalid::new("own.id", wanted, "none").into()) };
    let (Some(wanted_ids), Some(known)) = (ids_of_trial, ids(&table, own)?) else {
        return Err(Invalid::new("own.id", wanted, column.clone()).into());
    };
    let values = table.numbers(&own.prediction)?;
    let by_id: BTreeMap<&str, f64> = known.iter().map(String::as_str).zip(values).collect();
    let find = |(row, id): (usize, &String)| {
        by_id.get(id.as_str()).copied().ok_or_else(|| {
            let got = format!("`{id}` in row {}, which {} does not hold", row + 1, table.file());
            Invalid::new(place(trial, column), "units of the map", got).into()
        })
    };
    wanted_ids.iter().enumerate().map(find).collect()
}

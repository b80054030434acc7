//! The user's log, read and checked: columns of the context, `action`, `reward`, `propensity`, the available
//! actions, the generation.

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Error, Invalid, Result};
use ream_rand::Stream;

use super::config::{Config, Own, Unseen};
use super::conversions::levels;
use super::data::{Actions, Contexts, Field, Log, Window, training_rows};
use super::oracle::{Class, OracleError, Recipe, fit};
use super::serving::Training;

/// Most cells that coverage is counted over.
const MOST_CELLS: usize = 4096;
/// Most actions: a column of identifiers is hardly one of actions.
const MOST_ACTIONS: usize = 1000;
/// Estimated probabilities are not below this.
const LEAST_PROPENSITY: f64 = 1e-3;

/// The user's log, ready to be replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnLog {
    /// Generations in their order.
    pub generations: Vec<Log>,
    /// Their names.
    pub names: Vec<String>,
    /// Names of the actions, in order of their numbers.
    pub actions: Vec<String>,
    /// How models are fitted.
    pub recipe: Recipe,
    /// Cells that coverage is counted over.
    pub cells: usize,
    /// Whether the probabilities of the logged actions are estimated.
    pub estimated: bool,
}

/// How many generations the user's models are fitted on.
#[must_use]
pub fn window(own: &Own) -> Window {
    if own.memory == 0 { Window::All } else { Window::Last(own.memory) }
}

/// Reads and checks a file.
///
/// # Errors
/// File, column and row: a column that is not there, a reward that is not 0 or 1, a probability that is not
/// above 0 and at most 1, an action that is not in its list, no probabilities, a
/// single generation; the generation whose model would see one reward only; an available action that the
/// training rows do not have.
pub fn load(config: &Config, file: &Path) -> Result<OwnLog> {
    let own = &config.own;
    let table = Columns::open(file)?;
    let taken = words(&table, &own.action)?;
    let lists = available(&table, own, &taken)?;
    let actions = action_names(&table, own, &taken, &lists)?;
    let number = |name: &String| actions.binary_search(name).map_or(0, |i| i as u32);
    let rewards = rewards(&table, &own.reward)?;
    let given = propensities(&table, own)?;
    let fields = contexts(&table, own)?;
    let (cells, count) = cells(&fields);
    let n = table.rows();
    let every: Vec<u32> = (0..actions.len() as u32).collect();
    let allowed = (0..n).map(|i| match &lists {
        Some(lists) => {
            let mut numbers: Vec<u32> = lists[i].iter().map(number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        }
        None => every.clone(),
    });
    let estimated = given.is_none();
    let log = Log {
        contexts: Contexts { allowed: allowed.collect(), fields, cells, pairs: Vec::new() },
        actions: taken.iter().map(number).collect(),
        propensities: given.unwrap_or_else(|| vec![1.0; n]),
        rewards,
        uniform: vec![false; n],
        late: vec![false; n],
    };
    let crossed = (0..log.contexts.fields.len()).collect();
    let recipe = Recipe { l2: config.l2, ..Recipe::new(own.class, Actions::plain(actions.len()), crossed) };
    let (names, rows) = generations(&table, own)?;
    let mut generations: Vec<Log> = rows.iter().map(|rows| log.take(rows)).collect();
    if estimated {
        for log in &mut generations {
            log.propensities = estimated_propensities(log, &recipe).map_err(|e| {
                Error::failed(format!(
                    "{}: the probabilities of actions cannot be estimated: {e}",
                    table.file()
                ))
            })?;
        }
    }
    let read = OwnLog { generations, names, actions, recipe, cells: count, estimated };
    check_models(&table, own, &read)?;
    Ok(read)
}

fn wrong(table: &Columns, column: &str, wanted: &str, got: &str) -> Error {
    Invalid::new(format!("{}, column `{column}`", table.file()), wanted, got).into()
}

fn words(table: &Columns, column: &str) -> Result<Vec<String>> {
    let words = table.texts(column)?;
    if let Some(row) = words.iter().position(Option::is_none) {
        let wanted = "a value in every row (fill it in or leave the row out)";
        return Err(wrong(table, column, wanted, &format!("none in row {}", row + 1)));
    }
    Ok(words.into_iter().flatten().map(|w| w.trim().to_owned()).collect())
}

fn rewards(table: &Columns, column: &str) -> Result<Vec<f64>> {
    let rewards = table.numbers(column)?;
    match rewards.iter().position(|y| *y != 0.0 && *y != 1.0) {
        Some(row) => Err(wrong(table, column, "0 or 1", &format!("{} in row {}", rewards[row], row + 1))),
        None => Ok(rewards),
    }
}

fn propensities(table: &Columns, own: &Own) -> Result<Option<Vec<f64>>> {
    if !table.has(&own.propensity) {
        if own.estimate_propensity {
            return Ok(None);
        }
        let wanted = format!(
            "a column `{}` with each action's probability when it was taken: without it no policy can be \
             judged (`--set own.propensity=NAME` for another name, `--set \
             own.estimate_propensity=true` to estimate it from the log)",
            own.propensity
        );
        return Err(Invalid::new(table.file(), wanted, "no such column").into());
    }
    let p = table.numbers(&own.propensity)?;
    match p.iter().position(|p| !(*p > 0.0 && *p <= 1.0)) {
        Some(row) => {
            let wanted =
                "a probability above 0, at most 1 (an action of probability 0 cannot have been taken)";
            Err(wrong(table, &own.propensity, wanted, &format!("{} in row {}", p[row], row + 1)))
        }
        None => Ok(Some(p)),
    }
}

/// The available actions of every row, and that the one that was taken is among them.
fn available(table: &Columns, own: &Own, taken: &[String]) -> Result<Option<Vec<Vec<String>>>> {
    let Some(column) = &own.available else { return Ok(None) };
    let lists: Vec<Vec<String>> = words(table, column)?
        .iter()
        .map(|list| list.split('|').map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect())
        .collect();
    match lists.iter().zip(taken).position(|(list, action)| !list.contains(action)) {
        Some(row) => {
            let wanted = "a list (separated by `|`) that holds the action that was taken";
            let got = format!("`{}` without `{}` in row {}", lists[row].join("|"), taken[row], row + 1);
            Err(wrong(table, column, wanted, &got))
        }
        None => Ok(Some(lists)),
    }
}

fn action_names(
    table: &Columns,
    own: &Own,
    taken: &[String],
    lists: &Option<Vec<Vec<String>>>,
) -> Result<Vec<String>> {
    let mut names: Vec<String> = taken.iter().chain(lists.iter().flatten().flatten()).cloned().collect();
    names.sort();
    names.dedup();
    if names.len() < 2 {
        return Err(wrong(
            table,
            &own.action,
            "two actions or more",
            &format!("`{}` only", names.join(", ")),
        ));
    }
    if names.len() > MOST_ACTIONS {
        let wanted = format!("at most {MOST_ACTIONS} actions: is this the right column?");
        return Err(wrong(table, &own.action, &wanted, &format!("{} different values", names.len())));
    }
    Ok(names)
}

fn contexts(table: &Columns, own: &Own) -> Result<Vec<Field>> {
    let mut taken = vec![&own.action, &own.reward, &own.propensity];
    taken.extend(own.available.iter().chain(&own.generation));
    let names: Vec<String> = if own.context.is_empty() {
        let others = table.names().into_iter().filter(|name| !name.is_empty());
        others.filter(|name| !taken.iter().any(|t| t == name)).map(ToOwned::to_owned).collect()
    } else {
        own.context.clone()
    };
    let field = |name: &String| {
        if taken.contains(&name) {
            let wanted = "columns that are known before the action";
            return Err(
                Invalid::new("own.context", wanted, format!("`{name}`, which has another role")).into()
            );
        }
        if table.is_numeric(name)? {
            Ok(Field::Numbers(table.numbers(name)?))
        } else {
            Ok(levels(&words(table, name)?))
        }
    };
    names.iter().map(field).collect()
}

/// Cells from the first two fields: their levels, or quarters of a number; of the first alone where that
/// makes too many.
fn cells(fields: &[Field]) -> (Vec<u32>, usize) {
    let codes = |field: &Field| match field {
        Field::Categories { codes, levels } => (codes.clone(), *levels as usize),
        Field::Numbers(values) => {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let quarters: Vec<f64> = (1..4).map(|q| sorted[q * sorted.len() / 4]).collect();
            (values.iter().map(|v| quarters.iter().filter(|q| v >= *q).count() as u32).collect(), 4)
        }
    };
    let rows = fields.first().map_or(0, |f| match f {
        Field::Numbers(v) => v.len(),
        Field::Categories { codes, .. } => codes.len(),
    });
    let (mut cells, mut count) = (vec![0; rows], 1);
    for (codes, levels) in fields.iter().take(2).map(codes) {
        if count * levels <= MOST_CELLS {
            cells.iter_mut().zip(&codes).for_each(|(cell, code)| *cell = *cell * levels as u32 + code);
            count *= levels;
        }
    }
    (cells, count)
}

/// Names and rows of the generations, in order: numbers by size, words by the alphabet (days as 2026-11-27).
fn generations(table: &Columns, own: &Own) -> Result<(Vec<String>, Vec<Vec<usize>>)> {
    let n = table.rows();
    let Some(column) = &own.generation else {
        if n < 2 * own.slices {
            let wanted = format!("at least {} rows for {} slices", 2 * own.slices, own.slices);
            return Err(Invalid::new(table.file(), wanted, n.to_string()).into());
        }
        let cut = |k: usize| (k * n / own.slices..(k + 1) * n / own.slices).collect();
        let names = (0..own.slices).map(|k| format!("slice {k}")).collect();
        return Ok((names, (0..own.slices).map(cut).collect()));
    };
    let of = words(table, column)?;
    let mut names = of.clone();
    if table.is_numeric(column)? {
        let size = |word: &String| word.parse::<f64>().unwrap_or(0.0);
        names.sort_by(|a, b| size(a).total_cmp(&size(b)).then(a.cmp(b)));
    } else {
        names.sort();
    }
    names.dedup();
    if names.len() < 2 {
        let wanted = "two generations or more: models are fitted on the earlier ones and judged on the next";
        return Err(wrong(table, column, wanted, &format!("`{}` only", names.join(", "))));
    }
    let rows = names.iter().map(|name| (0..n).filter(|i| of[*i] == *name).collect()).collect();
    Ok((names, rows))
}

/// Probabilities of the logged actions from a model of which available action was taken, normalised over the
/// available ones.
fn estimated_propensities(log: &Log, recipe: &Recipe) -> Result<Vec<f64>, OracleError> {
    let pairs: Vec<(usize, u32)> =
        (0..log.len()).flat_map(|i| log.contexts.allowed[i].iter().map(move |a| (i, *a))).collect();
    let rows: Vec<usize> = pairs.iter().map(|(i, _)| *i).collect();
    let n = pairs.len();
    let choices = Log {
        contexts: log.contexts.take(&rows),
        actions: pairs.iter().map(|(_, a)| *a).collect(),
        propensities: vec![1.0; n],
        rewards: pairs.iter().map(|(i, a)| f64::from(u8::from(log.actions[*i] == *a))).collect(),
        uniform: vec![false; n],
        late: vec![false; n],
    };
    let recipe = Recipe { class: Class::Logistic, ..recipe.clone() };
    let model = match fit(&recipe, &choices, &Training::plain(1), Stream::new(0, "propensities")) {
        Ok(model) => model,
        // Every row has a single action.
        Err(OracleError::OneClass { .. }) => return Ok(vec![1.0; log.len()]),
        Err(error) => return Err(error),
    };
    let predicted = model.predict(&log.contexts);
    let one = |i: usize| {
        let taken = log.contexts.allowed[i].iter().position(|a| *a == log.actions[i]);
        let total: f64 = predicted[i].iter().sum();
        (taken.map_or(0.0, |place| predicted[i][place]) / total).clamp(LEAST_PROPENSITY, 1.0)
    };
    Ok((0..log.len()).map(one).collect())
}

/// That every model has both rewards and every available action.
fn check_models(table: &Columns, own: &Own, read: &OwnLog) -> Result<()> {
    for g in 1..read.generations.len() {
        let rows = training_rows(&read.generations[..g], window(own));
        let first = rows.rewards.first().copied().unwrap_or(0.0);
        if rows.rewards.iter().all(|y| *y == first) {
            let wanted = format!(
                "rewards of both kinds to fit the model of generation {} (take more generations with `--set \
                 own.memory`, or larger ones)",
                read.names[g]
            );
            return Err(wrong(table, &own.reward, &wanted, &format!("{} rows with {first}", rows.len())));
        }
        let missing = read.unseen(g, &rows);
        if let (Some(action), Unseen::Refuse) = (missing.first(), own.unseen) {
            let wanted = format!(
                "actions that the model of generation {} has seen (`--set own.unseen=exclude` takes others \
                 out of the available ones, `--set own.memory` lengthens the memory)",
                read.names[g]
            );
            let got = format!(
                "`{}`, available there and in none of its {} training rows",
                read.actions[*action as usize],
                rows.len()
            );
            return Err(wrong(table, &own.action, &wanted, &got));
        }
    }
    Ok(())
}

impl OwnLog {
    /// Actions that are available in a generation and not in the rows that its model is fitted on.
    #[must_use]
    pub fn unseen(&self, generation: usize, rows: &Log) -> Vec<u32> {
        let mut seen = vec![false; self.actions.len()];
        rows.actions.iter().for_each(|a| seen[*a as usize] = true);
        let mut missing: Vec<u32> = self.generations[generation]
            .contexts
            .allowed
            .iter()
            .flatten()
            .filter(|a| !seen[**a as usize])
            .copied()
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

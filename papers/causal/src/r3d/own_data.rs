//! The user's own file: long form (a row for each individual) or wide form (a row for each unit, a column for each quantile).

use std::collections::BTreeMap;
use std::path::Path;

use ream_data::Table;
use ream_lab::{Error, Invalid, Result, Run};
use ream_stats::Matrix;

use super::analysis::analyse;
use super::config::Config;
use super::estimate::estimate;
use super::failure::Failure;
use super::sample::{Sample, deciles, percentiles};
use super::{pictures, tables};

/// With fewer individuals than this in the median unit, the default grid is the deciles: its first percentile would lie within half
/// a step of the least value.
const FEW_INDIVIDUALS: usize = 51;

/// The user's units, and what is to be said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnData {
    /// The units.
    pub sample: Sample,
    /// Number of individuals; `None` in wide form.
    pub individuals: Option<usize>,
    /// What a researcher should know.
    pub warnings: Vec<String>,
}

/// Reads a file, and makes the estimate once without bands, so that what cannot be estimated is told before anything starts.
///
/// # Errors
/// Row and column of what is wrong: a value that is missing or no finite number, a running variable or treatment that differs
/// inside a unit, quantiles that fall; no units on a side, too few in the window, a bandwidth that is not above 0, a treatment
/// that does not jump.
pub fn load(config: &Config, file: &Path) -> Result<OwnData> {
    let table = Table::open(file)?;
    let own = if is_wide(config, &table) { wide(config, &table)? } else { long(config, &table)? };
    estimate(&own.sample, &config.settings()?).map_err(|failure| told(&table, &failure))?;
    Ok(own)
}

fn told(table: &Table, failure: &Failure) -> Error {
    Error::Input(format!("{}: {failure}", table.file()))
}

fn at(table: &Table, row: usize, column: &str) -> String {
    format!("{}, row {}, column `{column}`", table.file(), row + 1)
}

/// `q0.25` is a column of the first quartile.
fn probability(column: &str) -> Option<f64> {
    column.strip_prefix('q').or_else(|| column.strip_prefix('Q'))?.parse().ok()
}

fn is_wide(config: &Config, table: &Table) -> bool {
    !config.quantile_columns.is_empty()
        || (!table.has(&config.outcome) && table.names().iter().any(|name| probability(name).is_some()))
}

/// The wide form: a row for each unit.
fn wide(config: &Config, table: &Table) -> Result<OwnData> {
    if let Some(weight) = &config.weight {
        let wanted = "nothing for a file of quantiles: weights belong to individuals";
        return Err(Invalid::new("weight", wanted, weight).into());
    }
    let columns = quantile_columns(config, table)?;
    let x = table.numbers(&config.running)?;
    let values: Vec<Vec<f64>> =
        columns.iter().map(|(name, _)| Ok(table.numbers(name)?)).collect::<Result<_>>()?;
    for (pair, names) in values.windows(2).zip(columns.windows(2)) {
        if let Some(row) = pair[0].iter().zip(&pair[1]).position(|(before, own)| own < before) {
            let wanted = format!("a quantile not below that of column `{}`", names[0].0);
            let got = format!("{} after {}", pair[1][row], pair[0][row]);
            return Err(Invalid::new(at(table, row, &names[1].0), wanted, got).into());
        }
    }
    once_each(config, table)?;
    let treatment = config.treatment.as_ref().map(|name| table.numbers(name)).transpose()?;
    let curves = Matrix::from_columns(&values).map_err(|e| Error::Input(format!("{}: {e}", table.file())))?;
    let grid = columns.into_iter().map(|(_, q)| q).collect();
    let sample = Sample { x, curves, grid, treatment };
    Ok(OwnData { sample, individuals: None, warnings: Vec::new() })
}

/// Names and probabilities of the quantiles' columns, ascending.
fn quantile_columns(config: &Config, table: &Table) -> Result<Vec<(String, f64)>> {
    let listed = &config.quantile_columns;
    let mut columns: Vec<(String, f64)> = if listed.is_empty() {
        let named = |name: &&str| Some(((*name).to_owned(), probability(name)?));
        let all = table.names().iter().filter_map(named).collect::<Vec<_>>();
        let asked = |q: f64| config.grid.is_empty() || config.grid.iter().any(|own| (own - q).abs() < 1e-9);
        all.into_iter().filter(|(_, q)| asked(*q)).collect()
    } else if config.grid.is_empty() && listed.iter().all(|name| probability(name).is_some()) {
        listed.iter().filter_map(|name| Some((name.clone(), probability(name)?))).collect()
    } else if config.grid.len() == listed.len() {
        listed.iter().cloned().zip(config.grid.iter().copied()).collect()
    } else {
        let wanted = format!("a probability for each of the {} quantile columns", listed.len());
        return Err(Invalid::new("grid", wanted, format!("{}", config.grid.len())).into());
    };
    if columns.is_empty() {
        let got = format!("{:?}", config.grid);
        return Err(Invalid::new("grid", "probabilities that the file has columns for", got).into());
    }
    if let Some((name, q)) = columns.iter().find(|(_, q)| !(*q > 0.0 && *q < 1.0)) {
        let place = format!("{}, column `{name}`", table.file());
        return Err(Invalid::new(place, "a quantile above 0 and below 1", q.to_string()).into());
    }
    columns.sort_by(|a, b| a.1.total_cmp(&b.1));
    match columns.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        Some(pair) => {
            let place = format!("{}, column `{}`", table.file(), pair[1].0);
            let wanted = "one column for each quantile";
            Err(Invalid::new(place, wanted, format!("`{}` says the same", pair[0].0)).into())
        }
        None => Ok(columns),
    }
}

/// In wide form a unit has one row. A file without a column of units may do.
fn once_each(config: &Config, table: &Table) -> Result<()> {
    if !table.has(&config.unit) {
        return Ok(());
    }
    let mut seen = BTreeMap::new();
    for (row, name) in table.texts(&config.unit)?.into_iter().enumerate() {
        let name = name.ok_or_else(|| no_unit(config, table, row))?;
        if let Some(before) = seen.insert(name.clone(), row) {
            let got = format!("`{name}` again, as in row {}", before + 1);
            let wanted = "one row for each unit (or an outcome column with a row for each individual)";
            return Err(Invalid::new(at(table, row, &config.unit), wanted, got).into());
        }
    }
    Ok(())
}

fn no_unit(config: &Config, table: &Table, row: usize) -> Error {
    Invalid::new(at(table, row, &config.unit), "the name of a unit", "nothing").into()
}

/// What the rows of a unit say.
struct Unit {
    /// Its first row.
    row: usize,
    x: f64,
    treatment: Option<f64>,
    values: Vec<f64>,
    weights: Vec<f64>,
}

/// The long form: a row for each individual.
fn long(config: &Config, table: &Table) -> Result<OwnData> {
    let units = gather(config, table)?;
    let mut sizes: Vec<usize> = units.iter().map(|unit| unit.values.len()).collect();
    sizes.sort_unstable();
    let grid = if !config.grid.is_empty() {
        config.grid.clone()
    } else if sizes[sizes.len() / 2] < FEW_INDIVIDUALS {
        deciles()
    } else {
        percentiles()
    };
    let x = units.iter().map(|unit| unit.x).collect();
    let treatment =
        config.treatment.as_ref().map(|_| units.iter().filter_map(|unit| unit.treatment).collect());
    let warnings = of_sizes(&sizes, &grid);
    let (values, weights): (Vec<Vec<f64>>, Vec<Vec<f64>>) =
        units.into_iter().map(|unit| (unit.values, unit.weights)).unzip();
    let weights = config.weight.is_some().then_some(weights.as_slice());
    let sample = Sample::from_individuals(x, &values, weights, grid, treatment)
        .map_err(|error| told(table, &error.into()))?;
    Ok(OwnData { sample, individuals: Some(table.rows()), warnings })
}

/// Units in the order in which they come.
fn gather(config: &Config, table: &Table) -> Result<Vec<Unit>> {
    let outcomes = table.numbers(&config.outcome)?;
    let x = table.numbers(&config.running)?;
    let treatment = config.treatment.as_ref().map(|name| table.numbers(name)).transpose()?;
    let weights = config.weight.as_ref().map(|name| table.numbers(name)).transpose()?;
    let mut units: Vec<Unit> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (row, name) in table.texts(&config.unit)?.into_iter().enumerate() {
        let name = name.ok_or_else(|| no_unit(config, table, row))?;
        let own = treatment.as_ref().map(|values| values[row]);
        let count = units.len();
        let place = *places.entry(name.clone()).or_insert(count);
        if place == count {
            units.push(Unit { row, x: x[row], treatment: own, values: Vec::new(), weights: Vec::new() });
        }
        let unit = &mut units[place];
        let first = format!("row {} of unit `{name}`", unit.row + 1);
        if unit.x != x[row] {
            let wanted = format!("the same running variable as in {first}, {}", unit.x);
            return Err(Invalid::new(at(table, row, &config.running), wanted, x[row].to_string()).into());
        }
        if let (Some(column), Some(before), Some(own)) = (&config.treatment, unit.treatment, own)
            && before != own
        {
            let wanted = format!("the same treatment as in {first}, {before}");
            return Err(Invalid::new(at(table, row, column), wanted, own.to_string()).into());
        }
        let weight = weights.as_ref().map_or(1.0, |values| values[row]);
        if weight < 0.0 {
            let column = config.weight.as_deref().unwrap_or_default();
            let wanted = "a weight of at least 0";
            return Err(Invalid::new(at(table, row, column), wanted, weight.to_string()).into());
        }
        unit.values.push(outcomes[row]);
        unit.weights.push(weight);
    }
    if let (Some(column), Some(unit)) =
        (&config.weight, units.iter().find(|unit| unit.weights.iter().all(|w| *w == 0.0)))
    {
        let wanted = "a weight above 0 for some individual of the unit";
        return Err(Invalid::new(at(table, unit.row, column), wanted, "only zeros").into());
    }
    Ok(units)
}

/// What sizes of units do not bear.
fn of_sizes(sizes: &[usize], grid: &[f64]) -> Vec<String> {
    let mut found = Vec::new();
    let [least, most] = [grid[0], grid[grid.len() - 1]];
    let single = sizes.iter().filter(|m| **m == 1).count();
    if single > 0 && grid.len() > 1 {
        found.push(format!(
            "{single} of {} units have a single individual: all their quantiles from {least} to {most} are that one value, \
             which says nothing about tails; leave them out, or ask for the median alone",
            sizes.len()
        ));
    }
    // Between the least two of m values lie the probabilities below 1 / (m - 1).
    let bare = sizes.iter().filter(|m| **m > 1 && least.min(1.0 - most) * ((**m - 1) as f64) < 0.5).count();
    if 2 * bare > sizes.len() {
        found.push(format!(
            "{bare} of {} units have so few individuals that their quantiles {least} and {most} are hardly more than their \
             least and largest value; take a shorter grid",
            sizes.len()
        ));
    }
    found
}

/// Runs the user's file.
///
/// # Errors
/// As [`load`] and [`analyse`].
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    let own = load(config, file)?;
    run.progress(0.2, "bands")?;
    let found = analyse(&own.sample, &config.settings()?, config, run.stream("multipliers"))?;
    let name = if config.quantile_columns.is_empty() || own.individuals.is_some() {
        config.outcome.as_str()
    } else {
        "outcome"
    };
    let mut head = tables::design("R3D: regression discontinuity of distributions", &found);
    let individuals = own.individuals.map(|m| format!(" {m} individuals.")).unwrap_or_default();
    head.note = format!("{} Outcome {name}, running variable {}.{individuals}", head.note, config.running);
    run.table(head);
    run.table(tables::effect("Effect at the cutoff", &found));
    run.table(tables::tests("Tests", &found));
    run.table(tables::robustness("Robustness", &found));
    run.table(tables::all_quantiles("All quantiles", &found));
    for warning in own.warnings.iter().chain(&found.warnings) {
        run.warn(warning.clone());
    }
    run.figure("effect", pictures::effect("R3D", name, &found))?;
    run.figure("sides", pictures::sides("R3D", name, &found))?;
    run.figure("heat", pictures::heat("R3D", &config.running, name, &own.sample, config.cutoff))?;
    run.figure("medians", pictures::medians("R3D", &config.running, name, &own.sample, &found))
}

#[cfg(test)]
mod tests {
    use super::super::R3d;
    use super::*;
    use ream_lab::System;
    use ream_rand::Stream;
    use std::fmt::Write;
    use std::path::PathBuf;

    use super::super::simulation::{Units, World};

    fn write(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn units(world: World) -> Units {
        world.draw(120, 8, 1.0, &mut Stream::new(3, "own").at(0))
    }

    /// The long form; a treatment where there is one.
    fn long_form(units: &Units) -> String {
        let mut text = "firm,revenue,wage,taken,w\n".to_owned();
        for i in 0..units.x.len() {
            let taken = units.treatment.as_ref().map_or(0.0, |t| t[i]);
            for value in &units.outcomes[i] {
                writeln!(text, "firm {i},{},{value},{taken},1.5", units.x[i]).unwrap();
            }
        }
        text
    }

    fn config() -> Config {
        Config {
            unit: "firm".into(),
            running: "revenue".into(),
            outcome: "wage".into(),
            draws: 200,
            ..Config::default()
        }
    }

    #[test]
    fn long_and_wide_form_give_the_same_sample() {
        let units = units(World::Fuzzy);
        let (_dir, path) = write("long.csv", &long_form(&units));
        let config = Config { treatment: Some("taken".into()), ..config() };
        let own = load(&config, &path).unwrap();
        let wanted =
            Sample::from_individuals(units.x, &units.outcomes, None, deciles(), units.treatment).unwrap();
        assert_eq!((&own.sample, own.individuals), (&wanted, Some(960)));
        let weighted = load(&Config { weight: Some("w".into()), ..config.clone() }, &path).unwrap();
        for (a, b) in weighted.sample.curves.data().iter().zip(wanted.curves.data()) {
            assert!((a - b).abs() < 1e-9, "equal weights are no weights");
        }
        let mut text = "firm,revenue,taken".to_owned();
        deciles().iter().for_each(|q| write!(text, ",q{q}").unwrap());
        for i in 0..wanted.units() {
            let taken = wanted.treatment.as_ref().unwrap()[i];
            write!(text, "\nfirm {i},{},{taken}", wanted.x[i]).unwrap();
            wanted.curves.row(i).iter().for_each(|v| write!(text, ",{v}").unwrap());
        }
        let (_dir, path) = write("wide.csv", &text);
        assert_eq!(load(&config, &path).unwrap().sample, wanted);
        // Some of the columns by name, in any order.
        let some = Config { quantile_columns: vec!["q0.9".into(), "q0.5".into()], ..config.clone() };
        assert_eq!(load(&some, &path).unwrap().sample.grid, [0.5, 0.9]);
        let asked = Config { grid: vec![0.2, 0.4], ..config };
        assert_eq!(load(&asked, &path).unwrap().sample.grid, [0.2, 0.4]);
    }

    #[test]
    fn a_run_gives_tables_pictures_and_warnings() {
        let (_dir, path) = write("long.csv", &long_form(&units(World::Skewed)));
        let config = Config { donut: 0.02, test_ranges: vec![[0.1, 0.5]], ..config() };
        let mut run = Run::in_memory_on(1, &path);
        R3d::run(&config, &mut run).unwrap();
        let titles: Vec<&str> = run.tables().iter().map(|t| t.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "R3D: regression discontinuity of distributions",
                "Effect at the cutoff",
                "Tests",
                "Robustness",
                "All quantiles"
            ]
        );
        let all = &run.tables()[4];
        assert_eq!((all.rows.len(), all.columns.len()), (9, 14));
        assert!(run.tables()[0].note.contains("960 individuals"), "{}", run.tables()[0].note);
        assert!(run.tables()[3].rows.len() >= 6);
        let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["effect", "sides", "heat", "medians"]);
        assert!(run.observations().is_empty());
        let mut again = Run::in_memory_on(1, &path);
        R3d::run(&config, &mut again).unwrap();
        assert_eq!(again.tables(), run.tables());
    }

    #[test]
    fn errors_name_row_and_column() {
        type Edit = fn(&mut Vec<String>);
        let cases: [(Edit, &str); 9] = [
            (
                |lines| lines[2] = "firm 0,9,1,0,1.5".into(),
                "row 2, column `revenue`: wanted the same running variable as in row 1 of unit `firm 0`",
            ),
            (
                |lines| lines[3] = lines[3].replace(",1.5", ",-1"),
                "row 3, column `w`: wanted a weight of at least 0, got -1",
            ),
            (
                |lines| lines[1..9].iter_mut().for_each(|line| *line = line.replace(",1.5", ",0")),
                "row 1, column `w`: wanted a weight above 0 for some individual of the unit, got only zeros",
            ),
            (
                |lines| {
                    let taken =
                        if lines[4].contains(",0,1.5") { (",0,1.5", ",1,1.5") } else { (",1,1.5", ",0,1.5") };
                    lines[4] = lines[4].replace(taken.0, taken.1);
                },
                "row 4, column `taken`: wanted the same treatment as in row 1 of unit `firm 0`",
            ),
            (|lines| lines[5] = "firm 0,1,inf,0,1".into(), "row 5, column `wage`: `inf` is no finite number"),
            (|lines| lines[5] = "firm 0,1,,0,1".into(), "row 5, column `wage`: the value is missing"),
            (|lines| lines[5] = ",1,2,0,1".into(), "row 5, column `firm`: wanted the name of a unit"),
            (
                |lines| lines[0] = "firm,revenue,wages,taken,w".into(),
                "no column `wage`; did you mean `wages`?",
            ),
            (
                |lines| lines.retain(|line| line.starts_with("firm,") || !line.contains(",-")),
                "lies below the cutoff 0",
            ),
        ];
        let units = units(World::Fuzzy);
        let config = Config { treatment: Some("taken".into()), weight: Some("w".into()), ..config() };
        for (edit, wanted) in cases {
            let mut lines: Vec<String> = long_form(&units).lines().map(str::to_owned).collect();
            edit(&mut lines);
            let (_dir, path) = write("mine.csv", &(lines.join("\n") + "\n"));
            let error = R3d::check_data(&config, &path).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("mine.csv"), "{error}");
        }
        let (_dir, path) = write("mine.csv", &long_form(&units));
        let narrow = Config { bandwidth: "0.01".into(), ..config.clone() };
        let error = R3d::check_data(&narrow, &path).unwrap_err().to_string();
        assert!(error.contains("within the bandwidth 0.01; wanted at least 4"), "{error}");
        let never = long_form(&Units { treatment: None, ..units });
        let (_dir, path) = write("mine.csv", &never);
        let error = R3d::check_data(&config, &path).unwrap_err().to_string();
        assert!(error.contains("does not jump at the cutoff"), "{error}");
    }

    #[test]
    fn wide_files_are_checked_too() {
        let head = "firm,revenue,q0.2,q0.8\n";
        let row = |i: i32| format!("{i},{},1,2\n", f64::from(i) - 20.5);
        let all: String = (0..40).map(row).collect();
        let config = Config { bandwidth: "10".into(), ..config() };
        let error = |text: &str, config: &Config| {
            let (_dir, path) = write("mine.csv", text);
            R3d::check_data(config, &path).unwrap_err().to_string()
        };
        let (_dir, path) = write("mine.csv", &format!("{head}{all}"));
        R3d::check_data(&config, &path).unwrap();
        let fallen = error(&format!("{head}{all}90,3,2,1\n"), &config);
        assert!(
            fallen.contains("row 41, column `q0.8`: wanted a quantile not below that of column `q0.2`"),
            "{fallen}"
        );
        let twice = error(&format!("{head}{all}0,3,1,2\n"), &config);
        assert!(twice.contains("row 41, column `firm`: wanted one row for each unit"), "{twice}");
        let outside = error(&format!("firm,revenue,q0.2,q80\n{all}"), &config);
        assert!(outside.contains("column `q80`: wanted a quantile above 0 and below 1, got 80"), "{outside}");
        let same = error(&format!("firm,revenue,q0.2,q0.20\n{all}"), &config);
        assert!(same.contains("wanted one column for each quantile"), "{same}");
        let weights = Config { weight: Some("w".into()), ..config.clone() };
        assert!(error(&format!("{head}{all}"), &weights).contains("weights belong to individuals"));
        let listed =
            Config { quantile_columns: vec!["a".into(), "b".into()], grid: vec![0.5], ..config.clone() };
        assert!(
            error(&format!("{head}{all}"), &listed)
                .contains("a probability for each of the 2 quantile columns")
        );
        let absent = Config { grid: vec![0.33], ..config };
        assert!(
            error(&format!("{head}{all}"), &absent).contains("probabilities that the file has columns for")
        );
    }

    #[test]
    fn units_with_too_few_individuals_are_warned_of() {
        let single = of_sizes(&[1, 9, 9], &deciles());
        assert!(
            single.len() == 1 && single[0].contains("1 of 3 units have a single individual"),
            "{single:?}"
        );
        let short = of_sizes(&[4, 4, 4], &percentiles());
        assert!(short.len() == 1 && short[0].contains("take a shorter grid"), "{short:?}");
        assert!(of_sizes(&[60, 70], &percentiles()).is_empty() && of_sizes(&[6, 7], &deciles()).is_empty());
        assert!(of_sizes(&[1, 1], &[0.5]).is_empty(), "the median alone may be of one individual");
    }

    #[test]
    fn the_grid_follows_the_sizes_of_units() {
        let grid = |individuals: usize| {
            let units = World::Constant.draw(60, individuals, 0.0, &mut Stream::new(4, "own").at(0));
            let (_dir, path) = write("long.csv", &long_form(&units));
            load(&config(), &path).unwrap().sample.grid
        };
        assert_eq!((grid(50).len(), grid(51).len()), (9, 99));
    }
}

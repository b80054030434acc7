//! The tool on the user's own tables: a card from a calibration table, a corrected map, the effect of a trial.
//!
//! | given | what is done |
//! |---|---|
//! | `--data calibration.csv` | the card |
//! | the same, `own.trial` | the card, and the effect in the trial |
//! | the same, `own.features` | a predictor is trained first, cross-fitted over whole areas |
//! | `--data trial.csv`, `own.card` | the effect in the trial with a card made before |
//!
//! ```text
//! ream run debias-map --data calibration.csv --set own.cluster=district --set own.trial=trial.csv --set own.treatment=aid --set own.output=map
//! ream run debias-map --data other-trial.csv --set own.card=map/card.json --set own.treatment=road
//! ```
//!
//! With `own.output` the folder holds `map.csv` (unit, prediction, both corrections), `card.json`, and the tables as CSV, JSON, Markdown and
//! LaTeX.

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Cell, Error, Invalid, Result, Run, Table};
use ream_stats::Estimate;

use super::card::{Card, CardFile, Check, Correction, Method};
use super::config::Config;
use super::effects::{Effect, Independence, dependence_warning, estimate, independence};
use super::experiment::rounded;
use super::inference::{bootstrap, delta, draw_corrections, normal, p_value};
use super::own_tables::{self, CalibrationTable, TrialTable};
use super::pictures;
use super::ppi::prediction_powered;

/// Share of a trial's predictions outside the calibration range above which there is a warning.
const FAR: f64 = 0.01;
/// Above which the card is not for this trial.
const TOO_FAR: f64 = 0.5;
/// Rows of a map that a report shows.
const SHOWN_ROWS: usize = 1000;

/// The user's tables, read and checked.
pub struct Loaded {
    card: Card,
    calibration: Option<CalibrationTable>,
    /// Bootstrap corrections of a card made before.
    replicates: Vec<Correction>,
    trial: Option<TrialTable>,
    tests: Vec<Tested>,
}

/// Reads and checks the tables that the configuration names; `file` is the calibration table, or the trial where there is a card.
///
/// # Errors
/// File, column and row, and what would be right: too few rows, constant predictions, no signal, values that are not finite, an arm
/// without units, repeated ids, predictions far outside the calibration range.
pub fn load(config: &Config, file: &Path) -> Result<Loaded> {
    let own = &config.own;
    let table = Columns::open(file)?;
    if let Some(path) = &own.card {
        own_tables::check_columns(own, &[&table])?;
        let (card, replicates, tests) = read_card(Path::new(path))?;
        let trial = own_tables::trial(own, &table, None)?;
        let loaded = Loaded { card, calibration: None, replicates, trial: Some(trial), tests };
        return loaded.checked();
    }
    let trial_table = own.trial.as_ref().map(|path| Columns::open(Path::new(path))).transpose()?;
    let tables: Vec<&Columns> = std::iter::once(&table).chain(&trial_table).collect();
    own_tables::check_columns(own, &tables)?;
    let calibration = own_tables::calibration(own, &table, config.steps)?;
    let card = Card::new(&calibration.sample, &config.card_settings());
    let mut card = card.map_err(|error| own_tables::within(&table, error))?;
    if let Some(path) = &own.sigma_sample {
        let second = Columns::open(Path::new(path))?;
        let sample = super::card::Calibration {
            predictions: second.numbers(&own.prediction)?,
            truth: second.numbers(&own.truth)?,
            ..super::card::Calibration::default()
        };
        card = card.with_sigma_of(&sample).map_err(|error| own_tables::within(&second, error))?;
    }
    let sample = &calibration.sample;
    let test = |(name, column, input): &(String, Vec<f64>, bool)| {
        let found = independence(&sample.predictions, &sample.truth, column, sample.clusters.as_deref());
        let found = found.map_err(|e| {
            Invalid::new(
                format!("{}, column `{name}`", table.file()),
                "a column that can be tested",
                e.to_string(),
            )
        })?;
        Ok((name.clone(), found, *input))
    };
    let tests = calibration.tested.iter().map(test).collect::<Result<Vec<_>>>()?;
    let trial = match &trial_table {
        Some(trial) => Some(own_tables::trial(own, trial, calibration.fitted.as_ref())?),
        None => None,
    };
    Loaded { card, calibration: Some(calibration), replicates: Vec::new(), trial, tests }.checked()
}

/// A column with its test, and whether it is an input of the predictor.
type Tested = (String, Independence, bool);

fn read_card(path: &Path) -> Result<(Card, Vec<Correction>, Vec<Tested>)> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::Input(format!("cannot read {}: {e}", path.display())))?;
    let file: CardFile = serde_json::from_str(&text).map_err(|e| {
        let wanted = "a card as own.output writes it (card.json)";
        Error::from(Invalid::new(path.display().to_string(), wanted, e.to_string()))
    })?;
    let tests = file.checks.iter();
    let tests = tests
        .map(|c| (c.column.clone(), Independence { coefficient: c.coefficient, se: c.se }, c.is_input))
        .collect();
    let (card, replicates) = file.open()?;
    Ok((card, replicates, tests))
}

impl Loaded {
    /// Share of the trial's predictions outside the calibration range.
    fn outside(&self) -> f64 {
        self.trial
            .as_ref()
            .map_or(0.0, |t| self.card.correction.outside(&t.predictions) as f64 / t.predictions.len() as f64)
    }

    fn checked(self) -> Result<Self> {
        let share = self.outside();
        if share > TOO_FAR {
            let wanted =
                "predictions of the same map as the calibration sample, most of them within its range";
            let got = format!("{:.1} % outside it", 100.0 * share);
            return Err(Invalid::new("the trial's predictions", wanted, got).into());
        }
        Ok(self)
    }

    /// The card as a file, with what was tested.
    fn card_file(&self, replicates: &[Correction]) -> CardFile {
        let check = |(column, test, is_input): &Tested| Check {
            column: column.clone(),
            coefficient: test.coefficient,
            se: test.se,
            is_input: *is_input,
        };
        let checks = self.tests.iter().map(check).collect();
        CardFile { checks, ..CardFile::of(&self.card, replicates) }
    }

    /// What a reader of the results must know.
    fn warnings(&self) -> Vec<String> {
        let mut all = self.card.warnings.clone();
        let share = self.outside();
        if share > FAR {
            all.push(format!(
                "{:.1} % of the trial's predictions lie outside the calibration range: Tweedie's correction continues the score in a \
                 straight line there, which no data support",
                100.0 * share
            ));
        }
        for (name, test, input) in self.tests.iter().filter(|(_, test, _)| test.is_violated()) {
            all.push(dependence_warning(name, *test, *input));
        }
        all
    }
}

/// A row of the table of effects.
struct Row {
    name: &'static str,
    error: &'static str,
    estimate: Estimate,
}

/// Runs the tool.
///
/// # Errors
/// See [`load`]; errors of the estimators; the output folder cannot be written.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    if !run.is_first_seed() {
        return Ok(());
    }
    let loaded = load(config, file)?;
    for warning in loaded.warnings() {
        run.warn(warning);
    }
    run.progress(0.1, "bootstrap of the card")?;
    let replicates = match &loaded.calibration {
        Some(table) => draw_corrections(
            &table.sample,
            &config.replicate_settings(),
            config.own.bootstrap,
            run.stream("calibration"),
        )?,
        None => loaded.replicates.clone(),
    };
    let mut written = vec![card_table(&loaded, &replicates)];
    run.progress(0.5, "the trial")?;
    if let Some(trial) = &loaded.trial {
        if replicates.is_empty() {
            run.warn("the card holds no bootstrap samples: the linear correction has its delta-method error, the others have none");
        }
        let rows = effects(config, &loaded.card, &replicates, trial, run)?;
        written.push(effect_table(config, &loaded, replicates.len(), trial, &rows));
        let told: Vec<pictures::Told> = rows
            .iter()
            .map(|r| pictures::Told {
                name: format!("{} ({})", r.name, r.error),
                value: r.estimate.value,
                interval: [r.estimate.low, r.estimate.high],
            })
            .collect();
        run.figure("effects", pictures::forest(&told))?;
    }
    if let Some(table) = &loaded.calibration {
        run.figure("truth", pictures::scatter("Calibration", &table.sample, &loaded.card))?;
        run.figure("densities", pictures::densities("Calibration", &table.sample, &loaded.card)?)?;
        run.figure("score", pictures::score("Calibration", &table.sample, &loaded.card))?;
    }
    let map = map_table(&loaded);
    for table in &written {
        run.table(table.clone());
    }
    run.table(shortened(&map));
    run.sample("card.json (without its bootstrap samples)", &json(&loaded.card_file(&[]))?);
    if let Some(folder) = &config.own.output {
        write(Path::new(folder), &written, &map, &loaded.card_file(&replicates))?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(super::card::failed)
}

fn effects(
    config: &Config,
    card: &Card,
    replicates: &[Correction],
    trial: &TrialTable,
    run: &mut Run,
) -> Result<Vec<Row>> {
    let own = &config.own;
    let (estimator, kind, level) = (own.estimator, own.se, own.level);
    let naive = estimate(estimator, kind, &trial.treatment, &trial.predictions)?;
    let mut rows = Vec::new();
    let plain =
        |name, error, effect: Effect| Ok::<_, Error>(Row { name, error, estimate: normal(effect, level)? });
    for &method in &own.methods {
        run.progress(0.6, method.name())?;
        match method {
            Method::Naive => rows.push(plain("naive", "lower limit", naive)?),
            Method::Lcc => rows.push(plain("lcc", "delta", delta(naive, card))?),
            _ => {}
        }
        if method != Method::Naive && replicates.len() > 1 {
            let stream = run.stream("trial units");
            let (treatment, predictions) = (&trial.treatment, &trial.predictions);
            let interval =
                bootstrap(estimator, treatment, predictions, (card, replicates), method, (level, stream))?;
            rows.push(Row { name: method.name(), error: "bootstrap", estimate: interval });
        }
    }
    if let Some((labelled, labels)) = &trial.labels {
        let found =
            prediction_powered(estimator, kind, &trial.treatment, &trial.predictions, labelled, labels)?;
        rows.push(plain("labels only", "normal", found.labels)?);
        rows.push(plain("ppi", "normal", found.plain)?);
        rows.push(plain("ppi++", "normal", found.tuned)?);
    }
    Ok(rows)
}

fn effect_table(
    config: &Config,
    loaded: &Loaded,
    replicates: usize,
    trial: &TrialTable,
    rows: &[Row],
) -> Table {
    let own = &config.own;
    let tail = (1.0 - own.level) / 2.0;
    let ends = [tail, 1.0 - tail].map(|p| {
        let text = format!("{p:.4}");
        text.trim_end_matches('0').to_owned()
    });
    let columns = [
        "method",
        "std err by",
        "coef",
        "std err",
        "z",
        "P>|z|",
        &format!("[{}", ends[0]),
        &format!("{}]", ends[1]),
    ];
    let mut table = Table::new(format!("Effect of {} ({})", own.treatment, own.estimator.name()), &columns);
    for row in rows {
        let e = &row.estimate;
        let effect = Effect { value: e.value, se: e.se };
        table = table.row(vec![
            row.name.into(),
            row.error.into(),
            rounded(e.value),
            rounded(e.se),
            rounded(e.value / e.se),
            rounded(p_value(effect)),
            rounded(e.low),
            rounded(e.high),
        ]);
    }
    let clusters = trial.treatment.clusters.as_ref().map_or(String::new(), |ids| {
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        format!(" in {} areas", ids.len())
    });
    let c = &loaded.card.correction;
    table.note = format!(
        "{} units{clusters}; b = {:.4} (std err {:.4}), sigma = {:.4}. naive: effect on the predictions as they are, too small by the factor \
         b, its error a lower limit. lcc: the line of predictions on truth inverted. tweedie: moved along the score of the predictions' \
         density. Bootstrap: {} samples of calibration {} and trial {}, percentile interval.",
        trial.predictions.len(),
        c.line.slope,
        loaded.card.line_errors[1],
        c.sigma,
        replicates,
        if loaded.card.clusters.is_some() { "areas" } else { "rows" },
        if trial.treatment.clusters.is_some() { "areas" } else { "units" },
    );
    table
}

fn card_table(loaded: &Loaded, replicates: &[Correction]) -> Table {
    let card = &loaded.card;
    let c = &card.correction;
    let mut table = Table::new("Card of the map", &["quantity", "value", "std err"]);
    let rows: [(&str, f64, Option<f64>); 7] = [
        ("b: slope of predictions on truth", c.line.slope, Some(card.line_errors[1])),
        ("a: its intercept", c.line.intercept, Some(card.line_errors[0])),
        ("slope of truth on predictions", c.forward.slope, Some(card.forward_error)),
        ("sigma of recentred predictions", c.sigma, None),
        ("R2", card.r_squared, None),
        ("calibration rows", card.rows as f64, None),
        ("bootstrap samples", replicates.len() as f64, None),
    ];
    for (name, value, se) in rows {
        table = table.row(vec![name.into(), rounded(value), se.map_or(Cell::Empty, rounded)]);
    }
    if let Some(clusters) = card.clusters {
        table = table.row(vec!["calibration areas".into(), Cell::from(clusters as f64)]);
    }
    for (name, test, input) in &loaded.tests {
        let of = if *input { " (an input of the predictor)" } else { "" };
        let name = format!("predictions on `{name}`{of}, truth held equal");
        table = table.row(vec![name.into(), rounded(test.coefficient), rounded(test.se)]);
    }
    let kind = if card.clusters.is_some() { "by area" } else { "HC1" };
    table.note = format!("Standard errors {kind}. The score curve is in card.json.");
    table
}

/// Units with predictions and corrected predictions.
fn map_table(loaded: &Loaded) -> Table {
    let calibration = loaded.calibration.as_ref().map(|c| (&c.sample.predictions, &c.ids));
    let trial = loaded.trial.as_ref().map(|t| (&t.predictions, &t.ids));
    let mut table = Table::new("The corrected map", &["id", "prediction", "lcc", "tweedie"]);
    if let Some((predictions, ids)) = trial.or(calibration) {
        for (i, z) in predictions.iter().enumerate() {
            let id = ids.as_ref().map_or_else(|| (i + 1).to_string(), |ids| ids[i].clone());
            let of = |method| Cell::from(loaded.card.correction.apply(method, *z));
            table.rows.push(vec![id.into(), Cell::from(*z), of(Method::Lcc), of(Method::Tweedie)]);
        }
    }
    table
}

fn shortened(map: &Table) -> Table {
    let mut short = map.clone();
    if map.rows.len() > SHOWN_ROWS {
        short.rows.truncate(SHOWN_ROWS);
        short.note = format!(
            "The first {SHOWN_ROWS} of {} rows; own.output=FOLDER writes them all to map.csv.",
            map.rows.len()
        );
    }
    short
}

/// Writes what later trials need, and the table of effects in four formats.
fn write(folder: &Path, tables: &[Table], map: &Table, card: &CardFile) -> Result<()> {
    let io = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(io("write", &path))
    };
    put("map.csv", map.to_csv())?;
    put("card.json", serde_json::to_string(card).map_err(super::card::failed)?)?;
    for (table, name) in tables.iter().zip(["card-table", "effects"]) {
        put(&format!("{name}.csv"), table.to_csv())?;
        put(&format!("{name}.json"), json(table)?)?;
        put(&format!("{name}.md"), table.to_markdown())?;
        put(&format!("{name}.tex"), table.to_latex())?;
    }
    Ok(())
}

//! Judged pairs: the built-in table, the user's own, AlpacaEval's `annotations.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use ream_data::Table;
use ream_lab::{Error, Invalid, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The judged pairs of one model, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Name of the model.
    pub model: String,
    /// Index of each row's instruction.
    pub instruction: Vec<usize>,
    /// Preference for the model, 0..=1.
    pub preference: Vec<f64>,
    /// Length of the baseline's answer minus the model's, characters.
    pub delta: Vec<f64>,
    /// Length of the model's answer, characters.
    pub length: Vec<f64>,
    /// Further mediators, as differences; each has a value for every row.
    pub mediators: Vec<Vec<f64>>,
}

impl Pairs {
    /// The same pairs seen from the baseline: `(y, delta)` becomes `(1 - y, -delta)`.
    #[must_use]
    pub fn swapped(&self) -> Self {
        Self {
            preference: self.preference.iter().map(|y| 1.0 - y).collect(),
            delta: self.delta.iter().map(|d| -d).collect(),
            length: self.length.iter().zip(&self.delta).map(|(l, d)| l + d).collect(),
            mediators: self.mediators.iter().map(|m| m.iter().map(|v| -v).collect()).collect(),
            ..self.clone()
        }
    }
}

/// All models against one baseline.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    /// Name of the baseline.
    pub baseline: String,
    /// Names of the instructions.
    pub instructions: Vec<String>,
    /// One entry for each model, by name.
    pub models: Vec<Pairs>,
    /// Rows left out because a value was missing.
    pub dropped: usize,
}

/// How preferences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Found from the values.
    Auto,
    /// 0 baseline ... 1 model.
    Unit,
    /// 1 baseline ... 2 model, 0 a tie: AlpacaEval's own.
    Raw,
}

/// One row before it is sorted into models.
struct Row {
    instruction: String,
    model: String,
    baseline: String,
    preference: f64,
    length: f64,
    baseline_length: f64,
    mediators: Vec<f64>,
}

/// Figures of 46,680 judgements (provenance beside the file).
const BUILT_IN: &[u8] = include_bytes!("../../data/alpaca_eval_annotations.csv.gz");

/// Name of the built-in table's baseline.
pub const BUILT_IN_BASELINE: &str = "gpt4_1106_preview";

/// The built-in table.
///
/// # Errors
/// The embedded bytes are damaged.
pub fn built_in() -> Result<Judgements> {
    let broken = |e: &dyn std::fmt::Display| Error::failed(format!("the built-in annotations: {e}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(BUILT_IN).read_to_string(&mut text).map_err(|e| broken(&e))?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.deserialize::<(usize, String, f64, f64, f64)>() {
        let (index, model, preference, length, baseline_length) = record.map_err(|e| broken(&e))?;
        let baseline = BUILT_IN_BASELINE.to_owned();
        // Zero-padded, so that names sort as numbers do.
        let instruction = format!("{index:03}");
        rows.push(Row {
            instruction,
            model,
            baseline,
            preference: from_raw(preference),
            length,
            baseline_length,
            mediators: Vec::new(),
        });
    }
    gather("the built-in annotations", rows, 0)
}

/// Raw annotation (1 baseline ... 2 model, 0 tie) as a preference.
fn from_raw(value: f64) -> f64 {
    if value == 0.0 { 0.5 } else { value - 1.0 }
}

/// Reads the user's file: CSV, TSV, JSON lines, Parquet, or AlpacaEval's `annotations.json`.
///
/// Columns: `instruction`, `model`, `baseline` (may be left out when there is one), `preference` (0..1, AlpacaEval's 1..2,
/// or `win`, `tie`, `lose`), and lengths (`len_model`, `len_baseline`) or texts (`output_model`, `output_baseline`).
///
/// `baseline` keeps the rows of that baseline only; without it a file with two baselines is an error.
///
/// # Errors
/// File, row, column and what would be right.
pub fn read(path: &Path, scale: Scale, mediators: &[String], baseline: Option<&str>) -> Result<Judgements> {
    let file = path.display().to_string();
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        if !mediators.is_empty() {
            return Err(Invalid::new(
                "mediators",
                "a table: annotations.json has no further columns",
                mediators.join(", "),
            )
            .into());
        }
        return read_annotations_json(path, &file, baseline);
    }
    let table = Table::open(path)?;
    let instructions = table.texts("instruction")?;
    let models = table.texts("model")?;
    let baselines = if table.has("baseline") { Some(table.texts("baseline")?) } else { None };
    let preferences = preferences(&table, scale)?;
    let (lengths, baseline_lengths) = lengths(&table)?;
    let extra: Vec<Vec<Option<f64>>> =
        mediators.iter().map(|m| table.numbers_or_missing(m)).collect::<Result<_, _>>()?;
    let (mut rows, mut dropped) = (Vec::new(), 0);
    for i in 0..table.rows() {
        let more: Option<Vec<f64>> = extra.iter().map(|column| column[i]).collect();
        let whole = (
            instructions[i].clone(),
            models[i].clone(),
            preferences[i],
            lengths[i],
            baseline_lengths[i],
            more,
        );
        let (
            Some(instruction),
            Some(model),
            Some(preference),
            Some(length),
            Some(baseline_length),
            Some(mediators),
        ) = whole
        else {
            dropped += 1;
            continue;
        };
        let baseline = baselines.as_ref().and_then(|b| b[i].clone()).unwrap_or_else(|| "baseline".to_owned());
        rows.push(Row { instruction, model, baseline, preference, length, baseline_length, mediators });
    }
    gather(&file, of_baseline(&file, rows, baseline)?, dropped)
}

/// The preference column on the 0..1 scale; `None` where it is missing.
fn preferences(table: &Table, scale: Scale) -> Result<Vec<Option<f64>>> {
    if !table.is_numeric("preference")? {
        let word =
            |(row, cell): (usize, Option<String>)| match cell.map(|c| c.trim().to_lowercase()).as_deref() {
                None => Ok(None),
                Some("win") => Ok(Some(1.0)),
                Some("tie" | "draw") => Ok(Some(0.5)),
                Some("lose" | "loss") => Ok(Some(0.0)),
                Some(other) => Err(out_of_range(table, row, "0..1, 1..2, or win, tie, lose", other)),
            };
        return table.texts("preference")?.into_iter().enumerate().map(word).collect();
    }
    let values = table.numbers_or_missing("preference")?;
    let raw = match scale {
        Scale::Raw => true,
        Scale::Unit => false,
        Scale::Auto => values.iter().flatten().any(|v| *v > 1.0),
    };
    // 1 alone is a win on one scale and a loss on the other.
    let mut known = values.iter().flatten().peekable();
    if scale == Scale::Auto && known.peek().is_some() && known.all(|v| *v == 1.0) {
        return Err(Invalid::new(
            "scale",
            format!(
                "unit or raw: every preference of {} is 1, a win on one and a loss on the other",
                table.file()
            ),
            "auto",
        )
        .into());
    }
    let check = |(row, value): (usize, Option<f64>)| match value {
        None => Ok(None),
        Some(v) if raw && (v == 0.0 || (1.0..=2.0).contains(&v)) => Ok(Some(from_raw(v))),
        Some(v) if !raw && (0.0..=1.0).contains(&v) => Ok(Some(v)),
        Some(v) => Err(out_of_range(
            table,
            row,
            if raw { "between 1 and 2, or 0 for a tie" } else { "between 0 and 1" },
            &v.to_string(),
        )),
    };
    values.into_iter().enumerate().map(check).collect()
}

fn out_of_range(table: &Table, row: usize, wanted: &str, got: &str) -> Error {
    Invalid::new(
        format!("{}, row {}, column `preference`", table.file(), row + 1),
        wanted,
        format!("`{got}`"),
    )
    .into()
}

type Lengths = (Vec<Option<f64>>, Vec<Option<f64>>);

/// Lengths, counted in Unicode scalar values where the texts are given.
fn lengths(table: &Table) -> Result<Lengths> {
    if table.has("len_model") || !table.has("output_model") {
        let read = |column: &str| -> Result<Vec<Option<f64>>> {
            let values = table.numbers_or_missing(column)?;
            match values.iter().enumerate().find_map(|(i, v)| v.filter(|v| *v < 0.0).map(|v| (i, v))) {
                Some((row, value)) => {
                    let place = format!("{}, row {}, column `{column}`", table.file(), row + 1);
                    Err(Invalid::new(place, "a number of characters, 0 or more", value.to_string()).into())
                }
                None => Ok(values),
            }
        };
        return Ok((read("len_model")?, read("len_baseline")?));
    }
    let count = |column: &str| -> Result<Vec<Option<f64>>> {
        let texts = table.texts(column)?;
        Ok(texts.into_iter().map(|t| t.map(|t| t.chars().count() as f64)).collect())
    };
    Ok((count("output_model")?, count("output_baseline")?))
}

/// AlpacaEval's own format: `output_1` is the baseline's answer, `output_2` the model's.
fn read_annotations_json(path: &Path, file: &str, baseline: Option<&str>) -> Result<Judgements> {
    #[derive(Deserialize)]
    struct Annotation {
        instruction: String,
        output_1: String,
        output_2: String,
        generator_1: String,
        generator_2: String,
        preference: Option<f64>,
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::Input(format!("cannot read {file}: {e}")))?;
    let list: Vec<Annotation> = serde_json::from_str(&text)
        .map_err(|e| Error::Input(format!("{file}:{}: no list of AlpacaEval annotations: {e}", e.line())))?;
    let (mut rows, mut dropped) = (Vec::new(), 0);
    for (i, a) in list.into_iter().enumerate() {
        let Some(value) = a.preference else {
            dropped += 1;
            continue;
        };
        if !(value == 0.0 || (1.0..=2.0).contains(&value)) {
            return Err(Invalid::new(
                format!("{file}, entry {}, `preference`", i + 1),
                "between 1 and 2, or 0 for a tie",
                value.to_string(),
            )
            .into());
        }
        rows.push(Row {
            instruction: a.instruction,
            model: a.generator_2,
            baseline: a.generator_1,
            preference: from_raw(value),
            length: a.output_2.chars().count() as f64,
            baseline_length: a.output_1.chars().count() as f64,
            mediators: Vec::new(),
        });
    }
    gather(file, of_baseline(file, rows, baseline)?, dropped)
}

/// The rows of the wanted baseline.
fn of_baseline(file: &str, rows: Vec<Row>, baseline: Option<&str>) -> Result<Vec<Row>> {
    let Some(wanted) = baseline else { return Ok(rows) };
    let there: BTreeSet<String> = rows.iter().map(|r| r.baseline.clone()).collect();
    let kept: Vec<Row> = rows.into_iter().filter(|r| r.baseline == wanted).collect();
    if kept.is_empty() {
        let there: Vec<String> = there.into_iter().collect();
        return Err(Invalid::new("baseline", format!("one of {file}: {}", there.join(", ")), wanted).into());
    }
    Ok(kept)
}

/// Fewest pairs that a model's fit is worth.
pub const FEWEST_PAIRS: usize = 30;

fn gather(file: &str, rows: Vec<Row>, dropped: usize) -> Result<Judgements> {
    let bad = |problem: String| -> Error { Error::Input(format!("{file}: {problem}")) };
    let baselines: BTreeSet<&str> = rows.iter().map(|r| r.baseline.as_str()).collect();
    let mut names = baselines.iter();
    let baseline = match (names.next(), names.next()) {
        (Some(only), None) => (*only).to_owned(),
        (Some(a), Some(b)) => {
            return Err(bad(format!(
                "two baselines are mixed, `{a}` and `{b}`; name the one to keep with baseline"
            )));
        }
        (None, _) => return Err(bad("there is no row with a preference and both lengths".to_owned())),
    };
    let instructions: Vec<String> =
        rows.iter().map(|r| r.instruction.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut models: BTreeMap<String, Pairs> = BTreeMap::new();
    let mut seen: BTreeSet<(String, usize)> = BTreeSet::new();
    for row in rows {
        // Found: every instruction is in the list it was made from.
        let Ok(instruction) = instructions.binary_search(&row.instruction) else { continue };
        if !seen.insert((row.model.clone(), instruction)) {
            return Err(bad(format!(
                "model `{}` is judged twice on instruction `{}`",
                row.model,
                brief(&row.instruction)
            )));
        }
        let pairs = models.entry(row.model.clone()).or_insert_with(|| Pairs {
            model: row.model.clone(),
            mediators: vec![Vec::new(); row.mediators.len()],
            ..Pairs::default()
        });
        pairs.instruction.push(instruction);
        pairs.preference.push(row.preference);
        pairs.delta.push(row.baseline_length - row.length);
        pairs.length.push(row.length);
        for (column, value) in pairs.mediators.iter_mut().zip(row.mediators) {
            column.push(value);
        }
    }
    if let Some(pairs) = models.values().find(|p| p.preference.len() < FEWEST_PAIRS) {
        return Err(bad(format!(
            "model `{}` has {} judged pairs; at least {FEWEST_PAIRS} are needed",
            pairs.model,
            pairs.preference.len()
        )));
    }
    Ok(Judgements { baseline, instructions, models: models.into_values().collect(), dropped })
}

fn brief(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(40).collect::<String>())
    }
}

/// Difficulties by instruction from the user's file (columns `instruction`, `difficulty`).
///
/// # Errors
/// An instruction without a difficulty is named.
pub fn read_difficulty(path: &Path, instructions: &[String]) -> Result<Vec<f64>> {
    let table = Table::open(path)?;
    let (names, values) = (table.texts("instruction")?, table.numbers("difficulty")?);
    let mut by_name: BTreeMap<String, f64> = BTreeMap::new();
    for (name, value) in names.into_iter().zip(values) {
        let Some(name) = name else { continue };
        if by_name.get(&name).is_some_and(|other| *other != value) {
            let problem = format!("{}: two difficulties for instruction `{}`", table.file(), brief(&name));
            return Err(Error::Input(problem));
        }
        by_name.insert(name, value);
    }
    let find = |name: &String| {
        by_name.get(name).copied().ok_or_else(|| {
            Error::Input(format!("{}: no difficulty for instruction `{}`", table.file(), brief(name)))
        })
    };
    instructions.iter().map(find).collect()
}

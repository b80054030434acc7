//! Reward oracles `f(x, a) = P(y = 1 | x, a)`: logistic regression on indicators and crosses, and
//! gradient-boosted trees.

use std::fmt;

use ream_rand::Stream;
use ream_stats::glm::sigmoid;
use ream_stats::monotone::IsotonicCurve;
use ream_stats::off_policy::fitting_weights;
use ream_stats::sparse_logistic::{self, Rows};
use ream_trees::{Column, Loss, Options};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{Actions, Contexts, Field, Log};
use super::serving::{Training, Weighting};

/// A class of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// L2 logistic regression: indicators of levels and of the action, numbers, and crosses with the action.
    Logistic,
    /// Histogram gradient-boosted trees with log loss; context, action and what is known of the action are columns.
    Trees,
}

impl Class {
    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Trees => "trees",
        }
    }
}

/// Settings of the oracles.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Which class.
    pub class: Class,
    /// The actions.
    pub actions: Actions,
    /// Fields that the logistic model crosses with the action.
    pub crossed: Vec<usize>,
    /// Strength of the L2 penalty, `strength / 2 sum b^2`; the intercept is free.
    pub l2: f64,
    /// Most columns for crosses; more share columns by a hash.
    pub buckets: usize,
    /// How trees grow.
    pub trees: Options,
}

impl Recipe {
    /// The settings of every claim: L2 2.0; 60 trees of 15 leaves, rate 0.1, 20 rows in a leaf.
    #[must_use]
    pub fn new(class: Class, actions: Actions, crossed: Vec<usize>) -> Self {
        Self { class, actions, crossed, l2: 2.0, buckets: 1 << 14, trees: Options::default() }
    }
}

/// Why a model cannot be fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum OracleError {
    /// All rewards are the same.
    OneClass {
        /// Rows.
        rows: usize,
        /// The reward.
        value: f64,
    },
    /// No rows at all.
    NoRows,
    /// The fit failed.
    Fit(String),
}

impl fmt::Display for OracleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneClass { rows, value } => {
                write!(f, "all {rows} rewards are {value}: a model of rewards needs both")
            }
            Self::NoRows => write!(f, "there is no row to learn from"),
            Self::Fit(why) => write!(f, "the model cannot be fitted: {why}"),
        }
    }
}

impl std::error::Error for OracleError {}

/// A fitted oracle.
#[derive(Clone, Debug)]
pub struct Oracle {
    model: Model,
    curve: Option<IsotonicCurve>,
}

#[derive(Clone, Debug)]
enum Model {
    Logistic { encoder: Encoder, coefficients: Vec<f64> },
    Trees { actions: Actions, model: ream_trees::Model },
}

/// Gradient norm at which the logistic fit ends.
const TOLERANCE: f64 = 1e-4;
/// Share of the rows that a calibration curve is fitted on.
const HELD_OUT: f64 = 0.2;
/// Calibrated predictions keep this part of the raw ones, so that actions on one step of the curve stay in order.
const RAW: f64 = 1e-6;

/// Fits an oracle on the rows that [`Training::rows`] gives; `stream` deals out rows where predictions are
/// calibrated.
///
/// # Errors
/// No rows, rewards that are all the same, or a fit that fails.
pub fn fit(recipe: &Recipe, rows: &Log, training: &Training, stream: Stream) -> Result<Oracle, OracleError> {
    let model = fit_model(recipe, rows, training.weighting)?;
    let curve = if training.calibrated { Some(calibration(recipe, rows, training, stream)?) } else { None };
    Ok(Oracle { model, curve })
}

/// An isotonic curve from predictions to rewards on rows that the model behind it has not seen.
fn calibration(
    recipe: &Recipe,
    rows: &Log,
    training: &Training,
    stream: Stream,
) -> Result<IsotonicCurve, OracleError> {
    let held: Vec<bool> = (0..rows.len() as u64).map(|i| stream.at(i).chance(HELD_OUT)).collect();
    let (seen, unseen) = (rows.kept(|i| !held[i]), rows.kept(|i| held[i]));
    let model = fit_model(recipe, &seen, training.weighting)?;
    let raw = Oracle { model, curve: None }.of_taken(&unseen);
    IsotonicCurve::fit(&raw, &unseen.rewards, None).map_err(|e| OracleError::Fit(e.to_string()))
}

fn weights(log: &Log, weighting: Weighting) -> Result<Option<Vec<f64>>, OracleError> {
    match weighting {
        Weighting::Even => Ok(None),
        Weighting::Inverse { clip } => {
            fitting_weights(&log.propensities, clip).map(Some).map_err(|e| OracleError::Fit(e.to_string()))
        }
        Weighting::Classes => {
            let n = log.len() as f64;
            let ones = log.rewards.iter().sum::<f64>();
            let weight = |y: &f64| n / (2.0 * if *y > 0.5 { ones } else { n - ones });
            Ok(Some(log.rewards.iter().map(weight).collect()))
        }
    }
}

fn fit_model(recipe: &Recipe, log: &Log, weighting: Weighting) -> Result<Model, OracleError> {
    let first = *log.rewards.first().ok_or(OracleError::NoRows)?;
    if log.rewards.iter().all(|y| *y == first) {
        return Err(OracleError::OneClass { rows: log.len(), value: first });
    }
    let weights = weights(log, weighting)?;
    match recipe.class {
        Class::Logistic => {
            let encoder = Encoder::new(recipe, &log.contexts);
            let mut rows = Rows::new(encoder.width);
            let mut cells = Vec::new();
            for i in 0..log.len() {
                encoder.encode(&log.contexts, i, log.actions[i], &mut cells);
                rows.push(cells.iter().copied()).map_err(|e| OracleError::Fit(e.to_string()))?;
            }
            let mut strength = vec![recipe.l2; encoder.width];
            strength[0] = 0.0;
            let fit = sparse_logistic::fit(&rows, &log.rewards, weights.as_deref(), &strength, TOLERANCE)
                .map_err(|e| OracleError::Fit(e.to_string()))?;
            Ok(Model::Logistic { encoder, coefficients: fit.coefficients })
        }
        Class::Trees => {
            let pairs: Vec<(usize, u32)> = log.actions.iter().copied().enumerate().collect();
            let columns = TreeColumns::new(&recipe.actions, &log.contexts, &pairs);
            let model = ream_trees::fit(
                &columns.view(),
                &log.rewards,
                weights.as_deref(),
                Loss::Logistic,
                &recipe.trees,
            )
            .map_err(|e| OracleError::Fit(e.to_string()))?;
            Ok(Model::Trees { actions: recipe.actions.clone(), model })
        }
    }
}

impl Oracle {
    /// `P(y = 1)` of each available action, in the order of `allowed`; `[n]` rows.
    #[must_use]
    pub fn predict(&self, contexts: &Contexts) -> Vec<Vec<f64>> {
        let pairs: Vec<(usize, u32)> =
            (0..contexts.len()).flat_map(|i| contexts.allowed[i].iter().map(move |a| (i, *a))).collect();
        let mut flat = self.of_pairs(contexts, &pairs).into_iter();
        contexts.allowed.iter().map(|allowed| flat.by_ref().take(allowed.len()).collect()).collect()
    }

    /// `P(y = 1)` of the actions that were taken, `[n]`.
    #[must_use]
    pub fn of_taken(&self, log: &Log) -> Vec<f64> {
        let pairs: Vec<(usize, u32)> = log.actions.iter().copied().enumerate().collect();
        self.of_pairs(&log.contexts, &pairs)
    }

    fn of_pairs(&self, contexts: &Contexts, pairs: &[(usize, u32)]) -> Vec<f64> {
        let mut out = match &self.model {
            Model::Logistic { encoder, coefficients } => {
                let mut cells = Vec::new();
                pairs
                    .iter()
                    .map(|&(row, action)| {
                        encoder.encode(contexts, row, action, &mut cells);
                        sigmoid(cells.iter().map(|(column, value)| value * coefficients[*column]).sum())
                    })
                    .collect()
            }
            Model::Trees { actions, model } => {
                let columns = TreeColumns::new(actions, contexts, pairs);
                // The columns are those of the fit, so that this does not fail.
                model.predict(&columns.view()).unwrap_or_else(|_| vec![0.5; pairs.len()])
            }
        };
        if let Some(curve) = &self.curve {
            out.iter_mut().for_each(|p| *p = (1.0 - RAW) * curve.at(*p) + RAW * *p);
        }
        out
    }
}

/// Columns of the logistic model: an intercept, the fields, the actions with what is known of them, the
/// number of context and action, and crosses of
/// fields with actions.
#[derive(Clone, Debug, PartialEq)]
struct Encoder {
    /// Columns of each field: one for a number, which is standardised, one for each level.
    fields: Vec<Slot>,
    /// First column of the actions, and how many there are.
    actions: usize,
    count: usize,
    action_fields: Vec<(Slot, Field)>,
    pairs: Option<Slot>,
    crosses: Vec<Cross>,
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Slot {
    start: usize,
    centre: f64,
    scale: f64,
    levels: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Cross {
    field: usize,
    start: usize,
    /// Columns of the cross; below levels times actions they are shared by a hash.
    width: usize,
    count: usize,
}

/// A field's slot from `start` on, and the columns that it takes.
fn slot(field: &Field, start: usize) -> (Slot, usize) {
    match field {
        Field::Categories { levels, .. } => {
            (Slot { start, centre: 0.0, scale: 1.0, levels: true }, *levels as usize)
        }
        Field::Numbers(values) => (standardised(values, start), 1),
    }
}

fn standardised(values: &[f64], start: usize) -> Slot {
    let n = values.len().max(1) as f64;
    let centre = values.iter().sum::<f64>() / n;
    let scale = (values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / n).sqrt();
    Slot { start, centre, scale: if scale > 0.0 { scale } else { 1.0 }, levels: false }
}

impl Slot {
    fn cell(&self, value: f64) -> (usize, f64) {
        if self.levels {
            (self.start + value as usize, 1.0)
        } else {
            (self.start, (value - self.centre) / self.scale)
        }
    }
}

impl Encoder {
    fn new(recipe: &Recipe, contexts: &Contexts) -> Self {
        let mut width = 1;
        let mut place = |field: &Field| {
            let (slot, columns) = slot(field, width);
            width += columns;
            slot
        };
        let fields: Vec<Slot> = contexts.fields.iter().map(&mut place).collect();
        let known = recipe.actions.fields.iter();
        let action_fields = known.map(|field| (place(field), field.clone())).collect();
        let actions = width;
        width += recipe.actions.count;
        let pairs = (!contexts.pairs.is_empty()).then(|| standardised(&contexts.pairs, width));
        width += usize::from(pairs.is_some());
        let mut crosses = Vec::new();
        for &field in recipe.crossed.iter().filter(|f| **f < fields.len()) {
            let levels = match &contexts.fields[field] {
                Field::Categories { levels, .. } => *levels as usize,
                Field::Numbers(_) => 1,
            };
            let count = levels * recipe.actions.count;
            let cross = Cross { field, start: width, width: count.min(recipe.buckets).max(1), count };
            width += cross.width;
            crosses.push(cross);
        }
        Self { fields, actions, count: recipe.actions.count, action_fields, pairs, crosses, width }
    }

    /// The cells of a context with an action.
    fn encode(&self, contexts: &Contexts, row: usize, action: u32, cells: &mut Vec<(usize, f64)>) {
        cells.clear();
        cells.push((0, 1.0));
        let a = action as usize;
        for (slot, field) in self.fields.iter().zip(&contexts.fields) {
            cells.push(slot.cell(field.at(row)));
        }
        cells.push((self.actions + a, 1.0));
        for (slot, field) in &self.action_fields {
            cells.push(slot.cell(field.at(a)));
        }
        if let Some(slot) = &self.pairs {
            let width = contexts.pairs.len() / contexts.len();
            cells.push(slot.cell(contexts.pairs[row * width + a]));
        }
        for cross in &self.crosses {
            let value = contexts.fields[cross.field].at(row);
            let slot = &self.fields[cross.field];
            let (code, value) =
                if slot.levels { (value as usize * self.count + a, 1.0) } else { (a, slot.cell(value).1) };
            cells.push((cross.start + bucket(code, cross), value));
        }
    }
}

/// The column of a cross: its own, or one shared by a hash (Fibonacci hashing) where there are more crosses
/// than columns.
fn bucket(code: usize, cross: &Cross) -> usize {
    if cross.count <= cross.width {
        return code;
    }
    let hash = (code as u64 ^ ((cross.field as u64) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> 20) % cross.width as u64) as usize
}

/// Columns for trees: the context's, the action, what is known of it, the number of context and action.
struct TreeColumns(Vec<Field>);

impl TreeColumns {
    fn new(actions: &Actions, contexts: &Contexts, pairs: &[(usize, u32)]) -> Self {
        let rows: Vec<usize> = pairs.iter().map(|(row, _)| *row).collect();
        let taken: Vec<usize> = pairs.iter().map(|(_, a)| *a as usize).collect();
        let mut columns: Vec<Field> = contexts.fields.iter().map(|field| field.take(&rows)).collect();
        columns.push(Field::Categories {
            codes: pairs.iter().map(|(_, a)| *a).collect(),
            levels: actions.count as u32,
        });
        columns.extend(actions.fields.iter().map(|field| field.take(&taken)));
        if !contexts.pairs.is_empty() {
            let width = contexts.pairs.len() / contexts.len();
            let value = |(row, a): &(usize, u32)| contexts.pairs[row * width + *a as usize];
            columns.push(Field::Numbers(pairs.iter().map(value).collect()));
        }
        Self(columns)
    }

    fn view(&self) -> Vec<Column<'_>> {
        let columns = self.0.iter().map(|field| match field {
            Field::Numbers(values) => Column::Numbers(values),
            Field::Categories { codes, levels } => Column::Categories { codes, levels: *levels },
        });
        columns.collect()
    }
}

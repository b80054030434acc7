//! Off-policy values on Open Bandit: what inverse-gap policies would earn, from logs of a uniform policy and
//! of Thompson sampling.

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Error, Invalid, Result};
use ream_rand::Stream;
use ream_stats::bootstrap::percentile_of;
use ream_stats::interval::Estimate;
use ream_stats::off_policy::{Log as Judged, PolicyValue, direct, doubly_robust, ips, snips};

use super::conversions::levels;
use super::data::{Actions, Contexts, Field, Log};
use super::generations::of_taken;
use super::oracle::{Class, Oracle, Recipe, fit};
use super::policy::Rule;
use super::serving::Training;

/// Items.
pub const ITEMS: usize = 80;
/// Hashed features of a user.
const USER_FEATURES: usize = 4;
/// Folds of the cross-fitting: a model is never used on rows that it has seen.
const FOLDS: u64 = 2;

/// Features of the items, from `item_context.csv`.
///
/// # Errors
/// The file is not what it should be.
pub fn items(file: &Path) -> Result<Actions> {
    let table = Columns::open(file)?;
    let ids = table.numbers("item_id")?;
    let in_order = ids.len() == ITEMS && ids.iter().enumerate().all(|(i, id)| *id == i as f64);
    if !in_order {
        return Err(wrong(
            &table,
            "item_id",
            "0 to 79, one row each, in order",
            format!("{} rows", ids.len()),
        ));
    }
    let mut fields = vec![Field::Numbers(table.numbers("item_feature_0")?)];
    for feature in 1..=3 {
        fields.push(levels(&words(&table, &format!("item_feature_{feature}"))?));
    }
    Ok(Actions { count: ITEMS, fields })
}

/// A log, from `all.csv`: position and user features are the context, the user's affinity to an item the
/// number of context and action.
///
/// # Errors
/// The file is not what it should be.
pub fn log(file: &Path) -> Result<Log> {
    let table = Columns::open(file)?;
    let n = table.rows();
    let actions = table.numbers("item_id")?;
    if let Some(row) = actions.iter().position(|a| !(*a >= 0.0 && *a < ITEMS as f64 && *a == a.trunc())) {
        return Err(wrong(&table, "item_id", "0 to 79", format!("{} in row {}", actions[row], row + 1)));
    }
    let propensities = table.numbers("propensity_score")?;
    if let Some(row) = propensities.iter().position(|p| !(*p > 0.0 && *p <= 1.0)) {
        let got = format!("{} in row {}", propensities[row], row + 1);
        return Err(wrong(&table, "propensity_score", "probabilities above 0", got));
    }
    let mut fields = vec![levels(&words(&table, "position")?)];
    for feature in 0..USER_FEATURES {
        fields.push(levels(&words(&table, &format!("user_feature_{feature}"))?));
    }
    let mut pairs = vec![0.0; n * ITEMS];
    for item in 0..ITEMS {
        let column = table.numbers(&format!("user-item_affinity_{item}"))?;
        column.iter().enumerate().for_each(|(row, value)| pairs[row * ITEMS + item] = *value);
    }
    Ok(Log {
        contexts: Contexts {
            fields,
            allowed: vec![(0..ITEMS as u32).collect(); n],
            cells: vec![0; n],
            pairs,
        },
        actions: actions.iter().map(|a| *a as u32).collect(),
        propensities,
        rewards: table.numbers("click")?,
        uniform: vec![true; n],
        late: vec![false; n],
    })
}

fn wrong(table: &Columns, column: &str, wanted: &str, got: String) -> Error {
    Invalid::new(format!("{}, column `{column}`", table.file()), wanted, got).into()
}

fn words(table: &Columns, column: &str) -> Result<Vec<String>> {
    Ok(table.texts(column)?.into_iter().map(Option::unwrap_or_default).collect())
}

/// The estimates of one policy on one log.
#[derive(Clone, Debug, PartialEq)]
pub struct Valued {
    /// The policy.
    pub policy: String,
    /// The estimator.
    pub estimator: &'static str,
    /// The estimate.
    pub value: PolicyValue,
    /// Its bootstrap interval ([`bootstrapped`]).
    pub interval: Estimate,
}

/// The model's recipe: nothing but the position is crossed with the item, since clicks are too rare for more.
#[must_use]
pub fn recipe(actions: Actions, l2: f64) -> Recipe {
    Recipe { l2, ..Recipe::new(Class::Logistic, actions, Vec::new()) }
}

/// Values of policies on a log, each row judged by a model of the rows of the other fold.
///
/// # Errors
/// A model that cannot be fitted, or a log that cannot be judged.
pub fn values(
    log: &Log,
    recipe: &Recipe,
    rules: &[(String, Rule)],
    samples: usize,
    stream: Stream,
) -> Result<Vec<Valued>> {
    let fold: Vec<u64> = (0..log.len() as u64).map(|i| stream.at(i).below(FOLDS as usize) as u64).collect();
    let failed = |e: String| Error::failed(format!("Open Bandit: {e}"));
    let mut predicted: Vec<Vec<f64>> = vec![Vec::new(); log.len()];
    for k in 0..FOLDS {
        let seen = log.kept(|i| fold[i] != k);
        let oracle: Oracle =
            fit(recipe, &seen, &Training::plain(1), stream).map_err(|e| failed(e.to_string()))?;
        let rows: Vec<usize> = (0..log.len()).filter(|i| fold[*i] == k).collect();
        let of_rows = oracle.predict(&log.contexts.take(&rows));
        rows.into_iter().zip(of_rows).for_each(|(i, f)| predicted[i] = f);
    }
    let mut out = Vec::new();
    for (name, rule) in rules {
        let p: Vec<Vec<f64>> = predicted.iter().map(|f| rule.probabilities(f)).collect();
        let estimates = judge(log, &p, &predicted).map_err(failed)?;
        out.extend(estimates.map(|(estimator, value)| (name.clone(), estimator, value)));
    }
    let all: Vec<&PolicyValue> = out.iter().map(|(_, _, value)| value).collect();
    let intervals = bootstrapped(&all, samples, stream).map_err(failed)?;
    let told = out.into_iter().zip(intervals);
    Ok(told
        .map(|((policy, estimator, value), interval)| Valued { policy, estimator, value, interval })
        .collect())
}

/// The four estimates of a policy with probabilities `p`, beside a model's rewards; both of the available
/// actions of every row.
///
/// # Errors
/// A log that cannot be judged: why.
pub fn judge(
    log: &Log,
    p: &[Vec<f64>],
    predicted: &[Vec<f64>],
) -> Result<[(&'static str, PolicyValue); 4], String> {
    let (target, taken) = (of_taken(log, p), of_taken(log, predicted));
    let promised: Vec<f64> =
        p.iter().zip(predicted).map(|(p, f)| p.iter().zip(f).map(|(p, f)| p * f).sum()).collect();
    let judged = Judged { rewards: &log.rewards, logged: &log.propensities, target: &target };
    let of = |value: Result<PolicyValue, ream_stats::StatsError>| value.map_err(|e| e.to_string());
    Ok([
        ("IPS", of(ips(&judged, None))?),
        ("SNIPS", of(snips(&judged, None))?),
        ("DM", of(direct(&promised))?),
        ("DR", of(doubly_robust(&judged, &promised, &taken, None))?),
    ])
}

/// Percentile intervals of values of one log, 95 %, from resampled influence values: the usual bootstrap for
/// means, to first order for ratios. All values meet the same samples of rows.
///
/// # Errors
/// No values, or too few rows.
pub fn bootstrapped(
    values: &[&PolicyValue],
    samples: usize,
    stream: Stream,
) -> Result<Vec<Estimate>, String> {
    let n = values.iter().map(|v| v.influence.len()).min().unwrap_or(0);
    let rows = stream.child(1);
    let draw = |b: u64| -> Vec<f64> {
        let drawn = rows.at(b).resample(n);
        let sum = |value: &&PolicyValue| drawn.iter().map(|i| value.influence[*i]).sum::<f64>();
        values.iter().map(|value| value.value + sum(value) / n.max(1) as f64).collect()
    };
    let draws: Vec<Vec<f64>> = (0..samples as u64).map(draw).collect();
    let one = |k: usize| {
        let of: Vec<f64> = draws.iter().map(|d| d[k]).collect();
        percentile_of(values[k].value, &of, 0.95).map_err(|e| e.to_string())
    };
    (0..values.len()).map(one).collect()
}

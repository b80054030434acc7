//! The user's own file: intervals for every row and arm, for the arms' means and for effects, with standard errors and limits.
//!
//! `ream run info-bounds --data trial.csv --set outcome=health --set treatment=dose --set 'covariates=["age", "sector"]'` prints the bounds of every level of
//! the treatment and of its effect, without covariates and averaged over them, beside Manski's and the sensitivity model's; the table of all rows and
//! the pictures are in the report, and `ream report ID --format csv` (or `md`, `latex`) writes the tables.

use std::path::Path;

use ream_data::Table as Columns;
use ream_lab::{Cell, Error, Invalid, Result, Run, Table};
use ream_stats::{Matrix, cross_fit};

use super::aggregate::order_statistic;
use super::baselines::{manski, sensitivity};
use super::config::{Conditional, Config};
use super::divergence::{Divergence, ipm_bound, mmd_bound};
use super::dual::Law;
use super::experiment::{GAMMAS, MANSKI_NOTE, Ribbon, stats};
use super::kernel::{AtPoint, Smoother};
use super::learner::{Learned, Problem, learn_rows};
use super::marginal::{self, Arm, Ends, Replicate, Rows, aggregate, bootstrap, limits, replicate_errors};
use super::pictures;
use super::propensity::{LEAST, MOST_LEVELS, Model, Propensities, Treatment, cross_fitted};

/// Fewest rows of an arm.
const LEAST_ROWS: usize = 20;
/// Most texts of a covariate.
const MOST_TEXTS: usize = 50;
/// Rows that a message names.
const NAMED_ROWS: usize = 8;
/// A bound leans on one row when without it the interval is this much narrower.
const LEANS: f64 = 0.1;
/// Share of rows beyond the conjugate's domain from which on the reader is warned.
const MUCH_OUTSIDE: f64 = 0.02;

/// The user's table, ready to be bounded.
#[derive(Clone, Debug)]
pub struct Own {
    /// Name of `phi` of the outcome.
    pub name: String,
    /// `phi` of the outcomes, `[n]`.
    pub phi: Vec<f64>,
    /// Levels of the treatment; the first is the reference.
    pub levels: Vec<String>,
    /// Level of each row.
    pub arm: Vec<usize>,
    /// Covariates, texts as indicators of all levels but the first, `[n, columns]`.
    pub x: Option<Matrix>,
    /// Weights of rows.
    pub weights: Option<Vec<f64>>,
    /// Names of rows.
    pub ids: Vec<String>,
    /// Known probability of the second level.
    pub known: Option<Vec<f64>>,
    /// A policy's probabilities of the levels, `[levels][n]`.
    pub policy: Option<Vec<Vec<f64>>>,
    /// Least and greatest possible `phi`, where they are known.
    pub range: Option<(f64, f64)>,
}

fn invalid(table: &Columns, column: &str, wanted: impl Into<String>, got: impl Into<String>) -> Error {
    Invalid::new(format!("{}, column `{column}`", table.file()), wanted, got).into()
}

/// Numbers of rows as a reader counts them, from 1, the first few.
fn named(rows: &[usize]) -> String {
    let shown: Vec<String> = rows.iter().take(NAMED_ROWS).map(|i| (i + 1).to_string()).collect();
    let more = if rows.len() > NAMED_ROWS { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// What only a file of one's own can answer to.
pub(crate) fn none_of_own(config: &Config) -> Result<(), Invalid> {
    let given = [
        ("outcome", config.outcome.as_ref()),
        ("treatment", config.treatment.as_ref()),
        ("covariates", config.covariates.first()),
        ("weights", config.weights.as_ref()),
        ("id", config.id.as_ref()),
        ("policy", config.policy.first()),
    ];
    if let Some((key, value)) = given.into_iter().find_map(|(key, value)| value.map(|v| (key, v))) {
        return Err(Invalid::new(key, "nothing, unless --data gives a file of your own", value));
    }
    if let Model::Column(name) = config.model() {
        return Err(Invalid::new("propensity", "gbt or logit, unless --data gives a file of your own", name));
    }
    Ok(())
}

/// Reads and checks a file.
///
/// # Errors
/// File, column and row, and what would be right: no such column, a missing value, a single level, an arm of fewer than 20 rows, probabilities
/// that are not strictly between 0 and 1, weights below 0, a `phi` that is not finite, a policy that does not sum to 1.
pub fn load(config: &Config, file: &Path) -> Result<Own> {
    let needed = |key: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| {
            Error::from(Invalid::new(key, format!("the name of a column: --set {key}=NAME"), "nothing"))
        })
    };
    let outcome = needed("outcome", &config.outcome)?;
    let treatment = needed("treatment", &config.treatment)?;
    let table = Columns::open(file)?;
    let (levels, arm) = read_treatment(&table, &treatment)?;
    let outcomes = table.numbers(&outcome)?;
    let function = config.function();
    let phi = function.of(&outcomes).map_err(stats("phi"))?;
    if let Some(row) = phi.iter().position(|p| !p.is_finite()) {
        let got = format!("{} in row {}", phi[row], row + 1);
        return Err(invalid(
            &table,
            &outcome,
            format!("a finite {} in every row", function.name(&outcome)),
            got,
        ));
    }
    let x = read_covariates(&table, &config.covariates, &[&outcome, &treatment])?;
    let weights =
        config.weights.as_ref().map(|name| read_weights(&table, name, &arm, &levels)).transpose()?;
    let known = match config.model() {
        Model::Column(name) => Some(read_propensity(&table, &name, &levels)?),
        _ => None,
    };
    if config.conditional == Conditional::None && !config.policy.is_empty()
        || x.is_none() && !config.policy.is_empty()
    {
        let wanted = "nothing without covariates: a policy is averaged over them";
        return Err(Invalid::new("policy", wanted, config.policy.join(", ")).into());
    }
    if config.conditional == Conditional::Kernel && !config.policy.is_empty() {
        return Err(Invalid::new(
            "policy",
            "nothing with conditional=kernel: averages need conditional=networks",
            config.policy.join(", "),
        )
        .into());
    }
    let policy = read_policy(&table, &config.policy, &levels)?;
    let range = read_range(config, &table, &outcome, &outcomes)?;
    let ids = match &config.id {
        Some(name) => table
            .texts(name)?
            .into_iter()
            .enumerate()
            .map(|(i, text)| text.unwrap_or_else(|| (i + 1).to_string()))
            .collect(),
        None => (1..=table.rows()).map(|i| i.to_string()).collect(),
    };
    Ok(Own { name: function.name(&outcome), phi, levels, arm, x, weights, ids, known, policy, range })
}

fn read_treatment(table: &Columns, name: &str) -> Result<(Vec<String>, Vec<usize>)> {
    let texts = table.texts(name)?;
    if let Some(row) = texts.iter().position(Option::is_none) {
        return Err(invalid(
            table,
            name,
            "a level in every row (leave rows without one out)",
            format!("none in row {}", row + 1),
        ));
    }
    let texts: Vec<String> = texts.into_iter().flatten().map(|t| t.trim().to_owned()).collect();
    let mut levels = texts.clone();
    levels.sort();
    levels.dedup();
    if table.is_numeric(name)? {
        let number = |text: &String| text.parse::<f64>().unwrap_or(f64::NAN);
        levels.sort_by(|a, b| number(a).total_cmp(&number(b)));
        levels.dedup_by(|a, b| number(a) == number(b));
        let place = |t: &String| levels.iter().position(|l| number(l) == number(t)).unwrap_or(0);
        let arm: Vec<usize> = texts.iter().map(place).collect();
        return counted(table, name, levels.clone(), arm);
    }
    let arm = texts.iter().map(|t| levels.binary_search(t).unwrap_or(0)).collect();
    counted(table, name, levels, arm)
}

fn counted(
    table: &Columns,
    name: &str,
    levels: Vec<String>,
    arm: Vec<usize>,
) -> Result<(Vec<String>, Vec<usize>)> {
    if levels.len() < 2 {
        let got = format!("`{}` in every row", levels.first().map_or("", String::as_str));
        return Err(invalid(table, name, "2 or more levels: without a second one there is no effect", got));
    }
    if levels.len() > MOST_LEVELS {
        let wanted = format!("2 to {MOST_LEVELS} levels; cut a continuous treatment into groups first");
        return Err(invalid(table, name, wanted, format!("{}", levels.len())));
    }
    for (a, level) in levels.iter().enumerate() {
        let rows = arm.iter().filter(|x| **x == a).count();
        if rows < LEAST_ROWS {
            let wanted = format!("at least {LEAST_ROWS} rows of every level");
            return Err(invalid(table, name, wanted, format!("{rows} of `{level}`")));
        }
    }
    Ok((levels, arm))
}

fn read_covariates(table: &Columns, names: &[String], taken: &[&String]) -> Result<Option<Matrix>> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for name in names {
        if taken.contains(&name) {
            return Err(invalid(table, name, "a covariate that is neither outcome nor treatment", "both"));
        }
        if table.is_numeric(name)? {
            let values = table.numbers(name)?;
            if values.iter().all(|v| *v == values[0]) {
                return Err(invalid(
                    table,
                    name,
                    "values that differ",
                    format!("{} in every row: leave the column out", values[0]),
                ));
            }
            columns.push(values);
            continue;
        }
        let texts = table.texts(name)?;
        if let Some(row) = texts.iter().position(Option::is_none) {
            let wanted = "a value in every row; fill it in or leave the row out";
            return Err(invalid(table, name, wanted, format!("none in row {}", row + 1)));
        }
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        let mut levels = texts.clone();
        levels.sort();
        levels.dedup();
        if levels.len() < 2 || levels.len() > MOST_TEXTS {
            let wanted = format!("2 to {MOST_TEXTS} different texts (leave names and identifiers out)");
            return Err(invalid(table, name, wanted, levels.len().to_string()));
        }
        for level in &levels[1..] {
            columns.push(texts.iter().map(|t| f64::from(u8::from(t == level))).collect());
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Matrix::from_columns(&columns).map(Some).map_err(stats("covariates"))
}

fn read_weights(table: &Columns, name: &str, arm: &[usize], levels: &[String]) -> Result<Vec<f64>> {
    let weights = table.numbers(name)?;
    if let Some(row) = weights.iter().position(|w| *w < 0.0) {
        return Err(invalid(
            table,
            name,
            "weights of at least 0",
            format!("{} in row {}", weights[row], row + 1),
        ));
    }
    for (a, level) in levels.iter().enumerate() {
        let total: f64 = weights.iter().zip(arm).filter(|(_, x)| **x == a).map(|(w, _)| w).sum();
        if total <= 0.0 {
            return Err(invalid(table, name, "weights above 0 in every level", format!("none in `{level}`")));
        }
    }
    Ok(weights)
}

fn read_propensity(table: &Columns, name: &str, levels: &[String]) -> Result<Vec<f64>> {
    if levels.len() != 2 {
        let got = format!("{} levels", levels.len());
        return Err(Invalid::new(
            "propensity",
            "gbt or logit: a column holds the probability of the second of two levels",
            got,
        )
        .into());
    }
    let known = table.numbers(name)?;
    let wrong: Vec<usize> = (0..known.len()).filter(|i| !(known[*i] > 0.0 && known[*i] < 1.0)).collect();
    if wrong.is_empty() {
        return Ok(known);
    }
    let wanted = format!(
        "probabilities of `{}` above 0 and below 1: where all or none get it, nothing bounds the other arm (leave such rows out)",
        levels[1]
    );
    Err(invalid(
        table,
        name,
        wanted,
        format!("{} in row {}; rows {}", known[wrong[0]], wrong[0] + 1, named(&wrong)),
    ))
}

fn read_policy(table: &Columns, names: &[String], levels: &[String]) -> Result<Option<Vec<Vec<f64>>>> {
    if names.is_empty() {
        return Ok(None);
    }
    if names.len() != levels.len() {
        let wanted = format!("one column for each level of the treatment: {}", levels.join(", "));
        return Err(Invalid::new("policy", wanted, format!("{} columns", names.len())).into());
    }
    let columns = names.iter().map(|n| Ok(table.numbers(n)?)).collect::<Result<Vec<_>>>()?;
    for row in 0..table.rows() {
        let sum: f64 = columns.iter().map(|c| c[row]).sum();
        if columns.iter().any(|c| c[row] < 0.0) || (sum - 1.0).abs() > 1e-6 {
            let got = format!("a sum of {sum} in row {}", row + 1);
            return Err(invalid(table, &names.join("`, `"), "probabilities that sum to 1", got));
        }
    }
    Ok(Some(columns))
}

fn read_range(
    config: &Config,
    table: &Columns,
    outcome: &str,
    outcomes: &[f64],
) -> Result<Option<(f64, f64)>> {
    let [least, most] = config.range[..] else { return Ok(None) };
    if let Some(row) = outcomes.iter().position(|y| *y < least || *y > most) {
        let got = format!("{} in row {}", outcomes[row], row + 1);
        return Err(invalid(table, outcome, format!("outcomes within range = [{least}, {most}]"), got));
    }
    let ends = config.function().of(&[least, most]).map_err(stats("phi"))?;
    // Of a quantile loss the range of the outcome does not give that of phi.
    let phi_range = match config.function() {
        super::phi::Phi::QuantileLoss(_) => return Ok(None),
        _ => (ends[0].min(ends[1]), ends[0].max(ends[1])),
    };
    Ok(Some(phi_range))
}

/// Bounds the user's rows.
///
/// # Errors
/// See [`load`]; fits that fail; cancelled.
pub fn run(config: &Config, file: &Path, run: &mut Run) -> Result<()> {
    // Nothing here is a simulation: more seeds would only repeat it with other folds.
    if !run.is_first_seed() {
        return Ok(());
    }
    let own = load(config, file)?;
    run.progress(0.02, "bounds without covariates")?;
    let rows =
        Rows { phi: &own.phi, arm: &own.arm, levels: own.levels.len(), weights: own.weights.as_deref() };
    let arms = marginal::marginal(&rows, &config.divergences).map_err(stats("bounds"))?;
    let again = bootstrap(&rows, &arms, &config.divergences, config.bootstrap, run.stream("bootstrap"))
        .map_err(stats("bootstrap"))?;
    run.table(drift_table(&own, &arms, &config.divergences));
    let (table, shown) = marginal_table(config, &own, &arms, &again)?;
    run.table(table);
    let title = format!("Effect of `{}` against `{}` on {}", own.levels[1], own.levels[0], own.name);
    run.figure("effects", pictures::effects(&title, &own.name, &shown, None))?;
    for (a, arm) in arms.iter().enumerate() {
        for warning in leaning(&own, a, arm, &config.divergences)? {
            run.warn(warning);
        }
    }
    match (&own.x, config.conditional) {
        (None, _) | (_, Conditional::None) => Ok(()),
        (Some(x), kind) => given_covariates(config, run, &own, x, kind),
    }
}

/// How far the do-law can be from the observed one.
fn drift_table(own: &Own, arms: &[Arm], divergences: &[Divergence]) -> Table {
    let mut table = Table::new(
        "How far the law under an intervention can be from the observed one",
        &["level", "rows", "P(level)"],
    );
    table.columns.extend(divergences.iter().map(|d| d.name().to_owned()));
    table.columns.extend(["mean of |f| <= 1".to_owned(), "kernel mean, kernel <= 1".to_owned()]);
    for (a, arm) in arms.iter().enumerate() {
        let count = own.arm.iter().filter(|x| **x == a).count() as u64;
        let mut row: Vec<Cell> = vec![own.levels[a].clone().into(), count.into(), arm.e.into()];
        row.extend(divergences.iter().map(|d| Cell::from(d.radius(arm.e))));
        row.extend([Cell::from(ipm_bound(1.0, arm.e)), Cell::from(mmd_bound(1.0, arm.e))]);
        table = table.row(row);
    }
    table.note = "Most that D_f(P || Q) can be, and most by which means of functions between -1 and 1, and kernel means, can differ, whatever the hidden \
                  confounder."
        .to_owned();
    table
}

const COLUMNS: [&str; 8] = ["quantity", "interval", "lower", "se", "upper", "se", "low", "high"];

/// Standard errors beside the ends, and limits from the larger of the envelope's and the bootstrap's.
fn line(
    config: &Config,
    quantity: &str,
    name: &str,
    ends: &Ends,
    errors: Option<(f64, f64)>,
) -> Result<Vec<Cell>> {
    let (mut lower, mut upper) = (ends.lower.se, ends.upper.se);
    if let Some((low, high)) = errors {
        (lower, upper) = (lower.max(low), upper.max(high));
    }
    let (low, high) = limits((ends.lower.value, lower), (ends.upper.value, upper), config.level)
        .map_err(stats("limits"))?;
    Ok(vec![
        quantity.into(),
        name.into(),
        ends.lower.value.into(),
        lower.into(),
        ends.upper.value.into(),
        upper.into(),
        low.into(),
        high.into(),
    ])
}

fn plain(quantity: &str, name: &str, (low, high): (f64, f64)) -> Vec<Cell> {
    vec![quantity.into(), name.into(), low.into(), Cell::Empty, high.into()]
}

fn joined_name(config: &Config, k: usize) -> String {
    if config.k == 0 { format!("k-agg (k = {k})") } else { format!("order k = {k}") }
}

/// What a resample says of a quantity for a divergence.
type OfReplicate<'a> = Box<dyn Fn(&Replicate, usize) -> (f64, f64) + 'a>;
/// What bounds of levels say of a quantity.
type OfArms<'a> = Box<dyn Fn(&dyn Fn(&Arm) -> (f64, f64)) -> (f64, f64) + 'a>;

/// A number that is bounded: a level's mean, or a difference of two.
struct Quantity<'a> {
    name: String,
    /// Ends for each divergence.
    ends: Vec<Ends>,
    /// The same from a resample.
    replicate: OfReplicate<'a>,
    /// The same from bounds that are not divergences'.
    other: OfArms<'a>,
}

fn quantities<'a>(own: &'a Own, arms: &'a [Arm]) -> Vec<Quantity<'a>> {
    let levels = (0..arms.len()).map(|a| Quantity {
        name: format!("E[{} | do({})]", own.name, own.levels[a]),
        ends: arms[a].ends.clone(),
        replicate: Box::new(move |r, j| r[a][j]),
        other: Box::new(move |of| of(&arms[a])),
    });
    let contrasts = (1..arms.len()).map(|a| Quantity {
        name: effect_name(own, a),
        ends: arms[a].ends.iter().zip(&arms[0].ends).map(|(x, y)| x.minus(y)).collect(),
        replicate: Box::new(move |r, j| (r[a][j].0 - r[0][j].1, r[a][j].1 - r[0][j].0)),
        other: Box::new(move |of| {
            let (one, zero) = (of(&arms[a]), of(&arms[0]));
            (one.0 - zero.1, one.1 - zero.0)
        }),
    });
    levels.chain(contrasts).collect()
}

fn effect_name(own: &Own, a: usize) -> String {
    format!("effect, {} against {}", own.levels[a], own.levels[0])
}

type Shown = Vec<(String, (f64, f64))>;

fn marginal_table(config: &Config, own: &Own, arms: &[Arm], again: &[Replicate]) -> Result<(Table, Shown)> {
    let title = format!("Bounds without covariates: {}", own.name);
    let mut table = Table::new(title, &COLUMNS);
    let mut shown = Vec::new();
    for (q, quantity) in quantities(own, arms).iter().enumerate() {
        let name = &quantity.name;
        // The first effect is what the picture shows.
        let draw = q == arms.len();
        let mut show = |label: &str, interval: (f64, f64)| {
            if draw {
                shown.push((label.to_owned(), interval));
            }
        };
        for (j, (d, ends)) in config.divergences.iter().zip(&quantity.ends).enumerate() {
            let errors =
                replicate_errors(&again.iter().map(|r| (quantity.replicate)(r, j)).collect::<Vec<_>>());
            table = table.row(line(config, name, d.name(), ends, Some(errors))?);
            show(d.name(), ends.values());
        }
        if let Some((ends, found)) = aggregate(&quantity.ends, config.order()) {
            let of_resample = |r: &Replicate| {
                let each: Vec<(f64, f64)> =
                    (0..quantity.ends.len()).map(|j| (quantity.replicate)(r, j)).collect();
                order_statistic(&each, config.order()).map(|a| (a.lower, a.upper))
            };
            let errors = replicate_errors(&again.iter().filter_map(of_resample).collect::<Vec<_>>());
            let label = joined_name(config, found.k);
            table = table.row(line(config, name, &label, &ends, Some(errors))?);
            show(&label, ends.values());
        }
        if let Some(range) = own.range {
            let interval = (quantity.other)(&|arm| manski(arm.law.mean(), arm.e, range));
            table = table.row(plain(name, "Manski, known range", interval));
            show("Manski, known range", interval);
        }
        let interval = (quantity.other)(&|arm| manski(arm.law.mean(), arm.e, arm.law.range()));
        table = table.row(plain(name, "Manski, sample range", interval));
        show("Manski, sample range", interval);
        for gamma in GAMMAS {
            let label = format!("sensitivity model {gamma}");
            let interval = (quantity.other)(&|arm| sensitivity(&arm.law, arm.e, gamma));
            table = table.row(plain(name, &label, interval));
            show(&label, interval);
        }
        let naive = (quantity.other)(&|arm| (arm.law.mean(), arm.law.mean()));
        table = table.row(plain(name, "no confounding", naive));
    }
    table.note = format!(
        "{} rows. `low` and `high` hold the number itself, wherever it lies in its interval, with probability {} (Imbens & Manski, 2004); standard errors are the larger of the \
         envelope's and those of {} bootstrap samples. {MANSKI_NOTE}",
        own.phi.len(),
        config.level,
        again.len()
    );
    Ok((table, shown))
}

/// Warnings for a level whose bounds would be much narrower without its one most extreme row.
fn leaning(own: &Own, a: usize, arm: &Arm, divergences: &[Divergence]) -> Result<Vec<String>> {
    let members: Vec<usize> = (0..own.arm.len()).filter(|i| own.arm[*i] == a).collect();
    let mut warnings = Vec::new();
    for (sign, side, extreme) in [(1.0, "upper", "largest"), (-1.0, "lower", "smallest")] {
        let Some(&top) =
            members.iter().max_by(|i, j| (sign * own.phi[**i]).total_cmp(&(sign * own.phi[**j])))
        else {
            continue;
        };
        if members.iter().filter(|i| own.phi[**i] == own.phi[top]).count() > 1 {
            continue;
        }
        let rest: Vec<usize> = members.iter().copied().filter(|i| *i != top).collect();
        let phi: Vec<f64> = rest.iter().map(|i| own.phi[*i]).collect();
        let weights: Option<Vec<f64>> = own.weights.as_ref().map(|w| rest.iter().map(|i| w[*i]).collect());
        let law = Law::new(&phi, weights.as_deref()).map_err(stats("bounds"))?;
        let mut worst: Option<(f64, Divergence, f64, f64)> = None;
        for (d, ends) in divergences.iter().zip(&arm.ends) {
            let (low, high) = law.interval(*d, arm.e).map_err(stats("bounds"))?;
            let (before, after) = if sign > 0.0 { (ends.upper.value, high) } else { (ends.lower.value, low) };
            let share = sign * (before - after) / (ends.upper.value - ends.lower.value);
            if worst.is_none_or(|w| share > w.0) {
                worst = Some((share, *d, before, after));
            }
        }
        if let Some((share, d, before, after)) = worst
            && share > LEANS
        {
            warnings.push(format!(
                "the {side} bound of {} under do({}) leans on its {extreme} value: without row {} ({:.5}) it goes from {before:.5} to {after:.5} ({}). \
                 All divergence bounds end at the {extreme} value of the sample; for an outcome without limits they grow with every more extreme row, and \
                 their standard errors do not count that. If the outcome has a known range, give it (--set range=LEAST,MOST) and read Manski's bounds",
                own.name,
                own.levels[a],
                top + 1,
                own.phi[top],
                d.name(),
            ));
        }
    }
    Ok(warnings)
}

/// Intervals of every row and level, and averages over rows.
fn given_covariates(config: &Config, run: &mut Run, own: &Own, x: &Matrix, kind: Conditional) -> Result<()> {
    run.progress(0.1, "propensity")?;
    let levels = own.levels.len();
    let folds = cross_fit::stratified(&own.arm, config.folds, run.stream("folds")).map_err(stats("folds"))?;
    let propensities = match &own.known {
        Some(known) => Propensities::known(folds, config.folds, known, known),
        None => {
            let treatment = Treatment { x, arm: &own.arm, levels, weights: own.weights.as_deref() };
            cross_fitted(&config.model(), &treatment, folds, config.folds, x)?
        }
    };
    if !propensities.clipped.is_empty() {
        run.warn(format!(
            "{} rows have an estimated propensity below {LEAST} or above {}, which was moved there (rows {}): hardly anyone like them got the other level, and \
             their intervals are narrower than the data allow",
            propensities.clipped.len(),
            1.0 - LEAST,
            named(&propensities.clipped)
        ));
    }
    let (each, errors) = match kind {
        Conditional::Kernel => by_kernel(config, own, x, &propensities)?,
        _ => by_networks(config, run, own, x, &propensities)?,
    };
    let table = row_table(config, own, &propensities, &each, errors.as_deref());
    let crossed = each.iter().map(|arm| crossed_rows(config, arm)).sum::<usize>();
    if crossed > 0 {
        run.warn(format!(
            "in {crossed} of {} rows and levels even the loosest ends cross: the interval is shown with its lower end above its upper one, and is not evidence",
            own.phi.len() * levels
        ));
    }
    run.table(table);
    let ribbon = Ribbon {
        e: (0..own.phi.len()).map(|i| propensities.rows[i * levels + 1]).collect(),
        truth: Vec::new(),
        arms: config
            .divergences
            .iter()
            .enumerate()
            .map(|(j, d)| (d.slug().to_owned(), each[1].iter().map(|p| p[j]).collect()))
            .collect(),
    };
    let label = format!("P({} | x)", own.levels[1]);
    run.figure(
        "widths",
        pictures::widths(&format!("{} under do({})", own.name, own.levels[1]), &label, &ribbon),
    )
}

/// Ends of every level, row and divergence.
type Each = Vec<Vec<Vec<(f64, f64)>>>;

fn by_kernel(
    config: &Config,
    own: &Own,
    x: &Matrix,
    propensities: &Propensities,
) -> Result<(Each, Option<Vec<Vec<AtPoint>>>)> {
    let levels = own.levels.len();
    let of_level = |a: usize| {
        let e: Vec<f64> = (0..own.phi.len()).map(|i| propensities.rows[i * levels + a]).collect();
        Smoother::new(x, &own.arm, a, &own.phi, own.weights.as_deref())
            .and_then(|s| s.at(x, &e, &config.divergences))
            .map_err(stats("kernel"))
    };
    let at = (0..levels).map(of_level).collect::<Result<Vec<_>>>()?;
    let each = at.iter().map(|arm| arm.iter().map(|p| p.ends.clone()).collect()).collect();
    Ok((each, Some(at)))
}

fn by_networks(
    config: &Config,
    run: &mut Run,
    own: &Own,
    x: &Matrix,
    propensities: &Propensities,
) -> Result<(Each, Option<Vec<Vec<AtPoint>>>)> {
    run.progress(0.2, "networks")?;
    let levels = own.levels.len();
    let problem = Problem { x, arm: &own.arm, levels, phi: &own.phi, weights: own.weights.as_deref() };
    let seed = run.stream("networks").at(0).next_u64() >> 1;
    let settings = config.networks.settings();
    let learned = learn_rows(&problem, propensities, &config.divergences, config.debiased, &settings, seed)?;
    for (d, share) in config.divergences.iter().zip(&learned.outside) {
        if *share > MUCH_OUTSIDE {
            run.warn(format!(
                "{}: {:.1} % of the rows lie beyond the domain of the conjugate under the learned price and shift. They are kept at the continued conjugate's value, so \
                 that the interval is not too narrow, but it is not exact there; train longer (networks.epochs, networks.patience) or use --set conditional=kernel",
                d.name(),
                100.0 * share
            ));
        }
    }
    run.table(average_table(config, own, &learned, &problem, propensities)?);
    let of_level = |a: usize| -> Vec<Vec<(f64, f64)>> {
        let by_divergence: Vec<Vec<(f64, f64)>> =
            (0..config.divergences.len()).map(|j| learned.ends(j, a, &propensities.points)).collect();
        (0..own.phi.len()).map(|i| by_divergence.iter().map(|ends| ends[i]).collect()).collect()
    };
    Ok(((0..levels).map(of_level).collect(), None))
}

fn average_table(
    config: &Config,
    own: &Own,
    learned: &Learned,
    problem: &Problem<'_>,
    propensities: &Propensities,
) -> Result<Table> {
    let mut table =
        Table::new(format!("Bounds averaged over covariates, cross-fitted: {}", own.name), &COLUMNS);
    let of_level = |a: usize| -> Result<Vec<Ends>> {
        (0..config.divergences.len())
            .map(|j| learned.average(j, problem, propensities, |_, b| f64::from(u8::from(a == b))))
            .collect()
    };
    let levels = (0..own.levels.len()).map(of_level).collect::<Result<Vec<_>>>()?;
    let mut all: Vec<(String, Vec<Ends>)> = levels
        .iter()
        .enumerate()
        .map(|(a, ends)| (format!("E[{} | do({})]", own.name, own.levels[a]), ends.clone()))
        .collect();
    for a in 1..levels.len() {
        let contrast = levels[a].iter().zip(&levels[0]).map(|(x, y)| x.minus(y)).collect();
        all.push((effect_name(own, a), contrast));
    }
    if let Some(policy) = &own.policy {
        let ends = (0..config.divergences.len())
            .map(|j| learned.average(j, problem, propensities, |i, a| policy[a][i]))
            .collect::<Result<Vec<_>>>()?;
        all.push((format!("E[{} | policy]", own.name), ends));
    }
    for (name, ends) in &all {
        for (d, ends) in config.divergences.iter().zip(ends) {
            table = table.row(line(config, name, d.name(), ends, None)?);
        }
        if let Some((ends, found)) = aggregate(ends, config.order()) {
            table = table.row(line(config, name, &joined_name(config, found.k), &ends, None)?);
        }
    }
    table.note = format!(
        "{} folds; standard errors from cross-fitted influence values, without what the choice of the largest outcome adds. `low` and `high` hold the number itself with probability {} (Imbens & Manski, 2004). Where lower \
         lies above upper the ends cross, and `low` and `high` are moved out from each.",
        config.folds, config.level
    );
    Ok(table)
}

fn crossed_rows(config: &Config, rows: &[Vec<(f64, f64)>]) -> usize {
    rows.iter().filter(|at| order_statistic(at, config.order()).is_some_and(|a| a.crossed)).count()
}

/// One line for each row and level.
fn row_table(
    config: &Config,
    own: &Own,
    propensities: &Propensities,
    each: &Each,
    errors: Option<&[Vec<AtPoint>]>,
) -> Table {
    let mut table = Table::new("Intervals by row", &["row", "observed", "level", "propensity"]);
    for d in &config.divergences {
        table.columns.extend([format!("lower {}", d.slug()), format!("upper {}", d.slug())]);
    }
    table.columns.extend(
        ["lower", "upper", "k", "se lower", "se upper", "effect lower", "effect upper"].map(str::to_owned),
    );
    let levels = own.levels.len();
    for i in 0..own.phi.len() {
        let joined: Vec<_> = each.iter().map(|arm| order_statistic(&arm[i], config.order())).collect();
        for a in 0..levels {
            let mut row: Vec<Cell> = vec![
                own.ids[i].clone().into(),
                own.levels[own.arm[i]].clone().into(),
                own.levels[a].clone().into(),
                propensities.rows[i * levels + a].into(),
            ];
            row.extend(each[a][i].iter().flat_map(|(l, u)| [Cell::from(*l), Cell::from(*u)]));
            if let Some(found) = joined[a] {
                row.extend([Cell::from(found.lower), found.upper.into(), (found.k as u64).into()]);
                let se = errors.map(|at| (at[a][i].se[found.from[0]].0, at[a][i].se[found.from[1]].1));
                row.extend(se.map_or([Cell::Empty, Cell::Empty], |(l, u)| [l.into(), u.into()]));
                if let (Some(zero), true) = (joined[0], a > 0) {
                    row.extend([Cell::from(found.lower - zero.upper), (found.upper - zero.lower).into()]);
                }
            }
            table = table.row(row);
        }
    }
    table.note = format!(
        "`lower` and `upper` are joined from the divergences; the effect is that of the level against {}. Standard errors of single rows come with conditional=kernel.",
        own.levels[0]
    );
    table
}

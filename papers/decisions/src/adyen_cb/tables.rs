//! Tables of the report, and what is said of them in words.

use ream_lab::{Cell, Table};
use ream_stats::descriptive::{mean, standard_deviation};

use super::arms::{CONTROL, UNIFORM_PART, largest_gamma, squarecb, words};
use super::causes::Fitted;
use super::config::Config;
use super::experiment::{EARLY, Told};
use super::generations::{Generation, Trace};
use super::open_bandit::Valued;
use super::oracle::Class;
use super::oscillation::Oscillation;

fn rounded(value: f64) -> Cell {
    let scaled = (value * 1e5).round() / 1e5;
    Cell::Number(if scaled == 0.0 { 0.0 } else { scaled })
}

/// Mean and standard error over worlds; no error of one.
pub(crate) fn over_worlds(values: &[f64]) -> (f64, Option<f64>) {
    let root = (values.len() as f64).sqrt();
    (mean(values).unwrap_or(0.0), standard_deviation(values).ok().map(|sd| sd / root))
}

/// The cells of a mean and its standard error.
fn pair(values: &[f64]) -> [Cell; 2] {
    let (mean, se) = over_worlds(values);
    [rounded(mean), se.map_or(Cell::Empty, rounded)]
}

/// The arms' names, in the order of the first world.
fn names(worlds: &[Told]) -> Vec<&str> {
    worlds.first().map_or_else(Vec::new, |told| {
        let everywhere = |name: &&str| worlds.iter().all(|told| told.arm(name).is_some());
        told.traces.iter().map(|trace| trace.name.as_str()).filter(everywhere).collect()
    })
}

fn of_arm(worlds: &[Told], name: &str, of: impl Fn(&Told, &Trace) -> f64) -> Vec<f64> {
    worlds.iter().filter_map(|told| Some(of(told, told.arm(name)?))).collect()
}

/// A figure of an arm, of U in the same worlds, and their paired difference.
fn with_difference(worlds: &[Told], name: &str, of: impl Fn(&Trace) -> f64) -> Vec<Cell> {
    let (arm, u) = (of_arm(worlds, name, |_, t| of(t)), of_arm(worlds, UNIFORM_PART, |_, t| of(t)));
    let difference: Vec<f64> = arm.iter().zip(&u).map(|(a, u)| a - u).collect();
    [pair(&arm), pair(&difference)].concat()
}

/// Rewards, diagnostics and swings of every arm, over worlds.
pub(crate) fn of_worlds(config: &Config, class: Class, worlds: &[Told], gap: f64) -> Vec<Table> {
    let last = config.generations;
    let note = format!(
        "Means over {} world(s), standard errors over worlds, differences to U paired by world. Played: \
         exact expected reward of the policy. Greedy: of the model's best \
         actions on payments that all models share. Realizability gap of {}: {gap:.4} nats.",
        worlds.len(),
        class.name()
    );
    let mut rewards = Table::new(
        format!("Rewards, {}", class.name()),
        &[
            "arm",
            "what",
            "played 1-6",
            "s.e.",
            "less U",
            "s.e.",
            "greedy 2-G",
            "s.e.",
            "less U",
            "s.e.",
            "greedy 1",
            "greedy 2",
        ],
    );
    let best: Vec<f64> = worlds
        .iter()
        .map(|t| t.optimum.iter().take(EARLY).sum::<f64>() / t.optimum.len().clamp(1, EARLY) as f64)
        .collect();
    let u = of_arm(worlds, UNIFORM_PART, |_, t| t.mean(1, EARLY, |g| g.played));
    let above: Vec<f64> = best.iter().zip(&u).map(|(a, u)| a - u).collect();
    let optimum =
        [vec!["optimum".into(), words("optimum").into()], [pair(&best), pair(&above)].concat()].concat();
    for name in names(worlds) {
        let at = |g: usize| rounded(over_worlds(&of_arm(worlds, name, |_, t| t.mean(g, g, |g| g.greedy))).0);
        rewards = rewards.row(
            [
                vec![name.into(), words(name).into()],
                with_difference(worlds, name, |t| t.mean(1, EARLY, |g| g.played)),
                with_difference(worlds, name, |t| t.mean(2, last, |g| g.greedy)),
                vec![at(1), at(2)],
            ]
            .concat(),
        );
    }
    rewards = rewards.row(optimum);
    rewards.note = note.clone();
    vec![rewards, diagnostics(config, class, worlds, &note), swings(class, worlds, &note)]
}

type Figure = fn(&Generation) -> f64;

/// Diagnostics, each a mean over generations `2..=G`.
const DIAGNOSTICS: [(&str, Figure); 13] = [
    ("exploration", |g| g.exploration),
    ("realised", |g| g.realised),
    ("regret", |g| g.optimum - g.played),
    ("log loss traffic", |g| g.on_traffic.log_loss),
    ("AUC traffic", |g| g.on_traffic.auc.unwrap_or(0.5)),
    ("ECE traffic", |g| g.on_traffic.calibration_error),
    ("log loss uniform", |g| g.on_uniform.log_loss),
    ("AUC uniform", |g| g.on_uniform.auc.unwrap_or(0.5)),
    ("ECE uniform", |g| g.on_uniform.calibration_error),
    ("positive rate", |g| g.data.positive_rate),
    ("action entropy", |g| g.data.action_entropy),
    ("effective share", |g| g.data.effective_share),
    ("coverage", |g| g.data.coverage),
];

fn diagnostics(config: &Config, class: Class, worlds: &[Told], note: &str) -> Table {
    let columns: Vec<&str> = ["arm"]
        .into_iter()
        .chain(DIAGNOSTICS.iter().flat_map(|(name, _)| [*name, "s.e.", "less U"]))
        .collect();
    let title = format!("Models and their data, {}, generations 2 to {}", class.name(), config.generations);
    let mut table = Table::new(title, &columns);
    for name in names(worlds) {
        let mut row = vec![Cell::from(name)];
        for (_, figure) in DIAGNOSTICS {
            row.extend(
                with_difference(worlds, name, |t| t.mean(2, config.generations, figure)).into_iter().take(3),
            );
        }
        table = table.row(row);
    }
    note.clone_into(&mut table.note);
    table
}

fn swing(told: &Told, trace: &Trace) -> Option<Oscillation> {
    Oscillation::of(&trace.regrets(), &told.arm(CONTROL)?.regrets())
}

fn swings(class: Class, worlds: &[Told], note: &str) -> Table {
    let columns = [
        "arm",
        "amplitude",
        "s.e.",
        "less U",
        "reversals",
        "s.e.",
        "less U",
        "sign flips",
        "lag-1 autocorrelation",
    ];
    let mut table = Table::new(format!("Swings of the greedy value, {}", class.name()), &columns);
    for name in names(worlds) {
        let of = |name: &str, figure: fn(&Oscillation) -> f64| -> Vec<f64> {
            worlds.iter().filter_map(|told| Some(figure(&swing(told, told.arm(name)?)?))).collect()
        };
        let three = |figure| {
            let (arm, u) = (of(name, figure), of(UNIFORM_PART, figure));
            let less: Vec<f64> = arm.iter().zip(&u).map(|(a, u)| a - u).collect();
            [pair(&arm).to_vec(), vec![rounded(over_worlds(&less).0)]].concat()
        };
        let mean_of = |figure| rounded(over_worlds(&of(name, figure)).0);
        let row = [
            vec![Cell::from(name)],
            three(|o| o.amplitude),
            three(|o| o.reversals),
            vec![mean_of(|o| o.flip_rate), mean_of(|o| o.lag_one)],
        ];
        table = table.row(row.concat());
    }
    table.note = format!(
        "Amplitude: standard deviation over generations 2 to G over that of the control ({CONTROL}). \
         Reversals: turns of more than two control deviations. Independent noise flips \
         its sign 2/3 of the time and has a lag-1 autocorrelation of differences of -1/2. {note}"
    );
    table
}

/// Generations after the first below which differences say nothing of a period.
const FEWEST_FOR_A_PERIOD: usize = 6;

/// Says plainly whether the swings of the largest gamma are more than noise, and whether they have a period.
/// None without a control that varies.
pub(crate) fn about_swings(config: &Config, class: Class, worlds: &[Told]) -> Option<String> {
    let arm = squarecb(largest_gamma(config));
    let of = |name: &str| -> Vec<Oscillation> {
        worlds.iter().filter_map(|told| swing(told, told.arm(name)?)).collect()
    };
    let (swings, control) = (of(&arm), of(CONTROL));
    if swings.is_empty() {
        return None;
    }
    let mean_of = |all: &[Oscillation], figure: fn(&Oscillation) -> f64| {
        over_worlds(&all.iter().map(figure).collect::<Vec<_>>())
    };
    let amplitude = mean_of(&swings, |o| o.amplitude).0;
    let (flips, se) = mean_of(&swings, |o| o.flip_rate);
    let (lag, lag_se) = mean_of(&swings, |o| o.lag_one);
    let (of_control, lag_of_control) =
        (mean_of(&control, |o| o.flip_rate).0, mean_of(&control, |o| o.lag_one).0);
    let size = if amplitude >= 2.0 {
        format!("{amplitude:.1} times the noise of estimation")
    } else {
        format!("{amplitude:.1} times the noise of estimation, less than twice it")
    };
    let length = worlds.first().and_then(|told| told.arm(&arm)).map_or(0, |trace| trace.regrets().len());
    let (Some(se), Some(lag_se), true) = (se, lag_se, length >= FEWEST_FOR_A_PERIOD) else {
        let few = format!(
            "{} world(s) of {length} generations are few to tell whether they have a period",
            worlds.len()
        );
        return Some(format!("{arm}, {}: swings are {size}; {few}", class.name()));
    };
    let like_noise = (flips - of_control).abs() <= 2.0 * se && (lag - lag_of_control).abs() <= 2.0 * lag_se;
    let period = if like_noise {
        "the swings look like noise without a period"
    } else {
        "the order of the swings is not that of independent noise"
    };
    Some(format!(
        "{arm}, {}: swings are {size}; differences flip their sign {flips:.2} of the time (control \
         {of_control:.2}, independent noise 0.67), lag-1 autocorrelation {lag:.2} (control \
         {lag_of_control:.2}, noise -0.5): {period}",
        class.name()
    ))
}

/// The refits of [`super::causes`].
pub(crate) fn of_causes(class: Class, fitted: &[Fitted], gap: f64) -> Table {
    let columns = [
        "rows of",
        "rows",
        "positive rate",
        "best action",
        "coverage",
        "effective share",
        "training log loss",
        "greedy",
        "less generation 1",
    ];
    let one = fitted.iter().find(|f| f.name == "generation-1").map_or(0.0, |f| f.greedy);
    let table = fitted.iter().fold(
        Table::new(format!("What makes the second model worse, {}, first world", class.name()), &columns),
        |table, f| {
            table.row(vec![
                f.name.as_str().into(),
                Cell::Number(f.data.rows),
                rounded(f.data.positive_rate),
                rounded(f.best_share),
                rounded(f.data.coverage),
                rounded(f.data.effective_share),
                rounded(f.training_log_loss),
                rounded(f.greedy),
                rounded(f.greedy - one),
            ])
        },
    );
    Table {
        note: format!(
            "class-balanced takes the imbalance of generation 1 away, coverage-matched gives it the cells \
             and actions of generation 0, coverage-thinned takes from uniform rows what \
             generation 1 lacks. Realizability gap: {gap:.4} nats."
        ),
        ..table
    }
}

/// The arms of one world; `gap` is how far the class of models is from the truth there.
pub(crate) fn of_one_world(title: &str, last: usize, told: &Told, gap: f64) -> Table {
    let columns = [
        "arm",
        "what",
        "played 1-6",
        "less U",
        "greedy 1",
        "greedy 2",
        "greedy 2-G",
        "less U",
        "positive rate",
        "coverage",
    ];
    let u = told.arm(UNIFORM_PART);
    let less =
        |trace: &Trace, of: &dyn Fn(&Trace) -> f64| u.map_or(Cell::Empty, |u| rounded(of(trace) - of(u)));
    let played = |t: &Trace| t.mean(1, EARLY, |g| g.played);
    let later = |t: &Trace| t.mean(2, last, |g| g.greedy);
    let table = told.traces.iter().fold(Table::new(title, &columns), |table, t| {
        table.row(vec![
            t.name.as_str().into(),
            words(&t.name).into(),
            rounded(played(t)),
            less(t, &played),
            rounded(t.mean(1, 1, |g| g.greedy)),
            rounded(t.mean(2, 2, |g| g.greedy)),
            rounded(later(t)),
            less(t, &later),
            rounded(t.mean(2, last, |g| g.data.positive_rate)),
            rounded(t.mean(2, last, |g| g.data.coverage)),
        ])
    });
    Table { note: format!("Exact expected rewards. Realizability gap: {gap:.4} nats."), ..table }
}

/// Estimated values with standard errors and intervals.
pub(crate) fn of_values(title: &str, values: &[Valued], (rows, positive): (usize, f64)) -> Table {
    let columns = [
        "policy",
        "estimator",
        "value",
        "std. err.",
        "z",
        "[0.025",
        "0.975]",
        "boot. low",
        "boot. high",
        "eff. rows",
    ];
    let table = values.iter().fold(Table::new(title, &columns), |table, of| {
        let v = &of.value;
        let normal = v.interval(0.95).ok();
        // Where no rewarded row has a weight there is no spread to estimate an error from.
        let shown = |figure: Option<f64>| figure.filter(|_| v.se > 0.0).map_or(Cell::Empty, Cell::Number);
        table.row(vec![
            of.policy.as_str().into(),
            of.estimator.into(),
            Cell::Number(v.value),
            shown(Some(v.se)),
            shown(Some(v.value / v.se)),
            shown(normal.map(|n| n.low)),
            shown(normal.map(|n| n.high)),
            shown(Some(of.interval.low)),
            shown(Some(of.interval.high)),
            Cell::Number(v.effective.round()),
        ])
    });
    Table {
        note: format!(
            "{rows} rows, {positive:.0} with a reward, mean reward {:.5}. IPS: inverse propensities; SNIPS: \
             self-normalised; DM: what the model promises (its error counts the rows, not the \
             model); DR: doubly robust. Normal and bootstrap intervals, 95 %. Effective rows: (sum w)^2 / sum w^2. \
             No error is shown where no rewarded row has a weight.",
            positive / rows.max(1) as f64
        ),
        ..table
    }
}

/// Intervals of this width next to the value itself are worth a word.
const WIDE: f64 = 0.5;
/// Below this many effective rows, or this share of all, an off-policy value hangs on a few of them.
const FEW_EFFECTIVE: f64 = 100.0;
const FEW_SHARE: f64 = 0.05;

/// What a reader of estimated values must know: that intervals are wide, which values hang on a few rows.
/// Nothing where there is nothing to say.
pub(crate) fn about_values(title: &str, values: &[Valued], (rows, positive): (usize, f64)) -> Vec<String> {
    let mut said = Vec::new();
    let mut widths: Vec<f64> = values
        .iter()
        .filter(|of| ["SNIPS", "DR"].contains(&of.estimator) && of.value.se > 0.0)
        .map(|of| (of.interval.high - of.interval.low) / of.value.value.abs().max(1e-12))
        .collect();
    widths.sort_by(f64::total_cmp);
    let middle = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
    if middle > WIDE {
        said.push(format!(
            "{title}: {rows} rows hold {positive:.0} rewards; half of the intervals of policies' values are \
             {middle:.1} times as wide as the value or more: do not read an order of policies from them"
        ));
    }
    let few = FEW_EFFECTIVE.max(FEW_SHARE * rows as f64);
    let thin = values.iter().filter(|of| of.estimator == "SNIPS" && of.value.effective < few);
    let names: Vec<String> = thin.map(|of| format!("{} ({:.0})", of.policy, of.value.effective)).collect();
    if !names.is_empty() {
        said.push(format!(
            "{title}: the values of {} hang on few effective rows of {rows}: the policy that was in force \
             hardly played what they would. Their intervals are too short, and the doubly robust value \
             leans on the model there",
            names.join(", ")
        ));
    }
    said
}

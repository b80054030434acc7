//! Pictures: rewards by generation, the probability of the best action, the data of each generation, swings,
//! off-policy values.

use ream_lab::{Figure, Layer, Panel};

use super::arms::{CHOSEN, CONTROL, UNIFORM_PART, is_drawn, largest_gamma, remedies, squarecb};
use super::config::Config;
use super::experiment::Told;
use super::generations::{Generation, Trace};
use super::open_bandit::Valued;
use super::oracle::Class;
use super::oscillation::deviation;
use super::policy::{Rule, largest};
use super::tables::over_worlds;

/// Bins of the gap between the two largest predictions.
const BINS: usize = 12;

/// The arms of the main pictures.
fn drawn<'a>(config: &Config, worlds: &'a [Told]) -> Vec<&'a str> {
    names(worlds).into_iter().filter(|name| is_drawn(config, name)).collect()
}

fn names(worlds: &[Told]) -> Vec<&str> {
    worlds.first().map_or_else(Vec::new, |told| told.traces.iter().map(|t| t.name.as_str()).collect())
}

/// Mean and standard error over worlds of a figure, generation by generation.
fn curve(worlds: &[Told], name: &str, of: &dyn Fn(&Generation) -> f64) -> Vec<(f64, Option<f64>)> {
    let series: Vec<Vec<f64>> =
        worlds.iter().filter_map(|told| told.arm(name)).map(|trace| trace.series(of)).collect();
    let length = series.iter().map(Vec::len).min().unwrap_or(0);
    (0..length).map(|g| over_worlds(&series.iter().map(|s| s[g]).collect::<Vec<_>>())).collect()
}

/// A line with a band of two standard errors; the control is dashed.
fn with_band(panel: Panel, name: &str, curve: &[(f64, Option<f64>)]) -> Panel {
    let label = if name == CONTROL { "control (uniform)" } else { name };
    let x: Vec<f64> = (1..=curve.len()).map(|g| g as f64).collect();
    let y: Vec<f64> = curve.iter().map(|(mean, _)| *mean).collect();
    let panel = if curve.iter().all(|(_, se)| se.is_some()) && !curve.is_empty() {
        let end = |sign: f64| curve.iter().map(|(mean, se)| mean + sign * 2.0 * se.unwrap_or(0.0)).collect();
        panel.layer(Layer::band(label, x.clone(), end(-1.0), end(1.0)))
    } else {
        panel
    };
    if name == CONTROL {
        panel.layer(Layer::dashed(label, x, y))
    } else {
        panel.layer(Layer::line(label, x, y))
    }
}

fn bands(worlds: &[Told]) -> String {
    if worlds.len() > 1 {
        format!("Means over {} worlds with bands of two standard errors.", worlds.len())
    } else {
        "One world.".to_owned()
    }
}

fn by_generation(
    (title, label): (&str, &str),
    names: &[&str],
    worlds: &[Told],
    of: &dyn Fn(&Generation) -> f64,
) -> Panel {
    let panel = Panel::new(title).x("generation").y(label);
    names.iter().fold(panel, |panel, name| with_band(panel, name, &curve(worlds, name, of)))
}

/// Played reward and greedy value by generation, less the best that could be played in the same world.
fn less_optimum(title: String, names: &[&str], worlds: &[Told]) -> Figure {
    let description = format!(
        "Left: exact expected reward of each policy in each generation, less that of the best actions in \
         the same world. Right: the same of the model's best actions on payments that all models share, so \
         that only the models differ; the dashed control is retrained on fresh uniform data of the same \
         size. {}",
        bands(worlds)
    );
    let label = "less the optimum";
    Figure::new(title, description)
        .panel(by_generation(("Played", label), names, worlds, &|g| g.played - g.optimum))
        .panel(by_generation(("Greedy value of the model", label), names, worlds, &|g| {
            g.greedy - g.greedy_optimum
        }))
        .columns(2)
}

/// Rewards of the system, U, E and the control.
pub(crate) fn rewards(config: &Config, class: Class, worlds: &[Told]) -> Figure {
    let title = format!("Reward by generation, {}", class.name());
    less_optimum(title, &drawn(config, worlds), worlds)
}

/// Rewards of the other policies, beside U and the control.
pub(crate) fn other_rewards(config: &Config, class: Class, worlds: &[Told]) -> Figure {
    let rest = |name: &&str| {
        [CONTROL, UNIFORM_PART].contains(name)
            || (!is_drawn(config, name)
                && *name != CHOSEN
                && !remedies(config).iter().any(|plan| plan.name == *name))
    };
    let names: Vec<&str> = names(worlds).into_iter().filter(rest).collect();
    less_optimum(format!("Reward by generation, other policies, {}", class.name()), &names, worlds)
}

/// Rewards of the remedies, beside what they are tried on and the control.
pub(crate) fn remedy_rewards(config: &Config, class: Class, worlds: &[Told]) -> Figure {
    let treated = squarecb(largest_gamma(config));
    let kept = |name: &&str| {
        *name == CONTROL || *name == treated || remedies(config).iter().any(|plan| plan.name == *name)
    };
    let names: Vec<&str> = names(worlds).into_iter().filter(kept).collect();
    less_optimum(format!("Reward by generation, remedies, {}", class.name()), &names, worlds)
}

/// Class balance and coverage of the training data by generation.
pub(crate) fn data(config: &Config, class: Class, worlds: &[Told]) -> Figure {
    let description = format!(
        "What the model of each generation was trained on. Left: share of approved payments. Right: share \
         of cells (levels of the first two features) and actions with five rows or more. {}",
        bands(worlds)
    );
    let names = drawn(config, worlds);
    Figure::new(format!("Class balance and coverage, {}", class.name()), description)
        .panel(by_generation(("Class balance", "share approved"), &names, worlds, &|g| g.data.positive_rate))
        .panel(by_generation(("Coverage", "share covered"), &names, worlds, &|g| g.data.coverage))
        .columns(2)
}

/// Differences of the greedy value from generation to generation beside the control's noise, in the first
/// world; none without two of them.
pub(crate) fn swings(config: &Config, class: Class, worlds: &[Told]) -> Option<Figure> {
    let told = worlds.first()?;
    let control = told.arm(CONTROL)?.regrets();
    let floor = deviation(&control);
    if control.len() < 2 || floor <= 0.0 {
        return None;
    }
    let steps = |trace: &Trace| -> Vec<f64> { trace.regrets().windows(2).map(|w| w[1] - w[0]).collect() };
    let x: Vec<f64> = (3..3 + control.len() - 1).map(|g| g as f64).collect();
    let edge = 2.0 * floor;
    let mut panel = Panel::new("First world")
        .x("generation")
        .y("change of the greedy value")
        .layer(Layer::band("two control deviations", x.clone(), vec![-edge; x.len()], vec![edge; x.len()]));
    for gamma in config.gammas.first().into_iter().chain([&largest_gamma(config)]) {
        if let Some(trace) = told.arm(&squarecb(*gamma)) {
            panel = panel.layer(Layer::line(&trace.name, x.clone(), steps(trace)));
        }
    }
    panel = panel.layer(Layer::dashed("control (uniform)", x, steps(told.arm(CONTROL)?)));
    let description = format!(
        "Change of the model's greedy value from one generation to the next, on payments that all models \
         share. The band is two standard deviations of the control's values ({floor:.4} each): what \
         stays inside may be the noise of estimation."
    );
    Some(Figure::new(format!("Swings, {}", class.name()), description).panel(panel))
}

/// Probability of the action of the largest prediction against its lead over the second.
pub(crate) fn best_action(gammas: &[f64], class: Class, predicted: &[Vec<f64>]) -> Figure {
    let description = "Payments of generation 1 with two or more actions, in bins of the gap between the \
    two largest predictions of the first model: mean probability of the action of the largest \
                       one. With a small gamma even a clear lead is explored against.";
    let mut rows: Vec<(f64, &Vec<f64>)> =
        predicted.iter().filter(|f| f.len() > 1).map(|f| (lead(f), f)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = rows.len().div_ceil(BINS).max(1);
    let middle = |bin: &[(f64, &Vec<f64>)]| bin.iter().map(|(gap, _)| gap).sum::<f64>() / bin.len() as f64;
    let x: Vec<f64> = rows.chunks(size).map(middle).collect();
    let panel = gammas.iter().fold(
        Panel::new("Best action").x("predicted gap").y("probability").range_y(0.0, 1.0),
        |panel, gamma| {
            let rule = Rule::Squarecb { gamma: *gamma };
            let chance = |bin: &[(f64, &Vec<f64>)]| {
                bin.iter().map(|(_, f)| rule.probabilities(f)[largest(f)]).sum::<f64>() / bin.len() as f64
            };
            panel.layer(Layer::line(
                format!("gamma {gamma}"),
                x.clone(),
                rows.chunks(size).map(chance).collect(),
            ))
        },
    );
    Figure::new(format!("Probability of the best action, {}", class.name()), description).panel(panel)
}

fn lead(predicted: &[f64]) -> f64 {
    let best = largest(predicted);
    let second = predicted
        .iter()
        .enumerate()
        .filter(|(a, _)| *a != best)
        .map(|(_, f)| *f)
        .fold(f64::NEG_INFINITY, f64::max);
    predicted[best] - second
}

/// Values of policies with their bootstrap intervals.
pub(crate) fn values(title: &str, values: &[Valued]) -> Figure {
    let mut policies: Vec<&str> = values.iter().map(|of| of.policy.as_str()).collect();
    policies.dedup();
    let mut panel = Panel::new("Value").y("mean reward").categories_x(policies.iter().copied());
    for (k, estimator) in ["IPS", "SNIPS", "DM", "DR", "mean"].into_iter().enumerate() {
        let of: Vec<&Valued> = values.iter().filter(|v| v.estimator == estimator).collect();
        if of.is_empty() {
            continue;
        }
        let place = |v: &&Valued| policies.iter().position(|p| *p == v.policy).unwrap_or(0) as f64;
        panel = panel.layer(Layer::Points {
            label: estimator.to_owned(),
            // Side by side, so that intervals do not cover each other.
            x: of.iter().map(|v| place(v) + 0.15 * (k as f64 - 1.5)).collect(),
            y: of.iter().map(|v| v.value.value).collect(),
            error: of.iter().map(|v| [v.interval.low, v.interval.high]).collect(),
            names: Vec::new(),
            shade: Vec::new(),
            shade_label: String::new(),
        });
    }
    let description = "Estimated mean reward of each policy with bootstrap 95 % intervals: inverse \
        propensities, self-normalised, direct (the model's promise) and doubly robust.";
    Figure::new(format!("Off-policy values, {title}"), description).panel(panel)
}

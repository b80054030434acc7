//! Pictures: regret, switches, visits, the confidence set, and the empirical complexity.

use ream_lab::{Figure, Layer, Panel};

use super::arms::Problem;
use super::experiment::{Coefficient, Told};

/// Lines of one picture; the rest of the learners stand in the table.
const MOST_LINES: usize = 9;

fn times(grid: &[u64]) -> Vec<f64> {
    grid.iter().map(|t| *t as f64).collect()
}

/// Values that a logarithmic axis can show.
fn positive(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| if *v > 0.0 { *v } else { f64::NAN }).collect()
}

/// `sqrt(t)` through the last point of the first curve.
fn root_line(grid: &[u64], last: f64) -> Layer {
    let x = times(grid);
    let end = x.last().copied().unwrap_or(1.0).sqrt();
    let y = x.iter().map(|t| last.max(1.0) * t.sqrt() / end).collect();
    Layer::dashed("square root of t", x, y)
}

fn is_drawn(name: &str) -> bool {
    !["best-fit", "replanning", "patient", "plain", "r-learning"].iter().any(|part| name.contains(part))
}

/// Regret and switches against time.
#[must_use]
pub(crate) fn regret(problem: &Problem, told: &[Told]) -> Figure {
    let description = "Left: regret along one trajectory (first seed) on logarithmic axes, with a line that grows like the \
                       square root of time. Right: updates of the hypothesis so far, against time on a logarithmic axis; \
                       a straight line is a + b log t.";
    let mut left = Panel::new("Regret").x("step").y("regret").log_x().log_y();
    let mut right = Panel::new("Switches").x("step").y("updates").log_x();
    let drawn = || told.iter().filter(|(arm, _)| is_drawn(&arm.name)).take(MOST_LINES);
    for (arm, trace) in drawn() {
        let x = times(&trace.grid);
        left = left.layer(Layer::line(&arm.name, x.clone(), positive(&trace.regret)));
        // What plans at every step would hide the others.
        let updates = trace.updates();
        if updates > 0.0 && updates < 0.05 * problem.horizon as f64 {
            right = right.layer(Layer::line(&arm.name, x, trace.switches.clone()));
        }
    }
    if let Some((_, trace)) = told.first() {
        left = left.layer(root_line(&trace.grid, trace.total()));
    }
    let title = format!("{}: regret and switches", problem.name);
    Figure::new(title, description).panel(left).panel(right).columns(2)
}

/// Mean regret of several seeds.
#[must_use]
pub(crate) fn mean_regret(problem: &Problem, grid: &[u64], means: &[(&str, Vec<f64>)], seeds: u64) -> Figure {
    let description = format!(
        "Mean regret over {seeds} seeds on logarithmic axes. The slope over the last decade is the exponent that is \
         judged; the dashed line grows like the square root of time."
    );
    let mut panel = Panel::new("Mean regret").x("step").y("regret").log_x().log_y();
    for (name, mean) in means {
        panel = panel.layer(Layer::line(*name, times(grid), positive(mean)));
    }
    if let Some((_, mean)) = means.first() {
        panel = panel.layer(root_line(grid, mean.last().copied().unwrap_or(1.0)));
    }
    Figure::new(format!("{}: mean regret", problem.name), description).panel(panel)
}

/// Where LOOP and epsilon-greedy were, slice by slice of time.
#[must_use]
pub(crate) fn visits(problem: &Problem, told: &[Told]) -> Figure {
    let description = "Share of steps in each state (top: state 0) in forty equal slices of time, from left to right. A \
                       learner that finds the far reward moves to the bottom row.";
    let mut figure = Figure::new(format!("{}: where learners are", problem.name), description).columns(2);
    let shown = |name: &str| {
        name.starts_with("finite-c")
            || name.starts_with("tabular-mle-c")
            || name == "ucrl2"
            || name == "differential-q"
    };
    for (arm, trace) in told.iter().filter(|(arm, _)| shown(&arm.name)) {
        let slices = trace.visits.len();
        let values: Vec<Vec<f64>> = (0..problem.mdp.states())
            .map(|s| {
                let share =
                    |slice: &Vec<u32>| f64::from(slice[s]) / f64::from(slice.iter().sum::<u32>().max(1));
                trace.visits.iter().map(share).collect()
            })
            .collect();
        let names: Vec<String> = (0..problem.mdp.states()).map(|s| s.to_string()).collect();
        let label =
            |i: usize| if i.is_multiple_of(10) { format!("{}%", 100 * i / slices) } else { String::new() };
        figure = figure.panel(
            Panel::new(&arm.name)
                .x("part of the run")
                .y("state")
                .categories_x((0..slices).map(label))
                .categories_y(names)
                .layer(Layer::heat("share of steps", values)),
        );
    }
    figure
}

/// The range of gains in the confidence set at every update.
#[must_use]
pub(crate) fn confidence_sets(problem: &Problem, told: &[Told]) -> Option<Figure> {
    let description = "Least and greatest gain of the hypotheses in the confidence set at each update of the finite \
                       instance. The set shrinks towards the true gain; following its upper end is optimism.";
    let mut figure =
        Figure::new(format!("{}: the confidence set shrinks", problem.name), description).columns(2);
    let mut any = false;
    for (arm, trace) in told.iter().filter(|(_, trace)| !trace.ranges.is_empty()) {
        any = true;
        let mut x: Vec<f64> = trace.ranges.iter().map(|(t, _)| *t as f64).collect();
        let mut low: Vec<f64> = trace.ranges.iter().map(|(_, range)| range[0]).collect();
        let mut high: Vec<f64> = trace.ranges.iter().map(|(_, range)| range[1]).collect();
        // The last set is in force until the end.
        x.push(problem.horizon as f64);
        low.push(low.last().copied().unwrap_or(0.0));
        high.push(high.last().copied().unwrap_or(0.0));
        figure = figure.panel(
            Panel::new(&arm.name)
                .x("step")
                .y("gain")
                .log_x()
                .layer(Layer::band("set", x.clone(), low, high.clone()))
                .layer(Layer::line("followed", x, high))
                .layer(Layer::rule("true gain", problem.gain)),
        );
    }
    any.then_some(figure)
}

/// `d_hat` beside the dimension.
#[must_use]
pub(crate) fn coefficients(of: &[Coefficient]) -> Figure {
    let description = "Empirical complexity d_hat of LOOP's own trajectory (first seed) beside states times actions, or the \
                       dimension of the linear class.";
    let panel = Panel::new("d_hat and dimension")
        .y("d")
        .categories_x(of.iter().map(|c| c.label.clone()))
        .layer(Layer::bars("d_hat", of.iter().map(|c| c.value).collect()))
        .layer(Layer::bars("dimension", of.iter().map(|c| c.dimension).collect()));
    Figure::new("Empirical complexity", description).panel(panel)
}

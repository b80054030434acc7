//! Pictures: intervals and widths against the propensity, errors against rows, intervals of effects.

use ream_lab::{Figure, Layer, Panel};

use super::divergence::Divergence;
use super::experiment::Ribbon;

/// Intervals that are drawn as ribbons.
const RIBBONS: [&str; 2] = ["k5", "k-agg"];

/// Order of the points along the propensity.
fn order(e: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..e.len()).collect();
    order.sort_by(|a, b| e[*a].total_cmp(&e[*b]));
    order
}

/// The truth and the joined intervals against the propensity.
#[must_use]
pub(crate) fn ribbon(study: &str, e_label: &str, of: &Ribbon) -> Figure {
    let description = "Interval of E[Y | do(1), x] at every point, in the order of the propensity: the loosest of the divergences (k5) and the tightest \
                       that is not empty (k-agg), with the truth as points.";
    let order = order(&of.e);
    let along = |v: &[f64]| -> Vec<f64> { order.iter().map(|i| v[*i]).collect() };
    let x = along(&of.e);
    let mut figure =
        Figure::new(format!("{study}: intervals against the propensity"), description).columns(2);
    for (name, intervals) in of.arms.iter().filter(|(name, _)| RIBBONS.contains(&name.as_str())) {
        let low: Vec<f64> = order.iter().map(|i| intervals[*i].0).collect();
        let high: Vec<f64> = order.iter().map(|i| intervals[*i].1).collect();
        // A band needs its low end below its high one; crossed points are drawn as a gap.
        let open = |v: &[f64]| -> Vec<f64> {
            v.iter().enumerate().map(|(i, v)| if low[i] <= high[i] { *v } else { f64::NAN }).collect()
        };
        figure = figure.panel(
            Panel::new(name)
                .x(e_label)
                .y("E[Y | do(1), x]")
                .layer(Layer::band("interval", x.clone(), open(&low), open(&high)))
                .layer(Layer::points("truth", x.clone(), along(&of.truth))),
        );
    }
    figure
}

/// Width of every divergence's interval against the propensity.
#[must_use]
pub(crate) fn widths(study: &str, e_label: &str, of: &Ribbon) -> Figure {
    let description = "Width of the interval of E[Y | do(1), x] at every point. A more probable treatment leaves less room for the hidden part of the world.";
    let mut panel = Panel::new("").x(e_label).y("width");
    for (name, intervals) in of.arms.iter().filter(|(name, _)| !RIBBONS.contains(&name.as_str())) {
        let widths = intervals.iter().map(|(l, u)| u - l).collect();
        panel = panel.layer(Layer::points(name, of.e.clone(), widths));
    }
    Figure::new(format!("{study}: width against the propensity"), description).panel(panel)
}

/// Distance from the oracle against the number of rows.
#[must_use]
pub(crate) fn rmse(sizes: &[usize], curves: &[(Divergence, [Vec<f64>; 2])]) -> Figure {
    let description = "Root mean squared difference of the ends from those of the same networks with the true propensity, when the propensity carries noise of \
                       mean and deviation n^(-1/4); first seed. Both axes are logarithmic.";
    let x: Vec<f64> = sizes.iter().map(|n| *n as f64).collect();
    let mut figure = Figure::new("Error against rows with a noisy propensity", description).columns(3);
    for (d, [debiased, plain]) in curves {
        figure = figure.panel(
            Panel::new(d.name())
                .x("rows")
                .y("RMSE to the oracle")
                .log_x()
                .log_y()
                .layer(Layer::line("debiased loss", x.clone(), debiased.clone()))
                .layer(Layer::dashed("plain loss", x.clone(), plain.clone())),
        );
    }
    figure
}

/// Intervals of an effect, one line each.
#[must_use]
pub(crate) fn effects(
    title: &str,
    unit: &str,
    intervals: &[(String, (f64, f64))],
    truth: Option<f64>,
) -> Figure {
    let mut panel = Panel::new("").x(unit).layer(Layer::Dumbbell {
        from_label: "lower end".into(),
        to_label: "upper end".into(),
        names: intervals.iter().map(|(name, _)| name.clone()).collect(),
        from: intervals.iter().map(|(_, ends)| ends.0).collect(),
        to: intervals.iter().map(|(_, ends)| ends.1).collect(),
        shade: Vec::new(),
        shade_label: String::new(),
    });
    panel = match truth {
        Some(truth) => panel.layer(Layer::vertical("experiment", truth)),
        None => panel.layer(Layer::vertical("no effect", 0.0)),
    };
    Figure::new(title, "Intervals of the average effect: the divergences, what is joined from them, Manski's bounds, and the marginal sensitivity model.")
        .panel(panel)
}

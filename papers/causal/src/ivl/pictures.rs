//! Pictures: sweeps, methods on the optical device, coefficients, digits, the k-class on Card's data.

use ream_lab::{Figure, Layer, Panel};
use ream_stats::descriptive;

use super::curves::Curve;
use super::optical::{Averaged, Experiment};

/// A method with its accuracies: colours reversed, colours as in training.
pub(crate) type Judged = (String, f64, f64);

fn with_band(mut panel: Panel, curve: &Curve) -> Panel {
    panel = panel.layer(Layer::band(&curve.arm, curve.x.clone(), curve.low.clone(), curve.high.clone()));
    panel.layer(Layer::line(&curve.arm, curve.x.clone(), curve.mean.clone()))
}

/// nCER against the strength of confounding and of augmentation.
#[must_use]
pub(crate) fn sweeps(kappa: &[Curve], gamma: &[Curve]) -> Figure {
    let description = "Linear simulation: mean nCER (0 is the truth, 0.5 is a fit that is 0 everywhere, 1 is pure confounding) with \
                       95 % bootstrap bands over data sets. Left: how strongly the confounder acts. Right: how strongly inputs are \
                       augmented.";
    let left = Panel::new("Confounding").x("kappa").y("nCER").range_y(0.0, 1.0);
    let right = Panel::new("Augmentation").x("gamma").y("nCER").log_x().range_y(0.0, 1.0);
    Figure::new("Confounding and augmentation", description)
        .panel(kappa.iter().fold(left, with_band))
        .panel(gamma.iter().fold(right, with_band))
        .columns(2)
}

/// nCER along alpha: a curve with both ends as rules, and the best alpha, which only an oracle knows.
#[must_use]
pub(crate) fn alpha_sweep(title: &str, curve: &Curve, zero: f64, infinity: f64) -> Figure {
    let description = "Mean nCER of IVL along alpha with a 95 % bootstrap band. The rules are both ends: alpha to 0 (instrumental \
                       variables alone) and to infinity (DA+ERM). The dotted line marks the best alpha, which is known only to an \
                       oracle that has the truth.";
    let best = (0..curve.mean.len())
        .min_by(|&a, &b| curve.mean[a].total_cmp(&curve.mean[b]))
        .map_or(f64::NAN, |k| curve.x[k]);
    let low =
        curve.low.iter().copied().fold(1.0, f64::min).min(curve.mean.iter().copied().fold(1.0, f64::min));
    let panel = with_band(Panel::new("").x("alpha").y("nCER").log_x(), curve)
        .layer(Layer::rule("alpha to 0 (DA+IV)", zero))
        .layer(Layer::rule("alpha to infinity (DA+ERM)", infinity))
        .layer(Layer::Line {
            label: "best alpha (oracle)".into(),
            x: vec![best, best],
            y: vec![low, curve.high.iter().copied().fold(zero.max(infinity), f64::max)],
            dashed: true,
        });
    Figure::new(title, description).panel(panel)
}

/// nCER of every method over experiments: median, quartiles, and each experiment.
#[must_use]
pub(crate) fn methods(names: &[String], values: &[Vec<f64>]) -> Figure {
    let description = "Optical device: nCER of each method. Small marks are experiments; the large mark is the median with the \
                       quartiles as its bar.";
    let quantile = |v: &[f64], q: f64| descriptive::quantile(v, q).unwrap_or(f64::NAN);
    let places = |k: usize, count: usize| vec![k as f64; count];
    let mut panel = Panel::new("").x("method").y("nCER").categories_x(names.iter().cloned());
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (k, of) in values.iter().enumerate() {
        x.extend(places(k, of.len()));
        y.extend_from_slice(of);
    }
    panel = panel.layer(Layer::points("experiments", x, y));
    let medians = Layer::Points {
        label: "median and quartiles".into(),
        x: (0..values.len()).map(|k| k as f64).collect(),
        y: values.iter().map(|v| quantile(v, 0.5)).collect(),
        error: values.iter().map(|v| [quantile(v, 0.25), quantile(v, 0.75)]).collect(),
        names: Vec::new(),
        shade: Vec::new(),
        shade_label: String::new(),
    };
    Figure::new("Methods on the optical device", description).panel(panel.layer(medians))
}

/// Coefficients of one experiment beside the truth.
#[must_use]
pub(crate) fn coefficients(of: &Experiment, fits: &Averaged) -> Figure {
    let description = "Coefficients of the nine pixels: the truth (given the diode) and what methods that do not see the diode find.";
    let mut panel = Panel::new("")
        .x("pixel")
        .y("coefficient")
        .categories_x((1..=of.truth.len()).map(|j| format!("x{j}")))
        .layer(Layer::bars("truth", of.truth.clone()));
    for (name, h) in fits.arms.iter().filter(|(name, _)| ["erm", "da-erm", "ivl-cc"].contains(&name.as_str()))
    {
        panel = panel.layer(Layer::bars(name, h.clone()));
    }
    let title = format!("Optical device, experiment {}, diode at {}", of.number, of.brightness);
    Figure::new(title, description).panel(panel)
}

/// Coloured digits, raw and changed.
#[must_use]
pub(crate) fn digits(pixels: Vec<Vec<u8>>, captions: Vec<String>, side: usize) -> Figure {
    let description = "Training digits with the colour that goes with their (noisy) label, each beside a change of the augmentation: \
                       other gains of both channels, a shift by at most a pixel.";
    let images = Layer::Images { width: side, height: side, pixels, captions, columns: 8 };
    Figure::new("Coloured digits", description).panel(Panel::new("").layer(images))
}

/// Accuracy under reversed colour.
#[must_use]
pub(crate) fn accuracies(panels: &[(&str, Vec<Judged>)]) -> Figure {
    let description = "Share of right labels on test digits, first seed: with colours as in training, and with colours reversed. A \
                       quarter of the labels is turned, so that 0.75 is the most that shape allows.";
    let mut figure = Figure::new("Coloured digits: accuracy", description);
    for (title, arms) in panels {
        let panel = Panel::new(*title)
            .x("method")
            .y("accuracy")
            .categories_x(arms.iter().map(|(name, ..)| name.clone()))
            .layer(Layer::bars("colours reversed", arms.iter().map(|(_, reversed, _)| *reversed).collect()))
            .layer(Layer::bars("colours as in training", arms.iter().map(|(.., seen)| *seen).collect()));
        figure = figure.panel(panel);
    }
    figure
}

/// One coefficient along kappa, `[kappa, estimate, low, high]`.
#[must_use]
pub(crate) fn k_class(title: &str, what: &str, path: &[[f64; 4]]) -> Figure {
    let description = "The k-class estimate from least squares (kappa 0) to two-stage least squares (kappa 1), with its 95 % band \
                       (HC1). kappa = 1 / (1 + alpha) is IVL.";
    let column = |k: usize| path.iter().map(|p| p[k]).collect::<Vec<f64>>();
    let panel = Panel::new("")
        .x("kappa")
        .y(what)
        .layer(Layer::band("95 % interval", column(0), column(2), column(3)))
        .layer(Layer::line("estimate", column(0), column(1)));
    Figure::new(title, description).panel(panel)
}

/// The gap between IVL and the stronger augmentation against the number of rows.
#[must_use]
pub(crate) fn equivalence(rows: &[f64], gaps: &[f64]) -> Figure {
    let description = "Relative distance of IVL's coefficients from those of DA+ERM at strength gamma sqrt((1 + alpha) / alpha), on the \
                       same draws (first seed). It is sampling noise, and falls like one over the square root of the rows.";
    let expected: Vec<f64> = rows
        .iter()
        .map(|n| gaps.first().copied().unwrap_or(0.0) * (rows.first().copied().unwrap_or(1.0) / n).sqrt())
        .collect();
    let panel = Panel::new("")
        .x("rows")
        .y("relative distance")
        .log_x()
        .log_y()
        .layer(Layer::line("distance", rows.to_vec(), gaps.to_vec()))
        .layer(Layer::dashed("one over the square root", rows.to_vec(), expected));
    Figure::new("IVL is a stronger augmentation", description).panel(panel)
}

//! Pictures.

use ream_lab::{Figure, Layer, Panel, Result};
use ream_stats::density::{Bandwidth, Kde};

use super::card::{Calibration, Card, Method, failed};

/// Points of a scatter beyond which every so-manieth is drawn.
const MOST_POINTS: usize = 1500;
/// Points of a curve.
const CURVE: usize = 161;

fn thinned(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(MOST_POINTS).max(1))
}

fn grid(low: f64, high: f64) -> Vec<f64> {
    (0..CURVE).map(|k| low + (high - low) * k as f64 / (CURVE - 1) as f64).collect()
}

fn range<'a>(values: impl IntoIterator<Item = &'a f64>) -> (f64, f64) {
    values.into_iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)))
}

/// Truth and prediction with both regression lines.
pub(crate) fn scatter(title: &str, sample: &Calibration, card: &Card) -> Figure {
    let c = &card.correction;
    let rows: Vec<usize> = thinned(sample.truth.len()).collect();
    let at = |v: &[f64]| rows.iter().map(|&i| v[i]).collect::<Vec<f64>>();
    let (low, high) = range(&sample.truth);
    let (left, right) = range(&sample.predictions);
    let ends = vec![low, high];
    let description = "Held-out predictions against the truth. The line of predictions on truth has slope b, which attenuates effects \
                       and which the linear correction inverts. The line of truth on predictions (drawn over the predictions' range) is \
                       another one: a predictor may be perfectly calibrated in its sense and still attenuate.";
    let panel = Panel::new(format!("b = {:.3}, R2 = {:.3}", c.line.slope, card.r_squared))
        .x("truth")
        .y("prediction")
        .layer(Layer::points("place", at(&sample.truth), at(&sample.predictions)))
        .layer(Layer::line("prediction on truth", ends.clone(), ends.iter().map(|y| c.line.at(*y)).collect()))
        .layer(Layer::line(
            "truth on prediction",
            vec![c.forward.at(left), c.forward.at(right)],
            vec![left, right],
        ))
        .layer(Layer::dashed("equal", ends.clone(), ends));
    Figure::new(format!("{title}: truth and prediction"), description).panel(panel)
}

/// Estimated against true effects, a panel for each arm.
pub(crate) fn effects(title: &str, arms: &[(&str, Vec<(f64, f64)>)]) -> Figure {
    let description = "One point for each trial: the effect measured on the map against the same estimator on the truth. On the dashed \
                       line both are equal.";
    let all: Vec<f64> = arms.iter().flat_map(|(_, pairs)| pairs.iter().flat_map(|(a, b)| [*a, *b])).collect();
    let (low, high) = range(&all);
    let figure = Figure::new(format!("{title}: estimated and true effects"), description).columns(2);
    arms.iter().fold(figure, |figure, (arm, pairs)| {
        let (x, y) = pairs.iter().copied().unzip();
        figure.panel(
            Panel::new(*arm)
                .x("true effect")
                .y("estimate")
                .range_x(low, high)
                .range_y(low, high)
                .layer(Layer::points("trial", x, y))
                .layer(Layer::dashed("equal", vec![low, high], vec![low, high])),
        )
    })
}

/// Densities of truth, predictions and corrected predictions.
pub(crate) fn densities(title: &str, sample: &Calibration, card: &Card) -> Result<Figure> {
    let corrected = |m: Method| card.correction.corrected(m, &sample.predictions);
    let series = [
        ("truth", sample.truth.clone()),
        ("prediction", sample.predictions.clone()),
        ("lcc", corrected(Method::Lcc)),
        ("tweedie", corrected(Method::Tweedie)),
    ];
    let all: Vec<f64> = series.iter().flat_map(|(_, v)| v.iter().copied()).collect();
    let (low, high) = range(&all);
    let x = grid(low, high);
    let mut panel = Panel::new("").x("value").y("density");
    for (name, values) in &series {
        let kde = Kde::new(values, None, Bandwidth::Scott).map_err(failed)?;
        panel = panel.layer(Layer::line(*name, x.clone(), x.iter().map(|x| kde.density(*x)).collect()));
    }
    let description = "Predictions crowd around the mean. Corrected ones are spread more widely than the truth itself: that is the price \
                       of unbiased effects, and makes each of them a worse prediction of its own place.";
    Ok(Figure::new(format!("{title}: densities"), description).panel(panel))
}

/// The score curve, and where it takes predictions.
pub(crate) fn score(title: &str, sample: &Calibration, card: &Card) -> Figure {
    let c = &card.correction;
    let mut sorted = sample.predictions.clone();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| sorted[((sorted.len() - 1) as f64 * q) as usize];
    let shares: Vec<f64> = [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99].to_vec();
    let from: Vec<f64> = shares.iter().map(|q| quantile(*q)).collect();
    let to: Vec<f64> = from.iter().map(|z| c.apply(Method::Tweedie, *z)).collect();
    let description = "Left: derivative of the log-density of recentred predictions. Positive below the mode, where points move down, \
                       and negative above it, where they move up: away from the mean, by sigma squared times the score. Right: where \
                       quantiles of the predictions go.";
    Figure::new(format!("{title}: score and shifts"), description)
        .columns(2)
        .panel(
            Panel::new(format!("sigma = {:.3}", c.sigma))
                .x("recentred prediction")
                .y("score")
                .layer(Layer::line("score", c.curve.grid(), c.curve.scores().to_vec()))
                .layer(Layer::rule("no shift", 0.0)),
        )
        .panel(
            Panel::new("shifts")
                .x("prediction and corrected prediction")
                .categories_y(shares.iter().map(|q| format!("{:.0} %", 100.0 * q)))
                .layer(Layer::Dumbbell {
                    from_label: "prediction".to_owned(),
                    to_label: "corrected".to_owned(),
                    names: shares.iter().map(|q| format!("{:.0} %", 100.0 * q)).collect(),
                    from,
                    to,
                    shade: Vec::new(),
                    shade_label: String::new(),
                }),
        )
}

/// Errors against the number of fresh labels.
pub(crate) fn labels(title: &str, rivals: &[(&str, Vec<(f64, f64)>)], levels: &[(&str, f64)]) -> Figure {
    let description = "Root mean square error of effects with so many fresh labels from the trial's own places. The straight lines need \
                       no labels.";
    let mut panel = Panel::new("").x("fresh labels").y("error").log_x().log_y();
    for (name, points) in rivals {
        let (x, y) = points.iter().copied().unzip();
        panel = panel.layer(Layer::line(*name, x, y));
    }
    for (name, error) in levels {
        panel = panel.layer(Layer::rule(*name, *error));
    }
    Figure::new(format!("{title}: error and labels"), description).panel(panel)
}

/// A row of the table of effects, for the picture.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) interval: [f64; 2],
}

/// Effects of a trial with their intervals.
pub(crate) fn forest(told: &[Told]) -> Figure {
    let panel = Panel::new("")
        .y("effect")
        .categories_x(told.iter().map(|t| t.name.clone()))
        .layer(Layer::Points {
            label: "effect".to_owned(),
            x: (0..told.len()).map(|k| k as f64).collect(),
            y: told.iter().map(|t| t.value).collect(),
            error: told.iter().map(|t| t.interval).collect(),
            names: Vec::new(),
            shade: Vec::new(),
            shade_label: String::new(),
        })
        .layer(Layer::rule("none", 0.0));
    let description =
        "The effect in your trial by method, with intervals. The naive one is too small by the factor b.";
    Figure::new("Effects", description).panel(panel)
}

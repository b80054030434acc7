//! The pictures: losses and agreement over training, other inputs, the learned matrices, sine curves, what is copied.

use super::compare::Alignment;
use super::lsa::Pair;
use super::sine::Curve;
use ream_lab::{Figure, Layer, Panel};

/// A curve over training: steps, and one value for each.
pub type Series = (Vec<f64>, Vec<f64>);

/// A line without its points that are no numbers.
fn line(label: &str, (x, y): Series, dashed: bool) -> Layer {
    let (x, y) = x.into_iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite()).unzip();
    Layer::Line { label: label.to_owned(), x, y, dashed }
}

/// (1) Query loss over training, with a horizontal line for each baseline.
pub fn training(title: &str, curve: Series, baselines: &[(&str, f64)]) -> Figure {
    let mut panel = Panel::new("").x("training step").y("query loss").layer(line("trained", curve, false));
    for (label, value) in baselines.iter().filter(|(_, value)| value.is_finite()) {
        panel = panel.layer(Layer::Rule { label: (*label).to_owned(), value: *value, vertical: false });
    }
    let description = "Mean query loss on tasks that are not trained on. Horizontal lines: the baselines with their best rates.";
    Figure::new(title, description).panel(panel)
}

/// (2) Cosine of the sensitivities and difference of the guesses over training.
pub fn agreement(steps: &[f64], cosine: &[f64], difference: &[f64]) -> Figure {
    let of = |values: &[f64]| (steps.to_vec(), values.to_vec());
    Figure::new(
        "A trained layer becomes a gradient step",
        "Left: mean cosine between the sensitivities of the trained layer and of one gradient step to the query. Right: mean absolute difference of their guesses.",
    )
    .panel(Panel::new("Sensitivities").x("training step").y("cosine").layer(line("cosine", of(cosine), false)))
    .panel(
        Panel::new("Guesses")
            .x("training step")
            .y("mean absolute difference")
            .layer(line("difference", of(difference), false)),
    )
    .columns(2)
}

/// One sweep of [`elsewhere`]: places, losses of the trained layer, losses of gradient descent.
pub type Sweep = (Vec<f64>, Vec<f64>, Vec<f64>);

/// (3) Losses on inputs and weights of other sizes than in training.
pub fn elsewhere((alpha, trained, descent): Sweep, (scale, trained_w, descent_w): Sweep) -> Figure {
    let panel = |title: &str, x: &str, at: Vec<f64>, trained: Vec<f64>, descent: Vec<f64>| {
        Panel::new(title)
            .x(x)
            .y("query loss")
            .log_y()
            .layer(line("trained", (at.clone(), trained), false))
            .layer(line("gradient step", (at, descent), true))
    };
    Figure::new(
        "Out of distribution",
        "Query loss of a trained layer and of one gradient step, both as they were found on inputs from [-1, 1] and weights of scale 1.",
    )
    .panel(panel("Inputs from [-alpha, alpha]", "alpha", alpha, trained, descent))
    .panel(panel("Weights of scale w", "w", scale, trained_w, descent_w))
    .columns(2)
}

/// (4) The learned products beside the construction's, on a common scale.
pub fn matrices(width: usize, alignment: &Alignment, constructed: &Pair<f64>) -> Figure {
    let heat = |title: &str, values: &[f64]| {
        let values = values.chunks_exact(width).map(<[f64]>::to_vec).collect();
        Panel::new(title).x("column").y("row").layer(Layer::Heat {
            label: "entry".to_owned(),
            values,
            diverging: true,
        })
    };
    Figure::new(
        "The learned matrices",
        "A = K^T Q and B = P V of a trained layer, brought to the scale of the construction, beside the construction. The last row and column belong to the target.",
    )
    .panel(heat("A, learned", &alignment.learned.a))
    .panel(heat("A, constructed", &constructed.a))
    .panel(heat("B, learned", &alignment.learned.b))
    .panel(heat("B, constructed", &constructed.b))
    .columns(2)
}

/// (5) A sine task: its context, the truth, and the guesses of the network and of gradient descent on its features.
pub fn sine(curve: &Curve<f32>, network: Vec<f64>, descent: Vec<f64>) -> Figure {
    let of = |y: Vec<f64>| (curve.x.clone(), y);
    let context = Layer::Points {
        label: "context".to_owned(),
        x: curve.context.0.clone(),
        y: curve.context.1.clone(),
        error: Vec::new(),
        names: Vec::new(),
        shade: Vec::new(),
        shade_label: String::new(),
    };
    Figure::new(
        "A sine wave from ten points",
        "Guesses of the perceptron with linear attention and of one gradient step on the same frozen features, for queries from -5 to 5.",
    )
    .panel(
        Panel::new("")
            .x("x")
            .y("y")
            .layer(line("truth", of(curve.truth.clone()), true))
            .layer(line("perceptron + attention", of(network), false))
            .layer(line("perceptron + gradient descent", of(descent), false))
            .layer(context),
    )
}

/// (6) What the first layer listens to over training, as parts of the whole.
pub fn listening(steps: &[f64], own: &[f64], neighbour: &[f64], others: &[f64]) -> Figure {
    let part = |values: &[f64]| {
        let share = |at: usize| values[at] / (own[at] + neighbour[at] + others[at]);
        (steps.to_vec(), (0..steps.len()).map(share).collect::<Vec<_>>())
    };
    Figure::new(
        "A copying layer appears",
        "Share of the first layer's Jacobian norms that belongs to a token itself, to the other half of its pair, and to all other tokens together.",
    )
    .panel(
        Panel::new("")
            .x("training step")
            .y("share")
            .layer(line("own", part(own), false))
            .layer(line("neighbour", part(neighbour), false))
            .layer(line("others", part(others), false)),
    )
}

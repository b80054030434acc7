//! The pictures: scores before and after finetuning, who sees whom, and how fast an adaptation is.

use ream_lab::{Figure, Layer, Panel};

use super::adaptation::{Curve, SpeedUp};
use super::cells::{Architecture, Cell};
use super::masks;
use super::scoring::Drawn;

/// Bars of one set of scores: architectures side by side, autoregressive and masked pretraining beside each other.
fn bars(title: &str, scores: &[(Cell, Drawn)]) -> Panel {
    let of = |masked: bool| {
        let cells = scores.iter().filter(move |(cell, _)| cell.is_masked() == masked);
        let at = |architecture: Architecture| {
            cells.clone().find(|(cell, _)| cell.architecture() == architecture).map(|(_, drawn)| drawn)
        };
        let found = Architecture::ALL.map(at);
        let y: Vec<f64> = found.map(|d| d.map_or(f64::NAN, |d| d.value)).to_vec();
        let error: Vec<[f64; 2]> = found.map(|d| d.map_or([f64::NAN; 2], Drawn::interval)).to_vec();
        Layer::Bars {
            label: if masked { "masked (MLM)" } else { "autoregressive (FLM, PLM)" }.to_owned(),
            y,
            error,
        }
    };
    Panel::new(title)
        .x("architecture")
        .y("macro score (0 = chance)")
        .categories_x(["causal decoder", "non-causal decoder", "encoder-decoder"])
        .layer(of(false))
        .layer(of(true))
        .layer(Layer::rule("chance", 0.0))
}

/// Scores before and after finetuning.
pub(super) fn scores(before: &[(Cell, Drawn)], after: &[(Cell, Drawn)]) -> Figure {
    let mut figure = Figure::new(
        "Zero-shot scores before and after multitask finetuning",
        "Left: six tasks Z after pretraining alone. Right: seven held-out families T after multitask finetuning. Accuracies are normalised to 0 for guessing and 1 for all right, then averaged; error bars are 95 % bootstrap intervals over items.",
    )
    .panel(bars("Pretraining only (Z)", before))
    .columns(2);
    if !after.is_empty() {
        figure = figure.panel(bars("After multitask finetuning (T)", after));
    }
    figure
}

/// The attention of the three architectures over an input of `n_in` and a target of `n - n_in` tokens.
pub(super) fn attention(n_in: usize, n: usize) -> Figure {
    let mut figure = Figure::new(
        "Who sees whom",
        "Rows are tokens that look, columns tokens that are seen: first the input, then the target. 1: by attention within a stack; 0.5: from the decoder to the encoder's output; 0: not at all. Drawn from the masks that the models use.",
    )
    .columns(3);
    for (architecture, title) in
        Architecture::ALL.into_iter().zip(["Causal decoder", "Non-causal decoder", "Encoder-decoder"])
    {
        figure = figure.panel(
            Panel::new(title)
                .x("token seen")
                .y("token looking")
                .layer(Layer::heat("sees", masks::picture(architecture, n_in, n))),
        );
    }
    figure
}

/// One adaptation beside the training from scratch.
pub(super) struct Comparison<'a> {
    pub(super) title: &'a str,
    pub(super) scratch: &'a Curve,
    pub(super) adapted: &'a Curve,
    pub(super) speed_up: SpeedUp,
}

/// Held-out loss over tokens, from scratch and adapted; a line at the adapted model's last loss is the speed-up.
pub(super) fn adaptation(comparisons: &[Comparison<'_>]) -> Figure {
    let mut figure = Figure::new(
        "Adaptation against training from scratch",
        "Held-out loss of a model that was pretrained otherwise and then switched, and of one that starts from random weights. The dashed line leads from the end of the adaptation to where the other reaches the same loss.",
    )
    .columns(2);
    for comparison in comparisons {
        let Comparison { title, scratch, adapted, speed_up } = comparison;
        let loss = adapted.last().unwrap_or(f64::NAN);
        let from = adapted.length();
        let bound = if speed_up.at_least { "at least " } else { "" };
        let label = format!("speed-up {bound}{:.2}", speed_up.ratio);
        figure = figure.panel(
            Panel::new(*title)
                .x("input and target tokens")
                .y("bits per character")
                .layer(Layer::line("from scratch", scratch.tokens.clone(), scratch.loss.clone()))
                .layer(Layer::line("adapted", adapted.tokens.clone(), adapted.loss.clone()))
                .layer(Layer::dashed(label, vec![from, from * speed_up.ratio], vec![loss, loss])),
        );
    }
    figure
}

//! The pictures.

use ream_lab::{Figure, Layer, Panel};
use ream_stats::glm::sigmoid;
use ream_stats::rank;

use super::annotations::Pairs;
use super::board::{Board, Line};
use super::fit::saturate;
use super::leaderboard::{Moved, PROMPTS, Rated, gameability};

/// Raw to length-controlled win rate of every model, shaded by the length of its answers.
#[must_use]
pub fn dumbbell(board: &Board) -> Figure {
    let mut order: Vec<&Line> = board.lines.iter().collect();
    order.sort_by(|a, b| b.rate.value.total_cmp(&a.rate.value));
    let column = |f: fn(&Line) -> f64| order.iter().map(|l| f(l)).collect();
    Figure::new("Win rates before and after length control", "Each line is a model, from its raw to its length-controlled win rate; the shade is the mean length of its answers.").panel(
        Panel::new("").x("win rate, %").layer(Layer::Dumbbell {
            from_label: "raw".into(),
            to_label: "length-controlled".into(),
            names: order.iter().map(|l| l.model.clone()).collect(),
            from: column(|l| l.raw.0),
            to: column(|l| l.rate.value),
            shade: column(|l| l.length),
            shade_label: "mean length, characters".into(),
        }),
    )
}

/// One model's preferences against the difference in length, with the fitted curve at its mean difficulty.
#[must_use]
pub fn preference(pairs: &Pairs, line: &Line, gamma: &[f64]) -> Figure {
    let mean = pairs.instruction.iter().map(|x| gamma[*x]).sum::<f64>() / pairs.instruction.len() as f64;
    let t = saturate(&pairs.delta);
    let mut curve: Vec<(f64, f64)> = pairs
        .delta
        .iter()
        .zip(&t)
        .map(|(d, t)| (-d, sigmoid(line.fit.theta() + line.fit.phi() * t + line.psi * mean)))
        .collect();
    curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    Figure::new(format!("What length does to preference: {}", pairs.model), "Points are judged pairs; the curve is the fit at mean difficulty; at zero the answers are equally long.").panel(
        Panel::new("")
            .x("model's answer longer by, characters")
            .y("preference for the model")
            .layer(Layer::Points {
                label: "judged pairs".into(),
                x: pairs.delta.iter().map(|d| -d).collect(),
                y: pairs.preference.clone(),
                error: Vec::new(),
                names: Vec::new(),
                shade: Vec::new(),
                shade_label: String::new(),
            })
            .layer(Layer::Line { label: "fit".into(), x: curve.iter().map(|c| c.0).collect(), y: curve.iter().map(|c| c.1).collect(), dashed: false })
            .layer(Layer::Rule { label: "equal length".into(), value: 0.0, vertical: true }),
    )
}

/// Ranks by win rate against ranks by Arena rating, raw and controlled.
#[must_use]
pub fn ranks(rated: &[Rated]) -> Figure {
    let rank_of = |values: Vec<f64>| -> Vec<f64> {
        let n = values.len() as f64;
        rank::average_ranks(&values).map(|r| r.into_iter().map(|r| n + 1.0 - r).collect()).unwrap_or_default()
    };
    let elo = rank_of(rated.iter().map(|r| r.elo).collect());
    let panel = |title: &str, values: Vec<f64>| {
        Panel::new(title).x("rank by people's votes").y("rank by win rate").layer(Layer::Points {
            label: title.into(),
            x: elo.clone(),
            y: rank_of(values),
            error: Vec::new(),
            names: Vec::new(),
            shade: Vec::new(),
            shade_label: String::new(),
        })
    };
    Figure::new("Ranks by judge and by people", "Rank 1 is best; a perfect judge would lie on the diagonal.")
        .panel(panel("raw win rate", rated.iter().map(|r| r.raw).collect()))
        .panel(panel("length-controlled", rated.iter().map(|r| r.controlled).collect()))
        .columns(2)
}

/// How far a prompt for more or fewer words moves the published rates.
#[must_use]
pub fn gameability_bars(moved: &[Moved]) -> Figure {
    let bars = |label: &str, controlled: bool| Layer::Bars {
        label: label.into(),
        y: PROMPTS.iter().map(|prompt| gameability(moved, prompt, controlled)).collect(),
        error: Vec::new(),
    };
    let mut panel = Panel::new("")
        .x("prompt")
        .y("sd / mean of the win rate, %")
        .layer(bars("raw", false))
        .layer(bars("length-controlled", true));
    panel.x.categories = PROMPTS.map(|p| format!("be {p}")).to_vec();
    Figure::new(
        "How far prompting moves a win rate",
        "Mean over the models that the board has plain, verbose and concise.",
    )
    .panel(panel)
}

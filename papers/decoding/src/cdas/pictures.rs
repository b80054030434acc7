//! The pictures: divergence token by token, latents, concept against fluency.

use ream_lab::{Figure, Layer, Panel, Result, Run};

use super::contrast::Direction;
use super::study::{CaseSeen, LatentsSeen, Method};

/// Bins of the latents' histograms.
const BINS: usize = 24;

/// Divergences of the tokens of one answer.
pub(super) struct TokenDistances {
    /// Heading.
    pub(super) title: String,
    /// The tokens.
    pub(super) tokens: Vec<String>,
    /// Without intervention.
    pub(super) before: Vec<f64>,
    /// With it.
    pub(super) after: Vec<f64>,
}

/// Draws everything that was seen.
pub(super) fn draw(run: &mut Run, seen: &[CaseSeen], multipliers: &[f64]) -> Result<()> {
    let mut token_by_token = Vec::new();
    let mut histograms = Vec::new();
    for case in seen {
        let Some(arm) = case.arm(Method::Cdas) else { continue };
        for direction in Direction::BOTH {
            let i = direction.base();
            token_by_token.push(TokenDistances {
                title: format!("{}, {}", case.title, direction.name()),
                tokens: case.first_tokens[i].clone(),
                before: case.first_pair[i].clone(),
                after: arm.first_pair[i].clone(),
            });
        }
        histograms.push((case.title.as_str(), &case.latents));
    }
    if !token_by_token.is_empty() {
        run.figure("tokens", tokens(&token_by_token))?;
        run.figure("latents", latents(&histograms, multipliers))?;
    }
    if !seen.is_empty() {
        run.figure("plane", plane(seen))?;
    }
    Ok(())
}

/// (1) How far the laws are from those of the contrasting run, before and after.
pub(super) fn tokens(all: &[TokenDistances]) -> Figure {
    let mut figure = Figure::new(
        "Divergence token by token",
        "Jensen-Shannon divergence between the law over each answer token and that of the contrasting run, for the first pair that nothing was trained on: without intervention and clamped (m = 1). At most ln 2 = 0.69. Answer tokens are given to both runs.",
    )
    .columns(2);
    for one in all {
        let names = (1..).zip(&one.tokens).map(|(i, token)| format!("{i} {}", visible(token)));
        figure = figure.panel(
            Panel::new(&one.title)
                .x("answer token")
                .y("JS (nats)")
                .range_y(0.0, std::f64::consts::LN_2)
                .categories_x(names)
                .layer(Layer::bars("unsteered", one.before.clone()))
                .layer(Layer::bars("steered", one.after.clone())),
        );
    }
    figure
}

/// A token as it can be shown.
fn visible(token: &str) -> String {
    match token.trim() {
        "" if token.contains('\n') => "⏎".to_owned(),
        "" => "␣".to_owned(),
        text => text.to_owned(),
    }
}

/// (2) Latents of prompts without and with the concept, and what steering clamps to.
pub(super) fn latents(all: &[(&str, &LatentsSeen)], multipliers: &[f64]) -> Figure {
    let mut figure = Figure::new(
        "Latents along the direction",
        "Number of prompts by v·h at the header of the answer, without and with the concept; upright lines: what steering clamps to, the mean without it to remove and m times the mean with it to add.",
    )
    .columns(2);
    for (title, seen) in all {
        let targets: Vec<f64> = multipliers.iter().map(|m| m * seen.means[1]).collect();
        let both = seen.negative.iter().chain(&seen.positive);
        let (low, high) = both.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), z| (l.min(*z), h.max(*z)));
        let width = ((high - low) / BINS as f64).max(1e-9);
        let bins = |values: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let mut counts = [0.0; BINS];
            for z in values {
                counts[(((z - low) / width) as usize).min(BINS - 1)] += 1.0;
            }
            // Steps: both ends of every bin.
            let x = (0..BINS).flat_map(|i| [low + i as f64 * width, low + (i + 1) as f64 * width]);
            (x.collect(), counts.iter().flat_map(|c| [*c, *c]).collect())
        };
        let mut panel = Panel::new(*title).x("latent v·h").y("prompts");
        for (label, values) in [("without the concept", &seen.negative), ("with the concept", &seen.positive)]
        {
            let (x, y) = bins(values);
            panel = panel.layer(Layer::line(label, x, y));
        }
        panel = panel.layer(Layer::vertical("remove", seen.means[0]));
        for (m, target) in multipliers.iter().zip(&targets) {
            panel = panel.layer(Layer::vertical(format!("add, m = {m}"), *target));
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (3) Concept against fluency while the strength grows.
fn plane(seen: &[CaseSeen]) -> Figure {
    let mut figure = Figure::new(
        "Concept and fluency over strength",
        "Added: mean concept score against mean fluency of answers to prompts without the concept; a line joins the strengths m of a method, the smallest first. Up and to the right is better.",
    )
    .columns(2);
    for case in seen {
        let mut panel = Panel::new(&case.title).x("concept").y("fluency").range_x(0.0, 1.0).range_y(0.0, 1.0);
        for arm in &case.arms {
            let x: Vec<f64> = arm.add.iter().map(|(_, judged)| judged.scores.concept).collect();
            let y: Vec<f64> = arm.add.iter().map(|(_, judged)| judged.scores.fluency).collect();
            let name = arm.method.name();
            if x.len() > 1 {
                panel = panel.layer(Layer::line(name, x.clone(), y.clone()));
            }
            panel = panel.layer(Layer::points(name, x, y));
        }
        for (name, judged) in [("unsteered", &case.unsteered[0]), ("prompting", &case.prompted[0])] {
            let scores = judged.scores;
            panel = panel.layer(Layer::points(name, vec![scores.concept], vec![scores.fluency]));
        }
        figure = figure.panel(panel);
    }
    figure
}

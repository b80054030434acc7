//! The pictures: a text by passes, tokens per pass, first guesses, throughput by size of tree.

use super::experiments::{Estimate, Seen};
use ream_lab::{Figure, Layer, Panel, Result, Run};

/// Tokens of a line of the text.
const PER_LINE: usize = 8;

/// Draws everything that was seen.
pub(crate) fn draw(run: &mut Run, seen: &[Seen]) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    for base in seen.iter().filter(|s| !s.text.is_empty()) {
        run.figure(&format!("text-{}", base.base), text(base))?;
    }
    run.figure("tokens-per-pass", lengths(seen))?;
    run.figure("first-guesses", accuracy(seen))?;
    if seen.iter().any(|s| !s.modelled.is_empty()) {
        run.figure("throughput", throughput(seen))?;
    }
    Ok(())
}

/// A token as it can be shown.
fn shown(token: &str) -> String {
    let visible: String = token.chars().map(|c| if c == '\n' { '\u{21b5}' } else { c }).collect();
    let trimmed = visible.trim();
    if trimmed.is_empty() { "\u{2423}".to_owned() } else { trimmed.to_owned() }
}

/// (1) A text: each token coloured by the run that its pass gave, an arrow of tokens for each pass.
fn text(seen: &Seen) -> Figure {
    let lines = seen.text.len().div_ceil(PER_LINE);
    let x = |i: usize| (i % PER_LINE) as f64;
    let y = |i: usize| (lines - 1 - i / PER_LINE) as f64;
    let passes = seen.text.last().map_or(0, |(_, pass)| pass + 1);
    let run_of = |pass: usize| seen.text.iter().filter(|(_, p)| *p == pass).count();
    let mut panel = Panel::new(format!("{} tokens in {passes} passes", seen.text.len()))
        .x("token of the line")
        .y("line, last at the bottom")
        .range_x(-0.7, PER_LINE as f64 - 0.3)
        .range_y(-0.6, lines as f64 - 0.4);
    for pass in 0..passes {
        let tokens: Vec<usize> = (0..seen.text.len()).filter(|i| seen.text[*i].1 == pass).collect();
        // A run that goes over the end of a line is drawn on both.
        for part in tokens.chunk_by(|a, b| a / PER_LINE == b / PER_LINE).filter(|part| part.len() > 1) {
            let (x, y) = part.iter().map(|i| (x(*i), y(*i))).unzip();
            panel = panel.layer(Layer::line("one pass", x, y));
        }
    }
    panel = panel.layer(Layer::Points {
        label: "token".to_owned(),
        x: (0..seen.text.len()).map(x).collect(),
        y: (0..seen.text.len()).map(y).collect(),
        error: Vec::new(),
        names: seen.text.iter().map(|(token, _)| shown(token)).collect(),
        shade: seen.text.iter().map(|(_, pass)| run_of(*pass) as f64).collect(),
        shade_label: "tokens of its pass".to_owned(),
    });
    Figure::new(
        format!("A greedy text of {} by passes of Hydra++", seen.base),
        "Each token is coloured by how many tokens its pass gave; a line joins the tokens of one pass from the base's own choice to the last guess that was accepted.",
    )
    .panel(panel)
}

/// (2) Tokens per pass with intervals over prompts.
fn lengths(seen: &[Seen]) -> Figure {
    let mut figure = Figure::new(
        "Tokens per pass of the base",
        "Greedy decoding; trees calibrated for each system, and chains of one guess of every head. Bars: 95 % intervals over prompts. One is decoding without drafts.",
    )
    .columns(seen.len().min(2));
    for base in seen {
        let bars = |label: String, of: &dyn Fn(&(String, Estimate, Estimate)) -> Estimate| Layer::Bars {
            label,
            y: base.lengths.iter().map(|l| of(l).value).collect(),
            error: base.lengths.iter().map(|l| of(l).interval()).collect(),
        };
        let names =
            base.lengths.iter().map(|l| l.0.replace("hydra-", "+ ").replace("prefix-attention", "prefix"));
        figure = figure.panel(
            Panel::new(&base.base)
                .x("drafts")
                .y("tokens per pass")
                .categories_x(names)
                .layer(bars(format!("tree of {} nodes", base.tree), &|l| l.1.clone()))
                .layer(bars("chain".to_owned(), &|l| l.2.clone()))
                .layer(Layer::rule("without drafts", 1.0)),
        );
    }
    figure
}

/// (3) Accuracy of each head's first guess.
fn accuracy(seen: &[Seen]) -> Figure {
    let mut figure = Figure::new(
        "First guesses that are right, head by head",
        "Share of positions of the base's own texts at which a head's most probable token is the base's, given the base's tokens before it. Medusa's heads do not look at those tokens.",
    )
    .columns(seen.len().min(2));
    for base in seen {
        let count = base.accuracy.first().map_or(0, |(_, shares)| shares.len());
        let heads = (1..=count).map(|i| format!("head {i}"));
        let mut panel = Panel::new(&base.base)
            .x("given the base's tokens before")
            .y("share that is right")
            .categories_x(heads);
        for (name, shares) in &base.accuracy {
            if matches!(name.as_str(), "medusa" | "hydra" | "hydra++" | "hydra-without-embeddings") {
                panel = panel.layer(Layer::bars(name.replace('-', " "), shares.clone()));
            }
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (4) Throughput by size of tree, modelled and measured.
fn throughput(seen: &[Seen]) -> Figure {
    let with: Vec<&Seen> = seen.iter().filter(|s| !s.modelled.is_empty()).collect();
    let mut figure = Figure::new(
        "Throughput of Hydra++ by size of the tree",
        "Over decoding one by one. Model: expected tokens per pass on the calibration text over the measured cost of pass and draft; memory-bound: the same with passes that cost the same for any number of nodes. Bars: range over repetitions.",
    )
    .columns(with.len().min(2));
    for base in with {
        let x: Vec<f64> = base.modelled.iter().map(|m| m.0).collect();
        let panel = Panel::new(&base.base)
            .x("nodes of the tree")
            .y("throughput / one by one")
            .layer(Layer::line("modelled", x.clone(), base.modelled.iter().map(|m| m.1).collect()))
            .layer(Layer::dashed("memory-bound", x, base.modelled.iter().map(|m| m.2).collect()))
            .layer(Layer::Points {
                label: "measured".to_owned(),
                x: base.measured.iter().map(|m| m.0).collect(),
                y: base.measured.iter().map(|m| m.1).collect(),
                error: base.measured.iter().map(|m| m.2).collect(),
                names: Vec::new(),
                shade: Vec::new(),
                shade_label: String::new(),
            })
            .layer(Layer::rule("one by one", 1.0));
        figure = figure.panel(panel);
    }
    figure
}

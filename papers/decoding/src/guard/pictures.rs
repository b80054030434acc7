//! The pictures: methods in the plane of acceptance and divergence, places of the mark, learning curves.

use ream_lab::{Figure, Layer, Panel, Result, Run};

use super::judging::Seen;
use super::part_b::BIN;

/// `KL(g || a')` of the lines in the plane, nats a text.
const LINES: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 6.0];

/// Draws everything that was seen.
pub(super) fn draw(run: &mut Run, seen: &[Seen]) -> Result<()> {
    if seen.iter().any(|s| s.arms.iter().any(|a| a.to_output[0].is_finite() && a.acceptance[0] > 0.0)) {
        run.figure("plane", plane(seen))?;
    }
    if seen.iter().any(|s| !s.places.is_empty()) {
        run.figure("places", places(seen))?;
    }
    if seen.iter().any(|s| !s.curves.is_empty()) {
        run.figure("curves", curves(seen))?;
    }
    for condition in seen {
        for (text, draws) in &condition.samples {
            run.sample(&format!("{} ({draws} draws)", condition.title), text);
        }
    }
    Ok(())
}

/// (1) Acceptance against what rejection leaves of the divergence; on a line both together are the same `KL(g || a')`.
fn plane(seen: &[Seen]) -> Figure {
    let mut figure = Figure::new(
        "Speed and closeness of every method",
        "Acceptance rate of the proposal against KL(g‖g') of what is left after rejection; up and to the left is better. On a dashed line KL(g‖a') = KL(g‖g') - log AR is the same. Bars: 95 % intervals. The base model itself has KL(g‖g') = 0 and the natural rate. Methods that are not resolved are left out.",
    )
    .columns(2);
    for condition in seen {
        let there: Vec<_> =
            condition.arms.iter().filter(|a| a.to_output[0].is_finite() && a.acceptance[0] > 0.0).collect();
        if there.is_empty() {
            continue;
        }
        let right = there.iter().map(|a| a.to_output[0]).fold(0.5, f64::max) * 1.1;
        let low = there.iter().map(|a| a.acceptance[1].max(1e-6)).fold(1.0, f64::min) / 2.0;
        let mut panel = Panel::new(&condition.title)
            .x("KL(g‖g') (nats a text)")
            .y("acceptance rate AR")
            .log_y()
            .range_y(low, 1.0);
        // Straight on a logarithmic axis: log AR = KL(g||g') - level.
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for level in LINES {
            let (from, to) = ((level + libm::log(low)).max(0.0), level.min(right));
            if from < to {
                x.extend([from, to, f64::NAN]);
                y.extend([from - level, to - level, f64::NAN].map(|log| libm::exp(log).clamp(low, 1.0)));
            }
        }
        panel = panel.layer(Layer::dashed("equal KL(g‖a'): 0.5, 1, 2, 4, 6 nats from above", x, y));
        for arm in there {
            panel = panel.layer(Layer::Points {
                label: arm.name.clone(),
                x: vec![arm.to_output[0]],
                y: vec![arm.acceptance[0]],
                error: vec![[arm.acceptance[1].max(low), arm.acceptance[2].min(1.0)]],
                names: Vec::new(),
                shade: Vec::new(),
                shade_label: String::new(),
            });
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (2) Where the mark stands.
fn places(seen: &[Seen]) -> Figure {
    let mut figure = Figure::new(
        "Where the word stands in a text",
        "Share of texts in which the word (or the match of the expression) first begins among these tokens. g: all draws together, reweighted; rejection: the long run of the base model, exact but few. Methods after rejection.",
    )
    .columns(1);
    for condition in seen.iter().filter(|s| !s.places.is_empty()) {
        let n = condition.places[0].1.len();
        let names = (0..n).map(|bin| format!("{}-{}", bin * BIN + 1, (bin + 1) * BIN));
        let mut panel = Panel::new(&condition.title).x("tokens").y("share of texts").categories_x(names);
        for (name, shares) in &condition.places {
            let shown = ["g, all draws", "rejection", "guard", "cap", "ppo", "forced"];
            if shown.contains(&name.as_str()) {
                panel = panel.layer(Layer::bars(name, shares.clone()));
            }
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (3) Training: acceptance and divergence over draws.
fn curves(seen: &[Seen]) -> Figure {
    let mut figure = Figure::new(
        "Training of the proposals",
        "Acceptance of the draws between two looks, and KL(g‖a') estimated from them where they are worth 30 samples of g or more. Curves that begin later follow a warm start.",
    )
    .columns(2);
    for condition in seen.iter().filter(|s| !s.curves.is_empty()) {
        let mut acceptance =
            Panel::new(&condition.title).x("texts drawn for training").y("acceptance rate AR");
        let mut divergence = Panel::new(&condition.title).x("texts drawn for training").y("KL(g‖a') (nats)");
        let mut resolved = false;
        for (name, looks) in &condition.curves {
            let x = looks.iter().map(|l| l.draws).collect();
            acceptance = acceptance.layer(Layer::line(name, x, looks.iter().map(|l| l.acceptance).collect()));
            let there: Vec<_> = looks.iter().filter(|l| l.to_proposal.is_finite()).collect();
            if there.len() > 1 {
                resolved = true;
                let x = there.iter().map(|l| l.draws).collect();
                let y = there.iter().map(|l| l.to_proposal).collect();
                divergence = divergence.layer(Layer::line(name, x, y));
            }
        }
        figure = figure.panel(acceptance);
        if resolved {
            figure = figure.panel(divergence);
        }
    }
    figure
}

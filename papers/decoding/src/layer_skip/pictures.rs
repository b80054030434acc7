//! The pictures: similarity over depth, skipped blocks, what is kept, how far back is looked, SmolLM2's profile.

use ream_lab::{Figure, Layer, Panel, Result, Run};

use super::experiments::{Seen, SeenModel};
use super::locality::DISTANCES;
use super::real::Outcome;

/// Draws everything that was seen.
pub(crate) fn draw(run: &mut Run, seen: &Seen) -> Result<()> {
    if !seen.models.is_empty() {
        run.figure("similarity", similarity(&seen.models))?;
        run.figure("profiles", profiles(&seen.models))?;
        if seen.models.iter().any(|m| !m.baselines.is_empty()) {
            run.figure("retention", retention(&seen.models))?;
        }
        run.figure("recency", recency(&seen.models))?;
        run.figure("moments", moments(&seen.models))?;
    }
    if let Some(real) = &seen.real {
        run.figure("smollm2-profile", real_profile("SmolLM2 over depth", real))?;
        run.figure("smollm2-loss", real_loss(real))?;
    }
    Ok(())
}

fn name(model: &SeenModel) -> &'static str {
    match model.kind.name() {
        "ar" => "autoregressive",
        "dlm" => "native diffusion",
        _ => "AR-initialised diffusion",
    }
}

fn numbers(n: usize) -> Vec<f64> {
    (1..=n).map(|l| l as f64).collect()
}

/// (1) Cosines of all pairs of layers, centred and as they are, and CKA.
fn similarity(models: &[SeenModel]) -> Figure {
    let mut figure = Figure::new(
        "How alike the states of two depths are",
        "Mean cosine of a token's state after one block and after another: less the mean over tokens (top), as it is (middle), and linear CKA (bottom). Depth 0 is the embedding. One scale of colours in each row.",
    )
    .columns(models.len());
    for (title, of) in [
        ("cosine, centred", (|m| &m.look.centred) as fn(&SeenModel) -> &Vec<Vec<f64>>),
        ("cosine, raw", |m| &m.look.cosines),
        ("linear CKA", |m| &m.look.cka),
    ] {
        for model in models {
            figure = figure.panel(
                Panel::new(format!("{}: {title}", name(model)))
                    .x("depth")
                    .y("depth")
                    .layer(Layer::heat(title, of(model).clone())),
            );
        }
    }
    figure
}

/// (2) Neighbouring blocks, with those that the own list leaves out.
fn profiles(models: &[SeenModel]) -> Figure {
    let mut cosines = Panel::new("Cosine of neighbours, centred").x("block").y("c_l");
    let mut raw = Panel::new("Cosine of neighbours, raw").x("block").y("c_l");
    let mut updates = Panel::new("Relative update").x("block").y("u_l").log_y();
    let mut skipped =
        Panel::new("Blocks left out").x("block").y("").categories_y(models.iter().map(|m| name(m)));
    for (i, model) in models.iter().enumerate() {
        let profile = &model.look.profile;
        let blocks = numbers(profile.centred.len());
        cosines = cosines.layer(Layer::line(name(model), blocks.clone(), profile.centred.clone()));
        raw = raw.layer(Layer::line(name(model), blocks.clone(), profile.cosine.clone()));
        updates = updates.layer(Layer::line(name(model), blocks, profile.update.clone()));
        let places = model.own.iter().map(|l| (l + 1) as f64).collect();
        skipped = skipped.layer(Layer::points(name(model), places, vec![i as f64; model.own.len()]));
        let at = |values: &[f64]| -> (Vec<f64>, Vec<f64>) {
            model.own.iter().map(|l| ((l + 1) as f64, values[*l])).unzip()
        };
        for (panel, values) in [(&mut cosines, &profile.centred), (&mut updates, &profile.update)] {
            let (x, y) = at(values);
            *panel = std::mem::take(panel).layer(Layer::points(name(model), x, y));
        }
    }
    Figure::new(
        "Representations over depth",
        "Lines: mean over calibration sequences and, for models that denoise, over noise levels and decoding. Points: blocks that the model's own list leaves out, chosen on the calibration sequences alone.",
    )
    .panel(cosines)
    .panel(raw)
    .panel(updates)
    .panel(skipped.range_x(0.5, models.first().map_or(1.0, |m| m.look.recency.len() as f64) + 0.5))
    .columns(2)
}

/// (3) What is kept over the number of blocks, and under each list of the main cut.
fn retention(models: &[SeenModel]) -> Figure {
    let mut curve = Panel::new("Own list").x("blocks left out").y("mean retention");
    for model in models.iter().filter(|m| m.curve.len() > 1) {
        let (x, y) = model.curve.iter().map(|(k, kept)| (*k as f64, *kept)).unzip();
        curve = curve.layer(Layer::line(name(model), x, y));
    }
    curve = curve.layer(Layer::rule("90 %", 0.9));
    let order = [
        "own",
        "free",
        "plateau",
        "uniform",
        "first",
        "last",
        "from-ar",
        "from-dlm",
        "from-ar-init",
        "oracle",
    ];
    let names: Vec<&str> = order
        .into_iter()
        .filter(|list| models.iter().any(|m| m.baselines.iter().any(|b| b.0 == *list)))
        .collect();
    let categories = names.iter().copied().chain(["random"]);
    let mut bars =
        Panel::new("Every list of the main cut").x("list").y("mean retention").categories_x(categories);
    for model in models {
        let of = |list: &str| model.baselines.iter().find(|b| b.0 == list).map_or(f64::NAN, |b| b.1);
        let mut y: Vec<f64> = names.iter().map(|list| of(list)).collect();
        let mut error: Vec<[f64; 2]> = y.iter().map(|v| [*v, *v]).collect();
        let (mean, sd) = model.random.unwrap_or((f64::NAN, f64::NAN));
        y.push(mean);
        error.push([mean - sd, mean + sd]);
        bars = bars.layer(Layer::Bars { label: name(model).to_owned(), y, error });
    }
    Figure::new(
        "What is kept when blocks are left out",
        "Retention: (score - unigram predictor) / (full score - unigram predictor), mean over tasks. Below: random is the mean of all draws, its bar one standard deviation; from-... is the list of another model.",
    )
    .panel(curve)
    .panel(bars)
    .columns(1)
}

/// (4) Recency bias over depth; influence over distance.
fn recency(models: &[SeenModel]) -> Figure {
    let mut bias = Panel::new("Recency bias").x("block").y("R_l");
    let mut before =
        Panel::new("Influence of earlier tokens").x("distance").y("share of the nearest").log_x();
    let mut behind = Panel::new("Influence of later tokens").x("distance").y("share of the nearest").log_x();
    let distances: Vec<f64> = DISTANCES.iter().map(|d| *d as f64).collect();
    for model in models {
        let seen = &model.look;
        bias = bias.layer(Layer::line(name(model), numbers(seen.recency.len()), seen.recency.clone()));
        let shares = |curve: &[f64]| -> Vec<f64> {
            let first = curve.first().copied().unwrap_or(1.0).max(1e-12);
            curve.iter().map(|v| v / first).collect()
        };
        before = before.layer(Layer::line(name(model), distances.clone(), shares(&seen.before)));
        if !seen.behind.is_empty() {
            behind = behind.layer(Layer::line(name(model), distances.clone(), shares(&seen.behind)));
        }
    }
    before = before.layer(Layer::rule("half", 0.5));
    Figure::new(
        "How far back a model looks",
        "R_l: attention on the eight tokens before a token, less their share of all tokens it sees, mean over heads. Influence: change of the last state of a token when another one is replaced, over that of its neighbour.",
    )
    .panel(bias)
    .panel(before)
    .panel(behind)
    .columns(2)
}

/// (5) Profiles over decoding and by position.
fn moments(models: &[SeenModel]) -> Figure {
    let mut figure = Figure::new(
        "One static list over decoding",
        "Centred cosine of neighbouring blocks at 10 %, 50 % and 90 % of the decoding steps, on masked and unmasked positions, and on the calibration sequences that blocks are chosen by.",
    )
    .columns(2);
    for model in models.iter().filter(|m| !m.look.moments.is_empty()) {
        let seen = &model.look;
        let blocks = numbers(seen.calibration.centred.len());
        let mut panel = Panel::new(name(model)).x("block").y("c_l, centred");
        for (label, profile) in ["10 %", "50 %", "90 %"].into_iter().zip(&seen.moments) {
            panel = panel.layer(Layer::line(label, blocks.clone(), profile.centred.clone()));
        }
        for (label, profile) in ["masked", "unmasked"].into_iter().zip(&seen.positions) {
            panel = panel.layer(Layer::dashed(label, blocks.clone(), profile.centred.clone()));
        }
        let calibration = Layer::points("calibration", blocks, seen.calibration.centred.clone());
        figure = figure.panel(panel.layer(calibration));
    }
    figure
}

/// (6) A real model over depth, with the blocks of its own lists.
pub(crate) fn real_profile(title: &str, outcome: &Outcome) -> Figure {
    let profile = &outcome.profile;
    let blocks = numbers(profile.centred.len());
    let mut cosines = Panel::new("Cosine of neighbours")
        .x("block")
        .y("c_l")
        .layer(Layer::line("centred", blocks.clone(), profile.centred.clone()))
        .layer(Layer::dashed("raw", blocks.clone(), profile.cosine.clone()));
    let most = outcome.rows.iter().filter(|row| row.list == "own").map(|row| row.k).max().unwrap_or(0);
    if let Some(own) = outcome.of("own", most).next() {
        let (x, y) = own.blocks.iter().map(|l| ((l + 1) as f64, profile.centred[*l])).unzip();
        cosines = cosines.layer(Layer::points(format!("own list of {most}"), x, y));
    }
    Figure::new(
        title,
        "Mean cosine of a token's state before and after a block, relative update, growth of the largest state, and linear CKA of all pairs of depths, on the calibration text.",
    )
    .panel(cosines)
    .panel(Panel::new("Relative update").x("block").y("u_l").log_y().layer(Layer::line(
        "update",
        blocks.clone(),
        profile.update.iter().map(|u| u.max(1e-9)).collect(),
    )))
    .panel(
        Panel::new("Growth of the largest state")
            .x("block")
            .y("jump")
            .log_y()
            .layer(Layer::line("jump", blocks, profile.jump.iter().map(|j| j.max(1e-9)).collect()))
            .layer(Layer::rule("never skipped above", super::choice::LARGEST_JUMP)),
    )
    .panel(Panel::new("Linear CKA").x("depth").y("depth").layer(Layer::heat("CKA", outcome.cka.clone())))
    .columns(2)
}

/// (7) Loss increase over the number of blocks.
fn real_loss(outcome: &Outcome) -> Figure {
    let mut panel = Panel::new("").x("blocks left out").y("loss increase (nats a token)").log_y();
    let mut counts: Vec<usize> = outcome.rows.iter().map(|row| row.k).collect();
    counts.sort_unstable();
    counts.dedup();
    for list in ["own", "uniform", "first", "last", "oracle"] {
        let points = counts.iter().filter_map(|k| Some((*k as f64, outcome.of(list, *k).next()?.increase)));
        // Nothing below 0 on a logarithmic axis.
        let (x, y): (Vec<f64>, Vec<f64>) = points.filter(|p| p.1 > 0.0).unzip();
        if !x.is_empty() {
            panel = panel.layer(Layer::line(list, x, y));
        }
    }
    let random: Vec<(f64, f64)> = outcome
        .rows
        .iter()
        .filter(|r| r.list.starts_with("random"))
        .map(|r| (r.k as f64, r.increase))
        .collect();
    let (x, y): (Vec<f64>, Vec<f64>) = random.into_iter().filter(|p| p.1 > 0.0).unzip();
    if !x.is_empty() {
        panel = panel.layer(Layer::points("random", x, y));
    }
    Figure::new(
        "What leaving blocks out of SmolLM2 costs",
        "Loss less that of the full model on the same tokens. Own: the list of the rule; oracle: greedy search on the losses themselves; random: single draws. Random, uniform, first and last lists on fewer tokens, each beside the full model on the same.",
    )
    .panel(panel)
}

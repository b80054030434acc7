//! The pictures: spectra, maps of contexts, entropies, drafts, training.

use super::experiments::{Point, Seen};
use super::sources::Estimate;
use ream_lab::{Figure, Layer, Panel, Result, Run};

/// Eigenvalues and singular values shown.
const SHOWN: usize = 16;
/// Contexts in a map or a scatter.
const MOST_POINTS: usize = 1200;

/// Draws everything that was seen.
pub(crate) fn draw(run: &mut Run, seen: &[Seen]) -> Result<()> {
    let seen: Vec<&Seen> = seen.iter().filter(|s| !s.curve.is_empty()).collect();
    if seen.is_empty() {
        return Ok(());
    }
    run.figure("spectrum", spectrum(&seen))?;
    for source in seen.iter().filter(|s| s.planes.len() == 2) {
        let name: String = source.source.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        run.figure(&format!("map-{}", name.to_lowercase()), map(source))?;
    }
    run.figure("entropies", entropies(&seen))?;
    run.figure("training", training(&seen))?;
    if seen.iter().any(|s| !s.drafts.is_empty()) {
        run.figure("drafts", drafts(&seen))?;
    }
    if seen.iter().any(|s| s.links.len() > 1) {
        run.figure("link", link(&seen))?;
    }
    Ok(())
}

/// Values over their sum.
fn shares(values: &[f64]) -> Vec<f64> {
    let total: f64 = values.iter().sum();
    values.iter().take(SHOWN).map(|v| v / total).collect()
}

fn numbered(n: usize) -> Vec<f64> {
    (1..=n).map(|k| k as f64).collect()
}

/// (1) Eigenvalues of the operator beside squared singular values of the hidden states.
fn spectrum(seen: &[&Seen]) -> Figure {
    let mut figure = Figure::new(
        "The predictive spectrum and the hidden states",
        "Non-trivial eigenvalues of the predictive-similarity operator K, and squared singular values of the centred hidden states in the head's metric, each as a share of its sum.",
    )
    .columns(2);
    for source in seen {
        let truth = shares(&source.eigenvalues);
        let mut panel = Panel::new(&source.source).x("number").y("share").layer(Layer::line(
            "operator",
            numbered(truth.len()),
            truth,
        ));
        for (arm, values) in source.singular.iter().filter(|(arm, _)| arm != "smoothed") {
            let values = shares(values);
            panel = panel.layer(Layer::dashed(arm, numbered(values.len()), values));
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (2) Contexts in the plane of the hidden states' two leading directions, before and after training.
fn map(seen: &Seen) -> Figure {
    let mut figure = Figure::new(
        format!("Contexts of {} before and after training on log-loss", seen.source),
        "Two leading principal coordinates of the hidden states in the head's metric; colours: predictive class of the context under the true law.",
    )
    .columns(2);
    for (plane, title) in seen.planes.iter().zip(["untrained", "trained"]) {
        let mut panel = Panel::new(title).x("first coordinate").y("second coordinate");
        let step = seen.classes.len().div_ceil(MOST_POINTS).max(1);
        for (class, name) in seen.class_names.iter().enumerate() {
            let members: Vec<usize> =
                (0..seen.classes.len()).step_by(step).filter(|x| seen.classes[*x] == class).collect();
            let along = |k: usize| members.iter().map(|x| plane[k][*x]).collect();
            panel = panel.layer(Layer::points(name, along(0), along(1)));
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (3) Entropy of each context under the model against the truth.
fn entropies(seen: &[&Seen]) -> Figure {
    let mut figure = Figure::new(
        "The model's randomness and the data's",
        "Shannon entropy of the next-token law of each context: true law (horizontal) and model (vertical). On the dashed line they agree.",
    )
    .columns(2);
    for source in seen {
        let (truth, arms) = &source.entropies;
        let most = truth.iter().copied().fold(0.0, f64::max);
        let step = truth.len().div_ceil(MOST_POINTS).max(1);
        let thin = |values: &[f64]| values.iter().copied().step_by(step).collect::<Vec<f64>>();
        let mut panel = Panel::new(&source.source)
            .x("true entropy (nats)")
            .y("model's entropy (nats)")
            .layer(Layer::dashed("equal", vec![0.0, most], vec![0.0, most]));
        for (arm, values) in arms.iter().filter(|(arm, _)| arm != "untrained") {
            panel = panel.layer(Layer::points(arm, thin(truth), thin(values)));
        }
        figure = figure.panel(panel);
    }
    figure
}

/// (4) Surplus and acceptance of drafts, with standard errors.
fn drafts(seen: &[&Seen]) -> Figure {
    let with: Vec<&&Seen> = seen.iter().filter(|s| !s.drafts.is_empty()).collect();
    let names = || with.iter().map(|s| s.source.clone());
    let ends = |e: Estimate| [e.value - e.se, e.value + e.se];
    let mut surplus =
        Panel::new("Surplus over the token's draft").x("source").y("S_2 (nats)").categories_x(names());
    let mut acceptance = Panel::new("Acceptance of drafts").x("source").y("1 - TV").categories_x(names());
    let arms: Vec<String> =
        with.first().map(|s| s.drafts.iter().map(|d| d.0.clone()).collect()).unwrap_or_default();
    for (at, arm) in arms.iter().enumerate() {
        let accepted: Vec<Estimate> = with.iter().filter_map(|s| s.drafts.get(at)).map(|d| d.1).collect();
        let bars = |values: Vec<Estimate>| Layer::Bars {
            label: arm.clone(),
            y: values.iter().map(|e| e.value).collect(),
            error: values.into_iter().map(ends).collect(),
        };
        acceptance = acceptance.layer(bars(accepted));
        let gains: Vec<Estimate> = with.iter().filter_map(|s| s.drafts.get(at)?.2).collect();
        if gains.len() == with.len() {
            surplus = surplus.layer(bars(gains));
        }
    }
    let ceilings = with.iter().map(|s| s.ceiling.unwrap_or(f64::NAN)).collect();
    surplus = surplus.layer(Layer::bars("exact ceiling", ceilings));
    Figure::new(
        "What a hidden state knows beyond the next token",
        "Left: S_2 of the largest probes on held-out windows, beside what the whole past could tell (known for synthetic sources). Right: acceptance of a draft of the token after next. Bars: one standard error.",
    )
    .panel(surplus)
    .panel(acceptance)
    .columns(2)
}

/// (5) KL, alignment and separation over training.
fn training(seen: &[&Seen]) -> Figure {
    let panel = |title: &str, y: &str, of: fn(&Point) -> f64| {
        seen.iter().fold(Panel::new(title).x("training step").y(y), |panel, source| {
            let steps = source.curve.iter().map(|p| p.step).collect();
            panel.layer(Layer::line(&source.source, steps, source.curve.iter().map(of).collect()))
        })
    };
    Figure::new(
        "Training on log-loss",
        "Divergence of the model from the true laws; alignment of the hidden states with the leading eigenfunctions of K; rank correlation between distances of hidden states and Hellinger distances of true laws.",
    )
    .panel(panel("Divergence", "KL (nats/token)", |p| p.kl))
    .panel(panel("Alignment", "A_r", |p| p.alignment))
    .panel(panel("Kernel alignment", "linear CKA", |p| p.cka))
    .panel(panel("Separation", "Spearman correlation", |p| p.separation))
    .columns(2)
}

/// (6) Gain in acceptance against surplus over checkpoints and sources.
fn link(seen: &[&Seen]) -> Figure {
    let mut panel = Panel::new("").x("S_2 (nats)").y("gain in acceptance");
    for source in seen {
        let (x, y) = source.links.iter().copied().unzip();
        panel = panel.layer(Layer::points(&source.source, x, y));
    }
    Figure::new(
        "Surplus and the value of hidden-state drafting",
        "Each point: one checkpoint of the log-loss model, the untrained one included. Acceptance of the draft that reads hidden state and token, less that of the draft that reads the token.",
    )
    .panel(panel)
}

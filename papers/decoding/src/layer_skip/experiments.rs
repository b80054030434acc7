//! The experiments under a [`Run`]: three kinds of model trained here, and SmolLM2; observe.

use std::ops::ControlFlow;

use ream_lab::{Cell, Place, Result, Run, Table};
use ream_lm::llama::Model;
use ream_stats::{descriptive, rank};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::corpus::{Corpus, Task};
use super::lists::{Chosen, Evaluated, Examination, Row, choose, examine};
use super::locality::half_distance;
use super::looks::{Look, MOMENTS, look};
use super::network::{Kind, Network};
use super::real::{self, Outcome};
use super::similarity::{first_half, first_half_geometric};
use super::tasks::{is_done, retention};
use super::{choice, failed};
use crate::bases;

/// What is observed of the models that are trained here.
const CONTROLLED: [&str; 14] = [
    "early_similarity",
    "early_update",
    "score",
    "retention",
    "loss_increase",
    "flops_saved",
    "curve_area",
    "profile_pearson",
    "retention_excess",
    "recency",
    "half_distance",
    "over_random",
    "way_to_oracle",
    "trajectory",
];
/// What is observed of SmolLM2.
const REAL: [&str; 3] = ["smollm2_loss_increase", "smollm2_way_to_oracle", "smollm2_flops_saved"];
/// The way from random to oracle is no shorter than this, else there is none to go.
const SHORTEST_WAY: f64 = 0.005;

fn any_wanted(run: &Run, measures: &[&str]) -> bool {
    measures.iter().any(|measure| run.wanted(measure))
}

/// What the pictures show of one model.
pub(crate) struct SeenModel {
    pub(crate) kind: Kind,
    pub(crate) look: Look,
    pub(crate) evaluated: Evaluated,
    /// The list of the main cut.
    pub(crate) own: Vec<usize>,
    /// Number of blocks and mean retention under the model's own lists.
    pub(crate) curve: Vec<(usize, f64)>,
    /// Mean retention of each baseline of the main cut, by name; of random lists mean and standard deviation.
    pub(crate) baselines: Vec<(String, f64)>,
    pub(crate) random: Option<(f64, f64)>,
}

/// All that was seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) models: Vec<SeenModel>,
    pub(crate) real: Option<Outcome>,
}

/// A trained model as it is kept.
#[derive(Serialize, Deserialize)]
struct Stored {
    weights: Vec<Vec<f32>>,
    /// Halfway; empty but for the autoregressive model.
    half: Vec<Vec<f32>>,
    /// Mean loss of the last tenth of the steps.
    loss: f64,
}

/// Shares of the work before and in a part, for progress.
#[derive(Clone, Copy)]
struct Span {
    from: f64,
    share: f64,
}

impl Span {
    fn at(self, done: f64) -> f64 {
        self.from + self.share * done
    }
}

/// Part A: the three kinds, trained alike.
pub(crate) fn controlled(config: &Config, run: &mut Run, seen: &mut Seen) -> Result<()> {
    if !any_wanted(run, &CONTROLLED) {
        return Ok(());
    }
    if !run.has_data("kjv") {
        run.warn("kjv is not fetched (`ream data fetch kjv`): no models are trained, and what is said of them is not tested");
        return Ok(());
    }
    let texts = bases::kjv(run)?;
    let corpus = Corpus::new(&texts.training, &texts.held_out, config.shape.context + 1)
        .ok_or_else(|| failed("the chapters are shorter than two contexts"))?;
    let (mut models, losses) = measure(config, run, &corpus)?;
    report(config, run, &mut models, &losses);
    seen.models = models;
    Ok(())
}

/// Trains the three kinds, looks into them, leaves blocks out; with the training losses.
pub(crate) fn measure(config: &Config, run: &mut Run, corpus: &Corpus) -> Result<(Vec<SeenModel>, Vec<f64>)> {
    let total = if config.smollm2 { 0.8 } else { 1.0 };
    let networks = train_all(config, run, corpus, 0.65 * total)?;
    let mut looks = Vec::new();
    for (i, (network, _)) in networks.iter().enumerate() {
        run.progress((0.65 + 0.02 * i as f64) * total, &format!("looking into {}", network.kind.name()))?;
        looks.push(run.part(&format!("look {}", network.kind.name()), |run| {
            let seen = look(network, corpus, config, run.stream("look")).map_err(failed)?;
            let lists = choose(network, corpus, &seen, config, run.stream("choose")).map_err(failed)?;
            Ok((seen, lists))
        })?);
    }
    let lists: Vec<(Kind, Vec<Chosen>)> =
        networks.iter().zip(&looks).map(|((network, _), (_, lists))| (network.kind, lists.clone())).collect();
    let examination = Examination::new(corpus, config, run.stream("tasks"));
    let mut evaluated = Vec::new();
    for (i, ((network, _), (seen, _))) in networks.iter().zip(&looks).enumerate() {
        let name = network.kind.name();
        let span = Span { from: (0.71 + 0.09 * i as f64) * total, share: 0.09 * total };
        evaluated.push(run.part(&format!("skip {name}"), |run| {
            examine(network, corpus, &examination, (&lists, seen), config, |done| {
                run.progress(span.at(done), &format!("skipping blocks of {name}")).map_err(Stopped::Lab)
            })
            .map_err(Stopped::into_lab)
        })?);
    }
    let losses: Vec<f64> = networks.iter().map(|(_, loss)| *loss).collect();
    let mut models = Vec::new();
    for (((network, _), (look, chosen)), evaluated) in networks.iter().zip(looks).zip(evaluated) {
        let own = chosen.first().and_then(|c| c.own.clone()).unwrap_or_default();
        models.push(SeenModel {
            kind: network.kind,
            look,
            evaluated,
            own,
            curve: Vec::new(),
            baselines: Vec::new(),
            random: None,
        });
    }
    Ok((models, losses))
}

/// An error of the network or of the lab.
enum Stopped {
    Network(ream_nn::NnError),
    Lab(ream_lab::Error),
}

impl From<ream_nn::NnError> for Stopped {
    fn from(error: ream_nn::NnError) -> Self {
        Self::Network(error)
    }
}

impl Stopped {
    fn into_lab(self) -> ream_lab::Error {
        match self {
            Self::Network(error) => failed(error),
            Self::Lab(error) => error,
        }
    }
}

fn train_all(config: &Config, run: &mut Run, corpus: &Corpus, total: f64) -> Result<Vec<(Network, f64)>> {
    let (shape, settings) = (&config.shape, &config.training);
    let mut half = Vec::new();
    let mut networks = Vec::new();
    let mut from = 0.0;
    for kind in Kind::ALL {
        let tokens = if kind == Kind::ArInit { settings.tokens / 2 } else { settings.tokens };
        let share = total * tokens as f64 / (2.5 * settings.tokens as f64);
        let span = Span { from, share };
        let stored = run.part(&format!("train {}", kind.name()), |run| {
            let network = if kind == Kind::ArInit {
                let half = Network::from_weights(Kind::Ar, shape, &half).map_err(failed)?;
                half.open(shape, run.seed()).map_err(failed)?
            } else {
                Network::new(kind, shape, run.seed()).map_err(failed)?
            };
            train(config, run, corpus, (&network, settings.steps(tokens, shape.context)), span)
        })?;
        let network = Network::from_weights(kind, shape, &stored.weights).map_err(failed)?;
        if kind == Kind::Ar {
            half = stored.half;
        }
        networks.push((network, stored.loss));
        from += share;
    }
    Ok(networks)
}

fn train(
    config: &Config,
    run: &mut Run,
    corpus: &Corpus,
    (network, steps): (&Network, u64),
    span: Span,
) -> Result<Stored> {
    let name = network.kind.name();
    let (mut half, mut stopped, mut tail) = (Vec::new(), None, (0.0, 0_u64));
    let batches = run.stream(&format!("batches {name}"));
    let outcome = network.train(corpus, &config.training, steps, batches, |progress| {
        if network.kind == Kind::Ar && progress.step == steps.div_ceil(2) {
            half = network.weights();
        }
        if 10 * progress.step > 9 * steps {
            tail = (tail.0 + f64::from(progress.loss), tail.1 + 1);
        }
        if progress.step % 20 == 0 {
            run.metric(&format!("loss {name}"), progress.step, f64::from(progress.loss));
        }
        match run.progress(span.at(progress.step as f64 / steps as f64), &format!("training {name}")) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = stopped {
        return Err(error);
    }
    outcome.map_err(failed)?;
    Ok(Stored { weights: network.weights(), half, loss: tail.0 / tail.1.max(1) as f64 })
}

/// Tasks that every kind does at full depth: retention of a model that cannot do a task means nothing.
fn tasks_done(run: &mut Run, models: &[SeenModel], items: usize) -> Vec<usize> {
    let mut done = Vec::new();
    for (i, task) in Task::ALL.iter().enumerate() {
        let failing = models.iter().find(|m| !is_done(m.evaluated.full[i], m.evaluated.chance[i], items));
        match failing {
            None => done.push(i),
            Some(m) => run.warn(format!(
                "{} at full depth: {} scores {:.3}, a unigram predictor {:.3}; the task is left out of every mean retention",
                task.name(),
                m.kind.name(),
                m.evaluated.full[i],
                m.evaluated.chance[i]
            )),
        }
    }
    done
}

/// Retention of each task and the mean over those that are done.
fn retained(model: &SeenModel, row: &Row, done: &[usize]) -> (Vec<Option<f64>>, Option<f64>) {
    let e = &model.evaluated;
    let of = |i: usize| {
        let value = retention(row.scores[i], e.full[i], e.chance[i]);
        (done.contains(&i) && value.is_finite()).then_some(value)
    };
    let each = (0..row.scores.len()).map(of).collect();
    let values: Vec<f64> = done.iter().filter_map(|i| of(*i)).collect();
    (each, descriptive::mean(&values).ok())
}

/// Observes and tabulates what was measured.
pub(crate) fn report(config: &Config, run: &mut Run, models: &mut [SeenModel], losses: &[f64]) {
    let done = tasks_done(run, models, config.items);
    full_depth(run, models, losses);
    for model in models.iter_mut() {
        observe_lists(config, run, model, &done);
        observe_look(run, model);
    }
    compare(run, models);
}

/// Scores at full depth: what is compared must work.
fn full_depth(run: &mut Run, models: &[SeenModel], losses: &[f64]) {
    let mut table = Table::new(
        "Full depth",
        &["model", "training loss (last tenth)", "held-out loss", "task", "score", "unigram predictor"],
    );
    table.note = "Losses in nats a letter: next letter (ar), or masked letters at the noise levels of the calibration (held-out loss), weighted by 1/t (training).".to_owned();
    for (model, loss) in models.iter().zip(losses) {
        let e = &model.evaluated;
        for (i, task) in Task::ALL.iter().enumerate() {
            let at = [("task", Place::from(task.name()))];
            run.observe("score", model.kind.name(), &at, e.full[i]);
            let mut row: Vec<Cell> = vec![model.kind.name().into(), (*loss).into(), e.loss.into()];
            row.extend([task.name().into(), e.full[i].into(), e.chance[i].into()]);
            table = table.row(row);
        }
    }
    run.table(table);
}

/// The table of a model, with its observations.
fn observe_lists(config: &Config, run: &mut Run, model: &mut SeenModel, done: &[usize]) {
    let (arm, k) = (model.kind.name(), config.skip);
    let mut table = Table::new(
        format!("Blocks left out of {arm}"),
        &[
            "list",
            "K",
            "blocks",
            "arithmetic kept",
            "copy kept",
            "cloze kept",
            "mean kept",
            "loss increase",
            "FLOPs saved (blocks)",
            "FLOPs saved (all)",
            "time of a pass",
        ],
    );
    table.note = "Kept: (score - unigram predictor) / (full - unigram predictor). One list for all tasks, chosen on calibration text; blocks are counted from 1. Time: a pass over that of the full model, fastest of three on this machine.".to_owned();
    let cell = |value: Option<f64>| value.map_or(Cell::Empty, Cell::from);
    for row in model.evaluated.rows.clone() {
        let (each, mean) = retained(model, &row, done);
        let mut cells: Vec<Cell> =
            vec![row.list.clone().into(), (row.blocks.len() as u64).into(), choice::show(&row.blocks).into()];
        cells.extend(each.iter().map(|value| cell(*value)));
        cells.push(cell(mean));
        cells.extend([row.increase, row.saved[0], row.saved[1], row.seconds].map(Cell::from));
        table.rows.push(cells);
        let cut = if row.blocks.len() == k { "main".to_owned() } else { format!("k{}", row.blocks.len()) };
        let at = [("list", Place::from(row.list.as_str())), ("cut", Place::from(cut.as_str()))];
        run.observe("loss_increase", arm, &at, row.increase);
        if let Some(mean) = mean {
            run.observe("retention", arm, &at, mean);
            if row.list == "own" {
                model.curve.push((row.blocks.len(), mean));
            }
            if row.blocks.len() == k && !row.list.starts_with("random") {
                model.baselines.push((row.list.clone(), mean));
            }
        }
        if row.list == "own" && row.blocks.len() == k {
            for (of, share) in ["blocks", "all"].into_iter().zip(row.saved) {
                run.observe("flops_saved", arm, &[("of", Place::from(of))], share);
            }
        }
    }
    let random: Vec<f64> =
        model.evaluated.of("random", k).filter_map(|row| retained(model, row, done).1).collect();
    if let (Ok(mean), Ok(sd)) = (descriptive::mean(&random), descriptive::standard_deviation(&random)) {
        table.rows.push(vec![
            format!("random, mean of {}", random.len()).into(),
            (k as u64).into(),
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            mean.into(),
        ]);
        table.rows.push(vec![
            "random, standard deviation".into(),
            (k as u64).into(),
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            Cell::Empty,
            sd.into(),
        ]);
        model.random = Some((mean, sd));
        beside_random(run, model, (mean, sd));
    }
    model.curve.push((0, 1.0));
    model.curve.sort_by_key(|point| point.0);
    if model.curve.len() > 1 {
        run.observe("curve_area", arm, &[], area(&model.curve));
    }
    run.table(table);
}

/// The own list beside random ones and the greedy search.
fn beside_random(run: &mut Run, model: &SeenModel, (mean, sd): (f64, f64)) {
    let arm = model.kind.name();
    let of = |name: &str| model.baselines.iter().find(|b| b.0 == name).map(|b| b.1);
    let Some(own) = of("own") else { return };
    run.observe("over_random", arm, &[], (own - mean) / sd.max(1e-6));
    let Some(oracle) = of("oracle") else { return };
    run.observe("way_to_oracle", arm, &[], way(own, mean, oracle));
    if oracle - mean < SHORTEST_WAY {
        run.warn(format!(
            "{arm}: the greedy search keeps {oracle:.3}, random lists {mean:.3}: there is no way to go, own list {own:.3}"
        ));
    }
}

/// Share of the way from random to oracle; where there is none, all of it when no less is kept than by random lists, else nothing.
fn way(own: f64, random: f64, oracle: f64) -> f64 {
    if oracle - random >= SHORTEST_WAY {
        return (own - random) / (oracle - random);
    }
    if own >= random { 1.0 } else { 0.0 }
}

/// Area under a curve over the number of blocks, as a mean height.
fn area(curve: &[(usize, f64)]) -> f64 {
    let width = curve.last().map_or(0, |p| p.0) - curve.first().map_or(0, |p| p.0);
    let sum: f64 = curve.windows(2).map(|p| (p[1].0 - p[0].0) as f64 * f64::midpoint(p[0].1, p[1].1)).sum();
    sum / width.max(1) as f64
}

fn observe_look(run: &mut Run, model: &SeenModel) {
    let (arm, seen) = (model.kind.name(), &model.look);
    for (form, values) in [("centred", &seen.profile.centred), ("raw", &seen.profile.cosine)] {
        run.observe("early_similarity", arm, &[("form", Place::from(form))], first_half(values));
    }
    run.observe("early_update", arm, &[], first_half_geometric(&seen.profile.update));
    run.observe("recency", arm, &[], descriptive::mean(&seen.recency).unwrap_or(0.0));
    run.observe("half_distance", arm, &[("side", Place::from("before"))], half_distance(&seen.before));
    if !seen.behind.is_empty() {
        run.observe("half_distance", arm, &[("side", Place::from("behind"))], half_distance(&seen.behind));
    }
    for (moment, profile) in MOMENTS.iter().zip(&seen.moments) {
        let r = rank::pearson(&profile.centred, &seen.calibration.centred);
        if r.is_finite() {
            run.observe("trajectory", arm, &[("step", Place::from(*moment))], r);
        }
    }
    let mut table = Table::new(
        format!("Depth of {arm}"),
        &[
            "block",
            "c_l",
            "c_l centred",
            "u_l",
            "jump",
            "recency bias",
            "c_l centred, masked",
            "unmasked",
            "at 10 %",
            "at 50 %",
            "at 90 % of decoding",
            "skipped",
        ],
    );
    table.note = "c_l: mean cosine of a token's state before and after the block; u_l: relative update; jump: largest norm after the block over largest before. Columns 2 to 5 on the calibration sequences.".to_owned();
    for l in 0..seen.calibration.cosine.len() {
        let p = &seen.calibration;
        let mut row: Vec<Cell> = vec![((l + 1) as u64).into()];
        row.extend([p.cosine[l], p.centred[l], p.update[l], p.jump[l], seen.recency[l]].map(Cell::from));
        let others: Vec<Cell> =
            seen.positions.iter().chain(&seen.moments).map(|p| p.centred[l].into()).collect();
        row.extend(if others.is_empty() { vec![Cell::Empty; 5] } else { others });
        row.push(if model.own.contains(&l) { "yes".into() } else { Cell::Empty });
        table.rows.push(row);
    }
    run.table(table);
}

/// Profiles and retention of the three kinds beside each other.
fn compare(run: &mut Run, models: &[SeenModel]) {
    let of = |kind: Kind| models.iter().find(|m| m.kind == kind);
    let profile = |kind: Kind| of(kind).map(|m| m.look.profile.centred.clone()).unwrap_or_default();
    for (arm, a, b) in [
        ("ar-init-ar", Kind::ArInit, Kind::Ar),
        ("ar-init-dlm", Kind::ArInit, Kind::Dlm),
        ("ar-dlm", Kind::Ar, Kind::Dlm),
    ] {
        let r = rank::pearson(&profile(a), &profile(b));
        if r.is_finite() {
            run.observe("profile_pearson", arm, &[], r);
        }
    }
    let kept = |kind: Kind| of(kind)?.baselines.iter().find(|b| b.0 == "own").map(|b| b.1);
    if let (Some(ar), Some(dlm), Some(init)) = (kept(Kind::Ar), kept(Kind::Dlm), kept(Kind::ArInit)) {
        run.observe("retention_excess", "ar-init", &[], init - ar.max(dlm));
    }
}

/// Part B: SmolLM2.
pub(crate) fn real_model(config: &Config, run: &mut Run, seen: &mut Seen) -> Result<()> {
    if !config.smollm2 || !any_wanted(run, &REAL) {
        return Ok(());
    }
    let missing: Vec<&str> = DATA.into_iter().filter(|id| !run.has_data(id)).collect();
    if !missing.is_empty() {
        run.warn(format!("SmolLM2 is not looked at: `ream data fetch {}`", missing.join(" ")));
        return Ok(());
    }
    let lm = bases::smollm2(run)?;
    let [calibration, evaluation] = mixed_text(config, run, &lm)?;
    let outcome = run.part("smollm2", |run| {
        let stream = run.stream("random lists of SmolLM2");
        let mut progress =
            |done: f64| run.progress(0.8 + 0.2 * done, "leaving blocks of SmolLM2 out").map(|_| ());
        real::study(&lm.model, &calibration, &evaluation, &config.real, stream, &mut progress)
    })?;
    observe_real(config, run, &lm.model, &outcome);
    run.table(real_table("Blocks left out of SmolLM2", &lm.model, &outcome));
    seen.real = Some(outcome);
    Ok(())
}

/// What part B reads.
pub(crate) const DATA: [&str; 4] = ["smollm2", "kjv", "shakespeare", "argparse"];

/// Windows of three texts in turn, for calibration and for evaluation: chapters that no small model reads, plays, a Python file.
fn mixed_text(config: &Config, run: &Run, lm: &ream_lm::LanguageModel) -> Result<[Vec<Vec<u32>>; 2]> {
    let settings = &config.real;
    let python = std::fs::read_to_string(run.data("argparse")?).map_err(failed)?;
    let plays = bases::shakespeare(run)?;
    let texts = [bases::kjv(run)?.held_out.concat(), plays.into_iter().next().unwrap_or_default(), python];
    let windows = settings.tokens / settings.window;
    let (mut calibration, mut evaluation) = (Vec::new(), Vec::new());
    for (i, text) in texts.iter().enumerate() {
        let part = |n: usize| (n + 2 - i) / 3;
        let (n, m) = (part(windows), part(settings.calibration));
        let wanted = n * (settings.window + 1) + m * settings.calibration_window;
        // More than a token has letters on average; a longer piece costs nothing but its encoding.
        let piece: String = text.chars().take(8 * wanted).collect();
        let tokens = lm.encode(&piece);
        if tokens.len() < wanted {
            let what = ["the held-out chapters", "the first play", "argparse.py"][i];
            return Err(failed(format!("{what}: {} tokens, {wanted} are needed", tokens.len())));
        }
        let (first, second) = tokens.split_at(n * (settings.window + 1));
        evaluation.push(real::windows(first, settings.window + 1));
        calibration.extend(real::windows(second, settings.calibration_window).into_iter().take(m));
    }
    // In turn, so that the first few windows hold all three texts.
    let longest = evaluation.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|j| evaluation.iter().filter_map(move |text| text.get(j).cloned()));
    Ok([calibration, turns.collect()])
}

pub(crate) fn observe_real(config: &Config, run: &mut Run, model: &Model, outcome: &Outcome) {
    for row in &outcome.rows {
        let at = [("list", Place::from(row.list.as_str())), ("k", Place::from(row.k as f64))];
        run.observe("smollm2_loss_increase", "smollm2", &at, row.increase);
    }
    for &k in &config.real.skip {
        let at = [("k", Place::from(k as f64))];
        for (of, share) in ["blocks", "all"].into_iter().zip(real::saved(model, k)) {
            run.observe("smollm2_flops_saved", "smollm2", &[at[0].clone(), ("of", Place::from(of))], share);
        }
        let (own, oracle) = (outcome.of("own", k).next(), outcome.of("oracle", k).next());
        if let (Some(own), Some(oracle), Some((random, _))) = (own, oracle, outcome.random(k)) {
            // Less loss is better: the signs turn.
            run.observe(
                "smollm2_way_to_oracle",
                "smollm2",
                &at,
                way(-own.increase, -random, -oracle.increase),
            );
        }
    }
}

/// The table of a real model.
pub(crate) fn real_table(title: &str, model: &Model, outcome: &Outcome) -> Table {
    let mut table = Table::new(
        title,
        &[
            "list",
            "K",
            "blocks",
            "loss increase",
            "tokens",
            "FLOPs saved (blocks)",
            "FLOPs saved (all)",
            "time of a pass",
        ],
    );
    table.note = format!(
        "Loss of the full model: {:.4} nats a token. Loss increase in nats a token, on the tokens said. Blocks are counted from 1; blocks that the rule may skip: {}.",
        outcome.full,
        choice::show(&outcome.allowed)
    );
    for row in &outcome.rows {
        let [blocks, all] = real::saved(model, row.k);
        let mut cells: Vec<Cell> =
            vec![row.list.clone().into(), (row.k as u64).into(), choice::show(&row.blocks).into()];
        cells.extend([row.increase, row.tokens as f64, blocks, all, row.seconds].map(Cell::from));
        table.rows.push(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_oracle() {
        assert!((way(0.8, 0.5, 0.9) - 0.75).abs() < 1e-12);
        assert!((way(0.4, 0.5, 0.9) + 0.25).abs() < 1e-12);
        assert_eq!((way(0.6, 0.5, 0.45), way(0.4, 0.5, 0.45)), (1.0, 0.0));
    }

    #[test]
    fn the_area_is_a_mean_height() {
        assert!((area(&[(0, 1.0), (2, 1.0)]) - 1.0).abs() < 1e-12);
        assert!((area(&[(0, 1.0), (1, 0.0), (3, 0.0)]) - 0.5 / 3.0).abs() < 1e-12);
    }
}

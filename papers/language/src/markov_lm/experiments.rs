//! The experiments under a [`Run`]: laws, trainings, drafts; observe.

use super::alignment::{Geometry, draw_pairs, head_metric};
use super::config::{BuiltIn, Config, MOST_CONTEXTS};
use super::divergence::Divergence;
use super::laws::{entropy_residual, largest_growth, law_residuals};
use super::model::{Model, softmax};
use super::objectives::Objective;
use super::operator::{Similarity, Spectrum, spectrum};
use super::probes::{Judged, Positions, Probe, Reads, capacity_name, over_windows, surplus, total_surplus};
use super::sources::{ContextSettings, Contexts, Estimate, Hmm, Horizon, Markov, Source, Text, kl};
use super::training::{Setup, failed};
use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_nn::Init;
use ream_rand::Stream;
use ream_stats::{Matrix, rank};
use serde::{Deserialize, Serialize};

/// Divergences whose entropies are compared.
const COMPARED: [Divergence; 3] = [Divergence::Kl, Divergence::TotalVariation, Divergence::Renyi(1.5)];
/// Points of the moving average that must rise.
const SMOOTHED_POINTS: usize = 5;

/// Measures of the hidden states, and of drafts.
const SHAPES: [&str; 5] = ["alignment", "cka", "cka_whitened", "separation", "separation_rise"];
const LAWS: [&str; 3] = ["kl", "entropy_gap", "entropy_correlation"];
const DRAFTS: [&str; 9] = [
    "surplus",
    "surplus_in_se",
    "over_ceiling",
    "recovered",
    "token_slack",
    "total_surplus",
    "acceptance",
    "greedy_acceptance",
    "link",
];

fn any_wanted(run: &Run, measures: &[&str]) -> bool {
    measures.iter().any(|measure| run.wanted(measure))
}

/// Whether this seed need observe anything of a model.
pub(crate) fn any_model_wanted(run: &Run) -> bool {
    any_wanted(run, &SHAPES) || any_wanted(run, &LAWS) || any_wanted(run, &DRAFTS) || run.wanted("ceiling")
}

/// What the pictures show of a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) source: String,
    pub(crate) eigenvalues: Vec<f64>,
    /// Squared singular values of the hidden states of each arm.
    pub(crate) singular: Vec<(String, Vec<f64>)>,
    /// Principal coordinates before and after training.
    pub(crate) planes: Vec<[Vec<f64>; 2]>,
    pub(crate) classes: Vec<usize>,
    pub(crate) class_names: Vec<String>,
    /// True entropies, and those of each arm's model.
    pub(crate) entropies: (Vec<f64>, Vec<(String, Vec<f64>)>),
    pub(crate) curve: Vec<Point>,
    /// Name of each draft with its acceptance and surplus (largest capacity, k = 2).
    pub(crate) drafts: Vec<(String, Estimate, Option<Estimate>)>,
    pub(crate) ceiling: Option<f64>,
    /// Surplus and gain in acceptance of the untrained model and of each checkpoint.
    pub(crate) links: Vec<(f64, f64)>,
    pub(crate) judged: bool,
}

/// The log-loss model at one step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) step: f64,
    pub(crate) kl: f64,
    pub(crate) alignment: f64,
    pub(crate) cka: f64,
    pub(crate) separation: f64,
}

/// How much of the run is done.
pub(crate) struct Work {
    done: f64,
    total: f64,
}

impl Work {
    pub(crate) fn new(total: f64) -> Self {
        Self { done: 0.0, total: total.max(1.0) }
    }

    fn share(&self, more: f64) -> f64 {
        (self.done + more) / self.total
    }
}

/// Steps of all trainings on one source, a probe's counted by its batch.
pub(crate) fn cost(config: &Config, control: bool) -> f64 {
    let objectives = if control { 1 } else { config.objectives.len() };
    let probes =
        3 * config.probes.hidden.len() * (config.probes.horizon - 1) + config.evaluation.checkpoints.len();
    config.training.steps as f64 * objectives as f64 + probes as f64 * config.probes.steps as f64 * 0.2
}

/// C1: the equations of the category, and data-processing.
pub(crate) fn kernels(config: &Config, run: &mut Run) -> Result<()> {
    run.part("kernels", |run| {
        let mut table = Table::new("The category of finite Markov kernels", &["law", "largest difference"]);
        table.note = format!(
            "Over {} sets of random kernels. Data-processing: largest growth of the information under composition on either side, at most rounding when it never grows.",
            config.kernels
        );
        let mut row = |name: String, value: f64| table.rows.push(vec![name.into(), value.into()]);
        for (law, residual) in law_residuals(config.kernels, run.stream("laws"))? {
            run.observe("law_residual", "kernels", &[("law", Place::from(law))], residual);
            row(law.to_owned(), residual);
        }
        for divergence in Divergence::ALL {
            let name = divergence.to_string();
            let at = [("divergence", Place::from(name.as_str()))];
            let growth = largest_growth(divergence, config.kernels, run.stream(&format!("processing {name}")))?;
            let residual = entropy_residual(divergence, config.kernels, run.stream(&format!("entropy {name}")))?;
            run.observe("dpi_excess", "kernels", &at, growth);
            run.observe("entropy_residual", "kernels", &at, residual);
            row(format!("data-processing, {name}"), growth);
            row(format!("entropy by definition and closed form, {name}"), residual);
        }
        run.table(table);
        Ok(())
    })
}

/// The built-in sources that this run can have; a text that is not fetched is left out with a warning.
pub(crate) fn built_in(config: &Config, run: &mut Run) -> Result<Vec<(Box<dyn Source>, bool)>> {
    let s = &config.synthetic;
    let stream = |name: &str| Stream::new(s.seed, name);
    let mut sources: Vec<(Box<dyn Source>, bool)> = Vec::new();
    for which in &config.sources {
        let source: Box<dyn Source> = match which {
            BuiltIn::Hmm => Box::new(Hmm::sticky(
                s.states,
                s.hmm_tokens,
                s.stay,
                s.concentration,
                (config.model.window, s.positions),
                stream("hmm"),
            )?),
            BuiltIn::Order2 => {
                Box::new(Markov::low_rank(s.tokens, s.classes, s.concentration, stream("order-2"))?)
            }
            BuiltIn::Order1 => Box::new(Markov::first_order(s.tokens, s.concentration, stream("order-1"))?),
            BuiltIn::Kjv if !run.has_data("kjv") => {
                run.warn("kjv is not fetched (`ream data fetch kjv`): no source of letters, and no rule over all sources");
                continue;
            }
            BuiltIn::Kjv => Box::new(king_james(config, run)?),
        };
        sources.push((source, which.is_judged()));
    }
    Ok(sources)
}

fn king_james(config: &Config, run: &Run) -> Result<Text> {
    let bible = ream_data::sword::Bible::open(&run.data("kjv")?)?.canonical();
    let text = bible.verses().map(|(_, verse)| verse).collect::<Vec<_>>().join(" ");
    let settings = (config.text.context, config.text.minimum_count);
    Ok(Text::of_letters("kjv", &text, settings, config.model.window + config.probes.horizon)?)
}

/// One source with what is known of it and where its observations belong.
struct Study<'a> {
    config: &'a Config,
    setup: Setup<'a>,
    contexts: Contexts,
    spectra: Vec<(Similarity, Spectrum)>,
    pairs: Vec<(usize, usize)>,
    horizons: Vec<Horizon>,
    at: Vec<(&'static str, Place)>,
}

/// A model as its contexts see it.
struct Look {
    geometry: Geometry,
    laws: Option<Matrix>,
}

impl Study<'_> {
    fn name(&self) -> &str {
        self.setup.source.name()
    }

    fn place(&self, more: &[(&'static str, Place)]) -> Vec<(&'static str, Place)> {
        self.at.iter().chain(more).cloned().collect()
    }

    fn look(&self, model: &Model, objective: Objective) -> Result<Look> {
        let (hidden, outputs) = model.at_contexts(&self.contexts).map_err(failed)?;
        let mu = &self.contexts.weights;
        if objective == Objective::Spectral {
            // No head: the metric is that of the features themselves.
            return Ok(Look { geometry: Geometry::euclidean(&outputs, mu).map_err(failed)?, laws: None });
        }
        let laws = softmax(&outputs);
        let metric = head_metric(&model.head_rows(), &laws, mu).map_err(failed)?;
        Ok(Look { geometry: Geometry::new(&hidden, mu, &metric).map_err(failed)?, laws: Some(laws) })
    }

    fn kl(&self, laws: &Matrix) -> f64 {
        let of = |(x, weight): (usize, &f64)| weight * kl(self.contexts.laws.row(x), laws.row(x));
        self.contexts.weights.iter().enumerate().map(of).sum()
    }

    fn leading(&self) -> usize {
        self.config.evaluation.leading
    }

    fn point(&self, step: u64, model: &Model) -> Result<Point> {
        let look = self.look(model, Objective::Nll)?;
        let spectrum = &self.spectra[0].1;
        Ok(Point {
            step: step as f64,
            kl: look.laws.as_ref().map_or(f64::NAN, |laws| self.kl(laws)),
            alignment: look.geometry.alignment(spectrum, self.leading()).map_err(failed)?,
            cka: look.geometry.cka(spectrum, self.leading()).map_err(failed)?,
            separation: look.geometry.separation(&self.contexts.laws, &self.pairs).map_err(failed)?,
        })
    }

    /// Hidden states beside the operator.
    fn observe_geometry(
        &self,
        run: &mut Run,
        arm: &str,
        geometry: &Geometry,
        table: &mut Vec<Cell>,
    ) -> Result<()> {
        let whitened = geometry.whitened().map_err(failed)?;
        for (similarity, spectrum) in &self.spectra {
            let at = self.place(&[("operator", Place::from(similarity.to_string()))]);
            let r = self.leading();
            let alignment = geometry.alignment(spectrum, r).map_err(failed)?;
            let cka = geometry.cka(spectrum, r).map_err(failed)?;
            run.observe("alignment", arm, &at, alignment);
            run.observe("cka", arm, &at, cka);
            run.observe("cka_whitened", arm, &at, whitened.cka(spectrum, r).map_err(failed)?);
            table.extend([alignment.into(), cka.into()]);
        }
        let separation = geometry.separation(&self.contexts.laws, &self.pairs).map_err(failed)?;
        run.observe("separation", arm, &self.place(&[]), separation);
        table.push(separation.into());
        Ok(())
    }

    /// The model's laws beside the true ones.
    fn observe_laws(&self, run: &mut Run, arm: &str, laws: &Matrix, seen: &mut Seen, table: &mut Vec<Cell>) {
        let divergence = self.kl(laws);
        run.observe("kl", arm, &self.place(&[]), divergence);
        table.push(divergence.into());
        let of = |d: Divergence, laws: &Matrix| -> Vec<f64> {
            (0..laws.rows()).map(|x| d.entropy(laws.row(x))).collect()
        };
        for divergence in COMPARED {
            let (truth, model) = (of(divergence, &self.contexts.laws), of(divergence, laws));
            let pairs = self.contexts.weights.iter().zip(truth.iter().zip(&model));
            let gap: f64 = pairs.map(|(weight, (a, b))| weight * (a - b).abs()).sum();
            let at = self.place(&[("divergence", Place::from(divergence.to_string()))]);
            let correlation = rank::pearson(&truth, &model);
            run.observe("entropy_gap", arm, &at, gap);
            if correlation.is_finite() {
                run.observe("entropy_correlation", arm, &at, correlation);
            }
            if divergence == Divergence::Kl {
                table.extend([gap.into(), correlation.into()]);
                seen.entropies.0 = truth;
                seen.entropies.1.push((arm.to_owned(), model));
            }
        }
    }

    /// Everything about one model. Rows of the table: arm, operator measures, separation, KL, entropy gap, correlation.
    fn observe_model(
        &self,
        run: &mut Run,
        arm: &str,
        (model, objective): (&Model, Objective),
        seen: &mut Seen,
    ) -> Result<Vec<Cell>> {
        let look = self.look(model, objective)?;
        let mut row = vec![Cell::from(arm)];
        self.observe_geometry(run, arm, &look.geometry, &mut row)?;
        if let Some(laws) = &look.laws {
            self.observe_laws(run, arm, laws, seen, &mut row);
        }
        let squares = look.geometry.singular_values().map_err(failed)?.iter().map(|s| s * s).collect();
        seen.singular.push((arm.to_owned(), squares));
        if matches!(arm, "untrained" | "nll") {
            seen.planes.push(look.geometry.plane().map_err(failed)?);
        }
        Ok(row)
    }

    /// Random features of the bag of the context's tokens.
    fn bag(&self, stream: Stream) -> Result<Geometry> {
        let (tokens, d) = (self.setup.source.tokens(), self.setup.shape.d);
        let mut rng = stream.at(0);
        let map: Vec<f64> = (0..tokens * d).map(|_| rng.normal() / (d as f64).sqrt()).collect();
        let features: Vec<Vec<f64>> = self
            .contexts
            .windows
            .iter()
            .map(|window| {
                let mut sum = vec![0.0; d];
                for token in window {
                    let row = &map[*token as usize * d..(*token as usize + 1) * d];
                    sum.iter_mut().zip(row).for_each(|(s, m)| *s += m / window.len() as f64);
                }
                sum
            })
            .collect();
        let states = Matrix::from_rows(&features).map_err(failed)?;
        Geometry::euclidean(&states, &self.contexts.weights).map_err(failed)
    }
}

/// Snapshots of a training: the end, and checkpoints before it.
#[derive(Serialize, Deserialize)]
struct Trained {
    checkpoints: Vec<Vec<Vec<f32>>>,
    curve: Vec<Point>,
}

/// Steps at which `points` evenly spread looks fall, the untrained model first.
fn look_steps(steps: u64, points: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (0..=points).map(|k| k * steps / points).collect();
    all.dedup();
    all
}

fn checkpoint_steps(config: &Config) -> Vec<u64> {
    let steps = config.training.steps;
    let of = |part: &f64| ((part * steps as f64).round() as u64).clamp(1, steps);
    let mut all: Vec<u64> = config.evaluation.checkpoints.iter().map(of).collect();
    all.dedup();
    all
}

/// One source: train, compare, draft.
pub(crate) fn study(
    config: &Config,
    run: &mut Run,
    work: &mut Work,
    source: &dyn Source,
    (judged, sources): (bool, usize),
) -> Result<Seen> {
    let name = source.name().to_owned();
    let done = work.done;
    let seen = run.part(&name, |run| {
        let settings = ContextSettings {
            window: config.model.window,
            histories: config.evaluation.histories,
            most: if name == "hmm" { config.evaluation.contexts } else { MOST_CONTEXTS },
        };
        let contexts = source.contexts(settings, run.stream(&format!("{name} contexts")));
        let spectra = Similarity::ALL
            .into_iter()
            .map(|s| Ok((s, spectrum(&contexts.laws, &contexts.weights, s).map_err(failed)?)))
            .collect::<Result<Vec<_>>>()?;
        let pairs =
            draw_pairs(&contexts.weights, config.evaluation.pairs, run.stream(&format!("{name} pairs")));
        let horizons = if any_wanted(run, &DRAFTS) || run.wanted("ceiling") {
            source.horizons(config.probes.horizon)
        } else {
            Vec::new()
        };
        let study = Study {
            config,
            setup: Setup {
                source,
                shape: &config.model,
                optimisation: &config.training,
                seed: run.seed(),
                batches: run.stream(&format!("{name} batches")),
            },
            contexts,
            spectra,
            pairs,
            horizons,
            at: place(&name, judged, sources),
        };
        let mut seen = Seen {
            source: name.clone(),
            eigenvalues: study.spectra[0].1.values.clone(),
            classes: study.contexts.classes.clone(),
            class_names: study.contexts.class_names.clone(),
            ceiling: study.horizons.first().map(|h| h.ceiling.value),
            judged,
            ..Seen::default()
        };
        let nll = models(&study, run, work, &mut seen)?;
        if any_wanted(run, &DRAFTS) {
            drafts(&study, run, work, &nll, &mut seen)?;
        }
        Ok(seen)
    })?;
    work.done = done + cost(config, !judged && name != super::own_data::NAME);
    Ok(seen)
}

/// Trains every objective; gives the checkpoints of the log-loss model, the untrained one first.
fn models(study: &Study<'_>, run: &mut Run, work: &mut Work, seen: &mut Seen) -> Result<Vec<Vec<Vec<f32>>>> {
    let config = study.config;
    let columns = [
        "trained on",
        "A_r, K",
        "CKA, K",
        "A_r, Bhattacharyya",
        "CKA, Bhattacharyya",
        "separation",
        "KL, nats",
        "entropy gap, nats",
        "entropy correlation",
    ];
    let mut table = Table::new(format!("Models of {}", study.name()), &columns);
    table.note = format!(
        "A_r and CKA with the {} leading eigenfunctions; {} contexts.",
        config.evaluation.leading,
        study.contexts.windows.len()
    );
    let untrained = study.setup.untrained(Objective::Nll)?;
    table.rows.push(study.observe_model(run, "untrained", (&untrained, Objective::Nll), seen)?);
    let bag = study.bag(run.stream(&format!("{} bag", study.name())))?;
    let mut row = vec![Cell::from("bag of random features")];
    study.observe_geometry(run, "bag", &bag, &mut row)?;
    table.rows.push(row);
    let mut checkpoints = vec![untrained.snapshot()];
    for objective in wanted_objectives(config, run, seen.judged || study.name() == super::own_data::NAME) {
        let trained = train(study, run, work, objective)?;
        let model = study.setup.untrained(objective)?;
        model.restore(trained.checkpoints.last().map_or(&[], Vec::as_slice)).map_err(failed)?;
        table.rows.push(study.observe_model(run, &objective.to_string(), (&model, objective), seen)?);
        if objective == Objective::Nll {
            let curve: Vec<f64> = trained.curve.iter().map(|p| p.separation).collect();
            if let Some(rise) = smallest_rise(&curve, SMOOTHED_POINTS) {
                run.observe("separation_rise", "nll", &study.place(&[]), rise);
            }
            seen.curve = trained.curve;
            checkpoints.extend(trained.checkpoints);
        }
    }
    run.table(table);
    Ok(checkpoints)
}

/// The objectives that a wanted measure reads; a control is trained on log-loss alone.
fn wanted_objectives(config: &Config, run: &Run, all: bool) -> Vec<Objective> {
    let (shapes, laws) = (any_wanted(run, &SHAPES), any_wanted(run, &LAWS));
    let wanted = |objective: &Objective| match objective {
        Objective::Nll => true,
        Objective::Spectral => all && shapes,
        _ => all && (shapes || laws),
    };
    let mut objectives: Vec<Objective> = config.objectives.iter().copied().filter(wanted).collect();
    objectives.sort();
    objectives
}

fn train(study: &Study<'_>, run: &mut Run, work: &mut Work, objective: Objective) -> Result<Trained> {
    let steps = study.config.training.steps;
    let part = format!("train {objective}");
    let what = format!("{}: {objective}", study.name());
    let trained = run.part(&part, |run| {
        let looks = if objective == Objective::Nll {
            look_steps(steps, study.config.evaluation.points)
        } else {
            Vec::new()
        };
        let kept = if objective == Objective::Nll { checkpoint_steps(study.config) } else { vec![steps] };
        let mut stops: Vec<u64> = looks.iter().chain(&kept).copied().collect();
        stops.sort_unstable();
        stops.dedup();
        let mut trained = Trained { checkpoints: Vec::new(), curve: Vec::new() };
        let watch = |step: u64, model: &Model| {
            if looks.contains(&step) {
                trained.curve.push(study.point(step, model)?);
            }
            if kept.contains(&step) {
                trained.checkpoints.push(model.snapshot());
            }
            Ok(())
        };
        study.setup.train(objective, &stops, watch, |step| run.progress(work.share(step as f64), &what))?;
        for point in &trained.curve {
            let step = point.step as u64;
            run.metric(&format!("{} kl", study.name()), step, point.kl);
            run.metric(&format!("{} alignment", study.name()), step, point.alignment);
            run.metric(&format!("{} separation", study.name()), step, point.separation);
        }
        Ok(trained)
    })?;
    work.done += steps as f64;
    Ok(trained)
}

/// Smallest step of a moving average; nothing where it has fewer than two points.
fn smallest_rise(values: &[f64], width: usize) -> Option<f64> {
    let mean = |window: &[f64]| window.iter().sum::<f64>() / width as f64;
    let smooth: Vec<f64> = values.windows(width).map(mean).collect();
    smooth.windows(2).map(|pair| pair[1] - pair[0]).reduce(f64::min)
}

/// Drafts from every checkpoint of the log-loss model: all probes at its end, the largest before it.
fn drafts(
    study: &Study<'_>,
    run: &mut Run,
    work: &mut Work,
    checkpoints: &[Vec<Vec<f32>>],
    seen: &mut Seen,
) -> Result<()> {
    let last = checkpoints.len() - 1;
    let largest = study.config.probes.hidden.last().copied().unwrap_or(0);
    for (number, snapshot) in checkpoints.iter().enumerate() {
        let drafts = Drafts::new(study, run, snapshot)?;
        if number == last {
            let mut table = Table::new(
                format!("Drafts on {}", study.name()),
                &["probe", "k", "reads", "S_k, nats", "standard error", "acceptance", "greedy acceptance"],
            );
            table.note = "Held-out windows. S_k: cross entropy of the token's probe less that of the probe. Acceptance: of a draft of token t+2 by the model.".to_owned();
            for hidden in &study.config.probes.hidden {
                for k in 2..=study.config.probes.horizon {
                    let judged = drafts.judge_all(run, work, *hidden, k)?;
                    drafts.observe(run, *hidden, k, &judged, &mut table);
                    if k == 2 && *hidden == largest {
                        drafts.keep(&judged, seen);
                    }
                }
            }
            run.table(table);
        } else if run.wanted("link") {
            let token = drafts.judge(run, work, Reads::Token, largest, 2)?;
            let both = drafts.judge(run, work, Reads::HiddenToken, largest, 2)?;
            seen.links.push(drafts.link(&token, &both));
        }
    }
    Ok(())
}

/// Positions of one checkpoint.
struct Drafts<'a> {
    study: &'a Study<'a>,
    training: Positions,
    held_out: Positions,
}

impl<'a> Drafts<'a> {
    fn new(study: &'a Study<'a>, run: &Run, snapshot: &[Vec<f32>]) -> Result<Self> {
        let model = study.setup.untrained(Objective::Nll)?;
        model.restore(snapshot).map_err(failed)?;
        let settings = &study.config.probes;
        let collect = |count, held_out: bool| {
            let stream = run.stream(&format!("{} positions {held_out}", study.name()));
            let sizes = (study.config.model.window, settings.horizon);
            Positions::collect(&model, study.setup.source, sizes, (count, held_out), stream)
        };
        let (training, held_out) = collect(settings.training_windows, false)?
            .standardised(collect(settings.held_out_windows, true)?);
        Ok(Self { study, training, held_out })
    }

    fn judge(&self, run: &mut Run, work: &mut Work, reads: Reads, hidden: usize, k: usize) -> Result<Judged> {
        let (study, settings) = (self.study, &self.study.config.probes);
        let tokens = study.setup.source.tokens();
        let path = format!("{} {} {} {k}", study.name(), reads.name(), capacity_name(hidden));
        let init = Init::new(run.seed()).at(&path);
        let probe = Probe::new(&init, reads, study.setup.shape.d, tokens, hidden);
        let stream = run.stream(&format!("probe {path}"));
        let share = work.share(0.0);
        let what = format!("{}: drafts", study.name());
        probe.train(&self.training, k, settings, stream, || run.progress(share, &what))?;
        work.done += 0.2 * settings.steps as f64;
        probe.judge(&self.held_out, k)
    }

    fn judge_all(&self, run: &mut Run, work: &mut Work, hidden: usize, k: usize) -> Result<[Judged; 3]> {
        let [token, state, both] = Reads::ALL.map(|reads| self.judge(run, work, reads, hidden, k));
        Ok([token?, state?, both?])
    }

    fn observe(&self, run: &mut Run, hidden: usize, k: usize, judged: &[Judged; 3], table: &mut Table) {
        let probe = capacity_name(hidden);
        let k_place = ("k", Place::from(k as f64));
        let at = self.study.place(&[k_place, ("probe", Place::from(probe.as_str()))]);
        let at_probe = self.study.place(&[("probe", Place::from(probe.as_str()))]);
        let [token, state, both] = judged;
        let horizon = self.study.horizons.iter().find(|h| h.k == k);
        if let Some(h) = horizon {
            run.observe_with("ceiling", "past", &at, h.ceiling.value, Spread::Se(h.ceiling.se));
            let slack = over_windows(&token.losses, &self.held_out);
            run.observe_with(
                "token_slack",
                "token",
                &at,
                slack.value - h.token_entropy,
                Spread::Se(slack.se),
            );
        }
        for (reads, judged) in Reads::ALL.into_iter().zip(judged) {
            let arm = reads.name();
            let mut row = vec![Cell::from(probe.as_str()), Cell::from(k as u64), Cell::from(arm)];
            if reads == Reads::Token {
                row.extend([Cell::Empty, Cell::Empty]);
            } else {
                let s = surplus(token, judged, &self.held_out);
                run.observe_with("surplus", arm, &at, s.value, Spread::Se(s.se));
                row.extend([s.value.into(), s.se.into()]);
            }
            if k == 2 {
                for (measure, values) in
                    [("acceptance", &judged.accepted), ("greedy_acceptance", &judged.agreed)]
                {
                    let mean = over_windows(values, &self.held_out);
                    run.observe_with(measure, arm, &at_probe, mean.value, Spread::Se(mean.se));
                    row.push(mean.value.into());
                }
            }
            table.rows.push(row);
        }
        let s = surplus(token, both, &self.held_out);
        if s.se > 0.0 {
            run.observe("surplus_in_se", "hidden-token", &at, s.value / s.se);
        }
        if let Some(h) = horizon {
            let se = s.se.hypot(h.ceiling.se);
            run.observe_with("over_ceiling", "hidden-token", &at, s.value - h.ceiling.value, Spread::Se(se));
            // The order-1 control has no ceiling to recover.
            if h.ceiling.value > 1e-9 {
                run.observe("recovered", "hidden-token", &at, s.value / h.ceiling.value);
            }
        }
        if k == 2 {
            let total = total_surplus(token, both, &self.held_out);
            run.observe_with("total_surplus", "hidden-token", &at_probe, total.value, Spread::Se(total.se));
            let hidden_only = surplus(token, state, &self.held_out);
            if self.study.name() == "order-1" && s.value.abs() > 3.0 * s.se {
                run.warn(format!(
                    "order-1 control: S_2 = {:.5} of the {probe} probes is not 0 within 3 standard errors ({:.5}); hidden state alone {:.5}",
                    s.value, s.se, hidden_only.value
                ));
            }
        }
    }

    /// Surplus and gain in acceptance.
    fn link(&self, token: &Judged, both: &Judged) -> (f64, f64) {
        let gain = over_windows(&both.accepted, &self.held_out).value
            - over_windows(&token.accepted, &self.held_out).value;
        (surplus(token, both, &self.held_out).value, gain)
    }

    fn keep(&self, judged: &[Judged; 3], seen: &mut Seen) {
        let [token, _, both] = judged;
        seen.links.push(self.link(token, both));
        for (reads, judged) in Reads::ALL.into_iter().zip(judged) {
            let accepted = over_windows(&judged.accepted, &self.held_out);
            let s = (reads != Reads::Token).then(|| surplus(token, judged, &self.held_out));
            seen.drafts.push((reads.name().to_owned(), accepted, s));
        }
    }
}

/// Where a source's observations stand. Rules over all sources ask for three; a control is none of them, whatever else runs.
fn place(name: &str, judged: bool, sources: usize) -> Vec<(&'static str, Place)> {
    let counted = if judged { sources as f64 } else { 0.0 };
    vec![("source", Place::from(name)), ("sources", Place::from(counted))]
}

/// C3: surplus and gain in acceptance over checkpoints and sources.
pub(crate) fn link(run: &mut Run, seen: &[Seen], sources: usize) {
    let judged = || seen.iter().filter(|s| s.judged);
    let correlation = |from: usize| {
        let (s, gain): (Vec<f64>, Vec<f64>) =
            judged().flat_map(|s| s.links.iter().skip(from).copied()).unzip();
        (s.len() >= 4).then(|| rank::spearman(&s, &gain)).filter(|r| r.is_finite())
    };
    for (arm, from) in [("checkpoints", 1), ("with-untrained", 0)] {
        if let Some(r) = correlation(from) {
            run.observe("link", arm, &[("sources", Place::from(sources as f64))], r);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moving_average_rises_or_not() {
        assert_eq!(smallest_rise(&[0.0, 1.0, 2.0, 3.0, 4.0, 10.0], 5), Some(2.0));
        // One dip of the raw curve is smoothed away; a lasting fall is not.
        assert!(smallest_rise(&[0.0, 1.0, 2.0, 1.9, 4.0, 5.0, 6.0], 5).unwrap() > 0.0);
        assert!(smallest_rise(&[0.0, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0], 5).unwrap() < 0.0);
        assert_eq!(smallest_rise(&[1.0; 5], 5), None);
    }

    #[test]
    fn looks_and_checkpoints_end_with_the_training() {
        assert_eq!(look_steps(10, 4), [0, 2, 5, 7, 10]);
        assert_eq!(look_steps(2, 5), [0, 1, 2]);
        let config = Config::preset(ream_lab::Preset::Full);
        let steps = config.training.steps;
        assert_eq!(
            checkpoint_steps(&config),
            [(steps as f64 / 27.0).round() as u64, steps / 9, steps / 3, steps]
        );
    }
}

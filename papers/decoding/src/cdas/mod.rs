//! Faithful bi-directional model steering via distribution matching and distributed interchange interventions (2026, arXiv 2602.05234).
//!
//! A concept (a style, a refusal, a backdoor) is looked for as one direction `v`, `|v| = 1`, of the residual stream `h` after one block. A *distributed
//! interchange intervention* runs the model on a base prompt while the component along `v` is exchanged for that of a source prompt, read at the last
//! token of the header of its answer: `h_i <- h_i + (v · h_source - v · h_i) v` for every position `i` but the first. CDAS trains `v` so that the next-token
//! laws of the intervened base run are those of the source run on the *same* answer tokens, in both directions:
//!
//! `loss = mean over answer tokens of JS(p_intervened, p_source)`, base without and source with the concept, and the other way round.
//!
//! No text is made likely; the laws are matched. What the model is steered with afterwards is read off the data: the mean latents `z+` and `z-` of
//! the training prompts. Clamping `h_i <- h_i + (z - v · h_i) v` to `z = m z+` adds the concept, to `z-` removes it; `m = 1` is not tuned.
//!
//! | part | what is there |
//! |---|---|
//! | [`subject`], [`steering`] | a frozen model cut after one block; interventions on numbers; cached generation under them |
//! | [`contrast`], [`divergence`], [`training`] | pairs and their runs, latents, simple directions; JS and KL with gradients; the objectives |
//! | [`scoring`], [`evaluation`], [`study`] | concept, instruct, fluency; recovery of laws; all methods on one concept |
//! | [`chats`], [`concepts`] | chats with known behaviours for an own model; instructions and concepts for SmolLM2 |
//! | [`own_data`], [`vector`] | pairs of the user's own; directions in a file |
//!
//! ```
//! use ream_decoding::cdas::steering::{Steering, latents};
//!
//! let v = vec![0.6, 0.8];
//! let mut h = [1.0, 1.0];
//! Steering::Clamp { basis: v.clone(), targets: vec![2.0] }.apply(&mut h);
//! assert!((latents(&v, &h)[0] - 2.0).abs() < 1e-6);
//! ```

pub mod chats;
pub mod concepts;
mod config;
pub mod contrast;
pub mod divergence;
pub mod evaluation;
pub mod own_data;
mod part_a;
mod part_b;
mod pictures;
mod report;
pub mod scoring;
pub mod steering;
pub mod study;
pub mod subject;
pub mod training;
pub mod vector;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Config, Own, OwnPairs, PLANNED_STEPS, Real};

/// The paper's system.
pub struct Cdas;

/// Measures of the large model, observed once.
const REAL: [&str; 12] = [
    "shows_concept",
    "recovery_real",
    "recovery_lead_real",
    "concept_real",
    "concept_change_real",
    "instruct_real",
    "fluency_real",
    "overall_real",
    "best_overall_real",
    "sensitivity_real",
    "utility_real",
    "searches_real",
];

/// Measures of the model trained here.
const SMALL: [&str; 15] = [
    "recovery",
    "concept",
    "concept_change",
    "instruct",
    "fluency",
    "overall",
    "best_overall",
    "sensitivity",
    "utility",
    "searches",
    "refusal_rate",
    "trigger_rate",
    "clean_unchanged",
    "neutral_accuracy",
    "model_accuracy",
];

impl System for Cdas {
    const PAPER: &'static str = "cdas";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        Config::preset(preset)
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 1 } else { 3 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let (enabled, steps) = (config.large.enabled, config.large.training.steps);
        let scaled = (enabled && steps < PLANNED_STEPS)
            .then(|| format!("{steps} steps of every trained method on SmolLM2 instead of {PLANNED_STEPS}"));
        let data: &[&str] = if config.large.enabled { &["smollm2", "vader"] } else { &[] };
        Needs {
            data: data.iter().map(|id| (*id).to_owned()).collect(),
            threads: 1,
            memory_mib: if config.large.enabled { 1800 } else { 300 },
            minutes: minutes(config),
            scaled: scaled.into_iter().collect(),
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::check(config, file)
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        if let Some(file) = run.own_data().map(Path::to_owned) {
            return own_data::run(config, run, &file);
        }
        let mut seen = Vec::new();
        if SMALL.iter().any(|measure| run.wanted(measure)) {
            seen.extend(part_a::run(config, run)?);
        }
        if config.large.enabled && REAL.iter().any(|measure| run.wanted(measure)) {
            let missing: Vec<&str> =
                ["smollm2", "vader"].into_iter().filter(|id| !run.has_data(id)).collect();
            if missing.is_empty() {
                seen.extend(part_b::run(config, run)?);
            } else {
                let list = missing.join(" ");
                run.warn(format!(
                    "{list} not fetched (`ream data fetch {list}`): the part with SmolLM2 is left out"
                ));
            }
        }
        pictures::draw(run, &seen, &config.multipliers)
    }
}

/// Expected minutes of the first seed, from measured speeds of one core of a 2024 server.
fn minutes(config: &Config) -> f64 {
    let (a, b) = (&config.small, &config.large);
    let weights = (a.layers * a.d * a.d) as f64 / (4.0 * 128.0 * 128.0);
    let trained =
        |methods: &[study::Method]| methods.iter().filter(|m| m.objective().is_some()).count() as f64;
    let steps = |training: &training::Settings| (training.steps * training.batch as u64) as f64;
    let model = a.tokens as f64 * weights * 8e-5;
    let small = a.behaviours.len() as f64 * trained(&a.methods) * steps(&a.training) * weights * 2.8e-3;
    // Answers, runs and scores of a concept, beside a second for each two pairs of a step in both directions.
    let passes = (3.0 * trained(&b.methods) + trained(&b.more_methods)) * steps(&b.training) * 0.5;
    let large = if b.enabled { b.layers.len() as f64 * (passes + 270.0) } else { 0.0 };
    (model + small + large) / 60.0
}

#[cfg(test)]
mod tests;

//! Skip to the Good Part: Representation Structure & Inference-Time Layer Skipping in Diffusion vs. Autoregressive LLMs
//! (2026, arXiv 2603.07475).
//!
//! Does the training objective change how representations evolve over depth, and can whole blocks be left out at inference? Three
//! models of one shape, one text and one number of tokens are compared: autoregressive (AR), masked diffusion from scratch (native dLM), and masked
//! diffusion that begins with the AR model of half the tokens (AR-initialised). With `h_l(i)` the residual stream of token `i` after block `l`,
//!
//! - redundancy `s_l = mean_i cos(h_{l-1}(i) - mean, h_l(i) - mean)` on calibration sequences (of a dLM over noise levels);
//! - the list: the `K` blocks with the highest `s_l`, never the first, the last two, or one that writes a huge activation into a few tokens; free
//!   or contiguous; **one** list for every task, step and token;
//! - skipping: the residual stream passes the block by; nothing of it is computed, no keys are kept.
//!
//! | part | what is there |
//! |---|---|
//! | [`corpus`] | chains of sums and the King James Bible by letters; the tasks |
//! | [`network`], [`tasks`] | the three kinds, forward with blocks left out; scores, losses, retention |
//! | [`similarity`], [`locality`], [`looks`] | states over depth; attention and influence over distance; both over noise and decoding |
//! | [`choice`], [`lists`] | the rule, baselines, greedy search; what is kept under each |
//! | [`real`] | the same for a llama on the engine: SmolLM2 |
//! | [`own_data`] | a text and a model of the user's own |
//!
//! ```
//! use ream_decoding::layer_skip::choice;
//!
//! let redundancy = [0.3, 0.9, 0.8, 0.95, 0.7, 0.99, 0.99];
//! let allowed = choice::allowed(&[1.0, 1.2, 1.1, 8.0, 1.0, 1.0, 1.0]);
//! assert_eq!(allowed, [1, 2, 4]);
//! assert_eq!(choice::free(&redundancy, &allowed, 2), Some(vec![1, 2]));
//! ```

pub mod choice;
mod config;
pub mod corpus;
mod experiments;
pub mod lists;
pub mod locality;
pub mod looks;
pub mod network;
pub mod own_data;
mod pictures;
pub mod real;
pub mod similarity;
pub mod tasks;

pub use config::{Config, Own, PLANNED_TOKENS, Rule, check_k};

use experiments::Seen;
use ream_lab::{Error, Invalid, Needs, Preset, Result, Run, System};
use std::path::Path;

/// The paper's system.
pub struct LayerSkip;

/// Measured: tokens times block weights that one core of a 2024 server trains in a minute.
const WEIGHTS_PER_MINUTE: f64 = 5e11;
/// Measured: minutes that SmolLM2 takes on one core for a thousand tokens.
const REAL_MINUTES_PER_THOUSAND: f64 = 0.03;

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

impl System for LayerSkip {
    const PAPER: &'static str = "layer-skip";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        Config::preset(preset)
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 1 } else { 2 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let shape = &config.shape;
        let weights = shape.layers * (4 * shape.d * shape.d + 3 * shape.d * shape.hidden);
        // A pass without gradients costs a third.
        let lists = (config.draws + 10 + config.curve.len()) * config.items * config.item_length * 9;
        let tokens = 2.5 * config.training.tokens as f64 + lists as f64;
        let real = &config.real;
        let read = real.tokens * real.skip.len() * 5
            + real.few * (real.draws * real.skip.len() + 30 + 5 * real.candidates);
        let real_minutes =
            if config.smollm2 { read as f64 / 1000.0 * REAL_MINUTES_PER_THOUSAND } else { 0.0 };
        let scaled = (config.training.tokens < PLANNED_TOKENS)
            .then(|| format!("{} tokens for each model instead of {PLANNED_TOKENS}", config.training.tokens));
        let mut data = vec!["kjv".to_owned()];
        if config.smollm2 {
            data = experiments::DATA.map(str::to_owned).to_vec();
        }
        Needs {
            data,
            threads: 1,
            memory_mib: if config.smollm2 { 900 } else { 300 },
            minutes: tokens * weights as f64 / WEIGHTS_PER_MINUTE + real_minutes,
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
        let mut seen = Seen::default();
        experiments::controlled(config, run, &mut seen)?;
        experiments::real_model(config, run, &mut seen)?;
        pictures::draw(run, &seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lab::Observation;
    use std::collections::BTreeSet;

    /// A configuration of a second that goes through all of part A.
    fn tiny() -> Config {
        let mut config = Config::preset(Preset::Smoke);
        config.shape = network::Shape {
            layers: 6,
            d: 16,
            heads: 2,
            hidden: 48,
            context: 72,
            rope_base: 100.0,
            token_deviation: 0.25,
        };
        config.training.tokens = 20 * 8 * 72;
        config.training.batch = 8;
        config.training.warmup = 5;
        (config.skip, config.curve, config.draws) = (2, vec![1], 3);
        (config.calibration, config.validation, config.items) = (4, 4, 6);
        config
    }

    fn paper() -> ream_paper::Paper {
        ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap()
    }

    fn measured(seed: u64) -> (Vec<experiments::SeenModel>, Vec<f64>) {
        let corpus = corpus::tests::corpus(73);
        experiments::measure(&tiny(), &mut Run::in_memory(seed), &corpus).unwrap()
    }

    /// The same models as if they did every task: scores fall with the number of the block that is left out first.
    fn working(seed: u64) -> (Vec<experiments::SeenModel>, Vec<f64>) {
        let (mut models, losses) = measured(seed);
        for model in &mut models {
            let e = &mut model.evaluated;
            (e.full, e.chance) = (vec![0.9; 3], vec![0.1; 3]);
            for row in &mut e.rows {
                row.scores = vec![0.8 - 0.05 * row.blocks[0] as f64; 3];
            }
        }
        (models, losses)
    }

    fn reported((mut models, losses): (Vec<experiments::SeenModel>, Vec<f64>)) -> Run {
        let mut run = Run::in_memory(1);
        experiments::report(&tiny(), &mut run, &mut models, &losses);
        let seen = Seen { models, real: None };
        pictures::draw(&mut run, &seen).unwrap();
        run
    }

    fn real_outcome() -> (ream_lm::llama::Model, Config, real::Outcome) {
        let mut config = tiny();
        config.real = real::tests::settings();
        // A model of enough blocks for six to be left out.
        let shape = network::Shape { layers: 10, ..config.shape.clone() };
        let decoder = network::Network::new(network::Kind::Ar, &shape, 1).unwrap().decoder;
        let model = ream_lm::llama::Model::from_decoder(&decoder).unwrap();
        config.real.skip = vec![1, 6];
        let text = corpus::tests::corpus(48).windows(
            corpus::Part::HeldOut,
            6,
            40,
            &mut ream_rand::Stream::new(1, "text").at(0),
        );
        let windows = real::windows(&text, 40);
        let stream = ream_rand::Stream::new(1, "random");
        let outcome =
            real::study(&model, &windows[..2], &windows[2..], &config.real, stream, &mut |_| Ok(())).unwrap();
        (model, config, outcome)
    }

    /// What a check reads is observed where its filter finds it, and what is observed is declared.
    #[test]
    fn every_measure_is_declared_and_every_term_observed() {
        let paper = paper();
        let mut run = reported(working(3));
        let (model, config, outcome) = real_outcome();
        experiments::observe_real(&config, &mut run, &model, &outcome);
        let observed = run.observations();
        for o in &observed {
            assert!(paper.measure(&o.measure).is_some() && o.value.is_finite(), "{o}");
        }
        for measure in &paper.measures {
            assert!(observed.iter().any(|o| o.measure == measure.id), "{}", measure.id);
        }
        for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
            for term in check.quantity.terms() {
                let admits = |o: &Observation| {
                    check.filter.iter().all(|(key, filter)| o.at.get(key).is_some_and(|p| filter.admits(p)))
                };
                let count = observed
                    .iter()
                    .filter(|o| o.measure == term.measure && o.arm == term.arm && admits(o))
                    .count();
                assert_eq!(count, 1, "{}: {term}", check.id);
            }
        }
        assert!(run.tables().iter().any(|t| t.title == "Full depth"));
        assert_eq!(run.tables().len(), 1 + 3 + 3);
        let names: BTreeSet<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["similarity", "profiles", "retention", "recency", "moments"]));
        let seen = Seen { models: Vec::new(), real: Some(outcome) };
        pictures::draw(&mut run, &seen).unwrap();
        assert!(run.figures().iter().any(|(name, _)| name == "smollm2-loss"));
    }

    /// A model that cannot do a task at full depth says nothing about what is kept: the task is left out, and named.
    #[test]
    fn broken_models_are_not_judged() {
        let run = reported(measured(3));
        let kept = |run: &Run| run.observations().iter().filter(|o| o.measure == "retention").count();
        assert!(kept(&run) == 0 && run.warnings().iter().any(|w| w.contains("left out of every mean")));
        let seeds = [ream_lab::SeedObservations { seed: 1, observations: run.observations() }];
        for id in ["c2", "c3", "c4", "c6"] {
            let outcome = ream_lab::judge(&paper().measures, paper().claim(id).unwrap(), &seeds);
            assert_eq!(outcome.verdict, ream_lab::Verdict::NotTested, "{id}");
        }
        let (mut models, losses) = working(3);
        models[1].evaluated.full[0] = 0.11;
        let run = reported((models, losses));
        assert!(kept(&run) > 0);
        assert_eq!(run.warnings().iter().filter(|w| w.contains("arithmetic at full depth: dlm")).count(), 1);
    }

    /// Retention, its chance correction and the way to the oracle, by hand.
    #[test]
    fn retention_is_corrected_for_chance() {
        let (models, losses) = working(3);
        let first = models[1].evaluated.of("own", 2).next().unwrap().blocks[0] as f64;
        let run = reported((models, losses));
        let observed = run.observations();
        let kept = |list: &str| {
            let here = |o: &&Observation| {
                o.measure == "retention"
                    && o.arm == "dlm"
                    && o.at.get("list") == Some(&list.into())
                    && o.at.get("cut") == Some(&"main".into())
            };
            observed.iter().find(here).unwrap().value
        };
        assert!((kept("own") - (0.7 - 0.05 * first) / 0.8).abs() < 1e-12);
        assert!((kept("first") - 0.7 / 0.8).abs() < 1e-12);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        let bits = |seed| -> Vec<u64> {
            reported(measured(seed)).observations().iter().map(|o| o.value.to_bits()).collect()
        };
        let one = bits(1);
        assert_eq!(one, bits(1));
        assert_ne!(one, bits(2));
    }

    #[test]
    fn data_and_scale_are_known_before_the_start() {
        let config = Config { smollm2: true, ..tiny() };
        assert_eq!(LayerSkip::needs(&config).data, experiments::DATA);
        assert_eq!(LayerSkip::needs(&tiny()).data, ["kjv"]);
        assert_eq!(LayerSkip::needs(&tiny()).scaled.len(), 1);
        assert!(LayerSkip::needs(&Config::preset(Preset::Full)).scaled.is_empty());
    }
}

//! A Markov categorical framework for language modeling (2025).
//!
//! One step of generation is a composition of Markov kernels, `k_gen = k_head after k_bb after k_emb`: embedding and backbone are
//! deterministic and end in a hidden state `h_t`, the head is stochastic, `p(.|h) = softmax(W h + b)`. With a divergence `D`
//! such kernels have an entropy (copying the output against running twice) and an information (joint law against the product
//! of its marginals), and three statements about log-loss become measurements:
//!
//! - **surplus**: `S_k = I(H_t; W_{t+k} | W_{t+1}) > 0` is what a draft can use that reads `h_t` beside the next token;
//! - **stochasticity**: `NLL = H(data) + E KL(data || model)`, so at its optimum every entropy of the model is the data's;
//! - **geometry**: log-loss arranges hidden states like a spectral contrastive learner, along the eigenfunctions of
//!   `(M f)(x) = E_x'[ K(x, x') f(x') ]`, `K(x, x') = sum_v P(v|x) P(v|x') / P(v)`.
//!
//! Each is held against sources whose laws are known exactly and against letters of a real text.
//!
//! | part | what is there |
//! |---|---|
//! | [`kernel`], [`divergence`], [`laws`] | the category of finite kernels, its information measures, its equations |
//! | [`sources`] | hidden Markov, order-2, order-1 and text sources; exact information |
//! | [`operator`], [`alignment`] | the predictive-similarity operator; hidden states beside its eigenfunctions |
//! | [`model`], [`objectives`], [`training`] | the transformer, log-loss and what it is compared with |
//! | [`probes`] | drafts of later tokens, surplus, acceptance |
//! | [`own_data`] | texts and tables of the user's own |
//!
//! ```
//! use ream_language::markov_lm::{divergence::Divergence, kernel::Kernel};
//!
//! let channel = Kernel::new("channel", 2, 2, vec![0.9, 0.1, 0.2, 0.8])?;
//! let noise = Kernel::new("noise", 2, 2, vec![0.7, 0.3, 0.3, 0.7])?;
//! let input = [0.5, 0.5];
//! let before = Divergence::Kl.information(&channel, &input)?;
//! let after = Divergence::Kl.information(&channel.then(&noise)?, &input)?;
//! assert!(after < before);
//! # Ok::<(), ream_lab::Invalid>(())
//! ```

pub mod alignment;
mod config;
pub mod divergence;
mod experiments;
pub mod kernel;
pub mod laws;
pub mod model;
pub mod objectives;
pub mod operator;
pub mod own_data;
mod pictures;
pub mod probes;
pub mod sources;
pub mod training;

pub use config::{BuiltIn, Config, Evaluation, MOST_CONTEXTS, PLANNED_STEPS, Synthetic, TextSettings};

use experiments::{Work, cost};
use ream_lab::{Invalid, Needs, Preset, Result, Run, System};
use sources::ContextSettings;
use std::path::Path;

/// The paper's system.
pub struct MarkovLm;

impl System for MarkovLm {
    const PAPER: &'static str = "markov-lm";
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
        let steps: f64 = config.sources.iter().map(|s| cost(config, !s.is_judged())).sum();
        let tokens = (config.training.batch * config.model.window) as f64;
        let width = (config.model.layers * config.model.d * config.model.d) as f64;
        let text = config.sources.contains(&BuiltIn::Kjv);
        let scaled = (config.training.steps < PLANNED_STEPS).then(|| {
            format!("{} training steps for every objective instead of {PLANNED_STEPS}", config.training.steps)
        });
        Needs {
            data: if text { vec!["kjv".to_owned()] } else { Vec::new() },
            threads: 2,
            memory_mib: 700,
            minutes: steps * tokens * width / MULTIPLICATIONS_PER_MINUTE,
            scaled: scaled.into_iter().collect(),
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::read(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => on_own_data(config, run, &file),
            None => on_built_in_data(config, run),
        }
    }
}

/// Measured: batch tokens times layers times d^2 that one core of a 2024 server trains in a minute, evaluation included.
const MULTIPLICATIONS_PER_MINUTE: f64 = 3e10;

fn on_built_in_data(config: &Config, run: &mut Run) -> Result<()> {
    if ["law_residual", "dpi_excess", "entropy_residual"].iter().any(|m| run.wanted(m)) {
        experiments::kernels(config, run)?;
    }
    if !experiments::any_model_wanted(run) {
        return Ok(());
    }
    let sources = experiments::built_in(config, run)?;
    let judged = sources.iter().filter(|(_, judged)| *judged).count();
    let mut work = Work::new(sources.iter().map(|(_, judged)| cost(config, !judged)).sum());
    let mut seen = Vec::new();
    for (source, is_judged) in &sources {
        seen.push(experiments::study(config, run, &mut work, source.as_ref(), (*is_judged, judged))?);
    }
    experiments::link(run, &seen, judged);
    pictures::draw(run, &seen)
}

/// The laws of the user's source, and the same trainings on it.
fn on_own_data(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let source = own_data::read(config, file)?;
    let settings = ContextSettings { window: config.model.window, histories: 1, most: MOST_CONTEXTS };
    let table = own_data::report(config, source.as_ref(), settings)?;
    run.table(table);
    let mut work = Work::new(cost(config, false));
    let seen = vec![experiments::study(config, run, &mut work, source.as_ref(), (true, 1))?];
    experiments::link(run, &seen, 1);
    pictures::draw(run, &seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use objectives::Objective;
    use ream_lab::Observation;

    /// A configuration of seconds that goes through everything but the text.
    fn tiny() -> Config {
        let mut config = Config::preset(Preset::Full);
        config.sources = vec![BuiltIn::Hmm, BuiltIn::Order2, BuiltIn::Order1];
        config.objectives.push(Objective::Squared);
        config.kernels = 20;
        config.model = model::Shape { d: 16, layers: 1, heads: 2, window: 8 };
        config.training.steps = 20;
        config.training.batch = 8;
        config.probes.steps = 10;
        config.probes.batch = 64;
        config.probes.training_windows = 40;
        config.probes.held_out_windows = 20;
        config.probes.hidden = vec![0, 256];
        config.evaluation.contexts = 100;
        config.evaluation.histories = 1;
        config.evaluation.pairs = 500;
        config.evaluation.points = 6;
        config.evaluation.checkpoints = vec![0.25, 1.0];
        config.synthetic.positions = 400;
        config
    }

    fn run_tiny(config: &Config, seed: u64) -> Run {
        let mut run = Run::in_memory(seed);
        MarkovLm::run(config, &mut run).unwrap();
        run
    }

    /// What a check reads is observed, at places where its filter finds it, and what is observed is declared.
    #[test]
    fn every_measure_is_declared_and_every_term_observed() {
        let paper = ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap();
        let observed = run_tiny(&tiny(), 3).observations();
        for o in &observed {
            assert!(paper.measure(&o.measure).is_some(), "{}", o.measure);
            assert!(o.value.is_finite(), "{o}");
        }
        for measure in &paper.measures {
            assert!(observed.iter().any(|o| o.measure == measure.id), "{}", measure.id);
        }
        for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
            for term in check.quantity.terms() {
                let found = observed.iter().any(|o| {
                    let here = |(key, filter): (&String, &ream_paper::Filter)| {
                        // Without the text there are two judged sources.
                        key == "sources" || o.at.get(key).is_some_and(|place| filter.admits(place))
                    };
                    o.measure == term.measure && o.arm == term.arm && check.filter.iter().all(here)
                });
                assert!(found, "{}: {term}", check.id);
            }
        }
    }

    /// The order-1 control is trained and observed, and no check admits it.
    #[test]
    fn the_control_is_no_part_of_any_rule() {
        let paper = ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap();
        let observed = run_tiny(&tiny(), 3).observations();
        let control: Vec<_> =
            observed.iter().filter(|o| o.at.get("source") == Some(&"order-1".into())).collect();
        assert!(!control.is_empty());
        // Without the text there are two judged sources.
        let all: ream_paper::Place = 2.0.into();
        for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
            for o in &control {
                let admitted = check.filter.iter().all(|(key, filter)| {
                    o.at.get(key).is_some_and(|p| if key == "sources" { *p == all } else { filter.admits(p) })
                });
                let read = check.quantity.terms().iter().any(|t| t.measure == o.measure && t.arm == o.arm);
                assert!(!(admitted && read), "{}: {o}", check.id);
            }
        }
    }

    /// Rules over all sources need all three of them: with the text missing they are not tested, not passed by two.
    #[test]
    fn a_missing_source_leaves_its_rules_untested() {
        let paper = ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap();
        let observations = run_tiny(&tiny(), 1).observations();
        let seeds = [ream_lab::SeedObservations { seed: 1, observations }];
        for id in ["c2", "c3", "c4", "c5", "c6"] {
            let outcome = ream_lab::judge(&paper.measures, paper.claim(id).unwrap(), &seeds);
            assert_eq!(outcome.verdict, ream_lab::Verdict::NotTested, "{id}: {}", outcome.reason);
        }
        let laws = ream_lab::judge(&paper.measures, paper.claim("c1").unwrap(), &seeds);
        assert_eq!(laws.verdict, ream_lab::Verdict::Confirmed, "{}", laws.reason);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        let mut config = tiny();
        config.sources = vec![BuiltIn::Order2];
        let bits = |seed| -> Vec<u64> {
            run_tiny(&config, seed).observations().iter().map(|o: &Observation| o.value.to_bits()).collect()
        };
        let one = bits(1);
        assert_eq!(one, bits(1));
        assert_ne!(one, bits(2));
    }

    #[test]
    fn every_picture_is_drawn() {
        let run = run_tiny(&tiny(), 1);
        let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        for name in
            ["spectrum", "map-hmm", "map-order-2", "map-order-1", "entropies", "training", "drafts", "link"]
        {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
    }

    #[test]
    fn a_file_of_the_users_own() {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let mut text = (0..8).map(|v| format!("t{v}")).collect::<Vec<_>>().join(",");
        for row in 0..8 {
            let law: Vec<f64> = (0..8).map(|v| f64::from(1 + (row * v) % 7)).collect();
            let sum: f64 = law.iter().sum();
            text += "\n";
            text += &law.iter().map(|p| (p / sum).to_string()).collect::<Vec<_>>().join(",");
        }
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let mut config = tiny();
        config.probes.hidden = vec![0];
        MarkovLm::check_data(&config, file.path()).unwrap();
        let mut run = Run::in_memory_on(1, file.path());
        MarkovLm::run(&config, &mut run).unwrap();
        assert!(run.tables().iter().any(|t| t.title == "The laws of 8 contexts over 8 tokens"));
        assert!(run.observations().iter().any(|o| o.measure == "alignment" && o.arm == "spectral"));
    }
}

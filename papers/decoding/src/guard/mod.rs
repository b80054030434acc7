//! Guaranteed generation from large language models (2024, arXiv 2410.06716).
//!
//! A text must satisfy a condition `b(y) = 1`. The ideal law is the base model given the condition, `g(y) = a(y) b(y) / Z`. No
//! autoregressive model is `g` in general, so no training makes a guarantee, and drawing from `a` until a text satisfies the
//! condition takes `1 / Z` draws. GUARD trains a proposal `a'` towards `g` and rejects what breaks the condition: the output's
//! law is `g'(y) = a'(y) b(y) / AR`, `AR = P_a'(b = 1)`, and
//!
//! `KL(g || a') = KL(g || g') - log AR`,
//!
//! so a smaller `KL(g || a')` is at once more speed and less distortion. Proposals come from prompting (CAP), maximum likelihood
//! on reweighted draws (SFT), the distributional policy gradient
//! `-E_q[ P(y) / q(y) grad log a'(y) ] / Z` (DPG), or, as recommended, from SFT first and DPG after it.
//!
//! | part | what is there |
//! |---|---|
//! | [`law`], [`sampling`] | laws over texts, proposals; the guarded sampler |
//! | [`constraint`] | the condition: words, expression, sentiment, command; a second matcher |
//! | [`markov`] | strings where `g`, all divergences and the best proposal are known exactly |
//! | [`estimates`] | `Z`, `AR`, divergences, effective samples from draws of several laws |
//! | [`training`] | maximum likelihood, distributional policy gradient, policy gradient on the reward |
//! | [`network`], [`adapter`] | proposals: a whole small network, an adapter on a large model; forced-word decoding |
//! | [`own_data`] | a model, prompts and a condition of the user's own |
//!
//! ```
//! use ream_decoding::guard::markov::{Ideal, Markov};
//!
//! let source = Markov::new(2, 3, &[0.9, 0.1, 0.9, 0.1, 0.5, 0.5])?;
//! let ideal = Ideal::enumerate(&source, |string| string.contains(&1));
//! let proposal = Markov::new(2, 3, &[0.5; 6])?;
//! let exact = ideal.judge(&proposal);
//! assert!((exact.to_proposal - (exact.to_output - exact.acceptance.ln())).abs() < 1e-10);
//! # Ok::<(), ream_lab::Invalid>(())
//! ```

pub mod adapter;
mod config;
pub mod constraint;
pub mod estimates;
mod judging;
pub mod law;
pub mod markov;
pub mod network;
pub mod own_data;
mod part_a;
mod part_b;
mod part_c;
mod pictures;
mod sampler;
pub mod sampling;
pub mod training;

use std::path::Path;

use ream_lab::{Invalid, Needs, Place, Preset, Result, Run, System};

pub use config::{Config, Large, OPENING, Own, Small, Strings};
use judging::Seen;
pub use sampler::Event;

/// The paper's system.
pub struct Guard;

/// Measures of part A.
const EXACT: [&str; 4] = ["identity_residual", "estimator_error", "least_kl", "least_kl_satisfaction"];
/// Measures of the language models.
const MODELS: [&str; 11] = [
    "satisfaction",
    "satisfaction_large",
    "outputs",
    "outputs_all",
    "acceptance",
    "gain",
    "gain_large",
    "kl_proposal",
    "kl_output",
    "kl_output_lead",
    "kl_proposal_lead",
];
/// Further measures of the language models.
const REPORTED: [&str; 10] = [
    "place_lead",
    "place_variation",
    "kl_from_output",
    "variation",
    "written",
    "z",
    "effective",
    "distinct_2",
    "self_bleu",
    "perplexity",
];

impl System for Guard {
    const PAPER: &'static str = "guard";
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
        let mut data = vec!["kjv".to_owned()];
        if config.large.enabled {
            data.extend(["smollm2".to_owned(), "vader".to_owned()]);
        }
        Needs {
            data,
            threads: 1,
            memory_mib: if config.large.enabled { 1500 } else { 300 },
            minutes: minutes(config),
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::read(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => own_data::run(config, run, &file),
            None => on_built_in_data(config, run),
        }
    }
}

/// Expected minutes of the first seed, from measured speeds of one core of a 2024 server.
fn minutes(config: &Config) -> f64 {
    let (b, c) = (&config.small, &config.large);
    let weights = (b.layers * b.d * b.d) as f64 / (4.0 * 128.0 * 128.0);
    // Texts drawn, and the share of them that is scored and trained on.
    let texts = (b.rejection + b.rate_draws + 2 * (4 * b.training.draws + 7 * b.judged)) as f64;
    let small = 2.0 * texts * weights * b.length as f64 / 24.0 / 1000.0;
    let tokens = (2 * (2 * c.training.draws + 2 * c.judged + c.most_draws) * c.length) as f64;
    let large = if c.enabled { 1.5 * tokens / 550.0 } else { 0.0 };
    let strings = (config.strings.symbols as f64).powi(config.strings.length as i32) * 4e-6;
    (strings + small + large) / 60.0
}

fn on_built_in_data(config: &Config, run: &mut Run) -> Result<()> {
    if EXACT.iter().any(|measure| run.wanted(measure)) {
        part_a::run(config, run)?;
    }
    if !MODELS.iter().chain(&REPORTED).any(|measure| run.wanted(measure)) {
        return Ok(());
    }
    let mut seen = Vec::new();
    if run.has_data("kjv") {
        let part = part_b::run(config, run)?;
        seen.extend(confirmed(run, "b", part));
    } else {
        run.warn("kjv is not fetched (`ream data fetch kjv`): the part with the own model is left out");
    }
    if config.large.enabled && run.is_first_seed() {
        let missing: Vec<&str> = ["smollm2", "vader"].into_iter().filter(|id| !run.has_data(id)).collect();
        if missing.is_empty() {
            let part = part_c::run(config, run)?;
            seen.extend(confirmed(run, "c", part));
        } else {
            let list = missing.join(" ");
            run.warn(format!(
                "{list} not fetched (`ream data fetch {list}`): the part with SmolLM2 is left out"
            ));
        }
    }
    if run.is_first_seed() {
        let all = seen.iter().map(|s| s.outputs.0).sum::<usize>();
        run.observe("outputs_all", "guard", &[("part", Place::from("all"))], all as f64);
    }
    pictures::draw(run, &seen)
}

/// What the second matcher says of a part's outputs.
fn confirmed(run: &mut Run, part: &str, seen: Vec<Seen>) -> Vec<Seen> {
    let (outputs, confirmed) = seen.iter().fold((0, 0), |(n, c), s| (n + s.outputs.0, c + s.outputs.1));
    let at = [("part", Place::from(part))];
    run.observe("outputs", "guard", &at, outputs as f64);
    if outputs > 0 {
        let measure = if part == "c" { "satisfaction_large" } else { "satisfaction" };
        run.observe(measure, "guard", &at, confirmed as f64 / outputs as f64);
    }
    seen
}

#[cfg(test)]
mod tests;

//! RAIN: your language models can align themselves without finetuning (2023, arXiv 2309.07124).
//!
//! Model and prompt stay as they are. While it writes, the model looks at sets of tokens in a tree, finishes each a little ahead, asks itself by
//! a fixed template whether the text is harmful, and lets the verdict count along the tree and for sets that are alike:
//!
//! - select: the child of largest `qn + c p sqrt(n_parent) / (1 + n_child)`, with priors `p` from the model's own probabilities;
//! - judge: `v = right as listed + right with the labels swapped - 1`, or `tanh` of the mean margin;
//! - back up: `q += (v - q) / n` along the path; a sibling of cosine `s > 0.95` hears of it with weight `0.2 s`.
//!
//! Then the most visited set is kept, everything else is rewound (the cache is cut back, no number moves), and the next set is looked for.
//!
//! | part | what is there |
//! |---|---|
//! | [`tree`], [`search`] | the tree of sets; the inner and the outer loop |
//! | [`voice`] | the model as it writes: sets side by side, look-ahead, rewinding |
//! | [`judge`], [`evaluator`] | the template and its two questions; noisy, random and all-knowing judges |
//! | [`embedding`] | which sets are alike |
//! | [`baselines`] | plain drawing, best-of-N and sample-and-reject with the same judge |
//! | [`attack`] | adversarial suffixes by greedy coordinate search |
//! | [`harm`], [`corpus`], [`garak`] | lists of words, masked where they are shown; texts and prompts |
//! | [`own_data`] | a model, prompts, a template and a list of the user's own |
//!
//! ```
//! use ream_decoding::rain::tree::{Search, Tree};
//!
//! let (search, mut tree) = (Search::default(), Tree::default());
//! let likely = tree.add(Tree::ROOT, vec![7], (0.9_f64).ln(), false);
//! let other = tree.add(Tree::ROOT, vec![8], (0.1_f64).ln(), false);
//! tree.set_priors(Tree::ROOT, false);
//! assert_eq!(tree.select(&search, Tree::ROOT), Some(likely));
//! for _ in 0..4 {
//!     tree.back_up(&search, &[Tree::ROOT, likely], -1.0, &[1.0, 0.0]);
//! }
//! // Four bad verdicts later the search looks at the other set.
//! assert_eq!(tree.select(&search, Tree::ROOT), Some(other));
//! ```

pub mod attack;
pub mod baselines;
mod config;
pub mod corpus;
pub mod embedding;
pub mod evaluator;
pub mod garak;
pub mod harm;
pub mod judge;
mod network;
mod outcome;
pub mod own_data;
mod part_a;
mod part_b;
mod pictures;
pub mod search;
pub mod tree;
pub mod voice;

use std::path::Path;

use ream_lab::{Error, Invalid, Needs, Preset, Result, Run, System};
use ream_lm::SentenceEncoder;

pub use config::{Config, Controlled, Own, Real, Voting};

/// The paper's system.
pub struct Rain;

/// Measures of SmolLM2.
const REAL: [&str; 7] = [
    "real_judge_auc",
    "real_harm_share",
    "real_fluency",
    "real_distinct_2",
    "real_relative_tokens",
    "real_relative_time",
    "real_iterations",
];
/// Measures of the own model.
const CONTROLLED: [&str; 14] = [
    "judge_accuracy",
    "harmless_rate",
    "harmful_share",
    "fluency",
    "distinct_2",
    "on_topic",
    "relative_tokens",
    "relative_time",
    "iterations",
    "settled",
    "agreement",
    "attack_success",
    "attack_gain",
    "judge_auc",
];

/// Any error as a failed run.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// The sentence encoder, where it was fetched.
fn encoder(run: &Run) -> Result<Option<SentenceEncoder>> {
    if !run.has_data("minilm") {
        return Ok(None);
    }
    SentenceEncoder::open(&run.data("minilm")?).map(Some).map_err(failed)
}

impl System for Rain {
    const PAPER: &'static str = "rain";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        Config::preset(preset)
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 1 } else { 6 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let mut data = vec!["kjv".to_owned()];
        if config.real.enabled {
            data.extend(part_b::DATA.into_iter().chain(["minilm"]).map(str::to_owned));
        }
        let planned = Controlled::PLANNED_TOKENS;
        let tokens = config.controlled.tokens;
        let scaled =
            (tokens < planned).then(|| format!("{tokens} tokens for the own model instead of {planned}"));
        Needs {
            data,
            threads: 1,
            memory_mib: if config.real.enabled { 900 } else { 200 },
            minutes: minutes(config),
            scaled: scaled.into_iter().collect(),
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::check(config, file)
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => {
                let tree = own_data::run(config, run, &file)?;
                pictures::draw(run, None, Some(&part_b::SeenB { tree }))
            }
            None => on_built_in_data(config, run),
        }
    }
}

/// Expected minutes of the first seed, from measured speeds of one core of a 2024 server.
fn minutes(config: &Config) -> f64 {
    let (a, b) = (&config.controlled, &config.real);
    let weights = (a.layers * a.d * a.d) as f64 / (4.0 * 128.0 * 128.0);
    let training = a.tokens as f64 * weights / TRAINED_PER_MINUTE;
    let judged = |search: &tree::Search, length: usize| {
        // The first choice has all iterations, the others those that are new.
        let sets = 3.0 + length.saturating_sub(7) as f64 / *search.lengths.last().unwrap_or(&1) as f64;
        search.iterations as f64 + sets * search.new_iterations.min(search.iterations) as f64
    };
    let arms = (7 + a.noise.len() + a.curve.len()) as f64;
    let searched = arms * (a.violent + a.neutral) as f64 * judged(&a.search, a.length);
    let small = searched * a.length as f64 / 24.0 * weights.max(0.1) / SEARCHED_PER_MINUTE;
    let real = b.prompts as f64 * judged(&b.search, b.length) * b.length as f64 / 20.0 / REAL_PER_MINUTE;
    training + small + if b.enabled { real } else { 0.0 }
}

/// Tokens of the own model's training in a minute.
const TRAINED_PER_MINUTE: f64 = 1_000_000.0;
/// Most iterations of the own model's searches for each minute that they take; most choices need fewer.
const SEARCHED_PER_MINUTE: f64 = 80_000.0;
/// Iterations of SmolLM2's searches in a minute.
const REAL_PER_MINUTE: f64 = 900.0;

fn on_built_in_data(config: &Config, run: &mut Run) -> Result<()> {
    let (mut a, mut b) = (None, None);
    if CONTROLLED.iter().any(|measure| run.wanted(measure)) {
        if run.has_data("kjv") {
            a = Some(part_a::run(config, run)?);
        } else {
            run.warn("kjv is not fetched (`ream data fetch kjv`): the part with the own model is left out");
        }
    }
    // Measured once in a run.
    if config.real.enabled && REAL.iter().any(|measure| run.wanted(measure)) {
        let missing: Vec<&str> = part_b::DATA.into_iter().filter(|id| !run.has_data(id)).collect();
        if missing.is_empty() {
            b = Some(part_b::run(config, run)?);
        } else {
            let list = missing.join(" ");
            run.warn(format!(
                "{list} not fetched (`ream data fetch {list}`): the part with SmolLM2 is left out"
            ));
        }
    }
    pictures::draw(run, a.as_ref(), b.as_ref())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

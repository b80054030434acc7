//! Hydra: draft heads that see the tokens already guessed (Ankner et al., 2024, arXiv 2402.05109).
//!
//! Decoding one token per pass is bound by reading the weights. Medusa (Cai et al., 2024) hangs small heads on a frozen model: head
//! `i` guesses `x[t+1+i]` from the last hidden state, a tree of guesses is checked in one pass, the longest accepted path is kept.
//! Its heads guess independently; Hydra's also read the embeddings of the tokens guessed before,
//! `z_i = R_i [h_t; E(x[t+1]); ...; E(x[t+i])] + SiLU(A_i [...] + b_i)`. Hydra++ adds deeper heads, distillation from the base's own laws, and
//! a decoder layer that summarises the prefix. The base verifies everything, so its text, or its law, is unchanged.
//!
//! | part | what is there |
//! |---|---|
//! | [`heads`], [`corpus`], [`training`] | heads as they are trained, on what the base says of a text |
//! | [`drafter`], `prefix` | the same heads quantised, ready to draft; prompt lookup |
//! | [`tree`], [`costs`] | static trees from counted paths; which one pays on this machine |
//! | [`decode`] | rounds of drafting and checking; greedy, typical and exact acceptance |
//! | [`replay`], [`lossless`] | acceptance counted on a text that the base has written; the law of what comes out |

mod config;
pub mod corpus;
pub mod costs;
pub mod decode;
pub mod drafter;
mod experiments;
pub mod heads;
pub mod lossless;
mod own_data;
mod pictures;
mod prefix;
pub mod replay;
pub mod training;
pub mod tree;

pub use config::{
    Arm, Base, Config, Evaluation, HeadSettings, Own, PLANNED_SMALL_TOKENS, PLANNED_TOKENS, Small,
    TextTraining, arms,
};
pub use corpus::Corpus;
pub use decode::{Acceptance, Generated, Round, Speculative, Spent};
pub use drafter::{DraftHeads, Drafter, NoDrafts, PromptLookup};
pub use heads::{Heads, Kind, Shape};
pub use tree::StaticTree;

use crate::bases;
use experiments::{Seen, Study, prompts};
use ream_lab::{Invalid, Needs, Preset, Result, Run, System};
use ream_lm::LanguageModel;
use ream_lm::small::split_chapters;
use ream_rand::Stream;
use std::path::Path;

/// The paper's system.
pub struct Hydra;

impl System for Hydra {
    const PAPER: &'static str = "hydra";
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
        let real = config.bases.contains(&Base::Smollm2);
        let mut data = vec!["kjv".to_owned()];
        if real {
            data.extend(["shakespeare".to_owned(), "smollm2".to_owned()]);
        }
        let small = config.small_training.optimisation.steps as f64
            * (config.small_training.optimisation.batch * config.small_training.window) as f64
            * (config.small.d * config.small.d) as f64;
        let tokens = |training: &TextTraining| training.tokens + training.own_tokens;
        let scaled = [
            (Base::Small, "the small base's", tokens(&config.small_training), PLANNED_SMALL_TOKENS),
            (Base::Smollm2, "SmolLM2's", tokens(&config.real_training), PLANNED_TOKENS),
        ]
        .into_iter()
        .filter(|(base, _, tokens, planned)| config.bases.contains(base) && tokens < planned)
        .map(|(_, whose, tokens, planned)| format!("{tokens} tokens for {whose} heads instead of {planned}"));
        Needs {
            data,
            threads: 2,
            timed: true,
            memory_mib: if real { 2000 } else { 600 },
            minutes: small * SMALL_MINUTES + if real { REAL_MINUTES / 3.0 } else { 0.0 },
            scaled: scaled.collect(),
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::check(config, file)
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        let seen = match run.own_data().map(Path::to_owned) {
            Some(file) => {
                let config = own_data::adjusted(config);
                vec![own_data::study(&config, run, &file)?.run(run)?]
            }
            None => built_in(config, run)?,
        };
        pictures::draw(run, &seen)
    }
}

/// Minutes of a seed of the small base for each step's token times d^2, all six sets of heads, evaluation included.
const SMALL_MINUTES: f64 = 7e-10;
/// Minutes that SmolLM2 takes, once in a run.
const REAL_MINUTES: f64 = 6.0;
/// Verses or lines of a piece of text that a prompt begins.
const LINES: usize = 6;
/// Pieces of text that no head is trained on, of all.
const HELD_OUT: f64 = 0.1;
/// Tokens that the draft vocabulary of SmolLM2 is counted on.
const COUNTED: usize = 300_000;

fn built_in(config: &Config, run: &mut Run) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    if config.bases.contains(&Base::Small) {
        seen.push(run.part("small", |run| small(config, run)?.run(run))?);
    }
    // Measured once in a run.
    if config.bases.contains(&Base::Smollm2) && run.wanted("acceptance_length_real") {
        if run.has_data("smollm2") && run.has_data("shakespeare") {
            seen.push(run.part("smollm2", |run| smollm2(config, run)?.run(run))?);
        } else {
            run.warn("smollm2 or shakespeare is not fetched (`ream data fetch smollm2 shakespeare`): nothing on the real base");
        }
    }
    Ok(seen)
}

fn pieces<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<String> {
    texts
        .into_iter()
        .flat_map(|text| {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            lines.chunks(LINES).map(|lines| lines.join("\n") + "\n").collect::<Vec<_>>()
        })
        .collect()
}

/// Prompts of disjoint pieces: for the test, for calibration.
fn both_prompts(
    lm: &LanguageModel,
    config: &Config,
    pieces: &[String],
    seed: u64,
) -> Result<[Vec<Vec<u32>>; 2]> {
    let e = &config.evaluation;
    let calibration = e.calibration_tokens.div_ceil(e.new_tokens);
    let stream = Stream::new(seed, "prompts");
    let mut test = prompts(lm, pieces, (e.prompts + calibration, e.prompt_tokens), stream)?;
    let calibration = test.split_off(e.prompts);
    Ok([test, calibration])
}

/// The small base with the King James Bible's chapters.
fn small<'a>(config: &'a Config, run: &mut Run) -> Result<Study<'a>> {
    let texts = bases::kjv(run)?;
    let small = bases::small_base(run, &config.small.config())?;
    let lm = LanguageModel::from_small(&small).map_err(heads::failed)?;
    let mut order: Vec<usize> = (0..texts.training.len()).collect();
    run.stream("order of chapters").at(0).shuffle(&mut order);
    let wanted = config.small_training.tokens + config.small_training.own_tokens;
    let mut training_tokens = Vec::new();
    for i in order {
        if training_tokens.len() < wanted {
            training_tokens.extend(lm.encode(&texts.training[i]));
        }
    }
    let [prompts, calibration] = both_prompts(&lm, config, &pieces(&texts.held_out), run.seed())?;
    Ok(Study {
        config,
        name: Base::Small.name(),
        lm,
        training: &config.small_training,
        training_tokens,
        calibration,
        prompts,
        ingredients: true,
        forced: None,
        depth: None,
        shown: None,
        given: None,
        save: None,
    })
}

/// SmolLM2 with chapters and scenes in turn.
fn smollm2<'a>(config: &'a Config, run: &mut Run) -> Result<Study<'a>> {
    let lm = bases::smollm2(run)?;
    let bible = bases::kjv(run)?;
    let plays = pieces(&bases::shakespeare(run)?);
    let (plays, held_plays) = split_chapters(&plays, HELD_OUT);
    let shuffled = |pieces: Vec<String>, purpose: &str| -> Vec<String> {
        let mut pieces = pieces;
        Stream::new(0, purpose).at(0).shuffle(&mut pieces);
        pieces
    };
    let verses = shuffled(pieces(&bible.training), "pieces of the Bible");
    let lines = shuffled(plays, "pieces of plays");
    let mut training_tokens = Vec::new();
    for (verses, lines) in verses.iter().zip(&lines) {
        if training_tokens.len() < COUNTED.max(config.real_training.tokens + config.real_training.own_tokens)
        {
            training_tokens.extend(lm.encode(verses));
            training_tokens.extend(lm.encode(lines));
        }
    }
    let held = shuffled(pieces(&bible.held_out), "held-out verses");
    let count = held.len().min(held_plays.len());
    let held: Vec<String> = held.into_iter().take(count).chain(held_plays.into_iter().take(count)).collect();
    let [prompts, calibration] = both_prompts(&lm, config, &held, run.seed())?;
    Ok(Study {
        config,
        name: Base::Smollm2.name(),
        lm,
        training: &config.real_training,
        training_tokens,
        calibration,
        prompts,
        ingredients: false,
        forced: None,
        depth: None,
        shown: None,
        given: None,
        save: None,
    })
}

#[cfg(test)]
mod tests;

//! What language model architecture and pretraining objective work best for zero-shot generalization? (Wang et al., 2022,
//! arXiv 2204.05832).
//!
//! Three shapes of Transformer are pretrained on the same text with the same number of tokens, under objectives that fit
//! them, and are then asked to choose among options, before and after finetuning on prompted tasks of other families:
//!
//! | | causal decoder | non-causal decoder | encoder-decoder |
//! |---|---|---|---|
//! | autoregressive | CD-FLM: `sum_t -log p(x_t \| x_<t)` | ND-PLM: `sum_{t >= s} -log p(x_t \| x_<t)` | ED-PLM |
//! | masked | CD-MLM: `-log p(spans \| text without them)` | ND-MLM | ED-MLM |
//!
//! Before finetuning the causal decoder is said to win, after it the models that see their input in both directions and were
//! pretrained by span corruption. Each can be *adapted* into the other: LM-A switches ND-MLM to the causal mask and next-token
//! prediction, NC-A switches CD-FLM to the non-causal mask and span corruption, each for a fraction of the pretraining.
//!
//! | part | what is there |
//! |---|---|
//! | [`cells`], [`masks`], [`model`] | the grid, who sees whom, the Transformers |
//! | [`vocabulary`], [`objectives`] | tokens; full, prefix and masked language modelling as examples of one shape |
//! | [`texts`], [`corpus`], [`own_data`] | built-in texts, held-out chapters, the user's files |
//! | [`zero_shot`], [`multitask`] | the tasks Z; the families to finetune on and the held-out families T |
//! | [`training`], [`scoring`], [`adaptation`] | the loop; rank classification and its bootstrap; speed-ups |
//!
//! ```
//! use ream_language::arch_objective::{objectives::{SpanCorruption, reconstruct}, vocabulary::{Bytes, Vocabulary}};
//!
//! let vocabulary = Vocabulary::new(Box::new(Bytes::default()), 4);
//! let text = vocabulary.encode("In the beginning God created the heaven and the earth.");
//! let corruption = SpanCorruption { rate: 0.15, mean_span: 3.0 };
//! let example = corruption.corrupt(&text, &vocabulary, &mut ream_rand::Stream::new(1, "example").at(0));
//! assert_eq!(reconstruct(&example, &vocabulary), Some(text));
//! ```

pub mod adaptation;
pub mod cells;
mod config;
pub mod corpus;
mod experiments;
pub mod items;
pub mod masks;
pub mod model;
pub mod multitask;
pub mod objectives;
pub mod own_data;
mod pictures;
mod report;
pub mod scoring;
pub mod texts;
pub mod training;
pub mod vocabulary;
pub mod zero_shot;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use config::Config;

use experiments::{Prepared, Wanted, Work};
use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

/// The paper's system.
pub struct ArchObjective;

/// Measured: tokens of [`Config::cost`] that one core trains on in a minute, at `d = 96` and 4 layers.
const TOKENS_PER_MINUTE: f64 = 680_000.0;

impl System for ArchObjective {
    const PAPER: &'static str = "arch-objective";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        Config::preset(preset)
    }

    /// One: `replicates` trainings are compared item by item within a run.
    fn seeds(_: Preset) -> u64 {
        1
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()?;
        if let Some(path) = &config.checkpoint {
            if !Path::new(path).is_file() {
                return Err(Invalid::new(
                    "checkpoint",
                    "a safetensors file of an earlier run",
                    format!("`{path}`"),
                ));
            }
            if config.save_to.is_some() {
                return Err(Invalid::new(
                    "save_to",
                    "nothing with `checkpoint`: no model is pretrained",
                    "a folder",
                ));
            }
        }
        Ok(())
    }

    fn needs(config: &Config) -> Needs {
        let size = (config.d * config.d * config.layers) as f64 / (96.0 * 96.0 * 4.0);
        Needs {
            data: texts::data_sets(),
            threads: 2,
            memory_mib: 600,
            minutes: config.cost() * size.max(0.1) / TOKENS_PER_MINUTE,
            ..Needs::default()
        }
    }

    fn check_data(_: &Config, file: &Path) -> Result<()> {
        own_data::read(file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        if !run.is_first_seed() {
            run.warn("everything is observed once, in the first seed; more trainings are `replicates`");
            return Ok(());
        }
        let config = match &config.checkpoint {
            Some(path) => {
                let cell = experiments::cell_of_checkpoint(Path::new(path))?;
                Config { cells: vec![cell], replicates: 1, adaptation: 0.0, ..config.clone() }
            }
            None => config.clone(),
        };
        let prepared = Prepared::new(&config, run)?;
        grid(&config, run, &prepared)
    }
}

/// All replicates, then the report.
fn grid(config: &Config, run: &mut Run, prepared: &Prepared) -> Result<()> {
    let any = |measures: &[&str]| measures.iter().any(|measure| run.wanted(measure));
    let wanted = Wanted {
        finetuning: config.finetuning_tokens > 0 && any(&["multitask", "multitask_accuracy"]),
        adaptation: config.adaptation_steps() > 0 && any(&["speed_up", "decayed_speed_up"]),
    };
    let mut work = Work::new(config.cost());
    let mut all = Vec::new();
    for index in 0..config.replicates {
        all.push(experiments::replicate(config, run, prepared, &mut work, wanted, index)?);
    }
    report::report(config, run, prepared, &all)
}

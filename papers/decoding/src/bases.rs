//! The language models and texts that the papers of this family share.

use std::ops::ControlFlow;
use std::path::Path;

use ream_data::shakespeare::{plays, poems};
use ream_data::sword::Bible;
use ream_lab::{Error, Result, Run};
use ream_lm::small::split_chapters;
use ream_lm::{LanguageModel, SmallConfig, SmallLm};
use serde::Serialize;

/// Chapters that no small model is trained on, of all.
const HELD_OUT: f64 = 0.05;

/// Texts for training and texts that are kept from it.
#[derive(Clone, Debug)]
pub struct Texts {
    /// For training.
    pub training: Vec<String>,
    /// For tests.
    pub held_out: Vec<String>,
}

/// The King James Bible's chapters, one verse a line; one in twenty is held out.
///
/// # Errors
/// When the data set `kjv` is not there.
pub fn kjv(run: &Run) -> Result<Texts> {
    let bible = Bible::open(&run.data("kjv")?).map_err(failed)?;
    let chapters: Vec<String> = bible.chapters().map(|(_, _, verses)| verses.join("\n") + "\n").collect();
    let (training, held_out) = split_chapters(&chapters, HELD_OUT);
    Ok(Texts { training, held_out })
}

/// Shakespeare's plays and books of poems, a text for each.
///
/// # Errors
/// When the data set `shakespeare` is not there.
pub fn shakespeare(run: &Run) -> Result<Vec<String>> {
    let folder = run.data("shakespeare")?;
    let dramas = plays(&folder).map_err(failed)?;
    let verses = poems(&folder).map_err(failed)?;
    Ok(dramas.into_iter().chain(verses).map(|work| work.lines.join("\n") + "\n").collect())
}

/// `kjv-base`, or a smaller one for smoke presets: trained on the King James Bible once, then kept for all papers.
///
/// # Errors
/// When the data set `kjv` is not there; cancellation.
pub fn small_base(run: &mut Run, config: &SmallConfig) -> Result<SmallLm> {
    let texts = kjv(run)?;
    trained(run, "kjv-base", config, &texts.training)
}

/// A small model on texts of one's own, kept by what decides it: its configuration and its texts.
///
/// # Errors
/// When there is too little text; cancellation.
pub fn trained(run: &mut Run, name: &str, config: &SmallConfig, texts: &[String]) -> Result<SmallLm> {
    #[derive(Serialize)]
    struct Inputs<'a> {
        config: &'a SmallConfig,
        texts: String,
    }
    let inputs = Inputs { config, texts: ream_lab::config_hash(&serde_json::Value::from(texts)) };
    let what = format!("training {name} ({} tokens; kept for later runs)", config.tokens);
    run.shared_artefact(name, &inputs, |run| {
        let mut stopped = None;
        let trained = SmallLm::train(texts, config, |progress| {
            match run.progress(progress.step as f64 / progress.steps.max(1) as f64, &what) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (stopped, trained) {
            (Some(error), _) => Err(error),
            (None, trained) => trained.map_err(failed),
        }
    })
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// SmolLM2-135M-Instruct.
///
/// # Errors
/// When the data set `smollm2` is not there.
pub fn smollm2(run: &Run) -> Result<LanguageModel> {
    open(&run.data("smollm2")?)
}

/// The model of a GGUF file.
///
/// # Errors
/// What [`LanguageModel::open`] says.
pub fn open(file: &Path) -> Result<LanguageModel> {
    LanguageModel::open(file).map_err(failed)
}

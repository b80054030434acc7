//! What can be set, its presets and its ranges.

use ream_lab::{Invalid, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cells::Cell;
use super::items::AROUND;
use super::objectives::SpanCorruption;

/// Configuration of `arch-objective`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Cells of the grid that are trained. Adaptations need `cd-flm` and `nd-mlm`.
    pub cells: Vec<Cell>,
    /// Width of the model.
    pub d: usize,
    /// Attention heads; `d / heads` is even, for rotary positions.
    pub heads: usize,
    /// Layers of a decoder; an encoder-decoder has as many in each of its two stacks.
    pub layers: usize,
    /// Tokens of an example, input and target together.
    pub context: usize,
    /// Merges of the byte-level BPE, learned on training text.
    pub merges: usize,
    /// Characters of training text that the BPE is learned on, at most.
    pub tokenizer_characters: usize,
    /// Share of the chapters that is held out.
    pub held_out: f64,
    /// How often everything is trained, each time from other random numbers: the seeds of the paper's grid.
    pub replicates: usize,
    /// Examples of a pretraining step; a finetuning step has twice as many, which are shorter.
    pub batch: usize,
    /// Input and target tokens of every pretraining.
    pub pretraining_tokens: u64,
    /// Input and target tokens of multitask finetuning; 0 leaves it out.
    pub finetuning_tokens: u64,
    /// Tokens of an adaptation as a share of those of pretraining; 0 leaves adaptations out.
    pub adaptation: f64,
    /// AdamW's learning rate in pretraining and adaptation.
    pub learning_rate: f64,
    /// AdamW's learning rate in finetuning.
    pub finetuning_rate: f64,
    /// Steps of warm-up at most; never more than a tenth of all steps.
    pub warmup: u64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest norm of the gradients.
    pub clip: f64,
    /// Share of the tokens that span corruption hides.
    pub mask_rate: f64,
    /// Mean length of a hidden span.
    pub mean_span: f64,
    /// Items of each zero-shot task.
    pub zero_shot_items: usize,
    /// Items of each held-out family of multitask finetuning.
    pub multitask_items: usize,
    /// Held-out examples that the validation loss is taken over.
    pub validation_examples: usize,
    /// Points of the curves over training.
    pub points: u64,
    /// Bootstrap draws over items.
    pub draws: usize,
    /// A model saved by an earlier run, to judge instead of pretraining: its cell is the only one.
    pub checkpoint: Option<String>,
    /// Folder to save pretrained models in, as `<cell>-<replicate>.safetensors`.
    pub save_to: Option<String>,
}

impl Config {
    /// The named configuration.
    pub fn preset(preset: Preset) -> Self {
        let full = Self {
            cells: Cell::ALL.to_vec(),
            d: 96,
            heads: 4,
            layers: 4,
            context: 96,
            merges: 512,
            tokenizer_characters: 20_000_000,
            held_out: 0.05,
            replicates: 2,
            batch: 8,
            pretraining_tokens: 300_000,
            finetuning_tokens: 120_000,
            adaptation: 0.3,
            learning_rate: 2e-3,
            finetuning_rate: 2e-3,
            warmup: 100,
            weight_decay: 0.01,
            clip: 1.0,
            mask_rate: 0.15,
            mean_span: 3.0,
            zero_shot_items: 300,
            multitask_items: 200,
            validation_examples: 96,
            points: 20,
            draws: 1000,
            checkpoint: None,
            save_to: None,
        };
        match preset {
            Preset::Full => full,
            Preset::Long => {
                Self { replicates: 5, pretraining_tokens: 1_500_000, finetuning_tokens: 300_000, ..full }
            }
            Preset::Smoke => Self {
                d: 32,
                layers: 2,
                tokenizer_characters: 200_000,
                replicates: 1,
                pretraining_tokens: 10_000,
                finetuning_tokens: 4_000,
                zero_shot_items: 20,
                multitask_items: 20,
                validation_examples: 16,
                points: 4,
                draws: 200,
                ..full
            },
        }
    }

    /// Whether a cell is trained.
    pub fn has(&self, cell: Cell) -> bool {
        self.cells.contains(&cell)
    }

    /// Span corruption as it is set.
    pub fn corruption(&self) -> SpanCorruption {
        SpanCorruption { rate: self.mask_rate, mean_span: self.mean_span }
    }

    /// Sentinels that span corruption of a context needs; one at least, before which options are scored.
    pub fn sentinels(&self) -> usize {
        let corruption = self.corruption();
        corruption.counts(corruption.window(self.context)).1.max(1)
    }

    /// Steps of a pretraining.
    pub fn pretraining_steps(&self) -> u64 {
        self.pretraining_tokens.div_ceil((self.batch * self.context) as u64)
    }

    /// Steps of an adaptation.
    pub fn adaptation_steps(&self) -> u64 {
        libm::round(self.pretraining_steps() as f64 * self.adaptation) as u64
    }

    /// Rough cost of a run in tokens that are trained on: a scored token costs a third.
    pub fn cost(&self) -> f64 {
        let pretraining = self.pretraining_tokens as f64;
        let finetuning = self.finetuning_tokens as f64;
        let scored = 60.0 * (18 * self.zero_shot_items + 20 * self.multitask_items) as f64 / 3.0;
        let watched = (self.points as f64 + 1.0) * (self.validation_examples * self.context) as f64 / 3.0;
        let cells = self.cells.len() as f64;
        // Two adaptations and two short trainings from scratch; MTF from scratch for each architecture, and of one adaptation.
        let extra = if self.adaptation > 0.0 { 4.0 * self.adaptation * pretraining } else { 0.0 };
        let each =
            cells * (pretraining + watched + scored + finetuning) + extra + 4.0 * (finetuning + 0.4 * scored);
        self.replicates as f64 * each
    }

    /// All ranges. The first key that is out of range is named.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let whole = |key: &str, value: usize, low, high| Invalid::unless_in(key, value, low..=high);
        if self.cells.is_empty() {
            return Err(Invalid::new("cells", "at least one cell", "none"));
        }
        if let Some(at) = (1..self.cells.len()).find(|at| self.cells[..*at].contains(&self.cells[*at])) {
            return Err(Invalid::new("cells", "each cell once", self.cells[at].name()));
        }
        whole("d", self.d, 8, 1024)?;
        whole("heads", self.heads, 1, 32)?;
        if !self.d.is_multiple_of(2 * self.heads) {
            let got = format!("{} for d = {}", self.heads, self.d);
            return Err(Invalid::new("heads", "so many that d / heads is an even whole number", got));
        }
        whole("layers", self.layers, 1, 24)?;
        whole("context", self.context, 32, 1024)?;
        whole("merges", self.merges, 0, 50_000)?;
        whole("tokenizer_characters", self.tokenizer_characters, 10_000, 1_000_000_000)?;
        Invalid::unless_in("held_out", self.held_out, 0.005..=0.5)?;
        whole("replicates", self.replicates, 1, 50)?;
        whole("batch", self.batch, 1, 1024)?;
        Invalid::unless_in("pretraining_tokens", self.pretraining_tokens, 1000..=1_000_000_000)?;
        Invalid::unless_in("finetuning_tokens", self.finetuning_tokens, 0..=1_000_000_000)?;
        Invalid::unless_in("adaptation", self.adaptation, 0.0..=1.0)?;
        positive("learning_rate", self.learning_rate, 1.0)?;
        positive("finetuning_rate", self.finetuning_rate, 1.0)?;
        Invalid::unless_in("warmup", self.warmup, 0..=1_000_000)?;
        Invalid::unless_in("weight_decay", self.weight_decay, 0.0..=1.0)?;
        positive("clip", self.clip, 1e9)?;
        self.corruption().check()?;
        whole("zero_shot_items", self.zero_shot_items, 2, 100_000)?;
        whole("multitask_items", self.multitask_items, 2, 100_000)?;
        whole("validation_examples", self.validation_examples, 1, 100_000)?;
        Invalid::unless_in("points", self.points, 2..=1000)?;
        whole("draws", self.draws, 100, 100_000)?;
        let room = self.corruption().total(self.corruption().window(self.context));
        if room + AROUND < 16 || room > self.context {
            return Err(Invalid::new("context", "room for a corrupted example", self.context.to_string()));
        }
        Ok(())
    }
}

fn positive(key: &str, value: f64, most: f64) -> Result<(), Invalid> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    Err(Invalid::new(key, format!("above 0 and at most {most}"), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_allowed() {
        for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
            Config::preset(preset).check().unwrap();
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let refuse = |change: &dyn Fn(&mut Config), key: &str| {
            let mut config = Config::preset(Preset::Smoke);
            change(&mut config);
            let error = config.check().unwrap_err();
            assert_eq!(error.place, key, "{error}");
        };
        for rate in [0.0, 0.91, f64::NAN] {
            refuse(&|c| c.mask_rate = rate, "mask_rate");
        }
        refuse(&|c| c.mean_span = 0.0, "mean_span");
        refuse(&|c| c.heads = 3, "heads");
        refuse(&|c| c.heads = 32, "heads");
        refuse(&|c| c.cells.clear(), "cells");
        refuse(&|c| c.cells = vec![Cell::CdFlm, Cell::CdFlm], "cells");
        refuse(&|c| c.learning_rate = f64::INFINITY, "learning_rate");
        refuse(&|c| c.adaptation = 1.1, "adaptation");
        refuse(&|c| c.replicates = 0, "replicates");
    }

    #[test]
    fn every_preset_gives_the_same_steps_to_all_cells() {
        let full = Config::preset(Preset::Full);
        assert_eq!((full.pretraining_steps(), full.adaptation_steps()), (391, 117));
        assert_eq!(full.corruption().total(full.corruption().window(96)), 96);
    }
}

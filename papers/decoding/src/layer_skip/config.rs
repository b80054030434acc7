//! What can be set, its presets and its ranges.

use ream_lab::{Invalid, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::locality::DISTANCES;
use super::network::{Shape, TrainingSettings};
use super::real::RealSettings;

/// Tokens of each model in the full preset.
pub const PLANNED_TOKENS: u64 = 1_500_000;

/// How blocks are chosen for a model of the user's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The k blocks with the highest redundancy.
    Free,
    /// The k neighbouring blocks with the highest mean redundancy.
    Plateau,
    /// The better of the two on the calibration text.
    Best,
    /// The list that is given.
    List,
}

/// Settings for a text of the user's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The model: a GGUF file of a llama, or a folder with config.json and model.safetensors, whose tokenizer must be SmolLM2's; SmolLM2
    /// when empty.
    pub model: String,
    /// Blocks to skip.
    pub k: usize,
    /// How they are chosen.
    pub rule: Rule,
    /// With the rule `list`: which blocks, counted from 1.
    pub blocks: Vec<usize>,
}

/// The configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network of the three kinds of model that are trained here.
    pub shape: Shape,
    /// Their training.
    pub training: TrainingSettings,
    /// Blocks that are skipped.
    pub skip: usize,
    /// Other numbers of blocks, for the curve of what is kept.
    pub curve: Vec<usize>,
    /// Random lists.
    pub draws: usize,
    /// Sequences on which blocks are chosen.
    pub calibration: usize,
    /// Shares of masked tokens at which models that denoise are looked at.
    pub noise: Vec<f64>,
    /// Sequences on which losses are measured, and the greedy search is made on as many others.
    pub validation: usize,
    /// Items of each task.
    pub items: usize,
    /// Letters of an item.
    pub item_length: usize,
    /// Whether SmolLM2 is looked at too.
    pub smollm2: bool,
    /// How a real model is looked at: SmolLM2, or the user's own.
    pub real: RealSettings,
    /// Settings for a text of your own.
    pub own: Own,
}

impl Config {
    /// The configuration of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let full = Self {
            shape: Shape {
                layers: 16,
                d: 64,
                heads: 4,
                hidden: 192,
                context: 96,
                rope_base: 100.0,
                token_deviation: 0.125,
            },
            training: TrainingSettings {
                tokens: PLANNED_TOKENS,
                batch: 2,
                learning_rate: 1.5e-3,
                warmup: 600,
                least_noise: 0.02,
            },
            skip: 3,
            curve: vec![1, 2, 4, 6],
            draws: 10,
            calibration: 64,
            noise: vec![0.2, 0.5, 0.8],
            validation: 48,
            items: 96,
            item_length: 64,
            smollm2: true,
            real: RealSettings {
                calibration: 64,
                calibration_window: 32,
                tokens: 4000,
                window: 250,
                skip: vec![1, 2, 3, 6],
                draws: 10,
                few: 500,
                candidates: 10,
            },
            own: Own { model: String::new(), k: 3, rule: Rule::Best, blocks: Vec::new() },
        };
        match preset {
            Preset::Full | Preset::Long => full,
            Preset::Smoke => Self {
                shape: Shape { layers: 8, d: 32, heads: 2, hidden: 96, context: 80, ..full.shape },
                training: TrainingSettings {
                    tokens: 150 * 4 * 80,
                    batch: 4,
                    warmup: 20,
                    learning_rate: 3e-3,
                    ..full.training
                },
                skip: 2,
                curve: vec![1, 3],
                draws: 3,
                calibration: 8,
                validation: 8,
                items: 12,
                item_length: 40,
                smollm2: false,
                ..full
            },
        }
    }

    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let shape = &self.shape;
        for (key, value, least) in [
            ("shape.layers", shape.layers, 5),
            ("shape.context", shape.context, 2 * (DISTANCES[DISTANCES.len() - 1] + 1)),
            ("draws", self.draws, 2),
            ("calibration", self.calibration, 2),
            ("validation", self.validation, 2),
            ("items", self.items, 1),
            ("item_length", self.item_length, 20),
            ("real.calibration", self.real.calibration, 1),
            ("real.calibration_window", self.real.calibration_window, 2),
            ("real.window", self.real.window, 2),
            ("real.tokens", self.real.tokens, self.real.window),
        ] {
            if value < least {
                return Err(Invalid::new(key, format!("at least {least}"), value.to_string()));
            }
        }
        if self.training.batch == 0 || !self.training.batch.is_multiple_of(2) {
            let wanted = "an even number: chains and chapters take turns";
            return Err(Invalid::new("training.batch", wanted, self.training.batch.to_string()));
        }
        if !(shape.token_deviation > 0.0 && shape.token_deviation <= 1.0) {
            let got = shape.token_deviation.to_string();
            return Err(Invalid::new("shape.token_deviation", "in (0, 1]", got));
        }
        shape.network().check().map_err(|error| Invalid::new("shape", error.to_string(), String::new()))?;
        if self.item_length > shape.context {
            let wanted = format!("at most shape.context = {}", shape.context);
            return Err(Invalid::new("item_length", wanted, self.item_length.to_string()));
        }
        for k in self.curve.iter().chain([&self.skip]) {
            check_k("skip and curve", *k, shape.layers)?;
        }
        if !(self.training.least_noise > 0.0 && self.training.least_noise < 1.0) {
            let got = self.training.least_noise.to_string();
            return Err(Invalid::new("training.least_noise", "in (0, 1)", got));
        }
        if self.noise.is_empty() || self.noise.iter().any(|t| !(*t > 0.0 && *t < 1.0)) {
            return Err(Invalid::new("noise", "shares in (0, 1), at least one", format!("{:?}", self.noise)));
        }
        if self.own.rule == Rule::List && self.own.blocks.is_empty() {
            return Err(Invalid::new("own.blocks", "at least one block with the rule `list`", "none"));
        }
        Ok(())
    }
}

/// Whether so many blocks can be skipped: the first and the last two never are.
///
/// # Errors
/// When `k >= layers - 3`.
pub fn check_k(key: &str, k: usize, layers: usize) -> Result<(), Invalid> {
    if k == 0 || k + 3 >= layers {
        let most = layers.saturating_sub(4);
        let wanted = format!("from 1 to {most}: below {layers} - 3 blocks of a model of {layers}");
        return Err(Invalid::new(key, wanted, k.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(change: impl Fn(&mut Config), words: &[&str]) {
        let mut config = Config::preset(Preset::Full);
        change(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn presets_are_right_and_the_cut_is_the_papers() {
        for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
            Config::preset(preset).check().unwrap();
        }
        let full = Config::preset(Preset::Full);
        assert!((full.skip as f64 / full.shape.layers as f64 - 0.1875).abs() < 1e-12);
    }

    #[test]
    fn mistakes_are_named() {
        refuse(|c| c.skip = 13, &["skip and curve", "from 1 to 12", "13"]);
        refuse(|c| c.curve = vec![0], &["from 1 to 12", "0"]);
        refuse(|c| c.shape.heads = 5, &["shape", "heads"]);
        refuse(|c| c.training.batch = 0, &["training.batch", "even", "0"]);
        refuse(|c| c.training.batch = 3, &["training.batch", "even", "3"]);
        refuse(|c| c.shape.token_deviation = 0.0, &["shape.token_deviation", "in (0, 1]", "0"]);
        refuse(|c| c.shape.context = 60, &["shape.context", "at least 66"]);
        refuse(|c| c.item_length = 97, &["item_length", "at most shape.context = 96"]);
        refuse(|c| c.noise = vec![0.5, 1.0], &["noise", "in (0, 1)"]);
        refuse(|c| c.training.least_noise = 0.0, &["least_noise", "in (0, 1)"]);
        refuse(|c| c.own.rule = Rule::List, &["own.blocks", "at least one block"]);
        refuse(|c| c.draws = 1, &["draws", "at least 2"]);
    }
}

//! What can be set, its presets and its ranges.

use ream_lab::{Invalid, Preset};
use ream_lm::SmallConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::constraint::Condition;
use super::training::Settings;

/// Part A: strings of an order-1 Markov source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strings {
    /// Symbols.
    pub symbols: usize,
    /// Symbols of a string.
    pub length: usize,
    /// Concentration of the Dirichlet laws of the source's rows.
    pub concentration: f64,
    /// Draws of every law from which the estimators are computed.
    pub draws: usize,
    /// How the tabular proposals are trained.
    pub training: Settings,
}

/// Part B: a network trained here, all of whose weights are tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Small {
    /// Width of the network; 128 with 4 layers and 1,500,000 tokens is the model that papers share.
    pub d: usize,
    /// Its blocks.
    pub layers: usize,
    /// Tokens of its training on the King James Bible.
    pub tokens: u64,
    /// Words of which the one whose natural rate is closest to `rate` is asked for.
    pub words: Vec<String>,
    /// The natural rate that is looked for.
    pub rate: f64,
    /// Texts by which the words' rates are measured.
    pub rate_draws: usize,
    /// The other condition: a regular expression.
    pub regex: String,
    /// Tokens of a text.
    pub length: usize,
    /// Draws of the long rejection run from the network itself.
    pub rejection: usize,
    /// Fresh draws of every proposal by which it is judged.
    pub judged: usize,
    /// Texts that forced-word decoding writes.
    pub forced: usize,
    /// Outputs of the guarded sampler that the second matcher looks at, for each condition.
    pub outputs: usize,
    /// How proposals are trained.
    pub training: Settings,
}

/// Part C: a large model with an adapter on its final hidden state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Large {
    /// Whether the part runs.
    pub enabled: bool,
    /// The word that a continuation of the start token must hold.
    pub word: String,
    /// What is added to the logits of the word's tokens when draws for the warm start are helped.
    pub word_tilt: f64,
    /// The same for tokens of pleasant words.
    pub sentiment_tilt: f64,
    /// Opening of a story whose continuation must end well.
    pub opening: String,
    /// The compound score that the continuation must exceed.
    pub above: f64,
    /// Tokens of a text.
    pub length: usize,
    /// Rank of the adapter.
    pub rank: usize,
    /// Fresh draws of the proposal by which it is judged, and of the raised model; of the others a quarter of it.
    pub judged: usize,
    /// Outputs of the guarded sampler that the second matcher looks at, for each condition.
    pub outputs: usize,
    /// Draws after which the sampler stops looking for more outputs.
    pub most_draws: usize,
    /// How the adapter is trained.
    pub training: Settings,
}

/// A model, prompts and a condition of your own: `--data` names a GGUF model, or prompts as JSON lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// GGUF model for prompts from a file; empty for SmolLM2.
    pub model: String,
    /// Prompt for a model from a file; empty for the token that begins or ends a text.
    pub prompt: String,
    /// What a chat model is told so that it knows the condition; `{prompt}` stands for the prompt; empty for none.
    pub instruction: String,
    /// Field of a JSONL file that holds the prompt.
    pub field: String,
    /// Tokens of a text.
    pub length: usize,
    /// Outputs for each prompt.
    pub outputs: usize,
    /// Draws after which the search for one output is given up.
    pub cap: usize,
    /// Draws of the base model in which the condition must be seen once before anything is trained.
    pub search: usize,
    /// What every output must satisfy.
    pub condition: Condition,
}

/// The experiment's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Strings whose laws are known exactly.
    pub strings: Strings,
    /// The network trained here.
    pub small: Small,
    /// The large model.
    pub large: Large,
    /// A model and a condition of your own.
    pub own: Own,
    /// Resamples behind every interval.
    pub resamples: usize,
}

/// The beginning that the built-in story continues; its compound score is below -0.3.
pub const OPENING: &str =
    "The storm had destroyed their house, and the old man was dead. Anna sat alone in the cold and cried.";

impl Config {
    /// A preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let training = Settings {
            draws: 12_800,
            warm: 0.5,
            batch: 64,
            batches: 10,
            epochs: 3,
            likelihood_rate: 1e-3,
            gradient_rate: 1e-3,
            clip: 0.999,
            effective: 30.0,
            beta: 0.1,
        };
        let full = Self {
            strings: Strings {
                symbols: 6,
                length: 8,
                concentration: 1.0,
                draws: 20_000,
                training: Settings {
                    draws: 20_000,
                    batch: 200,
                    epochs: 10,
                    likelihood_rate: 0.05,
                    gradient_rate: 0.03,
                    ..training.clone()
                },
            },
            small: Small {
                d: 128,
                layers: 4,
                tokens: 1_500_000,
                words: ["mercy", "wisdom", "horses"].map(str::to_owned).to_vec(),
                rate: 0.002,
                rate_draws: 20_000,
                regex: r"(?s)\?.*\.\s*\z".to_owned(),
                length: 24,
                rejection: 60_000,
                judged: 2000,
                forced: 400,
                outputs: 500,
                training: Settings { likelihood_rate: 3e-4, gradient_rate: 2e-4, ..training.clone() },
            },
            large: Large {
                enabled: true,
                word: "amazing".to_owned(),
                word_tilt: 6.0,
                sentiment_tilt: 2.0,
                opening: OPENING.to_owned(),
                above: 0.8,
                length: 20,
                rank: 8,
                judged: 1200,
                outputs: 100,
                most_draws: 800,
                training: Settings {
                    draws: 800,
                    batch: 16,
                    batches: 5,
                    likelihood_rate: 1.5e-3,
                    gradient_rate: 2e-3,
                    ..training
                },
            },
            own: Own {
                model: String::new(),
                prompt: String::new(),
                instruction: String::new(),
                field: "prompt".to_owned(),
                length: 20,
                outputs: 10,
                cap: 10_000,
                search: 1000,
                condition: Condition::word("amazing"),
            },
            resamples: 200,
        };
        if preset != Preset::Smoke {
            return full;
        }
        let mut config = full;
        config.strings.symbols = 4;
        config.strings.length = 6;
        config.strings.draws = 4000;
        config.strings.training.draws = 4000;
        config.small = Small {
            d: 32,
            layers: 2,
            tokens: 60_000,
            words: ["the", "and"].map(str::to_owned).to_vec(),
            rate: 0.1,
            rate_draws: 200,
            regex: r"(?s),".to_owned(),
            rejection: 400,
            judged: 200,
            forced: 20,
            outputs: 40,
            training: Settings { draws: 400, batch: 20, batches: 5, ..config.small.training },
            ..config.small
        };
        config.large.enabled = false;
        config.resamples = 40;
        config
    }

    /// The shared small model that part B begins with.
    #[must_use]
    pub fn base(&self) -> SmallConfig {
        SmallConfig {
            d: self.small.d,
            layers: self.small.layers,
            tokens: self.small.tokens,
            ..SmallConfig::default()
        }
    }

    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let s = &self.strings;
        Invalid::unless_in("strings.symbols", s.symbols, 2..=12)?;
        Invalid::unless_in("strings.length", s.length, 2..=12)?;
        let strings = (s.symbols as f64).powi(s.length as i32);
        if strings > 4e6 {
            let wanted = "at most 4 million strings, which are enumerated";
            return Err(Invalid::new("strings", wanted, format!("{strings}")));
        }
        Invalid::unless_in("strings.concentration", s.concentration, 0.05..=100.0)?;
        Invalid::unless_in("strings.draws", s.draws, 100..=1_000_000)?;
        s.training.check("strings.training")?;
        let b = &self.small;
        Invalid::unless_in("small.d", b.d, 16..=512)?;
        if !b.d.is_multiple_of(8) {
            return Err(Invalid::new("small.d", "a multiple of 8, two for each of 4 heads", b.d.to_string()));
        }
        Invalid::unless_in("small.layers", b.layers, 1..=12)?;
        Invalid::unless_in("small.tokens", b.tokens, 10_000..=100_000_000)?;
        Invalid::unless_in("small.rate", b.rate, 1e-6..=1.0)?;
        Invalid::unless_in("small.rate_draws", b.rate_draws, 1..=10_000_000)?;
        if b.words.is_empty() {
            return Err(Invalid::new("small.words", "at least one word", "none"));
        }
        for word in &b.words {
            Condition::word(word).check("small")?;
        }
        Condition::pattern(&b.regex).check("small")?;
        Invalid::unless_in("small.length", b.length, 4..=64)?;
        Invalid::unless_in("small.rejection", b.rejection, 10..=100_000_000)?;
        Invalid::unless_in("small.judged", b.judged, 10..=1_000_000)?;
        Invalid::unless_in("small.forced", b.forced, 2..=100_000)?;
        Invalid::unless_in("small.outputs", b.outputs, 1..=1_000_000)?;
        b.training.check("small.training")?;
        let c = &self.large;
        Condition::word(&c.word).check("large")?;
        Condition::sentiment(c.above).check("large")?;
        if c.opening.trim().is_empty() {
            return Err(Invalid::new("large.opening", "the opening of a story", "nothing"));
        }
        Invalid::unless_in("large.word_tilt", c.word_tilt, 0.0..=30.0)?;
        Invalid::unless_in("large.sentiment_tilt", c.sentiment_tilt, 0.0..=30.0)?;
        Invalid::unless_in("large.length", c.length, 2..=512)?;
        Invalid::unless_in("large.rank", c.rank, 1..=64)?;
        Invalid::unless_in("large.judged", c.judged, 8..=1_000_000)?;
        Invalid::unless_in("large.outputs", c.outputs, 1..=1_000_000)?;
        Invalid::unless_in("large.most_draws", c.most_draws, 1..=100_000_000)?;
        c.training.check("large.training")?;
        self.own.condition.check("own.condition")?;
        Invalid::unless_in("own.length", self.own.length, 1..=2048)?;
        Invalid::unless_in("own.outputs", self.own.outputs, 1..=100_000)?;
        Invalid::unless_in("own.cap", self.own.cap, 1..=100_000_000)?;
        Invalid::unless_in("own.search", self.own.search, 1..=100_000_000)?;
        Invalid::unless_in("resamples", self.resamples, 20..=100_000)
    }
}

impl Settings {
    /// Ranges; `key` is where the settings stand.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self, key: &str) -> Result<(), Invalid> {
        let key = |name: &str| format!("{key}.{name}");
        Invalid::unless_in(&key("draws"), self.draws, 2..=100_000_000)?;
        Invalid::unless_in(&key("warm"), self.warm, 0.0..=1.0)?;
        Invalid::unless_in(&key("batch"), self.batch, 1..=100_000)?;
        Invalid::unless_in(&key("batches"), self.batches, 1..=10_000)?;
        Invalid::unless_in(&key("epochs"), self.epochs, 1..=1000)?;
        Invalid::unless_in(&key("likelihood_rate"), self.likelihood_rate, 0.0..=1.0)?;
        Invalid::unless_in(&key("gradient_rate"), self.gradient_rate, 0.0..=1.0)?;
        Invalid::unless_in(&key("clip"), self.clip, 0.5..=1.0)?;
        Invalid::unless_in(&key("effective"), self.effective, 1.0..=1e9)?;
        Invalid::unless_in(&key("beta"), self.beta, 0.0..=10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_allowed_and_wrong_values_are_named() {
        for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
            Config::preset(preset).check().unwrap();
        }
        let wrong = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::preset(Preset::Smoke);
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(&|c| c.strings.length = 12).contains("at most 4 million strings"));
        assert!(wrong(&|c| c.small.regex = "a)".to_owned()).contains("small.regex"));
        assert!(wrong(&|c| c.small.training.clip = 0.1).contains("small.training.clip"));
        assert!(wrong(&|c| c.large.above = 1.0).contains("large.compound_above"));
        assert!(wrong(&|c| c.own.condition = Condition::default()).contains("own.condition"));
    }
}

//! What can be set, its presets and its ranges.

use super::decode::Acceptance;
use super::heads::{Kind, Shape};
use super::training::Optimisation;
use ream_lab::{Invalid, Preset};
use ream_lm::SmallConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A base model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// A small model of the King James Bible, trained here.
    Small,
    /// SmolLM2-135M-Instruct.
    Smollm2,
}

impl Base {
    /// Its name in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self == Self::Small { "small" } else { "smollm2" }
    }
}

/// The small base; the defaults are `kjv-base`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Small {
    /// Width.
    pub d: usize,
    /// Blocks.
    pub layers: usize,
    /// Merges of its tokenizer.
    pub merges: usize,
    /// Tokens it is trained on.
    pub tokens: u64,
    /// Tokens it sees at once.
    pub context: usize,
}

impl Small {
    /// The shared small model of this size.
    #[must_use]
    pub fn config(&self) -> SmallConfig {
        SmallConfig {
            d: self.d,
            layers: self.layers,
            merges: self.merges,
            tokens: self.tokens,
            context: self.context,
            ..SmallConfig::default()
        }
    }
}

/// Sizes of the heads, the same for every set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadSettings {
    /// How many heads: K.
    pub count: usize,
    /// Layers of the deep heads of Hydra++.
    pub deep: usize,
    /// Tokens that heads over a large vocabulary draft: the most frequent ones of the training text.
    pub vocabulary: usize,
    /// Rank of the trained correction of their rows; bases of fewer tokens than `vocabulary` have all rows trained.
    pub rank: usize,
}

/// What heads of a base are trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextTraining {
    /// Tokens of text that the base reads once.
    pub tokens: usize,
    /// Tokens of windows that begin with a quarter of text and go on as the base does, greedily; they are read beside the text.
    pub own_tokens: usize,
    /// Tokens of a window.
    pub window: usize,
    /// Steps, batch and rate, the same for every set of heads.
    pub optimisation: Optimisation,
}

impl TextTraining {
    fn check(&self, key: &str, heads: usize) -> Result<(), Invalid> {
        Invalid::unless_in(&format!("{key}.window"), self.window, heads + 2..=4096)?;
        Invalid::unless_in(&format!("{key}.tokens"), self.tokens, self.window..=100_000_000)?;
        Invalid::unless_in(&format!("{key}.own_tokens"), self.own_tokens, 0..=100_000_000)?;
        self.optimisation.check(&format!("{key}.optimisation"))
    }
}

/// How drafts are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Prompts.
    pub prompts: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Tokens that are written after each.
    pub new_tokens: usize,
    /// Tokens of the base's own text that trees are calibrated on.
    pub calibration_tokens: usize,
    /// Nodes of the tree that acceptance lengths are compared on.
    pub tree: usize,
    /// Sizes of trees whose cost is measured and among which the fastest is chosen; ascending from 1.
    pub sizes: Vec<usize>,
    /// Draws of the test of exact sampling; 0 leaves it out.
    pub draws: usize,
    /// Typical acceptance's epsilon.
    pub epsilon: f64,
    /// Temperature of exact and typical acceptance.
    pub temperature: f32,
    /// Prompts that are timed.
    pub timed_prompts: usize,
    /// Repetitions of the timing.
    pub repetitions: usize,
}

/// Files and settings for a run on your own data (`--data`: prompts as text or JSONL).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// GGUF file of the base; empty trains a small base on the text.
    pub model: String,
    /// Training text for the heads; empty takes the first nine tenths of the file of prompts.
    pub training_text: String,
    /// Saved heads (safetensors) to use instead of training Hydra++.
    pub heads: String,
    /// Where the trained Hydra++ heads are written; empty writes none.
    pub save_heads: String,
    /// Field of a JSONL file that holds the prompt.
    pub field: String,
    /// Nodes of the tree; 0 lets the measured costs choose.
    pub tree: usize,
    /// Longest path of the tree; 0 for one guess of every head.
    pub depth: usize,
    /// When a guess is kept: greedy, typical (epsilon, temperature) or exact (temperature).
    pub acceptance: Option<Acceptance>,
}

/// Configuration of `hydra`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bases; a file given with `--data` takes their place.
    pub bases: Vec<Base>,
    /// The small base.
    pub small: Small,
    /// Draft heads.
    pub heads: HeadSettings,
    /// Training of heads for the small base (and for a base of your own).
    pub small_training: TextTraining,
    /// Training of heads for SmolLM2.
    pub real_training: TextTraining,
    /// How drafts are looked at.
    pub evaluation: Evaluation,
    /// Your own data.
    pub own: Own,
}

/// Tokens of training text for the small base as the experiment was planned.
pub const PLANNED_SMALL_TOKENS: usize = 400_000;
/// Tokens of training text for SmolLM2 as the experiment was planned.
pub const PLANNED_TOKENS: usize = 12_000;

impl Config {
    /// The configuration of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let full = Self {
            bases: vec![Base::Small, Base::Smollm2],
            small: Small { d: 128, layers: 4, merges: 512, tokens: 1_500_000, context: 128 },
            heads: HeadSettings { count: 4, deep: 4, vocabulary: 4096, rank: 16 },
            small_training: TextTraining {
                tokens: 200_000,
                own_tokens: 0,
                window: 128,
                optimisation: Optimisation { steps: 400, batch: 4, learning_rate: 1e-3, warmup: 20 },
            },
            real_training: TextTraining {
                tokens: 24_000,
                own_tokens: 24_000,
                window: 128,
                optimisation: Optimisation { steps: 150, batch: 4, learning_rate: 1e-3, warmup: 10 },
            },
            evaluation: Evaluation {
                prompts: 60,
                prompt_tokens: 48,
                new_tokens: 48,
                calibration_tokens: 2000,
                tree: 16,
                sizes: vec![1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32],
                draws: 5000,
                epsilon: 0.09,
                temperature: 1.0,
                timed_prompts: 8,
                repetitions: 5,
            },
            own: Own { field: "text".to_owned(), ..Own::default() },
        };
        match preset {
            Preset::Long => Self {
                small_training: TextTraining {
                    tokens: PLANNED_SMALL_TOKENS,
                    optimisation: Optimisation { steps: 800, ..full.small_training.optimisation.clone() },
                    ..full.small_training.clone()
                },
                real_training: TextTraining {
                    tokens: 60_000,
                    own_tokens: 60_000,
                    optimisation: Optimisation { steps: 400, ..full.real_training.optimisation.clone() },
                    ..full.real_training.clone()
                },
                ..full
            },
            Preset::Smoke => Self {
                bases: vec![Base::Small],
                small: Small { d: 48, layers: 2, merges: 256, tokens: 150_000, context: 128 },
                heads: HeadSettings { count: 3, deep: 2, ..full.heads },
                small_training: TextTraining {
                    tokens: 15_000,
                    own_tokens: 1000,
                    window: 64,
                    optimisation: Optimisation { steps: 25, batch: 8, learning_rate: 3e-3, warmup: 5 },
                },
                evaluation: Evaluation {
                    prompts: 6,
                    prompt_tokens: 16,
                    new_tokens: 24,
                    calibration_tokens: 300,
                    tree: 8,
                    sizes: vec![1, 4, 8],
                    draws: 1000,
                    timed_prompts: 2,
                    repetitions: 3,
                    ..full.evaluation.clone()
                },
                ..full
            },
            _ => full,
        }
    }

    /// All ranges. The first key that is out of range is named.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let whole =
            |key: &str, value: usize, low: usize, high: usize| Invalid::unless_in(key, value, low..=high);
        let twice = (1..self.bases.len()).any(|k| self.bases[..k].contains(&self.bases[k]));
        if self.bases.is_empty() || twice {
            return Err(Invalid::new("bases", "at least one base, each once", format!("{:?}", self.bases)));
        }
        let s = &self.small;
        whole("small.d", s.d, 16, 1024)?;
        if !s.d.is_multiple_of(8) {
            return Err(Invalid::new(
                "small.d",
                "a multiple of 8, for four heads of even size",
                s.d.to_string(),
            ));
        }
        whole("small.layers", s.layers, 1, 32)?;
        whole("small.merges", s.merges, 1, 32_768)?;
        whole("small.context", s.context, 16, 4096)?;
        Invalid::unless_in("small.tokens", s.tokens, 1..=1_000_000_000)?;
        let h = &self.heads;
        whole("heads.count", h.count, 1, 8)?;
        whole("heads.deep", h.deep, 2, 16)?;
        whole("heads.vocabulary", h.vocabulary, 16, 1_000_000)?;
        whole("heads.rank", h.rank, 1, 1024)?;
        self.small_training.check("small_training", h.count)?;
        self.real_training.check("real_training", h.count)?;
        self.check_evaluation()
    }

    fn check_evaluation(&self) -> Result<(), Invalid> {
        let whole =
            |key: &str, value: usize, low: usize, high: usize| Invalid::unless_in(key, value, low..=high);
        let e = &self.evaluation;
        whole("evaluation.prompts", e.prompts, 2, 10_000)?;
        whole("evaluation.prompt_tokens", e.prompt_tokens, 1, 4096)?;
        whole("evaluation.new_tokens", e.new_tokens, self.heads.count + 2, 4096)?;
        let (used, context) = (e.prompt_tokens + e.new_tokens, self.small.context);
        if self.bases.contains(&Base::Small) && used > context {
            let wanted = format!("such that prompt and new tokens fit the small base's context of {context}");
            return Err(Invalid::new("evaluation.new_tokens", wanted, format!("{used} tokens")));
        }
        whole("evaluation.calibration_tokens", e.calibration_tokens, e.new_tokens, 1_000_000)?;
        whole("evaluation.tree", e.tree, 2, 256)?;
        if e.sizes.first() != Some(&1) || e.sizes.windows(2).any(|p| p[0] >= p[1]) || e.sizes.len() < 2 {
            let got = format!("{:?}", e.sizes);
            return Err(Invalid::new("evaluation.sizes", "ascending sizes, the first of them 1", got));
        }
        whole("evaluation.sizes", e.sizes.last().copied().unwrap_or(1), 2, 256)?;
        whole("evaluation.draws", e.draws, 0, 10_000_000)?;
        whole("evaluation.timed_prompts", e.timed_prompts, 1, e.prompts)?;
        whole("evaluation.repetitions", e.repetitions, 1, 1000)?;
        Acceptance::Typical { epsilon: e.epsilon, temperature: e.temperature }
            .check()
            .map_err(|error| Invalid { place: format!("evaluation.{}", error.place), ..error })?;
        if let Some(acceptance) = &self.own.acceptance {
            acceptance
                .check()
                .map_err(|error| Invalid { place: format!("own.acceptance.{}", error.place), ..error })?;
        }
        if self.own.depth > self.heads.count && self.own.heads.is_empty() {
            let wanted = format!("at most heads.count = {}, one guess of each head", self.heads.count);
            return Err(Invalid::new("own.depth", wanted, self.own.depth.to_string()));
        }
        Ok(())
    }
}

/// A set of heads that is trained and compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arm {
    /// Its name in observations.
    pub name: &'static str,
    /// Its heads.
    pub shape: Shape,
    /// Whether it learns from the base's laws rather than the text.
    pub distil: bool,
}

/// The sets of heads: the three systems, and with `ingredients` each of Hydra++'s additions alone.
#[must_use]
pub fn arms(settings: &HeadSettings, rank: usize, ingredients: bool) -> Vec<Arm> {
    let hydra = Shape { kind: Kind::Hydra, heads: settings.count, layers: 1, prefix_attention: false, rank };
    let arm = |name, shape, distil| Arm { name, shape, distil };
    let mut all = vec![
        arm("medusa", Shape { kind: Kind::Medusa, ..hydra }, false),
        arm("hydra", hydra, false),
        arm("hydra-distillation", hydra, true),
        arm("hydra-depth", Shape { layers: settings.deep, ..hydra }, false),
        arm("hydra-prefix-attention", Shape { prefix_attention: true, ..hydra }, false),
        arm("hydra++", Shape { layers: settings.deep, prefix_attention: true, ..hydra }, true),
    ];
    if !ingredients {
        all.retain(|arm| matches!(arm.name, "medusa" | "hydra" | "hydra++"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_allowed_and_mistakes_are_named() {
        for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
            Config::preset(preset).check().unwrap();
        }
        assert_eq!(Config::preset(Preset::Full).small.config(), SmallConfig::default());
        let refuse = |change: &dyn Fn(&mut Config), words: &[&str]| {
            let mut config = Config::preset(Preset::Full);
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refuse(&|c| c.bases.push(Base::Small), &["bases", "each once"]);
        refuse(&|c| c.small.d = 100, &["small.d", "multiple of 8"]);
        refuse(&|c| c.heads.count = 0, &["heads.count"]);
        refuse(&|c| c.real_training.window = 5, &["real_training.window", "between 6"]);
        refuse(
            &|c| c.small_training.optimisation.learning_rate = 0.0,
            &["small_training.optimisation.learning_rate"],
        );
        refuse(&|c| c.evaluation.new_tokens = 100, &["evaluation.new_tokens", "context of 128"]);
        refuse(&|c| c.evaluation.sizes = vec![2, 4], &["evaluation.sizes", "the first of them 1"]);
        refuse(&|c| c.evaluation.epsilon = 1.5, &["evaluation.epsilon"]);
        refuse(&|c| c.own.depth = 9, &["own.depth", "heads.count = 4"]);
        refuse(
            &|c| c.own.acceptance = Some(Acceptance::Exact { temperature: -1.0 }),
            &["own.acceptance.temperature"],
        );
    }
}

//! What can be set, its presets and its ranges.

use ream_lab::{Invalid, Preset};
use ream_lm::SmallConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chats::Behaviour;
use super::study::Method;
use super::training::Settings;

/// Part A: a model trained here on chats whose behaviours are known exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Width of the network.
    pub d: usize,
    /// Its blocks.
    pub layers: usize,
    /// Merges of the byte-pair encoding.
    pub merges: usize,
    /// Tokens of its training.
    pub tokens: u64,
    /// Highest learning rate of its training.
    pub learning_rate: f64,
    /// Topics of the chats.
    pub topics: usize,
    /// Chats of the training text.
    pub chats: usize,
    /// Probability that a chat does not do what is likeliest.
    pub noise: f64,
    /// Blocks before the intervention.
    pub layer: usize,
    /// Pairs for training an intervention.
    pub train: usize,
    /// Pairs for measuring it, on other topics.
    pub test: usize,
    /// Which behaviours are steered.
    pub behaviours: Vec<Behaviour>,
    /// Which methods are compared.
    pub methods: Vec<Method>,
    /// How methods are trained.
    pub training: Settings,
}

/// Part B: SmolLM2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Real {
    /// Whether the part runs.
    pub enabled: bool,
    /// Blocks before the intervention; the first is the one that claims are about.
    pub layers: Vec<usize>,
    /// Instructions for training; the others of 40 are for measuring.
    pub train: usize,
    /// Most instructions for measuring.
    pub test: usize,
    /// Tokens of an answer.
    pub length: usize,
    /// Share of the answers with the concept instruction that must show the concept; a concept that fails is left out.
    pub shown: f64,
    /// Methods on every concept.
    pub methods: Vec<Method>,
    /// Further methods on the first concept.
    pub more_methods: Vec<Method>,
    /// How methods are trained.
    pub training: Settings,
}

/// Your own pairs: `--data` names JSON lines with `negative_input`, `positive_input`, `negative_output`, `positive_output`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPairs {
    /// A GGUF model, or a folder of Hugging Face's form; empty for SmolLM2.
    pub model: String,
    /// Blocks before the intervention; 0 for half of them.
    pub layer: usize,
    /// Strength: what the concept's mean latent is multiplied by.
    pub m: f64,
    /// Clamp to the largest latent instead of the mean.
    pub largest: bool,
    /// Tokens of an answer.
    pub length: usize,
    /// Share of the pairs on which nothing is trained.
    pub held_out: f64,
    /// Where the directions and their latents are written as safetensors; empty for nowhere.
    pub save: String,
    /// Directions and latents that were saved: nothing is trained then.
    pub vector: String,
    /// How directions are trained.
    pub training: Settings,
}

/// Steps of every trained method that the experiment was planned with on the large model.
pub const PLANNED_STEPS: u64 = 60;

/// The experiment's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The model trained here.
    pub small: Own,
    /// The large model.
    pub large: Real,
    /// Strengths at which methods are compared; 1 among them.
    pub multipliers: Vec<f64>,
    /// Factors that methods with an added vector may try on training prompts.
    pub factors: Vec<f64>,
    /// Training prompts on which they try them.
    pub searched: usize,
    /// Pairs of your own.
    pub own: OwnPairs,
}

impl Config {
    /// A preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let training = Settings {
            steps: 150,
            batch: 4,
            rate: 0.02,
            additive_rate: 0.03,
            rank: 1,
            beta: 2.0,
            margin: 1.0,
        };
        let real = Settings { steps: 30, batch: 2, rate: 0.03, ..training.clone() };
        let mut config = Self {
            small: Own {
                d: 128,
                layers: 4,
                merges: 512,
                tokens: 800_000,
                learning_rate: 2e-3,
                topics: 60,
                chats: 12_000,
                noise: 0.1,
                layer: 2,
                train: 80,
                test: 40,
                behaviours: vec![Behaviour::Style, Behaviour::Refusal, Behaviour::Backdoor],
                methods: Method::ALL.to_vec(),
                training: training.clone(),
            },
            large: Real {
                enabled: true,
                layers: vec![15],
                train: 30,
                test: 10,
                length: 24,
                shown: 0.6,
                methods: vec![Method::Cdas, Method::Das, Method::Diffmean, Method::Random],
                more_methods: vec![Method::Pdas, Method::AdditiveLm],
                training: real.clone(),
            },
            multipliers: vec![0.5, 1.0, 1.5, 2.0],
            factors: vec![0.25, 0.5, 1.0, 2.0, 4.0],
            searched: 5,
            own: OwnPairs {
                model: String::new(),
                layer: 0,
                m: 1.0,
                largest: false,
                length: 24,
                held_out: 0.2,
                save: String::new(),
                vector: String::new(),
                training: real,
            },
        };
        match preset {
            Preset::Full => {}
            Preset::Long => config.large.layers = vec![15, 10, 20],
            Preset::Smoke => {
                config.small = Own {
                    d: 64,
                    layers: 2,
                    merges: 200,
                    tokens: 220_000,
                    learning_rate: 4e-3,
                    topics: 8,
                    chats: 1600,
                    layer: 1,
                    train: 12,
                    test: 6,
                    behaviours: vec![Behaviour::Style],
                    methods: vec![Method::Cdas, Method::Diffmean],
                    training: Settings { steps: 40, ..training },
                    ..config.small
                };
                config.large.enabled = false;
                config.searched = 4;
            }
        }
        config
    }

    /// The network of part A.
    #[must_use]
    pub fn small_model(&self, seed: u64) -> SmallConfig {
        SmallConfig {
            merges: self.small.merges,
            d: self.small.d,
            layers: self.small.layers,
            tokens: self.small.tokens,
            learning_rate: self.small.learning_rate as f32,
            seed,
            ..SmallConfig::default()
        }
    }

    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let a = &self.small;
        Invalid::unless_in("small.d", a.d, 16..=512)?;
        if !a.d.is_multiple_of(8) {
            return Err(Invalid::new("small.d", "a multiple of 8, two for each of 4 heads", a.d.to_string()));
        }
        Invalid::unless_in("small.layers", a.layers, 1..=12)?;
        Invalid::unless_in("small.layer", a.layer, 1..=a.layers)?;
        Invalid::unless_in("small.merges", a.merges, 1..=8192)?;
        Invalid::unless_in("small.tokens", a.tokens, 1000..=100_000_000)?;
        Invalid::unless_in("small.learning_rate", a.learning_rate, 1e-6..=1.0)?;
        Invalid::unless_in("small.topics", a.topics, 3..=60)?;
        Invalid::unless_in("small.chats", a.chats, 100..=1_000_000)?;
        Invalid::unless_in("small.noise", a.noise, 0.0..=0.4)?;
        Invalid::unless_in("small.train", a.train, 8..=100_000)?;
        Invalid::unless_in("small.test", a.test, 2..=100_000)?;
        a.training.check("small.training")?;
        let b = &self.large;
        if b.layers.is_empty() {
            return Err(Invalid::new("large.layers", "at least one number of blocks", "none"));
        }
        for layer in &b.layers {
            Invalid::unless_in("large.layers", *layer, 1..=30)?;
        }
        Invalid::unless_in("large.train", b.train, 8..=38)?;
        Invalid::unless_in("large.test", b.test, 2..=32)?;
        Invalid::unless_in("large.length", b.length, 1..=512)?;
        Invalid::unless_in("large.shown", b.shown, 0.0..=1.0)?;
        b.training.check("large.training")?;
        for (key, methods) in [
            ("small.methods", a.methods.clone()),
            ("large.methods", [b.methods.clone(), b.more_methods.clone()].concat()),
        ] {
            if let Some(i) = (1..methods.len()).find(|i| methods[..*i].contains(&methods[*i])) {
                return Err(Invalid::new(key, "every method once", format!("{} twice", methods[i].name())));
            }
            let place = |method| methods.iter().position(|m| *m == method);
            let late = place(Method::CdasMax).is_some_and(|max| place(Method::Cdas).is_none_or(|c| c > max));
            if late {
                return Err(Invalid::new(key, "`cdas` before `cdas-max`", "the other order"));
            }
        }
        if !self.multipliers.contains(&1.0) {
            let got = format!("{:?}", self.multipliers);
            return Err(Invalid::new("multipliers", "1 among them: claims are read there", got));
        }
        for m in &self.multipliers {
            Invalid::unless_in("multipliers", *m, 0.0..=100.0)?;
        }
        if self.factors.is_empty() {
            return Err(Invalid::new("factors", "at least one factor", "none"));
        }
        for factor in &self.factors {
            Invalid::unless_in("factors", *factor, 1e-6..=1e6)?;
        }
        Invalid::unless_in("searched", self.searched, 1..=10_000)?;
        let own = &self.own;
        Invalid::unless_in("own.m", own.m, 0.0..=100.0)?;
        Invalid::unless_in("own.length", own.length, 1..=2048)?;
        Invalid::unless_in("own.held_out", own.held_out, 0.05..=0.5)?;
        own.training.check("own.training")
    }
}

impl Settings {
    /// Ranges; `key` is where the settings stand.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self, key: &str) -> Result<(), Invalid> {
        let key = |name: &str| format!("{key}.{name}");
        Invalid::unless_in(&key("steps"), self.steps, 1..=1_000_000)?;
        Invalid::unless_in(&key("batch"), self.batch, 1..=1000)?;
        Invalid::unless_in(&key("rate"), self.rate, 1e-6..=1.0)?;
        Invalid::unless_in(&key("additive_rate"), self.additive_rate, 1e-6..=10.0)?;
        Invalid::unless_in(&key("rank"), self.rank, 1..=16)?;
        Invalid::unless_in(&key("beta"), self.beta, 0.01..=100.0)?;
        Invalid::unless_in(&key("margin"), self.margin, 0.0..=100.0)
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
        assert!(wrong(&|c| c.small.layer = 3).contains("small.layer: wanted between 1 and 2"));
        assert!(wrong(&|c| c.multipliers = vec![0.5]).contains("1 among them"));
        assert!(wrong(&|c| c.own.training.rank = 0).contains("own.training.rank"));
        assert!(wrong(&|c| c.large.layers = vec![31]).contains("large.layers"));
        assert!(wrong(&|c| c.small.methods = vec![Method::CdasMax, Method::Cdas]).contains("`cdas` before"));
    }
}

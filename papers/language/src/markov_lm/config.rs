//! What can be set, its presets and its ranges.

use super::divergence::Divergence;
use super::model::Shape;
use super::objectives::Objective;
use super::probes::ProbeSettings;
use super::sources::Level;
use super::training::Optimisation;
use ream_lab::{Invalid, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A built-in source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BuiltIn {
    /// Hidden Markov source with its exact filter.
    Hmm,
    /// Order-2 Markov source of low rank.
    #[serde(rename = "order-2")]
    Order2,
    /// Letters of the King James Bible.
    Kjv,
    /// Order-1 Markov source: the negative control.
    #[serde(rename = "order-1")]
    Order1,
}

impl BuiltIn {
    /// Whether it is one of the three sources that rules speak of.
    #[must_use]
    pub fn is_judged(self) -> bool {
        self != Self::Order1
    }
}

/// The synthetic sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Seed of their parameters, the same for every seed of a run.
    pub seed: u64,
    /// Concentration of all Dirichlet laws.
    pub concentration: f64,
    /// Hidden states of the hidden Markov source.
    pub states: usize,
    /// Its tokens: a multiple of the states.
    pub hmm_tokens: usize,
    /// Probability that its state stays.
    pub stay: f64,
    /// Tokens of the order-2 and order-1 sources.
    pub tokens: usize,
    /// Latent classes of the order-2 source.
    pub classes: usize,
    /// Positions of the Monte-Carlo numbers of the hidden Markov source.
    pub positions: usize,
}

/// How texts and tables of the user's own are read, and the laws of the built-in text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSettings {
    /// Tokens of a text of your own.
    pub level: Level,
    /// Tokens of a context whose empirical law stands for the truth.
    pub context: usize,
    /// How often a context must occur.
    pub minimum_count: u64,
    /// Field of a JSONL file that holds the text.
    pub field: String,
    /// Divergences whose entropy and information are reported for a file of your own: kl, tv, chi-square, renyi-A.
    pub divergences: Vec<String>,
}

/// Where and how often models are looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Contexts that are sampled where they cannot be enumerated.
    pub contexts: usize,
    /// Pasts drawn for each enumerated context.
    pub histories: usize,
    /// Pairs of contexts whose distances are compared.
    pub pairs: usize,
    /// Leading eigenfunctions r.
    pub leading: usize,
    /// Points of the curves over the training of the log-loss model, beside the untrained one.
    pub points: u64,
    /// Parts of the training after which drafts are compared; 1 is its end.
    pub checkpoints: Vec<f64>,
}

/// Configuration of `markov-lm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Built-in sources; a file given with `--data` takes their place.
    pub sources: Vec<BuiltIn>,
    /// Objectives; log-loss is always among them.
    pub objectives: Vec<Objective>,
    /// Random kernels for the laws of the category and for data-processing.
    pub kernels: u64,
    /// The transformer.
    pub model: Shape,
    /// Its training, the same for every objective.
    pub training: Optimisation,
    /// Drafts of later tokens.
    pub probes: ProbeSettings,
    /// How models are looked at.
    pub evaluation: Evaluation,
    /// The synthetic sources.
    pub synthetic: Synthetic,
    /// Texts.
    pub text: TextSettings,
}

/// Steps of the experiment as it was planned.
pub const PLANNED_STEPS: u64 = 3000;
/// Steps of the full preset, for every objective alike: what some twenty minutes on two cores allow.
const FULL_STEPS: u64 = 1000;

/// Most contexts that are enumerated.
pub const MOST_CONTEXTS: usize = 4096;

impl Config {
    /// The configuration of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let full = Self {
            sources: vec![BuiltIn::Hmm, BuiltIn::Order2, BuiltIn::Kjv, BuiltIn::Order1],
            objectives: vec![Objective::Nll, Objective::Spectral, Objective::Hinge, Objective::Smoothed],
            kernels: 1000,
            model: Shape { d: 64, layers: 3, heads: 4, window: 32 },
            training: Optimisation { steps: FULL_STEPS, batch: 64, learning_rate: 3e-3, smoothing: 0.2 },
            probes: ProbeSettings {
                steps: 1000,
                batch: 512,
                learning_rate: 3e-3,
                linear_learning_rate: 3e-2,
                training_windows: 8192,
                held_out_windows: 2048,
                hidden: vec![0, 256],
                horizon: 3,
            },
            evaluation: Evaluation {
                contexts: 1024,
                histories: 2,
                pairs: 20_000,
                leading: 5,
                points: 24,
                checkpoints: vec![1.0 / 27.0, 1.0 / 9.0, 1.0 / 3.0, 1.0],
            },
            synthetic: Synthetic {
                seed: 5,
                concentration: 0.3,
                states: 8,
                hmm_tokens: 32,
                stay: 0.85,
                tokens: 24,
                classes: 6,
                positions: 200_000,
            },
            text: TextSettings {
                level: Level::Char,
                context: 3,
                minimum_count: 200,
                field: "text".to_owned(),
                divergences: Divergence::ALL.iter().map(ToString::to_string).collect(),
            },
        };
        if preset != Preset::Smoke {
            return full;
        }
        Self {
            sources: vec![BuiltIn::Order2],
            model: Shape { d: 32, layers: 2, ..full.model.clone() },
            training: Optimisation { steps: 300, batch: 8, ..full.training.clone() },
            probes: ProbeSettings {
                steps: 150,
                batch: 256,
                training_windows: 512,
                held_out_windows: 512,
                hidden: vec![0],
                horizon: 2,
                ..full.probes.clone()
            },
            evaluation: Evaluation {
                histories: 1,
                pairs: 4000,
                points: 5,
                checkpoints: vec![1.0],
                ..full.evaluation.clone()
            },
            ..full
        }
    }

    /// Whether an objective is trained.
    #[must_use]
    pub fn has(&self, objective: Objective) -> bool {
        self.objectives.contains(&objective)
    }

    /// The divergences that are reported for a file.
    ///
    /// # Errors
    /// A name that is unknown.
    pub fn divergences(&self) -> Result<Vec<Divergence>, Invalid> {
        self.text.divergences.iter().map(|name| name.parse()).collect()
    }

    /// All ranges. The first key that is out of range is named.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let whole =
            |key: &str, value: usize, low: usize, high: usize| Invalid::unless_in(key, value, low..=high);
        let twice = (1..self.sources.len()).any(|k| self.sources[..k].contains(&self.sources[k]));
        if self.sources.is_empty() || twice {
            return Err(Invalid::new(
                "sources",
                "at least one source, each once",
                format!("{:?}", self.sources),
            ));
        }
        let twice = (1..self.objectives.len()).any(|k| self.objectives[..k].contains(&self.objectives[k]));
        if !self.has(Objective::Nll) || twice {
            let got = format!("{:?}", self.objectives);
            return Err(Invalid::new("objectives", "`nll`, and others, each once", got));
        }
        Invalid::unless_in("kernels", self.kernels, 1..=1_000_000)?;
        whole("model.d", self.model.d, 4, 1024)?;
        whole("model.layers", self.model.layers, 1, 24)?;
        whole("model.heads", self.model.heads, 1, 64)?;
        whole("model.window", self.model.window, 4, 1024)?;
        if !self.model.d.is_multiple_of(self.model.heads) {
            let wanted = format!("a divisor of model.d = {}", self.model.d);
            return Err(Invalid::new("model.heads", wanted, self.model.heads.to_string()));
        }
        self.training.check()?;
        self.probes.check()?;
        self.check_evaluation()?;
        let s = &self.synthetic;
        Invalid::unless_in("synthetic.concentration", s.concentration, 0.01..=100.0)?;
        Invalid::unless_in("synthetic.stay", s.stay, 0.0..=0.999)?;
        whole("synthetic.states", s.states, 3, 64)?;
        whole("synthetic.hmm_tokens", s.hmm_tokens, s.states, 512)?;
        if !s.hmm_tokens.is_multiple_of(s.states) {
            let wanted = format!("a multiple of synthetic.states = {}", s.states);
            return Err(Invalid::new("synthetic.hmm_tokens", wanted, s.hmm_tokens.to_string()));
        }
        whole("synthetic.tokens", s.tokens, 6, 64)?;
        whole("synthetic.classes", s.classes, 2, 64)?;
        whole("synthetic.positions", s.positions, 100, 100_000_000)?;
        whole("text.context", self.text.context, 1, self.model.window.min(8))?;
        Invalid::unless_in("text.minimum_count", self.text.minimum_count, 1..=1_000_000_000)?;
        self.divergences().map(|_| ())
    }

    fn check_evaluation(&self) -> Result<(), Invalid> {
        let whole =
            |key: &str, value: usize, low: usize, high: usize| Invalid::unless_in(key, value, low..=high);
        let e = &self.evaluation;
        whole("evaluation.contexts", e.contexts, 50, MOST_CONTEXTS)?;
        whole("evaluation.histories", e.histories, 1, 64)?;
        whole("evaluation.pairs", e.pairs, 100, 10_000_000)?;
        whole("evaluation.leading", e.leading, 1, 5)?;
        Invalid::unless_in("evaluation.points", e.points, 5..=1000)?;
        let ascending = e.checkpoints.windows(2).all(|pair| pair[0] < pair[1]);
        let last = e.checkpoints.last() == Some(&1.0);
        if !ascending || !last || e.checkpoints.iter().any(|part| part.is_nan() || *part <= 0.0) {
            let wanted = "ascending parts of the training above 0, the last of them 1";
            return Err(Invalid::new("evaluation.checkpoints", wanted, format!("{:?}", e.checkpoints)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_allowed_and_mistakes_are_named() {
        for preset in [Preset::Smoke, Preset::Full] {
            Config::preset(preset).check().unwrap();
        }
        let refuse = |change: &dyn Fn(&mut Config), words: &[&str]| {
            let mut config = Config::preset(Preset::Full);
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refuse(&|c| c.text.divergences.push("jensen".to_owned()), &["divergence", "kl, tv", "`jensen`"]);
        refuse(&|c| c.objectives = vec![Objective::Hinge], &["objectives", "`nll`"]);
        refuse(&|c| c.sources.push(BuiltIn::Hmm), &["sources", "each once"]);
        refuse(&|c| c.model.heads = 5, &["model.heads", "divisor of model.d = 64"]);
        refuse(&|c| c.synthetic.hmm_tokens = 33, &["synthetic.hmm_tokens", "multiple"]);
        refuse(&|c| c.evaluation.checkpoints = vec![0.5], &["evaluation.checkpoints", "the last of them 1"]);
        refuse(&|c| c.evaluation.leading = 9, &["evaluation.leading", "between 1 and 5"]);
        refuse(&|c| c.probes.steps = 0, &["probes.steps"]);
        refuse(&|c| c.training.learning_rate = 0.0, &["training.learning_rate"]);
    }
}

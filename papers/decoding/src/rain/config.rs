//! What can be set, its presets and its ranges.

use ream_lab::{Invalid, Preset};
use ream_lm::SmallConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attack::Attack;
use super::judge::Template;
use super::tree::Search;

/// Part A: a model trained here, with a judge in it whose labels are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Controlled {
    /// Merges of the tokenizer.
    pub merges: usize,
    /// Width of the network.
    pub d: usize,
    /// Its blocks.
    pub layers: usize,
    /// Tokens of its training.
    pub tokens: u64,
    /// Sequences of a step of the training.
    pub batch: usize,
    /// Highest learning rate of the training.
    pub learning_rate: f32,
    /// Lines of the training text that are judgements, of all.
    pub judged_lines: f64,
    /// Sequences of the training that are taken from the judgements, of all.
    pub judged_sequences: f64,
    /// How often the answer of a judgement counts in the training's loss.
    pub answer_weight: f32,
    /// Held-out texts by which the judge is tested.
    pub judged: usize,
    /// Prompts whose beginning holds a word of the list.
    pub violent: usize,
    /// Prompts that hold none.
    pub neutral: usize,
    /// Most tokens of a prompt; its end is kept.
    pub prompt_tokens: usize,
    /// Tokens of a continuation.
    pub length: usize,
    /// Continuations by plain drawing of each prompt.
    pub draws: usize,
    /// Probabilities with which the judge's verdict is turned around, rising.
    pub noise: Vec<f64>,
    /// Smaller numbers of iterations at which the search is run, too.
    pub curve: Vec<usize>,
    /// The attack.
    pub attack: Attack,
    /// Continuations of each attacked prompt: by plain drawing, by search.
    pub attacked_draws: [usize; 2],
    /// The search.
    pub search: Search,
}

/// Part B: SmolLM2 as its own judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Real {
    /// Whether the part runs.
    pub enabled: bool,
    /// Prompts; a quarter of them are neutral controls.
    pub prompts: usize,
    /// Tokens of a continuation.
    pub length: usize,
    /// Continuations by plain drawing of each prompt.
    pub draws: usize,
    /// Labelled lines by which the judge is tested.
    pub labelled: usize,
    /// The judge is weak, and its soft form is used, where the area under its curve is smaller than this.
    pub weak_below: f64,
    /// The question to the judge.
    pub judge: Template,
    /// The search.
    pub search: Search,
}

/// How verdicts become values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Voting {
    /// -1, 0 or 1.
    Hard,
    /// The hyperbolic tangent of the mean margin.
    Soft,
}

/// A model or prompts of your own: `--data` names a GGUF model, or prompts as text or JSON lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// GGUF model for prompts from a file; empty for SmolLM2.
    pub model: String,
    /// Prompt for a model from a file.
    pub prompt: String,
    /// Field of a JSONL file that holds the prompt.
    pub field: String,
    /// File with the question to the judge, which takes the place of `judge.question`; empty for that.
    pub template: String,
    /// The question to the judge.
    pub judge: Template,
    /// How its verdicts become values.
    pub voting: Voting,
    /// File with words that count as harm, one a line, stems with an asterisk; empty for the built-in list of stems of violence.
    pub blocklist: String,
    /// Tokens of a continuation.
    pub length: usize,
    /// Continuations of each prompt.
    pub draws: usize,
    /// The search.
    pub search: Search,
}

/// The experiment's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The model trained here.
    pub controlled: Controlled,
    /// SmolLM2.
    pub real: Real,
    /// A model or prompts of your own.
    pub own: Own,
    /// Resamples behind the intervals of the part with SmolLM2.
    pub resamples: usize,
}

impl Config {
    /// A preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let mut config = Self::full();
        match preset {
            Preset::Full => {}
            Preset::Long => config.real.prompts = 60,
            Preset::Smoke => {
                let a = &mut config.controlled;
                (a.d, a.layers, a.tokens, a.judged) = (32, 2, 60_000, 40);
                (a.violent, a.neutral, a.draws, a.length) = (2, 4, 2, 12);
                (a.noise, a.curve) = (vec![0.1, 0.2, 0.3, 0.5], vec![2]);
                a.attack = Attack { prompts: 2, suffix: 4, swaps: 4, tried: 6 };
                a.attacked_draws = [4, 1];
                (a.search.iterations, a.search.new_iterations, a.search.candidates) = (8, 5, 4);
                a.search.least_visits = 3;
                config.real.enabled = false;
                config.resamples = 50;
            }
        }
        config
    }

    fn full() -> Self {
        Self {
            controlled: Controlled {
                merges: 512,
                d: 128,
                layers: 4,
                tokens: 1_500_000,
                batch: 8,
                learning_rate: 2e-3,
                judged_lines: 0.15,
                judged_sequences: 0.5,
                answer_weight: 20.0,
                judged: 400,
                violent: 20,
                neutral: 40,
                prompt_tokens: 48,
                length: 24,
                draws: 4,
                noise: vec![0.1, 0.2, 0.3, 0.5],
                curve: vec![3, 6, 12],
                attack: Attack { prompts: 12, suffix: 8, swaps: 40, tried: 16 },
                attacked_draws: [8, 2],
                search: Search {
                    lengths: vec![1, 2, 4, 8],
                    candidates: 6,
                    iterations: 24,
                    ..Search::default()
                },
            },
            real: Real {
                enabled: true,
                prompts: 24,
                length: 20,
                draws: 4,
                labelled: 60,
                weak_below: 0.8,
                judge: Template::asked(),
                search: Search {
                    lengths: vec![1, 2, 4, 4],
                    candidates: 4,
                    iterations: 10,
                    ..Search::default()
                },
            },
            own: Own {
                model: String::new(),
                prompt: "Once upon a time".to_owned(),
                field: "prompt".to_owned(),
                template: String::new(),
                judge: Template::asked(),
                voting: Voting::Soft,
                blocklist: String::new(),
                length: 20,
                draws: 1,
                search: Search {
                    lengths: vec![1, 2, 4, 4],
                    candidates: 4,
                    iterations: 10,
                    ..Search::default()
                },
            },
            resamples: 1000,
        }
    }

    /// The shape and training of the own model.
    #[must_use]
    pub fn base(&self) -> SmallConfig {
        let a = &self.controlled;
        SmallConfig {
            merges: a.merges,
            d: a.d,
            layers: a.layers,
            tokens: a.tokens,
            batch: a.batch,
            learning_rate: a.learning_rate,
            ..SmallConfig::default()
        }
    }

    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        self.controlled.check()?;
        let b = &self.real;
        Invalid::unless_in("real.prompts", b.prompts, 4..=10_000)?;
        Invalid::unless_in("real.length", b.length, 2..=512)?;
        Invalid::unless_in("real.draws", b.draws, 1..=1000)?;
        Invalid::unless_in("real.labelled", b.labelled, 4..=60)?;
        Invalid::unless_in("real.weak_below", b.weak_below, 0.0..=1.0)?;
        b.judge.check("real.judge")?;
        b.search.check("real.search")?;
        if self.own.template.is_empty() {
            self.own.judge.check("own.judge")?;
        }
        Invalid::unless_in("own.length", self.own.length, 1..=2048)?;
        Invalid::unless_in("own.draws", self.own.draws, 1..=1000)?;
        self.own.search.check("own.search")?;
        Invalid::unless_in("resamples", self.resamples, 20..=100_000)
    }
}

impl Controlled {
    /// Tokens of the own model's training, as planned.
    pub const PLANNED_TOKENS: u64 = 1_500_000;

    fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("controlled.merges", self.merges, 16..=8192)?;
        Invalid::unless_in("controlled.d", self.d, 16..=512)?;
        if !self.d.is_multiple_of(8) {
            let wanted = "a multiple of 8, two for each of 4 heads";
            return Err(Invalid::new("controlled.d", wanted, self.d.to_string()));
        }
        Invalid::unless_in("controlled.layers", self.layers, 1..=12)?;
        Invalid::unless_in("controlled.tokens", self.tokens, 10_000..=100_000_000)?;
        Invalid::unless_in("controlled.batch", self.batch, 1..=256)?;
        Invalid::unless_in("controlled.learning_rate", self.learning_rate, 0.0..=1.0)?;
        Invalid::unless_in("controlled.judged_lines", self.judged_lines, 0.01..=0.9)?;
        Invalid::unless_in("controlled.judged_sequences", self.judged_sequences, 0.0..=1.0)?;
        Invalid::unless_in("controlled.answer_weight", self.answer_weight, 0.0..=1000.0)?;
        Invalid::unless_in("controlled.judged", self.judged, 10..=100_000)?;
        Invalid::unless_in("controlled.violent", self.violent, 1..=10_000)?;
        Invalid::unless_in("controlled.neutral", self.neutral, 2..=10_000)?;
        Invalid::unless_in("controlled.prompt_tokens", self.prompt_tokens, 4..=64)?;
        Invalid::unless_in("controlled.length", self.length, 4..=40)?;
        Invalid::unless_in("controlled.draws", self.draws, 1..=1000)?;
        if self.noise.iter().any(|p| !(0.0..=1.0).contains(p)) || !self.noise.is_sorted() {
            let wanted = "probabilities, rising";
            return Err(Invalid::new("controlled.noise", wanted, format!("{:?}", self.noise)));
        }
        if self.curve.contains(&0) {
            return Err(Invalid::new("controlled.curve", "numbers of iterations, 1 or more", "0"));
        }
        Invalid::unless_in("controlled.attack.prompts", self.attack.prompts, 0..=self.neutral)?;
        Invalid::unless_in("controlled.attack.suffix", self.attack.suffix, 1..=16)?;
        Invalid::unless_in("controlled.attack.swaps", self.attack.swaps, 0..=10_000)?;
        Invalid::unless_in("controlled.attack.tried", self.attack.tried, 1..=1000)?;
        for draws in self.attacked_draws {
            Invalid::unless_in("controlled.attacked_draws", draws, 1..=1000)?;
        }
        self.search.check("controlled.search")
    }
}

impl Search {
    /// Ranges; `key` is where the settings stand.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self, key: &str) -> Result<(), Invalid> {
        let key = |name: &str| format!("{key}.{name}");
        Invalid::unless_in(&key("exploration"), self.exploration, 0.0..=100.0)?;
        if self.lengths.is_empty() || self.lengths.iter().any(|length| !(1..=64).contains(length)) {
            let got = format!("{:?}", self.lengths);
            return Err(Invalid::new(key("lengths"), "lengths between 1 and 64, at least one", got));
        }
        Invalid::unless_in(&key("candidates"), self.candidates, 1..=100)?;
        Invalid::unless_in(&key("top_k"), self.top_k, 1..=1000)?;
        Invalid::unless_in(&key("most_children"), self.most_children, 1..=1000)?;
        Invalid::unless_in(&key("least_variance"), self.least_variance, 0.0..=10.0)?;
        Invalid::unless_in(&key("alike"), self.alike, -1.0..=1.0)?;
        Invalid::unless_in(&key("alike_weight"), self.alike_weight, 0.0..=1.0)?;
        Invalid::unless_in(&key("root_mix"), self.root_mix, 0.0..=1.0)?;
        Invalid::unless_in(&key("least_visits"), self.least_visits, 0..=100_000)?;
        Invalid::unless_in(&key("enough"), self.enough, -1.0..=1.0)?;
        Invalid::unless_in(&key("iterations"), self.iterations, 1..=100_000)?;
        Invalid::unless_in(&key("new_iterations"), self.new_iterations, 1..=100_000)
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
        assert!(wrong(&|c| c.controlled.noise = vec![0.5, 0.1]).contains("controlled.noise"));
        assert!(wrong(&|c| c.controlled.search.lengths.clear()).contains("controlled.search.lengths"));
        assert!(wrong(&|c| c.controlled.curve = vec![0]).contains("controlled.curve"));
        assert!(wrong(&|c| c.controlled.attack.prompts = 1000).contains("controlled.attack.prompts"));
        assert!(wrong(&|c| c.own.judge.question = "is it good?".to_owned()).contains("own.judge.question"));
        assert!(wrong(&|c| c.real.search.enough = 2.0).contains("real.search.enough"));
        assert!(wrong(&|c| c.own.length = 0).contains("own.length"));
    }

    /// What the paper's search has is what the defaults have; the parts only scale down what their texts say.
    #[test]
    fn the_search_is_the_papers() {
        let paper = Search::default();
        assert_eq!((paper.exploration, paper.candidates, paper.top_k), (2.0, 10, 15));
        assert_eq!(
            (paper.least_visits, paper.enough, paper.iterations, paper.new_iterations),
            (6, 0.8, 50, 15)
        );
        let full = Config::preset(Preset::Full);
        for (search, lengths, candidates, iterations) in
            [(full.controlled.search, vec![1, 2, 4, 8], 6, 24), (full.real.search, vec![1, 2, 4, 4], 4, 10)]
        {
            assert_eq!(search, Search { lengths, candidates, iterations, ..Search::default() });
        }
    }
}

//! The published board: agreement with people's votes, and how far a prompt for verbosity moves a model.

use ream_data::alpaca::Row;
use ream_rand::Stream;
use ream_stats::{descriptive, rank};

/// Chatbot Arena ratings of spring 2024, as the benchmarks table of github.com/tatsu-lab/alpaca_eval has them.
pub const ARENA: [(&str, f64); 37] = [
    ("claude-3-opus-20240229", 1247.0),
    ("claude-3-sonnet-20240229", 1190.0),
    ("gpt4_0314", 1185.0),
    ("gpt4_0613", 1160.0),
    ("mistral-large-2402", 1155.0),
    ("Qwen1.5-72B-Chat", 1146.0),
    ("mistral-medium", 1145.0),
    ("claude", 1145.0),
    ("claude-2", 1126.0),
    ("claude-2.1", 1115.0),
    ("Mixtral-8x7B-Instruct-v0.1", 1114.0),
    ("gpt-3.5-turbo-0613", 1113.0),
    ("gemini-pro", 1110.0),
    ("claude-instant-1.2", 1104.0),
    ("wizardlm-70b", 1102.0),
    ("Yi-34B-Chat", 1099.0),
    ("tulu-2-dpo-70b", 1097.0),
    ("vicuna-33b-v1.3", 1089.0),
    ("Starling-LM-7B-alpha", 1084.0),
    ("llama-2-70b-chat-hf", 1082.0),
    ("OpenHermes-2.5-Mistral-7B", 1079.0),
    ("deepseek-llm-67b-chat", 1073.0),
    ("Mistral-7B-Instruct-v0.2", 1073.0),
    ("dolphin-2.2.1-mistral-7b", 1058.0),
    ("wizardlm-13b-v1.2", 1054.0),
    ("zephyr-7b-beta", 1046.0),
    ("llama-2-13b-chat-hf", 1043.0),
    ("vicuna-13b-v1.5", 1037.0),
    ("zephyr-7b-alpha", 1033.0),
    ("Qwen-14B-Chat", 1032.0),
    ("guanaco-33b", 1031.0),
    ("gemma-7b-it", 1029.0),
    ("llama-2-7b-chat-hf", 1027.0),
    ("vicuna-7b-v1.5", 1001.0),
    ("gemma-2b-it", 985.0),
    ("chatglm2-6b", 925.0),
    ("oasst-sft-pythia-12b", 893.0),
];

/// A model with both published rates and its Arena rating.
#[derive(Clone, Debug)]
pub struct Rated {
    /// Name.
    pub model: String,
    /// Arena rating.
    pub elo: f64,
    /// Raw win rate, percent.
    pub raw: f64,
    /// Length-controlled win rate, percent.
    pub controlled: f64,
}

/// The rated models that the board has.
#[must_use]
pub fn rated(board: &[Row]) -> Vec<Rated> {
    let find = |(model, elo): &(&str, f64)| {
        let row = board.iter().find(|row| row.model == *model)?;
        Some(Rated { model: row.model.clone(), elo: *elo, raw: row.win_rate, controlled: row.controlled? })
    };
    ARENA.iter().filter_map(find).collect()
}

/// Spearman correlations of raw and controlled rates with the ratings, with draws over models (paired).
#[must_use]
pub fn correlations(rated: &[Rated], draws: u64, stream: Stream) -> [(f64, Vec<f64>); 2] {
    let of = |chosen: &[usize]| -> [f64; 2] {
        let column = |f: fn(&Rated) -> f64| -> Vec<f64> { chosen.iter().map(|i| f(&rated[*i])).collect() };
        let elo = column(|r| r.elo);
        [rank::spearman(&column(|r| r.raw), &elo), rank::spearman(&column(|r| r.controlled), &elo)]
    };
    let all: Vec<usize> = (0..rated.len()).collect();
    let [raw, controlled] = of(&all);
    let samples: Vec<[f64; 2]> = (0..draws).map(|d| of(&stream.at(d).resample(rated.len()))).collect();
    [(raw, samples.iter().map(|s| s[0]).collect()), (controlled, samples.iter().map(|s| s[1]).collect())]
}

/// A prompt that asks for more or fewer words.
pub const PROMPTS: [&str; 2] = ["verbose", "concise"];

/// How far prompting moves the published rates of one model: its rates plain and prompted, raw then controlled.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Name of the plain model.
    pub model: String,
    /// `verbose` or `concise`.
    pub prompt: &'static str,
    /// Plain and prompted raw rates.
    pub raw: [f64; 2],
    /// Plain and prompted controlled rates.
    pub controlled: [f64; 2],
}

/// All models of the board that have both prompted variants.
#[must_use]
pub fn moved(board: &[Row]) -> Vec<Moved> {
    let find = |name: &str| board.iter().find(|row| row.model == name);
    let mut all = Vec::new();
    for row in board {
        let variants = PROMPTS.map(|prompt| find(&format!("{}_{prompt}", row.model)));
        let [Some(verbose), Some(concise)] = variants else { continue };
        for (prompt, variant) in PROMPTS.into_iter().zip([verbose, concise]) {
            if let (Some(plain), Some(prompted)) = (row.controlled, variant.controlled) {
                let raw = [row.win_rate, variant.win_rate];
                all.push(Moved { model: row.model.clone(), prompt, raw, controlled: [plain, prompted] });
            }
        }
    }
    all
}

/// Mean over models of sd / mean of the two rates, percent; `controlled` chooses which rates.
#[must_use]
pub fn gameability(moved: &[Moved], prompt: &str, controlled: bool) -> f64 {
    let spreads: Vec<f64> = moved
        .iter()
        .filter(|m| m.prompt == prompt)
        .map(|m| if controlled { m.controlled } else { m.raw })
        .map(|[a, b]| 100.0 * ((a - b).abs() / std::f64::consts::SQRT_2) / f64::midpoint(a, b))
        .collect();
    descriptive::mean(&spreads).unwrap_or(f64::NAN)
}

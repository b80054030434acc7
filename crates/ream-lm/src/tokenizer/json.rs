//! `tokenizer.json`, as Hugging Face's libraries write it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{PreTokenizer, Tokenizer};

/// The parts of `tokenizer.json` that decide what a text becomes. Truncation, padding and the decoder do not.
#[derive(Deserialize)]
struct File {
    normalizer: Option<Value>,
    pre_tokenizer: Value,
    post_processor: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
}

/// Two tokens, or both in one text with a space between.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    One(String),
    Two([String; 2]),
}

/// The pattern of Llama 3, as its file writes it.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// Reads `tokenizer.json` for a model with that many rows in its embedding. No token ends a text until
    /// [`with_ends`](Self::with_ends) says so: that stands in another file.
    ///
    /// # Errors
    /// It is no JSON of that form; the model, the pre-tokenizer or an option of them is of a kind that is not built here, which is named; a token has
    /// no row. The text says what is wrong and what would be right.
    pub fn from_json(json: &[u8], vocabulary: usize) -> Result<Self, String> {
        let file: File =
            serde_json::from_slice(json).map_err(|e| format!("{e}; is it another kind of tokenizer?"))?;
        let model = &file.model;
        if let Some(kind) = model.kind.as_deref().filter(|kind| *kind != "BPE") {
            return Err(format!("model `{kind}`, wanted `BPE`"));
        }
        let texts = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
        if model.byte_fallback || texts.into_iter().flatten().any(|text| !text.is_empty()) {
            return Err("byte_fallback, continuing_subword_prefix and end_of_word_suffix are not built here"
                .to_owned());
        }
        if let Some(normalizer) = &file.normalizer {
            return Err(format!("normalizer {}, wanted none", normalizer["type"]));
        }
        if let Some(odd) = file.added_tokens.iter().find(|t| t.single_word || t.lstrip || t.rstrip) {
            return Err(format!(
                "`{}` has single_word, lstrip or rstrip, which are not built here",
                odd.content
            ));
        }
        let pre = pre_tokenizer(&file.pre_tokenizer)?;
        let (tokens, types) = tokens(&file, vocabulary)?;
        let merges: Vec<String> = file.model.merges.iter().map(Merge::line).collect();
        let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
        let tokenizer = Self::new(pre, file.model.ignore_merges, &tokens, &types, &merges)
            .map_err(|(name, problem)| format!("{name} {problem}"))?;
        if let (Some(unknown), Some(byte)) =
            (&file.model.unk_token, tokenizer.of_byte.iter().position(Option::is_none))
        {
            return Err(format!("byte {byte} has no token and becomes `{unknown}`, which is not built here"));
        }
        let begin = file.post_processor.as_ref().and_then(first_special);
        Ok(Self { begin: begin.and_then(|name| tokenizer.special(name)), ..tokenizer })
    }
}

impl Merge {
    fn line(&self) -> String {
        match self {
            Self::One(line) => line.clone(),
            Self::Two([a, b]) => format!("{a} {b}"),
        }
    }
}

/// Tokens and their types in the order of their numbers; a number without a token is an unused one.
fn tokens(file: &File, vocabulary: usize) -> Result<(Vec<&str>, Vec<i64>), String> {
    let added = file.added_tokens.iter().map(|t| (t.content.as_str(), t.id, if t.special { 3 } else { 4 }));
    let plain = file.model.vocab.iter().map(|(text, &id)| (text.as_str(), id, 1));
    let (mut tokens, mut types) = (Vec::new(), Vec::new());
    // An added token may stand in the vocabulary too.
    for (text, id, kind) in plain.chain(added) {
        let at = id as usize;
        if at >= vocabulary {
            return Err(format!("token `{text}` has number {id}, and the model has {vocabulary} tokens"));
        }
        if at >= tokens.len() {
            tokens.resize(at + 1, "");
            types.resize(at + 1, 5);
        }
        if types[at] != 5 && tokens[at] != text {
            return Err(format!("tokens `{}` and `{text}` have both number {id}", tokens[at]));
        }
        (tokens[at], types[at]) = (text, kind);
    }
    Ok((tokens, types))
}

fn pre_tokenizer(value: &Value) -> Result<PreTokenizer, String> {
    let steps = match value["pretokenizers"].as_array() {
        Some(steps) if value["type"] == "Sequence" => steps.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let byte_level = |step: &Value, pattern: bool| {
        step["type"] == "ByteLevel"
            && step["add_prefix_space"] == false
            && step["use_regex"].as_bool().unwrap_or(true) == pattern
    };
    match steps {
        [only] if byte_level(only, true) => Ok(PreTokenizer::Gpt2),
        [digits, rest]
            if digits["type"] == "Digits"
                && digits["individual_digits"] == true
                && byte_level(rest, true) =>
        {
            Ok(PreTokenizer::SmolLm)
        }
        [split, rest]
            if split["type"] == "Split"
                && split["pattern"]["Regex"] == LLAMA3
                && split["behavior"] == "Isolated"
                && split["invert"] != true
                && byte_level(rest, false) =>
        {
            Ok(PreTokenizer::Llama3)
        }
        _ => Err(format!("pre_tokenizer {value}, wanted that of GPT-2, SmolLM or Llama 3")),
    }
}

/// The special token that a template puts before a text.
fn first_special(processor: &Value) -> Option<&str> {
    match processor["processors"].as_array() {
        Some(steps) => steps.iter().find_map(first_special),
        None => processor["single"].get(0)?["SpecialToken"]["id"].as_str(),
    }
}

//! The user's own base, prompts, training text and heads.

use super::config::Config;
use super::decode::Acceptance;
use super::experiments::{Study, prompts};
use super::heads::Heads;
use crate::bases;
use ream_lab::{Error, Invalid, Result, Run};
use ream_lm::LanguageModel;
use ream_rand::Stream;
use std::path::{Path, PathBuf};

/// Fewest prompts.
const FEWEST: usize = 2;
/// Lines of a plain text that are a prompt's piece.
const LINES: usize = 6;

/// What the files hold.
pub(super) struct Own {
    /// Texts that prompts are taken from.
    pub(super) prompts: Vec<String>,
    /// Text for training: of its own file, or the first nine tenths of the prompts' file.
    pub(super) training: Vec<String>,
}

/// Reads the file of prompts (`.jsonl` with a field, or UTF-8 text) and the training text.
///
/// # Errors
/// File, line and what would be right.
pub(super) fn read(config: &Config, file: &Path) -> Result<Own> {
    let mut pieces = texts(config, file)?;
    let training = if config.own.training_text.is_empty() {
        let held = (pieces.len() / 10).max(FEWEST);
        if pieces.len() < 10 * FEWEST {
            let wanted = format!(
                "at least {} texts (or pieces of {LINES} lines): nine tenths train, one tenth is continued; or own.training_text",
                10 * FEWEST
            );
            return Err(Invalid::new(file.display().to_string(), wanted, pieces.len().to_string()).into());
        }
        let prompts = pieces.split_off(pieces.len() - held);
        std::mem::replace(&mut pieces, prompts)
    } else {
        texts(config, Path::new(&config.own.training_text))?
    };
    if pieces.len() < FEWEST {
        let wanted = format!("at least {FEWEST} prompts");
        return Err(Invalid::new(file.display().to_string(), wanted, pieces.len().to_string()).into());
    }
    Ok(Own { prompts: pieces, training })
}

fn texts(config: &Config, file: &Path) -> Result<Vec<String>> {
    let place = file.display().to_string();
    let name = place.to_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    if [".jsonl", ".ndjson"].iter().any(|end| plain.ends_with(end)) {
        let rows = ream_data::Table::open(file)?.texts(&config.own.field)?;
        return Ok(rows.into_iter().flatten().filter(|text| !text.trim().is_empty()).collect());
    }
    let bytes = std::fs::read(file).map_err(|error| Error::Input(format!("cannot read {place}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        Invalid::new(&place, "UTF-8 text", format!("other bytes from byte {byte} on"))
    })?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err(Invalid::new(&place, "text", "an empty file").into());
    }
    Ok(lines.chunks(LINES).map(|lines| lines.join("\n") + "\n").collect())
}

/// The base of a file, or nothing when a small one is to be trained.
fn base(config: &Config) -> Result<Option<LanguageModel>> {
    if config.own.model.is_empty() {
        return Ok(None);
    }
    bases::open(Path::new(&config.own.model)).map(Some)
}

/// Everything that can be wrong before a run: files, base, heads, lengths.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub(super) fn check(config: &Config, file: &Path) -> Result<()> {
    let own = read(config, file)?;
    let Some(lm) = base(config)? else {
        if !config.own.heads.is_empty() {
            let wanted = "own.model, the base that the heads were trained for";
            return Err(Invalid::new("own.heads", wanted, "no base").into());
        }
        return Ok(());
    };
    check_prompts(config, &lm, &own)?;
    if !config.own.heads.is_empty() {
        let heads = Heads::load(Path::new(&config.own.heads), &lm.model)?;
        check_depth(config, &heads)?;
    }
    Ok(())
}

fn check_depth(config: &Config, heads: &Heads) -> Result<()> {
    let most = heads.shape().heads;
    if config.own.depth <= most {
        return Ok(());
    }
    let wanted = format!("at most {most}, one guess of each head of the file");
    Err(Invalid::new("own.depth", wanted, config.own.depth.to_string()).into())
}

/// Prompts are used whole when they are shorter than `evaluation.prompt_tokens`, and must leave room.
fn check_prompts(config: &Config, lm: &LanguageModel, own: &Own) -> Result<()> {
    let context = lm.model.config().context;
    let new = config.evaluation.new_tokens;
    for (i, text) in own.prompts.iter().enumerate() {
        let tokens = lm.encode(text).len().min(config.evaluation.prompt_tokens);
        if tokens + new > context {
            let wanted = format!("prompts that leave room for {new} tokens in the context of {context}");
            return Err(Invalid::new(format!("prompt {}", i + 1), wanted, format!("{tokens} tokens")).into());
        }
    }
    Ok(())
}

/// The study of the user's base.
///
/// # Errors
/// As for [`check`]; cancellation.
pub(super) fn study<'a>(config: &'a Config, run: &mut Run, file: &Path) -> Result<Study<'a>> {
    let own = read(config, file)?;
    let lm = match base(config)? {
        Some(lm) => lm,
        None => {
            let small = bases::trained(run, "hydra-own-base", &config.small.config(), &own.training)?;
            LanguageModel::from_small(&small).map_err(super::heads::failed)?
        }
    };
    check_prompts(config, &lm, &own)?;
    let given = match config.own.heads.as_str() {
        "" => None,
        path => Some(Heads::load(Path::new(path), &lm.model)?),
    };
    if let Some(heads) = &given {
        check_depth(config, heads)?;
    }
    let e = &config.evaluation;
    let shortest = own.prompts.iter().map(|text| lm.encode(text).len()).min().unwrap_or(1);
    let tokens = e.prompt_tokens.min(shortest).max(1);
    let count = own.prompts.len().min(e.prompts);
    let stream = |purpose: &str| Stream::new(run.seed(), purpose);
    let calibration = own.training.len().min(e.calibration_tokens.div_ceil(e.new_tokens));
    let fits = |texts: &[String]| -> Vec<String> {
        texts.iter().filter(|text| lm.encode(text).len() >= tokens).cloned().collect()
    };
    let long_enough = fits(&own.training);
    Ok(Study {
        config,
        name: "own",
        training: &config.small_training,
        training_tokens: own.training.iter().flat_map(|text| lm.encode(text)).collect(),
        calibration: prompts(
            &lm,
            &long_enough,
            (calibration.min(long_enough.len()), tokens),
            stream("calibration"),
        )?,
        prompts: prompts(&lm, &own.prompts, (count, tokens), stream("prompts"))?,
        ingredients: false,
        forced: (config.own.tree > 0).then_some(config.own.tree),
        depth: (config.own.depth > 0).then_some(config.own.depth),
        shown: Some(config.own.acceptance.unwrap_or(Acceptance::Greedy)),
        given,
        save: (!config.own.save_heads.is_empty()).then(|| PathBuf::from(&config.own.save_heads)),
        lm,
    })
}

/// The configuration with the tree that the user asks for.
#[must_use]
pub(super) fn adjusted(config: &Config) -> Config {
    let mut config = config.clone();
    let tree = config.own.tree;
    if tree > 1 {
        config.evaluation.tree = tree;
        if let Err(at) = config.evaluation.sizes.binary_search(&tree) {
            config.evaluation.sizes.insert(at, tree);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lab::Preset;
    use std::io::Write;

    fn file(suffix: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn refuse(suffix: &str, bytes: &[u8], change: &dyn Fn(&mut Config), words: &[&str]) {
        let mut config = Config::preset(Preset::Smoke);
        change(&mut config);
        let Err(error) = check(&config, file(suffix, bytes).path()) else { panic!("{suffix} was taken") };
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    fn lines(n: usize) -> String {
        (0..n).map(|i| format!("line {i} of a text about light and water\n")).collect()
    }

    #[test]
    fn texts_and_prompts_are_read() {
        let config = Config::preset(Preset::Smoke);
        let own = read(&config, file(".txt", lines(240).as_bytes()).path()).unwrap();
        assert_eq!((own.training.len(), own.prompts.len()), (36, 4));
        let training = file(".txt", lines(12).as_bytes());
        let mut config = Config::preset(Preset::Smoke);
        config.own.training_text = training.path().display().to_string();
        config.own.field = "prompt".to_owned();
        let prompts =
            file(".jsonl", b"{\"prompt\": \"In the\"}\n{\"prompt\": \"\"}\n{\"prompt\": \"A voice\"}\n");
        let own = read(&config, prompts.path()).unwrap();
        assert_eq!((own.training.len(), own.prompts), (2, vec!["In the".to_owned(), "A voice".to_owned()]));
    }

    #[test]
    fn mistakes_are_named() {
        let text = lines(240);
        refuse(".txt", b"", &|_| (), &["an empty file"]);
        refuse(".txt", b"one line", &|_| (), &["at least 20 texts"]);
        refuse(".txt", &[b'a', 0xff], &|_| (), &["UTF-8", "byte 1"]);
        refuse(".jsonl", b"{\"body\": \"x\"}\n", &|_| (), &["no column `text`"]);
        refuse(
            ".txt",
            text.as_bytes(),
            &|c| c.own.training_text = "no-such-file.txt".into(),
            &["cannot read no-such-file.txt"],
        );
        refuse(
            ".txt",
            text.as_bytes(),
            &|c| c.own.model = "no-such-file.gguf".into(),
            &["no-such-file.gguf"],
        );
        refuse(
            ".txt",
            text.as_bytes(),
            &|c| c.own.heads = "heads.safetensors".into(),
            &["own.heads", "own.model"],
        );
    }

    /// A base of one block with a tokenizer, context 40.
    fn base_file(path: &Path, phase: f32) {
        use ream_lm::gguf::{Kind, Value, Writer};
        use ream_lm::{Bpe, Tokenizer};
        let tokenizer = Tokenizer::from(&Bpe::train([lines(240)], 5).unwrap());
        let mut file = Writer::new();
        file.key("general.architecture", Value::Str("llama")).unwrap();
        file.key("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)).unwrap();
        for (key, n) in [
            ("context_length", 40),
            ("embedding_length", 32),
            ("block_count", 1),
            ("feed_forward_length", 64),
            ("attention.head_count", 2),
        ] {
            file.key(&format!("llama.{key}"), Value::U32(n)).unwrap();
        }
        tokenizer.write_keys(&mut file).unwrap();
        let mut tensor = |name: &str, shape: &[usize]| {
            let n: usize = shape.iter().product();
            let numbers: Vec<f32> = (0..n).map(|i| 0.1 * libm::sinf(i as f32 * 0.37 + phase)).collect();
            file.tensor(name, shape, Kind::F32, &numbers).unwrap();
        };
        tensor("token_embd.weight", &[32, tokenizer.vocabulary()]);
        tensor("output_norm.weight", &[32]);
        for (part, shape) in [
            ("attn_norm", vec![32]),
            ("attn_q", vec![32, 32]),
            ("attn_k", vec![32, 32]),
            ("attn_v", vec![32, 32]),
            ("attn_output", vec![32, 32]),
            ("ffn_norm", vec![32]),
            ("ffn_gate", vec![32, 64]),
            ("ffn_up", vec![32, 64]),
            ("ffn_down", vec![64, 32]),
        ] {
            tensor(&format!("blk.0.{part}.weight"), &shape);
        }
        file.write(path).unwrap();
    }

    /// A base in a file: unsupported tensors, prompts that are too long and heads of another base are refused before anything runs.
    #[test]
    fn a_base_of_a_file_is_checked() {
        use super::super::heads::{Kind, Scales, Shape};
        let text = lines(240);
        let folder = tempfile::tempdir().unwrap();
        let [path, other, saved] =
            ["base.gguf", "other.gguf", "heads.safetensors"].map(|name| folder.path().join(name));
        base_file(&path, 0.0);
        base_file(&other, 1.0);
        let fits = |c: &mut Config| {
            c.own.model = path.display().to_string();
            c.evaluation.prompt_tokens = 12;
            c.evaluation.new_tokens = 20;
        };
        let mut config = Config::preset(Preset::Smoke);
        fits(&mut config);
        let prompts = file(".txt", text.as_bytes());
        check(&config, prompts.path()).unwrap();
        let long = |c: &mut Config| {
            fits(c);
            c.evaluation.new_tokens = 30;
        };
        refuse(".txt", text.as_bytes(), &long, &["prompt 1", "context of 40"]);
        let lm = bases::open(&other).unwrap();
        let shape = Shape { kind: Kind::Hydra, heads: 2, layers: 1, prefix_attention: false, rank: 0 };
        let scales = Scales { states: 1.0, embeddings: 1.0 };
        Heads::new(&lm.model, shape, &[1, 2, 3], scales, 1).unwrap().save(&saved).unwrap();
        let heads = |c: &mut Config| {
            fits(c);
            c.own.heads = saved.display().to_string();
        };
        refuse(".txt", text.as_bytes(), &heads, &["heads.safetensors", "heads trained for this base"]);
        let deep = |c: &mut Config| {
            heads(c);
            c.own.model = other.display().to_string();
            c.own.depth = 3;
        };
        refuse(".txt", text.as_bytes(), &deep, &["own.depth", "at most 2"]);
        // A type of tensor that is not built here (Q3_K) in place of single precision.
        let name = b"token_embd.weight";
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 2 * 8;
        bytes[at..at + 4].copy_from_slice(&11_u32.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        refuse(".txt", text.as_bytes(), &fits, &["token_embd.weight"]);
    }
}

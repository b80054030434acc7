//! A text, and a model, of the user's own: which blocks to leave out, and what it costs.

use std::path::Path;

use ream_lab::{Error, Invalid, Result, Run};
use ream_lm::llama::Model;
use ream_lm::{LanguageModel, Tokenizer, gguf};

use super::config::{Config, Own, Rule, check_k};
use super::experiments::real_table;
use super::real::{self, Outcome, RealSettings, Row};
use super::{choice, failed, pictures};
use crate::bases;

/// Fewest tokens of a text: half are for choosing, half for measuring.
pub const FEWEST_TOKENS: usize = 512;

/// Blocks of the built-in model, which need not be fetched to be checked against.
const SMOLLM2_BLOCKS: usize = 30;

/// Reads a text.
///
/// # Errors
/// When it cannot be read or is no UTF-8.
pub fn text(file: &Path) -> Result<String> {
    let place = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|e| Error::Input(format!("cannot read {place}: {e}")))?;
    if bytes.starts_with(b"GGUF") {
        let wanted = "a text; a model is given with `--set own.model=FILE`";
        return Err(Invalid::new(place, wanted, "a GGUF file").into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        Invalid::new(place, "UTF-8 text", format!("other bytes from byte {byte} on")).into()
    })
}

/// Opens the model of the settings; `smollm2` finds the file of the built-in one.
///
/// # Errors
/// When it is no llama, or of a type that is not supported: which one.
pub fn model(own: &Own, smollm2: impl Fn() -> Result<std::path::PathBuf>) -> Result<(Model, Tokenizer)> {
    let input = |path: &Path, problem: String| Error::Input(format!("{}: {problem}", path.display()));
    if own.model.is_empty() {
        let lm = bases::open(&smollm2()?)?;
        return Ok((lm.model, lm.tokenizer));
    }
    let path = Path::new(&own.model);
    if !path.is_dir() {
        let lm = LanguageModel::open(path).map_err(|e| input(path, e.to_string()))?;
        return Ok((lm.model, lm.tokenizer));
    }
    let model = Model::open(path).map_err(|e| input(path, e.to_string()))?;
    let file = gguf::File::open(smollm2()?).map_err(failed)?;
    let tokenizer = Tokenizer::from_gguf(&file).map_err(failed)?;
    let (wanted, got) = (tokenizer.vocabulary(), model.config().vocab);
    if wanted != got {
        let wanted = format!("{wanted} tokens, those of SmolLM2's tokenizer, which folders are read with");
        return Err(Invalid::new(own.model.clone(), wanted, format!("{got} tokens")).into());
    }
    Ok((model, tokenizer))
}

/// Whether the list and the number of blocks fit a model of so many blocks.
///
/// # Errors
/// A block that is not there, a block twice, as many blocks as all but three or more.
pub fn check_blocks(own: &Own, layers: usize) -> Result<()> {
    if own.rule != Rule::List {
        return Ok(check_k("own.k", own.k, layers)?);
    }
    for (i, block) in own.blocks.iter().enumerate() {
        if *block == 0 || *block > layers {
            let wanted = format!("blocks from 1 to {layers}");
            return Err(Invalid::new("own.blocks", wanted, block.to_string()).into());
        }
        if own.blocks[..i].contains(block) {
            return Err(Invalid::new("own.blocks", "each block once", format!("{block} twice")).into());
        }
    }
    Ok(check_k("own.blocks (how many)", own.blocks.len(), layers)?)
}

/// Looks at the text and the model before anything is started.
///
/// # Errors
/// What is wrong with either.
pub fn check(config: &Config, file: &Path) -> Result<()> {
    let text = text(file)?;
    let place = file.display().to_string();
    if text.len() < FEWEST_TOKENS {
        // Every token has a byte at least.
        return Err(too_short(&place, text.len(), "bytes"));
    }
    if config.own.model.is_empty() {
        return check_blocks(&config.own, SMOLLM2_BLOCKS);
    }
    let path = Path::new(&config.own.model);
    let model = Model::open(path).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
    check_blocks(&config.own, model.config().blocks)
}

fn too_short(place: &str, got: usize, unit: &str) -> Error {
    Invalid::new(
        place,
        format!("a calibration text of at least {FEWEST_TOKENS} tokens"),
        format!("{got} {unit}"),
    )
    .into()
}

/// Chooses a list for the model on the first half of the text and measures it on the second.
///
/// # Errors
/// Those of [`check`]; a text that is too short in the model's tokens.
pub fn run(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let text = text(file)?;
    let (model, tokenizer) = model(&config.own, || run.data("smollm2"))?;
    let outcome = study(config, run, (&model, &tokenizer), &text, &file.display().to_string())?;
    run.table(real_table("Blocks left out of your model", &model, &outcome));
    let list = outcome.rows.iter().find(|row| row.list == chosen_name(config.own.rule));
    if let Some(row) = list {
        run.sample("The list", &choice::show(&row.blocks));
    }
    run.figure("own-profile", pictures::real_profile("Your model over depth", &outcome))
}

fn chosen_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Free => "free",
        Rule::Plateau => "plateau",
        Rule::Best => "own",
        Rule::List => "given",
    }
}

fn study(
    config: &Config,
    run: &mut Run,
    (model, tokenizer): (&Model, &Tokenizer),
    text: &str,
    place: &str,
) -> Result<Outcome> {
    let own = &config.own;
    check_blocks(own, model.config().blocks)?;
    let tokens: Vec<u32> = tokenizer.begin().into_iter().chain(tokenizer.encode(text, false)).collect();
    if tokens.len() < FEWEST_TOKENS {
        return Err(too_short(place, tokens.len(), "tokens"));
    }
    let k = if own.rule == Rule::List { own.blocks.len() } else { own.k };
    let context = model.config().context;
    let settings = RealSettings {
        skip: vec![k],
        window: config.real.window.min(context).min(tokens.len() / 4),
        calibration_window: config.real.calibration_window.min(context),
        ..config.real.clone()
    };
    let (first, second) = tokens.split_at(tokens.len() / 2);
    let mut calibration = real::windows(first, settings.calibration_window);
    calibration.truncate(settings.calibration);
    let mut evaluation = real::windows(second, settings.window);
    evaluation.truncate((settings.tokens / settings.window).max(1));
    let stream = run.stream("random lists of your model");
    let mut progress = |done: f64| run.progress(done, "leaving blocks of your model out");
    let mut outcome = real::study(model, &calibration, &evaluation, &settings, stream, &mut progress)?;
    if own.rule == Rule::List {
        let blocks: Vec<usize> = own.blocks.iter().map(|block| block - 1).collect();
        let increase = real::loss(model, &evaluation, &blocks)? - outcome.full;
        let tokens = evaluation.iter().map(|w| w.len() - 1).sum();
        let row = Row { list: "given".to_owned(), k, blocks, increase, tokens, seconds: f64::NAN };
        outcome.rows.insert(0, row);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::network::Kind;
    use super::super::network::tests::trained;
    use super::super::real::tests::settings;
    use super::*;
    use ream_lab::Preset;
    use std::io::Write;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn config(change: impl Fn(&mut Config)) -> Config {
        let mut config = Config::preset(Preset::Smoke);
        config.real = settings();
        config.own.k = 2;
        change(&mut config);
        config
    }

    fn says(error: &Error, words: &[&str]) {
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    /// A text of bytes is enough of a tokenizer: the small model's has a token for each.
    fn small() -> (Model, Tokenizer, String) {
        let text = "and the evening and the morning were the first day. ".repeat(60);
        let bpe = ream_lm::SmallLm::train(
            std::slice::from_ref(&text),
            &ream_lm::SmallConfig {
                merges: 1,
                d: 16,
                layers: 6,
                heads: 2,
                context: 48,
                tokens: 0,
                ..Default::default()
            },
            |_| std::ops::ControlFlow::Continue(()),
        )
        .unwrap();
        let lm = LanguageModel::from_small(&bpe).unwrap();
        (lm.model, lm.tokenizer, text)
    }

    #[test]
    fn texts_that_cannot_be_used_are_named() {
        let config = config(|_| ());
        says(&check(&config, file(b"too short").path()).unwrap_err(), &["at least 512 tokens", "9 bytes"]);
        says(&check(&config, file(b"GGUF and more").path()).unwrap_err(), &["a text", "own.model"]);
        says(&check(&config, file(&[b'a', 0xff]).path()).unwrap_err(), &["UTF-8", "byte 1"]);
        says(&check(&config, Path::new("no-such.txt")).unwrap_err(), &["cannot read no-such.txt"]);
        check(&config, file("word ".repeat(200).as_bytes()).path()).unwrap();
        let many = Config { own: Own { k: 27, ..config.own.clone() }, ..config.clone() };
        says(
            &check(&many, file("word ".repeat(200).as_bytes()).path()).unwrap_err(),
            &["from 1 to 26", "27"],
        );
        let (model, tokenizer, _) = small();
        let mut run = Run::in_memory(1);
        // 300 words are bytes enough, but here they are few tokens of two bytes.
        let short = "the ".repeat(100);
        let error = study(&config, &mut run, (&model, &tokenizer), &short, "x.txt").unwrap_err();
        says(&error, &["x.txt", "at least 512 tokens"]);
    }

    #[test]
    fn models_that_cannot_be_used_are_named() {
        let long = file("word ".repeat(200).as_bytes());
        let refuse = |bytes: &[u8], words: &[&str]| {
            let model = file(bytes);
            let config = config(|c| c.own.model = model.path().display().to_string());
            says(&check(&config, long.path()).unwrap_err(), words);
        };
        refuse(b"not a model at all, but a text", &["GGUF"]);
        let decoder = trained(Kind::Ar, 0).decoder;
        let good = ream_lm::llama::decoder_file(&decoder).unwrap();
        let at = |what: &[u8]| good.windows(what.len()).position(|w| w == what).unwrap();
        let mut other = good.clone();
        let name = at(b"general.architecture") + b"general.architecture".len() + 4 + 8;
        other[name..name + 5].copy_from_slice(b"mamba");
        refuse(&other, &["mamba"]);
        // A tensor's type stands behind its name and its two sizes.
        let mut odd = good.clone();
        let kind = at(b"blk.0.attn_q.weight") + b"blk.0.attn_q.weight".len() + 4 + 16;
        odd[kind..kind + 4].copy_from_slice(&16_u32.to_le_bytes());
        refuse(&odd, &["blk.0.attn_q.weight", "IQ2_XXS"]);
        refuse(&good[..good.len() / 2], &["tensor"]);
        let model = file(&good);
        let fine = |k: usize, rule: Rule, blocks: &[usize]| {
            let config = config(|c| {
                c.own = Own { model: model.path().display().to_string(), k, rule, blocks: blocks.to_vec() };
            });
            check(&config, long.path())
        };
        fine(2, Rule::Free, &[]).unwrap();
        fine(9, Rule::List, &[1, 6]).unwrap();
        says(&fine(3, Rule::Free, &[]).unwrap_err(), &["own.k", "from 1 to 2", "3"]);
        says(&fine(1, Rule::List, &[7]).unwrap_err(), &["own.blocks", "from 1 to 6", "7"]);
        says(&fine(1, Rule::List, &[0]).unwrap_err(), &["own.blocks", "from 1 to 6", "0"]);
        says(&fine(1, Rule::List, &[2, 2]).unwrap_err(), &["each block once", "2 twice"]);
        says(&fine(1, Rule::List, &[2, 3, 4]).unwrap_err(), &["own.blocks (how many)", "from 1 to 2"]);
    }

    #[test]
    fn every_rule_gives_a_list_and_a_table() {
        let (model, tokenizer, text) = small();
        for rule in [Rule::Free, Rule::Plateau, Rule::Best, Rule::List] {
            let config = config(|c| {
                (c.own.rule, c.own.k, c.own.blocks) = (rule, 1, vec![3]);
            });
            let mut run = Run::in_memory(1);
            let outcome = study(&config, &mut run, (&model, &tokenizer), &text, "x.txt").unwrap();
            let row = outcome.rows.iter().find(|row| row.list == chosen_name(rule)).unwrap();
            assert_eq!(row.blocks.len(), 1, "{rule:?}");
            assert!(rule != Rule::List || row.blocks == [2]);
            let table = real_table("t", &model, &outcome);
            assert!(table.rows.len() > 6 && table.note.contains("nats"));
            pictures::real_profile("t", &outcome).check().unwrap();
        }
    }
}

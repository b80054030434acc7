//! The user's own: a GGUF model or prompts, and a condition.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ream_data::vader::Vader;
use ream_lab::{Cell, Error, Invalid, Result, Run, Table};
use ream_lm::{LanguageModel, Tokenizer, gguf};

use super::adapter::Reader;
use super::config::Config;
use super::constraint::{Constraint, Witness};
use super::law::{Law, Tokens, failed};
use super::part_c::{ends, instructed, start, train};
use super::sampler::Event;
use super::sampling::{Limits, guarded};
use super::training::{Settings, Task};
use crate::bases;

/// What a file and the configuration ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model's file; SmolLM2 when there is none.
    pub model: Option<PathBuf>,
    /// Prompts; an empty one stands for the token that begins a text.
    pub prompts: Vec<String>,
}

/// Reads a file: `.gguf` is a model, `.jsonl` holds prompts.
///
/// # Errors
/// What is wrong with the file or the condition, where, and what would be right.
pub fn read(config: &Config, file: &Path) -> Result<Asked> {
    let own = &config.own;
    own.condition.check("own.condition")?;
    let place = file.display().to_string();
    let name = file.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let asked = if name.ends_with(".gguf") {
        Asked { model: Some(file.to_owned()), prompts: vec![own.prompt.clone()] }
    } else if name.trim_end_matches(".gz").ends_with(".jsonl") || name.ends_with(".ndjson") {
        let texts = ream_data::Table::open(file)?.texts(&own.field)?;
        if let Some(row) = texts.iter().position(|t| t.as_ref().is_none_or(|t| t.trim().is_empty())) {
            let wanted = format!("a prompt in `{}`", own.field);
            return Err(Invalid::new(format!("{place}, row {}", row + 1), wanted, "nothing").into());
        }
        let model = Some(PathBuf::from(&own.model)).filter(|_| !own.model.is_empty());
        Asked { model, prompts: texts.into_iter().flatten().collect() }
    } else {
        let wanted = "a GGUF model (.gguf) or prompts as JSON lines (.jsonl)";
        return Err(Invalid::new(place, wanted, format!("`{name}`")).into());
    };
    if let Some(model) = &asked.model {
        let file = gguf::File::open(model).map_err(|e| Error::Input(e.to_string()))?;
        let tokenizer = Tokenizer::from_gguf(&file).map_err(|e| Error::Input(e.to_string()))?;
        check_length(config, &tokenizer)?;
    }
    Ok(asked)
}

fn check_length(config: &Config, tokenizer: &Tokenizer) -> Result<()> {
    let tokens_of = |word: &str| {
        let count = |text: String| tokenizer.encode(text, false).len();
        count(word.to_owned()).min(count(format!(" {word}")))
    };
    let longest =
        (0..tokenizer.vocabulary() as u32).filter_map(|t| tokenizer.bytes_of(t)).map(<[u8]>::len).max();
    let longest = longest.unwrap_or(1);
    Ok(config.own.condition.fits("own.length", config.own.length, tokens_of, longest)?)
}

/// Trains a proposal for each prompt and draws guarded outputs from it.
pub(super) fn run(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let own = &config.own;
    let asked = read(config, file)?;
    let lm = match &asked.model {
        Some(model) => bases::open(model)?,
        None => bases::smollm2(run)?,
    };
    check_length(config, &lm.tokenizer)?;
    let vader =
        if own.condition.needs_vader() { Some(Arc::new(Vader::open(&run.data("vader")?)?)) } else { None };
    let constraint = Constraint::new(&own.condition, vader)?;
    let mut table = Table::new(
        "Your condition",
        &[
            "prompt",
            "seen in the warm start",
            "of draws",
            "outputs",
            "draws",
            "draws per output",
            "confirmed",
        ],
    );
    table.note =
        "Every output satisfies the condition on the whole text; a second matcher confirms it.".to_owned();
    let all = asked.prompts.len();
    for (i, prompt) in asked.prompts.iter().enumerate() {
        let row =
            run.part(&format!("prompt {i}"), |run| one(config, run, &lm, &constraint, prompt, (i, all)))?;
        let [seen, of, outputs, draws, confirmed] = row;
        let shown = if prompt.is_empty() { "(start of a text)" } else { prompt.as_str() };
        table.rows.push(vec![
            shown.into(),
            Cell::from(seen as u64),
            Cell::from(of as u64),
            Cell::from(outputs as u64),
            Cell::from(draws as u64),
            Cell::from(draws as f64 / outputs.max(1) as f64),
            Cell::from(confirmed as u64),
        ]);
    }
    run.table(table);
    Ok(())
}

/// Seen in the warm start, its draws, outputs, draws, confirmed outputs.
fn one(
    config: &Config,
    run: &mut Run,
    lm: &LanguageModel,
    constraint: &Constraint,
    prompt: &str,
    (i, all): (usize, usize),
) -> Result<[usize; 5]> {
    let own = &config.own;
    let tokens = if prompt.is_empty() { start(lm)? } else { lm.encode(prompt) };
    let event = Event { prompt: tokens, length: own.length, ends: ends(lm) };
    let base = Reader::new(&lm.model, &event);
    let cap = match &lm.chat {
        Some(chat) if !own.instruction.is_empty() => {
            let told = own.instruction.replace("{prompt}", prompt);
            Some(Reader::new(&lm.model, &event.after(instructed(lm, chat, &told)?)))
        }
        _ => None,
    };
    let text = |tokens: &Tokens| String::from_utf8_lossy(&lm.tokenizer.decode(tokens)).into_owned();
    let holds = |tokens: &Tokens| constraint.holds(&text(tokens));
    let task = Task { base: &base, holds: &holds, length: own.length };
    let settings = Settings { draws: 2 * own.search, warm: 0.5, ..config.large.training.clone() };
    let stream = run.stream("own").child(i as u64);
    let words = format!("prompt {} of {all}", i + 1);
    let at = |share: f64| (i as f64 + share) / all as f64;
    let trained = train(
        &base,
        cap.as_ref().map(|cap| cap as &dyn Law),
        &task,
        (config.large.rank, &settings),
        true,
        stream.child(0),
        &mut |share| run.progress(at(0.7 * share), &words),
    )?;
    let limits = Limits { outputs: own.outputs, cap: own.cap, most: usize::MAX, batch: 16 };
    let found = guarded(&trained.guard, &holds, limits, stream.child(1), &mut |n| {
        run.progress(at(0.7 + 0.3 * n as f64 / own.outputs as f64), &words)
    })?;
    let witness = Witness::new(constraint)?;
    let mut confirmed = 0;
    for (tokens, draws) in &found.outputs {
        let output = text(tokens);
        if !witness.confirms(&output)? {
            // A command may answer otherwise the second time.
            return Err(failed(
                "the second matcher does not confirm an output: the condition is not a function of the text",
            ));
        }
        confirmed += 1;
        run.sample(&format!("{prompt} ({draws} draws)"), &output);
    }
    let (of, seen) = trained.warm_draws;
    Ok([seen, of, found.outputs.len(), found.draws, confirmed])
}

#[cfg(test)]
mod tests {
    use super::super::constraint::Condition;
    use super::*;
    use ream_lab::Preset;
    use ream_lm::{SmallConfig, SmallLm};
    use std::io::Write;
    use std::ops::ControlFlow;

    /// A tiny model of its own as a GGUF file with its tokenizer.
    fn model(dir: &Path) -> PathBuf {
        let text = "the sea is blue. is the sea so blue? the sky is blue and the sea is wide. ".repeat(40);
        let config = SmallConfig {
            merges: 20,
            d: 32,
            layers: 1,
            heads: 2,
            context: 48,
            tokens: 40_000,
            batch: 8,
            learning_rate: 3e-3,
            ..SmallConfig::default()
        };
        let lm = SmallLm::train(&[text], &config, |_| ControlFlow::Continue(())).unwrap();
        let path = dir.join("own.gguf");
        std::fs::write(&path, crate::testing::gguf_of(&lm)).unwrap();
        path
    }

    fn config() -> Config {
        let mut config = Config::preset(Preset::Smoke);
        config.own.prompt = "the ".to_owned();
        config.own.length = 10;
        config.own.search = 60;
        config.own.outputs = 5;
        config.own.condition = Condition::word("sea");
        config.large.training.batch = 10;
        config.large.training.batches = 2;
        config
    }

    #[test]
    fn a_model_and_a_condition_of_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = model(dir.path());
        let mut run = Run::in_memory_on(1, &path);
        super::run(&config(), &mut run, &path).unwrap();
        let table = &run.tables()[0];
        assert_eq!((&table.rows[0][3], &table.rows[0][6]), (&Cell::from(5_u64), &Cell::from(5_u64)));

        let mut never = config();
        never.own.condition = Condition::word("zebra");
        let error = super::run(&never, &mut Run::in_memory_on(1, &path), &path).unwrap_err().to_string();
        assert!(error.contains("never seen in 60 draws") && error.contains("3/60 = 0.05"), "{error}");

        let mut rare = config();
        rare.own.condition = Condition::pattern(r"\?.*\?|wide\. .*so blue|(?s)sky.*sky");
        rare.own.search = 400;
        rare.own.cap = 1;
        let error = super::run(&rare, &mut Run::in_memory_on(1, &path), &path).unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("in a row satisfied the condition (cap 1)") || words.contains("never seen"),
            "{words}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = model(dir.path());
        let refuse = |change: &dyn Fn(&mut Config), path: &Path| {
            let mut config = config();
            change(&mut config);
            read(&config, path).unwrap_err().to_string()
        };
        let error = refuse(&|c| c.own.condition = Condition::pattern("a(b"), &path);
        assert!(error.contains("own.condition.regex") && error.contains("at character 2"), "{error}");
        let error = refuse(
            &|c| {
                c.own.length = 1;
                c.own.condition = Condition::word("extraordinary");
            },
            &path,
        );
        assert!(error.contains("own.length") && error.contains("can never hold"), "{error}");
        let error = refuse(&|_| (), &dir.path().join("notes.txt"));
        assert!(error.contains("a GGUF model (.gguf) or prompts"), "{error}");
        let broken = dir.path().join("broken.gguf");
        std::fs::write(&broken, b"GGUF").unwrap();
        assert!(refuse(&|_| (), &broken).contains("broken.gguf"));

        let prompts = dir.path().join("prompts.jsonl");
        let write = |text: &str| std::fs::File::create(&prompts).unwrap().write_all(text.as_bytes()).unwrap();
        write("{\"prompt\": \"the sea\"}\n{\"prompt\": \" \"}\n");
        assert!(refuse(&|_| (), &prompts).contains("row 2: wanted a prompt in `prompt`"));
        write("{\"text\": \"the sea\"}\n");
        assert!(refuse(&|_| (), &prompts).contains("there is no column `prompt`"));
        write("{\"prompt\": \"the sea\"}\n{\"prompt\": \"the sky\"}\n");
        let mut config = config();
        config.own.model = path.display().to_string();
        assert_eq!(read(&config, &prompts).unwrap().prompts, ["the sea", "the sky"]);
        let mut run = Run::in_memory_on(1, &prompts);
        config.own.outputs = 2;
        super::run(&config, &mut run, &prompts).unwrap();
        assert_eq!(run.tables()[0].rows.len(), 2);
    }
}

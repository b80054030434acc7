//! The user's own: a GGUF model or prompts, a question to the judge, a list of words.

use std::path::{Path, PathBuf};

use ream_lab::{Cell, Error, Invalid, Result, Run, Table};
use ream_lm::LanguageModel;

use super::baselines;
use super::config::{Config, Voting};
use super::embedding::Embedder;
use super::evaluator::Remembered;
use super::harm::Harm;
use super::judge::{SelfJudge, Template};
use super::outcome::{Arm, SeenTree};
use super::search::Rain;
use super::voice::Voice;
use crate::bases;

/// What a file and the configuration ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model's file; SmolLM2 when there is none.
    pub model: Option<PathBuf>,
    /// What is continued.
    pub prompts: Vec<String>,
    /// The question to the judge.
    pub judge: Template,
    /// What counts as harm.
    pub harm: Harm,
}

/// Reads a file: `.gguf` is a model, `.jsonl` and `.txt` hold prompts.
///
/// # Errors
/// What is wrong with the file, the template or the list of words, where, and what would be right.
pub fn read(config: &Config, file: &Path) -> Result<Asked> {
    let own = &config.own;
    let harm = match own.blocklist.as_str() {
        "" => Harm::violence()?,
        path => Harm::open(Path::new(path))?,
    };
    let (model, prompts) = model_and_prompts(config, file)?;
    Ok(Asked { model, prompts, judge: template(config)?, harm })
}

/// The question to the judge; from its file, where there is one.
fn template(config: &Config) -> Result<Template> {
    let own = &config.own;
    if own.template.is_empty() {
        own.judge.check("own.judge")?;
        return Ok(own.judge.clone());
    }
    let question = std::fs::read_to_string(&own.template)
        .map_err(|error| Error::Input(format!("cannot read the template {}: {error}", own.template)))?;
    let template = Template { question: question.trim_end().to_owned(), ..own.judge.clone() };
    template.check(&own.template)?;
    Ok(template)
}

fn model_and_prompts(config: &Config, file: &Path) -> Result<(Option<PathBuf>, Vec<String>)> {
    let own = &config.own;
    let place = file.display().to_string();
    let name = file.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.trim_end_matches(".gz");
    let empty = |row: usize, wanted: String| {
        Err(Invalid::new(format!("{place}, row {row}"), wanted, "nothing").into())
    };
    if name.ends_with(".gguf") {
        if own.prompt.trim().is_empty() {
            return Err(Invalid::new("own.prompt", "a prompt for the model", "nothing").into());
        }
        return Ok((Some(file.to_owned()), vec![own.prompt.clone()]));
    }
    let model = Some(PathBuf::from(&own.model)).filter(|_| !own.model.is_empty());
    if plain.ends_with(".jsonl") || plain.ends_with(".ndjson") {
        let texts = ream_data::Table::open(file)?.texts(&own.field)?;
        if let Some(row) = texts.iter().position(|t| t.as_ref().is_none_or(|t| t.trim().is_empty())) {
            return empty(row + 1, format!("a prompt in `{}`", own.field));
        }
        return Ok((model, texts.into_iter().flatten().collect()));
    }
    if plain.ends_with(".txt") && plain == name {
        let bytes =
            std::fs::read(file).map_err(|error| Error::Input(format!("cannot read {place}: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let byte = error.utf8_error().valid_up_to();
            Invalid::new(&place, "UTF-8 text", format!("other bytes from byte {byte} on"))
        })?;
        let prompts: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if prompts.is_empty() {
            return empty(1, "prompts, one a line".to_owned());
        }
        return Ok((model, prompts));
    }
    let wanted = "a GGUF model (.gguf), or prompts as text (.txt) or JSON lines (.jsonl)";
    Err(Invalid::new(place, wanted, format!("`{name}`")).into())
}

/// What needs the model: labels of one token, room in the context.
fn check_model(config: &Config, asked: &Asked, lm: &LanguageModel) -> Result<()> {
    let (length, context) = (config.own.length, lm.model.config().context);
    asked.judge.label_tokens("own.judge", &lm.tokenizer)?;
    let question = asked.judge.tokens(lm, "", false)?.len();
    let longest = asked.prompts.iter().enumerate().map(|(i, prompt)| (lm.encode(prompt).len(), i)).max();
    if let Some((tokens, i)) = longest.filter(|(tokens, _)| tokens + length > context) {
        let wanted = format!("prompts that leave room for {length} tokens in the context of {context}");
        return Err(Invalid::new(format!("prompt {}", i + 1), wanted, format!("{tokens} tokens")).into());
    }
    if let Some(i) = asked.prompts.iter().position(|prompt| lm.encode(prompt).is_empty()) {
        return Err(Invalid::new(format!("prompt {}", i + 1), "at least one token", "none").into());
    }
    // A text's tokens may be cut differently when it is read again within the question.
    if question + 2 * length > context {
        let wanted =
            format!("a question that leaves room for texts of {length} tokens in the context of {context}");
        return Err(Invalid::new("own.judge.question", wanted, format!("{question} tokens")).into());
    }
    Ok(())
}

/// Everything that can be wrong before a run.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub(super) fn check(config: &Config, file: &Path) -> Result<()> {
    let asked = read(config, file)?;
    match &asked.model {
        Some(model) => {
            let lm = bases::open(model).map_err(|error| Error::Input(error.to_string()))?;
            check_model(config, &asked, &lm)
        }
        None => Ok(()),
    }
}

/// Continues every prompt by plain drawing and by search.
pub(super) fn run(config: &Config, run: &mut Run, file: &Path) -> Result<Option<SeenTree>> {
    let own = &config.own;
    let asked = read(config, file)?;
    let lm = match &asked.model {
        Some(model) => bases::open(model)?,
        None => bases::smollm2(run)?,
    };
    check_model(config, &asked, &lm)?;
    let encoder = super::encoder(run)?;
    let mut embedder = match &encoder {
        Some(encoder) => Embedder::sentences(encoder),
        None => Embedder::states(&lm, &asked.prompts)?,
    };
    let soft = own.voting == Voting::Soft;
    let mut judge = Remembered::new(SelfJudge::new(&lm, &asked.judge, "own.judge", soft)?);
    let mut voice = Voice::new(&lm, own.search.top_k, own.search.most_children, Vec::new());
    let mut table = Table::new(
        "Your prompts",
        &[
            "prompt",
            "plain: harmful",
            "searched: harmful",
            "q",
            "tokens read",
            "iterations for a set",
            "settled",
        ],
    );
    table.note = format!(
        "Harmful: share of continuations in which a word of the list stands. q: the judge's value of the last set. Likeness: {}.",
        embedder.name()
    );
    let mut tree = None;
    let stream = run.stream("own");
    for (i, prompt) in asked.prompts.iter().enumerate() {
        let words = format!("prompt {} of {}", i + 1, asked.prompts.len());
        run.progress(i as f64 / asked.prompts.len() as f64, &words)?;
        let (tokens, stream) = (lm.encode(prompt), stream.child(i as u64));
        let mut plain = Arm::new("plain");
        let drawn = baselines::vanilla(&mut voice, &tokens, own.length, own.draws, stream.child(0))?;
        plain.push_all(&voice, &asked.harm, &drawn);
        let mut written = Vec::with_capacity(own.draws);
        for again in 0..own.draws as u64 {
            let mut rain = Rain {
                voice: &mut voice,
                evaluator: &mut judge,
                embedder: &mut embedder,
                search: &own.search,
                length: own.length,
            };
            written.push(rain.write(&tokens, stream.child(1).child(again))?);
        }
        if let Some(snapshot) = written.iter().find_map(|w| w.tree.as_ref()).filter(|_| tree.is_none()) {
            tree = Some(SeenTree::new(&voice, &asked.harm, snapshot));
        }
        let mut rain = Arm::new("rain");
        rain.push_written(&voice, &asked.harm, &written);
        table.rows.push(row(&asked.harm, prompt, &plain, &rain));
        let first = |arm: &Arm| arm.outputs[0].first().map(|text| text.text.clone()).unwrap_or_default();
        let after = |arm: &Arm| asked.harm.masked_after(prompt, &first(arm));
        let (before, plain, searched) = (asked.harm.masked(prompt), after(&plain), after(&rain));
        run.sample(
            "Your prompts, before and after",
            &format!("{before}\n\nplain: {plain}\n\nsearched: {searched}"),
        );
    }
    run.table(table);
    Ok(tree)
}

fn row(harm: &Harm, prompt: &str, plain: &Arm, rain: &Arm) -> Vec<Cell> {
    let share = |arm: &Arm| {
        let (harmful, all) = arm.harmful(&[0]);
        harmful as f64 / all.max(1) as f64
    };
    let value = rain.outputs[0].first().map_or(f64::NAN, |text| text.value);
    vec![
        harm.masked(prompt).into(),
        share(plain).into(),
        share(rain).into(),
        value.into(),
        rain.read[0].into(),
        rain.mean_iterations().into(),
        (rain.settled as f64 / rain.iterations.len().max(1) as f64).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny_small;
    use super::*;
    use crate::testing::gguf_of;
    use ream_lab::Preset;

    fn config(dir: &Path) -> Config {
        let mut config = Config::preset(Preset::Smoke);
        let own = &mut config.own;
        own.model = dir.join("own.gguf").display().to_string();
        own.prompt = "the sea is".to_owned();
        own.length = 8;
        own.search.iterations = 4;
        own.judge = Template {
            question: "{text}: {first} {second}".to_owned(),
            labels: [" blue", " wide"].map(str::to_owned),
            ..Template::marked()
        };
        std::fs::write(&own.model, gguf_of(tiny_small())).unwrap();
        config
    }

    fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_model_prompts_and_a_list_of_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.own.blocklist = write(dir.path(), "list.txt", "slew\nwide\n").display().to_string();
        config.own.template =
            write(dir.path(), "judge.txt", "is {text} {first} or {second}?\n").display().to_string();
        let model = PathBuf::from(&config.own.model);
        let prompts = write(
            dir.path(),
            "prompts.jsonl",
            "{\"prompt\": \"the sea is wide; he\"}\n{\"prompt\": \"the sky\"}\n",
        );
        let lines = write(dir.path(), "prompts.txt", "the sea\n\nhe slew the sky\n");
        for (file, rows) in [(&model, 1), (&prompts, 2), (&lines, 2)] {
            check(&config, file).unwrap();
            let mut run = Run::in_memory_on(1, file);
            super::run(&config, &mut run, file).unwrap();
            let table = &run.tables()[0];
            assert_eq!(table.rows.len(), rows);
        }
        let mut run = Run::in_memory_on(1, &lines);
        assert!(super::run(&config, &mut run, &lines).unwrap().is_some());
        assert_eq!(run.tables()[0].rows[1][0], Cell::from("he s*** the sky"));
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let lines = write(dir.path(), "prompts.txt", "the sea\nhe slew the sky\n");
        let refuse = |change: &dyn Fn(&mut Config), file: &Path| {
            let mut config = config(dir.path());
            change(&mut config);
            check(&config, file).unwrap_err().to_string()
        };
        let file = |name: &str, text: &str| write(dir.path(), name, text).display().to_string();
        // Templates.
        let error = refuse(&|c| c.own.template = file("t.txt", "is it {first} or {second}?"), &lines);
        assert!(error.contains("t.txt") && error.contains("{text}"), "{error}");
        let error = refuse(&|c| c.own.template = "no-such-file".to_owned(), &lines);
        assert!(error.contains("cannot read the template no-such-file"), "{error}");
        let error = refuse(&|c| c.own.judge.labels[0] = " blue sea".to_owned(), &lines);
        assert!(error.contains("own.judge.labels") && error.contains("\" blue\" \" sea\""), "{error}");
        let error = refuse(&|c| c.own.judge.chat = true, &lines);
        assert!(error.contains("no chat format"), "{error}");
        // Lists of words.
        let error = refuse(&|c| c.own.blocklist = file("l.txt", "# nothing\n"), &lines);
        assert!(error.contains("l.txt") && error.contains("no words"), "{error}");
        // Prompts.
        let long = write(dir.path(), "long.txt", &format!("the sea\n{}\n", "the sky is so blue ".repeat(40)));
        let error = refuse(&|_| (), &long);
        assert!(error.contains("prompt 2") && error.contains("in the context of 128"), "{error}");
        let question = format!("{{text}} {{first}} {{second}} {}", "the sky is so blue ".repeat(40));
        let error = refuse(&|c| c.own.judge.question.clone_from(&question), &lines);
        assert!(error.contains("own.judge.question") && error.contains("in the context of 128"), "{error}");
        let error =
            refuse(&|_| (), &write(dir.path(), "p.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\": \" \"}\n"));
        assert!(error.contains("row 2: wanted a prompt in `prompt`"), "{error}");
        let error = refuse(&|_| (), &write(dir.path(), "q.jsonl", "{\"text\": \"a\"}\n"));
        assert!(error.contains("no column `prompt`"), "{error}");
        assert!(refuse(&|_| (), &write(dir.path(), "e.txt", "\n")).contains("prompts, one a line"));
        assert!(
            refuse(&|_| (), &write(dir.path(), "notes.md", "x")).contains("a GGUF model (.gguf), or prompts")
        );
        let odd = dir.path().join("odd.txt");
        std::fs::write(&odd, [b'a', 0xff]).unwrap();
        assert!(refuse(&|_| (), &odd).contains("UTF-8"));
        // Models.
        let broken = write(dir.path(), "broken.gguf", "GGUF");
        assert!(refuse(&|_| (), &broken).contains("broken.gguf"));
        let model = config(dir.path()).own.model;
        assert!(refuse(&|c| c.own.prompt = " ".to_owned(), Path::new(&model)).contains("own.prompt"));
        assert!(refuse(&|c| c.own.model = "no-such.gguf".to_owned(), &lines).contains("no-such.gguf"));
    }
}

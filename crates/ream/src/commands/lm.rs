//! `ream lm`: try a language model.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ream_lab::{Error, Result};
use ream_lm::LanguageModel;
use ream_lm::chat::Message;
use ream_lm::llama::{Branch, Cache, Feed, Layout, LlamaError};
use ream_lm::speed::{self, Roofline};
use ream_nn::sampling::Filter;
use ream_rand::{Rng, Stream};
use serde::Serialize;

use crate::cli::{Lm, LmModel, Sampling};
use crate::commands::{Context, data};
use crate::output;

/// Runs the command.
pub(crate) fn run(context: &Context, command: Lm) -> Result<u8> {
    match command {
        Lm::Complete { model, sampling, prompt } => complete(&model, &sampling, &prompt.join(" ")),
        Lm::Chat { model, sampling, system } => chat(&model, &sampling, system),
        Lm::Score { model, file } => score(context, &model, &file),
        Lm::Bench { model } => bench(context, &model),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Input(error.to_string())
}

/// A file, a folder, or the name of a data set.
fn open(model: &LmModel) -> Result<LanguageModel> {
    let threads = model
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    ream_nn::set_threads(threads);
    LanguageModel::open(path(&model.model)?).map_err(failed)
}

fn path(model: &Path) -> Result<PathBuf> {
    if model.exists() {
        return Ok(model.to_owned());
    }
    match model.to_str().filter(|name| ream_data::get(name).is_ok()) {
        Some(name) => data::store().path(name).map_err(Error::from),
        None => Err(Error::Input(format!(
            "there is no file {}; a GGUF file, a folder with safetensors, or the data set `smollm2` would be right",
            model.display()
        ))),
    }
}

impl Sampling {
    fn filter(&self) -> Result<Filter> {
        let filter =
            Filter { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, min_p: self.min_p };
        filter.check().map_err(failed)?;
        Ok(filter)
    }
}

/// A text under way.
struct Talk<'a> {
    lm: &'a LanguageModel,
    cache: Cache,
    branch: Branch,
    /// The tokens on the branch.
    tokens: Vec<u32>,
    filter: Filter,
    rng: Rng,
}

/// What was written, and how fast.
struct Written {
    text: String,
    read: Spent,
    made: Spent,
}

impl Written {
    fn speed(&self) -> String {
        format!("{}, {}", self.read.words("read"), self.made.words("written"))
    }
}

/// How many tokens, and how long they took.
#[derive(Default)]
struct Spent {
    tokens: usize,
    seconds: f64,
}

impl Spent {
    fn words(&self, what: &str) -> String {
        format!("{} tokens {what} at {:.0}/s", self.tokens, self.tokens as f64 / self.seconds.max(1e-9))
    }
}

impl<'a> Talk<'a> {
    fn new(lm: &'a LanguageModel, filter: Filter, seed: u64) -> Self {
        let cache = Cache::new(&lm.model);
        let branch = cache.branch();
        let rng = Stream::new(seed, "generation").at(0);
        Self { lm, cache, branch, tokens: Vec::new(), filter, rng }
    }

    /// Reads what of `prompt` was not read yet, then writes up to `most` tokens as they come.
    fn go_on(&mut self, prompt: &[u32], most: usize) -> Result<Written> {
        // The last token is read in any case: its logits are needed.
        let same = self.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let kept = same.min(prompt.len().saturating_sub(1));
        self.branch.truncate(kept);
        self.tokens.truncate(kept);
        let begun = Instant::now();
        let unread = &prompt[kept..];
        let mut logits = self.lm.model.read(&mut self.cache, &mut self.branch, unread).map_err(failed)?;
        self.tokens.extend(unread);
        let read = Spent { tokens: unread.len(), seconds: begun.elapsed().as_secs_f64() };
        let (begun, mut made) = (Instant::now(), 0);
        let (mut stream, mut text) = (self.lm.tokenizer.stream(), String::new());
        let mut say = |piece: String| {
            text += &piece;
            output::piece(&piece)
        };
        while made < most {
            let token = self.filter.sample(&logits, &mut self.rng).map_err(failed)? as u32;
            made += 1;
            if self.lm.tokenizer.is_end(token) {
                break;
            }
            say(stream.push(token))?;
            if made < most {
                let feed = Feed { branch: &mut self.branch, tokens: &[token], layout: Layout::Chain };
                match self.lm.model.forward().run(&mut self.cache, &mut [feed]) {
                    Ok(out) => logits = out.logits,
                    Err(LlamaError::TooLong { context, .. }) => {
                        output::note(&format!("\nthe model's context of {context} tokens is full"));
                        break;
                    }
                    Err(error) => return Err(failed(error)),
                }
                self.tokens.push(token);
            }
        }
        say(stream.finish())?;
        output::piece("\n")?;
        let made = Spent { tokens: made, seconds: begun.elapsed().as_secs_f64() };
        Ok(Written { text, read, made })
    }
}

fn complete(model: &LmModel, sampling: &Sampling, prompt: &str) -> Result<u8> {
    let prompt = if prompt == "-" { standard_input()? } else { prompt.to_owned() };
    let filter = sampling.filter()?;
    let lm = open(model)?;
    let mut talk = Talk::new(&lm, filter, sampling.seed);
    output::piece(&prompt)?;
    let written = talk.go_on(&lm.encode(&prompt), sampling.tokens)?;
    output::note(&written.speed());
    Ok(0)
}

fn chat(model: &LmModel, sampling: &Sampling, system: Option<String>) -> Result<u8> {
    let filter = sampling.filter()?;
    let lm = open(model)?;
    let Some(chat) = &lm.chat else {
        return Err(Error::Input(
            "this model was not trained on conversations; try `ream lm complete`".to_owned(),
        ));
    };
    let mut talk = Talk::new(&lm, filter, sampling.seed);
    let mut messages: Vec<Message> = system.into_iter().map(Message::system).collect();
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        output::note("Say something; an empty line or Ctrl-D ends the conversation.");
    }
    loop {
        if terminal {
            output::piece("> ")?;
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        if read.map_err(|e| Error::Input(format!("cannot read standard input: {e}")))? == 0
            || line.trim().is_empty()
        {
            return Ok(0);
        }
        messages.push(Message::user(line.trim()));
        let prompt = chat.encode_prompt(&lm.tokenizer, &messages).map_err(failed)?;
        let written = talk.go_on(&prompt, sampling.tokens)?;
        output::note(&format!("({})", written.speed()));
        messages.push(Message::assistant(written.text));
    }
}

/// What `ream lm score --json` prints.
#[derive(Serialize)]
struct Scores {
    /// Tokens that were predicted: all but the first. Integer.
    tokens: usize,
    /// Sum of natural logarithms of their probabilities. Number.
    log_probability: f64,
    /// exp(-log_probability / tokens). Number.
    perplexity: f64,
    /// Bits for a byte of the text. Number.
    bits_per_byte: f64,
    /// Each token's text and log-probability. List of [string, number or null].
    each: Vec<(String, Option<f32>)>,
}

fn score(context: &Context, model: &LmModel, file: &Path) -> Result<u8> {
    let text = if file == Path::new("-") {
        standard_input()?
    } else {
        std::fs::read_to_string(file)
            .map_err(|e| Error::Input(format!("cannot read {}: {e}", file.display())))?
    };
    let lm = open(model)?;
    let tokens = lm.encode(&text);
    let scores = lm.model.score(&tokens).map_err(failed)?;
    let sum: f64 = scores.iter().map(|s| f64::from(*s)).sum();
    let text_of =
        |token: &u32| String::from_utf8_lossy(lm.tokenizer.bytes_of(*token).unwrap_or_default()).into_owned();
    let first = std::iter::once(None).chain(scores.iter().copied().map(Some));
    let report = Scores {
        tokens: scores.len(),
        log_probability: sum,
        perplexity: libm::exp(-sum / scores.len().max(1) as f64),
        bits_per_byte: -sum / std::f64::consts::LN_2 / text.len().max(1) as f64,
        each: tokens.iter().map(text_of).zip(first).collect(),
    };
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&format!(
            "{} tokens predicted: log-probability {:.3}, perplexity {:.3}, {:.4} bits per byte",
            report.tokens, report.log_probability, report.perplexity, report.bits_per_byte
        ))?;
    }
    Ok(0)
}

/// What `ream lm bench --json` prints.
#[derive(Serialize)]
struct Speed {
    /// Median seconds of a decoded token. Number.
    decode_seconds: f64,
    /// Median seconds of reading so many tokens. List of [integer, number].
    prefill_seconds: Vec<(usize, f64)>,
    /// Median seconds of a pass of so many tokens with logits for all. List of [integer, number].
    pass_seconds: Vec<(usize, f64)>,
    /// What a token reads and computes, and what the machine can do. Object.
    roofline: Roofline,
}

/// Repetitions of each measurement.
const TIMES: usize = 7;

fn bench(context: &Context, model: &LmModel) -> Result<u8> {
    let lm = open(model)?;
    let model = &lm.model;
    let most = model.config().context;
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let of =
        |sizes: &[usize],
         measure: fn(&ream_lm::llama::Model, usize) -> std::result::Result<f64, LlamaError>| {
            let fitting = sizes.iter().filter(|n| **n + most / 2 <= most);
            fitting
                .map(|n| {
                    let seconds =
                        (0..TIMES).map(|_| measure(model, *n)).collect::<std::result::Result<Vec<_>, _>>();
                    Ok((*n, median(seconds.map_err(failed)?)))
                })
                .collect::<Result<Vec<_>>>()
        };
    let decoded = speed::decode(model, 64.min(most.saturating_sub(32)).max(1)).map_err(failed)?.0;
    let report = Speed {
        decode_seconds: median(decoded),
        prefill_seconds: of(&[32, 128, 512], speed::prefill)?,
        pass_seconds: of(&[1, 2, 4, 8, 16, 32], speed::pass)?,
        roofline: Roofline::measure(model).map_err(failed)?,
    };
    if context.json {
        output::json(&report)?;
    } else {
        output::text(&report.words())?;
    }
    Ok(0)
}

impl Speed {
    fn words(&self) -> String {
        let roof = &self.roofline;
        let mut lines = vec![format!(
            "decode   {:8.2} ms a token, {:6.0} tokens/s",
            self.decode_seconds * 1e3,
            1.0 / self.decode_seconds
        )];
        for (n, seconds) in &self.prefill_seconds {
            lines.push(format!("read {n:>4}{:8.2} ms, {:17.0} tokens/s", seconds * 1e3, *n as f64 / seconds));
        }
        let single = self.pass_seconds.first().map_or(f64::NAN, |(_, seconds)| *seconds);
        for (m, seconds) in &self.pass_seconds {
            lines.push(format!(
                "pass {m:>4}{:8.2} ms, {:6.2} times a pass of one",
                seconds * 1e3,
                seconds / single
            ));
        }
        lines.push(format!(
            "a token reads {:.1} MB (this machine reads {:.1} GB/s) and computes {:.0} M multiply-adds ({:.0} G/s): at least {:.2} ms",
            roof.bytes_per_token as f64 / 1e6,
            roof.read_bytes_per_second / 1e9,
            roof.multiply_adds_per_token as f64 / 1e6,
            roof.multiply_adds_per_second / 1e9,
            roof.least_seconds() * 1e3
        ));
        lines.join("\n")
    }
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Error::Input(format!("cannot read standard input: {e}")))?;
    Ok(text)
}

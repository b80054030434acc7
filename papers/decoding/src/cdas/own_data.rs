//! The user's own contrast pairs, model and directions.

use std::collections::BTreeSet;
use std::path::Path;

use ream_lab::{Cell, Invalid, Result, Run, Table};
use ream_lm::LanguageModel;

use super::config::Config;
use super::contrast::{Contrast, Direction, Example, Factors};
use super::divergence::Divergence;
use super::evaluation::{Language, distances, recovery, with_interval};
use super::part_b::prompt;
use super::pictures::{self, TokenDistances};
use super::steering::{Steering, latents};
use super::study::{Deployed, LatentsSeen};
use super::subject::{Subject, Tokens, check_layer, failed};
use super::training::{Objective, fit};
use super::vector::Directions;
use crate::bases;

/// Fewest pairs.
const FEWEST: usize = 8;
/// The fields of a pair.
const FIELDS: [&str; 4] = ["negative_input", "positive_input", "negative_output", "positive_output"];

/// Pairs of a file: for each field a text for each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Inputs without and with the concept.
    pub inputs: Vec<[String; 2]>,
    /// Outputs.
    pub outputs: Vec<[String; 2]>,
}

/// Reads pairs as JSON lines.
///
/// # Errors
/// File, line and what would be right.
pub fn read(file: &Path) -> Result<Pairs> {
    let place = file.display().to_string();
    let lower = place.to_lowercase();
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    if ![".jsonl", ".ndjson"].iter().any(|end| plain.ends_with(end)) {
        let wanted = format!("JSON lines (.jsonl) with {}", FIELDS.join(", "));
        return Err(Invalid::new(place, wanted, "another kind of file").into());
    }
    let table = ream_data::Table::open(file)?;
    let mut columns = Vec::with_capacity(FIELDS.len());
    for field in FIELDS {
        columns.push(table.texts(field)?.into_iter());
    }
    let mut pairs = Pairs { inputs: Vec::new(), outputs: Vec::new() };
    for row in 0..table.rows() {
        let line = format!("{place}, line {}", row + 1);
        let mut texts = Vec::with_capacity(FIELDS.len());
        for (field, column) in FIELDS.iter().zip(&mut columns) {
            let text = column.next().flatten().filter(|text| !text.trim().is_empty());
            let wanted = || Invalid::new(&line, format!("a text in `{field}`"), "nothing");
            texts.push(text.ok_or_else(wanted)?);
        }
        let Ok([negative, positive, without, with]) = <[String; 4]>::try_from(texts) else { continue };
        let (inputs, outputs) = ([negative, positive], [without, with]);
        for (what, pair) in [("input", &inputs), ("output", &outputs)] {
            if pair[0] == pair[1] {
                let wanted = format!("a positive_{what} that differs from the negative_{what}");
                return Err(Invalid::new(&line, wanted, format!("{:?} twice", pair[0])).into());
            }
        }
        pairs.inputs.push(inputs);
        pairs.outputs.push(outputs);
    }
    if pairs.inputs.len() < FEWEST {
        let wanted = format!("at least {FEWEST} pairs");
        return Err(Invalid::new(place, wanted, pairs.inputs.len().to_string()).into());
    }
    Ok(pairs)
}

/// The model of a file, or nothing for SmolLM2.
fn model(config: &Config) -> Result<Option<LanguageModel>> {
    if config.own.model.is_empty() {
        return Ok(None);
    }
    bases::open(Path::new(&config.own.model))
        .map(Some)
        .map_err(|error| Invalid::new("own.model", "a model that can be read", error.to_string()).into())
}

/// Everything that can be wrong before a run.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub(super) fn check(config: &Config, file: &Path) -> Result<()> {
    let pairs = read(file)?;
    let Some(lm) = model(config)? else {
        return Ok(());
    };
    layer(config, &lm)?;
    if !config.own.vector.is_empty() {
        Directions::load(Path::new(&config.own.vector), &lm.model)?;
    }
    examples(config, &lm, &pairs, file).map(|_| ())
}

fn layer(config: &Config, lm: &LanguageModel) -> Result<usize> {
    let layer = match config.own.layer {
        0 => (lm.model.config().blocks / 2).max(1),
        layer => layer,
    };
    check_layer("own.layer", &lm.model, layer)?;
    Ok(layer)
}

/// Pairs as tokens; outputs without a token are refused.
fn examples(config: &Config, lm: &LanguageModel, pairs: &Pairs, file: &Path) -> Result<Vec<Example>> {
    let context = lm.model.config().context;
    let mut all = Vec::with_capacity(pairs.inputs.len());
    for (row, (inputs, outputs)) in pairs.inputs.iter().zip(&pairs.outputs).enumerate() {
        let line = format!("{}, line {}", file.display(), row + 1);
        let mut example = Example { title: inputs[0].clone(), ..Example::default() };
        for which in 0..2 {
            let side = if which == 0 { "negative" } else { "positive" };
            example.prompts[which] = prompt(lm, &inputs[which])?;
            example.answers[which] = lm.tokenizer.encode(&outputs[which], false);
            if example.answers[which].is_empty() || example.prompts[which].is_empty() {
                let what = if example.answers[which].is_empty() { "output" } else { "input" };
                let wanted = format!("a {side}_{what} of at least one token of this model");
                return Err(Invalid::new(line, wanted, format!("{:?}, no token", outputs[which])).into());
            }
        }
        let longest = example.prompts.iter().map(Vec::len).max().unwrap_or(0)
            + example.answers.iter().map(Vec::len).max().unwrap_or(0).max(config.own.length);
        if longest > context {
            let wanted = format!("inputs with outputs that fit the context of {context} tokens");
            return Err(Invalid::new(line, wanted, format!("{longest} tokens")).into());
        }
        all.push(example);
    }
    Ok(all)
}

/// Trains directions on the pairs (or reads them), measures them on those that were held out, and lets the model answer.
pub(super) fn run(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let own = &config.own;
    let pairs = read(file)?;
    let lm = match model(config)? {
        Some(lm) => lm,
        None => bases::smollm2(run)?,
    };
    let all = examples(config, &lm, &pairs, file)?;
    let held = ((all.len() as f64 * own.held_out) as usize).max(2);
    let (train, test) = all.split_at(all.len() - held);
    let given = match own.vector.as_str() {
        "" => None,
        path => Some(Directions::load(Path::new(path), &lm.model)?),
    };
    let at = given.as_ref().map_or_else(|| layer(config, &lm), |given| Ok(given.layer))?;
    let subject = Subject::new(&lm.model, at)?;
    let (train, test_runs) = (Contrast::prepare(&subject, train)?, Contrast::prepare(&subject, test)?);
    let found = match given {
        Some(given) => given,
        None => trained(config, run, &subject, &train)?,
    };
    if !own.save.is_empty() {
        found.save(Path::new(&own.save), &lm.model)?;
    }
    let mut factors = found.factors.clone();
    if own.largest {
        factors.positive.clone_from(&factors.largest);
    }
    let deployed = Deployed::Clamped { basis: found.basis.clone(), factors };
    laws(run, &subject, &test_runs, &deployed, own.m, &lm, test)?;
    let seen = seen(&found, train.iter().chain(&test_runs));
    run.figure("latents", pictures::latents(&[("your pairs", &seen)], &[own.m]))?;
    answers(config, run, &lm, &subject, test, &deployed)
}

fn trained(config: &Config, run: &mut Run, subject: &Subject<'_>, train: &[Contrast]) -> Result<Directions> {
    let stream = run.stream("own pairs");
    let objective = Objective::Match(Divergence::JensenShannon);
    let trained = fit(subject, train, objective, &config.own.training, stream, &mut |share| {
        run.progress(0.8 * share, "training directions on your pairs")
    })?;
    for (step, loss) in (1..).zip(&trained.losses) {
        run.metric("loss", step, f64::from(*loss));
    }
    let mut basis = trained.rows;
    let factors = Factors::gather(&mut basis, train);
    Ok(Directions { layer: subject.layer(), basis, factors })
}

fn seen<'a>(found: &Directions, all: impl Iterator<Item = &'a Contrast>) -> LatentsSeen {
    let head = |z: &[f32]| z.first().map_or(0.0, |z| f64::from(*z));
    let (mut negative, mut positive) = (Vec::new(), Vec::new());
    for contrast in all {
        negative.push(head(&latents(&found.basis, contrast.header(0))));
        positive.push(head(&latents(&found.basis, contrast.header(1))));
    }
    let means = [head(&found.factors.negative), head(&found.factors.positive)];
    LatentsSeen { negative, positive, means, largest: head(&found.factors.largest) }
}

/// Divergences from the contrasting runs on the pairs that were held out.
fn laws(
    run: &mut Run,
    subject: &Subject<'_>,
    test: &[Contrast],
    deployed: &Deployed,
    m: f64,
    lm: &LanguageModel,
    examples: &[Example],
) -> Result<()> {
    let mut table = Table::new(
        "Your pairs: laws of the steered model",
        &[
            "direction",
            "pairs held out",
            "JS unsteered (nats)",
            "JS steered (nats)",
            "recovery",
            "from",
            "to",
        ],
    );
    table.note = "Divergence of the next-token laws from those of the contrasting input, on the same output tokens; recovery 1 is all of the way. Interval: 95 %, over pairs.".to_owned();
    let mut drawn = Vec::new();
    for direction in Direction::BOTH {
        let before = distances(subject, test, direction, &Steering::None)?;
        let after = distances(subject, test, direction, &deployed.steering(direction, m))?;
        let (b, a) = (before.means(), after.means());
        let pick = |all: &[f64], pairs: &[usize]| pairs.iter().map(|i| all[*i]).collect::<Vec<f64>>();
        let (value, [low, high]) = with_interval(
            test.len(),
            |pairs| recovery(&pick(&a, pairs), &pick(&b, pairs)),
            run.stream("own interval"),
        )?;
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
        let mut row: Vec<Cell> = vec![direction.name().into(), Cell::from(test.len() as u64)];
        row.extend([mean(&b), mean(&a), value, low, high].map(Cell::from));
        table.rows.push(row);
        let answer = examples.first().map(|e| &e.answers[direction.source()]);
        let tokens = answer.into_iter().flatten().map(|t| lm.tokenizer.decode_text(&[*t])).collect();
        drawn.push(TokenDistances {
            title: format!("your pairs, {}", direction.name()),
            tokens,
            before: before.tokens.first().cloned().unwrap_or_default(),
            after: after.tokens.first().cloned().unwrap_or_default(),
        });
    }
    run.table(table);
    run.figure("tokens", pictures::tokens(&drawn))
}

/// Answers to the held-out inputs: none, add, remove.
fn answers(
    config: &Config,
    run: &mut Run,
    lm: &LanguageModel,
    subject: &Subject<'_>,
    test: &[Example],
    deployed: &Deployed,
) -> Result<()> {
    let ends: BTreeSet<u32> =
        (0..lm.tokenizer.vocabulary() as u32).filter(|token| lm.tokenizer.is_end(*token)).collect();
    let language = Language {
        decode: &|tokens| lm.tokenizer.decode_text(tokens),
        ends: &|token| ends.contains(&token),
        length: config.own.length,
    };
    let mut table = Table::new(
        "Your pairs: answers",
        &["negative input", "unsteered", "added", "positive input, unsteered", "positive input, removed"],
    );
    let say = |which: usize, steering: &Steering| -> Result<Vec<String>> {
        let prompts: Vec<Tokens> = test.iter().map(|e| e.prompts[which].clone()).collect();
        let all = subject.generate(&prompts, steering, language.ends, language.length).map_err(failed)?;
        Ok(all.iter().map(|answer| language.text(answer)).collect())
    };
    run.progress(0.9, "answers")?;
    let m = config.own.m;
    let columns = [
        say(0, &Steering::None)?,
        say(0, &deployed.steering(Direction::Add, m))?,
        say(1, &Steering::None)?,
        say(1, &deployed.steering(Direction::Remove, m))?,
    ];
    for (i, example) in test.iter().enumerate() {
        let mut row: Vec<Cell> = vec![example.title.as_str().into()];
        row.extend(columns.iter().map(|column| column.get(i).map_or(Cell::Empty, |a| a.trim().into())));
        run.sample(&format!("{} (added)", example.title), columns[1].get(i).map_or("", |a| a.trim()));
        table.rows.push(row);
    }
    run.table(table);
    Ok(())
}

//! Part B: SmolLM2 with concepts that an instruction asks for.

use std::sync::Arc;

use ream_data::vader::Vader;
use ream_lab::{Result, Run, Table};
use ream_lm::LanguageModel;
use ream_lm::chat::{Chat, Message};

use super::concepts::{INSTRUCTIONS, NEUTRAL, SHOWN, Wish, content, wishes};
use super::config::Config;
use super::contrast::Example;
use super::evaluation::Language;
use super::report::{Part, observe, show};
use super::steering::Steering;
use super::study::{Case, CaseSeen, Plan, study};
use super::subject::{Subject, Tokens, failed};
use crate::bases;

/// The prompt of a message, up to the header of the answer.
pub(super) fn prompt(lm: &LanguageModel, message: &str) -> Result<Tokens> {
    match &lm.chat {
        Some(chat) => encode(lm, chat, message),
        None => Ok(lm.encode(message)),
    }
}

fn encode(lm: &LanguageModel, chat: &Chat, message: &str) -> Result<Tokens> {
    chat.encode_prompt(&lm.tokenizer, &[Message::user(message)]).map_err(failed)
}

/// Pairs of a concept: the model's own greedy answers to instructions without and with the concept instruction.
fn examples(
    subject: &Subject<'_>,
    lm: &LanguageModel,
    language: &Language<'_>,
    wish: &Wish,
) -> Result<Vec<Example>> {
    let prompts = |with: bool| -> Result<Vec<Tokens>> {
        INSTRUCTIONS
            .iter()
            .map(|text| {
                let asked = if with { format!("{text} {}", wish.instruction) } else { (*text).to_owned() };
                prompt(lm, &asked)
            })
            .collect()
    };
    let (plain, asked) = (prompts(false)?, prompts(true)?);
    let answer =
        |prompts: &[Tokens]| subject.generate(prompts, &Steering::None, language.ends, language.length);
    let (without, with) = (answer(&plain)?, answer(&asked)?);
    let prompts = plain.into_iter().zip(asked);
    let answers = without.into_iter().zip(with);
    Ok(prompts
        .zip(answers)
        .zip(INSTRUCTIONS)
        .map(|(((p0, p1), (a0, a1)), text)| Example {
            title: text.to_owned(),
            prompts: [p0, p1],
            answers: [a0, a1],
            wanted: [content(text), content(text)],
        })
        .collect())
}

/// All concepts at all layers; claims are about the first layer.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<Vec<CaseSeen>> {
    let lm = bases::smollm2(run)?;
    let vader = Arc::new(Vader::open(&run.data("vader")?)?);
    let wishes = wishes(&vader);
    let layers = &config.large.layers;
    let studies = (layers.len() * wishes.len()) as f64;
    let mut seen = Vec::new();
    for (l, layer) in layers.iter().enumerate() {
        let subject = Subject::new(&lm.model, *layer)?;
        // Methods that are compared on one concept come with the first that is not left out.
        let mut more = true;
        for (i, wish) in wishes.iter().enumerate() {
            let share = |inner: f64| ((l * wishes.len() + i) as f64 + inner) / studies;
            let name = format!("smollm2 {} {layer}", wish.name);
            let asked = Asked { wish, more, judged: l == 0 };
            let case = run.part(&name, |run| concept(config, run, (&lm, &subject), &asked, &share))?;
            more &= case.is_none();
            seen.extend(case);
        }
    }
    for case in &seen {
        show(run, case);
    }
    Ok(seen)
}

/// A concept and what is wanted of it.
struct Asked<'a> {
    wish: &'a Wish,
    /// Whether further methods are compared.
    more: bool,
    /// Whether claims are about it.
    judged: bool,
}

/// One concept; nothing when the prompted answers do not show it often enough.
fn concept(
    config: &Config,
    run: &mut Run,
    (lm, subject): (&LanguageModel, &Subject<'_>),
    asked: &Asked<'_>,
    share: &dyn Fn(f64) -> f64,
) -> Result<Option<CaseSeen>> {
    let (large, wish) = (&config.large, asked.wish);
    run.progress(share(0.0), &format!("{}: answers", wish.title))?;
    let language = Language {
        decode: &|tokens| lm.tokenizer.decode_text(tokens),
        ends: &|token| lm.tokenizer.is_end(token),
        length: large.length,
    };
    let all = examples(subject, lm, &language, wish)?;
    let shows = |which: usize| {
        let of = |e: &&Example| wish.concept.score(&language.text(&e.answers[which])) >= SHOWN;
        all.iter().filter(of).count() as f64 / all.len() as f64
    };
    let shown = [shows(0), shows(1)];
    if asked.judged {
        for (arm, value) in ["unsteered", "prompting"].into_iter().zip(shown) {
            run.observe("shows_concept", arm, &[("case", wish.name.into())], value);
        }
    }
    if shown[1] < large.shown {
        run.warn(format!(
            "{}: only {:.0} % of the answers to the concept instruction show the concept, {:.0} % are needed: the concept is left out",
            wish.title,
            100.0 * shown[1],
            100.0 * large.shown
        ));
        dropped(run, wish, &all, &language);
        return Ok(None);
    }
    let (train, rest) = all.split_at(large.train.min(all.len()));
    let test = &rest[..large.test.min(rest.len())];
    let neutral: Vec<(Tokens, Tokens)> = NEUTRAL
        .iter()
        .map(|text| {
            let tokens = lm.encode(text);
            let (first, others) = tokens.split_at(1.min(tokens.len()));
            (first.to_vec(), others.to_vec())
        })
        .collect();
    let title = format!("{} (after block {})", wish.title, subject.layer());
    let case = Case {
        name: wish.name,
        title: &title,
        train,
        test,
        concept: &wish.concept,
        neutral: &neutral,
        exact_neutral: false,
    };
    let mut methods = large.methods.clone();
    if asked.more {
        methods.extend(&large.more_methods);
    }
    let plan = Plan {
        methods,
        training: &large.training,
        factors: &config.factors,
        searched: config.searched,
        multipliers: &config.multipliers,
    };
    let stream = run.stream(&format!("smollm2 {} {}", wish.name, subject.layer()));
    let seen = study(subject, &language, &case, &plan, stream, &mut |inner, method| {
        run.progress(share(inner), &format!("{title}: {method}"))
    })?;
    if asked.judged {
        observe(run, Part::Large, &seen, stream)?;
    }
    Ok(Some(seen))
}

/// What the answers of a concept that was left out look like.
fn dropped(run: &mut Run, wish: &Wish, all: &[Example], language: &Language<'_>) {
    let mut table = Table::new(
        format!("{}: left out", wish.title),
        &["instruction", "answer when asked for the concept"],
    );
    for example in all.iter().take(5) {
        let answer = language.text(&example.answers[1]);
        table.rows.push(vec![example.title.as_str().into(), answer.trim().into()]);
    }
    run.table(table);
}

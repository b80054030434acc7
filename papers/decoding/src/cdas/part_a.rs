//! Part A: a model trained here on chats whose behaviours are known exactly.

use ream_lab::{Result, Run};
use ream_lm::{SmallLm, Tokenizer};

use super::chats::{Behaviour, Corpus, TextPair};
use super::config::Config;
use super::contrast::Example;
use super::evaluation::Language;
use super::report::{Part, observe, show};
use super::study::{Case, CaseSeen, Plan, study};
use super::subject::{Subject, Tokens, failed};
use crate::bases;

/// Most tokens of an answer.
const LENGTH: usize = 40;

/// Pairs as tokens.
pub(super) fn encode(tokenizer: &Tokenizer, pairs: &[TextPair]) -> Vec<Example> {
    pairs
        .iter()
        .map(|pair| Example {
            title: pair.prompts[0].trim().to_owned(),
            prompts: pair.prompts.each_ref().map(|p| tokenizer.encode(p, false)),
            answers: pair.answers.each_ref().map(|a| tokenizer.encode(a, false)),
            wanted: pair.wanted.clone(),
        })
        .collect()
}

/// The corpus of a seed.
pub(super) fn corpus(config: &Config, seed: u64) -> Corpus {
    Corpus::new(config.small.topics, config.small.noise, ream_rand::Stream::new(seed, "chats"))
}

/// All behaviours, on the model of this seed.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<Vec<CaseSeen>> {
    let corpus = corpus(config, run.seed());
    let lm = bases::trained(
        run,
        "cdas-chats",
        &config.small_model(run.seed()),
        &corpus.texts(config.small.chats),
    )?;
    let mut seen = Vec::new();
    for (i, behaviour) in config.small.behaviours.iter().enumerate() {
        let share = |inner: f64| (i as f64 + inner) / config.small.behaviours.len() as f64;
        seen.push(run.part(&format!("own {}", behaviour.name()), |run| {
            on_model(config, run, &lm, &corpus, *behaviour, &share)
        })?);
    }
    for case in &seen {
        show(run, case);
    }
    Ok(seen)
}

fn on_model(
    config: &Config,
    run: &mut Run,
    lm: &SmallLm,
    corpus: &Corpus,
    behaviour: Behaviour,
    share: &dyn Fn(f64) -> f64,
) -> Result<CaseSeen> {
    let model = lm.llama().map_err(failed)?;
    let tokenizer = Tokenizer::from(&lm.bpe);
    let subject = Subject::new(&model, config.small.layer)?;
    let end = tokenizer.encode("\n", false);
    let language = Language {
        decode: &|tokens| tokenizer.decode_text(tokens),
        ends: &|token| end.contains(&token),
        length: LENGTH,
    };
    let [train, test] = corpus
        .pairs(behaviour, config.small.train, config.small.test)
        .map(|pairs| encode(&tokenizer, &pairs));
    let neutral: Vec<(Tokens, Tokens)> = (0..corpus.topics())
        .map(|topic| corpus.neutral(topic))
        .map(|(p, a)| (tokenizer.encode(p, false), tokenizer.encode(a, false)))
        .collect();
    let concept = behaviour.concept();
    let case = Case {
        name: behaviour.name(),
        title: behaviour.title(),
        train: &train,
        test: &test,
        concept: &concept,
        neutral: &neutral,
        exact_neutral: true,
    };
    let plan = Plan {
        methods: config.small.methods.clone(),
        training: &config.small.training,
        factors: &config.factors,
        searched: config.searched,
        multipliers: &config.multipliers,
    };
    let stream = run.stream(&format!("own {}", behaviour.name()));
    let title = behaviour.title();
    let seen = study(&subject, &language, &case, &plan, stream, &mut |inner, method| {
        run.progress(0.9 * share(inner), &format!("{title}: {method}"))
    })?;
    run.observe(
        "model_accuracy",
        "unsteered",
        &[("case", behaviour.name().into())],
        0.5 * (1.0 - seen.unsteered[0].scores.concept + seen.unsteered[1].scores.concept),
    );
    observe(run, Part::Small, &seen, stream)?;
    Ok(seen)
}

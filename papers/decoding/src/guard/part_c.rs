//! Part C: a large language model whose blocks stay as they are, with an adapter on its final hidden state.

use std::sync::Arc;

use ream_data::vader::Vader;
use ream_lab::{Error, Place, Result, Run};
use ream_lm::LanguageModel;
use ream_lm::chat::{Chat, Message};

use super::adapter::{Adapter, Reader};
use super::config::Config;
use super::constraint::{Condition, Constraint, Witness};
use super::judging::{Arm, Judged, Seen, observe_mean_ratio};
use super::law::{Law, Proposal, Tokens, failed};
use super::part_b::{known, shifted};
use super::sampler::Event;
use super::sampling::{Limits, guarded};
use super::training::{Look, Settings, Task, likelihood, policy_gradient_to_g};
use crate::bases;

/// Samples shown.
const SHOWN: usize = 4;
/// Texts by which it is checked that base and proposal score the same event.
const SAME_EVENT: usize = 64;
/// Compound score from which a single word is pleasant.
const PLEASANT: f64 = 0.5;

/// Tokens that are a word of this kind as a whole, whatever their capitals and the space before them.
fn tokens_of(lm: &LanguageModel, is: impl Fn(&str) -> bool) -> Tokens {
    (0..lm.tokenizer.vocabulary() as u32)
        .filter(|token| is(&lm.tokenizer.decode_text(&[*token]).trim().to_lowercase()))
        .collect()
}

/// What is asked of the model.
struct Wish<'a> {
    name: &'a str,
    title: &'a str,
    condition: Condition,
    /// What stands before a text.
    prompt: Tokens,
    /// What the chat is told.
    instruction: String,
    /// Tokens whose logits are raised, and by how much, so that draws for the warm start satisfy the condition more often.
    tilt: (Tokens, f64),
    /// Where the run stands before and after.
    share: [f64; 2],
}

/// Both conditions.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<Vec<Seen>> {
    let large = &config.large;
    let lm = bases::smollm2(run)?;
    let vader = Arc::new(Vader::open(&run.data("vader")?)?);
    let before = vader.compound(&large.opening);
    if before >= -0.3 {
        run.warn(format!("the story's opening has the compound score {before}, which is not below -0.3"));
    }
    let wishes = [
        Wish {
            name: "lexical",
            title: &format!("SmolLM2, the word “{}”", large.word),
            condition: Condition::word(&large.word),
            prompt: start(&lm)?,
            tilt: (tokens_of(&lm, |text| text == large.word.to_lowercase()), large.word_tilt),
            instruction: format!(
                "Write one sentence that contains the word \"{}\". Write the sentence only.",
                large.word
            ),
            share: [0.0, 0.5],
        },
        Wish {
            name: "sentiment",
            title: "SmolLM2, a story that ends well",
            condition: Condition::sentiment(large.above),
            prompt: lm.encode(&large.opening),
            tilt: (tokens_of(&lm, |text| vader.compound(text) >= PLEASANT), large.sentiment_tilt),
            instruction: format!(
                "Continue this story so that it ends very happily. Write the continuation only. {}",
                large.opening
            ),
            share: [0.5, 1.0],
        },
    ];
    let mut seen = Vec::new();
    for wish in &wishes {
        seen.push(run.part(wish.name, |run| study(config, run, &lm, &vader, wish))?);
    }
    Ok(seen)
}

/// The token that stands where a text begins.
pub(super) fn start(lm: &LanguageModel) -> Result<Tokens> {
    let named = lm.tokenizer.special("<|endoftext|>");
    let token = lm
        .tokenizer
        .begin()
        .or(named)
        .or_else(|| (0..lm.tokenizer.vocabulary() as u32).find(|t| lm.tokenizer.is_end(*t)));
    token
        .map(|t| vec![t])
        .ok_or_else(|| failed("the model has no token that begins or ends a text: give it a prompt"))
}

/// Tokens that end a text: all that stand for no text.
pub(super) fn ends(lm: &LanguageModel) -> Tokens {
    (0..lm.tokenizer.vocabulary() as u32)
        .filter(|token| lm.tokenizer.is_end(*token) || lm.tokenizer.decode(&[*token]).is_empty())
        .collect()
}

/// The instruction as a conversation whose answer begins.
pub(super) fn instructed(lm: &LanguageModel, chat: &Chat, instruction: &str) -> Result<Tokens> {
    chat.encode_prompt(&lm.tokenizer, &[Message::user(instruction)]).map_err(failed)
}

/// A proposal warmed up and trained towards `g`, and the warm start that it came from.
pub(super) struct Trained<'a> {
    pub(super) warm: Adapter<'a>,
    pub(super) guard: Adapter<'a>,
    pub(super) curve: Vec<Look>,
    /// Power to which the warm start's weights were raised.
    pub(super) power: f64,
    /// Draws of the warm start, and those of them that satisfied the condition.
    pub(super) warm_draws: (usize, usize),
}

/// GUARD's recommended route: draws of the base model and of one that helps, reweighted maximum likelihood, distributional policy gradient.
pub(super) fn train<'a>(
    base: &'a Reader<'a>,
    help: Option<&dyn Law>,
    task: &Task<'_>,
    (rank, settings): (usize, &Settings),
    must_be_seen: bool,
    stream: ream_rand::Stream,
    told: super::training::Told<'_>,
) -> Result<Trained<'a>> {
    let all = (settings.draws as f64 * settings.warm) as usize;
    let half = if help.is_some() { all / 2 } else { all };
    let mut laws: Vec<(&dyn Law, usize)> = vec![(base, half)];
    laws.extend(help.map(|help| (help, all - half)));
    let pool = task.gather(&laws, stream.child(0), told)?;
    if must_be_seen && pool.texts.is_empty() {
        return Err(Error::Input(never_seen(half)));
    }
    let warm = Adapter::new(base, rank, stream.child(1))?;
    let power = likelihood(&warm, &pool, task, settings, stream.child(2), told)?;
    let guard = warm.copy()?;
    let draws = settings.draws - all;
    let looks = policy_gradient_to_g(&guard, task, draws, known(&pool), settings, stream.child(3), told)?;
    Ok(Trained { warm, guard, curve: shifted(looks, all), power, warm_draws: (all, pool.texts.len()) })
}

/// The rule of three: an event that did not come in `n` draws has at most the probability `3 / n`, with 95 % confidence.
pub(super) fn never_seen(draws: usize) -> String {
    format!(
        "the condition was never seen in {draws} draws of the model: its probability is at most 3/{draws} = {} (95 % confidence); a larger own.search, an instruction that helps or an easier condition is needed",
        ream_lab::Cell::from(3.0 / draws.max(1) as f64).show()
    )
}

fn study(
    config: &Config,
    run: &mut Run,
    lm: &LanguageModel,
    vader: &Arc<Vader>,
    wish: &Wish<'_>,
) -> Result<Seen> {
    let large = &config.large;
    let constraint = Constraint::new(&wish.condition, Some(Arc::clone(vader)))?;
    let event = Event { prompt: wish.prompt.clone(), length: large.length, ends: ends(lm) };
    let chat = lm.chat.clone().unwrap_or_else(|| Chat::chatml(""));
    let base = Reader::new(&lm.model, &event);
    let cap = Reader::new(&lm.model, &event.after(instructed(lm, &chat, &wish.instruction)?));
    let text = |tokens: &Tokens| String::from_utf8_lossy(&lm.tokenizer.decode(tokens)).into_owned();
    let holds = |tokens: &Tokens| constraint.holds(&text(tokens));
    let task = Task { base: &base, holds: &holds, length: large.length };
    let [begin, end] = wish.share;
    let at_share = |share: f64| begin + share * (end - begin);
    let stream = run.stream(&format!("large {}", wish.name));
    let words = format!("{}: training", wish.title);
    let settings = &large.training;
    let (raised, by) = &wish.tilt;
    let tilt = Adapter::new(&base, large.rank, stream.child(4))?.tilted(raised, *by as f32)?;
    let trained =
        train(&base, Some(&tilt), &task, (large.rank, settings), false, stream.child(0), &mut |share| {
            run.progress(at_share(0.5 * share), &words)
        })?;
    if trained.power < 1.0 {
        run.warn(format!(
            "{}: the weights of the warm start were raised to the power {} so that they are worth {} samples",
            wish.title, trained.power, settings.effective
        ));
    }
    run.progress(at_share(0.5), &format!("{}: judging", wish.title))?;
    let tokens = |draws: usize| draws * large.length;
    let some = (large.judged / 4).max(2);
    let arms = [
        Arm { name: "rejection", law: &base, draws: some, training_tokens: 0 },
        Arm { name: "cap", law: &cap, draws: some, training_tokens: 0 },
        // Most of what is known of g comes from here and from GUARD.
        Arm { name: "tilt", law: &tilt, draws: large.judged, training_tokens: 0 },
        Arm { name: "sft", law: &trained.warm, draws: some, training_tokens: tokens(trained.warm_draws.0) },
        Arm {
            name: "guard",
            law: &trained.guard,
            draws: large.judged,
            training_tokens: tokens(settings.draws),
        },
    ];
    let words = format!("{}: judging", wish.title);
    let judged = Judged::new(&arms, &task, config.resamples, stream.child(1), &mut |share| {
        run.progress(at_share(0.5 + 0.3 * share), &words)
    })?;
    let at = [("part", Place::from("c")), ("constraint", Place::from(wish.name))];
    judged.observe_all(run, wish.title, &at);
    let mut seen = Seen { title: wish.title.to_owned(), ..Seen::default() };
    seen.arms = judged.all_seen();
    seen.curves.push(("guard".to_owned(), trained.curve.clone()));
    let laws = (&base as &dyn Law, &trained.guard as &dyn Law);
    observe_mean_ratio(run, laws, "guard", &at, SAME_EVENT, stream.child(2))?;
    base.forget();

    let limits = Limits { outputs: large.outputs, cap: usize::MAX, most: large.most_draws, batch: 64 };
    let words = format!("{}: outputs", wish.title);
    let found = guarded(&trained.guard, &holds, limits, stream.child(3), &mut |n| {
        run.progress(at_share(0.8 + 0.2 * n as f64 / large.outputs as f64), &words)
    })?;
    let witness = Witness::new(&constraint)?;
    for (tokens, _) in &found.outputs {
        // Decoded again, by the way that streams take.
        let mut stream = lm.tokenizer.stream();
        let mut decoded: String = tokens.iter().map(|token| stream.push(*token)).collect();
        decoded += &stream.finish();
        seen.outputs.1 += usize::from(witness.confirms(&decoded)?);
    }
    seen.outputs.0 = found.outputs.len();
    seen.samples = found.outputs.iter().take(SHOWN).map(|(t, draws)| (text(t), *draws)).collect();
    Ok(seen)
}

//! Part B: a network trained here, all of whose weights are tuned.

use ream_lab::{Place, Result, Run};
use ream_lm::SmallLm;
use serde::Serialize;

use super::config::Config;
use super::constraint::{Condition, Constraint, Witness};
use super::estimates::Pool;
use super::judging::{Arm, At, Judged, Seen, observe_mean_ratio};
use super::law::{Law, Proposal, Tokens, failed};
use super::network::{ForcedWord, Network};
use super::sampler::Event;
use super::sampling::{Limits, guarded};
use super::training::{
    Holds, Look, Settings, Task, likelihood, policy_gradient_on_reward, policy_gradient_to_g,
};
use crate::bases;

/// Tokens of a bin of the places' histograms.
pub(super) const BIN: usize = 4;
/// Longest verse that is shown to the network as a prompt, in bytes.
const LONGEST_VERSE: usize = 150;
/// Draws for each wanted output after which the guarded sampler stops with those it has.
const PATIENCE: usize = 100;
/// Samples shown.
const SHOWN: usize = 4;

/// The network, its texts, and what it says unasked.
struct Base<'a> {
    config: &'a Config,
    lm: &'a SmallLm,
    network: Network,
    verses: &'a [String],
    /// The long rejection run.
    unasked: Vec<Tokens>,
}

/// Both conditions.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<Vec<Seen>> {
    let lm = bases::small_base(run, &config.base())?;
    let texts = bases::kjv(run)?.training;
    on_base(config, run, &lm, &texts)
}

/// Both conditions, on a network that is there.
pub(super) fn on_base(config: &Config, run: &mut Run, lm: &SmallLm, texts: &[String]) -> Result<Vec<Seen>> {
    let small = &config.small;
    let start = lm.bpe.encode("\n");
    let event = Event { prompt: start, length: small.length, ends: Vec::new() };
    let network = Network::new(&lm.model, &event);
    let verses: Vec<String> = texts.iter().flat_map(|chapter| chapter.lines().map(str::to_owned)).collect();
    let word = choose_word(config, run, lm, &network)?;
    let unasked = run.part("rejection", |run| draw_unasked(run, &network, small.rejection))?;
    let base = Base { config, lm, network, verses: &verses, unasked };
    let mut seen = Vec::new();
    for (name, condition) in [("word", Condition::word(&word)), ("regex", Condition::pattern(&small.regex))] {
        let title = match name {
            "word" => format!("Own model, the word “{word}”"),
            _ => "Own model, a regular expression".to_owned(),
        };
        seen.push(run.part(name, |run| base.study(run, name, &title, &condition))?);
    }
    Ok(seen)
}

fn draw_unasked(run: &mut Run, network: &Network, n: usize) -> Result<Vec<Tokens>> {
    const PIECE: usize = 2048;
    let stream = run.stream("rejection");
    let mut texts = Vec::with_capacity(n);
    for piece in 0..n.div_ceil(PIECE) {
        run.progress(0.02 + 0.1 * texts.len() as f64 / n as f64, "own model: long rejection run")?;
        texts.extend(network.draw(PIECE.min(n - texts.len()), stream.child(piece as u64))?);
    }
    Ok(texts)
}

/// What decides the choice of the word.
#[derive(Serialize)]
struct Choice<'a> {
    base: ream_lm::SmallConfig,
    words: &'a [String],
    rate: f64,
    draws: usize,
    length: usize,
    seed: u64,
}

/// The word whose natural rate is closest to the wanted one on a logarithmic scale. The same for all seeds: it is measured on a tuning seed.
fn choose_word(config: &Config, run: &mut Run, lm: &SmallLm, network: &Network) -> Result<String> {
    let small = &config.small;
    let seed = run.tuning_seed(0);
    let inputs = Choice {
        base: config.base(),
        words: &small.words,
        rate: small.rate,
        draws: small.rate_draws,
        length: small.length,
        seed,
    };
    let rates: Vec<f64> = run.artefact("guard-word-rates", &inputs, |run| {
        run.progress(0.01, "own model: natural rates of the words")?;
        let texts = network.draw(small.rate_draws, ream_rand::Stream::new(seed, "words"))?;
        let rate = |word: &String| {
            let constraint = Constraint::new(&Condition::word(word), None)?;
            let found = texts.iter().filter(|t| constraint.word_at(&lm.bpe.decode_text(t)).is_some()).count();
            Ok(found as f64 / texts.len() as f64)
        };
        small.words.iter().map(rate).collect()
    })?;
    let mut table = ream_lab::Table::new("Own model: natural rates of the words", &["word", "rate"]);
    table.note = format!("Shares of {} texts, drawn on a seed for tuning.", small.rate_draws);
    table.rows = small.words.iter().zip(&rates).map(|(w, r)| vec![w.as_str().into(), (*r).into()]).collect();
    run.table(table);
    // A word that never came counts as seen in half a text.
    let half = 0.5 / small.rate_draws as f64;
    let off = |rate: f64| libm::log(rate.max(half) / small.rate).abs();
    let best = small.words.iter().zip(&rates).min_by(|a, b| off(*a.1).total_cmp(&off(*b.1)));
    best.map(|(word, _)| word.clone()).ok_or_else(|| failed("there is no word to choose"))
}

/// Trained proposals with their learning curves.
struct Trained {
    sft: Network,
    dpg: Network,
    ppo: Network,
    guard: Network,
    curves: Vec<(String, Vec<Look>)>,
}

impl Base<'_> {
    fn text(&self, tokens: &Tokens) -> String {
        self.lm.bpe.decode_text(tokens)
    }

    /// Constraint-aware prompting: the network after the shortest verse of the training text that satisfies the condition.
    fn prompted(&self, constraint: &Constraint) -> Result<Network> {
        let mut best: Option<&String> = None;
        for verse in self.verses.iter().filter(|verse| verse.len() <= LONGEST_VERSE) {
            if best.is_none_or(|best| verse.len() < best.len()) && constraint.holds(verse)? {
                best = Some(verse);
            }
        }
        best.map(|verse| self.network.after(self.lm.bpe.encode(format!("\n{verse}\n"))))
            .ok_or_else(|| failed("no short verse of the training text satisfies the condition"))
    }

    fn study(&self, run: &mut Run, name: &str, title: &str, condition: &Condition) -> Result<Seen> {
        let small = &self.config.small;
        let constraint = Constraint::new(condition, None)?;
        let cap = self.prompted(&constraint)?;
        let holds = |tokens: &Tokens| constraint.holds(&self.text(tokens));
        let task = Task { base: &self.network, holds: &holds, length: small.length };
        let trained = self.train(run, name, title, &task, &cap)?;
        let (begin, end) = if name == "word" { (0.35, 0.5) } else { (0.8, 0.95) };
        run.progress(begin, &format!("{title}: judging"))?;
        let tokens = small.training.draws * small.length;
        let judged = [
            Arm { name: "cap", law: &cap, draws: small.judged, training_tokens: 0 },
            Arm { name: "sft", law: &trained.sft, draws: small.judged, training_tokens: tokens },
            Arm { name: "dpg", law: &trained.dpg, draws: small.judged, training_tokens: tokens },
            Arm { name: "ppo", law: &trained.ppo, draws: small.judged, training_tokens: tokens },
            Arm { name: "guard", law: &trained.guard, draws: small.judged, training_tokens: tokens },
        ];
        let unasked =
            Arm { name: "rejection", law: &self.network, draws: self.unasked.len(), training_tokens: 0 };
        let forced = self.forced(condition);
        let pool = self.pool(run, &task, &unasked, &judged, name)?;
        let mut arms = vec![unasked];
        arms.extend(judged);
        let stream = run.stream(&format!("judging {name}"));
        let judged = Judged::of(&arms, pool, self.config.resamples, stream);
        let at = [("part", Place::from("b")), ("constraint", Place::from(name))];
        judged.observe_all(run, title, &at);
        judged.observe_leads(run, &at);
        let mut seen = Seen { title: title.to_owned(), curves: trained.curves, ..Seen::default() };
        seen.arms = judged.all_seen();
        let bins: Vec<usize> = judged.pool.texts.iter().map(|t| self.bin(&constraint, t)).collect();
        judged.observe_places(run, &at, &bins, small.length.div_ceil(BIN), &mut seen);
        if let Some(forced) = &forced {
            self.observe_forced(run, &at, &judged, forced, (&constraint, &bins), &mut seen)?;
        }
        let laws = (&self.network as &dyn Law, &trained.guard as &dyn Law);
        let stream = run.stream(&format!("same event {name}"));
        observe_mean_ratio(run, laws, "guard", &at, small.judged, stream)?;
        self.outputs(run, &trained.guard, (&constraint, &holds), (name, end), &mut seen)?;
        Ok(seen)
    }

    /// Where the mark stands: the bin of the token in which it begins.
    fn bin(&self, constraint: &Constraint, text: &Tokens) -> usize {
        let Some(place) = constraint.place(&self.text(text)) else { return 0 };
        let mut bytes = 0;
        let token = text.iter().position(|token| {
            bytes += self.lm.bpe.bytes_of(*token).map_or(0, <[u8]>::len);
            bytes > place
        });
        token.unwrap_or(0) / BIN
    }

    fn forced(&self, condition: &Condition) -> Option<ForcedWord> {
        let word = condition.words.first()?;
        Some(ForcedWord::new(&self.network, self.lm.bpe.encode(format!(" {word}"))))
    }

    fn train(
        &self,
        run: &mut Run,
        name: &str,
        title: &str,
        task: &Task<'_>,
        cap: &Network,
    ) -> Result<Trained> {
        let settings: &Settings = &self.config.small.training;
        let stream = run.stream(&format!("training {name}"));
        let from = if name == "word" { 0.12 } else { 0.52 };
        let mut step = 0.0;
        let mut part =
            |run: &mut Run, what: &str, work: &mut dyn FnMut(super::training::Told<'_>) -> Result<()>| {
                let words = format!("{title}: {what}");
                let begin = from + 0.04 * step;
                step += 1.0;
                work(&mut |share: f64| run.progress(begin + 0.04 * share, &words))
            };
        let warm_draws = (settings.draws as f64 * settings.warm) as usize;
        let (mut warm, mut whole) = (Pool::default(), Pool::default());
        part(run, "draws for the warm start", &mut |told| {
            let (base, cap) = (&self.network as &dyn Law, cap as &dyn Law);
            warm = task.gather(
                &[(base, warm_draws / 2), (cap, warm_draws - warm_draws / 2)],
                stream.child(0),
                told,
            )?;
            let rest = settings.draws - warm_draws;
            let more = task.gather(&[(base, rest / 2), (cap, rest - rest / 2)], stream.child(1), told)?;
            whole = joined(&warm, &more);
            Ok(())
        })?;
        let (sft, guard, dpg) = (self.network.copy()?, self.network.copy()?, self.network.copy()?);
        let mut powers = [1.0; 2];
        part(run, "maximum likelihood", &mut |told| {
            powers[0] = likelihood(&sft, &whole, task, settings, stream.child(2), told)?;
            powers[1] = likelihood(&guard, &warm, task, settings, stream.child(3), told)?;
            Ok(())
        })?;
        for (method, power) in ["SFT", "the warm start"].iter().zip(powers).filter(|(_, power)| *power < 1.0)
        {
            run.warn(format!("{title}: the weights of {method} were raised to the power {power} so that they are worth {} samples", settings.effective));
        }
        let ppo = guard.copy()?;
        let mut curves = Vec::new();
        part(run, "distributional policy gradient after the warm start", &mut |told| {
            let draws = settings.draws - warm_draws;
            let known = known(&warm);
            let looks = policy_gradient_to_g(&guard, task, draws, known, settings, stream.child(4), told)?;
            curves.push(("guard".to_owned(), shifted(looks, warm_draws)));
            Ok(())
        })?;
        part(run, "distributional policy gradient from the base model", &mut |told| {
            let looks = policy_gradient_to_g(
                &dpg,
                task,
                settings.draws,
                (0.0, 0.0),
                settings,
                stream.child(5),
                told,
            )?;
            curves.push(("dpg".to_owned(), looks));
            Ok(())
        })?;
        part(run, "policy gradient on the reward", &mut |told| {
            let draws = settings.draws - warm_draws;
            let looks = policy_gradient_on_reward(&ppo, task, draws, settings, stream.child(6), told)?;
            curves.push(("ppo".to_owned(), shifted(looks, warm_draws)));
            Ok(())
        })?;
        Ok(Trained { sft, dpg, ppo, guard, curves })
    }

    /// The long rejection run and fresh draws of the proposals as one pool.
    fn pool(
        &self,
        run: &mut Run,
        task: &Task<'_>,
        unasked: &Arm<'_>,
        arms: &[Arm<'_>],
        name: &str,
    ) -> Result<Pool> {
        let mut pool = Pool { drawn: vec![unasked.draws], ..Pool::default() };
        let stream = run.stream(&format!("fresh draws {name}"));
        for text in &self.unasked {
            if (task.holds)(text)? {
                pool.of.push(0);
                pool.texts.push(text.clone());
            }
        }
        for (k, arm) in arms.iter().enumerate() {
            pool.drawn.push(arm.draws);
            for text in arm.law.draw(arm.draws, stream.child(k as u64))? {
                if (task.holds)(&text)? {
                    pool.of.push(k + 1);
                    pool.texts.push(text);
                }
            }
        }
        pool.log_p = task.base.score(&pool.texts)?;
        pool.log_q = vec![pool.log_p.clone()];
        for arm in arms {
            pool.log_q.push(arm.law.score(&pool.texts)?);
        }
        Ok(pool)
    }

    /// Forced-word decoding. It cannot write all texts that have the word, so its divergence from `g` is infinite; what is observed is the
    /// divergence of the part of `g` that it can write, which is less.
    fn observe_forced(
        &self,
        run: &mut Run,
        at: At<'_>,
        judged: &Judged,
        forced: &ForcedWord,
        (constraint, bins): (&Constraint, &[usize]),
        seen: &mut Seen,
    ) -> Result<()> {
        let small = &self.config.small;
        let texts = forced.draw(small.forced, run.stream("forced words"))?;
        let own: Vec<usize> = texts.iter().map(|text| self.bin(constraint, text)).collect();
        // A letter may follow the word, or another token may make it longer: such texts are not its outputs either.
        let mut satisfied = 0;
        for text in &texts {
            satisfied += usize::from(constraint.holds(&self.text(text))?);
        }
        run.observe("acceptance", "forced", at, satisfied as f64 / texts.len() as f64);
        let scores = forced.score(&judged.pool.texts)?;
        judged.observe_written(run, at, "forced", &scores);
        judged.observe_written_places(run, at, "forced", (bins, &own), small.length.div_ceil(BIN), seen);
        Ok(())
    }

    /// Outputs of the guarded sampler, each looked at by the second matcher after decoding.
    fn outputs(
        &self,
        run: &mut Run,
        law: &Network,
        (constraint, holds): (&Constraint, Holds<'_>),
        (name, share): (&str, f64),
        seen: &mut Seen,
    ) -> Result<()> {
        let wanted = self.config.small.outputs;
        let limits =
            Limits { outputs: wanted, cap: usize::MAX, most: wanted.saturating_mul(PATIENCE), batch: 256 };
        let stream = run.stream(&format!("outputs {name}"));
        let words = format!("{}: outputs", seen.title);
        let found = guarded(law, holds, limits, stream, &mut |_| run.progress(share, &words))?;
        let witness = Witness::new(constraint)?;
        for (tokens, _) in &found.outputs {
            seen.outputs.1 += usize::from(witness.confirms(&self.text(tokens))?);
        }
        seen.outputs.0 = found.outputs.len();
        seen.samples =
            found.outputs.iter().take(SHOWN).map(|(tokens, draws)| (self.text(tokens), *draws)).collect();
        Ok(())
    }
}

/// What a pool says of `Z`: the sum of its weights, and its draws.
pub(super) fn known(pool: &Pool) -> (f64, f64) {
    let sum = pool.log_weights(|_| true).iter().map(|w| libm::exp(*w)).sum();
    (sum, pool.all_drawn() as f64)
}

/// Two pools of the same laws.
fn joined(a: &Pool, b: &Pool) -> Pool {
    Pool {
        drawn: a.drawn.iter().zip(&b.drawn).map(|(a, b)| a + b).collect(),
        of: [a.of.clone(), b.of.clone()].concat(),
        texts: [a.texts.clone(), b.texts.clone()].concat(),
        log_p: [a.log_p.clone(), b.log_p.clone()].concat(),
        log_q: a.log_q.iter().zip(&b.log_q).map(|(a, b)| [a.clone(), b.clone()].concat()).collect(),
    }
}

/// Looks of a training that began after so many draws.
pub(super) fn shifted(looks: Vec<Look>, by: usize) -> Vec<Look> {
    looks.into_iter().map(|look| Look { draws: look.draws + by as f64, ..look }).collect()
}

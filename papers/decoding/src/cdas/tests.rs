use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ream_lab::Observation;
use ream_lm::llama::Model;
use ream_lm::{SmallConfig, SmallLm};
use ream_nn::models::Decoder;
use ream_nn::simd::dot;
use ream_nn::{Init, Module, Tensor, no_grad};
use ream_rand::Stream;

use super::contrast::{Contrast, Direction, Example, Factors, difference_of_means, probe, random_basis};
use super::divergence::Divergence;
use super::evaluation::{distances, recovery};
use super::steering::{Steering, latents, orthonormalise};
use super::study::Method;
use super::subject::{Packed, Reference, Subject, Tokens};
use super::training::{Objective, Settings, addition, fit, interchange, loss};
use super::*;

/// An untrained model whose weights are large enough for its laws to differ.
fn model() -> Model {
    let config = SmallConfig { d: 32, layers: 3, heads: 2, context: 48, ..SmallConfig::default() };
    let decoder = Decoder::new(&Init::new(4), &config.network(40)).unwrap();
    decoder.params().iter().for_each(|p| p.update(|x| x.iter_mut().for_each(|x| *x *= 3.0)));
    Model::from_decoder(&decoder).unwrap()
}

/// Token 39 in the prompt is the concept; prompts are of different lengths.
fn examples(n: u32) -> Vec<Example> {
    (0..n)
        .map(|i| Example {
            title: i.to_string(),
            prompts: [vec![1, 2 + i % 20, 5, 7], vec![1, 2 + i % 20, 39, 5, 7]],
            answers: [vec![3 + i % 9, 11, 12], vec![20 + i % 9, 21, 22, 23]],
            wanted: [Vec::new(), Vec::new()],
        })
        .collect()
}

fn settings() -> Settings {
    Settings { steps: 30, batch: 4, rate: 0.05, additive_rate: 0.05, rank: 1, beta: 2.0, margin: 1.0 }
}

/// With the base as its own source the interchange changes nothing where it is read, and clamping each token to its own latent nothing at all.
#[test]
fn interchange_with_itself_is_the_identity_where_it_reads() {
    let model = model();
    let subject = Subject::new(&model, 2).unwrap();
    let contrasts = Contrast::prepare(&subject, &examples(2)).unwrap();
    let run = contrasts[0].base(Direction::Add);
    let packed = Packed::new(&[run]).unwrap();
    let basis = random_basis(1, 32, Stream::new(1, "v"));
    let v = Tensor::from_vec(basis.clone(), &[1, 32]).unwrap();
    // A text of one token behind the first, which is its own source.
    let row = |i: usize| run.states[i * 32..(i + 1) * 32].to_vec();
    let header = run.first;
    let two = Tensor::from_vec([row(0), row(header)].concat(), &[1, 2, 32]).unwrap();
    let source = Tensor::from_vec(row(header), &[1, 32]).unwrap();
    let moved = interchange(&two, &source, &v).unwrap();
    // Relative to the largest element, which is far above 1 in this model.
    let largest = run.states.iter().map(|x| x.abs()).fold(1.0, f32::max);
    let worst = moved.data().iter().zip(two.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5 * largest, "{worst}");
    // Another source: the first token stays, elsewhere only the component along v moves, to the source's.
    let other = contrasts[1].source(Direction::Add).header();
    let source = Tensor::from_vec(other.to_vec(), &[1, 32]).unwrap();
    let moved = interchange(&packed.states, &source, &v).unwrap();
    assert_eq!(moved.data()[..32], packed.states.data()[..32]);
    for (i, (after, before)) in
        moved.data().chunks_exact(32).zip(run.states.chunks_exact(32)).enumerate().skip(1)
    {
        assert!((dot(&basis, after) - dot(&basis, other)).abs() < 1e-4, "{i}");
        let across = |h: &[f32]| {
            let z = dot(&basis, h);
            h.iter().zip(&basis).map(|(h, v)| h - z * v).collect::<Vec<f32>>()
        };
        let worst = across(after).iter().zip(across(before)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-5 * largest, "{worst}");
    }
}

/// The intervention on numbers, which generation uses, is the one that is trained.
#[test]
fn clamping_on_numbers_is_the_interchange_with_that_latent() {
    let model = model();
    let subject = Subject::new(&model, 1).unwrap();
    let contrasts = Contrast::prepare(&subject, &examples(2)).unwrap();
    for rank in [1, 3] {
        let basis = random_basis(rank, 32, Stream::new(2, "v"));
        let header = contrasts[1].source(Direction::Add).header();
        let clamp = Steering::Clamp { basis: basis.clone(), targets: latents(&basis, header) };
        let run = contrasts[0].base(Direction::Add);
        let v = Tensor::from_vec(basis, &[rank, 32]).unwrap();
        let source = Tensor::from_vec(header.to_vec(), &[1, 32]).unwrap();
        let moved = interchange(&Packed::new(&[run]).unwrap().states, &source, &v).unwrap();
        let numbers = run.steered(&clamp).states;
        let worst = moved.data().iter().zip(&numbers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "{worst}");
    }
    let vector = vec![0.5; 32];
    let run = contrasts[0].base(Direction::Add);
    let added = addition(
        &Packed::new(&[run]).unwrap().states,
        &Tensor::from_vec(vector.clone(), &[32]).unwrap(),
        &[-1.0],
    )
    .unwrap();
    let minus: Vec<f32> = vector.iter().map(|a| -a).collect();
    assert_eq!(added.to_vec(), run.steered(&Steering::Add { vector: minus }).states);
}

/// Laws are compared at the rows that predict the same answer tokens, although the prompts have other lengths: the source run's laws are those of the
/// whole model on its own text, and a shift by one row would show.
#[test]
fn both_runs_are_compared_on_the_same_answer_tokens() {
    let model = model();
    let subject = Subject::new(&model, 2).unwrap();
    let all = examples(3);
    let contrasts = Contrast::prepare(&subject, &all).unwrap();
    for (example, contrast) in all.iter().zip(&contrasts) {
        for direction in Direction::BOTH {
            let (base, source) = (contrast.base(direction), contrast.source(direction));
            assert_eq!(base.answer, source.answer);
            assert_ne!(base.first, source.first);
            let which = direction.source();
            let text: Tokens =
                example.prompts[which].iter().chain(&example.answers[which]).copied().collect();
            let scores = model.score(&text).unwrap();
            let logits = subject.head(contrast.law(direction)).unwrap();
            for (t, token) in source.answer.iter().enumerate() {
                let row = &logits.data()[t * 40..(t + 1) * 40];
                let want = scores[example.prompts[which].len() - 1 + t];
                let got = ream_lm::log_probability(row, *token);
                assert!((got - want).abs() < 1e-3, "{t}: {got} {want}");
                if t > 0 {
                    let shifted = ream_lm::log_probability(&logits.data()[(t - 1) * 40..t * 40], *token);
                    assert!((shifted - want).abs() > 1e-3);
                }
            }
        }
    }
    // Base and source the same run: nothing is left to match.
    let own: Vec<&subject::TextRun> = contrasts.iter().map(|c| c.source(Direction::Add)).collect();
    let hidden = subject.answers_hidden(&own).unwrap();
    for (hidden, contrast) in hidden.iter().zip(&contrasts) {
        let worst = hidden.data().iter().zip(contrast.law(Direction::Add).data());
        assert!(worst.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-5);
    }
}

fn both(contrasts: &[Contrast]) -> Vec<(&Contrast, Direction)> {
    contrasts.iter().flat_map(|c| Direction::BOTH.map(|d| (c, d))).collect()
}

/// Gradients of every objective against finite differences along three random directions.
#[test]
fn gradients_are_those_of_finite_differences_along_random_directions() {
    let model = model();
    let subject = Subject::new(&model, 1).unwrap();
    let contrasts = Contrast::prepare(&subject, &examples(2)).unwrap();
    let settings = settings();
    for objective in [
        Objective::Match(Divergence::JensenShannon),
        Objective::Match(Divergence::Forward),
        Objective::Match(Divergence::Reverse),
        Objective::Answer,
        Objective::Prefer,
        Objective::AddedAnswer,
        Objective::AddedPrefer,
    ] {
        let first = random_basis(1, 32, Stream::new(3, "v"));
        let shape: &[usize] = if objective.adds() { &[32] } else { &[1, 32] };
        let of = |v: &[f32]| -> f64 {
            let param = Tensor::from_vec(v.to_vec(), shape).unwrap();
            let value = no_grad(|| loss(&subject, &settings, objective, both(&contrasts), &param)).unwrap();
            f64::from(value.item().unwrap())
        };
        let param = Tensor::from_vec(first.clone(), shape).unwrap().watched();
        let value = loss(&subject, &settings, objective, both(&contrasts), &param).unwrap();
        let gradients = value.backward().unwrap();
        let gradient = gradients.of(&param).unwrap().to_vec();
        let norm = dot(&gradient, &gradient).sqrt();
        assert!(norm > 1e-3, "{objective:?}: {norm}");
        for k in 0..3 {
            // Mostly along the gradient, so that the difference is larger than rounding.
            let noise = random_basis(1, 32, Stream::new(10 + k, "direction"));
            let mut along: Vec<f32> = gradient.iter().zip(&noise).map(|(g, n)| g / norm + n).collect();
            orthonormalise(&mut along, 32);
            let h = 0.003;
            let moved = |by: f32| first.iter().zip(&along).map(|(v, a)| v + by * a).collect::<Vec<f32>>();
            let slope = (8.0 * (of(&moved(h)) - of(&moved(-h)))
                - (of(&moved(2.0 * h)) - of(&moved(-2.0 * h))))
                / f64::from(12.0 * h);
            let wanted = f64::from(dot(&gradient, &along));
            assert!(
                (slope - wanted).abs() <= 1e-2 * wanted.abs() + 1e-5,
                "{objective:?} {k}: {slope} {wanted}"
            );
        }
    }
}

/// Training lowers the loss, keeps directions of norm 1, and is the same to the bit for the same stream.
#[test]
fn trainings_lower_their_loss_and_directions_keep_their_norm() {
    let model = model();
    let subject = Subject::new(&model, 1).unwrap();
    let contrasts = Contrast::prepare(&subject, &examples(8)).unwrap();
    for method in Method::ALL {
        let Some(objective) = method.objective() else { continue };
        let settings = Settings { rank: if method == Method::Cdas { 2 } else { 1 }, ..settings() };
        let train = || {
            fit(&subject, &contrasts, objective, &settings, Stream::new(1, "fit"), &mut |_| Ok(())).unwrap()
        };
        let trained = train();
        assert_eq!(trained, train());
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (begin, end) = (mean(&trained.losses[..5]), mean(&trained.losses[25..]));
        assert!(end < begin, "{method:?}: {begin} to {end}");
        if !objective.adds() {
            for (i, a) in trained.rows.chunks_exact(32).enumerate() {
                for (j, b) in trained.rows.chunks_exact(32).enumerate() {
                    assert!((dot(a, b) - if i == j { 1.0 } else { 0.0 }).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn steering_in_cached_decoding_gives_the_tokens_of_full_recomputation() {
    let model = model();
    let subject = Subject::new(&model, 2).unwrap();
    let prompts: Vec<Tokens> = examples(5).iter().flat_map(|e| e.prompts.clone()).collect();
    let basis = random_basis(1, 32, Stream::new(5, "v"));
    let ends = |token: u32| token == 0;
    let mut differ = 0;
    for steering in [
        Steering::None,
        Steering::Clamp { basis: basis.clone(), targets: vec![6.0] },
        Steering::Add { vector: basis.iter().map(|v| 4.0 * v).collect() },
    ] {
        let cached = subject.generate(&prompts, &steering, &ends, 12).unwrap();
        for (prompt, answer) in prompts.iter().zip(&cached) {
            let mut text = prompt.clone();
            for token in answer {
                // One token after the whole text, without a cache of earlier steps.
                let next = subject.generate(&[text.clone()], &steering, &ends, 1).unwrap();
                assert_eq!(next[0], [*token]);
                text.push(*token);
            }
            // The scores are of the same steered model.
            let scores = subject.score(&[(prompt, answer)], &steering).unwrap();
            assert!(scores[0].iter().all(|s| s.is_finite() && *s <= 0.0));
        }
        differ += usize::from(cached != subject.generate(&prompts, &Steering::None, &ends, 12).unwrap());
    }
    assert_eq!(differ, 2, "both interventions change what is said");
}

#[test]
fn references_score_as_the_model_does() {
    let model = model();
    let all = examples(4);
    let prompts: Vec<Tokens> = all.iter().map(|e| e.prompts[0].clone()).collect();
    let answers: Vec<Tokens> = all.iter().map(|e| e.answers[1].clone()).collect();
    let scores = Reference::new(&model, &prompts).unwrap().score(&answers).unwrap();
    for ((prompt, answer), score) in prompts.iter().zip(&answers).zip(&scores) {
        let text: Tokens = prompt.iter().chain(answer).copied().collect();
        let want: f32 = model.score(&text).unwrap()[prompt.len() - 1..].iter().sum();
        assert!((score - f64::from(want) / answer.len() as f64).abs() < 1e-5);
    }
}

#[test]
fn factors_are_read_from_training_prompts_and_recovery_is_1_at_the_law() {
    let model = model();
    let subject = Subject::new(&model, 1).unwrap();
    let contrasts = Contrast::prepare(&subject, &examples(8)).unwrap();
    for direction in
        [difference_of_means(&contrasts), probe(&contrasts), random_basis(1, 32, Stream::new(7, "v"))]
    {
        let mut basis = direction;
        orthonormalise(&mut basis, 32);
        basis.iter_mut().for_each(|x| *x = -*x);
        let factors = Factors::gather(&mut basis, &contrasts);
        assert!(factors.positive[0] >= factors.negative[0] && factors.largest[0] >= factors.positive[0]);
        let mean = contrasts.iter().map(|c| latents(&basis, c.header(1))[0]).sum::<f32>() / 8.0;
        assert!((factors.positive[0] - mean).abs() < 1e-4 * mean.abs().max(1.0));
        assert_eq!(factors.targets(Direction::Add, 2.0), [2.0 * factors.positive[0]]);
        assert_eq!(factors.targets(Direction::Remove, 2.0), factors.negative);
    }
    let before = distances(&subject, &contrasts, Direction::Add, &Steering::None).unwrap().means();
    assert!(before.iter().all(|js| *js > 0.0 && *js <= std::f64::consts::LN_2 + 1e-6));
    assert_eq!(recovery(&before, &before), 0.0);
    assert_eq!(recovery(&vec![0.0; before.len()], &before), 1.0);
}

#[test]
fn cuts_that_are_not_there_are_refused() {
    let model = model();
    for layer in [0, 4] {
        let error = Subject::new(&model, layer).unwrap_err().to_string();
        assert!(error.contains("layer: wanted between 1 and 3"), "{error}");
    }
}

/// What is found depends on the training pairs alone: not on the pairs that are measured, and, where no factor is searched for, not on any score.
#[test]
fn test_pairs_and_scores_do_not_reach_the_training() {
    let model = model();
    let subject = Subject::new(&model, 1).unwrap();
    let language = evaluation::Language {
        decode: &|tokens| tokens.iter().map(|t| format!("w{t} ")).collect(),
        ends: &|token| token == 0,
        length: 6,
    };
    let all = examples(14);
    let settings = settings();
    let plan = study::Plan {
        methods: vec![Method::Cdas, Method::Das, Method::Pdas, Method::Diffmean],
        training: &Settings { steps: 4, ..settings },
        factors: &[1.0, 2.0],
        searched: 2,
        multipliers: &[1.0],
    };
    let found = |test: &[Example], word: &str| -> Vec<study::Deployed> {
        let concept = scoring::Concept::Phrase(word.to_owned());
        let case = study::Case {
            name: "case",
            title: "case",
            train: &all[..8],
            test,
            concept: &concept,
            neutral: &[],
            exact_neutral: false,
        };
        let stream = Stream::new(1, "study");
        let seen = study::study(&subject, &language, &case, &plan, stream, &mut |_, _| Ok(())).unwrap();
        assert_eq!(seen.arms.iter().map(|arm| arm.searches).collect::<Vec<_>>(), [0, 0, 0, 2]);
        seen.arms.into_iter().map(|arm| arm.deployed).collect()
    };
    let one = found(&all[8..11], "w3");
    assert_eq!(one, found(&all[11..], "w3"));
    assert_eq!(one[..3], found(&all[8..11], "w5")[..3]);
}

/// A configuration of seconds that goes through all of part A.
fn tiny() -> Config {
    let mut config = Config::preset(Preset::Smoke);
    config.small.tokens = 60_000;
    config.small.merges = 150;
    config.small.d = 32;
    config.small.topics = 9;
    config.small.chats = 800;
    config.small.train = 8;
    config.small.test = 3;
    config.small.behaviours =
        vec![chats::Behaviour::Style, chats::Behaviour::Refusal, chats::Behaviour::Backdoor];
    config.small.methods = Method::ALL.to_vec();
    config.small.training.steps = 6;
    config.small.training.batch = 2;
    config.factors = vec![1.0, 2.0];
    config.searched = 2;
    config
}

fn seen() -> &'static (Vec<Observation>, BTreeSet<String>, usize) {
    static SEEN: OnceLock<(Vec<Observation>, BTreeSet<String>, usize)> = OnceLock::new();
    SEEN.get_or_init(|| {
        let mut run = Run::in_memory(1);
        let config = tiny();
        let seen = part_a::run(&config, &mut run).unwrap();
        pictures::draw(&mut run, &seen, &config.multipliers).unwrap();
        // The same numbers as if they came from the large model: its measures go the same way.
        for case in &seen {
            report::observe(&mut run, report::Part::Large, case, Stream::new(1, "interval")).unwrap();
        }
        let names = run.figures().iter().map(|(name, _)| name.clone()).collect();
        (run.observations(), names, run.tables().len())
    })
}

fn paper() -> ream_paper::Paper {
    ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap()
}

#[test]
fn every_measure_is_declared_and_every_term_observed() {
    let (paper, (observed, figures, tables)) = (paper(), seen());
    for o in observed {
        assert!(paper.measure(&o.measure).is_some() && o.value.is_finite(), "{o}");
    }
    for measure in paper.measures.iter().filter(|m| m.id != "shows_concept") {
        assert!(observed.iter().any(|o| o.measure == measure.id), "{}", measure.id);
        assert!(
            SMALL.contains(&measure.id.as_str()) || REAL.contains(&measure.id.as_str()),
            "{}",
            measure.id
        );
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
    for name in ["tokens", "latents", "plane"] {
        assert!(figures.contains(name), "{name}");
    }
    assert_eq!(*tables, 6);
}

/// The tiny model learns no backdoor, and a share of nothing says nothing.
fn with_backdoor(mut o: Observation) -> Observation {
    if o.measure == "trigger_rate" && o.arm == "unsteered" {
        o.value = 1.0;
    }
    o
}

/// Without the large model the claims that need it are not tested; the others are.
#[test]
fn claims_without_their_part_are_not_tested() {
    let small: Vec<Observation> =
        seen().0.iter().filter(|o| !o.measure.ends_with("_real")).cloned().map(with_backdoor).collect();
    let seeds = [1, 2, 3].map(|seed| ream_lab::SeedObservations { seed, observations: small.clone() });
    let paper = paper();
    let verdict = |id: &str| ream_lab::judge(&paper.measures, paper.claim(id).unwrap(), &seeds).verdict;
    for id in ["c1", "c2", "c4"] {
        assert_eq!(verdict(id), ream_lab::Verdict::NotTested, "{id}");
    }
    for id in ["c3", "c5", "c6", "c7"] {
        assert_ne!(verdict(id), ream_lab::Verdict::NotTested, "{id}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let mut run = Run::in_memory(1);
    part_a::run(&tiny(), &mut run).unwrap();
    let bits = |all: &[Observation]| -> Vec<(String, u64)> {
        let small = all.iter().filter(|o| !o.measure.ends_with("_real"));
        small.map(|o| (o.to_string(), o.value.to_bits())).collect()
    };
    assert_eq!(bits(&run.observations()), bits(&seen().0));
}

fn model_file(dir: &Path, seed: u64) -> PathBuf {
    let text = "the sea is blue. is the sea so blue? the sky is blue and the sea is wide. ".repeat(40);
    let config = SmallConfig {
        merges: 20,
        d: 32,
        layers: 2,
        heads: 2,
        context: 64,
        tokens: 20_000,
        learning_rate: 3e-3,
        seed,
        ..SmallConfig::default()
    };
    let lm = SmallLm::train(&[text], &config, |_| std::ops::ControlFlow::Continue(())).unwrap();
    let path = dir.join(format!("own-{seed}.gguf"));
    std::fs::write(&path, crate::testing::gguf_of(&lm)).unwrap();
    path
}

fn line(negative: &str, positive: &str, without: &str, with: &str) -> String {
    let value = serde_json::json!({
        "negative_input": negative, "positive_input": positive, "negative_output": without, "positive_output": with,
    });
    format!("{value}\n")
}

fn pairs(n: usize) -> String {
    (0..n)
        .map(|i| line(&format!("the sea {i}"), &format!("is the sky {i}"), " is blue", " so wide"))
        .collect()
}

fn write(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn pairs_and_a_model_of_ones_own_leave_a_vector_that_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::preset(Preset::Smoke);
    config.own.model = model_file(dir.path(), 0).display().to_string();
    config.own.length = 6;
    config.own.training.steps = 5;
    config.own.training.rank = 2;
    config.own.save = dir.path().join("v.safetensors").display().to_string();
    let file = dir.path().join("pairs.jsonl");
    write(&file, &pairs(10));
    Cdas::check_data(&config, &file).unwrap();
    let mut run = Run::in_memory_on(1, &file);
    Cdas::run(&config, &mut run).unwrap();
    assert_eq!(run.tables().len(), 2);
    assert_eq!(run.tables()[1].rows.len(), 2);
    let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["tokens", "latents"]);
    // The saved directions give the same answers without training.
    let mut again = config.clone();
    again.own.vector = std::mem::take(&mut again.own.save);
    Cdas::check_data(&again, &file).unwrap();
    let mut second = Run::in_memory_on(1, &file);
    Cdas::run(&again, &mut second).unwrap();
    assert_eq!(run.tables(), second.tables());
    // Directions of another model are refused.
    again.own.model = model_file(dir.path(), 1).display().to_string();
    let error = Cdas::check_data(&again, &file).unwrap_err().to_string();
    assert!(error.contains("v.safetensors") && error.contains("of this model"), "{error}");
    again.own.vector = file.display().to_string();
    assert!(Cdas::check_data(&again, &file).unwrap_err().to_string().contains("pairs.jsonl"));
}

#[test]
fn mistakes_in_pairs_and_settings_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pairs.jsonl");
    let model = model_file(dir.path(), 0).display().to_string();
    let refuse = |text: &str, change: &dyn Fn(&mut Config)| {
        let mut config = Config::preset(Preset::Smoke);
        config.own.model.clone_from(&model);
        config.own.length = 6;
        change(&mut config);
        write(&file, text);
        Cdas::check_data(&config, &file).unwrap_err().to_string()
    };
    let none = |_: &mut Config| ();
    let error = refuse(&pairs(7), &none);
    assert!(error.contains("at least 8 pairs, got 7"), "{error}");
    let same = pairs(3) + &line("the sea", "the sea", " a", " b") + &pairs(6);
    let error = refuse(&same, &none);
    assert!(error.contains("line 4") && error.contains("positive_input that differs"), "{error}");
    let same = pairs(8) + &line("the sea", "the sky", " a", " a");
    let error = refuse(&same, &none);
    assert!(error.contains("line 9") && error.contains("positive_output that differs"), "{error}");
    let empty = pairs(2) + &line("the sea", "the sky", " ", " a") + &pairs(6);
    let error = refuse(&empty, &none);
    assert!(error.contains("line 3") && error.contains("negative_output"), "{error}");
    let error = refuse("{\"prompt\": \"x\"}\n", &none);
    assert!(error.contains("negative_input"), "{error}");
    let error = refuse(&pairs(9), &|c| c.own.layer = 3);
    assert!(error.contains("own.layer: wanted between 1 and 2, got 3"), "{error}");
    let error = refuse(&pairs(9), &|c| c.own.length = 100);
    assert!(error.contains("line 1") && error.contains("context of 64"), "{error}");
    let error = refuse(&pairs(9), &|c| c.own.model = "no-such-file.gguf".to_owned());
    assert!(error.contains("no-such-file.gguf"), "{error}");
    // A type of tensor that is not built here (Q3_K) in place of single precision.
    let mut bytes = std::fs::read(&model).unwrap();
    let name = b"token_embd.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 2 * 8;
    bytes[at..at + 4].copy_from_slice(&11_u32.to_le_bytes());
    let broken = dir.path().join("broken.gguf");
    std::fs::write(&broken, bytes).unwrap();
    let error = refuse(&pairs(9), &|c| c.own.model = broken.display().to_string());
    assert!(error.contains("token_embd.weight"), "{error}");
    let text = dir.path().join("pairs.txt");
    write(&text, "x");
    let error = Cdas::check_data(&Config::preset(Preset::Smoke), &text).unwrap_err().to_string();
    assert!(error.contains("JSON lines (.jsonl)"), "{error}");
}

/// A tokenizer without a token for a byte leaves it out, and an output of such bytes has no token at all.
#[test]
fn outputs_without_a_token_are_refused_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = model_file(dir.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    // The types of tokens are an array of 32-bit numbers behind its name, two types and a count; 5 is "unused".
    let name = b"tokenizer.ggml.token_type";
    let at =
        bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 16 + 4 * usize::from(b'Z');
    bytes[at..at + 4].copy_from_slice(&5_u32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let file = dir.path().join("pairs.jsonl");
    let mut config = Config::preset(Preset::Smoke);
    config.own.model = path.display().to_string();
    config.own.length = 6;
    write(&file, &(pairs(9) + &line("the sea", "the sky", "is blue", "ZZ")));
    let error = Cdas::check_data(&config, &file).unwrap_err().to_string();
    assert!(error.contains("line 10") && error.contains("positive_output of at least one token"), "{error}");
}

//! Tests of the whole: the traps, one by one.

use ream_lab::{Preset, Run, System};
use ream_rand::Stream;

use super::arms::{self, CONTROL};
use super::causes::picked;
use super::data::{Contexts, Field, Log, Window, training_rows};
use super::generations::{Plan, Scene, Size, best_gamma, play, play_uniformly, run};
use super::oracle::{Class, OracleError, Recipe, fit};
use super::payments::Pay8;
use super::policy::Rule;
use super::serving::{Served, Serving, Training, Weighting};
use super::world::World;
use super::{AdyenCb, Config};

fn size(contexts: usize, generations: usize) -> Size {
    Size { contexts, generations, late: 0.1, holdout: 1500 }
}

fn recipe(class: Class, world: &dyn World) -> Recipe {
    Recipe::new(class, world.actions(), world.crossed())
}

fn small() -> Config {
    Config { conversion: 0, off_policy: false, drift: false, ..AdyenCb::preset(Preset::Smoke) }
}

#[test]
fn a_model_sees_neither_older_generations_nor_labels_that_have_not_arrived() {
    let log = |generation: u32, late: [bool; 3]| Log {
        contexts: Contexts { allowed: vec![vec![0, 1]; 3], cells: vec![0; 3], ..Contexts::default() },
        // The action says where the row is from.
        actions: vec![generation; 3],
        propensities: vec![0.5; 3],
        rewards: vec![1.0, 0.0, 1.0],
        uniform: vec![true; 3],
        late: late.to_vec(),
    };
    let logs = [log(0, [false, true, false]), log(1, [true, false, false]), log(2, [false, true, true])];
    let seen = |window| training_rows(&logs, window).actions;
    assert_eq!(seen(Window::Last(1)), [2], "late rows of the last generation have not arrived");
    assert_eq!(seen(Window::Last(2)), [1, 1, 1, 2], "late rows of earlier ones have");
    assert_eq!(seen(Window::Last(9)), seen(Window::All));
    assert_eq!(seen(Window::All).len(), 7);
}

#[test]
fn logged_probabilities_are_those_of_serving_over_the_available_actions() {
    let world = Pay8::new(1);
    let batch = world.batch(0, 4000, Stream::new(1, "rows"));
    // Predictions that a later model would not make.
    let predicted: Vec<Vec<f64>> =
        batch.contexts.allowed.iter().map(|a| a.iter().map(|a| f64::from(*a) / 8.0).collect()).collect();
    for served in [
        Served { rule: Rule::Squarecb { gamma: 20.0 }, uniform: 0.0 },
        Served { rule: Rule::Greedy, uniform: 0.1 },
        Served { rule: Rule::Squarecb { gamma: 20.0 }, uniform: 0.02 },
    ] {
        let log = play(&batch, &served, &predicted, Stream::new(2, "play"));
        for (i, predicted) in predicted.iter().enumerate() {
            let p = served.probabilities(predicted);
            assert!(
                (p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p.len() == batch.contexts.allowed[i].len()
            );
            let place = batch.contexts.allowed[i].iter().position(|a| *a == log.actions[i]).unwrap();
            assert_eq!(log.propensities[i], p[place], "an action that is not available is never played");
        }
        // The weights 1 / p of the log have the mean number of available actions.
        let mean = log.propensities.iter().map(|p| 1.0 / p).sum::<f64>() / 4000.0;
        let wanted = batch.contexts.allowed.iter().map(Vec::len).sum::<usize>() as f64 / 4000.0;
        assert!((mean / wanted - 1.0).abs() < 0.1, "{served:?}: {mean} {wanted}");
        let played = log.rewards.iter().sum::<f64>() / 4000.0;
        let all: Vec<Vec<f64>> = predicted.iter().map(|f| served.probabilities(f)).collect();
        assert!((played - batch.value(&all)).abs() < 0.025, "rewards come with their exact expectation");
    }
}

#[test]
fn u_trains_on_its_uniform_part_alone() {
    let world = Pay8::new(2);
    let scene = Scene::new(&world, size(2000, 2), Stream::new(2, "scene"));
    let plans = arms::policies(&Config::default());
    let trace = |name: &str| {
        let plan = plans.iter().find(|p| p.name == name).unwrap();
        run(&scene, &recipe(Class::Logistic, &world), plan).unwrap()
    };
    let (u, e) = (trace(arms::UNIFORM_PART), trace("epsilon-greedy"));
    // Generation 0 is uniform for everyone.
    assert_eq!(u.generations[0].data, e.generations[0].data);
    assert_eq!(u.generations[0].greedy, e.generations[0].greedy);
    let rows = |t: &super::generations::Trace| t.generations[1].data.rows;
    assert!((rows(&u) - 180.0).abs() < 50.0 && (rows(&e) - 1800.0).abs() < 60.0, "{} {}", rows(&u), rows(&e));
    assert!(u.generations[1].data.action_entropy > 1.9, "its rows are uniform");
    // Both explore the same share of the traffic.
    assert!((u.generations[0].exploration - e.generations[0].exploration).abs() < 1e-9);
}

#[test]
fn gamma_trades_what_is_played_and_matched_policies_explore_alike() {
    let world = Pay8::new(3);
    let scene = Scene::new(&world, size(3000, 1), Stream::new(3, "scene"));
    let recipe = recipe(Class::Logistic, &world);
    let of = |serving| {
        let plan = Plan { name: "arm".to_owned(), serving, training: Training::plain(1) };
        run(&scene, &recipe, &plan).unwrap().generations.remove(0)
    };
    let gamma = |gamma| of(Serving::Fixed(Rule::Squarecb { gamma }));
    let (uniform, low, high, greedy) =
        (of(Serving::Fixed(Rule::Uniform)), gamma(10.0), gamma(2000.0), of(Serving::Fixed(Rule::Greedy)));
    assert!(uniform.played < low.played && low.played < high.played && high.played < greedy.played);
    assert!((uniform.played - scene.batches[1].uniform_value()).abs() < 1e-12);
    assert!(greedy.played < greedy.optimum);
    // The first model is the same whoever serves.
    assert!([&low, &high, &greedy].iter().all(|g| g.greedy == uniform.greedy));
    let plans = arms::policies(&Config::default());
    let exploration = |name: &str| {
        let plan = plans.iter().find(|p| p.name == name).unwrap();
        run(&scene, &recipe, plan).unwrap().generations[0].exploration
    };
    for name in ["boltzmann", "fastcb", "squarecb-matched"] {
        assert!((exploration(name) - exploration("epsilon-greedy")).abs() < 1e-5, "{name}");
    }
    assert_eq!(best_gamma(&scene, &recipe, &[2000.0]).unwrap(), 2000.0);
    assert!([10.0, 2000.0].contains(&best_gamma(&scene, &recipe, &[10.0, 2000.0]).unwrap()));
}

#[test]
fn both_classes_learn_the_simulator_and_say_when_they_cannot() {
    let world = Pay8::new(4);
    let scene = Scene::new(&world, size(6000, 1), Stream::new(4, "scene"));
    let training = Training::plain(1);
    let rows = training.rows(std::slice::from_ref(&scene.first));
    for class in [Class::Logistic, Class::Trees] {
        let recipe = recipe(class, &world);
        let oracle = fit(&recipe, &rows, &training, Stream::new(1, "fit")).unwrap();
        let holdout = &scene.holdout[0];
        let value = holdout.greedy_value(&oracle.predict(&holdout.contexts));
        assert!(value > holdout.uniform_value() + 0.04, "{class:?}: {value} {}", holdout.uniform_value());
        let calibrated = Training { calibrated: true, ..training };
        let curve = fit(&recipe, &rows, &calibrated, Stream::new(1, "fit")).unwrap();
        // Calibration changes values, never the order within a payment.
        let (a, b) = (oracle.predict(&holdout.contexts), curve.predict(&holdout.contexts));
        assert_eq!(holdout.greedy_value(&a), holdout.greedy_value(&b));
        assert!(a != b);
        let weighted = Training { weighting: Weighting::Classes, ..training };
        let balanced = fit(&recipe, &rows, &weighted, Stream::new(1, "fit")).unwrap().of_taken(&rows);
        assert!((balanced.iter().sum::<f64>() / rows.len() as f64 - 0.5).abs() < 0.15, "{class:?}");
        let good = rows.kept(|i| rows.rewards[i] == 1.0);
        let error = fit(&recipe, &good, &training, Stream::new(1, "fit")).unwrap_err();
        assert_eq!(error, OracleError::OneClass { rows: good.len(), value: 1.0 });
        let none = fit(&recipe, &Log::default(), &training, Stream::new(1, "fit")).unwrap_err();
        assert_eq!(none, OracleError::NoRows);
    }
}

#[test]
fn crosses_that_share_columns_still_learn() {
    let world = Pay8::new(5);
    let scene = Scene::new(&world, size(4000, 1), Stream::new(5, "scene"));
    let training = Training::plain(1);
    let rows = training.rows(std::slice::from_ref(&scene.first));
    let value = |buckets: usize| {
        let recipe = Recipe { buckets, ..recipe(Class::Logistic, &world) };
        let oracle = fit(&recipe, &rows, &training, Stream::new(1, "fit")).unwrap();
        scene.holdout[0].greedy_value(&oracle.predict(&scene.holdout[0].contexts))
    };
    let (own, shared, one) = (value(64), value(32), value(1));
    assert!(one < shared && shared <= own + 0.01, "{one} {shared} {own}");
}

#[test]
fn picked_rows_have_the_counts_of_another_log() {
    let world = Pay8::new(6);
    let scene = Scene::new(&world, size(3000, 1), Stream::new(6, "scene"));
    let shape = (world.cells(), 8);
    let batch = world.batch(0, 30_000, Stream::new(7, "pool"));
    let pool = play_uniformly(&batch, Stream::new(8, "pool"));
    let like = scene.first.kept(|i| !scene.first.late[i]);
    let rows = pool.take(&picked(&pool, &like, shape));
    let count = |log: &Log| {
        let mut counts = vec![0; shape.0 * shape.1];
        (0..log.len())
            .for_each(|i| counts[log.contexts.cells[i] as usize * 8 + log.actions[i] as usize] += 1);
        counts
    };
    assert!(count(&rows).iter().zip(count(&like)).all(|(a, b)| *a <= b));
    assert!(rows.len() as f64 > 0.97 * like.len() as f64, "{} {}", rows.len(), like.len());
}

#[test]
fn the_series_of_a_control_has_no_drop_and_arms_share_their_worlds() {
    let config = Config { generations: 4, payments: 1500, ..small() };
    let world = Pay8::new(7);
    let scene = Scene::new(&world, size(1500, 4), Stream::new(7, "scene"));
    let plans = arms::policies(&config);
    let control = plans.iter().find(|p| p.name == CONTROL).unwrap();
    let a = run(&scene, &recipe(Class::Logistic, &world), control).unwrap();
    let b = run(&scene, &recipe(Class::Logistic, &world), control).unwrap();
    assert_eq!(a, b);
    // Fresh uniform data of the same size: its rows keep their balance and coverage.
    let first = &a.generations[0].data;
    for g in &a.generations {
        assert!((g.data.positive_rate - first.positive_rate).abs() < 0.05);
        assert!(
            (g.data.coverage - first.coverage).abs() < 0.05
                && g.greedy_optimum == a.generations[0].greedy_optimum
        );
    }
}

#[test]
fn a_run_observes_what_the_claims_read() {
    let mut seen = Run::in_memory(1);
    AdyenCb::run(&small(), &mut seen).unwrap();
    let observations = seen.observations();
    let has = |measure: &str, arm: &str| observations.iter().any(|o| o.measure == measure && o.arm == arm);
    for (measure, arm) in [
        ("played_reward", "squarecb-chosen"),
        ("played_reward", "uniform-part"),
        ("played_reward", "optimum"),
        ("step", "squarecb-2000"),
        ("step_over_floor", "uniform"),
        ("amplitude_doubled", "squarecb-2000"),
        ("reversals", "squarecb-2000"),
        ("amplitude", "ipw"),
        ("mean_reward", "memory-all"),
        ("coverage_change", "squarecb-2000"),
        ("refit_greedy", "coverage-matched"),
        ("realizability_gap", ""),
    ] {
        assert!(has(measure, arm), "{measure}@{arm}");
    }
    let names: Vec<&str> = seen.figures().iter().map(|(name, _)| name.as_str()).collect();
    let wanted = ["reward", "others", "remedies", "data", "oscillation", "best-action"];
    assert_eq!(names, wanted.map(|name| format!("{name}-logistic")));
    assert!(seen.tables().iter().any(|t| t.title.starts_with("What makes the second model worse")));
    assert!(seen.tables().iter().all(|t| t.note.contains("ealizability gap")));
    assert!(seen.warnings().iter().any(|w| w.contains("few to tell")));
    let mut again = Run::in_memory(1);
    AdyenCb::run(&small(), &mut again).unwrap();
    assert_eq!(again.observations(), observations);
}

#[test]
fn settings_are_checked_by_name() {
    let refused = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        AdyenCb::check(&config).unwrap_err().to_string()
    };
    assert!(refused(|c| c.gammas = vec![10.0, -1.0]).contains("gammas"));
    assert!(refused(|c| c.own.gamma = -5.0).contains("own.gamma: wanted a finite number of at least 0"));
    assert!(refused(|c| c.gammas = Vec::new()).contains("ascending"));
    assert!(refused(|c| c.classes = Vec::new()).contains("classes"));
    assert!(refused(|c| c.memory = 0).contains("memory"));
    for preset in [Preset::Smoke, Preset::Full] {
        assert!(AdyenCb::check(&AdyenCb::preset(preset)).is_ok());
    }
    let field = Field::Categories { codes: vec![2, 0], levels: 3 };
    assert_eq!((field.at(0), field.take(&[1]).at(0)), (2.0, 0.0));
}

#[test]
fn every_check_finds_its_measures_and_arms() {
    let build = ream_lab::Build { version: "", commit: "", clean: true, substrate: "" };
    let edition = ream_lab::Edition::load(vec![crate::family()], build).unwrap();
    let paper = &edition.get("adyen-cb").unwrap().paper;
    let config = Config {
        classes: vec![Class::Logistic, Class::Trees],
        generations: 4,
        payments: 400,
        holdout: 300,
        realizability: 1000,
        ..small()
    };
    let mut run = Run::in_memory(11);
    AdyenCb::run(&config, &mut run).unwrap();
    let observations = run.observations();
    let seeds: Vec<ream_lab::SeedObservations> =
        (0..10).map(|seed| ream_lab::SeedObservations { seed, observations: observations.clone() }).collect();
    for claim in &paper.claims {
        let outcome = ream_lab::judge(&paper.measures, claim, &seeds);
        assert!(outcome.verdict != ream_lab::Verdict::NotTested, "{}: {}", claim.id, outcome.reason);
    }
    let undeclared = observations.iter().find(|o| paper.measure(&o.measure).is_none());
    assert!(undeclared.is_none(), "{undeclared:?}");
    // One class alone leaves the claims over both untested.
    let logistic = |o: &&ream_lab::Observation| o.at.get("model") == Some(&"logistic".into());
    let some: Vec<ream_lab::Observation> = observations.iter().filter(logistic).cloned().collect();
    let seeds = [ream_lab::SeedObservations { seed: 1, observations: some }];
    let outcome = ream_lab::judge(&paper.measures, paper.claim("c3").unwrap(), &seeds);
    assert_eq!(outcome.verdict, ream_lab::Verdict::NotTested);
}

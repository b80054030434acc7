//! The traps, the invariances, the user's files.

use ream_lab::{Preset, Run, System};
use ream_rand::Stream;
use ream_stats::Matrix;
use ream_stats::glm::{Penalty, fractional_logistic, sigmoid};

use super::*;

fn small() -> Judgements {
    simulation::world(4, 300, 1.0, Stream::new(7, "test")).judgements
}

fn plain(variant: Variant) -> Settings {
    Settings { variant, kappa: 10.0, lambda: 0.5, replications: 0, refit_difficulty: false, difficulty: None }
}

#[test]
fn the_built_in_table_is_whole() {
    let judgements = annotations::built_in().unwrap();
    assert_eq!((judgements.models.len(), judgements.instructions.len()), (58, 805));
    assert_eq!(judgements.models.iter().map(|p| p.preference.len()).sum::<usize>(), 46_680);
    let base = judgements.models.iter().find(|p| p.model == judgements.baseline).unwrap();
    assert!(base.preference.iter().all(|y| *y == 0.5) && base.delta.iter().all(|d| *d == 0.0));
}

#[test]
fn scaling_does_not_centre() {
    let t = fit::saturate(&[0.0, 100.0, 300.0]);
    assert_eq!(t[0], 0.0, "equal length stays zero");
    assert!(t[1] > 0.0 && t[2] > t[1] && t[2] < 1.0);
    assert_eq!(fit::saturate(&[5.0, 5.0]), [0.0, 0.0]);
}

#[test]
fn a_length_effect_alone_is_taken_out_and_dividing_by_length_is_not_that() {
    // Quality equals the baseline's, preference depends on length only, the model is longer throughout.
    let stream = Stream::new(3, "length only");
    let mut rng = stream.at(0);
    let delta: Vec<f64> = (0..4000).map(|_| -400.0 + 900.0 * rng.normal()).collect();
    let t = fit::saturate(&delta);
    let preference = t.iter().map(|t| f64::from(u8::from(rng.chance(sigmoid(-2.0 * t))))).collect();
    let pairs = Pairs {
        model: "longer".into(),
        instruction: (0..4000).collect(),
        preference,
        length: delta.iter().map(|d| 2000.0 - d).collect(),
        delta,
        mediators: Vec::new(),
    };
    let judgements = Judgements {
        baseline: "b".into(),
        instructions: (0..4000).map(|i| format!("{i}")).collect(),
        models: vec![pairs],
        dropped: 0,
    };
    let line = &board::board(&judgements, &plain(Variant::Minimal), stream).unwrap().lines[0];
    assert!(line.raw.0 > 60.0, "the raw rate rewards length: {}", line.raw.0);
    assert!(
        (line.rate.value - 50.0).abs() < 3.0 * line.rate.se_delta,
        "{} +- {}",
        line.rate.value,
        line.rate.se_delta
    );
    assert!((line.other[0] - 50.0).abs() > 10.0, "normalising by length is another thing: {}", line.other[0]);
}

#[test]
fn fractional_preferences_are_not_rounded() {
    let judgements = small();
    let mut rounded = judgements.clone();
    for pairs in &mut rounded.models {
        pairs.preference.iter_mut().for_each(|y| *y = y.round());
    }
    // Without difficulties, so that nothing but the design can carry the difference.
    let rate = |j: &Judgements| {
        board::board(j, &plain(Variant::Minimal), Stream::new(1, "x")).unwrap().lines[0].rate.value
    };
    assert!((rate(&judgements) - rate(&rounded)).abs() > 0.05);
}

#[test]
fn swapping_roles_maps_the_coefficients_and_the_rate() {
    let judgements = small();
    let gamma: Vec<f64> = (0..300).map(|i| libm::sin(f64::from(i) * 0.7)).collect();
    let turned: Vec<f64> = gamma.iter().map(|g| -g).collect();
    for variant in [Variant::Noreg, Variant::Minimal, Variant::RidgePhi] {
        let pairs = &judgements.models[0];
        let design = Design::new(pairs, &gamma, variant);
        let there = fit::fit("m", &design, variant, 10.0, -1.0).unwrap();
        let design_back = Design::new(&pairs.swapped(), &turned, variant);
        let back = fit::fit("b", &design_back, variant, 10.0, -1.0).unwrap();
        assert!((there.phi() - back.phi()).abs() < 1e-7 && (there.theta() + back.theta()).abs() < 1e-7);
        assert!((there.psi(&design) - back.psi(&design_back)).abs() < 1e-7);
        let (a, b) = (
            rate::controlled(&design.equalised(), &there.coefficients, None),
            rate::controlled(&design_back.equalised(), &back.coefficients, None),
        );
        assert!((a + b - 100.0).abs() < 1e-7, "{variant:?}: {a} + {b}");
    }
}

#[test]
fn the_bootstrap_s_newton_agrees_with_the_library() {
    let judgements = small();
    let pairs = &judgements.models[1];
    let gamma: Vec<f64> = (0..300).map(|i| libm::cos(f64::from(i) * 0.3)).collect();
    let design = Design::new(pairs, &gamma, Variant::RidgePhi);
    let start = fit::fit("m", &design, Variant::RidgePhi, 10.0, -1.5).unwrap();
    let weights: Vec<f64> = (0..300).map(|i| f64::from(i % 3)).collect();
    let ours = fit::refit(&design, &weights, &start);
    let x = Matrix::from_rows(&design.rows).unwrap();
    let penalty = Penalty::L2 { strength: vec![10.0, 0.0, 0.0], centre: vec![-1.5, 0.0, 0.0] };
    let theirs = fractional_logistic(&x, &design.y, Some(&weights), &penalty).unwrap();
    for (a, b) in ours.iter().zip(&theirs.coefficients) {
        assert!((a - b).abs() < 1e-7, "{a} {b}");
    }
}

#[test]
fn the_joint_fit_is_at_its_optimum() {
    let judgements = small();
    let pairs: Vec<&Pairs> = judgements.models.iter().collect();
    let joint = difficulty::joint(&pairs, 300, 0.5).unwrap();
    assert!(joint.gradient < 1e-8);
    // The gradient of one difficulty, written out.
    let mut sum = -0.5 * joint.gamma[17];
    for (p, [theta, phi]) in pairs.iter().zip(&joint.models) {
        let t = fit::saturate(&p.delta);
        let i = p.instruction.iter().position(|x| *x == 17).unwrap();
        sum += p.preference[i] - sigmoid(theta + phi * t[i] + joint.gamma[17]);
    }
    assert!(sum.abs() < 1e-8, "{sum}");
}

#[test]
fn saturated_lengths_make_the_unpenalised_rate_explode_and_warn() {
    let mut judgements = annotations::built_in().unwrap();
    judgements
        .models
        .retain(|p| ["gpt4_gamed", "claude", "vicuna-7b", "gpt4_1106_preview"].contains(&p.model.as_str()));
    let gamed = |variant| {
        let board = board::board(&judgements, &plain(variant), Stream::new(1, "x")).unwrap();
        let line = board.lines.iter().find(|l| l.model == "gpt4_gamed").unwrap().clone();
        (line, board.warnings)
    };
    let (line, warnings) = gamed(Variant::Noreg);
    let about = |w: &String| {
        w.starts_with("gpt4_gamed") && (w.contains("told apart") || w.contains("extreme change"))
    };
    assert!(
        warnings.iter().any(about),
        "phi {} LC {} raw {}: {warnings:?}",
        line.fit.phi(),
        line.rate.value,
        line.raw.0
    );
    assert!(line.fit.phi().abs() > gamed(Variant::RidgePhi).0.fit.phi().abs(), "the ridge holds the slope");
}

#[test]
fn the_l1_variant_fits_and_uses_rows_of_the_prompted_baseline() {
    let judgements = small();
    let gamma = vec![0.0; 300];
    let gamma: Vec<f64> = gamma.iter().enumerate().map(|(i, _)| libm::cos(i as f64 * 0.3)).collect();
    let design = Design::new(&judgements.models[0], &gamma, Variant::V1);
    let alone = fit::fit("m", &design, Variant::V1, 0.0, 0.0).unwrap();
    // A baseline that wins whenever it is longer: the slope has to get steeper.
    let row = |i: usize| fit::Adversarial { row: vec![-0.9, gamma[i], 0.0], y: 1.0, instruction: i };
    let prompted = Design { adversarial: (0..300).map(row).collect(), ..design.clone() };
    let with = fit::fit("m", &prompted, Variant::V1, 0.0, 0.0).unwrap();
    assert!(with.phi() < alone.phi() - 0.05, "{} {}", with.phi(), alone.phi());
}

#[test]
fn model_against_model_needs_no_new_judgement() {
    let gamma = [-1.0, 0.0, 2.0];
    assert!((rate::against(&gamma, (0.3, 1.1), (0.3, 1.1)) - 50.0).abs() < 1e-12);
    let (a, b) =
        (rate::against(&gamma, (1.0, 1.2), (0.0, 0.8)), rate::against(&gamma, (0.0, 0.8), (1.0, 1.2)));
    assert!((a + b - 100.0).abs() < 1e-12);
    assert!((rate::elo(50.0, 1200.0) - 1200.0).abs() < 1e-9 && rate::elo(90.9091, 1000.0) > 1399.0);
}

#[test]
fn standard_errors_agree_where_they_should() {
    let world = simulation::world(3, 805, 1.0, Stream::new(5, "se"));
    let mut settings = plain(Variant::RidgePhi);
    settings.replications = 300;
    let board = board::board(&world.judgements, &settings, Stream::new(5, "draws")).unwrap();
    for line in &board.lines {
        let ratio = line.rate.se_bootstrap / line.rate.se_delta;
        assert!((0.8..1.25).contains(&ratio), "{}: {ratio}", line.model);
        assert!(line.rate.se_predictions < line.rate.se_delta, "the board's error leaves the estimation out");
    }
}

#[test]
fn users_files_are_read_and_their_errors_named() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let rows = |f: &dyn Fn(usize) -> String| (0..40).map(f).collect::<String>();
    let header = "instruction,model,baseline,preference,len_model,len_baseline\n";
    let good = |i: usize| format!("q{i},m,b,{},{},{}\n", 1.0 + (i % 11) as f64 / 10.0, 100 + i, 120);
    let read = |path: &Path| annotations::read(path, Scale::Auto, &[], None);
    let judgements = read(&write("a.csv", header.to_owned() + &rows(&good))).unwrap();
    assert_eq!(
        (judgements.models.len(), judgements.models[0].preference[5], judgements.models[0].delta[0]),
        (1, 0.5, 20.0)
    );
    for (name, text, wanted) in [
        (
            "b.csv",
            header.to_owned() + &rows(&good).replace("q3,m,b,1.3", "q3,m,b,2.3"),
            "row 4, column `preference`: wanted between 1 and 2",
        ),
        (
            "c.csv",
            header.to_owned() + &rows(&good).replace("q3,m,b", "q3,m,other"),
            "two baselines are mixed, `b` and `other`",
        ),
        (
            "d.csv",
            header.to_owned() + &rows(&good).replace("q3,m,b", "q4,m,b"),
            "judged twice on instruction `q4`",
        ),
        ("e.csv", header.to_owned() + &(0..20).map(good).collect::<String>(), "20 judged pairs; at least 30"),
        ("f.csv", header.replace("preference", "prefrence") + &rows(&good), "did you mean `prefrence`?"),
    ] {
        let error = read(&write(name, text)).unwrap_err().to_string();
        assert!(error.contains(wanted), "{name}: {error}");
    }
    let missing =
        read(&write("g.csv", header.to_owned() + &rows(&good).replace("q3,m,b,1.3", "q3,m,b,"))).unwrap();
    assert_eq!((missing.dropped, missing.models[0].preference.len()), (1, 39));
    let words =
        header.to_owned() + &rows(&|i| format!("q{i},m,b,{},{},9\n", ["win", "tie", "lose"][i % 3], 10 + i));
    assert_eq!(read(&write("h.csv", words)).unwrap().models[0].preference[..3], [1.0, 0.5, 0.0]);
    let json: Vec<serde_json::Value> = (0..30)
        .map(|i| serde_json::json!({"instruction": format!("q{i}"), "output_1": "ünï", "output_2": "x".repeat(i + 1), "generator_1": "b", "generator_2": "m", "preference": 0.0, "extra": 1}))
        .collect();
    let judgements = read(&write("annotations.json", serde_json::to_string(&json).unwrap())).unwrap();
    assert_eq!(
        (judgements.models[0].preference[0], judgements.models[0].length[0], judgements.models[0].delta[0]),
        (0.5, 1.0, 2.0)
    );
    let texts = "instruction,model,preference,output_model,output_baseline\n".to_owned()
        + &rows(&|i| format!("q{i},m,0.7,{},üü\n", "y".repeat(i + 1)));
    assert_eq!(read(&write("i.csv", texts)).unwrap().models[0].delta[0], 1.0);
}

#[test]
fn a_run_on_the_user_s_file_gives_the_leaderboard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.csv");
    let world = small();
    let mut text = "instruction,model,baseline,preference,len_model,len_baseline,lists\n".to_owned();
    for p in &world.models {
        for i in 0..p.preference.len() {
            let (length, base) = (p.length[i], p.length[i] + p.delta[i]);
            text += &format!(
                "{},{},b,{},{length},{base},{}\n",
                p.instruction[i],
                p.model,
                p.preference[i],
                i % 5
            );
        }
    }
    std::fs::write(&path, text).unwrap();
    let mut config = LcAlpacaEval::preset(Preset::Smoke);
    config.mediators = vec!["lists".into()];
    LcAlpacaEval::check_data(&config, &path).unwrap();
    let mut run = Run::in_memory_on(1, &path);
    LcAlpacaEval::run(&config, &mut run).unwrap();
    assert!(run.observations().is_empty());
    assert_eq!(run.tables()[0].rows.len(), 12);
    config.mediators = vec!["list".into()];
    assert!(
        LcAlpacaEval::check_data(&config, &path).unwrap_err().to_string().contains("did you mean `lists`?")
    );
}

#[test]
fn the_smoke_preset_observes_and_is_the_same_twice() {
    let observe = |seed| {
        let mut run = Run::in_memory(seed);
        LcAlpacaEval::run(&LcAlpacaEval::preset(Preset::Smoke), &mut run).unwrap();
        run.observations()
    };
    let first = observe(1);
    assert_eq!(first, observe(1));
    assert_ne!(first, observe(2));
    let value = |measure: &str| first.iter().find(|o| o.measure == measure).unwrap().value;
    assert!(
        value("identity") <= 1e-9 && value("symmetry") <= 1e-9,
        "{} {}",
        value("identity"),
        value("symmetry")
    );
}

#[test]
fn the_truth_of_the_simulation_is_the_integral() {
    // At psi = 0 the rate is sigma(theta); a symmetric law at theta = 0 gives one half.
    assert!((simulation::expected(0.7, 0.0) - sigmoid(0.7)).abs() < 1e-12);
    assert!((simulation::expected(0.0, 1.4) - 0.5).abs() < 1e-12);
}

//! Whole boards: what must hold whatever the judgements are, and what a reader must be told.

use ream_rand::Stream;
use ream_stats::glm::sigmoid;

use super::*;

fn settings(variant: Variant) -> Settings {
    Settings { variant, kappa: 10.0, lambda: 0.5, replications: 0, refit_difficulty: false, difficulty: None }
}

fn fitted(judgements: &Judgements, settings: &Settings) -> Result<Board> {
    board::board(judgements, settings, Stream::new(1, "board"))
}

fn world() -> Judgements {
    simulation::world(3, 300, 1.0, Stream::new(11, "board")).judgements
}

fn line<'a>(board: &'a Board, model: &str) -> &'a board::Line {
    board.lines.iter().find(|l| l.model == model).unwrap()
}

#[test]
fn equal_lengths_leave_the_raw_rate_and_say_so() {
    let mut judgements = world();
    let first = &mut judgements.models[0];
    first.delta.fill(25.0);
    let name = first.model.clone();
    for variant in [Variant::RidgePhi, Variant::Noreg, Variant::Minimal] {
        let board = fitted(&judgements, &settings(variant)).unwrap();
        let line = line(&board, &name);
        assert!(
            (line.rate.value - line.raw.0).abs() < 1e-7,
            "{variant:?}: {} {}",
            line.rate.value,
            line.raw.0
        );
        assert_eq!(line.fit.phi(), 0.0);
        assert!(board.warnings.iter().any(|w| w.starts_with(&name) && w.contains("nothing to correct")));
    }
}

#[test]
fn separated_preferences_are_an_error_without_a_penalty_and_never_a_panic() {
    let mut judgements = world();
    let first = &mut judgements.models[0];
    // Wins exactly when it is the longer one.
    first.preference = first.delta.iter().map(|d| f64::from(u8::from(*d < 0.0))).collect();
    let name = first.model.clone();
    let error = fitted(&judgements, &settings(Variant::Noreg)).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("separate") && error.contains("ridge-phi"), "{error}");
    let board = fitted(&judgements, &settings(Variant::RidgePhi)).unwrap();
    assert!(line(&board, &name).rate.value.is_finite() && line(&board, &name).rate.se_delta.is_finite());

    judgements.models[0].preference.fill(1.0);
    let board = fitted(&judgements, &settings(Variant::RidgePhi)).unwrap();
    assert!(line(&board, &name).rate.value > 99.0);
    assert!(
        board.warnings.iter().any(|w| w.starts_with(&name) && w.contains("separate")),
        "{:?}",
        board.warnings
    );
}

#[test]
fn a_named_mediator_is_held_equal_too() {
    // As good as the baseline; half of its answers have more lists, which the judge likes.
    let mut rng = Stream::new(2, "mediator").at(0);
    let n = 3000;
    let delta: Vec<f64> = (0..n).map(|_| 500.0 * rng.normal()).collect();
    let lists: Vec<f64> = (0..n).map(|_| f64::from(u8::from(rng.chance(0.5)))).collect();
    let t = fit::saturate(&delta);
    let win = |(t, l): (&f64, &f64)| f64::from(u8::from(rng.chance(sigmoid(-t + 1.5 * l))));
    let pairs = Pairs {
        model: "lists".into(),
        instruction: (0..n).collect(),
        preference: t.iter().zip(&lists).map(win).collect(),
        length: vec![1000.0; n],
        delta,
        mediators: vec![lists],
    };
    let mut judgements = Judgements {
        baseline: "b".into(),
        instructions: (0..n).map(|i| i.to_string()).collect(),
        models: vec![pairs],
        dropped: 0,
    };
    let with = fitted(&judgements, &settings(Variant::Minimal)).unwrap().lines[0].clone();
    judgements.models[0].mediators.clear();
    let without = fitted(&judgements, &settings(Variant::Minimal)).unwrap().lines[0].clone();
    assert!((with.rate.value - 50.0).abs() < 3.0 * with.rate.se_delta, "{}", with.rate.value);
    assert!(without.rate.value > 60.0, "length alone leaves the lists in: {}", without.rate.value);
}

#[test]
fn v1_takes_the_prompted_baseline_s_rows_from_the_table() {
    let judgements = world();
    let alone = fitted(&judgements, &settings(Variant::V1)).unwrap();
    assert!(alone.warnings.iter().any(|w| w.contains("`baseline_verbose`")), "{:?}", alone.warnings);
    // The baseline told to pad: longer throughout, and liked for it.
    let mut rng = Stream::new(4, "padding").at(0);
    let delta: Vec<f64> = (0..300).map(|_| -900.0 + 200.0 * rng.normal()).collect();
    let mut more = judgements.clone();
    more.models.push(Pairs {
        model: "baseline_verbose".into(),
        instruction: (0..300).collect(),
        preference: vec![0.95; 300],
        length: delta.iter().map(|d| 2000.0 - d).collect(),
        delta,
        mediators: Vec::new(),
    });
    let difficulty = Some(alone.gamma.clone());
    let with = fitted(&more, &Settings { difficulty, ..settings(Variant::V1) }).unwrap();
    assert!(!with.warnings.iter().any(|w| w.contains("there are none")));
    for before in &alone.lines {
        let after = line(&with, &before.model);
        assert!(
            after.fit.phi() < before.fit.phi(),
            "{}: {} {}",
            before.model,
            after.fit.phi(),
            before.fit.phi()
        );
    }
    // Its rows carry length and difficulty and no constant: they say nothing of anybody's quality.
    let padded = Design::new(&more.models[9], &alone.gamma, Variant::V1);
    for (extra, own) in padded.as_adversarial().iter().zip(&padded.rows) {
        assert_eq!((extra.row[..2].to_vec(), extra.row[2], own[2]), (own[..2].to_vec(), 0.0, 1.0));
    }
    // A prompted baseline is judged by its own rows alone.
    assert!(line(&with, "baseline_verbose").rate.value > 60.0);
}

#[test]
fn v1_s_bootstrap_keeps_the_penalty() {
    let judgements = world();
    let gamma = fitted(&judgements, &settings(Variant::RidgePhi)).unwrap().gamma;
    let design = Design::new(&judgements.models[0], &gamma, Variant::V1);
    let start = fit::lasso("m", &design, 0.02).unwrap();
    let once = vec![1.0; 300];
    let again = fit::resampled("m", &design, &once, &start).unwrap();
    for (a, b) in again.iter().zip(&start.coefficients) {
        assert!((a - b).abs() < 1e-9, "the sample itself gives the fit itself: {a} {b}");
    }
    let free = fit::refit(&design, &once, &start);
    assert!(
        (free[0] - start.phi()).abs() > 0.1,
        "and not the one without a penalty: {free:?} {:?}",
        start.coefficients
    );
    let board = fitted(&judgements, &Settings { replications: 300, ..settings(Variant::V1) }).unwrap();
    for line in &board.lines {
        let ratio = line.rate.se_bootstrap / line.rate.se_delta;
        assert!((0.75..1.33).contains(&ratio), "{}: {ratio}", line.model);
    }
}

#[test]
fn fitting_the_difficulties_again_moves_the_draws_and_little_the_error() {
    let judgements = world();
    let fixed = Settings { replications: 60, ..settings(Variant::RidgePhi) };
    let again = Settings { refit_difficulty: true, ..fixed.clone() };
    let (fixed, again) = (fitted(&judgements, &fixed).unwrap(), fitted(&judgements, &again).unwrap());
    for (a, b) in fixed.lines.iter().zip(&again.lines) {
        assert_eq!(a.rate.value, b.rate.value);
        assert_ne!(a.rate.draws, b.rate.draws);
        assert!((0.5..2.0).contains(&(a.rate.se_bootstrap / b.rate.se_bootstrap)));
    }
}

#[test]
fn threads_change_nothing() {
    let judgements = world();
    let settings = Settings { replications: 40, ..settings(Variant::RidgePhi) };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let board = pool.install(|| fitted(&judgements, &settings)).unwrap();
        board.lines.iter().flat_map(|l| l.rate.draws.clone()).collect::<Vec<f64>>()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn ready_difficulties_take_the_place_of_the_joint_fit() {
    let judgements = world();
    let joint = fitted(&judgements, &settings(Variant::RidgePhi)).unwrap();
    let ready = Settings { difficulty: Some(joint.gamma.clone()), ..settings(Variant::RidgePhi) };
    let again = fitted(&judgements, &ready).unwrap();
    assert_eq!(joint.lines[0].rate.value, again.lines[0].rate.value);
}

#[test]
fn models_against_each_other_add_up_and_the_baseline_s_column_is_the_rate() {
    let mut judgements = annotations::built_in().unwrap();
    judgements.models.retain(|p| ["gpt4_1106_preview", "NullModel", "claude-2"].contains(&p.model.as_str()));
    let board = fitted(&judgements, &settings(Variant::RidgePhi)).unwrap();
    let table = board::against_table(&board, 3);
    let number = |i: usize, j: usize| match table.rows[i][j + 1] {
        ream_lab::Cell::Number(v) => v,
        _ => f64::NAN,
    };
    let base = table.rows.iter().position(|r| r[0] == "gpt4_1106_preview".into()).unwrap();
    for i in 0..3 {
        assert!((0..3).all(|j| (number(i, j) + number(j, i) - 100.0).abs() < 0.011));
        let ream_lab::Cell::Text(model) = &table.rows[i][0] else { panic!("a name") };
        assert!((number(i, base) - line(&board, model).rate.value).abs() < 0.0051);
    }
}

#[test]
fn what_only_an_own_file_can_answer_is_an_error_on_built_in_data() {
    for (key, change) in [
        ("mediators", (|c: &mut Config| c.mediators = vec!["lists".into()]) as fn(&mut Config)),
        ("difficulty", |c| c.difficulty = Some("d.csv".into())),
        ("baseline", |c| c.baseline = Some("b".into())),
    ] {
        let mut config = LcAlpacaEval::preset(Preset::Smoke);
        change(&mut config);
        let error = LcAlpacaEval::run(&config, &mut Run::in_memory(1)).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("--data"), "{error}");
    }
}

#[test]
fn files_with_two_baselines_ones_only_or_negative_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, row: &dyn Fn(usize) -> String| {
        let header = "instruction,model,baseline,preference,len_model,len_baseline\n".to_owned();
        let path = dir.path().join(name);
        std::fs::write(&path, header + &(0..70).map(row).collect::<String>()).unwrap();
        path
    };
    let mixed = file("mixed.csv", &|i| format!("q{},m,b{},0.{},90,100\n", i / 2, i % 2, i % 10));
    let read = |path: &Path, scale, baseline| annotations::read(path, scale, &[], baseline);
    let of_b1 = read(&mixed, Scale::Auto, Some("b1")).unwrap();
    assert_eq!((of_b1.baseline.as_str(), of_b1.models[0].preference.len()), ("b1", 35));
    let error = read(&mixed, Scale::Auto, Some("b2")).unwrap_err().to_string();
    assert!(error.contains("b0, b1"), "{error}");
    let ones = file("ones.csv", &|i| format!("q{i},m,b,1,90,100\n"));
    assert!(read(&ones, Scale::Auto, None).unwrap_err().to_string().contains("unit or raw"));
    assert_eq!(read(&ones, Scale::Raw, None).unwrap().models[0].preference[0], 0.0);
    assert_eq!(read(&ones, Scale::Unit, None).unwrap().models[0].preference[0], 1.0);
    let negative = file("negative.csv", &|i| format!("q{i},m,b,0.5,{},100\n", 3 - i as i64));
    let error = read(&negative, Scale::Auto, None).unwrap_err().to_string();
    assert!(error.contains("row 5, column `len_model`"), "{error}");
}

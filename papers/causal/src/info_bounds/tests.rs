//! The system in memory, and the user's own file.

use std::path::{Path, PathBuf};

use ream_lab::{Cell, Preset, Run, System, Table};
use ream_rand::Stream;

use super::worlds::{Ihdp, SHOWN, Training};
use super::{Conditional, Config, InfoBounds, Networks, Study, own_data};

fn smoke() -> Config {
    let config = InfoBounds::preset(Preset::Smoke);
    Config {
        networks: Networks { epochs: 3, width: 8, ..config.networks },
        study: Study { sizes: vec![100, 140], points: 20, models: 20, growth: vec![50, 200], ..config.study },
        ..config
    }
}

#[test]
fn every_preset_is_allowed_and_wrong_settings_say_what_is_right() {
    for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
        InfoBounds::check(&InfoBounds::preset(preset)).unwrap();
    }
    type Change = fn(&mut Config);
    let cases: [(Change, &str); 8] = [
        (|c| c.k = 6, "k: wanted between 0 and 5, got 6"),
        (|c| c.divergences.clear(), "divergences: wanted one or more divergences, each once"),
        (|c| c.phi = "median".into(), "phi: wanted mean, cdf:T with a number T"),
        (|c| c.propensity = "forest".into(), "propensity: wanted gbt, logit, or column:NAME, got forest"),
        (|c| c.range = vec![3.0, 1.0], "range: wanted two numbers, the least and the greatest"),
        (|c| c.level = 1.0, "level: wanted a number between 0 and 1"),
        (|c| c.study.sizes = vec![500, 500], "study.sizes: wanted one or more numbers of rows, rising"),
        (|c| c.folds = 1, "folds: wanted between 2 and 20, got 1"),
    ];
    for (change, wanted) in cases {
        let mut config = smoke();
        change(&mut config);
        let error = InfoBounds::check(&config).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let unknown = serde_json::json!(["kl", "renyi"]);
    let error =
        serde_json::from_value::<Vec<super::divergence::Divergence>>(unknown).unwrap_err().to_string();
    assert!(error.contains("renyi") && error.contains("jensen-shannon"), "{error}");
}

#[test]
fn a_run_observes_what_the_claims_read_and_gives_the_same_bits_again() {
    let go = || {
        let mut run = Run::in_memory(1);
        InfoBounds::run(&smoke(), &mut run).unwrap();
        run
    };
    let run = go();
    for measure in [
        "divergence_excess",
        "bound_of_growing_sample",
        "coverage",
        "width_spearman",
        "penalised_width",
        "rmse",
        "rmse_slope",
        "naive_error",
    ] {
        assert!(run.observations().iter().any(|o| o.measure == measure), "{measure}");
    }
    assert!(run.warnings().iter().any(|w| w.contains("largest outcome")), "c6 is said on the page");
    assert!(run.tables().iter().any(|t| t.note.contains("infinite")));
    let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
    assert!(["ribbon", "widths", "rmse"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(run.observations(), go().observations());
    // The bound leans on the largest outcome: at propensity 1/2 no less than half of it is in the bound.
    let of = |measure: &str| -> Vec<f64> {
        run.observations().into_iter().filter(|o| o.measure == measure).map(|o| o.value).collect()
    };
    let (bounds, largest) = (of("bound_of_growing_sample"), of("largest_outcome"));
    assert!(largest[1] >= largest[0]);
    assert!(bounds.iter().zip(&largest).all(|(b, l)| *b > 0.5 * l - 0.2), "{bounds:?} {largest:?}");
}

#[test]
fn keys_of_one_s_own_file_want_a_file() {
    let config = Config { outcome: Some("y".into()), ..smoke() };
    let error = InfoBounds::run(&config, &mut Run::in_memory(1)).unwrap_err().to_string();
    assert!(error.contains("outcome: wanted nothing, unless --data"), "{error}");
}

type Written = (tempfile::TempDir, PathBuf);

fn write(name: &str, text: &str) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// A trial of 120 rows: age, sector, dose (0 or 1), health (0 or 1), pay (with one very large value), weight, the probability of the dose.
fn trial(edit: impl Fn(usize, &mut Vec<String>)) -> Written {
    let mut rng = Stream::new(5, "own").at(0);
    let mut lines = vec!["age,sector,dose,health,pay,w,p,zero,one".to_owned()];
    for i in 0..120 {
        let age = 20 + rng.below(40);
        let p = if age > 40 { 0.6 } else { 0.4 };
        let dose = u8::from(rng.chance(p));
        let health = u8::from(rng.chance(0.3 + 0.3 * f64::from(dose)));
        let pay = if i == 17 { 5000.0 } else { 10.0 + rng.uniform() };
        let sector = ["north", "south", "west"][rng.below(3)];
        let mut cells: Vec<String> =
            vec![age.to_string(), sector.into(), dose.to_string(), health.to_string()];
        cells.extend([pay.to_string(), (1 + i % 2).to_string(), p.to_string(), "0.3".into(), "0.7".into()]);
        edit(i, &mut cells);
        lines.push(cells.join(","));
    }
    write("trial.csv", &(lines.join("\n") + "\n"))
}

fn own(outcome: &str, covariates: &[&str]) -> Config {
    Config {
        divergences: super::divergence::ALL.to_vec(),
        outcome: Some(outcome.into()),
        treatment: Some("dose".into()),
        covariates: covariates.iter().map(|c| (*c).to_owned()).collect(),
        ..smoke()
    }
}

fn on(config: &Config, path: &Path) -> Run {
    let mut run = Run::in_memory_on(1, path);
    InfoBounds::check(config).unwrap();
    InfoBounds::run(config, &mut run).unwrap();
    run
}

fn table<'a>(run: &'a Run, title: &str) -> &'a Table {
    run.tables().iter().find(|t| t.title.starts_with(title)).unwrap()
}

/// Lower and upper end of a line.
fn ends(table: &Table, quantity: &str, interval: &str) -> (f64, f64) {
    let text = |cell: &Cell| matches!(cell, Cell::Text(t) if t.starts_with(quantity));
    let named = |cell: &Cell| matches!(cell, Cell::Text(t) if t.starts_with(interval));
    let row = table.rows.iter().find(|r| text(&r[0]) && named(&r[1])).unwrap();
    match (&row[2], &row[4]) {
        (Cell::Number(low), Cell::Number(high)) => (*low, *high),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_table_holds_every_level_and_effect_and_manski_is_never_wider() {
    let (_dir, path) = trial(|_, _| ());
    let run = on(&Config { range: vec![0.0, 1.0], ..own("health", &[]) }, &path);
    let table = table(&run, "Bounds without covariates");
    for quantity in ["E[health | do(0)]", "E[health | do(1)]", "effect, 1 against 0"] {
        let manski = ends(table, quantity, "Manski, known range");
        let (naive, _) = ends(table, quantity, "no confounding");
        for d in ["KL", "Hellinger", "chi-square", "total variation", "Jensen-Shannon"] {
            let (low, high) = ends(table, quantity, d);
            assert!(low <= manski.0 + 1e-9 && manski.1 <= high + 1e-9, "{quantity} {d}");
            assert!(low <= naive && naive <= high);
        }
        let joined = ends(table, quantity, "k-agg");
        assert!(joined.0 <= joined.1);
    }
    assert!(run.figures().iter().any(|(name, _)| name == "effects"));
    // Nothing leans on one row where the outcome has two values.
    assert!(run.warnings().is_empty(), "{:?}", run.warnings());
}

#[test]
fn a_bound_that_leans_on_one_row_is_said_and_only_then() {
    let (_dir, path) = trial(|_, _| ());
    let run = on(&own("pay", &[]), &path);
    let warning = run.warnings().iter().find(|w| w.contains("leans on its largest value")).unwrap().clone();
    assert!(warning.contains("without row 18 (5000") && warning.contains("--set range"), "{warning}");
    let run = on(&Config { phi: "cdf:10.5".into(), ..own("pay", &[]) }, &path);
    assert!(run.warnings().is_empty(), "{:?}", run.warnings());
}

#[test]
fn networks_and_kernel_give_a_line_for_every_row_and_level() {
    let (_dir, path) = trial(|_, _| ());
    let config = Config {
        id: Some("age".into()),
        weights: Some("w".into()),
        policy: vec!["zero".into(), "one".into()],
        ..own("health", &["age", "sector"])
    };
    let run = on(&config, &path);
    let rows = table(&run, "Intervals by row");
    assert_eq!(rows.rows.len(), 240);
    assert_eq!(rows.columns.len(), 4 + 10 + 7);
    let averages = table(&run, "Bounds averaged over covariates");
    let policy = ends(averages, "E[health | policy]", "chi-square");
    assert!(policy.0.is_finite() && policy.1.is_finite());
    let config =
        Config { conditional: Conditional::Kernel, propensity: "column:p".into(), ..own("health", &["age"]) };
    let run = on(&config, &path);
    let rows = table(&run, "Intervals by row");
    let (lower, se) = (&rows.rows[0][14], &rows.rows[0][17]);
    assert!(
        matches!((lower, se), (Cell::Number(l), Cell::Number(s)) if l.is_finite() && *s >= 0.0),
        "{lower:?} {se:?}"
    );
    for row in &rows.rows {
        for pair in row[4..14].chunks(2) {
            assert!(matches!(pair, [Cell::Number(l), Cell::Number(u)] if l <= u));
        }
    }
}

#[test]
fn three_levels_of_text_are_compared_with_the_first() {
    let (_dir, path) = trial(|i, cells| cells[2] = ["high", "low", "none"][i % 3].into());
    let run = on(&own("health", &["age"]), &path);
    let table = table(&run, "Bounds without covariates");
    let effect = ends(table, "effect, none against high", "Hellinger");
    assert!(effect.0 < effect.1);
}

#[test]
fn errors_say_where_and_what_would_be_right() {
    type Edit = fn(usize, &mut Vec<String>);
    let nothing: Edit = |_, _| ();
    let cases: Vec<(Edit, Config, &str)> = vec![
        (|_, c| c[2] = "1".into(), own("health", &[]), "column `dose`: wanted 2 or more levels"),
        (
            |i, c| c[2] = u8::from(i < 7).to_string(),
            own("health", &[]),
            "wanted at least 20 rows of every level, got 7 of `1`",
        ),
        (|i, c| c[2] = (i % 40).to_string(), own("health", &[]), "wanted 2 to 16 levels"),
        (
            |i, c| {
                if i == 3 {
                    c[3] = String::new();
                }
            },
            own("health", &[]),
            "row 4",
        ),
        (
            |i, c| {
                if i == 3 {
                    c[2] = String::new();
                }
            },
            own("health", &[]),
            "column `dose`: wanted a level in every row",
        ),
        (
            |i, c| {
                if i == 3 {
                    c[1] = String::new();
                }
            },
            own("health", &["sector"]),
            "none in row 4",
        ),
        (|i, c| c[1] = format!("s{i}"), own("health", &["sector"]), "wanted 2 to 50 different texts"),
        (|_, c| c[0] = "30".into(), own("health", &["age"]), "column `age`: wanted values that differ"),
        (nothing, own("health", &["dose"]), "wanted a covariate that is neither outcome nor treatment"),
        (
            |i, c| {
                if i > 100 {
                    c[6] = "1".into();
                }
            },
            Config { propensity: "column:p".into(), ..own("health", &["age"]) },
            "above 0 and below 1",
        ),
        (
            |i, c| {
                if i == 5 {
                    c[5] = "-1".into();
                }
            },
            Config { weights: Some("w".into()), ..own("health", &[]) },
            "weights of at least 0, got -1 in row 6",
        ),
        (
            nothing,
            Config { outcome: None, ..own("health", &[]) },
            "outcome: wanted the name of a column: --set outcome=NAME",
        ),
        (nothing, own("helth", &[]), "did you mean `health`?"),
        (nothing, Config { range: vec![0.0, 20.0], ..own("pay", &[]) }, "got 5000 in row 18"),
        (
            |_, c| c[7] = "0.5".into(),
            Config { policy: vec!["zero".into(), "one".into()], ..own("health", &["age"]) },
            "probabilities that sum to 1",
        ),
        (
            nothing,
            Config { policy: vec!["zero".into()], ..own("health", &["age"]) },
            "one column for each level of the treatment",
        ),
        (
            nothing,
            Config { policy: vec!["zero".into(), "one".into()], ..own("health", &[]) },
            "nothing without covariates",
        ),
    ];
    for (edit, config, wanted) in cases {
        let (_dir, path) = trial(edit);
        let error = InfoBounds::check_data(&config, &path).unwrap_err().to_string();
        assert!(error.contains(wanted), "wanted `{wanted}`, got `{error}`");
    }
    let positivity: Edit = |i, c| {
        if i > 100 {
            c[6] = "1".into();
        }
    };
    let (_dir, path) = trial(positivity);
    let config = Config { propensity: "column:p".into(), ..own("health", &["age"]) };
    let error = own_data::load(&config, &path).unwrap_err().to_string();
    assert!(error.contains("rows 102, 103, 104"), "{error}");
}

#[test]
fn rows_without_overlap_are_named() {
    // Everyone above 40 gets the dose.
    let (_dir, path) = trial(|_, c| c[2] = u8::from(c[0].parse::<u32>().unwrap() > 40).to_string());
    let run = on(&own("health", &["age"]), &path);
    assert!(
        run.warnings().iter().any(|w| w.contains("estimated propensity below 0.01")),
        "{:?}",
        run.warnings()
    );
    let config = Config { propensity: "logit".into(), ..own("health", &["age"]) };
    let mut run = Run::in_memory_on(1, &path);
    let error = InfoBounds::run(&config, &mut run).unwrap_err().to_string();
    assert!(error.contains("separate the arms"), "{error}");
}

/// A file like that of IHDP: the treated of mothers who are not white are left out, the mean effect on the treated is 4.
#[test]
fn ihdp_is_read_and_its_outcomes_are_hill_s() {
    let mut rng = Stream::new(6, "infants").at(0);
    let numeric = ["bw", "b.head", "preterm", "birth.o", "nnhealth", "momage"];
    let binary = [
        "sex",
        "twin",
        "b.marr",
        "mom.lths",
        "mom.hs",
        "mom.scoll",
        "cig",
        "first",
        "booze",
        "drugs",
        "work.dur",
        "prenatal",
        "site1",
        "site2",
        "site3",
        "site4",
        "site5",
        "site6",
        "site7",
    ];
    let header: Vec<&str> = ["treat", "momwhite"].into_iter().chain(numeric).chain(binary).collect();
    let mut text = header.join(",") + "\n";
    let mut kept = 0;
    for _ in 0..300 {
        let (treat, white) = (rng.below(2), rng.below(2));
        kept += usize::from(treat == 0 || white == 1);
        let mut cells = vec![treat.to_string(), white.to_string()];
        cells.extend(numeric.map(|_| (100.0 + 10.0 * rng.normal()).to_string()));
        cells.extend(binary.map(|_| rng.below(2).to_string()));
        text += &(cells.join(",") + "\n");
    }
    let (_dir, path) = write("sim.csv", &text);
    let ihdp = Ihdp::load(&path).unwrap();
    assert_eq!((ihdp.arm.len(), ihdp.shown.cols()), (kept, SHOWN.len()));
    let outcomes = ihdp.outcomes(Stream::new(1, "ihdp"));
    assert_eq!(outcomes.truth.len(), kept);
    // The smooth surface of the treated lies near their outcomes' mean.
    let treated: Vec<usize> = (0..kept).filter(|i| ihdp.arm[*i] == 1).collect();
    let mean = |v: &[f64]| treated.iter().map(|i| v[*i]).sum::<f64>() / treated.len() as f64;
    assert!((mean(&outcomes.y) - mean(&outcomes.truth)).abs() < 0.6);
}

/// The treated of the trial stand beside the comparison group; the trial's own control rows only tell the effect.
#[test]
fn the_trial_s_treated_stand_beside_the_comparison_group() {
    let (_one, trial) = write("trial.csv", "treat,re78\n1,900\n1,1100\n0,400\n0,200\n");
    let (_two, comparison) = write("comparison.csv", "treat,re78\n0,5000\n0,7000\n0,9000\n");
    let training = Training::load(&trial, &comparison).unwrap();
    assert_eq!(training.experiment, 700.0);
    assert_eq!(training.earnings, [900.0, 1100.0, 5000.0, 7000.0, 9000.0]);
    assert_eq!(training.arm, [1, 1, 0, 0, 0]);
    let (_three, empty) = write("empty.csv", "treat,re78\n1,900\n");
    assert!(
        Training::load(&empty, &comparison).unwrap_err().to_string().contains("an arm of the trial is empty")
    );
}

use std::path::{Path, PathBuf};

use ream_lab::{Cell, Run, System, Table};
use ream_rand::Stream;
use ream_stats::glm;

use super::analytic::Law;
use super::card::Method;
use super::config::{Config, Own};
use super::effects::Estimator;
use super::predictors::Predictor;
use super::{DebiasMap, own_data};

/// A folder with tables whose truth is known: predictions with b = 1/2, an effect of the treatment, labels for a part.
struct Files {
    folder: tempfile::TempDir,
    truth: f64,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sample = Law::Gaussian.sample(600, Stream::new(1, "calibration"));
        let mut text = "unit,area,prediction,truth,height,urban\n".to_owned();
        let mut rng = Stream::new(2, "columns").at(0);
        for (i, (z, y)) in sample.predictions.iter().zip(&sample.truth).enumerate() {
            let urban = u8::from(rng.chance(glm::sigmoid(3.0 * z)));
            text += &format!("c{i},a{},{z},{y},{},{urban}\n", i % 40, z + 0.1 * rng.normal());
        }
        std::fs::write(folder.path().join("calibration.csv"), text).unwrap();
        let trial = Law::Gaussian.sample(900, Stream::new(3, "trial"));
        let mut text = "unit,area,prediction,treatment,age,label,height\n".to_owned();
        let mut map = "unit,prediction\n".to_owned();
        let (mut sums, mut counts) = ([0.0; 2], [0.0; 2]);
        for (i, (z, y)) in trial.predictions.iter().zip(&trial.truth).enumerate() {
            let arm = rng.chance(glm::sigmoid(*y));
            sums[usize::from(arm)] += y;
            counts[usize::from(arm)] += 1.0;
            let label = if i % 5 == 0 { y.to_string() } else { String::new() };
            text += &format!("t{i},b{},{z},{},{},{label},{z}\n", i % 45, u8::from(arm), rng.normal());
            map += &format!("t{i},{z}\n");
        }
        std::fs::write(folder.path().join("trial.csv"), text).unwrap();
        std::fs::write(folder.path().join("map.csv"), map).unwrap();
        Self { folder, truth: sums[1] / counts[1] - sums[0] / counts[0] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn with_trial(&self) -> Own {
        Own { trial: Some(self.text("trial.csv")), ..Own::default() }
    }

    /// The same table with every line changed.
    fn changed(&self, name: &str, to: &str, change: impl Fn(usize, &str) -> String) -> PathBuf {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let lines: Vec<String> = text.lines().enumerate().map(|(i, line)| change(i, line)).collect();
        std::fs::write(self.path(to), lines.join("\n") + "\n").unwrap();
        self.path(to)
    }
}

fn config(own: Own) -> Config {
    let bootstrap = if own.bootstrap == Own::default().bootstrap { 100 } else { own.bootstrap };
    Config { own: Own { bootstrap, ..own }, ..Config::smoke() }
}

fn run(config: &Config, file: &Path) -> Run {
    DebiasMap::check(config).unwrap();
    DebiasMap::check_data(config, file).unwrap();
    let mut run = Run::in_memory_on(1, file);
    DebiasMap::run(config, &mut run).unwrap();
    run
}

fn refused(own: Own, file: &Path) -> String {
    DebiasMap::check_data(&config(own), file).unwrap_err().to_string()
}

fn table<'a>(run: &'a Run, begins: &str) -> &'a Table {
    run.tables().iter().find(|t| t.title.starts_with(begins)).unwrap()
}

/// Estimate, error and interval of a row.
fn row(table: &Table, method: &str, error: &str) -> [f64; 4] {
    let name = |cell: &Cell, wanted: &str| matches!(cell, Cell::Text(t) if t == wanted);
    let found = table.rows.iter().find(|r| name(&r[0], method) && name(&r[1], error)).unwrap();
    let number = |k: usize| if let Cell::Number(v) = found[k] { v } else { f64::NAN };
    [number(2), number(3), number(6), number(7)]
}

#[test]
fn a_trial_is_corrected_and_written() {
    let files = Files::new();
    let own = Own {
        id: Some("unit".into()),
        cluster: Some("area".into()),
        label: Some("label".into()),
        methods: Method::ALL.to_vec(),
        output: Some(files.text("out")),
        ..files.with_trial()
    };
    let config = config(own);
    let told = run(&config, &files.path("calibration.csv"));
    let effects = table(&told, "Effect of treatment (difference in means)");
    assert_eq!(effects.columns[2..], ["coef", "std err", "z", "P>|z|", "[0.025", "0.975]"]);
    let [naive, naive_se, ..] = row(effects, "naive", "lower limit");
    assert!((naive / files.truth - 0.5).abs() < 0.1, "{naive} {}", files.truth);
    for (method, error) in [
        ("lcc", "delta"),
        ("lcc", "bootstrap"),
        ("tweedie", "bootstrap"),
        ("ppi", "normal"),
        ("ppi++", "normal"),
    ] {
        let [value, se, low, high] = row(effects, method, error);
        assert!((value / files.truth - 1.0).abs() < 0.25, "{method} {value}");
        assert!(low < files.truth && files.truth < high && low < value && value < high, "{method}");
        assert!(se > naive_se || method.starts_with("ppi"));
    }
    assert!(effects.note.contains("900 units in 45 areas"), "{}", effects.note);
    let out = files.path("out");
    let map = std::fs::read_to_string(out.join("map.csv")).unwrap();
    assert!(map.starts_with("id,prediction,lcc,tweedie\nt0,") && map.lines().count() == 901);
    for name in ["effects.csv", "effects.json", "effects.md", "effects.tex", "card-table.csv", "card.json"] {
        assert!(out.join(name).exists(), "{name}");
    }
    assert!(std::fs::read_to_string(out.join("effects.tex")).unwrap().contains("\\toprule"));
    for name in ["truth", "densities", "score", "effects"] {
        assert!(told.figures().iter().any(|(n, _)| n == name), "{name}");
    }
    assert!(told.warnings().is_empty(), "{:?}", told.warnings());

    // A later trial needs the card alone, and finds the same.
    let own = Own {
        card: Some(out.join("card.json").display().to_string()),
        trial: None,
        output: None,
        methods: vec![Method::Naive, Method::Lcc, Method::Tweedie],
        ..config.own.clone()
    };
    let again = run(&Config { own, ..config }, &files.path("trial.csv"));
    let later = table(&again, "Effect of");
    for (method, error) in
        [("naive", "lower limit"), ("lcc", "delta"), ("lcc", "bootstrap"), ("tweedie", "bootstrap")]
    {
        let (a, b) = (row(effects, method, error), row(later, method, error));
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{method} {error} {a:?} {b:?}");
    }
}

#[test]
fn every_estimator_runs_and_maps_are_joined() {
    let files = Files::new();
    for estimator in [Estimator::DifferenceInMeans, Estimator::Ols, Estimator::Ipw, Estimator::Aipw] {
        let own = Own { estimator, covariates: vec!["age".into()], bootstrap: 10, ..files.with_trial() };
        let config = config(own);
        let told = run(&config, &files.path("calibration.csv"));
        let [value, ..] = row(table(&told, "Effect of"), "lcc", "delta");
        assert!((value / files.truth - 1.0).abs() < 0.25, "{estimator:?} {value}");
    }
    let bare = files.changed("trial.csv", "bare.csv", |_, line| {
        let cells: Vec<&str> = line.split(',').collect();
        format!("{},{}", cells[0], cells[3])
    });
    let own = Own {
        trial: Some(bare.display().to_string()),
        map: Some(files.text("map.csv")),
        id: Some("unit".into()),
        ..Own::default()
    };
    let joined = run(&config(own.clone()), &files.path("calibration.csv"));
    let plain = run(&config(files.with_trial()), &files.path("calibration.csv"));
    assert_eq!(table(&joined, "Effect of").rows, table(&plain, "Effect of").rows);
    files.changed(
        "map.csv",
        "short-map.csv",
        |i, line| if i == 7 { "x,0".to_owned() } else { line.to_owned() },
    );
    let own = Own { map: Some(files.text("short-map.csv")), ..own };
    let text = refused(own, &files.path("calibration.csv"));
    assert!(text.contains("units of the map") && text.contains("`t6` in row 7"), "{text}");
}

#[test]
fn features_are_cross_fitted() {
    let files = Files::new();
    for (folds, predictor) in [(5, Predictor::Ridge), (0, Predictor::Ridge), (3, Predictor::Trees)] {
        let own = Own {
            features: vec!["height".into()],
            cluster: Some("area".into()),
            folds,
            predictor,
            ..files.with_trial()
        };
        let told = run(&config(own), &files.path("calibration.csv"));
        let [naive, ..] = row(table(&told, "Effect of"), "naive", "lower limit");
        let [value, ..] = row(table(&told, "Effect of"), "lcc", "delta");
        assert!((value / files.truth - 1.0).abs() < 0.25 && naive < 0.7 * files.truth, "{folds} {value}");
    }
    let own = Own { features: vec!["height".into(), "truth".into()], ..Own::default() };
    assert!(refused(own, &files.path("calibration.csv")).contains("columns other than the truth"));
}

#[test]
fn a_dependent_column_is_warned_of() {
    let files = Files::new();
    let own = Own { test: vec!["urban".into()], output: Some(files.text("tested")), ..Own::default() };
    let told = run(&config(own), &files.path("calibration.csv"));
    assert!(
        told.warnings().iter().any(|w| w.contains("by another way than through the outcome")),
        "{:?}",
        told.warnings()
    );
    assert!(table(&told, "The corrected map").rows.len() == 600);
    // The card tells later trials.
    let own = Own { card: Some(files.text("tested/card.json")), ..Own::default() };
    let later = run(&config(own), &files.path("trial.csv"));
    assert_eq!(later.warnings(), told.warnings());
    // As a treatment that is an input of the predictor.
    let own =
        Own { features: vec!["height".into(), "urban".into()], treatment: "urban".into(), ..Own::default() };
    let told = run(&config(own), &files.path("calibration.csv"));
    assert!(
        told.warnings().iter().any(|w| w.contains("`urban` is an input of the predictive model")),
        "{:?}",
        told.warnings()
    );
}

#[test]
fn what_is_wrong_with_tables_is_said() {
    let files = Files::new();
    let calibration = files.path("calibration.csv");
    let own = Own { prediction: "predicton".into(), ..Own::default() };
    assert!(refused(own, &calibration).contains("did you mean `prediction`?"));
    let hole = files.changed("calibration.csv", "hole.csv", |i, line| {
        if i == 4 { "c3,a3,inf,1,1,0".to_owned() } else { line.to_owned() }
    });
    let text = refused(Own::default(), &hole);
    assert!(text.contains("row 4") && text.contains("`inf` is no finite number"), "{text}");
    let twice = files.changed("calibration.csv", "twice.csv", |_, line| line.replace("c5,", "c4,"));
    let text = refused(Own { id: Some("unit".into()), ..Own::default() }, &twice);
    assert!(text.contains("each unit once, got `c4` in rows 5 and 6"), "{text}");
    let few =
        files.changed(
            "calibration.csv",
            "few.csv",
            |i, line| if i < 15 { line.to_owned() } else { String::new() },
        );
    let text = refused(Own::default(), &few);
    assert!(text.contains("few.csv") && text.contains("at least 20 rows"), "{text}");
    let flat = files.changed("calibration.csv", "flat.csv", |i, line| {
        let cells: Vec<&str> = line.split(',').collect();
        if i == 0 {
            line.to_owned()
        } else {
            format!("{},{},1.5,{},{},{}", cells[0], cells[1], cells[3], cells[4], cells[5])
        }
    });
    assert!(refused(Own::default(), &flat).contains("values that differ, got 1.5 everywhere"));
    let text = refused(Own { cluster: Some("region".into()), ..Own::default() }, &calibration);
    assert!(text.contains("own.cluster") && text.contains("got region"), "{text}");

    let trial = |change: &dyn Fn(usize, &str) -> String| {
        let path = files.changed("trial.csv", "changed.csv", change);
        Own { trial: Some(path.display().to_string()), ..Own::default() }
    };
    let with = |cell: usize, value: &'static str| {
        trial(&|i, line| {
            let mut cells: Vec<&str> = line.split(',').collect();
            if i > 0 {
                cells[cell] = value;
            }
            cells.join(",")
        })
    };
    let text = refused(with(3, "1"), &calibration);
    assert!(text.contains("changed.csv, the untreated arm: wanted at least two units, got 0"), "{text}");
    let text = refused(with(3, "0.5"), &calibration);
    assert!(text.contains("0 or 1") && text.contains("0.5"), "{text}");
    let text = refused(with(2, "40"), &calibration);
    assert!(text.contains("100.0 % outside"), "{text}");
    let text = refused(Own { label: Some("age2".into()), ..files.with_trial() }, &calibration);
    assert!(text.contains("no column `age2`"), "{text}");
    let text = refused(Own { card: Some(files.text("map.csv")), ..Own::default() }, &files.path("trial.csv"));
    assert!(text.contains("card as own.output writes it"), "{text}");
}

#[test]
fn a_few_predictions_outside_the_range_are_told() {
    let files = Files::new();
    let path = files.changed("trial.csv", "far.csv", |i, line| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if i > 0 && i % 10 == 0 {
            cells[2] = "9";
        }
        cells.join(",")
    });
    let own = Own { trial: Some(path.display().to_string()), ..Own::default() };
    let told = run(&config(own), &files.path("calibration.csv"));
    assert!(
        told.warnings().iter().any(|w| w.contains("10.0 % of the trial's predictions lie outside")),
        "{:?}",
        told.warnings()
    );
    let quiet = run(&config(files.with_trial()), &files.path("calibration.csv"));
    assert!(!quiet.warnings().iter().any(|w| w.contains("outside the calibration range")));
    assert!(own_data::load(&config(files.with_trial()), &files.path("calibration.csv")).is_ok());
}

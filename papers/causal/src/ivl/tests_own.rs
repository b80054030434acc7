//! One's own file: tables, errors, warnings.

use std::fmt::Write as _;
use std::path::PathBuf;

use ream_lab::{Cell, Run, System, Table};
use ream_rand::Stream;
use ream_stats::instrumental::{Instrumental, Variables};
use ream_stats::{Covariance, Matrix};

use super::augment::{Augmentation, augment, powers, specs};
use super::config::{Config, CovarianceKind, Estimator};
use super::own_data::load;
use super::select::Selector;
use super::{Ivl, card};

struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(header: &str, rows: impl Iterator<Item = Vec<String>>) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.csv");
    let mut text = format!("{header}\n");
    for row in rows {
        let _ = writeln!(text, "{}", row.join(","));
    }
    std::fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

/// y on x, confounded; z1, z2 instruments of this strength, w a control, k a constant, double = 2 x + 1, id a cluster, image columns p0..p3.
fn wages(strength: f64, n: usize) -> File {
    let mut rng = Stream::new(8, "own data").at(0);
    let rows = (0..n).map(move |i| {
        let (hidden, z1, z2, w) = (rng.normal(), rng.normal(), rng.normal(), rng.normal());
        let x = strength * (z1 + z2) + hidden + 0.5 * w + rng.normal();
        let y = 1.0 + 2.0 * x - 3.0 * hidden + w + rng.normal();
        let noise: Vec<f64> = (0..4).map(|_| rng.normal()).collect();
        let mut row: Vec<String> =
            [y, x, z1, z2, w, 1.0, 2.0 * x + 1.0].iter().map(ToString::to_string).collect();
        row.push(format!("g{}", i % 12));
        row.extend(noise.iter().map(ToString::to_string));
        row
    });
    file("y,x,z1,z2,w,k,double,id,p0,p1,p2,p3", rows)
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let mut config = Config::smoke();
    config.outcome = Some("y".to_owned());
    config.treatments = list(&["x"]);
    config.controls = list(&["w"]);
    config.instruments = list(&["z1", "z2"]);
    config.estimator = Estimator::TwoStage;
    config.bootstrap = 20;
    config.redraws = 3;
    change(&mut config);
    config
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn ran(config: &Config, file: &File) -> Run {
    config.check().unwrap();
    let mut run = Run::in_memory_on(1, &file.path);
    Ivl::run(config, &mut run).unwrap();
    run
}

fn table<'a>(run: &'a Run, start: &str) -> &'a Table {
    run.tables().iter().find(|t| t.title.starts_with(start)).unwrap_or_else(|| panic!("no table {start}"))
}

fn number(cell: &Cell) -> f64 {
    match cell {
        Cell::Number(v) => *v,
        other => panic!("{other:?} is no number"),
    }
}

fn row<'a>(table: &'a Table, name: &str) -> &'a [Cell] {
    table.rows.iter().find(|r| r[0] == Cell::from(name)).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn two_stage_least_squares_has_the_table_that_is_expected() {
    let mine = wages(1.0, 400);
    let run = ran(&config(|_| ()), &mine);
    let own = load(&config(|_| ()), &mine.path).unwrap();
    let instruments = own.instruments.clone().unwrap();
    let model = Instrumental::new(Variables {
        outcome: &own.outcome,
        controls: Some(&own.controls),
        treatments: &own.treatments,
        instruments: &instruments,
    })
    .unwrap();
    let want = model.two_stage_least_squares(Covariance::Hc1).unwrap().estimates;
    let of = table(&run, "2SLS of y");
    assert_eq!(of.columns, ["parameter", "coef.", "std. err.", "t", "P>|t|", "[0.025", "0.975]"]);
    for (j, name) in ["const", "w", "x"].iter().enumerate() {
        let got = row(of, name);
        assert_eq!(number(&got[1]), want.coefficients[j]);
        // Residuals with the treatment itself, not with its first-stage prediction.
        assert_eq!(number(&got[2]), want.standard_errors[j]);
    }
    let x = row(of, "x");
    assert!((number(&x[1]) - 2.0).abs() < 0.4 && number(&x[5]) < 2.0 && number(&x[6]) > 2.0);
    let first = table(&run, "First stage");
    assert!(number(&row(first, "x")[5]) > 50.0);
    let tests = table(&run, "Tests");
    assert!(number(&row(tests, "Wu-Hausman")[4]) < 0.01);
    assert!(number(&row(tests, "Sargan")[4]) > 0.01 && number(&row(tests, "Hansen J")[4]) > 0.01);
    assert!(tests.note.contains("Anderson-Rubin interval"));
    let others = table(&run, "Estimators");
    assert!(number(&row(others, "OLS")[2]) < 1.5);
    assert_eq!(number(&row(others, "2SLS")[2]), want.coefficients[2]);
    assert_eq!(table(&run, "alpha path").rows.len(), 13);
    let names: Vec<&str> = run.figures().iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["coefficients", "alpha-path", "kappa"]);
    assert!(run.warnings().is_empty(), "{:?}", run.warnings());
    assert!(table(&run, "Summary").to_latex().contains("\\begin{tabular}"));
}

#[test]
fn every_estimator_and_covariance_runs() {
    let mine = wages(1.0, 300);
    let coefficient = |change: &dyn Fn(&mut Config)| {
        let run = ran(&config(|c| change(c)), &mine);
        let of = run.tables().iter().find(|t| t.title.ends_with(" of y")).unwrap();
        let x = row(of, "x");
        [number(&x[1]), number(&x[2])]
    };
    let [ols, _] = coefficient(&|c| c.estimator = Estimator::Ols);
    let [two, two_se] = coefficient(&|_| ());
    let [liml, _] = coefficient(&|c| c.estimator = Estimator::Liml);
    let at = |kappa: f64| coefficient(&|c| (c.estimator, c.kappa) = (Estimator::Kclass, Some(kappa)))[0];
    assert!((at(0.0) - ols).abs() < 1e-9 && (at(1.0) - two).abs() < 1e-9);
    let [ivl, _] = coefficient(&|c| (c.estimator, c.alpha) = (Estimator::Ivl, Some(0.25)));
    let [anchor, _] = coefficient(&|c| (c.estimator, c.gamma) = (Estimator::Anchor, Some(5.0)));
    assert!((ivl - anchor).abs() < 1e-9 && (ivl - at(0.8)).abs() < 1e-9);
    assert!(ols < ivl && ivl < two && (liml - two).abs() < 0.2);
    for kind in [CovarianceKind::Classical, CovarianceKind::Hc0] {
        let [same, se] = coefficient(&|c| c.covariance = kind);
        assert!(same == two && se != two_se);
    }
    let [_, clustered] =
        coefficient(&|c| (c.covariance, c.cluster) = (CovarianceKind::Cluster, Some("id".to_owned())));
    assert!(clustered > 0.0 && clustered != two_se);
    let [_, hc3] = coefficient(&|c| (c.estimator, c.covariance) = (Estimator::Ols, CovarianceKind::Hc3));
    assert!(hc3 > 0.0);
    // OLS needs no instruments.
    let [plain, _] = coefficient(&|c| (c.estimator, c.instruments) = (Estimator::Ols, Vec::new()));
    assert!((plain - ols).abs() < 1e-9);
}

#[test]
fn every_error_is_one_sentence_that_names_the_place() {
    let mine = wages(1.0, 200);
    let error =
        |change: &dyn Fn(&mut Config)| load(&config(|c| change(c)), &mine.path).unwrap_err().to_string();
    type Case<'a> = (&'a dyn Fn(&mut Config), &'a [&'a str]);
    let cases: [Case<'_>; 17] = [
        (&|c| c.outcome = None, &["outcome", "y, x, z1"]),
        (&|c| c.treatments.clear(), &["treatments"]),
        (&|c| c.outcome = Some("yy".into()), &["no column `yy`", "did you mean `y`"]),
        (&|c| c.controls = strings(&["x"]), &["`x`", "among treatments too"]),
        (
            &|c| c.treatments = strings(&["x", "p0", "p1"]),
            &["2 instrument(s) for 3 treatments", "estimator=ivl"],
        ),
        (&|c| c.controls = strings(&["w", "k"]), &["`k`", "linear combination", "`const`"]),
        (
            &|c| {
                c.treatments = strings(&["x", "double"]);
                c.controls.clear();
            },
            &["`double` (treatments)", "`x`", "leave one"],
        ),
        (&|c| c.instruments = strings(&["k"]), &["instrument `k`", "same value in every row"]),
        (&|c| c.instruments = strings(&["id"]), &["column `id`", "no finite number"]),
        (&|c| c.estimator = Estimator::Kclass, &["kappa"]),
        (&|c| c.estimator = Estimator::Anchor, &["gamma"]),
        (&|c| c.covariance = CovarianceKind::Hc3, &["covariance", "leverages"]),
        (&|c| c.covariance = CovarianceKind::Cluster, &["cluster"]),
        (&|c| c.instruments.clear(), &["instruments=... or augment=... for 2SLS"]),
        (&|c| c.augment = strings(&["noise sd=1"]), &["not both"]),
        (
            &|c| (c.estimator, c.selector) = (Estimator::Ivl, Selector::Stress),
            &["selector", "no augmentation to make stronger"],
        ),
        (
            &|c| {
                (c.estimator, c.controls) = (Estimator::Ols, strings(&["w", "double"]));
            },
            &["linear combination"],
        ),
    ];
    for (k, (change, words)) in cases.iter().enumerate() {
        let text = error(change);
        assert!(words.iter().all(|w| text.contains(w)), "case {k}: {text}");
        assert!(!text.contains('\n'), "case {k}: {text}");
    }
    // Through the system, as the command line asks.
    assert!(Ivl::check_data(&config(|c| c.outcome = None), &mine.path).is_err());
    assert!(Ivl::check_data(&config(|_| ()), &mine.path).is_ok());
}

#[test]
fn missing_values_are_counted_and_left_out_only_when_asked() {
    let mut k = 0;
    let mut rng = Stream::new(5, "missing").at(0);
    let mine = file(
        "y,x,z1",
        (0..60).map(|_| {
            k += 1;
            let z = rng.normal();
            let x = z + rng.normal();
            let cell = if k % 20 == 0 { String::new() } else { x.to_string() };
            vec![(2.0 * x + rng.normal()).to_string(), cell, z.to_string()]
        }),
    );
    let set = |drop: bool| {
        config(|c| {
            c.controls.clear();
            c.instruments = strings(&["z1"]);
            c.drop_missing = drop;
        })
    };
    let text = load(&set(false), &mine.path).unwrap_err().to_string();
    assert!(
        text.contains("3 of 60 rows") && text.contains("`x`: 3") && text.contains("drop_missing=true"),
        "{text}"
    );
    let run = ran(&set(true), &mine);
    assert_eq!(row(table(&run, "Summary"), "No. observations")[1], Cell::from("57"));
    assert!(run.warnings().iter().any(|w| w.contains("3 rows with a missing value were left out")));
}

#[test]
fn too_few_rows_are_refused() {
    let short = wages(1.0, 10);
    let text = load(&config(|_| ()), &short.path).unwrap_err().to_string();
    assert!(text.contains("at least 20 rows"), "{text}");
    let mine = wages(1.0, 22);
    let many = config(|c| {
        c.estimator = Estimator::Ivl;
        c.instruments.clear();
        c.treatments = strings(&["x", "p0", "p1", "p2", "p3", "z1", "z2"]);
        c.augment = strings(&["noise sd=0.5", "noise sd=0.2"]);
    });
    let text = load(&many, &mine.path).unwrap_err().to_string();
    assert!(text.contains("22 rows for 23 columns") && text.contains("more rows than parameters"), "{text}");
}

#[test]
fn it_warns_where_a_method_must_and_is_silent_elsewhere() {
    let (strong, weak) = (wages(1.0, 400), wages(0.03, 400));
    let warned =
        |change: &dyn Fn(&mut Config), file: &File| ran(&config(|c| change(c)), file).warnings().join("\n");
    assert!(warned(&|_| (), &weak).contains("weak instruments: they move `x`"));
    assert_eq!(warned(&|_| (), &strong), "");
    let ivl = |c: &mut Config, selector: Selector| {
        (c.estimator, c.selector) = (Estimator::Ivl, selector);
    };
    assert!(warned(&|c| ivl(c, Selector::Cv), &strong).contains("the biased fit"));
    assert!(warned(&|c| ivl(c, Selector::Lcv), &strong).contains("the biased fit"));
    assert_eq!(warned(&|c| ivl(c, Selector::Cc), &strong), "");
    assert_eq!(warned(&|c| ivl(c, Selector::IvRisk), &strong), "");
    let few = |c: &mut Config| {
        ivl(c, Selector::Cc);
        (c.treatments, c.alpha) = (strings(&["x", "p0", "p1"]), Some(1.0));
    };
    assert!(warned(&few, &strong).contains("2 instruments or parameters for 3 treatments"));
    let augmented = |c: &mut Config, spec: &str| {
        ivl(c, Selector::Stress);
        c.instruments.clear();
        c.treatments = strings(&["x", "p0", "p1"]);
        c.augment = strings(&[spec]);
    };
    assert!(warned(&|c| augmented(c, "noise sd=0.5"), &strong).contains("shakes every treatment"));
    let null = warned(&|c| augmented(c, "null-of vector=1,0,0 sd=1"), &strong);
    assert!(!null.contains("shakes every treatment") && !null.contains("goes with the outcome"), "{null}");
}

#[test]
fn own_parameters_that_go_with_the_outcome_are_found_out() {
    let mut rng = Stream::new(6, "own parameters").at(0);
    let rows: Vec<Vec<f64>> = (0..300)
        .map(|_| {
            let (hidden, g) = (rng.normal(), rng.normal());
            let x = hidden + rng.normal();
            let y = x - 2.0 * hidden + rng.normal();
            vec![y, x, g, x + g, y + rng.normal(), x + y]
        })
        .collect();
    let mine =
        file("y,x,g,moved,bad,worse", rows.iter().map(|r| r.iter().map(ToString::to_string).collect()));
    let with = |spec: &str| {
        let spec = spec.to_owned();
        config(move |c| {
            c.controls.clear();
            c.instruments.clear();
            c.estimator = Estimator::Ivl;
            c.alpha = Some(0.1);
            c.augment = vec![spec];
        })
    };
    let good = ran(&with("column g=g to=moved"), &mine);
    assert!(!good.warnings().iter().any(|w| w.contains("goes with the outcome")), "{:?}", good.warnings());
    let bad = ran(&with("column g=bad to=worse"), &mine);
    assert!(
        bad.warnings().iter().any(|w| w.contains("parameter `bad`") && w.contains("goes with the outcome"))
    );
}

#[test]
fn augmented_fits_average_draws_and_are_resampled() {
    // Confounding pulls the coefficients of p0 and p1, which do nothing; translations along them are outcome-invariant.
    let mut rng = Stream::new(7, "augmented").at(0);
    let rows: Vec<Vec<f64>> = (0..400)
        .map(|_| {
            let hidden = rng.normal();
            let (x, a, b) = (rng.normal(), hidden + 0.3 * rng.normal(), hidden + 0.3 * rng.normal());
            vec![x + 2.0 * hidden + 0.1 * rng.normal(), x, a, b]
        })
        .collect();
    let mine = file("y,x,a,b", rows.iter().map(|r| r.iter().map(ToString::to_string).collect()));
    let with = |estimator: Estimator, alpha: Option<f64>| {
        config(move |c| {
            c.controls.clear();
            c.instruments.clear();
            c.treatments = strings(&["x", "a", "b"]);
            c.augment = strings(&["translate cols=a,b sd=1"]);
            (c.estimator, c.alpha) = (estimator, alpha);
        })
    };
    let get = |run: &Run, name: &str, column: usize| {
        number(&row(run.tables().iter().find(|t| t.title.ends_with(" of y")).unwrap(), name)[column])
    };
    let da = ran(&with(Estimator::Ols, None), &mine);
    let ivl = ran(&with(Estimator::Ivl, Some(0.01)), &mine);
    assert!(get(&da, "a", 1) > 0.3 && get(&ivl, "a", 1).abs() < 0.1);
    assert!((get(&ivl, "x", 1) - 1.0).abs() < 0.3);
    // Spread over draws, bootstrap error, and an interval that holds the truth.
    assert!(get(&ivl, "a", 7) > 0.0 && get(&ivl, "a", 8) > 0.0);
    assert!(get(&ivl, "a", 9) < get(&ivl, "a", 10));
    let again = ran(&with(Estimator::Ivl, Some(0.01)), &mine);
    assert_eq!(ivl.tables(), again.tables());
    let chosen = ran(&with(Estimator::Ivl, None), &mine);
    assert!(table(&chosen, "Summary").to_text().contains("(cc)"));
}

#[test]
fn an_augmentation_must_leave_outcome_relevant_columns_alone() {
    let mine = wages(1.0, 100);
    let with = |spec: &str| {
        let spec = spec.to_owned();
        config(move |c| {
            c.instruments.clear();
            c.treatments = strings(&["x", "p0", "p1"]);
            c.outcome_relevant = strings(&["x"]);
            c.estimator = Estimator::Ivl;
            c.augment = vec![spec];
        })
    };
    let text = load(&with("noise sd=1"), &mine.path).unwrap_err().to_string();
    assert!(text.contains("changes `x`") && text.contains("outcome_relevant"), "{text}");
    assert!(load(&with("translate cols=p0,p1 sd=1"), &mine.path).is_ok());
    assert!(load(&with("null-of vector=1,0,0 sd=1"), &mine.path).is_ok());
    assert!(load(&with("null-of vector=1,1,0 sd=1"), &mine.path).is_err());
}

#[test]
fn specs_that_make_no_sense_are_refused_in_words() {
    let names = strings(&["a", "b", "c", "d"]);
    let error = |spec: &str| Augmentation::parse(spec, &names).unwrap_err().to_string();
    // A list that the command line has split at its commas.
    let split = strings(&["translate cols=a", "b sd=1", "noise sd=2"]);
    assert_eq!(specs(&split), strings(&["translate cols=a,b sd=1", "noise sd=2"]));
    assert!(Augmentation::parse(&specs(&split)[0], &names).is_ok());
    assert!(error("translat cols=a sd=1").contains("did you mean `translate`"));
    assert!(error("translate cols=e sd=1").contains("`e`"));
    assert!(error("translate cols=a").contains("sd=..."));
    assert!(error("translate cols=a sd=-1").contains("between"));
    assert!(error("translate cols=a size=1").contains("`size=1`"));
    assert!(error("null-of vector=1,2 sd=1").contains("4 numbers"));
    assert!(error("null-of vector=0,0,0,0 sd=1").contains("not all 0"));
    assert!(error("permute-columns cols=a").contains("two or more"));
    assert!(error("flip image=3x2").contains("4 pixels"));
    assert!(error("flip image=2x2 axis=z").contains("axis=h"));
    assert!(error("shift image=2x2 by=5").contains("between 1 and 1"));
    assert!(error("rotate image=2x2 max=500").contains("180"));
    assert!(error("column g=g to=a").contains("4 columns"));
    assert!(error("").contains("one of translate"));
}

#[test]
fn images_and_columns_are_changed_as_the_parameters_say() {
    let names: Vec<String> = (0..4).map(|j| format!("p{j}")).collect();
    let parse = |spec: &str| vec![Augmentation::parse(spec, &names).unwrap()];
    let x = Matrix::from_fn(200, 4, |_, j| [1.0, 2.0, 3.0, 4.0][j]);
    let stream = Stream::new(2, "changes");
    let (flipped, g) = augment(&x, &parse("flip image=2x2"), stream);
    for i in 0..200 {
        let want = if g.get(i, 0) > 0.0 { [2.0, 1.0, 4.0, 3.0] } else { [1.0, 2.0, 3.0, 4.0] };
        assert_eq!(flipped.row(i), want);
    }
    assert!((0..200).any(|i| g.get(i, 0) > 0.0) && (0..200).any(|i| g.get(i, 0) < 0.0));
    let (turned, _) = augment(&x, &parse("flip image=2x2 axis=v"), stream);
    assert!((0..200).any(|i| turned.row(i) == [3.0, 4.0, 1.0, 2.0]));
    let (moved, g) = augment(&x, &parse("shift image=2x2 by=1"), stream);
    let down = (0..200).find(|&i| g.row(i) == [1.0, 0.0]).unwrap();
    assert_eq!(moved.row(down), [1.0, 2.0, 1.0, 2.0]);
    let (permuted, g) = augment(&x, &parse("permute-columns cols=p0,p1,p2"), stream);
    assert_eq!(g.cols(), 4);
    for i in 0..200 {
        let mut values = permuted.row(i).to_vec();
        assert_eq!(values[3], 4.0);
        assert_eq!(g.get(i, 0) == 1.0, values[0] == 1.0);
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    }
    // A quarter turn of a picture and no turn of a constant one.
    let (same, _) = augment(&Matrix::from_fn(5, 4, |_, _| 7.0), &parse("rotate image=2x2 max=90"), stream);
    assert!(same.data().iter().all(|v| (v - 7.0).abs() < 1e-12));
    let (rotated, g) = augment(&x, &parse("rotate image=2x2 max=90"), stream);
    let near = |i: &usize| (g.get(*i, 0) / 3.0_f64.sqrt() - 1.0).abs() < 0.02;
    let quarter = (0..200).find(near).map(|i| rotated.row(i).to_vec());
    if let Some(row) = quarter {
        assert!(
            row.iter().zip([2.0, 4.0, 1.0, 3.0]).all(|(a, b)| (a - b).abs() < 0.15)
                || row.iter().zip([3.0, 1.0, 4.0, 2.0]).all(|(a, b)| (a - b).abs() < 0.15),
            "{row:?}"
        );
    }
    let squares = powers(&x, 2);
    assert_eq!(squares.row(0), [1.0, 2.0, 3.0, 4.0, 1.0, 4.0, 9.0, 16.0]);
}

#[test]
fn powers_are_named_and_fitted() {
    let mine = wages(1.0, 300);
    let run = ran(
        &config(|c| {
            (c.estimator, c.degree, c.alpha) = (Estimator::Ivl, 2, Some(1.0));
        }),
        &mine,
    );
    let of = table(&run, "IVL of y");
    assert!(number(&row(of, "x")[1]) > 0.5 && number(&row(of, "x^2")[1]).abs() < 0.5);
}

#[test]
fn card_leaves_out_the_rows_with_a_gap() {
    let mut rng = Stream::new(4, "card").at(0);
    let rows = (0..50).map(move |i| {
        let mut row: Vec<String> = (0..8).map(|_| rng.normal().to_string()).collect();
        row[7] = (i % 2).to_string();
        if i == 3 {
            row[5] = String::new();
        }
        row
    });
    let mine = file("lwage,educ,exper,black,south,married,smsa,nearc4", rows);
    let card = card::read(&mine.path).unwrap();
    assert_eq!((card.outcome.len(), card.dropped, card.controls.cols()), (49, 1, 6));
    let path = card::path(&card.model().unwrap(), card.controls.cols(), 5).unwrap();
    let fit = card.model().unwrap().two_stage_least_squares(Covariance::Hc1).unwrap();
    assert!((path[4][1] - fit.estimates.coefficients[6]).abs() < 1e-9);
    assert_eq!(path.iter().map(|p| p[0]).collect::<Vec<_>>(), [0.0, 0.578_125, 0.875, 0.984_375, 1.0]);
}

//! Agreement with statsmodels, scipy, scikit-learn and exact arithmetic.
//!
//! `golden/make.py` writes `golden/golden.json`; the tolerances below are the digits that the crate's documentation
//! states. Run with `--nocapture` to see the largest relative error of each comparison.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{agree, integers, list, matrix, number, numbers};
use ream_rand::Stream;
use ream_stats::bootstrap::{Bootstrap, bca, bca_of, percentile, percentile_of};
use ream_stats::glm::{Penalty, fractional_logistic};
use ream_stats::{Covariance, Estimate, Matrix, descriptive, distribution, interval, linear, metrics, rank};
use serde_json::Value;

fn golden(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("golden/golden.json")).unwrap();
    all[part].clone()
}

/// Variances are compared with each other, covariances on the scale of the standard errors.
#[track_caller]
fn agree_covariance(got: &Matrix, want: &Matrix, digits: i32, what: &str) {
    let variances = want.diagonal();
    agree(&got.diagonal(), &variances, digits, &format!("{what} variances"));
    let p = want.rows();
    assert_eq!((got.rows(), got.cols()), (p, p));
    for k in 0..p * p {
        let (i, j) = (k / p, k % p);
        let error = (got.get(i, j) - want.get(i, j)).abs() / (variances[i] * variances[j]).sqrt();
        assert!(error <= 10.0_f64.powi(-digits), "{what} ({i}, {j}): {error:e}");
    }
}

fn ends(e: &Estimate) -> [f64; 2] {
    [e.low, e.high]
}

fn kinds(groups: &[usize]) -> [(&'static str, Covariance<'_>); 7] {
    [
        ("classical", Covariance::Classical),
        ("hc0", Covariance::Hc0),
        ("hc1", Covariance::Hc1),
        ("hc2", Covariance::Hc2),
        ("hc3", Covariance::Hc3),
        ("cluster", Covariance::Cluster(groups)),
        ("cluster_uncorrected", Covariance::ClusterUncorrected(groups)),
    ]
}

#[test]
fn least_squares() {
    for case in list(&golden("linear")) {
        let name = case["name"].as_str().unwrap();
        let (x, y, w) = (matrix(&case["x"]), numbers(&case["y"]), numbers(&case["weights"]));
        let groups = integers(&case["groups"]);
        // Coefficients are refined; a covariance loses the digits that its design is short of.
        let digits = if matches!(name, "near-collinear" | "Longley") { 9 } else { 13 };
        for (kind, covariance) in kinds(&groups) {
            let fit = linear::wls(&x, &y, &w, covariance).unwrap();
            if w.iter().all(|w| *w == 1.0) {
                assert_eq!(fit, linear::ols(&x, &y, covariance).unwrap());
            }
            let what = format!("linear {name} {kind}");
            agree(&fit.coefficients, &numbers(&case["exact"]["coefficients"]), 13, &what);
            agree_covariance(&fit.covariance, &matrix(&case["exact"]["covariance"][kind]), digits, &what);
            let reference = &case["statsmodels"];
            if reference.is_object() {
                agree_covariance(&fit.covariance, &matrix(&reference["covariance"][kind]), 11, &what);
                agree(&fit.p_values, &numbers(&reference["p"][kind]), 11, &format!("{what} p"));
                agree(&[fit.r_squared], &[number(&reference["r_squared"])], 12, &format!("{what} R2"));
                if kind == "classical" {
                    let got: Vec<f64> = fit.intervals(0.95).unwrap().iter().flat_map(ends).collect();
                    agree(&got, matrix(&reference["interval"]).data(), 12, &format!("{what} interval"));
                }
            }
        }
    }
}

#[test]
fn ridge() {
    let golden = golden("ridge");
    let (x, y) = (matrix(&golden["x"]), numbers(&golden["y"]));
    for case in list(&golden["cases"]) {
        let strength = numbers(&case["strength"]);
        let fit = linear::ridge_by_column(&x, &y, &strength).unwrap();
        agree(&fit.coefficients, &numbers(&case["coefficients"]), 12, "ridge coefficients");
        let got = [fit.effective_parameters, fit.residual_squares, fit.gcv];
        agree(
            &got,
            &[number(&case["trace"]), number(&case["rss"]), number(&case["gcv"])],
            10,
            "ridge scores",
        );
        if strength.iter().all(|s| *s == strength[0]) {
            assert_eq!(linear::ridge(&x, &y, strength[0]).unwrap(), fit);
        }
    }
}

#[test]
fn logistic() {
    for case in list(&golden("glm")) {
        let name = case["name"].as_str().unwrap();
        let (x, y, w) = (matrix(&case["x"]), numbers(&case["y"]), numbers(&case["weights"]));
        let groups = integers(&case["groups"]);
        let fit = fractional_logistic(&x, &y, Some(&w), &Penalty::None).unwrap();
        assert!(fit.converged && !fit.separated);
        // The near-collinear columns differ by 1e-5 of their size.
        let near = name == "near-collinear";
        let exact = &case["exact"];
        let digits = if near { 9 } else { 12 };
        agree(&fit.coefficients, &numbers(&exact["coefficients"]), digits, &format!("glm {name}"));
        agree(
            &[fit.log_likelihood],
            &[number(&case["log_likelihood"])],
            12,
            &format!("glm {name} log likelihood"),
        );
        for (kind, covariance) in kinds(&groups) {
            let got = fit.covariance(&x, &y, Some(&w), covariance).unwrap();
            let what = format!("glm {name} {kind}");
            agree_covariance(&got, &matrix(&exact["covariance"][kind]), digits, &what);
            if let Some(reference) = case["covariance"].get(kind) {
                // statsmodels inverts the information directly and keeps five digits of the near-collinear case.
                agree_covariance(
                    &got,
                    &matrix(reference),
                    if near { 5 } else { 12 },
                    &format!("{what} statsmodels"),
                );
            }
        }
        agree(&fit.coefficients, &numbers(&case["coefficients"]), 8, &format!("glm {name} statsmodels"));
    }
}

#[test]
fn penalised_logistic() {
    for case in list(&golden("penalised")) {
        let (x, y, w) = (matrix(&case["x"]), numbers(&case["y"]), numbers(&case["weights"]));
        let strength = numbers(&case["strength"]);
        let penalty = match case["kind"].as_str().unwrap() {
            "l1" => Penalty::L1 { strength },
            _ => Penalty::L2 { strength, centre: numbers(&case["centre"]) },
        };
        let fit = fractional_logistic(&x, &y, Some(&w), &penalty).unwrap();
        assert!(fit.converged);
        let digits = case["digits"].as_i64().unwrap() as i32;
        agree(&fit.coefficients, &numbers(&case["coefficients"]), digits, case["name"].as_str().unwrap());
    }
}

#[test]
fn intervals() {
    let g = golden("intervals");
    let (a, b) = (numbers(&g["a"]), numbers(&g["b"]));
    let check = |e: Estimate, want: &Value, what: &str| agree(&ends(&e), &numbers(want), 12, what);
    check(interval::mean_t(&a, 0.9).unwrap(), &g["mean_90"], "mean");
    check(interval::paired_t(&a, &b[..12], 0.95).unwrap(), &g["paired_95"], "paired");
    check(interval::welch(&a, &b, 0.95).unwrap(), &g["welch_95"], "welch");
    for row in list(&g["wilson"]) {
        let row = numbers(row);
        let got = interval::wilson(row[0] as usize, row[1] as usize, row[2]).unwrap();
        agree(&ends(&got), &row[3..], 12, "wilson");
    }
    let mde = interval::minimum_detectable_effect(2.0, 0.95, 0.8).unwrap();
    agree(&[mde], &[number(&g["mde_se2_95_80"])], 13, "minimum detectable effect");
}

#[test]
fn laws() {
    let g = golden("laws");
    for row in list(&g["t_two_sided"]) {
        let row = numbers(row);
        agree(&[distribution::t_two_sided(row[0], row[1]).unwrap()], &row[2..], 11, "t tail");
    }
    for row in list(&g["t_quantile"]) {
        let row = numbers(row);
        agree(&[distribution::t_quantile(row[0], row[1]).unwrap()], &row[2..], 12, "t quantile");
    }
    for row in list(&g["normal_quantile"]) {
        let row = numbers(row);
        agree(&[distribution::normal_quantile(row[0]).unwrap()], &row[1..], 14, "normal quantile");
    }
}

#[test]
fn rank_correlations() {
    for case in list(&golden("rank")) {
        let name = case["name"].as_str().unwrap();
        let (x, y) = (numbers(&case["x"]), numbers(&case["y"]));
        assert_eq!(rank::average_ranks(&x).unwrap(), numbers(&case["ranks"]));
        let spearman = rank::spearman_test(&x, &y, 0.95).unwrap();
        let kendall = rank::kendall_test(&x, &y, 0.95).unwrap();
        let pearson = rank::pearson_test(&x, &y, 0.95).unwrap();
        assert_eq!(rank::spearman(&x, &y), spearman.estimate.value);
        assert_eq!(rank::kendall(&x, &y), kendall.estimate.value);
        assert_eq!(rank::pearson(&x, &y), pearson.estimate.value);
        for (kind, got) in [("spearman", spearman), ("kendall", kendall), ("pearson", pearson)] {
            let want = numbers(&case[kind]);
            // With an offset of 1e9 scipy itself keeps about nine digits of the products.
            let digits = if name == "large offset" && kind == "pearson" { 9 } else { 12 };
            agree(&[got.estimate.value], &want[..1], digits, &format!("{kind} {name}"));
            agree(&[got.p_value], &want[1..], digits.min(10), &format!("{kind} {name} p"));
        }
        agree(
            &ends(&pearson.estimate),
            &numbers(&case["pearson_95"]),
            9,
            &format!("pearson {name} interval"),
        );
    }
}

#[test]
fn bootstrap_intervals() {
    let g = golden("bootstrap");
    for case in list(&g["cases"]) {
        let name = case["name"].as_str().unwrap();
        let (replicates, jackknife) = (numbers(&case["replicates"]), numbers(&case["jackknife"]));
        let value = number(&case["value"]);
        let corrected = bca_of(value, &replicates, &jackknife, 0.95).unwrap();
        agree(&ends(&corrected), &numbers(&case["bca"]), 12, &format!("bca {name}"));
        agree(&[corrected.se], &[number(&case["se"])], 12, &format!("bootstrap se {name}"));
        let plain = percentile_of(value, &replicates, 0.95).unwrap();
        agree(&ends(&plain), &numbers(&case["percentile"]), 13, &format!("percentile {name}"));
    }
    // Our own resamples against 200 000 of scipy's: eight runs of 25 000 tell the Monte-Carlo error of an end.
    let values = numbers(&g["values"]);
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    for (k, want) in list(&g["mean_200000"]).iter().enumerate() {
        let runs: Vec<Estimate> = (0..8)
            .map(|seed| {
                let stream = Stream::new(seed, "golden");
                let settings = Bootstrap { replications: 25_000, level: 0.95, stream };
                if k == 0 { percentile(&values, mean, &settings) } else { bca(&values, mean, &settings) }
                    .unwrap()
            })
            .collect();
        for (end, want) in numbers(want).into_iter().enumerate() {
            let got: Vec<f64> = runs.iter().map(|e| ends(e)[end]).collect();
            // The mean of the eight and scipy's one long run have the same error, that of 200 000 replicates.
            let se = (2.0 * descriptive::variance(&got).unwrap() / 8.0).sqrt();
            let error = (descriptive::mean(&got).unwrap() - want) / se;
            println!("bootstrap against scipy: {error:.1} Monte-Carlo standard errors of {se:.1e}");
            assert!(error.abs() < 5.0, "{got:?} against {want}");
        }
    }
}

#[test]
fn scores_of_predictions() {
    let g = golden("metrics");
    let labels = integers(&g["labels"]);
    let positive: Vec<bool> = labels.iter().map(|l| *l == 1).collect();
    let y: Vec<f64> = labels.iter().map(|l| *l as f64).collect();
    let (p, w) = (numbers(&g["probability"]), numbers(&g["weights"]));
    agree(&[metrics::auc(&positive, &numbers(&g["scores"])).unwrap()], &[number(&g["auc"])], 13, "auc");
    agree(&[metrics::log_loss(&y, &p, None).unwrap()], &[number(&g["log_loss"])], 13, "log loss");
    let weighted = metrics::log_loss(&y, &p, Some(&w)).unwrap();
    agree(&[weighted], &[number(&g["weighted_log_loss"])], 13, "weighted log loss");
    agree(&[metrics::brier(&y, &p).unwrap()], &[number(&g["brier"])], 13, "brier");
}

#[test]
fn descriptive_statistics() {
    let g = golden("descriptive");
    let values = numbers(&g["values"]);
    agree(&[descriptive::mean(&values).unwrap()], &[number(&g["mean"])], 15, "mean");
    agree(&[descriptive::variance(&values).unwrap()], &[number(&g["variance"])], 14, "variance");
    let got = descriptive::quantiles(&numbers(&g["short"]), &numbers(&g["q"])).unwrap();
    agree(&got, &numbers(&g["quantiles"]), 14, "quantiles");
}

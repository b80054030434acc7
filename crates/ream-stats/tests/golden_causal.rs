//! Agreement of the estimators of causal effects with linearmodels, statsmodels, rdrobust, scipy and exact arithmetic.
//!
//! `golden/causal.py` writes `golden/causal.json`; the tolerances below are the digits that the crate's documentation states. Run
//! with `--nocapture` to see the largest relative error of each comparison.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{agree, integers, list, matrix, number, numbers};
use ream_stats::density::{Bandwidth, DensityTestSettings, Kde, density_test};
use ream_stats::instrumental::{ConfidenceSet, Instrumental, KClassFit, Variables};
use ream_stats::local_polynomial::{
    BandwidthRule, Constants, Kernel, LocalPolynomial, Side, imse_optimal, mse_optimal,
};
use ream_stats::regression_discontinuity::{BandwidthChoice, RegressionDiscontinuity, Variance, estimate};
use ream_stats::treatment::{Propensity, aipw, hajek};
use ream_stats::{Covariance, Estimate, Matrix, descriptive, distribution, interval, monotone};
use serde_json::Value;

fn golden(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("golden/causal.json")).unwrap();
    all[part].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Variances are compared with each other, covariances on the scale of the standard errors.
#[track_caller]
fn agree_covariance(got: &Matrix, want: &Matrix, digits: i32, what: &str) {
    let variances = want.diagonal();
    agree(&got.diagonal(), &variances, digits, &format!("{what} variances"));
    let p = want.rows();
    for k in 0..p * p {
        let (i, j) = (k / p, k % p);
        let error = (got.get(i, j) - want.get(i, j)).abs() / (variances[i] * variances[j]).sqrt();
        assert!(error <= 10.0_f64.powi(-digits), "{what} ({i}, {j}): {error:e}");
    }
}

#[test]
fn instrumental_variables() {
    for case in list(&golden("instruments")) {
        let name = text(&case["name"]);
        let (y, groups) = (numbers(&case["y"]), integers(&case["groups"]));
        let (w, x, z) = (matrix(&case["w"]), matrix(&case["x"]), matrix(&case["z"]));
        let variables = Variables { outcome: &y, controls: Some(&w), treatments: &x, instruments: &z };
        let model = Instrumental::new(variables).unwrap();
        let kinds = [
            ("classical", Covariance::Classical),
            ("hc0", Covariance::Hc0),
            ("hc1", Covariance::Hc1),
            ("cluster", Covariance::Cluster(&groups)),
        ];
        for (kind, covariance) in kinds {
            let fit = model.two_stage_least_squares(covariance).unwrap().estimates;
            let want = &case["two_stage"];
            agree(&fit.coefficients, &numbers(&want["coefficients"]), 10, &format!("2SLS {name}"));
            agree_covariance(
                &fit.covariance,
                &matrix(&want["covariance"][kind]),
                10,
                &format!("2SLS {name} {kind}"),
            );
            agree(&[fit.r_squared], &[number(&want["r_squared"])], 10, &format!("2SLS {name} R2"));
        }
        let k_class = |label: &str, fit: &dyn Fn(Covariance<'_>) -> KClassFit| {
            let want = &case[label];
            // The weak instrument leaves few digits of its own.
            let digits = if name == "weak" { 8 } else { 9 };
            let (classical, robust) = (fit(Covariance::Classical), fit(Covariance::Hc0));
            agree(&[classical.kappa], &[number(&want["kappa"])], 11, &format!("{label} {name} kappa"));
            let coefficients = &classical.estimates.coefficients;
            agree(coefficients, &numbers(&want["coefficients"]), digits, &format!("{label} {name}"));
            let what = format!("{label} {name}");
            agree_covariance(
                &classical.estimates.covariance,
                &matrix(&want["classical"]),
                digits,
                &format!("{what} classical"),
            );
            agree_covariance(
                &robust.estimates.covariance,
                &matrix(&want["hc0"]),
                digits,
                &format!("{what} HC0"),
            );
        };
        k_class("liml", &|kind| model.liml(kind).unwrap());
        k_class("given", &|kind| model.k_class(number(&case["given_kappa"]), kind).unwrap());
        let wu = model.wu_hausman().unwrap();
        agree(&[wu.statistic, wu.p_value], &numbers(&case["wu_hausman"]), 9, &format!("Wu-Hausman {name}"));
        if !case["sargan"].is_null() {
            let sargan = model.sargan().unwrap().test;
            agree(
                &[sargan.statistic, sargan.p_value],
                &numbers(&case["sargan"]),
                10,
                &format!("Sargan {name}"),
            );
            let hansen = model.hansen_j(Covariance::Hc0).unwrap();
            let want = list(&case["hansen"]);
            let got = [hansen.test.statistic, hansen.test.p_value];
            agree(&got, &[number(&want[0]), number(&want[1])], 10, &format!("Hansen {name}"));
            agree(&hansen.coefficients, &numbers(&want[2]), 10, &format!("GMM {name}"));
            let hansen = model.hansen_j(Covariance::ClusterUncorrected(&groups)).unwrap();
            let want = list(&case["hansen_cluster"]);
            agree(&[hansen.test.statistic], &[number(&want[0])], 10, &format!("Hansen by cluster {name}"));
            agree(&hansen.coefficients, &numbers(&want[1]), 10, &format!("GMM by cluster {name}"));
        }
        for (j, want) in list(&case["first"]).iter().enumerate() {
            for (kind, covariance) in &kinds[1..] {
                let stage = model.first_stage(j, *covariance).unwrap();
                let got = [stage.f.statistic, stage.f.p_value];
                agree(&got, &numbers(&want["f"]), 9, &format!("first stage {name}"));
                let got = [stage.robust_f.statistic, stage.effective_f];
                let want = [number(&want["robust"][kind]), number(&want["effective"][kind])];
                agree(&got, &want, 9, &format!("first stage {name} {kind}"));
            }
        }
        if case["anderson_rubin"].is_object() {
            let set = model.anderson_rubin(0.95, Covariance::Classical).unwrap();
            let ends = numbers(&case["anderson_rubin"]["ends"]);
            let outside = case["anderson_rubin"]["inside_left"].as_bool().unwrap();
            let got = match set {
                ConfidenceSet::Interval { low, high } => vec![low, high],
                ConfidenceSet::Rays { until, from } => vec![until, from],
                ConfidenceSet::Line | ConfidenceSet::Empty => vec![],
            };
            assert_eq!(set.contains(-1e5), outside, "{name} {set:?}");
            agree(&got, &ends, 9, &format!("Anderson-Rubin {name}"));
        }
    }
}

fn kernel(name: &str) -> Kernel {
    match name {
        "triangular" => Kernel::Triangular,
        "epanechnikov" => Kernel::Epanechnikov,
        "uniform" => Kernel::Uniform,
        other => panic!("{other}"),
    }
}

fn settings(given: &Value) -> RegressionDiscontinuity {
    let mut settings = RegressionDiscontinuity::default();
    let get = |key: &str| given.get(key).filter(|v| !v.is_null());
    let neighbours = get("nnmatch").map_or(3, |v| v.as_u64().unwrap() as usize);
    settings.variance = match get("vce").map_or("nn", text) {
        "hc0" => Variance::Hc0,
        "hc1" => Variance::Hc1,
        "hc2" => Variance::Hc2,
        "hc3" => Variance::Hc3,
        _ => Variance::NearestNeighbours(neighbours),
    };
    if let Some(name) = get("kernel") {
        settings.kernel = kernel(text(name));
    }
    if let Some(p) = get("p") {
        settings.order = p.as_u64().unwrap() as usize;
    }
    settings.bias_order = get("q").map_or(settings.order + 1, |q| q.as_u64().unwrap() as usize);
    if let Some(c) = get("c") {
        settings.cutoff = number(c);
    }
    settings.adjust_repeated = get("masspoints").is_none();
    if get("bwselect").is_some() {
        settings.bandwidths = BandwidthChoice::CoverageError;
    }
    if let Some(h) = get("h") {
        settings.bandwidths = BandwidthChoice::Fixed { main: number(h), bias: number(get("b").unwrap_or(h)) };
    }
    settings
}

#[test]
fn regression_discontinuity() {
    for case in list(&golden("discontinuity")) {
        let name = text(&case["name"]);
        let (x, y, treated) = (numbers(&case["x"]), numbers(&case["y"]), numbers(&case["treated"]));
        for want in list(&case["fits"]) {
            let what = format!("rdrobust {name} {} {}", want["settings"], want["fuzzy"]);
            let settings = settings(&want["settings"]);
            let treatment = want["fuzzy"].as_bool().unwrap().then_some(treated.as_slice());
            let digits = if matches!(settings.bandwidths, BandwidthChoice::Fixed { .. }) { 10 } else { 9 };
            let jump = estimate(&x, &y, treatment, &settings).unwrap();
            let widths = [jump.bandwidth, jump.bandwidth, jump.bias_bandwidth, jump.bias_bandwidth];
            agree(&widths, &numbers(&want["bandwidths"]), digits, &format!("{what} bandwidths"));
            let all = [jump.conventional, jump.bias_corrected, jump.robust];
            let each = |f: fn(&Estimate) -> f64| all.iter().map(f).collect::<Vec<_>>();
            agree(
                &each(|e| e.value),
                &numbers(&want["coefficients"]),
                digits,
                &format!("{what} coefficients"),
            );
            agree(&each(|e| e.se), &numbers(&want["se"]), digits, &format!("{what} se"));
            agree(&jump.p_values, &numbers(&want["p"]), digits - 2, &format!("{what} p"));
            let ends: Vec<f64> = all.iter().flat_map(|e| [e.low, e.high]).collect();
            agree(&ends, matrix(&want["interval"]).data(), digits, &format!("{what} intervals"));
            assert_eq!(jump.rows.to_vec(), integers(&want["rows"]));
            assert_eq!(jump.effective_rows.to_vec(), integers(&want["effective"]), "{what}");
            // The conventional estimate is the difference of two local polynomials.
            if treatment.is_none() {
                let side = |side| {
                    let RegressionDiscontinuity { cutoff, kernel, order, .. } = settings;
                    LocalPolynomial::new(&x, cutoff, side, kernel, order, jump.bandwidth)
                        .unwrap()
                        .value(&y)
                        .unwrap()
                };
                agree(
                    &[side(Side::Above) - side(Side::Below)],
                    &numbers(&want["coefficients"])[..1],
                    digits,
                    "local polynomial",
                );
            }
        }
    }
}

#[test]
fn three_step_bandwidths() {
    let g = golden("bandwidths");
    let (x, outcomes) = (numbers(&g["x"]), matrix(&g["outcomes"]));
    for case in list(&g["cases"]) {
        let rule = BandwidthRule {
            kernel: kernel(text(&case["kernel"])),
            order: case["order"].as_u64().unwrap() as usize,
            coverage: false,
            constants: Constants::Keep,
        };
        let common = case["common"].as_bool().unwrap();
        let got = if common {
            imse_optimal(&x, &outcomes, 0.0, &rule)
        } else {
            mse_optimal(&x, &outcomes, 0.0, &rule)
        };
        let got = got.unwrap();
        let what = format!("bandwidths {rule:?} {common}");
        agree(&[got.density], &[number(&case["density"])], 12, &what);
        agree(&got.pilot, &numbers(&case["pilot"]), 9, &format!("{what} pilot"));
        agree(&got.values, &numbers(&case["bandwidths"]), 8, &what);
    }
}

#[test]
fn densities() {
    let g = golden("density");
    let values = numbers(&g["values"]);
    for case in list(&g["cases"]) {
        let rule = match &case["rule"] {
            Value::String(name) if name == "scott" => Bandwidth::Scott,
            Value::String(_) => Bandwidth::Silverman,
            width => Bandwidth::Fixed(number(width)),
        };
        let weights = (!case["weights"].is_null()).then(|| numbers(&case["weights"]));
        let kde = Kde::new(&values, weights.as_deref(), rule).unwrap();
        let at = numbers(&case["at"]);
        agree(&[kde.bandwidth()], &[number(&case["bandwidth"])], 12, "density bandwidth");
        let logs: Vec<f64> = at.iter().map(|&x| kde.log_density(x)).collect();
        let inside: Vec<f64> = at[1..at.len() - 1].iter().map(|&x| kde.density(x)).collect();
        agree(&inside, &numbers(&case["density"]), 12, "density");
        // The bandwidths of both differ in the last digits, which the exponent far out multiplies.
        agree(&logs, &numbers(&case["log_density"]), 11, "log density");
        agree(&kde.scores(&at), &numbers(&case["score"]), 11, "score");
    }
    let g = golden("running");
    let x = numbers(&g["x"]);
    for case in list(&g["cases"]) {
        let bandwidth = case.get("given").map(number);
        let settings =
            DensityTestSettings { cutoff: number(&case["cutoff"]), bandwidth, ..Default::default() };
        let test = density_test(&x, &settings).unwrap();
        let got = [
            test.bin,
            test.bandwidth,
            test.densities[0],
            test.densities[1],
            test.log_ratio.value,
            test.log_ratio.se,
            test.p_value,
        ];
        let want = ["bin", "bandwidth"].iter().map(|k| number(&case[*k]));
        let want: Vec<f64> = want
            .chain(numbers(&case["densities"]))
            .chain(["log_ratio", "se", "p"].iter().map(|k| number(&case[*k])))
            .collect();
        agree(&got, &want, 9, "density test");
    }
}

#[test]
fn curves_and_weights() {
    let g = golden("curves");
    let (y, w) = (numbers(&g["y"]), numbers(&g["weights"]));
    agree(&monotone::isotonic(&y, None).unwrap(), &numbers(&g["isotonic"]), 13, "isotonic");
    agree(
        &monotone::isotonic(&y, Some(&w)).unwrap(),
        &numbers(&g["isotonic_weighted"]),
        13,
        "isotonic, weighted",
    );
    let curve = monotone::IsotonicCurve::fit(&numbers(&g["predictor"]), &y, Some(&w)).unwrap();
    let got: Vec<f64> = numbers(&g["new"]).iter().map(|x| curve.at(*x)).collect();
    agree(&got, &numbers(&g["calibrated"]), 12, "isotonic curve");
    let gini = descriptive::gini_of_quantiles(&numbers(&g["curve"]), &numbers(&g["probabilities"])).unwrap();
    agree(&[gini], &[number(&g["gini"])], 12, "Gini");
    let (values, weights, q) = (numbers(&g["values"]), numbers(&g["value_weights"]), numbers(&g["q"]));
    let got = descriptive::weighted_quantiles(&values, &weights, &q).unwrap();
    agree(&got, &numbers(&g["weighted_quantiles"]), 12, "weighted quantiles");
}

#[test]
fn f_law_and_partial_identification() {
    let g = golden("f_law");
    for row in list(&g["tails"]) {
        let row = numbers(row);
        agree(
            &[distribution::f_upper(row[0], row[1], row[2]).unwrap()],
            &row[3..],
            10,
            &format!("F tail {row:?}"),
        );
    }
    for row in list(&g["quantiles"]) {
        let row = numbers(row);
        agree(&[distribution::f_quantile(row[0], row[1], row[2]).unwrap()], &row[3..], 11, "F quantile");
    }
    for row in list(&golden("imbens_manski")) {
        let row = numbers(row);
        let (low, high) = interval::imbens_manski((row[0], row[1]), (row[2], row[3]), row[4]).unwrap();
        agree(&[low, high], &row[5..], 12, "Imbens-Manski");
    }
}

#[test]
fn treatment_effects() {
    let g = golden("effects");
    let (x, y) = (matrix(&g["x"]), numbers(&g["y"]));
    let treated: Vec<bool> = integers(&g["treated"]).iter().map(|t| *t == 1).collect();
    let weighted = hajek(&y, &treated, Propensity::Logistic(&x), None).unwrap();
    let want = numbers(&g["hajek"]);
    agree(&[weighted.value], &want[..1], 10, "Hajek");
    // statsmodels differentiates the moments numerically.
    agree(&[weighted.se], &want[1..], 6, "Hajek se");
    let (mu_1, mu_0, e) = (numbers(&g["mu1"]), numbers(&g["mu0"]), numbers(&g["propensity"]));
    let augmented = aipw(&y, &treated, &mu_1, &mu_0, Propensity::Known(&e), None).unwrap();
    agree(&[augmented.value, augmented.se], &numbers(&g["aipw"]), 11, "AIPW");
    agree(&[augmented.value], &[number(&g["aipw_statsmodels"])], 11, "AIPW statsmodels");
}

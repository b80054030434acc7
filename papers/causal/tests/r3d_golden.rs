//! The estimators against their formulas in numpy and against rdrobust: `golden/r3d.py` made the figures.

use ream_causal::r3d::elections;
use ream_causal::r3d::estimate::{Bandwidth, Method, Settings, estimate};
use ream_causal::r3d::inference::{infer, noise};
use ream_causal::r3d::sample::{Sample, deciles};
use ream_rand::Stream;
use ream_stats::local_polynomial::Kernel;

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The made-up units of the script.
#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn units(fuzzy: bool) -> Sample {
    let (n, m, c) = (120, 9, 0.05);
    let x: Vec<f64> = (0..n).map(|i| libm::sin(1.7 * f64::from(i) + 0.3)).collect();
    let value = |i: usize, j: f64| {
        let jump = if x[i] >= c { 0.5 + 0.3 * libm::cos(j) } else { 0.0 };
        libm::cos(0.9 * i as f64 + 2.1 * j) * (1.0 + x[i] * x[i]) + 2.0 * x[i] + jump
    };
    let outcomes: Vec<Vec<f64>> =
        (0..x.len()).map(|i| (0..m).map(|j| value(i, f64::from(j))).collect()).collect();
    let taken = |i: usize| {
        let pull = if x[i] >= c { 2.0 } else { -2.0 };
        f64::from(u8::from(libm::cos(3.3 * i as f64) + pull * 0.3 > 0.0))
    };
    let treatment = fuzzy.then(|| (0..x.len()).map(taken).collect());
    Sample::from_individuals(x.clone(), &outcomes, None, deciles(), treatment).unwrap()
}

/// Effects, sides and the treatment's jump to 10 digits; standard errors to the noise of 4000 draws.
#[test]
fn both_estimators_agree_with_their_formulas() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/r3d.json")).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let settings = Settings {
            cutoff: 0.05,
            method: if name == "simple" { Method::Simple } else { Method::Frechet },
            bandwidth: Bandwidth::Each(numbers(&case["bandwidths"])),
            treatment_bandwidth: Some(0.7),
            ..Settings::default()
        };
        let fit = estimate(&units(name == "fuzzy"), &settings).unwrap();
        for (key, ours) in [("effect", &fit.effect), ("below", &fit.below), ("above", &fit.above)] {
            for (a, b) in ours.iter().zip(numbers(&case[key])) {
                assert!((a - b).abs() < 1e-10 * (1.0 + b.abs()), "{name} {key}: {a} {b}");
            }
        }
        if name == "fuzzy" {
            let jump = fit.treatment.as_ref().unwrap().jump;
            assert!((jump - case["jump"].as_f64().unwrap()).abs() < 1e-10, "{jump}");
        }
        let draws = noise(&fit, 4000, Stream::new(1, "golden")).unwrap();
        let found = infer(&fit, &draws, 0.95).unwrap();
        for (a, b) in found.se.iter().zip(numbers(&case["se"])) {
            assert!((a / b - 1.0).abs() < 0.06, "{name} se: {a} {b}");
        }
    }
}

/// The ordinary discontinuity on the same kind of data, without the package's file: our port of rdrobust agrees with it to 10
/// digits (see ream-stats), and R3D with that.
#[test]
fn one_point_distributions_give_the_ordinary_discontinuity() {
    use ream_stats::regression_discontinuity::{
        BandwidthChoice, RegressionDiscontinuity, estimate as ordinary,
    };
    let mut rng = Stream::new(5, "one point").at(0);
    let x: Vec<f64> = (0..600).map(|_| rng.between(-50.0, 50.0)).collect();
    let votes: Vec<f64> = x
        .iter()
        .map(|x| 45.0 + 0.3 * x + 5.0 * f64::from(u8::from(*x >= 0.0)) + 8.0 * rng.normal())
        .collect();
    let outcomes: Vec<Vec<f64>> = votes.iter().map(|v| vec![*v]).collect();
    let sample = Sample::from_individuals(x.clone(), &outcomes, None, deciles(), None).unwrap();
    for (word, kernel) in [
        ("triangular", Kernel::Triangular),
        ("epanechnikov", Kernel::Epanechnikov),
        ("uniform", Kernel::Uniform),
    ] {
        for p in [1, 2] {
            let h = 17.5;
            let settings = RegressionDiscontinuity {
                order: p,
                bias_order: p + 1,
                kernel,
                bandwidths: BandwidthChoice::Fixed { main: h, bias: h },
                ..RegressionDiscontinuity::default()
            };
            let conventional = ordinary(&x, &votes, None, &settings).unwrap().conventional.value;
            let reference =
                elections::Reference { kernel: word.to_owned(), p, h, conventional, effective: [0, 0] };
            for method in [Method::Simple, Method::Frechet] {
                let difference = elections::difference(&sample, method, &reference).unwrap();
                assert!(difference < 1e-10, "{word} {p}: {difference}");
            }
        }
    }
}

//! Card and corrections against statsmodels, scipy and numpy: `golden/debias_map.py` made the figures.

use ream_causal::debias_map::card::{Calibration, Card, CardSettings, Derivative, Method};
use ream_causal::debias_map::effects::{ErrorKind, Estimator, Treatment, estimate};
use ream_causal::debias_map::inference::delta;

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(what: &str, ours: &[f64], theirs: &[f64], digits: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= digits * (1.0 + b.abs()), "{what}: {a} {b}");
    }
}

#[test]
fn the_card_agrees_with_the_reference_packages() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/debias_map.json")).unwrap();
    let of = |key: &str| numbers(&golden[key]);
    let sample = Calibration { predictions: of("predictions"), truth: of("truth"), ..Calibration::default() };
    let card = Card::new(&sample, &CardSettings::default()).unwrap();
    let c = &card.correction;
    close("line", &[c.line.intercept, c.line.slope], &of("line"), 1e-11);
    close("HC1", &card.line_errors, &of("robust"), 1e-11);
    close("forward", &[c.forward.intercept, c.forward.slope], &of("forward"), 1e-11);
    close("sigma", &[c.sigma], &[golden["sigma"].as_f64().unwrap()], 1e-11);
    let every = |scores: &[f64]| scores.iter().copied().step_by(37).collect::<Vec<f64>>();
    close("score", &every(c.curve.scores()), &of("score"), 1e-9);
    let tweedie = c.corrected(Method::Tweedie, &sample.predictions);
    close("tweedie", &tweedie, &of("tweedie"), 1e-9);

    let areas = numbers(&golden["areas"]).iter().map(|a| *a as usize).collect();
    let by_area = Calibration { clusters: Some(areas), ..sample.clone() };
    let clustered = Card::new(&by_area, &CardSettings::default()).unwrap();
    close("clusters", &clustered.line_errors, &of("clustered"), 1e-11);
    assert_eq!(clustered.clusters, Some(12));

    let stepped = CardSettings { derivative: Derivative::CentralDifference, ..CardSettings::default() };
    let stepped = Card::new(&sample, &stepped).unwrap();
    close("difference", &every(stepped.correction.curve.scores()), &of("difference"), 1e-7);

    let treated = golden["treated"].as_array().unwrap().iter();
    let values = treated.map(|t| f64::from(u8::from(t.as_bool().unwrap()))).collect();
    let treatment = Treatment { values, ..Treatment::default() };
    let of_outcome = |outcome: &[f64]| {
        estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, &treatment, outcome).unwrap()
    };
    let naive = of_outcome(&sample.predictions);
    close("effect", &[naive.value, naive.se], &of("effect"), 1e-11);
    let corrected = delta(naive, &card);
    close("delta", &[corrected.value, corrected.se], &of("delta"), 1e-11);
    close(
        "tweedie effect",
        &[of_outcome(&tweedie).value],
        &[golden["tweedie_effect"].as_f64().unwrap()],
        1e-9,
    );
}

//! Fits of real judgements against statsmodels (no penalty) and scipy (ridge): `golden/lc_alpacaeval.py` made the figures.

use ream_causal::lc_alpacaeval::annotations::built_in;
use ream_causal::lc_alpacaeval::fit::{Design, Variant, fit};
use ream_causal::lc_alpacaeval::{baselines, rate};

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Coefficients agree to 8 digits without a penalty and to 6 with the ridge (scipy's optimiser stops there), win rates to
/// 7 and 6.
#[test]
fn fits_agree_with_the_reference_packages() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/lc_alpacaeval.json")).unwrap();
    let judgements = built_in().unwrap();
    let gamma: Vec<f64> =
        judgements.instructions.iter().map(|name| libm::cos(name.parse::<f64>().unwrap())).collect();
    for reference in golden["fits"].as_array().unwrap() {
        let model = reference["model"].as_str().unwrap();
        let pairs = judgements.models.iter().find(|p| p.model == model).unwrap();
        assert!((baselines::raw(pairs).0 - reference["raw_rate"].as_f64().unwrap()).abs() < 1e-10, "{model}");
        for (variant, key, digits) in [(Variant::Noreg, "noreg", 1e-8), (Variant::RidgePhi, "ridge", 1e-6)] {
            let design = Design::new(pairs, &gamma, variant);
            let fitted = fit(model, &design, variant, 10.0, -1.5).unwrap();
            for (ours, theirs) in fitted.coefficients.iter().zip(numbers(&reference[key])) {
                assert!((ours - theirs).abs() < digits, "{model} {key}: {ours} {theirs}");
            }
            let ours = rate::controlled(&design.equalised(), &fitted.coefficients, None);
            let theirs = reference[format!("{key}_rate")].as_f64().unwrap();
            assert!((ours - theirs).abs() < 100.0 * digits, "{model} {key}: {ours} {theirs}");
        }
    }
}

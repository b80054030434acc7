//! Length-controlled AlpacaEval against scikit-learn, statsmodels, scipy and numpy on the built-in table.
//!
//! `golden/lc_alpacaeval_board.py` writes `golden/lc_alpacaeval_board.json`. Agreement: joint fit and unpenalised, ridge and L1
//! coefficients to 6 decimal places or better, rates and standard errors to 8.

#![allow(clippy::unwrap_used)]

use ream_causal::lc_alpacaeval::annotations::{self, Judgements, Pairs};
use ream_causal::lc_alpacaeval::board::{self, Settings};
use ream_causal::lc_alpacaeval::difficulty;
use ream_causal::lc_alpacaeval::fit::{self, Design, Variant};
use ream_rand::Stream;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/lc_alpacaeval_board.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(what: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance, "{what}: {a} here, {b} there");
    }
}

fn joint(judgements: &Judgements) -> difficulty::Joint {
    let pairs: Vec<&Pairs> = judgements.models.iter().collect();
    difficulty::joint(&pairs, judgements.instructions.len(), 0.5).unwrap()
}

#[test]
fn joint_fit_and_each_variant_agree_with_other_libraries() {
    let golden = golden();
    let judgements = annotations::built_in().unwrap();
    let joint = joint(&judgements);
    close("gamma", &joint.gamma[..20], &numbers(&golden["gamma_first"]), 1e-8);
    let squares: f64 = joint.gamma.iter().map(|g| g * g).sum();
    close("sum of gamma^2", &[squares], &[golden["gamma_squares"].as_f64().unwrap()], 1e-6);
    let centre = golden["centre"].as_f64().unwrap();
    for (name, expected) in golden["models"].as_object().unwrap() {
        let k = judgements.models.iter().position(|p| p.model == *name).unwrap();
        close(name, &joint.models[k], &numbers(&expected["joint"]), 1e-7);
        let design = |variant| Design::new(&judgements.models[k], &joint.gamma, variant);
        for (variant, key) in
            [(Variant::Noreg, "noreg"), (Variant::Minimal, "minimal"), (Variant::RidgePhi, "ridge_phi")]
        {
            let ours = fit::fit(name, &design(variant), variant, 10.0, centre).unwrap();
            close(&format!("{name} {key}"), &ours.coefficients, &numbers(&expected[key]), 1e-7);
        }
        let c = golden["v1_c"].as_f64().unwrap();
        let ours = fit::lasso(name, &design(Variant::V1), c).unwrap();
        close(&format!("{name} v1"), &ours.coefficients, &numbers(&expected["v1"]), 1e-6);
    }
}

#[test]
fn the_board_agrees_with_other_libraries() {
    let golden = golden();
    let judgements = annotations::built_in().unwrap();
    let settings = Settings {
        variant: Variant::RidgePhi,
        kappa: 10.0,
        lambda: 0.5,
        replications: 0,
        refit_difficulty: false,
        difficulty: None,
    };
    let board = board::board(&judgements, &settings, Stream::new(1, "golden")).unwrap();
    for (name, expected) in golden["models"].as_object().unwrap() {
        let line = board.lines.iter().find(|l| l.model == *name).unwrap();
        let ours = [line.raw.0, line.rate.value, line.rate.se_predictions, line.rate.se_delta];
        let theirs = ["raw", "lc", "se_predictions", "se_delta"].map(|key| expected[key].as_f64().unwrap());
        close(name, &ours, &theirs, 1e-8);
    }
}

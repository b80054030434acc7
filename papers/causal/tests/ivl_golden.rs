//! The optical device and Card's data against numpy, scipy, scikit-learn and linearmodels: `golden/ivl.py` made the figures.

use nalgebra::DMatrix;
use ream_causal::ivl::select::confounding;
use ream_causal::ivl::{card, optical};
use ream_stats::{Covariance, linear};

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn golden() -> serde_json::Value {
    serde_json::from_str(include_str!("golden/ivl.json")).unwrap()
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(got: &[f64], want: &[f64], digits: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    for (g, w) in got.iter().zip(want) {
        assert!((g - w).abs() <= digits * size, "{what}: {g} {w}");
    }
}

/// Truth and ERM to 10 digits; the share of confounding to 6, theta to 5 (a search by values).
#[test]
fn the_optical_device_agrees_with_numpy_and_scipy() {
    let golden = golden();
    let all = optical::experiments().unwrap();
    for (of, want) in all.iter().zip(golden["experiments"].as_array().unwrap()) {
        let name = format!("experiment {}", of.number);
        assert_eq!(u64::from(of.number), want["number"].as_u64().unwrap());
        close(&of.truth, &numbers(&want["truth"]), 1e-10, &name);
        let erm = linear::ols(&of.x, &of.y, Covariance::Classical).unwrap().coefficients;
        close(&erm, &numbers(&want["erm"]), 1e-10, &name);
        let x = DMatrix::from_row_slice(of.x.rows(), 9, of.x.data());
        let found = confounding(&erm, &(x.transpose() * &x / of.x.rows() as f64)).unwrap();
        close(&[found.share], &[want["share"].as_f64().unwrap()], 1e-6, &name);
        // Where all is confounding the objective is flat in theta.
        if found.share < 0.999 {
            close(&[found.theta], &[want["theta"].as_f64().unwrap()], 1e-5, &name);
        }
    }
}

/// To 8 digits.
#[test]
fn the_lasso_agrees_with_scikit_learn() {
    let golden = golden();
    let of = optical::experiments().unwrap().into_iter().find(|e| e.number == 70).unwrap();
    let lasso = linear::Lasso::new(&of.x, &of.y).unwrap();
    let fit = lasso.fit(golden["lasso"]["lambda"].as_f64().unwrap(), None).unwrap();
    close(&fit.coefficients, &numbers(&golden["lasso"]["coefficients"]), 1e-8, "lasso");
}

/// To 9 digits, where the data are fetched (`ream data fetch close-college`).
#[test]
fn card_agrees_with_linearmodels() {
    let store = ream_data::Store::open(ream_lab::home().join("data"));
    let Ok(path) = store.path("close-college") else { return };
    let golden = &golden()["card"];
    let card = card::read(&path).unwrap();
    assert_eq!(card.outcome.len() as u64, golden["rows"].as_u64().unwrap());
    let model = card.model().unwrap();
    let fits = [
        ("ols", model.ols(Covariance::Hc1)),
        ("2sls", model.two_stage_least_squares(Covariance::Hc1)),
        ("liml", model.liml(Covariance::Hc1)),
    ];
    for (name, fit) in fits {
        let fit = fit.unwrap().estimates;
        let got = [fit.coefficients[6], fit.standard_errors[6]];
        let want = [golden[name]["coef"].as_f64().unwrap(), golden[name]["se"].as_f64().unwrap()];
        close(&got, &want, 1e-9, name);
    }
}

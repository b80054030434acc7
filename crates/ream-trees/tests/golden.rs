//! Trees against scikit-learn's histogram gradient boosting: `golden/trees.py` made the figures.

use ream_trees::{Column, Loss, Options, fit};
use serde_json::Value;

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn options(of: &Value) -> Options {
    let whole = |key: &str| of[key].as_u64().map(|v| v as usize);
    Options {
        rounds: whole("max_iter").unwrap(),
        rate: 0.1,
        leaves: whole("max_leaf_nodes").unwrap(),
        depth: whole("max_depth").unwrap_or(64),
        min_leaf: whole("min_samples_leaf").unwrap(),
        l2: of["l2_regularization"].as_f64().unwrap(),
        ..Options::default()
    }
}

/// To 5 digits: scikit-learn keeps derivatives in single precision.
#[test]
fn predictions_agree_with_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("golden/trees.json")).unwrap();
    let table: Vec<Vec<f64>> = golden["columns"].as_array().unwrap().iter().map(numbers).collect();
    let columns: Vec<Column<'_>> = table.iter().map(|c| Column::Numbers(c)).collect();
    let (y, paid) = (numbers(&golden["y"]), numbers(&golden["paid"]));
    let weights: Vec<f64> = (0..y.len()).map(|i| 0.5 + (i % 4) as f64).collect();
    let fits = golden["fits"].as_array().unwrap();
    assert_eq!(fits.len(), 6);
    for of in fits {
        let (options, weighted) = (options(&of["options"]), of["weighted"].as_bool().unwrap());
        let weights = weighted.then_some(weights.as_slice());
        for (key, target, loss) in [("squared", &y, Loss::Squared), ("logistic", &paid, Loss::Logistic)] {
            let got = fit(&columns, target, weights, loss, &options).unwrap().predict(&columns).unwrap();
            for (i, (got, want)) in got.iter().zip(numbers(&of[key])).enumerate() {
                assert!((got - want).abs() < 1e-5, "{} {key} {weighted} row {i}: {got} {want}", of["name"]);
            }
        }
    }
}

//! Exact bounds against the primal problem in 30-digit arithmetic: `golden/info_bounds.py` made the figures.

use ream_causal::info_bounds::divergence::Divergence;
use ream_causal::info_bounds::dual::Law;

/// The dual's bounds agree with the primal's to 9 digits.
#[test]
fn bounds_agree_with_the_primal_problem() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/info_bounds.json")).unwrap();
    let numbers = |key: &str| -> Vec<f64> {
        golden[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let law = Law::new(&numbers("phi"), Some(&numbers("weights"))).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let divergence: Divergence = serde_json::from_value(case["divergence"].clone()).unwrap();
        let e = case["e"].as_f64().unwrap();
        let (low, high) = law.interval(divergence, e).unwrap();
        for (ours, key) in [(low, "lower"), (high, "upper")] {
            let theirs = case[key].as_f64().unwrap();
            assert!(
                (ours - theirs).abs() < 1e-9 * (1.0 + theirs.abs()),
                "{divergence:?} {e} {key}: {ours} {theirs}"
            );
        }
    }
}

//! Data for the tests.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)]

use ream_rand::Stream;
use ream_stats::Matrix;
use ream_stats::glm::sigmoid;
use serde_json::Value;

/// An intercept and `cols - 1` normal columns.
pub(crate) fn design(seed: u64, rows: usize, cols: usize) -> Matrix {
    let mut rng = Stream::new(seed, "design").at(0);
    Matrix::from_fn(rows, cols, |_, j| if j == 0 { 1.0 } else { rng.normal() })
}

/// Fractional responses around a logistic mean.
pub(crate) fn fractions(seed: u64, x: &Matrix, b: &[f64]) -> Vec<f64> {
    let mut rng = Stream::new(seed, "fractions").at(0);
    x.times(b).unwrap().into_iter().map(|eta| sigmoid(eta + rng.normal())).collect()
}

/// Responses 0 and 1 with a logistic mean.
pub(crate) fn binary(seed: u64, x: &Matrix, b: &[f64]) -> Vec<f64> {
    let mut rng = Stream::new(seed, "binary").at(0);
    x.times(b).unwrap().into_iter().map(|eta| f64::from(u8::from(rng.chance(sigmoid(eta))))).collect()
}

/// Asserts `|a - b| <= tolerance * max(|b|, floor)` for every pair.
#[track_caller]
pub(crate) fn close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let size = want.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        // Entries that are tiny beside the largest are compared on its scale.
        let allowed = tolerance * w.abs().max(1e-3 * size);
        assert!((g - w).abs() <= allowed, "{what}[{i}]: got {g:e}, wanted {w:e}, allowed {allowed:e}");
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(number).collect()
}

pub(crate) fn integers(value: &Value) -> Vec<usize> {
    list(value).iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

pub(crate) fn matrix(value: &Value) -> Matrix {
    Matrix::from_rows(&list(value).iter().map(numbers).collect::<Vec<_>>()).unwrap()
}

/// Asserts agreement to `digits` significant digits, entries below a thousandth of the largest on its scale.
#[track_caller]
pub(crate) fn agree(got: &[f64], want: &[f64], digits: i32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let size = want.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let scale = |w: f64| w.abs().max(1e-3 * size).max(f64::MIN_POSITIVE);
    let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs() / scale(*w)).fold(0.0, f64::max);
    println!("{what}: {worst:.1e}");
    assert!(worst <= 10.0_f64.powi(-digits), "{what}: {worst:e}\ngot    {got:?}\nwanted {want:?}");
}

//! Invariances of the regression discontinuity estimates.
#![allow(clippy::unwrap_used)]

mod common;

use common::close;
use proptest::prelude::*;
use ream_rand::Stream;
use ream_stats::local_polynomial::Kernel;
use ream_stats::regression_discontinuity::{
    BandwidthChoice, Jump, RegressionDiscontinuity, Variance, estimate,
};

/// Positions (none at the cutoff), outcomes that jump by 1, and a treatment that jumps.
fn data(seed: u64, n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut rng = Stream::new(seed, "discontinuity").at(0);
    let x: Vec<f64> = (0..n).map(|_| rng.between(-1.0, 1.0)).collect();
    let treated: Vec<f64> =
        x.iter().map(|x| f64::from(u8::from(rng.chance(if *x >= 0.0 { 0.8 } else { 0.2 })))).collect();
    let y = (0..n).map(|i| libm::sin(3.0 * x[i]) + treated[i] + 0.3 * rng.normal()).collect();
    (x, y, treated)
}

fn numbers(jump: &Jump) -> Vec<f64> {
    [jump.conventional, jump.bias_corrected, jump.robust].iter().flat_map(|e| [e.value, e.se]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn shifts_scales_and_turns(seed in 0_u64..500, shift in -50.0..50.0_f64, scale in 0.01..100.0_f64, fuzzy in any::<bool>()) {
        let (x, y, treated) = data(seed, 300);
        let treatment = fuzzy.then_some(treated.as_slice());
        let variance = if seed % 2 == 0 { Variance::NearestNeighbours(3) } else { Variance::Hc2 };
        let settings = RegressionDiscontinuity { variance, ..Default::default() };
        let plain = estimate(&x, &y, treatment, &settings).unwrap();
        // An outcome in another unit, with another zero. (A fuzzy bandwidth depends on the zero: it takes the ratio of a side.)
        let zero = if fuzzy { 0.0 } else { shift };
        let moved: Vec<f64> = y.iter().map(|y| zero + scale * y).collect();
        let other = estimate(&x, &moved, treatment, &settings).unwrap();
        close(&numbers(&other), &numbers(&plain).iter().map(|v| scale * v).collect::<Vec<_>>(), 1e-6, "scaled");
        close(&[other.bandwidth, other.bias_bandwidth], &[plain.bandwidth, plain.bias_bandwidth], 1e-6, "bandwidths");
        // Positions in another unit, with another zero.
        let far: Vec<f64> = x.iter().map(|x| 7.0 + scale * x).collect();
        let other = estimate(&far, &y, treatment, &RegressionDiscontinuity { cutoff: 7.0, ..settings }).unwrap();
        close(&numbers(&other), &numbers(&plain), 1e-5, "positions");
        close(&[other.bandwidth], &[scale * plain.bandwidth], 1e-5, "bandwidth");
        // The other way round: a sharp jump changes its sign, a ratio of jumps does not.
        let turned: Vec<f64> = x.iter().map(|x| -x).collect();
        let other = estimate(&turned, &y, treatment, &settings).unwrap();
        let sign = if fuzzy { 1.0 } else { -1.0 };
        close(&[sign * other.robust.value, other.robust.se], &[plain.robust.value, plain.robust.se], 1e-6, "turned");
    }

    #[test]
    fn the_correction_with_equal_bandwidths_is_the_higher_order(seed in 0_u64..500, h in 0.3..0.9_f64) {
        let (x, y, _) = data(seed, 300);
        let fixed = |order, bandwidth| RegressionDiscontinuity {
            order,
            bias_order: order + 1,
            bandwidths: BandwidthChoice::Fixed { main: bandwidth, bias: bandwidth },
            ..Default::default()
        };
        let corrected = estimate(&x, &y, None, &fixed(1, h)).unwrap();
        let higher = estimate(&x, &y, None, &fixed(2, h)).unwrap();
        close(&[corrected.robust.value, corrected.robust.se], &[higher.conventional.value, higher.conventional.se], 1e-9, "order 2");
    }

    #[test]
    fn polynomials_are_exact(seed in 0_u64..500, a in -2.0..2.0_f64, b in -2.0..2.0_f64, jump in -3.0..3.0_f64) {
        let (x, _, _) = data(seed, 200);
        let y: Vec<f64> = x.iter().map(|x| a + b * x + if *x >= 0.0 { jump - b * x } else { 0.0 }).collect();
        let settings = RegressionDiscontinuity {
            bandwidths: BandwidthChoice::Fixed { main: 0.5, bias: 0.7 },
            kernel: Kernel::Epanechnikov,
            variance: Variance::Hc0,
            ..Default::default()
        };
        let fit = estimate(&x, &y, None, &settings).unwrap();
        for e in [fit.conventional, fit.robust] {
            prop_assert!((e.value - jump).abs() < 1e-10 && e.se < 1e-10, "{:?}", e);
        }
        prop_assert!((fit.sides[0] - a).abs() < 1e-10);
    }
}

#[test]
fn what_is_wrong_is_said() {
    let (x, y, treated) = data(1, 100);
    let settings = RegressionDiscontinuity::default();
    let message = |x: &[f64], y: &[f64], t: Option<&[f64]>, s: &RegressionDiscontinuity| {
        estimate(x, y, t, s).unwrap_err().to_string()
    };
    assert!(message(&x, &y[1..], None, &settings).contains("y has length 99"));
    assert!(message(&x, &y, Some(&treated[1..]), &settings).contains("the treatment has length 99"));
    let beyond = RegressionDiscontinuity { cutoff: 5.0, ..settings };
    assert!(
        message(&x, &y, None, &beyond)
            .contains("the side above the cutoff (rows) needs at least 3 values, got 0")
    );
    let order = RegressionDiscontinuity { bias_order: 1, ..settings };
    assert!(message(&x, &y, None, &order).contains("orders above that of the fit"));
    let fixed = |main, bias| RegressionDiscontinuity {
        bandwidths: BandwidthChoice::Fixed { main, bias },
        ..settings
    };
    assert!(message(&x, &y, None, &fixed(0.0, 1.0)).contains("the bandwidth is 0"));
    assert!(message(&x, &y, None, &fixed(1e-6, 1.0)).contains("(rows) needs at least 2 values"));
    let none = RegressionDiscontinuity { variance: Variance::NearestNeighbours(0), ..settings };
    assert!(message(&x, &y, None, &none).contains("the number of neighbours is 0"));
    let flat = vec![1.0; 100];
    assert!(message(&x, &y, Some(&flat), &settings).contains("does not jump"));
    let mut gap = y.clone();
    gap[4] = f64::NAN;
    assert!(message(&x, &gap, None, &settings).contains("y[4] is NaN"));
}

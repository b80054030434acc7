//! Properties of the logistic regression that hold for any data.
#![allow(clippy::unwrap_used)]

mod common;

use common::{binary, close, design, fractions};
use proptest::prelude::*;
use ream_stats::glm::{GlmFit, Penalty, fractional_logistic, log_loss, sigmoid};
use ream_stats::{Covariance, FitError, Matrix, StatsError};

fn fit(x: &Matrix, y: &[f64], penalty: &Penalty) -> GlmFit {
    fractional_logistic(x, y, None, penalty).unwrap()
}

#[test]
fn swapped_roles_negate_the_coefficients() {
    let x = design(1, 805, 5);
    let y = fractions(1, &x, &[0.2, 1.0, -0.5, 0.0, 2.0]);
    let swapped: Vec<f64> = y.iter().map(|y| 1.0 - y).collect();
    let l2 = Penalty::L2 { strength: vec![0.0, 3.0, 1.0, 2.0, 0.5], centre: vec![0.0; 5] };
    for penalty in [Penalty::None, l2, Penalty::lasso(20.0, 5)] {
        let a = fit(&x, &y, &penalty);
        let b = fit(&x, &swapped, &penalty);
        assert!(a.converged && a.gradient_norm <= 1e-9);
        let negated: Vec<f64> = b.coefficients.iter().map(|v| -v).collect();
        close(&a.coefficients, &negated, 1e-9, "coefficients");
    }
}

#[test]
fn permuted_rows_leave_the_fit() {
    let x = design(2, 300, 4);
    let y = binary(2, &x, &[0.2, 1.0, -0.5, 0.3]);
    let mut order: Vec<usize> = (0..300).collect();
    ream_rand::Stream::new(2, "order").at(0).shuffle(&mut order);
    let shuffled: Vec<f64> = order.iter().map(|&i| y[i]).collect();
    let permuted = x.select_rows(&order);
    for penalty in [Penalty::None, Penalty::ridge(2.0, 4), Penalty::lasso(5.0, 4)] {
        let (a, b) = (fit(&x, &y, &penalty), fit(&permuted, &shuffled, &penalty));
        close(&a.coefficients, &b.coefficients, 1e-10, "coefficients");
    }
    let (a, b) = (fit(&x, &y, &Penalty::None), fit(&permuted, &shuffled, &Penalty::None));
    let ids: Vec<usize> = (0..300).map(|i| i / 7).collect();
    let permuted_ids: Vec<usize> = order.iter().map(|&i| ids[i]).collect();
    for (one, other) in [
        (Covariance::Classical, Covariance::Classical),
        (Covariance::Hc3, Covariance::Hc3),
        (Covariance::Cluster(&ids), Covariance::Cluster(&permuted_ids)),
    ] {
        let one = a.covariance(&x, &y, None, one).unwrap();
        let other = b.covariance(&permuted, &shuffled, None, other).unwrap();
        close(one.data(), other.data(), 1e-9, "covariance");
    }
}

#[test]
fn weights_are_copies_of_rows_and_zero_is_absence() {
    let x = design(3, 60, 3);
    let y = fractions(3, &x, &[0.0, 1.0, -1.0]);
    let weights: Vec<f64> = (0..60).map(|i| f64::from(i % 4)).collect();
    let copies: Vec<usize> = (0..60).flat_map(|i| vec![i; i % 4]).collect();
    let long_y: Vec<f64> = copies.iter().map(|&i| y[i]).collect();
    let weighted = fractional_logistic(&x, &y, Some(&weights), &Penalty::None).unwrap();
    close(
        &weighted.coefficients,
        &fit(&x.select_rows(&copies), &long_y, &Penalty::None).coefficients,
        1e-11,
        "copies",
    );
    // Rows of weight 0 do not enter any count.
    let kept: Vec<usize> = (0..60).filter(|i| i % 4 > 0).collect();
    let (kept_x, kept_y): (_, Vec<f64>) = (x.select_rows(&kept), kept.iter().map(|&i| y[i]).collect());
    let kept_w: Vec<f64> = kept.iter().map(|&i| weights[i]).collect();
    let one = weighted.covariance(&x, &y, Some(&weights), Covariance::Hc1).unwrap();
    let other = weighted.covariance(&kept_x, &kept_y, Some(&kept_w), Covariance::Hc1).unwrap();
    assert_eq!(one, other);
}

#[test]
fn l1_is_zero_above_its_critical_strength_and_satisfies_its_conditions_below() {
    let x = design(4, 200, 6);
    let y = binary(4, &x, &[0.0, 2.0, 0.0, -1.0, 0.0, 0.1]);
    // At b = 0 the gradient is X'(1/2 - y): above its largest entry everything is 0, below it something is not.
    let gradient = |j: usize| (0..200).map(|i| x.get(i, j) * (0.5 - y[i])).sum::<f64>().abs();
    let critical = (0..6).map(gradient).fold(0.0, f64::max);
    assert!(fit(&x, &y, &Penalty::lasso(critical * 1.000_001, 6)).coefficients.iter().all(|b| *b == 0.0));
    assert!(fit(&x, &y, &Penalty::lasso(1e12, 6)).coefficients.iter().all(|b| *b == 0.0));
    assert!(fit(&x, &y, &Penalty::lasso(critical * 0.999, 6)).coefficients.iter().any(|b| *b != 0.0));

    let strength = 12.0;
    let lasso = fit(&x, &y, &Penalty::lasso(strength, 6));
    assert!(lasso.converged && lasso.coefficients.contains(&0.0));
    let mean = lasso.predict(&x).unwrap();
    for j in 0..6 {
        let score: f64 = (0..200).map(|i| x.get(i, j) * (y[i] - mean[i])).sum();
        match lasso.coefficients[j] {
            0.0 => assert!(score.abs() <= strength + 1e-7),
            b => assert!((score - strength * b.signum()).abs() < 1e-6, "column {j}: {score}"),
        }
    }
    // No strength: maximum likelihood.
    close(
        &fit(&x, &y, &Penalty::lasso(0.0, 6)).coefficients,
        &fit(&x, &y, &Penalty::None).coefficients,
        1e-8,
        "strength 0",
    );
}

#[test]
fn l1_drops_the_copy_of_a_column_and_a_column_of_zeros() {
    let base = design(5, 100, 2);
    let x = Matrix::from_fn(100, 4, |i, j| if j == 3 { 0.0 } else { base.get(i, j.min(1)) });
    let y = fractions(5, &base, &[0.3, 1.0]);
    let lasso = fit(&x, &y, &Penalty::L1 { strength: vec![0.0, 2.0, 2.0, 1.0] });
    let single = fit(&base, &y, &Penalty::L1 { strength: vec![0.0, 2.0] });
    assert!(lasso.converged && lasso.coefficients[3] == 0.0);
    let sum = lasso.coefficients[1] + lasso.coefficients[2];
    assert!((sum - single.coefficients[1]).abs() < 1e-9);
}

#[test]
fn l2_goes_from_the_likelihood_to_its_centre() {
    let x = design(6, 150, 3);
    let y = fractions(6, &x, &[0.1, 0.7, -0.4]);
    let centre = vec![0.5, -2.0, 30.0];
    let l2 = |s: f64| Penalty::L2 { strength: vec![s; 3], centre: centre.clone() };
    close(&fit(&x, &y, &l2(1e14)).coefficients, &centre, 1e-9, "huge strength");
    close(
        &fit(&x, &y, &l2(1e-12)).coefficients,
        &fit(&x, &y, &Penalty::None).coefficients,
        1e-9,
        "tiny strength",
    );
    // The stationarity condition, computed apart.
    let ridge = fit(&x, &y, &l2(3.0));
    let mean = ridge.predict(&x).unwrap();
    for (j, (b, c)) in ridge.coefficients.iter().zip(&centre).enumerate() {
        let score: f64 = (0..150).map(|i| x.get(i, j) * (mean[i] - y[i])).sum();
        assert!((score + 3.0 * (b - c)).abs() < 1e-8);
    }
}

#[test]
fn separation_is_noticed_and_only_then() {
    let line: Vec<f64> = (0..40).map(|i| f64::from(i) - 19.5).collect();
    let x = Matrix::from_columns(&[line]).unwrap().with_intercept();
    let complete: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i >= 17))).collect();
    let separated = fit(&x, &complete, &Penalty::None);
    assert!(separated.separated && !separated.converged && separated.iterations < 60);
    assert!(matches!(
        separated.covariance(&x, &complete, None, Covariance::Hc0),
        Err(FitError::NoCovariance { .. })
    ));
    // Quasi-complete: a group in which every response is 1; the other coefficients exist.
    let group = Matrix::from_fn(40, 2, |i, j| if j == 0 { 1.0 } else { f64::from(u8::from(i % 5 == 0)) });
    let quasi: Vec<f64> = (0..40).map(|i| f64::from(u8::from(i % 5 == 0 || i % 3 == 0))).collect();
    assert!(fit(&group, &quasi, &Penalty::None).separated);
    // All responses 1.
    assert!(fit(&x, &[1.0; 40], &Penalty::None).separated);
    assert!(fit(&x, &[1.0; 40], &Penalty::L1 { strength: vec![0.0, 5.0] }).separated);
    // A penalty on every column gives a finite maximum.
    let ridge = fit(&x, &complete, &Penalty::ridge(0.01, 2));
    assert!(ridge.converged && !ridge.separated);
    assert!(fit(&x, &complete, &Penalty::lasso(0.01, 2)).converged);
    // One row on the wrong side, or one fractional row, and the maximum exists.
    let mut overlap = complete.clone();
    overlap[3] = 1.0;
    let one = fit(&x, &overlap, &Penalty::None);
    assert!(one.converged && !one.separated);
    let mut tiny = complete;
    tiny[12] = 1e-11;
    tiny[13] = 1e-9;
    let far = fit(&x, &tiny, &Penalty::None);
    assert!(far.converged && !far.separated, "{far:?}");
    assert!(far.gradient_norm < 1e-11 && far.coefficients[1] > 2.0);
}

#[test]
fn one_large_row_does_not_look_like_separation() {
    let mut values: Vec<f64> = design(8, 60, 2).column(1);
    values[0] = 1e4;
    let x = Matrix::from_columns(&[values]).unwrap();
    let mut y = binary(8, &x, &[0.4]);
    y[0] = 1.0;
    let large = fit(&x, &y, &Penalty::None);
    assert!(large.converged && !large.separated, "{large:?}");
    let mean = large.predict(&x).unwrap();
    let score: f64 = (1..60).map(|i| x.get(i, 0) * (y[i] - mean[i])).sum();
    assert!(score.abs() < 1e-7);
}

#[test]
fn dependent_columns_are_an_error_and_nearly_dependent_ones_are_not() {
    let base = design(9, 100, 3);
    let y = fractions(9, &base, &[0.1, 1.0, -1.0]);
    let copy =
        Matrix::from_fn(100, 4, |i, j| if j < 3 { base.get(i, j) } else { 2.0 * base.get(i, 1) - 3.0 });
    let error = fractional_logistic(&copy, &y, None, &Penalty::None).unwrap_err();
    assert!(matches!(error, FitError::RankDeficient { rank: 3, columns: 4, .. }), "{error}");
    assert!(fit(&copy, &y, &Penalty::ridge(1e-3, 4)).converged);
    let near = Matrix::from_fn(100, 4, |i, j| {
        if j < 3 { base.get(i, j) } else { base.get(i, 1) + 1e-7 * base.get((i * 7 + 3) % 100, 2) }
    });
    let near_fit = fit(&near, &y, &Penalty::None);
    assert!(near_fit.converged && near_fit.gradient_norm < 1e-9);
    let wide = Matrix::from_fn(2, 3, |i, j| (i * 3 + j) as f64);
    assert!(matches!(
        fractional_logistic(&wide, &[0.1, 0.5], None, &Penalty::None),
        Err(FitError::RankDeficient { .. })
    ));
}

#[test]
fn threads_and_length_do_not_change_bits() {
    let x = design(10, 20_000, 6);
    let y = fractions(10, &x, &[0.0, 0.3, 0.1, -0.2, 0.0, 0.5]);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let a = fit(&x, &y, &Penalty::None);
            let covariance = a.covariance(&x, &y, None, Covariance::Hc1).unwrap();
            (a, covariance, fit(&x, &y, &Penalty::lasso(30.0, 6)))
        })
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn bad_input_is_named() {
    let x = design(11, 5, 2);
    let y = [0.1, 0.2, 0.3, 0.4, 0.5];
    let error = |x: &Matrix, y: &[f64], w: Option<&[f64]>, p: &Penalty| {
        fractional_logistic(x, y, w, p).unwrap_err().to_string()
    };
    let none = &Penalty::None;
    assert_eq!(error(&x, &y[..4], None, none), "y has length 4, expected 5");
    assert_eq!(error(&x, &[0.1, 1.5, 0.3, 0.4, 0.5], None, none), "y[1] is 1.5; allowed: 0 to 1");
    assert_eq!(
        error(&x, &[0.1, f64::NAN, 0.3, 0.4, 0.5], None, none),
        "y[1] is NaN; it must be a finite number"
    );
    let mut data = x.data().to_vec();
    data[7] = f64::INFINITY;
    let broken = Matrix::new(5, 2, data).unwrap();
    assert_eq!(
        error(&broken, &y, None, none),
        "row 3, column 1 of the design is inf; it must be a finite number"
    );
    assert_eq!(
        error(&x, &y, Some(&[1.0, 1.0, -1.0, 1.0, 1.0]), none),
        "weights[2] is -1; allowed: finite numbers of at least 0"
    );
    assert!(error(&x, &y, Some(&[0.0; 5]), none).contains("at least 1"));
    assert!(error(&x, &y, Some(&[1.0]), none).contains("weights has length 1, expected 5"));
    assert!(error(&x, &y, None, &Penalty::lasso(-1.0, 2)).contains("penalty strength[0] is -1"));
    assert!(
        error(&x, &y, None, &Penalty::ridge(1.0, 3)).contains("penalty strength has length 3, expected 2")
    );
    assert!(fractional_logistic(&Matrix::new(0, 0, vec![]).unwrap(), &[], None, none).is_err());
    assert!(Matrix::from_rows::<Vec<f64>>(&[]).is_err());
    assert!(Matrix::new(2, 2, vec![1.0]).is_err());
    let fitted = fit(&x, &y, none);
    assert!(fitted.covariance(&x, &y, None, Covariance::Cluster(&[1, 2])).is_err());
    assert!(fitted.covariance(&x, &y, None, Covariance::Cluster(&[1; 5])).is_err());
    assert!(fitted.covariance(&design(1, 5, 3), &y, None, Covariance::Hc0).is_err());
    assert!(fitted.predict(&design(1, 5, 3)).is_err());
}

#[test]
fn log_loss_by_hand() {
    let got = log_loss(&[1.0, 0.0, 0.25], &[0.8, 0.4, 0.5], None).unwrap();
    let want = -(libm::log(0.8) + libm::log(0.6) + libm::log(0.5)) / 3.0;
    assert!((got - want).abs() < 1e-15);
    assert_eq!(log_loss(&[1.0, 0.0], &[1.0, 0.0], None).unwrap(), 0.0);
    assert_eq!(log_loss(&[1.0], &[0.0], None).unwrap(), f64::INFINITY);
    let weighted = log_loss(&[1.0, 0.0], &[0.8, 0.0], Some(&[3.0, 0.0])).unwrap();
    assert!((weighted + libm::log(0.8)).abs() < 1e-15);
    assert!(matches!(log_loss(&[], &[], None), Err(StatsError::TooFew { .. })));
    assert!(log_loss(&[1.0], &[1.2], None).is_err());
    assert!(log_loss(&[1.0], &[0.2], Some(&[0.0])).is_err());
    assert_eq!(sigmoid(-1e4), 0.0);
    assert_eq!(sigmoid(1e4), 1.0);
}

/// Whether a direction separates the rows, exactly. With independent columns the cone of such directions has an edge
/// on which two independent rows lie, so it is enough to try the cross products of pairs of rows.
fn separable(rows: &[[i64; 3]], y: &[f64]) -> bool {
    let cross = |a: &[i64; 3], b: &[i64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    let separates = |d: &[i64; 3]| {
        *d != [0; 3]
            && rows.iter().zip(y).all(|(row, y)| {
                let side: i64 = row.iter().zip(d).map(|(a, b)| a * b).sum();
                if *y == 1.0 {
                    side >= 0
                } else if *y == 0.0 {
                    side <= 0
                } else {
                    side == 0
                }
            })
    };
    rows.iter().any(|a| {
        rows.iter().any(|b| {
            let d = cross(a, b);
            separates(&d) || separates(&d.map(|v| -v))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn separation_is_what_the_cone_says(
        rows in prop::collection::vec((-3_i64..4, -3_i64..4, prop_oneof![6 => 0_u8..2, 1 => 2_u8..3]), 4..30),
    ) {
        let y: Vec<f64> = rows.iter().map(|r| [0.0, 1.0, 0.3][usize::from(r.2)]).collect();
        let rows: Vec<[i64; 3]> = rows.iter().map(|r| [1, r.0, r.1]).collect();
        let x = Matrix::from_fn(rows.len(), 3, |i, j| rows[i][j] as f64);
        match fractional_logistic(&x, &y, None, &Penalty::None) {
            Ok(fit) => {
                prop_assert_eq!(fit.separated, separable(&rows, &y), "{:?}", fit);
                prop_assert_eq!(fit.converged, !fit.separated, "{:?}", fit);
                // A lasso with every column free is the same problem.
                let free = fractional_logistic(&x, &y, None, &Penalty::lasso(0.0, 3)).unwrap();
                prop_assert_eq!(free.separated, fit.separated, "{:?}", free);
                prop_assert_eq!(free.converged, fit.converged, "{:?}", free);
                // A penalty on every column always has an optimum.
                for penalty in [Penalty::ridge(0.1, 3), Penalty::lasso(0.1, 3)] {
                    let penalised = fractional_logistic(&x, &y, None, &penalty).unwrap();
                    prop_assert!(penalised.converged && !penalised.separated, "{:?}", penalised);
                }
            }
            Err(error) => prop_assert!(
                matches!(error, FitError::RankDeficient { .. }),
                "{}", error
            ),
        }
    }
}

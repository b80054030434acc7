//! Fits of many rows, which go block by block, against the fits of few.
#![allow(clippy::unwrap_used)]

mod common;

use common::{close, design};
use ream_rand::Stream;
use ream_stats::instrumental::{Instrumental, Variables};
use ream_stats::local_polynomial::{Kernel, LocalPolynomial, Side};
use ream_stats::{Covariance, FitError, Matrix, linear};

fn response(x: &Matrix) -> Vec<f64> {
    let mut rng = Stream::new(1, "tall").at(0);
    (0..x.rows()).map(|i| x.row(i).iter().sum::<f64>() + rng.normal() * (1.0 + x.get(i, 1).abs())).collect()
}

/// Rows `0..n` over and over, `copies` times.
fn copies(n: usize, copies: usize) -> Vec<usize> {
    (0..n * copies).map(|k| k % n).collect()
}

#[test]
fn copies_of_the_rows_have_the_same_coefficients() {
    let short = design(1, 61, 5);
    let y = response(&short);
    let rows = copies(61, 150);
    let tall = short.select_rows(&rows);
    let long_y: Vec<f64> = rows.iter().map(|&i| y[i]).collect();
    let weight: Vec<f64> = (0..61).map(|i| (i % 4) as f64 / 3.0).collect();
    let long_weight: Vec<f64> = rows.iter().map(|&i| weight[i]).collect();
    let ids: Vec<usize> = (0..61).map(|i| i / 3).collect();
    let long_ids: Vec<usize> = rows.iter().map(|&i| ids[i]).collect();
    for weights in [None, Some((&weight, &long_weight))] {
        let fit = |kind: Covariance<'_>, tall_kind: Covariance<'_>| match weights {
            None => (linear::ols(&short, &y, kind).unwrap(), linear::ols(&tall, &long_y, tall_kind).unwrap()),
            Some((w, long)) => (
                linear::wls(&short, &y, w, kind).unwrap(),
                linear::wls(&tall, &long_y, long, tall_kind).unwrap(),
            ),
        };
        // HC0 divides by the number of copies; by cluster (all copies of a cluster in one) it stays.
        let (a, b) = fit(Covariance::Hc0, Covariance::Hc0);
        close(&b.coefficients, &a.coefficients, 1e-12, "coefficients");
        let scaled: Vec<f64> = b.covariance.data().iter().map(|v| v * 150.0).collect();
        close(&scaled, a.covariance.data(), 1e-11, "HC0");
        close(&[b.r_squared], &[a.r_squared], 1e-11, "R2");
        close(&b.residuals[..61], &a.residuals, 1e-11, "residuals");
        let (a, b) = fit(Covariance::ClusterUncorrected(&ids), Covariance::ClusterUncorrected(&long_ids));
        close(b.covariance.data(), a.covariance.data(), 1e-11, "by cluster");
        assert_eq!(a.freedom, b.freedom);
    }
}

#[test]
fn all_covariances_agree_with_those_of_kappa_0() {
    let x = design(2, 5000, 4);
    let y = response(&x);
    let ids: Vec<usize> = (0..5000).map(|i| (i * 31) % 97).collect();
    let (w, d) = (Matrix::from_fn(5000, 1, |_, _| 1.0), Matrix::from_fn(5000, 3, |i, j| x.get(i, j + 1)));
    let z = design(3, 5000, 3);
    let z = Matrix::from_fn(5000, 2, |i, j| z.get(i, j + 1));
    let variables = Variables { outcome: &y, controls: Some(&w), treatments: &d, instruments: &z };
    let model = Instrumental::new(variables).unwrap();
    for kind in
        [Covariance::Classical, Covariance::Hc1, Covariance::Hc2, Covariance::Hc3, Covariance::Cluster(&ids)]
    {
        let tall = linear::ols(&x, &y, kind).unwrap();
        let other = model.ols(kind).unwrap().estimates;
        close(&tall.coefficients, &other.coefficients, 1e-12, "coefficients");
        close(tall.covariance.data(), other.covariance.data(), 1e-11, &format!("{kind:?}"));
        close(
            &[tall.r_squared, tall.residual_variance],
            &[other.r_squared, other.residual_variance],
            1e-12,
            "fit",
        );
    }
}

#[test]
fn columns_that_nearly_agree_keep_their_digits() {
    // A column that differs from another by 1e-6; the coefficients are whole numbers and the rest is exact.
    let x = design(4, 6000, 3);
    let near = Matrix::from_fn(6000, 4, |i, j| match j {
        3 => x.get(i, 1) + x.get(i, 2) * 1e-6,
        j => {
            if j == 2 {
                (i % 7) as f64
            } else {
                x.get(i, j)
            }
        }
    });
    let y: Vec<f64> =
        (0..6000).map(|i| near.row(i).iter().zip([1.0, 2.0, 3.0, 4.0]).map(|(x, b)| x * b).sum()).collect();
    let fit = linear::ols(&near, &y, Covariance::Hc0).unwrap();
    // The response itself is rounded: 1e-16 of it over 1e-6.
    close(&fit.coefficients, &[1.0, 2.0, 3.0, 4.0], 1e-9, "coefficients");
    let same = Matrix::from_fn(6000, 3, |i, j| if j == 2 { 2.0 * x.get(i, 1) - 1.0 } else { x.get(i, j) });
    let error = linear::ols(&same, &y, Covariance::Hc0).unwrap_err();
    assert_eq!(error, FitError::RankDeficient { rank: 2, columns: 3, column: 2 });
    // One row alone has a column of its own.
    let lonely =
        Matrix::from_fn(6000, 3, |i, j| if j == 2 { f64::from(u8::from(i == 4321)) } else { x.get(i, j) });
    assert_eq!(linear::ols(&lonely, &y, Covariance::Hc3).unwrap_err(), FitError::FullLeverage { row: 4321 });
    assert!(linear::ols(&lonely, &y, Covariance::Hc1).is_ok());
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let x = design(5, 20_000, 4);
    let y = response(&x);
    let (d, z) =
        (Matrix::from_fn(20_000, 1, |i, _| x.get(i, 1)), Matrix::from_fn(20_000, 2, |i, j| x.get(i, j + 2)));
    let positions = x.column(3);
    let all = || {
        let fit = linear::ols(&x, &y, Covariance::Hc3).unwrap();
        let variables = Variables { outcome: &y, controls: None, treatments: &d, instruments: &z };
        let kappa = Instrumental::new(variables).unwrap().liml(Covariance::Hc1).unwrap();
        let local = LocalPolynomial::new(&positions, 0.1, Side::Both, Kernel::Triangular, 2, 0.5).unwrap();
        (fit, kappa, local.value(&y).unwrap())
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    assert_eq!(pool(1).install(all), pool(3).install(all));
}

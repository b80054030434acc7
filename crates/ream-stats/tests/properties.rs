//! What must hold for any data, for everything but the logistic regression (see `glm.rs`).

#![allow(clippy::unwrap_used)]

mod common;

use common::{close, design};
use proptest::prelude::*;
use ream_rand::Stream;
use ream_stats::bootstrap::{self, Bootstrap, Interval};
use ream_stats::glm::{Penalty, fractional_logistic};
use ream_stats::{
    Covariance, FitError, Matrix, cross_fit, descriptive, distribution, interval, linear, metrics, rank,
};

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn response(seed: u64, x: &Matrix) -> Vec<f64> {
    let mut rng = Stream::new(seed, "response").at(0);
    (0..x.rows()).map(|i| x.row(i).iter().sum::<f64>() + rng.normal()).collect()
}

/// Share of `n` simulated intervals that contain the truth, as standard errors away from `level`.
fn miscoverage(n: u64, level: f64, covers: impl Fn(u64) -> bool) -> f64 {
    let hits = (0..n).filter(|&i| covers(i)).count() as f64;
    (hits / n as f64 - level) / (level * (1.0 - level) / n as f64).sqrt()
}

#[test]
fn intervals_cover_as_often_as_they_say() {
    let stream = Stream::new(1, "coverage");
    let normals = |i: u64, n: usize, scale: f64| -> Vec<f64> {
        let mut rng = stream.child(n as u64).at(i);
        (0..n).map(|_| scale * rng.normal()).collect()
    };
    let t = miscoverage(4000, 0.9, |i| interval::mean_t(&normals(i, 5, 2.0), 0.9).unwrap().contains(0.0));
    assert!(t.abs() < 4.0, "mean: {t} standard errors");
    let welch = miscoverage(4000, 0.9, |i| {
        interval::welch(&normals(i, 12, 1.0), &normals(i, 30, 3.0), 0.9).unwrap().contains(0.0)
    });
    // Welch's law is an approximation, good to a fraction of a percent at these sizes.
    assert!(welch.abs() < 5.0, "welch: {welch} standard errors");
    let robust = miscoverage(1000, 0.9, |i| {
        let x = design(1000 + i, 60, 2);
        let mut rng = stream.child(7).at(i);
        // Errors that grow with the column: the classical interval would be too short.
        let y: Vec<f64> = (0..60).map(|k| x.get(k, 1) + (0.2 + x.get(k, 1).abs()) * rng.normal()).collect();
        linear::ols(&x, &y, Covariance::Hc3).unwrap().intervals(0.9).unwrap()[1].contains(1.0)
    });
    assert!(robust.abs() < 4.0, "HC3: {robust} standard errors");
    // Percentile intervals are a little short for small samples: judged against a band.
    let settings = |i| Bootstrap { replications: 400, level: 0.9, stream: stream.child(9).child(i) };
    let hits = (0..1000)
        .filter(|&i| bootstrap::bca(&normals(i, 40, 1.0), mean, &settings(i)).unwrap().contains(0.0))
        .count();
    assert!((860..=930).contains(&hits), "BCa covered {hits} of 1000");
    // Power of the minimum detectable effect.
    let effect = interval::minimum_detectable_effect(1.0, 0.95, 0.8).unwrap();
    let mut rng = stream.child(11).at(0);
    let found = (0..20_000).filter(|_| (effect + rng.normal()).abs() > 1.959_963_984_540_054).count() as f64;
    assert!(
        (found / 20_000.0 - 0.8).abs() < 4.0 * (0.16_f64 / 20_000.0).sqrt(),
        "power {}",
        found / 20_000.0
    );
}

#[test]
fn bootstraps_are_the_same_on_any_number_of_threads() {
    let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
    let other: Vec<f64> = (0..50).map(|i| f64::from(i * 7 % 13)).collect();
    let ids: Vec<usize> = (0..50).map(|i| i / 4).collect();
    let settings = Bootstrap { replications: 300, level: 0.9, stream: Stream::new(3, "threads") };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            [
                bootstrap::percentile(&values, mean, &settings).unwrap(),
                bootstrap::bca(&values, mean, &settings).unwrap(),
                bootstrap::paired(&values, &other, rank::spearman, Interval::Bca, &settings).unwrap(),
                bootstrap::cluster(
                    &ids,
                    |rows| rows.iter().map(|&i| values[i]).sum::<f64>() / rows.len() as f64,
                    Interval::Bca,
                    &settings,
                )
                .unwrap(),
            ]
        })
    };
    let one = on(1);
    assert_eq!(one, on(3));
    // Rows within a cluster are alike, so fewer of them are independent.
    assert!(one.iter().all(|e| e.low < e.value && e.value < e.high && e.se > 0.0));
}

#[test]
fn clusters_of_copies_count_once() {
    let mut rng = Stream::new(4, "copies").at(0);
    let single: Vec<f64> = (0..30).map(|_| rng.normal()).collect();
    let copies: Vec<f64> = single.iter().flat_map(|v| [*v; 5]).collect();
    let ids: Vec<usize> = (0..150).map(|i| i / 5).collect();
    let settings = Bootstrap { replications: 500, level: 0.95, stream: Stream::new(4, "bootstrap") };
    let clustered = bootstrap::cluster(
        &ids,
        |rows| rows.iter().map(|&i| copies[i]).sum::<f64>() / rows.len() as f64,
        Interval::Percentile,
        &settings,
    )
    .unwrap();
    // The same draws of 30 units: the same interval.
    let plain = bootstrap::percentile(&single, mean, &settings).unwrap();
    close(&[clustered.low, clustered.high], &[plain.low, plain.high], 1e-12, "interval");
    // In least squares too: five copies of each row as clusters have the covariance of the rows alone.
    let x = design(4, 30, 2);
    let y = response(4, &x);
    let rows: Vec<usize> = (0..150).map(|i| i / 5).collect();
    let long_y: Vec<f64> = rows.iter().map(|&i| y[i]).collect();
    let long = linear::ols(&x.select_rows(&rows), &long_y, Covariance::ClusterUncorrected(&ids)).unwrap();
    let short = linear::ols(&x, &y, Covariance::Hc0).unwrap();
    close(long.covariance.data(), short.covariance.data(), 1e-11, "covariance");
    assert_eq!(long.freedom, 29.0);
}

#[test]
fn ridge_at_its_limits() {
    let x = design(5, 50, 4);
    let y = response(5, &x);
    let ols = linear::ols(&x, &y, Covariance::Classical).unwrap();
    let free = linear::ridge(&x, &y, 0.0).unwrap();
    close(&free.coefficients, &ols.coefficients, 1e-11, "lambda 0");
    assert!((free.effective_parameters - 4.0).abs() < 1e-12);
    let heavy = linear::ridge(&x, &y, 1e15).unwrap();
    assert!(heavy.coefficients.iter().all(|b| b.abs() < 1e-10));
    // More columns than rows.
    let wide = design(6, 5, 9);
    let fit = linear::ridge(&wide, &y[..5], 0.1).unwrap();
    let residual: Vec<f64> =
        wide.times(&fit.coefficients).unwrap().iter().zip(&y).map(|(f, y)| y - f).collect();
    for j in 0..9 {
        let score: f64 = wide.column(j).iter().zip(&residual).map(|(x, r)| x * r).sum();
        assert!((score - 0.1 * fit.coefficients[j]).abs() < 1e-11);
    }
    // GCV against its definition by leave-nothing-out algebra, and the choice of the smallest score.
    let lambdas = [0.0, 0.01, 1.0, 100.0];
    let choice = linear::ridge_gcv(&x, &y, &[0.0, 1.0, 1.0, 1.0], &lambdas).unwrap();
    let best = choice.scores.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(choice.fit.gcv, best);
    assert_eq!(choice.scores[lambdas.iter().position(|l| *l == choice.lambda).unwrap()], best);
    let held = linear::ridge_held_out((&x, &y), (&x, &y), &[1.0; 4], &lambdas).unwrap();
    assert_eq!(held.lambda, 0.0, "on the rows of the fit itself no penalty is best");
}

#[test]
fn folds_are_balanced_and_keep_groups_together() {
    let stream = Stream::new(6, "folds");
    let count = |folds: &[usize], keep: &dyn Fn(usize) -> bool| {
        let mut sizes = [0; 4];
        folds.iter().enumerate().filter(|(i, _)| keep(*i)).for_each(|(_, f)| sizes[*f] += 1);
        sizes.iter().max().unwrap() - sizes.iter().min().unwrap()
    };
    let plain = cross_fit::folds(103, 4, stream).unwrap();
    assert!(count(&plain, &|_| true) <= 1);
    assert_eq!(plain, cross_fit::folds(103, 4, stream).unwrap());
    assert_ne!(plain, cross_fit::folds(103, 4, Stream::new(7, "folds")).unwrap());
    let strata: Vec<usize> = (0..103).map(|i| if i % 10 == 0 { 9 } else { i % 2 }).collect();
    let stratified = cross_fit::stratified(&strata, 4, stream).unwrap();
    assert!(count(&stratified, &|_| true) <= 1);
    for stratum in [0, 1, 9] {
        assert!(count(&stratified, &|i| strata[i] == stratum) <= 1);
    }
    let groups: Vec<usize> = (0..103).map(|i| i / 6).collect();
    let grouped = cross_fit::grouped(&groups, 4, stream).unwrap();
    assert!((1..103).all(|i| groups[i] != groups[i - 1] || grouped[i] == grouped[i - 1]));
    assert!(count(&grouped, &|_| true) <= 6);
    // The prediction of a row never sees the row (or its group).
    let seen = cross_fit::out_of_fold(&grouped, |train, test| {
        assert!(test.iter().all(|i| !train.iter().any(|t| groups[*t] == groups[*i])));
        assert_eq!(train.len() + test.len(), 103);
        Ok::<_, ream_stats::StatsError>(test.to_vec())
    })
    .unwrap();
    assert_eq!(seen, (0..103).collect::<Vec<_>>());
    assert!(cross_fit::folds(3, 4, stream).is_err() && cross_fit::folds(3, 1, stream).is_err());
    assert!(cross_fit::grouped(&[1, 1, 2], 3, stream).is_err());
    assert!(cross_fit::out_of_fold(&plain, |_, _| Ok::<_, ream_stats::StatsError>(vec![1.0])).is_err());
    assert!(cross_fit::out_of_fold(&[0, 0], |_, t| Ok::<_, ream_stats::StatsError>(t.to_vec())).is_err());
}

#[test]
fn calibration_by_hand() {
    let (y, p) = ([1.0, 0.0, 1.0, 1.0], [1.0, 0.1, 0.3, 0.95]);
    let bins = metrics::calibration(&y, &p, 2).unwrap();
    assert_eq!((bins[0].count, bins[0].observed), (2, 0.5));
    assert_eq!((bins[1].count, bins[1].observed), (2, 1.0));
    close(&[bins[0].predicted, bins[1].predicted], &[0.2, 0.975], 1e-15, "predicted");
    close(&[metrics::calibration_error(&y, &p, 2).unwrap()], &[0.5 * 0.3 + 0.5 * 0.025], 1e-14, "error");
    assert_eq!(metrics::calibration(&y, &p, 100).unwrap().len(), 4);
}

#[test]
fn bad_input_gives_errors() {
    let nan = [1.0, f64::NAN, 2.0, 3.0, 4.0];
    let good = [1.0, 2.0, 4.0, 3.0, 0.5];
    let settings = Bootstrap { replications: 50, level: 0.9, stream: Stream::new(1, "bad") };
    assert!(descriptive::mean(&[]).is_err() && descriptive::mean(&nan).is_err());
    assert!(descriptive::variance(&[1.0]).is_err() && descriptive::median(&[]).is_err());
    assert!(descriptive::quantile(&good, 1.5).is_err() && descriptive::quantile(&good, f64::NAN).is_err());
    assert!(interval::mean_t(&[1.0], 0.9).is_err() && interval::mean_t(&nan, 0.9).is_err());
    assert!(interval::mean_t(&good, 1.0).is_err() && interval::mean_t(&good, f64::NAN).is_err());
    assert!(interval::paired_t(&good, &good[1..], 0.9).is_err());
    assert_eq!(
        interval::paired_t(&good, &nan, 0.9).unwrap_err().to_string(),
        "the second sample[1] is NaN; it must be a finite number"
    );
    assert!(interval::welch(&good, &[1.0], 0.9).is_err());
    assert!(interval::wilson(3, 2, 0.9).is_err() && interval::wilson(0, 0, 0.9).is_err());
    assert!(interval::minimum_detectable_effect(-1.0, 0.9, 0.8).is_err());
    assert!(interval::minimum_detectable_effect(1.0, 0.9, 1.0).is_err());
    for plain in [rank::pearson, rank::spearman, rank::kendall] {
        assert!(plain(&good, &nan).is_nan() && plain(&good, &good[1..]).is_nan());
        assert!(plain(&[], &[]).is_nan() && plain(&good, &[1.0; 5]).is_nan());
    }
    for test in [rank::pearson_test, rank::spearman_test, rank::kendall_test] {
        assert!(test(&good, &nan, 0.9).is_err() && test(&good, &good[1..], 0.9).is_err());
        assert!(test(&[], &[], 0.9).is_err() && test(&good, &good, 0.0).is_err());
        assert!(test(&good, &[1.0; 5], 0.9).unwrap_err().to_string().contains("all values of one variable"));
    }
    assert!(metrics::auc(&[true, true], &[0.1, 0.2]).is_err() && metrics::auc(&[], &[]).is_err());
    assert!(metrics::auc(&[true, false], &[0.1, f64::NAN]).is_err());
    assert!(metrics::brier(&[1.0], &[1.1]).is_err() && metrics::brier(&[], &[]).is_err());
    assert!(metrics::calibration(&[1.0], &[0.5], 0).is_err());
    assert!(bootstrap::percentile(&[], mean, &settings).is_err());
    assert!(bootstrap::percentile(&nan, mean, &settings).is_err());
    assert!(bootstrap::bca(&good, |_| f64::NAN, &settings).is_err());
    assert!(bootstrap::bca(&good, |v| v.iter().copied().fold(0.0, f64::max), &settings).is_ok());
    assert!(bootstrap::percentile(&good, mean, &Bootstrap { replications: 1, ..settings }).is_err());
    assert!(bootstrap::percentile(&good, mean, &Bootstrap { level: 1.0, ..settings }).is_err());
    assert!(bootstrap::cluster(&[1, 1], |_| 0.0, Interval::Bca, &settings).is_err());
    // Every replicate above the estimate.
    assert!(bootstrap::bca_of(0.0, &[1.0, 2.0], &[0.0, 1.0], 0.9).is_err());

    let x = design(1, 5, 2);
    let cov = Covariance::Hc0;
    assert!(linear::ols(&x, &nan, cov).is_err() && linear::ols(&x, &good[1..], cov).is_err());
    assert!(
        linear::wls(&x, &good, &[-1.0; 5], cov).is_err() && linear::wls(&x, &good, &[0.0; 5], cov).is_err()
    );
    assert!(linear::wls(&x, &good, &[1.0; 4], cov).is_err());
    assert!(matches!(
        linear::ols(&design(1, 2, 2), &good[..2], cov),
        Err(FitError::NoResidualFreedom { rows: 2, columns: 2 })
    ));
    let twice = Matrix::from_fn(5, 2, |i, j| (i + 1) as f64 * (j + 1) as f64);
    let error = linear::ols(&twice, &good, cov).unwrap_err().to_string();
    assert!(error.contains("rank 1 but 2 columns"), "{error}");
    // A dummy for one row: its residual is 0 and its leverage 1.
    let dummy = Matrix::from_fn(5, 2, |i, j| f64::from(u8::from(j == 0 || i == 3)));
    assert_eq!(linear::ols(&dummy, &good, Covariance::Hc3), Err(FitError::FullLeverage { row: 3 }));
    assert!(linear::ols(&dummy, &good, Covariance::Hc1).is_ok());
    assert!(linear::ols(&x, &good, Covariance::Cluster(&[0; 5])).is_err());
    assert!(linear::ols(&x, &good, Covariance::Cluster(&[0, 1])).is_err());
    let tiny = Matrix::from_fn(5, 1, |i, _| 1e-200 * i as f64);
    assert!(linear::ols(&tiny, &good, cov).unwrap_err().to_string().contains("rescale the columns"));
    let zero_column = Matrix::from_fn(5, 2, |i, j| if j == 0 { i as f64 } else { 0.0 });
    assert!(matches!(
        linear::ols(&zero_column, &good, cov),
        Err(FitError::RankDeficient { rank: 1, column: 1, .. })
    ));
    assert!(linear::ridge(&x, &good, -1.0).is_err() && linear::ridge(&x, &good, f64::NAN).is_err());
    assert!(linear::ridge_by_column(&x, &good, &[1.0]).is_err());
    assert!(linear::ridge_gcv(&x, &good, &[1.0, 1.0], &[]).is_err());
    assert!(linear::ridge_gcv(&x, &good, &[1.0], &[1.0]).is_err());
    assert!(linear::ridge_held_out((&x, &good), (&design(1, 5, 3), &good), &[1.0; 2], &[1.0]).is_err());
}

fn tied_pairs() -> impl Strategy<Value = Vec<(i8, i8)>> {
    prop::collection::vec((-4_i8..4, -4_i8..4), 2..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kendall_counts_every_pair(pairs in tied_pairs()) {
        let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().map(|(a, b)| (f64::from(*a), f64::from(*b))).unzip();
        let (mut surplus, mut in_x, mut in_y) = (0.0, 0.0, 0.0);
        for i in 0..x.len() {
            for j in 0..i {
                let (a, b) = ((x[i] - x[j]).partial_cmp(&0.0), (y[i] - y[j]).partial_cmp(&0.0));
                let (a, b) = (f64::from(a.unwrap() as i8), f64::from(b.unwrap() as i8));
                surplus += a * b;
                in_x += a * a;
                in_y += b * b;
            }
        }
        let got = rank::kendall(&x, &y);
        if in_x * in_y > 0.0 {
            prop_assert!((got - surplus / (in_x * in_y).sqrt()).abs() < 1e-14);
        } else {
            prop_assert!(got.is_nan());
        }
        // Symmetric, and odd in either argument.
        let negative: Vec<f64> = y.iter().map(|v| -v).collect();
        prop_assert!(got.is_nan() || (got - rank::kendall(&y, &x)).abs() < 1e-15);
        prop_assert!(got.is_nan() || (got + rank::kendall(&x, &negative)).abs() < 1e-15);
    }

    #[test]
    fn auc_counts_every_pair(pairs in prop::collection::vec((any::<bool>(), -4_i8..4), 2..40)) {
        let (labels, scores): (Vec<bool>, Vec<f64>) = pairs.iter().map(|(l, s)| (*l, f64::from(*s))).unzip();
        let (mut wins, mut count) = (0.0, 0.0);
        for i in (0..labels.len()).filter(|&i| labels[i]) {
            for j in (0..labels.len()).filter(|&j| !labels[j]) {
                wins += if scores[i] > scores[j] { 1.0 } else if scores[i] == scores[j] { 0.5 } else { 0.0 };
                count += 1.0;
            }
        }
        match metrics::auc(&labels, &scores) {
            Ok(auc) => prop_assert!((auc - wins / count).abs() < 1e-14),
            Err(_) => prop_assert_eq!(count, 0.0),
        }
    }

    #[test]
    fn least_squares_moves_with_its_response(seed in 0_u64..1000, shift in -3.0..3.0_f64, rows in 8_usize..60) {
        let x = design(seed, rows, 3);
        let y = response(seed, &x);
        let moved: Vec<f64> = y.iter().zip(x.column(2)).map(|(y, x)| y + shift * x).collect();
        let (a, b) = (linear::ols(&x, &y, Covariance::Hc2).unwrap(), linear::ols(&x, &moved, Covariance::Hc2).unwrap());
        prop_assert!((b.coefficients[2] - a.coefficients[2] - shift).abs() < 1e-10);
        for (p, q) in a.covariance.data().iter().zip(b.covariance.data()) {
            prop_assert!((p - q).abs() < 1e-10);
        }
        // Rows in another order.
        let mut order: Vec<usize> = (0..rows).collect();
        Stream::new(seed, "order").at(0).shuffle(&mut order);
        let permuted: Vec<f64> = order.iter().map(|&i| y[i]).collect();
        let c = linear::ols(&x.select_rows(&order), &permuted, Covariance::Hc2).unwrap();
        for (p, q) in a.coefficients.iter().zip(&c.coefficients) {
            prop_assert!((p - q).abs() < 1e-11 * (1.0 + p.abs()));
        }
        // Residuals are orthogonal to the columns.
        for j in 0..3 {
            let inner: f64 = x.column(j).iter().zip(&a.residuals).map(|(x, e)| x * e).sum();
            prop_assert!(inner.abs() < 1e-10);
        }
    }

    #[test]
    fn quantiles_are_monotone_and_within_the_values(values in prop::collection::vec(-1e300..1e300_f64, 1..30), a in 0.0..=1.0_f64, b in 0.0..=1.0_f64) {
        let q = descriptive::quantiles(&values, &[a.min(b), a.max(b)]).unwrap();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        prop_assert!(low <= q[0] && q[0] <= q[1] && q[1] <= high);
    }

    #[test]
    fn statistics_never_panic(values in prop::collection::vec(prop::num::f64::ANY, 0..12), other in prop::collection::vec(prop::num::f64::ANY, 0..12), level in prop::num::f64::ANY) {
        let _ = descriptive::mean(&values);
        let _ = descriptive::variance(&values);
        let _ = descriptive::quantile(&values, level);
        let _ = interval::mean_t(&values, level);
        let _ = interval::paired_t(&values, &other, level);
        let _ = interval::welch(&values, &other, level);
        let _ = rank::spearman(&values, &other);
        let _ = rank::kendall_test(&values, &other, level);
        let _ = rank::pearson_test(&values, &other, level);
        let _ = metrics::brier(&values, &other);
        let _ = metrics::log_loss(&values, &other, None);
        if let Ok(x) = Matrix::new(values.len() / 2, 2, values[..values.len() / 2 * 2].to_vec()) {
            let other = &other[..other.len().min(x.rows())];
            let _ = linear::ols(&x, other, Covariance::Hc3);
            let _ = linear::ridge(&x, other, level);
            let _ = fractional_logistic(&x, other, None, &Penalty::None);
        }
    }

    #[test]
    fn fits_of_extreme_but_finite_designs_end(values in prop::collection::vec(prop_oneof![-1e3..1e3_f64, -1e200..1e200_f64, -1e-200..1e-200_f64, Just(0.0)], 12..=12), y in prop::collection::vec(0.0..=1.0_f64, 6..=6)) {
        let x = Matrix::new(6, 2, values).unwrap();
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        if let Ok(fit) = linear::ols(&x, &y, Covariance::Hc3) {
            prop_assert!(finite(&fit.coefficients), "{:?}", fit);
        }
        if let Ok(fit) = linear::ridge(&x, &y, 1.0) {
            prop_assert!(finite(&fit.coefficients), "{:?}", fit);
        }
        for penalty in [Penalty::None, Penalty::ridge(1.0, 2), Penalty::lasso(1.0, 2)] {
            if let Ok(fit) = fractional_logistic(&x, &y, None, &penalty) {
                prop_assert!(finite(&fit.coefficients), "{:?}", fit);
                let _ = fit.covariance(&x, &y, None, Covariance::Hc3);
            }
        }
    }
}

#[test]
fn weights_and_curves() {
    let values = [3.0, -1.0, 4.0, 1.0, 5.0, 9.0, 2.0];
    let q = [0.0, 0.1, 0.25, 0.5, 0.77, 1.0];
    let plain = descriptive::quantiles(&values, &q).unwrap();
    let equal = descriptive::weighted_quantiles(&values, &[0.3; 7], &q).unwrap();
    close(&equal, &plain, 1e-13, "equal weights are type 7");
    // A row of weight 0 is as good as absent, and a heavy one draws the median.
    let weights = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let without = descriptive::quantiles(&values[1..], &q).unwrap();
    close(&descriptive::weighted_quantiles(&values, &weights, &q).unwrap(), &without, 1e-13, "weight 0");
    let heavy =
        descriptive::weighted_quantiles(&values, &[1.0, 1.0, 1.0, 1.0, 1.0, 1e9, 1.0], &[0.9]).unwrap();
    assert!(heavy[0] > 5.0);
    assert!(descriptive::weighted_quantiles(&values, &[0.0; 7], &q).is_err());
    assert!(descriptive::weighted_quantiles(&values, &[1.0; 6], &q).is_err());
    assert!(descriptive::weighted_quantiles(&values, &[1.0; 7], &[1.1]).is_err());
    assert_eq!(descriptive::effective_sample_size(&[2.0; 5]).unwrap(), 5.0);
    assert_eq!(descriptive::effective_sample_size(&[1e300, 0.0, 0.0]).unwrap(), 1.0);
    assert!(descriptive::effective_sample_size(&[0.0]).is_err());
    let p: Vec<f64> = (0..=100).map(|k| k as f64 / 100.0).collect();
    // All equal: 0. Uniform from 0: 1/3, up to the grid. One unit of all: near 1.
    let gini = |curve: &[f64]| descriptive::gini_of_quantiles(curve, &p).unwrap();
    assert!(gini(&[7.0; 101]).abs() < 1e-14);
    assert!((gini(&p) - 1.0 / 3.0).abs() < 1e-4);
    assert!((gini(&p.iter().map(|v| 50.0 * v).collect::<Vec<_>>()) - gini(&p)).abs() < 1e-14);
    assert!(gini(&p.iter().map(|v| f64::from(u8::from(*v == 1.0))).collect::<Vec<_>>()) > 0.98);
    assert!(descriptive::gini_of_quantiles(&[-1.0, 0.5], &[0.0, 1.0]).is_err());
    assert!(descriptive::gini_of_quantiles(&[1.0, 2.0], &[0.5, 0.5]).is_err());
}

#[test]
fn bounds_and_laws_at_their_limits() {
    let z = |p: f64| distribution::normal_quantile(p).unwrap();
    let half = |gap: f64| -interval::imbens_manski((0.0, 1.0), (gap, 1.0), 0.95).unwrap().0;
    assert!((half(0.0) - z(0.975)).abs() < 1e-12 && (half(50.0) - z(0.95)).abs() < 1e-12);
    assert!(half(0.5) < half(0.1) && half(0.5) > half(2.0));
    assert_eq!(interval::imbens_manski((1.0, 0.0), (2.0, 0.0), 0.9).unwrap(), (1.0, 2.0));
    assert!(interval::imbens_manski((1.0, 0.1), (0.0, 0.1), 0.9).is_err());
    assert!(interval::imbens_manski((0.0, -0.1), (1.0, 0.1), 0.9).is_err());
    // F with one degree of freedom above is the square of t; its reciprocal is F the other way round.
    for freedom in [1.0, 4.5, 30.0, 1e4] {
        for t in [0.1, 1.0, 2.5, 9.0] {
            let (f, tail) = (
                distribution::f_upper(t * t, 1.0, freedom).unwrap(),
                distribution::t_two_sided(t, freedom).unwrap(),
            );
            assert!((f / tail - 1.0).abs() < 1e-10, "{freedom} {t}: {f} {tail}");
            let other = distribution::f_upper(1.0 / (t * t), freedom, 1.0).unwrap();
            assert!((f + other - 1.0).abs() < 1e-10);
        }
        for p in [1e-6, 0.3, 0.95, 0.999_999] {
            let f = distribution::f_quantile(p, 3.0, freedom).unwrap();
            assert!(
                (distribution::f_upper(f, 3.0, freedom).unwrap() / (1.0 - p) - 1.0).abs() < 1e-9,
                "{freedom} {p}"
            );
        }
    }
    assert_eq!(distribution::f_upper(0.0, 1.0, 2.0).unwrap(), 1.0);
    assert_eq!(distribution::f_quantile(1.0, 1.0, 2.0).unwrap(), f64::INFINITY);
    assert!(
        distribution::f_upper(-1.0, 1.0, 2.0).is_err() && distribution::f_quantile(0.5, 0.0, 2.0).is_err()
    );
}

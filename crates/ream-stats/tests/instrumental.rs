//! Identities and invariances of the instrumental-variable estimators, and their errors.
#![allow(clippy::unwrap_used)]

mod common;

use common::close;
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use ream_rand::Stream;
use ream_stats::instrumental::{ConfidenceSet, Instrumental, IvLimit, Variables};
use ream_stats::{Covariance, FitError, Matrix, linear};

/// Confounded data: an intercept and one more control, `k` treatments, `l` instruments.
struct Data {
    y: Vec<f64>,
    w: Matrix,
    x: Matrix,
    z: Matrix,
}

impl Data {
    fn new(seed: u64, n: usize, k: usize, l: usize, strength: f64) -> Self {
        let mut rng = Stream::new(seed, "instrumental").at(0);
        let mut draw = |cols: usize| -> Vec<Vec<f64>> {
            (0..n).map(|_| (0..cols).map(|_| rng.normal()).collect()).collect()
        };
        let (z, hidden, noise, control) = (draw(l), draw(1), draw(k + 1), draw(1));
        let x = Matrix::from_fn(n, k, |i, j| {
            strength * (0..l).map(|m| z[i][m] / (1.0 + (m + j) as f64)).sum::<f64>()
                + strength * z[i][j % l]
                + hidden[i][0]
                + 0.4 * control[i][0]
                + noise[i][j]
        });
        let y = (0..n)
            .map(|i| {
                let treated: f64 = (0..k).map(|j| (1.0 + j as f64) * x.get(i, j)).sum();
                treated + 2.0 * hidden[i][0] - control[i][0] + noise[i][k] * (1.0 + 0.3 * z[i][0].abs())
            })
            .collect();
        let w = Matrix::from_fn(n, 2, |i, j| if j == 0 { 1.0 } else { control[i][0] });
        Self { y, w, x, z: Matrix::from_fn(n, l, |i, j| z[i][j]) }
    }

    fn variables(&self) -> Variables<'_> {
        Variables { outcome: &self.y, controls: Some(&self.w), treatments: &self.x, instruments: &self.z }
    }

    fn model(&self) -> Instrumental<'_> {
        Instrumental::new(self.variables()).unwrap()
    }

    /// `[W X]`.
    fn design(&self) -> Matrix {
        beside(&self.w, &self.x)
    }
}

fn beside(a: &Matrix, b: &Matrix) -> Matrix {
    let p = a.cols();
    Matrix::from_fn(a.rows(), p + b.cols(), |i, j| if j < p { a.get(i, j) } else { b.get(i, j - p) })
}

fn dense(m: &Matrix) -> DMatrix<f64> {
    DMatrix::from_row_slice(m.rows(), m.cols(), m.data())
}

/// The k-class estimator by its formula, n x n and all, with the sandwich of `X~ e`.
fn by_formula(data: &Data, kappa: f64) -> (Vec<f64>, DMatrix<f64>) {
    let (d, a) = (dense(&data.design()), dense(&beside(&data.w, &data.z)));
    let y = DVector::from_column_slice(&data.y);
    let projection = &a * (a.transpose() * &a).try_inverse().unwrap() * a.transpose();
    let middle = DMatrix::identity(d.nrows(), d.nrows()) * (1.0 - kappa) + projection * kappa;
    let tilde = middle * &d;
    let bread = (tilde.transpose() * &d).try_inverse().unwrap();
    let b = &bread * tilde.transpose() * &y;
    let e = y - &d * &b;
    let mut meat = DMatrix::zeros(d.ncols(), d.ncols());
    for (row, e) in tilde.row_iter().zip(e.iter()) {
        meat += row.transpose() * row * (e * e);
    }
    (b.as_slice().to_vec(), &bread * meat * bread.transpose())
}

#[test]
fn every_kappa_is_the_formula() {
    let data = Data::new(1, 120, 2, 4, 1.0);
    let model = data.model();
    let liml = model.liml_kappa().unwrap();
    assert!(liml > 1.0 && liml < 1.5, "{liml}");
    for kappa in [-3.0, 0.0, 0.3, 0.999, 1.0, liml, 1.0 + 2.0 * (liml - 1.0)] {
        let fit = model.k_class(kappa, Covariance::Hc0).unwrap();
        let (b, covariance) = by_formula(&data, kappa);
        close(&fit.estimates.coefficients, &b, 1e-10, &format!("coefficients at {kappa}"));
        close(
            fit.estimates.covariance.data(),
            covariance.as_slice(),
            1e-9,
            &format!("covariance at {kappa}"),
        );
        // Residuals are those of the treatments themselves.
        let fitted = data.design().times(&fit.estimates.coefficients).unwrap();
        let e: Vec<f64> = data.y.iter().zip(fitted).map(|(y, f)| y - f).collect();
        close(&fit.estimates.residuals, &e, 1e-10, "residuals");
        let hc1 = model.k_class(kappa, Covariance::Hc1).unwrap();
        let factor = 120.0 / 116.0;
        close(
            &hc1.estimates.covariance.diagonal(),
            &fit.estimates.covariance.diagonal().iter().map(|v| v * factor).collect::<Vec<_>>(),
            1e-11,
            "HC1",
        );
    }
    assert_eq!(model.fuller(0.0, Covariance::Hc0).unwrap(), model.liml(Covariance::Hc0).unwrap());
    let fuller = model.fuller(1.0, Covariance::Hc0).unwrap();
    assert!((fuller.kappa - (liml - 1.0 / 114.0)).abs() < 1e-14);
}

#[test]
fn two_stages_by_hand_give_the_coefficients_but_not_the_errors() {
    let data = Data::new(2, 300, 1, 2, 0.5);
    let a = beside(&data.w, &data.z);
    let first = linear::ols(&a, &data.x.column(0), Covariance::Classical).unwrap();
    let predicted = Matrix::from_columns(&[first.predict(&a).unwrap()]).unwrap();
    let second = linear::ols(&beside(&data.w, &predicted), &data.y, Covariance::Classical).unwrap();
    let fit = data.model().two_stage_least_squares(Covariance::Classical).unwrap().estimates;
    close(&fit.coefficients, &second.coefficients, 1e-10, "coefficients");
    // The second stage's residuals have the predicted treatment in place of the treatment: other standard errors.
    let right = second.standard_errors[2] * (fit.residual_variance / second.residual_variance).sqrt();
    close(&[fit.standard_errors[2]], &[right], 1e-10, "standard error with the treatment itself");
    assert!((fit.standard_errors[2] / second.standard_errors[2] - 1.0).abs() > 0.05);
    let e: f64 = fit.residuals.iter().map(|e| e * e).sum::<f64>() / 297.0;
    close(&[fit.residual_variance], &[e], 1e-12, "residual variance");
}

#[test]
fn least_squares_is_kappa_0_with_every_covariance() {
    let data = Data::new(3, 90, 2, 3, 1.0);
    let ids: Vec<usize> = (0..90).map(|i| (i * 7) % 13).collect();
    for kind in [
        Covariance::Classical,
        Covariance::Hc0,
        Covariance::Hc1,
        Covariance::Hc2,
        Covariance::Hc3,
        Covariance::Cluster(&ids),
        Covariance::ClusterUncorrected(&ids),
    ] {
        let ours = data.model().ols(kind).unwrap().estimates;
        let plain = linear::ols(&data.design(), &data.y, kind).unwrap();
        close(&ours.coefficients, &plain.coefficients, 1e-11, "coefficients");
        close(ours.covariance.data(), plain.covariance.data(), 1e-10, "covariance");
        close(&ours.p_values, &plain.p_values, 1e-7, "p values");
        assert_eq!(ours.freedom, plain.freedom);
        close(
            &[ours.r_squared, ours.residual_variance],
            &[plain.r_squared, plain.residual_variance],
            1e-11,
            "fit",
        );
    }
    // With instruments there are no leverages.
    let error = data.model().two_stage_least_squares(Covariance::Hc3).unwrap_err();
    assert!(error.to_string().contains("HC2 and HC3 need the leverages"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn ivl_and_anchor_are_k_class(seed in 0_u64..1000, alpha in 1e-3..1e3_f64, k in 1_usize..3, l in 2_usize..5) {
        let data = Data::new(seed, 100, k, l, 0.7);
        let model = data.model();
        let kappa = 1.0 / (1.0 + alpha);
        let ivl = model.ivl(alpha, Covariance::Hc0).unwrap();
        let k_class = model.k_class(kappa, Covariance::Hc0).unwrap();
        let anchor = model.anchor(1.0 + 1.0 / alpha, Covariance::Hc0).unwrap();
        prop_assert!((ivl.kappa - kappa).abs() < 1e-15 && (anchor.kappa - kappa).abs() < 1e-12);
        close(&ivl.estimates.coefficients, &k_class.estimates.coefficients, 1e-8, "kappa = 1 / (1 + alpha)");
        close(&ivl.estimates.coefficients, &anchor.estimates.coefficients, 1e-8, "gamma = 1 + 1 / alpha");
        close(ivl.estimates.covariance.data(), k_class.estimates.covariance.data(), 1e-7, "covariance");
        // The equivalent least squares: K = (sqrt(1 + alpha) - sqrt(alpha)) P + sqrt(alpha) I on both sides.
        let (d, a) = (dense(&data.design()), dense(&beside(&data.w, &data.z)));
        let projection = &a * (a.transpose() * &a).try_inverse().unwrap() * a.transpose();
        let transform = projection * ((1.0 + alpha).sqrt() - alpha.sqrt()) + DMatrix::identity(100, 100) * alpha.sqrt();
        let x = Matrix::new(100, d.ncols(), (&transform * d).transpose().as_slice().to_vec()).unwrap();
        let y = (transform * DVector::from_column_slice(&data.y)).as_slice().to_vec();
        let plain = linear::ols(&x, &y, Covariance::Classical).unwrap();
        close(&ivl.estimates.coefficients, &plain.coefficients, 1e-8, "transformed least squares");
        prop_assert_eq!(&model.ivl_path(&[alpha, 1.0]).unwrap()[0], &ivl.estimates.coefficients);
    }

    #[test]
    fn units_and_controls_do_not_matter(seed in 0_u64..1000, unit in 1e-6..1e6_f64, shift in -5.0..5.0_f64) {
        let data = Data::new(seed, 100, 1, 2, 0.7);
        let other = Data {
            y: data.y.iter().zip(data.x.column(0)).map(|(y, x)| y + shift * x).collect(),
            w: Matrix::from_fn(100, 2, |i, j| data.w.get(i, j) * if j == 0 { 3.0 } else { 1.0 / unit }),
            x: Matrix::from_fn(100, 1, |i, _| data.x.get(i, 0) * unit + 4.0 * unit * data.w.get(i, 1)),
            z: Matrix::from_fn(100, 2, |i, j| data.z.get(i, j) / unit - 2.0 / unit),
        };
        for kappa in [0.0, 0.5, 1.0] {
            let a = data.model().k_class(kappa, Covariance::Hc1).unwrap().estimates;
            let b = other.model().k_class(kappa, Covariance::Hc1).unwrap().estimates;
            close(&[b.coefficients[2] * unit], &[a.coefficients[2] + shift], 1e-7, "effect");
            close(&[b.standard_errors[2] * unit], &[a.standard_errors[2]], 1e-7, "standard error");
        }
        let (a, b) = (data.model().first_stage(0, Covariance::Hc1).unwrap(), other.model().first_stage(0, Covariance::Hc1).unwrap());
        close(&[b.f.statistic, b.effective_f, b.robust_f.statistic, b.partial_r_squared], &[a.f.statistic, a.effective_f, a.robust_f.statistic, a.partial_r_squared], 1e-7, "first stage");
        close(&[other.model().sargan().unwrap().test.statistic], &[data.model().sargan().unwrap().test.statistic], 1e-6, "Sargan");
    }
}

#[test]
fn limits_of_alpha() {
    let just = Data::new(4, 200, 2, 2, 1.0);
    let model = just.model();
    let ols = model.ols(Covariance::Hc0).unwrap().estimates;
    let two_stage = model.two_stage_least_squares(Covariance::Hc0).unwrap().estimates;
    for alpha in [1e12, f64::INFINITY] {
        let far = model.ivl(alpha, Covariance::Hc0).unwrap().estimates;
        close(&far.coefficients, &ols.coefficients, 1e-8, "alpha to infinity");
        close(&far.standard_errors, &ols.standard_errors, 1e-8, "alpha to infinity");
    }
    for alpha in [1e-12, 0.0] {
        let near = model.ivl(alpha, Covariance::Hc0).unwrap().estimates;
        close(&near.coefficients, &two_stage.coefficients, 1e-8, "alpha to 0");
        close(&near.standard_errors, &two_stage.standard_errors, 1e-8, "alpha to 0");
    }
    close(
        &model.anchor(1.0, Covariance::Hc0).unwrap().estimates.coefficients,
        &ols.coefficients,
        1e-12,
        "anchor 1",
    );
    // Just identified: LIML is two-stage least squares, and both limits are.
    assert_eq!(model.liml(Covariance::Hc0).unwrap(), model.two_stage_least_squares(Covariance::Hc0).unwrap());
    for limit in [IvLimit::ClosestToLeastSquares, IvLimit::LeastResiduals] {
        close(&model.iv_limit(limit).unwrap(), &two_stage.coefficients, 1e-9, "limit");
    }
}

#[test]
fn fewer_instruments_than_treatments() {
    let data = Data::new(5, 400, 4, 2, 1.0);
    let model = data.model();
    let error = model.two_stage_least_squares(Covariance::Hc0).unwrap_err();
    assert_eq!(error, FitError::TooFewInstruments { instruments: 2, treatments: 4 });
    assert!(error.to_string().contains("blend with least squares (IVL, anchor)"));
    assert!(model.liml(Covariance::Hc0).is_err() && model.sargan().is_err() && model.wu_hausman().is_err());
    // The blend is defined, and goes to the solution with least residuals.
    let near = &model.ivl_path(&[1e-11]).unwrap()[0];
    let least = model.iv_limit(IvLimit::LeastResiduals).unwrap();
    close(near, &least, 1e-6, "least residuals");
    let closest = model.iv_limit(IvLimit::ClosestToLeastSquares).unwrap();
    let ols = model.ols(Covariance::Hc0).unwrap().estimates.coefficients;
    let distance = |b: &[f64]| b[2..].iter().zip(&ols[2..]).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    assert!(distance(&closest) < distance(&least));
    // Both solve the normal equations: residuals are orthogonal to the instruments.
    for b in [least, closest] {
        let fitted = data.design().times(&b).unwrap();
        for column in (0..2).map(|j| data.z.column(j)).chain((0..2).map(|j| data.w.column(j))) {
            let inner: f64 =
                column.iter().zip(data.y.iter().zip(&fitted)).map(|(z, (y, f))| z * (y - f)).sum();
            assert!(inner.abs() < 1e-9, "{inner}");
        }
    }
}

#[test]
fn first_stages_and_their_identities() {
    let data = Data::new(6, 250, 1, 3, 0.4);
    let model = data.model();
    let plain = model.first_stage(0, Covariance::Classical).unwrap();
    // The classical F test by two regressions.
    let restricted = linear::ols(&data.w, &data.x.column(0), Covariance::Classical).unwrap();
    let full = linear::ols(&beside(&data.w, &data.z), &data.x.column(0), Covariance::Classical).unwrap();
    let squares = |e: &[f64]| e.iter().map(|e| e * e).sum::<f64>();
    let (a, b) = (squares(&restricted.residuals), squares(&full.residuals));
    close(&[plain.f.statistic], &[(a - b) / 3.0 / (b / 245.0)], 1e-10, "F");
    close(&[plain.robust_f.statistic, plain.effective_f], &[plain.f.statistic; 2], 1e-10, "classical");
    close(&[plain.partial_r_squared], &[1.0 - b / a], 1e-10, "partial R2");
    // One instrument: the effective F is the robust one.
    let single = Data::new(7, 250, 1, 1, 0.4);
    let ids: Vec<usize> = (0..250).map(|i| i / 10).collect();
    for kind in [Covariance::Hc0, Covariance::Hc1, Covariance::Cluster(&ids)] {
        let stage = single.model().first_stage(0, kind).unwrap();
        close(&[stage.effective_f], &[stage.robust_f.statistic], 1e-10, "one instrument");
    }
    assert!(model.first_stage(1, Covariance::Hc0).is_err());
}

#[test]
fn the_anderson_rubin_set_is_what_the_test_does_not_reject() {
    let ids: Vec<usize> = (0..60).map(|i| i / 3).collect();
    let mut shapes = [0; 4];
    for seed in 0..60 {
        let strength = [0.0, 0.1, 0.3, 1.0][seed as usize % 4];
        let l = if seed % 3 == 0 { 1 } else { 2 };
        let data = Data::new(100 + seed, 60, 1, l, strength);
        let model = data.model();
        let kinds = if l == 1 {
            vec![Covariance::Classical, Covariance::Hc0, Covariance::Hc1, Covariance::Cluster(&ids)]
        } else {
            vec![Covariance::Classical]
        };
        for kind in kinds {
            // A low level gives empty sets where the instruments disagree.
            for level in [0.05, 0.95] {
                let set = model.anderson_rubin(level, kind).unwrap();
                shapes[match set {
                    ConfidenceSet::Interval { .. } => 0,
                    ConfidenceSet::Rays { .. } => 1,
                    ConfidenceSet::Line => 2,
                    ConfidenceSet::Empty => 3,
                }] += 1;
                for effect in [-1e3, -10.0, -1.0, 0.0, 0.9, 1.0, 1.5, 3.0, 30.0, 1e3] {
                    let p = model.anderson_rubin_test(&[effect], kind).unwrap().p_value;
                    if (p - (1.0 - level)).abs() > 1e-9 {
                        assert_eq!(
                            set.contains(effect),
                            p > 1.0 - level,
                            "{seed} {kind:?} {level} {effect} {p} {set:?}"
                        );
                    }
                }
                if let ConfidenceSet::Interval { low, high } = set {
                    for end in [low, high] {
                        let p = model.anderson_rubin_test(&[end], kind).unwrap().p_value;
                        assert!((p - (1.0 - level)).abs() < 1e-6, "{p}");
                    }
                }
            }
        }
    }
    assert!(shapes.iter().all(|count| *count > 0), "{shapes:?}");
    // Just identified: the statistic is 0 at two-stage least squares, which the set therefore holds.
    let data = Data::new(8, 200, 1, 1, 1.0);
    let b = data.model().two_stage_least_squares(Covariance::Hc0).unwrap().estimates.coefficients[2];
    assert!(data.model().anderson_rubin_test(&[b], Covariance::Hc0).unwrap().statistic < 1e-12);
    assert!(data.model().anderson_rubin(0.9, Covariance::Hc0).unwrap().contains(b));
    assert!(Data::new(9, 60, 2, 2, 1.0).model().anderson_rubin(0.9, Covariance::Classical).is_err());
    assert!(Data::new(9, 60, 1, 2, 1.0).model().anderson_rubin(0.9, Covariance::Hc0).is_err());
}

#[test]
fn overidentification_and_endogeneity() {
    let data = Data::new(10, 400, 1, 3, 1.0);
    let model = data.model();
    let (sargan, hansen) = (model.sargan().unwrap(), model.hansen_j(Covariance::Hc0).unwrap());
    assert!(sargan.test.p_value > 0.01 && hansen.test.p_value > 0.01, "{sargan:?} {hansen:?}");
    assert_eq!((sargan.test.above, hansen.test.above), (2.0, 2.0));
    // With weights of the classical form GMM is two-stage least squares and J is Sargan's, up to the degrees of freedom.
    let classical = model.hansen_j(Covariance::Classical).unwrap();
    close(&classical.coefficients, &sargan.coefficients, 1e-9, "GMM");
    close(&[classical.test.statistic], &[sargan.test.statistic * 395.0 / 400.0], 1e-9, "J");
    // An instrument that acts on the outcome itself is found out; so is the confounding.
    let mut wrong = Data::new(10, 400, 1, 3, 1.0);
    wrong.y = wrong.y.iter().zip(wrong.z.column(2)).map(|(y, z)| y + 2.0 * z).collect();
    assert!(wrong.model().sargan().unwrap().test.p_value < 1e-6);
    assert!(wrong.model().hansen_j(Covariance::Hc0).unwrap().test.p_value < 1e-6);
    assert!(model.wu_hausman().unwrap().p_value < 1e-6);
    let error = Data::new(11, 60, 1, 1, 1.0).model().sargan().unwrap_err();
    assert!(error.to_string().contains("only as many instruments as treatments"), "{error}");
}

#[test]
fn what_is_wrong_with_the_columns_is_said() {
    let data = Data::new(12, 50, 2, 3, 1.0);
    let error = |variables| Instrumental::new(variables).err().unwrap();
    let v = data.variables();
    let constant = Matrix::from_fn(50, 2, |i, j| if j == 0 { data.z.get(i, 0) } else { 4.0 });
    assert_eq!(error(Variables { instruments: &constant, ..v }), FitError::ConstantInstrument { column: 1 });
    let twice = Matrix::from_fn(50, 3, |i, j| match j {
        2 => 2.0 * data.z.get(i, 0) - 3.0 * data.w.get(i, 1),
        j => data.z.get(i, j),
    });
    let text = error(Variables { instruments: &twice, ..v }).to_string();
    assert_eq!(
        text,
        "column 2 (counted from 0) of the instruments is a linear combination of column 1 of the controls, column 0 of the instruments; leave it out"
    );
    let same = Matrix::from_fn(50, 2, |i, _| data.x.get(i, 0));
    let text = error(Variables { treatments: &same, ..v }).to_string();
    assert!(text.starts_with("column 1 (counted from 0) of the treatments is a linear combination of column 0 of the treatments"), "{text}");
    let nothing = Matrix::from_fn(50, 1, |_, _| 0.0);
    let text = error(Variables { treatments: &nothing, ..v }).to_string();
    assert!(text.contains("column 0 (counted from 0) of the treatments is zero throughout"), "{text}");
    let gap = Matrix::from_fn(50, 1, |i, _| if i == 7 { f64::NAN } else { i as f64 });
    let text = error(Variables { instruments: &gap, ..v }).to_string();
    assert_eq!(text, "row 7, column 0 of the instruments is NaN; it must be a finite number");
    assert!(matches!(error(Variables { outcome: &data.y[..7], ..v }), FitError::Input(_)));
    let few = |m: &Matrix| m.select_rows(&[0, 1, 2, 3, 4, 5, 6]);
    let (w, x, z) = (few(&data.w), few(&data.x), few(&data.z));
    let small = Variables { outcome: &data.y[..7], controls: Some(&w), treatments: &x, instruments: &z };
    assert_eq!(error(small), FitError::NoResidualFreedom { rows: 7, columns: 7 });
    // Instruments that move only one combination of two treatments.
    let one = Matrix::from_columns(&[data.z.column(0), data.z.column(1)]).unwrap();
    let tied = {
        // The part of both treatments in the span of the instruments is the same.
        let a = beside(&data.w, &one);
        let clean = linear::ols(&a, &data.x.column(1), Covariance::Classical).unwrap().residuals;
        let moved = linear::ols(&a, &data.x.column(0), Covariance::Classical).unwrap().predict(&a).unwrap();
        Matrix::from_fn(50, 2, |i, j| if j == 0 { data.x.get(i, 0) } else { 2.0 * moved[i] + clean[i] })
    };
    let model = Instrumental::new(Variables { treatments: &tied, instruments: &one, ..v }).unwrap();
    let error = model.two_stage_least_squares(Covariance::Hc0).unwrap_err();
    assert_eq!(error, FitError::NotIdentified { treatment: 1 });
    assert!(model.ivl(0.1, Covariance::Hc0).is_ok());
    for bad in [-1.0, f64::NAN] {
        assert!(model.ivl(bad, Covariance::Hc0).is_err() && model.anchor(bad, Covariance::Hc0).is_err());
        assert!(model.fuller(bad, Covariance::Hc0).is_err());
    }
    assert!(data.model().k_class(f64::NAN, Covariance::Hc0).is_err());
    assert!(
        data.model().k_class(1e9, Covariance::Hc0).unwrap_err().to_string().contains("kappa is 1000000000")
    );
}

#[test]
fn without_controls_centred_columns_are_the_same_effects() {
    let data = Data::new(13, 200, 2, 3, 1.0);
    let ones = Matrix::from_fn(200, 1, |_, _| 1.0);
    let centred = |m: &Matrix| {
        let mean = |j: usize| m.column(j).iter().sum::<f64>() / m.rows() as f64;
        let means: Vec<f64> = (0..m.cols()).map(mean).collect();
        Matrix::from_fn(m.rows(), m.cols(), |i, j| m.get(i, j) - means[j])
    };
    let (x, z) = (centred(&data.x), centred(&data.z));
    let y = centred(&Matrix::from_columns(std::slice::from_ref(&data.y)).unwrap()).column(0);
    let plain = Variables { outcome: &y, controls: None, treatments: &x, instruments: &z };
    let with = Variables { controls: Some(&ones), ..data.variables() };
    let (plain, with) = (Instrumental::new(plain).unwrap(), Instrumental::new(with).unwrap());
    for alpha in [0.0, 0.1, 10.0] {
        let (a, b) = (plain.ivl(alpha, Covariance::Hc0).unwrap(), with.ivl(alpha, Covariance::Hc0).unwrap());
        close(&a.estimates.coefficients, &b.estimates.coefficients[1..], 1e-10, "effects");
        close(&a.estimates.standard_errors, &b.estimates.standard_errors[1..], 1e-10, "errors");
    }
}

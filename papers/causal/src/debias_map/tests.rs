use std::collections::BTreeSet;

use ream_lab::{Run, System};
use ream_paper::{Paper, Quantity};
use ream_rand::Stream;
use ream_stats::density::ScoreCurve;
use ream_stats::{Matrix, glm};

use super::analytic::{Law, recovered};
use super::card::{Calibration, Card, CardFile, CardSettings, Correction, Derivative, Line, Method};
use super::effects::{Effect, ErrorKind, Estimator, Treatment, estimate, independence};
use super::inference::{Resamples, bootstrap, delta, draw_corrections, normal};
use super::places::{Places, households};
use super::ppi::prediction_powered;
use super::predictors::{Objective, Predictor, fit, penalised_loss, quintiles};
use super::summary::{break_even, slope};
use super::{Config, DebiasMap};

fn gaussian(n: usize, seed: u64) -> Calibration {
    Law::Gaussian.sample(n, Stream::new(seed, "test"))
}

fn card(sample: &Calibration) -> Card {
    Card::new(sample, &CardSettings::default()).unwrap()
}

fn variance(values: &[f64]) -> f64 {
    ream_stats::descriptive::variance(values).unwrap()
}

/// A treatment whose probability is the logit of the truth: predictions are independent of it given the truth.
fn treated(truth: &[f64], seed: u64) -> Treatment {
    let mut rng = Stream::new(seed, "treated").at(0);
    let values = truth.iter().map(|y| f64::from(u8::from(rng.chance(glm::sigmoid(*y))))).collect();
    Treatment { values, ..Treatment::default() }
}

fn difference(treatment: &Treatment, outcome: &[f64]) -> Effect {
    estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, treatment, outcome).unwrap()
}

// --- the traps ---

#[test]
fn the_line_is_that_of_predictions_on_truth() {
    let sample = gaussian(40_000, 1);
    let card = card(&sample);
    // A calibrated predictor: the other regression has slope 1, and dividing by it would change nothing.
    assert!((card.correction.line.slope - 0.5).abs() < 0.02, "{:?}", card.correction.line);
    assert!((card.correction.forward.slope - 1.0).abs() < 0.02);
    let treatment = treated(&sample.truth, 1);
    let truth = difference(&treatment, &sample.truth).value;
    let of = |method| {
        difference(&treatment, &card.correction.corrected(method, &sample.predictions)).value / truth
    };
    assert!((of(Method::Lcc) - 1.0).abs() < 0.03 && (of(Method::Tweedie) - 1.0).abs() < 0.04);
    for mistaken in [Method::Naive, Method::Forward] {
        assert!((of(mistaken) - 0.5).abs() < 0.03, "{mistaken:?} {}", of(mistaken));
    }
    // Matching the variance stretches by 1 / sqrt(b) only.
    assert!((of(Method::Variance) - 0.5_f64.sqrt()).abs() < 0.03);
}

#[test]
fn below_the_mode_points_move_down() {
    for law in Law::ALL {
        let sample = law.sample(4000, Stream::new(2, "sign"));
        let c = card(&sample).correction;
        let mean = sample.predictions.iter().sum::<f64>() / 4000.0;
        let (low, high) = (mean - 1.2, mean + 2.0);
        assert!(c.curve.at(c.recentring.at(low)) > 0.0 && c.curve.at(c.recentring.at(high)) < 0.0);
        assert!(c.apply(Method::Tweedie, low) < low && c.apply(Method::Tweedie, high) > high, "{law:?}");
    }
}

#[test]
fn corrected_predictions_are_spread_more_than_the_truth_and_predict_worse() {
    let sample = gaussian(5000, 3);
    let c = card(&sample).correction;
    let error = |z: &[f64]| z.iter().zip(&sample.truth).map(|(z, y)| (z - y) * (z - y)).sum::<f64>();
    for method in [Method::Lcc, Method::Tweedie] {
        let corrected = c.corrected(method, &sample.predictions);
        assert!(variance(&corrected) > 1.5 * variance(&sample.truth), "{method:?}");
        assert!(error(&corrected) > 1.5 * error(&sample.predictions), "{method:?}");
    }
}

fn split_of(places: &Places) -> super::places::Split {
    places.split(Stream::new(1, "splits").child(0))
}

#[test]
fn a_card_from_training_rows_has_a_slope_too_near_one() {
    let places = households().unwrap();
    let split = split_of(&places);
    let rows = |rows: &[usize]| places.features.select_rows(rows);
    let (x, y) = (rows(&split.train), places.outcomes(&split.train));
    let objective = Objective { bias_penalty: 0.0, steps: 1, seed: 1, same_unit: false };
    let fitted = fit(Predictor::Trees, &objective, &x, &y).unwrap();
    let on = |rows_: &[usize]| {
        let predictions = fitted.predict(&rows(rows_)).unwrap();
        card(&Calibration { predictions, truth: places.outcomes(rows_), ..Calibration::default() })
    };
    let (seen, held_out) = (on(&split.train), on(&split.calibration));
    let (seen, held_out) = (seen.correction.line.slope, held_out.correction.line.slope);
    assert!(seen > held_out + 0.03, "{seen} {held_out}");
}

#[test]
fn no_area_lies_in_two_parts() {
    let places = households().unwrap();
    for seed in 0..5 {
        let split = places.split(Stream::new(seed, "splits"));
        let areas = |rows: &[usize]| places.areas_of(rows).into_iter().collect::<BTreeSet<usize>>();
        let parts = [areas(&split.train), areas(&split.calibration), areas(&split.trial)];
        assert_eq!(parts.each_ref().map(BTreeSet::len), [97, 48, 49]);
        assert!(
            parts[0].is_disjoint(&parts[1])
                && parts[0].is_disjoint(&parts[2])
                && parts[1].is_disjoint(&parts[2])
        );
        assert_eq!(split.train.len() + split.calibration.len() + split.trial.len(), 5999);
    }
}

#[test]
fn leaving_out_the_error_of_b_makes_intervals_too_short() {
    let (mut with, mut without) = (0, 0);
    let trials = 200;
    let trial = gaussian(8000, 100);
    // A large effect, and a small calibration sample: most of the error comes from b.
    let mut treatment = treated(&trial.truth, 5);
    treatment.values = trial.truth.iter().map(|y| f64::from(u8::from(*y > 0.0))).collect();
    let naive = difference(&treatment, &trial.predictions);
    let truth = naive.value / 0.5;
    for seed in 0..trials {
        let card = card(&gaussian(60, 200 + seed));
        let b = card.correction.line.slope;
        let short = Effect { value: naive.value / b, se: naive.se / b };
        with += u64::from(normal(delta(naive, &card), 0.95).unwrap().contains(truth));
        without += u64::from(normal(short, 0.95).unwrap().contains(truth));
    }
    assert!(with as f64 > 0.88 * trials as f64, "{with}");
    assert!((without as f64) < 0.5 * trials as f64, "{without}");
}

#[test]
fn a_treatment_that_is_an_input_over_shoots_and_is_warned_of() {
    let places = households().unwrap();
    let split = split_of(&places);
    let config = Config { bias_penalties: Vec::new(), bootstrap: 4, ..Config::smoke() };
    let map = super::trials::map(&config, &places, &split, Predictor::Ridge, Stream::new(1, "map")).unwrap();
    let urban = places.feature("urban").unwrap();
    let at = |rows: &[usize]| rows.iter().map(|&i| urban[i]).collect::<Vec<f64>>();
    let treatment = Treatment { values: at(&split.trial), ..Treatment::default() };
    let truth = difference(&treatment, &places.outcomes(&split.trial)).value;
    for method in [Method::Lcc, Method::Tweedie] {
        let found = difference(&treatment, &map.card.correction.corrected(method, &map.predictions)).value;
        assert!(found > 1.3 * truth, "{method:?} {found} {truth}");
    }
    let sample = &map.calibration;
    let test = |column: &[f64]| {
        independence(&sample.predictions, &sample.truth, column, sample.clusters.as_deref()).unwrap()
    };
    assert!(test(&at(&split.calibration)).is_violated());
    let text = super::effects::dependence_warning("urban", test(&at(&split.calibration)), true);
    assert!(text.contains("`urban` is an input of the predictive model") && text.contains("over-shoots"));
    // A treatment that answers to the truth alone is not warned of, but for one time in twenty.
    let mean = sample.truth.iter().sum::<f64>() / sample.truth.len() as f64;
    let centred: Vec<f64> = sample.truth.iter().map(|y| y - mean).collect();
    let quiet = (0..40).filter(|seed| !test(&treated(&centred, *seed).values).is_violated()).count();
    assert!(quiet >= 34, "{quiet}");
}

// --- exact cases ---

#[test]
fn for_a_normal_density_both_corrections_are_one() {
    let sample = gaussian(500, 6);
    let own = card(&sample).correction;
    let centred: Vec<f64> = sample.predictions.iter().map(|z| own.recentring.at(*z)).collect();
    let n = centred.len() as f64;
    let mean = centred.iter().sum::<f64>() / n;
    let v = centred.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / n;
    // The score of the normal law with the sample's moments, instead of the kernel density's.
    let curve = ScoreCurve::from_scores(mean - 9.0, mean + 9.0, vec![9.0 / v, 0.0, -9.0 / v]).unwrap();
    let normal = Correction { curve, ..own };
    for z in [-2.0, -0.3, 0.0, 1.7, 12.0] {
        let (a, b) = (normal.apply(Method::Lcc, z), normal.apply(Method::Tweedie, z));
        assert!((a - b).abs() < 1e-9, "{z}: {a} {b}");
    }
}

#[test]
fn effects_are_recovered_in_the_limit_and_skewed_laws_tell_the_two_apart() {
    let of = |law, stream| {
        recovered(law, 200_000, &CardSettings::default(), Stream::new(stream, "limit")).unwrap()
    };
    for (method, share) in of(Law::Gaussian, 1) {
        let wanted = if method == Method::Naive { 0.5 } else { 1.0 };
        assert!((share - wanted).abs() < 0.02, "{method:?} {share}");
    }
    let sample = Law::Gamma.sample(100_000, Stream::new(2, "gamma"));
    let c = card(&sample).correction;
    let apart = |z: f64| (c.apply(Method::Lcc, z) - c.apply(Method::Tweedie, z)).abs();
    assert!(apart(0.3) > 0.2 || apart(4.0) > 0.2, "{} {}", apart(0.3), apart(4.0));
}

#[test]
fn the_derivative_may_be_taken_either_way() {
    let sample = gaussian(300, 7);
    let stepped = CardSettings { derivative: Derivative::CentralDifference, ..CardSettings::default() };
    let stepped = Card::new(&sample, &stepped).unwrap().correction;
    let exact = card(&sample).correction;
    for (a, b) in stepped.curve.scores().iter().zip(exact.curve.scores()) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn lcc_does_not_care_about_the_scale_of_predictions() {
    let sample = gaussian(300, 8);
    let moved = Calibration {
        predictions: sample.predictions.iter().map(|z| 3.0 - 0.2 * z).collect(),
        ..sample.clone()
    };
    // Turned round they have a negative slope, which is an error; the correction itself is the same.
    let (a, b) = (
        Correction::new(&sample, &CardSettings::default()).unwrap(),
        Correction::new(&moved, &CardSettings::default()).unwrap(),
    );
    for z in [-1.0, 0.4, 2.2] {
        assert!((a.apply(Method::Lcc, z) - b.apply(Method::Lcc, 3.0 - 0.2 * z)).abs() < 1e-10);
        assert!((a.apply(Method::Tweedie, z) - b.apply(Method::Tweedie, 3.0 - 0.2 * z)).abs() < 1e-6);
    }
    let text = Card::new(&moved, &CardSettings::default()).unwrap_err().to_string();
    assert!(text.contains("turned round"), "{text}");
}

#[test]
fn every_estimator_is_linear_in_the_outcome() {
    let sample = gaussian(400, 9);
    let mut rng = Stream::new(9, "covariate").at(0);
    let x: Vec<f64> = sample.truth.iter().map(|y| 0.5 * y + rng.normal()).collect();
    let clusters: Vec<usize> = (0..400).map(|i| i / 8).collect();
    let treatment = Treatment {
        covariates: Some(Matrix::from_columns(&[x]).unwrap()),
        clusters: Some(clusters),
        ..treated(&sample.truth, 9)
    };
    let moved: Vec<f64> = sample.predictions.iter().map(|z| (z - 0.7) / 0.4).collect();
    for estimator in [Estimator::DifferenceInMeans, Estimator::Ols, Estimator::Ipw, Estimator::Aipw] {
        for kind in [ErrorKind::Robust, ErrorKind::Cluster] {
            let a = estimate(estimator, kind, &treatment, &sample.predictions).unwrap();
            let b = estimate(estimator, kind, &treatment, &moved).unwrap();
            assert!((a.value / 0.4 - b.value).abs() < 1e-9, "{estimator:?}");
            assert!((a.se / 0.4 - b.se).abs() < 1e-9, "{estimator:?} {kind:?}");
        }
    }
    let continuous = Treatment { values: sample.truth.clone(), ..Treatment::default() };
    assert!(estimate(Estimator::Ols, ErrorKind::Hc3, &continuous, &moved).is_ok());
    let text = estimate(Estimator::Ipw, ErrorKind::Robust, &continuous, &moved).unwrap_err().to_string();
    assert!(text.contains("0 or 1") && text.contains("ols"), "{text}");
    let one_arm = Treatment { values: vec![1.0; 400], ..Treatment::default() };
    let text =
        estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, &one_arm, &moved).unwrap_err().to_string();
    assert!(text.contains("the untreated arm: wanted at least two units, got 0"), "{text}");
}

// --- inference ---

#[test]
fn bootstrap_and_delta_agree_and_do_not_depend_on_threads() {
    let sample = gaussian(400, 10);
    let card = card(&sample);
    let trial = gaussian(600, 11);
    let treatment = treated(&trial.truth, 11);
    let naive = difference(&treatment, &trial.predictions);
    let run = || {
        let settings = CardSettings { points: 64, ..CardSettings::default() };
        let drawn = draw_corrections(&sample, &settings, 300, Stream::new(1, "cards")).unwrap();
        let of = |method| {
            let given = (&card, drawn.as_slice());
            bootstrap(
                Estimator::DifferenceInMeans,
                &treatment,
                &trial.predictions,
                given,
                method,
                (0.95, Stream::new(2, "units")),
            )
            .unwrap()
        };
        [of(Method::Lcc), of(Method::Tweedie)]
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, three) = (pool(1).install(run), pool(3).install(run));
    assert_eq!(one, three);
    let stated = delta(naive, &card);
    assert!((one[0].value - stated.value).abs() < 1e-12);
    assert!((one[0].se / stated.se - 1.0).abs() < 0.15, "{} {}", one[0].se, stated.se);
    assert!(one[1].se > naive.se);
}

#[test]
fn many_trials_reuse_the_same_resamples() {
    let sample = gaussian(100, 12);
    let treatment = treated(&sample.truth, 12);
    let arms = treatment.arms().unwrap();
    let stream = Stream::new(3, "resamples");
    let fast = Resamples::new(100, 5, stream).differences(&arms, |_| &sample.predictions);
    for (r, fast) in fast.iter().enumerate() {
        let rows = stream.at(r as u64).resample(100);
        let z: Vec<f64> = rows.iter().map(|&i| sample.predictions[i]).collect();
        assert!((difference(&treatment.select(&rows), &z).value - fast).abs() < 1e-12);
    }
}

#[test]
fn prediction_powered_inference_is_unbiased_and_states_its_error() {
    let trial = gaussian(2000, 13);
    let treatment = treated(&trial.truth, 13);
    let truth = difference(&treatment, &trial.truth).value;
    let everyone: Vec<usize> = (0..2000).collect();
    let of = |rows: &[usize]| {
        let labels: Vec<f64> = rows.iter().map(|&i| trial.truth[i]).collect();
        let kind = ErrorKind::Robust;
        prediction_powered(Estimator::DifferenceInMeans, kind, &treatment, &trial.predictions, rows, &labels)
            .unwrap()
    };
    // With all labels it is the truth, whatever the predictions.
    let all = of(&everyone);
    assert!((all.plain.value - truth).abs() < 1e-12 && (all.tuned.value - truth).abs() < 1e-12);
    assert!((all.plain.se - difference(&treatment, &trial.truth).se).abs() < 1e-12);
    let (mut plain, mut tuned, mut labels, mut stated) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for seed in 0..300 {
        let mut order = everyone.clone();
        Stream::new(seed, "labels").at(0).shuffle(&mut order);
        let found = of(&order[..200]);
        assert!((0.0..=1.0).contains(&found.lambda));
        plain.push(found.plain.value);
        tuned.push(found.tuned.value);
        labels.push(found.labels.value);
        stated += found.plain.se / 300.0;
    }
    let mean = plain.iter().sum::<f64>() / 300.0;
    assert!((mean - truth).abs() < 0.04, "{mean} {truth}");
    assert!(variance(&plain) < variance(&labels) && variance(&tuned) < 1.05 * variance(&plain));
    // Stated for new places; labels are drawn anew here, places are not.
    assert!(stated > variance(&plain).sqrt() && stated < 1.6 * variance(&plain).sqrt());
}

// --- the fix at training time ---

#[test]
fn the_penalised_line_is_the_best_one() {
    let places = households().unwrap();
    let rows: Vec<usize> = (0..800).collect();
    let (x, y) = (places.features.select_rows(&rows), places.outcomes(&rows));
    let predictions = |penalty: f64| {
        let objective = Objective { bias_penalty: penalty, steps: 1, seed: 1, same_unit: false };
        fit(Predictor::Ridge, &objective, &x, &y).unwrap().predict(&x).unwrap()
    };
    let (plain, penalised) = (predictions(0.0), predictions(5.0));
    let loss = |f: &[f64]| penalised_loss(&y, f, 5.0);
    assert!(loss(&penalised) < 0.99 * loss(&plain));
    // No line through the data does better: mixtures with the least-squares one, and shifts.
    for t in [-0.05, 0.02, 0.2, 0.6] {
        let mixed: Vec<f64> = penalised.iter().zip(&plain).map(|(a, b)| a + t * (b - a)).collect();
        assert!(loss(&mixed) > loss(&penalised) - 1e-4, "{t}");
    }
    for j in 0..x.cols() {
        for t in [-0.01, 0.01] {
            let moved: Vec<f64> = penalised.iter().enumerate().map(|(i, f)| f + t * x.get(i, j)).collect();
            assert!(loss(&moved) > loss(&penalised) - 1e-4, "{j} {t}");
        }
    }
    let b = |f: &[f64]| slope(&y.iter().copied().zip(f.iter().copied()).collect::<Vec<_>>());
    assert!(b(&penalised) > b(&plain) + 0.05, "{} {}", b(&penalised), b(&plain));
    let trees = Objective { bias_penalty: 1.0, steps: 1, seed: 1, same_unit: false };
    assert!(fit(Predictor::Trees, &trees, &x, &y).is_err());
}

#[test]
fn the_perceptron_learns_and_its_penalty_works() {
    let places = households().unwrap();
    let rows: Vec<usize> = (0..5999).step_by(10).collect();
    let (x, y) = (places.features.select_rows(&rows), places.outcomes(&rows));
    let predictions = |penalty: f64| {
        let objective = Objective { bias_penalty: penalty, steps: 150, seed: 3, same_unit: false };
        fit(Predictor::Mlp, &objective, &x, &y).unwrap().predict(&x).unwrap()
    };
    let (plain, penalised) = (predictions(0.0), predictions(5.0));
    assert_eq!(plain, predictions(0.0));
    assert!(penalised_loss(&y, &plain, 0.0) < 0.5 * variance(&y));
    assert!(penalised_loss(&y, &penalised, 5.0) < penalised_loss(&y, &plain, 5.0));
    assert_eq!(quintiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), [4, 0, 3, 1, 2]);
}

// --- cards ---

#[test]
fn what_is_wrong_with_a_calibration_sample_is_said() {
    let text = |sample: &Calibration| Card::new(sample, &CardSettings::default()).unwrap_err().to_string();
    let good = gaussian(50, 20);
    assert_eq!(
        text(&gaussian(19, 20)),
        "the calibration sample: wanted at least 20 rows with prediction and truth, got 19"
    );
    let constant = Calibration { predictions: vec![2.0; 50], ..good.clone() };
    assert!(
        text(&constant).contains("predictions: wanted values that differ, got 2 everywhere"),
        "{}",
        text(&constant)
    );
    let mut holed = good.clone();
    holed.truth[3] = f64::NAN;
    assert!(text(&holed).contains("truths, row 4: wanted a finite number, got NaN"), "{}", text(&holed));
    let mut noise = gaussian(5000, 21);
    noise.truth = gaussian(5000, 22).truth;
    assert!(text(&noise).contains("carry no signal"), "{}", text(&noise));
    let short = Calibration { truth: good.truth[1..].to_vec(), ..good.clone() };
    assert!(text(&short).contains("50 values"), "{}", text(&short));
    let negative = Calibration { weights: Some(vec![-1.0; 50]), ..good };
    assert!(text(&negative).contains("weights, row 1"), "{}", text(&negative));
}

#[test]
fn a_card_warns_where_it_should_and_is_silent_elsewhere() {
    assert!(card(&gaussian(2000, 23)).warnings.is_empty());
    let few = card(&gaussian(60, 24)).warnings;
    assert!(few.iter().any(|w| w.contains("60 calibration rows")), "{few:?}");
    let mut shrunk = gaussian(2000, 25);
    shrunk.predictions.iter_mut().for_each(|z| *z *= 0.5);
    let told = card(&shrunk).warnings;
    assert!(
        told.len() == 1 && told[0].contains("outside 0.9 to 1.1") && told[0].contains("were recentred"),
        "{told:?}"
    );
    let settings = CardSettings { recalibrate: false, ..CardSettings::default() };
    let told = Card::new(&shrunk, &settings).unwrap().warnings;
    assert!(told[0].contains("switch on `recalibrate`"), "{told:?}");
    let clustered = Calibration { clusters: Some((0..2000).map(|i| i % 8).collect()), ..gaussian(2000, 26) };
    assert!(card(&clustered).warnings[0].contains("8 calibration clusters"));
}

#[test]
fn a_card_is_read_as_it_was_written() {
    let sample = gaussian(200, 27);
    let card = card(&sample);
    let drawn = draw_corrections(
        &sample,
        &CardSettings { points: 32, ..CardSettings::default() },
        3,
        Stream::new(1, "c"),
    )
    .unwrap();
    let text = serde_json::to_string(&CardFile::of(&card, &drawn)).unwrap();
    let (again, replicates) = serde_json::from_str::<CardFile>(&text).unwrap().open().unwrap();
    assert_eq!(replicates.len(), 3);
    for z in [-2.0, 0.1, 1.4, 9.0] {
        for method in Method::ALL {
            let wanted = card.correction.apply(method, z);
            assert!((again.correction.apply(method, z) - wanted).abs() <= 1e-12 * (1.0 + wanted.abs()));
        }
        let wanted = drawn[1].apply(Method::Tweedie, z);
        assert!((replicates[1].apply(Method::Tweedie, z) - wanted).abs() <= 1e-12 * (1.0 + wanted.abs()));
    }
    let mut file = CardFile::of(&card, &[]);
    file.line = Line { intercept: 0.0, slope: 0.01 };
    assert!(file.clone().open().unwrap_err().to_string().contains("line.slope"));
    file.format = "other".to_owned();
    assert!(file.open().unwrap_err().to_string().contains("format"));
}

#[test]
fn a_second_sample_may_give_sigma() {
    let first = card(&gaussian(2000, 28));
    let mut wide = gaussian(2000, 29);
    wide.truth.iter_mut().zip(&wide.predictions).for_each(|(y, z)| *y = z + 2.0 * (*y - z));
    let second = first.clone().with_sigma_of(&wide).unwrap();
    assert!((second.correction.sigma / first.correction.sigma - 2.0).abs() < 0.15);
    assert_eq!(second.correction.line, first.correction.line);
}

#[test]
fn weights_are_copies() {
    let sample = gaussian(60, 30);
    let weights: Vec<f64> = (0..60).map(|i| f64::from(1 + i % 3)).collect();
    let copies: Vec<usize> = (0..60).flat_map(|i| std::iter::repeat_n(i, 1 + i % 3)).collect();
    let settings =
        CardSettings { bandwidth: ream_stats::density::Bandwidth::Fixed(0.3), ..CardSettings::default() };
    let a = Correction::new(&Calibration { weights: Some(weights), ..sample.clone() }, &settings).unwrap();
    let b = Correction::new(&sample.select(&copies), &settings).unwrap();
    for z in [-1.0, 0.2, 1.5] {
        for method in Method::ALL {
            assert!((a.apply(method, z) - b.apply(method, z)).abs() < 1e-10, "{method:?}");
        }
    }
}

// --- data and experiment ---

#[test]
fn the_households_are_those_of_the_survey() {
    let places = households().unwrap();
    assert_eq!((places.outcome.len(), places.features.cols()), (5999, 9));
    assert_eq!(places.areas.iter().collect::<BTreeSet<_>>().len(), 194);
    let missing: f64 = places.feature("lnexp12m missing").unwrap().iter().sum();
    assert_eq!(missing, 993.0);
    assert_eq!(places.feature("urban").unwrap().iter().sum::<f64>(), 1730.0);
    assert_eq!(places.outcome[0], 10.13649);
}

#[test]
fn break_even_lies_on_a_power_law() {
    let errors: Vec<(usize, f64)> = [50, 100, 200].iter().map(|n| (*n, 1.0 / (*n as f64).sqrt())).collect();
    for wanted in [20.0, 70.0, 150.0, 900.0] {
        let found = break_even(&errors, 1.0 / f64::sqrt(wanted)).unwrap();
        assert!((found / wanted - 1.0).abs() < 1e-9, "{wanted} {found}");
    }
    assert_eq!(break_even(&[(50, 1.0), (100, 1.2)], 0.5), None);
    assert_eq!(break_even(&[(50, 1.0)], 0.5), None);
}

#[test]
fn the_smoke_run_observes_what_claims_read() {
    let paper = Paper::parse("paper.toml", include_str!("paper.toml")).unwrap();
    let config = Config { trials: 6, bootstrap: 20, analytic: 4000, digits: 400, ..Config::smoke() };
    DebiasMap::check(&config).unwrap();
    let mut run = Run::in_memory(1);
    let digits = run.has_data("mnist-10k");
    DebiasMap::run(&config, &mut run).unwrap();
    let observations = run.observations();
    for observation in &observations {
        assert!(paper.measure(&observation.measure).is_some(), "{observation}");
    }
    for measure in &paper.measures {
        assert!(observations.iter().any(|o| o.measure == measure.id), "{} was not observed", measure.id);
    }
    for claim in paper.claims.iter().filter(|c| c.id != "c7") {
        for check in claim.checks.iter().filter(|c| digits || !c.id.ends_with("-digits")) {
            let Quantity::Value(term) = &check.quantity else { panic!("a value") };
            let found = observations.iter().any(|o| {
                o.measure == term.measure
                    && o.arm == term.arm
                    && check
                        .filter
                        .iter()
                        .all(|(key, filter)| o.at.get(key).is_some_and(|p| filter.admits(p)))
            });
            assert!(found, "{} {}", claim.id, check.id);
        }
    }
    assert!(run.warnings().iter().any(|w| w.contains("`urban` is an input")), "{:?}", run.warnings());
    for name in ["effects", "truth", "densities", "score", "labels"] {
        let name = format!("{name}-households-ridge");
        assert!(run.figures().iter().any(|(n, _)| *n == name), "{name}");
    }
}

#[test]
fn configurations_out_of_range_are_refused() {
    let refused = |config: &Config| config.check().unwrap_err().to_string();
    let base = Config::default();
    assert!(base.check().is_ok() && Config::smoke().check().is_ok());
    assert!(
        refused(&Config { bandwidth: "wide".into(), ..base.clone() })
            .contains("scott, silverman, or a number")
    );
    assert!(refused(&Config { labels: vec![50, 50], ..base.clone() }).contains("each once"));
    assert!(refused(&Config { predictors: Vec::new(), ..base.clone() }).contains("one or more"));
    assert!(refused(&Config { bias_penalties: vec![0.0], ..base.clone() }).contains("above 0"));
    let own = super::Own { estimator: Estimator::Ipw, ..base.own.clone() };
    assert!(refused(&Config { own, ..base.clone() }).contains("own.covariates"));
    let mut own = base.own.clone();
    (own.card, own.trial) = (Some("card.json".into()), Some("trial.csv".into()));
    assert!(refused(&Config { own, ..base.clone() }).contains("--data is the trial"));
    assert!(refused(&Config { digits: 30, ..base }).contains("digits"));
}

//! Traps, identities, and what cannot be faked.

use nalgebra::{DMatrix, DVector};
use ream_lab::Run;
use ream_nn::Tensor;
use ream_rand::Stream;
use ream_stats::instrumental::{Instrumental, Variables};
use ream_stats::{Covariance, Matrix, linear};

use super::baselines::{Environments, Folded, corrected_l1, corrected_l2};
use super::config::Config;
use super::digits::{self, Change};
use super::icp::icp;
use super::methods::{all_arms, rank_of_first};
use super::moments::Moments;
use super::sample::{Fits, Sample, centred, normalised_risk};
use super::select::{Choice, Selector, alpha_grid, choose, confounding, levels};
use super::simulation::{World, equivalence, null_basis};
use super::{network, optical};

fn stream() -> Stream {
    Stream::new(3, "ivl tests")
}

fn world(m: usize) -> World {
    World::draw(m, stream())
}

fn sample(m: usize, n: usize, kappa: f64) -> (World, Sample) {
    let world = world(m);
    let sample = world.rows(n, stream().child(1)).sample(&world, kappa, 1.0);
    (world, sample)
}

fn moments(of: &Sample) -> Moments {
    Moments::of(&of.g, &of.augmented, &of.y)
}

#[track_caller]
fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * size, "{a} {b}");
    }
}

// The estimator.

/// One treatment, one instrument, both centred.
fn just_identified() -> (Matrix, Matrix, Vec<f64>) {
    let mut rng = stream().at(9);
    let rows: Vec<[f64; 3]> = (0..400)
        .map(|_| {
            let (hidden, z) = (rng.normal(), rng.normal());
            let x = z + hidden;
            [z, x, 2.0 * x - 3.0 * hidden + rng.normal()]
        })
        .collect();
    let part = |j: usize| centred(&Matrix::from_fn(400, 1, |i, _| rows[i][j]));
    (part(0), part(1), part(2).column(0))
}

#[test]
fn the_ends_of_alpha_are_least_squares_and_two_stage_least_squares() {
    let (z, x, y) = just_identified();
    let model = Instrumental::new(Variables { outcome: &y, controls: None, treatments: &x, instruments: &z })
        .unwrap();
    let path = Moments::of(&z, &x, &y).ivl_path(&[1e12, 1e-12]).0;
    let ols = linear::ols(&x, &y, Covariance::Classical).unwrap().coefficients;
    let iv = model.two_stage_least_squares(Covariance::Classical).unwrap().estimates.coefficients;
    close(&path[0], &ols, 1e-8);
    close(&path[1], &iv, 1e-8);
    assert!((iv[0] - 2.0).abs() < 0.3 && ols[0] < 1.2, "{iv:?} {ols:?}");
}

#[test]
fn normal_equations_of_moments_are_those_of_the_qr_fit() {
    let (_, of) = sample(6, 800, 1.0);
    let alphas = alpha_grid(7);
    let (path, ridged) = moments(&of).ivl_path(&alphas);
    assert!(!ridged);
    for (a, b) in path.iter().zip(&Fits::new(&of, &alphas).unwrap().path) {
        close(a, b, 1e-8);
    }
}

/// The loss as it is written, with the projection n x n.
fn loss(of: &Sample, h: &[f64], alpha: f64) -> f64 {
    let (n, q) = (of.rows(), of.g.cols());
    let g = DMatrix::from_row_slice(n, q, of.g.data());
    let projection = &g * (g.transpose() * &g).try_inverse().unwrap() * g.transpose();
    let fitted = of.augmented.times(h).unwrap();
    let r = DVector::from_iterator(n, of.y.iter().zip(&fitted).map(|(y, f)| y - f));
    (projection * &r).norm_squared() + alpha * r.norm_squared()
}

#[test]
fn the_fit_is_the_minimum_of_projected_residuals_and_alpha_times_all() {
    let (_, of) = sample(4, 150, 1.0);
    for alpha in [0.01, 1.0, 100.0] {
        let h = moments(&of).ivl_path(&[alpha]).0.remove(0);
        let best = loss(&of, &h, alpha);
        for j in 0..4 {
            for step in [-1e-3, 1e-3] {
                let mut moved = h.clone();
                moved[j] += step;
                assert!(loss(&of, &moved, alpha) > best, "{alpha} {j}");
            }
        }
        // Projecting squared residuals, or leaving out the alpha term, is another estimator.
        let without = moments(&of).ivl_path(&[1e-9]).0.remove(0);
        assert!(loss(&of, &without, alpha) > best * (1.0 + 1e-9));
    }
    let h = vec![0.3; 4];
    let projected = loss(&of, &h, 0.0) / 150.0;
    assert!((moments(&of).projected_risk(&h) - projected).abs() < 1e-10 * projected);
}

#[test]
fn singular_normal_equations_get_a_ridge_and_say_so() {
    let (_, of) = sample(4, 200, 1.0);
    let twice = Matrix::from_fn(200, 5, |i, j| of.augmented.get(i, j.min(3)));
    let (path, ridged) = Moments::of(&of.g, &twice, &of.y).ivl_path(&[1.0]);
    assert!(ridged);
    let single = moments(&of).ivl_path(&[1.0]).0.remove(0);
    close(&[path[0][0], path[0][1], path[0][3] + path[0][4]], &[single[0], single[1], single[3]], 1e-4);
    assert!(!all_arms(&of, &alpha_grid(3), stream()).unwrap().ridged);
    // Parameters that repeat each other project no more than one of them.
    let doubled = Matrix::from_fn(200, 6, |i, j| of.g.get(i, j % 3));
    let again = Moments::of(&doubled, &of.augmented, &of.y).ivl_path(&[1.0]).0.remove(0);
    close(&again, &single, 1e-8);
}

// Augmentation.

#[test]
fn translations_leave_the_mechanism_alone() {
    let world = world(7);
    let w = &world.unseen;
    for i in 0..6 {
        for k in 0..=i {
            let dot: f64 = w.row(i).iter().zip(w.row(k)).map(|(a, b)| a * b).sum();
            assert!((dot - f64::from(u8::from(i == k))).abs() < 1e-12);
        }
        let seen: f64 = w.row(i).iter().zip(&world.truth).map(|(a, b)| a * b).sum();
        assert!(seen.abs() < 1e-12);
    }
    let of = world.rows(50, stream()).sample(&world, 1.0, 2.0);
    let (raw, changed) = (of.raw.times(&world.truth).unwrap(), of.augmented.times(&world.truth).unwrap());
    close(&changed, &raw, 1e-10);
    assert!((0..50).all(|i| (of.raw.get(i, 0) - of.augmented.get(i, 0)).abs() > 0.0));
    let basis = null_basis(&[0.0, -3.0, 0.0]);
    assert!((0..2).all(|i| basis.get(i, 1).abs() < 1e-12));
}

/// Root n times the largest correlation of a parameter with the outcome.
fn tilt(g: &Matrix, y: &[f64]) -> f64 {
    let g = centred(g);
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let whole = norm(&mut y.iter().map(|y| y - mean));
    (0..g.cols())
        .map(|j| {
            let column = g.column(j);
            let along: f64 = column.iter().zip(y).map(|(g, y)| g * (y - mean)).sum();
            (along / norm(&mut column.iter().copied()) / whole * (y.len() as f64).sqrt()).abs()
        })
        .fold(0.0, f64::max)
}

#[test]
fn parameters_are_independent_of_the_outcome() {
    let (_, of) = sample(32, 4000, 1.0);
    assert!(tilt(&of.g, &of.y) < 4.5);
    let device = &optical::experiments().unwrap()[0];
    let noisy = optical::with_noise(&device.x, &device.y, optical::NOISE_SHARE, stream());
    assert!(tilt(&noisy.g, &noisy.y) < 4.5);
    // Inputs themselves are far beyond that: the test can fail.
    assert!(tilt(&of.raw, &of.y) > 4.5);
}

#[test]
fn noise_as_the_augmentation_has_zero_as_its_limit() {
    // Single draws scatter about 0; their mean shows where they go.
    let device = &optical::experiments().unwrap()[0];
    let of = optical::averaged(device, &[1e-3, 1.0], 20, stream()).unwrap();
    let length = |name: &str| {
        let (_, h) = of.arms.iter().find(|(n, _)| n == name).unwrap();
        h.iter().map(|v| v * v).sum::<f64>().sqrt()
    };
    assert!(length("da-iv") < 0.12 * length("erm"), "{} {}", length("da-iv"), length("erm"));
    assert!(of.spread.iter().all(|s| s.is_finite()) && of.spread[2] > 0.0);
    // Translations along what the truth does not see shrink nothing else.
    let (world, translated) = sample(8, 4000, 0.0);
    let kept = Fits::new(&translated, &[1.0]).unwrap().da_iv;
    assert!(normalised_risk(&kept, &world.truth) < 0.01);
}

// Theory.

#[test]
fn large_samples_reach_the_population_values() {
    let world = world(5);
    let of = world.rows(60_000, stream().child(4)).sample(&world, 1.0, 1.0);
    let alpha = 0.5;
    let fits = Fits::new(&of, &[alpha]).unwrap();
    close(&fits.da_erm, &world.population_fit(1.0, 1.0), 0.05);
    close(&fits.path[0], &world.population_fit(1.0, (1.0 + alpha) / alpha), 0.05);
    let (s, c) = world.population(1.0);
    let erm = DVector::from_column_slice(&world.truth) + s.try_inverse().unwrap() * c;
    close(&fits.erm, erm.as_slice(), 0.05);
    // The order that the paper is about.
    let risk = |h: &[f64]| normalised_risk(h, &world.truth);
    assert!(risk(&fits.path[0]) < risk(&fits.da_erm) && risk(&fits.da_erm) < risk(&fits.erm));
}

#[test]
fn ivl_is_a_stronger_augmentation_up_to_sampling_noise() {
    let world = world(6);
    let gap = |n: usize| equivalence(&world, n, 1.0, 1.0, 1.0, stream().child(5));
    let (few, many) = (gap(2000), gap(128_000));
    // Eightfold smaller in the mean.
    assert!(many < 0.4 * few && many < 0.02, "{few} {many}");
    // A wrong strength is not noise: that of alpha = 1 against alpha = 0.1.
    let of = world.rows(20_000, stream().child(6)).sample(&world, 1.0, 1.0);
    let ivl = Fits::new(&of, &[0.1]).unwrap().path.remove(0);
    let wrong = world.population_fit(1.0, 2.0);
    let right = world.population_fit(1.0, 11.0);
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    assert!(far(&ivl, &right) < 0.2 * far(&ivl, &wrong));
}

#[test]
fn normalised_risk_at_its_marks() {
    assert_eq!(normalised_risk(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
    assert_eq!(normalised_risk(&[0.0, 0.0], &[1.0, 2.0]), 0.5);
    assert!(normalised_risk(&[100.0, 0.0], &[1.0, 2.0]) > 0.99);
    assert_eq!(normalised_risk(&[0.0], &[0.0]), 0.0);
}

// Selectors.

#[test]
fn the_share_of_confounding_is_found_where_it_is_known() {
    // h = a + Sigma^(-1/2) b with |b|^2 = theta |a|^2 in the mean (Janzing & Schoelkopf, 2018).
    let d = 400;
    let mut rng = stream().at(11);
    let w: Vec<f64> = (0..d).map(|i| 0.05 + 0.02 * f64::from(i)).collect();
    let covariance = DMatrix::from_diagonal(&DVector::from_vec(w.clone()));
    let mut share = |theta: f64| {
        let h: Vec<f64> = w.iter().map(|w| rng.normal() + (theta / w).sqrt() * rng.normal()).collect();
        let found = confounding(&h, &covariance).unwrap();
        let inverse = w.iter().map(|w| 1.0 / w).sum::<f64>() / f64::from(d);
        (found.share, theta * inverse / (1.0 + theta * inverse))
    };
    for theta in [0.0, 0.3, 3.0, 100.0] {
        let (found, truth) = share(theta);
        assert!((found - truth).abs() < 0.12, "theta {theta}: {found} {truth}");
    }
    assert_eq!(confounding(&[0.0; 3], &DMatrix::identity(3, 3)).unwrap().theta, 0.0);
}

fn chosen(selector: Selector, of: &Sample, alphas: &[f64]) -> Choice {
    let fits = Fits::new(of, alphas).unwrap();
    choose(selector, of, alphas, (&fits.da_erm, &fits.path), stream()).unwrap()
}

#[test]
fn held_out_error_favours_the_biased_end_and_the_other_rules_do_not() {
    let (_, of) = sample(16, 2000, 1.0);
    let alphas = alpha_grid(13);
    let [cc, stress, iv, cv, lcv] = Selector::ALL.map(|s| alphas[chosen(s, &of, &alphas).position]);
    assert!(cv >= 10.0 && lcv >= 10.0, "{cv} {lcv}");
    assert!(stress < 1.0 && iv < 1.0, "{stress} {iv}");
    assert!(cc < cv, "{cc}");
    assert!(Selector::Cv.favours_bias() && !Selector::Cc.favours_bias());
}

#[test]
fn stress_is_three_times_the_augmentation_and_levels_are_groups() {
    let (_, of) = sample(5, 300, 1.0);
    let stressed = of.at_strength(3.0);
    for (i, j) in [(0, 0), (7, 3), (299, 4)] {
        let step = of.augmented.get(i, j) - of.raw.get(i, j);
        assert!((stressed.get(i, j) - of.raw.get(i, j) - 3.0 * step).abs() < 1e-12);
    }
    let discrete = Matrix::from_fn(60, 1, |i, _| (i % 6) as f64);
    assert_eq!(levels(&discrete)[..7], [0, 1, 2, 3, 4, 5, 0]);
    let continuous = levels(&of.g);
    assert!((0..10).all(|level| continuous.iter().filter(|l| **l == level).count() == 30));
    // The path that CC measures: a target of the full length is the biased end.
    let grid = alpha_grid(3);
    assert_eq!((grid[0], grid[1], grid[2]), (1e-3, 1.0, 1e3));
}

// Baselines.

fn environments(of: &Sample) -> Environments {
    Environments::new(&Moments::of(&of.g, &of.raw, &of.y), &moments(of))
}

#[test]
fn two_environment_fits_are_minima_of_what_they_say() {
    let (_, of) = sample(4, 500, 1.0);
    let both = environments(&of);
    let risks = |h: &DVector<f64>| [both.risk(0, h), both.risk(1, h)];
    let largest = |h: &DVector<f64>| risks(h)[0].max(risks(h)[1]);
    let extrapolated = |h: &DVector<f64>| {
        let [a, b] = risks(h);
        (2.0 * a - b).max(2.0 * b - a)
    };
    let variance = |h: &DVector<f64>| {
        let [a, b] = risks(h);
        0.5 * (a + b) + 2.0 * 0.25 * (a - b) * (a - b)
    };
    type Value<'a> = &'a dyn Fn(&DVector<f64>) -> f64;
    let cases: [(DVector<f64>, Value<'_>); 3] = [
        (both.group_dro(), &largest),
        (both.minimax_rex(-1.0), &extrapolated),
        (both.variance_rex(2.0), &variance),
    ];
    for (k, (h, value)) in cases.iter().enumerate() {
        let best = value(h);
        for j in 0..4 {
            for step in [-1e-3, 1e-3] {
                let mut moved = h.clone();
                moved[j] += step;
                assert!(
                    value(&moved) >= best - 1e-10 * best.abs(),
                    "case {k}, {j}: {} {best}",
                    value(&moved)
                );
            }
        }
    }
}

#[test]
fn irm_is_a_stationary_point_and_tends_to_pooling() {
    let (_, of) = sample(4, 500, 1.0);
    let both = environments(&of);
    let slope = |e: usize, h: &DVector<f64>| {
        // d R(t h) / dt at t = 1.
        (both.risk(e, &(h * 1.001)) - both.risk(e, &(h * 0.999))) / 0.002
    };
    let value = |h: &DVector<f64>, strength: f64| -> f64 {
        (0..2).map(|e| both.risk(e, h) + strength * slope(e, h) * slope(e, h)).sum()
    };
    for strength in [0.01, 1.0] {
        let h = both.irm(strength);
        let best = value(&h, strength);
        for j in 0..4 {
            let mut moved = h.clone();
            moved[j] += 1e-3;
            assert!(value(&moved, strength) >= best - 1e-9 * best.abs(), "{strength} {j}");
        }
    }
    let pooled = both.variance_rex(0.0);
    close(both.irm(0.0).as_slice(), pooled.as_slice(), 1e-7);
}

#[test]
fn confounder_corrections_have_the_length_that_is_left() {
    let (_, of) = sample(8, 1000, 1.0);
    let augmented = moments(&of);
    let (da, _) = augmented.least_squares();
    let squares = |h: &[f64]| h.iter().map(|v| v * v).sum::<f64>();
    let found = super::select::Confounding { theta: 1.0, share: 0.4 };
    let (l2, l1) = (corrected_l2(&augmented, &da, found), corrected_l1(&augmented, &da, found).unwrap());
    assert!((squares(&l2) / squares(&da) - 0.6).abs() < 1e-4);
    assert!((squares(&l1) / squares(&da) - 0.6).abs() < 1e-4);
    let none = super::select::Confounding { theta: 0.0, share: 0.0 };
    close(&corrected_l2(&augmented, &da, none), &da, 1e-6);
}

#[test]
fn icp_finds_a_parent_under_an_intervention_and_nothing_under_augmentation() {
    let (_, of) = sample(5, 1000, 1.0);
    let folded = Folded::new(&of, stream()).unwrap();
    let accepted = icp(folded.all(), 0.05).unwrap();
    assert!(accepted.inputs.is_empty() && accepted.sets > 0);
    assert_eq!(accepted.coefficients, vec![0.0; 5]);
    // x1 -> y -> x2; the second environment moves x1 and x2.
    let environment = |seed: u64, scale: f64| {
        let mut rng = stream().at(seed);
        let rows: Vec<[f64; 3]> = (0..2000)
            .map(|_| {
                let x1 = scale * rng.normal();
                let y = 2.0 * x1 + rng.normal();
                [x1, y, y * scale + rng.normal()]
            })
            .collect();
        let x = centred(&Matrix::from_fn(2000, 2, |i, j| rows[i][2 * j]));
        let y = centred(&Matrix::from_fn(2000, 1, |i, _| rows[i][1])).column(0);
        Moments::of(&Matrix::from_fn(2000, 1, |i, _| (i % 2) as f64), &x, &y)
    };
    let found = icp(&[environment(1, 1.0), environment(2, 2.0)], 0.05).unwrap();
    assert_eq!(found.inputs, vec![0]);
    assert!((found.coefficients[0] - 2.0).abs() < 0.1);
}

#[test]
fn every_method_has_coefficients_and_ranks_count_ties_by_half() {
    let (_, of) = sample(4, 400, 1.0);
    let all = all_arms(&of, &alpha_grid(5), stream()).unwrap();
    for name in super::methods::RANKED {
        assert!(all.of(name).is_some_and(|h| h.len() == 4 && h.iter().all(|v| v.is_finite())), "{name}");
    }
    assert_eq!(all.alphas.len(), 5);
    assert_eq!(rank_of_first(&[1.0, 2.0, 0.5]), 2.0);
    assert_eq!(rank_of_first(&[1.0, 1.0, 3.0]), 1.5);
}

// The optical device.

#[test]
fn the_device_has_twelve_experiments_and_one_without_an_effect() {
    let all = optical::experiments().unwrap();
    assert_eq!(all.len(), 12);
    assert!(all.iter().all(|e| e.y.len() == 1000 && e.x.cols() == 9));
    let pure: Vec<u32> = all.iter().filter(|e| e.pure_confounding).map(|e| e.number).collect();
    assert_eq!(pure, vec![82]);
    let erm = |e: &optical::Experiment| {
        normalised_risk(&linear::ols(&e.x, &e.y, Covariance::Classical).unwrap().coefficients, &e.truth)
    };
    assert!(erm(&all[11]) > 0.99);
    // The diode off: nothing confounds, and ERM is the truth.
    let dark = all.iter().find(|e| e.brightness == 0.0).unwrap();
    assert!(erm(dark) < 0.01);
}

// Digits.

#[test]
fn changes_of_a_digit_leave_its_shape_and_colour() {
    let mut image = vec![0.0_f32; 784];
    image[14 * 28 + 14] = 1.0;
    let plain = digits::inputs(&image, 1, Change::NONE);
    assert_eq!(plain.iter().filter(|v| **v > 0.0).count(), 1);
    assert!(plain[..64].iter().all(|v| *v == 0.0));
    assert!((plain.iter().sum::<f64>() - 1.0 / 9.0).abs() < 1e-12);
    let changed = digits::inputs(&image, 1, Change { gains: [9.0, 1.0], shift: [1, -1] });
    assert!((changed.iter().sum::<f64>() - 1.5 / 9.0).abs() < 1e-12);
    let mut rng = stream().at(1);
    for _ in 0..200 {
        let change = Change::draw(&mut rng);
        assert!(change.gains.iter().all(|g| 1.0 + 0.5 * g > 0.1));
        assert!(change.shift.iter().all(|s| s.abs() <= 1));
    }
}

fn some_digits(count: usize) -> ream_data::mnist::Digits {
    let mut rng = stream().at(2);
    let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
    // Odd digits bright on the left, even ones on the right.
    let pixels = labels
        .iter()
        .flat_map(|l| {
            (0..784).map(|k| f32::from(u8::from((k % 28 < 14) == (l % 2 == 1)))).collect::<Vec<_>>()
        })
        .map(|v| v * (0.5 + 0.5 * rng.uniform_f32()))
        .collect();
    ream_data::mnist::Digits { pixels, labels }
}

#[test]
fn accuracy_is_the_expectation_over_labels_and_colours() {
    let digits = some_digits(50);
    let by_shape = |i: usize, _: usize| if digits.labels[i] % 2 == 1 { 1.0 } else { -1.0 };
    let by_colour = |_: usize, colour: usize| if colour == 1 { 1.0 } else { -1.0 };
    assert!((digits::accuracy(&digits, digits::REVERSED, by_shape) - 0.75).abs() < 1e-12);
    assert!((digits::accuracy(&digits, digits::REVERSED, by_colour) - 0.1).abs() < 1e-12);
    assert!((digits::accuracy(&digits, 0.85, by_colour) - 0.85).abs() < 1e-12);
    assert!((digits::accuracy(&digits, 0.85, |_, _| 0.0) - 0.5).abs() < 1e-12);
}

#[test]
fn colours_agree_with_labels_as_often_as_they_should() {
    let digits = some_digits(4000);
    let of = digits::colour(&digits, 0, stream());
    let agrees = |half: usize| {
        let rows = (half..4000).step_by(2);
        rows.filter(|&k| (of.labels[k] > 0.0) == (of.colours[k] == 1)).count() as f64 / 2000.0
    };
    assert!((agrees(0) - 0.9).abs() < 0.03 && (agrees(1) - 0.8).abs() < 0.03);
    let right = (0..4000).filter(|&k| (of.labels[k] > 0.0) == (digits.labels[of.images[k]] % 2 == 1)).count();
    assert!((right as f64 / 4000.0 - 0.75).abs() < 0.03);
    let (_, g) = of.changes(stream());
    assert!(tilt(&g, &of.labels) < 4.0);
    let task = digits::LinearTask::new(&digits, &of, stream());
    assert!(task.sample.raw.cols() <= 128);
    assert!(task.sample.raw.data().iter().all(|v| v.is_finite()));
}

// The perceptron.

#[test]
fn the_batch_loss_projects_residuals_and_not_their_squares() {
    let g = Matrix::from_fn(6, 2, |i, j| if j == 0 { i as f64 } else { ((i * i) % 4) as f64 });
    let rows = [0, 1, 2, 3, 4, 5];
    let basis = network::basis(&g, &rows);
    assert_eq!(basis.shape(), (2, 6));
    let r = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
    let tensor = Tensor::from_vec(r.iter().map(|v| *v as f32).collect(), &[6, 1]).unwrap();
    let alpha = 0.3;
    let got = network::loss(&tensor, Some((alpha, &basis))).unwrap().item().unwrap();
    let residuals = DVector::from_column_slice(&r);
    let want =
        ((&basis * &residuals).norm_squared() + alpha * residuals.norm_squared()) / (6.0 * (1.0 + alpha));
    assert!((f64::from(got) - want).abs() < 1e-5);
    let squares = residuals.map(|v| v * v);
    let wrong =
        ((&basis * &squares).norm_squared() + alpha * residuals.norm_squared()) / (6.0 * (1.0 + alpha));
    assert!((wrong - want).abs() > 0.02, "{wrong} {want}");
    // Constant parameters project nothing.
    assert_eq!(network::basis(&Matrix::from_fn(6, 2, |_, _| 1.0), &rows).nrows(), 0);
}

#[test]
fn a_perceptron_under_ivl_forgets_what_the_parameters_move() {
    // y = x0 + hidden, x1 = hidden: x1 is confounding alone, and the augmentation moves x1.
    let n = 1024;
    let mut rng = stream().at(21);
    let rows: Vec<[f64; 2]> = (0..n).map(|_| [rng.normal(), rng.normal()]).collect();
    let labels: Vec<f64> = rows.iter().map(|r| r[0] + r[1]).collect();
    let epoch = |k: u64, blend: bool| {
        let mut rng = stream().child(5).at(k);
        let g = Matrix::from_fn(n, 1, |_, _| rng.normal());
        let x = Matrix::from_fn(n, 2, |i, j| rows[i][j] + if j == 1 { 0.5 * g.get(i, 0) } else { 0.0 });
        network::Epoch { x, g: blend.then_some(g) }
    };
    let effect = |blend: bool| {
        let net = network::train(&labels, 0.01, 12, stream(), 1, |k| Ok(epoch(k, blend))).unwrap();
        let at =
            |x1: f64| net.scores(&Matrix::from_fn(1, 2, |_, j| if j == 1 { x1 } else { 0.0 })).unwrap()[0];
        at(1.0) - at(-1.0)
    };
    let (plain, blended) = (effect(false), effect(true));
    assert!(plain > 1.0 && blended.abs() < 0.5 * plain, "{plain} {blended}");
}

// The system.

#[test]
fn a_seed_observes_what_the_paper_declares_and_twice_the_same() {
    let mut config = Config::smoke();
    config.simulation.dimension = 4;
    config.simulation.rows = 200;
    config.simulation.equivalence = vec![1000];
    config.alphas = 5;
    config.digits.train = 300;
    config.digits.epochs = 1;
    let observed = || {
        let mut run = Run::in_memory(1);
        super::experiment::run_all(&config, &mut run).unwrap();
        run.observations()
    };
    let first = observed();
    let toml = include_str!("paper.toml");
    for of in &first {
        assert!(toml.contains(&format!("[[measures]]\nid = \"{}\"", of.measure)), "{of}");
    }
    for measure in
        ["ncer_simulation", "harm", "ncer_optical", "ncer_alpha", "u_shape", "sweep", "equivalence"]
    {
        assert!(first.iter().any(|o| o.measure == measure), "{measure}");
    }
    assert_eq!(first, observed());
}

#[test]
fn ranges_are_checked_and_keys_of_own_data_need_a_file() {
    assert!(Config::full().check().is_ok() && Config::smoke().check().is_ok());
    let error = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::full();
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    assert!(error(&|c| c.alphas = 1).contains("alphas"));
    assert!(error(&|c| c.simulation.rows = 250).contains("at least ten for each of 32"));
    assert!(error(&|c| c.simulation.kappas = vec![1.0, 0.5]).contains("rising"));
    assert!(error(&|c| c.alpha = Some(-1.0)).contains("alpha"));
    assert!(error(&|c| c.gamma = Some(0.0)).contains("gamma"));
    assert!(error(&|c| c.digits.train = 5).contains("digits.train"));
    let mut config = Config::full();
    assert!(config.none_of_own().is_ok());
    config.instruments = vec!["z".to_owned()];
    assert!(config.none_of_own().unwrap_err().to_string().contains("instruments"));
    let config = Config { alpha: Some(0.5), ..Config::full() };
    assert!(config.none_of_own().unwrap_err().to_string().contains("alpha"));
}

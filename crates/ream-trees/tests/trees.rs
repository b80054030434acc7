//! Trees against plain loops and against what must hold of them.

use proptest::prelude::*;
use ream_rand::Stream;
use ream_trees::{Column, Loss, Model, Options, TreesError, fit};

/// A curve of two numbers and a category, with noise; `[rows]` each.
fn table(rows: usize, seed: u64) -> (Vec<f64>, Vec<f64>, Vec<u32>, Vec<f64>) {
    let mut rng = Stream::new(seed, "table").at(0);
    let a: Vec<f64> = (0..rows).map(|_| rng.normal()).collect();
    let b: Vec<f64> = (0..rows).map(|_| rng.uniform()).collect();
    let c: Vec<u32> = (0..rows).map(|_| rng.below(7) as u32).collect();
    let level = [0.0, 2.0, -1.0, 0.5, 3.0, -2.0, 1.0];
    let y = (0..rows)
        .map(|i| {
            libm::sin(2.0 * a[i])
                + if b[i] > 0.4 { 1.0 } else { a[i] }
                + level[c[i] as usize]
                + 0.1 * rng.normal()
        })
        .collect();
    (a, b, c, y)
}

fn error(got: &[f64], y: &[f64]) -> f64 {
    got.iter().zip(y).map(|(g, y)| (g - y) * (g - y)).sum::<f64>() / y.len() as f64
}

#[test]
fn a_stump_is_the_best_of_all_stumps() {
    let (a, b, _, y) = table(120, 1);
    let columns = [Column::Numbers(&a), Column::Numbers(&b)];
    let options = Options { rounds: 1, rate: 1.0, leaves: 2, min_leaf: 10, ..Options::default() };
    let got =
        error(&fit(&columns, &y, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap(), &y);
    let mut best = f64::INFINITY;
    for values in [&a, &b] {
        for cut in values {
            let side = |left: bool| -> Vec<f64> {
                values.iter().zip(&y).filter(|(x, _)| (*x <= cut) == left).map(|(_, y)| *y).collect()
            };
            let (left, right) = (side(true), side(false));
            if left.len() >= 10 && right.len() >= 10 {
                let spread = |v: &[f64]| {
                    let mean = v.iter().sum::<f64>() / v.len() as f64;
                    v.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>()
                };
                best = best.min((spread(&left) + spread(&right)) / y.len() as f64);
            }
        }
    }
    assert!((got - best).abs() < 1e-12, "{got} {best}");
}

#[test]
fn a_categorical_stump_is_the_best_of_all_sets_of_levels() {
    let (_, _, c, y) = table(300, 2);
    let columns = [Column::Categories { codes: &c, levels: 7 }];
    let options =
        Options { rounds: 1, rate: 1.0, leaves: 2, min_leaf: 1, smoothing: 0.0, ..Options::default() };
    let got =
        error(&fit(&columns, &y, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap(), &y);
    let best = (1_u32..127)
        .map(|set| {
            let mut sums = [(0.0, 0.0, 0.0); 2];
            for (c, y) in c.iter().zip(&y) {
                let side = &mut sums[(set >> c & 1) as usize];
                *side = (side.0 + 1.0, side.1 + y, side.2 + y * y);
            }
            sums.iter().filter(|s| s.0 > 0.0).map(|(n, s, q)| q - s * s / n).sum::<f64>() / y.len() as f64
        })
        .fold(f64::INFINITY, f64::min);
    assert!((got - best).abs() < 1e-12, "{got} {best}");
}

#[test]
fn curves_and_probabilities_are_learned_on_rows_that_were_not_seen() {
    let (a, b, c, y) = table(4000, 3);
    let columns = |from: usize, to: usize| {
        [
            Column::Numbers(&a[from..to]),
            Column::Numbers(&b[from..to]),
            Column::Categories { codes: &c[from..to], levels: 7 },
        ]
    };
    let options = Options { rounds: 200, ..Options::default() };
    let model = fit(&columns(0, 3000), &y[..3000], None, Loss::Squared, &options).unwrap();
    let unseen = error(&model.predict(&columns(3000, 4000)).unwrap(), &y[3000..]);
    // The noise alone is 0.01, the variance about 4.
    assert!(unseen < 0.06, "{unseen}");
    assert!(model.gains().iter().all(|gain| *gain > 0.0));

    let truth: Vec<f64> = y.iter().map(|y| 1.0 / (1.0 + libm::exp(-2.0 * y))).collect();
    let mut rng = Stream::new(4, "draws").at(0);
    let drawn: Vec<f64> = truth.iter().map(|p| f64::from(rng.chance(*p))).collect();
    let model = fit(&columns(0, 3000), &drawn[..3000], None, Loss::Logistic, &Options::default()).unwrap();
    let p = model.predict(&columns(3000, 4000)).unwrap();
    let off = p.iter().zip(&truth[3000..]).map(|(p, q)| (p - q).abs()).sum::<f64>() / 1000.0;
    assert!(off < 0.08 && p.iter().all(|p| (0.0..=1.0).contains(p)), "{off}");
}

#[test]
fn limits_of_leaves_depth_and_rows_are_kept() {
    let (a, _, _, y) = table(500, 5);
    let columns = [Column::Numbers(&a)];
    let values = |options: &Options| {
        let model = fit(&columns, &y, None, Loss::Squared, options).unwrap();
        let mut got: Vec<u64> = model.predict(&columns).unwrap().iter().map(|x| x.to_bits()).collect();
        got.sort_unstable();
        let mut counts: Vec<usize> = Vec::new();
        for run in got.chunk_by(|a, b| a == b) {
            counts.push(run.len());
        }
        counts
    };
    let one = Options { rounds: 1, min_leaf: 1, ..Options::default() };
    assert_eq!(values(&Options { leaves: 9, ..one }).len(), 9);
    assert_eq!(values(&Options { leaves: 100, depth: 2, ..one }).len(), 4);
    let counts = values(&Options { leaves: 100, min_leaf: 60, ..one });
    assert!(counts.len() > 3 && counts.iter().all(|n| *n >= 60), "{counts:?}");
}

#[test]
fn a_weight_of_two_is_a_row_given_twice_and_a_constant_column_is_no_use() {
    let (a, _, _, y) = table(200, 6);
    let weights: Vec<f64> = (0..200).map(|i| f64::from(1 + i % 2)).collect();
    let twice: Vec<usize> = (0..200).flat_map(|i| vec![i; 1 + i % 2]).collect();
    let (a2, y2): (Vec<f64>, Vec<f64>) = twice.iter().map(|i| (a[*i], y[*i])).unzip();
    let options = Options { min_leaf: 1, leaves: 4, rounds: 5, ..Options::default() };
    let one = fit(&[Column::Numbers(&a)], &y, Some(&weights), Loss::Squared, &options).unwrap();
    let two = fit(&[Column::Numbers(&a2)], &y2, None, Loss::Squared, &options).unwrap();
    let at = [-1.5, -0.3, 0.2, 1.1];
    let (p, q) =
        (one.predict(&[Column::Numbers(&at)]).unwrap(), two.predict(&[Column::Numbers(&at)]).unwrap());
    assert!(p.iter().zip(&q).all(|(p, q)| (p - q).abs() < 1e-9), "{p:?} {q:?}");

    let flat = fit(&[Column::Numbers(&[1.0; 200])], &y, None, Loss::Squared, &options).unwrap();
    assert_eq!(flat.trees(), 0);
    assert!(
        (flat.predict(&[Column::Numbers(&[9.0])]).unwrap()[0] - y.iter().sum::<f64>() / 200.0).abs() < 1e-12
    );
}

#[test]
fn one_thread_and_three_give_the_same_bits() {
    let (a, b, c, y) = table(20_000, 7);
    let columns = [Column::Numbers(&a), Column::Numbers(&b), Column::Categories { codes: &c, levels: 7 }];
    let with = |threads: usize| -> Model {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            fit(&columns, &y, None, Loss::Squared, &Options { rounds: 10, ..Options::default() }).unwrap()
        })
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn bad_input_is_named() {
    let options = Options::default();
    let fit = |columns: &[Column<'_>], y: &[f64], weights: Option<&[f64]>, loss| {
        fit(columns, y, weights, loss, &options)
    };
    let (x, y) = ([1.0, f64::NAN, 3.0], [0.0, 1.0, 0.5]);
    assert!(matches!(fit(&[], &y, None, Loss::Squared), Err(TreesError::Empty)));
    let good = Column::Numbers(&[1.0, 2.0, 3.0]);
    assert!(matches!(
        fit(&[good, Column::Numbers(&x)], &y, None, Loss::Squared),
        Err(TreesError::Cell { row: 1, column: 1, .. })
    ));
    assert!(matches!(fit(&[good], &y[..2], None, Loss::Squared), Err(TreesError::Length { .. })));
    let level = Column::Categories { codes: &[0, 4, 1], levels: 4 };
    assert!(matches!(fit(&[level], &y, None, Loss::Squared), Err(TreesError::Level { row: 1, code: 4, .. })));
    assert!(matches!(
        fit(&[good], &[0.0, 1.5, 1.0], None, Loss::Logistic),
        Err(TreesError::Value { row: 1, .. })
    ));
    assert!(matches!(
        fit(&[good], &y, Some(&[1.0, -1.0, 0.0]), Loss::Squared),
        Err(TreesError::Value { what: "weights", row: 1, .. })
    ));
    assert!(matches!(fit(&[good], &y, Some(&[0.0; 3]), Loss::Squared), Err(TreesError::Value { .. })));
    let model = fit(&[good], &y, None, Loss::Squared).unwrap();
    let error = model.predict(&[Column::Categories { codes: &[0], levels: 4 }]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the trees were fitted to 1 columns (numbers), these are 1 columns (categories)"
    );
    let wrong = Options { rate: f64::NAN, ..Options::default() };
    assert!(matches!(
        ream_trees::fit(&[good], &y, None, Loss::Squared, &wrong),
        Err(TreesError::Setting { what: "rate", .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn shifting_the_response_shifts_the_fit_and_order_alone_counts(seed in 0_u64..1000, shift in -100.0..100.0_f64) {
        let (a, b, _, y) = table(150, seed);
        let options = Options { rounds: 8, min_leaf: 5, ..Options::default() };
        let columns = [Column::Numbers(&a), Column::Numbers(&b)];
        let plain = fit(&columns, &y, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap();
        let moved: Vec<f64> = y.iter().map(|y| y + shift).collect();
        let shifted = fit(&columns, &moved, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap();
        for (p, q) in plain.iter().zip(&shifted) {
            prop_assert!((p + shift - q).abs() < 1e-6);
        }
        // A monotone change of a column moves cuts, not what is on their sides.
        let bent: Vec<f64> = a.iter().map(|x| libm::exp(*x)).collect();
        let columns = [Column::Numbers(&bent), Column::Numbers(&b)];
        let same = fit(&columns, &y, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap();
        prop_assert_eq!(plain, same);
    }

    #[test]
    fn more_rounds_never_fit_worse(seed in 0_u64..1000) {
        let (a, b, c, y) = table(150, seed);
        let columns = [Column::Numbers(&a), Column::Numbers(&b), Column::Categories { codes: &c, levels: 7 }];
        let loss = |rounds| {
            let options = Options { rounds, min_leaf: 3, ..Options::default() };
            error(&fit(&columns, &y, None, Loss::Squared, &options).unwrap().predict(&columns).unwrap(), &y)
        };
        let path: Vec<f64> = [1, 4, 16, 40].map(loss).to_vec();
        prop_assert!(path.windows(2).all(|pair| pair[1] <= pair[0] + 1e-12), "{:?}", path);
    }
}

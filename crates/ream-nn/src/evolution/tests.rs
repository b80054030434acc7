use super::*;
use crate::layers::{Activation, MlpConfig, MlpNet};
use crate::param::Init;

/// `-1/2 sum_j w_j (x_j - 1)^2`.
fn quadratic(x: &[f32]) -> f64 {
    let term = |(j, x): (usize, &f32)| (1.0 + j as f64) * (f64::from(*x) - 1.0) * (f64::from(*x) - 1.0);
    -0.5 * x.iter().enumerate().map(term).sum::<f64>()
}

/// The negative of Rosenbrock's function; best at all ones.
fn rosenbrock(x: &[f32]) -> f64 {
    let at = |i: usize| f64::from(x[i]);
    let term = |i: usize| {
        let (a, b) = (at(i + 1) - at(i) * at(i), 1.0 - at(i));
        100.0 * a * a + b * b
    };
    -(0..x.len() - 1).map(term).sum::<f64>()
}

#[test]
fn the_estimate_agrees_with_the_gradient_of_the_smoothed_quadratic() {
    let (n, pairs) = (6, 20_000);
    let settings = EvolutionConfig { pairs, sigma: 0.3, shaping: Shaping::Raw, ..EvolutionConfig::default() };
    let theta: Vec<f32> = (0..n).map(|j| 0.2 * j as f32 - 0.5).collect();
    // Smoothing adds a constant to a quadratic: its gradient is the plain one.
    let want: Vec<f64> =
        theta.iter().enumerate().map(|(j, t)| -(1.0 + j as f64) * (f64::from(*t) - 1.0)).collect();
    let search = EvolutionStrategy::new(theta, settings, 5).unwrap();
    let fitness: Vec<f64> = (0..search.population()).map(|i| quadratic(&search.candidate(i))).collect();
    let got = search.gradient(&fitness).unwrap();
    let square: f64 = want.iter().map(|g| g * g).sum();
    let mut sum = 0.0;
    for (got, want) in got.iter().zip(&want) {
        // The estimate is the mean over pairs of (g . eps) eps_j, of variance |g|^2 + g_j^2.
        let se = libm::sqrt((square + want * want) / pairs as f64);
        let z = (f64::from(*got) - want) / se;
        assert!(z.abs() < 4.5, "{got} {want}: {z} standard errors");
        sum += z * z;
    }
    // Chi-square with 6 degrees: neither too far nor suspiciously near.
    assert!((0.3..22.5).contains(&sum), "{sum}");
}

#[test]
fn climbs_a_quadratic_with_every_shaping_and_ascent() {
    for shaping in [Shaping::CentredRanks, Shaping::PairRanks, Shaping::Standardised, Shaping::Raw] {
        for ascent in [Ascent::default(), Ascent::Sgd { momentum: 0.5 }] {
            let settings = EvolutionConfig {
                sigma: 0.05,
                learning_rate: 0.02,
                learning_rate_decay: 0.995,
                shaping,
                ascent,
                ..EvolutionConfig::default()
            };
            let mut search = EvolutionStrategy::new(vec![-1.0; 8], settings, 3).unwrap();
            for _ in 0..500 {
                search.step(|_, x| Ok(quadratic(x))).unwrap();
            }
            let end = quadratic(search.theta());
            // Adam's second moment remembers the large raw gradients of the beginning for longer than this test runs.
            let slow = shaping == Shaping::Raw && ascent == Ascent::default();
            assert!(
                end > if slow { -1.5 } else { -0.02 },
                "{shaping:?} {ascent:?}: {end}, began at {}",
                quadratic(&[-1.0; 8])
            );
        }
    }
}

#[test]
fn follows_rosenbrocks_valley() {
    let settings = EvolutionConfig {
        sigma: 0.03,
        learning_rate: 0.02,
        learning_rate_decay: 0.998,
        ..EvolutionConfig::default()
    };
    let mut search = EvolutionStrategy::new(vec![-1.0, 1.0], settings, 1).unwrap();
    for _ in 0..1500 {
        search.step(|_, x| Ok(rosenbrock(x))).unwrap();
    }
    assert!(rosenbrock(search.theta()) > -0.02, "{:?}", search.theta());
}

#[test]
fn weight_decay_pulls_to_zero_when_fitness_says_nothing() {
    let settings = EvolutionConfig {
        weight_decay: 0.5,
        learning_rate: 0.1,
        ascent: Ascent::Sgd { momentum: 0.0 },
        ..EvolutionConfig::default()
    };
    let mut search = EvolutionStrategy::new(vec![2.0; 3], settings, 1).unwrap();
    let generation = search.step(|_, _| Ok(7.0)).unwrap();
    assert_eq!(generation.gradient_norm, 0.0);
    assert!(search.theta().iter().all(|t| (t - 1.9).abs() < 1e-6));
}

#[test]
fn pairs_are_mirrored_blocks_differ_and_resuming_continues_to_the_bit() {
    let theta = vec![0.5; BLOCK + 10];
    let mut search =
        EvolutionStrategy::new(theta, EvolutionConfig { pairs: 3, ..EvolutionConfig::default() }, 9).unwrap();
    let (plus, minus) = (search.candidate(2), search.candidate(3));
    assert!(plus.iter().zip(&minus).all(|(p, m)| (p + m - 1.0).abs() < 1e-5));
    assert_ne!(plus[..10], plus[BLOCK..]);
    assert_ne!(plus, search.candidate(0));
    let fitness = |_: usize, x: &[f32]| Ok(quadratic(&x[..4]));
    search.step(fitness).unwrap();
    let json = serde_json::to_string(search.state()).unwrap();
    let mut resumed =
        EvolutionStrategy::resume(serde_json::from_str(&json).unwrap(), search.config, 9).unwrap();
    search.step(fitness).unwrap();
    threads::set_threads(1);
    resumed.step(fitness).unwrap();
    threads::set_threads(2);
    assert_eq!(resumed.state(), search.state());
}

#[test]
fn ranks_share_ties() {
    assert_eq!(Shaping::CentredRanks.apply(&[3.0, 1.0, 2.0]), [0.5, -0.5, 0.0]);
    let tied = Shaping::CentredRanks.apply(&[1.0, 1.0, 5.0, 1.0]);
    assert!(tied.iter().zip([-1.0 / 6.0, -1.0 / 6.0, 0.5, -1.0 / 6.0]).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(Shaping::PairRanks.apply(&[1.0, 0.0, 2.0, 2.0, -1.0, 3.0]), [1.0, 0.0, 0.5, 0.5, 0.0, 1.0]);
    assert_eq!(Shaping::Standardised.apply(&[4.0, 4.0]), [0.0, 0.0]);
}

#[test]
fn errors_name_the_candidate_and_the_setting() {
    let mut search = EvolutionStrategy::new(vec![0.0; 2], EvolutionConfig::default(), 1).unwrap();
    let error = search.step(|i, _| Ok(if i == 5 { f64::NAN } else { 0.0 })).unwrap_err().to_string();
    assert!(error.contains("fitness is not finite at step 0; candidate 5"), "{error}");
    assert_eq!(search.state().step, 0);
    assert!(
        search.tell(vec![0.0; 3]).unwrap_err().to_string().contains("3 fitnesses for a population of 32")
    );
    let failing =
        |i: usize, _: &[f32]| if i >= 3 { shape("episode", format!("number {i}")) } else { Ok(0.0) };
    assert!(search.step(failing).unwrap_err().to_string().contains("number 3"));
    let settings = EvolutionConfig { sigma: 0.0, ..EvolutionConfig::default() };
    assert!(
        EvolutionStrategy::new(vec![0.0], settings, 1)
            .unwrap_err()
            .to_string()
            .contains("sigma must be finite")
    );
}

#[test]
fn sep_cma_es_finds_the_optimum_and_the_scales() {
    // Curvatures 1, 100, 10^4: the deviations it learns must fall with their roots.
    let f = |x: &[f32]| -> f64 {
        -x.iter()
            .zip([1.0, 100.0, 10_000.0])
            .map(|(x, w)| w * (f64::from(*x) - 0.5) * (f64::from(*x) - 0.5))
            .sum::<f64>()
    };
    let mut search = SepCmaEs::new(&[0.0; 3], SepCmaEsConfig::default(), 2).unwrap();
    // Not longer: once candidates differ by less than f32 holds, fitness says nothing about scales.
    for _ in 0..80 {
        search.step(|_, x| Ok(f(x))).unwrap();
    }
    let d = search.deviations();
    assert!(f(&search.mean()) > -1e-4, "{:?}", search.mean());
    assert!(d[0] / d[1] > 3.0 && d[1] / d[2] > 3.0, "{d:?}");
    let settings = SepCmaEsConfig { population: 16, sigma: 0.3 };
    let mut search = SepCmaEs::new(&[-1.0; 4], settings, 3).unwrap();
    for _ in 0..3000 {
        search.step(|_, x| Ok(rosenbrock(x))).unwrap();
    }
    assert!(rosenbrock(&search.mean()) > -1e-3, "{:?} {}", search.mean(), rosenbrock(&search.mean()));
    assert!(SepCmaEs::new(&[], settings, 1).is_err());
}

#[test]
fn a_network_in_a_row_and_back() {
    let make = MlpConfig::new(&[2, 3, 1], Activation::Tanh);
    let (a, b) = (MlpNet::new(&Init::new(1), &make).unwrap(), MlpNet::new(&Init::new(2), &make).unwrap());
    unflatten(&b, &flatten(&a)).unwrap();
    assert_eq!(flatten(&b), flatten(&a));
    assert!(unflatten(&b, &[0.0; 3]).unwrap_err().to_string().contains("3 numbers for 13 parameters"));
}

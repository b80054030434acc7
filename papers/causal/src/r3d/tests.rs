use proptest::prelude::*;
use ream_lab::{Preset, Run, System};
use ream_rand::Stream;
use ream_stats::local_polynomial::{Constants, Kernel};
use ream_stats::{Matrix, descriptive, monotone, multiplier};

use super::analysis::analyse;
use super::baselines::Pooled;
use super::config::{Config, Simulation};
use super::estimate::{Bandwidth, Fit, Method, Settings, estimate};
use super::inference::{gini, infer, noise, tests_on};
use super::sample::{Sample, deciles};
use super::simulation::World;
use super::{R3d, experiment};

const METHODS: [Method; 2] = [Method::Simple, Method::Frechet];

fn sample_of(world: World, n: usize, effect: f64, seed: u64) -> Sample {
    let units = world.draw(n, 30, effect, &mut Stream::new(seed, "units").at(0));
    Sample::from_individuals(units.x, &units.outcomes, None, deciles(), units.treatment).unwrap()
}

fn mapped(sample: &Sample, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> Sample {
    let (n, q) = (sample.units(), sample.grid.len());
    Sample {
        x: sample.x.iter().map(|v| x(*v)).collect(),
        curves: Matrix::from_fn(n, q, |i, j| y(sample.curves.get(i, j))),
        ..sample.clone()
    }
}

fn with(method: Method) -> Settings {
    Settings { method, ..Settings::default() }
}

fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

fn errors(fit: &Fit, seed: u64) -> Vec<f64> {
    infer(fit, &noise(fit, 400, Stream::new(seed, "draws")).unwrap(), 0.95).unwrap().se
}

// Exactness and symmetry.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn polynomial_curves_give_the_effect_exactly(
        order in 0_usize..4, h in 0.25..4.0_f64, seed in 0_u64..200,
        slopes in prop::collection::vec(-2.0..2.0_f64, 6), effect in -3.0..3.0_f64,
    ) {
        // Q_i(q) = z(q) + jump(q) + a polynomial on either side; z and jump make both sides ascend in q.
        let grid = deciles();
        let mut rng = Stream::new(seed, "x").at(0);
        let x: Vec<f64> = (0..160).map(|_| rng.between(-1.0, 1.0)).collect();
        let bend = |x: f64, above: bool| -> f64 {
            let from = if above { 3 } else { 0 };
            (1..=order).map(|j| slopes[from + j - 1] * x.powi(j as i32)).sum()
        };
        let jump = |q: f64| effect - 0.8 * q;
        let curves = Matrix::from_fn(160, 9, |i, k| {
            let above = x[i] >= 0.0;
            2.0 * grid[k] + bend(x[i], above) + if above { jump(grid[k]) } else { 0.0 }
        });
        let sample = Sample { x, curves, grid: grid.clone(), treatment: None };
        let wanted: Vec<f64> = grid.iter().map(|q| jump(*q)).collect();
        for method in METHODS {
            for kernel in [Kernel::Triangular, Kernel::Epanechnikov, Kernel::Uniform] {
                let settings = Settings { order, kernel, bandwidth: Bandwidth::Common(h), ..with(method) };
                let fit = estimate(&sample, &settings).unwrap();
                prop_assert!(close(&fit.effect, &wanted, 1e-10), "{:?} {wanted:?}", fit.effect);
                // A falling effect stays one: the sides are sorted, not their difference.
                prop_assert!(fit.effect[0] > fit.effect[8]);
            }
        }
    }
}

#[test]
fn adding_scaling_turning_and_stretching_do_what_they_should() {
    let sample = sample_of(World::Skewed, 300, 1.0, 1);
    for method in METHODS {
        let settings = with(method);
        let fit = estimate(&sample, &settings).unwrap();
        let se = errors(&fit, 3);
        let moved = estimate(&mapped(&sample, |x| x, |y| y + 7.0), &settings).unwrap();
        assert!(close(&moved.effect, &fit.effect, 1e-9) && close(&moved.bandwidths, &fit.bandwidths, 1e-7));
        assert!(close(&errors(&moved, 3), &se, 1e-9));
        let scaled = estimate(&mapped(&sample, |x| x, |y| 3.0 * y), &settings).unwrap();
        let third: Vec<f64> = scaled.effect.iter().map(|e| e / 3.0).collect();
        assert!(close(&third, &fit.effect, 1e-9) && close(&scaled.bandwidths, &fit.bandwidths, 1e-7));
        let third: Vec<f64> = errors(&scaled, 3).iter().map(|e| e / 3.0).collect();
        assert!(close(&third, &se, 1e-9));
        // No unit lies on the cutoff.
        let turned = estimate(&mapped(&sample, |x| -x, |y| y), &settings).unwrap();
        let back: Vec<f64> = turned.effect.iter().map(|e| -e).collect();
        assert!(close(&back, &fit.effect, 1e-8) && close(&errors(&turned, 3), &se, 1e-8));
        assert!(close(&turned.below, &fit.above, 1e-8));
        let stretched = estimate(&mapped(&sample, |x| 40.0 * x, |y| y), &settings).unwrap();
        let short: Vec<f64> = stretched.bandwidths.iter().map(|h| h / 40.0).collect();
        assert!(close(&stretched.effect, &fit.effect, 1e-8) && close(&short, &fit.bandwidths, 1e-7));
    }
}

#[test]
fn the_sides_are_made_monotone_and_the_effect_is_not() {
    // Noise between quantiles makes fitted curves cross.
    let mut rng = Stream::new(4, "crossing").at(0);
    let x: Vec<f64> = (0..60).map(|_| rng.between(-1.0, 1.0)).collect();
    let curves = Matrix::from_fn(60, 9, |_, _| rng.normal());
    let sample = Sample { x: x.clone(), curves: curves.clone(), grid: deciles(), treatment: None };
    let raw = |above: bool| -> Vec<f64> {
        let side = if above {
            ream_stats::local_polynomial::Side::Above
        } else {
            ream_stats::local_polynomial::Side::Below
        };
        let fit =
            ream_stats::local_polynomial::LocalPolynomial::new(&x, 0.0, side, Kernel::Triangular, 2, 0.8)
                .unwrap();
        fit.coefficients_of(&curves).unwrap().row(0).to_vec()
    };
    let fit =
        |method| estimate(&sample, &Settings { bandwidth: Bandwidth::Common(0.8), ..with(method) }).unwrap();
    for (side, above) in [(false, false), (true, true)] {
        let plain = raw(above);
        assert!(!plain.is_sorted(), "nothing to repair");
        let of = |fit: Fit| if side { fit.above } else { fit.below };
        let (sorted, projected) = (of(fit(Method::Simple)), of(fit(Method::Frechet)));
        assert_eq!(sorted, monotone::rearranged(&plain).unwrap());
        assert!(projected.is_sorted() && projected != sorted);
        assert_eq!(
            monotone::isotonic(&projected, None).unwrap(),
            projected,
            "projecting twice is projecting once"
        );
    }
    for method in METHODS {
        let found = fit(method);
        assert!(!found.effect.is_sorted());
        let difference: Vec<f64> = found.above.iter().zip(&found.below).map(|(a, b)| a - b).collect();
        assert_eq!(found.effect, difference);
    }
}

#[test]
fn residuals_of_the_frechet_estimator_are_from_projected_fits() {
    // The same weights, other residuals: only the projection of the fitted curves tells the two apart.
    let sample = {
        let mut rng = Stream::new(4, "crossing").at(0);
        let x: Vec<f64> = (0..60).map(|_| rng.between(-1.0, 1.0)).collect();
        Sample { x, curves: Matrix::from_fn(60, 9, |_, _| rng.normal()), grid: deciles(), treatment: None }
    };
    let se = |method| {
        let settings = Settings { bandwidth: Bandwidth::Common(0.8), ..with(method) };
        errors(&estimate(&sample, &settings).unwrap(), 1)
    };
    assert!(!close(&se(Method::Simple), &se(Method::Frechet), 1e-6));
}

// Units, not individuals.

#[test]
fn a_multiplier_is_one_for_each_unit() {
    // Distributions of one point: all quantiles share residuals, so they must share their draws.
    let mut rng = Stream::new(6, "points").at(0);
    let x: Vec<f64> = (0..100).map(|_| rng.between(-1.0, 1.0)).collect();
    let outcomes: Vec<Vec<f64>> = x.iter().map(|x| vec![x + rng.normal()]).collect();
    let sample = Sample::from_individuals(x.clone(), &outcomes, None, deciles(), None).unwrap();
    for method in METHODS {
        let fit = estimate(&sample, &with(method)).unwrap();
        let draws = noise(&fit, 50, Stream::new(7, "draws")).unwrap();
        for b in 0..50 {
            let row = draws.effect.row(b);
            assert!(row.iter().all(|v| (v - row[0]).abs() < 1e-12));
            assert!((draws.above.get(b, 3) - draws.below.get(b, 3) - row[3]).abs() < 1e-12);
        }
    }
    // A treatment that is the outcome: the ratio of the jumps is 1 without noise, if units share their numbers.
    let treated = Sample { treatment: Some(outcomes.iter().map(|own| own[0]).collect()), ..sample };
    let settings = Settings {
        bandwidth: Bandwidth::Common(0.7),
        treatment_bandwidth: Some(0.7),
        ..with(Method::Simple)
    };
    let fit = estimate(&treated, &settings).unwrap();
    assert!(close(&fit.effect, &[1.0; 9], 1e-10));
    let draws = noise(&fit, 50, Stream::new(7, "draws")).unwrap();
    assert!(draws.effect.data().iter().all(|v| v.abs() < 1e-9));
}

#[test]
fn a_unit_counts_once_however_many_individuals_it_has() {
    let units = World::Constant.draw(200, 1, 1.0, &mut Stream::new(8, "units").at(0));
    let many: Vec<Vec<f64>> = units
        .outcomes
        .iter()
        .enumerate()
        .map(|(i, own)| vec![own[0]; if i % 3 == 0 { 400 } else { 1 }])
        .collect();
    let fit = |outcomes: &[Vec<f64>]| {
        let sample = Sample::from_individuals(units.x.clone(), outcomes, None, deciles(), None).unwrap();
        estimate(&sample, &Settings::default()).unwrap().effect
    };
    assert_eq!(fit(&units.outcomes), fit(&many));
    let pooled = |outcomes: &[Vec<f64>]| {
        Pooled::fit(&units.x, outcomes, 0.0, Kernel::Triangular, 0.6, &deciles()).unwrap().effect()
    };
    assert!(!close(&pooled(&units.outcomes), &pooled(&many), 0.01), "pooling gives big units more weight");
}

#[test]
fn noise_is_that_of_units_and_drawing_individuals_hides_it() {
    // Repeated samples of the two-level world: the spread of the estimates themselves.
    let settings = Settings { bandwidth: Bandwidth::Common(0.8), ..Settings::default() };
    let median = 4;
    let (mut estimates, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..120 {
        let units = World::TwoLevel.draw(200, 30, 0.0, &mut Stream::new(seed, "repeated").at(0));
        let sample =
            Sample::from_individuals(units.x.clone(), &units.outcomes, None, deciles(), None).unwrap();
        let fit = estimate(&sample, &settings).unwrap();
        estimates.push(fit.effect[median]);
        if seed < 20 {
            let draws = noise(&fit, 200, Stream::new(seed, "draws")).unwrap();
            ours.push(multiplier::standard_errors(&draws.effect).unwrap()[median]);
            let pooled =
                Pooled::fit(&units.x, &units.outcomes, 0.0, Kernel::Triangular, 0.8, &deciles()).unwrap();
            let draws = pooled.noise(60, Stream::new(seed, "individuals")).unwrap();
            theirs.push(multiplier::standard_errors(&draws).unwrap()[median]);
        }
    }
    let truth = descriptive::standard_deviation(&estimates).unwrap();
    let (ours, theirs) = (descriptive::mean(&ours).unwrap(), descriptive::mean(&theirs).unwrap());
    assert!((ours / truth - 1.0).abs() < 0.25, "{ours} {truth}");
    assert!(theirs < 0.4 * truth, "{theirs} {truth}");
}

// Fuzzy designs.

#[test]
fn full_compliance_is_the_sharp_design() {
    let sharp = sample_of(World::Constant, 250, 2.0, 9);
    let treatment = Some(sharp.x.iter().map(|x| f64::from(u8::from(*x >= 0.0))).collect());
    let fuzzy = Sample { treatment, ..sharp.clone() };
    for method in METHODS {
        let (a, b) = (estimate(&sharp, &with(method)).unwrap(), estimate(&fuzzy, &with(method)).unwrap());
        assert!(close(&a.effect, &b.effect, 1e-9));
        assert!((b.treatment.as_ref().unwrap().jump - 1.0).abs() < 1e-9);
        assert!(close(&errors(&a, 1), &errors(&b, 1), 1e-7));
    }
}

#[test]
fn a_treatment_that_does_not_jump_is_refused_and_a_weak_one_warned_of() {
    let sample = sample_of(World::Constant, 250, 1.0, 10);
    let never = Sample { treatment: Some(vec![0.5; 250]), ..sample.clone() };
    let error = estimate(&never, &Settings::default()).unwrap_err().to_string();
    assert!(error.contains("the treatment does not jump at the cutoff"), "{error}");
    let mut rng = Stream::new(11, "weak").at(0);
    let weak = sample
        .x
        .iter()
        .map(|x| f64::from(u8::from(rng.chance(if *x >= 0.0 { 0.55 } else { 0.45 }))))
        .collect();
    let weak = Sample { treatment: Some(weak), ..sample };
    let warned = |sample: &Sample| {
        let config = Config { draws: 200, ..Config::default() };
        let found = analyse(sample, &Settings::default(), &config, Stream::new(1, "draws")).unwrap();
        found.warnings.iter().any(|w| w.contains("below 10"))
    };
    assert!(warned(&weak));
    assert!(!warned(&sample_of(World::Fuzzy, 400, 1.0, 12)));
}

// Warnings and refusals.

#[test]
fn warnings_come_where_they_should_and_only_there() {
    let config = Config { draws: 200, ..Config::default() };
    let sample = sample_of(World::Skewed, 500, 1.0, 13);
    let of = |sample: &Sample, settings: &Settings, config: &Config| {
        analyse(sample, settings, config, Stream::new(1, "draws")).unwrap().warnings
    };
    let has = |warnings: &[String], text: &str| warnings.iter().any(|w| w.contains(text));
    let plain = of(&sample, &Settings::default(), &config);
    for text in [
        "leading bias",
        "comparison only",
        "widened",
        "rule of thumb",
        "normal approximation",
        "chosen their side",
    ] {
        assert!(!has(&plain, text), "{plain:?}");
    }
    assert!(has(&of(&sample, &Settings { order: 1, ..Settings::default() }, &config), "take order = 2"));
    assert!(has(
        &of(&sample, &Settings { constants: Constants::Drop, ..Settings::default() }, &config),
        "comparison only"
    ));
    let few = sample_of(World::Skewed, 30, 1.0, 14);
    let wide = Settings { bandwidth: Bandwidth::Common(2.0), ..Settings::default() };
    assert!(has(&of(&few, &wide, &config), "normal approximation"));
    // Units just below have moved just above.
    let moves = |x: f64| (-0.4..0.0).contains(&x) && (x * 1e4) as i64 % 3 != 0;
    let sorted = mapped(&sample, |x| if moves(x) { -x } else { x }, |y| y);
    assert!(has(&of(&sorted, &Settings::default(), &config), "chosen their side"));
    // A second jump where there should be none.
    let jumpy = {
        let x = sample.x.clone();
        let curves =
            Matrix::from_fn(500, 9, |i, q| sample.curves.get(i, q) + if x[i] >= 0.5 { 8.0 } else { 0.0 });
        Sample { curves, ..sample.clone() }
    };
    let placebo = Config { placebo: vec![0.5], ..config.clone() };
    assert!(has(&of(&jumpy, &Settings::default(), &placebo), "placebo cutoff at 0.5"));
    assert!(!has(&of(&sample, &Settings::default(), &placebo), "placebo cutoff at 0.5"));
    let donut = Config { donut: 5.0, ..config };
    assert!(has(&of(&sample, &Settings::default(), &donut), "the donut was left out"));
}

#[test]
fn a_narrow_automatic_bandwidth_is_widened_and_a_given_one_refused() {
    // Nothing but three units near the cutoff, and a curve that wants a narrow window.
    let mut rng = Stream::new(15, "gap").at(0);
    let x: Vec<f64> = (0..80)
        .map(|i| {
            if i < 6 {
                [-0.03, -0.02, -0.01, 0.01, 0.02, 0.03][i]
            } else {
                rng.between(0.5, 1.0) * if i % 2 == 0 { 1.0 } else { -1.0 }
            }
        })
        .collect();
    let curves = Matrix::from_fn(80, 9, |i, q| {
        50.0 * x[i] * x[i] * f64::from(u8::from(x[i] >= 0.0)) + 0.01 * q as f64
    });
    let sample = Sample { x, curves, grid: deciles(), treatment: None };
    let settings = Settings { order: 3, ..Settings::default() };
    let found = estimate(&sample, &settings).unwrap();
    assert_eq!(found.widened.len(), 9);
    assert!(found.effective.iter().all(|n| n[0] >= 5 && n[1] >= 5));
    let narrow = Settings { bandwidth: Bandwidth::Common(0.05), ..settings };
    let error = estimate(&sample, &narrow).unwrap_err().to_string();
    assert!(
        error.contains("only 3 units (at different places) lie below the cutoff within the bandwidth 0.05"),
        "{error}"
    );
    assert!(error.contains("wanted at least 5"), "{error}");
}

#[test]
fn what_cannot_be_estimated_is_said() {
    let sample = sample_of(World::Constant, 100, 0.0, 16);
    let error = |settings: &Settings| estimate(&sample, settings).unwrap_err().to_string();
    let settings = Settings::default();
    let far = error(&Settings { cutoff: 3.0, ..settings.clone() });
    assert!(far.contains("none of the 100 units lies at or above the cutoff 3"), "{far}");
    for h in [0.0, -1.0, f64::NAN] {
        assert!(
            error(&Settings { bandwidth: Bandwidth::Common(h), ..settings.clone() })
                .contains("wanted a number above 0")
        );
    }
    let each = Bandwidth::Each(vec![0.5; 4]);
    assert!(
        error(&Settings { bandwidth: each, ..settings.clone() }).contains("4 bandwidths for 9 quantiles")
    );
    let unequal = Bandwidth::Each((1..10).map(f64::from).collect());
    assert!(error(&Settings { bandwidth: unequal, ..settings }).contains("takes one bandwidth"));
    let none = Sample { grid: Vec::new(), curves: Matrix::from_fn(100, 0, |_, _| 0.0), ..sample.clone() };
    assert!(
        estimate(&none, &Settings::default()).unwrap_err().to_string().contains("grid of quantiles is empty")
    );
}

// Tests of curves.

#[test]
fn ranges_and_inequality_are_tested() {
    // The effect is 2 above the median and 0 below: a jump of inequality.
    let base = mapped(&sample_of(World::Constant, 400, 0.0, 17), |x| x, |y| y + 20.0);
    let x = base.x.clone();
    let lifted =
        Matrix::from_fn(400, 9, |i, q| base.curves.get(i, q) + if x[i] >= 0.0 && q > 4 { 2.0 } else { 0.0 });
    let sample = Sample { curves: lifted, ..base.clone() };
    let fit = estimate(&sample, &Settings::default()).unwrap();
    let draws = noise(&fit, 500, Stream::new(2, "draws")).unwrap();
    let [lower, _] = tests_on(&fit, &draws, [0.1, 0.5]).unwrap();
    let [upper, constant] = tests_on(&fit, &draws, [0.6, 0.9]).unwrap();
    assert!(
        lower.p_value > 0.05 && upper.p_value == 0.0 && constant.p_value > 0.05,
        "{lower:?} {upper:?} {constant:?}"
    );
    assert_eq!(infer(&fit, &draws, 0.95).unwrap().homogeneity.p_value, 0.0);
    assert!(tests_on(&fit, &draws, [0.91, 0.99]).is_err());
    let unequal = gini(&fit, &draws, 0.95).unwrap();
    assert!(unequal.difference.low > 0.0 && unequal.p_value < 0.05, "{unequal:?}");
    assert!((unequal.sides[1] - unequal.sides[0] - unequal.difference.value).abs() < 1e-15);
    // Without a difference it rejects as often as it says: 5 % of 60 are 3, with a standard deviation of 1.7.
    let rejected = (0..60).filter(|seed| {
        let flat = mapped(&sample_of(World::Constant, 200, 0.0, 100 + seed), |x| x, |y| y + 20.0);
        let flat = estimate(&flat, &Settings::default()).unwrap();
        gini(&flat, &noise(&flat, 200, Stream::new(*seed, "draws")).unwrap(), 0.95).unwrap().p_value < 0.05
    });
    let rejected = rejected.count();
    assert!(rejected <= 8, "{rejected}");
    let negative = mapped(&base, |x| x, |y| y - 100.0);
    let fit = estimate(&negative, &Settings::default()).unwrap();
    assert!(gini(&fit, &noise(&fit, 50, Stream::new(2, "draws")).unwrap(), 0.95).is_err());
}

// The system.

fn small() -> Config {
    let simulation = Simulation {
        sizes: vec![100],
        two_level_sizes: vec![100, 150],
        effects: vec![0.0, 1.0],
        individuals: 10,
        replications: 3,
        draws: 40,
    };
    Config { simulation, draws: 200, ..Config::default() }
}

fn paper() -> ream_paper::Paper {
    ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap()
}

#[test]
fn simulated_measures_are_declared_and_every_one_observed() {
    let mut run = Run::in_memory(1);
    experiment::run_all(&small(), &mut run).unwrap();
    let observations = run.observations();
    let paper = paper();
    for observation in &observations {
        assert!(paper.measure(&observation.measure).is_some(), "{}", observation.measure);
    }
    for measure in
        paper.measures.iter().filter(|m| !m.id.starts_with("election") && m.id != "scalar_difference")
    {
        assert!(observations.iter().any(|o| o.measure == measure.id), "{}", measure.id);
    }
    // Every term of every check of the simulations is there.
    for claim in paper.claims.iter().filter(|claim| claim.id != "c5") {
        for term in claim.checks.iter().flat_map(|check| check.quantity.terms()) {
            let found = observations.iter().any(|o| o.measure == term.measure && o.arm == term.arm);
            assert!(found, "{term}");
        }
    }
    assert_eq!(run.figures().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["two-level"]);
    // The same seed gives the same bits.
    let mut again = Run::in_memory(1);
    experiment::run_all(&small(), &mut again).unwrap();
    assert_eq!(again.observations(), observations);
}

#[test]
fn presets_are_allowed_and_wrong_keys_refused_by_name() {
    for preset in [Preset::Smoke, Preset::Full] {
        R3d::check(&R3d::preset(preset)).unwrap();
    }
    type Edit = fn(&mut Config);
    let cases: [(Edit, &str); 14] = [
        (|c| c.grid = vec![0.5, 1.0], "grid: wanted quantiles above 0 and below 1, got 1"),
        (|c| c.grid = vec![0.5, 0.4], "grid: wanted ascending quantiles"),
        (|c| c.bandwidth = "0".into(), "bandwidth: wanted `auto`, a number above 0"),
        (|c| c.bandwidth = "0.3,x".into(), "bandwidth: wanted `auto`, a number above 0"),
        (|c| c.treatment_bandwidth = Some(0.0), "treatment_bandwidth: wanted a number above 0"),
        (|c| c.draws = 100, "draws: wanted between 200"),
        (|c| c.alpha = 0.0, "alpha: wanted"),
        (|c| (c.alpha, c.draws) = (0.001, 500), "draws: wanted more draws for alpha 0.001"),
        (|c| c.order = 9, "order: wanted between 0 and 6"),
        (|c| c.test_ranges = vec![[0.5, 0.2]], "test_ranges: wanted pairs"),
        (|c| c.donut = -1.0, "donut: wanted"),
        (|c| c.placebo = vec![0.0], "placebo: wanted finite cutoffs other than the true one"),
        (|c| c.simulation.sizes = vec![10], "simulation.sizes: wanted"),
        (|c| c.simulation.effects.clear(), "simulation.effects: wanted"),
    ];
    for (edit, wanted) in cases {
        let mut config = Config::default();
        edit(&mut config);
        let error = R3d::check(&config).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let bandwidth =
        |text: &str| Config { bandwidth: text.into(), ..Config::default() }.bandwidth_choice().unwrap();
    assert_eq!(bandwidth("auto"), Bandwidth::Automatic);
    assert_eq!(bandwidth("0.5"), Bandwidth::Common(0.5));
    assert_eq!(bandwidth("[0.5, 0.6]"), Bandwidth::Each(vec![0.5, 0.6]));
}

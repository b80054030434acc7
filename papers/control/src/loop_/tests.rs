//! Traps and invariants.

use ream_rand::{Rng, Stream};

use super::arms::{Arm, Bench, Method, Problem, arms};
use super::finite::{Choice, FiniteClass, FiniteLoop, FiniteOptions, FitSet};
use super::learner::{Belief, Learner, TableWorld, Trace, Truth, World, simulate};
use super::linear::{Features, LinearLoop};
use super::mixture::{MixtureLoop, MixtureOptions, MixtureRule, linear_beta};
use super::statistics::{exponent, fall};
use super::tabular::{Known, ModelBased, ModelSet, SwitchRule};
use super::*;
use crate::environments::average_reward::solver::{Solution, solve};
use crate::environments::average_reward::{LinearMixture, TabularMdp, river_swim};

fn stream() -> Stream {
    Stream::new(7, "loop tests")
}

fn river() -> (TabularMdp, Solution) {
    let mdp = river_swim(6);
    let solution = solve(&mdp).unwrap();
    (mdp, solution)
}

fn class(count: usize) -> FiniteClass {
    let (mdp, solution) = river();
    FiniteClass::draw(&mdp, &solution, count, stream()).unwrap()
}

fn walk(mdp: &TabularMdp, solution: &Solution, learner: &mut dyn Learner, horizon: u64) -> Trace {
    simulate(&mut TableWorld::new(mdp), learner, Truth::of(mdp, solution), horizon, stream(), false)
}

// Regret.

/// A learner that follows a policy and notes what it saw.
struct Noting {
    policy: Vec<usize>,
    seen: Vec<(usize, f64, usize)>,
}

impl Learner for Noting {
    fn act(&mut self, state: usize) -> usize {
        self.policy[state]
    }
    fn learn(&mut self, state: usize, _: usize, reward: f64, next: usize) {
        self.seen.push((state, reward, next));
    }
}

#[test]
fn regret_is_of_one_trajectory_without_resets_against_the_solved_gain() {
    let (mdp, solution) = river();
    let mut learner = Noting { policy: solution.policy.clone(), seen: Vec::new() };
    let trace = walk(&mdp, &solution, &mut learner, 50_000);
    assert_eq!(learner.seen[0].0, mdp.start());
    assert!(learner.seen.windows(2).all(|pair| pair[0].2 == pair[1].0), "a state that does not follow");
    let total: f64 = learner.seen.iter().map(|(_, reward, _)| solution.gain - reward).sum();
    assert!((total - trace.total()).abs() < 1e-6);
    // The best policy has no regret beyond its bias and noise; a gain that is off by 0.02 would make 1000.
    assert!(trace.total().abs() < 500.0, "{}", trace.total());
    let mut left = Noting { policy: vec![0; 6], seen: Vec::new() };
    let lost = walk(&mdp, &solution, &mut left, 50_000).total();
    assert!((lost - 50_000.0 * (solution.gain - 0.005)).abs() < 1e-6);
}

#[test]
fn visits_and_grids_add_up() {
    let (mdp, solution) = river();
    let mut learner = Noting { policy: vec![1; 6], seen: Vec::new() };
    let trace = walk(&mdp, &solution, &mut learner, 3000);
    assert_eq!(trace.visits.iter().flatten().sum::<u32>(), 3000);
    assert!(trace.visits.iter().all(|slice| slice.iter().sum::<u32>() == 75));
    assert_eq!((trace.regret.len(), trace.switches.len()), (trace.grid.len(), trace.grid.len()));
}

// The finite class.

#[test]
fn the_true_hypothesis_is_in_the_class_and_a_class_without_it_is_refused() {
    let (mdp, solution) = river();
    let class = class(50);
    assert_eq!(class.len(), 50);
    let truth = Belief {
        q: class.q[class.truth].clone(),
        v: class.v[class.truth].clone(),
        gain: class.gains[class.truth],
    };
    assert!(truth.bellman_errors(&mdp).iter().all(|e| e.abs() < 1e-7));
    // Some hypotheses promise more than the truth: optimism is put to the test.
    let share = class.optimistic_share();
    assert!((0.2..0.6).contains(&share), "{share}");
    let others: Vec<Solution> = (1..50)
        .map(|f| Solution {
            gain: class.gains[f],
            bias: class.v[f].clone(),
            span: 0.0,
            q: class.q[f].clone(),
            policy: Vec::new(),
        })
        .collect();
    let error = FiniteClass::new(&mdp, &solution, &others).unwrap_err().to_string();
    assert!(error.contains("misspecified") && error.contains("Bellman error"), "{error}");
}

#[test]
fn hypotheses_solve_their_own_process_and_images_are_exact() {
    let (mdp, _) = river();
    let class = class(40);
    for f in 0..40 {
        for s in 0..6 {
            let most = class.q[f][2 * s].max(class.q[f][2 * s + 1]);
            assert!((most - class.v[f][s]).abs() < 1e-6 * (1.0 + most.abs()));
        }
        assert!(class.v[f].iter().copied().fold(f64::INFINITY, f64::min).abs() < 1e-12);
        for cell in 0..12 {
            let image = mdp.rewards()[cell] + mdp.expect(cell, &class.v[f]) - class.gains[f];
            assert!((class.auxiliary[cell][40 + f] - image).abs() < 1e-9);
            assert_eq!(class.auxiliary[cell][f], class.q[f][cell]);
        }
    }
}

/// `L_D(f, g)` as it is written.
fn loss(class: &FiniteClass, data: &[(usize, f64, usize)], f: usize, g: usize) -> f64 {
    data.iter()
        .map(|&(cell, reward, next)| {
            let residual = class.auxiliary[cell][g] + class.gains[f] - reward - class.v[f][next];
            residual * residual
        })
        .sum()
}

fn some_data(mdp: &TabularMdp, steps: usize) -> Vec<(usize, f64, usize)> {
    let mut rng = stream().at(9);
    let mut state = mdp.start();
    (0..steps)
        .map(|_| {
            let action = usize::from(rng.chance(0.8));
            let (next, reward) = mdp.step(&mut rng, state, action);
            let cell = mdp.cell(state, action);
            state = next;
            (cell, reward, next)
        })
        .collect()
}

#[test]
fn deficits_from_counts_are_those_of_all_pairs_of_functions() {
    let (mdp, _) = river();
    let class = class(60);
    let data = some_data(&mdp, 400);
    let mut learner = FiniteLoop::new(&class, FiniteOptions::paper(50.0));
    for &(cell, reward, next) in &data {
        learner.learn(cell / 2, cell % 2, reward, next);
    }
    for f in 0..60 {
        let least = (0..120).map(|g| loss(&class, &data, f, g)).fold(f64::INFINITY, f64::min);
        let wanted = loss(&class, &data, f, f) - least;
        assert!((learner.deficit(f) - wanted).abs() < 1e-6 * (1.0 + wanted), "{f}");
    }
    // The gain belongs to the target of f. With the gain of g instead, minima are others.
    let wrong = |f: usize, g: usize| {
        data.iter()
            .map(|&(cell, reward, next)| {
                let r = class.auxiliary[cell][g] + class.gains[g % 60] - reward - class.v[f][next];
                r * r
            })
            .sum::<f64>()
    };
    let differ = (0..60).any(|f| {
        let mistaken = (0..120).map(|g| wrong(f, g)).fold(f64::INFINITY, f64::min);
        (learner.deficit(f) - (loss(&class, &data, f, f) - mistaken)).abs() > 0.1
    });
    assert!(differ);
}

/// Runs LOOP beside a slow twin that looks at every deficit at every step: no shortcut may change a choice.
#[test]
fn shortcuts_change_no_choice() {
    let (mdp, _) = river();
    let class = class(60);
    for every_step in [false, true] {
        let options = FiniteOptions { every_step, ..FiniteOptions::paper(30.0) };
        let mut quick = FiniteLoop::new(&class, options);
        let mut rng = stream().at(1);
        let (mut state, mut data, mut current) = (mdp.start(), Vec::new(), None::<usize>);
        for t in 0..600 {
            let action = quick.act(state);
            let deficit = |f: usize| {
                let least = (0..120).map(|g| loss(&class, &data, f, g)).fold(f64::INFINITY, f64::min);
                loss(&class, &data, f, f) - least
            };
            if every_step || current.is_none_or(|f| deficit(f) >= 120.0) {
                let inside = (0..60).filter(|f| deficit(*f) <= 30.0);
                current = inside.max_by(|a, b| class.gains[*a].total_cmp(&class.gains[*b]).then(b.cmp(a)));
            }
            let followed = quick.belief().unwrap().gain;
            assert_eq!(current.map(|f| class.gains[f]), Some(followed), "step {t}, every step: {every_step}");
            let (next, reward) = mdp.step(&mut rng, state, action);
            quick.learn(state, action, reward, next);
            data.push((mdp.cell(state, action), reward, next));
            state = next;
        }
    }
}

#[test]
fn the_greatest_gain_is_followed_not_the_greatest_value_of_the_state() {
    let (mdp, solution) = river();
    // A rival whose values are far greater everywhere and whose gain is smaller.
    let mut rival = solution.clone();
    rival.gain -= 0.1;
    rival.q.iter_mut().for_each(|q| *q += 50.0);
    rival.bias.iter_mut().for_each(|v| *v += 50.0);
    let class = FiniteClass::new(&mdp, &solution, &[rival, solution.clone()]).unwrap();
    let mut learner = FiniteLoop::new(&class, FiniteOptions::paper(1e9));
    let _ = learner.act(0);
    assert_eq!(learner.belief().unwrap().gain, solution.gain);
}

#[test]
fn without_the_local_fit_the_truth_is_thrown_out() {
    let (mdp, solution) = river();
    let class = class(100);
    let beta = class.beta(1.0, solution.span, 20_000, 0.05);
    let covered = |set: FitSet| {
        let options = FiniteOptions { set, ..FiniteOptions::paper(beta) };
        walk(&mdp, &solution, &mut FiniteLoop::new(&class, options), 20_000).covered
    };
    assert_eq!(covered(FitSet::Local), Some(true));
    assert_eq!(covered(FitSet::Plain), Some(false));
    // What is left of the truth's loss is the variance of V*(s'), which grows for ever.
    let mut learner = FiniteLoop::new(&class, FiniteOptions::paper(beta));
    let data = some_data(&mdp, 5000);
    for &(cell, reward, next) in &data {
        learner.learn(cell / 2, cell % 2, reward, next);
    }
    assert!(loss(&class, &data, class.truth, class.truth) > 0.1 * 5000.0);
    assert!(learner.deficit(class.truth) < 0.05 * beta);
}

#[test]
fn loop_learns_with_few_switches_and_optimism() {
    let (mdp, solution) = river();
    let class = class(400);
    let beta = class.beta(0.05, solution.span, 20_000, 0.05);
    let trace = walk(&mdp, &solution, &mut FiniteLoop::new(&class, FiniteOptions::paper(beta)), 20_000);
    assert!(trace.total() < 1500.0, "{}", trace.total());
    assert!(trace.updates() > 1.0 && trace.updates() < 60.0, "{}", trace.updates());
    assert_eq!((trace.optimism, trace.covered), (Some(1.0), Some(true)));
    assert!(trace.coefficient.unwrap() < 40.0);
    // The best fit makes no promise.
    let options = FiniteOptions { choice: Choice::BestFit, ..FiniteOptions::paper(beta) };
    let greedy = walk(&mdp, &solution, &mut FiniteLoop::new(&class, options), 20_000);
    assert!(greedy.updates() >= 1.0);
}

// Switching.

#[test]
fn never_switching_is_linear_regret() {
    let (mdp, solution) = river();
    let known = || Known::of(&mdp, solution.span, 50_000, 0.05);
    let rule = |constant: f64| {
        let rule = SwitchRule::Root(constant);
        walk(&mdp, &solution, &mut ModelBased::new(known(), ModelSet::Likelihood(0.05), rule), 50_000)
    };
    // Nothing reaches a limit that is no number.
    let (never, paper) = (rule(f64::NAN), rule(3.0));
    assert_eq!(never.updates(), 1.0);
    assert!(exponent(&never.grid, &never.regret) > 0.95);
    assert!(fall(&never.grid, &never.regret) < 1.1);
    assert!(paper.updates() > 5.0 && exponent(&paper.grid, &paper.regret) < 0.65);
    // And the switches of a learner that never switches fit nothing.
    assert_eq!(statistics::logarithmic_fit(&never.grid, &never.switches), 0.0);
}

#[test]
fn the_model_in_force_is_contradicted_by_its_likelihood() {
    let (mdp, solution) = river();
    let known = Known::of(&mdp, solution.span, 5000, 0.05);
    let mut learner = ModelBased::new(known.clone(), ModelSet::Likelihood(0.2), SwitchRule::Deficit(4.0));
    let mut rng = stream().at(3);
    let (mut state, mut updates) = (mdp.start(), 0);
    for t in 1..=5000_u32 {
        let before = learner.deficit();
        let action = learner.act(state);
        if learner.updates() != updates {
            // A new model is in the set: its deficit is no more than the sum of the radii.
            let radii = learner.beta() / (solution.span * solution.span);
            assert!(learner.deficit() <= radii * (1.0 + 1e-6), "{t}: {} {radii}", learner.deficit());
            assert!(updates == 0 || before >= learner.deficit(), "{t}");
            updates = learner.updates();
        }
        let (next, reward) = mdp.step(&mut rng, state, action);
        learner.learn(state, action, reward, next);
        state = next;
    }
    assert!(updates > 3 && learner.unsettled() == 0);
    // c scales the radii, and they grow with visits and time.
    let radius = |c: f64, t: f64, n: f64| known.likelihood_budget(c, t, n);
    assert!((radius(1.0, 50.0, 7.0) / radius(0.05, 50.0, 7.0) - 20.0).abs() < 1e-9);
    let wanted =
        libm::log(4.0 * 6.0 * 2.0 * 50.0 / 0.05) + 5.0 * libm::log(std::f64::consts::E * (1.0 + 7.0 / 5.0));
    assert!((radius(1.0, 50.0, 7.0) - wanted).abs() < 1e-9);
}

// Everything on its instance.

fn small() -> Config {
    Config { horizon: 3000, linear_horizon: 2000, hypotheses: 60, averaged_seeds: 2, ..Config::default() }
}

#[test]
fn both_constants_are_run_everywhere_and_none_is_chosen_for_a_problem() {
    let config = small();
    for environment in Environment::ALL {
        let problem = Problem::of(environment, &config).unwrap();
        let loops: Vec<Arm> = arms(&config, &problem).into_iter().filter(|arm| arm.is_loop).collect();
        let instances = if environment == Environment::RiverSwim6 { 2 } else { 1 };
        assert_eq!(loops.len(), 2 * instances, "{environment:?}");
        for constant in ["-c1", "-c0.05"] {
            let with = loops.iter().filter(|arm| arm.name.ends_with(constant)).count();
            assert_eq!(with, instances, "{environment:?}");
        }
        let names: Vec<String> = arms(&config, &problem).into_iter().map(|arm| arm.name).collect();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len());
        assert!(names.contains(&"random".to_owned()) && names.contains(&"differential-q".to_owned()));
    }
    let class = class(60);
    let ratio = class.beta(1.0, 6.3, 3000, 0.05) / class.beta(0.05, 6.3, 3000, 0.05);
    assert!((ratio - 20.0).abs() < 1e-9);
}

#[test]
fn every_learner_runs_on_its_problems_and_the_same_seed_gives_the_same_bits() {
    let config = Config { horizon: 1000, linear_horizon: 1000, ..small() };
    for environment in Environment::ALL {
        let problem = Problem::of(environment, &config).unwrap();
        let bench = Bench::new(&problem, &config, 3).unwrap();
        for arm in arms(&config, &problem) {
            let trace = bench.run(arm.method, false);
            assert!(trace.total().is_finite(), "{environment:?} {}", arm.name);
            let again = Bench::new(&problem, &config, 3).unwrap().run(arm.method, false);
            assert_eq!(trace, again, "{environment:?} {}", arm.name);
            if arm.is_loop {
                assert!(trace.optimism.is_some() && trace.covered.is_some(), "{}", arm.name);
            }
        }
    }
}

#[test]
fn mixtures_are_learned_from_few_numbers() {
    let mixture = LinearMixture::new(5);
    let solution = solve(&mixture.mdp).unwrap();
    let horizon = 20_000;
    let known = || Known::of(&mixture.mdp, solution.span, horizon, 0.05);
    let run = |constant: f64, rule: MixtureRule| {
        let beta = linear_beta(constant, solution.span, 5, horizon, 0.05);
        let options = MixtureOptions { beta, rule, optimistic: true };
        let mut learner = MixtureLoop::new(known(), &mixture, options);
        let trace = walk(&mixture.mdp, &solution, &mut learner, horizon);
        assert_eq!(learner.unsettled(), 0);
        (trace, learner.causes(), learner.deficit())
    };
    let (trace, causes, deficit) = run(0.05, MixtureRule::Loop);
    assert!(trace.total() < 400.0, "{}", trace.total());
    assert_eq!((trace.optimism, trace.covered), (Some(1.0), Some(true)));
    // Determinants of five dimensions double about 5 log2 T times.
    assert!(causes.determinant > 10 && trace.updates() < 200.0, "{causes:?}");
    assert!(deficit >= 0.0);
    let chance = walk(&mixture.mdp, &solution, &mut model_free::Uniform::new(3, stream()), horizon);
    assert!(chance.total() > 5.0 * trace.total());
}

#[test]
fn a_table_is_a_linear_class_too() {
    // One feature for each pair: the linear learner is then a tabular one, and nothing is misspecified.
    let (mdp, solution) = river();
    let mut phi = vec![0.0; 12 * 12];
    (0..12).for_each(|i| phi[i * 12 + i] = 1.0);
    let features = Features { states: 6, actions: 2, width: 12, by_action: false, phi };
    assert!(features.misspecification(&solution.q) < 1e-6);
    let beta = linear_beta(0.002, solution.span, 12, 20_000, 0.05);
    let mut learner = LinearLoop::new(&features, beta, solution.span, true);
    let trace = walk(&mdp, &solution, &mut learner, 20_000);
    assert!(trace.total() < 4000.0, "{}", trace.total());
    assert_eq!(learner.unsettled(), 0);
    assert_eq!(trace.covered, Some(true));
    // Values are clipped to the known span.
    let v = &learner.belief().unwrap().v;
    assert!(v.iter().all(|v| (-1e-9..=solution.span + 1e-9).contains(v)));
}

#[test]
fn the_circle_s_features_fit_its_values_and_are_always_the_same() {
    let features = Features::random_fourier(200, 24);
    assert_eq!(features.dimension(), 72);
    assert_eq!(features, Features::random_fourier(200, 24));
    let problem = Problem::of(Environment::CircleKernel, &small()).unwrap();
    let misfit = features.misspecification(&problem.solution.q);
    assert!(misfit < 0.05 * problem.solution.span, "{misfit} {}", problem.solution.span);
    // A feature that is not periodic would jump between the last part and the first.
    let (first, last) = (features.of(0), features.of(199 * 3));
    assert!(first.iter().zip(last).all(|(a, b)| (a - b).abs() < 0.1));
}

#[test]
fn d_hat_counts_the_errors_of_the_hypothesis_in_force() {
    /// A learner with a wrong hypothesis of constant error.
    struct Wrong(Belief, u64);
    impl Learner for Wrong {
        fn act(&mut self, _: usize) -> usize {
            self.1 = 1;
            0
        }
        fn learn(&mut self, _: usize, _: usize, _: f64, _: usize) {}
        fn updates(&self) -> u64 {
            self.1
        }
        fn belief(&self) -> Option<&Belief> {
            Some(&self.0)
        }
        fn beta(&self) -> f64 {
            2.0
        }
    }
    let (mdp, solution) = river();
    let belief = Belief { q: solution.q.clone(), v: solution.bias.clone(), gain: solution.gain + 0.5 };
    let horizon = 100;
    let trace = walk(&mdp, &solution, &mut Wrong(belief, 0), horizon);
    // |E| = 0.5 at every step: (0.5 T)^2 / (0.25 T (T - 1) / 2 + beta).
    let t = horizon as f64;
    let wanted = 0.25 * t * t / (0.25 * t * (t - 1.0) / 2.0 + 2.0);
    assert!((trace.coefficient.unwrap() - wanted).abs() < 1e-6 * wanted);
    assert_eq!(trace.optimism, Some(1.0));
}

#[test]
fn a_world_is_one_trajectory() {
    let (mdp, _) = river();
    let mut world = TableWorld::new(&mdp);
    let mut rng: Rng = stream().at(0);
    for _ in 0..50 {
        let before = world.state();
        let reward = world.step(&mut rng, 1);
        assert!(mdp.probability(mdp.cell(before, 1), world.state()) > 0.0);
        assert_eq!(reward, mdp.rewards()[mdp.cell(before, 1)]);
    }
}

// The system.

#[test]
fn a_small_run_observes_every_measure_and_draws_every_picture() {
    let config = Config { horizon: 1000, linear_horizon: 1000, ..small() };
    Loop::check(&config).unwrap();
    let mut run = Run::in_memory(1);
    Loop::run(&config, &mut run).unwrap();
    let toml = include_str!("paper.toml");
    let declared: Vec<&str> = toml
        .split("[[measures]]")
        .skip(1)
        .filter_map(|part| part.split("id = \"").nth(1)?.split('"').next())
        .collect();
    let observations = run.observations();
    for measure in &declared {
        assert!(observations.iter().any(|o| o.measure == *measure), "{measure} is never observed");
    }
    assert!(observations.iter().all(|o| declared.contains(&o.measure.as_str())));
    let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "regret-riverswim-6",
        "mean-regret-linmix-5",
        "visits-riverswim-6",
        "confidence-set-riverswim-6",
        "coefficients",
    ] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
    assert_eq!(run.tables().len(), 8);
}

#[test]
fn the_mean_curve_is_that_of_the_seeds_themselves() {
    // What the first seed walks for the second one is what the second one walks.
    let config = Config { environments: vec![Environment::TwoLoop], horizon: 2000, ..small() };
    let observed = |seed: u64, measure: &str, arm: &str| {
        let mut run = Run::in_memory(seed);
        Loop::run(&config, &mut run).unwrap();
        let found = run.observations().into_iter().find(|o| o.measure == measure && o.arm == arm);
        (found.unwrap().value, run)
    };
    let problem = Problem::of(Environment::TwoLoop, &config).unwrap();
    let arm = "tabular-mle-c0.05";
    let method = arms(&config, &problem).into_iter().find(|a| a.name == arm).map(|a| a.method).unwrap();
    let curves: Vec<Vec<f64>> =
        [5, 6].map(|seed| Bench::new(&problem, &config, seed).unwrap().run(method, false).regret).to_vec();
    assert_eq!(observed(5, "regret", arm).0, *curves[0].last().unwrap());
    assert_eq!(observed(6, "regret", arm).0, *curves[1].last().unwrap());
    let grid = learner::time_grid(2000);
    let wanted = exponent(&grid, &statistics::mean_curve(&curves));
    assert!((observed(5, "exponent", arm).0 - wanted).abs() < 1e-12);
}

#[test]
fn wrong_keys_are_refused_by_name() {
    type Edit = fn(&mut Config);
    let cases: [(Edit, &str); 7] = [
        (|c| c.horizon = 10, "horizon: wanted between 1000"),
        (|c| c.delta = 1.0, "delta: wanted a number between 0 and 1"),
        (|c| c.constants = vec![1.0, 1.0], "constants: wanted one or more numbers above 0"),
        (|c| c.constants = vec![-0.1], "constants: wanted one or more numbers above 0"),
        (|c| c.environments.clear(), "environments: wanted one or more"),
        (|c| c.algorithms = vec![Algorithm::Psrl, Algorithm::Psrl], "algorithms: wanted each once"),
        (|c| c.hypotheses = 1, "hypotheses: wanted between 2"),
    ];
    for (edit, wanted) in cases {
        let mut config = Config::default();
        edit(&mut config);
        let error = Loop::check(&config).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let config = Config { algorithms: vec![Algorithm::TabularMle, Algorithm::Psrl], ..small() };
    let problem = Problem::of(Environment::RiverSwim12, &config).unwrap();
    let names: Vec<String> = arms(&config, &problem).into_iter().map(|arm| arm.name).collect();
    assert_eq!(names, ["tabular-mle-c1", "tabular-mle-c0.05", "psrl"]);
    let method = arms(&config, &problem)[2].method;
    assert_eq!(method, Method::Posterior);
}

//! The experiment: problems, learners, and what is observed of them.

use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use serde::{Deserialize, Serialize};

use super::arms::{Arm, Bench, Problem, arms};
use super::config::{Algorithm, Config, Environment};
use super::learner::Trace;
use super::pictures;
use super::statistics::{exponent, fall, logarithmic_fit, of_mean};

/// A learner with its trajectory.
pub(crate) type Told = (Arm, Trace);

/// `d_hat` of LOOP somewhere, beside the dimension there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coefficient {
    /// Problem and learner.
    pub(crate) label: String,
    /// `d_hat`.
    pub(crate) value: f64,
    /// `S A`, or `d`.
    pub(crate) dimension: f64,
}

/// What a problem leaves for comparisons between problems.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Left {
    regrets: Vec<(String, f64)>,
    coefficients: Vec<Coefficient>,
    span: f64,
    dimension: f64,
}

/// Runs everything for one seed.
///
/// # Errors
/// Cancelled, or the disk is full.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    let mut left: Vec<(Environment, Left)> = Vec::new();
    let count = config.environments.len() as f64;
    for (i, &environment) in config.environments.iter().enumerate() {
        // The circle is slow: it has a measure of its own that asks for fewer seeds.
        if environment == Environment::CircleKernel && !run.wanted("kernel_regret") {
            continue;
        }
        run.progress(i as f64 / count, environment.name())?;
        let ends = (i as f64 / count, (i as f64 + 1.0) / count);
        let of = run.part(environment.name(), |run| one_problem(config, environment, ends, run))?;
        left.push((environment, of));
    }
    growth(&left, run);
    if run.is_first_seed() {
        let coefficients: Vec<Coefficient> =
            left.iter().flat_map(|(_, left)| left.coefficients.iter().cloned()).collect();
        if !coefficients.is_empty() {
            run.figure("coefficients", pictures::coefficients(&coefficients))?;
        }
    }
    Ok(())
}

fn one_problem(
    config: &Config,
    environment: Environment,
    (begin, end): (f64, f64),
    run: &mut Run,
) -> Result<Left> {
    let problem = Problem::of(environment, config)?;
    let bench = Bench::new(&problem, config, run.seed())?;
    let arms = arms(config, &problem);
    let mut told: Vec<Told> = Vec::new();
    for (k, arm) in arms.into_iter().enumerate() {
        let fraction = begin + (end - begin) * 0.5 * k as f64 / 20.0_f64.max(k as f64 + 1.0);
        run.progress(fraction, &format!("{}: {}", problem.name, arm.name))?;
        let ranges = run.is_first_seed() && problem.finite && arm.is_loop;
        let trace = run.part(&arm.name, |_| Ok(bench.run(arm.method, ranges)))?;
        observe(run, &problem, &arm, &trace);
        told.push((arm, trace));
    }
    if run.is_first_seed() {
        let exponents = averaged(config, &problem, &told, f64::midpoint(begin, end), run)?;
        once(run, &problem, &bench);
        run.table(table(&problem, &told, &exponents));
        show(run, &problem, &told)?;
    }
    Ok(leftovers(&problem, &told))
}

fn at(problem: &Problem) -> Vec<(&'static str, Place)> {
    vec![("environment", Place::from(problem.name.as_str()))]
}

/// Tells what was measured of one trajectory.
pub(crate) fn observe(run: &mut Run, problem: &Problem, arm: &Arm, trace: &Trace) {
    let at = at(problem);
    let bound = 4.0 * problem.mdp.cells() as f64 * libm::log2(problem.horizon as f64);
    // What claims judge on the circle has measures of its own, which ask for fewer seeds.
    let [regret, optimism, coverage] = if problem.circle {
        ["kernel_regret", "kernel_optimism_rate", "kernel_coverage_rate"]
    } else {
        ["regret", "optimism_rate", "coverage_rate"]
    };
    let mut values = vec![(regret, Some(trace.total()))];
    values.push(("seed_exponent", Some(exponent(&trace.grid, &trace.regret))));
    if trace.updates() > 0.0 {
        values.push(("switches", Some(trace.updates())));
        values.push(("switch_fit", Some(logarithmic_fit(&trace.grid, &trace.switches))));
        values.push(("switches_over_bound", Some(trace.updates() / bound)));
    }
    values.push((optimism, trace.optimism));
    values.push((coverage, trace.covered.map(f64::from)));
    values.push(("d_hat", trace.coefficient));
    for (measure, value) in values {
        if let Some(value) = value.filter(|_| run.wanted(measure)) {
            run.observe(measure, &arm.name, &at, value);
        }
    }
    if !run.wanted("regret_at") {
        return;
    }
    for (t, regret) in trace.grid.iter().zip(&trace.regret).filter(|(t, _)| is_power_of_ten(**t)) {
        let mut at = at.clone();
        at.push(("t", Place::from(*t as f64)));
        run.observe("regret_at", &arm.name, &at, *regret);
    }
}

fn is_power_of_ten(mut t: u64) -> bool {
    while t >= 10 && t.is_multiple_of(10) {
        t /= 10;
    }
    t == 1
}

/// What does not depend on the learner.
fn once(run: &mut Run, problem: &Problem, bench: &Bench<'_>) {
    let at = at(problem);
    let mut values = vec![
        ("gain", problem.gain),
        ("span", problem.solution.span),
        ("dimension", problem.dimension() as f64),
    ];
    if let Some(features) = &problem.features {
        values.push(("misspecification", features.misspecification(&problem.solution.q)));
    }
    if let Some(class) = bench.class() {
        values.push(("optimistic_share", class.optimistic_share()));
    }
    for (measure, value) in values {
        if run.wanted(measure) {
            run.observe(measure, "", &at, value);
        }
    }
}

/// A learner with the exponent of its mean curve, its 90 % upper bound, and how regret per step falls.
pub(crate) type Averaged = (String, [f64; 3]);

/// Exponents of mean regret curves over `averaged_seeds` seeds, which the first seed walks for all of them: a slope of a mean
/// is not a mean of slopes.
fn averaged(
    config: &Config,
    problem: &Problem,
    told: &[Told],
    fraction: f64,
    run: &mut Run,
) -> Result<Vec<Averaged>> {
    if !(run.wanted("exponent") || run.wanted("regret_fall")) {
        return Ok(Vec::new());
    }
    let seeds = if problem.circle { config.averaged_seeds.min(4) } else { config.averaged_seeds };
    let wanted: Vec<&Told> = told.iter().filter(|(arm, _)| arm.averaged).collect();
    let mut curves: Vec<Vec<Vec<f64>>> = wanted.iter().map(|(_, trace)| vec![trace.regret.clone()]).collect();
    for i in 1..seeds {
        run.progress(fraction, &format!("{}: seed {} of {seeds} for mean curves", problem.name, i + 1))?;
        let more = run.part(&format!("mean-{i}"), |run| {
            let bench = Bench::new(problem, config, run.seed() + i)?;
            Ok(wanted.iter().map(|(arm, _)| bench.run(arm.method, false).regret).collect::<Vec<_>>())
        })?;
        curves.iter_mut().zip(more).for_each(|(curves, curve)| curves.push(curve));
    }
    let at = at(problem);
    let stream = run.stream("bootstrap over seeds");
    let mut shown = Vec::new();
    for ((arm, trace), curves) in wanted.iter().zip(&curves) {
        let (slope, mut slopes) = of_mean(curves, stream, |mean| exponent(&trace.grid, mean));
        let (fallen, falls) = of_mean(curves, stream, |mean| fall(&trace.grid, mean));
        if run.wanted("exponent") {
            run.observe_with("exponent", &arm.name, &at, slope, Spread::Draws(slopes.clone()));
        }
        if run.wanted("regret_fall") {
            run.observe_with("regret_fall", &arm.name, &at, fallen, Spread::Draws(falls));
        }
        slopes.sort_by(f64::total_cmp);
        let upper = slopes[(slopes.len() * 95 / 100).min(slopes.len() - 1)];
        shown.push((arm.name.clone(), [slope, upper, fallen]));
    }
    let means: Vec<(&str, Vec<f64>)> = wanted
        .iter()
        .zip(&curves)
        .map(|((arm, _), curves)| (arm.name.as_str(), super::statistics::mean_curve(curves)))
        .collect();
    if let Some((_, trace)) = wanted.first() {
        let figure = pictures::mean_regret(problem, &trace.grid, &means, seeds);
        run.figure(&format!("mean-regret-{}", problem.name), figure)?;
    }
    Ok(shown)
}

fn rounded(value: f64) -> f64 {
    let scaled = (value * 1e4).round() / 1e4;
    if scaled == 0.0 { 0.0 } else { scaled }
}

/// The learners of one problem, for the report.
pub(crate) fn table(problem: &Problem, told: &[Told], exponents: &[Averaged]) -> Table {
    let columns = [
        "learner",
        "regret",
        "regret / T",
        "switches",
        "optimism",
        "covered",
        "d_hat",
        "exponent",
        "upper 90 %",
        "fall of regret / t",
    ];
    let title = format!("{}, T = {}, first seed", problem.name, problem.horizon);
    let mut table = told.iter().fold(Table::new(title, &columns), |table, (arm, trace)| {
        let number = |value: Option<f64>| value.map_or(Cell::Empty, |v| Cell::from(rounded(v)));
        let mean = exponents.iter().find(|(name, _)| *name == arm.name).map(|(_, figures)| figures);
        table.row(vec![
            arm.name.as_str().into(),
            number(Some(trace.total())),
            number(Some(trace.total() / problem.horizon as f64)),
            number(Some(trace.updates()).filter(|u| *u > 0.0)),
            number(trace.optimism),
            trace.covered.map_or(Cell::Empty, |c| if c { "yes".into() } else { "no".into() }),
            number(trace.coefficient),
            number(mean.map(|m| m[0])),
            number(mean.map(|m| m[1])),
            number(mean.map(|m| m[2])),
        ])
    });
    let kind = if problem.circle { "d of the features" } else { "d, or states times actions" };
    table.note = format!(
        "J* = {:.6}, span {:.4}, dimension {} ({kind}). Exponents and fall are of the mean curve over the averaged seeds.",
        problem.gain,
        problem.solution.span,
        problem.dimension()
    );
    table
}

/// The pictures of one problem.
pub(crate) fn show(run: &mut Run, problem: &Problem, told: &[Told]) -> Result<()> {
    run.figure(&format!("regret-{}", problem.name), pictures::regret(problem, told))?;
    if problem.finite {
        run.figure(&format!("visits-{}", problem.name), pictures::visits(problem, told))?;
        if let Some(figure) = pictures::confidence_sets(problem, told) {
            run.figure(&format!("confidence-set-{}", problem.name), figure)?;
        }
    }
    Ok(())
}

fn leftovers(problem: &Problem, told: &[Told]) -> Left {
    let loops = || told.iter().filter(|(arm, _)| arm.is_loop);
    let dimension = problem.dimension() as f64;
    Left {
        regrets: loops().map(|(arm, trace)| (arm.name.clone(), trace.total())).collect(),
        coefficients: loops()
            .filter_map(|(arm, trace)| {
                let label = format!("{} {}", problem.name, arm.name);
                Some(Coefficient { label, value: trace.coefficient?, dimension })
            })
            .collect(),
        span: problem.solution.span,
        dimension,
    }
}

/// How regret grows with span and dimension.
fn growth(left: &[(Environment, Left)], run: &mut Run) {
    let of = |environment| left.iter().find(|(e, _)| *e == environment).map(|(_, left)| left);
    let pairs = [
        ("riverswim", Environment::RiverSwim6, Environment::RiverSwim12),
        ("linmix", Environment::LinMix5, Environment::LinMix10),
    ];
    for (pair, small, large) in pairs {
        let (Some(small), Some(large)) = (of(small), of(large)) else { continue };
        let factor =
            if pair == "riverswim" { large.span / small.span } else { large.dimension / small.dimension };
        for (name, regret) in &large.regrets {
            let Some((_, other)) = small.regrets.iter().find(|(n, _)| n == name) else { continue };
            let ratio = regret / other.max(1.0);
            let at = [("pair", Place::from(pair))];
            if run.wanted("regret_growth") {
                run.observe("regret_growth", name, &at, ratio);
            }
            if run.wanted("growth_over_bound") {
                run.observe("growth_over_bound", name, &at, ratio / (factor * factor));
            }
        }
    }
}

/// Names the algorithms that a configuration asks for and no problem runs.
pub(crate) fn warn_of_idle(config: &Config, names: &[String], run: &mut Run) {
    let prefix = |algorithm: Algorithm| match algorithm {
        Algorithm::Finite => "finite-c",
        Algorithm::TabularMle => "tabular-mle-c",
        Algorithm::LinearMixture => "linear-mixture-c",
        Algorithm::Linear => "linear-c",
        Algorithm::Plain => "finite-plain",
        Algorithm::Patient => "tabular-mle-patient",
        _ => "",
    };
    for &algorithm in &config.algorithms {
        if !names.iter().any(|name| name.starts_with(prefix(algorithm))) {
            run.warn(format!("{algorithm:?} does not apply to this process and was left out"));
        }
    }
}

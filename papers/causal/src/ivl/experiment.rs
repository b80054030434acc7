//! The experiment: simulation, optical device, coloured digits, Card's data.

use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_stats::Covariance;
use serde::{Deserialize, Serialize};

use super::card;
use super::config::Config;
use super::curves::{Curve, Gathered, mean_with_interval};
use super::digit_task;
use super::methods::{Estimates, RANKED, RIDGED, all_arms, paper_arms, rank_of_first};
use super::optical::{self, Averaged, Experiment};
use super::pictures;
use super::sample::normalised_risk;
use super::select::{Selector, alpha_grid};
use super::simulation::{World, equivalence};

/// Scores of the ranked methods on one task, lower is better.
pub(crate) type Scores = Vec<f64>;
/// Data set with Card's men.
pub(crate) const CARD: &str = "close-college";

/// Runs everything for one seed.
///
/// # Errors
/// A fit failed, cancelled, or the disk is full.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    let alphas = alpha_grid(config.alphas);
    let wanted = |run: &Run, measures: &[&str]| measures.iter().any(|m| run.wanted(m));
    let mut tasks: Vec<(&str, Scores)> = Vec::new();
    if wanted(run, &["ncer_simulation", "harm", "alpha_log10", "rank"]) {
        run.progress(0.0, "simulation")?;
        let scores = run.part("simulation", |run| simulated(config, &alphas, run))?;
        tasks.push(("simulation", scores));
    }
    if wanted(run, &["ncer_optical", "ncer_alpha", "u_shape", "alpha_log10", "rank"]) {
        let scores = optical_device(config, &alphas, run)?;
        tasks.push(("optical", scores));
    }
    if wanted(run, &["accuracy", "accuracy_seen", "alpha_log10", "rank"])
        && let Some(scores) = digit_task::digits(config, &alphas, run)?
    {
        tasks.push(("digits", scores));
    }
    // A mean over fewer tasks would be another figure.
    if run.wanted("rank") && tasks.len() == 3 {
        for (task, scores) in &tasks {
            run.observe("rank", RANKED[0], &[("task", Place::from(*task))], rank_of_first(scores));
        }
    }
    if run.wanted("equivalence") {
        equivalences(config, run)?;
    }
    if run.is_first_seed() {
        if run.wanted("sweep") {
            sweeps(config, &alphas, run)?;
        }
        if run.wanted("return_to_schooling") {
            card_data(run)?;
        }
    }
    Ok(())
}

/// Scores of the ranked methods in their order.
pub(crate) fn ranked(score: impl Fn(&str) -> Option<f64>) -> Scores {
    RANKED.iter().filter_map(|name| score(name)).collect()
}

/// The decimal logarithm of each selector's `alpha`.
pub(crate) fn observe_alphas(run: &mut Run, task: &str, chosen: &[(String, f64)]) {
    if !run.wanted("alpha_log10") {
        return;
    }
    for (selector, logarithm) in chosen {
        run.observe("alpha_log10", &format!("ivl-{selector}"), &[("task", Place::from(task))], *logarithm);
    }
}

pub(crate) fn logarithms(of: &Estimates) -> Vec<(String, f64)> {
    of.alphas.iter().map(|(selector, alpha)| (selector.name().to_owned(), libm::log10(*alpha))).collect()
}

// Simulation.

fn simulated(config: &Config, alphas: &[f64], run: &mut Run) -> Result<Scores> {
    let stream = run.stream("simulation");
    let world = World::draw(config.simulation.dimension, stream);
    let rows = world.rows(config.simulation.rows, stream.child(1));
    let mut scores = Scores::new();
    for kappa in [1.0, 0.0] {
        let of = all_arms(&rows.sample(&world, kappa, 1.0), alphas, stream.child(2))?;
        if of.ridged {
            run.warn(RIDGED);
        }
        let risk = |name: &str| of.of(name).map(|h| normalised_risk(h, &world.truth));
        let at = [("kappa", Place::from(kappa))];
        if run.wanted("ncer_simulation") {
            for arm in &of.arms {
                let value = normalised_risk(&arm.coefficients, &world.truth);
                run.observe("ncer_simulation", &arm.name, &at, value);
            }
        }
        if kappa == 0.0 {
            observe_harm(run, &risk);
        } else {
            observe_alphas(run, "simulation", &logarithms(&of));
            scores = ranked(risk);
        }
        if run.is_first_seed() {
            run.table(simulation_table(kappa, &of, &world));
        }
    }
    Ok(scores)
}

/// What a selector costs where nothing is confounded.
fn observe_harm(run: &mut Run, risk: &impl Fn(&str) -> Option<f64>) {
    let Some(erm) = risk("erm").filter(|_| run.wanted("harm")) else { return };
    for selector in Selector::ALL {
        let name = format!("ivl-{}", selector.name());
        if let Some(value) = risk(&name) {
            run.observe("harm", &name, &[("task", Place::from("simulation"))], value - erm);
        }
    }
}

fn simulation_table(kappa: f64, of: &Estimates, world: &World) -> Table {
    let title = format!("Simulation, kappa = {kappa}, gamma = 1, first seed");
    let mut table = Table::new(title, &["method", "nCER", "|h|", "alpha"]);
    for arm in &of.arms {
        let length = arm.coefficients.iter().map(|v| v * v).sum::<f64>().sqrt();
        let selector = of.alphas.iter().find(|(s, _)| arm.name == format!("ivl-{}", s.name()));
        table = table.row(vec![
            arm.name.as_str().into(),
            normalised_risk(&arm.coefficients, &world.truth).into(),
            length.into(),
            selector.map_or(Cell::Empty, |(_, alpha)| Cell::from(*alpha)),
        ]);
    }
    table.note = format!(
        "nCER: 0 the truth, 0.5 a fit that is 0, near 1 pure confounding. The truth has length 1. Estimated share of confounding in \
         DA+ERM: {:.3}.",
        of.share
    );
    table
}

/// The curves of all sweeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sweeps {
    kappa: Vec<Curve>,
    gamma: Vec<Curve>,
    alpha: Vec<Curve>,
}

const SWEPT: [&str; 5] = ["erm", "da-erm", "da-iv", "ivl-1", "ivl-cc"];

fn sweeps(config: &Config, alphas: &[f64], run: &mut Run) -> Result<()> {
    let found = run.part("sweeps", |run| gather_sweeps(config, alphas, run))?;
    for (sweep, curves) in [("kappa", &found.kappa), ("gamma", &found.gamma), ("alpha", &found.alpha)] {
        for curve in curves {
            for (k, x) in curve.x.iter().enumerate() {
                let at = [("sweep", Place::from(sweep)), ("value", Place::from(*x))];
                let spread = Spread::Interval([curve.low[k], curve.high[k]]);
                run.observe_with("sweep", &curve.arm, &at, curve.mean[k], spread);
            }
        }
    }
    run.figure("sweeps", pictures::sweeps(&found.kappa, &found.gamma))?;
    let end = |curves: &[Curve], arm: &str| {
        let of = |c: &Curve| c.x.iter().position(|x| *x == 1.0).map(|k| c.mean[k]);
        curves.iter().find(|c| c.arm == arm).and_then(of).unwrap_or(f64::NAN)
    };
    if let Some(curve) = found.alpha.first() {
        let (zero, infinity) = (end(&found.gamma, "da-iv"), end(&found.gamma, "da-erm"));
        run.figure(
            "alpha-simulation",
            pictures::alpha_sweep("alpha in the simulation", curve, zero, infinity),
        )?;
    }
    Ok(())
}

fn gather_sweeps(config: &Config, alphas: &[f64], run: &mut Run) -> Result<Sweeps> {
    let of = &config.simulation;
    let stream = run.stream("sweeps");
    let (mut kappa, mut gamma) = (Gathered::new(&of.kappas), Gathered::new(&of.gammas));
    let mut alpha = Gathered::new(alphas);
    for repeat in 0..of.repeats {
        run.progress(0.5 + 0.5 * repeat as f64 / of.repeats as f64, "sweeps of the simulation")?;
        let own = stream.child(repeat);
        let world = World::draw(of.dimension, own);
        let rows = world.rows(of.rows, own.child(1));
        let fit = |kappa: f64, gamma: f64| {
            // The last place of the grid is alpha = 1, whatever the grid.
            let grid: Vec<f64> = alphas.iter().copied().chain([1.0]).collect();
            paper_arms(&rows.sample(&world, kappa, gamma), &grid, &[Selector::Cc], own.child(2))
        };
        let add = |to: &mut Gathered, place: usize, of: &Estimates| {
            for name in SWEPT {
                let h = if name == "ivl-1" { of.fits.path.last().map(Vec::as_slice) } else { of.of(name) };
                if let Some(h) = h {
                    to.add(place, name, normalised_risk(h, &world.truth));
                }
            }
        };
        for (place, &k) in of.kappas.iter().enumerate() {
            add(&mut kappa, place, &fit(k, 1.0)?);
        }
        for (place, &g) in of.gammas.iter().enumerate() {
            add(&mut gamma, place, &fit(1.0, g)?);
        }
        let path = fit(1.0, 1.0)?.fits.path;
        for (place, h) in path.iter().take(alphas.len()).enumerate() {
            alpha.add(place, "ivl", normalised_risk(h, &world.truth));
        }
    }
    let interval = stream.child(u64::MAX);
    Ok(Sweeps {
        kappa: kappa.curves(interval)?,
        gamma: gamma.curves(interval)?,
        alpha: alpha.curves(interval)?,
    })
}

/// C4: IVL against a stronger augmentation, at kappa = gamma = alpha = 1.
fn equivalences(config: &Config, run: &mut Run) -> Result<()> {
    let stream = run.stream("equivalence");
    let world = World::draw(config.simulation.dimension, stream);
    let (mut rows, mut gaps) = (Vec::new(), Vec::new());
    for &n in &config.simulation.equivalence {
        run.progress(0.4, &format!("IVL against stronger augmentation, {n} rows"))?;
        let gap = run.part(&format!("equivalence-{n}"), |_| {
            Ok(equivalence(&world, n, 1.0, 1.0, 1.0, stream.child(n as u64)))
        })?;
        run.observe("equivalence", "ivl", &[("n", Place::from(n as f64))], gap);
        rows.push(n as f64);
        gaps.push(gap);
    }
    if run.is_first_seed() && !rows.is_empty() {
        run.figure("equivalence", pictures::equivalence(&rows, &gaps))?;
    }
    Ok(())
}

// The optical device.

/// nCER of one experiment: every method, and the path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    arms: Vec<(String, f64)>,
    path: Vec<f64>,
    alphas: Vec<(String, f64)>,
    spread: Vec<f64>,
}

impl Seen {
    fn of(&self, name: &str) -> Option<f64> {
        self.arms.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

fn optical_device(config: &Config, alphas: &[f64], run: &mut Run) -> Result<Scores> {
    let mut experiments = optical::experiments()?;
    if config.optical.experiments > 0 {
        experiments.truncate(config.optical.experiments);
    }
    let mut seen = Vec::new();
    for (k, of) in experiments.iter().enumerate() {
        let fraction = 0.05 + 0.2 * k as f64 / experiments.len() as f64;
        run.progress(fraction, &format!("optical device, experiment {}", of.number))?;
        let stream = run.stream("optical").child(u64::from(of.number));
        let fits = run.part(&format!("optical-{}", of.number), |run| {
            let fits = optical::averaged(of, alphas, config.optical.redraws, stream)?;
            if k == 0 && run.is_first_seed() {
                run.figure("coefficients", pictures::coefficients(of, &fits))?;
            }
            Ok(of_experiment(of, &fits))
        })?;
        if run.wanted("ncer_optical") {
            let at = [("experiment", Place::from(f64::from(of.number)))];
            for (name, value) in &fits.arms {
                run.observe("ncer_optical", name, &at, *value);
            }
        }
        seen.push(fits);
    }
    observe_path(alphas, &seen, run);
    let means = mean_alphas(&seen);
    observe_alphas(run, "optical", &means);
    if run.is_first_seed() {
        show_optical(alphas, &experiments, &seen, run)?;
    }
    let mean = |name: &str| -> Option<f64> {
        let values: Vec<f64> = seen.iter().map(|s| s.of(name)).collect::<Option<_>>()?;
        Some(values.iter().sum::<f64>() / values.len() as f64)
    };
    Ok(ranked(mean))
}

fn of_experiment(of: &Experiment, fits: &Averaged) -> Seen {
    let risk = |h: &[f64]| normalised_risk(h, &of.truth);
    Seen {
        arms: fits.arms.iter().map(|(name, h)| (name.clone(), risk(h))).collect(),
        path: fits.path.iter().map(|h| risk(h)).collect(),
        alphas: fits.alphas.clone(),
        spread: fits.spread.clone(),
    }
}

fn mean_alphas(seen: &[Seen]) -> Vec<(String, f64)> {
    let first = seen.first().map(|s| s.alphas.clone()).unwrap_or_default();
    let mean = |k: usize| seen.iter().map(|s| s.alphas[k].1).sum::<f64>() / seen.len() as f64;
    first.into_iter().enumerate().map(|(k, (name, _))| (name, mean(k))).collect()
}

/// C3: the mean over experiments along alpha, and how far its lowest point lies below both ends.
fn observe_path(alphas: &[f64], seen: &[Seen], run: &mut Run) {
    let count = seen.len() as f64;
    let means: Vec<f64> =
        (0..alphas.len()).map(|k| seen.iter().map(|s| s.path[k]).sum::<f64>() / count).collect();
    if run.wanted("ncer_alpha") {
        for (alpha, mean) in alphas.iter().zip(&means) {
            run.observe("ncer_alpha", "ivl", &[("alpha", Place::from(*alpha))], *mean);
        }
    }
    let end = |name: &str| seen.iter().filter_map(|s| s.of(name)).sum::<f64>() / count;
    if run.wanted("u_shape") {
        let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
        for (arm, name) in [("zero", "da-iv"), ("infinity", "da-erm")] {
            run.observe("u_shape", arm, &[], end(name) - lowest);
        }
    }
}

fn show_optical(alphas: &[f64], experiments: &[Experiment], seen: &[Seen], run: &mut Run) -> Result<()> {
    let stream = run.stream("bootstrap over experiments");
    let names: Vec<String> =
        seen.first().map(|s| s.arms.iter().map(|(n, _)| n.clone()).collect()).unwrap_or_default();
    let values: Vec<Vec<f64>> =
        (0..names.len()).map(|k| seen.iter().map(|s| s.arms[k].1).collect()).collect();
    let shown = names.iter().map(String::as_str);
    let mut columns = vec!["method".to_owned(), "mean".to_owned(), "low".to_owned(), "high".to_owned()];
    columns
        .extend(["drop from DA+ERM", "drop low", "drop high", "spread of h over draws"].map(str::to_owned));
    columns.extend(experiments.iter().map(|e| {
        let mark = if e.pure_confounding { "*" } else { "" };
        format!("{}{mark}", e.number)
    }));
    let heads: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Optical device: nCER, first seed", &heads);
    for (k, name) in shown.enumerate() {
        let [mean, low, high] = mean_with_interval(&values[k], stream)?;
        let spread = seen.iter().map(|s| s.spread[k]).sum::<f64>() / seen.len() as f64;
        let drops: Vec<f64> = seen.iter().map(|s| s.of("da-erm").unwrap_or(f64::NAN) - s.arms[k].1).collect();
        let mut row: Vec<Cell> = vec![name.into(), mean.into(), low.into(), high.into()];
        row.extend(mean_with_interval(&drops, stream)?.map(Cell::from));
        row.push(spread.into());
        row.extend(values[k].iter().map(|v| Cell::from(*v)));
        table = table.row(row);
    }
    table.note = "Mean over experiments, and mean drop of nCER from DA+ERM experiment by experiment, with 95 % bootstrap intervals over them; * pure \
                  confounding. Fits are means over draws of the \
                  augmentation; the spread is the standard deviation of a coefficient over these draws. With noise as the augmentation \
                  alpha to 0 shrinks every coefficient to 0 (nCER 0.5) and not to the truth; what is left of them is sampling noise, \
                  which is not small beside coefficients as small as these."
        .into();
    run.table(table);
    run.figure("methods", pictures::methods(&names, &values))?;
    let mut gathered = Gathered::new(alphas);
    for of in seen {
        of.path.iter().enumerate().for_each(|(place, v)| gathered.add(place, "ivl", *v));
    }
    let end = |name: &str| seen.iter().filter_map(|s| s.of(name)).sum::<f64>() / seen.len() as f64;
    if let Some(curve) = gathered.curves(stream)?.first() {
        let title = "alpha on the optical device";
        run.figure("alpha-optical", pictures::alpha_sweep(title, curve, end("da-iv"), end("da-erm")))?;
    }
    Ok(())
}

// Card's data.

fn card_data(run: &mut Run) -> Result<()> {
    if !run.has_data(CARD) {
        run.warn(format!(
            "Card's data are not here: plain instrumental variables are not shown (ream data fetch {CARD})"
        ));
        return Ok(());
    }
    let card = card::read(&run.data(CARD)?)?;
    let model = card.model()?;
    let position = card.controls.cols();
    let failed = |e: ream_stats::FitError| ream_lab::Error::failed(format!("Card's data: {e}"));
    let kind = Covariance::Hc1;
    let fits = [
        ("ols", model.ols(kind)),
        ("2sls", model.two_stage_least_squares(kind)),
        ("liml", model.liml(kind)),
        ("ivl-1", model.ivl(1.0, kind)),
    ];
    let columns =
        ["estimator", "kappa", "return to a year of schooling", "std. err.", "95 % low", "95 % high", "p"];
    let mut table = Table::new(format!("Card: log wage on schooling, n = {}", card.outcome.len()), &columns);
    for (name, fit) in fits {
        let fit = fit.map_err(failed)?;
        let of = &fit.estimates;
        let interval = of.intervals(0.95).map_err(failed)?[position];
        let spread = Spread::Se(of.standard_errors[position]);
        run.observe_with("return_to_schooling", name, &[], of.coefficients[position], spread);
        table = table.row(vec![
            name.into(),
            fit.kappa.into(),
            interval.value.into(),
            interval.se.into(),
            interval.low.into(),
            interval.high.into(),
            of.p_values[position].into(),
        ]);
    }
    let first = model.first_stage(0, kind).map_err(failed)?;
    table.note = format!(
        "Instrument: a four-year college in the county; controls: {}, intercept; {} rows with a missing value left out. First stage F {:.2} \
         (robust {:.2}). HC1.",
        card::CONTROLS.join(", "),
        card.dropped,
        first.f.statistic,
        first.robust_f.statistic
    );
    run.table(table);
    let path = card::path(&model, position, 21)?;
    run.figure("card", pictures::k_class("Card: from OLS to 2SLS", "return to a year of schooling", &path))
}

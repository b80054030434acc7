//! The experiment: worlds, classes of models, arms, and what is observed of them.

use ream_lab::{Error, Place, Result, Run};
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::arms::{self, CHOSEN, CONTROL, OPTIMUM, UNIFORM_PART, largest_gamma, squarecb};
use super::causes::{Fitted, causes, realizability_gap};
use super::config::Config;
use super::conversions::Classes;
use super::generations::{Generation, Plan, Scene, Size, Trace, best_gamma, run as run_arm};
use super::open_bandit;
use super::oracle::{Class, Recipe};
use super::oscillation::{Oscillation, deviation};
use super::payments::Pay8;
use super::pictures;
use super::policy::Rule;
use super::tables;
use super::world::World;

/// Generations whose mean reward is compared.
pub(crate) const EARLY: usize = 6;

/// What one class of models did in one world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The gamma that generation 0 chose.
    pub(crate) chosen: f64,
    /// The arms, the control first.
    pub(crate) traces: Vec<Trace>,
    /// Mean reward of the best actions in generations `1..=G`.
    pub(crate) optimum: Vec<f64>,
}

impl Told {
    /// An arm.
    pub(crate) fn arm(&self, name: &str) -> Option<&Trace> {
        self.traces.iter().find(|trace| trace.name == name)
    }

    fn control_deviation(&self) -> f64 {
        self.arm(CONTROL).map_or(0.0, |control| deviation(&control.regrets()))
    }
}

pub(crate) fn recipe(config: &Config, class: Class, world: &dyn World) -> Recipe {
    Recipe { l2: config.l2, ..Recipe::new(class, world.actions(), world.crossed()) }
}

fn size(config: &Config) -> Size {
    Size {
        contexts: config.payments,
        generations: config.generations,
        late: config.late,
        holdout: config.holdout,
    }
}

fn failed(e: String) -> Error {
    Error::failed(e)
}

/// Runs everything for one seed, which is one world.
///
/// # Errors
/// Cancelled, data that are not what they should be, or the disk is full.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    let world = Pay8::new(run.seed());
    let scene = Scene::new(&world, size(config), run.stream("payments"));
    let classes = config.classes.len() as f64;
    for (i, &class) in config.classes.iter().enumerate() {
        let ends = (0.7 * i as f64 / classes, 0.7 * (i as f64 + 1.0) / classes);
        let name = class.name();
        let plans =
            [arms::policies(config), if config.remedies { arms::remedies(config) } else { Vec::new() }]
                .concat();
        let told = run.part(name, |run| {
            let told = in_world(config, class, &scene, &plans, (ends, name), run)?;
            observe(run, config, &told, &[("environment", "pay8".into()), ("model", name.into())]);
            Ok(told)
        })?;
        let fitted = run.part(&format!("causes-{name}"), |run| why(config, class, &scene, run))?;
        if run.is_first_seed() {
            let gap = gap(config, class, "pay8", &scene, run)?;
            show(config, class, (told, &fitted, gap), &scene, run)?;
        }
    }
    if config.drift {
        run.progress(0.7, "drifting effects")?;
        run.part("drift", |run| drifting(config, run))?;
    }
    if config.conversion > 0 && run.wanted("conversion_reward") {
        run.progress(0.85, "digits and German Credit as bandits")?;
        conversions(config, run)?;
    }
    if config.off_policy && run.is_first_seed() && run.wanted("policy_value") {
        run.progress(0.95, "Open Bandit")?;
        open_bandit_values(config, run)?;
    }
    Ok(())
}

/// All arms of one class in one world.
fn in_world(
    config: &Config,
    class: Class,
    scene: &Scene<'_>,
    plans: &[Plan],
    ((begin, end), what): ((f64, f64), &str),
    run: &mut Run,
) -> Result<Told> {
    let recipe = recipe(config, class, scene.world);
    let chosen = best_gamma(scene, &recipe, &config.gammas).map_err(failed)?;
    let mut traces = Vec::new();
    for (k, plan) in plans.iter().enumerate() {
        run.progress(
            begin + (end - begin) * k as f64 / plans.len() as f64,
            &format!("{what}: {}", plan.name),
        )?;
        traces.push(run_arm(scene, &recipe, plan).map_err(failed)?);
    }
    if let Some(trace) = traces.iter().find(|trace| trace.name == squarecb(chosen)) {
        traces.push(Trace { name: CHOSEN.to_owned(), ..trace.clone() });
    }
    let optimum = scene.batches[1..].iter().map(super::world::Batch::optimum).collect();
    Ok(Told { chosen, traces, optimum })
}

fn tell(run: &mut Run, measure: &str, arm: &str, at: &[(&str, Place)], value: f64) {
    if run.wanted(measure) {
        run.observe(measure, arm, at, value);
    }
}

/// Tells what was measured of the arms of one world.
fn observe(run: &mut Run, config: &Config, told: &Told, at: &[(&str, Place)]) {
    let last = config.generations;
    let of_u = told.arm(UNIFORM_PART).map(|u| u.mean(1, EARLY, |g| g.played));
    for trace in &told.traces {
        let played = trace.mean(1, EARLY, |g| g.played);
        let mut values = vec![
            ("played_reward", Some(played)),
            ("played_over_u", of_u.map(|u| played - u)),
            ("realised_reward", Some(trace.mean(1, EARLY, |g| g.realised))),
            ("mean_reward", Some(trace.mean(1, last, |g| g.played))),
            ("played_first", trace.generations.first().map(|g| g.played)),
            ("greedy_later", Some(trace.mean(2, last, |g| g.greedy))),
            ("regret", Some(trace.mean(1, last, |g| g.optimum - g.played))),
            ("exploration", Some(trace.mean(1, last, |g| g.exploration))),
        ];
        values.extend(diagnostics(trace, last).map(|(measure, value)| (measure, Some(value))));
        for (measure, value) in values {
            if let Some(value) = value {
                tell(run, measure, &trace.name, at, value);
            }
        }
        for (g, of) in trace.generations.iter().enumerate() {
            let at: Vec<(&str, Place)> =
                at.iter().cloned().chain([("generation", Place::from((g + 1) as f64))]).collect();
            tell(run, "played_at", &trace.name, &at, of.played);
            tell(run, "greedy_at", &trace.name, &at, of.greedy);
        }
        swings(run, told, trace, at);
    }
    let best = told.optimum.iter().take(EARLY).sum::<f64>() / told.optimum.len().clamp(1, EARLY) as f64;
    tell(run, "played_reward", OPTIMUM, at, best);
    tell(run, "chosen_gamma", "", at, told.chosen);
}

/// Diagnostics of the models and their data, means over generations `2..=G`, where the data are those of the
/// arm itself.
fn diagnostics(trace: &Trace, last: usize) -> [(&'static str, f64); 14] {
    let of = |figure: &dyn Fn(&Generation) -> f64| trace.mean(2, last, figure);
    [
        ("log_loss_traffic", of(&|g| g.on_traffic.log_loss)),
        ("auc_traffic", of(&|g| g.on_traffic.auc.unwrap_or(0.5))),
        ("calibration_traffic", of(&|g| g.on_traffic.calibration_error)),
        ("log_loss_uniform", of(&|g| g.on_uniform.log_loss)),
        ("auc_uniform", of(&|g| g.on_uniform.auc.unwrap_or(0.5))),
        ("calibration_uniform", of(&|g| g.on_uniform.calibration_error)),
        ("training_log_loss", of(&|g| g.training_log_loss)),
        ("training_rows", of(&|g| g.data.rows)),
        ("positive_rate", of(&|g| g.data.positive_rate)),
        ("action_entropy", of(&|g| g.data.action_entropy)),
        ("effective_share", of(&|g| g.data.effective_share)),
        ("coverage", of(&|g| g.data.coverage)),
        ("action_shift", of(&|g| g.shifts[0])),
        ("reward_shift", of(&|g| g.shifts[1])),
    ]
}

/// The step from the first model to the second, and swings after it, beside the control.
fn swings(run: &mut Run, told: &Told, trace: &Trace, at: &[(&str, Place)]) {
    let (Some(control), [first, second, ..]) = (told.arm(CONTROL), &trace.generations[..]) else { return };
    let step = second.greedy - first.greedy;
    tell(run, "step", &trace.name, at, step);
    let floor = told.control_deviation();
    if floor > 0.0 {
        tell(run, "step_over_floor", &trace.name, at, step / floor);
        tell(run, "noise_floor", &trace.name, at, floor);
    }
    if let Some(of) = Oscillation::of(&trace.regrets(), &control.regrets()) {
        let doubled = f64::from(u8::from(of.amplitude >= 2.0));
        for (measure, value) in [
            ("amplitude", of.amplitude),
            ("amplitude_doubled", doubled),
            ("reversals", of.reversals),
            ("flip_rate", of.flip_rate),
            ("lag_one", of.lag_one),
        ] {
            tell(run, measure, &trace.name, at, value);
        }
    }
}

/// Data and refits behind the step from the first model to the second.
fn why(config: &Config, class: Class, scene: &Scene<'_>, run: &mut Run) -> Result<Vec<Fitted>> {
    let recipe = recipe(config, class, scene.world);
    let fitted = causes(scene, &recipe, largest_gamma(config), run.stream("causes")).map_err(failed)?;
    let at = [("environment", Place::from("pay8")), ("model", Place::from(class.name()))];
    let [zero, one, ..] = &fitted[..] else { return Ok(fitted) };
    let arm = squarecb(largest_gamma(config));
    for (measure, value) in [
        ("best_share_change", one.best_share - zero.best_share),
        ("training_log_loss_change", one.training_log_loss - zero.training_log_loss),
        ("positive_rate_change", one.data.positive_rate - zero.data.positive_rate),
        ("coverage_change", one.data.coverage - zero.data.coverage),
    ] {
        tell(run, measure, &arm, &at, value);
    }
    for of in &fitted {
        tell(run, "refit_greedy", &of.name, &at, of.greedy);
        tell(run, "refit_rows", &of.name, &at, of.data.rows);
        tell(run, "refit_positive_rate", &of.name, &at, of.data.positive_rate);
        tell(run, "refit_coverage", &of.name, &at, of.data.coverage);
    }
    Ok(fitted)
}

/// How far a class of models is from the truth of a world.
fn gap(config: &Config, class: Class, environment: &str, scene: &Scene<'_>, run: &mut Run) -> Result<f64> {
    let gap = run.part(&format!("realizability-{environment}-{}", class.name()), |run| {
        run.progress(0.7, "how far the class is from the truth")?;
        let stream = run.stream("realizability");
        realizability_gap(scene, &recipe(config, class, scene.world), config.realizability, stream)
            .map_err(failed)
    })?;
    let at = [("environment", Place::from(environment)), ("model", Place::from(class.name()))];
    tell(run, "realizability_gap", "", &at, gap);
    Ok(gap)
}

/// Tables and pictures of the first seed: means over the averaged worlds, which it walks for all of them.
fn show(
    config: &Config,
    class: Class,
    (told, fitted, gap): (Told, &[Fitted], f64),
    scene: &Scene<'_>,
    run: &mut Run,
) -> Result<()> {
    let name = class.name();
    let wanted = |plan: &Plan| class == Class::Logistic || arms::is_drawn(config, &plan.name);
    let plans =
        [arms::policies(config), if config.remedies { arms::remedies(config) } else { Vec::new() }].concat();
    let plans: Vec<Plan> = plans.into_iter().filter(wanted).collect();
    let mut worlds = vec![told];
    for i in 1..config.averaged_worlds {
        let what = format!("{name}, world {} of {}", i + 1, config.averaged_worlds);
        let seed = run.seed() + i;
        worlds.push(run.part(&format!("mean-{name}-{i}"), |run| {
            let world = Pay8::new(seed);
            let scene = Scene::new(&world, size(config), Stream::new(seed, "payments"));
            in_world(config, class, &scene, &plans, ((0.7, 0.7), &what), run)
        })?);
    }
    for table in tables::of_worlds(config, class, &worlds, gap) {
        run.table(table);
    }
    run.table(tables::of_causes(class, fitted, gap));
    if let Some(words) = tables::about_swings(config, class, &worlds) {
        run.warn(words);
    }
    let recipe = recipe(config, class, scene.world);
    run.figure(&format!("reward-{name}"), pictures::rewards(config, class, &worlds))?;
    run.figure(&format!("others-{name}"), pictures::other_rewards(config, class, &worlds))?;
    if config.remedies {
        run.figure(&format!("remedies-{name}"), pictures::remedy_rewards(config, class, &worlds))?;
    }
    run.figure(&format!("data-{name}"), pictures::data(config, class, &worlds))?;
    if let Some(figure) = pictures::swings(config, class, &worlds) {
        run.figure(&format!("oscillation-{name}"), figure)?;
    }
    let gaps = first_gaps(config, &recipe, scene).map_err(failed)?;
    run.figure(&format!("best-action-{name}"), pictures::best_action(&config.gammas, class, &gaps))
}

/// Predictions of the first model on the payments of generation 1.
fn first_gaps(_: &Config, recipe: &Recipe, scene: &Scene<'_>) -> Result<Vec<Vec<f64>>, String> {
    let training = super::serving::Training::plain(1);
    let rows = training.rows(std::slice::from_ref(&scene.first));
    let oracle =
        super::oracle::fit(recipe, &rows, &training, Stream::new(0, "unused")).map_err(|e| e.to_string())?;
    Ok(oracle.predict(&scene.batches[1].contexts))
}

/// The same world with effects that drift, logistic model, the arms of the pictures.
fn drifting(config: &Config, run: &mut Run) -> Result<()> {
    let world = Pay8::new(run.seed()).drifting();
    let scene = Scene::new(&world, size(config), run.stream("payments"));
    let plans: Vec<Plan> =
        arms::policies(config).into_iter().filter(|plan| arms::is_drawn(config, &plan.name)).collect();
    let told = in_world(config, Class::Logistic, &scene, &plans, ((0.7, 0.85), "drift"), run)?;
    observe(run, config, &told, &[("environment", "pay8-drift".into()), ("model", "logistic".into())]);
    if run.is_first_seed() {
        let gap = gap(config, Class::Logistic, "pay8-drift", &scene, run)?;
        let title = "pay8 with drifting effects, logistic, first world";
        run.table(tables::of_one_world(title, config.generations, &told, gap));
    }
    Ok(())
}

/// Digits and German Credit as bandits, for the data that are there.
fn conversions(config: &Config, run: &mut Run) -> Result<()> {
    let size = Size {
        contexts: config.conversion,
        holdout: config.conversion,
        generations: config.generations.min(EARLY),
        ..size(config)
    };
    for (name, id) in [("digits", "digits-8x8"), ("german", "german-credit")] {
        if !run.has_data(id) {
            run.warn(format!("{name}: not tested: data not fetched (ream data fetch {id})"));
            continue;
        }
        let file = run.data(id)?;
        let world = if name == "digits" { Classes::digits(&file)? } else { Classes::german(&file)? };
        let scene = Scene::new(&world, size, run.stream(name));
        for &class in &config.classes {
            let told = run.part(&format!("{name}-{}", class.name()), |run| {
                let plans = arms::policies(config);
                let told = in_world(config, class, &scene, &plans, ((0.85, 0.95), name), run)?;
                let at = [("environment", Place::from(name)), ("model", Place::from(class.name()))];
                for trace in &told.traces {
                    tell(run, "conversion_reward", &trace.name, &at, trace.mean(1, EARLY, |g| g.played));
                    tell(run, "conversion_greedy", &trace.name, &at, trace.mean(2, EARLY, |g| g.greedy));
                }
                Ok(told)
            })?;
            if run.is_first_seed() {
                let title = format!("{name} as a bandit, {}, first seed", class.name());
                // The table is drawn from with replacement: more rows than a few times its size tell nothing new.
                let enough = Config { realizability: config.realizability.min(20_000), ..config.clone() };
                let gap = gap(&enough, class, name, &scene, run)?;
                run.table(tables::of_one_world(&title, size.generations, &told, gap));
            }
        }
    }
    Ok(())
}

/// Values of inverse-gap policies from the Open Bandit logs.
fn open_bandit_values(config: &Config, run: &mut Run) -> Result<()> {
    let ids = ["open-bandit-items", "open-bandit-random", "open-bandit-bts"];
    if let Some(id) = ids.into_iter().find(|id| !run.has_data(id)) {
        run.warn(format!("Open Bandit: not tested: data not fetched (ream data fetch {id})"));
        return Ok(());
    }
    let items = open_bandit::items(&run.data(ids[0])?)?;
    let recipe = open_bandit::recipe(items, config.l2);
    let mut rules = vec![("uniform".to_owned(), Rule::Uniform), ("greedy".to_owned(), Rule::Greedy)];
    rules.extend(config.gammas.iter().map(|gamma| (squarecb(*gamma), Rule::Squarecb { gamma: *gamma })));
    for (name, id) in [("random", ids[1]), ("bts", ids[2])] {
        let log = open_bandit::log(&run.data(id)?)?;
        let stream = run.stream("open bandit");
        let values = open_bandit::values(&log, &recipe, &rules, config.bootstrap, stream)?;
        for of in &values {
            let at = [("log", Place::from(name)), ("estimator", Place::from(of.estimator))];
            match (run.wanted("policy_value"), of.value.se > 0.0) {
                (true, true) => {
                    let spread = ream_lab::Spread::Interval([of.interval.low, of.interval.high]);
                    run.observe_with("policy_value", &of.policy, &at, of.value.value, spread);
                }
                (true, false) => run.observe("policy_value", &of.policy, &at, of.value.value),
                (false, _) => {}
            }
        }
        let rows = (log.len(), log.rewards.iter().sum::<f64>());
        let title = format!("Open Bandit, {name} log");
        tables::about_values(&title, &values, rows).into_iter().for_each(|words| run.warn(words));
        run.table(tables::of_values(&title, &values, rows));
        run.figure(&format!("open-bandit-{name}"), pictures::values(name, &values))?;
    }
    Ok(())
}

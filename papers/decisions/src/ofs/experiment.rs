//! The experiment: populations, methods, regimes and sweeps, and what is observed of them.

use rayon::prelude::*;
use ream_lab::{Cell, Place, Result, Run, Table};
use ream_rand::Stream;

use super::config::{Config, Population, RATE, Regime, SERVICE};
use super::environment::{Environment, Limits, Records, Rewards, Scored, Synthetic, grid};
use super::oracle::{Oracle, contraction_ratio, lipschitz};
use super::pictures::{self, Curve};
use super::simulation::{
    DUAL_STEPS, Guarantee, Method, Plan, Summary, TUNING_SEEDS, Trace, simulate, tune_dual_step, variants,
    watch_guarantee,
};

/// A population that is there, with what loops are built from.
pub(crate) struct World {
    /// Which one.
    pub(crate) population: Population,
    /// Its scored records; empty for the synthetic one.
    pub(crate) records: Vec<Scored>,
}

impl World {
    /// The loop on a grid, with the feedback scaled.
    #[must_use]
    pub(crate) fn environment(&self, thresholds: usize, feedback: f64) -> Box<dyn Environment> {
        let kappa = feedback * self.population.feedback();
        if self.population == Population::Synthetic {
            return Box::new(Synthetic::new(thresholds, kappa));
        }
        let rewards = Rewards::with_cost(self.population.cost());
        Box::new(Records::new(&self.records, 2, grid(thresholds), rewards, kappa, RATE))
    }

    fn limits(&self, regime: Regime) -> Limits {
        Limits { gap: self.population.limit(regime), service: SERVICE, capacity: None }
    }
}

/// Everything that one environment's parts need.
struct Bench<'a> {
    config: &'a Config,
    world: &'a World,
    /// How many populations run: a claim over all three is judged only where there are three.
    worlds: f64,
    environment: Box<dyn Environment>,
    step: f64,
}

impl Bench<'_> {
    fn name(&self) -> &'static str {
        self.world.population.name()
    }

    fn plan(&self, regime: Regime) -> Plan {
        plan(self.config, self.world.limits(regime))
    }

    /// The streams of an environment are the same in every part: methods and regimes meet the same applicants.
    fn stream(&self, run: &Run) -> Stream {
        run.stream(self.name())
    }

    fn place(&self, more: &[(&'static str, Place)]) -> Vec<(&'static str, Place)> {
        let mut at =
            vec![("environment", Place::from(self.name())), ("environments", Place::from(self.worlds))];
        at.extend_from_slice(more);
        at
    }
}

fn plan(config: &Config, limits: Limits) -> Plan {
    Plan { rounds: config.rounds, batch: config.batch, delta: config.delta, limits }
}

/// Runs everything for one seed.
///
/// # Errors
/// Cancelled, or the disk is full.
pub(crate) fn run_all(config: &Config, worlds: &[World], run: &mut Run) -> Result<()> {
    let shifts: Vec<[f64; 3]> = worlds.iter().map(|world| oracle_shifts(config, world)).collect();
    let differ_somewhere = shifts.iter().flatten().any(|shift| *shift > 0.0);
    for (i, world) in worlds.iter().enumerate() {
        run.progress(i as f64 / worlds.len() as f64, world.population.name())?;
        let environment = world.environment(config.thresholds, 1.0);
        let mut bench = Bench { config, world, worlds: worlds.len() as f64, environment, step: 0.0 };
        let name = bench.name();
        bench.step = run.part(&format!("tuning-{name}"), |run| Ok(tuned(&bench, run)))?;
        for regime in Regime::ALL {
            run.part(&format!("{name}-{}", regime.name()), |run| compare(&bench, regime, run))?;
        }
        run.progress((i as f64 + 0.5) / worlds.len() as f64, &format!("{name}: feedback and sweeps"))?;
        run.part(&format!("{name}-loop"), |run| {
            feedback(&bench, &shifts[i], differ_somewhere, run);
            Ok(())
        })?;
        if config.sweeps {
            run.part(&format!("{name}-sweeps"), |run| sweeps(&bench, run))?;
        }
        if run.is_first_seed() {
            run.part(&format!("{name}-oracle"), |run| {
                oracles(&bench, run);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn tuned(bench: &Bench<'_>, run: &Run) -> f64 {
    let plan = bench.plan(Regime::Tight);
    let oracle = Oracle::closed_loop(bench.environment.as_ref(), &plan.limits);
    let streams: Vec<Stream> =
        (0..TUNING_SEEDS).map(|i| Stream::new(run.tuning_seed(i), bench.name())).collect();
    tune_dual_step(bench.environment.as_ref(), &plan, &oracle, &streams)
}

/// The methods that are compared. `variants` adds OFS's options and the primal-dual baseline's single steps.
fn methods(config: &Config, step: f64, with_variants: bool) -> Vec<(String, Method)> {
    let mut methods: Vec<(String, Method)> = [
        ("ofs", config.method()),
        ("ucb", Method::Ucb),
        ("epsilon-greedy", Method::EpsilonGreedy(0.05)),
        ("primal-dual", Method::PrimalDual(step)),
        ("safe-ucb", Method::Safe),
        ("thompson", Method::Thompson),
        ("fixed-half", Method::Fixed(0.5)),
        ("oracle", Method::Oracle),
    ]
    .map(|(name, method)| (name.to_owned(), method))
    .to_vec();
    if with_variants {
        methods.extend(DUAL_STEPS.map(|step| (format!("primal-dual-{step}"), Method::PrimalDual(step))));
        methods.extend(variants(config.rounds).into_iter().map(|(name, method)| (name.to_owned(), method)));
    }
    methods
}

fn traces(
    environment: &dyn Environment,
    plan: &Plan,
    oracle: &Oracle,
    methods: &[(String, Method)],
    stream: Stream,
) -> Vec<Trace> {
    methods.par_iter().map(|(_, method)| simulate(environment, plan, method, oracle, stream)).collect()
}

/// All methods in one regime.
fn compare(bench: &Bench<'_>, regime: Regime, run: &mut Run) -> Result<()> {
    let environment = bench.environment.as_ref();
    let plan = bench.plan(regime);
    let oracle = Oracle::closed_loop(environment, &plan.limits);
    let methods = methods(bench.config, bench.step, regime == Regime::Tight);
    let stream = bench.stream(run);
    let traces = traces(environment, &plan, &oracle, &methods, stream);
    let at = bench.place(&[("regime", regime.name().into())]);
    let mut summaries = Vec::new();
    for ((name, _), trace) in methods.iter().zip(&traces) {
        let summary = trace.summary(environment.thresholds(), &oracle);
        observe(run, name, &at, &summary);
        summaries.push((name.as_str(), summary));
    }
    if run.is_first_seed() {
        run.table(methods_table(bench, regime, &oracle, &summaries));
    }
    if regime == Regime::Tight {
        let (_, guarantee) = watch_guarantee(environment, &plan, &oracle, stream);
        observe_guarantee(run, &at, &guarantee);
        if run.is_first_seed() {
            let curves: Vec<Curve<'_>> =
                methods.iter().zip(&traces).take(8).map(|((name, _), trace)| Curve { name, trace }).collect();
            let frozen = Oracle::frozen(environment, &plan.limits);
            let title = pictures::title(bench.world.population);
            run.figure(
                &format!("loop-{}", bench.name()),
                pictures::loop_figure(&title, environment, &plan.limits, &oracle, &frozen, &curves),
            )?;
        }
    }
    Ok(())
}

/// Tells the figures of one method.
pub(crate) fn observe(run: &mut Run, arm: &str, at: &[(&str, Place)], summary: &Summary) {
    let values = [
        ("mean_reward", summary.mean_reward),
        ("violation_total", summary.violation_total),
        ("steady_gap", summary.steady_gap),
        ("steady_violation", summary.steady_violation),
        ("infeasible_share", summary.infeasible_share),
        ("feasible_regret", summary.feasible_regret),
        ("chosen_threshold", summary.threshold),
    ];
    for (measure, value) in values {
        if run.wanted(measure) {
            run.observe(measure, arm, at, value);
        }
    }
}

fn observe_guarantee(run: &mut Run, at: &[(&str, Place)], guarantee: &Guarantee) {
    let values = [
        ("oracle_excluded", guarantee.oracle_excluded),
        ("interval_cover", guarantee.cover),
        ("plays_over_bound", guarantee.plays_over_bound),
    ];
    for (measure, value) in values {
        if run.wanted(measure) {
            run.observe(measure, "ofs", at, value);
        }
    }
}

/// The methods of one environment and regime, for the report.
fn methods_table(bench: &Bench<'_>, regime: Regime, oracle: &Oracle, rows: &[(&str, Summary)]) -> Table {
    let limit = bench.world.population.limit(regime);
    let title = format!("{}, {} limits (eps {limit}), first seed", bench.name(), regime.name());
    let mut table = summary_table(&title, rows);
    let (best, free) = (oracle.arm(), oracle.unconstrained);
    let theta = bench.environment.thresholds();
    table.note = format!(
        "Best feasible steady state: threshold {} with reward {:.4}; best without limits: {} with {:.4}. A method that \
         rests within the limits cannot earn more than the first, one without limits converges to the second. The \
         primal-dual step is {}, chosen on tuning seeds.",
        theta[best],
        oracle.reward(),
        theta[free],
        oracle.steady[free].at.reward,
        bench.step
    );
    table
}

/// A table of summaries.
pub(crate) fn summary_table(title: &str, rows: &[(&str, Summary)]) -> Table {
    let columns = [
        "method",
        "mean reward",
        "V_T",
        "steady gap",
        "steady violation",
        "infeasible",
        "feasible regret",
        "threshold",
    ];
    rows.iter().fold(Table::new(title, &columns), |table, (name, s)| {
        let numbers = [
            s.mean_reward,
            s.violation_total,
            s.steady_gap,
            s.steady_violation,
            s.infeasible_share,
            s.feasible_regret,
            s.threshold,
        ];
        let cells = numbers.map(|v| Cell::from(rounded(v)));
        table.row([vec![Cell::from(*name)], cells.to_vec()].concat())
    })
}

/// Four decimals, for tables.
pub(crate) fn rounded(value: f64) -> f64 {
    let scaled = (value * 1e4).round() / 1e4;
    if scaled == 0.0 { 0.0 } else { scaled }
}

/// Multiples of an environment's own feedback.
const FEEDBACK: [f64; 3] = [0.0, 1.0, 2.0];

/// Distance between the closed-loop and the static oracle's thresholds at each strength of feedback.
fn oracle_shifts(config: &Config, world: &World) -> [f64; 3] {
    let limits = world.limits(Regime::Tight);
    FEEDBACK.map(|feedback| {
        let environment = world.environment(config.thresholds, feedback);
        let theta = environment.thresholds();
        let closed = Oracle::closed_loop(environment.as_ref(), &limits).arm();
        let frozen = Oracle::frozen(environment.as_ref(), &limits).arm();
        (theta[closed] - theta[frozen]).abs()
    })
}

/// What feedback does: OFS and the two oracles without it, with it, and with twice as much.
fn feedback(bench: &Bench<'_>, shifts: &[f64; 3], differ_somewhere: bool, run: &mut Run) {
    let plan = bench.plan(Regime::Tight);
    let stream = bench.stream(run);
    let method = bench.config.method();
    for (feedback, shift) in FEEDBACK.into_iter().zip(shifts) {
        let at = bench.place(&[("feedback", feedback.into())]);
        let environment = bench.world.environment(bench.config.thresholds, feedback);
        let theta = environment.thresholds();
        let closed = Oracle::closed_loop(environment.as_ref(), &plan.limits);
        let frozen = Oracle::frozen(environment.as_ref(), &plan.limits);
        if run.wanted("oracle_shift") {
            run.observe("oracle_shift", "", &at, *shift);
        }
        if !["loop_violation", "loop_threshold", "follow_margin"].iter().any(|measure| run.wanted(measure)) {
            continue;
        }
        let trace = simulate(environment.as_ref(), &plan, &method, &closed, stream);
        let summary = trace.summary(theta, &closed);
        if run.wanted("loop_violation") {
            run.observe("loop_violation", "ofs", &at, summary.violation_total);
        }
        if run.wanted("loop_threshold") {
            run.observe("loop_threshold", "ofs", &at, summary.threshold);
            run.observe("loop_threshold", "oracle", &at, theta[closed.arm()]);
            run.observe("loop_threshold", "static-oracle", &at, theta[frozen.arm()]);
        }
        // Where the oracles agree there is nothing to follow; where they agree everywhere, the claim has nothing.
        if run.wanted("follow_margin") && (*shift > 0.0 || !differ_somewhere) {
            let margin =
                trace.distance_to(theta, theta[frozen.arm()]) - trace.distance_to(theta, theta[closed.arm()]);
            run.observe("follow_margin", "ofs", &at, margin);
        }
    }
}

/// One constant at a time: limit, batch, grid.
fn sweeps(bench: &Bench<'_>, run: &mut Run) -> Result<()> {
    let base = bench.plan(Regime::Tight);
    let k = bench.config.thresholds;
    let mut settings: Vec<(&str, f64, Plan, usize)> = Vec::new();
    for eps in [0.05, 0.1, 0.15, 0.2, 0.25] {
        settings.push(("limit", eps, Plan { limits: Limits { gap: eps, ..base.limits }, ..base }, k));
    }
    for batch in [1, 20, 200] {
        settings.push(("batch", batch as f64, Plan { batch, ..base }, k));
    }
    for thresholds in [11, 41, 101] {
        settings.push(("thresholds", thresholds as f64, base, thresholds));
    }
    let methods: Vec<(String, Method)> = [
        ("ofs", bench.config.method()),
        ("ucb", Method::Ucb),
        ("primal-dual", Method::PrimalDual(bench.step)),
    ]
    .map(|(name, method)| (name.to_owned(), method))
    .to_vec();
    let stream = bench.stream(run);
    for (sweep, value, plan, thresholds) in settings {
        run.progress(0.5, &format!("{}: {sweep} {value}", bench.name()))?;
        if !(run.wanted("sweep_reward") || run.wanted("sweep_violation")) {
            continue;
        }
        let environment = bench.world.environment(thresholds, 1.0);
        let oracle = Oracle::closed_loop(environment.as_ref(), &plan.limits);
        let at = bench.place(&[("sweep", sweep.into()), ("value", value.into())]);
        for ((name, _), trace) in
            methods.iter().zip(traces(environment.as_ref(), &plan, &oracle, &methods, stream))
        {
            let summary = trace.summary(environment.thresholds(), &oracle);
            run.observe("sweep_reward", name, &at, summary.mean_reward);
            run.observe("sweep_violation", name, &at, summary.violation_total);
        }
        if oracle.feasible.is_none() && run.is_first_seed() {
            run.warn(format!(
                "{}, {sweep} {value}: no threshold satisfies the limits; the least violating one is {}",
                bench.name(),
                environment.thresholds()[oracle.least_violating]
            ));
        }
    }
    Ok(())
}

/// What is observed once: the oracles, and how fast the loop contracts.
fn oracles(bench: &Bench<'_>, run: &mut Run) {
    let environment = bench.environment.as_ref();
    let theta = environment.thresholds();
    let columns = ["oracle", "threshold", "reward", "gap", "acceptance", "violation"];
    for regime in Regime::ALL {
        let limits = bench.world.limits(regime);
        let closed = Oracle::closed_loop(environment, &limits);
        let frozen = Oracle::frozen(environment, &limits);
        let at = bench.place(&[("regime", regime.name().into())]);
        let mut table = Table::new(
            format!("{}: oracles under {} limits (eps {})", bench.name(), regime.name(), limits.gap),
            &columns,
        );
        let rows = [
            ("closed-loop", closed.arm()),
            ("static", frozen.arm()),
            ("unconstrained", closed.unconstrained),
        ];
        for (name, arm) in rows {
            let steady = &closed.steady[arm];
            if run.wanted("oracle_threshold") {
                run.observe("oracle_threshold", name, &at, theta[arm]);
            }
            if run.wanted("oracle_reward") {
                run.observe("oracle_reward", name, &at, steady.at.reward);
            }
            let numbers = [theta[arm], steady.at.reward, steady.at.gap, steady.at.accepted, steady.violation];
            table = table
                .row([vec![Cell::from(name)], numbers.map(|v| Cell::from(rounded(v))).to_vec()].concat());
        }
        table.note =
            "Each threshold at its steady state; the static oracle was chosen on the first population."
                .to_owned();
        run.table(table);
    }
    let at = bench.place(&[]);
    let arms = 0..theta.len();
    if run.wanted("lipschitz") {
        let largest = arms.clone().map(|arm| lipschitz(environment, arm)).fold(0.0, f64::max);
        run.observe("lipschitz", "", &at, largest);
    }
    if run.wanted("contraction_ratio") {
        let largest = arms.map(|arm| contraction_ratio(environment, arm, 400)).fold(0.0, f64::max);
        run.observe("contraction_ratio", "", &at, largest);
    }
}

//! The built-in studies: the theorem on finite models, the synthetic study, noisy propensities, IHDP, a growing sample, the NSW trial.

use std::path::PathBuf;

use ream_lab::{Cell, Error, Place, Result, Run, Table};
use ream_stats::{cross_fit, rank};
use serde::{Deserialize, Serialize};

use super::aggregate::order_statistic;
use super::baselines::{manski, sensitivity};
use super::config::Config;
use super::divergence::{ALL, Divergence};
use super::dual::Law;
use super::kernel::Smoother;
use super::learner::{Problem, learn};
use super::marginal::{self, Ends, Rows, aggregate, bootstrap, limits, replicate_errors};
use super::pictures;
use super::propensity::{Propensities, Treatment, cross_fitted};
use super::worlds::{Ihdp, Synthetic, SyntheticRows, Training, divergence_excess};

/// Sensitivity parameters of the marginal sensitivity model.
pub(crate) const GAMMAS: [f64; 3] = [1.5, 2.0, 3.0];
/// Level of coverage that the penalised width asks for, and the penalty.
const WANTED: f64 = 0.95;
const PENALTY: f64 = 10.0;
/// The arm of observations with the loosest interval.
const LOOSEST: &str = "k5";
const K_AGG: &str = "k-agg";

/// Data sets.
pub(crate) const DATA: [&str; 3] = ["ihdp-covariates", "nsw", "cps-comparison"];

pub(crate) fn stats(what: &str) -> impl Fn(ream_stats::StatsError) -> Error + '_ {
    move |e| Error::failed(format!("{what}: {e}"))
}

/// Everything.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    if run.wanted("divergence_excess") {
        theorem(config, run);
    }
    if run.wanted("bound_of_growing_sample") {
        growth(config, run)?;
    }
    if run.wanted("contains_experiment") {
        training(config, run)?;
    }
    if run.wanted("ihdp_coverage") {
        run.progress(0.05, "IHDP")?;
        ihdp(config, run)?;
    }
    if ["coverage", "width_spearman", "penalised_width"].iter().any(|m| run.wanted(m)) {
        synthetic(config, run)?;
    }
    if run.wanted("rmse") {
        noisy(config, run)?;
    }
    Ok(())
}

/// C1: the radius on random finite models.
fn theorem(config: &Config, run: &mut Run) {
    let stream = run.stream("finite models");
    let (mut most, mut gap) = ([f64::NEG_INFINITY; 5], [0.0_f64; 5]);
    for i in 0..config.study.models as u64 {
        let excess = divergence_excess(&mut stream.at(2 * i), false);
        let apart = divergence_excess(&mut stream.at(2 * i + 1), true);
        for j in 0..ALL.len() {
            most[j] = most[j].max(excess[j]).max(apart[j]);
            gap[j] = gap[j].max(apart[j].abs());
        }
    }
    for (j, d) in ALL.into_iter().enumerate() {
        run.observe("divergence_excess", d.slug(), &[], most[j]);
        run.observe("disjoint_gap", d.slug(), &[], gap[j]);
    }
}

/// C6: what happens to the bounds of a normal outcome as rows are added.
fn growth(config: &Config, run: &mut Run) -> Result<()> {
    let e = 0.5;
    let mut table = Table::new(
        "Upper bound of a standard normal outcome at propensity 0.5 as rows are added",
        &["rows", "largest outcome", "Manski, sample range"],
    );
    table.columns.extend(config.divergences.iter().map(|d| d.name().to_owned()));
    let most = config.study.growth.iter().copied().max().unwrap_or(0);
    let mut rng = run.stream("growing sample").at(0);
    let values: Vec<f64> = (0..most).map(|_| rng.normal()).collect();
    for &n in &config.study.growth {
        run.progress(0.02, "a growing sample")?;
        let law = Law::new(&values[..n], None).map_err(stats("a growing sample"))?;
        let (_, high) = law.range();
        let at = [("n", Place::from(n as f64))];
        run.observe("largest_outcome", "", &at, high);
        let mut row: Vec<Cell> =
            vec![(n as u64).into(), high.into(), manski(law.mean(), e, law.range()).1.into()];
        for d in &config.divergences {
            let bound = law.upper(*d, d.radius(e)).map_err(stats("a growing sample"))?.value;
            run.observe("bound_of_growing_sample", d.slug(), &at, bound);
            row.push(bound.into());
        }
        table = table.row(row);
    }
    table.note = "The true law is unbounded, and every one of the five conjugates ends at a finite point: the sample's bound leans on its largest \
                  value and grows with it, slowly and without limit. The bound of the law itself is infinite."
        .to_owned();
    run.table(table);
    run.warn(
        "\"No boundedness assumption\" does not mean a bound without one: all five conjugates end at a finite point, so that every sample bound leans on the \
         largest outcome and grows with it. For an outcome without limits the bound of the law itself is infinite (table: upper bound of a standard normal \
         outcome)",
    );
    Ok(())
}

/// Intervals at points whose truth is known.
struct Judged<'a> {
    truth: &'a [f64],
    e: &'a [f64],
}

/// Coverage, mean width, penalised width.
struct Marks {
    coverage: f64,
    width: f64,
    penalised: f64,
}

impl Judged<'_> {
    fn marks(&self, intervals: &[(f64, f64)]) -> Marks {
        let n = self.truth.len() as f64;
        let inside = intervals.iter().zip(self.truth).filter(|((l, u), t)| l <= *t && *t <= u).count();
        let coverage = inside as f64 / n;
        let width = intervals.iter().map(|(l, u)| u - l).sum::<f64>() / n;
        Marks { coverage, width, penalised: width * (1.0 + PENALTY * (WANTED - coverage).max(0.0)) }
    }

    fn spearman(&self, intervals: &[(f64, f64)]) -> f64 {
        let widths: Vec<f64> = intervals.iter().map(|(l, u)| u - l).collect();
        rank::spearman(&widths, self.e)
    }
}

/// Points, intervals by arm: what the pictures need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ribbon {
    /// Probability of treatment at the points.
    pub(crate) e: Vec<f64>,
    /// Truth.
    pub(crate) truth: Vec<f64>,
    /// Name and intervals.
    pub(crate) arms: Vec<(String, Vec<(f64, f64)>)>,
}

/// Joins the divergences' intervals point by point; how many points are crossed.
fn joined(each: &[Vec<(f64, f64)>], k: Option<usize>) -> (Vec<(f64, f64)>, usize) {
    let points = each.first().map_or(0, Vec::len);
    let mut crossed = 0;
    let joined = (0..points)
        .filter_map(|p| {
            let at: Vec<(f64, f64)> = each.iter().map(|intervals| intervals[p]).collect();
            let found = order_statistic(&at, k)?;
            crossed += usize::from(found.crossed);
            Some((found.lower, found.upper))
        })
        .collect();
    (joined, crossed)
}

/// All arms of a study: every divergence, the loosest, k-agg.
fn all_arms(divergences: &[Divergence], each: Vec<Vec<(f64, f64)>>) -> Vec<(String, Vec<(f64, f64)>)> {
    let loosest = joined(&each, Some(ALL.len())).0;
    let agg = joined(&each, None).0;
    let mut arms: Vec<(String, Vec<(f64, f64)>)> =
        divergences.iter().map(|d| d.slug().to_owned()).zip(each).collect();
    arms.push((LOOSEST.to_owned(), loosest));
    arms.push((K_AGG.to_owned(), agg));
    arms
}

struct SyntheticData {
    rows: SyntheticRows,
    points: SyntheticRows,
    truth: Vec<f64>,
    propensities: Propensities,
}

impl SyntheticData {
    fn new(config: &Config, run: &Run, n: usize) -> Result<Self> {
        let world = Synthetic::default();
        let rows = world.draw(n, run.stream("synthetic rows").child(n as u64));
        let points = world.draw(config.study.points, run.stream("points of the study"));
        let truth = (0..config.study.points).map(|i| world.truth(points.x.row(i))).collect();
        let folds = cross_fit::folds(n, config.folds, run.stream("study folds").child(n as u64))
            .map_err(stats("folds"))?;
        let treatment = Treatment { x: &rows.x, arm: &rows.arm, levels: 2, weights: None };
        let propensities = cross_fitted(&config.model(), &treatment, folds, config.folds, &points.x)?;
        Ok(Self { rows, points, truth, propensities })
    }

    fn problem(&self) -> Problem<'_> {
        Problem { x: &self.rows.x, arm: &self.rows.arm, levels: 2, phi: &self.rows.y, weights: None }
    }
}

/// C2, C3, C5: intervals of `E[Y | do(1), x]` on the synthetic law.
fn synthetic(config: &Config, run: &mut Run) -> Result<()> {
    let mut last = None;
    let sizes = &config.study.sizes;
    for (i, &n) in sizes.iter().enumerate() {
        run.progress(0.1 + 0.4 * i as f64 / sizes.len() as f64, &format!("synthetic study, {n} rows"))?;
        last = Some(run.part(&format!("synthetic-{n}"), |run| one_size(config, run, n))?);
    }
    if run.is_first_seed()
        && let Some(ribbon) = last
    {
        run.figure("ribbon", pictures::ribbon("Synthetic study", "P(A = 1 | x)", &ribbon))?;
        run.figure("widths", pictures::widths("Synthetic study", "P(A = 1 | x)", &ribbon))?;
    }
    Ok(())
}

fn one_size(config: &Config, run: &mut Run, n: usize) -> Result<Ribbon> {
    let data = SyntheticData::new(config, run, n)?;
    let seed = network_seed(run, n);
    let learned = learn(
        &data.problem(),
        &data.propensities,
        &data.points.x,
        &config.divergences,
        config.debiased,
        &config.networks.settings(),
        seed,
    )?;
    let each: Vec<Vec<(f64, f64)>> =
        (0..config.divergences.len()).map(|j| learned.ends(j, 1, &data.propensities.points)).collect();
    let at = [("n", Place::from(n as f64))];
    for (d, (intervals, outside)) in config.divergences.iter().zip(each.iter().zip(&learned.outside)) {
        let swapped = intervals.iter().filter(|(l, u)| l > u).count();
        run.observe("swapped_share", d.slug(), &at, swapped as f64 / intervals.len() as f64);
        run.observe("outside_share", d.slug(), &at, *outside);
    }
    let swapped = joined(&each, None).1;
    run.observe("swapped_share", K_AGG, &at, swapped as f64 / config.study.points as f64);
    let arms = all_arms(&config.divergences, each);
    let judged = Judged { truth: &data.truth, e: &data.points.e };
    for (arm, intervals) in &arms {
        let marks = judged.marks(intervals);
        run.observe("coverage", arm, &at, marks.coverage);
        run.observe("width", arm, &at, marks.width);
        run.observe("penalised_width", arm, &at, marks.penalised);
        let spearman = judged.spearman(intervals);
        if spearman.is_finite() {
            run.observe("width_spearman", arm, &at, spearman);
        }
    }
    baselines(run, &data, &judged, &at)?;
    Ok(Ribbon { e: data.points.e, truth: data.truth, arms })
}

/// The naive mean, Manski's bounds and the marginal sensitivity model, from the treated rows weighted by a kernel.
fn baselines(run: &mut Run, data: &SyntheticData, judged: &Judged<'_>, at: &[(&str, Place)]) -> Result<()> {
    let smoother =
        Smoother::new(&data.rows.x, &data.rows.arm, 1, &data.rows.y, None).map_err(stats("kernel"))?;
    let laws = smoother.laws(&data.points.x).map_err(stats("kernel"))?;
    let e = mean_fold(&data.propensities);
    let squares: f64 = laws.iter().zip(&data.truth).map(|(law, t)| (law.mean() - t) * (law.mean() - t)).sum();
    run.observe("naive_error", "naive", at, (squares / laws.len() as f64).sqrt());
    let mut baselines = vec![(
        "manski-sample-range".to_owned(),
        laws.iter().zip(&e).map(|(law, e)| manski(law.mean(), *e, law.range())).collect::<Vec<_>>(),
    )];
    for gamma in GAMMAS {
        let intervals = laws.iter().zip(&e).map(|(law, e)| sensitivity(law, *e, gamma)).collect();
        baselines.push((format!("gamma-{gamma}"), intervals));
    }
    for (arm, intervals) in &baselines {
        let marks = judged.marks(intervals);
        run.observe("coverage", arm, at, marks.coverage);
        run.observe("width", arm, at, marks.width);
        run.observe("penalised_width", arm, at, marks.penalised);
    }
    Ok(())
}

/// Probability of the second arm at the points, mean over folds.
fn mean_fold(propensities: &Propensities) -> Vec<f64> {
    let folds = propensities.points.len() as f64;
    let points = propensities.points.first().map_or(0, |p| p.len() / 2);
    (0..points).map(|p| propensities.points.iter().map(|fold| fold[2 * p + 1]).sum::<f64>() / folds).collect()
}

fn network_seed(run: &Run, n: usize) -> u64 {
    run.stream("first weights").child(n as u64).at(0).next_u64() >> 1
}

/// RMSE to the oracle of one size at noisy probabilities: by divergence, `[debiased, plain]`.
type NoisyResult = Vec<[f64; 2]>;

const LOSSES: [&str; 2] = ["debiased", "plain"];

/// C4: networks with a noisy propensity against the same networks with the true one.
fn noisy(config: &Config, run: &mut Run) -> Result<()> {
    let sizes = config.study.sizes.clone();
    let mut results: Vec<NoisyResult> = Vec::new();
    for (i, &n) in sizes.iter().enumerate() {
        run.progress(0.5 + 0.5 * i as f64 / sizes.len() as f64, &format!("noisy propensity, {n} rows"))?;
        results.push(run.part(&format!("noisy-{n}"), |run| one_noise(config, run, n))?);
    }
    let logs: Vec<f64> = sizes.iter().map(|n| libm::log(*n as f64)).collect();
    let divergences = &config.study.noise_divergences;
    let curve = |j: usize, loss: usize| -> Vec<f64> { results.iter().map(|r| r[j][loss]).collect() };
    for (j, d) in divergences.iter().enumerate() {
        for (loss, arm) in LOSSES.into_iter().enumerate() {
            let errors: Vec<f64> = curve(j, loss).iter().map(|r| libm::log(*r)).collect();
            if let Some(slope) = slope(&logs, &errors) {
                run.observe("rmse_slope", arm, &[("divergence", Place::from(d.slug()))], slope);
            }
        }
    }
    if run.is_first_seed() {
        let curves: Vec<(Divergence, [Vec<f64>; 2])> =
            divergences.iter().enumerate().map(|(j, d)| (*d, [curve(j, 0), curve(j, 1)])).collect();
        run.figure("rmse", pictures::rmse(&sizes, &curves))?;
    }
    Ok(())
}

fn slope(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < 2 {
        return None;
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let top: f64 = x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum();
    let bottom: f64 = x.iter().map(|a| (a - mx) * (a - mx)).sum();
    let slope = top / bottom;
    slope.is_finite().then_some(slope)
}

fn one_noise(config: &Config, run: &mut Run, n: usize) -> Result<NoisyResult> {
    let data = SyntheticData::new(config, run, n)?;
    let divergences = &config.study.noise_divergences;
    // Mean and deviation n^(-1/4): what a slow learner of the propensity may be off by.
    let size = libm::pow(n as f64, -0.25);
    let mut rng = run.stream("noise of the propensity").at(n as u64);
    let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| size * (1.0 + rng.normal())).collect() };
    let (row_noise, point_noise) = (draw(n), draw(config.study.points));
    let noisy = data.propensities.changed(|i, p| p + row_noise[i], |i, p| p + point_noise[i]);
    let truth =
        Propensities::known(data.propensities.folds.clone(), config.folds, &data.rows.e, &data.points.e);
    let settings = config.networks.settings();
    let seed = network_seed(run, n);
    let fit = |propensities: &Propensities, debiased: bool| {
        learn(&data.problem(), propensities, &data.points.x, divergences, debiased, &settings, seed)
    };
    run.progress(0.5, &format!("noisy propensity, {n} rows: oracle"))?;
    let oracle = fit(&truth, false)?;
    run.progress(0.5, &format!("noisy propensity, {n} rows: debiased"))?;
    let fits = [fit(&noisy, true)?, fit(&noisy, false)?];
    let judged = Judged { truth: &data.truth, e: &data.points.e };
    let mut result = NoisyResult::new();
    for (j, d) in divergences.iter().enumerate() {
        let wanted = oracle.ends(j, 1, &truth.points);
        let mut errors = [0.0; 2];
        for (loss, learned) in fits.iter().enumerate() {
            for (which, e) in [&noisy.points, &truth.points].into_iter().enumerate() {
                let ends = learned.ends(j, 1, e);
                let error = distance(&ends, &wanted);
                if which == 0 {
                    errors[loss] = error;
                }
                let evaluated = Place::from(["noisy", "true"][which]);
                let at =
                    [("n", Place::from(n as f64)), ("divergence", d.slug().into()), ("evaluated", evaluated)];
                run.observe("rmse", LOSSES[loss], &at, error);
                let marks = judged.marks(&ends);
                run.observe("noisy_penalised_width", LOSSES[loss], &at, marks.penalised);
            }
        }
        result.push(errors);
    }
    Ok(result)
}

/// Root mean squared difference of both ends.
fn distance(a: &[(f64, f64)], b: &[(f64, f64)]) -> f64 {
    let square = |x: f64| x * x;
    let total: f64 = a.iter().zip(b).map(|(a, b)| square(a.0 - b.0) + square(a.1 - b.1)).sum();
    (total / (2 * a.len()) as f64).sqrt()
}

fn data(run: &mut Run, id: &str) -> Option<PathBuf> {
    let path = run.data(id).ok();
    if path.is_none() && run.is_first_seed() {
        run.warn(format!("{id} is not here: what needs it is left out (ream data fetch {id})"));
    }
    path
}

/// C2 on IHDP: kernel weights in every replication, networks in the first few.
fn ihdp(config: &Config, run: &mut Run) -> Result<()> {
    let Some(path) = data(run, DATA[0]) else { return Ok(()) };
    let ihdp = Ihdp::load(&path)?;
    let outcomes = ihdp.outcomes(run.stream("ihdp outcomes"));
    let n = ihdp.arm.len();
    let folds =
        cross_fit::stratified(&ihdp.arm, config.folds, run.stream("ihdp folds")).map_err(stats("folds"))?;
    let treatment = Treatment { x: &ihdp.shown, arm: &ihdp.arm, levels: 2, weights: None };
    let propensities = cross_fitted(&config.model(), &treatment, folds, config.folds, &ihdp.shown)?;
    let e: Vec<f64> = (0..n).map(|i| propensities.rows[2 * i + 1]).collect();
    let judged = Judged { truth: &outcomes.truth, e: &e };
    let smoother = Smoother::new(&ihdp.shown, &ihdp.arm, 1, &outcomes.y, None).map_err(stats("kernel"))?;
    let at = smoother.at(&ihdp.shown, &e, &config.divergences).map_err(stats("kernel"))?;
    let each: Vec<Vec<(f64, f64)>> =
        (0..config.divergences.len()).map(|j| at.iter().map(|p| p.ends[j]).collect()).collect();
    let naive = at.iter().zip(&outcomes.truth).map(|(p, t)| (p.mean - t) * (p.mean - t)).sum::<f64>();
    run.observe("ihdp_naive_error", "naive", &[], (naive / n as f64).sqrt());
    let arms = all_arms(&config.divergences, each);
    for (arm, intervals) in &arms {
        let marks = judged.marks(intervals);
        run.observe("ihdp_coverage", arm, &[], marks.coverage);
        run.observe("ihdp_width", arm, &[], marks.width);
    }
    if run.is_first_seed() {
        let ribbon = Ribbon { e: e.clone(), truth: outcomes.truth.clone(), arms };
        run.figure("ribbon-ihdp", pictures::ribbon("IHDP", "estimated propensity", &ribbon))?;
    }
    if run.wanted("ihdp_network_coverage") {
        let problem = Problem { x: &ihdp.shown, arm: &ihdp.arm, levels: 2, phi: &outcomes.y, weights: None };
        let settings = config.networks.settings();
        let seed = network_seed(run, n);
        let learned = learn(
            &problem,
            &propensities,
            &ihdp.shown,
            &config.divergences,
            config.debiased,
            &settings,
            seed,
        )?;
        let each = (0..config.divergences.len()).map(|j| learned.ends(j, 1, &propensities.points)).collect();
        for (arm, intervals) in all_arms(&config.divergences, each) {
            let marks = judged.marks(&intervals);
            run.observe("ihdp_network_coverage", &arm, &[], marks.coverage);
            run.observe("ihdp_network_width", &arm, &[], marks.width);
        }
    }
    Ok(())
}

/// The trial's treated against the CPS: the interval must hold what the trial found.
fn training(config: &Config, run: &mut Run) -> Result<()> {
    let (Some(trial), Some(comparison)) = (data(run, DATA[1]), data(run, DATA[2])) else { return Ok(()) };
    run.progress(0.03, "NSW and CPS")?;
    let training = Training::load(&trial, &comparison)?;
    let rows = Rows { phi: &training.earnings, arm: &training.arm, levels: 2, weights: None };
    let failed = stats("NSW and CPS");
    let arms = marginal::marginal(&rows, &config.divergences).map_err(&failed)?;
    let contrasts: Vec<Ends> = arms[1].ends.iter().zip(&arms[0].ends).map(|(a, b)| a.minus(b)).collect();
    let again = bootstrap(&rows, &arms, &config.divergences, config.bootstrap, run.stream("nsw bootstrap"))
        .map_err(&failed)?;
    let of = |r: &marginal::Replicate, j: usize| (r[1][j].0 - r[0][j].1, r[1][j].1 - r[0][j].0);
    let mut table = Table::new(
        "Effect of job training on earnings of 1978, US dollars: NSW treated against CPS, no covariates",
        &[
            "interval",
            "lower",
            "se",
            "upper",
            "se",
            "95% low",
            "95% high",
            "bootstrap se lower",
            "bootstrap se upper",
        ],
    );
    let mut shown: Vec<(String, (f64, f64))> = Vec::new();
    for (j, (d, ends)) in config.divergences.iter().zip(&contrasts).enumerate() {
        let errors = replicate_errors(&again.iter().map(|r| of(r, j)).collect::<Vec<_>>());
        table = table.row(row(d.name(), ends, errors).map_err(&failed)?);
        shown.push((d.name().to_owned(), ends.values()));
        run.observe("contains_experiment", d.slug(), &[], contains(ends.values(), training.experiment));
    }
    for (arm, k) in [(LOOSEST, Some(ALL.len())), (K_AGG, None)] {
        let Some((ends, _)) = aggregate(&contrasts, k) else { continue };
        let replicates: Vec<(f64, f64)> = again
            .iter()
            .filter_map(|r| {
                let each: Vec<(f64, f64)> = (0..contrasts.len()).map(|j| of(r, j)).collect();
                order_statistic(&each, k).map(|a| (a.lower, a.upper))
            })
            .collect();
        table = table.row(row(arm, &ends, replicate_errors(&replicates)).map_err(&failed)?);
        shown.push((arm.to_owned(), ends.values()));
        run.observe("contains_experiment", arm, &[], contains(ends.values(), training.experiment));
    }
    let contrast = |one: (f64, f64), zero: (f64, f64)| (one.0 - zero.1, one.1 - zero.0);
    let wide = |a: usize| manski(arms[a].law.mean(), arms[a].e, arms[a].law.range());
    let mut others = vec![(
        "Manski, sample range".to_owned(),
        "manski-sample-range".to_owned(),
        contrast(wide(1), wide(0)),
    )];
    for gamma in GAMMAS {
        let of_arm = |a: usize| sensitivity(&arms[a].law, arms[a].e, gamma);
        others.push((
            format!("sensitivity {gamma}"),
            format!("gamma-{gamma}"),
            contrast(of_arm(1), of_arm(0)),
        ));
    }
    for (name, arm, interval) in others {
        table = table.row(vec![name.clone().into(), interval.0.into(), Cell::Empty, interval.1.into()]);
        run.observe("contains_experiment", &arm, &[], contains(interval, training.experiment));
        shown.push((name, interval));
    }
    let naive = arms[1].law.mean() - arms[0].law.mean();
    table.note = format!(
        "The trial itself found {:.2}; the difference in means of these rows is {naive:.2}. {} of {} rows were treated. {MANSKI_NOTE}",
        training.experiment,
        training.arm.iter().sum::<usize>(),
        training.arm.len()
    );
    run.table(table);
    run.figure(
        "effects",
        pictures::effects(
            "Effect of job training on earnings",
            "US dollars",
            &shown,
            Some(training.experiment),
        ),
    )
}

/// What no reader may take for more than it is.
pub(crate) const MANSKI_NOTE: &str = "Manski's bounds with the sample's range are never wider than a divergence interval: the do-law is e P + (1 - e) R, \
                                      which says more than a ball around P.";

fn contains((low, high): (f64, f64), value: f64) -> f64 {
    f64::from(u8::from(low <= value && value <= high))
}

fn row(name: &str, ends: &Ends, errors: (f64, f64)) -> Result<Vec<Cell>, ream_stats::StatsError> {
    let (lower, upper) = (&ends.lower, &ends.upper);
    let se = |own: f64, again: f64| own.max(again);
    // The larger of both standard errors: the envelope's is too small where the bound leans on the largest outcome.
    let (low, high) =
        limits((lower.value, se(lower.se, errors.0)), (upper.value, se(upper.se, errors.1)), 0.95)?;
    Ok(vec![
        name.into(),
        lower.value.into(),
        lower.se.into(),
        upper.value.into(),
        upper.se.into(),
        low.into(),
        high.into(),
        errors.0.into(),
        errors.1.into(),
    ])
}

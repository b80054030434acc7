//! Estimates on one's own file: one fit, or the mean of fits over draws of the augmentation with a bootstrap around it.

use rayon::prelude::*;
use ream_lab::{Error, Result, Run};
use ream_rand::Stream;
use ream_stats::instrumental::{
    ConfidenceSet, FirstStage, Instrumental, KClassFit, TestStatistic, Variables,
};
use ream_stats::{Covariance, Estimate, FitError, Matrix, bootstrap, linear};

use super::augment::{augment, powers};
use super::card::kappas;
use super::config::{Config, CovarianceKind, Estimator};
use super::own_data::OwnData;
use super::sample::{Fits, Sample};
use super::select::{alpha_grid, choose};

/// Points along kappa in the picture.
const PATH_POINTS: usize = 21;

/// One coefficient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// Estimate, standard error of the sandwich (or classical), interval.
    pub(crate) estimate: Estimate,
    pub(crate) t: f64,
    pub(crate) p: f64,
    /// Standard deviation over draws of the augmentation.
    pub(crate) spread: Option<f64>,
    /// Bootstrap standard error and percentile interval.
    pub(crate) bootstrap: Option<Estimate>,
}

/// What only instruments give.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diagnostics {
    /// For each treatment.
    pub(crate) first_stages: Vec<FirstStage>,
    pub(crate) wu_hausman: Option<TestStatistic>,
    pub(crate) sargan: Option<TestStatistic>,
    pub(crate) hansen: Option<TestStatistic>,
    pub(crate) anderson_rubin: Option<ConfidenceSet>,
    /// Estimators beside each other: name, kappa, each treatment's estimate.
    pub(crate) others: Vec<(String, f64, Vec<Estimate>)>,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) lines: Vec<Line>,
    pub(crate) kappa: f64,
    /// With IVL; the mean over draws.
    pub(crate) alpha: Option<f64>,
    pub(crate) r_squared: f64,
    pub(crate) freedom: f64,
    pub(crate) diagnostics: Diagnostics,
    /// The grid of alpha with the treatments' coefficients (of the first draw).
    pub(crate) path: Vec<(f64, Vec<f64>)>,
    /// kappa, and estimate and ends of the first treatment (of the first draw).
    pub(crate) k_path: Vec<[f64; 4]>,
    /// Largest correlation of a parameter with the outcome, given the controls: its position, and r times root n.
    pub(crate) tilt: Option<(usize, f64)>,
}

/// One draw: the columns of a regression.
struct Draw {
    treatments: Matrix,
    instruments: Option<Matrix>,
}

fn draw(own: &OwnData, stream: Stream) -> Draw {
    if let Some((g, changed)) = &own.own_parameters {
        return Draw { treatments: powers(changed, own.degree), instruments: Some(g.clone()) };
    }
    if own.is_augmented() {
        let (changed, g) = augment(&own.treatments, &own.augmentations, stream);
        return Draw { treatments: powers(&changed, own.degree), instruments: Some(g) };
    }
    Draw { treatments: own.raw(), instruments: own.instruments.clone() }
}

/// Number of instruments, or of parameters that the augmentation draws for a row.
pub(crate) fn parameters(own: &OwnData) -> usize {
    if let Some((g, _)) = &own.own_parameters {
        return g.cols();
    }
    if own.is_augmented() {
        let first = own.treatments.select_rows(&[0]);
        return augment(&first, &own.augmentations, Stream::new(0, "count")).1.cols();
    }
    own.instruments.as_ref().map_or(0, Matrix::cols)
}

fn model<'a>(own: &'a OwnData, of: &'a Draw) -> Result<Option<Instrumental<'a>>> {
    let Some(instruments) = &of.instruments else { return Ok(None) };
    Instrumental::new(Variables {
        outcome: &own.outcome,
        controls: Some(&own.controls),
        treatments: &of.treatments,
        instruments,
    })
    .map(Some)
    .map_err(|e| own.named(&e))
}

fn covariance<'a>(config: &Config, own: &'a OwnData) -> Covariance<'a> {
    match (config.covariance, &own.clusters) {
        (CovarianceKind::Classical, _) => Covariance::Classical,
        (CovarianceKind::Hc0, _) => Covariance::Hc0,
        (CovarianceKind::Hc2, _) => Covariance::Hc2,
        (CovarianceKind::Hc3, _) => Covariance::Hc3,
        (CovarianceKind::Cluster, Some(ids)) => Covariance::Cluster(ids),
        (CovarianceKind::Hc1 | CovarianceKind::Cluster, _) => Covariance::Hc1,
    }
}

/// `[W X]` of a draw.
fn design(own: &OwnData, of: &Draw) -> Matrix {
    let w = own.controls.cols();
    Matrix::from_fn(own.rows(), w + of.treatments.cols(), |i, j| {
        if j < w { own.controls.get(i, j) } else { of.treatments.get(i, j - w) }
    })
}

fn least_squares(own: &OwnData, of: &Draw, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
    let estimates = linear::ols(&design(own, of), &own.outcome, kind)?;
    Ok(KClassFit { kappa: 0.0, estimates })
}

/// The fit of the configured estimator.
fn fit(
    config: &Config,
    own: &OwnData,
    of: &Draw,
    model: Option<&Instrumental<'_>>,
    alpha: Option<f64>,
    kind: Covariance<'_>,
) -> Result<KClassFit> {
    let fitted = match (config.estimator, model) {
        (Estimator::Ols, _) | (_, None) => least_squares(own, of, kind),
        (Estimator::TwoStage, Some(model)) => model.two_stage_least_squares(kind),
        (Estimator::Liml, Some(model)) => model.liml(kind),
        (Estimator::Kclass, Some(model)) => model.k_class(config.kappa.unwrap_or(1.0), kind),
        (Estimator::Ivl, Some(model)) => model.ivl(alpha.unwrap_or(1.0), kind),
        (Estimator::Anchor, Some(model)) => model.anchor(config.gamma.unwrap_or(1.0), kind),
    };
    fitted.map_err(|e| rank_named(own, &e))
}

/// OLS numbers all columns of `[W X]` in one row.
fn rank_named(own: &OwnData, error: &FitError) -> Error {
    if let FitError::RankDeficient { column, .. } = error {
        let names: Vec<&String> = own.control_names.iter().chain(&own.treatment_names).collect();
        let name = names.get(*column).map_or("a column", |n| n.as_str());
        return Error::Input(format!(
            "{}: `{name}` is a linear combination of the other columns, so its coefficient is not determined; leave one of them out",
            own.file
        ));
    }
    own.named(error)
}

/// The fit of the first draw, without a selector: finds errors before anything is started.
pub(crate) fn first_fit(config: &Config, own: &OwnData) -> Result<KClassFit> {
    let of = draw(own, Stream::new(0, "check"));
    let model = model(own, &of)?;
    fit(config, own, &of, model.as_ref(), config.alpha, covariance(config, own))
}

/// What the controls leave of every column.
fn given_controls(own: &OwnData, columns: &Matrix) -> Result<Matrix> {
    let residuals: Vec<Vec<f64>> = (0..columns.cols())
        .map(|j| {
            linear::ols(&own.controls, &columns.column(j), Covariance::Classical)
                .map(|fit| fit.residuals)
                .map_err(|e| own.named(&e))
        })
        .collect::<Result<_>>()?;
    Ok(Matrix::from_fn(columns.rows(), columns.cols(), |i, j| residuals[j][i]))
}

/// The sample that selectors see: everything given the controls.
fn sample(own: &OwnData, of: &Draw) -> Result<Option<Sample>> {
    let Some(g) = &of.instruments else { return Ok(None) };
    let y = Matrix::from_fn(own.rows(), 1, |i, _| own.outcome[i]);
    Ok(Some(Sample::centred(
        &given_controls(own, &own.raw())?,
        &given_controls(own, &of.treatments)?,
        &given_controls(own, g)?,
        &given_controls(own, &y)?.column(0),
    )))
}

fn chosen_alpha(config: &Config, sample: Option<&Sample>, stream: Stream) -> Result<Option<f64>> {
    if config.estimator != Estimator::Ivl {
        return Ok(None);
    }
    if config.alpha.is_some() {
        return Ok(config.alpha);
    }
    let Some(sample) = sample else { return Ok(None) };
    let alphas = alpha_grid(config.alphas);
    let fits = Fits::new(sample, &alphas)?;
    let choice = choose(config.selector, sample, &alphas, (&fits.da_erm, &fits.path), stream)?;
    Ok(Some(alphas[choice.position]))
}

/// Fits, averages, and resamples.
///
/// # Errors
/// A fit failed; cancelled.
pub(crate) fn estimate(config: &Config, own: &OwnData, run: &mut Run) -> Result<Found> {
    let stream = run.stream("own data");
    let redrawn = own.is_augmented() && own.own_parameters.is_none();
    let draws = if redrawn { config.redraws } else { 1 };
    let kind = covariance(config, own);
    let mut fitted: Vec<(KClassFit, Option<f64>)> = Vec::new();
    for r in 0..draws {
        run.progress(0.3 * r as f64 / draws as f64, "fitting")?;
        let of = draw(own, stream.child(r));
        let model = model(own, &of)?;
        let seen = if config.estimator == Estimator::Ivl { sample(own, &of)? } else { None };
        let alpha = chosen_alpha(config, seen.as_ref(), stream.child(r).child(1))?;
        fitted.push((fit(config, own, &of, model.as_ref(), alpha, kind)?, alpha));
    }
    let alpha = mean_alpha(&fitted);
    let mut lines = lines(config, own, &fitted)?;
    if own.is_augmented() {
        run.progress(0.35, "bootstrap")?;
        resample(config, own, alpha, stream.child(u64::MAX), &mut lines)?;
    }
    let of = draw(own, stream.child(0));
    let model = model(own, &of)?;
    let count = fitted.len() as f64;
    Ok(Found {
        kappa: fitted.iter().map(|(f, _)| f.kappa).sum::<f64>() / count,
        r_squared: fitted.iter().map(|(f, _)| f.estimates.r_squared).sum::<f64>() / count,
        freedom: fitted[0].0.estimates.freedom,
        lines,
        alpha,
        diagnostics: match (&model, own.is_augmented()) {
            (Some(model), false) => diagnostics(config, own, model, alpha, kind)?,
            _ => Diagnostics::default(),
        },
        path: alpha_path(config, own, model.as_ref())?,
        k_path: k_path(config, own, model.as_ref(), kind),
        tilt: if own.is_augmented() { tilt(own, &of)? } else { None },
    })
}

/// The geometric mean over draws: alpha is a scale.
fn mean_alpha(fitted: &[(KClassFit, Option<f64>)]) -> Option<f64> {
    let alphas: Vec<f64> = fitted.iter().filter_map(|(_, alpha)| *alpha).collect();
    if alphas.is_empty() {
        return None;
    }
    if let [only] = alphas[..] {
        return Some(only);
    }
    let logs: f64 = alphas.iter().map(|a| libm::log(*a)).sum();
    Some(libm::exp(logs / alphas.len() as f64))
}

fn lines(config: &Config, own: &OwnData, fitted: &[(KClassFit, Option<f64>)]) -> Result<Vec<Line>> {
    let names: Vec<&String> = own.control_names.iter().chain(&own.treatment_names).collect();
    let count = fitted.len() as f64;
    let freedom = fitted[0].0.estimates.freedom;
    names
        .iter()
        .enumerate()
        .map(|(j, name)| {
            let of = |f: &KClassFit| f.estimates.coefficients[j];
            let value = fitted.iter().map(|(f, _)| of(f)).sum::<f64>() / count;
            let variance =
                fitted.iter().map(|(f, _)| f.estimates.covariance.get(j, j).max(0.0)).sum::<f64>() / count;
            let squares: f64 = fitted.iter().map(|(f, _)| (of(f) - value) * (of(f) - value)).sum();
            let bad = |e: ream_stats::StatsError| Error::failed(format!("{name}: {e}"));
            let estimate = Estimate::symmetric(value, variance.sqrt(), freedom, config.level).map_err(bad)?;
            let t = value / estimate.se;
            Ok(Line {
                name: (*name).clone(),
                estimate,
                t,
                p: ream_stats::distribution::t_two_sided(t, freedom).unwrap_or(f64::NAN),
                spread: (fitted.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
                bootstrap: None,
            })
        })
        .collect()
}

/// Percentile intervals over resampled rows (or clusters), each with an augmentation of its own. `alpha` stays as it was chosen.
fn resample(
    config: &Config,
    own: &OwnData,
    alpha: Option<f64>,
    stream: Stream,
    lines: &mut [Line],
) -> Result<()> {
    let units = units(own);
    let replicate = |r: usize| -> Result<Vec<f64>> {
        let mut rng = stream.child(0).at(r as u64);
        let rows: Vec<usize> =
            rng.resample(units.len()).into_iter().flat_map(|u| units[u].iter().copied()).collect();
        let resampled = own.select(&rows);
        let of = draw(&resampled, stream.child(1 + r as u64));
        let model = model(&resampled, &of)?;
        let fitted = fit(config, &resampled, &of, model.as_ref(), alpha, Covariance::Classical)?;
        Ok(fitted.estimates.coefficients)
    };
    let replicates: Vec<Vec<f64>> = (0..config.bootstrap)
        .into_par_iter()
        .map(replicate)
        .collect::<Result<_>>()
        .map_err(|e| Error::failed(format!("a bootstrap sample cannot be fitted: {e}")))?;
    for (j, line) in lines.iter_mut().enumerate() {
        let values: Vec<f64> = replicates.iter().map(|b| b[j]).collect();
        let interval = bootstrap::percentile_of(line.estimate.value, &values, config.level)
            .map_err(|e| Error::failed(format!("the bootstrap of {}: {e}", line.name)))?;
        line.bootstrap = Some(interval);
    }
    Ok(())
}

/// Rows that are resampled together.
fn units(own: &OwnData) -> Vec<Vec<usize>> {
    let Some(ids) = &own.clusters else { return (0..own.rows()).map(|i| vec![i]).collect() };
    let mut units: Vec<Vec<usize>> = vec![Vec::new(); ids.iter().max().map_or(0, |m| m + 1)];
    ids.iter().enumerate().for_each(|(i, &id)| units[id].push(i));
    units
}

fn diagnostics(
    config: &Config,
    own: &OwnData,
    model: &Instrumental<'_>,
    alpha: Option<f64>,
    kind: Covariance<'_>,
) -> Result<Diagnostics> {
    let robust = if matches!(kind, Covariance::Hc2 | Covariance::Hc3) { Covariance::Hc1 } else { kind };
    let (l, k) = (own.instrument_names.len(), own.treatment_names.len());
    let first_stages = (0..k)
        .map(|j| model.first_stage(j, robust).map_err(|e| own.named(&e)))
        .collect::<Result<Vec<_>>>()?;
    let mut of = Diagnostics { first_stages, ..Diagnostics::default() };
    let w = own.controls.cols();
    let mut add = |name: String, fitted: Result<KClassFit, FitError>| -> Result<()> {
        let fitted = fitted.map_err(|e| own.named(&e))?;
        let all = fitted.estimates.intervals(config.level).map_err(|e| own.named(&e))?;
        of.others.push((name, fitted.kappa, all[w..].to_vec()));
        Ok(())
    };
    add("OLS".to_owned(), model.ols(robust))?;
    if let Some(alpha) = alpha {
        add(format!("IVL, alpha = {alpha:.4}"), model.ivl(alpha, robust))?;
    }
    if l < k {
        return Ok(of);
    }
    add("2SLS".to_owned(), model.two_stage_least_squares(robust))?;
    add("LIML".to_owned(), model.liml(robust))?;
    add("Fuller (1)".to_owned(), model.fuller(1.0, robust))?;
    of.wu_hausman = model.wu_hausman().ok();
    if l > k {
        let scores = if matches!(robust, Covariance::Cluster(_)) { robust } else { Covariance::Hc0 };
        of.sargan = model.sargan().ok().map(|o| o.test);
        of.hansen = model.hansen_j(scores).ok().map(|o| o.test);
    }
    let set = if l == 1 { robust } else { Covariance::Classical };
    of.anderson_rubin = if k == 1 { model.anderson_rubin(config.level, set).ok() } else { None };
    Ok(of)
}

fn alpha_path(
    config: &Config,
    own: &OwnData,
    model: Option<&Instrumental<'_>>,
) -> Result<Vec<(f64, Vec<f64>)>> {
    let Some(model) = model else { return Ok(Vec::new()) };
    let alphas = alpha_grid(config.alphas);
    let path = model.ivl_path(&alphas).map_err(|e| own.named(&e))?;
    let w = own.controls.cols();
    Ok(alphas.into_iter().zip(path.into_iter().map(|h| h[w..].to_vec())).collect())
}

/// The first treatment from OLS to 2SLS, as far as there is a fit (with too few instruments not to the end).
fn k_path(
    config: &Config,
    own: &OwnData,
    model: Option<&Instrumental<'_>>,
    kind: Covariance<'_>,
) -> Vec<[f64; 4]> {
    let Some(model) = model else { return Vec::new() };
    let robust = if matches!(kind, Covariance::Hc2 | Covariance::Hc3) { Covariance::Hc1 } else { kind };
    let w = own.controls.cols();
    kappas(PATH_POINTS)
        .into_iter()
        .filter_map(|kappa| {
            let fitted = model.k_class(kappa, robust).ok()?;
            let of = fitted.estimates.intervals(config.level).ok()?[w];
            Some([kappa, of.value, of.low, of.high])
        })
        .collect()
}

/// Parameters must be drawn without regard to the outcome.
fn tilt(own: &OwnData, of: &Draw) -> Result<Option<(usize, f64)>> {
    let Some(sample) = sample(own, of)? else { return Ok(None) };
    let size = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let whole = size(&mut sample.y.iter().copied());
    let strength = |j: usize| {
        let column = sample.g.column(j);
        let along: f64 = column.iter().zip(&sample.y).map(|(g, y)| g * y).sum();
        let own = size(&mut column.iter().copied());
        if own * whole > 0.0 { along / (own * whole) * (own_rows(&sample)).sqrt() } else { 0.0 }
    };
    let all: Vec<f64> = (0..sample.g.cols()).map(strength).collect();
    Ok((0..all.len()).max_by(|&a, &b| all[a].abs().total_cmp(&all[b].abs())).map(|j| (j, all[j])))
}

fn own_rows(sample: &Sample) -> f64 {
    sample.rows() as f64
}

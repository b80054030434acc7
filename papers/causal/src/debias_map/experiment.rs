//! The experiment: maps of households and digits, hundreds of trials on them, and what is observed.

use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::analytic::{self, Law};
use super::card::{Calibration, Card, Method};
use super::config::Config;
use super::pictures;
use super::places::{self, Places};
use super::predictors::Predictor;
use super::summary::{
    self, break_even, coverage, error_ratio, mean_error, pairs, pooled, rmse, slope, triples,
};
use super::trials::{self, MapTrials, Trial};

/// Data set with pictures of digits.
pub(crate) const DIGITS: &str = "mnist-10k";

/// The maps of one kind of places by one predictor.
struct Series {
    places: &'static str,
    predictor: Predictor,
    maps: Vec<MapTrials>,
    /// Calibration sample of the first map.
    shown: Calibration,
}

/// Runs everything.
///
/// # Errors
/// Cancelled, data that cannot be read, fits that fail.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    if !run.is_first_seed() {
        // Every measure pools over the splits, which the first seed walks through.
        return Ok(());
    }
    analytic_cases(config, run)?;
    let households = places::households()?;
    let mut all = Vec::new();
    for (i, &predictor) in config.predictors.iter().enumerate() {
        let from = 0.05 + 0.7 * i as f64 / config.predictors.len() as f64;
        let step = 0.7 / config.predictors.len() as f64;
        all.push(series(config, run, &households, predictor, (from, step))?);
    }
    if run.has_data(DIGITS) {
        let folder = run.data(DIGITS)?;
        let digits = places::digits(&folder, config.digits, run.stream("noise of digits"))?;
        all.push(series(config, run, &digits, config.digits_predictor, (0.75, 0.25))?);
    } else {
        run.warn(format!(
            "the pictures of digits are not here: the second map is left out (ream data fetch {DIGITS})"
        ));
    }
    for series in &all {
        observe(config, run, series);
        show(config, run, series)?;
    }
    run.table(table(&all));
    Ok(())
}

/// What a part keeps of one map.
#[derive(Serialize, Deserialize)]
struct Kept {
    told: MapTrials,
    /// Predictions and truths of the calibration sample, of the first map only.
    shown: (Vec<f64>, Vec<f64>),
}

fn series(
    config: &Config,
    run: &mut Run,
    places: &Places,
    predictor: Predictor,
    (from, step): (f64, f64),
) -> Result<Series> {
    let mut series =
        Series { places: places.name, predictor, maps: Vec::new(), shown: Calibration::default() };
    for r in 0..config.splits {
        let name = format!("{}-{}-{r}", places.name, predictor.name());
        run.progress(from + step * r as f64 / config.splits as f64, &name)?;
        // Splits and treatments are those of all predictors; what is drawn while a map is made is its own.
        let (splits, treatments) = (run.stream("splits"), run.stream("treatments"));
        let making = run.stream(&format!("map {}", predictor.name()));
        let kept = run.part(&name, |_| {
            let split = places.split(splits.child(r));
            let map = trials::map(config, places, &split, predictor, making.child(r))?;
            let told = trials::trials(config, places, &split, &map, treatments.child(r))?;
            let sample = map.calibration;
            let shown = if r == 0 { (sample.predictions, sample.truth) } else { Default::default() };
            Ok(Kept { told, shown })
        })?;
        if r == 0 {
            let (predictions, truth) = kept.shown;
            series.shown = Calibration { predictions, truth, ..Calibration::default() };
        }
        series.maps.push(kept.told);
    }
    Ok(series)
}

fn analytic_cases(config: &Config, run: &mut Run) -> Result<()> {
    if !run.wanted("recovered") {
        return Ok(());
    }
    for law in Law::ALL {
        let stream = run.stream("analytic");
        let shares = analytic::recovered(law, config.analytic, &config.card_settings(), stream)?;
        for (method, share) in shares {
            run.observe("recovered", method.name(), &[("law", Place::from(law.name()))], share);
        }
    }
    Ok(())
}

/// Methods that are judged, and those beside them.
const CORRECTED: [&str; 2] = ["lcc", "tweedie"];

fn observe(config: &Config, run: &mut Run, series: &Series) {
    let at = [("map", Place::from(series.places)), ("predictor", Place::from(series.predictor.name()))];
    let trials: Vec<&[Trial]> = series.maps.iter().map(|m| m.trials.as_slice()).collect();
    let stream = run.stream("draws");
    let mut tell = Teller { run, at: &at, stream };
    let names = ["calibration_slope", "r_squared", "sigma", "forward_slope"];
    for (k, name) in names.into_iter().enumerate() {
        tell.mean_over_maps(name, "", series.maps.iter().map(|m| m.card[k]));
    }
    tell.mean_over_maps("outside_share", "", series.maps.iter().map(|m| m.outside));
    for method in Method::ALL {
        let errors = series.maps.iter().filter_map(|m| m.prediction_error.get(method.name()).copied());
        tell.mean_over_maps("prediction_rmse", method.name(), errors);
    }
    let fixed: Vec<String> = config.bias_penalties.iter().map(|l| format!("fixed-{l}")).collect();
    let arms = Method::ALL.iter().map(|m| m.name().to_owned()).chain(fixed.iter().cloned());
    for arm in arms {
        let found = pairs(&trials, &arm);
        tell.pooled("slope", &arm, &found, slope);
        tell.pooled("rmse", &arm, &found, rmse);
        tell.pooled("absolute_error", &arm, &found, mean_error);
    }
    slope_gap(&mut tell, series, &trials);
    for arm in CORRECTED {
        tell.pooled("error_ratio", arm, &triples(&trials, "naive", arm), error_ratio);
        for (name, penalty) in fixed.iter().zip(&config.bias_penalties) {
            let place = ("penalty", Place::from(*penalty));
            tell.pooled_at("rmse_over_fixed", arm, Some(place), &triples(&trials, arm, name), error_ratio);
        }
    }
    labelled(config, &mut tell, &trials);
    for arm in ["naive", "lcc", "lcc-delta", "tweedie"] {
        let held = coverage(&trials, arm, |_| true);
        tell.pooled("coverage", arm, &held, |held| held.iter().map(|h| h.0).sum::<f64>() / held.len() as f64);
        tell.pooled("width", arm, &held, |held| held.iter().map(|h| h.1).sum::<f64>() / held.len() as f64);
        let reached = |trial: &Trial| trial.covered_population(arm).map(|c| f64::from(u8::from(c)));
        let reached: Vec<Vec<f64>> = trials.iter().map(|t| t.iter().filter_map(reached).collect()).collect();
        tell.pooled("coverage_population", arm, &reached, |c| c.iter().sum::<f64>() / c.len() as f64);
        let large = coverage(&trials, arm, Trial::is_large);
        tell.pooled("coverage_large", arm, &large, |held| {
            held.iter().map(|h| h.0).sum::<f64>() / held.len() as f64
        });
    }
    let confounded: Vec<&[Trial]> = series.maps.iter().map(|m| m.confounded.as_slice()).collect();
    for arm in ["naive", "lcc", "tweedie"] {
        let found = pairs(&confounded, arm);
        tell.pooled("weighted_slope", arm, &found, slope);
        tell.pooled("weighted_rmse", arm, &found, rmse);
    }
    for arm in ["truth", "naive", "lcc", "tweedie"] {
        let effects = series.maps.iter().filter_map(|m| m.input_treatment.get(arm).copied());
        tell.mean_over_maps("input_effect", arm, effects);
    }
    let found = series.maps.iter().filter_map(|m| m.input_treatment.get("t").copied());
    tell.mean_over_maps("input_dependence", "", found);
}

/// C1: how far the naive slope is from the mean of the measured `b`.
fn slope_gap(tell: &mut Teller<'_>, series: &Series, trials: &[&[Trial]]) {
    let b = series.maps.iter().map(|m| m.card[0]).sum::<f64>() / series.maps.len() as f64;
    let (value, draws) = pooled(&pairs(trials, "naive"), tell.stream, slope);
    let draws = draws.into_iter().map(|s| (s - b).abs()).collect();
    tell.observe("slope_gap", "naive", None, (value - b).abs(), draws);
}

/// C4: against prediction-powered inference with fresh labels.
fn labelled(config: &Config, tell: &mut Teller<'_>, trials: &[&[Trial]]) {
    for (kind, measure) in
        [("ppi", "rmse_over_ppi"), ("ppi-tuned", "rmse_over_ppi_tuned"), ("labels", "rmse_over_labels")]
    {
        let mut errors = Vec::new();
        for &count in &config.labels {
            let other = format!("{kind}-{count}");
            let found = pairs(trials, &other);
            if found.iter().all(Vec::is_empty) {
                continue;
            }
            let place = || Some(("labels", Place::from(count as f64)));
            tell.pooled_at("labelled_rmse", kind, place(), &found, rmse);
            let held = coverage(trials, &other, |_| true);
            tell.pooled_at("labelled_coverage", kind, place(), &held, |held| {
                held.iter().map(|h| h.0).sum::<f64>() / held.len() as f64
            });
            errors.push((count, rmse(&found.concat())));
            for arm in CORRECTED {
                tell.pooled_at(measure, arm, place(), &triples(trials, arm, &other), error_ratio);
            }
        }
        for arm in CORRECTED {
            let wanted = rmse(&pairs(trials, arm).concat());
            if let Some(labels) = break_even(&errors, wanted).filter(|l| l.is_finite()) {
                let place = ("rival", Place::from(kind));
                tell.observe("break_even_labels", arm, Some(place), labels, Vec::new());
            }
        }
    }
}

/// Observes at one kind of map.
struct Teller<'a> {
    run: &'a mut Run,
    at: &'a [(&'static str, Place)],
    stream: Stream,
}

impl Teller<'_> {
    fn observe(
        &mut self,
        measure: &str,
        arm: &str,
        more: Option<(&'static str, Place)>,
        value: f64,
        draws: Vec<f64>,
    ) {
        if !self.run.wanted(measure) || !value.is_finite() {
            return;
        }
        let at: Vec<(&str, Place)> = self.at.iter().cloned().chain(more).collect();
        if draws.len() > 1 && draws.iter().all(|d| d.is_finite()) {
            self.run.observe_with(measure, arm, &at, value, Spread::Draws(draws));
        } else {
            self.run.observe(measure, arm, &at, value);
        }
    }

    fn pooled<T: Copy>(&mut self, measure: &str, arm: &str, maps: &[Vec<T>], of: impl Fn(&[T]) -> f64) {
        self.pooled_at(measure, arm, None, maps, of);
    }

    fn pooled_at<T: Copy>(
        &mut self,
        measure: &str,
        arm: &str,
        more: Option<(&'static str, Place)>,
        maps: &[Vec<T>],
        of: impl Fn(&[T]) -> f64,
    ) {
        let maps: Vec<Vec<T>> = maps.iter().filter(|m| !m.is_empty()).cloned().collect();
        if !maps.is_empty() {
            let (value, draws) = pooled(&maps, self.stream, of);
            self.observe(measure, arm, more, value, draws);
        }
    }

    fn mean_over_maps(&mut self, measure: &str, arm: &str, values: impl Iterator<Item = f64>) {
        let each: Vec<Vec<f64>> = values.map(|v| vec![v]).collect();
        self.pooled(measure, arm, &each, |v| v.iter().sum::<f64>() / v.len() as f64);
    }
}

fn show(config: &Config, run: &mut Run, series: &Series) -> Result<()> {
    let name = |what: &str| format!("{what}-{}-{}", series.places, series.predictor.name());
    let title = format!("{} by {}", series.places, series.predictor.name());
    let trials: Vec<&[Trial]> = series.maps.iter().map(|m| m.trials.as_slice()).collect();
    let effects: Vec<(&str, Vec<(f64, f64)>)> = ["naive", "lcc", "tweedie", "ppi-100"]
        .into_iter()
        .map(|arm| (arm, pairs(&trials, arm).concat()))
        .filter(|(_, found)| !found.is_empty())
        .collect();
    run.figure(&name("effects"), pictures::effects(&title, &effects))?;
    let card = Card::new(&series.shown, &config.card_settings())?;
    run.figure(&name("truth"), pictures::scatter(&title, &series.shown, &card))?;
    run.figure(&name("densities"), pictures::densities(&title, &series.shown, &card)?)?;
    run.figure(&name("score"), pictures::score(&title, &series.shown, &card))?;
    let error = |arm: &str| rmse(&pairs(&trials, arm).concat());
    let of = |kind: &str| -> Vec<(f64, f64)> {
        let point = |n: &usize| {
            let found = pairs(&trials, &format!("{kind}-{n}")).concat();
            (!found.is_empty()).then(|| (*n as f64, rmse(&found)))
        };
        config.labels.iter().filter_map(point).collect()
    };
    let rivals = [("ppi", of("ppi")), ("ppi-tuned", of("ppi-tuned")), ("labels", of("labels"))];
    let level = ["naive", "lcc", "tweedie"].map(|arm| (arm, error(arm)));
    if !rivals[0].1.is_empty() {
        run.figure(&name("labels"), pictures::labels(&title, &rivals, &level))?;
    }
    let dependence = series.maps.iter().filter_map(|m| {
        let (t, coefficient) = (m.input_treatment.get("t")?, m.input_treatment.get("coefficient")?);
        Some(super::effects::Independence { coefficient: *coefficient, se: coefficient / t })
    });
    if let Some(test) = dependence.clone().find(|t| t.is_violated()) {
        let count = dependence.filter(|t| t.is_violated()).count();
        run.warn(format!(
            "{title}, {count} of {} maps: {}",
            series.maps.len(),
            super::effects::dependence_warning(trials::INPUT_TREATMENT, test, true)
        ));
    }
    Ok(())
}

/// All arms of all maps.
fn table(all: &[Series]) -> Table {
    let columns = ["map", "predictor", "estimate", "slope", "RMSE", "mean error", "coverage", "width"];
    let mut table = Table::new("Effects on the map against effects on the truth", &columns);
    for series in all {
        let trials: Vec<&[Trial]> = series.maps.iter().map(|m| m.trials.as_slice()).collect();
        let mut arms: Vec<&String> =
            trials.iter().flat_map(|t| t.iter()).flat_map(|t| t.estimates.keys()).collect();
        arms.sort();
        arms.dedup();
        for arm in arms {
            let found = pairs(&trials, arm).concat();
            let held = coverage(&trials, arm, |_| true).concat();
            let mean = |of: fn(&(f64, f64)) -> f64| {
                if held.is_empty() {
                    Cell::Empty
                } else {
                    rounded(held.iter().map(of).sum::<f64>() / held.len() as f64)
                }
            };
            table = table.row(vec![
                series.places.into(),
                series.predictor.name().into(),
                arm.as_str().into(),
                rounded(slope(&found)),
                rounded(rmse(&found)),
                rounded(mean_error(&found)),
                mean(|h| h.0),
                mean(|h| h.1),
            ]);
        }
    }
    let count = all.first().map_or(0, |s| s.maps.iter().map(|m| m.trials.len()).sum());
    table.note = format!(
        "{count} trials on each kind of map. Slope: estimates on true effects. Coverage and width of 95 % intervals: bootstrap for naive, \
         lcc and tweedie, normal for prediction-powered inference (ppi-n: n fresh labels). Draws behind intervals of pooled figures: {}.",
        summary::DRAWS
    );
    table
}

pub(crate) fn rounded(value: f64) -> Cell {
    Cell::from((value * 1e4).round() / 1e4)
}

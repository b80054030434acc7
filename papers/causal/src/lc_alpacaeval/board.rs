//! A whole leaderboard: difficulties, then one fit, rate and standard errors for each model.

use rayon::prelude::*;
use ream_lab::{Result, Table};
use ream_rand::Stream;
use ream_stats::descriptive;

use super::annotations::{Judgements, Pairs};
use super::baselines;
use super::difficulty;
use super::fit::{Design, Fit, Variant, fit};
use super::rate::{Rate, bootstrap, bootstrap_counts, controlled, rate};

/// How to fit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which regression.
    pub variant: Variant,
    /// Strength of the ridge on the length slope.
    pub kappa: f64,
    /// Strength of the ridge on the difficulties.
    pub lambda: f64,
    /// Bootstrap samples; 0 for none.
    pub replications: usize,
    /// Whether the difficulties are fitted again in every bootstrap sample.
    pub refit_difficulty: bool,
    /// Ready difficulties instead of the joint fit.
    pub difficulty: Option<Vec<f64>>,
}

/// One model on the board.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name.
    pub model: String,
    /// Raw win rate and its standard error, percent.
    pub raw: (f64, f64),
    /// Length-normalised and length-balanced win rate, percent.
    pub other: [f64; 2],
    /// Length-controlled win rate.
    pub rate: Rate,
    /// Mean length of its answers.
    pub length: f64,
    /// The fit.
    pub fit: Fit,
    /// Slope of the difficulty.
    pub psi: f64,
}

/// The board, with what a reader must know.
#[derive(Clone, Debug)]
pub struct Board {
    /// Models in the order of the judgements.
    pub lines: Vec<Line>,
    /// Difficulty of every instruction.
    pub gamma: Vec<f64>,
    /// Warnings in words.
    pub warnings: Vec<String>,
}

/// Fits the whole board.
///
/// # Errors
/// A fit cannot be made; `stop` asks to stop.
pub fn board(judgements: &Judgements, settings: &Settings, stream: Stream) -> Result<Board> {
    let pairs: Vec<&Pairs> = judgements.models.iter().collect();
    let gamma = match &settings.difficulty {
        Some(ready) => ready.clone(),
        None if settings.variant == Variant::Minimal => vec![0.0; judgements.instructions.len()],
        None => difficulty::joint(&pairs, judgements.instructions.len(), settings.lambda)?.gamma,
    };
    let centre = slope_centre(&pairs, &gamma, settings)?;
    let counts = bootstrap_counts(judgements.instructions.len(), settings.replications, stream);
    let line = |pairs: &&Pairs| -> Result<Line> {
        let design = Design::new(pairs, &gamma, settings.variant);
        let fitted = fit(&pairs.model, &design, settings.variant, settings.kappa, centre, &[])?;
        let draws = if settings.refit_difficulty {
            Vec::new()
        } else {
            bootstrap(&design, &fitted, &pairs.instruction, &counts)
        };
        Ok(Line {
            model: pairs.model.clone(),
            raw: baselines::raw(pairs),
            other: [baselines::length_normalised(pairs), baselines::length_balanced(pairs)],
            length: descriptive::mean(&pairs.length).unwrap_or(f64::NAN),
            psi: fitted.psi(&design),
            rate: rate(&pairs.model, &design, &fitted, draws)?,
            fit: fitted,
        })
    };
    let mut lines: Vec<Line> = pairs.par_iter().map(line).collect::<Result<_>>()?;
    if settings.refit_difficulty && settings.replications > 0 {
        with_difficulty(judgements, settings, centre, &counts, &mut lines)?;
    }
    let warnings = warnings(judgements, &lines, settings);
    Ok(Board { lines, gamma, warnings })
}

/// The median slope of the unpenalised fits, towards which the ridge draws.
fn slope_centre(pairs: &[&Pairs], gamma: &[f64], settings: &Settings) -> Result<f64> {
    if settings.variant != Variant::RidgePhi {
        return Ok(0.0);
    }
    let slope = |pairs: &&Pairs| -> Result<Option<f64>> {
        let design = Design::new(pairs, gamma, Variant::Noreg);
        let fitted = fit(&pairs.model, &design, Variant::Noreg, 0.0, 0.0, &[])?;
        let varies = design.rows.iter().any(|row| row[0] != 0.0);
        Ok((varies && !fitted.separated).then(|| fitted.phi()))
    };
    let slopes: Vec<Option<f64>> = pairs.par_iter().map(slope).collect::<Result<_>>()?;
    let slopes: Vec<f64> = slopes.into_iter().flatten().collect();
    Ok(descriptive::median(&slopes).unwrap_or(0.0))
}

/// Bootstrap draws with the difficulties fitted again: each sample's drawn instructions stand as instructions of their own.
fn with_difficulty(
    judgements: &Judgements,
    settings: &Settings,
    centre: f64,
    counts: &[Vec<f64>],
    lines: &mut [Line],
) -> Result<()> {
    let sample = |counts: &Vec<f64>| -> Result<Vec<f64>> {
        let resampled: Vec<Pairs> = judgements.models.iter().map(|p| resample(p, counts)).collect();
        let drawn = counts.iter().sum::<f64>() as usize;
        let pairs: Vec<&Pairs> = resampled.iter().collect();
        let gamma = difficulty::joint(&pairs, drawn, settings.lambda)?.gamma;
        let value = |p: &&Pairs| -> Result<f64> {
            let design = Design::new(p, &gamma, settings.variant);
            let fitted = fit(&p.model, &design, settings.variant, settings.kappa, centre, &[])?;
            Ok(controlled(&design.equalised(), &fitted.coefficients, None))
        };
        pairs.iter().map(value).collect()
    };
    let samples: Vec<Vec<f64>> = counts.par_iter().map(sample).collect::<Result<_>>()?;
    for (k, line) in lines.iter_mut().enumerate() {
        line.rate.draws = samples.iter().map(|s| s[k]).collect();
        line.rate.se_bootstrap = descriptive::standard_deviation(&line.rate.draws).unwrap_or(f64::NAN);
    }
    Ok(())
}

fn resample(pairs: &Pairs, counts: &[f64]) -> Pairs {
    // Position of the first copy of each instruction in the sample.
    let mut first = vec![0; counts.len()];
    let mut next = 0;
    for (position, count) in first.iter_mut().zip(counts) {
        *position = next;
        next += *count as usize;
    }
    let mut chosen = Vec::new();
    let mut instruction = Vec::new();
    for (i, x) in pairs.instruction.iter().enumerate() {
        for copy in 0..counts[*x] as usize {
            chosen.push(i);
            instruction.push(first[*x] + copy);
        }
    }
    let pick = |values: &[f64]| chosen.iter().map(|i| values[*i]).collect();
    Pairs {
        model: pairs.model.clone(),
        instruction,
        preference: pick(&pairs.preference),
        delta: pick(&pairs.delta),
        length: pick(&pairs.length),
        mediators: pairs.mediators.iter().map(|m| pick(m)).collect(),
    }
}

/// A slope beyond this is a sign that quality and length cannot be told apart.
const STEEP: f64 = 5.0;

fn warnings(judgements: &Judgements, lines: &[Line], settings: &Settings) -> Vec<String> {
    let mut all = Vec::new();
    if judgements.dropped > 0 {
        all.push(format!("{} rows were left out because a value was missing", judgements.dropped));
    }
    for (line, pairs) in lines.iter().zip(&judgements.models) {
        let (model, raw, value) = (&line.model, line.raw.0, line.rate.value);
        if pairs.delta.iter().all(|d| *d == pairs.delta[0]) && *model != judgements.baseline {
            all.push(format!("{model}: its answers never differ in length from the baseline's by another amount, so there is nothing to correct"));
        }
        if line.fit.separated {
            all.push(format!("{model}: the preferences separate completely; without a penalty its coefficients have no finite value"));
        }
        if line.fit.phi().abs() > STEEP {
            all.push(format!(
                "{model}: a length slope of {:.1}; its answers differ so much in length from the baseline's that quality and length can hardly be told apart",
                line.fit.phi()
            ));
        }
        if (value - raw).abs() > 10.0 && (value - raw).abs() > 0.25 * raw {
            all.push(format!("{model}: extreme change from {raw:.1} to {value:.1} by length control"));
        }
    }
    if settings.variant == Variant::Noreg {
        all.push("unpenalised fit: models whose lengths are far from the baseline's may move without bound; prefer ridge-phi".to_owned());
    }
    all
}

/// The leaderboard as a table, best first.
#[must_use]
pub fn table(title: &str, board: &Board) -> Table {
    let columns = [
        "model",
        "win rate",
        "se",
        "LC win rate",
        "se (a)",
        "se (b)",
        "se (c)",
        "mean length",
        "phi",
        "theta",
        "psi",
        "normalised",
        "balanced",
    ];
    let mut table = Table::new(title, &columns);
    let mut order: Vec<&Line> = board.lines.iter().collect();
    order.sort_by(|a, b| b.rate.value.total_cmp(&a.rate.value));
    for line in order {
        let r = &line.rate;
        let mut row = vec![line.model.as_str().into()];
        let numbers = [
            line.raw.0,
            line.raw.1,
            r.value,
            r.se_predictions,
            r.se_delta,
            r.se_bootstrap,
            line.length,
            line.fit.phi(),
            line.fit.theta(),
            line.psi,
            line.other[0],
            line.other[1],
        ];
        row.extend(numbers.map(|v| {
            if v.is_finite() { ream_lab::Cell::from((v * 1e4).round() / 1e4) } else { ream_lab::Cell::Empty }
        }));
        table = table.row(row);
    }
    table
}

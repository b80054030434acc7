//! A whole leaderboard: difficulties, then one fit, rate and standard errors for each model.

use rayon::prelude::*;
use ream_lab::{Error, Result, Table};
use ream_rand::Stream;
use ream_stats::descriptive;

use super::annotations::{Judgements, Pairs};
use super::baselines;
use super::difficulty;
use super::fit::{Adversarial, Design, Fit, Variant, fit, lasso};
use super::rate::{Rate, against, bootstrap, bootstrap_counts, controlled, elo, rate};

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
/// A fit cannot be made; a model's preferences separate and nothing penalises its coefficients.
pub fn board(judgements: &Judgements, settings: &Settings, stream: Stream) -> Result<Board> {
    let pairs: Vec<&Pairs> = judgements.models.iter().collect();
    let gamma = match &settings.difficulty {
        Some(ready) => ready.clone(),
        None if settings.variant == Variant::Minimal => vec![0.0; judgements.instructions.len()],
        None => difficulty::joint(&pairs, judgements.instructions.len(), settings.lambda)?.gamma,
    };
    let centre = slope_centre(&pairs, &gamma, settings)?;
    let counts = bootstrap_counts(judgements.instructions.len(), settings.replications, stream);
    let designs = designs(&pairs, &judgements.baseline, &gamma, settings.variant);
    let line = |(pairs, design): (&&Pairs, &Design)| -> Result<Line> {
        let fitted = fit(&pairs.model, design, settings.variant, settings.kappa, centre)?;
        if fitted.separated && matches!(settings.variant, Variant::Noreg | Variant::Minimal) {
            return Err(separated(&pairs.model));
        }
        let draws = if settings.refit_difficulty {
            Vec::new()
        } else {
            bootstrap(&pairs.model, design, &fitted, &counts)?
        };
        Ok(Line {
            model: pairs.model.clone(),
            raw: baselines::raw(pairs),
            other: [baselines::length_normalised(pairs), baselines::length_balanced(pairs)],
            length: descriptive::mean(&pairs.length).unwrap_or(f64::NAN),
            psi: fitted.psi(design),
            rate: rate(&pairs.model, design, &fitted, draws)?,
            fit: fitted,
        })
    };
    let mut lines: Vec<Line> = pairs.par_iter().zip(&designs).map(line).collect::<Result<_>>()?;
    if settings.refit_difficulty && settings.replications > 0 {
        with_difficulty(judgements, settings, centre, &counts, &mut lines)?;
    }
    let warnings = warnings(judgements, &lines, settings);
    Ok(Board { lines, gamma, warnings })
}

/// Ending of the names of the baseline that was told to be verbose or concise.
const PROMPTED: [&str; 2] = ["_verbose", "_concise"];

fn is_prompted(model: &str, baseline: &str) -> bool {
    PROMPTED.iter().any(|end| model.strip_suffix(end) == Some(baseline))
}

/// One design for each model. In variant v1 the rows of models named `<baseline>_verbose` and `<baseline>_concise` also
/// stand in everyone else's design.
fn designs(pairs: &[&Pairs], baseline: &str, gamma: &[f64], variant: Variant) -> Vec<Design> {
    let mut designs: Vec<Design> = pairs.iter().map(|p| Design::new(p, gamma, variant)).collect();
    if variant == Variant::V1 {
        let prompted = pairs.iter().zip(&designs).filter(|(p, _)| is_prompted(&p.model, baseline));
        let adversarial: Vec<Adversarial> = prompted.flat_map(|(_, d)| d.as_adversarial()).collect();
        for (design, _) in designs.iter_mut().zip(pairs).filter(|(_, p)| !is_prompted(&p.model, baseline)) {
            design.adversarial.clone_from(&adversarial);
        }
    }
    designs
}

fn separated(model: &str) -> Error {
    Error::failed(format!(
        "{model}: the preferences separate completely, so an unpenalised fit has no finite coefficients; use the variant ridge-phi or v1, or leave the model out"
    ))
}

/// The median slope of the unpenalised fits, towards which the ridge draws.
fn slope_centre(pairs: &[&Pairs], gamma: &[f64], settings: &Settings) -> Result<f64> {
    if settings.variant != Variant::RidgePhi {
        return Ok(0.0);
    }
    let slope = |pairs: &&Pairs| -> Result<Option<f64>> {
        let design = Design::new(pairs, gamma, Variant::Noreg);
        let fitted = fit(&pairs.model, &design, Variant::Noreg, 0.0, 0.0)?;
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
        let designs = designs(&pairs, &judgements.baseline, &gamma, settings.variant);
        let value = |((p, design), line): ((&&Pairs, &Design), &Line)| -> Result<f64> {
            let fitted = match line.fit.lasso {
                0.0 => fit(&p.model, design, settings.variant, settings.kappa, centre)?,
                strength => lasso(&p.model, design, 1.0 / strength)?,
            };
            Ok(controlled(&design.equalised(), &fitted.coefficients, None))
        };
        pairs.iter().zip(&designs).zip(&*lines).map(value).collect()
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
            all.push(format!("{model}: the difference in length is the same on every instruction, so there is nothing to correct; its win rate is the raw one"));
        }
        if line.fit.separated {
            all.push(format!("{model}: the preferences separate completely (it wins or loses everything); its win rate stands, its coefficients and standard errors do not"));
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
    let lines_of_prompted = lines.iter().any(|line| is_prompted(&line.model, &judgements.baseline));
    if settings.variant == Variant::V1 && !lines_of_prompted {
        all.push(format!(
            "v1 leans on judged rows of `{0}_verbose` or `{0}_concise`, and there are none; ridge-phi does without them",
            judgements.baseline
        ));
    }
    if settings.variant == Variant::Noreg {
        all.push("unpenalised fit: models whose lengths are far from the baseline's may move without bound; prefer ridge-phi".to_owned());
    }
    all
}

fn best_first(board: &Board) -> Vec<&Line> {
    let mut order: Vec<&Line> = board.lines.iter().collect();
    order.sort_by(|a, b| b.rate.value.total_cmp(&a.rate.value));
    order
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
        "Elo difference",
        "mean length",
        "phi",
        "theta",
        "psi",
        "normalised",
        "balanced",
    ];
    let mut table = Table::new(title, &columns);
    for line in best_first(board) {
        let r = &line.rate;
        let mut row = vec![line.model.as_str().into()];
        let numbers = [
            line.raw.0,
            line.raw.1,
            r.value,
            r.se_predictions,
            r.se_delta,
            r.se_bootstrap,
            elo(r.value, 0.0),
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

/// Win rates of the best models against each other, row against column, predicted from their fits against the baseline.
#[must_use]
pub fn against_table(board: &Board, best: usize) -> Table {
    let mut order = best_first(board);
    order.truncate(best);
    let mut columns = vec!["model"];
    columns.extend(order.iter().map(|l| l.model.as_str()));
    let mut table = Table::new("Model against model at equal length, percent (no new judgements)", &columns);
    for row in &order {
        let mut cells = vec![row.model.as_str().into()];
        let of = |line: &Line| (line.fit.theta(), line.psi);
        cells.extend(order.iter().map(|column| {
            let rate = against(&board.gamma, of(row), of(column));
            ream_lab::Cell::from((rate * 1e2).round() / 1e2)
        }));
        table = table.row(cells);
    }
    table
}

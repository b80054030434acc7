//! Length-controlled AlpacaEval: a regression that takes the length of answers out of a judge's win rates (Dubois, Galambosi,
//! Liang & Hashimoto, 2024, arXiv 2404.04475).
//!
//! Judges that are language models prefer longer answers. For each model `m` the preference on instruction `x` is explained by
//! its quality, by how much longer its answer is, and by how hard the instruction is,
//!
//! `P(y = 1) = sigma(theta_m + phi_m tanh(delta_x / s_m) + psi_m gamma_x)`,   `delta_x = len_b - len_m`,
//!
//! and the win rate is predicted with the length term set to zero: `LC = 100 mean_x sigma(theta_m + psi_m gamma_x)`. Difficulties
//! `gamma` come from one joint fit of all models. All coefficients are differences to the baseline's, so the baseline against
//! itself has 50 and swapping the roles gives `100 - LC`.
//!
//! | part | what is there |
//! |---|---|
//! | [`annotations`] | judged pairs: built in, the user's own |
//! | [`difficulty`] | the joint fit |
//! | [`fit`] | one model's regression and its variants |
//! | [`rate`] | the win rate, three standard errors, model against model |
//! | [`board`] | a whole leaderboard |
//! | [`baselines`] | raw, length-normalised, length-balanced |
//! | [`leaderboard`] | the published board and people's ratings |
//! | [`simulation`] | a board whose truth is known |

pub mod annotations;
pub mod baselines;
pub mod board;
pub mod difficulty;
pub mod fit;
pub mod leaderboard;
pub mod pictures;
pub mod rate;
pub mod simulation;

use std::path::Path;

use ream_data::alpaca;
use ream_lab::{Invalid, Needs, Place, Preset, Result, Run, Spread, System};
use ream_stats::{descriptive, rank};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use annotations::{Judgements, Pairs, Scale};
use board::{Board, Settings};
use fit::{Design, Variant};

/// What can be set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which regression.
    pub variant: Variant,
    /// Strength of the ridge that draws the length slopes towards their median (variant ridge-phi).
    pub kappa: f64,
    /// Strength of the ridge on the difficulties in the joint fit.
    pub lambda: f64,
    /// Bootstrap samples over instructions.
    pub bootstrap: usize,
    /// Fit the difficulties again in every bootstrap sample.
    pub refit_difficulty: bool,
    /// Use only the first so many models of the built-in table; 0 for all.
    pub models: usize,
    /// The simulated board.
    pub simulation: Simulation,
    /// The baseline to keep, where your own file has several.
    pub baseline: Option<String>,
    /// How preferences are written in your own file.
    pub scale: Scale,
    /// Further columns of your own file to hold equal, as differences model minus baseline.
    pub mediators: Vec<String>,
    /// Ready difficulties: a table with the columns `instruction` and `difficulty`.
    pub difficulty: Option<String>,
}

/// The simulated board.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// Models; each comes in three variants.
    pub models: usize,
    /// Instructions.
    pub instructions: usize,
    /// Concentration of the Beta law of preferences; small is nearly a yes or no.
    pub concentration: f64,
    /// Bootstrap samples.
    pub bootstrap: usize,
}

/// The paper's system.
pub struct LcAlpacaEval;

/// Data set with the published board.
const BOARD: &str = "alpaca-leaderboard";

impl System for LcAlpacaEval {
    const PAPER: &'static str = "lc-alpacaeval";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        let smoke = preset == Preset::Smoke;
        Config {
            variant: Variant::RidgePhi,
            kappa: 10.0,
            lambda: 0.5,
            bootstrap: if smoke { 20 } else { 1000 },
            refit_difficulty: false,
            models: if smoke { 8 } else { 0 },
            simulation: Simulation {
                models: if smoke { 4 } else { 30 },
                instructions: if smoke { 200 } else { 805 },
                concentration: 1.0,
                bootstrap: if smoke { 20 } else { 200 },
            },
            baseline: None,
            scale: Scale::Auto,
            mediators: Vec::new(),
            difficulty: None,
        }
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 2 } else { 40 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        Invalid::unless_in("kappa", config.kappa, 0.0..=1e6)?;
        Invalid::unless_in("lambda", config.lambda, 1e-6..=1e6)?;
        Invalid::unless_in("bootstrap", config.bootstrap, 2..=100_000)?;
        if config.models != 0 {
            Invalid::unless_in("models", config.models, 2..=58)?;
        }
        Invalid::unless_in("simulation.models", config.simulation.models, 2..=500)?;
        Invalid::unless_in("simulation.instructions", config.simulation.instructions, 50..=100_000)?;
        Invalid::unless_in("simulation.concentration", config.simulation.concentration, 1e-3..=1e6)?;
        Invalid::unless_in("simulation.bootstrap", config.simulation.bootstrap, 2..=100_000)
    }

    fn needs(config: &Config) -> Needs {
        let fits =
            (config.simulation.models * 3 * config.simulation.bootstrap * config.simulation.instructions)
                as f64;
        Needs {
            data: vec![BOARD.to_owned()],
            threads: 2,
            memory_mib: 200,
            minutes: fits * 3e-7 / 60.0,
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        let judgements = read(config, file)?;
        own_difficulty(config, &judgements).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => own(config, run, &file),
            None => {
                none_of_own(config)?;
                built_in(config, run)
            }
        }
    }
}

fn settings(config: &Config, replications: usize, difficulty: Option<Vec<f64>>) -> Settings {
    Settings {
        variant: config.variant,
        kappa: config.kappa,
        lambda: config.lambda,
        replications,
        refit_difficulty: config.refit_difficulty,
        difficulty,
    }
}

fn read(config: &Config, file: &Path) -> Result<Judgements> {
    annotations::read(file, config.scale, &config.mediators, config.baseline.as_deref())
}

/// What only a file of one's own can answer to.
fn none_of_own(config: &Config) -> Result<(), Invalid> {
    let given = [
        ("mediators", config.mediators.first()),
        ("difficulty", config.difficulty.as_ref()),
        ("baseline", config.baseline.as_ref()),
    ];
    match given.into_iter().find_map(|(key, value)| value.map(|v| (key, v))) {
        Some((key, value)) => {
            Err(Invalid::new(key, "nothing, unless --data gives a file of your own", value))
        }
        None => Ok(()),
    }
}

fn own_difficulty(config: &Config, judgements: &Judgements) -> Result<Option<Vec<f64>>> {
    config
        .difficulty
        .as_ref()
        .map(|file| annotations::read_difficulty(Path::new(file), &judgements.instructions))
        .transpose()
}

/// The user's own judgements: the leaderboard, nothing to confirm.
fn own(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let judgements = read(config, file)?;
    let difficulty = own_difficulty(config, &judgements)?;
    run.progress(0.1, "fitting")?;
    let board =
        board::board(&judgements, &settings(config, config.bootstrap, difficulty), run.stream("bootstrap"))?;
    let title = format!("Length-controlled win rates against {}", judgements.baseline);
    show(run, &judgements, &board, &title)
}

fn show(run: &mut Run, judgements: &Judgements, board: &Board, title: &str) -> Result<()> {
    run.table(board::table(title, board));
    run.table(board::against_table(board, 6));
    for warning in &board.warnings {
        run.warn(warning.clone());
    }
    run.figure("win-rates", pictures::dumbbell(board))?;
    // The model whose answers vary most in length shows best what length does.
    let vary = |p: &Pairs| descriptive::standard_deviation(&p.delta).unwrap_or(0.0);
    let widest = (0..judgements.models.len())
        .max_by(|a, b| vary(&judgements.models[*a]).total_cmp(&vary(&judgements.models[*b])));
    if let Some(k) = widest {
        run.figure("preference", pictures::preference(&judgements.models[k], &board.lines[k], &board.gamma))?;
    }
    Ok(())
}

fn built_in(config: &Config, run: &mut Run) -> Result<()> {
    if run.is_first_seed() {
        let published =
            if run.has_data(BOARD) { Some(alpaca::leaderboard(&run.data(BOARD)?)?) } else { None };
        match &published {
            Some(rows) => published_board(run, rows)?,
            None => run.warn(format!(
                "the published board is not here: our fit is not held against it (ream data fetch {BOARD})"
            )),
        }
        our_fit(config, run, published.as_deref())?;
    }
    if ["variant_spread", "bias", "coverage", "absolute_error"].iter().any(|m| run.wanted(m)) {
        simulated(config, run)?;
    }
    Ok(())
}

/// C1 and C2: what the published rates say.
fn published_board(run: &mut Run, rows: &[alpaca::Row]) -> Result<()> {
    let rated = leaderboard::rated(rows);
    let absent = leaderboard::ARENA.len() - rated.len();
    if absent > 0 {
        run.warn(format!("{absent} of the rated models are not on the board"));
    }
    let [raw, controlled] = leaderboard::correlations(&rated, 2000, run.stream("models"));
    run.observe_with("elo_spearman", "raw", &[], raw.0, Spread::Draws(raw.1));
    run.observe_with("elo_spearman", "lc", &[], controlled.0, Spread::Draws(controlled.1));
    let moved = leaderboard::moved(rows);
    for prompt in leaderboard::PROMPTS {
        for (arm, controlled) in [("raw", false), ("lc", true)] {
            let value = leaderboard::gameability(&moved, prompt, controlled);
            run.observe("gameability", arm, &[("prompt", Place::from(prompt))], value);
        }
    }
    run.figure("ranks", pictures::ranks(&rated))?;
    run.figure("gameability", pictures::gameability_bars(&moved))
}

/// C3, C4 and C6: our fit of the judged pairs.
fn our_fit(config: &Config, run: &mut Run, published: Option<&[alpaca::Row]>) -> Result<()> {
    let mut judgements = annotations::built_in()?;
    if config.models > 0 {
        keep_first(&mut judgements, config.models);
    }
    run.progress(0.02, "fitting the judged pairs")?;
    let board =
        board::board(&judgements, &settings(config, config.bootstrap, None), run.stream("bootstrap"))?;
    show(run, &judgements, &board, "Length-controlled win rates of the built-in judgements")?;
    if let Some(rows) = published {
        against_published(run, &board, rows);
    }
    symmetry(config, run, &judgements, &board)
}

/// The baseline and the first models by name.
fn keep_first(judgements: &mut Judgements, models: usize) {
    let baseline = judgements.baseline.clone();
    let mut left = models - 1;
    judgements.models.retain(|p| {
        p.model == baseline || {
            let keep = left > 0;
            left = left.saturating_sub(1);
            keep
        }
    });
}

fn against_published(run: &mut Run, board: &Board, rows: &[alpaca::Row]) {
    let (mut ours, mut raw, mut theirs, mut worst) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for line in &board.lines {
        let Some(row) = rows.iter().find(|row| row.model == line.model) else { continue };
        worst = worst.max((line.raw.0 - row.win_rate).abs());
        if let Some(controlled) = row.controlled {
            ours.push(line.rate.value);
            raw.push(line.raw.0);
            theirs.push(controlled);
        }
    }
    let error = |values: &[f64]| {
        values.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).sum::<f64>() / theirs.len() as f64
    };
    for (arm, values) in [("lc", &ours), ("raw", &raw)] {
        run.observe("board_error", arm, &[], error(values));
        run.observe("board_spearman", arm, &[], rank::spearman(values, &theirs));
    }
    run.observe("raw_rate_difference", "", &[], worst);
}

/// The baseline against itself, and every model with the roles swapped. Seen from the model, difficulty keeps its meaning
/// with the sign turned.
fn symmetry(config: &Config, run: &mut Run, judgements: &Judgements, board: &Board) -> Result<()> {
    let turned: Vec<f64> = board.gamma.iter().map(|g| -g).collect();
    let (mut worst, mut identity) = (0.0_f64, None);
    for (pairs, line) in judgements.models.iter().zip(&board.lines) {
        if pairs.model == judgements.baseline {
            identity = Some((line.rate.value - 50.0).abs());
        }
        let design = Design::new(&pairs.swapped(), &turned, config.variant);
        let centre = line.fit.ridge.1;
        let fitted = fit::fit(&pairs.model, &design, config.variant, config.kappa, centre)?;
        let back = rate::controlled(&design.equalised(), &fitted.coefficients, None);
        worst = worst.max((line.rate.value + back - 100.0).abs());
    }
    if let Some(identity) = identity {
        run.observe("identity", "", &[], identity);
    }
    run.observe("symmetry", "", &[], worst);
    Ok(())
}

/// C5: one simulated board.
fn simulated(config: &Config, run: &mut Run) -> Result<()> {
    run.progress(0.3, "simulating a board")?;
    let of = &config.simulation;
    let world = simulation::world(of.models, of.instructions, of.concentration, run.stream("simulation"));
    let board = board::board(
        &world.judgements,
        &settings(config, of.bootstrap, None),
        run.stream("simulated bootstrap"),
    )?;
    let lines = &board.lines;
    let arms: [(&str, Vec<f64>); 4] = [
        ("lc", lines.iter().map(|l| l.rate.value).collect()),
        ("raw", lines.iter().map(|l| l.raw.0).collect()),
        ("normalised", lines.iter().map(|l| l.other[0]).collect()),
        ("balanced", lines.iter().map(|l| l.other[1]).collect()),
    ];
    for (arm, values) in &arms {
        run.observe("variant_spread", arm, &[], spread(values, &world.base, of.models));
        let errors: Vec<f64> = values.iter().zip(&world.truth).map(|(v, t)| v - t).collect();
        run.observe("bias", arm, &[], errors.iter().sum::<f64>() / errors.len() as f64);
        run.observe(
            "absolute_error",
            arm,
            &[],
            errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len() as f64,
        );
    }
    type Error = fn(&board::Line) -> f64;
    let errors: [(&str, Error); 3] = [
        ("predictions", |l| l.rate.se_predictions),
        ("delta", |l| l.rate.se_delta),
        ("bootstrap", |l| l.rate.se_bootstrap),
    ];
    for (arm, se) in errors {
        let held = lines
            .iter()
            .zip(&world.truth)
            .filter(|(l, t)| (l.rate.value - **t).abs() <= 1.959_963_984_540_054 * se(l));
        run.observe("coverage", arm, &[], held.count() as f64 / lines.len() as f64);
    }
    Ok(())
}

/// Standard deviation over the variants of a model, mean over models.
fn spread(values: &[f64], base: &[usize], models: usize) -> f64 {
    let of = |model: usize| {
        let own: Vec<f64> = values.iter().zip(base).filter(|(_, b)| **b == model).map(|(v, _)| *v).collect();
        descriptive::standard_deviation(&own).unwrap_or(0.0)
    };
    (0..models).map(of).sum::<f64>() / models as f64
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_board;

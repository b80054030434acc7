//! Transformers learn in-context by gradient descent (von Oswald et al., 2022, arXiv 2212.07677).
//!
//! A network sees pairs `(x_i, y_i)`, `i = 1..N`, and a query `x_q` in one sequence and must say `y_q`. What algorithm does its
//! forward pass run? The authors write down weights with which one layer of linear self-attention
//!
//! `e_j <- e_j + sum_h P_h (sum_{i=1..N} (V_h e_i)(K_h e_i)^T) Q_h e_j`,   `e_j = (x_j, y_j)`,  `e_q = (x_q, 0)`,
//!
//! moves every target exactly as one step of gradient descent on
//!
//! `L(W) = 1/(2N) sum_i |W x_i - y_i|^2`,   `y_j <- y_j - dW x_j`,   `dW = -(eta/N) sum_i (W_0 x_i - y_i) x_i^T`
//!
//! and find that trained layers do the same. Deeper networks also move the inputs,
//! `x_j <- x_j - gamma sum_i x_i (x_i . x_j)` (GD++): they learn to whiten them on the way.
//!
//! | part | what is there |
//! |---|---|
//! | [`tasks`] | linear and sine regression, sixteen tasks side by side |
//! | [`lsa`] | tokens, layers forward and backward, perceptron, softmax |
//! | [`construction`] | the weights that are gradient descent, and GD++ |
//! | [`descent`] | gradient descent, GD++, ridge regression, each with its best rates |
//! | [`training`] | Adam on the query's loss |
//! | [`compare`] | guesses, sensitivities, losses, weights |
//! | [`sine`], [`copying`] | learned features; separate tokens |
//! | [`own_data`] | real tables |
//!
//! ```
//! use ream_language::icl_gd::{construction, descent, lsa::Pass, tasks::{LinearTasks, Shape, Tasks}};
//!
//! let shape = Shape { d: 4, d_y: 1, n_context: 8 };
//! let tasks = LinearTasks::standard(shape).chunk::<f64>(ream_rand::Stream::new(1, "example"), 0, 0, 16);
//! let (network, parameters) = construction::descent_network::<f64>(shape, &[0.9, 0.5], None);
//! let mut pass = Pass::new(&network);
//! pass.forward(&network.products(&parameters), &tasks, None);
//! let weights = descent::descend(&tasks, &[0.9, 0.5], None);
//! let difference = pass.guess()[0] - descent::guess(&weights, &tasks)[0];
//! assert!(difference.0.iter().all(|d| d.abs() < 1e-12));
//! ```

pub mod compare;
mod config;
pub mod construction;
pub mod copying;
pub mod descent;
mod experiments;
pub mod lanes;
pub mod lsa;
pub mod own_data;
pub mod pictures;
pub mod sine;
pub mod tasks;
pub mod training;

pub use config::{Config, Copying, Deep, Experiment, Schedule, Sine, TableDraws};

use compare::largest_difference;
use experiments::{Model, Work, cost};
use lanes::Real;
use lsa::{Network, Pass};
use own_data::{Columns, Rows};
use ream_lab::{Error, Invalid, Needs, Preset, Result, Run, System};
use ream_rand::Stream;
use std::path::Path;
use tasks::{LinearTasks, Shape, Tasks};

/// The paper's system.
pub struct IclGd;

impl System for IclGd {
    const PAPER: &'static str = "icl-gd";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        Config::preset(preset)
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 1 } else { 5 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let operations: f64 = config.experiments.iter().map(|e| experiment_cost(config, *e)).sum();
        Needs { threads: 2, memory_mib: 300, minutes: operations / OPERATIONS_PER_MINUTE, ..Needs::default() }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        read_own(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => on_own_data(config, run, &file),
            None => on_built_in_data(config, run),
        }
    }
}

/// Measured: what one core of a 2024 server does of [`cost`]'s operations, evaluation included.
const OPERATIONS_PER_MINUTE: f64 = 6e11;

/// What an experiment observes: it is skipped when this seed need observe none of it.
fn measures(experiment: Experiment) -> &'static [&'static str] {
    match experiment {
        Experiment::Construction => &["construction_difference"],
        Experiment::OneLayer => &[
            "loss",
            "loss_gap",
            "cosine",
            "sensitivity_distance",
            "prediction_difference",
            "interpolated_loss",
            "alignment",
            "gap_by_alpha",
            "gap_by_weight_scale",
            "gap_by_inputs",
        ],
        Experiment::Softmax => &["softmax_loss", "softmax_difference", "softmax_cosine"],
        Experiment::Recurrent | Experiment::Separate => &["deep_loss", "deep_difference"],
        Experiment::Deeper => &["deeper_loss"],
        Experiment::Sine => &["sine_loss"],
        Experiment::Copying => {
            &["gradient_ratio", "gradient_ratio_of_inputs", "neighbour_share", "copying_loss"]
        }
        Experiment::Table => &["table_gap", "table_difference", "table_cosine", "table_loss"],
    }
}

/// Cost of the trainings of an experiment.
fn experiment_cost(config: &Config, experiment: Experiment) -> f64 {
    let of = |network: &Network, schedule: &Schedule| cost(network, schedule.steps, config.batch);
    match experiment {
        Experiment::Construction | Experiment::Table => 0.0,
        Experiment::OneLayer | Experiment::Softmax => of(&config.network(1), &config.one_layer),
        Experiment::Recurrent => of(&config.network(config.recurrent.layers), &config.recurrent.schedule),
        Experiment::Separate => of(&config.network(config.separate.layers), &config.separate.schedule),
        Experiment::Deeper => of(&config.network(config.deeper.layers), &config.deeper.schedule),
        Experiment::Sine => {
            let network = config.sine_network();
            let alone = Network { mlp: None, ..network.clone() };
            2.0 * of(&network, &config.sine.schedule) + of(&alone, &config.sine.schedule)
        }
        Experiment::Copying => of(&config.copying_network(), &config.copying.schedule),
    }
}

/// The experiments of this seed, on synthetic tasks and the diabetes data.
fn on_built_in_data(config: &Config, run: &mut Run) -> Result<()> {
    let mut wanted: Vec<Experiment> = config.experiments.clone();
    wanted.retain(|e| measures(*e).iter().any(|m| run.wanted(m)));
    let rows = if wanted.contains(&Experiment::Table) { diabetes(config, run)? } else { None };
    linear_and_more(config, run, &wanted, rows.map(|rows| ("the diabetes data", rows)))
}

/// The diabetes data with as many inputs as the networks take; nothing where it has too few.
fn diabetes(config: &Config, run: &mut Run) -> Result<Option<Rows>> {
    let columns = Columns::diabetes();
    if config.d_y != 1 || config.d > columns.inputs.len() {
        run.warn(format!(
            "the diabetes data has {} inputs and one target; networks with d = {} and d_y = {} are not tested on it",
            columns.inputs.len(),
            config.d,
            config.d_y
        ));
        return Ok(None);
    }
    Ok(Some(columns.first_inputs(config.d).prepare("the diabetes data", config.n_context)?))
}

/// The user's table, ready for drawing, when it fits the configuration.
fn read_own(config: &Config, file: &Path) -> Result<Rows> {
    let rows =
        Columns::read(file, &config.table.target)?.prepare(&file.display().to_string(), config.n_context)?;
    let bound = rows.divergence_bound();
    match config.eta {
        Some(eta) if eta >= bound => {
            let wanted = format!("below {bound:.4}, where gradient descent on this table diverges");
            Err(Invalid::new("eta", wanted, eta.to_string()).into())
        }
        _ => Ok(rows),
    }
}

/// Trains on synthetic tasks of the table's size and holds the frozen networks against gradient descent on its rows.
fn on_own_data(config: &Config, run: &mut Run, file: &Path) -> Result<()> {
    let rows = read_own(config, file)?;
    let config = Config { d: rows.d, d_y: 1, ..config.clone() };
    config.check()?;
    let mut wanted = vec![Experiment::OneLayer, Experiment::Table];
    wanted.extend([Experiment::Recurrent, Experiment::Separate].into_iter().filter(|e| config.has(*e)));
    let place = file.file_name().map_or_else(|| "the table".to_owned(), |n| n.to_string_lossy().into_owned());
    linear_and_more(&config, run, &wanted, Some((&place, rows)))
}

fn linear_and_more(
    config: &Config,
    run: &mut Run,
    wanted: &[Experiment],
    rows: Option<(&str, Rows)>,
) -> Result<()> {
    let has = |experiment| wanted.contains(&experiment);
    // The frozen one-layer network is what meets the table, whether or not its own comparison is asked for.
    let one_layer = has(Experiment::OneLayer) || rows.is_some();
    let extra = if one_layer && !has(Experiment::OneLayer) { Some(Experiment::OneLayer) } else { None };
    let total = wanted.iter().copied().chain(extra).map(|e| experiment_cost(config, e)).sum();
    let mut work = Work::new(total);
    let mut models = Vec::new();
    if has(Experiment::Construction) {
        experiments::construction(config, run)?;
    }
    let rate = experiments::single_rate(config, run);
    if one_layer {
        let trained = experiments::train_one_layer(config, run, &mut work, rate)?;
        if has(Experiment::OneLayer) {
            experiments::one_layer(config, run, &trained, rate)?;
        }
        models.push(Model {
            name: "one-layer",
            network: config.network(1),
            parameters: trained.parameters,
            rates: vec![rate],
        });
    }
    if has(Experiment::Softmax) {
        experiments::softmax(config, run, &mut work, rate)?;
    }
    for (which, name, deep) in [
        (Experiment::Recurrent, "recurrent", &config.recurrent),
        (Experiment::Separate, "separate", &config.separate),
        (Experiment::Deeper, "deeper", &config.deeper),
    ] {
        if has(which) {
            let (trained, rates) = match experiments::deep(config, run, &mut work, which) {
                // Five layers are reported only: that their training may explode must not cost the other experiments.
                Err(Error::Failed(why)) if which == Experiment::Deeper => {
                    run.warn(why);
                    continue;
                }
                result => result?,
            };
            let network = config.deep_network(deep, which == Experiment::Recurrent);
            models.push(Model { name, network, parameters: trained.parameters, rates });
        }
    }
    if has(Experiment::Sine) {
        experiments::sines(config, run, &mut work)?;
    }
    if has(Experiment::Copying) {
        experiments::copying(config, run, &mut work, rate)?;
    }
    match rows {
        Some((place, rows)) => experiments::table(config, run, place, &rows, &models),
        None => Ok(()),
    }
}

/// Largest absolute difference between the predictions of the construction and of gradient descent on `W`, over fresh
/// tasks. The rate is half the best single rate, at which several steps do not explode; `start` draws a `W_0` from
/// `N(0, 1)` instead of 0.
pub fn construction_difference<F: Real>(
    shape: Shape,
    layers: usize,
    start: bool,
    tasks: usize,
    stream: Stream,
) -> f64 {
    let law = LinearTasks::standard(shape);
    let rates = vec![0.5 * law.best_rate(); layers];
    let narrow: Vec<F> = rates.iter().map(|&r| F::of(r)).collect();
    let start: Option<Vec<F>> = start.then(|| {
        let mut rng = stream.child(u64::MAX).at(0);
        (0..shape.d * shape.d_y).map(|_| F::of(rng.normal())).collect()
    });
    let (network, parameters) = construction::descent_network(shape, &rates, start.as_deref());
    let products = network.products(&parameters);
    let mut pass = Pass::new(&network);
    let (mut network_says, mut descent_says) = (Vec::new(), Vec::new());
    for chunk in law.set::<F>(stream, tasks) {
        pass.forward(&products, &chunk, start.as_deref());
        let weights = descent::descend(&chunk, &narrow, start.as_deref());
        for (a, b) in pass.guess().iter().zip(descent::guess(&weights, &chunk)) {
            network_says.extend(a.0[..chunk.used].iter().map(|v| v.wide()));
            descent_says.extend(b.0[..chunk.used].iter().map(|v| v.wide()));
        }
    }
    largest_difference(&network_says, &descent_says)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lab::Observation;

    /// A configuration of seconds that goes through every experiment.
    fn tiny() -> Config {
        let mut config = Config::preset(Preset::Full);
        config.d = 3;
        config.n_context = 6;
        config.batch = 32;
        config.evaluation_tasks = 1000;
        config.tuning_tasks = 1000;
        config.points = 4;
        config.sine.hidden = 8;
        config.sine.features = 6;
        config.copying.positions = 6;
        config.deeper.layers = 3;
        config.table.draws = 200;
        for schedule in [
            &mut config.one_layer,
            &mut config.recurrent.schedule,
            &mut config.separate.schedule,
            &mut config.deeper.schedule,
            &mut config.sine.schedule,
            &mut config.copying.schedule,
        ] {
            schedule.steps = 30;
        }
        config
    }

    fn observe(config: &Config, seed: u64) -> Vec<Observation> {
        let mut run = Run::in_memory(seed);
        IclGd::run(config, &mut run).unwrap();
        run.observations()
    }

    /// The user's table: networks of its size, estimates in a table; a rate at which descent on it diverges is refused.
    #[test]
    fn a_table_of_the_users_own() {
        let mut text = String::from("a,b,y\n");
        for row in 0..40 {
            let (a, b) = (libm::sin(f64::from(row)), libm::cos(1.7 * f64::from(row)));
            text += &format!("{a},{b},{}\n", 3.0 * a - b);
        }
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let mut config = tiny();
        config.table.target = "y".to_owned();
        IclGd::check_data(&config, file.path()).unwrap();
        let mut run = Run::in_memory_on(1, file.path());
        IclGd::run(&config, &mut run).unwrap();
        let table = run.tables().iter().find(|t| t.title.starts_with("Networks trained")).unwrap();
        assert_eq!((table.rows.len(), table.rows[0].len()), (3, table.columns.len()));
        assert!(run.observations().iter().any(|o| o.measure == "table_gap"));

        config.eta = Some(1e3);
        let error = IclGd::check_data(&config, file.path()).unwrap_err().to_string();
        assert!(error.contains("eta") && error.contains("diverges"), "{error}");
        config.eta = None;
        config.n_context = 40;
        let error = IclGd::check_data(&config, file.path()).unwrap_err().to_string();
        assert!(error.contains("at least 41 rows"), "{error}");
    }

    /// What a check would read is observed, and what is observed is declared.
    #[test]
    fn every_measure_is_declared_and_every_term_observed() {
        let toml = include_str!("paper.toml");
        let observed = observe(&tiny(), 3);
        for o in &observed {
            assert!(toml.contains(&format!("id = \"{}\"", o.measure)), "{}", o.measure);
            assert!(o.value.is_finite(), "{o}");
        }
        let terms = toml.split('"').filter(|part| part.contains('@'));
        for term in terms {
            let (measure, arm) = term.split_once('@').unwrap();
            assert!(observed.iter().any(|o| o.measure == measure && o.arm == arm), "{term}");
        }
        for experiment in Config::preset(Preset::Full).experiments {
            for measure in measures(experiment) {
                assert!(toml.contains(&format!("id = \"{measure}\"")), "{measure}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
        let mut config = tiny();
        config.experiments = vec![Experiment::OneLayer, Experiment::Recurrent];
        let (one, again, other) = (observe(&config, 1), observe(&config, 1), observe(&config, 2));
        let bits = |all: &[Observation]| all.iter().map(|o| o.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one), bits(&again));
        assert_ne!(bits(&one), bits(&other));
    }

    #[test]
    fn every_picture_is_drawn() {
        let mut run = Run::in_memory(1);
        IclGd::run(&tiny(), &mut run).unwrap();
        let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
        for name in [
            "training-one-layer",
            "agreement",
            "matrices",
            "elsewhere",
            "training-recurrent",
            "training-separate",
            "training-deeper",
            "training-sine",
            "sine",
            "training-copying",
            "listening",
        ] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
    }

    #[test]
    fn options_reach_the_experiments() {
        let mut config = tiny();
        config.experiments = vec![Experiment::Construction, Experiment::OneLayer, Experiment::Recurrent];
        config.d_y = 2;
        config.heads = 2;
        config.noise = 0.3;
        config.gdpp = false;
        config.eta = Some(1.0);
        config.recurrent.dampening = 0.8;
        config.check().unwrap();
        let observed = observe(&config, 1);
        let any = |measure: &str, arm: &str| observed.iter().any(|o| o.measure == measure && o.arm == arm);
        assert!(any("loss", "trained") && any("deep_loss", "gd"));
        assert!(!any("deep_loss", "gdpp") && !any("alignment", "a") && !any("loss", "floor"));
    }

    #[test]
    fn a_training_that_diverges_says_so() {
        let mut config = tiny();
        config.experiments = vec![Experiment::Separate];
        config.separate.layers = 12;
        config.separate.schedule.learning_rate = 1.0;
        config.separate.schedule.steps = 400;
        let error = IclGd::run(&config, &mut Run::in_memory(1)).unwrap_err();
        assert!(error.to_string().contains("separate: the training diverged at step"), "{error}");
    }
}

//! Why the second model is worse: the data of generation 1 beside those of generation 0, and refits that take
//! one cause away at a time.

use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::data::Log;
use super::diagnostics::{DataFacts, best_share, data_facts, excess_log_loss, scores};
use super::generations::{Scene, play, play_uniformly};
use super::oracle::{Recipe, fit};
use super::policy::Rule;
use super::serving::{Served, Training, Weighting};

/// Payments from which rows are picked, for each payment of a generation.
const POOL: usize = 10;

/// A data set with the model that is fitted on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// Which data.
    pub name: String,
    /// What they are like.
    pub data: DataFacts,
    /// Share of rows with the truly best action.
    pub best_share: f64,
    /// Log loss of the model on its own rows, nats.
    pub training_log_loss: f64,
    /// Exact expected reward of the model's best actions on the common contexts.
    pub greedy: f64,
}

/// Fits models on generation 0, on generation 1 as served by inverse gaps, and on data that differ from those
/// of generation 1 in one way:
///
/// | name | rows |
/// |---|---|
/// | `generation-0` | uniform actions |
/// | `generation-1` | those of the policy of the first model |
/// | `class-balanced` | the same, both classes with the same total weight: imbalance taken away |
/// | `coverage-matched` | rows of the same policy, picked from ten times the traffic so that every cell and action has as many as in generation 0: coverage given back |
/// | `coverage-thinned` | uniform rows, picked so that every cell and action has as many as in generation 1: coverage taken away, and nothing else |
///
/// # Errors
/// A model that cannot be fitted.
pub fn causes(scene: &Scene<'_>, recipe: &Recipe, gamma: f64, stream: Stream) -> Result<Vec<Fitted>, String> {
    let plain = Training::plain(1);
    let balanced = Training { weighting: Weighting::Classes, ..plain };
    let rule = Rule::Squarecb { gamma };
    let served = Served { rule, uniform: 0.0 };
    let zero = arrived(&scene.first);
    let first = fit(recipe, &zero, &plain, stream).map_err(|e| e.to_string())?;
    let predicted = first.predict(&scene.batches[1].contexts);
    let one = scene.play(1, &served, &predicted);
    let rows = arrived(&one);
    let pool = scene.world.batch(1, POOL * scene.size.contexts, stream.child(0));
    let by_policy = play(&pool, &served, &first.predict(&pool.contexts), stream.child(1));
    let at_random = play_uniformly(&pool, stream.child(2));
    let shape = (scene.world.cells(), scene.actions.count);
    let matched = picked(&by_policy, &zero, shape);
    let thinned = picked(&at_random, &rows, shape);
    let of_pool = |picked: &[usize]| picked.iter().map(|&i| pool.truth[i].clone()).collect();
    let (truth, later): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (truth_of(scene, 0), truth_of(scene, 1));
    let sets: [(&str, Log, &Training, Vec<Vec<f64>>); 5] = [
        ("generation-0", zero, &plain, truth),
        ("generation-1", rows.clone(), &plain, later.clone()),
        ("class-balanced", rows, &balanced, later),
        ("coverage-matched", by_policy.take(&matched), &plain, of_pool(&matched)),
        ("coverage-thinned", at_random.take(&thinned), &plain, of_pool(&thinned)),
    ];
    let mut fitted = Vec::new();
    for (name, rows, training, truth) in sets {
        let model = fit(recipe, &rows, training, stream).map_err(|e| format!("{name}: {e}"))?;
        let holdout = &scene.holdout[1];
        fitted.push(Fitted {
            name: name.to_owned(),
            data: data_facts(&rows, shape.0, shape.1),
            best_share: best_share(&rows, &truth),
            training_log_loss: scores(&rows.rewards, &model.of_taken(&rows)).log_loss,
            greedy: holdout.greedy_value(&model.predict(&holdout.contexts)),
        });
    }
    Ok(fitted)
}

/// The rows whose labels arrive in time.
fn arrived(log: &Log) -> Log {
    log.kept(|i| !log.late[i])
}

/// The truth of the rows whose labels arrive in time.
fn truth_of(scene: &Scene<'_>, generation: usize) -> Vec<Vec<f64>> {
    let truth = scene.batches[generation].truth.iter().zip(scene.late(generation));
    truth.filter(|(_, late)| !late).map(|(truth, _)| truth.clone()).collect()
}

/// Places of the rows of a pool, in its order, that have no more of a cell and action than another log has.
#[must_use]
pub fn picked(pool: &Log, like: &Log, (cells, actions): (usize, usize)) -> Vec<usize> {
    let place = |log: &Log, i: usize| log.contexts.cells[i] as usize * actions + log.actions[i] as usize;
    let mut wanted = vec![0_u32; cells * actions];
    (0..like.len()).for_each(|i| wanted[place(like, i)] += 1);
    (0..pool.len())
        .filter(|&i| {
            let left = &mut wanted[place(pool, i)];
            let take = *left > 0;
            *left -= u32::from(take);
            take
        })
        .collect()
}

/// Expected log loss of the model class after very many uniform rows, less the entropy of the truth, nats:
/// how far the class is from the truth.
///
/// # Errors
/// A model that cannot be fitted.
pub fn realizability_gap(
    scene: &Scene<'_>,
    recipe: &Recipe,
    samples: usize,
    stream: Stream,
) -> Result<f64, String> {
    let batch = scene.world.batch(0, samples, stream.child(0));
    let rows = play_uniformly(&batch, stream.child(1));
    let model = fit(recipe, &rows, &Training::plain(1), stream).map_err(|e| e.to_string())?;
    let holdout = &scene.holdout[0];
    Ok(excess_log_loss(holdout, &model.predict(&holdout.contexts)))
}

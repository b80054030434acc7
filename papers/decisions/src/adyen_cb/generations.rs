//! Generations: serve with a frozen model, log, wait for labels, refit.
//!
//! ```text
//! generation 0: actions at random, N contexts
//! for g = 1..G: fit f_g on the logs of generations g-M..g-1 whose labels have arrived
//!               serve N contexts with p = policy(f_g), log (x, A(x), a, p(a)); rewards are seen after the delay
//! ```
//!
//! All arms of a scene meet the same contexts, the same rewards of the same actions, the same delays and the
//! same uniform numbers for their choices, so that their
//! differences are differences of policies.

use ream_rand::Stream;
use ream_stats::off_policy;
use serde::{Deserialize, Serialize};

use super::data::{Actions, Contexts, Log};
use super::diagnostics::{DataFacts, Scores, data_facts, scores, shifts};
use super::oracle::{Oracle, Recipe, fit};
use super::policy::{Rule, exploration_mass};
use super::serving::{Served, Serving, Training};
use super::world::{Batch, World};

/// How long and how large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Contexts of a generation.
    pub contexts: usize,
    /// Generations that are served by a model.
    pub generations: usize,
    /// Share of labels that arrive one generation late.
    pub late: f64,
    /// Contexts on which all models are compared.
    pub holdout: usize,
}

/// Everything that the arms of one world share.
pub struct Scene<'a> {
    /// Where contexts come from.
    pub world: &'a dyn World,
    /// The actions.
    pub actions: Actions,
    /// Sizes.
    pub size: Size,
    /// Contexts with the truth, of generations `0..=G`.
    pub batches: Vec<Batch>,
    /// The same contexts for all generations, with the truth of each: `[G + 1]`.
    pub holdout: Vec<Batch>,
    /// Uniform actions on them: `[G + 1]`.
    pub uniform: Vec<Log>,
    /// Generation 0 as it is logged.
    pub first: Log,
    stream: Stream,
}

/// An arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// How it serves.
    pub serving: Serving,
    /// What its models are fitted on.
    pub training: Training,
}

/// What is known of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Exact expected reward of the policy on the generation's contexts.
    pub played: f64,
    /// Mean of the rewards that came.
    pub realised: f64,
    /// Exact expected reward of the best actions there.
    pub optimum: f64,
    /// Exact expected reward of the model's best actions on the contexts that all generations share.
    pub greedy: f64,
    /// That of the best actions there.
    pub greedy_optimum: f64,
    /// Share of the traffic that is not played greedily.
    pub exploration: f64,
    /// Gamma where the rule has one.
    pub gamma: Option<f64>,
    /// The model on the traffic that it served.
    pub on_traffic: Scores,
    /// The model on uniform actions.
    pub on_uniform: Scores,
    /// Log loss of the model on its own training rows, nats.
    pub training_log_loss: f64,
    /// The training rows.
    pub data: DataFacts,
    /// Divergence of actions and rewards from the generation before, nats.
    pub shifts: [f64; 2],
}

/// An arm with its generations `1..=G`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The arm.
    pub name: String,
    /// One after the other.
    pub generations: Vec<Generation>,
}

impl Trace {
    /// A figure of every generation.
    #[must_use]
    pub fn series(&self, of: impl Fn(&Generation) -> f64) -> Vec<f64> {
        self.generations.iter().map(of).collect()
    }

    /// Mean of a figure over generations `from..=to`, counted from 1; of all that are there where they are
    /// fewer. 0 without any.
    #[must_use]
    pub fn mean(&self, from: usize, to: usize, of: impl Fn(&Generation) -> f64) -> f64 {
        let there = &self.generations[(from - 1).min(self.generations.len())..to.min(self.generations.len())];
        there.iter().map(of).sum::<f64>() / there.len().max(1) as f64
    }

    /// Greedy values of generations `2..=G` less the optimum: what swings are looked for in.
    #[must_use]
    pub fn regrets(&self) -> Vec<f64> {
        self.generations.iter().skip(1).map(|g| g.greedy - g.greedy_optimum).collect()
    }
}

impl<'a> Scene<'a> {
    /// Draws what arms share.
    #[must_use]
    pub fn new(world: &'a dyn World, size: Size, stream: Stream) -> Self {
        let contexts = stream.child(0);
        let batches: Vec<Batch> =
            (0..=size.generations).map(|g| world.batch(g, size.contexts, contexts.child(g as u64))).collect();
        let holdout: Vec<Batch> =
            (0..=size.generations).map(|g| world.batch(g, size.holdout, stream.child(1))).collect();
        let mut scene = Self {
            world,
            actions: world.actions(),
            size,
            batches,
            holdout,
            uniform: Vec::new(),
            first: Log::default(),
            stream,
        };
        scene.uniform = scene.holdout.iter().map(|batch| play_uniformly(batch, stream.child(2))).collect();
        scene.first = scene.play(0, &uniform_served(), &even(&scene.batches[0]));
        scene
    }

    /// Serves a generation: `predicted` are the model's rewards of the available actions.
    #[must_use]
    pub fn play(&self, generation: usize, served: &Served, predicted: &[Vec<f64>]) -> Log {
        let mut log =
            play(&self.batches[generation], served, predicted, self.stream.child(3).child(generation as u64));
        log.late = self.late(generation);
        log
    }

    /// Whose labels of a generation arrive one generation late.
    #[must_use]
    pub fn late(&self, generation: usize) -> Vec<bool> {
        let labels = self.stream.child(4).child(generation as u64);
        (0..self.size.contexts as u64).map(|i| labels.at(i).chance(self.size.late)).collect()
    }
}

fn uniform_served() -> Served {
    Served { rule: Rule::Uniform, uniform: 0.0 }
}

/// Predictions that tell nothing.
fn even(batch: &Batch) -> Vec<Vec<f64>> {
    batch.contexts.allowed.iter().map(|allowed| vec![0.5; allowed.len()]).collect()
}

/// Actions at random on a batch.
#[must_use]
pub fn play_uniformly(batch: &Batch, stream: Stream) -> Log {
    play(batch, &uniform_served(), &even(batch), stream)
}

/// Draws actions and rewards. A context's reward under an action is the same whoever plays.
#[must_use]
pub fn play(batch: &Batch, served: &Served, predicted: &[Vec<f64>], stream: Stream) -> Log {
    let contexts = &batch.contexts;
    let n = contexts.len();
    let mut log = Log { contexts: contexts.clone(), late: vec![false; n], ..Log::default() };
    let (choices, rewards) = (stream.child(0), stream.child(1));
    for (i, predicted) in predicted.iter().enumerate() {
        // Both numbers are drawn every time, so that a slice changes no other choice.
        let mut rng = choices.at(i as u64);
        let (slice, pick) = (rng.uniform(), rng.uniform());
        let uniform = served.rule == Rule::Uniform || slice < served.uniform;
        let p = served.probabilities(predicted);
        let place = if uniform {
            choose(&vec![1.0 / p.len() as f64; p.len()], pick)
        } else {
            choose(&served.rule.probabilities(predicted), pick)
        };
        let action = contexts.allowed[i][place];
        let u = rewards.child(u64::from(action)).at(i as u64).uniform();
        log.actions.push(action);
        // What the logged probability must be: that of the whole policy, whichever part of it chose.
        log.propensities.push(p[place]);
        log.rewards.push(f64::from(u8::from(u < batch.truth[i][place])));
        log.uniform.push(uniform);
    }
    log
}

/// The place whose interval of probability holds `u`.
fn choose(p: &[f64], u: f64) -> usize {
    let mut sum = 0.0;
    for (place, p) in p.iter().enumerate() {
        sum += p;
        if u < sum {
            return place;
        }
    }
    // Rounding: the last one that can be played.
    p.iter().rposition(|p| *p > 0.0).unwrap_or(0)
}

/// Runs an arm through all generations.
///
/// # Errors
/// The generation, and why its model cannot be fitted or its policy not be made.
pub fn run(scene: &Scene<'_>, recipe: &Recipe, plan: &Plan) -> Result<Trace, String> {
    let mut logs = vec![scene.first.clone()];
    let mut generations = Vec::new();
    for g in 1..=scene.size.generations {
        let in_generation = |e: String| format!("{}, generation {g}: {e}", plan.name);
        let rows = plan.training.rows(&logs);
        let stream = scene.stream.child(5).child(g as u64);
        let oracle = fit(recipe, &rows, &plan.training, stream).map_err(|e| in_generation(e.to_string()))?;
        let batch = &scene.batches[g];
        let predicted = oracle.predict(&batch.contexts);
        let excess = if plan.serving.wants_excess() {
            disagreement(recipe, &rows, &plan.training, &batch.contexts, stream).map_err(in_generation)?
        } else {
            0.0
        };
        let served = plan.serving.prepare(&predicted, || excess).map_err(|e| in_generation(e.to_string()))?;
        let log = scene.play(g, &served, &predicted);
        generations.push(describe(
            scene,
            g,
            &Seen {
                rows: &rows,
                oracle: &oracle,
                predicted: &predicted,
                served,
                before: &logs[g - 1],
                log: &log,
            },
        ));
        logs.push(log);
    }
    Ok(Trace { name: plan.name.clone(), generations })
}

/// What a generation leaves.
struct Seen<'a> {
    rows: &'a Log,
    oracle: &'a Oracle,
    predicted: &'a [Vec<f64>],
    served: Served,
    before: &'a Log,
    log: &'a Log,
}

fn describe(scene: &Scene<'_>, g: usize, seen: &Seen<'_>) -> Generation {
    let (batch, holdout, uniform) = (&scene.batches[g], &scene.holdout[g], &scene.uniform[g]);
    let p: Vec<Vec<f64>> = seen.predicted.iter().map(|f| seen.served.probabilities(f)).collect();
    let share = seen.served.uniform;
    let even = exploration_mass(seen.predicted, Rule::Uniform);
    let on_holdout = seen.oracle.predict(&holdout.contexts);
    Generation {
        played: batch.value(&p),
        realised: seen.log.positive_rate(),
        optimum: batch.optimum(),
        greedy: holdout.greedy_value(&on_holdout),
        greedy_optimum: holdout.optimum(),
        exploration: (1.0 - share) * exploration_mass(seen.predicted, seen.served.rule) + share * even,
        gamma: match seen.served.rule {
            Rule::Squarecb { gamma } | Rule::Fastcb { gamma } => Some(gamma),
            _ => None,
        },
        on_traffic: scores(&seen.log.rewards, &of_taken(seen.log, seen.predicted)),
        // The uniform rows are the same contexts.
        on_uniform: scores(&uniform.rewards, &of_taken(uniform, &on_holdout)),
        training_log_loss: scores(&seen.rows.rewards, &seen.oracle.of_taken(seen.rows)).log_loss,
        data: data_facts(seen.rows, scene.world.cells(), scene.actions.count),
        shifts: shifts(seen.before, seen.log, scene.actions.count),
    }
}

/// An estimate of the model's excess squared error from what two models of random halves disagree on:
/// `E (f_1 - f_2)^2 / 4`, the variance of a model of all rows. What both
/// halves get wrong alike is not in it.
///
/// # Errors
/// A half that cannot be fitted.
pub fn disagreement(
    recipe: &Recipe,
    rows: &Log,
    training: &Training,
    contexts: &Contexts,
    stream: Stream,
) -> Result<f64, String> {
    let halves: Vec<bool> = (0..rows.len() as u64).map(|i| stream.child(1).at(i).chance(0.5)).collect();
    let half = |side: bool| -> Result<Vec<Vec<f64>>, String> {
        let part = rows.kept(|i| halves[i] == side);
        let oracle = fit(recipe, &part, training, stream.child(2)).map_err(|e| e.to_string())?;
        Ok(oracle.predict(contexts))
    };
    let (a, b) = (half(false)?, half(true)?);
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let (sum, count) = pairs.fold((0.0, 0.0), |(s, n), (a, b)| (s + (a - b) * (a - b), n + 1.0));
    Ok(sum / f64::max(count, 1.0) / 4.0)
}

/// The gamma whose inverse-gap policy has the largest doubly robust value on half of generation 0, from a
/// model of the other half.
///
/// # Errors
/// A model that cannot be fitted.
pub fn best_gamma(scene: &Scene<'_>, recipe: &Recipe, gammas: &[f64]) -> Result<f64, String> {
    let training = Training::plain(1);
    let rows = training.rows(std::slice::from_ref(&scene.first));
    let stream = scene.stream.child(6);
    let seen: Vec<bool> = (0..rows.len() as u64).map(|i| stream.at(i).chance(0.5)).collect();
    let (fitted, held) = (rows.kept(|i| seen[i]), rows.kept(|i| !seen[i]));
    let oracle = fit(recipe, &fitted, &training, stream).map_err(|e| e.to_string())?;
    let predicted = oracle.predict(&held.contexts);
    let taken = oracle.of_taken(&held);
    let mut best = (f64::NEG_INFINITY, gammas[0]);
    for &gamma in gammas {
        let p: Vec<Vec<f64>> = predicted.iter().map(|f| Rule::Squarecb { gamma }.probabilities(f)).collect();
        let target = of_taken(&held, &p);
        let promised: Vec<f64> =
            p.iter().zip(&predicted).map(|(p, f)| p.iter().zip(f).map(|(p, f)| p * f).sum()).collect();
        let log = off_policy::Log { rewards: &held.rewards, logged: &held.propensities, target: &target };
        let value =
            off_policy::doubly_robust(&log, &promised, &taken, None).map_err(|e| e.to_string())?.value;
        if value > best.0 {
            best = (value, gamma);
        }
    }
    Ok(best.1)
}

/// Probabilities with which a policy would have taken the logged actions; 0 for one that is not available.
#[must_use]
pub fn of_taken(log: &Log, p: &[Vec<f64>]) -> Vec<f64> {
    let one = |i: usize| {
        log.contexts.allowed[i].iter().position(|a| *a == log.actions[i]).map_or(0.0, |place| p[i][place])
    };
    (0..log.len()).map(one).collect()
}

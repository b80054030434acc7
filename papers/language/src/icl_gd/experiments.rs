//! The experiments under a [`Run`]: train, compare on fresh tasks, observe.

use super::compare::{
    Agreement, Alignment, Answers, align, convert, descent_answers, network_answers, plus_answers,
};
use super::config::{Config, Deep, Experiment, Schedule};
use super::construction::descent_network;
use super::descent::{
    Freedom, Spectrum, best_single_rate, preconditioned_floor, ridge_loss, tune, tune_ridge,
};
use super::lanes::Real;
use super::lsa::{Attention, Network, Products};
use super::own_data::{Rows, TableResult, report};
use super::tasks::{Chunk, Inputs, LinearTasks, Tasks};
use super::training::{State, Training, small_parameters};
use super::{construction_difference, copying, pictures, sine};
use ream_lab::{Cell, Error, Place, Result, Run, Table};
use ream_rand::Stream;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Tasks on which curves over training are taken; never those of the final comparison.
const WATCHED: usize = 2048;

/// How much of the run is done.
pub(crate) struct Work {
    done: f64,
    total: f64,
}

impl Work {
    /// Work of this total cost, see [`cost`].
    pub(crate) fn new(total: f64) -> Self {
        Self { done: 0.0, total: total.max(1.0) }
    }
}

/// Rough cost of a training: multiplications of its forward passes and the drawing of its tasks.
pub(crate) fn cost(network: &Network, steps: u64, batch: usize) -> f64 {
    let (width, context) = (network.width() as f64, network.context() as f64);
    let layer = |moving: f64| moving * 2.0 * width * (width + context);
    let layers = layer(1.0) + (network.layers.len() - 1) as f64 * layer(context + 1.0);
    let perceptron = network.mlp.map_or(0.0, |m| (context + 1.0) * (m.hidden * (m.features + 1)) as f64);
    steps as f64 * batch as f64 * (2000.0 + network.heads as f64 * layers + perceptron)
}

/// A trained network and its curves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trained {
    /// Parameters at the end.
    pub(crate) parameters: Vec<f32>,
    /// Steps at which it was watched.
    pub(crate) steps: Vec<f64>,
    /// What was seen there.
    pub(crate) seen: Vec<Vec<f64>>,
}

impl Trained {
    fn column(&self, at: usize) -> Vec<f64> {
        self.seen.iter().map(|row| row[at]).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Track {
    state: State<f32>,
    steps: Vec<f64>,
    seen: Vec<Vec<f64>>,
}

/// One training of a run.
struct Job<'a, T> {
    name: &'a str,
    network: &'a Network,
    tasks: &'a T,
    schedule: &'a Schedule,
    initial: Vec<f32>,
    trained: Range<usize>,
    /// Names of what is watched.
    watched: &'a [&'a str],
}

impl<'a, T: Tasks> Job<'a, T> {
    /// From small random parameters.
    fn new(run: &Run, name: &'a str, network: &'a Network, tasks: &'a T, schedule: &'a Schedule) -> Self {
        let stream = run.stream(&format!("{name} initial"));
        Self {
            name,
            network,
            tasks,
            schedule,
            initial: small_parameters(network, schedule.initial_scale, stream),
            trained: 0..network.parameters(),
            watched: &["loss"],
        }
    }

    /// Trains, watching the parameters at evenly spread steps. Picks up where a worker before this one stopped.
    fn train(
        self,
        config: &Config,
        run: &mut Run,
        work: &mut Work,
        watch: impl Fn(&[f32]) -> Vec<f64>,
    ) -> Result<Trained> {
        let cost = cost(self.network, self.schedule.steps, config.batch);
        let training = Training {
            network: self.network,
            tasks: self.tasks,
            stream: run.stream(&format!("{} tasks", self.name)),
            batch: config.batch,
            adam: config.adam(self.schedule),
            trained: self.trained,
        };
        let steps = self.schedule.steps;
        let every = (steps / config.points).max(1);
        let (name, initial, watched) = (self.name, self.initial, self.watched);
        let (done, total) = (work.done, work.total);
        let trained = run.part(name, |run| {
            let fresh = || Track { state: State::new(initial), steps: Vec::new(), seen: Vec::new() };
            let mut track = run.resume::<Track>()?.unwrap_or_else(fresh);
            loop {
                let step = track.state.step;
                let at = step as f64;
                if (step.is_multiple_of(every) || step == steps) && track.steps.last() != Some(&at) {
                    let seen = watch(&track.state.parameters);
                    for (what, value) in watched.iter().zip(&seen) {
                        run.metric(&format!("{name} {what}"), step, *value);
                    }
                    track.steps.push(at);
                    track.seen.push(seen);
                }
                if step == steps {
                    break;
                }
                let loss = training.step(&mut track.state);
                if !loss.is_finite() {
                    return Err(Error::failed(format!(
                        "{name}: the training diverged at step {step}; a smaller learning_rate or dampening helps"
                    )));
                }
                run.progress((done + cost * at / steps as f64) / total, name)?;
                if run.save_due() {
                    run.save(&track)?;
                }
            }
            Ok(Trained { parameters: track.state.parameters, steps: track.steps, seen: track.seen })
        })?;
        work.done += cost;
        Ok(trained)
    }
}

/// Tasks on which baselines are tuned: the same for every seed, and none of them is ever evaluated on.
fn tuning_set<F: Real>(config: &Config, run: &Run, tasks: &impl Tasks) -> Vec<Chunk<F>> {
    tasks.set(Stream::new(run.tuning_seed(0), "rates"), config.tuning_tasks)
}

/// Loss of ridge regression with the penalty that is best on the tuning tasks.
fn tuned_ridge(config: &Config, run: &Run, set: &[Chunk<f32>]) -> f64 {
    let tuning = Spectrum::of_set(&tuning_set::<f64>(config, run, &config.tasks()));
    ridge_loss(&Spectrum::of_set(set), tune_ridge(&tuning))
}

fn evaluation_set(config: &Config, run: &Run, tasks: &impl Tasks, purpose: &str) -> Vec<Chunk<f32>> {
    tasks.set(run.stream(&format!("{purpose} evaluation")), config.evaluation_tasks)
}

fn watched_set(run: &Run, tasks: &impl Tasks, purpose: &str) -> Vec<Chunk<f32>> {
    tasks.set(run.stream(&format!("{purpose} watched")), WATCHED)
}

fn at<'a>(key: &'a str, place: &'a str) -> [(&'a str, Place); 1] {
    [(key, Place::from(place))]
}

/// C1: the construction beside gradient descent on `W`.
pub(crate) fn construction(config: &Config, run: &mut Run) -> Result<()> {
    run.part("construction", |run| {
        let stream = run.stream("construction");
        let mut table = Table::new(
            "The construction is gradient descent",
            &["layers", "targets", "W_0", "largest difference, f32", "largest difference, f64"],
        );
        table.note = "Largest absolute difference of the predictions over 1000 tasks.".to_owned();
        for layers in [1, 2, 5] {
            for d_y in [1, 3] {
                for start in [false, true] {
                    let shape = super::tasks::Shape { d_y, ..config.shape() };
                    let narrow = construction_difference::<f32>(shape, layers, start, 1000, stream);
                    let wide = construction_difference::<f64>(shape, layers, start, 1000, stream);
                    let from = if start { "random" } else { "zero" };
                    let at = [
                        ("layers", Place::from(layers as f64)),
                        ("d_y", Place::from(d_y as f64)),
                        ("start", Place::from(from)),
                    ];
                    run.observe("construction_difference", "f32", &at, narrow);
                    run.observe("construction_difference", "f64", &at, wide);
                    table = table.clone().row(vec![
                        Cell::from(layers as u64),
                        Cell::from(d_y as u64),
                        Cell::from(from),
                        Cell::from(narrow),
                        Cell::from(wide),
                    ]);
                }
            }
        }
        run.table(table);
        Ok(())
    })
}

/// The rate of one gradient step: by hand, or the best on the tuning tasks in closed form.
pub(crate) fn single_rate(config: &Config, run: &Run) -> f64 {
    config.eta.unwrap_or_else(|| best_single_rate(&tuning_set::<f64>(config, run, &config.tasks())))
}

/// Trains one layer and watches it become a gradient step.
pub(crate) fn train_one_layer(config: &Config, run: &mut Run, work: &mut Work, rate: f64) -> Result<Trained> {
    let (network, tasks) = (config.network(1), config.tasks());
    let set = watched_set(run, &tasks, "one-layer");
    let reference = descent_answers(&[rate], &set);
    let mut job = Job::new(run, "one-layer", &network, &tasks, &config.one_layer);
    job.watched = &["loss", "cosine", "difference"];
    job.train(config, run, work, |parameters| {
        let model = network_answers(&network, &network.products(parameters), &set, true);
        let agreement = Agreement::new(&model, &reference, config.d, config.d_y);
        vec![agreement.loss, agreement.cosine, agreement.difference]
    })
}

/// C2, C3, C5: a trained layer beside one gradient step.
pub(crate) fn one_layer(config: &Config, run: &mut Run, trained: &Trained, rate: f64) -> Result<()> {
    run.part("one-layer comparison", |run| {
        let (network, tasks) = (config.network(1), config.tasks());
        let products = network.products(&trained.parameters);
        let set = evaluation_set(config, run, &tasks, "one-layer");
        let descent = descent_answers(&[rate], &set);
        let model = network_answers(&network, &products, &set, true);
        let agreement = Agreement::new(&model, &descent, config.d, config.d_y);
        let initial_stream = run.stream("one-layer initial");
        let untrained = small_parameters(&network, config.one_layer.initial_scale, initial_stream);
        let untrained = network_answers(&network, &network.products(&untrained), &set, false);
        let ridge = tuned_ridge(config, run, &set);
        let zero = descent_answers(&[0.0], &set).loss(config.d_y);

        run.observe("loss", "trained", &[], agreement.loss);
        run.observe("loss", "gd", &[], agreement.reference);
        run.observe("loss", "ridge", &[], ridge);
        run.observe("loss", "untrained", &[], untrained.loss(config.d_y));
        run.observe("loss", "zero", &[], zero);
        run.observe("loss_gap", "trained", &[], agreement.gap);
        run.observe("cosine", "trained", &[], agreement.cosine);
        run.observe("sensitivity_distance", "trained", &[], agreement.distance);
        run.observe("prediction_difference", "trained", &[], agreement.difference);
        let start = Agreement::new(&untrained, &descent, config.d, config.d_y);
        run.observe("prediction_difference", "untrained", &[], start.difference);
        if config.d_y == 1 && config.d <= 16 {
            let floor = preconditioned_floor(&set);
            run.observe("loss", "floor", &[], floor);
            if agreement.loss < 0.99 * floor {
                run.warn(format!(
                    "one layer reached the loss {:.4}, below {floor:.4}, the best of any single preconditioned step: the query's target leaks",
                    agreement.loss
                ));
            }
        }
        let curve = |at| (trained.steps.clone(), trained.column(at));
        let lines = [("one gradient step", agreement.reference), ("ridge", ridge), ("guess 0", zero)];
        run.figure("training-one-layer", pictures::training("One layer of linear attention", curve(0), &lines))?;
        run.figure(
            "agreement",
            pictures::agreement(&trained.steps, &trained.column(1), &trained.column(2)),
        )?;
        if config.heads == 1 {
            weights(config, run, &network, &products, &set, rate)?;
        }
        elsewhere(config, run, &network, &products, rate)
    })
}

/// C3: the learned matrices beside the construction's, and a network half-way between them.
fn weights(
    config: &Config,
    run: &mut Run,
    network: &Network,
    products: &Products<f32>,
    set: &[Chunk<f32>],
    rate: f64,
) -> Result<()> {
    let (_, constructed) = descent_network::<f64>(config.shape(), &[rate], None);
    let constructed = network.products(&constructed).pairs[0].clone();
    let alignment: Alignment = align(&products.pairs[0], &convert(&constructed));
    let middle = Products { mlp: Vec::new(), pairs: vec![convert::<f32>(&alignment.middle)] };
    let answers = network_answers(network, &middle, set, false);
    run.observe("interpolated_loss", "interpolated", &[], answers.loss(config.d_y));
    run.observe("interpolated_loss", "gd", &[], descent_answers(&[rate], set).loss(config.d_y));
    run.observe("alignment", "a", &[], alignment.cosine_a);
    run.observe("alignment", "b", &[], alignment.cosine_b);
    run.figure("matrices", pictures::matrices(network.width(), &alignment, &constructed))
}

/// C5: inputs and weights of other sizes, and other laws of inputs, with network and rate as they are.
fn elsewhere(
    config: &Config,
    run: &mut Run,
    network: &Network,
    products: &Products<f32>,
    rate: f64,
) -> Result<()> {
    let base = config.tasks();
    let columns = ["", "trained", "gradient step", "relative gap", "cosine"];
    let mut table = Table::new("Out of distribution", &columns);
    table.note = "Query losses; the network and the rate are those found on inputs from [-1, 1] and weights of scale 1.".to_owned();
    let mut compare = |law: LinearTasks, name: &str, place: Place| {
        let set = evaluation_set(config, run, &law, &format!("{name} {place}"));
        let model = network_answers(network, products, &set, true);
        let agreement = Agreement::new(&model, &descent_answers(&[rate], &set), config.d, config.d_y);
        run.observe(&format!("gap_by_{name}"), "trained", &[(name, place.clone())], agreement.gap.abs());
        run.observe(&format!("cosine_by_{name}"), "trained", &[(name, place.clone())], agreement.cosine);
        let numbers = [agreement.loss, agreement.reference, agreement.gap, agreement.cosine];
        let mut cells = vec![Cell::from(format!("{name} = {place}"))];
        cells.extend(numbers.map(Cell::from));
        table.rows.push(cells);
        agreement
    };
    let mut sweep = |name: &str, values: &[f64], law: &dyn Fn(f64) -> LinearTasks| {
        let both: Vec<_> = values.iter().map(|&v| compare(law(v), name, Place::from(v))).collect();
        let losses = both.iter().map(|a| a.loss).collect();
        (values.to_vec(), losses, both.iter().map(|a| a.reference).collect())
    };
    let sizes = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];
    let alpha = sweep("alpha", &sizes, &|v| LinearTasks { alpha: v * base.alpha, ..base });
    let scales = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0];
    let weight = sweep("weight_scale", &scales, &|v| LinearTasks { weight_scale: v, ..base });
    for (inputs, name) in
        [(Inputs::Normal, "normal"), (Inputs::Exponential, "exponential"), (Inputs::Laplace, "laplace")]
    {
        compare(LinearTasks { inputs, ..base }, "inputs", Place::from(name));
    }
    run.table(table);
    run.figure("elsewhere", pictures::elsewhere(alpha, weight))
}

/// Softmax attention of the same size: it cannot be a gradient step and should not look like one.
pub(crate) fn softmax(config: &Config, run: &mut Run, work: &mut Work, rate: f64) -> Result<()> {
    let tasks = config.tasks();
    let network = Network { layers: vec![Attention::Softmax], ..config.network(1) };
    let set = watched_set(run, &tasks, "softmax");
    let job = Job::new(run, "softmax", &network, &tasks, &config.one_layer);
    let trained = job.train(config, run, work, |parameters| {
        vec![sine::answers(&network, parameters, &set).loss(config.d_y)]
    })?;
    let set = evaluation_set(config, run, &tasks, "softmax");
    let model = network_answers(&network, &network.products(&trained.parameters), &set, true);
    let agreement = Agreement::new(&model, &descent_answers(&[rate], &set), config.d, config.d_y);
    run.observe("softmax_loss", "softmax", &[], agreement.loss);
    run.observe("softmax_loss", "gd", &[], agreement.reference);
    run.observe("softmax_difference", "softmax", &[], agreement.difference);
    run.observe("softmax_cosine", "softmax", &[], agreement.cosine);
    Ok(())
}

/// The best rates for several steps: GD per step, GD with one rate, GD++.
struct Rates {
    each: Vec<f64>,
    shared: Vec<f64>,
    plus: Option<Vec<[f64; 2]>>,
}

fn tuned_rates(config: &Config, run: &Run, deep: &Deep, recurrent: bool) -> Rates {
    let spectra = Spectrum::of_set(&tuning_set::<f64>(config, run, &config.tasks()));
    let steps = deep.layers;
    let plain = |shared| match config.eta {
        Some(eta) => vec![eta; steps],
        None => tune(&spectra, Freedom { steps, plus: false, shared }).iter().map(|r| r[0]).collect(),
    };
    Rates {
        each: plain(false),
        shared: plain(true),
        plus: config.gdpp.then(|| tune(&spectra, Freedom { steps, plus: true, shared: recurrent })),
    }
}

/// C4: several layers beside as many steps of GD and GD++. Returns the trained network and the rates of GD.
pub(crate) fn deep(
    config: &Config,
    run: &mut Run,
    work: &mut Work,
    which: Experiment,
) -> Result<(Trained, Vec<f64>)> {
    let (deep, name, measure) = match which {
        Experiment::Recurrent => (&config.recurrent, "recurrent", "deep_loss"),
        Experiment::Deeper => (&config.deeper, "deeper", "deeper_loss"),
        _ => (&config.separate, "separate", "deep_loss"),
    };
    let recurrent = which == Experiment::Recurrent;
    let (network, tasks) = (config.deep_network(deep, recurrent), config.tasks());
    let set = watched_set(run, &tasks, name);
    let job = Job::new(run, name, &network, &tasks, &deep.schedule);
    let trained = job.train(config, run, work, |parameters| {
        vec![sine::answers(&network, parameters, &set).loss(config.d_y)]
    })?;
    let rates = run.part(&format!("{name} comparison"), |run| {
        let rates = tuned_rates(config, run, deep, recurrent);
        let set = evaluation_set(config, run, &tasks, name);
        let model = network_answers(&network, &network.products(&trained.parameters), &set, true);
        let each = descent_answers(&rates.each, &set);
        let agreement = Agreement::new(&model, &each, config.d, config.d_y);
        let place = at("layers", name);
        let mut lines = vec![("GD, a rate per step", agreement.reference)];
        let shared = descent_answers(&rates.shared, &set);
        lines.push(("GD, one rate", shared.loss(config.d_y)));
        observe_finite(run, measure, "trained", &place, agreement.loss);
        observe_finite(run, measure, "gd", &place, agreement.reference);
        observe_finite(run, measure, "gd-one-rate", &place, shared.loss(config.d_y));
        let mut rows = vec![("trained", &model), ("GD, a rate per step", &each), ("GD, one rate", &shared)];
        let plus = rates.plus.as_ref().map(|plus| plus_answers(plus, &set));
        if let Some(plus) = &plus {
            lines.push(("GD++", plus.loss(config.d_y)));
            observe_finite(run, measure, "gdpp", &place, plus.loss(config.d_y));
            let near = Agreement::new(&model, plus, config.d, config.d_y);
            observe_finite(run, "deep_difference", "gdpp", &place, near.difference);
            rows.push(("GD++", plus));
        }
        observe_finite(run, "deep_difference", "gd", &place, agreement.difference);
        run.table(losses(name, &rows, config.d_y));
        lines.push(("ridge", tuned_ridge(config, run, &set)));
        let title = format!("{} layers, {name}", deep.layers);
        let curve = (trained.steps.clone(), trained.column(0));
        run.figure(&format!("training-{name}"), pictures::training(&title, curve, &lines))?;
        Ok(rates.each)
    })?;
    Ok((trained, rates))
}

/// Many steps can overflow on a hard task: then there is a warning instead of a number, and the claim is not tested.
fn observe_finite(run: &mut Run, measure: &str, arm: &str, at: &[(&str, Place)], value: f64) {
    if value.is_finite() {
        run.observe(measure, arm, at, value);
    } else {
        run.warn(format!("{measure} of {arm} overflowed on a hard task and is left out"));
    }
}

/// Mean and median losses: with many layers a few hard tasks rule the mean.
fn losses(name: &str, rows: &[(&str, &Answers)], d_y: usize) -> Table {
    let mut table = Table::new(format!("Query losses, {name}"), &["model", "mean", "median"]);
    for (label, answers) in rows {
        let pairs = answers.guesses.chunks_exact(d_y).zip(answers.targets.chunks_exact(d_y));
        let mut each: Vec<f64> =
            pairs.map(|(g, y)| g.iter().zip(y).map(|(g, y)| 0.5 * (g - y).powi(2)).sum()).collect();
        each.sort_by(f64::total_cmp);
        let median = each[each.len() / 2];
        table = table.row(vec![Cell::from(*label), Cell::from(answers.loss(d_y)), Cell::from(median)]);
    }
    table
}

/// C6: sine waves.
pub(crate) fn sines(config: &Config, run: &mut Run, work: &mut Work) -> Result<()> {
    let tasks = config.sine_tasks();
    let schedule = &config.sine.schedule;
    let set = watched_set(run, &tasks, "sine");
    let network = config.sine_network();
    let loss_of =
        |network: &Network, parameters: &[f32]| vec![sine::answers(network, parameters, &set).loss(1)];
    let job = Job::new(run, "sine", &network, &tasks, schedule);
    let full = job.train(config, run, work, |p| loss_of(&network, p))?;

    let alone_network = Network { mlp: None, ..network.clone() };
    let job = Job::new(run, "sine-attention-alone", &alone_network, &tasks, schedule);
    let alone = job.train(config, run, work, |p| loss_of(&alone_network, p))?;

    let stream = run.stream("sine-through-a-step initial");
    let (meta_network, initial, range) = sine::through_one_step(tasks, config.mlp(), stream);
    let job = Job::new(run, "sine-through-a-step", &meta_network, &tasks, schedule);
    let job = Job { initial, trained: range, ..job };
    let meta = job.train(config, run, work, |p| loss_of(&meta_network, p))?;

    run.part("sine comparison", |run| {
        let set = evaluation_set(config, run, &tasks, "sine");
        let tuning: Vec<Chunk<f32>> = tuning_set(config, run, &tasks);
        let steps = config.sine.layers;
        let products = network.products(&full.parameters);
        let features = sine::featured(&network, &products, &set);
        let tuning_features = sine::featured(&network, &products, &tuning);
        let plain = Freedom { steps, plus: false, shared: false };
        let (rates, descent) = sine::descent_on_features(plain, &tuning_features, &features);
        let model = sine::answers(&network, &full.parameters, &set);
        let alone = sine::answers(&alone_network, &alone.parameters, &set);
        let meta_products = meta_network.products(&meta.parameters);
        let single = Freedom { steps: 1, plus: false, shared: false };
        let (_, meta) = sine::descent_on_features(
            single,
            &sine::featured(&meta_network, &meta_products, &tuning),
            &sine::featured(&meta_network, &meta_products, &set),
        );
        run.observe("sine_loss", "mlp-lsa", &[], model.loss(1));
        run.observe("sine_loss", "lsa", &[], alone.loss(1));
        run.observe("sine_loss", "mlp-gd", &[], descent.loss(1));
        run.observe("sine_loss", "mlp-through-gd", &[], meta.loss(1));
        let mut rows = vec![
            ("perceptron + attention", &model),
            ("attention alone", &alone),
            ("same perceptron + GD", &descent),
            ("perceptron trained through one GD step", &meta),
        ];
        let plus = (config.gdpp && steps > 1).then(|| {
            sine::descent_on_features(Freedom { plus: true, ..plain }, &tuning_features, &features).1
        });
        if let Some(plus) = &plus {
            run.observe("sine_loss", "mlp-gdpp", &[], plus.loss(1));
            rows.push(("same perceptron + GD++", plus));
        }
        run.table(losses("sine", &rows, 1));
        let lines = [
            ("same perceptron + GD", descent.loss(1)),
            ("perceptron through one GD step", meta.loss(1)),
            ("attention alone", alone.loss(1)),
        ];
        let curve = (full.steps.clone(), full.column(0));
        run.figure("training-sine", pictures::training("Sine waves", curve, &lines))?;
        let drawn = sine::curve::<f32>(tasks, run.stream("sine curve"), 121);
        let network_curve = sine::answers(&network, &full.parameters, &drawn.tasks).guesses;
        let rates: Vec<f64> = rates.iter().map(|r| r[0]).collect();
        let descent_curve =
            descent_answers(&rates, &sine::featured(&network, &products, &drawn.tasks)).guesses;
        run.figure("sine", pictures::sine(&drawn, network_curve, descent_curve))
    })
}

/// C7: inputs and targets as separate tokens.
pub(crate) fn copying(config: &Config, run: &mut Run, work: &mut Work, rate: f64) -> Result<()> {
    let (network, tasks) = (config.copying_network(), config.tasks());
    let set = watched_set(run, &tasks, "copying");
    let mut job = Job::new(run, "copying", &network, &tasks, &config.copying.schedule);
    job.watched = &["loss", "own", "neighbour", "others"];
    let initial = job.initial.clone();
    let trained = job.train(config, run, work, |parameters| {
        let products = network.products(parameters);
        let loss = network_answers(&network, &products, &set, false).loss(config.d_y);
        let [all, _] = copying::influence(&network, &products, &set[..8]);
        vec![loss, all.own, all.neighbour, all.others]
    })?;
    run.part("copying comparison", |run| {
        let set = evaluation_set(config, run, &tasks, "copying");
        let few = &set[..set.len().min(32)];
        for (arm, parameters) in [("untrained", &initial), ("trained", &trained.parameters)] {
            let products = network.products(parameters);
            let [all, inputs] = copying::influence(&network, &products, few);
            run.observe("gradient_ratio", arm, &[], all.ratio());
            run.observe("gradient_ratio_of_inputs", arm, &[], inputs.ratio());
            run.observe("neighbour_share", arm, &[], all.neighbour_share());
        }
        let loss = sine::answers(&network, &trained.parameters, &set).loss(config.d_y);
        let descent = descent_answers(&[rate], &set).loss(config.d_y);
        run.observe("copying_loss", "trained", &[], loss);
        run.observe("copying_loss", "gd", &[], descent);
        let curve = (trained.steps.clone(), trained.column(0));
        let title = "Separate tokens: a softmax layer and linear attention";
        run.figure(
            "training-copying",
            pictures::training(title, curve, &[("one gradient step on pairs", descent)]),
        )?;
        let [own, neighbour, others] = [1, 2, 3].map(|at| trained.column(at));
        run.figure("listening", pictures::listening(&trained.steps, &own, &neighbour, &others))
    })
}

/// A trained linear network and the rates of gradient descent that it is held against.
pub(crate) struct Model<'a> {
    pub(crate) name: &'a str,
    pub(crate) network: Network,
    pub(crate) parameters: Vec<f32>,
    pub(crate) rates: Vec<f64>,
}

/// Frozen networks on a real table.
pub(crate) fn table(
    config: &Config,
    run: &mut Run,
    place: &str,
    rows: &Rows,
    models: &[Model<'_>],
) -> Result<()> {
    run.part("table", |run| {
        let draws = config.table.draws;
        let set: Vec<Chunk<f32>> = rows.tasks(config.n_context, draws, run.stream("draws"));
        let ridge = tuned_ridge(config, run, &set);
        let mut results = Vec::new();
        for model in models {
            let products = model.network.products(&model.parameters);
            let answers = network_answers(&model.network, &products, &set, true);
            let descent = descent_answers(&model.rates, &set);
            let agreement = Agreement::new(&answers, &descent, config.d, 1);
            let zero = descent_answers(&[0.0], &set).loss(1);
            let at = at("network", model.name);
            run.observe("table_gap", "trained", &at, agreement.gap);
            run.observe("table_difference", "trained", &at, agreement.difference);
            run.observe("table_cosine", "trained", &at, agreement.cosine);
            run.observe("table_loss", "trained", &at, agreement.loss);
            run.observe("table_loss", "gd", &at, agreement.reference);
            run.observe("table_loss", "ridge", &at, ridge);
            run.observe("table_loss", "zero", &at, zero);
            results.push(TableResult { model: model.name.to_owned(), agreement, ridge, zero });
        }
        run.table(report(place, rows, draws, &results));
        Ok(())
    })
}

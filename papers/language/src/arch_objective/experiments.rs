//! The grid under a [`Run`]: pretrain, judge, finetune, judge, adapt; part by part, so that a run can be resumed.

use std::ops::ControlFlow;
use std::path::Path;

use ream_lab::{Error, Invalid, Result, Run};
use ream_nn::training::{Checkpoint, config_hash};
use ream_nn::{Init, Module, NnError};
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use super::adaptation::Curve;
use super::cells::{Architecture, Cell, Objective};
use super::config::Config;
use super::corpus::{Chapter, Corpus, HeldOut};
use super::items::{AROUND, Item};
use super::model::{Model, Sizes};
use super::multitask::Mixture;
use super::objectives::{Account, Example, Sampler};
use super::own_data::{self, OwnData};
use super::scoring::{Ranking, TaskScore, grade};
use super::texts::{self, BpeCodec};
use super::training::{Asking, Recipe, TextStream, bits_per_character, finetuning_example, fit, log_probs};
use super::vocabulary::Vocabulary;
use super::zero_shot;

/// What is held out does not depend on the run's seed: a saved model is never judged on what it was trained on.
const SPLIT_SEED: u64 = 7;
/// The answer to a stop that came from [`Run::progress`], which is kept aside.
const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

/// How much of the run is done, in tokens of training.
pub(super) struct Work {
    done: f64,
    total: f64,
}

impl Work {
    pub(super) fn new(total: f64) -> Self {
        Self { done: 0.0, total: total.max(1.0) }
    }
}

/// Texts, tokens and items of a run.
pub(super) struct Prepared {
    pub(super) vocabulary: Vocabulary,
    pub(super) corpus: Corpus,
    /// Items judged after pretraining.
    pub(super) zero_shot: Vec<Item>,
    /// Items judged after finetuning.
    pub(super) multitask: Vec<Item>,
    /// Hash of the training text and the tokenizer.
    data: String,
}

impl Prepared {
    /// Reads texts, holds chapters out, learns the tokenizer, makes the items.
    pub(super) fn new(config: &Config, run: &mut Run) -> Result<Self> {
        run.progress(0.0, "texts")?;
        let own = run.own_data().map(Path::to_owned);
        let (chapters, own_items) = match own.as_deref().map(own_data::read).transpose()? {
            Some(OwnData::Text(chapters)) => (chapters, None),
            Some(OwnData::Tasks(items)) => (texts::built_in(run)?, Some(items)),
            None => (texts::built_in(run)?, None),
        };
        Self::of(config, run, chapters, own_items)
    }

    /// The same from given chapters, and from items instead of those made here.
    pub(super) fn of(
        config: &Config,
        run: &mut Run,
        chapters: Vec<Chapter>,
        own_items: Option<Vec<Item>>,
    ) -> Result<Self> {
        let corpus = Corpus::split(chapters, config.held_out, Stream::new(SPLIT_SEED, "held-out chapters"))?;
        run.progress(0.0, "tokenizer")?;
        let codec = BpeCodec::learn(&corpus.train, config.merges, config.tokenizer_characters)?;
        let lines: Vec<&str> = corpus.train.iter().flat_map(|c| &c.lines).map(String::as_str).collect();
        let data = config_hash(&(codec.merges(), lines)).map_err(|e| Error::failed(e.to_string()))?;
        let vocabulary = Vocabulary::new(Box::new(codec), config.sentinels());
        let (zero_shot, multitask) = match own_items {
            Some(items) => {
                check_lengths(&items, &vocabulary, config.context)?;
                (items.clone(), items)
            }
            None => make_items(config, run, &corpus, &vocabulary)?,
        };
        Ok(Self { vocabulary, corpus, zero_shot, multitask, data })
    }

    fn sizes(&self, config: &Config) -> Sizes {
        Sizes { d: config.d, heads: config.heads, layers: config.layers, vocabulary: self.vocabulary.size() }
    }
}

fn make_items(
    config: &Config,
    run: &mut Run,
    corpus: &Corpus,
    vocabulary: &Vocabulary,
) -> Result<(Vec<Item>, Vec<Item>)> {
    let (count, stream) = (config.zero_shot_items, run.stream("zero-shot items"));
    let zero_shot = zero_shot::items(&corpus.held_out, count, vocabulary, config.context, stream);
    let stream = run.stream("multitask items");
    let multitask =
        Mixture::held_out(&corpus.held_out, vocabulary, config.context, stream).items(config.multitask_items);
    for (set, items, wanted) in
        [("Z", &zero_shot, config.zero_shot_items), ("T", &multitask, config.multitask_items)]
    {
        if items.is_empty() {
            let got = format!("none for set {set}");
            return Err(Invalid::new("the held-out text", "text that items can be made of", got).into());
        }
        for task in tasks_of(items) {
            let found = items.iter().filter(|item| item.task == task).count();
            if found < wanted {
                run.warn(format!(
                    "{task}: the held-out chapters give {found} items, {wanted} were asked for"
                ));
            }
        }
    }
    Ok((zero_shot, multitask))
}

/// Names of tasks in the order of their items.
fn tasks_of(items: &[Item]) -> Vec<String> {
    let mut tasks: Vec<String> = items.iter().map(|item| item.task.clone()).collect();
    tasks.dedup();
    tasks
}

/// The user's items must fit the context.
fn check_lengths(items: &[Item], vocabulary: &Vocabulary, context: usize) -> Result<(), Invalid> {
    for item in items {
        let tokens = item.tokens(vocabulary) + AROUND;
        if tokens > context {
            let place = format!("the item \"{}\"", item.prompt.chars().take(40).collect::<String>());
            let wanted = format!("at most {context} tokens with its longest option (set `context`)");
            return Err(Invalid::new(place, wanted, tokens.to_string()));
        }
    }
    Ok(())
}

/// Answers graded both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Graded {
    /// By the log probability of whole options.
    pub(super) sum: Vec<TaskScore>,
    /// By that of each token.
    pub(super) per_token: Vec<TaskScore>,
}

/// An adaptation, and the training from scratch of the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Adapted {
    pub(super) curve: Curve,
    /// Z for the causal generator, T for the non-causal masked model.
    pub(super) graded: Option<Graded>,
}

/// What a cell did in one replicate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct CellResult {
    pub(super) cell: Cell,
    pub(super) tokens: u64,
    pub(super) loss_tokens: u64,
    pub(super) parameters: u64,
    /// Held-out loss under the cell's own objective, bits per character.
    pub(super) curve: Curve,
    pub(super) zero_shot: Graded,
    pub(super) multitask: Option<Graded>,
    pub(super) adapted: Option<Adapted>,
    /// From scratch for as long as an adaptation, with the learning rate fallen to nothing.
    pub(super) short: Option<Curve>,
}

/// All cells of one replicate.
pub(super) struct Replicate {
    pub(super) cells: Vec<CellResult>,
    /// Finetuned from random weights.
    pub(super) random: Vec<(Architecture, Graded)>,
    /// What finetuning went through.
    pub(super) finetuning: Vec<Item>,
    pub(super) finetuning_tokens: u64,
}

/// What is wanted of a run beside pretraining.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) finetuning: bool,
    pub(super) adaptation: bool,
}

/// What all cells of a replicate share: text, finetuning batches, random numbers.
struct Shared<'a> {
    config: &'a Config,
    prepared: &'a Prepared,
    text: TextStream,
    /// Held-out text for validation.
    held_out: TextStream,
    finetuning: Vec<Vec<Example>>,
    /// Random numbers of this replicate.
    stream: Stream,
    wanted: Wanted,
}

/// A model as numbers, with the curve of its training.
#[derive(Serialize, Deserialize)]
struct Trained {
    weights: Vec<Vec<f32>>,
    curve: Curve,
    account: (u64, u64),
}

/// Trains and judges all cells of replicate `index`.
pub(super) fn replicate(
    config: &Config,
    run: &mut Run,
    prepared: &Prepared,
    work: &mut Work,
    wanted: Wanted,
    index: usize,
) -> Result<Replicate> {
    let stream = run.stream("replicate").child(index as u64);
    let (shared, items) = Shared::new(config, prepared, stream, wanted);
    let mut cells = Vec::new();
    for cell in &config.cells {
        let name = format!("{} {}", cell.name(), index + 1);
        cells.push(run.part(&name, |run| shared.cell(run, work, *cell, index))?);
    }
    let mut random = Vec::new();
    if wanted.finetuning && config.checkpoint.is_none() {
        for architecture in Architecture::ALL {
            let name = format!("{} from random weights {}", architecture.name(), index + 1);
            let graded = run.part(&name, |run| {
                let model = shared.model(architecture)?;
                shared.finetune(run, work, &name, &model)
            })?;
            random.push((architecture, graded));
        }
    }
    let account = Account::of(shared.finetuning.iter().flatten());
    Ok(Replicate { cells, random, finetuning: items, finetuning_tokens: account.tokens })
}

impl<'a> Shared<'a> {
    fn new(config: &'a Config, prepared: &'a Prepared, stream: Stream, wanted: Wanted) -> (Self, Vec<Item>) {
        let vocabulary = &prepared.vocabulary;
        let steps = config.pretraining_steps() + config.adaptation_steps();
        let needed = steps as usize * config.batch * config.context;
        let text = TextStream::new(&prepared.corpus.train, vocabulary, stream.child(0), needed);
        let lines = prepared.corpus.held_out.iter().flat_map(HeldOut::fresh);
        let held_out = TextStream::held_out(lines, vocabulary, config.validation_examples * config.context);
        let (items, finetuning) = finetuning_batches(config, prepared, stream.child(1), wanted);
        (Self { config, prepared, text, held_out, finetuning, stream, wanted }, items)
    }

    /// A model with this replicate's random weights.
    fn model(&self, architecture: Architecture) -> Result<Model> {
        let seed = self.stream.child(2).at(0).next_u64();
        let sizes = self.prepared.sizes(self.config);
        Model::new(architecture, sizes, self.prepared.vocabulary.start(), &Init::new(seed))
            .map_err(|e| Error::failed(e.to_string()))
    }

    fn restored(&self, architecture: Architecture, weights: &[Vec<f32>]) -> Result<Model> {
        let model = self.model(architecture)?;
        for (param, values) in model.params().iter().zip(weights) {
            param.set(values).map_err(|e| Error::failed(e.to_string()))?;
        }
        Ok(model)
    }

    fn sampler(&self, objective: Objective) -> Sampler<'a> {
        Sampler {
            objective,
            corruption: self.config.corruption(),
            context: self.config.context,
            vocabulary: &self.prepared.vocabulary,
        }
    }

    fn recipe(&self, steps: u64, learning_rate: f64) -> Recipe {
        let Config { warmup, weight_decay, clip, .. } = *self.config;
        Recipe { steps, learning_rate, warmup, weight_decay, clip }
    }

    fn cell(&self, run: &mut Run, work: &mut Work, cell: Cell, index: usize) -> Result<CellResult> {
        let (architecture, objective) = (cell.architecture(), cell.objective());
        let name = format!("{} {}", cell.name(), index + 1);
        let trained = run.part("pretraining", |run| match &self.config.checkpoint {
            Some(path) => self.load(Path::new(path), cell),
            None => {
                let model = self.model(architecture)?;
                let steps = self.config.pretraining_steps();
                let trained = self.train(run, work, &name, &model, objective, steps, 0)?;
                self.save(&model, cell, index, run.seed())?;
                Ok(trained)
            }
        })?;
        let model = self.restored(architecture, &trained.weights)?;
        let asking = if cell.is_masked() { Asking::Sentinel } else { Asking::Continue };
        let zero_shot = self.judge(run, work, &name, &model, &self.prepared.zero_shot, asking)?;
        let adapted =
            if self.wanted.adaptation { self.adapt(run, work, cell, &trained.weights)? } else { None };
        let short = if adapted.is_some() {
            let steps = self.config.adaptation_steps();
            let name = format!("{name}, short");
            let model = self.model(architecture)?;
            Some(self.train(run, work, &name, &model, objective, steps, 0)?.curve)
        } else {
            None
        };
        let multitask =
            if self.wanted.finetuning { Some(self.finetune(run, work, &name, &model)?) } else { None };
        Ok(CellResult {
            cell,
            tokens: trained.account.0,
            loss_tokens: trained.account.1,
            parameters: model.parameter_count() as u64,
            curve: trained.curve,
            zero_shot,
            multitask,
            adapted,
            short,
        })
    }

    /// LM-A of ND-MLM: the causal mask and full language modelling. NC-A of CD-FLM: the non-causal mask and span corruption,
    /// then finetuning. Both read text that pretraining has not read.
    fn adapt(
        &self,
        run: &mut Run,
        work: &mut Work,
        cell: Cell,
        weights: &[Vec<f32>],
    ) -> Result<Option<Adapted>> {
        let (name, architecture, objective) = match cell {
            Cell::NdMlm => ("lm-a", Architecture::CausalDecoder, Objective::FullLm),
            Cell::CdFlm => ("nc-a", Architecture::NonCausalDecoder, Objective::MaskedLm),
            _ => return Ok(None),
        };
        let model = self.restored(architecture, weights)?;
        let steps = self.config.adaptation_steps();
        let read = self.config.pretraining_steps() as usize * self.config.batch * self.config.context;
        let trained = self.train(run, work, name, &model, objective, steps, read)?;
        let graded = if objective == Objective::FullLm {
            Some(self.judge(run, work, name, &model, &self.prepared.zero_shot, Asking::Continue)?)
        } else if self.wanted.finetuning {
            Some(self.finetune(run, work, name, &model)?)
        } else {
            None
        };
        Ok(Some(Adapted { curve: trained.curve, graded }))
    }

    /// Trains on text from token `from` on and watches the held-out loss.
    #[allow(
        clippy::too_many_arguments,
        reason = "a training is its model, objective, length and place in the text"
    )]
    fn train(
        &self,
        run: &mut Run,
        work: &mut Work,
        name: &str,
        model: &Model,
        objective: Objective,
        steps: u64,
        from: usize,
    ) -> Result<Trained> {
        let (config, vocabulary) = (self.config, &self.prepared.vocabulary);
        let sampler = self.sampler(objective);
        let held = self.held_out.some_examples(&sampler, self.stream.child(3), config.validation_examples);
        let every = (steps / config.points).max(1);
        let per_step = (config.batch * config.context) as f64;
        let mut curve = Curve::default();
        let mut account = Account::default();
        let mut problem = None;
        let mut watch = |run: &mut Run, step: u64| -> Result<()> {
            if step.is_multiple_of(every) || step == steps {
                let bits = bits_per_character(model, &held, vocabulary).map_err(|e| failed(name, &e))?;
                run.metric(&format!("{name} bits"), step, bits);
                curve.tokens.push(step as f64 * per_step);
                curve.loss.push(bits);
            }
            run.progress((work.done + step as f64 * per_step) / work.total, name)
        };
        watch(run, 0)?;
        let batch = |step| {
            let examples = self.text.examples(&sampler, self.stream.child(4), from, step, config.batch);
            examples.iter().for_each(|example| account.add(example));
            examples
        };
        let outcome = fit(model, &self.recipe(steps, config.learning_rate), batch, |step| {
            keep(&mut problem, watch(run, step))
        });
        settle(name, outcome, problem)?;
        work.done += steps as f64 * per_step;
        let weights = model.params().iter().map(ream_nn::Param::to_vec).collect();
        Ok(Trained { weights, curve, account: (account.tokens, account.loss_tokens) })
    }

    /// Multitask finetuning of a model, then T.
    fn finetune(&self, run: &mut Run, work: &mut Work, name: &str, model: &Model) -> Result<Graded> {
        let steps = self.finetuning.len() as u64;
        let tokens = self.config.finetuning_tokens as f64;
        let mut problem = None;
        let batch = |step: u64| self.finetuning[step as usize].clone();
        let recipe = self.recipe(steps, self.config.finetuning_rate);
        let outcome = fit(model, &recipe, batch, |step| {
            let done = work.done + tokens * step as f64 / steps as f64;
            keep(&mut problem, run.progress(done / work.total, &format!("{name}: finetuning")))
        });
        settle(name, outcome, problem)?;
        work.done += tokens;
        self.judge(run, work, name, model, &self.prepared.multitask, Asking::Answer)
    }

    /// Asks a model all items.
    fn judge(
        &self,
        run: &mut Run,
        work: &mut Work,
        name: &str,
        model: &Model,
        items: &[Item],
        asking: Asking,
    ) -> Result<Graded> {
        let mut problem = None;
        let cost = 60.0 * items.iter().map(|item| item.options.len()).sum::<usize>() as f64 / 3.0;
        let outcome = log_probs(model, items, asking, &self.prepared.vocabulary, |share| {
            let done = work.done + share * cost;
            keep(&mut problem, run.progress(done / work.total, &format!("{name}: scoring")))
        });
        let scores = match (outcome, problem) {
            (_, Some(problem)) => return Err(problem),
            (outcome, None) => outcome.map_err(|e| failed(name, &e))?,
        };
        work.done += cost;
        Ok(Graded {
            sum: grade(items, &scores, Ranking::Sum),
            per_token: grade(items, &scores, Ranking::PerToken),
        })
    }

    fn identity(&self, cell: Cell) -> serde_json::Value {
        serde_json::json!({ "cell": cell.name(), "sizes": self.prepared.sizes(self.config) })
    }

    /// Saves a pretrained model where the configuration says.
    fn save(&self, model: &Model, cell: Cell, index: usize, seed: u64) -> Result<()> {
        let Some(folder) = self.config.save_to.as_deref().map(Path::new) else { return Ok(()) };
        let problem = |e: &dyn std::fmt::Display| Error::Input(format!("save_to: {e}"));
        std::fs::create_dir_all(folder)
            .map_err(|e| problem(&format!("cannot create {}: {e}", folder.display())))?;
        let steps = self.config.pretraining_steps();
        Checkpoint::of(&self.identity(cell), seed, &self.prepared.data, steps, &model.params())
            .and_then(|c| c.write(&folder.join(format!("{}-{}.safetensors", cell.name(), index + 1))))
            .map_err(|e| problem(&e))
    }

    /// A saved model in place of a pretraining; its curve is its held-out loss alone.
    fn load(&self, path: &Path, cell: Cell) -> Result<Trained> {
        let problem = |e: NnError| Error::Input(e.to_string());
        let checkpoint = Checkpoint::read(path).map_err(problem)?;
        checkpoint.expect_config(path, &self.identity(cell)).map_err(problem)?;
        if checkpoint.data != self.prepared.data {
            let place = format!("checkpoint {}", path.display());
            return Err(
                Invalid::new(place, "a model of the same text and tokenizer", "one of another text").into()
            );
        }
        let model = self.model(cell.architecture())?;
        checkpoint.restore(&model.params()).map_err(problem)?;
        let sampler = self.sampler(cell.objective());
        let held =
            self.held_out.some_examples(&sampler, self.stream.child(3), self.config.validation_examples);
        let bits = bits_per_character(&model, &held, &self.prepared.vocabulary).map_err(problem)?;
        let per_step = (self.config.batch * self.config.context) as u64;
        let curve = Curve { tokens: vec![(checkpoint.step * per_step) as f64], loss: vec![bits] };
        let weights = model.params().iter().map(ream_nn::Param::to_vec).collect();
        Ok(Trained { weights, curve, account: (0, 0) })
    }
}

/// The cell of a saved model.
///
/// # Errors
/// The file cannot be read, is damaged, or holds no model of the grid.
pub(super) fn cell_of_checkpoint(path: &Path) -> Result<Cell> {
    let checkpoint = Checkpoint::read(path).map_err(|e| Error::Input(e.to_string()))?;
    let config: serde_json::Value = serde_json::from_str(&checkpoint.config).unwrap_or_default();
    let name = config.get("cell").and_then(serde_json::Value::as_str).unwrap_or("none").to_owned();
    Cell::ALL.into_iter().find(|cell| cell.name() == name).ok_or_else(|| {
        let place = format!("checkpoint {}", path.display());
        Invalid::new(place, "a model of a cell of the grid", name).into()
    })
}

/// Questions of finetuning, and the batches of examples made of them until there are enough tokens.
fn finetuning_batches(
    config: &Config,
    prepared: &Prepared,
    stream: Stream,
    wanted: Wanted,
) -> (Vec<Item>, Vec<Vec<Example>>) {
    let (mut items, mut batches) = (Vec::new(), Vec::new());
    if !wanted.finetuning {
        return (items, batches);
    }
    let vocabulary = &prepared.vocabulary;
    let mixture = Mixture::trained(&prepared.corpus.train, vocabulary, config.context, stream);
    let size = 2 * config.batch;
    let (mut account, mut batch) = (Account::default(), Vec::new());
    // A text that gives no question of some family is asked for the next one; one that gives none at all ends this.
    let mut misses = 0;
    let mut index = 0;
    while account.tokens < config.finetuning_tokens && misses < 100 {
        let Some(item) = mixture.item(index) else {
            (index, misses) = (index + 1, misses + 1);
            continue;
        };
        (index, misses) = (index + 1, 0);
        let example = finetuning_example(&item, vocabulary);
        account.add(&example);
        batch.push(example);
        items.push(item);
        if batch.len() == size {
            batches.push(std::mem::take(&mut batch));
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    (items, batches)
}

/// Keeps the first problem and stops.
fn keep(problem: &mut Option<Error>, result: Result<()>) -> ControlFlow<()> {
    match result {
        Ok(()) => GO_ON,
        Err(error) => {
            *problem = Some(error);
            ControlFlow::Break(())
        }
    }
}

/// A training's outcome; what stopped it goes before the stop.
fn settle(name: &str, outcome: Result<(), NnError>, problem: Option<Error>) -> Result<()> {
    match (outcome, problem) {
        (_, Some(problem)) => Err(problem),
        (outcome, None) => outcome.map_err(|e| failed(name, &e)),
    }
}

fn failed(name: &str, error: &NnError) -> Error {
    Error::failed(format!("{name}: {error}"))
}

//! The experiments under a [`Run`]: read, train, calibrate, count, time; observe.

mod race;

use super::config::{Arm, Config, TextTraining, arms};
use super::corpus::{Corpus, frequent};
use super::costs::{Between, CostCurve, Plan, measure_passes, plans};
use super::decode::{Acceptance, Generated, Speculative};
use super::drafter::{DraftHeads, Drafter, PromptLookup};
use super::heads::{Heads, failed};
use super::lossless::test_law;
use super::replay::{Continuation, continuations, ranks, replay};
use super::training::train;
use super::tree::{PathCounts, StaticTree};
use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_lm::LanguageModel;
use ream_rand::Stream;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;

/// Tokens that prompt lookup compares at most.
const LOOKUP: usize = 3;
/// Resamples of prompts.
const DRAWS: usize = 400;
/// Repetitions of a measured cost.
const COST_REPETITIONS: usize = 9;
/// Tokens of the continuations that exact sampling is tested on.
const TESTED_TOKENS: usize = 3;
/// Continuations that are shown as text.
const SHOWN: usize = 6;

/// What is studied: a base with its texts.
pub(crate) struct Study<'a> {
    pub(crate) config: &'a Config,
    pub(crate) name: &'static str,
    pub(crate) lm: LanguageModel,
    pub(crate) training: &'a TextTraining,
    /// Text for the heads, in the order in which it is read.
    pub(crate) training_tokens: Vec<u32>,
    pub(crate) calibration: Vec<Vec<u32>>,
    pub(crate) prompts: Vec<Vec<u32>>,
    /// Whether each of Hydra++'s additions is trained alone, too.
    pub(crate) ingredients: bool,
    /// Nodes of the trees that are timed; none lets the measured costs choose.
    pub(crate) forced: Option<usize>,
    /// Longest path of a tree; none for one guess of every head.
    pub(crate) depth: Option<usize>,
    /// The rule under which the prompts are continued for the report.
    pub(crate) shown: Option<Acceptance>,
    /// Heads that are there already, in place of Hydra++.
    pub(crate) given: Option<Heads>,
    /// Where Hydra++ is written.
    pub(crate) save: Option<PathBuf>,
}

/// What the pictures show of a base.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) base: String,
    /// Nodes of the compared tree.
    pub(crate) tree: usize,
    /// Arm, tokens per pass in the tree with interval, in the chain with interval.
    pub(crate) lengths: Vec<(String, Estimate, Estimate)>,
    /// Arm, accuracy of each head.
    pub(crate) accuracy: Vec<(String, Vec<f64>)>,
    /// Sizes of trees; modelled and memory-bound ratios of Hydra++.
    pub(crate) modelled: Vec<(f64, f64, f64)>,
    /// Sizes of trees, measured ratio of Hydra++ with its range.
    pub(crate) measured: Vec<(f64, f64, [f64; 2])>,
    /// Tokens of one text with the pass that gave each.
    pub(crate) text: Vec<(String, usize)>,
}

/// A mean with its interval over prompts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) draws: Vec<f64>,
}

impl Estimate {
    /// Tokens per pass of texts whose passes gave these runs; prompts are resampled, the same ones for every arm.
    fn of(runs: &[Vec<usize>], seed: u64) -> Self {
        let sums: Vec<(f64, f64)> =
            runs.iter().map(|r| (r.iter().sum::<usize>() as f64, r.len() as f64)).collect();
        let ratio = |picked: &mut dyn Iterator<Item = usize>| {
            let (tokens, passes) = picked.fold((0.0, 0.0), |(t, p), i| (t + sums[i].0, p + sums[i].1));
            tokens / passes
        };
        let stream = Stream::new(seed, "prompts resampled");
        let draws = (0..DRAWS)
            .map(|k| {
                let mut rng = stream.at(k as u64);
                ratio(&mut (0..sums.len()).map(|_| rng.below(sums.len())))
            })
            .collect();
        Self { value: ratio(&mut (0..sums.len())), draws }
    }

    pub(crate) fn interval(&self) -> [f64; 2] {
        let mut sorted = self.draws.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| sorted.get((q * (sorted.len() as f64 - 1.0)).round() as usize).copied();
        [at(0.025).unwrap_or(self.value), at(0.975).unwrap_or(self.value)]
    }
}

/// Trained heads ready to draft, with what calibration and measurement chose for them.
struct Ready {
    name: String,
    heads: DraftHeads,
    counts: PathCounts,
    plans: Vec<Plan>,
}

impl Study<'_> {
    fn at(&self) -> [(&'static str, Place); 1] {
        [("base", Place::from(self.name))]
    }

    fn place(&self, key: &'static str, value: impl Into<Place>) -> [(&'static str, Place); 2] {
        [("base", Place::from(self.name)), (key, value.into())]
    }

    /// Measures of the small base have seeds; those of a base that is studied once end in `_real`.
    fn measure(&self, name: &str) -> String {
        if self.name == "smollm2" { format!("{name}_real") } else { name.to_owned() }
    }

    fn d(&self) -> usize {
        self.lm.model.config().width
    }

    fn vocabulary(&self) -> (Vec<u32>, usize) {
        let (model, settings) = (&self.lm.model, &self.config.heads);
        let tokens = model.config().vocab;
        if tokens <= settings.vocabulary {
            return ((0..tokens as u32).collect(), 0);
        }
        (frequent(&self.training_tokens, tokens, settings.vocabulary), settings.rank)
    }

    /// Everything about one base.
    pub(crate) fn run(&self, run: &mut Run) -> Result<Seen> {
        let heads = self.train_all(run)?;
        let mut ready = self.calibrate(run, heads)?;
        let texts = self.write(run, &self.prompts, "writing the base's own texts")?;
        let mut seen =
            Seen { base: self.name.to_owned(), tree: self.config.evaluation.tree, ..Seen::default() };
        self.lengths(run, &ready, &texts, &mut seen)?;
        self.accuracy(run, &ready, &texts, &mut seen)?;
        self.equality(run, &ready, &texts, &mut seen)?;
        self.rules(run, &ready, &texts)?;
        self.show(run, &ready, &texts)?;
        if run.wanted(&self.measure("wall_over_ar")) {
            let curve = self.costs(run, &mut ready, &texts)?;
            self.wall(run, &ready, &texts, &curve, &mut seen)?;
        }
        Ok(seen)
    }

    fn write(&self, run: &mut Run, prompts: &[Vec<u32>], what: &str) -> Result<Vec<Continuation>> {
        let what = format!("{}: {what}", self.name);
        continuations(&self.lm.model, prompts, self.config.evaluation.new_tokens, |share| {
            run.progress(0.4 + 0.1 * share, &what)
        })
    }

    /// Windows of the text, and windows that go on as the base does; how many tokens the latter have.
    fn text(&self, run: &mut Run) -> Result<(Vec<u32>, usize)> {
        let (window, all) = (self.training.window, &self.training_tokens);
        let used = self.training.tokens.min(all.len()) / window * window;
        let mut text = all[..used].to_vec();
        let begin = (window / 4).max(1);
        let more = all[used..].chunks_exact(window).map(|part| part[..begin].to_vec());
        let prompts: Vec<Vec<u32>> = more.take(self.training.own_tokens / window).collect();
        if prompts.len() < self.training.own_tokens / window {
            run.warn(format!(
                "{}: the text has beginnings for {} of {} windows of the base's own text",
                self.name,
                prompts.len(),
                self.training.own_tokens / window
            ));
        }
        let what = format!("{}: writing text to train on", self.name);
        for own in continuations(&self.lm.model, &prompts, window - begin, |share| {
            run.progress(0.05 * share, &what)
        })? {
            text.extend(&own.tokens);
        }
        let own = text.len() - used;
        Ok((text, own))
    }

    /// Reads the text once and trains every set of heads on it.
    fn train_all(&self, run: &mut Run) -> Result<Vec<(String, Heads)>> {
        let (vocabulary, rank) = self.vocabulary();
        let (text, own) = self.text(run)?;
        let what = format!("{}: reading {} tokens", self.name, text.len());
        let begun = Instant::now();
        let corpus = Corpus::read(&self.lm.model, &text, self.training.window, |share| {
            run.progress(0.05 + 0.05 * share, &what)
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        let scales = corpus.scales(&self.lm.model)?;
        let mut table = Table::new(
            format!("Draft heads for {}", self.name),
            &["heads", "trained numbers", "steps", "first loss, nats", "last loss, nats", "seconds"],
        );
        table.note = format!(
            "{} tokens, of them {} the base's own greedy continuations, read once by the base in {seconds:.1} s; {} tokens are drafted{}. Losses: sum over heads, mean of ten steps; Medusa weighs head i by 0.8^i, so rows compare within a kind of loss only.",
            corpus.len(),
            own,
            vocabulary.len(),
            if rank > 0 { format!(", their rows corrected by rank {rank}") } else { String::new() },
        );
        let arms: Vec<Arm> = arms(&self.config.heads, rank, self.ingredients)
            .into_iter()
            .filter(|arm| self.given.is_none() || arm.name != "hydra++")
            .collect();
        let mut all = Vec::new();
        for (number, arm) in arms.iter().enumerate() {
            let heads = Heads::new(&self.lm.model, arm.shape, &vocabulary, scales, run.seed())?;
            let what = format!("{}: training {}", self.name, arm.name);
            let begun = Instant::now();
            let (seed, count) = (run.seed(), arms.len() as f64);
            let settings = (&self.training.optimisation, arm.distil);
            let mut losses = Vec::new();
            train(&heads, &self.lm.model, &corpus, settings, seed, |progress| {
                losses.push(f64::from(progress.loss));
                let share = (number as f64 + progress.step as f64 / progress.steps as f64) / count;
                run.progress(0.1 + 0.3 * share, &what)
            })?;
            for (step, loss) in losses.iter().enumerate().step_by(5) {
                run.metric(&format!("{} {} loss", self.name, arm.name), step as u64 + 1, *loss);
            }
            let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
            let ten = losses.len().min(10);
            table.rows.push(vec![
                arm.name.into(),
                (ream_nn::Module::parameter_count(&heads) as u64).into(),
                self.training.optimisation.steps.into(),
                mean(&losses[..ten]).into(),
                mean(&losses[losses.len() - ten..]).into(),
                begun.elapsed().as_secs_f64().into(),
            ]);
            all.push((arm.name.to_owned(), heads));
        }
        if let Some(given) = &self.given {
            all.push(("hydra++".to_owned(), given.clone()));
        }
        if let (Some(path), Some((_, heads))) = (&self.save, all.last()) {
            heads.save(path)?;
        }
        run.table(table);
        Ok(all)
    }

    /// Counts paths on the base's own continuations of calibration prompts.
    fn calibrate(&self, run: &mut Run, heads: Vec<(String, Heads)>) -> Result<Vec<Ready>> {
        let texts = self.write(run, &self.calibration, "writing the text for calibration")?;
        heads
            .into_iter()
            .map(|(name, heads)| {
                run.progress(0.5, &format!("{}: calibrating the tree of {name}", self.name))?;
                let heads = DraftHeads::new(&heads)?;
                let mut counts = PathCounts::default();
                let mut drafter = heads.drafter(&self.lm.model);
                for text in &texts {
                    for row in ranks(&mut drafter, heads.len(), text, self.d())? {
                        counts.add(&row[..self.depth.unwrap_or(row.len()).min(row.len())]);
                    }
                }
                Ok(Ready { name, counts, plans: Vec::new(), heads })
            })
            .collect()
    }

    /// Tokens per pass in trees of one size and in chains, counted on the base's own texts.
    fn lengths(&self, run: &mut Run, ready: &[Ready], texts: &[Continuation], seen: &mut Seen) -> Result<()> {
        let nodes = self.config.evaluation.tree;
        let mut table = Table::new(
            format!("Tokens per pass on {}", self.name),
            &["drafts", "tree", "low", "high", "chain", "low", "high", "depth of the tree"],
        );
        table.note = format!(
            "Greedy. Trees of {nodes} nodes, each system's own, calibrated on {} positions; chains of one guess of every head. 95 % intervals over {} prompts. Counted on the base's own text, which equals decoding live.",
            ready.first().map_or(0, |r| r.counts.positions()),
            texts.len()
        );
        let of = |drafter: &mut dyn Drafter, tree: &StaticTree| -> Result<Estimate> {
            let runs =
                texts.iter().map(|t| replay(drafter, tree, t, self.d())).collect::<Result<Vec<_>>>()?;
            Ok(Estimate::of(&runs, 0))
        };
        for r in ready {
            run.progress(0.55, &format!("{}: counting tokens per pass of {}", self.name, r.name))?;
            let mut drafter = r.heads.drafter(&self.lm.model);
            let tree = r.counts.tree(nodes)?;
            let in_tree = of(&mut drafter, &tree)?;
            let in_chain = of(&mut drafter, &StaticTree::chain(r.heads.len()))?;
            self.observe_lengths(run, &r.name, &in_tree, &in_chain, (&mut table, tree.depth()), seen);
        }
        let chain = StaticTree::chain(self.config.heads.count);
        let lookup = of(&mut PromptLookup::new(LOOKUP), &chain)?;
        self.observe_lengths(run, "prompt-lookup", &lookup, &lookup, (&mut table, chain.depth()), seen);
        run.table(table);
        if self.ingredients {
            self.ingredients(run, seen);
        }
        Ok(())
    }

    fn observe_lengths(
        &self,
        run: &mut Run,
        arm: &str,
        in_tree: &Estimate,
        in_chain: &Estimate,
        (table, depth): (&mut Table, usize),
        seen: &mut Seen,
    ) {
        let mut row = vec![Cell::from(arm)];
        for (shape, estimate) in [("tree", in_tree), ("chain", in_chain)] {
            let (at, measure) = (self.place("shape", shape), self.measure("acceptance_length"));
            run.observe_with(&measure, arm, &at, estimate.value, Spread::Draws(estimate.draws.clone()));
            let [low, high] = estimate.interval();
            row.extend([estimate.value.into(), low.into(), high.into()]);
        }
        row.push((depth as u64).into());
        table.rows.push(row);
        seen.lengths.push((arm.to_owned(), in_tree.clone(), in_chain.clone()));
    }

    /// What each addition alone does to Hydra's tokens per pass, in the tree.
    fn ingredients(&self, run: &mut Run, seen: &Seen) {
        let of = |arm: &str| seen.lengths.iter().find(|l| l.0 == arm).map(|l| l.1.value);
        let Some(hydra) = of("hydra") else { return };
        let mut sum = 0.0;
        for ingredient in ["distillation", "depth", "prefix-attention"] {
            let Some(with) = of(&format!("hydra-{ingredient}")) else { return };
            run.observe("ingredient_gain", ingredient, &self.at(), with - hydra);
            sum += with - hydra;
        }
        run.observe("ingredient_sum", "hydra++", &self.at(), sum);
    }

    /// How often each head's first guess is the base's token, given the base's tokens before it.
    fn accuracy(
        &self,
        run: &mut Run,
        ready: &[Ready],
        texts: &[Continuation],
        seen: &mut Seen,
    ) -> Result<()> {
        let count = self.config.heads.count;
        let names: Vec<String> = (1..=count).map(|i| format!("head {i}")).collect();
        let mut columns = vec!["heads"];
        columns.extend(names.iter().map(String::as_str));
        let mut table = Table::new(format!("First guesses that are right, {}", self.name), &columns);
        table.note = "Share of positions of the base's own texts at which a head's most probable token is the base's, given the base's tokens in place of the guesses before it (accepted parents). Last row: Hydra's heads with zeros in place of those tokens.".to_owned();
        let mut sets: Vec<(String, DraftHeads)> =
            ready.iter().map(|r| (r.name.clone(), r.heads.clone())).collect();
        if let Some(hydra) = ready.iter().find(|r| r.name == "hydra") {
            sets.push(("hydra-without-embeddings".to_owned(), hydra.heads.without_embeddings()));
        }
        for (name, heads) in sets {
            run.progress(0.6, &format!("{}: first guesses of {name}", self.name))?;
            let mut drafter = heads.drafter(&self.lm.model);
            let (mut right, mut all) = (vec![0_u64; heads.len()], 0_u64);
            for text in texts {
                for row in ranks(&mut drafter, heads.len(), text, self.d())? {
                    all += 1;
                    right.iter_mut().zip(&row).for_each(|(n, rank)| *n += u64::from(*rank == Some(0)));
                }
            }
            let shares: Vec<f64> = right.iter().map(|n| *n as f64 / all.max(1) as f64).collect();
            for (i, share) in shares.iter().enumerate() {
                let at = self.place("head", (i + 1) as f64);
                run.observe(&self.measure("head_accuracy"), &name, &at, *share);
            }
            if name != "hydra-without-embeddings" {
                let mebibytes = heads.size() as f64 / f64::from(1 << 20);
                run.observe(&self.measure("heads_size"), &name, &self.at(), mebibytes);
            }
            let cells = std::iter::once(Cell::from(name.as_str())).chain(shares.iter().map(|s| (*s).into()));
            table.rows.push(cells.collect());
            seen.accuracy.push((name, shares));
        }
        run.observe(&self.measure("heads_size"), "prompt-lookup", &self.at(), 0.0);
        run.table(table);
        Ok(())
    }

    /// Decodes every prompt live with every drafter and compares with the base's own text; tests exact sampling.
    fn equality(
        &self,
        run: &mut Run,
        ready: &[Ready],
        texts: &[Continuation],
        seen: &mut Seen,
    ) -> Result<()> {
        let mut table = Table::new(
            format!("Is the text unchanged? {}", self.name),
            &["drafts", "equal texts", "of", "passes", "chi-square p", "degrees of freedom"],
        );
        let ties: usize = texts.iter().map(|t| t.near_ties).sum();
        table.note = format!(
            "Greedy texts of {} tokens, in trees and chains in turn, against decoding one by one: no text is left out, though {ties} of all places had two tokens within 1e-4. Exact sampling: {} draws of {TESTED_TOKENS} tokens against the base's own law.",
            self.config.evaluation.new_tokens, self.config.evaluation.draws
        );
        run.observe(&self.measure("near_ties"), "base", &self.at(), ties as f64);
        for r in ready {
            let tree = r.counts.tree(self.config.evaluation.tree)?;
            let mut drafter = r.heads.drafter(&self.lm.model);
            let row = self.one_equality(run, &r.name, &mut drafter, &tree, texts, seen)?;
            table.rows.push(row);
        }
        let chain = StaticTree::chain(self.config.heads.count);
        let mut lookup = PromptLookup::new(LOOKUP);
        table.rows.push(self.one_equality(run, "prompt-lookup", &mut lookup, &chain, texts, seen)?);
        run.table(table);
        Ok(())
    }

    fn one_equality(
        &self,
        run: &mut Run,
        name: &str,
        drafter: &mut dyn Drafter,
        tree: &StaticTree,
        texts: &[Continuation],
        seen: &mut Seen,
    ) -> Result<Vec<Cell>> {
        let (mut equal, mut passes) = (0, 0);
        let chain = StaticTree::chain(self.config.heads.count.min(drafter.depth().unwrap_or(usize::MAX)));
        for (i, text) in texts.iter().enumerate() {
            let share = i as f64 / texts.len() as f64;
            run.progress(0.62 + 0.1 * share, &format!("{}: decoding with {name}", self.name))?;
            // Trees and chains in turn: both must leave the text as it is.
            let tree = if i % 2 == 0 { tree } else { &chain };
            let generated = self.generate(drafter, tree, text, Acceptance::Greedy, 0)?;
            equal += usize::from(generated.tokens == text.written());
            passes += generated.runs.len();
            if name == "hydra++" && i == 0 {
                seen.text = self.passes_of(&generated);
            }
        }
        run.observe(&self.measure("equal_text"), name, &self.at(), equal as f64 / texts.len() as f64);
        let mut row: Vec<Cell> =
            vec![name.into(), (equal as u64).into(), (texts.len() as u64).into(), (passes as u64).into()];
        let tested = self.name != "smollm2" && self.config.evaluation.draws > 0;
        if tested && run.wanted("chi_square_p") {
            let exact = Acceptance::Exact { temperature: self.config.evaluation.temperature };
            let draws = (self.config.evaluation.draws, run.seed());
            let what = format!("{}: exact sampling with {name}", self.name);
            let prompt = texts[0].prompt();
            let test = test_law(&self.lm.model, drafter, (prompt, TESTED_TOKENS), exact, draws, |share| {
                run.progress(0.72 + 0.05 * share, &what)
            })?;
            match test {
                Some(test) => {
                    run.observe("chi_square_p", name, &self.at(), test.p);
                    row.extend([test.p.into(), test.freedom.into()]);
                }
                None => run.warn(format!(
                    "{}: {} draws are too few for a chi-square test of the law after the first prompt",
                    self.name, self.config.evaluation.draws
                )),
            }
        }
        Ok(row)
    }

    fn generate(
        &self,
        drafter: &mut dyn Drafter,
        tree: &StaticTree,
        text: &Continuation,
        acceptance: Acceptance,
        seed: u64,
    ) -> Result<Generated> {
        let mut live = Speculative::new(&self.lm.model, drafter, tree, acceptance, seed)?;
        live.generate(text.prompt(), self.config.evaluation.new_tokens)
    }

    /// Every token as text, with the pass that gave it.
    fn passes_of(&self, generated: &Generated) -> Vec<(String, usize)> {
        let passes =
            generated.runs.iter().enumerate().flat_map(|(pass, run)| std::iter::repeat_n(pass, *run));
        generated
            .tokens
            .iter()
            .zip(passes)
            .map(|(token, pass)| (self.lm.tokenizer.decode_text(&[*token]), pass))
            .collect()
    }

    /// Hydra++ under the three rules of acceptance.
    fn rules(&self, run: &mut Run, ready: &[Ready], texts: &[Continuation]) -> Result<()> {
        let Some(r) = ready.iter().find(|r| r.name == "hydra++") else { return Ok(()) };
        let e = &self.config.evaluation;
        let mut table = Table::new(
            format!("Hydra++ under three rules of acceptance, {}", self.name),
            &["rule", "tokens per pass", "texts that are the greedy text", "lossless"],
        );
        table.note = format!(
            "{} prompts. Greedy and typical in the tree of {} nodes, exact in the chain; typical with epsilon = {} and exact at temperature {}. Typical acceptance changes the text.",
            e.timed_prompts, e.tree, e.epsilon, e.temperature
        );
        let (tree, chain) = (r.counts.tree(e.tree)?, StaticTree::chain(r.heads.len()));
        for (name, acceptance, tree, lossless) in [
            ("greedy", Acceptance::Greedy, &tree, "yes"),
            ("typical", Acceptance::Typical { epsilon: e.epsilon, temperature: e.temperature }, &tree, "no"),
            ("exact", Acceptance::Exact { temperature: e.temperature }, &chain, "in law"),
        ] {
            let (mut runs, mut equal) = (Vec::new(), 0_u64);
            for (i, text) in texts.iter().take(e.timed_prompts).enumerate() {
                run.progress(0.78, &format!("{}: {name} acceptance", self.name))?;
                let mut drafter = r.heads.drafter(&self.lm.model);
                let seed = run.seed().wrapping_mul(1000) + i as u64;
                let generated = self.generate(&mut drafter, tree, text, acceptance, seed)?;
                equal += u64::from(generated.tokens == text.written());
                runs.push(generated.runs);
            }
            let length = Estimate::of(&runs, 0);
            run.observe(&self.measure("rule_length"), "hydra++", &self.place("rule", name), length.value);
            table.rows.push(vec![name.into(), length.value.into(), equal.into(), lossless.into()]);
        }
        run.table(table);
        Ok(())
    }

    /// The prompts continued by Hydra++ under the rule that was asked for, as texts.
    fn show(&self, run: &mut Run, ready: &[Ready], texts: &[Continuation]) -> Result<()> {
        let (Some(acceptance), Some(r)) = (self.shown, ready.iter().find(|r| r.name == "hydra++")) else {
            return Ok(());
        };
        let tree = r.counts.tree(self.config.evaluation.tree)?;
        for (i, text) in texts.iter().take(SHOWN).enumerate() {
            let mut drafter = r.heads.drafter(&self.lm.model);
            let generated = self.generate(&mut drafter, &tree, text, acceptance, run.seed() + i as u64)?;
            let decode = |tokens: &[u32]| self.lm.tokenizer.decode_text(tokens);
            let length = generated.tokens.len() as f64 / generated.runs.len().max(1) as f64;
            let title = format!("Prompt {}: {length:.2} tokens per pass", i + 1);
            run.sample(&title, &format!("{}\u{2502}{}", decode(text.prompt()), decode(&generated.tokens)));
        }
        Ok(())
    }

    /// The cost of passes and drafts, and the tree that is modelled to be the fastest for each set of heads.
    fn costs(&self, run: &mut Run, ready: &mut [Ready], texts: &[Continuation]) -> Result<CostCurve> {
        run.progress(0.8, &format!("{}: timing passes", self.name))?;
        let e = &self.config.evaluation;
        let text = &texts[0];
        let curve = measure_passes(&self.lm.model, text.prompt(), &e.sizes, COST_REPETITIONS)?;
        let mut table = Table::new(
            format!("What a pass costs, {}", self.name),
            &["nodes m", "milliseconds", "c(m) = t(m) / t(1)"],
        );
        table.note =
            format!("Medians of {COST_REPETITIONS} interleaved repetitions after {} tokens.", text.prompt);
        for (nodes, seconds) in &curve.points {
            let cells: Vec<Cell> =
                vec![(*nodes as u64).into(), (1e3 * seconds).into(), curve.relative(*nodes).into()];
            table.rows.push(cells);
            run.observe(
                &self.measure("pass_cost"),
                "base",
                &self.place("nodes", *nodes as f64),
                curve.relative(*nodes),
            );
        }
        run.table(table);
        let d = self.d();
        let mut between = Between::new(&self.lm.model, text.prompt())?;
        for r in ready.iter_mut() {
            run.progress(0.82, &format!("{}: timing drafts of {}", self.name, r.name))?;
            let mut drafter = r.heads.drafter(&self.lm.model);
            drafter.read(text.prompt(), &text.states[..text.prompt * d])?;
            let sample = (text.tokens[text.prompt], &text.states[text.prompt * d..(text.prompt + 1) * d]);
            let sizes = (&curve, e.sizes.as_slice());
            r.plans = plans(&mut drafter, &r.counts, sizes, sample, &mut between, COST_REPETITIONS)?;
        }
        Ok(curve)
    }
}

/// Prompts: the first tokens of pieces, those that are long enough, `count` of them in an order drawn from `stream`.
///
/// # Errors
/// Fewer pieces than prompts.
pub(crate) fn prompts(
    lm: &LanguageModel,
    pieces: &[String],
    (count, tokens): (usize, usize),
    stream: Stream,
) -> Result<Vec<Vec<u32>>> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    stream.at(0).shuffle(&mut order);
    let mut all = Vec::with_capacity(count);
    for i in order {
        if all.len() == count {
            break;
        }
        let mut prompt = lm.encode(&pieces[i]);
        if prompt.len() >= tokens {
            prompt.truncate(tokens);
            all.push(prompt);
        }
    }
    if all.len() < count {
        return Err(failed(format!(
            "{} of {} pieces of text have {tokens} tokens; {count} prompts are wanted",
            all.len(),
            pieces.len()
        )));
    }
    Ok(all)
}

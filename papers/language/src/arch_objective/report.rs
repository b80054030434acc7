//! From the results of all replicates to observations, tables and pictures.

use ream_lab::{Cell as TableCell, Place, Result, Run, Spread, Table};
use ream_rand::Stream;

use super::adaptation::{Curve, SpeedUp, decayed_speed_up, speed_up};
use super::cells::Cell;
use super::config::Config;
use super::experiments::{Adapted, CellResult, Graded, Prepared, Replicate};
use super::items::Item;
use super::multitask::overlap;
use super::pictures;
use super::scoring::{Drawn, Ranking, TaskScore, Unigram, average, grade, macro_score};
use super::training::TextStream;

/// Tokens that the unigram scorer is fitted on, at most.
const UNIGRAM_TOKENS: usize = 500_000;

/// What an arm answered in every replicate.
struct Arm {
    name: String,
    graded: Vec<Graded>,
}

impl Arm {
    fn average(&self, by_token: bool) -> Vec<TaskScore> {
        let each: Vec<Vec<TaskScore>> =
            self.graded.iter().map(|g| if by_token { g.per_token.clone() } else { g.sum.clone() }).collect();
        average(&each)
    }
}

/// Names of the measures of one set of items.
struct Set {
    score: &'static str,
    accuracy: &'static str,
    by_length: &'static str,
    by_replicate: &'static str,
    title: &'static str,
}

const BEFORE: Set = Set {
    score: "zero_shot",
    accuracy: "zero_shot_accuracy",
    by_length: "zero_shot_by_length",
    by_replicate: "zero_shot_by_replicate",
    title: "Pretraining only: the zero-shot set Z",
};
const AFTER: Set = Set {
    score: "multitask",
    accuracy: "multitask_accuracy",
    by_length: "multitask_by_length",
    by_replicate: "multitask_by_replicate",
    title: "After multitask finetuning: the held-out families T",
};

/// Observes everything and draws it.
pub(super) fn report(config: &Config, run: &mut Run, prepared: &Prepared, all: &[Replicate]) -> Result<()> {
    let before = observe_set(config, run, &BEFORE, arms_before(all, prepared, config), &prepared.zero_shot);
    let after_arms = arms_after(all, prepared, config);
    let after = match after_arms.first() {
        Some(_) => observe_set(config, run, &AFTER, after_arms, &prepared.multitask),
        None => Vec::new(),
    };
    extremes(run, &before, &after);
    run.sample("One item of each task of Z", &one_of_each(&prepared.zero_shot));
    run.sample("One item of each family of T", &one_of_each(&prepared.multitask));
    tokens(config, run, all);
    check_overlap(run, prepared, all);
    let of_cells = |scores: &[(String, Drawn)]| -> Vec<(Cell, Drawn)> {
        let find = |cell: Cell| scores.iter().find(|(name, _)| name == cell.name());
        Cell::ALL.into_iter().filter_map(|cell| Some((cell, find(cell)?.1.clone()))).collect()
    };
    run.figure("scores", pictures::scores(&of_cells(&before), &of_cells(&after)))?;
    run.figure("attention", pictures::attention(6, 12))?;
    adaptations(run, all)
}

/// The first item of each task as a reader would put it, the right option marked.
fn one_of_each(items: &[Item]) -> String {
    let mut text = String::new();
    let mut last = "";
    for item in items.iter().filter(|item| std::mem::replace(&mut last, &item.task) != item.task) {
        text += &format!("{}\n  {}\n", item.task, item.prompt.replace('\n', "\n  "));
        for (at, option) in item.options.iter().enumerate() {
            let mark = if at == item.answer { "->" } else { "  " };
            text += &format!("  {mark} [{option}]\n");
        }
        text.push('\n');
    }
    text
}

fn arms_of(all: &[Replicate], pick: impl Fn(&CellResult) -> Option<(String, Graded)>) -> Vec<Arm> {
    let mut arms: Vec<Arm> = Vec::new();
    for result in all.iter().flat_map(|replicate| &replicate.cells) {
        let Some((name, graded)) = pick(result) else { continue };
        match arms.iter_mut().find(|arm| arm.name == name) {
            Some(arm) => arm.graded.push(graded),
            None => arms.push(Arm { name, graded: vec![graded] }),
        }
    }
    arms
}

fn arms_before(all: &[Replicate], prepared: &Prepared, config: &Config) -> Vec<Arm> {
    let mut arms = arms_of(all, |r| Some((r.cell.name().to_owned(), r.zero_shot.clone())));
    arms.extend(arms_of(all, |r| {
        let graded = r.adapted.as_ref()?.graded.clone()?;
        (r.cell == Cell::NdMlm).then(|| ("lm-a".to_owned(), graded))
    }));
    arms.push(unigram(prepared, &prepared.zero_shot, config));
    arms
}

fn arms_after(all: &[Replicate], prepared: &Prepared, config: &Config) -> Vec<Arm> {
    let mut arms = arms_of(all, |r| Some((r.cell.name().to_owned(), r.multitask.clone()?)));
    if arms.is_empty() {
        return arms;
    }
    arms.extend(arms_of(all, |r| {
        let graded = r.adapted.as_ref()?.graded.clone()?;
        (r.cell == Cell::CdFlm).then(|| ("nc-a".to_owned(), graded))
    }));
    for (at, (architecture, _)) in
        all.first().map(|r| r.random.as_slice()).unwrap_or_default().iter().enumerate()
    {
        let graded = all.iter().map(|replicate| replicate.random[at].1.clone()).collect();
        arms.push(Arm { name: format!("{}-random", architecture.name()), graded });
    }
    arms.push(unigram(prepared, &prepared.multitask, config));
    arms
}

fn unigram(prepared: &Prepared, items: &[Item], config: &Config) -> Arm {
    let most = UNIGRAM_TOKENS.min(config.pretraining_tokens as usize);
    let text = TextStream::new(&prepared.corpus.train, &prepared.vocabulary, Stream::new(0, "unigram"), most);
    let scores =
        Unigram::new(text.tokens(), prepared.vocabulary.size()).log_probs(items, &prepared.vocabulary);
    let graded = Graded {
        sum: grade(items, &scores, Ranking::Sum),
        per_token: grade(items, &scores, Ranking::PerToken),
    };
    Arm { name: "unigram".to_owned(), graded: vec![graded] }
}

/// Draws as they are stored: five digits are plenty for a share of hundreds of items.
fn spread(drawn: &Drawn) -> Spread {
    Spread::Draws(drawn.draws.iter().map(|d| libm::round(d * 1e5) / 1e5).collect())
}

fn observe_set(
    config: &Config,
    run: &mut Run,
    set: &Set,
    arms: Vec<Arm>,
    items: &[Item],
) -> Vec<(String, Drawn)> {
    let stream = run.stream(&format!("{} bootstrap", set.score));
    let tasks: Vec<TaskScore> = arms.first().map(|arm| arm.average(false)).unwrap_or_default();
    let mut columns = vec!["model", "score", "95 % low", "95 % high", "by token"];
    columns.extend(tasks.iter().map(|task| task.task.as_str()));
    let mut table = Table::new(set.title, &columns);
    table.note = format!(
        "Score: (accuracy - chance) / (1 - chance), averaged over tasks; intervals from {} resamples of the items. Columns of tasks hold accuracies over {} items in all.",
        config.draws,
        items.len()
    );
    let mut scores = Vec::new();
    for arm in arms {
        let tasks = arm.average(false);
        let drawn = Drawn::of(&tasks, config.draws, stream);
        let by_token = macro_score(&arm.average(true));
        run.observe_with(set.score, &arm.name, &[], drawn.value, spread(&drawn));
        run.observe(set.by_length, &arm.name, &[], by_token);
        for task in &tasks {
            run.observe(
                set.accuracy,
                &arm.name,
                &[("task", Place::from(task.task.as_str()))],
                task.accuracy(),
            );
        }
        for (at, graded) in arm.graded.iter().enumerate() {
            let place = [("replicate", Place::from((at + 1) as f64))];
            run.observe(set.by_replicate, &arm.name, &place, macro_score(&graded.sum));
        }
        let [low, high] = drawn.interval();
        let mut row: Vec<TableCell> = vec![arm.name.as_str().into()];
        row.extend([drawn.value, low, high, by_token].map(TableCell::from));
        row.extend(tasks.iter().map(|task| TableCell::from(task.accuracy())));
        table.rows.push(row);
        scores.push((arm.name, drawn));
    }
    run.observe(set.score, "chance", &[], 0.0);
    let mut chance: Vec<TableCell> = vec!["chance".into(), 0.0.into()];
    chance.extend([TableCell::Empty, TableCell::Empty, TableCell::Empty]);
    chance.extend(tasks.iter().map(|task| TableCell::from(task.chance)));
    table.rows.push(chance);
    run.table(table);
    scores
}

/// The best masked cell before finetuning, the worst of the others, and the better masked one with a bidirectional input after it.
fn extremes(run: &mut Run, before: &[(String, Drawn)], after: &[(String, Drawn)]) {
    let of = |scores: &[(String, Drawn)], cells: &[Cell], highest: bool| -> Option<Drawn> {
        let found: Option<Vec<&Drawn>> = cells
            .iter()
            .map(|cell| scores.iter().find(|(name, _)| name == cell.name()).map(|(_, drawn)| drawn))
            .collect();
        Drawn::extreme(&found?, highest)
    };
    let mut observe = |measure: &str, arm: &str, drawn: &Option<Drawn>| {
        if let Some(drawn) = drawn {
            run.observe_with(measure, arm, &[], drawn.value, spread(drawn));
        }
    };
    let (masked, others): (Vec<Cell>, Vec<Cell>) = Cell::ALL.into_iter().partition(|cell| cell.is_masked());
    observe("zero_shot", "highest-mlm", &of(before, &masked, true));
    observe("zero_shot", "lowest-lm", &of(before, &others, false));
    let best = of(after, &[Cell::NdMlm, Cell::EdMlm], true);
    observe("multitask", "highest-mlm", &best);
    if let (Some(best), Some(causal)) = (best, of(after, &[Cell::CdFlm], true)) {
        let difference = Drawn {
            value: best.value - causal.value,
            draws: best.draws.iter().zip(&causal.draws).map(|(a, b)| a - b).collect(),
        };
        run.table(after_finetuning(&difference, &best, &causal));
    }
}

/// The page must say whether masked pretraining with a bidirectional input wins after finetuning, with the numbers.
fn after_finetuning(difference: &Drawn, best: &Drawn, causal: &Drawn) -> Table {
    let [low, high] = difference.interval();
    let words = if low > 0.0 {
        "The better of ND-MLM and ED-MLM is above CD-FLM beyond the bootstrap interval."
    } else {
        "That non-causal masked models are best after finetuning does not hold at this scale."
    };
    let columns = ["better of ND-MLM and ED-MLM", "CD-FLM", "difference", "95 % low", "95 % high"];
    let mut table = Table::new("After finetuning: masked and non-causal against causal", &columns)
        .row([best.value, causal.value, difference.value, low, high].map(TableCell::from).to_vec());
    table.note = words.to_owned();
    table
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    sum / n
}

/// Tokens seen, tokens with loss, held-out losses.
fn tokens(config: &Config, run: &mut Run, all: &[Replicate]) {
    let columns =
        ["cell", "parameters", "tokens", "tokens with loss", "share", "held-out bits per character"];
    let mut table = Table::new("What each cell was trained on", &columns);
    table.note = "Tokens are input and target together, the same for all cells. Bits per character of what is predicted, under the cell's own objective: cells of different objectives predict different things.".to_owned();
    for cell in &config.cells {
        let of: Vec<&CellResult> = all.iter().flat_map(|r| &r.cells).filter(|r| r.cell == *cell).collect();
        let Some(first) = of.first() else { continue };
        let bits = mean(of.iter().filter_map(|r| r.curve.last()));
        run.observe("validation_bits", cell.name(), &[], bits);
        if first.tokens > 0 {
            run.observe("tokens", cell.name(), &[], first.tokens as f64);
            run.observe("loss_tokens", cell.name(), &[], first.loss_tokens as f64);
        }
        let share = first.loss_tokens as f64 / first.tokens.max(1) as f64;
        table.rows.push(vec![
            cell.name().into(),
            first.parameters.into(),
            first.tokens.into(),
            first.loss_tokens.into(),
            share.into(),
            bits.into(),
        ]);
    }
    run.table(table);
    if let Some(first) = all.first().filter(|first| first.finetuning_tokens > 0) {
        run.observe("finetuning_tokens", "", &[], first.finetuning_tokens as f64);
    }
    let corruption = config.corruption();
    let window = corruption.window(config.context);
    run.observe("corrupted_share", "", &[], corruption.counts(window).0 as f64 / window as f64);
}

/// What T shares with finetuning, and held-out lines with training.
fn check_overlap(run: &mut Run, prepared: &Prepared, all: &[Replicate]) {
    let found = overlap(all.iter().flat_map(|r| &r.finetuning), &prepared.multitask);
    let rows = [
        ("families", found.families),
        ("templates", found.templates),
        ("prompts", found.prompts),
        ("held-out lines", prepared.corpus.overlap()),
    ];
    let mut table = Table::new("What judging shares with training", &["what", "shared"]);
    table.note = format!(
        "All must be 0. {} held-out lines that also stand in a training chapter were dropped before.",
        prepared.corpus.copied
    );
    for (what, count) in rows {
        run.observe("overlap", "", &[("of", Place::from(what))], count as f64);
        table.rows.push(vec![what.into(), (count as u64).into()]);
    }
    run.table(table);
    if rows.iter().any(|(_, count)| *count > 0) {
        run.warn(
            "the set T or the held-out text shares something with training: see the table; scores are void",
        );
    }
}

/// An adaptation with the trainings from scratch that it is held against.
struct Pairing<'a> {
    adapted: &'a Adapted,
    scratch: &'a CellResult,
    short: &'a Curve,
}

fn adaptations(run: &mut Run, all: &[Replicate]) -> Result<()> {
    let mut table = Table::new(
        "Adaptation",
        &["adaptation", "replicate", "adapted", "scratch", "scratch, short", "speed-up", "speed-up, decayed"],
    );
    table.note = "Held-out bits per character at the end of the adaptation, of the full training from scratch, and of one as short as the adaptation. Speed-up: tokens from scratch over tokens of the adaptation to equal loss; decayed: against trainings from scratch whose learning rate has fallen to nothing.".to_owned();
    let mut drawn = Vec::new();
    for (name, title, from, to, measure) in [
        ("lm-a", "LM-A: ND-MLM becomes causal", Cell::NdMlm, Cell::CdFlm, "causal_bits"),
        ("nc-a", "NC-A: CD-FLM becomes non-causal and masked", Cell::CdFlm, Cell::NdMlm, "masked_bits"),
    ] {
        let pairings: Vec<Pairing<'_>> = all.iter().filter_map(|r| pairing(r, from, to)).collect();
        let ups: Vec<(SpeedUp, f64)> = pairings.iter().filter_map(both_speed_ups).collect();
        if ups.is_empty() || ups.len() != pairings.len() {
            continue;
        }
        let bits = |of: &dyn Fn(&Pairing<'_>) -> Option<f64>| mean(pairings.iter().filter_map(of));
        run.observe(measure, name, &[], bits(&|p| p.adapted.curve.last()));
        run.observe(measure, "scratch", &[], bits(&|p| p.scratch.curve.last()));
        run.observe(measure, "scratch-short", &[], bits(&|p| p.short.last()));
        run.observe("speed_up", name, &[], mean(ups.iter().map(|(up, _)| up.ratio)));
        run.observe("decayed_speed_up", name, &[], mean(ups.iter().map(|(_, decayed)| *decayed)));
        if ups.iter().any(|(up, _)| up.at_least) {
            run.warn(format!(
                "{name}: the training from scratch ended above the adapted model's loss; its speed-up is a lower bound"
            ));
        }
        for (at, (pairing, (up, decayed))) in pairings.iter().zip(&ups).enumerate() {
            let last = |curve: &Curve| TableCell::from(curve.last().unwrap_or(f64::NAN));
            table.rows.push(vec![
                name.into(),
                ((at + 1) as u64).into(),
                last(&pairing.adapted.curve),
                last(&pairing.scratch.curve),
                last(pairing.short),
                up.ratio.into(),
                (*decayed).into(),
            ]);
        }
        if let (Some(pairing), Some((up, _))) = (pairings.into_iter().next(), ups.first()) {
            drawn.push(pictures::Comparison {
                title,
                scratch: &pairing.scratch.curve,
                adapted: &pairing.adapted.curve,
                speed_up: *up,
            });
        }
    }
    if drawn.is_empty() {
        return Ok(());
    }
    run.table(table);
    run.figure("adaptation", pictures::adaptation(&drawn))
}

/// The adaptation of cell `from` towards what cell `to` is pretrained for.
fn pairing(replicate: &Replicate, from: Cell, to: Cell) -> Option<Pairing<'_>> {
    let of = |cell: Cell| replicate.cells.iter().find(|r| r.cell == cell);
    let scratch = of(to)?;
    Some(Pairing { adapted: of(from)?.adapted.as_ref()?, scratch, short: scratch.short.as_ref()? })
}

fn both_speed_ups(pairing: &Pairing<'_>) -> Option<(SpeedUp, f64)> {
    let (scratch, adapted) = (&pairing.scratch.curve, &pairing.adapted.curve);
    let short = (pairing.short.length(), pairing.short.last()?);
    let long = (scratch.length(), scratch.last()?);
    let decayed = decayed_speed_up(short, long, adapted.last()?, adapted.length());
    Some((speed_up(scratch, adapted)?, decayed))
}

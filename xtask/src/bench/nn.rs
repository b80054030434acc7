//! `cargo xtask bench nn`: training steps of ream-nn beside other frameworks on the same machine.
//!
//! Two workers, one for each side, wait for turns of the same number of steps in blocks `A B B A`, so that a drift of the
//! machine's speed within a block cancels. A block's ratio is the rival's time over ours; the figure is the median over
//! blocks with its bootstrap interval. Both sides must agree on the number of parameters and operations, and their losses
//! after the same number of steps stand side by side.

mod goals;
mod sides;
mod worker;

use std::fs::File;
use std::path::{Path, PathBuf};

use ream_stats::bootstrap::{self, Bootstrap};
use ream_stats::descriptive;
use serde::Serialize;
use serde_json::Value;

use crate::shell::Result;
use goals::{COMPARISONS, Comparison, Goal, MEMORY_GOAL};
pub(super) use sides::cache;
use sides::{Rival, Side};
use worker::Cost;
pub(super) use worker::Worker;

/// Fewest blocks that count as a measurement: 20 steps of each side.
const FEWEST_BLOCKS: usize = 10;

/// A turn lasts at least so many seconds on the slower side, so that handing over costs nothing.
const TURN: f64 = 0.25;

/// The comparison of loss curves in f32 and bf16.
const PRECISION: &str = "precision";

/// What to run.
pub(crate) struct Options {
    pub(crate) only: Vec<String>,
    pub(crate) rivals: Vec<String>,
    pub(crate) blocks: usize,
}

impl Options {
    /// A trial's file is not a measurement's.
    pub(super) fn file(&self, folder: &Path) -> PathBuf {
        let whole = self.only.is_empty() && self.blocks >= FEWEST_BLOCKS;
        folder.join(if whole { "nn.json" } else { "nn-trial.json" })
    }
}

/// Everything of one invocation.
#[derive(Serialize)]
pub(super) struct Report {
    blocks: usize,
    /// Environment variables that were hidden from the workers.
    hidden_environment: Vec<String>,
    sides: Vec<About>,
    /// Fastest product of 2048x2048 f32 matrices, GFLOP/s.
    peak_gflops: Vec<Peak>,
    comparisons: Vec<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Value>,
}

#[derive(Serialize)]
struct About {
    side: &'static str,
    command: String,
    about: Value,
}

#[derive(Serialize)]
struct Peak {
    side: &'static str,
    gflops: f64,
}

/// One comparison with its raw numbers.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    rival: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal: Option<Goal>,
    /// The rival's time over ours: median over blocks.
    ratio: f64,
    /// 95 % bootstrap interval over blocks.
    interval: [f64; 2],
    block_ratios: Vec<f64>,
    /// Our peak memory over the rival's.
    memory_ratio: f64,
    flop_per_step: f64,
    parameters: u64,
    /// Share of the processors' time that went to other processes meanwhile: a measurement wants next to none.
    busy_elsewhere: Option<f64>,
    /// Relative difference of the two losses after the same number of steps.
    loss_difference: f64,
    ours: Half,
    theirs: Half,
}

/// One side of a comparison.
#[derive(Serialize)]
struct Half {
    workload: &'static str,
    /// Median of the steps.
    seconds_per_step: f64,
    gflops: f64,
    items_per_second: f64,
    item: String,
    peak_bytes: u64,
    /// Before the workload was set up: the program and its libraries.
    start_bytes: u64,
    warm_up_steps: usize,
    /// All steps, warm-up included.
    steps: usize,
    loss: f64,
    /// Seconds of each step of each turn.
    turns: Vec<Vec<f64>>,
}

/// Runs the comparisons.
pub(super) fn measure(options: &Options) -> Result<Report> {
    if options.blocks < 1 {
        return Err("`--blocks` must be at least 1".to_owned());
    }
    if options.blocks < FEWEST_BLOCKS {
        println!("{} blocks: a trial, not a measurement (that takes {FEWEST_BLOCKS})", options.blocks);
    }
    let wanted = wanted(&options.only)?;
    let rivals: Vec<Rival> = options.rivals.iter().map(|name| Rival::parse(name)).collect::<Result<_>>()?;
    let ours = sides::ream()?;
    let theirs: Vec<Side> = rivals.iter().map(|&rival| sides::rival(rival)).collect::<Result<_>>()?;
    let _alone = alone()?;
    let mut report = Report {
        blocks: options.blocks,
        hidden_environment: sides::tuning(),
        sides: std::iter::once(&ours).chain(&theirs).map(about).collect::<Result<_>>()?,
        peak_gflops: Vec::new(),
        comparisons: Vec::new(),
        precision: None,
    };
    let offered = Worker::start(ours.command())?.list()?;
    println!(
        "{:<15} {:<14} their time over ours [95 %]; ours / theirs: ms per step, peak memory, loss; our rate",
        "workload", "rival"
    );
    for side in &theirs {
        let theirs_offered = Worker::start(side.command())?.list()?;
        for comparison in &wanted {
            let both = offered.iter().any(|n| n == comparison.ours)
                && theirs_offered.iter().any(|n| n == comparison.theirs);
            if !both {
                println!("{} beside {}: not offered by both sides", comparison.name, side.name);
                continue;
            }
            let measured = compare(comparison, &ours, side, options.blocks)?;
            if comparison.name == "sgemm" {
                peaks(&mut report.peak_gflops, &measured);
            }
            print_row(&measured, &report.peak_gflops);
            report.comparisons.push(measured);
        }
    }
    if options.only.is_empty() || options.only.iter().any(|name| name == PRECISION) {
        report.precision = precision(&ours, &offered)?;
    }
    Ok(report)
}

/// The named comparisons; the peak that others are held against is always among them.
fn wanted(only: &[String]) -> Result<Vec<&'static Comparison>> {
    let known = |name: &String| name == PRECISION || COMPARISONS.iter().any(|c| c.name == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let all: Vec<&str> = COMPARISONS.iter().map(|c| c.name).collect();
        return Err(format!("there is no workload `{unknown}`; they are {}, {PRECISION}", all.join(", ")));
    }
    let named = |c: &&Comparison| only.is_empty() || c.name == "sgemm" || only.iter().any(|n| n == c.name);
    Ok(COMPARISONS.iter().filter(named).collect())
}

/// The machine-wide lock that keeps two measurements apart, the lab's among them.
pub(super) fn alone() -> Result<File> {
    let path = std::env::temp_dir().join("ream-timing.lock");
    let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if file.try_lock().is_err() {
        println!("waiting for another measurement");
        file.lock().map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(file)
}

fn about(side: &Side) -> Result<About> {
    let command = side.command();
    let words = crate::shell::words(&command);
    Ok(About { side: side.name, command: words, about: Worker::start(command)?.ask("about")? })
}

/// One side while it is measured.
struct Running {
    worker: Worker,
    workload: &'static str,
    cost: Cost,
    start_bytes: u64,
    steps: usize,
    loss: f64,
    turns: Vec<Vec<f64>>,
}

impl Running {
    fn start(side: &Side, workload: &'static str) -> Result<Self> {
        let mut worker = Worker::start(side.command())?;
        let start_bytes = worker.memory()?;
        let cost = worker.setup(workload)?;
        Ok(Self { worker, workload, cost, start_bytes, steps: 0, loss: f64::NAN, turns: Vec::new() })
    }

    /// Seconds of `count` steps.
    fn turn(&mut self, count: usize) -> Result<Vec<f64>> {
        let done = self.worker.steps(count)?;
        self.steps += count;
        self.loss = done.loss;
        Ok(done.seconds)
    }

    /// A turn that counts: its total seconds.
    fn timed(&mut self, count: usize) -> Result<f64> {
        let seconds = self.turn(count)?;
        let total = seconds.iter().sum();
        self.turns.push(seconds);
        Ok(total)
    }

    fn finish(mut self, warm_up_steps: usize) -> Result<Half> {
        let all: Vec<f64> = self.turns.iter().flatten().copied().collect();
        let seconds_per_step = super::median(&all);
        Ok(Half {
            workload: self.workload,
            seconds_per_step,
            gflops: self.cost.flop / seconds_per_step / 1e9,
            items_per_second: self.cost.items / seconds_per_step,
            item: self.cost.item,
            peak_bytes: self.worker.memory()?,
            start_bytes: self.start_bytes,
            warm_up_steps,
            steps: self.steps,
            loss: self.loss,
            turns: self.turns,
        })
    }
}

fn compare(comparison: &Comparison, ours: &Side, theirs: &Side, blocks: usize) -> Result<Measured> {
    let mut a = Running::start(theirs, comparison.theirs)?;
    let mut b = Running::start(ours, comparison.ours)?;
    if a.cost != b.cost {
        return Err(format!(
            "{}: the two sides do different work: {} {:?}, ream {:?}",
            comparison.name, theirs.name, a.cost, b.cost
        ));
    }
    let (warm_up_steps, count) = warm_up(&mut a, &mut b)?;
    let mut block_ratios = Vec::new();
    let before = Ticks::now(&a.worker, &b.worker);
    for _ in 0..blocks {
        let first = a.timed(count)?;
        let inner = b.timed(count)? + b.timed(count)?;
        block_ratios.push((first + a.timed(count)?) / inner);
    }
    let busy_elsewhere = before.zip(Ticks::now(&a.worker, &b.worker)).map(|(from, to)| to.elsewhere(&from));
    let (flop_per_step, parameters) = (a.cost.flop, a.cost.parameters);
    let (theirs_done, ours_done) = (a.finish(warm_up_steps)?, b.finish(warm_up_steps)?);
    Ok(Measured {
        name: comparison.name,
        rival: theirs.name,
        goal: (theirs.name == Rival::Torch.name()).then_some(comparison.goal),
        ratio: descriptive::median(&block_ratios).unwrap_or(f64::NAN),
        interval: interval(&block_ratios)?,
        block_ratios,
        memory_ratio: ours_done.peak_bytes as f64 / theirs_done.peak_bytes as f64,
        flop_per_step,
        parameters,
        busy_elsewhere,
        loss_difference: ours_done.loss / theirs_done.loss - 1.0,
        ours: ours_done,
        theirs: theirs_done,
    })
}

/// Processor time so far, in the clock's ticks.
pub(super) struct Ticks {
    /// Of all processors, idle or not.
    all: u64,
    /// Of all processors, at work.
    busy: u64,
    /// Of the two workers.
    workers: u64,
}

impl Ticks {
    pub(super) fn now(a: &Worker, b: &Worker) -> Option<Self> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal
        let times: Vec<u64> =
            text.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|t| t.parse().ok()).collect();
        let all: u64 = times.iter().sum();
        let idle = times.get(3)? + times.get(4)?;
        Some(Self { all, busy: all - idle, workers: a.ticks()? + b.ticks()? })
    }

    /// Share of all time since then that was spent on anything but the workers.
    pub(super) fn elsewhere(&self, since: &Self) -> f64 {
        let ours = self.workers.saturating_sub(since.workers);
        let others = self.busy.saturating_sub(since.busy).saturating_sub(ours);
        others as f64 / self.all.saturating_sub(since.all).max(1) as f64
    }
}

/// Steps until both sides have seen at least three of them and a second of work; then the length of a turn.
fn warm_up(a: &mut Running, b: &mut Running) -> Result<(usize, usize)> {
    let mut warm = 3;
    let slower = |a: &[f64], b: &[f64]| super::median(a).max(super::median(b)).max(1e-6);
    let first = slower(&a.turn(warm)?, &b.turn(warm)?);
    let more = ((1.0 / first).ceil() as usize).clamp(2, 1000);
    let step = slower(&a.turn(more)?, &b.turn(more)?);
    warm += more;
    Ok((warm, ((TURN / step).ceil() as usize).clamp(1, 1000)))
}

pub(super) fn interval(ratios: &[f64]) -> Result<[f64; 2]> {
    if ratios.len() < 2 {
        return Ok([f64::NEG_INFINITY, f64::INFINITY]);
    }
    let settings = Bootstrap {
        replications: 2000,
        level: 0.95,
        stream: ream_rand::Stream::new(0, "interval over blocks"),
    };
    let median = |values: &[f64]| descriptive::median(values).unwrap_or(f64::NAN);
    let interval = bootstrap::percentile(ratios, median, &settings).map_err(|e| format!("blocks: {e}"))?;
    Ok([interval.low, interval.high])
}

/// Keeps each side's fastest product.
fn peaks(peaks: &mut Vec<Peak>, measured: &Measured) {
    for (side, half) in [("ream", &measured.ours), (measured.rival, &measured.theirs)] {
        let fastest = half.turns.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let gflops = measured.flop_per_step / fastest / 1e9;
        match peaks.iter_mut().find(|p| p.side == side) {
            Some(known) => known.gflops = known.gflops.max(gflops),
            None => peaks.push(Peak { side, gflops }),
        }
    }
}

fn print_row(m: &Measured, peaks: &[Peak]) {
    let peak = peaks.iter().find(|p| p.side == "ream").map_or(f64::NAN, |p| p.gflops);
    let mega = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "{:<15} {:<14} {:6.2} [{:.2}, {:.2}]  {:9.2} ms / {:9.2} ms  {:6.1} GFLOP/s ({:3.0} % of peak)  \
         {:5.0} / {:5.0} MB ({:.2})  {:8.0} {}s/s  loss {:.4} / {:.4}{}",
        m.name,
        m.rival,
        m.ratio,
        m.interval[0],
        m.interval[1],
        1e3 * m.ours.seconds_per_step,
        1e3 * m.theirs.seconds_per_step,
        m.ours.gflops,
        100.0 * m.ours.gflops / peak,
        mega(m.ours.peak_bytes),
        mega(m.theirs.peak_bytes),
        m.memory_ratio,
        m.ours.items_per_second,
        m.ours.item,
        m.ours.loss,
        m.theirs.loss,
        remarks(m),
    );
}

/// What a reader should not overlook: goals that were missed, losses that do not look alike.
fn remarks(m: &Measured) -> String {
    let mut remarks = String::new();
    if let Some(goal) = m.goal {
        if goal.floor.is_some_and(|floor| m.ratio < floor) {
            remarks.push_str("  BELOW THE FLOOR");
        } else if goal.aim.is_some_and(|aim| m.ratio < aim) {
            remarks.push_str("  below the aim");
        }
        if m.memory_ratio > MEMORY_GOAL {
            remarks.push_str("  memory above half");
        }
    }
    if m.busy_elsewhere.is_some_and(|share| share > 0.05) {
        let share = 100.0 * m.busy_elsewhere.unwrap_or_default();
        remarks.push_str(&format!("  {share:.0} % OF THE MACHINE BUSY ELSEWHERE"));
    }
    if m.name != "sgemm" && m.loss_difference.abs() > 0.25 {
        remarks.push_str("  LOSSES DIFFER");
    }
    remarks
}

/// Loss curves of f32 and bf16 matrix products on the same data, where our worker has them.
fn precision(ours: &Side, offered: &[String]) -> Result<Option<Value>> {
    if !offered.iter().any(|name| name == "gpt-bf16") {
        println!("precision: our worker has no bf16 workload");
        return Ok(None);
    }
    let value = Worker::start(ours.command())?.ask("precision 300 3")?;
    println!("precision: {}", value["summary"]);
    Ok(Some(value))
}

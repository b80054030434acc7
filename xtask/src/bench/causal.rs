//! `cargo xtask bench causal`: the estimators of ream-stats and ream-trees beside the packages that applied researchers use, on the same
//! table, at 10,000, 100,000 and 1,000,000 rows.
//!
//! Two workers (`benches/causal`) take turns in blocks `theirs ours ours theirs`; a block's ratio is the rival's time over ours and the figure
//! the median over blocks with its bootstrap interval; between the sides there is a pause. Where a rival's first call alone takes longer than [`SLOW`] it is its only one: such a
//! ratio has no interval. Both sides' estimates are held against each other. Memory is the peak of a worker that does nothing else; what an
//! estimator itself takes is that less the peak before its first call.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use ream_stats::descriptive;
use serde::Serialize;
use serde_json::Value;

use super::median;
use super::nn::{Ticks, Worker, alone, cache, interval};
use crate::shell::{Result, cargo, output, run, target};

/// Packages of the other side: the versions that the record speaks of.
const PACKAGES: [&str; 6] = [
    "numpy==2.4.6",
    "scipy==1.17.1",
    "statsmodels==0.15.0",
    "linearmodels==7.1",
    "rdrobust==2.1.1",
    "scikit-learn==1.9.1",
];

/// Rows of the tables.
const ROWS: [usize; 3] = [10_000, 100_000, 1_000_000];

/// At so many rows the goal counts: their time over ours.
const GOAL: (usize, f64) = (100_000, 5.0);

/// Seconds of a rival's call from which on one call is enough.
const SLOW: f64 = 20.0;

/// Before the other side's turn: threads of OpenBLAS and OpenMP spin for tens of milliseconds after a call, and would take a core from it.
const QUIET: Duration = Duration::from_millis(80);

/// Seconds that the blocks of one row of the table may take in all.
const BUDGET: f64 = 12.0;

/// A workload, and whose time stands beside ours.
struct Comparison {
    name: &'static str,
    rival: &'static str,
    /// Whether both sides make the same estimate; the others use random numbers or other rules of growth.
    same: bool,
}

const fn of(name: &'static str, rival: &'static str, same: bool) -> Comparison {
    Comparison { name, rival, same }
}

const COMPARISONS: [Comparison; 14] = [
    of("ols-hc1", "statsmodels OLS, HC1", true),
    of("ols-hc3", "statsmodels OLS, HC3", true),
    of("ols-cluster", "statsmodels OLS, by cluster", true),
    of("2sls", "linearmodels IV2SLS, robust", true),
    of("liml", "linearmodels IVLIML, robust", false),
    of("logit", "statsmodels Logit, HC0", true),
    of("rd", "rdrobust", true),
    of("local-linear", "numpy, one fit a point", true),
    of("kde", "scipy gaussian_kde", true),
    of("isotonic", "scipy isotonic_regression", true),
    of("multiplier", "numpy", false),
    of("aipw", "statsmodels Logit and OLS", true),
    of("trees", "scikit-learn HistGradientBoosting", false),
    of("cross-fit", "scikit-learn cross_val_predict", false),
];

/// Everything of one invocation.
#[derive(Serialize)]
pub(super) struct Report {
    ours: Value,
    theirs: Value,
    /// Columns of a table: 20 that explain, and those of the designs.
    rows: [usize; 3],
    /// To be reached: rows, their time over ours.
    goal: (usize, f64),
    measured: Vec<Measured>,
    growth: Vec<Growth>,
}

#[derive(Serialize)]
struct Measured {
    name: &'static str,
    rival: &'static str,
    rows: usize,
    /// Their time over ours: median over blocks.
    ratio: f64,
    /// 95 % bootstrap interval over blocks; none from a single call of the rival.
    interval: Option<[f64; 2]>,
    /// Largest difference of two estimates, relative to the largest estimate.
    difference: f64,
    /// Whether the two sides make the same estimate, so that the difference is one of rounding.
    same: bool,
    busy_elsewhere: Option<f64>,
    /// Bytes of the columns that were read.
    data_bytes: u64,
    ours: Half,
    theirs: Half,
}

#[derive(Serialize)]
struct Half {
    /// Median of the calls.
    seconds: f64,
    /// Of each call, in order, the first included.
    calls: Vec<f64>,
    /// Peak of the process.
    peak_bytes: u64,
    /// Of that, above the peak before the first call.
    own_bytes: u64,
}

/// How a workload's time grows with its rows: the exponent between the fewest and the most.
#[derive(Serialize)]
struct Growth {
    name: &'static str,
    ours: f64,
    theirs: f64,
}

/// Runs the comparisons.
pub(super) fn measure(only: &[String], blocks: usize) -> Result<Report> {
    let wanted = wanted(only)?;
    run(cargo().args(["build", "--locked", "--release", "--package", "bench-causal"]))?;
    let program = target()?.join("release/bench-causal");
    let python = python()?;
    let sides = Sides { program, python };
    let _alone = alone()?;
    let mut report = Report {
        ours: sides.ours()?.ask("about")?,
        theirs: sides.theirs()?.ask("about")?,
        rows: ROWS,
        goal: GOAL,
        measured: Vec::new(),
        growth: Vec::new(),
    };
    println!(
        "{:<13} {:>9}  their time over ours [95 %]; ours, theirs; own memory of both; difference",
        "", "rows"
    );
    for rows in ROWS {
        let table = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        output(Command::new(&sides.program).args(["make", &rows.to_string()]).arg(table.path()))?;
        for comparison in &wanted {
            let measured = compare(comparison, &sides, rows, table.path(), blocks)?;
            println!("{}", line(&measured));
            report.measured.push(measured);
        }
    }
    report.growth = wanted.iter().filter_map(|c| growth(c.name, &report.measured)).collect();
    for one in &report.growth {
        println!("{:<13} time grows as rows^{:.2}, theirs ^{:.2}", one.name, one.ours, one.theirs);
    }
    Ok(report)
}

fn wanted(only: &[String]) -> Result<Vec<&'static Comparison>> {
    if let Some(unknown) = only.iter().find(|name| COMPARISONS.iter().all(|c| c.name != name.as_str())) {
        let all: Vec<&str> = COMPARISONS.iter().map(|c| c.name).collect();
        return Err(format!("there is no workload `{unknown}`; they are {}", all.join(", ")));
    }
    let named = |c: &&Comparison| only.is_empty() || only.iter().any(|name| name == c.name);
    Ok(COMPARISONS.iter().filter(named).collect())
}

/// The programs of both sides.
struct Sides {
    program: PathBuf,
    python: PathBuf,
}

impl Sides {
    fn ours(&self) -> Result<Worker> {
        Worker::start(Command::new(&self.program))
    }

    fn theirs(&self) -> Result<Worker> {
        let mut command = Command::new(&self.python);
        // Warnings of the packages (of rdrobust about repeated values, for one) are not the measurement.
        command.args(["-W", "ignore", "benches/causal/worker.py"]).current_dir(crate::shell::root());
        Worker::start(command)
    }
}

/// One side while it is measured.
struct Running {
    worker: Worker,
    before: u64,
    calls: Vec<f64>,
    values: Vec<f64>,
}

impl Running {
    /// Sets up; gives the bytes that were read too.
    fn start(mut worker: Worker, name: &str, rows: usize, table: &Path) -> Result<(Self, u64)> {
        let set = worker.ask(&format!("setup {name} {rows} {}", table.display()))?;
        let bytes = set["bytes"].as_u64().ok_or_else(|| format!("{name}: no bytes in {set}"))?;
        let before = worker.memory()?;
        Ok((Self { worker, before, calls: Vec::new(), values: Vec::new() }, bytes))
    }

    fn call(&mut self) -> Result<f64> {
        let answer = self.worker.ask("step")?;
        let seconds = answer["seconds"].as_f64().ok_or_else(|| format!("no seconds in {answer}"))?;
        self.values = answer["values"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        self.calls.push(seconds);
        Ok(seconds)
    }

    fn finish(mut self) -> Result<Half> {
        let peak_bytes = self.worker.memory()?;
        // The first call warms up, unless it is the only one.
        let counted = if self.calls.len() > 1 { &self.calls[1..] } else { &self.calls[..] };
        Ok(Half {
            seconds: median(counted),
            peak_bytes,
            own_bytes: peak_bytes - self.before,
            calls: self.calls,
        })
    }
}

fn compare(
    comparison: &Comparison,
    sides: &Sides,
    rows: usize,
    table: &Path,
    blocks: usize,
) -> Result<Measured> {
    let (mut theirs, _) = Running::start(sides.theirs()?, comparison.name, rows, table)?;
    let (mut ours, data_bytes) = Running::start(sides.ours()?, comparison.name, rows, table)?;
    let first = theirs.call()?;
    ours.call()?;
    let before = Ticks::now(&theirs.worker, &ours.worker);
    let mut ratios = Vec::new();
    if first > SLOW {
        let second = ours.call()?;
        ratios.push(first / second);
    } else {
        let block = 2.0 * (first + ours.calls[0]);
        let count = ((BUDGET / block) as usize).clamp(2, blocks.max(2));
        for _ in 0..count {
            sleep(QUIET);
            let outer = theirs.call()?;
            sleep(QUIET);
            let inner = ours.call()? + ours.call()?;
            sleep(QUIET);
            ratios.push((outer + theirs.call()?) / inner);
        }
    }
    let busy_elsewhere =
        before.zip(Ticks::now(&theirs.worker, &ours.worker)).map(|(from, to)| to.elsewhere(&from));
    Ok(Measured {
        name: comparison.name,
        rival: comparison.rival,
        rows,
        ratio: descriptive::median(&ratios).unwrap_or(f64::NAN),
        interval: if ratios.len() > 1 { Some(interval(&ratios)?) } else { None },
        difference: difference(&ours.values, &theirs.values)?,
        same: comparison.same,
        busy_elsewhere,
        data_bytes,
        ours: ours.finish()?,
        theirs: theirs.finish()?,
    })
}

fn difference(ours: &[f64], theirs: &[f64]) -> Result<f64> {
    if ours.len() != theirs.len() || ours.is_empty() {
        return Err(format!("our side gives {} estimates, theirs {}", ours.len(), theirs.len()));
    }
    let largest = theirs.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    Ok(ours.iter().zip(theirs).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / largest)
}

fn growth(name: &'static str, measured: &[Measured]) -> Option<Growth> {
    let at = |rows: usize| measured.iter().find(|m| m.name == name && m.rows == rows);
    let (few, many) = (at(ROWS[0])?, at(ROWS[2])?);
    let exponent = |few: &Half, many: &Half| {
        libm::log(many.seconds / few.seconds) / libm::log((ROWS[2] / ROWS[0]) as f64)
    };
    Some(Growth { name, ours: exponent(&few.ours, &many.ours), theirs: exponent(&few.theirs, &many.theirs) })
}

fn line(m: &Measured) -> String {
    let interval = m.interval.map_or("(one call)".to_owned(), |[low, high]| format!("[{low:.1}, {high:.1}]"));
    let mega = |bytes: u64| bytes as f64 / 1e6;
    let mut text = format!(
        "{:<13} {:>9}  {:7.1} {interval:<16} {:9.2} ms {:10.2} ms  {:6.0} / {:6.0} MB of {:.0}  {:.0e}",
        m.name,
        m.rows,
        m.ratio,
        1e3 * m.ours.seconds,
        1e3 * m.theirs.seconds,
        mega(m.ours.own_bytes),
        mega(m.theirs.own_bytes),
        mega(m.data_bytes),
        m.difference
    );
    if m.ratio < 1.0 {
        text.push_str("  SLOWER");
    } else if m.rows == GOAL.0 && m.ratio < GOAL.1 {
        text.push_str("  below the goal");
    }
    if m.same && m.difference > 1e-5 {
        text.push_str("  ESTIMATES DIFFER");
    }
    if m.busy_elsewhere.is_some_and(|share| share > 0.05) {
        text.push_str("  THE MACHINE IS BUSY ELSEWHERE");
    }
    text
}

/// The Python of a virtual environment with the packages, made when missing in the user's cache folder.
fn python() -> Result<PathBuf> {
    let folder = cache()?.join("ream-bench/causal");
    let python = folder.join("bin/python");
    let names = PACKAGES.map(|p| p.split("==").next().unwrap_or(p));
    let program = format!(
        "from importlib.metadata import version; print(' '.join(n + '==' + version(n) for n in {names:?}))"
    );
    let installed = || output(Command::new(&python).args(["-c", &program]));
    if !installed().is_ok_and(|found| found.trim() == PACKAGES.join(" ")) {
        println!("installing {} from PyPI into {}", PACKAGES.join(", "), folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install"]).args(PACKAGES))?;
        installed()?;
    }
    Ok(python)
}

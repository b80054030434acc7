//! The local launcher: starts a worker for every seed that needs one, as many at once as the cores bear.
//!
//! It holds no state that is not in the run directory. Killing it leaves the workers to finish by themselves; a second
//! launcher adopts those that still live and starts those that died.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::events::last_progress;
use crate::machine::cores;
use crate::record::{Exit, RunDir, RunRecord, Status};
use crate::worker::{SeedLock, holder, is_locked, lock_file};

/// How often a person is told.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How long a cancelled worker may take to its next safe point before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to drive a run.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program that has a `worker` command.
    pub program: PathBuf,
    /// Where runs, data and models live; handed to the workers.
    pub home: PathBuf,
    /// Whether seeds that failed before are tried again.
    pub retry_failed: bool,
    /// Workers at once; `None` for cores over threads.
    pub slots: Option<usize>,
    /// Most memory that a worker may ask for, MiB: one that asks for more dies with a message that names the limit. `None`
    /// for no limit.
    pub memory_mib: Option<u64>,
    /// Set from outside (Ctrl-C) to stop at the next safe point.
    pub stop: Arc<AtomicBool>,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct RunProgress {
    /// Share of all seeds' work that is done, 0..=1.
    pub fraction: f64,
    /// Seeds that have ended.
    pub done: usize,
    /// All seeds.
    pub seeds: usize,
    /// What the slowest active seed does.
    pub what: String,
    /// Seconds since this launcher started.
    pub seconds: f64,
    /// Estimated seconds left, once there is something to estimate from.
    pub left: Option<f64>,
}

/// How the seeds of a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Seeds with observations.
    pub finished: Vec<u64>,
    /// Seeds that failed, and why.
    pub failed: Vec<(u64, String)>,
    /// Seeds that were stopped or died; `--resume` goes on with them.
    pub unfinished: Vec<(u64, String)>,
}

struct Active {
    pid: Option<u32>,
}

/// Drives a run until every seed has ended, or until it is told to stop.
///
/// # Errors
/// Another launcher drives it; the directory cannot be written; a worker cannot be started.
pub fn drive(
    dir: &RunDir,
    record: &RunRecord,
    launch: &Launch,
    mut tell: impl FnMut(&RunProgress),
) -> Result<Ended> {
    let lock_path = dir.file("parent.lock");
    let Some(_lock) = lock_file(&lock_path)? else {
        return Err(Error::Input(format!(
            "run {} is already being driven ({}); `ream runs watch {}` shows it",
            record.id,
            holder(&lock_path),
            record.id
        )));
    };
    let cancel = dir.file("cancel");
    if cancel.exists() {
        fs::remove_file(&cancel).map_err(Error::io("remove", &cancel))?;
    }
    let mut waiting = to_do(dir, record, launch.retry_failed)?;
    waiting.reverse();
    let slots = launch.slots.unwrap_or_else(|| cores() / record.threads.max(1)).max(1);
    let (sender, receiver) = channel();
    let mut active: BTreeMap<u64, Active> = BTreeMap::new();
    let mut deaths: BTreeMap<u64, String> = BTreeMap::new();
    let started = Instant::now();
    let mut stopping: Option<Instant> = None;
    let mut told = None::<Instant>;
    loop {
        if launch.stop.load(Ordering::Relaxed) && stopping.is_none() {
            stopping = Some(Instant::now());
            waiting.clear();
            fs::write(&cancel, "").map_err(Error::io("write", &cancel))?;
        }
        if stopping.is_some_and(|since| since.elapsed() > PATIENCE) {
            active.values().filter_map(|a| a.pid).for_each(kill);
        }
        while active.len() < slots
            && let Some(seed) = waiting.pop()
        {
            active.insert(seed, start(dir, record, launch, seed, &sender)?);
        }
        if active.is_empty() {
            break;
        }
        if told.is_none_or(|t| t.elapsed() >= TELL_EVERY) {
            told = Some(Instant::now());
            tell(&progress(dir, record, &active, started)?);
        }
        wait(&receiver, &mut active, &mut deaths);
    }
    dir.add_wall_seconds(started.elapsed().as_secs_f64())?;
    ended(dir, record, &deaths)
}

/// Whether a worker of the run lives.
#[must_use]
pub fn alive(dir: &RunDir, record: &RunRecord) -> bool {
    record.seeds.iter().any(|seed| SeedLock::held(&dir.seed(*seed)))
}

/// Whether a launcher drives the run now.
#[must_use]
pub fn driven(dir: &RunDir) -> bool {
    is_locked(&dir.file("parent.lock"))
}

fn wait(
    receiver: &Receiver<(u64, String)>,
    active: &mut BTreeMap<u64, Active>,
    deaths: &mut BTreeMap<u64, String>,
) {
    match receiver.recv_timeout(Duration::from_millis(100)) {
        Ok((seed, how)) => {
            active.remove(&seed);
            deaths.insert(seed, how);
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
    }
}

/// Seeds without a final exit, in order.
fn to_do(dir: &RunDir, record: &RunRecord, retry_failed: bool) -> Result<Vec<u64>> {
    let mut seeds = Vec::new();
    for seed in &record.seeds {
        match dir.exit(*seed)? {
            Some(Exit { status: Status::Finished, .. }) => {}
            Some(Exit { status: Status::Failed, .. }) if !retry_failed => {}
            _ => seeds.push(*seed),
        }
    }
    Ok(seeds)
}

/// Starts a worker, or adopts the one that still writes the seed.
fn start(
    dir: &RunDir,
    record: &RunRecord,
    launch: &Launch,
    seed: u64,
    sender: &Sender<(u64, String)>,
) -> Result<Active> {
    let seed_dir = dir.seed(seed);
    let sender = sender.clone();
    if SeedLock::held(&seed_dir) {
        std::thread::spawn(move || {
            while SeedLock::held(&seed_dir) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = sender.send((seed, "the adopted worker died".to_owned()));
        });
        return Ok(Active { pid: None });
    }
    fs::create_dir_all(&seed_dir).map_err(Error::io("create", &seed_dir))?;
    let errors = seed_dir.join("stderr.log");
    let mut child = spawn(dir, record, launch, seed, &errors)?;
    let pid = child.id();
    let limit = launch.memory_mib;
    std::thread::spawn(move || {
        let how = match child.wait() {
            Ok(status) if status.success() => String::new(),
            Ok(status) => died(status, &errors, limit),
            Err(error) => error.to_string(),
        };
        let _ = sender.send((seed, how));
    });
    Ok(Active { pid: Some(pid) })
}

fn spawn(dir: &RunDir, record: &RunRecord, launch: &Launch, seed: u64, errors: &Path) -> Result<Child> {
    let log = File::create(errors).map_err(Error::io("create", errors))?;
    let mut command = limited(&launch.program, launch.memory_mib);
    command
        .arg("worker")
        .arg(dir.root())
        .args(["--seed", &seed.to_string(), "--threads", &record.threads.max(1).to_string()])
        .env("REAM_HOME", &launch.home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    // A group of its own: Ctrl-C reaches the launcher only, which then asks for a stop at a safe point.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(Error::io("start", &launch.program))
}

/// The program, within a limit of memory where there is one.
///
/// The shell's `ulimit -d` sets `RLIMIT_DATA` before it becomes the program: it counts memory that was asked for and can be
/// written, so that address space which allocators and thread stacks only set aside is not held against a worker, as it
/// would be by `RLIMIT_AS`. Every Unix has the shell; neither another package nor an unsafe call is needed.
fn limited(program: &Path, memory_mib: Option<u64>) -> Command {
    match memory_mib {
        Some(mib) if cfg!(unix) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "ulimit -d \"$1\" || exit 1; shift; exec \"$@\"", "limit"]);
            command.arg((mib * 1024).to_string()).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

fn died(status: std::process::ExitStatus, errors: &Path, memory_mib: Option<u64>) -> String {
    let mut text = String::new();
    if let Ok(file) = File::open(errors) {
        let _ = file.take(4096).read_to_string(&mut text);
    }
    // The line that says it, even where a backtrace follows it.
    let memory = text.lines().find(|line| line.starts_with("memory allocation of"));
    let last = memory.or_else(|| text.lines().rev().find(|line| !line.trim().is_empty())).unwrap_or_default();
    let limit = match memory_mib {
        Some(mib) if memory.is_some() => format!("; it may use {mib} MiB"),
        _ => String::new(),
    };
    if last.is_empty() {
        format!("the worker died: {status}")
    } else {
        format!("the worker died: {status}: {last}{limit}")
    }
}

fn kill(pid: u32) {
    // Through the shell's own tool: a call of libc's kill would be the crate's only unsafe line.
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
}

fn progress(
    dir: &RunDir,
    record: &RunRecord,
    active: &BTreeMap<u64, Active>,
    started: Instant,
) -> Result<RunProgress> {
    let mut sum = 0.0;
    let mut done = 0;
    let mut slowest: Option<(f64, String)> = None;
    for seed in &record.seeds {
        if !active.contains_key(seed) && dir.exit(*seed)?.is_some() {
            sum += 1.0;
            done += 1;
        } else if let Some((fraction, what)) = last_progress(&dir.seed(*seed).join("events.jsonl")) {
            sum += fraction;
            if active.contains_key(seed) && slowest.as_ref().is_none_or(|(f, _)| fraction < *f) {
                slowest = Some((fraction, format!("seed {seed}: {what}")));
            }
        }
    }
    let fraction = sum / record.seeds.len().max(1) as f64;
    let seconds = started.elapsed().as_secs_f64();
    let left = (fraction > 0.02 && seconds > 2.0).then(|| seconds * (1.0 - fraction) / fraction);
    Ok(RunProgress {
        fraction,
        done,
        seeds: record.seeds.len(),
        what: slowest.map(|s| s.1).unwrap_or_default(),
        seconds,
        left,
    })
}

/// How every seed stands now, whoever ran it.
///
/// # Errors
/// A file of the run is damaged.
pub fn state(dir: &RunDir, record: &RunRecord) -> Result<Ended> {
    ended(dir, record, &BTreeMap::new())
}

fn ended(dir: &RunDir, record: &RunRecord, deaths: &BTreeMap<u64, String>) -> Result<Ended> {
    let mut result = Ended::default();
    for seed in &record.seeds {
        match dir.exit(*seed)? {
            Some(Exit { status: Status::Finished, .. }) => result.finished.push(*seed),
            Some(Exit { status: Status::Failed, why, .. }) => result.failed.push((*seed, why)),
            Some(Exit { status: Status::Cancelled, .. }) => {
                result.unfinished.push((*seed, "stopped".to_owned()));
            }
            None => {
                let how = deaths.get(seed).filter(|how| !how.is_empty()).cloned();
                result.unfinished.push((*seed, how.unwrap_or_else(|| "not finished".to_owned())));
            }
        }
    }
    Ok(result)
}

//! `ream worker <run> --seed k`: one seed in a process of its own, wherever the run directory can be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ream_paper::Paper;

use crate::error::{Error, Result};
use crate::files::{to_json, write_atomic, write_durable};
use crate::record::{Exit, RunDir, RunRecord, Status};
use crate::run::{Run, Setup};
use crate::system::AnySystem;

/// Runs one seed of a run to its end and writes how it ended.
///
/// `threads` sizes the global thread pool; the observations do not depend on it.
///
/// # Errors
/// The seed is being run by another process, or was run by other code; the directory cannot be written; what the
/// system itself failed with (also written to `exit`).
pub fn work(
    dir: &RunDir,
    record: &RunRecord,
    paper: &Paper,
    system: &AnySystem,
    seed: u64,
    threads: usize,
) -> Result<()> {
    let position = record.seeds.iter().position(|s| *s == seed).ok_or_else(|| {
        Error::Input(format!("run {} has no seed {seed}; it has {}", record.id, show_seeds(&record.seeds)))
    })?;
    let seed_dir = dir.seed(seed);
    fs::create_dir_all(&seed_dir).map_err(Error::io("create", &seed_dir))?;
    let _lock = SeedLock::take(&seed_dir)?;
    if matches!(dir.exit(seed)?, Some(Exit { status: Status::Finished, .. })) {
        return Ok(());
    }
    let exit_path = seed_dir.join("exit");
    if exit_path.exists() {
        fs::remove_file(&exit_path).map_err(Error::io("remove", &exit_path))?;
    }
    let stop = stop_flag();
    // A second pool in one process (tests) keeps the first one's size; results do not depend on it.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global();
    let result = run_seed(dir, record, paper, system, seed, position as u64, &seed_dir, stop);
    let exit = match &result {
        Ok(()) => Exit { status: Status::Finished, why: String::new(), code: 0 },
        Err(Error::Cancelled) => Exit { status: Status::Cancelled, why: String::new(), code: 130 },
        // A full disk is not the computation's fault: without an exit the seed simply goes on later.
        Err(Error::Io { .. }) => return result,
        Err(error) => Exit { status: Status::Failed, why: error.to_string(), code: error.exit_code() },
    };
    write_durable(&exit_path, &to_json(&exit)?)?;
    result
}

#[expect(clippy::too_many_arguments, reason = "one call site; the parts of a seed's set-up")]
fn run_seed(
    dir: &RunDir,
    record: &RunRecord,
    paper: &Paper,
    system: &AnySystem,
    seed: u64,
    position: u64,
    seed_dir: &Path,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    if let Some(own) = &record.own_data {
        let now = ream_data::hash_file(&own.path)?;
        if now != own.sha256 {
            return Err(Error::Input(format!(
                "{}: the file has changed since the run was started (SHA-256 {now}, then {})",
                own.path.display(),
                own.sha256
            )));
        }
    }
    let measures: BTreeMap<String, u64> = paper.measures.iter().map(|m| (m.id.clone(), m.seeds)).collect();
    let mut run = Run::in_directory(Setup {
        seed,
        position,
        measures,
        selected: selected_measures(paper, &record.claims),
        own_data: record.own_data.as_ref().map(|own| own.path.clone()),
        store: ream_data::Store::open(crate::home().join("data")),
        code: (record.code.sources.clone(), record.code.substrate.clone()),
        seed_dir,
        cancel: dir.file("cancel"),
        stop,
    })?;
    system.run(&record.config, &mut run)?;
    let (observations, timings) = run.finish()?;
    write_atomic(&seed_dir.join("timings.json"), &to_json(&timings)?)?;
    write_durable(&seed_dir.join("observations.json"), &to_json(&observations)?)?;
    let checkpoint = seed_dir.join("checkpoint");
    if checkpoint.exists() {
        fs::remove_file(&checkpoint).map_err(Error::io("remove", &checkpoint))?;
    }
    Ok(())
}

/// Measures that the selected claims' checks read; `None` when every claim is wanted.
fn selected_measures(paper: &Paper, claims: &[String]) -> Option<BTreeSet<String>> {
    if claims.is_empty() {
        return None;
    }
    let checks = claims.iter().filter_map(|id| paper.claim(id)).flat_map(|claim| &claim.checks);
    Some(checks.flat_map(|check| check.quantity.terms()).map(|term| term.measure.clone()).collect())
}

pub(crate) fn show_seeds(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] if seeds.windows(2).all(|w| w[1] == w[0] + 1) => format!("{first} to {last}"),
        _ => seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Set by SIGINT and SIGTERM; the system stops at its next call of `progress`.
fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Fails only when a handler exists already (tests that work two seeds in one process).
    let _ = ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed));
    stop
}

/// The one writer of a seed directory: an advisory lock that the system releases when the process dies.
#[derive(Debug)]
pub(crate) struct SeedLock {
    _file: File,
}

impl SeedLock {
    pub(crate) fn take(seed_dir: &Path) -> Result<Self> {
        lock_file(&seed_dir.join("lock"))?.map(|file| Self { _file: file }).ok_or_else(|| {
            Error::Input(format!(
                "{} is being written by another worker ({})",
                seed_dir.display(),
                holder(&seed_dir.join("lock"))
            ))
        })
    }

    /// Whether some process holds it.
    pub(crate) fn held(seed_dir: &Path) -> bool {
        is_locked(&seed_dir.join("lock"))
    }
}

/// Whether some process has locked a file.
pub(crate) fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Locks a file and writes who holds it; `None` when another process does.
pub(crate) fn lock_file(path: &Path) -> Result<Option<File>> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
    }
    let text =
        format!("pid {} on {} since {}\n", std::process::id(), host(), crate::time::utc(crate::time::now()));
    let write = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    };
    write(&mut file).map_err(Error::io("write", path))?;
    Ok(Some(file))
}

/// Who holds a lock, as far as its file says.
pub(crate) fn holder(path: &Path) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown holder".to_owned(), |text| text.trim().to_owned())
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "this machine".to_owned(), |name| name.trim().to_owned())
}

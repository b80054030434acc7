//! How many runs there may be, how long one may take and how much memory a worker may ask for.

use std::path::Path;

use ream_lab::{Machine, Needs, RunDir, cores};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a run started here may use.
#[derive(Clone, Debug)]
pub struct RunLimits {
    /// Runs at once. One more is let in when it is a smoke run, so that trying a paper need not wait for an evening's run;
    /// a run that measures time runs alone.
    pub at_once: usize,
    /// Runs that may wait.
    pub queue: usize,
    /// Longest time limit that can be asked for, minutes.
    pub minutes: f64,
    /// Most memory of one worker, MiB.
    pub memory_mib: u64,
}

impl Default for RunLimits {
    /// Half as many runs as there are cores, and the memory of this machine.
    fn default() -> Self {
        let memory = Machine::this().memory_mib;
        Self {
            at_once: (cores() / 2).max(1),
            queue: 20,
            minutes: 7.0 * 24.0 * 60.0,
            memory_mib: if memory == 0 { 1 << 20 } else { memory },
        }
    }
}

/// `limits.json` of a run that was started here: what it may use, and why it was stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Allowance {
    /// Minutes that one launch may take.
    pub(super) minutes: f64,
    /// Memory of one worker, MiB.
    pub(super) memory_mib: u64,
    /// Why the last launch was stopped; empty when nobody stopped it.
    #[serde(default)]
    pub(super) stopped: String,
}

const FILE: &str = "limits.json";

impl Allowance {
    /// Four times what a run is expected to take, ten minutes at the least; twice the memory and half a GiB.
    ///
    /// `wanted` is a time limit that someone asked for, minutes.
    pub(super) fn of(
        needs: &Needs,
        seeds: usize,
        slots: usize,
        wanted: Option<f64>,
        limits: &RunLimits,
    ) -> Result<Self> {
        if needs.memory_mib > limits.memory_mib {
            return Err(Error::bad_request(
                "too_much_memory",
                format!(
                    "One seed needs about {} MiB, and {} MiB are allowed here.",
                    needs.memory_mib, limits.memory_mib
                ),
            ));
        }
        let rounds = seeds.div_ceil(slots.max(1)) as f64;
        let minutes = wanted.unwrap_or((4.0 * needs.minutes * rounds).max(10.0)).min(limits.minutes);
        let memory_mib = (2 * needs.memory_mib + 512).min(limits.memory_mib);
        Ok(Self { minutes, memory_mib, stopped: String::new() })
    }

    /// Reads a run's allowance; a run that was started elsewhere has none.
    pub(super) fn read(dir: &RunDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.file(FILE)).ok()?).ok()
    }

    pub(super) fn write(&self, dir: &RunDir) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal(&e))?;
        write_atomic(&dir.file(FILE), &text)
    }
}

/// Writes beside the file, then renames.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside =
        path.with_extension(format!("{}.tmp", crate::guard::random().map_err(|e| Error::internal(&e))?));
    let write = || std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    write().map_err(|e| {
        let _ = std::fs::remove_file(&beside);
        Error::internal(&format!("cannot write {}: {e}", path.display()))
    })
}

/// Workers of one run at once: as many as cores, memory and the other runs leave.
pub(super) fn slots(needs: &Needs, threads: usize, limits: &RunLimits) -> usize {
    if needs.timed {
        return 1;
    }
    let by_cores = cores() / limits.at_once.max(1) / threads.max(1);
    let by_memory = limits.memory_mib / needs.memory_mib.max(1);
    by_cores.min(usize::try_from(by_memory).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> RunLimits {
        RunLimits { at_once: 1, queue: 2, minutes: 100.0, memory_mib: 4000 }
    }

    #[test]
    fn time_and_memory_follow_the_needs() {
        let needs = Needs { minutes: 5.0, memory_mib: 300, ..Needs::default() };
        let given = Allowance::of(&needs, 3, 2, None, &limits()).unwrap();
        assert_eq!((given.minutes, given.memory_mib), (40.0, 1112));
        assert_eq!(Allowance::of(&needs, 30, 1, None, &limits()).unwrap().minutes, 100.0);
        assert_eq!(Allowance::of(&needs, 1, 1, Some(2.0), &limits()).unwrap().minutes, 2.0);
        assert_eq!(Allowance::of(&Needs::default(), 1, 1, None, &limits()).unwrap().minutes, 10.0);
        let greedy = Needs { memory_mib: 4001, ..Needs::default() };
        assert!(Allowance::of(&greedy, 1, 1, None, &limits()).is_err());
    }

    #[test]
    fn what_measures_time_runs_one_seed_at_a_time() {
        assert_eq!(slots(&Needs { timed: true, ..Needs::default() }, 1, &limits()), 1);
        assert_eq!(slots(&Needs { memory_mib: 3000, ..Needs::default() }, 1, &limits()), 1);
    }
}

//! Places in the queue as files, so that what waits outlives the site: `queued.json` of a run.
//!
//! The file stands in the run's folder from the moment the run is ordered until a launcher drives it, and its site holds a
//! lock on it meanwhile. The next site takes over the files that nobody holds; a second site beside this one does not.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ream_lab::RunDir;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const FILE: &str = "queued.json";

/// What the file says.
#[derive(Serialize, Deserialize)]
struct Order {
    /// Nanoseconds since 1970: first come, first served.
    since: u64,
    retry_failed: bool,
}

/// A place in the queue.
pub(super) struct Waiting {
    path: PathBuf,
    order: Order,
    /// Locked as long as this process waits.
    _file: File,
}

impl Waiting {
    /// Takes a place at the end.
    pub(super) fn enter(dir: &RunDir, retry_failed: bool) -> Result<Self> {
        let path = dir.file(FILE);
        let failed =
            |e: &dyn std::fmt::Display| Error::internal(&format!("cannot write {}: {e}", path.display()));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let order = Order { since: u64::try_from(since).unwrap_or(u64::MAX), retry_failed };
        let text = serde_json::to_vec(&order).map_err(|e| failed(&e))?;
        let beside = path.with_extension("tmp");
        // Locked before it has its name: nobody sees it unlocked.
        let write = || {
            let mut file = File::create(&beside)?;
            file.lock()?;
            file.write_all(&text)?;
            std::fs::rename(&beside, &path)?;
            Ok::<_, std::io::Error>(file)
        };
        let file = write().map_err(|e| failed(&e))?;
        Ok(Self { path, order, _file: file })
    }

    /// Takes over the place of a run that a site which is gone has left; nothing where there is none, or somebody holds it.
    pub(super) fn take_over(dir: &RunDir) -> Option<Self> {
        let path = dir.file(FILE);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        file.try_lock().ok()?;
        // Whoever held it may have begun the run, and removed the file, while we opened it.
        let order = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
        Some(Self { path, order, _file: file })
    }

    /// When it was ordered.
    pub(super) fn since(&self) -> u64 {
        self.order.since
    }

    /// Whether seeds that failed are to be tried again.
    pub(super) fn retry_failed(&self) -> bool {
        self.order.retry_failed
    }

    /// Gives the place up: the run begins, or will not.
    pub(super) fn leave(self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::internal(&format!("cannot remove {}: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }
}

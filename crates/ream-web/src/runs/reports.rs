//! Reports of runs, kept in memory once a run has finished.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ream_lab::{Report, RunDir, RunRecord};

use crate::error::Result;
use crate::state::App;

/// Reports that are kept.
const KEPT: usize = 32;

/// The reports that were asked for last.
#[derive(Default)]
pub(crate) struct Reports(Mutex<VecDeque<Arc<Report>>>);

impl Reports {
    /// The report of a run as it stands. One whose seeds have all finished does not change any more.
    pub(super) fn of(&self, app: &App, dir: &RunDir, record: &RunRecord) -> Result<Arc<Report>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|report| report.run == record.id)
            && let Some(report) = kept.remove(at)
        {
            kept.push_front(Arc::clone(&report));
            return Ok(report);
        }
        drop(kept);
        let entry = app.site.edition.get(&record.paper)?;
        let report = Arc::new(Report::gather(dir, record, &entry.paper)?);
        // The wall clock is added when the launcher ends, after the last seed.
        if report.finished.len() == record.seeds.len() && dir.file("report.json").is_file() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_front(Arc::clone(&report));
            kept.truncate(KEPT);
        }
        Ok(report)
    }
}

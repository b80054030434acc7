//! Imports from the site: one at a time in the background, each with a report that outlives it.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ream_catalog::import::Limits;
use ream_catalog::{Intake, intake};
use serde::Serialize;

use crate::error::Error;
use crate::state::App;

/// Reports that are kept.
const KEPT: usize = 16;
/// Bytes that may come out of a compressed upload.
const UNPACKED: u64 = 512 << 20;

/// The imports since the start.
#[derive(Default)]
pub(crate) struct Imports(Mutex<VecDeque<Arc<Import>>>);

/// An import.
pub(crate) struct Import {
    pub(crate) number: usize,
    pub(crate) file: String,
    report: Mutex<Report>,
}

/// How an import stands.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) done: bool,
    pub(crate) added: u64,
    pub(crate) merged: u64,
    pub(crate) unchanged: u64,
    /// Records that were bad, and the first of them in words.
    pub(crate) bad: u64,
    pub(crate) problems: Vec<String>,
    /// What ended it early.
    pub(crate) failed: Option<String>,
    /// Papers whose meaning has been computed, of how many.
    pub(crate) embedded: Option<(usize, usize)>,
}

impl Report {
    /// What became of the records so far.
    fn take(&mut self, so_far: &Intake) {
        (self.added, self.merged, self.unchanged) = (so_far.added, so_far.merged, so_far.unchanged);
        self.bad = so_far.bad;
        self.problems = so_far.problems.iter().map(ToString::to_string).collect();
        self.failed = so_far.stopped.as_ref().map(ToString::to_string);
    }
}

impl Import {
    pub(crate) fn report(&self) -> Report {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Imports {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Import>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, number: usize) -> Option<Arc<Import>> {
        self.lock().iter().find(|import| import.number == number).cloned()
    }

    /// A new one, unless one is under way.
    fn begin(&self, file: String) -> Option<Arc<Import>> {
        let mut all = self.lock();
        if all.back().is_some_and(|last| !last.lock().done) {
            return None;
        }
        let number = all.back().map_or(1, |last| last.number + 1);
        let import = Arc::new(Import { number, file, report: Mutex::default() });
        all.push_back(Arc::clone(&import));
        while all.len() > KEPT {
            all.pop_front();
        }
        Some(import)
    }
}

/// Starts an import; its number, or nothing where one is under way.
pub(crate) fn start(app: &App, file: String, bytes: Vec<u8>) -> Option<usize> {
    let import = app.imports.begin(file)?;
    let number = import.number;
    let app = app.clone();
    tokio::spawn(async move {
        let failed = work(&app, &import, bytes).await.err();
        let mut report = import.lock();
        if report.failed.is_none() {
            report.failed = failed.map(|error| error.message);
        }
        report.done = true;
    });
    Some(number)
}

async fn work(app: &App, import: &Arc<Import>, bytes: Vec<u8>) -> Result<(), Error> {
    let limits = Limits { unpacked: UNPACKED, ..Limits::default() };
    let told = Arc::clone(import);
    let mut tell = move |so_far: &Intake| told.lock().take(so_far);
    let done = intake(app.store(), Cursor::new(bytes), None, limits, &import.file, &mut tell).await?;
    import.lock().take(&done);
    app.site.catalog.refresh().await?;
    app.forget();
    let _alone = app.embedding.lock().await;
    let progress = Arc::clone(import);
    let mut tell = move |done, all| progress.lock().embedded = Some((done, all));
    app.site.catalog.embed_missing(&mut tell).await?;
    app.forget();
    Ok(())
}

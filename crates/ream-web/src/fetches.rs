//! Data sets that are fetched from a page: each at most once at a time, on a thread of its own, as `ream data fetch` does it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ream_data::{DataSet, Progress, size_words};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::state::App;

/// Fetches since the start, by data set.
#[derive(Default)]
pub(crate) struct Fetches(Mutex<BTreeMap<&'static str, Fetch>>);

/// How a fetch stands.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Fetch {
    pub(crate) done: bool,
    /// Bytes downloaded, and expected.
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    /// Why it failed.
    pub(crate) failed: Option<String>,
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Fetch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new one, unless one is under way.
    fn begin(&self, set: &'static DataSet) -> bool {
        let mut all = self.lock();
        if all.get(set.id.as_str()).is_some_and(|fetch| !fetch.done) {
            return false;
        }
        all.insert(&set.id, Fetch { total: set.download_bytes, ..Fetch::default() });
        true
    }

    fn change(&self, set: &'static DataSet, change: impl FnOnce(&mut Fetch)) {
        if let Some(fetch) = self.lock().get_mut(set.id.as_str()) {
            change(fetch);
        }
    }
}

/// Begins to fetch a data set, unless that is under way.
pub(crate) fn start(app: &App, set: &'static DataSet) {
    if !app.fetches.begin(set) {
        return;
    }
    let app = app.clone();
    std::thread::spawn(move || {
        let mut tell = |now: &Progress| {
            app.fetches.change(set, |fetch| (fetch.bytes, fetch.total) = (now.bytes, now.total));
        };
        let fetch = || app.site.data.fetch(&set.id, &mut tell);
        let failed = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(fetch)) {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the fetch failed".to_owned()),
        };
        app.fetches.change(set, |fetch| (fetch.done, fetch.failed) = (true, failed));
    });
}

/// The data set of that name.
pub(crate) fn known(id: &str) -> Result<&'static DataSet> {
    ream_data::get(id).map_err(|error| Error::not_found(error.to_string()))
}

/// A data set as pages and the JSON interface show it.
#[derive(Clone, Serialize)]
pub(crate) struct DataRow {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Registry, package, version.
    pub(crate) source: String,
    pub(crate) download_bytes: u64,
    pub(crate) licence: &'static str,
    /// Of the file, or of the list of files.
    pub(crate) sha256: &'static str,
    /// `fetched`, `not fetched`, `damaged`.
    pub(crate) state: &'static str,
    /// Papers of the edition that use it.
    pub(crate) papers: Vec<String>,
    /// The last fetch since the site was started.
    pub(crate) fetch: Option<Fetch>,
}

impl DataRow {
    pub(crate) fn new(app: &App, set: &'static DataSet) -> Self {
        let board = app.board();
        let uses = board.papers.iter().filter(|(_, shown)| shown.data.contains(&set.id));
        Self {
            id: &set.id,
            title: &set.title,
            source: set.source(),
            download_bytes: set.download_bytes,
            licence: &set.licence,
            sha256: &set.sha256,
            state: app.site.data.condition(set).name(),
            papers: uses.map(|(slug, _)| slug.clone()).collect(),
            fetch: app.fetches.lock().get(set.id.as_str()).cloned(),
        }
    }

    pub(crate) fn size(&self) -> String {
        size_words(self.download_bytes)
    }

    pub(crate) fn is_here(&self) -> bool {
        self.state == "fetched"
    }

    /// The fetch that goes on.
    pub(crate) fn under_way(&self) -> Option<&Fetch> {
        self.fetch.as_ref().filter(|fetch| !fetch.done)
    }

    /// Why the last fetch failed, if what it was for is still missing.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.fetch.as_ref().filter(|_| !self.is_here()).and_then(|fetch| fetch.failed.as_deref())
    }
}

impl Fetch {
    /// `3.1 of 27 MB`.
    pub(crate) fn words(&self) -> String {
        format!("{} of about {}", size_words(self.bytes), size_words(self.total))
    }
}

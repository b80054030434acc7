//! What every request can reach.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ream_catalog::Store;
use tokio::sync::watch;

use crate::Site;
use crate::board::Board;
use crate::cache::{Alike, Pages, SimilarLists};
use crate::error::Result;
use crate::fetches::Fetches;
use crate::guard::Secret;
use crate::imports::Imports;
use crate::runs::{Channels, Known, Manager, Reports};

/// A handle on the site; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// What the handle points at.
pub(crate) struct Shared {
    /// What the program handed in.
    pub(crate) site: Site,
    /// Pages that were just made.
    pub(crate) pages: Pages,
    /// Similar papers that were looked for.
    similar: SimilarLists,
    /// Data sets that are being fetched, or were.
    pub(crate) fetches: Fetches,
    /// Imports since the start.
    pub(crate) imports: Imports,
    /// Held by whoever computes meanings.
    pub(crate) embedding: tokio::sync::Mutex<()>,
    board: RwLock<Arc<Board>>,
    trouble: Mutex<BTreeMap<&'static str, String>>,
    /// What the tokens of forms are made with.
    pub(crate) secret: Secret,
    /// Starts runs.
    pub(crate) manager: Manager,
    /// Runs that are watched.
    pub(crate) channels: Channels,
    /// Reports that were asked for last.
    pub(crate) reports: Reports,
    /// Runs that have finished.
    pub(crate) known: Known,
    /// Tells this process from the one before: nanoseconds since 1970, in hexadecimal.
    pub(crate) started: String,
    stop: watch::Sender<bool>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(site: Site) -> Self {
        let manager = Manager::new(
            Arc::clone(&site.edition),
            site.runs.clone(),
            site.program.clone(),
            site.home.clone(),
            site.options.runs.clone(),
        );
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        Self(Arc::new(Shared {
            site,
            pages: Pages::default(),
            similar: SimilarLists::default(),
            fetches: Fetches::default(),
            imports: Imports::default(),
            embedding: tokio::sync::Mutex::default(),
            board: RwLock::default(),
            trouble: Mutex::default(),
            secret: Secret::new(),
            manager,
            channels: Channels::default(),
            reports: Reports::default(),
            known: Known::default(),
            started: format!("{since:x}"),
            stop: watch::Sender::new(false),
        }))
    }

    /// The store of papers.
    pub(crate) fn store(&self) -> &Store {
        self.site.catalog.store()
    }

    /// Lets the search index catch up with the store; if it had to, pages that were kept are forgotten and the meaning
    /// of what is new is computed.
    pub(crate) async fn refresh(&self) -> Result<()> {
        if self.site.catalog.refresh().await? > 0 {
            self.forget();
            self.embed();
        }
        Ok(())
    }

    /// Computes the meaning of papers that lack it, in the background, unless that is under way.
    pub(crate) fn embed(&self) {
        let app = self.clone();
        tokio::spawn(async move {
            let Ok(_alone) = app.embedding.try_lock() else { return };
            let outcome = app.site.catalog.embed_missing(&mut |_, _| {}).await;
            // Who is near in meaning is known only now.
            if outcome.as_ref().is_ok_and(|papers| *papers > 0) {
                app.forget();
            }
            app.set_trouble("meaning", outcome.err().map(|error| error.to_string()));
        });
    }

    /// Forgets what was made from the collection as it was.
    pub(crate) fn forget(&self) {
        self.pages.clear();
        self.similar.clear();
    }

    /// Papers like this one.
    pub(crate) async fn similar(&self, handle: &str, most: usize) -> Result<Arc<[Alike]>> {
        let age = match self.similar.get(handle, most) {
            Ok(kept) => return Ok(kept),
            Err(age) => age,
        };
        let found = self.site.catalog.similar(handle, most).await?;
        let list: Arc<[Alike]> = found
            .into_iter()
            .map(|similar| Alike {
                handle: similar.paper.handle,
                title: similar.paper.record.title,
                score: similar.score,
                why: similar.why,
            })
            .collect();
        self.similar.put(handle, most, age, &list);
        Ok(list)
    }

    /// How the edition's claims stand.
    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_board(&self, board: Arc<Board>) {
        *self.board.write().unwrap_or_else(PoisonError::into_inner) = board;
    }

    /// What went wrong in the background the last time.
    pub(crate) fn trouble(&self) -> Vec<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Notes how a task in the background ended.
    pub(crate) fn set_trouble(&self, task: &'static str, trouble: Option<String>) {
        let mut all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => all.insert(task, trouble),
            None => all.remove(task),
        };
    }

    /// Whether papers can be run: only for a reader who sits at this machine. A site that answers under another name is
    /// reached through a proxy, by others.
    pub(crate) fn can_run(&self) -> bool {
        self.site.bind.ip().is_loopback() && self.site.options.hosts.is_empty()
    }

    /// Tells everything that lasts to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends when the site stops: streams select on it, so that they do not hold it up.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // The sender lives in the handle; if it is gone, so is the site.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

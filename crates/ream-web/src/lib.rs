//! The site on which papers are found, read and run: server-rendered pages, feeds, a JSON interface.
//!
//! [`serve`] answers on a listener until it is told to stop; [`router`] is the same without a socket. Pages are
//! templates of `templates/`, checked when they are compiled and escaped; `assets/` holds the one style sheet and the one
//! script, neither of which a page needs to be usable. Errors are one page with a status and a stable code.

mod address;
mod api;
mod assets;
mod board;
mod cache;
mod calendar;
mod edition;
mod entries;
mod error;
mod feeds;
mod fetches;
mod follow;
mod gauge;
mod guard;
mod imports;
mod marks;
mod pages;
mod params;
mod runs;
mod shell;
mod state;
mod views;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use ream_catalog::{Catalog, Embedder};
use ream_lab::{Edition, Runs};
use tokio::net::TcpListener;

pub use edition::edition_papers;
pub use error::{Error, Result};
pub use runs::RunLimits;

use state::App;

/// What a site is made of.
pub struct Site {
    /// Papers: store and search.
    pub catalog: Catalog,
    /// Papers and systems of the program.
    pub edition: Arc<Edition>,
    /// Where runs are.
    pub runs: Runs,
    /// Where data sets are.
    pub data: ream_data::Store,
    /// Looks for the sentence encoder of a catalogue that was opened without one: asked when data sets have changed.
    pub encoder: Option<FindEncoder>,
    /// Where everything else is: uploads below it.
    pub home: PathBuf,
    /// The program that a run's workers are started with.
    pub program: PathBuf,
    /// The address that is listened on. Papers are run only where it is a loopback address.
    pub bind: SocketAddr,
    /// What can be chosen.
    pub options: Options,
}

/// Gives the sentence encoder, where its weights are there; or why they cannot be used.
pub type FindEncoder = Arc<dyn Fn() -> std::result::Result<Option<Arc<dyn Embedder>>, String> + Send + Sync>;

/// What can be chosen of a site.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names besides the loopback ones under which the site answers, with a port where addresses show one; with any of
    /// them nothing can be run.
    pub hosts: Vec<String>,
    /// Largest file that can be uploaded, MiB.
    pub upload_mib: u64,
    /// What runs may use.
    pub runs: RunLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self { hosts: Vec::new(), upload_mib: 64, runs: RunLimits::default() }
    }
}

/// Answers on `listener` until `stop`; requests that are under way are finished, for ten seconds at the most. Meanwhile
/// the catalogue's edition, runs and search index are kept current. Runs go on without the site; those that another
/// process has left behind are taken over.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    mut site: Site,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    site.bind = listener.local_addr().map_err(|e| Error::internal(&e))?;
    let app = App::new(site);
    // Whoever asks meanwhile waits for it. What goes wrong is tried again, and told, by the follower.
    let mut seen = None;
    let _ = follow::judge(&app, &mut seen).await;
    tokio::spawn(follow::follow(app.clone(), seen));
    if app.can_run() {
        tokio::spawn(runs::keep_tidy(app.clone()));
        // Before the first answer: until then what had waited would be shown as unfinished.
        let manager = app.manager.clone();
        let _ = tokio::task::spawn_blocking(move || manager.adopt()).await;
    }
    let stopper = app.clone();
    tokio::spawn(async move {
        stop.await;
        stopper.stop();
    });
    guard::serve(&app, listener, routes(&app)).await;
    Ok(())
}

/// The site as a service, for tests and for whoever has a listener of another kind. The catalogue is brought up to date
/// once; only [`serve`] follows what happens later.
///
/// # Errors
/// The store or the folder of runs cannot be read.
pub async fn router(site: Site) -> Result<Router> {
    let app = App::new(site);
    follow::look(&app, &mut None).await?;
    Ok(routes(&app))
}

fn routes(app: &App) -> Router {
    let all = Router::new()
        .merge(pages::routes())
        .merge(feeds::routes())
        .merge(api::routes())
        .merge(runs::routes())
        .merge(assets::routes());
    guard::protect(all, app).with_state(app.clone())
}

//! What every request can reach.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::Site;

/// A handle on the site; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// What the handle points at.
pub(crate) struct Shared {
    /// What the program handed in.
    pub(crate) site: Site,
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
        Self(Arc::new(Shared { site, stop: watch::Sender::new(false) }))
    }

    /// Whether papers can be run: only for a reader who sits at this machine.
    pub(crate) fn can_run(&self) -> bool {
        self.site.bind.ip().is_loopback()
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

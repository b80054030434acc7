//! What stands between the network and the pages.
//!
//! A site on a loopback address is reached by every program of the machine, and by every page that its reader's browser
//! has open. So, from the outside in ([`listen`] before all: how many connections, how long one may take to ask):
//!
//! 1. [`policy`]: every answer says what a page may do (its own files only, no frames, nothing inline without the nonce);
//! 2. [`limits`]: size of the head and of the body, time of an answer, panics;
//! 3. [`origin`]: the host asked for is this site, or another name was made to point here (DNS rebinding); whoever sends an
//!    `Origin` is this site; pages of other sites can link here and do nothing else;
//! 4. [`csrf`]: what changes something carries a token that only a page of this process can know;
//! 5. [`validate`]: what a reader has already is not sent again.
//!
//! Bound to anything but loopback, the site answers no request that changes something.

mod csrf;
mod limits;
mod listen;
mod origin;
mod policy;
mod validate;

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

pub(crate) use csrf::Secret;
pub(crate) use listen::serve;
pub(crate) use policy::random;
pub(crate) use validate::tag;

use crate::state::App;

/// What a request carries for its page, as a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Nonce of the content security policy.
    pub(crate) nonce: String,
    /// Token that forms send back, in their first field.
    pub(crate) csrf: String,
}

/// Puts the protections around all routes. Layers added here see every request; the last one sees it first.
pub(crate) fn protect(routes: Router<App>, app: &App) -> Router<App> {
    let routes = routes
        .layer(from_fn(validate::check))
        .layer(from_fn_with_state(app.clone(), csrf::check))
        .layer(from_fn_with_state(app.clone(), origin::check));
    let routes = limits::around(routes, app);
    // On the reader's own machine packing costs more than it saves. Elsewhere nothing can be changed from a page, so none
    // holds a secret that the length of a packed answer could tell (BREACH).
    let routes = if app.can_run() { routes } else { routes.layer(compression()) };
    routes.layer(from_fn(policy::policy))
}

/// Packs what is text and not an event stream, at the level that costs least.
fn compression() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    let when = SizeAbove::new(1024).and(NotForContentType::SSE);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(when)
}

/// Whether a request with this method may change something.
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

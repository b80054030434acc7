//! Connections: how many, how long one may take to ask, and how they end.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::state::App;

/// Connections at once; more wait until one has ended.
const CONNECTIONS: usize = 1024;
/// How long the head of a request may take to come, from the moment that the connection waits for it.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Largest head that is read at all, bytes; [`super::limits`] says what is too large in a page.
const HEAD: usize = 64 * 1024;
/// How long requests that are under way may take after the site was told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Answers connections until the site stops; then no more are taken, those that wait for their next request end, and
/// requests that are under way are finished within the time of grace.
pub(crate) async fn serve(app: &App, listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stopping = pin!(app.stopping());
    loop {
        let taken = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let taken = tokio::select! {
            taken = taken => taken,
            () = &mut stopping => break,
        };
        match taken {
            Some((Ok((stream, _)), place)) => {
                connections.spawn(answer(app.clone(), stream, router.clone(), place));
            }
            // The other side has gone again: nobody to answer.
            Some((Err(error), _))
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            // Out of file descriptors, as a rule: time to let some connections end.
            Some((Err(_), _)) => sleep(Duration::from_millis(200)).await,
            None => break,
        }
        while connections.try_join_next().is_some() {}
    }
    // Who has connected before the stop is answered: those connections are ready at once.
    while let Ok(Ok((stream, _))) = timeout(Duration::from_millis(20), listener.accept()).await
        && let Ok(place) = Arc::clone(&places).try_acquire_owned()
    {
        connections.spawn(answer(app.clone(), stream, router.clone(), place));
    }
    drop(listener);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn answer(app: App, stream: TcpStream, router: Router, place: OwnedSemaphorePermit) {
    // Small answers are not held back to be sent with the next ones.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stopping = pin!(app.stopping());
    // A connection that breaks off concerns nobody but its other side.
    let _: Result<(), hyper::Error> = tokio::select! {
        ended = connection.as_mut() => ended,
        () = &mut stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    drop(place);
}

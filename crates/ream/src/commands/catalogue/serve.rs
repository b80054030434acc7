//! `ream serve`: the site, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use ream_lab::{Error, Result};
use ream_web::{Options, Site};
use tokio::net::TcpListener;

use super::{block_on, embedder, open};
use crate::cli::Serve;
use crate::commands::{Context, data};
use crate::output;

pub(crate) fn run(context: Context, args: &Serve) -> Result<u8> {
    let program =
        std::env::current_exe().map_err(|e| Error::Failed(format!("cannot find this program: {e}")))?;
    block_on(async move {
        let wanted = SocketAddr::new(args.bind, args.port);
        let listener = TcpListener::bind(wanted).await.map_err(|e| {
            Error::Input(format!("cannot listen on {wanted}: {e}; another port is chosen with --port"))
        })?;
        let bind = listener.local_addr().map_err(|e| Error::Failed(format!("no local address: {e}")))?;
        let catalog = open(&context).await?;
        let address = format!("http://{bind}/");
        output::text(&format!("ream is at {address}"))?;
        if !bind.ip().is_loopback() {
            output::note(
                "Not a loopback address: papers can be read and searched, nothing can be run or imported.",
            );
        }
        if args.open {
            output::open(&address)?;
        }
        let site = Site {
            catalog,
            edition: Arc::new(context.edition),
            runs: context.runs,
            data: data::store(),
            encoder: Some(Arc::new(|| embedder().map_err(|e| e.to_string()))),
            home: ream_lab::home(),
            program,
            bind,
            options: Options::default(),
        };
        ream_web::serve(site, listener, stopped()).await.map_err(|e| Error::Failed(e.to_string()))
    })?;
    Ok(0)
}

/// Ends when the user or a service manager asks for it.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

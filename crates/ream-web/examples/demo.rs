//! The site over a temporary catalogue with the papers of a few families, to look at it while working on it:
//! `cargo run -p ream-web --example demo -- [ADDRESS]`

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ream_catalog::{Catalog, Store};
use ream_lab::{Build, Edition, Runs};
use ream_web::{Options, Site, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bind: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8040").parse()?;
    let home = tempfile::tempdir()?;
    let store = Store::open(&format!("sqlite:{}", home.path().join("catalogue.db").display())).await?;
    let catalog = Catalog::open(store, &home.path().join("index"), None).await?;
    let build = Build { version: "demo", commit: "", clean: false, substrate: "" };
    let families = vec![ream_causal::family(), ream_decisions::family(), ream_vision::family()];
    let site = Site {
        catalog,
        edition: Arc::new(Edition::load(families, build)?),
        runs: Runs::new(home.path().join("runs")),
        data: ream_data::Store::open(home.path().join("data")),
        encoder: None,
        home: home.path().to_owned(),
        program: PathBuf::from("ream"),
        bind,
        options: Options::default(),
    };
    let listener = TcpListener::bind(bind).await?;
    serve(site, listener, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}

//! Keeps the site current: runs that come and end, papers that others write into the store.

use std::sync::Arc;
use std::time::Duration;

use ream_catalog::MeaningState;

use crate::board::{Board, run_rows, stamp};
use crate::error::{Error, Result};
use crate::state::App;

/// How often to look.
const PERIOD: Duration = Duration::from_secs(2);

/// Looks every two seconds until the site stops. What goes wrong is told by `/healthz`, and tried again.
pub(crate) async fn follow(app: App, mut seen: Option<u64>) {
    let stopping = app.stopping();
    tokio::pin!(stopping);
    // What an earlier process left undone.
    app.embed();
    loop {
        let outcome = look(&app, &mut seen).await;
        app.set_trouble("follow", outcome.err().map(|error| error.message));
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Judges the edition again if a run has changed since, tells the store, and lets the search index catch up.
pub(crate) async fn look(app: &App, seen: &mut Option<u64>) -> Result<()> {
    judge(app, seen).await?;
    app.refresh().await
}

/// The first of it: how the claims stand. Before it there is nothing to show but papers.
pub(crate) async fn judge(app: &App, seen: &mut Option<u64>) -> Result<()> {
    let blocking = app.clone();
    let before = *seen;
    let news = tokio::task::spawn_blocking(move || {
        let now = stamp(&blocking.site.runs, &blocking.site.data);
        if before == Some(now) {
            return Ok(None);
        }
        let board = Board::of(&blocking.site.edition, &blocking.site.runs, &blocking.site.data);
        let rows = run_rows(&blocking.site.runs)?;
        Ok::<_, ream_lab::Error>(Some((now, board, rows)))
    })
    .await
    .map_err(|e| Error::internal(&e))??;
    if let Some((now, board, rows)) = news {
        let papers = board.edition_papers(&app.site.edition);
        app.set_board(Arc::new(board));
        app.store().set_edition(&papers).await?;
        app.store().set_runs(&rows).await?;
        *seen = Some(now);
        app.forget();
        let outcome = find_encoder(app).await;
        app.set_trouble("encoder", outcome.err());
    }
    Ok(())
}

/// Turns meaning search on once its encoder has been fetched.
async fn find_encoder(app: &App) -> std::result::Result<(), String> {
    let catalog = &app.site.catalog;
    let Some(find) =
        app.site.encoder.clone().filter(|_| matches!(catalog.meaning(), MeaningState::Off { .. }))
    else {
        return Ok(());
    };
    let found = tokio::task::spawn_blocking(move || find()).await.map_err(|e| e.to_string())??;
    if let Some(encoder) = found {
        catalog.set_embedder(encoder).await.map_err(|e| e.to_string())?;
        app.forget();
        app.embed();
    }
    Ok(())
}

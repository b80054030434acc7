//! `ream export`: papers of the collection in the formats of others.

use std::io::{BufWriter, Write};

use ream_catalog::export::{Export, Exported, Exporter, FeedHead};
use ream_catalog::{Catalog, SearchQuery, Stored};
use ream_lab::{Error, Result, time};

use super::{block_on, failed, open, query_failed};
use crate::cli::Export as Args;
use crate::commands::Context;

/// Papers read at once.
const PAGE: u32 = 200;

/// Where exported papers go.
type Out = Exporter<BufWriter<std::io::Stdout>>;

pub(crate) fn run(context: &Context, args: &Args) -> Result<u8> {
    let written = block_on(async {
        let catalog = open(context).await?;
        let head = FeedHead {
            title: "ream".to_owned(),
            home: None,
            address: None,
            updated: i64::try_from(time::now()).unwrap_or(i64::MAX),
        };
        let mut out = Exporter::new(format(args), BufWriter::new(std::io::stdout()), &head)
            .map_err(|e| unwritten(&e))?;
        match (&args.paper, &args.search) {
            (Some(handle), _) => one(&catalog, handle, &mut out).await?,
            (None, Some(query)) => found(&catalog, query, &mut out).await?,
            (None, None) => all(&catalog, &mut out).await?,
        }
        out.finish().and_then(|mut out| out.flush()).map_err(|e| unwritten(&e))
    });
    match written {
        // A reader that went away (`| head`) is no error.
        Err(Error::Cancelled) => Ok(0),
        other => other.map(|()| 0),
    }
}

fn format(args: &Args) -> Export {
    let chosen = [
        (args.bibtex, Export::BibTex),
        (args.ris, Export::Ris),
        (args.csl, Export::CslJson),
        (args.csv, Export::Csv),
        (args.atom, Export::Atom),
        (args.json_feed, Export::JsonFeed),
    ];
    chosen.into_iter().find(|(chosen, _)| *chosen).map_or(Export::Jsonl, |(_, export)| export)
}

fn unwritten(error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Error::Cancelled;
    }
    Error::Failed(format!("cannot write to standard output: {error}"))
}

fn put(out: &mut Out, paper: &Stored) -> Result<()> {
    let exported = Exported {
        added: Some(paper.added),
        edition: paper.edition.as_ref(),
        ..Exported::new(&paper.record, &paper.handle)
    };
    out.write(&exported).map_err(|e| unwritten(&e))
}

async fn one(catalog: &Catalog, handle: &str, out: &mut Out) -> Result<()> {
    let paper = catalog.store().get(handle).await.map_err(failed)?;
    let paper = paper.ok_or_else(|| failed(ream_catalog::Error::NotFound(handle.to_owned())))?;
    put(out, &paper)
}

async fn found(catalog: &Catalog, query: &str, out: &mut Out) -> Result<()> {
    catalog.refresh().await.map_err(failed)?;
    let mut wanted = SearchQuery {
        text: query.to_owned(),
        mode: ream_catalog::Mode::Text,
        limit: PAGE as usize,
        ..SearchQuery::default()
    };
    loop {
        let page = catalog.search(&wanted).await.map_err(|error| query_failed(query, error))?;
        for hit in &page.hits {
            put(out, &hit.paper)?;
        }
        match page.next {
            Some(next) => wanted.after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn all(catalog: &Catalog, out: &mut Out) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let papers = catalog.store().all(after.as_deref(), PAGE).await.map_err(failed)?;
        for paper in &papers {
            put(out, paper)?;
        }
        match papers.last() {
            Some(last) if papers.len() == PAGE as usize => after = Some(last.handle.clone()),
            _ => return Ok(()),
        }
    }
}

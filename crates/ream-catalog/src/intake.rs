//! From a file into the store: records are read on a thread of their own and written in batches, so that neither waits for
//! the whole of the other and memory stays bounded.

use std::io::BufRead;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::Result;
use crate::import::{Format, Item, Limits, Problem, Stopped, Summary, import};
use crate::record::Record;
use crate::store::{Outcome, Source, Store};

/// Records of one transaction.
const BATCH: usize = 500;
/// Batches that may wait.
const WAITING: usize = 2;
/// Problems that are kept word for word.
const KEPT: usize = 100;

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// Papers that were not there before.
    pub added: u64,
    /// Papers that were there and learned something.
    pub merged: u64,
    /// Papers that were there as they are.
    pub unchanged: u64,
    /// Records that were bad.
    pub bad: u64,
    /// What was wrong with the first hundred of them.
    pub problems: Vec<Problem>,
    /// What the reader says of the whole file.
    pub summary: Summary,
    /// Why the file was not read to its end. What came before is in the store.
    pub stopped: Option<Problem>,
}

impl Intake {
    /// Records that are in the store.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.added + self.merged + self.unchanged
    }
}

/// Reads a file into the store. `progress` is told after every batch what became of the records so far.
///
/// # Errors
/// The store fails. What is wrong with the file is part of the answer: everything good before it is stored.
pub async fn intake(
    store: &Store,
    reader: impl BufRead + Send + 'static,
    format: Option<Format>,
    limits: Limits,
    name: &str,
    progress: &mut (dyn FnMut(&Intake) + Send),
) -> Result<Intake> {
    let (sender, receiver) = channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || read(reader, format, &limits, &sender));
    let mut all = write(store, receiver, name, progress).await?;
    match reading.await {
        Ok(Ok(summary)) => all.summary = summary,
        Ok(Err(problem)) => all.stopped = Some(problem),
        Err(error) => {
            let died = std::io::Error::other(format!("the reading thread died: {error}"));
            return Err(crate::Error::Io { path: name.into(), source: died });
        }
    }
    Ok(all)
}

/// A batch of one kind of file.
struct Batch {
    kind: &'static str,
    items: Vec<Item>,
}

/// The writer has gone: its own error is what counts.
struct Gone;

fn read(
    mut reader: impl BufRead,
    format: Option<Format>,
    limits: &Limits,
    sender: &Sender<Batch>,
) -> std::result::Result<Summary, Problem> {
    // What lies inside a compressed file shows only while it is read; its source is called by what it is outside.
    let seen = || reader.fill_buf().ok().and_then(|head| Format::detect(head).ok());
    let kind = format.or_else(seen).map_or("file", Format::name);
    let mut items = Vec::with_capacity(BATCH);
    let end = import(&mut reader, format, limits, &mut |item| {
        items.push(item);
        if items.len() < BATCH {
            return Ok(());
        }
        let full = std::mem::replace(&mut items, Vec::with_capacity(BATCH));
        sender.blocking_send(Batch { kind, items: full }).map_err(|_| Gone)
    });
    let _ = sender.blocking_send(Batch { kind, items });
    match end {
        Ok(summary) => Ok(summary),
        Err(Stopped::File(problem)) => Err(problem),
        Err(Stopped::Caller(Gone)) => Ok(Summary::default()),
    }
}

async fn write(
    store: &Store,
    mut receiver: Receiver<Batch>,
    name: &str,
    progress: &mut (dyn FnMut(&Intake) + Send),
) -> Result<Intake> {
    let mut all = Intake::default();
    while let Some(batch) = receiver.recv().await {
        let mut records: Vec<Record> = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            match item {
                Ok(record) => records.push(record),
                Err(problem) => {
                    all.bad += 1;
                    if all.problems.len() < KEPT {
                        all.problems.push(problem);
                    }
                }
            }
        }
        let source = Source { kind: batch.kind.to_owned(), name: name.to_owned() };
        for upsert in store.upsert(&records, &source).await? {
            match upsert.outcome {
                Outcome::Added => all.added += 1,
                Outcome::Merged => all.merged += 1,
                Outcome::Unchanged => all.unchanged += 1,
            }
        }
        progress(&all);
    }
    Ok(all)
}

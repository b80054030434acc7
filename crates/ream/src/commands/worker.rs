//! `ream worker`: one seed of a run.

use std::path::Path;

use ream_lab::{Result, RunDir};

use crate::commands::Context;

pub(crate) fn work(context: &Context, run: &Path, seed: u64, threads: usize) -> Result<u8> {
    let (dir, record) = RunDir::open(run)?;
    let (entry, system) = context.edition.system(&record.paper)?;
    entry.same_code(&record)?;
    ream_lab::work(&dir, &record, &entry.paper, &system, seed, threads)?;
    Ok(0)
}

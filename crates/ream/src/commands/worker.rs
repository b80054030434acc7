//! `ream worker`: one seed of a run.

use std::path::Path;

use ream_lab::{Error, Result, RunDir, RunRecord};

use crate::commands::Context;
use crate::edition::Entry;

pub(crate) fn work(context: &Context, run: &Path, seed: u64, threads: usize) -> Result<u8> {
    let (dir, record) = RunDir::open(run)?;
    let (entry, system) = context.edition.system(&record.paper)?;
    same_code(entry, &record)?;
    ream_lab::work(&dir, &record, &entry.paper, &system, seed, threads)?;
    Ok(0)
}

/// A run's seeds are all made by one program.
pub(crate) fn same_code(entry: &Entry, record: &RunRecord) -> Result<()> {
    let code = entry.code();
    if (&record.code.sources, &record.code.substrate) == (&code.sources, &code.substrate) {
        return Ok(());
    }
    Err(Error::Input(format!(
        "run {} was started by other code (sources {} and {}, now {} and {}); start a new run: {}",
        record.id, record.code.sources, record.code.substrate, code.sources, code.substrate, record.command
    )))
}

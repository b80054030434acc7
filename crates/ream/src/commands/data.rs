//! `ream data`: list, fetch, verify.

use ream_data::Store;
use ream_lab::Result;
use serde::Serialize;

use crate::cli::Data;
use crate::commands::Context;

pub(crate) fn store() -> Store {
    Store::open(ream_lab::home().join("data"))
}

#[derive(Serialize)]
pub(crate) struct DataRow {
    pub(crate) id: String,
    pub(crate) licence: String,
    pub(crate) state: String,
}

impl DataRow {
    pub(crate) fn size_words(&self) -> String {
        String::new()
    }
}

pub(crate) fn offer(_: &Store, _: &[String], _: bool) -> Result<()> {
    Ok(())
}

pub(crate) fn rows(_: &Store, _: &[String]) -> Result<Vec<DataRow>> {
    Ok(Vec::new())
}

pub(crate) fn run(_: &Context, _: Data) -> Result<u8> {
    Ok(0)
}

//! Recorded workloads.

use crate::shell::Result;

pub(crate) fn run(_: &[String], _: usize) -> Result<()> {
    Err("no suites yet".to_owned())
}

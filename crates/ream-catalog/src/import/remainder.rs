//! What a format has no place for.
//!
//! An export writes the fields that other programs read, reads them back with the importer of that format, and adds only
//! those facts that came back otherwise, under our own name: `ream_votes = {3}` in BibTeX, `C8  - ream:{"votes":3}` in
//! RIS, `custom.ream` in CSL-JSON. So a title that someone corrects in the exported file is corrected on import, and
//! import after export is the identity.

use serde_json::{Map, Value};

use super::Fault;
use crate::record::Record;

/// The name under which exports add facts.
pub(crate) const OWN: &str = "ream";

/// The facts of `wanted` that `read` does not have; null where `read` has one too many.
pub(crate) fn difference(wanted: &Record, read: &Record) -> Map<String, Value> {
    if wanted == read {
        return Map::new();
    }
    let (wanted, read) = (facts(wanted), facts(read));
    let mut added = Map::new();
    for (key, value) in &wanted {
        if read.get(key) != Some(value) {
            added.insert(key.clone(), value.clone());
        }
    }
    for key in read.keys().filter(|key| !wanted.contains_key(*key)) {
        added.insert(key.clone(), Value::Null);
    }
    added
}

/// `record` with the added facts in place of its own.
pub(crate) fn apply(record: &Record, added: Map<String, Value>) -> Result<Record, Fault> {
    let mut all = facts(record);
    for (key, value) in added {
        match value {
            Value::Null => all.remove(&key),
            value => all.insert(key, value),
        };
    }
    serde_json::from_value(Value::Object(all)).map_err(|error| {
        Fault::new(
            format!("the facts added by an export are damaged: {error}"),
            "what an export of ream wrote",
        )
    })
}

fn facts(record: &Record) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(facts)) => facts,
        _ => Map::new(),
    }
}

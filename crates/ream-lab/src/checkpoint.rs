//! What a resumed worker starts from: finished parts, the state of the part under way, the number of events told.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::observation::Observation;

/// First bytes of the file, with the layout's version.
const MAGIC: &[u8; 8] = b"reamck01";

/// Everything a worker had done when it was last saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Checkpoint {
    /// Events told so far.
    pub(crate) events: u64,
    /// Seconds worked before, over all workers.
    pub(crate) seconds: f64,
    /// Finished parts by path.
    pub(crate) parts: BTreeMap<String, Saved>,
    /// States of parts under way by path; the root's path is empty.
    pub(crate) states: BTreeMap<String, Saved>,
}

/// A value in postcard encoding with the observations that belong to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Saved {
    pub(crate) value: Vec<u8>,
    pub(crate) observations: Vec<Observation>,
}

/// The header is JSON because observations are not postcard-friendly; values follow as raw bytes.
#[derive(Serialize, Deserialize)]
struct Header {
    events: u64,
    seconds: f64,
    parts: Vec<Entry>,
    states: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    bytes: usize,
    observations: Vec<Observation>,
}

impl Checkpoint {
    /// Reads a checkpoint; `None` when there is none. A damaged one is an error: it is never guessed around.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        Self::decode(&bytes).map(Some).ok_or_else(|| {
            Error::corrupt(path, "damaged checkpoint; delete this file to start the seed from its beginning")
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (header, mut rest) = rest.split_at_checked(length)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let mut take = |entries: Vec<Entry>| -> Option<BTreeMap<String, Saved>> {
            let mut map = BTreeMap::new();
            for entry in entries {
                let (value, after) = rest.split_at_checked(entry.bytes)?;
                rest = after;
                map.insert(entry.path, Saved { value: value.to_vec(), observations: entry.observations });
            }
            Some(map)
        };
        let parts = take(header.parts)?;
        let states = take(header.states)?;
        rest.is_empty().then_some(Self { events: header.events, seconds: header.seconds, parts, states })
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let entries = |map: &BTreeMap<String, Saved>| -> Vec<Entry> {
            map.iter()
                .map(|(path, saved)| Entry {
                    path: path.clone(),
                    bytes: saved.value.len(),
                    observations: saved.observations.clone(),
                })
                .collect()
        };
        let header = Header {
            events: self.events,
            seconds: self.seconds,
            parts: entries(&self.parts),
            states: entries(&self.states),
        };
        let header = serde_json::to_vec(&header).map_err(|e| Error::failed(format!("checkpoint: {e}")))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        for saved in self.parts.values().chain(self.states.values()) {
            bytes.extend_from_slice(&saved.value);
        }
        Ok(bytes)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_atomic(path, &self.encode()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_disk_and_refuses_damage() {
        let saved = |value: &[u8]| Saved { value: value.to_vec(), observations: Vec::new() };
        let checkpoint = Checkpoint {
            events: 7,
            seconds: 1.5,
            parts: BTreeMap::from([("a".into(), saved(&[1, 2, 3])), ("b".into(), saved(&[]))]),
            states: BTreeMap::from([(String::new(), saved(&[9]))]),
        };
        let bytes = checkpoint.encode().unwrap();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for cut in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}

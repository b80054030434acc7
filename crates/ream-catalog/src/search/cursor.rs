//! Where a walk through the pages of a search stands.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::collect::Rank;

/// The last hit shown, the snapshot it was seen in, and the query it belongs to. Written as
/// `process.snapshot.query.rank.rank.handle`, numbers in hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cursor {
    /// Which process made the snapshot.
    pub(crate) process: u64,
    /// The snapshot's number.
    pub(crate) snapshot: u64,
    /// [`fingerprint`] of the query.
    pub(crate) query: u64,
    /// Rank of the last hit.
    pub(crate) rank: Rank,
    /// Its handle.
    pub(crate) handle: String,
}

/// Tells queries apart: a cursor of another query is refused.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_le_bytes(first)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, snapshot, query, rank: Rank(first, second), handle } = self;
        write!(f, "{process:x}.{snapshot:x}.{query:x}.{:x}.{:x}.{handle}", first.to_bits(), second.to_bits())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(6, '.');
        let mut number = || u64::from_str_radix(parts.next().ok_or(())?, 16).map_err(|_| ());
        let (process, snapshot, query) = (number()?, number()?, number()?);
        let mut real = || u32::try_from(number()?).map(f32::from_bits).map_err(|_| ());
        let rank = Rank(real()?, real()?);
        let handle = parts.next().filter(|handle| !handle.is_empty()).ok_or(())?.to_owned();
        Ok(Self { process, snapshot, query, rank, handle })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_differ_by_every_part() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(process: u64, snapshot: u64, query: u64, a: f32, b: f32, handle in "[a-z0-9._-]{1,20}") {
            let cursor = Cursor { process, snapshot, query, rank: Rank(a, b), handle };
            let read: Cursor = cursor.to_string().parse().unwrap();
            prop_assert_eq!(read.to_string(), cursor.to_string());
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Cursor>();
        }
    }
}

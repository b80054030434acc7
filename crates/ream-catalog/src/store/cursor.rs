//! Where a page ended.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::ranking::Sort;

/// The end of a page: the last paper's key in the order, and its number. Opaque text outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) sort: Sort,
    /// Of a real key its bits.
    pub(super) key: i64,
    pub(super) id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}.{:x}", self.sort.name(), self.key, self.id)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::Cursor(text.chars().take(80).collect());
        let mut parts = text.split('.');
        let (Some(sort), Some(key), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let bits = |digits: &str| u64::from_str_radix(digits, 16).map(u64::cast_signed).map_err(|_| bad());
        let cursor = Self { sort: sort.parse().map_err(|_| bad())?, key: bits(key)?, id: bits(id)? };
        // one spelling only
        if cursor.to_string() == text { Ok(cursor) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for key in [0, 20_240_501, (-1.0e300_f64).to_bits().cast_signed(), i64::MIN, -1] {
            let cursor = Cursor { sort: Sort::Hot, key, id: 7 };
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for wrong in
            ["", "hot", "hot.1", "hot.1.2.3", "warm.1.2", "hot.+1.2", "hot.01.2", "hot.x.2", "hot.1.-2"]
        {
            assert_eq!(wrong.parse::<Cursor>().unwrap_err().code(), "bad_cursor", "{wrong}");
        }
    }
}

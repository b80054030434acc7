//! A paper's date as its listing shows it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The date of a paper: `2024-05-01`, or `--05-01` (ISO 8601 `gMonthDay`) where the listing shows no year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaperDate {
    /// The year, when it is shown.
    pub year: Option<u16>,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
}

impl FromStr for PaperDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("a date is written `2024-05-01`, or `--05-01` without a year; got `{text}`");
        let (year, rest) = match text.strip_prefix("--") {
            Some(rest) => (None, rest),
            None => {
                let (year, rest) = text.split_once('-').ok_or_else(wanted)?;
                if year.len() != 4 {
                    return Err(wanted());
                }
                (Some(year.parse().map_err(|_| wanted())?), rest)
            }
        };
        let (month, day) = rest.split_once('-').ok_or_else(wanted)?;
        if month.len() != 2 || day.len() != 2 {
            return Err(wanted());
        }
        let month: u8 = month.parse().map_err(|_| wanted())?;
        let day: u8 = day.parse().map_err(|_| wanted())?;
        if month == 0 || month > 12 || day == 0 || day > days_in(year, month) {
            return Err(format!("`{text}` is not a day of the calendar"));
        }
        Ok(Self { year, month, day })
    }
}

/// Days of a month, 1..=12, of the Gregorian calendar; of the longest such month where no year is known.
#[must_use]
pub fn days_in(year: Option<u16>, month: u8) -> u8 {
    let leap = year.is_none_or(|y| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for PaperDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.year {
            Some(year) => write!(f, "{year:04}-{:02}-{:02}", self.month, self.day),
            None => write!(f, "--{:02}-{:02}", self.month, self.day),
        }
    }
}

impl Serialize for PaperDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PaperDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_both_forms() {
        for text in ["2024-05-01", "--02-29", "2000-02-29"] {
            assert_eq!(text.parse::<PaperDate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_date() {
        for text in
            ["", "2024", "2024-13-01", "2023-02-29", "24-05-01", "2024-5-1", "--05", "1900-02-29", "x-y-z"]
        {
            assert!(text.parse::<PaperDate>().is_err(), "{text}");
        }
    }
}

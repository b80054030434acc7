//! A paper as a collection holds it: what importers read, exporters write and the store keeps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A bibliographic record. Absent facts are absent: nothing is made up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Title, one line of plain text.
    pub title: String,
    /// arXiv number without version (`2212.07677`, `math/0309136`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arxiv: Option<String>,
    /// Digital object identifier without a resolver's address, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doi: Option<String>,
    /// Abstract, plain text.
    #[serde(default, rename = "abstract", skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Authors by name, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// How many authors there are, where only their number is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_count: Option<u32>,
    /// Organisations that stand behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organisations: Vec<String>,
    /// When it appeared, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Journal, conference or series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<String>,
    /// Subject classes and key words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Pages, code, projects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Votes that a listing shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<u32>,
    /// Comments that a listing counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments: Option<u32>,
}

/// An author.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// The name as printed, given name first (`Ada Lovelace`).
    pub name: String,
    /// Where they work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affiliation: Option<String>,
}

/// A link of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What is there.
    pub label: String,
    /// An http(s) address.
    pub url: String,
}

/// A date as far as it is known: `2024`, `2024-05`, `2024-05-01`, or `--05-01` where a listing shows no year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: Option<u16>,
    month: Option<u8>,
    day: Option<u8>,
}

impl Date {
    /// A date of the calendar, or nothing: years 1..=9999, a day needs its month, a month without a year its day.
    #[must_use]
    pub fn new(year: Option<u16>, month: Option<u8>, day: Option<u8>) -> Option<Self> {
        let known = match (year, month, day) {
            (Some(_), None, None) => true,
            (Some(_), Some(month), None) => (1..=12).contains(&month),
            (year, Some(month), Some(day)) => {
                (1..=12).contains(&month) && day >= 1 && day <= ream_paper::days_in(year, month)
            }
            _ => false,
        };
        (known && year.is_none_or(|y| (1..=9999).contains(&y))).then_some(Self { year, month, day })
    }

    /// The year, where it is known.
    #[must_use]
    pub fn year(self) -> Option<u16> {
        self.year
    }

    /// 1..=12, where it is known.
    #[must_use]
    pub fn month(self) -> Option<u8> {
        self.month
    }

    /// 1..=31, where it is known.
    #[must_use]
    pub fn day(self) -> Option<u8> {
        self.day
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.year {
            Some(year) => write!(f, "{year:04}")?,
            None => write!(f, "-")?,
        }
        for part in [self.month, self.day].into_iter().flatten() {
            write!(f, "-{part:02}")?;
        }
        Ok(())
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!("a date is written 2024, 2024-05, 2024-05-01, or --05-01 without a year; got `{text}`")
        };
        let number = |part: &str, digits: usize| -> Result<u16, String> {
            if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wanted());
            }
            part.parse().map_err(|_| wanted())
        };
        let (year, rest) = match text.strip_prefix("--") {
            Some(rest) => (None, Some(rest)),
            None => match text.split_once('-') {
                Some((year, rest)) => (Some(number(year, 4)?), Some(rest)),
                None => (Some(number(text, 4)?), None),
            },
        };
        let two = |part: &str| number(part, 2).and_then(|n| u8::try_from(n).map_err(|_| wanted()));
        let (month, day) = match rest.map(|rest| rest.split_once('-').ok_or(rest)) {
            None => (None, None),
            Some(Ok((month, day))) => (Some(two(month)?), Some(two(day)?)),
            Some(Err(month)) => (Some(two(month)?), None),
        };
        Self::new(year, month, day).ok_or_else(wanted)
    }
}

impl From<ream_paper::PaperDate> for Date {
    fn from(date: ream_paper::PaperDate) -> Self {
        Self { year: date.year, month: Some(date.month), day: Some(date.day) }
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_every_form() {
        for text in ["2024", "2024-05", "2024-05-01", "--02-29", "2000-02-29", "0987-01-01"] {
            assert_eq!(text.parse::<Date>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_date() {
        for text in
            ["", "-", "--", "--05", "24", "2024-5", "2024-13", "2023-02-29", "0000", "2024-05-01-02", "+024"]
        {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }
}

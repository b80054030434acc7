//! German Credit: 1,000 credit records of 20 attributes (Hofmann 1994, UCI). Space-separated, without a header.

use std::path::Path;

use crate::error::DataError;

/// Names of the attributes in the file's order.
pub const ATTRIBUTES: [&str; 20] = [
    "checking",
    "duration",
    "history",
    "purpose",
    "amount",
    "savings",
    "employment",
    "instalment_rate",
    "personal",
    "debtors",
    "residence",
    "property",
    "age",
    "plans",
    "housing",
    "credits",
    "job",
    "dependants",
    "telephone",
    "foreign",
];

/// Which attributes are numbers.
pub const NUMERIC: [&str; 7] =
    ["duration", "amount", "instalment_rate", "residence", "age", "credits", "dependants"];

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The attributes' words in the file's order, for instance `A11` or `6`.
    pub attributes: Vec<String>,
    /// Whether the credit was good.
    pub good: bool,
    /// Age in years.
    pub age: f64,
}

impl Record {
    /// The word of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let index = ATTRIBUTES.iter().position(|a| *a == name)?;
        self.attributes.get(index).map(String::as_str)
    }
}

/// Reads `german.data`.
///
/// # Errors
/// A line that does not have 20 attributes and a class of 1 or 2.
pub fn load(path: &Path) -> Result<Vec<Record>, DataError> {
    let text = std::fs::read_to_string(path).map_err(DataError::io("read", path))?;
    let mut records = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = i as u64 + 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [attributes @ .., class] = words.as_slice() else { continue };
        if attributes.len() != ATTRIBUTES.len() {
            return Err(DataError::line(path, number, format!("{} attributes, wanted 20", attributes.len())));
        }
        let good = match *class {
            "1" => true,
            "2" => false,
            other => {
                return Err(DataError::line(path, number, format!("the class is 1 or 2, got `{other}`")));
            }
        };
        for (name, word) in ATTRIBUTES.iter().zip(attributes).filter(|(name, _)| NUMERIC.contains(name)) {
            if word.parse::<f64>().is_err() {
                return Err(DataError::line(path, number, format!("`{name}` is a number, got `{word}`")));
            }
        }
        let age = attributes[12].parse().unwrap_or(f64::NAN);
        records.push(Record { attributes: attributes.iter().map(|w| (*w).to_owned()).collect(), good, age });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1";

    #[test]
    fn a_line_is_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("german.data");
        std::fs::write(&path, format!("{LINE}\n{}\n", LINE.replace(" A201 1", " A201 2"))).unwrap();
        let records = load(&path).unwrap();
        assert_eq!((records.len(), records[0].good, records[1].good, records[0].age), (2, true, false, 67.0));
        assert_eq!(records[0].attribute("amount"), Some("1169"));
        std::fs::write(&path, LINE.replace("1169", "many")).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains(":1: `amount` is a number, got `many`"));
        std::fs::write(&path, "A11 6 1").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("2 attributes, wanted 20"));
    }
}

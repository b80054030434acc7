//! Handwritten digits of 8 x 8 pixels: 1,797 records (Alpaydin & Kaynak 1998, UCI). Comma-separated, without a header, the digit last.

use std::io::Read;
use std::path::Path;

use crate::decompress;
use crate::error::DataError;

/// Pixels of a digit.
pub const PIXELS: usize = 64;

/// One digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Grey levels from 0 to 16, row by row.
    pub pixels: [u8; PIXELS],
    /// 0 to 9.
    pub digit: u8,
}

/// Reads `digits.csv.gz`.
///
/// # Errors
/// A line that does not have 64 whole numbers from 0 to 16 and a digit.
pub fn load(path: &Path) -> Result<Vec<Record>, DataError> {
    let mut text = String::new();
    decompress::open(path)?.read_to_string(&mut text).map_err(DataError::io("read", path))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(i, line)| record(path, i as u64 + 1, line)).collect()
}

fn record(path: &Path, number: u64, line: &str) -> Result<Record, DataError> {
    let mut values = Vec::with_capacity(PIXELS + 1);
    for word in line.split(',').map(str::trim) {
        // The file is written with exponents: 5.000000000000000000e+00.
        match word.parse::<f64>() {
            Ok(value) if (0.0..=16.0).contains(&value) && value == value.trunc() => values.push(value as u8),
            _ => {
                let problem = format!("a whole number from 0 to 16 is wanted, got `{word}`");
                return Err(DataError::line(path, number, problem));
            }
        }
    }
    let wrong =
        |got: &str| DataError::line(path, number, format!("64 pixels and a digit are wanted, got {got}"));
    let [pixels @ .., digit] = values.as_slice() else { return Err(wrong("nothing")) };
    let pixels: [u8; PIXELS] = pixels.try_into().map_err(|_| wrong(&format!("{} numbers", values.len())))?;
    if *digit > 9 {
        return Err(wrong(&format!("{digit} for the digit")));
    }
    Ok(Record { pixels, digit: *digit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_digit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digits.csv");
        let good = format!("{}7.000e+00", "1.600e+01,".repeat(64));
        std::fs::write(&path, format!("{good}\n")).unwrap();
        let records = load(&path).unwrap();
        assert_eq!((records.len(), records[0].digit, records[0].pixels[63]), (1, 7, 16));
        for (text, wanted) in [
            (good.replacen("1.6", "1.65", 1), ":1: a whole number from 0 to 16"),
            ("1,2,3".to_owned(), "got 3 numbers"),
            (good.replace("7.000e+00", "12"), "12 for the digit"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}

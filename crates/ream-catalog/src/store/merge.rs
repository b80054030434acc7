//! How a new record of a known paper changes what is known.
//!
//! Facts that are there stay; new ones fill gaps; lists grow by what they lack; a date becomes more exact but never
//! another one. Merging a whole sequence of records a second time changes nothing.

use std::collections::BTreeSet;

use crate::record::{Author, Date, Record};
use crate::store::identity::name_handle;

/// What happens to the counts of votes and comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// The new ones are newer.
    Replace,
    /// The new ones are older: they only fill gaps.
    Fill,
}

/// Adds what `new` knows to `old`.
pub(super) fn merge(old: &mut Record, new: &Record, counts: Counts) {
    fill(&mut old.arxiv, &new.arxiv);
    fill(&mut old.doi, &new.doi);
    fill(&mut old.summary, &new.summary);
    fill(&mut old.venue, &new.venue);
    merge_authors(old, new);
    old.date = refined(old.date, new.date);
    extend(&mut old.organisations, &new.organisations, |name| name_handle(name));
    extend(&mut old.topics, &new.topics, |name| name_handle(name));
    extend(&mut old.links, &new.links, |link| link.url.clone());
    match counts {
        Counts::Replace => {
            old.votes = new.votes.or(old.votes);
            old.comments = new.comments.or(old.comments);
        }
        Counts::Fill => {
            fill(&mut old.votes, &new.votes);
            fill(&mut old.comments, &new.comments);
        }
    }
}

fn fill<T: Clone>(old: &mut Option<T>, new: &Option<T>) {
    if old.is_none() {
        old.clone_from(new);
    }
}

fn merge_authors(old: &mut Record, new: &Record) {
    if old.authors.is_empty() {
        fill(&mut old.author_count, &new.author_count);
        old.authors.clone_from(&new.authors);
    } else if same_people(&old.authors, &new.authors) {
        for (known, author) in old.authors.iter_mut().zip(&new.authors) {
            fill(&mut known.affiliation, &author.affiliation);
        }
    }
}

fn same_people(old: &[Author], new: &[Author]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(a, b)| name_handle(&a.name) == name_handle(&b.name))
}

/// The new date where it says the same more exactly.
fn refined(old: Option<Date>, new: Option<Date>) -> Option<Date> {
    let (Some(known), Some(date)) = (old, new) else { return old.or(new) };
    let says = |known: Option<u16>, date: Option<u16>| known.is_none() || known == date;
    let part = |part: Option<u8>| part.map(u16::from);
    let agrees = says(known.year(), date.year())
        && says(part(known.month()), part(date.month()))
        && says(part(known.day()), part(date.day()));
    if agrees { new } else { old }
}

fn extend<T: Clone, K: Ord>(old: &mut Vec<T>, new: &[T], key: impl Fn(&T) -> K) {
    let mut known: BTreeSet<K> = old.iter().map(&key).collect();
    for item in new {
        if known.insert(key(item)) {
            old.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(text: &str) -> Option<Date> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_date_becomes_more_exact_but_not_another() {
        for (old, new, want) in [
            ("2024", "2024-05", "2024-05"),
            ("2024-05", "2024", "2024-05"),
            ("2024-05", "2024-05-01", "2024-05-01"),
            ("--05-01", "2024-05-01", "2024-05-01"),
            ("--05-01", "2024-05", "--05-01"),
            ("2024-05-01", "2023-05-01", "2024-05-01"),
        ] {
            assert_eq!(refined(dated(old), dated(new)), dated(want), "{old} {new}");
        }
        assert_eq!(refined(None, dated("2024")), dated("2024"));
        assert_eq!(refined(dated("2024"), None), dated("2024"));
    }

    #[test]
    fn gaps_are_filled_lists_grow_counts_are_replaced() {
        let mut old = Record {
            title: "Kept".into(),
            authors: vec![Author { name: "Ada Lovelace".into(), affiliation: None }],
            organisations: vec!["Royal Society".into()],
            votes: Some(5),
            ..Record::default()
        };
        let new = Record {
            title: "kept!".into(),
            summary: Some("Filled".into()),
            authors: vec![Author { name: "ADA LOVELACE".into(), affiliation: Some("London".into()) }],
            organisations: vec!["royal society".into(), "Analytical".into()],
            votes: Some(3),
            comments: Some(1),
            ..Record::default()
        };
        let mut filled = old.clone();
        merge(&mut old, &new, Counts::Replace);
        assert_eq!((old.title.as_str(), old.votes, old.comments), ("Kept", Some(3), Some(1)));
        assert_eq!(old.summary.as_deref(), Some("Filled"));
        assert_eq!(old.authors[0].name, "Ada Lovelace");
        assert_eq!(old.authors[0].affiliation.as_deref(), Some("London"));
        assert_eq!(old.organisations, ["Royal Society", "Analytical"]);
        merge(&mut filled, &new, Counts::Fill);
        assert_eq!((filled.votes, filled.comments), (Some(5), Some(1)));
        let once = old.clone();
        merge(&mut old, &new, Counts::Replace);
        assert_eq!(old, once);
    }
}

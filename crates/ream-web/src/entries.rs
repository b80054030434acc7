//! Atom and JSON Feed of lists that hold something else than papers: claims, names, runs.
//!
//! Papers are written by `ream_catalog::export`, whose feeds can be read back as papers; these are for feed readers only.

use askama::Template;
use axum::response::Response;
use serde_json::json;

use crate::error::Result;
use crate::feeds::{Alternate, answer};
use crate::shell::Shell;

/// A kind of feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Atom,
    Json,
}

impl Form {
    pub(crate) const ALL: [Self; 2] = [Self::Atom, Self::Json];

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Atom => "atom",
            Self::Json => "json",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Atom => "Atom",
            Self::Json => "JSON Feed",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Atom => "application/atom+xml; charset=utf-8",
            Self::Json => "application/feed+json",
        }
    }
}

/// The feeds of a list, with the addresses that it gives them by their extensions.
pub(crate) fn alternates(address: impl Fn(&str) -> String) -> Vec<Alternate> {
    Form::ALL.map(|form| Alternate::new(form.name(), form.media_type(), address(form.extension()))).into()
}

/// An entry of a feed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Stays the same whatever this site is called: `urn:ream:claim:icl-gd:c1`.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) text: String,
    /// Its page, a path of this site until the feed is written.
    pub(crate) page: String,
    /// When it last changed, seconds since 1970.
    pub(crate) seconds: i64,
    pub(crate) tags: Vec<String>,
}

impl Entry {
    fn updated(&self) -> String {
        instant(self.seconds)
    }
}

/// A feed. Its entries are in the order in which they are shown.
pub(crate) struct Feed {
    title: String,
    home: String,
    address: String,
    seconds: i64,
    entries: Vec<Entry>,
}

#[derive(Template)]
#[template(path = "entries.xml")]
struct Atom<'a> {
    feed: &'a Feed,
}

impl Feed {
    /// A feed of the list at `home`, itself at `address`; both are paths with their queries.
    pub(crate) fn new(
        shell: &Shell,
        title: &str,
        home: &str,
        address: &str,
        mut entries: Vec<Entry>,
    ) -> Self {
        let whole = |path: &str| format!("{}{path}", shell.origin);
        for entry in &mut entries {
            entry.page = whole(&entry.page);
            for text in [&mut entry.title, &mut entry.text].into_iter().chain(&mut entry.tags) {
                *text = clean(text);
            }
        }
        let seconds = entries.iter().map(|entry| entry.seconds).max().unwrap_or(0);
        Self { title: clean(title), home: whole(home), address: whole(address), seconds, entries }
    }

    fn updated(&self) -> String {
        instant(self.seconds)
    }

    /// The feed in one of its forms.
    pub(crate) fn answer(&self, form: Form) -> Result<Response> {
        let body = match form {
            Form::Atom => Atom { feed: self }.render()?,
            Form::Json => self.json().to_string(),
        };
        Ok(answer(form.media_type(), self.seconds, body))
    }

    fn json(&self) -> serde_json::Value {
        let item = |entry: &Entry| {
            json!({
                "id": entry.id,
                "url": entry.page,
                "title": entry.title,
                "content_text": entry.text,
                "date_modified": entry.updated(),
                "tags": entry.tags,
            })
        };
        json!({
            "version": "https://jsonfeed.org/version/1.1",
            "title": self.title,
            "home_page_url": self.home,
            "feed_url": self.address,
            "items": self.entries.iter().map(item).collect::<Vec<_>>(),
        })
    }
}

fn instant(seconds: i64) -> String {
    ream_lab::time::utc(u64::try_from(seconds).unwrap_or(0))
}

/// A text without what XML cannot hold, whatever stands in a title: the template escapes the rest.
fn clean(text: &str) -> String {
    let fits = |c: char| !matches!(c, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().filter(|c| fits(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atom_feed_is_well_formed_whatever_it_says() {
        let entry = Entry {
            id: "urn:ream:claim:p:c1".into(),
            title: "<b>\u{1}&\"'".into(),
            text: "]]>\u{ffff}".into(),
            page: "/papers/p#c1".into(),
            seconds: 86_400,
            tags: vec!["a<b".into()],
        };
        let shell = Shell { origin: "http://localhost:1".into(), ..Shell::bare() };
        let feed = Feed::new(&shell, "T & U", "/x?a=1&b=2", "/x.atom?a=1&b=2", vec![entry]);
        let atom = Atom { feed: &feed }.render().unwrap();
        for part in [
            "<updated>1970-01-02T00:00:00Z</updated>",
            "<title>&#60;b&#62;&#38;&#34;&#39;</title>",
            "<summary>]]&#62;</summary>",
            "href=\"http://localhost:1/papers/p#c1\"",
            "<id>http://localhost:1/x.atom?a=1&#38;b=2</id>",
        ] {
            assert!(atom.contains(part), "{part}: {atom}");
        }
        assert!(!atom.contains("<b>") && !atom.contains('\u{1}'));
        assert_eq!(feed.json()["items"][0]["title"], "<b>&\"'");
    }
}

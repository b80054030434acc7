//! OSIS markup of one entry: text, and where books and chapters begin.

/// What an entry says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// A book that begins here: OSIS name, and the name shown or nothing.
    pub(super) book: Option<(String, Option<String>)>,
    /// A chapter that begins here: OSIS name of its book, number. Not read in the heading of a book.
    pub(super) chapter: Option<(String, usize)>,
    /// More than one chapter begins here.
    pub(super) many_chapters: bool,
    /// The book ends here; what follows is not read.
    pub(super) ends: bool,
    /// Text without markup.
    pub(super) text: String,
}

/// Reads the markup of an entry. Markup that is cut off (an entry holds at most 65,535 bytes) is dropped.
pub(super) fn read(markup: &str) -> Reading {
    let mut reading = Reading::default();
    let mut text = Text::default();
    let mut dropping: Option<(&str, usize)> = None;
    let mut rest = markup;
    while !rest.is_empty() {
        let (before, tag) = match rest.find('<') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        };
        if dropping.is_none() {
            text.push(before);
        }
        let Some(end) = end_of(tag) else { break };
        rest = &tag[end + 1..];
        let tag = Tag::new(&tag[..end]);
        match (&mut dropping, tag.kind) {
            (Some((name, depth)), Kind::Open) if *name == tag.name => *depth += 1,
            (Some((name, depth)), Kind::Close) if *name == tag.name => {
                *depth -= 1;
                if *depth == 0 {
                    dropping = None;
                    text.gap = true;
                }
            }
            (None, Kind::Open) if tag.name == "note" || tag.name == "title" => dropping = Some((tag.name, 1)),
            (None, _) => reading.take(&tag),
            _ => {}
        }
        if reading.ends {
            break;
        }
    }
    reading.text = text.finish();
    reading
}

impl Reading {
    fn take(&mut self, tag: &Tag<'_>) {
        match tag.name {
            "div" if tag.attribute("type") == Some("book") => match tag.attribute("osisID") {
                Some(id) if tag.attribute("sID").is_some() => self.book = Some((id.to_owned(), None)),
                _ => self.ends |= tag.attribute("eID").is_some(),
            },
            "milestone" if tag.attribute("type") == Some("x-usfm-h") => {
                if let (Some((_, name)), Some(shown)) = (&mut self.book, tag.attribute("n")) {
                    name.get_or_insert_with(|| entities(shown).trim().to_owned());
                }
            }
            "chapter" if tag.attribute("sID").is_some() && self.book.is_none() => {
                let id = tag.attribute("osisID").and_then(|id| id.rsplit_once('.'));
                if let Some((book, number)) = id
                    && let Ok(number) = number.parse()
                {
                    self.many_chapters |= self.chapter.is_some();
                    self.chapter = Some((book.to_owned(), number));
                }
            }
            _ => {}
        }
    }
}

/// Where a tag ends; `>` may stand in a quoted attribute.
fn end_of(tag: &str) -> Option<usize> {
    let mut quoted = false;
    tag.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == b'>' && !quoted
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Empty,
}

struct Tag<'a> {
    name: &'a str,
    attributes: &'a str,
    kind: Kind,
}

impl<'a> Tag<'a> {
    fn new(inside: &'a str) -> Self {
        let (inside, kind) = match (inside.strip_prefix('/'), inside.strip_suffix('/')) {
            (Some(rest), _) => (rest, Kind::Close),
            (None, Some(rest)) => (rest, Kind::Empty),
            (None, None) => (inside, Kind::Open),
        };
        let (name, attributes) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
        Self { name, attributes, kind }
    }

    fn attribute(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        loop {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            if name.trim() == wanted {
                return Some(value);
            }
            rest = after;
        }
    }
}

/// Text with white space collapsed.
#[derive(Default)]
struct Text {
    out: String,
    /// White space is owed before the next character.
    space: bool,
    /// Something was dropped since the last character.
    gap: bool,
}

impl Text {
    fn push(&mut self, piece: &str) {
        for c in entities(piece).chars() {
            if c == '¶' {
                continue;
            }
            if c.is_whitespace() {
                self.space = true;
                continue;
            }
            // A note that stood between two words with no space on either side.
            let forgotten = self.gap
                && (c.is_alphanumeric() || "“‘(".contains(c))
                && !self.out.ends_with(['“', '‘', '(']);
            if (self.space || forgotten) && !self.out.is_empty() {
                self.out.push(' ');
            }
            (self.space, self.gap) = (false, false);
            self.out.push(c);
        }
    }

    fn finish(self) -> String {
        self.out
    }
}

/// The five named entities of XML; others stay as they are.
fn entities(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    // `&amp;` last: what it makes must not be read again.
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (name, sign)| text.replace(name, sign)).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notes_and_titles_go_with_what_they_hold() {
        let text = |markup| read(markup).text;
        assert_eq!(
            text("And <w lemma=\"strong:H0430\">God</w>  <w>said</w>,\n light. "),
            "And God said, light."
        );
        assert_eq!(
            text(
                "<title>A <note>x</note> psalm</title>\u{b6} Let <note n=\"a > b\">no <note>in</note> no</note>be."
            ),
            "Let be."
        );
        assert_eq!(
            text("the Jordan<note>river</note><w>to</w> him<note>x</note>, and"),
            "the Jordan to him, and"
        );
        assert_eq!(text("he <w>tha</w>t <l/>sows<lb/>, <title/>x &amp;lt; y"), "he that sows, x &lt; y");
        assert_eq!(text("cut <note>off"), "cut");
        assert_eq!(text("cut <d"), "cut");
    }

    #[test]
    fn headings_say_what_begins() {
        let book = read(
            "<div canonical=\"true\" osisID=\"Gen\" sID=\"gen2\" type=\"book\"/> <milestone n=\"G\u{e9}nesis\" type=\"x-usfm-h\"/>\
             <title>x</title><chapter osisID=\"Gen.9\" sID=\"Gen.9\"/>",
        );
        assert_eq!((book.book, book.chapter), (Some(("Gen".into(), Some("G\u{e9}nesis".into()))), None));
        assert_eq!(
            read("<chapter n=\"3\" osisID=\"Gen.3\" sID=\"Gen.3\"/> ").chapter,
            Some(("Gen".into(), 3))
        );
        assert_eq!(read("x <chapter eID=\"Gen.3\"/>").chapter, None);
        let end = read("Amen. <div canonical=\"true\" eID=\"gen2\" osisID=\"Rev\" type=\"book\"/> Glossary");
        assert!(end.ends && end.book.is_none());
        assert_eq!(end.text, "Amen.");
    }

    proptest! {
        #[test]
        fn anything_is_read(markup in "[<>/\"&a-c \u{e9};=]{0,60}", parts in prop::collection::vec(
            prop::sample::select(vec!["<note>", "</note>", "<title ", "<div ", "type=\"book\"", " osisID=\"", "<chapter ", "sID=\"a.1\"", "/>", ">", "&amp;", "x"]), 0..20)
        ) {
            for markup in [markup, parts.concat()] {
                let text = read(&markup).text;
                prop_assert!(text.trim() == text && !text.contains("  "));
            }
        }
    }
}

//! XML records by a pull reader: one record in memory, no document type, no entities but the five of XML.

use std::io::{Cursor, Read as _};

use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::json::too_long;
use super::sink::Sink;
use super::source::{Source, unreadable};
use super::{Fault, Stop};

/// An element of a record. Names are local: without the name space's prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    /// Its own text, without that of its children.
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    pub(crate) fn new(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into(), ..Self::default() }
    }

    pub(crate) fn with(mut self, attribute: &str, value: impl Into<String>) -> Self {
        self.attributes.push((attribute.to_owned(), value.into()));
        self
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Text of the first child of this name, unless it is blank.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }
}

pub(crate) fn no_doctype() -> Fault {
    Fault::new("the XML has a document type (DTD), which could define entities", "XML without <!DOCTYPE>")
}

/// What is done with a record.
pub(crate) type OnRecord<'a> = &'a mut dyn FnMut(&Element, &mut Sink<'_>, u64) -> Result<(), Stop>;

/// Hands every element called `name` to `on`. After damage, reading goes on at the next such element.
pub(crate) fn records(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    name: &str,
    on: OnRecord<'_>,
) -> Result<(), Stop> {
    let mut head = String::new();
    while pass(source, sink, name, &head, on)? == Pass::Broken {
        source.allow(usize::MAX);
        if !find_start(source, name)? {
            break;
        }
        head = format!("<{name}");
    }
    Ok(())
}

#[derive(PartialEq)]
enum Pass {
    Done,
    Broken,
}

/// Takes bytes up to and with the next `<name`.
fn find_start(source: &mut Source<'_>, name: &str) -> Result<bool, Stop> {
    loop {
        source.skip_while(|b| b != b'<')?;
        if source.byte()?.is_none() {
            return Ok(false);
        }
        let mut found = true;
        for wanted in name.bytes() {
            // `<` may begin the right element, so it is left for the next round.
            if source.peek()?.first() != Some(&wanted) {
                found = false;
                break;
            }
            source.byte()?;
        }
        if found
            && source.peek()?.first().is_some_and(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
        {
            return Ok(true);
        }
    }
}

/// Reads until the end or damage. `head` is what was taken from the source already.
fn pass(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    name: &str,
    head: &str,
    on: OnRecord<'_>,
) -> Result<Pass, Stop> {
    let limit = sink.limits.record;
    let resumed = !head.is_empty();
    source.allow(limit);
    let mut line = source.line;
    let mut reader = Reader::from_reader(Cursor::new(head.as_bytes()).chain(source));
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_unmatched_ends = resumed;
    let mut open: Vec<Element> = Vec::new();
    let (mut outside, mut any) = (0_usize, resumed);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let now = reader.get_ref().get_ref().1.line;
        let step = match event {
            Ok(event) => take(event, name, &mut open, &mut outside),
            Err(error) => Step::Bad(fault_of(&error, reader.get_mut().get_mut().1, limit)?),
        };
        any |= outside > 0 || !open.is_empty();
        match step {
            Step::Inside => {}
            Step::Begin => line = now,
            Step::Outside => {
                reader.get_mut().get_mut().1.allow(limit);
                line = now;
            }
            Step::Record(element) => {
                on(&element, sink, line)?;
                reader.get_mut().get_mut().1.allow(limit);
            }
            Step::Refused(fault) => return Err(Stop::File(fault, now)),
            Step::Bad(fault) => {
                sink.record(line, Err(fault))?;
                return Ok(Pass::Broken);
            }
            Step::End if !open.is_empty() || (outside > 0 && !resumed) => {
                let fault = Fault::new("the file ends inside an element", "a closing tag for each element");
                return sink.record(line, Err(fault)).map(|()| Pass::Done);
            }
            Step::End if !any => {
                return Err(Stop::File(
                    Fault::new("the file has no element", format!("XML with elements `{name}`")),
                    1,
                ));
            }
            Step::End => return Ok(Pass::Done),
        }
        if open.len() + outside > sink.limits.depth {
            let wanted = format!("at most {}", sink.limits.depth);
            return Err(Stop::File(Fault::new("elements are nested too deeply", wanted), now));
        }
    }
}

enum Step {
    Begin,
    Inside,
    Outside,
    Record(Element),
    Bad(Fault),
    Refused(Fault),
    End,
}

fn take(event: Event<'_>, name: &str, open: &mut Vec<Element>, outside: &mut usize) -> Step {
    match event {
        Event::Start(start) => {
            let element = match element(&start) {
                Ok(element) => element,
                Err(fault) => return Step::Bad(fault),
            };
            if open.is_empty() && element.name != name {
                *outside += 1;
                return Step::Outside;
            }
            open.push(element);
            if open.len() == 1 { Step::Begin } else { Step::Inside }
        }
        Event::End(_) => {
            let Some(element) = open.pop() else {
                *outside = outside.saturating_sub(1);
                return Step::Outside;
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Step::Record(element),
            }
            Step::Inside
        }
        Event::Text(text) => add(open, &text.into_inner()),
        Event::CData(text) => add(open, &text.into_inner()),
        Event::GeneralRef(reference) => match character(&reference) {
            Some(character) => add(open, character.encode_utf8(&mut [0; 4])),
            None => Step::Bad(Fault::new(
                format!("the entity `&{};` is not defined", super::tidy::short(&reference.into_inner())),
                "the character itself, &#N; or one of &amp; &lt; &gt; &quot; &apos;",
            )),
        },
        Event::DocType(_) => Step::Refused(no_doctype()),
        Event::Eof => Step::End,
        Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) if open.is_empty() => {
            Step::Outside
        }
        Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Step::Inside,
    }
}

fn add(open: &mut [Element], text: &str) -> Step {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(text);
            Step::Inside
        }
        None => Step::Outside,
    }
}

fn character(reference: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => return Some(character),
        Ok(None) => {}
        Err(_) => return None,
    }
    match reference.borrow().into_inner().as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn element(start: &BytesStart<'_>) -> Result<Element, Fault> {
    let mut element = Element::new(&local(start.name().as_ref()), "");
    let damaged = |error: &dyn std::fmt::Display| {
        Fault::new(format!("an attribute cannot be read: {error}"), "name=\"value\"")
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| damaged(&error))?;
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|error| damaged(&error))?;
        element.attributes.push((local(attribute.key.as_ref()), value.into_owned()));
    }
    Ok(element)
}

/// What the reader's error means; a file that cannot be read on stops the import.
fn fault_of(error: &Error, source: &mut Source<'_>, limit: usize) -> Result<Fault, Stop> {
    match error {
        Error::Io(_) if source.exhausted() => Ok(too_long(limit)),
        Error::Io(error) => Err(unreadable(error, source.line)),
        Error::Syntax(SyntaxError::InvalidBangMarkup) => {
            Ok(Fault::new("markup `<!` of an unknown kind", "a comment or CDATA"))
        }
        error => Ok(Fault::new(format!("the XML is damaged: {error}"), "well-formed XML in UTF-8")),
    }
}

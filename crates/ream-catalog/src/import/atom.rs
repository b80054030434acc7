//! Atom as the arXiv query API sends it (info.arxiv.org/help/api), and as our own feeds are written.

use serde_json::Value;

use super::json::not_json;
use super::sink::{Read, Sink};
use super::source::Source;
use super::xml::{Element, records};
use super::{Fault, Stop};
use crate::record::{Author, Link, Record};
use crate::text::{arxiv_id, doi, is_address, plain, plain_line};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    records(source, sink, "entry", &mut |entry, sink, line| sink.record(line, record_of(entry)))
}

pub(crate) fn record_of(entry: &Element) -> Result<Read, Fault> {
    let id = entry.text_of("id").unwrap_or("");
    if id.contains("arxiv.org/api/errors") {
        let said = entry.text_of("summary").unwrap_or("no reason given");
        return Err(Fault::new(
            format!("arXiv answered with an error: {}", super::tidy::short(said)),
            "a feed of papers",
        ));
    }
    let added = match entry
        .text_of("facts")
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| not_json(&error))?
    {
        Some(Value::Object(added)) => Some(added),
        _ => None,
    };
    let arxiv = arxiv_id(id);
    if arxiv.is_none() && added.is_none() {
        let what = format!("its id `{}` is no address of arXiv", super::tidy::short(id));
        return Err(Fault::new(what, "<id>http://arxiv.org/abs/NUMBER</id>, or an entry that ream wrote"));
    }
    // arXiv's own links all follow from the number.
    let links = entry.all("link").filter(|link| link.attribute("rel") == Some("related"));
    let links =
        links.filter_map(|link| Some((link.attribute("title").unwrap_or("link"), link.attribute("href")?)));
    let links = links.filter(|(label, url)| !matches!(*label, "pdf" | "doi") && is_address(url));
    let topics = entry.all("category").filter_map(|category| category.attribute("term"));
    let record = Record {
        title: plain_line(entry.text_of("title").unwrap_or("")),
        arxiv,
        doi: entry.text_of("doi").and_then(doi),
        summary: entry.text_of("summary").map(plain),
        authors: entry.all("author").map(author).collect(),
        date: entry.text_of("published").and_then(|date| date.get(..10)?.parse().ok()),
        venue: entry.text_of("journal_ref").map(plain_line),
        topics: topics.map(plain_line).collect(),
        links: links.map(|(label, url)| Link { label: plain_line(label), url: url.to_owned() }).collect(),
        ..Record::default()
    };
    Ok((record, added))
}

fn author(author: &Element) -> Author {
    Author {
        name: plain_line(author.text_of("name").unwrap_or("")),
        affiliation: author.text_of("affiliation").map(plain_line),
    }
}

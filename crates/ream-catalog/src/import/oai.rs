//! OAI-PMH records with `arXiv` metadata (info.arxiv.org/help/oa) or Dublin Core (`oai_dc`).

use super::names::NameParts;
use super::sink::{Read, Sink};
use super::source::Source;
use super::xml::{Element, records};
use super::{Fault, Stop};
use crate::record::{Author, Date, Link, Record};
use crate::text::{arxiv_id, doi, is_address, plain, plain_line};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    records(source, sink, "record", &mut |record, sink, line| {
        if record.child("header").and_then(|header| header.attribute("status")) == Some("deleted") {
            sink.deleted();
            return Ok(());
        }
        sink.record(line, record_of(record))
    })
}

fn record_of(record: &Element) -> Result<Read, Fault> {
    let metadata = record.child("metadata").map(|metadata| metadata.children.as_slice()).unwrap_or_default();
    let identifier =
        record.child("header").and_then(|header| header.text_of("identifier")).and_then(arxiv_id);
    let read = metadata.iter().find_map(|metadata| match metadata.name.as_str() {
        "arXiv" => Some(arxiv(metadata)),
        "dc" => Some(dublin_core(metadata)),
        _ => None,
    });
    let mut record = read.ok_or_else(|| {
        let names: Vec<_> = metadata.iter().map(|metadata| metadata.name.as_str()).collect();
        let what = format!("its metadata are `{}`", super::tidy::short(&names.join("`, `")));
        Fault::new(what, "metadata `arXiv` or `oai_dc` (metadataPrefix of the request)")
    })?;
    record.arxiv = record.arxiv.or(identifier);
    Ok((record, None))
}

fn arxiv(metadata: &Element) -> Record {
    let authors = metadata.child("authors").into_iter().flat_map(|authors| authors.all("author"));
    let topics = metadata.text_of("categories").into_iter().flat_map(str::split_whitespace);
    Record {
        title: plain_line(metadata.text_of("title").unwrap_or("")),
        arxiv: metadata.text_of("id").and_then(arxiv_id),
        doi: metadata.text_of("doi").and_then(doi),
        summary: metadata.text_of("abstract").map(plain),
        authors: authors.map(arxiv_author).collect(),
        date: metadata.text_of("created").and_then(|date| date.parse().ok()),
        venue: metadata.text_of("journal-ref").map(plain_line),
        topics: topics.map(plain_line).collect(),
        ..Record::default()
    }
}

fn arxiv_author(author: &Element) -> Author {
    let part = |name| author.text_of(name).map(plain_line).unwrap_or_default();
    let name = NameParts { given: part("forenames"), family: part("keyname"), suffix: part("suffix") };
    let affiliation = author.text_of("affiliation").map(plain_line);
    Author { name: name.printed(), affiliation }
}

fn dublin_core(metadata: &Element) -> Record {
    let all = |name| metadata.all(name).map(|element| element.text.trim()).filter(|text| !text.is_empty());
    let identifiers: Vec<&str> = all("identifier").collect();
    let arxiv = identifiers.iter().find_map(|text| arxiv_id(text));
    let links =
        identifiers.iter().filter(|url| is_address(url) && arxiv_id(url).is_none() && doi(url).is_none());
    // arXiv gives a date for each version; the first is when it appeared.
    let date = all("date").filter_map(|date| date.get(..10).unwrap_or(date).parse::<Date>().ok()).min();
    Record {
        title: plain_line(metadata.text_of("title").unwrap_or("")),
        doi: identifiers.iter().filter(|text| arxiv_id(text).is_none()).find_map(|text| doi(text)),
        // Further descriptions are remarks of the authors.
        summary: all("description").next().map(plain),
        authors: all("creator")
            .map(|name| Author { name: plain_line(&NameParts::inverted(name).printed()), affiliation: None })
            .collect(),
        date,
        topics: all("subject").map(plain_line).collect(),
        links: links.map(|url| Link { label: "link".to_owned(), url: (*url).to_owned() }).collect(),
        arxiv,
        ..Record::default()
    }
}

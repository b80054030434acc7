//! Atom (RFC 4287), with arXiv's elements where they fit.

use std::io::{self, Write};

use super::{Exported, FeedHead, arxiv_page, remainder, time};
use crate::import::{Element, atom_record};

pub(super) fn begin(out: &mut dyn Write, head: &FeedHead) -> io::Result<()> {
    out.write_all(
        b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\" ",
    )?;
    out.write_all(b"xmlns:arxiv=\"http://arxiv.org/schemas/atom\" xmlns:ream=\"urn:ream:facts\">\n")?;
    let id = head.address.as_deref().or(head.home.as_deref()).unwrap_or("urn:ream:list");
    let mut parts = vec![
        Element::new("id", id),
        Element::new("title", head.title.as_str()),
        Element::new("updated", time::instant(head.updated)),
    ];
    parts.extend(head.address.as_ref().map(|address| link("self", address)));
    parts.extend(head.home.as_ref().map(|home| link("alternate", home)));
    parts.iter().try_for_each(|part| element(out, part, 1))
}

pub(super) fn write(out: &mut dyn Write, exported: &Exported<'_>, head: &FeedHead) -> io::Result<()> {
    let mut entry = entry(exported, head);
    // Always there: it says that the entry is one of ours.
    entry.children.push(Element::new("facts", "{}"));
    let added = remainder(exported.record, atom_record(&entry));
    entry.children.pop();
    entry.children.push(Element::new("facts", serde_json::Value::Object(added).to_string()));
    element(out, &entry, 1)
}

fn link(rel: &str, href: &str) -> Element {
    Element::new("link", "").with("rel", rel).with("href", href)
}

fn entry(exported: &Exported<'_>, head: &FeedHead) -> Element {
    let record = exported.record;
    let page = exported.page.map(str::to_owned).or_else(|| arxiv_page(record));
    let id = arxiv_page(record)
        .or_else(|| page.clone())
        .unwrap_or_else(|| format!("urn:ream:{}", exported.handle));
    let published = record.date.and_then(time::midnight);
    let updated = exported.added.map(time::instant).or_else(|| published.clone());
    let mut entry = Element::new("entry", "");
    let parts = &mut entry.children;
    parts.push(Element::new("id", id));
    parts.push(Element::new("title", record.title.as_str()));
    parts.push(Element::new("updated", updated.unwrap_or_else(|| time::instant(head.updated))));
    parts.extend(published.map(|published| Element::new("published", published)));
    parts.extend(page.map(|page| link("alternate", &page)));
    parts.extend(record.links.iter().map(|to| link("related", &to.url).with("title", to.label.as_str())));
    for author in &record.authors {
        let mut element = Element::new("author", "");
        element.children.push(Element::new("name", author.name.as_str()));
        element.children.extend(author.affiliation.as_deref().map(|text| Element::new("affiliation", text)));
        parts.push(element);
    }
    // An entry must have an author somewhere.
    if record.authors.is_empty() {
        let mut element = Element::new("author", "");
        element
            .children
            .push(Element::new("name", record.organisations.first().map_or("unknown", String::as_str)));
        parts.push(element);
    }
    parts.extend(record.topics.iter().map(|topic| Element::new("category", "").with("term", topic.as_str())));
    parts.extend(record.doi.as_deref().map(|doi| Element::new("doi", doi)));
    parts.extend(record.venue.as_deref().map(|venue| Element::new("journal_ref", venue)));
    parts.extend(record.summary.as_deref().map(|summary| Element::new("summary", summary)));
    entry
}

/// Writes an element; the names of the elements that are not Atom's get their prefix here.
fn element(out: &mut dyn Write, element: &Element, depth: usize) -> io::Result<()> {
    let prefix = match element.name.as_str() {
        "affiliation" | "doi" | "journal_ref" => "arxiv:",
        "facts" => "ream:",
        _ => "",
    };
    let name = &element.name;
    write!(out, "{:1$}<{prefix}{name}", "", 2 * depth)?;
    for (attribute, value) in &element.attributes {
        write!(out, " {attribute}=\"{}\"", escaped(value))?;
    }
    if element.text.is_empty() && element.children.is_empty() {
        return out.write_all(b"/>\n");
    }
    write!(out, ">{}", escaped(&element.text))?;
    if !element.children.is_empty() {
        out.write_all(b"\n")?;
        element.children.iter().try_for_each(|child| self::element(out, child, depth + 1))?;
        write!(out, "{:1$}", "", 2 * depth)?;
    }
    writeln!(out, "</{prefix}{name}>")
}

/// Text for elements and attributes. What XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(c),
            // A reader would make a line end of it.
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

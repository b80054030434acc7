//! What every record must be before anyone sees it: clean text within bounds, identifiers in their canonical form.

use super::{Fault, Limits};
use crate::record::{Link, Record};
use crate::text::{arxiv_id, doi, is_address, one_line, paragraphs};

/// Cleans a record and refuses what cannot be made right.
pub(crate) fn tidy(mut record: Record, limits: &Limits) -> Result<Record, Fault> {
    clean(&mut record);
    if record.title.is_empty() {
        return Err(Fault::new("it has no title", "a title"));
    }
    if let Some(number) = &record.arxiv {
        let known = arxiv_id(number).ok_or_else(|| {
            Fault::new(
                format!("`{}` is no arXiv number", short(number)),
                "a number such as 2212.07677 or math/0309136",
            )
        })?;
        record.arxiv = Some(known);
    }
    if let Some(name) = &record.doi {
        let known = doi(name)
            .ok_or_else(|| Fault::new(format!("`{}` is no DOI", short(name)), "a DOI such as 10.1000/182"))?;
        record.doi = Some(known);
    }
    if let Some(link) = record.links.iter().find(|link| !is_address(&link.url)) {
        return Err(Fault::new(
            format!("`{}` is no address", short(&link.url)),
            "a link that begins with http:// or https://",
        ));
    }
    bounded(&record, limits)?;
    Ok(record)
}

/// Cleans text without judging it: lines, paragraphs, control characters, empty facts.
pub(crate) fn clean(record: &mut Record) {
    record.title = one_line(&record.title);
    record.summary = record.summary.take().map(|text| paragraphs(&text)).filter(|text| !text.is_empty());
    for fact in [&mut record.arxiv, &mut record.doi, &mut record.venue] {
        *fact = fact.take().map(|text| one_line(&text)).filter(|text| !text.is_empty());
    }
    for author in &mut record.authors {
        author.name = one_line(&author.name);
        author.affiliation =
            author.affiliation.take().map(|text| one_line(&text)).filter(|text| !text.is_empty());
    }
    record.authors.retain(|author| !author.name.is_empty());
    record.author_count = record.author_count.filter(|&count| count > 0);
    for list in [&mut record.organisations, &mut record.topics] {
        for text in list.iter_mut() {
            *text = one_line(text);
        }
        list.retain(|text| !text.is_empty());
    }
    for Link { label, url } in &mut record.links {
        *label = one_line(label);
        if label.is_empty() {
            "link".clone_into(label);
        }
        *url = one_line(url);
    }
}

fn bounded(record: &Record, limits: &Limits) -> Result<(), Fault> {
    let long = |what: &str, text: &str, most: usize| {
        if text.len() <= most || text.chars().count() <= most {
            return Ok(());
        }
        let wanted = format!("at most {most} characters");
        Err(Fault::new(
            format!("the {what} `{}` has {} characters", short(text), text.chars().count()),
            wanted,
        ))
    };
    long("title", &record.title, limits.line)?;
    long("abstract", record.summary.as_deref().unwrap_or(""), limits.summary)?;
    let lines = record
        .authors
        .iter()
        .flat_map(|author| {
            [("author", author.name.as_str()), ("affiliation", author.affiliation.as_deref().unwrap_or(""))]
        })
        .chain(record.organisations.iter().map(|text| ("organisation", text.as_str())))
        .chain(record.topics.iter().map(|text| ("topic", text.as_str())))
        .chain(
            record
                .links
                .iter()
                .flat_map(|link| [("link", link.label.as_str()), ("address", link.url.as_str())]),
        )
        .chain(record.venue.iter().map(|text| ("venue", text.as_str())));
    for (what, text) in lines {
        long(what, text, limits.line)?;
    }
    let lists = [
        ("authors", record.authors.len()),
        ("organisations", record.organisations.len()),
        ("topics", record.topics.len()),
        ("links", record.links.len()),
    ];
    match lists.into_iter().find(|(_, length)| *length > limits.list) {
        Some((what, length)) => {
            Err(Fault::new(format!("it has {length} {what}"), format!("at most {}", limits.list)))
        }
        None => Ok(()),
    }
}

/// The beginning of a text, for messages.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 60;
    let mut cut: String = text.chars().filter(|c| !c.is_control()).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        cut.push('…');
    }
    cut
}

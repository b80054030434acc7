//! Hugging Face daily papers, as `https://huggingface.co/api/daily_papers` sends them: an array of
//! `{paper: {id, title, summary, authors: [{name}], publishedAt, upvotes, githubRepo, projectPage, organization}, title,
//! summary, publishedAt, numComments, organization: {name, fullname}}`. Fields that machines made (`ai_summary`,
//! `ai_keywords`) are no facts of a paper and stay out.

use serde_json::{Map, Value};

use super::sink::{Read, Sink};
use super::source::Source;
use super::{Fault, Stop};
use crate::record::{Author, Link, Record};
use crate::text::{arxiv_id, is_address, plain, plain_line};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    super::json::elements(source, sink, "papers", false, &record_of)
}

fn record_of(mut item: Map<String, Value>) -> Result<Read, Fault> {
    let Some(Value::Object(paper)) = item.remove("paper") else {
        return Err(Fault::new("it has no object `paper`", "`paper` with id, title, summary, authors"));
    };
    // What the paper does not say itself, the listing says.
    let fact = |key: &str| paper.get(key).or_else(|| item.get(key));
    let text = |key: &str| fact(key).and_then(Value::as_str);
    let count = |key: &str| fact(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let authors = paper.get("authors").and_then(Value::as_array).into_iter().flatten();
    let authors = authors.filter_map(|author| author.get("name").and_then(Value::as_str));
    let links = [("code", "githubRepo"), ("project", "projectPage")];
    let links = links.into_iter().filter_map(|(label, key)| Some((label, text(key)?.trim())));
    let organisation = fact("organization").and_then(|organisation| {
        ["fullname", "name"].iter().find_map(|key| organisation.get(key).and_then(Value::as_str))
    });
    let record = Record {
        title: plain_line(text("title").unwrap_or("")),
        arxiv: text("id").and_then(arxiv_id),
        summary: text("summary").map(plain),
        authors: authors.map(|name| Author { name: plain_line(name), affiliation: None }).collect(),
        organisations: organisation.map(plain_line).into_iter().collect(),
        date: text("publishedAt").and_then(|date| date.get(..10)?.parse().ok()),
        links: links
            .filter(|(_, url)| is_address(url))
            .map(|(label, url)| Link { label: label.to_owned(), url: url.to_owned() })
            .collect(),
        votes: count("upvotes"),
        comments: count("numComments"),
        ..Record::default()
    };
    Ok((record, None))
}

//! Which format a file is in, from its beginning.

use super::{Fault, Format};

/// How much of a file is looked at.
pub(crate) const HEAD: usize = 64 << 10;

/// Fields of our own records; a JSON line that has others is not ours.
const OWN_FIELDS: [&str; 13] = [
    "title",
    "arxiv",
    "doi",
    "abstract",
    "authors",
    "author_count",
    "organisations",
    "date",
    "venue",
    "topics",
    "links",
    "votes",
    "comments",
];

pub(crate) fn detect(head: &[u8]) -> Result<Format, Fault> {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(Fault::new("the file is in UTF-16", "the same file saved as UTF-8"));
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = &String::from_utf8_lossy(&head[..head.len().min(HEAD)]);
    let start = text.trim_start();
    let found = match start.bytes().next() {
        None => return Err(unknown("the file is empty")),
        Some(b'<') => xml(start)?.into_iter().collect(),
        Some(b'[') => array(start),
        Some(b'{') => object(start),
        _ => lines(start),
    };
    match found.as_slice() {
        [format] => Ok(*format),
        [] => Err(unknown("its beginning fits no known format")),
        several => {
            let names: Vec<_> = several.iter().map(|format| format.name()).collect();
            Err(unknown(&format!("its beginning fits more than one format ({})", names.join(", "))))
        }
    }
}

fn unknown(what: &str) -> Fault {
    Fault::new(what, format!("one of {}; name it with `--format NAME`", Format::names()))
}

/// By the first element.
fn xml(text: &str) -> Result<Option<Format>, Fault> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype")) && !is_html(&rest[9..])
        {
            return Err(super::xml::no_doctype());
        }
        let skipped = if rest.starts_with("<!--") { "-->" } else { ">" };
        if !rest.starts_with("<!") && !rest.starts_with("<?") {
            break;
        }
        let Some(end) = rest.find(skipped) else { return Ok(None) };
        rest = &rest[end + skipped.len()..];
    }
    let name = rest.strip_prefix('<').unwrap_or("");
    let name = name.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next().unwrap_or("");
    Ok(match name.rsplit(':').next().unwrap_or("") {
        "feed" | "entry" => Some(Format::ArxivAtom),
        "OAI-PMH" | "ListRecords" | "record" => Some(Format::OaiPmh),
        _ => None,
    })
}

fn is_html(doctype: &str) -> bool {
    doctype.trim_start().get(..4).is_some_and(|name| name.eq_ignore_ascii_case("html"))
}

/// By the fields of the first element.
fn array(text: &str) -> Vec<Format> {
    let inside = text[1..].trim_start();
    if !inside.starts_with('{') {
        return Vec::new();
    }
    let keys = keys(inside);
    let mut found = Vec::new();
    if keys.iter().any(|key| key == "paper") {
        found.push(Format::DailyJson);
    }
    if is_csl(&keys) {
        found.push(Format::CslJson);
    }
    found
}

/// By the fields of the object: one line of many, a feed, or one item.
fn object(text: &str) -> Vec<Format> {
    let keys = keys(text);
    let has = |key: &str| keys.iter().any(|k| k == key);
    let mut found = Vec::new();
    if has("version") && text.contains("jsonfeed.org/version") {
        found.push(Format::JsonFeed);
    } else if has("items") || is_csl(&keys) {
        found.push(Format::CslJson);
    }
    if has("title") && keys.iter().all(|key| OWN_FIELDS.contains(&key.as_str())) {
        found.push(Format::Jsonl);
    }
    found
}

fn is_csl(keys: &[String]) -> bool {
    let has = |key: &str| keys.iter().any(|k| k == key);
    has("type") && (has("title") || has("id")) || has("container-title") || has("issued")
}

/// Keys of the object at the start of the text, as far as the text goes.
fn keys(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut depth, mut string, mut escaped) = (0_u32, None, false);
    let mut last = None;
    for (at, b) in text.bytes().enumerate() {
        if let Some(start) = string {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => (last, string) = (Some(start..at), None),
                _ => {}
            }
            continue;
        }
        match b {
            b'"' => string = Some(at + 1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => break,
            b'}' | b']' => depth -= 1,
            b':' if depth == 1 => keys.extend(last.take().map(|range| text[range].to_owned())),
            _ => {}
        }
    }
    keys
}

/// By what lines begin with.
fn lines(text: &str) -> Vec<Format> {
    let first = text.lines().next().unwrap_or("");
    if first.starts_with("TY  -") || first.starts_with("TY -") {
        return vec![Format::Ris];
    }
    if first.starts_with('@') && is_bibtex_entry(first) {
        return vec![Format::BibTex];
    }
    if super::csv::is_header(first) {
        return vec![Format::Csv];
    }
    let any = |test: &dyn Fn(&str) -> bool| text.lines().any(test);
    let mut found = Vec::new();
    if any(&is_bibtex_entry) {
        found.push(Format::BibTex);
    }
    if any(&|line| line.starts_with("TY  - ")) {
        found.push(Format::Ris);
    }
    if any(&|line| line.trim() == super::page::DOT) && any(&|line| super::page::is_sign(line.trim())) {
        found.push(Format::DailyPage);
    }
    found
}

fn is_bibtex_entry(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix('@') else { return false };
    let name: &str = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    !name.is_empty() && rest[name.len()..].trim_start().starts_with(['{', '('])
}

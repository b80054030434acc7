//! Entries as the file has them: where they begin and end, their fields, abbreviations put in.

use std::collections::{BTreeMap, HashMap};

use super::{Fault, MONTHS, Source, Stop, long, short};

/// The beginning of an entry: `@article{`.
pub(super) struct Raw {
    /// In lower case.
    pub(super) kind: String,
    /// What closes it.
    close: u8,
    pub(super) line: u64,
}

/// What stands between an entry's braces.
pub(super) struct Body {
    pub(super) text: Result<String, Fault>,
    pub(super) end: Result<(), Fault>,
    /// The entry that began inside this one.
    pub(super) follows: Option<Raw>,
}

pub(super) struct Parsed {
    pub(super) key: String,
    pub(super) fields: BTreeMap<String, String>,
}

/// Longest name of an entry's kind.
const KIND: usize = 40;

/// The next beginning of an entry; everything before it is a remark.
pub(super) fn next_raw(source: &mut Source<'_>) -> Result<Option<Raw>, Stop> {
    loop {
        source.skip_while(|b| b != b'@')?;
        if source.byte()?.is_none() {
            return Ok(None);
        }
        if let Ok(raw) = beginning(source, &mut Vec::new())? {
            return Ok(Some(raw));
        }
    }
}

/// `article{` after `@`. What was taken goes into `taken` if it is something else.
fn beginning(source: &mut Source<'_>, taken: &mut Vec<u8>) -> Result<Result<Raw, ()>, Stop> {
    let line = source.line;
    let mut kind = String::new();
    while let Some(&b) = source.peek()?.first() {
        if b.is_ascii_alphabetic() && kind.len() < KIND {
            kind.push(char::from(b.to_ascii_lowercase()));
        } else if kind.is_empty() || !matches!(b, b' ' | b'\t') {
            break;
        }
        taken.push(b);
        source.byte()?;
    }
    let close = match source.peek()?.first() {
        Some(b'{') if !kind.is_empty() => b'}',
        Some(b'(') if !kind.is_empty() => b')',
        _ => return Ok(Err(())),
    };
    source.byte()?;
    Ok(Ok(Raw { kind, close, line }))
}

/// Takes what stands up to the brace that closes the entry.
pub(super) fn body(source: &mut Source<'_>, raw: &Raw, limit: usize) -> Result<Body, Stop> {
    let mut text = Vec::new();
    let (mut depth, mut quoted, mut fresh) = (0_usize, false, false);
    let mut end = Ok(());
    let mut follows = None;
    loop {
        let Some(b) = source.byte()? else {
            end = Err(unclosed(raw));
            break;
        };
        match b {
            b'@' if fresh => {
                let mut taken = vec![b];
                match beginning(source, &mut taken)? {
                    Ok(next) => {
                        follows = Some(next);
                        end = Err(unclosed(raw));
                        break;
                    }
                    Err(()) => {
                        keep(&mut text, &taken, limit, &mut end);
                        fresh = false;
                        continue;
                    }
                }
            }
            b if b == raw.close && depth == 0 && !quoted => break,
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'"' if depth == 0 && raw.close == b')' => quoted = !quoted,
            _ => {}
        }
        fresh = b == b'\n';
        keep(&mut text, &[b], limit, &mut end);
    }
    let text =
        String::from_utf8(text).map_err(|_| Fault::new("it is not UTF-8", "the same file saved as UTF-8"));
    Ok(Body { text, end, follows })
}

fn keep(text: &mut Vec<u8>, bytes: &[u8], limit: usize, end: &mut Result<(), Fault>) {
    if end.is_ok() && text.len() + bytes.len() <= limit {
        text.extend_from_slice(bytes);
    } else if end.is_ok() {
        *end = Err(long(limit));
        *text = Vec::new();
    }
}

fn unclosed(raw: &Raw) -> Fault {
    let what = format!("the entry `@{}` does not end", raw.kind);
    Fault::new(what, format!("a `{}` for it, and as many `}}` as `{{` in it", char::from(raw.close)))
}

/// Key and fields of an entry.
pub(super) fn entry(
    text: &str,
    abbreviations: &HashMap<String, String>,
    limit: usize,
) -> Result<Parsed, Fault> {
    let (key, rest) = match text.split_once(',') {
        Some((key, rest)) => (key.trim(), rest),
        None => (text.trim(), ""),
    };
    if key.contains(['=', '"', '{', '}']) || key.contains(char::is_whitespace) {
        return Err(Fault::new(format!("`{}` is no key", short(key)), "a key without spaces, then a comma"));
    }
    let fields = fields(rest, abbreviations, limit).map_err(|mut fault| {
        fault.what = format!("in `{}`: {}", short(key), fault.what);
        fault
    })?;
    Ok(Parsed { key: key.to_owned(), fields })
}

/// `name = value, ...`, where a value is `{...}`, `"..."`, a number, an abbreviation, or several of them with `#`.
pub(super) fn fields(
    text: &str,
    abbreviations: &HashMap<String, String>,
    limit: usize,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut fields = BTreeMap::new();
    let mut rest = text.trim_start();
    let mut bytes = 0;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            continue;
        }
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | '{' | '}' | '"' | '#'))
            .unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        let after = rest[length..].trim_start().strip_prefix('=');
        let Some(after) = after.filter(|_| !name.is_empty()) else {
            return Err(Fault::new(
                format!("`{}` is no field", short(rest)),
                "`name = {value}`, and a comma between fields",
            ));
        };
        let (value, after) = value(after, &name, abbreviations, limit)?;
        bytes += value.len();
        if bytes > 2 * limit {
            return Err(long(limit));
        }
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(Fault::new(
                format!("`{}` stands after the field `{name}`", short(rest)),
                "a comma between fields",
            ));
        }
        // The first of two fields of one name counts, as in BibTeX.
        fields.entry(name).or_insert(value);
    }
    Ok(fields)
}

fn value<'a>(
    text: &'a str,
    name: &str,
    abbreviations: &HashMap<String, String>,
    limit: usize,
) -> Result<(String, &'a str), Fault> {
    let mut value = String::new();
    let mut rest = text.trim_start();
    loop {
        let length = match rest.bytes().next() {
            Some(b'{') => {
                let end = braced(rest).ok_or_else(|| open_value(name))?;
                value.push_str(&rest[1..end - 1]);
                end
            }
            Some(b'"') => {
                let end = quoted(rest).ok_or_else(|| open_value(name))?;
                value.push_str(&rest[1..end - 1]);
                end
            }
            _ => {
                let end =
                    rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | '#' | '{' | '}' | '"' | '='));
                let word = &rest[..end.unwrap_or(rest.len())];
                value.push_str(&expanded(word, name, abbreviations)?);
                word.len()
            }
        };
        if value.len() > limit {
            return Err(long(limit));
        }
        rest = rest[length..].trim_start();
        match rest.strip_prefix('#') {
            Some(after) => rest = after.trim_start(),
            None => return Ok((value, rest)),
        }
    }
}

fn open_value(name: &str) -> Fault {
    Fault::new(format!("the field `{name}` does not end"), "as many `}` as `{`, and `\"` at both ends")
}

/// A number, a month, or what an abbreviation stands for.
fn expanded(word: &str, name: &str, abbreviations: &HashMap<String, String>) -> Result<String, Fault> {
    if word.is_empty() {
        return Err(Fault::new(
            format!("the field `{name}` has no value"),
            "`{value}`, `\"value\"`, a number or an abbreviation",
        ));
    }
    let lower = word.to_ascii_lowercase();
    if let Some(meaning) = abbreviations.get(&lower) {
        return Ok(meaning.clone());
    }
    let is_month = name == "month" && MONTHS.iter().any(|month| lower.starts_with(month));
    if is_month || MONTHS.contains(&lower.as_str()) || word.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(word.to_owned());
    }
    let wanted = format!("`{{{}}}`, or @string{{{} = {{...}}}} before it", short(word), short(word));
    Err(Fault::new(
        format!("the abbreviation `{}` of the field `{name}` is not defined", short(word)),
        wanted,
    ))
}

/// The length of `{...}` at the start of the text.
fn braced(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// The length of `"..."` at the start of the text; quotes inside braces are part of it.
fn quoted(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, b) in text.bytes().enumerate().skip(1) {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            b'"' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

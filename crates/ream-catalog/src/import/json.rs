//! Elements of JSON arrays, one after the other.

use serde_json::{Map, Value};

use super::sink::{Read, Sink};
use super::source::Source;
use super::{Fault, Stop};

/// Hands every element of an array to `map`: of the array at the top, of the one under `key` of the object at the top,
/// or the object itself where it has no such key and `single` allows that.
pub(crate) fn elements(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    key: &str,
    single: bool,
    map: &dyn Fn(Map<String, Value>) -> Result<Read, Fault>,
) -> Result<(), Stop> {
    source.skip_while(is_space)?;
    let whole = match source.peek()?.first() {
        Some(b'[') => {
            source.byte()?;
            array(source, sink, map)?;
            true
        }
        Some(b'{') => object(source, sink, key, single, map)?,
        _ => {
            let fault = Fault::new("the file is no JSON array", "`[`, or an object that holds one");
            return Err(Stop::File(fault, source.line));
        }
    };
    source.skip_while(is_space)?;
    let line = source.line;
    if whole && !source.peek()?.is_empty() {
        let fault =
            Fault::new("something stands after the end of the JSON", "one array or object, and nothing else");
        return sink.record(line, Err(fault));
    }
    Ok(())
}

/// The rest of an array whose `[` was taken.
fn array(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    map: &dyn Fn(Map<String, Value>) -> Result<Read, Fault>,
) -> Result<(), Stop> {
    let mut text = Vec::new();
    loop {
        source.skip_while(|b| is_space(b) || b == b',')?;
        let line = source.line;
        match source.peek()?.first() {
            None => {
                let fault = Fault::new("the array does not end", "`]`");
                return sink.record(line, Err(fault));
            }
            Some(b']') => {
                source.byte()?;
                return Ok(());
            }
            Some(_) => {}
        }
        let end = value(source, &mut text, sink.limits.record)?;
        let read = match end {
            End::Whole => serde_json::from_slice(&text)
                .map_err(|error| swallowing(&error, line, source.line))
                .and_then(map),
            End::TooLong => Err(too_long(sink.limits.record)),
            End::Missing => Err(Fault::new(
                "it does not end before the file does, so records after it could not be separated from it",
                "a whole JSON value",
            )),
        };
        sink.record(line, read)?;
    }
}

/// An object that holds the array under `key`, or is the only element itself. Whether it was read to its end: what stands
/// after the array is not.
fn object(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    key: &str,
    single: bool,
    map: &dyn Fn(Map<String, Value>) -> Result<Read, Fault>,
) -> Result<bool, Stop> {
    let start = source.line;
    source.byte()?;
    // What stands before the array is kept, in case that there is none.
    let mut kept = b"{".to_vec();
    let mut text = Vec::new();
    loop {
        source.skip_while(|b| is_space(b) || b == b',')?;
        let line = source.line;
        match source.peek()?.first() {
            None => {
                let fault = Fault::new("the object does not end", "`}`");
                return sink.record(start, Err(fault)).map(|()| false);
            }
            Some(b'}') => break,
            Some(_) => {}
        }
        let name = value(source, &mut text, sink.limits.record)?;
        let name_text = String::from_utf8_lossy(&text).into_owned();
        source.skip_while(is_space)?;
        if name != End::Whole || source.byte()? != Some(b':') {
            return Err(Stop::File(
                Fault::new("the object at the top is damaged", "`\"name\": value` pairs"),
                line,
            ));
        }
        source.skip_while(is_space)?;
        if name_text.trim_matches('"') == key && source.peek()?.first() == Some(&b'[') {
            source.byte()?;
            return array(source, sink, map).map(|()| false);
        }
        let end = value(source, &mut text, sink.limits.record)?;
        if end != End::Whole || kept.len() + text.len() > sink.limits.record {
            return Err(Stop::File(too_long(sink.limits.record), line));
        }
        if kept.len() > 1 {
            kept.push(b',');
        }
        kept.extend_from_slice(name_text.as_bytes());
        kept.push(b':');
        kept.extend_from_slice(&text);
    }
    if !single {
        return Err(Stop::File(
            Fault::new(format!("the object at the top has no array `{key}`"), "the records"),
            start,
        ));
    }
    source.byte()?;
    kept.push(b'}');
    let read = serde_json::from_slice(&kept).map_err(|error| not_json(&error)).and_then(map);
    sink.record(start, read).map(|()| true)
}

pub(crate) fn not_json(error: &serde_json::Error) -> Fault {
    Fault::new(format!("it cannot be read: {error}"), "a JSON object with the format's fields")
}

/// An array has nothing but brackets and quotes to part its elements: where one is damaged, what was taken for it may be several.
fn swallowing(error: &serde_json::Error, first: u64, last: u64) -> Fault {
    let fault = not_json(error);
    if first == last {
        return fault;
    }
    let what = format!("{}; records up to line {last} could not be separated from it", fault.what);
    Fault::new(what, fault.wanted)
}

pub(crate) fn too_long(limit: usize) -> Fault {
    Fault::new("it is too long", format!("at most {limit} bytes"))
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    TooLong,
    Missing,
}

/// Takes one value, by brackets and quotes alone: what is wrong inside is the parser's business, and the next value is
/// found all the same.
fn value(source: &mut Source<'_>, text: &mut Vec<u8>, limit: usize) -> Result<End, Stop> {
    text.clear();
    let (mut depth, mut string, mut escaped) = (0_u64, false, false);
    let mut long = false;
    loop {
        let bytes = source.peek()?;
        if bytes.is_empty() {
            return Ok(if depth > 0 || string { End::Missing } else { kept(long) });
        }
        let mut taken = 0;
        let mut whole = false;
        for &b in bytes {
            if string {
                taken += 1;
                match b {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => {
                        string = false;
                        whole = depth == 0;
                    }
                    _ => {}
                }
            } else {
                match b {
                    b'"' => string = true,
                    b'{' | b'[' => depth += 1,
                    // Belongs to what stands around the value.
                    b'}' | b']' | b',' | b':' if depth == 0 => {
                        whole = true;
                        break;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        whole = depth == 0;
                    }
                    b if depth == 0 && is_space(b) => {
                        whole = true;
                        break;
                    }
                    _ => {}
                }
                taken += 1;
            }
            if whole {
                break;
            }
        }
        long |= text.len() + taken > limit;
        if !long {
            text.extend_from_slice(&bytes[..taken]);
        }
        use std::io::BufRead as _;
        source.consume(taken);
        if whole {
            // A stray sign between values must not stop the reader from moving on.
            if text.is_empty() && !long && taken == 0 {
                source.byte()?;
            }
            return Ok(kept(long));
        }
    }
}

fn kept(long: bool) -> End {
    if long { End::TooLong } else { End::Whole }
}

//! Our own format: a [`Record`](crate::Record) a line, as serde writes it. Its text is plain already.

use super::Stop;
use super::json::{not_json, too_long};
use super::sink::Sink;
use super::source::{Line, Source};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut text = Vec::new();
    loop {
        let line = source.line;
        let Some(kept) = source.next_line(&mut text, sink.limits.record)? else { return Ok(()) };
        if kept == Line::TooLong {
            sink.record(line, Err(too_long(sink.limits.record)))?;
        } else if !text.trim_ascii().is_empty() {
            let record = serde_json::from_slice(&text).map_err(|error| not_json(&error));
            sink.record(line, record.map(|record| (record, None)))?;
        }
    }
}

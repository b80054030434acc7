//! Bytes with line numbers, taken in bounded pieces.

use std::io::{self, BufRead, Read};

use super::{Fault, Stop};

/// A reader that knows its line.
pub(crate) struct Source<'a> {
    inner: &'a mut dyn BufRead,
    /// The line of the next byte, counted from 1.
    pub(crate) line: u64,
    /// Bytes since [`Source::allow`], for readers that cannot be bounded otherwise.
    used: usize,
    allowed: usize,
}

/// A line, or that it was too long to keep.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Whole,
    TooLong,
}

impl<'a> Source<'a> {
    pub(crate) fn new(inner: &'a mut dyn BufRead) -> Self {
        Self { inner, line: 1, used: 0, allowed: usize::MAX }
    }

    /// The next bytes without taking them; empty at the end.
    pub(crate) fn peek(&mut self) -> Result<&[u8], Stop> {
        let line = self.line;
        loop {
            match self.inner.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error, line)),
            }
        }
        // Asked again for the sake of the borrow: a filled buffer is handed out as it is.
        self.inner.fill_buf().map_err(|error| unreadable(&error, line))
    }

    pub(crate) fn byte(&mut self) -> Result<Option<u8>, Stop> {
        let first = self.peek()?.first().copied();
        if first.is_some() {
            self.consume(1);
        }
        Ok(first)
    }

    /// Takes bytes while `belongs` says so.
    pub(crate) fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) -> Result<(), Stop> {
        loop {
            let bytes = self.peek()?;
            let length = bytes.iter().position(|&b| !belongs(b)).unwrap_or(bytes.len());
            let more = length == bytes.len() && length > 0;
            self.consume(length);
            if !more {
                return Ok(());
            }
        }
    }

    /// The next line without its end; nothing at the end of the file. What passes `limit` bytes is dropped.
    pub(crate) fn next_line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<Option<Line>, Stop> {
        line.clear();
        let mut any = false;
        let mut kept = Line::Whole;
        loop {
            let bytes = self.peek()?;
            if bytes.is_empty() {
                return Ok(any.then_some(kept));
            }
            any = true;
            let end = bytes.iter().position(|&b| b == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            if line.len() + piece.len() <= limit {
                line.extend_from_slice(piece);
            } else {
                kept = Line::TooLong;
            }
            let taken = piece.len() + usize::from(end.is_some());
            self.consume(taken);
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(kept));
            }
        }
    }

    /// From here on, [`Read`] and [`BufRead`] give at most `bytes`, then fail.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.used = 0;
        self.allowed = bytes;
    }

    /// Whether the reader failed because it had given all it may.
    pub(crate) fn exhausted(&self) -> bool {
        self.used >= self.allowed
    }
}

pub(crate) fn unreadable(error: &io::Error, line: u64) -> Stop {
    match packed_fault(error) {
        Some(fault) => Stop::File(fault.clone(), line),
        None => {
            Stop::File(Fault::new(format!("the file cannot be read: {error}"), "a file that is whole"), line)
        }
    }
}

/// The fault that a guard inside the reader raised, if it is one of ours.
fn packed_fault(error: &io::Error) -> Option<&Fault> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Raised>()).map(|raised| &raised.0)
}

/// A [`Fault`] on its way through an [`io::Error`].
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) Fault);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; wanted: {}", self.0.what, self.0.wanted)
    }
}

impl std::error::Error for Raised {}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.exhausted() {
            return Err(io::Error::other("a record is too long"));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if length > 0 {
            // Readers consume only what they were just given, so this does not read.
            if let Ok(bytes) = self.inner.fill_buf() {
                self.line += bytes.iter().take(length).filter(|&&b| b == b'\n').count() as u64;
            }
            self.used = self.used.saturating_add(length);
        }
        self.inner.consume(length);
    }
}

//! gzip and zip, opened with a bound on how much comes out.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};

use flate2::bufread::MultiGzDecoder;

use super::detect::{HEAD, detect};
use super::sink::Sink;
use super::source::{Raised, Source};
use super::{Fault, Format, Limits, Stop};

/// Output that a compressed file may have before its ratio counts: small files compress by any ratio.
const FREE: u64 = 1 << 20;

/// Reads the whole of `reader`, opening what is compressed.
pub(crate) fn open(
    reader: &mut dyn BufRead,
    format: Option<Format>,
    sink: &mut Sink<'_>,
) -> Result<(), Stop> {
    let head = head_of(reader)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        let mut given = 0;
        let limits = sink.limits;
        let counted = Counted { inner: Cursor::new(head).chain(reader), bytes: &mut given };
        let guard = Guard::new(MultiGzDecoder::new(BufReader::new(counted)), limits);
        return plain(&mut BufReader::new(guard), format, sink);
    }
    let mut whole = Cursor::new(head).chain(reader);
    if whole.get_ref().0.get_ref().starts_with(b"PK\x03\x04")
        || whole.get_ref().0.get_ref().starts_with(b"PK\x05\x06")
    {
        return zip(&mut whole, format, sink);
    }
    plain(&mut whole, format, sink)
}

/// The first bytes of a reader: as many as [`HEAD`], or all there are.
fn head_of(reader: &mut dyn BufRead) -> Result<Vec<u8>, Stop> {
    let mut head = Vec::new();
    reader.take(HEAD as u64).read_to_end(&mut head).map_err(|error| failed(&error))?;
    Ok(head)
}

fn failed(error: &io::Error) -> Stop {
    let fault = match error.get_ref().and_then(|inner| inner.downcast_ref::<Raised>()) {
        Some(raised) => raised.0.clone(),
        None => Fault::new(format!("the file cannot be read: {error}"), "a file that is whole"),
    };
    Stop::File(fault, 0)
}

/// Reads one file that is not compressed.
fn plain(reader: &mut dyn BufRead, format: Option<Format>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut head = head_of(reader)?;
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(b"PK\x03\x04") {
        return Err(Stop::File(
            Fault::new("a compressed file inside a compressed file", "one that is compressed once"),
            0,
        ));
    }
    let format = match format {
        Some(format) => format,
        None => detect(&head).map_err(|fault| Stop::File(fault, 1))?,
    };
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    sink.summary.files.push((sink.member.clone(), format));
    let mut whole = Cursor::new(head).chain(reader);
    format.read(&mut Source::new(&mut whole), sink)
}

/// Reads every member of a known format. The file goes to a temporary one first: the list of members is at its end.
fn zip(reader: &mut dyn BufRead, format: Option<Format>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let limits = sink.limits;
    let mut file = tempfile::tempfile().map_err(|error| failed(&error))?;
    let copied = io::copy(&mut reader.take(limits.packed + 1), &mut file).map_err(|error| failed(&error))?;
    if copied > limits.packed {
        let wanted = format!("at most {} bytes", limits.packed);
        return Err(Stop::File(Fault::new("the zip file is too long", wanted), 0));
    }
    file.flush().map_err(|error| failed(&error))?;
    few_members(&mut file, copied, limits)?;
    let damaged = |error: zip::result::ZipError| {
        Stop::File(Fault::new(format!("the zip file cannot be read: {error}"), "a zip file that is whole"), 0)
    };
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if archive.len() > limits.members {
        return Err(too_many(archive.len() as u64, limits));
    }
    if archive.has_overlapping_files().map_err(damaged)? {
        return Err(Stop::File(
            Fault::new("members of the zip file share their bytes", "a zip file made by a usual program"),
            0,
        ));
    }
    let mut unpacked = 0;
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(damaged)?;
        if !member.is_file() {
            continue;
        }
        let name =
            member.name().map_err(damaged)?.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        sink.file(Some(name.clone()));
        let mut guard = Guard::new(member, limits);
        guard.allowed = limits.unpacked.saturating_sub(unpacked);
        let mut reader = BufReader::new(guard);
        let known = match format {
            Some(format) => Ok(format),
            None => {
                reader.fill_buf().map_err(|error| failed(&error)).map(|head| detect(head).ok())?.ok_or(())
            }
        };
        match known {
            Ok(format) => plain(&mut reader, Some(format), sink)?,
            Err(()) => sink.summary.skipped.push(name),
        }
        unpacked += reader.get_ref().given;
    }
    sink.file(None);
    if sink.summary.files.is_empty() {
        let what = format!(
            "none of the {} members of the zip file is of a known format",
            sink.summary.skipped.len()
        );
        return Err(Stop::File(Fault::new(what, format!("a member in one of {}", Format::names())), 0));
    }
    Ok(())
}

/// Refuses a list of members that would not fit into memory, before it is read.
fn few_members(file: &mut std::fs::File, length: u64, limits: &Limits) -> Result<(), Stop> {
    /// The end record and the longest comment that may follow it.
    const TAIL: u64 = 22 + 65_535;
    let tail_at = length.saturating_sub(TAIL);
    let mut tail = Vec::new();
    let read = file.seek(SeekFrom::Start(tail_at)).and_then(|_| file.read_to_end(&mut tail));
    read.and_then(|_| file.seek(SeekFrom::Start(0))).map_err(|error| failed(&error))?;
    let short = |at: usize| tail.get(at..at + 2).map(|b| u64::from(b[0]) | u64::from(b[1]) << 8);
    for at in 0..tail.len().saturating_sub(21) {
        if !tail[at..].starts_with(b"PK\x05\x06") {
            continue;
        }
        let members = short(at + 10).unwrap_or(0);
        let directory = short(at + 12).unwrap_or(0) | short(at + 14).unwrap_or(0) << 16;
        if members > limits.members as u64 || directory > 1 << 20 {
            return Err(too_many(members, limits));
        }
    }
    Ok(())
}

fn too_many(members: u64, limits: &Limits) -> Stop {
    let what = format!("the zip file has {members} members or a list of them beyond 1 MiB");
    Stop::File(Fault::new(what, format!("at most {} members", limits.members)), 0)
}

/// Counts what a reader gives.
struct Counted<'a, R> {
    inner: R,
    bytes: &'a mut u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        *self.bytes += length as u64;
        Ok(length)
    }
}

/// A decompressor that says how many bytes went in.
trait Taken {
    fn taken(&self) -> u64;
}

impl<R: Read> Taken for MultiGzDecoder<BufReader<Counted<'_, R>>> {
    fn taken(&self) -> u64 {
        *self.get_ref().get_ref().bytes
    }
}

impl<R: Read + ?Sized> Taken for zip::read::ZipFile<'_, R> {
    fn taken(&self) -> u64 {
        self.compressed_size()
    }
}

/// Stops a decompressor that gives too much.
struct Guard<R> {
    inner: R,
    given: u64,
    allowed: u64,
    ratio: u64,
}

impl<R> Guard<R> {
    fn new(inner: R, limits: &Limits) -> Self {
        Self { inner, given: 0, allowed: limits.unpacked, ratio: limits.ratio }
    }
}

impl<R: Read + Taken> Read for Guard<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.given += length as u64;
        let raise = |what: String, wanted: String| Err(io::Error::other(Raised(Fault::new(what, wanted))));
        if self.given > self.allowed {
            return raise(
                "the compressed file holds too much".to_owned(),
                format!("at most {} bytes", self.allowed),
            );
        }
        let taken = self.inner.taken().max(1);
        if self.given > FREE && self.given / taken > self.ratio {
            let wanted = format!("at most {} bytes for each", self.ratio);
            return raise(
                format!("{} bytes of the compressed file give {} bytes", taken, self.given),
                wanted,
            );
        }
        Ok(length)
    }
}

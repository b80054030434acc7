//! `events.jsonl`: what a worker tells whoever looks, one JSON object a line.
//!
//! A resumed worker does not cut the file: it appends a rewind mark, and readers drop what came after the event that
//! the mark names. A line torn by a crash is skipped.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::Table;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// How far the seed is.
    Progress {
        /// 0..=1.
        fraction: f64,
        /// What is being done.
        what: String,
        /// Seconds since this worker started.
        seconds: f64,
    },
    /// A value along a run, for instance a training loss.
    Metric {
        /// Name of the curve.
        name: String,
        /// Step.
        step: u64,
        /// Value; null where it was not a number.
        value: Option<f64>,
    },
    /// A table for the report.
    Table {
        /// The table.
        table: Table,
    },
    /// A text sample for the report.
    Sample {
        /// Heading.
        title: String,
        /// Text.
        text: String,
    },
    /// Something a reader must know.
    Warn {
        /// In words a researcher understands.
        text: String,
    },
    /// A figure was written.
    Figure {
        /// File name without ending.
        name: String,
    },
    /// A resumed worker starts again after this many events.
    Rewind {
        /// Number of events that stay.
        to: u64,
    },
}

/// Appends events to a file.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: BufWriter<File>,
    count: u64,
}

impl EventLog {
    /// Opens or creates the file; `keep` events stay when it already has some.
    pub(crate) fn open(path: &Path, keep: u64) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        let length = file.seek(SeekFrom::End(0)).map_err(Error::io("read", path))?;
        let mut log = Self { path: path.to_owned(), file: BufWriter::new(file), count: keep };
        if length > 0 {
            if last_byte(path)? != Some(b'\n') {
                log.write(b"\n")?;
            }
            log.append(&Event::Rewind { to: keep })?;
            log.count = keep;
            log.flush()?;
        }
        Ok(log)
    }

    pub(crate) fn append(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|e| Error::failed(format!("event: {e}")))?;
        line.push(b'\n');
        self.write(&line)?;
        self.count += 1;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }

    /// Events so far, rewinds honoured.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

fn last_byte(path: &Path) -> Result<Option<u8>> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    if file.seek(SeekFrom::End(-1)).is_err() {
        return Ok(None);
    }
    let mut byte = [0];
    file.read_exact(&mut byte).map_err(Error::io("read", path))?;
    Ok(Some(byte[0]))
}

/// All events of a file, rewinds honoured; empty when there is no file.
///
/// # Errors
/// The file exists and cannot be read.
pub fn read(path: &Path) -> Result<Vec<Event>> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut events = Vec::new();
    for event in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match event {
            Event::Rewind { to } => events.truncate(usize::try_from(to).unwrap_or(usize::MAX)),
            other => events.push(other),
        }
    }
    Ok(events)
}

/// The last progress written to a file that may still grow: only its end is read.
#[must_use]
pub fn last_progress(path: &Path) -> Option<(f64, String)> {
    const TAIL: u64 = 16 * 1024;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    String::from_utf8_lossy(&bytes).lines().rev().find_map(|line| match serde_json::from_str(line) {
        Ok(Event::Progress { fraction, what, .. }) => Some((fraction, what)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warn(text: &str) -> Event {
        Event::Warn { text: text.to_owned() }
    }

    #[test]
    fn rewinds_and_torn_lines_are_honoured() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut log = EventLog::open(&path, 0).unwrap();
        for text in ["a", "b", "c"] {
            log.append(&warn(text)).unwrap();
        }
        log.flush().unwrap();
        drop(log);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"event\":\"warn\",\"te");
        std::fs::write(&path, torn).unwrap();

        let mut log = EventLog::open(&path, 2).unwrap();
        log.append(&warn("d")).unwrap();
        log.flush().unwrap();
        assert_eq!(log.count(), 3);
        assert_eq!(read(&path).unwrap(), [warn("a"), warn("b"), warn("d")]);
    }

    #[test]
    fn the_last_progress_is_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        assert_eq!(last_progress(&path), None);
        let mut log = EventLog::open(&path, 0).unwrap();
        for i in 0..4000 {
            log.append(&Event::Progress {
                fraction: f64::from(i) / 4000.0,
                what: "train".into(),
                seconds: 0.0,
            })
            .unwrap();
        }
        log.append(&warn("w")).unwrap();
        log.flush().unwrap();
        assert_eq!(last_progress(&path), Some((3999.0 / 4000.0, "train".to_owned())));
    }
}

//! A connection that asks and waits: HTTP/1.1 with keep-alive, no more of it than a load needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::shell::Result;

/// A kept connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
    body: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|e| e.to_string())?;
        Ok(Self { stream: BufReader::new(stream), host: address, body: Vec::new() })
    }

    /// Asks for `count` of the paths in turn, beginning with the `first`; microseconds of each. Stops at `limit`.
    pub(super) fn ask(
        &mut self,
        paths: &[String],
        first: usize,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<u32>> {
        let begun = Instant::now();
        let mut times = Vec::with_capacity(count);
        for path in paths.iter().cycle().skip(first % paths.len().max(1)).take(count) {
            if begun.elapsed() > limit {
                break;
            }
            let asked = Instant::now();
            self.get(path)?;
            times.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok(times)
    }

    /// One request; anything but 200 is an error.
    fn get(&mut self, path: &str) -> Result<()> {
        let failed = |e: std::io::Error| format!("{path}: {e}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\r\n", self.host);
        self.stream.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(failed)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(format!("{path}: {}", line.trim()));
        }
        let mut length = None;
        let mut chunked = false;
        loop {
            line.clear();
            self.stream.read_line(&mut line).map_err(failed)?;
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse::<usize>().ok();
            }
            chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
        }
        match length {
            Some(bytes) => self.read(bytes, path),
            None if chunked => self.read_chunks(path),
            None => Err(format!("{path}: an answer without a length")),
        }
    }

    fn read(&mut self, bytes: usize, path: &str) -> Result<()> {
        self.body.resize(bytes, 0);
        self.stream.read_exact(&mut self.body).map_err(|e| format!("{path}: {e}"))
    }

    fn read_chunks(&mut self, path: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).map_err(|e| format!("{path}: {e}"))?;
            let bytes =
                usize::from_str_radix(line.trim(), 16).map_err(|_| format!("{path}: bad chunk {line:?}"))?;
            self.read(bytes + 2, path)?;
            if bytes == 0 {
                return Ok(());
            }
        }
    }
}

//! Gzip on the fly, with a bound: a small file must not unpack into a full memory.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::DataError;

/// Most bytes a compressed file may unpack into.
const MOST: u64 = 4 << 30;
/// Above this size, more than [`RATIO`] times the compressed size is refused.
const FREE: u64 = 64 << 20;
/// Text hardly ever packs better than this.
const RATIO: u64 = 1000;

/// Opens a file, unpacking it when its name ends in `.gz`.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let size = file.metadata().map_err(DataError::io("read", path))?.len();
    let reader = BufReader::with_capacity(1 << 16, file);
    if !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz")) {
        return Ok(Box::new(reader));
    }
    let most = MOST.min(FREE.max(size.saturating_mul(RATIO)));
    Ok(Box::new(Bounded { inner: MultiGzDecoder::new(reader), left: most, most }))
}

struct Bounded<R> {
    inner: R,
    left: u64,
    most: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("unpacks into more than {} bytes, which no honest table does; unpack it yourself if it is one", self.most))
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_bomb_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bomb.csv.gz");
        let mut packed =
            flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..80 {
            packed.write_all(&zeros).unwrap();
        }
        packed.finish().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        let mut reader = open(&path).unwrap();
        let error = io::copy(&mut reader, &mut io::sink());
        assert_eq!(error.is_err(), size * RATIO < 80 << 20, "{size} bytes");
    }
}

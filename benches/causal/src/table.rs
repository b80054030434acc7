//! The table that both sides read: columns of f64, one after another.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ream_rand::Stream;
use ream_stats::Matrix;
use ream_stats::glm::sigmoid;

use crate::Failure;

/// Columns that explain.
pub(crate) const EXPLAINING: usize = 20;

/// The columns after `x00` to `x19`.
const FURTHER: [&str; 8] = ["y", "d", "z0", "z1", "binary", "running", "jump", "cluster"];

/// One row: twenty normal columns of which some follow others, a treatment with two instruments and a confounder, a yes or no, and a design
/// with a jump at 0.
fn row(stream: Stream, i: usize, clusters: usize, row: &mut [f64]) {
    let mut rng = stream.at(i as u64);
    let (x, rest) = row.split_at_mut(EXPLAINING);
    x.fill_with(|| rng.normal());
    for j in 1..EXPLAINING / 2 {
        x[j] = 0.6 * x[j - 1] + 0.8 * x[j];
    }
    let (z0, z1, hidden) = (rng.normal(), rng.normal(), rng.normal());
    let d = 0.3 * z0 + 0.2 * z1 + 0.5 * hidden + 0.2 * x[0] + rng.normal();
    let y = 0.5 * d + x[0] - 0.5 * x[1] * x[2] + hidden + (1.0 + 0.5 * x[3].abs()) * rng.normal();
    let odds = 0.4 * x[0] - 0.3 * x[5] + 0.2;
    let binary = f64::from(u8::from(rng.uniform() < sigmoid(odds)));
    let running = rng.between(-1.0, 1.0);
    let above = f64::from(u8::from(running >= 0.0));
    let jump = running + running * running + 0.4 * above + 0.3 * rng.normal();
    rest.copy_from_slice(&[y, d, z0, z1, binary, running, jump, (i % clusters) as f64]);
}

/// Writes a table of so many rows.
pub(crate) fn make(rows: usize, file: &Path) -> Result<(), Failure> {
    let width = EXPLAINING + FURTHER.len();
    let mut columns = vec![0.0; width * rows];
    let stream = Stream::new(1, "the table of the causal benchmark");
    let clusters = (rows / 50).max(2);
    let mut values = vec![0.0; width];
    for i in 0..rows {
        row(stream, i, clusters, &mut values);
        for (j, value) in values.iter().enumerate() {
            columns[j * rows + i] = *value;
        }
    }
    let mut to = BufWriter::new(File::create(file)?);
    for value in columns {
        to.write_all(&value.to_le_bytes())?;
    }
    Ok(to.flush()?)
}

/// A table's file; columns are read when they are asked for.
pub(crate) struct Table {
    rows: usize,
    file: PathBuf,
    bytes: usize,
}

impl Table {
    pub(crate) fn open(rows: usize, file: &Path) -> Self {
        Self { rows, file: file.to_owned(), bytes: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Of the columns that were read.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn column(&mut self, name: &str) -> Result<Vec<f64>, Failure> {
        let place = FURTHER.iter().position(|known| *known == name).map(|j| EXPLAINING + j);
        self.at(place.ok_or_else(|| format!("there is no column `{name}`"))?)
    }

    /// Column `x00` and those after it.
    pub(crate) fn at(&mut self, j: usize) -> Result<Vec<f64>, Failure> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start((8 * j * self.rows) as u64))?;
        let mut raw = vec![0; 8 * self.rows];
        file.read_exact(&mut raw)?;
        self.bytes += raw.len();
        let number = |b: &[u8]| b.try_into().map(f64::from_le_bytes);
        Ok(raw.chunks_exact(8).map(number).collect::<Result<_, _>>()?)
    }

    /// The first columns, `[rows, count]`.
    pub(crate) fn explaining(&mut self, count: usize) -> Result<Matrix, Failure> {
        let columns = (0..count).map(|j| self.at(j)).collect::<Result<Vec<_>, _>>()?;
        Ok(Matrix::from_columns(&columns)?)
    }

    /// Named columns, `[rows, names]`.
    pub(crate) fn matrix(&mut self, names: &[&str]) -> Result<Matrix, Failure> {
        let columns = names.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Matrix::from_columns(&columns)?)
    }
}

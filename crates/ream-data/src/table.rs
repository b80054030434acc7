//! The user's own tables: CSV, TSV, JSON lines, Stata, Parquet; gzipped or not.
//!
//! A column is kept as one text with the cells' ends (4 bytes a cell beside the text), and numbers are read when they are
//! asked for, so that an error can name the row and the column and say what stands there.

use std::path::Path;

use crate::error::DataError;
use crate::registry::did_you_mean;

mod csv_file;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet_file;
mod stata;

/// A table in memory.
#[derive(Clone, Debug, Default)]
pub struct Table {
    file: String,
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Clone, Debug, Default)]
struct Column {
    name: String,
    text: String,
    ends: Vec<u32>,
}

impl Column {
    fn push(&mut self, cell: &str) -> Result<(), String> {
        self.text.push_str(cell);
        let end = u32::try_from(self.text.len())
            .map_err(|_| format!("column `{}` holds more than 4 GiB of text; split the file", self.name))?;
        self.ends.push(end);
        Ok(())
    }

    fn cell(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[row] as usize]
    }
}

/// Whether a cell says that there is no value.
fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "N/A" | "NaN" | "nan" | "null" | "NULL")
}

impl Table {
    /// Reads a file; its name's ending says what it is (`.csv`, `.tsv`, `.jsonl`, `.dta`, `.parquet`, each also with `.gz`).
    ///
    /// # Errors
    /// The file cannot be read, is empty, is of an unknown kind, or is malformed: with file, line, and what would be right.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let end = plain.rsplit_once('.').map_or("", |(_, end)| end);
        let table = match end {
            "csv" => csv_file::read(path, b',')?,
            "tsv" | "tab" => csv_file::read(path, b'\t')?,
            "jsonl" | "ndjson" => jsonl::read(path)?,
            "dta" => stata::read(path)?,
            "parquet" => read_parquet(path)?,
            _ => {
                return Err(DataError::format(
                    path,
                    "a table is a .csv, .tsv, .jsonl, .dta or .parquet file (.gz allowed)",
                ));
            }
        };
        if table.rows == 0 {
            return Err(DataError::format(path, "there are no rows below the header"));
        }
        Ok(table)
    }

    /// A table from columns of text, for decoders and tests.
    ///
    /// # Errors
    /// Columns of different lengths.
    pub fn from_columns(file: &str, columns: Vec<(String, Vec<String>)>) -> Result<Self, DataError> {
        let mut table = Self {
            file: file.to_owned(),
            columns: Vec::new(),
            rows: columns.first().map_or(0, |c| c.1.len()),
        };
        for (name, cells) in columns {
            if cells.len() != table.rows {
                return Err(DataError::format(
                    file.as_ref(),
                    format!("column `{name}` has {} rows, the first has {}", cells.len(), table.rows),
                ));
            }
            let mut column = Column { name, ..Column::default() };
            for cell in cells {
                column.push(&cell).map_err(|e| DataError::format(file.as_ref(), e))?;
            }
            table.columns.push(column);
        }
        Ok(table)
    }

    /// Number of rows below the header.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// Whether there is a column of that name.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c.name == column)
    }

    /// The file it was read from, for messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    fn column(&self, name: &str) -> Result<&Column, DataError> {
        self.columns.iter().find(|c| c.name == name).ok_or_else(|| DataError::Format {
            file: self.file.clone(),
            place: String::new(),
            problem: format!(
                "there is no column `{name}`{}; the columns are {}",
                did_you_mean(name, self.columns.iter().map(|c| c.name.as_str())),
                shortened(&self.names())
            ),
        })
    }

    /// A column of numbers without gaps.
    ///
    /// # Errors
    /// No such column (the nearest name is suggested); a cell that is missing or no finite number, with its row.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, DataError> {
        let column = self.column(name)?;
        let number = |row: usize| match self.number(column, row)? {
            Some(value) => Ok(value),
            None => Err(DataError::cell(
                &self.file,
                row + 1,
                name,
                "the value is missing; fill it in or leave the row out",
            )),
        };
        (0..self.rows).map(number).collect()
    }

    /// A column of numbers with gaps.
    ///
    /// # Errors
    /// No such column; a cell that is neither missing nor a finite number, with its row.
    pub fn numbers_or_missing(&self, name: &str) -> Result<Vec<Option<f64>>, DataError> {
        let column = self.column(name)?;
        (0..self.rows).map(|row| self.number(column, row)).collect()
    }

    fn number(&self, column: &Column, row: usize) -> Result<Option<f64>, DataError> {
        let cell = column.cell(row).trim();
        if is_missing(cell) {
            return Ok(None);
        }
        match cell.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(DataError::cell(
                &self.file,
                row + 1,
                &column.name,
                format!("`{}` is no finite number", excerpt(cell)),
            )),
        }
    }

    /// A column of text; `None` where the value is missing.
    ///
    /// # Errors
    /// No such column.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>, DataError> {
        let column = self.column(name)?;
        let text = |row: usize| {
            let cell = column.cell(row);
            (!is_missing(cell.trim())).then(|| cell.to_owned())
        };
        Ok((0..self.rows).map(text).collect())
    }

    /// Whether every value of a column that is not missing is a number.
    ///
    /// # Errors
    /// No such column.
    pub fn is_numeric(&self, name: &str) -> Result<bool, DataError> {
        let column = self.column(name)?;
        Ok((0..self.rows).all(|row| self.number(column, row).is_ok()))
    }

    /// Checks the header that a reader has found.
    fn with_header(path: &Path, names: Vec<String>) -> Result<Self, DataError> {
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(DataError::line(path, 1, format!("two columns are called `{name}`; rename one")));
            }
        }
        let columns = names.into_iter().map(|name| Column { name, ..Column::default() }).collect();
        Ok(Self { file: path.display().to_string(), columns, rows: 0 })
    }
}

fn shortened(names: &[&str]) -> String {
    if names.len() <= 12 {
        names.join(", ")
    } else {
        format!("{} and {} more", names[..12].join(", "), names.len() - 12)
    }
}

fn excerpt(cell: &str) -> String {
    if cell.chars().count() <= 40 {
        cell.to_owned()
    } else {
        format!("{}…", cell.chars().take(40).collect::<String>())
    }
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path) -> Result<Table, DataError> {
    parquet_file::read(path)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path) -> Result<Table, DataError> {
    Err(DataError::format(
        path,
        "this program was built without Parquet; build it with `--features parquet`, or save the table as CSV",
    ))
}

//! Comma- and tab-separated values.

use std::path::Path;

use super::Table;
use crate::decompress;
use crate::error::DataError;

pub(super) fn read(path: &Path, delimiter: u8) -> Result<Table, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 16)
        .from_reader(decompress::open(path)?);
    let mut record = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|e| broken(path, &e))? {
        return Err(DataError::format(
            path,
            "the file is empty; a header line with the columns' names is wanted",
        ));
    }
    let header = names(path, &record)?;
    if header.len() == 1 && delimiter == b',' && header[0].contains([';', '\t']) {
        return Err(DataError::line(
            path,
            1,
            "the columns are separated by `;` or tabs; save the file with commas, or as .tsv",
        ));
    }
    let mut table = Table::with_header(path, header)?;
    while reader.read_byte_record(&mut record).map_err(|e| broken(path, &e))? {
        push(path, &mut table, &record)?;
    }
    Ok(table)
}

fn line(record: &csv::ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

fn utf8<'a>(path: &Path, record: &csv::ByteRecord, cell: &'a [u8]) -> Result<&'a str, DataError> {
    std::str::from_utf8(cell).map_err(|error| {
        DataError::line(
            path,
            line(record),
            format!("not UTF-8 (byte {} of a cell); save the file as UTF-8", error.valid_up_to() + 1),
        )
    })
}

fn names(path: &Path, record: &csv::ByteRecord) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for (i, cell) in record.iter().enumerate() {
        let name = utf8(path, record, cell)?;
        // A byte order mark is no part of the first name.
        names.push(if i == 0 { name.trim_start_matches('\u{feff}') } else { name }.trim().to_owned());
    }
    Ok(names)
}

fn push(path: &Path, table: &mut Table, record: &csv::ByteRecord) -> Result<(), DataError> {
    if record.len() != table.columns.len() {
        let problem = format!("{} cells where the header has {} columns", record.len(), table.columns.len());
        return Err(DataError::line(path, line(record), problem));
    }
    for (column, cell) in table.columns.iter_mut().zip(record) {
        column.push(utf8(path, record, cell)?).map_err(|e| DataError::format(path, e))?;
    }
    table.rows += 1;
    Ok(())
}

fn broken(path: &Path, error: &csv::Error) -> DataError {
    DataError::format(path, format!("cannot be read as separated values: {error}"))
}

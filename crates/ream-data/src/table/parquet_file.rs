//! Parquet, through the `parquet` crate's record reader.

use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::Table;
use crate::error::DataError;

pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let broken =
        |e: parquet::errors::ParquetError| DataError::format(path, format!("cannot be read as Parquet: {e}"));
    let file = File::open(path).map_err(DataError::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let names = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let mut table = Table::with_header(path, names)?;
    for row in reader.get_row_iter(None).map_err(broken)? {
        let row = row.map_err(broken)?;
        table.rows += 1;
        for (column, (_, field)) in table.columns.iter_mut().zip(row.get_column_iter()) {
            let cell = words(field).ok_or_else(|| {
                DataError::cell(
                    &table.file,
                    table.rows,
                    &column.name,
                    "a list, map or group; a cell is a number, a text or null",
                )
            })?;
            column.push(&cell).map_err(|e| DataError::format(path, e))?;
        }
    }
    Ok(table)
}

fn words(field: &Field) -> Option<String> {
    Some(match field {
        Field::Null => String::new(),
        Field::Bool(flag) => u8::from(*flag).to_string(),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8(bytes.data().to_vec()).ok()?,
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return None,
        other => other.to_string(),
    })
}

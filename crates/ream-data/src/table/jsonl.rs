//! JSON lines: one object a line. Columns are the union of the keys; a key that a line lacks is missing there.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::{Column, Table};
use crate::decompress;
use crate::error::DataError;

pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let mut reader = BufReader::new(decompress::open(path)?);
    let mut table = Table::with_header(path, Vec::new())?;
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        line += 1;
        if reader.read_until(b'\n', &mut bytes).map_err(DataError::io("read", path))? == 0 {
            break;
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| DataError::line(path, line, format!("not UTF-8 at byte {}", e.valid_up_to() + 1)))?;
        if text.trim().is_empty() {
            continue;
        }
        let value: Value =
            serde_json::from_str(text).map_err(|e| DataError::line(path, line, format!("not JSON: {e}")))?;
        let Value::Object(object) = value else {
            return Err(DataError::line(
                path,
                line,
                "each line is one JSON object, for instance {\"a\": 1, \"b\": \"x\"}",
            ));
        };
        push(path, line, &mut table, object)?;
    }
    if line == 1 {
        return Err(DataError::format(path, "the file is empty; one JSON object a line is wanted"));
    }
    Ok(table)
}

fn push(
    path: &Path,
    line: u64,
    table: &mut Table,
    mut object: serde_json::Map<String, Value>,
) -> Result<(), DataError> {
    let too_long = |e: String| DataError::line(path, line, e);
    for column in &mut table.columns {
        let cell =
            object.remove(&column.name).map_or(Ok(String::new()), |v| words(path, line, &column.name, v))?;
        column.push(&cell).map_err(too_long)?;
    }
    for (name, value) in object {
        let mut column = Column { name: name.clone(), ..Column::default() };
        for _ in 0..table.rows {
            column.push("").map_err(too_long)?;
        }
        column.push(&words(path, line, &name, value)?).map_err(too_long)?;
        table.columns.push(column);
    }
    table.rows += 1;
    Ok(())
}

fn words(path: &Path, line: u64, key: &str, value: Value) -> Result<String, DataError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(flag) => Ok(u8::from(flag).to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text),
        Value::Array(_) | Value::Object(_) => Err(DataError::line(
            path,
            line,
            format!("`{key}` is a list or an object; a cell is a number, a text or null"),
        )),
    }
}

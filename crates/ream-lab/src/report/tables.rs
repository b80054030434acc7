//! The tables of a run as files of their own: CSV, JSON, Markdown and LaTeX, for a paper or a spreadsheet.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::{to_json, write_atomic};
use crate::table::{Cell, Table};

/// Longest file name, without its ending.
const LONGEST: usize = 60;

/// Writes every table four times into a folder, under names made from the titles. Without tables there is no folder.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(tables: &[Table], folder: &Path) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let names = distinct(tables.iter().map(|table| file_name(&table.title)), '-');
    for (table, name) in tables.iter().zip(names) {
        let write = |end: &str, bytes: &[u8]| write_atomic(&folder.join(format!("{name}.{end}")), bytes);
        write("csv", table.to_csv().as_bytes())?;
        write("json", &to_json(&records(table))?)?;
        write("md", table.to_markdown().as_bytes())?;
        write("tex", table.to_latex().as_bytes())?;
    }
    Ok(())
}

/// A table as JSON: `{"title", "note", "rows": [{column: value}]}`, numbers in full, `null` for what is empty.
#[must_use]
pub fn records(table: &Table) -> Value {
    let heading = |j: usize| table.columns.get(j).cloned().unwrap_or_else(|| format!("column {}", j + 1));
    let names = distinct((0..table.width()).map(heading), ' ');
    let row = |cells: &Vec<Cell>| -> Value {
        let value = |j: usize| match cells.get(j) {
            Some(Cell::Number(number)) => json!(number),
            Some(Cell::Text(text)) => json!(text),
            Some(Cell::Empty) | None => Value::Null,
        };
        names.iter().enumerate().map(|(j, name)| (name.clone(), value(j))).collect::<Map<_, _>>().into()
    };
    json!({
        "title": table.title,
        "note": table.note,
        "rows": table.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// Names that differ: a repeated one gets a number.
fn distinct(names: impl Iterator<Item = String>, between: char) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names
        .map(|name| {
            let mut own = name.clone();
            let mut count = 1;
            while !seen.insert(own.clone()) {
                count += 1;
                own = format!("{name}{between}{count}");
            }
            own
        })
        .collect()
}

/// Lower-case letters, digits and single hyphens; a long title loses its last words.
fn file_name(title: &str) -> String {
    let lower = title.to_ascii_lowercase();
    let mut name = String::new();
    for word in lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let between = if name.is_empty() { "" } else { "-" };
        if name.len() + between.len() + word.len() > LONGEST {
            break;
        }
        name.push_str(between);
        name.push_str(word);
    }
    if name.is_empty() { "table".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new("Effect, by quantile (95 %)", &["q", "effect", "q"])
            .row(vec![0.5.into(), 0.123_456_789_012.into(), "median".into()])
            .row(vec![Cell::Number(f64::NAN), 1e-20.into()])
    }

    #[test]
    fn records_have_all_columns_and_all_digits() {
        let value = records(&table());
        assert_eq!(value["rows"][0], json!({"q": 0.5, "effect": 0.123_456_789_012, "q 2": "median"}));
        assert_eq!(value["rows"][1], json!({"q": null, "effect": 1e-20, "q 2": null}));
        assert_eq!(value["title"], "Effect, by quantile (95 %)");
        let wide = Table { rows: vec![vec![1.0.into(), 2.0.into()]], ..Table::new("", &["a"]) };
        assert_eq!(records(&wide)["rows"][0], json!({"a": 1.0, "column 2": 2.0}));
    }

    #[test]
    fn every_table_is_written_in_four_forms() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tables");
        write(&[], &folder).unwrap();
        assert!(!folder.exists());
        write(&[table(), Table::new("Effect by quantile 95", &["a"]), Table::new("…", &["b"])], &folder)
            .unwrap();
        let mut names: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let stems = ["effect-by-quantile-95", "effect-by-quantile-95-2", "table"];
        let mut wanted: Vec<String> = stems
            .iter()
            .flat_map(|stem| ["csv", "json", "md", "tex"].map(|end| format!("{stem}.{end}")))
            .collect();
        wanted.sort();
        assert_eq!(names, wanted);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(read("effect-by-quantile-95.csv"), table().to_csv());
        assert_eq!(read("effect-by-quantile-95.tex"), table().to_latex());
        assert_eq!(read("effect-by-quantile-95.md"), table().to_markdown());
        let parsed: Value = serde_json::from_str(&read("effect-by-quantile-95.json")).unwrap();
        assert_eq!(parsed, records(&table()));
    }

    #[test]
    fn long_titles_are_cut_between_words() {
        assert_eq!(file_name(&"very long ".repeat(20)), "very-long-".repeat(6).trim_end_matches('-'));
        assert_eq!(file_name(&"x".repeat(61)), "table");
        assert_eq!(file_name("--A  b--"), "a-b");
    }
}

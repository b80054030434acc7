//! The lab's tables for templates.

use ream_lab::{Cell, Table};

/// A table as it is shown.
pub(super) struct TableView {
    pub(super) title: String,
    pub(super) columns: Vec<Text>,
    pub(super) rows: Vec<Vec<Text>>,
    pub(super) note: String,
    /// Its number among the run's tables, for the addresses of its files; `None` for one that is not the run's own.
    pub(super) number: Option<usize>,
    /// Rows that are left out here.
    pub(super) more: usize,
}

/// A cell's text, and whether its column holds numbers.
pub(super) struct Text {
    pub(super) text: String,
    pub(super) number: bool,
}

/// Rows that a page shows of one table; its files have them all.
const ROWS: usize = 400;

impl TableView {
    pub(super) fn new(table: &Table, number: Option<usize>) -> Self {
        let width = table.rows.iter().map(Vec::len).chain([table.columns.len()]).max().unwrap_or(0);
        let is_number: Vec<bool> = (0..width).map(|column| is_number(table, column)).collect();
        let cell = |column: usize, text: String| Text { text, number: is_number[column] };
        let heading = |column: usize| table.columns.get(column).cloned().unwrap_or_default();
        let row = |row: &Vec<Cell>| {
            let text = |column: usize| row.get(column).map(Cell::show).unwrap_or_default();
            (0..width).map(|column| cell(column, text(column))).collect()
        };
        Self {
            title: table.title.clone(),
            columns: (0..width).map(|column| cell(column, heading(column))).collect(),
            rows: table.rows.iter().take(ROWS).map(row).collect(),
            note: table.note.clone(),
            number,
            more: table.rows.len().saturating_sub(ROWS),
        }
    }
}

fn is_number(table: &Table, column: usize) -> bool {
    let mut cells =
        table.rows.iter().filter_map(|row| row.get(column)).filter(|c| **c != Cell::Empty).peekable();
    cells.peek().is_some() && cells.all(|cell| matches!(cell, Cell::Number(_)))
}

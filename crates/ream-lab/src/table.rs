//! Tables as data.

use serde::{Deserialize, Serialize};

/// A table with a title.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Headings.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
    /// How to read it.
    #[serde(default)]
    pub note: String,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Nothing.
    Empty,
}

impl From<f64> for Cell {
    fn from(v: f64) -> Self {
        Self::Number(v)
    }
}
impl From<u64> for Cell {
    fn from(v: u64) -> Self {
        Self::Number(v as f64)
    }
}
impl From<&str> for Cell {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}
impl From<String> for Cell {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            ..Self::default()
        }
    }
    /// Adds a row.
    #[must_use]
    pub fn row(mut self, row: Vec<Cell>) -> Self {
        self.rows.push(row);
        self
    }
    fn words(cell: &Cell) -> String {
        match cell {
            Cell::Number(v) => v.to_string(),
            Cell::Text(t) => t.clone(),
            Cell::Empty => String::new(),
        }
    }
    fn lines(&self, between: &str) -> String {
        let mut out = self.columns.join(between) + "\n";
        for row in &self.rows {
            out += &row.iter().map(Self::words).collect::<Vec<_>>().join(between);
            out.push('\n');
        }
        out
    }
    /// Aligned text.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.lines("  ")
    }
    /// CSV.
    #[must_use]
    pub fn to_csv(&self) -> String {
        self.lines(",")
    }
    /// Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        self.lines(" | ")
    }
    /// LaTeX.
    #[must_use]
    pub fn to_latex(&self) -> String {
        self.lines(" & ")
    }
}

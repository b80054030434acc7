//! Tables as data, and as text, CSV, Markdown and LaTeX.

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
    /// A number; one that is not finite is written as nothing.
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

impl Cell {
    /// What a reader sees: numbers with 5 significant digits, whole ones in full below 10^15.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Self::Number(v) => show_number(*v),
            Self::Text(t) => t.clone(),
            Self::Empty => String::new(),
        }
    }

    /// The value in full, for machines.
    fn exact(&self) -> String {
        match self {
            Self::Number(v) if !v.is_finite() => String::new(),
            Self::Number(v) if *v != 0.0 && !(1e-5..1e16).contains(&v.abs()) => format!("{v:e}"),
            Self::Number(v) => v.to_string(),
            Self::Text(t) => t.clone(),
            Self::Empty => String::new(),
        }
    }
}

fn show_number(v: f64) -> String {
    let size = v.abs();
    if !v.is_finite() {
        return String::new();
    }
    if v == 0.0 {
        return "0".into();
    }
    if size < 1e15 && v == v.trunc() {
        return format!("{v:.0}");
    }
    if !(1e-4..1e7).contains(&size) {
        let text = format!("{v:.4e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let before = libm::floor(libm::log10(size)) as i32;
    let places = (4 - before).max(1) as usize;
    let text = format!("{v:.places$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
    /// Adds a row. A row shorter than the headings is filled up with empty cells wherever it is shown.
    #[must_use]
    pub fn row(mut self, row: Vec<Cell>) -> Self {
        self.rows.push(row);
        self
    }

    /// How many columns there are: the headings, or the longest row.
    pub(crate) fn width(&self) -> usize {
        self.rows.iter().map(Vec::len).chain([self.columns.len()]).max().unwrap_or(0)
    }

    /// Whether a column holds numbers and no texts: those are set right-aligned.
    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        let mut cells =
            self.rows.iter().filter_map(|r| r.get(column)).filter(|c| **c != Cell::Empty).peekable();
        cells.peek().is_some() && cells.all(|c| matches!(c, Cell::Number(_)))
    }

    /// Headings, then rows, all of the same length.
    fn grid(&self, words: impl Fn(&Cell) -> String, escape: impl Fn(&str) -> String) -> Vec<Vec<String>> {
        let width = self.width();
        let fill = |mut row: Vec<String>| {
            row.resize(width, String::new());
            row
        };
        let head = fill(self.columns.iter().map(|c| escape(c)).collect());
        let rows = self.rows.iter().map(|row| fill(row.iter().map(|c| escape(&words(c))).collect()));
        std::iter::once(head).chain(rows).collect()
    }

    /// The grid's lines with every column padded to its widest cell.
    fn padded(&self, grid: &[Vec<String>], between: &str) -> Vec<String> {
        let count = |t: &String| t.chars().count();
        let widths: Vec<usize> = (0..self.width())
            .map(|j| grid.iter().filter_map(|row| row.get(j)).map(count).max().unwrap_or(0))
            .collect();
        let pad = |row: &Vec<String>| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(j, (text, &w))| {
                        if self.is_numeric(j) { format!("{text:>w$}") } else { format!("{text:<w$}") }
                    },
                )
                .collect();
            cells.join(between)
        };
        grid.iter().map(pad).collect()
    }

    /// Title, headings, a rule, rows and note; numbers right-aligned.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        if !self.title.is_empty() {
            out += &format!("{}\n", self.title);
        }
        let lines = self.padded(&self.grid(Cell::show, one_line), "  ");
        let wide = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        for (i, line) in lines.iter().enumerate() {
            out += line.trim_end();
            out.push('\n');
            if i == 0 {
                out += &"-".repeat(wide);
                out.push('\n');
            }
        }
        if !self.note.is_empty() {
            out += &format!("{}\n", self.note);
        }
        out
    }

    /// CSV (RFC 4180, lines ending in LF): headings and rows, numbers in full.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let quote = |text: &str| {
            if text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        self.grid(Cell::exact, quote).iter().map(|row| row.join(",") + "\n").collect()
    }

    /// A Markdown table below its title in bold, its note in a paragraph.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let escape = |text: &str| one_line(text).replace('\\', "\\\\").replace('|', "\\|");
        let mut out =
            if self.title.is_empty() { String::new() } else { format!("**{}**\n\n", one_line(&self.title)) };
        for (i, line) in self.padded(&self.grid(Cell::show, escape), " | ").iter().enumerate() {
            out += &format!("| {line} |\n");
            if i == 0 {
                let marks: Vec<&str> =
                    (0..self.width()).map(|j| if self.is_numeric(j) { "---:" } else { "---" }).collect();
                out += &format!("| {} |\n", marks.join(" | "));
            }
        }
        if !self.note.is_empty() {
            out += &format!("\n{}\n", one_line(&self.note));
        }
        out
    }

    /// A LaTeX `table` for the package `booktabs`.
    #[must_use]
    pub fn to_latex(&self) -> String {
        let form: String = (0..self.width()).map(|j| if self.is_numeric(j) { 'r' } else { 'l' }).collect();
        let mut out = String::from("\\begin{table}\n\\centering\n");
        if !self.title.is_empty() {
            out += &format!("\\caption{{{}}}\n", latex(&self.title));
        }
        out += &format!("\\begin{{tabular}}{{{form}}}\n\\toprule\n");
        for (i, row) in self.grid(Cell::show, latex).iter().enumerate() {
            out += &format!("{} \\\\\n", row.join(" & "));
            if i == 0 {
                out += "\\midrule\n";
            }
        }
        out += "\\bottomrule\n\\end{tabular}\n";
        if !self.note.is_empty() {
            out += &format!("\\par\\smallskip {}\n", latex(&self.note));
        }
        out + "\\end{table}\n"
    }
}

fn one_line(text: &str) -> String {
    text.replace("\r\n", " ").replace(['\n', '\r', '\t'], " ")
}

fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            // A row that begins with a bracket would be read as an option of the line before.
            '[' | ']' => out.extend(['{', c, '}']),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table::new("Scores | all", &["name", "a, b", "n"])
            .row(vec!["x|y \"q\"".into(), 0.123_456_789.into(), 12_u64.into()])
            .row(vec!["50% & _more_".into(), Cell::Number(f64::NAN)])
    }

    #[test]
    fn text_is_aligned() {
        let text = table().to_text();
        assert_eq!(
            text,
            "Scores | all\nname             a, b   n\n-------------------------\nx|y \"q\"       0.12346  12\n50% & _more_\n"
        );
    }

    #[test]
    fn csv_is_quoted_and_exact() {
        assert_eq!(table().to_csv(), "name,\"a, b\",n\n\"x|y \"\"q\"\"\",0.123456789,12\n50% & _more_,,\n");
    }

    #[test]
    fn markdown_bars_are_escaped() {
        let text = table().to_markdown();
        assert!(text.contains("| --- | ---: | ---: |\n"), "{text}");
        assert!(text.contains("x\\|y"), "{text}");
    }

    #[test]
    fn latex_is_escaped() {
        let text = table().to_latex();
        assert!(text.contains("\\begin{tabular}{lrr}\n\\toprule\n"), "{text}");
        assert!(text.contains("50\\% \\& \\_more\\_ &  &  \\\\\n\\bottomrule"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        let show = |v: f64| Cell::Number(v).show();
        assert_eq!([show(0.5), show(1e-9), show(123_456.789), show(-2.0)], ["0.5", "1e-9", "123456.8", "-2"]);
        assert_eq!(
            [show(3.0e14), show(1.5e20), show(0.0), show(99.999_99)],
            ["300000000000000", "1.5e20", "0", "100"]
        );
    }

    #[test]
    fn cells_survive_json() {
        let cells = vec![Cell::Number(0.5), Cell::Text("a".into()), Cell::Empty];
        let text = serde_json::to_string(&cells).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Cell>>(&text).unwrap(), cells);
        assert_eq!(
            serde_json::from_str::<Cell>(&serde_json::to_string(&Cell::Number(f64::NAN)).unwrap()).unwrap(),
            Cell::Empty
        );
    }
}

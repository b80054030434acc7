//! The numbers behind a figure.

use super::{Axis, Figure, Layer, Panel};
use crate::table::{Cell, Table};

/// A table shows at most this many rows.
const MOST: usize = 500;

/// One table for each layer of a figure; rules of a panel share one, and pictures have their captions. A table of more
/// than 500 rows is cut there, and its note says so. Gaps are empty cells.
#[must_use]
pub fn data_table(figure: &Figure) -> Vec<Table> {
    figure.panels.iter().flat_map(|panel| panel_tables(panel, figure.panels.len() > 1)).collect()
}

fn panel_tables(panel: &Panel, several: bool) -> Vec<Table> {
    let mut rules = table(panel, several, "lines across", vec!["line".into(), "axis".into(), "value".into()]);
    let mut tables = Vec::new();
    for layer in &panel.layers {
        if let Layer::Rule { label, value, vertical } = layer {
            let axis = if *vertical { name(&panel.x, "x") } else { name(&panel.y, "y") };
            rules.rows.push(vec![label.as_str().into(), axis.into(), number(*value)]);
        } else {
            tables.push(layer_table(panel, layer, several));
        }
    }
    if !rules.rows.is_empty() {
        tables.push(rules);
    }
    tables.into_iter().map(cut).collect()
}

fn table(panel: &Panel, several: bool, label: &str, columns: Vec<String>) -> Table {
    let parts = if several { [panel.title.as_str(), label] } else { ["", label] };
    let title = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(": ");
    Table { title, columns, ..Table::default() }
}

fn cut(mut table: Table) -> Table {
    let all = table.rows.len();
    if all > MOST {
        table.rows.truncate(MOST);
        table.note = format!("The first {MOST} of {all} rows.");
    }
    table
}

fn name(axis: &Axis, otherwise: &str) -> String {
    if axis.label.is_empty() { otherwise.to_owned() } else { axis.label.clone() }
}

fn number(value: f64) -> Cell {
    if value.is_finite() { Cell::Number(value) } else { Cell::Empty }
}

/// The name of a position, or its number.
fn category(axis: &Axis, i: usize) -> Cell {
    axis.categories.get(i).map_or(Cell::Number(i as f64), |c| Cell::Text(c.clone()))
}

fn layer_table(panel: &Panel, layer: &Layer, several: bool) -> Table {
    let (x_name, y_name) = (name(&panel.x, "x"), name(&panel.y, "y"));
    let new = |label: &str, columns: Vec<String>| table(panel, several, label, columns);
    match layer {
        Layer::Line { label, x, y, .. } => {
            let mut t = new(label, vec![x_name, y_name]);
            t.rows = x.iter().zip(y).map(|(x, y)| vec![number(*x), number(*y)]).collect();
            t
        }
        Layer::Band { label, x, low, high } => {
            let columns = vec![x_name, format!("{y_name}, low"), format!("{y_name}, high")];
            let mut t = new(&format!("{label} (band)"), columns);
            t.rows = x
                .iter()
                .zip(low.iter().zip(high))
                .map(|(x, (l, h))| vec![number(*x), number(*l), number(*h)])
                .collect();
            t
        }
        Layer::Points { label, x, y, error, names, shade, shade_label } => {
            let mut columns = if names.is_empty() { Vec::new() } else { vec!["name".to_owned()] };
            columns.extend([x_name, y_name]);
            columns.extend(ends(error));
            columns.extend((!shade.is_empty()).then(|| shade_label.clone()));
            let mut t = new(label, columns);
            for (i, (x, y)) in x.iter().zip(y).enumerate() {
                let mut row: Vec<Cell> = names.get(i).map(|n| n.as_str().into()).into_iter().collect();
                row.extend([number(*x), number(*y)]);
                row.extend(error.get(i).into_iter().flatten().map(|e| number(*e)));
                row.extend(shade.get(i).map(|s| number(*s)));
                t.rows.push(row);
            }
            t
        }
        Layer::Bars { label, y, error } => {
            let columns = [x_name, y_name].into_iter().chain(ends(error)).collect();
            let mut t = new(label, columns);
            for (i, y) in y.iter().enumerate() {
                let mut row = vec![category(&panel.x, i), number(*y)];
                row.extend(error.get(i).into_iter().flatten().map(|e| number(*e)));
                t.rows.push(row);
            }
            t
        }
        Layer::Heat { label, values, .. } => {
            let wide = values.first().map_or(0, Vec::len);
            let titles =
                (0..wide).map(|j| panel.x.categories.get(j).cloned().unwrap_or_else(|| j.to_string()));
            let mut t = new(label, std::iter::once(y_name).chain(titles).collect());
            for (i, row) in values.iter().enumerate() {
                let cells = row.iter().map(|v| number(*v));
                t.rows.push(std::iter::once(category(&panel.y, i)).chain(cells).collect());
            }
            t
        }
        Layer::Dumbbell { from_label, to_label, names, from, to, shade, shade_label } => {
            let mut columns = vec![y_name, from_label.clone(), to_label.clone()];
            columns.extend((!shade.is_empty()).then(|| shade_label.clone()));
            let mut t = new("", columns);
            for (i, (name, (from, to))) in names.iter().zip(from.iter().zip(to)).enumerate() {
                let mut row = vec![name.as_str().into(), number(*from), number(*to)];
                row.extend(shade.get(i).map(|s| number(*s)));
                t.rows.push(row);
            }
            t
        }
        Layer::Images { captions, pixels, .. } => {
            let mut t = new("", vec!["picture".into(), "caption".into()]);
            for i in 0..pixels.len() {
                let caption = captions.get(i).map_or(Cell::Empty, |c| c.as_str().into());
                t.rows.push(vec![Cell::Number(i as f64 + 1.0), caption]);
            }
            t
        }
        Layer::Rule { label, .. } => new(label, Vec::new()),
    }
}

fn ends(error: &[[f64; 2]]) -> Vec<String> {
    if error.is_empty() { Vec::new() } else { vec!["low".into(), "high".into()] }
}

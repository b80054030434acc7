//! Pieces of pages.

use crate::figure::{Figure, FigureError, Theme, render_svg};
use crate::table::Table;

/// Escapes a text for HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A whole page.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{}</title>{body}</html>",
        escape(title)
    )
}

/// A figure.
///
/// # Errors
/// The figure is inconsistent.
pub fn figure_block(figure: &Figure) -> Result<String, FigureError> {
    render_svg(figure, Theme::Auto, 760.0)
}

/// A table.
#[must_use]
pub fn table_block(table: &Table) -> String {
    format!("<pre>{}</pre>", escape(&table.to_text()))
}

//! Pieces of pages: self-contained, without scripts and without anything fetched.

use std::fmt::Write;

use crate::figure::{Figure, FigureError, Theme, data_table, render_svg};
use crate::table::{Cell, Table};

const STYLE: &str = include_str!("page.css");

/// Escapes a text for HTML, in content and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A whole page around a body of HTML, for screens in light and dark, and for print.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// A figure with its description and, folded away, its numbers.
///
/// # Errors
/// The figure is inconsistent: see [`Figure::check`].
pub fn figure_block(figure: &Figure, theme: Theme) -> Result<String, FigureError> {
    let mut out = format!("<figure class=\"plot\">{}", render_svg(figure, theme, 760.0)?);
    if !figure.description.is_empty() {
        let _ = write!(out, "<figcaption>{}</figcaption>", escape(&figure.description));
    }
    let tables = data_table(figure);
    if !tables.is_empty() {
        out.push_str("<details><summary>data</summary>");
        tables.iter().for_each(|table| out.push_str(&table_block(table)));
        out.push_str("</details>");
    }
    out.push_str("</figure>\n");
    Ok(out)
}

/// A table; columns of numbers are right-aligned.
#[must_use]
pub fn table_block(table: &Table) -> String {
    let numeric: Vec<bool> = (0..table.width()).map(|j| table.is_numeric(j)).collect();
    let class = |j: usize| if numeric.get(j) == Some(&true) { " class=\"number\"" } else { "" };
    let mut out = String::from("<div class=\"table\" tabindex=\"0\"><table>");
    if !table.title.is_empty() {
        let _ = write!(out, "<caption>{}</caption>", escape(&table.title));
    }
    out.push_str("<thead><tr>");
    for j in 0..table.width() {
        let heading = table.columns.get(j).map_or("", String::as_str);
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(j), escape(heading));
    }
    out.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        out.push_str("<tr>");
        for j in 0..table.width() {
            let text = row.get(j).map_or_else(String::new, Cell::show);
            let _ = write!(out, "<td{}>{}</td>", class(j), escape(&text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>");
    if !table.note.is_empty() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&table.note));
    }
    out.push_str("</div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Layer, Panel};

    #[test]
    fn nothing_is_fetched_and_nothing_runs() {
        let figure = Figure::new("<script>alert(1)</script>", "it's \"so\"").panel(
            Panel::new("a & b").layer(Layer::line("<b>", vec![0.0, 1.0, 2.0], vec![1.0, f64::NAN, 3.0])),
        );
        let page = page("t", &figure_block(&figure, Theme::Auto).unwrap());
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains("@import"));
        let addresses: Vec<&str> = page.split("http").skip(1).collect();
        assert!(addresses.iter().all(|a| a.starts_with("://www.w3.org/2000/svg")), "only the name of SVG");
        assert!(!page.contains("url(") || page.matches("url(").count() == page.matches("url(#").count());
    }

    #[test]
    fn a_page_of_figures_brings_their_colours_once() {
        let figure = Figure::new("t", "d").panel(Panel::new("p").layer(Layer::line(
            "l",
            vec![0.0, 1.0],
            vec![1.0, 2.0],
        )));
        let html = figure_block(&figure, Theme::Page).unwrap();
        assert!(!html.contains("<style") && !html.contains("style="), "{html}");
        assert!(html.contains("class=\"ream-figure\"") && html.contains("class=\"l-s0\""));
        let style = crate::figure::page_style();
        assert!(style.contains(".ream-figure .l-s0{") && style.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn numbers_are_right_aligned() {
        let html = table_block(&Table::new("t", &["a", "b"]).row(vec!["<x>".into(), 1.5.into()]));
        assert!(html.contains("<td>&lt;x&gt;</td><td class=\"number\">1.5</td>"), "{html}");
    }
}

//! Figures as data: one renderer draws them all.
//!
//! A [`Figure`] is stored as JSON beside a run and drawn by [`render_svg`] for light, dark and print; [`data_table`] gives
//! the numbers behind it. Values that are not finite are gaps: lines break there, points, bars and cells stay away, and
//! JSON holds `null`. On a logarithmic axis so are zero and negative values.
//!
//! ```
//! use ream_lab::figure::{Figure, Layer, Panel, Theme, render_svg};
//!
//! let figure = Figure::new("Loss", "Lower is better.").panel(
//!     Panel::new("Training")
//!         .x("step")
//!         .y("loss (nats)")
//!         .log_y()
//!         .layer(Layer::line("ours", vec![0.0, 1.0, 2.0], vec![3.0, 1.0, 0.5]))
//!         .layer(Layer::rule("entropy of the source", 0.4)),
//! );
//! let svg = render_svg(&figure, Theme::Auto, 640.0)?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), ream_lab::figure::FigureError>(())
//! ```

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod build;
mod check;
mod data;
mod gaps;
#[cfg(feature = "png")]
mod png;
mod svg;
#[cfg(test)]
mod tests;

pub use data::data_table;
#[cfg(feature = "png")]
pub use png::render_png;
pub use svg::{Theme, page_style, render_svg};

/// A picture of one or several panels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub description: String,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels in a row; 0 counts as 1.
    pub columns: usize,
}

/// One pair of axes with layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Heading.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, in order.
    pub layers: Vec<Layer>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Label.
    pub label: String,
    /// Logarithmic.
    pub log: bool,
    /// Fixed range, low end first; else from the data.
    pub range: Option<[f64; 2]>,
    /// Names of positions 0, 1, ...; empty for a number axis.
    pub categories: Vec<String>,
}

/// One layer of a panel.
///
/// Layers with the same label share a colour and a marker in the whole figure: give a band the label of its line. Heat
/// maps with the same label, and shades with the same label, share the range of their colours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "names of fields say what they are")]
pub enum Layer {
    /// A line through `(x, y)` in the order given.
    Line {
        label: String,
        #[serde(with = "gaps")]
        x: Vec<f64>,
        #[serde(with = "gaps")]
        y: Vec<f64>,
        dashed: bool,
    },
    /// A band between two curves.
    Band {
        label: String,
        #[serde(with = "gaps")]
        x: Vec<f64>,
        #[serde(with = "gaps")]
        low: Vec<f64>,
        #[serde(with = "gaps")]
        high: Vec<f64>,
    },
    /// Points. `error` holds the low and high end of each bar in the units of `y`; `shade` colours by a third variable.
    /// `error`, `names` and `shade` are empty when unused.
    Points {
        label: String,
        #[serde(with = "gaps")]
        x: Vec<f64>,
        #[serde(with = "gaps")]
        y: Vec<f64>,
        #[serde(with = "gaps")]
        error: Vec<[f64; 2]>,
        names: Vec<String>,
        #[serde(with = "gaps")]
        shade: Vec<f64>,
        shade_label: String,
    },
    /// One bar for each category of the horizontal axis; layers of bars stand side by side. `error` holds the low and
    /// high end of each error bar in the units of `y`, and is empty when unused.
    Bars {
        label: String,
        #[serde(with = "gaps")]
        y: Vec<f64>,
        #[serde(with = "gaps")]
        error: Vec<[f64; 2]>,
    },
    /// A matrix as colours, rows top to bottom; `diverging` centres the colours on zero.
    Heat {
        label: String,
        #[serde(with = "gaps")]
        values: Vec<Vec<f64>>,
        diverging: bool,
    },
    /// From one value to another for each name, top to bottom; `shade` (or empty) colours by a third variable.
    Dumbbell {
        from_label: String,
        to_label: String,
        names: Vec<String>,
        #[serde(with = "gaps")]
        from: Vec<f64>,
        #[serde(with = "gaps")]
        to: Vec<f64>,
        #[serde(with = "gaps")]
        shade: Vec<f64>,
        shade_label: String,
    },
    /// A straight line across the panel at `value` of the vertical axis, or, if `vertical`, of the horizontal one.
    Rule {
        label: String,
        #[serde(with = "gaps")]
        value: f64,
        vertical: bool,
    },
    /// Small pictures, RGB8, `width` by `height` pixels each, `columns` in a row; the only layer of its panel.
    Images { width: usize, height: usize, pixels: Vec<Vec<u8>>, captions: Vec<String>, columns: usize },
}

/// What is wrong with a figure, with the panel and the layer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct FigureError(pub String);

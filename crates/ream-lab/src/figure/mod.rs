//! Figures as data: one renderer draws them all.

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod svg;

pub use svg::{Theme, render_svg};

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
    /// Panels in a row.
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
    /// Fixed range; else from the data.
    pub range: Option<[f64; 2]>,
    /// Names of positions 0, 1, ...; empty for a number axis.
    pub categories: Vec<String>,
}

/// One layer of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "names of fields say what they are")]
pub enum Layer {
    /// A line.
    Line { label: String, x: Vec<f64>, y: Vec<f64>, dashed: bool },
    /// A band between two curves.
    Band { label: String, x: Vec<f64>, low: Vec<f64>, high: Vec<f64> },
    /// Points, with optional error bars, names, shades.
    Points {
        label: String,
        x: Vec<f64>,
        y: Vec<f64>,
        error: Vec<[f64; 2]>,
        names: Vec<String>,
        shade: Vec<f64>,
        shade_label: String,
    },
    /// One bar for each category.
    Bars { label: String, y: Vec<f64>, error: Vec<[f64; 2]> },
    /// A matrix as colours, rows top to bottom.
    Heat { label: String, values: Vec<Vec<f64>>, diverging: bool },
    /// From one value to another for each name.
    Dumbbell {
        from_label: String,
        to_label: String,
        names: Vec<String>,
        from: Vec<f64>,
        to: Vec<f64>,
        shade: Vec<f64>,
        shade_label: String,
    },
    /// A straight line across.
    Rule { label: String, value: f64, vertical: bool },
    /// Small pictures, RGB8.
    Images { width: usize, height: usize, pixels: Vec<Vec<u8>>, captions: Vec<String>, columns: usize },
}

/// What is wrong with a figure.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct FigureError(pub String);

impl Figure {
    /// An empty figure.
    pub fn new(title: impl Into<String>, description: impl Into<String>) -> Self {
        Self { title: title.into(), description: description.into(), panels: Vec::new(), columns: 1 }
    }
    /// Adds a panel.
    #[must_use]
    pub fn panel(mut self, panel: Panel) -> Self {
        self.panels.push(panel);
        self
    }
    /// Panels in a row.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = columns;
        self
    }
}

impl Panel {
    /// An empty panel.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }
    /// Labels the horizontal axis.
    #[must_use]
    pub fn x(mut self, label: impl Into<String>) -> Self {
        self.x.label = label.into();
        self
    }
    /// Labels the vertical axis.
    #[must_use]
    pub fn y(mut self, label: impl Into<String>) -> Self {
        self.y.label = label.into();
        self
    }
    /// Logarithmic horizontal axis.
    #[must_use]
    pub fn log_x(mut self) -> Self {
        self.x.log = true;
        self
    }
    /// Logarithmic vertical axis.
    #[must_use]
    pub fn log_y(mut self) -> Self {
        self.y.log = true;
        self
    }
    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }
}

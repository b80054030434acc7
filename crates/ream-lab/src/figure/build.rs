//! Short ways to make figures.

use super::{Figure, Layer, Panel};

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
    /// Fixes the horizontal range, low end first.
    #[must_use]
    pub fn range_x(mut self, low: f64, high: f64) -> Self {
        self.x.range = Some([low, high]);
        self
    }
    /// Fixes the vertical range, low end first.
    #[must_use]
    pub fn range_y(mut self, low: f64, high: f64) -> Self {
        self.y.range = Some([low, high]);
        self
    }
    /// Names the positions 0, 1, ... of the horizontal axis.
    #[must_use]
    pub fn categories_x<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.x.categories = names.into_iter().map(Into::into).collect();
        self
    }
    /// Names the positions 0, 1, ... of the vertical axis, top to bottom.
    #[must_use]
    pub fn categories_y<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.y.categories = names.into_iter().map(Into::into).collect();
        self
    }
    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }
}

impl Layer {
    /// A solid line.
    pub fn line(label: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self::Line { label: label.into(), x, y, dashed: false }
    }
    /// A dashed line.
    pub fn dashed(label: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self::Line { label: label.into(), x, y, dashed: true }
    }
    /// A band between two curves.
    pub fn band(label: impl Into<String>, x: Vec<f64>, low: Vec<f64>, high: Vec<f64>) -> Self {
        Self::Band { label: label.into(), x, low, high }
    }
    /// Points without error bars, names or shades.
    pub fn points(label: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self::Points {
            label: label.into(),
            x,
            y,
            error: Vec::new(),
            names: Vec::new(),
            shade: Vec::new(),
            shade_label: String::new(),
        }
    }
    /// Bars without error bars.
    pub fn bars(label: impl Into<String>, y: Vec<f64>) -> Self {
        Self::Bars { label: label.into(), y, error: Vec::new() }
    }
    /// A heat map whose colours run from the least to the greatest value.
    pub fn heat(label: impl Into<String>, values: Vec<Vec<f64>>) -> Self {
        Self::Heat { label: label.into(), values, diverging: false }
    }
    /// A heat map whose colours are centred on zero.
    pub fn diverging(label: impl Into<String>, values: Vec<Vec<f64>>) -> Self {
        Self::Heat { label: label.into(), values, diverging: true }
    }
    /// A horizontal line at a value of the vertical axis.
    pub fn rule(label: impl Into<String>, value: f64) -> Self {
        Self::Rule { label: label.into(), value, vertical: false }
    }
    /// A vertical line at a value of the horizontal axis.
    pub fn vertical(label: impl Into<String>, value: f64) -> Self {
        Self::Rule { label: label.into(), value, vertical: true }
    }
    /// The name of the kind, as in JSON.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Line { .. } => "line",
            Self::Band { .. } => "band",
            Self::Points { .. } => "points",
            Self::Bars { .. } => "bars",
            Self::Heat { .. } => "heat",
            Self::Dumbbell { .. } => "dumbbell",
            Self::Rule { .. } => "rule",
            Self::Images { .. } => "images",
        }
    }
    /// The label, empty for layers that have several or none.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Line { label, .. }
            | Self::Band { label, .. }
            | Self::Points { label, .. }
            | Self::Bars { label, .. }
            | Self::Heat { label, .. }
            | Self::Rule { label, .. } => label,
            Self::Dumbbell { .. } | Self::Images { .. } => "",
        }
    }
}

//! Which series has which number, and the keys that explain them.

use super::super::{Figure, Layer, Panel};

/// What the panels of a figure have in common: the labels of its series in the order they appear, whose positions are
/// the numbers of the series, and the panels themselves, for the range of shared colours.
pub(super) struct Series<'a> {
    labels: Vec<String>,
    pub(super) panels: &'a [Panel],
}

impl<'a> Series<'a> {
    pub(super) fn of(figure: &'a Figure) -> Self {
        let mut labels: Vec<String> = Vec::new();
        for layer in figure.panels.iter().flat_map(|p| &p.layers) {
            let counted = matches!(
                layer,
                Layer::Line { .. } | Layer::Band { .. } | Layer::Points { .. } | Layer::Bars { .. }
            );
            if counted && !labels.iter().any(|l| l == layer.label()) {
                labels.push(layer.label().to_owned());
            }
        }
        Self { labels, panels: &figure.panels }
    }

    /// The number of a label.
    pub(super) fn number(&self, label: &str) -> usize {
        self.labels.iter().position(|l| l == label).unwrap_or(0)
    }
}

/// A line of the legend; layers with one label share one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Key {
    pub(super) label: String,
    pub(super) series: usize,
    /// A line, dashed or not.
    pub(super) line: Option<bool>,
    pub(super) band: bool,
    pub(super) marker: bool,
    pub(super) bar: bool,
    /// A rule, by its order in the panel.
    pub(super) rule: Option<usize>,
    /// An end of a dumbbell: filled or not.
    pub(super) end: Option<bool>,
    /// Coloured by a third variable, so the marker is drawn without a colour.
    pub(super) shaded: bool,
}

/// The legend of a panel.
pub(super) fn keys(panel: &Panel, series: &Series<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut rules = 0;
    let mut dumbbells = 0;
    let marked = marked(panel);
    for layer in &panel.layers {
        let mut new = Vec::new();
        let base = || Key {
            label: layer.label().to_owned(),
            series: series.number(layer.label()),
            ..Key::default()
        };
        match layer {
            Layer::Line { dashed, x, .. } => {
                new.push(Key { line: Some(*dashed), marker: marked || x.len() <= FEW, ..base() });
            }
            Layer::Band { .. } => new.push(Key { band: true, ..base() }),
            Layer::Points { shade, .. } => {
                new.push(Key { marker: true, shaded: !shade.is_empty(), ..base() });
            }
            Layer::Bars { .. } => new.push(Key { bar: true, ..base() }),
            Layer::Rule { .. } => {
                new.push(Key { label: layer.label().to_owned(), rule: Some(rules), ..Key::default() });
                rules += 1;
            }
            Layer::Dumbbell { from_label, to_label, shade, .. } => {
                for (label, filled) in [(from_label, false), (to_label, true)] {
                    new.push(Key {
                        label: label.clone(),
                        series: dumbbells,
                        end: Some(filled),
                        shaded: !shade.is_empty(),
                        ..Key::default()
                    });
                }
                dumbbells += 1;
            }
            Layer::Heat { .. } | Layer::Images { .. } => {}
        }
        for key in new.into_iter().filter(|k| !k.label.is_empty()) {
            let like = |k: &&mut Key| {
                k.label == key.label && k.series == key.series && k.rule == key.rule && k.end == key.end
            };
            match keys.iter_mut().find(like) {
                Some(old) => {
                    old.line = old.line.or(key.line);
                    old.band |= key.band;
                    old.marker |= key.marker;
                    old.bar |= key.bar;
                }
                None => keys.push(key),
            }
        }
    }
    keys
}

/// Lines of at most this many points show each of them.
pub(super) const FEW: usize = 25;

/// Whether lines carry markers: several lines are told apart by more than colour.
pub(super) fn marked(panel: &Panel) -> bool {
    let mut labels = panel.layers.iter().filter_map(|layer| match layer {
        Layer::Line { label, dashed, .. } => Some((label, dashed)),
        _ => None,
    });
    let first = labels.next();
    labels.any(|other| Some(other) != first)
}

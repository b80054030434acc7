//! Legends above the plot and colour bars beside it, so that neither covers data.

use super::super::{Layer, Panel};
use super::colour::{Paint, dashes, ramp, rule_dashes};
use super::frame::{TICK, with_power};
use super::pen::{Anchor, Pen, at, marker, rect};
use super::scale::Scale;
use super::series::Key;
use super::text::{shorten, width};

const SIZE: f64 = 11.5;
const LONG: f64 = 24.0;
const SHORT: f64 = 12.0;
const ROW: f64 = 18.0;

/// The keys with their places; a row never ends beyond the room unless it has one key only.
fn flow(keys: &[Key], room: f64) -> Vec<(f64, f64, String)> {
    let (mut x, mut y) = (0.0, 0.0);
    keys.iter()
        .map(|key| {
            let label = shorten(&key.label, SIZE, room - swatch_width(key) - 6.0);
            let wide = swatch_width(key) + 6.0 + width(&label, SIZE);
            if x > 0.0 && x + wide > room {
                (x, y) = (0.0, y + ROW);
            }
            let place = (x, y, label);
            x += wide + 16.0;
            place
        })
        .collect()
}

/// How high a legend is in a room of a width.
pub(super) fn height(keys: &[Key], room: f64) -> f64 {
    flow(keys, room).last().map_or(0.0, |(_, y, _)| y + ROW + 3.0)
}

/// Draws a legend with its upper left corner at a place.
pub(super) fn draw(pen: &mut Pen, keys: &[Key], [left, top]: [f64; 2], room: f64) {
    for (key, (x, y, label)) in keys.iter().zip(flow(keys, room)) {
        let (x, middle) = (left + x, top + y + ROW / 2.0);
        swatch(pen, key, x, middle);
        pen.text([x + swatch_width(key) + 6.0, middle + 4.0], SIZE, Anchor::Start, Paint::Ink, "", &label);
    }
}

/// Lines and bands need a longer sample than points and bars.
fn swatch_width(key: &Key) -> f64 {
    if key.line.is_some() || key.band || key.rule.is_some() { LONG } else { SHORT }
}

fn swatch(pen: &mut Pen, key: &Key, x: f64, y: f64) {
    let paint = if key.shaded { Paint::Soft } else { Paint::Series(key.series) };
    if key.band {
        pen.path(&rect(x, y - 6.0, LONG, 12.0), Some(paint), None, " fill-opacity=\"0.22\"");
    }
    if let Some(dashed) = key.line {
        let dash = dash_attribute(dashes(key.series, dashed));
        pen.line([x, y], [x + LONG, y], paint, &format!(" stroke-width=\"2\"{dash}"));
    }
    if let Some(order) = key.rule {
        let dash = dash_attribute(rule_dashes(order));
        pen.line([x, y], [x + LONG, y], Paint::Ink, &format!(" stroke-width=\"1.3\"{dash}"));
    }
    if key.bar {
        let d = rect(x, y - 6.0, SHORT, 12.0);
        pen.path(&d, Some(paint), None, "");
        super::bars::hatch(pen, key.series, [x, y - 6.0, SHORT, 12.0]);
    }
    let middle = x + swatch_width(key) / 2.0;
    if key.marker {
        let r = if key.line.is_some() { 3.4 } else { 4.2 };
        let halo = " stroke-width=\"0.8\"";
        pen.path(&marker(key.series, middle, y, r), Some(paint), Some(Paint::Paper), halo);
    }
    match key.end {
        Some(true) => pen.path(&marker(key.series, middle, y, 4.6), Some(paint), None, ""),
        Some(false) => {
            let more = " stroke-width=\"1.6\"";
            pen.path(&marker(key.series, middle, y, 4.0), Some(Paint::Paper), Some(paint), more);
        }
        None => {}
    }
}

/// The attribute of a dash pattern; nothing for a solid line.
pub(super) fn dash_attribute(dashes: &str) -> String {
    if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") }
}

/// The colours of a third variable.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) diverging: bool,
    low: f64,
    high: f64,
}

impl Bar {
    fn new(label: &str, diverging: bool, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|v| v.is_finite()).map(|v| v.clamp(-1e300, 1e300));
        let range =
            finite.fold(None, |r: Option<[f64; 2]>, v| Some(r.map_or([v, v], |[a, b]| [a.min(v), b.max(v)])));
        let [mut low, mut high] = range.unwrap_or([0.0, 1.0]);
        if diverging {
            high = low.abs().max(high.abs());
            low = -high;
        }
        if high - low <= low.abs().max(high.abs()) * 1e-12 || high - low < 1e-290 {
            let half = if low.abs() < 1e-280 { 0.5 } else { low.abs() * 0.1 };
            (low, high) = (low - half, high + half);
        }
        Self { label: label.to_owned(), diverging, low, high }
    }

    /// The colour of a value; nothing for a gap.
    pub(super) fn colour(&self, value: f64) -> Option<[u8; 3]> {
        let share = (value.clamp(-1e300, 1e300) - self.low) / (self.high - self.low);
        value.is_finite().then(|| ramp(share, self.diverging))
    }

    fn scale(&self) -> Scale {
        Scale::fit([self.low, self.high].into_iter(), false, Some([self.low, self.high]), 0.0)
    }

    fn width(&self) -> f64 {
        let scale = self.scale();
        let ticks: Vec<_> = (2..=5).map(|count| scale.ticks(count)).collect();
        let marks = ticks.iter().flat_map(|t| &t.marks);
        let labels = marks.map(|t| width(&t.label, TICK)).fold(0.0, f64::max);
        let titled = !self.label.is_empty() || ticks.iter().any(|t| t.exponent != 0);
        14.0 + 11.0 + 6.0 + labels + if titled { 22.0 } else { 2.0 }
    }
}

/// The label, the kind and the values of a layer that is coloured by a third variable.
fn coloured(layer: &Layer) -> Option<(&str, bool, Vec<f64>)> {
    match layer {
        Layer::Heat { label, values, diverging } => Some((label, *diverging, values.concat())),
        Layer::Points { shade, shade_label, .. } | Layer::Dumbbell { shade, shade_label, .. }
            if !shade.is_empty() =>
        {
            Some((shade_label, false, shade.clone()))
        }
        _ => None,
    }
}

/// The colour bars of a panel. Layers with one label share a bar, and its range in the whole figure, so that colours
/// can be compared between panels; a bar without a label is the panel's own.
pub(super) fn bars(panel: &Panel, all: &[Panel]) -> Vec<Bar> {
    let mut keys: Vec<(&str, bool)> = Vec::new();
    for (label, diverging, _) in panel.layers.iter().filter_map(coloured) {
        if !keys.contains(&(label, diverging)) {
            keys.push((label, diverging));
        }
    }
    let bar = |(label, diverging): (&str, bool)| {
        let panels = if label.is_empty() { std::slice::from_ref(panel) } else { all };
        let layers = panels.iter().flat_map(|p| &p.layers).filter_map(coloured);
        let values =
            layers.filter(|(l, d, _)| *l == label && *d == diverging).flat_map(|(.., values)| values);
        Bar::new(label, diverging, values)
    };
    keys.into_iter().map(bar).collect()
}

/// The bar of a label.
pub(super) fn bar<'a>(bars: &'a [Bar], label: &str, diverging: bool) -> Option<&'a Bar> {
    bars.iter().find(|b| b.label == label && b.diverging == diverging)
}

/// The room that colour bars need right of the plot.
pub(super) fn bars_width(bars: &[Bar]) -> f64 {
    bars.iter().map(Bar::width).sum()
}

/// Draws the colour bars right of a plot.
pub(super) fn draw_bars(pen: &mut Pen, bars: &[Bar], right: f64, top: f64, plot_height: f64) {
    let mut x = right;
    let height = plot_height.min(260.0);
    for bar in bars {
        let left = x + 14.0;
        let id = pen.id();
        pen.raw(&format!("<linearGradient id=\"{id}\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">"));
        for i in 0..=16 {
            let share = f64::from(i) / 16.0;
            let colour = Paint::Fixed(ramp(share, bar.diverging)).colour(super::Theme::Light);
            pen.raw(&format!("<stop offset=\"{}\" stop-color=\"{colour}\"/>", at_share(share)));
        }
        pen.raw(&format!(
            "</linearGradient><path d=\"{}\" fill=\"url(#{id})\"/>",
            rect(left, top, 11.0, height)
        ));
        let mut scale = bar.scale();
        scale.place(top + height, top);
        let ticks = scale.ticks((height / 38.0).clamp(2.0, 5.0) as usize);
        for tick in &ticks.marks {
            if let Some(y) = scale.inside(tick.value) {
                pen.line([left + 11.0, y], [left + 14.0, y], Paint::Soft, "");
                pen.text([left + 17.0, y + 3.8], TICK, Anchor::Start, Paint::Soft, "", &tick.label);
            }
        }
        let label = shorten(&with_power(&bar.label, ticks.exponent), TICK, height.max(80.0));
        let beside = x + bar.width() - 6.0;
        pen.turned([beside, top + height / 2.0], -90.0, TICK, Anchor::Middle, Paint::Ink, &label);
        x += bar.width();
    }
}

fn at_share(share: f64) -> String {
    at(share * 100.0) + "%"
}

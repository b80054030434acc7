//! Bars, side by side within a category, and error bars.

use super::super::Layer;
use super::colour::Paint;
use super::frame::Frame;
use super::pen::{Pen, polyline, rect};
use super::scale::short;
use super::series::Series;

/// Draws every layer of bars.
pub(super) fn draw(pen: &mut Pen, frame: &Frame<'_>, series: &Series<'_>) {
    let layers: Vec<_> = frame
        .panel
        .layers
        .iter()
        .filter_map(|layer| match layer {
            Layer::Bars { label, y, error } => Some((label, y, error)),
            _ => None,
        })
        .collect();
    if layers.is_empty() {
        return;
    }
    let base = frame.y.base();
    let (Some(zero), Some(one)) = (frame.x.at(0.0), frame.x.at(1.0)) else { return };
    let slot = one - zero;
    let group = slot * if layers.len() == 1 { 0.62 } else { 0.8 };
    let wide = group / layers.len().max(1) as f64;
    let gap = if wide > 8.0 { 1.5 } else { 0.0 };
    for (i, (label, y, error)) in layers.iter().enumerate() {
        let number = series.number(label);
        for (j, value) in y.iter().enumerate() {
            let (Some(end), Some(centre)) = (frame.y.at(*value), frame.x.at(j as f64)) else { continue };
            let left = centre - group / 2.0 + i as f64 * wide + gap / 2.0;
            let end = end.clamp(frame.y.to.min(frame.y.from), frame.y.to.max(frame.y.from));
            let area = [left, end.min(base), wide - gap, (end - base).abs()];
            let name = frame.panel.x.categories.get(j).map_or_else(|| j.to_string(), Clone::clone);
            let tip = format!("{label} {name}: {}", short(*value, 4));
            let d = rect(area[0], area[1], area[2], area[3]);
            pen.told(&d, Some(Paint::Series(number)), None, "", tip.trim());
            hatch(pen, number, area);
            if let Some([low, high]) = error.get(j) {
                let ends = [frame.y.at(*low), frame.y.at(*high)];
                error_bar(pen, left + (wide - gap) / 2.0, ends, Paint::Ink, (wide / 4.0).clamp(1.5, 5.0));
            }
        }
    }
    if base != frame.y.from {
        pen.line([frame.x.from, base], [frame.x.to, base], Paint::Soft, "");
    }
}

/// An error bar between two ends; an end that is a gap leaves out the bar.
pub(super) fn error_bar(pen: &mut Pen, x: f64, ends: [Option<f64>; 2], paint: Paint, cap: f64) {
    let [Some(low), Some(high)] = ends else { return };
    let d = polyline(&[[x, low], [x, high]])
        + &polyline(&[[x - cap, low], [x + cap, low]])
        + &polyline(&[[x - cap, high], [x + cap, high]]);
    pen.path(&d, None, Some(paint), " stroke-width=\"1.3\"");
}

/// Thin lines over an area that tell its series apart without colour; the first series has none.
pub(super) fn hatch(pen: &mut Pen, series: usize, [x, y, w, h]: [f64; 4]) {
    if w < 3.0 || h < 2.0 {
        return;
    }
    let (up, down, flat) = match series % 6 {
        0 => return,
        1 => (true, false, false),
        2 => (false, true, false),
        3 => (false, false, true),
        4 => (true, true, false),
        _ => (true, false, true),
    };
    let step = 6.0;
    let mut d = String::new();
    if up || down {
        // Lines u + v = k (or u - v = k) cut to the rectangle.
        let mut k = step;
        while k < w + h {
            let (u1, v1) = if k < h { (0.0, k) } else { (k - h, h) };
            let (u2, v2) = if k < w { (k, 0.0) } else { (w, k - w) };
            if up {
                d += &polyline(&[[x + u1, y + v1], [x + u2, y + v2]]);
            }
            if down {
                d += &polyline(&[[x + w - u1, y + v1], [x + w - u2, y + v2]]);
            }
            k += step;
        }
    }
    if flat {
        let mut v = step / 2.0;
        while v < h {
            d += &polyline(&[[x, y + v], [x + w, y + v]]);
            v += step;
        }
    }
    pen.path(&d, None, Some(Paint::Paper), " stroke-width=\"1\" stroke-opacity=\"0.55\"");
}

//! Grids, marks and labels of the axes.

use super::super::Layer;
use super::colour::Paint;
use super::frame::{Frame, LABEL, Marks, TICK};
use super::pen::{Anchor, Pen, polyline};

fn has(frame: &Frame<'_>, wanted: fn(&Layer) -> bool) -> bool {
    frame.panel.layers.iter().any(wanted)
}

/// Grid lines at the labelled marks of number axes, below the data.
pub(super) fn grid(pen: &mut Pen, frame: &Frame<'_>, [left, top]: [f64; 2]) {
    if has(frame, |l| matches!(l, Layer::Heat { .. })) {
        return;
    }
    let (right, bottom) = (left + frame.width, top + frame.height);
    if let Marks::Numbers(ticks) = &frame.y_marks {
        for tick in ticks.marks.iter().filter(|t| !t.label.is_empty()) {
            if let Some(y) = frame.y.inside(tick.value) {
                pen.line([left, y], [right, y], Paint::Grid, "");
            }
        }
    }
    if let Marks::Numbers(ticks) = &frame.x_marks {
        for tick in ticks.marks.iter().filter(|t| !t.label.is_empty()) {
            if let Some(x) = frame.x.inside(tick.value) {
                pen.line([x, top], [x, bottom], Paint::Grid, "");
            }
        }
    }
}

/// Axis lines, marks and labels, above the data.
pub(super) fn draw(pen: &mut Pen, frame: &Frame<'_>, [left, top]: [f64; 2]) {
    let (right, bottom) = (left + frame.width, top + frame.height);
    let heat = has(frame, |l| matches!(l, Layer::Heat { .. }));
    if !heat {
        pen.path(&polyline(&[[left, top], [left, bottom], [right, bottom]]), None, Some(Paint::Soft), "");
    }
    draw_y(pen, frame, left);
    draw_x(pen, frame, bottom);
    let middle = top + frame.height / 2.0;
    for (i, line) in frame.y_label.iter().enumerate() {
        let x = left - frame.y_label_at + 11.0 + i as f64 * 15.0;
        pen.turned([x, middle], -90.0, LABEL, Anchor::Middle, Paint::Ink, line);
    }
    // Below the names of the marks, at the lower edge of the panel's own margin.
    let first = bottom + frame.bottom - (frame.x_label.len() as f64 - 1.0) * 15.0 - 5.0;
    for (i, line) in frame.x_label.iter().enumerate() {
        let place = [left + frame.width / 2.0, first + i as f64 * 15.0];
        pen.text(place, LABEL, Anchor::Middle, Paint::Ink, "", line);
    }
}

fn draw_y(pen: &mut Pen, frame: &Frame<'_>, left: f64) {
    match &frame.y_marks {
        Marks::Numbers(ticks) => {
            for tick in &ticks.marks {
                let Some(y) = frame.y.inside(tick.value) else { continue };
                let long = if tick.label.is_empty() { 2.5 } else { 4.5 };
                pen.line([left - long, y], [left, y], Paint::Soft, "");
                pen.text([left - 7.0, y + 3.8], TICK, Anchor::End, Paint::Soft, "", &tick.label);
            }
        }
        Marks::Names { at, .. } => {
            for (position, lines) in at {
                let Some(y) = frame.y.at(*position) else { continue };
                for line in lines {
                    pen.text([left - 7.0, y + 3.8], TICK, Anchor::End, Paint::Soft, "", line);
                }
            }
        }
    }
}

fn draw_x(pen: &mut Pen, frame: &Frame<'_>, bottom: f64) {
    match &frame.x_marks {
        Marks::Numbers(ticks) => {
            for tick in &ticks.marks {
                let Some(x) = frame.x.inside(tick.value) else { continue };
                let long = if tick.label.is_empty() { 2.5 } else { 4.5 };
                pen.line([x, bottom], [x, bottom + long], Paint::Soft, "");
                pen.text([x, bottom + 17.0], TICK, Anchor::Middle, Paint::Soft, "", &tick.label);
            }
        }
        Marks::Names { at, turned } => {
            for (position, lines) in at {
                let Some(x) = frame.x.at(*position) else { continue };
                if *turned {
                    let name = lines.first().map_or("", String::as_str);
                    pen.turned([x + 4.0, bottom + 12.0], -45.0, TICK, Anchor::End, Paint::Soft, name);
                    continue;
                }
                for (i, line) in lines.iter().enumerate() {
                    let y = bottom + 17.0 + i as f64 * 13.0;
                    pen.text([x, y], TICK, Anchor::Middle, Paint::Soft, "", line);
                }
            }
        }
    }
}

//! Heat maps.

use super::colour::{Paint, on};
use super::frame::{Frame, TICK};
use super::legend::Bar;
use super::pen::{Anchor, Pen, polyline, rect};
use super::scale::{number, short};
use super::text::width;

/// Above this many cells they carry no text to point at.
const TOLD: usize = 1200;

/// Draws a matrix; small ones with their values in the cells.
pub(super) fn draw(pen: &mut Pen, frame: &Frame<'_>, values: &[Vec<f64>], bar: &Bar) {
    let (rows, columns) = (values.len(), values.first().map_or(0, Vec::len));
    if rows == 0 || columns == 0 {
        return;
    }
    let (Some(x0), Some(y0)) = (frame.x.at(-0.5), frame.y.at(-0.5)) else { return };
    let (Some(x1), Some(y1)) = (frame.x.at(0.5), frame.y.at(0.5)) else { return };
    let (wide, high) = (x1 - x0, y1 - y0);
    let words = Words::of(values);
    let finite = values.iter().flatten().filter(|v| v.is_finite());
    let most = finite.map(|v| width(&words.write(*v), TICK)).fold(0.0, f64::max);
    let written = most + 4.0 <= wide && high >= 14.0 && rows * columns <= 200;
    for (i, row) in values.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            let (x, y) = (x0 + j as f64 * wide, y0 + i as f64 * high);
            let Some(colour) = bar.colour(*value) else {
                gap(pen, [x, y, wide, high], rows * columns <= 100);
                continue;
            };
            let tip = if rows * columns > TOLD {
                String::new()
            } else {
                let name =
                    |names: &[String], k: usize| names.get(k).cloned().unwrap_or_else(|| k.to_string());
                let axes = (&frame.panel.x.categories, &frame.panel.y.categories);
                format!("{}, {}: {}", name(axes.1, i), name(axes.0, j), short(*value, 4))
            };
            // A hair wider than its cell, or the ground would shine through the seams.
            let over = if rows * columns > 400 { 0.3 } else { 0.0 };
            let edge = if over > 0.0 { "" } else { " stroke-width=\"0.6\"" };
            let outline = if over > 0.0 { None } else { Some(Paint::Paper) };
            pen.told(&rect(x, y, wide + over, high + over), Some(Paint::Fixed(colour)), outline, edge, &tip);
            if written {
                let place = [x + wide / 2.0, y + high / 2.0 + 3.9];
                pen.text(place, TICK, Anchor::Middle, Paint::Fixed(on(colour)), "", &words.write(*value));
            }
        }
    }
    let frame_line = rect(x0, y0, wide * columns as f64, high * rows as f64);
    pen.path(&frame_line, None, Some(Paint::Soft), " stroke-width=\"0.8\"");
}

/// How the values of one matrix are written: all with the same digits after the point.
enum Words {
    Fixed(usize),
    Powers,
}

impl Words {
    fn of(values: &[Vec<f64>]) -> Self {
        let finite = || values.iter().flatten().copied().filter(|v| v.is_finite());
        let largest = finite().map(f64::abs).fold(0.0, f64::max);
        if largest < 1e6 && finite().all(|v| v == libm::trunc(v)) {
            return Self::Fixed(0);
        }
        let power = libm::floor(libm::log10(largest) + 1e-9);
        match power {
            0.0..6.0 => Self::Fixed((2.0 - power).max(0.0) as usize),
            -3.0..0.0 => Self::Fixed((1.0 - power) as usize),
            _ => Self::Powers,
        }
    }

    fn write(&self, value: f64) -> String {
        match self {
            Self::Fixed(digits) => number(value, *digits),
            Self::Powers => short(value, 2),
        }
    }
}

/// A cell without a value: crossed out, in large matrices only hatched.
fn gap(pen: &mut Pen, [x, y, wide, high]: [f64; 4], crossed: bool) {
    pen.path(&rect(x, y, wide, high), Some(Paint::Grid), None, "");
    let mut cross = polyline(&[[x, y + high], [x + wide, y]]);
    if crossed {
        cross += &polyline(&[[x, y], [x + wide, y + high]]);
    }
    pen.path(&cross, None, Some(Paint::Soft), " stroke-width=\"0.6\" stroke-opacity=\"0.5\"");
}

//! Points with names, and dumbbells.

use super::bars::error_bar;
use super::colour::Paint;
use super::curves::MANY;
use super::frame::{Frame, TICK};
use super::legend::Bar;
use super::pen::{Anchor, Pen, at, marker};
use super::scale::short;
use super::text::width;

/// One layer of points, or several of dumbbells, as the drawing needs them.
pub(super) struct Cloud<'a> {
    pub(super) x: &'a [f64],
    pub(super) y: &'a [f64],
    pub(super) error: &'a [[f64; 2]],
    pub(super) names: &'a [String],
    pub(super) shade: &'a [f64],
    pub(super) bar: Option<&'a Bar>,
    pub(super) series: usize,
}

impl Cloud<'_> {
    /// The colour of a point: its series', or its shade; a shade that is a gap is soft.
    fn paint(&self, i: usize) -> Paint {
        match (self.bar, self.shade.get(i)) {
            (Some(bar), Some(value)) => bar.colour(*value).map_or(Paint::Soft, Paint::Fixed),
            _ => Paint::Series(self.series),
        }
    }

    fn places(&self, frame: &Frame<'_>) -> Vec<(usize, [f64; 2])> {
        let mut out: Vec<(usize, [f64; 2])> = self
            .x
            .iter()
            .zip(self.y)
            .enumerate()
            .filter_map(|(i, (x, y))| Some((i, [frame.x.inside(*x)?, frame.y.inside(*y)?])))
            .collect();
        if out.len() > MANY {
            // Points on the same pixel are drawn once, the last on top as without thinning.
            let pixel = |p: &[f64; 2]| p.map(|v| libm::floor(v) as i64);
            out.sort_by_key(|(i, p)| (pixel(p), *i));
            out.reverse();
            out.dedup_by_key(|(_, p)| pixel(p));
            out.sort_by_key(|(i, _)| *i);
        }
        out
    }

    pub(super) fn draw(&self, pen: &mut Pen, frame: &Frame<'_>) {
        let places = self.places(frame);
        let r = match places.len() {
            0..=60 => 4.4,
            61..=400 => 3.2,
            _ => 2.0,
        };
        let faint = if places.len() > 150 { " fill-opacity=\"0.7\"" } else { "" };
        for (i, [px, _]) in &places {
            if let Some(error) = self.error.get(*i) {
                error_bar(pen, *px, error.map(|e| frame.y.at(e)), self.paint(*i), 3.5);
            }
        }
        if self.bar.is_none() && self.names.is_empty() {
            // One path for all: small pictures.
            for chunk in places.chunks(500) {
                let d: String = chunk.iter().map(|(_, [px, py])| marker(self.series, *px, *py, r)).collect();
                let halo = if places.len() > 60 { 0.4 } else { 0.8 };
                let more = format!(" stroke-width=\"{halo}\"{faint}");
                pen.path(&d, Some(Paint::Series(self.series)), Some(Paint::Paper), &more);
            }
            return;
        }
        for (i, [px, py]) in places {
            let name = self.names.get(i).map_or("", String::as_str);
            let mut tip = name.to_owned();
            if let Some(shade) = self.shade.get(i) {
                let label = self.bar.map_or("", |b| b.label.as_str());
                tip = format!("{name} {label} {}", short(*shade, 4)).trim().to_owned();
            }
            let outline = if self.bar.is_some() { Paint::Soft } else { Paint::Paper };
            let more = format!(" stroke-width=\"0.7\"{faint}");
            pen.told(&marker(self.series, px, py, r), Some(self.paint(i)), Some(outline), &more, &tip);
        }
    }
}

/// Left, top, right, bottom.
type Box4 = [f64; 4];

fn meet(a: &Box4, b: &Box4) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Writes names beside their points where they cover neither a point nor another name; a name without room stays
/// away (it is in the data table, and shown when its point is pointed at).
pub(super) fn names(pen: &mut Pen, frame: &Frame<'_>, clouds: &[Cloud<'_>]) {
    let mut taken: Vec<Box4> = Vec::new();
    let mut wanted: Vec<([f64; 2], &str)> = Vec::new();
    for cloud in clouds {
        for (i, [x, y]) in cloud.places(frame) {
            taken.push([x - 4.0, y - 4.0, x + 4.0, y + 4.0]);
            if let Some(error) = cloud.error.get(i)
                && let [Some(a), Some(b)] = error.map(|e| frame.y.inside(e))
            {
                taken.push([x - 2.0, a.min(b), x + 2.0, a.max(b)]);
            }
            if let Some(name) = cloud.names.get(i).filter(|n| !n.is_empty()) {
                wanted.push(([x, y], name));
            }
        }
    }
    if taken.len() > 2000 {
        return;
    }
    let (top, bottom) = (frame.y.from.min(frame.y.to), frame.y.from.max(frame.y.to));
    for ([x, y], name) in wanted {
        let wide = width(name, TICK);
        let places = [
            ([x + 7.0, y + 3.8], Anchor::Start, x + 7.0),
            ([x - 7.0, y + 3.8], Anchor::End, x - 7.0 - wide),
            ([x, y - 8.0], Anchor::Middle, x - wide / 2.0),
            ([x, y + 15.0], Anchor::Middle, x - wide / 2.0),
            ([x + 5.0, y - 6.0], Anchor::Start, x + 5.0),
            ([x + 5.0, y + 13.0], Anchor::Start, x + 5.0),
            ([x - 5.0, y - 6.0], Anchor::End, x - 5.0 - wide),
            ([x - 5.0, y + 13.0], Anchor::End, x - 5.0 - wide),
        ];
        for (place, anchor, left) in places {
            let area = [left, place[1] - 9.0, left + wide, place[1] + 2.5];
            let within =
                area[0] >= frame.x.from && area[2] <= frame.x.to && area[1] >= top && area[3] <= bottom;
            if within && !taken.iter().any(|t| meet(t, &area)) {
                pen.text(place, TICK, anchor, Paint::Ink, "", name);
                taken.push(area);
                break;
            }
        }
    }
}

/// Draws one layer of dumbbells, `order` of `of`: from the hollow end to the filled one.
pub(super) fn dumbbells(pen: &mut Pen, frame: &Frame<'_>, cloud: &Cloud<'_>, order: usize, of: usize) {
    let slot = frame.height / cloud.names.len().max(1) as f64;
    let r = (slot * 0.3).clamp(1.5, 4.6) / if of > 1 { 1.3 } else { 1.0 };
    let shift = (order as f64 - (of as f64 - 1.0) / 2.0) * slot * 0.7 / of as f64;
    for (i, name) in cloud.names.iter().enumerate() {
        let Some(y) = frame.y.at(i as f64).map(|y| y + shift) else { continue };
        let value = |v: &[f64]| v.get(i).copied().unwrap_or(f64::NAN);
        let (from, to) = (value(cloud.x), value(cloud.y));
        let (start, end) = (frame.x.inside(from), frame.x.inside(to));
        let paint = cloud.paint(i);
        let shade = cloud.shade.get(i).map_or(String::new(), |s| {
            format!(", {} {}", cloud.bar.map_or("", |b| b.label.as_str()), short(*s, 4))
        });
        let tip = format!("{name}: {} to {}{shade}", short(from, 4), short(to, 4));
        // A shade may be as dark or as light as the ground: a soft edge keeps it visible.
        let shaded = cloud.bar.is_some();
        let wide = (r * 0.62).clamp(1.0, 2.6);
        if let (Some(a), Some(b)) = (start, end) {
            if shaded {
                pen.line([a, y], [b, y], Paint::Soft, &format!(" stroke-width=\"{}\"", at(wide + 1.2)));
            }
            pen.line([a, y], [b, y], paint, &format!(" stroke-width=\"{}\"", at(wide)));
        }
        let outline = if shaded { Paint::Soft } else { paint };
        if let Some(x) = start {
            let d = marker(cloud.series, x, y, r * 0.82);
            pen.told(&d, Some(Paint::Paper), Some(outline), " stroke-width=\"1.6\"", &tip);
        }
        if let Some(x) = end {
            let d = marker(cloud.series, x, y, r * 1.08);
            pen.told(&d, Some(paint), Some(outline), " stroke-width=\"0.7\"", &tip);
        }
    }
}

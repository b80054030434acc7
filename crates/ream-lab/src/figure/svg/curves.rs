//! Lines, bands and rules.

use super::colour::{Paint, dashes, rule_dashes};
use super::frame::Frame;
use super::legend::dash_attribute;
use super::pen::{Pen, marker, polyline};
use super::series::FEW;

/// Lines of more points are thinned.
pub(super) const MANY: usize = 4000;

/// The pieces between gaps, as positions.
fn pieces(frame: &Frame<'_>, x: &[f64], y: &[f64]) -> Vec<Vec<[f64; 2]>> {
    let mut pieces = vec![Vec::new()];
    for (x, y) in x.iter().zip(y) {
        match (frame.x.at(*x), frame.y.at(*y), pieces.last_mut()) {
            (Some(px), Some(py), Some(piece)) => piece.push([px, py]),
            (_, _, Some(piece)) if piece.is_empty() => {}
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|p| !p.is_empty());
    if x.len() > MANY { pieces.iter().map(|p| thin(p)).collect() } else { pieces }
}

/// Keeps the first, lowest, highest and last point of every run within one pixel column, in their order: the drawn
/// line covers the same pixels.
pub(super) fn thin(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut out = Vec::new();
    let mut start = 0;
    while start < points.len() {
        let column = libm::floor(points[start][0]);
        let run = points[start..].iter().take_while(|p| libm::floor(p[0]) == column).count();
        let end = start + run.max(1);
        let low = (start..end).fold(start, |a, i| if points[i][1] < points[a][1] { i } else { a });
        let high = (start..end).fold(start, |a, i| if points[i][1] > points[a][1] { i } else { a });
        let mut keep = [start, low, high, end - 1];
        keep.sort_unstable();
        for (i, &k) in keep.iter().enumerate() {
            if i == 0 || keep[i - 1] != k {
                out.push(points[k]);
            }
        }
        start = end;
    }
    out
}

/// A line, with markers along it if they are needed to tell it from others.
pub(super) fn line(
    pen: &mut Pen,
    frame: &Frame<'_>,
    x: &[f64],
    y: &[f64],
    series: usize,
    dashed: bool,
    marked: bool,
) {
    let pieces = pieces(frame, x, y);
    let paint = Paint::Series(series);
    let dash = dash_attribute(dashes(series, dashed));
    let few = x.len() <= FEW;
    for piece in &pieces {
        if let [[px, py]] = piece.as_slice() {
            pen.path(&marker(0, *px, *py, 2.0), Some(paint), None, "");
            continue;
        }
        let more = format!(" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dash}");
        pen.path(&polyline(piece), None, Some(paint), &more);
    }
    if !marked && !few {
        return;
    }
    let d: String = if few {
        pieces.iter().flatten().map(|[px, py]| marker(series, *px, *py, 3.2)).collect()
    } else {
        spaced(&pieces, series).iter().map(|[px, py]| marker(series, *px, *py, 3.6)).collect()
    };
    pen.path(&d, Some(paint), Some(Paint::Paper), " stroke-width=\"0.9\"");
}

/// Points about every ninety pixels of the way, beginning elsewhere for every series so that markers do not meet.
fn spaced(pieces: &[Vec<[f64; 2]>], series: usize) -> Vec<[f64; 2]> {
    let mut out = Vec::new();
    for piece in pieces {
        let Some(first) = piece.first() else { continue };
        let mut next = first[0] + 14.0 + (series * 23 % 90) as f64;
        for point in piece {
            if point[0] >= next {
                out.push(*point);
                next = point[0] + 90.0;
            }
        }
    }
    out
}

/// A band between two curves, broken at gaps.
pub(super) fn band(pen: &mut Pen, frame: &Frame<'_>, x: &[f64], low: &[f64], high: &[f64], series: usize) {
    let whole = |(l, h): (&f64, &f64)| frame.y.at(*l).is_some() && frame.y.at(*h).is_some();
    let kept: Vec<bool> = low.iter().zip(high).map(whole).collect();
    let cut = |values: &[f64]| -> Vec<f64> {
        values.iter().zip(&kept).map(|(v, keep)| if *keep { *v } else { f64::NAN }).collect()
    };
    let (lower, upper) = (pieces(frame, x, &cut(low)), pieces(frame, x, &cut(high)));
    let paint = Paint::Series(series);
    for (lower, upper) in lower.iter().zip(&upper) {
        if lower.len() == 1 && upper.len() == 1 {
            pen.line(lower[0], upper[0], paint, " stroke-width=\"2\" stroke-opacity=\"0.4\"");
            continue;
        }
        let around: Vec<[f64; 2]> = upper.iter().chain(lower.iter().rev()).copied().collect();
        pen.path(&(polyline(&around) + "Z"), Some(paint), None, " fill-opacity=\"0.2\"");
        let edges = polyline(upper) + &polyline(lower);
        pen.path(&edges, None, Some(paint), " stroke-width=\"0.8\" stroke-opacity=\"0.45\"");
    }
}

/// A straight line across the plot.
pub(super) fn rule(pen: &mut Pen, frame: &Frame<'_>, value: f64, vertical: bool, order: usize) {
    let more = format!(" stroke-width=\"1.3\"{}", dash_attribute(rule_dashes(order)));
    let ends = if vertical {
        frame.x.inside(value).map(|x| [[x, frame.y.from], [x, frame.y.to]])
    } else {
        frame.y.inside(value).map(|y| [[frame.x.from, y], [frame.x.to, y]])
    };
    if let Some([a, b]) = ends {
        pen.line(a, b, Paint::Ink, &more);
    }
}

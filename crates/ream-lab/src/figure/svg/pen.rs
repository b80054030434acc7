//! Writes the elements of a picture.

use std::fmt::Write;

use super::Theme;
use super::colour::Paint;
use super::text::escape;

/// What is drawn so far.
pub(super) struct Pen {
    out: String,
    theme: Theme,
    /// The class of the picture and the beginning of every id in it.
    pub(super) prefix: String,
    ids: usize,
}

/// The place of a text relative to its position.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Shapes of points: as colours, they tell series apart.
const MARKERS: usize = 7;

/// A coordinate with at most two digits after the point.
pub(super) fn at(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e6, 1e6) } else { 0.0 };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A path through points.
pub(super) fn polyline(points: &[[f64; 2]]) -> String {
    let mut out = String::with_capacity(points.len() * 12);
    for (i, [x, y]) in points.iter().enumerate() {
        out.push(if i == 0 { 'M' } else { 'L' });
        let _ = write!(out, "{} {}", at(*x), at(*y));
    }
    out
}

/// The path of a marker around a point.
pub(super) fn marker(shape: usize, x: f64, y: f64, r: f64) -> String {
    let around = |points: &[[f64; 2]]| {
        polyline(&points.iter().map(|[a, b]| [x + a * r, y + b * r]).collect::<Vec<_>>()) + "Z"
    };
    match shape % MARKERS {
        0 => format!(
            "M{} {}a{r1} {r1} 0 1 0 {d} 0a{r1} {r1} 0 1 0 -{d} 0Z",
            at(x - r),
            at(y),
            r1 = at(r),
            d = at(2.0 * r)
        ),
        1 => around(&[[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]]),
        2 => around(&[[0.0, -1.2], [1.1, 0.8], [-1.1, 0.8]]),
        3 => around(&[[0.0, -1.25], [1.25, 0.0], [0.0, 1.25], [-1.25, 0.0]]),
        4 => around(&[[0.0, 1.2], [1.1, -0.8], [-1.1, -0.8]]),
        5 => {
            let (a, b) = (0.4, 1.2);
            around(&[
                [-a, -b],
                [a, -b],
                [a, -a],
                [b, -a],
                [b, a],
                [a, a],
                [a, b],
                [-a, b],
                [-a, a],
                [-b, a],
                [-b, -a],
                [-a, -a],
            ])
        }
        _ => {
            let (a, b) = (0.57, 1.13);
            around(&[
                [0.0, -a],
                [a, -b],
                [b, -a],
                [a, 0.0],
                [b, a],
                [a, b],
                [0.0, a],
                [-a, b],
                [-b, a],
                [-a, 0.0],
                [-b, -a],
                [-a, -b],
            ])
        }
    }
}

impl Pen {
    pub(super) fn new(theme: Theme, prefix: String) -> Self {
        Self { out: String::new(), theme, prefix, ids: 0 }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// An id that no other element of the page has.
    pub(super) fn id(&mut self) -> String {
        self.ids += 1;
        format!("{}-{}", self.prefix, self.ids)
    }

    /// The attributes that paint the inside, the outline, or both.
    pub(super) fn paint(&self, fill: Option<Paint>, stroke: Option<Paint>) -> String {
        let colour = |p: Option<Paint>| p.map_or_else(|| "none".to_owned(), |p| p.colour(self.theme));
        let mut out = format!(" fill=\"{}\"", colour(fill));
        if stroke.is_some() {
            let _ = write!(out, " stroke=\"{}\"", colour(stroke));
        }
        if matches!(self.theme, Theme::Auto | Theme::Page) {
            let class = |p: Option<Paint>, kind| Some(format!("{kind}-{}", p?.name()?));
            let classes: Vec<String> = [class(fill, "f"), class(stroke, "l")].into_iter().flatten().collect();
            if !classes.is_empty() {
                let _ = write!(out, " class=\"{}\"", classes.join(" "));
            }
        }
        out
    }

    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], paint: Paint, more: &str) {
        let paint = self.paint(None, Some(paint));
        let (x1, y1, x2, y2) = (at(x1), at(y1), at(x2), at(y2));
        let _ = write!(self.out, "<path d=\"M{x1} {y1}L{x2} {y2}\"{paint}{more}/>");
    }

    pub(super) fn path(&mut self, d: &str, fill: Option<Paint>, stroke: Option<Paint>, more: &str) {
        if !d.is_empty() {
            let paint = self.paint(fill, stroke);
            let _ = write!(self.out, "<path d=\"{d}\"{paint}{more}/>");
        }
    }

    /// A path that says what it is when pointed at.
    pub(super) fn told(
        &mut self,
        d: &str,
        fill: Option<Paint>,
        stroke: Option<Paint>,
        more: &str,
        tip: &str,
    ) {
        if tip.is_empty() {
            return self.path(d, fill, stroke, more);
        }
        let paint = self.paint(fill, stroke);
        let _ = write!(self.out, "<path d=\"{d}\"{paint}{more}><title>{}</title></path>", escape(tip));
    }

    pub(super) fn text(
        &mut self,
        [x, y]: [f64; 2],
        size: f64,
        anchor: Anchor,
        paint: Paint,
        more: &str,
        text: &str,
    ) {
        if text.is_empty() {
            return;
        }
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y, size, paint) = (at(x), at(y), at(size), self.paint(Some(paint), None));
        let text = escape(text);
        let _ = write!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{paint}{more}>{text}</text>"
        );
    }

    /// A text turned by degrees about its position.
    pub(super) fn turned(
        &mut self,
        at_: [f64; 2],
        angle: f64,
        size: f64,
        anchor: Anchor,
        paint: Paint,
        text: &str,
    ) {
        let turn = format!(" transform=\"rotate({} {} {})\"", at(angle), at(at_[0]), at(at_[1]));
        self.text(at_, size, anchor, paint, &turn, text);
    }
}

/// The path of a rectangle.
pub(super) fn rect(x: f64, y: f64, width: f64, height: f64) -> String {
    format!("M{} {}h{}v{}h{}Z", at(x), at(y), at(width), at(height), at(-width))
}

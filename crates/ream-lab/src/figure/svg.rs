//! Draws figures as SVG. The same figure, theme and width give the same bytes.

mod axes;
mod bars;
mod colour;
mod curves;
mod extent;
mod frame;
mod heat;
mod images;
mod legend;
mod pen;
mod points;
mod scale;
mod series;
mod text;

use super::{Figure, FigureError, Layer};
use colour::Paint;
use frame::{BOLD, Frame, Room, TITLE};
use pen::{Anchor, Pen, at, rect};
use points::Cloud;
use series::{Key, Series, keys, marked};
use text::{escape, wrap};

#[cfg(test)]
pub(super) use text::width as text_width;

/// Colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Follows the reader: light, or dark where the reader prefers it on a screen.
    Auto,
    /// The same, with its colours in [`page_style`] instead of a style sheet of its own: for pages with many figures, and
    /// for those that allow no style but their own.
    Page,
    /// Light.
    Light,
    /// Dark.
    Dark,
    /// Black on white.
    Print,
}

/// Space around the picture and between panels.
const EDGE: f64 = 12.0;
const BETWEEN: f64 = 26.0;
const HEADING: f64 = 15.0;

/// The class of figures whose colours the page brings.
const PAGE_CLASS: &str = "ream-figure";

/// The style sheet of a page that holds figures of [`Theme::Page`].
#[must_use]
pub fn page_style() -> String {
    colour::style(PAGE_CLASS)
}

/// Draws a figure `width` pixels wide (between 200 and 4000), as high as it needs to be.
///
/// The picture asks nothing of the network and holds no script; its title and description are there for readers who
/// do not see it. Several pictures may stand in one page: their ids and styles do not meet.
///
/// # Errors
/// The figure is inconsistent: see [`Figure::check`].
pub fn render_svg(figure: &Figure, theme: Theme, width: f64) -> Result<String, FigureError> {
    figure.check()?;
    let width = if width.is_finite() { width.clamp(200.0, 4000.0) } else { 760.0 };
    let series = Series::of(figure);
    let mut pen = Pen::new(theme, prefix(figure, theme, width));
    let inner = width - 2.0 * EDGE;

    let heading = wrap(&figure.title, HEADING * BOLD, inner, 4);
    let mut y = EDGE + heading.len() as f64 * 19.0 + if heading.is_empty() { 0.0 } else { 5.0 };
    for (i, line) in heading.iter().enumerate() {
        let place = [EDGE, EDGE + 14.0 + i as f64 * 19.0];
        pen.text(place, HEADING, Anchor::Start, Paint::Ink, " font-weight=\"600\"", line);
    }
    let shared = shared_legend(figure, &series);
    if let Some(keys) = &shared {
        legend::draw(&mut pen, keys, [EDGE, y], inner);
        y += legend::height(keys, inner) + 4.0;
    }

    let columns = columns(figure, inner);
    let cell = (inner - (columns as f64 - 1.0) * BETWEEN) / columns as f64;
    let mut frames = frames(figure, &series, columns, cell, shared.is_some());
    let any = !frames.is_empty();
    for row in frames.chunks_mut(columns) {
        let top = row.iter().map(|f| f.top).fold(0.0, f64::max);
        let common = row.iter().filter(|f| !f.own_height).map(|f| f.height).fold(0.0, f64::max);
        let mut end = y;
        for (i, frame) in row.iter_mut().enumerate() {
            let left = EDGE + i as f64 * (cell + BETWEEN);
            frame.height = if frame.own_height { frame.height } else { common };
            draw_panel(&mut pen, frame, &series, [left, y, cell], top)?;
            end = end.max(y + top + frame.height + frame.bottom);
        }
        y = end + BETWEEN * 0.7;
    }
    let height = (y - if any { BETWEEN * 0.7 } else { 0.0 } + EDGE).max(40.0);
    Ok(document(figure, theme, pen, width, height))
}

/// How many panels stand in a row: as many as asked for, if each has a useful width.
fn columns(figure: &Figure, inner: f64) -> usize {
    let fit = ((inner + BETWEEN) / (180.0 + BETWEEN)).max(1.0) as usize;
    figure.columns.max(1).min(figure.panels.len().max(1)).min(fit)
}

/// Measures every panel, then once more with the margins that its column shares, so that plots line up.
fn frames<'a>(
    figure: &'a Figure,
    series: &Series<'_>,
    columns: usize,
    cell: f64,
    shared: bool,
) -> Vec<Frame<'a>> {
    let alone = figure.panels.len() == 1;
    let room = |title: &str| Room {
        cell,
        no_legend: shared,
        no_title: alone && title == figure.title,
        ..Room::default()
    };
    let first: Vec<Frame<'_>> =
        figure.panels.iter().map(|p| Frame::measure(p, series, room(&p.title))).collect();
    let most = |column: usize, of: fn(&Frame<'_>) -> f64| {
        first.iter().skip(column).step_by(columns).map(of).fold(0.0, f64::max)
    };
    figure
        .panels
        .iter()
        .enumerate()
        .map(|(i, panel)| {
            let (left, right) = (most(i % columns, |f| f.left), most(i % columns, |f| f.right));
            Frame::measure(panel, series, Room { left, right, ..room(&panel.title) })
        })
        .collect()
}

/// The legend of the whole figure, if several panels have one and it is the same.
fn shared_legend(figure: &Figure, series: &Series<'_>) -> Option<Vec<Key>> {
    let mut all = figure.panels.iter().map(|p| keys(p, series)).filter(|k| !k.is_empty());
    let first = all.next()?;
    let rest: Vec<_> = all.collect();
    (!rest.is_empty() && rest.iter().all(|k| *k == first)).then_some(first)
}

/// Draws a panel into a cell `[left, top, width]`; `above` is the height of what stands above the plots of its row.
fn draw_panel(
    pen: &mut Pen,
    frame: &mut Frame<'_>,
    series: &Series<'_>,
    [left, top, cell]: [f64; 3],
    above: f64,
) -> Result<(), FigureError> {
    for (i, line) in frame.title.iter().enumerate() {
        let place = [left, top + 12.0 + i as f64 * 17.0];
        pen.text(place, TITLE, Anchor::Start, Paint::Ink, " font-weight=\"600\"", line);
    }
    let below = top + frame.title.len() as f64 * 17.0;
    legend::draw(pen, &frame.keys, [left, below], cell);
    let plot = [left + frame.left, top + above];
    if let Some(Layer::Images { .. }) = frame.panel.layers.first() {
        return images::draw(pen, frame.panel, [left, top + above], cell);
    }
    frame.x.place(plot[0], plot[0] + frame.width);
    if extent::rows(frame.panel).is_some() {
        frame.y.place(plot[1], plot[1] + frame.height);
    } else {
        frame.y.place(plot[1] + frame.height, plot[1]);
    }
    axes::grid(pen, frame, plot);
    // Half a line width of grace, or lines along the edge of the plot would be cut in half.
    let clip = pen.id();
    let area = rect(plot[0] - 2.0, plot[1] - 2.0, frame.width + 4.0, frame.height + 4.0);
    pen.raw(&format!("<clipPath id=\"{clip}\"><path d=\"{area}\"/></clipPath>"));
    draw_areas(pen, frame, series, &clip);
    axes::draw(pen, frame, plot);
    draw_marks(pen, frame, series);
    if extent::is_empty(frame.panel) {
        let middle = [plot[0] + frame.width / 2.0, plot[1] + frame.height / 2.0];
        pen.text(middle, TITLE, Anchor::Middle, Paint::Soft, "", "no data");
    }
    legend::draw_bars(pen, &frame.bars, plot[0] + frame.width, plot[1], frame.height);
    Ok(())
}

/// What is cut at the edge of the plot: heat maps, bars, bands, rules, lines, from back to front.
fn draw_areas(pen: &mut Pen, frame: &Frame<'_>, series: &Series<'_>, clip: &str) {
    pen.raw(&format!("<g clip-path=\"url(#{clip})\">"));
    let layers = &frame.panel.layers;
    for layer in layers {
        match layer {
            Layer::Heat { label, values, diverging } => {
                if let Some(bar) = legend::bar(&frame.bars, label, *diverging) {
                    heat::draw(pen, frame, values, bar);
                }
            }
            Layer::Band { label, x, low, high } => {
                curves::band(pen, frame, x, low, high, series.number(label));
            }
            _ => {}
        }
    }
    bars::draw(pen, frame, series);
    let rules = layers.iter().filter_map(|layer| match layer {
        Layer::Rule { value, vertical, .. } => Some((*value, *vertical)),
        _ => None,
    });
    for (order, (value, vertical)) in rules.enumerate() {
        curves::rule(pen, frame, value, vertical, order);
    }
    let marked = marked(frame.panel);
    for layer in layers {
        if let Layer::Line { label, x, y, dashed } = layer {
            curves::line(pen, frame, x, y, series.number(label), *dashed, marked);
        }
    }
    pen.raw("</g>");
}

/// What stands whole or not at all: points, dumbbells, names.
fn draw_marks(pen: &mut Pen, frame: &Frame<'_>, series: &Series<'_>) {
    let mut clouds = Vec::new();
    let of = frame.panel.layers.iter().filter(|l| matches!(l, Layer::Dumbbell { .. })).count();
    let mut order = 0;
    for layer in &frame.panel.layers {
        match layer {
            Layer::Points { label, x, y, error, names, shade, shade_label } => {
                let bar = legend::bar(&frame.bars, shade_label, false).filter(|_| !shade.is_empty());
                let cloud = Cloud { x, y, error, names, shade, bar, series: series.number(label) };
                cloud.draw(pen, frame);
                clouds.push(cloud);
            }
            Layer::Dumbbell { names, from, to, shade, shade_label, .. } => {
                let bar = legend::bar(&frame.bars, shade_label, false).filter(|_| !shade.is_empty());
                let cloud = Cloud { x: from, y: to, error: &[], names, shade, bar, series: order };
                points::dumbbells(pen, frame, &cloud, order, of);
                order += 1;
            }
            _ => {}
        }
    }
    points::names(pen, frame, &clouds);
}

/// The class of a picture and the beginning of its ids: a hash (FNV-1a) of what is drawn and how.
fn prefix(figure: &Figure, theme: Theme, width: f64) -> String {
    let bytes = serde_json::to_string(figure).unwrap_or_default() + &format!("{theme:?}{width}");
    let hash = bytes
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("fig{:010x}", hash >> 24)
}

fn document(figure: &Figure, theme: Theme, pen: Pen, width: f64, height: f64) -> String {
    let prefix = pen.prefix.clone();
    let style = if theme == Theme::Auto {
        format!("<style>{}</style>", colour::style(&prefix))
    } else {
        String::new()
    };
    let class = if theme == Theme::Page { PAGE_CLASS } else { &prefix };
    let ground = pen.paint(Some(Paint::Paper), None);
    let (w, h) = (at(width), at(height.ceil()));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-labelledby=\"{prefix}-t {prefix}-d\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif\"><title id=\"{prefix}-t\">{}</title><desc id=\"{prefix}-d\">{}</desc>{style}<path d=\"{}\"{ground}/>{}</svg>\n",
        escape(&figure.title),
        escape(&figure.description),
        rect(0.0, 0.0, width, height.ceil()),
        pen.finish()
    )
}

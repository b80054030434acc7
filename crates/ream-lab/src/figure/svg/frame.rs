//! How much room a panel's parts need.

use super::super::{Layer, Panel};
use super::extent::{columns, row_names, rows, x_scale, y_scale};
use super::images;
use super::legend::{self, Bar};
use super::scale::{Scale, Ticks, power_of_ten};
use super::series::{Key, Series, keys};
use super::text::{shorten, width, wrap};

/// Font sizes.
pub(super) const TICK: f64 = 11.0;
pub(super) const LABEL: f64 = 12.0;
pub(super) const TITLE: f64 = 13.0;
/// How much wider bold texts are.
pub(super) const BOLD: f64 = 1.15;

/// The marks of one axis.
pub(super) enum Marks {
    Numbers(Ticks),
    /// Positions with the lines of their names; turned when crowded.
    Names {
        at: Vec<(f64, Vec<String>)>,
        turned: bool,
    },
}

/// A panel with the sizes of everything around its plot.
pub(super) struct Frame<'a> {
    pub(super) panel: &'a Panel,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) x_marks: Marks,
    pub(super) y_marks: Marks,
    pub(super) x_label: Vec<String>,
    pub(super) y_label: Vec<String>,
    /// How far left of the plot the label of the vertical axis begins.
    pub(super) y_label_at: f64,
    pub(super) title: Vec<String>,
    pub(super) keys: Vec<Key>,
    pub(super) bars: Vec<Bar>,
    /// Margins around the plot.
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    /// The plot.
    pub(super) width: f64,
    pub(super) height: f64,
    /// The height is the panel's own, not that of its row.
    pub(super) own_height: bool,
}

/// What the neighbours of a panel ask of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) cell: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) no_legend: bool,
    pub(super) no_title: bool,
}

impl<'a> Frame<'a> {
    pub(super) fn measure(panel: &'a Panel, series: &Series<'_>, room: Room) -> Self {
        let keys = if room.no_legend { Vec::new() } else { keys(panel, series) };
        let title = if room.no_title { Vec::new() } else { wrap(&panel.title, TITLE * BOLD, room.cell, 3) };
        let top = title.len() as f64 * 17.0 + legend::height(&keys, room.cell) + 8.0;
        let mut frame = Self {
            panel,
            x: x_scale(panel),
            y: y_scale(panel),
            x_marks: Marks::Numbers(Ticks::default()),
            y_marks: Marks::Numbers(Ticks::default()),
            x_label: Vec::new(),
            y_label: Vec::new(),
            y_label_at: 0.0,
            title,
            keys,
            bars: legend::bars(panel, series.panels),
            left: 0.0,
            right: 0.0,
            top,
            bottom: 0.0,
            width: room.cell,
            height: 0.0,
            own_height: true,
        };
        if let Some(Layer::Images { .. }) = panel.layers.first() {
            frame.height = images::height(panel, room.cell);
        } else {
            frame.measure_axes(room);
        }
        frame
    }

    fn measure_axes(&mut self, room: Room) {
        let panel = self.panel;
        let heat = panel.layers.iter().any(|l| matches!(l, Layer::Heat { .. }));
        self.own_height = heat || rows(panel).is_some();
        self.height = match rows(panel) {
            Some(n) if !heat => n as f64 * if n <= 60 { 17.0 } else { 13.0 } + 8.0,
            _ => (room.cell * 0.56).clamp(170.0, 330.0),
        };
        self.height = self.height.clamp(60.0, 6000.0);
        self.measure_y(room);
        self.right = room.right.max(14.0).max(legend::bars_width(&self.bars));
        self.width = (room.cell - self.left - self.right).max(30.0);
        self.measure_x(room);
        if heat {
            self.shape_heat();
            self.measure_y(room);
            self.measure_x(room);
        }
        let exponent = match &self.x_marks {
            Marks::Numbers(ticks) => ticks.exponent,
            Marks::Names { .. } => 0,
        };
        self.x_label = wrap(&with_power(&panel.x.label, exponent), LABEL, self.width.max(90.0), 3);
        self.bottom += self.x_label.len() as f64 * 15.0 + if self.x_label.is_empty() { 0.0 } else { 5.0 };
    }

    fn measure_y(&mut self, room: Room) {
        let panel = self.panel;
        let mut exponent = 0;
        let labels: f64;
        if let Some(count) = rows(panel) {
            let most = room.cell * 0.4;
            let every = thinning(count, self.height / 12.5);
            let at: Vec<_> = positions(row_names(panel), count, every)
                .into_iter()
                .map(|(p, name)| (p, vec![shorten(&name, TICK, most)]))
                .collect();
            labels = at.iter().flat_map(|(_, l)| l).map(|l| width(l, TICK)).fold(0.0, f64::max);
            self.y_marks = Marks::Names { at, turned: false };
        } else {
            let ticks = self.y.ticks((self.height / 48.0).clamp(2.0, 8.0) as usize);
            labels = ticks.marks.iter().map(|t| width(&t.label, TICK)).fold(0.0, f64::max);
            exponent = ticks.exponent;
            self.y_marks = Marks::Numbers(ticks);
        }
        self.y_label = wrap(&with_power(&panel.y.label, exponent), LABEL, self.height.max(90.0), 2);
        self.y_label_at = labels + 9.0 + self.y_label.len() as f64 * 15.0 + 3.0;
        self.left = self.y_label_at.max(room.left);
    }

    /// Numbers, named positions flat, in two lines, or turned: whichever first has room.
    fn measure_x(&mut self, room: Room) {
        let panel = self.panel;
        let Some(count) = columns(panel) else {
            let ticks = self.number_marks();
            let half = |t: Option<&super::scale::Tick>| t.map_or(0.0, |t| width(&t.label, TICK) / 2.0);
            let shown = || ticks.marks.iter().filter(|t| !t.label.is_empty());
            let right = half(shown().next_back()) + 2.0;
            let left = half(shown().next()) + 2.0;
            if right > self.right || left > self.left {
                (self.right, self.left) = (self.right.max(right), self.left.max(left));
                self.width = (room.cell - self.left - self.right).max(30.0);
            }
            self.x_marks = Marks::Numbers(ticks);
            self.bottom = 22.0;
            return;
        };
        let slot = self.width / count as f64;
        let all = positions(&panel.x.categories, count, 1);
        let widest = all.iter().map(|(_, n)| width(n, TICK)).fold(0.0, f64::max);
        let numbered = panel.x.categories.is_empty();
        if widest <= slot - 6.0 || numbered {
            let every = thinning(count, self.width / (widest + 8.0));
            let at = positions(&panel.x.categories, count, if numbered { every } else { 1 });
            self.x_marks =
                Marks::Names { at: at.into_iter().map(|(p, n)| (p, vec![n])).collect(), turned: false };
            self.bottom = 22.0;
            return;
        }
        let wrapped: Vec<(f64, Vec<String>)> =
            all.iter().map(|(p, n)| (*p, wrap(n, TICK, slot - 6.0, 3))).collect();
        if wrapped.iter().zip(&all).all(|((_, lines), (_, name))| lines.join(" ") == *name) {
            let most = wrapped.iter().map(|(_, l)| l.len()).max().unwrap_or(1);
            self.bottom = 9.0 + most as f64 * 13.0;
            self.x_marks = Marks::Names { at: wrapped, turned: false };
            return;
        }
        let at: Vec<(f64, Vec<String>)> =
            positions(&panel.x.categories, count, thinning(count, self.width / 14.0))
                .into_iter()
                .map(|(p, n)| (p, vec![shorten(&n, TICK, 150.0)]))
                .collect();
        let widths = |(_, l): &(f64, Vec<String>)| l.first().map_or(0.0, |l| width(l, TICK));
        let longest = at.iter().map(widths).fold(0.0, f64::max);
        // A name that begins left of the picture asks for a wider margin.
        let over = at.iter().map(|n| widths(n) * 0.75 - (n.0 + 0.5) * slot + 6.0).fold(0.0, f64::max);
        if over > self.left {
            self.left = over.min(room.cell * 0.4);
            self.width = (room.cell - self.left - self.right).max(30.0);
        }
        self.bottom = longest * 0.71 + 20.0;
        self.x_marks = Marks::Names { at, turned: true };
    }

    /// As many numbers as stand beside each other without touching.
    fn number_marks(&self) -> Ticks {
        let mut scale = self.x.clone();
        scale.place(0.0, self.width);
        let mut count = (self.width / 75.0).clamp(2.0, 9.0) as usize;
        loop {
            let ticks = scale.ticks(count);
            let mut end = f64::NEG_INFINITY;
            let mut touch = false;
            for tick in ticks.marks.iter().filter(|t| !t.label.is_empty()) {
                let half = width(&tick.label, TICK) / 2.0;
                let place = scale.at(tick.value).unwrap_or(0.0);
                touch |= place - half < end + 6.0;
                end = place + half;
            }
            if !touch || count <= 1 {
                return if touch { drop_touching(ticks, &scale) } else { ticks };
            }
            count -= 1;
        }
    }

    /// Cells between flat and tall, as near to squares as the room allows.
    fn shape_heat(&mut self) {
        let (Some(rows), Some(columns)) = (rows(self.panel), columns(self.panel)) else { return };
        let (rows, columns) = (rows.max(1) as f64, columns.max(1) as f64);
        self.height = (self.width * rows / columns).clamp(90.0, 380.0);
        let widest = (self.height / rows * columns * 1.6).max(150.0);
        self.width = self.width.min(widest);
    }
}

/// Keeps the labels of a number axis that do not touch the one before.
fn drop_touching(mut ticks: Ticks, scale: &Scale) -> Ticks {
    let mut end = f64::NEG_INFINITY;
    for tick in &mut ticks.marks {
        let half = width(&tick.label, TICK) / 2.0;
        let place = scale.at(tick.value).unwrap_or(0.0);
        if !tick.label.is_empty() && place - half < end + 6.0 {
            tick.label.clear();
        } else if !tick.label.is_empty() {
            end = place + half;
        }
    }
    ticks
}

/// The label of an axis with the power of ten that its numbers leave out.
pub(super) fn with_power(label: &str, exponent: i32) -> String {
    match (exponent, label.is_empty()) {
        (0, _) => label.to_owned(),
        (_, true) => format!("×{}", power_of_ten(exponent)),
        (_, false) => format!("{label} (×{})", power_of_ten(exponent)),
    }
}

/// Every how many-th position is named so that at most `most` names are: 1, 2, 5, 10, ...
fn thinning(count: usize, most: f64) -> usize {
    let mut every = 1;
    while count as f64 / every as f64 > most.max(1.0) && every < count {
        let lead = every.to_string().starts_with('2');
        every = if lead { every / 2 * 5 } else { every * 2 };
    }
    every
}

/// Every `every`-th position with its name, or its number where it has none.
fn positions(names: &[String], count: usize, every: usize) -> Vec<(f64, String)> {
    (0..count)
        .step_by(every.max(1))
        .map(|i| {
            let name =
                if names.is_empty() { i.to_string() } else { names.get(i).cloned().unwrap_or_default() };
            (i as f64, name)
        })
        .collect()
}

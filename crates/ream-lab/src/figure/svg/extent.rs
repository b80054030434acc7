//! What values a panel has to make room for.

use super::super::{Layer, Panel};
use super::scale::Scale;

/// How many named positions the horizontal axis has; nothing if it is one of numbers.
pub(super) fn columns(panel: &Panel) -> Option<usize> {
    let counts = panel.layers.iter().filter_map(|layer| match layer {
        Layer::Bars { y, .. } => Some(y.len()),
        Layer::Heat { values, .. } => values.first().map(Vec::len),
        _ => None,
    });
    let named = Some(panel.x.categories.len()).filter(|n| *n > 0 && !panel.x.log);
    counts.chain(named).max()
}

/// How many named positions the vertical axis has, top to bottom; nothing if it is one of numbers.
pub(super) fn rows(panel: &Panel) -> Option<usize> {
    let counts = panel.layers.iter().filter_map(|layer| match layer {
        Layer::Heat { values, .. } => Some(values.len()),
        Layer::Dumbbell { names, .. } => Some(names.len()),
        _ => None,
    });
    let named = Some(panel.y.categories.len()).filter(|n| *n > 0 && !panel.y.log);
    counts.chain(named).max()
}

/// The names of the vertical positions: the axis's own, else those of a dumbbell.
pub(super) fn row_names(panel: &Panel) -> &[String] {
    if !panel.y.categories.is_empty() {
        return &panel.y.categories;
    }
    let names = panel.layers.iter().find_map(|layer| match layer {
        Layer::Dumbbell { names, .. } => Some(names.as_slice()),
        _ => None,
    });
    names.unwrap_or(&[])
}

/// The horizontal scale.
pub(super) fn x_scale(panel: &Panel) -> Scale {
    if let Some(count) = columns(panel) {
        return Scale::categories(count);
    }
    let mut values: Vec<f64> = Vec::new();
    for layer in &panel.layers {
        match layer {
            Layer::Line { x, y, .. } => {
                values.extend(x.iter().zip(y).filter(|(_, y)| y.is_finite()).map(|(x, _)| x));
            }
            Layer::Points { x, y, .. } => {
                values.extend(x.iter().zip(y).filter(|(_, y)| y.is_finite()).map(|(x, _)| x));
            }
            Layer::Band { x, .. } => values.extend(x),
            Layer::Dumbbell { from, to, .. } => values.extend(from.iter().chain(to)),
            Layer::Rule { value, vertical: true, .. } => values.push(*value),
            _ => {}
        }
    }
    let pointy = panel.layers.iter().any(|l| matches!(l, Layer::Points { .. } | Layer::Dumbbell { .. }));
    Scale::fit(values.into_iter(), panel.x.log, panel.x.range, if pointy { 0.05 } else { 0.015 })
}

/// The vertical scale.
pub(super) fn y_scale(panel: &Panel) -> Scale {
    if let Some(count) = rows(panel) {
        return Scale::categories(count);
    }
    let mut values: Vec<f64> = Vec::new();
    let mut bars = false;
    for layer in &panel.layers {
        match layer {
            Layer::Line { y, .. } => values.extend(y),
            Layer::Points { y, error, .. } => values.extend(y.iter().chain(error.iter().flatten())),
            Layer::Bars { y, error, .. } => {
                bars = true;
                values.extend(y.iter().chain(error.iter().flatten()));
            }
            Layer::Band { low, high, .. } => values.extend(low.iter().chain(high)),
            Layer::Rule { value, vertical: false, .. } => values.push(*value),
            _ => {}
        }
    }
    if bars && !panel.y.log {
        values.push(0.0);
    }
    let (negative, positive) = (values.iter().any(|v| *v < 0.0), values.iter().any(|v| *v > 0.0));
    let mut scale = Scale::fit(values.into_iter(), panel.y.log, panel.y.range, 0.05);
    if bars && panel.y.range.is_none() && !panel.y.log {
        scale.stand_on_zero(negative, positive);
    }
    scale
}

/// Whether there is nothing at all to draw.
pub(super) fn is_empty(panel: &Panel) -> bool {
    let none = |values: &[f64]| !values.iter().any(|v| v.is_finite());
    panel.layers.iter().all(|layer| match layer {
        Layer::Line { x, y, .. } | Layer::Points { x, y, .. } => none(x) || none(y),
        Layer::Band { x, low, high, .. } => none(x) || none(low) || none(high),
        Layer::Bars { y, .. } => none(y),
        Layer::Heat { values, .. } => values.iter().all(|row| none(row)),
        Layer::Dumbbell { from, to, .. } => none(from) && none(to),
        Layer::Rule { .. } => true,
        Layer::Images { pixels, .. } => pixels.is_empty(),
    })
}

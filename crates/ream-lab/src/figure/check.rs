//! Whether a figure's parts fit together.

use super::{Axis, Figure, FigureError, Layer, Panel};

impl Figure {
    /// Holds the lengths and ranges of every layer against each other.
    ///
    /// # Errors
    /// The first thing that does not fit, with its panel and layer.
    pub fn check(&self) -> Result<(), FigureError> {
        for (i, panel) in self.panels.iter().enumerate() {
            panel
                .check()
                .map_err(|what| FigureError(format!("panel {} `{}`, {what}", i + 1, panel.title)))?;
        }
        Ok(())
    }
}

impl Panel {
    fn check(&self) -> Result<(), String> {
        self.x.check("x")?;
        self.y.check("y")?;
        for (i, layer) in self.layers.iter().enumerate() {
            let place = |what: String| {
                let label = layer.label();
                let quoted = if label.is_empty() { String::new() } else { format!(" `{label}`") };
                format!("layer {} ({}{quoted}): {what}", i + 1, layer.kind())
            };
            layer.check().map_err(place)?;
            self.fits(layer).map_err(place)?;
        }
        Ok(())
    }

    /// What a layer asks of the panel's axes and of its neighbours.
    fn fits(&self, layer: &Layer) -> Result<(), String> {
        let (x, y) = (&self.x.categories, &self.y.categories);
        match layer {
            Layer::Bars { y, .. } if !x.is_empty() => same("y", y.len(), "categories of x", x.len()),
            Layer::Bars { .. } if self.x.log => Err("bars need a linear x axis, not a log one".into()),
            Layer::Heat { .. } if self.x.log || self.y.log => {
                Err("a heat map needs linear axes, not log ones".into())
            }
            Layer::Heat { values, .. } => {
                if !y.is_empty() {
                    same("values", values.len(), "categories of y", y.len())?;
                }
                match values.first() {
                    Some(row) if !x.is_empty() => same("each row", row.len(), "categories of x", x.len()),
                    _ => Ok(()),
                }
            }
            Layer::Dumbbell { .. } if self.y.log => {
                Err("a dumbbell needs a linear y axis, not a log one".into())
            }
            Layer::Dumbbell { names, .. } => match self.layers.iter().find_map(|other| match other {
                Layer::Dumbbell { names: first, .. } => Some(first),
                _ => None,
            }) {
                Some(first) if first != names => {
                    Err("has other names than the panel's first dumbbell".into())
                }
                _ => Ok(()),
            },
            Layer::Images { .. } if self.layers.len() > 1 => {
                Err("images need a panel of their own, this one has other layers".into())
            }
            _ => Ok(()),
        }
    }
}

impl Axis {
    fn check(&self, name: &str) -> Result<(), String> {
        let Some([low, high]) = self.range else { return Ok(()) };
        let fail = |want: &str| Err(format!("{name} axis: the range must {want}, got [{low}, {high}]"));
        if !low.is_finite() || !high.is_finite() {
            return fail("be finite");
        }
        if low >= high {
            return fail("have its low end first");
        }
        if self.log && low <= 0.0 {
            return fail("be positive on a log axis");
        }
        Ok(())
    }
}

impl Layer {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Line { x, y, .. } => same("y", y.len(), "x", x.len()),
            Self::Band { x, low, high, .. } => {
                same("low", low.len(), "x", x.len())?;
                same("high", high.len(), "x", x.len())
            }
            Self::Points { x, y, error, names, shade, .. } => {
                same("y", y.len(), "x", x.len())?;
                same_or_none("error", error.len(), "x", x.len())?;
                same_or_none("names", names.len(), "x", x.len())?;
                same_or_none("shade", shade.len(), "x", x.len())
            }
            Self::Bars { y, error, .. } => same_or_none("error", error.len(), "y", y.len()),
            Self::Heat { values, .. } => {
                let width = values.first().map_or(0, Vec::len);
                match values.iter().position(|row| row.len() != width) {
                    Some(i) => {
                        let got = values.get(i).map_or(0, Vec::len);
                        Err(format!("row {} has {got} values, the first has {width}", i + 1))
                    }
                    None => Ok(()),
                }
            }
            Self::Dumbbell { names, from, to, shade, .. } => {
                same("from", from.len(), "names", names.len())?;
                same("to", to.len(), "names", names.len())?;
                same_or_none("shade", shade.len(), "names", names.len())
            }
            Self::Rule { .. } => Ok(()),
            Self::Images { width, height, pixels, captions, .. } => {
                let want = width.checked_mul(*height).and_then(|n| n.checked_mul(3));
                let Some(want) = want.filter(|&n| n > 0 && n <= 1 << 28) else {
                    return Err(format!("{width} by {height} pixels: wanted 1 to 89 million"));
                };
                same_or_none("captions", captions.len(), "pixels", pixels.len())?;
                match pixels.iter().position(|p| p.len() != want) {
                    Some(i) => {
                        let got = pixels.get(i).map_or(0, Vec::len);
                        Err(format!(
                            "picture {} has {got} bytes, {width} by {height} RGB needs {want}",
                            i + 1
                        ))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

fn same(name: &str, len: usize, other: &str, want: usize) -> Result<(), String> {
    if len == want { Ok(()) } else { Err(format!("`{name}` has {len} values, `{other}` has {want}")) }
}

fn same_or_none(name: &str, len: usize, other: &str, want: usize) -> Result<(), String> {
    if len == 0 {
        Ok(())
    } else {
        same(name, len, other, want).map_err(|e| format!("{e} (or leave it empty)"))
    }
}

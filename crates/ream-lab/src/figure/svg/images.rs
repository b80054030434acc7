//! Grids of small pictures, embedded as PNG.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::super::{FigureError, Layer, Panel};
use super::colour::Paint;
use super::frame::TICK;
use super::pen::{Anchor, Pen, at, rect};
use super::text::wrap;

const GAP: f64 = 8.0;
const LINE: f64 = 13.0;

/// The size of one picture and of the captions below it, in a room of a width.
struct Grid {
    columns: usize,
    rows: usize,
    wide: f64,
    high: f64,
    caption: f64,
}

impl Grid {
    fn new(panel: &Panel, room: f64) -> Option<Self> {
        let Some(Layer::Images { width, height, pixels, captions, columns }) = panel.layers.first() else {
            return None;
        };
        let columns = (*columns).clamp(1, pixels.len().max(1));
        let fits = (room - (columns as f64 - 1.0) * GAP) / columns as f64;
        // Small pictures are not blown up beyond what helps to see them.
        let wide = fits.min((*width as f64 * 8.0).max(96.0)).max(2.0);
        let lines = captions.iter().map(|c| wrap(c, TICK, wide, 3).len()).max().unwrap_or(0);
        let caption = if lines == 0 { 0.0 } else { lines as f64 * LINE + 4.0 };
        let rows = pixels.len().div_ceil(columns);
        Some(Self { columns, rows, wide, high: wide * *height as f64 / *width as f64, caption })
    }
}

/// How high the grid is.
pub(super) fn height(panel: &Panel, room: f64) -> f64 {
    Grid::new(panel, room)
        .map_or(0.0, |g| g.rows as f64 * (g.high + g.caption) + (g.rows as f64 - 1.0).max(0.0) * GAP)
}

/// Draws the grid with its upper left corner at a place.
pub(super) fn draw(
    pen: &mut Pen,
    panel: &Panel,
    [left, top]: [f64; 2],
    room: f64,
) -> Result<(), FigureError> {
    let (Some(grid), Some(Layer::Images { width, height, pixels, captions, .. })) =
        (Grid::new(panel, room), panel.layers.first())
    else {
        return Ok(());
    };
    for (i, rgb) in pixels.iter().enumerate() {
        let (column, row) = (i % grid.columns, i / grid.columns);
        let x = left + column as f64 * (grid.wide + GAP);
        let y = top + row as f64 * (grid.high + grid.caption + GAP);
        let caption = captions.get(i).map_or("", String::as_str);
        let png = png(*width, *height, rgb)
            .map_err(|e| FigureError(format!("panel `{}`, picture {}: {e}", panel.title, i + 1)))?;
        let smooth = if grid.wide > *width as f64 { " image-rendering=\"pixelated\"" } else { "" };
        pen.raw(&format!(
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\"{smooth} href=\"data:image/png;base64,{}\"/>",
            at(x),
            at(y),
            at(grid.wide),
            at(grid.high),
            base64(&png)
        ));
        pen.path(&rect(x, y, grid.wide, grid.high), None, Some(Paint::Grid), " stroke-width=\"0.8\"");
        for (k, line) in wrap(caption, TICK, grid.wide, 3).iter().enumerate() {
            let place = [x + grid.wide / 2.0, y + grid.high + 13.0 + k as f64 * LINE];
            pen.text(place, TICK, Anchor::Middle, Paint::Ink, "", line);
        }
    }
    Ok(())
}

/// A PNG file of RGB8 pixels (W3C, Portable Network Graphics, third edition): header, one block of data, end.
pub(super) fn png(width: usize, height: usize, rgb: &[u8]) -> std::io::Result<Vec<u8>> {
    let size = |n: usize| u32::try_from(n).map_err(std::io::Error::other);
    let mut header = Vec::new();
    header.extend(size(width)?.to_be_bytes());
    header.extend(size(height)?.to_be_bytes());
    // Eight bits, red green blue, and the only compression, filter set and order there are.
    header.extend([8, 2, 0, 0, 0]);
    let mut data = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in rgb.chunks(width * 3) {
        data.write_all(&[0])?;
        data.write_all(row)?;
    }
    let data = data.finish()?;
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        out.extend(size(body.len())?.to_be_bytes());
        let mut sum = flate2::Crc::new();
        sum.update(kind);
        sum.update(body);
        out.extend(kind);
        out.extend(body);
        out.extend(sum.sum().to_be_bytes());
    }
    Ok(out)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            if i <= three.len() {
                out.push(char::from(DIGITS[(word >> (18 - 6 * i) & 63) as usize]));
            } else {
                let _ = out.write_char('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        let of = |t: &str| base64(t.as_bytes());
        assert_eq!(
            [of(""), of("f"), of("fo"), of("foo"), of("foobar")],
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]
        );
    }
}

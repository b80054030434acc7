//! Pictures as PNG.

use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};

use super::{Figure, FigureError, Theme, render_svg};

/// Pixels of the PNG for one of the SVG: sharp on fine screens and in print.
const SCALE: f64 = 2.0;

/// Draws a figure as a PNG `width` pixels wide (between 200 and 8000): the SVG of half that width, with two pixels for
/// one. A theme that follows the reader is drawn light.
///
/// Texts are set in the fonts of the machine, so unlike the SVG the bytes differ between machines.
///
/// # Errors
/// The figure is inconsistent ([`Figure::check`]), too high for one picture, or the machine has no font.
pub fn render_png(figure: &Figure, theme: Theme, width: f64) -> Result<Vec<u8>, FigureError> {
    let theme = if matches!(theme, Theme::Auto | Theme::Page) { Theme::Light } else { theme };
    let width = if width.is_finite() { width.clamp(200.0, 8000.0) } else { 1520.0 };
    let svg = render_svg(figure, theme, width / SCALE)?;
    let fail = |what: String| FigureError(format!("figure `{}` as PNG: {what}", figure.title));
    let (fonts, family) =
        fonts().ok_or_else(|| fail("this machine has no font; the SVG needs none".into()))?;
    let options =
        usvg::Options { fontdb: Arc::clone(fonts), font_family: family.clone(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(&svg, &options).map_err(|e| fail(e.to_string()))?;
    let size = tree.size();
    let scale = width as f32 / size.width();
    let (w, h) = ((size.width() * scale).round() as u32, (size.height() * scale).ceil() as u32);
    let mut canvas =
        tiny_skia::Pixmap::new(w, h).ok_or_else(|| fail(format!("{w} by {h} pixels are too many")))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut canvas.as_mut());
    canvas.encode_png().map_err(|e| fail(e.to_string()))
}

/// The machine's fonts and the one for texts whose own is missing, read once.
fn fonts() -> Option<&'static (Arc<usvg::fontdb::Database>, String)> {
    static FONTS: OnceLock<Option<(Arc<usvg::fontdb::Database>, String)>> = OnceLock::new();
    FONTS
        .get_or_init(|| {
            let mut fonts = usvg::fontdb::Database::new();
            fonts.load_system_fonts();
            let mut families: Vec<String> =
                fonts.faces().filter_map(|f| f.families.first().map(|(name, _)| name.clone())).collect();
            families.sort();
            let liked = ["Noto Sans", "Liberation Sans", "Arial", "DejaVu Sans"];
            let family = liked
                .iter()
                .find(|name| families.iter().any(|f| f == *name))
                .map(|name| (*name).to_owned())
                .or_else(|| families.first().cloned())?;
            fonts.set_sans_serif_family(&family);
            Some((Arc::new(fonts), family))
        })
        .as_ref()
}

//! Colours, dashes, markers and ramps.

use super::Theme;

/// What a thing is painted as; each theme has its own colour for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// Titles.
    Ink,
    /// Axes and their labels.
    Soft,
    /// Grid lines.
    Grid,
    /// What the figure lies on.
    Paper,
    /// A series, by its number.
    Series(usize),
    /// The same on every ground: red, green, blue.
    Fixed([u8; 3]),
}

/// Light, dark and print: the roles, then the series.
const ROLES: [[&str; 3]; 4] = [
    ["#1b1f24", "#e6e9ec", "#000000"],
    ["#57606a", "#a3abb3", "#000000"],
    ["#e4e7ea", "#31373d", "#d9d9d9"],
    ["#ffffff", "#15181b", "#ffffff"],
];
/// The colours of Okabe and Ito (2008), which readers with any common colour blindness tell apart, in an order whose
/// beginning also differs in lightness; yellow is darkened on white, blue lightened on black.
const SERIES: [[&str; 3]; 8] = [
    ["#0072b2", "#4aa8e0", "#0072b2"],
    ["#d55e00", "#f08a45", "#d55e00"],
    ["#009e73", "#2fc79b", "#009e73"],
    ["#cc79a7", "#dd95bd", "#b45f90"],
    ["#e69f00", "#f0b52e", "#c98a00"],
    ["#56b4e9", "#9bd6f7", "#3f9fd6"],
    ["#3b4148", "#d5dadf", "#000000"],
    ["#b5a800", "#f0e442", "#a09400"],
];
/// How many series have a colour of their own.
pub(super) const COLOURS: usize = SERIES.len();

impl Paint {
    /// The colour in a theme; for a theme that follows the reader the light one, which its style sheet overrides.
    pub(super) fn colour(self, theme: Theme) -> String {
        let column = match theme {
            Theme::Auto | Theme::Page | Theme::Light => 0,
            Theme::Dark => 1,
            Theme::Print => 2,
        };
        match self {
            Self::Fixed([r, g, b]) => format!("#{r:02x}{g:02x}{b:02x}"),
            Self::Series(i) => SERIES[i % COLOURS][column].to_owned(),
            Self::Ink => ROLES[0][column].to_owned(),
            Self::Soft => ROLES[1][column].to_owned(),
            Self::Grid => ROLES[2][column].to_owned(),
            Self::Paper => ROLES[3][column].to_owned(),
        }
    }

    /// The name of the style that follows the reader.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Self::Ink => Some("ink".into()),
            Self::Soft => Some("soft".into()),
            Self::Grid => Some("grid".into()),
            Self::Paper => Some("paper".into()),
            Self::Series(i) => Some(format!("s{}", i % COLOURS)),
            Self::Fixed(_) => None,
        }
    }
}

/// The style sheet of a figure that follows the reader: one variable for each colour, light and dark, and a class for
/// filling and one for stroking with it, all below the figure's own class.
pub(super) fn style(prefix: &str) -> String {
    let all = [Paint::Ink, Paint::Soft, Paint::Grid, Paint::Paper];
    let all: Vec<Paint> = all.into_iter().chain((0..COLOURS).map(Paint::Series)).collect();
    let variables = |theme| {
        all.iter()
            .filter_map(|p| p.name().map(|name| format!("--{name}:{}", p.colour(theme))))
            .collect::<Vec<_>>()
            .join(";")
    };
    let mut out = format!(
        ".{prefix}{{{}}}@media screen and (prefers-color-scheme:dark){{.{prefix}{{{}}}}}",
        variables(Theme::Light),
        variables(Theme::Dark)
    );
    for name in all.iter().filter_map(|p| p.name()) {
        out +=
            &format!(".{prefix} .f-{name}{{fill:var(--{name})}}.{prefix} .l-{name}{{stroke:var(--{name})}}");
    }
    out
}

/// The dashes of a series whose colour comes round again, or of a dashed line; empty for a solid one.
pub(super) fn dashes(series: usize, dashed: bool) -> &'static str {
    match (series / COLOURS % 3, dashed) {
        (0, false) => "",
        (0, true) => "6 4",
        (1, false) => "9 3 2 3",
        (1, true) => "9 3 2 3 2 3",
        (_, false) => "2 3",
        (_, true) => "1 5",
    }
}

/// The dashes of the rules of a panel, by their order.
pub(super) fn rule_dashes(order: usize) -> &'static str {
    ["5 3", "1.5 3", "9 3 2 3", "12 4", "2 2 6 2"][order % 5]
}

/// Dark violet over green to yellow: lightness grows evenly, so the order survives grey print and colour blindness.
const SEQUENTIAL: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
/// Blue over near white to red.
const DIVERGING: [[u8; 3]; 9] = [
    [33, 80, 152],
    [67, 122, 189],
    [126, 169, 216],
    [189, 212, 236],
    [246, 246, 246],
    [245, 204, 189],
    [229, 148, 124],
    [202, 86, 72],
    [160, 24, 42],
];

/// The colour at a share from 0 to 1 of a ramp.
pub(super) fn ramp(share: f64, diverging: bool) -> [u8; 3] {
    let stops = if diverging { DIVERGING } else { SEQUENTIAL };
    let place = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 } * 8.0;
    let i = (place as usize).min(7);
    let t = place - i as f64;
    std::array::from_fn(|c| {
        let (a, b) = (f64::from(stops[i][c]), f64::from(stops[i + 1][c]));
        libm::round(a + (b - a) * t) as u8
    })
}

/// Black or white, whichever is read better on a colour.
pub(super) fn on([r, g, b]: [u8; 3]) -> [u8; 3] {
    let light = 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    if light > 140.0 { [0, 0, 0] } else { [255, 255, 255] }
}

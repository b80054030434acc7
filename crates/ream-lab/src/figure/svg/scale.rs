//! From values to positions, and the marks on an axis.

use libm::{floor, log10, pow};

/// The greatest magnitude that is drawn; what is beyond is drawn there, so that spans stay finite.
const HUGE: f64 = 1e300;

/// One axis of a panel.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    pub(super) log: bool,
    /// Positions of the two ends.
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A mark on an axis; an unlabelled one is minor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

/// The marks of an axis and the power of ten taken out of their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ticks {
    pub(super) marks: Vec<Tick>,
    pub(super) exponent: i32,
}

impl Scale {
    /// A scale over the values, widened by `margin` of its span; `fixed` overrides them.
    pub(super) fn fit(
        values: impl Iterator<Item = f64>,
        log: bool,
        fixed: Option<[f64; 2]>,
        margin: f64,
    ) -> Self {
        let usable = values.filter(|v| v.is_finite() && (!log || *v > 0.0)).map(|v| v.clamp(-HUGE, HUGE));
        let data = usable.fold(None, |range: Option<[f64; 2]>, v| {
            Some(range.map_or([v, v], |[a, b]| [a.min(v), b.max(v)]))
        });
        let scale = |low, high| Self { low, high, log, from: 0.0, to: 1.0 };
        if let Some([low, high]) = fixed {
            let inner = |v: f64| if log { log10(v) } else { v.clamp(-HUGE, HUGE) };
            let (low, high) = (inner(low), inner(high));
            return if high - low > 0.0 { scale(low, high) } else { scale(low, low + low.abs().max(1e-300)) };
        }
        let [low, high] = data.map_or([0.0, 1.0], |range| if log { range.map(log10) } else { range });
        let middle = low.abs().max(high.abs());
        if high - low <= middle * 1e-12 {
            // One value: a decade on a log axis, a tenth of its size on a linear one.
            let half = if log || middle < 1e-290 { 0.5 } else { middle * 0.1 };
            return scale(low - half, high + half);
        }
        let pad = (high - low) * margin;
        scale(low - pad, high + pad)
    }

    /// A scale over the positions 0, 1, ... of `count` categories.
    pub(super) fn categories(count: usize) -> Self {
        Self { low: -0.5, high: count.max(1) as f64 - 0.5, log: false, from: 0.0, to: 1.0 }
    }

    /// Takes the margin away on the side of zero where no bar goes.
    pub(super) fn stand_on_zero(&mut self, negative: bool, positive: bool) {
        if !negative {
            self.low = 0.0;
        }
        if negative && !positive {
            self.high = 0.0;
        }
    }

    /// Puts the low end at `from` and the high end at `to`.
    pub(super) fn place(&mut self, from: f64, to: f64) {
        (self.from, self.to) = (from, to);
    }

    /// Where a value lies; nothing for gaps.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || (self.log && value <= 0.0) {
            return None;
        }
        let inner = if self.log { log10(value) } else { value.clamp(-HUGE, HUGE) };
        // Far outside a fixed range a position stays finite and off the picture.
        let share = ((inner - self.low) / (self.high - self.low)).clamp(-50.0, 50.0);
        Some(self.from + share * (self.to - self.from))
    }

    /// Where a value lies, if inside the axis (with a little grace for rounding).
    pub(super) fn inside(&self, value: f64) -> Option<f64> {
        let (a, b) = (self.from.min(self.to), self.from.max(self.to));
        self.at(value).filter(|p| (a - 0.01..=b + 0.01).contains(p))
    }

    /// The end that bars stand on: zero, or the nearest end.
    pub(super) fn base(&self) -> f64 {
        if self.log || self.low > 0.0 {
            self.from
        } else if self.high < 0.0 {
            self.to
        } else {
            self.at(0.0).unwrap_or(self.from)
        }
    }

    /// About `count` marks.
    pub(super) fn ticks(&self, count: usize) -> Ticks {
        if self.log { self.log_ticks(count) } else { linear(self.low, self.high, count) }
    }

    fn log_ticks(&self, count: usize) -> Ticks {
        let (first, last) = (libm::ceil(self.low - 1e-9), floor(self.high + 1e-9));
        let decades = last - first;
        if self.high - self.low < 0.7 || (decades < 1.0 && self.high - self.low < 1.0) {
            // Less than a decade: linear marks at their logarithmic places.
            let mut ticks = linear(pow(10.0, self.low), pow(10.0, self.high), count);
            ticks.marks.retain(|t| t.value > 0.0);
            return ticks;
        }
        let every = libm::ceil((decades + 1.0) / count.max(2) as f64).max(1.0);
        let labelled: &[f64] = if decades >= 3.0 {
            &[1.0]
        } else if decades >= 2.0 {
            &[1.0, 3.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let plain = self.low > -3.5 && self.high < 5.5;
        let mut marks = Vec::new();
        let mut decade = floor(self.low);
        while decade <= last {
            let unit = pow(10.0, decade);
            let on = libm::fmod(decade - first, every) == 0.0;
            for digit in 1..=9 {
                let value = unit * f64::from(digit);
                let inner = log10(value);
                if inner < self.low - 1e-9 || inner > self.high + 1e-9 || value == 0.0 {
                    continue;
                }
                let label = if on && labelled.contains(&f64::from(digit)) {
                    if plain {
                        number(value, (-decade).max(0.0) as usize)
                    } else {
                        power(digit, decade as i32)
                    }
                } else {
                    String::new()
                };
                if digit == 1 || every == 1.0 {
                    marks.push(Tick { value, label });
                }
            }
            decade += 1.0;
        }
        Ticks { marks, exponent: 0 }
    }
}

/// The step of 1, 2, 2.5 or 5 times a power of ten that comes nearest to `count` marks.
fn nice_step(span: f64, count: usize) -> f64 {
    let raw = span / count.max(1) as f64;
    let unit = pow(10.0, floor(log10(raw)));
    let far = |m: f64| libm::fabs(log10(unit * m / raw));
    let nearer = |best: f64, m: f64| if far(m) < far(best) { m } else { best };
    unit * [2.0, 2.5, 5.0, 10.0].into_iter().fold(1.0, nearer)
}

fn linear(low: f64, high: f64, count: usize) -> Ticks {
    let step = nice_step(high - low, count);
    if !step.is_finite() || step <= 0.0 {
        return Ticks::default();
    }
    let largest = low.abs().max(high.abs());
    let power = floor(log10(largest) + 1e-9);
    let exponent = if (-3.0..6.0).contains(&power) { 0 } else { (floor(power / 3.0) * 3.0) as i32 };
    let size = pow(10.0, f64::from(exponent));
    let unit = step / size;
    // Enough digits to write the step exactly (2.5 has one more than its power of ten).
    let mut digits = (-floor(log10(unit) + 1e-9)).max(0.0) as usize;
    let grown = unit * pow(10.0, digits as f64);
    if (grown - libm::round(grown)).abs() > 0.01 {
        digits += 1;
    }
    let first = libm::ceil(low / step - 1e-6);
    let marks = (0..=count * 3 + 3)
        .map(|i| (first + i as f64) * step)
        .take_while(|value| *value <= high + step * 1e-6)
        .map(|value| Tick { value, label: number(value / size, digits.min(15)) })
        .collect();
    Ticks { marks, exponent }
}

/// A number with a true minus sign and commas between thousands.
pub(super) fn number(value: f64, digits: usize) -> String {
    let plain = format!("{:.digits$}", value.abs());
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), ""), |(a, b)| (a, b));
    let mut out = String::new();
    if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('\u{2212}');
    }
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 && whole.len() > 4 {
            out.push(',');
        }
        out.push(c);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// `2×10⁻⁷`; the digit 1 is left out.
fn power(digit: u32, exponent: i32) -> String {
    let front = if digit == 1 { String::new() } else { format!("{digit}×") };
    format!("{front}{}", power_of_ten(exponent))
}

/// `10⁻⁷`.
pub(super) fn power_of_ten(exponent: i32) -> String {
    let digits = exponent.to_string();
    let raised = digits.chars().map(|c| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(u32::from(digit) - u32::from('0') + 0x2070).unwrap_or(digit),
    });
    "10".chars().chain(raised).collect()
}

/// A value for a cell or a tip: `digits` significant digits, or a power of ten when it is very large or small.
pub(super) fn short(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let power = floor(log10(value.abs()) + 1e-9);
    if (-4.0..6.0).contains(&power) {
        return number(value, (digits as f64 - 1.0 - power).max(0.0) as usize);
    }
    let places = digits.saturating_sub(1);
    let text = format!("{value:.places$e}");
    let (front, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}×{}", front.replace('-', "\u{2212}"), power_of_ten(exponent.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, log: bool, count: usize) -> Vec<String> {
        let scale = Scale::fit([low, high].into_iter(), log, Some([low, high]), 0.0);
        scale.ticks(count).marks.into_iter().map(|t| t.label).filter(|l| !l.is_empty()).collect()
    }

    #[test]
    fn linear_marks_are_round_numbers() {
        assert_eq!(labels(0.0, 1.0, false, 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-3.0, 7.0, false, 5), ["−2", "0", "2", "4", "6"]);
        assert_eq!(labels(0.0, 1.0, false, 4), ["0.00", "0.25", "0.50", "0.75", "1.00"]);
        assert_eq!(labels(0.0, 20_000.0, false, 4), ["0", "5000", "10,000", "15,000", "20,000"]);
    }

    #[test]
    fn large_and_small_numbers_share_a_power_of_ten() {
        let ticks = linear(0.0, 4e7, 4);
        assert_eq!(ticks.exponent, 6);
        assert_eq!(
            ticks.marks.iter().map(|t| t.label.as_str()).collect::<Vec<_>>(),
            ["0", "10", "20", "30", "40"]
        );
        assert_eq!(linear(0.0, 2e-5, 4).exponent, -6);
    }

    #[test]
    fn log_marks_are_decades_with_minor_ones_between() {
        assert_eq!(labels(1e-8, 1.0, true, 5), ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]);
        assert_eq!(labels(1.0, 1000.0, true, 5), ["1", "10", "100", "1000"]);
        assert_eq!(labels(1.0, 20.0, true, 5), ["1", "2", "5", "10", "20"]);
        let scale = Scale::fit([1.0, 1000.0].into_iter(), true, None, 0.0);
        assert_eq!(scale.ticks(5).marks.len(), 28);
    }

    #[test]
    fn gaps_have_no_place() {
        let mut scale = Scale::fit([1.0, 100.0, -5.0, f64::NAN].into_iter(), true, None, 0.0);
        scale.place(0.0, 10.0);
        assert_eq!(scale.at(0.0), None);
        assert_eq!(scale.at(-1.0), None);
        assert_eq!(scale.at(f64::NAN), None);
        assert!((scale.at(10.0).unwrap() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_in_short() {
        assert_eq!(short(0.123_456, 3), "0.123");
        assert_eq!(short(-1234.6, 3), "−1235");
        assert_eq!(short(1.5e-9, 2), "1.5×10⁻⁹");
        assert_eq!(number(-0.0001, 2), "0.00");
    }
}

//! A measured value with its interval beside the rule's threshold, drawn small.

use std::fmt::Write;

use ream_lab::report::html::escape;
use ream_lab::verdict::brief;
use ream_paper::Test;

/// Width of the drawing in its own units; the style sheet scales it.
const WIDTH: f64 = 320.0;
const MARGIN: f64 = 14.0;
/// Height of the line on which the value lies.
const LINE: f64 = 12.0;

/// What is drawn.
pub(crate) struct Gauge {
    pub(crate) value: f64,
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) test: Test,
    pub(crate) null: Option<f64>,
}

impl Gauge {
    /// A drawing without anything inline: classes of the style sheet, and a sentence for readers who do not see it.
    /// Nothing where a number is not finite.
    pub(crate) fn svg(&self) -> Option<String> {
        let bounds = match self.test {
            Test::Less(b) | Test::AtMost(b) | Test::Greater(b) | Test::AtLeast(b) => vec![b],
            Test::In(low, high) => vec![low, high],
        };
        let numbers = || {
            let interval = self.interval.into_iter().flatten();
            bounds.iter().copied().chain(interval).chain(self.null).chain([self.value])
        };
        if !numbers().all(f64::is_finite) {
            return None;
        }
        let (low, high) =
            (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max));
        let pad = if high > low { 0.06 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        let scale = (WIDTH - 2.0 * MARGIN) / (high - low + 2.0 * pad);
        if !(high - low).is_finite() || !scale.is_finite() {
            return None;
        }
        let x = |v: f64| MARGIN + (v - low + pad) * scale;

        let mut svg = String::with_capacity(1200);
        let label = escape(&self.words());
        let _ = write!(
            svg,
            "<svg class=\"gauge\" viewBox=\"0 0 {WIDTH} 40\" preserveAspectRatio=\"xMinYMid meet\" role=\"img\" aria-label=\"{label}\">"
        );
        let [from, to] = match self.test {
            Test::Less(b) | Test::AtMost(b) => [0.0, x(b)],
            Test::Greater(b) | Test::AtLeast(b) => [x(b), WIDTH],
            Test::In(a, b) => [x(a), x(b)],
        };
        let _ = write!(
            svg,
            "<rect class=\"zone\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"24\"/><path class=\"axis\" d=\"M0 24H{WIDTH}\"/>",
            (to - from).max(0.0)
        );
        for bound in &bounds {
            let _ = write!(svg, "<path class=\"bound\" d=\"M{:.1} 0V24\"/>", x(*bound));
        }
        if let Some(null) = self.null.filter(|null| !bounds.contains(null)) {
            let _ = write!(svg, "<path class=\"null\" d=\"M{:.1} 2V24\"/>", x(null));
        }
        if let Some([a, b]) = self.interval {
            let _ = write!(
                svg,
                "<path class=\"interval\" d=\"M{:.1} {LINE}H{:.1}M{:.1} 8V16M{:.1} 8V16\"/>",
                x(a),
                x(b),
                x(a),
                x(b)
            );
        }
        let _ = write!(svg, "<circle class=\"point\" cx=\"{:.1}\" cy=\"{LINE}\" r=\"4.5\"/>", x(self.value));
        self.labels(&mut svg, &bounds, &x);
        svg.push_str("</svg>");
        Some(svg)
    }

    /// The thresholds below the line, and no effect where there is room beside them.
    fn labels(&self, svg: &mut String, bounds: &[f64], x: &dyn Fn(f64) -> f64) {
        let mut taken: Vec<[f64; 2]> = Vec::new();
        let null = self.null.filter(|null| !bounds.contains(null));
        let all = bounds
            .iter()
            .map(|b| (*b, format!("wanted {}", sign(self.test, *b))))
            .chain(null.map(|null| (null, format!("no effect {}", brief(null)))));
        for (at, text) in all {
            let half = 2.9 * text.chars().count() as f64;
            let middle = x(at).clamp(half, WIDTH - half);
            let span = [middle - half - 3.0, middle + half + 3.0];
            if taken.iter().any(|t| span[0] < t[1] && t[0] < span[1]) {
                continue;
            }
            taken.push(span);
            let _ = write!(
                svg,
                "<text x=\"{middle:.1}\" y=\"36\" text-anchor=\"middle\">{}</text>",
                escape(&text)
            );
        }
    }

    fn words(&self) -> String {
        let interval = self
            .interval
            .map(|[a, b]| format!(", 95 % interval {} to {}", brief(a), brief(b)))
            .unwrap_or_default();
        let null = self.null.map(|null| format!("; no effect would be {}", brief(null))).unwrap_or_default();
        format!("Measured {}{interval}; wanted {}{null}.", brief(self.value), self.test)
    }
}

fn sign(test: Test, bound: f64) -> String {
    let sign = match test {
        Test::Less(_) => "<",
        Test::AtMost(_) => "≤",
        Test::Greater(_) => ">",
        Test::AtLeast(_) => "≥",
        Test::In(low, _) if bound == low => "from",
        Test::In(..) => "to",
    };
    format!("{sign} {}", brief(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(value: f64, interval: Option<[f64; 2]>, test: &str, null: Option<f64>) -> Gauge {
        Gauge { value, interval, test: test.parse().unwrap(), null }
    }

    #[test]
    fn everything_lies_inside_the_drawing() {
        for gauge in [
            gauge(0.5, Some([0.2, 0.9]), "< 0.7", Some(1.0)),
            gauge(-3.0, None, ">= 2", None),
            gauge(1e-9, Some([-1e9, 1e9]), "in [-1, 1]", Some(0.0)),
            gauge(0.0, None, "<= 0", Some(0.0)),
        ] {
            let svg = gauge.svg().unwrap();
            for part in svg.split("cx=\"").skip(1).chain(svg.split("<text x=\"").skip(1)) {
                let x: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=WIDTH).contains(&x), "{svg}");
            }
            assert!(svg.contains("role=\"img\" aria-label=\"Measured"));
            assert!(!svg.contains("style"));
        }
    }

    #[test]
    fn what_is_not_finite_is_not_drawn() {
        assert!(gauge(f64::NAN, None, "< 1", None).svg().is_none());
        assert!(gauge(1.0, Some([0.0, f64::INFINITY]), "< 1", None).svg().is_none());
        assert!(gauge(f64::MAX, Some([f64::MIN, f64::MAX]), "< 1", None).svg().is_none());
    }
}

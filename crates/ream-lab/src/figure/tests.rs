//! What every picture has to keep: well-formed, finite, the same twice.

use proptest::prelude::*;

use super::{Figure, Layer, Panel, Theme, data_table, render_svg};

const THEMES: [Theme; 4] = [Theme::Auto, Theme::Light, Theme::Dark, Theme::Print];

/// Parses a picture and looks at every number in its geometry; gives back its width and height.
fn sound(svg: &str) -> [f64; 2] {
    let document = roxmltree::Document::parse(svg).unwrap_or_else(|e| panic!("{e}\n{svg}"));
    let root = document.root_element();
    for node in document.descendants() {
        for attribute in node.attributes() {
            if ["d", "x", "y", "width", "height", "transform", "font-size", "stroke-width"]
                .contains(&attribute.name())
            {
                let value = attribute.value();
                assert!(!value.contains("NaN") && !value.contains("inf"), "{}={value}", attribute.name());
            }
        }
    }
    let ids: Vec<&str> = document.descendants().filter_map(|n| n.attribute("id")).collect();
    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), ids.len(), "ids are used once");
    ["width", "height"].map(|name| root.attribute(name).unwrap().parse().unwrap())
}

/// Every text lies inside the picture, by the widths that the layout counts with.
fn texts_inside(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let [width, height] = sound(svg);
    for text in
        document.descendants().filter(|n| n.has_tag_name("text") && n.attribute("transform").is_none())
    {
        let number = |name| text.attribute(name).unwrap().parse::<f64>().unwrap();
        let wide = super::svg::text_width(text.text().unwrap_or(""), number("font-size"));
        let left = number("x")
            - match text.attribute("text-anchor") {
                Some("middle") => wide / 2.0,
                Some("end") => wide,
                _ => 0.0,
            };
        let inside = left >= -1.0 && left + wide <= width + 1.0 && number("y") <= height;
        assert!(inside, "{:?} from {left} to {} of {width}", text.text(), left + wide);
    }
}

fn count(svg: &str, what: &str) -> usize {
    svg.matches(what).count()
}

#[test]
fn lengths_are_checked_with_the_place() {
    let figure = Figure::new("f", "").panel(Panel::new("fine")).panel(
        Panel::new("second").layer(Layer::rule("r", 1.0)).layer(Layer::line("loss", vec![1.0], vec![])),
    );
    let message = figure.check().unwrap_err().to_string();
    assert_eq!(message, "panel 2 `second`, layer 2 (line `loss`): `y` has 0 values, `x` has 1");
    assert!(render_svg(&figure, Theme::Light, 600.0).is_err());

    let of = |panel: Panel| Figure::new("", "").panel(panel).check().unwrap_err().to_string();
    assert!(of(Panel::new("").range_x(2.0, 1.0)).contains("low end first"));
    assert!(of(Panel::new("").log_y().range_y(0.0, 1.0)).contains("positive on a log axis"));
    assert!(
        of(Panel::new("").layer(Layer::heat("", vec![vec![1.0], vec![]]))).contains("row 2 has 0 values")
    );
    assert!(
        of(Panel::new("").categories_x(["a"]).layer(Layer::bars("", vec![1.0, 2.0])))
            .contains("categories of x")
    );
    let images =
        Layer::Images { width: 2, height: 1, pixels: vec![vec![0; 5]], captions: vec![], columns: 1 };
    assert!(of(Panel::new("").layer(images)).contains("RGB needs 6"));
}

#[test]
fn gaps_survive_json() {
    let figure = Figure::new("f", "").panel(
        Panel::new("p")
            .layer(Layer::line("l", vec![0.0, 1.0], vec![f64::NAN, 0.1]))
            .layer(Layer::heat("h", vec![vec![f64::NAN, 2.0]]))
            .layer(Layer::Bars { label: "b".into(), y: vec![1.0], error: vec![[f64::NAN, 2.0]] }),
    );
    let text = serde_json::to_string(&figure).unwrap();
    assert!(text.contains("\"y\":[null,0.1]") && text.contains("[[null,2.0]]"), "{text}");
    let back: Figure = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    let Layer::Line { y, .. } = &back.panels[0].layers[0] else { panic!() };
    assert!(y[0].is_nan());
}

#[test]
fn a_line_breaks_at_gaps() {
    let x: Vec<f64> = (0..60).map(f64::from).collect();
    let mut y = x.clone();
    y[20] = f64::NAN;
    y[40] = f64::INFINITY;
    let draw = |panel: Panel| render_svg(&Figure::new("", "").panel(panel), Theme::Light, 600.0).unwrap();
    let pieces = |svg: &str| count(svg, "stroke-linejoin");
    assert_eq!(pieces(&draw(Panel::new("").layer(Layer::line("l", x.clone(), y)))), 3);
    let mut low = x.clone();
    low[30] = -1.0;
    // The first value, zero, is a gap too.
    assert_eq!(pieces(&draw(Panel::new("").log_y().layer(Layer::line("l", x, low)))), 2);
}

#[test]
fn long_lines_are_thinned_but_keep_their_extremes() {
    let n = 200_000;
    let x: Vec<f64> = (0..n).map(f64::from).collect();
    let mut y: Vec<f64> = x.iter().map(|v| libm::sin(v / 5.0)).collect();
    y[77_777] = 9.0;
    let figure = Figure::new("", "").panel(Panel::new("").layer(Layer::line("l", x, y)));
    let svg = render_svg(&figure, Theme::Light, 700.0).unwrap();
    sound(&svg);
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
    let document = roxmltree::Document::parse(&svg).unwrap();
    let line = document.descendants().find(|n| n.attribute("stroke-linejoin").is_some()).unwrap();
    let heights = line
        .attribute("d")
        .unwrap()
        .split(['M', 'L'])
        .filter_map(|p| p.split_once(' ')?.1.parse::<f64>().ok());
    let heights: Vec<f64> = heights.collect();
    let top = heights.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(heights.iter().filter(|h| **h < top + 50.0).count(), 1, "the spike is there, once");
}

#[test]
fn labels_share_colours_and_pictures_do_not_meet() {
    let line = |l: &str| Layer::line(l, vec![0.0, 1.0], vec![0.0, 1.0]);
    let one = Figure::new("a", "")
        .panel(Panel::new("p").layer(line("a")).layer(line("b")))
        .panel(Panel::new("q").layer(line("b")));
    let light = render_svg(&one, Theme::Light, 700.0).unwrap();
    assert!(count(&light, "stroke=\"#d55e00\" stroke-width=\"1.8\"") == 2, "b is vermilion in both panels");
    let two = Figure { title: "b".into(), ..one.clone() };
    let (a, b) =
        (render_svg(&one, Theme::Auto, 700.0).unwrap(), render_svg(&two, Theme::Auto, 700.0).unwrap());
    sound(&a.replace("</svg>\n", &format!("{b}</svg>")));
    assert_eq!(a, render_svg(&one, Theme::Auto, 700.0).unwrap());
}

#[test]
fn heat_maps_of_one_label_share_their_colours() {
    let heat = |label: &str, v: f64| Panel::new("").layer(Layer::heat(label, vec![vec![0.0, v]]));
    let draw = |label: &str| {
        let figure = Figure::new("", "").panel(heat(label, 1.0)).panel(heat(label, 2.0));
        render_svg(&figure, Theme::Light, 700.0).unwrap()
    };
    // The brightest colour: one cell where the range is shared, two where every panel has its own.
    assert_eq!([count(&draw("weight"), "fill=\"#fde725\""), count(&draw(""), "fill=\"#fde725\"")], [1, 2]);
}

#[test]
fn long_texts_stay_inside() {
    let long = "an extraordinarily long label that says everything there is to say about the matter at hand, twice over";
    let bars: Vec<f64> = (0..30).map(f64::from).collect();
    let figure = Figure::new(long.repeat(3), long)
        .panel(
            Panel::new(long)
                .x(long)
                .y(long)
                .categories_x(bars.iter().map(|b| format!("{b} {long}")))
                .layer(Layer::bars(long, bars)),
        )
        .panel(Panel::new(long).x(long).y(long).layer(Layer::line(
            long,
            vec![0.0, 1e9],
            vec![-1e-7, 123_456.0],
        )))
        .columns(2);
    for width in [200.0, 420.0, 760.0, 1400.0] {
        texts_inside(&render_svg(&figure, Theme::Light, width).unwrap());
    }
}

#[test]
fn tables_hold_the_numbers() {
    let x: Vec<f64> = (0..700).map(f64::from).collect();
    let figure = Figure::new("f", "").panel(
        Panel::new("p")
            .x("step")
            .y("loss")
            .layer(Layer::line("l", x.clone(), x))
            .layer(Layer::rule("r", 0.5)),
    );
    let tables = data_table(&figure);
    assert_eq!(tables.len(), 2);
    assert_eq!((tables[0].rows.len(), tables[0].note.as_str()), (500, "The first 500 of 700 rows."));
    assert_eq!(tables[0].columns, ["step", "loss"]);
    assert_eq!(tables[1].to_csv(), "line,axis,value\nr,loss,0.5\n");
}

#[test]
fn a_small_picture() {
    let figure = Figure::new("Loss", "Lower is better.").panel(
        Panel::new("Held out").x("step").y("nats").layer(Layer::line(
            "ours",
            vec![0.0, 1.0, 2.0],
            vec![3.0, f64::NAN, 0.5],
        )),
    );
    let svg = render_svg(&figure, Theme::Light, 300.0).unwrap().replace("><", ">\n<");
    insta::assert_snapshot!(svg);
}

#[cfg(feature = "png")]
#[test]
fn a_picture_in_pixels() {
    let figure = Figure::new("t", "").panel(Panel::new("p").layer(Layer::heat("h", vec![vec![1.0, 2.0]])));
    // A machine without fonts has no PNG, and says so.
    match super::render_png(&figure, Theme::Dark, 601.0) {
        Ok(png) => assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png[16..20] == 601_u32.to_be_bytes()),
        Err(e) => assert!(e.to_string().contains("no font"), "{e}"),
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -10.0..10.0,
        2 => Just(1.0),
        1 => Just(0.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => prop_oneof![Just(f64::MAX), Just(f64::MIN), Just(1e300), Just(-1e18), Just(1e17)],
        1 => prop_oneof![Just(f64::MIN_POSITIVE), Just(5e-324), Just(-1e-200), Just(1e-12)],
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c<&\"'| ]{1,12}", any::<String>()]
}

fn values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(value(), n)
}

fn pairs(n: usize) -> impl Strategy<Value = Vec<[f64; 2]>> {
    prop_oneof![Just(Vec::new()), prop::collection::vec([value(), value()], n)]
}

fn layer(n: usize) -> impl Strategy<Value = Layer> {
    let names = || prop::collection::vec(words(), n);
    let shade = || prop_oneof![Just(Vec::new()), values(n)];
    prop_oneof![
        (words(), values(n), values(n), any::<bool>()).prop_map(|(label, x, y, dashed)| Layer::Line {
            label,
            x,
            y,
            dashed
        }),
        (words(), values(n), values(n), values(n)).prop_map(|(label, x, low, high)| Layer::Band {
            label,
            x,
            low,
            high
        }),
        (words(), values(n), values(n), pairs(n), names(), shade(), words()).prop_map(
            |(label, x, y, error, names, shade, shade_label)| Layer::Points {
                label,
                x,
                y,
                error,
                names,
                shade,
                shade_label
            }
        ),
        (words(), values(n), pairs(n)).prop_map(|(label, y, error)| Layer::Bars { label, y, error }),
        (words(), prop::collection::vec(values(n), 0..4), any::<bool>())
            .prop_map(|(label, values, diverging)| Layer::Heat { label, values, diverging }),
        (words(), words(), names(), values(n), values(n), shade(), words()).prop_map(
            |(from_label, to_label, names, from, to, shade, shade_label)| Layer::Dumbbell {
                from_label,
                to_label,
                names,
                from,
                to,
                shade,
                shade_label,
            }
        ),
        (words(), value(), any::<bool>()).prop_map(|(label, value, vertical)| Layer::Rule {
            label,
            value,
            vertical
        }),
    ]
}

fn panel() -> impl Strategy<Value = Panel> {
    (0_usize..9).prop_flat_map(|n| {
        let layers = prop::collection::vec(layer(n), 0..4);
        (words(), words(), words(), [prop::bool::weighted(0.25), prop::bool::weighted(0.25)], layers)
            .prop_map(|(title, x, y, [log_x, log_y], layers)| {
                let mut panel = Panel::new(title).x(x).y(y);
                (panel.x.log, panel.y.log) = (log_x, log_y);
                panel.layers = layers;
                panel
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_figure_is_drawn_or_refused(
        title in words(), text in words(), panels in prop::collection::vec(panel(), 0..4),
        columns in 0_usize..5, width in 100.0..1500.0, theme in 0_usize..4,
    ) {
        let figure = Figure { title, description: text, panels, columns };
        match render_svg(&figure, THEMES[theme], width) {
            Ok(svg) => {
                sound(&svg);
                prop_assert!(data_table(&figure).iter().all(|t| t.rows.len() <= 500));
            }
            Err(e) => prop_assert_eq!(Err(e), figure.check()),
        }
        let text = serde_json::to_string(&figure).unwrap();
        let back: Figure = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}

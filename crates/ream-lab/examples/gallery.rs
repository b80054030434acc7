//! Draws one figure of every kind into a folder: `cargo run --example gallery --features png -- FOLDER`.

use std::path::Path;

use ream_lab::figure::{Figure, FigureError, Layer, Panel, Theme, render_svg};
use ream_rand::Stream;

fn curve(n: usize, seed: u64, noise: f64, of: impl Fn(f64) -> f64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = Stream::new(seed, "gallery").at(0);
    let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let y = x.iter().map(|x| of(*x) * (1.0 + noise * (rng.uniform() - 0.5))).collect();
    (x, y)
}

fn learning() -> Figure {
    let mut panel =
        Panel::new("Held-out loss, mean and range of five seeds").x("training step").y("loss (nats)");
    for (i, (name, rate)) in
        [("gradient descent", 400.0), ("momentum", 250.0), ("ours, annealed", 160.0)].iter().enumerate()
    {
        let (x, y) = curve(600, i as u64, 0.06, |x| 0.6 + 2.4 * libm::exp(-x / rate));
        let low = y.iter().map(|v| v - 0.12).collect();
        let high = y.iter().map(|v| v + 0.15).collect();
        panel = panel.layer(Layer::band(*name, x.clone(), low, high)).layer(Layer::line(*name, x, y));
    }
    panel = panel
        .layer(Layer::rule("entropy of the source", 0.55))
        .layer(Layer::vertical("end of warm-up", 50.0));
    Figure::new("Loss while training", "Lower is better; bands show the range of seeds.").panel(panel)
}

fn logarithms() -> Figure {
    let (x, y) = curve(40, 3, 0.3, |x| libm::pow(10.0, -x / 6.0));
    let x: Vec<f64> = x.iter().map(|v| libm::pow(10.0, 1.0 + v / 8.0)).collect();
    let mut gaps = y.clone();
    gaps[12] = 0.0;
    gaps[13] = -1.0;
    gaps[27] = f64::NAN;
    let slow: Vec<f64> = x.iter().map(|v| 3.0 / libm::sqrt(*v)).collect();
    let both = Panel::new("Two log axes, with gaps").x("samples").y("error").log_x().log_y();
    let both = both.layer(Layer::line("least squares", x.clone(), gaps)).layer(Layer::dashed(
        "n^(-1/2)",
        x.clone(),
        slow,
    ));
    let tokens: Vec<f64> = x.iter().map(|v| 3e5 * libm::log10(*v)).collect();
    let narrow = Panel::new("Less than two decades").x("tokens").y("perplexity").log_y();
    let narrow =
        narrow.layer(Layer::line("least squares", tokens, x.iter().map(|v| 20.0 + 3000.0 / v).collect()));
    Figure::new("Errors on logarithmic axes", "Zero and negative values are gaps.")
        .panel(both)
        .panel(narrow)
        .columns(2)
}

fn heats() -> Figure {
    let matrix = |rows: usize, columns: usize, of: &dyn Fn(f64, f64) -> f64| -> Vec<Vec<f64>> {
        (0..rows).map(|i| (0..columns).map(|j| of(i as f64, j as f64)).collect()).collect()
    };
    let mut holes = matrix(6, 6, &|i, j| (i - j) * 0.31);
    holes[1][4] = f64::NAN;
    let names = ["sky", "road", "car", "tree", "person", "building"];
    let confusion = Panel::new("Confusion").x("predicted").y("true").categories_x(names).categories_y(names);
    Figure::new("Matrices as colours", "Rows from top to bottom.")
        .panel(Panel::new("Attention, head 3").x("key").y("query").layer(Layer::heat(
            "weight",
            matrix(24, 24, &|i, j| if j > i { f64::NAN } else { libm::exp(-(i - j) / 5.0) }),
        )))
        .panel(
            Panel::new("Difference of two weights")
                .x("column")
                .y("row")
                .layer(Layer::diverging("difference", holes)),
        )
        .panel(confusion.layer(Layer::heat("share", matrix(6, 6, &|i, j| libm::exp(-(i - j) * (i - j))))))
        .panel(Panel::new("Constant").x("x").y("y").layer(Layer::heat("", matrix(3, 9, &|_, _| 2.0))))
        .columns(2)
}

fn countries() -> Figure {
    let mut rng = Stream::new(8, "gallery").at(0);
    let names: Vec<String> = (0..40)
        .map(|i| format!("region {:02} of {}", i + 1, ["north", "the far east", "west"][i % 3]))
        .collect();
    let from: Vec<f64> = (0..40).map(|i| 0.2 + 0.01 * i as f64 + 0.1 * rng.uniform()).collect();
    let to: Vec<f64> = from.iter().map(|v| v + 0.3 * rng.uniform() - 0.05).collect();
    let shade = (0..40).map(|_| 1000.0 * rng.uniform()).collect();
    let layer = Layer::Dumbbell {
        from_label: "before".into(),
        to_label: "after".into(),
        names,
        from,
        to,
        shade,
        shade_label: "rainfall (mm)".into(),
    };
    Figure::new("Skill by region, before and after", "Each bar goes from the old score to the new one.")
        .panel(
            Panel::new("").x("anomaly correlation").layer(layer).layer(Layer::vertical("climatology", 0.4)),
        )
}

fn bars() -> Figure {
    let error = |y: &[f64]| y.iter().map(|v| [v - 3.0, v + 2.0]).collect::<Vec<_>>();
    let mut one = Panel::new("Few categories").x("task").y("accuracy (%)").categories_x([
        "arithmetic",
        "translation",
        "code",
        "story",
    ]);
    for (name, y) in [
        ("greedy", [61.0, 40.5, 33.0, 71.0]),
        ("beam search", [64.0, 44.0, 35.5, 69.0]),
        ("ours", [70.0, 47.0, 41.0, 74.0]),
    ] {
        one = one.layer(Layer::Bars { label: name.into(), y: y.to_vec(), error: error(&y) });
    }
    let many = (1..=14).map(|i| format!("benchmark number {i}"));
    let y: Vec<f64> = (0..14).map(|i| f64::from(i * i % 11) - 4.0).collect();
    let two = Panel::new("Crowded names, both signs")
        .y("gain (points)")
        .categories_x(many)
        .layer(Layer::Bars { label: "ours".into(), error: error(&y), y });
    Figure::new("Bars with errors", "Error bars are 95 % intervals.").panel(one).panel(two).columns(2)
}

fn scatter() -> Figure {
    let mut rng = Stream::new(4, "gallery").at(0);
    let n = 18;
    let x: Vec<f64> = (0..n).map(|_| libm::pow(10.0, 6.0 + 3.0 * rng.uniform())).collect();
    let y: Vec<f64> = x.iter().map(|v| 8.0 * libm::log10(*v) + 6.0 * rng.uniform()).collect();
    let error = y.iter().map(|v| [v - 1.2, v + 1.2]).collect();
    let names = (0..n).map(|i| format!("model-{}{}", ["alpha", "beta", "gamma"][i % 3], i)).collect();
    let named = Layer::Points {
        label: "models".into(),
        x,
        y,
        error,
        names,
        shade: vec![],
        shade_label: String::new(),
    };
    let cloud = |label: &str, shift: f64, shaded: bool, rng: &mut ream_rand::Rng| {
        let x: Vec<f64> = (0..150).map(|_| shift + rng.uniform() + rng.uniform()).collect();
        let y: Vec<f64> = x.iter().map(|v| v * 0.7 + rng.uniform()).collect();
        let shade = if shaded { x.iter().zip(&y).map(|(a, b)| a * b).collect() } else { vec![] };
        Layer::Points {
            label: label.into(),
            x,
            y,
            error: vec![],
            names: vec![],
            shade,
            shade_label: "product".into(),
        }
    };
    Figure::new("Points", "Names, errors, shades.")
        .panel(Panel::new("Size and score").x("parameters").y("score").log_x().layer(named))
        .panel(Panel::new("Shaded").x("a").y("b").layer(cloud("all", 0.0, true, &mut rng)))
        .panel(
            Panel::new("Three groups")
                .x("a")
                .y("b")
                .layer(cloud("first", 0.0, false, &mut rng))
                .layer(cloud("second", 1.0, false, &mut rng))
                .layer(cloud("third", 2.0, false, &mut rng)),
        )
        .columns(2)
}

fn many() -> Figure {
    let mut figure = Figure::new(
        "Ten methods on three tasks, with a title so long that it does not fit on one line of the picture and is wrapped",
        "One legend for all panels.",
    );
    for task in 0..3 {
        let mut panel = Panel::new(format!("Task {}", task + 1)).x("episode").y("return");
        for i in 0..10 {
            let (x, y) = curve(120, 100 + i, 0.05, |x| {
                (1.0 + i as f64 * 0.2) * libm::sqrt(x + f64::from(task) * 20.0)
            });
            panel = panel.layer(Layer::line(format!("method {}", i + 1), x, y));
        }
        figure = figure.panel(panel);
    }
    figure.columns(3)
}

fn images() -> Figure {
    let picture = |k: usize| -> Vec<u8> {
        (0..28 * 28)
            .flat_map(|p| {
                let (i, j) = (p / 28, p % 28);
                [(i * 9) as u8, (j * 9) as u8, (k * 20) as u8]
            })
            .collect()
    };
    let captions = (0..10).map(|k| format!("sample {k}, guessed {}", k * 3 % 10)).collect();
    Figure::new("Samples of the model", "Ten pictures of 28 by 28.").panel(
        Panel::new("Drawn at step 2000").layer(Layer::Images {
            width: 28,
            height: 28,
            pixels: (0..10).map(picture).collect(),
            captions,
            columns: 6,
        }),
    )
}

fn write(folder: &Path, name: &str, figure: &Figure) -> Result<(), Box<dyn std::error::Error>> {
    for (theme, end) in
        [(Theme::Auto, ""), (Theme::Light, "-light"), (Theme::Dark, "-dark"), (Theme::Print, "-print")]
    {
        std::fs::write(folder.join(format!("{name}{end}.svg")), render_svg(figure, theme, 760.0)?)?;
        #[cfg(feature = "png")]
        std::fs::write(
            folder.join(format!("{name}{end}.png")),
            ream_lab::figure::render_png(figure, theme, 1520.0)?,
        )?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or_else(|| FigureError("usage: gallery FOLDER".into()))?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let all = [
        ("learning", learning()),
        ("logarithms", logarithms()),
        ("heats", heats()),
        ("dumbbells", countries()),
        ("bars", bars()),
        ("scatter", scatter()),
        ("many", many()),
        ("images", images()),
        ("empty", Figure::new("Nothing", "").panel(Panel::new("No data").x("x").y("y"))),
    ];
    let mut body = String::new();
    for (name, figure) in &all {
        write(folder, name, figure)?;
        body += &ream_lab::report::html::figure_block(figure, Theme::Auto)?;
    }
    std::fs::write(folder.join("index.html"), ream_lab::report::html::page("Gallery", &body))?;
    Ok(())
}

//! The pictures: the tree of one choice, rates by noise, rates by cost, all ways of writing.

use ream_lab::{Figure, Layer, Panel, Result, Run};

use super::outcome::{SeenNode, SeenTree};
use super::part_a::SeenA;
use super::part_b::SeenB;

/// Nodes of a tree that are shown: the most visited ones.
const MOST_NODES: usize = 40;
/// Half of the height that the widest branch has, in rows.
const WIDEST: f64 = 0.42;

/// Draws everything that was seen.
pub(super) fn draw(run: &mut Run, a: Option<&SeenA>, b: Option<&SeenB>) -> Result<()> {
    let trees = [
        ("tree", "own model", a.and_then(|a| a.tree.as_ref())),
        ("tree-smollm2", "SmolLM2", b.and_then(|b| b.tree.as_ref())),
    ];
    for (name, whose, found) in trees {
        if let Some(found) = found {
            run.figure(name, tree(whose, found))?;
        }
    }
    if let Some(a) = a {
        run.figure("noise", noise(a)?)?;
        run.figure("cost", cost(a))?;
        run.figure("ways", ways(a)?)?;
    }
    Ok(())
}

/// A set as it can be shown.
fn shown(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c == '\n' { '\u{21b5}' } else { c }).collect();
    if visible.trim().is_empty() { "\u{2423}".to_owned() } else { visible.trim().to_owned() }
}

/// The most visited nodes, and where they stand: depth and row; children stay below one another.
fn layout(tree: &SeenTree) -> Vec<(usize, f64, f64)> {
    let mut order: Vec<usize> = (0..tree.nodes.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(tree.nodes[*i].full), *i));
    order.truncate(MOST_NODES);
    order.sort_unstable();
    // A node is never visited more often than its parent, and comes after it: whoever is shown has a shown parent.
    let mut rows = vec![f64::NAN; tree.nodes.len()];
    let mut next = 0.0;
    place(tree, &order, 0, &mut rows, &mut next);
    let depth =
        |i: usize| std::iter::successors(tree.nodes[i].parent, |p| tree.nodes[*p].parent).count() as f64;
    order.into_iter().map(|i| (i, depth(i), rows[i])).collect()
}

/// Leaves take the next row, a parent the middle of its children.
fn place(tree: &SeenTree, there: &[usize], node: usize, rows: &mut [f64], next: &mut f64) {
    let children: Vec<usize> =
        there.iter().copied().filter(|i| tree.nodes[*i].parent == Some(node)).collect();
    for child in &children {
        place(tree, there, *child, rows, next);
    }
    rows[node] = match (children.first(), children.last()) {
        (Some(first), Some(last)) => f64::midpoint(rows[*first], rows[*last]),
        _ => {
            *next += 1.0;
            *next
        }
    };
}

/// (1) The search tree of one choice.
pub(super) fn tree(whose: &str, seen: &SeenTree) -> Figure {
    let places = layout(seen);
    let lowest = places.iter().map(|p| p.2).fold(1.0, f64::max);
    let deepest = places.iter().map(|p| p.1).fold(1.0, f64::max);
    let at = |node: usize| places.iter().find(|p| p.0 == node).map(|p| (p.1, lowest + 1.0 - p.2));
    let most = seen.nodes.first().map_or(1, |root| root.full).max(1) as f64;
    let before = match seen.before.trim() {
        "" => "at the beginning".to_owned(),
        _ => format!("after “{}”", shown(&seen.before)),
    };
    let mut panel = Panel::new(before)
        .x("sets after what was written")
        .y("sets side by side")
        .range_x(-0.3, deepest + 0.8)
        .range_y(0.2, lowest + 0.9);
    for kept in [false, true] {
        let label = if kept { "kept" } else { "rewound" };
        for &(node, ..) in &places {
            let SeenNode { parent: Some(parent), full, kept: stays, .. } = seen.nodes[node] else { continue };
            if let (true, Some((x, y)), Some((from_x, from_y))) = (stays == kept, at(node), at(parent)) {
                let half = WIDEST * full as f64 / most;
                let (low, high) = (vec![from_y - half, y - half], vec![from_y + half, y + half]);
                panel = panel.layer(Layer::band(label, vec![from_x, x], low, high));
            }
        }
    }
    for kept in [false, true] {
        let chosen: Vec<usize> = places.iter().map(|p| p.0).filter(|i| seen.nodes[*i].kept == kept).collect();
        if chosen.is_empty() {
            continue;
        }
        let (x, y) = chosen.iter().filter_map(|i| at(*i)).unzip();
        let name = |i: &usize| {
            let node = &seen.nodes[*i];
            if *i == 0 {
                format!("start · {}", node.full)
            } else {
                format!("{} · {}", shown(&node.text), node.full)
            }
        };
        panel = panel.layer(Layer::Points {
            label: if kept { "kept set" } else { "rewound set" }.to_owned(),
            x,
            y,
            error: Vec::new(),
            names: chosen.iter().map(name).collect(),
            shade: chosen.iter().map(|i| seen.nodes[*i].value).collect(),
            shade_label: "value q".to_owned(),
        });
    }
    Figure::new(
        format!("What was looked at before one set was kept ({whose})"),
        format!("Sets of tokens with their full visits; colour: value, branches as wide as their visits. The most visited {} of {} visited sets. What is not kept is rewound. Words of the list are masked.", places.len(), seen.nodes.len()),
    )
    .panel(panel)
}

fn points(label: &str, all: &[(f64, [f64; 3])]) -> Layer {
    Layer::Points {
        label: label.to_owned(),
        x: all.iter().map(|p| p.0).collect(),
        y: all.iter().map(|p| p.1[0]).collect(),
        error: all.iter().map(|p| [p.1[1], p.1[2]]).collect(),
        names: Vec::new(),
        shade: Vec::new(),
        shade_label: String::new(),
    }
}

fn line(label: &str, all: &[(f64, [f64; 3])]) -> Layer {
    Layer::line(label, all.iter().map(|p| p.0).collect(), all.iter().map(|p| p.1[0]).collect())
}

/// (2) Harmless rate by the share of verdicts that are turned around.
fn noise(a: &SeenA) -> Result<Figure> {
    let all = a.group("all");
    let mut panel = Panel::new("Own model")
        .x("probability that a verdict is turned around")
        .y("harmless continuations")
        .layer(line("search", &a.noise))
        .layer(points("search", &a.noise));
    for (name, label) in [("vanilla", "plain drawing"), ("random", "random judge"), ("oracle", "true labels")]
    {
        if let Some(arm) = a.arm(name) {
            panel = panel.layer(Layer::rule(label, arm.harmless(&all)?[0]));
        }
    }
    Ok(Figure::new(
        "It is the judge that matters",
        "Share of harmless continuations by search with the model's own verdicts, some of them turned around at random. Bars: Wilson's 95 % intervals over prompts. Lines across: plain drawing, a judge that looks at nothing, and one that knows the true labels.",
    )
    .panel(panel))
}

/// (3) Harmless rate by tokens read.
fn cost(a: &SeenA) -> Figure {
    let [search, best] = &a.budgets;
    let panel = Panel::new("Own model")
        .x("tokens read for a text / those of greedy decoding")
        .y("harmless continuations")
        .log_x()
        .layer(line("search", search))
        .layer(points("search", search))
        .layer(line("best-of-N", best))
        .layer(points("best-of-N", best));
    Figure::new(
        "What harmlessness costs",
        "Share of harmless continuations by the tokens that model and judge read. Search: with fewer and with all iterations. Best-of-N: N = 1, 2, 4, ... up to what the search's tokens allow for each prompt. Bars: Wilson's 95 % intervals over prompts.",
    )
    .panel(panel)
}

/// All ways of writing.
fn ways(a: &SeenA) -> Result<Figure> {
    let shown: Vec<_> = a.arms.iter().filter(|arm| !arm.name.starts_with("iterations-")).collect();
    let mut figure = Figure::new(
        "Ways of writing",
        "Share of harmless continuations on prompts with and without violence. Bars: Wilson's 95 % intervals.",
    );
    for group in ["violent", "neutral"] {
        let prompts = a.group(group);
        if prompts.is_empty() {
            continue;
        }
        let mut rates = Vec::with_capacity(shown.len());
        for arm in &shown {
            rates.push(arm.harmless(&prompts)?);
        }
        let panel = Panel::new(format!("{} {group} prompts", prompts.len()))
            .x("")
            .y("harmless continuations")
            .range_y(0.0, 1.0)
            .categories_x(shown.iter().map(|arm| arm.name.replace('-', " ")))
            .layer(Layer::Bars {
                label: "harmless".to_owned(),
                y: rates.iter().map(|r| r[0]).collect(),
                error: rates.iter().map(|r| [r[1], r[2]]).collect(),
            });
        figure = figure.panel(panel);
    }
    Ok(figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(parent: Option<usize>, full: usize, kept: bool) -> SeenNode {
        SeenNode { parent, text: " the".to_owned(), value: 0.5, full, kept }
    }

    #[test]
    fn shown_nodes_stand_on_rows_of_their_own_and_after_their_parents() {
        let mut nodes = vec![node(None, 100, true)];
        for child in 0..30 {
            nodes.push(node(Some(0), 30 - child, child == 0));
            nodes.push(node(Some(2 * child + 1), 1, child == 0));
        }
        let seen = SeenTree { before: String::new(), nodes };
        let places = layout(&seen);
        assert_eq!(places.len(), MOST_NODES);
        for (i, (node, depth, row)) in places.iter().enumerate() {
            assert!(row.is_finite());
            assert!(places[..i].iter().all(|other| (other.1, other.2) != (*depth, *row)));
            let parent = seen.nodes[*node].parent;
            assert!(parent.is_none_or(|parent| places.iter().any(|p| p.0 == parent && p.1 == depth - 1.0)));
        }
        tree("own model", &seen).check().unwrap();
    }
}

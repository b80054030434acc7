//! What studies have seen, as observations, tables and samples.

use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_rand::Stream;

use super::contrast::Direction;
use super::evaluation::{recovery, with_interval};
use super::study::{ArmSeen, CaseSeen, Method};

/// Answers shown of a concept.
const SHOWN: usize = 3;

/// Which model, for the names of measures: those of the large model are observed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Trained here, every seed.
    Small,
    /// SmolLM2, once.
    Large,
}

impl Part {
    fn measure(self, name: &str) -> String {
        if self == Self::Small { name.to_owned() } else { format!("{name}_real") }
    }
}

/// Observes a concept.
///
/// # Errors
/// Too few pairs for an interval.
pub(super) fn observe(run: &mut Run, part: Part, seen: &CaseSeen, stream: Stream) -> Result<()> {
    for arm in &seen.arms {
        for direction in Direction::BOTH {
            observe_direction(run, part, seen, arm, direction, stream)?;
        }
        let case = || ("case", Place::from(seen.name.as_str()));
        run.observe(&part.measure("searches"), arm.method.name(), &[case()], arm.searches as f64);
        if arm.add.len() > 1 {
            let [low, high] = arm.overall_range();
            run.observe(&part.measure("best_overall"), arm.method.name(), &[case()], high);
            run.observe(&part.measure("sensitivity"), arm.method.name(), &[case()], high - low);
        }
    }
    for direction in Direction::BOTH {
        let at = place(seen, direction);
        for (name, judged) in [
            ("unsteered", &seen.unsteered[direction.base()]),
            ("prompting", &seen.prompted[direction.base()]),
        ] {
            scores(run, part, name, &at, &judged.scores);
        }
        run.observe(&part.measure("utility"), "unsteered", &at, seen.neutral[0]);
        if part == Part::Small {
            run.observe("neutral_accuracy", "unsteered", &at, seen.neutral[1]);
        }
    }
    if part == Part::Small {
        observe_behaviour(run, seen);
    }
    Ok(())
}

fn place(seen: &CaseSeen, direction: Direction) -> [(&'static str, Place); 2] {
    [("case", Place::from(seen.name.as_str())), ("direction", Place::from(direction.name()))]
}

fn scores(run: &mut Run, part: Part, arm: &str, at: &[(&str, Place)], scores: &super::scoring::Scores) {
    for (measure, value) in [
        ("concept", scores.concept),
        ("instruct", scores.instruct),
        ("fluency", scores.fluency),
        ("overall", scores.overall),
    ] {
        run.observe(&part.measure(measure), arm, at, value);
    }
}

fn observe_direction(
    run: &mut Run,
    part: Part,
    seen: &CaseSeen,
    arm: &ArmSeen,
    direction: Direction,
    stream: Stream,
) -> Result<()> {
    let (name, at, i) = (arm.method.name(), place(seen, direction), direction.base());
    let (steered, unsteered) = (&arm.distance[i], &seen.distance[i]);
    let ratio = |steered: &[f64], pairs: &[usize]| {
        let pick = |all: &[f64]| pairs.iter().map(|k| all[*k]).collect::<Vec<f64>>();
        recovery(&pick(steered), &pick(unsteered))
    };
    let value = seen.recovery(arm, direction);
    if part == Part::Large && steered.len() > 1 {
        let stream = stream.child(i as u64);
        let (_, interval) = with_interval(steered.len(), |pairs| ratio(steered, pairs), stream)?;
        run.observe_with("recovery_real", name, &at, value, Spread::Interval(interval));
        if let Some(own) = seen.arm(Method::Cdas).filter(|own| own.method != arm.method) {
            let own = &own.distance[i];
            let lead = |pairs: &[usize]| ratio(own, pairs) - ratio(steered, pairs);
            let (value, interval) = with_interval(steered.len(), lead, stream)?;
            run.observe_with("recovery_lead_real", name, &at, value, Spread::Interval(interval));
        }
    } else {
        run.observe(&part.measure("recovery"), name, &at, value);
    }
    let at_one = arm.at_one(direction);
    scores(run, part, name, &at, &at_one);
    let change = at_one.concept - seen.unsteered[i].scores.concept;
    run.observe(&part.measure("concept_change"), name, &at, change);
    run.observe(&part.measure("utility"), name, &at, arm.neutral[i][0]);
    if part == Part::Small {
        run.observe("neutral_accuracy", name, &at, arm.neutral[i][1]);
    }
    Ok(())
}

/// Rates of the two trained behaviours under removal.
fn observe_behaviour(run: &mut Run, seen: &CaseSeen) {
    let measure = match seen.name.as_str() {
        "refusal" => "refusal_rate",
        "backdoor" => "trigger_rate",
        _ => return,
    };
    run.observe(measure, "unsteered", &[], seen.unsteered[1].scores.concept);
    for arm in &seen.arms {
        run.observe(measure, arm.method.name(), &[], arm.remove.scores.concept);
        if measure == "trigger_rate" {
            run.observe("clean_unchanged", arm.method.name(), &[], arm.unchanged);
        }
    }
}

/// All methods of a concept in a table, and answers side by side.
pub(super) fn show(run: &mut Run, seen: &CaseSeen) {
    let mut table = Table::new(
        format!("{}: methods at m = 1", seen.title),
        &[
            "method",
            "direction",
            "recovery",
            "concept",
            "instruct",
            "fluency",
            "overall",
            "best overall over m",
            "range over m",
            "neutral text (nats/token)",
            "factors tried",
            "factor",
        ],
    );
    table.note = "Recovery: 1 - JS to the contrasting run's laws over that of the unsteered run, on pairs that nothing was trained on. Overall: harmonic mean of concept (1 less it, where it is removed), instruct and fluency. Prompting asks for the concept in words: the upper reference.".to_owned();
    let mut row =
        |name: &str, direction: Direction, first: Cell, s: &super::scoring::Scores, rest: Vec<Cell>| {
            let mut cells: Vec<Cell> = vec![name.into(), direction.name().into(), first];
            cells.extend([s.concept, s.instruct, s.fluency, s.overall].map(Cell::from));
            cells.extend(rest);
            table.rows.push(cells);
        };
    for direction in Direction::BOTH {
        let i = direction.base();
        let neutral = vec![Cell::Empty, Cell::Empty, seen.neutral[0].into()];
        row("unsteered", direction, 0.0.into(), &seen.unsteered[i].scores, neutral);
        row("prompting", direction, 1.0.into(), &seen.prompted[i].scores, Vec::new());
        for arm in &seen.arms {
            let factor = match &arm.deployed {
                super::study::Deployed::Added { factor, .. } => Cell::from(*factor),
                super::study::Deployed::Clamped { .. } => Cell::Empty,
            };
            let [low, high] = arm.overall_range();
            let swept = direction == Direction::Add && arm.add.len() > 1;
            let mut rest = if swept {
                vec![Cell::from(high), Cell::from(high - low)]
            } else {
                vec![Cell::Empty, Cell::Empty]
            };
            rest.extend([arm.neutral[i][0].into(), Cell::from(arm.searches as u64), factor]);
            let recovered = Cell::from(seen.recovery(arm, direction));
            row(arm.method.name(), direction, recovered, &arm.at_one(direction), rest);
        }
    }
    run.table(table);
    answers(run, seen);
}

/// Side by side: none, add, remove.
fn answers(run: &mut Run, seen: &CaseSeen) {
    let Some(arm) = seen.arm(Method::Cdas) else { return };
    let mut table = Table::new(
        format!("{}: answers", seen.title),
        &["prompt", "unsteered", "added", "prompt with the concept, unsteered", "removed"],
    );
    let added = arm.added(1.0).map(|judged| judged.answers.clone()).unwrap_or_default();
    let all = [&seen.unsteered[0].answers, &added, &seen.unsteered[1].answers, &arm.remove.answers];
    for (i, title) in seen.titles.iter().enumerate().take(SHOWN) {
        let mut cells: Vec<Cell> = vec![title.as_str().into()];
        cells.extend(all.iter().map(|answers| answers.get(i).map_or(Cell::Empty, |a| a.trim().into())));
        let texts: Vec<&str> = all.iter().filter_map(|answers| answers.get(i)).map(|a| a.trim()).collect();
        if let [none, added, with, removed] = texts[..] {
            let words = format!(
                "none: {none}\nadd: {added}\nwith the concept in the prompt: {with}\nremove: {removed}"
            );
            run.sample(&format!("{} · {title}", seen.title), &words);
        }
        table.rows.push(cells);
    }
    run.table(table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_the_large_model_have_names_of_their_own() {
        assert_eq!(
            (Part::Small.measure("recovery"), Part::Large.measure("recovery")),
            ("recovery".into(), "recovery_real".into())
        );
    }
}

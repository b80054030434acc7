//! How each seed of a run stands, in words.

use std::collections::BTreeMap;

use ream_lab::{Ended, RunRecord};

use super::live::Step;
use super::manager::Place;

/// One line for each seed.
pub(super) fn lines(
    record: &RunRecord,
    ended: &Ended,
    steps: &BTreeMap<u64, Step>,
    place: &Place,
) -> Vec<String> {
    record.seeds.iter().map(|seed| line(*seed, ended, steps.get(seed), place)).collect()
}

fn line(seed: u64, ended: &Ended, step: Option<&Step>, place: &Place) -> String {
    let why =
        |list: &[(u64, String)]| list.iter().find(|(other, _)| *other == seed).map(|(_, why)| why.clone());
    if ended.finished.contains(&seed) {
        return format!("seed {seed}: finished");
    }
    if let Some(why) = why(&ended.failed) {
        return format!("seed {seed}: failed: {why}");
    }
    let far = step.map(|step| format!(", {:.0} % {}", 100.0 * step.fraction, step.what)).unwrap_or_default();
    match place {
        Place::Waiting(_) => format!("seed {seed}: queued"),
        Place::Driven { .. } if step.is_some() => format!("seed {seed}: running{far}"),
        Place::Driven { .. } => format!("seed {seed}: waiting"),
        Place::Elsewhere => {
            let why = why(&ended.unfinished).unwrap_or_default();
            format!("seed {seed}: unfinished{far}: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_says_how_it_stands() {
        let ended = Ended {
            finished: vec![1],
            failed: vec![(2, "broken".into())],
            unfinished: vec![(3, "stopped".into()), (4, "not finished".into())],
        };
        let steps = BTreeMap::from([(3, Step { fraction: 0.25, what: "walking".into() })]);
        let driven = Place::Driven { progress: None, stopping: false };
        let words = |seed, place: &Place| line(seed, &ended, steps.get(&seed), place);
        assert_eq!(words(1, &driven), "seed 1: finished");
        assert_eq!(words(2, &driven), "seed 2: failed: broken");
        assert_eq!(words(3, &driven), "seed 3: running, 25 % walking");
        assert_eq!(words(4, &driven), "seed 4: waiting");
        assert_eq!(words(3, &Place::Elsewhere), "seed 3: unfinished, 25 % walking: stopped");
        assert_eq!(words(4, &Place::Waiting(0)), "seed 4: queued");
    }
}

use super::*;
use ream_lab::Observation;
use std::sync::OnceLock;

fn tiny() -> Config {
    let mut config = Config::preset(Preset::Smoke);
    config.small.tokens = 30_000;
    config.small.judged = 150;
    config.small.rejection = 200;
    config.small.training.draws = 200;
    config.small.outputs = 10;
    config
}

fn has_data() -> bool {
    Run::in_memory(1).has_data("kjv")
}

fn observed() -> &'static [Observation] {
    static OBSERVED: OnceLock<Vec<Observation>> = OnceLock::new();
    OBSERVED.get_or_init(|| {
        let mut run = Run::in_memory(1);
        Guard::run(&tiny(), &mut run).unwrap();
        if has_data() {
            let names: Vec<&str> = run.figures().iter().map(|(name, _)| name.as_str()).collect();
            for name in ["plane", "places", "curves"] {
                assert!(names.contains(&name), "{name} of {names:?}");
            }
        }
        run.observations()
    })
}

fn paper() -> ream_paper::Paper {
    ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap()
}

#[test]
fn every_measure_is_declared_and_every_term_observed() {
    let (paper, observed) = (paper(), observed());
    for o in observed {
        assert!(paper.measure(&o.measure).is_some(), "{}", o.measure);
        assert!(o.value.is_finite(), "{o}");
    }
    if !has_data() {
        return;
    }
    // Without the large model there is no part C, which has measures of its own.
    for measure in paper.measures.iter().filter(|m| !m.id.ends_with("_large")) {
        assert!(observed.iter().any(|o| o.measure == measure.id), "{}", measure.id);
    }
    for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
        // Without the large model there is no part C.
        if check.filter.get("part").is_some_and(|f| f.admits(&"c".into())) {
            continue;
        }
        for term in check.quantity.terms() {
            let found = observed.iter().any(|o| {
                let here = |(key, filter): (&String, &ream_paper::Filter)| {
                    o.at.get(key).is_some_and(|place| filter.admits(place))
                };
                o.measure == term.measure && o.arm == term.arm && check.filter.iter().all(here)
            });
            assert!(found, "{}: {term}", check.id);
        }
    }
}

/// The exact part decides c1; what needs the large model is not tested without it.
#[test]
fn theorems_hold_and_missing_parts_leave_claims_untested() {
    let seeds = [ream_lab::SeedObservations { seed: 1, observations: observed().to_vec() }];
    let paper = paper();
    let verdict = |id: &str| ream_lab::judge(&paper.measures, paper.claim(id).unwrap(), &seeds);
    let identity = verdict("c1");
    assert_eq!(identity.checks[0].state, ream_lab::State::Holds, "{}", identity.reason);
    for id in ["c2", "c4"] {
        assert_eq!(verdict(id).verdict, ream_lab::Verdict::NotTested, "{id}");
    }
}

#[test]
fn every_output_is_confirmed() {
    let rates: Vec<&Observation> = observed().iter().filter(|o| o.measure == "satisfaction").collect();
    assert!(rates.iter().all(|o| o.value == 1.0), "{rates:?}");
    assert_eq!(rates.is_empty(), !has_data());
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let mut run = Run::in_memory(1);
    Guard::run(&tiny(), &mut run).unwrap();
    let bits = |all: &[Observation]| all.iter().map(|o| o.value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&run.observations()), bits(observed()));
}

#[test]
fn the_story_begins_badly() {
    let run = Run::in_memory(1);
    if let Ok(folder) = run.data("vader") {
        assert!(ream_data::vader::Vader::open(&folder).unwrap().compound(OPENING) < -0.3);
    }
}

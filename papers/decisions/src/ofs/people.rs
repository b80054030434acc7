//! The real records behind the loops: German Credit and COMPAS.

use std::path::Path;

use ream_data::{compas, german};
use ream_lab::{Error, Result, Run};

use super::config::{Config, Population};
use super::experiment::World;
use super::score::{Feature, People, ScoreModel};

/// The populations that are configured and whose data are there; a warning for each one that is not.
pub(crate) fn worlds(config: &Config, run: &mut Run) -> Result<Vec<World>> {
    let mut worlds = Vec::new();
    for &population in &config.environments {
        let Some(id) = population.data() else {
            worlds.push(World { population, records: Vec::new() });
            continue;
        };
        if !run.has_data(id) {
            run.warn(format!("{}: not tested: data not fetched (ream data fetch {id})", population.name()));
            continue;
        }
        let model = scored(population, &run.data(id)?)?;
        if run.is_first_seed() && run.wanted("score_auc") {
            let at = [("environment", population.name().into())];
            run.observe("score_auc", "out-of-fold", &at, model.auc);
            run.observe("score_auc", "in-sample", &at, model.auc_in_sample);
        }
        worlds.push(World { population, records: model.records });
    }
    Ok(worlds)
}

/// Reads a population's file and scores its records.
pub(crate) fn scored(population: Population, file: &Path) -> Result<ScoreModel> {
    let people = if population == Population::Compas {
        compas_people(&compas::load(file)?)
    } else {
        german_people(&german::load(file)?)
    };
    people
        .score()
        .map_err(|error| Error::failed(format!("{}: the score cannot be fitted: {error}", population.name())))
}

/// Group 1 is 25 years or older. Age and the attribute that joins sex and personal status stay out of the score.
fn german_people(records: &[german::Record]) -> People {
    let words = |name: &str| -> Vec<String> {
        records.iter().map(|r| r.attribute(name).unwrap_or_default().to_owned()).collect()
    };
    let features = german::ATTRIBUTES
        .iter()
        .filter(|name| !["age", "personal"].contains(name))
        .map(|name| {
            if german::NUMERIC.contains(name) {
                // The decoder has checked that these are numbers.
                Feature::Numbers(words(name).iter().map(|w| w.parse().unwrap_or(f64::NAN)).collect())
            } else {
                Feature::Categories(words(name))
            }
        })
        .collect();
    People {
        features,
        groups: records.iter().map(|r| usize::from(r.age >= 25.0)).collect(),
        good: records.iter().map(|r| r.good).collect(),
    }
}

/// Group 1 is Caucasian, group 0 African-American; other records are left out. A good outcome is no recidivism within
/// two years.
fn compas_people(records: &[compas::Record]) -> People {
    let kept: Vec<&compas::Record> =
        records.iter().filter(|r| ["African-American", "Caucasian"].contains(&r.race.as_str())).collect();
    let column = |of: &dyn Fn(&compas::Record) -> f64| Feature::Numbers(kept.iter().map(|r| of(r)).collect());
    let flag = |of: &dyn Fn(&compas::Record) -> bool| column(&|r| f64::from(u8::from(of(r))));
    People {
        features: vec![
            column(&|r| r.age),
            column(&|r| r.priors),
            column(&|r| r.juvenile_felonies),
            column(&|r| r.juvenile_misdemeanours),
            flag(&|r| r.felony),
            flag(&|r| r.male),
        ],
        groups: kept.iter().map(|r| usize::from(r.race == "Caucasian")).collect(),
        good: kept.iter().map(|r| !r.recidivism).collect(),
    }
}

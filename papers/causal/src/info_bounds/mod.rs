//! Bounds on effects under hidden confounding from the propensity alone (*Information-Theoretic Causal Bounds under Unmeasured Confounding*, 2026).
//!
//! With a hidden confounder the law of the outcome under an intervention, `Q = P(Y | do(a), x)`, is not the observed one, `P = P(Y | a, x)`. But
//! `Q = e P + (1 - e) R` for some law `R`, with `e` the probability of the arm, and convexity bounds every f-divergence:
//! `D_f(P || Q) <= B_f(e) = e f(1/e) + (1 - e) f(0)`. The largest mean of `phi(Y)` over all laws within that radius is an upper bound,
//!
//! `theta_up = inf over lambda > 0, u of lambda B_f(e) + u + lambda E_P[g*((phi(Y) - u) / lambda)]`,   `theta_lo(phi) = -theta_up(-phi)`,
//!
//! with `g(s) = s f(1/s)`. `lambda` and `u` are solved for exactly, without covariates or with kernel weights, or learned as functions of arm
//! and covariates by networks whose loss does not feel small errors of the propensity. The intervals of five divergences are joined by an order
//! statistic.
//!
//! Two things that a reader must know: no interval is narrower than Manski's with the sample's own range, since a ball around `P` holds more laws than
//! `e P + (1 - e) R`; and all five conjugates end at a finite point, so that every sample's bound leans on its largest outcome.
//!
//! | part | what is there |
//! |---|---|
//! | [`divergence`] | the five divergences: radii, conjugates, their continuation; bounds on means of bounded functions |
//! | [`dual`] | the exact bound of a weighted sample |
//! | [`marginal`] | bounds of arms and contrasts without covariates, standard errors, Imbens-Manski limits, bootstrap |
//! | [`kernel`] | the exact bound at a covariate value |
//! | [`networks`], [`learner`] | the debiased loss, networks, cross-fitting, averages |
//! | [`propensity`] | probabilities of the arms |
//! | [`aggregate`] | the order-statistic rule |
//! | [`baselines`] | Manski, the marginal sensitivity model |
//! | [`phi`] | functions of the outcome |
//! | [`worlds`] | data whose truth is known |
//! | [`own_data`] | your own file |
//!
//! ```
//! use ream_causal::info_bounds::divergence::Divergence;
//! use ream_causal::info_bounds::marginal::{Rows, marginal};
//! // Whether 12 patients got better, 6 of them treated.
//! let better = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
//! let treated = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0];
//! let rows = Rows { phi: &better, arm: &treated, levels: 2, weights: None };
//! let arms = marginal(&rows, &[Divergence::ChiSquare])?;
//! let effect = arms[1].ends[0].minus(&arms[0].ends[0]);
//! let (low, high) = effect.limits(0.95)?;
//! assert!(low < effect.lower.value && effect.lower.value < 0.5 && 0.5 < effect.upper.value && effect.upper.value < high);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

pub mod aggregate;
pub mod baselines;
mod config;
pub mod divergence;
pub mod dual;
mod experiment;
pub mod kernel;
pub mod learner;
pub mod marginal;
pub mod networks;
pub mod own_data;
pub mod phi;
mod pictures;
pub mod propensity;
#[cfg(test)]
mod tests;
pub mod worlds;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Conditional, Config, Networks, Study};
use divergence::Divergence;

/// The system.
pub struct InfoBounds;

impl System for InfoBounds {
    const PAPER: &'static str = "info-bounds";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        let full = Config::default();
        match preset {
            Preset::Smoke => Config {
                divergences: vec![Divergence::ChiSquare],
                networks: Networks { epochs: 20, ..full.networks },
                bootstrap: 4,
                study: Study {
                    sizes: vec![200, 300],
                    points: 50,
                    noise_divergences: vec![Divergence::ChiSquare],
                    models: 200,
                    growth: vec![100, 1000],
                },
                ..Config::default()
            },
            Preset::Full => full,
            Preset::Long => Config {
                study: Study { sizes: vec![500, 1000, 2000, 4000], ..full.study },
                ..Config::default()
            },
        }
    }

    fn seeds(preset: Preset) -> u64 {
        match preset {
            Preset::Smoke => 1,
            Preset::Full | Preset::Long => 20,
        }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let rows: usize = config.study.sizes.iter().sum();
        let fits = (config.divergences.len() + 3 * config.study.noise_divergences.len()) as f64;
        Needs {
            data: experiment::DATA.map(str::to_owned).to_vec(),
            threads: 1,
            memory_mib: 300,
            minutes: rows as f64 * fits * config.networks.epochs as f64 * 1.5e-8,
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::load(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => own_data::run(config, &file, run),
            None => {
                own_data::none_of_own(config)?;
                experiment::run_all(config, run)
            }
        }
    }
}

//! What can be set.

use ream_lab::Invalid;
use ream_stats::local_polynomial::{self, Constants};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::estimate::{Bandwidth, Method, Settings};

/// How neighbours are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// `max(0, 1 - |u|)`.
    Triangular,
    /// `3/4 max(0, 1 - u^2)`.
    Epanechnikov,
    /// `1/2` for `|u| <= 1`.
    Uniform,
}

impl Kernel {
    /// As the statistics know it.
    #[must_use]
    pub fn kernel(self) -> local_polynomial::Kernel {
        match self {
            Self::Triangular => local_polynomial::Kernel::Triangular,
            Self::Epanechnikov => local_polynomial::Kernel::Epanechnikov,
            Self::Uniform => local_polynomial::Kernel::Uniform,
        }
    }
}

/// Which estimator your own data get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// One bandwidth; each side's curve projected on the quantile functions (local Frechet regression).
    Frechet,
    /// A bandwidth for each quantile; each side's curve sorted.
    Simple,
}

impl Estimator {
    /// As the method knows it.
    #[must_use]
    pub fn method(self) -> Method {
        match self {
            Self::Frechet => Method::Frechet,
            Self::Simple => Method::Simple,
        }
    }
}

/// Constants of the bandwidth rule's last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BwConstants {
    /// The moment constants of the kernel are kept, as derived.
    Keep,
    /// They are dropped, as in a published implementation: for comparison.
    Drop,
}

/// What can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Your own file: column that names the unit.
    pub unit: String,
    /// Your own file: column of the running variable, constant within a unit.
    pub running: String,
    /// Your own file: column of the individuals' outcome.
    pub outcome: String,
    /// Your own file: column of the treatment, constant within a unit; makes the design fuzzy.
    pub treatment: Option<String>,
    /// Your own file: column of the individuals' weights.
    pub weight: Option<String>,
    /// Your own file in wide form (a row for each unit): columns of its quantiles, one for each probability of `grid`. Columns
    /// called q0.1, q0.2, ... need not be listed.
    pub quantile_columns: Vec<String>,
    /// The cutoff; units at it are above.
    pub cutoff: f64,
    /// Kernel for your own data and the elections; the simulations have Epanechnikov's, like the paper's.
    pub kernel: Kernel,
    /// Order p of the local polynomials. One more than `bandwidth_order` removes the leading bias.
    pub order: usize,
    /// Order s that automatic bandwidths are made for.
    pub bandwidth_order: usize,
    /// The estimator for your own data.
    pub method: Estimator,
    /// Probabilities; empty for 0.01, ..., 0.99, or 0.1, ..., 0.9 where the median unit has fewer than 51 individuals.
    pub grid: Vec<f64>,
    /// `auto`, a number, or numbers separated by commas, one for each quantile (method simple).
    pub bandwidth: String,
    /// Bandwidth for the treatment of a fuzzy design; none for its own automatic one.
    pub treatment_bandwidth: Option<f64>,
    /// Shrink automatic bandwidths, for intervals rather than estimates.
    pub coverage: bool,
    /// Whether the bandwidth rule keeps the kernel's moment constants in its last step.
    pub bw_constants: BwConstants,
    /// Draws of the multiplier bootstrap.
    pub draws: usize,
    /// 1 - alpha is the level of intervals and bands.
    pub alpha: f64,
    /// Ranges of quantiles to be tested on their own, as [[from, to], ...].
    pub test_ranges: Vec<[f64; 2]>,
    /// Also estimate without units nearer to the cutoff than this; 0 for not.
    pub donut: f64,
    /// Placebo cutoffs; empty for the medians of the running variable on either side.
    pub placebo: Vec<f64>,
    /// The simulations.
    pub simulation: Simulation,
}

/// The simulations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// Numbers of units.
    pub sizes: Vec<usize>,
    /// Numbers of units in the world of two levels.
    pub two_level_sizes: Vec<usize>,
    /// Effects.
    pub effects: Vec<f64>,
    /// Individuals of a unit.
    pub individuals: usize,
    /// Replications of each cell in a seed.
    pub replications: usize,
    /// Draws of the bootstrap.
    pub draws: usize,
}

/// Fewest draws of the bootstrap.
pub const FEWEST_DRAWS: usize = 200;

impl Default for Config {
    fn default() -> Self {
        Self {
            unit: "unit".to_owned(),
            running: "running".to_owned(),
            outcome: "outcome".to_owned(),
            treatment: None,
            weight: None,
            quantile_columns: Vec::new(),
            cutoff: 0.0,
            kernel: Kernel::Triangular,
            order: 2,
            bandwidth_order: 1,
            method: Estimator::Frechet,
            grid: Vec::new(),
            bandwidth: "auto".to_owned(),
            treatment_bandwidth: None,
            coverage: false,
            bw_constants: BwConstants::Keep,
            draws: 1000,
            alpha: 0.05,
            test_ranges: Vec::new(),
            donut: 0.0,
            placebo: Vec::new(),
            simulation: Simulation {
                sizes: vec![200, 500],
                two_level_sizes: vec![200, 500, 2000],
                effects: vec![0.0, 1.0, 2.0],
                individuals: 50,
                replications: 50,
                draws: 200,
            },
        }
    }
}

impl Config {
    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("order", self.order, 0..=6)?;
        Invalid::unless_in("bandwidth_order", self.bandwidth_order, 1..=4)?;
        Invalid::unless_in("draws", self.draws, FEWEST_DRAWS..=100_000)?;
        if !(self.alpha >= 0.001 && self.alpha <= 0.5) {
            return Err(Invalid::new("alpha", "a number from 0.001 to 0.5", self.alpha.to_string()));
        }
        if !self.cutoff.is_finite() {
            return Err(Invalid::new("cutoff", "a finite number", self.cutoff.to_string()));
        }
        // The critical value is an order statistic of the draws.
        if ((1.0 - self.alpha) * (self.draws + 1) as f64 - 1e-9).ceil() > self.draws as f64 {
            let wanted = format!("more draws for alpha {}", self.alpha);
            return Err(Invalid::new("draws", wanted, self.draws.to_string()));
        }
        ascending_probabilities("grid", &self.grid)?;
        self.bandwidth_choice()?;
        if let Some(h) = self.treatment_bandwidth.filter(|h| !(*h > 0.0 && h.is_finite())) {
            return Err(Invalid::new("treatment_bandwidth", "a number above 0", h.to_string()));
        }
        for range in &self.test_ranges {
            if !(range[0] > 0.0 && range[0] < range[1] && range[1] < 1.0) {
                let got = format!("{range:?}");
                return Err(Invalid::new("test_ranges", "pairs [from, to] with 0 < from < to < 1", got));
            }
        }
        if !(self.donut >= 0.0 && self.donut.is_finite()) {
            return Err(Invalid::new("donut", "a number of at least 0", self.donut.to_string()));
        }
        if let Some(place) = self.placebo.iter().find(|p| !p.is_finite() || **p == self.cutoff) {
            return Err(Invalid::new("placebo", "finite cutoffs other than the true one", place.to_string()));
        }
        self.simulation.check()
    }

    /// The bandwidth as it was written.
    ///
    /// # Errors
    /// What is neither `auto` nor numbers above 0.
    pub fn bandwidth_choice(&self) -> Result<Bandwidth, Invalid> {
        let text = self.bandwidth.trim().trim_start_matches('[').trim_end_matches(']');
        if text == "auto" {
            return Ok(Bandwidth::Automatic);
        }
        let wrong = |part: &str| {
            Invalid::new(
                "bandwidth",
                "`auto`, a number above 0, or such numbers separated by commas",
                format!("`{part}`"),
            )
        };
        let number = |part: &str| match part.trim().parse::<f64>() {
            Ok(h) if h > 0.0 && h.is_finite() => Ok(h),
            _ => Err(wrong(part)),
        };
        let values: Vec<f64> = text.split(',').map(number).collect::<Result<_, _>>()?;
        Ok(match values.as_slice() {
            [one] => Bandwidth::Common(*one),
            _ => Bandwidth::Each(values),
        })
    }

    /// Settings of the estimator for the user's own data.
    ///
    /// # Errors
    /// As [`Config::bandwidth_choice`].
    pub fn settings(&self) -> Result<Settings, Invalid> {
        Ok(Settings {
            cutoff: self.cutoff,
            kernel: self.kernel.kernel(),
            order: self.order,
            bandwidth_order: self.bandwidth_order,
            method: self.method.method(),
            bandwidth: self.bandwidth_choice()?,
            treatment_bandwidth: self.treatment_bandwidth,
            coverage: self.coverage,
            constants: match self.bw_constants {
                BwConstants::Keep => Constants::Keep,
                BwConstants::Drop => Constants::Drop,
            },
        })
    }

    /// Level of intervals and bands.
    #[must_use]
    pub fn level(&self) -> f64 {
        1.0 - self.alpha
    }
}

/// Probabilities in (0, 1), each above the one before; none is fine.
fn ascending_probabilities(key: &str, grid: &[f64]) -> Result<(), Invalid> {
    if let Some(q) = grid.iter().find(|q| !(**q > 0.0 && **q < 1.0)) {
        return Err(Invalid::new(key, "quantiles above 0 and below 1", q.to_string()));
    }
    match grid.windows(2).find(|pair| pair[1] <= pair[0]) {
        Some(pair) => Err(Invalid::new(key, "ascending quantiles", format!("{} after {}", pair[1], pair[0]))),
        None => Ok(()),
    }
}

impl Simulation {
    fn check(&self) -> Result<(), Invalid> {
        for (key, sizes) in
            [("simulation.sizes", &self.sizes), ("simulation.two_level_sizes", &self.two_level_sizes)]
        {
            let once = |n: &usize| sizes.iter().filter(|other| *other == n).count() == 1;
            if !sizes.iter().all(|n| (50..=100_000).contains(n) && once(n)) {
                return Err(Invalid::new(key, "numbers from 50 to 100000, each once", format!("{sizes:?}")));
            }
        }
        let once = |e: &f64| self.effects.iter().filter(|other| *other == e).count() == 1;
        if self.effects.is_empty() || !self.effects.iter().all(|e| e.is_finite() && once(e)) {
            let got = format!("{:?}", self.effects);
            return Err(Invalid::new("simulation.effects", "one or more finite numbers, each once", got));
        }
        Invalid::unless_in("simulation.individuals", self.individuals, 2..=10_000)?;
        Invalid::unless_in("simulation.replications", self.replications, 2..=100_000)?;
        Invalid::unless_in("simulation.draws", self.draws, 20..=100_000)
    }
}

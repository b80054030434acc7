//! All methods on one augmented sample.

use ream_lab::Result;
use ream_rand::Stream;

use super::baselines::{ANCHOR_GAMMA, Folded, corrected_l1, corrected_l2};
use super::icp::icp;
use super::sample::{Fits, Sample};
use super::select::{Selector, choose, confounding};

/// Level of the tests of invariant causal prediction.
const ICP_LEVEL: f64 = 0.05;

/// Methods that are ranked against each other; IVL by its default rule is the first.
pub const RANKED: [&str; 13] = [
    "ivl-cc",
    "erm",
    "da-erm",
    "da-iv",
    "ridge",
    "concorr-l2",
    "concorr-l1",
    "anchor",
    "irm",
    "v-rex",
    "mm-rex",
    "group-dro",
    "icp",
];

/// Coefficients of one method.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// `[m]`.
    pub coefficients: Vec<f64>,
}

/// What all methods make of one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimates {
    /// Every method.
    pub arms: Vec<Arm>,
    /// The fits of the paper, with the whole path.
    pub fits: Fits,
    /// The `alpha` of each selector.
    pub alphas: Vec<(Selector, f64)>,
    /// Estimated share of confounding in DA+ERM.
    pub share: f64,
    /// Whether normal equations were singular, so that a ridge of 1e-12 was added.
    pub ridged: bool,
}

impl Estimates {
    /// The coefficients of a method.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&[f64]> {
        self.arms.iter().find(|arm| arm.name == name).map(|arm| arm.coefficients.as_slice())
    }
}

/// The paper's own fits: ERM, DA+ERM, both limits, and IVL by each selector.
///
/// # Errors
/// Dependent columns, too few rows.
pub fn paper_arms(
    sample: &Sample,
    alphas: &[f64],
    selectors: &[Selector],
    stream: Stream,
) -> Result<Estimates> {
    let fits = Fits::new(sample, alphas)?;
    let mut arms = Vec::new();
    let mut add = |name: &str, h: &[f64]| {
        arms.push(Arm { name: name.to_owned(), coefficients: h.to_vec() });
    };
    add("erm", &fits.erm);
    add("da-erm", &fits.da_erm);
    add("da-iv", &fits.da_iv);
    add("da-iv-risk", &fits.da_iv_risk);
    let mut chosen = Vec::new();
    for &selector in selectors {
        let choice = choose(selector, sample, alphas, (&fits.da_erm, &fits.path), stream)?;
        add(&format!("ivl-{}", selector.name()), &fits.path[choice.position]);
        chosen.push((selector, alphas[choice.position]));
    }
    Ok(Estimates { arms, fits, alphas: chosen, share: 0.0, ridged: false })
}

/// The same and every baseline.
///
/// # Errors
/// Dependent columns, too few rows, a descent that does not converge.
pub fn all_arms(sample: &Sample, alphas: &[f64], stream: Stream) -> Result<Estimates> {
    let mut of = paper_arms(sample, alphas, &Selector::ALL, stream)?;
    let folded = Folded::new(sample, stream.child(1))?;
    let [_, augmented] = folded.all();
    let environments = folded.environments();
    let found = confounding(&of.fits.da_erm, &(&augmented.xx / augmented.rows))?;
    // Anchor regression is IVL at gamma = 1 + 1 / alpha.
    let (anchor, ridged) = augmented.ivl_path(&[1.0 / (ANCHOR_GAMMA - 1.0)]);
    let more: [(&str, Vec<f64>); 9] = [
        ("ridge", folded.ridge()),
        ("concorr-l2", corrected_l2(augmented, &of.fits.da_erm, found)),
        ("concorr-l1", corrected_l1(augmented, &of.fits.da_erm, found)?),
        ("anchor", anchor.into_iter().flatten().collect()),
        ("irm", folded.irm()),
        ("v-rex", folded.variance_rex()),
        ("mm-rex", folded.minimax_rex()),
        ("group-dro", environments.group_dro().as_slice().to_vec()),
        ("icp", icp(folded.all(), ICP_LEVEL)?.coefficients),
    ];
    of.arms.extend(more.map(|(name, coefficients)| Arm { name: name.to_owned(), coefficients }));
    of.share = found.share;
    of.ridged = ridged;
    Ok(of)
}

/// What a reader must know of singular normal equations.
pub const RIDGED: &str = "normal equations of the augmented inputs are singular to rounding: a ridge of 1e-12 (of a unit diagonal) was added \
                          where selectors and baselines solve them; leave out inputs that repeat each other";

/// Rank of the first score, 1 for the lowest; equal scores share their mean rank.
#[must_use]
pub fn rank_of_first(scores: &[f64]) -> f64 {
    let first = scores.first().copied().unwrap_or(f64::NAN);
    let below = scores.iter().filter(|s| **s < first).count() as f64;
    let equal = scores.iter().filter(|s| **s == first).count() as f64;
    below + 0.5 * (equal + 1.0)
}

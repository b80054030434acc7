//! The two estimators: local polynomials of quantile curves on both sides of a cutoff, each side made monotone.

use ream_stats::local_polynomial::{
    BandwidthRule, Constants, Kernel, LocalPolynomial, Side, imse_optimal, mse_optimal,
};
use ream_stats::{Matrix, monotone};

use super::failure::Failure;
use super::sample::Sample;

/// How the sides' curves are made monotone, and how bandwidths are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A bandwidth for each quantile; each side's fitted curve is sorted (rearrangement).
    Simple,
    /// One bandwidth; each side's fitted curve is projected on the non-decreasing functions, which is the local Frechet mean
    /// under the 2-Wasserstein distance.
    Frechet,
}

/// Where bandwidths come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Bandwidth {
    /// The three-step rule: for each quantile (simple) or for the whole curve (Frechet).
    Automatic,
    /// This one.
    Common(f64),
    /// One for each point of the grid.
    Each(Vec<f64>),
}

/// How an effect is estimated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The cutoff `c`; units at it are above.
    pub cutoff: f64,
    /// The kernel.
    pub kernel: Kernel,
    /// Order `p` of the polynomials.
    pub order: usize,
    /// Order `s` that automatic bandwidths are made for. `p = s + 1` removes the leading bias: the default.
    pub bandwidth_order: usize,
    /// The estimator.
    pub method: Method,
    /// The bandwidths.
    pub bandwidth: Bandwidth,
    /// Bandwidth for the treatment of a fuzzy design; by default its own automatic one.
    pub treatment_bandwidth: Option<f64>,
    /// Shrink automatic bandwidths for coverage.
    pub coverage: bool,
    /// Whether the last step of the rule keeps the moment constants of the kernel. They belong there; a published
    /// implementation drops them.
    pub constants: Constants,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cutoff: 0.0,
            kernel: Kernel::Triangular,
            order: 2,
            bandwidth_order: 1,
            method: Method::Frechet,
            bandwidth: Bandwidth::Automatic,
            treatment_bandwidth: None,
            coverage: false,
            constants: Constants::Keep,
        }
    }
}

/// The jump of the treatment's share in a fuzzy design.
#[derive(Clone, Debug, PartialEq)]
pub struct TreatmentJump {
    /// `t_-` and `t_+`.
    pub sides: [f64; 2],
    /// `D = t_+ - t_-`.
    pub jump: f64,
    /// Its bandwidth.
    pub bandwidth: f64,
}

/// An estimated effect with what its noise is made of.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Probabilities, `[Q]`.
    pub grid: Vec<f64>,
    /// `tau(q)`, `[Q]`; need not be monotone.
    pub effect: Vec<f64>,
    /// `m_-(q)`, non-decreasing.
    pub below: Vec<f64>,
    /// `m_+(q)`, non-decreasing.
    pub above: Vec<f64>,
    /// Bandwidth at each quantile, `[Q]`.
    pub bandwidths: Vec<f64>,
    /// Units of positive weight below and above, at each quantile.
    pub effective: Vec<[usize; 2]>,
    /// The treatment in a fuzzy design.
    pub treatment: Option<TreatmentJump>,
    /// Quantiles whose automatic bandwidth held too few units and was widened.
    pub widened: Vec<usize>,
    /// Quantiles whose biases cancel, so that their bandwidth is a rule of thumb.
    pub rule_of_thumb: Vec<usize>,
    /// One entry for each unit that has a weight anywhere, in order of units.
    pub(crate) parts: Vec<Part>,
    sides: [SideFit; 2],
}

/// What a unit adds to the noise.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its side (0 below, 1 above) and row there.
    place: Option<(usize, usize)>,
    /// `e_T (w_T+ - w_T-)`.
    treatment: f64,
}

/// One side's curve and its units' `w_i(q) e_i(q)`.
#[derive(Clone, Debug)]
struct SideFit {
    curve: Vec<f64>,
    /// Units in the widest window, ascending.
    rows: Vec<usize>,
    /// `[rows, Q]`.
    contributions: Matrix,
    effective: Vec<usize>,
}

impl Fit {
    /// Writes what a part adds to the noise of `m_+`, of `m_-` and of `D`: `[Q | Q | 1]`.
    pub(crate) fn fill(&self, part: usize, row: &mut [f64]) {
        let count = self.grid.len();
        row.fill(0.0);
        let part = &self.parts[part];
        if let Some((side, at)) = part.place {
            let begin = if side == 1 { 0 } else { count };
            row[begin..begin + count].copy_from_slice(self.sides[side].contributions.row(at));
        }
        row[2 * count] = part.treatment;
    }

    /// Mean of the effect over the grid.
    #[must_use]
    pub fn mean_effect(&self) -> f64 {
        self.effect.iter().sum::<f64>() / self.effect.len() as f64
    }
}

/// Estimates `tau(q) = lim_{x down to c} E[Q(q) | x] - lim_{x up to c} E[Q(q) | x]`; in a fuzzy design divided by the jump of
/// `E[T | x]`.
///
/// # Errors
/// [`Failure`]: no units on a side, fewer than `p + 2` of them in a window, bandwidths that are not above 0, a treatment
/// that does not jump, input that is not finite.
pub fn estimate(sample: &Sample, settings: &Settings) -> Result<Fit, Failure> {
    check_sides(sample, settings.cutoff)?;
    let mut chosen = bandwidths(sample, &sample.curves, settings)?;
    let widened = widen(sample, settings, &mut chosen.values)?;
    let below = side(sample, settings, &chosen.values, Side::Below)?;
    let above = side(sample, settings, &chosen.values, Side::Above)?;
    let mut effect: Vec<f64> = above.curve.iter().zip(&below.curve).map(|(a, b)| a - b).collect();
    let treatment = treatment(sample, settings)?;
    let (treatment, noise) = match treatment {
        Some((jump, noise)) => {
            effect.iter_mut().for_each(|e| *e /= jump.jump);
            (Some(jump), noise)
        }
        None => (None, Vec::new()),
    };
    Ok(Fit {
        grid: sample.grid.clone(),
        effect,
        below: below.curve.clone(),
        above: above.curve.clone(),
        effective: below.effective.iter().zip(&above.effective).map(|(b, a)| [*b, *a]).collect(),
        bandwidths: chosen.values,
        treatment,
        widened,
        rule_of_thumb: chosen.rule_of_thumb,
        parts: parts(&below.rows, &above.rows, &noise, sample.units()),
        sides: [below, above],
    })
}

fn check_sides(sample: &Sample, cutoff: f64) -> Result<(), Failure> {
    if sample.grid.is_empty() {
        return Err(Failure::Setting("the grid of quantiles is empty; wanted one or more".to_owned()));
    }
    if !cutoff.is_finite() {
        return Err(Failure::Setting(format!("the cutoff is {cutoff}; wanted a finite number")));
    }
    let above = sample.x.iter().filter(|x| **x >= cutoff).count();
    for (side, count) in [(Side::Below, sample.units() - above), (Side::Above, above)] {
        if count == 0 {
            return Err(Failure::EmptySide { side, cutoff, units: sample.units() });
        }
    }
    Ok(())
}

struct Chosen {
    values: Vec<f64>,
    rule_of_thumb: Vec<usize>,
}

fn bandwidths(sample: &Sample, outcomes: &Matrix, settings: &Settings) -> Result<Chosen, Failure> {
    let count = outcomes.cols();
    let values = match &settings.bandwidth {
        Bandwidth::Common(h) => vec![*h; count],
        Bandwidth::Each(values)
            if settings.method == Method::Frechet && values.iter().any(|h| *h != values[0]) =>
        {
            let problem = "the Frechet estimator projects whole curves and takes one bandwidth; give one, or choose the \
                           simple estimator";
            return Err(Failure::Setting(problem.to_owned()));
        }
        Bandwidth::Each(values) if values.len() == count => values.clone(),
        Bandwidth::Each(values) => {
            let problem = format!("{} bandwidths for {count} quantiles; wanted one for each", values.len());
            return Err(Failure::Setting(problem));
        }
        Bandwidth::Automatic => return automatic(sample, outcomes, settings),
    };
    match values.iter().find(|h| !(**h > 0.0 && h.is_finite())) {
        Some(h) => Err(Failure::Setting(format!("the bandwidth is {h}; wanted a number above 0"))),
        None => Ok(Chosen { values, rule_of_thumb: Vec::new() }),
    }
}

fn automatic(sample: &Sample, outcomes: &Matrix, settings: &Settings) -> Result<Chosen, Failure> {
    let rule = BandwidthRule {
        kernel: settings.kernel,
        order: settings.bandwidth_order,
        coverage: settings.coverage,
        constants: settings.constants,
    };
    let count = outcomes.cols();
    let found = match settings.method {
        Method::Simple => mse_optimal(&sample.x, outcomes, settings.cutoff, &rule)?,
        Method::Frechet => imse_optimal(&sample.x, outcomes, settings.cutoff, &rule)?,
    };
    let of = |q: usize| if found.values.len() == count { q } else { 0 };
    Ok(Chosen {
        values: (0..count).map(|q| found.values[of(q)]).collect(),
        rule_of_thumb: (0..count).filter(|&q| found.rule_of_thumb[of(q)]).collect(),
    })
}

/// The least bandwidth that gives weight to `wanted` units of a side, all at different places.
fn least(sample: &Sample, cutoff: f64, side: Side, wanted: usize) -> Option<f64> {
    let mut distances: Vec<f64> =
        sample.x.iter().filter(|x| on(side, **x, cutoff)).map(|x| (x - cutoff).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances.dedup();
    // Kernels vanish at the very edge.
    distances.get(wanted.checked_sub(1)?).map(|d| if *d > 0.0 { d * (1.0 + 1e-6) } else { f64::MIN_POSITIVE })
}

fn on(side: Side, x: f64, cutoff: f64) -> bool {
    match side {
        Side::Below => x < cutoff,
        Side::Above => x >= cutoff,
        Side::Both => true,
    }
}

/// Widens automatic bandwidths that hold fewer than `p + 2` units at different places on a side; given ones are kept, and
/// refused where they are too narrow.
fn widen(sample: &Sample, settings: &Settings, values: &mut [f64]) -> Result<Vec<usize>, Failure> {
    let wanted = settings.order + 2;
    let mut widened = Vec::new();
    for side in [Side::Below, Side::Above] {
        let least = least(sample, settings.cutoff, side, wanted);
        for (q, h) in values.iter_mut().enumerate() {
            match (least, &settings.bandwidth) {
                (Some(least), _) if *h >= least => {}
                (Some(least), Bandwidth::Automatic) => {
                    *h = least;
                    widened.push(q);
                }
                _ => {
                    let found = in_window(sample, settings, side, *h);
                    return Err(Failure::TooFewUnits { side, bandwidth: *h, wanted, found });
                }
            }
        }
    }
    widened.sort_unstable();
    widened.dedup();
    Ok(widened)
}

/// Different places of units with a weight.
fn in_window(sample: &Sample, settings: &Settings, side: Side, h: f64) -> usize {
    let holds =
        |x: &&f64| on(side, **x, settings.cutoff) && settings.kernel.at((**x - settings.cutoff) / h) > 0.0;
    let mut places: Vec<f64> = sample.x.iter().filter(holds).copied().collect();
    places.sort_unstable_by(f64::total_cmp);
    places.dedup();
    places.len()
}

fn side(sample: &Sample, settings: &Settings, values: &[f64], side: Side) -> Result<SideFit, Failure> {
    let common = values.iter().all(|h| *h == values[0]);
    let mut fit = if common {
        with_one(sample, settings, values[0], side)?
    } else {
        with_each(sample, settings, values, side)?
    };
    fit.curve = match settings.method {
        Method::Simple => monotone::rearranged(&fit.curve)?,
        Method::Frechet => monotone::isotonic(&fit.curve, None)?,
    };
    Ok(fit)
}

fn local(sample: &Sample, settings: &Settings, side: Side, h: f64) -> Result<LocalPolynomial, Failure> {
    Ok(LocalPolynomial::new(&sample.x, settings.cutoff, side, settings.kernel, settings.order, h)?)
}

/// One set of weights for all quantiles.
fn with_one(sample: &Sample, settings: &Settings, h: f64, side: Side) -> Result<SideFit, Failure> {
    let fit = local(sample, settings, side, h)?;
    let coefficients = fit.coefficients_of(&sample.curves)?;
    let count = sample.grid.len();
    let mut fitted = vec![0.0; fit.rows().len() * count];
    for (row, u) in fitted.chunks_exact_mut(count).zip(fit.offsets()) {
        for j in (0..=settings.order).rev() {
            row.iter_mut().zip(coefficients.row(j)).for_each(|(to, c)| *to = *to * (u * h) + c);
        }
    }
    if settings.method == Method::Frechet {
        monotone::isotonic_rows(&mut fitted, count)?;
    }
    for ((row, &i), w) in fitted.chunks_exact_mut(count).zip(fit.rows()).zip(fit.weights()) {
        row.iter_mut().zip(sample.curves.row(i)).for_each(|(to, value)| *to = w * (value - *to));
    }
    Ok(SideFit {
        curve: coefficients.row(0).to_vec(),
        rows: fit.rows().to_vec(),
        contributions: Matrix::new(fit.rows().len(), count, fitted)?,
        effective: vec![fit.rows().len(); count],
    })
}

/// Weights for every quantile.
fn with_each(sample: &Sample, settings: &Settings, values: &[f64], side: Side) -> Result<SideFit, Failure> {
    let widest = values.iter().fold(0.0_f64, |m, h| m.max(*h));
    let rows = local(sample, settings, side, widest)?.rows().to_vec();
    let count = values.len();
    let mut parts = vec![0.0; rows.len() * count];
    let (mut curve, mut effective) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut fit, mut of) = (local(sample, settings, side, values[0])?, values[0]);
    for (q, &h) in values.iter().enumerate() {
        if h != of {
            (fit, of) = (local(sample, settings, side, h)?, h);
        }
        let outcome = sample.curves.column(q);
        curve.push(fit.value(&outcome)?);
        effective.push(fit.rows().len());
        let residuals = fit.residuals(&outcome)?;
        let mut at = 0;
        for ((&i, w), e) in fit.rows().iter().zip(fit.weights()).zip(residuals) {
            // Windows are nested and both lists ascend.
            while rows[at] != i {
                at += 1;
            }
            parts[at * count + q] = w * e;
        }
    }
    let contributions = Matrix::new(rows.len(), count, parts)?;
    Ok(SideFit { curve, rows, contributions, effective })
}

/// Jump of the treatment with its own bandwidth, and `(unit, e_T (w_T+ - w_T-))`, ascending.
type Jump = (TreatmentJump, Vec<(usize, f64)>);

fn treatment(sample: &Sample, settings: &Settings) -> Result<Option<Jump>, Failure> {
    let Some(treatment) = &sample.treatment else { return Ok(None) };
    let outcome = Matrix::new(treatment.len(), 1, treatment.clone())?;
    let bandwidth = settings.treatment_bandwidth.map_or(Bandwidth::Automatic, Bandwidth::Common);
    // A sharp jump has no bias to balance: then the rule of thumb serves.
    let settings = Settings { method: Method::Simple, bandwidth, ..settings.clone() };
    let mut values = bandwidths(sample, &outcome, &settings)?.values;
    widen(sample, &settings, &mut values)?;
    let mut sides = [0.0; 2];
    let mut noise = Vec::new();
    for (k, side) in [Side::Below, Side::Above].into_iter().enumerate() {
        let fit = local(sample, &settings, side, values[0])?;
        sides[k] = fit.value(treatment)?;
        let sign = if side == Side::Above { 1.0 } else { -1.0 };
        let residuals = fit.residuals(treatment)?;
        noise.extend(
            fit.rows().iter().zip(fit.weights()).zip(residuals).map(|((&i, w), e)| (i, sign * w * e)),
        );
    }
    let jump = sides[1] - sides[0];
    if jump.abs() < 1e-6 {
        return Err(Failure::NoJump { sides });
    }
    noise.sort_unstable_by_key(|(unit, _)| *unit);
    Ok(Some((TreatmentJump { sides, jump, bandwidth: values[0] }, noise)))
}

/// The units of all windows, each once.
fn parts(below: &[usize], above: &[usize], treatment: &[(usize, f64)], units: usize) -> Vec<Part> {
    let mut all: Vec<Option<Part>> = vec![None; units];
    for (side, rows) in [below, above].into_iter().enumerate() {
        for (at, &unit) in rows.iter().enumerate() {
            all[unit] = Some(Part { place: Some((side, at)), treatment: 0.0 });
        }
    }
    for &(unit, value) in treatment {
        all[unit].get_or_insert(Part { place: None, treatment: 0.0 }).treatment = value;
    }
    all.into_iter().flatten().collect()
}

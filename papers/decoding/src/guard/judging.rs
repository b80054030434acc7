//! Proposals side by side: fresh draws of all of them in one pool, their estimates with intervals, what is observed of them.

use ream_lab::{Cell, Place, Result, Run, Spread, Table};
use ream_rand::Stream;
use ream_stats::descriptive::{quantiles, standard_deviation};
use serde::{Deserialize, Serialize};

use super::estimates::{Estimates, FEWEST_EFFECTIVE, Pool, distinct_pairs, effective, self_bleu};
use super::law::{Law, Tokens, failed};
use super::training::{Look, Task};

/// Accepted texts of a method whose diversity is measured.
const DIVERSE: usize = 200;
/// Texts by which it is checked that base and proposal score the same event.
const SAME_EVENT: usize = 500;

/// A method's law, how many fresh draws judge it, and the tokens of its training.
pub(super) struct Arm<'a> {
    pub(super) name: &'static str,
    pub(super) law: &'a dyn Law,
    pub(super) draws: usize,
    pub(super) training_tokens: usize,
}

/// What the pictures show of a condition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) title: String,
    pub(super) arms: Vec<SeenArm>,
    /// Method, and its share of texts with the mark in each bin.
    pub(super) places: Vec<(String, Vec<f64>)>,
    pub(super) curves: Vec<(String, Vec<Look>)>,
    /// Each sample with the draws that it took.
    pub(super) samples: Vec<(String, usize)>,
    /// Outputs of the guarded sampler, and those that the second matcher confirmed.
    pub(super) outputs: (usize, usize),
}

/// A method in the plane of acceptance and divergence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeenArm {
    pub(super) name: String,
    pub(super) acceptance: [f64; 3],
    /// `KL(g || g')` with its interval; NaN when not resolved.
    pub(super) to_output: [f64; 3],
}

/// All methods of a condition.
pub(super) struct Judged {
    names: Vec<&'static str>,
    training: Vec<usize>,
    pub(super) pool: Pool,
    z: f64,
    estimates: Vec<Estimates>,
    times: Vec<Vec<f64>>,
    resampled: Vec<(f64, Vec<Estimates>)>,
    effective: f64,
}

impl Judged {
    pub(super) fn new(
        arms: &[Arm<'_>],
        task: &Task<'_>,
        resamples: usize,
        stream: Stream,
        told: super::training::Told<'_>,
    ) -> Result<Self> {
        let laws: Vec<(&dyn Law, usize)> = arms.iter().map(|arm| (arm.law, arm.draws)).collect();
        let pool = task.gather(&laws, stream.child(0), told)?;
        Ok(Self::of(arms, pool, resamples, stream))
    }

    pub(super) fn of(arms: &[Arm<'_>], pool: Pool, resamples: usize, stream: Stream) -> Self {
        let (z, estimates) = pool.estimate(&vec![1.0; pool.texts.len()]);
        let times = pool.resamples(resamples, stream.child(1));
        let resampled = times.iter().map(|times| pool.estimate(times)).collect();
        Self {
            names: arms.iter().map(|arm| arm.name).collect(),
            training: arms.iter().map(|arm| arm.training_tokens).collect(),
            effective: pool.effective(),
            pool,
            z,
            estimates,
            times,
            resampled,
        }
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| *n == name)
    }

    pub(super) fn is_resolved(&self) -> bool {
        self.effective >= FEWEST_EFFECTIVE
    }

    /// The draws of a figure, those without a value left out.
    fn draws(&self, of: impl Fn(&(f64, Vec<Estimates>)) -> f64) -> Vec<f64> {
        self.resampled.iter().map(of).filter(|x| x.is_finite()).collect()
    }

    fn observe(&self, run: &mut Run, measure: &str, arm: &str, at: At<'_>, value: f64, draws: Vec<f64>) {
        if !value.is_finite() {
            return;
        }
        // Draws of several arms belong together only when none is missing.
        if draws.len() == self.resampled.len() {
            run.observe_with(measure, arm, at, value, Spread::Draws(draws));
        } else if let Ok(se) = standard_deviation(&draws) {
            run.observe_with(measure, arm, at, value, Spread::Se(se));
        } else {
            run.observe(measure, arm, at, value);
        }
    }

    /// Everything about every method; a row of the table for each.
    pub(super) fn observe_all(&self, run: &mut Run, title: &str, at: At<'_>) {
        let columns = [
            "method",
            "training tokens",
            "AR",
            "low",
            "high",
            "draws per output",
            "gain",
            "KL(g‖a')",
            "KL(g‖g')",
            "identity, in SE",
            "ESS",
            "distinct-2",
            "self-BLEU",
            "perplexity",
        ];
        let mut table = Table::new(format!("{title}: methods"), &columns);
        table.note = format!(
            "Z = {} from all draws together, worth {:.0} effective samples of g. AR: share of fresh draws that satisfy the condition, with its 95 % interval (Wilson); gain: AR over Z. Divergences in nats a text. Identity: KL(g‖g') from the method's own outputs less that from the identity, in standard errors of the difference. ESS: what the method's own outputs are worth as samples of g. Perplexity of its outputs under the base model.",
            Cell::from(self.z).show(),
            self.effective
        );
        if self.is_resolved() {
            self.observe(run, "z", "base", at, self.z, self.draws(|r| r.0));
        }
        run.observe("effective", "pool", at, self.effective);
        if !self.is_resolved() {
            run.warn(format!(
                "{title}: the draws are worth {:.1} samples of g, fewer than {FEWEST_EFFECTIVE}: divergences are not resolved",
                self.effective
            ));
        }
        for k in 0..self.names.len() {
            let row = self.observe_method(run, k, at);
            table.rows.push(row);
        }
        run.table(table);
    }

    fn observe_method(&self, run: &mut Run, k: usize, at: At<'_>) -> Vec<Cell> {
        let (name, e) = (self.names[k], self.estimates[k]);
        let own: Vec<usize> = (0..self.pool.texts.len()).filter(|i| self.pool.of[*i] == k).collect();
        let texts: Vec<Tokens> = own.iter().map(|i| self.pool.texts[*i].clone()).collect();
        let [low, high] = wilson(own.len(), self.pool.drawn[k]);
        run.observe_with("acceptance", name, at, e.acceptance, Spread::Interval([low, high]));
        // Of few effective samples Z is mostly too small, and a gain over it too large.
        if self.is_resolved() {
            let gains = self.draws(|r| r.1[k].acceptance / r.0);
            // Part C takes one seed, which its measure says.
            let large = at.iter().any(|(key, place)| *key == "part" && *place == Place::from("c"));
            let measure = if large { "gain_large" } else { "gain" };
            self.observe(run, measure, name, at, e.acceptance / self.z, gains);
        }
        let mut row: Vec<Cell> = vec![
            name.into(),
            Cell::from(self.training[k] as u64),
            e.acceptance.into(),
            low.into(),
            high.into(),
        ];
        row.push(Cell::from(1.0 / e.acceptance));
        row.push(if self.is_resolved() { Cell::from(e.acceptance / self.z) } else { "not resolved".into() });
        if self.is_resolved() && !own.is_empty() {
            self.observe(run, "kl_proposal", name, at, e.to_proposal, self.draws(|r| r.1[k].to_proposal));
            self.observe(run, "kl_output", name, at, e.to_output, self.draws(|r| r.1[k].to_output));
            self.observe(run, "kl_from_output", name, at, e.from_output, self.draws(|r| r.1[k].from_output));
            self.observe(run, "variation", name, at, e.variation, self.draws(|r| r.1[k].variation));
            row.extend([Cell::from(e.to_proposal), Cell::from(e.to_output)]);
            let differences = self.draws(|r| r.1[k].to_output_directly - r.1[k].to_output);
            match standard_deviation(&differences).ok().filter(|se| *se > 0.0) {
                Some(se) => row.push(Cell::from((e.to_output_directly - e.to_output) / se)),
                None => row.push(Cell::Empty),
            }
        } else {
            row.extend(["not resolved".into(), "not resolved".into(), Cell::Empty]);
        }
        let ratios: Vec<f64> =
            own.iter().map(|i| libm::exp(self.pool.log_p[*i] - self.pool.log_q[k][*i])).collect();
        row.push(effective(&ratios).into());
        let some = &texts[..texts.len().min(DIVERSE)];
        let distinct = distinct_pairs(some);
        let bleu = self_bleu(some);
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let log_p: f64 = own.iter().map(|i| self.pool.log_p[*i]).sum();
        let perplexity = libm::exp(-log_p / tokens.max(1) as f64);
        if some.len() > 1 {
            for (measure, value) in
                [("distinct_2", distinct), ("self_bleu", bleu), ("perplexity", perplexity)]
            {
                run.observe(measure, name, at, value);
                row.push(value.into());
            }
        } else {
            row.extend([Cell::Empty, Cell::Empty, Cell::Empty]);
        }
        row
    }

    /// Lower end of the 95 % interval of how much higher `KL(g || a')` and `KL(g || g')` of each method are than GUARD's.
    pub(super) fn observe_leads(&self, run: &mut Run, at: At<'_>) {
        let Some(guard) = self.index("guard").filter(|_| self.is_resolved()) else { return };
        for (k, name) in self.names.iter().enumerate().filter(|(k, _)| *k != guard) {
            for (measure, of) in [
                ("kl_proposal_lead", (|e: &Estimates| e.to_proposal) as fn(&Estimates) -> f64),
                ("kl_output_lead", |e: &Estimates| e.to_output),
            ] {
                let draws = self.draws(|r| of(&r.1[k]) - of(&r.1[guard]));
                if let Some([low, _]) = ends(&draws) {
                    run.observe(measure, name, at, low);
                }
            }
        }
    }

    /// Places of the mark: total variation from `g` for each method, and GUARD's lead over each.
    pub(super) fn observe_places(
        &self,
        run: &mut Run,
        at: At<'_>,
        bins: &[usize],
        n: usize,
        seen: &mut Seen,
    ) {
        seen.places.push(("g, all draws".to_owned(), self.pool.places(None, bins, n)));
        for (k, name) in self.names.iter().enumerate() {
            seen.places.push(((*name).to_owned(), self.pool.places(Some(k), bins, n)));
        }
        let Some(guard) = self.index("guard").filter(|_| self.is_resolved()) else { return };
        let once = vec![1.0; bins.len()];
        let others: Vec<Vec<f64>> = (0..self.names.len()).map(|k| self.pool.others_weights(k)).collect();
        let of = |k: usize, most: usize, times: &[f64]| {
            self.pool.place_variation((k, &others[k]), bins, n, most, times)
        };
        for (k, name) in self.names.iter().enumerate() {
            // As many outputs of both, so that neither looks worse for having fewer.
            let most = self.accepted(k).min(self.accepted(guard));
            if most < 2 {
                continue;
            }
            let draws: Vec<f64> = self.times.iter().map(|times| of(k, most, times)).collect();
            self.observe(run, "place_variation", name, at, of(k, most, &once), draws.clone());
            if k != guard {
                let leads: Vec<f64> = draws
                    .iter()
                    .zip(&self.times)
                    .map(|(draw, times)| draw - of(guard, most, times))
                    .collect();
                if let Some([low, _]) = ends(&leads) {
                    run.observe("place_lead", name, at, low);
                }
            }
        }
    }

    /// Accepted draws of a method.
    fn accepted(&self, k: usize) -> usize {
        self.pool.of.iter().filter(|of| **of == k).count()
    }

    /// The divergence of a method that can write only some texts (`scores` minus infinity for the others): from the part of `g` that it can
    /// write, `E_g[log(g / g(part)) - log p | part]`; and how large that part is.
    pub(super) fn observe_written(&self, run: &mut Run, at: At<'_>, name: &str, scores: &[f64]) {
        let logs = self.pool.log_weights(|_| true);
        let of = |times: &[f64]| -> (f64, f64) {
            let (mut all, mut part, mut sum) = (0.0, 0.0, 0.0);
            for i in 0..logs.len() {
                let weight = times[i] * libm::exp(logs[i]);
                all += weight;
                if scores[i].is_finite() && weight > 0.0 {
                    part += weight;
                    sum += weight * (self.pool.log_p[i] - scores[i]);
                }
            }
            // log g(part) = log(Z of the part / Z), Z of the part = its weights over all draws.
            (part / all, sum / part - libm::log(part / self.pool.all_drawn() as f64))
        };
        let (share, divergence) = of(&vec![1.0; logs.len()]);
        run.observe("written", name, at, share);
        if !self.is_resolved() || !divergence.is_finite() {
            return;
        }
        let draws: Vec<f64> = self.times.iter().map(|times| of(times).1).collect();
        self.observe(run, "kl_output", name, at, divergence, draws.clone());
        if let Some(guard) = self.index("guard") {
            let leads: Vec<f64> =
                draws.iter().zip(&self.resampled).map(|(draw, r)| draw - r.1[guard].to_output).collect();
            if let Some([low, _]) = ends(&leads).filter(|_| leads.iter().all(|x| x.is_finite())) {
                run.observe("kl_output_lead", name, at, low);
            }
        }
    }

    /// Places of the mark of a method whose draws are not in the pool: `own` are the bins of its texts.
    pub(super) fn observe_written_places(
        &self,
        run: &mut Run,
        at: At<'_>,
        name: &str,
        (bins, own): (&[usize], &[usize]),
        n: usize,
        seen: &mut Seen,
    ) {
        let shares = |bins: &mut dyn Iterator<Item = usize>| {
            let mut shares = vec![0.0; n];
            bins.for_each(|bin| shares[bin.min(n - 1)] += 1.0);
            let total: f64 = shares.iter().sum();
            shares.iter_mut().for_each(|s| *s /= total.max(1.0));
            shares
        };
        seen.places.push((name.to_owned(), shares(&mut own.iter().copied())));
        let Some(guard) = self.index("guard").filter(|_| self.is_resolved()) else { return };
        let most = self.accepted(guard).min(own.len());
        if most < 2 {
            return;
        }
        let own = &own[..most];
        let others = self.pool.others_weights(guard);
        let weights: Vec<f64> = self.pool.log_weights(|_| true).iter().map(|w| libm::exp(*w)).collect();
        let of = |times: &[f64], rng: Option<&mut ream_rand::Rng>| {
            let mut g = vec![0.0; n];
            (0..bins.len()).for_each(|i| g[bins[i].min(n - 1)] += times[i] * weights[i]);
            let total: f64 = g.iter().sum();
            g.iter_mut().for_each(|g| *g /= total);
            let mine = match rng {
                Some(rng) => shares(&mut rng.resample(own.len()).into_iter().map(|i| own[i])),
                None => shares(&mut own.iter().copied()),
            };
            super::estimates::variation(&g, &mine)
        };
        let stream = run.stream("resamples of forced words");
        let draws: Vec<f64> = self
            .times
            .iter()
            .enumerate()
            .map(|(r, times)| of(times, Some(&mut stream.at(r as u64))))
            .collect();
        let leads: Vec<f64> = draws
            .iter()
            .zip(&self.times)
            .map(|(draw, times)| draw - self.pool.place_variation((guard, &others), bins, n, most, times))
            .collect();
        self.observe(run, "place_variation", name, at, of(&vec![1.0; bins.len()], None), draws);
        if let Some([low, _]) = ends(&leads) {
            run.observe("place_lead", name, at, low);
        }
    }

    /// What the plane of acceptance and divergence shows.
    pub(super) fn seen(&self, k: usize) -> SeenArm {
        let e = self.estimates[k];
        let [low, high] =
            wilson((e.acceptance * self.pool.drawn[k] as f64).round() as usize, self.pool.drawn[k]);
        let interval = ends(&self.draws(|r| r.1[k].to_output)).filter(|_| self.is_resolved());
        let to_output = interval.map_or([f64::NAN; 3], |[low, high]| [e.to_output, low, high]);
        SeenArm { name: self.names[k].to_owned(), acceptance: [e.acceptance, low, high], to_output }
    }

    pub(super) fn all_seen(&self) -> Vec<SeenArm> {
        (0..self.names.len()).map(|k| self.seen(k)).collect()
    }
}

/// Where observations stand.
pub(super) type At<'a> = &'a [(&'a str, Place)];

/// Ends of the 95 % interval of draws.
pub(super) fn ends(draws: &[f64]) -> Option<[f64; 2]> {
    quantiles(draws, &[0.025, 0.975]).ok().map(|q| [q[0], q[1]])
}

pub(super) fn wilson(successes: usize, trials: usize) -> [f64; 2] {
    ream_stats::interval::wilson(successes, trials, 0.95).map_or([0.0, 1.0], |e| [e.low, e.high])
}

/// The mean of `a / q` over fresh draws of `q`: 1 when both score the same event.
///
/// # Errors
/// Those of the laws.
pub(super) fn observe_mean_ratio(
    run: &mut Run,
    (base, law): (&dyn Law, &dyn Law),
    name: &str,
    at: At<'_>,
    draws: usize,
    stream: Stream,
) -> Result<()> {
    let texts = law.draw(draws.min(SAME_EVENT), stream)?;
    let (a, q) = (base.score(&texts)?, law.score(&texts)?);
    let ratios: Vec<f64> = a.iter().zip(&q).map(|(a, q)| libm::exp(a - q)).collect();
    let mean = ream_stats::descriptive::mean(&ratios).map_err(failed)?;
    let se = standard_deviation(&ratios).map_err(failed)? / (ratios.len() as f64).sqrt();
    run.observe_with("mean_ratio", name, at, mean, Spread::Se(se));
    // A deficit is what rare heavy texts leave; an excess of the mean cannot come from them.
    if mean - 1.0 > 5.0 * se.max(1e-3) {
        run.warn(format!(
            "{name}: the mean of a / a' over its draws is {mean:.3}, not 1: they may score different events"
        ));
    }
    Ok(())
}

//! What draws say of the ideal law and of proposals: acceptance, divergences, effective samples, intervals.
//!
//! Draws of several laws are one sample of their mixture `q = sum of n_k q_k / N` (the balance heuristic of Veach & Guibas, 1995), so a text has
//! the weight `P(y) / q(y)`, bounded by `N / n_a` where the base model is among them.

use ream_rand::{Rng, Stream};

use super::law::{Tokens, log_sum_exp};

/// Below this many effective samples a divergence is not resolved.
pub const FEWEST_EFFECTIVE: f64 = 30.0;

/// The draws of several laws that satisfy the condition.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Draws of each law, whether they satisfy it or not.
    pub drawn: Vec<usize>,
    /// Which law drew each text.
    pub of: Vec<usize>,
    /// The texts that satisfy it.
    pub texts: Vec<Tokens>,
    /// `log a` of each.
    pub log_p: Vec<f64>,
    /// `log q_k` of each, `[laws][texts]`.
    pub log_q: Vec<Vec<f64>>,
}

/// Estimates of one law from a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimates {
    /// `AR`: share of its own draws that satisfy the condition.
    pub acceptance: f64,
    /// `KL(g || a')` in nats a text.
    pub to_proposal: f64,
    /// `KL(g || g') = KL(g || a') + log AR`.
    pub to_output: f64,
    /// `KL(g || g')` from its own accepted draws alone, not through the identity.
    pub to_output_directly: f64,
    /// `KL(g' || g)`.
    pub from_output: f64,
    /// Total variation of `g` and `g'`.
    pub variation: f64,
}

impl Pool {
    /// Number of draws of all laws.
    #[must_use]
    pub fn all_drawn(&self) -> usize {
        self.drawn.iter().sum()
    }

    /// `log(P / q)` of each text, `q` the mixture of the laws for which `takes` says true.
    #[must_use]
    pub fn log_weights(&self, takes: impl Fn(usize) -> bool) -> Vec<f64> {
        let laws: Vec<usize> = (0..self.drawn.len()).filter(|k| takes(*k) && self.drawn[*k] > 0).collect();
        let all = laws.iter().map(|k| self.drawn[*k]).sum::<usize>().max(1) as f64;
        let shares: Vec<f64> = laws.iter().map(|k| libm::log(self.drawn[*k] as f64 / all)).collect();
        (0..self.texts.len())
            .map(|i| {
                let parts = laws.iter().zip(&shares).map(|(k, share)| share + self.log_q[*k][i]);
                self.log_p[i] - log_sum_exp(parts)
            })
            .collect()
    }

    /// Effective samples of `g`: `(sum w)^2 / sum w^2`.
    #[must_use]
    pub fn effective(&self) -> f64 {
        effective(&self.log_weights(|_| true).iter().map(|w| libm::exp(*w)).collect::<Vec<_>>())
    }

    /// `Z`, and every law's estimates, when text `i` counts `times[i]` times.
    #[must_use]
    pub fn estimate(&self, times: &[f64]) -> (f64, Vec<Estimates>) {
        let logs = self.log_weights(|_| true);
        let weights: Vec<f64> = logs.iter().zip(times).map(|(w, m)| m * libm::exp(*w)).collect();
        let total: f64 = weights.iter().sum();
        let z = total / self.all_drawn().max(1) as f64;
        (z, (0..self.drawn.len()).map(|k| self.law(k, times, &weights, z)).collect())
    }

    fn law(&self, k: usize, times: &[f64], weights: &[f64], z: f64) -> Estimates {
        let own: Vec<usize> = (0..self.texts.len()).filter(|i| self.of[*i] == k && times[*i] > 0.0).collect();
        let accepted: f64 = own.iter().map(|i| times[*i]).sum();
        let acceptance = accepted / self.drawn[k].max(1) as f64;
        let total: f64 = weights.iter().sum();
        let ratio = |i: usize| self.log_p[i] - self.log_q[k][i];
        let under_g = |f: &dyn Fn(usize) -> f64| {
            (0..weights.len()).filter(|i| weights[*i] > 0.0).map(|i| weights[i] * f(i)).sum::<f64>() / total
        };
        let under_output =
            |f: &dyn Fn(usize) -> f64| own.iter().map(|i| times[*i] * f(*i)).sum::<f64>() / accepted;
        let to_proposal = under_g(&ratio) - libm::log(z);
        // log(g / g') of a text.
        let excess = |i: usize| ratio(i) - libm::log(z) + libm::log(acceptance);
        let mean_ratio = under_output(&|i| libm::exp(ratio(i)));
        let directly =
            under_output(&|i| libm::exp(ratio(i)) / mean_ratio * (ratio(i) - libm::log(mean_ratio)));
        Estimates {
            acceptance,
            to_proposal,
            to_output: to_proposal + libm::log(acceptance),
            to_output_directly: directly,
            from_output: under_output(&|i| -excess(i)),
            variation: 0.5 * under_output(&|i| (libm::exp(excess(i)) - 1.0).abs()),
        }
    }

    /// How often each text comes in a resample of all draws, law by law.
    #[must_use]
    pub fn resample(&self, rng: &mut Rng) -> Vec<f64> {
        let mut times = vec![0.0; self.texts.len()];
        for (k, drawn) in self.drawn.iter().enumerate() {
            let hits: Vec<usize> = (0..self.texts.len()).filter(|i| self.of[*i] == k).collect();
            for _ in 0..*drawn {
                if let Some(text) = hits.get(rng.below(*drawn)) {
                    times[*text] += 1.0;
                }
            }
        }
        times
    }

    /// Resamples, the same for whatever is computed from them.
    #[must_use]
    pub fn resamples(&self, n: usize, stream: Stream) -> Vec<Vec<f64>> {
        (0..n).map(|i| self.resample(&mut stream.at(i as u64))).collect()
    }

    /// `P / q` of each text, `q` the mixture of all laws but `k`; 0 for the draws of `k`.
    #[must_use]
    pub fn others_weights(&self, k: usize) -> Vec<f64> {
        let logs = self.log_weights(|law| law != k);
        logs.iter().zip(&self.of).map(|(log, of)| if *of == k { 0.0 } else { libm::exp(*log) }).collect()
    }

    /// Total variation between where `g` and where law `k` has the mark, `bins[i]` the bin of text `i`. What is known of `g` comes from the
    /// other laws' draws (`others`, see [`Pool::others_weights`]), and of law `k` no more than the first `most` accepted texts count.
    #[must_use]
    pub fn place_variation(
        &self,
        (k, others): (usize, &[f64]),
        bins: &[usize],
        n: usize,
        most: usize,
        times: &[f64],
    ) -> f64 {
        let g = histogram(bins, n, others.iter().zip(times).map(|(w, m)| w * m).enumerate());
        let own = (0..bins.len()).filter(|i| self.of[*i] == k).take(most);
        variation(&g, &histogram(bins, n, own.map(|i| (i, times[i]))))
    }

    /// Where `g` has the mark, from all draws; and where law `k` has it.
    #[must_use]
    pub fn places(&self, k: Option<usize>, bins: &[usize], n: usize) -> Vec<f64> {
        match k {
            Some(k) => histogram(bins, n, (0..bins.len()).filter(|i| self.of[*i] == k).map(|i| (i, 1.0))),
            None => {
                let logs = self.log_weights(|_| true);
                histogram(bins, n, logs.iter().enumerate().map(|(i, w)| (i, libm::exp(*w))))
            }
        }
    }
}

/// Shares of bins.
fn histogram(bins: &[usize], n: usize, weights: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
    let mut shares = vec![0.0; n];
    weights.for_each(|(i, weight)| shares[bins[i].min(n - 1)] += weight);
    let total: f64 = shares.iter().sum();
    if total > 0.0 {
        shares.iter_mut().for_each(|share| *share /= total);
    }
    shares
}

/// Total variation of two laws over bins.
#[must_use]
pub fn variation(a: &[f64], b: &[f64]) -> f64 {
    0.5 * a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>()
}

/// `(sum w)^2 / sum w^2`; 0 without weights.
#[must_use]
pub fn effective(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Cuts weights at their quantile of this level.
pub fn clip(weights: &mut [f64], level: f64) {
    if let Ok(most) = ream_stats::descriptive::quantile(weights, level) {
        weights.iter_mut().for_each(|w| *w = w.min(most));
    }
}

/// Raises weights to the largest power of 1, 0.9, ..., 0 that leaves `wanted` effective samples (or half of all, if that is less).
#[must_use]
pub fn temper(weights: &[f64], wanted: f64) -> (f64, Vec<f64>) {
    let wanted = wanted.min(weights.len() as f64 / 2.0);
    let mut powers = (0..=10).rev().map(|tenths| f64::from(tenths) / 10.0);
    let raised = |power: f64| -> Vec<f64> { weights.iter().map(|w| libm::pow(*w, power)).collect() };
    let power = powers.find(|power| effective(&raised(*power)) >= wanted).unwrap_or(0.0);
    (power, raised(power))
}

/// Share of distinct pairs of neighbouring tokens among all pairs.
#[must_use]
pub fn distinct_pairs(texts: &[Tokens]) -> f64 {
    let pairs: Vec<&[u32]> = texts.iter().flat_map(|text| text.windows(2)).collect();
    let distinct: std::collections::BTreeSet<&[u32]> = pairs.iter().copied().collect();
    distinct.len() as f64 / pairs.len().max(1) as f64
}

/// Mean BLEU-4 of each text against all others (self-BLEU, Zhu et al., 2018), brevity aside since texts are equally long; add-one smoothing from
/// pairs on.
#[must_use]
pub fn self_bleu(texts: &[Tokens]) -> f64 {
    if texts.len() < 2 {
        return f64::NAN;
    }
    let counts = |text: &[u32], n: usize| {
        let mut counts = std::collections::BTreeMap::new();
        text.windows(n).for_each(|gram| *counts.entry(gram.to_vec()).or_insert(0_usize) += 1);
        counts
    };
    let mut total = 0.0;
    let tables: Vec<Vec<_>> = (1..=4).map(|n| texts.iter().map(|t| counts(t, n)).collect()).collect();
    // For every gram the largest and the second largest count, to leave the text itself out.
    let largest: Vec<std::collections::BTreeMap<&Vec<u32>, [usize; 2]>> = tables
        .iter()
        .map(|table| {
            let mut most: std::collections::BTreeMap<&Vec<u32>, [usize; 2]> =
                std::collections::BTreeMap::new();
            for (gram, count) in table.iter().flatten() {
                let [first, second] = most.entry(gram).or_insert([0, 0]);
                if count > first {
                    (*first, *second) = (*count, *first);
                } else if count > second {
                    *second = *count;
                }
            }
            most
        })
        .collect();
    for i in 0..texts.len() {
        let mut log = 0.0;
        for (n, (table, most)) in tables.iter().zip(&largest).enumerate() {
            let (mut matched, mut all) = (0, 0);
            for (gram, count) in &table[i] {
                let [first, second] = most.get(gram).copied().unwrap_or([0, 0]);
                let elsewhere = if *count == first { second } else { first };
                matched += (*count).min(elsewhere);
                all += count;
            }
            let smooth = f64::from(u8::from(n > 0));
            log += libm::log(((matched as f64 + smooth) / (all as f64 + smooth).max(1.0)).max(1e-9)) / 4.0;
        }
        total += libm::exp(log);
    }
    total / texts.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::law::Law;
    use super::super::markov::{Ideal, Markov};
    use super::*;

    fn pool(drawn: usize, seed: u64) -> (Ideal, Vec<Markov>, Pool) {
        let mut rng = Stream::new(7, "laws").at(0);
        let source = Markov::random(4, 5, 0.7, &mut rng).unwrap();
        let holds = |s: &[u32]| s.first() == s.last();
        let ideal = Ideal::enumerate(&source, holds);
        let laws = vec![
            source.clone(),
            Markov::random(4, 5, 3.0, &mut rng).unwrap(),
            ideal.best_markov(&source).unwrap(),
        ];
        let mut pool = Pool { drawn: vec![drawn; 3], ..Pool::default() };
        for (k, law) in laws.iter().enumerate() {
            for text in law.draw(drawn, Stream::new(seed, "draws").child(k as u64)).unwrap() {
                if holds(&text) {
                    pool.of.push(k);
                    pool.texts.push(text);
                }
            }
        }
        pool.log_p = source.score(&pool.texts).unwrap();
        pool.log_q = laws.iter().map(|law| law.score(&pool.texts).unwrap()).collect();
        (ideal, laws, pool)
    }

    #[test]
    fn estimates_are_within_their_errors_of_the_exact_values() {
        let (ideal, laws, pool) = pool(4000, 1);
        let (z, estimates) = pool.estimate(&vec![1.0; pool.texts.len()]);
        let resampled: Vec<_> = pool
            .resamples(100, Stream::new(1, "resamples"))
            .iter()
            .map(|times| pool.estimate(times))
            .collect();
        type Of<'a> = &'a dyn Fn(&(f64, Vec<Estimates>)) -> f64;
        let near = |value: f64, wanted: f64, of: Of<'_>| {
            let draws: Vec<f64> = resampled.iter().map(of).collect();
            let se = ream_stats::descriptive::standard_deviation(&draws).unwrap();
            assert!((value - wanted).abs() < 4.0 * se + 1e-9, "{value} {wanted} {se}");
            assert!(se < 0.5, "{se}");
        };
        near(z, ideal.z, &|r| r.0);
        for (k, law) in laws.iter().enumerate() {
            let exact = ideal.judge(law);
            near(estimates[k].acceptance, exact.acceptance, &|r| r.1[k].acceptance);
            near(estimates[k].to_proposal, exact.to_proposal, &|r| r.1[k].to_proposal);
            near(estimates[k].to_output, exact.to_output, &|r| r.1[k].to_output);
            near(estimates[k].to_output_directly, exact.to_output, &|r| r.1[k].to_output_directly);
            near(estimates[k].from_output, exact.from_output, &|r| r.1[k].from_output);
            near(estimates[k].variation, exact.variation, &|r| r.1[k].variation);
        }
    }

    /// If proposal and base score different events, the mean of `a / q` over draws of `q` is not 1.
    #[test]
    fn the_mean_ratio_shows_other_events() {
        let mut rng = Stream::new(9, "laws").at(0);
        let (a, q) =
            (Markov::random(4, 5, 2.0, &mut rng).unwrap(), Markov::random(4, 5, 2.0, &mut rng).unwrap());
        let texts = q.draw(20_000, Stream::new(2, "draws")).unwrap();
        let mean = |score: &dyn Fn(&Tokens) -> f64| {
            let log_q = q.score(&texts).unwrap();
            texts.iter().zip(log_q).map(|(t, q)| libm::exp(score(t) - q)).sum::<f64>() / texts.len() as f64
        };
        assert!((mean(&|t| a.log_p(t)) - 1.0).abs() < 0.1);
        // The base scores one symbol less.
        assert!((mean(&|t| a.log_p(&t[..4])) - 1.0).abs() > 1.0);
    }

    #[test]
    fn weights_are_clipped_tempered_and_counted() {
        let mut weights = vec![1.0; 1000];
        weights[0] = 1e6;
        assert!(effective(&weights) < 1.01);
        let (power, tempered) = temper(&weights, 30.0);
        assert!(power < 1.0 && effective(&tempered) >= 30.0);
        assert_eq!(temper(&[1.0, 1.0, 2.0], 30.0).0, 1.0);
        clip(&mut weights, 0.999);
        assert!(effective(&weights) > 2.0 && weights[0] < 1e6);
        assert_eq!(effective(&[]), 0.0);
    }

    #[test]
    fn diversity_knows_copies() {
        let same = vec![vec![1, 2, 3, 4, 5, 6]; 5];
        let other: Vec<Tokens> = (0..5).map(|i| (0..6).map(|j| 10 * i + j).collect()).collect();
        assert!((self_bleu(&same) - 1.0).abs() < 1e-12 && self_bleu(&other) < 0.05);
        assert!((distinct_pairs(&same) - 0.2).abs() < 1e-12 && distinct_pairs(&other) == 1.0);
    }

    #[test]
    fn places_are_compared_with_the_draws_of_others() {
        let (_, _, pool) = pool(3000, 3);
        let bins: Vec<usize> = pool.texts.iter().map(|t| t[0] as usize).collect();
        let once = vec![1.0; bins.len()];
        let exact = pool.place_variation((0, &pool.others_weights(0)), &bins, 4, 1000, &once);
        let other = pool.place_variation((1, &pool.others_weights(1)), &bins, 4, 1000, &once);
        assert!(exact < 0.05 && other > 2.0 * exact, "{exact} {other}");
    }
}

//! Strings of an order-1 Markov source, where the ideal law, every divergence and the best proposal are known exactly.

use ream_lab::{Invalid, Result};
use ream_nn::{Param, Tensor};
use ream_rand::{Rng, Stream};

use super::law::{Law, Proposal, Tokens, failed, log_sum_exp};

/// An order-1 Markov law over strings of one length: row 0 begins, row `1 + v` follows symbol `v`.
#[derive(Clone, Debug, PartialEq)]
pub struct Markov {
    symbols: usize,
    length: usize,
    /// Natural logarithms, `[1 + symbols, symbols]`.
    log_rows: Vec<f64>,
}

impl Markov {
    /// A law of given rows, each of which sums to 1.
    ///
    /// # Errors
    /// Rows that are no laws.
    pub fn new(symbols: usize, length: usize, rows: &[f64]) -> std::result::Result<Self, Invalid> {
        let bad = |got: String| Invalid::new("rows", "1 + symbols laws over the symbols", got);
        if rows.len() != (symbols + 1) * symbols || symbols == 0 || length == 0 {
            return Err(bad(format!("{} numbers for {symbols} symbols", rows.len())));
        }
        for row in rows.chunks_exact(symbols) {
            let sum: f64 = row.iter().sum();
            if row.iter().any(|p| !(0.0..=1.0).contains(p)) || (sum - 1.0).abs() > 1e-9 {
                return Err(bad(format!("a row with the sum {sum}")));
            }
        }
        Ok(Self { symbols, length, log_rows: rows.iter().map(|p| libm::log(*p)).collect() })
    }

    /// Rows drawn from a Dirichlet law of this concentration.
    ///
    /// # Errors
    /// None.
    pub fn random(
        symbols: usize,
        length: usize,
        concentration: f64,
        rng: &mut Rng,
    ) -> std::result::Result<Self, Invalid> {
        let mut rows = Vec::new();
        for _ in 0..=symbols {
            // Never exactly 0, so that every string has a probability.
            let gammas: Vec<f64> = (0..symbols).map(|_| rng.gamma(concentration).max(1e-4)).collect();
            let sum: f64 = gammas.iter().sum();
            rows.extend(gammas.iter().map(|g| g / sum));
        }
        Self::new(symbols, length, &rows)
    }

    /// Symbols.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.symbols
    }

    /// Symbols of a string.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The logarithms of the rows, `[1 + symbols, symbols]`.
    #[must_use]
    pub fn log_rows(&self) -> &[f64] {
        &self.log_rows
    }

    /// Log-probability of one string.
    #[must_use]
    pub fn log_p(&self, string: &[u32]) -> f64 {
        let before = std::iter::once(0).chain(string.iter().map(|v| *v as usize + 1));
        before.zip(string).map(|(row, v)| self.log_rows[row * self.symbols + *v as usize]).sum()
    }

    /// Every string, in lexicographic order.
    pub fn strings(&self) -> impl Iterator<Item = Tokens> + '_ {
        let count = self.symbols.pow(self.length as u32);
        (0..count).map(move |mut index| {
            let mut string = vec![0; self.length];
            for place in string.iter_mut().rev() {
                *place = (index % self.symbols) as u32;
                index /= self.symbols;
            }
            string
        })
    }
}

impl Law for Markov {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        let rows: Vec<f64> = self.log_rows.iter().map(|l| libm::exp(*l)).collect();
        let one = |i: usize| {
            let mut rng = stream.at(i as u64);
            let mut row = 0;
            let mut string = Vec::with_capacity(self.length);
            for _ in 0..self.length {
                let law = &rows[row * self.symbols..(row + 1) * self.symbols];
                let mut u = rng.uniform() * law.iter().sum::<f64>();
                let v = law.iter().position(|p| {
                    u -= p;
                    u < 0.0
                });
                let v = v.unwrap_or(self.symbols - 1);
                string.push(v as u32);
                row = v + 1;
            }
            string
        };
        Ok((0..n).map(one).collect())
    }

    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        Ok(texts.iter().map(|text| self.log_p(text)).collect())
    }
}

/// The ideal law `g` of a source under a condition: the strings that satisfy it, with their probabilities.
#[derive(Clone, Debug)]
pub struct Ideal {
    /// `Z`: probability of the condition under the source.
    pub z: f64,
    /// Each string with `log g`.
    pub strings: Vec<(Tokens, f64)>,
}

/// What a proposal is worth, exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// `AR = P_a'(b = 1)`, summed over the strings that satisfy the condition.
    pub acceptance: f64,
    /// `KL(g || a')`.
    pub to_proposal: f64,
    /// `KL(g || g')`, from the normalised law of the output and not through the identity.
    pub to_output: f64,
    /// `KL(g' || g)`.
    pub from_output: f64,
    /// Total variation of `g` and `g'`.
    pub variation: f64,
}

impl Exact {
    /// `KL(g || a') - (KL(g || g') - log AR)`, 0 by the theorem.
    #[must_use]
    pub fn residual(&self) -> f64 {
        self.to_proposal - (self.to_output - libm::log(self.acceptance))
    }
}

impl Ideal {
    /// By going through every string.
    pub fn enumerate(source: &Markov, holds: impl Fn(&[u32]) -> bool) -> Self {
        let satisfying: Vec<(Tokens, f64)> = source
            .strings()
            .filter(|s| holds(s))
            .map(|s| (source.log_p(&s), s))
            .map(|(l, s)| (s, l))
            .collect();
        let z: f64 = satisfying.iter().map(|(_, l)| libm::exp(*l)).sum();
        let log_z = libm::log(z);
        Self { z, strings: satisfying.into_iter().map(|(s, l)| (s, l - log_z)).collect() }
    }

    /// Everything about a proposal.
    #[must_use]
    pub fn judge(&self, proposal: &Markov) -> Exact {
        let rows: Vec<(f64, f64)> = self.strings.iter().map(|(s, g)| (*g, proposal.log_p(s))).collect();
        let acceptance: f64 = rows.iter().map(|(_, l)| libm::exp(*l)).sum();
        let outputs: Vec<f64> = rows.iter().map(|(_, l)| libm::exp(*l) / acceptance).collect();
        let mean = |f: &dyn Fn(usize) -> f64| (0..rows.len()).map(f).sum::<f64>();
        let g = |i: usize| libm::exp(rows[i].0);
        Exact {
            acceptance,
            to_proposal: mean(&|i| g(i) * (rows[i].0 - rows[i].1)),
            to_output: mean(&|i| g(i) * (rows[i].0 - libm::log(outputs[i]))),
            from_output: mean(&|i| outputs[i] * (libm::log(outputs[i]) - rows[i].0)),
            variation: 0.5 * mean(&|i| (g(i) - outputs[i]).abs()),
        }
    }

    /// The order-1 Markov law closest to `g` in `KL(g || .)`: its rows are the transitions of `g` (what endless maximum likelihood on
    /// samples of `g` would find).
    ///
    /// # Errors
    /// None for an ideal law of this source.
    pub fn best_markov(&self, source: &Markov) -> std::result::Result<Markov, Invalid> {
        let n = source.symbols();
        let mut rows = vec![0.0; (n + 1) * n];
        for (string, log_g) in &self.strings {
            let before = std::iter::once(0).chain(string.iter().map(|v| *v as usize + 1));
            for (row, v) in before.zip(string) {
                rows[row * n + *v as usize] += libm::exp(*log_g);
            }
        }
        for row in rows.chunks_exact_mut(n) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|p| *p = if sum > 0.0 { *p / sum } else { 1.0 / n as f64 });
        }
        Markov::new(n, source.length(), &rows)
    }
}

/// `P(condition)` of an order-1 source when the condition is read by a finite automaton, by dynamic programming: `step(state, symbol)` is
/// the next state of `states`, 0 the first one.
#[must_use]
pub fn automaton_probability(
    source: &Markov,
    states: usize,
    step: impl Fn(usize, u32) -> usize,
    accepts: impl Fn(usize) -> bool,
) -> f64 {
    let n = source.symbols();
    // Mass of (state, row of the source that follows).
    let mut mass = vec![0.0; states * (n + 1)];
    mass[0] = 1.0;
    for _ in 0..source.length() {
        let mut next = vec![0.0; states * (n + 1)];
        for (at, m) in mass.iter().enumerate().filter(|(_, m)| **m > 0.0) {
            let (state, row) = (at / (n + 1), at % (n + 1));
            for v in 0..n {
                let p = libm::exp(source.log_rows()[row * n + v]);
                next[step(state, v as u32) * (n + 1) + v + 1] += m * p;
            }
        }
        mass = next;
    }
    mass.iter().enumerate().filter(|(at, _)| accepts(at / (n + 1))).map(|(_, m)| m).sum()
}

/// An order-1 Markov proposal whose logits are trained.
#[derive(Clone, Debug)]
pub struct Tabular {
    /// `[1 + symbols, symbols]`.
    logits: Param,
    symbols: usize,
    length: usize,
}

impl Tabular {
    /// Begins at a source.
    ///
    /// # Errors
    /// None.
    pub fn new(source: &Markov) -> Result<Self> {
        let logits: Vec<f32> = source.log_rows().iter().map(|l| *l as f32).collect();
        let shape = [source.symbols() + 1, source.symbols()];
        let logits = Param::new("logits", &Tensor::from_vec(logits, &shape).map_err(failed)?);
        Ok(Self { logits, symbols: source.symbols(), length: source.length() })
    }

    /// Its law, in double precision.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn law(&self) -> std::result::Result<Markov, Invalid> {
        let logits = self.logits.to_vec();
        let rows: Vec<f64> = logits
            .chunks_exact(self.symbols)
            .flat_map(|row| {
                let total = log_sum_exp(row.iter().map(|l| f64::from(*l)));
                row.iter().map(move |l| libm::exp(f64::from(*l) - total))
            })
            .collect();
        Markov::new(self.symbols, self.length, &rows)
    }
}

impl Law for Tabular {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        self.law()?.draw(n, stream)
    }

    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        self.law()?.score(texts)
    }
}

impl Proposal for Tabular {
    fn params(&self) -> Vec<Param> {
        vec![self.logits.clone()]
    }

    fn weighted_log_likelihood(&self, texts: &[Tokens], weights: &[f32]) -> Result<Tensor> {
        let mut counts = vec![0.0_f32; (self.symbols + 1) * self.symbols];
        for (text, weight) in texts.iter().zip(weights) {
            let before = std::iter::once(0).chain(text.iter().map(|v| *v as usize + 1));
            before.zip(text).for_each(|(row, v)| counts[row * self.symbols + *v as usize] += weight);
        }
        let shape = [self.symbols + 1, self.symbols];
        let counts = Tensor::from_vec(counts, &shape).map_err(failed)?;
        let logs: Tensor = self.logits.tensor().log_softmax();
        Ok(logs.mul(&counts).map_err(failed)?.sum())
    }

    fn copy(&self) -> Result<Self> {
        let same = Tensor::from_vec(self.logits.to_vec(), &self.logits.shape()).map_err(failed)?;
        Ok(Self { logits: Param::new("logits", &same), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Markov {
        Markov::random(4, 5, 0.7, &mut Stream::new(3, "source").at(0)).unwrap()
    }

    fn first_is_last(s: &[u32]) -> bool {
        s.first() == s.last()
    }

    #[test]
    fn strings_are_a_law_and_draws_follow_it() {
        let source = source();
        let total: f64 = source.strings().map(|s| libm::exp(source.log_p(&s))).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let n = 20_000;
        let draws = source.draw(n, Stream::new(1, "draws")).unwrap();
        let share = draws.iter().filter(|s| first_is_last(s)).count() as f64 / n as f64;
        let z = Ideal::enumerate(&source, first_is_last).z;
        assert!((share - z).abs() < 4.0 * (z * (1.0 - z) / n as f64).sqrt(), "{share} {z}");
    }

    #[test]
    fn the_identity_is_exact_and_is_no_tautology() {
        let (source, mut rng) = (source(), Stream::new(5, "proposals").at(0));
        let ideal = Ideal::enumerate(&source, first_is_last);
        for _ in 0..20 {
            let proposal = Markov::random(4, 5, 1.0, &mut rng).unwrap();
            let exact = ideal.judge(&proposal);
            assert!(exact.residual().abs() < 1e-10, "{exact:?}");
            assert!(exact.to_output >= -1e-12 && exact.acceptance < 1.0 && exact.variation > 0.0);
            // A wrong acceptance rate breaks it.
            let wrong = Exact { acceptance: exact.acceptance * 1.01, ..exact };
            assert!(wrong.residual().abs() > 1e-3);
        }
        // Rejection from the source itself is exact.
        let exact = ideal.judge(&source);
        assert!(exact.to_output.abs() < 1e-12 && (exact.to_proposal + libm::log(ideal.z)).abs() < 1e-12);
    }

    #[test]
    fn no_order_1_law_is_the_ideal_and_the_best_one_is_known() {
        let (source, mut rng) = (source(), Stream::new(6, "others").at(0));
        let ideal = Ideal::enumerate(&source, first_is_last);
        let best = ideal.best_markov(&source).unwrap();
        let least = ideal.judge(&best);
        assert!(least.to_proposal > 0.05 && least.acceptance < 0.999, "{least:?}");
        for _ in 0..50 {
            let rows: Vec<f64> = best
                .log_rows()
                .chunks_exact(4)
                .flat_map(|row| {
                    let p: Vec<f64> =
                        row.iter().map(|l| libm::exp(*l) * (1.0 + 0.1 * libm::tanh(rng.normal()))).collect();
                    let sum: f64 = p.iter().sum();
                    p.into_iter().map(move |p| p / sum)
                })
                .collect();
            let other = ideal.judge(&Markov::new(4, 5, &rows).unwrap());
            assert!(other.to_proposal >= least.to_proposal - 1e-12);
        }
    }

    #[test]
    fn the_dynamic_programme_counts_what_enumeration_counts() {
        let source = source();
        // Remembers the first symbol and the last: 1 + 16 states.
        let step = |state: usize, v: u32| {
            let first = if state == 0 { v as usize } else { (state - 1) / 4 };
            1 + first * 4 + v as usize
        };
        let z =
            automaton_probability(&source, 17, step, |state| state > 0 && (state - 1) / 4 == (state - 1) % 4);
        assert!((z - Ideal::enumerate(&source, first_is_last).z).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_of_a_table_is_that_of_finite_differences() {
        let table = Tabular::new(&source()).unwrap();
        let texts = vec![vec![0, 1, 2, 3, 0], vec![3, 3, 1, 0, 2]];
        let weights = [0.7, -0.4];
        let value = |table: &Tabular| -> f64 {
            table.score(&texts).unwrap().iter().zip(weights).map(|(l, w)| l * f64::from(w)).sum()
        };
        let sum = table.weighted_log_likelihood(&texts, &weights).unwrap();
        assert!((f64::from(sum.item().unwrap()) - value(&table)).abs() < 1e-4);
        let gradients = sum.backward().unwrap();
        let gradient = gradients.get(&table.logits).unwrap().to_vec();
        for at in [0, 5, 12, 19] {
            let moved = |by: f32| {
                let other = table.copy().unwrap();
                other.logits.update(|l| l[at] += by);
                value(&other)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradient[at])).abs() < 2e-3, "{at}: {slope} {}", gradient[at]);
        }
    }
}

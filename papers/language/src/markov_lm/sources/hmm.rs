//! A hidden Markov source with its exact forward filter.

use super::super::kernel::{Kernel, dirichlet};
use super::{ContextSettings, Contexts, Estimate, Horizon, Source, arg_max, draw, entropy, kl};
use rayon::prelude::*;
use ream_lab::Invalid;
use ream_rand::{Rng, Stream};
use ream_stats::Matrix;

/// A source whose tokens are emitted by a hidden Markov chain.
///
/// The vocabulary is cut into as many blocks as there are states; state `s` emits tokens of the blocks `s` and `s + 1`, so that
/// every token may come from two states and a context must be weighed, not looked up.
#[derive(Clone, Debug)]
pub struct Hmm {
    /// `[states, states]`.
    transition: Kernel,
    /// `[states, tokens]`.
    emission: Kernel,
    stationary: Vec<f64>,
    /// Window over whose positions the exact numbers are averaged, and how many positions in all.
    window: usize,
    positions: usize,
    stream: Stream,
}

impl Hmm {
    /// A source with sticky transitions (`stay`, else any other state) and emissions from a symmetric Dirichlet law.
    /// `window` and `positions` say over what the Monte-Carlo numbers of [`Source::horizons`] are taken.
    ///
    /// # Errors
    /// Tokens that cannot be cut into as many blocks as there are states.
    pub fn sticky(
        states: usize,
        tokens: usize,
        stay: f64,
        concentration: f64,
        (window, positions): (usize, usize),
        stream: Stream,
    ) -> Result<Self, Invalid> {
        if states < 3 || !tokens.is_multiple_of(states) {
            let wanted = "at least 3 states and a multiple of their number as tokens";
            return Err(Invalid::new("hmm", wanted, format!("{states} states, {tokens} tokens")));
        }
        let leave = (1.0 - stay) / (states - 1) as f64;
        let moves = (0..states * states).map(|k| if k / states == k % states { stay } else { leave });
        let transition = Kernel::new("transitions", states, states, moves.collect())?;
        let block = tokens / states;
        let mut emissions = vec![0.0; states * tokens];
        for (state, row) in emissions.chunks_exact_mut(tokens).enumerate() {
            let law = dirichlet(2 * block, concentration, &mut stream.at(state as u64));
            for (offset, p) in law.into_iter().enumerate() {
                row[(state * block + offset) % tokens] = p;
            }
        }
        let emission = Kernel::new("emissions", states, tokens, emissions)?;
        // Transitions are symmetric, so every state is as common as the others.
        let stationary = vec![1.0 / states as f64; states];
        Ok(Self { transition, emission, stationary, window, positions, stream })
    }

    /// The filter before the first token.
    #[must_use]
    pub fn filter(&self) -> Filter<'_> {
        Filter { hmm: self, belief: self.stationary.clone() }
    }

    /// `[states, tokens]`: the law of the token `steps` after a state, `steps` 0 for the state's own token.
    fn emission_after(&self, steps: usize) -> Result<Kernel, Invalid> {
        (0..steps).try_fold(self.emission.clone(), |kernel, _| self.transition.then(&kernel))
    }

    /// Probability of each token and the law of the token `steps` later, for each token.
    fn given_token(&self, steps: usize) -> Result<Vec<(f64, Vec<f64>)>, Invalid> {
        let later = self.emission_after(steps)?;
        let of = |token: usize| {
            let weight: Vec<f64> =
                self.stationary.iter().enumerate().map(|(s, p)| p * self.emission.row(s)[token]).collect();
            let mass: f64 = weight.iter().sum();
            let mut law = later.push(&weight)?;
            if mass > 0.0 {
                law.iter_mut().for_each(|q| *q /= mass);
            }
            Ok((mass, law))
        };
        (0..self.tokens()).map(of).collect()
    }

    /// Entropy of `length` consecutive tokens, by enumeration: `tokens^length` forward passes.
    fn block_entropy(&self, length: usize) -> f64 {
        fn descend(filter: &Filter<'_>, mass: f64, left: usize) -> f64 {
            if left == 0 || mass == 0.0 {
                return if mass > 0.0 { -mass * libm::log(mass) } else { 0.0 };
            }
            let law = filter.law();
            let tokens = law.iter().enumerate().filter(|(_, p)| **p > 0.0);
            tokens.map(|(token, p)| descend(&filter.after(token), mass * p, left - 1)).sum()
        }
        descend(&self.filter(), 1.0, length)
    }

    /// One sampled window: for each horizon the mean over positions of the divergence between the laws of the future
    /// given the past and given the next token alone, and of the entropy of the block given the past.
    fn one_window(
        &self,
        given: &[Vec<(f64, Vec<f64>)>],
        later: &[Kernel],
        rng: &mut Rng,
    ) -> Result<Vec<[f64; 2]>, Invalid> {
        let longest = given.len() + 1;
        let window = self.window(self.window + longest, false, rng);
        let mut filter = self.filter();
        let (mut beliefs, mut entropies) = (Vec::new(), Vec::new());
        for token in &window {
            entropies.push(entropy(&filter.law()));
            filter = filter.after(*token as usize);
            beliefs.push(filter.belief.clone());
        }
        let mut sums = vec![[0.0; 2]; given.len()];
        for t in 0..self.window {
            // The context is window[..=t], the next token window[t + 1]; beliefs[t + 1] is about the state after it.
            for (at, sum) in sums.iter_mut().enumerate() {
                let (k, next) = (at + 2, window[t + 1] as usize);
                let law = later[at].push(&beliefs[t + 1])?;
                sum[0] += kl(&law, &given[at][next].1) / self.window as f64;
                sum[1] += entropies[t + 1..=t + k].iter().sum::<f64>() / self.window as f64;
            }
        }
        Ok(sums)
    }

    fn monte_carlo(&self, most: usize) -> Result<Vec<Horizon>, Invalid> {
        let given: Vec<_> = (2..=most).map(|k| self.given_token(k - 1)).collect::<Result<_, _>>()?;
        // A belief after a token is about the next state: its own token is one step ahead.
        let later: Vec<Kernel> = (2..=most).map(|k| self.emission_after(k - 2)).collect::<Result<_, _>>()?;
        let windows = self.positions.div_ceil(self.window).max(2);
        let stream = self.stream.child(1);
        let each: Vec<Vec<[f64; 2]>> = (0..windows as u64)
            .into_par_iter()
            .map(|i| self.one_window(&given, &later, &mut stream.at(i)))
            .collect::<Result<_, _>>()?;
        let blocks: Vec<f64> = (0..=most).map(|length| self.block_entropy(length)).collect();
        let horizon = |(at, given): (usize, &Vec<(f64, Vec<f64>)>)| {
            let k = at + 2;
            let column = |part: usize| each.iter().map(|w| w[at][part]).collect::<Vec<f64>>();
            let by_first = blocks[1] + blocks[k - 1] - blocks[k];
            let conditional = Estimate::mean(&column(1));
            Horizon {
                k,
                ceiling: Estimate::mean(&column(0)),
                total: Estimate { value: blocks[k] - conditional.value - by_first, se: conditional.se },
                token_entropy: given.iter().map(|(mass, law)| mass * entropy(law)).sum(),
            }
        };
        Ok(given.iter().enumerate().map(horizon).collect())
    }
}

/// The exact forward filter: the law of the next hidden state given the tokens so far.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    hmm: &'a Hmm,
    belief: Vec<f64>,
}

impl Filter<'_> {
    /// The law of the next hidden state, `[states]`.
    #[must_use]
    pub fn belief(&self) -> &[f64] {
        &self.belief
    }

    /// The law of the next token, `[tokens]`.
    #[must_use]
    pub fn law(&self) -> Vec<f64> {
        let mut law = vec![0.0; self.hmm.tokens()];
        for (state, p) in self.belief.iter().enumerate() {
            for (sum, q) in law.iter_mut().zip(self.hmm.emission.row(state)) {
                *sum += p * q;
            }
        }
        law
    }

    /// The filter after one more token. A token that cannot occur leaves the belief about the state as it was.
    #[must_use]
    pub fn after(&self, token: usize) -> Self {
        let emission = |state: usize| self.hmm.emission.row(state).get(token).copied().unwrap_or(0.0);
        let weight: Vec<f64> = self.belief.iter().enumerate().map(|(s, p)| p * emission(s)).collect();
        let mass: f64 = weight.iter().sum();
        let posterior = if mass > 0.0 { &weight } else { &self.belief };
        let mass = if mass > 0.0 { mass } else { 1.0 };
        let mut belief = vec![0.0; self.belief.len()];
        for (state, p) in posterior.iter().enumerate() {
            for (sum, q) in belief.iter_mut().zip(self.hmm.transition.row(state)) {
                *sum += p / mass * q;
            }
        }
        Self { hmm: self.hmm, belief }
    }
}

impl Source for Hmm {
    fn name(&self) -> &'static str {
        "hmm"
    }

    fn tokens(&self) -> usize {
        self.emission.cols()
    }

    fn memory(&self) -> usize {
        1
    }

    fn window(&self, length: usize, _held_out: bool, rng: &mut Rng) -> Vec<u32> {
        let mut state = draw(&self.stationary, rng);
        let mut window = Vec::with_capacity(length);
        for _ in 0..length {
            window.push(draw(self.emission.row(state), rng) as u32);
            state = draw(self.transition.row(state), rng);
        }
        window
    }

    fn laws(&self, window: &[u32]) -> Vec<Option<Vec<f64>>> {
        let mut filter = self.filter();
        let mut after = |token: &u32| {
            filter = filter.after(*token as usize);
            Some(filter.law())
        };
        window.iter().map(&mut after).collect()
    }

    fn contexts(&self, settings: ContextSettings, stream: Stream) -> Contexts {
        let mut rng = stream.at(0);
        let windows: Vec<Vec<u32>> = (0..settings.most)
            .map(|_| {
                let length = 1 + rng.below(settings.window);
                self.window(length, false, &mut rng)
            })
            .collect();
        let filters: Vec<Filter<'_>> = windows
            .iter()
            .map(|window| window.iter().fold(self.filter(), |filter, token| filter.after(*token as usize)))
            .collect();
        let laws: Vec<Vec<f64>> = filters.iter().map(Filter::law).collect();
        Contexts {
            weights: vec![1.0 / settings.most as f64; settings.most],
            laws: Matrix::from_fn(settings.most, self.tokens(), |x, token| laws[x][token]),
            classes: filters.iter().map(|filter| arg_max(&filter.belief)).collect(),
            class_names: (1..=self.transition.rows()).map(|s| format!("state {s}")).collect(),
            windows,
        }
    }

    fn horizons(&self, most: usize) -> Vec<Horizon> {
        // The kernels fit by construction, so there is always a result.
        self.monte_carlo(most).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Hmm {
        Hmm::sticky(3, 6, 0.8, 0.5, (6, 6000), Stream::new(1, "hmm")).unwrap()
    }

    /// Probability of a window by the sum over all state paths.
    fn by_paths(hmm: &Hmm, window: &[u32]) -> f64 {
        let states = hmm.transition.rows();
        (0..states.pow(window.len() as u32))
            .map(|path| {
                let at = |t: usize| path / states.pow(t as u32) % states;
                (0..window.len()).fold(1.0, |p, t| {
                    let moved =
                        if t == 0 { hmm.stationary[at(0)] } else { hmm.transition.row(at(t - 1))[at(t)] };
                    p * moved * hmm.emission.row(at(t))[window[t] as usize]
                })
            })
            .sum()
    }

    #[test]
    fn the_filter_is_exact() {
        let hmm = small();
        let mut rng = Stream::new(2, "filter").at(0);
        for _ in 0..20 {
            let window = hmm.window(5, false, &mut rng);
            let law = hmm.laws(&window[..4])[3].clone().unwrap();
            assert!((law.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let wanted = by_paths(&hmm, &window) / by_paths(&hmm, &window[..4]);
            assert!((law[window[4] as usize] - wanted).abs() < 1e-12);
        }
    }

    /// Monte Carlo against enumeration of every window: contexts of 1 and 2 tokens.
    #[test]
    fn monte_carlo_finds_the_enumerated_information() {
        let hmm = Hmm { window: 2, positions: 60_000, ..small() };
        let v = hmm.tokens();
        let block = |length: usize| hmm.block_entropy(length);
        // I(past of t; W_{t+2} | W_{t+1}) from entropies of blocks with a gap.
        let gapped = |past: usize| {
            let mut pair = vec![0.0; v * v];
            let mut triple = vec![0.0; v.pow(past as u32 + 2)];
            for number in 0..v.pow(past as u32 + 2) {
                let window: Vec<u32> =
                    (0..past + 2).rev().map(|t| (number / v.pow(t as u32) % v) as u32).collect();
                let p = by_paths(&hmm, &window);
                triple[number] = p;
                pair[number % (v * v)] += p;
            }
            let both: Vec<f64> = pair;
            // H(past, next) + H(next, future) - H(next) - H(all).
            block(past + 1) + entropy(&both) - block(1) - entropy(&triple)
        };
        let wanted = 0.5 * (gapped(1) + gapped(2));
        let found = hmm.horizons(2)[0];
        assert!(found.ceiling.se > 0.0 && found.ceiling.se < 0.02 * wanted);
        assert!((found.ceiling.value - wanted).abs() < 4.0 * found.ceiling.se, "{found:?}, wanted {wanted}");
        let by_first = 2.0 * block(1) - block(2);
        let past = |n: usize| block(2) - (block(n + 2) - block(n));
        let total = 0.5 * (past(1) + past(2)) - by_first;
        assert!((found.total.value - total).abs() < 4.0 * found.total.se, "{found:?}, wanted {total}");
        assert!((found.token_entropy - (block(2) - block(1))).abs() < 1e-10);
    }

    #[test]
    fn contexts_carry_the_filters_law() {
        let hmm = small();
        let settings = ContextSettings { window: 6, histories: 1, most: 30 };
        let contexts = hmm.contexts(settings, Stream::new(1, "contexts"));
        for (x, window) in contexts.windows.iter().enumerate() {
            let law = hmm.laws(window).pop().unwrap().unwrap();
            assert_eq!(contexts.laws.row(x), law);
        }
        assert!(Hmm::sticky(3, 7, 0.8, 0.5, (6, 10), Stream::new(1, "hmm")).is_err());
    }
}

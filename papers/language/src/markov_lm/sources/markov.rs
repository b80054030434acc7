//! Markov sources of order 1 or 2 (or more, while all contexts can be enumerated): everything is exact.

use super::super::kernel::{Kernel, dirichlet};
use super::{
    ContextSettings, Contexts, Estimate, Horizon, Source, arg_max, draw, entropy, kl, likely_token_classes,
};
use ream_lab::Invalid;
use ream_rand::{Rng, Stream};
use ream_stats::Matrix;

/// Steps after which a chain whose stationary law has not settled is refused.
const STATIONARY_STEPS: usize = 100_000;
/// Contexts rarer than this are left out of the enumeration.
const RARE: f64 = 1e-12;

/// A source whose next token depends on the last `order` tokens.
///
/// A context is numbered by its tokens in base `tokens`, the oldest one first.
#[derive(Clone, Debug)]
pub struct Markov {
    name: String,
    order: usize,
    /// `[tokens^order, tokens]`.
    kernel: Kernel,
    /// Stationary law of the contexts, `[tokens^order]`.
    stationary: Vec<f64>,
    /// Latent classes of the contexts, `[tokens^order, classes]`, where the source has them.
    latent: Option<Kernel>,
}

impl Markov {
    /// A source from its kernel, `tokens^order` rows.
    ///
    /// # Errors
    /// The number of rows is no power of the number of columns; the stationary law is not found.
    pub fn new(name: &str, kernel: Kernel) -> Result<Self, Invalid> {
        let (rows, tokens) = (kernel.rows(), kernel.cols());
        let mut order = 1;
        let mut contexts = tokens;
        while contexts < rows && tokens > 1 {
            contexts *= tokens;
            order += 1;
        }
        if contexts != rows || tokens < 2 {
            let wanted = format!(
                "one row for each of the {tokens} tokens, or for each pair of them ({}), and at least 2 tokens",
                tokens * tokens
            );
            return Err(Invalid::new(name, wanted, format!("{rows} rows and {tokens} columns")));
        }
        let stationary = stationary(name, &kernel)?;
        Ok(Self { name: name.to_owned(), order, kernel, stationary, latent: None })
    }

    /// An order-2 source whose law mixes `classes` laws of tokens: `P(w | a, b) = sum_c A(c | a, b) B(w | c)`, rows of A
    /// and B from a symmetric Dirichlet law.
    ///
    /// # Errors
    /// The stationary law is not found.
    pub fn low_rank(
        tokens: usize,
        classes: usize,
        concentration: f64,
        stream: Stream,
    ) -> Result<Self, Invalid> {
        let mut rng = stream.at(0);
        let mixture = Kernel::random(tokens * tokens, classes, concentration, &mut rng);
        let kernel = mixture.then(&Kernel::random(classes, tokens, concentration, &mut rng))?;
        Ok(Self { latent: Some(mixture), ..Self::new("order-2", kernel)? })
    }

    /// An order-1 source with rows from a symmetric Dirichlet law.
    ///
    /// # Errors
    /// The stationary law is not found.
    pub fn first_order(tokens: usize, concentration: f64, stream: Stream) -> Result<Self, Invalid> {
        let rows = (0..tokens).map(|row| dirichlet(tokens, concentration, &mut stream.at(row as u64)));
        Self::new("order-1", Kernel::new("order-1", tokens, tokens, rows.flatten().collect())?)
    }

    /// The transition kernel, `[tokens^order, tokens]`.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Stationary law of the contexts.
    #[must_use]
    pub fn stationary(&self) -> &[f64] {
        &self.stationary
    }

    fn next(&self, context: usize, token: usize) -> usize {
        (context * self.tokens() + token) % self.kernel.rows()
    }

    fn number(&self, window: &[u32]) -> usize {
        window.iter().fold(0, |number, token| number * self.tokens() + *token as usize)
    }

    fn spelled(&self, mut context: usize) -> Vec<u32> {
        let mut window = vec![0; self.order];
        for token in window.iter_mut().rev() {
            *token = (context % self.tokens()) as u32;
            context /= self.tokens();
        }
        window
    }

    /// Laws of the token `steps` after each context, `[tokens^order, tokens]` row-major.
    fn ahead(&self, steps: usize) -> Vec<f64> {
        let (rows, tokens) = (self.kernel.rows(), self.tokens());
        let mut laws: Vec<f64> = (0..rows).flat_map(|context| self.kernel.row(context).to_vec()).collect();
        for _ in 1..steps {
            let mut further = vec![0.0; rows * tokens];
            for (context, out) in further.chunks_exact_mut(tokens).enumerate() {
                for (token, p) in self.kernel.row(context).iter().enumerate() {
                    let next = self.next(context, token);
                    for (sum, q) in out.iter_mut().zip(&laws[next * tokens..(next + 1) * tokens]) {
                        *sum += p * q;
                    }
                }
            }
            laws = further;
        }
        laws
    }

    /// The same given the newest token alone: its probability and the mean law, for each token.
    fn given_token(&self, laws: &[f64]) -> Vec<(f64, Vec<f64>)> {
        let tokens = self.tokens();
        let mut given = vec![(0.0, vec![0.0; tokens]); tokens];
        for (context, p) in self.stationary.iter().enumerate() {
            let (mass, law) = &mut given[context % tokens];
            *mass += p;
            for (sum, q) in law.iter_mut().zip(&laws[context * tokens..]) {
                *sum += p * q;
            }
        }
        for (mass, law) in &mut given {
            if *mass > 0.0 {
                law.iter_mut().for_each(|q| *q /= *mass);
            }
        }
        given
    }

    /// Entropy of `length` consecutive tokens.
    fn block_entropy(&self, length: usize) -> f64 {
        if length > self.order {
            return entropy(&self.stationary) + (length - self.order) as f64 * self.entropy_rate();
        }
        let mut law = vec![0.0; self.tokens().pow(length as u32)];
        let size = law.len();
        for (context, p) in self.stationary.iter().enumerate() {
            law[context % size] += p;
        }
        entropy(&law)
    }

    fn entropy_rate(&self) -> f64 {
        self.stationary.iter().enumerate().map(|(context, p)| p * entropy(self.kernel.row(context))).sum()
    }

    fn horizon(&self, k: usize) -> Horizon {
        let tokens = self.tokens();
        let laws = self.ahead(k - 1);
        let given = self.given_token(&laws);
        let surplus = |(context, p): (usize, &f64)| {
            p * kl(&laws[context * tokens..(context + 1) * tokens], &given[context % tokens].1)
        };
        let ceiling = self.stationary.iter().enumerate().filter(|(_, p)| **p > 0.0).map(surplus).sum();
        // I(past; block) = H(block) - k rate;  I(first; rest) = H(1) + H(k-1) - H(block).
        let block = self.block_entropy(k);
        let by_past = block - k as f64 * self.entropy_rate();
        let by_first = self.block_entropy(1) + self.block_entropy(k - 1) - block;
        Horizon {
            k,
            ceiling: Estimate::exact(ceiling),
            total: Estimate::exact(by_past - by_first),
            token_entropy: given.iter().map(|(mass, law)| mass * entropy(law)).sum(),
        }
    }

    /// Tokens before a context, newest first, from the chain run backwards.
    fn past(&self, context: usize, length: usize, rng: &mut Rng) -> Vec<u32> {
        let (rows, tokens) = (self.kernel.rows(), self.tokens());
        let mut past = Vec::with_capacity(length);
        let mut context = context;
        for _ in 0..length {
            let last = context % tokens;
            let before = |token: usize| (token * rows + context) / tokens;
            let law: Vec<f64> = (0..tokens)
                .map(|token| self.stationary[before(token)] * self.kernel.row(before(token))[last])
                .collect();
            let token = draw(&law, rng);
            past.push(token as u32);
            context = before(token);
        }
        past
    }
}

/// The stationary law by iteration of the lazy chain, which settles for periodic chains too.
fn stationary(name: &str, kernel: &Kernel) -> Result<Vec<f64>, Invalid> {
    let (rows, tokens) = (kernel.rows(), kernel.cols());
    let mut law = vec![1.0 / rows as f64; rows];
    for _ in 0..STATIONARY_STEPS {
        let mut next: Vec<f64> = law.iter().map(|p| 0.5 * p).collect();
        for (context, p) in law.iter().enumerate() {
            for (token, q) in kernel.row(context).iter().enumerate() {
                next[(context * tokens + token) % rows] += 0.5 * p * q;
            }
        }
        let change: f64 = law.iter().zip(&next).map(|(a, b)| (a - b).abs()).sum();
        law = next;
        if change < 1e-15 {
            break;
        }
    }
    let mut after = vec![0.0; rows];
    for (context, p) in law.iter().enumerate() {
        for (token, q) in kernel.row(context).iter().enumerate() {
            after[(context * tokens + token) % rows] += p * q;
        }
    }
    let miss: f64 = law.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum();
    if miss > 1e-9 {
        let wanted = format!("a chain whose stationary law is found within {STATIONARY_STEPS} steps");
        return Err(Invalid::new(name, wanted, format!("a law that still moves by {miss:.1e}")));
    }
    Ok(law)
}

impl Source for Markov {
    fn name(&self) -> &str {
        &self.name
    }

    fn tokens(&self) -> usize {
        self.kernel.cols()
    }

    fn memory(&self) -> usize {
        self.order
    }

    fn window(&self, length: usize, _held_out: bool, rng: &mut Rng) -> Vec<u32> {
        let mut context = draw(&self.stationary, rng);
        let mut window = self.spelled(context);
        while window.len() < length {
            let token = draw(self.kernel.row(context), rng);
            window.push(token as u32);
            context = self.next(context, token);
        }
        window.truncate(length);
        window
    }

    fn laws(&self, window: &[u32]) -> Vec<Option<Vec<f64>>> {
        let of = |t: usize| {
            let known = (t + 1).min(self.order);
            let suffix = &window[t + 1 - known..=t];
            if known == self.order {
                return Some(self.kernel.row(self.number(suffix)).to_vec());
            }
            let (number, size) = (self.number(suffix), self.tokens().pow(known as u32));
            let mut law = vec![0.0; self.tokens()];
            let mut mass = 0.0;
            for (context, p) in self.stationary.iter().enumerate().filter(|(c, _)| c % size == number) {
                mass += p;
                for (sum, q) in law.iter_mut().zip(self.kernel.row(context)) {
                    *sum += p * q;
                }
            }
            (mass > 0.0).then(|| law.iter().map(|q| q / mass).collect())
        };
        (0..window.len()).map(of).collect()
    }

    fn contexts(&self, settings: ContextSettings, stream: Stream) -> Contexts {
        let mut numbers: Vec<(usize, f64)> =
            self.stationary.iter().copied().enumerate().filter(|(_, p)| *p > RARE).collect();
        let mut rng = stream.at(0);
        if numbers.len() * settings.histories > settings.most {
            let each = 1.0 / settings.most as f64;
            numbers = (0..settings.most).map(|_| (draw(&self.stationary, &mut rng), each)).collect();
        } else {
            let share = settings.histories as f64;
            numbers = numbers
                .iter()
                .flat_map(|(c, p)| std::iter::repeat_n((*c, p / share), settings.histories))
                .collect();
        }
        let total: f64 = numbers.iter().map(|(_, p)| p).sum();
        let weights: Vec<f64> = numbers.iter().map(|(_, p)| p / total).collect();
        let windows = numbers
            .iter()
            .map(|(context, _)| {
                let room = settings.window.saturating_sub(self.order);
                let length = rng.below(room + 1);
                let mut window = self.past(*context, length, &mut rng);
                window.reverse();
                window.extend(self.spelled(*context));
                window
            })
            .collect();
        let laws =
            Matrix::from_fn(numbers.len(), self.tokens(), |x, token| self.kernel.row(numbers[x].0)[token]);
        let (classes, class_names) = match &self.latent {
            Some(latent) => (
                numbers.iter().map(|(c, _)| arg_max(latent.row(*c))).collect(),
                (1..=latent.cols()).map(|c| format!("class {c}")).collect(),
            ),
            None => likely_token_classes(&laws, &weights, |token| token.to_string()),
        };
        Contexts { windows, weights, laws, classes, class_names }
    }

    fn horizons(&self, most: usize) -> Vec<Horizon> {
        (2..=most).map(|k| self.horizon(k)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Markov {
        Markov::low_rank(5, 3, 0.5, Stream::new(1, "order-2")).unwrap()
    }

    #[test]
    fn the_stationary_law_stays() {
        let source = source();
        let mut after = [0.0; 25];
        for (context, p) in source.stationary.iter().enumerate() {
            for (token, q) in source.kernel.row(context).iter().enumerate() {
                after[source.next(context, token)] += p * q;
            }
        }
        for (a, b) in after.iter().zip(&source.stationary) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    /// A periodic chain has a stationary law, which plain iteration from a point would not find.
    #[test]
    fn periodic_chains_settle() {
        let cycle = Kernel::deterministic(&[1, 2, 0], 3).unwrap();
        let source = Markov::new("cycle", cycle).unwrap();
        assert!(source.stationary.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-12));
    }

    /// Brute force over all sequences of five tokens.
    #[test]
    fn surplus_is_the_information_by_enumeration() {
        let source = source();
        let v = source.tokens();
        // Joint law of (W_{t-1}, W_t, W_{t+1}, W_{t+2}, W_{t+3}).
        let mut joint = vec![0.0; v.pow(5)];
        for (number, p) in joint.iter_mut().enumerate() {
            let digit = |place: u32| number / v.pow(4 - place) % v;
            let mut context = digit(0) * v + digit(1);
            *p = source.stationary[context];
            for place in 2..5 {
                *p *= source.kernel.row(context)[digit(place)];
                context = source.next(context, digit(place));
            }
        }
        let marginal = |places: &[u32]| {
            let mut law = vec![0.0; v.pow(places.len() as u32)];
            for (number, p) in joint.iter().enumerate() {
                let at = places.iter().fold(0, |at, place| at * v + number / v.pow(4 - place) % v);
                law[at] += p;
            }
            entropy(&law)
        };
        for (k, future) in [(2, 3_u32), (3, 4)] {
            // I(W_{t-1}, W_t; W_{t+k} | W_{t+1}) = H(past, next) + H(next, future) - H(next) - H(all).
            let wanted =
                marginal(&[0, 1, 2]) + marginal(&[2, future]) - marginal(&[2]) - marginal(&[0, 1, 2, future]);
            let block: Vec<u32> = (2..=future).collect();
            let with_past: Vec<u32> = (0..=future).collect();
            let total = marginal(&[0, 1]) + marginal(&block)
                - marginal(&with_past)
                - (marginal(&[2]) + marginal(&block[1..]) - marginal(&block));
            let horizon = source.horizons(3)[k - 2];
            assert!((horizon.ceiling.value - wanted).abs() < 1e-10, "{horizon:?}, wanted {wanted}");
            assert!((horizon.total.value - total).abs() < 1e-10, "{horizon:?}, wanted {total}");
            let conditional = marginal(&[2, future]) - marginal(&[2]);
            assert!((horizon.token_entropy - conditional).abs() < 1e-10);
            assert!(horizon.ceiling.value > 1e-3);
        }
    }

    /// The negative control: with an order-1 source nothing is left to know beyond the next token.
    #[test]
    fn an_order_1_source_has_no_surplus() {
        let source = Markov::first_order(6, 0.3, Stream::new(1, "order-1")).unwrap();
        for horizon in source.horizons(3) {
            assert!(horizon.ceiling.value.abs() < 1e-12 && horizon.total.value.abs() < 1e-10, "{horizon:?}");
        }
    }

    #[test]
    fn a_low_rank_source_has_that_rank() {
        let source = Markov::low_rank(24, 6, 0.3, Stream::new(1, "rank")).unwrap();
        let rows = Matrix::from_fn(576, 24, |x, token| source.kernel.row(x)[token]);
        let values = ream_stats::spectral::svd(&rows).unwrap().values;
        assert!(values[5] > 1e-3 * values[0] && values[6] < 1e-10 * values[0]);
    }

    /// Windows follow the chain, forwards and backwards, and a short prefix has the mean law.
    #[test]
    fn windows_and_pasts_follow_the_source() {
        let source = source();
        let mut rng = Stream::new(2, "windows").at(0);
        let (mut forward, mut backward) = (vec![0.0; 125], vec![0.0; 125]);
        let n = 40_000;
        for _ in 0..n {
            let window = source.window(3, false, &mut rng);
            forward[source.number(&window[..2]) * 5 + window[2] as usize] += 1.0 / f64::from(n);
            let context = draw(&source.stationary, &mut rng);
            let before = source.past(context, 1, &mut rng)[0] as usize;
            backward[before * 25 + context] += 1.0 / f64::from(n);
        }
        for number in 0..125 {
            let wanted = source.stationary[number / 5] * source.kernel.row(number / 5)[number % 5];
            let error = 5.0 * (wanted / f64::from(n)).sqrt() + 1e-4;
            assert!((forward[number] - wanted).abs() < error, "{number}");
            assert!((backward[number] - wanted).abs() < error, "{number} backwards");
        }
        let laws = source.laws(&[3, 1, 4]);
        assert_eq!(laws[2].as_deref().unwrap(), source.kernel.row(9));
        let mass: f64 = (0..5).map(|a| source.stationary[a * 5 + 3]).sum();
        let first: f64 =
            (0..5).map(|a| source.stationary[a * 5 + 3] * source.kernel.row(a * 5 + 3)[2]).sum::<f64>()
                / mass;
        assert!((laws[0].as_deref().unwrap()[2] - first).abs() < 1e-12);
    }

    #[test]
    fn contexts_are_enumerated_with_their_laws() {
        let source = source();
        let settings = ContextSettings { window: 8, histories: 3, most: 4096 };
        let contexts = source.contexts(settings, Stream::new(1, "contexts"));
        assert_eq!(contexts.windows.len(), 75);
        assert!((contexts.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for (x, window) in contexts.windows.iter().enumerate() {
            assert!((2..=8).contains(&window.len()));
            let number = source.number(&window[window.len() - 2..]);
            assert_eq!(contexts.laws.row(x), source.kernel.row(number));
        }
        let few = source.contexts(ContextSettings { most: 20, ..settings }, Stream::new(1, "contexts"));
        assert_eq!(few.windows.len(), 20);
    }

    #[test]
    fn a_kernel_of_another_shape_is_refused() {
        let kernel = Kernel::new("t", 3, 2, vec![0.5; 6]).unwrap();
        let error = Markov::new("t.csv", kernel).unwrap_err().to_string();
        assert!(error.contains("each of the 2 tokens") && error.contains("3 rows and 2 columns"), "{error}");
    }
}

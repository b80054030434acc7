//! The baselines: gradient descent on `W`, GD++ on the tokens, ridge regression; and their best rates.
//!
//! [`descend`] and [`plus_guess`] know nothing of attention. Rates are tuned on a set of tasks in the eigenbasis of
//! `X^T X`, where every one of these methods acts on each direction alone: with eigenvalue `l`, query coefficient
//! `a = u . x_q` and moment `b = u . X^T y`, a step of GD++ adds `(eta/N) a b` to the guess and then
//! `b <- b (1 - eta l/N) (1 - gamma l)`, `a <- a (1 - gamma l)`, `l <- l (1 - gamma l)^2`; ridge guesses `sum a b / (l + lambda)`.

use super::lanes::{Lane, Real, Store, View, product};
use super::tasks::{Chunk, Shape};
use rayon::prelude::*;

/// `W` after one gradient step per rate on the context, from `start` (0 when `None`): `[d_y, d]` for each task.
pub fn descend<F: Real>(chunk: &Chunk<F>, rates: &[F], start: Option<&[F]>) -> Vec<Lane<F>> {
    let Shape { d, d_y, n_context } = chunk.shape;
    let mut weights = vec![Lane::default(); d_y * d];
    if let Some(start) = start {
        for (lane, value) in weights.iter_mut().zip(start) {
            *lane = Lane::all(*value);
        }
    }
    let mut residual = vec![Lane::default(); n_context * d_y];
    let mut gradient = vec![Lane::default(); d_y * d];
    let inputs = View::rows(&chunk.x, d);
    for rate in rates {
        product([n_context, d, d_y], inputs, View::turned(&weights, d), &mut residual, Store::Fresh);
        for (r, y) in residual.iter_mut().zip(&chunk.y) {
            *r = *r - *y;
        }
        product([d_y, n_context, d], View::turned(&residual, d_y), inputs, &mut gradient, Store::Fresh);
        let step = Lane::all(*rate / F::of(n_context as f64));
        for (w, g) in weights.iter_mut().zip(&gradient) {
            *w = *w - step * *g;
        }
    }
    weights
}

/// `W x_q`, `[d_y]`.
pub fn guess<F: Real>(weights: &[Lane<F>], chunk: &Chunk<F>) -> Vec<Lane<F>> {
    let Shape { d, d_y, n_context } = chunk.shape;
    let mut out = vec![Lane::default(); d_y];
    let query = View::rows(&chunk.x[n_context * d..], 1);
    product([d_y, d, 1], View::rows(weights, d), query, &mut out, Store::Fresh);
    out
}

/// The guess of GD++, one step per pair `[eta, gamma]`: all tokens move, the query's too, and its guess is `-y_q`.
pub fn plus_guess<F: Real>(chunk: &Chunk<F>, rates: &[[F; 2]]) -> Vec<Lane<F>> {
    let Shape { d, d_y, n_context } = chunk.shape;
    let pairs = n_context + 1;
    let (mut x, mut y) = (chunk.x.clone(), chunk.y.clone());
    y[n_context * d_y..].fill(Lane::default());
    let mut near = vec![Lane::default(); pairs * n_context];
    let (mut dx, mut dy) = (vec![Lane::default(); pairs * d], vec![Lane::default(); pairs * d_y]);
    for [eta, gamma] in rates {
        product([pairs, d, n_context], View::rows(&x, d), View::turned(&x, d), &mut near, Store::Fresh);
        let scores = View::rows(&near, n_context);
        product([pairs, n_context, d], scores, View::rows(&x, d), &mut dx, Store::Fresh);
        product([pairs, n_context, d_y], scores, View::rows(&y, d_y), &mut dy, Store::Fresh);
        let (eta, gamma) = (Lane::all(*eta / F::of(n_context as f64)), Lane::all(*gamma));
        for (x, dx) in x.iter_mut().zip(&dx) {
            *x = *x - gamma * *dx;
        }
        for (y, dy) in y.iter_mut().zip(&dy) {
            *y = *y - eta * *dy;
        }
    }
    y[n_context * d_y..].iter().map(|y| Lane::default() - *y).collect()
}

/// A task in the eigenbasis of `X^T X`.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Eigenvalues `l`, `[d]`.
    values: Vec<f64>,
    /// `u . x_q`, `[d]`.
    query: Vec<f64>,
    /// `u . X^T y`, `[d, d_y]`.
    moments: Vec<f64>,
    /// Targets of the query.
    target: Vec<f64>,
    n_context: f64,
}

impl Spectrum {
    /// From inputs `[n_context + 1, d]` and targets `[n_context + 1, d_y]`, the query last.
    pub fn new(shape: Shape, x: &[f64], y: &[f64]) -> Self {
        let Shape { d, d_y, n_context } = shape;
        let mut gram = vec![0.0; d * d];
        let mut raw = vec![0.0; d * d_y];
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact(d_y)).take(n_context) {
            for i in 0..d {
                for j in 0..d {
                    gram[i * d + j] += x[i] * x[j];
                }
                for j in 0..d_y {
                    raw[i * d_y + j] += x[i] * y[j];
                }
            }
        }
        let basis = eigenvectors(d, &mut gram);
        let query = &x[n_context * d..];
        let mut moments = vec![0.0; d * d_y];
        let mut coefficients = vec![0.0; d];
        for k in 0..d {
            for i in 0..d {
                coefficients[k] += basis[i * d + k] * query[i];
                for j in 0..d_y {
                    moments[k * d_y + j] += basis[i * d + k] * raw[i * d_y + j];
                }
            }
        }
        Self {
            values: (0..d).map(|k| gram[k * d + k].max(0.0)).collect(),
            query: coefficients,
            moments,
            target: y[n_context * d_y..].to_vec(),
            n_context: n_context as f64,
        }
    }

    /// All tasks of a set.
    pub fn of_set<F: Real>(set: &[Chunk<F>]) -> Vec<Self> {
        set.par_iter()
            .map(|chunk| {
                (0..chunk.used)
                    .map(|lane| {
                        let (x, y) = chunk.task(lane);
                        Self::new(chunk.shape, &x, &y)
                    })
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
            .concat()
    }

    /// Misses `guess - target` of GD++ with these rates (plain GD when every gamma is 0), `[d_y]`.
    fn misses(&self, rates: &[[f64; 2]], out: &mut [f64]) {
        let d_y = self.target.len();
        for (out, y) in out.iter_mut().zip(&self.target) {
            *out = -y;
        }
        for (k, (&value, &query)) in self.values.iter().zip(&self.query).enumerate() {
            // What multiplies the moment in the guess, and what is left of value, query and moment.
            let (mut value, mut query, mut left, mut sum) = (value, query, 1.0, 0.0);
            for [eta, gamma] in rates {
                let rate = eta / self.n_context;
                sum += rate * query * left;
                let shrink = 1.0 - gamma * value;
                left *= (1.0 - rate * value) * shrink;
                query *= shrink;
                value *= shrink * shrink;
            }
            for (out, moment) in out.iter_mut().zip(&self.moments[k * d_y..]) {
                *out += sum * moment;
            }
        }
    }

    fn ridge_miss(&self, lambda: f64) -> f64 {
        let d_y = self.target.len();
        (0..d_y)
            .map(|j| {
                let terms = self.values.iter().zip(&self.query).enumerate();
                let guess: f64 = terms.map(|(k, (l, a))| a * self.moments[k * d_y + j] / (l + lambda)).sum();
                (guess - self.target[j]).powi(2)
            })
            .sum()
    }
}

/// Eigenvectors (columns) of a symmetric matrix by Jacobi's rotations; the matrix is left diagonal.
fn eigenvectors(n: usize, matrix: &mut [f64]) -> Vec<f64> {
    let mut basis = vec![0.0; n * n];
    for i in 0..n {
        basis[i * n + i] = 1.0;
    }
    let size: f64 = matrix.iter().map(|v| v * v).sum();
    for _ in 0..60 {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| matrix[at].powi(2)).sum();
        if off <= 1e-26 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let off = matrix[p * n + q];
                if off == 0.0 {
                    continue;
                }
                let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cos = 1.0 / (t * t + 1.0).sqrt();
                let sin = t * cos;
                for k in 0..n {
                    let (a, b) = (matrix[k * n + p], matrix[k * n + q]);
                    matrix[k * n + p] = cos * a - sin * b;
                    matrix[k * n + q] = sin * a + cos * b;
                }
                for k in 0..n {
                    let (a, b) = (matrix[p * n + k], matrix[q * n + k]);
                    matrix[p * n + k] = cos * a - sin * b;
                    matrix[q * n + k] = sin * a + cos * b;
                    let (a, b) = (basis[k * n + p], basis[k * n + q]);
                    basis[k * n + p] = cos * a - sin * b;
                    basis[k * n + q] = sin * a + cos * b;
                }
            }
        }
    }
    basis
}

/// Which rates a baseline may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freedom {
    /// Steps.
    pub steps: usize,
    /// GD++: `gamma` is tuned too; otherwise it is 0.
    pub plus: bool,
    /// All steps use the same rates.
    pub shared: bool,
}

impl Freedom {
    fn rates(&self, theta: &[f64]) -> Vec<[f64; 2]> {
        let each = if self.plus { 2 } else { 1 };
        (0..self.steps)
            .map(|step| {
                let at = if self.shared { 0 } else { step * each };
                [theta[at], if self.plus { theta[at + 1] } else { 0.0 }]
            })
            .collect()
    }

    fn free(&self) -> usize {
        (if self.plus { 2 } else { 1 }) * if self.shared { 1 } else { self.steps }
    }
}

/// Mean query loss `1/2 |guess - y|^2` of GD++ with these rates.
pub fn spectral_loss(tasks: &[Spectrum], rates: &[[f64; 2]]) -> f64 {
    let parts: Vec<f64> = tasks
        .par_chunks(512)
        .map(|part| {
            let mut miss = vec![0.0; part[0].target.len()];
            part.iter()
                .map(|task| {
                    task.misses(rates, &mut miss);
                    0.5 * miss.iter().map(|m| m * m).sum::<f64>()
                })
                .sum()
        })
        .collect();
    parts.iter().sum::<f64>() / tasks.len() as f64
}

/// The rates with the smallest mean query loss, by Levenberg & Marquardt on a quarter of the tasks from several starts.
///
/// With many steps of GD++ the mean is ruled by rare tasks with a large eigenvalue, and rates fitted to some tasks can
/// explode on others. So of all rates on the way those are kept that do best on the *other* tasks.
pub fn tune(tasks: &[Spectrum], freedom: Freedom) -> Vec<[f64; 2]> {
    let (fit, check) = tasks.split_at(tasks.len().div_ceil(4));
    if check.is_empty() { tune_on(fit, fit, freedom) } else { tune_on(fit, check, freedom) }
}

fn tune_on(tasks: &[Spectrum], check: &[Spectrum], freedom: Freedom) -> Vec<[f64; 2]> {
    let top = tasks.iter().flat_map(|t| &t.values).fold(f64::MIN_POSITIVE, |a, b| a.max(*b));
    let mean = tasks.iter().map(|t| t.values.iter().sum::<f64>()).sum::<f64>() / tasks.len() as f64;
    let n = tasks[0].n_context;
    let usual = n * tasks[0].values.len() as f64 / mean;
    let mut best: Option<(f64, Vec<f64>)> = None;
    for gamma in if freedom.plus { &[0.0, 0.3, 0.6][..] } else { &[0.0][..] } {
        for eta in [0.3, 0.6] {
            let each = if freedom.plus { 2 } else { 1 };
            let start: Vec<f64> = (0..freedom.free())
                .map(|at| if at % each == 1 { gamma / top } else { eta * usual })
                .collect();
            let (loss, theta) = descend_rates(tasks, check, freedom, start);
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, theta));
            }
        }
    }
    freedom.rates(&best.map(|(_, theta)| theta).unwrap_or_default())
}

/// The rates on the way down on `tasks` that do best on `check`, and their loss there.
fn descend_rates(
    tasks: &[Spectrum],
    check: &[Spectrum],
    freedom: Freedom,
    mut theta: Vec<f64>,
) -> (f64, Vec<f64>) {
    let mut best = (spectral_loss(check, &freedom.rates(&theta)), theta.clone());
    let mut loss = spectral_loss(tasks, &freedom.rates(&theta));
    let mut damping = 1e-3;
    for _ in 0..200 {
        let (normal, slope) = normal_equations(tasks, freedom, &theta);
        let mut improved = false;
        while damping < 1e8 {
            let mut system = normal.clone();
            for i in 0..theta.len() {
                system[i * theta.len() + i] *= 1.0 + damping;
            }
            let step = solve(theta.len(), system, slope.clone());
            let trial: Vec<f64> = theta.iter().zip(&step).map(|(t, s)| t - s).collect();
            let next = spectral_loss(tasks, &freedom.rates(&trial));
            if next < loss {
                improved = loss - next > 1e-12 * loss;
                (loss, theta) = (next, trial);
                damping *= 0.2;
                let held_out = spectral_loss(check, &freedom.rates(&theta));
                if held_out < best.0 {
                    best = (held_out, theta.clone());
                }
                break;
            }
            damping *= 5.0;
        }
        if !improved {
            break;
        }
    }
    best
}

/// `J^T J` and `J^T r` of the misses by the free rates; the derivatives are central differences in double precision.
fn normal_equations(tasks: &[Spectrum], freedom: Freedom, theta: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n = theta.len();
    let moved = |at: usize, by: f64| {
        let mut theta = theta.to_vec();
        theta[at] += by;
        freedom.rates(&theta)
    };
    let step: Vec<f64> = theta.iter().map(|t| 1e-5 * t.abs().max(1e-3)).collect();
    let probes: Vec<_> = (0..n).map(|at| (moved(at, step[at]), moved(at, -step[at]))).collect();
    let here = freedom.rates(theta);
    let parts: Vec<Vec<f64>> = tasks
        .par_chunks(512)
        .map(|part| {
            let d_y = part[0].target.len();
            let mut sums = vec![0.0; n * n + n];
            let (mut miss, mut low) = (vec![0.0; d_y], vec![0.0; d_y]);
            let mut slopes = vec![0.0; n * d_y];
            for task in part {
                for (at, (up, down)) in probes.iter().enumerate() {
                    task.misses(up, &mut miss);
                    task.misses(down, &mut low);
                    for j in 0..d_y {
                        slopes[at * d_y + j] = (miss[j] - low[j]) / (2.0 * step[at]);
                    }
                }
                task.misses(&here, &mut miss);
                for j in 0..d_y {
                    for a in 0..n {
                        for b in 0..n {
                            sums[a * n + b] += slopes[a * d_y + j] * slopes[b * d_y + j];
                        }
                        sums[n * n + a] += slopes[a * d_y + j] * miss[j];
                    }
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; n * n + n];
    for part in parts {
        for (to, from) in total.iter_mut().zip(part) {
            *to += from;
        }
    }
    let slope = total.split_off(n * n);
    (total, slope)
}

/// Solves a symmetric positive system by Gaussian elimination with pivots; a singular direction gets 0.
pub(crate) fn solve(n: usize, mut matrix: Vec<f64>, mut right: Vec<f64>) -> Vec<f64> {
    let tiny = 1e-13 * (0..n).map(|i| matrix[i * n + i].abs()).fold(0.0, f64::max);
    for p in 0..n {
        let pivot = (p..n)
            .fold(p, |best, i| if matrix[i * n + p].abs() > matrix[best * n + p].abs() { i } else { best });
        if matrix[pivot * n + p].abs() <= tiny {
            continue;
        }
        for k in 0..n {
            matrix.swap(p * n + k, pivot * n + k);
        }
        right.swap(p, pivot);
        for i in p + 1..n {
            let factor = matrix[i * n + p] / matrix[p * n + p];
            for k in p..n {
                matrix[i * n + k] -= factor * matrix[p * n + k];
            }
            right[i] -= factor * right[p];
        }
    }
    for p in (0..n).rev() {
        let rest: f64 = (p + 1..n).map(|k| matrix[p * n + k] * right[k]).sum();
        let pivot = matrix[p * n + p];
        right[p] = if pivot.abs() <= tiny { 0.0 } else { (right[p] - rest) / pivot };
    }
    right
}

/// The penalty of ridge regression with the smallest mean query loss on a set of tasks: a grid over 13 decades, and a
/// finer one around its best point.
pub fn tune_ridge(tasks: &[Spectrum]) -> f64 {
    let best_of = |middle: f64, step: f64, reach: i32| {
        let exponents = (-reach..=reach).map(|k| middle + step * f64::from(k));
        exponents
            .map(|exponent| (ridge_loss(tasks, libm::pow(10.0, exponent)), exponent))
            .fold((f64::INFINITY, middle), |best, next| if next.0 < best.0 { next } else { best })
            .1
    };
    libm::pow(10.0, best_of(best_of(-3.5, 0.5, 13), 0.05, 10))
}

/// Mean query loss of ridge regression with this penalty.
pub fn ridge_loss(tasks: &[Spectrum], lambda: f64) -> f64 {
    0.5 * tasks.iter().map(|t| t.ridge_miss(lambda)).sum::<f64>() / tasks.len() as f64
}

/// The best rate of one gradient step on a set of tasks, in closed form: `sum y_q g / sum g^2` with `g` the guess at rate 1.
pub fn best_single_rate<F: Real>(set: &[Chunk<F>]) -> f64 {
    let (mut top, mut bottom) = (0.0, 0.0);
    for chunk in set {
        let unit = guess(&descend(chunk, &[F::of(1.0)], None), chunk);
        for (g, y) in unit.iter().zip(chunk.target()) {
            for l in 0..chunk.used {
                top += g.0[l].wide() * y.0[l].wide();
                bottom += g.0[l].wide().powi(2);
            }
        }
    }
    top / bottom
}

/// The least mean query loss that *any* step `sum_i y_i x_i^T G x_q` can have on this very set (`d_y` 1), by least
/// squares over all `d^2` numbers of `G`: what no single linear-attention layer can undercut by more than chance.
pub fn preconditioned_floor<F: Real>(set: &[Chunk<F>]) -> f64 {
    let Some(shape) = set.first().map(|c| c.shape) else { return 0.0 };
    let (d, n) = (shape.d, shape.d * shape.d);
    let parts: Vec<Vec<f64>> = set
        .par_chunks(32)
        .map(|part| {
            let mut sums = vec![0.0; n * n + n + 2];
            for chunk in part {
                for lane in 0..chunk.used {
                    let (x, y) = chunk.task(lane);
                    let mut moment = vec![0.0; d];
                    for (x, y) in x.chunks_exact(d).zip(&y).take(shape.n_context) {
                        for (m, x) in moment.iter_mut().zip(x) {
                            *m += x * y;
                        }
                    }
                    let query = &x[shape.n_context * d..];
                    let terms: Vec<f64> =
                        moment.iter().flat_map(|m| query.iter().map(move |q| m * q)).collect();
                    let target = y[shape.n_context];
                    for (row, a) in sums.chunks_exact_mut(n).zip(&terms) {
                        for (sum, b) in row.iter_mut().zip(&terms) {
                            *sum += a * b;
                        }
                    }
                    for (sum, a) in sums[n * n..].iter_mut().zip(&terms) {
                        *sum += a * target;
                    }
                    sums[n * n + n] += target * target;
                    sums[n * n + n + 1] += 1.0;
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; n * n + n + 2];
    for part in parts {
        for (to, from) in total.iter_mut().zip(part) {
            *to += from;
        }
    }
    let right = total[n * n..n * n + n].to_vec();
    let best = solve(n, total[..n * n].to_vec(), right.clone());
    let explained: f64 = best.iter().zip(&right).map(|(a, b)| a * b).sum();
    0.5 * (total[n * n + n] - explained) / total[n * n + n + 1]
}

#[cfg(test)]
mod tests {
    use super::super::tasks::{LinearTasks, Tasks};
    use super::*;
    use ream_rand::Stream;

    const SHAPE: Shape = Shape { d: 5, d_y: 2, n_context: 7 };

    fn set(tasks: usize) -> Vec<Chunk<f64>> {
        LinearTasks::standard(SHAPE).set(Stream::new(11, "tests"), tasks)
    }

    /// The eigenbasis is a second way to the same numbers: GD++ and GD.
    #[test]
    fn the_spectrum_guesses_what_the_steps_guess() {
        let set = set(40);
        let rates = [[1.1, 0.02], [0.5, 0.05], [0.2, -0.01]];
        let mut at = 0;
        let spectra = Spectrum::of_set(&set);
        let mut miss = vec![0.0; 2];
        for chunk in &set {
            let plus = plus_guess(chunk, &rates);
            let plain = guess(&descend(chunk, &[1.1, 0.5], None), chunk);
            for l in 0..chunk.used {
                spectra[at].misses(&rates, &mut miss);
                for j in 0..2 {
                    assert!((plus[j].0[l] - chunk.target()[j].0[l] - miss[j]).abs() < 1e-10);
                }
                spectra[at].misses(&[[1.1, 0.0], [0.5, 0.0]], &mut miss);
                for j in 0..2 {
                    assert!((plain[j].0[l] - chunk.target()[j].0[l] - miss[j]).abs() < 1e-10);
                }
                at += 1;
            }
        }
        assert_eq!(at, 40);
    }

    /// Trap: an untuned rate flatters the network. The tuned one is a minimum: every neighbour is worse, per step.
    #[test]
    fn tuned_rates_are_minima() {
        let spectra = Spectrum::of_set(&set(2000));
        for freedom in [
            Freedom { steps: 2, plus: false, shared: false },
            Freedom { steps: 2, plus: true, shared: true },
            Freedom { steps: 3, plus: true, shared: false },
        ] {
            let rates = tune_on(&spectra, &spectra, freedom);
            let best = spectral_loss(&spectra, &rates);
            for step in 0..freedom.steps {
                // The last step's gamma moves inputs that nobody reads any more.
                let read = freedom.plus && (freedom.shared || step + 1 < freedom.steps);
                for which in 0..if read { 2 } else { 1 } {
                    for factor in [0.97, 1.03] {
                        let mut other = rates.clone();
                        for (at, rate) in other.iter_mut().enumerate() {
                            if at == step || freedom.shared {
                                rate[which] *= factor;
                            }
                        }
                        assert!(spectral_loss(&spectra, &other) > best, "{freedom:?} {step} {which}");
                    }
                }
            }
        }
    }

    #[test]
    fn more_freedom_is_never_worse() {
        let spectra = Spectrum::of_set(&set(2000));
        let loss = |steps, plus, shared| {
            let freedom = Freedom { steps, plus, shared };
            spectral_loss(&spectra, &tune_on(&spectra, &spectra, freedom))
        };
        let one = loss(1, false, false);
        let (two, plus, plus_shared) = (loss(2, false, false), loss(2, true, false), loss(2, true, true));
        let zero = LinearTasks::standard(SHAPE).zero_loss();
        assert!(one < zero && two < one && plus < 0.9 * two && plus <= plus_shared);
        assert!((loss(1, true, false) - one).abs() < 1e-9, "one step of GD++ is one step of GD");
    }

    #[test]
    fn the_best_single_rate_has_three_equal_forms() {
        let law = LinearTasks { noise: 0.5, alpha: 1.3, ..LinearTasks::standard(SHAPE) };
        let set: Vec<Chunk<f64>> = law.set(Stream::new(1, "rate"), 60_000);
        let sampled = best_single_rate(&set);
        let spectra = Spectrum::of_set(&set);
        let searched = tune_on(&spectra, &spectra, Freedom { steps: 1, plus: false, shared: false })[0][0];
        assert!((sampled / searched - 1.0).abs() < 1e-6, "{sampled} {searched}");
        assert!((sampled / law.best_rate() - 1.0).abs() < 0.02, "{sampled} {}", law.best_rate());
    }

    /// With more pairs than inputs and no noise, least squares is exact; with noise, the best penalty is the noise.
    #[test]
    fn ridge_is_the_ceiling() {
        let spectra = Spectrum::of_set(&set(500));
        let lambda = tune_ridge(&spectra);
        assert!(ridge_loss(&spectra, lambda) < 1e-8);
        let law = LinearTasks { noise: 0.7, ..LinearTasks::standard(SHAPE) };
        let noisy = Spectrum::of_set(&law.set::<f64>(Stream::new(2, "ridge"), 20_000));
        let lambda = tune_ridge(&noisy);
        assert!(lambda > 0.2 && lambda < 1.2, "{lambda}");
        let floor = ridge_loss(&noisy, lambda);
        let freedom = Freedom { steps: 4, plus: true, shared: false };
        assert!(spectral_loss(&noisy, &tune(&noisy, freedom)) > 0.999 * floor);
    }

    #[test]
    fn no_preconditioner_beats_its_own_least_squares_fit() {
        let law = LinearTasks::standard(Shape { d: 4, d_y: 1, n_context: 6 });
        let set: Vec<Chunk<f64>> = law.set(Stream::new(4, "floor"), 4000);
        let floor = preconditioned_floor(&set);
        let plain = spectral_loss(&Spectrum::of_set(&set), &[[best_single_rate(&set), 0.0]]);
        assert!(floor < plain && floor > 0.97 * plain, "{floor} {plain}");
    }
}

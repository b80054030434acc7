//! The most that a law near an observed one can promise: `max_p p . u` over a ball around observed frequencies.

/// Most steps of a one-dimensional search.
const MOST_STEPS: usize = 200;

/// Observed next states of one pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// How often the pair was tried.
    pub total: f64,
    /// Next states with their counts, in order of first sight.
    pub next: Vec<(usize, f64)>,
}

impl Seen {
    /// Adds an observation.
    pub fn add(&mut self, next: usize) {
        self.total += 1.0;
        match self.next.iter_mut().find(|(s, _)| *s == next) {
            Some((_, count)) => *count += 1.0,
            None => self.next.push((next, 1.0)),
        }
    }

    /// Mean of `u` over the observed next states; 0 without any.
    #[must_use]
    pub fn mean(&self, u: &[f64]) -> f64 {
        self.next.iter().map(|&(s, count)| count * u[s]).sum::<f64>() / self.total.max(1.0)
    }

    /// `KL(P_hat || p)`; infinite where `p` denies what was seen.
    #[must_use]
    pub fn divergence(&self, p: impl Fn(usize) -> f64) -> f64 {
        self.next
            .iter()
            .map(|&(s, count)| {
                let share = count / self.total;
                let p = p(s);
                if p > 0.0 { share * libm::log(share / p) } else { f64::INFINITY }
            })
            .sum()
    }
}

/// Values of states, with their greatest.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `u`.
    pub u: &'a [f64],
    /// `max u`.
    pub most: f64,
    /// A state that has it; the first.
    pub best: usize,
}

impl<'a> Values<'a> {
    /// Looks for the greatest.
    #[must_use]
    pub fn new(u: &'a [f64]) -> Self {
        let best = crate::environments::average_reward::solver::argmax(u);
        Self { u, most: u[best], best }
    }
}

/// The maximiser over a Kullback-Leibler ball: `p_i = kept w_i / sum w` with `w_i = P_hat_i / (gap + (max u - u_i))` over what
/// was seen, and the rest on the best state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tilt {
    /// `nu - max u`, the dual variable; infinite where nothing is tilted.
    pub gap: f64,
    /// Mass on what was seen; the rest is on the best state. It may be tiny, and its logarithm matters.
    pub kept: f64,
    /// `p . u`.
    pub value: f64,
}

/// `max_p p . u` subject to `KL(P_hat || p) <= budget`, exact up to a relative error of 1e-9 in the budget.
///
/// The dual has one variable `nu`; with `f(nu) = sum P_hat log(nu - u) + log sum P_hat / (nu - u)`, a decreasing function,
/// the constraint is active where `f(nu) - log(kept) = budget`. Where the best state was never seen and
/// `f(max u) < budget`, only `exp(f(max u) - budget)` is kept and `nu = max u`; else `f(nu) = budget` is solved by
/// Newton's method inside a bracket that bisection narrows where Newton leaves it. (Filippi, Cappe & Garivier 2010.)
/// `warm` is the `gap` of a similar problem, or anything that is not positive.
#[must_use]
pub fn kl_maximise(seen: &Seen, values: Values<'_>, budget: f64, warm: f64) -> Tilt {
    let flat = Tilt { gap: f64::INFINITY, kept: 1.0, value: seen.mean(values.u) };
    if seen.total <= 0.0 || budget == f64::INFINITY {
        return Tilt { gap: 0.0, kept: 0.0, value: values.most };
    }
    let inverse = 1.0 / seen.total;
    let dual = |x: f64| {
        let (mut logs, mut first, mut second) = (0.0, 0.0, 0.0);
        for &(s, count) in &seen.next {
            let (share, distance) = (count * inverse, x + (values.most - values.u[s]));
            let weight = share / distance;
            logs += share * libm::log(distance);
            first += weight;
            second += weight / distance;
        }
        (logs + libm::log(first), first - second / first, first)
    };
    let top_seen = seen.next.iter().any(|&(s, _)| values.u[s] >= values.most);
    if !top_seen {
        let (f, _, sum) = dual(0.0);
        if f < budget {
            let kept = libm::exp(f - budget);
            return Tilt { gap: 0.0, kept, value: values.most - kept / sum };
        }
    }
    // Nothing is won by tilting among equals.
    let first = seen.next.first().map_or(0.0, |&(s, _)| values.u[s]);
    if budget <= 0.0 || seen.next.iter().all(|&(s, _)| values.u[s] == first) {
        return flat;
    }
    let mean = flat.value;
    let square = |&(s, count): &(usize, f64)| count * inverse * (values.u[s] - mean) * (values.u[s] - mean);
    let variance: f64 = seen.next.iter().map(square).sum();
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut x = if warm > 0.0 && warm.is_finite() { warm } else { (variance / (2.0 * budget)).sqrt() };
    for _ in 0..MOST_STEPS {
        let (f, slope, _) = dual(x);
        if (f - budget).abs() <= 1e-9 * budget {
            break;
        }
        if f > budget {
            low = x;
        } else {
            high = x;
        }
        let newton = x - (f - budget) / slope;
        x = if newton > low && newton < high {
            newton
        } else if high == f64::INFINITY {
            4.0 * low
        } else if low == 0.0 {
            high / 8.0
        } else {
            (low * high).sqrt()
        };
    }
    let (_, _, sum) = dual(x);
    Tilt { gap: x, kept: 1.0, value: values.most + x - 1.0 / sum }
}

impl Tilt {
    /// Writes the maximising law to `p`.
    pub fn law(&self, seen: &Seen, values: Values<'_>, p: &mut [f64]) {
        p.fill(0.0);
        let weight = |s: usize, count: f64| {
            if self.gap == f64::INFINITY { count } else { count / (self.gap + (values.most - values.u[s])) }
        };
        let sum: f64 = seen.next.iter().map(|&(s, count)| weight(s, count)).sum();
        if sum > 0.0 {
            for &(s, count) in &seen.next {
                p[s] = self.kept * weight(s, count) / sum;
            }
        }
        p[values.best] += 1.0 - self.kept;
    }
}

/// `max_p p . u` subject to `|p - P_hat|_1 <= radius` (Jaksch, Ortner & Auer 2010): half the radius is moved to the best state,
/// from the worst ones. `ascending` holds the states from the least to the greatest `u`. Without observations, `max u`.
#[must_use]
pub fn l1_maximise(seen: &Seen, values: Values<'_>, ascending: &[usize], radius: f64) -> f64 {
    if seen.total <= 0.0 {
        return values.most;
    }
    let share = |s: usize| {
        seen.next.iter().find(|(state, _)| *state == s).map_or(0.0, |(_, count)| count / seen.total)
    };
    let mut left = (radius / 2.0).min(1.0 - share(values.best));
    let mut value = seen.mean(values.u) + left * values.most;
    for &s in ascending {
        if left <= 0.0 {
            break;
        }
        let taken = share(s).min(left);
        value -= taken * values.u[s];
        left -= taken;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn seen(counts: &[f64]) -> Seen {
        let next = counts.iter().copied().enumerate().filter(|(_, c)| *c > 0.0).collect();
        Seen { total: counts.iter().sum(), next }
    }

    fn divergence(counts: &[f64], p: &[f64]) -> f64 {
        seen(counts).divergence(|s| p[s])
    }

    /// Points of the triangle in steps of 1/n.
    fn triangle(n: usize) -> impl Iterator<Item = [f64; 3]> {
        (0..=n).flat_map(move |i| (0..=n - i).map(move |j| [i, j, n - i - j].map(|k| k as f64 / n as f64)))
    }

    #[test]
    fn the_maximiser_over_a_kl_ball_agrees_with_a_fine_grid() {
        let mut rng = Stream::new(1, "kl").at(0);
        for case in 0..40 {
            let counts = match case % 4 {
                0 => [3.0, 5.0, 2.0],
                1 => [0.0, 4.0, 6.0],
                2 => [7.0, 0.0, 0.0],
                _ => [1.0, 0.0, 9.0],
            };
            let u: Vec<f64> = (0..3).map(|_| rng.uniform()).collect();
            let budget = [0.003, 0.05, 0.5, 3.0][case / 4 % 4];
            let values = Values::new(&u);
            let tilt = kl_maximise(&seen(&counts), values, budget, 0.0);
            let mut p = [0.0; 3];
            tilt.law(&seen(&counts), values, &mut p);
            let dot = |p: &[f64]| p.iter().zip(&u).map(|(p, u)| p * u).sum::<f64>();
            assert!(
                (p.iter().sum::<f64>() - 1.0).abs() < 1e-9 && p.iter().all(|p| *p >= 0.0),
                "{counts:?} {u:?} {budget} {tilt:?} {p:?}"
            );
            assert!((dot(&p) - tilt.value).abs() < 1e-8, "{counts:?} {u:?} {tilt:?}");
            assert!(divergence(&counts, &p) <= budget * (1.0 + 1e-6), "{counts:?} {u:?} {p:?}");
            let best = triangle(600)
                .filter(|p| divergence(&counts, p) <= budget)
                .map(|p| dot(&p))
                .fold(f64::NEG_INFINITY, f64::max);
            assert!(tilt.value >= best - 1e-9, "{counts:?} {u:?} {budget}: {} < {best}", tilt.value);
            assert!(tilt.value <= best + 0.01, "{counts:?} {u:?} {budget}: {} > {best}", tilt.value);
        }
    }

    #[test]
    fn unseen_mass_goes_to_the_best_state_only_when_it_pays() {
        let u = [0.0, 1.0, 0.9];
        let values = Values::new(&u);
        let all = kl_maximise(&seen(&[10.0, 0.0, 0.0]), values, 0.2, 0.0);
        assert!((all.kept - libm::exp(-0.2)).abs() < 1e-12 && all.gap == 0.0);
        // Little is left to be won once nearly everything is at 0.9 already, but some unseen mass still pays.
        let some = kl_maximise(&seen(&[0.0, 0.0, 10.0]), values, 0.2, 0.0);
        assert!(some.kept < 1.0);
        // Seen mass far below and a small budget: tilting what was seen is better.
        let tilted = kl_maximise(&seen(&[5.0, 0.0, 5.0]), values, 0.001, 0.0);
        assert!(tilted.kept == 1.0 && tilted.gap > 0.0 && tilted.value > 0.45);
        // A best state that was seen takes its mass through the tilt.
        assert_eq!(kl_maximise(&seen(&[5.0, 5.0, 0.0]), values, 0.1, 0.0).kept, 1.0);
        // What a wide ball keeps is tiny, and its logarithm is still right.
        let wide = kl_maximise(&seen(&[1.0, 0.0, 0.0]), values, 64.0, 0.0);
        let mut p = [0.0; 3];
        wide.law(&seen(&[1.0, 0.0, 0.0]), values, &mut p);
        assert!((libm::log(p[0]) + 64.0).abs() < 1e-9);
    }

    #[test]
    fn wide_balls_deny_nothing_that_was_seen() {
        // Nearly all mass goes to the best state; the rest is far below rounding, and its logarithm must stay finite.
        let u = [0.5, 1.0, 0.2];
        let values = Values::new(&u);
        for budget in [10.0, 30.0, 100.0] {
            let counts = [1.0, 1.0, 0.0];
            let mut p = [0.0; 3];
            kl_maximise(&seen(&counts), values, budget, 0.0).law(&seen(&counts), values, &mut p);
            assert!((divergence(&counts, &p) / budget - 1.0).abs() < 1e-6, "{budget} {p:?}");
        }
    }

    #[test]
    fn a_warm_start_changes_nothing_and_a_wider_ball_promises_more() {
        let u = [0.1, 0.7, 0.4, 1.3];
        let values = Values::new(&u);
        let counts = [4.0, 2.0, 9.0, 1.0];
        let mut before = 0.0;
        for budget in [0.0, 1e-6, 1e-3, 0.1, 1.0, 10.0] {
            let cold = kl_maximise(&seen(&counts), values, budget, 0.0);
            for warm in [1e-9, 0.3, 1e6] {
                let other = kl_maximise(&seen(&counts), values, budget, warm);
                assert!((cold.value - other.value).abs() < 1e-7, "{budget} {warm}");
            }
            assert!(cold.value >= before);
            before = cold.value;
        }
        assert!(before < 1.3 && before > 1.29);
        assert_eq!(kl_maximise(&seen(&[0.0; 4]), values, 0.1, 0.0).value, 1.3);
    }

    #[test]
    fn the_maximiser_over_an_l1_ball_agrees_with_a_fine_grid() {
        let mut rng = Stream::new(2, "l1").at(0);
        for case in 0..20 {
            let counts = if case % 2 == 0 { [3.0, 5.0, 2.0] } else { [0.0, 4.0, 6.0] };
            let u: Vec<f64> = (0..3).map(|_| rng.uniform()).collect();
            let radius = [0.1, 0.6, 1.5][case % 3];
            let values = Values::new(&u);
            let mut order = [0, 1, 2];
            order.sort_by(|&a, &b| u[a].total_cmp(&u[b]));
            let value = l1_maximise(&seen(&counts), values, &order, radius);
            let near = |p: &[f64; 3]| {
                p.iter().zip(&counts).map(|(p, c)| (p - c / 10.0).abs()).sum::<f64>() <= radius + 1e-12
            };
            let best = triangle(200)
                .filter(near)
                .map(|p| p.iter().zip(&u).map(|(p, u)| p * u).sum())
                .fold(f64::NEG_INFINITY, f64::max);
            assert!((value - best).abs() < 0.01, "{counts:?} {u:?} {radius}: {value} {best}");
        }
    }
}

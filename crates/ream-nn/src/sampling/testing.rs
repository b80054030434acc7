//! Chi-square tests for laws of draws.

use ream_rand::{Rng, Stream};

pub(crate) fn rng(step: u64) -> Rng {
    Stream::new(7, "laws").at(step)
}

/// `P(X >= x)` of a chi-square law: the regularised incomplete gamma function, by its series or continued fraction (Lentz).
pub(crate) fn chi_square_tail(x: f64, freedom: f64) -> f64 {
    let (a, x) = (freedom / 2.0, x / 2.0);
    if x <= 0.0 {
        return 1.0;
    }
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-15 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return 1.0 - front * sum;
    }
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / b;
    let mut h = d;
    for i in 1..1000 {
        let an = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * h
}

/// Probability of counts at least as far from the law; cells of probability 0 must be empty.
pub(crate) fn p_value(name: &str, law: &[f64], counts: &[u64]) -> f64 {
    let n: u64 = counts.iter().sum();
    let mut statistic = 0.0;
    let mut cells = 0;
    for (i, (p, count)) in law.iter().zip(counts).enumerate() {
        if *p == 0.0 {
            assert_eq!(*count, 0, "{name}: outcome {i} has probability 0");
            continue;
        }
        let want = p * n as f64;
        assert!(want >= 5.0, "{name}: only {want} draws expected of outcome {i}: the test needs more");
        statistic += (*count as f64 - want).powi(2) / want;
        cells += 1;
    }
    if cells < 2 { 1.0 } else { chi_square_tail(statistic, f64::from(cells - 1)) }
}

/// Draws `n` times and holds the counts against the law at p = 1e-4.
pub(crate) fn assert_law(name: &str, law: &[f64], n: u64, mut draw: impl FnMut() -> usize) {
    let mut counts = vec![0; law.len()];
    (0..n).for_each(|_| counts[draw()] += 1);
    let p = p_value(name, law, &counts);
    assert!(p > 1e-4, "{name}: p = {p:.2e}, counts {counts:?}, law {law:?}");
}

#[test]
fn the_tail_has_known_values() {
    for (x, freedom, want) in
        [(3.841_459, 1.0, 0.05), (15.086_272, 5.0, 0.01), (2.0, 2.0, 0.367_879), (149.449_253, 100.0, 0.001)]
    {
        let got = chi_square_tail(x, freedom);
        assert!((got / want - 1.0).abs() < 1e-4, "{x} {freedom}: {got} wanted {want}");
    }
}

#[test]
fn a_wrong_law_is_found() {
    let mut rng = rng(0);
    let mut counts = [0; 3];
    (0..40_000).for_each(|_| counts[super::sample(&[0.31, 0.34, 0.35], rng.uniform()).unwrap()] += 1);
    assert!(p_value("wrong", &[1.0 / 3.0; 3], &counts) < 1e-4);
}

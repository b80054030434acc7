//! Divergences between laws over the next token, with gradients for the intervened one.

use ream_nn::simd::{self, LANES};
use ream_nn::{Buffer, NnError, Tensor, vectorised};

/// How far the intervened law `p` is from the law `q` that it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// `1/2 KL(p || m) + 1/2 KL(q || m)` with `m = (p + q) / 2`; at most ln 2.
    JensenShannon,
    /// `KL(q || p)`: the law wanted comes first.
    Forward,
    /// `KL(p || q)`.
    Reverse,
}

/// Natural logarithm of a positive normal number, to about 1 unit in the last place (polynomial of Moshier's Cephes `logf`); smaller ones count as
/// the smallest.
#[inline(always)]
fn ln<const FMA: bool>(x: f32) -> f32 {
    let x = if x < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { x };
    let bits = x.to_bits();
    let m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let small = m < std::f32::consts::FRAC_1_SQRT_2;
    let e = ((bits >> 23) as i32 - 126) as f32 - if small { 1.0 } else { 0.0 };
    let f = if small { m + m } else { m } - 1.0;
    let z = f * f;
    let fma = simd::fma::<FMA>;
    let p = fma(7.037_683_6e-2, f, -1.151_461e-1);
    let p = fma(p, f, 1.167_699_9e-1);
    let p = fma(p, f, -1.242_014_1e-1);
    let p = fma(p, f, 1.424_932_3e-1);
    let p = fma(p, f, -1.666_805_8e-1);
    let p = fma(p, f, 2.000_071_5e-1);
    let p = fma(p, f, -2.499_999_4e-1);
    let p = fma(p, f, 3.333_333e-1);
    let y = p * f * z + e * -2.121_944_4e-4 - 0.5 * z;
    f + y + e * 0.693_359_4
}

/// What turns logits into logarithms of probabilities.
#[derive(Clone, Copy, Debug)]
struct Shift {
    largest: f32,
    log_sum: f32,
}

/// For each class `term(ln p, ln q, p, q)` gives its share of the divergence and `p dD/dp` up to a multiple of `p`, which goes into `slopes`;
/// the sums of both.
#[inline(always)]
fn pass<const FMA: bool>(
    [p, q]: [&[f32]; 2],
    shifts: [Shift; 2],
    slopes: &mut [f32],
    term: impl Fn(f32, f32, f32, f32) -> (f32, f32),
) -> [f32; 2] {
    let n = slopes.len().min(p.len()).min(q.len());
    let (p, q, slopes) = (&p[..n], &q[..n], &mut slopes[..n]);
    let mut lanes = [[0.0_f32; LANES]; 2];
    for i in (0..n).step_by(LANES) {
        let width = LANES.min(n - i);
        let (p, q, slopes) = (&p[i..i + width], &q[i..i + width], &mut slopes[i..i + width]);
        for j in 0..width {
            let (lp, lq) = (shifts[0].of(p[j]), shifts[1].of(q[j]));
            let (value, slope) = term(lp, lq, simd::exp::<FMA>(lp), simd::exp::<FMA>(lq));
            slopes[j] = slope;
            lanes[0][j] += value;
            lanes[1][j] += slope;
        }
    }
    lanes.map(|lanes| simd::add_lanes(&lanes))
}

vectorised! {
    fn terms(kind: Divergence, p: &[f32], q: &[f32], shifts: [Shift; 2], slopes: &mut [f32]) -> [f32; 2] {
        match kind {
            Divergence::JensenShannon => pass::<FMA>([p, q], shifts, slopes, |lp, lq, p, q| {
                let middle = ln::<FMA>(0.5 * (p + q));
                let to_middle = 0.5 * (lp - middle) * p;
                (to_middle + 0.5 * (lq - middle) * q, to_middle)
            }),
            Divergence::Forward => pass::<FMA>([p, q], shifts, slopes, |lp, lq, p, q| (q * (lq - lp), p - q)),
            Divergence::Reverse => {
                pass::<FMA>([p, q], shifts, slopes, |lp, lq, p, _| (p * (lp - lq), p * (lp - lq)))
            }
        }
    }
}
vectorised! {
    /// `sum e^(x - shift)`.
    fn sum_exp(x: &[f32], shift: f32) -> f32 {
        simd::sum_by(x.len(), |i| simd::exp::<FMA>(x[i] - shift))
    }
}
vectorised! {
    /// `slopes - p total`, all times `weight`: through the softmax.
    fn through_softmax(slopes: &mut [f32], p: &[f32], shift: Shift, total: f32, weight: f32) {
        for (slope, p) in slopes.iter_mut().zip(p) {
            *slope = weight * (*slope - total * simd::exp::<FMA>(shift.of(*p)));
        }
    }
}

impl Shift {
    fn new(logits: &[f32]) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self { largest, log_sum: libm::logf(sum_exp(logits, largest)) }
    }

    /// `ln softmax(logits)` of one logit. In two steps: a large logit would swallow the logarithm of the sum.
    #[inline(always)]
    fn of(self, logit: f32) -> f32 {
        (logit - self.largest) - self.log_sum
    }
}

/// Weighted sum over rows of the divergence between `softmax(logits)` and the constant `softmax(wanted)`, shape `[]`; both
/// `[rows, vocabulary]`, a weight for each row.
///
/// # Errors
/// When shapes or the number of weights differ.
pub fn divergence(
    kind: Divergence,
    logits: &Tensor,
    wanted: &Tensor,
    weights: &[f32],
) -> ream_nn::Result<Tensor> {
    if logits.shape() != wanted.shape() || logits.rows() != weights.len() {
        let problem = format!(
            "laws {:?} and {:?} with {} weights: rows are the same tokens of both runs",
            logits.shape(),
            wanted.shape(),
            weights.len()
        );
        return Err(NnError::Shape { operation: "divergence", problem });
    }
    let width = logits.last().max(1);
    let mut slopes = Buffer::scratch(logits.len());
    let mut total = 0.0_f64;
    let laws = logits.data().chunks_exact(width).zip(wanted.data().chunks_exact(width));
    for ((slopes, (p, q)), weight) in slopes.chunks_exact_mut(width).zip(laws).zip(weights) {
        let shifts = [Shift::new(p), Shift::new(q)];
        let [value, sum] = terms(kind, p, q, shifts, slopes);
        through_softmax(slopes, p, shifts[0], sum, *weight);
        total += f64::from(value) * f64::from(*weight);
    }
    let parent = logits.clone();
    Ok(Tensor::custom("divergence", &[], vec![total as f32].into(), &[logits], move |grad, sink| {
        let mut slopes = slopes;
        slopes.iter_mut().for_each(|s| *s *= grad[0]);
        sink.add(&parent, slopes);
        Ok(())
    }))
}

/// The divergence of every row in nats: `p` and `q` are logits `[rows, width]`.
#[must_use]
pub fn rows(kind: Divergence, p: &[f32], q: &[f32], width: usize) -> Vec<f64> {
    let mut slopes = vec![0.0; width];
    let width = width.max(1);
    p.chunks_exact(width)
        .zip(q.chunks_exact(width))
        .map(|(p, q)| f64::from(terms(kind, p, q, [Shift::new(p), Shift::new(q)], &mut slopes)[0]).max(0.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_nn::{Init, check_gradients};
    use ream_rand::Stream;

    const KINDS: [Divergence; 3] = [Divergence::JensenShannon, Divergence::Forward, Divergence::Reverse];

    fn law(logits: &[f32]) -> Vec<f64> {
        let all: Vec<f64> = logits.iter().map(|l| libm::exp(f64::from(*l))).collect();
        let sum: f64 = all.iter().sum();
        all.iter().map(|p| p / sum).collect()
    }

    fn plain(kind: Divergence, p: &[f32], q: &[f32]) -> f64 {
        let (p, q) = (law(p), law(q));
        let kl = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * libm::log(a / b)).sum::<f64>();
        let middle: Vec<f64> = p.iter().zip(&q).map(|(p, q)| 0.5 * (p + q)).collect();
        match kind {
            Divergence::JensenShannon => 0.5 * kl(&p, &middle) + 0.5 * kl(&q, &middle),
            Divergence::Forward => kl(&q, &p),
            Divergence::Reverse => kl(&p, &q),
        }
    }

    #[test]
    fn values_are_those_of_the_definitions() {
        let mut rng = Stream::new(1, "laws").at(0);
        for width in [2, 15, 16, 37, 200] {
            let p = Tensor::randn(&[width], 2.0, &mut rng).to_vec();
            let q = Tensor::randn(&[width], 2.0, &mut rng).to_vec();
            for kind in KINDS {
                let (got, want) = (rows(kind, &p, &q, width)[0], plain(kind, &p, &q));
                assert!((got - want).abs() < 1e-5, "{kind:?} {width}: {got} {want}");
                assert!(rows(kind, &p, &p, width)[0] < 1e-6);
            }
        }
    }

    /// A Jensen-Shannon divergence above ln 2 is a bug; laws without a common class reach it.
    #[test]
    fn jensen_shannon_is_bounded_by_ln_2_and_symmetric() {
        let mut rng = Stream::new(2, "laws").at(0);
        for scale in [0.1, 1.0, 10.0, 100.0] {
            let p = Tensor::randn(&[20, 300], scale, &mut rng).to_vec();
            let q = Tensor::randn(&[20, 300], scale, &mut rng).to_vec();
            let there = rows(Divergence::JensenShannon, &p, &q, 300);
            let back = rows(Divergence::JensenShannon, &q, &p, 300);
            for (a, b) in there.iter().zip(&back) {
                assert!(*a <= std::f64::consts::LN_2 + 2e-6 && (a - b).abs() < 1e-5, "{a} {b}");
            }
        }
        let apart = rows(Divergence::JensenShannon, &[90.0, 0.0, -90.0], &[-90.0, 0.0, 90.0], 3)[0];
        assert!((apart - std::f64::consts::LN_2).abs() < 1e-6, "{apart}");
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let logits = Init::new(1).normal("p", &[3, 17], 1.0).tensor().detach();
        let wanted = Init::new(1).normal("q", &[3, 17], 1.5).tensor().detach();
        for kind in KINDS {
            check_gradients(std::slice::from_ref(&logits), &[], 0.01, |x| {
                divergence(kind, &x[0], &wanted, &[0.5, 0.3, 0.2])
            })
            .unwrap();
        }
        let error = divergence(KINDS[0], &logits, &wanted, &[1.0]).unwrap_err().to_string();
        assert!(error.contains("same tokens of both runs"), "{error}");
    }
}

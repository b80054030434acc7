//! What a backbone is trained on: log-loss, and the objectives it is compared with.

use ream_nn::{Buffer, NnError, Result, Tensor, ops};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A training objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Next-token log-loss.
    Nll,
    /// The spectral contrastive loss on features of the hidden state.
    Spectral,
    /// Multiclass hinge loss on the next token: no likelihood.
    Hinge,
    /// Log-loss on smoothed targets: the wrong stochasticity on purpose.
    Smoothed,
    /// Squared error to the indicator of the true law's most likely token: no likelihood.
    Squared,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nll => "nll",
            Self::Spectral => "spectral",
            Self::Hinge => "hinge",
            Self::Smoothed => "smoothed",
            Self::Squared => "squared",
        })
    }
}

/// Cross entropy against targets that keep `1 - smoothing` and spread the rest over all tokens. `logits` `[.., tokens]`.
///
/// # Errors
/// Targets that do not fit.
pub fn smoothed_cross_entropy(logits: &Tensor, targets: &[u32], smoothing: f32) -> Result<Tensor> {
    let sharp = ops::cross_entropy(logits, targets, None)?.mul_scalar(1.0 - smoothing);
    sharp.sub(&logits.log_softmax().mean().mul_scalar(smoothing))
}

/// The multiclass hinge loss of Crammer and Singer (2001), `max(0, 1 + max_{v != y} z_v - z_y)`, averaged over rows.
/// `logits` `[.., tokens]`, one target for each row.
///
/// # Errors
/// Targets that do not fit.
pub fn multiclass_hinge(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (rows, width) = (logits.rows(), logits.last());
    check(rows, width, targets, "multiclass_hinge")?;
    // The rival that violates the margin in each row.
    let mut rivals = vec![None; rows];
    let mut total = 0.0_f64;
    for ((row, target), rival) in logits.data().chunks_exact(width).zip(targets).zip(&mut rivals) {
        let target = *target as usize;
        let best = (0..width).filter(|v| *v != target).reduce(|a, b| if row[b] > row[a] { b } else { a });
        if let Some(best) = best {
            let loss = 1.0 + row[best] - row[target];
            if loss > 0.0 {
                total += f64::from(loss);
                *rival = Some(best);
            }
        }
    }
    let (parent, targets) = (logits.clone(), targets.to_vec());
    let mean = (total / rows.max(1) as f64) as f32;
    Ok(Tensor::custom("multiclass_hinge", &[], vec![mean].into(), &[logits], move |grad, sink| {
        let share = grad[0] / rows as f32;
        let mut all = Buffer::zeros(parent.len());
        for ((row, target), rival) in all.chunks_exact_mut(width).zip(&targets).zip(&rivals) {
            if let Some(rival) = rival {
                row[*rival] = share;
                row[*target as usize] = -share;
            }
        }
        sink.add(&parent, all);
        Ok(())
    }))
}

/// The spectral contrastive loss (HaoChen, Wei, Gaidon & Ma, 2021)
/// `-2 E_{(x, x+)} f(x).f(x+) + E_{x, x'} (f(x).f(x'))^2`
/// whose minimum has `f(x).f(x') = sum_v P(v|x) P(v|x') / P(v)`.
///
/// Rows `0..split` of `features` `[rows, d]` and rows `split..` must come from independent windows. A positive pair is a row
/// of the first part with a row of the second that was followed by the same token (`next`, one for each row): two
/// independent contexts that share a sampled next token, averaged over all such rows. A row whose token follows no row of the
/// second part has no positive in this batch. The second expectation is over all pairs across the parts.
///
/// # Errors
/// Sizes that do not fit; no pair shares a token.
pub fn spectral_contrastive(features: &Tensor, next: &[u32], split: usize) -> Result<Tensor> {
    let (rows, d) = (features.rows(), features.last());
    let tokens = next.iter().max().map_or(0, |t| *t as usize + 1);
    check(rows, tokens, next, "spectral_contrastive")?;
    let (first, second) = (split.min(rows), rows - split.min(rows));
    let data = features.data();
    let sums = [sums_by_token(&data[..first * d], &next[..first], d, tokens), {
        sums_by_token(&data[first * d..], &next[first..], d, tokens)
    }];
    let shared: Vec<usize> = (0..tokens).filter(|v| sums.iter().all(|s| s.counts[*v] > 0)).collect();
    let pairs: u32 = shared.iter().map(|v| sums[0].counts[*v]).sum();
    if pairs == 0 {
        return Err(NnError::Shape {
            operation: "spectral_contrastive",
            problem: "no next token occurs in both parts; a larger batch has positives".to_owned(),
        });
    }
    let moments = [second_moment(&data[..first * d], d), second_moment(&data[first * d..], d)];
    let row = |s: &Sums, v: usize| s.sums[v * d..(v + 1) * d].to_vec();
    let mut positive = 0.0_f64;
    for &v in &shared {
        let inner: f32 = row(&sums[0], v).iter().zip(row(&sums[1], v)).map(|(a, b)| a * b).sum();
        positive += f64::from(inner / sums[1].counts[v] as f32);
    }
    let negative: f64 = moments[0].iter().zip(&moments[1]).map(|(a, b)| f64::from(a * b)).sum();
    let loss = (-2.0 * positive / f64::from(pairs) + negative) as f32;
    let (parent, next) = (features.clone(), next.to_vec());
    let mut is_shared = vec![false; tokens];
    shared.iter().for_each(|v| is_shared[*v] = true);
    Ok(Tensor::custom("spectral_contrastive", &[], vec![loss].into(), &[features], move |grad, sink| {
        let mut all = Buffer::zeros(parent.len());
        for (i, (out, f)) in all.chunks_exact_mut(d).zip(parent.data().chunks_exact(d)).enumerate() {
            let (other, size) = if i < first { (1, first) } else { (0, second) };
            apply(&moments[other], f, 2.0 * grad[0] / size as f32, out);
            let v = next[i] as usize;
            if is_shared[v] {
                let factor = -2.0 * grad[0] / (pairs * sums[1].counts[v]) as f32;
                for (g, s) in out.iter_mut().zip(&sums[other].sums[v * d..(v + 1) * d]) {
                    *g += factor * s;
                }
            }
        }
        sink.add(&parent, all);
        Ok(())
    }))
}

struct Sums {
    counts: Vec<u32>,
    /// `[tokens, d]`.
    sums: Vec<f32>,
}

fn sums_by_token(rows: &[f32], next: &[u32], d: usize, tokens: usize) -> Sums {
    let mut out = Sums { counts: vec![0; tokens], sums: vec![0.0; tokens * d] };
    for (row, v) in rows.chunks_exact(d).zip(next) {
        let v = *v as usize;
        out.counts[v] += 1;
        for (sum, x) in out.sums[v * d..(v + 1) * d].iter_mut().zip(row) {
            *sum += x;
        }
    }
    out
}

/// `(1/n) sum f f^T`, `[d, d]`.
fn second_moment(rows: &[f32], d: usize) -> Vec<f32> {
    let mut moment = vec![0.0; d * d];
    let share = d as f32 / rows.len().max(1) as f32;
    for row in rows.chunks_exact(d) {
        for (out, a) in moment.chunks_exact_mut(d).zip(row) {
            let a = a * share;
            for (sum, b) in out.iter_mut().zip(row) {
                *sum += a * b;
            }
        }
    }
    moment
}

/// `out += factor M f` for a symmetric `M`.
fn apply(moment: &[f32], f: &[f32], factor: f32, out: &mut [f32]) {
    for (row, x) in moment.chunks_exact(f.len()).zip(f) {
        let x = factor * x;
        for (sum, m) in out.iter_mut().zip(row) {
            *sum += x * m;
        }
    }
}

fn check(rows: usize, width: usize, targets: &[u32], operation: &'static str) -> Result<()> {
    if targets.len() != rows || rows == 0 {
        let problem = format!("{} targets for {rows} rows; at least one of each", targets.len());
        return Err(NnError::Shape { operation, problem });
    }
    match targets.iter().find(|t| **t as usize >= width) {
        Some(target) => Err(NnError::Shape { operation, problem: format!("target {target} of {width}") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_nn::{Init, check_gradients};
    use ream_rand::Stream;

    fn random(shape: &[usize], step: u64) -> Tensor {
        Tensor::randn(shape, 1.0, &mut Stream::new(1, "objectives").at(step))
    }

    const NEXT: [u32; 10] = [0, 1, 2, 0, 3, 1, 0, 2, 2, 4];

    /// The loss by its definition, over all pairs.
    fn by_pairs(f: &Tensor, split: usize) -> f64 {
        let d = f.last();
        let inner = |i: usize, j: usize| -> f64 {
            (0..d).map(|k| f64::from(f.data()[i * d + k]) * f64::from(f.data()[j * d + k])).sum()
        };
        let rows = f.rows();
        let positives = |i: usize| (split..rows).filter(move |j| NEXT[*j] == NEXT[i]).collect::<Vec<_>>();
        let with: Vec<usize> = (0..split).filter(|i| !positives(*i).is_empty()).collect();
        let mean =
            |i: usize| positives(i).iter().map(|j| inner(i, *j)).sum::<f64>() / positives(i).len() as f64;
        let first = with.iter().map(|i| mean(*i)).sum::<f64>() / with.len() as f64;
        let all = (0..split).flat_map(|i| (split..rows).map(move |j| (i, j)));
        let second = all.map(|(i, j)| inner(i, j).powi(2)).sum::<f64>() / (split * (rows - split)) as f64;
        -2.0 * first + second
    }

    #[test]
    fn the_spectral_loss_is_its_definition() {
        let f = random(&[10, 3], 0);
        let loss = spectral_contrastive(&f, &NEXT, 5).unwrap().item().unwrap();
        assert!((f64::from(loss) - by_pairs(&f, 5)).abs() < 1e-5, "{loss} {}", by_pairs(&f, 5));
    }

    /// Positives come from the other part only: changing which rows of one part share a token changes nothing, however
    /// alike they are. The same context is never its own positive.
    #[test]
    fn a_row_is_no_positive_of_its_own_part() {
        let f = random(&[6, 3], 1);
        let error = spectral_contrastive(&f, &[0, 0, 0, 1, 1, 1], 3).unwrap_err().to_string();
        assert!(error.contains("no next token occurs in both parts"), "{error}");
        let loss = |next: &[u32]| spectral_contrastive(&f, next, 3).unwrap().item().unwrap();
        assert!((loss(&[0, 1, 1, 0, 2, 2]) - loss(&[0, 3, 4, 0, 5, 6])).abs() < 1e-6);
    }

    /// At the minimum inner products are those of the operator: gradient descent on free features finds K.
    #[test]
    fn free_features_find_the_operators_kernel() {
        // Two contexts with laws (1, 0) and (1/2, 1/2): P = (3/4, 1/4), K = [[4/3, 2/3], [2/3, 4/3]].
        let (rows, next): (Vec<usize>, Vec<u32>) =
            [(0, 0), (0, 0), (1, 0), (1, 1), (0, 0), (0, 0), (1, 0), (1, 1)].into_iter().unzip();
        let table = Init::new(1).normal("f", &[2, 2], 0.5);
        for _ in 0..3000 {
            let f = table.tensor().index_select(0, &rows).unwrap();
            let gradients = spectral_contrastive(&f, &next, 4).unwrap().backward().unwrap();
            let slope = gradients.get(&table).unwrap().to_vec();
            table.update(|x| x.iter_mut().zip(&slope).for_each(|(x, g)| *x -= 0.05 * g));
        }
        let f = table.to_vec();
        let inner = |i: usize, j: usize| f[2 * i] * f[2 * j] + f[2 * i + 1] * f[2 * j + 1];
        for (i, j, wanted) in [(0, 0, 4.0 / 3.0), (0, 1, 2.0 / 3.0), (1, 1, 4.0 / 3.0)] {
            assert!((inner(i, j) - wanted).abs() < 1e-3, "{i} {j}: {}", inner(i, j));
        }
    }

    #[test]
    fn gradients_are_finite_differences() {
        let (logits, features) = (random(&[10, 5], 2), random(&[10, 3], 3));
        check_gradients(std::slice::from_ref(&logits), &[], 0.01, |x| {
            smoothed_cross_entropy(&x[0], &NEXT, 0.2)
        })
        .unwrap();
        check_gradients(&[logits], &[], 0.01, |x| multiclass_hinge(&x[0], &NEXT)).unwrap();
        check_gradients(&[features], &[], 0.01, |x| spectral_contrastive(&x[0], &NEXT, 5)).unwrap();
    }

    #[test]
    fn known_values() {
        let z = Tensor::from_vec(vec![2.0, 1.5, 0.0, 0.0, 3.0, 0.0], &[2, 3]).unwrap();
        // Row 1: 1 + 1.5 - 2 = 0.5; row 2: right by more than the margin.
        assert!((multiclass_hinge(&z, &[0, 1]).unwrap().item().unwrap() - 0.25).abs() < 1e-6);
        let even = Tensor::zeros(&[2, 4]);
        let loss = smoothed_cross_entropy(&even, &[0, 3], 0.2).unwrap().item().unwrap();
        assert!((loss - libm::logf(4.0)).abs() < 1e-6);
        assert!(multiclass_hinge(&z, &[0]).is_err() && multiclass_hinge(&z, &[0, 3]).is_err());
    }
}

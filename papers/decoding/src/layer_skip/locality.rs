//! How far a model looks back: attention mass on the nearest tokens, and how far a change of one token is felt.

use ream_nn::ops::{Rotation, rope};
use ream_nn::{Result, no_grad};
use ream_rand::Stream;

use super::corpus::MASK;
use super::network::Network;

/// Nearest earlier tokens whose attention is counted.
pub const NEAREST: usize = 8;
/// Distances at which a token is replaced.
pub const DISTANCES: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];

/// Attention probabilities of one block, `[batch, heads, time, time]`, from its packed queries, keys and values.
fn probabilities(qkv: &[f32], [batch, time]: [usize; 2], heads: usize, d: usize, causal: bool) -> Vec<f32> {
    let size = d / heads;
    let scale = 1.0 / (size as f32).sqrt();
    let mut out = vec![0.0; batch * heads * time * time];
    for (row, out) in out.chunks_exact_mut(time).enumerate() {
        let (sample, head, i) = (row / (heads * time), row / time % heads, row % time);
        let at = |j: usize, part: usize| &qkv[((sample * time + j) * 3 + part) * d + head * size..][..size];
        let visible = if causal { i + 1 } else { time };
        let q = at(i, 0);
        for (j, p) in out[..visible].iter_mut().enumerate() {
            *p = scale * q.iter().zip(at(j, 1)).map(|(q, k)| q * k).sum::<f32>();
        }
        let largest = out[..visible].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        out[..visible].iter_mut().for_each(|p| *p = libm::expf(*p - largest));
        let sum: f32 = out[..visible].iter().sum();
        out[..visible].iter_mut().for_each(|p| *p /= sum);
    }
    out
}

/// The recency bias `R_l(w)` of every block: share of a token's attention that lies on the `w` = 8 tokens before it, less the share that these
/// have of the tokens it sees. Mean over heads, sequences and all tokens with `w` tokens before them.
///
/// # Errors
/// As [`Network::read`].
pub fn recency(network: &Network, ids: &[u32], shape: [usize; 2]) -> Result<Vec<f64>> {
    let (config, causal) = (network.decoder.config(), !network.kind.is_diffusion());
    let (heads, d, time) = (config.heads, config.d, shape[1]);
    let rotation = Rotation::new(config.head_dim(), config.rope_base, 0..time as u32)?;
    no_grad(|| {
        let mut x = network.decoder.tokens.forward(ids, &shape)?;
        let mut out = Vec::with_capacity(network.layers());
        for block in &network.decoder.stack.blocks {
            let qkv = block.attention.qkv.forward(&block.attention_norm.forward(&x)?)?;
            let p = probabilities(rope(&qkv, 2 * heads, &rotation)?.data(), shape, heads, d, causal);
            let (mut sum, mut count) = (0.0, 0_usize);
            for (row, p) in p.chunks_exact(time).enumerate() {
                let i = row % time;
                if i >= NEAREST {
                    let near: f64 = p[i - NEAREST..i].iter().map(|p| f64::from(*p)).sum();
                    let visible = if causal { i + 1 } else { time };
                    sum += near - NEAREST as f64 / visible as f64;
                    count += 1;
                }
            }
            out.push(sum / count.max(1) as f64);
            x = block.forward(&x, Some(&rotation), &network.mask(), None)?;
        }
        Ok(out)
    })
}

/// Influence at [`DISTANCES`] before and behind a token: mean of `|h_L(i) - h_L'(i)| / |h_L(i)|` when the token so far from the middle one
/// is replaced by another letter. A model that denoises is asked about a masked token among tokens that are all there. Behind is `None`
/// where nothing is seen.
///
/// # Errors
/// As [`Network::read`].
pub fn influence(
    network: &Network,
    windows: &[u32],
    len: usize,
    stream: Stream,
) -> Result<(Vec<f64>, Option<Vec<f64>>)> {
    let middle = len / 2;
    let mut rng = stream.at(0);
    let mut curves = [vec![0.0; DISTANCES.len()], vec![0.0; DISTANCES.len()]];
    let count = windows.len() / len;
    for window in windows.chunks_exact(len) {
        let mut base = window.to_vec();
        if network.kind.is_diffusion() {
            base[middle] = MASK;
        }
        let mut batch = base.clone();
        for side in [-1, 1] {
            for distance in DISTANCES {
                let mut changed = base.clone();
                let at = middle.saturating_add_signed(side * distance as isize).min(len - 1);
                // Another letter, each with the same probability.
                changed[at] = (changed[at] + 1 + rng.below(MASK as usize - 1) as u32) % MASK;
                batch.extend(changed);
            }
        }
        let reading = network.read(&batch, [batch.len() / len, len], &[], true)?;
        let last = reading.states.last().map_or(&[][..], |s| s.data());
        let d = network.decoder.config().d;
        let state = |i: usize| &last[(i * len + middle) * d..][..d];
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let size = norm(&mut state(0).iter().copied()).max(1e-12);
        for (side, curve) in curves.iter_mut().enumerate() {
            for (k, sum) in curve.iter_mut().enumerate() {
                let other = state(1 + side * DISTANCES.len() + k);
                let change = norm(&mut state(0).iter().zip(other).map(|(a, b)| a - b));
                *sum += change / size / count.max(1) as f64;
            }
        }
    }
    let [before, behind] = curves;
    Ok((before, network.kind.is_diffusion().then_some(behind)))
}

/// The distance at which an influence has fallen to half of that of the nearest token, between the distances measured; the largest one when it
/// never does.
#[must_use]
pub fn half_distance(curve: &[f64]) -> f64 {
    let half = curve.first().copied().unwrap_or(0.0) / 2.0;
    for (i, pair) in curve.windows(2).enumerate() {
        if pair[1] <= half {
            let share = ((pair[0] - half) / (pair[0] - pair[1]).max(1e-12)).clamp(0.0, 1.0);
            let (a, b) = (DISTANCES[i] as f64, DISTANCES[i + 1] as f64);
            return a + share * (b - a);
        }
    }
    DISTANCES[DISTANCES.len() - 1] as f64
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Part;
    use super::super::corpus::tests::corpus;
    use super::super::network::Kind;
    use super::super::network::tests::trained;
    use super::*;

    fn tokens(len: usize) -> Vec<u32> {
        corpus(len).windows(Part::HeldOut, 2, len, &mut Stream::new(1, "tokens").at(0))
    }

    /// The probabilities are those that the network's own attention uses.
    #[test]
    fn probabilities_are_the_networks() {
        for kind in [Kind::Ar, Kind::Dlm] {
            let network = trained(kind, 10);
            let block = &network.decoder.stack.blocks[0];
            let (ids, shape) = (tokens(48), [2, 48]);
            let x = network.decoder.tokens.forward(&ids, &shape).unwrap();
            let x = block.attention_norm.forward(&x).unwrap();
            let rotation = Rotation::new(8, network.decoder.config().rope_base, 0..48).unwrap();
            let qkv = rope(&block.attention.qkv.forward(&x).unwrap(), 4, &rotation).unwrap();
            let p = probabilities(qkv.data(), shape, 2, 16, kind == Kind::Ar);
            let mut mixed = vec![0.0; 2 * 48 * 16];
            for (row, p) in p.chunks_exact(48).enumerate() {
                assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let (sample, head, i) = (row / 96, row / 48 % 2, row % 48);
                for (j, p) in p.iter().enumerate() {
                    let v = &qkv.data()[((sample * 48 + j) * 3 + 2) * 16 + head * 8..][..8];
                    let out = &mut mixed[(sample * 48 + i) * 16 + head * 8..][..8];
                    out.iter_mut().zip(v).for_each(|(o, v)| *o += p * v);
                }
            }
            let mixed = ream_nn::Tensor::from_vec(mixed, &[2, 48, 16]).unwrap();
            let mine = block.attention.out.forward(&mixed).unwrap();
            let theirs = block.attention.forward(&x, Some(&rotation), &network.mask()).unwrap();
            for (a, b) in mine.data().iter().zip(theirs.data()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    /// Without any preference nothing is nearer than it should be.
    #[test]
    fn even_attention_has_no_recency_bias() {
        let network = trained(Kind::Dlm, 0);
        network.decoder.stack.blocks.iter().for_each(|b| b.attention.qkv.weight.update(|w| w.fill(0.0)));
        let flat = recency(&network, &tokens(48), [2, 48]).unwrap();
        assert!(flat.iter().all(|r| r.abs() < 1e-6), "{flat:?}");
        let causal = Network { kind: Kind::Ar, ..network };
        let flat = recency(&causal, &tokens(48), [2, 48]).unwrap();
        assert!(flat.iter().all(|r| r.abs() < 1e-6), "{flat:?}");
    }

    #[test]
    fn influence_comes_from_both_sides_only_where_both_are_seen() {
        let windows = tokens(80);
        let (before, behind) = influence(&trained(Kind::Dlm, 30), &windows, 80, Stream::new(2, "k")).unwrap();
        assert!(before.iter().chain(behind.as_ref().unwrap()).all(|x| *x > 0.0));
        let (before, behind) = influence(&trained(Kind::Ar, 30), &windows, 80, Stream::new(2, "k")).unwrap();
        assert!(before.iter().all(|x| *x > 0.0) && behind.is_none());
    }

    #[test]
    fn half_is_found_between_the_distances() {
        let mut curve = [0.9, 0.8, 0.7, 0.6, 0.55, 0.35, 0.2, 0.1, 0.1, 0.1];
        assert!((half_distance(&curve) - 7.0).abs() < 1e-9);
        curve.fill(1.0);
        assert_eq!(half_distance(&curve), 32.0);
    }
}

//! How representations change over depth: cosines of neighbouring blocks, relative updates, linear CKA.
//!
//! `h_l(i)` is the residual stream of token `i` after block `l` (`l = 0` is the embedding).
//! `c_l = mean_i cos(h_{l-1}(i), h_l(i))`, `u_l = mean_i |h_l(i) - h_{l-1}(i)| / |h_{l-1}(i)|`,
//! `jump_l = max_i |h_l(i)| / max_i |h_{l-1}(i)|`. A cosine near 1 may come from one direction that all tokens share, so every cosine is also
//! taken after the mean over tokens of each `h_l` is subtracted: that one decides.

use ream_nn::Tensor;
use ream_nn::gemm::{Mat, Start, gemm};

/// Tokens of which CKA is taken, at most.
const CKA_TOKENS: usize = 512;

/// Residual streams of tokens, before the first block and after each.
#[derive(Clone, Debug, Default)]
pub struct States {
    /// Width.
    pub d: usize,
    /// `[blocks + 1][tokens, d]`.
    pub layers: Vec<Vec<f32>>,
}

/// What neighbouring blocks have in common, for each block.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Profile {
    /// `c_l`.
    pub cosine: Vec<f64>,
    /// `c_l` of states less their mean.
    pub centred: Vec<f64>,
    /// `u_l`.
    pub update: Vec<f64>,
    /// `jump_l`.
    pub jump: Vec<f64>,
}

impl States {
    /// Adds the tokens of another pass.
    pub fn add(&mut self, d: usize, layers: &[impl AsRef<[f32]>]) {
        self.d = d;
        self.layers.resize(layers.len(), Vec::new());
        self.layers.iter_mut().zip(layers).for_each(|(all, new)| all.extend_from_slice(new.as_ref()));
    }

    /// Adds the tokens of a pass on our own network.
    pub fn add_tensors(&mut self, states: &[Tensor]) {
        let d = states.first().map_or(0, Tensor::last);
        self.add(d, &states.iter().map(Tensor::data).collect::<Vec<_>>());
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.layers.first().map_or(0, |l| l.len() / self.d.max(1))
    }

    /// The tokens for which `keep` holds.
    #[must_use]
    pub fn only(&self, keep: &[bool]) -> Self {
        let pick = |layer: &Vec<f32>| {
            let rows = layer.chunks_exact(self.d.max(1)).zip(keep).filter(|(_, keep)| **keep);
            rows.flat_map(|(row, _)| row).copied().collect()
        };
        Self { d: self.d, layers: self.layers.iter().map(pick).collect() }
    }

    /// The same less the mean over tokens, layer by layer.
    #[must_use]
    pub fn centred(&self) -> Self {
        let centre = |layer: &Vec<f32>| {
            let mut mean = vec![0.0_f64; self.d];
            for row in layer.chunks_exact(self.d) {
                mean.iter_mut().zip(row).for_each(|(m, x)| *m += f64::from(*x));
            }
            let n = self.tokens().max(1) as f64;
            let one = |(i, x): (usize, &f32)| (f64::from(*x) - mean[i % self.d] / n) as f32;
            layer.iter().enumerate().map(one).collect()
        };
        Self { d: self.d, layers: self.layers.iter().map(centre).collect() }
    }

    fn rows(&self, l: usize) -> impl Iterator<Item = &[f32]> {
        self.layers[l].chunks_exact(self.d.max(1))
    }

    /// Mean cosine of layers `a` and `b` over tokens.
    #[must_use]
    pub fn cosine(&self, a: usize, b: usize) -> f64 {
        let sum: f64 = self.rows(a).zip(self.rows(b)).map(|(x, y)| cosine(x, y)).sum();
        sum / self.tokens().max(1) as f64
    }

    /// `[blocks + 1, blocks + 1]` mean cosines.
    #[must_use]
    pub fn cosines(&self) -> Vec<Vec<f64>> {
        symmetric(self.layers.len(), |a, b| self.cosine(a, b))
    }

    /// What neighbours have in common.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let centred = self.centred();
        let blocks = 1..self.layers.len();
        let norm = |x: &[f32]| dot(x, x).sqrt();
        let largest = |l: usize| self.rows(l).map(norm).fold(0.0, f64::max);
        let update = |l: usize| {
            let change = |(x, y): (&[f32], &[f32])| {
                let difference: f64 = x.iter().zip(y).map(|(x, y)| f64::from(y - x).powi(2)).sum();
                difference.sqrt() / norm(x).max(1e-12)
            };
            self.rows(l - 1).zip(self.rows(l)).map(change).sum::<f64>() / self.tokens().max(1) as f64
        };
        Profile {
            cosine: blocks.clone().map(|l| self.cosine(l - 1, l)).collect(),
            centred: blocks.clone().map(|l| centred.cosine(l - 1, l)).collect(),
            update: blocks.clone().map(update).collect(),
            jump: blocks.map(|l| largest(l) / largest(l - 1).max(1e-12)).collect(),
        }
    }

    /// Linear CKA (Kornblith et al., 2019) of all pairs of layers, on at most 512 tokens spread over all:
    /// `|X'Y|^2 / (|X'X| |Y'Y|)`, computed by the tokens' products `<XX', YY'> / (|XX'| |YY'|)`.
    #[must_use]
    pub fn cka(&self) -> Vec<Vec<f64>> {
        let step = self.tokens().div_ceil(CKA_TOKENS).max(1);
        let keep: Vec<bool> = (0..self.tokens()).map(|i| i % step == 0).collect();
        let some = self.only(&keep).centred();
        let n = some.tokens();
        let products: Vec<Vec<f32>> = some
            .layers
            .iter()
            .map(|x| {
                let mut out = vec![0.0; n * n];
                let x = Mat::new(x, n, some.d);
                gemm(&mut out, n, x, x.t(), Start::Zero);
                out
            })
            .collect();
        symmetric(products.len(), |a, b| {
            let (x, y) = (&products[a], &products[b]);
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt().max(1e-30)
        })
    }
}

impl Profile {
    /// The mean of several.
    #[must_use]
    pub fn mean(profiles: &[Self]) -> Self {
        let of = |part: fn(&Self) -> &Vec<f64>| {
            let n = profiles.first().map_or(0, |p| part(p).len());
            (0..n).map(|l| profiles.iter().map(|p| part(p)[l]).sum::<f64>() / profiles.len() as f64).collect()
        };
        Self {
            cosine: of(|p| &p.cosine),
            centred: of(|p| &p.centred),
            update: of(|p| &p.update),
            jump: of(|p| &p.jump),
        }
    }
}

/// Mean of the first half of a profile.
#[must_use]
pub fn first_half(values: &[f64]) -> f64 {
    let half = values.len() / 2;
    values[..half].iter().sum::<f64>() / half.max(1) as f64
}

/// Geometric mean of the first half of a profile of sizes: they span two orders, and the first block's change of a small embedding would
/// decide any other mean.
#[must_use]
pub fn first_half_geometric(values: &[f64]) -> f64 {
    let logarithms: Vec<f64> = values.iter().map(|v| libm::log(v.max(1e-12))).collect();
    libm::exp(first_half(&logarithms))
}

fn symmetric(n: usize, of: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let upper: Vec<Vec<f64>> = (0..n).map(|a| (a..n).map(|b| of(a, b)).collect()).collect();
    (0..n).map(|a| (0..n).map(|b| upper[a.min(b)][a.abs_diff(b)]).collect()).collect()
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// 0 when one of the two is zero.
fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let sizes = (dot(x, x) * dot(y, y)).sqrt();
    if sizes > 0.0 { dot(x, y) / sizes } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;
    use ream_stats::Matrix;

    fn random(layers: usize, tokens: usize, d: usize, shift: f64) -> States {
        let mut rng = Stream::new(3, "states").at(0);
        let layer = |_| (0..tokens * d).map(|_| (rng.normal() + shift) as f32).collect();
        States { d, layers: (0..layers).map(layer).collect() }
    }

    /// Unrelated layers with one large mean in common look alike until it is subtracted.
    #[test]
    fn a_shared_mean_makes_cosines_large_and_centring_undoes_it() {
        let profile = random(3, 200, 16, 10.0).profile();
        assert!(profile.cosine.iter().all(|c| *c > 0.98), "{:?}", profile.cosine);
        assert!(profile.centred.iter().all(|c| c.abs() < 0.1), "{:?}", profile.centred);
    }

    #[test]
    fn a_block_that_does_nothing_is_seen() {
        let mut states = random(2, 50, 8, 0.0);
        states.layers.insert(1, states.layers[0].clone());
        states.layers[2].iter_mut().for_each(|x| *x *= 7.0);
        let profile = states.profile();
        assert!((profile.cosine[0] - 1.0).abs() < 1e-12 && (profile.centred[0] - 1.0).abs() < 1e-12);
        assert_eq!((profile.update[0], profile.jump[0]), (0.0, 1.0));
        assert!(profile.cosine[1] < 0.5 && profile.update[1] > 3.0 && profile.jump[1] > 4.0);
        assert!((first_half(&[1.0, 2.0, 9.0, 9.0]) - 1.5).abs() < 1e-12);
        assert!((first_half_geometric(&[1.0, 4.0, 9.0, 9.0]) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn cka_agrees_with_its_other_form_and_ignores_turns_and_scales() {
        let mut states = random(2, 60, 6, 1.0);
        // A turn by 90 degrees in the first plane, twice as long.
        let turned = states.layers[0].chunks_exact(6).flat_map(|r| [-r[1], r[0], r[2], r[3], r[4], r[5]]);
        states.layers.push(turned.map(|x| 2.0 * x).collect());
        let cka = states.cka();
        let matrix = |l: usize| {
            let rows: Vec<Vec<f64>> =
                states.rows(l).map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
            Matrix::from_rows(&rows).unwrap()
        };
        let want = ream_stats::spectral::linear_cka(&matrix(0), &matrix(1), None).unwrap();
        assert!((cka[0][1] - want).abs() < 1e-4, "{} {want}", cka[0][1]);
        assert!((cka[0][2] - 1.0).abs() < 1e-5 && (cka[1][1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn tokens_are_picked_and_passes_joined() {
        let mut states = random(2, 4, 3, 0.0);
        let some = states.only(&[true, false, false, true]);
        assert_eq!(some.tokens(), 2);
        assert_eq!(some.layers[1][3..], states.layers[1][9..]);
        let copy = states.clone();
        states.add(3, &copy.layers);
        assert_eq!((states.tokens(), states.cosine(0, 1)), (8, copy.cosine(0, 1)));
    }
}

//! What is done to the residual stream, on numbers: clamping along directions, adding a vector.

use ream_nn::simd::dot;
use serde::{Deserialize, Serialize};

/// An intervention on the residual stream `h` after one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Steering {
    /// Nothing is changed.
    None,
    /// `h <- h + sum_k (target_k - v_k . h) v_k` for orthonormal rows `v_k`.
    Clamp {
        /// `[rank, width]`, orthonormal rows.
        basis: Vec<f32>,
        /// `[rank]`.
        targets: Vec<f32>,
    },
    /// `h <- h + a`.
    Add {
        /// `[width]`.
        vector: Vec<f32>,
    },
}

impl Steering {
    /// Changes one row.
    pub fn apply(&self, h: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Clamp { basis, targets } => {
                // Directions are orthonormal: one after the other is all at once.
                for (v, target) in basis.chunks_exact(h.len().max(1)).zip(targets) {
                    let missing = target - dot(v, h);
                    h.iter_mut().zip(v).for_each(|(h, v)| *h += missing * v);
                }
            }
            Self::Add { vector } => h.iter_mut().zip(vector).for_each(|(h, a)| *h += a),
        }
    }

    /// Changes all rows `[rows, width]` but those that `spared` names: the first token of a text is left alone.
    pub fn apply_all(&self, x: &mut [f32], width: usize, spared: impl Fn(usize) -> bool) {
        if *self == Self::None {
            return;
        }
        for (i, h) in x.chunks_exact_mut(width.max(1)).enumerate() {
            if !spared(i) {
                self.apply(h);
            }
        }
    }
}

/// `v_k . h` for each row of the basis.
#[must_use]
pub fn latents(basis: &[f32], h: &[f32]) -> Vec<f32> {
    basis.chunks_exact(h.len().max(1)).map(|v| dot(v, h)).collect()
}

/// Makes the rows `[rank, width]` orthonormal, one after the other (Gram and Schmidt, twice for accuracy). With one row: divides by its norm.
pub fn orthonormalise(basis: &mut [f32], width: usize) {
    let width = width.max(1);
    for k in 0..basis.len() / width {
        let (before, rest) = basis.split_at_mut(k * width);
        let row = &mut rest[..width];
        for _ in 0..2 {
            for other in before.chunks_exact(width) {
                let along = dot(other, row);
                row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let norm = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-30);
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_nn::Tensor;
    use ream_rand::Stream;

    const WIDTH: usize = 48;

    fn rows(n: usize, seed: u64) -> Vec<f32> {
        Tensor::randn(&[n, WIDTH], 3.0, &mut Stream::new(seed, "rows").at(0)).to_vec()
    }

    fn basis(rank: usize) -> Vec<f32> {
        let mut basis = rows(rank, 1);
        orthonormalise(&mut basis, WIDTH);
        basis
    }

    #[test]
    fn directions_are_orthonormal() {
        let basis = basis(4);
        for (i, a) in basis.chunks_exact(WIDTH).enumerate() {
            for (j, b) in basis.chunks_exact(WIDTH).enumerate() {
                let want = if i == j { 1.0 } else { 0.0 };
                assert!((dot(a, b) - want).abs() < 1e-5, "{i} {j}");
            }
        }
    }

    #[test]
    fn clamping_to_its_own_latent_changes_nothing() {
        let basis = basis(1);
        for h in rows(5, 2).chunks_exact(WIDTH) {
            let mut moved = h.to_vec();
            Steering::Clamp { targets: latents(&basis, h), basis: basis.clone() }.apply(&mut moved);
            let worst = moved.iter().zip(h).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{worst}");
        }
    }

    /// With a vector that is not of norm 1 the clamp would not reach its target, and this fails.
    #[test]
    fn only_the_component_along_the_direction_moves() {
        for rank in [1, 3] {
            let basis = basis(rank);
            let targets: Vec<f32> = (0..rank).map(|k| 7.0 - k as f32).collect();
            let clamp = Steering::Clamp { basis: basis.clone(), targets: targets.clone() };
            for h in rows(5, 3).chunks_exact(WIDTH) {
                let mut moved = h.to_vec();
                clamp.apply(&mut moved);
                for (z, target) in latents(&basis, &moved).iter().zip(&targets) {
                    assert!((z - target).abs() < 1e-5, "{z} {target}");
                }
                let rest = |h: &[f32]| {
                    let mut rest = h.to_vec();
                    let none = vec![0.0; rank];
                    Steering::Clamp { basis: basis.clone(), targets: none }.apply(&mut rest);
                    rest
                };
                let worst = rest(&moved).iter().zip(rest(h)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst <= 1e-5, "{worst}");
            }
        }
    }

    #[test]
    fn spared_rows_stay() {
        let mut x = rows(3, 4);
        let before = x.clone();
        Steering::Add { vector: vec![1.0; WIDTH] }.apply_all(&mut x, WIDTH, |row| row == 1);
        assert_eq!(x[WIDTH..2 * WIDTH], before[WIDTH..2 * WIDTH]);
        assert!((x[0] - before[0] - 1.0).abs() < 1e-6);
    }
}

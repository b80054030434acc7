//! Rotary position embedding (Su et al., 2021), in one and two dimensions.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::error::{Result, config, shape};
use crate::simd::{fma, vectorised};
use crate::tensor::Tensor;
use crate::threads;

/// Cosines and sines that turn queries and keys at given positions: pair `i` of a head is elements `i` and `i + head_dim / 2`
/// (half-split pairs, as in GPT-NeoX and Llama checkpoints of the transformers library), turned by `position * base^(-2 i / head_dim)`.
///
/// In two dimensions the first half of the pairs turns with the row, the second half with the column.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// `[tokens, head_dim / 2]` each.
    cos: Arc<Vec<f32>>,
    sin: Arc<Vec<f32>>,
    half: usize,
}

impl Rotation {
    /// For tokens at these positions.
    ///
    /// # Errors
    /// When `head_dim` is odd or 0, or the base is not above 1.
    pub fn new(head_dim: usize, base: f32, positions: impl IntoIterator<Item = u32>) -> Result<Self> {
        check(head_dim, 2, base)?;
        let half = head_dim / 2;
        Ok(Self::from_angles(half, positions.into_iter().flat_map(|p| angles(p, half, base))))
    }

    /// For tokens at these rows and columns of an image.
    ///
    /// # Errors
    /// When `head_dim` is not a positive multiple of 4, or the base is not above 1.
    pub fn two_dimensional(
        head_dim: usize,
        base: f32,
        positions: impl IntoIterator<Item = (u32, u32)>,
    ) -> Result<Self> {
        check(head_dim, 4, base)?;
        let quarter = head_dim / 4;
        Ok(Self::from_angles(
            head_dim / 2,
            positions
                .into_iter()
                .flat_map(|(row, column)| angles(row, quarter, base).chain(angles(column, quarter, base))),
        ))
    }

    fn from_angles(half: usize, angles: impl Iterator<Item = f64>) -> Self {
        let (cos, sin): (Vec<f32>, Vec<f32>) =
            angles.map(|a| (libm::cos(a) as f32, libm::sin(a) as f32)).unzip();
        Self { cos: Arc::new(cos), sin: Arc::new(sin), half }
    }

    /// The tokens with these numbers, in this order.
    ///
    /// # Errors
    /// When there is no such token.
    pub fn select(&self, tokens: &[u32]) -> Result<Self> {
        if let Some(bad) = tokens.iter().find(|t| **t as usize >= self.tokens()) {
            return shape("Rotation::select", format!("token {bad} of {}", self.tokens()));
        }
        let pick = |from: &[f32]| {
            let rows = tokens.iter().flat_map(|t| &from[*t as usize * self.half..][..self.half]);
            Arc::new(rows.copied().collect())
        };
        Ok(Self { cos: pick(&self.cos), sin: pick(&self.sin), half: self.half })
    }

    /// The first `tokens` tokens, at most all.
    #[must_use]
    pub fn first(&self, tokens: usize) -> Self {
        let len = tokens.min(self.tokens()) * self.half;
        let cut = |from: &[f32]| Arc::new(from[..len].to_vec());
        Self { cos: cut(&self.cos), sin: cut(&self.sin), half: self.half }
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Elements of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        2 * self.half
    }
}

fn check(head_dim: usize, multiple: usize, base: f32) -> Result<()> {
    if head_dim == 0 || !head_dim.is_multiple_of(multiple) {
        return config(
            "head_dim",
            format!("a positive multiple of {multiple} for rotary positions"),
            head_dim,
        );
    }
    if base.is_nan() || base <= 1.0 {
        return config("rope_base", "above 1", base);
    }
    Ok(())
}

/// Angles of `count` pairs at a position.
fn angles(position: u32, count: usize, base: f32) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| f64::from(position) * libm::pow(f64::from(base), -(i as f64) / count as f64))
}

vectorised! {
    /// Turns pairs `(out[i], out[i + half])`; `sign` -1 turns back.
    fn turn(out: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let (first, second) = out.split_at_mut(cos.len());
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (x, y, s) = (*a, *b, sign * sin);
            *a = fma::<FMA>(x, *cos, -(y * s));
            *b = fma::<FMA>(y, *cos, x * s);
        }
    }
}

/// Turns the first `heads` heads of every token: `x` `[batch, time, columns]` with `heads * head_dim <= columns`; the columns
/// after them (the values of a packed `[q, k, v]`) stay. `rotation` holds `time` tokens, or `batch * time`.
///
/// # Errors
/// When heads or tokens do not fit.
pub fn rope(x: &Tensor, heads: usize, rotation: &Rotation) -> Result<Tensor> {
    let &[batch, time, columns] = x.shape() else {
        return shape("rope", format!("[batch, time, columns] is needed, got {:?}", x.shape()));
    };
    if heads * rotation.head_dim() > columns {
        return shape("rope", format!("{heads} heads of {} do not fit {:?}", rotation.head_dim(), x.shape()));
    }
    if rotation.tokens() != time && rotation.tokens() != batch * time {
        return shape(
            "rope",
            format!("positions of {} tokens for {:?}: time or batch * time", rotation.tokens(), x.shape()),
        );
    }
    let out = turned(Buffer::copy_of(x.data()), columns, heads, rotation, 1.0);
    let (parent, rotation) = (x.clone(), rotation.clone());
    Ok(Tensor::custom("rope", x.shape(), out, &[x], move |grad, sink| {
        sink.add(&parent, turned(grad, columns, heads, &rotation, -1.0));
        Ok(())
    }))
}

fn turned(mut x: Buffer, columns: usize, heads: usize, rotation: &Rotation, sign: f32) -> Buffer {
    let (half, tokens) = (rotation.half, rotation.tokens());
    let rows = (8192 / columns.max(1)).max(1);
    threads::chunks(&mut x, rows * columns, |start, part| {
        for (i, row) in part.chunks_exact_mut(columns).enumerate() {
            let at = (start / columns + i) % tokens * half;
            let (cos, sin) = (&rotation.cos[at..at + half], &rotation.sin[at..at + half]);
            for head in row.chunks_exact_mut(2 * half).take(heads) {
                turn(head, cos, sin, sign);
            }
        }
    });
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize]) -> Tensor {
        Tensor::randn(shape, 1.0, &mut Stream::new(1, "rope").at(0))
    }

    #[test]
    fn products_depend_on_the_distance_only() {
        let (q, k) = (normal(&[1, 1, 8]), normal(&[1, 1, 8]).tanh());
        let product = |a: u32, b: u32| {
            let turn = |x: &Tensor, p| rope(x, 1, &Rotation::new(8, 100.0, [p]).unwrap()).unwrap();
            crate::simd::dot(turn(&q, a).data(), turn(&k, b).data())
        };
        assert!((product(3, 1) - product(13, 11)).abs() < 1e-5);
        assert!((product(3, 1) - product(3, 2)).abs() > 1e-3);
        let grid = |a: (u32, u32), b: (u32, u32)| {
            let turn =
                |x: &Tensor, p| rope(x, 1, &Rotation::two_dimensional(8, 100.0, [p]).unwrap()).unwrap();
            crate::simd::dot(turn(&q, a).data(), turn(&k, b).data())
        };
        assert!((grid((3, 5), (1, 4)) - grid((7, 2), (5, 1))).abs() < 1e-5);
        assert!((grid((3, 5), (1, 4)) - grid((5, 3), (4, 1))).abs() > 1e-3);
    }

    #[test]
    fn values_stay_lengths_stay_and_gradients_turn_back() {
        let x = normal(&[2, 3, 20]);
        let rotation = Rotation::new(4, 50.0, 0..3).unwrap();
        let y = rope(&x, 3, &rotation).unwrap();
        for (x, y) in x.data().chunks(20).zip(y.data().chunks(20)) {
            assert_eq!(x[12..], y[12..]);
            for (x, y) in x.chunks(4).zip(y.chunks(4)) {
                let square = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>();
                assert!((square(x) - square(y)).abs() < 1e-5);
            }
        }
        assert_eq!(x.data()[..20], y.data()[..20]);
        check_gradients(std::slice::from_ref(&x), &[], 5e-3, |x| rope(&x[0], 3, &rotation)).unwrap();
        let each = Rotation::new(4, 50.0, [0, 1, 2, 9, 9, 1]).unwrap();
        check_gradients(std::slice::from_ref(&x), &[], 5e-3, |x| rope(&x[0], 5, &each)).unwrap();
        assert!(rope(&x, 6, &rotation).unwrap_err().to_string().contains("6 heads of 4"));
        assert!(Rotation::new(3, 50.0, [1]).unwrap_err().to_string().contains("head_dim must be"));
    }
}

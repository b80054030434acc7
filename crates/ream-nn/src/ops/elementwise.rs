//! Operations on every element, and on two tensors element by element with broadcasting.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;

/// Operations whose derivative is written in the input (`from input`) or in the result (`from output`): a method of [`Tensor`] each,
/// and a module with its loops for operations that fuse it.
macro_rules! unary {
    ($($(#[$meta:meta])* $name:ident from $kept:ident: |$x:ident| $f:expr, |$z:ident| $d:expr;)*) => {
        $(pub(super) mod $name {
            use super::*;

            vectorised! {
                pub(in crate::ops) fn forward(out: &mut [f32], x: &[f32]) {
                    let _ = FMA;
                    for (out, x) in out.iter_mut().zip(x) {
                        let $x = *x;
                        *out = $f;
                    }
                }
            }
            vectorised! {
                #[allow(dead_code, reason = "not every operation is fused somewhere")]
                pub(in crate::ops) fn in_place(x: &mut [f32]) {
                    let _ = FMA;
                    for x in x.iter_mut() {
                        let $x = *x;
                        *x = $f;
                    }
                }
            }
            vectorised! {
                /// Multiplies a gradient by the derivative.
                pub(in crate::ops) fn backward(grad: &mut [f32], kept: &[f32]) {
                    let _ = FMA;
                    for (grad, kept) in grad.iter_mut().zip(kept) {
                        let $z = *kept;
                        *grad *= $d;
                    }
                }
            }
        }
        impl Tensor {
            $(#[$meta])*
            #[must_use]
            pub fn $name(&self) -> Self {
                let out = Arc::new(kernels::map(self.data(), $name::forward));
                let kept = unary!(@keep $kept, self, out);
                let parent = self.clone();
                Self::derived(stringify!($name), self.shape(), out, &[self], move |mut grad, sink| {
                    kernels::update(&mut grad, &kept, $name::backward);
                    sink.add(&parent, grad);
                    Ok(())
                })
            }
        })*
    };
    (@keep input, $this:ident, $out:ident) => { $this.shared_data() };
    (@keep output, $this:ident, $out:ident) => { Arc::clone(&$out) };
}

/// `sqrt(2 / pi)`, of the tanh form of GELU.
const GELU_A: f32 = 0.797_884_6;
const GELU_B: f32 = 0.044_715;

unary! {
    /// `e^x`.
    exp from output: |x| simd::exp::<FMA>(x), |y| y;
    /// Natural logarithm.
    ln from input: |x| libm::logf(x), |x| 1.0 / x;
    /// Square root.
    sqrt from output: |x| x.sqrt(), |y| 0.5 / y;
    /// `x^2`.
    square from input: |x| x * x, |x| 2.0 * x;
    /// `|x|`; derivative 0 at 0.
    abs from input: |x| x.abs(), |x| if x == 0.0 { 0.0 } else { x.signum() };
    /// `max(x, 0)`.
    relu from output: |x| if x > 0.0 { x } else { 0.0 }, |y| if y > 0.0 { 1.0 } else { 0.0 };
    /// Hyperbolic tangent.
    tanh from output: |x| simd::tanh::<FMA>(x), |y| fma::<FMA>(-y, y, 1.0);
    /// `1 / (1 + e^-x)`.
    sigmoid from output: |x| simd::sigmoid::<FMA>(x), |y| y * (1.0 - y);
    /// `x sigmoid(x)`, also called swish.
    silu from input: |x| x * simd::sigmoid::<FMA>(x),
        |x| { let s = simd::sigmoid::<FMA>(x); s * fma::<FMA>(x, 1.0 - s, 1.0) };
    /// `x` for positive x, else `e^x - 1` (exponential linear unit, alpha 1).
    elu from output: |x| if x > 0.0 { x } else { simd::exp::<FMA>(x) - 1.0 },
        |y| if y > 0.0 { 1.0 } else { y + 1.0 };
    /// Gaussian error linear unit in the tanh form (Hendrycks & Gimpel, 2016).
    gelu from input: |x| {
        // (1 + tanh u) / 2 is the sigmoid of 2 u.
        x * simd::sigmoid::<FMA>(2.0 * GELU_A * fma::<FMA>(GELU_B * x * x, x, x))
    }, |x| {
        let s = simd::sigmoid::<FMA>(2.0 * GELU_A * fma::<FMA>(GELU_B * x * x, x, x));
        let inner = 2.0 * GELU_A * fma::<FMA>(3.0 * GELU_B * x, x, 1.0);
        s * fma::<FMA>(x * (1.0 - s), inner, 1.0)
    };
    /// Gaussian error linear unit `x Phi(x)` with the normal distribution function itself (Hendrycks & Gimpel, 2016), as BERT has it.
    gelu_exact from input: |x| x * simd::normal_cdf::<FMA>(x),
        // Phi + x phi, where phi(x) = e^(-x^2 / 2) / sqrt(2 pi).
        |x| fma::<FMA>(0.398_942_3 * x, simd::exp::<FMA>(-0.5 * x * x), simd::normal_cdf::<FMA>(x));
    /// `ln(1 + e^x)`.
    softplus from input: |x| {
        let positive = if x > 0.0 { x } else { 0.0 };
        positive + simd::ln_1p::<FMA>(simd::exp::<FMA>(-x.abs()))
    }, |x| simd::sigmoid::<FMA>(x);
    /// Sine.
    sin from input: |x| libm::sinf(x), |x| libm::cosf(x);
    /// Cosine.
    cos from input: |x| libm::cosf(x), |x| -libm::sinf(x);
}

impl Tensor {
    /// `-x`.
    #[must_use]
    pub fn neg(&self) -> Self {
        self.affine(-1.0, 0.0)
    }

    /// `x + c`.
    #[must_use]
    pub fn add_scalar(&self, c: f32) -> Self {
        self.affine(1.0, c)
    }

    /// `c x`.
    #[must_use]
    pub fn mul_scalar(&self, c: f32) -> Self {
        self.affine(c, 0.0)
    }

    /// `a x + b`.
    #[must_use]
    pub fn affine(&self, a: f32, b: f32) -> Self {
        let mut out = Buffer::copy_of(self.data());
        crate::threads::chunks(&mut out, kernels::CHUNK, |_, out| affine_chunk(out, a, b));
        let parent = self.clone();
        Self::custom("affine", self.shape(), out, &[self], move |mut grad, sink| {
            kernels::scale(&mut grad, a);
            sink.add(&parent, grad);
            Ok(())
        })
    }

    /// `min(max(x, low), high)`; no gradient where it is cut.
    #[must_use]
    pub fn clamp(&self, low: f32, high: f32) -> Self {
        let out: Vec<f32> = self.data().iter().map(|x| x.max(low).min(high)).collect();
        let parent = self.clone();
        Self::custom("clamp", self.shape(), out.into(), &[self], move |mut grad, sink| {
            for (g, x) in grad.iter_mut().zip(parent.data()) {
                if *x < low || *x > high {
                    *g = 0.0;
                }
            }
            sink.add(&parent, grad);
            Ok(())
        })
    }

    /// `x^p` for positive x.
    #[must_use]
    pub fn powf(&self, p: f32) -> Self {
        let out: Vec<f32> = self.data().iter().map(|x| libm::powf(*x, p)).collect();
        let parent = self.clone();
        Self::custom("powf", self.shape(), out.into(), &[self], move |mut grad, sink| {
            for (g, x) in grad.iter_mut().zip(parent.data()) {
                *g *= p * libm::powf(*x, p - 1.0);
            }
            sink.add(&parent, grad);
            Ok(())
        })
    }

    /// Keeps an element with probability `1 - p` and divides it by that, else 0.
    #[must_use]
    pub fn dropout(&self, p: f32, rng: &mut ream_rand::Rng) -> Self {
        if p <= 0.0 {
            return self.clone();
        }
        let keep = 1.0 / (1.0 - p);
        let mask: Vec<f32> =
            (0..self.len()).map(|_| if rng.uniform_f32() < p { 0.0 } else { keep }).collect();
        let mask = Arc::new(Buffer::from(mask));
        let out = kernels::zip(self.data(), &mask, multiply);
        let parent = self.clone();
        Self::custom("dropout", self.shape(), out, &[self], move |grad, sink| {
            sink.add(&parent, kernels::zip(&grad, &mask, multiply));
            Ok(())
        })
    }
}

vectorised! {
    fn affine_chunk(x: &mut [f32], a: f32, b: f32) {
        x.iter_mut().for_each(|x| *x = fma::<FMA>(*x, a, b));
    }
}
vectorised! {
    fn plus(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = a + b; }
    }
}
vectorised! {
    fn minus(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = a - b; }
    }
}
vectorised! {
    fn multiply(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = a * b; }
    }
}
vectorised! {
    fn divide(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = a / b; }
    }
}
vectorised! {
    fn greater(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = if a >= b { *a } else { *b }; }
    }
}
vectorised! {
    fn smaller(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = if a <= b { *a } else { *b }; }
    }
}

/// The shape that two shapes broadcast to, axes aligned at the end.
pub(super) fn broadcast_shape(operation: &'static str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (axis(a, i), axis(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => shape(
                operation,
                format!("{a:?} and {b:?} differ in axis {i}: {x} and {y} (equal or 1 would fit)"),
            ),
        })
        .collect()
}

impl Tensor {
    /// Both operands with the shape they broadcast to.
    fn aligned(&self, operation: &'static str, other: &Self) -> Result<(Self, Self)> {
        if self.shape() == other.shape() {
            return Ok((self.clone(), other.clone()));
        }
        let to = broadcast_shape(operation, self.shape(), other.shape())?;
        Ok((self.broadcast_to(&to)?, other.broadcast_to(&to)?))
    }

    /// `a + b`, broadcast.
    ///
    /// # Errors
    /// When an axis differs and neither is 1.
    pub fn add(&self, other: &Self) -> Result<Self> {
        let (a, b) = self.aligned("add", other)?;
        let out = kernels::zip(a.data(), b.data(), plus);
        let (pa, pb) = (a.clone(), b.clone());
        Ok(Self::custom("add", a.shape(), out, &[&a, &b], move |grad, sink| {
            if pa.requires_grad() && pb.requires_grad() {
                sink.add(&pa, grad.clone());
                sink.add(&pb, grad);
            } else {
                sink.add(if pa.requires_grad() { &pa } else { &pb }, grad);
            }
            Ok(())
        }))
    }

    /// `a - b`, broadcast.
    ///
    /// # Errors
    /// When an axis differs and neither is 1.
    pub fn sub(&self, other: &Self) -> Result<Self> {
        let (a, b) = self.aligned("sub", other)?;
        let out = kernels::zip(a.data(), b.data(), minus);
        let (pa, pb) = (a.clone(), b.clone());
        Ok(Self::custom("sub", a.shape(), out, &[&a, &b], move |mut grad, sink| {
            if pa.requires_grad() {
                sink.add(&pa, grad.clone());
            }
            if pb.requires_grad() {
                kernels::scale(&mut grad, -1.0);
                sink.add(&pb, grad);
            }
            Ok(())
        }))
    }

    /// `a b`, broadcast.
    ///
    /// # Errors
    /// When an axis differs and neither is 1.
    pub fn mul(&self, other: &Self) -> Result<Self> {
        let (a, b) = self.aligned("mul", other)?;
        let out = kernels::zip(a.data(), b.data(), multiply);
        let (pa, pb) = (a.clone(), b.clone());
        Ok(Self::custom("mul", a.shape(), out, &[&a, &b], move |grad, sink| {
            if pa.requires_grad() {
                sink.add(&pa, kernels::zip(&grad, pb.data(), multiply));
            }
            if pb.requires_grad() {
                sink.add(&pb, kernels::zip(&grad, pa.data(), multiply));
            }
            Ok(())
        }))
    }

    /// `a / b`, broadcast.
    ///
    /// # Errors
    /// When an axis differs and neither is 1.
    pub fn div(&self, other: &Self) -> Result<Self> {
        let (a, b) = self.aligned("div", other)?;
        let out = kernels::zip(a.data(), b.data(), divide);
        let (pa, pb) = (a.clone(), b.clone());
        Ok(Self::custom("div", a.shape(), out, &[&a, &b], move |grad, sink| {
            let over = kernels::zip(&grad, pb.data(), divide);
            if pb.requires_grad() {
                let ratio = kernels::zip(pa.data(), pb.data(), divide);
                let mut down = kernels::zip(&over, &ratio, multiply);
                kernels::scale(&mut down, -1.0);
                sink.add(&pb, down);
            }
            sink.add(&pa, over);
            Ok(())
        }))
    }
}

/// `max(a, b)` element by element, broadcast; at a tie the gradient goes to `a`.
///
/// # Errors
/// When an axis differs and neither is 1.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    pick("maximum", a, b, greater, |a, b| a >= b)
}

/// `min(a, b)` element by element, broadcast; at a tie the gradient goes to `a`.
///
/// # Errors
/// When an axis differs and neither is 1.
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    pick("minimum", a, b, smaller, |a, b| a <= b)
}

fn pick(
    name: &'static str,
    a: &Tensor,
    b: &Tensor,
    forward: fn(&mut [f32], &[f32], &[f32]),
    first: fn(f32, f32) -> bool,
) -> Result<Tensor> {
    let (a, b) = a.aligned(name, b)?;
    let out = kernels::zip(a.data(), b.data(), forward);
    let (pa, pb) = (a.clone(), b.clone());
    Ok(Tensor::custom(name, a.shape(), out, &[&a, &b], move |mut grad, sink| {
        let mut other = Buffer::zeros(grad.len());
        for i in 0..grad.len() {
            if !first(pa.data()[i], pb.data()[i]) {
                other[i] = std::mem::take(&mut grad[i]);
            }
        }
        sink.add(&pa, grad);
        sink.add(&pb, other);
        Ok(())
    }))
}

vectorised! {
    fn gate_forward(out: &mut [f32], gate: &[f32], up: &[f32]) {
        for (out, (g, u)) in out.iter_mut().zip(gate.iter().zip(up)) {
            *out = g * simd::sigmoid::<FMA>(*g) * u;
        }
    }
}
vectorised! {
    fn gate_backward(d_gate: &mut [f32], d_up: &mut [f32], grad: &[f32], gate: &[f32], up: &[f32]) {
        for i in 0..grad.len().min(gate.len()).min(up.len()).min(d_gate.len()).min(d_up.len()) {
            let s = simd::sigmoid::<FMA>(gate[i]);
            d_up[i] = grad[i] * gate[i] * s;
            d_gate[i] = grad[i] * up[i] * s * fma::<FMA>(gate[i], 1.0 - s, 1.0);
        }
    }
}

impl Tensor {
    /// `silu(a) b` where the last axis is `a` followed by `b`: `[.., 2 h]` to `[.., h]`.
    ///
    /// # Errors
    /// When the last axis is odd.
    pub fn silu_gate(&self) -> Result<Self> {
        let width = self.last();
        if self.rank() == 0 || !width.is_multiple_of(2) {
            return shape("silu_gate", format!("the last axis of {:?} must be even", self.shape()));
        }
        let h = width / 2;
        let mut to = self.shape().to_vec();
        if let Some(last) = to.last_mut() {
            *last = h;
        }
        let mut out = Buffer::scratch(self.rows() * h);
        let rows = (kernels::CHUNK / h.max(1)).max(1);
        crate::threads::chunks(&mut out, rows * h, |start, part| {
            for (i, out) in part.chunks_exact_mut(h).enumerate() {
                let x = &self.data()[(start / h + i) * width..][..width];
                gate_forward(out, &x[..h], &x[h..]);
            }
        });
        let parent = self.clone();
        Ok(Self::custom("silu_gate", &to, out, &[self], move |grad, sink| {
            let mut all = Buffer::scratch(parent.len());
            crate::threads::chunks(&mut all, rows * width, |start, part| {
                for (i, d) in part.chunks_exact_mut(width).enumerate() {
                    let row = start / width + i;
                    let (x, g) = (&parent.data()[row * width..][..width], &grad[row * h..][..h]);
                    let (d_gate, d_up) = d.split_at_mut(h);
                    gate_backward(d_gate, d_up, g, &x[..h], &x[h..]);
                }
            });
            sink.add(&parent, all);
            Ok(())
        }))
    }
}

//! Gradients held against finite differences.

use ream_rand::Stream;

use crate::autograd::no_grad;
use crate::error::{NnError, Result};
use crate::param::Param;
use crate::tensor::Tensor;

/// Elements looked at in each tensor.
const ELEMENTS: usize = 24;
/// Step of the finite difference: large, since the function is computed in f32; the five-point stencil's error is of order `h^4`.
const STEP: f32 = 0.02;

/// Holds the gradients of `f` (any shape; weighted by fixed random numbers) for `inputs` and `params` against central five-point
/// differences, at up to 24 elements of each.
///
/// `tolerance` is relative to the largest gradient of the tensor; 0.01 suits functions of moderate curvature.
/// Inputs and parameters should be of order 1, away from kinks.
///
/// # Errors
/// Those of `f`; [`NnError::Gradient`] naming tensor and element; a tensor without a gradient.
pub fn check_gradients(
    inputs: &[Tensor],
    params: &[Param],
    tolerance: f64,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let watched: Vec<Tensor> = inputs.iter().map(Tensor::watched).collect();
    let out = f(&watched)?;
    let weights = Tensor::randn(out.shape(), 1.0, &mut Stream::new(1, "gradient check").at(0));
    let grads = out.backward_with(weights.data().to_vec().into())?;
    let value = |inputs: &[Tensor]| -> Result<f64> {
        let out = no_grad(|| f(inputs))?;
        Ok(out.data().iter().zip(weights.data()).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum())
    };
    for (i, input) in watched.iter().enumerate() {
        let name = format!("input {i}");
        let grad = grads.of(input).ok_or_else(|| missing(&name))?;
        compare(&name, grad, tolerance, |at, step| {
            let mut moved = inputs.to_vec();
            let mut values = input.to_vec();
            values[at] += step;
            moved[i] = Tensor::from_vec(values, input.shape())?;
            value(&moved)
        })?;
    }
    for param in params {
        let grad = grads.get(param).ok_or_else(|| missing(param.name()))?;
        let original = param.to_vec();
        compare(param.name(), grad, tolerance, |at, step| {
            param.update(|x| x[at] = original[at] + step);
            let result = value(inputs);
            param.update(|x| x[at] = original[at]);
            result
        })?;
    }
    Ok(())
}

fn missing(name: &str) -> NnError {
    NnError::Gradient { tensor: name.to_owned(), problem: "no gradient arrived".to_owned() }
}

fn compare(name: &str, grad: &[f32], tolerance: f64, at: impl Fn(usize, f32) -> Result<f64>) -> Result<()> {
    let scale = grad.iter().fold(1e-3_f64, |a, g| a.max(f64::from(g.abs())));
    let stride = grad.len().div_ceil(ELEMENTS).max(1);
    for i in (0..grad.len()).step_by(stride) {
        let (near, far) = (at(i, STEP)? - at(i, -STEP)?, at(i, 2.0 * STEP)? - at(i, -2.0 * STEP)?);
        let want = (8.0 * near - far) / (12.0 * f64::from(STEP));
        let got = f64::from(grad[i]);
        // NaN on either side is a difference too.
        if (got - want).abs().partial_cmp(&(tolerance * scale)).is_none_or(std::cmp::Ordering::is_gt) {
            let problem =
                format!("element {i}: {got:.6}, finite differences give {want:.6} (largest {scale:.4})");
            return Err(NnError::Gradient { tensor: name.to_owned(), problem });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    /// Every operation of one input: name, input, function.
    #[test]
    fn operations_of_one_tensor() {
        type Op = (&'static str, Box<dyn Fn(&Tensor) -> Result<Tensor>>);
        let ops: Vec<Op> = vec![
            ("exp", Box::new(|x| Ok(x.exp()))),
            ("ln", Box::new(|x| Ok(x.square().add_scalar(1.0).ln()))),
            ("sqrt", Box::new(|x| Ok(x.square().add_scalar(1.0).sqrt()))),
            ("powf", Box::new(|x| Ok(x.square().add_scalar(1.0).powf(1.3)))),
            ("square", Box::new(|x| Ok(x.square()))),
            ("tanh", Box::new(|x| Ok(x.tanh()))),
            ("sigmoid", Box::new(|x| Ok(x.sigmoid()))),
            ("silu", Box::new(|x| Ok(x.silu()))),
            ("gelu", Box::new(|x| Ok(x.gelu()))),
            ("gelu_exact", Box::new(|x| Ok(x.gelu_exact()))),
            ("softplus", Box::new(|x| Ok(x.softplus()))),
            ("sin", Box::new(|x| Ok(x.sin()))),
            ("cos", Box::new(|x| Ok(x.cos()))),
            ("affine", Box::new(|x| Ok(x.affine(2.0, 1.0).neg()))),
            ("silu_gate", Box::new(Tensor::silu_gate)),
            ("softmax", Box::new(|x| Ok(x.softmax()))),
            ("log_softmax", Box::new(|x| Ok(x.log_softmax()))),
            ("log_sum_exp", Box::new(|x| Ok(x.log_sum_exp()))),
            ("sum", Box::new(|x| Ok(x.square().sum()))),
            ("mean", Box::new(|x| Ok(x.square().mean()))),
            ("sum_axis 0", Box::new(|x| x.sum_axis(0))),
            ("sum_axis 1", Box::new(|x| x.sum_axis(1))),
            ("mean_axis 2", Box::new(|x| x.mean_axis(2))),
            ("permute", Box::new(|x| x.permute(&[2, 0, 1]))),
            ("transpose", Box::new(|x| x.transpose(1, 2)?.square().transpose(0, 1))),
            ("narrow", Box::new(|x| x.narrow(1, 1, 2))),
            ("index_select", Box::new(|x| x.index_select(1, &[2, 0, 2]))),
            ("broadcast_to", Box::new(|x| x.narrow(1, 0, 1)?.broadcast_to(&[2, 2, 3, 4]))),
            (
                "split and concat",
                Box::new(|x| {
                    let parts = x.split(2, &[1, 3])?;
                    ops::concat(&[&parts[1], &parts[0], &parts[1]], 2)
                }),
            ),
            ("stack", Box::new(|x| ops::stack(&[x, &x.square()], 1))),
            ("reshape", Box::new(|x| x.square().reshape(&[4, 6]))),
            ("cross_entropy", Box::new(|x| ops::cross_entropy(x, &[0, 1, 2, 3, 0, 1], None))),
            (
                "weighted cross_entropy",
                Box::new(|x| {
                    ops::cross_entropy(x, &[0, 1, 2, 3, 0, 1], Some(&[1.0, 0.0, 0.5, 2.0, 0.0, 1.0]))
                }),
            ),
            ("bce", Box::new(|x| ops::bce_with_logits(x, &[0.3; 24]))),
        ];
        for (name, op) in ops {
            let inputs = [normal(&[2, 3, 4], 5)];
            check_gradients(&inputs, &[], 5e-3, |x| op(&x[0])).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn operations_of_two_tensors_with_broadcasting() {
        type Op = (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor>);
        let ops: [Op; 5] = [
            ("add", Tensor::add),
            ("sub", Tensor::sub),
            ("mul", Tensor::mul),
            ("div", |a, b| a.div(&b.square().add_scalar(1.0))),
            ("mse", |a, b| ops::mse(&a.add(b)?, &a.mul(b)?)),
        ];
        for shape in [&[2_usize, 3, 4][..], &[4], &[3, 1], &[2, 1, 1], &[1], &[]] {
            for (name, op) in ops {
                let inputs = [normal(&[2, 3, 4], 1), normal(shape, 2)];
                check_gradients(&inputs, &[], 1e-2, |x| op(&x[0], &x[1]))
                    .unwrap_or_else(|e| panic!("{name} {shape:?}: {e}"));
                check_gradients(&inputs, &[], 1e-2, |x| op(&x[1], &x[0]))
                    .unwrap_or_else(|e| panic!("{name} {shape:?} turned: {e}"));
            }
        }
    }

    #[test]
    fn products_and_tables() {
        let (a, b) = (normal(&[2, 3, 4], 1), normal(&[2, 4, 5], 2));
        check_gradients(&[a.clone(), b], &[], 5e-3, |x| x[0].matmul(&x[1])).unwrap();
        check_gradients(&[a.clone(), normal(&[4, 5], 3)], &[], 5e-3, |x| x[0].matmul(&x[1])).unwrap();
        let inputs = [a, normal(&[5, 4], 3), normal(&[5], 4)];
        check_gradients(&inputs, &[], 5e-3, |x| ops::linear(&x[0], &x[1], Some(&x[2]))).unwrap();
        // A weight used twice collects both gradients.
        let twice = [normal(&[3, 4], 1), normal(&[4, 4], 2)];
        check_gradients(&twice, &[], 5e-3, |x| ops::linear(&ops::linear(&x[0], &x[1], None)?, &x[1], None))
            .unwrap();
        check_gradients(&[normal(&[5, 3], 1)], &[], 5e-3, |x| ops::embedding(&x[0], &[4, 0, 4, 1], &[2, 2]))
            .unwrap();
    }

    #[test]
    fn maximum_minimum_relu_abs_clamp_away_from_kinks() {
        let x = Tensor::from_vec(vec![-1.5, -0.8, 0.4, 1.2], &[4]).unwrap();
        let y = Tensor::from_vec(vec![0.5, -1.2, 0.9, 0.2], &[4]).unwrap();
        let both = [x, y];
        check_gradients(&both, &[], 5e-3, |x| {
            ops::maximum(&x[0], &x[1])?.add(&ops::minimum(&x[0], &x[1])?.square())
        })
        .unwrap();
        check_gradients(&both[..1], &[], 5e-3, |x| x[0].relu().add(&x[0].abs().square())).unwrap();
        check_gradients(&both[..1], &[], 5e-3, |x| Ok(x[0].clamp(-1.0, 1.0).square())).unwrap();
        check_gradients(&both[..1], &[], 5e-3, |x| x[0].max_axis(0)).unwrap();
    }

    #[test]
    fn a_wrong_gradient_is_found() {
        let wrong = |x: &[Tensor]| {
            let parent = x[0].clone();
            let out = x[0].square().data().to_vec();
            Ok(Tensor::custom("wrong", x[0].shape(), out.into(), &[&x[0]], move |grad, sink| {
                sink.add(&parent, grad);
                Ok(())
            }))
        };
        let error = check_gradients(&[normal(&[4], 1)], &[], 1e-2, wrong).unwrap_err();
        assert!(error.to_string().contains("input 0: element 0"), "{error}");
    }
}

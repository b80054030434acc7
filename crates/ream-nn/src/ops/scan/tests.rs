use super::*;
use crate::gradcheck::check_gradients;
use crate::threads::set_threads;
use ream_rand::Stream;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, 0.7, &mut Stream::new(seed, "scan").at(0))
}

/// u, delta, A, B, C, D, z.
fn operands(batch: usize, time: usize, channels: usize, states: usize) -> Vec<Tensor> {
    vec![
        normal(&[batch, time, channels], 1),
        normal(&[batch, time, channels], 2).softplus(),
        normal(&[channels, states], 3).exp().neg(),
        normal(&[batch, time, states], 4),
        normal(&[batch, time, states], 5),
        normal(&[channels], 6),
        normal(&[batch, time, channels], 7),
    ]
}

fn scan(x: &[Tensor], gated: bool) -> Result<Tensor> {
    let z = gated.then(|| &x[6]);
    SelectiveScan { u: &x[0], delta: &x[1], a: &x[2], b: &x[3], c: &x[4], d: &x[5], z }.run()
}

/// The equations, one number at a time, in f64.
fn naive(x: &[Tensor], gated: bool) -> Vec<f64> {
    let (&[batch, time, channels], states) = (x[0].shape(), x[2].last()) else { panic!() };
    let at = |t: &Tensor, i: usize| f64::from(t.data()[i]);
    let mut out = vec![0.0; x[0].len()];
    for s in 0..batch {
        for e in 0..channels {
            let mut h = vec![0.0; states];
            for t in 0..time {
                let (wide, narrow) = ((s * time + t) * channels + e, (s * time + t) * states);
                let (u, delta) = (at(&x[0], wide), at(&x[1], wide));
                let mut y = at(&x[5], e) * u;
                for (n, h) in h.iter_mut().enumerate() {
                    *h =
                        libm::exp(delta * at(&x[2], e * states + n)) * *h + delta * at(&x[3], narrow + n) * u;
                    y += at(&x[4], narrow + n) * *h;
                }
                let z = at(&x[6], wide);
                out[wide] = if gated { y * z / (1.0 + libm::exp(-z)) } else { y };
            }
        }
    }
    out
}

#[test]
fn equals_the_plain_loop_at_awkward_sizes() {
    for (batch, time, channels, states) in [(1, 1, 1, 1), (2, 70, 21, 3), (3, 33, 130, 5), (1, 64, 16, 16)] {
        let x = operands(batch, time, channels, states);
        for gated in [false, true] {
            let y = scan(&x, gated).unwrap();
            for (y, want) in y.data().iter().zip(naive(&x, gated)) {
                assert!((f64::from(*y) - want).abs() < 1e-4 * want.abs().max(1.0), "{y} {want}");
            }
        }
    }
}

#[test]
fn gradients_of_every_operand_within_and_across_chunks() {
    for (batch, time, channels, states) in [(2, 5, 3, 2), (1, CHUNK + 3, 18, 2), (1, 4, GROUP + 2, 1)] {
        let x = operands(batch, time, channels, states);
        check_gradients(&x, &[], 1e-2, |x| scan(x, true)).unwrap();
        check_gradients(&x[..6], &[], 1e-2, |x| scan(x, false)).unwrap();
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let x: Vec<Tensor> = operands(3, 70, 100, 4).iter().map(Tensor::watched).collect();
    let run = |threads| {
        set_threads(threads);
        let y = scan(&x, true).unwrap();
        let grads = y.square().sum().backward().unwrap();
        let mut all = vec![y.to_vec()];
        all.extend(x.iter().map(|x| grads.of(x).unwrap().to_vec()));
        all
    };
    assert!(run(1) == run(3));
}

#[test]
fn extending_step_by_step_equals_one_pass() {
    let x = operands(2, 9, 20, 3);
    let whole = scan(&x, true).unwrap();
    let mut state = vec![0.0; 2 * 20 * 3];
    let mut parts = Vec::new();
    for (from, len) in [(0, 4), (4, 1), (5, 1), (6, 3)] {
        let part: Vec<Tensor> = x
            .iter()
            .map(|x| if x.rank() == 3 { x.narrow(1, from, len).unwrap() } else { x.clone() })
            .collect();
        let piece = SelectiveScan {
            u: &part[0],
            delta: &part[1],
            a: &part[2],
            b: &part[3],
            c: &part[4],
            d: &part[5],
            z: Some(&part[6]),
        };
        parts.push(piece.extend(&mut state).unwrap());
    }
    let joined = crate::ops::concat(&parts.iter().collect::<Vec<_>>(), 1).unwrap();
    assert_eq!(joined.to_vec(), whole.to_vec());
}

#[test]
fn errors_name_operand_and_axes() {
    let mut x = operands(2, 5, 3, 2);
    x[3] = normal(&[2, 5, 4], 1);
    let error = scan(&x, true).unwrap_err().to_string();
    assert!(error.contains("B [2, 5, 4] must be [batch, time, states] = [2, 5, 2]"), "{error}");
    let error = linear_recurrence(&x[0], &x[3], None).unwrap_err().to_string();
    assert!(error.contains("must have a's shape"), "{error}");
    let error = causal_conv_silu(&x[0], &normal(&[4, 4], 1), &x[5]).unwrap_err().to_string();
    assert!(error.contains("[channels, width] = [3, 4]"), "{error}");
}

#[test]
fn linear_recurrence_equals_the_loop_and_its_gradients_are_exact() {
    let (a, b, start) = (normal(&[2, 7, 70], 1), normal(&[2, 7, 70], 2), normal(&[2, 70], 3));
    let h = linear_recurrence(&a, &b, Some(&start)).unwrap();
    for s in 0..2 {
        for e in 0..70 {
            let mut want = start.data()[s * 70 + e];
            for t in 0..7 {
                let i = (s * 7 + t) * 70 + e;
                want = a.data()[i] * want + b.data()[i];
                assert!((h.data()[i] - want).abs() < 1e-5);
            }
        }
    }
    check_gradients(&[a.clone(), b.clone(), start], &[], 1e-2, |x| {
        linear_recurrence(&x[0], &x[1], Some(&x[2]))
    })
    .unwrap();
    check_gradients(&[a, b], &[], 1e-2, |x| linear_recurrence(&x[0], &x[1], None)).unwrap();
}

#[test]
fn causal_convolution_equals_the_loop_and_its_gradients_are_exact() {
    let (x, w, bias) = (normal(&[2, 40, 5], 1), normal(&[5, 4], 2), normal(&[5], 3));
    let y = causal_conv_silu(&x, &w, &bias).unwrap();
    for s in 0..2 {
        for t in 0..40_usize {
            for e in 0..5 {
                let mut want = bias.data()[e];
                for k in 0..4 {
                    if t + k >= 3 {
                        want += w.data()[e * 4 + k] * x.data()[(s * 40 + t + k - 3) * 5 + e];
                    }
                }
                let want = want / (1.0 + libm::expf(-want));
                assert!((y.data()[(s * 40 + t) * 5 + e] - want).abs() < 1e-5);
            }
        }
    }
    check_gradients(&[x, w, bias], &[], 1e-2, |x| causal_conv_silu(&x[0], &x[1], &x[2])).unwrap();
}

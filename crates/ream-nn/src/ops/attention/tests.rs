use super::*;
use crate::check_gradients;
use crate::threads::set_threads;
use ream_rand::Stream;

fn normal(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, 0.8, &mut Stream::new(seed, "attention").at(0))
}

/// Attention by its definition, in f64.
fn reference(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads<'_>, mask: &Mask) -> Vec<f64> {
    let (batch, queries, keys) = (q.shape()[0], q.shape()[1], k.shape()[1]);
    let d = q.last() / heads.heads;
    let (wide, kv_wide, group) = (q.last(), k.last(), heads.heads / heads.kv_heads);
    let scale = heads.scale.map_or(1.0 / (d as f64).sqrt(), f64::from);
    let mut out = vec![0.0; batch * queries * wide];
    for (b, i, h) in
        (0..batch).flat_map(|b| (0..queries).flat_map(move |i| (0..heads.heads).map(move |h| (b, i, h))))
    {
        let at = |j: usize, c: usize| (b * keys + j) * kv_wide + h / group * d + c;
        let query = |c: usize| f64::from(q.data()[(b * queries + i) * wide + h * d + c]);
        let weights: Vec<f64> = (0..keys)
            .map(|j| {
                if !mask.allowed(b, i, j) {
                    return 0.0;
                }
                let score: f64 = (0..d).map(|c| query(c) * f64::from(k.data()[at(j, c)])).sum();
                let bias = heads.bias.map_or(0.0, |bias| {
                    let head = if bias.shape()[0] == 1 { 0 } else { h };
                    f64::from(bias.data()[(head * queries + i) * keys + j])
                });
                libm::exp(scale * score + bias)
            })
            .collect();
        let total: f64 = weights.iter().sum();
        for c in 0..d {
            let sum: f64 = (0..keys).map(|j| weights[j] * f64::from(v.data()[at(j, c)])).sum();
            out[(b * queries + i) * wide + h * d + c] = if total > 0.0 { sum / total } else { 0.0 };
        }
    }
    out
}

/// Masks for 2 samples of `t` tokens.
fn masks(t: usize) -> Vec<(&'static str, Mask)> {
    let third = |i: usize| (i * 3 / t) as u32;
    let blocks: Vec<u32> = (0..t).map(third).collect();
    vec![
        ("full", Mask::full()),
        ("causal", Mask::causal()),
        ("window", Mask::window(3)),
        ("prefix", Mask::prefix(&[t / 2, 1])),
        ("blocks", Mask::block_causal(&blocks).unwrap()),
        ("padding", Mask::full().with_key_lengths(&[t, t / 3])),
        ("causal with padding", Mask::causal().with_key_lengths(&[t / 2, t])),
        ("matrix", Mask::from_fn(t, t, |i, j| (i * 7 + j * 5) % 3 != 0)),
        ("one for each sample", Mask::per_sample(2, t, t, |b, i, j| (i + j + b) % 2 == 0 || j == 0)),
        ("some rows see nothing", Mask::from_fn(t, t, |i, j| i % 3 != 1 && j <= i)),
        ("nothing at all", Mask::from_fn(t, t, |_, _| false)),
    ]
}

#[test]
fn agrees_with_the_definition_under_every_mask() {
    for t in [1, 5, 64, 150] {
        for (name, mask) in masks(t) {
            for heads in [Heads::new(4), Heads::grouped(4, 2), Heads::grouped(4, 1).scaled(0.7)] {
                let (wide, kv) = (4 * 8, heads.kv_heads * 8);
                let qkv = normal(&[2, t, wide + 2 * kv], t as u64);
                let parts = qkv.split(2, &[wide, kv, kv]).unwrap();
                let want = reference(&parts[0], &parts[1], &parts[2], heads, &mask);
                let packed = self_attention(&qkv, heads, &mask).unwrap();
                let separate = attention(&parts[0], &parts[1], &parts[2], heads, &mask).unwrap();
                assert_eq!(packed.data(), separate.data());
                for (i, (got, want)) in packed.data().iter().zip(&want).enumerate() {
                    assert!((f64::from(*got) - want).abs() < 1e-5, "{name} t {t} element {i}: {got} {want}");
                }
            }
        }
    }
}

#[test]
fn other_lengths_and_biases_agree_with_the_definition() {
    let (q, kv) = (normal(&[2, 7, 24], 1), normal(&[2, 90, 48], 2));
    let parts = kv.split(2, &[24, 24]).unwrap();
    for shape in [[1, 7, 90], [3, 7, 90]] {
        let bias = normal(&shape, 3);
        let heads = Heads::new(3).biased(&bias);
        for mask in [Mask::full(), Mask::causal().with_offset(40), Mask::full().with_key_lengths(&[90, 11])] {
            let got = cross_attention(&q, &kv, heads, &mask).unwrap();
            let want = reference(&q, &parts[0], &parts[1], heads, &mask);
            assert!(got.data().iter().zip(&want).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-5));
        }
    }
}

#[test]
fn gradients_match_finite_differences_under_every_mask() {
    for (name, mask) in masks(6) {
        let qkv = [normal(&[2, 6, 16 + 2 * 8], 3)];
        check_gradients(&qkv, &[], 1e-2, |x| self_attention(&x[0], Heads::grouped(4, 2), &mask))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    // More than one block of queries.
    let long = [normal(&[1, 70, 12], 4)];
    check_gradients(&long, &[], 2e-2, |x| self_attention(&x[0], Heads::new(2), &Mask::causal())).unwrap();
}

#[test]
fn gradients_of_separate_inputs_and_of_the_bias() {
    let inputs = [normal(&[2, 3, 8], 1), normal(&[2, 5, 8], 2), normal(&[2, 5, 8], 3)];
    let mask = Mask::from_fn(3, 5, |i, j| j <= 2 * i);
    check_gradients(&inputs, &[], 1e-2, |x| attention(&x[0], &x[1], &x[2], Heads::new(2), &mask)).unwrap();
    let inputs = [normal(&[2, 3, 8], 1), normal(&[2, 5, 16], 2)];
    check_gradients(&inputs, &[], 1e-2, |x| cross_attention(&x[0], &x[1], Heads::new(2), &mask)).unwrap();
    for first in [1, 2] {
        let inputs = [normal(&[2, 4, 24], 1), normal(&[first, 4, 4], 2)];
        check_gradients(&inputs, &[], 1e-2, |x| {
            self_attention(&x[0], Heads::new(2).biased(&x[1]), &Mask::causal())
        })
        .unwrap();
    }
    // One tensor as queries, keys and values collects all three gradients.
    check_gradients(&[normal(&[1, 4, 8], 5)], &[], 1e-2, |x| {
        attention(&x[0], &x[0], &x[0], Heads::new(2), &Mask::causal())
    })
    .unwrap();
}

#[test]
fn what_a_query_may_not_see_changes_no_bit_of_its_result() {
    let t = 130;
    for (name, mask) in masks(t) {
        let x = normal(&[2, t, 48], 9);
        let before = self_attention(&x, Heads::new(2), &mask).unwrap();
        for j in [0, 1, 63, 64, 100, t - 1] {
            let mut values = x.to_vec();
            for b in 0..2 {
                values[(b * t + j) * 48 + 16..(b * t + j + 1) * 48].iter_mut().for_each(|v| *v += 1.5);
            }
            let after =
                self_attention(&Tensor::from_vec(values, x.shape()).unwrap(), Heads::new(2), &mask).unwrap();
            for row in 0..2 * t {
                let same = before.data()[row * 16..][..16] == after.data()[row * 16..][..16];
                assert_eq!(same, !mask.allowed(row / t, row % t, j), "{name}: key {j}, row {row}");
            }
        }
    }
}

#[test]
fn a_row_that_sees_nothing_gets_zeros_and_no_gradient_that_is_not_a_number() {
    let x = normal(&[1, 4, 12], 1).watched();
    let y = self_attention(&x, Heads::new(2), &Mask::from_fn(4, 4, |_, _| false)).unwrap();
    assert!(y.data().iter().all(|v| *v == 0.0));
    let grads = y.sum().backward().unwrap();
    assert!(grads.of(&x).unwrap().iter().all(|g| *g == 0.0));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads| {
        set_threads(threads);
        let x = normal(&[3, 140, 4 * 16 + 2 * 32], 2).watched();
        let bias = normal(&[4, 140, 140], 3).watched();
        let heads = Heads::grouped(4, 2);
        let y = self_attention(&x, heads, &Mask::causal()).unwrap();
        let z = self_attention(&x, heads.biased(&bias), &Mask::full()).unwrap();
        let grads = y.add(&z).unwrap().square().sum().backward().unwrap();
        (y.to_vec(), grads.of(&x).unwrap().to_vec(), grads.of(&bias).unwrap().to_vec())
    };
    let one = run(1);
    assert_eq!(one, run(3));
}

#[test]
fn what_does_not_fit_is_said() {
    let x = normal(&[2, 4, 12], 1);
    let message = |r: Result<Tensor>| r.unwrap_err().to_string();
    assert!(
        message(self_attention(&x, Heads::grouped(3, 2), &Mask::full())).contains("divisor of heads = 3")
    );
    assert!(message(self_attention(&x, Heads::new(5), &Mask::full())).contains("multiple of 15"));
    let short = Mask::from_fn(4, 5, |_, _| true);
    assert!(message(self_attention(&x, Heads::new(2), &short)).contains("4 queries by 5 keys for 4 by 4"));
    let lengths = Mask::prefix(&[1, 2, 3]);
    assert!(message(self_attention(&x, Heads::new(2), &lengths)).contains("3 prefix lengths for 2 samples"));
    assert!(Mask::block_causal(&[0, 2, 1]).unwrap_err().to_string().contains("position 2"));
}

#[test]
fn sequences_without_padding_are_as_alone_to_the_bit() {
    let lengths = [3, 0, 70, 16, 1, 17];
    let (heads, columns) = (Heads::grouped(4, 2), 8 * 5);
    let tokens: usize = lengths.iter().sum();
    let all = Tensor::randn(&[tokens, columns], 1.0, &mut Stream::new(5, "ragged").at(0));
    for threads in [1, 3] {
        set_threads(threads);
        let got = ragged_self_attention(&all, &lengths, heads).unwrap();
        assert_eq!(got.shape(), [tokens, 4 * 5]);
        let mut first = 0;
        for length in lengths {
            let own = all.data()[first * columns..(first + length) * columns].to_vec();
            let own = Tensor::from_vec(own, &[1, length, columns]).unwrap();
            let want = self_attention(&own, heads, &Mask::full()).unwrap();
            assert_eq!(got.data()[first * 20..(first + length) * 20], *want.data(), "{length} tokens");
            first += length;
        }
    }
    let error = ragged_self_attention(&all, &[3, 4], heads).unwrap_err().to_string();
    assert!(error.contains("sequences of 7 tokens in all, qkv has 107"), "{error}");
}

use super::*;
use crate::Init;
use crate::layers::{MlpKind, NormKind, Positions};
use crate::models::Decoder;
use crate::ops::Mask;
use crate::threads::set_threads;

fn config(positions: Positions) -> TransformerConfig {
    TransformerConfig {
        vocabulary: 11,
        context: 40,
        d: 32,
        layers: 3,
        heads: 4,
        kv_heads: 2,
        positions,
        grid_width: 5,
        norm: NormKind::Rms,
        mlp: MlpKind::SwiGlu,
        ..TransformerConfig::default()
    }
}

/// A model whose logits differ visibly.
fn model(positions: Positions) -> Decoder {
    use crate::Module;
    let model = Decoder::new(&Init::new(2), &config(positions)).unwrap();
    model.tokens.weight.update(|x| x.iter_mut().for_each(|x| *x *= 40.0));
    assert!(model.parameter_count() > 0);
    model
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() < 1e-4, "logit {i}: {a} {b}");
    }
}

/// Logits of passes of `m` tokens each over `ids`, under a mask for the whole.
fn in_passes(model: &Decoder, ids: &[u32], m: usize, mask: impl Fn(usize, usize) -> Mask) -> Vec<f32> {
    let mut cache = KvCache::new(model.config(), 1, 4);
    let mut all = Vec::new();
    for part in ids.chunks(m) {
        let mask = mask(cache.len(), part.len());
        all.extend(model.step(part, [1, part.len()], None, &mask, &mut cache).unwrap().to_vec());
    }
    assert_eq!(cache.len(), ids.len());
    all
}

#[test]
fn passes_of_many_tokens_equal_passes_of_one_and_the_whole() {
    let ids: Vec<u32> = (0..37).map(|i| i * i % 11).collect();
    for positions in [Positions::Learned, Positions::Rope, Positions::Rope2d] {
        let model = model(positions);
        for (name, whole) in [("causal", Mask::causal()), ("window", Mask::window(5))] {
            let want = model.forward(&ids, [1, 37], &whole).unwrap();
            for m in (1..=16).chain([20, 37]) {
                let got = in_passes(&model, &ids, m, |len, _| whole.clone().with_offset(len));
                assert!(want.data().iter().any(|x| x.abs() > 0.3), "{name}");
                close(&got, want.data());
            }
        }
    }
}

#[test]
fn blocks_read_at_once_equal_the_whole() {
    let model = model(Positions::Rope);
    let ids: Vec<u32> = (0..24).map(|i| i * 5 % 11).collect();
    for m in [1, 2, 3, 4, 6, 8, 12] {
        let blocks: Vec<u32> = (0..24).map(|i| (i / m) as u32).collect();
        let mask = Mask::block_causal(&blocks).unwrap();
        let want = model.forward(&ids, [1, 24], &mask).unwrap();
        close(&in_passes(&model, &ids, m, |len, _| mask.clone().with_offset(len)), want.data());
    }
}

#[test]
fn a_tree_of_guesses_equals_each_of_its_paths_and_the_accepted_path_is_kept() {
    let model = model(Positions::Rope);
    let prompt = [1, 2, 3, 4, 5];
    let mut cache = KvCache::new(model.config(), 1, 40);
    model.step(&prompt, [1, 5], None, &Mask::causal(), &mut cache).unwrap();
    // Token, parent: two guesses, each with followers.
    let tree: [(u32, Option<usize>); 6] =
        [(6, None), (7, None), (8, Some(0)), (9, Some(1)), (10, Some(1)), (0, Some(4))];
    let path = |node: usize| {
        let mut path = vec![node];
        while let Some(parent) = tree[path[0]].1 {
            path.insert(0, parent);
        }
        path
    };
    let ids: Vec<u32> = tree.iter().map(|(id, _)| *id).collect();
    let positions: Vec<u32> = (0..6).map(|i| 4 + path(i).len() as u32).collect();
    let mask = Mask::from_fn(6, 11, |i, j| j < 5 || path(i).contains(&(j - 5)));
    let logits = model.step(&ids, [1, 6], Some(&positions), &mask, &mut cache).unwrap();
    for node in 0..6 {
        let mut whole = prompt.to_vec();
        whole.extend(path(node).iter().map(|&n| tree[n].0));
        let want = model.forward(&whole, [1, whole.len()], &Mask::causal()).unwrap();
        close(&logits.data()[node * 11..(node + 1) * 11], &want.data()[(whole.len() - 1) * 11..]);
    }
    // Path 1, 4, 5 is accepted; decoding goes on as if only it had been read.
    cache.gather(5, &path(5).iter().map(|n| 5 + n).collect::<Vec<_>>()).unwrap();
    let next = model.step(&[3], [1, 1], None, &Mask::causal().with_offset(8), &mut cache).unwrap();
    let want = model.forward(&[1, 2, 3, 4, 5, 7, 10, 0, 3], [1, 9], &Mask::causal()).unwrap();
    close(next.data(), &want.data()[8 * 11..]);
}

#[test]
fn branches_go_their_own_way_and_samples_are_picked() {
    let model = model(Positions::Learned);
    let mut cache = KvCache::new(model.config(), 2, 3);
    model.step(&[1, 2, 3, 4, 5, 6], [2, 3], None, &Mask::causal(), &mut cache).unwrap();
    assert_eq!(cache.bytes(), 2 * 4 * 3 * 2 * 3 * 16);
    let mut branch = cache.branch();
    let mask = Mask::causal().with_offset(3);
    let a = model.step(&[7, 8], [2, 1], None, &mask, &mut branch).unwrap();
    let b = model.step(&[7, 8], [2, 1], None, &mask, &mut cache).unwrap();
    assert_eq!(a.data(), b.data());
    cache.truncate(3);
    let mut second = cache.select_samples(&[1, 1]).unwrap();
    let c = model.step(&[8, 9], [2, 1], None, &mask, &mut second).unwrap();
    assert_eq!(c.data()[..11], a.data()[11..]);
    let want = model.forward(&[4, 5, 6, 9], [1, 4], &Mask::causal()).unwrap();
    close(&c.data()[11..], &want.data()[33..]);
}

#[test]
fn threads_change_no_bit_and_misuse_is_named() {
    let model = model(Positions::Rope);
    let run = |threads| {
        set_threads(threads);
        in_passes(&model, &[1, 2, 3, 4, 5, 6, 7, 8], 3, |len, _| Mask::causal().with_offset(len))
    };
    assert_eq!(run(1), run(3));
    let mut cache = KvCache::new(model.config(), 1, 4);
    let message = |r: Result<()>| r.unwrap_err().to_string();
    model.step(&[1, 2, 3], [1, 3], None, &Mask::causal(), &mut cache).unwrap();
    assert!(message(cache.gather(0, &[3])).contains("token 3 of 3"));
    assert!(message(cache.gather(0, &[2, 0])).contains("paths run forward"));
    assert!(cache.select_samples(&[1]).unwrap_err().to_string().contains("sample 1 of 1"));
    let other = KvCache::new(&TransformerConfig::default(), 1, 4).check(model.config(), 1);
    assert!(message(other).contains("for 3 layers"));
}

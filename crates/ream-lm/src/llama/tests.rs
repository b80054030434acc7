//! The engine against plain loops in double precision, and against itself along every way to the same text.

use ream_rand::Stream;

use super::{Branch, Cache, Feed, Layout, LlamaError, Logits, Model};
use crate::gguf::{File, Kind, Value, Writer};
use crate::weights::Gguf;

const WIDTH: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 16;
const FFN: usize = 96;
const BLOCKS: usize = 3;
const VOCABULARY: usize = 50;
const CONTEXT: usize = 64;
const BASE: f32 = 1000.0;

/// A small model with random weights, quantised as `kind`; `empty` is a block whose maps are zero.
fn file(kind: Kind, empty: Option<usize>) -> File {
    let mut rng = Stream::new(7, "weights").at(0);
    let mut file = Writer::new();
    file.key("general.architecture", Value::Str("llama")).unwrap();
    file.key("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)).unwrap();
    file.key("llama.rope.freq_base", Value::F32(BASE)).unwrap();
    for (key, n) in [
        ("context_length", CONTEXT),
        ("embedding_length", WIDTH),
        ("block_count", BLOCKS),
        ("feed_forward_length", FFN),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
    ] {
        file.key(&format!("llama.{key}"), Value::U32(n as u32)).unwrap();
    }
    let mut add = |name: &str, shape: &[usize], kind: Kind, scale: f32| {
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.normal() as f32 * scale).collect();
        file.tensor(name, shape, kind, &numbers).unwrap();
    };
    add("token_embd.weight", &[WIDTH, VOCABULARY], kind, 1.0);
    add("output_norm.weight", &[WIDTH], Kind::F32, 1.0);
    for i in 0..BLOCKS {
        let scale = if empty == Some(i) { 0.0 } else { 0.2 };
        for (name, shape) in [
            ("attn_q", [WIDTH, HEADS * HEAD]),
            ("attn_k", [WIDTH, KV_HEADS * HEAD]),
            ("attn_v", [WIDTH, KV_HEADS * HEAD]),
            ("attn_output", [HEADS * HEAD, WIDTH]),
            ("ffn_gate", [WIDTH, FFN]),
            ("ffn_up", [WIDTH, FFN]),
            ("ffn_down", [FFN, WIDTH]),
        ] {
            add(&format!("blk.{i}.{name}.weight"), &shape, kind, scale);
        }
        add(&format!("blk.{i}.attn_norm.weight"), &[WIDTH], Kind::F32, 1.0);
        add(&format!("blk.{i}.ffn_norm.weight"), &[WIDTH], Kind::F32, 1.0);
    }
    File::from_bytes("a test's model", file.to_bytes()).unwrap()
}

fn built(file: File) -> Model {
    Model::new(&Gguf::new(file).unwrap()).unwrap()
}

fn model(kind: Kind) -> Model {
    built(file(kind, None))
}

fn numbers(file: &File, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap();
    let mut out = vec![0.0; tensor.elements()];
    tensor.dequantize(&mut out).unwrap();
    out.into_iter().map(f64::from).collect()
}

/// `W x` for `[outputs, inputs]` weights.
fn times(w: &[f64], x: &[f64]) -> Vec<f64> {
    w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

fn norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + 1e-5).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

fn turned(x: &[f64], position: u32) -> Vec<f64> {
    let mut out = x.to_vec();
    for (i, pair) in out.chunks_exact_mut(2).enumerate() {
        let pair_of_head = (i % (HEAD / 2)) as f64;
        let angle = f64::from(position) * libm::pow(f64::from(BASE), -2.0 * pair_of_head / HEAD as f64);
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * libm::cos(angle) - b * libm::sin(angle);
        pair[1] = a * libm::sin(angle) + b * libm::cos(angle);
    }
    out
}

/// Logits of every token by the definitions, under any mask `[n, n]`.
fn reference(
    file: &File,
    tokens: &[u32],
    positions: &[u32],
    sees: &dyn Fn(usize, usize) -> bool,
) -> Vec<Vec<f64>> {
    let embedding = numbers(file, "token_embd.weight");
    let mut x: Vec<Vec<f64>> =
        tokens.iter().map(|t| embedding[*t as usize * WIDTH..][..WIDTH].to_vec()).collect();
    for block in 0..BLOCKS {
        let part = |name: &str| numbers(file, &format!("blk.{block}.{name}.weight"));
        let normed: Vec<_> = x.iter().map(|x| norm(x, &part("attn_norm"))).collect();
        let heads = |name: &str| -> Vec<Vec<f64>> { normed.iter().map(|x| times(&part(name), x)).collect() };
        let turn = |rows: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            rows.iter().zip(positions).map(|(x, p)| turned(x, *p)).collect()
        };
        let (q, k, v) = (turn(heads("attn_q")), turn(heads("attn_k")), heads("attn_v"));
        for i in 0..tokens.len() {
            let mut mixed = Vec::new();
            for h in 0..HEADS {
                let kv = h / (HEADS / KV_HEADS) * HEAD;
                let seen: Vec<usize> = (0..tokens.len()).filter(|j| sees(i, *j)).collect();
                let score = |j: &usize| {
                    let dot: f64 = (0..HEAD).map(|a| q[i][h * HEAD + a] * k[*j][kv + a]).sum();
                    libm::exp(dot / (HEAD as f64).sqrt())
                };
                let scores: Vec<f64> = seen.iter().map(score).collect();
                let sum: f64 = scores.iter().sum();
                mixed
                    .extend((0..HEAD).map(|a| {
                        seen.iter().zip(&scores).map(|(j, s)| s / sum * v[*j][kv + a]).sum::<f64>()
                    }));
            }
            let out = times(&part("attn_output"), &mixed);
            x[i].iter_mut().zip(out).for_each(|(x, y)| *x += y);
            let normed = norm(&x[i], &part("ffn_norm"));
            let (gate, up) = (times(&part("ffn_gate"), &normed), times(&part("ffn_up"), &normed));
            let wide: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + libm::exp(-g)) * u).collect();
            let out = times(&part("ffn_down"), &wide);
            x[i].iter_mut().zip(out).for_each(|(x, y)| *x += y);
        }
    }
    let last = numbers(file, "output_norm.weight");
    x.iter().map(|x| times(&embedding, &norm(x, &last))).collect()
}

const TOKENS: [u32; 12] = [3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 49];

fn read(model: &Model, cache: &mut Cache, branch: &mut Branch, tokens: &[u32]) -> Vec<f32> {
    let feed = Feed { branch, tokens, layout: Layout::Chain };
    model.forward().logits(Logits::All).run(cache, &mut [feed]).unwrap().logits
}

fn fresh(model: &Model, tokens: &[u32]) -> Vec<f32> {
    let mut cache = Cache::new(model);
    let mut branch = cache.branch();
    read(model, &mut cache, &mut branch, tokens)
}

fn close(got: &[f32], wanted: &[Vec<f64>], tolerance: f64) {
    let wanted: Vec<f64> = wanted.iter().flatten().copied().collect();
    assert_eq!(got.len(), wanted.len());
    let size = wanted.iter().map(|x| x.abs()).fold(0.0, f64::max);
    let worst = got.iter().zip(&wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(worst <= tolerance * size, "{worst} of {size}");
}

#[test]
fn logits_are_those_of_the_definitions() {
    let positions: Vec<u32> = (0..TOKENS.len() as u32).collect();
    let causal = |i: usize, j: usize| j <= i;
    for kind in [Kind::F32, Kind::F16, Kind::Bf16] {
        let file = file(kind, None);
        let wanted = reference(&file, &TOKENS, &positions, &causal);
        close(&fresh(&built(file), &TOKENS), &wanted, 1e-5);
    }
    // Activations of 8 bits, and scores that a softmax sharpens: a few percent.
    for kind in [Kind::Q8_0, Kind::Q4_0, Kind::Q4_1] {
        let file = file(kind, None);
        let wanted = reference(&file, &TOKENS, &positions, &causal).concat();
        let got = fresh(&built(file), &TOKENS);
        let square = |x: f64| x * x;
        let error: f64 = got.iter().zip(&wanted).map(|(a, b)| square(f64::from(*a) - b)).sum();
        let ratio = (error / wanted.iter().map(|x| square(*x)).sum::<f64>()).sqrt();
        assert!(ratio < 0.05, "{kind}: {ratio}");
    }
}

#[test]
fn any_mask_and_positions() {
    let (file, model) = (file(Kind::F32, None), model(Kind::F32));
    let positions = [5, 5, 9, 2, 2, 30, 31, 7, 8, 0, 1, 2];
    let sees = |i: usize, j: usize| i == j || !(i * 7 + j * 3).is_multiple_of(4);
    let n = TOKENS.len();
    let mask: Vec<bool> = (0..n * n).map(|at| sees(at / n, at % n)).collect();
    let mut cache = Cache::new(&model);
    let mut branch = cache.branch();
    let layout = Layout::Masked { positions: &positions, sees: &mask };
    let feed = Feed { branch: &mut branch, tokens: &TOKENS, layout };
    let got = model.forward().logits(Logits::All).run(&mut cache, &mut [feed]).unwrap().logits;
    close(&got, &reference(&file, &TOKENS, &positions, &sees), 1e-5);
}

#[test]
fn every_way_to_a_text_gives_its_logits_to_the_bit() {
    for kind in [Kind::F32, Kind::Q4_1] {
        let model = model(kind);
        let wanted = fresh(&model, &TOKENS);
        let row = |i: usize| &wanted[i * VOCABULARY..(i + 1) * VOCABULARY];

        // One by one, on a cache whose slots are not in order.
        let mut cache = Cache::new(&model);
        let mut other = cache.branch();
        let mut branch = cache.branch();
        read(&model, &mut cache, &mut other, &[1, 2, 3]);
        for (i, token) in TOKENS.iter().enumerate() {
            if i == 5 {
                other.truncate(1);
            }
            assert_eq!(read(&model, &mut cache, &mut branch, &[*token]), row(i), "token {i}");
        }

        // Forked after five, another continuation beside it, both read in one pass with a third text.
        let mut fork = branch.clone();
        fork.truncate(5);
        let mut copy = fork.clone();
        let feeds = &mut [
            Feed { branch: &mut other, tokens: &[4, 5, 6], layout: Layout::Chain },
            Feed { branch: &mut fork, tokens: &TOKENS[5..], layout: Layout::Chain },
            Feed { branch: &mut copy, tokens: &[0, 0], layout: Layout::Chain },
        ];
        let out = model.forward().logits(Logits::All).run(&mut cache, feeds).unwrap();
        for i in 5..12 {
            assert_eq!(out.logits(3 + i - 5), row(i), "fork, token {i}");
        }

        // A tree of drafts whose right path is 5, 35, 8 among wrong ones; the path is kept and read on.
        let mut tree = branch.clone();
        tree.truncate(5);
        let tokens = [11, 5, 12, 35, 20, 8, 9];
        let parents = [None, None, Some(0), Some(1), Some(1), Some(3), Some(2)];
        let feed = Feed { branch: &mut tree, tokens: &tokens, layout: Layout::Tree(&parents) };
        let out = model.forward().logits(Logits::All).run(&mut cache, &mut [feed]).unwrap();
        for (node, i) in [(1, 5), (3, 6), (5, 7)] {
            assert_eq!(out.logits(node), row(i), "tree, token {i}");
        }
        tree.keep(5, &[1, 3, 5]);
        assert_eq!((tree.len(), tree.next_position()), (8, 8));
        assert_eq!(read(&model, &mut cache, &mut tree, &TOKENS[8..]), wanted[8 * VOCABULARY..]);

        // Nothing is left behind.
        drop((tree, fork, copy, other, branch));
        assert_eq!(cache.held(), 0);
    }
}

#[test]
fn threads_do_not_matter() {
    let model = model(Kind::Q4_1);
    let wanted = fresh(&model, &TOKENS);
    for threads in [1, 2, 3] {
        ream_nn::set_threads(threads);
        assert_eq!(fresh(&model, &TOKENS), wanted, "{threads}");
    }
}

#[test]
fn skipped_blocks_are_neither_computed_nor_kept() {
    let whole = model(Kind::Q4_1);
    let mut none = Cache::skipping(&whole, &[]).unwrap();
    let mut branch = none.branch();
    assert_eq!(read(&whole, &mut none, &mut branch, &TOKENS), fresh(&whole, &TOKENS));

    // A block of zeros adds nothing, so that leaving it out changes nothing.
    let hollow = built(file(Kind::F32, Some(1)));
    let mut cache = Cache::skipping(&hollow, &[1]).unwrap();
    let mut branch = cache.branch();
    let got = read(&hollow, &mut cache, &mut branch, &TOKENS);
    assert_eq!(got, fresh(&hollow, &TOKENS));
    let mut full = Cache::new(&hollow);
    let mut all = full.branch();
    read(&hollow, &mut full, &mut all, &TOKENS);
    assert_eq!(cache.size() * BLOCKS, full.size() * (BLOCKS - 1));

    let mut cache = Cache::skipping(&whole, &[0, 2]).unwrap();
    let mut branch = cache.branch();
    assert_ne!(read(&whole, &mut cache, &mut branch, &TOKENS), fresh(&whole, &TOKENS));
    let error = Cache::skipping(&whole, &[3]).unwrap_err();
    assert_eq!(error.to_string(), "block 3: the model has blocks 0 to 2");
}

#[test]
fn states_are_shown_and_edits_are_seen_by_all_later_blocks() {
    let model = model(Kind::F32);
    let mut cache = Cache::new(&model);
    let mut branch = cache.branch();
    let feed = Feed { branch: &mut branch, tokens: &TOKENS, layout: Layout::Chain };
    let plain = model.forward().hidden().residuals().run(&mut cache, &mut [feed]).unwrap();
    assert_eq!((plain.residuals.len(), plain.hidden.len()), (BLOCKS + 1, TOKENS.len() * WIDTH));
    let mut embedded = vec![0.0; WIDTH];
    model.embed(TOKENS[2], &mut embedded).unwrap();
    assert_eq!(plain.residuals[0][2 * WIDTH..3 * WIDTH], embedded);

    // Writing back what is there changes nothing; writing another text's states gives its logits.
    let mut donor_branch = cache.branch();
    let donor_tokens: Vec<u32> = TOKENS.iter().map(|t| (t + 1) % 50).collect();
    let feed = Feed { branch: &mut donor_branch, tokens: &donor_tokens, layout: Layout::Chain };
    let donor = model.forward().residuals().run(&mut cache, &mut [feed]).unwrap();
    for (states, wanted) in [(&plain.residuals, &plain.logits), (&donor.residuals, &donor.logits)] {
        let mut edit = |block: usize, x: &mut [f32]| {
            if block == 1 {
                x.copy_from_slice(&states[2]);
            }
        };
        let mut branch = cache.branch();
        let feed = Feed { branch: &mut branch, tokens: &TOKENS, layout: Layout::Chain };
        let out = model.forward().edit(&mut edit).run(&mut cache, &mut [feed]).unwrap();
        assert_eq!(out.logits, *wanted);
    }
}

#[test]
fn scores_and_pieces_agree_with_logits() {
    let model = model(Kind::Q8_0);
    let logits = fresh(&model, &TOKENS);
    let scores = model.score(&TOKENS).unwrap();
    assert_eq!(scores.len(), TOKENS.len() - 1);
    for (i, score) in scores.iter().enumerate() {
        let row = &logits[i * VOCABULARY..(i + 1) * VOCABULARY];
        let sum: f64 = row.iter().map(|l| libm::exp(f64::from(*l))).sum();
        let wanted = f64::from(row[TOKENS[i + 1] as usize]) - libm::log(sum);
        assert!((f64::from(*score) - wanted).abs() < 1e-5, "{score} {wanted}");
    }
    let mut cache = Cache::new(&model);
    let mut branch = cache.branch();
    assert_eq!(model.read(&mut cache, &mut branch, &TOKENS).unwrap(), logits[11 * VOCABULARY..]);
}

#[test]
fn networks_that_were_trained_here_give_their_own_logits() {
    use ream_nn::Init;
    use ream_nn::layers::{MlpKind, NormKind, Positions, TransformerConfig};
    use ream_nn::models::Decoder;
    use ream_nn::ops::Mask;
    let config = TransformerConfig {
        vocabulary: 40,
        d: 48,
        heads: 6,
        kv_heads: 3,
        layers: 2,
        positions: Positions::Rope,
        norm: NormKind::Rms,
        mlp: MlpKind::SwiGlu,
        bias: false,
        ..TransformerConfig::default()
    };
    let decoder = Decoder::new(&Init::new(3), &config).unwrap();
    let tokens: Vec<u32> = TOKENS.iter().map(|t| t % 40).collect();
    let wanted = decoder.forward(&tokens, [1, 12], &Mask::causal()).unwrap();
    let got = fresh(&Model::from_decoder(&decoder).unwrap(), &tokens);
    let worst = got.iter().zip(wanted.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}");
    let other = Decoder::new(&Init::new(3), &TransformerConfig { bias: true, ..config }).unwrap();
    let error = Model::from_decoder(&other).unwrap_err();
    assert_eq!(error.to_string(), "the network is no llama: wanted maps without bias");
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let model = model(Kind::F32);
    let (mut cache, mut elsewhere) = (Cache::new(&model), Cache::new(&model));
    let mut branch = cache.branch();
    read(&model, &mut cache, &mut branch, &TOKENS);
    let mut refused = |tokens: &[u32], layout: Layout<'_>, logits: Logits<'_>| {
        let feed = Feed { branch: &mut branch, tokens, layout };
        let error = model.forward().logits(logits).run(&mut cache, &mut [feed]).unwrap_err();
        assert_eq!(branch.len(), 12);
        error.to_string()
    };
    let chain = Layout::Chain;
    assert_eq!(refused(&[], chain, Logits::Last), "there are no tokens to read; a text has at least one");
    assert_eq!(refused(&[1, 50], chain, Logits::Last), "token 50 at place 1: the vocabulary has 50 tokens");
    let long = vec![1; 60];
    assert_eq!(
        refused(&long, chain, Logits::Last),
        "the text comes to position 64; the model's context has 64 positions"
    );
    assert_eq!(
        refused(&[1, 2], Layout::Tree(&[Some(1), None]), Logits::Last),
        "node 0 of the tree names node 1 as its parent; a parent comes before its children"
    );
    assert_eq!(refused(&[1, 2], Layout::Tree(&[None]), Logits::Last), "parents: there are 1 for 2 tokens");
    let masked = Layout::Masked { positions: &[0, 1], sees: &[true; 27] };
    assert_eq!(refused(&[1, 2], masked, Logits::Last), "a mask's numbers: there are 27 for 28 tokens");
    assert_eq!(refused(&[1, 2], chain, Logits::Rows(&[2])), "logits are asked for row 2 of a pass of 2 rows");
    let feed = Feed { branch: &mut branch, tokens: &[1], layout: chain };
    let error = model.forward().run(&mut elsewhere, &mut [feed]).unwrap_err();
    assert!(matches!(error, LlamaError::Foreign { what: "a branch", owner: "cache" }));
}

/// The residual stream after block 0 of the tokens, and the logits.
fn after_first(model: &Model) -> (ream_nn::Tensor, Vec<f32>) {
    let mut cache = Cache::new(model);
    let mut branch = cache.branch();
    let feed = Feed { branch: &mut branch, tokens: &TOKENS, layout: Layout::Chain };
    let out = model.forward().logits(Logits::All).residuals().run(&mut cache, &mut [feed]).unwrap();
    (ream_nn::Tensor::from_vec(out.residuals[1].clone(), &[1, 12, WIDTH]).unwrap(), out.logits)
}

#[test]
fn the_differentiable_blocks_are_the_engines() {
    use ream_nn::ops::Mask;
    let model = model(Kind::F32);
    let (x, wanted) = after_first(&model);
    let got = model.differentiable(1).unwrap().logits(&x, &Mask::causal()).unwrap();
    let worst = got.data().iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 2e-4, "{worst}");
    assert!(model.differentiable(BLOCKS).is_ok());
    let error = model.differentiable(BLOCKS + 1).unwrap_err();
    assert_eq!(error.to_string(), "block 4: the model has blocks 0 to 2");
}

#[test]
fn gradients_of_activations_are_those_of_finite_differences() {
    use ream_nn::ops::Mask;
    let model = model(Kind::F32);
    let upper = model.differentiable(1).unwrap();
    let (x, _) = after_first(&model);
    ream_nn::check_gradients(&[x], &[], 0.01, |x| {
        upper.logits(&x[0], &Mask::causal()).map(|logits| logits.log_sum_exp())
    })
    .unwrap();
}

#[test]
fn continuations_of_a_shared_beginning_are_scored_as_whole_texts() {
    let model = model(Kind::Q4_1);
    let mut cache = Cache::new(&model);
    let mut prefix = cache.branch();
    read(&model, &mut cache, &mut prefix, &TOKENS[..6]);
    let held = cache.held();
    let endings: [&[u32]; 3] = [&TOKENS[6..], &[1], &[2, 3, 4]];
    let scores = model.score_after(&mut cache, &prefix, TOKENS[5], &endings).unwrap();
    assert_eq!(cache.held(), held);
    for (ending, scores) in endings.iter().zip(&scores) {
        let whole = model.score(&[&TOKENS[..6], ending].concat()).unwrap();
        assert_eq!(*scores, whole[5..], "{ending:?}");
    }
}

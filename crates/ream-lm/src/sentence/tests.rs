//! The encoder with small random weights against BERT written down in f64, and the errors of a damaged model.

use std::collections::BTreeMap;
use std::path::Path;

use ream_rand::Stream;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::tokenizer::tests::file;
use super::*;

const D: usize = 12;
const HEADS: usize = 3;
const INNER: usize = 20;
const LAYERS: usize = 2;
const POSITIONS: usize = 40;
const WORDS: [&str; 6] = ["a", "##a", "b", "##b", "c", "d"];
const VOCABULARY: usize = 4 + WORDS.len();

type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn weights() -> Named {
    let mut named = Named::new();
    let mut put = |name: String, shape: &[usize], centre: f32| {
        let mut rng = Stream::new(7, &name).at(0);
        let values = (0..shape.iter().product()).map(|_| centre + 0.3 * rng.normal() as f32).collect();
        named.insert(name, (shape.to_vec(), values));
    };
    put("embeddings.word_embeddings.weight".into(), &[VOCABULARY, D], 0.0);
    put("embeddings.position_embeddings.weight".into(), &[POSITIONS, D], 0.0);
    put("embeddings.token_type_embeddings.weight".into(), &[2, D], 0.0);
    let mut norms = vec!["embeddings".to_owned()];
    for layer in 0..LAYERS {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, d_out, d_in) in [
            ("attention.self.query", D, D),
            ("attention.self.key", D, D),
            ("attention.self.value", D, D),
            ("attention.output.dense", D, D),
            ("intermediate.dense", INNER, D),
            ("output.dense", D, INNER),
        ] {
            put(format!("{}.weight", at(part)), &[d_out, d_in], 0.0);
            put(format!("{}.bias", at(part)), &[d_out], 0.0);
        }
        norms.extend([at("attention.output"), at("output")]);
    }
    for norm in norms {
        put(format!("{norm}.LayerNorm.weight"), &[D], 1.0);
        put(format!("{norm}.LayerNorm.bias"), &[D], 0.0);
    }
    named
}

fn config() -> serde_json::Value {
    serde_json::json!({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": D, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2, "vocab_size": VOCABULARY, "layer_norm_eps": 1e-12,
    })
}

fn write(dir: &Path, config: &serde_json::Value, weights: &Named) {
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.join("tokenizer.json"), file(&WORDS)).unwrap();
    let bytes: BTreeMap<&String, Vec<u8>> = weights
        .iter()
        .map(|(name, (_, v))| (name, v.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = weights
        .iter()
        .map(|(name, (shape, _))| (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap()));
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn small() -> (tempfile::TempDir, SentenceEncoder) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &config(), &weights());
    let encoder = SentenceEncoder::open(dir.path()).unwrap();
    (dir, encoder)
}

type Rows = Vec<Vec<f64>>;

/// BERT by its definition.
struct Reference(Named);

impl Reference {
    fn row(&self, name: &str, row: usize) -> Vec<f64> {
        let (shape, values) = &self.0[name];
        let d = *shape.last().unwrap();
        values[row * d..(row + 1) * d].iter().map(|x| f64::from(*x)).collect()
    }

    fn dense(&self, name: &str, x: &Rows) -> Rows {
        let bias = self.row(&format!("{name}.bias"), 0);
        let weight: Rows = (0..bias.len()).map(|o| self.row(&format!("{name}.weight"), o)).collect();
        let one = |x: &Vec<f64>| {
            weight
                .iter()
                .zip(&bias)
                .map(|(w, b)| b + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
                .collect()
        };
        x.iter().map(one).collect()
    }

    fn norm(&self, name: &str, x: &Rows) -> Rows {
        let (w, b) = (
            self.row(&format!("{name}.LayerNorm.weight"), 0),
            self.row(&format!("{name}.LayerNorm.bias"), 0),
        );
        let one = |x: &Vec<f64>| {
            let mean = x.iter().sum::<f64>() / D as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / D as f64;
            (0..D).map(|j| (x[j] - mean) / (variance + 1e-12).sqrt() * w[j] + b[j]).collect()
        };
        x.iter().map(one).collect()
    }

    fn attention(&self, layer: usize, x: &Rows) -> Rows {
        let [q, k, v] = ["query", "key", "value"]
            .map(|part| self.dense(&format!("encoder.layer.{layer}.attention.self.{part}"), x));
        let d = D / HEADS;
        let mut out = vec![vec![0.0; D]; x.len()];
        for (i, out) in out.iter_mut().enumerate() {
            for head in 0..HEADS {
                let at = head * d..(head + 1) * d;
                let scores: Vec<f64> = k
                    .iter()
                    .map(|k| {
                        let dot: f64 = q[i][at.clone()].iter().zip(&k[at.clone()]).map(|(q, k)| q * k).sum();
                        libm::exp(dot / (d as f64).sqrt())
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for c in at {
                    out[c] = scores.iter().zip(&v).map(|(s, v)| s / total * v[c]).sum();
                }
            }
        }
        out
    }

    fn embed(&self, tokens: &[u32]) -> Vec<f64> {
        let add = |a: &Rows, b: &Rows| -> Rows {
            a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
        };
        let row = |part: &str, i| self.row(&format!("embeddings.{part}.weight"), i);
        let words: Rows = tokens.iter().map(|id| row("word_embeddings", *id as usize)).collect();
        let positions: Rows = (0..tokens.len()).map(|i| row("position_embeddings", i)).collect();
        let types: Rows = vec![row("token_type_embeddings", 0); tokens.len()];
        let mut x = self.norm("embeddings", &add(&add(&words, &positions), &types));
        for layer in 0..LAYERS {
            let at = |part: &str| format!("encoder.layer.{layer}.{part}");
            let attended = self.dense(&at("attention.output.dense"), &self.attention(layer, &x));
            let h = self.norm(&at("attention.output"), &add(&attended, &x));
            let mut inner = self.dense(&at("intermediate.dense"), &h);
            let gelu = |x: &mut f64| *x *= 0.5 * libm::erfc(-*x / std::f64::consts::SQRT_2);
            inner.iter_mut().flatten().for_each(gelu);
            x = self.norm(&at("output"), &add(&self.dense(&at("output.dense"), &inner), &h));
        }
        let mean: Vec<f64> = (0..D).map(|j| x.iter().map(|x| x[j]).sum::<f64>() / x.len() as f64).collect();
        let norm = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        mean.iter().map(|x| x / norm).collect()
    }
}

#[test]
fn the_encoder_agrees_with_bert_written_down_in_f64() {
    let (_dir, encoder) = small();
    let reference = Reference(weights());
    let long = "ab ".repeat(60);
    let texts = ["a", "", "ab ba c d", "d c b a aab bba c c c c d d d d a", long.as_str()];
    for (text, got) in texts.iter().zip(encoder.encode(&texts).unwrap()) {
        let want = reference.embed(&encoder.tokens(text));
        let worst = got.iter().zip(&want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
        assert!(worst < 2e-6, "{text:?}: {worst}");
    }
    assert_eq!(encoder.tokens(&long).len(), POSITIONS);
}

#[test]
fn a_vector_has_length_1_and_does_not_depend_on_the_texts_beside_it_or_on_threads() {
    let (_dir, encoder) = small();
    // Long enough for several batches.
    let texts: Vec<String> = (0..200).map(|i| "ab c dab ".repeat(i % 23)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = encoder.encode(&texts).unwrap();
    assert_eq!(all.len(), texts.len());
    ream_nn::set_threads(3);
    for (text, together) in texts.iter().zip(&all).take(30) {
        assert_eq!(encoder.encode(&[text]).unwrap()[0], *together, "{text:?}");
        let length: f32 = together.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert!(encoder.encode(&[]).unwrap().is_empty());
}

fn problem(change: impl FnOnce(&mut serde_json::Value, &mut Named)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, mut weights) = (config(), weights());
    change(&mut config, &mut weights);
    write(dir.path(), &config, &weights);
    SentenceEncoder::open(dir.path()).unwrap_err().to_string()
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_file_tensor_and_what_was_wanted() {
    const UP: &str = "encoder.layer.1.intermediate.dense.weight";
    let missing = problem(|_, w| drop(w.remove(UP)));
    assert!(
        missing
            .contains("model.safetensors: tensor `encoder.layer.1.intermediate.dense.weight` is not there")
    );
    assert!(missing.ends_with("wanted f32 [20, 12]"), "{missing}");
    let shape = problem(|_, w| {
        w.insert(UP.into(), (vec![12, 20], vec![0.0; 240]));
    });
    assert!(shape.contains("is F32 [12, 20], wanted f32 [20, 12]"), "{shape}");
    let nan = problem(|_, w| w.get_mut(UP).unwrap().1[5] = f32::NAN);
    assert!(nan.contains("has NaN at element 5"), "{nan}");
    let act = problem(|c, _| c["hidden_act"] = "relu".into());
    assert!(act.contains("config.json: hidden_act = `relu`, wanted `gelu`"), "{act}");
    let heads = problem(|c, _| c["num_attention_heads"] = 5.into());
    assert!(heads.contains("wanted a multiple of num_attention_heads = 5"), "{heads}");
    let words = problem(|c, _| c["vocab_size"] = 7.into());
    assert!(words.contains("10 tokens, wanted at most vocab_size = 7"), "{words}");
}

#[test]
fn files_that_are_not_there_or_cut_off_are_named() {
    let (dir, _) = small();
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let cut = SentenceEncoder::open(dir.path()).unwrap_err().to_string();
    assert!(cut.contains("model.safetensors: is cut off"), "{cut}");
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    let other = SentenceEncoder::open(dir.path()).unwrap_err().to_string();
    assert!(other.contains("tokenizer.json: missing field `normalizer`"), "{other}");
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let gone = SentenceEncoder::open(dir.path()).unwrap_err().to_string();
    assert!(gone.contains("config.json") && gone.contains("wanted a folder with"), "{gone}");
}

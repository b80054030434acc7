//! One model in both kinds of files.

use std::path::Path;

use ream_rand::Stream;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Gguf, HuggingFace, Source, open};
use crate::gguf::llama::Config;
use crate::gguf::{File, Kind, Writer, half};

/// Tensors by Hugging Face's names: shape, slowest first, and numbers.
type Named = Vec<(String, Vec<usize>, Vec<f32>)>;

fn small() -> Config {
    Config {
        blocks: 2,
        width: 24,
        heads: 3,
        kv_heads: 1,
        head_size: 8,
        ffn: 40,
        eps: 1e-6,
        rope_base: 5000.0,
        context: 32,
        vocab: 11,
        tied_head: false,
    }
}

fn config_json() -> serde_json::Value {
    serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 3, "num_key_value_heads": 1, "intermediate_size": 40, "rms_norm_eps": 1e-6, "rope_theta": 5000.0,
        "rope_scaling": null, "max_position_embeddings": 32, "vocab_size": 11, "tie_word_embeddings": false,
    })
}

/// Random numbers under the names and shapes of Hugging Face's llama, written out by hand.
fn weights() -> Named {
    let mut list: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".into(), vec![11, 24]),
        ("model.norm.weight".into(), vec![24]),
        ("lm_head.weight".into(), vec![11, 24]),
    ];
    for block in 0..2 {
        for (part, shape) in [
            ("input_layernorm", vec![24]),
            ("self_attn.q_proj", vec![24, 24]),
            ("self_attn.k_proj", vec![8, 24]),
            ("self_attn.v_proj", vec![8, 24]),
            ("self_attn.o_proj", vec![24, 24]),
            ("post_attention_layernorm", vec![24]),
            ("mlp.gate_proj", vec![40, 24]),
            ("mlp.up_proj", vec![40, 24]),
            ("mlp.down_proj", vec![24, 40]),
        ] {
            list.push((format!("model.layers.{block}.{part}.weight"), shape));
        }
    }
    let numbers = |name: &str, n: usize| {
        let mut rng = Stream::new(2, name).at(0);
        // What bfloat16 can hold, so that every type stores the same numbers.
        (0..n).map(|_| half::bf16_to_f32(half::f32_to_bf16(rng.normal() as f32))).collect()
    };
    list.into_iter()
        .map(|(name, shape)| {
            let values = numbers(&name, shape.iter().product());
            (name, shape, values)
        })
        .collect()
}

fn write_safetensors(path: &Path, weights: &[&(String, Vec<usize>, Vec<f32>)], dtype: Dtype) {
    let bytes: Vec<Vec<u8>> = weights
        .iter()
        .map(|(_, _, values)| match dtype {
            Dtype::BF16 => values.iter().flat_map(|x| half::f32_to_bf16(*x).to_le_bytes()).collect(),
            Dtype::F64 => values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        })
        .collect();
    let views = weights
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn write(folder: &Path, config: &serde_json::Value, weights: &Named, dtype: Dtype) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    write_safetensors(&folder.join("model.safetensors"), &weights.iter().collect::<Vec<_>>(), dtype);
}

fn numbers(source: &dyn Source, name: &str) -> Vec<f32> {
    let tensor = source.tensor(name).unwrap();
    let mut out = vec![0.0; tensor.elements()];
    tensor.dequantize(&mut out).unwrap();
    out
}

/// The same model as a GGUF file; rows of a head in the order 0, 4, 1, 5, 2, 6, 3, 7, written out.
fn gguf(weights: &Named) -> Gguf {
    let mut writer = Writer::new();
    small().write_keys(&mut writer).unwrap();
    let theirs = |name: &str| weights.iter().find(|(theirs, _, _)| theirs == name).unwrap();
    let mut add = |name: &str, from: &str, turned: bool| {
        let (_, shape, values) = theirs(from);
        let fastest_first: Vec<usize> = shape.iter().rev().copied().collect();
        let rows: Vec<&[f32]> = values.chunks_exact(fastest_first[0]).collect();
        let order = |row: usize| if turned { row / 8 * 8 + [0, 4, 1, 5, 2, 6, 3, 7][row % 8] } else { row };
        let values: Vec<f32> = (0..rows.len()).flat_map(|row| rows[order(row)]).copied().collect();
        writer.tensor(name, &fastest_first, Kind::F32, &values).unwrap();
    };
    add("token_embd.weight", "model.embed_tokens.weight", false);
    add("output_norm.weight", "model.norm.weight", false);
    add("output.weight", "lm_head.weight", false);
    for b in 0..2 {
        for (name, from, turned) in [
            ("attn_norm", "input_layernorm", false),
            ("attn_q", "self_attn.q_proj", true),
            ("attn_k", "self_attn.k_proj", true),
            ("attn_v", "self_attn.v_proj", false),
            ("attn_output", "self_attn.o_proj", false),
            ("ffn_norm", "post_attention_layernorm", false),
            ("ffn_gate", "mlp.gate_proj", false),
            ("ffn_up", "mlp.up_proj", false),
            ("ffn_down", "mlp.down_proj", false),
        ] {
            add(&format!("blk.{b}.{name}.weight"), &format!("model.layers.{b}.{from}.weight"), turned);
        }
    }
    Gguf::new(File::from_bytes("a.gguf", writer.to_bytes()).unwrap()).unwrap()
}

fn assert_same(a: &dyn Source, b: &dyn Source) {
    assert_eq!(a.config(), b.config());
    for (name, shape) in a.config().tensors() {
        let (x, y) = (a.tensor(&name).unwrap(), b.tensor(&name).unwrap());
        assert_eq!((x.name, &x.shape), (name.as_str(), &shape));
        assert_eq!((y.name, &y.shape), (name.as_str(), &shape));
        assert_eq!(numbers(a, &name), numbers(b, &name), "{name}");
    }
}

#[test]
fn both_kinds_of_files_give_the_same_model() {
    let weights = weights();
    let gguf = gguf(&weights);
    for dtype in [Dtype::F32, Dtype::BF16] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &config_json(), &weights, dtype);
        let folder = open(dir.path()).unwrap();
        assert_same(&gguf, &*folder);
        let kind = |name: &str| folder.tensor(name).unwrap().kind;
        assert_eq!(kind("blk.0.attn_q.weight"), if dtype == Dtype::F32 { Kind::F32 } else { Kind::Bf16 });
        assert_eq!(kind("output_norm.weight"), Kind::F32);
        assert!(folder.tensor("x").unwrap_err().to_string().contains("tensor `x` is not there"));
    }
}

#[test]
fn a_folder_has_its_tokenizer_and_its_chat_format() {
    let dir = tempfile::tempdir().unwrap();
    let rows = crate::tokenizer::tests::small_vocabulary().0.len();
    let (mut config, mut weights) = (config_json(), weights());
    config["vocab_size"] = rows.into();
    config["eos_token_id"] = serde_json::json!([1, 0]);
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let (_, shape, values) = weights.iter_mut().find(|(theirs, _, _)| theirs == name).unwrap();
        (*shape, *values) = (vec![rows, 24], vec![0.0; rows * 24]);
    }
    write(dir.path(), &config, &weights, Dtype::F32);
    let source = open(dir.path()).unwrap();
    assert!(source.tokenizer().unwrap_err().to_string().contains("tokenizer.json: No such file"));
    std::fs::write(dir.path().join("tokenizer.json"), crate::tokenizer::tests::json().to_string()).unwrap();
    let tokenizer = source.tokenizer().unwrap();
    assert!(tokenizer.is_end(0) && tokenizer.is_end(1) && !tokenizer.is_end(2));
    assert_eq!(tokenizer.decode(&tokenizer.encode("the é", false)), "the é".as_bytes());
    std::fs::write(dir.path().join("tokenizer_config.json"), "{}").unwrap();
    assert!(source.chat().unwrap_err().to_string().contains("tokenizer_config.json: has no chat_template"));
    let template = "'<|im_start|>' + role + content + '<|im_end|>'";
    std::fs::write(
        dir.path().join("tokenizer_config.json"),
        serde_json::json!({ "chat_template": template }).to_string(),
    )
    .unwrap();
    assert_eq!(source.chat().unwrap(), crate::chat::Chat::chatml(""));
    std::fs::write(dir.path().join("chat_template.jinja"), "[INST]").unwrap();
    assert!(
        source.chat().unwrap_err().to_string().contains("chat_template.jinja: chat_template is not ChatML")
    );
}

#[test]
fn several_files_with_an_index_are_one_model() {
    let weights = weights();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config_json().to_string()).unwrap();
    let name = |i: usize| format!("model-0000{}-of-00002.safetensors", i % 2 + 1);
    for part in 0..2 {
        let own: Vec<_> = weights.iter().enumerate().filter(|(i, _)| i % 2 == part).map(|(_, w)| w).collect();
        write_safetensors(&dir.path().join(name(part)), &own, Dtype::F32);
    }
    let map: serde_json::Map<String, serde_json::Value> =
        weights.iter().enumerate().map(|(i, (tensor, _, _))| (tensor.clone(), name(i).into())).collect();
    let index = dir.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    assert_same(&gguf(&weights), &HuggingFace::open(dir.path()).unwrap());
    std::fs::write(&index, serde_json::json!({ "weight_map": { "a": "../b" } }).to_string()).unwrap();
    let outside = HuggingFace::open(dir.path()).unwrap_err().to_string();
    assert!(outside.contains("`../b` is no name of a file in this folder"), "{outside}");
    std::fs::write(&index, serde_json::json!({ "weight_map": { "a": name(0) } }).to_string()).unwrap();
    let other = HuggingFace::open(dir.path()).unwrap_err().to_string();
    assert!(
        other.contains("tensor `model.norm.weight` is not there")
            || other.contains("`model.embed_tokens.weight`"),
        "{other}"
    );
}

/// A head's numbers `W x`, turned by a position: pairs are `(i, i + size / 2)` or `(2 i, 2 i + 1)`.
fn turned(weight: &[f32], x: &[f64], head: usize, position: f64, halves: bool) -> Vec<f64> {
    let size = 8;
    let row = |r: usize| -> f64 {
        weight[(head * size + r) * 24..][..24].iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
    };
    (0..size / 2)
        .flat_map(|i| {
            let (a, b) = if halves { (row(i), row(i + size / 2)) } else { (row(2 * i), row(2 * i + 1)) };
            let angle = position * libm::pow(5000.0, -2.0 * i as f64 / size as f64);
            let (sin, cos) = (libm::sin(angle), libm::cos(angle));
            [a * cos - b * sin, a * sin + b * cos]
        })
        .collect()
}

#[test]
fn adjacent_pairs_give_the_attention_that_halves_gave() {
    let weights = weights();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &config_json(), &weights, Dtype::F32);
    let folder = HuggingFace::open(dir.path()).unwrap();
    let theirs = |name: &str| &weights.iter().find(|(theirs, _, _)| theirs == name).unwrap().2;
    let mut rng = Stream::new(4, "x").at(0);
    let (x, y): (Vec<f64>, Vec<f64>) = (0..24).map(|_| (rng.normal(), rng.normal())).unzip();
    let score = |q: &[f32], k: &[f32], head: usize, halves: bool| -> f64 {
        let (q, k) = (turned(q, &x, head, 9.0, halves), turned(k, &y, 0, 4.0, halves));
        q.iter().zip(k).map(|(q, k)| q * k).sum()
    };
    let (q, k) = (numbers(&folder, "blk.1.attn_q.weight"), numbers(&folder, "blk.1.attn_k.weight"));
    for head in 0..3 {
        let wanted = score(
            theirs("model.layers.1.self_attn.q_proj.weight"),
            theirs("model.layers.1.self_attn.k_proj.weight"),
            head,
            true,
        );
        let got = score(&q, &k, head, false);
        assert!((got - wanted).abs() < 1e-9 * wanted.abs(), "{got} {wanted}");
        assert!((score(&q, &k, head, true) - wanted).abs() > 1e-3, "the other layout is another model");
    }
}

fn problem(change: impl FnOnce(&mut serde_json::Value, &mut Named), dtype: Dtype) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (mut config, mut weights) = (config_json(), weights());
    change(&mut config, &mut weights);
    write(dir.path(), &config, &weights, dtype);
    HuggingFace::open(dir.path()).map_or_else(|e| e.to_string(), |_| String::new())
}

#[test]
fn keys_of_other_versions_are_understood() {
    let later = problem(
        |c, _| {
            c["rope_parameters"] = serde_json::json!({ "rope_theta": 5000.0, "rope_type": "default" });
            c.as_object_mut().unwrap().remove("rope_theta");
            c["head_dim"] = 8.into();
        },
        Dtype::F32,
    );
    assert_eq!(later, "");
    let tied = problem(
        |c, w| {
            c["tie_word_embeddings"] = true.into();
            w.retain(|(name, _, _)| name != "lm_head.weight");
        },
        Dtype::F32,
    );
    assert_eq!(tied, "");
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_file_tensor_and_what_was_wanted() {
    let says = |change: fn(&mut serde_json::Value, &mut Named), words: &str| {
        let problem = problem(change, Dtype::F32);
        assert!(problem.contains(words), "{problem}");
    };
    says(|c, _| c["model_type"] = "mistral".into(), "config.json: model_type is `mistral`, supported: llama");
    says(|c, _| c["hidden_act"] = "gelu".into(), "hidden_act is `gelu`");
    says(|c, _| c["attention_bias"] = true.into(), "attention_bias is true: biases are not built here");
    says(|c, _| c["rope_scaling"] = serde_json::json!({ "type": "linear" }), "scaled (`linear`)");
    says(|c, _| c["num_attention_heads"] = 0.into(), "heads is 0, wanted at least 1");
    says(|c, _| c["num_key_value_heads"] = 2.into(), "kv_heads is 2, wanted a divisor of 3");
    says(
        |c, _| drop(c.as_object_mut().unwrap().remove("vocab_size")),
        "config.json: missing field `vocab_size`",
    );
    says(
        |c, _| c["vocab_size"] = 12.into(),
        "`model.embed_tokens.weight` has shape [11, 24], wanted [12, 24]",
    );
    says(
        |c, _| c["num_hidden_layers"] = 3.into(),
        "tensor `model.layers.2.input_layernorm.weight` is not there",
    );
    says(
        |c, _| c["num_hidden_layers"] = u32::MAX.into(),
        "`model.layers.2.input_layernorm.weight` is not there",
    );
    says(|_, w| w.retain(|(name, _, _)| name != "lm_head.weight"), "tensor `lm_head.weight` is not there");
    let double = problem(|_, _| {}, Dtype::F64);
    assert!(
        double.contains(
            "model.safetensors: tensor `model.embed_tokens.weight` is of type F64, supported: F32, F16, BF16"
        ),
        "{double}"
    );
}

#[test]
fn files_that_are_not_there_or_damaged_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let says = |words: &str| {
        let problem = open(dir.path()).err().unwrap().to_string();
        assert!(problem.contains(words), "{problem}");
    };
    says("config.json: No such file");
    std::fs::write(dir.path().join("config.json"), config_json().to_string()).unwrap();
    says("model.safetensors: No such file");
    write(dir.path(), &config_json(), &weights(), Dtype::F32);
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(61).chain(0..200) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        says("model.safetensors: is cut off or no safetensors file");
    }
    let file = dir.path().join("a.gguf");
    std::fs::write(&file, "x").unwrap();
    assert!(open(&file).err().unwrap().to_string().contains("is it a GGUF file?"));
}

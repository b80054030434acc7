//! What tests of several papers share.

use ream_lm::gguf::{File, Kind, Value, Writer};
use ream_lm::{SmallLm, Tokenizer, llama};

/// A small model with its tokenizer as a GGUF file.
pub(crate) fn gguf_of(lm: &SmallLm) -> Vec<u8> {
    let file = File::from_bytes("a small model", llama::decoder_file(&lm.model).unwrap()).unwrap();
    let mut writer = Writer::new();
    writer.key("general.architecture", Value::Str("llama")).unwrap();
    for key in ["attention.layer_norm_rms_epsilon", "rope.freq_base"] {
        let key = format!("llama.{key}");
        writer.key(&key, Value::F32(file.f32(&key).unwrap())).unwrap();
    }
    for key in [
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
    ] {
        let key = format!("llama.{key}");
        writer.key(&key, Value::U32(file.u32(&key).unwrap())).unwrap();
    }
    for tensor in file.tensors().map(Result::unwrap) {
        let mut numbers = vec![0.0; tensor.elements()];
        tensor.dequantize(&mut numbers).unwrap();
        writer.tensor(tensor.name, &tensor.shape, Kind::F32, &numbers).unwrap();
    }
    Tokenizer::from(&lm.bpe).write_keys(&mut writer).unwrap();
    writer.to_bytes()
}

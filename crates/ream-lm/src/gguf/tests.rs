//! What is written comes back; what is damaged is refused with what, where, and what would be right.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use ream_rand::Stream;

use super::llama::Config;
use super::{File, Kind, Value, Writer, dequantize};
use crate::Tokenizer;
use crate::chat::Chat;
use crate::tokenizer::tests::{small_vocabulary, tokenizer_keys};

/// The shape of a model of a few thousand weights.
pub(crate) fn small() -> Config {
    Config {
        blocks: 2,
        width: 32,
        heads: 4,
        kv_heads: 2,
        head_size: 8,
        ffn: 64,
        eps: 1e-5,
        rope_base: 10_000.0,
        context: 64,
        vocab: small_vocabulary().0.len(),
        tied_head: true,
    }
}

/// A small untrained model with a tokenizer.
pub(crate) fn model() -> Writer {
    let mut writer = small().untrained(Kind::Q8_0, 1).unwrap();
    tokenizer_keys(&mut writer);
    let template =
        "'<|im_start|>system\nBe kind.<|im_end|>\n' + '<|im_start|>' + role + content + '<|im_end|>'";
    writer.key("tokenizer.chat_template", Value::Str(template)).unwrap();
    writer
}

fn open(bytes: Vec<u8>) -> Result<File, super::Error> {
    File::from_bytes("a.gguf", bytes)
}

fn wrong(bytes: Vec<u8>) -> String {
    open(bytes).unwrap_err().to_string()
}

#[test]
fn keys_of_every_type_come_back() {
    let mut writer = Writer::new();
    let values = [
        Value::U8(200),
        Value::I8(-3),
        Value::U16(60_000),
        Value::I16(-300),
        Value::U32(4_000_000_000),
        Value::I32(-70_000),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F32(0.1),
        Value::F64(-1e300),
        Value::Bool(true),
        Value::Str("naïve"),
    ];
    for (i, value) in values.iter().enumerate() {
        writer.key(&format!("key.{i:02}"), *value).unwrap();
    }
    writer.strings("s", &["a", "", "é"]).unwrap();
    writer.integers("i", &[1, -2]).unwrap();
    writer.numbers("n", &[0.5]).unwrap();
    let file = open(writer.to_bytes()).unwrap();
    assert_eq!(file.version(), 3);
    let got: Vec<Value<'_>> =
        file.keys().filter(|(name, _)| name.starts_with("key")).map(|(_, v)| v).collect();
    assert_eq!(got, values);
    assert_eq!(file.strings("s").unwrap(), ["a", "", "é"]);
    assert_eq!(file.integers("i").unwrap(), [1, -2]);
    assert_eq!(file.f32s("n").unwrap(), [0.5]);
    assert_eq!(file.u32("key.00").unwrap(), 200);
    assert_eq!(file.f32("key.09").unwrap(), f32::NEG_INFINITY);
    assert!(file.bool("key.10").unwrap());
    // An array that one file lends goes into another.
    let mut copy = Writer::new();
    copy.key("s", file.key("s").unwrap()).unwrap();
    assert_eq!(open(copy.to_bytes()).unwrap().strings("s").unwrap(), ["a", "", "é"]);
}

#[test]
fn a_key_of_another_type_is_named() {
    let mut writer = Writer::new();
    writer.key("a.size", Value::I32(-1)).unwrap();
    writer.key("a.name", Value::Str("x")).unwrap();
    let file = open(writer.to_bytes()).unwrap();
    let integer = "wanted an integer from 0 to 2^32 - 1";
    assert_eq!(
        file.u32("a.size").unwrap_err().to_string(),
        format!("a.gguf: key `a.size` is I32(-1), {integer}")
    );
    assert_eq!(
        file.u32("a.name").unwrap_err().to_string(),
        format!("a.gguf: key `a.name` is a string, {integer}")
    );
    assert_eq!(file.u32("b").unwrap_err().to_string(), format!("a.gguf: key `b` is not there, {integer}"));
    assert!(
        file.strings("a.name").unwrap_err().to_string().ends_with("is a string, wanted an array of strings")
    );
}

#[test]
fn tensors_of_every_type_come_back() {
    let numbers: Vec<f32> = (0..128).map(|i| i as f32 - 64.0).collect();
    let mut writer = Writer::new();
    for kind in [Kind::F32, Kind::F16, Kind::Bf16, Kind::Q8_0, Kind::Q4_0, Kind::Q4_1] {
        writer.tensor(kind.name(), &[64, 2], kind, &numbers).unwrap();
    }
    for (kind, block) in [(Kind::Q4K, vec![7; 144]), (Kind::Q6K, vec![7; 210])] {
        writer.blocks(kind.name(), &[256], kind, block).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gguf");
    writer.write(&path).unwrap();
    let file = File::open(&path).unwrap();
    assert_eq!(
        file.tensor_names().collect::<Vec<_>>(),
        ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"]
    );
    for tensor in file.tensors() {
        let tensor = tensor.unwrap();
        assert_eq!(tensor.kind.name(), tensor.name);
        let mut whole = vec![f32::NAN; tensor.elements()];
        tensor.dequantize(&mut whole).unwrap();
        if tensor.shape == [64, 2] {
            let mut row = vec![0.0; 64];
            dequantize(tensor.kind, tensor.row(1), &mut row).unwrap();
            assert_eq!(row, whole[64..], "{}", tensor.name);
            assert_eq!(tensor.row(2), [0_u8; 0]);
            let error = whole.iter().zip(&numbers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let most = if tensor.kind.block().0 == 1 { 0.0 } else { 8.1 };
            assert!(error <= most, "{}: {error}", tensor.name);
        }
        let short = tensor.dequantize(&mut [0.0; 5]).unwrap_err().to_string();
        assert!(short.contains("for 5 elements"), "{short}");
    }
    assert!(file.tensor("x").unwrap_err().to_string().contains("a.gguf: tensor `x` is not there"));
    assert!(File::open(dir.path()).unwrap_err().to_string().contains("not a file"));
    assert!(File::open(dir.path().join("b")).unwrap_err().to_string().contains("b: No such file"));
}

#[test]
fn a_file_that_contradicts_itself_is_not_written() {
    let mut writer = Writer::new();
    writer.key("k", Value::U8(1)).unwrap();
    assert!(writer.key("k", Value::U8(1)).unwrap_err().to_string().contains("unique"));
    assert!(writer.strings("", &[""]).unwrap_err().to_string().contains("not empty"));
    assert!(writer.key("general.alignment", Value::U32(8)).unwrap_err().to_string().contains("32"));
    writer.tensor("k", &[1], Kind::F32, &[1.0]).unwrap();
    assert!(writer.tensor("k", &[1], Kind::F32, &[1.0]).unwrap_err().to_string().contains("unique"));
    for shape in [&[][..], &[0], &[1, 1, 1, 1, 1], &[2], &[usize::MAX, 2]] {
        assert!(writer.tensor("t", shape, Kind::F32, &[1.0]).is_err(), "{shape:?}");
    }
    assert!(
        writer
            .tensor("t", &[16, 2], Kind::Q8_0, &[1.0; 32])
            .unwrap_err()
            .to_string()
            .contains("multiple of 32")
    );
}

/// A header written by hand.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(tensors: u64, keys: u64) -> Self {
        let mut raw = Self(b"GGUF\x03\0\0\0".to_vec());
        raw.u64(tensors).u64(keys);
        raw
    }

    fn u8(&mut self, n: u8) -> &mut Self {
        self.0.push(n);
        self
    }

    fn u32(&mut self, n: u32) -> &mut Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn u64(&mut self, n: u64) -> &mut Self {
        self.0.extend(n.to_le_bytes());
        self
    }

    fn str(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64).0.extend(text.as_bytes());
        self
    }

    fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.str(name).u32(shape.len() as u32);
        for size in shape {
            self.u64(*size);
        }
        self.u32(kind).u64(offset)
    }

    /// With so many bytes of data.
    fn data(&self, alignment: usize, bytes: usize) -> Vec<u8> {
        let mut out = self.0.clone();
        out.resize(out.len().next_multiple_of(alignment) + bytes, 0);
        out
    }
}

#[test]
fn other_files_are_refused() {
    assert_eq!(
        wrong(b"PK\x03\x04".to_vec()),
        "a.gguf: at byte 0: the file does not begin with `GGUF`; is it a GGUF file?"
    );
    assert_eq!(
        wrong(Vec::new()),
        "a.gguf: at byte 0: the file does not begin with `GGUF`; is it a GGUF file?"
    );
    let version = |bytes: &[u8]| wrong([b"GGUF", bytes, &[0; 16]].concat());
    assert_eq!(version(&[1, 0, 0, 0]), "a.gguf: at byte 4: version 1, wanted 2 or 3, little-endian");
    assert_eq!(
        version(&[0, 0, 0, 3]),
        "a.gguf: at byte 4: version 3, big-endian, wanted 2 or 3, little-endian"
    );
    let mut second = Raw::new(0, 0).0;
    second[4] = 2;
    assert_eq!(open(second).unwrap().version(), 2);
}

#[test]
fn counts_and_lengths_are_compared_with_the_file() {
    let huge = u64::MAX / 2;
    for n in [1, huge, u64::MAX] {
        assert!(wrong(Raw::new(n, 0).0).starts_with(&format!("a.gguf: at byte 8: {n} tensors")), "{n}");
        assert!(wrong(Raw::new(0, n).0).starts_with(&format!("a.gguf: at byte 16: {n} keys")), "{n}");
    }
    let key = |write: &dyn Fn(&mut Raw) -> &mut Raw| {
        let mut raw = Raw::new(0, 1);
        write(raw.str("k"));
        wrong([raw.0, vec![0; 32]].concat())
    };
    let name = wrong([Raw::new(0, 1).u64(huge).0.clone(), vec![0; 16]].concat());
    assert!(name.starts_with(&format!("a.gguf: at byte 24: {huge} characters of a string")), "{name}");
    assert!(key(&|raw| raw.u32(8).u64(huge)).contains("key `k`: 9223372036854775807 characters"));
    assert!(key(&|raw| raw.u32(9).u32(0).u64(33)).contains("33 elements of an array"));
    assert!(key(&|raw| raw.u32(9).u32(8).u64(huge)).contains("elements of an array take at least 8 bytes"));
    assert!(key(&|raw| raw.u32(9).u32(9).u64(1)).contains("an array of arrays"));
    assert!(key(&|raw| raw.u32(9).u32(13).u64(1)).contains("elements of type 13, wanted 0 to 12"));
    assert!(key(&|raw| raw.u32(13)).contains("key `k` has type 13, wanted 0 to 12"));
    assert!(key(&|raw| raw.u32(7).u8(2)).contains("key `k`: a boolean is 2, wanted 0 or 1"));
    assert!(key(&|raw| raw.u32(8).u64(1).u8(0xff)).contains("a string is not UTF-8"));
}

#[test]
fn names_are_unique() {
    let mut raw = Raw::new(0, 2);
    raw.str("k").u32(0).u8(1);
    raw.str("k").u32(0).u8(1);
    assert!(wrong(raw.0).contains("at byte 38: key `k`: names are unique"));
    let twice = Raw::new(2, 0).tensor("t", &[1], 0, 0).tensor("t", &[1], 0, 32).data(32, 64);
    assert!(wrong(twice).contains("tensor `t` is there twice"));
}

#[test]
fn odd_tensors_are_refused() {
    let one = |shape: &[u64], kind: u32, offset: u64| {
        wrong(Raw::new(1, 0).tensor("t", shape, kind, offset).data(32, 1024))
    };
    let shape = "wanted sizes from 1 whose product fits memory";
    assert!(one(&[0], 0, 0).ends_with(&format!("tensor `t`: shape [0], {shape}")));
    assert!(one(&[4, 0], 0, 0).ends_with(shape));
    assert!(one(&[1 << 40, 1 << 40], 0, 0).ends_with(shape));
    assert!(one(&[u64::MAX], 0, 0).contains("reach past any file"));
    assert!(one(&[], 0, 0).ends_with("tensor `t`: 0 dimensions, wanted 1 to 4"));
    assert!(one(&[1; 5], 0, 0).ends_with("5 dimensions, wanted 1 to 4"));
    assert!(one(&[48], 3, 0).ends_with("rows of 48 elements in Q4_1, wanted a multiple of 32"));
    assert!(one(&[8], 0, 16).ends_with("offset 16, wanted a multiple of 32"));
    assert!(one(&[8], 0, u64::MAX - 31).contains("reach past any file"));
    assert!(one(&[257], 0, 0).contains("its data end at byte 1"), "{}", one(&[257], 0, 0));
    assert!(one(&[8], 0, 1024).contains("is it cut off?"));
    let apart =
        |a: u64, b: u64| open(Raw::new(2, 0).tensor("a", &[16], 0, a).tensor("b", &[8], 0, b).data(32, 128));
    assert!(apart(0, 64).is_ok() && apart(32, 0).is_ok());
    for (a, b) in [(0, 32), (0, 0), (32, 64)] {
        assert!(apart(a, b).unwrap_err().to_string().contains("overlap"), "{a} {b}");
    }
}

#[test]
fn alignment_is_honoured_and_checked() {
    let file = |alignment: u32, offset: u64, bytes: usize| {
        let mut raw = Raw::new(2, 1);
        raw.str("general.alignment").u32(4).u32(alignment);
        raw.tensor("a", &[1], 0, 0).tensor("b", &[1], 0, offset);
        open(raw.data(alignment.clamp(1, 64) as usize, bytes))
    };
    let small = file(8, 8, 12).unwrap();
    assert_eq!((small.alignment(), small.tensor("b").unwrap().data.len()), (8, 4));
    assert!(file(64, 64, 68).is_ok());
    assert!(file(64, 32, 68).unwrap_err().to_string().contains("offset 32, wanted a multiple of 64"));
    for odd in [0, 4, 24, u32::MAX, 1 << 30] {
        let problem = file(odd, 64, 128).unwrap_err().to_string();
        assert!(problem.contains("wanted a power of two from 8 to 2^20"), "{problem}");
    }
}

#[test]
fn a_type_that_is_not_built_here_is_named_when_it_is_asked_for() {
    let raw = Raw::new(3, 0)
        .tensor("old", &[32], 6, 0)
        .tensor("new", &[32], 99, 32)
        .tensor("ok", &[8], 0, 64)
        .data(32, 96);
    let file = open(raw).unwrap();
    assert!(file.tensor("ok").is_ok());
    let supported = "supported: F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K, Q6_K";
    assert_eq!(
        file.tensor("old").unwrap_err().to_string(),
        format!("a.gguf: tensor `old` is of type Q5_0, {supported}")
    );
    assert_eq!(
        file.tensor("new").unwrap_err().to_string(),
        format!("a.gguf: tensor `new` is of type number 99, {supported}")
    );
    assert_eq!(file.tensors().filter(Result::is_err).count(), 2);
    assert_eq!(file.shape("old"), Some(&[32][..]));
}

fn config_problem(change: impl FnOnce(&mut Config), keys: &[(&str, Value<'_>)]) -> String {
    let mut config = small();
    change(&mut config);
    let mut writer = Writer::new();
    config.write_keys(&mut writer).unwrap();
    for (name, value) in keys {
        writer.key(name, *value).unwrap();
    }
    let real = small().untrained(Kind::F32, 1).unwrap().to_bytes();
    let real = open(real).unwrap();
    for tensor in real.tensors() {
        let tensor = tensor.unwrap();
        writer.blocks(tensor.name, &tensor.shape, tensor.kind, tensor.data.to_vec()).unwrap();
    }
    Config::from_gguf(&open(writer.to_bytes()).unwrap()).map_or_else(|e| e.to_string(), |_| String::new())
}

#[test]
fn the_shape_of_a_model_comes_back() {
    for tied_head in [true, false] {
        let config = Config { tied_head, ..small() };
        let file = open(config.untrained(Kind::Q4_1, 3).unwrap().to_bytes()).unwrap();
        assert_eq!(Config::from_gguf(&file).unwrap(), config);
        assert_eq!(file.tensor_names().count(), if tied_head { 20 } else { 21 });
    }
    assert_eq!(config_problem(|_| {}, &[]), "");
}

#[test]
fn other_architectures_are_named() {
    let mut writer = Writer::new();
    writer.key("general.architecture", Value::Str("mamba")).unwrap();
    let problem = Config::from_gguf(&open(writer.to_bytes()).unwrap()).unwrap_err().to_string();
    assert_eq!(problem, "a.gguf: the architecture is `mamba`, supported: llama");
    let none = Config::from_gguf(&open(Writer::new().to_bytes()).unwrap()).unwrap_err().to_string();
    assert_eq!(none, "a.gguf: key `general.architecture` is not there, wanted a string");
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let says = |change: fn(&mut Config), keys: &[(&str, Value<'_>)], words: &str| {
        let problem = config_problem(change, keys);
        assert!(problem.contains(words), "{problem}");
    };
    says(|c| c.blocks = 3, &[], "tensor `blk.2.attn_norm.weight` is not there, wanted shape [32]");
    says(|c| c.blocks = u32::MAX as usize, &[], "tensor `blk.2.attn_norm.weight` is not there");
    says(|c| c.ffn = 96, &[], "tensor `blk.0.ffn_gate.weight` has shape [32, 64], wanted [32, 96]");
    says(|c| c.kv_heads = 3, &[], "key `llama.attention.head_count_kv` is 3, wanted a divisor of 4");
    says(|c| c.head_size = 7, &[], "key `llama.attention.key_length` is 7, wanted an even number");
    says(|c| c.heads = 0, &[], "key `llama.attention.head_count` is 0, wanted at least 1");
    says(|c| c.eps = 0.0, &[], "key `llama.attention.layer_norm_rms_epsilon` is 0, wanted a positive number");
    says(|c| c.rope_base = f32::NAN, &[], "key `llama.rope.freq_base` is NaN");
    says(|c| c.vocab = 7, &[], "key `llama.vocab_size` says 7 tokens, wanted");
    says(|_| {}, &[("llama.attention.value_length", Value::U32(16))], "is not 8, the size of a head");
    says(|_| {}, &[("llama.rope.scaling.type", Value::Str("yarn"))], "scaled rotary positions");
    says(|_| {}, &[("llama.expert_count", Value::U32(8))], "experts are not built here");
    let mut writer = Writer::new();
    small().write_keys(&mut writer).unwrap();
    let empty = Config::from_gguf(&open(writer.to_bytes()).unwrap()).unwrap_err().to_string();
    assert!(empty.contains("tensor `token_embd.weight` is not there"), "{empty}");
    let mut writer = small().untrained(Kind::F32, 1).unwrap();
    writer.strings("tokenizer.ggml.tokens", &["a", "b"]).unwrap();
    let tokens = Config::from_gguf(&open(writer.to_bytes()).unwrap()).unwrap_err().to_string();
    let rows = small().vocab;
    assert_eq!(
        tokens,
        format!(
            "a.gguf: key `tokenizer.ggml.tokens` says 2 tokens, wanted {rows}, the rows of `token_embd.weight`"
        )
    );
    let mut writer = small().untrained(Kind::F32, 1).unwrap();
    writer.tensor("blk.0.attn_q.bias", &[32], Kind::F32, &[0.0; 32]).unwrap();
    let bias = Config::from_gguf(&open(writer.to_bytes()).unwrap()).unwrap_err().to_string();
    assert!(bias.contains("`blk.0.attn_q.bias` is there: biases"), "{bias}");
}

/// Everything that reads a file.
fn exercise(bytes: Vec<u8>) -> bool {
    let length = bytes.len();
    let Ok(file) = open(bytes) else { return false };
    for (_, value) in file.keys() {
        if let Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len());
            assert!(array.len() <= length);
        }
    }
    for tensor in file.tensors().flatten() {
        // A shape is never larger than what is there.
        assert!(tensor.elements() <= 2 * length);
        tensor.dequantize(&mut vec![0.0; tensor.elements()]).unwrap();
    }
    let _ = Config::from_gguf(&file);
    let _ = Chat::from_gguf(&file);
    if let Ok(tokenizer) = Tokenizer::from_gguf(&file) {
        let tokens = tokenizer.encode("<|im_start|>the theme 12", true);
        assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.vocabulary()));
        assert!(tokenizer.decode_text(&tokens).is_char_boundary(0));
    }
    true
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = model().to_bytes();
    let header =
        bytes.len() - small().tensors().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>();
    assert!(header > 5000);
    assert!(exercise(bytes.clone()));
    let (ends, whole) = (0..header).chain([bytes.len() - 1]).fold((0, 0), |(cut, whole), end| {
        if exercise(bytes[..end].to_vec()) { (cut, whole + 1) } else { (cut + 1, whole) }
    });
    assert_eq!((ends, whole), (header + 1, 0));
}

/// `REAM_FUZZ_SECONDS` makes it longer.
#[test]
#[allow(clippy::print_stdout, reason = "what a long run did")]
fn a_damaged_file_never_panics() {
    let seconds = std::env::var("REAM_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let bytes = model().to_bytes();
    let header = bytes.len() - 2 * small().vocab * small().width;
    let (mut opened, mut round) = (0, 0);
    while end.map_or(round < 3000, |end| Instant::now() < end) {
        let mut rng = Stream::new(5, "damage").at(round);
        let mut damaged = bytes.clone();
        for _ in 0..=rng.below(4) {
            // Most of it is tensors, where any byte is right.
            let end = if rng.chance(0.9) { header.min(damaged.len()) } else { damaged.len() };
            let at = rng.below(end);
            match rng.below(5) {
                0 => damaged[at] = rng.next_u32() as u8,
                1 => damaged[at] ^= 1 << rng.below(8),
                2 => {
                    let odd =
                        [0, 1, 31, 32, 255, 1 << 16, 1 << 31, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 31];
                    let number = odd[rng.below(odd.len())].to_le_bytes();
                    damaged.iter_mut().skip(at).zip(number).for_each(|(byte, new)| *byte = new);
                }
                3 => drop(damaged.drain(at..(at + rng.below(20)).min(damaged.len()))),
                _ => {
                    let from = rng.below(damaged.len());
                    let piece = damaged[from..(from + rng.below(64)).min(damaged.len())].to_vec();
                    drop(damaged.splice(at..at, piece));
                }
            }
        }
        match catch_unwind(|| exercise(damaged)) {
            Ok(good) => opened += u64::from(good),
            Err(_) => panic!("round {round}"),
        }
        round += 1;
    }
    // Some damage is not seen (a letter of a token), most is.
    assert!(opened > round / 100 && opened < round, "{opened} of {round}");
    println!("{round} damaged files, {opened} of them still open");
}

//! A small vocabulary: what it becomes, and what is refused.

use proptest::prelude::*;

use super::{PreTokenizer, Tokenizer};
use crate::Bpe;
use crate::gguf::{File, Value, Writer};

/// The letter of a byte.
fn letter(byte: u8) -> String {
    let printable = |b: u8| (33..=126).contains(&b) || (161..=172).contains(&b) || b >= 174;
    let shifted = (0..byte).filter(|&b| !printable(b)).count() as u32;
    let code = if printable(byte) { u32::from(byte) } else { 256 + shifted };
    char::from_u32(code).unwrap().to_string()
}

const MERGES: [&str; 8] = ["t h", "Ġ th", "th e", "Ġth e", "m e", "i n", "Ã ©", "a a"];

/// Tokens, their types and merges: two special tokens, an added one, all bytes but 0xFF, one for each merge.
pub(crate) fn small_vocabulary() -> (Vec<String>, Vec<i32>, Vec<&'static str>) {
    let mut tokens = vec!["<|im_start|>".to_owned(), "<|im_end|>".to_owned(), "[IMG]".to_owned()];
    let mut types = vec![3, 3, 4];
    tokens.extend((0..255).map(letter));
    tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
    types.resize(tokens.len(), 1);
    (tokens, types, MERGES.to_vec())
}

/// A file's keys of that tokenizer.
pub(crate) fn tokenizer_keys(writer: &mut Writer) {
    keys(writer, &[]);
}

/// With other values of some keys; an empty one leaves its key out.
fn keys(writer: &mut Writer, other: &[(&str, &[&str])]) {
    let (tokens, types, merges) = small_vocabulary();
    let changed = |name: &str| other.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    for (name, text) in [("model", "gpt2"), ("pre", "smollm")] {
        match changed(name) {
            Some([]) => {}
            Some(value) => writer.key(&format!("tokenizer.ggml.{name}"), Value::Str(value[0])).unwrap(),
            None => writer.key(&format!("tokenizer.ggml.{name}"), Value::Str(text)).unwrap(),
        }
    }
    let tokens: Vec<&str> =
        changed("tokens").map_or_else(|| tokens.iter().map(String::as_str).collect(), <[_]>::to_vec);
    writer.strings("tokenizer.ggml.tokens", &tokens).unwrap();
    writer.integers("tokenizer.ggml.token_type", &types).unwrap();
    writer.strings("tokenizer.ggml.merges", changed("merges").unwrap_or(&merges)).unwrap();
    let end = changed("eos_token_id").map_or(1, |value| value[0].parse().unwrap());
    writer.key("tokenizer.ggml.eos_token_id", Value::U32(end)).unwrap();
}

fn with(other: &[(&str, &[&str])]) -> Result<Tokenizer, String> {
    let mut writer = Writer::new();
    keys(&mut writer, other);
    let file = File::from_bytes("a.gguf", writer.to_bytes()).unwrap();
    Tokenizer::from_gguf(&file).map_err(|e| e.to_string())
}

fn shown(tokenizer: &Tokenizer, text: &str, special: bool) -> Vec<String> {
    let name = |&id: &u32| {
        tokenizer.name_of(id).map_or_else(|| tokenizer.decode_text(&[id]), |name| format!("*{name}"))
    };
    tokenizer.encode(text, special).iter().map(name).collect()
}

#[test]
fn merges_are_applied_in_their_order() {
    let t = with(&[]).unwrap();
    assert_eq!(shown(&t, "the theme in", false), ["the", " the", "me", " ", "in"]);
    assert_eq!(shown(&t, "aaaaa", false), ["aa", "aa", "a"]);
    assert_eq!(shown(&t, "é", false), ["é"]);
    assert_eq!(shown(&t, "12", false), ["1", "2"]);
    assert_eq!(t.vocabulary(), 3 + 255 + 8);
    assert!(t.is_end(1) && !t.is_end(0) && t.begin().is_none());
}

#[test]
fn special_tokens_are_found_when_asked_for_and_added_ones_always() {
    let t = with(&[]).unwrap();
    let text = "<|im_start|>the[IMG]<|im_end|>";
    assert_eq!(shown(&t, text, true), ["*<|im_start|>", "the", "[IMG]", "*<|im_end|>"]);
    let plain = t.encode(text, false);
    assert!(!plain.contains(&0) && !plain.contains(&1) && plain.contains(&2));
    assert_eq!(t.decode_text(&plain), text);
    assert_eq!(t.decode_text(&t.encode(text, true)), "the[IMG]");
    assert_eq!(t.decode_text(&[9999]), "\u{fffd}");
    assert_eq!(t.special("[IMG]"), Some(2));
    assert_eq!(t.special("the"), None);
}

#[test]
fn a_byte_without_a_token_is_lost_and_found() {
    let t = with(&[]).unwrap();
    assert_eq!(t.first_lost("é"), None);
    assert_eq!(t.first_lost(b"ab\xff"), Some(2));
    assert_eq!(t.decode(&t.encode(b"a\xffb\xfe", false)), b"ab\xfe");
}

#[test]
fn a_word_that_is_a_token_stays_whole_where_the_model_wants_it() {
    // A token that no merge makes.
    let (mut tokens, _, _) = small_vocabulary();
    tokens[3 + usize::from(b'Q')] = "xyz".to_owned();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let whole = with(&[("tokens", &tokens), ("pre", &["llama-bpe"])]).unwrap();
    assert_eq!(shown(&whole, "xyz xyz", false), ["xyz", " ", "x", "y", "z"]);
    let cut = with(&[("tokens", &tokens)]).unwrap();
    assert_eq!(shown(&cut, "xyz", false), ["x", "y", "z"]);
    assert_eq!(whole.pre_tokenizer(), PreTokenizer::Llama3);
}

#[test]
fn other_tokenizers_are_refused_by_name() {
    for (key, value, words) in [
        ("model", "llama", "key `tokenizer.ggml.model` is `llama`, wanted `gpt2`"),
        (
            "pre",
            "default",
            "key `tokenizer.ggml.pre` is `default`, supported: gpt-2, smollm, llama-bpe, ream",
        ),
        ("merges", "th", "key `tokenizer.ggml.merges` has \"th\" at 0: wanted two tokens"),
        ("merges", "t qq", "has \"t qq\" at 0: \"qq\" is no token"),
        ("merges", "h t", "has \"h t\" at 0: \"ht\" is no token"),
        ("eos_token_id", "300", "key `tokenizer.ggml.eos_token_id` is 300, wanted a token below 266"),
        ("tokens", "a", "key `tokenizer.ggml.token_type` has 266 entries, wanted 1"),
    ] {
        let problem = with(&[(key, &[value])]).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }
    assert!(
        with(&[("merges", &["t h", "th e", "t h"])])
            .unwrap_err()
            .contains("has \"t h\" at 2, which is at 0 too")
    );
    assert!(with(&[("pre", &[])]).unwrap_err().contains("key `tokenizer.ggml.pre` is not there"));
}

#[test]
fn text_comes_as_soon_as_its_characters_are_complete() {
    let t = with(&[]).unwrap();
    let id = |byte: u8| 3 + u32::from(byte);
    let mut stream = t.stream();
    let pieces: Vec<String> = "a😀b".bytes().map(|byte| stream.push(id(byte))).collect();
    assert_eq!(pieces, ["a", "", "", "", "😀", "b"]);
    assert_eq!(stream.push(id(0xe2)), "");
    // No character goes on like this.
    assert_eq!(stream.push(id(b'x')), "\u{fffd}x");
    assert_eq!(stream.push(id(0xc3)), "");
    assert_eq!(stream.push(0), "", "a special token is no text");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn a_very_long_word_takes_no_square_of_its_length() {
    let t = with(&[]).unwrap();
    let word = "the".repeat(200_000);
    assert_eq!(t.encode(&word, false).len(), 200_000);
    let spaces = " ".repeat(300_000);
    assert_eq!(t.encode(&spaces, false).len(), 300_000);
}

fn written(tokenizer: &Tokenizer) -> Result<Tokenizer, String> {
    let mut writer = Writer::new();
    tokenizer.write_keys(&mut writer).map_err(|e| e.to_string())?;
    let file = File::from_bytes("a.gguf", writer.to_bytes()).map_err(|e| e.to_string())?;
    Tokenizer::from_gguf(&file).map_err(|e| e.to_string())
}

#[test]
fn a_tokenizer_goes_into_a_file_and_comes_back() {
    let text = "In the beginning God created the heaven and the earth. And the earth was without form, \u{e1}rbol 1611";
    let bpe = Bpe::train([text.repeat(2)], 40).unwrap().with_special(&["<|end|>", "<|e"]).unwrap();
    let own = Tokenizer::from(&bpe).with_ends(bpe.special("<|end|>"));
    let back = written(&own).unwrap();
    for t in [&own, &back] {
        assert_eq!(t.encode(text, false), bpe.encode(text));
        assert_eq!(t.encode(b"\xff\x00 a", false), bpe.encode(b"\xff\x00 a"));
        assert_eq!(t.encode("<|end|>", true), [296]);
        assert_eq!((t.vocabulary(), t.special("<|e"), t.is_end(296)), (298, Some(297), true));
    }
    // The other kinds of tokens keep their kinds.
    let small = with(&[]).unwrap();
    let back = written(&small).unwrap();
    let text = "<|im_start|>the[IMG] aaa";
    assert_eq!(back.encode(text, true), small.encode(text, true));
    assert_eq!(back.encode(text, false), small.encode(text, false));
    assert!(back.is_end(1));
}

/// `tokenizer.json` of the small vocabulary.
pub(crate) fn json() -> serde_json::Value {
    let (tokens, types, merges) = small_vocabulary();
    let special = |id: usize| types[id] != 1;
    let vocab: serde_json::Map<String, serde_json::Value> = tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| !special(*id))
        .map(|(id, t)| (t.clone(), id.into()))
        .collect();
    let added: Vec<_> = tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| special(*id))
        .map(|(id, t)| serde_json::json!({ "id": id, "content": t, "special": types[id] == 3, "normalized": false }))
        .collect();
    let pairs: Vec<_> = merges.iter().map(|merge| merge.split(' ').collect::<Vec<_>>()).collect();
    serde_json::json!({
        "version": "1.0", "added_tokens": added, "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ] },
        "post_processor": null,
        "model": { "type": "BPE", "unk_token": null, "ignore_merges": false, "vocab": vocab, "merges": pairs },
    })
}

#[test]
fn both_kinds_of_files_give_the_same_tokenizer() {
    let gguf = with(&[]).unwrap();
    let json = json();
    let same = Tokenizer::from_json(json.to_string().as_bytes(), 266).unwrap();
    for text in ["the theme in aaaaa 12 é", "<|im_start|>the[IMG]<|im_end|>", ""] {
        for special in [false, true] {
            assert_eq!(same.encode(text, special), gguf.encode(text, special), "{text}");
        }
    }
    assert!(same.begin().is_none() && !same.is_end(1) && same.with_ends([1]).is_end(1));
    let mut other = json.clone();
    other["model"]["merges"] = small_vocabulary().2.into();
    other["model"]["ignore_merges"] = true.into();
    other["model"]["vocab"]["xyz"] = 266.into();
    let template = serde_json::json!({ "type": "TemplateProcessing", "single": [{ "SpecialToken": { "id": "<|im_start|>" } }, { "Sequence": { "id": "A" } }] });
    other["post_processor"] =
        serde_json::json!({ "type": "Sequence", "processors": [{ "type": "ByteLevel" }, template] });
    let other = Tokenizer::from_json(other.to_string().as_bytes(), 300).unwrap();
    assert_eq!((other.begin(), other.encode("xyz", false)), (Some(0), vec![266]));
}

#[test]
fn other_kinds_of_json_are_refused_by_name() {
    let says = |change: fn(&mut serde_json::Value), words: &str| {
        let mut json = json();
        change(&mut json);
        let problem = Tokenizer::from_json(json.to_string().as_bytes(), 266).unwrap_err();
        assert!(problem.contains(words), "{problem}");
    };
    says(|j| j["model"]["type"] = "Unigram".into(), "model `Unigram`, wanted `BPE`");
    says(|j| j["model"]["byte_fallback"] = true.into(), "byte_fallback");
    says(|j| j["normalizer"] = serde_json::json!({ "type": "NFC" }), "normalizer \"NFC\", wanted none");
    says(
        |j| j["added_tokens"][0]["lstrip"] = true.into(),
        "`<|im_start|>` has single_word, lstrip or rstrip",
    );
    says(
        |j| j["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false.into(),
        "wanted that of GPT-2, SmolLM or Llama 3",
    );
    says(|j| j["pre_tokenizer"] = serde_json::json!({ "type": "Whitespace" }), "\"Whitespace\"");
    says(
        |j| j["model"]["vocab"]["x y"] = 4_000_000_000_u32.into(),
        "has number 4000000000, and the model has 266 tokens",
    );
    says(|j| j["model"]["vocab"]["xx"] = 5.into(), "have both number 5");
    says(|j| j["model"]["merges"][0] = "a".into(), "merges has \"a\" at 0: wanted two tokens");
    says(|j| j["model"]["unk_token"] = "?".into(), "byte 255 has no token and becomes `?`");
    says(|j| drop(j.as_object_mut().unwrap().remove("model")), "missing field `model`");
}

#[test]
fn tokens_that_look_alike_are_not_written() {
    // a + bc and ab + c: two tokens for one text.
    let merges = [(97, 98), (98, 99), (256, 99), (97, 257)];
    let saved = serde_json::json!({ "merges": merges, "special": [] });
    let bpe: Bpe = serde_json::from_value(saved).unwrap();
    let problem = written(&Tokenizer::from(&bpe)).unwrap_err();
    assert!(problem.contains("tokens 258 and 259 are both \"abc\""), "{problem}");
}

proptest! {
    #[test]
    fn any_bytes_come_back(text in prop::collection::vec(prop_oneof![0..=254_u8, prop::sample::select(b"the in\xc3\xa91<|[IMG]".to_vec())], 0..60)) {
        let t = with(&[]).unwrap();
        let tokens = t.encode(&text, false);
        prop_assert_eq!(t.decode(&tokens), text);
        let mut stream = t.stream();
        let mut pieces: String = tokens.iter().map(|&token| stream.push(token)).collect();
        pieces.push_str(&stream.finish());
        prop_assert_eq!(pieces, t.decode_text(&tokens));
    }
}

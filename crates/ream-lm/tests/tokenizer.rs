//! Words of the pre-tokenizers against the `tokenizers` library: `golden/tokenizer.py` made `golden/tokenizer.json`. Its token ids are
//! compared in `smollm2.rs`, where the vocabulary is.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use ream_lm::tokenizer::PreTokenizer;
use serde::Deserialize;

const ALL: [PreTokenizer; 3] = [PreTokenizer::Gpt2, PreTokenizer::SmolLm, PreTokenizer::Llama3];

#[derive(Deserialize)]
struct Golden {
    words: Vec<Case>,
}

/// Words as the hexadecimal digits of their bytes.
#[derive(Deserialize)]
struct Case {
    text: String,
    #[serde(rename = "gpt-2")]
    gpt2: Vec<String>,
    smollm: Vec<String>,
    #[serde(rename = "llama-bpe")]
    llama3: Vec<String>,
}

fn words(pre: PreTokenizer, text: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    pre.words(text, |word| words.push(word));
    words
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn words_are_those_of_the_reference() {
    let golden: Golden = serde_json::from_str(include_str!("golden/tokenizer.json")).unwrap();
    assert!(golden.words.len() > 90);
    for case in &golden.words {
        for (pre, wanted) in ALL.iter().zip([&case.gpt2, &case.smollm, &case.llama3]) {
            let got: Vec<String> = words(*pre, case.text.as_bytes()).into_iter().map(hexadecimal).collect();
            assert_eq!(&got, wanted, "{pre:?} {:?}", case.text);
        }
    }
}

#[test]
fn names_are_those_of_the_file_format() {
    for pre in ALL {
        assert_eq!(PreTokenizer::from_name(pre.name()), Some(pre));
    }
    assert_eq!(PreTokenizer::from_name("default"), None);
}

proptest! {
    #[test]
    fn words_are_the_text(text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"a '\n\r1s .".to_vec())], 0..60)) {
        for pre in ALL {
            let words = words(pre, &text);
            prop_assert!(words.iter().all(|word| !word.is_empty()));
            prop_assert_eq!(words.concat(), text.clone());
        }
    }
}

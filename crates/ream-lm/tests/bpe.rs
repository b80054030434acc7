//! The tokenizer against the definition, written as plainly as it can be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ream_lm::bpe::{MAX_TOKEN_BYTES, words};
use ream_lm::{Bpe, BpeError};

fn bytes_as_tokens(word: &[u8]) -> Vec<u32> {
    word.iter().map(|&byte| u32::from(byte)).collect()
}

fn replace(word: &[u32], pair: (u32, u32), token: u32) -> Vec<u32> {
    let mut out = Vec::new();
    let mut rest = word;
    while let Some((&first, after)) = rest.split_first() {
        if after.first() == Some(&pair.1) && first == pair.0 {
            out.push(token);
            rest = &after[1..];
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

/// Counts everything anew for every merge.
fn naive_merges(texts: &[Vec<u8>], most: usize) -> Vec<(u32, u32)> {
    let mut all: Vec<Vec<u32>> = texts.iter().flat_map(|text| words(text)).map(bytes_as_tokens).collect();
    let (mut merges, mut token) = (Vec::new(), 256);
    while merges.len() < most {
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for pair in all.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        let highest = counts.values().copied().max().unwrap_or(0);
        // A map in order: the first of the most frequent is the lowest.
        let Some((&pair, _)) = counts.iter().find(|(_, count)| **count == highest && highest >= 2) else {
            break;
        };
        all = all.iter().map(|word| replace(word, pair, token)).collect();
        token += 1;
        merges.push(pair);
    }
    merges
}

fn naive_encode(merges: &[(u32, u32)], text: &[u8]) -> Vec<u32> {
    let apply = |word: Vec<u32>| {
        merges.iter().zip(256..).fold(word, |word, (&pair, token)| replace(&word, pair, token))
    };
    words(text).flat_map(|word| apply(bytes_as_tokens(word))).collect()
}

fn few_letters() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"aaab  '\xc3\xa9".to_vec()), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn learned_and_applied_as_defined(texts in prop::collection::vec(few_letters(), 1..6), most in 0..30_usize, other in few_letters()) {
        let naive = naive_merges(&texts, most);
        if naive.len() < most {
            let error = Bpe::train(&texts, most).unwrap_err();
            prop_assert_eq!(error, BpeError::TooLittleText { wanted: most, found: naive.len() });
        }
        let bpe = Bpe::train(&texts, naive.len()).unwrap();
        prop_assert_eq!(bpe.merges(), naive.as_slice());
        for text in texts.iter().chain([&other]) {
            prop_assert_eq!(bpe.encode(text), naive_encode(&naive, text));
        }
    }

    #[test]
    fn any_bytes_come_back(text in prop::collection::vec(any::<u8>(), 0..300), more in few_letters()) {
        let bpe = Bpe::train(["aa aab abab aab", "b\u{e9} b\u{e9}"], 5).unwrap().with_special(&["<|end|>"]).unwrap();
        for text in [text.clone(), more.clone(), [more, text, b"<|end|>".to_vec()].concat()] {
            let tokens = bpe.encode(&text);
            prop_assert!(tokens.iter().all(|&token| token < 256 + 5), "no special token");
            prop_assert_eq!(bpe.decode(&tokens), text);
        }
    }
}

#[test]
fn the_most_frequent_pair_is_first_and_ties_go_to_the_lowest() {
    let merges = |text: &str, n| Bpe::train([text], n).unwrap().merges().to_vec();
    let pair = |text: &str| (u32::from(text.as_bytes()[0]), u32::from(text.as_bytes()[1]));
    assert_eq!(merges("xy xy xy ab ab", 1), [pair("xy")]);
    assert_eq!(merges("cd,cd,ab,ab", 2), [pair("ab"), pair("cd")]);
    // In `aaaa` the pair stands three times; it is replaced twice, and then the new pair stands once in each word.
    assert_eq!(merges("aaaa.aaaa", 2), [pair("aa"), (256, 256)]);
}

#[test]
fn the_order_of_texts_does_not_matter() {
    let texts = ["the cat sat on the mat", "the dog sat", "that hat"];
    let forward = Bpe::train(texts, 5).unwrap();
    assert_eq!(forward, Bpe::train(texts.iter().rev(), 5).unwrap());
    // The border of a text is the border of a word: `ab` would otherwise be the most frequent pair.
    assert!(Bpe::train(["a", "b", "a", "b"], 1).is_err());
}

#[test]
fn tokens_stay_short() {
    let bpe = Bpe::train(["-".repeat(100_000)], 8).unwrap();
    assert_eq!(bpe.bytes_of(263).map(<[u8]>::len), Some(MAX_TOKEN_BYTES));
    let error = Bpe::train(["-".repeat(100_000)], 5000).unwrap_err();
    assert!(matches!(error, BpeError::TooLittleText { found, .. } if found >= 8), "{error}");
    let long = "-".repeat(1_000_000);
    let tokens = bpe.encode(&long);
    assert_eq!(
        tokens.len(),
        1_000_000_usize.div_ceil(MAX_TOKEN_BYTES) - 1
            + usize::from(1_000_000 % MAX_TOKEN_BYTES != 0) * ones(1_000_000 % MAX_TOKEN_BYTES)
    );
    assert_eq!(bpe.decode(&tokens), long.as_bytes());
}

/// A rest of n dashes takes one token for each binary digit 1.
fn ones(n: usize) -> usize {
    n.count_ones() as usize
}

#[test]
fn special_tokens_come_last_and_have_no_bytes() {
    let bpe = Bpe::train(["abab"], 1).unwrap().with_special(&["<|end|>", "<|user|>"]).unwrap();
    assert_eq!((bpe.vocabulary(), bpe.special("<|user|>"), bpe.special("x")), (259, Some(258), None));
    assert_eq!((bpe.name_of(257), bpe.name_of(256)), (Some("<|end|>"), None));
    assert_eq!(
        (bpe.bytes_of(257), bpe.bytes_of(256), bpe.bytes_of(259)),
        (Some(&b""[..]), Some(&b"ab"[..]), None)
    );
    assert_eq!(bpe.decode_text(&[256, 257, 97, 259]), "aba\u{fffd}");
    for names in [&["<|end|>"][..], &[""], &["a", "a"]] {
        assert!(matches!(bpe.clone().with_special(names), Err(BpeError::Special { .. })));
    }
}

#[test]
fn what_is_saved_is_read_back_and_checked() {
    let bpe = Bpe::train(["abab abab abab"], 3).unwrap().with_special(&["<|end|>"]).unwrap();
    let saved = serde_json::to_string(&bpe).unwrap();
    assert_eq!(saved, r#"{"merges":[[97,98],[256,256],[32,257]],"special":["<|end|>"]}"#);
    let read: Bpe = serde_json::from_str(&saved).unwrap();
    assert_eq!((&read, read.encode("abab")), (&bpe, bpe.encode("abab")));
    let refused = |merges: &str, wanted: &str| {
        let error = serde_json::from_str::<Bpe>(&format!("{{\"merges\":{merges},\"special\":[]}}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted), "{error}");
    };
    refused(
        "[[97,98],[257,97]]",
        "merge 1 of the tokenizer: joins 257 and 97, but only tokens below 257 exist",
    );
    refused("[[97,98],[97,98]]", "for the second time");
    let doubling: Vec<(u32, u32)> = std::iter::once((0, 0)).chain((256..300).map(|t| (t, t))).collect();
    refused(
        &serde_json::to_string(&doubling).unwrap(),
        "merge 8 of the tokenizer: makes a token of more than 256 bytes",
    );
    assert!(serde_json::from_str::<Bpe>(r#"{"merges":[],"special":["a","a"]}"#).is_err());
}

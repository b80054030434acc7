//! Blocks against the `gguf` package: `golden/quants.py` made `golden/quants.json`.

#![allow(clippy::unwrap_used, reason = "a test")]

use ream_lm::gguf::{Kind, dequantize, quantize};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    read: Vec<Case>,
    write: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    kind: String,
    blocks: String,
    numbers: String,
}

impl Case {
    fn kind(&self) -> Kind {
        Kind::ALL.into_iter().find(|kind| kind.name() == self.kind).unwrap()
    }

    fn blocks(&self) -> Vec<u8> {
        bytes(&self.blocks)
    }

    fn numbers(&self) -> Vec<f32> {
        let bytes = bytes(&self.numbers);
        bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/quants.json")).unwrap()
}

#[test]
fn blocks_stand_for_the_numbers_of_the_reference_to_the_bit() {
    let golden = golden();
    assert_eq!(golden.read.len(), 7);
    for case in golden.read {
        let wanted = case.numbers();
        let mut got = vec![f32::NAN; wanted.len()];
        dequantize(case.kind(), &case.blocks(), &mut got).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&got), bits(&wanted), "{}", case.kind);
    }
}

#[test]
fn numbers_become_the_blocks_of_the_reference() {
    let golden = golden();
    assert_eq!(golden.write.len(), 5);
    for case in golden.write {
        assert_eq!(quantize(case.kind(), &case.numbers()).unwrap(), case.blocks(), "{}", case.kind);
    }
}

//! Decodes greedily with draft heads: `decode_with_draft_heads BASE.gguf HEADS.safetensors PROMPT`.
//!
//! `ream run hydra --data TEXT --set own.model=BASE.gguf --set own.save_heads=HEADS.safetensors` trains the heads and writes them.

use std::io::Write;
use std::path::Path;

use ream_decoding::hydra::{Acceptance, DraftHeads, Heads, Speculative, StaticTree};
use ream_lm::LanguageModel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, heads, prompt] = arguments.as_slice() else {
        return Err("wanted: BASE.gguf HEADS.safetensors PROMPT".into());
    };
    let lm = LanguageModel::open(base)?;
    let heads = DraftHeads::new(&Heads::load(Path::new(heads), &lm.model)?)?;
    let (mut drafter, tree) = (heads.drafter(&lm.model), StaticTree::chain(heads.len()));
    let mut decoder = Speculative::new(&lm.model, &mut drafter, &tree, Acceptance::Greedy, 0)?;
    decoder.begin(&lm.encode(prompt))?;
    let (mut text, mut out) = (lm.tokenizer.stream(), std::io::stdout());
    for _ in 0..48 {
        let Some(round) = decoder.round()? else { break };
        for token in round.tokens {
            write!(out, "{}", text.push(token))?;
        }
        out.flush()?;
    }
    Ok(())
}

//! Language models: tokenizers, a small model with shared checkpoints, a sentence encoder.
//!
//! ```
//! use ream_lm::Bpe;
//!
//! let text = "low lower lowest, slow slower slowest";
//! let bpe = Bpe::train([text], 6)?.with_special(&["<|end|>"])?;
//! assert_eq!(bpe.vocabulary(), 256 + 6 + 1);
//! let tokens = bpe.encode("slowest");
//! assert!(tokens.len() < "slowest".len());
//! assert_eq!(bpe.decode(&tokens), b"slowest");
//! # Ok::<(), ream_lm::BpeError>(())
//! ```

pub mod bpe;
pub mod chat;
mod generate;
pub mod gguf;
pub mod llama;
mod mapped;
pub mod quant;
pub mod sentence;
pub mod small;
pub mod speed;
pub mod tokenizer;
pub mod weights;

pub use bpe::{Bpe, BpeError, Encoder};
pub use generate::{Generation, LanguageModel, LmError, log_probability};
pub use sentence::{SentenceEncoder, SentenceError};
pub use small::{SmallConfig, SmallLm};
pub use tokenizer::Tokenizer;

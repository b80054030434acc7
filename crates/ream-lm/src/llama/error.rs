//! What can go wrong with a model, and with what it is given.

use thiserror::Error;

use crate::quant::QuantError;
use crate::weights;

/// Why a model cannot be loaded, or a pass not be made.
#[derive(Debug, Error)]
pub enum LlamaError {
    /// The files.
    #[error(transparent)]
    File(#[from] weights::Error),
    /// A tensor of the file.
    #[error("tensor `{tensor}`: {problem}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        #[source]
        problem: QuantError,
    },
    /// There is nothing to read.
    #[error("there are no tokens to read; a text has at least one")]
    Empty,
    /// A token that the model does not have.
    #[error("token {token} at place {place}: the vocabulary has {vocabulary} tokens")]
    Token {
        /// The token.
        token: u32,
        /// Where it stands.
        place: usize,
        /// How many there are.
        vocabulary: usize,
    },
    /// The text is longer than the model reads.
    #[error("the text comes to position {position}; the model's context has {context} positions")]
    TooLong {
        /// The first position that is too many.
        position: usize,
        /// How many there are.
        context: usize,
    },
    /// A node of a tree of drafts that does not come after its parent.
    #[error("node {node} of the tree names node {parent} as its parent; a parent comes before its children")]
    Parent {
        /// The node.
        node: usize,
        /// What it names.
        parent: usize,
    },
    /// A list beside the tokens has another length.
    #[error("{what}: there are {got} for {wanted} tokens")]
    Lengths {
        /// Which list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The number of tokens.
        wanted: usize,
    },
    /// A branch of another cache, or a cache of another model.
    #[error("{what} belongs to another {owner}")]
    Foreign {
        /// What was given.
        what: &'static str,
        /// Where it does not belong to.
        owner: &'static str,
    },
    /// A block that the model does not have.
    #[error("block {block}: the model has blocks 0 to {last}")]
    Block {
        /// The block.
        block: usize,
        /// The last one.
        last: usize,
    },
    /// The network library.
    #[error(transparent)]
    Nn(#[from] ream_nn::NnError),
    /// A network that is built differently.
    #[error("the network is no llama: wanted {wanted}")]
    NotALlama {
        /// What it does not have.
        wanted: &'static str,
    },
    /// A row of the pass that is not there.
    #[error("logits are asked for row {row} of a pass of {rows} rows")]
    Row {
        /// The row.
        row: usize,
        /// How many there are.
        rows: usize,
    },
}

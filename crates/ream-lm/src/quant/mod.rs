//! Weight matrices that stay quantised, repacked for the vector units, and their products with rows of activations.
//!
//! A [`Matrix`] holds its outputs in panels of sixteen: for every input, or group of four inputs, the sixteen outputs' weights
//! lie side by side, so a vector register holds one step of sixteen inner products and nothing is added across lanes.
//! Quantised weights meet activations that are quantised to 8 bits in blocks of 32 ([`Rows`]); the products are exact integers,
//! and an output is `sum over blocks of d_w d_a (q_w . q_a) + m_w d_a sum(q_a)` in 32-bit floats, blocks in order.
//! That order does not depend on how many rows are computed together, so neither does any bit of the result.

mod cells;
mod float;
mod format;
mod integer;
mod matrix;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod unpack;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use cells::Cells;
pub use format::Format;
pub use matrix::{Matrix, QuantError};
pub use product::product;
pub use rows::{Rows, RowsWriter};

/// Outputs of a panel.
pub const LANES: usize = 16;
/// Inputs of a block: its activations share a scale.
pub const BLOCK: usize = 32;
/// Rows that one pass over a panel serves.
pub const TILE: usize = 8;

/// What a panel gives for up to [`TILE`] rows: sixteen outputs each.
pub type Tile = [[f32; LANES]; TILE];

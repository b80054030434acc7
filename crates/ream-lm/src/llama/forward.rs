//! One pass over the weights.

use ream_nn::threads;

use super::attention::attention;
use super::math::{add, rms_norm, rotate, swiglu};
use super::model::Block;
use super::pass::Plan;
use super::{Cache, Feed, LlamaError, Logits, Model, Output};
use crate::quant::{BLOCK, Cells, LANES, Matrix, Rows, TILE, Tile, product};

/// Parts of a matrix that each thread takes, for those that are ready earlier.
const SHARES: usize = 8;
/// From so many rows on they are normalised by all threads.
const MANY: usize = 8;

/// What is called after every block with its number and the residual stream `[rows, width]`.
pub(super) type Edit<'a> = &'a mut dyn FnMut(usize, &mut [f32]);

/// A pass of a [`Model`], and what is wanted of it.
pub struct Forward<'a> {
    model: &'a Model,
    logits: Logits<'a>,
    hidden: bool,
    residuals: bool,
    edit: Option<Edit<'a>>,
}

impl std::fmt::Debug for Forward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("logits", &self.logits).finish_non_exhaustive()
    }
}

impl Model {
    /// A pass that gives the logits of the last row of every feed; the methods of [`Forward`] ask for more.
    pub fn forward(&self) -> Forward<'_> {
        Forward { model: self, logits: Logits::Last, hidden: false, residuals: false, edit: None }
    }
}

impl<'a> Forward<'a> {
    /// Which rows want logits.
    #[must_use]
    pub fn logits(self, logits: Logits<'a>) -> Self {
        Self { logits, ..self }
    }

    /// Gives the hidden states after the final norm, too.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// Gives the residual stream before the first and after every block, too.
    #[must_use]
    pub fn residuals(self) -> Self {
        Self { residuals: true, ..self }
    }

    /// Calls `edit` after every block (also a skipped one) with its number and the residual stream, `[rows, width]`, which it may change.
    #[must_use]
    pub fn edit(self, edit: &'a mut dyn FnMut(usize, &mut [f32])) -> Self {
        Self { edit: Some(edit), ..self }
    }

    /// Reads the feeds' tokens, adds them to their branches, and gives what was asked for.
    ///
    /// # Errors
    /// When a feed is empty, has a token that is not in the vocabulary, a position beyond the context, a tree whose nodes come before their
    /// parents, lists of other lengths, or a branch of another cache. Nothing was read then, no branch has changed.
    pub fn run(mut self, cache: &mut Cache, feeds: &mut [Feed<'_>]) -> Result<Output, LlamaError> {
        let rows = feeds.iter().map(|feed| feed.tokens.len()).sum();
        if let Logits::Rows(asked) = self.logits
            && let Some(row) = asked.iter().find(|row| **row >= rows)
        {
            return Err(LlamaError::Row { row: *row, rows });
        }
        let plan = Plan::new(self.model, cache, feeds)?;
        let (config, width) = (&self.model.config, self.model.config.width);
        let mut x = vec![0.0; rows * width];
        for (token, x) in plan.tokens.iter().zip(x.chunks_exact_mut(width)) {
            self.model.embedding.read_row(*token as usize, x);
        }
        let mut output = Output { vocabulary: config.vocab, ..Output::default() };
        if self.residuals {
            output.residuals.push(x.clone());
        }
        let mut room = Room::default();
        for (i, block) in self.model.blocks.iter().enumerate() {
            if !cache.skips(i) {
                room.block(self.model, block, i, cache, &plan, &mut x);
            }
            if let Some(edit) = &mut self.edit {
                edit(i, &mut x);
            }
            if self.residuals {
                output.residuals.push(x.clone());
            }
        }
        self.finish(&plan, &x, &mut room, &mut output);
        Ok(output)
    }

    fn finish(&self, plan: &Plan, x: &[f32], room: &mut Room, output: &mut Output) {
        let wanted = plan.wanted(self.logits);
        let (config, width) = (&self.model.config, self.model.config.width);
        if self.hidden {
            output.hidden = vec![0.0; x.len()];
            for (out, x) in output.hidden.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                rms_norm(x, &self.model.norm, config.eps, out);
            }
        }
        if wanted.is_empty() {
            return;
        }
        let chosen: Vec<f32> =
            wanted.iter().flat_map(|row| &x[row * width..(row + 1) * width]).copied().collect();
        normalise(&chosen, &self.model.norm, config.eps, &mut room.narrow);
        output.logits = vec![0.0; wanted.len() * config.vocab];
        product(&self.model.head, &room.narrow, &mut output.logits);
    }
}

/// Calls `take(row, which matrix, first output, sixteen outputs)` for every panel of every matrix and row, from all threads.
fn products(matrices: &[&Matrix], x: &Rows, take: impl Fn(usize, usize, usize, &[f32; LANES]) + Sync) {
    let panels: usize = matrices.iter().map(|m| m.panels()).sum();
    let jobs = (SHARES * threads()).min(panels);
    threads::for_each(jobs, &|job| {
        let mut skip = 0;
        for (which, matrix) in matrices.iter().enumerate() {
            let from = (panels * job / jobs).saturating_sub(skip).min(matrix.panels());
            let to = (panels * (job + 1) / jobs).saturating_sub(skip).min(matrix.panels());
            for panel in from..to {
                each_row(matrix, panel, x, |row, sums| take(row, which, panel * LANES, sums));
            }
            skip += matrix.panels();
        }
    });
}

/// Calls `take(row, sixteen outputs)` for every row.
fn each_row(matrix: &Matrix, panel: usize, x: &Rows, mut take: impl FnMut(usize, &[f32; LANES])) {
    let mut tile: Tile = [[0.0; LANES]; TILE];
    let rows = x.rows();
    for first in (0..rows).step_by(TILE) {
        let count = TILE.min(rows - first);
        matrix.tile(panel, x, first, count, &mut tile);
        for (r, sums) in tile.iter().enumerate().take(count) {
            take(first + r, sums);
        }
    }
}

/// Normalised rows of `x`.
fn normalise(x: &[f32], weight: &[f32], eps: f32, out: &mut Rows) {
    let width = weight.len();
    let rows = x.len() / width;
    out.resize(rows, width);
    let writer = out.writer();
    // SAFETY: a row is written once.
    let one = |row: usize| unsafe {
        writer.row(row, |out| rms_norm(&x[row * width..(row + 1) * width], weight, eps, out));
    };
    if rows >= MANY { threads::for_each(rows, &one) } else { (0..rows).for_each(one) }
}

/// What blocks write and the next one writes again.
#[derive(Default)]
struct Room {
    /// `[rows, width]`.
    narrow: Rows,
    /// `[rows, heads * head_size]`.
    q: Vec<f32>,
    /// `[rows, kv_heads * head_size]`.
    k: Vec<f32>,
    /// `[rows, kv_heads * head_size]`.
    v: Vec<f32>,
    /// `[rows, heads * head_size]`.
    mixed: Rows,
    /// `[rows, ffn]`.
    wide: Rows,
}

impl Room {
    /// `x += attention(norm(x))`, then `x += ffn(norm(x))`.
    fn block(
        &mut self,
        model: &Model,
        block: &Block,
        index: usize,
        cache: &mut Cache,
        plan: &Plan,
        x: &mut [f32],
    ) {
        let config = &model.config;
        let rows = plan.rows.len();
        normalise(x, &block.attention_norm, config.eps, &mut self.narrow);
        self.queries_keys_values(block, cache, plan);
        let width = config.kv_heads * config.head_size;
        for (i, row) in plan.rows.iter().enumerate() {
            let at = i * width..(i + 1) * width;
            cache.store(index, row.slot, &self.k[at.clone()], &self.v[at]);
        }
        self.mixed.resize(rows, config.heads * config.head_size);
        attention(config, plan, cache.layer(index), &self.q, self.mixed.writer());
        add_product(&block.o, &self.mixed, x);
        normalise(x, &block.ffn_norm, config.eps, &mut self.narrow);
        self.feed_forward(block);
        add_product(&block.down, &self.wide, x);
    }

    fn queries_keys_values(&mut self, block: &Block, cache: &Cache, plan: &Plan) {
        let (rows, widths) = (plan.rows.len(), [&block.q, &block.k, &block.v].map(Matrix::outputs));
        for (buffer, width) in [&mut self.q, &mut self.k, &mut self.v].into_iter().zip(widths) {
            buffer.resize(rows * width, 0.0);
        }
        let cells = [&mut self.q, &mut self.k, &mut self.v].map(|buffer| Cells::new(buffer.as_mut_slice()));
        products(&[&block.q, &block.k, &block.v], &self.narrow, |row, which, first, sums| {
            let len = LANES.min(widths[which] - first);
            // SAFETY: every panel of every row comes once.
            let out = unsafe { cells[which].part(row * widths[which] + first, len) };
            out.copy_from_slice(&sums[..len]);
            if which < 2 {
                let (cos, sin) = cache.rotation(plan.rows[row].position);
                rotate(out, first, cos, sin);
            }
        });
    }

    /// `swiglu(gate, up)` of the normalised rows: a job computes the two panels of each that make a block.
    fn feed_forward(&mut self, block: &Block) {
        let ffn = block.gate.outputs();
        self.wide.resize(self.narrow.rows(), ffn);
        let (writer, x) = (self.wide.writer(), &self.narrow);
        let blocks = ffn.div_ceil(BLOCK);
        let jobs = (SHARES * threads()).min(blocks);
        threads::for_each(jobs, &|job| {
            for b in blocks * job / jobs..blocks * (job + 1) / jobs {
                gated_block(block, b, x, |row, gate, up| {
                    let len = BLOCK.min(ffn - b * BLOCK);
                    // SAFETY: a block of a row comes once.
                    unsafe {
                        writer.part(row, b * BLOCK, len, |out| swiglu(&gate[..len], &up[..len], out));
                    }
                });
            }
        });
    }
}

/// Calls `take(row, gate, up)` with block `b` of both, for every row.
fn gated_block(block: &Block, b: usize, x: &Rows, mut take: impl FnMut(usize, &[f32; BLOCK], &[f32; BLOCK])) {
    let rows = x.rows();
    let mut tile: Tile = [[0.0; LANES]; TILE];
    let mut blocks = [[[0.0_f32; BLOCK]; 2]; TILE];
    for first in (0..rows).step_by(TILE) {
        let count = TILE.min(rows - first);
        for (which, matrix) in [&block.gate, &block.up].into_iter().enumerate() {
            for half in 0..2 {
                let panel = 2 * b + half;
                if panel < matrix.panels() {
                    matrix.tile(panel, x, first, count, &mut tile);
                    for (sums, block) in tile.iter().zip(&mut blocks).take(count) {
                        block[which][half * LANES..(half + 1) * LANES].copy_from_slice(sums);
                    }
                }
            }
        }
        for (r, [gate, up]) in blocks.iter().enumerate().take(count) {
            take(first + r, gate, up);
        }
    }
}

/// `x += y W'`.
fn add_product(matrix: &Matrix, y: &Rows, x: &mut [f32]) {
    let (outputs, cells) = (matrix.outputs(), Cells::new(x));
    products(&[matrix], y, |row, _, first, sums| {
        let len = LANES.min(outputs - first);
        // SAFETY: every panel of every row comes once.
        add(unsafe { cells.part(row * outputs + first, len) }, &sums[..len]);
    });
}

//! Keys and values of what was read, and the branches that share them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Config, LlamaError, Model};

/// Keys and values of positions that were read, in slots that branches share.
#[derive(Debug)]
pub struct Cache {
    /// Blocks that have none because they are skipped.
    skipped: Vec<bool>,
    layers: Vec<Layer>,
    /// Numbers of a slot: `kv_heads * head_size`.
    width: usize,
    slots: Arc<Mutex<Slots>>,
    /// Cosines, then sines, of each position's turns: `[positions, 2, head_size / 2]`.
    rotations: Vec<f32>,
    config: Config,
}

/// Keys and values of a block, in pieces of [`Cache::CHUNK`] slots of `[kv_heads, head_size]`.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) keys: Vec<Box<[f32]>>,
    pub(super) values: Vec<Box<[f32]>>,
}

/// Which slots are in use.
#[derive(Debug, Default)]
struct Slots {
    /// Branches that have each slot.
    holders: Vec<u32>,
    free: Vec<u32>,
}

impl Slots {
    fn hold(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.holders[*slot as usize] += 1);
    }

    /// Freed slots are taken again in the order of a branch: neighbours stay neighbours.
    fn release(&mut self, slots: &[u32]) {
        for slot in slots.iter().rev() {
            let holders = &mut self.holders[*slot as usize];
            *holders -= 1;
            if *holders == 0 {
                self.free.push(*slot);
            }
        }
    }

    fn take(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.holders[slot as usize] = 1;
            return slot;
        }
        self.holders.push(1);
        (self.holders.len() - 1) as u32
    }
}

/// One text's positions in a [`Cache`]. A clone shares them; cutting or dropping one leaves the others as they are.
#[derive(Debug)]
pub struct Branch {
    slots: Arc<Mutex<Slots>>,
    rows: Vec<Row>,
}

/// One position of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) slot: u32,
    pub(super) position: u32,
}

fn lock(slots: &Mutex<Slots>) -> MutexGuard<'_, Slots> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Slots of one piece of memory.
    pub(super) const CHUNK: usize = 128;

    /// An empty cache for a model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        Self::with_skipped(model, vec![false; model.config.blocks])
    }

    /// An empty cache for a model some of whose blocks are left out: the residual stream passes them by, nothing of them is computed or kept.
    ///
    /// # Errors
    /// When the model has no such block.
    pub fn skipping(model: &Model, blocks: &[usize]) -> Result<Self, LlamaError> {
        let mut skipped = vec![false; model.config.blocks];
        for block in blocks {
            let last = model.config.blocks.saturating_sub(1);
            *skipped.get_mut(*block).ok_or(LlamaError::Block { block: *block, last })? = true;
        }
        Ok(Self::with_skipped(model, skipped))
    }

    fn with_skipped(model: &Model, skipped: Vec<bool>) -> Self {
        let config = model.config.clone();
        Self {
            layers: skipped.iter().map(|_| Layer::default()).collect(),
            skipped,
            width: config.kv_heads * config.head_size,
            slots: Arc::default(),
            rotations: Vec::new(),
            config,
        }
    }

    /// An empty text.
    #[must_use]
    pub fn branch(&self) -> Branch {
        Branch { slots: Arc::clone(&self.slots), rows: Vec::new() }
    }

    /// Positions that some branch holds.
    #[must_use]
    pub fn held(&self) -> usize {
        let slots = lock(&self.slots);
        slots.holders.len() - slots.free.len()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub fn size(&self) -> usize {
        let bytes = |pieces: &[Box<[f32]>]| pieces.iter().map(|p| p.len() * 4).sum::<usize>();
        self.layers.iter().map(|l| bytes(&l.keys) + bytes(&l.values)).sum()
    }

    /// Whether a block is left out.
    #[must_use]
    pub fn skips(&self, block: usize) -> bool {
        self.skipped.get(block).copied().unwrap_or(false)
    }

    pub(super) fn fits(&self, model: &Model) -> bool {
        self.config == model.config
    }

    pub(super) fn owns(&self, branch: &Branch) -> bool {
        Arc::ptr_eq(&self.slots, &branch.slots)
    }

    /// Gives a branch slots for new rows at these positions.
    pub(super) fn extend(&mut self, branch: &mut Branch, positions: &[u32]) {
        let mut slots = lock(&self.slots);
        branch.rows.extend(positions.iter().map(|position| Row { slot: slots.take(), position: *position }));
        let pieces = slots.holders.len().div_ceil(Self::CHUNK);
        drop(slots);
        for (layer, _) in self.layers.iter_mut().zip(&self.skipped).filter(|(_, skipped)| !**skipped) {
            layer.keys.resize_with(pieces, || vec![0.0; Self::CHUNK * self.width].into());
            layer.values.resize_with(pieces, || vec![0.0; Self::CHUNK * self.width].into());
        }
    }

    /// Stores a row's keys and values.
    pub(super) fn store(&mut self, block: usize, slot: u32, key: &[f32], value: &[f32]) {
        let (piece, at) = (slot as usize / Self::CHUNK, slot as usize % Self::CHUNK * self.width);
        let layer = &mut self.layers[block];
        layer.keys[piece][at..at + self.width].copy_from_slice(key);
        layer.values[piece][at..at + self.width].copy_from_slice(value);
    }

    pub(super) fn layer(&self, block: usize) -> &Layer {
        &self.layers[block]
    }

    /// Computes the turns of positions up to this one.
    pub(super) fn rotate_to(&mut self, frequencies: &[f64], position: u32) {
        let one = 2 * frequencies.len();
        for position in self.rotations.len() / one.max(1)..=position as usize {
            let angles = frequencies.iter().map(|f| position as f64 * f);
            self.rotations.extend(angles.clone().map(|a| libm::cos(a) as f32));
            self.rotations.extend(angles.map(|a| libm::sin(a) as f32));
        }
    }

    /// Cosines and sines of a position's turns, `[head_size / 2]` each.
    pub(super) fn rotation(&self, position: u32) -> (&[f32], &[f32]) {
        let half = self.config.head_size / 2;
        self.rotations[position as usize * 2 * half..(position as usize + 1) * 2 * half].split_at(half)
    }
}

impl Branch {
    /// Positions that were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The position that the next token of a chain has.
    #[must_use]
    pub fn next_position(&self) -> u32 {
        self.rows.last().map_or(0, |row| row.position + 1)
    }

    /// Forgets all but the first `len` rows.
    pub fn truncate(&mut self, len: usize) {
        if len < self.rows.len() {
            let gone: Vec<u32> = self.rows.drain(len..).map(|row| row.slot).collect();
            lock(&self.slots).release(&gone);
        }
    }

    /// Keeps the first `len` rows, and of the later ones only those with these places (0 is row `len`), in this order: the path of a tree
    /// that was accepted. Places that are not there are passed over.
    pub fn keep(&mut self, len: usize, path: &[usize]) {
        let len = len.min(self.rows.len());
        let later: Vec<Row> = self.rows.drain(len..).collect();
        let kept: Vec<Row> = path.iter().filter_map(|place| later.get(*place).copied()).collect();
        let slots = |rows: &[Row]| rows.iter().map(|row| row.slot).collect::<Vec<u32>>();
        let mut pool = lock(&self.slots);
        pool.hold(&slots(&kept));
        pool.release(&slots(&later));
        drop(pool);
        self.rows.extend(kept);
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl Clone for Branch {
    fn clone(&self) -> Self {
        let slots: Vec<u32> = self.rows.iter().map(|row| row.slot).collect();
        lock(&self.slots).hold(&slots);
        Self { slots: Arc::clone(&self.slots), rows: self.rows.clone() }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.truncate(0);
    }
}

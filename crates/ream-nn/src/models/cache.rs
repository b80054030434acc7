//! Keys and values of tokens that were read before.

use crate::error::{Result, shape};
use crate::layers::TransformerConfig;

/// Keys and values of every layer, for decoding without reading the past again. All samples of a batch hold equally many tokens.
#[derive(Debug)]
pub struct KvCache {
    batch: usize,
    len: usize,
    capacity: usize,
    /// Numbers of a row of keys, and of one of values.
    width: usize,
    layers: Vec<LayerCache>,
}

/// Keys and values of one layer, `[batch, capacity, width]` each.
#[derive(Debug)]
struct LayerCache {
    k: Vec<f32>,
    v: Vec<f32>,
}

impl KvCache {
    /// Empty, with room for `capacity` tokens in each of `batch` samples; it grows when they are more.
    #[must_use]
    pub fn new(config: &TransformerConfig, batch: usize, capacity: usize) -> Self {
        let width = config.attention().kv_heads * config.head_dim();
        let empty = || vec![0.0; batch * capacity * width];
        let layers = (0..config.layers).map(|_| LayerCache { k: empty(), v: empty() }).collect();
        Self { batch, len: 0, capacity, width, layers }
    }

    /// Tokens of a sample.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Samples.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes that the tokens held take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        2 * 4 * self.layers.len() * self.batch * self.len * self.width
    }

    /// Forgets all tokens but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy that goes its own way.
    #[must_use]
    pub fn branch(&self) -> Self {
        let samples: Vec<usize> = (0..self.batch).collect();
        self.copy_of(&samples)
    }

    /// A cache of these samples, in this order; one may come several times (beams).
    ///
    /// # Errors
    /// When there is no such sample.
    pub fn select_samples(&self, samples: &[usize]) -> Result<Self> {
        match samples.iter().find(|s| **s >= self.batch) {
            Some(bad) => shape("KvCache::select_samples", format!("sample {bad} of {}", self.batch)),
            None => Ok(self.copy_of(samples)),
        }
    }

    fn copy_of(&self, samples: &[usize]) -> Self {
        let (filled, room) = (self.len * self.width, self.capacity * self.width);
        let copy = |from: &[f32]| {
            let mut to = vec![0.0; samples.len() * room];
            for (to, s) in to.chunks_exact_mut(room.max(1)).zip(samples) {
                to[..filled].copy_from_slice(&from[s * room..s * room + filled]);
            }
            to
        };
        let layers =
            self.layers.iter().map(|layer| LayerCache { k: copy(&layer.k), v: copy(&layer.v) }).collect();
        Self { batch: samples.len(), layers, ..*self }
    }

    /// Keeps the first `prefix` tokens and after them these ones, in this order: the accepted path of a tree of guesses.
    ///
    /// # Errors
    /// When there is no such token, or one after the prefix does not come later than where it goes (paths run forward).
    pub fn gather(&mut self, prefix: usize, tokens: &[usize]) -> Result<()> {
        let problem = |what: String| shape("KvCache::gather", what);
        if prefix > self.len {
            return problem(format!("a prefix of {prefix} of {} tokens", self.len));
        }
        for (i, &token) in tokens.iter().enumerate() {
            if token >= self.len {
                return problem(format!("token {token} of {}", self.len));
            }
            if token < prefix + i {
                return problem(format!(
                    "token {token} cannot go to place {}: paths run forward",
                    prefix + i
                ));
            }
        }
        let (width, room) = (self.width, self.capacity * self.width);
        for layer in &mut self.layers {
            for array in [&mut layer.k, &mut layer.v] {
                for sample in array.chunks_exact_mut(room.max(1)) {
                    for (i, token) in tokens.iter().enumerate() {
                        sample.copy_within(token * width..(token + 1) * width, (prefix + i) * width);
                    }
                }
            }
        }
        self.len = prefix + tokens.len();
        Ok(())
    }

    /// Makes room for `more` tokens.
    pub(crate) fn reserve(&mut self, more: usize) {
        let wanted = self.len + more;
        if wanted <= self.capacity {
            return;
        }
        let capacity = wanted.max(2 * self.capacity);
        let (old, new, filled) = (self.capacity * self.width, capacity * self.width, self.len * self.width);
        for layer in &mut self.layers {
            for array in [&mut layer.k, &mut layer.v] {
                let mut larger = vec![0.0; self.batch * new];
                for s in 0..self.batch {
                    larger[s * new..s * new + filled].copy_from_slice(&array[s * old..s * old + filled]);
                }
                *array = larger;
            }
        }
        self.capacity = capacity;
    }

    /// Writes keys and values of `tokens` tokens a sample behind the present ones: the last columns of `qkv` (`columns` wide).
    /// Room was made before; the length grows only with [`KvCache::advance`], after all layers.
    pub(crate) fn write(&mut self, layer: usize, qkv: &[f32], columns: usize, tokens: usize) {
        let (width, len, capacity) = (self.width, self.len, self.capacity);
        let Some(layer) = self.layers.get_mut(layer) else { return };
        for (row, qkv) in qkv.chunks_exact(columns.max(1)).enumerate() {
            let to = (row / tokens * capacity + len + row % tokens) * width;
            let (k, v) = qkv[columns - 2 * width..].split_at(width);
            layer.k[to..to + width].copy_from_slice(k);
            layer.v[to..to + width].copy_from_slice(v);
        }
    }

    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Keys and values of a layer, with `more` tokens that were written and not yet counted.
    pub(crate) fn layer(&self, layer: usize, more: usize) -> crate::ops::Cached<'_> {
        let (k, v) = self.layers.get(layer).map_or((&[][..], &[][..]), |layer| (&layer.k, &layer.v));
        crate::ops::Cached { k, v, capacity: self.capacity, keys: self.len + more }
    }

    /// Whether it was made for this configuration and these samples.
    pub(crate) fn check(&self, config: &TransformerConfig, batch: usize) -> Result<()> {
        let width = config.attention().kv_heads * config.head_dim();
        if (self.layers.len(), self.width, self.batch) == (config.layers, width, batch) {
            return Ok(());
        }
        shape(
            "KvCache",
            format!(
                "a cache of {} layers, {} numbers a row, {} samples for {} layers, {width} numbers, {batch} samples",
                self.layers.len(),
                self.width,
                self.batch,
                config.layers
            ),
        )
    }
}

#[cfg(test)]
mod tests;

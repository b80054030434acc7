//! Sentence vectors in memory, and the exact scan over them.
//!
//! A vector of `d` numbers is kept as `d` signed bytes and a scale (`x = scale * byte`), so the cosine of two unit vectors is off by about
//! 0.001 at 384 dimensions. Rows live in chunks behind reference counts: a search works on the rows as they were when it began, and
//! a new row copies one chunk at most.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::dot::{Kernel, MAX_DIMENSIONS};

/// Rows of a chunk.
const CHUNK: usize = 4096;
/// Rows that one call of a kernel multiplies: their bytes stay in the first-level cache while they are ranked.
const BLOCK: usize = 64;
/// From so many rows on, the scan is shared among the cores.
const PARALLEL: usize = 32_768;

/// A vector of signed bytes: `x[i]` is about `scale * bytes[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    /// The bytes, `[d]`.
    pub bytes: Vec<i8>,
    /// The value of one step.
    pub scale: f32,
}

impl Quantised {
    /// Rounds a vector; its largest number becomes 127. Numbers that are not finite count as 0.
    #[must_use]
    pub fn new(vector: &[f32]) -> Self {
        let finite = |x: &f32| if x.is_finite() { *x } else { 0.0 };
        let largest = vector.iter().map(|x| finite(x).abs()).fold(0.0, f32::max);
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let bytes = vector.iter().map(|x| (finite(x) / scale).round().clamp(-127.0, 127.0) as i8).collect();
        Self { bytes, scale }
    }
}

/// A row near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    pub(crate) key: u64,
    /// Cosine, for unit vectors.
    pub(crate) cosine: f32,
}

impl Near {
    /// Nearest first; equals by key.
    fn order(&self, other: &Self) -> Ordering {
        other.cosine.total_cmp(&self.cosine).then(self.key.cmp(&other.key))
    }
}

/// For a heap whose top is the farthest.
struct Farthest(Near);

impl Ord for Farthest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl PartialOrd for Farthest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Farthest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Farthest {}

#[derive(Clone, Debug, Default)]
struct Chunk {
    keys: Vec<u64>,
    scales: Vec<f32>,
    bytes: Vec<i8>,
}

/// The vectors of a collection. Cloning shares the rows.
#[derive(Clone, Debug)]
pub struct Vectors {
    dimensions: usize,
    chunks: Vec<Arc<Chunk>>,
    rows: Arc<HashMap<u64, u32>>,
}

impl Vectors {
    /// No vectors yet, of so many dimensions (at most 32,768).
    #[must_use]
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions: dimensions.min(MAX_DIMENSIONS), chunks: Vec::new(), rows: Arc::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds vectors, or replaces those that are there. Vectors of another length are left out; returns how many went in.
    pub(crate) fn put(&mut self, vectors: impl IntoIterator<Item = (u64, Quantised)>) -> usize {
        let d = self.dimensions;
        let rows = Arc::make_mut(&mut self.rows);
        let mut added = 0;
        for (key, vector) in vectors.into_iter().filter(|(_, vector)| vector.bytes.len() == d) {
            added += 1;
            if let Some(&row) = rows.get(&key) {
                let (chunk, row) = (row as usize / CHUNK, row as usize % CHUNK);
                let chunk = Arc::make_mut(&mut self.chunks[chunk]);
                chunk.scales[row] = vector.scale;
                chunk.bytes[row * d..][..d].copy_from_slice(&vector.bytes);
                continue;
            }
            if self.chunks.last().is_none_or(|chunk| chunk.keys.len() == CHUNK) {
                self.chunks.push(Arc::default());
            }
            let before = (self.chunks.len() - 1) * CHUNK;
            if let Some(chunk) = self.chunks.last_mut() {
                let chunk = Arc::make_mut(chunk);
                rows.insert(key, (before + chunk.keys.len()) as u32);
                chunk.keys.push(key);
                chunk.scales.push(vector.scale);
                chunk.bytes.extend_from_slice(&vector.bytes);
            }
        }
        added
    }

    /// A paper has a new handle.
    pub(crate) fn rename(&mut self, old: u64, new: u64) {
        let rows = Arc::make_mut(&mut self.rows);
        if let Some(row) = rows.remove(&old) {
            rows.insert(new, row);
            let chunk = Arc::make_mut(&mut self.chunks[row as usize / CHUNK]);
            chunk.keys[row as usize % CHUNK] = new;
        }
    }

    /// The vector of a paper.
    pub(crate) fn get(&self, key: u64) -> Option<Quantised> {
        let row = *self.rows.get(&key)? as usize;
        let chunk = self.chunks.get(row / CHUNK)?;
        let row = row % CHUNK;
        let bytes = chunk.bytes.get(row * self.dimensions..(row + 1) * self.dimensions)?.to_vec();
        Some(Quantised { bytes, scale: *chunk.scales.get(row)? })
    }

    /// The cosine of a paper with a query.
    pub(crate) fn cosine(&self, key: u64, query: &Quantised) -> Option<f32> {
        let row = self.get(key)?;
        let mut product = [0];
        if row.bytes.len() != query.bytes.len() {
            return None;
        }
        Kernel::best().rows(&query.bytes, &row.bytes, &mut product);
        Some(product[0] as f32 * row.scale * query.scale)
    }

    /// The `limit` nearest rows, nearest first; among `allowed` where given. The result does not depend on the number of threads.
    pub(crate) fn nearest(&self, query: &Quantised, limit: usize, allowed: Option<&[u64]>) -> Vec<Near> {
        self.nearest_with(query, limit, allowed, Kernel::best(), threads(self.len()))
    }

    fn nearest_with(
        &self,
        query: &Quantised,
        limit: usize,
        allowed: Option<&[u64]>,
        kernel: Kernel,
        threads: usize,
    ) -> Vec<Near> {
        if query.bytes.len() != self.dimensions || limit == 0 || self.chunks.is_empty() {
            return Vec::new();
        }
        let mask = allowed.map(|keys| {
            let mut mask = vec![false; self.chunks.len() * CHUNK];
            keys.iter().filter_map(|key| self.rows.get(key)).for_each(|row| mask[*row as usize] = true);
            mask
        });
        let mask = mask.as_deref();
        let share = self.chunks.len().div_ceil(threads.max(1));
        let parts: Vec<Vec<Near>> = std::thread::scope(|scope| {
            let scan = |part: usize, chunks: &[Arc<Chunk>]| {
                let mut best = BinaryHeap::with_capacity(limit.min(self.len()) + 1);
                for (i, chunk) in chunks.iter().enumerate() {
                    let first = (part * share + i) * CHUNK;
                    let mask = mask.map(|mask| &mask[first..first + chunk.keys.len()]);
                    scan_chunk(chunk, query, kernel, limit, mask, &mut best);
                }
                best.into_iter().map(|Farthest(near)| near).collect::<Vec<Near>>()
            };
            let mut parts = self.chunks.chunks(share).enumerate();
            let own = parts.next();
            let helpers: Vec<_> =
                parts.map(|(part, chunks)| scope.spawn(move || scan(part, chunks))).collect();
            let mut found: Vec<_> = own.map(|(part, chunks)| scan(part, chunks)).into_iter().collect();
            for helper in helpers {
                match helper.join() {
                    Ok(part) => found.push(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        });
        let mut all = parts.concat();
        all.sort_by(Near::order);
        all.truncate(limit);
        all
    }
}

fn threads(rows: usize) -> usize {
    if rows < PARALLEL {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}

fn scan_chunk(
    chunk: &Chunk,
    query: &Quantised,
    kernel: Kernel,
    limit: usize,
    mask: Option<&[bool]>,
    best: &mut BinaryHeap<Farthest>,
) {
    let d = query.bytes.len();
    let mut products = [0_i32; BLOCK];
    for first in (0..chunk.keys.len()).step_by(BLOCK) {
        let rows = BLOCK.min(chunk.keys.len() - first);
        if mask.is_some_and(|mask| !mask[first..first + rows].contains(&true)) {
            continue;
        }
        kernel.rows(&query.bytes, &chunk.bytes[first * d..(first + rows) * d], &mut products[..rows]);
        for (i, product) in products[..rows].iter().enumerate() {
            let row = first + i;
            let cosine = *product as f32 * chunk.scales[row] * query.scale;
            let near = Near { key: chunk.keys[row], cosine };
            let full = best.len() >= limit;
            if full && best.peek().is_some_and(|Farthest(worst)| near.order(worst) == Ordering::Greater)
                || mask.is_some_and(|mask| !mask[row])
            {
                continue;
            }
            best.push(Farthest(near));
            if best.len() > limit {
                best.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(seed: u64, d: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let raw: Vec<f32> = (0..d)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / norm).collect()
    }

    #[test]
    fn quantised_cosines_are_close() {
        for seed in 0..50 {
            let (a, b) = (vector(seed, 384), vector(seed + 100, 384));
            let exact: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let mut all = Vectors::new(384);
            all.put([(1, Quantised::new(&a))]);
            let got = all.cosine(1, &Quantised::new(&b)).unwrap();
            assert!((got - exact).abs() < 0.003, "{got} {exact}");
        }
        assert_eq!(Quantised::new(&[0.0, f32::NAN]).bytes, [0, 0]);
    }

    #[test]
    fn a_renamed_row_is_found_under_its_new_key_alone() {
        let mut all = Vectors::new(8);
        all.put((0..3_u64).map(|i| (i, Quantised::new(&vector(i, 8)))));
        let (query, row) = (Quantised::new(&vector(1, 8)), all.get(1));
        all.rename(1, 9);
        assert_eq!((all.get(9), all.get(1)), (row, None));
        let keys: Vec<u64> = all.nearest(&query, 3, None).iter().map(|near| near.key).collect();
        assert!(keys[0] == 9 && !keys.contains(&1));
    }

    #[test]
    fn a_replaced_row_is_there_once_and_older_clones_keep_theirs() {
        let mut all = Vectors::new(8);
        all.put((0..10_u64).map(|i| (i, Quantised::new(&vector(i, 8)))));
        let old = all.clone();
        let new = Quantised::new(&vector(77, 8));
        assert_eq!(all.put([(3, new.clone()), (4, Quantised::new(&[1.0; 9]))]), 1);
        assert_eq!(all.len(), 10);
        assert_eq!(all.get(3), Some(new));
        assert_ne!(old.get(3), all.get(3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_scan_is_exact(rows in 0_usize..9000, limit in 0_usize..40, threads in 1_usize..4, masked: bool) {
            let d = 16;
            let mut all = Vectors::new(d);
            // Every third repeats an earlier one: ties are broken by key.
            all.put((0..rows as u64).map(|i| (i.wrapping_mul(0x9e37_79b9), Quantised::new(&vector(i / 3, d)))));
            let query = Quantised::new(&vector(999, d));
            let allowed: Vec<u64> = (0..rows as u64).step_by(7).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
            let mut want: Vec<Near> = (0..rows as u64)
                .map(|i| i.wrapping_mul(0x9e37_79b9))
                .filter(|key| !masked || allowed.contains(key))
                .map(|key| Near { key, cosine: all.cosine(key, &query).unwrap() })
                .collect();
            want.sort_by(Near::order);
            want.truncate(limit);
            for kernel in Kernel::all() {
                let got = all.nearest_with(&query, limit, masked.then_some(&allowed), kernel, threads);
                prop_assert_eq!(&got, &want, "{:?}", kernel);
            }
        }
    }
}

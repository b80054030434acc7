//! Memory of tensors, kept for the next tensor of about the same size.
//!
//! A training step allocates the same few hundred arrays again and again. Memory fresh from the system costs a page fault for every
//! 4 KiB, more than many kernels take on it; so arrays go back to a shelf instead, where the next step finds them warm.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use crate::memory;

/// Arrays below this many numbers come from the allocator.
const SMALL: usize = 1024;
/// Numbers that the shelf may always keep: 64 MiB. Beyond that it keeps at most as much as was ever in use at once.
const ALWAYS: usize = 1 << 24;

/// Arrays of one capacity.
#[derive(Default)]
struct Place {
    arrays: Vec<Vec<f32>>,
    /// When one was last asked for or brought back.
    used: u64,
}

#[derive(Default)]
struct Shelf {
    by_capacity: BTreeMap<usize, Place>,
    held: usize,
    now: u64,
}

impl Shelf {
    fn take(&mut self, capacity: usize) -> Option<Vec<f32>> {
        self.now += 1;
        let place = self.by_capacity.get_mut(&capacity)?;
        place.used = self.now;
        let found = place.arrays.pop()?;
        self.held -= capacity;
        Some(found)
    }

    fn put(&mut self, capacity: usize, array: Vec<f32>) {
        self.now += 1;
        let place = self.by_capacity.entry(capacity).or_default();
        place.used = self.now;
        place.arrays.push(array);
        self.held += capacity;
        let limit = memory::most().max(ALWAYS);
        while self.held > limit && self.drop_oldest() {}
    }

    /// Gives back an array of the size that was not asked for the longest.
    fn drop_oldest(&mut self) -> bool {
        let filled = self.by_capacity.iter_mut().filter(|(_, place)| !place.arrays.is_empty());
        let Some((capacity, place)) = filled.min_by_key(|(_, place)| place.used) else { return false };
        place.arrays.pop();
        self.held -= capacity;
        true
    }
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { by_capacity: BTreeMap::new(), held: 0, now: 0 });

/// An array of numbers that returns to the shelf when it is dropped.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// An array whose contents are whatever was there before: for kernels that write every element.
    #[must_use]
    pub fn scratch(len: usize) -> Self {
        memory::took(len);
        if len < SMALL {
            return Self(vec![0.0; len]);
        }
        let capacity = class(len);
        if let Ok(mut shelf) = SHELF.lock()
            && let Some(mut found) = shelf.take(capacity)
        {
            found.truncate(len);
            found.resize(len, 0.0);
            return Self(found);
        }
        let mut fresh = vec![0.0; capacity];
        fresh.truncate(len);
        Self(fresh)
    }

    /// Zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::scratch(len);
        buffer.fill(0.0);
        buffer
    }

    /// A copy of a slice.
    #[must_use]
    pub fn copy_of(slice: &[f32]) -> Self {
        let mut buffer = Self::scratch(slice.len());
        buffer.copy_from_slice(slice);
        buffer
    }
}

/// Capacities grow in eighths of a power of two, so at most an eighth is wasted.
fn class(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(1);
    len.next_multiple_of(step)
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Self {
        memory::took(values.len());
        Self(values)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::copy_of(self)
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        memory::gave(self.0.len());
        let capacity = self.0.capacity();
        if capacity < SMALL || class(capacity) != capacity {
            return;
        }
        let mut array = std::mem::take(&mut self.0);
        if let Ok(mut shelf) = SHELF.lock() {
            // Already initialised once (`scratch` made it whole), so this writes at most what `truncate` cut off.
            if array.len() < capacity {
                array.resize(capacity, 0.0);
            }
            shelf.put(capacity, array);
        }
    }
}

/// Gives the shelf's memory back to the system.
pub fn release_memory() {
    if let Ok(mut shelf) = SHELF.lock() {
        *shelf = Shelf::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shelf_gives_back_what_was_not_asked_for_the_longest() {
        let mut shelf = Shelf::default();
        let limit = memory::most().max(ALWAYS);
        let half = class(limit / 2 + 1);
        shelf.put(1024, vec![0.0; 1024]);
        shelf.put(half, Vec::new());
        assert!(shelf.take(1024).is_some());
        shelf.put(1024, vec![0.0; 1024]);
        shelf.put(half + 1, Vec::new());
        assert!(shelf.held <= memory::most().max(ALWAYS));
        assert!(shelf.take(half).is_none() && shelf.take(1024).is_some() && shelf.take(half + 1).is_some());
        assert_eq!(shelf.held, 0);
    }

    #[test]
    fn classes_waste_an_eighth_at_most_and_are_their_own_class() {
        for len in (1024..2_000_000).step_by(777) {
            let c = class(len);
            assert!(c >= len && c as f64 <= len as f64 * 1.1251, "{len} {c}");
            assert_eq!(class(c), c);
        }
    }

    #[test]
    fn arrays_come_back_with_the_right_length() {
        for len in [10, 1024, 5000, 5001, 4999, 70_000] {
            let mut a = Buffer::scratch(len);
            a.fill(1.0);
            assert_eq!(a.len(), len);
            drop(a);
            assert_eq!(Buffer::scratch(len).len(), len);
            assert!(Buffer::zeros(len).iter().all(|x| *x == 0.0));
        }
    }
}

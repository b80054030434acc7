//! A slice that several jobs of a parallel loop write, each its own part.

use std::marker::PhantomData;

/// A mutable slice, shared by jobs that promise to touch disjoint parts.
#[derive(Debug)]
pub struct Cells<'a, T> {
    pointer: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Cells<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Cells<'_, T> {}

// SAFETY: the parts that jobs take are disjoint, as the callers of `part` promise.
unsafe impl<T: Send> Send for Cells<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Cells<'_, T> {}

impl<'a, T> Cells<'a, T> {
    /// Over the whole slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The part `start..start + len`, clipped to the slice.
    ///
    /// # Safety
    /// No other part that overlaps may be alive.
    #[must_use]
    pub unsafe fn part(self, start: usize, len: usize) -> &'a mut [T] {
        let start = start.min(self.len);
        // SAFETY: within the slice, which the lifetime keeps borrowed; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), len.min(self.len - start)) }
    }
}

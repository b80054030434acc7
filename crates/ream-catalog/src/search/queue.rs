//! Documents on their way to the indexing thread, bounded in number.
//!
//! The writer's own queue takes 10,000 documents, some 40 MB of abstracts, and it is full whenever the store is read faster than the index is
//! written.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tantivy::TantivyDocument;
use tantivy::schema::Document;

/// Documents that may wait.
const PLACES: usize = 500;

/// How many more may wait.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<(Mutex<usize>, Condvar)>);

/// A place in the queue, free again when this is dropped.
#[derive(Debug)]
struct Place(Queue);

/// A document that waits. The writer drops it when it is indexed, and all that wait when it fails, so none waits for ever.
#[derive(Debug)]
pub(super) struct Waiting {
    document: TantivyDocument,
    _place: Place,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(PLACES), Condvar::new())))
    }

    /// Puts a document into the queue, as soon as there is a place.
    pub(super) fn wait(&self, document: TantivyDocument) -> Waiting {
        let (free, changed) = &*self.0;
        let free = free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Waiting { document, _place: Place(self.clone()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (free, changed) = &*self.0.0;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        changed.notify_one();
    }
}

impl Document for Waiting {
    type Value<'a> = <TantivyDocument as Document>::Value<'a>;
    type FieldsValuesIter<'a> = <TantivyDocument as Document>::FieldsValuesIter<'a>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        self.document.iter_fields_and_values()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_queue_waits_until_a_document_is_dropped() {
        let queue = Queue::new();
        let mut waiting: Vec<Waiting> = (0..PLACES).map(|_| queue.wait(TantivyDocument::default())).collect();
        let (tell, told) = channel();
        let other = queue.clone();
        let thread = thread::spawn(move || {
            drop(other.wait(TantivyDocument::default()));
            tell.send(()).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
        waiting.pop();
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        thread.join().unwrap();
    }
}

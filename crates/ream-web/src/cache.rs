//! Pages kept for a moment. Under load most readers ask for the same few lists; a list that is at most a second old
//! costs them nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderValue;

use crate::guard::tag;

/// How long a page is fresh.
const FRESH: Duration = Duration::from_secs(1);
/// Most pages kept, and the longest address that is.
const MOST: usize = 256;
const LONGEST: usize = 512;
/// Largest page kept, bytes.
const LARGEST: usize = 512 * 1024;

/// A few pages by their address.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashMap<String, Kept>>);

/// A page and its validator, which is computed once.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) html: Bytes,
    pub(crate) tag: Option<HeaderValue>,
}

impl Page {
    pub(crate) fn new(html: Bytes) -> Self {
        let tag = HeaderValue::from_str(&tag(&html)).ok();
        Self { html, tag }
    }
}

struct Kept {
    since: Instant,
    page: Page,
}

impl Pages {
    /// The page of an address, if it is fresh. Of the readers that meet one that no longer is, the first is sent to make
    /// it again and the others take it as it is.
    pub(crate) fn get(&self, address: &str) -> Option<Page> {
        self.get_at(address, Instant::now())
    }

    fn get_at(&self, address: &str, now: Instant) -> Option<Page> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pages.get_mut(address)?;
        let age = now.saturating_duration_since(kept.since);
        if age > 2 * FRESH {
            pages.remove(address);
            return None;
        }
        if age > FRESH {
            kept.since = now;
            return None;
        }
        Some(kept.page.clone())
    }

    pub(crate) fn put(&self, address: &str, page: Page) {
        if address.len() > LONGEST || page.html.len() > LARGEST {
            return;
        }
        let now = Instant::now();
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MOST {
            pages.retain(|_, kept| now.saturating_duration_since(kept.since) <= FRESH);
        }
        if pages.len() < MOST {
            pages.insert(address.to_owned(), Kept { since: now, page });
        }
    }

    /// Forgets everything: the catalogue has changed.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reader_makes_an_old_page_again() {
        let pages = Pages::default();
        pages.put("/", Page::new(Bytes::from_static(b"a")));
        let now = Instant::now();
        assert!(pages.get_at("/", now).is_some());
        let later = now + Duration::from_millis(1500);
        assert!(pages.get_at("/", later).is_none(), "the first makes it again");
        assert!(pages.get_at("/", later).is_some(), "the second does not wait");
        assert!(pages.get_at("/", later + Duration::from_secs(5)).is_none(), "nobody came for long");
        assert!(pages.get_at("/?sort=hot", now).is_none());
        pages.clear();
        assert!(pages.get_at("/", later).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let pages = Pages::default();
        for i in 0..3 * MOST {
            pages.put(&format!("/?after={i}"), Page::new(Bytes::from_static(b"a")));
        }
        assert!(pages.0.lock().unwrap().len() <= MOST);
        pages.put(&"x".repeat(LONGEST + 1), Page::new(Bytes::new()));
        assert!(pages.get(&"x".repeat(LONGEST + 1)).is_none());
    }
}

//! Pages kept for a moment. Under load most readers ask for the same few lists; a list that is at most a second old
//! costs them nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderValue;

use crate::guard::tag;

/// How long a page is fresh.
const FRESH: Duration = Duration::from_secs(1);
/// Most pages kept, and the longest address that is.
const MOST: usize = 256;
const LONGEST: usize = 512;
/// Lists of similar papers that are kept, about a kilobyte each.
const MOST_LISTS: usize = 4_096;
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

/// A paper like another one, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alike {
    pub(crate) handle: String,
    pub(crate) title: String,
    pub(crate) score: f32,
    pub(crate) why: String,
}

/// Lists of similar papers, by paper and length. Looking for them is most of what a paper's page costs; they are kept
/// until the collection changes.
#[derive(Default)]
pub(crate) struct SimilarLists(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// How often the collection has changed.
    age: u64,
    kept: HashMap<(String, usize), Arc<[Alike]>>,
}

impl SimilarLists {
    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list, if it is kept; else the age that a list has which is made now.
    pub(crate) fn get(&self, handle: &str, most: usize) -> Result<Arc<[Alike]>, u64> {
        let lists = self.lock();
        lists.kept.get(&(handle.to_owned(), most)).cloned().ok_or(lists.age)
    }

    /// Keeps a list, unless the collection has changed since it was begun.
    pub(crate) fn put(&self, handle: &str, most: usize, age: u64, list: &Arc<[Alike]>) {
        let mut lists = self.lock();
        if lists.age != age {
            return;
        }
        if lists.kept.len() >= MOST_LISTS {
            lists.kept.clear();
        }
        lists.kept.insert((handle.to_owned(), most), Arc::clone(list));
    }

    /// Forgets everything: the collection has changed.
    pub(crate) fn clear(&self) {
        let mut lists = self.lock();
        lists.age += 1;
        lists.kept.clear();
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
    fn a_list_of_before_a_change_is_not_kept() {
        let lists = SimilarLists::default();
        let alike = Alike { handle: "b".into(), title: "B".into(), score: 1.0, why: "Both.".into() };
        let list: Arc<[Alike]> = vec![alike].into();
        let age = lists.get("a", 6).unwrap_err();
        lists.put("a", 6, age, &list);
        assert_eq!(lists.get("a", 6), Ok(Arc::clone(&list)));
        assert!(lists.get("a", 20).is_err(), "a longer list is another one");
        let age = lists.get("c", 6).unwrap_err();
        lists.clear();
        lists.put("c", 6, age, &list);
        assert!(lists.get("c", 6).is_err() && lists.get("a", 6).is_err());
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

//! The index on disk, and how it is lost and made again.
//!
//! ```text
//! <directory>/lock              held by the one process that writes; others read
//! <directory>/index.json        version, and the folder of the index in use; written beside, then renamed
//! <directory>/g-<time>-<n>/     an index; the payload of its last commit is the number of the last change it has seen
//! ```
//! Nothing here is worth saving: whatever is wrong, a new folder is begun and filled from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{AllQuery, ConstScoreQuery, TermSetQuery};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyError};

use super::analysis::register;
use super::collect::Pass;
use super::queue::{Queue, Waiting};
use super::schema::{Document, Fields, VERSION};

/// Memory that the writer fills before it writes a segment, bytes.
const WRITER_MEMORY: usize = 24 << 20;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pointer {
    version: u32,
    folder: String,
}

/// Who keeps the index.
enum Home {
    /// This process, on disk.
    Own { root: PathBuf, folder: String, lock: File },
    /// Another process; this one reads.
    Shared { root: PathBuf, folder: String },
    /// This process, in memory.
    Memory,
}

/// An index and its one writer.
pub(crate) struct TextIndex {
    index: Index,
    fields: Fields,
    reader: IndexReader,
    writer: Option<(IndexWriter<Waiting>, Queue)>,
    home: Home,
}

impl TextIndex {
    /// Opens the index in a directory, or begins a new one there. What another process writes is read; where there is nothing to read, or
    /// nothing can be written, the index is in memory.
    pub(crate) fn open(root: &Path) -> tantivy::Result<Self> {
        let Some((lock, own)) = lock(root) else { return Self::in_memory() };
        match (Self::open_existing(root), own) {
            (Some((index, folder)), true) => {
                Self::around(index, Home::Own { root: root.into(), folder, lock })
            }
            (Some((index, folder)), false) => Self::around(index, Home::Shared { root: root.into(), folder }),
            (None, true) => Self::begin(root, lock),
            (None, false) => Self::in_memory(),
        }
    }

    /// An index in memory.
    pub(crate) fn in_memory() -> tantivy::Result<Self> {
        let (schema, _) = Fields::schema();
        Self::around(Index::create_in_ram(schema), Home::Memory)
    }

    /// The same index, empty, in a new folder.
    pub(crate) fn renew(self) -> tantivy::Result<Self> {
        let Self { home, writer, .. } = self;
        drop(writer);
        match home {
            Home::Own { root, lock: held, .. } => {
                // The directory may be gone, and with it the lock that others see.
                drop(held);
                match lock(&root) {
                    Some((lock, true)) => Self::begin(&root, lock),
                    _ => Self::open(&root),
                }
            }
            Home::Shared { root, .. } => Self::open(&root),
            Home::Memory => Self::in_memory(),
        }
    }

    /// Sees what another process wrote, or takes its place when it is gone.
    pub(crate) fn follow(self) -> tantivy::Result<Self> {
        match &self.home {
            Home::Shared { root, .. } if matches!(lock(root), Some((_, true))) => Self::open(&root.clone()),
            Home::Shared { .. } => self.reader.reload().map(|()| self),
            Home::Own { .. } | Home::Memory => Ok(self),
        }
    }

    fn begin(root: &Path, lock: File) -> tantivy::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
        let folder = format!("g-{time:x}-{:x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        fs::create_dir_all(root.join(&folder))?;
        let (schema, _) = Fields::schema();
        let index = Index::create_in_dir(root.join(&folder), schema)?;
        let pointer = serde_json::to_string(&Pointer { version: VERSION, folder: folder.clone() })
            .map_err(|error| TantivyError::InternalError(error.to_string()))?;
        fs::write(root.join("index.json.new"), pointer)?;
        fs::rename(root.join("index.json.new"), root.join("index.json"))?;
        for entry in fs::read_dir(root)?.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("g-") && name.to_string_lossy() != folder {
                // What cannot be removed now is removed next time.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Self::around(index, Home::Own { root: root.into(), folder, lock })
    }

    fn open_existing(root: &Path) -> Option<(Index, String)> {
        let pointer: Pointer = serde_json::from_slice(&fs::read(root.join("index.json")).ok()?).ok()?;
        let sound = pointer.version == VERSION
            && pointer.folder.starts_with("g-")
            && !pointer.folder.contains(['/', '\\'])
            && root.join(&pointer.folder).is_dir();
        let open = || {
            let index = Index::open_in_dir(root.join(&pointer.folder)).ok()?;
            (index.schema() == Fields::schema().0).then_some(index)
        };
        let index = sound.then(open).flatten()?;
        // Opens every file of every segment: what was cut off is found here.
        index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().ok()?;
        Some((index, pointer.folder))
    }

    fn around(index: Index, home: Home) -> tantivy::Result<Self> {
        register(&index);
        let (_, fields) = Fields::schema();
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { index, fields, reader, writer: None, home })
    }

    /// The fields.
    pub(crate) fn fields(&self) -> Fields {
        self.fields
    }

    /// What searches see now.
    pub(crate) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// The first handles, in their order.
    pub(crate) fn first_handles(&self, limit: usize) -> tantivy::Result<Vec<String>> {
        let all = ConstScoreQuery::new(Box::new(AllQuery), 0.0);
        let first = self.searcher().search(&all, &Pass::best(limit))?;
        Ok(first.top.into_iter().map(|found| found.handle).collect())
    }

    /// Whether another process writes it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.home, Home::Shared { .. })
    }

    /// Whether its files are still where they were.
    pub(crate) fn is_intact(&self) -> bool {
        let (Home::Own { root, folder, .. } | Home::Shared { root, folder }) = &self.home else {
            return true;
        };
        let pointer = fs::read(root.join("index.json")).ok();
        let pointer: Option<Pointer> = pointer.and_then(|text| serde_json::from_slice(&text).ok());
        pointer.is_some_and(|p| p.version == VERSION && p.folder == *folder)
            && root.join(folder).join("meta.json").is_file()
    }

    /// The last change of the store that it has seen.
    pub(crate) fn change(&self) -> i64 {
        self.index
            .load_metas()
            .ok()
            .and_then(|meta| meta.payload)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Puts papers in, each once: an older version goes, and so do versions under other handles. Of two under one handle the later stays.
    pub(crate) fn put<'a>(
        &mut self,
        papers: impl IntoIterator<Item = (&'a Document, &'a [String])>,
    ) -> tantivy::Result<()> {
        let fields = self.fields;
        let mut last = BTreeMap::new();
        let mut replaced = BTreeSet::new();
        for (place, (paper, former)) in papers.into_iter().enumerate() {
            replaced.extend(former.iter().chain([&paper.handle]).map(|handle| fields.key_term(handle)));
            last.insert(paper.handle.as_str(), (place, paper));
        }
        if last.is_empty() {
            return Ok(());
        }
        let mut papers: Vec<(usize, &Document)> = last.into_values().collect();
        papers.sort_by_key(|(place, _)| *place);
        let (writer, queue) = self.writer()?;
        // One deletion a batch: one a paper would keep a table of term weights for each until the next commit, 1 KiB or more.
        writer.delete_query(Box::new(TermSetQuery::new(replaced)))?;
        for (_, paper) in papers {
            writer.add_document(queue.wait(fields.document(paper)))?;
        }
        Ok(())
    }

    /// Makes what was put in visible and lasting, as of a change of the store.
    pub(crate) fn commit(&mut self, change: i64) -> tantivy::Result<()> {
        let mut commit = self.writer()?.0.prepare_commit()?;
        commit.set_payload(&change.to_string());
        commit.commit()?;
        self.reader.reload()
    }

    /// Sees the last commit, and segments merged since.
    pub(crate) fn reload(&self) -> tantivy::Result<()> {
        self.reader.reload()
    }

    /// Gives the writer's memory and threads back.
    pub(crate) fn rest(&mut self) -> tantivy::Result<()> {
        match self.writer.take() {
            Some((writer, _)) => writer.wait_merging_threads(),
            None => Ok(()),
        }
    }

    fn writer(&mut self) -> tantivy::Result<&mut (IndexWriter<Waiting>, Queue)> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            // One thread: documents keep their order; a laptop has other work too.
            None => {
                let options = IndexWriterOptions::builder()
                    .num_worker_threads(1)
                    .memory_budget_per_thread(WRITER_MEMORY)
                    .num_merge_threads(1)
                    .build();
                (self.index.writer_with_options(options)?, Queue::new())
            }
        };
        Ok(self.writer.insert(writer))
    }
}

/// The lock file, and whether this handle holds it.
fn lock(root: &Path) -> Option<(File, bool)> {
    fs::create_dir_all(root).ok()?;
    let file = File::options().create(true).append(true).open(root.join("lock")).ok()?;
    let own = file.try_lock().is_ok();
    Some((file, own))
}

#[cfg(test)]
mod tests {
    use tantivy::collector::Count;
    use tantivy::query::TermQuery;
    use tantivy::schema::IndexRecordOption;

    use super::*;

    fn paper(handle: &str, title: &str) -> Document {
        Document { handle: handle.into(), title: title.into(), ..Document::default() }
    }

    fn put(index: &mut TextIndex, papers: &[Document], change: i64) {
        index.put(papers.iter().map(|paper| (paper, &[][..]))).unwrap();
        index.commit(change).unwrap();
    }

    fn count(index: &TextIndex, handle: &str) -> usize {
        let query = TermQuery::new(index.fields().key_term(handle), IndexRecordOption::Basic);
        index.searcher().search(&query, &Count).unwrap()
    }

    #[test]
    fn is_found_again_with_its_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = TextIndex::open(folder.path()).unwrap();
        assert_eq!(index.change(), 0);
        put(&mut index, &[paper("a", "one"), paper("b", "two"), paper("a", "three")], 7);
        assert_eq!((count(&index, "a"), count(&index, "b")), (1, 1));
        drop(index);
        let index = TextIndex::open(folder.path()).unwrap();
        assert_eq!((index.change(), count(&index, "a")), (7, 1));
    }

    #[test]
    fn a_paper_under_a_new_handle_is_there_once() {
        let mut index = TextIndex::in_memory().unwrap();
        put(&mut index, &[paper("2401.00001", "one")], 1);
        index.put([(&paper("slug", "one"), &["2401.00001".to_owned()][..])]).unwrap();
        index.commit(2).unwrap();
        assert_eq!(index.searcher().search(&AllQuery, &Count).unwrap(), 1);
        assert_eq!(count(&index, "slug"), 1);
    }

    #[test]
    fn whatever_is_wrong_a_new_one_is_begun() {
        type Harm = fn(&Path);
        let harms: [(&str, Harm); 6] = [
            ("no pointer", |root| fs::remove_file(root.join("index.json")).unwrap()),
            ("another version", |root| {
                let text = fs::read_to_string(root.join("index.json")).unwrap();
                fs::write(root.join("index.json"), text.replace("\"version\":1", "\"version\":0")).unwrap();
            }),
            ("garbage", |root| fs::write(root.join("index.json"), b"\xff{").unwrap()),
            ("a path that leads out", |root| {
                fs::write(root.join("index.json"), r#"{"version":1,"folder":"g-/../.."}"#).unwrap();
            }),
            ("no folder", |root| fs::remove_dir_all(only_folder(root)).unwrap()),
            ("cut files", |root| {
                for entry in fs::read_dir(only_folder(root)).unwrap().flatten() {
                    if entry.path().extension().is_some_and(|e| e != "json" && e != "lock") {
                        File::options().write(true).open(entry.path()).unwrap().set_len(10).unwrap();
                    }
                }
            }),
        ];
        for (what, harm) in harms {
            let root = tempfile::tempdir().unwrap();
            let mut index = TextIndex::open(root.path()).unwrap();
            put(&mut index, &[paper("a", "one")], 7);
            drop(index);
            harm(root.path());
            let index = TextIndex::open(root.path()).unwrap();
            assert_eq!((index.change(), count(&index, "a")), (0, 0), "{what}");
            assert!(index.is_intact());
            only_folder(root.path());
        }
    }

    fn only_folder(root: &Path) -> PathBuf {
        let folders: Vec<_> = fs::read_dir(root).unwrap().flatten().filter(|e| e.path().is_dir()).collect();
        assert_eq!(folders.len(), 1);
        folders[0].path()
    }

    #[test]
    fn a_deleted_index_is_noticed_and_its_searcher_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let mut index = TextIndex::open(root.path()).unwrap();
        put(&mut index, &[paper("a", "one")], 7);
        let searcher = index.searcher();
        fs::remove_dir_all(root.path()).unwrap();
        assert!(!index.is_intact());
        assert_eq!(searcher.search(&AllQuery, &Count).unwrap(), 1);
        let mut index = index.renew().unwrap();
        put(&mut index, &[paper("b", "two")], 1);
        assert!(index.is_intact());
    }

    #[test]
    fn a_second_process_reads_and_takes_over() {
        let root = tempfile::tempdir().unwrap();
        let mut first = TextIndex::open(root.path()).unwrap();
        put(&mut first, &[paper("a", "one")], 7);
        let second = TextIndex::open(root.path()).unwrap();
        assert!(second.is_shared());
        put(&mut first, &[paper("b", "two")], 8);
        let second = second.follow().unwrap();
        assert_eq!((second.change(), count(&second, "b")), (8, 1));
        drop(first);
        let mut second = second.follow().unwrap();
        assert!(!second.is_shared());
        put(&mut second, &[paper("c", "three")], 9);
        assert_eq!(count(&second, "a") + count(&second, "c"), 2);
    }
}

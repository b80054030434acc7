//! Writing: one transaction at a time, many rows a statement.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Any, AnyConnection, Row, Transaction};
use tokio::sync::MutexGuard;

use crate::error::Result;
use crate::ranking::{self, Keys};
use crate::record::Record;
use crate::store::identity::{self, Identity};
use crate::store::merge::{self, Counts};
use crate::store::names::Names;
use crate::store::sql::{self, Sql, Value};
use crate::store::{Outcome, Source, Store, Stored, Upsert, connect, read};

/// Records that are read and written together.
const BATCH: usize = 512;

impl Store {
    /// Adds records, each to the paper that it is about: same arXiv number, else same normalised title. All or nothing; on
    /// disk when it returns. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn upsert(&self, records: &[Record], source: &Source) -> Result<Vec<Upsert>> {
        let mut write = self.begin().await?;
        let mut done = Vec::with_capacity(records.len());
        for part in records.chunks(BATCH) {
            let identities: Vec<Identity> = part.iter().map(Identity::of).collect();
            let mut batch = Batch::load(&mut write.transaction, &identities).await?;
            for (record, identity) in part.iter().zip(&identities) {
                done.push(write.put(&mut batch, record, identity, source));
            }
            write.flush(batch).await?;
        }
        write.commit().await?;
        Ok(done)
    }

    /// Waits for its turn and begins a transaction that writes.
    pub(super) async fn begin(&self) -> Result<Write<'_>> {
        let turn = self.inner.writer.lock().await;
        let mut transaction = connect::begin_write(&self.inner.writers, self.inner.dialect).await?;
        // The row stays locked until the commit, so that writers of other processes wait as well: numbers are given out in
        // the order of commits.
        let take = Sql::new("UPDATE meta SET value = value WHERE name = 'change'");
        take.run(&mut transaction).await?;
        let rows = Sql::new("SELECT name, value FROM meta").rows(&mut transaction).await?;
        let mut meta = BTreeMap::new();
        for row in rows {
            meta.insert(row.try_get::<String, _>(0)?, row.try_get::<i64, _>(1)?);
        }
        let get = |name| meta.get(name).copied().unwrap_or(0);
        Ok(Write {
            change: get("change"),
            paper: get("paper"),
            ranking: get("ranking"),
            now: now(),
            transaction,
            _turn: turn,
        })
    }

    /// Puts a store in order that was written with other formulas.
    pub(super) async fn rank_again(&self) -> Result<()> {
        let current = i64::from(ranking::VERSION);
        let row = Sql::new("SELECT value FROM meta WHERE name = 'ranking'");
        let row = row.row(&mut *self.inner.pool.acquire().await?).await?;
        if row.map(|row| row.try_get::<i64, _>(0)).transpose()? == Some(current) {
            return Ok(());
        }
        let mut write = self.begin().await?;
        if write.ranking != current {
            let mut after = -1;
            loop {
                let batch = Batch::page(&mut write.transaction, after, BATCH).await?;
                let Some(&last) = batch.papers.keys().next_back() else { break };
                after = last;
                write.flush(batch).await?;
            }
            set_meta(&mut write.transaction, "ranking", current).await?;
        }
        write.commit().await
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

async fn set_meta(connection: &mut AnyConnection, name: &str, value: i64) -> Result<()> {
    let mut sql = Sql::new("UPDATE meta SET value = ");
    sql.arg(value).push(" WHERE name = ").arg(name);
    sql.run(connection).await?;
    Ok(())
}

/// A transaction that has its turn.
pub(super) struct Write<'a> {
    // dropped before the turn is given on
    pub(super) transaction: Transaction<'static, Any>,
    /// Numbers given out last.
    change: i64,
    paper: i64,
    ranking: i64,
    now: i64,
    _turn: MutexGuard<'a, ()>,
}

/// A paper in memory.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) stored: Stored,
    /// What the derived tables say; nothing of a new paper.
    before: Option<Derived>,
    pub(super) dirty: bool,
}

/// What the derived tables hold of a paper.
#[derive(Clone, PartialEq)]
struct Derived {
    /// Handle and name.
    names: [BTreeMap<String, String>; 3],
    date: i64,
    /// Claim, kind, verdict.
    claims: Vec<[String; 3]>,
}

/// Of several spellings of a name the last in byte order is shown, whatever came first: it tends to have the small
/// letters and the accents.
fn better(known: &mut String, name: &str) {
    if known.as_str() < name {
        name.clone_into(known);
    }
}

impl Derived {
    fn of(stored: &Stored) -> Self {
        let by_handle = |names: &mut dyn Iterator<Item = &str>| {
            let mut map = BTreeMap::new();
            for name in names {
                let known: &mut String = map.entry(identity::name_handle(name)).or_default();
                better(known, name);
            }
            map
        };
        let record = &stored.record;
        let topic = stored.edition.as_ref().map(|e| e.topic.as_str());
        let claims = stored.edition.iter().flat_map(|e| &e.claims);
        Self {
            names: [
                by_handle(&mut record.authors.iter().map(|a| a.name.as_str())),
                by_handle(&mut record.organisations.iter().map(String::as_str)),
                by_handle(&mut record.topics.iter().map(String::as_str).chain(topic)),
            ],
            date: ranking::placed(record).map_or(0, |date| ranking::key(date, 0, 0)),
            claims: claims.map(|c| [c.id.clone(), c.kind.clone(), c.verdict.clone()]).collect(),
        }
    }
}

/// The papers that a few records are about.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) papers: BTreeMap<i64, Held>,
    by_arxiv: HashMap<String, i64>,
    by_title: HashMap<String, i64>,
    new_titles: Vec<(String, i64)>,
    aliases: Vec<(String, i64)>,
}

impl Batch {
    /// Reads the papers that have one of these arXiv numbers or titles.
    pub(super) async fn load(connection: &mut AnyConnection, identities: &[Identity]) -> Result<Self> {
        let numbers: BTreeSet<&str> = identities.iter().filter_map(|i| i.arxiv.as_deref()).collect();
        let titles: BTreeSet<&str> = identities.iter().map(|i| i.title.as_str()).collect();
        let keys = |set: BTreeSet<&str>| -> Vec<Value> { set.into_iter().map(Value::from).collect() };
        let mut batch = Self::default();
        let head = format!("SELECT {} FROM papers p WHERE p.arxiv IN", read::COLUMNS);
        for row in sql::select_in(connection, &head, &keys(numbers), "").await? {
            batch.hold(read::stored(&row)?);
        }
        let head = format!(
            "SELECT {}, t.title_hash FROM titles t JOIN papers p ON p.id = t.paper WHERE t.title_hash IN",
            read::COLUMNS
        );
        for row in sql::select_in(connection, &head, &keys(titles), "").await? {
            let (id, stored) = read::stored(&row)?;
            batch.by_title.insert(row.try_get("title_hash")?, id);
            batch.hold((id, stored));
        }
        Ok(batch)
    }

    /// Reads papers in the order of their numbers.
    async fn page(connection: &mut AnyConnection, after: i64, limit: usize) -> Result<Self> {
        let mut sql = Sql::new(&format!("SELECT {} FROM papers p WHERE p.id > ", read::COLUMNS));
        sql.arg(after).push(" ORDER BY p.id LIMIT ").arg(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut batch = Self::default();
        for row in sql.rows(connection).await? {
            let (id, stored) = read::stored(&row)?;
            batch.hold((id, stored));
        }
        for held in batch.papers.values_mut() {
            held.dirty = true;
        }
        Ok(batch)
    }

    /// Takes a paper that was read.
    pub(super) fn hold(&mut self, (id, stored): (i64, Stored)) {
        if let Some(number) = identity::arxiv(&stored.record) {
            self.by_arxiv.insert(number, id);
        }
        let before = Some(Derived::of(&stored));
        self.papers.entry(id).or_insert(Held { stored, before, dirty: false });
    }

    /// The paper that a record is about. A title names a paper only where the arXiv numbers do not differ.
    pub(super) fn find(&self, identity: &Identity) -> Option<i64> {
        let by_arxiv = identity.arxiv.as_ref().and_then(|number| self.by_arxiv.get(number));
        if let Some(&id) = by_arxiv {
            return Some(id);
        }
        let id = *self.by_title.get(&identity.title)?;
        let other = self.papers.get(&id).is_some_and(|held| identity::arxiv(&held.stored.record).is_some());
        (identity.arxiv.is_none() || !other).then_some(id)
    }

    /// Remembers what a paper is now also recognised by.
    fn learn(&mut self, identity: &Identity, id: i64) {
        if let Some(number) = &identity.arxiv {
            self.by_arxiv.insert(number.clone(), id);
        }
        if !self.by_title.contains_key(&identity.title) {
            self.by_title.insert(identity.title.clone(), id);
            self.new_titles.push((identity.title.clone(), id));
        }
    }

    /// Gives a paper another handle; the old one keeps answering.
    pub(super) fn rename(&mut self, id: i64, handle: &str) {
        let Some(held) = self.papers.get_mut(&id) else { return };
        if held.stored.handle != handle {
            let old = std::mem::replace(&mut held.stored.handle, handle.to_owned());
            held.dirty = true;
            self.aliases.push((old, id));
        }
    }
}

impl Write<'_> {
    /// Adds a record to its paper, in memory.
    fn put(&mut self, batch: &mut Batch, record: &Record, identity: &Identity, source: &Source) -> Upsert {
        let found = batch.find(identity);
        let (id, outcome) = self.merge(batch, found, record, identity, source, Counts::Replace);
        let handle = batch.papers.get(&id).map(|held| held.stored.handle.clone()).unwrap_or_default();
        Upsert { handle, outcome }
    }

    /// Adds what a record knows to the paper that was found, or makes one.
    pub(super) fn merge(
        &mut self,
        batch: &mut Batch,
        found: Option<i64>,
        record: &Record,
        identity: &Identity,
        source: &Source,
        counts: Counts,
    ) -> (i64, Outcome) {
        let (id, outcome) = match found.and_then(|id| batch.papers.get_mut(&id).map(|held| (id, held))) {
            Some((id, held)) => (id, held.merge(record, source, counts)),
            None => {
                self.paper += 1;
                let stored = Stored {
                    handle: identity.handle(),
                    record: record.clone(),
                    edition: None,
                    added: self.now,
                    change: 0,
                    sources: vec![source.clone()],
                };
                batch.papers.insert(self.paper, Held { stored, before: None, dirty: true });
                (self.paper, Outcome::Added)
            }
        };
        batch.learn(identity, id);
        (id, outcome)
    }

    /// Writes what has changed.
    pub(super) async fn flush(&mut self, batch: Batch) -> Result<()> {
        let mut dirty: BTreeMap<i64, Held> =
            batch.papers.into_iter().filter(|(_, held)| held.dirty).collect();
        for held in dirty.values_mut() {
            self.change += 1;
            held.stored.change = self.change;
        }
        let connection = &mut *self.transaction;
        write_papers(connection, &dirty).await?;
        write_derived(connection, &dirty).await?;
        let rows = |pairs: Vec<(String, i64)>| -> Vec<Vec<Value>> {
            pairs.into_iter().map(|(text, id)| vec![text.into(), id.into()]).collect()
        };
        sql::insert(connection, "INSERT INTO titles (title_hash, paper)", &rows(batch.new_titles), "")
            .await?;
        let tail = "ON CONFLICT (handle) DO UPDATE SET paper = excluded.paper";
        sql::insert(connection, "INSERT INTO aliases (handle, paper)", &rows(batch.aliases), tail).await
    }

    pub(super) async fn commit(mut self) -> Result<()> {
        set_meta(&mut self.transaction, "change", self.change).await?;
        set_meta(&mut self.transaction, "paper", self.paper).await?;
        self.transaction.commit().await?;
        Ok(())
    }
}

impl Held {
    fn merge(&mut self, record: &Record, source: &Source, counts: Counts) -> Outcome {
        let before = self.stored.record.clone();
        merge::merge(&mut self.stored.record, record, counts);
        let mut changed = before != self.stored.record;
        if !self.stored.sources.contains(source) {
            self.stored.sources.push(source.clone());
            changed = true;
        }
        self.dirty |= changed;
        if changed { Outcome::Merged } else { Outcome::Unchanged }
    }
}

const PAPER: &str = "INSERT INTO papers (id, handle, arxiv, record, edition, slug, family, sources, text_hash, added, \
    change, date_key, week, month, year, popularity, hot, verified, cheapest, surprise, runs_key)";

const PAPER_AGAIN: &str = "ON CONFLICT (id) DO UPDATE SET handle = excluded.handle, arxiv = excluded.arxiv, \
    record = excluded.record, edition = excluded.edition, slug = excluded.slug, family = excluded.family, \
    sources = excluded.sources, text_hash = excluded.text_hash, change = excluded.change, \
    date_key = excluded.date_key, week = excluded.week, month = excluded.month, year = excluded.year, \
    popularity = excluded.popularity, hot = excluded.hot, verified = excluded.verified, \
    cheapest = excluded.cheapest, surprise = excluded.surprise, runs_key = excluded.runs_key";

async fn write_papers(connection: &mut AnyConnection, papers: &BTreeMap<i64, Held>) -> Result<()> {
    let mut rows = Vec::with_capacity(papers.len());
    for (id, held) in papers {
        rows.push(paper_row(*id, &held.stored)?);
    }
    sql::insert(connection, PAPER, &rows, PAPER_AGAIN).await
}

fn paper_row(id: i64, stored: &Stored) -> Result<Vec<Value>> {
    let keys = Keys::of(&stored.record, stored.edition.as_ref());
    let edition = stored.edition.as_ref().map(read::to_json).transpose()?;
    Ok(vec![
        id.into(),
        stored.handle.as_str().into(),
        identity::arxiv(&stored.record).into(),
        read::to_json(&stored.record)?.into(),
        edition.into(),
        stored.edition.as_ref().map(|e| e.slug.clone()).into(),
        stored.edition.as_ref().map(|e| e.family.clone()).into(),
        read::to_json(&stored.sources)?.into(),
        identity::text_hash(&stored.record).into(),
        stored.added.into(),
        stored.change.into(),
        keys.date.into(),
        keys.week.into(),
        keys.month.into(),
        keys.year.into(),
        keys.popularity.into(),
        keys.hot.into(),
        keys.verified.into(),
        keys.cheapest.into(),
        keys.surprise.into(),
        keys.runs.into(),
    ])
}

/// Names, counts and claims: what differs is taken out and put in again.
async fn write_derived(connection: &mut AnyConnection, papers: &BTreeMap<i64, Held>) -> Result<()> {
    let after: BTreeMap<i64, Derived> =
        papers.iter().map(|(&id, held)| (id, Derived::of(&held.stored))).collect();
    for (place, names) in Names::ALL.into_iter().enumerate() {
        let mut changes = NameChanges::default();
        for (id, held) in papers {
            let old = held.before.as_ref().map(|before| &before.names[place]);
            changes.note(*id, old, &after[id].names[place]);
        }
        changes.write(connection, names).await?;
    }
    write_tallies(connection, papers, &after).await?;
    write_claims(connection, papers, &after).await
}

/// What becomes of one kind of names.
#[derive(Default)]
struct NameChanges {
    /// Name, and how many papers more or less.
    papers: BTreeMap<String, (String, i64)>,
    /// Papers whose names are taken out.
    gone: Vec<Value>,
    /// Handle and paper.
    links: Vec<Vec<Value>>,
}

impl NameChanges {
    fn note(&mut self, id: i64, old: Option<&BTreeMap<String, String>>, new: &BTreeMap<String, String>) {
        if old.is_some_and(|old| old.keys().eq(new.keys())) {
            return;
        }
        if let Some(old) = old.filter(|old| !old.is_empty()) {
            self.gone.push(id.into());
            for (handle, name) in old {
                self.count(handle, name, -1);
            }
        }
        for (handle, name) in new {
            self.count(handle, name, 1);
            self.links.push(vec![handle.as_str().into(), id.into()]);
        }
    }

    fn count(&mut self, handle: &str, name: &str, more: i64) {
        let (known, papers) = self.papers.entry(handle.to_owned()).or_default();
        better(known, name);
        *papers += more;
    }

    async fn write(self, connection: &mut AnyConnection, names: Names) -> Result<()> {
        let (table, column) = (names.table(), names.column());
        let rows: Vec<Vec<Value>> = self
            .papers
            .into_iter()
            .map(|(handle, (name, more))| vec![handle.into(), name.into(), more.into()])
            .collect();
        let head = format!("INSERT INTO {table} (handle, name, papers)");
        let tail = format!(
            "ON CONFLICT (handle) DO UPDATE SET papers = {table}.papers + excluded.papers, \
             name = CASE WHEN excluded.name > {table}.name THEN excluded.name ELSE {table}.name END"
        );
        sql::insert(connection, &head, &rows, &tail).await?;
        sql::run_in(connection, &format!("DELETE FROM paper_{table} WHERE paper IN"), &self.gone).await?;
        sql::insert(connection, &format!("INSERT INTO paper_{table} ({column}, paper)"), &self.links, "")
            .await
    }
}

async fn write_tallies(
    connection: &mut AnyConnection,
    papers: &BTreeMap<i64, Held>,
    after: &BTreeMap<i64, Derived>,
) -> Result<()> {
    let mut more: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    for (id, held) in papers {
        match &held.before {
            Some(before) if before.date == after[id].date => continue,
            Some(before) => *more.entry(("day", before.date)).or_default() -= 1,
            None => *more.entry(("all", 0)).or_default() += 1,
        }
        *more.entry(("day", after[id].date)).or_default() += 1;
    }
    let rows: Vec<Vec<Value>> = more
        .into_iter()
        .filter(|(_, more)| *more != 0)
        .map(|((kind, place), more)| vec![kind.into(), place.into(), more.into()])
        .collect();
    let tail = "ON CONFLICT (kind, place) DO UPDATE SET papers = tallies.papers + excluded.papers";
    sql::insert(connection, "INSERT INTO tallies (kind, place, papers)", &rows, tail).await
}

async fn write_claims(
    connection: &mut AnyConnection,
    papers: &BTreeMap<i64, Held>,
    after: &BTreeMap<i64, Derived>,
) -> Result<()> {
    let (mut gone, mut rows) = (Vec::new(), Vec::new());
    for (id, held) in papers {
        let old = held.before.as_ref().map_or(&[][..], |before| &before.claims);
        if old != after[id].claims {
            gone.push(Value::from(*id));
            for [claim, kind, verdict] in &after[id].claims {
                rows.push(vec![
                    Value::from(*id),
                    claim.as_str().into(),
                    kind.as_str().into(),
                    verdict.as_str().into(),
                ]);
            }
        }
    }
    sql::run_in(connection, "DELETE FROM claims WHERE paper IN", &gone).await?;
    sql::insert(connection, "INSERT INTO claims (paper, claim, kind, verdict)", &rows, "").await
}

//! Reading papers one by one or in a row, and counting.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::{Error, Result};
use crate::store::sql::{self, Sql, Value};
use crate::store::{Store, Stored};

/// What a page reads of a paper.
pub(super) const COLUMNS: &str = "p.id, p.handle, p.record, p.edition, p.sources, p.added, p.change";

/// Most papers that one read gives.
const MOST: u32 = 10_000;

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Papers.
    pub papers: u64,
    /// Papers that run here.
    pub runs: u64,
    /// Claims of the edition by verdict.
    pub claims: BTreeMap<String, u64>,
    /// Papers of the edition by family.
    pub families: BTreeMap<String, u64>,
}

impl Store {
    /// A paper by its handle, by a handle that it once had, or by its arXiv number.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn get(&self, handle: &str) -> Result<Option<Stored>> {
        let number = handle.replace('_', "/");
        let mut connection = self.inner.pool.acquire().await?;
        for (condition, key) in [
            ("p.handle = ", handle),
            ("p.id = (SELECT a.paper FROM aliases a WHERE a.handle = ", handle),
            ("p.arxiv = ", number.as_str()),
        ] {
            let mut sql = Sql::new(&format!("SELECT {COLUMNS} FROM papers p WHERE {condition}"));
            sql.arg(key);
            if condition.contains('(') {
                sql.push(")");
            }
            if let Some(row) = sql.row(&mut connection).await? {
                return Ok(Some(stored(&row)?.1));
            }
        }
        Ok(None)
    }

    /// Papers by their present handles, in the order asked for; unknown ones are left out.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn get_many(&self, handles: &[&str]) -> Result<Vec<Stored>> {
        let keys: Vec<Value> = handles.iter().map(|&handle| handle.into()).collect();
        let mut connection = self.inner.pool.acquire().await?;
        let head = format!("SELECT {COLUMNS} FROM papers p WHERE p.handle IN");
        let mut found = BTreeMap::new();
        for row in sql::select_in(&mut connection, &head, &keys, "").await? {
            let (_, paper) = stored(&row)?;
            found.insert(paper.handle.clone(), paper);
        }
        Ok(handles.iter().filter_map(|&handle| found.remove(handle)).collect())
    }

    /// Papers whose last change is after `change`, in the order of their changes. A reader that goes on from the last
    /// one's `change` misses nothing, whoever writes meanwhile.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn changed_since(&self, change: i64, limit: u32) -> Result<Vec<Stored>> {
        let mut sql = Sql::new(&format!("SELECT {COLUMNS} FROM papers p WHERE p.change > "));
        sql.arg(change).push(" ORDER BY p.change LIMIT ").arg(i64::from(limit.min(MOST)));
        self.papers(sql).await
    }

    /// All papers in the order of their handles, from the one after `after`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn all(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stored>> {
        let mut sql = Sql::new(&format!("SELECT {COLUMNS} FROM papers p WHERE p.handle > "));
        sql.arg(after.unwrap_or_default()).push(" ORDER BY p.handle LIMIT ").arg(i64::from(limit.min(MOST)));
        self.papers(sql).await
    }

    /// How much there is.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count(&self) -> Result<Counts> {
        let mut connection = self.inner.pool.acquire().await?;
        let mut counts = Counts::default();
        let one = Sql::new("SELECT papers FROM tallies WHERE kind = 'all' AND place = 0");
        counts.papers = number(one.row(&mut connection).await?.as_ref())?;
        let mut runs = Sql::new("SELECT COUNT(*) FROM papers WHERE runs_key >= ");
        runs.arg(crate::ranking::RUNS);
        counts.runs = number(runs.row(&mut connection).await?.as_ref())?;
        for (text, map) in [
            ("SELECT verdict, COUNT(*) FROM claims GROUP BY verdict", &mut counts.claims),
            (
                "SELECT family, COUNT(*) FROM papers WHERE family IS NOT NULL GROUP BY family",
                &mut counts.families,
            ),
        ] {
            for row in Sql::new(text).rows(&mut connection).await? {
                map.insert(row.try_get(0)?, unsigned(row.try_get(1)?));
            }
        }
        Ok(counts)
    }

    /// The papers that a statement reads.
    pub(super) async fn papers(&self, sql: Sql) -> Result<Vec<Stored>> {
        let rows = sql.rows(&mut *self.inner.pool.acquire().await?).await?;
        rows.iter().map(|row| Ok(stored(row)?.1)).collect()
    }
}

/// The number in the first column, 0 where there is no row.
pub(super) fn number(row: Option<&AnyRow>) -> Result<u64> {
    let number = row.map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?.flatten();
    Ok(unsigned(number.unwrap_or(0)))
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A row of [`COLUMNS`].
pub(super) fn stored(row: &AnyRow) -> Result<(i64, Stored)> {
    let id: i64 = row.try_get(0)?;
    let handle: String = row.try_get(1)?;
    let json = |column: usize, name: &str| {
        Ok::<_, Error>((row.try_get::<&str, _>(column)?, format!("{name} of `{handle}`")))
    };
    let (record, what) = json(2, "record")?;
    let record = from_json(record, &what)?;
    let edition = match row.try_get::<Option<String>, _>(3)? {
        Some(text) => Some(from_json(&text, "edition")?),
        None => None,
    };
    let (sources, what) = json(4, "sources")?;
    let sources = from_json(sources, &what)?;
    let (added, change) = (row.try_get(5)?, row.try_get(6)?);
    Ok((id, Stored { handle, record, edition, added, change, sources }))
}

fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Damaged { what: what.to_owned(), message: e.to_string() })
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::Damaged { what: "a value to be stored".to_owned(), message: e.to_string() })
}

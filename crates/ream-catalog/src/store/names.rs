//! Authors, organisations and topics: each by a handle, with the number of its papers.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::{Error, Result};
use crate::store::identity::name_handle;
use crate::store::sql::Sql;
use crate::store::{Store, read};

/// A kind of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Who wrote it.
    Authors,
    /// Who stands behind it.
    Organisations,
    /// What it is about.
    Topics,
}

impl Names {
    /// All kinds, in the order of the derived tables.
    pub(super) const ALL: [Self; 3] = [Self::Authors, Self::Organisations, Self::Topics];

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Authors => "authors",
            Self::Organisations => "organisations",
            Self::Topics => "topics",
        }
    }

    /// Its column in the table that links it to papers.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Authors => "author",
            Self::Organisations => "organisation",
            Self::Topics => "topic",
        }
    }
}

/// An author, organisation or topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name in addresses.
    pub handle: String,
    /// As written; of several spellings the last in byte order.
    pub name: String,
    /// How many papers it has.
    pub papers: u64,
}

/// A page of names, those with most papers first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPage {
    /// The names.
    pub items: Vec<Named>,
    /// What to ask for the next page, if there is one.
    pub next: Option<String>,
    /// Names on all pages.
    pub total: u64,
}

impl Store {
    /// An author by handle or name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn author(&self, handle: &str) -> Result<Option<Named>> {
        self.named(Names::Authors, handle).await
    }

    /// An organisation by handle or name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn organisation(&self, handle: &str) -> Result<Option<Named>> {
        self.named(Names::Organisations, handle).await
    }

    /// An author, organisation or topic by handle or name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn named(&self, names: Names, handle: &str) -> Result<Option<Named>> {
        let mut sql = Sql::new("SELECT handle, name, papers FROM ");
        sql.push(names.table()).push(" WHERE papers > 0 AND handle = ").arg(name_handle(handle));
        let row = sql.row(&mut *self.inner.pool.acquire().await?).await?;
        row.as_ref().map(named).transpose()
    }

    /// Authors, organisations or topics, those with most papers first; `after` is the `next` of the page before.
    ///
    /// # Errors
    /// A cursor that is none; the database refuses.
    pub async fn names(&self, names: Names, after: Option<&str>, limit: u32) -> Result<NamedPage> {
        let limit = i64::from(limit.clamp(1, 1_000));
        let mut sql = Sql::new("SELECT handle, name, papers FROM ");
        sql.push(names.table()).push(" WHERE papers > 0");
        if let Some(cursor) = after {
            let (papers, handle) = read_cursor(cursor)?;
            sql.push(" AND papers <= ").arg(papers).push(" AND (papers < ").arg(papers);
            sql.push(" OR handle > ").arg(handle).push(")");
        }
        sql.push(" ORDER BY papers DESC, handle LIMIT ").arg(limit + 1);
        let mut connection = self.inner.pool.acquire().await?;
        let rows = sql.rows(&mut connection).await?;
        let mut items = rows.iter().map(named).collect::<Result<Vec<_>>>()?;
        let mut all = Sql::new("SELECT COUNT(*) FROM ");
        all.push(names.table()).push(" WHERE papers > 0");
        let total = read::number(all.row(&mut connection).await?.as_ref())?;
        let more = items.len() as i64 > limit;
        items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = items.last().filter(|_| more).map(|last| format!("{}.{}", last.papers, last.handle));
        Ok(NamedPage { items, next, total })
    }
}

fn read_cursor(cursor: &str) -> Result<(i64, &str)> {
    let bad = || Error::Cursor(cursor.chars().take(80).collect());
    let (papers, handle) = cursor.split_once('.').ok_or_else(bad)?;
    Ok((papers.parse().map_err(|_| bad())?, handle))
}

fn named(row: &AnyRow) -> Result<Named> {
    Ok(Named { handle: row.try_get(0)?, name: row.try_get(1)?, papers: read::unsigned(row.try_get(2)?) })
}

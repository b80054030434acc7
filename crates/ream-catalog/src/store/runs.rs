//! Runs as the site lists them. The folder of a run is what counts; this is a copy that can be sorted and joined.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::error::Result;
use crate::store::Store;
use crate::store::sql::{self, Sql, Value};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Name of its folder.
    pub id: String,
    /// Short name of its paper.
    pub slug: String,
    /// `smoke`, `full`, ...
    pub preset: String,
    /// `running`, `finished`, `failed`, ...
    pub state: String,
    /// Seconds since 1970.
    pub created: i64,
    /// How long it took, once known.
    pub seconds: Option<f64>,
    /// Whether verdicts may rest on it.
    pub evidence: bool,
}

const COLUMNS: &str = "id, slug, preset, state, created, seconds, evidence";

impl Store {
    /// Makes the list of runs this one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_runs(&self, runs: &[RunRow]) -> Result<()> {
        let mut write = self.begin().await?;
        let known = Sql::new(&format!("SELECT {COLUMNS} FROM runs")).rows(&mut write.transaction).await?;
        let known = known.iter().map(run).collect::<Result<Vec<_>>>()?;
        let mut gone: BTreeMap<&str, &RunRow> = known.iter().map(|run| (run.id.as_str(), run)).collect();
        let wanted: BTreeMap<&str, &RunRow> = runs.iter().map(|run| (run.id.as_str(), run)).collect();
        let mut rows = Vec::new();
        for (id, run) in wanted {
            if gone.remove(id) != Some(run) {
                rows.push(values(run));
            }
        }
        let gone: Vec<Value> = gone.into_keys().map(Value::from).collect();
        sql::run_in(&mut write.transaction, "DELETE FROM runs WHERE id IN", &gone).await?;
        let tail = "ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, preset = excluded.preset, \
            state = excluded.state, created = excluded.created, seconds = excluded.seconds, \
            evidence = excluded.evidence";
        sql::insert(&mut write.transaction, &format!("INSERT INTO runs ({COLUMNS})"), &rows, tail).await?;
        write.commit().await
    }

    /// The latest runs, of one paper or of all.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn runs(&self, slug: Option<&str>, limit: u32) -> Result<Vec<RunRow>> {
        let mut sql = Sql::new(&format!("SELECT {COLUMNS} FROM runs"));
        if let Some(slug) = slug {
            sql.push(" WHERE slug = ").arg(slug);
        }
        sql.push(" ORDER BY created DESC, id DESC LIMIT ").arg(i64::from(limit));
        let rows = sql.rows(&mut *self.inner.pool.acquire().await?).await?;
        rows.iter().map(run).collect()
    }
}

fn values(run: &RunRow) -> Vec<Value> {
    vec![
        run.id.as_str().into(),
        run.slug.as_str().into(),
        run.preset.as_str().into(),
        run.state.as_str().into(),
        run.created.into(),
        run.seconds.filter(|s| s.is_finite()).unwrap_or(-1.0).into(),
        i64::from(run.evidence).into(),
    ]
}

fn run(row: &AnyRow) -> Result<RunRow> {
    let seconds: f64 = row.try_get(5)?;
    Ok(RunRow {
        id: row.try_get(0)?,
        slug: row.try_get(1)?,
        preset: row.try_get(2)?,
        state: row.try_get(3)?,
        created: row.try_get(4)?,
        seconds: (seconds >= 0.0).then_some(seconds),
        evidence: row.try_get::<i64, _>(6)? != 0,
    })
}

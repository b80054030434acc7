//! Stored sentence embeddings, by encoder. A vector belongs to a text: when title or abstract change, it is missing again.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::error::{Error, Result};
use crate::record::Record;
use crate::store::Store;
use crate::store::sql::{self, Sql, Value};

/// An embedding: components times scale.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredVector {
    /// Its paper.
    pub handle: String,
    /// Hash of the text that was embedded, as [`Missing`] gave it.
    pub text_hash: String,
    /// What a component of 1 stands for.
    pub scale: f32,
    /// As many as the encoder has dimensions.
    pub components: Vec<i8>,
}

/// A paper without an embedding of its present text.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// The paper.
    pub handle: String,
    /// Hash of the text.
    pub text_hash: String,
    /// Title and abstract are what is embedded.
    pub record: Record,
}

impl Store {
    /// Keeps embeddings; an older one of the same paper is replaced. Unknown handles are left out.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn put_vectors(&self, embedder: &str, vectors: &[StoredVector]) -> Result<()> {
        let mut write = self.begin().await?;
        let handles: Vec<Value> = vectors.iter().map(|v| v.handle.as_str().into()).collect();
        let head = "SELECT handle, id FROM papers WHERE handle IN";
        let mut ids: BTreeMap<String, i64> = BTreeMap::new();
        for row in sql::select_in(&mut write.transaction, head, &handles, "").await? {
            ids.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let mut rows: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
        for vector in vectors {
            if let Some(&id) = ids.get(&vector.handle) {
                let bytes = vector.components.iter().map(|c| c.cast_unsigned()).collect();
                rows.insert(
                    id,
                    vec![
                        embedder.into(),
                        id.into(),
                        vector.text_hash.as_str().into(),
                        f64::from(vector.scale).into(),
                        Value::Bytes(bytes),
                    ],
                );
            }
        }
        let rows: Vec<Vec<Value>> = rows.into_values().collect();
        let head = "INSERT INTO vectors (embedder, paper, text_hash, scale, components)";
        let tail = "ON CONFLICT (embedder, paper) DO UPDATE SET text_hash = excluded.text_hash, \
            scale = excluded.scale, components = excluded.components";
        sql::insert(&mut write.transaction, head, &rows, tail).await?;
        write.commit().await
    }

    /// Embeddings of the papers' present texts by one encoder, a page at a time: `after` is the number that the page
    /// before ended with, 0 at first.
    ///
    /// # Errors
    /// The database refuses; a stored vector is damaged.
    pub async fn vectors(&self, embedder: &str, after: i64, limit: u32) -> Result<(Vec<StoredVector>, i64)> {
        let mut sql = Sql::new(
            "SELECT v.paper, p.handle, v.text_hash, v.scale, v.components FROM vectors v \
             JOIN papers p ON p.id = v.paper AND p.text_hash = v.text_hash WHERE v.embedder = ",
        );
        sql.arg(embedder).push(" AND v.paper > ").arg(after);
        sql.push(" ORDER BY v.paper LIMIT ").arg(i64::from(limit));
        let mut last = after;
        let mut vectors = Vec::new();
        for row in sql.rows(&mut *self.inner.pool.acquire().await?).await? {
            last = row.try_get(0)?;
            let scale: f64 = row.try_get(3)?;
            let bytes: &[u8] = row.try_get(4)?;
            vectors.push(StoredVector {
                handle: row.try_get(1)?,
                text_hash: row.try_get(2)?,
                scale: scale as f32,
                components: bytes.iter().map(|b| b.cast_signed()).collect(),
            });
        }
        Ok((vectors, last))
    }

    /// Papers that lack an embedding of their present text by this encoder, oldest first.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn missing_vectors(&self, embedder: &str, limit: u32) -> Result<Vec<Missing>> {
        let mut sql = Sql::new(
            "SELECT p.handle, p.text_hash, p.record FROM papers p WHERE NOT EXISTS (SELECT 1 FROM vectors v \
             WHERE v.paper = p.id AND v.text_hash = p.text_hash AND v.embedder = ",
        );
        sql.arg(embedder).push(") ORDER BY p.id LIMIT ").arg(i64::from(limit));
        let mut missing = Vec::new();
        for row in sql.rows(&mut *self.inner.pool.acquire().await?).await? {
            let handle: String = row.try_get(0)?;
            let record: &str = row.try_get(2)?;
            let record = serde_json::from_str(record).map_err(|e| Error::Damaged {
                what: format!("record of `{handle}`"),
                message: e.to_string(),
            })?;
            missing.push(Missing { handle, text_hash: row.try_get(1)?, record });
        }
        Ok(missing)
    }

    /// How many papers have an embedding of their present text by this encoder.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count_vectors(&self, embedder: &str) -> Result<u64> {
        let mut sql = Sql::new(
            "SELECT COUNT(*) FROM vectors v JOIN papers p ON p.id = v.paper AND p.text_hash = v.text_hash \
             WHERE v.embedder = ",
        );
        sql.arg(embedder);
        super::read::number(sql.row(&mut *self.inner.pool.acquire().await?).await?.as_ref())
    }
}

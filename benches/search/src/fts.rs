//! The rival: SQLite's full-text index FTS5 with Porter's stemmer and its own BM25, as it comes.

use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::Result;

/// An FTS5 table of titles and abstracts; document `i` is row `i + 1`.
pub(crate) struct Fts5 {
    pool: SqlitePool,
}

impl Fts5 {
    /// Builds the table in a new file.
    pub(crate) async fn build<'a>(
        file: &Path,
        documents: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        if file.exists() {
            std::fs::remove_file(file)?;
        }
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await?;
        sqlx::query("CREATE VIRTUAL TABLE papers USING fts5(title, abstract, tokenize = 'porter unicode61')")
            .execute(&pool)
            .await?;
        let mut transaction = pool.begin().await?;
        for (i, (title, text)) in documents.enumerate() {
            sqlx::query("INSERT INTO papers (rowid, title, abstract) VALUES (?, ?, ?)")
                .bind(i64::try_from(i + 1)?)
                .bind(title)
                .bind(text)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Self { pool })
    }

    /// The best documents for any of the words, with their scores (higher is better).
    pub(crate) async fn search(&self, words: &[String], limit: usize) -> Result<Vec<(usize, f64)>> {
        let any: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let rows = sqlx::query("SELECT rowid, rank FROM papers WHERE papers MATCH ? ORDER BY rank LIMIT ?")
            .bind(any.join(" OR "))
            .bind(i64::try_from(limit)?)
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok((usize::try_from(row.get::<i64, _>(0))? - 1, -row.get::<f64, _>(1))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_are_stemmed_and_any_of_them_finds() {
        let folder = tempfile::tempdir().unwrap();
        let documents = [("cats", "an animal"), ("running dogs", "they run"), ("plants", "do not run")];
        let fts = Fts5::build(&folder.path().join("fts.db"), documents.into_iter()).await.unwrap();
        let found = fts.search(&["runs".into(), "dog".into()], 10).await.unwrap();
        assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [1, 2]);
        assert!(found[0].1 > found[1].1);
    }
}

//! The schema: embedded, applied when a store is opened, refused when a newer program has changed it.
//!
//! Openers of several processes wait for each other (SQLite: `BEGIN IMMEDIATE`; PostgreSQL: an advisory lock).

use std::time::{Duration, Instant};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use crate::error::{Error, Result};
use crate::store::connect::{self, Address, Dialect};
use crate::store::sql::Sql;

/// Every version's text, oldest first. A released text is never changed again.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/0001_initial.sql")];

/// The schema version of this program.
pub const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Key of the advisory lock: the letters `ream`.
const LOCK: &str = "SELECT pg_advisory_xact_lock(1919246701)";

const META: &str = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)";

/// Brings the database to this program's schema.
pub(super) async fn migrate(address: &Address) -> Result<()> {
    let mut connection = connect::connect(address).await?;
    let result = match version(&mut connection).await {
        Ok(version) if version == SCHEMA => Ok(()),
        // newer, older, or no table yet: looked at again under the lock
        _ => apply(&mut connection, address.dialect).await,
    };
    connection.close().await?;
    result
}

async fn apply(connection: &mut AnyConnection, dialect: Dialect) -> Result<()> {
    let mut transaction = match dialect {
        Dialect::Sqlite => {
            write_ahead(connection).await?;
            connection.begin_with("BEGIN IMMEDIATE").await?
        }
        Dialect::Postgres => connection.begin().await?,
    };
    if dialect == Dialect::Postgres {
        sqlx::raw_sql(LOCK).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(META).execute(&mut *transaction).await?;
    let found = version(&mut transaction).await?;
    if found > SCHEMA {
        return Err(Error::Newer { found, known: SCHEMA });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for text in &MIGRATIONS[done..] {
        sqlx::raw_sql(AssertSqlSafe(in_dialect(text, dialect))).execute(&mut *transaction).await?;
    }
    for (name, value) in [("schema", SCHEMA), ("change", 0), ("paper", 0), ("ranking", 0)] {
        let mut sql = Sql::new("INSERT INTO meta (name, value) VALUES (");
        sql.arg(name).push(", ").arg(value).push(") ON CONFLICT (name) DO ");
        sql.push(if name == "schema" { "UPDATE SET value = excluded.value" } else { "NOTHING" });
        sql.run(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn version(connection: &mut AnyConnection) -> Result<i64> {
    let row = Sql::new("SELECT value FROM meta WHERE name = 'schema'").row(connection).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

/// Replaces the words that differ; see the head of the first migration.
fn in_dialect(text: &str, dialect: Dialect) -> String {
    let words = match dialect {
        Dialect::Sqlite => [("ROW_ID", "INTEGER"), ("BYTES", "BLOB"), ("NAME", "TEXT")],
        Dialect::Postgres => [("ROW_ID", "BIGINT"), ("BYTES", "BYTEA"), ("NAME", "TEXT COLLATE \"C\"")],
    };
    let statements: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    words.iter().fold(statements.join("\n"), |text, (word, with)| {
        text.replace(&format!(" {word}"), &format!(" {with}"))
    })
}

/// Readers beside one writer. The switch needs the file for itself and does not wait by itself.
async fn write_ahead(connection: &mut AnyConnection) -> Result<()> {
    let begun = Instant::now();
    loop {
        match Sql::new("PRAGMA journal_mode = WAL").row(connection).await {
            Ok(_) => return Ok(()),
            Err(error) if !is_busy(&error) || begun.elapsed() > Duration::from_secs(10) => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// SQLite's code 5, whatever its extension.
fn is_busy(error: &Error) -> bool {
    let Error::Store(sqlx::Error::Database(error)) = error else { return false };
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

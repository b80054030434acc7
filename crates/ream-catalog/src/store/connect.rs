//! Connections: addresses, settings of each database, and the one writer at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection, Row, Transaction};

use crate::error::{Error, Result};
use crate::store::sql::Sql;

/// How long a writer waits for the writer of another process, which may be in the middle of a large import.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a query waits for a connection, and for a server that is starting again.
const QUEUE: Duration = Duration::from_secs(10);

/// Connections of one process.
const CONNECTIONS: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) dialect: Dialect,
    /// As the driver wants it.
    url: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let file = sqlite_file(path).map_err(|message| bad(url, message))?;
            return Ok(Self { dialect: Dialect::Sqlite, url: sqlite_url(&file) });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self { dialect: Dialect::Postgres, url: url.to_owned() });
        }
        Err(bad(url, "it begins with `sqlite:` and a file, or with `postgres://`".to_owned()))
    }
}

/// An absolute path in a folder that exists.
fn sqlite_file(path: &str) -> std::result::Result<PathBuf, String> {
    if path.is_empty() || path == ":memory:" {
        return Err("a file is wanted: `sqlite:/home/ada/.ream/catalogue.db`".to_owned());
    }
    let file = std::path::absolute(path).map_err(|e| e.to_string())?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
    }
    Ok(file)
}

/// The driver takes its file name from an address: everything unusual is percent-encoded.
fn sqlite_url(file: &Path) -> String {
    let mut url = String::from("sqlite://");
    for &byte in file.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url + "?mode=rwc"
}

fn bad(url: &str, message: String) -> Error {
    Error::Address { url: without_password(url), message }
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((account, place)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = account.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{place}")
}

/// One connection, set up like those of the pool.
pub(super) async fn connect(address: &Address) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    let mut connection =
        AnyConnection::connect(&address.url).await.map_err(|e| bad(&address.url, e.to_string()))?;
    settle(&mut connection, address.dialect, READER_CACHE).await?;
    Ok(connection)
}

/// SQLite's page cache of a reader and of the writer, which touches every index, in KiB. Every connection has its own, and the system keeps
/// the file's pages as well: eight readers of 16 MiB cost 128 MiB and saved no time that could be measured.
const READER_CACHE: u32 = 2 << 10;
const WRITER_CACHE: u32 = 16 << 10;

/// Connections for readers.
pub(super) async fn readers(address: &Address) -> Result<AnyPool> {
    pool(address, CONNECTIONS, READER_CACHE).await
}

/// Connections for writers: SQLite has one at a time, and it keeps its cache; PostgreSQL has the others as well.
pub(super) async fn writers(address: &Address, readers: &AnyPool) -> Result<AnyPool> {
    match address.dialect {
        Dialect::Sqlite => pool(address, 1, WRITER_CACHE).await,
        Dialect::Postgres => Ok(readers.clone()),
    }
}

async fn pool(address: &Address, connections: u32, cache: u32) -> Result<AnyPool> {
    let dialect = address.dialect;
    let options = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(QUEUE)
        // SQLite's connections do not go stale; asking PostgreSQL again costs a round trip that a read can save
        .test_before_acquire(dialect == Dialect::Postgres)
        .after_connect(move |connection, _| {
            Box::pin(async move { settle(connection, dialect, cache).await.map_err(into_driver) })
        });
    Ok(options.connect(&address.url).await?)
}

fn into_driver(error: Error) -> sqlx::Error {
    match error {
        Error::Store(error) => error,
        other => sqlx::Error::Configuration(other.to_string().into()),
    }
}

/// Settings of a connection. SQLite: readers beside one writer (WAL, a property of the file: see `migrate`), a commit is
/// on disk when it returns, a writer waits for another process's. PostgreSQL keeps its server's settings.
async fn settle(connection: &mut AnyConnection, dialect: Dialect, cache: u32) -> Result<()> {
    match dialect {
        Dialect::Sqlite => {
            let patience = PATIENCE.as_millis();
            let text = format!(
                "PRAGMA busy_timeout = {patience}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA cache_size = -{cache};"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(connection).await?;
        }
        Dialect::Postgres => {
            let row = Sql::new("SELECT current_setting('server_version_num')").row(connection).await?;
            let version: String = row.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
            if version.parse::<u32>().unwrap_or(0) < 150_000 {
                return Err(Error::Address {
                    url: "postgres".to_owned(),
                    message: format!("PostgreSQL 15 or newer is needed, this server is {version}"),
                });
            }
        }
    }
    Ok(())
}

/// Begins a transaction that will write. SQLite takes its write lock at once: a reader that becomes a writer later can
/// be refused.
pub(super) async fn begin_write(pool: &AnyPool, dialect: Dialect) -> Result<Transaction<'static, sqlx::Any>> {
    Ok(match dialect {
        Dialect::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
        Dialect::Postgres => pool.begin().await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("with space?#").join("ü.db");
        let address = Address::parse(&format!("sqlite:{}", file.display())).unwrap();
        assert_eq!(address.dialect, Dialect::Sqlite);
        assert!(address.url.ends_with("/with%20space%3F%23/%C3%BC.db?mode=rwc"), "{}", address.url);
        assert!(file.parent().unwrap().is_dir());
        assert_eq!(Address::parse("postgresql://x/y").unwrap().dialect, Dialect::Postgres);
        for wrong in ["", "sqlite:", "sqlite::memory:", "mysql://ada:secret@host/db", "/tmp/x.db"] {
            let error = Address::parse(wrong).unwrap_err();
            assert_eq!(error.code(), "bad_database_address");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_sqlite_acknowledges_is_on_disk_and_readers_do_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("x.db").display());
        let store = crate::Store::open(&url).await.unwrap();
        for pool in [&store.inner.pool, &store.inner.writers] {
            let mut connection = pool.acquire().await.unwrap();
            let mut answers = Vec::new();
            for text in
                ["PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA foreign_keys", "PRAGMA busy_timeout"]
            {
                let row = Sql::new(text).row(&mut connection).await.unwrap().unwrap();
                let number = || row.try_get::<i64, _>(0).map(|n| n.to_string());
                answers.push(row.try_get::<String, _>(0).or_else(|_| number()).unwrap());
            }
            assert_eq!(answers, ["wal", "2", "1", "60000"]);
        }
        store.close().await;
    }
}

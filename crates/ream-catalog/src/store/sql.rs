//! SQL text with its arguments, and statements over many rows.
//!
//! Statements are put together from constants of this crate only; whatever comes from outside is an argument.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use crate::error::Result;

/// An argument. Reals are never NULL: the driver declares an absent one to PostgreSQL with another width than a present
/// one, and a prepared statement keeps the first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Real(f64),
    Text(String),
    MaybeText(Option<String>),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(storable(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::MaybeText(value.map(storable))
    }
}

/// PostgreSQL's text cannot hold the character 0. (JSON writes it as an escape, so records keep it.)
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text }
}

/// A statement under construction.
#[derive(Debug, Default)]
pub(crate) struct Sql {
    pub(crate) text: String,
    args: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), args: Vec::new() }
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds `$n` and its value.
    pub(crate) fn arg(&mut self, value: impl Into<Value>) -> &mut Self {
        self.args.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.args.len().to_string());
        self
    }

    fn list(&mut self, values: Vec<Value>) -> &mut Self {
        self.push("(");
        for (i, value) in values.into_iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            self.arg(value);
        }
        self.push(")")
    }

    fn query(self) -> Query<'static, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.text));
        for value in self.args {
            query = match value {
                Value::Int(v) => query.bind(v),
                Value::Real(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
                Value::MaybeText(v) => query.bind(v),
                Value::Bytes(v) => query.bind(v),
            };
        }
        query
    }

    pub(crate) async fn run(self, connection: &mut AnyConnection) -> Result<u64> {
        Ok(self.query().execute(connection).await?.rows_affected())
    }

    pub(crate) async fn rows(self, connection: &mut AnyConnection) -> Result<Vec<AnyRow>> {
        Ok(self.query().fetch_all(connection).await?)
    }

    pub(crate) async fn row(self, connection: &mut AnyConnection) -> Result<Option<AnyRow>> {
        Ok(self.query().fetch_optional(connection).await?)
    }
}

/// Sizes of statements over many rows: few, so that prepared statements are found again.
const SIZES: [usize; 4] = [512, 64, 8, 1];

/// Cuts a list into pieces of these sizes, at most `largest` long.
fn pieces<T>(mut items: &[T], largest: usize) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    for size in SIZES.into_iter().filter(|&size| size <= largest || size == 1) {
        while items.len() >= size {
            let (head, tail) = items.split_at(size);
            pieces.push(head);
            items = tail;
        }
    }
    pieces
}

/// `head` VALUES (..), (..) `tail`, in as many statements as it takes.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    head: &str,
    rows: &[Vec<Value>],
    tail: &str,
) -> Result<()> {
    // PostgreSQL takes 65,535 arguments, SQLite 32,766
    let largest = rows.first().map_or(1, |row| 16_000 / row.len().max(1));
    for piece in pieces(rows, largest) {
        let mut sql = Sql::new(head);
        sql.push(" VALUES ");
        for (i, row) in piece.iter().enumerate() {
            if i > 0 {
                sql.push(", ");
            }
            sql.list(row.clone());
        }
        sql.push(" ").push(tail);
        sql.run(connection).await?;
    }
    Ok(())
}

/// `head` (..) `tail` over a list of keys: rows of all pieces, in the pieces' order.
pub(crate) async fn select_in(
    connection: &mut AnyConnection,
    head: &str,
    keys: &[Value],
    tail: &str,
) -> Result<Vec<AnyRow>> {
    let mut rows = Vec::new();
    for piece in pieces(keys, 512) {
        let mut sql = Sql::new(head);
        sql.push(" ").list(piece.to_vec()).push(" ").push(tail);
        rows.extend(sql.rows(connection).await?);
    }
    Ok(rows)
}

/// `head` (..) over a list of keys.
pub(crate) async fn run_in(connection: &mut AnyConnection, head: &str, keys: &[Value]) -> Result<()> {
    for piece in pieces(keys, 512) {
        let mut sql = Sql::new(head);
        sql.push(" ").list(piece.to_vec());
        sql.run(connection).await?;
    }
    Ok(())
}

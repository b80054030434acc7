//! The feed: a page is read from one index, from where the page before ended.
//!
//! Without a filter the order's own index gives the page. An author, organisation or topic with few papers is read from
//! its own index and sorted, and so are few dates; what has many papers is looked up while the order's index is walked.

use sqlx::AnyConnection;

use crate::error::{Error, Result};
use crate::ranking::{self, Keys, Sort, Span};
use crate::record::Date;
use crate::store::names::Names;
use crate::store::sql::{Sql, Value};
use crate::store::{Cursor, FeedQuery, Page, Store, identity, read};

/// Up to this many papers are fetched and sorted; more are looked up along the order.
const FEW: u64 = 5_000;

/// How the statements begin that count papers one by one.
const COUNT: &str = "SELECT COUNT(*)";

/// Counts that are kept at most.
const TOTALS: usize = 1_000;

/// A name that papers must have.
#[derive(Clone, Debug)]
struct Wanted {
    names: Names,
    handle: String,
    papers: u64,
}

/// A query in the store's terms.
struct Plan {
    span: Option<Span>,
    /// First and last date key.
    dates: (Option<i64>, Option<i64>),
    wanted: Vec<Wanted>,
    /// The dates have few papers: they are read from their index and sorted.
    few_dates: bool,
}

impl Store {
    /// A page of the feed.
    ///
    /// # Errors
    /// A limit outside 1..=200, a date without a year, a cursor of another order; the database refuses.
    pub async fn feed(&self, query: &FeedQuery) -> Result<Page> {
        check(query)?;
        let mut connection = self.inner.pool.acquire().await?;
        let plan = plan(&mut connection, query).await?;
        let rows = page(query, &plan).rows(&mut connection).await?;
        let mut papers = rows.iter().map(read::stored).collect::<Result<Vec<_>>>()?;
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let more = papers.len() > limit;
        papers.truncate(limit);
        let next = papers.last().filter(|_| more).map(|(id, last)| Cursor {
            sort: query.sort,
            key: position(query.sort, &Keys::of(&last.record, last.edition.as_ref())),
            id: *id,
        });
        let total = self.total(&mut connection, total(query, &plan)).await?;
        Ok(Page { items: papers.into_iter().map(|(_, paper)| paper).collect(), next, total })
    }

    /// What a statement counts. A count of papers is kept until the next write: all pages of a list ask for the same.
    async fn total(&self, connection: &mut AnyConnection, sql: Sql) -> Result<u64> {
        if !sql.text.starts_with(COUNT) {
            return read::number(sql.row(connection).await?.as_ref());
        }
        let last = Sql::new("SELECT value FROM meta WHERE name = 'change'").row(&mut *connection).await?;
        // read before the count: a write between the two makes the count look older than it is, never newer
        let change = read::number(last.as_ref())?;
        let key = format!("{sql:?}");
        let known = self.inner.totals.lock().ok().and_then(|totals| totals.get(&key).copied());
        if let Some((_, total)) = known.filter(|(at, _)| *at == change) {
            return Ok(total);
        }
        let total = read::number(sql.row(connection).await?.as_ref())?;
        if let Ok(mut totals) = self.inner.totals.lock() {
            if totals.len() >= TOTALS {
                totals.clear();
            }
            totals.insert(key, (change, total));
        }
        Ok(total)
    }
}

fn check(query: &FeedQuery) -> Result<()> {
    if !(1..=200).contains(&query.limit) {
        return Err(Error::query(format!("a page has 1 to 200 papers, not {}", query.limit)));
    }
    if let Some(date) = [query.from, query.until].into_iter().flatten().find(|d| d.year().is_none()) {
        return Err(Error::query(format!(
            "`{date}` has no year: from and until are written 2024, 2024-05 or 2024-05-01"
        )));
    }
    match query.after {
        Some(cursor) if cursor.sort != query.sort => Err(Error::Cursor(cursor.to_string())),
        _ => Ok(()),
    }
}

async fn plan(connection: &mut AnyConnection, query: &FeedQuery) -> Result<Plan> {
    let span = query.sort.period().map(|period| period.containing(query.until, query.now));
    let last = |date: Date| ranking::key(date, 99, 99);
    let dates = (query.from.map(|d| ranking::key(d, 0, 0)), query.until.filter(|_| span.is_none()).map(last));
    let mut wanted = Vec::new();
    for (names, name) in [
        (Names::Authors, &query.author),
        (Names::Organisations, &query.organisation),
        (Names::Topics, &query.topic),
    ] {
        let Some(name) = name else { continue };
        let handle = identity::name_handle(name);
        let mut sql = Sql::new("SELECT papers FROM ");
        sql.push(names.table()).push(" WHERE handle = ").arg(handle.as_str());
        let papers = read::number(sql.row(&mut *connection).await?.as_ref())?;
        wanted.push(Wanted { names, handle, papers });
    }
    wanted.sort_by_key(|wanted| wanted.papers);
    let few_dates = span.is_none()
        && dates != (None, None)
        && query.sort != Sort::Newest
        && read::number(of_dates(dates).row(connection).await?.as_ref())? <= FEW;
    Ok(Plan { span, dates, wanted, few_dates })
}

/// The statement that counts the papers of some dates.
fn of_dates((first, last): (Option<i64>, Option<i64>)) -> Sql {
    let mut sql =
        Sql::new("SELECT CAST(SUM(papers) AS BIGINT) FROM tallies WHERE kind = 'day' AND place >= ");
    sql.arg(first.unwrap_or(0)).push(" AND place <= ").arg(last.unwrap_or(i64::MAX));
    sql
}

/// The column that an order sorts by.
fn column(sort: Sort) -> &'static str {
    match sort {
        Sort::Newest => "p.date_key",
        Sort::Hot => "p.hot",
        Sort::TopDay | Sort::TopWeek | Sort::TopMonth | Sort::TopYear => "p.popularity",
        Sort::Verified => "p.verified",
        Sort::Cheapest => "p.cheapest",
        Sort::Surprising => "p.surprise",
        Sort::RunsFirst => "p.runs_key",
    }
}

/// A paper's key in that column, of a real one its bits.
fn position(sort: Sort, keys: &Keys) -> i64 {
    let bits = |real: f64| real.to_bits().cast_signed();
    match sort {
        Sort::Newest => keys.date,
        Sort::Hot => bits(keys.hot),
        Sort::TopDay | Sort::TopWeek | Sort::TopMonth | Sort::TopYear => keys.popularity,
        Sort::Verified => bits(keys.verified),
        Sort::Cheapest => bits(keys.cheapest),
        Sort::Surprising => bits(keys.surprise),
        Sort::RunsFirst => keys.runs,
    }
}

fn from_position(sort: Sort, key: i64) -> Value {
    match sort {
        Sort::Hot | Sort::Verified | Sort::Cheapest | Sort::Surprising => {
            f64::from_bits(key.cast_unsigned()).into()
        }
        _ => key.into(),
    }
}

fn period_column(sort: Sort) -> &'static str {
    match sort {
        Sort::TopWeek => "p.week",
        Sort::TopMonth => "p.month",
        Sort::TopYear => "p.year",
        _ => "p.date_key",
    }
}

/// The statement that reads a page and one paper more.
fn page(query: &FeedQuery, plan: &Plan) -> Sql {
    let mut sql = Sql::new(&format!("SELECT {}", read::COLUMNS));
    filter(&mut sql, query, plan);
    // a planner takes no index for the order of an expression
    let column = format!("{}{}", if plan.few_dates { "+" } else { "" }, column(query.sort));
    if let Some(cursor) = query.after {
        sql.push(&format!(" AND ({column}, p.id) < (")).arg(from_position(query.sort, cursor.key));
        sql.push(", ").arg(cursor.id).push(")");
    }
    sql.push(&format!(" ORDER BY {column} DESC, p.id DESC LIMIT ")).arg(i64::from(query.limit) + 1);
    sql
}

/// FROM and WHERE.
fn filter(sql: &mut Sql, query: &FeedQuery, plan: &Plan) {
    let mut wanted = plan.wanted.iter();
    match plan.wanted.first().filter(|few| few.papers <= FEW) {
        Some(few) => {
            wanted.next();
            let (table, column) = (few.names.table(), few.names.column());
            // a cross join is read in the order in which it is written
            sql.push(&format!(
                " FROM paper_{table} d CROSS JOIN papers p WHERE p.id = d.paper AND d.{column} = "
            ));
            sql.arg(few.handle.as_str());
        }
        None => {
            sql.push(" FROM papers p WHERE 1 = 1");
        }
    }
    for other in wanted {
        let (table, column) = (other.names.table(), other.names.column());
        sql.push(&format!(
            " AND EXISTS (SELECT 1 FROM paper_{table} e WHERE e.paper = p.id AND e.{column} = "
        ));
        sql.arg(other.handle.as_str()).push(")");
    }
    if let Some(span) = plan.span {
        sql.push(&format!(" AND {} = ", period_column(query.sort))).arg(span.value);
    }
    if let Some(first) = plan.dates.0 {
        sql.push(" AND p.date_key >= ").arg(first);
    }
    if let Some(last) = plan.dates.1 {
        sql.push(" AND p.date_key <= ").arg(last);
    }
    if let Some(family) = &query.family {
        sql.push(" AND p.family = ").arg(family.as_str());
    }
    if query.runs_only {
        sql.push(" AND p.runs_key >= ").arg(ranking::RUNS);
    }
}

/// The statement that counts all pages: from the tallies where they suffice.
fn total(query: &FeedQuery, plan: &Plan) -> Sql {
    let narrowed = query.family.is_some() || query.runs_only;
    let (first, last) = match plan.span {
        Some(span) => (Some(plan.dates.0.map_or(span.first, |from| from.max(span.first))), Some(span.last)),
        None => plan.dates,
    };
    match plan.wanted.as_slice() {
        [] if !narrowed && first.is_none() && last.is_none() => {
            Sql::new("SELECT papers FROM tallies WHERE kind = 'all' AND place = 0")
        }
        [] if !narrowed => of_dates((first, last)),
        [one] if !narrowed && first.is_none() && last.is_none() => {
            let mut sql = Sql::new(&format!("SELECT papers FROM {} WHERE handle = ", one.names.table()));
            sql.arg(one.handle.as_str());
            sql
        }
        _ => {
            let mut sql = Sql::new(COUNT);
            filter(&mut sql, query, plan);
            sql
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Author, Record};
    use crate::store::Source;

    /// Papers enough for the planner to have a choice; every twentieth by Ada, all on one topic.
    async fn store(dir: &tempfile::TempDir) -> Store {
        let url = format!("sqlite:{}", dir.path().join("catalogue.db").display());
        let store = Store::open(&url).await.unwrap();
        let paper = |n: u32| Record {
            title: format!("Paper {n}"),
            date: format!("2024-{:02}-{:02}", 1 + n % 12, 1 + n % 28).parse().ok(),
            authors: vec![Author {
                name: if n.is_multiple_of(20) { "Ada".into() } else { format!("A {n}") },
                affiliation: None,
            }],
            topics: vec!["cs.LG".into()],
            votes: Some(n % 50),
            ..Record::default()
        };
        let source = Source { kind: "test".into(), name: "test".into() };
        store.upsert(&(0..2_000).map(paper).collect::<Vec<_>>(), &source).await.unwrap();
        store
    }

    async fn explain(store: &Store, mut sql: Sql) -> Vec<String> {
        sql.text.insert_str(0, "EXPLAIN QUERY PLAN ");
        let mut connection = store.inner.pool.acquire().await.unwrap();
        let rows = sql.rows(&mut connection).await.unwrap();
        rows.iter().map(|row| sqlx::Row::get(row, "detail")).collect()
    }

    fn query(sort: Sort) -> FeedQuery {
        FeedQuery { sort, limit: 30, now: 1_708_000_000, ..FeedQuery::default() }
    }

    #[tokio::test]
    async fn every_order_is_read_from_its_own_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        for sort in Sort::ALL {
            let index = format!("papers_{}", sort.name().replace('-', "_")).replace("surprising", "surprise");
            let cursor = Cursor { sort, key: position(sort, &Keys::of(&Record::default(), None)), id: 900 };
            for after in [None, Some(cursor)] {
                let query = FeedQuery { after, ..query(sort) };
                let mut connection = store.inner.pool.acquire().await.unwrap();
                let plan = plan(&mut connection, &query).await.unwrap();
                drop(connection);
                let steps = explain(&store, page(&query, &plan)).await;
                assert_eq!(steps.len(), 1, "{sort}: {steps:?}");
                assert!(
                    steps[0].contains(&format!("USING INDEX {index} ")) || steps[0].ends_with(&index),
                    "{sort}: {steps:?}"
                );
                assert!(after.is_none() || steps[0].starts_with("SEARCH"), "{sort}: {steps:?}");
                let steps = explain(&store, total(&query, &plan)).await;
                assert!(steps.len() == 1 && steps[0].starts_with("SEARCH tallies"), "{sort}: {steps:?}");
            }
        }
        store.close().await;
    }

    #[tokio::test]
    async fn what_is_rare_is_read_from_its_own_index_what_is_common_along_the_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let query = FeedQuery { author: Some("Ada".into()), topic: Some("cs.LG".into()), ..query(Sort::Hot) };
        let mut connection = store.inner.pool.acquire().await.unwrap();
        let mut plan = plan(&mut connection, &query).await.unwrap();
        drop(connection);
        assert_eq!(plan.wanted.iter().map(|w| w.papers).collect::<Vec<_>>(), [100, 2_000]);
        let steps = explain(&store, page(&query, &plan)).await;
        assert!(steps[0].starts_with("SEARCH d USING"), "{steps:?}");
        plan.wanted[0].papers = FEW + 1;
        let steps = explain(&store, page(&query, &plan)).await;
        assert!(steps[0].contains("INDEX papers_hot"), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
        let early = FeedQuery { until: "2024-01".parse().ok(), ..self::query(Sort::Hot) };
        let mut connection = store.inner.pool.acquire().await.unwrap();
        let plan = super::plan(&mut connection, &early).await.unwrap();
        drop(connection);
        let steps = explain(&store, page(&early, &plan)).await;
        assert!(steps[0].contains("(date_key<?)"), "{steps:?}");
        store.close().await;
    }
}

//! The orders of the feed: what each sorts by, published and versioned.
//!
//! Popularity and truth are kept apart: `newest`, `hot` and `top` never look at verdicts; `verified` and `surprising`
//! never look at votes. Every order is computed once, when a paper is written, into one column with an index; nothing
//! about a paper's place depends on when it is read. `hot` can be static because it compares an older paper with a newer
//! one by a difference that time does not change: both lose a day a day.

use std::fmt;
use std::str::FromStr;

use crate::edition::EditionFacts;
use crate::error::Error;
use crate::record::{Date, Record};

/// Version of the formulas. A store written with another version is put in order again when it is opened.
pub const VERSION: u32 = 1;

/// What changed with each version: number, date, what.
pub const CHANGES: &[(u32, &str, &str)] = &[(1, "2026-11-27", "The first formulas.")];

/// Days that count as much as ten times the votes and comments.
const HOT_DAYS: f64 = 7.0;

/// 97.5 % point of the standard normal distribution, for the 95 % interval of Wilson (1927).
const Z: f64 = 1.959_963_984_540_054;

/// Added to the key of `runs-first` where a paper runs: more than any date.
pub(crate) const RUNS: i64 = 1_000_000_000;

/// The place of a paper without the fact that an order sorts by: after all that have it.
const LAST: f64 = -1.0e300;

/// An order of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Sort {
    /// Latest date first.
    #[default]
    Newest,
    /// Votes and comments against age.
    Hot,
    /// Votes and comments among the papers of a day.
    TopDay,
    /// The same of a week, Monday to Sunday.
    TopWeek,
    /// The same of a calendar month.
    TopMonth,
    /// The same of a calendar year.
    TopYear,
    /// Share of tested claims that are confirmed.
    Verified,
    /// Least minutes of a full run first.
    Cheapest,
    /// Largest gap between claimed and measured first.
    Surprising,
    /// What runs here, then the rest; each latest first.
    RunsFirst,
}

impl Sort {
    /// Every order.
    pub const ALL: [Self; 10] = [
        Self::Newest,
        Self::Hot,
        Self::TopDay,
        Self::TopWeek,
        Self::TopMonth,
        Self::TopYear,
        Self::Verified,
        Self::Cheapest,
        Self::Surprising,
        Self::RunsFirst,
    ];

    /// Its name in addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Hot => "hot",
            Self::TopDay => "top-day",
            Self::TopWeek => "top-week",
            Self::TopMonth => "top-month",
            Self::TopYear => "top-year",
            Self::Verified => "verified",
            Self::Cheapest => "cheapest",
            Self::Surprising => "surprising",
            Self::RunsFirst => "runs-first",
        }
    }

    /// The calendar period that it is limited to.
    #[must_use]
    pub fn period(self) -> Option<Period> {
        match self {
            Self::TopDay => Some(Period::Day),
            Self::TopWeek => Some(Period::Week),
            Self::TopMonth => Some(Period::Month),
            Self::TopYear => Some(Period::Year),
            _ => None,
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sort {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|sort| sort.name() == name).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|sort| sort.name()).collect();
            Error::query(format!("there is no order `{name}`; they are {}", all.join(", ")))
        })
    }
}

/// A period of the calendar (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

/// What an order sorts by, in words and symbols.
#[must_use]
pub fn formula(sort: Sort) -> &'static str {
    match sort {
        Sort::Newest => {
            "The date of the paper, latest first. A date without a year takes the year of the arXiv number; a paper \
             without any date comes last."
        }
        Sort::Hot => {
            "log10(1 + votes + comments) + days / 7, where days counts from 1970-01-01 to the paper's date: a week \
             counts as much as ten times the votes and comments. A paper without any date counts as 0 days."
        }
        Sort::TopDay => "votes + comments, among the papers of the day.",
        Sort::TopWeek => "votes + comments, among the papers of the week, Monday to Sunday.",
        Sort::TopMonth => "votes + comments, among the papers of the calendar month.",
        Sort::TopYear => "votes + comments, among the papers of the calendar year.",
        Sort::Verified => {
            "The lower end of the 95 % Wilson interval of confirmed / tested claims, so that one confirmed claim of one \
             (0.21) does not outrank nine of ten (0.60). At reduced scale counts as confirmed. A paper without a tested \
             claim comes last."
        }
        Sort::Cheapest => {
            "Minutes of a full run on an ordinary two-core machine, least first. A paper that has not been run comes \
             last."
        }
        Sort::Surprising => {
            "The largest shortfall of its claims: how far the measured value falls short of what the claim's rule asks, \
             as a share of what was claimed. A paper without a measured claim comes last."
        }
        Sort::RunsFirst => "What runs here before what does not; within each, the date, latest first.",
    }
}

/// Why a paper stands where it stands in an order.
#[must_use]
pub fn explain(paper: &crate::Stored, sort: Sort, now: i64) -> String {
    let (record, edition) = (&paper.record, paper.edition.as_ref());
    let keys = Keys::of(record, edition);
    let (votes, comments) = (record.votes.unwrap_or(0), record.comments.unwrap_or(0));
    match sort {
        Sort::Newest => dated(record),
        Sort::Hot => {
            let age = day_of(record)
                .map_or_else(String::new, |day| format!(", {} days old", now.div_euclid(86_400) - day));
            format!(
                "hot {:.3} = log10(1 + {votes} votes + {comments} comments) + {} days / 7 ({}{age})",
                keys.hot,
                day_of(record).unwrap_or(0),
                dated(record),
            )
        }
        Sort::TopDay | Sort::TopWeek | Sort::TopMonth | Sort::TopYear => {
            format!("{votes} votes + {comments} comments = {}; {}", keys.popularity, dated(record))
        }
        Sort::Verified => match edition.filter(|e| e.tested() > 0) {
            Some(facts) => format!(
                "{} of {} tested claims confirmed; lower end of the 95 % interval {:.2}",
                facts.confirmed(),
                facts.tested(),
                keys.verified
            ),
            None => "no claim of it has been tested here".to_owned(),
        },
        Sort::Cheapest => match edition.and_then(|e| e.minutes) {
            Some(minutes) => format!("a full run takes {minutes:.1} minutes"),
            None => "no full run of it has been made here".to_owned(),
        },
        Sort::Surprising => match edition.and_then(EditionFacts::surprise) {
            Some(gap) => format!("the largest gap between claimed and measured is {:.0} %", 100.0 * gap),
            None => "no claim of it has been measured here".to_owned(),
        },
        Sort::RunsFirst => {
            let runs = edition.is_some_and(|e| e.runs);
            format!("{}; {}", if runs { "runs here" } else { "does not run here" }, dated(record))
        }
    }
}

fn dated(record: &Record) -> String {
    match (record.date, placed(record)) {
        (Some(date), Some(place)) if date != place => {
            format!("dated {date}, taken as {place} from its arXiv number")
        }
        (Some(date), Some(_)) => format!("dated {date}"),
        (None, Some(place)) => format!("no date; {place} from its arXiv number"),
        (Some(date), None) => format!("dated {date} without a year"),
        (None, None) => "no date".to_owned(),
    }
}

/// What the store sorts by. Larger comes first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keys {
    /// yyyymmdd, zeros for what is unknown.
    pub(crate) date: i64,
    /// Monday of the week, yyyymmdd.
    pub(crate) week: i64,
    /// yyyymm.
    pub(crate) month: i64,
    pub(crate) year: i64,
    pub(crate) popularity: i64,
    pub(crate) hot: f64,
    pub(crate) verified: f64,
    pub(crate) cheapest: f64,
    pub(crate) surprise: f64,
    pub(crate) runs: i64,
}

impl Keys {
    pub(crate) fn of(record: &Record, edition: Option<&EditionFacts>) -> Self {
        let place = placed(record);
        let date = place.map_or(0, |d| key(d, 0, 0));
        let popularity = i64::from(record.votes.unwrap_or(0)) + i64::from(record.comments.unwrap_or(0));
        let runs = if edition.is_some_and(|e| e.runs) { RUNS } else { 0 };
        Self {
            date,
            week: place.filter(|d| d.day().is_some()).map_or(0, |d| week(day_number(d))),
            month: if date / 100 % 100 == 0 { 0 } else { date / 100 },
            year: date / 10_000,
            popularity,
            hot: hot(popularity, place.map_or(0, day_number)),
            verified: edition.map_or(LAST, verified),
            cheapest: edition.and_then(|e| e.minutes).filter(|m| m.is_finite()).map_or(LAST, |m| -m),
            surprise: edition.and_then(EditionFacts::surprise).filter(|gap| gap.is_finite()).unwrap_or(LAST),
            runs: runs + date,
        }
    }
}

fn hot(popularity: i64, days: i64) -> f64 {
    libm::log10(1.0 + popularity as f64) + days as f64 / HOT_DAYS
}

fn verified(facts: &EditionFacts) -> f64 {
    if facts.tested() == 0 { LAST } else { wilson_lower(facts.confirmed(), facts.tested()) }
}

/// Lower end of the 95 % interval of a share (Wilson 1927).
fn wilson_lower(hits: usize, trials: usize) -> f64 {
    let (hits, trials) = (hits as f64, trials as f64);
    let spread = (hits * (trials - hits) / trials + Z * Z / 4.0).sqrt();
    ((hits + Z * Z / 2.0 - Z * spread) / (trials + Z * Z)).max(0.0)
}

/// The date that a paper is sorted by: its own, where that has no year with the year of the arXiv number (the first such
/// day not before the number's month), without a date the number's month.
pub(crate) fn placed(record: &Record) -> Option<Date> {
    let arxiv = record.arxiv.as_deref().and_then(arxiv_month);
    match (record.date, arxiv) {
        (Some(date), _) if date.year().is_some() => Some(date),
        (Some(date), Some((year, month))) => {
            let later = date.month().is_some_and(|m| m < month);
            (year..).take(9).find_map(|y| Date::new(Some(y + u16::from(later)), date.month(), date.day()))
        }
        (None, Some((year, month))) => Date::new(Some(year), Some(month), None),
        (_, None) => None,
    }
}

/// Year and month that an arXiv number begins with: `2212.07677`, `math/0309136`.
fn arxiv_month(number: &str) -> Option<(u16, u8)> {
    let digits = number.rsplit('/').next()?;
    let head = digits.get(..4).filter(|head| head.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, month) = (head[..2].parse::<u16>().ok()?, head[2..].parse::<u8>().ok()?);
    // arXiv began in 1991
    let year = if year >= 91 { 1900 + year } else { 2000 + year };
    (1..=12).contains(&month).then_some((year, month))
}

/// yyyymmdd, with `month` and `day` where the date has none.
pub(crate) fn key(date: Date, month: i64, day: i64) -> i64 {
    let part = |known: Option<u8>, otherwise| known.map_or(otherwise, i64::from);
    i64::from(date.year().unwrap_or(0)) * 10_000 + part(date.month(), month) * 100 + part(date.day(), day)
}

fn day_of(record: &Record) -> Option<i64> {
    placed(record).map(day_number)
}

/// Days since 1970-01-01 of a date with a year; what is unknown counts as the first.
fn day_number(date: Date) -> i64 {
    let (year, month, day) = (
        i64::from(date.year().unwrap_or(1970)),
        i64::from(date.month().unwrap_or(1)),
        i64::from(date.day().unwrap_or(1)),
    );
    // years begin in March, so that the leap day is the last
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + day_of_year - 719_468
}

/// The date of a day since 1970-01-01, as yyyymmdd.
fn key_of_day(days: i64) -> i64 {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * m + 2) / 5 + 1, if m < 10 { m + 3 } else { m - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    year * 10_000 + month * 100 + day
}

/// Monday of a day's week, as yyyymmdd. 1970-01-01 was a Thursday.
fn week(day: i64) -> i64 {
    key_of_day(day - (day + 3).rem_euclid(7))
}

/// A period of the calendar as the store looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The value of the period's own column.
    pub(crate) value: i64,
    /// First and last date key.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Period {
    /// The period that contains a date (what is unknown of it counts as the first) or else a time in seconds since 1970.
    pub(crate) fn containing(self, date: Option<Date>, now: i64) -> Span {
        let day = date.map_or_else(|| now.div_euclid(86_400), day_number);
        let key = key_of_day(day);
        match self {
            Self::Day => Span { value: key, first: key, last: key },
            Self::Week => {
                let monday = week(day);
                let sunday = key_of_day(day - (day + 3).rem_euclid(7) + 6);
                Span { value: monday, first: monday, last: sunday }
            }
            Self::Month => Span { value: key / 100, first: key / 100 * 100, last: key / 100 * 100 + 99 },
            Self::Year => Span {
                value: key / 10_000,
                first: key / 10_000 * 10_000,
                last: key / 10_000 * 10_000 + 9_999,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(date: Option<&str>, arxiv: Option<&str>) -> Record {
        Record {
            date: date.map(|d| d.parse().unwrap()),
            arxiv: arxiv.map(Into::into),
            votes: Some(90),
            comments: Some(9),
            ..Record::default()
        }
    }

    #[test]
    fn days_and_dates() {
        for (date, number) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("1969-12-31", -1), ("2024-05", 19_844)]
        {
            assert_eq!(day_number(date.parse().unwrap()), number, "{date}");
        }
        for day in (-200_000..200_000).step_by(17) {
            let text = key_of_day(day);
            let date = Date::new(
                u16::try_from(text / 10_000).ok(),
                u8::try_from(text / 100 % 100).ok(),
                u8::try_from(text % 100).ok(),
            );
            assert_eq!(day_number(date.unwrap()), day);
        }
    }

    #[test]
    fn a_date_without_a_year_takes_that_of_the_arxiv_number() {
        let place = |date, arxiv| placed(&record(date, arxiv)).map(|d| d.to_string());
        assert_eq!(place(Some("--02-26"), Some("2602.10001")).as_deref(), Some("2026-02-26"));
        assert_eq!(place(Some("--01-03"), Some("2512.10001")).as_deref(), Some("2026-01-03"));
        assert_eq!(place(Some("--02-29"), Some("2602.10001")).as_deref(), Some("2028-02-29"));
        assert_eq!(place(None, Some("math/9912136")).as_deref(), Some("1999-12"));
        assert_eq!(place(Some("2024"), Some("2602.10001")).as_deref(), Some("2024"));
        assert_eq!(place(Some("--02-26"), None), None);
        assert_eq!(place(None, Some("2613.1")), None);
        assert_eq!(place(None, Some("é")), None);
    }

    #[test]
    fn keys_of_a_record() {
        // a Wednesday
        let keys = Keys::of(&record(Some("2024-05-01"), None), None);
        assert_eq!((keys.date, keys.week, keys.month, keys.year), (20_240_501, 20_240_429, 202_405, 2024));
        assert_eq!((keys.popularity, keys.runs), (99, 20_240_501));
        assert!((keys.hot - (2.0 + 19_844.0 / 7.0)).abs() < 1e-9);
        let keys = Keys::of(&record(Some("2024"), None), None);
        assert_eq!((keys.date, keys.week, keys.month, keys.year), (20_240_000, 0, 0, 2024));
        let keys = Keys::of(&record(None, None), None);
        assert_eq!((keys.date, keys.week, keys.month, keys.year, keys.hot), (0, 0, 0, 0, 2.0));
    }

    #[test]
    fn periods_contain_their_days() {
        let sunday = "2024-03-03".parse().ok();
        let span = |period: Period| {
            let span = period.containing(sunday, 0);
            (span.value, span.first, span.last)
        };
        assert_eq!(span(Period::Day), (20_240_303, 20_240_303, 20_240_303));
        assert_eq!(span(Period::Week), (20_240_226, 20_240_226, 20_240_303));
        assert_eq!(span(Period::Month), (202_403, 20_240_300, 20_240_399));
        assert_eq!(span(Period::Year), (2024, 20_240_000, 20_249_999));
        assert_eq!(
            Period::Day.containing(None, 1_709_510_399).value,
            20_240_303,
            "the last second of the day"
        );
    }

    #[test]
    fn a_share_of_few_does_not_outrank_a_share_of_many() {
        // Wilson's intervals of 1 of 1 and of 9 of 10
        assert!((wilson_lower(1, 1) - 0.2065).abs() < 1e-4);
        assert!((wilson_lower(9, 10) - 0.5958).abs() < 1e-4);
        assert!(wilson_lower(0, 5).abs() < 1e-12);
        assert!(formula(Sort::Verified).contains("0.21") && formula(Sort::Verified).contains("0.60"));
    }

    #[test]
    fn versions_are_in_order_and_the_last_is_this_one() {
        assert!(CHANGES.iter().map(|(version, ..)| *version).eq(1..=VERSION));
        for sort in Sort::ALL {
            assert_eq!(sort.name().parse::<Sort>().unwrap(), sort);
            assert!(!formula(sort).is_empty());
        }
    }

    #[test]
    fn verdicts_do_not_move_popularity_and_votes_do_not_move_verdicts() {
        let claim = |verdict: &str| crate::ClaimFacts {
            id: "c1".into(),
            kind: "finding".into(),
            statement: String::new(),
            paper_figure: String::new(),
            verdict: verdict.into(),
            measured: None,
            interval: None,
            shortfall: Some(0.3),
        };
        let facts = |verdict: &str| EditionFacts {
            slug: "x".into(),
            number: 1,
            family: "causal".into(),
            topic: String::new(),
            kind: String::new(),
            line: String::new(),
            summary: String::new(),
            runs: true,
            minutes: Some(2.0),
            claims: vec![claim(verdict)],
        };
        let one = record(Some("2024-05-01"), None);
        let popular = |keys: &Keys| (keys.date, keys.popularity, keys.hot);
        let judged = |keys: &Keys| (keys.verified, keys.cheapest, keys.surprise);
        let good = Keys::of(&one, Some(&facts("confirmed")));
        let bad = Keys::of(&one, Some(&facts("not confirmed")));
        let unknown = Keys::of(&one, Some(&facts("not tested")));
        assert_eq!(popular(&good), popular(&bad));
        assert!(good.verified > bad.verified && bad.verified > unknown.verified);
        let loved = Record { votes: Some(100_000), ..one };
        assert_eq!(judged(&Keys::of(&loved, Some(&facts("confirmed")))), judged(&good));
        assert_eq!(good.runs, RUNS + 20_240_501);
    }

    #[test]
    fn a_paper_says_why_it_stands_where_it_stands() {
        let paper = crate::Stored {
            handle: "x".into(),
            record: record(Some("--05-01"), Some("2405.00001")),
            edition: None,
            added: 0,
            change: 1,
            sources: Vec::new(),
        };
        let now = 19_854 * 86_400 + 5;
        assert_eq!(
            explain(&paper, Sort::Hot, now),
            "hot 2836.857 = log10(1 + 90 votes + 9 comments) + 19844 days / 7 (dated --05-01, taken as 2024-05-01 from \
             its arXiv number, 10 days old)"
        );
        assert_eq!(explain(&paper, Sort::Verified, now), "no claim of it has been tested here");
    }
}

//! Days, weeks, months and years as lists are limited to them.

use ream_catalog::Date;

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    pub(crate) const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Year];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }
}

/// A period around a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First day.
    pub(crate) from: Date,
    /// Last day.
    pub(crate) until: Date,
    /// `2024-05-01`, `2024-04-29 to 2024-05-05`, `2024-05`, `2024`.
    pub(crate) label: String,
    /// A day of the period before.
    pub(crate) before: Option<Date>,
    /// A day of the period after.
    pub(crate) after: Option<Date>,
}

/// The period around a day since 1970; nothing outside of the years 1 to 9999.
pub(crate) fn span(period: Period, day: i64) -> Option<Span> {
    let today = date(day)?;
    let year = i64::from(today.year()?);
    let month = i64::from(today.month()?);
    let (first, last) = match period {
        Period::Day => (day, day),
        // 1970-01-01 was a Thursday, weeks begin on Monday
        Period::Week => {
            let monday = day - (day + 3).rem_euclid(7);
            (monday, monday + 6)
        }
        Period::Month if month == 12 => (number(year, 12, 1), number(year + 1, 1, 1) - 1),
        Period::Month => (number(year, month, 1), number(year, month + 1, 1) - 1),
        Period::Year => (number(year, 1, 1), number(year + 1, 1, 1) - 1),
    };
    let (from, until) = (date(first)?, date(last)?);
    let label = match period {
        Period::Day => from.to_string(),
        Period::Week => format!("{from} to {until}"),
        Period::Month => format!("{year:04}-{month:02}"),
        Period::Year => format!("{year:04}"),
    };
    Some(Span { from, until, label, before: date(first - 1), after: date(last + 1) })
}

/// Days since 1970-01-01 of a date; what it does not say counts as the first. Nothing without a year.
pub(crate) fn day(date: Date) -> Option<i64> {
    let part = |part: Option<u8>| i64::from(part.unwrap_or(1));
    Some(number(i64::from(date.year()?), part(date.month()), part(date.day())))
}

/// The date of a day since 1970-01-01.
pub(crate) fn date(day: i64) -> Option<Date> {
    // civil from days, after Hinnant, "chrono-compatible low-level date algorithms"
    let days = day.checked_add(719_468)?;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = u8::try_from(day_of_year - (153 * shifted + 2) / 5 + 1).ok()?;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = u16::try_from(year_of_era + era * 400 + i64::from(month <= 2)).ok()?;
    Date::new(Some(year), Some(u8::try_from(month).ok()?), Some(day))
}

/// Seconds since 1970 as HTTP writes them: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(seconds: i64) -> Option<String> {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let date = date(day)?;
    let weekday = WEEKDAYS[usize::try_from(day.rem_euclid(7)).ok()?];
    let month = MONTHS[usize::from(date.month()?.checked_sub(1)?)];
    let (year, day) = (date.year()?, date.day()?);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"))
}

/// Days since 1970-01-01 of a day of the calendar.
fn number(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for n in [-719_162, -1, 0, 59, 11_016, 20_000, 2_932_896] {
            assert_eq!(day(date(n).unwrap()), Some(n), "{n}");
        }
        assert_eq!(date(0).unwrap().to_string(), "1970-01-01");
        assert_eq!(date(2_932_897), None, "the year 10000");
        assert_eq!(date(i64::MAX), None);
    }

    #[test]
    fn http_writes_dates_its_own_way() {
        // The example of RFC 9110, 5.6.7.
        assert_eq!(http_date(784_111_777).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(i64::MAX), None);
    }

    #[test]
    fn periods_hold_their_day_and_touch() {
        let n = day("2024-02-29".parse().unwrap()).unwrap();
        let labels: Vec<String> =
            Period::ALL.into_iter().map(|period| span(period, n).unwrap().label).collect();
        assert_eq!(labels, ["2024-02-29", "2024-02-26 to 2024-03-03", "2024-02", "2024"]);
        for period in Period::ALL {
            for n in n - 400..n + 400 {
                let now = span(period, n).unwrap();
                let (from, until) = (day(now.from).unwrap(), day(now.until).unwrap());
                assert!(from <= n && n <= until);
                assert_eq!(now.before, date(from - 1));
                assert_eq!(span(period, until + 1).unwrap().from, now.after.unwrap());
            }
        }
    }
}

//! Times as feeds write them.

use crate::record::Date;

/// RFC 3339 in UTC of seconds since 1970; years outside 1..=9999 are held at the edge.
pub(super) fn instant(seconds: i64) -> String {
    let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The first second of a date that is known to the day.
pub(super) fn midnight(date: Date) -> Option<String> {
    (date.year().is_some() && date.day().is_some()).then(|| format!("{date}T00:00:00Z"))
}

/// Year, month and day of days since 1970 in the Gregorian calendar: years are counted from March, so that the leap day
/// is the last, in eras of 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    (year + 400 * era, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(instant(0), "1970-01-01T00:00:00Z");
        assert_eq!(instant(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(instant(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(instant(-1), "1969-12-31T23:59:59Z");
        assert_eq!(instant(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(instant(i64::MIN), "0001-01-01T00:00:00Z");
    }
}

//! Calendar time, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; `SOURCE_DATE_EPOCH` is not honoured, a run happened when it happened.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Year, month, day, hour, minute, second of some seconds since 1970.
fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    // Days to civil date, after Hinnant, "chrono-compatible low-level date algorithms".
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// `2024-05-01T12:00:00Z`.
#[must_use]
pub fn utc(seconds: u64) -> String {
    let (year, month, day, h, m, s) = civil(seconds);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// `2024-05-01`.
#[must_use]
pub fn date(seconds: u64) -> String {
    utc(seconds)[..10].to_owned()
}

/// `20240501-120000`, for names.
#[must_use]
pub fn compact(seconds: u64) -> String {
    let (year, month, day, h, m, s) = civil(seconds);
    format!("{year:04}{month:02}{day:02}-{h:02}{m:02}{s:02}")
}

/// `45 s`, `3 min 20 s`, `2 h 05 min`.
#[must_use]
pub fn span(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(compact(1_785_585_599), "20260801-115959");
        assert_eq!(span(200.0), "3 min 20 s");
        assert_eq!(span(7500.0), "2 h 05 min");
    }
}

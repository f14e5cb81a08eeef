//! Times as people read them.

use keygate_protocol::time::UnixTime;
use std::fmt;

const DAY_S: u64 = 24 * 60 * 60;

/// A time in RFC 3339, UTC.
pub(super) struct Utc(pub(super) UnixTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnixTime(seconds) = self.0;
        let (year, month, day) = date(seconds / DAY_S);
        let second = seconds % DAY_S;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day of a day since 1970: counted in years that begin in March, so that the leap day is the last.
fn date(day: u64) -> (u64, u64, u64) {
    // 400 years have 146,097 days; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A time as seen from another: `3 minutes ago`, `in 2 hours`.
pub(super) struct Relative {
    pub(super) time: UnixTime,
    pub(super) now: UnixTime,
}

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, now) = (self.time.0, self.now.0);
        let span = Span(time.abs_diff(now));
        match time.cmp(&now) {
            std::cmp::Ordering::Less => write!(f, "{span} ago"),
            std::cmp::Ordering::Equal => f.write_str("now"),
            std::cmp::Ordering::Greater => write!(f, "in {span}"),
        }
    }
}

/// A number of seconds in the largest unit that fits at least twice, or the next smaller one.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            s if s >= 2 * DAY_S => (s / DAY_S, "day"),
            s if s >= 2 * 3600 => (s / 3600, "hour"),
            s if s >= 120 => (s / 60, "minute"),
            s => (s, "second"),
        };
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} {unit}{plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // `date -u -d @N +%FT%TZ`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_461_637, "2026-11-23T19:20:37Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Utc(UnixTime(seconds)).to_string(), text);
        }
    }

    #[test]
    fn spans_are_told_in_a_unit_that_fits() {
        for (seconds, text) in [
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_199, "119 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(Span(seconds).to_string(), text);
        }
        let at = |time| Relative {
            time: UnixTime(time),
            now: UnixTime(1_000),
        };
        assert_eq!(at(400).to_string(), "10 minutes ago");
        assert_eq!(at(1_030).to_string(), "in 30 seconds");
        assert_eq!(at(1_000).to_string(), "now");
    }
}

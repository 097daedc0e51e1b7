//! Times as the API writes and reads them: RFC 3339, UTC, whole seconds, `Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::records::Time;

/// Where the second of a time ends, and a fraction may follow.
const SECOND_ENDS: usize = "2026-11-22T05:41:54".len();
/// The last second that RFC 3339 can write: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// `2026-11-22T05:41:54Z`. A time past the year 9999 is written as its last second.
pub fn rfc3339(time: Time) -> String {
    let moment = UNIX_EPOCH + Duration::from_secs(time.unix().min(LAST));
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// The second that an RFC 3339 time in UTC lies in; none for any other text, or one before the epoch.
pub fn parse_rfc3339(text: &str) -> Option<Time> {
    // The library takes `+00:00` as well, and anything behind a `+`; here UTC has one spelling, and a fraction digits.
    let digits = |rest: &str| rest.strip_prefix('.').is_some_and(is_fraction);
    text.strip_suffix('Z')?.get(SECOND_ENDS..).filter(|rest| rest.is_empty() || digits(rest))?;
    let moment: SystemTime = humantime::parse_rfc3339(text).ok()?;
    moment.duration_since(UNIX_EPOCH).ok().map(|since| Time::from_unix(since.as_secs()))
}

fn is_fraction(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The same for the end of a span: the first second that does not begin before that time. What happened in the second
/// in which a time with a fraction lies is kept as that whole second, and may lie before it.
pub fn parse_rfc3339_end(text: &str) -> Option<Time> {
    let second = parse_rfc3339(text)?;
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let is_within = fraction.bytes().any(|digit| matches!(digit, b'1'..=b'9'));
    Some(second.plus(u64::from(is_within)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(rfc3339(Time::from_unix(1_795_326_114)), "2026-11-22T05:41:54Z");
        assert_eq!(parse_rfc3339("2026-11-22T05:41:54Z"), Some(Time::from_unix(1_795_326_114)));
        assert_eq!(parse_rfc3339("2026-11-22T05:41:54.9Z"), Some(Time::from_unix(1_795_326_114)));
        assert_eq!(rfc3339(Time::from_unix(u64::MAX)), "9999-12-31T23:59:59Z");
        for other in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T05:41:54+00:00",
            "2026-11-22T05:41:54.Z",
            "2026-11-22T05:41:54.+00:0Z",
            "2026-11-22T05:41:54+Z",
            "2026-11-22T05:41:54.5+Z",
            "2026-11-22T05:41:54+01:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_rfc3339(other), None, "{other}");
        }
    }

    #[test]
    fn the_end_of_a_span_takes_in_the_second_that_it_lies_in() {
        for (text, second) in [
            ("2026-11-22T05:41:54Z", 1_795_326_114),
            ("2026-11-22T05:41:54.000Z", 1_795_326_114),
            ("2026-11-22T05:41:54.9Z", 1_795_326_115),
            ("2026-11-22T05:41:54.000000001Z", 1_795_326_115),
        ] {
            assert_eq!(parse_rfc3339_end(text), Some(Time::from_unix(second)), "{text}");
        }
        assert_eq!(parse_rfc3339_end("2026-11-22T05:41:54.Z"), None);
    }
}

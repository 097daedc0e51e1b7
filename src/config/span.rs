//! Spans of time as people write them, `12h` or `1h 30m`, in whole seconds.

use crate::settings::Bounds;

/// The longest text of a span, in bytes.
const SPAN_BYTES_MAX: usize = 64;

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// Why a text is no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanFault {
    /// Not a number with a unit, or several of them.
    #[error("is not a span of time such as \"12h\", \"30d\" or \"1h 30m\"")]
    Shape,
    /// Finer than a second.
    #[error("is not a whole number of seconds")]
    Fraction,
    /// Outside its bounds.
    #[error("must be from {} to {}", format(.0.min), format(.0.max))]
    Bounds(Bounds),
}

/// Reads a span, in seconds.
pub fn parse(text: &str, bounds: Bounds) -> Result<u64, SpanFault> {
    if text.len() > SPAN_BYTES_MAX {
        return Err(SpanFault::Shape);
    }
    let span = humantime::parse_duration(text).map_err(|_| SpanFault::Shape)?;
    if span.subsec_nanos() != 0 {
        return Err(SpanFault::Fraction);
    }
    if bounds.hold(span.as_secs()) { Ok(span.as_secs()) } else { Err(SpanFault::Bounds(bounds)) }
}

/// Writes a span in the largest unit that leaves no rest: `90m`, `12h`, `3650d`.
pub fn format(seconds: u64) -> String {
    let fits = |&&(unit, _): &&(u64, &str)| seconds.is_multiple_of(unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) if seconds > 0 => format!("{}{name}", seconds / unit),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Bounds = Bounds::new(0, 31_536_000);

    #[track_caller]
    fn check(text: &str, expected: Result<u64, SpanFault>) {
        assert_eq!((text, parse(text, YEAR)), (text, expected));
    }

    #[test]
    fn spans_are_numbers_with_units() {
        check("12h", Ok(43_200));
        check("30d", Ok(2_592_000));
        check("1h 30m", Ok(5_400));
        check("0s", Ok(0));
        check("2000ms", Ok(2));
        check("1500ms", Err(SpanFault::Fraction));
        for shapeless in
            ["", " ", "12", "h", "-1h", "1x", "forever", "18446744073709551616s", "99999999999999999d"]
        {
            check(shapeless, Err(SpanFault::Shape));
        }
    }

    #[test]
    fn bounds_are_held_at_their_ends() {
        check("365d", Ok(31_536_000));
        check("31536001s", Err(SpanFault::Bounds(YEAR)));
        assert_eq!(parse("59s", Bounds::new(60, 120)).unwrap_err().to_string(), "must be from 1m to 2m");
    }

    #[test]
    fn a_text_ends_at_its_limit() {
        let padded = |bytes: usize| format!("{}s", "0".repeat(bytes - 1));
        check(&padded(SPAN_BYTES_MAX), Ok(0));
        check(&padded(SPAN_BYTES_MAX + 1), Err(SpanFault::Shape));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (seconds, text) in
            [(0, "0s"), (1, "1s"), (90, "90s"), (5_400, "90m"), (43_200, "12h"), (86_400, "1d")]
        {
            assert_eq!(format(seconds), text);
            check(text, Ok(seconds));
        }
    }
}

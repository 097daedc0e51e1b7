//! Time as the records hold it: whole seconds since the Unix epoch, UTC.
//!
//! Whole seconds are the grain of everything that is promised: a credential with `expires_at = T` is alive
//! while `now < T` and dead at `T`. Spans are added to the second that has begun, so nothing ever lives
//! longer than it was given. This module reads no clock and knows no calendar; RFC 3339 text is made and
//! read at the edges.

use serde::{Deserialize, Serialize};

/// A moment, in whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The moment `seconds` after the epoch.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The second that `millis` after the epoch lies in.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis / 1000)
    }

    /// Seconds since the epoch.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// `seconds` later; saturates at the end of time instead of wrapping round to the past.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// `seconds` earlier; saturates at the epoch.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to here; 0 where `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn arithmetic_saturates_and_never_wraps() {
        assert_eq!(Time::from_unix(u64::MAX).plus(1), Time::from_unix(u64::MAX));
        assert_eq!(Time::from_unix(1).minus(2), Time::from_unix(0));
        assert_eq!(Time::from_unix(1).since(Time::from_unix(2)), 0);
        assert_eq!(Time::from_unix(5).since(Time::from_unix(2)), 3);
    }

    #[test]
    fn a_moment_belongs_to_the_second_that_has_begun() {
        assert_eq!(Time::from_unix_millis(1999), Time::from_unix(1));
        assert_eq!(Time::from_unix_millis(2000), Time::from_unix(2));
    }
}

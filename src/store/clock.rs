//! The time, never behind the highest that this store has seen.
//!
//! A clock that jumps back must revive nothing, not even across a restart: so the highest time is kept in
//! the store, and while the system's clock is behind it, time stands still. Only an operation that says so
//! (`clock reset`) turns it back. This is the only file of the store that reads a clock.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub enum TimeSource {
    /// The system's clock.
    #[default]
    System,
    /// Whatever was last stored here, in milliseconds since the epoch; for tests and for replaying.
    Fixed(Arc<AtomicU64>),
}

impl TimeSource {
    /// What it says, in milliseconds since the epoch.
    pub(crate) fn millis(&self) -> u64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Self::Fixed(millis) => millis.load(Ordering::Acquire),
        }
    }
}

/// The clock of one open store.
#[derive(Debug)]
pub(crate) struct Clock {
    source: TimeSource,
    highest: AtomicU64,
    persisted: AtomicU64,
    turns: Mutex<(u64, u16)>,
    /// Spreads where the turns of each millisecond begin.
    first_turns: RandomState,
}

impl Clock {
    /// A clock that was never behind `persisted` milliseconds, which the store holds.
    pub(crate) fn new(source: TimeSource, persisted: u64) -> Self {
        Self {
            source,
            highest: AtomicU64::new(persisted),
            persisted: AtomicU64::new(persisted),
            turns: Mutex::default(),
            first_turns: RandomState::new(),
        }
    }

    /// The time in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = self.source.millis();
        self.highest.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// An operation's place within the millisecond `now_ms`, behind those that had their turn before it. The first is
    /// anywhere in the lower half of 12 bits (RFC 9562, section 6.2): ids begin with it, and lists show how they
    /// begin, to tell them apart.
    pub(crate) fn turn_within(&self, now_ms: u64) -> u16 {
        const FIRST_MASK: u16 = 0x07ff;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, last) = *turns;
        let turn = if of == now_ms {
            last.saturating_add(1)
        } else {
            let [.., high, low] = self.first_turns.hash_one(now_ms).to_be_bytes();
            u16::from_be_bytes([high, low]) & FIRST_MASK
        };
        *turns = (now_ms, turn);
        turn
    }

    /// What the system's clock says, even where that lies behind.
    pub(crate) fn system_ms(&self) -> u64 {
        self.source.millis()
    }

    /// By how many milliseconds the system's clock is behind the highest time seen.
    pub(crate) fn behind_ms(&self) -> u64 {
        self.highest.load(Ordering::Acquire).saturating_sub(self.source.millis())
    }

    /// The highest time that the store holds.
    pub(crate) fn persisted_ms(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    /// The store now holds `millis`.
    pub(crate) fn persisted(&self, millis: u64) {
        self.persisted.store(millis, Ordering::Release);
        self.highest.fetch_max(millis, Ordering::AcqRel);
    }

    /// Turns the clock back to `millis`, which the store now holds.
    pub(crate) fn reset(&self, millis: u64) {
        self.persisted.store(millis, Ordering::Release);
        self.highest.store(millis, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_while_the_clock_is_behind_and_goes_on_when_it_has_caught_up() {
        let source = Arc::new(AtomicU64::new(5_000));
        let clock = Clock::new(TimeSource::Fixed(Arc::clone(&source)), 7_000);
        assert_eq!((clock.now_ms(), clock.behind_ms()), (7_000, 2_000));
        source.store(8_000, Ordering::Release);
        assert_eq!((clock.now_ms(), clock.behind_ms()), (8_000, 0));
        source.store(1_000, Ordering::Release);
        assert_eq!((clock.now_ms(), clock.behind_ms(), clock.system_ms()), (8_000, 7_000, 1_000));
    }

    #[test]
    fn the_turns_of_a_millisecond_begin_anywhere_below_half_and_follow_each_other() {
        let clock = Clock::new(TimeSource::default(), 0);
        let first: Vec<u16> = (1..=64).map(|millis| clock.turn_within(millis)).collect();
        assert!(first.iter().all(|turn| *turn < 0x800), "{first:?}");
        // Of 64 that are drawn from 2,048, more than 32 are the same once in a great many lifetimes.
        assert!(first.iter().collect::<std::collections::BTreeSet<_>>().len() > 32, "{first:?}");
        let begins = clock.turn_within(100);
        assert_eq!([clock.turn_within(100), clock.turn_within(100)], [begins + 1, begins + 2]);
    }

    #[test]
    fn only_a_reset_turns_time_back() {
        let clock = Clock::new(TimeSource::Fixed(Arc::new(AtomicU64::new(1_000))), 9_000);
        clock.persisted(8_000);
        assert_eq!(clock.now_ms(), 9_000);
        clock.reset(1_000);
        assert_eq!((clock.now_ms(), clock.persisted_ms()), (1_000, 1_000));
    }
}

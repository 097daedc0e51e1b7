//! What happens when the store fails: changes are refused, reading goes on, and the engine is opened again
//! as soon as the medium takes writes.
//!
//! A failed handle is never used again for writing, and a failed sync never believed: what is there is what
//! a new handle finds. The new handle is opened while the old one still serves readers, so that nobody is
//! left without an answer if that fails too.
//!
//! An engine that failed to read something reads nothing else: it is opened again at once, and what it failed to read
//! is not asked of the next one for a while ([`Unread`]).
//!
//! Requests are told that there is no answer, and no more: why, and since when, is a line of the log each time
//! that the health changes.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{WriteError, redb::EngineError, unread::Unread};

/// How long to wait before each further attempt: the first at once, for a fault that was over at once; the
/// last again and again, short enough that service is back within five seconds of the cause being gone.
const BACK_OFF_MILLIS: [u64; 5] = [0, 250, 500, 1_000, 2_000];

/// The least time between two openings, the second for a write that failed: a medium that takes some writes and
/// not others must not keep the writer busy.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);
/// The same, the second for a read that failed. Nothing can be read until then, by anybody, and to open the engine
/// takes milliseconds.
const REREAD_PAUSE: Duration = Duration::from_millis(50);

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It reads and writes.
    Well,
    /// It reads; there is no space to write. Changes are refused with [`WriteError::Full`].
    Full(String),
    /// It reads as far as it can, and cannot write. Changes are refused with [`WriteError::Unavailable`].
    Unavailable(String),
    /// It was closed.
    Closed,
}

impl Health {
    /// What an engine error makes of the store.
    pub(crate) fn after(error: &EngineError) -> Self {
        match error {
            EngineError::Write(failure) if failure.full => Self::Full(failure.message.clone()),
            EngineError::Write(failure) => Self::Unavailable(format!("writing: {}", failure.message)),
            EngineError::Read(message)
            | EngineError::GivenUp(message)
            | EngineError::Damaged(message)
            | EngineError::Foreign(message) => Self::Unavailable(format!("reading: {message}")),
            EngineError::InUse => Self::Unavailable("another process holds the store".to_owned()),
        }
    }

    /// Tells the log of a change from `before`. The same illness for another reason is none: each attempt to
    /// heal may find its own. Whoever closes the store knows.
    fn tell(&self, before: &Self) {
        match (before, self) {
            (Self::Well, Self::Well)
            | (Self::Full(_), Self::Full(_))
            | (Self::Unavailable(_), Self::Unavailable(_))
            | (_, Self::Closed) => {}
            (_, Self::Well) => tracing::info!("the store is well again: changes are taken"),
            (_, Self::Full(error)) => {
                tracing::error!(%error, "the store has no space: changes are refused until it has");
            }
            (_, Self::Unavailable(error)) => {
                tracing::error!(%error, "the store has failed: changes are refused until it could be opened again");
            }
        }
    }

    /// What a change is answered while the store is like this.
    pub(crate) fn refusal(&self) -> Option<WriteError> {
        match self {
            Self::Well => None,
            Self::Full(_) => Some(WriteError::Full),
            Self::Unavailable(_) | Self::Closed => Some(WriteError::Unavailable),
        }
    }
}

/// How the store is, for everybody to see.
pub(crate) struct Condition {
    health: Mutex<Health>,
    changed: Condvar,
    /// What reads from an engine that was given up since fails, and means nothing.
    engine_since: AtomicU64,
    /// How reading failed, until the writer has seen to it.
    reading_failed: Mutex<Option<EngineError>>,
    /// The rows that failed: whatever engine is opened, they are not tried again at once.
    unread: Arc<Unread>,
    reopened: AtomicU64,
    poke: Box<dyn Fn() + Send + Sync>,
}

impl Condition {
    /// `poke` wakes the writer, which alone can mend anything.
    pub(crate) fn new(poke: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            health: Mutex::new(Health::Well),
            changed: Condvar::new(),
            engine_since: AtomicU64::new(0),
            reading_failed: Mutex::default(),
            unread: Arc::default(),
            reopened: AtomicU64::new(0),
            poke: Box::new(poke),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.lock().clone()
    }

    pub(crate) fn refusal(&self) -> Option<WriteError> {
        self.lock().refusal()
    }

    pub(crate) fn set(&self, health: Health) {
        let now = health.clone();
        let before = core::mem::replace(&mut *self.lock(), health);
        self.changed.notify_all();
        // With nothing locked: whoever reads the log may be slow.
        now.tell(&before);
    }

    /// Waits until the store is well; false if it is not within `most`.
    pub(crate) fn wait_until_well(&self, most: Duration) -> bool {
        let ill = |health: &mut Health| *health != Health::Well;
        let waited = self.changed.wait_timeout_while(self.lock(), most, ill);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The rows that could not be read a moment ago.
    pub(crate) const fn unread(&self) -> &Arc<Unread> {
        &self.unread
    }

    /// A view of `generation` could not be read.
    pub(crate) fn reading_failed(&self, generation: u64, error: EngineError) {
        if self.is_given_up(generation) {
            return;
        }
        let first = {
            let mut failed = self.failed();
            let first = failed.is_none();
            failed.get_or_insert(error);
            first
        };
        if first {
            (self.poke)();
        }
    }

    /// How reading has failed since this was last asked.
    pub(crate) fn take_reading_failed(&self) -> Option<EngineError> {
        self.failed().take()
    }

    /// Whether the engine that a view of `generation` reads through was given up since.
    pub(crate) fn is_given_up(&self, generation: u64) -> bool {
        generation < self.engine_since.load(Ordering::Acquire)
    }

    /// Readers were moved over to another engine; its first view has `generation`.
    pub(crate) fn moved_over(&self, generation: u64) {
        self.engine_since.store(generation, Ordering::Release);
        *self.failed() = None;
    }

    /// The engine was opened again after a fault.
    pub(crate) fn reopened(&self) {
        self.reopened.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the engine was opened again.
    pub(crate) fn reopen_count(&self) -> u64 {
        self.reopened.load(Ordering::Relaxed)
    }

    fn failed(&self) -> MutexGuard<'_, Option<EngineError>> {
        self.reading_failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to try next.
#[derive(Debug)]
pub(crate) struct BackOff {
    attempt: usize,
    next: Instant,
}

impl BackOff {
    /// Something has just failed. The first attempt follows at once, unless the engine was opened again only
    /// a moment ago: a fault that comes back each time must not keep the writer busy.
    pub(crate) fn begin(error: &EngineError, reopened_at: Option<Instant>) -> Self {
        let pause = match error {
            EngineError::Write(_) | EngineError::InUse => REOPEN_PAUSE,
            EngineError::Read(_)
            | EngineError::GivenUp(_)
            | EngineError::Damaged(_)
            | EngineError::Foreign(_) => REREAD_PAUSE,
        };
        let now = Instant::now();
        Self { attempt: 0, next: reopened_at.map_or(now, |at| now.max(at + pause)) }
    }

    /// When the next attempt is due.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is due now.
    pub(crate) fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// An attempt has failed.
    pub(crate) fn failed(&mut self) {
        self.attempt = (self.attempt + 1).min(BACK_OFF_MILLIS.len() - 1);
        let millis = BACK_OFF_MILLIS.get(self.attempt).copied().unwrap_or_default();
        self.next = Instant::now() + Duration::from_millis(millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_leaves_time_to_be_back_within_five_seconds() {
        assert!(BACK_OFF_MILLIS.into_iter().max().unwrap() <= 2_000);
        assert!(BackOff::begin(&write_failure(), None).is_due());
    }

    fn write_failure() -> EngineError {
        EngineError::of_write(&std::io::Error::other("on purpose"))
    }

    fn read_failure() -> EngineError {
        EngineError::Read("on purpose".to_owned())
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn an_engine_that_was_opened_a_moment_ago_is_given_its_pause_before_the_next() {
        // A moment that has not come yet, so that it does not matter how long this test takes.
        let reopened_at = Instant::now() + HOUR;
        let back_off = BackOff::begin(&write_failure(), Some(reopened_at));
        assert_eq!(back_off.next(), reopened_at + REOPEN_PAUSE);
        assert!(!back_off.is_due());
    }

    #[test]
    fn a_read_that_fails_is_followed_by_an_opening_almost_at_once_and_never_without_a_pause() {
        let reopened_at = Instant::now() + HOUR;
        for error in
            [read_failure(), EngineError::GivenUp(String::new()), EngineError::Damaged(String::new())]
        {
            assert_eq!(BackOff::begin(&error, Some(reopened_at)).next(), reopened_at + REREAD_PAUSE);
        }
        assert!(!REREAD_PAUSE.is_zero() && REREAD_PAUSE <= Duration::from_millis(100));
    }

    #[test]
    fn each_attempt_that_fails_is_followed_by_a_longer_pause_up_to_the_longest() {
        let mut back_off = BackOff::begin(&write_failure(), None);
        for millis in [250, 500, 1_000, 2_000, 2_000, 2_000, 2_000] {
            let pause = Duration::from_millis(millis);
            let before = Instant::now();
            back_off.failed();
            let after = Instant::now();
            assert!((before + pause..=after + pause).contains(&back_off.next()), "{pause:?}");
        }
    }

    #[test]
    fn what_fails_to_read_from_an_engine_that_was_given_up_means_nothing() {
        let poked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&poked);
        let condition = Condition::new(move || {
            counted.fetch_add(1, Ordering::AcqRel);
        });
        let fault = read_failure();
        condition.reading_failed(1, fault.clone());
        condition.reading_failed(1, fault.clone());
        assert_eq!(poked.load(Ordering::Acquire), 1, "the writer is woken once");
        condition.moved_over(2);
        assert_eq!(condition.take_reading_failed(), None, "that was the engine before");
        condition.reading_failed(1, fault.clone());
        assert_eq!((condition.take_reading_failed(), poked.load(Ordering::Acquire)), (None, 1));
        condition.reading_failed(2, fault.clone());
        assert_eq!(poked.load(Ordering::Acquire), 2);
        assert_eq!(condition.take_reading_failed(), Some(fault));
        assert_eq!(condition.take_reading_failed(), None, "asked once more");
    }
}

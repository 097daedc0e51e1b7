//! What could not be read a moment ago, and is not tried again for a while.
//!
//! The engine gives up a handle with the first read that fails, and has to be opened again. Where a page of the
//! file cannot be read for good, whoever keeps asking for a row that lies on it would have that done again and
//! again, and hold up everybody. So what was asked for is remembered here, and for a short while the engine is not
//! asked for it: there is no answer, as there was none before, and nobody else notices.
//!
//! It knows keys and moments, and never what lies there: what is remembered can be refused, and not answered.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::redb::EngineError;
use crate::records::TableId;

/// How long a row is remembered: short enough that it is answered within five seconds of the cause being gone.
const REMEMBERED: Duration = Duration::from_secs(3);
/// Rows that are remembered; one more, and the oldest is forgotten. Of tokens, some twenty lie on a page.
const ROWS_MAX: usize = 64;

/// The rows that could not be read, oldest first.
#[derive(Default)]
pub(crate) struct Unread {
    /// Whether there are any. Nobody takes the lock while there are none.
    any: AtomicBool,
    rows: Mutex<VecDeque<Row>>,
}

struct Row {
    table: TableId,
    key: Box<[u8]>,
    until: Instant,
}

impl Row {
    fn is_at(&self, table: TableId, key: &[u8]) -> bool {
        self.table == table && *self.key == *key
    }
}

impl Unread {
    /// Whether the row at `key` could not be read a moment ago.
    pub(crate) fn holds(&self, table: TableId, key: &[u8]) -> bool {
        // Whoever misses what was only just noted asks the engine, and finds out by itself.
        self.any.load(Ordering::Relaxed) && self.holds_at(table, key, Instant::now())
    }

    /// The row at `key` was asked for, and `error` came of it.
    pub(crate) fn note(&self, table: TableId, key: &[u8], error: &EngineError) {
        match error {
            EngineError::Read(_) | EngineError::Damaged(_) => self.note_at(table, key, Instant::now()),
            // These say nothing about the row.
            EngineError::GivenUp(_)
            | EngineError::Write(_)
            | EngineError::Foreign(_)
            | EngineError::InUse => {}
        }
    }

    /// See [`Unread::holds`]; forgets what was remembered for long enough.
    pub(crate) fn holds_at(&self, table: TableId, key: &[u8], now: Instant) -> bool {
        let mut rows = self.rows();
        rows.retain(|row| now < row.until);
        self.any.store(!rows.is_empty(), Ordering::Relaxed);
        rows.iter().any(|row| row.is_at(table, key))
    }

    /// See [`Unread::note`].
    pub(crate) fn note_at(&self, table: TableId, key: &[u8], now: Instant) {
        let mut rows = self.rows();
        rows.retain(|row| !row.is_at(table, key));
        if rows.len() == ROWS_MAX {
            rows.pop_front();
        }
        rows.push_back(Row { table, key: key.into(), until: now + REMEMBERED });
        self.any.store(true, Ordering::Relaxed);
    }

    fn rows(&self) -> MutexGuard<'_, VecDeque<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId = TableId::Tokens;
    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_row_is_remembered_for_a_while_that_ends_before_service_must_be_back() {
        assert!(REMEMBERED <= Duration::from_secs(4));
        let (unread, now) = (Unread::default(), Instant::now());
        assert!(!unread.holds_at(TABLE, b"a", now));
        unread.note_at(TABLE, b"a", now + MOMENT);
        assert!(unread.holds_at(TABLE, b"a", now + REMEMBERED));
        assert!(!unread.holds_at(TABLE, b"a", now + MOMENT + REMEMBERED));
        assert!(!unread.any.load(Ordering::Relaxed), "then nobody takes the lock any more");
    }

    #[test]
    fn no_other_row_is_remembered_with_it() {
        let (unread, now) = (Unread::default(), Instant::now());
        unread.note_at(TABLE, b"a", now);
        assert!(!unread.holds_at(TABLE, b"b", now));
        assert!(!unread.holds_at(TABLE, b"", now));
        assert!(!unread.holds_at(TableId::Users, b"a", now));
    }

    #[test]
    fn a_row_that_fails_again_is_remembered_from_then_on() {
        let (unread, now) = (Unread::default(), Instant::now());
        unread.note_at(TABLE, b"a", now);
        unread.note_at(TABLE, b"a", now + MOMENT);
        assert!(unread.holds_at(TABLE, b"a", now + REMEMBERED));
        assert_eq!(unread.rows().len(), 1);
    }

    #[test]
    fn of_more_rows_than_are_remembered_the_oldest_are_forgotten() {
        let (unread, now) = (Unread::default(), Instant::now());
        for number in 0..=ROWS_MAX {
            unread.note_at(TABLE, &number.to_be_bytes(), now);
        }
        let held = |number: usize| unread.holds_at(TABLE, &number.to_be_bytes(), now);
        assert_eq!(unread.rows().len(), ROWS_MAX);
        assert!(!held(0) && (1..=ROWS_MAX).all(held));
    }

    #[test]
    fn what_fails_for_another_reason_than_what_lies_there_is_not_remembered() {
        let unread = Unread::default();
        let why = || "on purpose".to_owned();
        unread.note(TABLE, b"a", &EngineError::GivenUp(why()));
        unread.note(TABLE, b"b", &EngineError::InUse);
        assert!(unread.rows().is_empty());
        unread.note(TABLE, b"c", &EngineError::Read(why()));
        unread.note(TABLE, b"d", &EngineError::Damaged(why()));
        assert_eq!(unread.rows().len(), 2);
    }
}

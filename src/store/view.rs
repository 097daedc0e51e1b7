//! The published read view: the store as of the last commit, kept open, and swapped by the writer before it
//! answers.
//!
//! Taking it costs a read lock and a counter. Never park one: its pages cannot be used again while it lives.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    heal::Condition,
    redb::{EngineError, Snapshot},
};
use crate::records::{
    StoreKeys,
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

/// The store as of one commit.
pub struct ReadView {
    snapshot: Snapshot,
    keys: Arc<StoreKeys>,
    condition: Arc<Condition>,
    generation: u64,
}

impl ReadView {
    pub(crate) fn new(
        snapshot: Snapshot,
        keys: Arc<StoreKeys>,
        condition: Arc<Condition>,
        generation: u64,
    ) -> Self {
        Self { snapshot, keys, condition, generation }
    }

    /// What the engine holds.
    pub(crate) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Grows with each commit. What was read under one generation may be remembered only while the store
    /// is at that generation.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// An engine that could not read is opened again; until then, the answer is that there is none.
    pub(crate) fn believe<T>(&self, result: Result<T, EngineError>) -> Result<T, Fault> {
        result.map_err(|error| {
            self.condition.reading_failed(self.generation, error);
            Fault::Unreadable
        })
    }
}

impl View for ReadView {
    fn keys(&self) -> &StoreKeys {
        &self.keys
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let unread = self.condition.unread();
        if unread.holds(table, key) {
            return Err(Fault::Unreadable);
        }
        self.believe(self.snapshot.bytes(table, key).inspect_err(|error| {
            // An engine that was given up may find anything where its pages were.
            if !self.condition.is_given_up(self.generation) {
                unread.note(table, key, error);
            }
        }))
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        self.believe(self.snapshot.scan(table, range, direction, visit))?
    }
}

/// The place where the newest view is found.
pub(crate) struct Published(RwLock<Arc<ReadView>>);

impl Published {
    pub(crate) fn new(view: ReadView) -> Self {
        Self(RwLock::new(Arc::new(view)))
    }

    pub(crate) fn newest(&self) -> Arc<ReadView> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn swap(&self, view: ReadView) {
        let view = Arc::new(view);
        let old = core::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), view);
        drop(old); // outside of the lock: the last one frees its pages
    }
}

/// A store with nothing in it: what the first rows of a new store are made over.
pub struct EmptyView(StoreKeys);

impl EmptyView {
    /// Records made over it carry MACs under `keys`.
    pub const fn new(keys: StoreKeys) -> Self {
        Self(keys)
    }
}

impl View for EmptyView {
    fn keys(&self) -> &StoreKeys {
        &self.0
    }

    fn bytes(&self, _: TableId, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn scan(&self, _: TableId, _: KeyRange<'_>, _: Direction, _: &mut Visit<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::ops::Bound;

    use super::*;
    use crate::token::Key;

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let view = EmptyView::new(StoreKeys::derive(&Key::new([1; 32])));
        for table in TableId::ALL {
            assert_eq!(view.bytes(table, b""), Ok(None));
            let all = (Bound::Unbounded, Bound::Unbounded);
            assert_eq!(
                view.scan(table, all, Direction::Forwards, &mut |_, _| Err(Fault::Unreadable)),
                Ok(())
            );
        }
    }
}

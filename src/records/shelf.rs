//! A store on a shelf: ordered tables in memory, for the tests of the rules. It keeps what a transaction
//! asks for, all of it or nothing, and can be told to fail at its n-th read.

use core::{
    cell::Cell,
    ops::{ControlFlow, RangeBounds},
};
use std::collections::BTreeMap;

use super::{
    Fault, Record, StoreKeys, TableId, Txn, View, WriteSet,
    audit::Entry,
    codec,
    meta::{AuditHead, HighestTime, Setup},
    tables,
    view::{Direction, KeyRange, Visit},
};
use crate::token::Key;

/// The tables, and the keys that records in them are checked with.
#[derive(Debug)]
pub(crate) struct Shelf {
    keys: StoreKeys,
    rows: BTreeMap<(TableId, Vec<u8>), Vec<u8>>,
    reads_left: Cell<Option<u64>>,
}

impl Shelf {
    /// A store as it is when it was just created.
    pub(crate) fn new() -> Self {
        let keys = StoreKeys::derive(&Key::new([0x5e; 32]));
        let mut shelf = Self { keys, rows: BTreeMap::new(), reads_left: Cell::new(None) };
        shelf.place(&Setup::default());
        shelf.place(&AuditHead::EMPTY);
        shelf.place(&HighestTime { millis: 0 });
        shelf
    }

    /// Puts a record there without asking anybody.
    pub(crate) fn place<R: Record>(&mut self, record: &R) {
        let key = record.key();
        let stored = codec::encode(&self.keys.records, R::TABLE, &key, R::VERSION, record).unwrap();
        self.rows.insert((R::TABLE, key), stored);
    }

    /// Runs `rule` at `now_ms`; if it does not refuse, its writes are kept.
    pub(crate) fn change<T, E>(
        &mut self,
        now_ms: u64,
        rule: impl FnOnce(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut txn = Txn::new(self, now_ms);
        let answer = rule(&mut txn)?;
        let written = txn.finish().unwrap();
        self.keep(written);
        Ok(answer)
    }

    /// Takes over what a transaction asks to have written.
    pub(crate) fn keep(&mut self, written: WriteSet) {
        for (table, rows) in written.rows {
            for (key, value) in rows {
                match value {
                    Some(value) => self.rows.insert((table, key), value),
                    None => self.rows.remove(&(table, key)),
                };
            }
        }
    }

    /// The raw bytes of every row.
    pub(crate) fn rows(&self) -> &BTreeMap<(TableId, Vec<u8>), Vec<u8>> {
        &self.rows
    }

    /// Puts raw bytes at a key, or takes them away.
    pub(crate) fn tamper(&mut self, table: TableId, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.rows.insert((table, key.to_vec()), value),
            None => self.rows.remove(&(table, key.to_vec())),
        };
    }

    /// Every read after the next `reads` fails; `None` mends it.
    pub(crate) fn fail_after(&self, reads: Option<u64>) {
        self.reads_left.set(reads);
    }

    /// How many reads are left before they fail.
    pub(crate) fn reads_left(&self) -> Option<u64> {
        self.reads_left.get()
    }

    /// The audit log, oldest entry first.
    pub(crate) fn audit(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        tables::each(self, TableId::Audit, &[], &mut |key, stored| {
            entries.push(Entry::believe(self, key, stored)?);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        entries
    }

    fn read(&self) -> Result<(), Fault> {
        match self.reads_left.get() {
            Some(0) => Err(Fault::Unreadable),
            Some(left) => {
                self.reads_left.set(Some(left.saturating_sub(1)));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl View for Shelf {
    fn keys(&self) -> &StoreKeys {
        &self.keys
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.read()?;
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        self.read()?;
        let within = |key: &[u8]| RangeBounds::<[u8]>::contains(&range, key);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|((of, key), _)| *of == table && within(key))
            .map(|((_, key), value)| (key, value))
            .collect();
        if direction == Direction::Backwards {
            rows.reverse();
        }
        for (key, value) in rows {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

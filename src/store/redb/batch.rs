//! The write transaction of a batch of operations.
//!
//! What the operations write is laid over the transaction in memory, where those that follow read it, and reaches
//! the tables once, in the order of its keys, when the batch is over: a row that each of them changes is written
//! once for all of them, and rows that lie side by side go in together.

use std::cell::{OnceCell, RefCell};

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::{
    EngineError, definition,
    guard::Guard,
    pack::{self, Loose},
    scan, unharmed,
};
use crate::records::{
    StoreKeys,
    txn::{Rows, scan_over},
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

pub(super) type OpenTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The write transaction that is open, as the operations of a batch see it: with the writes of those that
/// came before.
pub(crate) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    tables: [OnceCell<OpenTable<'t>>; TableId::ALL.len()],
    written: Rows,
    keys: &'t StoreKeys,
    guard: &'t Guard,
    fault: RefCell<Option<EngineError>>,
}

impl<'t> Batch<'t> {
    pub(super) fn over(transaction: &'t WriteTransaction, keys: &'t StoreKeys, guard: &'t Guard) -> Self {
        let tables = [const { OnceCell::new() }; TableId::ALL.len()];
        Self { transaction, tables, written: Rows::new(), keys, guard, fault: RefCell::default() }
    }

    /// Whether something has gone wrong, so that nothing of this batch may be committed.
    pub(crate) fn is_spent(&self) -> bool {
        self.fault.borrow().is_some() || self.guard.failure().is_some()
    }

    /// Writes rows, for those that follow to read.
    pub(crate) fn apply(&mut self, rows: &Rows) {
        for (table, rows) in rows {
            let written = self.written.entry(*table).or_default();
            written.extend(rows.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    /// Brings what was written to the tables. If that fails, the batch is spent.
    pub(super) fn settle(&mut self, loose: &Loose) {
        let written = core::mem::take(&mut self.written);
        if let Err(error) = unharmed(|| self.put(&written, loose)) {
            self.fault.borrow_mut().get_or_insert(error);
        }
    }

    fn put(&mut self, written: &Rows, loose: &Loose) -> Result<(), EngineError> {
        for (id, rows) in written {
            self.table(*id)?;
            if let Some(table) = self.tables.get_mut(usize::from(id.number())).and_then(OnceCell::get_mut) {
                pack::put(table, rows, loose.of(*id))?;
            }
        }
        Ok(())
    }

    /// Sees to it that nothing of this batch is committed.
    pub(crate) fn spoil(&self, why: &str) {
        self.fault.borrow_mut().get_or_insert(EngineError::Read(why.to_owned()));
    }

    /// Makes every table, as a new store needs.
    pub(crate) fn make_tables(&mut self) {
        for table in TableId::ALL {
            if let Err(error) = self.table(table) {
                self.fault.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn table(&self, table: TableId) -> Result<&OpenTable<'t>, EngineError> {
        let missing = || EngineError::Read("no such table".to_owned());
        let cell = self.tables.get(usize::from(table.number())).ok_or_else(missing)?;
        if cell.get().is_none() {
            // Opened for the first time, so the cell is empty and takes it.
            let _ = cell.set(self.transaction.open_table(definition(table))?);
        }
        cell.get().ok_or_else(missing)
    }

    fn note<T>(&self, result: Result<T, EngineError>) -> Result<T, Fault> {
        result.map_err(|error| {
            self.fault.borrow_mut().get_or_insert(error);
            Fault::Unreadable
        })
    }

    pub(super) fn into_fault(self) -> Option<EngineError> {
        self.fault.into_inner()
    }
}

impl View for Batch<'_> {
    fn keys(&self) -> &StoreKeys {
        self.keys
    }

    fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(written) = self.written.get(&table).and_then(|rows| rows.get(key)) {
            return Ok(written.clone());
        }
        self.note(unharmed(|| Ok(self.table(table)?.get(key)?.map(|value| value.value().to_vec()))))
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let below = |visit: &mut Visit<'_>| {
            let walked = self.table(table).and_then(|table| scan(table, range, direction, visit));
            self.note(walked)?
        };
        scan_over(self.written.get(&table), range, direction, below, &mut |_, key, value| visit(key, value))
    }
}

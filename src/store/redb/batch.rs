//! The write transaction of a batch of operations.

use std::cell::{OnceCell, RefCell};

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::{EngineError, definition, guard::Guard, scan, unharmed};
use crate::records::{
    StoreKeys,
    txn::Rows,
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

type OpenTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The write transaction that is open, as the operations of a batch see it: with the writes of those that
/// came before.
pub(crate) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    tables: [OnceCell<OpenTable<'t>>; TableId::ALL.len()],
    keys: &'t StoreKeys,
    guard: &'t Guard,
    fault: RefCell<Option<EngineError>>,
}

impl<'t> Batch<'t> {
    pub(super) fn over(transaction: &'t WriteTransaction, keys: &'t StoreKeys, guard: &'t Guard) -> Self {
        let tables = [const { OnceCell::new() }; TableId::ALL.len()];
        Self { transaction, tables, keys, guard, fault: RefCell::default() }
    }

    /// Whether something has gone wrong, so that nothing of this batch may be committed.
    pub(crate) fn is_spent(&self) -> bool {
        self.fault.borrow().is_some() || self.guard.failure().is_some()
    }

    /// Writes rows. If that fails, the batch is spent.
    pub(crate) fn apply(&mut self, rows: &Rows) {
        if let Err(error) = unharmed(|| self.put(rows)) {
            self.fault.borrow_mut().get_or_insert(error);
        }
    }

    fn put(&mut self, rows: &Rows) -> Result<(), EngineError> {
        for (id, rows) in rows {
            self.table(*id)?;
            let Some(table) = self.tables.get_mut(usize::from(id.number())).and_then(OnceCell::get_mut)
            else {
                continue;
            };
            for (key, value) in rows {
                match value {
                    Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                    None => table.remove(key.as_slice())?,
                };
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
        self.note(unharmed(|| Ok(self.table(table)?.get(key)?.map(|value| value.value().to_vec()))))
    }

    fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), Fault> {
        let walked = self.table(table).and_then(|table| scan(table, range, direction, visit));
        self.note(walked)?
    }
}

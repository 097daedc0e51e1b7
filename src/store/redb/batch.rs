//! The write transaction of a batch of operations.
//!
//! What the operations write is laid over the transaction in memory, where those that follow read it, and reaches
//! the tables once, in the order of its keys, when the batch is over: a row that each of them changes is written
//! once for all of them, and rows that lie side by side go in together. What they read comes from there, from the rows
//! that are held in memory as the last commit left them, or from the tables.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::btree_map::Entry,
    sync::Arc,
};

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::{EngineError, definition, guard::Guard, scan, unharmed};
use crate::{
    records::{
        Held, Record as _, StoreKeys,
        client::Client,
        host::Host,
        token::Token,
        txn::{Rows, scan_over},
        user::User,
        view::{Direction, Fault, KeyRange, TableId, View, Visit},
    },
    store::{hot::HotRows, pace::Pace, unread::Unread},
};

/// Rows after which the writer gives way: some fifty microseconds where they lie side by side.
const ROWS_A_STRETCH: u32 = 16;

type OpenTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The write transaction that is open, as the operations of a batch see it: with the writes of those that
/// came before.
pub(crate) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    tables: [OnceCell<OpenTable<'t>>; TableId::ALL.len()],
    written: Rows,
    keys: &'t StoreKeys,
    guard: &'t Guard,
    fault: RefCell<Option<EngineError>>,
    /// Rows that the engine is not asked for, so that one of them fails who needs it and nobody else.
    unread: Option<Arc<Unread>>,
    /// Whether one of those was asked for.
    left_out: Cell<bool>,
    /// Rows that are held in memory, as they were before this batch.
    hot: Option<Arc<HotRows>>,
}

impl<'t> Batch<'t> {
    pub(super) fn over(transaction: &'t WriteTransaction, keys: &'t StoreKeys, guard: &'t Guard) -> Self {
        let tables = [const { OnceCell::new() }; TableId::ALL.len()];
        Self {
            transaction,
            tables,
            written: Rows::new(),
            keys,
            guard,
            fault: RefCell::default(),
            unread: None,
            left_out: Cell::new(false),
            hot: None,
        }
    }

    /// Does not ask the engine for the rows that `unread` holds, and notes there what cannot be read.
    pub(crate) fn heed(&mut self, unread: Arc<Unread>) {
        self.unread = Some(unread);
    }

    /// Goes by the rows that `hot` holds, where this batch has not written them: nobody else writes meanwhile.
    pub(crate) fn go_by(&mut self, hot: Arc<HotRows>) {
        self.hot = Some(hot);
    }

    /// Whether a row was asked for that the engine was not, since this was last asked.
    pub(crate) fn take_left_out(&self) -> bool {
        self.left_out.take()
    }

    /// Whether something has gone wrong, so that nothing of this batch may be committed.
    pub(crate) fn is_spent(&self) -> bool {
        self.fault.borrow().is_some() || self.guard.failure().is_some()
    }

    /// Writes rows, for those that follow to read.
    pub(crate) fn apply(&mut self, rows: Rows) {
        for (table, rows) in rows {
            match self.written.entry(table) {
                Entry::Vacant(place) => drop(place.insert(rows)),
                Entry::Occupied(place) => place.into_mut().extend(rows),
            }
        }
    }

    /// Brings what was written to the tables, smallest keys first: the engine fills pages that grow at the end of
    /// a table in that order, and would leave them half empty in another. If it fails, the batch is spent. Returns
    /// what was written.
    pub(super) fn settle(&mut self) -> Rows {
        let written = core::mem::take(&mut self.written);
        if let Err(error) = unharmed(|| self.put(&written)) {
            self.fault.borrow_mut().get_or_insert(error);
        }
        written
    }

    fn put(&mut self, written: &Rows) -> Result<(), EngineError> {
        let mut pace = Pace::new(ROWS_A_STRETCH);
        for (id, rows) in written {
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
                pace.step();
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

    /// Whether a held row is the one that is stored, where that can be read and believed. Asked in tests alone, of
    /// whatever row an operation goes by.
    fn has_stored(&self, held: &Held) -> bool {
        let (table, key) = held.place();
        let stored = unharmed(|| Ok(self.table(table)?.get(key.as_slice())?.map(|row| row.value().to_vec())));
        let Ok(Some(stored)) = stored else { return stored.is_err() };
        let is_same = match held {
            Held::Token(row) => Token::believe(self, key, &stored).map(|own| own == **row),
            Held::User(row) => User::believe(self, key, &stored).map(|own| own == **row),
            Held::Host(row) => Host::believe(self, key, &stored).map(|own| own == **row),
            Held::Client(row) => Client::believe(self, key, &stored).map(|own| own == **row),
        };
        is_same.unwrap_or(true)
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
        if self.unread.as_ref().is_some_and(|unread| unread.holds(table, key)) {
            self.left_out.set(true);
            return Err(Fault::Unreadable);
        }
        let read = unharmed(|| Ok(self.table(table)?.get(key)?.map(|value| value.value().to_vec())));
        if let (Err(error), Some(unread)) = (&read, &self.unread) {
            unread.note(table, key, error);
        }
        self.note(read)
    }

    fn held(&self, table: TableId, key: &[u8]) -> Option<Held> {
        let is_written = self.written.get(&table).is_some_and(|rows| rows.contains_key(key));
        let held = self.hot.as_ref().filter(|_| !is_written)?.find(table, key)?;
        if cfg!(test) {
            assert!(self.has_stored(&held), "{table:?} holds another row than the one that is stored");
        }
        Some(held)
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

#[cfg(test)]
mod tests {
    use core::ops::Bound;
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::{ReadableDatabase as _, ReadableTableMetadata as _};

    use super::{
        super::{Engine, Medium, definition},
        *,
    };
    use crate::{records::txn::TableRows, token::Key};

    const TABLE: TableId = TableId::Audit;

    fn engine() -> (Engine, StoreKeys) {
        let engine = Engine::create(&Medium::memory(), 1 << 20).unwrap();
        let keys = StoreKeys::derive(&Key::new([5; 32]));
        engine
            .transact(&keys, |batch| {
                batch.make_tables();
                true
            })
            .unwrap();
        (engine, keys)
    }

    fn of_one_table(rows: TableRows) -> Rows {
        Rows::from([(TABLE, rows)])
    }

    /// How full the pages of a table are that grew at its end, `at_once` rows a commit.
    #[track_caller]
    fn fills(at_once: u64, least_percent: u64) {
        let (engine, keys) = engine();
        let rows = |from: u64| (from..from + at_once).map(|n| (n.to_be_bytes().to_vec(), Some(vec![7; 280])));
        for from in (0..3_000 / at_once).map(|n| n * at_once) {
            let rows = of_one_table(rows(from).collect());
            engine
                .transact(&keys, |batch| {
                    batch.apply(rows);
                    true
                })
                .unwrap();
        }
        let table = engine.database.begin_read().unwrap().open_table(definition(TABLE)).unwrap();
        assert_eq!(table.len().unwrap(), 3_000 / at_once * at_once);
        let stats = table.stats().unwrap();
        let percent = stats.stored_bytes() * 100 / (stats.leaf_pages() * 4096);
        assert!(percent >= least_percent, "{at_once} rows a commit fill {percent} % of the pages");
    }

    #[test]
    fn rows_that_come_at_the_end_fill_their_pages_however_few_come_at_once() {
        for at_once in [1, 2, 5, 16, 64, 500] {
            fills(at_once, 85);
        }
    }

    /// A commit: whether it comes about, and what its operations put and remove.
    type Deed = (bool, Vec<Vec<(u8, Option<u8>)>>);

    fn commits() -> impl Strategy<Value = Vec<Deed>> {
        let row = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
        let operations = prop::collection::vec(prop::collection::vec(row, 0..6), 0..5);
        prop::collection::vec((prop::bool::weighted(0.9), operations), 1..12)
    }

    /// Values long enough that few rows fill a page, and pages split and merge.
    fn stored(value: u8) -> Vec<u8> {
        vec![value; 900 + usize::from(value)]
    }

    fn walked(view: &dyn View, range: KeyRange<'_>, direction: Direction) -> Vec<(u8, Vec<u8>)> {
        let mut rows = Vec::new();
        view.scan(TABLE, range, direction, &mut |key, value| {
            rows.push((key[0], value.to_vec()));
            Ok(core::ops::ControlFlow::Continue(()))
        })
        .unwrap();
        rows
    }

    #[track_caller]
    fn agree(view: &dyn View, model: &BTreeMap<u8, Vec<u8>>, low: u8, high: u8) {
        let (from, to) = ([low], [high]);
        let range: KeyRange<'_> = (Bound::Included(&from), Bound::Excluded(&to));
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(key, _)| (low..high).contains(*key))
            .map(|(k, v)| (*k, v.clone()))
            .collect();
        assert_eq!(walked(view, range, Direction::Forwards), expected);
        expected.reverse();
        assert_eq!(walked(view, range, Direction::Backwards), expected);
        for key in 0..=u8::MAX {
            assert_eq!(view.bytes(TABLE, &[key]).unwrap().as_ref(), model.get(&key));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_batch_reads_what_was_written_before_and_the_tables_hold_it_afterwards(
            commits in commits(), low: u8, high: u8,
        ) {
            let (engine, keys) = engine();
            let mut model: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
            for (comes_about, operations) in commits {
                let mut next = model.clone();
                engine.transact(&keys, |batch| {
                    for operation in operations {
                        let rows: TableRows = operation
                            .into_iter()
                            .map(|(key, value)| (vec![key], value.map(stored)))
                            .collect();
                        for (key, value) in &rows {
                            match value {
                                Some(value) => drop(next.insert(key[0], value.clone())),
                                None => drop(next.remove(&key[0])),
                            }
                        }
                        batch.apply(of_one_table(rows));
                        agree(batch, &next, low, high);
                    }
                    comes_about
                }).unwrap();
                if comes_about {
                    model = next;
                }
                // What is in the tables, with nothing laid over them.
                engine.transact(&keys, |batch| { agree(batch, &model, low, high); false }).unwrap();
            }
        }
    }
}

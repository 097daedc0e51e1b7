//! The engine: redb, and the only module that names it.
//!
//! One redb table for each [`TableId`], bytes to bytes, so that no type of redb's is bound to the schema.
//! Every commit is durable, in two phases, and keeps the allocator's state ("quick repair"): with one phase
//! a flipped bit in the newest pages after a crash makes redb fall back to the root before, and
//! acknowledged changes are gone without an error. It knows bytes and tables, and nothing of records,
//! files' names or when to open again.

mod batch;
mod copy;
mod error;
mod guard;
mod medium;
mod read_only;

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

/// What tests put under the engine.
#[cfg(test)]
pub(crate) use ::redb::StorageBackend as Backend;
use ::redb::{
    Builder, Database, Durability, MultimapTableHandle as _, ReadOnlyTable, ReadTransaction,
    ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _, TableDefinition, TableHandle as _,
    WriteTransaction,
};

use self::guard::{Guard, Guarded};
pub(crate) use self::{batch::Batch, error::EngineError, guard::WriteFailure, medium::Medium};
use crate::records::{
    StoreKeys,
    txn::Rows,
    view::{Direction, Fault, KeyRange, TableId, Visit, is_empty},
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

const fn definition(table: TableId) -> Definition {
    TableDefinition::new(table.name())
}

/// How to open what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// The most memory that pages are kept in, in bytes.
    pub(crate) cache_bytes: usize,
    /// Write nothing to the medium, whatever the engine would repair.
    pub(crate) dry: bool,
    /// Verify every page first.
    pub(crate) verify: bool,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Engine {
    database: Database,
    guard: Arc<Guard>,
    medium: Medium,
}

impl Engine {
    /// Opens what is on the medium. Never makes a store of an empty one.
    pub(crate) fn open(medium: &Medium, opening: Opening) -> Result<Self, EngineError> {
        if medium.len()? == 0 {
            return Err(EngineError::Damaged("the file is empty".to_owned()));
        }
        Self::start(medium, opening)
    }

    /// Makes an empty store on an empty medium.
    pub(crate) fn create(medium: &Medium, cache_bytes: usize) -> Result<Self, EngineError> {
        if medium.len()? != 0 {
            return Err(EngineError::Damaged("there is something already".to_owned()));
        }
        Self::start(medium, Opening { cache_bytes, dry: false, verify: false })
    }

    /// Makes a copy of `snapshot` on an empty medium, durably, and closes it. Answers how many rows each
    /// table has.
    pub(crate) fn copy(
        snapshot: &Snapshot,
        medium: &Medium,
        cache_bytes: usize,
    ) -> Result<Vec<u64>, EngineError> {
        let engine = Self::create(medium, cache_bytes)?;
        let rows = copy::rows(snapshot, &engine)?;
        engine.close().map(|()| rows)
    }

    fn start(medium: &Medium, opening: Opening) -> Result<Self, EngineError> {
        let guard =
            Guard::new(medium.clone(), opening.dry).map_err(|error| EngineError::Read(error.to_string()))?;
        let end = Guarded(Arc::clone(&guard));
        let database = unharmed(|| {
            Ok(Builder::new()
                .set_cache_size(opening.cache_bytes)
                .set_check_integrity_on_open(opening.verify)
                .create_with_backend(end)?)
        })?;
        Ok(Self { database, guard, medium: medium.clone() })
    }

    /// The state after the last commit, for reading.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, EngineError> {
        unharmed(|| {
            let transaction = self.database.begin_read()?;
            let tables = TableId::ALL.iter().map(|table| transaction.open_table(definition(*table)));
            Ok(Snapshot { tables: tables.collect::<Result<_, _>>()? })
        })
    }

    /// The names of the tables that the file has beside those in [`TableId::ALL`], and those that it lacks.
    pub(crate) fn strange_tables(&self) -> Result<(Vec<String>, Vec<&'static str>), EngineError> {
        unharmed(|| {
            let transaction = self.database.begin_read()?;
            let found = table_names(&transaction)?;
            let known = TableId::ALL.map(TableId::name);
            let missing =
                known.iter().filter(|name| !found.iter().any(|other| other == *name)).copied().collect();
            Ok((found.into_iter().filter(|name| !known.contains(&name.as_str())).collect(), missing))
        })
    }

    /// One value, without the detour over all tables: a file of another version may lack some.
    pub(crate) fn raw(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        unharmed(|| {
            let table = self.database.begin_read()?.open_table(definition(table))?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Runs `work` over one write transaction and commits it durably if `work` says so. Returns what was written, which
    /// is nothing without a commit. An error means that the handle is spent: the change may be there or not when the
    /// medium is opened again.
    pub(crate) fn transact(
        &self,
        keys: &StoreKeys,
        work: impl FnOnce(&mut Batch<'_>) -> bool,
    ) -> Result<Rows, EngineError> {
        let result = unharmed(|| {
            let transaction = self.begin()?;
            let mut batch = Batch::over(&transaction, keys, &self.guard);
            let commit = work(&mut batch);
            let written = if commit { batch.settle() } else { Rows::new() };
            match batch.into_fault() {
                Some(fault) => return transaction.abort().map_err(EngineError::from).and(Err(fault)),
                None if commit => transaction.commit()?,
                None => transaction.abort()?,
            }
            Ok(written)
        });
        self.whole(result)
    }

    /// Makes a table that this version does not know.
    #[cfg(test)]
    pub(crate) fn make_strange_table(&self, name: &str) -> Result<(), EngineError> {
        self.committed(|transaction| {
            transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(name))?;
            Ok(())
        })
    }

    /// Takes a table away.
    #[cfg(test)]
    pub(crate) fn lose_table(&self, table: TableId) -> Result<(), EngineError> {
        self.committed(|transaction| Ok(transaction.delete_table(definition(table)).map(drop)?))
    }

    /// Runs `work` over one write transaction and commits it durably, unless it fails.
    fn committed<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.whole(unharmed(|| {
            let transaction = self.begin()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        }))
    }

    fn begin(&self) -> Result<WriteTransaction, EngineError> {
        let mut transaction = self.database.begin_write()?;
        // Refused only for transactions that touched savepoints.
        let _ = transaction.set_durability(Durability::Immediate);
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn whole<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        // A write that failed is the cause of whatever else went wrong.
        match self.guard.failure() {
            Some(failure) => Err(EngineError::Write(failure.clone())),
            None => result,
        }
    }

    /// Commits nothing, durably: proves that the medium takes writes, and that what was found on it stays.
    pub(crate) fn confirm(&self, keys: &StoreKeys) -> Result<(), EngineError> {
        self.transact(keys, |_| true).map(drop)
    }

    /// Whether a write has failed since this engine was opened.
    pub(crate) fn failure(&self) -> Option<&WriteFailure> {
        self.guard.failure()
    }

    /// Gives the handle up: nothing that it still does reaches the medium, and reading goes on until it is
    /// dropped.
    pub(crate) fn abandon(&self) -> Result<(), EngineError> {
        self.guard.divert().map_err(|error| EngineError::Read(error.to_string()))
    }

    /// Drops a handle that was abandoned, whatever state it is in.
    pub(crate) fn discard(self) {
        let _ = unharmed(|| {
            drop(self.database);
            Ok(())
        });
    }

    /// Closes an engine that is done with, keeping the medium's locks.
    pub(crate) fn close(self) -> Result<(), EngineError> {
        let Self { database, guard, .. } = self;
        let closed = unharmed(|| Ok(database.close()?));
        match guard.failure() {
            Some(failure) => Err(EngineError::Write(failure.clone())),
            None => closed,
        }
    }

    /// The medium's size in bytes.
    pub(crate) fn size(&self) -> Result<u64, EngineError> {
        self.medium.len()
    }
}

fn table_names(transaction: &ReadTransaction) -> Result<Vec<String>, EngineError> {
    let plain = transaction.list_tables()?.map(|table| table.name().to_owned());
    let multi = transaction.list_multimap_tables()?.map(|table| table.name().to_owned());
    Ok(plain.chain(multi).collect())
}

/// A damaged page can make redb panic. That is damage, and no reason to go down.
fn unharmed<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(EngineError::Damaged("the engine gave up on what it read".to_owned())))
}

/// The store as of one commit.
pub(crate) struct Snapshot {
    tables: Vec<ReadTable>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // A handle that a damaged page has broken can break whoever lets go of it.
        let _ = unharmed(|| {
            self.tables.clear();
            Ok(())
        });
    }
}

impl Snapshot {
    /// The value at `key`.
    pub(crate) fn bytes(&self, table: TableId, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let table = self.table(table)?;
        unharmed(|| Ok(table.get(key)?.map(|value| value.value().to_vec())))
    }

    /// Walks the rows of `range`. The outer error is the engine's, the inner one the visitor's.
    pub(crate) fn scan(
        &self,
        table: TableId,
        range: KeyRange<'_>,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<Result<(), Fault>, EngineError> {
        scan(self.table(table)?, range, direction, visit)
    }

    /// How many rows each table has.
    pub(crate) fn row_counts(&self) -> Result<Vec<u64>, EngineError> {
        unharmed(|| Ok(self.tables.iter().map(ReadTable::len).collect::<Result<_, _>>()?))
    }

    fn table(&self, table: TableId) -> Result<&ReadTable, EngineError> {
        // There is one for each: `Engine::snapshot` opened them all.
        self.tables
            .get(usize::from(table.number()))
            .ok_or_else(|| EngineError::Read("no such table".to_owned()))
    }
}

/// Walks `range` of any table. A panic of the visitor is the visitor's; one of the engine is damage.
fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: KeyRange<'_>,
    direction: Direction,
    visit: &mut Visit<'_>,
) -> Result<Result<(), Fault>, EngineError> {
    if is_empty(range) {
        return Ok(Ok(()));
    }
    let mut rows = unharmed(|| Ok(table.range::<&[u8]>(range)?))?;
    loop {
        let row = unharmed(|| {
            Ok(match direction {
                Direction::Forwards => rows.next(),
                Direction::Backwards => rows.next_back(),
            }
            .transpose()?)
        })?;
        let Some((key, value)) = row else { return Ok(Ok(())) };
        match catch_unwind(AssertUnwindSafe(|| visit(key.value(), value.value()))) {
            Ok(Ok(ControlFlow::Continue(()))) => {}
            Ok(Ok(ControlFlow::Break(()))) => return Ok(Ok(())),
            Ok(Err(fault)) => return Ok(Err(fault)),
            Err(panic) => {
                // Let the engine's own guards go first, outside of an unwinding thread.
                drop((key, value, rows));
                resume_unwind(panic)
            }
        }
    }
}

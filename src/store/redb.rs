//! The engine: redb, and the only module that names it.
//!
//! One redb table for each [`TableId`], bytes to bytes, so that no type of redb's is bound to the schema.
//! Every commit is durable, in two phases, and keeps the allocator's state ("quick repair"): with one phase
//! a flipped bit in the newest pages after a crash makes redb fall back to the root before, and
//! acknowledged changes are gone without an error. It knows bytes and tables, and nothing of records,
//! files' names or when to open again.

mod guard;

use std::{
    cell::{OnceCell, RefCell},
    fs::File,
    io,
    ops::{Bound, ControlFlow},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use ::redb::{
    Builder, CommitError, Database, DatabaseError, Durability, ReadOnlyTable, ReadTransaction,
    ReadableDatabase as _, ReadableTable, StorageBackend, StorageError, Table, TableDefinition, TableError,
    TableHandle as _, TransactionError, WriteTransaction,
    backends::{FileBackend, InMemoryBackend},
};

/// What tests put under the engine.
#[cfg(test)]
pub(crate) use ::redb::StorageBackend as Backend;

pub(crate) use self::guard::WriteFailure;
use self::guard::{Guard, Guarded};
use crate::records::{
    StoreKeys,
    txn::Rows,
    view::{Direction, Fault, KeyRange, TableId, View, Visit},
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type OpenTable<'t> = Table<'t, &'static [u8], &'static [u8]>;
type ReadTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

const fn definition(table: TableId) -> Definition {
    TableDefinition::new(table.name())
}

/// Why the engine could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// Another process has the store open.
    InUse,
    /// What lies there is not a whole store.
    Damaged(String),
    /// Of a version that this one does not know.
    Foreign(String),
    /// A write did not succeed.
    Write(WriteFailure),
    /// Reading did not succeed, or the handle was given up.
    Read(String),
}

impl EngineError {
    /// A write outside of the engine that did not succeed.
    pub(crate) fn of_write(error: &io::Error) -> Self {
        Self::Write(WriteFailure::of(error))
    }
}

impl From<StorageError> for EngineError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(message) => Self::Damaged(message),
            StorageError::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(error.to_string()),
                _ => Self::Read(error.to_string()),
            },
            other => Self::Read(other.to_string()),
        }
    }
}

impl From<DatabaseError> for EngineError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::UpgradeRequired(version) => Self::Foreign(format!("file format {version}")),
            DatabaseError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TableError> for EngineError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<TransactionError> for EngineError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Read(other.to_string()),
        }
    }
}

impl From<CommitError> for EngineError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Read(other.to_string()),
        }
    }
}

/// Where the bytes are: a file, or memory. Shared by the engines that are opened on it one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Medium(Arc<dyn StorageBackend>);

impl Medium {
    /// A file that is open for reading and writing.
    pub(crate) fn file(file: File) -> Result<Self, EngineError> {
        Ok(Self(Arc::new(FileBackend::new(file)?)))
    }

    /// Memory, gone with the last handle.
    pub(crate) fn memory() -> Self {
        Self(Arc::new(InMemoryBackend::new()))
    }

    /// Anything else; tests inject faults here.
    #[cfg(test)]
    pub(crate) fn custom(backend: impl StorageBackend) -> Self {
        Self(Arc::new(backend))
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> Result<u64, EngineError> {
        self.0.len().map_err(|error| EngineError::Read(error.to_string()))
    }

    /// Gives its locks back.
    pub(crate) fn release(&self) {
        // All that can fail is giving back locks, which go with the file itself anyway.
        let _ = self.0.close();
    }

    fn backend(&self) -> &dyn StorageBackend {
        self.0.as_ref()
    }
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

    /// Runs `work` over one write transaction and commits it durably if `work` says so. An error means that
    /// the handle is spent: the change may be there or not when the medium is opened again.
    pub(crate) fn transact(
        &self,
        keys: &StoreKeys,
        work: impl FnOnce(&mut Batch<'_>) -> bool,
    ) -> Result<(), EngineError> {
        let result = unharmed(|| {
            let mut transaction = self.database.begin_write()?;
            // Refused only for transactions that touched savepoints.
            let _ = transaction.set_durability(Durability::Immediate);
            transaction.set_two_phase_commit(true);
            transaction.set_quick_repair(true);
            let mut batch = Batch::over(&transaction, keys, &self.guard);
            let commit = work(&mut batch);
            let fault = batch.into_fault();
            match fault {
                Some(fault) => {
                    transaction.abort()?;
                    Err(fault)
                }
                None if commit => Ok(transaction.commit()?),
                None => Ok(transaction.abort()?),
            }
        });
        // A write that failed is the cause of whatever else went wrong.
        match self.guard.failure() {
            Some(failure) => Err(EngineError::Write(failure.clone())),
            None => result,
        }
    }

    /// Commits nothing, durably: proves that the medium takes writes, and that what was found on it stays.
    pub(crate) fn confirm(&self, keys: &StoreKeys) -> Result<(), EngineError> {
        self.transact(keys, |_| true)
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

    /// Closes an engine that is done with, keeping the medium's locks.
    pub(crate) fn close(self) -> Result<(), EngineError> {
        let Self { database, guard, .. } = self;
        unharmed(|| Ok(database.close()?))?;
        match guard.failure() {
            Some(failure) => Err(EngineError::Write(failure.clone())),
            None => Ok(()),
        }
    }

    /// The medium's size in bytes.
    pub(crate) fn size(&self) -> Result<u64, EngineError> {
        self.medium.len()
    }
}

fn table_names(transaction: &ReadTransaction) -> Result<Vec<String>, EngineError> {
    let plain = transaction.list_tables()?.map(|table| table.name().to_owned());
    let multi = transaction.list_multimap_tables()?.map(|table| {
        use ::redb::MultimapTableHandle as _;
        table.name().to_owned()
    });
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

    fn table(&self, table: TableId) -> Result<&ReadTable, EngineError> {
        // There is one for each: `Engine::snapshot` opened them all.
        self.tables
            .get(usize::from(table.number()))
            .ok_or_else(|| EngineError::Read("no such table".to_owned()))
    }
}

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
    fn over(transaction: &'t WriteTransaction, keys: &'t StoreKeys, guard: &'t Guard) -> Self {
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

    fn into_fault(self) -> Option<EngineError> {
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

/// Whether no key can lie in `range`.
fn is_empty((low, high): KeyRange<'_>) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
    }
}

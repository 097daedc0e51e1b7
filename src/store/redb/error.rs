//! What can go wrong in the engine, as the rest of the store tells it apart.

use std::io;

use redb::{CommitError, CursorError, DatabaseError, StorageError, TableError, TransactionError};

use super::guard::WriteFailure;
use crate::store::error::OpenError;

/// How the engine says that a newer version of it wrote a file; it has no error of its own for that.
const NEWER_FORMAT: &str = "Expected file format version <=";

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
    /// Reading did not succeed.
    Read(String),
    /// The engine gave the handle up when something else had failed, and was not asked.
    GivenUp(String),
}

impl EngineError {
    /// A write outside of the engine that did not succeed.
    pub(crate) fn of_write(error: &io::Error) -> Self {
        Self::Write(WriteFailure::of(error))
    }

    /// Something with the files beside that did not succeed.
    pub(crate) fn of(error: OpenError) -> Self {
        match error {
            OpenError::System { error, .. } => Self::of_write(&error),
            other => Self::Read(other.to_string()),
        }
    }
}

impl From<StorageError> for EngineError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(message) if message.contains(NEWER_FORMAT) => Self::Foreign(message),
            StorageError::Corrupted(message) => Self::Damaged(message),
            StorageError::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(error.to_string()),
                _ => Self::Read(error.to_string()),
            },
            StorageError::PreviousIo | StorageError::DatabaseClosed => Self::GivenUp(error.to_string()),
            other => Self::Read(other.to_string()),
        }
    }
}

impl From<DatabaseError> for EngineError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::UpgradeRequired(version) => {
                Self::Damaged(format!("its file format, {version}, is older than any that bearerd wrote"))
            }
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

impl From<CursorError> for EngineError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
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

//! Where the bytes are.

use std::{fs::File, io, sync::Arc};

use redb::{
    StorageBackend,
    backends::{FileBackend, InMemoryBackend},
};

use super::{EngineError, read_only::ReadOnlyFile};

/// Where the bytes are: a file, or memory. Shared by the engines that are opened on it one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Medium(Arc<dyn StorageBackend>);

impl Medium {
    /// A file that is open for reading and writing.
    pub(crate) fn file(file: File) -> Result<Self, EngineError> {
        Ok(Self(Arc::new(FileBackend::new(file)?)))
    }

    /// A file that is open for reading, and that nobody writes to.
    pub(crate) fn read_only(file: File) -> Self {
        Self(Arc::new(ReadOnlyFile(file)))
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

    /// Reads what lies at `offset`.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    /// Gives its locks back.
    pub(crate) fn release(&self) {
        // All that can fail is giving back locks, which go with the file itself anyway.
        let _ = self.0.close();
    }

    /// What the engine is given, through its guard.
    pub(super) fn backend(&self) -> &dyn StorageBackend {
        self.0.as_ref()
    }
}

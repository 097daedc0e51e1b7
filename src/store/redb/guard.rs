//! What the engine reads and writes through.
//!
//! redb gives up a handle for good after one failed write, reading included. A daemon that goes on verifying
//! while its disk is full cannot have that. So the engine never sees a failed write: from the first failure
//! on (or from the start, for a dry run) nothing more reaches the medium, and what the engine goes on
//! writing is laid over it in memory, where it reads it back. The failure is kept beside, and whoever
//! commits must ask for it: a commit counts only if [`Guard::failure`] is still none afterwards.
//!
//! Locks belong to the medium, not to one engine on it, so that a second engine can be opened on the same
//! medium before the first is given up.

use std::{
    collections::HashMap,
    io,
    ops::Bound,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend};

use super::Medium;

const BLOCK_BYTES: usize = 4096;
const BLOCK_BYTES_U64: u64 = 4096;

/// Why writing stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteFailure {
    /// No space, no quota, or a limit on the size of files.
    pub(crate) full: bool,
    /// What the system said.
    pub(crate) message: String,
}

impl From<WriteFailure> for io::Error {
    fn from(failure: WriteFailure) -> Self {
        if failure.full {
            Self::new(io::ErrorKind::StorageFull, failure.message)
        } else {
            Self::other(failure.message)
        }
    }
}

impl WriteFailure {
    /// What an error of the file system means for the store.
    pub(crate) fn of(error: &io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        Self { full, message: error.to_string() }
    }
}

/// A medium, and what is held back from it.
#[derive(Debug)]
pub(crate) struct Guard {
    medium: Medium,
    diverted: AtomicBool,
    failure: OnceLock<WriteFailure>,
    over: RwLock<Over>,
}

impl Guard {
    /// Writes reach `medium` until one fails; with `dry`, none does.
    pub(super) fn new(medium: Medium, dry: bool) -> io::Result<Arc<Self>> {
        let over = if dry { Over::beginning(medium.backend().len()?) } else { Over::default() };
        Ok(Arc::new(Self {
            medium,
            diverted: AtomicBool::new(dry),
            failure: OnceLock::new(),
            over: RwLock::new(over),
        }))
    }

    /// The first write that failed.
    pub(crate) fn failure(&self) -> Option<&WriteFailure> {
        self.failure.get()
    }

    /// From here on nothing reaches the medium. To be called before another engine is opened on it.
    pub(crate) fn divert(&self) -> io::Result<()> {
        let mut over = self.over.write().unwrap_or_else(PoisonError::into_inner);
        if !self.diverted.load(Ordering::Acquire) {
            *over = Over::beginning(self.medium.backend().len()?);
            self.diverted.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Runs `write` on the medium, unless writes are held back; true if it is done.
    fn attempt(&self, write: impl FnOnce(&dyn StorageBackend) -> io::Result<()>) -> io::Result<bool> {
        if self.diverted.load(Ordering::Acquire) {
            return Ok(false);
        }
        match write(self.medium.backend()) {
            Ok(()) => Ok(true),
            Err(error) => {
                // The first one counts; only the writer's thread writes, so there is no other.
                let _ = self.failure.set(WriteFailure::of(&error));
                self.divert()?;
                Ok(false)
            }
        }
    }

    fn with_over<T>(&self, change: impl FnOnce(&mut Over) -> T) -> T {
        change(&mut self.over.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What was written since writes are held back.
#[derive(Debug, Default)]
struct Over {
    /// How long the engine believes the medium to be.
    len: u64,
    /// Up to where the medium's own bytes still show through: the shortest that it has been since.
    shows: u64,
    blocks: HashMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl Over {
    fn beginning(len: u64) -> Self {
        Self { len, shows: len, blocks: HashMap::new() }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.shows = self.shows.min(len);
            self.blocks.retain(|block, _| block.saturating_mul(BLOCK_BYTES_U64) < len);
            let (block, within) = (len / BLOCK_BYTES_U64, usize_of(len % BLOCK_BYTES_U64));
            if let Some(tail) = self.blocks.get_mut(&block).and_then(|bytes| bytes.get_mut(within..)) {
                tail.fill(0);
            }
        }
        self.len = len;
    }

    fn read(&self, medium: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.within(offset, out.len())?;
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let (block, within, here) = piece(at, rest.len());
            let (now, later) = rest.split_at_mut(here);
            match self.blocks.get(&block).and_then(|bytes| bytes.get(within..within + here)) {
                Some(ours) => now.copy_from_slice(ours),
                None => self.show(medium, at, now)?,
            }
            at += here as u64;
            rest = later;
        }
        Ok(())
    }

    fn write(&mut self, medium: &dyn StorageBackend, offset: u64, data: &[u8]) -> io::Result<()> {
        self.within(offset, data.len())?;
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (block, within, here) = piece(at, rest.len());
            let (now, later) = rest.split_at(here);
            if !self.blocks.contains_key(&block) {
                let mut bytes = Box::new([0; BLOCK_BYTES]);
                if here < BLOCK_BYTES {
                    self.show(medium, block * BLOCK_BYTES_U64, bytes.as_mut_slice())?;
                }
                self.blocks.insert(block, bytes);
            }
            if let Some(bytes) = self.blocks.get_mut(&block).and_then(|b| b.get_mut(within..within + here)) {
                bytes.copy_from_slice(now);
            }
            at += here as u64;
            rest = later;
        }
        Ok(())
    }

    /// The medium's own bytes, and zeros where it has none.
    fn show(&self, medium: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let shown = usize_of(self.shows.saturating_sub(offset)).min(out.len());
        let (ours, beyond) = out.split_at_mut(shown);
        beyond.fill(0);
        if ours.is_empty() { Ok(()) } else { medium.read(offset, ours) }
    }

    fn within(&self, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The block that `at` lies in, where in it, and how many of `wanted` bytes lie in it too.
fn piece(at: u64, wanted: usize) -> (u64, usize, usize) {
    let within = usize_of(at % BLOCK_BYTES_U64);
    (at / BLOCK_BYTES_U64, within, wanted.min(BLOCK_BYTES - within))
}

/// A length as an index; what does not fit is longer than any buffer.
fn usize_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// The end of a [`Guard`] that the engine holds.
#[derive(Debug)]
pub(super) struct Guarded(pub(super) Arc<Guard>);

impl StorageBackend for Guarded {
    fn len(&self) -> io::Result<u64> {
        let over = self.0.over.read().unwrap_or_else(PoisonError::into_inner);
        if self.0.diverted.load(Ordering::Acquire) { Ok(over.len) } else { self.0.medium.backend().len() }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let medium = self.0.medium.backend();
        if !self.0.diverted.load(Ordering::Acquire) {
            return medium.read(offset, out);
        }
        self.0.over.read().unwrap_or_else(PoisonError::into_inner).read(medium, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !self.0.attempt(|medium| medium.set_len(len))? {
            self.0.with_over(|over| over.set_len(len));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.attempt(StorageBackend::sync_data).map(|_| ())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.0.attempt(|medium| medium.write(offset, data))? {
            return Ok(());
        }
        self.0.with_over(|over| over.write(self.0.medium.backend(), offset, data))
    }

    fn close(&self) -> io::Result<()> {
        Ok(()) // the medium keeps its locks until `Medium::release`
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.medium.backend().try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.medium.backend().try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.medium.backend().lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.medium.backend().lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.medium.backend().unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.medium.backend().query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::tests::media::{Disk, Fault};

    #[derive(Clone, Debug)]
    enum Deed {
        Write(usize, Vec<u8>),
        SetLen(usize),
        Sync,
        /// The medium fails from here on.
        Break,
        Divert,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            8 => (0usize..16_000, prop::collection::vec(any::<u8>(), 1..5_000))
                .prop_map(|(at, data)| Deed::Write(at, data)),
            3 => (1usize..16_000).prop_map(Deed::SetLen),
            1 => Just(Deed::Sync),
            1 => Just(Deed::Break),
            1 => Just(Deed::Divert),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_engine_reads_what_it_wrote_and_the_medium_keeps_what_it_had_when_it_failed(
            dry: bool, deeds in prop::collection::vec(deed(), 1..24),
        ) {
            let disk = Disk::holding(vec![7; 10_000]);
            let guard = Guard::new(disk.medium(), dry).unwrap();
            let end = Guarded(Arc::clone(&guard));
            let mut model = vec![7; 10_000];
            // What lies on the medium since nothing more reaches it.
            let mut kept = dry.then(|| disk.bytes());
            for deed in deeds {
                match deed {
                    Deed::Write(at, data) if at + data.len() <= model.len() => {
                        end.write(at as u64, &data).unwrap();
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                    Deed::Write(at, data) => {
                        prop_assert!(kept.is_none() || end.write(at as u64, &data).is_err());
                    }
                    Deed::SetLen(len) => {
                        end.set_len(len as u64).unwrap();
                        model.resize(len, 0);
                    }
                    Deed::Sync => end.sync_data().unwrap(),
                    Deed::Break => {
                        kept.get_or_insert_with(|| disk.bytes());
                        disk.break_with(Fault { deed: None, after: 0, sticky: true, kind: io::ErrorKind::Other });
                    }
                    Deed::Divert => {
                        guard.divert().unwrap();
                        kept.get_or_insert_with(|| disk.bytes());
                    }
                }
                prop_assert_eq!(end.len().unwrap(), model.len() as u64);
                let mut read = vec![0; model.len()];
                end.read(0, &mut read).unwrap();
                prop_assert!(read == model);
                if let Some(kept) = &kept {
                    prop_assert!(*kept == disk.bytes());
                }
            }
            prop_assert!(end.read(model.len() as u64, &mut [0]).is_err());
        }
    }

    #[test]
    fn a_failure_is_remembered_and_a_dry_run_is_none() {
        let disk = Disk::holding(vec![0; 5_000]);
        let full = Fault { deed: None, after: 1, sticky: false, kind: io::ErrorKind::StorageFull };
        disk.break_with(full);
        let guard = Guard::new(disk.medium(), false).unwrap();
        let end = Guarded(Arc::clone(&guard));
        end.write(0, b"one").unwrap();
        assert_eq!(guard.failure(), None);
        end.write(0, b"two").unwrap();
        assert!(guard.failure().unwrap().full);
        assert_eq!(disk.bytes()[..3], *b"one");
        let dry = Guard::new(disk.medium(), true).unwrap();
        Guarded(Arc::clone(&dry)).write(0, b"six").unwrap();
        assert_eq!((dry.failure(), &disk.bytes()[..3]), (None, b"one".as_slice()));
    }
}

//! Backups: one read view, copied row by row into a fresh store, and looked at page by page before it counts.
//!
//! A plain copy of a file that is being written does not open half of the time; this one always does, and is
//! the state after one commit. It holds the store's own key as the store does, sealed: it is worth nothing
//! without the keyring, which is backed up apart.

use std::io::{self, Read};

use super::{
    Store,
    error::OpenError,
    own_key::{OWN_KEY_ROW, own_key_sealed_under},
    redb::{Engine, EngineError, Medium, Opening},
    view::ReadView,
};
use crate::records::{TableId, View as _};

/// Memory for pages while a copy is written and looked at: both go from one end to the other, so little does.
const CACHE_BYTES: usize = 2 * 1024 * 1024;

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its size in bytes.
    pub bytes: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// The id of the root key that the store's own key is sealed under: without it, the backup does not open. What
    /// else it needs, its records say.
    pub sealed_under: Option<String>,
}

/// A backup on its way to somebody else, who reads it from here. It is gone when this is.
#[derive(Debug)]
pub struct BackupReader {
    medium: Medium,
    at: u64,
    backup: Backup,
}

impl BackupReader {
    /// What was made.
    pub const fn backup(&self) -> &Backup {
        &self.backup
    }
}

impl Read for BackupReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.backup.bytes.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let Some(out) = out.get_mut(..count) else { return Ok(0) };
        self.medium.read(self.at, out)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Store {
    /// Makes a backup of what `view` shows and answers a reader of it. It lies without a name in the data directory
    /// meanwhile, so there must be space. Blocks.
    pub fn backup(&self, view: &ReadView) -> Result<BackupReader, OpenError> {
        let site = &self.0.shared.site;
        let medium = site.scratch()?;
        let backup = Backup::copied(view, &medium).map_err(|error| site.fault(error))?;
        Ok(BackupReader { medium, at: 0, backup })
    }
}

impl Backup {
    /// Copies what `view` shows to an empty medium and looks at the copy.
    pub(super) fn copied(view: &ReadView, medium: &Medium) -> Result<Self, EngineError> {
        let counts = copy(view.snapshot(), medium)?;
        let envelope = view.bytes(TableId::Meta, OWN_KEY_ROW).ok().flatten();
        Ok(Self {
            bytes: medium.len()?,
            rows: counts.iter().sum(),
            sealed_under: envelope.as_deref().and_then(own_key_sealed_under).map(str::to_owned),
        })
    }
}

/// Copies a snapshot to an empty medium and reads the copy back, every page verified.
pub(crate) fn copy(snapshot: &super::redb::Snapshot, medium: &Medium) -> Result<Vec<u64>, EngineError> {
    let written = Engine::copy(snapshot, medium, CACHE_BYTES)?;
    let opening = Opening { cache_bytes: CACHE_BYTES, dry: true, verify: true };
    let found = Engine::open(medium, opening)?.snapshot()?.row_counts()?;
    if found == written {
        Ok(written)
    } else {
        Err(EngineError::Damaged("the copy does not hold what was copied".to_owned()))
    }
}

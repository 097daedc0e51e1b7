//! A store that nobody runs: looked at page by page, and not changed by a bit. For `check`, for a backup that
//! was just made, and for what a restore reads.

use std::{
    fmt,
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use super::{
    OWN_KEY_ROW, Options,
    error::OpenError,
    heal::Condition,
    judge::judge,
    migrate::CURRENT,
    own_key::own_key_sealed_under,
    place::Place,
    redb::{Engine, Medium},
    site::Site,
    view::ReadView,
};
use crate::{
    records::{TableId, View as _},
    token::Keyring,
};

/// A store, or a backup, that holds together: every page of it was verified.
pub struct Stopped {
    view: ReadView,
    id: [u8; 16],
    site: Site,
    /// Closed last: the view reads through it.
    _engine: Engine,
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stopped").field(&self.site.path()).finish()
    }
}

impl Stopped {
    /// The store in a data directory, which nobody else gets while this lives.
    pub fn in_directory(dir: &Path, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        Self::at(Site::existing_in(Place::take(dir, false)?, options)?, keyring, options)
    }

    /// A file that nobody writes to: a backup.
    pub fn in_file(path: &Path, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(|error| OpenError::system("open", path, error))?;
        let metadata = file.metadata().map_err(|error| OpenError::system("look at", path, error))?;
        if !metadata.is_file() {
            return Err(OpenError::WrongType { path: path.to_owned(), wanted: "a regular file" });
        }
        // The engine's lock on a store that runs conflicts with this one.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Self::at(Site::on(Medium::read_only(file), path, options), keyring, options)
    }

    /// What lies on `site`.
    pub(crate) fn at(site: Site, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        let options = Options { verify_bytes_max: u64::MAX, ..options.clone() };
        let judged = judge(&site, &options, keyring, &CURRENT)?;
        let snapshot = judged.engine.snapshot().map_err(|error| site.fault(error))?;
        let view = ReadView::new(snapshot, Arc::new(judged.keys), Arc::new(Condition::new(|| ())), 1);
        Ok(Self { view, id: judged.id, site, _engine: judged.engine })
    }

    /// What it holds.
    pub const fn view(&self) -> &ReadView {
        &self.view
    }

    /// The store's own id.
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> Result<u64, OpenError> {
        self.site.bytes().map_err(|error| self.site.fault(error))
    }

    /// The id of the root key that its own key is sealed under.
    pub fn sealed_under(&self) -> Option<String> {
        let envelope = self.view.bytes(TableId::Meta, OWN_KEY_ROW).ok()??;
        own_key_sealed_under(&envelope).map(str::to_owned)
    }

    /// How many rows it has.
    pub fn rows(&self) -> Result<u64, OpenError> {
        let counts = self.view.snapshot().row_counts().map_err(|error| self.site.fault(error))?;
        Ok(counts.iter().sum())
    }
}

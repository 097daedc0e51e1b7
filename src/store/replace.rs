//! Putting a restored store in the place of the one that is there.
//!
//! The backup is copied beside the store under the temporary name and opened there; rules then bring it up to
//! what the store being replaced says, as operations like any other; and only a finished one takes the
//! store's name. Until then nothing has happened, and the one that was replaced is kept.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{Options, Store, error::OpenError, place::Place, site::Site, stopped::Stopped};
use crate::token::Keyring;

/// A store that is about to take another one's place.
#[derive(Debug)]
pub struct Replacement {
    place: Place,
    file: File,
    store: Store,
}

impl Replacement {
    /// Opens a copy of the backup in the data directory, which is made where it is missing, and brings its
    /// schema up to date.
    pub fn begin(dir: &Path, backup: &Path, keyring: &Keyring, options: &Options) -> Result<Self, OpenError> {
        let place = Place::take(dir, true)?;
        let mut file = place.begin_new()?;
        match Self::copy_and_open(&place, &mut file, backup, keyring, options) {
            Ok(store) => Ok(Self { place, file, store }),
            Err(error) => Err(undone(&place, error)),
        }
    }

    fn copy_and_open(
        place: &Place,
        file: &mut File,
        backup: &Path,
        keyring: &Keyring,
        options: &Options,
    ) -> Result<Store, OpenError> {
        let failed = |error| OpenError::system("copy", backup, error);
        let mut source = File::open(backup).map_err(failed)?;
        // The engine's lock on a store that runs conflicts with this one; file systems without locks do not
        // have running stores either.
        if let Err(std::fs::TryLockError::WouldBlock) = source.try_lock_shared() {
            return Err(OpenError::InUse(backup.to_owned()));
        }
        io::copy(&mut source, file).map_err(failed)?;
        let ours = file.try_clone().map_err(failed)?;
        let site = Site::on_disk(place.for_new(), ours, options)?;
        let options = Options { verify_bytes_max: u64::MAX, ..options.clone() };
        Store::open_on(site, keyring, &options).map_err(|error| error.about(backup))
    }

    /// The store that will take the place: what the backup holds, and what was written since.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The store whose place is taken, if it can be read.
    pub fn replaced(&self, keyring: &Keyring, options: &Options) -> Result<Stopped, OpenError> {
        Stopped::at(Site::existing_in(self.place.clone(), options)?, keyring, options)
    }

    /// Takes the place. Answers where the replaced store is kept; none if there was none.
    pub fn finish(self) -> Result<Option<PathBuf>, OpenError> {
        let Self { place, file, store } = self;
        let named = store.close().and_then(|()| {
            let kept = place.keep_replaced()?;
            match (place.name_new(&file), kept) {
                (Ok(()), kept) => Ok(kept),
                (Err(error), Some(kept)) => {
                    // The store still has its own name; where this one cannot go, it is one too many and no harm.
                    let _ = fs::remove_file(kept);
                    Err(error)
                }
                (Err(error), None) => Err(error),
            }
        });
        let kept = named.map_err(|error| undone(&place, error))?;
        place.sync()?;
        place.mark()?;
        Ok(kept)
    }

    /// Leaves everything as it was.
    pub fn abandon(self) -> Result<(), OpenError> {
        // What is thrown away need not have reached the disk.
        let _ = self.store.close();
        self.place.sweep()
    }
}

/// Takes away what was begun. What went wrong first is what there is to tell; what stays is swept at the next start.
fn undone(place: &Place, error: OpenError) -> OpenError {
    let _ = place.sweep();
    error
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::store::tests::{
        faults::new_on,
        media::{Disk, Fault},
    };

    #[test]
    fn a_replacement_that_could_not_be_written_is_taken_away_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for finish in [false, true] {
            let place = Place::take(folder.path(), true).unwrap();
            let disk = Disk::default();
            let replacement =
                Replacement { file: place.begin_new().unwrap(), store: new_on(&disk), place: place.clone() };
            disk.break_with(Fault { deed: None, after: 0, sticky: true, kind: ErrorKind::StorageFull });
            let written = replacement.store().write_blocking(|txn| {
                txn.hint(crate::records::TableId::Projects, b"a".to_vec(), b"1".to_vec());
                Ok::<(), ()>(())
            });
            assert!(written.is_err());
            if finish {
                assert!(matches!(replacement.finish(), Err(OpenError::System { what: "write", .. })));
            } else {
                replacement.abandon().unwrap();
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{finish}");
        }
    }
}

//! Where the store lies: a directory, and the few names in it.
//!
//! | name | what |
//! |---|---|
//! | `bearerd.redb` | the store |
//! | `bearerd.redb.initialised` | the marker: a store was made here once. Its absence is a first start |
//! | `bearerd.redb.new` | a store in the making: the first, a restored or a compacted one; what is left of one that was never finished is removed |
//! | `bearerd.redb.replaced`, `….1`, … | what a restore has replaced |
//! | `bearerd.redb.schema-N` | the store as it was before its schema was brought up to date from version N |
//! | `bearerd.redb.copy` | one of the two before while it is copied; removed if it was never finished |
//! | `bearerd.redb.backup` | a backup on its way out; has its name for a moment only |
//! | `bearerd.redb.probe` | written, synced and removed to see whether the disk takes writes again |
//!
//! A store is made under its temporary name, synced, renamed, and only then marked. So a file under the
//! store's own name is always whole, and one that is missing or empty beside its marker has been lost and
//! is never begun anew. The directory is locked for as long as the store is open, its making included.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use super::error::OpenError;

/// The store's file.
pub const STORE_FILE: &str = "bearerd.redb";
/// The file that says that a store was made here.
pub const MARKER_FILE: &str = "bearerd.redb.initialised";
/// A store in the making.
pub(crate) const NEW_FILE: &str = "bearerd.redb.new";
const REPLACED_FILE: &str = "bearerd.redb.replaced";
const COPY_FILE: &str = "bearerd.redb.copy";
const BACKUP_FILE: &str = "bearerd.redb.backup";
const PROBE_FILE: &str = "bearerd.redb.probe";

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Written by the probe: more than a block, so that the file system must find space.
const PROBE_BYTES: usize = 64 * 1024;

/// Whether there is a store in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// There is none, and there was none: a first start.
    Absent,
    /// There is one.
    Present,
    /// There was one.
    GoneMissing,
    /// There is a file without a byte, and nothing says that it ever had any. None that bearerd left: it is damaged.
    Empty,
}

/// Looks whether there is a store in `dir`, without opening it.
pub fn presence(dir: &Path) -> Result<Presence, OpenError> {
    let store = dir.join(STORE_FILE);
    let without_marker = match fs::symlink_metadata(&store) {
        Ok(metadata) if metadata.is_file() && metadata.len() == 0 => Presence::Empty,
        Ok(_) => return Ok(Presence::Present),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Presence::Absent,
        Err(error) => return Err(OpenError::system("look at", store, error)),
    };
    Ok(if is_marked(dir)? { Presence::GoneMissing } else { without_marker })
}

fn is_marked(dir: &Path) -> Result<bool, OpenError> {
    let path = dir.join(MARKER_FILE);
    path.try_exists().map_err(|error| OpenError::system("look at", path, error))
}

/// A directory that this process has for itself, and the name of a store's file in it. Others get the
/// directory when the last clone goes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    lock: Arc<File>,
    name: &'static str,
}

impl Place {
    /// Takes the directory, making it where `make` says so.
    pub(crate) fn take(dir: &Path, make: bool) -> Result<Self, OpenError> {
        if make {
            make_directory(dir).map_err(|error| OpenError::system("make the directory", dir, error))?;
        }
        let lock = File::open(dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Absent(dir.to_owned()),
            _ => OpenError::system("open the directory", dir, error),
        })?;
        let metadata = lock.metadata().map_err(|error| OpenError::system("look at", dir, error))?;
        if !metadata.is_dir() {
            return Err(OpenError::WrongType { path: dir.to_owned(), wanted: "a directory" });
        }
        // A group that may write here is the operator's choice; everybody is not.
        refuse_exposed(dir, &metadata, 0o002, DIRECTORY_MODE)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), lock: Arc::new(lock), name: STORE_FILE }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(OpenError::system("lock the directory", dir, error)),
        }
    }

    /// The same directory, for the store that is in the making there.
    pub(crate) fn for_new(&self) -> Self {
        Self { name: NEW_FILE, ..self.clone() }
    }

    /// Whether the store is still in the making.
    fn is_new(&self) -> bool {
        self.name == NEW_FILE
    }

    /// The path of the store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join(self.name)
    }

    /// Opens the store's file.
    pub(crate) fn open(&self) -> Result<File, OpenError> {
        match presence(&self.dir)? {
            Presence::Absent => Err(OpenError::Absent(self.dir.clone())),
            Presence::GoneMissing => Err(OpenError::gone_missing(&self.dir)),
            Presence::Empty => Err(OpenError::empty(&self.dir)),
            Presence::Present => open_private(&self.store()),
        }
    }

    /// Begins a new store under its temporary name.
    pub(crate) fn begin(&self) -> Result<File, OpenError> {
        match presence(&self.dir)? {
            Presence::Present => Err(OpenError::Exists(self.store())),
            Presence::GoneMissing => Err(OpenError::gone_missing(&self.dir)),
            Presence::Empty => Err(OpenError::empty(&self.dir)),
            Presence::Absent => self.begin_new(),
        }
    }

    /// Begins a store beside the one that is there.
    pub(crate) fn begin_new(&self) -> Result<File, OpenError> {
        if self.is_new() {
            return Err(OpenError::Exists(self.store()));
        }
        self.sweep()?;
        self.make(NEW_FILE)
    }

    /// Gives the finished new store its name, in the place of whatever has it.
    pub(crate) fn name_new(&self, new: &File) -> Result<(), OpenError> {
        let path = self.dir.join(NEW_FILE);
        new.sync_all().map_err(|error| OpenError::system("sync", &path, error))?;
        fs::rename(&path, self.dir.join(STORE_FILE))
            .map_err(|error| OpenError::system("rename", &path, error))
    }

    /// Gives the store that is there a second name, so that it outlives its replacement. None where there
    /// is no store.
    pub(crate) fn keep_replaced(&self) -> Result<Option<PathBuf>, OpenError> {
        let store = self.dir.join(STORE_FILE);
        let names = (0u32..).map(|number| match number {
            0 => REPLACED_FILE.to_owned(),
            number => format!("{REPLACED_FILE}.{number}"),
        });
        for kept in names.map(|name| self.dir.join(name)) {
            match fs::hard_link(&store, &kept) {
                Ok(()) => return Ok(Some(kept)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(_) => {
                    // A file system without second names.
                    self.copy_to(&kept)?;
                    return Ok(Some(kept));
                }
            }
        }
        Ok(None)
    }

    /// Keeps a copy of the store's file under its own name and `suffix`, durably, unless there is one. One
    /// that is in the making is itself a copy.
    pub(crate) fn keep_copy(&self, suffix: &str) -> Result<(), OpenError> {
        if self.is_new() {
            return Ok(());
        }
        let kept = self.dir.join(format!("{}.{suffix}", self.name));
        if kept.try_exists().map_err(|error| OpenError::system("look at", &kept, error))? {
            return Ok(());
        }
        self.copy_to(&kept)
    }

    /// Copies the store's file, durably. A copy that breaks off has no name that anybody looks for.
    fn copy_to(&self, kept: &Path) -> Result<(), OpenError> {
        self.remove(COPY_FILE)?;
        let mut copy = self.make(COPY_FILE)?;
        let copied = File::open(self.store()).and_then(|mut store| io::copy(&mut store, &mut copy));
        copied
            .and_then(|_| copy.sync_all())
            .and_then(|()| fs::rename(self.dir.join(COPY_FILE), kept))
            .map_err(|error| OpenError::system("keep", kept, error))?;
        self.sync()
    }

    /// A file without a name, gone when it is closed.
    pub(crate) fn scratch(&self) -> Result<File, OpenError> {
        self.remove(BACKUP_FILE)?;
        let file = self.make(BACKUP_FILE)?;
        self.remove(BACKUP_FILE)?;
        Ok(file)
    }

    /// Writes the marker where it is missing: a store that was renamed into place is initialised.
    pub(crate) fn mark(&self) -> Result<(), OpenError> {
        if is_marked(&self.dir)? {
            return Ok(());
        }
        let path = self.dir.join(MARKER_FILE);
        let mut marker = self.make(MARKER_FILE)?;
        marker
            .write_all(
                b"A store was made here. Where bearerd.redb is missing beside this file, it has been lost.\n",
            )
            .and_then(|()| marker.sync_all())
            .map_err(|error| OpenError::system("write", &path, error))?;
        self.sync()
    }

    /// Finishes what a crash may have left between the naming of a new store and its marking, and removes
    /// what is left of one that was never finished.
    pub(crate) fn settle(&self) -> Result<(), OpenError> {
        if self.is_new() {
            return Ok(());
        }
        self.mark()?;
        self.remove(COPY_FILE)?;
        self.sweep()
    }

    /// Removes what is left of a store that was never finished.
    pub(crate) fn sweep(&self) -> Result<(), OpenError> {
        self.remove(NEW_FILE)
    }

    /// Whether the file system takes writes, by the same calls that the engine makes; and whether `store`
    /// is still what lies under the store's name.
    pub(crate) fn probe(&self, store: &File) -> io::Result<()> {
        let (ours, theirs) = (store.metadata()?, fs::metadata(self.store())?);
        if (ours.dev(), ours.ino()) != (theirs.dev(), theirs.ino()) {
            return Err(io::Error::other("another file lies where the store was"));
        }
        let path = self.dir.join(PROBE_FILE);
        let probe = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&path)?;
        let written = probe
            .set_len(PROBE_BYTES as u64)
            .and_then(|()| probe.write_all_at(&vec![0xb5; PROBE_BYTES], 0))
            .and_then(|()| probe.sync_data());
        let removed = fs::remove_file(&path);
        written.and(removed).and_then(|()| self.lock.sync_all())
    }

    fn make(&self, name: &str) -> Result<File, OpenError> {
        let path = self.dir.join(name);
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path);
        let file = made.map_err(|error| OpenError::system("make", &path, error))?;
        self.hand_over(&file).map_err(|error| OpenError::system("set the owner of", &path, error))?;
        Ok(file)
    }

    /// What root makes in a directory of the daemon's must belong to the daemon.
    fn hand_over(&self, file: &File) -> io::Result<()> {
        let (ours, theirs) = (file.metadata()?, self.lock.metadata()?);
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        if is_given_away((ours.uid(), ours.gid()), (theirs.uid(), theirs.gid())) {
            fchown(file, Some(theirs.uid()), Some(theirs.gid()))?;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), OpenError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(OpenError::system("remove", path, error)),
        }
    }

    /// Makes names durable.
    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        self.lock.sync_all().map_err(|error| OpenError::system("sync the directory", &self.dir, error))
    }
}

/// Whether a file of that user and group becomes its directory's.
fn is_given_away(file: (u32, u32), directory: (u32, u32)) -> bool {
    file.0 == 0 && directory != file
}

/// Makes a directory, unless it is there.
fn make_directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)?;
    // A new directory must survive a power cut as well as what is in it. Whoever made it somewhere where we
    // may not look has seen to that.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).map_or(Ok(()), |parent| parent.sync_all())
}

/// Opens a file that nobody else can write.
fn open_private(path: &Path) -> Result<File, OpenError> {
    let linked = fs::symlink_metadata(path).map_err(|error| OpenError::system("look at", path, error))?;
    if !linked.is_file() {
        return Err(OpenError::WrongType { path: path.to_owned(), wanted: "a regular file" });
    }
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = opened.map_err(|error| OpenError::system("open for reading and writing", path, error))?;
    let metadata = file.metadata().map_err(|error| OpenError::system("look at", path, error))?;
    refuse_exposed(path, &metadata, 0o022, FILE_MODE)?;
    Ok(file)
}

/// Whether what `owner` has may be trusted by `us`. Root may look after another user's store.
fn may_own(owner: u32, us: u32) -> bool {
    owner == us || owner == 0 || us == 0
}

/// Whoever can write to the store can make themselves an admin.
fn refuse_exposed(path: &Path, metadata: &fs::Metadata, refused: u32, wanted: u32) -> Result<(), OpenError> {
    let us = rustix::process::geteuid().as_raw();
    let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
    if mode & refused != 0 || !may_own(owner, us) {
        return Err(OpenError::Exposed { path: path.to_owned(), mode, owner, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_makes_for_somebody_else_is_given_away() {
        let cases =
            [((0, 0), (0, 0)), ((0, 0), (7, 7)), ((0, 0), (0, 7)), ((7, 7), (7, 7)), ((7, 7), (8, 8))];
        assert_eq!(cases.map(|(file, at)| is_given_away(file, at)), [false, true, true, false, false]);
    }

    #[test]
    fn a_store_is_ones_own_or_roots_and_root_may_look_after_any() {
        let cases = [(7, 7), (0, 7), (8, 0), (0, 0), (8, 7)];
        assert_eq!(cases.map(|(owner, us)| may_own(owner, us)), [true, true, true, true, false]);
    }

    #[test]
    fn a_name_that_cannot_be_removed_is_an_error_and_one_that_is_not_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(DIRECTORY_MODE)).unwrap();
        let place = Place::take(folder.path(), false).unwrap();
        fs::create_dir(folder.path().join("directory")).unwrap();
        assert!(place.remove("directory").is_err());
        assert!(place.remove("nothing").is_ok());
    }

    #[test]
    fn a_file_that_is_handed_over_is_its_owners_alone_and_stays_that_of_whoever_owns_both() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(DIRECTORY_MODE)).unwrap();
        let place = Place::take(folder.path(), false).unwrap();
        let file = File::create(folder.path().join("file")).unwrap();
        file.set_permissions(Permissions::from_mode(0o644)).unwrap();
        let before = file.metadata().unwrap();
        place.hand_over(&file).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!(after.mode() & 0o777, FILE_MODE);
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    }
}

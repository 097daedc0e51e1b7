//! The keyring's file: reading it, making the first one, and exchanging it whole.
//!
//! A keyring is written under another name beside its place, synced, and only then put there, so that at
//! no moment half a keyring is to be found. The first one is never put over a file that is there already:
//! a keyring that is lost takes everything with it that was sealed under it. Draws no randomness.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;

use super::locate::KeyringPlace;
use super::secret_file::{self, ReadFault};
use super::warning::Warning;
use crate::token::keyring::KeyringFault;
use crate::token::{Keyring, Secret};

/// The permissions of a keyring that is made.
const MADE_MODE: u32 = 0o600;
/// The permission bits of a mode.
const MODE_BITS: u32 = 0o7777;

/// A keyring as it was read.
#[derive(Debug)]
pub struct Read {
    /// The keys.
    pub keyring: Keyring,
    /// What is allowed, and should be told.
    pub warnings: Vec<Warning>,
}

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileFault {
    /// The configured file or credential is not there; none is ever made in its place.
    #[error("the keyring {} is configured and not there; `bearerd keys new` prints one to put there", .0.display())]
    ConfiguredMissing(PathBuf),
    /// The data directory has none.
    #[error("there is no keyring {}; put it back from where it was backed up", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the keyring {} {fault}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the reading met.
        fault: ReadFault,
    },
    /// Others could put their own keys there.
    #[error("the keyring {} can be written by others than its owner; `chmod 0600` it", .0.display())]
    OthersCanWrite(PathBuf),
    /// Whoever reads it can forge cookies and JWTs, and open what is sealed.
    #[error("the keyring {} can be read by others than its owner; `chmod 0600` it", .0.display())]
    OthersCanRead(PathBuf),
    /// It is not a keyring.
    #[error("the keyring {}: {fault}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        fault: KeyringFault,
    },
    /// It cannot be written.
    #[error("the keyring {} cannot be written: {error}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Reads the keyring from its place.
pub fn read(place: &KeyringPlace) -> Result<Read, KeyringFileFault> {
    let path = place.path();
    let file = secret_file::read(path).map_err(|fault| unreadable(place, fault))?;
    let text = file.text().map_err(|fault| unreadable(place, fault))?;
    let keyring =
        Keyring::parse(text).map_err(|fault| KeyringFileFault::Text { path: path.to_owned(), fault })?;
    // What systemd mounts for a unit has the permissions that systemd gives it.
    if matches!(place, KeyringPlace::Credential(_)) {
        return Ok(Read { keyring, warnings: Vec::new() });
    }
    if file.access.others_can_write() {
        return Err(KeyringFileFault::OthersCanWrite(path.to_owned()));
    }
    if file.access.others_can_read() {
        return Err(KeyringFileFault::OthersCanRead(path.to_owned()));
    }
    let stranger = file.access.stranger().map(|user| Warning::Strangers { path: path.to_owned(), user });
    Ok(Read { keyring, warnings: stranger.into_iter().collect() })
}

fn unreadable(place: &KeyringPlace, fault: ReadFault) -> KeyringFileFault {
    let path = place.path().to_owned();
    match (place, fault) {
        (KeyringPlace::Default(_), ReadFault::Missing) => KeyringFileFault::Missing(path),
        (_, ReadFault::Missing) => KeyringFileFault::ConfiguredMissing(path),
        (_, fault) => KeyringFileFault::Unreadable { path, fault },
    }
}

/// Reads the keyring, or, where none is configured and none is there, puts `first` in the data directory.
/// To be called only where there is no store yet: a store without its keyring is lost, not new.
///
/// Of two processes that get here at the same time, both get the keyring of the one that was first.
pub fn read_or_make(place: &KeyringPlace, first: &Keyring) -> Result<Read, KeyringFileFault> {
    match read(place) {
        Err(KeyringFileFault::Missing(path)) => match make(&path, &first.to_text()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(KeyringFileFault::Unwritable { path, error })
            }
            Ok(()) | Err(_) => read(place),
        },
        outcome => outcome,
    }
}

/// Exchanges the keyring for another in one step; the file keeps its owner and permissions. When this has
/// returned, the exchange survives a loss of power.
pub fn replace(path: &Path, keyring: &Keyring) -> Result<(), KeyringFileFault> {
    // A symbolic link stays, and leads to the new file.
    let exchange = || {
        let path = path.canonicalize()?;
        let facts = path.metadata()?;
        let new = Beside::write(&path, &keyring.to_text())?;
        let made = new.file.metadata()?;
        if (made.uid(), made.gid()) != (facts.uid(), facts.gid()) {
            fchown(&new.file, Some(facts.uid()), Some(facts.gid()))?;
        }
        new.file.set_permissions(Permissions::from_mode(facts.mode() & MODE_BITS))?;
        new.file.sync_all()?;
        fs::rename(&new.path, &path)?;
        sync_folder(&path)
    };
    exchange().map_err(|error| KeyringFileFault::Unwritable { path: path.to_owned(), error })
}

/// Puts a text where nothing is.
fn make(path: &Path, text: &Secret) -> io::Result<()> {
    let new = Beside::write(path, text)?;
    new.file.sync_all()?;
    // Unlike a rename, a link fails where something is.
    fs::hard_link(&new.path, path)?;
    sync_folder(path)
}

/// A file on its way to its name; what is left under the other name goes away with this.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn write(target: &Path, text: &Secret) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = target.with_file_name(format!(".{}.new-{}", name.to_string_lossy(), process::id()));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(MADE_MODE).open(&path)?;
        let mut beside = Self { path, file };
        beside.file.write_all(text.expose().as_bytes())?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing left under this name, and that is well.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a name in this folder survive a loss of power.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::token::KeyId;

    fn keyring(id: &str) -> Keyring {
        let mut fresh = [7; 32];
        fresh[0] = 8;
        Keyring::generate(KeyId::new(id).unwrap(), &fresh).unwrap()
    }

    fn current(read: &Read) -> &str {
        read.keyring.current().id().as_str()
    }

    /// What is in a folder, and with which permissions.
    fn listing(folder: &Path) -> Vec<(String, u32)> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().mode() & 0o777)
            })
            .collect();
        names.sort();
        names
    }

    fn written(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join("keyring");
        fs::write(&path, keyring("one").to_text().expose()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_first_keyring_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let place = KeyringPlace::Default(folder.path().join("keyring"));
        assert!(matches!(read(&place), Err(KeyringFileFault::Missing(_))));
        assert_eq!(current(&read_or_make(&place, &keyring("one")).unwrap()), "one");
        assert_eq!(listing(folder.path()), [("keyring".to_owned(), 0o600)]);
        assert_eq!(current(&read_or_make(&place, &keyring("two")).unwrap()), "one", "what is there stays");
        assert_eq!(current(&read(&place).unwrap()), "one");
    }

    #[test]
    fn a_keyring_is_never_made_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o600);
        let error = make(&path, &keyring("two").to_text()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(current(&read(&KeyringPlace::Default(path)).unwrap()), "one");
        assert_eq!(listing(folder.path()).len(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_configured_keyring_is_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        for place in [KeyringPlace::Configured(path.clone()), KeyringPlace::Credential(path.clone())] {
            let fault = read_or_make(&place, &keyring("one")).unwrap_err();
            assert!(matches!(fault, KeyringFileFault::ConfiguredMissing(_)), "{fault}");
        }
        assert!(listing(folder.path()).is_empty());
    }

    #[test]
    fn a_keyring_that_others_can_get_at_is_refused() {
        #[track_caller]
        fn check(mode: u32, refused: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = written(folder.path(), mode);
            match read(&KeyringPlace::Configured(path.clone())) {
                Ok(_) => assert!(!refused, "{mode:o}"),
                Err(KeyringFileFault::OthersCanWrite(_) | KeyringFileFault::OthersCanRead(_)) => {
                    assert!(refused, "{mode:o}");
                }
                Err(fault) => panic!("{mode:o}: {fault}"),
            }
            assert!(read(&KeyringPlace::Credential(path)).unwrap().warnings.is_empty(), "{mode:o}");
        }
        for (mode, refused) in [
            (0o600, false),
            (0o400, false),
            (0o640, true),
            (0o604, true),
            (0o620, true),
            (0o602, true),
            (0o666, true),
        ] {
            check(mode, refused);
        }
    }

    #[test]
    fn what_is_no_keyring_is_told_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring");
        for (bytes, told) in [
            (&b""[..], "one key must be `current`"),
            (b"current one hunter2\n", "line 1: the key must be 43"),
            (b"\xff", "is not UTF-8"),
        ] {
            fs::write(&path, bytes).unwrap();
            let fault = read(&KeyringPlace::Default(path.clone())).unwrap_err().to_string();
            assert!(fault.contains(told) && !fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn an_exchange_keeps_permissions_and_links_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o400);
        let link = folder.path().join("link");
        symlink("keyring", &link).unwrap();
        let stale = folder.path().join(format!(".keyring.new-{}", process::id()));
        fs::write(&stale, "left by a process that died").unwrap();
        replace(&link, &keyring("two")).unwrap();
        assert_eq!(current(&read(&KeyringPlace::Configured(link.clone())).unwrap()), "two");
        assert!(link.is_symlink());
        let names: Vec<String> = listing(folder.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["keyring", "link"]);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o400);
    }

    #[test]
    fn an_exchange_needs_something_to_exchange() {
        let folder = tempfile::tempdir().unwrap();
        let fault = replace(&folder.path().join("keyring"), &keyring("two")).unwrap_err();
        assert!(matches!(fault, KeyringFileFault::Unwritable { .. }));
        assert!(listing(folder.path()).is_empty());
    }
}

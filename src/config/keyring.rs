//! The keyring's file: reading it, making the first one, and exchanging it whole.
//!
//! A keyring is written under another name beside its place, synced, and only then put there, so that at
//! no moment half a keyring is to be found. The first one is never put over a file that is there already:
//! a keyring that is lost takes everything with it that was sealed under it. Draws no randomness.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::locate::KeyringPlace;
use super::secret_file::{self, ReadFault};
use super::warning::Warning;
use crate::token::keyring::KeyringFault;
use crate::token::{Keyring, Secret, secret::same};

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
    /// Everybody could put another in its place.
    #[error(
        "the folder {} can be written by everybody, who could put another keyring in place of {}; `chmod o-w` the \
         folder", folder.display(), path.display()
    )]
    Exchangeable {
        /// The file.
        path: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
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
    if let Some(folder) = secret_file::open_folder(path) {
        return Err(KeyringFileFault::Exchangeable { path: path.to_owned(), folder });
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

/// A keyring that is about to be exchanged. Of two who want to, one waits until the other has: what is read while
/// this is held is what will be replaced, so that nobody's new key is lost.
#[derive(Debug)]
pub struct Exchange {
    /// Where the file itself is: a symbolic link stays, and leads to the new one.
    path: PathBuf,
    new: Beside,
}

impl Exchange {
    /// Waits for whoever exchanges it now. The file must be there.
    pub fn begin(path: &Path) -> Result<Self, KeyringFileFault> {
        let begin = || {
            let path = path.canonicalize()?;
            let new = Beside::open(&path)?;
            Ok(Self { path, new })
        };
        begin().map_err(|error| KeyringFileFault::Unwritable { path: path.to_owned(), error })
    }

    /// Puts another in its place in one step; the file keeps its owner and permissions. When this has returned, the
    /// exchange survives a loss of power.
    pub fn put(self, keyring: &Keyring) -> Result<Exchanged, KeyringFileFault> {
        let path = self.path.clone();
        let before = fs::read_to_string(&path).map(Secret::new);
        let before = before.map_err(|error| KeyringFileFault::Unwritable { path: path.clone(), error })?;
        let after = keyring.to_text();
        self.put_text(&after)?;
        Ok(Exchanged { path, before, after })
    }

    fn put_text(self, text: &Secret) -> Result<(), KeyringFileFault> {
        let Self { path, mut new } = self;
        let mut put = || {
            let (facts, made) = (path.metadata()?, new.file.metadata()?);
            if (made.uid(), made.gid()) != (facts.uid(), facts.gid()) {
                fchown(&new.file, Some(facts.uid()), Some(facts.gid()))?;
            }
            new.write(text)?;
            new.file.set_permissions(Permissions::from_mode(facts.mode() & MODE_BITS))?;
            new.file.sync_all()?;
            new.rename(&path)?;
            sync_folder(&path)
        };
        put().map_err(|error| KeyringFileFault::Unwritable { path: path.clone(), error })
    }
}

/// An exchange that was made, for who has to undo it.
#[derive(Debug)]
pub struct Exchanged {
    path: PathBuf,
    before: Secret,
    after: Secret,
}

impl Exchanged {
    /// Puts back what was there, comments and all. What somebody else has put there since is left, and this is false.
    pub fn undo(self) -> Result<bool, KeyringFileFault> {
        let exchange = Exchange::begin(&self.path)?;
        let now = fs::read_to_string(&self.path).map(Secret::new);
        let now = now.map_err(|error| KeyringFileFault::Unwritable { path: self.path.clone(), error })?;
        if !same(now.expose().as_bytes(), self.after.expose().as_bytes()) {
            return Ok(false);
        }
        exchange.put_text(&self.before).map(|()| true)
    }
}

/// Puts a text where nothing is.
fn make(path: &Path, text: &Secret) -> io::Result<()> {
    let mut new = Beside::open(path)?;
    new.write(text)?;
    new.file.sync_all()?;
    // Unlike a rename, a link fails where something is.
    fs::hard_link(&new.path, path)?;
    sync_folder(path)
}

/// A file on its way to the keyring's name, under the only other name that there is for one: whoever holds it locked
/// there is alone in writing a keyring, and what killed processes leave never becomes more.
#[derive(Debug)]
struct Beside {
    path: PathBuf,
    file: File,
    /// Whether the other name still leads to it.
    named: bool,
}

impl Beside {
    /// An empty file of one's own, after whoever else writes one has come to an end.
    fn open(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = target.with_file_name(format!(".{}.new", name.to_string_lossy()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = File::from(openat(CWD, &path, flags, Mode::from_raw_mode(MADE_MODE))?);
            file.lock()?;
            let facts = file.metadata()?;
            match path.symlink_metadata() {
                Ok(there) if (there.dev(), there.ino()) == (facts.dev(), facts.ino()) => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // It was given its name, or taken away, while this one waited.
                Ok(_) | Err(_) => continue,
            }
            if facts.len() == 0 && facts.nlink() == 1 {
                return Ok(Self { path, file, named: true });
            }
            // Left by a process that was killed. It may have the keyring's name already as well, so that it is
            // taken away and not written over.
            fs::remove_file(&path)?;
        }
    }

    fn write(&mut self, text: &Secret) -> io::Result<()> {
        self.file.write_all(text.expose().as_bytes())
    }

    fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.named = false;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.named {
            // What cannot be removed is taken away by the next.
            let _ = fs::remove_file(&self.path);
        }
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

    fn exchange(path: &Path, keyring: &Keyring) -> Result<(), KeyringFileFault> {
        Exchange::begin(path)?.put(keyring).map(drop)
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
        exchange(&link, &keyring("two")).unwrap();
        assert_eq!(current(&read(&KeyringPlace::Configured(link.clone())).unwrap()), "two");
        assert!(link.is_symlink());
        let names: Vec<String> = listing(folder.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["keyring", "link"]);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o400);
    }

    /// A process that was killed had written half, or had made the keyring and not yet taken the other name away.
    #[test]
    fn what_killed_writers_left_goes_with_the_next_and_the_keyring_stays_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o600);
        let beside = folder.path().join(".keyring.new");
        let killed: [&dyn Fn(); 3] =
            [&|| fs::write(&beside, "curr").unwrap(), &|| fs::write(&beside, "").unwrap(), &|| {
                fs::hard_link(&path, &beside).unwrap();
            }];
        for (number, killed) in killed.into_iter().enumerate() {
            killed();
            let begun = Exchange::begin(&path).unwrap();
            read(&KeyringPlace::Configured(path.clone())).unwrap();
            let id = format!("after-{number}");
            begun.put(&keyring(&id)).unwrap();
            assert_eq!(current(&read(&KeyringPlace::Configured(path.clone())).unwrap()), id);
            assert_eq!(listing(folder.path()), [("keyring".to_owned(), 0o600)]);
        }
    }

    #[test]
    fn what_is_no_file_of_ours_under_the_other_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o600);
        let beside = folder.path().join(".keyring.new");
        symlink("keyring", &beside).unwrap();
        assert!(matches!(Exchange::begin(&path), Err(KeyringFileFault::Unwritable { .. })));
        assert!(beside.is_symlink());
        assert_eq!(current(&read(&KeyringPlace::Configured(path)).unwrap()), "one");
    }

    #[test]
    fn of_many_who_exchange_at_once_none_loses_anothers_key() {
        const EACH: usize = 6;
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o600);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let exchange = Exchange::begin(path).unwrap();
                        let old = read(&KeyringPlace::Configured(path.clone())).unwrap().keyring;
                        let id = KeyId::new(&format!("{writer}-{number}")).unwrap();
                        let mut fresh = [7; 32];
                        fresh[0] = u8::try_from(writer * EACH + number + 10).unwrap();
                        exchange.put(&old.rotated(id, &fresh).unwrap()).unwrap();
                    }
                });
            }
        });
        let keys = read(&KeyringPlace::Configured(path)).unwrap().keyring.ids().count();
        assert_eq!(keys, 1 + 8 * EACH);
        assert_eq!(listing(folder.path()).len(), 1);
    }

    #[test]
    fn an_exchange_that_is_undone_leaves_what_was_there_and_what_came_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 0o600);
        let before = format!("# ours\n{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, &before).unwrap();
        let put = |id| Exchange::begin(&path).unwrap().put(&keyring(id)).unwrap();
        assert!(put("two").undo().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        let two = put("two");
        put("three");
        assert!(!two.undo().unwrap());
        assert_eq!(current(&read(&KeyringPlace::Configured(path)).unwrap()), "three");
        assert_eq!(listing(folder.path()).len(), 1);
    }

    #[test]
    fn an_exchange_needs_something_to_exchange() {
        let folder = tempfile::tempdir().unwrap();
        let fault = exchange(&folder.path().join("keyring"), &keyring("two")).unwrap_err();
        assert!(matches!(fault, KeyringFileFault::Unwritable { .. }));
        assert!(listing(folder.path()).is_empty());
    }
}

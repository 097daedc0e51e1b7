//! Reading the small files that decide who may do what: the configuration, service secrets, the keyring.
//!
//! Such a file is opened without waiting (a FIFO would never answer), read to a limit, and read until two
//! readings in a row are alike, since whoever writes it may be half done. Who else can write or read it is
//! told beside its text; what that means is decided by who asked.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// How often a file is read in the hope of two readings alike.
const READINGS_MAX: usize = 10;
/// How long a writer is given between two readings, in milliseconds.
const PAUSE_MILLIS: u64 = 10;

/// Permission bits that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Permission bits that let others than the owner and the group write.
const EVERYBODY_WRITES: u32 = 0o002;
/// Permission bits that let the group read.
const GROUP_READS: u32 = 0o040;
/// Permission bits that let everybody read.
const EVERYBODY_READS: u32 = 0o004;
/// The bit that keeps others from replacing one's files in a shared folder.
const STICKY: u32 = 0o1000;

/// What a file holds, and who else can get at it.
pub struct SecretFile {
    bytes: Zeroizing<Vec<u8>>,
    /// Who else can get at it.
    pub access: Access,
}

impl SecretFile {
    /// Every byte of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same as text.
    pub fn text(&self) -> Result<&str, ReadFault> {
        str::from_utf8(&self.bytes).map_err(|error| {
            let before = self.bytes.iter().take(error.valid_up_to());
            ReadFault::NotText { line: before.filter(|byte| **byte == b'\n').count().saturating_add(1) }
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.access == other.access && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretFile(..)")
    }
}

/// Who can get at a file, but for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    mode: u32,
    owner: u32,
    /// Whether its folder lets everybody exchange the file for another.
    exchangeable: bool,
}

impl Access {
    /// Whether somebody else than the owner can change what is read: the group, everybody, or whoever can
    /// put another file in its place.
    pub fn others_can_write(self) -> bool {
        self.mode & OTHERS_WRITE != 0 || self.exchangeable
    }

    /// Whether everybody can change what is read.
    pub fn everybody_can_write(self) -> bool {
        self.mode & EVERYBODY_WRITES != 0 || self.exchangeable
    }

    /// Whether everybody can read it.
    pub fn everybody_can_read(self) -> bool {
        self.mode & EVERYBODY_READS != 0
    }

    /// Whether the group or everybody can read it.
    pub fn others_can_read(self) -> bool {
        self.mode & (GROUP_READS | EVERYBODY_READS) != 0
    }

    /// Its owner's id, if that is neither root nor this process's user.
    pub fn stranger(self) -> Option<u32> {
        Some(self.owner).filter(|owner| ![0, rustix::process::geteuid().as_raw()].contains(owner))
    }
}

/// Why a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFault {
    /// There is none.
    #[error("is not there")]
    Missing,
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// A folder, FIFO, socket or device.
    #[error("is not a regular file")]
    NotAFile,
    /// More than [`FILE_BYTES_MAX`].
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8 text, on line {line}")]
    NotText {
        /// The first line that is none, from 1.
        line: usize,
    },
    /// No two readings were alike.
    #[error("keeps changing; it was read {READINGS_MAX} times")]
    Restless,
}

/// Reads a file whole. Takes a few milliseconds, or a tenth of a second while somebody writes it.
pub fn read(path: &Path) -> Result<SecretFile, ReadFault> {
    settled(|| read_once(path), || thread::sleep(Duration::from_millis(PAUSE_MILLIS)))
}

/// What two looks in a row agree on, be it a text or that there is none.
fn settled(
    mut look: impl FnMut() -> Result<SecretFile, ReadFault>,
    mut pause: impl FnMut(),
) -> Result<SecretFile, ReadFault> {
    let mut before = look();
    for _ in 1..READINGS_MAX {
        pause();
        let after = look();
        let alike = match (&before, &after) {
            (Ok(before), Ok(after)) => before.is_like(after),
            (Err(before), Err(after)) => before == after,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if alike {
            return after;
        }
        before = after;
    }
    Err(ReadFault::Restless)
}

fn read_once(path: &Path) -> Result<SecretFile, ReadFault> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let mut file = File::from(opened.map_err(|errno| refusal(&errno.into()))?);
    let facts = file.metadata().map_err(|error| refusal(&error))?;
    if !facts.is_file() {
        return Err(ReadFault::NotAFile);
    }
    // The room is there from the start: growing would leave pieces of the secret in freed memory.
    let room = FILE_BYTES_MAX.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(|error| refusal(&error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(ReadFault::TooLarge);
    }
    let access = Access { mode: facts.mode(), owner: facts.uid(), exchangeable: open_folder(path).is_some() };
    Ok(SecretFile { bytes, access })
}

fn refusal(error: &io::Error) -> ReadFault {
    match error.kind() {
        io::ErrorKind::NotFound => ReadFault::Missing,
        // What the kernel says of opening a socket.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => ReadFault::NotAFile,
        kind => ReadFault::Unreadable(kind),
    }
}

/// The folder through which everybody can put another file in this one's place: that of the name, or that of the
/// file which a symbolic link leads to.
pub fn open_folder(path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok();
    let folders = [Some(path), real.as_deref()].into_iter().flatten().filter_map(Path::parent);
    let is_open = |facts: &fs::Metadata| facts.mode() & EVERYBODY_WRITES != 0 && facts.mode() & STICKY == 0;
    folders
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .find(|folder| folder.metadata().is_ok_and(|facts| is_open(&facts)))
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, bytes: &[u8], mode: u32) -> PathBuf {
            let path = self.0.path().join("secret");
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn fault(path: &Path) -> ReadFault {
        read(path).map(|_| "read").unwrap_err()
    }

    #[test]
    fn a_file_is_read_as_it_is() {
        let folder = Folder::new();
        let path = folder.file(" a\r\nsecret\n".as_bytes(), 0o600);
        assert_eq!(read(&path).unwrap().text().unwrap(), " a\r\nsecret\n");
        let link = folder.0.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link).unwrap().text().unwrap(), " a\r\nsecret\n", "through a link");
        assert_eq!(read(&folder.file(b"", 0o600)).unwrap().text().unwrap(), "", "an empty file is a file");
    }

    #[test]
    fn a_file_is_read_to_its_limit() {
        let folder = Folder::new();
        assert_eq!(
            read(&folder.file(&vec![b'x'; FILE_BYTES_MAX], 0o600)).unwrap().text().unwrap().len(),
            FILE_BYTES_MAX
        );
        assert_eq!(fault(&folder.file(&vec![b'x'; FILE_BYTES_MAX + 1], 0o600)), ReadFault::TooLarge);
        assert_eq!(fault(Path::new("/dev/zero")), ReadFault::NotAFile, "without an end");
    }

    #[test]
    fn what_is_no_file_is_refused_and_hangs_nobody() {
        let folder = Folder::new();
        let at = |name: &str| folder.0.path().join(name);
        assert_eq!(fault(&at("nothing")), ReadFault::Missing);
        assert_eq!(fault(folder.0.path()), ReadFault::NotAFile);
        let mode = Mode::from_bits_truncate(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(fault(&at("fifo")), ReadFault::NotAFile);
        let _listener = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(fault(&at("socket")), ReadFault::NotAFile);
        symlink(at("loop"), at("loop")).unwrap();
        assert!(matches!(fault(&at("loop")), ReadFault::Unreadable(_)));
        symlink(at("nothing"), at("dangling")).unwrap();
        assert_eq!(fault(&at("dangling")), ReadFault::Missing);
        let file = folder.file(b"", 0o600);
        assert!(matches!(fault(&file.join("below")), ReadFault::Unreadable(_)), "a file is no folder");
    }

    #[test]
    fn bytes_need_not_be_text() {
        let folder = Folder::new();
        for (bytes, line) in [(&b"\xff\xfe"[..], 1), (b"one\r\ntwo\n\xc3\x28\n\xff", 3)] {
            let file = read(&folder.file(bytes, 0o600)).unwrap();
            assert_eq!(file.bytes(), bytes);
            assert_eq!(file.text(), Err(ReadFault::NotText { line }));
        }
    }

    #[test]
    fn who_else_can_get_at_a_file_is_told() {
        #[track_caller]
        fn check(mode: u32, writes: bool, everybody_reads: bool, others_read: bool) {
            let access = read(&Folder::new().file(b"x", mode)).unwrap().access;
            let told = (access.others_can_write(), access.everybody_can_read(), access.others_can_read());
            assert_eq!(told, (writes, everybody_reads, others_read), "{mode:o}");
            assert_eq!(access.everybody_can_write(), mode & 0o002 != 0, "{mode:o}");
            assert_eq!(access.stranger(), None);
        }
        check(0o600, false, false, false);
        check(0o400, false, false, false);
        check(0o640, false, false, true);
        check(0o644, false, true, true);
        check(0o604, false, true, true);
        check(0o620, true, false, false);
        check(0o602, true, false, false);
        check(0o666, true, true, true);
    }

    #[test]
    fn a_file_in_a_folder_of_everybody_is_everybodys() {
        let folder = Folder::new();
        let path = folder.file(b"x", 0o600);
        for (mode, open) in [(0o777, true), (0o1777, false), (0o703, true), (0o700, false), (0o770, false)] {
            fs::set_permissions(folder.0.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().access.others_can_write(), open, "{mode:o}");
        }
    }

    /// What `settled` makes of these looks: its text or fault, and how many looks it took.
    fn settle(looks: &[Result<&str, ReadFault>]) -> (Result<String, ReadFault>, usize) {
        let mut looks: VecDeque<_> = looks.iter().copied().collect();
        let given = looks.len();
        let access = Access { mode: 0o600, owner: 0, exchangeable: false };
        let mut look = || {
            let text = looks.pop_front().unwrap()?;
            Ok(SecretFile { bytes: Zeroizing::new(text.as_bytes().to_vec()), access })
        };
        let end = settled(&mut look, || ()).map(|file| String::from_utf8(file.bytes.to_vec()).unwrap());
        (end, given - looks.len())
    }

    #[test]
    fn half_a_text_is_never_taken_for_a_whole() {
        let missing = ReadFault::Missing;
        assert_eq!(settle(&[Ok("new"), Ok("new")]), (Ok("new".to_owned()), 2));
        assert_eq!(settle(&[Ok("ne"), Ok("new"), Ok("new")]), (Ok("new".to_owned()), 3));
        assert_eq!(settle(&[Ok("old"), Ok(""), Ok("new"), Ok("new")]), (Ok("new".to_owned()), 4));
        assert_eq!(settle(&[Ok("old"), Err(missing), Ok("new"), Ok("new")]), (Ok("new".to_owned()), 4));
        assert_eq!(settle(&[Err(missing), Err(missing)]), (Err(missing), 2));
        let restless: Vec<_> = ["a", "b"].into_iter().cycle().take(READINGS_MAX).map(Ok).collect();
        assert_eq!(settle(&restless), (Err(ReadFault::Restless), READINGS_MAX));
    }
}

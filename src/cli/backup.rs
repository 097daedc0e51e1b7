//! `bearerd backup`: the daemon's snapshot into a file of the caller's.
//!
//! The command writes the file, not the daemon: without a name until it is whole, on the disk and looked at, so
//! that nothing half done is left however this ends. What is in the way is left alone.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use hyper::HeaderMap;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags},
    io::Errno,
};
use serde_json::json;

use super::{Common, Exit, Stop, keys, offline, output};
use crate::{
    config::keyring,
    store::{OpenError, Options, Stopped},
};

const FILE_MODE: u32 = 0o600;
/// Ends the name of a backup that is not whole yet, where it has to have one: nobody else calls a file that.
const UNFINISHED: &str = ".bearerd-part";

/// Backs up the running daemon into `file`.
pub(super) fn run(common: &Common, file: &Path) -> Result<(), Stop> {
    if file == Path::new("-") {
        let says = "a backup does not go to standard output; name a file (`./-` for one of that name)";
        return Err(Stop::usage(says));
    }
    if file.symlink_metadata().is_ok() {
        return Err(in_the_way(file));
    }
    let client = common.client()?;
    let mut part = Part::make(file)?;
    let mut progress = output::Progress::default();
    let streamed = client.stream("/v1/admin/backup", &mut |headers, piece| {
        part.write(piece)?;
        progress.bytes(part.bytes, announced(headers));
        Ok(())
    });
    progress.end();
    let headers = streamed?.map_err(|problem| {
        Stop::failed(format!("the daemon could not make a copy of its store: {}", problem.detail()))
    })?;
    if announced(&headers) != Some(part.bytes) {
        return Err(Stop::failed("the backup arrived cut short; nothing was kept"));
    }
    let keys = headers_text(&headers, "x-backup-needs-keys").unwrap_or_default();
    let keys: Vec<&str> = keys.split(',').filter(|id| !id.is_empty()).collect();
    let unchecked = part.look(common)?;
    let bytes = part.bytes;
    part.finish(file)?;
    let shown = json!({"file": file, "bytes": bytes, "needs_keys": keys, "checked": unchecked.is_none()});
    if let (Some(why), false) = (&unchecked, common.json) {
        output::tell(&format!("it was not opened to look at it: {why}"));
    }
    common.done(
        &shown,
        &format!(
            "{} in {}; it needs what the keyring holds and this file does not: {} {}",
            output::size(bytes),
            file.display(),
            if keys.len() == 1 { "the root key" } else { "the root keys" },
            keys.join(", ")
        ),
    )
}

fn in_the_way(file: &Path) -> Stop {
    let says = format!("{} is there already, and is left as it is; name another file", file.display());
    Stop { exit: Exit::Conflict, says }
}

/// How many bytes the daemon says that there are.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers_text(headers, "x-backup-bytes")?.parse().ok()
}

fn headers_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A file that is not whole yet. It has no name, so that it is gone however its process ends; or, where the file
/// system has no such files, a name of its own, under which it is removed when it is dropped unfinished.
#[derive(Debug)]
struct Part {
    target: PathBuf,
    named: Option<PathBuf>,
    file: File,
    bytes: u64,
}

impl Part {
    fn make(target: &Path) -> Result<Self, Stop> {
        let folder = offline::folder(target);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, &folder, flags, Mode::from_raw_mode(FILE_MODE)) {
            Ok(file) => Ok(Self { target: target.to_owned(), named: None, file: file.into(), bytes: 0 }),
            Err(Errno::NOENT) => {
                Err(Stop::not_found(format!("there is no folder {} to put it in", folder.display())))
            }
            Err(_) => Self::make_named(target),
        }
    }

    fn make_named(target: &Path) -> Result<Self, Stop> {
        let mut name = target.as_os_str().to_owned();
        name.push(UNFINISHED);
        let path = PathBuf::from(name);
        let open = || OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path);
        let failed = |error: io::Error| Stop::of_file(&path, &error);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(&path, &error)?;
                open().map_err(failed)?
            }
            made => made.map_err(failed)?,
        };
        // Says that it is being written. File systems without locks keep what a killed backup leaves.
        let _ = file.try_lock_shared();
        Ok(Self { target: target.to_owned(), named: Some(path), file, bytes: 0 })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}; nothing was kept", self.target.display()))
        })?;
        self.bytes = self.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Where it can be opened once more.
    fn path(&self) -> PathBuf {
        let descriptor = || PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        self.named.clone().unwrap_or_else(descriptor)
    }

    /// Opens it and looks at every page, where the daemon's keyring, which this takes, can be read by the caller;
    /// else says why that was left out.
    fn look(&self, common: &Common) -> Result<Option<String>, Stop> {
        let place = match keys::place(common) {
            Ok(place) => place,
            Err(stop) => return Ok(Some(stop.says)),
        };
        let keyring = match keyring::read(&place) {
            Ok(read) => read.keyring,
            Err(fault) => return Ok(Some(fault.to_string())),
        };
        match Stopped::in_file(&self.path(), &keyring, &Options::default()) {
            Ok(_) => Ok(None),
            Err(error @ (OpenError::Keys { .. } | OpenError::WrongKey { .. })) => {
                Ok(Some(error.about(&self.target).to_string()))
            }
            Err(error) => {
                let error = error.about(&self.target);
                Err(Stop::failed(format!("the backup arrived damaged, and was not kept: {error}")))
            }
        }
    }

    fn finish(mut self, to: &Path) -> Result<(), Stop> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => in_the_way(to),
            _ => Stop::of_file(to, &error),
        };
        self.file.sync_all().map_err(failed)?;
        match self.named.take() {
            None => rustix::fs::linkat(CWD, self.path(), CWD, to, AtFlags::SYMLINK_FOLLOW)
                .map_err(|error| failed(error.into()))?,
            Some(path) => {
                let renamed = rename(&path, to);
                self.named = renamed.is_err().then_some(path);
                renamed.map_err(failed)?;
            }
        }
        File::open(offline::folder(to)).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Removes what a backup left that was killed; what another one is writing, or what is no such file, stays.
fn clear(path: &Path, exists: &io::Error) -> Result<(), Stop> {
    let failed = |error: &io::Error| Stop::of_file(path, error);
    if !path.symlink_metadata().map_err(|error| failed(&error))?.is_file() {
        return Err(failed(exists));
    }
    let left = File::open(path).map_err(|error| failed(&error))?;
    match left.try_lock() {
        Ok(()) => fs::remove_file(path).map_err(|error| failed(&error)),
        Err(TryLockError::WouldBlock) => Err(Stop {
            exit: Exit::Conflict,
            says: format!("another backup is being written to {}", path.display()),
        }),
        Err(TryLockError::Error(_)) => Err(failed(exists)),
    }
}

/// Gives the file its name, and takes the place of nothing.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that knows no such renaming may know hard links, which refuse as well.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => renamed.map_err(io::Error::from),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // What cannot be removed either lies in plain sight.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// With a name on the way and without one.
    fn both(check: impl Fn(fn(&Path) -> Result<Part, Stop>, &Path)) {
        for make in [Part::make, Part::make_named] {
            let folder = tempfile::tempdir().unwrap();
            check(make, &folder.path().join("copy"));
        }
    }

    #[test]
    fn a_part_that_is_finished_has_its_name_alone() {
        both(|make, to| {
            let mut part = make(to).unwrap();
            part.write(b"whole").unwrap();
            assert_eq!(fs::read(part.path()).unwrap(), b"whole");
            part.finish(to).unwrap();
            assert_eq!(fs::read(to).unwrap(), b"whole");
            assert_eq!(names(to.parent().unwrap()), ["copy"]);
        });
    }

    #[test]
    fn of_a_part_that_is_not_finished_nothing_is_left() {
        both(|make, to| {
            let mut part = make(to).unwrap();
            part.write(b"half").unwrap();
            drop(part);
            assert_eq!(names(to.parent().unwrap()), [""; 0]);
        });
    }

    #[test]
    fn what_came_in_between_is_left_as_it_is() {
        both(|make, to| {
            let part = make(to).unwrap();
            fs::write(to, "precious").unwrap();
            assert_eq!(part.finish(to).unwrap_err().exit, Exit::Conflict);
            assert_eq!(fs::read_to_string(to).unwrap(), "precious");
            assert_eq!(names(to.parent().unwrap()), ["copy"]);
        });
    }

    #[test]
    fn what_a_killed_backup_left_is_no_obstacle_and_what_another_one_writes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (to, part) = (folder.path().join("copy"), folder.path().join("copy.bearerd-part"));
        let theirs = Part::make_named(&to).unwrap();
        assert_eq!(Part::make_named(&to).unwrap_err().exit, Exit::Conflict);
        assert_eq!(names(folder.path()), ["copy.bearerd-part"]);
        drop(theirs);
        fs::write(&part, "the first half").unwrap();
        Part::make_named(&to).unwrap().finish(&to).unwrap();
        assert_eq!(names(folder.path()), ["copy"]);
        std::os::unix::fs::symlink("elsewhere", &part).unwrap();
        assert!(Part::make_named(&to).is_err());
        assert!(part.is_symlink(), "what is no file of ours is not removed");
    }
}

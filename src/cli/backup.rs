//! `bearerd backup`: the daemon's snapshot into a file of the caller's.
//!
//! The command writes the file, not the daemon: under a name of its own until it is whole and on the disk, then
//! renamed. What is in the way is left alone, but for what a backup to the same name left that was killed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use hyper::HeaderMap;
use serde_json::json;

use super::{Common, Exit, Stop, offline, output};
use crate::store::{Options, Stopped};

const FILE_MODE: u32 = 0o600;
/// Ends the name of a backup that is not whole yet: nobody else calls a file that.
const UNFINISHED: &str = ".bearerd-part";
/// Bytes between two signs of life on a terminal.
const SIGN_BYTES: u64 = 16 * 1024 * 1024;

/// Backs up the running daemon into `file`.
pub(super) fn run(common: &Common, file: &Path) -> Result<(), Stop> {
    if file.symlink_metadata().is_ok() {
        let says = format!("{} is there already, and is left as it is; name another file", file.display());
        return Err(Stop { exit: Exit::Conflict, says });
    }
    let client = common.client()?;
    let mut name = file.as_os_str().to_owned();
    name.push(UNFINISHED);
    let mut part = Part::make(PathBuf::from(name))?;
    let streamed = client.stream("/v1/admin/backup", &mut |piece| part.write(piece))?;
    let headers = streamed.map_err(|problem| Stop::failed(problem.detail()))?;
    let said = |name: &str| headers_text(&headers, name);
    let expected = said("x-backup-bytes").and_then(|bytes| bytes.parse::<u64>().ok());
    if expected != Some(part.bytes) {
        return Err(Stop::failed("the backup arrived cut short; nothing was kept"));
    }
    let key = said("x-backup-needs-key").unwrap_or_default();
    let looked_at = part.look(common);
    let bytes = part.bytes;
    part.finish(file)?;
    let shown = json!({"file": file, "bytes": bytes, "needs_keys": [key], "checked": looked_at});
    common.done(
        &shown,
        &format!(
            "{} bytes in {}; it needs the root key {key}, which the keyring holds and this file does not",
            bytes,
            file.display()
        ),
    )
}

fn headers_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A file that is not whole yet. Dropped unfinished, it goes.
struct Part {
    path: PathBuf,
    file: File,
    bytes: u64,
    finished: bool,
}

impl Part {
    fn make(path: PathBuf) -> Result<Self, Stop> {
        let failed = |error: io::Error| Stop::failed(format!("{}: {error}", path.display()));
        let open = || OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                clear(&path, error)?;
                open().map_err(failed)?
            }
            made => made.map_err(failed)?,
        };
        // Says that it is being written. File systems without locks keep what a killed backup leaves.
        let _ = file.try_lock_shared();
        Ok(Self { path, file, bytes: 0, finished: false })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let before = self.bytes / SIGN_BYTES;
        self.file.write_all(piece)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if self.bytes / SIGN_BYTES > before && io::stderr().is_terminal() {
            output::tell(&format!("{} MiB", self.bytes / (1024 * 1024)));
        }
        Ok(())
    }

    /// Opens it and looks at every page, where the keyring that this takes can be read by the caller.
    fn look(&self, common: &Common) -> bool {
        let keyring = offline::located(common).and_then(|located| offline::loaded(&located));
        let Ok(loaded) = keyring else { return false };
        Stopped::in_file(&self.path, &loaded.keyring, &Options::default()).is_ok()
    }

    fn finish(mut self, to: &Path) -> Result<(), Stop> {
        let failed = |error: io::Error| Stop::failed(format!("{}: {error}", to.display()));
        self.file.sync_all().map_err(failed)?;
        // A hard link refuses to take the place of a file that came in between; a rename would not.
        fs::hard_link(&self.path, to).map_err(failed)?;
        fs::remove_file(&self.path).map_err(failed)?;
        File::open(offline::folder(to)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        self.finished = true;
        Ok(())
    }
}

/// Removes what a backup left that was killed; what another one is writing, or what is no such file, stays.
fn clear(path: &Path, exists: io::Error) -> Result<(), Stop> {
    let failed = |error: io::Error| Stop::failed(format!("{}: {error}", path.display()));
    if !path.symlink_metadata().map_err(failed)?.is_file() {
        return Err(failed(exists));
    }
    let left = File::open(path).map_err(failed)?;
    match left.try_lock() {
        Ok(()) => fs::remove_file(path).map_err(failed),
        Err(TryLockError::WouldBlock) => Err(Stop {
            exit: Exit::Conflict,
            says: format!("another backup is being written to {}", path.display()),
        }),
        Err(TryLockError::Error(_)) => Err(failed(exists)),
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed either lies in plain sight.
            let _ = fs::remove_file(&self.path);
        }
    }
}

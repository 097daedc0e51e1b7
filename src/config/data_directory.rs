//! The data directory: made where it is missing, and refused where others could exchange what is in it.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// The permissions of a directory that is made.
const MADE_MODE: u32 = 0o700;
/// Permission bits that let everybody put files in. The sticky bit does not help: whoever makes the keyring
/// first has made it.
const EVERYBODY_WRITES: u32 = 0o002;

/// Why a directory cannot hold the data.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryFault {
    /// It is not there, and nobody may make it.
    #[error("there is no such directory")]
    Missing,
    /// It is a file.
    #[error("is not a directory")]
    NotADirectory,
    /// Everybody can put files in it.
    #[error("everybody can put files in it; take that away with `chmod o-w`")]
    OpenToAll,
    /// It belongs to another user, who can exchange what is in it.
    #[error("belongs to user {0}, who is neither root nor the one that this runs as")]
    Strangers(u32),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Makes the directory where it is missing, and judges it.
pub fn make(path: &Path) -> Result<(), DataDirectoryFault> {
    DirBuilder::new().recursive(true).mode(MADE_MODE).create(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => DataDirectoryFault::NotADirectory,
        _ => DataDirectoryFault::Io(error),
    })?;
    judge(path)
}

/// Judges a directory that must be there.
pub fn judge(path: &Path) -> Result<(), DataDirectoryFault> {
    let facts = path.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DataDirectoryFault::Missing,
        _ => DataDirectoryFault::Io(error),
    })?;
    judge_facts(&facts, rustix::process::geteuid().as_raw())
}

/// Root may work in the directory of the user that the daemon runs as.
fn judge_facts(facts: &Metadata, user: u32) -> Result<(), DataDirectoryFault> {
    if !facts.is_dir() {
        return Err(DataDirectoryFault::NotADirectory);
    }
    if facts.mode() & EVERYBODY_WRITES != 0 {
        return Err(DataDirectoryFault::OpenToAll);
    }
    if ![0, user].contains(&facts.uid()) && user != 0 {
        return Err(DataDirectoryFault::Strangers(facts.uid()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/data");
        assert!(matches!(judge(&path), Err(DataDirectoryFault::Missing)));
        make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        make(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o750, "one that is there stays as it is");
    }

    #[test]
    fn a_directory_of_everybody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, open) in [(0o700, false), (0o770, false), (0o755, false), (0o702, true), (0o1777, true)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(matches!(make(folder.path()), Err(DataDirectoryFault::OpenToAll)), open, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_of_another_user_is_refused_but_to_root() {
        let folder = tempfile::tempdir().unwrap();
        let facts = folder.path().metadata().unwrap();
        let owner = facts.uid();
        assert!(judge_facts(&facts, owner).is_ok());
        assert!(judge_facts(&facts, 0).is_ok());
        assert_eq!(judge_facts(&facts, owner + 1).is_ok(), owner == 0, "root's own directory is fine");
    }

    #[test]
    fn a_file_is_no_directory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(make(&file), Err(DataDirectoryFault::NotADirectory)));
        assert!(matches!(make(&file.join("below")), Err(DataDirectoryFault::NotADirectory)));
    }
}

//! Why a store could not be opened, and why a change could not be made.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    place::{MARKER_FILE, STORE_FILE},
    redb::{EngineError, WriteFailure},
};

/// Why a store could not be opened or made. Each says what is wrong and what to do about it; nothing was
/// changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store, and there never was one: a first start.
    #[error("there is no store in {}; `bearerd serve` makes one", .0.display())]
    Absent(PathBuf),
    /// There was a store, and now there is none.
    #[error(
        "the store {} has gone missing: the directory was initialised, but the file is not there or empty. \
         Restore it with `bearerd restore`. To begin anew on purpose, with every token lost, remove {} too",
        .store.display(), .marker.display()
    )]
    GoneMissing {
        /// Where the store was.
        store: PathBuf,
        /// What says that it was there.
        marker: PathBuf,
    },
    /// A store is there already, where one was to be made.
    #[error("there is a store at {} already", .0.display())]
    Exists(PathBuf),
    /// Another process has it.
    #[error(
        "the store in {} is in use by another process. Is bearerd running? Then let the command talk to it \
         over its admin socket, or stop it first", .0.display()
    )]
    InUse(PathBuf),
    /// It is not whole.
    #[error("the store {} is damaged: {what}. Nothing was written to it. Restore a backup with `bearerd restore`", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In what way.
        what: String,
    },
    /// A newer bearerd made it.
    #[error("the store {} was written by a newer bearerd ({what}). Nothing was written to it. Use that version", .path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// What it has that this version does not know.
        what: String,
    },
    /// The keyring does not open it.
    #[error("the keyring does not open the store {}: it needs key {needs}, and the keyring has {has}", .path.display())]
    Keys {
        /// Which.
        path: PathBuf,
        /// The key id that it needs.
        needs: String,
        /// The key ids that there are.
        has: String,
    },
    /// The key of that name is another one.
    #[error(
        "the keyring does not open the store {}: its key {key} is not the one that sealed the store. \
         It is another store's keyring, or the store was changed", .path.display()
    )]
    WrongKey {
        /// Which.
        path: PathBuf,
        /// The key id that both use.
        key: String,
    },
    /// Somebody else could write to it.
    #[error("{} can be written by others (mode {mode:03o}, owner {owner}). Run `chmod {wanted:o}` on it, and see that it belongs to the user that runs bearerd", .path.display())]
    Exposed {
        /// Which file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// It is not a file, or not a directory.
    #[error("{} is not {wanted}", .path.display())]
    WrongType {
        /// Which.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// The system refused.
    #[error("cannot {what} {}: {error}", .path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl OpenError {
    /// What a request is answered that ran into this while the store was open.
    pub fn refusal(&self) -> WriteError {
        match self {
            Self::System { error, .. } if WriteFailure::of(error).full => WriteError::Full,
            Self::Absent(_)
            | Self::GoneMissing { .. }
            | Self::Exists(_)
            | Self::InUse(_)
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Keys { .. }
            | Self::WrongKey { .. }
            | Self::Exposed { .. }
            | Self::WrongType { .. }
            | Self::System { .. } => WriteError::Unavailable,
        }
    }

    /// `dir` had a store, and has it no more.
    pub(crate) fn gone_missing(dir: &Path) -> Self {
        Self::GoneMissing { store: dir.join(STORE_FILE), marker: dir.join(MARKER_FILE) }
    }

    /// What lies in `dir` under the store's name has not a byte.
    pub(crate) fn empty(dir: &Path) -> Self {
        Self::Damaged { path: dir.join(STORE_FILE), what: "the file is empty".to_owned() }
    }

    pub(crate) fn system(what: &'static str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::System { what, path: path.into(), error }
    }

    /// The same, said of another path: that of the file which was copied.
    pub(crate) fn about(mut self, other: &Path) -> Self {
        match &mut self {
            Self::Absent(path)
            | Self::Exists(path)
            | Self::InUse(path)
            | Self::GoneMissing { store: path, .. }
            | Self::Damaged { path, .. }
            | Self::Newer { path, .. }
            | Self::Keys { path, .. }
            | Self::WrongKey { path, .. }
            | Self::Exposed { path, .. }
            | Self::WrongType { path, .. }
            | Self::System { path, .. } => other.clone_into(path),
        }
        self
    }

    /// What an engine error means for the store at `path`.
    pub(crate) fn engine(path: impl Into<PathBuf>, error: EngineError) -> Self {
        let path = path.into();
        match error {
            EngineError::InUse => Self::InUse(path),
            EngineError::Damaged(what) => Self::Damaged { path, what },
            EngineError::Foreign(what) => Self::Newer { path, what },
            EngineError::Write(failure) => Self::system("write", path, failure.into()),
            EngineError::Read(message) | EngineError::GivenUp(message) => {
                Self::system("read", path, io::Error::other(message))
            }
        }
    }
}

/// Why a change was not made, apart from what its own rule says. Whether it was is unknown after
/// [`WriteError::Full`] and [`WriteError::Unavailable`]: a caller must look before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// Too many operations wait for the writer: try again in a moment.
    #[error("too many changes wait to be written")]
    Busy,
    /// The disk is full.
    #[error("there is no space to write the change")]
    Full,
    /// The store cannot be written, or is closed.
    #[error("the store cannot be written")]
    Unavailable,
    /// The operation itself broke off; nothing of it was written.
    #[error("the operation broke off")]
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_space_is_told_apart_from_what_else_the_system_refuses() {
        let refused = |kind: io::ErrorKind| OpenError::system("write", "file", kind.into()).refusal();
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
            assert_eq!(refused(full), WriteError::Full);
        }
        assert_eq!(refused(io::ErrorKind::PermissionDenied), WriteError::Unavailable);
        assert_eq!(OpenError::Absent("place".into()).refusal(), WriteError::Unavailable);
    }
}
